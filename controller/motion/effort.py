"""Efforts that a client asks for, put on top of the control law's command."""

from numba.core import types

from controller.guard import JOINT_COMMAND
from controller.motion.setpoint import MOTION, Mode, first_axis, past_axis
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import MAX_AXES

__all__ = ["add_effort", "ease_law"]

DAMPING = 0.3  # part of the law's kd that slows an axis which effort moves: it does not run away

_EFFORT = int(Mode.EFFORT)
_MOTION, _ARM, _COMMAND = array_of(MOTION), array_of(ARM), array_of(JOINT_COMMAND)


@kernel(types.int64(_MOTION, _ARM, types.int64))
def _is_driven(motion: Array, arm: Array, i: int) -> int:
    """Return 1 where effort moves an axis."""
    m = motion[0]
    group = 0 if i < past_axis(motion, arm, 0) else 1
    return int(m.mode[group] == _EFFORT and first_axis(arm, group) <= i and i < past_axis(motion, arm, group))


@kernel(types.void(_MOTION, _ARM, _COMMAND))
def ease_law(motion: Array, arm: Array, command: Array) -> None:
    """Before the law: an axis that effort moves has no velocity of its own, whose friction the law would overcome."""
    if motion[0].mode[0] != _EFFORT and motion[0].mode[1] != _EFFORT:
        return
    for i in range(arm[0].n_axes):
        if _is_driven(motion, arm, i):
            command[0].velocity[i] = 0.0


@kernel(types.void(_MOTION, _ARM, _COMMAND))
def add_effort(motion: Array, arm: Array, command: Array) -> None:
    """After the law: add the efforts asked for, and take the stiffness away where nothing else needs it.

    The sum is clamped to the axis's limit. Gains belong to actuators: one that also moves an axis which holds its
    position, or stands at its wall, keeps its stiffness; since the set-point of a driven axis is where it was measured,
    that hardly holds it back. The set-point's velocity is the measured one but for DAMPING.

    Args:
        motion: MOTION, (1,).
        arm: ARM, (1,).
        command: What the law asks, JOINT_COMMAND, (1,); changed in place.
    """
    m = motion[0]
    a = arm[0]
    c = command[0]
    if m.mode[0] != _EFFORT and m.mode[1] != _EFFORT:
        return
    for i in range(a.n_axes):
        if not _is_driven(motion, arm, i):
            continue
        c.effort[i] = min(max(c.effort[i] + m.effort[i], -a.effort_max[i]), a.effort_max[i])
        if not m.at_wall[i]:
            c.velocity[i] = (1.0 - DAMPING) * m.qd[i]
    for k in range(MAX_AXES):
        stiff = 0
        for i in range(a.n_axes):
            if a.joint_from_actuator[i, k] != 0.0 and (m.at_wall[i] or not _is_driven(motion, arm, i)):
                stiff = 1
        if not stiff:
            c.kp[k] = 0.0
