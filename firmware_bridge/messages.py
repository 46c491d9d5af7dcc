"""The messages between the host and the joint-controller firmware, defined once.

The C header, the NumPy record types, the 32-bit protocol hash that both sides compare and the table of the manual are
all made from the definitions below. `python -m firmware_bridge.messages` prints the table, with `--c` the header.

A message is little-endian, its fields naturally aligned to 4 bytes, so that both sides may view it as a structure. It
begins with the fields that every message of its kind has and ends with one group of fields per axis.
"""

import hashlib
import sys
import zlib
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from firmware_bridge.frame import CHECK, HEADER, TAG

__all__ = [
    "CONSTANTS",
    "FRAME_OVERHEAD",
    "MAX_AXES",
    "MAX_FRAME",
    "MESSAGES",
    "PROTOCOL_HASH",
    "TICK_US",
    "Constant",
    "Field",
    "Message",
    "MessageType",
    "arm_hash",
    "c_header",
    "configure_field",
    "field_offset",
    "message_dtype",
    "protocol_hash",
    "session_of",
    "table",
    "wire_size",
]

MAX_AXES = 8
TICK_US = 250
"""Period of the firmware's joint servo, µs."""

FRAME_OVERHEAD = HEADER + CHECK
"""Bytes that a frame adds to its payload before the byte stuffing: type, flags, length (u16), CRC-32."""


class Field(NamedTuple):
    """One field of a message."""

    name: str
    type: str  # u8 u16 u32 i8 f32
    unit: str
    meaning: str


class Message(NamedTuple):
    """One message: its number on the wire, what it begins with, and what it repeats per axis."""

    name: str
    number: int
    sender: str
    meaning: str
    head: tuple[Field, ...]
    axis: tuple[Field, ...] = ()
    has_tag: bool = False
    """It ends with a tag that only who holds the device's key can make."""


class Constant(NamedTuple):
    """One value of an enumeration that the messages use."""

    name: str
    value: int
    meaning: str


class MessageType(IntEnum):
    """The first byte of a frame."""

    HELLO = 1
    CONFIGURE = 2
    COMMAND = 3
    HELLO_REPLY = 0x81
    CONFIGURE_REPLY = 0x82
    FEEDBACK = 0x83


# The firmware must compile without the drivers, and the drivers stand above this package: the values are repeated
# here, and a test holds them to be those of drivers/driver.py.
CONSTANTS: dict[str, tuple[Constant, ...]] = {
    "mode": (
        Constant("OFF", 0, "no torque, brakes on"),
        Constant("ON", 1, "brakes released, joint servo active"),
        Constant("SET_REFERENCE", 2, "`position` is where the axes are now; powered state unchanged"),
        Constant("BRAKED", 3, "powered, brakes on, no servo: `effort` alone drives"),
    ),
    "status": (
        Constant("POWERED", 1, "torque may flow"),
        Constant("BRAKES_RELEASED", 2, "the brakes have had their time to open"),
        Constant("ESTOP", 4, "a contact of the e-stop is open now"),
        Constant("REFERENCED", 8, "the encoders have their reference"),
        Constant("FAULT", 16, "a fault is latched"),
        Constant("ENABLING", 32, "powered, brakes still opening"),
        Constant("PEDAL", 64, "both contacts of the pedal are pressed now"),
        Constant("BRAKED", 128, "powered in mode BRAKED"),
    ),
    "fault": (
        Constant("NONE", 0, "no fault"),
        Constant("ESTOP", 1, "a contact of the e-stop opened while powered, or power was asked for while it was open"),
        Constant("WATCHDOG", 2, "no command for as long as the watchdog allows, while powered"),
        Constant("POSITION_LIMIT", 3, "a referenced axis went out of its range, or further out than it began"),
        Constant("OVERSPEED", 4, "an axis was faster than its velocity_max, while powered"),
        Constant("OVERCURRENT", 5, "the measured current was not the commanded one"),
        Constant("BAD_COMMAND", 6, "not finite, a negative gain, out of range, or for another number of axes"),
        Constant("NOT_CONFIGURED", 7, "a command came before an accepted CONFIGURE"),
        Constant("ESTOP_CHANNELS", 8, "the e-stop's contacts disagreed for 10 ms; replaces ESTOP"),
        Constant("PEDAL_CHANNELS", 9, "the pedal's contacts disagreed for 10 ms"),
        Constant("OVERTEMPERATURE", 10, "a motor was hotter than the board allows, while powered"),
        Constant("TAMPERED", 11, "a COMMAND with the right check sum and a wrong tag"),
    ),
}

