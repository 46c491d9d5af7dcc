"""Enabling, step by step: what an arm must show before it gets to ENABLED, each time.

    clear the device's fault -> the right instrument -> power with the brakes on -> brakes and motors: push both ways
    -> the watchdog: fall silent, see the power go -> clear again -> power, brakes released -> encoders: a small push
    either way must be seen in its direction

What was connected is compared with the configuration before, once, when the core starts (`controller.device_check`).
A step that fails ends enabling with its code; the sample tells the axis, what was measured and what was allowed.
"""

from enum import IntEnum

from numba.core import types

from controller.activity import CORE, Activity, finish, note
from controller.catalogue import Code
from controller.guard.records import GUARD, arm_guard
from controller.motion.setpoint import MOTION, follow, hold_here
from controller.states import Event, transition
from drivers.driver import FEEDBACK, DeviceFault, Mode, Status
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import MAX_AXES, SAMPLE, MotionStatus

__all__ = ["Step", "begin_enabling", "enable", "stand_at"]


class Step(IntEnum):
    """Where enabling is, or where it was refused: `enable_step` of a sample."""

    NONE = 0
    CLEARING = 1
    TOOL = 2
    BRAKED_POWER = 3
    BRAKES = 4
    WATCHDOG = 5
    POWER = 6
    ENCODERS = 7


BRAKE_PUSH = 0.5  # part of a motor's effort limit that its brake must hold
SETTLED = 0.5  # the measured effort is averaged over the last part of a push
MOTOR_TOLERANCE = 0.15  # of the effort limit, between the effort asked for and the measured one
PULSE = 0.12  # part of a motor's effort limit that pushes in the encoder test ...
PULSE_FRICTION = 3.0  # ... and times the joint's friction, which it has to overcome to either side
COUNTS_MIN = 4.0  # encoder counts that the push must show; noise is one
REPLY_CYCLES = 50  # after the silence the motor controllers must have answered by then

_DONE = int(MotionStatus.DONE)
_CLEARING, _POWERING = int(Activity.CLEARING), int(Activity.POWERING)
_BRAKED, _BRAKES = int(Activity.POWERING_BRAKED), int(Activity.TESTING_BRAKES)
_PROVING, _SIGNS = int(Activity.PROVING_WATCHDOG), int(Activity.TESTING_SIGNS)
_M_OFF, _M_ON, _M_BRAKED = int(Mode.OFF), int(Mode.ON), int(Mode.BRAKED)
_S_POWERED, _S_RELEASED, _S_ESTOP = int(Status.POWERED), int(Status.BRAKES_RELEASED), int(Status.ESTOP)
_S_FAULT, _S_ENABLING, _S_BRAKED = int(Status.FAULT), int(Status.ENABLING), int(Status.BRAKED)
_WATCHDOG, _POWERED = int(DeviceFault.WATCHDOG), int(Event.POWERED)
_ST_CLEARING, _ST_TOOL, _ST_BRAKED = int(Step.CLEARING), int(Step.TOOL), int(Step.BRAKED_POWER)
_ST_BRAKES, _ST_WATCHDOG, _ST_POWER = int(Step.BRAKES), int(Step.WATCHDOG), int(Step.POWER)
_ST_ENCODERS, _ST_NONE = int(Step.ENCODERS), int(Step.NONE)
_OK, _ESTOP_PRESSED, _FAULT_REMAINS = int(Code.OK), int(Code.ESTOP_PRESSED), int(Code.DEVICE_FAULT_REMAINS)
_TIMEOUT, _UNPROVED, _SLIPS = int(Code.ENABLE_TIMEOUT), int(Code.WATCHDOG_UNPROVED), int(Code.BRAKE_SLIPS)
_MOTOR_TEST, _SIGN, _TOOL_WRONG = int(Code.MOTOR_TEST), int(Code.ENCODER_SIGN), int(Code.TOOL_WRONG)

_CORE, _MOTION, _ARM, _GUARD = array_of(CORE), array_of(MOTION), array_of(ARM), array_of(GUARD)
_SAMPLE, _FEEDBACK, _i8, _f8 = array_of(SAMPLE), array_of(FEEDBACK), types.int64, types.float64


