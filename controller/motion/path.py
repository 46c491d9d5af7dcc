"""Paths: where the set-point goes, as a function of one parameter s, whatever the time that it takes.

A joint line runs from s = 0 (start) to s = 1 (goal) straight in joint space; a Cartesian line runs straight with the
tip while the tip turns about one fixed axis, and the jaw runs along in proportion. Each path carries the limits of s
itself, so that a profile (profile.py) under v_max, a_max, j_max keeps every joint within its own:

    plan_rest_to_rest(profile, 1.0, path[0].v_max, path[0].a_max, path[0].j_max)
    each cycle: evaluate(profile, t, out); path_joints(path, out[0], q), or path_pose(path, out[0], T) and INVERSE

A path along which nothing moves has infinite limits, which a profile takes as "at the end at once".

`speed` is a part of the limits, in ]0, 1]. It scales velocity, acceleration and jerk alike: a slow motion is gentle
too, but its ramps stay short beside its cruise (slowing time itself would scale them by speed, speed^2 and speed^3,
and spend most of a slow motion on starting and stopping).
"""

import math
from typing import Any

import numpy as np
from numba.core import types

from kinematics.chain import INVERSE
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from kinematics.frames import rotation_from_vector, vector_from_rotation
from telemetry.sample import MAX_AXES

__all__ = [
    "BAD_ARGUMENT",
    "CARTESIAN_LINE",
    "JOINT_LINE",
    "JUMP",
    "NO_PATH",
    "PATH",
    "add_jaw",
    "cartesian_path",
    "check_cartesian_path",
    "hold_path",
    "joint_path",
    "joint_stop_path",
    "limit_by_joint_rates",
    "path_joints",
    "path_pose",
]

NO_PATH = 0
JOINT_LINE = 1
CARTESIAN_LINE = 2

BAD_ARGUMENT = 1
"""What the kernels here return for an argument that is not finite or not in its range."""

JUMP = 10
"""What `check_cartesian_path` returns where a joint would have to jump; below it are the statuses of INVERSE."""

NO_MOTION = 1e-12  # rad, m, and per second: less than an encoder of any arm resolves, and 1 / it is far from overflow
START_TOLERANCE = 1e-6  # rad, m: INVERSE of the start must give the start, up to its rounding near singularities
STEP_REVOLUTE = 0.1  # rad; a joint that changes by more between two samples of a path is looked at more closely
STEP_PRISMATIC = 0.02  # m
JUMP_PART = 0.25  # of that step: a motion's largest change shrinks below it as the samples draw nearer,
HALVINGS = 8  # at the latest when they are 256 times as near; what does not is a jump


PATH = np.dtype(
    [
        ("kind", "i8"),  # NO_PATH, JOINT_LINE or CARTESIAN_LINE
        ("jaw_axis", "i8"),  # Cartesian: the entry of q that runs along as the jaw, -1: none does
        ("v_max", "f8"),  # 1/s, of s
        ("a_max", "f8"),  # 1/s^2
        ("j_max", "f8"),  # 1/s^3
        ("q_start", "f8", (MAX_AXES,)),  # rad or m
        ("q_delta", "f8", (MAX_AXES,)),  # to the goal; Cartesian: of the jaw alone
        ("T_start", "f8", (4, 4)),  # Cartesian, T_base_tip
        ("translation", "f8", (3,)),  # m, to the goal, in the base frame
        ("rotation", "f8", (3,)),  # rad, rotation vector to the goal, in the base frame
        ("curvature", "f8", (MAX_AXES,)),  # max |d2q/ds2|, found by check_cartesian_path
        ("turn", "f8", (3, 3)),  # scratch: the rotation at s, from the start
        ("turn_vector", "f8", (3,)),
        ("scratch", "f8", (6, MAX_AXES)),  # the samples that it is looking at
    ],
    align=True,
)

_path = array_of(PATH)
_arm = array_of(ARM)
_inverse = types.FunctionType(INVERSE)
_f8 = types.float64
_vector = types.float64[::1]
_matrix = types.float64[:, ::1]


@kernel(types.void(_path))
def _clear(path: Array) -> None:
    """Empty the path: no kind, nothing moves, nothing limits."""
    path[0].kind = NO_PATH
    path[0].jaw_axis = -1
    path[0].v_max = math.inf
    path[0].a_max = math.inf
    path[0].j_max = math.inf
    for i in range(MAX_AXES):
        path[0].q_start[i] = 0.0
        path[0].q_delta[i] = 0.0
        path[0].curvature[i] = 0.0
    for i in range(4):
        for k in range(4):
            path[0].T_start[i, k] = 1.0 if i == k else 0.0
    for i in range(3):
        path[0].translation[i] = 0.0
        path[0].rotation[i] = 0.0


