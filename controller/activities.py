"""What the arm is busy with: powering up, homing, moving, stopping. Between the commands and the set-point.

An activity belongs to the command that began it and ends once: done, pre-empted or aborted. The operating state
changes only through `states.transition`; the reaction to a code is the catalogue's.
"""

from enum import IntEnum

import numpy as np
from numba.core import types

from controller.catalogue import Code, Reaction
from controller.guard import GUARD, REACTIONS, arm_guard
from controller.mailbox import MESSAGE, Operation
from controller.motion.path import PATH
from controller.motion.profile import PROFILE
from controller.motion.setpoint import MOTION, begin_stop, follow, hold_here, is_moving, start
from controller.states import Event, transition, verdict
from drivers.driver import FEEDBACK, DeviceFault, Mode, Status
from kinematics.chain import FORWARD, INVERSE
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import MAX_AXES, SAMPLE, MotionStatus, OperatingState

__all__ = ["CORE", "Activity", "arrive", "device_code", "fail", "react", "report_ended", "supervise", "take_command"]


class Activity(IntEnum):
    """What the arm is busy with."""

    NONE = 0
    CLEARING = 1  # a latched device fault is being cleared, before power
    POWERING = 2  # power is asked for, brakes open
    AVERAGING = 3  # homing: the absolute sensors are read, at rest
    REFERENCING = 4  # homing: the encoders take their reference
    HOMING = 5  # homing: the move to the homing pose
    MOVING = 6
    STREAMING = 7
    HOLDING = 8  # coming to rest, to hold there
    STOPPING = 9  # coming to rest, then power off


CORE = np.dtype(
    [
        # settings
        ("period", "f8"),  # s
        ("enable_cycles", "i8"),  # power must be there after so many
        ("stop_cycles", "i8"),  # a ramp to rest may take so many, then power goes off anyway
        ("average_cycles", "i8"),
        ("home_speed", "f8"),
        ("home", "f8", (MAX_AXES,)),
        ("stream_dead_ns", "i8"),
        # state
        ("state", "i8"),  # OperatingState
        ("activity", "i8"),
        ("activity_id", "i8"),  # the command that began it, 0: the system
        ("activity_cycles", "i8"),
        ("fault", "i8"),  # catalogue code: latched, or why the arm is paused
        ("is_homed", "i8"),
        ("referenced", "i8"),
        ("free", "i8"),
        ("stop_event", "i8"),  # STOPPING: states.Event at its end
        ("mode", "i8"),  # drivers.driver.Mode to send
        ("clear_fault", "i8"),
        ("sequence", "i8"),  # of the last command sent
        ("reference_sequence", "i8"),  # of the first SET_REFERENCE command
        ("reference", "f8", (MAX_AXES,)),  # actuator positions to set
        ("offset", "f8", (MAX_AXES,)),  # by how much the set-point shifts with it
        ("sum_absolute", "f8", (MAX_AXES,)),
        ("sum_square", "f8", (MAX_AXES,)),
        ("sum_position", "f8", (MAX_AXES,)),
        ("ended_ids", "i8", (16,)),  # commands whose activities have ended, not yet told in a sample
        ("ended_statuses", "i8", (16,)),
        ("ended", "i8"),
        ("compensation", "f8"),  # 0..1: feed-forward is faded in once the joints know where they are
    ],
    align=True,
)

ABSOLUTE_SPREAD = 0.05  # rad or m: standard deviation of an absolute sensor at rest above which it is broken
REFERENCE_CYCLES = 20  # the encoders must have taken their reference after so many
FADE_CYCLES = 200

