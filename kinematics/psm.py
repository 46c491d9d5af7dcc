"""The da Vinci PSM with a two-axis wrist: its inverse kinematics in closed form.

Family "psm", modified Denavit-Hartenberg: yaw and pitch cross at the remote centre of motion (RCM), which is the
base's origin; the insertion runs along a line through it; roll about that line; wrist pitch; wrist yaw at a distance
`a` beyond it. With theta_i = q_i + offset_i, s_i and c_i its sine and cosine, and L = d_3 + d_4 the wrist centre's
depth below the RCM (q_3 - 15.6 mm for a Classic), the frames are

    y3 = (-s1, 0, c1)             z3 = (c1 s2, -c2, s1 s2)        x3 = (c1 c2, s2, s1 c2)
    x4 = c4 x3 + s4 y3            z5 = y4 = c4 y3 - s4 x3         p5 = L z3
    x5 = c5 x4 - s5 z3            z6 = y5 = -s5 x4 - c5 z3        p6 = p5 + a x5
    x6 = c6 x5 - s6 z5            y6 = -s6 x5 - c6 z5             T_base_tip = T_base_6 T_6_tip

Inverse: z3 and hence p5 lie in the plane of x5 and z6, so x5 is the direction of p6 less its part along z6. A sign is
free there, one for z3 = p5 / L, and one for s2: eight branches, of which one is within the limits nearly everywhere.

The kernels read their arrays first, compute on scalars, and write last: an array that lives on over a branch or a call
would have its reference count changed atomically, at several nanoseconds each time.
"""

import math
from typing import Any

import numpy as np
from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.chain import ARMS, INVERSE, IkStatus
from kinematics.compiled import kernel
from kinematics.frames import is_pose, is_rotation
from kinematics.trigonometry import atan2

__all__ = ["BRANCHES", "LIMIT_TOLERANCE", "POSE_TOLERANCE", "branches", "inverse"]

Array = np.ndarray[Any, Any]
Pose12 = tuple[float, float, float, float, float, float, float, float, float, float, float, float]
f8 = types.float64

BRANCHES = types.int64(ARMS, f8[:, ::1], f8[:, ::1])
"""(arm, T, Q): write all branches, limits or not. Returns how many."""

POSE_TOLERANCE = 1e-6  # a rotation further from orthonormal is refused: its answer would be as far off
LIMIT_TOLERANCE = 1e-9  # rad, m: an answer so little outside a limit is put on the limit; far below an encoder's count
NEAR_AXIS = 1e-5  # m: tip or wrist centre so near a singular place that the last digits would be lost
NEAR_PITCH = 1e-5  # sine: yaw and roll axes so nearly parallel
TURN = 2.0 * math.pi
PER_TURN = 1.0 / TURN


@kernel(UniTuple(f8, 12)(ARMS, f8[:, ::1]))
def _frame_6(arm: Array, T: Array) -> Pose12:
    """Return x6, y6, z6 and p6 of the tip's pose: the tip's transform taken off."""
    t = arm[0].tip
    xx = T[0, 0] * t[0, 0] + T[0, 1] * t[0, 1] + T[0, 2] * t[0, 2]
    xy = T[1, 0] * t[0, 0] + T[1, 1] * t[0, 1] + T[1, 2] * t[0, 2]
    xz = T[2, 0] * t[0, 0] + T[2, 1] * t[0, 1] + T[2, 2] * t[0, 2]
    yx = T[0, 0] * t[1, 0] + T[0, 1] * t[1, 1] + T[0, 2] * t[1, 2]
    yy = T[1, 0] * t[1, 0] + T[1, 1] * t[1, 1] + T[1, 2] * t[1, 2]
    yz = T[2, 0] * t[1, 0] + T[2, 1] * t[1, 1] + T[2, 2] * t[1, 2]
    zx = T[0, 0] * t[2, 0] + T[0, 1] * t[2, 1] + T[0, 2] * t[2, 2]
    zy = T[1, 0] * t[2, 0] + T[1, 1] * t[2, 1] + T[1, 2] * t[2, 2]
    zz = T[2, 0] * t[2, 0] + T[2, 1] * t[2, 1] + T[2, 2] * t[2, 2]
    px = T[0, 3] - (xx * t[0, 3] + yx * t[1, 3] + zx * t[2, 3])
    py = T[1, 3] - (xy * t[0, 3] + yy * t[1, 3] + zy * t[2, 3])
    pz = T[2, 3] - (xz * t[0, 3] + yz * t[1, 3] + zz * t[2, 3])
    return xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz


@kernel(UniTuple(f8, 7)(f8, f8, f8, f8, f8, f8, f8, f8, f8, f8))
def _roll(
    ux: float,
    uy: float,
    uz: float,
    s2: float,
    vx: float,
    vy: float,
    vz: float,
    zx: float,
    zy: float,
    zz: float,
) -> tuple[float, float, float, float, float, float, float]:
    """Return s1, c1, s4, c4 and z5, given z3, s2, x5 and z6 of a branch."""
    per_s2 = 1.0 / s2
    s1, c1 = uz * per_s2, ux * per_s2
    wx, wy, wz = vy * zz - vz * zy, vz * zx - vx * zz, vx * zy - vy * zx
    return s1, c1, (wx * c1 + wz * s1) * uy - wy * s2, wz * c1 - wx * s1, wx, wy, wz