MESSAGES: tuple[Message, ...] = (
    Message(
        "HELLO",
        MessageType.HELLO,
        "host",
        "opens a session; this message and the first field of its reply never change",
        (Field("protocol_hash", "u32", "", "the host's protocol hash"),),
    ),
    Message(
        "CONFIGURE",
        MessageType.CONFIGURE,
        "host",
        "everything the firmware must know of the arm; refused while powered",
        (
            Field("n_axes", "u32", "", "axes in use, 1 to 8"),
            Field("host_period_us", "u32", "µs", "how often the host sends COMMAND, 250 to 100000"),
            Field("watchdog_us", "u32", "µs", "longest silence while powered, 2 host_period_us to 1000000"),
            Field("brake_delay_us", "u32", "µs", "time that the brakes take to open, up to 1000000"),
        ),
        (
            Field("counts_per_unit", "f32", "1/rad, 1/m", "encoder counts, with the direction's sign; not 0"),
            Field("effort_per_amp", "f32", "N·m/A, N/A", "with the direction's sign; not 0"),
            Field("current_max", "f32", "A", "the servo clamps to it; above 0, and not beyond the board's rating"),
            Field("position_min", "f32", "rad, m", "below position_max"),
            Field("position_max", "f32", "rad, m", "above position_min"),
            Field("velocity_max", "f32", "rad/s, m/s", "faster is a fault; above 0"),
            Field("brake", "u32", "", "1: this axis has a brake"),
        ),
        has_tag=True,
    ),
    Message(
        "COMMAND",
        MessageType.COMMAND,
        "host",
        "one per host period; answered at once by FEEDBACK",
        (
            Field("sequence", "u32", "", "must be newer than every one before it in this session"),
            Field("mode", "u8", "", "see mode"),
            Field("clear_fault", "u8", "", "1: forget the latched fault if its cause is gone"),
            Field("n_axes", "u8", "", "as configured"),
            Field("reserved", "u8", "", "0"),
        ),
        (
            Field("position", "f32", "rad, m", "where to be one host period from now"),
            Field("velocity", "f32", "rad/s, m/s", "velocity to have then"),
            Field("effort", "f32", "N·m, N", "feed-forward"),
            Field("kp", "f32", "N·m/rad, N/m", "not negative"),
            Field("kd", "f32", "N·m·s/rad, N·s/m", "not negative"),
        ),
        has_tag=True,
    ),
    Message(
        "HELLO_REPLY",
        MessageType.HELLO_REPLY,
        "device",
        "who the device is; also the answer to a wrong hash, after which nothing but HELLO is obeyed",
        (
            Field("protocol_hash", "u32", "", "the firmware's protocol hash"),
            Field("firmware_version", "u32", "", "0x00MMmmpp"),
            Field("source_hash", "u32", "", "of the sources that the firmware was built from"),
            Field("serial_number", "u32", "", "of the device"),
            Field("max_axes", "u32", "", "axes that the device can drive"),
            Field("servo_rate_hz", "u32", "Hz", "of the joint servo"),
            Field("session_low", "u32", "", "number of the session that HELLO opened: tags are of this one only"),
            Field("session_high", "u32", "", "high half: the number of the power-up"),
            Field("arm", "u32", "", "CRC-32 of the name of the arm that the device was set up for; 0: any"),
            Field("tool", "u16", "", "identity of the instrument; 0: none"),
            Field("has_key", "u8", "", "1: a key was put into the device"),
            Field("reserved", "u8", "", "0"),
        ),
    ),
    Message(
        "CONFIGURE_REPLY",
        MessageType.CONFIGURE_REPLY,
        "device",
        "accepted, or which field is wrong",
        (
            Field(
                "refused_field",
                "u32",
                "",
                "0: accepted; the number of the wrong field; 253 tag, 254 powered, 255 no session",
            ),
            Field("refused_axis", "u32", "", "the axis of the wrong field"),
            Field("configuration_crc", "u32", "", "CRC-32 of the CONFIGURE payload in force; 0: none"),
        ),
    ),
    Message(
        "FEEDBACK",
        MessageType.FEEDBACK,
        "device",
        "the newest samples of the inputs; answers COMMAND",
        (
            Field("echo", "u32", "", "sequence of the COMMAND that this answers"),
            Field("time_low_us", "u32", "µs", "device time of the samples, low half; 0: none taken yet"),
            Field("time_high_us", "u32", "µs", "high half"),
            Field("status", "u8", "", "see status"),
            Field("fault", "u8", "", "see fault"),
            Field("fault_axis", "i8", "", "which axis, or -1"),
            Field("n_axes", "u8", "", "as configured; before that as in the COMMAND, the axes all 0"),
            Field("temperature", "f32", "°C", "of one motor, the next one with each frame; NaN: no sensor"),
            Field("temperature_axis", "u8", "", "which one"),
            Field("reserved", "u8", "", "0"),
            Field("tool", "u16", "", "identity of the instrument; 0: none, 65535: a larger number"),
        ),
        (
            Field("position", "f32", "rad, m", "from the encoder"),
            Field("velocity", "f32", "rad/s, m/s", "from the tracking observer"),
            Field("effort", "f32", "N·m, N", "from the measured current"),
            Field("absolute", "f32", "rad, m", "the second, absolute sensor; NaN where there is none"),
        ),
    ),
)

