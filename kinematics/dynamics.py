"""The efforts that gravity and friction ask of the joints, by the controller's model of the arm."""

import math
from typing import Any

import numpy as np
from numba.core import types

from kinematics.chain import ARMS, joint_transform, product
from kinematics.compiled import kernel

__all__ = ["EFFORT", "friction_effort", "gravity_effort"]

Array = np.ndarray[Any, Any]

EFFORT = types.void(ARMS, types.float64[::1], types.float64[::1])
"""(arm, q or qd, effort): write one effort per joint."""


@kernel(EFFORT)
def gravity_effort(arm: Array, q: Array, effort: Array) -> None:
    """Write the joint efforts that hold the arm still against gravity: dV/dq of its potential energy V.

    effort_i = -g . (z_i x (S_i - M_i p_i)) for a revolute joint with axis z_i through p_i, and -g . z_i M_i for a
    prismatic one, where M_i is the mass outward of the joint and S_i its first moment about the base's origin. The
    total moment is summed first and then reduced joint by joint, so nothing has to be stored per link.

    Args:
        arm: The record, (1,), dtype ARM.
        q: Positions, (8,), rad and m.
        effort: Out: (8,), N·m and N; a positive effort moves its joint up. Zero past the joints. Not the array q.
    """
    gx, gy, gz = arm[0].gravity[0], arm[0].gravity[1], arm[0].gravity[2]
    n_joints = arm[0].n_joints
    M, Sx, Sy, Sz = 0.0, 0.0, 0.0, 0.0
    A = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for i in range(n_joints):
        A = product(A, joint_transform(arm, i, q[i]))
        m, cx, cy, cz = arm[0].mass[i], arm[0].com[i, 0], arm[0].com[i, 1], arm[0].com[i, 2]
        M += m
        Sx += m * (A[0] * cx + A[1] * cy + A[2] * cz + A[3])
        Sy += m * (A[4] * cx + A[5] * cy + A[6] * cz + A[7])
        Sz += m * (A[8] * cx + A[9] * cy + A[10] * cz + A[11])
    effort[:] = 0.0
    A = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for i in range(n_joints):
        A = product(A, joint_transform(arm, i, q[i]))
        if arm[0].prismatic[i]:
            effort[i] = -M * (gx * A[2] + gy * A[6] + gz * A[10])
        else:
            x, y, z = Sx - M * A[3], Sy - M * A[7], Sz - M * A[11]
            effort[i] = -(gx * (A[6] * z - A[10] * y) + gy * (A[10] * x - A[2] * z) + gz * (A[2] * y - A[6] * x))
        m, cx, cy, cz = arm[0].mass[i], arm[0].com[i, 0], arm[0].com[i, 1], arm[0].com[i, 2]
        M -= m
        Sx -= m * (A[0] * cx + A[1] * cy + A[2] * cz + A[3])
        Sy -= m * (A[4] * cx + A[5] * cy + A[6] * cz + A[7])
        Sz -= m * (A[8] * cx + A[9] * cy + A[10] * cz + A[11])


@kernel(EFFORT)
def friction_effort(arm: Array, qd: Array, effort: Array) -> None:
    """Write the joint efforts that overcome friction at a velocity: coulomb tanh(qd / smoothing) + viscous qd.

    The hyperbolic tangent stands for the sign: a compensation that jumps at rest would chatter.

    Args:
        arm: The record, (1,), dtype ARM.
        qd: Velocities, (8,), rad/s and m/s.
        effort: Out: (8,), N·m and N, in the direction of motion. Zero past the axes.
    """
    effort[:] = 0.0
    for i in range(arm[0].n_axes):
        v = qd[i]
        effort[i] = arm[0].coulomb[i] * math.tanh(v / arm[0].friction_smoothing[i]) + arm[0].viscous[i] * v
