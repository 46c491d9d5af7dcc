"""The recorder: a process that reads rings and writes one MCAP file.

    python -m telemetry.recorder --output run.mcap --arm PSM1 --axes yaw,pitch,insertion,... \
        --ring sample=/run/.../samples --ring truth=/run/.../truth --slot 1 --status /run/.../recorder.json

It prints `ready` when it has its cursors. SIGTERM or SIGINT ends it: it drains the rings to where they are at that
moment and finishes the file. It reads the rings and not the bus, so it loses nothing that it can keep up with.

What a crash leaves: chunks are small and go to the file as they fill, so a file that was never finished lacks a few
milliseconds (`telemetry.recording.load` reads it). A disk that is full or fails does not end the recorder: it says so
in the status file, holds a few seconds of records, and goes on writing when it can.
"""

import argparse
import importlib.metadata
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer

from telemetry.durable_stream import DurableStream, name_of_error
from telemetry.errors import RecordingError, RingError, TelemetryError
from telemetry.joint_state import SCHEMA, SCHEMA_NAME, JointStateLayout
from telemetry.layout import describe_dtype
from telemetry.ring import Ring, RingReader, open_ring
from telemetry.sample import SAMPLE, layout_hash

__all__ = ["RECORD_ENCODING", "SCHEMA_ENCODING", "Recorder", "main"]

RECORD_ENCODING = "trocar_record"  # a message is the record's bytes ...
SCHEMA_ENCODING = "numpy_dtype"  # ... and its schema the JSON of telemetry.layout
METADATA, METADATA_END = "trocar", "trocar/end"

CHUNK_SIZE = 14 * 1024  # bytes; the writer closes a chunk once it is longer, so that none exceeds 16 KiB
COMPRESSION = CompressionType.LZ4
BACKLOG = 16 * 1024 * 1024  # bytes held while the disk does not take them
BATCH = 512  # records read from a ring at a time
IDLE = 0.02  # s between looks at the rings, so that records come in batches; a ring of 16,384 lasts 16 s at 1 kHz
SYNC_PERIOD = 1.0  # s
STATUS_PERIOD = 0.5  # s
HELD_BACK = 65_536  # records of one ring that wait, in lock-step, for those of a silent one
WAIT_FOR_RINGS = 10.0  # s


class _Source:
    """One ring on its way into its channels."""

    def __init__(self, name: str, ring: Ring, slot: int | None, from_start: bool) -> None:
        self.name = name
        self.reader = RingReader(ring, slot, oldest=from_start)
        self.dtype = ring.slots.dtype
        if "t_ns" not in (self.dtype.names or ()):
            raise RingError(f"the records of ring {ring.path} have no field t_ns, which says when they were made")
        self.is_sample = layout_hash(self.dtype) == layout_hash(SAMPLE)
        self.channel = 0
        self.joint_channels: dict[str, int] = {}  # measured, setpoint
        self.held = np.empty(0, self.dtype)  # read, not yet written
        self.newest_ns = -1
        self.written = 0
        self.dropped = 0  # read, but there was nowhere to put them

    @property
    def lost(self) -> int:
        """Records that are missing in the file."""
        return self.reader.lost + self.dropped