REFUSED_AUTHENTICATION = 253
REFUSED_POWERED = 254
REFUSED_NO_SESSION = 255

_NUMPY = {"u8": "u1", "u16": "<u2", "u32": "<u4", "i8": "i1", "f32": "<f4"}
_C = {"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "i8": "int8_t", "f32": "float"}


def _message(name: str) -> Message:
    for message in MESSAGES:
        if message.name == name:
            return message
    raise KeyError(f"no message is called {name!r}; there are {', '.join(m.name for m in MESSAGES)}")


def message_dtype(name: str, n_axes: int = MAX_AXES) -> np.dtype[Any]:
    """Return the NumPy record of a message's payload, without the tag that some end with.

    Args:
        name: As in MESSAGES, e.g. "COMMAND".
        n_axes: How many axes follow the head (as the field `axes`), where the message has any.

    Raises:
        KeyError: There is no such message.
    """
    message = _message(name)
    fields: list[Any] = [(f.name, _NUMPY[f.type]) for f in message.head]
    if message.axis:
        fields.append(("axes", [(f.name, _NUMPY[f.type]) for f in message.axis], (n_axes,)))
    return np.dtype(fields)


def field_offset(dtype: np.dtype[Any], name: str) -> int:
    """Return where a field of a record begins, in bytes."""
    if dtype.fields is None:
        raise TypeError(f"{dtype} has no fields: give a structured dtype")
    return int(dtype.fields[name][1])


def wire_size(name: str, n_axes: int = MAX_AXES) -> int:
    """Return the most bytes that a message takes on the wire: the stuffed frame between two delimiters."""
    frame = FRAME_OVERHEAD + message_dtype(name, n_axes).itemsize + (TAG if _message(name).has_tag else 0)
    return frame + frame // 254 + 3


MAX_FRAME = max(wire_size(m.name) for m in MESSAGES)
"""Bytes of the longest frame on the wire."""


def arm_hash(name: str) -> int:
    """Return the 32 bits by which a device knows the arm that it was set up for: CRC-32 of the arm's name."""
    return zlib.crc32(name.encode())


def session_of(hello_reply: np.void) -> int:
    """Return the 64-bit number of the session that a HELLO_REPLY speaks of."""
    return int(hello_reply["session_high"]) << 32 | int(hello_reply["session_low"])


def configure_field(number: int) -> str:
    """Return the name of the CONFIGURE field that CONFIGURE_REPLY refused, or why the whole was refused."""
    if number == REFUSED_AUTHENTICATION:
        return "everything, as the authentication tag is wrong"
    if number == REFUSED_POWERED:
        return "everything, as the motors are powered"
    if number == REFUSED_NO_SESSION:
        return "everything, as no session is open"
    configure = _message("CONFIGURE")
    names = [f.name for f in (*configure.head, *configure.axis)]
    return names[number - 1] if 1 <= number <= len(names) else f"field {number}"


def protocol_hash() -> int:
    """Return 32 bits that change with any change of the protocol: names, numbers, types, units, order, framing."""
    text = [f"cobs crc32 siphash24(frame, session) type:u8 flags:u8 length:u16; axes {MAX_AXES}; tick {TICK_US}"]
    text += [
        f"{m.name}={m.number:d}:{[tuple(f[:3]) for f in m.head]}{[tuple(f[:3]) for f in m.axis]}{m.has_tag}"
        for m in MESSAGES
    ]
    text += [f"{name}:{[tuple(c[:2]) for c in values]}" for name, values in CONSTANTS.items()]
    return int.from_bytes(hashlib.sha256("\n".join(text).encode()).digest()[:4], "little")


PROTOCOL_HASH = protocol_hash()


def c_header() -> str:
    """Return the text of the C header `messages.h`."""
    out = [
        "/* Made from firmware_bridge/messages.py: change that file, not this one. */",
        "#ifndef TROCAR_MESSAGES_H",
        "#define TROCAR_MESSAGES_H",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        f"#define FW_PROTOCOL_HASH 0x{PROTOCOL_HASH:08x}u",
        f"#define FW_MAX_AXES {MAX_AXES}u",
        f"#define FW_TICK_US {TICK_US}u",
        f"#define FW_MAX_FRAME {MAX_FRAME}u",
        f"#define FW_TAG {TAG}u  /* bytes of an authentication tag */",
        f"#define FW_REFUSED_AUTHENTICATION {REFUSED_AUTHENTICATION}u",
        f"#define FW_REFUSED_POWERED {REFUSED_POWERED}u",
        f"#define FW_REFUSED_NO_SESSION {REFUSED_NO_SESSION}u",
        "",
    ]
    for name, values in CONSTANTS.items():
        for constant in values:
            out.append(f"#define FW_{name.upper()}_{constant.name} {constant.value}u  /* {constant.meaning} */")
        out.append("")
    configure = _message("CONFIGURE")
    for number, field in enumerate((*configure.head, *configure.axis), 1):
        out.append(f"#define FW_CONFIGURE_{field.name.upper()} {number}u")
    for message in MESSAGES:
        out += ["", f"/* {message.sender}: {message.meaning} */"]
        out.append(f"#define FW_TYPE_{message.name} 0x{message.number:02x}u")
        c_name = f"fw_{message.name.lower()}"
        if message.axis:
            out += [f"struct {c_name}_axis {{", *_c_members(message.axis), "};"]
        out += [f"struct {c_name} {{", *_c_members(message.head)]
        if message.axis:
            out.append(f"    struct {c_name}_axis axes[FW_MAX_AXES];")
        out.append("};")
        dtype = message_dtype(message.name)
        out.append(f'_Static_assert(sizeof(struct {c_name}) == {dtype.itemsize}, "padding in {c_name}");')
        if message.axis:
            head = dtype.itemsize - MAX_AXES * dtype["axes"].base.itemsize
            out.append(f"#define FW_{message.name}_HEAD {head}u  /* bytes before the axes */")
    return "\n".join([*out, "", "#endif", ""])


def _c_members(fields: tuple[Field, ...]) -> list[str]:
    return [f"    {_C[f.type]} {f.name};  /* {' '.join(filter(None, (f.unit, f.meaning)))} */" for f in fields]


def table() -> str:
    """Return the messages and their constants as Markdown."""
    out = []
    for message in MESSAGES:
        out += [f"### {message.name} (0x{message.number:02X}, from the {message.sender})", ""]
        out += [f"{message.meaning[0].upper()}{message.meaning[1:]}.", ""]
        out += ["| offset | field | type | unit | meaning |", "|---|---|---|---|---|"]
        dtype = message_dtype(message.name)
        rows = [(str(field_offset(dtype, field.name)), f"`{field.name}`", field) for field in message.head]
        if message.axis:
            first = field_offset(dtype, "axes")
            axis = dtype["axes"].base
            for field in message.axis:
                offset = f"{first + field_offset(axis, field.name)} + {axis.itemsize} i"
                rows.append((offset, f"`{field.name}` of axis i", field))
        if message.has_tag:
            meaning = "SipHash-2-4 of the frame's bytes before it and the session's number"
            rows.append(("end", "`tag`", Field("tag", "u64", "", meaning)))
        out += [
            f"| {offset} | {name} | {field.type} | {field.unit} | {field.meaning} |" for offset, name, field in rows
        ]
        out.append("")
    for name, values in CONSTANTS.items():
        out += [f"### {name}", "", "| value | name | meaning |", "|---|---|---|"]
        out += [f"| {c.value} | {c.name} | {c.meaning} |" for c in values]
        out.append("")
    return "\n".join(out)


if __name__ == "__main__":
    print(c_header() if "--c" in sys.argv[1:] else table())
