"""The bridge driver against the real firmware on a pseudo-terminal; every exchange in lock-step."""

import errno
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba.core import types

from drivers import bridge
from drivers.bridge import AxisSettings, BridgeDriver
from drivers.driver import (
    COMMAND,
    FEEDBACK,
    LINK,
    RECEIVE,
    TRANSMIT,
    DeviceFault,
    Driver,
    DriverError,
    Mode,
    Status,
)
from drivers.serial_port import SerialPortError
from firmware_bridge.frame import HEADER, make_frame, parse_frame
from firmware_bridge.messages import PROTOCOL_HASH, MessageType, arm_hash, message_dtype
from kinematics.compiled import array_of, kernel, prepare

COMMAND_BYTES, REPLY = 167, 147  # of seven axes on the wire
NO_KEY = bytes(16)
FEEDBACK_AFTER_RECEIVE = types.int64(types.FunctionType(RECEIVE), array_of(LINK), array_of(FEEDBACK))


@kernel(FEEDBACK_AFTER_RECEIVE)
def through_a_function_type(part, link, feedback):
    return part(link, feedback)


KEY = bytes(range(16))

# --- the contract ---------------------------------------------------------------------------------------------------


def test_it_is_a_driver_with_the_cycle_s_signatures(host):
    assert isinstance(host.driver, Driver)
    prepare(host.driver.receive, host.driver.transmit)
    assert host.driver.receive.nopython_signatures == [RECEIVE]
    assert host.driver.transmit.nopython_signatures == [TRANSMIT]
    host.device.tick()
    host.send()
    host.device.write(host.reply())
    host.link["await_bytes"] = host.device.bytes_written
    assert through_a_function_type(host.driver.receive, host.link, host.feedback) == 1


def test_the_device_says_who_it_is(host):
    info = host.info
    assert (info.kind, info.serial_number, info.n_axes, info.servo_rate) == ("bridge", "00c0ffee", 7, 4000.0)
    assert info.firmware.startswith("0.1.0 (")
    assert (info.protocol, info.arm, info.tool) == (f"{PROTOCOL_HASH:08x}", "", 0)


def test_the_device_says_for_which_arm_it_was_set_up_and_which_instrument_it_holds(make_device, make_host):
    device = make_device(arm=arm_hash("PSM1"), tool=420)
    info = make_host(device).info
    assert (info.arm, info.tool) == (f"{arm_hash('PSM1'):08x}", 420)
    assert info.arm != f"{arm_hash('PSM2'):08x}"


def test_temperatures_come_in_turn_and_are_no_number_before(host):
    host.device.inputs["temperature"][0] = [30.0, 31.0, np.nan, 33.0, 34.0, 35.0, 36.0, 99.0]
    host.device.inputs["tool"] = 17
    for k in range(1, 15):
        assert host.exchange(mode=Mode.OFF) == 1
        expected = np.where(np.arange(8) < min(k, 7), host.device.inputs["temperature"][0], np.nan)
        np.testing.assert_equal(host.feedback["temperature"][0], expected)
        assert host.feedback["tool"][0] == 17
    host.device.inputs["temperature"][0, 4] = 60.0
    for _ in range(7):
        host.exchange(mode=Mode.OFF)
    assert host.feedback["temperature"][0, 4] == 60.0


def test_power_on_closed_brakes_and_the_pedal_arrive(host):
    host.exchange(mode=Mode.OFF)
    host.device.inputs["pedal"] = 1
    for _ in range(3):
        host.exchange(mode=Mode.BRAKED, effort=0.2)
    assert Status(int(host.feedback["status"][0])) == Status.POWERED | Status.BRAKED | Status.PEDAL
    assert (host.device.outputs["power"][0], host.device.outputs["brakes_released"][0]) == (1, 0)
    np.testing.assert_allclose(host.feedback["effort"][0, :7], 0.2, rtol=1e-6)


