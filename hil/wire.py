"""The serial line between host and motor controllers: every byte takes its time, and what can befall it.

A line is two lanes, one per direction. A byte put on a lane at some time begins when the one before it is through and
arrives 10 bit times later (start bit, eight data bits, stop bit). Times are the rig's own.

What somebody in between does to whole frames (tampering, replaying, babbling) is in `hil/intruder.py`.
"""

import numpy as np
from numba.core import types

from hil.fault_record import FAULTS
from hil.noise import GOLDEN, mix, uniform
from kinematics.compiled import Array, array_of, kernel

__all__ = [
    "CAPACITY",
    "HISTORY",
    "LANE",
    "NOTHING",
    "ROOM",
    "TO_DEVICE",
    "TO_HOST",
    "lane_arrival",
    "lane_is_empty",
    "make_lane",
    "put_byte",
    "take_byte",
]

CAPACITY = 16384  # bytes on their way; a power of two
BITS_PER_BYTE = 10
TO_DEVICE, TO_HOST = 0b01, 0b10  # directions, as the set `wire_cut` has them
TRUNCATED_MAX = 64  # bytes that are left of a truncated frame, at the most
HISTORY = 64  # frames kept of those that the host sent; a power of two
ROOM = 512  # bytes of one of them, stuffed, with its delimiter; more than any message has
NOTHING = -1

LANE = np.dtype(
    [
        ("direction", "i8"),
        ("byte_ps", "i8"),  # time that a byte takes, ps: 4 Mbaud is 2.5 us, but 115200 baud no whole ns
        ("free_ps", "i8"),  # when the line is free again
        ("head", "i8"),  # bytes put in so far
        ("tail", "i8"),  # bytes taken out so far
        ("taken_ns", "i8"),  # when the byte taken last had arrived
        ("random", "u8"),
        ("frame_start", "i8"),  # `head` when the present frame began
        ("in_frame", "i8"),
        ("dropping", "i8"),  # the present frame is being lost
        ("truncate_after", "i8"),  # so many more bytes of it; 0: not
        ("burst_left", "i8"),  # bytes that the present burst of interference still meets
        ("bytes", "u1", (CAPACITY,)),
        ("arrival_ns", "i8", (CAPACITY,)),
        # for hil/intruder.py
        ("history", "u1", (HISTORY * ROOM,)),  # frames as they were sent, the present one the last
        ("history_bytes", "i8", (HISTORY,)),
        ("frames", "i8"),  # whole ones in it so far
        ("present", "i8"),  # bytes of the present one that the host has sent
        ("passed", "i8"),  # and those of them that are on the line already
        ("frame", "u1", (ROOM,)),
        ("wire", "u1", (ROOM + 8,)),
        ("foreign", "u1", (ROOM,)),  # another device's frame
        ("foreign_bytes", "i8"),
        ("foreign_next", "i8"),
    ],
    align=True,
)
_LANE, _FAULTS = array_of(LANE), array_of(FAULTS)
_MASK = CAPACITY - 1


def make_lane(baud: int, seed: int, direction: int = TO_DEVICE) -> Array:
    """Return an empty lane, shape (1,), dtype LANE.

    Args:
        baud: Bits per second.
        seed: Of its faults.
        direction: TO_DEVICE or TO_HOST.
    """
    lane = np.zeros(1, LANE)
    lane["direction"] = direction
    lane["byte_ps"] = round(BITS_PER_BYTE * 1e12 / baud)
    lane["random"] = mix(np.uint64(seed))
    return lane


@kernel(types.float64(_LANE))
def _draw(lane: Array) -> float:
    lane[0].random += GOLDEN
    return uniform(mix(lane[0].random))


