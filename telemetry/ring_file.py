"""A ring of records in shared memory: its file, without the compiled half (`telemetry.ring`).

One process writes, any number read. The file is one RING_HEADER followed by `capacity` slots. Record n (counted from
0) is in slot `n % capacity`; `head` says how many have been written, and is advanced only once the record is complete.
So a slot is valid from the moment that `head` passes it until the writer has come round again, and a reader finds out
afterwards whether it has been overtaken: it looks at `head` once more.

Next to the ring lies `<name>.json`, the description of its records, so that a reader needs no import of their owner.
Only NumPy is needed here: a client that looks at the newest sample starts in milliseconds.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from telemetry.errors import RingError
from telemetry.layout import build_dtype, describe_dtype
from telemetry.sample import layout_hash
from telemetry.shared import SharedMemoryError, create_records, map_records

__all__ = [
    "FREE",
    "MAGIC",
    "MAX_READERS",
    "RING_HEADER",
    "Ring",
    "create_ring",
    "newest_record",
    "open_ring",
    "records_since",
]

MAGIC = int.from_bytes(b"TROCARr1", "little")  # the last byte is the version of this header
MAX_READERS = 8
FREE = 2**64 - 1  # a cursor that nobody has registered

RING_HEADER = np.dtype(
    [
        ("magic", "u8"),
        ("layout", "u8"),  # telemetry.sample.layout_hash of the records
        ("capacity", "u8"),  # slots, a power of two
        ("record_size", "u8"),  # bytes
        ("epoch", "u8"),  # which start of the daemon this is
        ("wall_offset_ns", "i8"),  # wall clock minus CLOCK_MONOTONIC when the ring was made
        ("reserved", "u8", (2,)),
        ("head", "u8"),  # records written so far; alone on its cache line
        ("padding", "u8", (7,)),
        ("cursors", "u8", (MAX_READERS,)),  # records that each registered reader has taken, or FREE
    ],
    align=True,
)


class Ring(NamedTuple):
    """A mapped ring.

    `header` has shape (1,) and dtype RING_HEADER, `slots` shape (capacity,) and the record's dtype; both are views of
    the shared memory.
    """

    path: Path
    header: np.ndarray[Any, Any]
    slots: np.ndarray[Any, Any]

    @property
    def capacity(self) -> int:
        """How many records the ring holds."""
        return len(self.slots)

    @property
    def head(self) -> int:
        """How many records have been written so far."""
        return int(self.header["head"][0])


def create_ring(path: Path, dtype: np.dtype[Any], capacity: int, *, epoch: int, wall_offset_ns: int) -> Ring:
    """Return a new, empty ring at `path` (mode 0600), in place of what was there; also write `<path>.json`.

    The file appears under its name only once its header is complete.

    Args:
        path: Where, on tmpfs for preference.
        dtype: The records; `align=True`, so that kernels may view them.
        capacity: Slots, a power of two.
        epoch: Which start of the daemon this is; readers tell a restart by it.
        wall_offset_ns: Wall clock minus CLOCK_MONOTONIC, ns; 0 where time is virtual.

    Raises:
        RingError: The capacity is no power of two.
    """
    if capacity < 2 or capacity & (capacity - 1):
        raise RingError(f"the capacity of ring {path} was given as {capacity}: it must be a power of two, e.g. 16384")
    path = Path(path)
    fresh = path.with_name(path.name + ".new")
    memory = create_records(fresh, np.dtype("u1"), RING_HEADER.itemsize + capacity * dtype.itemsize)
    ring = _view(path, memory, dtype)
    header = ring.header
    header["layout"] = int(layout_hash(dtype), 16)
    header["capacity"] = capacity
    header["record_size"] = dtype.itemsize
    header["epoch"] = epoch
    header["wall_offset_ns"] = wall_offset_ns
    header["cursors"] = FREE
    header["magic"] = MAGIC
    description = {"record": path.name, "layout": layout_hash(dtype), "dtype": describe_dtype(dtype)}
    _description_path(path).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, path)  # noqa: PTH105 - the atomic rename is the point
    return ring


def open_ring(path: Path, dtype: np.dtype[Any] | None = None) -> Ring:
    """Return the ring that another process made at `path`.

    Args:
        path: Its file.
        dtype: What its records must be; None: as `<path>.json` describes them.

    Raises:
        RingError: The ring is absent, unfinished, of another version or of other records.
    """
    path = Path(path)
    try:
        memory = map_records(path, np.dtype("u1"))
    except SharedMemoryError as error:
        raise RingError(f"no ring at {path}: the process that writes it is not running; start it first") from error
    if len(memory) < RING_HEADER.itemsize:
        raise RingError(f"{path} has {len(memory)} bytes: too few for a ring; remove it and restart the daemon")
    header = memory[: RING_HEADER.itemsize].view(RING_HEADER)
    if int(header["magic"][0]) != MAGIC:
        raise RingError(f"{path} is no ring of this version of Trocar; restart the daemon with this version")
    if dtype is None:
        dtype = _described_dtype(path)
    found, expected = int(header["layout"][0]), int(layout_hash(dtype), 16)
    size, capacity = int(header["record_size"][0]), int(header["capacity"][0])
    if found != expected or size != dtype.itemsize:
        raise RingError(
            f"the records of {path} have the layout {found:016x} ({size} bytes), this program knows "
            f"{expected:016x} ({dtype.itemsize} bytes): restart the daemon with this version of Trocar"
        )
    if len(memory) != RING_HEADER.itemsize + capacity * size:
        raise RingError(
            f"{path} has {len(memory)} bytes, not the {capacity} records that it announces; restart the daemon"
        )
    return _view(path, memory, dtype)


def newest_record(ring: Ring) -> np.ndarray[Any, Any] | None:
    """Return a copy of the newest record, shape (1,), or None while there is none.

    The slot is found through the head that was read, so no processor loads it too early; and the copy is taken again
    in the case, a full round of the ring later, that the writer has come by meanwhile.
    """
    mask = ring.capacity - 1
    while True:
        head = ring.head
        if head == 0:
            return None
        slot = (head - 1) & mask
        record = ring.slots[slot : slot + 1].copy()
        if ring.head - head < mask:
            return record


def records_since(ring: Ring, t_ns: int) -> np.ndarray[Any, Any]:
    """Return copies of the records that are not older than a time, in order, shape (n,).

    For records with a field `t_ns` that never falls. What the writer overtakes meanwhile is left out.

    Args:
        ring: The ring; its writer may be at work, or dead.
        t_ns: In the records' own time.
    """
    mask, head = ring.capacity - 1, ring.head
    numbers = np.arange(max(head - mask, 0), head)
    if not len(numbers):
        return np.empty(0, ring.slots.dtype)
    first = int(np.searchsorted(ring.slots["t_ns"][numbers & mask], t_ns))
    begin, count = int(numbers[0]) + first, len(numbers) - first
    slot = begin & mask
    records = np.concatenate((ring.slots[slot : slot + count], ring.slots[: max(slot + count - ring.capacity, 0)]))
    overtaken = max(ring.head - mask - begin, 0)
    whole: np.ndarray[Any, Any] = records[overtaken:]
    return whole


def _view(path: Path, memory: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> Ring:
    size = RING_HEADER.itemsize
    return Ring(path, memory[:size].view(RING_HEADER), memory[size:].view(dtype))


def _description_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _described_dtype(path: Path) -> np.dtype[Any]:
    description = _description_path(path)
    try:
        return build_dtype(json.loads(description.read_text(encoding="utf-8"))["dtype"])
    except (OSError, ValueError, KeyError) as error:
        raise RingError(
            f"{description} does not describe the records of {path} ({error}); restart the daemon"
        ) from error
