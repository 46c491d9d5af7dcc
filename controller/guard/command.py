"""What the law asks: after this check it is safe to send."""

import numpy as np
from numba.core import types

from controller.catalogue import Code
from controller.guard.records import GUARD, JOINT_COMMAND, tell
from kinematics.compiled import Array, array_of, kernel
from telemetry.sample import MAX_AXES

__all__ = ["check_command"]

POSITION_TOLERANCE = 1e-6  # rad or m: rounding of a set-point that stands on its limit
STEP_MARGIN = 1.5  # a set-point may move so many times further in a cycle than at its velocity limit
VELOCITY_STEP = 2.0 * (1.0 + 1e-6)  # of the velocity limit: a raw stream may turn round at full speed
VELOCITY_STEPS = 4.0  # of the velocity limit: what the steps may add up to, leaking
VELOCITY_LEAK = 0.9  # per cycle; ten cycles in a row may each step by 0.4 of the limit, no more
SOFT_CYCLES = 100  # after the last command with little stiffness: the joint is still coming back to its set-point
SATURATED_CYCLES = 50  # so many clamped cycles in a row are a fault

_OK = int(Code.OK)
_NOT_FINITE, _POSITION, _STEP = int(Code.COMMAND_NOT_FINITE), int(Code.POSITION_LIMIT), int(Code.SETPOINT_STEP)
_VELOCITY, _ACCELERATION = int(Code.VELOCITY_LIMIT), int(Code.ACCELERATION_LIMIT)
_EFFORT, _FOLLOWING = int(Code.EFFORT_LIMIT), int(Code.FOLLOWING_ERROR)

_GUARD, _JOINT_COMMAND, _VECTOR, _i8 = array_of(GUARD), array_of(JOINT_COMMAND), types.float64[:], types.int64


@kernel(_i8(_JOINT_COMMAND, _GUARD, _i8))
def _fault_of(command: Array, guard: Array, limited: int) -> int:
    """Return 0, or what is wrong with a command by itself."""
    c = command[0]
    g = guard[0]
    for i in range(g.n_axes):
        finite = np.isfinite(c.position[i]) and np.isfinite(c.velocity[i]) and np.isfinite(c.effort[i])
        if not (finite and np.isfinite(c.kp[i]) and np.isfinite(c.kd[i]) and c.kp[i] >= 0.0 and c.kd[i] >= 0.0):
            return tell(guard, _NOT_FINITE, i, np.nan, 0.0)
    for i in range(g.n_axes):
        step = abs(c.position[i] - g.last_position[i])
        if step > STEP_MARGIN * g.velocity_max[i] * g.period:
            return tell(guard, _STEP, i, step, STEP_MARGIN * g.velocity_max[i] * g.period)
        if abs(c.velocity[i]) > STEP_MARGIN * g.velocity_max[i]:
            return tell(guard, _VELOCITY, i, abs(c.velocity[i]), STEP_MARGIN * g.velocity_max[i])
        step = abs(c.velocity[i] - g.last_velocity[i])
        if step > VELOCITY_STEP * g.velocity_max[i]:
            return tell(guard, _ACCELERATION, i, step / g.period, VELOCITY_STEP * g.velocity_max[i] / g.period)
        steps = VELOCITY_LEAK * g.velocity_steps[i] + step
        if steps > VELOCITY_STEPS * g.velocity_max[i]:
            return tell(guard, _ACCELERATION, i, steps / g.period, VELOCITY_STEPS * g.velocity_max[i] / g.period)
    if limited:
        for i in range(g.n_axes):
            # A joint that is outside its limit already, as after a push by hand, may come back but not go further.
            out = max(g.position_min[i] - c.position[i], c.position[i] - g.position_max[i])
            was = max(g.position_min[i] - g.last_position[i], g.last_position[i] - g.position_max[i])
            if out > POSITION_TOLERANCE and out > was:
                bound = g.position_max[i]
                if c.position[i] < g.position_min[i]:
                    bound = g.position_min[i]
                return tell(guard, _POSITION, i, c.position[i], bound)
    return _OK


