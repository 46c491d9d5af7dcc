import json
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types

from telemetry.errors import TelemetryError
from telemetry.ring import (
    FREE,
    RING_HEADER,
    RingReader,
    create_ring,
    fence_acquire,
    fence_release,
    lag,
    load_acquire,
    newest_record,
    open_ring,
    publish,
    store_release,
)
from telemetry.sample import SAMPLE

RECORD = np.dtype([("number", "u8"), ("copies", "u8", (60,)), ("last", "u8")], align=True)
_HEADER = types.Array(numba.from_dtype(RING_HEADER), 1, "C")
_SLOTS = types.Array(numba.from_dtype(RECORD), 1, "C")


@numba.njit(types.void(_HEADER, _SLOTS, types.int64), nogil=True)
def write_records(header, slots, count):
    """Write records whose every word is the record's number, so that a torn one shows."""
    mask = np.uint64(slots.shape[0] - 1)
    for _ in range(count):
        number = header[0].head
        slot = number & mask
        slots[slot].number = number
        for i in range(60):
            slots[slot].copies[i] = number
        slots[slot].last = number
        publish(header)


def small_ring(tmp_path, capacity=64):
    return create_ring(tmp_path / "ring", RECORD, capacity, epoch=3, wall_offset_ns=9)


def assert_whole(records):
    assert np.array_equal(records["number"], records["last"])
    assert np.all(records["copies"] == records["number"][:, None])


def test_records_come_back_in_order_and_unchanged(tmp_path, samples_of, push):
    ring = create_ring(tmp_path / "samples", SAMPLE, 64, epoch=3, wall_offset_ns=9)
    reader = RingReader(open_ring(tmp_path / "samples", SAMPLE))
    produced = samples_of(150)
    parts = []
    for start in range(0, 150, 50):
        push(ring, produced[start : start + 50])
        parts.append(reader.read())
    assert np.concatenate(parts).tobytes() == produced.tobytes()
    assert reader.lost == 0
    assert len(reader.read()) == 0


def test_concurrent_writer_never_yields_torn_or_reordered_records_and_overtaken_ones_are_counted(tmp_path):
    ring = small_ring(tmp_path)
    count = 1_500_000
    reader = RingReader(open_ring(tmp_path / "ring"))
    writer = threading.Thread(target=write_records, args=(ring.header, ring.slots, count))
    received, last = 0, -1
    writer.start()
    while writer.is_alive() or reader.pending:
        records = reader.read(32)
        if len(records):
            assert_whole(records)
            numbers = records["number"].astype("i8")
            assert numbers[0] > last
            assert np.all(np.diff(numbers) == 1)
            last = numbers[-1]
            received += len(records)
    writer.join()
    assert last == count - 1
    assert received + reader.lost == count
    assert reader.lost > 0  # the writer is much faster: this run did overtake


@pytest.mark.parametrize(("overtaken_by", "expected"), [(0, 40), (23, 40), (24, 39), (50, 13), (63, 0), (500, 0)])
def test_records_overtaken_while_they_are_copied_are_dropped(tmp_path, monkeypatch, overtaken_by, expected):
    ring = small_ring(tmp_path)
    reader = RingReader(ring)
    write_records(ring.header, ring.slots, 40)
    copy = RingReader._copy

    def copy_too_late(self, first, count):
        write_records(ring.header, ring.slots, overtaken_by)
        return copy(self, first, count)

    monkeypatch.setattr(RingReader, "_copy", copy_too_late)
    records = reader.read()
    assert records["number"].tolist() == list(range(40 - expected, 40))
    assert reader.lost == 40 - expected


def test_newest_record_is_whole_beside_a_concurrent_writer(tmp_path):
    ring = small_ring(tmp_path)
    writer = threading.Thread(target=write_records, args=(ring.header, ring.slots, 500_000))
    writer.start()
    newest = -1
    while writer.is_alive():
        record = newest_record(ring)
        if record is not None:
            assert_whole(record)
            assert int(record["number"][0]) >= newest
            newest = int(record["number"][0])
    writer.join()
    assert int(newest_record(ring)["number"][0]) == 499_999


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), max_size=12))
def test_reader_returns_or_counts_each_record_exactly_once(tmp_path_factory, steps):
    ring = small_ring(tmp_path_factory.mktemp("ring"), capacity=16)
    reader = RingReader(ring)
    numbers = []
    for written, limit in steps:
        write_records(ring.header, ring.slots, written)
        records = reader.read(limit)
        assert len(records) <= limit
        numbers += records["number"].tolist()
    numbers += reader.read(1000)["number"].tolist()
    assert numbers == sorted(set(numbers))
    assert len(numbers) + reader.lost == ring.head


