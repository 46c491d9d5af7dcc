"""The set-point: where the joints should be at the start of the next cycle.

One generator with five modes. Moves run a jerk-limited profile along a path; a new motion that finds the arm moving
first brings it to rest along the path that it is on, and then begins. Streams are followed as they come, within the
joints' velocity limits.
"""

from enum import IntEnum

import numpy as np
from numba.core import types

from controller.catalogue import Code
from controller.mailbox import MESSAGE, Operation
from controller.motion.path import (
    CARTESIAN_LINE,
    PATH,
    cartesian_path,
    check_cartesian_path,
    joint_path,
    joint_stop_path,
    limit_by_joint_rates,
    path_joints,
    path_pose,
)
from controller.motion.profile import PROFILE, evaluate, plan_rest_to_rest, plan_stop
from kinematics.chain import FORWARD, INVERSE, IkStatus
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM
from kinematics.vectors import copy_matrix, copy_vector
from telemetry.sample import MAX_AXES

__all__ = ["MOTION", "SCRATCH", "Mode", "advance", "begin_stop", "follow", "hold_here", "is_moving", "start"]


class Mode(IntEnum):
    """What the set-point follows."""

    FOLLOW = 0  # the measured joints: motors off, or free
    HOLD = 1  # nothing: it stands still
    PATH = 2  # a profile along a path
    SERVO = 3  # a client's stream


MOTION = np.dtype(
    [
        # limits, set once
        ("period", "f8"),  # s
        ("linear_speed", "f8"),  # m/s, m/s², m/s³: of straight lines
        ("linear_acceleration", "f8"),
        ("linear_jerk", "f8"),
        ("angular_speed", "f8"),  # rad/s, rad/s², rad/s³
        ("angular_acceleration", "f8"),
        ("angular_jerk", "f8"),
        ("stream_timeout_max_ns", "i8"),  # the configuration's; a stream may ask for less
        # state
        ("mode", "i8"),
        ("q", "f8", (MAX_AXES,)),
        ("qd", "f8", (MAX_AXES,)),
        ("goal", "f8", (MAX_AXES,)),
        ("time", "f8"),  # s along the profile
        ("stopping", "i8"),  # the profile is a stop
        ("waiting", "i8"),  # `next_message` begins when the stop has come to rest
        ("target", "f8", (MAX_AXES,)),  # SERVO: the newest command
        ("target_cycles", "i8"),  # SERVO: cycles in which to reach it
        ("stream_ns", "i8"),  # SERVO: when the newest command came
        ("stream_timeout_ns", "i8"),  # SERVO: how old that may become
    ],
    align=True,
)

STEP_HORIZON = 0.05  # s at full speed: a servo command further away than that is refused as a jump
PATH_CHECKS = 64  # points of a straight line that are solved before it is accepted
SCRATCH = (8, MAX_AXES)
"""Shape of the working memory that the kernels here take: the first rows are theirs, the last two the caller's."""

_OK, _NOT_FINITE, _WRONG_SIZE, _JOINT_LIMIT = 0, int(Code.NOT_FINITE), int(Code.WRONG_SIZE), int(Code.JOINT_LIMIT)
_BAD_PARAMETER, _STEP, _BLOCKED = int(Code.BAD_PARAMETER), int(Code.STEP_TOO_LARGE), int(Code.PATH_BLOCKED)
_PATH_FAILED = int(Code.PATH_FAILED)
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
_FOLLOW, _HOLD, _PATH, _SERVO = int(Mode.FOLLOW), int(Mode.HOLD), int(Mode.PATH), int(Mode.SERVO)
_MOVE_JP, _MOVE_CP = int(Operation.MOVE_JP), int(Operation.MOVE_CP)
_SERVO_JP = int(Operation.SERVO_JP)

_MOTION, _PATH_T, _PROFILE, _ARM = array_of(MOTION), array_of(PATH), array_of(PROFILE), array_of(ARM)
_MESSAGE, _F8_2D, _POSES = array_of(MESSAGE), types.float64[:, ::1], types.float64[:, :, ::1]
_VECTOR = types.float64[:]  # any stride: a vector inside a record is taken too
_INVERSE, _FORWARD = types.FunctionType(INVERSE), types.FunctionType(FORWARD)


@kernel(types.void(_MOTION, _VECTOR))
def follow(motion: Array, q: Array) -> None:
    """Let the set-point be the measured joints, (8,)."""
    m = motion[0]
    m.mode = _FOLLOW
    m.stopping = 0
    m.waiting = 0
    for i in range(MAX_AXES):
        m.q[i] = q[i]
        m.goal[i] = q[i]
        m.qd[i] = 0.0


@kernel(types.void(_MOTION))
def hold_here(motion: Array) -> None:
    """Stand still where the set-point is."""
    m = motion[0]
    m.mode = _HOLD
    m.stopping = 0
    for i in range(MAX_AXES):
        m.goal[i] = m.q[i]
        m.qd[i] = 0.0


