"""Faults of the line, of the controllers and of the host's process, seen by the host and in the truth."""

import numpy as np
import pytest

from drivers.driver import DeviceFault, Mode, Status
from firmware_bridge.frame import make_frame
from firmware_bridge.messages import PROTOCOL_HASH, MessageType, arm_hash, message_dtype
from hil.faults import FAULTS, Fault, FaultError
from hil.intruder import LONGEST, babble, give_foreign_frame, pass_bytes, replay_frame
from hil.wire import NOTHING, TO_DEVICE, TO_HOST, make_lane, put_byte, take_byte

N = 7
FOREVER_NS = 2**62


def faults_of(**values):
    faults = np.zeros(1, FAULTS)
    for name, value in values.items():
        faults[name] = value
    return faults


def send(lane, data, faults, counts, now_ns=0):
    for byte in data:
        put_byte(lane, faults, counts, byte, now_ns, 0, 0)


def receive(lane, faults, counts, now_ns=FOREVER_NS):
    out = bytearray()
    while (byte := take_byte(lane, faults, counts, now_ns)) != NOTHING:
        out.append(byte)
    return bytes(out)


def in_force(host):
    return Fault(int(host.truth["faults"]))


# The line by itself


@pytest.mark.parametrize("cut", [TO_DEVICE, TO_HOST])
def test_one_direction_cut_leaves_the_other(cut):
    counts = np.zeros(1, FAULTS)
    faults = faults_of(wire_cut=cut)
    for direction in (TO_DEVICE, TO_HOST):
        lane = make_lane(4_000_000, 1, direction)
        send(lane, b"hello\0", faults, counts)
        assert receive(lane, faults, counts) == (b"" if direction == cut else b"hello\0")
    assert counts["bytes_cut"][0] == 6


def test_bursts_garble_so_many_bytes_in_a_row_and_are_counted():
    lane, counts = make_lane(4_000_000, 5), np.zeros(1, FAULTS)
    data = bytes([170]) * 20_000
    got = b""
    for k in range(0, len(data), 1000):
        send(lane, data[k : k + 1000], faults_of(burst_rate=0.002, burst_bytes=20), counts)
        got += receive(lane, counts, counts)
    assert len(got) == len(data)
    wrong = np.flatnonzero(np.frombuffer(got, np.uint8) != 170)
    assert counts["bytes_burst"][0] == pytest.approx(20 * counts["bursts"][0], abs=20)
    assert counts["bursts"][0] == pytest.approx(0.002 * (20_000 - counts["bytes_burst"][0]), rel=0.5)
    # one in 256 of the garbled bytes is right by chance
    assert len(wrong) == pytest.approx(counts["bytes_burst"][0] * 255 / 256, rel=0.03)
    runs = np.split(wrong, np.flatnonzero(np.diff(wrong) > 20) + 1)
    assert len(runs) <= counts["bursts"][0]
    assert min(len(run) for run in runs[:-1]) >= 16


def test_truncated_frames_lose_their_rest_and_their_end():
    lane, counts = make_lane(4_000_000, 5), np.zeros(1, FAULTS)
    kept = []
    for k in range(400):
        send(lane, bytes([k % 255 + 1]) * 100 + b"\0", faults_of(frame_truncate_rate=0.5), counts)
        kept.append(len(receive(lane, counts, counts)))
    lengths = [length for length in kept if length != 101]
    assert len(lengths) == counts["frames_truncated"][0] == pytest.approx(200, rel=0.2)
    assert set(lengths) <= set(range(1, 65))
    assert len(set(lengths)) > 40
    send(lane, b"abc\0", faults_of(frame_truncate_rate=0.0), counts)
    assert receive(lane, counts, counts) == b"abc\0"


def command(sequence=1, n=N, **axes):
    c = np.zeros(1, message_dtype("COMMAND", n))
    c["sequence"], c["mode"], c["n_axes"] = sequence, Mode.ON, n
    for name, value in axes.items():
        c["axes"][name] = value
    return make_frame(MessageType.COMMAND, c.tobytes()), c


def pass_on(lane, data, faults, counts):
    pass_bytes(lane, faults, counts, np.frombuffer(data, np.uint8).copy(), len(data), 0, 0)


@pytest.mark.parametrize("pieces", [1, 3, 50])
def test_a_tampered_command_is_the_frame_that_the_changed_command_has(pieces):
    wire, c = command(position=0.5, effort=0.1)
    axes = message_dtype("COMMAND", N)["axes"].base
    offset = message_dtype("COMMAND", N).fields["axes"][1] + axes.itemsize * 2 + axes.fields["effort"][1]
    faults, counts = faults_of(tamper=1, tamper_offset=offset, tamper_value=-3.25), np.zeros(1, FAULTS)
    lane = make_lane(4_000_000, 1)
    for piece in np.array_split(np.frombuffer(wire, np.uint8), pieces):
        pass_on(lane, piece.tobytes(), faults, counts)
    c["axes"]["effort"][0, 2] = -3.25
    assert receive(lane, faults, counts) == make_frame(MessageType.COMMAND, c.tobytes())
    assert counts["frames_tampered"][0] == 1