_DISABLED, _ENABLED = int(OperatingState.DISABLED), int(OperatingState.ENABLED)
_PAUSED, _FAULT = int(OperatingState.PAUSED), int(OperatingState.FAULT)
_DONE, _PREEMPTED, _ABORTED = int(MotionStatus.DONE), int(MotionStatus.PREEMPTED), int(MotionStatus.ABORTED)
_NONE, _CLEARING, _POWERING = int(Activity.NONE), int(Activity.CLEARING), int(Activity.POWERING)
_AVERAGING, _REFERENCING, _HOMING = int(Activity.AVERAGING), int(Activity.REFERENCING), int(Activity.HOMING)
_MOVING, _STREAMING = int(Activity.MOVING), int(Activity.STREAMING)
_HOLDING, _STOPPING = int(Activity.HOLDING), int(Activity.STOPPING)
_OFF, _ON, _SET_REFERENCE = int(Mode.OFF), int(Mode.ON), int(Mode.SET_REFERENCE)
_S_POWERED, _S_RELEASED, _S_ESTOP = int(Status.POWERED), int(Status.BRAKES_RELEASED), int(Status.ESTOP)
_S_REFERENCED, _S_FAULT, _S_ENABLING = int(Status.REFERENCED), int(Status.FAULT), int(Status.ENABLING)
_S0, _S1, _S2 = int(Reaction.S0), int(Reaction.S1), int(Reaction.S2)
_EV_DISABLE, _EV_PAUSE, _EV_RESUME = int(Event.DISABLE), int(Event.PAUSE), int(Event.RESUME)
_EV_ENABLE, _EV_HOME, _EV_UNHOME = int(Event.ENABLE), int(Event.HOME), int(Event.UNHOME)
_EV_POWERED, _EV_UNPOWERED = int(Event.POWERED), int(Event.UNPOWERED)
_EV_HELD, _EV_FAULTED = int(Event.HELD), int(Event.FAULTED)
_OP_ENABLE, _OP_DISABLE, _OP_PAUSE = int(Operation.ENABLE), int(Operation.DISABLE), int(Operation.PAUSE)
_OP_RESUME, _OP_HOME, _OP_UNHOME = int(Operation.RESUME), int(Operation.HOME), int(Operation.UNHOME)
_OP_HOLD, _OP_FREE = int(Operation.HOLD), int(Operation.FREE)
_OP_MOVE_JP, _OP_MOVE_CP = int(Operation.MOVE_JP), int(Operation.MOVE_CP)
_OP_SERVO_JP, _OP_SERVO_CP = int(Operation.SERVO_JP), int(Operation.SERVO_CP)
_OK, _NOT_ENABLED, _NOT_HOMED = int(Code.OK), int(Code.NOT_ENABLED), int(Code.NOT_HOMED)
_C_PAUSED, _IN_FAULT, _BUSY = int(Code.PAUSED), int(Code.IN_FAULT), int(Code.BUSY)
_ESTOP_PRESSED, _FAULT_REMAINS = int(Code.ESTOP_PRESSED), int(Code.DEVICE_FAULT_REMAINS)
_UNKNOWN, _ENABLE_TIMEOUT = int(Code.UNKNOWN_OPERATION), int(Code.ENABLE_TIMEOUT)
_HOMING_FAILED, _POWER_LOST, _BAD_PARAMETER = int(Code.HOMING_FAILED), int(Code.POWER_LOST), int(Code.BAD_PARAMETER)

_DEVICE_CODES = np.zeros(len(DeviceFault), np.int64)
for _fault, _code in (
    (DeviceFault.ESTOP, Code.ESTOP),
    (DeviceFault.WATCHDOG, Code.DEVICE_WATCHDOG),
    (DeviceFault.POSITION_LIMIT, Code.DEVICE_POSITION_LIMIT),
    (DeviceFault.OVERSPEED, Code.DEVICE_OVERSPEED),
    (DeviceFault.OVERCURRENT, Code.DEVICE_OVERCURRENT),
    (DeviceFault.BAD_COMMAND, Code.DEVICE_BAD_COMMAND),
    (DeviceFault.NOT_CONFIGURED, Code.DEVICE_NOT_CONFIGURED),
):
    _DEVICE_CODES[int(_fault)] = int(_code)

_CORE, _MOTION, _PATH, _PROFILE = array_of(CORE), array_of(MOTION), array_of(PATH), array_of(PROFILE)
_ARM, _GUARD, _SAMPLE, _FEEDBACK = array_of(ARM), array_of(GUARD), array_of(SAMPLE), array_of(FEEDBACK)
_MESSAGE, _F8_2D, _POSES = array_of(MESSAGE), types.float64[:, ::1], types.float64[:, :, ::1]
_INVERSE, _FORWARD = types.FunctionType(INVERSE), types.FunctionType(FORWARD)


