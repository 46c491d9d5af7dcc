"""The driver of our own joint controllers: the link of `firmware_bridge` over a serial port.

One COMMAND a cycle carries all axes; its FEEDBACK echoes the command's sequence number. Feedback counts as fresh only
when it answers a newer command than the feedback before it and was sampled later: whatever comes late, twice, or from
another session is dropped and counted, never taken for the present. Each command carries a tag that only who has the
device's key can make, and only for this session, so that nothing between this program and the device can change or
repeat one unnoticed.
"""

import os
import select
import time
import zlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import serial
from numba.core import types

from drivers.driver import (
    COMMAND,
    FEEDBACK,
    LINK,
    MAX_AXES,
    RECEIVE,
    TRANSMIT,
    DeviceFault,
    DeviceInfo,
    DriverError,
    Kernel,
    Mode,
)
from drivers.serial_port import SerialPortError, close_port, open_port, read_bytes, write_bytes
from firmware_bridge.frame import HEADER, make_frame, parse_frame, seal, seal_tagged
from firmware_bridge.messages import (
    PROTOCOL_HASH,
    REFUSED_AUTHENTICATION,
    REFUSED_POWERED,
    MessageType,
    configure_field,
    field_offset,
    message_dtype,
    session_of,
    wire_size,
)
from firmware_bridge.siphash import KEY_SIZE, key_words
from kinematics.compiled import array_of, kernel, prepare

__all__ = ["AxisSettings", "BridgeDriver", "receive", "transmit"]

# Where the driver keeps its own in the link's device_i8.
SENT = 0  # sequence of the newest command sent
TAKEN = 1  # sequence that the newest feedback taken answers
TAKEN_TIME_US = 2  # and its device time
KEY = 4  # and 5: the key's two words
SESSION = 6  # number of the session

HANDSHAKES = 3  # with a wrong tag, before it is the key that is wrong
REPLIES_MAX = 2  # in a cycle: the due one, and one that comes late


def _offset(message: str, field: str) -> int:
    """Return where a field of a message is in a frame."""
    return HEADER + field_offset(message_dtype(message), field)


TYPE_COMMAND = int(MessageType.COMMAND)
TYPE_FEEDBACK = int(MessageType.FEEDBACK)
NOT_CONFIGURED = int(DeviceFault.NOT_CONFIGURED)

C_SEQUENCE = _offset("COMMAND", "sequence") // 4
C_MODE = _offset("COMMAND", "mode")
C_CLEAR_FAULT = _offset("COMMAND", "clear_fault")
C_N_AXES = _offset("COMMAND", "n_axes")
C_RESERVED = _offset("COMMAND", "reserved")
C_AXES = _offset("COMMAND", "axes") // 4
C_WORDS = message_dtype("COMMAND")["axes"].base.itemsize // 4
F_ECHO = _offset("FEEDBACK", "echo") // 4
F_TIME_LOW = _offset("FEEDBACK", "time_low_us") // 4
F_TIME_HIGH = _offset("FEEDBACK", "time_high_us") // 4
F_STATUS = _offset("FEEDBACK", "status")
F_FAULT = _offset("FEEDBACK", "fault")
F_FAULT_AXIS = _offset("FEEDBACK", "fault_axis")
F_N_AXES = _offset("FEEDBACK", "n_axes")
F_TEMPERATURE = _offset("FEEDBACK", "temperature") // 4
F_TEMPERATURE_AXIS = _offset("FEEDBACK", "temperature_axis")
F_TOOL = _offset("FEEDBACK", "tool") // 2
F_AXES = _offset("FEEDBACK", "axes") // 4
F_WORDS = message_dtype("FEEDBACK")["axes"].base.itemsize // 4
WORD = 4  # bytes


