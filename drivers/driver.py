"""What every motor-controller driver is: one Protocol, three records and two compiled signatures.

A driver speaks *actuator* coordinates in SI units, one entry per axis. Its Python half opens the port, checks the
device and configures it; its compiled half is a pair of module-level kernels that the cycle calls every period.
"""

from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numba.core import types

from kinematics.compiled import array_of

__all__ = [
    "COMMAND",
    "FEEDBACK",
    "LINK",
    "MAX_AXES",
    "RECEIVE",
    "TRANSMIT",
    "DeviceFault",
    "DeviceInfo",
    "Driver",
    "DriverError",
    "Mode",
    "Status",
]

MAX_AXES = 8


class DriverError(Exception):
    """A port or a device that cannot be used; the message says which, why and what to do."""


class Mode(IntEnum):
    """What the host asks of the motor controllers with each command."""

    OFF = 0  # no torque, brakes on
    ON = 1  # brakes released, joint servo active
    SET_REFERENCE = 2  # as ON, and `position` is where the axes are now: the encoders take it as their reference
    BRAKED = 3  # power, but the brakes stay on and no joint servo: `effort` alone drives; to test brakes and watchdog


class Status(IntFlag):
    """What the motor controllers say of themselves, whatever their protocol."""

    POWERED = 1  # torque may flow
    BRAKES_RELEASED = 2
    ESTOP = 4  # the e-stop input is open now
    REFERENCED = 8  # encoders have their reference since power-up
    FAULT = 16  # a fault is latched; see the fault code
    ENABLING = 32  # powered, brakes still opening
    PEDAL = 64  # the operator's pedal is pressed: both its contacts say so
    BRAKED = 128  # powered in Mode.BRAKED


class DeviceFault(IntEnum):
    """Faults that motor controllers latch, whatever their protocol."""

    NONE = 0
    ESTOP = 1
    WATCHDOG = 2
    POSITION_LIMIT = 3
    OVERSPEED = 4
    OVERCURRENT = 5
    BAD_COMMAND = 6  # not finite, or out of the configured range
    NOT_CONFIGURED = 7
    ESTOP_CHANNELS = 8  # the two contacts of the e-stop have disagreed for too long
    PEDAL_CHANNELS = 9  # those of the pedal
    OVERTEMPERATURE = 10  # the controllers' own limit, above the host's
    TAMPERED = 11  # a command whose check sum is right and whose authentication tag is not


FEEDBACK = np.dtype(
    [
        ("t_device_ns", "i8"),  # device clock when sampled
        ("echo", "u8"),  # sequence of the newest command that the device had taken
        ("status", "u4"),  # Status bits
        ("fault", "u4"),  # DeviceFault
        ("fault_axis", "i8"),  # which axis, or -1
        ("position", "f8", (MAX_AXES,)),
        ("velocity", "f8", (MAX_AXES,)),
        ("effort", "f8", (MAX_AXES,)),  # from the measured current
        ("absolute", "f8", (MAX_AXES,)),  # second, absolute sensor; nan where there is none
        ("temperature", "f8", (MAX_AXES,)),  # of the motors, degrees Celsius; nan where there is no sensor
        ("tool", "i8"),  # identity of the instrument that is plugged in; 0: none
    ],
    align=True,
)

COMMAND = np.dtype(
    [
        ("sequence", "u8"),
        ("mode", "i8"),  # Mode
        ("clear_fault", "i8"),  # 1: forget the latched fault if its cause is gone
        ("position", "f8", (MAX_AXES,)),
        ("velocity", "f8", (MAX_AXES,)),
        ("effort", "f8", (MAX_AXES,)),  # feed-forward
        ("kp", "f8", (MAX_AXES,)),
        ("kd", "f8", (MAX_AXES,)),
    ],
    align=True,
)

LINK = np.dtype(
    [
        ("fd", "i8"),  # an open, non-blocking descriptor
        ("n_axes", "i8"),
        ("error", "i8"),  # errno of the last failed read or write, 0: none
        ("await_bytes", "i8"),  # lock-step: read until bytes_received is this many; -1: take what is there
        ("bytes_sent", "u8"),
        ("bytes_received", "u8"),
        ("frames_sent", "u8"),
        ("frames_received", "u8"),  # valid ones
        ("frames_bad", "u8"),  # check sum or form wrong: dropped
        ("frames_stale", "u8"),  # valid, but not newer than what was already taken: dropped
        ("bytes_max", "i8"),  # that a healthy device sends in a cycle, with room for a late reply beside the due one
        ("floods", "i8"),  # cycles in a row in which more came; what exceeds it is thrown away
        ("rx_count", "i8"),  # bytes waiting in rx
        ("rx", "u1", (8192,)),
        ("tx", "u1", (1024,)),
        ("device_i8", "i8", (64,)),  # for the driver's own use
        ("device_f8", "f8", (64,)),
        ("scratch", "u1", (1024,)),
    ],
    align=True,
)

RECEIVE = types.int64(array_of(LINK), array_of(FEEDBACK))
"""Take every complete frame that has arrived; keep the newest. Returns how many fresh ones there were (0: none)."""

TRANSMIT = types.int64(array_of(LINK), array_of(COMMAND))
"""Encode and send one command. Returns 0, or the negative errno of the write."""

Kernel = Callable[..., int]


class DeviceInfo(NamedTuple):
    """What a device said of itself at the handshake."""

    kind: str
    firmware: str
    serial_number: str
    n_axes: int
    servo_rate: float  # Hz
    protocol: str = ""  # hash of the protocol that it speaks
    arm: str = ""  # hash of the arm that it was set up for
    tool: int = 0  # identity of the instrument; 0: none


@runtime_checkable
class Driver(Protocol):
    """A port with motor controllers behind it.

    `open` raises DriverError with the cause and the remedy; after it `link` is ready for the kernels. `close` leaves
    the device without torque and may be called twice.
    """

    @property
    def link(self) -> np.ndarray[Any, Any]:
        """The record that the kernels work on, shape (1,), dtype LINK."""

    @property
    def receive(self) -> Kernel:
        """A kernel with the signature RECEIVE."""

    @property
    def transmit(self) -> Kernel:
        """A kernel with the signature TRANSMIT."""

    def open(self) -> DeviceInfo:
        """Open the port, check the device and configure it."""

    def close(self) -> None:
        """Take the torque away and release the port."""
