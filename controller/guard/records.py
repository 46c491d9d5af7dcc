"""What the guard's checks work on: the command, one record with all limits and memories, and the reactions to codes.

Memories and when they begin anew:

- `arm_guard`, where the set-point is put somewhere else (power-up, homing, an arm let free): what the last command was,
  the residual's window and its model of the motion, the tip sent last.
- Power off (`powered` = 0 in `check_motors`): the counters of stall and saturation. Heat and temperature go on.
- Not referenced (`referenced` = 0 in `check_sensors`): the smoothed difference of the sensors.
- `active` = 0 in `check_residual`: its window.
- Skipped cycles, or more than two replies in a row missed: the residual's window, since nobody saw what happened.
- A new reference of the encoders, or a device that has started anew: what `check_encoders` expects next.
- An accepted command of a stream: the refusals in a row.

Nothing latches here: a code lasts as long as its cause, and the operating state keeps it.
"""

import numpy as np
from numba.core import types

from controller.catalogue import CATALOGUE, Code
from kinematics.compiled import Array, array_of, kernel
from telemetry.sample import MAX_AXES

__all__ = [
    "ERRORS",
    "GUARD",
    "JOINT_COMMAND",
    "LATE_WINDOW",
    "LINK_WINDOW",
    "MAX_VOLUMES",
    "REACTIONS",
    "SENT",
    "arm_guard",
    "tell",
]

