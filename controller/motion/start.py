"""Taking a motion command: what it asks is checked, and the set-point's next mode is set. Nothing moves yet.

The checks come first, so that a refused command leaves the motion as it was.
"""

import math

from numba.core import types

from controller.catalogue import Code
from controller.mailbox import IS_CARTESIAN, MAX_VIA, MESSAGE, QUANTITY, VERB, Frame, Group, Operation, Quantity, Verb
from controller.motion.path import LINEAR, PATH, add_jaw, add_point, begin_path, round_corners
from controller.motion.setpoint import MOTION, Mode, begin_stop, first_axis
from controller.motion.walk import WALK, limit_path
from kinematics.chain import FORWARD, INVERSE, IkStatus
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM
from kinematics.frames import compose, is_pose
from kinematics.vectors import copy_matrix, copy_vector

__all__ = ["START", "start", "takes_jaw"]

SERVO_HORIZON = 0.05  # s at full speed: a servo command further away than that is refused as a jump
INTERPOLATE_HORIZON = 0.5  # s, of an interpolated one
SMOOTHING = 0.05  # s, of a stream's acceleration
TARGET_VELOCITY = 0.7  # of the limit: an interpolated stream's own, at the most
TARGET_ACCELERATION = 0.5  # likewise
TARGET_CHANGE = 0.05  # of the velocity limit, in an interval, by that acceleration
SLOWEST_STREAM = 0.15  # s: commands further apart make no stream, so they tell no velocity
POSE_TOLERANCE = 1e-6  # of a rotation's orthonormality, as the inverse kinematics have it

_OK, _NOT_FINITE, _WRONG_SIZE, _JOINT_LIMIT = 0, int(Code.NOT_FINITE), int(Code.WRONG_SIZE), int(Code.JOINT_LIMIT)
_BAD_PARAMETER, _STEP, _BLOCKED = int(Code.BAD_PARAMETER), int(Code.STEP_TOO_LARGE), int(Code.PATH_BLOCKED)
_NOT_A_POSE, _NO_JAW = int(Code.NOT_A_POSE), int(Code.NO_JAW)
_CODE_OF = {
    IkStatus.SOLVED: Code.OK,
    IkStatus.OUT_OF_REACH: Code.OUT_OF_REACH,
    IkStatus.JOINT_LIMIT: Code.JOINT_LIMIT,
    IkStatus.SINGULAR: Code.SINGULAR,
    IkStatus.TOO_SHALLOW: Code.TOO_SHALLOW,
    IkStatus.NOT_A_POSE: Code.NOT_A_POSE,
    IkStatus.ORIENTATION: Code.OUT_OF_REACH,
    IkStatus.NOT_CONVERGED: Code.OUT_OF_REACH,
    IkStatus.STEP_LIMITED: Code.STEP_TOO_LARGE,
}
_IK_CODES = tuple(int(_CODE_OF[status]) for status in IkStatus)  # a status without a code fails here, not in the cycle
_HOLD, _PATH_MODE, _SERVO_MODE, _MOVE_MODE = int(Mode.HOLD), int(Mode.PATH), int(Mode.SERVO), int(Mode.MOVE)
_INTERPOLATE_MODE, _VELOCITY_MODE, _EFFORT_MODE = int(Mode.INTERPOLATE), int(Mode.VELOCITY), int(Mode.EFFORT)
_SERVO, _INTERPOLATE, _MOVE = int(Verb.SERVO), int(Verb.INTERPOLATE), int(Verb.MOVE)
_RELATIVE, _VELOCITY, _EFFORT = int(Quantity.RELATIVE), int(Quantity.VELOCITY), int(Quantity.EFFORT)
_ARM_GROUP, _JAW, _TIP = int(Group.ARM), int(Group.JAW), int(Frame.TIP)
_MOVE_CP = int(Operation.MOVE_CP)

_MOTION, _PATH, _ARM, _MESSAGE = array_of(MOTION), array_of(PATH), array_of(ARM), array_of(MESSAGE)
_F8_2D, _POSES, _f8, _i8 = types.float64[:, ::1], types.float64[:, :, ::1], types.float64, types.int64
_FORWARD, _INVERSE, _WALK = types.FunctionType(FORWARD), types.FunctionType(INVERSE), types.FunctionType(WALK)

