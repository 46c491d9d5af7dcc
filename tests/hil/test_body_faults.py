"""Faults of motors, brakes and contacts, and of what people touch, on the true arm."""

import numpy as np
import pytest

from drivers.driver import DeviceFault, Mode, Status
from hil.faults import Fault, FaultError

N = 7


@pytest.fixture
def enabled(make_host):
    """An arm that is powered and holds; (host, actuator positions held)."""
    host = make_host()
    host.home()
    return host, host.enable()


def test_a_weak_motor_gives_its_part_of_the_torque_at_the_same_current(enabled):
    host, hold = enabled
    per_amp = host.arm[0]["effort_per_amp"]
    host.faults.weaken_motor(2, 0.25)
    host.hold(hold, 1)
    truth = host.truth
    assert truth["motor_current"][2] != 0.0
    assert truth["motor_effort"][2] == pytest.approx(0.25 * per_amp[2] * truth["motor_current"][2], rel=1e-12)
    assert truth["motor_effort"][0] == pytest.approx(per_amp[0] * truth["motor_current"][0], rel=1e-12)
    host.faults.weaken_motor(2, 1.0)
    host.hold(hold, 1)
    assert host.truth["motor_effort"][2] == pytest.approx(per_amp[2] * host.truth["motor_current"][2], rel=1e-12)
    assert host.truth["faults"] == 0


def test_a_reversed_motor_runs_away_from_its_set_point(enabled):
    host, hold = enabled
    host.faults.reverse_motor(0)
    start = float(host.truth["actuator_position"][0])
    for _ in range(200):
        host.hold(hold, 1)
        if not host.truth["power"]:
            break
        assert host.truth["motor_effort"][0] * host.truth["motor_current"][0] <= 0.0
    assert not host.truth["power"]
    assert abs(host.truth["actuator_position"][0] - start) > 0.01
    host.hold(hold, 1)
    assert host.feedback["fault"] in (DeviceFault.OVERSPEED, DeviceFault.OVERCURRENT, DeviceFault.POSITION_LIMIT)


def test_a_stuck_brake_holds_though_it_is_told_to_open(make_host):
    host = make_host()
    host.home()
    host.faults.stick_brake(0)
    hold = host.enable()
    assert host.truth["brakes_open"]
    before = host.truth["actuator_position"].copy()
    host.hold(hold + np.array([0.0008, 0, 0, 0, 0, 0, 0]), 100)
    assert abs(host.truth["motor_effort"][0]) > 0.5
    assert abs(host.truth["actuator_position"][0] - before[0]) < 1e-4
    host.faults.stick_brake(0, on=False)
    host.hold(hold + np.array([0.0008, 0, 0, 0, 0, 0, 0]), 100)
    assert host.truth["actuator_position"][0] - before[0] > 4e-4


@pytest.mark.parametrize(("factor", "holds"), [(0.6, True), (0.1, False)])
def test_a_slipping_brake_holds_its_part(make_host, factor, holds):
    """The carriage's weight is about 5 N, its brake's 15 N."""
    host = make_host()
    host.faults.slip_brake(2, factor)
    host.silent(10)
    before = float(host.truth["actuator_position"][2])
    host.silent(300)
    moved = abs(float(host.truth["actuator_position"][2]) - before)
    assert (moved < 1e-5) if holds else (moved > 1e-3)


def test_late_brakes_close_by_the_delay_later_to_the_substep(enabled):
    host, _hold = enabled
    host.faults.delay_brakes(0.010)
    records = host.silent(60)
    off = next(r for r in records if not r["brakes_released"])
    closed = next(r for r in records if not r["brakes_open"])
    assert 0 <= int(closed["firmware_time_us"]) - int(off["firmware_time_us"]) - 30_000 <= 1000


def test_a_wall_keeps_the_true_tip_to_what_its_stiffness_allows(enabled):
    host, hold = enabled
    host.hold(hold, 20)
    tip = host.truth["tip_pose"][:3, 3].copy()
    normal = np.array([0.0, 0.0, 2.0])  # any length
    host.faults.put_wall(tuple(tip + np.array([0.0, 0.0, 0.001])), tuple(normal), 2000.0)  # 1 mm deep in it
    host.hold(hold, 200)
    up = host.truth["tip_pose"][2, 3] - tip[2]
    assert 2e-5 < up < 1e-3  # pushed out, against a stiff servo
    assert host.truth["faults"] == int(Fault.WALL)
    wrench = host.rig.plant.data.xfrc_applied[6]
    assert wrench[2] == pytest.approx(2000.0 * (0.001 - up), rel=0.02)
    assert wrench[0] == wrench[1] == 0.0
    host.faults.end(Fault.WALL)
    host.hold(hold, 200)
    assert not host.rig.plant.data.xfrc_applied.any()
    assert abs(host.truth["tip_pose"][2, 3] - tip[2]) < 1e-4


def test_no_wall_pulls(enabled):
    host, hold = enabled
    host.hold(hold, 5)
    tip = host.truth["tip_pose"][:3, 3].copy()
    host.faults.put_wall(tuple(tip - np.array([0.0, 0.0, 0.01])), (0.0, 0.0, 1.0), 1e5)
    host.hold(hold, 5)
    assert not host.rig.plant.data.xfrc_applied.any()


