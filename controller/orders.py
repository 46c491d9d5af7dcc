"""Orders: what a command begins, or why it is refused.

The operating state changes only through `states.transition`.
"""

import numpy as np
from numba.core import types

from controller.activity import (
    CORE,
    Activity,
    begin,
    begin_jaw,
    end_command,
    finish,
    finish_jaw,
    is_powered,
    power_off,
)
from controller.catalogue import Code
from controller.enable import begin_enabling
from controller.guard.records import GUARD
from controller.guard.tip import wall_distance
from controller.mailbox import IS_CARTESIAN, MESSAGE, QUANTITY, VERB, Group, Operation, Quantity, Verb
from controller.motion.path import PATH
from controller.motion.setpoint import MOTION, hold_here, is_moving, set_speed_ratio
from controller.motion.start import START, takes_jaw
from controller.motion.walk import WALK
from controller.reactions import stop_all
from controller.states import Event, transition, verdict
from drivers.driver import FEEDBACK, Status
from kinematics.chain import FORWARD, INVERSE
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM, Family
from telemetry.sample import MAX_AXES, SAMPLE, MotionStatus, OperatingState

__all__ = ["take_command"]

_DISABLED, _ENABLED = int(OperatingState.DISABLED), int(OperatingState.ENABLED)
_PAUSED, _FAULT = int(OperatingState.PAUSED), int(OperatingState.FAULT)
_DONE, _PREEMPTED = int(MotionStatus.DONE), int(MotionStatus.PREEMPTED)
_NONE, _CLEARING, _AVERAGING = int(Activity.NONE), int(Activity.CLEARING), int(Activity.AVERAGING)
_REFERENCING, _HOMING, _MOVING = int(Activity.REFERENCING), int(Activity.HOMING), int(Activity.MOVING)
_STREAMING, _HOLDING, _STOPPING = int(Activity.STREAMING), int(Activity.HOLDING), int(Activity.STOPPING)
_S_ESTOP, _S_PEDAL, _PEDAL_UP = int(Status.ESTOP), int(Status.PEDAL), int(Code.PEDAL_UP)
_EV_DISABLE, _EV_PAUSE, _EV_RESUME = int(Event.DISABLE), int(Event.PAUSE), int(Event.RESUME)
_EV_ENABLE, _EV_HOME, _EV_UNPOWERED = int(Event.ENABLE), int(Event.HOME), int(Event.UNPOWERED)
_OP_ENABLE, _OP_DISABLE, _OP_PAUSE = int(Operation.ENABLE), int(Operation.DISABLE), int(Operation.PAUSE)
_OP_RESUME, _OP_HOME, _OP_UNHOME = int(Operation.RESUME), int(Operation.HOME), int(Operation.UNHOME)
_OP_REMOTE_CENTER, _NO_FAMILY = int(Operation.SET_REMOTE_CENTER), int(Family.NONE)
_OP_HOLD, _OP_FREE, _OP_SPEED = int(Operation.HOLD), int(Operation.FREE), int(Operation.SPEED_RATIO)
_NO_VERB, _MOVE, _JAW = int(Verb.NONE), int(Verb.MOVE), int(Group.JAW)
_POSITION, _RELATIVE = int(Quantity.POSITION), int(Quantity.RELATIVE)
_STREAM_JUMP, _IN_KEEP_OUT = int(Code.STREAM_JUMP), int(Code.IN_KEEP_OUT)
_OK, _NOT_ENABLED, _NOT_HOMED = int(Code.OK), int(Code.NOT_ENABLED), int(Code.NOT_HOMED)
_C_PAUSED, _IN_FAULT, _BUSY = int(Code.PAUSED), int(Code.IN_FAULT), int(Code.BUSY)
_ESTOP_PRESSED, _UNKNOWN = int(Code.ESTOP_PRESSED), int(Code.UNKNOWN_OPERATION)
_BAD_PARAMETER, _NOT_FINITE = int(Code.BAD_PARAMETER), int(Code.NOT_FINITE)
_REMOTE_CENTER, _NO_REMOTE_CENTER = int(Code.REMOTE_CENTER), int(Code.NO_REMOTE_CENTER)
KEEPS_REMOTE_CENTER = np.zeros(len(VERB), np.bool_)
"""Motion commands that go by the inverse kinematics in every cycle, which keeps the remote centre where one is set."""
for _keeping in (Operation.MOVE_CP, Operation.MOVE_CR, Operation.SERVO_CP, Operation.SERVO_CR):
    KEEPS_REMOTE_CENTER[_keeping] = True

FIRST_STEP = 10e-6  # m that the first command of a stream may move the tip after a pause
FIRST_TURN = 1e-3  # rad that it may turn it

_CORE, _MOTION, _PATH, _ARM = array_of(CORE), array_of(MOTION), array_of(PATH), array_of(ARM)
_SAMPLE, _FEEDBACK, _MESSAGE = array_of(SAMPLE), array_of(FEEDBACK), array_of(MESSAGE)
_GUARD = array_of(GUARD)
_F8_2D, _POSES, _i8 = types.float64[:, ::1], types.float64[:, :, ::1], types.int64
_START, _WALK = types.FunctionType(START), types.FunctionType(WALK)
_FORWARD, _INVERSE = types.FunctionType(FORWARD), types.FunctionType(INVERSE)


