"""Whether the joints can follow a path of the tip, and how fast: found before it begins, by walking along it.

The walk solves the inverse kinematics at points along the path, each from the solution before. A path that leaves the
workspace, or on which a joint would have to jump, is refused. The walk measures how the joints bend the path, and from
that follow limits of its parameter u that keep every joint, and the tip, within their own.
"""

import math
from typing import Any

import numba
from numba.core import types

from controller.motion.path import ANGULAR, LINEAR, NO_MOTION, PATH, TIP_LIMITS, path_jaw, path_pose
from kinematics.chain import INVERSE
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import MAX_AXES

__all__ = ["JUMP", "WALK", "limit_path", "walk"]

JUMP = 10
"""What `walk` returns where a joint would have to jump; below it are the statuses of INVERSE."""

STRAIGHT_STEPS = 64  # samples over the straight stretches of the whole path,
SHORT_STEPS = 12  # but at least so many in each of them, and so many in each corner
START_TOLERANCE = 1e-6  # rad, m: INVERSE of the start must give the start, up to its rounding near singularities,
START_SLACK = (
    0.02  # or, where a remote centre is kept, up to this: a stop in joint space, or a trocar set a little beside
)
# the shaft, leaves it so
FADE_RATE, FADE_BEND = 1.875, 5.7735  # the largest |d/dx| and |d2/dx2| of `path_fade` over x = u / u_end
STEP_REVOLUTE = 0.1  # rad; a joint that changes by more between two samples of a path is looked at more closely
STEP_PRISMATIC = 0.02  # m
BEND_PART = 0.25  # two neighbouring changes of a joint that differ by more are sampled anew,
BEND_REVOLUTE = 0.002  # if they differ by so much, rad
BEND_PRISMATIC = 0.0004  # m
FINE_STEPS = 16
SAMPLED = 0.92  # of the joints' limits: what samples can miss between them
JUMP_PART = 0.25  # of that step: a motion's largest change shrinks below it as the samples draw nearer,
HALVINGS = 8  # at the latest when they are 256 times as near; what does not is a jump

_PATH, _ARM, _TIP, _INVERSE = array_of(PATH), array_of(ARM), numba.from_dtype(TIP_LIMITS), types.FunctionType(INVERSE)
_f8, _i8 = types.float64, types.int64
_vector, _row, _matrix = types.float64[::1], types.float64[:], types.float64[:, ::1]


@kernel(types.void(_row, _row))
def _copy(source: Array, target: Array) -> None:
    for i in range(MAX_AXES):
        target[i] = source[i]


@kernel(_f8(_PATH, _ARM, _i8, _i8))
def _step(path: Array, arm: Array, k: int, m: int) -> float:
    """Return the largest change of a joint between two samples, in units of what needs no closer look."""
    largest = 0.0
    for i in range(arm[0].n_joints):
        change = abs(path[0].samples[m, i] - path[0].samples[k, i])
        if not math.isfinite(change):
            return math.inf
        largest = max(largest, change / (STEP_PRISMATIC if arm[0].prismatic[i] != 0 else STEP_REVOLUTE))
    return largest


@kernel(_f8(_PATH, _ARM))
def _imbalance(path: Array, arm: Array) -> float:
    """Return by how much the joint that does so most changes more from sample 3 to 4 than from 4 to 5.

    Even motion has none, so a jump shows beside a larger change of another joint. In units as those of `_step`.
    """
    largest = 0.0
    for i in range(arm[0].n_joints):
        first = abs(path[0].samples[4, i] - path[0].samples[3, i])
        second = abs(path[0].samples[5, i] - path[0].samples[4, i])
        if not math.isfinite(first):
            return math.inf
        if not math.isfinite(second):
            return -math.inf
        excess = (first - second) / (STEP_PRISMATIC if arm[0].prismatic[i] != 0 else STEP_REVOLUTE)
        if abs(excess) > abs(largest):
            largest = excess
    return largest


@kernel(types.void(_PATH, _ARM, _f8, _i8))
def _take_rates(path: Array, arm: Array, h: float, k: int) -> None:
    """Raise rates and bends to what samples k to k + 2, h apart in u, show.

    To the steeper slope, which is a mean, half the difference of the two is added, for where between the samples the
    curve is steepest.
    """
    p = path[0]
    for i in range(arm[0].n_joints):
        slope_1 = (p.samples[k + 1, i] - p.samples[k, i]) / h
        slope_2 = (p.samples[k + 2, i] - p.samples[k + 1, i]) / h
        bend = abs(slope_2 - slope_1)
        p.rates[i] = max(p.rates[i], max(abs(slope_1), abs(slope_2)) + 0.5 * bend)
        p.bends[i] = max(p.bends[i], bend / h)


@kernel(_i8(_PATH, _ARM, _INVERSE, _f8, _matrix, _vector, _vector))
def _solve(path: Array, arm: Array, inverse: Any, u: float, T: Array, q: Array, q_near: Array) -> int:  # noqa: ANN401
    """Write the joints at u, on the branch of q_near, to q; return the status of INVERSE."""
    path_pose(path, u, T)
    if path[0].jaw_axis >= 0:
        q_near[path[0].jaw_axis] = path_jaw(path, u)
    return inverse(arm, T, q_near, q)  # type: ignore[no-any-return]


