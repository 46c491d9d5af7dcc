"""The guard: the last thing that a command passes before it is sent. Pure, compiled, apart.

It knows nothing of the law or the motion that asked. It looks at the command, the feedback and the limits, and returns
a code: 0, or what is wrong. Where the command itself is at fault it replaces it by the last good set-point at rest, so
that what is sent is safe whatever the reaction to the code will be.
"""

import numpy as np
from numba.core import types

from controller.catalogue import CATALOGUE, Code
from kinematics.compiled import Array, array_of, kernel
from telemetry.sample import MAX_AXES

__all__ = ["GUARD", "JOINT_COMMAND", "REACTIONS", "arm_guard", "check_command", "check_feedback", "check_stream"]

JOINT_COMMAND = np.dtype(
    [
        ("position", "f8", (MAX_AXES,)),  # joint space, rad or m
        ("velocity", "f8", (MAX_AXES,)),
        ("effort", "f8", (MAX_AXES,)),  # feed-forward, N·m or N
        ("kp", "f8", (MAX_AXES,)),  # actuator space
        ("kd", "f8", (MAX_AXES,)),
    ],
    align=True,
)

GUARD = np.dtype(
    [
        # limits, set once
        ("n_axes", "i8"),
        ("period", "f8"),  # s
        ("feedback_timeout", "f8"),  # s
        ("position_min", "f8", (MAX_AXES,)),
        ("position_max", "f8", (MAX_AXES,)),
        ("velocity_max", "f8", (MAX_AXES,)),
        ("effort_max", "f8", (MAX_AXES,)),
        ("following_error", "f8", (MAX_AXES,)),
        # memory
        ("last_position", "f8", (MAX_AXES,)),  # the last set-point that passed
        ("last_effort", "f8", (MAX_AXES,)),
        ("saturated", "i8"),  # cycles in a row in which some effort was clamped
        ("clamped", "u8"),  # how often that happened at all
        ("axis", "i8"),  # which axis the newest code speaks of, or -1
    ],
    align=True,
)

POSITION_TOLERANCE = 1e-6  # rad or m: rounding of a set-point that stands on its limit
STEP_MARGIN = 1.5  # a set-point may move so many times further in a cycle than at its velocity limit
OVERSPEED_MARGIN = 1.5  # measured velocity: noise, and the overshoot of a tracking loop
SATURATED_CYCLES = 50  # so many clamped cycles in a row are a fault

REACTIONS = np.zeros(int(max(Code)) + 1, np.int64)
"""REACTIONS[code] is the stop category that the catalogue gives the code."""
for _code, _entry in CATALOGUE.items():
    REACTIONS[int(_code)] = int(_entry.reaction)

_OK = int(Code.OK)
_FEEDBACK_LOST, _FEEDBACK_NOT_FINITE = int(Code.FEEDBACK_LOST), int(Code.FEEDBACK_NOT_FINITE)
_NOT_FINITE, _POSITION, _STEP = int(Code.COMMAND_NOT_FINITE), int(Code.POSITION_LIMIT), int(Code.SETPOINT_STEP)
_VELOCITY, _EFFORT, _FOLLOWING = int(Code.VELOCITY_LIMIT), int(Code.EFFORT_LIMIT), int(Code.FOLLOWING_ERROR)
_STALE, _DEAD = int(Code.STREAM_STALE), int(Code.STREAM_DEAD)

_GUARD, _JOINT_COMMAND, _VECTOR = array_of(GUARD), array_of(JOINT_COMMAND), types.float64[:]


@kernel(types.void(_GUARD, _VECTOR))
def arm_guard(guard: Array, position: Array) -> None:
    """Start to watch from a set-point that is known to be good, shape (8,): at power-up, or after homing."""
    g = guard[0]
    for i in range(MAX_AXES):
        g.last_position[i] = position[i]
        g.last_effort[i] = 0.0
    g.saturated = 0
    g.axis = -1


