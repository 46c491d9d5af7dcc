"""Control laws: what the joints are asked, from where they are and where they should be.

A law is a kernel with the signature LAW, called once a cycle between the set-point and the guard. It reads the sample
(measured and set-point fields are filled in) and writes the command, which holds the set-point when it is called.
"""

import numpy as np
from numba.core import types

from controller.guard import JOINT_COMMAND
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from kinematics.dynamics import friction_effort, gravity_effort
from telemetry.sample import MAX_AXES, SAMPLE

__all__ = ["LAW", "joint_pd", "joint_pd_parameters"]

LAW = types.void(array_of(ARM), types.float64[::1], array_of(SAMPLE), array_of(JOINT_COMMAND))
"""law(arm, parameters, sample, command): position, velocity (joint space), effort, kp and kd (actuator space)."""

GRAVITY, FRICTION, KP, KD = 0, 1, 2, 2 + MAX_AXES


def joint_pd_parameters(kp: list[float], kd: list[float], *, gravity: bool, friction: bool) -> Array:
    """Return the parameters of `joint_pd`: its gains per axis and what it compensates."""
    parameters = np.zeros(2 + 2 * MAX_AXES)
    parameters[GRAVITY], parameters[FRICTION] = gravity, friction
    parameters[KP : KP + len(kp)] = kp
    parameters[KD : KD + len(kd)] = kd
    return parameters


@kernel(LAW)
def joint_pd(arm: Array, parameters: Array, sample: Array, command: Array) -> None:
    """Joint PD, carried out by the motor controllers at their own rate, with gravity and friction fed forward.

    Both are taken at the set-point: it has no noise, and where the arm follows it is the same.
    """
    s = sample[0]
    c = command[0]
    gravity_effort(arm, c.position[:], s.setpoint_effort[:])
    friction_effort(arm, c.velocity[:], c.effort[:])
    for i in range(MAX_AXES):
        c.effort[i] = parameters[GRAVITY] * s.setpoint_effort[i] + parameters[FRICTION] * c.effort[i]
        c.kp[i] = parameters[KP + i]
        c.kd[i] = parameters[KD + i]
