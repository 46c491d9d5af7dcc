"""Forward kinematics and Jacobian of any serial chain.

These kernels read the table, so they fit every arm; `kinematics.generated` makes the same functions for one arm, three
times faster. In all of them `q` has 8 entries in the order of the arm's axes, rad and m, those past the joints
(the jaw) unused; `T` is T_base_tip, (4, 4); nothing is allocated.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.compiled import array_of, kernel
from kinematics.description import ARM
from kinematics.trigonometry import sincos

__all__ = [
    "ARMS",
    "FORWARD",
    "FORWARD_JACOBIAN",
    "INVERSE",
    "JACOBIAN",
    "IkStatus",
    "forward",
    "forward_jacobian",
    "jacobian",
    "joint_transform",
    "product",
]

Array = np.ndarray[Any, Any]
Pose12 = tuple[float, float, float, float, float, float, float, float, float, float, float, float]
f8 = types.float64

ARMS = array_of(ARM)
"""Numba's type of an arm's record."""

FORWARD = types.void(ARMS, f8[::1], f8[:, ::1])
"""(arm, q, T): write T_base_tip."""

JACOBIAN = types.void(ARMS, f8[::1], f8[:, ::1])
"""(arm, q, J): write the geometric Jacobian, (6, 8)."""

FORWARD_JACOBIAN = types.void(ARMS, f8[::1], f8[:, ::1], f8[:, ::1])
"""(arm, q, T, J): write both."""

INVERSE = types.int64(ARMS, f8[:, ::1], f8[::1], f8[::1])
"""(arm, T, q_near, q): write the joints that bring the tip to T, nearest to q_near. Returns IkStatus."""


class IkStatus(IntEnum):
    """How an inverse kinematics ended."""

    SOLVED = 0
    OUT_OF_REACH = 1
    """No branch has an insertion within its limits; of a numerical answer: no motion of the joints brings it nearer."""
    JOINT_LIMIT = 2
    """A branch exists, but another joint would be outside its limits; or a joint at its limit would have to go on."""
    SINGULAR = 3
    """The joints that reach the pose are not unique, or nearly not."""
    TOO_SHALLOW = 4
    """The wrist's centre (of an endoscope, the tip) would be at the remote centre of motion."""
    NOT_A_POSE = 5
    """T is no rigid pose, or T or q_near is not finite."""
    ORIENTATION = 6
    """An arm of fewer than six joints cannot turn the tip so at that place."""
    NOT_CONVERGED = 7
    """A search ended without an answer: there may be none, or it was not found."""
    STEP_LIMITED = 8
    """The joints cannot get there in one period at their velocity limits; they are as near as they can be."""


@kernel(UniTuple(f8, 12)(ARMS, types.int64, f8))
def joint_transform(arm: Array, i: int, q: float) -> Pose12:
    """Return T_{i-1,i} between joint frames at a joint position: the upper three rows of the matrix."""
    p = arm[0].placement[i]
    if arm[0].prismatic[i]:
        return (
            p[0],
            p[1],
            p[2],
            p[3] + q * p[2],
            p[4],
            p[5],
            p[6],
            p[7] + q * p[6],
            p[8],
            p[9],
            p[10],
            p[11] + q * p[10],
        )
    s, c = sincos(q)
    return (
        c * p[0] + s * p[1],
        c * p[1] - s * p[0],
        p[2],
        p[3],
        c * p[4] + s * p[5],
        c * p[5] - s * p[4],
        p[6],
        p[7],
        c * p[8] + s * p[9],
        c * p[9] - s * p[8],
        p[10],
        p[11],
    )


@kernel(UniTuple(f8, 12)(UniTuple(f8, 12), UniTuple(f8, 12)))
def product(A: Pose12, B: Pose12) -> Pose12:
    """Return the product of two poses, each given as the upper three rows of its matrix."""
    return (
        A[0] * B[0] + A[1] * B[4] + A[2] * B[8],
        A[0] * B[1] + A[1] * B[5] + A[2] * B[9],
        A[0] * B[2] + A[1] * B[6] + A[2] * B[10],
        A[0] * B[3] + A[1] * B[7] + A[2] * B[11] + A[3],
        A[4] * B[0] + A[5] * B[4] + A[6] * B[8],
        A[4] * B[1] + A[5] * B[5] + A[6] * B[9],
        A[4] * B[2] + A[5] * B[6] + A[6] * B[10],
        A[4] * B[3] + A[5] * B[7] + A[6] * B[11] + A[7],
        A[8] * B[0] + A[9] * B[4] + A[10] * B[8],
        A[8] * B[1] + A[9] * B[5] + A[10] * B[9],
        A[8] * B[2] + A[9] * B[6] + A[10] * B[10],
        A[8] * B[3] + A[9] * B[7] + A[10] * B[11] + A[11],
    )


