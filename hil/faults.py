"""Faults that can be injected into a running emulated arm, from any process.

`RUN_DIR/faults` is one FAULTS record in shared memory. `Faults` changes a set of values and then advances `version`;
the rig takes the whole set at the first 250 us substep at or after `begin_us`, so that a scenario can put a fault at
any phase of the cycle. Nothing is injected unless asked for; a fault that the rig cannot inject is an error.
"""

from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np

from telemetry.shared import SharedMemoryError, map_records

__all__ = ["FAULTS", "MAX_AXES", "Fault", "FaultError", "Faults", "HilError", "set_fault_bits"]

MAX_AXES = 8


class HilError(Exception):
    """The root of what the emulated arm raises; the message says what is wrong and what to do."""


class FaultError(HilError, ValueError):
    """A fault that cannot be injected: unknown to this rig, out of its range, or on an axis that is not there."""


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


FAULTS = np.dtype(
    [  # numbers are signed: mixed with unsigned ones, Numba computes in floating point; sets of bits are not
        # written by whoever injects
        ("version", "i8"),  # odd while the values are being changed
        ("begin_us", "i8"),  # rig's time from which this set is in force
        ("bits", "u8"),  # Fault; kept up by `Faults`
        ("estop_open", "i8"),
        ("wire_cut", "i8"),  # both directions
        ("bit_error_rate", "f8"),  # per bit on the line
        ("byte_drop_rate", "f8"),  # per byte
        ("frame_drop_rate", "f8"),  # per frame
        ("frame_duplicate_rate", "f8"),  # per frame
        ("reply_delay_ns", "i8"),  # more than the line's own time
        ("encoder_frozen", "u8"),  # one bit per axis, as all below
        ("encoder_reversed", "u8"),
        ("encoder_offset", "i8", (MAX_AXES,)),  # counts
        ("absolute_offset", "f8", (MAX_AXES,)),  # rad or m, actuator space
        ("motor_forced", "u8"),
        ("motor_current", "f8", (MAX_AXES,)),  # A, while forced and powered
        ("motor_open", "u8"),
        ("axis_jammed", "u8"),
        ("brake_failed", "u8"),  # it does not close
        ("tip_force", "f8", (3,)),  # N in the base frame, on the true tip
        # written by the rig
        ("supported", "u8"),  # Fault bits that it can inject
        ("n_axes", "i8"),
        ("time_us", "i8"),  # its time: substeps run x 250
        ("applied_version", "i8"),
        ("applied_us", "i8"),  # its time when it took that version
        ("bytes_cut", "i8"),
        ("bits_flipped", "i8"),
        ("bytes_dropped", "i8"),
        ("frames_dropped", "i8"),
        ("frames_duplicated", "i8"),
        ("bytes_garbled", "i8"),  # read or written while the host's baud rate was not the device's
        ("bytes_overflowed", "i8"),  # more than the line's queue holds
    ],
    align=True,
)

COUNTS = (
    "bytes_cut",
    "bits_flipped",
    "bytes_dropped",
    "frames_dropped",
    "frames_duplicated",
    "bytes_garbled",
    "bytes_overflowed",
)
FORCE_MAX = 50.0  # N; many times what the arm can push


def set_fault_bits(record: np.void) -> None:
    """Make `bits` say which faults the values of one FAULTS record amount to."""
    present = {
        Fault.ESTOP: record["estop_open"],
        Fault.WIRE_CUT: record["wire_cut"],
        Fault.BIT_ERRORS: record["bit_error_rate"],
        Fault.BYTES_DROPPED: record["byte_drop_rate"],
        Fault.FRAMES_DROPPED: record["frame_drop_rate"],
        Fault.FRAMES_DUPLICATED: record["frame_duplicate_rate"],
        Fault.REPLIES_LATE: record["reply_delay_ns"],
        Fault.ENCODER_FROZEN: record["encoder_frozen"],
        Fault.ENCODER_REVERSED: record["encoder_reversed"],
        Fault.ENCODER_JUMPED: record["encoder_offset"].any(),
        Fault.ABSOLUTE_OFFSET: record["absolute_offset"].any(),
        Fault.MOTOR_FORCED: record["motor_forced"],
        Fault.MOTOR_OPEN: record["motor_open"],
        Fault.AXIS_JAMMED: record["axis_jammed"],
        Fault.BRAKE_FAILED: record["brake_failed"],
        Fault.TIP_FORCE: record["tip_force"].any(),
    }
    record["bits"] = sum(int(fault) for fault, value in present.items() if value)


