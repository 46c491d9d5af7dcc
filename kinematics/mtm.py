"""The da Vinci MTM, left and right: inverse kinematics in closed form, with a rule for its redundant joint.

Family "mtm", standard Denavit-Hartenberg: outer yaw, shoulder and elbow place the point where the last four axes meet
(wrist platform, pitch, yaw, roll; it is the tip's frame's origin, less the tip's transform); those four turn the tip.
With theta_i = q_i + offset_i, s_i and c_i its sine and cosine, and l1 = a_2, l2 = a_3, d = d_4:

    x3 = (c1 c23, s1 c23, s23)    y3 = (-s1, c1, 0)    z3 = (-c1 s23, -s1 s23, c23)
    p7 = (c1 rho, s1 rho, h)      (rho, h) = l1 (c2, s2) + l2 (c23, s23) + d (-s23, c23)
    x4 = c4 x3 + s4 y3            y4 = z3              z4 = s4 x3 - c4 y3
    R_4_7 = RotZ(theta_5) RotY(theta_6) RotZ(theta_7)

Position: the plane of the arm (two signs of rho), and in it two links of lengths l1 and hypot(l2, d) (two signs of the
elbow). Orientation: with the platform given, two signs of s6. Eight branches in all.

The platform's angle is free. The rule: **it stays where it is (q_near), as long as pitch and yaw then reach the
orientation within their limits; where they do not, it turns by as little as it must**. The angles at which a limit of
pitch or yaw is met are known in closed form: with w = z7 in frame 3, W = hypot(w_x, w_y), beta = atan2(w_y, w_x),

    c6 = W sin(theta_4 - beta)        cot(theta_5) = W cos(theta_4 - beta) / w_z

The yaw's limits (45°) keep the wrist half a right angle away from its singularity, s6 = 0.
"""

import math

from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.chain import ARMS, INVERSE, IkStatus
from kinematics.closed_form import (
    BRANCHES,
    NEAR_PARALLEL,
    NEAR_POINT,
    POSE_TOLERANCE,
    TURN,
    copy_around,
    copy_within,
    last_frame,
)
from kinematics.compiled import Array, kernel
from kinematics.frames import is_pose, is_rotation
from kinematics.trigonometry import atan2, sincos

__all__ = ["LIMIT_MARGIN", "branches", "inverse"]

f8 = types.float64
Nine = tuple[float, float, float, float, float, float, float, float, float]

LIMIT_MARGIN = 1e-6  # rad: so far inside a limit of pitch or yaw the platform stops turning


@kernel(UniTuple(f8, 4)(f8, f8, f8, f8, f8, f8, f8, f8))
def _place(
    rho: float, h: float, l1: float, l2: float, d: float, cosine: float, sine: float, r: float
) -> tuple[float, float, float, float]:
    """Return theta_2, theta_3 and the sine and cosine of theta_2 + theta_3, given the elbow's angle.

    That is the angle between the links l1 and r = hypot(l2, d), by its sine and cosine.
    """
    theta_2 = atan2(h, rho) - atan2(r * sine, l1 + r * cosine)
    theta_3 = atan2(sine, cosine) - atan2(d, l2)
    s23, c23 = sincos(theta_2 + theta_3)
    return theta_2, theta_3, s23, c23