def test_registered_reader_is_what_the_writer_lags_behind(tmp_path):
    ring = small_ring(tmp_path)
    assert lag(ring.header) == 0
    write_records(ring.header, ring.slots, 5)
    assert lag(ring.header) == 0  # nobody is registered
    with RingReader(ring, 1, oldest=True) as slow, RingReader(ring, 2) as fast:
        assert lag(ring.header) == 5
        write_records(ring.header, ring.slots, 3)
        fast.read()
        assert lag(ring.header) == 8
        slow.read(6)
        assert lag(ring.header) == 2
    assert lag(ring.header) == 0
    assert np.all(ring.header["cursors"] == FREE)


def test_reader_begins_with_the_next_record_unless_asked_for_the_oldest(tmp_path):
    ring = small_ring(tmp_path)
    write_records(ring.header, ring.slots, 100)
    assert len(RingReader(ring).read()) == 0
    oldest = RingReader(ring, oldest=True).read()
    assert oldest["number"].tolist() == list(range(100 - 63, 100))


def test_ring_opens_by_its_description_alone(tmp_path):
    small_ring(tmp_path)
    assert open_ring(tmp_path / "ring").slots.dtype == RECORD
    assert json.loads((tmp_path / "ring.json").read_text())["dtype"]["itemsize"] == RECORD.itemsize


def test_absent_ring_says_what_to_do(tmp_path):
    with pytest.raises(TelemetryError, match=r"no ring at .*ring.*not running"):
        open_ring(tmp_path / "ring", RECORD)


def test_ring_of_another_layout_is_refused(tmp_path):
    small_ring(tmp_path)
    with pytest.raises(TelemetryError, match="restart the daemon"):
        open_ring(tmp_path / "ring", SAMPLE)


def test_ring_of_another_version_is_refused(tmp_path):
    ring = small_ring(tmp_path)
    ring.header["magic"] += 1 << 56
    with pytest.raises(TelemetryError, match="version"):
        open_ring(tmp_path / "ring", RECORD)


def test_cut_off_ring_is_refused(tmp_path):
    small_ring(tmp_path)
    path = tmp_path / "ring"
    path.write_bytes(path.read_bytes()[: -RECORD.itemsize])
    with pytest.raises(TelemetryError, match="not the 64 records"):
        open_ring(path, RECORD)


@pytest.mark.parametrize("capacity", [0, 1, 3, 1000])
def test_capacity_that_is_no_power_of_two_is_refused(tmp_path, capacity):
    with pytest.raises(TelemetryError, match="power of two"):
        small_ring(tmp_path, capacity)


def test_ring_is_private_to_its_user(tmp_path):
    small_ring(tmp_path)
    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o600


def test_reader_slot_out_of_range_is_refused(tmp_path):
    with pytest.raises(TelemetryError, match=r"0 \.\. 7"):
        RingReader(small_ring(tmp_path), 8)


def test_ordered_access_compiles_to_atomic_instructions():
    words = np.dtype([("other", "u8"), ("word", "u8")], align=True)

    @numba.njit(types.uint64(types.Array(numba.from_dtype(words), 1, "C")), nogil=True)
    def exchange(record):
        fence_acquire()
        value = load_acquire(record, "word")
        fence_release()
        store_release(record, "word", value + np.uint64(5))
        return value

    record = np.zeros(1, words)
    record["word"] = 2**63 + 1  # all 64 bits pass
    assert exchange(record) == 2**63 + 1
    assert record["word"][0] == 2**63 + 6
    assert record["other"][0] == 0
    code = exchange.inspect_llvm(exchange.signatures[0])
    for instruction in ("load atomic i64", "store atomic i64", "fence acquire", "fence release"):
        assert instruction in code


def test_client_side_of_the_ring_does_not_load_the_compiler():
    code = "import telemetry.ring_file, sys; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
