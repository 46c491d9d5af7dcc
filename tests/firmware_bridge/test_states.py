"""The C core's operating states and faults, to the tick."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import DeviceFault, Status

OFF, ON, SET_REFERENCE, BRAKED = 0, 1, 2, 3
TICK_US = 250
POWER = Status.POWERED | Status.BRAKES_RELEASED | Status.ENABLING


def status(feedback) -> Status:
    return Status(int(feedback["status"]))


def test_power_comes_at_once_and_brakes_get_their_time(bench):
    bench.ready()
    assert status(bench.command(ON)) == Status.POWERED | Status.ENABLING
    ticks = 0
    while status(bench.command(ON)) & Status.ENABLING:
        outputs = bench.tick()
        ticks += 1
        assert (outputs["power"], outputs["brakes_released"]) == (1, 1)
    assert ticks * TICK_US == bench.BRAKE_DELAY_US
    assert status(bench.command(ON)) == Status.POWERED | Status.BRAKES_RELEASED


def test_without_brakes_nothing_is_waited_for(bench):
    bench.ready(brake=0)
    bench.command(ON)
    bench.tick()
    assert status(bench.command(ON)) == Status.POWERED | Status.BRAKES_RELEASED


def test_off_takes_current_power_and_brakes_in_the_next_tick(bench):
    bench.powered(effort=1.0)
    assert (bench.outputs["current"][0, :7] == 0.5).all()
    assert bench.command(OFF)["status"] == 0
    bench.tick()
    assert bench.is_dead()


def test_axes_past_the_configured_ones_get_no_current(bench):
    bench.powered(effort=1.0)
    assert bench.outputs["current"][0, 7] == 0.0


@pytest.mark.parametrize("watchdog_us", [2000, 4000, 4100, 10_000])
@pytest.mark.parametrize("phase", [0, 1])
def test_the_watchdog_trips_in_exactly_its_time(bench, watchdog_us, phase):
    bench.ready(watchdog_us=watchdog_us)
    for _ in range(10):
        bench.command(ON, effort=1.0)
        bench.tick(3)
    bench.tick(phase)
    bench.command(ON, effort=1.0)
    silent_ticks = 0
    while bench.tick()["power"]:
        silent_ticks += 1
    assert bench.is_dead()
    assert (silent_ticks + 1) * TICK_US == -(-watchdog_us // TICK_US) * TICK_US
    feedback = bench.command(ON)
    assert (feedback["fault"], feedback["fault_axis"]) == (DeviceFault.WATCHDOG, -1)


def test_the_watchdog_sleeps_while_off(bench):
    bench.ready()
    bench.tick(100)
    assert bench.command(OFF)["fault"] == DeviceFault.NONE


def test_the_watchdog_also_runs_while_the_brakes_open(bench):
    bench.ready()
    bench.command(ON)
    bench.tick(bench.WATCHDOG_US // TICK_US)
    assert bench.is_dead()


def test_estop_kills_in_the_same_tick(bench):
    bench.powered(effort=1.0)
    bench.inputs["estop_open"] = 1
    bench.tick()
    assert bench.is_dead()
    feedback = bench.command(ON)
    assert status(feedback) == Status.FAULT | Status.ESTOP
    assert feedback["fault"] == DeviceFault.ESTOP


def test_estop_while_off_is_shown_and_latches_only_when_power_is_asked_for(bench):
    bench.ready()
    bench.inputs["estop_open"] = 1
    bench.tick()
    assert status(bench.command(OFF)) == Status.ESTOP
    assert status(bench.command(ON)) == Status.ESTOP | Status.FAULT
    bench.tick()
    assert bench.is_dead()


def test_an_open_estop_cannot_be_cleared(bench):
    bench.powered()
    bench.inputs["estop_open"] = 1
    bench.tick()
    for clear in (0, 1, 1, 0, 1):
        assert status(bench.command(OFF, clear=clear)) & Status.FAULT
    bench.inputs["estop_open"] = 0
    bench.tick()
    assert status(bench.command(OFF)) == Status.FAULT
    assert status(bench.command(OFF, clear=1)) == 0


@pytest.mark.parametrize("direction", [1, -1])
def test_overspeed_kills(bench, direction):
    bench.powered(kp=0.0)
    position = 0.0
    for _ in range(60):  # 5 % below the limit for as long as the observer needs
        position += direction * 0.95 * bench.VELOCITY_MAX * TICK_US * 1e-6
        bench.place(position, 2)
        assert bench.tick()["power"] == 1
        bench.command(ON)
    ticks = 0
    while bench.outputs["power"][0]:
        position += direction * 1.5 * bench.VELOCITY_MAX * TICK_US * 1e-6
        bench.place(position, 2)
        bench.tick()
        bench.command(ON)
        ticks += 1
    assert ticks * TICK_US <= 1000
    assert bench.is_dead()
    feedback = bench.command(ON)
    assert (feedback["fault"], feedback["fault_axis"]) == (DeviceFault.OVERSPEED, 2)
    assert status(bench.command(OFF, clear=1)) & Status.FAULT  # it still moves
    for _ in range(100):
        bench.tick()
    assert not status(bench.command(OFF, clear=1)) & Status.FAULT


@pytest.mark.parametrize("measured", [-2.0, -0.6, 1.6, 2.0, float("nan")])
def test_a_current_that_is_not_the_commanded_one_kills_within_two_milliseconds(bench, measured):
    bench.powered(effort=1.0)  # 0.5 A
    ticks = 0
    while bench.outputs["power"][0]:
        bench.inputs["current"][0, 4] = measured
        bench.tick()
        bench.command(ON, effort=1.0)
        ticks += 1
    assert ticks == 8
    assert bench.is_dead()
    feedback = bench.command(ON)
    assert (feedback["fault"], feedback["fault_axis"]) == (DeviceFault.OVERCURRENT, 4)


@pytest.mark.parametrize("offset", [0.45, -0.45])
def test_a_quarter_of_the_largest_current_may_be_missing(bench, offset):
    bench.powered(effort=1.0)
    for _ in range(40):
        bench.inputs["current"][0, :7] += offset
        assert bench.tick()["power"] == 1
        bench.command(ON, effort=1.0)


def test_a_mismatch_counts_only_while_it_lasts(bench):
    bench.powered()
    for k in range(80):
        bench.inputs["current"][0, 6] = 1.0 if k % 8 else 0.0  # seven ticks of every eight
        assert bench.tick()["power"] == 1
        bench.command(ON)


def test_current_noise_and_short_lag_are_no_fault(bench):
    bench.powered()
    rng = np.random.default_rng(1)
    for k in range(200):
        bench.command(ON, effort=3.0 if k // 8 % 2 else -3.0)
        before = bench.inputs["current"].copy()
        bench.tick()
        bench.inputs["current"] = before  # a tick late
        bench.tick(3)
        bench.inputs["current"][0, :7] += rng.normal(0.0, 0.05, 7)
        assert bench.outputs["power"][0] == 1


class TestPositionLimit:
    MARGIN = 0.015  # 0.5 % of the range of 3 rad

    def creep(self, bench, start, speed, ticks):
        """Move all axes; the position when the power went, or None."""
        for k in range(ticks):
            position = start + speed * TICK_US * 1e-6 * (k + 1)
            bench.place(position)
            bench.tick()
            if not bench.outputs["power"][0]:
                return position
            if k % 4 == 3:
                bench.command(ON)
        return None

    def powered_at(self, bench, position, referenced=True):
        bench.ready()
        bench.place(position)
        bench.tick()
        if referenced:
            bench.command(SET_REFERENCE, position=position)
        for _ in range(40):  # the observer comes to rest
            bench.tick()
        for _ in range(6):
            bench.command(ON, position=position)
            bench.tick(4)
        assert bench.outputs["power"][0] == 1

    @pytest.mark.parametrize("side", [1, -1])
    @pytest.mark.parametrize("speed", [0.01, 0.5, 2.5])
    def test_an_axis_cannot_leave_its_range_at_any_speed(self, bench, side, speed):
        limit = side * bench.POSITION_MAX
        start = limit - side * 0.005
        self.powered_at(bench, start)
        end = self.creep(bench, start, side * speed, 12_000)
        assert end is not None
        assert self.MARGIN < side * (end - limit) < self.MARGIN + speed * TICK_US * 1e-6 + 2e-5
        assert bench.is_dead()
        assert bench.command(ON)["fault"] == DeviceFault.POSITION_LIMIT

    def test_an_axis_without_reference_has_no_range(self, bench):
        self.powered_at(bench, 1.4, referenced=False)
        assert self.creep(bench, 1.4, 2.0, 1000) is None

    @pytest.mark.parametrize("side", [1, -1])
    def test_an_axis_outside_may_come_back_but_not_go_further_out(self, bench, side):
        start = side * (bench.POSITION_MAX + 0.3)
        self.powered_at(bench, start)
        assert self.creep(bench, start, -side * 0.5, 800) is None  # 0.1 in
        back = start - side * 0.1
        end = self.creep(bench, back, side * 0.5, 4000)
        assert end is not None
        assert abs(side * (end - back) - self.MARGIN) < 2e-4
        assert bench.command(ON)["fault"] == DeviceFault.POSITION_LIMIT

    def test_after_the_fault_the_axis_can_be_powered_where_it_is(self, bench):
        self.powered_at(bench, 1.499)
        assert self.creep(bench, 1.499, 0.5, 4000) is not None
        bench.tick(40)
        assert bench.command(OFF, clear=1)["fault"] == DeviceFault.NONE
        bench.command(ON)
        bench.tick()
        assert bench.outputs["power"][0] == 1


BAD_COMMANDS = {
    "nan": {"position": float("nan")},
    "infinite": {"velocity": float("inf")},
    "effort": {"effort": float("-inf")},
    "kp": {"kp": -1.0},
    "kd": {"kd": -0.1},
    "gain": {"kd": float("nan")},
    "axes": {"n_axes": 6},
    "no_axes": {"n_axes": 0},
    "range": {"kp": 1.0, "position": 1.6},
    "low": {"kp": 1.0, "position": -1.6},
    "fast": {"kd": 1.0, "velocity": 3.1},
}


@pytest.mark.parametrize("bad", BAD_COMMANDS.values(), ids=BAD_COMMANDS)
@pytest.mark.parametrize("axis", [None, 0, 6])
def test_a_bad_command_kills_in_the_next_tick(bench, bad, axis):
    if axis is not None and "n_axes" not in bad:  # one axis alone
        bad = {name: np.where(np.arange(7) == axis, value, 0.0) for name, value in bad.items()}
    bench.ready()
    bench.command(SET_REFERENCE)
    bench.command(OFF)
    for _ in range(7):
        bench.command(ON)
        bench.tick(4)
    feedback = bench.command(ON, **bad)
    assert feedback["axes"].size == 7
    bench.tick()
    assert bench.is_dead()
    feedback = bench.command(ON)
    assert feedback["fault"] == DeviceFault.BAD_COMMAND
    assert feedback["fault_axis"] == (-1 if "n_axes" in bad else axis or 0)


def test_gains_that_overflow_are_clamped_and_kill_when_their_sum_is_no_number(bench):
    """Position term +inf and damping term -inf, each from finite values."""
    bench.powered()
    position = 0.0
    for k in range(84):
        if k % 4 == 0:
            last = k == 80
            bench.command(ON, position=position + 1.4, kp=3e38 if last else 0.0, kd=3e38 if last else 0.0)
        position += 2.5 * TICK_US * 1e-6
        bench.place(position)
        outputs = bench.tick()
        assert np.isfinite(outputs["current"]).all()
        assert np.abs(outputs["current"]).max() <= bench.CURRENT_MAX
        assert outputs["power"] == (k < 83)  # at the period's end the set-point's velocity is 0, the axis' is not
    assert bench.is_dead()
    assert bench.command(ON)["fault"] == DeviceFault.BAD_COMMAND


def test_what_is_just_allowed_is_no_fault(bench):
    bench.ready()
    bench.command(SET_REFERENCE)
    bench.command(OFF)
    for _ in range(7):
        bench.command(ON, position=1.5, velocity=3.0, kp=1e-9, kd=1e-9)
        bench.tick(4)
    assert bench.outputs["power"][0] == 1


def test_one_and_eight_axes_are_driven(bench_class):
    for n_axes in (1, 8):
        bench = bench_class()
        bench.hello()
        assert bench.configure(n_axes=n_axes)["refused_field"] == 0
        bench.tick()
        bench.command(OFF, n_axes=n_axes)
        for _ in range(7):
            feedback = bench.command(ON, n_axes=n_axes, effort=np.arange(1, n_axes + 1) * 0.1)
            bench.tick(4)
        assert feedback["axes"].size == n_axes
        np.testing.assert_allclose(bench.outputs["current"][0, :n_axes], 0.05 * np.arange(1, n_axes + 1), rtol=1e-6)
        assert not bench.outputs["current"][0, n_axes:].any()


@pytest.mark.parametrize("bad", [{"mode": 4}, {"mode": 255}, {"clear": 2}])
def test_an_unknown_mode_or_flag_is_a_bad_command(bench, bad):
    bench.powered()
    bench.command(**{"mode": ON, **bad})
    bench.tick()
    assert bench.is_dead()


def test_a_set_point_that_no_gain_acts_on_may_be_anything(bench):
    bench.ready()
    bench.command(SET_REFERENCE)
    bench.command(OFF)
    for _ in range(7):
        bench.command(ON, position=9.0, velocity=9.0, effort=1.0)
        bench.tick(4)
    assert (bench.outputs["current"][0, :7] == 0.5).all()


def fail(bench):
    bench.tick(bench.WATCHDOG_US // TICK_US)
    assert bench.is_dead()


def test_a_fault_keeps_echoing(bench):
    bench.powered()
    fail(bench)
    for _ in range(5):
        feedback = bench.command(ON)
        assert feedback["echo"] == bench.sequence
        assert feedback["fault"] == DeviceFault.WATCHDOG
        bench.tick(4)


def test_a_stale_stream_of_on_never_brings_the_power_back(bench):
    bench.powered()
    fail(bench)
    for _ in range(200):
        bench.command(ON, effort=1.0)
        bench.tick(4)
        assert bench.is_dead()


def test_a_stream_that_holds_its_clear_flag_never_brings_the_power_back(bench):
    bench.ready()
    for _ in range(10):
        bench.command(ON, clear=1)
        bench.tick(4)
    assert bench.outputs["power"][0] == 1
    fail(bench)
    for _ in range(50):
        bench.command(ON, clear=1)
        bench.tick(4)
        assert bench.is_dead()


def test_off_and_on_again_do_not_clear_a_fault(bench):
    bench.powered()
    fail(bench)
    for mode in (OFF, ON, OFF, ON):
        assert bench.command(mode)["fault"] == DeviceFault.WATCHDOG
        bench.tick(4)
        assert bench.is_dead()


@pytest.mark.parametrize("mode", [OFF, ON])
def test_clearing_leads_to_off_and_the_next_on_to_power(bench, mode):
    bench.powered()
    fail(bench)
    assert status(bench.command(mode, clear=1)) == 0
    bench.tick()
    assert bench.is_dead()
    assert status(bench.command(ON, clear=1)) & Status.POWERED


def test_a_new_session_may_clear_with_its_first_command(bench):
    """Whatever flag the session before it held."""
    bench.powered()
    fail(bench)
    bench.inputs["estop_open"] = 1
    bench.tick()
    bench.command(SET_REFERENCE, clear=1)  # clears nothing, and leaves the flag set
    bench.hello()
    assert bench.command(ON, clear=1)["fault"] == DeviceFault.NONE


def test_the_first_fault_is_kept(bench):
    bench.powered()
    fail(bench)
    bench.inputs["estop_open"] = 1
    bench.tick()
    assert bench.command(ON, position=float("nan"))["fault"] == DeviceFault.WATCHDOG


def test_feedback_is_of_the_newest_samples(bench):
    bench.ready()
    bench.place(0.5)
    bench.inputs["current"][0, :7] = 0.25
    bench.inputs["absolute"][0, 3] = float("nan")
    bench.tick()
    f = bench.command(OFF)
    np.testing.assert_allclose(f["axes"]["position"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(f["axes"]["effort"], 0.5)
    assert np.isnan(f["axes"]["absolute"][3])
    assert (np.delete(f["axes"]["absolute"], 3) == 0.25).all()
    assert f["time_low_us"] == bench.ticks * TICK_US


commands = st.builds(
    dict,
    mode=st.sampled_from([OFF, ON, ON, ON, SET_REFERENCE, BRAKED, BRAKED]),
    clear=st.sampled_from([0, 0, 1]),
    position=st.floats(-2.0, 2.0, width=32),
    velocity=st.floats(-4.0, 4.0, width=32),
    effort=st.floats(-10.0, 10.0, width=32) | st.just(float("nan")),
    kp=st.floats(0.0, 1000.0, width=32),
    kd=st.floats(0.0, 10.0, width=32),
)
estops = st.sampled_from([(0, 0)] * 5 + [(1, 1), (0, 1), (1, 0)])
steps = st.tuples(commands, st.integers(0, 18), estops, st.integers(-300, 300))


@given(st.lists(steps, max_size=25))
@settings(max_examples=60, deadline=None)
def test_whatever_the_host_does_the_outputs_stay_safe(bench_class, story):
    """No current without power, none beyond the maximum, none with the e-stop open, none after a long silence."""
    bench = bench_class().ready()
    counts = 0
    for command, ticks, estop, moved in story:
        feedback = bench.command(**command)
        assert feedback["echo"] == bench.sequence
        bench.inputs["estop_open"][0] = estop
        for k in range(ticks):
            counts += moved
            bench.inputs["counts"][0, :7] = counts
            o = bench.tick()
            assert np.isfinite(o["current"]).all()
            assert np.abs(o["current"]).max() <= bench.CURRENT_MAX
            if o["power"] != o["brakes_released"]:
                assert (o["power"], o["brakes_released"]) == (1, 0)
                assert command["mode"] in (BRAKED, SET_REFERENCE)
            if any(estop) or k + 1 >= bench.WATCHDOG_US // TICK_US or not o["power"]:
                assert bench.is_dead()