@kernel(UniTuple(f8, 9)(UniTuple(f8, 9), f8, f8, f8, f8))
def _in_frame_3(R: Nine, s1: float, c1: float, s23: float, c23: float) -> Nine:
    """Return x7, y7 and z7 in frame 3, of those in the base."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = R
    xr, yr, zr = c1 * xx + s1 * xy, c1 * yx + s1 * yy, c1 * zx + s1 * zy
    return (
        c23 * xr + s23 * xz,
        c1 * xy - s1 * xx,
        c23 * xz - s23 * xr,
        c23 * yr + s23 * yz,
        c1 * yy - s1 * yx,
        c23 * yz - s23 * yr,
        c23 * zr + s23 * zz,
        c1 * zy - s1 * zx,
        c23 * zz - s23 * zr,
    )


@kernel(UniTuple(f8, 4)(UniTuple(f8, 9), f8, f8))
def _wrist(M: Nine, theta_4: float, sign: float) -> tuple[float, float, float, float]:
    """Return theta_5, theta_6, theta_7 and |s6| at a platform angle, of x7, y7, z7 in frame 3 and the sign of s6."""
    ax, ay, az, bx, by, bz, wx, wy, wz = M
    s4, c4 = sincos(theta_4)
    x = c4 * wx + s4 * wy
    sine = math.sqrt(x * x + wz * wz)
    per_sine = sign / sine
    s5, c5 = wz * per_sine, x * per_sine
    # theta_7 from what is left once theta_5 is taken off: good to the last digit near s6 = 0 too.
    theta_7 = atan2(c5 * az - s5 * (c4 * ax + s4 * ay), c5 * bz - s5 * (c4 * bx + s4 * by))
    return atan2(s5, c5), atan2(sign * sine, s4 * wx - c4 * wy), theta_7, sine


@kernel(UniTuple(f8, 4)(ARMS, UniTuple(f8, 9), f8, f8, f8, f8))
def _wrist_within(arm: Array, M: Nine, q4: float, n5: float, n6: float, n7: float) -> tuple[float, float, float, float]:
    """Return q5, q6, q7 within the limits and nearest to n, and |s6|, at a platform's position; nan when none is."""
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    b5, b6, b7, nearest, sine = math.nan, math.nan, math.nan, math.inf, 0.0
    for k in range(2):
        theta_5, theta_6, theta_7, sine = _wrist(M, q4 + offset[3], 1.0 - 2.0 * k)
        q5 = copy_within(theta_5 - offset[4], n5, low[4], high[4])
        q6 = copy_within(theta_6 - offset[5], n6, low[5], high[5])
        q7 = copy_within(theta_7 - offset[6], n7, low[6], high[6])
        e5, e6, e7 = q5 - n5, q6 - n6, q7 - n7
        distance = e5 * e5 + e6 * e6 + e7 * e7
        if sine >= NEAR_PARALLEL and distance < nearest:  # never when an angle is nan
            b5, b6, b7, nearest = q5, q6, q7, distance
    return b5, b6, b7, sine


@kernel(f8(ARMS, UniTuple(f8, 9), f8, f8, f8, f8))
def _turned_platform(arm: Array, M: Nine, n4: float, n5: float, n6: float, n7: float) -> float:
    """Return the platform's position nearest to n4 at which the wrist is within its limits; nan when none is."""
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    wx, wy, wz = M[6], M[7], M[8]
    W, beta = math.sqrt(wx * wx + wy * wy), atan2(wy, wx)
    best, nearest = math.nan, math.inf
    for k in range(10):
        if k < 2:
            theta_4 = (low[3] if k == 0 else high[3]) + offset[3]
        else:
            i = 5 if k < 6 else 4  # the yaw's limits, then the pitch's
            limit = low[i] + LIMIT_MARGIN if k & 2 else high[i] - LIMIT_MARGIN
            sine, cosine = sincos(limit + offset[i])
            # theta_4 - beta has this cosine (of the yaw's: of the angle short of a quarter).
            x, y = (cosine, W) if i == 5 else (wz * cosine, W * sine)
            if not abs(x) < abs(y):
                continue
            angle = atan2(math.sqrt(y * y - x * x), x if y > 0.0 else -x)
            angle = angle if k & 1 else -angle
            theta_4 = beta + angle + (0.5 * math.pi if i == 5 else 0.0)
        q4 = copy_within(theta_4 - offset[3], n4, low[3], high[3])
        distance = abs(q4 - n4)
        if distance < nearest and not math.isnan(_wrist_within(arm, M, q4, n5, n6, n7)[0]):
            best, nearest = q4, distance
    return best