def test_turned_bits_of_a_command_come_with_a_right_check_sum():
    wire, c = command(sequence=7)
    faults, counts = faults_of(tamper_mask=0x81, tamper_mask_offset=0), np.zeros(1, FAULTS)
    lane = make_lane(4_000_000, 1)
    pass_on(lane, wire, faults, counts)
    c["sequence"] = 7 ^ 0x81
    assert receive(lane, faults, counts) == make_frame(MessageType.COMMAND, c.tobytes())


def test_what_is_no_command_passes_untouched_while_somebody_tampers():
    faults, counts = faults_of(tamper=1, tamper_offset=8, tamper_value=1.0), np.zeros(1, FAULTS)
    lane = make_lane(4_000_000, 1)
    hello = make_frame(MessageType.HELLO, bytes(4))
    garbage = bytes(range(1, 90)) + b"\0"
    too_long = bytes([9]) * (LONGEST + 300) + b"\0"
    for data in (hello, garbage, too_long, b"\0", b"\0\0"):
        pass_on(lane, data, faults, counts)
        assert receive(lane, faults, counts) == data
    assert counts["frames_tampered"][0] == 0


def test_tampering_that_ends_in_mid_frame_lets_the_whole_frame_pass():
    wire, _ = command()
    lane, counts = make_lane(4_000_000, 1), np.zeros(1, FAULTS)
    tampers = faults_of(tamper=1, tamper_offset=8, tamper_value=1.0)
    pass_on(lane, wire[:40], tampers, counts)
    assert receive(lane, tampers, counts) == b""
    pass_on(lane, wire[40:], faults_of(), counts)
    assert receive(lane, counts, counts) == wire
    pass_on(lane, wire[:40], faults_of(), counts)
    pass_on(lane, wire[40:], tampers, counts)  # and one that begins there leaves it alone
    assert receive(lane, counts, counts) == wire


def test_replayed_frames_are_those_of_so_many_frames_ago():
    lane, counts, none = make_lane(4_000_000, 1), np.zeros(1, FAULTS), faults_of()
    frames = [command(sequence=k)[0] for k in range(1, 101)]
    assert not replay_frame(lane, none, counts, 1, 0)  # none was sent yet
    for frame in frames:
        pass_on(lane, frame, none, counts)
        receive(lane, none, counts)
    for age in (1, 10, 63):
        assert replay_frame(lane, none, counts, age, 0)
        assert receive(lane, none, counts) == frames[-age]
    assert counts["frames_replayed"][0] == 3


@pytest.mark.parametrize("kind", [1, 2])
def test_babble_fills_the_line_to_its_rate(kind):
    lane, counts = make_lane(1_000_000, 1, TO_HOST), np.zeros(1, FAULTS)
    give_foreign_frame(lane, 99)
    faults = faults_of(babble=kind)
    for k in range(1, 41):
        babble(lane, faults, counts, 10_000_000 + k * 250_000, 250_000)
    got = receive(lane, faults, counts)
    assert len(got) == counts["bytes_babbled"][0] == 1000  # 10 ms at 100 bytes a millisecond
    if kind == 2:
        frame = bytes(lane["foreign"][0, : lane["foreign_bytes"][0]])
        assert got[: len(frame) * 5] == frame * 5


# The line of an arm


def test_one_late_reply_holds_those_behind_it_and_all_come_together(make_host):
    host = make_host()
    host.tick(Mode.OFF)
    host.faults.delay_one_reply(4)
    replies = []
    for _ in range(8):
        replies.append(host.listen(host.rig.step(host.command_frame(Mode.OFF))))
    assert replies[:4] == [0, 0, 0, 0]
    assert sum(replies) == 8
    assert replies[4] == 5
    assert replies[5:] == [1, 1, 1]
    assert int(host.feedback["echo"]) == host.sequence
    assert host.faults.counts()["replies_late"] == 1
    assert in_force(host) == 0


def test_the_truth_says_late_as_long_as_the_reply_is(make_host):
    host = make_host()
    host.tick(Mode.OFF)
    host.faults.delay_one_reply(4)
    seen = []
    for _ in range(8):
        host.tick(Mode.OFF)
        seen.append(in_force(host) == Fault.REPLY_LATE_ONCE)
    assert seen == [True] * 5 + [False] * 3


