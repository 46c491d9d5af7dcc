"""One coordinate that changes its velocity: the closed forms against the planner and against their own steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.motion.braking import braking_speed, stop_displacement, velocity_step
from controller.motion.trajectory import TRAJECTORY, evaluate, plan_velocity

values = st.floats(-3.0, 3.0).map(lambda x: round(x, 9))  # the oracle makes nan of a start like 1e-71
limits = st.floats(0.1, 20.0)


def planned(v, a, v1, a_max, j_max):
    trajectory = np.zeros(1, TRAJECTORY)
    vectors = (np.array([x]) for x in (0.0, v, a, v1, a_max, j_max))
    assert plan_velocity(trajectory, 1, *vectors) == 0
    return trajectory


@given(values, values, values, limits, limits, st.floats(0.0, 1.5))
def test_a_step_is_that_of_the_fastest_plan(v, a, v1, a_max, j_max, part):
    trajectory = planned(v, a, v1, a_max, j_max)
    t = part * trajectory[0]["duration"]
    expected = [np.zeros(1) for _ in range(3)]
    evaluate(trajectory, t, *expected)
    scale = 1.0 + abs(v) + abs(v1) + a_max + trajectory[0]["duration"] ** 2
    np.testing.assert_allclose(velocity_step(v, a, v1, a_max, j_max, t), np.ravel(expected), rtol=0, atol=1e-8 * scale)


@given(values, values, limits, limits, st.integers(3, 60))
def test_planned_anew_each_step_it_comes_to_rest_where_one_plan_does(v, a, a_max, j_max, steps):
    duration = float(planned(v, a, 0.0, a_max, j_max)[0]["duration"])
    end, p = stop_displacement(v, a, a_max, j_max), 0.0
    for _ in range(steps + 3):
        dp, v, a = velocity_step(v, a, 0.0, a_max, j_max, duration / steps)
        p += dp
    assert (v, a) == (0.0, 0.0)
    assert p == pytest.approx(end, abs=1e-7 * (1.0 + abs(end)))


@given(st.floats(1e-9, 10.0), limits, limits)
def test_from_the_braking_speed_the_stop_takes_the_distance(distance, a_max, j_max):
    speed = braking_speed(distance, a_max, j_max)
    assert stop_displacement(speed, 0.0, a_max, j_max) == pytest.approx(distance, rel=1e-9)
    assert braking_speed(-distance, a_max, j_max) == 0.0