@kernel(UniTuple(f8, 12)(ARMS))
def tip_transform(arm: Array) -> Pose12:
    t = arm[0].tip
    return (
        t[0, 0],
        t[0, 1],
        t[0, 2],
        t[0, 3],
        t[1, 0],
        t[1, 1],
        t[1, 2],
        t[1, 3],
        t[2, 0],
        t[2, 1],
        t[2, 2],
        t[2, 3],
    )


@kernel(FORWARD)
def forward(arm: Array, q: Array, T: Array) -> None:
    """Write T_base_tip at the joint positions q.

    Args:
        arm: The record, (1,), dtype ARM.
        q: Positions, (8,), rad and m.
        T: Out: (4, 4).
    """
    A = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for i in range(arm[0].n_joints):
        A = product(A, joint_transform(arm, i, q[i]))
    A = product(A, tip_transform(arm))
    T[0, 0], T[0, 1], T[0, 2], T[0, 3] = A[0], A[1], A[2], A[3]
    T[1, 0], T[1, 1], T[1, 2], T[1, 3] = A[4], A[5], A[6], A[7]
    T[2, 0], T[2, 1], T[2, 2], T[2, 3] = A[8], A[9], A[10], A[11]
    T[3, 0], T[3, 1], T[3, 2], T[3, 3] = 0.0, 0.0, 0.0, 1.0


@kernel(UniTuple(f8, 12)(ARMS, f8[::1], f8[:, ::1]))
def _columns(arm: Array, q: Array, J: Array) -> Pose12:
    """Write the Jacobian and return the tip's pose, the upper three rows of its matrix."""
    n_joints = arm[0].n_joints
    A = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for i in range(n_joints):
        A = product(A, joint_transform(arm, i, q[i]))
        # For now the joint's origin and axis; both turn into the column once the tip is known.
        J[0, i], J[1, i], J[2, i] = A[3], A[7], A[11]
        J[3, i], J[4, i], J[5, i] = A[2], A[6], A[10]
    A = product(A, tip_transform(arm))
    for i in range(n_joints):
        zx, zy, zz = J[3, i], J[4, i], J[5, i]
        if arm[0].prismatic[i]:
            J[0, i], J[1, i], J[2, i] = zx, zy, zz
            J[3, i], J[4, i], J[5, i] = 0.0, 0.0, 0.0
        else:
            x, y, z = A[3] - J[0, i], A[7] - J[1, i], A[11] - J[2, i]
            J[0, i], J[1, i], J[2, i] = zy * z - zz * y, zz * x - zx * z, zx * y - zy * x
    for i in range(n_joints, J.shape[1]):
        for k in range(6):
            J[k, i] = 0.0
    return A


@kernel(FORWARD_JACOBIAN)
def forward_jacobian(arm: Array, q: Array, T: Array, J: Array) -> None:
    """Write T_base_tip and the geometric Jacobian at the joint positions q.

    J qd is the tip's twist: [velocity of the tip's origin, angular velocity], both in the base frame's axes.

    Args:
        arm: The record, (1,), dtype ARM.
        q: Positions, (8,), rad and m.
        T: Out: (4, 4).
        J: Out: (6, 8), linear rows first; columns past the joints are zero.
    """
    A = _columns(arm, q, J)
    T[0, 0], T[0, 1], T[0, 2], T[0, 3] = A[0], A[1], A[2], A[3]
    T[1, 0], T[1, 1], T[1, 2], T[1, 3] = A[4], A[5], A[6], A[7]
    T[2, 0], T[2, 1], T[2, 2], T[2, 3] = A[8], A[9], A[10], A[11]
    T[3, 0], T[3, 1], T[3, 2], T[3, 3] = 0.0, 0.0, 0.0, 1.0


@kernel(JACOBIAN)
def jacobian(arm: Array, q: Array, J: Array) -> None:
    """Write the geometric Jacobian at the joint positions q, (6, 8), as `forward_jacobian` does."""
    _columns(arm, q, J)
