"""What can be injected into a running emulated arm, as one record in shared memory, and the bit of each fault.

`RUN_DIR/faults` is one FAULTS record. Whoever injects changes a set of values and then advances `version`; the rig
takes the whole set at the first 250 us substep at or after `begin_us`, so that a scenario can put a fault at any phase
of the cycle. Nothing is injected unless asked for.

Some faults are events: they strike once and are over by themselves. Their field holds the version that asked for them,
and the rig knows which one it has done.
"""

from enum import IntFlag

import numpy as np

__all__ = [
    "BOTH",
    "COUNTS",
    "FAULTS",
    "FIELDS",
    "LIES",
    "MAX_AXES",
    "SUBSTEP_US",
    "Babble",
    "Fault",
    "FaultError",
    "HilError",
    "set_fault_bits",
]

MAX_AXES = 8
SUBSTEP_US = 250
BOTH = 0b11  # contacts, or directions of the line: bit 0 to the device, bit 1 to the host
LIES = ("commanded", "frozen", "zero")
"""What a current sensor that lies shows: entry k is `current_lie` k + 1."""


class HilError(Exception):
    """The root of what the emulated arm raises; the message says what is wrong and what to do."""


class FaultError(HilError, ValueError):
    """A fault that cannot be injected: unknown to this rig, out of its range, or on an axis that is not there."""


class Babble:
    """What a device that talks all the time says."""

    GARBAGE = 1
    FRAMES = 2  # whole ones with a right check sum, of another device


class Fault(IntFlag):
    """What can be injected; the bits that the truth carries while a fault is in force."""

    ESTOP = 1 << 0
    WIRE_CUT = 1 << 1
    BIT_ERRORS = 1 << 2
    BYTES_DROPPED = 1 << 3
    FRAMES_DROPPED = 1 << 4
    FRAMES_DUPLICATED = 1 << 5
    REPLIES_LATE = 1 << 6
    ENCODER_FROZEN = 1 << 7
    ENCODER_REVERSED = 1 << 8
    ENCODER_JUMPED = 1 << 9
    ABSOLUTE_OFFSET = 1 << 10
    MOTOR_FORCED = 1 << 11
    MOTOR_OPEN = 1 << 12
    AXIS_JAMMED = 1 << 13
    BRAKE_FAILED = 1 << 14
    TIP_FORCE = 1 << 15
    ENCODER_DRIFT = 1 << 16
    ENCODER_NOISE = 1 << 17
    ENCODER_BIT_STUCK = 1 << 18
    ENCODER_COUNTS_LOST = 1 << 19
    MOTOR_WEAK = 1 << 20
    MOTOR_REVERSED = 1 << 21
    CURRENT_LIES = 1 << 22
    ABSOLUTE_FROZEN = 1 << 23
    ABSOLUTE_MISSING = 1 << 24
    TEMPERATURE_SET = 1 << 25
    TEMPERATURE_RAMP = 1 << 26
    TEMPERATURE_FROZEN = 1 << 27
    TEMPERATURE_MISSING = 1 << 28
    TOOL_CHANGED = 1 << 29
    TOOL_BOUNCE = 1 << 30
    ESTOP_CHANNEL_OPEN = 1 << 31
    ESTOP_CHANNEL_STUCK = 1 << 32
    PEDAL_RELEASED = 1 << 33
    PEDAL_CHANNEL_STUCK = 1 << 34
    PEDAL_BOUNCE = 1 << 35
    BRAKE_STUCK = 1 << 36
    BRAKE_SLIPS = 1 << 37
    BRAKES_LATE = 1 << 38
    WALL = 1 << 39
    BURSTS = 1 << 40
    FRAMES_TRUNCATED = 1 << 41
    REPLY_LATE_ONCE = 1 << 42
    BABBLE = 1 << 43
    COMMANDS_TAMPERED = 1 << 44
    COMMAND_BITS_TAMPERED = 1 << 45
    COMMAND_REPLAYED = 1 << 46
    CONTROLLER_RESTART = 1 << 47
    CONTROLLER_FROZEN = 1 << 48
    SERVO_STALLED = 1 << 49
    WATCHDOG_DEAD = 1 << 50
    LIMITS_DEAD = 1 << 51
    HOST_STALLED = 1 << 52