@kernel(types.void(_LANE, _FAULTS, _FAULTS, types.int64, types.int64))
def _append(lane: Array, faults: Array, counts: Array, byte: int, delay_ns: int) -> None:
    """Let a byte follow the others on the line, unless it is lost there."""
    c = lane[0]
    c.free_ps += c.byte_ps
    if faults[0].byte_drop_rate > 0.0 and _draw(lane) < faults[0].byte_drop_rate:
        counts[0].bytes_dropped += 1
        return
    if faults[0].burst_rate > 0.0:
        if c.burst_left == 0 and _draw(lane) < faults[0].burst_rate:
            c.burst_left = faults[0].burst_bytes
            counts[0].bursts += 1
        if c.burst_left > 0:
            c.burst_left -= 1
            lane[0].random += GOLDEN
            byte = int(np.int64(mix(lane[0].random) >> np.uint64(56)))
            counts[0].bytes_burst += 1
    if faults[0].bit_error_rate > 0.0:
        for bit in range(8):
            if _draw(lane) < faults[0].bit_error_rate:
                byte ^= 1 << bit
                counts[0].bits_flipped += 1
    if c.head - c.tail >= CAPACITY:
        counts[0].bytes_overflowed += 1
        return
    slot = c.head & _MASK
    c.bytes[slot] = byte
    c.arrival_ns[slot] = (c.free_ps + 999) // 1000 + delay_ns
    c.head += 1


@kernel(types.void(_LANE, _FAULTS, _FAULTS, types.int64, types.int64, types.int64, types.int64))
def put_byte(lane: Array, faults: Array, counts: Array, byte: int, now_ns: int, delay_ns: int, is_garbled: int) -> None:
    """Send one byte.

    Args:
        lane: The direction.
        faults: The faults in force.
        counts: Where to count what they did (the FAULTS record that others see).
        byte: 0..255.
        now_ns: When it was written, in the rig's time.
        delay_ns: It arrives so much later than the line alone would let it.
        is_garbled: 1 when sender and receiver are at different baud rates: what arrives has nothing to do with it.
    """
    c = lane[0]
    c.free_ps = max(c.free_ps, now_ns * 1000)
    if not c.in_frame and byte == 0 and not is_garbled:
        _append(lane, faults, counts, byte, delay_ns)  # a delimiter without a frame before it
        return
    if not c.in_frame:
        c.in_frame = 1
        c.frame_start = c.head
        c.dropping = 0
        if faults[0].frame_drop_rate > 0.0 and _draw(lane) < faults[0].frame_drop_rate:
            c.dropping = 1
            counts[0].frames_dropped += 1
        c.truncate_after = 0
        if faults[0].frame_truncate_rate > 0.0 and _draw(lane) < faults[0].frame_truncate_rate:
            c.truncate_after = 1 + np.int64(_draw(lane) * TRUNCATED_MAX)
    ends = byte == 0  # a frame ends with its delimiter
    if is_garbled:
        lane[0].random += GOLDEN
        byte = int(np.int64(mix(lane[0].random) >> np.uint64(56)))
        counts[0].bytes_garbled += 1
    if c.dropping:
        c.free_ps += c.byte_ps
    else:
        _append(lane, faults, counts, byte, delay_ns)
    if not ends:
        if c.truncate_after > 0:
            c.truncate_after -= 1
            if c.truncate_after == 0 and not c.dropping:
                c.dropping = 1
                counts[0].frames_truncated += 1
        return
    c.in_frame = 0
    rate = faults[0].frame_duplicate_rate
    if rate > 0.0 and not c.dropping and c.frame_start >= c.tail and _draw(lane) < rate:
        counts[0].frames_duplicated += 1
        for i in range(c.frame_start, c.head):
            _append(lane, faults, counts, int(np.int64(c.bytes[i & _MASK])), delay_ns)


@kernel(types.int64(_LANE, _FAULTS, _FAULTS, types.int64))
def take_byte(lane: Array, faults: Array, counts: Array, now_ns: int) -> int:
    """Return the next byte that has arrived by now, or NOTHING; with the wire cut, what arrives is lost."""
    c = lane[0]
    while c.tail < c.head and c.arrival_ns[c.tail & _MASK] <= now_ns:
        byte = int(np.int64(c.bytes[c.tail & _MASK]))
        c.taken_ns = c.arrival_ns[c.tail & _MASK]
        c.tail += 1
        if not faults[0].wire_cut & c.direction:
            return byte
        counts[0].bytes_cut += 1
    return NOTHING


@kernel(types.int64(_LANE))
def lane_arrival(lane: Array) -> int:
    """Return when the last byte of the lane arrives, in the rig's time; the lane is not empty."""
    return int(lane[0].arrival_ns[(lane[0].head - 1) & _MASK])


@kernel(types.int64(_LANE))
def lane_is_empty(lane: Array) -> int:
    """Return 1 when no byte is on its way."""
    return 1 if lane[0].head == lane[0].tail else 0
