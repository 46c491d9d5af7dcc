"""Computed torque: the model's efforts for the acceleration that is wanted, PD in that acceleration.

    effort = M(q) a + C(q, qd) qd + g(q) + friction(qd_set),   a = qdd_set + 2 w (qd_set - qd) + w² (q_set - q)

with w the bandwidth (Siciliano et al., Robotics, 2009, section 8.5.2). What the model leaves over, as what a motor
sees of cables, is for the motor controllers' own PD, whose gains are the configured ones times `device_share`.
"""

from typing import Any, NamedTuple

from kinematics.compiled import Array
from kinematics.dynamics import friction_effort, inverse_dynamics
from kinematics.stack import stack_matrix

__all__ = ["ComputedTorque", "computed_torque"]

N = 8  # axes in a record


class ComputedTorque(NamedTuple):
    """Parameters of `computed_torque`."""

    bandwidth: float = 15.0  # rad/s; 0: feed-forward alone
    at_measured: float = 0.0  # 0: the model is evaluated at the set-point, which has no noise; 1: where the arm is
    device_share: float = 1.0  # part of kp and kd that the motor controllers keep


def computed_torque(arm: Array, p: ComputedTorque, memory: Array, sample: Any, command: Any) -> None:  # noqa: ANN401
    """Write the efforts of a computed-torque law for the joints; axes past them stay joint PD's.

    memory: [0:8] the set-point's velocity in the tick before, [8] that tick's deadline in ns.
    """
    rows = stack_matrix(5, 8)
    q, qd, a, effort, friction = rows[0], rows[1], rows[2], rows[3], rows[4]
    a0 = arm[0]
    n = a0.n_joints
    dt = (sample.deadline_ns - memory[8]) * 1e-9
    known = memory[8] != 0.0 and 0.0 < dt < 0.1
    for i in range(N):
        q[i], qd[i], a[i] = 0.0, 0.0, 0.0
        if i < n:
            at = sample.setpoint_position[i]
            rate = sample.setpoint_velocity[i]
            most = a0.acceleration_max[i]  # a stream that jerks must not become an impulse
            if known:
                a[i] = min(max((rate - memory[i]) / dt, -most), most)
            a[i] += 2.0 * p.bandwidth * (rate - sample.measured_velocity[i])
            a[i] += p.bandwidth * p.bandwidth * (at - sample.measured_position[i])
            q[i] = sample.measured_position[i] if p.at_measured > 0.5 else at
            qd[i] = sample.measured_velocity[i] if p.at_measured > 0.5 else rate
    inverse_dynamics(arm, q, qd, a, effort)
    friction_effort(arm, sample.setpoint_velocity[:], friction)
    for i in range(n):
        command.effort[i] = effort[i] + friction[i]
    for i in range(N):
        command.kp[i] *= p.device_share
        command.kd[i] *= p.device_share
        memory[i] = sample.setpoint_velocity[i]
    memory[8] = sample.deadline_ns
