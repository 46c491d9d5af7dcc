"""The compiled half of the shared-memory ring: publishing, ordered loads and stores, and the reader.

The cycle fills `slots[head & (capacity - 1)]` and calls `publish(header)`. Processors may reorder memory accesses
(ARM does), so `head` is stored with release order and loaded with acquire order: whoever sees the new head sees the
complete record. `store_release`, `load_acquire` and the fences serve other shared records (mailbox, lock-step) too.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.types.misc import StringLiteral
from numba.extending import intrinsic

from telemetry.errors import RingError
from telemetry.ring_file import FREE, MAX_READERS, RING_HEADER, Ring, create_ring, newest_record, open_ring

__all__ = [
    "FREE",
    "MAX_READERS",
    "RING_HEADER",
    "Ring",
    "RingReader",
    "create_ring",
    "fence_acquire",
    "fence_release",
    "lag",
    "load_acquire",
    "newest_record",
    "open_ring",
    "publish",
    "store_release",
]

F = TypeVar("F", bound=Callable[..., Any])

WORD = 8  # bytes; only 8-byte integers are loaded and stored in one piece on every processor that we run on


def _kernel(signature: Any) -> Callable[[F], F]:  # noqa: ANN401
    def compile_(function: F) -> F:
        return numba.njit(signature, cache=True, nogil=True)(function)  # type: ignore[no-any-return]

    return compile_


def _intrinsic(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    return intrinsic(prefer_literal=True)(function)


def _word_field(records: Any, field: Any) -> tuple[Any, int] | None:  # noqa: ANN401
    """Return Numba's type and the offset of an 8-byte integer field of an array of records, or None if it is none."""
    if not (isinstance(records, types.Array) and isinstance(records.dtype, types.Record)):
        return None
    if not isinstance(field, StringLiteral) or field.literal_value not in records.dtype.fields:
        return None
    kind, offset = records.dtype.typeof(field.literal_value), records.dtype.offset(field.literal_value)
    return (kind, offset) if kind in (types.int64, types.uint64) else None


def _word_pointer(context: Any, builder: Any, records_type: Any, records: Any, offset: int) -> Any:  # noqa: ANN401
    array = context.make_array(records_type)(context, builder, records)
    address = builder.add(builder.ptrtoint(array.data, ir.IntType(64)), ir.Constant(ir.IntType(64), offset))
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@_intrinsic
def load_acquire(typingctx: Any, records: Any, field: Any) -> Any:  # noqa: ANN401
    """Return an 8-byte integer field of `records[0]`; nothing after it is read before it.

    From kernels only: `load_acquire(mailbox, "head")`, the field's name as a literal.
    """
    word = _word_field(records, field)
    if word is None:
        return None
    kind, offset = word

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        pointer = _word_pointer(context, builder, signature.args[0], args[0], offset)
        return builder.load_atomic(pointer, "acquire", WORD)

    return kind(records, field), codegen


@_intrinsic
def store_release(typingctx: Any, records: Any, field: Any, value: Any) -> Any:  # noqa: ANN401
    """Store an 8-byte integer field of `records[0]`; whoever loads it sees everything written before it.

    From kernels only: `store_release(mailbox, "head", head + 1)`, the field's name as a literal.
    """
    word = _word_field(records, field)
    if word is None or not isinstance(value, types.Integer):
        return None
    kind, offset = word

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        pointer = _word_pointer(context, builder, signature.args[0], args[0], offset)
        stored = context.cast(builder, args[2], signature.args[2], kind)
        builder.store_atomic(stored, pointer, "release", WORD)
        return context.get_dummy_value()

    return types.void(records, field, value), codegen


def _fence(ordering: str) -> Any:  # noqa: ANN401
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        builder.fence(ordering)
        return context.get_dummy_value()

    return types.void(), codegen


@_intrinsic
def fence_acquire(typingctx: Any) -> Any:  # noqa: ANN401
    """Keep every later access after every earlier load. From kernels only."""
    return _fence("acquire")


@_intrinsic
def fence_release(typingctx: Any) -> Any:  # noqa: ANN401
    """Keep every earlier access before every later store. From kernels only."""
    return _fence("release")


_HEADER = types.Array(numba.from_dtype(RING_HEADER), 1, "C")


@_kernel(types.void(_HEADER))
def publish(header: np.ndarray[Any, Any]) -> None:
    """Make the record in `slots[head & (capacity - 1)]` visible: advance the head. For the one writer."""
    store_release(header, "head", header[0].head + np.uint64(1))


