"""Velocities of an arm whose straight instrument is in a trocar: the other half of `kinematics.remote_center`."""

import math

from numba.core import types

from kinematics.chain import ARMS, IkStatus
from kinematics.compiled import Array, Part, kernel
from kinematics.damped_least_squares import TRIANGLE, Triangle21, factor, gram, pose_error, substitute
from kinematics.inverse import FORWARD_JACOBIAN_PART, LEAST_DAMPING, along, pull_to_middle
from kinematics.shaft import project, shaft_offset
from kinematics.stack import stack_matrix

__all__ = ["VELOCITY_THROUGH", "velocity_through"]

f8, i8 = types.float64, types.int64
VECTOR = f8[::1]

SINGULAR_SHARE = 1e-4  # of the largest pivot of J Jᵀ: with a smaller one the motion is damped
SINGULAR_DAMPING = 1e-5  # λ² at a singularity, as a share of the largest pivot


@kernel(f8(TRIANGLE))
def _damping(F: Triangle21) -> float:
    """Return λ² for a factor of J Jᵀ: zero where its pivots are even, growing as the smallest fades.

    Nakamura and Hanafusa (ASME JDSMC 108, 1986) with the smallest pivot in the place of the manipulability, whose
    square is the pivots' product; a pivot bounds the least squared singular value from above.
    """
    least_inverse = min(min(min(F[0], F[2]), min(F[5], F[9])), min(F[14], F[20]))
    greatest_inverse = max(max(max(F[0], F[2]), max(F[5], F[9])), max(F[14], F[20]))
    largest, share = 1.0 / least_inverse, least_inverse / greatest_inverse
    if share >= SINGULAR_SHARE:
        return 0.0
    return SINGULAR_DAMPING * largest * (1.0 - share / SINGULAR_SHARE) ** 2


VELOCITY_THROUGH = i8(FORWARD_JACOBIAN_PART, ARMS, f8, f8, f8, VECTOR, VECTOR, VECTOR, f8, VECTOR, VECTOR, VECTOR)