@kernel(types.void(_MOTION, _ARM, types.float64[:]))
def stand_at(motion: Array, arm: Array, q: Array) -> None:
    """Let the whole set-point stand still at a position, (8,)."""
    follow(motion, q)
    hold_here(motion, arm, 0)
    hold_here(motion, arm, 1)


@kernel(types.void(_CORE))
def begin_enabling(core: Array) -> None:
    """Prepare for the first step; the activity is CLEARING by then."""
    c = core[0]
    c.proved = 0
    c.silent = 0
    c.rereference = 0
    c.step = _ST_CLEARING


@kernel(types.void(_CORE, _i8, _i8))
def _go(core: Array, activity: int, step: int) -> None:
    """Enter the next step; the command that began it all stays the same."""
    c = core[0]
    c.activity = activity
    c.activity_cycles = 0
    c.step = step


@kernel(types.void(_CORE, _FEEDBACK))
def _remember(core: Array, feedback: Array) -> None:
    """Take the present actuator positions as where a test starts from."""
    c = core[0]
    for i in range(MAX_AXES):
        c.test_from[i] = feedback[0].position[i]
        c.test_turn[i] = feedback[0].position[i]
        c.test_sum[i] = 0.0
        c.test_effort[i] = 0.0
    c.test_count = 0


@kernel(_f8(_ARM, _i8))
def _effort_limit(arm: Array, i: int) -> float:
    """Return the effort of an actuator at its current limit, N·m or N."""
    return float(arm[0].current_max[i] * abs(arm[0].effort_per_amp[i]))


@kernel(_i8(_CORE, _ARM, _SAMPLE, _FEEDBACK))
def _push_brakes(core: Array, arm: Array, sample: Array, feedback: Array) -> int:
    """Push every motor that has a brake against it, one way, then the other; return a code, or -1 at the end.

    What is asked for is also what the measured current must show: an open lead or a dead amplifier is found here.
    """
    c, a, f = core[0], arm[0], feedback[0]
    n = c.activity_cycles
    half = 1 if n <= c.brake_cycles else 2
    for i in range(a.n_axes):
        if not a.brake[i]:
            continue
        limit = _effort_limit(arm, i)
        moved = abs(f.position[i] - c.test_from[i])
        if moved > c.brake_slip[i]:
            note(core, i, moved, c.brake_slip[i])
            return _SLIPS
        c.test_effort[i] = BRAKE_PUSH * limit if half == 1 else -BRAKE_PUSH * limit
        if sample[0].feedback_age == 0 and n - (half - 1) * c.brake_cycles > SETTLED * c.brake_cycles:
            c.test_sum[i] += f.effort[i]
    if sample[0].feedback_age == 0 and n - (half - 1) * c.brake_cycles > SETTLED * c.brake_cycles:
        c.test_count += 1
    if n != half * c.brake_cycles:
        return _OK
    for i in range(a.n_axes):
        if not a.brake[i]:
            continue
        limit = _effort_limit(arm, i)
        # Sent a cycle ago at the earliest: what is asked for in this cycle is still the same half's.
        mean = c.test_sum[i] / max(c.test_count, 1)
        if not abs(mean - c.test_effort[i]) <= MOTOR_TOLERANCE * limit:
            note(core, i, mean, c.test_effort[i])
            return _MOTOR_TEST
        c.test_sum[i] = 0.0
    c.test_count = 0
    return -1 if half == 2 else _OK


@kernel(_i8(_CORE, _ARM, _FEEDBACK))
def _push_encoders(core: Array, arm: Array, feedback: Array) -> int:
    """Push every motor a little one way, then the other; return a code, or -1 at the end.

    The joint servo holds meanwhile. The encoder must follow the push both there and back: with one that counts
    backwards the servo drives the joint away from where it holds it, so both ways are looked at apart.
    """
    c, a, f = core[0], arm[0], feedback[0]
    n, p = c.activity_cycles - c.release_settle_cycles, c.pulse_cycles
    if n <= 0:
        _remember(core, feedback)
        return _OK
    for i in range(a.n_axes):
        push = PULSE * _effort_limit(arm, i) + PULSE_FRICTION * a.coulomb[i]
        c.test_effort[i] = push if n <= p else -push if n <= 2 * p else 0.0
        if n == p + 2:  # a command takes two cycles until it shows
            c.test_turn[i] = f.position[i]
    if n < 2 * p + 2:
        return _OK
    for i in range(a.n_axes):
        shown = min(c.test_turn[i] - c.test_from[i], c.test_turn[i] - f.position[i])
        least = COUNTS_MIN / abs(a.counts_per_unit[i])
        if not shown >= least:
            note(core, i, shown, least)
            return _SIGN
    return -1