@pytest.mark.parametrize("kind", ["garbage", "frames"])
def test_a_babbling_device_floods_the_host_and_its_replies_come_between(make_host, kind):
    host = make_host()
    host.tick(Mode.OFF)
    host.faults.babble(kind)
    sizes = [len(host.rig.step(host.command_frame(Mode.OFF))) for _ in range(20)]
    assert min(sizes[1:]) > 390  # of the 400 that 4 Mbaud carry in a millisecond
    assert host.faults.counts()["bytes_babbled"] == pytest.approx(20 * 400 - 20 * 138, abs=400)
    host.faults.clear()
    host.rig.step()
    host.rig.step()
    host.rx = b""
    assert host.listen(host.rig.step(host.command_frame(Mode.OFF))) == 1


def test_a_cut_to_the_host_leaves_an_arm_that_still_obeys(make_host):
    host = make_host()
    host.home()
    hold = host.enable()
    host.faults.cut_wire("to_host")
    echo = int(host.feedback["echo"])
    host.hold(hold, 20)
    assert int(host.feedback["echo"]) == echo
    assert host.truth["power"]
    host.faults.cut_wire("to_device")
    host.hold(hold, 20)
    assert not host.truth["power"]


@pytest.mark.parametrize(
    "tamper", [lambda f: f.tamper_commands("effort", 0, 0.4), lambda f: f.tamper_command_bits(3, 0x40)]
)
def test_a_tampered_command_has_no_right_tag_and_takes_the_power_in_its_own_period(make_host, tamper):
    host = make_host()
    host.home()
    hold = host.enable()
    tamper(host.faults)
    host.hold(hold, 1)
    assert not host.truth["power"]
    assert not host.truth["motor_current"].any()
    assert host.faults.counts()["frames_tampered"] == 1
    host.faults.clear()
    host.hold(hold, 1)
    assert host.feedback["fault"] == DeviceFault.TAMPERED


def test_a_replayed_command_is_stale_to_the_firmware_and_answered_by_nobody(make_host):
    host = make_host()
    for _ in range(20):
        host.tick(Mode.OFF)
    start_us = int(host.truth["firmware_time_us"]) + 1000
    host.faults.replay_commands(age=5, count=3, at=(start_us + 500) * 1e-6)
    replies, seen = [], []
    for _ in range(6):
        replies.append(host.listen(host.rig.step(host.command_frame(Mode.OFF))))
        seen.append(in_force(host) == Fault.COMMAND_REPLAYED)
        assert int(host.feedback["echo"]) == host.sequence
    assert host.faults.counts()["frames_replayed"] == 3
    assert seen == [False, True, True, True, False, False]


# Controllers


def test_a_restarted_controller_has_no_torque_and_knows_nothing(make_host):
    host = make_host()
    host.home()
    hold = host.enable()
    host.hold(hold, 5)
    at = int(host.truth["firmware_time_us"]) + 1250
    host.faults.restart_controller(0.003, at=at * 1e-6)
    host.hold(hold, 1)
    assert host.truth["power"]
    host.hold(hold, 1)
    assert not host.truth["power"]
    assert not host.truth["motor_current"].any()
    assert in_force(host) == Fault.CONTROLLER_RESTART
    seen = [in_force(host)]
    for _ in range(6):
        host.silent()
        seen.append(in_force(host))
    # twelve substeps from the second one of a period on: up in the second of the third period after
    assert [bool(s) for s in seen] == [True, True, True, True, False, False, False]
    assert not host.truth["power"]
    host.tick(Mode.ON, position=hold)
    feedback = host.tick(Mode.ON, position=hold)
    assert feedback["fault"] == DeviceFault.NOT_CONFIGURED
    host.sequence = 0
    host.connect()
    feedback = host.tick(Mode.OFF)
    feedback = host.tick(Mode.OFF)
    assert not feedback["status"] & Status.REFERENCED
    assert np.abs(feedback["axes"]["position"]).max() < 1e-3  # its counters begin at 0
    assert host.faults.active == Fault.CONTROLLER_RESTART  # asked for, until cleared; the truth says that it is over
    host.faults.clear()


def test_a_restart_strikes_once_and_again_when_asked_again(make_host):
    host = make_host()
    host.tick(Mode.OFF)
    host.faults.restart_controller()
    host.silent()
    assert in_force(host) == Fault.CONTROLLER_RESTART
    host.sequence = 0
    host.connect()
    host.faults.jam_axis(0)  # a new set, in which the restart still stands
    host.tick(Mode.OFF)
    assert host.tick(Mode.OFF)["fault"] == DeviceFault.NONE
    assert in_force(host) == Fault.AXIS_JAMMED
    host.faults.restart_controller()
    host.tick(Mode.OFF)
    assert host.tick(Mode.OFF)["fault"] == DeviceFault.NOT_CONFIGURED