MAX_VOLUMES = 16
LATE_WINDOW = 100  # cycles in which late ones are counted
LINK_WINDOW = 1000  # cycles in which those with bad frames are counted
SENT = 32  # set-points remembered; a power of two, and more than a reply may be late
ERRORS = 64  # errors of tracking remembered; a power of two, and more than the residual's window

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
        # what the newest code speaks of
        ("axis", "i8"),  # or -1
        ("value", "f8"),  # what was measured
        ("bound", "f8"),  # what was allowed
        # --- limits, set once
        ("n_axes", "i8"),
        ("period", "f8"),  # s
        # timing
        ("feedback_timeout", "f8"),  # s
        ("gap", "f8"),  # s; the motor controllers' watchdog
        ("late_cycles", "i8"),  # so many late ones within LATE_WINDOW are a fault
        # joint space
        ("position_min", "f8", (MAX_AXES,)),
        ("position_max", "f8", (MAX_AXES,)),
        ("velocity_max", "f8", (MAX_AXES,)),
        ("effort_max", "f8", (MAX_AXES,)),
        ("following_error", "f8", (MAX_AXES,)),
        ("residual", "f8", (MAX_AXES,)),  # inf: not watched
        ("lag_acceleration", "f8", (MAX_AXES,)),  # that a joint surely reaches when its set-point steps in velocity
        # actuator space
        ("joint_from_actuator", "f8", (MAX_AXES, MAX_AXES)),
        ("coupled", "i8", (MAX_AXES,)),  # axes and actuators with the same number belong together
        ("actuator_velocity_max", "f8", (MAX_AXES,)),
        ("actuator_effort_max", "f8", (MAX_AXES,)),
        ("resolution", "f8", (MAX_AXES,)),  # rad or m by which a position may be wrong for its digits
        ("sensor_difference", "f8", (MAX_AXES,)),  # inf: not watched
        ("kp_stiff", "f8", (MAX_AXES,)),  # with less stiffness a joint may follow less well
        ("kp_max", "f8", (MAX_AXES,)),
        ("kd_max", "f8", (MAX_AXES,)),
        ("temperature_warn", "f8"),  # degrees Celsius
        ("temperature_max", "f8"),
        # the tip
        ("deceleration", "f8"),  # m/s²
        ("remote_center_warn", "f8"),  # m
        ("remote_center_max", "f8"),
        ("n_volumes", "i8"),
        ("volume_shape", "i8", (MAX_VOLUMES,)),  # controller.guard.tip.Shape
        ("volume_keep", "f8", (MAX_VOLUMES,)),  # 1: inside, -1: outside
        ("volume_center", "f8", (MAX_VOLUMES, 3)),
        ("volume_direction", "f8", (MAX_VOLUMES, 3)),  # unit vectors
        ("volume_radius", "f8", (MAX_VOLUMES,)),
        ("volume_half_size", "f8", (MAX_VOLUMES, 3)),
        # --- memory
        # timing
        ("late", "i1", (LATE_WINDOW,)),  # 1: that cycle was late; a ring
        ("late_at", "i8"),
        ("late_count", "i8"),
        ("bad", "i1", (LINK_WINDOW,)),  # 1: that cycle brought bad frames; a ring
        ("bad_at", "i8"),
        ("bad_count", "i8"),
        ("bad_in_a_row", "i8"),
        ("frames_bad", "i8"),  # the running total of the cycle before
        ("feedback_age", "i8"),  # of this cycle
        ("skipped", "i8"),  # cycles before this one
        ("cycle", "i8"),  # cycles counted by `check_link`
        ("refused", "i8"),  # stream commands in a row
        # feedback
        ("referencing", "i8"),  # set by the cycle: 1 while the motor controllers are asked to take a new reference
        ("was_fed", "i8"),  # 1: the next five hold
        ("fed_ns", "i8"),  # device time of the newest feedback
        ("fed_status", "i8"),
        ("fed_position", "f8", (MAX_AXES,)),  # actuator space, accepted or predicted
        ("fed_velocity", "f8", (MAX_AXES,)),
        ("fed_effort", "f8", (MAX_AXES,)),
        ("discarded", "i8"),  # readings replaced so far
        ("suspect", "i8"),  # cycles for which another one is a fault
        ("echo_known", "i8"),  # 1: the next holds
        ("echo_offset", "i8"),  # cycle - echo of a reply that is not late
        ("reply_lag", "i8"),  # cycles by which the newest reply is late
        ("sensor_seen", "i8", (MAX_AXES,)),
        ("sensor_smoothed", "f8", (MAX_AXES,)),  # absolute - encoder
        # motors
        ("heated_ns", "i8"),  # device time up to which heat and temperature are known
        ("temperature_seen", "i8", (MAX_AXES,)),
        ("temperature_slow", "f8", (MAX_AXES,)),  # degrees Celsius, smoothed
        ("is_warm", "i8", (MAX_AXES,)),
        ("heat", "f8", (MAX_AXES,)),  # of the winding's model; 1: full effort for ever
        ("stalled", "i8", (MAX_AXES,)),  # cycles in a row
        ("full", "i8", (MAX_AXES,)),
        ("full_still", "i8", (MAX_AXES,)),  # those of them at a standstill
        # residual
        ("sent", "f8", (SENT, MAX_AXES)),  # set-points; a ring
        ("error", "f8", (ERRORS, MAX_AXES)),  # set-point - measured; a ring
        ("residual_at", "i8"),  # cycles pushed into the rings
        ("residual_known", "i8"),  # 1: the rings and the model belong to the present set-point
        ("residual_count", "i8"),  # cycles since the window began anew
        ("unseen", "i8"),  # cycles in a row without fresh feedback
        ("soft", "i8", (MAX_AXES,)),  # cycles for which an axis may follow less well: soft, or strained
        ("model_velocity", "f8", (MAX_AXES,)),  # of a joint that follows with lag_acceleration
        ("model_error", "f8", (MAX_AXES,)),
        ("model_lag", "f8", (MAX_AXES,)),  # what the residual may be more, because of it
        # tip
        ("scale", "f8"),  # of the step to the commanded tip, 0..1
        ("tip_known", "i8"),
        ("tip", "f8", (3,)),  # sent last
        ("excess", "f8"),  # m beyond the walls that the measured tip is allowed: where it was when that was told
        ("off_center", "f8"),  # m, the same of the remote centre
        # command
        ("last_position", "f8", (MAX_AXES,)),  # the last set-point that passed
        ("last_velocity", "f8", (MAX_AXES,)),
        ("last_effort", "f8", (MAX_AXES,)),
        ("velocity_steps", "f8", (MAX_AXES,)),  # sum of the set-point's steps in velocity, leaking
        ("saturated", "i8"),  # cycles in a row in which some effort was clamped
        ("clamped", "i8"),  # how often that happened at all
    ],
    align=True,
)

REACTIONS = np.zeros(int(max(Code)) + 1, np.int64)
"""REACTIONS[code] is the stop category that the catalogue gives the code."""
for _code, _entry in CATALOGUE.items():
    REACTIONS[int(_code)] = int(_entry.reaction)

_GUARD, _VECTOR = array_of(GUARD), types.float64[:]


@kernel(types.int64(_GUARD, types.int64, types.int64, types.float64, types.float64))
def tell(guard: Array, code: int, axis: int, value: float, bound: float) -> int:
    """Return the code, and keep what it speaks of."""
    g = guard[0]
    g.axis = axis
    g.value = value
    g.bound = bound
    return code


@kernel(types.void(_GUARD, _VECTOR))
def arm_guard(guard: Array, position: Array) -> None:
    """Start to watch from a set-point that is known to be good, (8,): at power-up, after homing, while it follows."""
    g = guard[0]
    for i in range(MAX_AXES):
        g.last_position[i] = position[i]
        g.last_velocity[i] = 0.0
        g.last_effort[i] = 0.0
        g.velocity_steps[i] = 0.0
    g.saturated = 0
    g.residual_known = 0
    g.tip_known = 0
    g.scale = 1.0
