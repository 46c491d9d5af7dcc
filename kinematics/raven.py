"""The Raven II: inverse kinematics in closed form, both arms.

Family "raven", modified Denavit-Hartenberg: shoulder and elbow cross at the remote centre of motion (RCM) at fixed
angles A = alpha_2 and B = alpha_3; the insertion runs along a line through it; tool rotation about that line; wrist;
the grasp's axis at a distance `a` beyond it. With theta_i = q_i + offset_i (theta_3 fixed), s_i and c_i its sine and
cosine, and L = q_3 + offset_3 + d_3 + d_4 the wrist centre's depth below the RCM, in axes turned by RotX(-alpha_1):

    z3 = RotZ(theta_1) (sB s2, -cA sB c2 - sA cB, cA cB - sA sB c2)
    x2 = RotZ(theta_1) (c2, cA s2, sA s2)
    x4 is x2 turned by theta_3 + theta_4 about z3              p5 = L z3
    x5 = c5 x4 + s5 z3      z6 = s5 x4 - c5 z3                 p6 = p5 + a x5
    z5 = z6 x x5            x6 = c6 x5 + s6 z5                 T_base_tip = T_base_6 T_6_tip

Inverse, as for the PSM: z3 and hence p5 lie in the plane of x5 and z6, so x5 is the direction of p6 less its part along
z6. A sign is free there, one for z3 = p5 / L; z3 gives c2, and the sign of s2 is free: eight branches. See also King,
Kosari, Hannaford, Ma: Kinematic analysis of the Raven-II, UW EE technical report 2012-0006.
"""

import math

from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.chain import ARMS, INVERSE, IkStatus
from kinematics.closed_form import (
    BRANCHES,
    LIMIT_TOLERANCE,
    NEAR_PARALLEL,
    NEAR_POINT,
    POSE_TOLERANCE,
    TURN,
    Pose12,
    copy_around,
    copy_within,
    last_frame,
)
from kinematics.compiled import Array, kernel
from kinematics.frames import is_pose, is_rotation
from kinematics.trigonometry import atan2

__all__ = ["branches", "inverse"]

f8 = types.float64


@kernel(UniTuple(f8, 12)(ARMS, f8[:, ::1]))
def _frame_6(arm: Array, T: Array) -> Pose12:
    """Return x6, y6, z6 and p6 of the tip's pose in axes in which the shoulder turns about z."""
    p = arm[0].placement[0]  # RotX(alpha_1) RotZ(offset_1)
    s, c = -p[6], p[10]
    xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz = last_frame(arm, T)
    return (
        xx,
        c * xy + s * xz,
        c * xz - s * xy,
        yx,
        c * yy + s * yz,
        c * yz - s * yy,
        zx,
        c * zy + s * zz,
        c * zz - s * zy,
        px,
        c * py + s * pz,
        c * pz - s * py,
    )


