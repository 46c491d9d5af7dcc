"""The set-point: where the joints shall be at the start of the next cycle. Its state, and what is simple about it.

The arm and its jaw are two groups of axes, each with a mode of its own, so that both can move at once. A command that
gives the jaw a goal beside the arm's takes it along: it *rides*, as one of the arm's axes, until a command of its own.

start.py takes commands and sets a mode; advance.py moves the set-point on, one period at a time.
"""

from enum import IntEnum

import numpy as np
from numba.core import types

from controller.mailbox import Group
from controller.motion.braking import stop_displacement
from controller.motion.path import TIP_LIMITS
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import MAX_AXES

__all__ = [
    "MOTION",
    "SCRATCH",
    "Mode",
    "begin_hard_stop",
    "begin_stop",
    "first_axis",
    "follow",
    "hold_here",
    "is_moving",
    "is_streaming",
    "past_axis",
    "set_speed_ratio",
]

GROUPS = len(Group)


class Mode(IntEnum):
    """What the set-point of a group follows."""

    FOLLOW = 0  # the measured joints: motors off, or free
    HOLD = 1  # nothing: it stands still
    PATH = 2  # a path of the tip
    SERVO = 3  # a client's stream of positions, as they are
    MOVE = 4  # a joint trajectory to rest
    INTERPOLATE = 5  # a joint trajectory that a stream of positions plans anew
    VELOCITY = 6  # a joint velocity or a twist; zero: a stop
    EFFORT = 7  # the measured joints, which an effort or a wrench moves


MOTION = np.dtype(
    [
        # limits, set once
        ("period", "f8"),  # s
        ("stream_timeout_max_ns", "i8"),  # the configuration's; a stream may ask for less
        ("interpolate_timeout_max_ns", "i8"),
        # state of the set-point
        ("speed_ratio", "f8"),  # of moves and interpolated streams, ]0, 1]
        ("q", "f8", (MAX_AXES,)),
        ("qd", "f8", (MAX_AXES,)),
        ("qdd", "f8", (MAX_AXES,)),
        ("goal", "f8", (MAX_AXES,)),
        ("goal_velocity", "f8", (MAX_AXES,)),
        ("goal_acceleration", "f8", (MAX_AXES,)),  # INTERPOLATE: of the stream, smoothed
        ("effort", "f8", (MAX_AXES,)),  # EFFORT: what is added to the law's
        # of each axis
        ("target", "f8", (MAX_AXES,)),  # EFFORT: the effort, VELOCITY: the velocity, else the position
        ("stop_scale", "f8", (MAX_AXES,)),  # of a stop's acceleration; 1, but for one that must end before a limit
        ("slope", "f8", (2, MAX_AXES)),  # PATH: the last differences of q
        ("at_wall", "i8", (MAX_AXES,)),  # EFFORT: it is beyond the walls
        # of each group
        ("mode", "i8", (GROUPS,)),
        ("stopping", "i8", (GROUPS,)),
        ("plan_due", "i8", (GROUPS,)),  # the trajectory is to be planned, anew or at all
        ("time", "f8", (GROUPS,)),  # s along the trajectory
        ("speed", "f8", (GROUPS,)),  # the command's part of the limits
        ("smooth", "i8", (GROUPS,)),  # VELOCITY, EFFORT: approached smoothly
        ("target_cycles", "i8", (GROUPS,)),  # SERVO: cycles in which to reach the target
        ("stream_ns", "i8", (GROUPS,)),  # when the newest command of a stream came
        ("stream_timeout_ns", "i8", (GROUPS,)),  # how old that may become
        ("since", "f8", (GROUPS,)),  # INTERPOLATE: s, in periods, since the newest target came
        ("interval", "f8", (GROUPS,)),  # s between a stream's commands, smoothed; 0: not known
        # of the arm
        ("jaw_rides", "i8"),
        ("waiting", "i8"),  # `next_message` begins when the stop has come to rest
        ("at_tip", "i8"),  # the stream is of the tip; VELOCITY, EFFORT: `tip` says what the joints shall do
        ("frame", "i8"),  # controller.mailbox.Frame of it
        ("tip", "f8", (6,)),  # twist or wrench
        ("tip_limits", TIP_LIMITS),
    ],
    align=True,
)

SCRATCH = (24, MAX_AXES)
"""Shape of the working memory: the first 20 rows are the motion's, the rest the cycle's."""

MAX_STOP_SCALE = 1024.0
HARD_STOP = 12.0  # times the acceleration limit, and its square the jerk limit, when a fault stops the arm
ROUNDING = 1e-9  # rad or m: of where a stop ends

_MOTION, _ARM = array_of(MOTION), array_of(ARM)
_VECTOR, _i8, _f8 = types.float64[:], types.int64, types.float64
_ARM_GROUP, _JAW = int(Group.ARM), int(Group.JAW)
_FOLLOW, _HOLD, _PATH, _SERVO = int(Mode.FOLLOW), int(Mode.HOLD), int(Mode.PATH), int(Mode.SERVO)
_VELOCITY, _EFFORT, _INTERPOLATE = int(Mode.VELOCITY), int(Mode.EFFORT), int(Mode.INTERPOLATE)


@kernel(_i8(_ARM, _i8))
def first_axis(arm: Array, group: int) -> int:
    """Return the first axis of a group."""
    return 0 if group == _ARM_GROUP else int(arm[0].n_joints)


