"""What the arm is busy with: powering up, homing, moving, stopping. Between the commands and the set-point.

An activity belongs to the command that began it and ends once: done, pre-empted or aborted. The jaw may have one of its
own beside the arm's.
"""

from enum import IntEnum

import numpy as np
from numba.core import types

from drivers.driver import Mode
from kinematics.compiled import Array, array_of, kernel
from telemetry.sample import MAX_AXES, SAMPLE, MotionStatus, OperatingState

__all__ = [
    "CORE",
    "Activity",
    "begin",
    "begin_jaw",
    "end_command",
    "finish",
    "finish_jaw",
    "is_busy",
    "is_enabling",
    "is_powered",
    "note",
    "power_off",
    "report_ended",
]


class Activity(IntEnum):
    """What the arm is busy with."""

    NONE = 0
    CLEARING = 1  # a latched device fault is being cleared, before power
    POWERING = 2  # power is asked for, brakes open
    AVERAGING = 3  # homing: the absolute sensors are read, at rest
    REFERENCING = 4  # homing: the encoders take their reference
    HOMING = 5  # homing: the move to the homing pose
    MOVING = 6
    STREAMING = 7
    HOLDING = 8  # coming to rest, to hold there
    STOPPING = 9  # coming to rest, then power off
    POWERING_BRAKED = 10  # enabling: power is asked for, the brakes stay on
    TESTING_BRAKES = 11  # enabling: the motors push against their brakes
    PROVING_WATCHDOG = 12  # enabling: silence, until the motor controllers take the power away by themselves
    TESTING_SIGNS = 13  # enabling: a small push to either side, to see each encoder follow its motor


CORE = np.dtype(
    [
        # settings
        ("period", "f8"),  # s
        ("enable_cycles", "i8"),  # power must be there after so many
        ("stop_cycles", "i8"),  # a ramp to rest may take so many, then power goes off anyway
        ("average_cycles", "i8"),
        ("home_speed", "f8"),
        ("home", "f8", (MAX_AXES,)),
        ("stream_dead_ns", "i8"),
        ("watchdog", "f8"),  # s, of the motor controllers
        ("tool_expected", "i8"),  # identity of the instrument that must be there; -1: any
        ("pedal_required", "i8"),
        ("brake_settle_cycles", "i8"),  # enabling: by then the brakes of an arm that was just on have closed
        ("brake_cycles", "i8"),  # enabling: so long the motors push against the brakes, each way
        ("brake_slip", "f8", (MAX_AXES,)),  # actuator space: what a brake may give way
        ("release_settle_cycles", "i8"),  # enabling: by then the arm has come to rest on its motors
        ("pulse_cycles", "i8"),  # enabling: so long the push of the encoder test is, each way
        ("silent_cycles", "i8"),  # enabling: so long the watchdog is waited for
        # state
        ("state", "i8"),  # OperatingState
        ("activity", "i8"),
        ("activity_id", "i8"),  # the command that began it, 0: the system
        ("activity_cycles", "i8"),
        ("jaw_activity", "i8"),  # NONE, MOVING or STREAMING: the jaw's own, beside the arm's
        ("jaw_id", "i8"),
        ("stale_ns", "i8"),  # STREAM_STALE: when the stream's last command had come
        ("fault", "i8"),  # catalogue code: latched, or why the arm is paused
        ("fault_axis", "i8"),  # which axis that speaks of, or -1
        ("fault_value", "f8"),  # what was measured
        ("fault_bound", "f8"),  # what was allowed
        ("axis", "i8"),  # the same three of the code that is found next
        ("value", "f8"),
        ("bound", "f8"),
        ("age", "i8"),  # cycles since fresh feedback
        ("lost", "i8"),  # the code of what is wrong with the line in this cycle, or 0
        ("stop_cycles_at_end", "i8"),  # since the process was asked to end
        ("is_homed", "i8"),
        ("referenced", "i8"),
        ("free", "i8"),
        ("stop_event", "i8"),  # STOPPING: states.Event at its end
        ("mode", "i8"),  # drivers.driver.Mode to send
        ("clear_fault", "i8"),
        ("sequence", "i8"),  # of the last command sent
        ("reference_sequence", "i8"),  # of the first SET_REFERENCE command
        ("step", "i8"),  # enable.Step
        ("proved", "i8"),  # enabling: brakes and watchdog have been tested
        ("silent", "i8"),  # nothing is sent in this cycle: the watchdog is being proved
        ("rereference", "i8"),  # the next stream must begin where the set-point is
        ("tool", "i8"),  # the instrument that was there when power came
        ("test_effort", "f8", (MAX_AXES,)),  # actuator space: what a test adds
        ("test_from", "f8", (MAX_AXES,)),  # actuator positions at its start
        ("test_turn", "f8", (MAX_AXES,)),  # and at its turn
        ("test_sum", "f8", (MAX_AXES,)),  # measured efforts, summed
        ("test_count", "i8"),
        ("reference", "f8", (MAX_AXES,)),  # actuator positions to set
        ("offset", "f8", (MAX_AXES,)),  # by how much the set-point shifts with it
        ("sum_absolute", "f8", (MAX_AXES,)),
        ("sum_square", "f8", (MAX_AXES,)),
        ("sum_position", "f8", (MAX_AXES,)),
        ("ended_ids", "i8", (16,)),  # commands whose activities have ended, not yet told in a sample
        ("ended_statuses", "i8", (16,)),
        ("ended", "i8"),
        ("compensation", "f8"),  # 0..1: feed-forward is faded in once the joints know where they are
    ],
    align=True,
)

