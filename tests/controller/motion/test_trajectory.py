"""Online trajectories: as short as ruckig's, within limits, without a step over re-plans; from any state."""

import math

import numba
import numpy as np
import pytest
import ruckig
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types
from numba.core.runtime import _nrt_python, rtsys

from benchmarks.trajectories import KINDS, LONGER, TOLERANCE, States, errors, plan_all, random_states, ruckig_durations
from controller.motion.axis_profile import cruise_motion, direct, far_motion_lasting, far_times
from controller.motion.braking import stop_displacement
from controller.motion.trajectory import (
    MAX_AXES,
    TRAJECTORY,
    Status,
    evaluate,
    plan,
    plan_unsynchronised,
    plan_velocity,
    plan_velocity_synchronised,
)
from kinematics.compiled import array_of

COUNT = 600  # random tasks of a kind
TASK = ("p0", "v0", "a0", "p1", "v1", "v_max", "a_max", "j_max")


def vector(*values):
    """A vector of 8: the values, and nan where nothing may be read."""
    return np.array([*values, *[math.nan] * (MAX_AXES - len(values))])


def planned(n_axes, *task, planner=plan):
    trajectory = np.zeros(1, TRAJECTORY)
    assert planner(trajectory, n_axes, *task) == Status.OK
    return trajectory


def planned_axis(*task, planner=plan):
    return planned(1, *(vector(x) for x in task), planner=planner)


def at(trajectory, t):
    p, v, a = np.full(8, math.nan), np.full(8, math.nan), np.full(8, math.nan)
    evaluate(trajectory, t, p, v, a)
    return np.array([p, v, a])


def all_planned(states, n_axes):
    trajectories = np.zeros(len(n_axes), TRAJECTORY)
    assert plan_all(trajectories, n_axes, *states) == 0
    return trajectories


def assert_valid(trajectories, n_axes, states):
    found = errors(trajectories, n_axes, states)
    assert {name: float(error.max()) for name, error in zip(found._fields, found, strict=True)} == pytest.approx(
        dict.fromkeys(found._fields, 0.0), abs=TOLERANCE
    )


def grid_states(rng, count):
    """Tasks of few values, so that starts, targets and limits coincide in every way."""

    def pick(*values):
        return rng.choice(np.array(values, float), (count, MAX_AXES))

    v_max, a_max, j_max = pick(0.5, 1, 2), pick(0.5, 1, 2, 4), pick(1, 2, 8)
    v0, v1 = (pick(-1, -0.5, 0, 0, 0.5, 1) * v_max for _ in range(2))
    a0 = pick(-1, -0.5, 0, 0, 0.5, 1) * a_max
    beyond = pick(1, 1, 1, 2)
    return States(pick(0, 0, 1), v0 * beyond, a0 * beyond, pick(0, 0, 1, -1, 0.25, 3), v1, v_max, a_max, j_max)


@pytest.mark.parametrize("kind", KINDS)
def test_trajectory_is_valid_and_not_longer_than_ruckigs(kind):
    rng = np.random.default_rng(KINDS.index(kind) + 20)
    states, n_axes = random_states(rng, COUNT, kind), rng.integers(1, 8, COUNT)
    trajectories = all_planned(states, n_axes)
    assert_valid(trajectories, n_axes, states)
    durations = ruckig_durations(states, n_axes)
    assert np.isfinite(durations).mean() > 0.99
    assert np.nanmax(trajectories["duration"] / durations) <= 1.0 + LONGER


def test_trajectory_is_valid_and_not_longer_where_states_and_limits_coincide():
    rng = np.random.default_rng(3)
    states, n_axes = grid_states(rng, 3 * COUNT), rng.integers(1, 4, 3 * COUNT)
    trajectories = all_planned(states, n_axes)
    assert_valid(trajectories, n_axes, states)
    assert not np.any(trajectories["duration"] > ruckig_durations(states, n_axes) * (1.0 + LONGER))