@kernel(types.void(_path, _f8, _f8, _f8, _f8))
def _limit(path: Array, length: float, velocity: float, acceleration: float, jerk: float) -> None:
    """Lower the path's limits so that something that changes by `length` over the path keeps its own."""
    if length > NO_MOTION:
        path[0].v_max = min(path[0].v_max, velocity / length)
        path[0].a_max = min(path[0].a_max, acceleration / length)
        path[0].j_max = min(path[0].j_max, jerk / length)


@kernel(types.void(_path, _vector))
def hold_path(path: Array, q: Array) -> None:
    """Make the path that stays where it is.

    Args:
        path: PATH, overwritten.
        q: Joint positions, (8,).
    """
    _clear(path)
    path[0].kind = JOINT_LINE
    for i in range(MAX_AXES):
        path[0].q_start[i] = q[i]


@kernel(types.int64(_path, _arm, _vector, _vector, _f8))
def joint_path(path: Array, arm: Array, q_start: Array, q_goal: Array, speed: float) -> int:
    """Make the straight line in joint space; return 0, or BAD_ARGUMENT and no path.

    The joint that needs longest moves at its limit, the others in proportion, so all start and stop together.

    Args:
        path: PATH, overwritten.
        arm: ARM, whose velocity_max, acceleration_max and jerk_max are kept.
        q_start: (8,), rad or m; entries past the arm's axes are held.
        q_goal: (8,), likewise.
        speed: Part of the limits, in ]0, 1].
    """
    _clear(path)
    if not 0.0 < speed <= 1.0:
        return BAD_ARGUMENT
    n = arm[0].n_axes
    for i in range(n):
        if not (math.isfinite(q_start[i]) and math.isfinite(q_goal[i])):
            return BAD_ARGUMENT
    path[0].kind = JOINT_LINE
    for i in range(MAX_AXES):
        path[0].q_start[i] = q_start[i]
    for i in range(n):
        delta = q_goal[i] - q_start[i]
        path[0].q_delta[i] = delta
        _limit(
            path,
            abs(delta),
            speed * arm[0].velocity_max[i],
            speed * arm[0].acceleration_max[i],
            speed * arm[0].jerk_max[i],
        )
    return 0


@kernel(types.int64(_path, _arm, _vector, _vector))
def joint_stop_path(path: Array, arm: Array, q: Array, qd: Array) -> int:
    """Make the line on which joints that move with qd come to rest; return 0, or BAD_ARGUMENT and no path.

    q(s) = q + s qd, so s has the unit of a time and runs at ds/dt = 1 now. Every joint keeps its direction, and the
    arm the straight line that it was on. Stop with

        plan_stop(profile, 0.0, 1.0, 0.0, path[0].a_max, path[0].j_max)

    where s ends wherever the limits allow it. v_max is 1: the motion that was there is not to be exceeded.

    Args:
        path: PATH, overwritten.
        arm: ARM, whose acceleration_max and jerk_max are kept, in full.
        q: Joint positions now, (8,), rad or m.
        qd: Joint velocities now, (8,), rad/s or m/s; entries past the arm's axes are not looked at.
    """
    _clear(path)
    n = arm[0].n_axes
    for i in range(n):
        if not (math.isfinite(q[i]) and math.isfinite(qd[i])):
            return BAD_ARGUMENT
    path[0].kind = JOINT_LINE
    for i in range(MAX_AXES):
        path[0].q_start[i] = q[i]
    for i in range(n):
        path[0].q_delta[i] = qd[i]
        _limit(path, abs(qd[i]), abs(qd[i]), arm[0].acceleration_max[i], arm[0].jerk_max[i])
    return 0