_CORE, _SAMPLE, _i8, _f8 = array_of(CORE), array_of(SAMPLE), types.int64, types.float64
_CLEARING, _POWERING = int(Activity.CLEARING), int(Activity.POWERING)
_POWERING_BRAKED = int(Activity.POWERING_BRAKED)
_ENABLED, _PAUSED = int(OperatingState.ENABLED), int(OperatingState.PAUSED)
_PREEMPTED, _OFF = int(MotionStatus.PREEMPTED), int(Mode.OFF)
_NONE, _MOVING, _STREAMING = int(Activity.NONE), int(Activity.MOVING), int(Activity.STREAMING)


@kernel(types.void(_CORE, _i8, _i8))
def end_command(core: Array, command_id: int, status: int) -> None:
    """Note that what a command began has ended. Several may in one cycle; a sample has room for one."""
    c = core[0]
    if c.ended < len(c.ended_ids):
        c.ended_ids[c.ended] = command_id
        c.ended_statuses[c.ended] = status
        c.ended += 1


@kernel(types.void(_CORE, _SAMPLE))
def report_ended(core: Array, sample: Array) -> None:
    """Tell in the sample, one a cycle, which activity has ended; for the cycle's end."""
    c = core[0]
    if c.ended == 0:
        return
    sample[0].finished_id = c.ended_ids[0]
    sample[0].finished_status = c.ended_statuses[0]
    c.ended -= 1
    for i in range(c.ended):
        c.ended_ids[i] = c.ended_ids[i + 1]
        c.ended_statuses[i] = c.ended_statuses[i + 1]


@kernel(types.void(_CORE, _i8))
def finish_jaw(core: Array, status: int) -> None:
    """End the jaw's own activity, if there is one."""
    c = core[0]
    if c.jaw_activity != _NONE:
        end_command(core, c.jaw_id, status)
    c.jaw_activity = _NONE
    c.jaw_id = 0


@kernel(types.void(_CORE, _i8))
def finish(core: Array, status: int) -> None:
    """End the arm's activity, if there is one."""
    c = core[0]
    if c.activity != _NONE:
        end_command(core, c.activity_id, status)
    c.activity = _NONE
    c.activity_id = 0
    c.activity_cycles = 0


@kernel(types.void(_CORE, _i8, _i8))
def begin(core: Array, activity: int, command_id: int) -> None:
    """Begin an activity of the arm; the one before is pre-empted."""
    c = core[0]
    if not (activity == _STREAMING and c.activity == _STREAMING):
        finish(core, _PREEMPTED)
    c.activity = activity
    c.activity_id = command_id
    c.activity_cycles = 0


@kernel(types.void(_CORE, _i8, _i8))
def begin_jaw(core: Array, activity: int, command_id: int) -> None:
    """Begin an activity of the jaw's own; the one before is pre-empted."""
    c = core[0]
    if not (activity == _STREAMING and c.jaw_activity == _STREAMING):
        finish_jaw(core, _PREEMPTED)
    c.jaw_activity = activity
    c.jaw_id = command_id


@kernel(types.void(_CORE))
def power_off(core: Array) -> None:
    """Ask the motor controllers for no torque, from this cycle on."""
    c = core[0]
    c.mode = _OFF
    c.clear_fault = 0
    c.free = 0
    c.silent = 0
    c.compensation = 0.0
    for i in range(MAX_AXES):
        c.test_effort[i] = 0.0


@kernel(types.void(_CORE, _i8, _f8, _f8))
def note(core: Array, axis: int, value: float, bound: float) -> None:
    """Say what the code that is returned next speaks of: the axis or -1, what was measured, what was allowed."""
    c = core[0]
    c.axis, c.value, c.bound = axis, value, bound


@kernel(_i8(_CORE))
def is_enabling(core: Array) -> int:
    """Return 1 while the arm is on its way from no power to ENABLED."""
    activity = core[0].activity
    return int(activity == _CLEARING or activity == _POWERING or activity >= _POWERING_BRAKED)


@kernel(_i8(_CORE))
def is_powered(core: Array) -> int:
    """Return 1 in the states in which torque may flow."""
    return int(core[0].state == _ENABLED or core[0].state == _PAUSED)


@kernel(_i8(_CORE))
def is_busy(core: Array) -> int:
    """Return 1 while something is under way that will end by itself: CRTK's is_busy."""
    c = core[0]
    return int((c.activity != _NONE and c.activity != _STREAMING) or c.jaw_activity == _MOVING)