class Recorder:
    """Writes rings into a file until `finish`.

    Args:
        path: The file. A recording is never overwritten: if it exists, the name gets a number.
        arm: The arm's name, the first part of every channel's topic.
        axes: Its axes' names.
        rings: The rings by name, e.g. {"sample": ..., "truth": ...}.
        slot: Which reader's cursor to register in each ring; None: none.
        from_start: Begin with the oldest records in the rings; otherwise with the next ones.
        lockstep: Time is virtual: stamp messages with it alone and order them by it, so that equal runs give equal
            files.
        axis_kinds: `revolute` or `prismatic` for each axis, so that readers know its units; empty: not known.
        metadata: More to note in the file.

    Raises:
        RecordingError: The file cannot be made.
        RingError: A ring's records have no time.
    """

    def __init__(
        self,
        path: Path,
        arm: str,
        axes: Sequence[str],
        rings: dict[str, Ring],
        *,
        slot: int | None = None,
        from_start: bool = False,
        lockstep: bool = False,
        axis_kinds: Sequence[str] = (),
        metadata: dict[str, str] | None = None,
    ) -> None:
        self._lockstep = lockstep
        self._axes = tuple(axes)
        self._joint_state = JointStateLayout(self._axes, f"{arm}_base")
        self._sources = [_Source(name, ring, slot, from_start) for name, ring in rings.items()]
        self._wall_offset_ns = 0 if lockstep else int(next(iter(rings.values())).header["wall_offset_ns"][0])
        self.path = _unused(path)
        try:
            self.stream = DurableStream(self.path)
        except OSError as error:
            raise RecordingError(
                f"the recording {self.path} cannot be made ({name_of_error(error)}): "
                "give a folder that exists and has space"
            ) from error
        self._writer = Writer(self.stream, CHUNK_SIZE, COMPRESSION)
        self._writer.start(profile="", library=f"trocar {_version()}")
        epochs = {f"epoch/{name}": str(int(ring.header["epoch"][0])) for name, ring in rings.items()}
        described = {
            "arm": arm,
            "axes": ",".join(self._axes),
            "axis_kinds": ",".join(axis_kinds),
            "version": _version(),
            "lockstep": str(lockstep).lower(),
            "wall_offset_ns": str(self._wall_offset_ns),
        }
        self._writer.add_metadata(METADATA, described | epochs | (metadata or {}))
        self._register_channels(arm)
        self.stream.commit()
        self._synced_at = time.monotonic()
        self._full = False

    def step(self) -> int:
        """Move what is in the rings into the file; return how many records were read."""
        self.stream.commit()  # what the disk did not take before
        self._full = self.stream.backlog > BACKLOG
        count = 0
        for source in self._sources:
            records = source.reader.read(BATCH)
            if len(records):
                count += len(records)
                source.newest_ns = int(records["t_ns"][-1])
                source.held = np.concatenate((source.held, records)) if len(source.held) else records
        self._write_held(everything=not self._lockstep)
        self.stream.commit()
        if time.monotonic() - self._synced_at > SYNC_PERIOD:
            if not self._lockstep:  # there the chunks, too, are to be the same in every run
                self._writer.flush()
                self.stream.commit()
            self.stream.sync()
            self._synced_at = time.monotonic()
        return count

    def finish(self) -> bool:
        """Drain the rings to where they are now, finish the file, free the cursors; True if all went into the file."""
        goals = [(source.reader, source.reader.position + source.reader.pending) for source in self._sources]
        while any(reader.position < goal for reader, goal in goals):
            self.step()
        self._write_held(everything=True)
        end = {f"lost/{source.name}": str(source.lost) for source in self._sources}
        end |= {f"written/{source.name}": str(source.written) for source in self._sources}
        self._writer.add_metadata(METADATA_END, end)
        self._writer.finish()
        complete = self.stream.commit(now=True)
        self.stream.sync()
        self.stream.close()
        for source in self._sources:
            source.reader.close()
        return complete

    def status(self, *, finished: bool = False) -> dict[str, Any]:
        """Return what an operator wants to know: file, bytes, records written and lost by ring, error."""
        return {
            "pid": os.getpid(),
            "file": str(self.path),
            "bytes": self.stream.committed,
            "waiting_bytes": self.stream.backlog,
            "written": {source.name: source.written for source in self._sources},
            "lost": {source.name: source.lost for source in self._sources},
            "error": self.stream.error,
            "finished": finished,
            "updated_ns": time.monotonic_ns(),
        }

    def _register_channels(self, arm: str) -> None:
        joint_schema = 0
        for source in self._sources:
            description = json.dumps({"layout": layout_hash(source.dtype), "dtype": describe_dtype(source.dtype)})
            schema = self._writer.register_schema(f"trocar/{source.name}", SCHEMA_ENCODING, description.encode())
            source.channel = self._writer.register_channel(f"/{arm}/{source.name}", RECORD_ENCODING, schema)
            if not source.is_sample:
                continue
            joint_schema = joint_schema or self._writer.register_schema(SCHEMA_NAME, "ros2msg", SCHEMA.encode())
            for which in ("measured", "setpoint"):
                topic = f"/{arm}/{which}_js"
                source.joint_channels[which] = self._writer.register_channel(topic, "cdr", joint_schema)

    def _write_held(self, *, everything: bool) -> None:
        """Write the held records, in lock-step by time: those that no ring can still bring an older one for."""
        horizon = min(source.newest_ns for source in self._sources)
        ready: list[tuple[np.ndarray[Any, Any], _Source]] = []
        for source in self._sources:
            count = len(source.held)
            if not everything and count <= HELD_BACK:
                count = int(np.searchsorted(source.held["t_ns"], horizon, side="right"))
            if count:
                ready.append((source.held[:count], source))
                source.held = source.held[count:]
        if self._full:
            for records, source in ready:
                source.dropped += len(records)
            return
        if len(ready) == 1 or (everything and not self._lockstep):
            for records, source in ready:
                self._write(source, records)
            return
        if ready:
            self._write_merged(ready)

    def _write_merged(self, ready: list[tuple[np.ndarray[Any, Any], _Source]]) -> None:
        # A stable sort by time: at equal times the rings keep the order in which they were given.
        times = np.concatenate([records["t_ns"] for records, _ in ready])
        which = np.repeat(np.arange(len(ready)), [len(records) for records, _ in ready])
        encoded = [self._encode(source, records) for records, source in ready]
        taken = [0] * len(ready)
        for source_index in which[np.argsort(times, kind="stable")]:
            row, source = taken[source_index], ready[source_index][1]
            taken[source_index] += 1
            self._add(source, encoded[source_index], row)

    def _write(self, source: _Source, records: np.ndarray[Any, Any]) -> None:
        encoded = self._encode(source, records)
        for row in range(len(records)):
            self._add(source, encoded, row)

    def _encode(self, source: _Source, records: np.ndarray[Any, Any]) -> tuple[list[int], list[int], list[Any]]:
        """Return log times, publish times, and per channel its number and its messages."""
        published = records["t_ns"] + self._wall_offset_ns
        logged = published if self._lockstep else np.full(len(records), time.time_ns())
        rows = np.ascontiguousarray(records).view("u1").reshape(len(records), -1)
        channels: list[Any] = [(source.channel, [row.tobytes() for row in rows])]
        n = len(self._axes)
        for which, channel in source.joint_channels.items():
            fields = (records[f"{which}_{what}"][:, :n] for what in ("position", "velocity", "effort"))
            channels.append((channel, self._joint_state.encode(published, *fields)))
        return logged.tolist(), published.tolist(), channels

    def _add(self, source: _Source, encoded: tuple[list[int], list[int], list[Any]], row: int) -> None:
        logged, published, channels = encoded
        source.written += 1
        for channel, messages in channels:
            self._writer.add_message(channel, logged[row], messages[row], published[row], source.written & 0xFFFFFFFF)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recorder; return 0 if everything is in the file, 1 if something is not."""
    options = _parser().parse_args(argv)
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stop.append(received))
    try:
        recorder = Recorder(
            options.output,
            options.arm,
            options.axes.split(","),
            _open_rings(options.ring, stop),
            slot=options.slot,
            from_start=options.from_start,
            lockstep=options.lockstep,
            axis_kinds=options.axis_kinds.split(",") if options.axis_kinds else (),
            metadata=dict(options.metadata),
        )
    except TelemetryError as error:
        print(f"recorder: {error}", file=sys.stderr, flush=True)
        return 1
    if options.lockstep:  # the ring's writer waits for this reader where it must; until then it comes first
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print("ready", flush=True)
    told_at = 0.0
    while not stop:
        if recorder.step() < BATCH:  # else there is more already
            time.sleep(IDLE)
        if options.status and time.monotonic() - told_at > STATUS_PERIOD:
            told_at = time.monotonic()
            _write_status(options.status, recorder.status())
    complete = recorder.finish()
    status = recorder.status(finished=complete)
    if options.status:
        _write_status(options.status, status)
    lost = sum(status["lost"].values())
    if not complete:
        print(
            f"recorder: {recorder.path} is not finished ({recorder.stream.error}); what it holds can still be read",
            file=sys.stderr,
        )
    if lost:
        print(f"recorder: {lost} records are missing in {recorder.path}", file=sys.stderr)
    return 0 if complete and not lost else 1


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"{text!r} was given: write NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m telemetry.recorder", description="Record rings into an MCAP file.")
    parser.add_argument("--output", type=Path, required=True, help="the file; a number is added if it exists")
    parser.add_argument("--arm", required=True, help="the arm's name")
    parser.add_argument("--axes", required=True, help="its axes' names, separated by commas")
    parser.add_argument("--axis-kinds", default="", help="revolute or prismatic for each axis, separated by commas")
    parser.add_argument("--ring", type=_pair, action="append", required=True, help="NAME=PATH; may be repeated")
    parser.add_argument("--slot", type=int, help="which reader cursor to register in each ring")
    parser.add_argument("--from-start", action="store_true", help="begin with the oldest records in the rings")
    parser.add_argument("--lockstep", action="store_true", help="time is virtual")
    parser.add_argument("--status", type=Path, help="a JSON file to report in")
    parser.add_argument("--metadata", type=_pair, action="append", default=[], help="NAME=VALUE; may be repeated")
    return parser


def _open_rings(named: Sequence[tuple[str, str]], stop: Sequence[int]) -> dict[str, Ring]:
    """Return the rings, waiting for those whose writer is still starting."""
    deadline = time.monotonic() + WAIT_FOR_RINGS
    for _, path in named:
        while not Path(path).exists() and time.monotonic() < deadline and not stop:
            time.sleep(IDLE)
    return {name: open_ring(Path(path)) for name, path in named}


def _unused(path: Path) -> Path:
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def _write_status(path: Path, status: dict[str, Any]) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(json.dumps(status) + "\n", encoding="utf-8")
        os.replace(fresh, path)  # noqa: PTH105 - readers see the old one or the new one
    except OSError:
        fresh.unlink(missing_ok=True)  # a full disk is told by the next status that finds room


def _version() -> str:
    try:
        return importlib.metadata.version("trocar")
    except importlib.metadata.PackageNotFoundError:  # run from a bare source tree
        return "0"


if __name__ == "__main__":
    sys.exit(main())
