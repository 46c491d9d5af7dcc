"""Faults of encoders, absolute sensors, temperature sensors and current sensors: what the host and the truth show."""

import numpy as np
import pytest

from drivers.driver import Mode
from hil.faults import Fault

N = 7
TICK_US = 1000


@pytest.fixture
def still(make_host):
    """An arm on its brakes, configured and without power."""
    host = make_host()
    host.tick(Mode.OFF)
    host.tick(Mode.OFF)
    return host


def counts(host, axis):
    return int(host.rig.plant.inputs["counts"][0, axis])


def in_force(host):
    return Fault(int(host.truth["faults"]))


def test_a_drifting_encoder_counts_by_itself_from_its_substep_on_and_keeps_what_it_counted(still):
    host = still
    first = counts(host, 0)
    start_us = int(host.truth["firmware_time_us"]) + TICK_US
    host.faults.drift_encoder(0, 4000.0, at=(start_us + 500) * 1e-6)  # one count per substep
    host.silent(2)
    assert counts(host, 0) - first == 2  # two substeps of the second period
    assert in_force(host) == Fault.ENCODER_DRIFT
    host.silent(10)
    assert counts(host, 0) - first == 42
    host.faults.drift_encoder(0, -2000.0)
    host.silent(10)
    assert counts(host, 0) - first == 22
    host.faults.clear()
    host.silent(10)
    assert counts(host, 0) - first == 22
    assert in_force(host) == 0


def test_a_noisy_encoder_is_as_noisy_as_asked_and_right_on_average(still):
    host = still
    first = counts(host, 1)
    host.faults.shake_encoder(1, 20.0)
    seen = []
    for _ in range(2000):
        host.silent()
        seen.append(counts(host, 1) - first)
    assert np.std(seen) == pytest.approx(20.0, rel=0.1)
    assert abs(np.mean(seen)) < 2.0
    host.faults.clear()
    host.silent()
    assert abs(counts(host, 1) - first) < 5  # it creeps a little on its brakes


def test_an_encoder_that_loses_counts_shows_a_part_of_the_motion_and_stays_wrong(still):
    host = still
    host.faults.lose_counts(2, 0.25)
    host.faults.fail_brake(2)
    host.silent()
    shown, true = counts(host, 2), float(host.truth["actuator_position"][2])
    host.silent(100)
    per_unit = host.arm[0]["counts_per_unit"][2]
    moved = (float(host.truth["actuator_position"][2]) - true) * per_unit
    assert abs(moved) > 500
    assert counts(host, 2) - shown == pytest.approx(0.75 * moved, abs=2)
    host.faults.end(Fault.ENCODER_COUNTS_LOST)
    host.faults.fail_brake(2, on=False)
    host.silent(50)
    shown, true = counts(host, 2), float(host.truth["actuator_position"][2])
    host.silent(50)
    more = (float(host.truth["actuator_position"][2]) - true) * per_unit
    assert counts(host, 2) - shown == pytest.approx(more, abs=2)


@pytest.mark.parametrize("value", [0, 1])
def test_a_stuck_bit_stays_whatever_the_count(still, value):
    host = still
    host.faults.stick_encoder_bit(0, 3, value)
    host.faults.drift_encoder(0, 4000.0)
    seen = []
    for _ in range(40):
        host.silent()
        seen.append(counts(host, 0))
    assert {count >> 3 & 1 for count in seen} == {value}
    assert len({count & 7 for count in seen}) > 1
    assert len({count >> 4 for count in seen}) > 3


def test_a_frozen_encoder_also_hides_its_drift(still):
    host = still
    host.faults.freeze_encoder(0)
    host.faults.drift_encoder(0, 4000.0)
    host.silent()
    first = counts(host, 0)
    host.silent(10)
    assert counts(host, 0) == first


def test_a_frozen_absolute_sensor_repeats_itself_to_the_digit(still):
    host = still
    host.faults.freeze_absolute(3)
    first = host.tick(Mode.OFF)["axes"]["absolute"].copy()
    others = set()
    for _ in range(20):
        absolute = host.tick(Mode.OFF)["axes"]["absolute"]
        assert absolute[3] == first[3]
        others.add(float(absolute[4]))
    assert len(others) > 5
    host.faults.freeze_absolute(3, on=False)
    assert len({float(host.tick(Mode.OFF)["axes"]["absolute"][3]) for _ in range(20)}) > 5


def test_an_unplugged_absolute_sensor_shows_no_number_until_it_is_back(still):
    host = still
    host.faults.lose_absolute(1)
    host.tick(Mode.OFF)
    absolute = host.tick(Mode.OFF)["axes"]["absolute"]
    assert np.isnan(absolute[1])
    assert np.isfinite(np.delete(absolute, 1)).all()
    host.faults.clear()
    host.tick(Mode.OFF)
    assert np.isfinite(host.tick(Mode.OFF)["axes"]["absolute"]).all()


def shown(host):
    return host.rig.plant.inputs["temperature"][0, :N].astype(float)


