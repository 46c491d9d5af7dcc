"""The whole emulated arm, one host period at a time: every bound is counted in the firmware's own time."""

import hashlib

import msgspec
import numpy as np
import pytest

from drivers.driver import DeviceFault, Mode, Status
from hil.faults import Fault, HilError
from hil.rig import Rig
from kinematics.chain import forward
from kinematics.dynamics import gravity_effort

N = 7
KP = np.array([2000.0, 2000.0, 40000.0, 10.0, 10.0, 10.0, 10.0])
KD = np.array([20.0, 20.0, 400.0, 0.12, 0.12, 0.12, 0.12])
COMMAND_BYTES, FEEDBACK_BYTES = 166, 147  # of seven axes, framed; this host sends no delimiter before a frame


def gravity_on_actuators(host):
    """What the controller's model asks of the actuators, to hold the arm where it believes that it is."""
    arm, effort = host.arm, np.zeros(8)
    q = np.zeros(8)
    q[:N] = arm[0]["joint_from_actuator"][:N, :N] @ host.feedback["axes"]["position"]
    gravity_effort(arm, q, effort)
    return (arm[0]["joint_from_actuator"].T @ effort)[:N]


def digest(records):
    return hashlib.sha256(b"".join(record.tobytes() for record in records)).hexdigest()


def test_reply_to_a_command_is_readable_in_the_same_period_at_4_mbaud(host):
    for _ in range(5):
        sequence = host.sequence + 1
        assert host.tick(Mode.OFF)["echo"] == sequence


def test_reply_takes_the_next_period_at_2_mbaud(make_host):
    host = make_host(baud=2_000_000)
    host.tick(Mode.OFF)
    assert host.feedback is None  # 1480 us for both frames
    sequence = host.sequence
    assert host.tick(Mode.OFF)["echo"] == sequence


def test_frames_have_the_length_that_the_timing_is_reckoned_with(host):
    assert len(host.command_frame(Mode.OFF)) == COMMAND_BYTES
    assert len(host.rig.step(host.command_frame(Mode.OFF))) == FEEDBACK_BYTES


def test_feedback_is_sampled_when_the_command_was_complete(host):
    host.tick(Mode.OFF)
    feedback = host.tick(Mode.OFF)
    end_us = int(host.truth["firmware_time_us"])
    # sent at the start of the period, through after 395 us: the newest sample then was that of the second substep
    assert int(feedback["time_low_us"]) in (end_us - 750, end_us - 500)


def test_absolute_sensors_home_the_arm_to_a_tenth_of_a_degree(host):
    host.home()
    position = host.tick(Mode.OFF)["axes"]["position"]
    error = position - host.truth["actuator_position"][:N]
    assert (np.abs(error) < [1e-3, 1e-3, 2e-4, 1e-3, 1e-3, 1e-3, 1e-3]).all()


def test_arm_holds_against_gravity_where_it_was_enabled(host):
    host.home()
    before = host.truth["tip_pose"][:3, 3].copy()
    hold = host.enable(effort=gravity_on_actuators(host))
    host.hold(hold, 200, effort=gravity_on_actuators(host))
    truth = host.truth
    assert truth["power"]
    assert truth["brakes_open"]
    assert np.linalg.norm(truth["tip_pose"][:3, 3] - before) < 2e-4
    assert np.abs(truth["joint_velocity"][:3]).max() < 1e-4
    assert abs(truth["motor_effort"][2]) > 2.0  # N: the carriage's weight, carried by the motor now


def test_true_tip_is_within_a_quarter_millimetre_of_what_the_controller_believes(host):
    host.home(256)
    host.hold(host.enable(effort=gravity_on_actuators(host)), 200, effort=gravity_on_actuators(host))
    q, believed = np.zeros(8), np.zeros((4, 4))
    q[:N] = host.arm[0]["joint_from_actuator"][:N, :N] @ host.feedback["axes"]["position"]
    forward(host.arm, q, believed)
    error = np.linalg.norm(believed[:3, 3] - host.truth["tip_pose"][:3, 3])
    assert 1e-6 < error < 2.5e-4


def test_arm_follows_a_set_point_and_stays_stable(host):
    host.home()
    start = host.enable(effort=gravity_on_actuators(host))
    amplitude = np.array([0.05, 0.05, 0.01, 0.1, 0.1, 0.1, 0.1])
    worst = np.zeros(N)
    for k in range(600):
        phase = 2 * np.pi * k / 600
        position = start + amplitude * (1 - np.cos(phase)) / 2
        velocity = amplitude * np.sin(phase) / 2 * 2 * np.pi / 0.6
        host.tick(Mode.ON, position=position, velocity=velocity, kp=KP, kd=KD, effort=gravity_on_actuators(host))
        assert host.feedback["fault"] == DeviceFault.NONE
        # the feedback was sampled half a period after the command before it was due
        worst = np.maximum(worst, np.abs(host.feedback["axes"]["position"] - position))
    assert (worst < [2e-3, 2e-3, 5e-4, 6e-3, 6e-3, 6e-3, 6e-3]).all()
    assert np.abs(host.truth["actuator_velocity"][:N]).max() < 0.1