@kernel(types.int64(types.int64))
def device_code(fault: int) -> int:
    """Return the catalogue's code of a device fault; a number that this version does not know counts as power lost."""
    if fault < 0 or fault >= len(_DEVICE_CODES):
        return _POWER_LOST
    return int(_DEVICE_CODES[fault])


@kernel(types.void(_CORE, types.int64, types.int64))
def _ended(core: Array, command_id: int, status: int) -> None:
    """Note that what a command began has ended. Several may in one cycle; a sample has room for one."""
    c = core[0]
    if c.ended < len(c.ended_ids):
        c.ended_ids[c.ended] = command_id
        c.ended_statuses[c.ended] = status
        c.ended += 1


@kernel(types.void(_CORE, _SAMPLE))
def report_ended(core: Array, sample: Array) -> None:
    """Tell in the sample, one a cycle, which activity has ended; for the cycle's end."""
    c = core[0]
    if c.ended == 0:
        return
    sample[0].finished_id = c.ended_ids[0]
    sample[0].finished_status = c.ended_statuses[0]
    c.ended -= 1
    for i in range(c.ended):
        c.ended_ids[i] = c.ended_ids[i + 1]
        c.ended_statuses[i] = c.ended_statuses[i + 1]


@kernel(types.void(_CORE, types.int64))
def _finish(core: Array, status: int) -> None:
    """End the present activity, if there is one."""
    c = core[0]
    if c.activity != _NONE:
        _ended(core, c.activity_id, status)
    c.activity = _NONE
    c.activity_id = 0
    c.activity_cycles = 0


@kernel(types.void(_CORE, types.int64, types.int64))
def _begin(core: Array, activity: int, command_id: int) -> None:
    """Begin an activity; the one before is pre-empted."""
    _finish(core, _PREEMPTED)
    c = core[0]
    c.activity = activity
    c.activity_id = command_id
    c.activity_cycles = 0


@kernel(types.void(_CORE))
def _power_off(core: Array) -> None:
    c = core[0]
    c.mode = _OFF
    c.clear_fault = 0
    c.free = 0
    c.compensation = 0.0


@kernel(types.int64(_CORE))
def _is_powered(core: Array) -> int:
    """Return 1 in the states in which torque may flow."""
    return int(core[0].state == _ENABLED or core[0].state == _PAUSED)


@kernel(types.void(_CORE, _MOTION, _PATH, _PROFILE, _ARM, _SAMPLE, types.int64, _F8_2D))
def react(
    core: Array, motion: Array, path: Array, profile: Array, arm: Array, sample: Array, code: int, scratch: Array
) -> None:
    """Carry out the stop category that the catalogue gives a code: S0 now, S1 and S2 by way of a ramp to rest."""
    c = core[0]
    s = sample[0]
    category = REACTIONS[code]
    if category < _S2:
        return
    stopping_for_fault = c.activity == _STOPPING and c.stop_event == _EV_FAULTED
    if category == _S1 and not _is_powered(core):
        category = _S0
    if category == _S2 and (c.state != _ENABLED or c.activity == _STOPPING):
        return
    if category != _S0 and stopping_for_fault:
        return  # the stop that it asks for is under way already
    if c.state == _FAULT and category == _S0 and c.mode == _OFF:
        return  # latched: the first cause stays on show
    s.event = code
    if not stopping_for_fault:
        c.fault = code
    if category == _S0:
        _finish(core, _ABORTED)
        c.state = transition(c.state, _EV_FAULTED)
        _power_off(core)
    elif category == _S1:
        _finish(core, _ABORTED)
        c.activity = _STOPPING
        c.stop_event = _EV_FAULTED
        begin_stop(motion, path, profile, arm, scratch)
        motion[0].waiting = 0
    else:
        _finish(core, _ABORTED)
        c.state = transition(c.state, _EV_HELD)
        begin_stop(motion, path, profile, arm, scratch)
        motion[0].waiting = 0