@kernel(types.int64(_path, _matrix, _matrix, _vector, _f8, _f8, _f8, _f8, _f8, _f8))
def cartesian_path(
    path: Array,
    T_start: Array,
    T_goal: Array,
    q_start: Array,
    linear_speed: float,
    linear_acceleration: float,
    linear_jerk: float,
    angular_speed: float,
    angular_acceleration: float,
    angular_jerk: float,
) -> int:
    """Make the tip's straight line with one turn about a fixed axis; return 0, or BAD_ARGUMENT and no path.

    p(s) = p_start + s (p_goal - p_start), R(s) = exp(s [r]) R_start with r the rotation vector of R_goal R_start^T:
    the shortest turn, of at most pi. The limits are those of the tip; the joints have their say only by
    `check_cartesian_path` and `limit_by_joint_rates`. The jaw stays, unless `add_jaw` is called next.

    Args:
        path: PATH, overwritten.
        T_start: T_base_tip at s = 0, (4, 4). That it is a pose is for the caller to check, as for T_goal.
        T_goal: T_base_tip at s = 1, (4, 4).
        q_start: Joint positions at s = 0, (8,), rad or m.
        linear_speed: m/s, above 0; of the tip along its line. May be infinite (no such limit), as the five after it.
        linear_acceleration: m/s^2.
        linear_jerk: m/s^3.
        angular_speed: rad/s; of the tip about its axis.
        angular_acceleration: rad/s^2.
        angular_jerk: rad/s^3.
    """
    _clear(path)
    if not (linear_speed > 0.0 and linear_acceleration > 0.0 and linear_jerk > 0.0):
        return BAD_ARGUMENT
    if not (angular_speed > 0.0 and angular_acceleration > 0.0 and angular_jerk > 0.0):
        return BAD_ARGUMENT
    for i in range(3):
        for k in range(4):
            if not (math.isfinite(T_start[i, k]) and math.isfinite(T_goal[i, k])):
                return BAD_ARGUMENT

    path[0].kind = CARTESIAN_LINE
    for i in range(MAX_AXES):
        path[0].q_start[i] = q_start[i]
    for i in range(3):
        for k in range(4):
            path[0].T_start[i, k] = T_start[i, k]
        path[0].translation[i] = T_goal[i, 3] - T_start[i, 3]
    turn = path[0].turn
    for i in range(3):
        for k in range(3):
            turn[i, k] = 0.0
            for m in range(3):
                turn[i, k] += T_goal[i, m] * T_start[k, m]
    vector_from_rotation(turn[:], path[0].rotation[:])
    x, y, z = path[0].translation[0], path[0].translation[1], path[0].translation[2]
    _limit(path, math.sqrt(x * x + y * y + z * z), linear_speed, linear_acceleration, linear_jerk)
    x, y, z = path[0].rotation[0], path[0].rotation[1], path[0].rotation[2]
    _limit(path, math.sqrt(x * x + y * y + z * z), angular_speed, angular_acceleration, angular_jerk)
    return 0


@kernel(types.int64(_path, _arm, _f8, _f8))
def add_jaw(path: Array, arm: Array, jaw_goal: float, speed: float) -> int:
    """Let the jaw run along a Cartesian line, in proportion, within its limits; return 0, or BAD_ARGUMENT.

    Args:
        path: PATH of kind CARTESIAN_LINE; unchanged after a bad argument.
        arm: ARM; its axis n_joints, which must be there, is the jaw.
        jaw_goal: rad.
        speed: Part of the jaw's limits, in ]0, 1].
    """
    jaw = arm[0].n_joints
    if path[0].kind != CARTESIAN_LINE or jaw >= arm[0].n_axes or not math.isfinite(jaw_goal) or not 0.0 < speed <= 1.0:
        return BAD_ARGUMENT
    delta = jaw_goal - path[0].q_start[jaw]
    path[0].jaw_axis = jaw
    path[0].q_delta[jaw] = delta
    v_max, a_max, j_max = arm[0].velocity_max[jaw], arm[0].acceleration_max[jaw], arm[0].jerk_max[jaw]
    _limit(path, abs(delta), speed * v_max, speed * a_max, speed * j_max)
    return 0


@kernel(types.void(_path, _f8, _vector))
def path_joints(path: Array, s: float, q: Array) -> None:
    """Write the joints that run straight in s: all of a joint line, the jaw alone of a Cartesian line.

    The other entries of q stay; so, before INVERSE, q may be its q_near.

    Args:
        path: PATH.
        s: Parameter; not clamped, since a stop may run past 1.
        q: Joint positions, (8,), rad or m.
    """
    if path[0].kind == JOINT_LINE:
        for i in range(MAX_AXES):
            q[i] = path[0].q_start[i] + s * path[0].q_delta[i]
    elif path[0].jaw_axis >= 0:
        i = path[0].jaw_axis
        q[i] = path[0].q_start[i] + s * path[0].q_delta[i]


@kernel(types.void(_path, _f8, _matrix))
def path_pose(path: Array, s: float, T: Array) -> None:
    """Write the pose of a Cartesian line at s; T stays as it is for any other path.

    Args:
        path: PATH, of which scratch is overwritten.
        s: Parameter; not clamped.
        T: T_base_tip, (4, 4).
    """
    if path[0].kind != CARTESIAN_LINE:
        return
    turn, vector, T_start = path[0].turn, path[0].turn_vector, path[0].T_start
    for i in range(3):
        vector[i] = s * path[0].rotation[i]
    rotation_from_vector(vector[:], turn[:])
    for i in range(3):
        for k in range(3):
            T[i, k] = turn[i, 0] * T_start[0, k] + turn[i, 1] * T_start[1, k] + turn[i, 2] * T_start[2, k]
        T[i, 3] = T_start[i, 3] + s * path[0].translation[i]
        T[3, i] = 0.0
    T[3, 3] = 1.0