@kernel(INVERSE)
def inverse(arm: Array, T: Array, q_near: Array, q: Array) -> int:
    """Write the joint positions that bring the tip to T, and return an IkStatus.

    The platform stays or turns by the rule above. Of the branches within the limits, full turns of each joint included,
    it is the one nearest to q_near by the sum of squares of the seven angles' distances.

    Args:
        arm: The record, (1,), dtype ARM.
        T: T_base_tip, (4, 4).
        q_near: Positions, (8,), rad.
        q: Out: (8,). Entries past the seven joints are those of q_near, and on failure all are. May be q_near.

    Returns:
        0 when solved; else why not. Forward(q) is then T to 1e-12 for an orthonormal T (to 1e-9 where an answer was
        put on a limit).
    """
    n1, n2, n3, n4 = q_near[0], q_near[1], q_near[2], q_near[3]
    n5, n6, n7, n8 = q_near[4], q_near[5], q_near[6], q_near[7]
    q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7] = n1, n2, n3, n4, n5, n6, n7, n8
    xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz = last_frame(arm, T)
    bottom = abs(T[3, 0]) + abs(T[3, 1]) + abs(T[3, 2]) + abs(T[3, 3] - 1.0)
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    l1, l2, d = arm[0].a[1], arm[0].a[2], arm[0].d[3]

    # Zero times a number that is not finite is nan.
    finite = 0.0 * (n1 + n2 + n3 + n4 + n5 + n6 + n7 + n8) + 0.0 * (px + py + pz)
    is_rigid = is_rotation(xx, xy, xz, yx, yy, yz, zx, zy, zz, POSE_TOLERANCE)
    if finite != 0.0 or not bottom <= POSE_TOLERANCE or not is_rigid:
        return IkStatus.NOT_A_POSE
    R = (xx, xy, xz, yx, yy, yz, zx, zy, zz)
    square, r = l2 * l2 + d * d, math.sqrt(l2 * l2 + d * d)
    cosine = (px * px + py * py + pz * pz - l1 * l1 - square) / (2.0 * l1 * r)
    if not abs(cosine) <= 1.0:
        return IkStatus.OUT_OF_REACH
    rho, sine = math.sqrt(px * px + py * py), math.sqrt(1.0 - cosine * cosine)
    if rho < NEAR_POINT or sine < NEAR_PARALLEL:
        return IkStatus.SINGULAR
    s1, c1 = py / rho, px / rho
    theta_1 = atan2(py, px)
    stay = min(max(n4, low[3]), high[3])
    nearest, reached, singular = math.inf, False, False
    b1, b2, b3, b4, b5, b6, b7 = n1, n2, n3, n4, n5, n6, n7
    for _ in range(2):  # the arm's plane facing the point, and away from it
        q1 = copy_within(theta_1 - offset[0], n1, low[0], high[0])
        if not math.isnan(q1):
            for _ in range(2):  # the two signs of the elbow
                theta_2, theta_3, s23, c23 = _place(rho, pz, l1, l2, d, cosine, sine, r)
                q2 = copy_within(theta_2 - offset[1], n2, low[1], high[1])
                q3 = copy_within(theta_3 - offset[2], n3, low[2], high[2])
                if not math.isnan(q2 + q3):
                    reached = True
                    M = _in_frame_3(R, s1, c1, s23, c23)
                    q4 = stay
                    q5, q6, q7, sine_6 = _wrist_within(arm, M, q4, n5, n6, n7)
                    singular = singular or sine_6 < NEAR_PARALLEL
                    if math.isnan(q5):
                        q4 = _turned_platform(arm, M, n4, n5, n6, n7)
                        q5, q6, q7, _ = _wrist_within(arm, M, q4, n5, n6, n7)
                    e1, e2, e3, e4 = q1 - n1, q2 - n2, q3 - n3, q4 - n4
                    e5, e6, e7 = q5 - n5, q6 - n6, q7 - n7
                    distance = e1 * e1 + e2 * e2 + e3 * e3 + e4 * e4 + e5 * e5 + e6 * e6 + e7 * e7
                    if distance < nearest:  # never when an angle is nan
                        nearest = distance
                        b1, b2, b3, b4, b5, b6, b7 = q1, q2, q3, q4, q5, q6, q7
                sine = -sine
        theta_1, s1, c1, rho = theta_1 + math.pi, -s1, -c1, -rho
    q[0], q[1], q[2], q[3], q[4], q[5], q[6] = b1, b2, b3, b4, b5, b6, b7
    if nearest < math.inf:
        return IkStatus.SOLVED
    if singular:
        return IkStatus.SINGULAR
    return IkStatus.JOINT_LIMIT if reached else IkStatus.OUT_OF_REACH