@pytest.mark.parametrize("field", ["start", "joints", "end", "duration", "velocity", "acceleration", "jerk"])
def test_checker_finds_what_is_wrong(field):
    rng = np.random.default_rng(1)
    states, n_axes = random_states(rng, 50, "rest"), np.full(50, 3)
    trajectories = all_planned(states, n_axes)
    axes = trajectories["axes"]
    match field:
        case "start":
            states.p0[:, 1] += 1e-8
        case "joints":
            axes["pieces"]["v"][:, 1, 1] += 1e-8
        case "end":
            states.v1[:, 1] += 1e-8
        case "duration":
            axes["duration"][:, 1] += 1e-8
        case "velocity":
            states.v_max[:, 1] = 1e-3
        case "acceleration":
            states.a_max[:, 1] = 1e-3
        case "jerk":
            states.j_max[:, 1] *= 1.0 - 1e-6
    assert np.all(getattr(errors(trajectories, n_axes, states), field) > TOLERANCE)


def test_unsynchronised_axes_each_take_their_own_shortest_duration():
    states = random_states(np.random.default_rng(4), 200, "moving")
    planner, task, theirs = ruckig.Ruckig(7), ruckig.InputParameter(7), ruckig.Trajectory(7)
    task.synchronization = ruckig.Synchronization.No
    for i in range(200):
        one = [x[i] for x in states]
        trajectory = planned(7, *one, planner=plan_unsynchronised)
        p0, v0, a0, p1, v1, v_max, a_max, j_max = (x[:7] for x in one)
        task.current_position, task.current_velocity, task.current_acceleration = p0, v0, a0
        task.target_position, task.target_velocity = p1, v1
        task.max_velocity, task.max_acceleration, task.max_jerk = v_max, a_max, j_max
        assert planner.calculate(task, theirs) in (ruckig.Result.Working, ruckig.Result.Finished)
        durations = trajectory[0]["axes"]["duration"][:7]
        assert durations == pytest.approx(theirs.independent_min_durations, rel=1e-9)
        assert trajectory[0]["duration"] == durations.max()
        # An axis that has arrived goes on at its target velocity.
        p, v, a = at(trajectory, float(durations.max()))
        assert p[:7] == pytest.approx(p1 + v1 * (durations.max() - durations), abs=1e-9)
        assert v[:7] == pytest.approx(v1, abs=1e-9)
        assert a[:7] == pytest.approx(np.zeros(7), abs=1e-9)


def test_start_outside_the_limits_comes_back_as_fast_as_ruckigs():
    rng = np.random.default_rng(5)
    states = random_states(rng, 400, "outside")
    planner, task, theirs = ruckig.Ruckig(1), ruckig.InputParameter(1), ruckig.Trajectory(1)
    outside = 0
    for i in range(400):
        one = [x[i, :1] for x in states]
        trajectory = planned(1, *one)
        task.current_position, task.current_velocity, task.current_acceleration = one[:3]
        task.target_position, task.target_velocity = one[3:5]
        task.max_velocity, task.max_acceleration, task.max_jerk = one[5:]
        planner.calculate(task, theirs)
        work = trajectory[0]["work"][0]
        ours = work["brake_time"] + work["brake_hold"]
        assert ours <= theirs.profiles[0][0].brake.duration + 1e-9
        outside += ours > 0.0
        # On the way back neither the velocity nor the acceleration goes further out than it must.
        v0, a0, v_max, a_max, j_max = (float(x[0]) for x in (one[1], one[2], *one[5:]))
        t = np.linspace(0.0, ours, 20)
        _, v, a = np.array([at(trajectory, float(x))[:, 0] for x in t]).T
        v_left = v0 + a0 * abs(a0) / (2.0 * j_max)
        assert abs(v).max() <= max(abs(v0), abs(v_left), v_max) + TOLERANCE
        assert abs(a).max() <= max(abs(a0), a_max) + TOLERANCE
    assert outside > 200