START = _i8(_MOTION, _PATH, _ARM, _FORWARD, _INVERSE, _WALK, _MESSAGE, _MESSAGE, _i8, _F8_2D, _POSES)
"""start(motion, path, arm, forward, inverse, walk, message, next_message, now_ns, scratch, poses), as a part."""


@kernel(_i8(_MESSAGE, _ARM))
def takes_jaw(message: Array, arm: Array) -> int:
    """Return 1 where a motion command of the arm's takes the jaw along."""
    msg = message[0]
    a = arm[0]
    if msg.group != _ARM_GROUP or a.n_axes == a.n_joints:
        return 0
    if IS_CARTESIAN[msg.operation]:
        return int(VERB[msg.operation] == _MOVE and math.isfinite(msg.jaw))
    return int(msg.n_axes == a.n_axes)


@kernel(_i8(_MESSAGE, _ARM))
def _form_code(message: Array, arm: Array) -> int:
    """Return 0, or what is wrong with a message by itself."""
    msg = message[0]
    a = arm[0]
    op = msg.operation
    if msg.group != _ARM_GROUP and (msg.group != _JAW or IS_CARTESIAN[op]):
        return _BAD_PARAMETER
    if msg.group == _JAW and a.n_axes == a.n_joints:
        return _NO_JAW
    if not (msg.timeout_s >= 0.0 and math.isfinite(msg.timeout_s)):
        return _BAD_PARAMETER
    is_good = 0.0 < msg.speed <= 1.0 and msg.path_speed >= 0.0 and math.isfinite(msg.path_speed)
    if VERB[op] == _MOVE and not is_good:
        return _BAD_PARAMETER
    if not IS_CARTESIAN[op]:
        if msg.group == _JAW:
            if msg.n_axes != 1:
                return _WRONG_SIZE
        elif msg.n_axes != a.n_axes and msg.n_axes != a.n_joints:
            return _WRONG_SIZE
        for i in range(msg.n_axes):
            if not math.isfinite(msg.vector[i]):
                return _NOT_FINITE
        return _OK
    if msg.frame != 0 and msg.frame != _TIP:
        return _BAD_PARAMETER
    if QUANTITY[op] == _VELOCITY or QUANTITY[op] == _EFFORT:
        for i in range(6):
            if not math.isfinite(msg.vector[i]):
                return _NOT_FINITE
        return _OK
    if msg.n_via < 0 or msg.n_via > MAX_VIA or not (msg.blend >= 0.0 and math.isfinite(msg.blend)):
        return _BAD_PARAMETER
    if msg.n_via > 0 and msg.blend == 0.0:
        return _BAD_PARAMETER
    if math.isinf(msg.jaw):
        return _NOT_FINITE
    if math.isfinite(msg.jaw) and VERB[op] == _MOVE and a.n_axes == a.n_joints:
        return _NO_JAW
    return _OK


@kernel(_i8(_F8_2D))
def _pose_code(T: Array) -> int:
    """Return 0, or what is wrong with a pose."""
    for i in range(4):
        for j in range(4):
            if not math.isfinite(T[i, j]):
                return _NOT_FINITE
    return _OK if is_pose(T, POSE_TOLERANCE) else _NOT_A_POSE


@kernel(types.void(_MOTION, _ARM, _i8, _i8))
def _take_axes(motion: Array, arm: Array, group: int, with_jaw: int) -> None:
    """Give a group its axes: the jaw begins to ride, goes on by itself, or comes to rest, as a command says."""
    m = motion[0]
    if group == _JAW:
        m.jaw_rides = 0
    elif with_jaw:
        m.jaw_rides = 1
        m.mode[_JAW] = _HOLD
        m.stopping[_JAW] = 0
    elif m.jaw_rides:
        m.jaw_rides = 0
        m.mode[_JAW] = _VELOCITY_MODE
        m.stopping[_JAW] = 0
        begin_stop(motion, arm, _JAW)


