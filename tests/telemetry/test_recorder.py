import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from mcap_ros2.decoder import DecoderFactory

from telemetry.durable_stream import DurableStream
from telemetry.errors import RecordingError
from telemetry.recorder import Recorder
from telemetry.recording import Gap, load, samples_digest
from telemetry.ring import FREE, lag

CHUNK_LIMIT = 16 * 1024


@pytest.fixture
def start(axes):
    """Start recorder processes, and end those that a test leaves."""
    processes = []

    def start(rings, output, *options):
        argv = [sys.executable, "-m", "telemetry.recorder", "--output", str(output), "--arm", "PSM1"]
        argv += ["--axes", ",".join(axes), "--slot", "1", *options]
        for name, path in rings.items():
            argv += ["--ring", f"{name}={path}"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def paths_of(rings):
    return {name: ring.path for name, ring in rings.items()}


def record(rings, path, axes, samples, truth, push, *, part, lockstep=True):
    recorder = Recorder(path, "PSM1", axes, rings, slot=1, lockstep=lockstep, metadata={"note": "x"})
    for first in range(0, len(samples), part):
        push(rings["sample"], samples[first : first + part])
        push(rings["truth"], truth[first : first + part])
        recorder.step()
    assert recorder.finish()
    return recorder


def test_recorded_is_produced(tmp_path, make_rings, axes, samples_of, truth_of, push):
    rings, samples, truth = make_rings(), samples_of(1000), truth_of(1000)
    recorder = record(rings, tmp_path / "run.mcap", axes, samples, truth, push, part=70)
    recording = load(tmp_path / "run.mcap")
    assert recording.complete
    assert recording.samples.dtype == samples.dtype
    assert recording.samples.tobytes() == samples.tobytes()
    assert recording.truth.tobytes() == truth.tobytes()
    assert recording.gaps == ()
    assert (recording.arm, recording.axes, recording.lockstep) == ("PSM1", axes, True)
    expected = {"note": "x", "epoch/sample": "5", "written/sample": "1000", "lost/sample": "0", "lost/truth": "0"}
    assert expected.items() <= recording.metadata.items()
    assert recorder.status()["written"] == {"sample": 1000, "truth": 1000}
    assert np.all(rings["sample"].header["cursors"] == FREE)


def test_equal_runs_in_lockstep_give_equal_files_however_the_recorder_was_scheduled(
    tmp_path, make_rings, axes, samples_of, truth_of, push
):
    files = []
    for part in (1, 37, 500):
        path = tmp_path / f"{part}.mcap"
        record(make_rings(name=f"rings{part}"), path, axes, samples_of(500), truth_of(500), push, part=part)
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]


def test_ros2_reader_reads_joint_states(tmp_path, make_rings, axes, samples_of, truth_of, push):
    samples, offset = samples_of(50), 1_700_000_000 * 10**9
    rings = make_rings(wall_offset_ns=offset)
    record(rings, tmp_path / "run.mcap", axes, samples, truth_of(50), push, part=50, lockstep=False)
    with (tmp_path / "run.mcap").open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for which in ("measured", "setpoint"):
            messages = list(reader.iter_decoded_messages(topics=[f"/PSM1/{which}_js"]))
            assert len(messages) == 50
            for sample, (schema, _, message, decoded) in zip(samples, messages, strict=True):
                assert schema.name == "sensor_msgs/msg/JointState"
                assert list(decoded.name) == list(axes)
                assert list(decoded.position) == sample[f"{which}_position"][:7].tolist()
                assert list(decoded.velocity) == sample[f"{which}_velocity"][:7].tolist()
                assert list(decoded.effort) == sample[f"{which}_effort"][:7].tolist()
                published = int(sample["t_ns"]) + offset
                assert decoded.header.stamp.sec * 10**9 + decoded.header.stamp.nanosec == published
                assert decoded.header.frame_id == "PSM1_base"
                assert message.publish_time == published
                assert message.log_time > published  # received now, produced in 2023


def test_file_keeps_chunks_small_and_its_checksums_right(tmp_path, make_rings, axes, samples_of, truth_of, push):
    record(make_rings(), tmp_path / "run.mcap", axes, samples_of(500), truth_of(500), push, part=100)
    with (tmp_path / "run.mcap").open("rb") as file:
        chunks = [r for r in StreamReader(file, emit_chunks=True).records if type(r).__name__ == "Chunk"]
    assert len(chunks) > 10
    assert max(chunk.uncompressed_size for chunk in chunks) <= CHUNK_LIMIT
    with (tmp_path / "run.mcap").open("rb") as file:
        kinds = [type(r).__name__ for r in StreamReader(file, validate_crcs=True).records]
    assert kinds.count("Message") == 500 * 4