@numba.njit
def drive_with_replans(trajectory, n, ticks, p1, v1, v_max, a_max, j_max):
    """Re-plan at each of some ticks; return the largest step, and the largest gain and loss of time."""
    now, after = np.zeros((3, 8)), np.zeros((3, 8))
    left = trajectory[0].duration
    dt = left / ticks
    step, longer, shorter = 0.0, 0.0, 0.0
    for _ in range(1, ticks):
        evaluate(trajectory, dt, now[0], now[1], now[2])
        left -= dt
        if plan(trajectory, n, now[0], now[1], now[2], p1, v1, v_max, a_max, j_max) != 0:
            return math.inf, math.inf, math.inf
        evaluate(trajectory, 0.0, after[0], after[1], after[2])
        for k in range(3):
            for i in range(n):
                step = max(step, abs(now[k, i] - after[k, i]))
        longer = max(longer, trajectory[0].duration - left)
        shorter = max(shorter, left - trajectory[0].duration)
        left = trajectory[0].duration
    return step, longer, shorter


@pytest.mark.parametrize("kind", KINDS)
def test_replans_on_the_way_neither_step_nor_take_longer(kind):
    """The motion is optimal, so what is left of it is; a re-plan must find that in spite of all rounding."""
    rng = np.random.default_rng(6)
    states, n_axes = random_states(rng, COUNT, kind), rng.integers(1, 8, COUNT)
    for i in range(COUNT):
        one = [x[i] for x in states]
        trajectory = planned(n_axes[i], *one)
        duration = float(trajectory[0]["duration"])
        step, longer, shorter = drive_with_replans(trajectory, n_axes[i], 40, *one[3:])
        assert step <= TOLERANCE
        assert longer <= 1e-9 * duration
        assert shorter <= 1e-9 * duration


unit = st.floats(-1.0, 1.0)
decade = st.floats(-1.0, 1.0).map(lambda x: 10.0**x)
axis = st.tuples(unit, unit, unit, unit, unit, decade, decade, decade)


@settings(max_examples=200, deadline=None)
@given(st.lists(axis, min_size=1, max_size=8), st.lists(st.tuples(st.floats(0.0, 1.0), unit), min_size=1, max_size=5))
def test_replans_to_other_targets_at_any_time_are_continuous_to_acceleration(axes, retargets):
    n = len(axes)
    p0, v0, a0, p1, v1, v_max, a_max, j_max = (vector(*x) for x in zip(*axes, strict=True))
    task = [p0, v0 * v_max, a0 * a_max, p1, v1 * v_max, v_max, a_max, j_max]
    trajectory = planned(n, *task)
    for part, shift in retargets:
        before = at(trajectory, part * float(trajectory[0]["duration"]))
        assert plan(trajectory, n, *before, p1 + shift, task[4], *task[5:]) == Status.OK
        assert at(trajectory, 0.0)[:, :n] == pytest.approx(before[:, :n], abs=1e-12)
        states = States(*(np.array([x]) for x in (*before, p1 + shift, *task[4:])))
        assert_valid(trajectory, np.array([n]), States(*(np.nan_to_num(x, nan=1.0) for x in states)))


@settings(max_examples=200, deadline=None)
@given(axis, st.floats(-6.0, 6.0), st.floats(-6.0, 6.0))
def test_duration_scales_with_the_units(values, length, second):
    """Metres for micrometres, hours for microseconds: the same motion."""
    p0, v0, a0, p1, v1, v_max, a_max, j_max = values
    x, t = 10.0**length, 10.0**second
    task = [p0, v0 * v_max, a0 * a_max, p1, v1 * v_max, v_max, a_max, j_max]
    units = [x, x / t, x / t**2, x, x / t, x / t, x / t**2, x / t**3]
    one = planned_axis(*task)
    other = planned_axis(*(value * unit for value, unit in zip(task, units, strict=True)))
    assert other[0]["duration"] / t == pytest.approx(one[0]["duration"], rel=1e-6, abs=1e-6)
    end = at(other, float(other[0]["duration"]))[:, 0] / np.array([x, x / t, x / t**2])
    assert end == pytest.approx([p1, v1 * v_max, 0.0], abs=1e-9)


