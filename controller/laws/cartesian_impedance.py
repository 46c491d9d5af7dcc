"""Cartesian impedance: the tip is drawn to its set-point by a spring and a damper, along and about chosen axes.

    effort = J' (K e + D (v_set - v)) + gravity + friction - null-space damping

(Hogan, J. Dyn. Sys. Meas. Control 107, 1985; Ott, Cartesian Impedance Control of Redundant and Flexible-Joint Robots,
2008). The transposed Jacobian needs no inverse, so the law holds in singular poses too. Contacts meet the tip's
stiffness and not the joints': the motor controllers keep only `device_damping` of their kd and nothing of their kp.
"""

from typing import Any, NamedTuple

from kinematics.chain import forward_jacobian
from kinematics.compiled import Array
from kinematics.dynamics import cholesky_solve, gravity_effort
from kinematics.frames import vector_from_rotation
from kinematics.stack import stack_matrix

__all__ = ["CartesianImpedance", "cartesian_impedance"]

Three = tuple[float, float, float]
N = 8  # axes in a record
REGULAR = 1e-4  # added to J J' in the projection on the null space: at a singularity its damping fades


class CartesianImpedance(NamedTuple):
    """Parameters of `cartesian_impedance`; the axes are x, y, z of `in_tip_frame`."""

    stiffness: Three = (500.0, 500.0, 500.0)  # N/m
    damping: Three = (40.0, 40.0, 40.0)  # N·s/m
    angular_stiffness: Three = (0.5, 0.5, 0.5)  # N·m/rad
    angular_damping: Three = (0.005, 0.005, 0.005)  # N·m·s/rad
    in_tip_frame: float = 0.0  # 0: axes of the base; 1: of the tip's set-point
    jaw_stiffness: float = 0.3  # N·m/rad, of axes past the joints
    jaw_damping: float = 0.003  # N·m·s/rad
    null_damping: float = 1.0  # N·m·s/rad, of motions that leave the tip where it is; for arms with more than 6 joints
    device_damping: float = 0.1  # part of kd that the motor controllers keep: it damps at their own, higher rate


def spring(axes: Array, stiffness: Three, damping: Three, e: Array, v: Array, force: Array) -> None:
    """Write force = A (K A' e + D A' v), (3,), with the axes' directions as the columns of A."""
    for i in range(3):
        force[i] = 0.0
    for k in range(3):
        along, rate = 0.0, 0.0
        for i in range(3):
            along += axes[i, k] * e[i]
            rate += axes[i, k] * v[i]
        pull = stiffness[k] * along + damping[k] * rate
        for i in range(3):
            force[i] += axes[i, k] * pull


def damp_null_space(J: Array, qd: Array, n: int, damping: float, effort: Array) -> None:
    """Subtract damping times the part of qd that does not move the tip: qd - J' (J J' + r I)^-1 J qd."""
    A = stack_matrix(8, 8)
    rows = stack_matrix(1, 8)
    z = rows[0]
    for i in range(6):
        z[i] = 0.0
        for k in range(n):
            z[i] += J[i, k] * qd[k]
        for j in range(i + 1):
            A[i, j] = REGULAR if i == j else 0.0
            for k in range(n):
                A[i, j] += J[i, k] * J[j, k]
    if cholesky_solve(A, z, 6) == 0:
        for k in range(n):
            free = qd[k]
            for i in range(6):
                free -= J[i, k] * z[i]
            effort[k] -= damping * free


def cartesian_impedance(arm: Array, p: CartesianImpedance, memory: Array, sample: Any, command: Any) -> None:  # noqa: ANN401
    """Write the efforts of a spring and a damper at the tip; axes past the joints get a spring of their own."""
    J = stack_matrix(6, 8)
    T = stack_matrix(4, 4)
    R = stack_matrix(3, 3)
    axes = stack_matrix(3, 3)
    rows = stack_matrix(8, 8)
    e, turn, v, w, force, moment = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    gravity_here, gravity_set = rows[6], rows[7]
    a0 = arm[0]
    n = a0.n_joints

    forward_jacobian(arm, sample.measured_position[:], T, J)
    for i in range(3):
        e[i] = sample.setpoint_pose[i, 3] - T[i, 3]
        v[i], w[i] = 0.0, 0.0
        for k in range(n):
            rate = sample.setpoint_velocity[k] - sample.measured_velocity[k]
            v[i] += J[i, k] * rate
            w[i] += J[i + 3, k] * rate
        for j in range(3):
            R[i, j] = 0.0
            for k in range(3):
                R[i, j] += sample.setpoint_pose[i, k] * T[j, k]
            axes[i, j] = sample.setpoint_pose[i, j] if p.in_tip_frame > 0.5 else (1.0 if i == j else 0.0)
    vector_from_rotation(R, turn)
    spring(axes, p.stiffness, p.damping, e, v, force)
    spring(axes, p.angular_stiffness, p.angular_damping, turn, w, moment)

    # Joint PD feeds gravity forward at the set-point; a soft arm may be elsewhere.
    gravity_effort(arm, sample.measured_position[:], gravity_here)
    gravity_effort(arm, sample.setpoint_position[:], gravity_set)
    for k in range(n):
        effort = gravity_here[k] - gravity_set[k]
        for i in range(3):
            effort += J[i, k] * force[i] + J[i + 3, k] * moment[i]
        command.effort[k] += effort
    if n > 6:
        damp_null_space(J, sample.measured_velocity[:], n, p.null_damping, command.effort[:])

    # An axis past the joints, as a jaw, may share its motors with them: its stiffness, too, has to come from here.
    for k in range(n, a0.n_axes):
        command.effort[k] += p.jaw_stiffness * (sample.setpoint_position[k] - sample.measured_position[k])
        command.effort[k] += p.jaw_damping * (sample.setpoint_velocity[k] - sample.measured_velocity[k])
    for k in range(N):
        command.kp[k] = 0.0
        command.kd[k] *= p.device_damping