@kernel(types.void(_GUARD, _JOINT_COMMAND))
def _bound_gains(guard: Array, command: Array) -> None:
    """Clamp the gains, so that no law makes the joint servo unstable; what is no gain becomes none."""
    g = guard[0]
    c = command[0]
    for i in range(MAX_AXES):
        if not (c.kp[i] >= 0.0 and c.kd[i] >= 0.0 and np.isfinite(c.kp[i]) and np.isfinite(c.kd[i])):
            c.kp[i] = 0.0
            c.kd[i] = 0.0
        c.kp[i] = min(c.kp[i], g.kp_max[i])
        c.kd[i] = min(c.kd[i], g.kd_max[i])


@kernel(types.void(_GUARD, _JOINT_COMMAND))
def _note_stiffness(guard: Array, command: Array) -> None:
    """Remember which joints a law holds softly, with all that they are coupled with."""
    g = guard[0]
    c = command[0]
    for i in range(g.n_axes):
        if c.kp[i] < g.kp_stiff[i]:
            for j in range(g.n_axes):
                if g.coupled[j] == g.coupled[i]:
                    g.soft[j] = max(g.soft[j], SOFT_CYCLES)


@kernel(_i8(_GUARD, _JOINT_COMMAND))
def _clamp_effort(guard: Array, command: Array) -> int:
    """Clamp efforts to the joints' limits, then scale those that their actuators cannot give; return the axis, or -1.

    Actuators that move several joints get the transposed coupling times the joints' efforts. What belongs together is
    scaled together, so that no actuator that was within its limit leaves it.
    """
    g = guard[0]
    c = command[0]
    n = g.n_axes
    clamped = -1
    for i in range(n):
        if abs(c.effort[i]) > g.effort_max[i]:
            c.effort[i] = min(max(c.effort[i], -g.effort_max[i]), g.effort_max[i])
            clamped = i
    for b in range(n):
        scale = 1.0
        for k in range(n):
            if g.coupled[k] == b:
                effort = 0.0
                for i in range(n):
                    effort += g.joint_from_actuator[i, k] * c.effort[i]
                if scale * abs(effort) > g.actuator_effort_max[k]:
                    scale = g.actuator_effort_max[k] / abs(effort)
        for i in range(n):
            if g.coupled[i] == b:
                c.effort[i] *= scale
    return clamped


@kernel(_i8(_GUARD, _JOINT_COMMAND, _VECTOR, _i8))
def check_command(guard: Array, command: Array, position: Array, limited: int) -> int:
    """Return 0, or what is wrong; after it the command is safe to send.

    A bad command becomes the last good set-point, at rest, with the last good effort. Too much effort is clamped, and
    is a fault when it stays; gains of more than four times the configured ones are clamped.

    Args:
        guard: Limits and memory, GUARD, (1,).
        command: What the law asks, JOINT_COMMAND, (1,); corrected in place.
        position: Measured joints, (8,), rad or m.
        limited: 1 once the joints know where they are; before it position limits mean nothing.
    """
    g = guard[0]
    c = command[0]
    code = _fault_of(command, guard, limited)
    _bound_gains(guard, command)
    _note_stiffness(guard, command)
    if code != _OK:
        for i in range(MAX_AXES):
            c.position[i] = g.last_position[i]
            c.velocity[i] = 0.0
            c.effort[i] = g.last_effort[i]
            g.last_velocity[i] = 0.0
            g.velocity_steps[i] = 0.0
        return code

    clamped = _clamp_effort(guard, command)
    if clamped >= 0:
        g.clamped += 1
        g.saturated += 1
    else:
        g.saturated = 0
    for i in range(MAX_AXES):
        step = abs(c.velocity[i] - g.last_velocity[i])
        g.velocity_steps[i] = VELOCITY_LEAK * g.velocity_steps[i] + step
        g.last_position[i] = c.position[i]
        g.last_velocity[i] = c.velocity[i]
        g.last_effort[i] = c.effort[i]

    for i in range(g.n_axes):
        error = abs(c.position[i] - position[i])
        if error > g.following_error[i]:
            return tell(guard, _FOLLOWING, i, error, g.following_error[i])
    if g.saturated >= SATURATED_CYCLES:
        return tell(guard, _EFFORT, clamped, abs(c.effort[clamped]), g.effort_max[clamped])
    return _OK