@kernel(_i8(_MOTION, _ARM, _MESSAGE, _i8, _F8_2D))
def _joint_goal(motion: Array, arm: Array, message: Array, mode: int, scratch: Array) -> int:
    """Write where a joint command goes to scratch[0]; return 0 or the code of its refusal.

    Relative commands count from the set-point, those of a stream from its newest target: an increment that the
    set-point has not covered yet is not lost.
    """
    m = motion[0]
    a = arm[0]
    msg = message[0]
    group = msg.group
    goal = scratch[0]
    first = first_axis(arm, group)
    for i in range(len(goal)):
        goal[i] = m.q[i]
    for k in range(msg.n_axes):
        i = first + k
        goal[i] = msg.vector[k]
        if QUANTITY[msg.operation] == _RELATIVE:
            goal[i] += m.target[i] if m.mode[group] == mode and not m.stopping[group] else m.q[i]
    for k in range(msg.n_axes):
        i = first + k
        if goal[i] < a.position_min[i] or goal[i] > a.position_max[i]:
            return _JOINT_LIMIT
    return _OK


@kernel(_i8(_MOTION, _ARM, _FORWARD, _INVERSE, _MESSAGE, _i8, _F8_2D, _POSES))
def _tip_goal(
    motion: Array, arm: Array, forward: Part, inverse: Part, message: Array, mode: int, scratch: Array, poses: Array
) -> int:
    """Write the joints at a tip command's pose to scratch[0] and the pose to the message; return 0 or a code.

    A relative pose is applied in the base's axes (the translation is added, the rotation multiplied from the left), or
    in the tip's (T_base_tip times it).
    """
    m = motion[0]
    msg = message[0]
    goal, near = scratch[0], scratch[1]
    T, T_old, T_new = poses[0], poses[1], poses[2]
    copy_matrix(msg.pose, T)
    code = _pose_code(T)
    if code != _OK:
        return int(code)
    if QUANTITY[msg.operation] == _RELATIVE:
        copy_vector(m.q, near)
        if m.mode[_ARM_GROUP] == mode and not m.stopping[_ARM_GROUP]:
            for i in range(arm[0].n_joints):
                near[i] = m.target[i]
        forward(arm, near, T_old)
        if msg.frame == _TIP:
            compose(T_old, T, T_new)
        else:
            x, y, z = T_old[0, 3], T_old[1, 3], T_old[2, 3]
            T_old[0, 3], T_old[1, 3], T_old[2, 3] = 0.0, 0.0, 0.0
            compose(T, T_old, T_new)
            T_new[0, 3] += x
            T_new[1, 3] += y
            T_new[2, 3] += z
        copy_matrix(T_new, T)
        copy_matrix(T_new, msg.pose)
    copy_vector(m.q, near)
    status = inverse(arm, T, near, goal)
    if status != 0:
        return _IK_CODES[status]
    if VERB[msg.operation] == _MOVE and math.isfinite(msg.jaw):
        jaw = arm[0].n_joints
        if msg.jaw < arm[0].position_min[jaw] or msg.jaw > arm[0].position_max[jaw]:
            return _JOINT_LIMIT
    return _OK


@kernel(_i8(_MOTION, _PATH, _ARM, _FORWARD, _INVERSE, _WALK, _MESSAGE, _F8_2D, _POSES))
def _begin_path(
    motion: Array,
    path: Array,
    arm: Array,
    forward: Part,
    inverse: Part,
    walk: Part,
    message: Array,
    scratch: Array,
    poses: Array,
) -> int:
    """Begin a path of the tip, from rest; return 0 or the code of its refusal (the motion is then as it was)."""
    m = motion[0]
    msg = message[0]
    p = path[0]
    goal, near, T = scratch[0], scratch[1], poses[0]
    copy_vector(m.q, near)
    forward(arm, near, T)
    begin_path(path, T, near, m.tip_limits.linear_speed, m.tip_limits.angular_speed)
    for k in range(msg.n_via):
        copy_matrix(msg.via[k], T)
        code = _pose_code(T)
        if code != _OK:
            return int(code)
        add_point(path, T)
    copy_matrix(msg.pose, T)
    add_point(path, T)
    round_corners(path, msg.blend)
    with_jaw = takes_jaw(message, arm)
    if with_jaw:
        add_jaw(path, arm[0].n_joints, msg.jaw, arm[0].velocity_max[arm[0].n_joints])
    # The goal was solved when the command was taken: what fails now is the way there.
    if walk(path, arm, inverse, T, goal, near) != 0:
        return _BLOCKED
    limit_path(path, arm, motion[0].tip_limits)
    if msg.path_speed > 0.0 and p.rates[LINEAR] > 0.0:
        p.v_path = msg.path_speed / p.rates[LINEAR]
    _take_axes(motion, arm, _ARM_GROUP, with_jaw)
    n = arm[0].n_axes if with_jaw else arm[0].n_joints
    for i in range(n):
        m.goal[i] = goal[i]
        m.goal_velocity[i] = 0.0
        m.slope[0, i], m.slope[1, i] = 0.0, 0.0
    m.mode[_ARM_GROUP] = _PATH_MODE
    m.stopping[_ARM_GROUP] = 0
    m.speed[_ARM_GROUP] = msg.speed
    m.plan_due[_ARM_GROUP] = 1
    m.waiting = 0
    return _OK