@kernel(types.int64(_MOTION))
def is_moving(motion: Array) -> int:
    """Return 1 while the set-point moves on its own account: along a path, or after a stream."""
    return int(motion[0].mode == _PATH or motion[0].mode == _SERVO)


@kernel(types.void(_MOTION, _PATH_T, _PROFILE, _ARM, _F8_2D))
def begin_stop(motion: Array, path: Array, profile: Array, arm: Array, scratch: Array) -> None:
    """Come to rest without exceeding the acceleration and jerk limits: on the present path, or along the motion."""
    m = motion[0]
    p = path[0]
    if m.mode == _PATH:
        if m.stopping:
            return
        out = scratch[0]
        evaluate(profile, m.time, out)
        plan_stop(profile, out[0], out[1], out[2], p.a_max, p.j_max)
    elif m.mode == _SERVO:
        speed = 0.0
        for i in range(MAX_AXES):
            speed = max(speed, abs(m.qd[i]))
        if speed == 0.0:
            hold_here(motion)
            return
        joint_stop_path(path, arm, m.q[:], m.qd[:])
        plan_stop(profile, 0.0, 1.0, 0.0, p.a_max, p.j_max)
    else:
        hold_here(motion)
        return
    m.mode = _PATH
    m.stopping = 1
    m.time = 0.0


@kernel(types.int64(_MOTION, _ARM, _VECTOR))
def _goal_code(motion: Array, arm: Array, goal: Array) -> int:
    """Return 0, or why a joint goal is refused."""
    a = arm[0]
    for i in range(a.n_axes):
        if not np.isfinite(goal[i]):
            return _NOT_FINITE
    for i in range(a.n_axes):
        if goal[i] < a.position_min[i] or goal[i] > a.position_max[i]:
            return _JOINT_LIMIT
    return _OK


@kernel(types.int64(_MESSAGE, _MOTION, _ARM, _VECTOR))
def _joint_goal(message: Array, motion: Array, arm: Array, goal: Array) -> int:
    """Fill in the joint goal of a message; entries it did not give stay where the set-point is. Return 0 or a code."""
    msg = message[0]
    if msg.n_axes != arm[0].n_axes and msg.n_axes != arm[0].n_joints:
        return _WRONG_SIZE
    for i in range(MAX_AXES):
        goal[i] = msg.position[i] if i < msg.n_axes else motion[0].goal[i]
    return int(_goal_code(motion, arm, goal))


@kernel(types.int64(_F8_2D))
def _pose_is_finite(T: Array) -> int:
    for i in range(4):
        for j in range(4):
            if not np.isfinite(T[i, j]):
                return 0
    return 1


@kernel(types.int64(_MOTION, _PATH_T, _PROFILE, _ARM, _FORWARD, _INVERSE, _MESSAGE, _F8_2D, _POSES))
def _start_move(
    motion: Array,
    path: Array,
    profile: Array,
    arm: Array,
    forward: Part,
    inverse: Part,
    message: Array,
    scratch: Array,
    poses: Array,
) -> int:
    """Begin a move from rest; return 0, or why it is refused (the motion is then as it was)."""
    m = motion[0]
    msg = message[0]
    goal = scratch[0]
    if msg.operation == _MOVE_JP:
        code = _joint_goal(message, motion, arm, goal)
        if code != _OK:
            return int(code)
        joint_path(path, arm, m.q[:], goal, msg.speed)
    else:
        near, rates = scratch[1], scratch[2]
        copy_vector(m.q, near)
        T_start, T_goal = poses[0], poses[1]
        forward(arm, near, T_start)
        copy_matrix(msg.pose, T_goal)
        linear = m.linear_speed * msg.speed
        if msg.path_speed > 0.0:
            linear = min(linear, msg.path_speed)
        cartesian_path(
            path,
            T_start,
            T_goal,
            near,
            linear,
            m.linear_acceleration,
            m.linear_jerk,
            m.angular_speed * msg.speed,
            m.angular_acceleration,
            m.angular_jerk,
        )
        # The goal was solved when the command was taken: what fails now is the way there.
        if check_cartesian_path(path, arm, inverse, PATH_CHECKS, T_start, goal, near, rates) != 0:
            return _BLOCKED
        limit_by_joint_rates(path, arm, rates, msg.speed)
    plan_rest_to_rest(profile, 1.0, path[0].v_max, path[0].a_max, path[0].j_max)
    for i in range(MAX_AXES):
        m.goal[i] = goal[i]
    m.mode = _PATH
    m.stopping = 0
    m.waiting = 0
    m.time = 0.0
    return _OK