def test_temperatures_are_read_a_hundred_times_a_second_in_steps_of_a_tenth(still):
    host = still
    seen = []
    for _ in range(400):
        host.silent()
        seen.append(shown(host))
    seen = np.array(seen)
    np.testing.assert_allclose(seen * 10, np.rint(seen * 10), atol=1e-4)
    changes = np.count_nonzero(np.diff(seen, axis=0), axis=0)
    assert (changes > 10).all()  # noise of one step
    assert (changes <= 40).all()  # 40 readings in 0.4 s
    np.testing.assert_allclose(seen.mean(axis=0), 25.0, atol=0.1)


def test_temperature_faults_show_what_they_say_in_their_very_substep(still):
    host = still
    start_us = int(host.truth["firmware_time_us"]) + TICK_US
    with host.faults.together(at=(start_us + 750) * 1e-6):
        host.faults.set_temperature(0, 80.5)
        host.faults.ramp_temperature(1, 1000.0)  # a quarter of a kelvin per substep
        host.faults.lose_temperature(2)
        host.faults.freeze_temperature(3)
    host.silent()
    before = shown(host)
    assert (abs(before - 25.0) < 1.0).all()
    host.silent()
    after = shown(host)
    assert after[0] == 80.5
    assert after[1] - before[1] == pytest.approx(0.25, abs=0.5)
    assert np.isnan(after[2])
    for k in range(1, 60):
        host.silent()
        now = shown(host)
        assert now[3] == after[3]
        assert now[1] == pytest.approx(25.25 + k, abs=0.5)
    assert abs(host.truth["motor_temperature"][:N] - 25.0).max() < 0.1
    assert in_force(host) == (
        Fault.TEMPERATURE_SET | Fault.TEMPERATURE_RAMP | Fault.TEMPERATURE_MISSING | Fault.TEMPERATURE_FROZEN
    )
    host.faults.clear()
    host.silent(12)
    assert (abs(shown(host) - 25.0) < 1.0).all()
    host.faults.ramp_temperature(1, 1000.0)  # from now on, not from where the last one ended
    host.silent(2)
    assert shown(host)[1] == pytest.approx(27.0, abs=1.0)


def test_a_motor_warms_up_by_its_losses_and_its_sensor_shows_it(still):
    host = still
    host.home()
    host.enable()
    host.faults.jam_axis(0)
    motors = host.rig.plant.file.motors
    heating = motors.resistance[0] * motors.thermal_resistance[0]
    push = np.zeros(N)
    push[0] = 1.2 * host.arm[0]["effort_per_amp"][0]
    held = host.feedback["axes"]["position"].copy()
    expected = float(host.truth["motor_temperature"][0])
    for _ in range(2000):
        host.hold(held, 1, effort=push)
        final = motors.ambient + heating * float(host.truth["motor_current"][0]) ** 2
        expected += (final - expected) * 0.001 / motors.thermal_time_constant
    assert host.truth["power"]
    assert expected > 26.5
    assert host.truth["motor_temperature"][0] == pytest.approx(expected, abs=0.01)
    assert shown(host)[0] == pytest.approx(expected, abs=0.5)
    assert host.truth["motor_temperature"][0] > host.truth["motor_temperature"][3] + 1.0


def test_a_lying_current_sensor_shows_the_command_an_old_value_or_nothing(still):
    host = still
    host.home()
    hold = host.enable()
    told, shows = host.rig.plant.outputs["current"][0], host.rig.plant.inputs["current"][0]
    noise = 4 * host.rig.plant.file.motors.current_noise
    push = np.zeros(N)
    push[0] = 0.2 * host.arm[0]["effort_per_amp"][0]
    host.faults.jam_axis(0)
    host.hold(hold, 3, effort=push)
    flows = float(host.truth["motor_current"][0])
    assert abs(flows) > 5 * noise
    assert abs(shows[0] - flows) < noise
    host.faults.fake_current(0, "zero")
    host.hold(hold, 3, effort=push)
    assert abs(shows[0]) < noise
    host.faults.open_motor(0)
    host.faults.fake_current(0, "commanded")
    host.hold(hold, 3, effort=push)
    assert host.truth["motor_current"][0] == 0.0
    assert abs(shows[0] - told[0]) < noise
    host.faults.fake_current(0, "frozen")
    host.hold(hold, 1, effort=push)
    frozen = float(shows[0])
    host.hold(hold, 3, effort=push)
    assert float(shows[0]) == frozen
    host.faults.fake_current(0, "frozen", on=False)
    host.hold(hold, 1, effort=push)
    assert abs(shows[0]) < noise
    assert host.truth["power"]


def test_each_sensor_fault_repeats_with_the_seed(make_host):
    def run(seed):
        host = make_host(seed=seed)
        host.faults.shake_encoder(0, 5.0)
        host.faults.set_temperature(1, 50.0)
        host.silent(50)
        return host.rig.plant.inputs.tobytes()

    assert run(3) == run(3)
    assert run(3) != run(4)