def test_rest_at_the_target_takes_no_time():
    trajectory = planned_axis(0.5, 0.0, 0.0, 0.5, 0.0, 1.0, 2.0, 3.0)
    assert trajectory[0]["duration"] == 0.0
    assert at(trajectory, 7.0)[:, 0].tolist() == [0.5, 0.0, 0.0]


@pytest.mark.parametrize("v", [0.3, -0.3, 1.0, -1.0])
def test_passing_the_target_at_its_velocity_takes_no_time(v):
    trajectory = planned_axis(0.5, v, 0.0, 0.5, v, 1.0, 2.0, 3.0)
    assert trajectory[0]["duration"] == 0.0
    assert at(trajectory, 2.0)[:, 0] == pytest.approx([0.5 + 2.0 * v, v, 0.0], abs=1e-15)


@pytest.mark.parametrize("limit", [1.0, 1e3, 1e6, 1e9, 1e12])
def test_limits_far_out_of_reach_are_none(limit):
    """Four jerks of 1 from rest to rest: (p / 2)^(1/3) s each."""
    trajectory = planned_axis(0.0, 0.0, 0.0, 1e-3, 0.0, limit, limit, 1.0)
    assert trajectory[0]["duration"] == pytest.approx(4.0 * (1e-3 / 2.0) ** (1.0 / 3.0), rel=1e-9)
    states = States(*(np.full((1, 8), x) for x in (0.0, 0.0, 0.0, 1e-3, 0.0, limit, limit, 1.0)))
    assert_valid(trajectory, np.array([1]), states)


def test_rest_to_rest_is_the_double_s():
    # v_max after two jerks of 0.5 s and 0.5 s at a_max: 1 s and half the way each, and 3 s between.
    trajectory = planned_axis(1.0, 0.0, 0.0, -3.0, 0.0, 1.0, 1.0, 2.0)
    assert trajectory[0]["duration"] == pytest.approx(5.5, abs=1e-12)
    assert at(trajectory, 2.75)[:, 0] == pytest.approx([-1.0, -1.0, 0.0], abs=1e-12)


def test_moving_axis_that_would_have_to_turn_back_makes_all_wait():
    """It passes its target at once or, since it cannot be slower in time, much later: another's 0.1 s is too early."""
    alone = planned_axis(0.0, 1.0, 0.0, 0.1, 1.0, 1.0, 1.0, 10.0)
    other = planned_axis(0.0, 0.0, 0.0, 0.01, 0.0, 1.0, 1.0, 10.0)
    task = [vector(a, b) for a, b in [(0, 0), (1, 0), (0, 0), (0.1, 0.01), (1, 0), (1, 1), (1, 1), (10, 10)]]
    both = planned(2, *task)
    states = States(*(np.nan_to_num(np.array([x]), nan=1.0) for x in task))
    assert alone[0]["duration"] < other[0]["duration"] < 0.5 < both[0]["duration"]
    assert both[0]["duration"] == pytest.approx(ruckig_durations(states, np.array([2]))[0], rel=1e-9)
    assert_valid(both, np.array([2]), states)