def test_the_handshake_s_bytes_are_counted(host):
    """In lock-step both sides compare what was written since the port was opened."""
    assert host.count("bytes_sent") == host.device.bytes_read
    assert host.count("bytes_received") == host.device.bytes_written > 0


def test_a_command_arrives_as_it_was_given(host):
    host.device.inputs["counts"][0, :7] = 1000 * np.arange(7)
    host.device.inputs["absolute"][0, :7] = [0.1, 0.2, 0.3, float("nan"), 0.5, 0.6, 0.7]
    host.device.tick(100)
    host.exchange(mode=Mode.OFF)
    for _ in range(60):
        position = 0.01 * np.arange(8) + 0.001
        assert host.exchange(mode=Mode.ON, position=position, kp=10.0, kd=0.0, effort=0.1) == 1
        host.device.tick(3)
    f = host.feedback[0]
    assert f["echo"] == host.command["sequence"][0]
    assert Status(int(f["status"])) == Status.POWERED | Status.BRAKES_RELEASED
    assert (f["fault"], f["fault_axis"]) == (DeviceFault.NONE, -1)
    np.testing.assert_allclose(f["position"][:7], 0.01 * np.arange(7), rtol=1e-6)
    np.testing.assert_allclose(f["effort"][:7], 10.0 * 0.001 + 0.1, rtol=1e-3)
    np.testing.assert_allclose(f["absolute"][:7], [0.1, 0.2, 0.3, float("nan"), 0.5, 0.6, 0.7], rtol=1e-6)
    assert not f["position"][7:].any()
    assert host.count("frames_sent") == host.count("frames_received") == 61
    assert host.count("frames_bad") == host.count("frames_stale") == 0


def test_negative_axis_numbers_survive_the_wire(host):
    host.exchange(mode=Mode.OFF)
    assert host.feedback["fault_axis"][0] == -1
    host.exchange(mode=Mode.OFF, position=[0, 0, 0, float("nan"), 0, 0, 0, 0])
    assert (host.feedback["fault"][0], host.feedback["fault_axis"][0]) == (DeviceFault.BAD_COMMAND, 3)


def test_clearing_a_fault_arrives(host):
    host.exchange(mode=Mode.OFF, effort=float("inf"))
    assert host.feedback["fault"][0] == DeviceFault.BAD_COMMAND
    host.exchange(mode=Mode.OFF, effort=0.0)
    assert host.feedback["fault"][0] == DeviceFault.BAD_COMMAND
    host.exchange(clear_fault=1)
    assert host.feedback["fault"][0] == DeviceFault.NONE


def test_what_does_not_fit_a_float_is_refused_by_the_device(host):
    host.exchange(mode=Mode.OFF, effort=1e300)
    assert host.feedback["fault"][0] == DeviceFault.BAD_COMMAND


def test_device_time_is_the_sample_s(host):
    host.device.tick(9)
    host.exchange()
    assert host.feedback["t_device_ns"][0] == 10 * 250_000


def test_feedback_without_samples_is_not_fresh(host):
    """Before the firmware's first tick it has nothing to tell."""
    host.send()
    host.device.write(host.reply())
    assert host.take() == 0
    assert host.count("frames_stale") == 1


# --- a wire that spoils ---------------------------------------------------------------------------------------------


def test_a_late_reply_is_never_taken_for_fresh(host):
    """The reply to command 2 comes after command 3's: dropped. Nothing after it is one sample behind."""
    assert host.exchange() == 1
    host.device.tick()
    host.send()
    late = host.reply()
    assert host.take() == 0
    assert host.exchange() == 1
    assert host.feedback["echo"][0] == 3
    host.device.write(late)
    assert host.take() == 0
    assert host.feedback["echo"][0] == 3
    assert host.count("frames_stale") == 1
    for sequence in range(4, 10):
        assert host.exchange() == 1
        assert host.feedback["echo"][0] == sequence


