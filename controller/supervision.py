"""How activities go on, cycle by cycle: power-up, homing, stops."""

import numpy as np
from numba.core import types

from controller.activity import CORE, Activity, finish, finish_jaw, is_enabling, is_powered, note, power_off
from controller.catalogue import Code
from controller.enable import enable, stand_at
from controller.guard.records import GUARD, arm_guard
from controller.mailbox import MESSAGE, Operation
from controller.motion.path import PATH
from controller.motion.setpoint import MOTION, is_moving
from controller.motion.start import START
from controller.motion.walk import WALK
from controller.states import Event, transition
from drivers.driver import FEEDBACK, Mode, Status
from kinematics.chain import FORWARD, INVERSE
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import MAX_AXES, SAMPLE, MotionStatus

__all__ = ["arrive", "supervise"]

ABSOLUTE_SPREAD = 0.05  # rad or m: standard deviation of an absolute sensor at rest above which it is broken
REFERENCE_CYCLES = 20  # the encoders must have taken their reference after so many
FADE_CYCLES = 200

_DONE = int(MotionStatus.DONE)
_AVERAGING, _REFERENCING, _HOMING = int(Activity.AVERAGING), int(Activity.REFERENCING), int(Activity.HOMING)
_MOVING, _HOLDING, _STOPPING = int(Activity.MOVING), int(Activity.HOLDING), int(Activity.STOPPING)
_ON, _SET_REFERENCE = int(Mode.ON), int(Mode.SET_REFERENCE)
_S_REFERENCED = int(Status.REFERENCED)
_EV_UNPOWERED = int(Event.UNPOWERED)
_OP_MOVE_JP = int(Operation.MOVE_JP)
_OK, _HOMING_FAILED = int(Code.OK), int(Code.HOMING_FAILED)

_CORE, _MOTION, _PATH, _ARM = array_of(CORE), array_of(MOTION), array_of(PATH), array_of(ARM)
_GUARD, _SAMPLE, _FEEDBACK, _MESSAGE = array_of(GUARD), array_of(SAMPLE), array_of(FEEDBACK), array_of(MESSAGE)
_F8_2D, _POSES, _i8 = types.float64[:, ::1], types.float64[:, :, ::1], types.int64
_START, _WALK = types.FunctionType(START), types.FunctionType(WALK)
_FORWARD, _INVERSE = types.FunctionType(FORWARD), types.FunctionType(INVERSE)


@kernel(types.void(_CORE, _i8))
def arrive(core: Array, group: int) -> None:
    """The set-point of a group has come to rest at its goal."""
    c = core[0]
    if group != 0:
        if c.jaw_activity == _MOVING:
            finish_jaw(core, _DONE)
        return
    if c.activity == _HOMING:
        c.is_homed = c.referenced
    if c.activity == _HOMING or c.activity == _MOVING:
        finish(core, _DONE)


@kernel(_i8(_CORE, _ARM, _FEEDBACK))
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
            note(core, i, np.sqrt(max(variance, 0.0)), ABSOLUTE_SPREAD)
            return _HOMING_FAILED
        margin = 0.02 * (a.actuator_position_max[i] - a.actuator_position_min[i])
        if mean < a.actuator_position_min[i] - margin:
            note(core, i, mean, a.actuator_position_min[i])
            return _HOMING_FAILED
        if mean > a.actuator_position_max[i] + margin:
            note(core, i, mean, a.actuator_position_max[i])
            return _HOMING_FAILED
        c.reference[i] = mean + f.position[i] - c.sum_position[i] / count
        c.offset[i] = c.reference[i] - f.position[i]
    return 1


@kernel(
    _i8(
        _CORE,
        _MOTION,
        _PATH,
        _ARM,
        _FORWARD,
        _INVERSE,
        _WALK,
        _START,
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
    arm: Array,
    forward: Part,
    inverse: Part,
    walk: Part,
    start: Part,
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

    if is_enabling(core):
        return int(enable(core, motion, arm, guard, sample, feedback))
    if c.activity == _AVERAGING:
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
            q = scratch[20]
            for i in range(MAX_AXES):
                shift = 0.0
                for j in range(a.n_axes):
                    shift += a.joint_from_actuator[i, j] * c.offset[j]
                q[i] = motion[0].q[i] + shift if i < a.n_axes else 0.0
            stand_at(motion, arm, q)
            arm_guard(guard, motion[0].q)
            c.mode = _ON
            msg = message[0]
            msg.operation = _OP_MOVE_JP
            msg.group = 0
            msg.n_axes = a.n_axes
            msg.speed = c.home_speed
            msg.path_speed = 0.0
            msg.timeout_s = 0.0
            for i in range(MAX_AXES):
                msg.vector[i] = c.home[i]
            code = start(motion, path, arm, forward, inverse, walk, message, next_message, s.t_ns, scratch, poses)
            if code != _OK:
                return _HOMING_FAILED
            c.activity = _HOMING
            c.activity_cycles = 0
        elif c.activity_cycles > REFERENCE_CYCLES:
            return _HOMING_FAILED
    elif c.activity == _STOPPING:
        if not is_moving(motion) or c.activity_cycles > c.stop_cycles:
            event = c.stop_event
            finish(core, _DONE)
            c.state = transition(c.state, event)
            if event == _EV_UNPOWERED:
                c.fault = 0
            power_off(core)
    elif c.activity == _HOLDING and not is_moving(motion):
        finish(core, _DONE)

    if is_powered(core) and c.activity != _REFERENCING and c.referenced and c.activity != _AVERAGING:
        c.compensation = min(1.0, c.compensation + 1.0 / FADE_CYCLES)
    return _OK