@kernel(UniTuple(f8, 2)(f8, f8, f8, f8, f8, f8, f8, f8, f8, f8, f8, f8))
def _shoulder_rotation(
    sa: float,
    ca: float,
    sb: float,
    cb: float,
    s2: float,
    c2: float,
    ux: float,
    uy: float,
    uz: float,
    wx: float,
    wy: float,
    wz: float,
) -> tuple[float, float]:
    """Return theta_1 and theta_3 + theta_4 of a branch, given z3 (u) and x4 (w)."""
    gx, gy = sb * s2, -ca * sb * c2 - sa * cb
    per_g = 1.0 / (gx * gx + gy * gy)
    s1, c1 = (uy * gx - ux * gy) * per_g, (ux * gx + uy * gy) * per_g
    x, y, z = c1 * c2 - s1 * ca * s2, s1 * c2 + c1 * ca * s2, sa * s2  # x2
    nx, ny, nz = uy * z - uz * y, uz * x - ux * z, ux * y - uy * x  # z3 x x2
    return atan2(s1, c1), atan2(wx * nx + wy * ny + wz * nz, wx * x + wy * y + wz * z)


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
    a, depth_0, theta_3 = arm[0].a[5], offset[2] + arm[0].d[2] + arm[0].d[3], arm[0].theta[2]
    sa, ca = -arm[0].placement[1, 6], arm[0].placement[1, 10]
    sb, cb = -arm[0].placement[2, 6], arm[0].placement[2, 10]
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
    if norm < NEAR_POINT:
        return IkStatus.SINGULAR
    per_norm = 1.0 / norm
    vx, vy, vz = vx * per_norm, vy * per_norm, vz * per_norm  # x5

    nearest, reachable, shallow, singular = math.inf, False, False, False
    b1, b2, b3, b4, b5, b6 = n1, n2, n3, n4, n5, n6
    per_sines = 1.0 / (sa * sb)
    for _ in range(2):  # x5 and its opposite
        across = norm - a  # p5 = across x5 + along z6
        depth = math.sqrt(across * across + along * along)
        shallow = shallow or depth < NEAR_POINT
        for _ in range(2):  # wrist below the RCM and above it
            q3 = depth - depth_0
            if abs(depth) >= NEAR_POINT and q3 >= l3 - LIMIT_TOLERANCE and q3 <= h3 + LIMIT_TOLERANCE:
                f, g = across / depth, along / depth  # z3 = f x5 + g z6 = p5 / depth
                ux, uy, uz = f * vx + g * zx, f * vy + g * zy, f * vz + g * zz
                c2 = (ca * cb - uz) * per_sines
                square = 1.0 - c2 * c2
                flat = ux * ux + uy * uy < NEAR_PARALLEL * NEAR_PARALLEL
                if flat or abs(square) < NEAR_PARALLEL * NEAR_PARALLEL:
                    singular = True
                elif square > 0.0:
                    reachable = True
                    q5 = copy_within(atan2(f, -g) - o5, n5, l5, h5)
                    if not math.isnan(q5):
                        s2 = math.sqrt(square)
                        theta_2 = atan2(s2, c2)
                        wx, wy, wz = f * zx - g * vx, f * zy - g * vy, f * zz - g * vz  # x4
                        tx, ty, tz = zy * vz - zz * vy, zz * vx - zx * vz, zx * vy - zy * vx  # z5
                        theta_6 = atan2(xx * tx + xy * ty + xz * tz, xx * vx + xy * vy + xz * vz)
                        q6 = copy_within(theta_6 - o6, n6, l6, h6)
                        for _ in range(2):  # the two signs of s2
                            q2 = copy_within(theta_2 - o2, n2, l2, h2)
                            if not math.isnan(q2):
                                theta_1, theta_34 = _shoulder_rotation(sa, ca, sb, cb, s2, c2, ux, uy, uz, wx, wy, wz)
                                q1 = copy_within(theta_1 - o1, n1, l1, h1)
                                q4 = copy_within(theta_34 - theta_3 - o4, n4, l4, h4)
                                e1, e2, e4, e5, e6 = q1 - n1, q2 - n2, q4 - n4, q5 - n5, q6 - n6
                                distance = e1 * e1 + e2 * e2 + e4 * e4 + e5 * e5 + e6 * e6
                                if distance < nearest:  # never when an angle is nan
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
        Q: Out: (MAX_BRANCHES, 8). The first half has every angle within half a turn of the middle of its limits, the
            second half the same branches in the same order with the tool rotation one turn on, towards zero and past
            it. Entries past the six joints are zero.

    Returns:
        16, or fewer where the elbow cannot give the shaft its direction or in a singular pose (branches that are not
        unique are left out), 0 when T is no pose.
    """
    Q[:, :] = 0.0
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    a, depth_0, theta_3 = arm[0].a[5], offset[2] + arm[0].d[2] + arm[0].d[3], arm[0].theta[2]
    sa, ca = -arm[0].placement[1, 6], arm[0].placement[1, 10]
    sb, cb = -arm[0].placement[2, 6], arm[0].placement[2, 10]
    xx, xy, xz, _, _, _, zx, zy, zz, px, py, pz = _frame_6(arm, T)
    if not is_pose(T, POSE_TOLERANCE):
        return 0
    along = px * zx + py * zy + pz * zz
    vx, vy, vz = px - along * zx, py - along * zy, pz - along * zz
    norm = math.sqrt(vx * vx + vy * vy + vz * vz)
    if not (norm >= NEAR_POINT and norm < math.inf):
        return 0
    vx, vy, vz = vx / norm, vy / norm, vz / norm
    count = 0
    for _ in range(2):
        across = norm - a
        depth = math.sqrt(across * across + along * along)
        for _ in range(2):
            f, g = across / depth, along / depth
            ux, uy, uz = f * vx + g * zx, f * vy + g * zy, f * vz + g * zz
            c2 = (ca * cb - uz) / (sa * sb)
            square = 1.0 - c2 * c2
            unique = abs(depth) >= NEAR_POINT and ux * ux + uy * uy >= NEAR_PARALLEL * NEAR_PARALLEL
            if unique and square >= NEAR_PARALLEL * NEAR_PARALLEL:
                s2 = math.sqrt(square)
                wx, wy, wz = f * zx - g * vx, f * zy - g * vy, f * zz - g * vz
                tx, ty, tz = zy * vz - zz * vy, zz * vx - zx * vz, zx * vy - zy * vx
                theta_6 = atan2(xx * tx + xy * ty + xz * tz, xx * vx + xy * vy + xz * vz)
                for _ in range(2):
                    theta_1, theta_34 = _shoulder_rotation(sa, ca, sb, cb, s2, c2, ux, uy, uz, wx, wy, wz)
                    Q[count, 0] = copy_around(theta_1 - offset[0], low[0], high[0])
                    Q[count, 1] = copy_around(atan2(s2, c2) - offset[1], low[1], high[1])
                    Q[count, 2] = depth - depth_0
                    Q[count, 3] = copy_around(theta_34 - theta_3 - offset[3], low[3], high[3])
                    Q[count, 4] = copy_around(atan2(f, -g) - offset[4], low[4], high[4])
                    Q[count, 5] = copy_around(theta_6 - offset[5], low[5], high[5])
                    count += 1
                    s2 = -s2
            depth = -depth
        vx, vy, vz, norm = -vx, -vy, -vz, -norm
    for i in range(count):
        for j in range(6):
            Q[count + i, j] = Q[i, j]
        Q[count + i, 3] -= math.copysign(TURN, Q[i, 3])
    return 2 * count
