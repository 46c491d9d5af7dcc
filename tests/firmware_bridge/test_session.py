"""The C core as the host sees it over the wire: handshake, framing, sequence numbers."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import DeviceFault, Status
from firmware_bridge.messages import PROTOCOL_HASH, MessageType, configure_field

OFF, ON, SET_REFERENCE = 0, 1, 2


def test_hello_is_answered_without_a_tick(bench):
    reply = bench.hello()
    assert reply["protocol_hash"] == PROTOCOL_HASH
    assert (reply["serial_number"], reply["max_axes"], reply["servo_rate_hz"]) == (0xC0FFEE, 8, 4000)


def test_after_a_wrong_hash_nothing_is_obeyed(bench):
    assert bench.hello(PROTOCOL_HASH ^ 1)["protocol_hash"] == PROTOCOL_HASH
    assert configure_field(int(bench.configure()["refused_field"])) == "everything, as no session is open"
    assert bench.command(ON)["fault"] == DeviceFault.NOT_CONFIGURED
    bench.tick(4)
    assert bench.is_dead()


def test_configuration_is_confirmed_by_its_crc(bench):
    bench.hello()
    reply = bench.configure()
    assert reply["refused_field"] == 0
    assert reply["configuration_crc"] == zlib.crc32(bench.configuration().tobytes())


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_axes", 6),  # not as many as follow
        ("host_period_us", 249),
        ("host_period_us", 100_001),
        ("watchdog_us", 1999),
        ("watchdog_us", 1_000_001),
        ("brake_delay_us", 1_000_001),
        ("counts_per_unit", 0.0),
        ("counts_per_unit", NAN),
        ("effort_per_amp", 0.0),
        ("effort_per_amp", INF),
        ("current_max", 0.0),
        ("current_max", -1.0),
        ("position_min", -INF),
        ("position_max", NAN),
        ("position_max", -1.5),
        ("velocity_max", 0.0),
        ("brake", 2),
    ],
)
@pytest.mark.parametrize("axis", [0, 3, 6])
def test_a_wrong_configuration_is_refused_by_the_name_of_its_field(bench, field, value, axis):
    bench.hello()
    configuration = bench.configuration()
    if field in configuration.dtype.names:
        configuration[field] = value
        axis = 0
    else:
        configuration["axes"][field][0, axis] = value
    ((_, payload),) = bench.ask(MessageType.CONFIGURE, configuration.tobytes())
    refused, refused_axis, crc = np.frombuffer(payload, "<u4")
    assert (configure_field(int(refused)), refused_axis, crc) == (field, axis, 0)
    assert bench.command(OFF)["fault"] == DeviceFault.NOT_CONFIGURED


@pytest.mark.parametrize(
    "edge",
    [
        {"host_period_us": 250, "watchdog_us": 500},
        {"host_period_us": 100_000, "watchdog_us": 1_000_000},
        {"brake_delay_us": 1_000_000},
        {"brake": 0},
    ],
)
def test_a_configuration_at_the_edge_of_what_is_allowed_is_taken(bench, edge):
    bench.hello()
    assert bench.configure(**edge)["refused_field"] == 0


def test_no_configuration_is_taken_while_powered(bench):
    bench.powered()
    reply = bench.configure(current_max=5.0)
    assert configure_field(int(reply["refused_field"])) == "everything, as the motors are powered"
    assert reply["configuration_crc"] == zlib.crc32(bench.configuration().tobytes())


def test_a_device_that_was_restarted_says_so_to_a_host_that_goes_on(bench):
    feedback = bench.command(ON, sequence=77_000)
    assert feedback["echo"] == 77_000
    assert (feedback["fault"], feedback["status"]) == (DeviceFault.NOT_CONFIGURED, Status.FAULT)
    assert feedback["axes"].size == 7


def test_a_new_session_keeps_the_reference_unless_the_encoders_count_otherwise(bench):
    bench.ready()
    bench.place(0.3)
    bench.tick()
    bench.command(SET_REFERENCE, position=1.0)
    bench.hello()
    bench.configure(watchdog_us=5000)
    feedback = bench.command(OFF)
    assert feedback["status"] & Status.REFERENCED
    np.testing.assert_allclose(feedback["axes"]["position"], 1.0, rtol=1e-6)
    bench.configure(counts_per_unit=50_000.0)
    feedback = bench.command(OFF)
    assert not feedback["status"] & Status.REFERENCED
    np.testing.assert_allclose(feedback["axes"]["position"], 0.6, rtol=1e-6)


@given(st.lists(st.integers(1, 40), max_size=60))
@settings(max_examples=50, deadline=None)
def test_fragmentation_changes_nothing(bench_class, cuts):
    bench = bench_class().ready()
    wire = bench.command_frame(OFF, sequence=10) + bench.command_frame(OFF, sequence=11)
    replies = b""
    for cut in [*cuts, len(wire)]:
        bench.receive(wire[:cut])
        wire = wire[cut:]
        replies += bench.transmit(16)
    while more := bench.transmit(7):
        replies += more
    whole = bench_class().ready()
    whole.receive(whole.command_frame(OFF, sequence=10) + whole.command_frame(OFF, sequence=11))
    assert replies == whole.transmit()
    assert replies.count(b"\0") == 4  # before and after each


def test_a_frame_is_taken_byte_by_byte(bench):
    bench.ready()
    wire = bench.command_frame(OFF, sequence=10)
    for byte in wire[:-1]:
        bench.receive(bytes([byte]))
        assert bench.transmit() == b""
    bench.receive(wire[-1:])
    assert bench.feedback()["echo"] == 10


def test_every_truncated_or_flipped_command_is_ignored(bench):
    bench.powered()
    frame = bench.command_frame(ON, sequence=1000, effort=1.0)[:-1]
    for length in range(len(frame)):
        bench.receive(frame[:length] + b"\0")
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        bench.receive(bytes(damaged) + b"\0")
    assert bench.transmit() == b""
    assert not bench.tick()["current"].any()
    assert bench.command(ON, sequence=1000)["echo"] == 1000


def test_a_truncated_frame_is_not_completed_by_the_one_before_it(bench, reference_codec):
    """The bytes that it lacks may still be in the buffer."""
    hello = reference_codec[2](MessageType.HELLO, np.uint32(PROTOCOL_HASH).tobytes())
    for length in range(1, len(hello) - 1):
        bench.hello()
        bench.receive(hello[:length] + b"\0")
        assert bench.transmit() == b""


@given(st.binary(max_size=2000))
@settings(max_examples=100, deadline=None)
def test_after_any_garbage_the_next_frame_is_understood(bench_class, garbage):
    bench = bench_class().ready()
    bench.receive(garbage + b"\0")
    assert bench.feedback() is None
    assert bench.command(OFF)["echo"] == bench.sequence


def test_valid_frames_that_are_no_command_for_this_device_do_nothing(bench, reference_codec):
    bench.ready()
    make = reference_codec[2]
    for type_ in range(256):
        for payload in (b"", b"\1", b"\0" * 12, b"\7" * 200):
            if type_ != MessageType.COMMAND:  # without a tag it is a tampered one
                bench.receive(make(type_, payload))
            bench.receive(make(type_, payload, bench.key, bench.session))
    bench.transmit()
    bench.tick(4)
    assert bench.is_dead()
    assert bench.command(OFF)["fault"] == DeviceFault.NONE


@pytest.mark.parametrize("age", [0, 1, 5, 2**31 - 1, 2**31])
def test_an_old_command_is_not_executed_and_not_answered(bench, age):
    bench.powered()
    if age > bench.sequence:  # as far on as a command may go, so that so old a number is not newer
        bench.sequence += 2**31 - 2
        assert bench.command(ON) is not None
    newest = bench.sequence
    assert bench.command(ON, sequence=(newest - age) % 2**32, effort=1.0) is None
    assert not bench.tick()["current"].any()


def test_replayed_commands_feed_no_watchdog(bench):
    bench.powered()
    replay = bench.command_frame(ON, sequence=bench.sequence)
    for _ in range(bench.WATCHDOG_US // 1000 + 1):
        bench.receive(replay)
        bench.tick(4)
    assert bench.is_dead()
    assert bench.command(ON)["fault"] == DeviceFault.WATCHDOG


def test_sequence_numbers_wrap(bench):
    bench.ready()
    bench.sequence = 2**32 - 3
    bench.hello()  # or a jump of more than half the range would be old
    echoes = [int(bench.command(OFF)["echo"]) for _ in range(4)]
    assert echoes == [2**32 - 2, 2**32 - 1, 0, 1]


def test_a_new_session_may_begin_again_with_its_numbers_but_not_while_powered(bench):
    bench.powered()
    bench.hello()
    assert bench.command(OFF, sequence=1) is None
    bench.command(OFF)
    bench.hello()
    assert bench.command(OFF, sequence=1)["echo"] == 1


def test_a_recorded_stream_cannot_power_a_new_session(bench):
    """After HELLO the old numbers count again, but power needs the host's OFF first."""
    bench.powered()
    bench.command(OFF)
    bench.hello()
    for sequence in range(1, 50):
        bench.command(ON, sequence=sequence)
        bench.tick(4)
        assert bench.is_dead()


def test_a_slow_reader_loses_whole_frames_only(bench, reference_codec):
    bench.ready()
    for _ in range(20):
        bench.receive(bench.command_frame(OFF, sequence=bench.sequence + 1))
        bench.sequence += 1
    pieces = bench.transmit().split(b"\0")
    assert pieces.pop() == b""
    pieces = [piece for piece in pieces if piece]
    assert len(pieces) >= 2
    assert all(len(reference_codec[1](piece)) == 144 for piece in pieces)
