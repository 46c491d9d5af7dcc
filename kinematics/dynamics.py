"""The arm's dynamics by the controller's model: efforts of a motion, mass matrix, accelerations, friction.

All kernels read the table, so they fit every arm; `docs/dynamics.md` has the formulas. In all of them vectors have 8
entries in the order of the arm's axes, and the array of results is none of the arguments unless that is said.
"""

import math
from typing import Any

import numpy as np
from numba.core import types

from kinematics.chain import ARMS, joint_transform, product
from kinematics.compiled import kernel
from kinematics.stack import stack_matrix

__all__ = [
    "BIAS",
    "EFFORT",
    "FORWARD_DYNAMICS",
    "INVERSE_DYNAMICS",
    "MASS_MATRIX",
    "bias_effort",
    "cholesky_solve",
    "forward_dynamics",
    "friction_effort",
    "gravity_effort",
    "inverse_dynamics",
    "mass_matrix",
]

Array = np.ndarray[Any, Any]
f8 = types.float64

EFFORT = types.void(ARMS, f8[::1], f8[::1])
"""(arm, q or qd, effort): write one effort per joint."""

INVERSE_DYNAMICS = types.void(ARMS, f8[::1], f8[::1], f8[::1], f8[::1])
"""(arm, q, qd, qdd, effort): write one effort per joint."""

BIAS = types.void(ARMS, f8[::1], f8[::1], f8[::1])
"""(arm, q, qd, effort): write one effort per joint."""

MASS_MATRIX = types.void(ARMS, f8[::1], f8[:, ::1])
"""(arm, q, M): write the mass matrix, (8, 8)."""

FORWARD_DYNAMICS = types.int64(ARMS, f8[::1], f8[::1], f8[::1], f8[::1])
"""(arm, q, qd, effort, qdd): write one acceleration per joint. Returns 0, or the joint that moves nothing."""


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
    """Write the joint efforts that overcome friction at a velocity: coulomb tanh(v / smoothing) + viscous v.

    The hyperbolic tangent stands for the sign: a compensation that jumps at rest would chatter. v is each joint's
    velocity, or each actuator's where the arm's file places friction there; then the actuators' efforts come back to
    the joints through the transpose of the coupling.

    Args:
        arm: The record, (1,), dtype ARM.
        qd: Velocities, (8,), rad/s and m/s.
        effort: Out: (8,), N·m and N; it never brakes (effort . qd >= 0). Zero past the axes. Not the array qd.
    """
    n = arm[0].n_axes
    for i in range(len(effort)):
        effort[i] = 0.0
    if not arm[0].friction_at_actuators:
        for i in range(n):
            v = qd[i]
            effort[i] = arm[0].coulomb[i] * math.tanh(v / arm[0].friction_smoothing[i]) + arm[0].viscous[i] * v
        return
    for a in range(n):
        v = 0.0
        for i in range(n):
            v += arm[0].actuator_from_joint[a, i] * qd[i]
        f = arm[0].coulomb[a] * math.tanh(v / arm[0].friction_smoothing[a]) + arm[0].viscous[a] * v
        for i in range(n):
            effort[i] += arm[0].actuator_from_joint[a, i] * f


