"""Somebody on the line between guard and motor controllers, or beside them: changes, repeats and invents frames.

What the host sends passes here frame by frame. A changed frame gets a right CRC-32 again, as whoever knows how frames
are made would do it; what tells it from the host's own is the authentication tag in its payload, which stays as it was.
"""

import numpy as np
from numba.core import types

from firmware_bridge.frame import BAD, HEADER, make_frame, parse_frame, seal
from firmware_bridge.messages import MessageType, message_dtype
from hil.fault_record import FAULTS, Babble
from hil.noise import GOLDEN, mix
from hil.wire import HISTORY, LANE, ROOM, put_byte
from kinematics.compiled import Array, array_of, kernel

__all__ = ["babble", "give_foreign_frame", "pass_bytes", "replay_frame"]

_LANE, _FAULTS = array_of(LANE), array_of(FAULTS)
_MASK = HISTORY - 1
_COMMAND = int(MessageType.COMMAND)
LONGEST = ROOM - 8  # bytes of a frame that can still be changed: stuffed anew it may be longer
_BABBLED = np.int64(Babble.FRAMES)


def give_foreign_frame(lane: Array, serial_number: int) -> None:
    """Let a lane know the frame that a babbling device sends again and again: a right HELLO_REPLY of another device."""
    reply = np.zeros(1, message_dtype("HELLO_REPLY"))
    reply["serial_number"] = serial_number
    wire = make_frame(MessageType.HELLO_REPLY, reply.tobytes())
    lane["foreign"][0, : len(wire)] = np.frombuffer(wire, np.uint8)
    lane["foreign_bytes"] = len(wire)


@kernel(types.int64(_LANE, _FAULTS, types.int64, types.int64))
def _tamper(lane: Array, faults: Array, slot: int, count: int) -> int:
    """Change the command in a slot of the history; returns how many bytes of `wire` it now is, BAD: it is none."""
    c, f = lane[0], faults[0]
    frame, wire = c.frame[:], c.wire[:]  # the slices are ordinary arrays: nested ones cannot be arguments
    for i in range(count):
        wire[i] = c.history[slot * ROOM + i]
    length = parse_frame(wire, 0, count - 1, frame)
    if length == BAD or frame[0] != _COMMAND:
        return BAD
    if f.tamper and HEADER + f.tamper_offset + 4 <= HEADER + length:
        bits = np.float32(f.tamper_value).view(np.uint32)
        for k in range(4):
            frame[HEADER + f.tamper_offset + k] = (bits >> np.uint32(8 * k)) & np.uint32(0xFF)
    if f.tamper_mask and f.tamper_mask_offset < length:
        frame[HEADER + f.tamper_mask_offset] ^= np.uint8(f.tamper_mask)
    return int(seal(_COMMAND, frame, length, wire))


@kernel(types.void(_LANE, _FAULTS, _FAULTS, types.int64, types.int64, types.int64))
def _pass_frame(lane: Array, faults: Array, counts: Array, count: int, now_ns: int, is_garbled: int) -> None:
    """Send the present frame on, changed, of which nothing has passed yet."""
    c = lane[0]
    slot = c.frames & _MASK
    changed = _tamper(lane, faults, slot, count)
    for i in range(count if changed == BAD else changed):
        byte = c.history[slot * ROOM + i] if changed == BAD else c.wire[i]
        put_byte(lane, faults, counts, int(np.int64(byte)), now_ns, 0, is_garbled)
    if changed != BAD:
        counts[0].frames_tampered += 1


@kernel(types.void(_LANE, _FAULTS, _FAULTS, types.uint8[::1], types.int64, types.int64, types.int64))
def pass_bytes(
    lane: Array, faults: Array, counts: Array, data: Array, count: int, now_ns: int, is_garbled: int
) -> None:
    """Send bytes of the host's on; while somebody tampers, each frame when it is whole.

    Args:
        lane: To the device.
        faults: The faults in force.
        counts: Where to count what they did.
        data: The bytes.
        count: How many of them.
        now_ns: When they were written, in the rig's time.
        is_garbled: As of `put_byte`.
    """
    c = lane[0]
    history = c.history[:]
    tampers = (faults[0].tamper | faults[0].tamper_mask) != 0 and not is_garbled
    start = (c.frames & _MASK) * ROOM
    present, passed = c.present, c.passed
    for i in range(count):
        byte = data[i]
        if byte == 0 and present == 0:  # a delimiter without a frame before it
            put_byte(lane, faults, counts, 0, now_ns, 0, is_garbled)
            continue
        if present < ROOM:
            history[start + present] = byte
        present += 1
        if not tampers or passed > 0 or present > LONGEST:
            for k in range(passed, present - 1):  # what was kept until now
                put_byte(lane, faults, counts, int(np.int64(history[start + k])), now_ns, 0, is_garbled)
            put_byte(lane, faults, counts, int(np.int64(byte)), now_ns, 0, is_garbled)
            passed = present
        if byte == 0:
            c.history_bytes[start // ROOM] = min(present, ROOM)
            if passed == 0:
                _pass_frame(lane, faults, counts, present, now_ns, is_garbled)
            c.frames += 1
            start = (c.frames & _MASK) * ROOM
            present = 0
            passed = 0
    c.present = present
    c.passed = passed


@kernel(types.int64(_LANE, _FAULTS, _FAULTS, types.int64, types.int64))
def replay_frame(lane: Array, faults: Array, counts: Array, age: int, now_ns: int) -> int:
    """Send a frame of the host's again, of `age` frames ago; returns 0 where it has sent fewer or is sending one."""
    c = lane[0]
    if c.frames < age or c.passed > 0:
        return 0
    slot = (c.frames - age) & _MASK
    for i in range(c.history_bytes[slot]):
        put_byte(lane, faults, counts, int(np.int64(c.history[slot * ROOM + i])), now_ns, 0, 0)
    counts[0].frames_replayed += 1
    return 1


@kernel(types.void(_LANE, _FAULTS, _FAULTS, types.int64, types.int64))
def babble(lane: Array, faults: Array, counts: Array, now_ns: int, duration_ns: int) -> None:
    """Fill the line's last `duration_ns` up to now with what a babbling device says."""
    c = lane[0]
    c.free_ps = max(c.free_ps, (now_ns - duration_ns) * 1000)
    while c.free_ps < now_ns * 1000:
        if faults[0].babble == _BABBLED:
            byte = int(np.int64(c.foreign[c.foreign_next]))
            c.foreign_next += 1
            if c.foreign_next == c.foreign_bytes:
                c.foreign_next = 0
        else:
            c.random += GOLDEN
            byte = int(np.int64(mix(c.random) >> np.uint64(56)))
        put_byte(lane, faults, counts, byte, c.free_ps // 1000, 0, 0)
        counts[0].bytes_babbled += 1
