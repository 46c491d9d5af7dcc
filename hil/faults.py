"""Injects faults into a running emulated arm, from any process; `hil/fault_record.py` says how they get there.

Each method injects one fault and checks what it is given; `hil/fault_catalogue.py` finds it by the fault's name.
"""

from typing import Annotated, Literal

import numpy as np

from firmware_bridge.messages import field_offset, message_dtype
from hil.fault_parameters import Axis, Channel, Range, Vector, injects
from hil.fault_record import BOTH, FAULTS, LIES, SUBSTEP_US, Babble, Fault, FaultError, HilError
from hil.fault_set import FaultSets

__all__ = ["FAULTS", "Fault", "FaultError", "Faults", "HilError"]

FORCE_MAX = 50.0  # N; many times what the arm can push
Probability = Annotated[float, Range(0.0, 1.0, "", "probability; 0 ends it")]
Counts = Range(-(2**30), 2**30, "counts", "0 ends it")
Degrees = Annotated[float, Range(-50.0, 300.0, "degrees Celsius")]
BouncePeriod = Annotated[float, Range(0.0005, 1.0, "s", "of one opening and closing")]


class Faults(FaultSets):
    """Injects faults into the emulated arm of a run directory, or into a record given.

    Every method takes `at`: the rig's time in seconds from which the new set is in force (see `time`); without it,
    from its next substep on.
    """

    # What a person touches

    @injects(Fault.ESTOP, "e-stop")
    def press_estop(self, at: float | None = None) -> None:
        """Press the e-stop: both its contacts open."""
        self._change(Fault.ESTOP, {"estop_open": 1}, at)

    def release_estop(self, at: float | None = None) -> None:
        """Release the e-stop."""
        self._change(Fault.ESTOP, {"estop_open": 0}, at)

    @injects(Fault.ESTOP_CHANNEL_OPEN, "e-stop")
    def open_estop_channel(self, channel: Literal["0", "1"], at: float | None = None) -> None:
        """Open one contact of the e-stop alone."""
        self._change(Fault.ESTOP_CHANNEL_OPEN, {"estop_channel_open": _contacts(channel)}, at)

    @injects(Fault.ESTOP_CHANNEL_STUCK, "e-stop")
    def stick_estop_channel(self, channel: Channel, at: float | None = None) -> None:
        """Weld a contact of the e-stop: it stays closed when it is pressed."""
        self._change(Fault.ESTOP_CHANNEL_STUCK, {"estop_channel_stuck": _contacts(channel)}, at)

    @injects(Fault.PEDAL_RELEASED, "pedal")
    def release_pedal(self, channel: Channel = "both", at: float | None = None) -> None:
        """Let go of the pedal, or let one of its contacts alone say so."""
        self._change(Fault.PEDAL_RELEASED, {"pedal_released": _contacts(channel)}, at)

    def press_pedal(self, at: float | None = None) -> None:
        """Press the pedal again, as it is from the start."""
        self._change(Fault.PEDAL_RELEASED, {"pedal_released": 0}, at)

    @injects(Fault.PEDAL_CHANNEL_STUCK, "pedal")
    def stick_pedal_channel(self, channel: Channel, at: float | None = None) -> None:
        """Weld a contact of the pedal: it says pressed when the pedal is released."""
        self._change(Fault.PEDAL_CHANNEL_STUCK, {"pedal_channel_stuck": _contacts(channel)}, at)

    @injects(Fault.PEDAL_BOUNCE, "pedal")
    def bounce_pedal(self, period: BouncePeriod = 0.002, at: float | None = None) -> None:
        """Let the pedal's contacts open and close again and again, opening first."""
        self._change(Fault.PEDAL_BOUNCE, {"pedal_bounce_substeps": _substeps(period / 2)}, at)

    @injects(Fault.TOOL_CHANGED, "tool")
    def change_tool(
        self, identity: Annotated[int, Range(0, 65535, "", "0: taken out")], at: float | None = None
    ) -> None:
        """Plug in another instrument, or take it out."""
        self._change(Fault.TOOL_CHANGED, {"tool_changed": 1, "tool": identity}, at)

    @injects(Fault.TOOL_BOUNCE, "tool")
    def bounce_tool(self, period: BouncePeriod = 0.002, at: float | None = None) -> None:
        """Let the instrument's contact open and close again and again, opening first."""
        self._change(Fault.TOOL_BOUNCE, {"tool_bounce_substeps": _substeps(period / 2)}, at)

    # The line

    @injects(Fault.WIRE_CUT, "line")
    def cut_wire(self, direction: Literal["both", "to_device", "to_host"] = "both", at: float | None = None) -> None:
        """Cut the serial line, or one direction of it: what arrives at that end from now on is lost."""
        cut = {"both": BOTH, "to_device": 0b01, "to_host": 0b10}[direction]
        self._change(Fault.WIRE_CUT, {"wire_cut": cut}, at)

    def mend_wire(self, at: float | None = None) -> None:
        """Join the serial line again."""
        self._change(Fault.WIRE_CUT, {"wire_cut": 0}, at)

    @injects(Fault.BIT_ERRORS, "line")
    def flip_bits(self, rate: Probability, at: float | None = None) -> None:
        """Flip each bit on the line with this probability."""
        self._change(Fault.BIT_ERRORS, {"bit_error_rate": rate}, at)

    @injects(Fault.BYTES_DROPPED, "line")
    def drop_bytes(self, rate: Probability, at: float | None = None) -> None:
        """Lose each byte with this probability."""
        self._change(Fault.BYTES_DROPPED, {"byte_drop_rate": rate}, at)

    @injects(Fault.BURSTS, "line")
    def garble_bursts(
        self,
        rate: Probability,
        length: Annotated[int, Range(1, 1000, "bytes", "of one burst")] = 8,
        at: float | None = None,
    ) -> None:
        """Let a burst of interference begin at each byte with this probability: what it meets arrives as anything."""
        self._change(Fault.BURSTS, {"burst_rate": rate, "burst_bytes": length}, at)

    @injects(Fault.FRAMES_DROPPED, "line")
    def drop_frames(self, rate: Probability, at: float | None = None) -> None:
        """Lose each frame with this probability."""
        self._change(Fault.FRAMES_DROPPED, {"frame_drop_rate": rate}, at)

    @injects(Fault.FRAMES_DUPLICATED, "line")
    def duplicate_frames(self, rate: Probability, at: float | None = None) -> None:
        """Send each frame twice with this probability."""
        self._change(Fault.FRAMES_DUPLICATED, {"frame_duplicate_rate": rate}, at)

    @injects(Fault.FRAMES_TRUNCATED, "line")
    def truncate_frames(self, rate: Probability, at: float | None = None) -> None:
        """Lose the rest of a frame, its end included, after 1 to 64 bytes, with this probability."""
        self._change(Fault.FRAMES_TRUNCATED, {"frame_truncate_rate": rate}, at)

    @injects(Fault.REPLIES_LATE, "line")
    def delay_replies(
        self, delay: Annotated[float, Range(0.0, 1.0, "s", "0 ends it")], at: float | None = None
    ) -> None:
        """Let all replies come so much later, as a USB adapter's latency timer does."""
        self._change(Fault.REPLIES_LATE, {"reply_delay_ns": round(delay * 1e9)}, at)

    @injects(Fault.REPLY_LATE_ONCE, "line")
    def delay_one_reply(self, periods: Annotated[int, Range(1, 1000, "periods")], at: float | None = None) -> None:
        """Let the next reply come so many host periods later, and those behind it with it; once."""
        self._change(Fault.REPLY_LATE_ONCE, {"reply_late": self._event(), "reply_late_periods": periods}, at)

    @injects(Fault.BABBLE, "line")
    def babble(self, kind: Literal["garbage", "frames"] = "garbage", at: float | None = None) -> None:
        """Let the device send all that the line carries: garbage, or right frames of another device."""
        self._change(Fault.BABBLE, {"babble": Babble.FRAMES if kind == "frames" else Babble.GARBAGE}, at)

    @injects(Fault.COMMANDS_TAMPERED, "tampering")
    def tamper_commands(
        self,
        field: Literal["position", "velocity", "effort", "kp", "kd"],
        axis: Axis,
        value: Annotated[float, Range(-1e6, 1e6, "SI units")],
        at: float | None = None,
    ) -> None:
        """Set a number in every command after it has left the host, and make its CRC-32 right again."""
        axes = message_dtype("COMMAND")["axes"].base
        offset = field_offset(message_dtype("COMMAND"), "axes") + field_offset(axes, field)
        offset += self._axis(axis) * axes.itemsize
        self._change(Fault.COMMANDS_TAMPERED, {"tamper": 1, "tamper_offset": offset, "tamper_value": value}, at)

    @injects(Fault.COMMAND_BITS_TAMPERED, "tampering")
    def tamper_command_bits(
        self,
        offset: Annotated[int, Range(0, 255, "bytes", "into the payload")],
        mask: Annotated[int, Range(1, 255, "", "exclusive or")],
        at: float | None = None,
    ) -> None:
        """Turn bits of one byte in every command after it has left the host, and make its CRC-32 right again."""
        size = message_dtype("COMMAND", int(self._record["n_axes"][0])).itemsize
        if offset >= size:
            raise FaultError(f"command_bits_tampered: offset = {offset} was asked for: a command has {size} bytes")
        self._change(Fault.COMMAND_BITS_TAMPERED, {"tamper_mask": mask, "tamper_mask_offset": offset}, at)

    @injects(Fault.COMMAND_REPLAYED, "tampering")
    def replay_commands(
        self,
        age: Annotated[int, Range(1, 63, "frames", "the newest is 1")] = 10,
        count: Annotated[int, Range(1, 10_000, "", "how often, once a period")] = 1,
        at: float | None = None,
    ) -> None:
        """Send the device a frame again that the host had sent so many frames ago."""
        values = {"replay": self._event(), "replay_age": age, "replay_count": count}
        self._change(Fault.COMMAND_REPLAYED, values, at)

    # Encoders

    @injects(Fault.ENCODER_FROZEN, "encoder")
    def freeze_encoder(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Let an encoder's count stand still; ended, it goes on from where the axis is by then."""
        self._set(Fault.ENCODER_FROZEN, axis, on, at)

    @injects(Fault.ENCODER_REVERSED, "encoder")
    def reverse_encoder(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Let an encoder count the wrong way from where it is."""
        self._set(Fault.ENCODER_REVERSED, axis, on, at)

    @injects(Fault.ENCODER_JUMPED, "encoder")
    def jump_encoder(self, axis: Axis, counts: Annotated[int, Counts], at: float | None = None) -> None:
        """Shift an encoder's count by so much from what is right."""
        self._change(Fault.ENCODER_JUMPED, {"encoder_offset": self._entry("encoder_offset", axis, counts)}, at)

    @injects(Fault.ENCODER_DRIFT, "encoder")
    def drift_encoder(
        self, axis: Axis, rate: Annotated[float, Range(-1e7, 1e7, "counts/s", "0 ends it")], at: float | None = None
    ) -> None:
        """Let an encoder count by itself; what it has counted stays."""
        self._change(Fault.ENCODER_DRIFT, {"encoder_drift": self._entry("encoder_drift", axis, rate)}, at)

    @injects(Fault.ENCODER_NOISE, "encoder")
    def shake_encoder(
        self, axis: Axis, rms: Annotated[float, Range(0.0, 1e6, "counts", "0 ends it")], at: float | None = None
    ) -> None:
        """Let an encoder's count be noisy, drawn anew every 250 us."""
        self._change(Fault.ENCODER_NOISE, {"encoder_noise": self._entry("encoder_noise", axis, rms)}, at)

    @injects(Fault.ENCODER_COUNTS_LOST, "encoder")
    def lose_counts(
        self,
        axis: Axis,
        part: Annotated[float, Range(0.0, 1.0, "", "of the counts; 0 ends it")],
        at: float | None = None,
    ) -> None:
        """Let an encoder miss counts, whichever way it turns; what is lost stays lost."""
        self._change(Fault.ENCODER_COUNTS_LOST, {"encoder_loss": self._entry("encoder_loss", axis, part)}, at)

    @injects(Fault.ENCODER_BIT_STUCK, "encoder")
    def stick_encoder_bit(
        self,
        axis: Axis,
        bit: Annotated[int, Range(0, 30, "", "from the lowest")],
        value: Annotated[int, Range(0, 1)] = 0,
        on: bool = True,
        at: float | None = None,
    ) -> None:
        """Let one bit of an encoder's count stay what it is said to be."""
        values = {
            "encoder_bit_stuck": self._mask("encoder_bit_stuck", axis, on),
            "encoder_bit": self._entry("encoder_bit", axis, bit),
            "encoder_bit_value": self._entry("encoder_bit_value", axis, value),
        }
        self._change(Fault.ENCODER_BIT_STUCK, values, at)

    # Other sensors

    @injects(Fault.ABSOLUTE_OFFSET, "absolute sensor")
    def offset_absolute(
        self,
        axis: Axis,
        offset: Annotated[float, Range(-100.0, 100.0, "rad or m", "0 ends it")],
        at: float | None = None,
    ) -> None:
        """Shift what an absolute sensor shows by so much."""
        self._change(Fault.ABSOLUTE_OFFSET, {"absolute_offset": self._entry("absolute_offset", axis, offset)}, at)

    @injects(Fault.ABSOLUTE_FROZEN, "absolute sensor")
    def freeze_absolute(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Let an absolute sensor show what it shows, to the digit, whatever the axis does."""
        self._set(Fault.ABSOLUTE_FROZEN, axis, on, at)

    @injects(Fault.ABSOLUTE_MISSING, "absolute sensor")
    def lose_absolute(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Unplug an absolute sensor: it shows no number."""
        self._set(Fault.ABSOLUTE_MISSING, axis, on, at)

    @injects(Fault.TEMPERATURE_SET, "temperature")
    def set_temperature(self, axis: Axis, value: Degrees, on: bool = True, at: float | None = None) -> None:
        """Let a motor's temperature sensor show this, whatever the motor's is."""
        values = {
            "temperature": self._entry("temperature", axis, value),
            "temperature_set": self._mask("temperature_set", axis, on),
        }
        self._change(Fault.TEMPERATURE_SET, values, at)

    @injects(Fault.TEMPERATURE_RAMP, "temperature")
    def ramp_temperature(
        self, axis: Axis, rate: Annotated[float, Range(-1e4, 1e4, "K/s", "0 ends it")], at: float | None = None
    ) -> None:
        """Let a motor's temperature sensor show more and more than the motor's, from now on."""
        self._change(Fault.TEMPERATURE_RAMP, {"temperature_ramp": self._entry("temperature_ramp", axis, rate)}, at)

    @injects(Fault.TEMPERATURE_FROZEN, "temperature")
    def freeze_temperature(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Let a motor's temperature sensor show what it shows, to the digit, whatever the motor does."""
        self._set(Fault.TEMPERATURE_FROZEN, axis, on, at)

    @injects(Fault.TEMPERATURE_MISSING, "temperature")
    def lose_temperature(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Unplug a motor's temperature sensor: it shows no number."""
        self._set(Fault.TEMPERATURE_MISSING, axis, on, at)

    # Motors and amplifiers

    @injects(Fault.CURRENT_LIES, "motor")
    def fake_current(
        self, axis: Axis, shows: Literal["commanded", "frozen", "zero"], on: bool = True, at: float | None = None
    ) -> None:
        """Let an amplifier's current sensor show another current than flows."""
        lie = LIES.index(shows) + 1 if on else 0
        self._change(Fault.CURRENT_LIES, {"current_lie": self._entry("current_lie", axis, lie)}, at)

    @injects(Fault.MOTOR_FORCED, "motor")
    def force_motor(
        self, axis: Axis, current: Annotated[float, Range(-100.0, 100.0, "A")], at: float | None = None
    ) -> None:
        """Let an amplifier drive this current, whatever it is told, as long as it has power (a runaway)."""
        values = {
            "motor_current": self._entry("motor_current", axis, current),
            "motor_forced": self._mask("motor_forced", axis, True),
        }
        self._change(Fault.MOTOR_FORCED, values, at)

    def release_motor(self, axis: int, at: float | None = None) -> None:
        """Let an amplifier obey again."""
        self._change(Fault.MOTOR_FORCED, {"motor_forced": self._mask("motor_forced", axis, False)}, at)

    @injects(Fault.MOTOR_OPEN, "motor")
    def open_motor(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Break a motor's lead: no current flows, whatever is commanded."""
        self._set(Fault.MOTOR_OPEN, axis, on, at)

    @injects(Fault.MOTOR_WEAK, "motor")
    def weaken_motor(
        self, axis: Axis, factor: Annotated[float, Range(0.0, 1.0, "", "1 ends it")], at: float | None = None
    ) -> None:
        """Let a motor give so much of its torque at the same current, as a hot or damaged magnet does."""
        self._change(Fault.MOTOR_WEAK, {"motor_loss": self._entry("motor_loss", axis, 1.0 - factor)}, at)

    @injects(Fault.MOTOR_REVERSED, "motor")
    def reverse_motor(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Swap a motor's leads: it pushes the other way."""
        self._set(Fault.MOTOR_REVERSED, axis, on, at)

    # Mechanics

    @injects(Fault.AXIS_JAMMED, "mechanics")
    def jam_axis(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Wedge an actuator, as a foreign body in its gear would."""
        self._set(Fault.AXIS_JAMMED, axis, on, at)

    @injects(Fault.BRAKE_FAILED, "brake")
    def fail_brake(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Let a brake hold nothing."""
        self._set(Fault.BRAKE_FAILED, self._braked(axis), on, at)

    @injects(Fault.BRAKE_STUCK, "brake")
    def stick_brake(self, axis: Axis, on: bool = True, at: float | None = None) -> None:
        """Let a brake hold also when it is told to open."""
        self._set(Fault.BRAKE_STUCK, self._braked(axis), on, at)

    @injects(Fault.BRAKE_SLIPS, "brake")
    def slip_brake(
        self, axis: Axis, factor: Annotated[float, Range(0.0, 1.0, "", "1 ends it")], at: float | None = None
    ) -> None:
        """Let a brake hold so much of its torque only."""
        loss = self._entry("brake_loss", self._braked(axis), 1.0 - factor)
        self._change(Fault.BRAKE_SLIPS, {"brake_loss": loss}, at)

    @injects(Fault.BRAKES_LATE, "brake")
    def delay_brakes(self, delay: Annotated[float, Range(0.0, 1.0, "s", "0 ends it")], at: float | None = None) -> None:
        """Let all brakes close, and open, so much later."""
        self._change(Fault.BRAKES_LATE, {"brake_delay_substeps": _substeps(delay)}, at)

    @injects(Fault.TIP_FORCE, "contact")
    def push_tip(
        self, force: Annotated[Vector, Range(-FORCE_MAX, FORCE_MAX, "N", "base frame")], at: float | None = None
    ) -> None:
        """Push the true tip with this force; zeros end it."""
        if np.linalg.norm(force) > FORCE_MAX:
            raise FaultError(f"tip_force: force = {force} was asked for: allowed is a norm of up to {FORCE_MAX} N")
        self._change(Fault.TIP_FORCE, {"tip_force": np.asarray(force)}, at)

    @injects(Fault.WALL, "contact")
    def put_wall(
        self,
        point: Annotated[Vector, Range(-2.0, 2.0, "m", "on it, base frame")],
        normal: Annotated[Vector, Range(-1e3, 1e3, "", "out of it, any length")],
        stiffness: Annotated[float, Range(1.0, 1e5, "N/m")] = 1e4,
        at: float | None = None,
    ) -> None:
        """Put a wall in the way: it pushes the true tip back by its stiffness times how deep the tip is in it."""
        length = np.linalg.norm(normal)
        if length < 1e-6:
            raise FaultError(f"wall: normal = {normal} was asked for: give a direction out of the wall, not all zeros")
        values = {
            "wall_stiffness": stiffness,
            "wall_point": np.asarray(point),
            "wall_normal": np.asarray(normal) / length,
        }
        self._change(Fault.WALL, values, at)

    # Controllers and host

    @injects(Fault.CONTROLLER_RESTART, "controller")
    def restart_controller(
        self, duration: Annotated[float, Range(0.0, 10.0, "s", "until it is up")] = 0.0, at: float | None = None
    ) -> None:
        """Switch the controllers off and on: no torque meanwhile, then neither configured nor referenced; once."""
        self._change(Fault.CONTROLLER_RESTART, {"restart": self._event(), "restart_substeps": _substeps(duration)}, at)

    @injects(Fault.CONTROLLER_FROZEN, "controller")
    def freeze_controller(self, on: bool = True, at: float | None = None) -> None:
        """Let the controllers' program hang: no answers, no servo, no watchdog, and what they drive stays."""
        self._change(Fault.CONTROLLER_FROZEN, {"controller_frozen": int(on)}, at)

    @injects(Fault.SERVO_STALLED, "controller")
    def stall_servo(self, duration: Annotated[float, Range(0.00025, 10.0, "s")], at: float | None = None) -> None:
        """Let the joint servo, its checks and its watchdog pause, while frames are answered; once."""
        values = {"servo_stall": self._event(), "servo_stall_substeps": _substeps(duration)}
        self._change(Fault.SERVO_STALLED, values, at)

    @injects(Fault.WATCHDOG_DEAD, "controller")
    def kill_watchdog(self, on: bool = True, at: float | None = None) -> None:
        """Let the controllers' watchdog never fire."""
        self._change(Fault.WATCHDOG_DEAD, {"watchdog_dead": int(on)}, at)

    @injects(Fault.LIMITS_DEAD, "controller")
    def kill_limits(self, on: bool = True, at: float | None = None) -> None:
        """Let the controllers no longer check limits themselves."""
        self._change(Fault.LIMITS_DEAD, {"limits_dead": int(on)}, at)

    @injects(Fault.HOST_STALLED, "host")
    def stall_host(
        self, periods: Annotated[int, Range(1, 10**9, "periods", "10^9: dead")], at: float | None = None
    ) -> None:
        """Let the host's process stand still for so many of its periods; once; in lock-step only."""
        self._change(Fault.HOST_STALLED, {"host_stall": self._event(), "host_stall_periods": periods}, at)


def _contacts(channel: str) -> int:
    """Return the set of contacts that a channel means."""
    return BOTH if channel == "both" else 1 << int(channel)


def _substeps(duration: float) -> int:
    """Return a duration in s as a number of 250 us substeps."""
    return round(duration * 1e6 / SUBSTEP_US)