class Faults:
    """Injects faults into the emulated arm of a run directory, or into a record given.

    Every method takes `at`: the rig's time in seconds from which the new set is in force (see `time`); without it,
    from its next substep on. One set waits at a time: a later call replaces what had not begun yet, together with it.

    Args:
        where: The run directory of a daemon with an emulated arm, or a FAULTS array of one record.

    Raises:
        FaultError: No emulated arm runs there.
    """

    def __init__(self, where: Path | str | np.ndarray[Any, Any]) -> None:
        if isinstance(where, np.ndarray):
            self._record = where
            return
        path = Path(where) / "faults"
        try:
            self._record = map_records(path, FAULTS)
        except SharedMemoryError as error:
            raise FaultError(
                f"no faults can be injected: there is no {path}; start a daemon whose configuration has a [rig]"
            ) from error

    @property
    def time(self) -> float:
        """The rig's time, s: how long it has simulated."""
        return float(self._record["time_us"][0]) * 1e-6

    @property
    def applied(self) -> float | None:
        """The rig's time at which it took the newest set, s; None while it has not, or nothing was asked for."""
        record = self._record[0]
        if int(record["version"]) == 0 or int(record["applied_version"]) != int(record["version"]):
            return None
        return float(record["applied_us"]) * 1e-6

    @property
    def active(self) -> Fault:
        """The faults of the newest set."""
        return Fault(int(self._record["bits"][0]))

    def counts(self) -> dict[str, int]:
        """Return how often each fault of the wire has struck so far."""
        return {name: int(self._record[name][0]) for name in COUNTS}

    def clear(self, at: float | None = None) -> None:
        """Take every fault away."""
        fields = FAULTS.names or ()
        mine = fields[fields.index("bits") : fields.index("supported")]
        self._change(Fault(0), {name: np.zeros_like(self._record[name][0]) for name in mine}, at)

    def press_estop(self, at: float | None = None) -> None:
        """Open the e-stop circuit."""
        self._change(Fault.ESTOP, {"estop_open": 1}, at)

    def release_estop(self, at: float | None = None) -> None:
        """Close the e-stop circuit."""
        self._change(Fault.ESTOP, {"estop_open": 0}, at)

    def cut_wire(self, at: float | None = None) -> None:
        """Cut the serial line: what arrives at either end from now on is lost."""
        self._change(Fault.WIRE_CUT, {"wire_cut": 1}, at)

    def mend_wire(self, at: float | None = None) -> None:
        """Join the serial line again."""
        self._change(Fault.WIRE_CUT, {"wire_cut": 0}, at)

    def flip_bits(self, rate: float, at: float | None = None) -> None:
        """Flip each bit on the line with this probability; 0 ends it."""
        self._change(Fault.BIT_ERRORS, {"bit_error_rate": self._rate("a bit error rate", rate)}, at)

    def drop_bytes(self, rate: float, at: float | None = None) -> None:
        """Lose each byte with this probability; 0 ends it."""
        self._change(Fault.BYTES_DROPPED, {"byte_drop_rate": self._rate("a byte drop rate", rate)}, at)

    def drop_frames(self, rate: float, at: float | None = None) -> None:
        """Lose each frame with this probability; 0 ends it."""
        self._change(Fault.FRAMES_DROPPED, {"frame_drop_rate": self._rate("a frame drop rate", rate)}, at)

    def duplicate_frames(self, rate: float, at: float | None = None) -> None:
        """Send each frame twice with this probability; 0 ends it."""
        self._change(Fault.FRAMES_DUPLICATED, {"frame_duplicate_rate": self._rate("a duplicate rate", rate)}, at)

    def delay_replies(self, delay: float, at: float | None = None) -> None:
        """Let replies come so many seconds later, as a USB adapter's latency timer does; 0 ends it."""
        if not 0.0 <= delay <= 1.0:
            raise FaultError(f"a reply delay of {delay} s was asked for: allowed is 0 to 1 s")
        self._change(Fault.REPLIES_LATE, {"reply_delay_ns": round(delay * 1e9)}, at)

    def freeze_encoder(self, axis: int, on: bool = True, at: float | None = None) -> None:
        """Let an encoder's count stand still, or go on from where the axis is by then."""
        self._change(Fault.ENCODER_FROZEN, {"encoder_frozen": self._mask("encoder_frozen", axis, on)}, at)

    def reverse_encoder(self, axis: int, on: bool = True, at: float | None = None) -> None:
        """Let an encoder count the wrong way from where it is, or the right way again."""
        self._change(Fault.ENCODER_REVERSED, {"encoder_reversed": self._mask("encoder_reversed", axis, on)}, at)

    def jump_encoder(self, axis: int, counts: int, at: float | None = None) -> None:
        """Shift an encoder's count by so much from what is right; 0 ends it."""
        if abs(counts) > 2**30:
            raise FaultError(f"an encoder jump of {counts} counts was asked for: allowed is +-2^30")
        self._change(Fault.ENCODER_JUMPED, {"encoder_offset": self._entry("encoder_offset", axis, counts)}, at)

    def offset_absolute(self, axis: int, offset: float, at: float | None = None) -> None:
        """Shift an absolute sensor by so much, rad or m; 0 ends it."""
        if not np.isfinite(offset):
            raise FaultError(f"an offset of {offset} was asked for: it must be a finite number of rad or m")
        self._change(Fault.ABSOLUTE_OFFSET, {"absolute_offset": self._entry("absolute_offset", axis, offset)}, at)

    def force_motor(self, axis: int, current: float, at: float | None = None) -> None:
        """Let an amplifier drive this current, A, whatever it is told, as long as it has power (a runaway)."""
        if not np.isfinite(current):
            raise FaultError(f"a current of {current} was asked for: it must be a finite number of A")
        values = {
            "motor_current": self._entry("motor_current", axis, current),
            "motor_forced": self._mask("motor_forced", axis, True),
        }
        self._change(Fault.MOTOR_FORCED, values, at)

    def release_motor(self, axis: int, at: float | None = None) -> None:
        """Let an amplifier obey again."""
        self._change(Fault.MOTOR_FORCED, {"motor_forced": self._mask("motor_forced", axis, False)}, at)

    def open_motor(self, axis: int, on: bool = True, at: float | None = None) -> None:
        """Break a motor's lead: no current flows, whatever is commanded."""
        self._change(Fault.MOTOR_OPEN, {"motor_open": self._mask("motor_open", axis, on)}, at)

    def jam_axis(self, axis: int, on: bool = True, at: float | None = None) -> None:
        """Wedge an actuator, as a foreign body in its gear would."""
        self._change(Fault.AXIS_JAMMED, {"axis_jammed": self._mask("axis_jammed", axis, on)}, at)

    def fail_brake(self, axis: int, on: bool = True, at: float | None = None) -> None:
        """Let a brake hold nothing."""
        self._change(Fault.BRAKE_FAILED, {"brake_failed": self._mask("brake_failed", axis, on)}, at)

    def push_tip(self, force: tuple[float, float, float], at: float | None = None) -> None:
        """Push the true tip with this force, N, in the base frame; zeros end it."""
        vector = np.asarray(force, dtype=np.float64)
        if vector.shape != (3,) or not np.isfinite(vector).all() or np.linalg.norm(vector) > FORCE_MAX:
            raise FaultError(
                f"a tip force of {force} was asked for: give three numbers, together at most {FORCE_MAX} N"
            )
        self._change(Fault.TIP_FORCE, {"tip_force": vector}, at)

    def _change(self, fault: Fault, values: dict[str, Any], at: float | None) -> None:
        record = self._record[0]
        if fault & ~Fault(int(record["supported"])):
            raise FaultError(f"this rig cannot inject {fault.name}: it can {Fault(int(record['supported']))!r}")
        if at is not None and not (np.isfinite(at) and at >= 0.0):
            raise FaultError(
                f"a fault was asked for at {at} s: give the rig's time, 0 or later (it is {self.time:.6f} s)"
            )
        version = int(record["version"])
        record["version"] = version + 1  # odd: the rig leaves the values alone
        for name, value in values.items():
            record[name] = value
        record["begin_us"] = 0 if at is None else round(at * 1e6)
        set_fault_bits(record)
        record["version"] = version + 2

    def _axis(self, axis: int) -> int:
        n_axes = int(self._record["n_axes"][0])
        if not 0 <= axis < n_axes:
            raise FaultError(f"a fault on axis {axis} was asked for: this arm has the axes 0 to {n_axes - 1}")
        return axis

    def _mask(self, name: str, axis: int, on: bool) -> int:
        bit = 1 << self._axis(axis)
        mask = int(self._record[name][0])
        return mask | bit if on else mask & ~bit

    def _entry(self, name: str, axis: int, value: float) -> np.ndarray[Any, Any]:
        entries: np.ndarray[Any, Any] = self._record[name][0].copy()
        entries[self._axis(axis)] = value
        return entries

    @staticmethod
    def _rate(what: str, rate: float) -> float:
        if not 0.0 <= rate <= 1.0:
            raise FaultError(f"{what} of {rate} was asked for: a probability is 0 to 1")
        return rate