@kernel(types.void(_CORE, _MOTION, _PATH, _PROFILE, _ARM, _SAMPLE, types.int64, _F8_2D))
def fail(
    core: Array, motion: Array, path: Array, profile: Array, arm: Array, sample: Array, code: int, scratch: Array
) -> None:
    """End the present activity because of a code, and react to it; without a reaction the state stays as it was."""
    sample[0].event = code
    if REACTIONS[code] >= _S2:
        react(core, motion, path, profile, arm, sample, code, scratch)
        return
    _finish(core, _ABORTED)
    if not _is_powered(core):
        _power_off(core)


@kernel(types.void(_CORE))
def arrive(core: Array) -> None:
    """The set-point has come to rest at its goal."""
    c = core[0]
    if c.activity == _HOMING:
        c.is_homed = 1
    if c.activity == _HOMING or c.activity == _MOVING or c.activity == _HOLDING:
        _finish(core, _DONE)


@kernel(types.int64(_CORE))
def _motion_code(core: Array) -> int:
    """Return 0 where a motion may begin, or why not."""
    c = core[0]
    if c.state == _FAULT:
        return _IN_FAULT
    if c.state == _DISABLED:
        return _NOT_ENABLED
    if c.state == _PAUSED:
        return _C_PAUSED
    if c.activity == _AVERAGING or c.activity == _REFERENCING or c.activity == _HOMING or c.activity == _STOPPING:
        return _BUSY
    if not c.is_homed:
        return _NOT_HOMED
    return _OK