@pytest.mark.parametrize("watchdog", [0.004, 0.010])
def test_dead_host_means_no_torque_within_the_watchdog_and_brakes_after_their_delay(make_host, watchdog):
    host = make_host(watchdog=watchdog)
    host.home()
    host.hold(host.enable(effort=gravity_on_actuators(host)), 50)
    # its last command was complete 395 us into this period
    last_us = int(host.truth["firmware_time_us"]) - 1000 + COMMAND_BYTES * 10 / 4
    before = host.truth["tip_pose"][:3, 3].copy()
    records = host.silent(60)
    off = next(r for r in records if not r["power"])
    still_on = records[records.index(off) - 1] if records[0]["power"] else None
    assert still_on is not None
    assert still_on["motor_current"].any()
    assert int(off["firmware_time_us"]) <= last_us + watchdog * 1e6 + 1000  # seen once a period
    assert int(still_on["firmware_time_us"]) > last_us + watchdog * 1e6 - 1250
    assert not off["motor_current"].any()
    assert not off["brakes_released"]
    held = next(r for r in records if not r["brakes_open"])
    assert 0 <= int(held["firmware_time_us"]) - int(off["firmware_time_us"]) - 20_000 <= 1000
    after = host.silent(200)[-1]["tip_pose"][:3, 3]
    assert np.linalg.norm(after - before) < 5e-3  # it sags until the brakes hold, and no further
    assert np.linalg.norm(host.silent(100)[-1]["tip_pose"][:3, 3] - after) < 1e-5


@pytest.mark.parametrize("substep", range(4))
def test_e_stop_takes_the_current_away_in_one_firmware_tick(make_host, substep):
    """Pressed at each phase of the period: the truth at the end of the tick after the press shows no current."""
    host = make_host()
    host.home()
    hold = host.enable(effort=gravity_on_actuators(host))
    pressed_us = int(host.truth["firmware_time_us"]) + 1000 + 250 * substep
    host.faults.press_estop(at=pressed_us * 1e-6)
    host.hold(hold, 1)
    assert host.truth["power"]
    assert host.truth["motor_current"].any()
    host.hold(hold, 1)
    truth = host.truth
    assert round(host.faults.applied * 1e6) == pressed_us
    # substep 3 is the last before this record: the current went within that very firmware tick
    assert int(truth["firmware_time_us"]) - pressed_us == 1000 - 250 * substep
    assert not truth["motor_current"].any()
    assert not truth["power"]
    assert Fault(int(truth["faults"])) == Fault.ESTOP
    feedback = host.tick(Mode.ON, position=hold, kp=KP, kd=KD)
    assert feedback["fault"] == DeviceFault.ESTOP
    assert feedback["status"] & Status.ESTOP
    host.faults.release_estop()
    host.hold(hold, 5)
    assert not host.truth["power"]  # the stale stream of ON commands does not bring the power back


def test_a_cut_wire_silences_the_arm_and_its_watchdog_stops_it(host):
    host.home()
    hold = host.enable(effort=gravity_on_actuators(host))
    host.faults.cut_wire()
    echo = int(host.feedback["echo"])
    for _ in range(10):
        host.hold(hold, 1)
        assert int(host.feedback["echo"]) == echo
    assert not host.truth["power"]
    assert host.faults.counts()["bytes_cut"] == 10 * COMMAND_BYTES
    host.faults.mend_wire()
    host.hold(hold, 2)
    assert int(host.feedback["echo"]) == host.sequence
    assert host.feedback["fault"] == DeviceFault.WATCHDOG


def test_corrupted_frames_are_never_answered_and_good_ones_are(host):
    host.faults.flip_bits(2e-4)
    answered = 0
    for _ in range(400):
        answered += host.listen(host.rig.step(host.command_frame(Mode.OFF)))
    # a frame survives with (1 - 2e-4)^(8 * bytes); both directions
    expected = 400 * (1 - 2e-4) ** (8 * (COMMAND_BYTES + FEEDBACK_BYTES))
    assert host.faults.counts()["bits_flipped"] > 50
    assert answered == pytest.approx(expected, rel=0.15)


def test_delayed_replies_come_late_and_in_order(host):
    host.tick(Mode.OFF)
    host.faults.delay_replies(0.005)
    echoes = [int(host.tick(Mode.OFF)["echo"]) for _ in range(30)]
    assert host.sequence - echoes[-1] == 5
    assert echoes == sorted(echoes)


def test_frozen_encoder_stands_still_while_the_arm_moves(host):
    host.home()
    start = host.enable(effort=gravity_on_actuators(host))
    host.faults.freeze_encoder(0)
    host.hold(start, 2)
    seen = host.feedback["axes"]["position"][0]
    before = host.truth["actuator_position"][0]
    host.hold(start + np.array([0.01, 0, 0, 0, 0, 0, 0]), 30)
    assert host.feedback["axes"]["position"][0] == seen
    assert abs(host.truth["actuator_position"][0] - before) > 5e-3


