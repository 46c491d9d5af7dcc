"""Frames, compiled: CRC-32, COBS byte stuffing, and the two together.

A frame is `[type u8][flags u8 = 0][payload length u16][payload][CRC-32 of all before]`, stuffed with COBS so that it
holds no zero byte, and ended by one zero byte. The firmware has the same in C (`firmware/core/frame.c`). Some payloads
end with a tag: SipHash-2-4 of header, payload and the session's 64-bit number, as if that stood in the tag's place.

Sources: S. Cheshire, M. Baker, "Consistent overhead byte stuffing", IEEE/ACM Transactions on Networking 7(2), 1999; the
CRC is that of IEEE 802.3 and zlib (reflected polynomial 0xEDB88320).
"""

from typing import Any

import numpy as np
from numba.core import types

from firmware_bridge.siphash import key_words, siphash
from kinematics.compiled import kernel

__all__ = [
    "BAD",
    "CHECK",
    "HEADER",
    "TAG",
    "cobs_decode",
    "cobs_encode",
    "crc32",
    "make_frame",
    "parse_frame",
    "seal",
    "seal_tagged",
]

HEADER = 4
"""Bytes before the payload."""
CHECK = 4
"""Bytes of the CRC after it."""
TAG = 8
"""Bytes of the authentication tag that ends the payload of some messages."""
BAD = -1
"""What the kernels return for bytes that are no frame."""

_BYTES = types.uint8[::1]


