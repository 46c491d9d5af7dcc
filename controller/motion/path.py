"""Paths of the tip: where it goes, as a function of one parameter u, whatever the time that it takes.

A path runs through points, straight from one to the next while the tip turns about one fixed axis by the shortest way.
At the points between, its corners are rounded. u counts the time, in s, that the tip would take at its own limits of
speed, so |dp/du| and the turning rate never exceed them; where both move, the slower rules.

Beside point k, with the rates v (linear) and w (angular, base frame) of the stretches before and after it,

    p(u) = p_k + A v_before + B v_after         R(u) = exp(B [w_after]) exp(A [w_before]) R_k

Away from the corner (A, B) is (u - u_k, 0) before it and (0, u - u_k) after it. Within `half` of u_k, B grows as the
integral of W = 1/2 + 3/4 x - 1/4 x^3, x = (u - u_k) / half, and A = u - u_k - B: so position, rate and acceleration
are continuous along the path, and at x = 0 it is 3/16 half |v_after - v_before| away from the corner.
"""

import math

import numpy as np
from numba.core import types

from controller.mailbox import MAX_VIA
from kinematics.compiled import Array, array_of, kernel
from kinematics.frames import rotation_from_vector, vector_from_rotation
from telemetry.sample import MAX_AXES

__all__ = [
    "ANGULAR",
    "LINEAR",
    "MAX_POINTS",
    "NO_MOTION",
    "PATH",
    "TIP_LIMITS",
    "add_jaw",
    "add_point",
    "begin_path",
    "path_fade",
    "path_jaw",
    "path_pose",
    "round_corners",
]

MAX_POINTS = MAX_VIA + 2
LINEAR, ANGULAR = MAX_AXES, MAX_AXES + 1
"""Where `rates` and `bends` have those of the tip, after the joints'."""

NO_MOTION = 1e-12  # rad, m, and per second: less than an encoder of any arm resolves, and 1 / it is far from overflow

PATH = np.dtype(
    [
        ("n", "i8"),  # points, the start and the goal included
        ("jaw_axis", "i8"),  # the entry of q that runs along as the jaw, -1: none does
        ("u_end", "f8"),  # s
        # limits of u at full speed: limits.py
        ("v_max", "f8"),  # 1
        ("a_max", "f8"),  # 1/s
        ("j_max", "f8"),  # 1/s^2
        ("v_path", "f8"),  # 1: the caller's limit of the speed along the path; infinite: none
        # how the set-point runs along it
        ("u", "f8"),
        ("rate", "f8"),  # 1
        ("acceleration", "f8"),  # 1/s
        # where it goes
        ("linear_speed", "f8"),  # m/s, of the tip
        ("angular_speed", "f8"),  # rad/s
        ("at", "f8", (MAX_POINTS,)),  # u of the points
        ("half", "f8", (MAX_POINTS,)),  # half of the corner's length in u; 0: it is sharp
        ("points", "f8", (MAX_POINTS, 4, 4)),  # T_base_tip
        ("v", "f8", (MAX_POINTS + 1, 3)),  # v[k]: on the way to point k, m per s of u; zero at both ends
        ("w", "f8", (MAX_POINTS + 1, 3)),  # rad per s of u, in the base frame
        ("q_start", "f8", (MAX_AXES,)),  # rad or m
        # by which q_start differs from the joints that INVERSE has for it: a shaft beside its remote centre; it fades
        ("slack", "f8", (MAX_AXES,)),
        ("jaw_rate", "f8"),  # rad per s of u
        ("rates", "f8", (MAX_AXES + 2,)),  # max |dq/du|, then of the tip, linear and angular
        ("bends", "f8", (MAX_AXES + 2,)),  # max |d2q/du2|, likewise
        ("turn", "f8", (2, 3, 3)),  # scratch
        ("vector", "f8", (3,)),
        ("samples", "f8", (6, MAX_AXES)),  # those that a walk is looking at
    ],
    align=True,
)