def test_reversed_encoder_counts_the_wrong_way_and_jump_shows_its_counts(host):
    host.home()
    host.tick(Mode.OFF)
    before = float(host.feedback["axes"]["position"][2])
    host.faults.jump_encoder(2, 771)
    moved = float(host.tick(Mode.OFF)["axes"]["position"][2]) - before
    assert moved == pytest.approx(771 / host.arm[0]["counts_per_unit"][2], rel=1e-2)
    host.faults.clear()
    host.faults.reverse_encoder(2)
    host.faults.fail_brake(2)
    first = float(host.tick(Mode.OFF)["axes"]["position"][2])
    true = host.truth["actuator_position"][2]
    host.silent(100)
    last = float(host.tick(Mode.OFF)["axes"]["position"][2])
    fallen = host.truth["actuator_position"][2] - true
    assert abs(fallen) > 1e-3
    assert last - first == pytest.approx(-fallen, rel=0.1)


def test_runaway_motor_drives_its_current_whatever_the_firmware_says_until_the_power_goes(host):
    host.home()
    hold = host.enable(effort=gravity_on_actuators(host))
    host.faults.force_motor(0, 1.34)
    host.hold(hold, 1)
    assert host.truth["motor_current"][0] == 1.34
    for _ in range(100):
        host.hold(hold, 1)
        if not host.truth["power"]:
            break
    assert host.feedback["fault"] in (DeviceFault.OVERCURRENT, DeviceFault.OVERSPEED)
    assert host.truth["motor_current"][0] == 0.0


def test_open_motor_lead_carries_no_current(host):
    host.home()
    hold = host.enable(effort=gravity_on_actuators(host))
    host.faults.open_motor(2)
    host.hold(hold, 1)
    assert host.truth["motor_current"][2] == 0.0
    assert host.truth["motor_current"][0] != 0.0


def test_jammed_axis_does_not_move(host):
    host.home()
    hold = host.enable(effort=gravity_on_actuators(host))
    host.faults.jam_axis(0)
    before = host.truth["actuator_position"][0]
    host.hold(hold + np.array([0.003, 0, 0, 0, 0, 0, 0]), 50)
    assert abs(host.truth["actuator_position"][0] - before) < 1e-4
    assert abs(host.truth["motor_effort"][0]) > 1.0


def test_offset_absolute_sensor_shows_it(host):
    before = np.mean([host.tick(Mode.OFF)["axes"]["absolute"] for _ in range(32)], axis=0)
    host.faults.offset_absolute(1, 0.1)
    after = np.mean([host.tick(Mode.OFF)["axes"]["absolute"] for _ in range(32)], axis=0)
    np.testing.assert_allclose(after - before, [0, 0.1, 0, 0, 0, 0, 0], atol=1.5e-3)


def scripted(host):
    """A run with everything in it: homing, power, motion, noise on the line, a stop."""
    records = []
    host.home(32)
    start = host.enable(effort=gravity_on_actuators(host))
    host.faults.flip_bits(1e-5)
    for k in range(150):
        host.hold(start + 0.005 * np.sin(0.05 * k) * np.array([1, 1, 0.2, 2, 2, 2, 2]), 1)
        records.append(host.truth)
    host.faults.press_estop(at=float(host.truth["firmware_time_us"]) * 1e-6 + 0.00125)
    return records + host.silent(10)


def test_a_run_repeats_to_the_bit_with_one_seed_and_not_with_another(make_host):
    first, again, other = (digest(scripted(make_host(seed=seed))) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_truth_counts_periods_and_firmware_time(host):
    before = host.truth
    after = host.silent(3)[-1]
    assert after["tick"] - before["tick"] == 3
    assert after["t_ns"] == after["tick"] * 1_000_000
    assert after["firmware_time_us"] - before["firmware_time_us"] == 3000
    assert after["t_ns"] == after["firmware_time_us"] * 1000


def test_other_host_periods_hold_their_number_of_firmware_ticks(make_host):
    host = make_host(period=0.0005, connect=False)
    assert host.silent(4)[-1]["firmware_time_us"] == 2000


def test_true_pose_is_that_of_the_body_at_that_moment(host):
    import mujoco

    truth = host.truth
    plant = host.rig.plant
    data = mujoco.MjData(plant.model)
    data.qpos[:N] = truth["joint_position"][:N]
    mujoco.mj_kinematics(plant.model, data)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = data.xmat[6].reshape(3, 3), data.xpos[6]
    np.testing.assert_allclose(truth["tip_pose"], T @ host.arm[0]["tip"], atol=1e-14)


def test_rig_says_what_is_wrong_with_its_configuration(tmp_path, host):
    with pytest.raises(HilError, match=r"\[rig\]"):
        Rig(msgspec.structs.replace(host.config, rig=None), tmp_path)
    cycle = msgspec.structs.replace(host.config.cycle, period=0.0006)
    with pytest.raises(HilError, match=r"0\.0006"):
        Rig(msgspec.structs.replace(host.config, cycle=cycle), tmp_path)
    with pytest.raises(HilError, match="4096"):
        host.rig.step(bytes(5000))
