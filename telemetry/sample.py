"""One sample: the record that the cycle writes every period and that every reader views.

The layout is the schema. Units are SI, vectors have one entry per axis in the arm's order (the jaw last), poses are
4 x 4 homogeneous matrices `T_base_tip`. Entries past the arm's number of axes are zero.
"""

import hashlib
from enum import IntEnum
from typing import Any

import numpy as np

__all__ = ["MAX_AXES", "SAMPLE", "MotionStatus", "OperatingState", "layout_hash"]

MAX_AXES = 8


class OperatingState(IntEnum):
    """CRTK's operating states."""

    DISABLED = 0
    ENABLED = 1
    PAUSED = 2
    FAULT = 3


class MotionStatus(IntEnum):
    """How an activity (a motion, or a state command that takes time) ended; 0 while none has."""

    NONE = 0
    DONE = 1
    PREEMPTED = 2
    ABORTED = 3


SAMPLE = np.dtype(
    [
        ("sequence", "u8"),  # cycles since the daemon started, from 1
        ("t_ns", "i8"),  # CLOCK_MONOTONIC at the start of the cycle; virtual in lock-step
        ("t_device_ns", "i8"),  # the device's clock when it sampled the feedback
        ("feedback_age", "i8"),  # cycles since fresh feedback; 0: fresh in this cycle
        ("device_status", "u4"),  # drivers.driver.Status bits
        ("state", "u1"),  # OperatingState
        ("is_homed", "u1"),
        ("is_busy", "u1"),
        ("mode", "u1"),  # controller.motion: what the set-point follows
        ("fault", "u4"),  # catalogue code of the latched fault, or 0
        ("event", "u4"),  # catalogue code of what happened in this cycle, or 0
        ("fault_axis", "i8"),  # the axis that fault or event speak of, or -1
        ("fault_value", "f8"),  # what was measured then, in the unit of the code's quantity; 0 where it has none
        ("fault_bound", "f8"),  # and what was allowed
        ("enable_step", "u4"),  # controller.enable.Step that enabling is in, or at which it was refused
        ("tool", "u4"),  # identity of the instrument that is plugged in, 0: none
        ("command_id", "u8"),  # the command taken in this cycle, or 0
        ("command_sent_ns", "i8"),  # its sender's stamp
        ("verdict", "u4"),  # catalogue code of its refusal, or 0: accepted
        ("finished_status", "u4"),  # MotionStatus of the activity that ended in this cycle
        ("finished_id", "u8"),  # the command that had begun it, or 0: none ended
        ("motion_id", "u8"),  # the command that the set-point now acts on
        ("jaw_motion_id", "u8"),  # the same of the jaw, where it moves on a command of its own
        ("speed_ratio", "f8"),  # of moves and interpolated streams
        ("stream_age_ns", "i8"),  # since the newest servo command, while streaming
        ("deadline_ns", "i8"),  # when this cycle was due
        ("wakeup_ns", "i8"),  # how late it woke; 0 in lock-step
        ("compute_ns", "i8"),  # its own work, I/O apart; 0 in lock-step
        ("io_ns", "i8"),  # receive and transmit; 0 in lock-step
        ("overruns", "u8"),  # cycles that began more than a period late, so far
        ("frames_lost", "u8"),  # feedback that never came, so far
        ("frames_bad", "u8"),  # frames dropped for their check sum or form, so far
        ("measured_position", "f8", (MAX_AXES,)),
        ("measured_velocity", "f8", (MAX_AXES,)),
        ("measured_effort", "f8", (MAX_AXES,)),
        ("absolute_position", "f8", (MAX_AXES,)),  # the second sensor (potentiometers)
        ("temperature", "f8", (MAX_AXES,)),  # of the motors, degrees Celsius; nan where there is no sensor
        ("setpoint_position", "f8", (MAX_AXES,)),  # due at the start of the next cycle
        ("setpoint_velocity", "f8", (MAX_AXES,)),
        ("setpoint_effort", "f8", (MAX_AXES,)),  # feed-forward, as sent after the guard
        ("goal_position", "f8", (MAX_AXES,)),
        ("goal_velocity", "f8", (MAX_AXES,)),
        ("actuator_position", "f8", (MAX_AXES,)),
        ("actuator_effort", "f8", (MAX_AXES,)),
        ("remote_center_distance", "f8"),  # m, of the shaft, by the measured joints; 0 where none is set
        ("measured_pose", "f8", (4, 4)),
        ("setpoint_pose", "f8", (4, 4)),
        ("goal_pose", "f8", (4, 4)),
    ],
    align=True,
)


def layout_hash(dtype: np.dtype[Any]) -> str:
    """Return a short hash of a record's field names, types and offsets."""
    fields: Any = dtype.fields or {}
    text = ";".join(f"{name}:{fields[name][0].str}{fields[name][0].shape}@{fields[name][1]}" for name in fields)
    text = f"{dtype.itemsize}|{text}|" + "|".join(str(fields[n][0].base) for n in fields)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