@kernel(TRANSMIT)
def transmit(link: np.ndarray[Any, Any], command: np.ndarray[Any, Any]) -> int:
    """Encode and send one command; see drivers.driver.TRANSMIT."""
    n_axes = link[0].n_axes
    frame = link[0].scratch[:]  # the slice is an ordinary array: a nested one cannot be an argument
    words = frame.view(np.uint32)
    values = frame.view(np.float32)
    words[C_SEQUENCE] = np.uint32(command[0].sequence & np.uint64(0xFFFFFFFF))
    frame[C_MODE] = np.uint8(command[0].mode)
    frame[C_CLEAR_FAULT] = np.uint8(command[0].clear_fault)
    frame[C_N_AXES] = np.uint8(n_axes)
    frame[C_RESERVED] = 0
    for i in range(n_axes):
        at = C_AXES + C_WORDS * i
        values[at] = command[0].position[i]
        values[at + 1] = command[0].velocity[i]
        values[at + 2] = command[0].effort[i]
        values[at + 3] = command[0].kp[i]
        values[at + 4] = command[0].kd[i]
    length = (C_AXES + C_WORDS * n_axes) * WORD - HEADER
    link[0].tx[0] = 0  # ends whatever noise or a broken-off write has left: no two frames are lost for one delimiter
    key0, key1 = np.uint64(link[0].device_i8[KEY]), np.uint64(link[0].device_i8[KEY + 1])
    session = np.uint64(link[0].device_i8[SESSION])
    count = 1 + seal_tagged(TYPE_COMMAND, frame, length, key0, key1, session, link[0].tx[1:])
    link[0].device_i8[SENT] = np.int64(command[0].sequence)
    result = write_bytes(link, count)
    if result == 0:
        link[0].frames_sent += np.uint64(1)
    return result


@kernel(types.int64(array_of(LINK), array_of(FEEDBACK), types.int64))
def _take(link: np.ndarray[Any, Any], feedback: np.ndarray[Any, Any], length: int) -> int:
    """Take the valid frame in `scratch`. Returns 1 if it is fresh feedback, else 0 and counts it."""
    frame = link[0].scratch[:]  # the slice is an ordinary array: a nested one cannot be an argument
    n_axes = link[0].n_axes
    if frame[0] != TYPE_FEEDBACK:
        link[0].frames_bad += np.uint64(1)  # nothing else has a place here
        return 0
    if length != (F_AXES + F_WORDS * n_axes) * WORD - HEADER or np.int64(frame[F_N_AXES]) != n_axes:
        link[0].frames_bad += np.uint64(1)
        return 0
    words = frame.view(np.uint32)
    values = frame.view(np.float32)
    own = link[0].device_i8
    behind = (own[SENT] - np.int64(words[F_ECHO])) & 0xFFFFFFFF
    echo = own[SENT] - behind
    time_us = np.int64(words[F_TIME_LOW]) | np.int64(words[F_TIME_HIGH]) << 32
    has_samples = frame[F_FAULT] != NOT_CONFIGURED  # a device that has restarted: its time began anew, its axes are 0
    if behind >= 0x80000000 or echo <= own[TAKEN] or (has_samples and time_us <= own[TAKEN_TIME_US]):
        link[0].frames_stale += np.uint64(1)
        return 0
    if own[TAKEN] == 0:  # what has not been measured yet is not 0 degrees
        for i in range(MAX_AXES):
            feedback[0].temperature[i] = np.nan
    own[TAKEN] = echo
    feedback[0].echo = np.uint64(echo)
    feedback[0].status = frame[F_STATUS]
    feedback[0].fault = frame[F_FAULT]
    feedback[0].fault_axis = np.int64(frame[F_FAULT_AXIS]) - (256 if frame[F_FAULT_AXIS] >= 128 else 0)
    if has_samples:
        own[TAKEN_TIME_US] = time_us
        feedback[0].t_device_ns = time_us * 1000
        for i in range(n_axes):
            at = F_AXES + F_WORDS * i
            feedback[0].position[i] = values[at]
            feedback[0].velocity[i] = values[at + 1]
            feedback[0].effort[i] = values[at + 2]
            feedback[0].absolute[i] = values[at + 3]
        feedback[0].tool = np.int64(frame.view(np.uint16)[F_TOOL])
        if frame[F_TEMPERATURE_AXIS] < n_axes:
            feedback[0].temperature[frame[F_TEMPERATURE_AXIS]] = values[F_TEMPERATURE]
    return 1