@kernel(
    types.int64(_MOTION, _PATH_T, _PROFILE, _ARM, _FORWARD, _INVERSE, _MESSAGE, _MESSAGE, types.int64, _F8_2D, _POSES)
)
def start(
    motion: Array,
    path: Array,
    profile: Array,
    arm: Array,
    forward: Part,
    inverse: Part,
    message: Array,
    next_message: Array,
    now_ns: int,
    scratch: Array,
    poses: Array,
) -> int:
    """Take a move or servo command; return 0, or the code of its refusal (the motion is then as it was).

    Args:
        motion: MOTION, (1,).
        path: PATH, (1,).
        profile: PROFILE, (1,).
        arm: ARM, (1,).
        forward: Forward kinematics, signature FORWARD.
        inverse: Inverse kinematics, signature INVERSE.
        message: The command, MESSAGE, (1,).
        next_message: Where a move waits until the arm has come to rest, MESSAGE, (1,).
        now_ns: The cycle's time.
        scratch: SCRATCH.
        poses: Working memory, (2, 4, 4).
    """
    m = motion[0]
    msg = message[0]
    goal, q = scratch[0], scratch[1]
    is_joint = msg.operation == _MOVE_JP or msg.operation == _SERVO_JP
    if is_joint:
        code = _joint_goal(message, motion, arm, goal)
        if code != _OK:
            return int(code)
    else:
        T = poses[0]
        copy_matrix(msg.pose, T)
        if not _pose_is_finite(T):
            return _NOT_FINITE
        for i in range(MAX_AXES):
            q[i] = m.q[i]
        status = inverse(arm, T, q, goal)
        if status != 0:
            return _IK_CODES[status]

    if msg.operation == _MOVE_JP or msg.operation == _MOVE_CP:
        if not (msg.speed > 0.0 and msg.speed <= 1.0 and msg.path_speed >= 0.0 and np.isfinite(msg.path_speed)):
            return _BAD_PARAMETER
        if m.mode == _PATH or m.mode == _SERVO:
            begin_stop(motion, path, profile, arm, scratch)
        if m.mode == _PATH:
            next_message[0] = message[0]
            m.waiting = 1
            return _OK
        return int(_start_move(motion, path, profile, arm, forward, inverse, message, scratch, poses))

    if not (msg.timeout_s >= 0.0 and np.isfinite(msg.timeout_s)):
        return _BAD_PARAMETER
    for i in range(arm[0].n_axes):
        if abs(goal[i] - m.q[i]) > arm[0].velocity_max[i] * STEP_HORIZON:
            return _STEP
    cycles = 1
    if m.mode == _SERVO:
        elapsed = (now_ns - m.stream_ns) / (m.period * 1e9)
        cycles = max(1, int(min(elapsed + 0.5, STEP_HORIZON / m.period)))
        if cycles > 1:
            # A stream slower than the cycle jitters: with a fifth to spare its next command comes before the set-point
            # has arrived and stopped, which would jerk the arm each time.
            cycles += max(1, cycles // 5)
    for i in range(MAX_AXES):
        m.target[i] = goal[i]
        m.goal[i] = goal[i]
    m.mode = _SERVO
    m.stopping = 0
    m.waiting = 0
    m.target_cycles = cycles
    m.stream_ns = now_ns
    m.stream_timeout_ns = m.stream_timeout_max_ns
    if msg.timeout_s > 0.0:
        m.stream_timeout_ns = min(m.stream_timeout_ns, int(msg.timeout_s * 1e9))
    return _OK


@kernel(types.int64(_MOTION, _PATH_T, _PROFILE, _ARM, _FORWARD, _INVERSE, _MESSAGE, _F8_2D, _POSES))
def advance(
    motion: Array,
    path: Array,
    profile: Array,
    arm: Array,
    forward: Part,
    inverse: Part,
    next_message: Array,
    scratch: Array,
    poses: Array,
) -> int:
    """Move the set-point on by one period; return 0, 1: it has just come to rest, or the code of what went wrong.

    A code means that the set-point stands still where it was: the line could not be followed, or the move that was
    waiting for the stop was refused.
    """
    m = motion[0]
    q, near, out, T = scratch[0], scratch[1], scratch[2], poses[0]
    if m.mode == _SERVO:
        left = max(m.target_cycles, 1)
        for i in range(MAX_AXES):
            most = arm[0].velocity_max[i] * m.period
            step = min(max((m.target[i] - m.q[i]) / left, -most), most)
            m.qd[i] = step / m.period
            m.q[i] += step
        m.target_cycles = max(left - 1, 1)
        return 0
    if m.mode != _PATH:
        return 0

    m.time += m.period
    evaluate(profile, m.time, out)
    for i in range(MAX_AXES):
        near[i] = m.q[i]
    path_joints(path, out[0], near)
    if path[0].kind == CARTESIAN_LINE:
        path_pose(path, out[0], T)
        if inverse(arm, T, near, q) != 0:
            hold_here(motion)
            return _PATH_FAILED
    else:
        copy_vector(near, q)
    for i in range(MAX_AXES):
        m.qd[i] = (q[i] - m.q[i]) / m.period
        m.q[i] = q[i]
    if m.time < profile[0].duration:
        return 0
    hold_here(motion)
    if m.waiting:
        m.waiting = 0
        code = _start_move(motion, path, profile, arm, forward, inverse, next_message, scratch, poses)
        return int(code)
    return 1