def test_the_stiffest_wall_is_stable(enabled):
    host, hold = enabled
    host.hold(hold, 20)
    tip = host.truth["tip_pose"][:3, 3].copy()
    host.faults.put_wall(tuple(tip), (0.0, 0.0, 1.0), 1e5)
    for k in range(300):
        host.hold(hold + np.array([0, 0, 1e-5 * min(k, 200), 0, 0, 0, 0]), 1)  # 2 mm into it
    assert host.feedback["fault"] == DeviceFault.NONE
    assert abs(host.truth["tip_pose"][2, 3] - tip[2]) < 1.2e-3
    assert np.abs(host.truth["joint_velocity"][:N]).max() < 0.2


def test_walls_and_forces_without_a_direction_or_too_strong_are_refused(enabled):
    host, _hold = enabled
    with pytest.raises(FaultError, match="direction"):
        host.faults.put_wall((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    with pytest.raises(FaultError, match="norm"):
        host.faults.push_tip((40.0, 40.0, 0.0))


def contacts(host):
    inputs = host.rig.plant.inputs[0]
    return [int(c) for c in inputs["estop_open"]], [int(c) for c in inputs["pedal"]], int(inputs["tool"])


def test_a_healthy_arm_has_its_pedal_pressed_its_estop_closed_and_its_instrument_in(make_host):
    host = make_host()
    host.silent()
    assert contacts(host) == ([0, 0], [1, 1], 1)
    truth = host.truth
    assert (truth["estop_open"], truth["pedal"], truth["tool"]) == (0, 0b11, 1)


def test_each_contact_of_estop_and_pedal_fails_alone(make_host):
    host = make_host()
    f = host.faults

    def seen(*steps):
        f.clear()
        for step in steps:
            step()
        host.silent()
        return contacts(host)[:2]

    assert seen(f.press_estop) == ([1, 1], [1, 1])
    assert seen(lambda: f.open_estop_channel("0"))[0] == [1, 0]
    assert seen(lambda: f.open_estop_channel("1"))[0] == [0, 1]
    assert seen(lambda: f.stick_estop_channel("0"))[0] == [0, 0]
    assert seen(lambda: f.stick_estop_channel("0"), f.press_estop)[0] == [0, 1]
    assert seen(lambda: f.stick_estop_channel("both"), f.press_estop)[0] == [0, 0]
    assert seen(f.release_pedal)[1] == [0, 0]
    assert seen(lambda: f.release_pedal("1"))[1] == [1, 0]
    assert seen(lambda: f.stick_pedal_channel("0"), f.release_pedal)[1] == [1, 0]
    assert seen(f.release_pedal, f.press_pedal)[1] == [1, 1]


def test_an_open_channel_alone_is_in_the_truth_and_takes_the_power(enabled):
    host, hold = enabled
    host.faults.open_estop_channel("1")
    host.hold(hold, 1)
    assert host.truth["estop_open"] == 1
    assert not host.truth["power"]
    host.hold(hold, 1)
    assert host.feedback["status"] & Status.ESTOP


def test_the_instrument_is_changed_taken_out_and_put_back(make_host):
    host = make_host()
    for identity in (7, 0, 65535):
        host.faults.change_tool(identity)
        host.silent()
        assert contacts(host)[2] == host.truth["tool"] == identity
    host.faults.clear()
    host.silent()
    assert contacts(host)[2] == 1


@pytest.mark.parametrize("period", [0.0005, 0.002, 0.003])
def test_bouncing_contacts_change_after_each_half_period_opening_first(make_host, period):
    host = make_host(period=0.0005)  # two substeps a step
    start_us = int(host.truth["firmware_time_us"])
    with host.faults.together(at=start_us * 1e-6):
        host.faults.bounce_tool(period)
        host.faults.bounce_pedal(period)
        host.faults.stick_pedal_channel("1")
    half = round(period / 2 / 0.00025)
    for k in range(24):
        host.silent()
        is_open = (2 * k + 1) // half % 2 == 0  # in the second substep of this step
        _, pedal, tool = contacts(host)
        assert tool == (0 if is_open else 1)
        assert pedal == [0 if is_open else 1, 1]
    host.faults.clear()
    host.silent()
    assert contacts(host)[1:] == ([1, 1], 1)


def test_faults_of_several_kinds_are_in_force_together_from_one_substep_on(enabled):
    host, hold = enabled
    start_us = int(host.truth["firmware_time_us"]) + 1000
    with host.faults.together(at=(start_us + 250) * 1e-6):
        host.faults.open_motor(0)
        host.faults.jump_encoder(1, 50)
        host.faults.change_tool(3)
    host.hold(hold, 1)
    assert host.truth["faults"] == 0
    host.hold(hold, 1)
    assert host.truth["faults"] == int(Fault.MOTOR_OPEN | Fault.ENCODER_JUMPED | Fault.TOOL_CHANGED)
    assert round(host.faults.applied * 1e6) == start_us + 250
    assert host.truth["motor_current"][0] == 0.0
    assert host.truth["tool"] == 3
    host.tick(Mode.OFF)