@kernel(types.void(ARMS, f8[::1], f8[::1], f8[::1], f8, f8[::1]))
def _newton_euler(arm: Array, q: Array, qd: Array, qdd: Array, qdd_factor: float, effort: Array) -> None:
    """Write the efforts for the accelerations qdd_factor * qdd: the recursion of Luh, Walker and Paul (1980).

    Outward with each link's angular velocity w, its derivative wd and the acceleration a of its frame's origin, all in
    the link's own frame; gravity is an acceleration of the base upwards. Inward with force and moment.
    """
    n_joints = arm[0].n_joints
    n_axes = arm[0].n_axes
    link = stack_matrix(8, 19)  # per link: R and p of T_{i-1,i}, force and moment about its origin; the rotors' effort
    for i in range(n_axes):
        rotors = 0.0
        for j in range(n_axes):
            rotors += arm[0].rotor_inertia[i, j] * qdd[j]
        link[i, 18] = qdd_factor * rotors
    wx, wy, wz = 0.0, 0.0, 0.0
    wdx, wdy, wdz = 0.0, 0.0, 0.0
    ax, ay, az = -arm[0].gravity[0], -arm[0].gravity[1], -arm[0].gravity[2]
    for i in range(n_joints):
        r00, r01, r02, px, r10, r11, r12, py, r20, r21, r22, pz = joint_transform(arm, i, q[i])
        v, acceleration = qd[i], qdd_factor * qdd[i]
        # The acceleration of this frame's origin, were the joint at rest: a + wd x p + w x (w x p).
        ux, uy, uz = wy * pz - wz * py, wz * px - wx * pz, wx * py - wy * px
        bx = ax + wdy * pz - wdz * py + wy * uz - wz * uy
        by = ay + wdz * px - wdx * pz + wz * ux - wx * uz
        bz = az + wdx * py - wdy * px + wx * uy - wy * ux
        ax = r00 * bx + r10 * by + r20 * bz
        ay = r01 * bx + r11 * by + r21 * bz
        az = r02 * bx + r12 * by + r22 * bz
        ux, uy, uz = wx, wy, wz
        wx = r00 * ux + r10 * uy + r20 * uz
        wy = r01 * ux + r11 * uy + r21 * uz
        wz = r02 * ux + r12 * uy + r22 * uz
        ux, uy, uz = wdx, wdy, wdz
        wdx = r00 * ux + r10 * uy + r20 * uz
        wdy = r01 * ux + r11 * uy + r21 * uz
        wdz = r02 * ux + r12 * uy + r22 * uz
        if arm[0].prismatic[i]:
            ax += 2.0 * v * wy
            ay -= 2.0 * v * wx
            az += acceleration
        else:
            wdx += v * wy
            wdy -= v * wx
            wdz += acceleration
            wz += v
        # Force m (a + wd x c + w x (w x c)), moment I wd + w x I w + c x force.
        m, cx, cy, cz = arm[0].mass[i], arm[0].com[i, 0], arm[0].com[i, 1], arm[0].com[i, 2]
        ux, uy, uz = wy * cz - wz * cy, wz * cx - wx * cz, wx * cy - wy * cx
        fx = m * (ax + wdy * cz - wdz * cy + wy * uz - wz * uy)
        fy = m * (ay + wdz * cx - wdx * cz + wz * ux - wx * uz)
        fz = m * (az + wdx * cy - wdy * cx + wx * uy - wy * ux)
        I = arm[0].inertia[i]  # noqa: E741
        ixx, iyy, izz, ixy, ixz, iyz = I[0, 0], I[1, 1], I[2, 2], I[0, 1], I[0, 2], I[1, 2]
        hx = ixx * wx + ixy * wy + ixz * wz
        hy = ixy * wx + iyy * wy + iyz * wz
        hz = ixz * wx + iyz * wy + izz * wz
        link[i, 0], link[i, 1], link[i, 2] = r00, r01, r02
        link[i, 3], link[i, 4], link[i, 5] = r10, r11, r12
        link[i, 6], link[i, 7], link[i, 8] = r20, r21, r22
        link[i, 9], link[i, 10], link[i, 11] = px, py, pz
        link[i, 12], link[i, 13], link[i, 14] = fx, fy, fz
        link[i, 15] = ixx * wdx + ixy * wdy + ixz * wdz + wy * hz - wz * hy + cy * fz - cz * fy
        link[i, 16] = ixy * wdx + iyy * wdy + iyz * wdz + wz * hx - wx * hz + cz * fx - cx * fz
        link[i, 17] = ixz * wdx + iyz * wdy + izz * wdz + wx * hy - wy * hx + cx * fy - cy * fx
    for i in range(n_joints, len(effort)):
        effort[i] = link[i, 18] if i < n_axes else 0.0
    fx, fy, fz, nx, ny, nz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(n_joints):
        i = n_joints - 1 - k
        fx, fy, fz = fx + link[i, 12], fy + link[i, 13], fz + link[i, 14]
        nx, ny, nz = nx + link[i, 15], ny + link[i, 16], nz + link[i, 17]
        effort[i] = link[i, 18] + (fz if arm[0].prismatic[i] else nz)
        ux, uy, uz = fx, fy, fz
        fx = link[i, 0] * ux + link[i, 1] * uy + link[i, 2] * uz
        fy = link[i, 3] * ux + link[i, 4] * uy + link[i, 5] * uz
        fz = link[i, 6] * ux + link[i, 7] * uy + link[i, 8] * uz
        ux, uy, uz = nx, ny, nz
        px, py, pz = link[i, 9], link[i, 10], link[i, 11]
        nx = link[i, 0] * ux + link[i, 1] * uy + link[i, 2] * uz + py * fz - pz * fy
        ny = link[i, 3] * ux + link[i, 4] * uy + link[i, 5] * uz + pz * fx - px * fz
        nz = link[i, 6] * ux + link[i, 7] * uy + link[i, 8] * uz + px * fy - py * fx