FAULTS = np.dtype(
    [  # numbers are signed: mixed with unsigned ones, Numba computes in floating point; sets of axes are not
        # written by whoever injects
        ("version", "i8"),  # odd while the values are being changed
        ("begin_us", "i8"),  # rig's time from which this set is in force
        ("bits", "u8"),  # Fault; kept up by `Faults`
        # what a person touches; sets of contacts, bit 0 and bit 1
        ("estop_open", "i8"),  # pressed: both contacts
        ("estop_channel_open", "i8"),
        ("estop_channel_stuck", "i8"),  # closed, pressed or not
        ("pedal_released", "i8"),
        ("pedal_channel_stuck", "i8"),  # pressed, released or not
        ("pedal_bounce_substeps", "i8"),  # between two changes; 0: none
        ("tool_changed", "i8"),
        ("tool", "i8"),  # identity; 0: none
        ("tool_bounce_substeps", "i8"),
        # the line
        ("wire_cut", "i8"),  # set of directions
        ("bit_error_rate", "f8"),  # per bit on the line
        ("byte_drop_rate", "f8"),  # per byte
        ("burst_rate", "f8"),  # per byte
        ("burst_bytes", "i8"),
        ("frame_drop_rate", "f8"),  # per frame, as those below
        ("frame_duplicate_rate", "f8"),
        ("frame_truncate_rate", "f8"),
        ("reply_delay_ns", "i8"),  # more than the line's own time
        ("reply_late", "i8"),  # event
        ("reply_late_periods", "i8"),
        ("babble", "i8"),  # Babble; 0: none
        ("tamper", "i8"),  # commands are changed between the guard and the line
        ("tamper_offset", "i8"),  # of a f32 in COMMAND's payload
        ("tamper_value", "f8"),
        ("tamper_mask", "i8"),  # exclusive or on one byte of COMMAND's payload; 0: none
        ("tamper_mask_offset", "i8"),
        ("replay", "i8"),  # event
        ("replay_age", "i8"),  # commands ago
        ("replay_count", "i8"),
        # encoders: one bit per axis, as all sets below
        ("encoder_frozen", "u8"),
        ("encoder_reversed", "u8"),
        ("encoder_offset", "i8", (MAX_AXES,)),  # counts
        ("encoder_drift", "f8", (MAX_AXES,)),  # counts/s
        ("encoder_noise", "f8", (MAX_AXES,)),  # counts, rms
        ("encoder_loss", "f8", (MAX_AXES,)),  # part of the counts that get lost
        ("encoder_bit_stuck", "u8"),
        ("encoder_bit", "i8", (MAX_AXES,)),  # which one, from the lowest
        ("encoder_bit_value", "i8", (MAX_AXES,)),  # 0 or 1
        # other sensors
        ("absolute_offset", "f8", (MAX_AXES,)),  # rad or m, actuator space
        ("absolute_frozen", "u8"),
        ("absolute_missing", "u8"),
        ("temperature_set", "u8"),
        ("temperature", "f8", (MAX_AXES,)),  # degrees Celsius
        ("temperature_ramp", "f8", (MAX_AXES,)),  # K/s
        ("temperature_frozen", "u8"),
        ("temperature_missing", "u8"),
        ("current_lie", "i8", (MAX_AXES,)),  # 1 + index in LIES; 0: none
        # motors and mechanics
        ("motor_forced", "u8"),
        ("motor_current", "f8", (MAX_AXES,)),  # A, while forced and powered
        ("motor_open", "u8"),
        ("motor_loss", "f8", (MAX_AXES,)),  # part of the torque that is missing
        ("motor_reversed", "u8"),
        ("axis_jammed", "u8"),
        ("brake_failed", "u8"),  # it does not close
        ("brake_stuck", "u8"),  # it does not open
        ("brake_loss", "f8", (MAX_AXES,)),  # part of its torque that is missing
        ("brake_delay_substeps", "i8"),  # on top of what the brakes take
        ("tip_force", "f8", (3,)),  # N in the base frame, on the true tip
        ("wall_stiffness", "f8"),  # N/m; 0: no wall
        ("wall_point", "f8", (3,)),  # m, base frame
        ("wall_normal", "f8", (3,)),  # unit vector out of the wall
        # controller and host
        ("restart", "i8"),  # event
        ("restart_substeps", "i8"),  # until it is up again
        ("controller_frozen", "i8"),
        ("servo_stall", "i8"),  # event
        ("servo_stall_substeps", "i8"),
        ("watchdog_dead", "i8"),
        ("limits_dead", "i8"),
        ("host_stall", "i8"),  # event
        ("host_stall_periods", "i8"),
        # written by the rig
        ("supported", "u8"),  # Fault bits that it can inject
        ("n_axes", "i8"),
        ("braked", "u8"),  # axes that have a brake
        ("time_us", "i8"),  # its time: substeps run x 250
        ("applied_version", "i8"),
        ("applied_us", "i8"),  # its time when it took that version
        ("bytes_cut", "i8"),
        ("bits_flipped", "i8"),
        ("bytes_dropped", "i8"),
        ("bursts", "i8"),
        ("bytes_burst", "i8"),  # garbled by them
        ("frames_dropped", "i8"),
        ("frames_duplicated", "i8"),
        ("frames_truncated", "i8"),
        ("replies_late", "i8"),  # each a REPLY_LATE_ONCE
        ("bytes_babbled", "i8"),
        ("frames_tampered", "i8"),
        ("frames_replayed", "i8"),
        ("bytes_unheard", "i8"),  # that came while the controller was frozen or starting
        ("bytes_garbled", "i8"),  # read or written while the host's baud rate was not the device's
        ("bytes_overflowed", "i8"),  # more than the line's queue holds
    ],
    align=True,
)