@_kernel(types.uint64(_HEADER))
def lag(header: np.ndarray[Any, Any]) -> int:
    """Return how many records the slowest registered reader has yet to take; 0 when none is registered.

    In lock-step the writer waits while this is near the capacity, so that no record is lost however fast time runs.
    """
    head = header[0].head
    most = np.uint64(0)
    for i in range(MAX_READERS):
        cursor = header[0].cursors[i]
        if cursor != np.uint64(FREE) and cursor < head and head - cursor > most:
            most = head - cursor
    fence_acquire()  # slots that the cursors free are reused only after they were seen
    return most  # type: ignore[return-value]


@_kernel(types.uint64(_HEADER))
def _head(header: np.ndarray[Any, Any]) -> int:
    fence_acquire()  # what was copied before this call was loaded before the head below
    return load_acquire(header, "head")  # type: ignore[no-any-return]


@_kernel(types.void(_HEADER, types.int64, types.uint64))
def _set_cursor(header: np.ndarray[Any, Any], slot: int, value: int) -> None:
    fence_release()  # the copies are made before the writer may reuse their slots
    header[0].cursors[slot] = value


class RingReader:
    """Reads every record of a ring in order; tells which ones the writer overtook.

    Attributes:
        ring: The ring that is read.
        lost: Records that were overwritten before they could be read, so far.

    Args:
        ring: The ring.
        slot: Which cursor of the header to register, 0 .. MAX_READERS - 1, so that a writer in lock-step waits for
            this reader; None: none, nobody waits.
        oldest: Begin with the oldest record that is still there; otherwise with the next one to be written.

    Raises:
        RingError: There is no such slot.
    """

    def __init__(self, ring: Ring, slot: int | None = None, *, oldest: bool = False) -> None:
        if slot is not None and not 0 <= slot < MAX_READERS:
            raise RingError(f"reader slot {slot} of {ring.path} was asked for: slots are 0 .. {MAX_READERS - 1}")
        self.ring = ring
        self.lost = 0
        self._slot = slot
        # As bytes: one memcpy a span, padding and all.
        self._bytes = ring.slots.view("u1").reshape(ring.capacity, ring.slots.dtype.itemsize)
        head = int(_head(ring.header))
        self._next = self._oldest(head) if oldest else head
        self._announce()

    def __enter__(self) -> "RingReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def position(self) -> int:
        """How many records have been read or lost: the number of the next one."""
        return self._next

    @property
    def pending(self) -> int:
        """How many records were written and not yet read."""
        return int(_head(self.ring.header)) - self._next

    def read(self, limit: int = 4096) -> np.ndarray[Any, Any]:
        """Return copies of the next records in order, at most `limit` of them, shape (n,); n is 0 when none is new."""
        head = int(_head(self.ring.header))
        first = max(self._next, self._oldest(head))
        count = min(head - first, limit)
        if count <= 0:
            return np.empty(0, self.ring.slots.dtype)
        copies = self._copy(first, count)
        # What the writer may have begun to overwrite meanwhile is not whole: leave it out.
        overtaken = min(max(self._oldest(int(_head(self.ring.header))) - first, 0), count)
        self.lost += first + overtaken - self._next
        self._next = first + count
        self._announce()
        return copies[overtaken:].reshape(-1).view(self.ring.slots.dtype)

    def newest(self) -> np.ndarray[Any, Any] | None:
        """Return a copy of the newest record, shape (1,), or None while there is none; leaves the position alone."""
        return newest_record(self.ring)

    def close(self) -> None:
        """Free the cursor; the writer waits for this reader no more."""
        if self._slot is not None:
            _set_cursor(self.ring.header, self._slot, FREE)
            self._slot = None

    def _oldest(self, head: int) -> int:
        # The slot at `head` is being written now, so one record less than the capacity is safe.
        return max(head - self.ring.capacity + 1, 0)

    def _copy(self, first: int, count: int) -> np.ndarray[Any, Any]:
        begin = first & (self.ring.capacity - 1)
        if begin + count <= self.ring.capacity:
            return self._bytes[begin : begin + count].copy()
        return np.concatenate((self._bytes[begin:], self._bytes[: begin + count - self.ring.capacity]))

    def _announce(self) -> None:
        if self._slot is not None:
            _set_cursor(self.ring.header, self._slot, self._next)