@kernel(_i8(_CORE))
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


@kernel(_i8(_MOTION, _ARM, _FORWARD, _MESSAGE, _F8_2D, _POSES))
def _begins_here(motion: Array, arm: Array, forward: Part, message: Array, scratch: Array, poses: Array) -> int:
    """Return 1 where a stream's first command is at the set-point, or says nothing of a place.

    After a pause the master may have been moved, or let go of: a stream that began elsewhere would pull the arm there.
    """
    msg = message[0]
    if QUANTITY[msg.operation] != _POSITION:
        return 1
    q, T, goal = scratch[0], poses[0], poses[1]
    for i in range(MAX_AXES):
        q[i] = motion[0].q[i]
    forward(arm, q, T)
    if IS_CARTESIAN[msg.operation]:
        for i in range(4):
            for k in range(4):
                goal[i, k] = msg.pose[i, k]
    else:
        for i in range(min(msg.n_axes, arm[0].n_joints)):
            q[i] = msg.vector[i]
        forward(arm, q, goal)
    square, trace = 0.0, 0.0
    for i in range(3):
        square += (goal[i, 3] - T[i, 3]) ** 2
        for k in range(3):
            trace += goal[i, k] * T[i, k]
    # trace = 1 + 2 cos(angle); written so that a NaN is elsewhere
    return int(square <= FIRST_STEP * FIRST_STEP and trace >= 1.0 + 2.0 * np.cos(FIRST_TURN))


@kernel(_i8(_MOTION, _ARM, _FORWARD, _MESSAGE, _F8_2D, _POSES, _GUARD))
def _goes_out(
    motion: Array, arm: Array, forward: Part, message: Array, scratch: Array, poses: Array, guard: Array
) -> int:
    """Return 1 where the goal of a move, or a point on its way, is where the tip must not be.

    What lies between is left to the guard, which sees every step.
    """
    msg = message[0]
    quantity = QUANTITY[msg.operation]
    if guard[0].n_volumes == 0 or (quantity != _POSITION and quantity != _RELATIVE):
        return 0
    q, point, T = scratch[0], scratch[1], poses[0]
    if not IS_CARTESIAN[msg.operation]:
        for i in range(MAX_AXES):
            q[i] = motion[0].q[i]
        for i in range(min(msg.n_axes, arm[0].n_joints)):
            q[i] = msg.vector[i] if quantity == _POSITION else q[i] + msg.vector[i]
        forward(arm, q, T)
        for k in range(3):
            point[k] = T[k, 3]
        return int(wall_distance(guard, point) < 0.0)
    if quantity == _RELATIVE:
        return 0
    for n in range(msg.n_via + 1):
        for k in range(3):
            point[k] = msg.via[n, k, 3] if n < msg.n_via else msg.pose[k, 3]
        if wall_distance(guard, point) < 0.0:
            return 1
    return 0


@kernel(types.void(_CORE, _MOTION, _ARM, _i8, _i8))
def _begin_stop(core: Array, motion: Array, arm: Array, activity: int, command_id: int) -> None:
    """Bring everything to rest as an activity."""
    begin(core, activity, command_id)
    finish_jaw(core, _PREEMPTED)
    stop_all(motion, arm)


