"""The line: every byte takes its time, and each fault strikes as often as asked, and is counted."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.faults import FAULTS
from hil.wire import CAPACITY, NOTHING, lane_arrival, lane_is_empty, make_lane, put_byte, take_byte


def send(lane, data, now_ns=0, *, faults=None, counts=None, delay_ns=0, is_garbled=0):
    faults = np.zeros(1, FAULTS) if faults is None else faults
    counts = np.zeros(1, FAULTS) if counts is None else counts
    for byte in data:
        put_byte(lane, faults, counts, byte, now_ns, delay_ns, is_garbled)
    return counts


def receive(lane, now_ns=2**62, *, faults=None, counts=None):
    faults = np.zeros(1, FAULTS) if faults is None else faults
    counts = np.zeros(1, FAULTS) if counts is None else counts
    out = bytearray()
    while (byte := take_byte(lane, faults, counts, now_ns)) != NOTHING:
        out.append(byte)
    return bytes(out)


def faults_of(**values):
    faults = np.zeros(1, FAULTS)
    for name, value in values.items():
        faults[name] = value
    return faults


@settings(deadline=None)
@given(st.integers(9600, 12_000_000), st.integers(1, 300), st.integers(0, 10**12))
def test_last_byte_arrives_ten_bit_times_per_byte_after_the_first_begins(baud, count, now_ns):
    lane = make_lane(baud, seed=1)
    send(lane, bytes(range(1, 200)) * 2 if count > 199 else bytes([7]) * count, now_ns)
    count = 398 if count > 199 else count
    exact = now_ns + count * 10e9 / baud
    assert abs(lane_arrival(lane) - exact) <= 1.0 + count * 1e-3  # whole ns; whole ps a byte


def test_command_and_feedback_of_seven_axes_fit_a_millisecond_at_4_mbaud():
    assert make_lane(4_000_000, 1)["byte_ps"][0] == 2_500_000
    assert (164 + 140) * 2_500_000 < 10**9 * 1


def test_nothing_arrives_before_its_time_and_all_of_it_then():
    lane = make_lane(1_000_000, seed=1)
    send(lane, b"abc\0", now_ns=1000)
    assert receive(lane, 10_999) == b""
    assert receive(lane, 11_000) == b"a"
    assert receive(lane, 31_000) == b"bc"
    assert not lane_is_empty(lane)
    assert receive(lane, 41_000) == b"\0"
    assert lane_is_empty(lane)


def test_bytes_written_together_queue_behind_those_before():
    lane = make_lane(1_000_000, seed=1)
    send(lane, b"a\0", now_ns=0)
    send(lane, b"b\0", now_ns=5_000)  # the line is busy until 20 us
    assert lane_arrival(lane) == 40_000
    send(lane, b"c\0", now_ns=100_000)  # and idle by then
    assert lane_arrival(lane) == 120_000


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_an_undisturbed_line_changes_nothing(data):
    lane = make_lane(4_000_000, seed=1)
    counts = send(lane, data)
    assert receive(lane) == data
    assert not any(counts[name][0] for name in ("bits_flipped", "bytes_dropped", "frames_dropped", "bytes_cut"))


def test_a_cut_line_passes_nothing_and_counts_it():
    lane = make_lane(4_000_000, seed=1)
    counts = np.zeros(1, FAULTS)
    send(lane, b"hello\0")
    assert receive(lane, faults=faults_of(wire_cut=1), counts=counts) == b""
    assert counts["bytes_cut"][0] == 6
    send(lane, b"again\0")
    assert receive(lane, counts=counts) == b"again\0"


def test_bits_flip_at_the_rate_asked_and_are_counted():
    lane = make_lane(4_000_000, seed=5)
    data = bytes([1, 2, 3, 0]) * 1000
    counts = send(lane, data, faults=faults_of(bit_error_rate=0.01))
    got = receive(lane)
    flipped = sum((a ^ b).bit_count() for a, b in zip(data, got, strict=True))
    assert flipped == counts["bits_flipped"][0]
    assert flipped == pytest.approx(0.01 * 8 * len(data), rel=0.2)


def test_bytes_are_lost_at_the_rate_asked_but_take_their_time():
    lane = make_lane(4_000_000, seed=5)
    data = b"abc\0" * 1000
    counts = send(lane, data, faults=faults_of(byte_drop_rate=0.1))
    assert lane["free_ps"][0] == len(data) * 2_500_000
    assert len(data) - len(receive(lane)) == counts["bytes_dropped"][0]
    assert counts["bytes_dropped"][0] == pytest.approx(400, rel=0.2)


def test_whole_frames_are_lost_never_parts():
    lane = make_lane(4_000_000, seed=5)
    frames = [bytes([k % 255 + 1]) * 3 + b"\0" for k in range(2000)]
    counts = send(lane, b"".join(frames), faults=faults_of(frame_drop_rate=0.25))
    got = receive(lane).split(b"\0")[:-1]
    assert all(len(piece) == 3 and len(set(piece)) == 1 for piece in got)
    assert len(frames) - len(got) == counts["frames_dropped"][0]
    assert counts["frames_dropped"][0] == pytest.approx(500, rel=0.2)


def test_duplicated_frames_come_twice_in_a_row():
    lane = make_lane(4_000_000, seed=5)
    frames = [k.to_bytes(2, "big").replace(b"\0", b"\xff") + b"\0" for k in range(1, 200)]
    counts = send(lane, b"".join(frames), faults=faults_of(frame_duplicate_rate=0.5))
    got = [piece + b"\0" for piece in receive(lane).split(b"\0")[:-1]]
    assert len(got) == len(frames) + counts["frames_duplicated"][0]
    assert 60 < counts["frames_duplicated"][0] < 140
    assert [frame for k, frame in enumerate(got) if k == 0 or got[k - 1] != frame] == frames


def test_a_delay_comes_on_top_of_the_line_s_time():
    lane = make_lane(1_000_000, seed=1)
    send(lane, b"a", delay_ns=16_000_000)
    assert lane_arrival(lane) == 16_010_000


def test_at_another_baud_rate_nothing_is_understood():
    lane = make_lane(4_000_000, seed=1)
    data = bytes(range(1, 101))
    counts = send(lane, data, is_garbled=1)
    got = receive(lane)
    assert counts["bytes_garbled"][0] == 100
    assert sum(a == b for a, b in zip(data, got, strict=True)) < 10


def test_faults_repeat_with_the_seed_and_differ_without():
    def run(seed):
        lane = make_lane(4_000_000, seed)
        send(lane, b"abcdefg\0" * 100, faults=faults_of(bit_error_rate=0.01, byte_drop_rate=0.01))
        return receive(lane)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_what_the_line_cannot_hold_is_lost_and_counted():
    lane = make_lane(4_000_000, seed=1)
    counts = send(lane, b"x" * (CAPACITY + 10))
    assert counts["bytes_overflowed"][0] == 10
    assert len(receive(lane)) == CAPACITY


def test_frame_time_is_exact_over_hours():
    lane = make_lane(115_200, seed=1)
    start = 3 * 3600 * 10**9
    send(lane, b"x" * 1152, now_ns=start)
    assert lane_arrival(lane) == pytest.approx(start + math.ceil(1152 * 10 / 115_200 * 1e9), abs=2)