def _crc_tables() -> np.ndarray[Any, Any]:
    """Return four tables: the CRC's change by a byte that is followed by 0, 1, 2 or 3 more, (4, 256)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0xEDB88320), table >> 1).astype(np.uint32)
    tables = [table]
    for _ in range(3):
        tables.append((tables[-1] >> 8 ^ table[tables[-1] & 0xFF]).astype(np.uint32))
    return np.stack(tables)


_CRC = _crc_tables()


@kernel(types.uint32(_BYTES, types.int64))
def crc32(data: np.ndarray[Any, Any], count: int) -> int:
    """Return the CRC-32 of the first `count` bytes, four at a time."""
    crc: Any = np.uint32(0xFFFFFFFF)
    i = 0
    while i + 4 <= count:
        word = (
            np.uint32(data[i])
            | np.uint32(data[i + 1]) << 8
            | np.uint32(data[i + 2]) << 16
            | np.uint32(data[i + 3]) << 24
        )
        crc = np.uint32(crc ^ word)
        crc = np.uint32(
            _CRC[3, crc & np.uint32(0xFF)]
            ^ _CRC[2, crc >> np.uint32(8) & np.uint32(0xFF)]
            ^ _CRC[1, crc >> np.uint32(16) & np.uint32(0xFF)]
            ^ _CRC[0, crc >> np.uint32(24)]
        )
        i += 4
    while i < count:
        crc = np.uint32(crc >> np.uint32(8) ^ _CRC[0, (crc ^ data[i]) & np.uint32(0xFF)])
        i += 1
    return int(crc ^ np.uint32(0xFFFFFFFF))


@kernel(types.int64(_BYTES, types.int64, _BYTES))
def cobs_encode(data: np.ndarray[Any, Any], count: int, out: np.ndarray[Any, Any]) -> int:
    """Stuff the first `count` bytes of `data` into `out`, without the delimiter.

    `out` must have room for count + count // 254 + 1 bytes. Returns how many it took.
    """
    length = 1
    code_at = 0
    code = 1
    for i in range(count):
        byte = data[i]
        if byte != 0:
            out[length] = byte
            length += 1
            code += 1
        if byte == 0 or (code == 255 and i + 1 < count):
            out[code_at] = code
            code_at = length
            length += 1
            code = 1
    out[code_at] = code
    return length


@kernel(types.int64(_BYTES, types.int64, types.int64, _BYTES))
def cobs_decode(data: np.ndarray[Any, Any], start: int, count: int, out: np.ndarray[Any, Any]) -> int:
    """Undo the stuffing of `count` bytes of `data` from `start` on, without their delimiter.

    Returns how many bytes it put into `out`, or BAD: no COBS, or more than `out` holds.
    """
    if count > out.size:
        return BAD
    length = 0
    i = start
    end = start + count
    while i < end:
        code = np.int64(data[i])
        i += 1
        if code == 0 or code - 1 > end - i:
            return BAD
        for _ in range(code - 1):
            if data[i] == 0:
                return BAD
            out[length] = data[i]
            length += 1
            i += 1
        if code != 255 and i < end:
            out[length] = 0
            length += 1
    return length


@kernel(types.int64(types.int64, _BYTES, types.int64, _BYTES))
def seal(type_: int, frame: np.ndarray[Any, Any], length: int, wire: np.ndarray[Any, Any]) -> int:
    """Make a frame of the payload that stands in `frame` from HEADER on; returns the bytes put into `wire`.

    Args:
        type_: The message's number.
        frame: Room for HEADER + length + CHECK bytes; its payload is given, the rest is written here.
        length: Bytes of the payload.
        wire: Gets the stuffed frame and its delimiter.
    """
    frame[0] = type_
    frame[1] = 0
    frame[2] = length & 0xFF
    frame[3] = length >> 8
    end = HEADER + length
    crc = crc32(frame, end)
    for k in range(CHECK):
        frame[end + k] = crc >> np.uint32(8 * k) & np.uint32(0xFF)
    count = cobs_encode(frame, end + CHECK, wire)
    wire[count] = 0
    return count + 1


@kernel(types.int64(types.int64, _BYTES, types.int64, types.uint64, types.uint64, types.uint64, _BYTES))
def seal_tagged(
    type_: int,
    frame: np.ndarray[Any, Any],
    length: int,
    key0: Any,  # noqa: ANN401
    key1: Any,  # noqa: ANN401
    session: Any,  # noqa: ANN401
    wire: np.ndarray[Any, Any],
) -> int:
    """Make a frame like `seal`, its payload followed by a tag.

    Args:
        type_: The message's number.
        frame: Room for HEADER + length + TAG + CHECK bytes; its payload is given, the rest is written here.
        length: Bytes of the payload, without the tag.
        key0: The key's first word; see `siphash.key_words`.
        key1: Its second one.
        session: The number of the session.
        wire: Gets the stuffed frame and its delimiter.
    """
    frame[0] = type_
    frame[1] = 0
    frame[2] = length + TAG & 0xFF
    frame[3] = length + TAG >> 8
    end = HEADER + length
    for k in range(TAG):
        frame[end + k] = session >> np.uint64(8 * k) & np.uint64(0xFF)
    tag = siphash(frame, end + TAG, key0, key1)
    for k in range(TAG):
        frame[end + k] = tag >> np.uint64(8 * k) & np.uint64(0xFF)
    return seal(type_, frame, length + TAG, wire)


@kernel(types.int64(_BYTES, types.int64, types.int64, _BYTES))
def parse_frame(wire: np.ndarray[Any, Any], start: int, count: int, frame: np.ndarray[Any, Any]) -> int:
    """Check the `count` bytes between two delimiters; the type is then frame[0], the payload begins at frame[HEADER].

    Returns the payload's length, or BAD: stuffing, flags, length or CRC wrong.
    """
    total = cobs_decode(wire, start, count, frame)
    if total < HEADER + CHECK:
        return BAD
    end = total - CHECK
    if frame[1] != 0 or (np.int64(frame[2]) | np.int64(frame[3]) << 8) != end - HEADER:
        return BAD
    crc = np.uint32(0)
    for k in range(CHECK):
        crc = np.uint32(crc | np.uint32(frame[end + k]) << np.uint32(8 * k))
    if crc != crc32(frame, end):
        return BAD
    return end - HEADER


def make_frame(type_: int, payload: bytes, key: bytes | None = None, session: int = 0) -> bytes:
    """Return the bytes of one frame on the wire, its delimiter included.

    Args:
        type_: The message's number.
        payload: Without a tag.
        key: Adds the tag that COMMAND and CONFIGURE need, siphash.KEY_SIZE bytes; all 0 for a device without a key.
        session: Its number in HELLO_REPLY: see `messages.session_of`.
    """
    if len(payload) > 0xFFFF - TAG:
        raise ValueError(
            f"a payload of {len(payload)} bytes was given; a frame carries at most {0xFFFF - TAG}: split it"
        )
    frame = np.zeros(HEADER + len(payload) + TAG + CHECK, dtype=np.uint8)
    frame[HEADER : HEADER + len(payload)] = np.frombuffer(payload, dtype=np.uint8)
    wire = np.empty(frame.size + frame.size // 254 + 2, dtype=np.uint8)
    if key is None:
        count = seal(type_, frame, len(payload), wire)
    else:
        count = seal_tagged(type_, frame, len(payload), *key_words(key), np.uint64(session), wire)
    return wire[:count].tobytes()