@kernel(_f8(_MOTION, _i8, _i8, _MESSAGE, _i8))
def _take_stream(motion: Array, group: int, mode: int, message: Array, now_ns: int) -> float:
    """Note that a command of a stream has come; return the s since the one before it, 0 for the first."""
    m = motion[0]
    msg = message[0]
    elapsed = 0.0
    if m.mode[group] == mode and not m.stopping[group]:
        elapsed = (now_ns - m.stream_ns[group]) * 1e-9
        if elapsed > SLOWEST_STREAM:
            m.interval[group] = 0.0
        elif m.interval[group] == 0.0:
            m.interval[group] = elapsed
        else:
            m.interval[group] += 0.25 * (elapsed - m.interval[group])
    else:
        m.interval[group] = 0.0
    m.stream_ns[group] = now_ns
    longest = m.stream_timeout_max_ns
    if VERB[msg.operation] == _INTERPOLATE:
        longest = m.interpolate_timeout_max_ns
    m.stream_timeout_ns[group] = longest
    if msg.timeout_s > 0.0:
        m.stream_timeout_ns[group] = min(longest, int(msg.timeout_s * 1e9))
    return elapsed


@kernel(types.void(_MOTION, _ARM, _i8, _i8, _i8, _F8_2D))
def _estimate_stream(motion: Array, arm: Array, group: int, first: int, past: int, scratch: Array) -> None:
    """Estimate how an interpolated stream moves at its newest target, scratch[0]: goal_velocity and goal_acceleration.

    Differences of the last targets give the velocity half an interval ago; the acceleration, smoothed over
    SMOOTHING, leads it up to now. Of both so much of the joints' limits is left that the set-point can catch up.
    """
    m = motion[0]
    a = arm[0]
    interval = m.interval[group]
    for i in range(first, past):
        if interval == 0.0:
            m.goal_velocity[i], m.goal_acceleration[i], m.slope[0, i] = 0.0, 0.0, 0.0
            continue
        most = TARGET_ACCELERATION * a.acceleration_max[i]
        most = m.speed_ratio * min(most, TARGET_CHANGE * a.velocity_max[i] / interval)
        slope = (scratch[0, i] - m.target[i]) / interval
        change = min(max((slope - m.slope[0, i]) / interval, -most), most)
        m.slope[0, i] = slope
        m.goal_acceleration[i] += min(1.0, interval / SMOOTHING) * (change - m.goal_acceleration[i])
        most = TARGET_VELOCITY * m.speed_ratio * a.velocity_max[i]
        m.goal_velocity[i] = min(max(slope + 0.5 * interval * m.goal_acceleration[i], -most), most)