TIP_LIMITS = np.dtype(
    [
        ("linear_speed", "f8"),  # m/s, m/s², m/s³
        ("linear_acceleration", "f8"),
        ("linear_jerk", "f8"),
        ("angular_speed", "f8"),  # rad/s, rad/s², rad/s³
        ("angular_acceleration", "f8"),
        ("angular_jerk", "f8"),
    ],
    align=True,
)
"""What the tip may do along a path; may be infinite (no such limit)."""

_PATH, _f8, _i8 = array_of(PATH), types.float64, types.int64
_vector, _matrix, _row = types.float64[::1], types.float64[:, ::1], types.float64[:]
_HALF_BEND = 0.75  # of the largest |dW/du|, 3 / (4 half)


@kernel(types.void(_PATH, _matrix, _vector, _f8, _f8))
def begin_path(path: Array, T: Array, q: Array, linear_speed: float, angular_speed: float) -> None:
    """Begin a path at the pose T, (4, 4), of the joint positions q, (8,); the jaw stays, and nothing limits it yet."""
    p = path[0]
    p.n = 1
    p.jaw_axis = -1
    p.jaw_rate = 0.0
    p.u_end, p.u, p.rate, p.acceleration = 0.0, 0.0, 0.0, 0.0
    p.v_max, p.a_max, p.j_max, p.v_path = math.inf, math.inf, math.inf, math.inf
    p.linear_speed, p.angular_speed = linear_speed, angular_speed
    p.at[0] = 0.0
    p.half[0] = 0.0
    for i in range(4):
        for k in range(4):
            p.points[0, i, k] = T[i, k]
    for i in range(3):
        p.v[0, i], p.w[0, i], p.v[1, i], p.w[1, i] = 0.0, 0.0, 0.0, 0.0
    for i in range(MAX_AXES):
        p.q_start[i] = q[i]
        p.slack[i] = 0.0
    for i in range(MAX_AXES + 2):
        p.rates[i] = 0.0
        p.bends[i] = 0.0


@kernel(_i8(_PATH, _matrix))
def add_point(path: Array, T: Array) -> int:
    """Go on to the pose T, (4, 4), which the caller has checked; return 1, or 0: there is no room for it.

    A pose that is the one before is not added. Half a turn goes either way.
    """
    p = path[0]
    k = p.n
    if k >= MAX_POINTS:
        return 0
    turn = p.turn
    for i in range(3):
        for j in range(3):
            total = 0.0
            for m in range(3):
                total += T[i, m] * p.points[k - 1, j, m]
            turn[0, i, j] = total
    vector_from_rotation(turn[0], p.vector[:])
    x, y, z = T[0, 3] - p.points[k - 1, 0, 3], T[1, 3] - p.points[k - 1, 1, 3], T[2, 3] - p.points[k - 1, 2, 3]
    distance = math.sqrt(x * x + y * y + z * z)
    angle = math.sqrt(p.vector[0] ** 2 + p.vector[1] ** 2 + p.vector[2] ** 2)
    length = max(distance / p.linear_speed, angle / p.angular_speed)
    if distance < NO_MOTION and angle < NO_MOTION:
        return 1
    for i in range(4):
        for j in range(4):
            p.points[k, i, j] = T[i, j]
    p.v[k, 0], p.v[k, 1], p.v[k, 2] = x / length, y / length, z / length
    for i in range(3):
        p.w[k, i] = p.vector[i] / length
        p.v[k + 1, i], p.w[k + 1, i] = 0.0, 0.0
    p.u_end += length
    p.at[k] = p.u_end
    p.half[k] = 0.0
    p.n = k + 1
    return 1


@kernel(_f8(_row, _row))
def _distance(a: Array, b: Array) -> float:
    return math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