@kernel(INVERSE_DYNAMICS)
def inverse_dynamics(arm: Array, q: Array, qd: Array, qdd: Array, effort: Array) -> None:
    """Write the joint efforts of a motion: M(q) qdd + C(q, qd) qd + g(q), without friction.

    M includes the motors' rotors, as inertia only: their gyroscopic moments on the links are left out.

    Args:
        arm: The record, (1,), dtype ARM.
        q: Positions, (8,), rad and m.
        qd: Velocities, (8,).
        qdd: Accelerations, (8,).
        effort: Out: (8,), N·m and N; past the joints only the rotors'. May be the array qdd.
    """
    _newton_euler(arm, q, qd, qdd, 1.0, effort)


@kernel(BIAS)
def bias_effort(arm: Array, q: Array, qd: Array, effort: Array) -> None:
    """Write the joint efforts of a motion without acceleration: C(q, qd) qd + g(q).

    Args:
        arm: The record, (1,), dtype ARM.
        q: Positions, (8,), rad and m.
        qd: Velocities, (8,).
        effort: Out: (8,), N·m and N. Zero past the joints. May be the array qd.
    """
    _newton_euler(arm, q, qd, qd, 0.0, effort)


@kernel(MASS_MATRIX)
def mass_matrix(arm: Array, q: Array, M: Array) -> None:
    """Write the mass matrix: kinetic energy is qd^T M(q) qd / 2.

    By composite rigid bodies (Walker and Orin 1982; Featherstone 2008, section 6.2), everything seen from the base's
    origin: M_ij = s_j . (I_i s_i) for j <= i, where s is a joint's unit twist and I_i the inertia of all that joint i
    moves. The motors' rotors are added, seen at the joints.

    Args:
        arm: The record, (1,), dtype ARM.
        q: Positions, (8,), rad and m.
        M: Out: (8, 8), symmetric; kg m², kg m and kg by the joints' kinds. Past the joints only the rotors'.
    """
    n_joints = arm[0].n_joints
    link = stack_matrix(8, 16)  # per joint: its twist [v, w] about the base's origin; mass, first moment, inertia there
    A = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for i in range(n_joints):
        A = product(A, joint_transform(arm, i, q[i]))
        zx, zy, zz = A[2], A[6], A[10]
        if arm[0].prismatic[i]:
            link[i, 0], link[i, 1], link[i, 2] = zx, zy, zz
            link[i, 3], link[i, 4], link[i, 5] = 0.0, 0.0, 0.0
        else:
            link[i, 0], link[i, 1], link[i, 2] = A[7] * zz - A[11] * zy, A[11] * zx - A[3] * zz, A[3] * zy - A[7] * zx
            link[i, 3], link[i, 4], link[i, 5] = zx, zy, zz
        m, cx, cy, cz = arm[0].mass[i], arm[0].com[i, 0], arm[0].com[i, 1], arm[0].com[i, 2]
        x = A[0] * cx + A[1] * cy + A[2] * cz + A[3]
        y = A[4] * cx + A[5] * cy + A[6] * cz + A[7]
        z = A[8] * cx + A[9] * cy + A[10] * cz + A[11]
        I = arm[0].inertia[i]  # noqa: E741
        ixx, iyy, izz, ixy, ixz, iyz = I[0, 0], I[1, 1], I[2, 2], I[0, 1], I[0, 2], I[1, 2]
        # R I, then (R I) R^T and the parallel axes' part.
        b00 = A[0] * ixx + A[1] * ixy + A[2] * ixz
        b01 = A[0] * ixy + A[1] * iyy + A[2] * iyz
        b02 = A[0] * ixz + A[1] * iyz + A[2] * izz
        b10 = A[4] * ixx + A[5] * ixy + A[6] * ixz
        b11 = A[4] * ixy + A[5] * iyy + A[6] * iyz
        b12 = A[4] * ixz + A[5] * iyz + A[6] * izz
        b20 = A[8] * ixx + A[9] * ixy + A[10] * ixz
        b21 = A[8] * ixy + A[9] * iyy + A[10] * iyz
        b22 = A[8] * ixz + A[9] * iyz + A[10] * izz
        link[i, 6], link[i, 7], link[i, 8], link[i, 9] = m, m * x, m * y, m * z
        link[i, 10] = b00 * A[0] + b01 * A[1] + b02 * A[2] + m * (y * y + z * z)
        link[i, 11] = b10 * A[4] + b11 * A[5] + b12 * A[6] + m * (x * x + z * z)
        link[i, 12] = b20 * A[8] + b21 * A[9] + b22 * A[10] + m * (x * x + y * y)
        link[i, 13] = b00 * A[4] + b01 * A[5] + b02 * A[6] - m * x * y
        link[i, 14] = b00 * A[8] + b01 * A[9] + b02 * A[10] - m * x * z
        link[i, 15] = b10 * A[8] + b11 * A[9] + b12 * A[10] - m * y * z
    for i in range(M.shape[0]):
        for j in range(M.shape[1]):
            M[i, j] = arm[0].rotor_inertia[i, j]
    m, x, y, z = 0.0, 0.0, 0.0, 0.0
    ixx, iyy, izz, ixy, ixz, iyz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(n_joints):
        i = n_joints - 1 - k
        m, x, y, z = m + link[i, 6], x + link[i, 7], y + link[i, 8], z + link[i, 9]
        ixx, iyy, izz = ixx + link[i, 10], iyy + link[i, 11], izz + link[i, 12]
        ixy, ixz, iyz = ixy + link[i, 13], ixz + link[i, 14], iyz + link[i, 15]
        vx, vy, vz, wx, wy, wz = link[i, 0], link[i, 1], link[i, 2], link[i, 3], link[i, 4], link[i, 5]
        # Momentum of the composite body at the joint's unit twist: linear m v + w x S, angular I w + S x v.
        fx = m * vx + wy * z - wz * y
        fy = m * vy + wz * x - wx * z
        fz = m * vz + wx * y - wy * x
        nx = ixx * wx + ixy * wy + ixz * wz + y * vz - z * vy
        ny = ixy * wx + iyy * wy + iyz * wz + z * vx - x * vz
        nz = ixz * wx + iyz * wy + izz * wz + x * vy - y * vx
        for j in range(i + 1):
            value = link[j, 0] * fx + link[j, 1] * fy + link[j, 2] * fz
            value += link[j, 3] * nx + link[j, 4] * ny + link[j, 5] * nz
            value += arm[0].rotor_inertia[i, j]
            M[i, j] = value
            M[j, i] = value


