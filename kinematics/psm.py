"""The da Vinci PSM with a two-axis wrist: inverse kinematics in closed form.

Family "psm", modified Denavit-Hartenberg: yaw and pitch cross at the remote centre of motion (RCM), which is the
base's origin; the insertion runs along a line through it; roll about that line; wrist pitch; wrist yaw at a distance
`a` beyond it. With theta_i = q_i + offset_i, s_i and c_i its sine and cosine, and L = d_3 + d_4 the wrist centre's
depth below the RCM (q_3 - 15.6 mm for either generation), the frames are

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

from numba.core import types
from numba.core.types.containers import Tuple, UniTuple

from kinematics.chain import INVERSE, IkStatus
from kinematics.closed_form import (
    BRANCHES,
    LIMIT_TOLERANCE,
    NEAR_PARALLEL,
    NEAR_POINT,
    POSE_TOLERANCE,
    TURN,
    Pose12,
    copy_within,
    last_frame,
)
from kinematics.compiled import Array, kernel
from kinematics.frames import is_pose, is_rotation
from kinematics.trigonometry import atan2

__all__ = ["branches", "inverse"]

f8 = types.float64
Six = tuple[float, float, float, float, float, float]
_SOLVED = int(IkStatus.SOLVED)


@kernel(Tuple((types.int64, *[f8] * 6))(UniTuple(f8, 12), types.boolean, *[UniTuple(f8, 6)] * 4, f8, f8))
def _search(
    frame_6: Pose12, is_valid: bool, near: Six, low: Six, high: Six, offset: Six, a: float, depth_0: float
) -> tuple[int, float, float, float, float, float, float]:
    """Return the status, and the joints nearest to `near` that put frame 6 there, of all branches; `near` on failure.

    Args:
        frame_6: x6, y6, z6 and p6.
        is_valid: Whether all numbers are finite and the pose's last row is 0 0 0 1.
        near: Positions of the joints.
        low: Limits of the joints.
        high: See low.
        offset: Of the joints.
        a: Distance of the wrist's axes.
        depth_0: L - q_3.
    """
    xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz = frame_6
    n1, n2, n3, n4, n5, n6 = near
    l1, l2, l3, l4, l5, l6 = low
    h1, h2, h3, h4, h5, h6 = high
    o1, o2, _, o4, o5, o6 = offset
    is_rigid = is_rotation(xx, xy, xz, yx, yy, yz, zx, zy, zz, POSE_TOLERANCE)
    if not is_valid or not is_rigid:
        return IkStatus.NOT_A_POSE, n1, n2, n3, n4, n5, n6
    reach = max(abs(l3 + depth_0), abs(h3 + depth_0)) + abs(a) + LIMIT_TOLERANCE
    if px * px + py * py + pz * pz > reach * reach:
        return IkStatus.OUT_OF_REACH, n1, n2, n3, n4, n5, n6
    # No direction is made a unit vector: an arc tangent does not ask for it, and the divisions would be waited for.
    along = px * zx + py * zy + pz * zz
    vx, vy, vz = px - along * zx, py - along * zy, pz - along * zz
    norm = math.sqrt(vx * vx + vy * vy + vz * vz)
    if norm < NEAR_POINT:
        return IkStatus.SINGULAR, n1, n2, n3, n4, n5, n6
    wx, wy, wz = vy * zz - vz * zy, vz * zx - vx * zz, vx * zy - vy * zx  # v x z6
    s6, c6 = -(xx * wx + xy * wy + xz * wz), xx * vx + xy * vy + xz * vz
    lx, ly, lz = norm * along * zx, norm * along * zy, norm * along * zz

    nearest, reachable, shallow, singular = math.inf, False, False, False
    b1, b2, b3, b4, b5, b6 = n1, n2, n3, n4, n5, n6
    # Where every wrist pitch within the limits has cos(q5) > 0, z3 . x5 > 0 tells a wrist that is turned over from one
    # that is not, without an arc tangent.
    never_over = abs(o5 + 0.5 * math.pi) + max(abs(l5), abs(h5)) < 0.5 * math.pi - LIMIT_TOLERANCE
    facing = 1.0
    for _ in range(2):  # x5 = v / |v| and its opposite
        across = facing * norm - a  # p5 = across x5 + along z6
        distance_5 = math.sqrt(across * across + along * along)
        shallow = shallow or distance_5 < NEAR_POINT
        below = 1.0
        for _ in range(2):  # wrist below the RCM and above it
            q3 = below * distance_5 - depth_0
            if distance_5 >= NEAR_POINT and q3 >= l3 - LIMIT_TOLERANCE and q3 <= h3 + LIMIT_TOLERANCE:
                reachable = True
                f, g = below * across, below * along  # z3 = (f x5 + g z6) / |p5|
                q5 = math.nan
                if f > 0.0 or not never_over:
                    q5 = copy_within(atan2(-f, -g) - o5, n5, l5, h5)
                if not math.isnan(q5):
                    k = facing * across
                    bx, by, bz = k * vx + lx, k * vy + ly, k * vz + lz  # |v| p5
                    horizontal, depth = math.sqrt(bx * bx + bz * bz), below * norm * distance_5
                    sine = (wx * bx + wz * bz) * by - wy * horizontal * horizontal
                    cosine = depth * (wz * bx - wx * bz)
                    theta_2, singular_2 = atan2(horizontal, -below * by), horizontal < NEAR_PARALLEL * abs(depth)
                    side = 1.0
                    for _ in range(2):  # the two signs of s2
                        q2 = copy_within(theta_2 - o2, n2, l2, h2)
                        if not math.isnan(q2):
                            toward, turn = side * below, side * facing
                            q1 = copy_within(atan2(toward * bz, toward * bx) - o1, n1, l1, h1)
                            q4 = copy_within(atan2(turn * sine, turn * cosine) - o4, n4, l4, h4)
                            q6 = copy_within(atan2(facing * s6, facing * c6) - o6, n6, l6, h6)
                            e1, e2, e4, e5, e6 = q1 - n1, q2 - n2, q4 - n4, q5 - n5, q6 - n6
                            distance = e1 * e1 + e2 * e2 + e4 * e4 + e5 * e5 + e6 * e6
                            if singular_2:
                                singular = True
                            elif distance < nearest:  # never when an angle is nan
                                nearest = distance
                                b1, b2, b3, b4, b5, b6 = q1, q2, min(max(q3, l3), h3), q4, q5, q6
                        side, theta_2 = -side, -theta_2
            below = -below
        facing = -facing
    status = IkStatus.OUT_OF_REACH
    if nearest < math.inf:
        status = IkStatus.SOLVED
    elif singular:
        status = IkStatus.SINGULAR
    elif shallow:
        status = IkStatus.TOO_SHALLOW
    elif reachable:
        status = IkStatus.JOINT_LIMIT
    return status, b1, b2, b3, b4, b5, b6


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
    frame_6 = last_frame(arm, T)
    bottom = abs(T[3, 0]) + abs(T[3, 1]) + abs(T[3, 2]) + abs(T[3, 3] - 1.0)
    low, high, offset = arm[0].position_min, arm[0].position_max, arm[0].offset
    a, depth_0 = arm[0].a[5], offset[2] + arm[0].d[2] + arm[0].d[3]
    l1, l2, l3, l4, l5, l6 = low[0], low[1], low[2], low[3], low[4], low[5]
    h1, h2, h3, h4, h5, h6 = high[0], high[1], high[2], high[3], high[4], high[5]
    o1, o2, o3, o4, o5, o6 = offset[0], offset[1], offset[2], offset[3], offset[4], offset[5]
    xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz = frame_6
    # Zero times a number that is not finite is nan.
    finite = 0.0 * (n1 + n2 + n3 + n4 + n5 + n6 + n7 + n8) + 0.0 * (px + py + pz)
    is_valid = finite == 0.0 and bottom <= POSE_TOLERANCE

    # First the branch that an instrument in use is on: x5 = v / |v|, wrist below the RCM, s2 < 0. Where the limits
    # leave no other (a PSM's do not past 31 mm of insertion), the search is saved, which would take as long again. No
    # direction is made a unit vector: an arc tangent does not ask for it, and the divisions would be waited for.
    along = px * zx + py * zy + pz * zz
    vx, vy, vz = px - along * zx, py - along * zy, pz - along * zz
    norm = math.sqrt(vx * vx + vy * vy + vz * vz)
    wx, wy, wz = vy * zz - vz * zy, vz * zx - vx * zz, vx * zy - vy * zx  # v x z6
    across, m = norm - a, norm * along  # p5 = across x5 + along z6
    distance_5 = math.sqrt(across * across + along * along)
    bx, by, bz = across * vx + m * zx, across * vy + m * zy, across * vz + m * zz  # |v| p5
    horizontal, depth, q3 = math.sqrt(bx * bx + bz * bz), norm * distance_5, distance_5 - depth_0
    # With the wrist above the RCM the insertion would be outside, with x5 turned round the wrist pitch, with s2 > 0 the
    # pitch.
    is_only = a >= 0.0 and -distance_5 - depth_0 < l3 - LIMIT_TOLERANCE and across > 0.0
    is_only = is_only and abs(o5 + 0.5 * math.pi) + max(abs(l5), abs(h5)) < 0.5 * math.pi - LIMIT_TOLERANCE
    is_only = is_only and h2 + o2 < -LIMIT_TOLERANCE and l2 + o2 > LIMIT_TOLERANCE - math.pi
    is_within = q3 >= l3 - LIMIT_TOLERANCE and q3 <= h3 + LIMIT_TOLERANCE
    is_unique = norm >= NEAR_POINT and distance_5 >= NEAR_POINT and horizontal >= NEAR_PARALLEL * depth
    is_rigid = is_rotation(xx, xy, xz, yx, yy, yz, zx, zy, zz, POSE_TOLERANCE)
    status, q1, q2, q4, q5, q6 = _SOLVED, math.nan, math.nan, math.nan, math.nan, math.nan
    if is_valid and is_rigid and is_only and is_within and is_unique:
        sine, cosine = wy * horizontal * horizontal - (wx * bx + wz * bz) * by, depth * (wx * bz - wz * bx)
        q1 = copy_within(atan2(-bz, -bx) - o1, n1, l1, h1)
        q2 = copy_within(-atan2(horizontal, -by) - o2, n2, l2, h2)
        q3 = min(max(q3, l3), h3)
        q4 = copy_within(atan2(sine, cosine) - o4, n4, l4, h4)
        q5 = copy_within(atan2(-across, -along) - o5, n5, l5, h5)
        q6 = copy_within(atan2(-(xx * wx + xy * wy + xz * wz), xx * vx + xy * vy + xz * vz) - o6, n6, l6, h6)
    if math.isnan(q1 + q2 + q4 + q5 + q6):
        near, lows, highs = (n1, n2, n3, n4, n5, n6), (l1, l2, l3, l4, l5, l6), (h1, h2, h3, h4, h5, h6)
        offsets = (o1, o2, o3, o4, o5, o6)
        status, q1, q2, q3, q4, q5, q6 = _search(frame_6, is_valid, near, lows, highs, offsets, a, depth_0)
    q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7] = q1, q2, q3, q4, q5, q6, n7, n8
    return status


@kernel(BRANCHES)
def branches(arm: Array, T: Array, Q: Array) -> int:
    """Write every joint position that brings the tip to T, within the limits or not, and return how many there are.

    Args:
        arm: The record, (1,), dtype ARM.
        T: T_base_tip, (4, 4).
        Q: Out: (MAX_BRANCHES, 8). The first half has every angle in [-pi, pi], the second half the same branches in
            the same order with the roll one turn on, towards zero and past it; so every roll in ]-2 pi, 2 pi[ is
            there. Entries past the six joints are zero.

    Returns:
        16, or fewer in a singular pose (the branches that are not unique are left out), 0 when T is no pose.
    """
    Q[:, :] = 0.0
    offset = arm[0].offset
    a, depth_0 = arm[0].a[5], offset[2] + arm[0].d[2] + arm[0].d[3]
    xx, xy, xz, _, _, _, zx, zy, zz, px, py, pz = last_frame(arm, T)
    if not is_pose(T, POSE_TOLERANCE):
        return 0
    along = px * zx + py * zy + pz * zz
    vx, vy, vz = px - along * zx, py - along * zy, pz - along * zz
    norm = math.sqrt(vx * vx + vy * vy + vz * vz)
    if not (norm >= NEAR_POINT and norm < math.inf):
        return 0
    wx, wy, wz = vy * zz - vz * zy, vz * zx - vx * zz, vx * zy - vy * zx
    s6, c6 = -(xx * wx + xy * wy + xz * wz), xx * vx + xy * vy + xz * vz
    count, facing = 0, 1.0
    for _ in range(2):
        across = facing * norm - a
        distance_5 = math.sqrt(across * across + along * along)
        below = 1.0
        for _ in range(2):
            k, m = facing * across, norm * along
            bx, by, bz = k * vx + m * zx, k * vy + m * zy, k * vz + m * zz
            horizontal, depth = math.sqrt(bx * bx + bz * bz), below * norm * distance_5
            sine = (wx * bx + wz * bz) * by - wy * horizontal * horizontal
            cosine = depth * (wz * bx - wx * bz)
            side = 1.0
            for _ in range(2):
                if distance_5 >= NEAR_POINT and horizontal >= NEAR_PARALLEL * abs(depth):
                    theta_1 = atan2(side * below * bz, side * below * bx)
                    theta_4 = atan2(side * facing * sine, side * facing * cosine)
                    Q[count, 0] = copy_within(theta_1 - offset[0], 0.0, -math.pi, math.pi)
                    Q[count, 1] = copy_within(atan2(side * horizontal, -below * by) - offset[1], 0.0, -math.pi, math.pi)
                    Q[count, 2] = below * distance_5 - depth_0
                    Q[count, 3] = copy_within(theta_4 - offset[3], 0.0, -math.pi, math.pi)
                    Q[count, 4] = copy_within(
                        atan2(-below * across, -below * along) - offset[4], 0.0, -math.pi, math.pi
                    )
                    Q[count, 5] = copy_within(atan2(facing * s6, facing * c6) - offset[5], 0.0, -math.pi, math.pi)
                    count += 1
                side = -side
            below = -below
        facing = -facing
    for i in range(count):
        for j in range(6):
            Q[count + i, j] = Q[i, j]
        Q[count + i, 3] -= math.copysign(TURN, Q[i, 3])
    return 2 * count
