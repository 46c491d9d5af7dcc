"""The C core against whoever stands between it and the host."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import DeviceFault, Status
from firmware_bridge.messages import MessageType, configure_field

OFF, ON, SET_REFERENCE, BRAKED = 0, 1, 2, 3
KEY = bytes(range(100, 116))


@pytest.fixture(params=[bytes(16), KEY], ids=["no key", "key"])
def keyed(request, bench_class):
    return bench_class(key=request.param)


def tampered(bench, codec, mode=ON, *, bit=0, sequence=None, **axes) -> bytes:
    """A command with one bit changed behind the host's back, and its check sum made right again."""
    encode, decode, _ = codec
    if sequence is None:
        bench.sequence += 1
        sequence = bench.sequence
    body = bytearray(decode(bench.command_frame(mode, sequence=sequence, **axes)[:-1])[:-4])
    body[bit // 8] ^= 1 << bit % 8
    return encode(bytes(body) + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


def test_a_device_says_whether_it_has_a_key_and_for_which_arm_it_was_set_up(bench_class):
    assert bench_class().hello()["has_key"] == 0
    assert bench_class(key=bytes(15) + b"\1").hello()["has_key"] == 1
    assert bench_class(arm=0xABCD1234).hello()["arm"] == 0xABCD1234


def test_a_tampered_command_takes_the_power_in_the_next_tick_and_is_not_obeyed(keyed, reference_codec):
    keyed.powered(effort=1.0)
    keyed.receive(tampered(keyed, reference_codec, bit=8 * 30, effort=1.0))
    feedback = keyed.feedback()
    assert (feedback["fault"], feedback["fault_axis"]) == (DeviceFault.TAMPERED, -1)
    assert feedback["echo"] == keyed.sequence  # a host whose every command is changed must hear of it
    assert not Status(int(feedback["status"])) & Status.POWERED
    keyed.tick()
    assert keyed.is_dead()


def test_every_single_bit_of_a_command_is_guarded_by_its_tag(bench_class, reference_codec):
    """Of each byte from the sequence number to the tag's end, with the check sum made right again."""
    bench = bench_class(key=KEY).ready()
    length = len(reference_codec[1](bench.command_frame(OFF, sequence=0)[:-1])) - 4
    for bit in range(8 * 4, 8 * length):
        assert bench.command(OFF, clear=1)["fault"] == DeviceFault.NONE
        bench.command(OFF)
        bench.receive(tampered(bench, reference_codec, OFF, bit=bit))
        assert bench.feedback()["fault"] == DeviceFault.TAMPERED


def test_every_single_bit_of_a_command_s_header_makes_it_another_frame_or_none(bench_class, reference_codec):
    """Its type is not the command's, or its length is wrong: it is not obeyed, and no watchdog is fed."""
    bench = bench_class(key=KEY).powered()
    newest = bench.sequence
    for bit in range(8 * 4):
        bench.receive(tampered(bench, reference_codec, bit=bit, effort=1.0))
        bench.transmit()
    assert not bench.tick()["current"].any()
    assert bench.command(ON, sequence=newest + 1)["fault"] == DeviceFault.NONE


@pytest.mark.parametrize("mode", [OFF, ON, SET_REFERENCE, BRAKED])
def test_a_tampered_command_is_a_fault_without_power_too(keyed, reference_codec, mode):
    keyed.ready()
    keyed.receive(tampered(keyed, reference_codec, mode, bit=8 * 12))
    assert keyed.feedback()["fault"] == DeviceFault.TAMPERED
    assert keyed.command(ON)["fault"] == DeviceFault.TAMPERED
    assert keyed.command(OFF, clear=1)["fault"] == DeviceFault.NONE


def test_a_tampered_command_feeds_no_watchdog_and_uses_up_no_sequence_number(keyed, reference_codec):
    keyed.ready()
    keyed.receive(tampered(keyed, reference_codec, OFF, bit=8 * 12, sequence=2**31 - 5))
    keyed.transmit()
    assert keyed.command(OFF, sequence=keyed.sequence + 1) is not None


def test_a_command_that_is_too_short_for_a_tag_is_tampered_with(keyed, reference_codec):
    for payload in (b"", b"\1\2\3", bytes(8), bytes(15)):
        keyed.ready()
        keyed.receive(reference_codec[2](MessageType.COMMAND, payload))
        keyed.transmit()
        assert keyed.command(OFF)["fault"] == DeviceFault.TAMPERED
        keyed.command(OFF, clear=1)


def test_the_first_fault_is_kept_when_a_tampered_command_follows(keyed, reference_codec):
    keyed.powered()
    keyed.tick(keyed.WATCHDOG_US // 250)
    keyed.receive(tampered(keyed, reference_codec, bit=8 * 12))
    assert keyed.feedback()["fault"] == DeviceFault.WATCHDOG


def test_a_replayed_command_is_neither_obeyed_nor_a_fault(keyed):
    """Its tag is right, its sequence number is old."""
    keyed.powered(effort=0.0)
    replay = keyed.command_frame(ON, sequence=keyed.sequence, effort=2.0)
    for _ in range(3):
        assert keyed.command(ON)["fault"] == DeviceFault.NONE
        keyed.receive(replay)
        assert keyed.transmit() == b""
        assert not keyed.tick()["current"].any()


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
@settings(max_examples=30, deadline=None)
def test_only_the_device_s_own_key_opens_it(bench_class, theirs, ours):
    bench = bench_class(key=theirs)
    bench.hello()
    bench.key = ours
    refused = configure_field(int(bench.configure()["refused_field"]))
    if theirs == ours:
        assert refused == "field 0"
    else:
        assert refused == "everything, as the authentication tag is wrong"
        assert bench.configure()["configuration_crc"] == 0


def test_a_host_with_another_key_does_not_disturb_the_one_in_session(bench_class):
    bench = bench_class(key=KEY).powered()
    bench.hello()
    bench.key = bytes(16)
    assert configure_field(int(bench.configure()["refused_field"])) == "everything, as the authentication tag is wrong"
    bench.key = KEY
    assert bench.command(ON)["fault"] == DeviceFault.NONE
    bench.tick()
    assert bench.outputs["power"][0] == 1


def test_a_device_without_configuration_says_only_that(keyed, reference_codec):
    """As after a restart, when it has forgotten the session that the host's tags are of."""
    keyed.hello()
    keyed.receive(tampered(keyed, reference_codec, bit=8 * 12))
    assert keyed.feedback()["fault"] == DeviceFault.NOT_CONFIGURED
    keyed.ready()
    assert keyed.command(OFF)["fault"] == DeviceFault.NONE


def record(bench) -> list[bytes]:
    """Power the arm with a session whose bytes somebody records."""
    heard = []
    receive = bench.receive
    bench.receive = lambda wire: (heard.append(wire), receive(wire))
    bench.powered(effort=1.0)
    bench.command(OFF)
    bench.receive = receive
    return heard


def replay(bench, heard) -> int:
    """The most that the replay did: how many ticks with power."""
    powered = 0
    for wire in heard:
        bench.receive(wire)
        bench.transmit()
        powered += int(bench.tick(4)["power"])
    return powered


def test_a_whole_recorded_session_does_nothing_when_it_is_sent_again(keyed):
    heard = record(keyed)
    assert replay(keyed, heard) == 0


def test_a_recorded_session_does_nothing_after_the_next_power_up(bench_class):
    heard = record(bench_class(key=KEY, boot=1))
    assert replay(bench_class(key=KEY, boot=2), heard) == 0
    assert replay(bench_class(key=KEY, boot=1), heard) > 0  # what the board's counter is for


def test_a_restarted_controller_counts_its_power_ups(bench_class):
    bench = bench_class(key=KEY, boot=5)
    heard = record(bench)
    bench.library.fw_native_reset(bench.firmware.ctypes.data)
    assert bench.hello()["session_high"] == 6
    assert replay(bench, heard) == 0


def test_who_asks_while_powered_opens_no_session(bench_class):
    bench = bench_class(key=KEY).powered()
    session = bench.session
    for _ in range(3):
        bench.hello()
        assert bench.session == session
    assert bench.command(ON)["fault"] == DeviceFault.NONE
    bench.command(OFF)
    bench.hello()
    assert bench.session == session + 1


def test_a_configuration_cannot_pass_for_a_command(bench_class, reference_codec):
    """The tag covers the message's type, so that none is of use in another place."""
    bench = bench_class(key=KEY).ready()
    encode, decode, _ = reference_codec
    body = bytearray(decode(reference_codec[2](MessageType.CONFIGURE, bytes(148), KEY, bench.session)[:-1])[:-4])
    body[0] = MessageType.COMMAND
    bench.receive(encode(bytes(body) + zlib.crc32(body).to_bytes(4, "little")) + b"\0")
    assert bench.feedback()["fault"] == DeviceFault.TAMPERED
    assert bench.command(OFF, clear=1)["fault"] == DeviceFault.NONE