@kernel(BRANCHES)
def branches(arm: Array, T: Array, Q: Array) -> int:
    """Write the joint positions that bring the tip to T with the platform as given, within the limits or not.

    Args:
        arm: The record, (1,), dtype ARM.
        T: T_base_tip, (4, 4).
        Q: In: (MAX_BRANCHES, 8): Q[0, 3] is the platform's position. Out: the first third has every other angle within
            half a turn of the middle of its limits; the others are the same branches in the same order with the roll
            one turn forward and one turn back. Entries past the seven joints are zero.

    Returns:
        24, or fewer in a singular pose (branches that are not unique are left out); 0 when T is out of reach or no
        pose.
    """
    q4 = Q[0, 3]
    Q[:, :] = 0.0
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    l1, l2, d = arm[0].a[1], arm[0].a[2], arm[0].d[3]
    xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz = last_frame(arm, T)
    R = (xx, xy, xz, yx, yy, yz, zx, zy, zz)
    square, r = l2 * l2 + d * d, math.sqrt(l2 * l2 + d * d)
    cosine = (px * px + py * py + pz * pz - l1 * l1 - square) / (2.0 * l1 * r)
    if not is_pose(T, POSE_TOLERANCE) or not abs(cosine) <= 1.0 or not abs(q4) < math.inf:
        return 0
    rho, sine = math.sqrt(px * px + py * py), math.sqrt(1.0 - cosine * cosine)
    if rho < NEAR_POINT or sine < NEAR_PARALLEL:
        return 0
    s1, c1 = py / rho, px / rho
    theta_1 = atan2(py, px)
    count = 0
    for _ in range(2):
        for _ in range(2):
            theta_2, theta_3, s23, c23 = _place(rho, pz, l1, l2, d, cosine, sine, r)
            M = _in_frame_3(R, s1, c1, s23, c23)
            for k in range(2):
                theta_5, theta_6, theta_7, sine_6 = _wrist(M, q4 + offset[3], 1.0 - 2.0 * k)
                if sine_6 >= NEAR_PARALLEL:
                    Q[count, 0] = copy_around(theta_1 - offset[0], low[0], high[0])
                    Q[count, 1] = copy_around(theta_2 - offset[1], low[1], high[1])
                    Q[count, 2] = copy_around(theta_3 - offset[2], low[2], high[2])
                    Q[count, 3] = q4
                    Q[count, 4] = copy_around(theta_5 - offset[4], low[4], high[4])
                    Q[count, 5] = copy_around(theta_6 - offset[5], low[5], high[5])
                    Q[count, 6] = copy_around(theta_7 - offset[6], low[6], high[6])
                    count += 1
            sine = -sine
        theta_1, s1, c1, rho = theta_1 + math.pi, -s1, -c1, -rho
    for turn in range(1, 3):
        for i in range(count):
            for j in range(7):
                Q[turn * count + i, j] = Q[i, j]
            Q[turn * count + i, 6] += TURN if turn == 1 else -TURN
    return 3 * count