@kernel(_i8(_MOTION, _ARM, _i8))
def past_axis(motion: Array, arm: Array, group: int) -> int:
    """Return the axis after the last of a group: the arm's has the jaw while it rides."""
    if group == _ARM_GROUP and not motion[0].jaw_rides:
        return int(arm[0].n_joints)
    return int(arm[0].n_axes)


@kernel(types.void(_MOTION, _VECTOR))
def follow(motion: Array, q: Array) -> None:
    """Let the whole set-point be the measured joints, (8,), at rest."""
    m = motion[0]
    for i in range(MAX_AXES):
        m.q[i] = q[i]
        m.goal[i] = q[i]
        m.qd[i], m.qdd[i], m.goal_velocity[i], m.effort[i] = 0.0, 0.0, 0.0, 0.0
        m.at_wall[i] = 0
    for g in range(GROUPS):
        m.mode[g] = _FOLLOW
        m.stopping[g] = 0
        m.plan_due[g] = 0
    m.waiting = 0
    m.jaw_rides = 0


@kernel(types.void(_MOTION, _ARM, _i8))
def hold_here(motion: Array, arm: Array, group: int) -> None:
    """Let a group stand still where its set-point is."""
    m = motion[0]
    for i in range(first_axis(arm, group), past_axis(motion, arm, group)):
        m.goal[i] = m.q[i]
        m.qd[i], m.qdd[i], m.goal_velocity[i], m.effort[i] = 0.0, 0.0, 0.0, 0.0
    m.mode[group] = _HOLD
    m.stopping[group] = 0
    m.plan_due[group] = 0
    if group == _ARM_GROUP:
        m.jaw_rides = 0


@kernel(_i8(_MOTION))
def is_moving(motion: Array) -> int:
    """Return 1 while the set-point of either group moves on its own account, or after a stream."""
    return int(motion[0].mode[0] > _HOLD or motion[0].mode[1] > _HOLD)


@kernel(_i8(_MOTION, _i8))
def is_streaming(motion: Array, group: int) -> int:
    """Return 1 while a group follows a client's stream: one that must not fall silent."""
    m = motion[0]
    mode = m.mode[group]
    streams = mode == _SERVO or mode == _INTERPOLATE or mode == _VELOCITY or mode == _EFFORT
    return int(streams and not m.stopping[group])


@kernel(types.void(_MOTION, _ARM, _i8))
def begin_stop(motion: Array, arm: Array, group: int) -> None:
    """Bring a group to rest: on the path that it is on, or each axis by its shortest stop from where it is.

    Where that stop would go past an axis's limit, its acceleration is raised so that it does not: a stream may have
    run towards the limit faster than the arm's own acceleration stops.
    """
    m = motion[0]
    a = arm[0]
    if group == _ARM_GROUP:
        m.waiting = 0
    if m.stopping[group] or (group == _JAW and m.jaw_rides):
        return
    if m.mode[group] <= _HOLD:
        hold_here(motion, arm, group)
        return
    m.stopping[group] = 1
    m.plan_due[group] = 0
    if m.mode[group] == _PATH:
        return
    m.mode[group] = _VELOCITY
    m.smooth[group] = 1
    if group == _ARM_GROUP:
        m.at_tip = 0
    for i in range(first_axis(arm, group), past_axis(motion, arm, group)):
        m.target[i], m.goal_velocity[i], m.effort[i] = 0.0, 0.0, 0.0
        scale = 1.0
        end = 0.0
        while scale <= MAX_STOP_SCALE:
            end = m.q[i] + stop_displacement(
                m.qd[i], m.qdd[i], scale * a.acceleration_max[i], scale * scale * a.jerk_max[i]
            )
            low, high = min(m.q[i], a.position_min[i]), max(m.q[i], a.position_max[i])
            if low - ROUNDING <= end <= high + ROUNDING:
                break
            scale *= 2.0
        m.stop_scale[i] = min(scale, MAX_STOP_SCALE)
        m.goal[i] = end


@kernel(types.void(_MOTION, _ARM, _i8))
def begin_hard_stop(motion: Array, arm: Array, group: int) -> None:
    """Bring a group to rest with HARD_STOP times its acceleration, whatever it was doing: for faults."""
    m = motion[0]
    a = arm[0]
    if m.mode[group] <= _HOLD or m.mode[group] == _EFFORT:
        begin_stop(motion, arm, group)
        return
    if group == _JAW and m.jaw_rides:
        return
    m.mode[group] = _VELOCITY
    m.stopping[group] = 0
    begin_stop(motion, arm, group)
    for i in range(first_axis(arm, group), past_axis(motion, arm, group)):
        if m.stop_scale[i] < HARD_STOP:
            m.stop_scale[i] = HARD_STOP
            m.goal[i] = m.q[i] + stop_displacement(
                m.qd[i], m.qdd[i], HARD_STOP * a.acceleration_max[i], HARD_STOP * HARD_STOP * a.jerk_max[i]
            )


@kernel(types.void(_MOTION, _f8))
def set_speed_ratio(motion: Array, ratio: float) -> None:
    """Set the part of the limits that moves and interpolated streams may use; what is under way is planned anew."""
    m = motion[0]
    m.speed_ratio = ratio
    for g in range(GROUPS):
        m.plan_due[g] = 1
