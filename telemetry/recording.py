"""A recording, read: every record as it was in the ring, whether the file was finished or not.

recording = load("run.mcap")
recording.samples["measured_position"][:, 0]
"""

import hashlib
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Footer, Metadata, Schema
from mcap.stream_reader import StreamReader, get_chunk_data_stream
from mcap.writer import MCAP0_MAGIC

from telemetry.errors import RecordingError
from telemetry.layout import build_dtype
from telemetry.recorder import METADATA, METADATA_END, RECORD_ENCODING

__all__ = ["WALL_CLOCK_FIELDS", "Gap", "Recording", "RecordingError", "load", "samples_digest"]

WALL_CLOCK_FIELDS = ("deadline_ns", "wakeup_ns", "compute_ns", "io_ns", "command_sent_ns")
"""What two runs in lock-step that are equal to the bit may still differ in."""

RECORD_HEAD = struct.Struct("<BQ")  # opcode, length
MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time


class Gap(NamedTuple):
    """Samples that are missing."""

    after: int
    """Sequence number of the last one before."""
    missing: int


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a file holds."""

    path: Path
    records: dict[str, np.ndarray[Any, Any]]
    """Every ring's records by name, shape (n,), of the dtype that the file describes."""
    metadata: dict[str, str]
    """arm, axes, axis_kinds, version, lockstep, wall_offset_ns, epoch/RING; written/RING and lost/RING if finished;
    from a daemon's arm also `description`, the arm's file or its name."""
    complete: bool
    """False: the recorder did not finish the file, or a part of it is damaged and left out."""

    @property
    def samples(self) -> np.ndarray[Any, Any]:
        """The arm's samples, shape (n,), dtype telemetry.sample.SAMPLE as it was when they were recorded."""
        return self.records["sample"]

    @property
    def truth(self) -> np.ndarray[Any, Any] | None:
        """What the emulated arm really did, or None if the arm was not emulated."""
        return self.records.get("truth")

    @property
    def arm(self) -> str:
        """The arm's name."""
        return self.metadata.get("arm", "")

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of its axes, the jaw last."""
        return tuple(self.metadata.get("axes", "").split(","))

    @property
    def axis_kinds(self) -> tuple[str, ...]:
        """`revolute` or `prismatic` for each axis; empty strings where the recorder was not told."""
        kinds = self.metadata.get("axis_kinds", "")
        return tuple(kinds.split(",")) if kinds else ("",) * len(self.axes)

    @property
    def lockstep(self) -> bool:
        """Whether time was virtual."""
        return self.metadata.get("lockstep") == "true"

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Where samples are missing."""
        sequence = self.samples["sequence"].astype(np.int64)
        steps = np.diff(sequence)
        return tuple(Gap(int(sequence[i]), int(steps[i]) - 1) for i in np.flatnonzero(steps > 1))


def load(path: Path | str) -> Recording:
    """Return a recording; of a file that was never finished, all that reached the disk.

    Raises:
        RecordingError: The file is absent, empty, no recording, or holds no sample.
    """
    path = Path(path)
    metadata: dict[str, str] = {}
    names: dict[int, tuple[str, np.dtype[Any]]] = {}  # channel -> ring, dtype
    parts: dict[int, list[memoryview]] = {}
    complete = False
    damaged = 0
    try:
        with path.open("rb") as file:
            magic = file.read(len(MCAP0_MAGIC))
            if not magic:
                raise RecordingError(f"{path} is empty: its recorder never began, or the disk was full; remove it")
            if magic != MCAP0_MAGIC:
                raise RecordingError(f"{path} is no MCAP file; `trocar record FILE` makes recordings")
            file.seek(0)
            reader = StreamReader(file, emit_chunks=True)
            for record in _readable_records(reader):
                if isinstance(record, Chunk):
                    try:
                        _take_chunk(record, names, parts)
                    except (McapError, ValueError, RuntimeError, struct.error):
                        damaged += 1  # cut off or changed: its check sum tells
                elif isinstance(record, Metadata) and record.name in (METADATA, METADATA_END):
                    metadata.update(record.metadata)
                elif isinstance(record, Footer):
                    complete = damaged == 0
    except OSError as error:
        raise RecordingError(f"the recording {path} cannot be read ({error.strerror}); check the path") from error
    if not metadata:
        raise RecordingError(f"{path} is an MCAP file, but none of Trocar's recordings: it names no arm")
    records = {name: _joined(parts[channel], dtype) for channel, (name, dtype) in names.items() if parts.get(channel)}
    if "sample" not in records:
        raise RecordingError(f"{path} holds no samples: the arm's cycle did not run while it was recorded")
    return Recording(path=path, records=records, metadata=metadata, complete=complete)


def samples_digest(samples: np.ndarray[Any, Any]) -> str:
    """Return the SHA-256 of samples, their wall-clock fields left out: equal runs in lock-step have equal digests."""
    kept = samples.copy()
    for field in WALL_CLOCK_FIELDS:
        if field in (kept.dtype.names or ()):
            kept[field] = 0
    return hashlib.sha256(kept.tobytes()).hexdigest()


def _readable_records(reader: StreamReader) -> Iterator[Any]:
    """Yield the file's records up to its end, or to where it breaks off."""
    try:
        yield from reader.records
    except (McapError, ValueError, struct.error):
        return


def _take_chunk(chunk: Chunk, names: dict[int, tuple[str, np.dtype[Any]]], parts: dict[int, list[memoryview]]) -> None:
    """Take a chunk's records from our own channels; ValueError if its check sum is wrong."""
    stream, length = get_chunk_data_stream(chunk, validate_crc=True)
    data = stream.read(length)
    view = memoryview(data)
    schemas: dict[int, Schema] = {}
    at = 0
    while at < length:
        opcode, size = RECORD_HEAD.unpack_from(data, at)
        at += RECORD_HEAD.size
        if opcode == Opcode.MESSAGE:
            channel = MESSAGE_HEAD.unpack_from(data, at)[0]
            if channel in names:
                parts[channel].append(view[at + MESSAGE_HEAD.size : at + size])
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(ReadDataStream(io.BytesIO(data[at : at + size])))
            schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            described = Channel.read(ReadDataStream(io.BytesIO(data[at : at + size])))
            if described.message_encoding == RECORD_ENCODING:
                layout = json.loads(schemas[described.schema_id].data)
                names[described.id] = (described.topic.rsplit("/", 1)[-1], build_dtype(layout["dtype"]))
                parts[described.id] = []
        at += size


def _joined(parts: list[memoryview], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(bytearray().join(parts), dtype)