@kernel(types.int64(f8[:, ::1], f8[::1], types.int64))
def cholesky_solve(M: Array, x: Array, n: int) -> int:
    """Solve M y = x for the first n entries in place: x becomes y, M's lower triangle its Cholesky factor.

    Args:
        M: Symmetric, positive definite, (8, 8). Its lower triangle is read and overwritten.
        x: The right-hand side, (8,); out: the solution.
        n: How many rows and columns count.

    Returns:
        0, or the number (from 1) of the row at which M turned out not to be positive definite; x is then undefined.
    """
    for j in range(n):
        total = M[j, j]
        for k in range(j):
            total -= M[j, k] * M[j, k]
        if not total > 0.0:  # nan too
            return j + 1
        root = math.sqrt(total)
        M[j, j] = root
        for i in range(j + 1, n):
            total = M[i, j]
            for k in range(j):
                total -= M[i, k] * M[j, k]
            M[i, j] = total / root
    for i in range(n):
        total = x[i]
        for k in range(i):
            total -= M[i, k] * x[k]
        x[i] = total / M[i, i]
    for r in range(n):
        i = n - 1 - r
        total = x[i]
        for k in range(i + 1, n):
            total -= M[k, i] * x[k]
        x[i] = total / M[i, i]
    return 0


@kernel(FORWARD_DYNAMICS)
def forward_dynamics(arm: Array, q: Array, qd: Array, effort: Array, qdd: Array) -> int:
    """Write the accelerations that joint efforts give, without friction: M(q)^-1 (effort - C(q, qd) qd - g(q)).

    Args:
        arm: The record, (1,), dtype ARM.
        q: Positions, (8,), rad and m.
        qd: Velocities, (8,).
        effort: Efforts, (8,), N·m and N.
        qdd: Out: (8,). Zero for an axis that has neither a link nor a rotor's inertia. Not the array effort.

    Returns:
        0, or the number (from 1) of the joint that moves nothing, so that its acceleration is undefined.
    """
    M = stack_matrix(8, 8)
    mass_matrix(arm, q, M)
    _newton_euler(arm, q, qd, qd, 0.0, qdd)
    n = arm[0].n_joints
    while n < arm[0].n_axes and M[n, n] > 0.0:
        n += 1
    for i in range(n):
        qdd[i] = effort[i] - qdd[i]
    return cholesky_solve(M, qdd, n)
