"""Efforts that a client asks for, on top of the control law's command; and the arm let free, which asks for none."""

from numba.core import types

from controller.guard.records import JOINT_COMMAND
from controller.motion.setpoint import MOTION, Mode, first_axis, past_axis
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import MAX_AXES, SAMPLE

__all__ = ["add_effort", "ease_law"]

DAMPING = 0.1  # part of the law's kd that slows an axis which effort or a hand moves: it does not run away

_EFFORT = int(Mode.EFFORT)
_MOTION, _ARM, _COMMAND, _SAMPLE = array_of(MOTION), array_of(ARM), array_of(JOINT_COMMAND), array_of(SAMPLE)
_i8 = types.int64


@kernel(_i8(_MOTION, _ARM, _i8, _i8))
def _is_driven(motion: Array, arm: Array, i: int, free: int) -> int:
    """Return 1 where effort, or a hand, moves an axis."""
    if free:
        return 1
    m = motion[0]
    group = 0 if i < past_axis(motion, arm, 0) else 1
    return int(m.mode[group] == _EFFORT and first_axis(arm, group) <= i and i < past_axis(motion, arm, group))


@kernel(types.void(_MOTION, _ARM, _COMMAND, _i8))
def ease_law(motion: Array, arm: Array, command: Array, free: int) -> None:
    """Before the law: an axis that effort moves has no velocity of its own, whose friction the law would overcome."""
    if not free and motion[0].mode[0] != _EFFORT and motion[0].mode[1] != _EFFORT:
        return
    for i in range(arm[0].n_axes):
        if _is_driven(motion, arm, i, free):
            command[0].velocity[i] = 0.0


@kernel(types.void(_MOTION, _ARM, _SAMPLE, _COMMAND, _i8))
def add_effort(motion: Array, arm: Array, sample: Array, command: Array, free: int) -> None:
    """After the law: add the efforts asked for, and take the stiffness away where nothing else needs it.

    Gains belong to actuators: one that also moves an axis which holds its position, or stands at its wall, keeps its
    stiffness; since the set-point of a driven axis is where it was measured, that hardly holds it back. The damping is
    worked out here, from the measured velocity: the motor controllers damp the velocity of the way between two
    set-points, which is the measured one. The sum is clamped to the axes' limits.

    Args:
        motion: MOTION, (1,).
        arm: ARM, (1,).
        sample: The cycle's sample, SAMPLE, (1,).
        command: What the law asks, JOINT_COMMAND, (1,); changed in place.
        free: 1: the whole arm is let free.
    """
    m = motion[0]
    a = arm[0]
    c = command[0]
    if not free and m.mode[0] != _EFFORT and m.mode[1] != _EFFORT:
        return
    n = a.n_axes
    for i in range(n):
        if _is_driven(motion, arm, i, free):
            c.effort[i] = min(max(c.effort[i] + m.effort[i], -a.effort_max[i]), a.effort_max[i])
            c.velocity[i] = m.qd[i]
    for k in range(MAX_AXES):
        stiff, driven = 0, 0
        speed = 0.0
        for i in range(n):
            if a.joint_from_actuator[i, k] != 0.0:
                if _is_driven(motion, arm, i, free) and not m.at_wall[i]:
                    driven = 1
                else:
                    stiff = 1
            speed += a.actuator_from_joint[k, i] * sample[0].measured_velocity[i]
        if driven:
            for i in range(n):
                if _is_driven(motion, arm, i, free):
                    c.effort[i] -= a.actuator_from_joint[k, i] * DAMPING * c.kd[k] * speed
            if not stiff:
                c.kp[k] = 0.0
                c.kd[k] = 0.0
    for i in range(n):
        if _is_driven(motion, arm, i, free):
            c.effort[i] = min(max(c.effort[i], -a.effort_max[i]), a.effort_max[i])