@kernel(_i8(_PATH, _ARM, _INVERSE, _f8, _f8, _matrix, _vector, _vector))
def _look_closer(
    path: Array,
    arm: Array,
    inverse: Any,  # noqa: ANN401
    u: float,
    h: float,
    T: Array,
    q: Array,
    q_near: Array,
) -> int:
    """Follow the least even change between u and u + h (samples 1 and 2) inwards; return 0, a status or JUMP.

    A motion, however fast, shrinks with the interval; a jump stays. Samples 3 to 5, q and q_near are overwritten.
    """
    left, middle, right = path[0].samples[3], path[0].samples[4], path[0].samples[5]
    _copy(path[0].samples[1], left)
    _copy(path[0].samples[2], right)
    for _ in range(HALVINGS):
        h *= 0.5
        _copy(left, q_near)
        status = _solve(path, arm, inverse, u + h, T, q, q_near)
        if status != 0:
            return status
        _copy(q, middle)
        _take_rates(path, arm, h, 3)
        if _imbalance(path, arm) >= 0.0:
            _copy(middle, right)
        else:
            _copy(middle, left)
            u += h
        if _step(path, arm, 3, 5) <= JUMP_PART:
            return 0
    return JUMP


@kernel(_i8(_PATH, _ARM))
def _is_bent(path: Array, arm: Array) -> int:
    """Return 1 where samples 0 to 2 show a bend too sharp for their distance, as beside a singularity."""
    for i in range(arm[0].n_joints):
        first = path[0].samples[1, i] - path[0].samples[0, i]
        second = path[0].samples[2, i] - path[0].samples[1, i]
        least = BEND_PRISMATIC if arm[0].prismatic[i] != 0 else BEND_REVOLUTE
        if abs(second - first) > max(BEND_PART * max(abs(first), abs(second)), least):
            return 1
    return 0


@kernel(_i8(_PATH, _ARM, _INVERSE, _f8, _f8, _matrix, _vector, _vector))
def _refine(
    path: Array,
    arm: Array,
    inverse: Any,  # noqa: ANN401
    u: float,
    length: float,
    T: Array,
    q: Array,
    q_near: Array,
) -> int:
    """Take rates and bends at closer samples from u on, where sample 0 is; return 0 or a status.

    Samples 3 to 5, q and q_near are overwritten.
    """
    older, old, new = path[0].samples[3], path[0].samples[4], path[0].samples[5]
    _copy(path[0].samples[0], new)
    h = length / FINE_STEPS
    for k in range(1, FINE_STEPS + 1):
        _copy(old, older)
        _copy(new, old)
        _copy(new, q_near)
        status = _solve(path, arm, inverse, u + k * h, T, q, q_near)
        if status != 0:
            return status
        _copy(q, new)
        if k > 1:
            _take_rates(path, arm, h, 3)
    return 0


@kernel(_i8(_PATH, _ARM, _INVERSE, _f8, _f8, _i8, _matrix, _vector, _vector))
def _walk_stretch(
    path: Array,
    arm: Array,
    inverse: Any,  # noqa: ANN401
    u: float,
    u_end: float,
    steps: int,
    T: Array,
    q: Array,
    q_near: Array,
) -> int:
    """Walk from u, whose joints are in sample 2, to u_end, and leave those there; return 0, a status or JUMP."""
    older, old, new = path[0].samples[0], path[0].samples[1], path[0].samples[2]
    h = (u_end - u) / steps
    for k in range(1, steps + 1):
        _copy(old, older)
        _copy(new, old)
        _copy(new, q_near)
        status = _solve(path, arm, inverse, u + k * h, T, q, q_near)
        if status != 0:
            return status
        _copy(q, new)
        if k > 1:
            _take_rates(path, arm, h, 0)
            if _is_bent(path, arm):
                status = _refine(path, arm, inverse, u + (k - 2) * h, 2.0 * h, T, q, q_near)
                if status != 0:
                    return status
        if _step(path, arm, 1, 2) > 1.0:
            status = _look_closer(path, arm, inverse, u + (k - 1) * h, h, T, q, q_near)
            if status != 0:
                return status
    return 0


WALK = _i8(_PATH, _ARM, _INVERSE, _matrix, _vector, _vector)
"""walk(path, arm, inverse, T, q, q_near), as a part."""


