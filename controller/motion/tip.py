"""What the joints shall do for the tip: twists by the damped inverse Jacobian, wrenches by its transpose."""

import math

from numba.core import types

from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM

__all__ = ["joint_efforts", "joint_rates", "turn_to_base"]

NEARLY_SINGULAR = 0.05  # a tip that all joints at full speed move at 5 % of its own: from here on the inverse is damped

_ARM, _f8 = array_of(ARM), types.float64
_row, _matrix = types.float64[:], types.float64[:, :]


@kernel(types.void(_row, _matrix))
def turn_to_base(x: Array, T: Array) -> None:
    """Turn a twist or a wrench, (6,), from the axes of the tip to those of the base; T is T_base_tip, (4, 4)."""
    for k in (0, 3):
        a, b, c = x[k], x[k + 1], x[k + 2]
        for i in range(3):
            x[k + i] = T[i, 0] * a + T[i, 1] * b + T[i, 2] * c


@kernel(_f8(_matrix, _f8))
def _factorise(L: Array, damping: float) -> float:
    """Replace the lower half of L, (6, 6), by the Cholesky factor of L + damping I; return the smallest pivot.

    The upper half, without the diagonal, is kept: it holds what the lower half was. So is the diagonal, by the caller.
    """
    smallest = math.inf
    for i in range(6):
        for j in range(i):
            total = L[j, i]
            for k in range(j):
                total -= L[i, k] * L[j, k]
            L[i, j] = total / L[j, j]
        pivot = L[i, i] + damping
        for k in range(i):
            pivot -= L[i, k] * L[i, k]
        smallest = min(smallest, pivot)
        L[i, i] = math.sqrt(max(pivot, 1e-30))
    return smallest


@kernel(types.void(_ARM, _matrix, _row, _f8, _f8, _matrix, _row))
def joint_rates(
    arm: Array, J: Array, twist: Array, linear_speed: float, angular_speed: float, scratch: Array, qd: Array
) -> None:
    """Write the joint velocities that move the tip with a twist, as nearly as the arm can.

    With A = S J W, S = 1 / the tip's own speeds and W = the joints' velocity limits, both sides count in parts of what
    they may do, and qd = W A' (A A' + d I)^-1 S twist is the least-squares answer, damped only near singularities
    (Y. Nakamura, H. Hanafusa, J. Dynamic Systems, Measurement and Control 108 (1986) 163-171): d makes the smallest
    pivot of A A', which bounds its smallest eigenvalue from above, at least NEARLY_SINGULAR^2. Where a joint would
    exceed its velocity limit, all are slowed down alike: the tip keeps its direction.

    Args:
        arm: ARM.
        J: Geometric Jacobian, (6, 8), linear rows first, base frame.
        twist: (6,), m/s and rad/s, base frame.
        linear_speed: The tip's own, m/s, above 0, finite.
        angular_speed: rad/s, likewise.
        scratch: (8, 8).
        qd: Out: (8,), rad/s or m/s; entries past the joints stay.
    """
    a = arm[0]
    n = a.n_joints
    diagonal, y = scratch[6], scratch[7]
    for i in range(6):
        row = 1.0 / linear_speed if i < 3 else 1.0 / angular_speed
        y[i] = row * twist[i]
        for j in range(i, 6):
            scale = row / linear_speed if j < 3 else row / angular_speed
            total = 0.0
            for k in range(n):
                total += J[i, k] * J[j, k] * a.velocity_max[k] * a.velocity_max[k]
            scratch[i, j] = scale * total
        diagonal[i] = scratch[i, i]
    pivot = _factorise(scratch, 0.0)
    least = NEARLY_SINGULAR * NEARLY_SINGULAR
    if pivot < least:
        for i in range(6):
            scratch[i, i] = diagonal[i]
        _factorise(scratch, least - max(pivot, 0.0))
    for i in range(6):
        for k in range(i):
            y[i] -= scratch[i, k] * y[k]
        y[i] /= scratch[i, i]
    for m in range(6):
        i = 5 - m
        for k in range(i + 1, 6):
            y[i] -= scratch[k, i] * y[k]
        y[i] /= scratch[i, i]
    excess = 1.0
    for k in range(n):
        total = 0.0
        for i in range(6):
            total += J[i, k] * y[i] / (linear_speed if i < 3 else angular_speed)
        part = a.velocity_max[k] * total
        qd[k] = a.velocity_max[k] * part
        excess = max(excess, abs(part))
    for k in range(n):
        qd[k] /= excess


@kernel(types.void(_ARM, _matrix, _row, _row))
def joint_efforts(arm: Array, J: Array, wrench: Array, effort: Array) -> None:
    """Write the joint efforts with which the tip exerts a wrench: J' wrench.

    Args:
        arm: ARM.
        J: Geometric Jacobian, (6, 8), base frame.
        wrench: [force, moment] at the tip, (6,), N and N·m, base frame.
        effort: Out: (8,), N·m or N; entries past the joints stay.
    """
    for k in range(arm[0].n_joints):
        total = 0.0
        for i in range(6):
            total += J[i, k] * wrench[i]
        effort[k] = total