@kernel(_i8(_CORE, _MOTION, _ARM, _SAMPLE, _FEEDBACK, _MESSAGE, _i8))
def _take_state_command(
    core: Array, motion: Array, arm: Array, sample: Array, feedback: Array, message: Array, lost: int
) -> int:
    """Begin what a message asks that is no motion; return 0, or the code of its refusal."""
    c = core[0]
    op = message[0].operation
    command_id: int = np.int64(message[0].id)  # type: ignore[assignment]  # Numba: unsigned would turn into floating point

    if op == _OP_ENABLE:
        code = verdict(c.state, _EV_ENABLE)
        if code != _OK:
            return int(code)
        if c.activity == _STOPPING:
            return _BUSY
        if c.state == _ENABLED:
            end_command(core, command_id, _DONE)
            return _OK
        if lost != _OK:
            return lost
        if feedback[0].status & _S_ESTOP:
            return _ESTOP_PRESSED
        begin(core, _CLEARING, command_id)
        begin_enabling(core)
        return _OK
    if op == _OP_DISABLE:
        code = verdict(c.state, _EV_DISABLE)
        if code != _OK:
            return int(code)
        if is_powered(core):
            _begin_stop(core, motion, arm, _STOPPING, command_id)
            c.stop_event = _EV_UNPOWERED
        else:
            finish(core, _PREEMPTED)
            c.state = transition(c.state, _EV_UNPOWERED)
            c.fault = 0
            power_off(core)
            end_command(core, command_id, _DONE)
        return _OK
    if op == _OP_PAUSE:
        code = verdict(c.state, _EV_PAUSE)
        if code != _OK:
            return int(code)
        if c.activity == _STOPPING or c.activity == _REFERENCING:
            return _BUSY
        if c.state == _ENABLED:
            c.state = transition(c.state, _EV_PAUSE)
            c.rereference = 1
            _begin_stop(core, motion, arm, _HOLDING, command_id)
        else:
            end_command(core, command_id, _DONE)
        return _OK
    if op == _OP_RESUME:
        code = verdict(c.state, _EV_RESUME)
        if code != _OK:
            return int(code)
        if c.activity == _STOPPING:
            return _BUSY
        if c.pedal_required and not feedback[0].status & _S_PEDAL:
            return _PEDAL_UP
        c.state = transition(c.state, _EV_RESUME)
        c.fault = 0
        end_command(core, command_id, _DONE)
        return _OK
    if op == _OP_UNHOME:
        if (c.activity != _NONE and c.activity != _STREAMING) or is_moving(motion):
            return _BUSY
        c.is_homed = 0
        end_command(core, command_id, _DONE)
        return _OK
    if op == _OP_HOME:
        code = verdict(c.state, _EV_HOME)
        if code != _OK:
            return int(code)
        if c.activity != _NONE or is_moving(motion):
            return _BUSY
        hold_here(motion, arm, 0)
        hold_here(motion, arm, 1)
        begin(core, _AVERAGING, command_id)
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
        c.free = 0
        _begin_stop(core, motion, arm, _HOLDING, command_id)
        return _OK
    if op == _OP_FREE:
        code = _motion_code(core)
        if code != _OK:
            return int(code)
        if is_moving(motion):
            return _BUSY
        begin(core, _HOLDING, command_id)
        c.free = 1
        return _OK
    if op == _OP_SPEED:
        if not 0.0 < message[0].speed <= 1.0:
            return _BAD_PARAMETER
        set_speed_ratio(motion, message[0].speed)
        end_command(core, command_id, _DONE)
        return _OK
    if op == _OP_REMOTE_CENTER:
        a = arm[0]
        if a.family != _NO_FAMILY:
            return _NO_REMOTE_CENTER
        if is_moving(motion) and not a.through:
            return _BUSY
        for i in range(3):
            if not np.isfinite(message[0].vector[i]):
                return _NOT_FINITE
        a.through = 1 if message[0].n_axes == 3 else 0
        for i in range(3):
            a.remote_center[i] = message[0].vector[i]
        end_command(core, command_id, _DONE)
        return _OK
    return _UNKNOWN


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
        _SAMPLE,
        _FEEDBACK,
        _MESSAGE,
        _MESSAGE,
        _i8,
        _F8_2D,
        _POSES,
        _GUARD,
    )
)
def take_command(
    core: Array,
    motion: Array,
    path: Array,
    arm: Array,
    forward: Part,
    inverse: Part,
    walk: Part,
    start: Part,
    sample: Array,
    feedback: Array,
    message: Array,
    next_message: Array,
    lost: int,
    scratch: Array,
    poses: Array,
    guard: Array,
) -> int:
    """Begin what a message asks; return 0, or the code of its refusal (nothing has changed then).

    Args:
        core: CORE, (1,).
        motion: MOTION, (1,).
        path: PATH, (1,).
        arm: ARM, (1,).
        forward: Forward kinematics.
        inverse: Inverse kinematics.
        walk: `motion.walk.walk`.
        start: `motion.start.start`.
        sample: The cycle's sample, SAMPLE, (1,).
        feedback: FEEDBACK, (1,).
        message: The command, MESSAGE, (1,).
        next_message: Where a path waits for a stop to end, MESSAGE, (1,).
        lost: The code of what is wrong with the feedback, or 0.
        scratch: setpoint.SCRATCH.
        poses: Working memory, (3, 4, 4).
        guard: GUARD, (1,): where the tip may be.
    """
    c = core[0]
    msg = message[0]
    op = msg.operation
    command_id: int = np.int64(msg.id)  # type: ignore[assignment]
    if op < 0 or op >= len(VERB):
        return _UNKNOWN
    verb = VERB[op]
    if verb == _NO_VERB:
        return int(_take_state_command(core, motion, arm, sample, feedback, message, lost))
    code = _motion_code(core)
    if code != _OK:
        return int(code)
    if arm[0].through and msg.group != _JAW and not KEEPS_REMOTE_CENTER[op]:
        return _REMOTE_CENTER
    streams = verb != _MOVE and msg.group != _JAW
    if streams and c.rereference and not _begins_here(motion, arm, forward, message, scratch, poses):
        return _STREAM_JUMP
    if verb == _MOVE and msg.group != _JAW and _goes_out(motion, arm, forward, message, scratch, poses, guard):
        return _IN_KEEP_OUT
    code = start(motion, path, arm, forward, inverse, walk, message, next_message, sample[0].t_ns, scratch, poses)
    if code != _OK:
        return int(code)
    c.free = 0
    c.rereference = 0
    activity = _MOVING if verb == _MOVE else _STREAMING
    if msg.group == _JAW:
        begin_jaw(core, activity, command_id)
    else:
        begin(core, activity, command_id)
        if takes_jaw(message, arm):
            finish_jaw(core, _PREEMPTED)
    return _OK