@kernel(WALK)
def walk(path: Array, arm: Array, inverse: Any, T: Array, q: Array, q_near: Array) -> int:  # noqa: ANN401
    """Walk a path with the inverse kinematics; return 0, the first status that is not 0, or JUMP.

    With a remote centre, the start may be beside it: `slack` is by how much, and rates and bends are then those with
    its fading.

    JUMP: the pose at the start is not that of q_start; or between two samples a joint changes however near each other
    the samples are taken, as where the solution goes over to another branch. A change of less than 0.1 rad or 20 mm
    between two samples is taken for motion without a closer look.

    Args:
        path: PATH, with all points and its corners rounded; the joints' rates and bends are overwritten.
        arm: ARM.
        inverse: The arm's inverse kinematics, signature INVERSE; the jaw is copied from its q_near.
        T: Scratch, (4, 4).
        q: (8,), after 0 the joint positions at the end of the path, rad or m; otherwise scratch.
        q_near: Scratch, (8,).
    """
    p = path[0]
    for i in range(arm[0].n_joints):
        p.rates[i] = 0.0
        p.bends[i] = 0.0
    _copy(p.q_start, q_near)
    status = _solve(path, arm, inverse, 0.0, T, q, q_near)
    if status != 0:
        return status
    for i in range(arm[0].n_joints):
        slack = p.q_start[i] - q[i]
        if abs(slack) <= START_TOLERANCE:
            continue
        if not (arm[0].through and abs(slack) <= START_SLACK):
            return JUMP
        p.slack[i] = slack
    _copy(q, p.samples[2])
    u = 0.0
    for k in range(1, p.n):
        corner = p.at[k] - p.half[k]
        if corner > u:
            share = math.ceil(STRAIGHT_STEPS * (corner - u) / p.u_end)
            status = _walk_stretch(path, arm, inverse, u, corner, max(SHORT_STEPS, int(share)), T, q, q_near)
            u = corner
        if status == 0 and p.half[k] > 0.0:
            u = p.at[k] + p.half[k]
            status = _walk_stretch(path, arm, inverse, corner, u, SHORT_STEPS, T, q, q_near)
        if status != 0:
            return status
    _copy(p.samples[2], q)
    if p.jaw_axis >= 0:
        q[p.jaw_axis] = path_jaw(path, p.u_end)
    if p.u_end > 0.0:
        for i in range(arm[0].n_joints):
            p.rates[i] += FADE_RATE * abs(p.slack[i]) / p.u_end
            p.bends[i] += FADE_BEND * abs(p.slack[i]) / (p.u_end * p.u_end)
    return 0


@kernel(types.void(_PATH, _i8, _f8, _f8, _f8))
def _limit_speed(path: Array, i: int, velocity: float, acceleration: float, jerk: float) -> None:
    """Lower v_max: what changes by rates[i] and bends[i] keeps its velocity, and half of its acceleration is free."""
    p = path[0]
    if p.rates[i] > NO_MOTION:
        p.v_max = min(p.v_max, velocity / p.rates[i])
    if p.bends[i] > NO_MOTION:
        p.v_max = min(p.v_max, math.sqrt(0.5 * acceleration / p.bends[i]))


@kernel(types.void(_PATH, _i8, _f8, _f8, _f8))
def _limit_change(path: Array, i: int, velocity: float, acceleration: float, jerk: float) -> None:
    """Lower a_max and j_max to what the path's own bending leaves at v_max."""
    p = path[0]
    bending = 0.0
    if p.bends[i] > NO_MOTION:
        bending = p.bends[i] * p.v_max
        p.a_max = min(p.a_max, jerk / (6.0 * bending))
    if p.rates[i] > NO_MOTION:
        p.a_max = min(p.a_max, (acceleration - bending * p.v_max) / p.rates[i])
        p.j_max = min(p.j_max, 0.5 * jerk / p.rates[i])


@kernel(types.void(_PATH, _ARM, _TIP))
def limit_path(path: Array, arm: Array, tip: Any) -> None:  # noqa: ANN401
    """Set the limits of u, after a walk, so that joints, jaw and tip keep theirs.

    With q(u(t)), dq/dt = q' v and d2q/dt2 = q' a + q'' v^2. v is held so low that the path's own bending (q'' v^2)
    takes at most half of any joint's acceleration, and a takes what is left. Of d3q/dt3 = q' j + 3 q'' v a + q''' v^3
    each of the first two may take half; the last is left out. So velocities and accelerations are kept, up to what the
    samples of the walk have missed, and jerks about. All this holds when the three are scaled down alike.

    Args:
        path: PATH, whose v_max, a_max and j_max are overwritten.
        arm: ARM.
        tip: A record, TIP_LIMITS.
    """
    a, t, p = arm[0], tip, path[0]
    p.v_max, p.a_max, p.j_max = math.inf, math.inf, math.inf
    for i in range(a.n_axes):
        _limit_speed(path, i, SAMPLED * a.velocity_max[i], SAMPLED * a.acceleration_max[i], a.jerk_max[i])
    _limit_speed(path, LINEAR, t.linear_speed, t.linear_acceleration, t.linear_jerk)
    _limit_speed(path, ANGULAR, t.angular_speed, t.angular_acceleration, t.angular_jerk)
    for i in range(a.n_axes):
        _limit_change(path, i, SAMPLED * a.velocity_max[i], SAMPLED * a.acceleration_max[i], a.jerk_max[i])
    _limit_change(path, LINEAR, t.linear_speed, t.linear_acceleration, t.linear_jerk)
    _limit_change(path, ANGULAR, t.angular_speed, t.angular_acceleration, t.angular_jerk)