def test_overtaken_records_are_counted_in_the_file(tmp_path, make_rings, axes, samples_of, truth_of, push):
    rings = make_rings(capacity=64)
    recorder = Recorder(tmp_path / "run.mcap", "PSM1", axes, {"sample": rings["sample"]})
    push(rings["sample"], samples_of(10))
    recorder.step()
    push(rings["sample"], samples_of(200, first=11))
    recorder.finish()
    recording = load(tmp_path / "run.mcap")
    lost = 200 - 63
    assert recording.gaps == (Gap(after=10, missing=lost),)
    assert recording.metadata["lost/sample"] == str(lost)
    assert recorder.status()["lost"] == {"sample": lost}


def test_existing_recording_is_never_overwritten(tmp_path, make_rings, axes, samples_of, truth_of, push):
    rings = make_rings()
    for _ in range(3):
        record(rings, tmp_path / "run.mcap", axes, samples_of(10), truth_of(10), push, part=10)
    assert sorted(p.name for p in tmp_path.glob("*.mcap")) == ["run-2.mcap", "run-3.mcap", "run.mcap"]


def test_full_disk_is_reported_and_nothing_is_lost_if_room_is_made_in_time(
    tmp_path, make_rings, axes, samples_of, truth_of, push, monkeypatch
):
    monkeypatch.setattr("telemetry.durable_stream.RETRY_PERIOD", 0.0)
    rings, samples = {"sample": make_rings()["sample"]}, samples_of(900)
    recorder = Recorder(tmp_path / "run.mcap", "PSM1", axes, rings)
    push(rings["sample"], samples[:300])
    recorder.step()
    before = (tmp_path / "run.mcap").read_bytes()

    def write_until_full(self, data):
        if len(data) > 1000:
            return os.write(self._fd, data[:1000])  # a part of it still fits
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(DurableStream, "_write", write_until_full)
        push(rings["sample"], samples[300:600])
        assert recorder.step() == 300
        assert recorder.status()["error"].startswith("ENOSPC")
        assert recorder.status()["waiting_bytes"] > 0
        assert (tmp_path / "run.mcap").read_bytes() == before  # whole records only
        assert len(load(tmp_path / "run.mcap").samples) > 250
    push(rings["sample"], samples[600:])
    recorder.step()
    assert recorder.status()["error"] == ""
    assert recorder.finish()
    recording = load(tmp_path / "run.mcap")
    assert recording.complete
    assert recording.samples.tobytes() == samples.tobytes()