def test_axis_that_cannot_cruise_mixes_two_motions_within_limits():
    """A little more time than the velocities need: no cruise between fastest pulses fits, but something does."""
    rng = np.random.default_rng(9)
    count = 500
    states, n_axes = random_states(rng, count, "moving"), np.full(count, 2)
    mixed = 0
    for i in range(count):
        v_max, a_max = (float(x[i, 0] / states.j_max[i, 0]) for x in (states.v_max, states.a_max))
        a0, v_left, v1 = rng.uniform(-1.0, 1.0, 3) * (a_max, v_max, v_max)
        start = v_left - 0.5 * a0 * abs(a0), a0, v1
        duration = direct(*start, a_max)[1] * rng.uniform(1.0, 1.5)
        d_far = far_motion_lasting(*start, duration, v_max, a_max)[3]
        d_near = -far_motion_lasting(*(-x for x in start), duration, v_max, a_max)[3]
        d = rng.uniform(d_near, d_far)
        mixed += cruise_motion(*start, d, duration, v_max, a_max)[4] < 0.0
        j_max = states.j_max[i, 0]
        states.p0[i, 0], states.v0[i, 0], states.a0[i, 0] = 0.0, start[0] * j_max, a0 * j_max
        states.p1[i, 0], states.v1[i, 0] = d * j_max, v1 * j_max
        # The other axis takes just that time, from rest to rest with four jerks of 1.
        for values, value in zip(states, (0.0, 0.0, 0.0, duration**3 / 32.0, 0.0, 1e3, 1e3, 1.0), strict=True):
            values[i, 1] = value
    assert mixed > 50  # or this shows nothing
    trajectories = all_planned(states, n_axes)
    assert_valid(trajectories, n_axes, states)
    assert not np.any(trajectories["duration"] > ruckig_durations(states, n_axes) * (1.0 + LONGER))


@settings(max_examples=300, deadline=None)
@given(unit, unit, unit, decade, decade, st.floats(0.0, 5.0))
def test_far_motion_takes_the_duration_asked_for_and_covers_what_it_says(v_left, a0, v1, v_max, a_max, extra):
    v_left, a0, v1 = v_left * v_max, a0 * a_max, v1 * v_max
    v0 = v_left - 0.5 * a0 * abs(a0)
    duration = direct(v0, a0, v1, a_max)[1] + extra
    rise, cruise, dip, d = far_motion_lasting(v0, a0, v1, duration, v_max, a_max)
    times = far_times(v0, a0, v1, rise, cruise, dip, a_max)
    assert min(times) >= -1e-12
    assert sum(times) == pytest.approx(duration, abs=1e-6)  # in the square root of what is left of the velocity
    p, v, a = 0.0, v0, a0
    for t, j in zip(times, (1, 0, -1, 0, -1, 0, 1), strict=True):
        p, v, a = p + v * t + a * t**2 / 2 + j * t**3 / 6, v + a * t + j * t**2 / 2, a + j * t
        assert abs(a) <= a_max * (1.0 + 1e-9)
    assert (p, v, a) == pytest.approx((d, v1, 0.0), abs=1e-9 * (1.0 + v_max * duration))


def test_evaluation_agrees_with_the_pieces_in_any_order_of_times():
    states = random_states(np.random.default_rng(2), 1, "outside")
    trajectory = planned(8, *(x[0] for x in states))
    duration = float(trajectory[0]["duration"])
    for t in np.random.default_rng(0).uniform(0.0, duration, 300):
        found = at(trajectory, float(t))
        for i in range(8):
            axis = trajectory[0]["axes"][i]
            pieces = axis["pieces"][: axis["n"] + 1]
            piece = pieces[np.flatnonzero(pieces["t"] <= t)[-1]]
            dt, p, v, a, j = t - piece["t"], piece["p"], piece["v"], piece["a"], piece["j"]
            expected = p + v * dt + a * dt**2 / 2 + j * dt**3 / 6, v + a * dt + j * dt**2 / 2, a + j * dt
            assert found[:, i] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_evaluation_stands_at_the_start_before_and_goes_on_after():
    trajectory = planned_axis(0.0, 0.1, 0.2, 1.0, 0.5, 1.0, 2.0, 3.0)
    duration = float(trajectory[0]["duration"])
    assert at(trajectory, -5.0)[:, 0].tolist() == [0.0, 0.1, 0.2]
    assert at(trajectory, duration)[:, 0].tolist() == [1.0, 0.5, 0.0]
    assert at(trajectory, duration + 4.0)[:, 0] == pytest.approx([3.0, 0.5, 0.0], abs=1e-14)
    assert np.all(np.isnan(at(trajectory, math.nan)[:, 0]))