@kernel(types.void(_vector, _vector))
def _copy(source: Array, target: Array) -> None:
    """Copy joint positions, (8,); a slice assignment might allocate, should the two overlap."""
    for i in range(MAX_AXES):
        target[i] = source[i]


@kernel(_f8(_path, _arm, types.int64, types.int64))
def _step(path: Array, arm: Array, k: int, m: int) -> float:
    """Return the largest change of a joint between rows k and m of scratch, in units of what needs no closer look."""
    largest = 0.0
    for i in range(arm[0].n_joints):
        change = abs(path[0].scratch[m, i] - path[0].scratch[k, i])
        if not math.isfinite(change):
            return math.inf
        largest = max(largest, change / (STEP_PRISMATIC if arm[0].prismatic[i] != 0 else STEP_REVOLUTE))
    return largest


@kernel(_f8(_path, _arm))
def _imbalance(path: Array, arm: Array) -> float:
    """Return by how much the joint that does so most changes more from row 3 to 4 of scratch than from 4 to 5.

    Even motion has none, so a jump shows beside a larger change of another joint. In units as those of `_step`.
    """
    largest = 0.0
    for i in range(arm[0].n_joints):
        first = abs(path[0].scratch[4, i] - path[0].scratch[3, i])
        second = abs(path[0].scratch[5, i] - path[0].scratch[4, i])
        if not math.isfinite(first):
            return math.inf
        if not math.isfinite(second):
            return -math.inf
        excess = (first - second) / (STEP_PRISMATIC if arm[0].prismatic[i] != 0 else STEP_REVOLUTE)
        if abs(excess) > abs(largest):
            largest = excess
    return largest


@kernel(types.void(_path, _arm, _f8, types.int64, _vector))
def _take_rates(path: Array, arm: Array, h: float, k: int, rates: Array) -> None:
    """Raise rates and curvature to what rows k to k + 2 of scratch, samples h apart in s, show.

    To the steeper slope, which is a mean, half the difference of the two is added, for where between the samples the
    curve is steepest.
    """
    for i in range(arm[0].n_joints):
        slope_1 = (path[0].scratch[k + 1, i] - path[0].scratch[k, i]) / h
        slope_2 = (path[0].scratch[k + 2, i] - path[0].scratch[k + 1, i]) / h
        bend = abs(slope_2 - slope_1)
        rates[i] = max(rates[i], max(abs(slope_1), abs(slope_2)) + 0.5 * bend)
        path[0].curvature[i] = max(path[0].curvature[i], bend / h)


@kernel(types.int64(_path, _arm, _inverse, _f8, _matrix, _vector, _vector))
def _solve(path: Array, arm: Array, inverse: Any, s: float, T: Array, q: Array, q_near: Array) -> int:  # noqa: ANN401
    """Write the joints at s, on the branch of q_near, to q; return the status of INVERSE."""
    path_joints(path, s, q_near)
    path_pose(path, s, T)
    return inverse(arm, T, q_near, q)  # type: ignore[no-any-return]


@kernel(types.int64(_path, _arm, _inverse, _f8, _f8, _matrix, _vector, _vector, _vector))
def _look_closer(
    path: Array,
    arm: Array,
    inverse: Any,  # noqa: ANN401
    s: float,
    h: float,
    T: Array,
    q: Array,
    q_near: Array,
    rates: Array,
) -> int:
    """Follow the least even change between s and s + h (scratch rows 1 and 2) inwards; return 0, a status or JUMP.

    A motion, however fast, shrinks with the interval; a jump stays. Rows 3 to 5 of scratch, q and q_near are
    overwritten.
    """
    left, middle, right = path[0].scratch[3], path[0].scratch[4], path[0].scratch[5]
    _copy(path[0].scratch[1], left)
    _copy(path[0].scratch[2], right)
    for _ in range(HALVINGS):
        h *= 0.5
        _copy(left, q_near)
        status = _solve(path, arm, inverse, s + h, T, q, q_near)
        if status != 0:
            return status
        _copy(q, middle)
        _take_rates(path, arm, h, 3, rates)
        if _imbalance(path, arm) >= 0.0:
            _copy(middle, right)
        else:
            _copy(middle, left)
            s += h
        if _step(path, arm, 3, 5) <= JUMP_PART:
            return 0
    return JUMP