@kernel(types.int64(_GUARD, types.int64, _VECTOR, _VECTOR))
def check_feedback(guard: Array, feedback_age: int, position: Array, velocity: Array) -> int:
    """Return 0, or what is wrong with the feedback.

    Args:
        guard: Limits and memory, GUARD, (1,).
        feedback_age: Cycles since fresh feedback came.
        position: Measured joints, (8,), rad or m.
        velocity: Measured joint velocities, (8,).
    """
    g = guard[0]
    g.axis = -1
    if feedback_age * g.period >= g.feedback_timeout - 1e-9:
        return _FEEDBACK_LOST
    for i in range(g.n_axes):
        if not (np.isfinite(position[i]) and np.isfinite(velocity[i])):
            g.axis = i
            return _FEEDBACK_NOT_FINITE
    for i in range(g.n_axes):
        if abs(velocity[i]) > OVERSPEED_MARGIN * g.velocity_max[i]:
            g.axis = i
            return _VELOCITY
    return _OK


@kernel(types.int64(types.int64, types.int64, types.int64))
def check_stream(age_ns: int, timeout_ns: int, dead_ns: int) -> int:
    """Return 0, or that the stream of servo commands is stale, or that its client must be dead."""
    if age_ns > dead_ns:
        return _DEAD
    if age_ns > timeout_ns:
        return _STALE
    return _OK


@kernel(types.int64(_JOINT_COMMAND, _GUARD, types.int64))
def _fault_of(command: Array, guard: Array, limited: int) -> int:
    """Return 0, or what is wrong with a command by itself."""
    c = command[0]
    g = guard[0]
    for i in range(g.n_axes):
        finite = np.isfinite(c.position[i]) and np.isfinite(c.velocity[i]) and np.isfinite(c.effort[i])
        if not (finite and np.isfinite(c.kp[i]) and np.isfinite(c.kd[i]) and c.kp[i] >= 0.0 and c.kd[i] >= 0.0):
            g.axis = i
            return _NOT_FINITE
    for i in range(g.n_axes):
        if abs(c.position[i] - g.last_position[i]) > STEP_MARGIN * g.velocity_max[i] * g.period:
            g.axis = i
            return _STEP
        if abs(c.velocity[i]) > STEP_MARGIN * g.velocity_max[i]:
            g.axis = i
            return _VELOCITY
    if limited:
        for i in range(g.n_axes):
            # A joint that is outside its limit already, as after a push by hand, may come back but not go further.
            out = max(g.position_min[i] - c.position[i], c.position[i] - g.position_max[i])
            was = max(g.position_min[i] - g.last_position[i], g.last_position[i] - g.position_max[i])
            if out > POSITION_TOLERANCE and out > was:
                g.axis = i
                return _POSITION
    return _OK


@kernel(types.int64(_GUARD, _JOINT_COMMAND, _VECTOR, types.int64))
def check_command(guard: Array, command: Array, position: Array, limited: int) -> int:
    """Return 0, or what is wrong; after it the command is safe to send.

    A bad command becomes the last good set-point, at rest, with the last good effort. Too much effort is clamped, and
    is a fault when it stays.

    Args:
        guard: Limits and memory, GUARD, (1,).
        command: What the law asks, JOINT_COMMAND, (1,); corrected in place.
        position: Measured joints, (8,), rad or m.
        limited: 1 once the joints know where they are; before it position limits mean nothing.
    """
    g = guard[0]
    c = command[0]
    g.axis = -1
    code = _fault_of(command, guard, limited)
    if code != _OK:
        for i in range(MAX_AXES):
            c.position[i] = g.last_position[i]
            c.velocity[i] = 0.0
            c.effort[i] = g.last_effort[i]
            if not (np.isfinite(c.kp[i]) and np.isfinite(c.kd[i]) and c.kp[i] >= 0.0 and c.kd[i] >= 0.0):
                c.kp[i] = 0.0
                c.kd[i] = 0.0
        return code

    clamped = -1
    for i in range(g.n_axes):
        if abs(c.effort[i]) > g.effort_max[i]:
            c.effort[i] = min(max(c.effort[i], -g.effort_max[i]), g.effort_max[i])
            clamped = i
    if clamped >= 0:
        g.clamped += 1
        g.saturated += 1
    else:
        g.saturated = 0
    for i in range(MAX_AXES):
        g.last_position[i] = c.position[i]
        g.last_effort[i] = c.effort[i]

    for i in range(g.n_axes):
        if abs(c.position[i] - position[i]) > g.following_error[i]:
            g.axis = i
            return _FOLLOWING
    if g.saturated >= SATURATED_CYCLES:
        g.axis = clamped
        return _EFFORT
    return _OK