@kernel(f8(f8, f8, f8, f8))
def _copy_within(angle: float, near: float, low: float, high: float) -> float:
    """Return the copy angle + 2 pi k in [low, high] that is nearest to `near`, or nan when none is."""
    k = np.floor((near - angle) * PER_TURN + 0.5)
    k = max(k, np.ceil((low - LIMIT_TOLERANCE - angle) * PER_TURN))
    k = min(k, np.floor((high + LIMIT_TOLERANCE - angle) * PER_TURN))
    copy: float = angle + k * TURN
    if not copy >= low - LIMIT_TOLERANCE:
        return math.nan
    return min(max(copy, low), high)


@kernel(INVERSE)
def inverse(arm: Array, T: Array, q_near: Array, q: Array) -> int:
    """Write the joint positions that bring the tip to T, and return an IkStatus.

    Of the branches within the limits, full turns of each joint included, it is the one nearest to q_near by the sum of
    squares of the five angles' distances (no two branches differ in the insertion alone). It may still be far away
    where a branch ends, so a caller that follows a path checks the step.

    Args:
        arm: The record, (1,), dtype ARM.
        T: T_base_tip, (4, 4).
        q_near: Positions, (8,), rad and m.
        q: Out: (8,). Entries past the six joints (the jaw) are those of q_near, and on failure all are. May be q_near.

    Returns:
        0 when solved; else why not. Forward(q) is then T to 1e-12 for an orthonormal T (to 1e-9 where an answer was
        put on a limit).
    """
    n1, n2, n3, n4 = q_near[0], q_near[1], q_near[2], q_near[3]
    n5, n6, n7, n8 = q_near[4], q_near[5], q_near[6], q_near[7]
    q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7] = n1, n2, n3, n4, n5, n6, n7, n8
    xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz = _frame_6(arm, T)
    bottom = abs(T[3, 0]) + abs(T[3, 1]) + abs(T[3, 2]) + abs(T[3, 3] - 1.0)
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    a, depth_0 = arm[0].a[5], offset[2] + arm[0].d[2] + arm[0].d[3]
    l1, l2, l3, l4, l5, l6 = low[0], low[1], low[2], low[3], low[4], low[5]
    h1, h2, h3, h4, h5, h6 = high[0], high[1], high[2], high[3], high[4], high[5]
    o1, o2, o4, o5, o6 = offset[0], offset[1], offset[3], offset[4], offset[5]

    # Zero times a number that is not finite is nan.
    finite = 0.0 * (n1 + n2 + n3 + n4 + n5 + n6 + n7 + n8) + 0.0 * (px + py + pz)
    is_rigid = is_rotation(xx, xy, xz, yx, yy, yz, zx, zy, zz, POSE_TOLERANCE)
    if finite != 0.0 or not bottom <= POSE_TOLERANCE or not is_rigid:
        return IkStatus.NOT_A_POSE
    reach = max(abs(l3 + depth_0), abs(h3 + depth_0)) + abs(a) + LIMIT_TOLERANCE
    if px * px + py * py + pz * pz > reach * reach:
        return IkStatus.OUT_OF_REACH
    along = px * zx + py * zy + pz * zz
    vx, vy, vz = px - along * zx, py - along * zy, pz - along * zz
    norm = math.sqrt(vx * vx + vy * vy + vz * vz)
    if norm < NEAR_AXIS:
        return IkStatus.SINGULAR
    per_norm = 1.0 / norm
    vx, vy, vz = vx * per_norm, vy * per_norm, vz * per_norm  # x5

    nearest, reachable, shallow, singular = math.inf, False, False, False
    b1, b2, b3, b4, b5, b6 = n1, n2, n3, n4, n5, n6
    # Where every wrist pitch within the limits has cos(q5) > 0, z3 . x5 > 0 tells a wrist that is turned over from one
    # that is not, without an arc tangent.
    never_over = abs(o5 + 0.5 * math.pi) + max(abs(l5), abs(h5)) < 0.5 * math.pi - LIMIT_TOLERANCE
    for _ in range(2):  # x5 and its opposite
        across = norm - a  # p5 = across x5 + along z6
        depth = math.sqrt(across * across + along * along)
        shallow = shallow or depth < NEAR_AXIS
        for _ in range(2):  # wrist below the RCM and above it
            q3 = depth - depth_0
            if abs(depth) >= NEAR_AXIS and q3 >= l3 - LIMIT_TOLERANCE and q3 <= h3 + LIMIT_TOLERANCE:
                reachable = True
                f, g = across / depth, along / depth  # z3 = f x5 + g z6 = p5 / depth
                q5 = math.nan
                if f > 0.0 or not never_over:
                    q5 = _copy_within(atan2(-f, -g) - o5, n5, l5, h5)
                if not math.isnan(q5):
                    ux, uy, uz = f * vx + g * zx, f * vy + g * zy, f * vz + g * zz
                    s2 = math.sqrt(ux * ux + uz * uz)
                    theta_2 = atan2(s2, -uy)
                    for _ in range(2):  # the two signs of s2
                        q2 = _copy_within(theta_2 - o2, n2, l2, h2)
                        if not math.isnan(q2):
                            s1, c1, s4, c4, wx, wy, wz = _roll(ux, uy, uz, s2, vx, vy, vz, zx, zy, zz)
                            q1 = _copy_within(atan2(s1, c1) - o1, n1, l1, h1)
                            q4 = _copy_within(atan2(s4, c4) - o4, n4, l4, h4)
                            theta_6 = atan2(-(xx * wx + xy * wy + xz * wz), xx * vx + xy * vy + xz * vz)
                            q6 = _copy_within(theta_6 - o6, n6, l6, h6)
                            e1, e2, e4, e5, e6 = q1 - n1, q2 - n2, q4 - n4, q5 - n5, q6 - n6
                            distance = e1 * e1 + e2 * e2 + e4 * e4 + e5 * e5 + e6 * e6
                            if abs(s2) < NEAR_PITCH:
                                singular = True
                            elif distance < nearest:  # never when an angle is nan
                                nearest = distance
                                b1, b2, b3, b4, b5, b6 = q1, q2, min(max(q3, l3), h3), q4, q5, q6
                        s2, theta_2 = -s2, -theta_2
            depth = -depth
        vx, vy, vz, norm = -vx, -vy, -vz, -norm
    q[0], q[1], q[2], q[3], q[4], q[5] = b1, b2, b3, b4, b5, b6
    if nearest < math.inf:
        return IkStatus.SOLVED
    if singular:
        return IkStatus.SINGULAR
    if shallow:
        return IkStatus.TOO_SHALLOW
    if reachable:
        return IkStatus.JOINT_LIMIT
    return IkStatus.OUT_OF_REACH


