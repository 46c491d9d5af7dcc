import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.driver import MAX_AXES as DRIVER_AXES
from drivers.driver import DeviceFault, Mode, Status
from firmware_bridge import messages
from firmware_bridge.frame import TAG, make_frame
from firmware_bridge.messages import (
    CONSTANTS,
    FRAME_OVERHEAD,
    MAX_AXES,
    MAX_FRAME,
    MESSAGES,
    PROTOCOL_HASH,
    MessageType,
    c_header,
    configure_field,
    message_dtype,
    protocol_hash,
    table,
    wire_size,
)
from firmware_bridge.native import _compilers


@pytest.mark.parametrize(("name", "enum"), [("mode", Mode), ("status", Status), ("fault", DeviceFault)])
def test_constants_are_those_of_the_drivers(name, enum):
    assert {c.name: c.value for c in CONSTANTS[name]} == {member.name: member.value for member in enum}
    assert MAX_AXES == DRIVER_AXES


def test_seven_axes_fit_a_kilohertz_at_four_megabaud():
    """One after the other, with time left in the period to work them out; 10 bits a byte."""
    command, feedback = wire_size("COMMAND", 7), wire_size("FEEDBACK", 7)
    assert command == message_dtype("COMMAND", 7).itemsize + FRAME_OVERHEAD + TAG + 3
    assert feedback == message_dtype("FEEDBACK", 7).itemsize + FRAME_OVERHEAD + 3
    assert (command + feedback) * 10 / 4_000_000 < 0.85e-3


@given(name=st.sampled_from([m.name for m in MESSAGES]), n_axes=st.integers(1, MAX_AXES), fill=st.integers(0, 255))
def test_no_frame_is_longer_on_the_wire_than_its_size_says(name, n_axes, fill):
    key = bytes(16) if next(m for m in MESSAGES if m.name == name).has_tag else None
    payload = bytes([fill]) * message_dtype(name, n_axes).itemsize
    assert len(make_frame(MessageType[name], payload, key)) <= wire_size(name, n_axes) <= MAX_FRAME


def test_every_field_is_where_the_compiler_puts_it(tmp_path):
    expected, lines = [], []
    for message in MESSAGES:
        dtype, name = message_dtype(message.name), f"struct fw_{message.name.lower()}"
        for field in message.head:
            expected.append(dtype.fields[field.name][1])
            lines.append(f"offsetof({name}, {field.name})")
        for field in message.axis:
            expected.append(dtype.fields["axes"][1] + 5 * dtype["axes"].base.itemsize)
            expected[-1] += dtype["axes"].base.fields[field.name][1]
            lines.append(f"offsetof({name}, axes[5].{field.name})")
    (tmp_path / "messages.h").write_text(c_header())
    body = "".join(f'printf("%zu\\n", {line});' for line in lines)
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n#include "messages.h"\nint main(void) {{ {body} return 0; }}'
    )
    program = tmp_path / "main"
    subprocess.run([*next(_compilers()), "-std=c11", str(tmp_path / "main.c"), "-o", str(program)], check=True)
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert [int(line) for line in printed.split()] == expected


def test_payload_lengths_are_whole_words():
    for message in MESSAGES:
        for n_axes in range(1, MAX_AXES + 1):
            assert message_dtype(message.name, n_axes).itemsize % 4 == 0


@pytest.mark.parametrize("change", ["name", "type", "unit", "order", "number", "constant"])
def test_the_hash_changes_with_the_protocol(monkeypatch, change):
    command = next(m for m in MESSAGES if m.name == "COMMAND")
    first, *others = command.axis
    changed = {
        "name": command._replace(axis=(first._replace(name="angle"), *others)),
        "type": command._replace(axis=(first._replace(type="u32"), *others)),
        "unit": command._replace(axis=(first._replace(unit="deg"), *others)),
        "order": command._replace(axis=(*others, first)),
        "number": command._replace(number=9),
    }
    if change == "constant":
        mode = CONSTANTS["mode"]
        monkeypatch.setattr(messages, "CONSTANTS", {**CONSTANTS, "mode": (mode[0]._replace(value=7), *mode[1:])})
    else:
        monkeypatch.setattr(messages, "MESSAGES", tuple(changed[change] if m is command else m for m in MESSAGES))
    assert protocol_hash() != PROTOCOL_HASH


def test_the_hash_stays_when_only_prose_changes(monkeypatch):
    reworded = tuple(m._replace(meaning="other words") for m in MESSAGES)
    monkeypatch.setattr(messages, "MESSAGES", reworded)
    assert protocol_hash() == PROTOCOL_HASH


def test_refusals_are_named():
    assert configure_field(1) == "n_axes"
    assert configure_field(11) == "brake"
    assert "powered" in configure_field(254)
    assert "authentication tag" in configure_field(253)
    assert configure_field(99) == "field 99"


def test_an_unknown_message_is_named_with_those_that_exist():
    with pytest.raises(KeyError, match="HELLO, CONFIGURE"):
        message_dtype("GOODBYE")


def test_the_manual_shows_the_protocol_as_it_is():
    manual = (Path(__file__).parents[2] / "docs" / "firmware.md").read_text()
    assert table().strip() in manual