@kernel(
    types.int64(
        _CORE,
        _MOTION,
        _PATH,
        _PROFILE,
        _ARM,
        _FORWARD,
        _INVERSE,
        _SAMPLE,
        _FEEDBACK,
        _MESSAGE,
        _MESSAGE,
        types.int64,
        _F8_2D,
        _POSES,
    )
)
def take_command(
    core: Array,
    motion: Array,
    path: Array,
    profile: Array,
    arm: Array,
    forward: Part,
    inverse: Part,
    sample: Array,
    feedback: Array,
    message: Array,
    next_message: Array,
    lost: int,
    scratch: Array,
    poses: Array,
) -> int:
    """Begin what a message asks; return 0, or the code of its refusal (nothing has changed then).

    Args:
        core: CORE, (1,).
        motion: MOTION, (1,).
        path: PATH, (1,).
        profile: PROFILE, (1,).
        arm: ARM, (1,).
        forward: Forward kinematics.
        inverse: Inverse kinematics.
        sample: The cycle's sample, SAMPLE, (1,).
        feedback: FEEDBACK, (1,).
        message: The command, MESSAGE, (1,).
        next_message: Where a move waits for a stop to end, MESSAGE, (1,).
        lost: The code of what is wrong with the feedback, or 0.
        scratch: setpoint.SCRATCH.
        poses: Working memory, (2, 4, 4).
    """
    c = core[0]
    s = sample[0]
    op = message[0].operation
    command_id: int = np.int64(message[0].id)  # type: ignore[assignment]  # Numba: unsigned would turn into floating point

    if op == _OP_ENABLE:
        code = verdict(c.state, _EV_ENABLE)
        if code != _OK:
            return int(code)
        if c.activity == _STOPPING:
            return _BUSY
        if c.state == _ENABLED:
            _ended(core, command_id, _DONE)
            return _OK
        if lost != _OK:
            return lost
        if feedback[0].status & _S_ESTOP:
            return _ESTOP_PRESSED
        _begin(core, _CLEARING, command_id)
        return _OK
    if op == _OP_DISABLE:
        code = verdict(c.state, _EV_DISABLE)
        if code != _OK:
            return int(code)
        if _is_powered(core):
            _begin(core, _STOPPING, command_id)
            c.stop_event = _EV_UNPOWERED
            begin_stop(motion, path, profile, arm, scratch)
            motion[0].waiting = 0
        else:
            _finish(core, _PREEMPTED)
            c.state = transition(c.state, _EV_UNPOWERED)
            c.fault = 0
            _power_off(core)
            _ended(core, command_id, _DONE)
        return _OK
    if op == _OP_PAUSE:
        code = verdict(c.state, _EV_PAUSE)
        if code != _OK:
            return int(code)
        if c.activity == _STOPPING or c.activity == _REFERENCING:
            return _BUSY
        if c.state == _ENABLED:
            c.state = transition(c.state, _EV_PAUSE)
            _begin(core, _HOLDING, command_id)
            begin_stop(motion, path, profile, arm, scratch)
            motion[0].waiting = 0
        else:
            _ended(core, command_id, _DONE)
        return _OK
    if op == _OP_RESUME:
        code = verdict(c.state, _EV_RESUME)
        if code != _OK:
            return int(code)
        if c.activity == _STOPPING:
            return _BUSY
        c.state = transition(c.state, _EV_RESUME)
        c.fault = 0
        _ended(core, command_id, _DONE)
        return _OK
    if op == _OP_UNHOME:
        if c.activity != _NONE and c.activity != _STREAMING:
            return _BUSY
        if is_moving(motion):
            return _BUSY
        c.is_homed = 0
        _ended(core, command_id, _DONE)
        return _OK
    if op == _OP_HOME:
        code = verdict(c.state, _EV_HOME)
        if code != _OK:
            return int(code)
        if c.activity != _NONE or is_moving(motion):
            return _BUSY
        hold_here(motion)
        _begin(core, _AVERAGING, command_id)
        c.free = 0
        for i in range(MAX_AXES):
            c.sum_absolute[i] = 0.0
            c.sum_square[i] = 0.0
            c.sum_position[i] = 0.0
        return _OK
    if op == _OP_HOLD:
        if c.state == _FAULT:
            return _IN_FAULT
        if c.state == _DISABLED:
            return _NOT_ENABLED
        if c.activity == _STOPPING or c.activity == _REFERENCING:
            return _BUSY
        _begin(core, _HOLDING, command_id)
        c.free = 0
        begin_stop(motion, path, profile, arm, scratch)
        motion[0].waiting = 0
        return _OK
    if op == _OP_FREE:
        code = _motion_code(core)
        if code != _OK:
            return int(code)
        if is_moving(motion):
            return _BUSY
        _begin(core, _HOLDING, command_id)
        c.free = 1
        return _OK
    if op == _OP_MOVE_JP or op == _OP_MOVE_CP or op == _OP_SERVO_JP or op == _OP_SERVO_CP:
        code = _motion_code(core)
        if code != _OK:
            return int(code)
        code = start(motion, path, profile, arm, forward, inverse, message, next_message, s.t_ns, scratch, poses)
        if code != _OK:
            return int(code)
        c.free = 0
        if op == _OP_SERVO_JP or op == _OP_SERVO_CP:
            if c.activity != _STREAMING:
                _begin(core, _STREAMING, command_id)
            c.activity_id = command_id
        else:
            _begin(core, _MOVING, command_id)
        return _OK
    return _UNKNOWN


@kernel(types.int64(_CORE, _ARM, _FEEDBACK))
def _average(core: Array, arm: Array, feedback: Array) -> int:
    """Take one reading of the absolute sensors; at the last, work out the reference. Return 1 then, or a code."""
    c = core[0]
    f = feedback[0]
    a = arm[0]
    n = a.n_axes
    for i in range(n):
        c.sum_absolute[i] += f.absolute[i]
        c.sum_square[i] += f.absolute[i] * f.absolute[i]
        c.sum_position[i] += f.position[i]
    if c.activity_cycles < c.average_cycles:
        return 0
    count = c.activity_cycles
    for i in range(n):
        mean = c.sum_absolute[i] / count
        variance = c.sum_square[i] / count - mean * mean
        if not np.isfinite(mean) or variance > ABSOLUTE_SPREAD * ABSOLUTE_SPREAD:
            return _HOMING_FAILED
        margin = 0.02 * (a.actuator_position_max[i] - a.actuator_position_min[i])
        if mean < a.actuator_position_min[i] - margin or mean > a.actuator_position_max[i] + margin:
            return _HOMING_FAILED
        c.reference[i] = mean + f.position[i] - c.sum_position[i] / count
        c.offset[i] = c.reference[i] - f.position[i]
    return 1