@kernel(types.void(_PATH, _f8))
def round_corners(path: Array, blend: float) -> None:
    """Round the corners within `blend` m of their points, and find how fast and how bent the path is for the tip.

    A corner takes at most half of the stretches beside it. One in which only the rotation changes is as wide as that
    allows: it leaves no position.
    """
    p = path[0]
    for k in range(1, p.n):
        zero = p.v[0]
        p.rates[LINEAR] = max(p.rates[LINEAR], _distance(p.v[k], zero))
        p.rates[ANGULAR] = max(p.rates[ANGULAR], _distance(p.w[k], zero))
    for k in range(1, p.n - 1):
        half = 0.5 * min(p.at[k] - p.at[k - 1], p.at[k + 1] - p.at[k])
        change = _distance(p.v[k + 1], p.v[k])
        if 3.0 * half * change > 16.0 * blend:
            half = 16.0 * blend / (3.0 * change)
        p.half[k] = half
        p.bends[LINEAR] = max(p.bends[LINEAR], _HALF_BEND * change / half)
        # d omega / du = B'' (w_after - R w_before) + A' B' w_after x R w_before, with R = exp(B w_after).
        change = _distance(p.w[k + 1], p.w[k])
        cross = _distance(p.w[k], p.w[0]) * _distance(p.w[k + 1], p.w[0])
        p.bends[ANGULAR] = max(p.bends[ANGULAR], _HALF_BEND * change / half + 0.5 * cross)


@kernel(types.void(_PATH, _i8, _f8, _f8))
def add_jaw(path: Array, axis: int, goal: float, speed: float) -> None:
    """Let the jaw run along, in proportion to u, after all points are added.

    Args:
        path: PATH.
        axis: The jaw's entry of q.
        goal: rad.
        speed: rad/s, for a path that does not move the tip: it lasts as long as the jaw needs.
    """
    p = path[0]
    delta = goal - p.q_start[axis]
    if p.u_end <= 0.0:
        p.u_end = abs(delta) / speed
    p.jaw_axis = axis
    if p.u_end > 0.0:
        p.jaw_rate = delta / p.u_end
    p.rates[axis] = abs(p.jaw_rate)


@kernel(_f8(_PATH, _f8))
def path_jaw(path: Array, u: float) -> float:
    """Return where the jaw is at u, rad, on a path on which it runs along."""
    p = path[0]
    return p.q_start[p.jaw_axis] + u * p.jaw_rate  # type: ignore[no-any-return]


@kernel(_f8(_PATH, _f8))
def path_fade(path: Array, u: float) -> float:
    """Return what is left of `slack` at u: 1 at the start, 0 at the end, without velocity and acceleration there."""
    u_end = path[0].u_end
    if u_end <= 0.0:
        return 1.0
    x = min(max(u / u_end, 0.0), 1.0)
    return 1.0 - x * x * x * (10.0 - x * (15.0 - 6.0 * x))  # type: ignore[no-any-return]


@kernel(types.void(_PATH, _f8, _matrix))
def path_pose(path: Array, u: float, T: Array) -> None:
    """Write T_base_tip at u, (4, 4). u is not clamped: beyond the ends the path stays where they are."""
    p = path[0]
    k = 0
    while k + 1 < p.n and u >= 0.5 * (p.at[k] + p.at[k + 1]):
        k += 1
    distance, half = u - p.at[k], p.half[k]
    before, after = min(distance, 0.0), max(distance, 0.0)
    if abs(distance) < half:
        x = distance / half
        after = half * (0.1875 + x * (0.5 + x * (0.375 - 0.0625 * x * x)))
        before = distance - after
    turn, vector = p.turn, p.vector
    for i in range(3):
        vector[i] = before * p.w[k, i]
        T[i, 3] = p.points[k, i, 3] + before * p.v[k, i] + after * p.v[k + 1, i]
        T[3, i] = 0.0
    T[3, 3] = 1.0
    rotation_from_vector(vector[:], turn[0])
    for i in range(3):
        for j in range(3):
            T[i, j] = 0.0
            for m in range(3):
                T[i, j] += turn[0, i, m] * p.points[k, m, j]
    if after == 0.0:
        return
    for i in range(3):
        vector[i] = after * p.w[k + 1, i]
    rotation_from_vector(vector[:], turn[0])
    for j in range(3):
        a, b, c = T[0, j], T[1, j], T[2, j]
        for i in range(3):
            T[i, j] = turn[0, i, 0] * a + turn[0, i, 1] * b + turn[0, i, 2] * c