@kernel(START)
def start(
    motion: Array,
    path: Array,
    arm: Array,
    forward: Part,
    inverse: Part,
    walk: Part,
    message: Array,
    next_message: Array,
    now_ns: int,
    scratch: Array,
    poses: Array,
) -> int:
    """Take a motion command; return 0, or the code of its refusal (the motion is then as it was).

    Args:
        motion: MOTION, (1,).
        path: PATH, (1,).
        arm: ARM, (1,).
        forward: Forward kinematics, signature FORWARD.
        inverse: Inverse kinematics, signature INVERSE.
        walk: `walk.walk`; a part, so that its code is compiled once.
        message: The command, MESSAGE, (1,). A relative path's goal is made absolute in it.
        next_message: Where a path waits until the arm has come to rest, MESSAGE, (1,).
        now_ns: The cycle's time.
        scratch: SCRATCH.
        poses: Working memory, (3, 4, 4).
    """
    m = motion[0]
    a = arm[0]
    msg = message[0]
    op = msg.operation
    group, verb, quantity = msg.group, VERB[op], QUANTITY[op]
    code = _form_code(message, arm)
    if code != _OK:
        return int(code)
    goal = scratch[0]
    with_jaw = takes_jaw(message, arm)
    first = first_axis(arm, group)
    past = a.n_axes if group == _JAW or with_jaw else a.n_joints

    if quantity == _VELOCITY or quantity == _EFFORT:
        mode = _VELOCITY_MODE if quantity == _VELOCITY else _EFFORT_MODE
        _take_stream(motion, group, mode, message, now_ns)
        _take_axes(motion, arm, group, with_jaw)
        if group == _ARM_GROUP:
            m.waiting = 0
            m.at_tip = IS_CARTESIAN[op]
            m.frame = msg.frame
            for i in range(6):
                m.tip[i] = msg.vector[i]
        excess = 1.0
        if not IS_CARTESIAN[op] and quantity == _VELOCITY:
            for i in range(first, past):
                excess = max(excess, abs(msg.vector[i - first]) / a.velocity_max[i])
        for i in range(first, past):
            if m.mode[group] != _EFFORT_MODE or mode != _EFFORT_MODE:
                m.effort[i] = 0.0
                m.at_wall[i] = 0
            m.target[i] = 0.0 if IS_CARTESIAN[op] else msg.vector[i - first] / excess
            m.stop_scale[i] = 1.0
        m.mode[group] = mode
        m.stopping[group] = 0
        m.smooth[group] = int(verb == _INTERPOLATE)
        return _OK

    mode = _MOVE_MODE
    if verb == _SERVO:
        mode = _SERVO_MODE
    elif verb == _INTERPOLATE:
        mode = _INTERPOLATE_MODE
    if IS_CARTESIAN[op]:
        code = _tip_goal(motion, arm, forward, inverse, message, mode, scratch, poses)
    else:
        code = _joint_goal(motion, arm, message, mode, scratch)
    if code != _OK:
        return int(code)

    if verb == _MOVE and IS_CARTESIAN[op]:
        msg.operation = _MOVE_CP
        if m.mode[_ARM_GROUP] > _HOLD:
            begin_stop(motion, arm, _ARM_GROUP)
            next_message[0] = message[0]
            m.waiting = 1
            return _OK
        return int(_begin_path(motion, path, arm, forward, inverse, walk, message, scratch, poses))

    if verb != _MOVE:
        horizon = SERVO_HORIZON if verb == _SERVO else INTERPOLATE_HORIZON
        for i in range(first, past):
            if abs(goal[i] - m.q[i]) > a.velocity_max[i] * horizon:
                return _STEP
        elapsed = _take_stream(motion, group, mode, message, now_ns)
        cycles = 1
        if elapsed > 0.0:
            cycles = max(1, int(min(elapsed, SERVO_HORIZON) / m.period + 0.5))
            if cycles > 1:
                # A stream slower than the cycle jitters: with a fifth to spare its next command comes before the
                # set-point has arrived and stopped, which would jerk the arm each time.
                cycles += max(1, cycles // 5)
        m.target_cycles[group] = cycles
        m.since[group] = 0.0
        if verb == _INTERPOLATE:
            _estimate_stream(motion, arm, group, first, past, scratch)
    _take_axes(motion, arm, group, with_jaw)
    for i in range(first, past):
        m.target[i] = goal[i]
        m.goal[i] = goal[i]
        m.effort[i] = 0.0
        m.stop_scale[i] = 1.0
        if verb != _INTERPOLATE:
            m.goal_velocity[i] = 0.0
    if group == _ARM_GROUP:
        m.waiting = 0
        m.at_tip = IS_CARTESIAN[op]
    m.mode[group] = mode
    m.stopping[group] = 0
    m.speed[group] = msg.speed if verb == _MOVE else 1.0
    m.plan_due[group] = 1
    return _OK