@kernel(BRANCHES)
def branches(arm: Array, T: Array, Q: Array) -> int:
    """Write every joint position that brings the tip to T, within the limits or not, and return how many there are.

    Args:
        arm: The record, (1,), dtype ARM.
        T: T_base_tip, (4, 4).
        Q: Out: (16, 8). The first half has every angle in [-pi, pi], the second half the same branches in the same
            order with the roll one turn on, towards zero and past it; so every roll in ]-2 pi, 2 pi[ is there. Entries
            past the six joints are zero.

    Returns:
        16, or fewer in a singular pose (the branches that are not unique are left out), 0 when T is no pose.
    """
    Q[:, :] = 0.0
    offset = arm[0].offset
    a, depth_0 = arm[0].a[5], offset[2] + arm[0].d[2] + arm[0].d[3]
    xx, xy, xz, _, _, _, zx, zy, zz, px, py, pz = _frame_6(arm, T)
    if not is_pose(T, POSE_TOLERANCE):
        return 0
    along = px * zx + py * zy + pz * zz
    vx, vy, vz = px - along * zx, py - along * zy, pz - along * zz
    norm = math.sqrt(vx * vx + vy * vy + vz * vz)
    if not (norm >= NEAR_AXIS and norm < math.inf):
        return 0
    vx, vy, vz = vx / norm, vy / norm, vz / norm
    count = 0
    for _ in range(2):
        across = norm - a
        depth = math.sqrt(across * across + along * along)
        for _ in range(2):
            f, g = across / depth, along / depth
            theta_5 = atan2(-f, -g)
            ux, uy, uz = f * vx + g * zx, f * vy + g * zy, f * vz + g * zz
            s2 = math.sqrt(ux * ux + uz * uz)
            for _ in range(2):
                if abs(depth) >= NEAR_AXIS and abs(s2) >= NEAR_PITCH:
                    s1, c1, s4, c4, wx, wy, wz = _roll(ux, uy, uz, s2, vx, vy, vz, zx, zy, zz)
                    theta_6 = atan2(-(xx * wx + xy * wy + xz * wz), xx * vx + xy * vy + xz * vz)
                    Q[count, 0] = _copy_within(atan2(s1, c1) - offset[0], 0.0, -math.pi, math.pi)
                    Q[count, 1] = _copy_within(atan2(s2, -uy) - offset[1], 0.0, -math.pi, math.pi)
                    Q[count, 2] = depth - depth_0
                    Q[count, 3] = _copy_within(atan2(s4, c4) - offset[3], 0.0, -math.pi, math.pi)
                    Q[count, 4] = _copy_within(theta_5 - offset[4], 0.0, -math.pi, math.pi)
                    Q[count, 5] = _copy_within(theta_6 - offset[5], 0.0, -math.pi, math.pi)
                    count += 1
                s2 = -s2
            depth = -depth
        vx, vy, vz, norm = -vx, -vy, -vz, -norm
    for i in range(count):
        for j in range(6):
            Q[count + i, j] = Q[i, j]
        Q[count + i, 3] -= math.copysign(TURN, Q[i, 3])
    return 2 * count