@kernel(types.int64(_path, _arm, _inverse, types.int64, _matrix, _vector, _vector, _vector))
def check_cartesian_path(
    path: Array,
    arm: Array,
    inverse: Any,  # noqa: ANN401
    count: int,
    T: Array,
    q: Array,
    q_near: Array,
    rates: Array,
) -> int:
    """Walk a Cartesian line with the inverse kinematics; return 0, the first status that is not 0, or JUMP.

    JUMP: the pose at the start is not that of q_start; or between two samples a joint changes however near each other
    the samples are taken, as where the solution goes over to another branch. A change of less than 0.1 rad or 20 mm
    between two of the `count` samples is taken for motion without a closer look.

    Args:
        path: PATH of kind CARTESIAN_LINE, any other is BAD_ARGUMENT; its curvature is overwritten.
        arm: ARM.
        inverse: The arm's inverse kinematics, signature INVERSE; the jaw is copied from its q_near.
        count: Intervals, at least 2; 64 is right for lines of the arm's size.
        T: Scratch, (4, 4).
        q: (8,), after 0 the joint positions at the end of the line, rad or m; otherwise scratch.
        q_near: Scratch, (8,).
        rates: (8,), overwritten by max |dq/ds| of each joint as the samples show it, for `limit_by_joint_rates`.
    """
    for i in range(MAX_AXES):
        rates[i] = 0.0
        path[0].curvature[i] = 0.0
    if path[0].kind != CARTESIAN_LINE or count < 2:
        return BAD_ARGUMENT
    older, old, new = path[0].scratch[0], path[0].scratch[1], path[0].scratch[2]
    _copy(path[0].q_start[:], q_near)
    status = _solve(path, arm, inverse, 0.0, T, q, q_near)
    if status != 0:
        return status
    for i in range(arm[0].n_joints):
        if not abs(q[i] - path[0].q_start[i]) <= START_TOLERANCE:
            return JUMP
    _copy(q, new)
    h = 1.0 / count
    for k in range(1, count + 1):
        _copy(old, older)
        _copy(new, old)
        _copy(new, q_near)
        status = _solve(path, arm, inverse, k * h, T, q, q_near)
        if status != 0:
            return status
        _copy(q, new)
        if k > 1:
            _take_rates(path, arm, h, 0, rates)
        if _step(path, arm, 1, 2) > 1.0:
            status = _look_closer(path, arm, inverse, (k - 1) * h, h, T, q, q_near, rates)
            if status != 0:
                return status
    _copy(new, q)
    return 0


@kernel(types.void(_path, _arm, _vector, _f8))
def limit_by_joint_rates(path: Array, arm: Array, rates: Array, speed: float) -> None:
    """Lower the limits of a checked Cartesian line so that the joints keep theirs.

    With q(s(t)), dq/dt = q' v and d2q/dt2 = q' a + q'' v^2. v is held so low that the path's own bending (q'' v^2)
    takes at most half of any joint's acceleration, and a takes what is left. Of d3q/dt3 = q' j + 3 q'' v a + q''' v^3
    each of the first two may take half; the last is left out. So velocities are kept as well as the samples of
    `check_cartesian_path` show them, accelerations likewise, and jerks about.

    Args:
        path: PATH of kind CARTESIAN_LINE, after `check_cartesian_path` returned 0; its limits are only ever lowered.
        arm: ARM.
        rates: (8,), as `check_cartesian_path` wrote them.
        speed: Part of the joints' limits, in ]0, 1].
    """
    v_max = path[0].v_max
    a_max = path[0].a_max
    j_max = path[0].j_max
    for i in range(arm[0].n_joints):
        if rates[i] > NO_MOTION:
            v_max = min(v_max, speed * arm[0].velocity_max[i] / rates[i])
        if path[0].curvature[i] > NO_MOTION:
            v_max = min(v_max, math.sqrt(0.5 * speed * arm[0].acceleration_max[i] / path[0].curvature[i]))
    for i in range(arm[0].n_joints):
        bending = 0.0
        if path[0].curvature[i] > NO_MOTION:
            bending = path[0].curvature[i] * v_max
            a_max = min(a_max, speed * arm[0].jerk_max[i] / (6.0 * bending))
        if rates[i] > NO_MOTION:
            a_max = min(a_max, (speed * arm[0].acceleration_max[i] - bending * v_max) / rates[i])
            j_max = min(j_max, 0.5 * speed * arm[0].jerk_max[i] / rates[i])
    path[0].v_max = v_max
    path[0].a_max = a_max
    path[0].j_max = j_max
