"""The da Vinci ECM: inverse kinematics in closed form of an endoscope on four joints.

Family "ecm", modified Denavit-Hartenberg: the first four rows of the PSM (`kinematics.psm`), the tip on the roll axis.
With theta_i = q_i + offset_i and L = q_3 + offset_3 + d_3 + d_4,

    z4 = z3 = (c1 s2, -c2, s1 s2)    x3 = (c1 c2, s2, s1 c2)    y3 = (-s1, 0, c1)
    x4 = c4 x3 + s4 y3               p4 = L z4                  T_base_tip = T_base_4 T_4_tip

Four joints give a tip's position and its roll about the shaft; the shaft itself must point through the remote centre of
motion (RCM). Of a full pose two numbers are therefore not free: `inverse` takes only a pose that the arm can meet, and
says ORIENTATION of any other. `nearest_pose` gives the pose that it can meet, at the same place.

Inverse: z4 is given, so L = p4 . z4, and what p4 has across z4 must be zero. The sign of s2 is free: two branches. With
the direction taken from z4, not from p4, the RCM itself is no singular place.
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
    copy_around,
    copy_within,
    last_frame,
)
from kinematics.compiled import Array, kernel
from kinematics.frames import is_pose, is_rotation
from kinematics.stack import stack_matrix
from kinematics.trigonometry import atan2

__all__ = ["MEET_TOLERANCE", "branches", "inverse", "inverse_nearest", "nearest_pose"]

f8 = types.float64

MEET_TOLERANCE = 1e-9  # m: how far beside the shaft the tip of a pose may be that the arm is said to meet


@kernel(UniTuple(f8, 2)(f8, f8, f8, f8, f8, f8, f8))
def _yaw_roll(xx: float, xy: float, xz: float, zx: float, zy: float, zz: float, s2: float) -> tuple[float, float]:
    """Return theta_1 and theta_4 of a branch, given x4, z4 and s2."""
    per_s2 = 1.0 / s2
    s1, c1, c2 = zz * per_s2, zx * per_s2, -zy
    return atan2(s1, c1), atan2(xz * c1 - xx * s1, (xx * c1 + xz * s1) * c2 + xy * s2)


@kernel(INVERSE)
def inverse(arm: Array, T: Array, q_near: Array, q: Array) -> int:
    """Write the joint positions that bring the tip to T, and return an IkStatus.

    Of the two branches, within the limits, full turns included, it is the one nearest to q_near by the sum of squares
    of the three angles' distances.

    Args:
        arm: The record, (1,), dtype ARM.
        T: T_base_tip, (4, 4).
        q_near: Positions, (8,), rad and m.
        q: Out: (8,). Entries past the four joints are those of q_near, and on failure all are. May be q_near.

    Returns:
        0 when solved; else why not. Forward(q) is then T to 1e-12, save that its position differs by what T's tip was
        beside the shaft, at most MEET_TOLERANCE (and by LIMIT_TOLERANCE where an answer was put on a limit).
    """
    n1, n2, n3, n4 = q_near[0], q_near[1], q_near[2], q_near[3]
    n5, n6, n7, n8 = q_near[4], q_near[5], q_near[6], q_near[7]
    q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7] = n1, n2, n3, n4, n5, n6, n7, n8
    xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz = last_frame(arm, T)
    bottom = abs(T[3, 0]) + abs(T[3, 1]) + abs(T[3, 2]) + abs(T[3, 3] - 1.0)
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    depth_0 = offset[2] + arm[0].d[2] + arm[0].d[3]
    l1, l2, l3, l4 = low[0], low[1], low[2], low[3]
    h1, h2, h3, h4 = high[0], high[1], high[2], high[3]
    o1, o2, o4 = offset[0], offset[1], offset[3]

    # Zero times a number that is not finite is nan.
    finite = 0.0 * (n1 + n2 + n3 + n4 + n5 + n6 + n7 + n8) + 0.0 * (px + py + pz)
    is_rigid = is_rotation(xx, xy, xz, yx, yy, yz, zx, zy, zz, POSE_TOLERANCE)
    if finite != 0.0 or not bottom <= POSE_TOLERANCE or not is_rigid:
        return IkStatus.NOT_A_POSE
    reach = max(abs(l3 + depth_0), abs(h3 + depth_0)) + LIMIT_TOLERANCE
    if px * px + py * py + pz * pz > reach * reach:
        return IkStatus.OUT_OF_REACH
    depth = px * zx + py * zy + pz * zz
    bx, by, bz = px - depth * zx, py - depth * zy, pz - depth * zz
    if bx * bx + by * by + bz * bz > MEET_TOLERANCE * MEET_TOLERANCE:
        return IkStatus.ORIENTATION
    q3 = depth - depth_0
    if q3 < l3 - LIMIT_TOLERANCE or q3 > h3 + LIMIT_TOLERANCE:
        return IkStatus.OUT_OF_REACH
    s2 = math.sqrt(zx * zx + zz * zz)
    if s2 < NEAR_PARALLEL:
        return IkStatus.SINGULAR
    theta_2 = atan2(s2, -zy)
    nearest = math.inf
    b1, b2, b4 = n1, n2, n4
    for _ in range(2):
        q2 = copy_within(theta_2 - o2, n2, l2, h2)
        if not math.isnan(q2):
            theta_1, theta_4 = _yaw_roll(xx, xy, xz, zx, zy, zz, s2)
            q1 = copy_within(theta_1 - o1, n1, l1, h1)
            q4 = copy_within(theta_4 - o4, n4, l4, h4)
            e1, e2, e4 = q1 - n1, q2 - n2, q4 - n4
            distance = e1 * e1 + e2 * e2 + e4 * e4
            if distance < nearest:  # never when an angle is nan
                nearest = distance
                b1, b2, b4 = q1, q2, q4
        s2, theta_2 = -s2, -theta_2
    if nearest == math.inf:
        return IkStatus.JOINT_LIMIT
    q[0], q[1], q[2], q[3] = b1, b2, min(max(q3, l3), h3), b4
    return IkStatus.SOLVED


@kernel(BRANCHES)
def branches(arm: Array, T: Array, Q: Array) -> int:
    """Write every joint position that brings the tip to T, within the limits or not, and return how many there are.

    Args:
        arm: The record, (1,), dtype ARM.
        T: T_base_tip, (4, 4).
        Q: Out: (MAX_BRANCHES, 8). Every angle within half a turn of the middle of its limits; entries past the four
            joints are zero.

    Returns:
        2; 0 when T is no pose, is none that the arm can meet, or has the shaft along the yaw's axis.
    """
    Q[:, :] = 0.0
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    xx, xy, xz, _, _, _, zx, zy, zz, px, py, pz = last_frame(arm, T)
    if not is_pose(T, POSE_TOLERANCE):
        return 0
    depth = px * zx + py * zy + pz * zz
    bx, by, bz = px - depth * zx, py - depth * zy, pz - depth * zz
    s2 = math.sqrt(zx * zx + zz * zz)
    if not (bx * bx + by * by + bz * bz <= MEET_TOLERANCE * MEET_TOLERANCE and s2 >= NEAR_PARALLEL):
        return 0
    for count in range(2):
        theta_1, theta_4 = _yaw_roll(xx, xy, xz, zx, zy, zz, s2)
        Q[count, 0] = copy_around(theta_1 - offset[0], low[0], high[0])
        Q[count, 1] = copy_around(atan2(s2, -zy) - offset[1], low[1], high[1])
        Q[count, 2] = depth - (offset[2] + arm[0].d[2] + arm[0].d[3])
        Q[count, 3] = copy_around(theta_4 - offset[3], low[3], high[3])
        s2 = -s2
    return 2


@kernel(types.int64(ARMS, f8[:, ::1], f8[:, ::1]))
def nearest_pose(arm: Array, T: Array, T_met: Array) -> int:
    """Write the pose nearest to T that the arm can meet: the tip where it is, its axes turned as little as possible.

    The shaft is turned onto the line from the RCM to the tip by the shortest rotation; the roll stays.

    Args:
        arm: The record, (1,), dtype ARM.
        T: T_base_tip, (4, 4).
        T_met: Out: (4, 4). On failure T. May be T.

    Returns:
        0; else an IkStatus: TOO_SHALLOW where the tip is within NEAR_POINT of the RCM, so that no direction is given;
        OUT_OF_REACH where the insertion is outside its limits; SINGULAR where the shaft would have to turn half round;
        NOT_A_POSE.
    """
    t = arm[0].tip
    low, high = arm[0].position_min[2], arm[0].position_max[2]
    length_0 = arm[0].offset[2] + arm[0].d[2] + arm[0].d[3] + t[2, 3]
    zx, zy, zz = last_frame(arm, T)[6:9]
    px, py, pz = T[0, 3], T[1, 3], T[2, 3]
    for i in range(4):
        for j in range(4):
            T_met[i, j] = T[i, j]
    if not is_pose(T, POSE_TOLERANCE) or not abs(px) + abs(py) + abs(pz) < math.inf:
        return IkStatus.NOT_A_POSE
    distance = math.sqrt(px * px + py * py + pz * pz)
    if distance < NEAR_POINT:
        return IkStatus.TOO_SHALLOW
    below = low <= distance - length_0 + LIMIT_TOLERANCE and distance - length_0 <= high + LIMIT_TOLERANCE
    above = low <= -distance - length_0 + LIMIT_TOLERANCE and -distance - length_0 <= high + LIMIT_TOLERANCE
    if not below and not above:
        return IkStatus.OUT_OF_REACH
    sign = 1.0 if below else -1.0
    if below and above and zx * px + zy * py + zz * pz < 0.0:
        sign = -1.0
    ux, uy, uz = sign * px / distance, sign * py / distance, sign * pz / distance
    cosine = zx * ux + zy * uy + zz * uz
    if 1.0 + cosine < NEAR_PARALLEL * NEAR_PARALLEL:
        return IkStatus.SINGULAR
    # R = 1 + [v]x + [v]x² / (1 + cos), v = z4 x u: the shortest rotation of z4 onto u.
    vx, vy, vz = zy * uz - zz * uy, zz * ux - zx * uz, zx * uy - zy * ux
    k = 1.0 / (1.0 + cosine)
    for j in range(3):
        a, b, c = T[0, j], T[1, j], T[2, j]
        wx, wy, wz = vy * c - vz * b, vz * a - vx * c, vx * b - vy * a
        T_met[0, j] = a + wx + k * (vy * wz - vz * wy)
        T_met[1, j] = b + wy + k * (vz * wx - vx * wz)
        T_met[2, j] = c + wz + k * (vx * wy - vy * wx)
    return IkStatus.SOLVED


@kernel(INVERSE)
def inverse_nearest(arm: Array, T: Array, q_near: Array, q: Array) -> int:
    """As `inverse`, of the pose nearest to T that the arm can meet: what a motion of the tip goes by.

    The tip comes to T's position, and its roll; where the shaft points is given by that.
    """
    T_met = stack_matrix(4, 4)
    n0, n1, n2, n3 = q_near[0], q_near[1], q_near[2], q_near[3]
    n4, n5, n6, n7 = q_near[4], q_near[5], q_near[6], q_near[7]
    status = nearest_pose(arm, T, T_met)
    if status != 0:
        q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7] = n0, n1, n2, n3, n4, n5, n6, n7
        return int(status)
    return int(inverse(arm, T_met, q_near, q))