def test_only_the_axes_asked_for_are_read_and_written():
    for n in range(1, 9):
        values = [vector(*[x] * n) for x in (0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0)]
        trajectory = planned(n, *values)
        assert np.isnan(at(trajectory, 0.1)).sum() == 3 * (8 - n)


def test_vectors_of_any_stride_are_taken():
    wide = np.ones((8, 3))
    wide[:, 0] = 0.0
    zero, one = wide[:, 0], wide[:, 1]
    assert planned(8, zero, zero, zero, one, zero, one, one, one)[0]["duration"] > 1.0


@pytest.mark.parametrize(
    ("change", "status"),
    [
        *[({name: bad}, Status.NOT_FINITE) for name in TASK for bad in (math.nan, math.inf)],
        *[({name: bad}, Status.BAD_LIMITS) for name in TASK[5:] for bad in (0.0, -1.0)],
        ({"v1": 1.5}, Status.TARGET_TOO_FAST),
        ({"p0": 1e300, "p1": -1e300, "j_max": 1e-300}, Status.NOT_FINITE),
    ],
)
@pytest.mark.parametrize("planner", [plan, plan_unsynchronised])
def test_bad_argument_is_refused_and_changes_nothing(planner, change, status):
    trajectory = planned(2, *(vector(x, x) for x in (0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0)))
    before = [at(trajectory, t) for t in (0.0, 0.7, 9.0)]
    values = dict(zip(TASK, (0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0), strict=True))
    task = [vector(value, change.get(name, value)) for name, value in values.items()]
    assert planner(trajectory, 2, *task) == status
    assert np.array_equal([at(trajectory, t) for t in (0.0, 0.7, 9.0)], before, equal_nan=True)


@pytest.mark.parametrize("n_axes", [-1, 0, 9])
def test_number_of_axes_is_checked(n_axes):
    one = np.ones(9)
    trajectory = np.zeros(1, TRAJECTORY)
    assert plan(trajectory, n_axes, *[one] * 8) == Status.BAD_AXES
    assert plan_velocity(trajectory, n_axes, *[one] * 6) == Status.BAD_AXES


def velocity_states(seed, count):
    states = random_states(np.random.default_rng(seed), count, "outside")
    return states.p0, states.v0, states.a0, states.v1, states.a_max, states.j_max


def integrated(axis):
    """Where an axis' pieces lead from its start, and the largest acceleration after the first piece."""
    pieces, n = axis["pieces"], axis["n"]
    p, v, a = (float(pieces[0][x]) for x in "pva")
    a_most = 0.0
    for k in range(n):
        dt, j = float(pieces[k + 1]["t"] - pieces[k]["t"]), float(pieces[k]["j"])
        assert dt > 0.0
        p, v, a = p + v * dt + a * dt**2 / 2 + j * dt**3 / 6, v + a * dt + j * dt**2 / 2, a + j * dt
        a_most = max(a_most, abs(a))
    return p, v, a, a_most


