"""Mode BRAKED: power on closed brakes, for the tests of brakes, encoders and watchdog."""

import numpy as np
import pytest

from drivers.driver import DeviceFault, Status

OFF, ON, SET_REFERENCE, BRAKED = 0, 1, 2, 3
TICK_US = 250
BRAKED_STATUS = Status.POWERED | Status.BRAKED


def status(feedback) -> Status:
    return Status(int(feedback["status"]))


def braked(bench, **axes):
    bench.ready()
    assert status(bench.command(BRAKED, **axes)) == BRAKED_STATUS
    bench.tick()
    return bench


def test_the_power_comes_on_and_the_brakes_stay_on(bench):
    braked(bench, effort=1.0)
    for _ in range(100):
        outputs = bench.tick()
        assert (outputs["power"], outputs["brakes_released"]) == (1, 0)
        assert (outputs["current"][:7] == 0.5).all()
        assert status(bench.command(BRAKED, effort=1.0)) == BRAKED_STATUS


def test_only_the_effort_drives_whatever_gains_and_set_points_say(bench):
    braked(bench)
    for mode in (BRAKED, SET_REFERENCE, BRAKED):
        bench.command(mode, position=1.0, velocity=2.0, kp=100.0, kd=10.0, effort=0.4)
        assert (bench.tick()["current"][:7] == np.float32(0.2)).all()
    assert status(bench.command(BRAKED)) == BRAKED_STATUS | Status.REFERENCED


@pytest.mark.parametrize("gains", [{"kp": 100.0}, {"kd": 10.0}])
def test_nothing_holds_an_axis_that_moves(bench, gains):
    braked(bench)
    for k in range(40):
        bench.place(0.0002 * k)
        bench.command((BRAKED, SET_REFERENCE)[k % 2], effort=0.4, position=bench.inputs["counts"][0, :7] / 1e5, **gains)
        assert (bench.tick()["current"][:7] == np.float32(0.2)).all()


@pytest.mark.parametrize("effort", [1e30, -1e30])
def test_the_effort_is_clamped_to_the_largest_current(bench, effort):
    braked(bench, effort=effort)
    assert (bench.tick()["current"][:7] == np.sign(effort) * bench.CURRENT_MAX).all()


def test_power_needs_an_intent_as_for_on(bench):
    bench.hello()
    bench.configure()
    bench.tick()
    assert status(bench.command(BRAKED)) == 0
    bench.command(OFF)
    assert status(bench.command(BRAKED)) == BRAKED_STATUS
    bench.tick(bench.WATCHDOG_US // TICK_US)
    for _ in range(20):
        assert bench.command(BRAKED, clear=1)["fault"] == DeviceFault.WATCHDOG
        bench.tick(4)
        assert bench.is_dead()


def test_off_takes_the_power_in_the_next_tick(bench):
    braked(bench, effort=1.0)
    assert status(bench.command(OFF)) == 0
    bench.tick()
    assert bench.is_dead()


def test_on_gives_the_brakes_their_time_as_from_off(bench):
    braked(bench, effort=1.0)
    assert status(bench.command(ON)) == Status.POWERED | Status.ENABLING
    ticks = 0
    while status(bench.command(ON)) & Status.ENABLING:
        outputs = bench.tick()
        ticks += 1
        assert (outputs["power"], outputs["brakes_released"]) == (1, 1)
    assert ticks * TICK_US == bench.BRAKE_DELAY_US
    assert status(bench.command(ON)) == Status.POWERED | Status.BRAKES_RELEASED


def test_on_holds_where_the_axes_are_then(bench):
    braked(bench)
    for k in range(1, 41):
        bench.place(0.0001 * k)
        bench.tick()
        bench.command(BRAKED)
    for _ in range(40):
        bench.tick()
        bench.command(BRAKED)
    bench.command(ON, kp=100.0)
    assert np.abs(bench.tick()["current"]).max() < 1e-4


@pytest.mark.parametrize("wait", [0, 40])
def test_brakes_do_not_close_on_an_arm_that_is_on(bench, wait):
    """Only a fault or OFF takes an arm out of ON."""
    bench.ready()
    bench.command(ON)
    for _ in range(wait):
        bench.tick()
        bench.command(ON)
    feedback = bench.command(BRAKED)
    assert (feedback["fault"], feedback["fault_axis"]) == (DeviceFault.BAD_COMMAND, -1)
    bench.tick()
    assert bench.is_dead()


@pytest.mark.parametrize("watchdog_us", [2000, 4000, 10_000])
def test_the_watchdog_trips_in_exactly_its_time(bench, watchdog_us):
    bench.ready(watchdog_us=watchdog_us)
    bench.command(BRAKED, effort=1.0)
    silent_ticks = 0
    while bench.tick()["power"]:
        silent_ticks += 1
    assert (silent_ticks + 1) * TICK_US == watchdog_us
    assert bench.is_dead()
    assert bench.command(BRAKED)["fault"] == DeviceFault.WATCHDOG


def test_the_estop_kills_in_the_same_tick(bench):
    braked(bench, effort=1.0)
    bench.inputs["estop_open"][0, 1] = 1
    bench.tick()
    assert bench.is_dead()
    assert bench.command(BRAKED)["fault"] == DeviceFault.ESTOP


def test_an_open_estop_lets_no_power_through(bench):
    bench.ready()
    bench.inputs["estop_open"][0, 0] = 1
    bench.tick()
    assert bench.command(BRAKED)["fault"] == DeviceFault.ESTOP


def test_a_current_that_is_not_the_commanded_one_kills_within_two_milliseconds(bench):
    braked(bench, effort=1.0)
    ticks = 0
    while bench.outputs["power"][0]:
        bench.inputs["current"][0, 4] = -0.6
        bench.tick()
        bench.command(BRAKED, effort=1.0)
        ticks += 1
    assert ticks == 8
    assert bench.command(BRAKED)["fault"] == DeviceFault.OVERCURRENT


def test_a_brake_that_lets_an_axis_run_away_is_overspeed(bench):
    braked(bench, effort=1.0)
    position = 0.0
    for _ in range(8):
        position += 2.0 * bench.VELOCITY_MAX * TICK_US * 1e-6
        bench.place(position, 3)
        bench.tick()
        feedback = bench.command(BRAKED, effort=1.0)
    assert (feedback["fault"], feedback["fault_axis"]) == (DeviceFault.OVERSPEED, 3)
    assert bench.is_dead()