_names = FAULTS.names or ()
COUNTS = _names[_names.index("bytes_cut") :]
"""How often each fault has struck."""

INJECTED = _names[_names.index("bits") : _names.index("supported")]
"""The fields that say what is injected."""

FIELDS: dict[Fault, tuple[str, ...]] = {
    Fault.ESTOP: ("estop_open",),
    Fault.ESTOP_CHANNEL_OPEN: ("estop_channel_open",),
    Fault.ESTOP_CHANNEL_STUCK: ("estop_channel_stuck",),
    Fault.PEDAL_RELEASED: ("pedal_released",),
    Fault.PEDAL_CHANNEL_STUCK: ("pedal_channel_stuck",),
    Fault.PEDAL_BOUNCE: ("pedal_bounce_substeps",),
    Fault.TOOL_CHANGED: ("tool_changed", "tool"),
    Fault.TOOL_BOUNCE: ("tool_bounce_substeps",),
    Fault.WIRE_CUT: ("wire_cut",),
    Fault.BIT_ERRORS: ("bit_error_rate",),
    Fault.BYTES_DROPPED: ("byte_drop_rate",),
    Fault.BURSTS: ("burst_rate", "burst_bytes"),
    Fault.FRAMES_DROPPED: ("frame_drop_rate",),
    Fault.FRAMES_DUPLICATED: ("frame_duplicate_rate",),
    Fault.FRAMES_TRUNCATED: ("frame_truncate_rate",),
    Fault.REPLIES_LATE: ("reply_delay_ns",),
    Fault.REPLY_LATE_ONCE: ("reply_late", "reply_late_periods"),
    Fault.BABBLE: ("babble",),
    Fault.COMMANDS_TAMPERED: ("tamper", "tamper_offset", "tamper_value"),
    Fault.COMMAND_BITS_TAMPERED: ("tamper_mask", "tamper_mask_offset"),
    Fault.COMMAND_REPLAYED: ("replay", "replay_age", "replay_count"),
    Fault.ENCODER_FROZEN: ("encoder_frozen",),
    Fault.ENCODER_REVERSED: ("encoder_reversed",),
    Fault.ENCODER_JUMPED: ("encoder_offset",),
    Fault.ENCODER_DRIFT: ("encoder_drift",),
    Fault.ENCODER_NOISE: ("encoder_noise",),
    Fault.ENCODER_COUNTS_LOST: ("encoder_loss",),
    Fault.ENCODER_BIT_STUCK: ("encoder_bit_stuck", "encoder_bit", "encoder_bit_value"),
    Fault.ABSOLUTE_OFFSET: ("absolute_offset",),
    Fault.ABSOLUTE_FROZEN: ("absolute_frozen",),
    Fault.ABSOLUTE_MISSING: ("absolute_missing",),
    Fault.TEMPERATURE_SET: ("temperature_set", "temperature"),
    Fault.TEMPERATURE_RAMP: ("temperature_ramp",),
    Fault.TEMPERATURE_FROZEN: ("temperature_frozen",),
    Fault.TEMPERATURE_MISSING: ("temperature_missing",),
    Fault.CURRENT_LIES: ("current_lie",),
    Fault.MOTOR_FORCED: ("motor_forced", "motor_current"),
    Fault.MOTOR_OPEN: ("motor_open",),
    Fault.MOTOR_WEAK: ("motor_loss",),
    Fault.MOTOR_REVERSED: ("motor_reversed",),
    Fault.AXIS_JAMMED: ("axis_jammed",),
    Fault.BRAKE_FAILED: ("brake_failed",),
    Fault.BRAKE_STUCK: ("brake_stuck",),
    Fault.BRAKE_SLIPS: ("brake_loss",),
    Fault.BRAKES_LATE: ("brake_delay_substeps",),
    Fault.TIP_FORCE: ("tip_force",),
    Fault.WALL: ("wall_stiffness", "wall_point", "wall_normal"),
    Fault.CONTROLLER_RESTART: ("restart", "restart_substeps"),
    Fault.CONTROLLER_FROZEN: ("controller_frozen",),
    Fault.SERVO_STALLED: ("servo_stall", "servo_stall_substeps"),
    Fault.WATCHDOG_DEAD: ("watchdog_dead",),
    Fault.LIMITS_DEAD: ("limits_dead",),
    Fault.HOST_STALLED: ("host_stall", "host_stall_periods"),
}
"""Where each fault stands in the record: it is injected where the first of its fields is not 0."""


def set_fault_bits(record: np.void) -> None:
    """Make `bits` say which faults the values of one FAULTS record amount to."""
    record["bits"] = sum(int(fault) for fault, fields in FIELDS.items() if np.any(record[fields[0]]))