def test_a_frozen_controller_says_nothing_and_goes_on_driving(make_host):
    host = make_host()
    host.home()
    hold = host.enable()
    host.hold(hold, 5)
    echo = int(host.feedback["echo"])
    host.faults.freeze_controller()
    host.hold(hold, 1)
    current = host.truth["motor_current"].copy()
    host.hold(hold, 50)
    assert int(host.feedback["echo"]) == echo
    assert host.truth["power"]  # not even its watchdog runs
    np.testing.assert_array_equal(host.truth["motor_current"], current)
    assert host.faults.counts()["bytes_unheard"] > 50 * 100
    host.faults.freeze_controller(on=False)
    host.silent(10)
    assert not host.truth["power"]


def test_a_stalled_servo_answers_with_old_samples_for_its_time(make_host):
    host = make_host()
    host.home()
    hold = host.enable()
    host.hold(hold, 5)
    at = int(host.truth["firmware_time_us"]) + 1000
    host.faults.stall_servo(0.005, at=at * 1e-6)
    host.hold(hold, 2)
    stamps, seen = [], []
    for _ in range(8):
        echo = host.sequence + 1
        host.hold(hold, 1)
        assert int(host.feedback["echo"]) == echo
        stamps.append(int(host.feedback["time_low_us"]))
        seen.append(in_force(host) == Fault.SERVO_STALLED)
    assert stamps[0] == stamps[1] == stamps[2] == stamps[3]
    assert stamps[4] > stamps[3]
    assert seen == [True] * 4 + [False] * 4


def test_a_dead_watchdog_lets_a_silent_host_go_on(make_host):
    host = make_host()
    host.home()
    hold = host.enable()
    host.faults.kill_watchdog()
    host.hold(hold, 5)
    host.silent(200)
    assert host.truth["power"]
    assert in_force(host) == Fault.WATCHDOG_DEAD
    host.faults.kill_watchdog(on=False)
    host.silent(1)
    assert not host.truth["power"]


def test_dead_limits_let_an_axis_go_where_it_must_not(make_host):
    def run(host, dead):
        hold = host.enable()
        if dead:
            host.faults.kill_limits()
        out = hold + np.array([0, 0, 0, 2.5, 0, 0, 0])
        goal = hold.copy()
        for k in range(400):
            goal = hold + (out - hold) * min(k / 300, 1.0)
            host.hold(goal, 1)
            if not host.truth["power"]:
                return int(host.feedback["fault"])
        return 0

    for dead in (False, True):
        host = make_host(configure={"position_max": np.full(N, 1.0)})
        host.home()
        fault = run(host, dead)
        assert (fault == 0) if dead else (fault in (DeviceFault.POSITION_LIMIT, DeviceFault.BAD_COMMAND))


# The host


def test_a_stalled_host_leaves_the_arm_alone_for_its_periods(make_host):
    host = make_host(watchdog=0.010)
    host.home()
    hold = host.enable()
    host.hold(hold, 5)
    for periods in (3, 8):
        before = int(host.truth["tick"])
        host.faults.stall_host(periods)
        host.hold(hold, 1)
        assert int(host.truth["tick"]) - before == 1 + periods
        assert host.truth["power"]
        assert in_force(host) == Fault.HOST_STALLED
        host.hold(hold, 1)
        assert int(host.truth["tick"]) - before == 2 + periods
        assert in_force(host) == 0
    host.faults.stall_host(15)
    host.hold(hold, 1)
    assert not host.truth["power"]
    host.hold(hold, 2)
    assert host.feedback["fault"] == DeviceFault.WATCHDOG


def test_a_stall_begins_after_the_period_in_which_it_is_due(make_host):
    host = make_host()
    host.tick(Mode.OFF)
    at = int(host.truth["firmware_time_us"])
    host.faults.stall_host(4, at=(at + 1750) * 1e-6)
    ticks = [int(host.truth["tick"])]
    for _ in range(3):
        host.tick(Mode.OFF)
        ticks.append(int(host.truth["tick"]))
    assert np.diff(ticks).tolist() == [1, 5, 1]


def test_real_time_refuses_to_stall_the_host(make_host):
    host = make_host(connect=False)
    host.rig._shared["supported"] = sum(Fault) & ~Fault.HOST_STALLED
    with pytest.raises(FaultError, match="kill -STOP"):
        host.faults.stall_host(3)
    assert host.faults.active == 0


# The board


def test_a_board_knows_the_arm_that_it_was_set_up_for(make_host):
    host = make_host(connect=False)
    hello = host.ask(MessageType.HELLO, np.uint32(PROTOCOL_HASH).tobytes(), "HELLO_REPLY")
    assert int(hello["arm"]) == arm_hash("psm_classic")