@kernel(
    types.int64(
        _CORE,
        _MOTION,
        _PATH,
        _PROFILE,
        _ARM,
        _FORWARD,
        _INVERSE,
        _GUARD,
        _SAMPLE,
        _FEEDBACK,
        _MESSAGE,
        _MESSAGE,
        _F8_2D,
        _POSES,
    )
)
def supervise(
    core: Array,
    motion: Array,
    path: Array,
    profile: Array,
    arm: Array,
    forward: Part,
    inverse: Part,
    guard: Array,
    sample: Array,
    feedback: Array,
    message: Array,
    next_message: Array,
    scratch: Array,
    poses: Array,
) -> int:
    """Carry the present activity on by one cycle; return 0, or the code that it fails with.

    `message` is free for use here: homing makes its own move of it.
    """
    c = core[0]
    f = feedback[0]
    s = sample[0]
    c.activity_cycles += 1
    c.referenced = 1 if f.status & _S_REFERENCED else 0
    if not c.referenced:
        c.is_homed = 0

    if c.activity == _CLEARING:
        c.mode = _OFF
        c.clear_fault = 1
        if f.status & _S_ESTOP:
            return _ESTOP_PRESSED
        if not f.status & _S_FAULT and c.activity_cycles > 2:
            c.clear_fault = 0
            c.activity = _POWERING
            c.activity_cycles = 0
            follow(motion, s.measured_position)
            hold_here(motion)
            arm_guard(guard, motion[0].q)
            c.mode = _ON
        elif c.activity_cycles > c.enable_cycles:
            return _FAULT_REMAINS
    elif c.activity == _POWERING:
        up = f.status & _S_POWERED and f.status & _S_RELEASED and not f.status & _S_ENABLING
        if up:
            c.state = transition(c.state, _EV_POWERED)
            c.fault = 0
            follow(motion, s.measured_position)
            hold_here(motion)
            arm_guard(guard, motion[0].q)
            _finish(core, _DONE)
        elif c.activity_cycles > c.enable_cycles:
            return _ENABLE_TIMEOUT
    elif c.activity == _AVERAGING:
        code = _average(core, arm, feedback)
        if code > 1:
            return int(code)
        if code == 1:
            c.activity = _REFERENCING
            c.activity_cycles = 0
            c.mode = _SET_REFERENCE
            c.reference_sequence = c.sequence + 1
    elif c.activity == _REFERENCING:
        if np.int64(f.echo) >= c.reference_sequence and c.referenced:
            # The set-point moves with the origin: the arm does not.
            a = arm[0]
            q = scratch[6]
            for i in range(MAX_AXES):
                shift = 0.0
                for j in range(a.n_axes):
                    shift += a.joint_from_actuator[i, j] * c.offset[j]
                q[i] = motion[0].q[i] + shift if i < a.n_axes else 0.0
            follow(motion, q)
            hold_here(motion)
            arm_guard(guard, motion[0].q)
            c.mode = _ON
            msg = message[0]
            msg.operation = _OP_MOVE_JP
            msg.n_axes = a.n_axes
            msg.speed = c.home_speed
            msg.path_speed = 0.0
            for i in range(MAX_AXES):
                msg.position[i] = c.home[i]
            code = start(motion, path, profile, arm, forward, inverse, message, next_message, s.t_ns, scratch, poses)
            if code != _OK:
                return _HOMING_FAILED
            c.activity = _HOMING
            c.activity_cycles = 0
        elif c.activity_cycles > REFERENCE_CYCLES:
            return _HOMING_FAILED
    elif c.activity == _STOPPING:
        if not is_moving(motion) or c.activity_cycles > c.stop_cycles:
            event = c.stop_event
            _finish(core, _DONE)
            c.state = transition(c.state, event)
            if event == _EV_UNPOWERED:
                c.fault = 0
            _power_off(core)
    elif c.activity == _HOLDING and not is_moving(motion):
        _finish(core, _DONE)

    if _is_powered(core) and c.activity != _REFERENCING and c.referenced and c.activity != _AVERAGING:
        c.compensation = min(1.0, c.compensation + 1.0 / FADE_CYCLES)
    return _OK
