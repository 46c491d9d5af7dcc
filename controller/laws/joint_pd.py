"""Joint PD with gravity and friction compensation: the law that every other one begins from and that stops the arm."""

import numpy as np
from numba.core import types

from controller.guard.records import JOINT_COMMAND
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from kinematics.dynamics import friction_effort, gravity_effort
from telemetry.sample import MAX_AXES, SAMPLE

__all__ = ["GAINS", "joint_pd", "make_gains"]

GAINS = np.dtype(
    [
        ("kp", "f8", (MAX_AXES,)),  # actuator space, N·m/rad or N/m
        ("kd", "f8", (MAX_AXES,)),
        ("gravity", "f8"),  # 1: compensated, 0: not
        ("friction", "f8"),
    ],
    align=True,
)


def make_gains(kp: list[float], kd: list[float], *, gravity: bool, friction: bool) -> Array:
    """Return the gains of `joint_pd`, GAINS, (1,)."""
    gains = np.zeros(1, GAINS)
    gains["kp"][0, : len(kp)] = kp
    gains["kd"][0, : len(kd)] = kd
    gains["gravity"], gains["friction"] = gravity, friction
    return gains


@kernel(types.void(array_of(ARM), array_of(GAINS), array_of(SAMPLE), array_of(JOINT_COMMAND)))
def joint_pd(arm: Array, gains: Array, sample: Array, command: Array) -> None:
    """Joint PD, carried out by the motor controllers at their own rate, with gravity and friction fed forward.

    Both are taken at the set-point: it has no noise, and where the arm follows it is the same.

    Args:
        arm: ARM, (1,).
        gains: GAINS, (1,).
        sample: SAMPLE, (1,); its setpoint_effort becomes the feed-forward effort.
        command: JOINT_COMMAND, (1,); holds the set-point.
    """
    s = sample[0]
    c = command[0]
    g = gains[0]
    gravity_effort(arm, c.position[:], s.setpoint_effort[:])
    friction_effort(arm, c.velocity[:], c.effort[:])
    for i in range(MAX_AXES):
        c.effort[i] = g.gravity * s.setpoint_effort[i] + g.friction * c.effort[i]
        s.setpoint_effort[i] = c.effort[i]
        c.kp[i] = g.kp[i]
        c.kd[i] = g.kd[i]