@kernel(_i8(_CORE, _MOTION, _ARM, _GUARD, _SAMPLE, _FEEDBACK))
def enable(core: Array, motion: Array, arm: Array, guard: Array, sample: Array, feedback: Array) -> int:
    """Carry enabling on by one cycle; return 0, or the code that it is refused with.

    Args:
        core: CORE, (1,), in one of the activities of enabling.
        motion: MOTION, (1,).
        arm: ARM, (1,).
        guard: GUARD, (1,).
        sample: The cycle's sample, SAMPLE, (1,).
        feedback: FEEDBACK, (1,).
    """
    c, f, s = core[0], feedback[0], sample[0]
    late = c.activity_cycles > c.enable_cycles
    if c.activity == _CLEARING:
        c.mode = _M_OFF
        c.clear_fault = 1
        if f.status & _S_ESTOP:
            return _ESTOP_PRESSED
        if f.status & _S_FAULT or c.activity_cycles <= 2:
            return _FAULT_REMAINS if late else _OK
        c.clear_fault = 0
        c.tool = f.tool
        if c.tool_expected >= 0 and f.tool != c.tool_expected:
            c.step = _ST_TOOL
            note(core, -1, float(f.tool), float(c.tool_expected))
            return _TOOL_WRONG
        stand_at(motion, arm, s.measured_position)
        arm_guard(guard, motion[0].q)
        if c.proved:
            _go(core, _POWERING, _ST_POWER)
            c.mode = _M_ON
        else:
            _go(core, _BRAKED, _ST_BRAKED)
            c.mode = _M_BRAKED
    elif c.activity == _BRAKED:
        closed = c.activity_cycles > c.brake_settle_cycles  # after an arm that was on the brakes may still be closing
        if f.status & _S_POWERED and f.status & _S_BRAKED and closed:
            _remember(core, feedback)
            _go(core, _BRAKES, _ST_BRAKES)
        elif late:
            return _TIMEOUT
    elif c.activity == _BRAKES:
        code = _push_brakes(core, arm, sample, feedback)
        if code > 0:
            return code
        if code < 0:
            _remember(core, feedback)
            _go(core, _PROVING, _ST_WATCHDOG)
            c.silent = 1
    elif c.activity == _PROVING:
        silence = c.silent_cycles * c.period
        if c.activity_cycles == c.silent_cycles:
            c.silent = 0
            c.mode = _M_OFF
        elif c.activity_cycles > c.silent_cycles + 1 and s.feedback_age == 0:
            if not f.status & _S_FAULT or f.fault != _WATCHDOG or f.status & _S_POWERED:
                note(core, -1, silence, c.watchdog)
                return _UNPROVED
            c.proved = 1
            _go(core, _CLEARING, _ST_CLEARING)
        elif c.activity_cycles > c.silent_cycles + REPLY_CYCLES:
            note(core, -1, silence, c.watchdog)
            return _UNPROVED
    elif c.activity == _POWERING:
        if f.status & _S_POWERED and f.status & _S_RELEASED and not f.status & _S_ENABLING:
            stand_at(motion, arm, s.measured_position)
            arm_guard(guard, motion[0].q)
            _go(core, _SIGNS, _ST_ENCODERS)
        elif late:
            return _TIMEOUT
    elif c.activity == _SIGNS:
        code = _push_encoders(core, arm, feedback)
        if code > 0:
            return code
        if code < 0:
            for i in range(MAX_AXES):
                c.test_effort[i] = 0.0
            c.state = transition(c.state, _POWERED)
            c.fault = 0
            c.step = _ST_NONE
            finish(core, _DONE)
    return _OK