def test_disk_that_stays_full_costs_only_what_does_not_fit_and_is_counted(
    tmp_path, make_rings, axes, samples_of, push, monkeypatch
):
    def refuse(self, data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("telemetry.recorder.BACKLOG", 500_000)
    monkeypatch.setattr("telemetry.durable_stream.RETRY_PERIOD", 0.0)
    rings, samples = {"sample": make_rings()["sample"]}, samples_of(3000)
    recorder = Recorder(tmp_path / "run.mcap", "PSM1", axes, rings)
    with monkeypatch.context() as patch:
        patch.setattr(DurableStream, "_write", refuse)
        for first in range(0, 2000, 100):
            push(rings["sample"], samples[first : first + 100])
            assert recorder.step() == 100  # it keeps up with the ring, so the arm's cycle never notices
    dropped = recorder.status()["lost"]["sample"]
    assert 0 < dropped < 2000
    push(rings["sample"], samples[2000:])
    assert recorder.finish()
    recording = load(tmp_path / "run.mcap")
    assert sum(gap.missing for gap in recording.gaps) == recorder.status()["lost"]["sample"] == dropped
    assert recording.metadata["lost/sample"] == str(dropped)
    assert recording.samples["sequence"][-1] == 3000
    assert recording.complete


def test_file_that_cannot_be_finished_can_be_read(tmp_path, make_rings, axes, samples_of, push, monkeypatch):
    def refuse(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rings = {"sample": make_rings()["sample"]}
    recorder = Recorder(tmp_path / "run.mcap", "PSM1", axes, rings)
    push(rings["sample"], samples_of(300))
    recorder.step()
    monkeypatch.setattr(DurableStream, "_write", refuse)
    assert not recorder.finish()
    recording = load(tmp_path / "run.mcap")
    assert not recording.complete
    assert 270 < len(recording.samples) <= 300


def test_sigterm_drains_the_rings_and_finishes_the_file(tmp_path, make_rings, samples_of, truth_of, push, start):
    rings, samples, truth = make_rings(), samples_of(3000), truth_of(3000)
    push(rings["sample"], samples[:100])
    process = start(
        paths_of(rings), tmp_path / "run.mcap", "--from-start", "--status", str(tmp_path / "status.json"),
        "--metadata", "config=abc", "--axis-kinds", "revolute,revolute,prismatic,revolute,revolute,revolute,revolute",
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    push(rings["sample"], samples[100:])
    push(rings["truth"], truth)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    recording = load(tmp_path / "run.mcap")
    assert recording.complete
    assert recording.samples.tobytes() == samples.tobytes()
    assert recording.truth.tobytes() == truth.tobytes()
    assert recording.metadata["config"] == "abc"
    assert recording.axis_kinds[2] == "prismatic"
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["finished"]
    assert status["written"] == {"sample": 3000, "truth": 3000}
    assert status["bytes"] == (tmp_path / "run.mcap").stat().st_size
    assert lag(rings["sample"].header) == 0


def test_sigkill_costs_no_more_than_one_chunk(tmp_path, make_rings, samples_of, push, start, wait):
    rings, samples = {"sample": make_rings()["sample"]}, samples_of(1001)
    process = start(paths_of(rings), tmp_path / "run.mcap")
    assert process.stdout.readline() == "ready\n"
    for part in (samples[:1000], samples[1000:]):
        push(rings["sample"], part)
        wait(lambda: lag(rings["sample"].header) == 0)  # the second time it is done with the first part
    process.kill()
    process.wait(timeout=30)
    recording = load(tmp_path / "run.mcap")
    assert not recording.complete
    count = len(recording.samples)
    assert count >= 1000 - CHUNK_LIMIT // samples.dtype.itemsize
    assert recording.samples.tobytes() == samples[:count].tobytes()
    assert recording.arm == "PSM1"


def test_recorder_waits_for_a_ring_whose_writer_is_still_starting(tmp_path, make_rings, samples_of, push, start):
    path = tmp_path / "rings" / "samples"
    process = start({"sample": path}, tmp_path / "run.mcap", "--from-start")
    rings = make_rings()
    push(rings["sample"], samples_of(20))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert len(load(tmp_path / "run.mcap").samples) == 20


def test_absent_folder_is_a_clear_error(tmp_path, make_rings, start):
    process = start(paths_of(make_rings()), tmp_path / "absent" / "run.mcap")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("recorder: the recording ")
    assert "ENOENT" in errors
    assert "Traceback" not in errors


def written(tmp_path, make_rings, axes, samples_of, truth_of, push, count=400):
    path = tmp_path / "run.mcap"
    record(make_rings(), path, axes, samples_of(count), truth_of(count), push, part=100)
    return path


def test_every_cut_off_file_gives_what_it_holds_or_a_clear_error(
    tmp_path, make_rings, axes, samples_of, truth_of, push
):
    whole, samples = written(tmp_path, make_rings, axes, samples_of, truth_of, push).read_bytes(), samples_of(400)
    cut = tmp_path / "cut.mcap"
    counts = []
    for size in range(0, len(whole), len(whole) // 97):
        cut.write_bytes(whole[:size])
        try:
            recording = load(cut)
        except RecordingError as error:
            assert str(cut) in str(error)
            counts.append(0)
            continue
        count = len(recording.samples)
        assert recording.samples.tobytes() == samples[:count].tobytes()
        assert not recording.complete
        counts.append(count)
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == 400


def test_damaged_chunk_is_left_out_and_shows_as_a_gap(tmp_path, make_rings, axes, samples_of, truth_of, push):
    path = written(tmp_path, make_rings, axes, samples_of, truth_of, push)
    with path.open("rb") as file:
        chunk = [r for r in StreamReader(file, emit_chunks=True).records if type(r).__name__ == "Chunk"][5]
    data = bytearray(path.read_bytes())
    data[data.index(chunk.data) + len(chunk.data) // 2] ^= 0xFF
    path.write_bytes(data)
    recording = load(path)
    assert not recording.complete
    assert len(recording.gaps) == 1
    assert len(recording.samples) + recording.gaps[0].missing == 400


def test_absent_empty_and_foreign_files_are_clear_errors(tmp_path):
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "foreign.mcap").write_text("time,position\n" * 50)
    for name, told in {"absent": "cannot be read", "empty": "is empty", "foreign": "no MCAP file"}.items():
        with pytest.raises(RecordingError, match=told):
            load(tmp_path / f"{name}.mcap")


def test_recording_of_nothing_says_so(tmp_path, make_rings, axes):
    Recorder(tmp_path / "run.mcap", "PSM1", axes, make_rings()).finish()
    with pytest.raises(RecordingError, match="holds no samples"):
        load(tmp_path / "run.mcap")


def test_digest_repeats_ignores_the_wall_clock_and_sees_everything_else(samples_of):
    samples = samples_of(20)
    digest = samples_digest(samples)
    other = samples.copy()
    for field in ("deadline_ns", "wakeup_ns", "compute_ns", "io_ns", "command_sent_ns"):
        other[field] += 1
    assert samples_digest(other) == digest
    assert samples["wakeup_ns"][0] != other["wakeup_ns"][0]  # the digest changes a copy
    seen = {digest}
    kept = set(samples.dtype.names) - {"deadline_ns", "wakeup_ns", "compute_ns", "io_ns", "command_sent_ns"}
    for field in kept:
        other = samples.copy()
        other[field][7] += 1
        seen.add(samples_digest(other))
    assert len(seen) == len(kept) + 1