def test_a_reply_that_comes_a_cycle_late_is_fresh_then_and_known_by_its_echo(host):
    host.device.tick()
    host.send()
    late = host.reply()
    assert host.take() == 0
    host.device.tick()
    host.send()
    second = host.reply()
    host.device.write(late)
    assert host.take() == 1
    assert (host.command["sequence"][0], host.feedback["echo"][0]) == (2, 1)
    host.device.write(second)
    assert host.take() == 1
    assert host.feedback["echo"][0] == 2


def test_two_replies_at_once_leave_the_newest(host):
    host.device.tick()
    host.send()
    first = host.reply()
    host.device.tick()
    host.send()
    host.device.write(first + host.reply())
    assert host.take() == 2
    assert host.feedback["echo"][0] == 2


def test_replies_in_the_wrong_order_leave_the_newest(host):
    host.device.tick()
    host.send()
    first = host.reply()
    host.device.tick()
    host.send()
    host.device.write(host.reply() + first)
    assert host.take() == 1
    assert host.feedback["echo"][0] == 2
    assert host.count("frames_stale") == 1


def test_a_duplicate_is_dropped(host):
    host.device.tick()
    host.send()
    reply = host.reply()
    host.device.write(reply + reply)
    assert host.take() == 1
    host.device.write(reply)
    assert host.take() == 0
    assert host.count("frames_stale") == 2


def test_an_answer_to_what_was_never_sent_is_dropped(host):
    host.exchange()
    payload = np.zeros(1, message_dtype("FEEDBACK", 7))
    payload["n_axes"], payload["time_low_us"] = 7, 10**6
    for echo in (2, 1000, 2**31, 2**32 - 1):
        payload["echo"] = echo
        host.device.write(make_frame(MessageType.FEEDBACK, payload.tobytes()))
        assert host.take() == 0
    assert host.count("frames_stale") == 4
    assert host.feedback["echo"][0] == 1


def test_feedback_whose_samples_are_not_newer_is_not_fresh(host):
    """Two commands between two ticks are answered with one sample."""
    host.exchange()
    host.send()
    host.device.write(host.reply())
    assert host.take() == 0
    assert host.count("frames_stale") == 1
    assert host.exchange() == 1


def test_sequence_numbers_beyond_32_bits_are_restored(host):
    host.command["sequence"] = 2**32 - 3
    for _ in range(6):
        assert host.exchange() == 1
        assert host.feedback["echo"][0] == host.command["sequence"][0]
    assert host.feedback["echo"][0] == 2**32 + 3