@kernel(RECEIVE)
def receive(link: np.ndarray[Any, Any], feedback: np.ndarray[Any, Any]) -> int:
    """Take every complete frame that has arrived; see drivers.driver.RECEIVE."""
    read_bytes(link)
    rx = link[0].rx[:]
    fresh = 0
    start = 0
    for i in range(link[0].rx_count):
        if rx[i] != 0:
            continue
        if i > start:
            length = parse_frame(rx, start, i - start, link[0].scratch[:])
            if length < 0:
                link[0].frames_bad += np.uint64(1)
            else:
                link[0].frames_received += np.uint64(1)
                fresh += _take(link, feedback, length)
        start = i + 1
    rest = link[0].rx_count - start
    if rest >= link[0].scratch.size:  # so many bytes without a delimiter are no frame
        link[0].frames_bad += np.uint64(1)
        rest = 0
    for i in range(rest):
        rx[i] = rx[start + i]
    link[0].rx_count = rest
    return fresh


@dataclass(frozen=True, kw_only=True)
class AxisSettings:
    """What the firmware must know of the axes: one entry each, in actuator space and SI units."""

    n_axes: int
    """1 to 8."""
    counts_per_unit: np.ndarray[Any, Any]
    """Encoder counts per rad or m, with the direction's sign."""
    effort_per_amp: np.ndarray[Any, Any]
    """N·m/A or N/A, with the direction's sign."""
    current_max: np.ndarray[Any, Any]
    """A."""
    position_min: np.ndarray[Any, Any]
    """rad or m; beyond it, once referenced, is a fault."""
    position_max: np.ndarray[Any, Any]
    velocity_max: np.ndarray[Any, Any]
    """rad/s or m/s; faster is a fault."""
    brake: np.ndarray[Any, Any]
    """True where the axis has a brake."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_axes <= MAX_AXES:
            raise DriverError(
                f"n_axes = {self.n_axes} was given; the firmware drives 1 to {MAX_AXES}: correct the arm's file"
            )
        wrong = [
            f"{name} has {np.size(values)}" for name, values in self.arrays().items() if np.size(values) != self.n_axes
        ]
        if wrong:
            raise DriverError(
                f"{', '.join(wrong)} entries, the arm {self.n_axes} axes: give one per axis in the arm's file"
            )

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the settings by the names that CONFIGURE gives them."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "n_axes"}


class BridgeDriver:
    """Joint controllers with Trocar's firmware behind one serial port. Satisfies drivers.driver.Driver."""

    def __init__(
        self,
        port: str,
        axes: AxisSettings,
        *,
        baud: int = 4_000_000,
        period: float = 0.001,
        watchdog: float = 0.004,
        brake_delay: float = 0.05,
        handshake_timeout: float = 2.0,
        key: bytes = bytes(KEY_SIZE),
    ) -> None:
        """Nothing is opened yet.

        Args:
            port: A serial device or pseudo-terminal.
            axes: What the firmware must know of them.
            baud: Bits per second.
            period: s. How often `transmit` will be called.
            watchdog: s. Without a command for so long the firmware takes the power away.
            brake_delay: s. How long the brakes take to open.
            handshake_timeout: s. How long the device may take to answer in `open`.
            key: Authenticates the host's messages, 16 bytes; all 0 for a device without a key.

        Raises:
            DriverError: The key is not of 16 bytes.
        """
        if len(key) != KEY_SIZE:
            raise DriverError(
                f"the key has {len(key)} bytes, the firmware takes {KEY_SIZE}: give {2 * KEY_SIZE} hexadecimal digits "
                "in driver.key_file"
            )
        self._path = port
        self._axes = axes
        self._baud = baud
        self._period = period
        self._watchdog = watchdog
        self._brake_delay = brake_delay
        self._timeout = handshake_timeout
        self._key = key
        self._port: serial.Serial | None = None
        self._link = np.zeros(1, dtype=LINK)
        self._link["fd"] = -1

    @property
    def link(self) -> np.ndarray[Any, Any]:
        """The record that the kernels work on, shape (1,), dtype LINK."""
        return self._link

    @property
    def receive(self) -> Kernel:
        """The kernel with the signature RECEIVE."""
        return receive

    @property
    def transmit(self) -> Kernel:
        """The kernel with the signature TRANSMIT."""
        return transmit

    def open(self) -> DeviceInfo:
        """Open the port, check the device's protocol, configure it.

        Raises:
            SerialPortError: The port cannot be used.
            DriverError: Nobody answers, the device speaks another protocol or has another key, or it refuses the
                settings.
        """
        self.close()
        # The first time on a machine they are compiled, which takes longer than a device may take to answer.
        prepare(seal, seal_tagged, parse_frame, read_bytes, write_bytes)
        self._port = open_port(self._path, self._baud)
        self._link[:] = np.zeros(1, dtype=LINK)
        self._link["fd"] = self._port.fd
        self._link["n_axes"] = self._axes.n_axes
        self._link["await_bytes"] = -1
        self._link["device_i8"][0, KEY : KEY + 2] = np.array(key_words(self._key), dtype=np.uint64).view(np.int64)
        try:
            info = self._shake_hands()
            self._link["bytes_max"] = REPLIES_MAX * wire_size("FEEDBACK", self._axes.n_axes)
            return info
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Ask the device for OFF and release the port; may be called twice, also when the device is gone."""
        if self._port is None:
            return
        command = np.zeros(1, dtype=COMMAND)
        command["sequence"] = self._link["device_i8"][0, SENT] + 1
        command["mode"] = Mode.OFF
        transmit(self._link, command)  # what it returns does not matter: the firmware's watchdog stands behind it
        self._release()

    def _release(self) -> None:
        if self._port is not None:
            close_port(self._port)
        self._port = None
        self._link["fd"] = -1

    def _shake_hands(self) -> DeviceInfo:
        deadline = time.monotonic() + self._timeout
        configure = self._configure_payload()
        unauthentic = 0
        while True:
            hello = self._ask("HELLO", np.uint32(PROTOCOL_HASH).tobytes(), "HELLO_REPLY", deadline)
            self._check_hello(hello)
            self._link["device_i8"][0, SESSION] = np.uint64(session_of(hello)).view(np.int64)
            reply = self._ask("CONFIGURE", configure.tobytes(), "CONFIGURE_REPLY", deadline, self._key)
            refused = int(reply["refused_field"])
            if refused == 0:
                break
            unauthentic += refused == REFUSED_AUTHENTICATION
            if refused == REFUSED_AUTHENTICATION and unauthentic < HANDSHAKES:
                continue  # a HELLO that was sent twice has opened another session since the first one's answer
            if refused == REFUSED_AUTHENTICATION:
                raise DriverError(
                    f"the device at {self._path} has another key than driver.key_file gives: name the file with the "
                    f"key of device {int(hello['serial_number']):08x}"
                )
            if refused != REFUSED_POWERED or time.monotonic() > deadline:
                raise DriverError(self._explain_refusal(configure, refused, int(reply["refused_axis"])))
            time.sleep(0.02)  # a host before us has died: the firmware's watchdog is about to take the power away
        expected = zlib.crc32(configure.tobytes())
        if int(reply["configuration_crc"]) != expected:
            raise DriverError(
                f"{self._path} holds a configuration with CRC {int(reply['configuration_crc']):08x}, but "
                f"{expected:08x} was sent: is another program talking to the device? Stop it, then try again"
            )
        version = int(hello["firmware_version"])
        return DeviceInfo(
            kind="bridge",
            firmware=f"{version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF} ({int(hello['source_hash']):08x})",
            serial_number=f"{int(hello['serial_number']):08x}",
            n_axes=self._axes.n_axes,
            servo_rate=float(hello["servo_rate_hz"]),
            protocol=f"{int(hello['protocol_hash']):08x}",
            arm=f"{int(hello['arm']):08x}" if hello["arm"] else "",
            tool=int(hello["tool"]),
        )

    def _check_hello(self, hello: np.void) -> None:
        theirs = int(hello["protocol_hash"])
        if theirs != PROTOCOL_HASH:
            raise DriverError(
                f"the firmware at {self._path} speaks protocol {theirs:08x}, this program {PROTOCOL_HASH:08x}: "
                "put the firmware that belongs to this version of Trocar onto the device, or install the version "
                "that belongs to its firmware"
            )
        if int(hello["max_axes"]) < self._axes.n_axes:
            raise DriverError(
                f"the device at {self._path} drives {int(hello['max_axes'])} axes, the arm has {self._axes.n_axes}: "
                "choose the arm's description that belongs to this device"
            )
        has_key = bool(hello["has_key"])
        if has_key and not any(self._key):
            raise DriverError(
                f"the device at {self._path} obeys only who has its key, and none is configured: name the file with "
                "it in driver.key_file"
            )
        if any(self._key) and not has_key:
            raise DriverError(
                f"driver.key_file gives a key, but the device at {self._path} has none: put it into the device, or "
                "leave driver.key_file out"
            )

    def _configure_payload(self) -> np.ndarray[Any, Any]:
        configure = np.zeros(1, dtype=message_dtype("CONFIGURE", self._axes.n_axes))
        configure["n_axes"] = self._axes.n_axes
        configure["host_period_us"] = round(self._period * 1e6)
        configure["watchdog_us"] = round(self._watchdog * 1e6)
        configure["brake_delay_us"] = round(self._brake_delay * 1e6)
        for name, values in self._axes.arrays().items():
            configure["axes"][name][0] = values
        return configure

    def _explain_refusal(self, configure: np.ndarray[Any, Any], refused: int, axis: int) -> str:
        name = configure_field(refused)
        if name in (configure.dtype.names or ()):
            name = f"{name} = {configure[name][0]}"
        elif name in (configure.dtype["axes"].base.names or ()):
            name = f"{name} = {configure['axes'][name][0, axis]} of axis {axis}"
        return (
            f"the device at {self._path} refuses {name}: correct the arm's file or the daemon's configuration "
            "(docs/firmware.md lists what is allowed), or wait until the device is without power"
        )

    def _ask(self, message: str, payload: bytes, reply: str, deadline: float, key: bytes | None = None) -> np.void:
        """Return the record that answers a message; the message is repeated until the deadline."""
        session = int(self._link["device_i8"][0, SESSION].view(np.uint64))
        wire = np.frombuffer(make_frame(MessageType[message], payload, key, session), dtype=np.uint8)
        reply_type, reply_dtype = int(MessageType[reply]), message_dtype(reply)
        patience = max(0.1, 3 * (wire.size + 64) * 10 / self._baud)  # s, before the message is sent again
        while time.monotonic() < deadline:
            self._link["tx"][0, 0] = 0
            self._link["tx"][0, 1 : 1 + wire.size] = wire
            write_bytes(self._link, 1 + wire.size)
            until = min(deadline, time.monotonic() + patience)
            while (left := until - time.monotonic()) > 0:
                if not select.select([int(self._link["fd"][0])], [], [], left)[0]:
                    break
                read_bytes(self._link)
                self._check_port()
                for type_, data in self._frames():
                    if type_ == reply_type and len(data) == reply_dtype.itemsize:
                        return np.frombuffer(data, dtype=reply_dtype)[0]  # type: ignore[no-any-return]
            self._check_port()
        raise DriverError(
            f"no {reply} from {self._path} at {self._baud} baud within {self._timeout:g} s: check that it is the "
            "joint controller's port, that the device has power and that its baud rate is the same"
        )

    def _check_port(self) -> None:
        number = int(self._link["error"][0])
        if number:
            raise SerialPortError(
                f"{self._path} failed during the handshake ({os.strerror(number)}): plug the device in again"
            )

    def _frames(self) -> list[tuple[int, bytes]]:
        """Return the valid frames in rx, and leave only what follows the last delimiter there."""
        waiting = self._link["rx"][0, : int(self._link["rx_count"][0])]
        *whole, rest = waiting.tobytes().split(b"\0")
        frame = np.empty(waiting.size + 1, dtype=np.uint8)
        found = []
        for wire in whole:
            length = parse_frame(np.frombuffer(wire + b"\0", dtype=np.uint8).copy(), 0, len(wire), frame)
            if length >= 0:
                found.append((int(frame[0]), frame[HEADER : HEADER + length].tobytes()))
            elif wire:
                self._link["frames_bad"] += 1
        waiting[: len(rest)] = np.frombuffer(rest, dtype=np.uint8)
        self._link["rx_count"] = len(rest) if len(rest) < self._link["rx"].shape[1] else 0
        return found
