"""The C core's joint servo: set-point, observer, reference. Observed from outside, by the current it asks for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import Status

OFF, ON, SET_REFERENCE = 0, 1, 2
TICK = 250e-6
EFFORT_PER_AMP = 2.0


def setpoint_position(bench) -> float:
    """With kp = 1 and no other term, effort is set-point minus position (0 counts: 0)."""
    return float(bench.outputs["current"][0, 0]) * EFFORT_PER_AMP


def test_power_begins_where_the_axis_is(bench):
    """However far the host's set-point is, nothing pulls until the brakes are open, and then it moves over a period."""
    bench.ready()
    bench.place(0.3)
    bench.tick(60)
    for _ in range(bench.BRAKE_DELAY_US // 1000):
        bench.command(ON, position=1.0, kp=1.0)
        assert not bench.tick(4)["current"].any()
    bench.command(ON, position=1.0, kp=1.0)
    first = bench.tick()["current"][0] * EFFORT_PER_AMP
    assert 0.0 < first < 0.2


@pytest.mark.parametrize("period_us", [1000, 2000, 1250])
def test_the_set_point_is_the_hermite_cubic_between_frames(bench_class, period_us):
    bench = bench_class().ready(host_period_us=period_us, watchdog_us=100_000, brake=0, current_max=1000.0)
    bench.command(ON)
    bench.tick()
    p0, v0 = 0.0, 0.0
    period = period_us * 1e-6
    for p1, v1 in [(0.001, 1.0), (0.003, 2.0), (0.004, -1.0)]:
        bench.command(ON, position=p1, velocity=v1, kp=1.0)
        for k in range(1, period_us // 250 + 1):
            u = k * TICK / period
            expected = (
                (2 * u**3 - 3 * u**2 + 1) * p0
                + (u**3 - 2 * u**2 + u) * period * v0
                + (-2 * u**3 + 3 * u**2) * p1
                + (u**3 - u**2) * period * v1
            )
            bench.tick()
            assert setpoint_position(bench) == pytest.approx(expected, abs=1e-9, rel=1e-5)
        p0, v0 = p1, v1


def test_velocity_is_that_of_the_cubic(bench_class):
    bench = bench_class().ready(brake=0, watchdog_us=100_000, current_max=1000.0)
    bench.command(ON)
    bench.tick()
    p1, v1, period = 0.003, 2.0, 0.001
    bench.command(ON, position=p1, velocity=v1, kd=1.0)
    for k in range(1, 5):
        u = k / 4
        expected = ((-6 * u**2 + 6 * u) * p1 + (3 * u**2 - 2 * u) * period * v1) / period
        assert bench.tick()["current"][0] * EFFORT_PER_AMP == pytest.approx(expected, abs=1e-6)


def test_a_late_frame_finds_the_set_point_going_on_for_one_period_and_then_at_rest(bench):
    bench.powered()
    bench.command(ON, position=0.002, velocity=1.0, kp=1.0)
    bench.tick(4)
    assert setpoint_position(bench) == pytest.approx(0.002, rel=1e-6)
    for k in range(1, 5):
        bench.tick()
        assert setpoint_position(bench) == pytest.approx(0.002 + 0.00025 * k, rel=1e-6)
    bench.tick(5)
    assert setpoint_position(bench) == pytest.approx(0.003, rel=1e-6)
    bench.command(ON, position=0.003, velocity=0.0, kd=1.0)
    assert abs(bench.tick()["current"][0]) < 1e-6


def test_frames_a_tick_early_and_late_in_turn_leave_the_speed_as_it_is(bench):
    """At a constant speed of 1 the damping, kd = 1, gives the set-point's speed; the axis itself stands still."""
    bench.powered()
    for k in range(1, 40):
        bench.command(ON, position=0.001 * k, velocity=1.0, kd=1.0)
        for _ in range(5 if k % 2 else 3):
            bench.tick()
            if k > 3:
                assert bench.outputs["current"][0, 0] * EFFORT_PER_AMP == pytest.approx(1.0, abs=0.12)


@given(st.lists(st.tuples(st.floats(-0.003, 0.003), st.integers(1, 7)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_set_point_is_continuous_whenever_frames_come(bench_class, story):
    """Frames early, late and far apart: no step of the set-point is larger than the cubic's steepest."""
    bench = bench_class()
    bench.ready(brake=0, current_max=1000.0)
    bench.command(ON)
    bench.tick()
    before = goal = 0.0
    for step, ticks in story:
        velocity = step / 0.001
        goal += step
        bench.command(ON, position=goal, velocity=velocity * 0.9, kp=1.0)
        for _ in range(ticks):
            bench.tick()
            now = setpoint_position(bench)
            assert abs(now - before) <= 0.012  # three periods' way in one tick is a jump
            before = now
    for _ in range(8):  # on time, and far from any schedule before
        bench.command(ON, position=goal, velocity=0.0, kp=1.0)
        bench.tick(4)
    assert setpoint_position(bench) == pytest.approx(goal, abs=1e-7)


def test_torque_is_the_law_s(bench):
    bench.ready()
    bench.place(0.01)
    bench.tick(100)
    for _ in range(10):
        bench.command(ON, position=0.013, kp=40.0, kd=0.5, effort=-0.02)
        bench.tick(4)
    expected = (40.0 * 0.003 - 0.02) / EFFORT_PER_AMP
    np.testing.assert_allclose(bench.outputs["current"][0, :7], expected, rtol=1e-4)


def test_negative_directions_are_obeyed(bench):
    bench.hello()
    bench.configure(counts_per_unit=-100_000.0, effort_per_amp=-2.0)
    bench.command(OFF)
    bench.place(-0.5)
    bench.tick(80)
    for _ in range(7):
        feedback = bench.command(ON, position=0.5, kp=1.0, effort=0.4)
        bench.tick(4)
    np.testing.assert_allclose(feedback["axes"]["position"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(feedback["axes"]["effort"], 0.4, rtol=1e-5)
    np.testing.assert_allclose(bench.outputs["current"][0, :7], -0.2, rtol=1e-5)


def test_the_observer_follows_a_constant_velocity_without_error(bench):
    bench.ready()
    for k in range(400):
        bench.place(1.0 * k * TICK)
        bench.tick()
    velocity = bench.command(OFF)["axes"]["velocity"]
    np.testing.assert_allclose(velocity, 1.0, atol=1e-3)


def test_the_observer_is_1_6_ms_late(bench):
    """Under a constant acceleration a its velocity is a times 2 / (2 pi 200 Hz) behind, plus a tick's sampling."""
    bench.ready()
    acceleration = 20.0
    for k in range(400):
        bench.place(0.5 * acceleration * (k * TICK) ** 2)
        bench.tick()
    velocity = float(bench.command(OFF)["axes"]["velocity"][0])
    late = k * TICK - velocity / acceleration
    assert late == pytest.approx(1.6e-3, abs=0.2e-3)


def test_the_observer_resolves_the_same_far_from_zero_and_over_a_wrap(bench):
    bench.ready()
    offset = 2**31 - 200
    for k in range(400):
        wrapped = (offset + 10 * k + 2**31) % 2**32 - 2**31
        bench.inputs["counts"][0, 0] = wrapped
        bench.inputs["counts"][0, 1] = 10 * k
        bench.tick()
    velocity = bench.command(OFF)["axes"]["velocity"]
    assert velocity[0] == pytest.approx(velocity[1], abs=1e-5)
    assert velocity[1] == pytest.approx(0.4, abs=1e-3)


def test_one_count_is_seen_as_291_counts_per_second(bench):
    bench.ready()
    bench.tick(50)
    bench.inputs["counts"][0, 0] = 1
    bench.tick()
    velocity = float(bench.command(OFF)["axes"]["velocity"][0])
    assert velocity * bench.COUNTS_PER_UNIT == pytest.approx(290.73, rel=1e-4)


def test_a_reference_while_off_powers_nothing(bench):
    bench.ready()
    bench.place(0.2)
    bench.tick()
    feedback = bench.command(SET_REFERENCE, position=1.25)
    assert Status(int(feedback["status"])) == Status.REFERENCED
    np.testing.assert_allclose(feedback["axes"]["position"], 1.25)
    bench.tick(4)
    assert bench.is_dead()
    bench.place(0.3)
    bench.tick()
    np.testing.assert_allclose(bench.command(OFF)["axes"]["position"], 1.35, rtol=1e-6)


def test_a_reference_while_powered_bumps_nothing(bench):
    """In motion, with a following error: the current goes on as if the zero had always been there."""
    moved = []
    for referenced in (False, True):
        bench.__init__()
        bench.powered()
        currents = []
        shift = 0.0
        for k in range(60):
            way = 0.001 * k
            gains = {"kp": 5.0, "kd": 0.2, "effort": 0.01}
            if referenced and k == 30:
                measured = bench.inputs["counts"][0, :7] / bench.COUNTS_PER_UNIT
                shift = 0.7
                feedback = bench.command(SET_REFERENCE, position=measured + shift, **gains)
                np.testing.assert_allclose(feedback["axes"]["velocity"], 1.0, atol=0.05)
            elif k == 30:
                # Without a new goal the set-point stays for this period, with and without a reference.
                bench.command(ON, position=0.001 * 29, velocity=0.0, **gains)
            else:
                bench.command(ON, position=way + shift, velocity=1.0 if k != 29 else 0.0, **gains)
            for j in range(4):
                bench.place(way + 0.00025 * j - 0.004)
                bench.tick()
                currents.append(bench.outputs["current"][0, :7].copy())
        moved.append(np.array(currents))
    np.testing.assert_allclose(moved[1], moved[0], atol=2e-5)
    assert np.abs(moved[0]).max() > 0.01


def test_a_reference_is_not_taken_in_a_fault(bench):
    bench.powered()
    bench.inputs["estop_open"] = 1
    bench.tick()
    assert not Status(int(bench.command(SET_REFERENCE, position=1.0)["status"])) & Status.REFERENCED


def test_two_runs_are_equal_to_the_bit(bench_class):
    def run() -> bytes:
        bench, rng, out = bench_class().powered(), np.random.default_rng(5), b""
        for k in range(200):
            f = bench.command(ON, position=0.1 * np.sin(0.05 * k), kp=30.0, kd=0.3, effort=rng.normal(0, 0.1, 7))
            out += f.tobytes()
            bench.inputs["counts"][0, :7] += rng.integers(-20, 20, 7).astype(np.int32)
            out += bench.tick(4).tobytes()
        return out

    assert run() == run()
