"""Cycles that came late, replies that did not come, frames that came corrupted, streams that fell silent."""

from numba.core import types

from controller.catalogue import Code
from controller.guard.records import GUARD, LATE_WINDOW, LINK_WINDOW, tell
from kinematics.compiled import Array, array_of, kernel

__all__ = ["check_cycle", "check_link", "check_refusal", "check_stream"]

BAD_IN_A_ROW = 3  # cycles with bad frames
BAD_MAX = LINK_WINDOW // 100  # of the last 1000 cycles; more are a fault
FLOODS = 3  # cycles in a row in which more bytes came than the device sends
REFUSALS = 3  # stream commands in a row
ROUNDING = 1e-9  # s

_OK = int(Code.OK)
_FEEDBACK_LOST, _LINK_NOISY, _FLOODED = int(Code.FEEDBACK_LOST), int(Code.LINK_NOISY), int(Code.PORT_FLOODED)
_LATE, _GAP = int(Code.CYCLES_LATE), int(Code.CYCLE_GAP)
_STALE, _DEAD, _REFUSED = int(Code.STREAM_STALE), int(Code.STREAM_DEAD), int(Code.STREAM_REFUSED)

_GUARD, _i8 = array_of(GUARD), types.int64


@kernel(_i8(_GUARD, _i8))
def check_cycle(guard: Array, skipped: int) -> int:
    """Return 0, or that cycles come late too often, or that the host stood still for longer than the watchdog.

    Call it once at the start of each cycle, first of all checks.

    Args:
        guard: GUARD, (1,).
        skipped: Whole cycles that were skipped before this one, because it began so late.
    """
    g = guard[0]
    g.skipped = skipped
    late = 0
    if skipped > 0:
        late = 1
    at = g.late_at
    g.late_count += late - g.late[at]
    g.late[at] = late
    at += 1
    if at == LATE_WINDOW:
        at = 0
    g.late_at = at
    stood = skipped * g.period
    if skipped > 0 and stood >= g.gap - ROUNDING:
        return tell(guard, _GAP, -1, stood, g.gap)
    if late and g.late_count >= g.late_cycles:
        return tell(guard, _LATE, -1, g.late_count, g.late_cycles)
    return _OK


@kernel(_i8(_GUARD, _i8, _i8, _i8))
def check_link(guard: Array, feedback_age: int, frames_bad: int, floods: int) -> int:
    """Return 0, or that the motor controllers no longer answer, are hard to understand, or say too much.

    Call it once in each cycle, before the other checks of the feedback.

    Args:
        guard: GUARD, (1,).
        feedback_age: Cycles since fresh feedback came; 0: in this one.
        frames_bad: Frames dropped for their check sum or form, a running total.
        floods: Cycles in a row in which more bytes came than a healthy device sends.
    """
    g = guard[0]
    g.cycle += 1
    g.feedback_age = feedback_age
    bad = 0
    if frames_bad != g.frames_bad:
        bad = 1
    g.frames_bad = frames_bad
    at = g.bad_at
    g.bad_count += bad - g.bad[at]
    g.bad[at] = bad
    at += 1
    if at == LINK_WINDOW:
        at = 0
    g.bad_at = at
    if bad:
        g.bad_in_a_row += 1
    else:
        g.bad_in_a_row = 0

    age = feedback_age * g.period
    if age >= g.feedback_timeout - ROUNDING:
        return tell(guard, _FEEDBACK_LOST, -1, age, g.feedback_timeout)
    if floods >= FLOODS:
        return tell(guard, _FLOODED, -1, floods, FLOODS)
    if g.bad_in_a_row >= BAD_IN_A_ROW:
        return tell(guard, _LINK_NOISY, -1, g.bad_in_a_row, BAD_IN_A_ROW)
    if g.bad_count > BAD_MAX:
        return tell(guard, _LINK_NOISY, -1, g.bad_count, BAD_MAX)
    return _OK


@kernel(_i8(_i8, _i8, _i8))
def check_stream(age_ns: int, timeout_ns: int, dead_ns: int) -> int:
    """Return 0, or that the stream of servo commands is stale, or that its client must be dead."""
    if age_ns > dead_ns:
        return _DEAD
    if age_ns > timeout_ns:
        return _STALE
    return _OK


@kernel(_i8(_GUARD, _i8, _i8))
def check_refusal(guard: Array, is_stream: int, verdict: int) -> int:
    """Return 0, or that a stream's commands were refused three times in a row.

    Args:
        guard: GUARD, (1,).
        is_stream: 1 where the command of this cycle belongs to a stream; others change nothing.
        verdict: The code of its refusal, 0: accepted.
    """
    g = guard[0]
    if not is_stream:
        return _OK
    if verdict == _OK:
        g.refused = 0
        return _OK
    g.refused += 1
    if g.refused < REFUSALS:
        return _OK
    g.refused = 0
    return tell(guard, _REFUSED, -1, REFUSALS, REFUSALS)