def test_every_flipped_bit_and_every_truncation_is_dropped_and_counted(host):
    host.device.tick()
    host.send()
    reply = host.reply()
    for bit in range(8 * (REPLY - 1)):
        damaged = bytearray(reply)
        damaged[bit // 8] ^= 1 << bit % 8
        host.device.write(bytes(damaged))
        assert host.take() == 0
        assert host.count("frames_bad") > bit
    before = host.count("frames_bad")
    for length in range(2, REPLY - 1):  # the first byte is a delimiter
        host.device.write(reply[:length] + b"\0")
        assert host.take() == 0
        assert host.count("frames_bad") == before + length - 1
    assert not host.feedback["echo"][0]
    host.device.write(reply)
    assert host.take() == 1


def test_a_reply_in_pieces_is_taken_when_its_last_byte_is_there(host):
    host.device.tick()
    host.send()
    reply = host.reply()
    for byte in range(REPLY - 1):
        host.device.write(reply[byte : byte + 1])
        assert host.take() == 0
    host.device.write(reply[-1:])
    assert host.take() == 1
    assert host.count("frames_bad") == 0


@given(st.binary(max_size=1500))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_garbage_the_next_reply_is_understood(host, garbage):
    host.device.write(garbage + b"\0")
    assert host.take() == 0
    assert host.exchange() == 1


def test_foreign_frames_are_bad_ones(host):
    """Whatever type they are of, the handshake's included, and whatever they hold."""
    payload = np.zeros(1, message_dtype("FEEDBACK", 7))
    payload["n_axes"], payload["time_low_us"], payload["echo"] = 7, 10**6, 1
    host.send()
    types_ = [type_ for type_ in range(0, 256, 5) if type_ != MessageType.FEEDBACK]
    types_ += [MessageType.COMMAND, MessageType.HELLO_REPLY, MessageType.CONFIGURE_REPLY]
    for count, type_ in enumerate(types_, 1):
        host.device.write(make_frame(type_, payload.tobytes()))
        assert host.take() == 0
        assert (host.count("frames_received"), host.count("frames_bad")) == (count, count)
    assert not host.feedback["echo"][0]


def test_a_healthy_cycle_is_no_flood_even_with_a_late_reply_beside_the_due_one(host):
    for _ in range(5):
        host.device.tick()
        host.send()
        late = host.reply()
        assert host.take() == 0
        host.device.tick()
        host.send()
        host.device.write(late + host.reply())
        assert host.take() == 2
        assert host.count("floods") == 0
    assert host.count("frames_bad") == host.count("frames_stale") == 0


@pytest.mark.parametrize("babble", [b"\x55" * 4000, b"\x01\x02\x00" * 1300, make_frame(9, bytes(100)) * 30])
def test_a_babbling_device_is_muted_and_heard_again_when_it_stops(host, babble):
    for floods in range(1, 6):
        host.device.tick()
        host.send()
        reply = host.reply()
        host.device.write(babble + reply)
        before = host.count("rx_count")
        assert host.take() == 0  # the due reply stands behind all that
        assert host.count("floods") == floods
        assert host.count("rx_count") <= before + host.count("bytes_max")
    host.device.write(b"\0")
    host.take()
    assert host.exchange() == 1
    assert host.count("floods") == 0


@given(st.lists(st.binary(max_size=900), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_call_works_on_no_more_than_its_quota_whatever_comes(host, pieces):
    for piece in pieces:
        received, bad = host.count("frames_received"), host.count("frames_bad")
        host.device.write(piece)
        assert host.take() == 0
        assert (host.count("floods") > 0) == (len(piece) > host.count("bytes_max"))
        assert host.count("frames_received") - received + host.count("frames_bad") - bad <= host.count("bytes_max")
    host.device.write(b"\0")
    host.take()
    assert host.exchange() == 1


def test_a_flood_without_frames_is_survived(host):
    for _ in range(6):
        host.device.write(b"\x55" * 3000)
        assert host.take() == 0
    assert host.count("frames_bad") >= 1
    host.device.write(b"\0")
    host.take()
    assert host.exchange() == 1


@pytest.mark.parametrize("n_axes", [1, 6, 8])
def test_feedback_for_another_number_of_axes_is_bad(host, n_axes):
    host.send()
    payload = np.zeros(1, message_dtype("FEEDBACK", n_axes))
    payload["n_axes"], payload["time_low_us"], payload["echo"] = n_axes, 250, 1
    host.device.write(make_frame(MessageType.FEEDBACK, payload.tobytes()))
    assert host.take() == 0
    assert host.count("frames_bad") == 1


def test_a_device_that_restarts_is_reported_and_its_zeros_are_not_taken_for_positions(host):
    host.device.inputs["counts"][0, :7] = 12_345
    host.device.tick(100)
    host.exchange()
    before = host.feedback.copy()
    host.device.library.fw_native_reset(host.device.firmware.ctypes.data)
    assert host.exchange(mode=Mode.ON) == 1
    assert host.feedback["fault"][0] == DeviceFault.NOT_CONFIGURED
    assert (host.feedback["position"] == before["position"]).all()
    assert (host.feedback["t_device_ns"] == before["t_device_ns"]).all()


# --- who stands between --------------------------------------------------------------------------------------------


def test_a_command_changed_on_its_way_is_told_to_the_host_even_if_every_one_is(make_device, make_host):
    host = make_host(make_device(key=KEY), key=KEY)
    assert host.exchange(mode=Mode.OFF) == 1
    host.exchange(mode=Mode.ON)
    frame, payload = np.zeros(300, np.uint8), message_dtype("COMMAND", 7)
    for _ in range(3):
        host.device.tick()
        host.send(mode=Mode.ON, effort=0.1)
        wire = np.frombuffer(host.device.read(COMMAND_BYTES), np.uint8).copy()
        length = parse_frame(wire, 1, wire.size - 2, frame)
        assert length == payload.itemsize + 8
        command = frame[HEADER : HEADER + payload.itemsize].view(payload)
        command["axes"]["effort"] *= 2
        changed = make_frame(MessageType.COMMAND, frame[HEADER : HEADER + length].tobytes())
        host.device.write(host.device.reply_to(changed))
        assert host.take() == 1
        assert host.feedback["fault"][0] == DeviceFault.TAMPERED
        host.device.tick()
        assert host.device.is_dead()


def test_each_command_s_tag_is_of_the_host_s_key(make_device, make_host):
    host = make_host(make_device(key=KEY), key=KEY)
    for k in range(20):
        assert host.exchange(mode=Mode.OFF, effort=0.01 * k) == 1
        assert host.feedback["fault"][0] == DeviceFault.NONE


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (KEY, bytes(16), "obeys only who has its key, and none is configured: name the file .* driver.key_file"),
        (bytes(16), KEY, "driver.key_file gives a key, but the device at .* has none: put it into the device, or"),
        (KEY, KEY[::-1], "has another key than driver.key_file gives: name the file with the key of device 00c0ffee"),
    ],
)
def test_another_key_is_found_when_the_port_is_opened(make_device, make_axis_settings, theirs, ours, message):
    device = make_device(key=theirs)
    driver = BridgeDriver(device.path, make_axis_settings(), key=ours)
    with pytest.raises(DriverError, match=message):
        device.serve_while(driver.open)
    assert driver.link["fd"][0] == -1
    device.tick()
    assert device.is_dead()


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_key_of_another_size_is_refused(make_axis_settings, size):
    with pytest.raises(DriverError, match=f"the key has {size} bytes, the firmware takes 16: give 32 hexadecimal"):
        BridgeDriver("/dev/null", make_axis_settings(), key=bytes(size))


def test_a_current_beyond_the_board_s_rating_is_refused_with_its_value(make_device, make_axis_settings):
    device = make_device(current_rating=[5.0, 5.0, 1.5])
    with pytest.raises(DriverError, match=r"refuses current_max = 2\.0 of axis 2"):
        device.serve_while(BridgeDriver(device.path, make_axis_settings()).open)


# --- the port goes away ---------------------------------------------------------------------------------------------


def test_an_unplugged_port_is_an_error_code_not_an_exception(host):
    host.exchange()
    host.device.unplug()
    host.link["await_bytes"] = -1
    assert host.driver.receive(host.link, host.feedback) == 0
    assert host.count("error") == errno.EIO
    host.command["sequence"] += 1
    assert host.driver.transmit(host.link, host.command) == -errno.EIO
    assert host.count("frames_sent") == 1
    host.driver.close()
    host.driver.close()


def test_a_frame_that_went_out_in_part_does_not_spoil_the_next(host):
    """Nobody reads until the kernel's buffer is full; then the rest of a frame is lost, not the frame after it."""
    host.device.tick()
    for _ in range(2000):
        host.command["sequence"] += 1
        if host.driver.transmit(host.link, host.command):
            break
    assert host.count("error") == errno.EAGAIN
    host.device.read(int(host.link["bytes_sent"][0]) - host.device.bytes_read)  # lost on its way
    assert host.exchange() == 1
    assert host.feedback["echo"][0] == host.command["sequence"][0]


def test_close_takes_the_power_away_and_may_be_repeated(host):
    host.exchange(mode=Mode.OFF)
    host.exchange(mode=Mode.ON, effort=0.2)
    host.device.tick()
    assert host.device.outputs["power"][0] == 1
    host.driver.close()
    assert host.count("fd") == -1
    host.device.reply_to(host.device.read(COMMAND_BYTES))
    host.device.tick()
    assert host.device.is_dead()
    host.driver.close()


def test_a_port_can_be_opened_again(host, device):
    host.exchange()
    host.driver.close()
    device.reply_to(device.read(COMMAND_BYTES))
    device.bytes_read = device.bytes_written = 0
    device.serve_while(host.driver.open)
    host.command["sequence"] = 0
    assert host.exchange() == 1
    assert host.feedback["echo"][0] == 1


# --- refusals at the start ------------------------------------------------------------------------------------------


def test_firmware_of_another_protocol_is_refused_with_both_hashes(device, make_axis_settings):
    def answer(_data: bytes) -> bytes:
        reply = np.zeros(1, message_dtype("HELLO_REPLY"))
        reply["protocol_hash"] = PROTOCOL_HASH ^ 0xFF
        return make_frame(MessageType.HELLO_REPLY, reply.tobytes())

    driver = BridgeDriver(device.path, make_axis_settings())
    with pytest.raises(DriverError, match=f"{PROTOCOL_HASH ^ 0xFF:08x}, this program {PROTOCOL_HASH:08x}: put the"):
        device.serve_while(driver.open, answer=answer)
    assert driver.link["fd"][0] == -1


def test_a_device_with_too_few_axes_is_refused(device, make_axis_settings):
    def answer(_data: bytes) -> bytes:
        reply = np.zeros(1, message_dtype("HELLO_REPLY"))
        reply["protocol_hash"], reply["max_axes"] = PROTOCOL_HASH, 4
        return make_frame(MessageType.HELLO_REPLY, reply.tobytes())

    with pytest.raises(DriverError, match="drives 4 axes, the arm has 7"):
        device.serve_while(BridgeDriver(device.path, make_axis_settings()).open, answer=answer)


def test_settings_that_the_device_refuses_are_named_with_their_value(device, make_axis_settings):
    axes = make_axis_settings()
    axes.current_max[5] = -3.0
    with pytest.raises(DriverError, match=r"refuses current_max = -3\.0 of axis 5"):
        device.serve_while(BridgeDriver(device.path, axes).open)
    with pytest.raises(DriverError, match=r"refuses watchdog_us = 1500"):
        device.serve_while(BridgeDriver(device.path, make_axis_settings(), watchdog=0.0015).open)


def test_a_device_that_stores_another_configuration_is_refused(device, make_axis_settings):
    def answer(data: bytes) -> bytes:
        reply = bytearray(device.reply_to(data))
        if len(reply) == 23:
            stored = np.zeros(1, message_dtype("CONFIGURE_REPLY"))
            stored["configuration_crc"] = 0x1234
            return make_frame(MessageType.CONFIGURE_REPLY, stored.tobytes())
        return bytes(reply)

    with pytest.raises(DriverError, match="CRC 00001234"):
        device.serve_while(BridgeDriver(device.path, make_axis_settings()).open, answer=answer)


def test_nobody_at_the_other_end_is_said_with_port_and_baud(device, make_axis_settings):
    driver = BridgeDriver(device.path, make_axis_settings(), baud=115_200, handshake_timeout=0.05)
    with pytest.raises(DriverError, match=r"no HELLO_REPLY from /dev/pts/\d+ at 115200 baud within 0\.05 s"):
        driver.open()
    assert driver.link["fd"][0] == -1


def test_the_handshake_repeats_what_was_lost_and_skips_what_is_old(device, make_axis_settings):
    heard = []

    def answer(data: bytes) -> bytes:
        heard.append(data)
        reply = device.reply_to(data)
        if len(heard) == 1:
            return b"\x07\x00garbage" + bytes(3)
        return make_frame(MessageType.FEEDBACK, bytes(16)) + reply

    driver = BridgeDriver(device.path, make_axis_settings())
    assert device.serve_while(driver.open, answer=answer).n_axes == 7
    assert len(heard) == 3
    driver.close()


def test_a_hello_that_was_heard_twice_does_not_spoil_the_handshake(make_device, make_axis_settings):
    """Each opens a session; the answer that the host hears first is of one that is over."""
    device = make_device(key=KEY)
    hello = make_frame(MessageType.HELLO, np.uint32(PROTOCOL_HASH).tobytes())
    heard, late = [], []

    def answer(data: bytes) -> bytes:
        heard.append(data)
        reply = device.reply_to(data)
        if len(heard) == 1:
            late.append(device.reply_to(hello))
        return late.pop() + reply if len(heard) == 2 else reply

    driver = BridgeDriver(device.path, make_axis_settings(), key=KEY)
    assert device.serve_while(driver.open, answer=answer).n_axes == 7
    assert len(heard) == 4
    driver.close()


def test_a_host_that_follows_a_dead_one_waits_for_the_watchdog(device, make_axis_settings):
    first = BridgeDriver(device.path, make_axis_settings())
    device.serve_while(first.open)
    device.tick()
    c = np.zeros(1, message_dtype("COMMAND", 7))
    c["n_axes"] = 7
    for sequence, mode in enumerate((Mode.OFF, Mode.ON), 1000):
        c["sequence"], c["mode"] = sequence, mode
        session = int(first.link["device_i8"][0, bridge.SESSION])
        device.reply_to(make_frame(MessageType.COMMAND, c.tobytes(), NO_KEY, session))
    device.tick()
    assert device.outputs["power"][0] == 1
    bridge.close_port(first._port)  # it dies without a word
    refused = []

    def answer(data: bytes) -> bytes:
        reply = device.reply_to(data)
        if len(reply) == 23:
            refused.append(reply)
            device.tick(16)  # the watchdog's time passes
        return reply

    second = BridgeDriver(device.path, make_axis_settings())
    device.serve_while(second.open, answer=answer)
    assert len(refused) == 2
    command, feedback = np.zeros(1, COMMAND), np.zeros(1, FEEDBACK)
    command["sequence"] = 1
    device.tick()
    second.transmit(second.link, command)
    sent = int(second.link["bytes_sent"][0])
    before = int(second.link["bytes_received"][0])
    device.bytes_read = sent - COMMAND_BYTES
    device.write(device.reply_to(device.read(COMMAND_BYTES)))
    second.link["await_bytes"] = before + REPLY
    assert second.receive(second.link, feedback) == 1
    assert feedback["fault"][0] == DeviceFault.WATCHDOG
    second.close()


def test_an_absent_and_a_busy_port_are_port_errors(host, make_axis_settings, tmp_path):
    with pytest.raises(SerialPortError, match="there is no port"):
        BridgeDriver(str(tmp_path / "none"), make_axis_settings()).open()
    with pytest.raises(SerialPortError, match="in use"):
        BridgeDriver(host.device.path, make_axis_settings()).open()
    assert host.exchange() == 1  # and the first one is not disturbed


def test_a_port_that_fails_during_the_handshake_is_a_port_error(device, make_axis_settings):
    def unplug_when_asked():
        device.read(1)
        device.unplug()

    driver = BridgeDriver(device.path, make_axis_settings())
    thread = threading.Thread(target=unplug_when_asked)
    thread.start()
    with pytest.raises(SerialPortError, match="failed during the handshake"):
        driver.open()
    thread.join()
    assert driver.link["fd"][0] == -1


def test_axis_settings_of_unequal_lengths_are_refused(make_axis_settings):
    good = make_axis_settings()
    values = {name: getattr(good, name) for name in good.__dataclass_fields__}
    with pytest.raises(DriverError, match=r"velocity_max has 3 entries, the arm 7"):
        AxisSettings(**(values | {"velocity_max": np.ones(3)}))
    with pytest.raises(DriverError, match="n_axes = 9 was given"):
        make_axis_settings(9)