@kernel(VELOCITY_THROUGH)
def velocity_through(
    forward_jacobian: Part,
    arm: Array,
    period: float,
    centering: float,
    gain: float,
    shaft: Array,
    trocar: Array,
    trocar_velocity: Array,
    depth_min: float,
    tip: Array,
    q: Array,
    qd: Array,
) -> int:
    """Write the joint velocities that move the tip and leave the shaft in the trocar.

    With r = c - p and s the shaft's direction, R v = r (see `remote_center`) must go on to hold while the tip and the
    trocar move: ω = r × (ṙ + ḣ s) / L² + roll n, ḣ = (L/h) dL/dt, n = -r/L. What the shaft is off is turned back
    at `gain`. The joint velocities are damped least squares; all are scaled down alike when one is too fast, so that
    the direction of the motion, and with it the remote centre, is kept; a joint at a limit takes no part.

    Args:
        forward_jacobian: Part, FORWARD_JACOBIAN.
        arm: The record, (1,).
        period: Of the cycle, s: no joint is sent past where it must stop within one.
        centering: Gain of the null space's pull towards the middle of the joints' ranges, as in `inverse.track`.
        gain: Of the shaft's correction, 1/s; below 1/period.
        shaft: Point and unit direction in the tip's frame, (6,).
        trocar: In the base's frame, (3,).
        trocar_velocity: Its own, (3,), m/s.
        depth_min: Least depth of the tip beyond the trocar, m, above zero.
        tip: Wanted: the tip's linear velocity in the base's axes, m/s, and the rate of roll about the line from the
            trocar to the tip, rad/s, (4,).
        q: Joints, (8,).
        qd: Out: joint velocities, (8,); zero past the joints.

    Returns:
        IkStatus: SOLVED; STEP_LIMITED, slower than wanted; JOINT_LIMIT, a joint at its limit was left out, so the
        motion is not quite the wanted; TOO_SHALLOW, the part of the motion out of the trocar is left out; NOT_A_POSE,
        something is not finite (qd is zero).
    """
    n_joints = arm[0].n_joints
    T, G = stack_matrix(4, 4), stack_matrix(4, 4)
    J, pull = stack_matrix(6, 8), stack_matrix(1, 8)[0]
    low, high = stack_matrix(1, 8)[0], stack_matrix(1, 8)[0]
    total = gain + centering
    for i in range(8):
        qd[i] = 0.0
        total += q[i]
    for i in range(3):
        total += trocar[i] + trocar_velocity[i] + tip[i]
    if not math.isfinite(total + tip[3]):
        return IkStatus.NOT_A_POSE
    status = IkStatus.SOLVED
    forward_jacobian(arm, q, T, J)
    rx, ry, rz = trocar[0] - T[0, 3], trocar[1] - T[1, 3], trocar[2] - T[2, 3]
    vx, vy, vz = tip[0], tip[1], tip[2]
    ax, ay, az = shaft_offset(shaft)
    L2 = rx * rx + ry * ry + rz * rz
    h2 = L2 - (ax * ax + ay * ay + az * az)
    if not h2 > 0.0:
        return IkStatus.SINGULAR
    h, L = math.sqrt(h2), math.sqrt(L2)
    nx, ny, nz = -rx / L, -ry / L, -rz / L
    wx, wy, wz = vx - trocar_velocity[0], vy - trocar_velocity[1], vz - trocar_velocity[2]
    deeper = wx * nx + wy * ny + wz * nz
    if h + deeper * period < depth_min and deeper < 0.0:
        # As much of the way out as is left, and the rest across it.
        status = IkStatus.TOO_SHALLOW
        left = min(max((h - depth_min) / period, 0.0), -deeper) + deeper
        vx, vy, vz = vx - left * nx, vy - left * ny, vz - left * nz
        wx, wy, wz = wx - left * nx, wy - left * ny, wz - left * nz
        deeper -= left
    # ṙ = -w, dL/dt = deeper.
    hd = L / h * deeper
    sx = T[0, 0] * shaft[3] + T[0, 1] * shaft[4] + T[0, 2] * shaft[5]
    sy = T[1, 0] * shaft[3] + T[1, 1] * shaft[4] + T[1, 2] * shaft[5]
    sz = T[2, 0] * shaft[3] + T[2, 1] * shaft[4] + T[2, 2] * shaft[5]
    tx, ty, tz = hd * sx - wx, hd * sy - wy, hd * sz - wz
    ox = (ry * tz - rz * ty) / L2 + tip[3] * nx
    oy = (rz * tx - rx * tz) / L2 + tip[3] * ny
    oz = (rx * ty - ry * tx) / L2 + tip[3] * nz
    if project(shaft, trocar, 0.0, T, G) != IkStatus.SOLVED:
        return IkStatus.SINGULAR
    off = pose_error(G, T)
    e = (vx, vy, vz, ox + gain * off[3], oy + gain * off[4], oz + gain * off[5])
    pull_to_middle(arm, centering, 1.0, q, pull)
    for i in range(n_joints):
        rate = arm[0].velocity_max[i]
        low[i] = min(max((arm[0].position_min[i] - q[i]) / period, -rate), 0.0)
        high[i] = max(min((arm[0].position_max[i] - q[i]) / period, rate), 0.0)
    for _ in range(n_joints):
        A, rest = gram(J, LEAST_DAMPING, pull, e)
        F = factor(A)
        damping = _damping(F)
        if damping > 0.0:
            A, rest = gram(J, damping, pull, e)
            F = factor(A)
        y = substitute(F, rest)
        blocked = False
        for i in range(n_joints):
            qd[i] = pull[i] + along(J, i, y)
            if (qd[i] > 0.0 and high[i] <= 0.0) or (qd[i] < 0.0 and low[i] >= 0.0):
                blocked = True
                pull[i] = 0.0
                J[0, i], J[1, i], J[2, i], J[3, i], J[4, i], J[5, i] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        if not blocked:
            break
        if status == IkStatus.SOLVED:
            status = IkStatus.JOINT_LIMIT
    scale = 1.0
    for i in range(n_joints):
        if qd[i] > high[i]:
            scale = min(scale, high[i] / qd[i])
        elif qd[i] < low[i]:
            scale = min(scale, low[i] / qd[i])
    if scale < 1.0 and status == IkStatus.SOLVED:
        status = IkStatus.STEP_LIMITED
    for i in range(n_joints):
        qd[i] *= scale
    return status