@pytest.mark.parametrize("planner", [plan_velocity, plan_velocity_synchronised])
def test_velocity_is_reached_as_fast_as_by_ruckig_and_within_limits(planner):
    states = velocity_states(7, 300)
    otg, task, theirs = ruckig.Ruckig(7), ruckig.InputParameter(7), ruckig.Trajectory(7)
    task.control_interface = ruckig.ControlInterface.Velocity
    for i in range(300):
        one = [x[i] for x in states]
        trajectory = planned(7, *one, planner=planner)
        task.current_position, task.current_velocity, task.current_acceleration = (x[:7] for x in one[:3])
        task.target_velocity, task.max_acceleration, task.max_jerk = (x[:7] for x in one[3:])
        assert otg.calculate(task, theirs) in (ruckig.Result.Working, ruckig.Result.Finished)
        durations = trajectory[0]["axes"]["duration"][:7]
        shortest = np.array(theirs.independent_min_durations)
        assert trajectory[0]["duration"] == pytest.approx(shortest.max(), rel=1e-9)
        if planner is plan_velocity:
            assert np.all(durations <= shortest * (1.0 + 1e-9))
        else:
            assert np.all(durations == durations.max())
        for k in range(7):
            axis = trajectory[0]["axes"][k]
            p, v, a, a_most = integrated(axis)
            end = axis["pieces"][axis["n"]]
            assert (p, v, a) == pytest.approx((end["p"], one[3][k], 0.0), abs=TOLERANCE * max(1.0, abs(p)))
            assert a_most <= max(one[4][k], 0.0) + TOLERANCE
            assert abs(axis["pieces"]["j"][: axis["n"]]).max(initial=0.0) <= one[5][k] * (1.0 + 1e-12)


def test_stop_runs_as_far_as_its_closed_form_says():
    p0, v0, a0, _, a_max, j_max = velocity_states(8, 100)
    zero = np.zeros(8)
    for i in range(100):
        trajectory = planned(8, p0[i], v0[i], a0[i], zero, a_max[i], j_max[i], planner=plan_velocity)
        for k in range(8):
            axis = trajectory[0]["axes"][k]
            expected = p0[i, k] + stop_displacement(v0[i, k], a0[i, k], a_max[i, k], j_max[i, k])
            assert axis["pieces"][axis["n"]]["p"] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["p0", "v0", "a0", "v1", "a_max", "j_max"])
def test_bad_velocity_task_is_refused(name):
    trajectory = np.zeros(1, TRAJECTORY)
    values = dict.fromkeys(("p0", "v0", "a0", "v1", "a_max", "j_max"), 1.0)
    bad = [(math.nan, Status.NOT_FINITE)] + [(0.0, Status.BAD_LIMITS)] * (name in ("a_max", "j_max"))
    for value, status in bad:
        task = [vector(value if key == name else one) for key, one in values.items()]
        for planner in (plan_velocity, plan_velocity_synchronised):
            assert planner(trajectory, 1, *task) == status


def test_planning_and_evaluation_allocate_nothing():
    states = random_states(np.random.default_rng(0), 50, "outside")
    trajectories = np.zeros(50, TRAJECTORY)

    @numba.njit(types.float64(array_of(TRAJECTORY), types.int64, *[types.float64[:, ::1]] * 8, types.float64[:, ::1]))
    def run(trajectories, count, p0, v0, a0, p1, v1, v_max, a_max, j_max, out):
        total = 0.0
        for i in range(count):
            one = trajectories[i : i + 1]
            plan_velocity(one, 7, p0[i], v0[i], a0[i], v1[i], a_max[i], j_max[i])
            plan_velocity_synchronised(one, 7, p0[i], v0[i], a0[i], v1[i], a_max[i], j_max[i])
            plan_unsynchronised(one, 7, p0[i], v0[i], a0[i], p1[i], v1[i], v_max[i], a_max[i], j_max[i])
            plan(one, 7, p0[i], v0[i], a0[i], p1[i], v1[i], v_max[i], a_max[i], j_max[i])
            evaluate(one, 0.5 * one[0].duration, out[0], out[1], out[2])
            total += out[0, 0]
        return total

    def allocations(count):
        before = rtsys.get_allocation_stats().alloc
        run(trajectories, count, *states, np.zeros((3, 8)))
        return rtsys.get_allocation_stats().alloc - before

    _nrt_python.memsys_enable_stats()
    try:
        assert allocations(50) == allocations(0)  # what the call itself takes
    finally:
        _nrt_python.memsys_disable_stats()
