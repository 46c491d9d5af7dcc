"""Jerk-limited profiles: limits, joints, ends, and that nothing faster exists."""

import math
from itertools import pairwise

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numba.core import types
from numba.core.runtime import _nrt_python, rtsys

from controller.motion.profile import PROFILE, evaluate, plan_rest_to_rest, plan_stop
from kinematics.compiled import array_of

CLOSE = 1e-9


def powers(low, high):
    """Numbers spread evenly over the decades from 10^low to 10^high."""
    return st.floats(low, high).map(lambda x: 10.0**x)


def signed(magnitude):
    return st.one_of(st.just(0.0), st.tuples(st.sampled_from([-1.0, 1.0]), magnitude).map(math.prod))


limits = powers(-3, 3)


def rest_to_rest(distance, v_max, a_max, j_max):
    profile = np.zeros(1, PROFILE)
    assert plan_rest_to_rest(profile, distance, v_max, a_max, j_max) == 0
    return profile


def stop(p0, v0, a0, a_max, j_max):
    profile = np.zeros(1, PROFILE)
    assert plan_stop(profile, p0, v0, a0, a_max, j_max) == 0
    return profile


def at(profile, t):
    out = np.empty(3)
    evaluate(profile, t, out)
    return out


def segments(profile):
    """(duration, p, v, a, j) of each segment, read from the record."""
    r = profile[0]
    return [(r["t"][i + 1] - r["t"][i], r["p"][i], r["v"][i], r["a"][i], r["j"][i]) for i in range(r["n"])]


def after(dt, p, v, a, j):
    """Where a segment leads, by the plain power series."""
    return p + v * dt + a * dt**2 / 2 + j * dt**3 / 6, v + a * dt + j * dt**2 / 2, a + j * dt


def extremes(profile):
    """The largest |v|, |a| and |j| anywhere: at the ends of segments, and |v| also where a passes through zero."""
    v_most = a_most = j_most = 0.0
    for dt, p, v, a, j in segments(profile):
        _, v_end, a_end = after(dt, p, v, a, j)
        v_most = max(v_most, abs(v), abs(v_end))
        if j != 0.0 and 0.0 < -a / j < dt:
            v_most = max(v_most, abs(after(-a / j, p, v, a, j)[1]))
        a_most = max(a_most, abs(a), abs(a_end))
        j_most = max(j_most, abs(j))
    return v_most, a_most, j_most


def tolerances(profile):
    """What rounding explains in p, v and a: of the largest value that occurs, and of the time, times the slope."""
    v_most, a_most, j_most = extremes(profile)
    n = profile[0]["n"]
    dt = 4 * np.finfo(float).eps * profile[0]["duration"]
    sizes = (np.abs(profile[0]["p"][: n + 1]).max(), v_most, a_most, j_most)
    return [1e-12 * size + dt * slope for size, slope in pairwise(sizes)]


def assert_continuous(profile):
    """Each segment ends where the next begins."""
    r = profile[0]
    for i, (dt, *state) in enumerate(segments(profile)):
        assert dt > 0.0
        for value, name, tolerance in zip(after(dt, *state), "pva", tolerances(profile), strict=True):
            assert abs(value - r[name][i + 1]) <= tolerance, (i, name)


@given(powers(-6, 4), limits, limits, limits)
def test_rest_to_rest_keeps_every_limit(distance, v_max, a_max, j_max):
    profile = rest_to_rest(distance, v_max, a_max, j_max)
    v_most, a_most, j_most = extremes(profile)
    _, v_rounding, a_rounding = tolerances(profile)
    assert v_most <= v_max * (1 + CLOSE) + v_rounding
    assert a_most <= a_max * (1 + CLOSE) + a_rounding
    assert j_most <= j_max


@given(powers(-6, 4), limits, limits, limits)
def test_rest_to_rest_is_continuous_and_ends_exactly(distance, v_max, a_max, j_max):
    profile = rest_to_rest(distance, v_max, a_max, j_max)
    assert_continuous(profile)
    duration = profile[0]["duration"]
    assert at(profile, 0.0) == pytest.approx([0.0, 0.0, 0.0], abs=0.0)
    for t in (duration, duration * 2, math.inf):
        assert list(at(profile, t)) == [distance, 0.0, 0.0]
    # What comes just before the end is the end too, not only the clamp.
    before = at(profile, math.nextafter(duration, 0.0))
    assert (np.abs(before - [distance, 0.0, 0.0]) <= tolerances(profile)).all()


@given(powers(-6, 4), limits, limits, limits)
def test_rest_to_rest_always_moves_forward(distance, v_max, a_max, j_max):
    profile = rest_to_rest(distance, v_max, a_max, j_max)
    p = [at(profile, t)[0] for t in np.linspace(0.0, profile[0]["duration"], 60)]
    assert all(b >= a - 1e-15 * distance for a, b in pairwise(p))


def double_s_duration(distance, v_peak, a_peak, j_max):
    """Duration of the double S that peaks at v_peak and a_peak, inf where there is none; by the areas under v(t)."""
    ramp = v_peak / a_peak + a_peak / j_max
    cruise = distance / v_peak - ramp
    exists = (a_peak**2 <= v_peak * j_max * (1 + 1e-12)) & (cruise >= -1e-9 * ramp)
    return np.where(exists, 2 * ramp + cruise, np.inf)


@settings(deadline=None)
@given(powers(-3, 3), powers(-2, 2), powers(-2, 2), powers(-2, 2))
def test_no_other_double_s_is_faster(distance, v_max, a_max, j_max):
    profile = rest_to_rest(distance, v_max, a_max, j_max)
    duration = profile[0]["duration"]
    n = profile[0]["n"]
    v_peak, a_peak = profile[0]["v"][:n].max(), profile[0]["a"][:n].max()
    assert double_s_duration(distance, v_peak, a_peak, j_max) == pytest.approx(duration, rel=1e-6)
    v = v_max * np.geomspace(1e-4, 1.0, 300)[:, None]
    a = a_max * np.geomspace(1e-4, 1.0, 300)[None, :]
    assert double_s_duration(distance, v, a, j_max).min() >= duration * (1 - CLOSE)


@pytest.mark.parametrize(
    ("arguments", "duration", "n"),
    [
        # worked out by hand: distance, v_max, a_max, j_max; 4 t_j + 2 t_a + t_v; how many segments
        ((1.0, 0.5, 1.0, 5.0), 4 * 0.2 + 2 * 0.3 + 1.3, 7),
        ((2.0, 10.0, 10.0, 1.0), 4 * 1.0, 4),  # jerk alone: d = 2 j t^3
        ((6.0, 10.0, 1.0, 1.0), 4 * 1.0 + 2 * 1.0, 6),  # d = a (t_j + t_a) (2 t_j + t_a), no cruise
        ((3.0, 1.0, 10.0, 1.0), 4 * 1.0 + 1.0, 5),  # v = j t^2, no constant acceleration
    ],
)
def test_durations_are_those_worked_out_by_hand(arguments, duration, n):
    profile = rest_to_rest(*arguments)
    assert profile[0]["duration"] == pytest.approx(duration, rel=1e-12)
    assert profile[0]["n"] == n


def test_zero_distance_is_done_at_once():
    profile = rest_to_rest(0.0, 1.0, 1.0, 1.0)
    assert (profile[0]["n"], profile[0]["duration"]) == (0, 0.0)
    assert list(at(profile, 0.0)) == [0.0, 0.0, 0.0]


def test_infinite_velocity_and_acceleration_leave_jerk_alone_to_limit():
    assert rest_to_rest(2.0, math.inf, math.inf, 1.0)[0]["duration"] == pytest.approx(4.0, rel=1e-12)


def test_all_limits_infinite_mean_at_the_end_at_once():
    profile = rest_to_rest(1.0, math.inf, math.inf, math.inf)
    assert profile[0]["duration"] == 0.0
    assert list(at(profile, 0.0)) == [1.0, 0.0, 0.0]
    profile = stop(0.5, 1.0, 0.0, math.inf, math.inf)
    assert profile[0]["duration"] == 0.0
    assert list(at(profile, 0.0)) == [0.5, 0.0, 0.0]


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_limit_that_is_not_positive_is_refused_and_leaves_rest(bad, which):
    arguments = [1.0, 1.0, 1.0, 1.0]
    arguments[which] = bad
    profile = np.ones(1, PROFILE)
    assert plan_rest_to_rest(profile, *arguments) == 1
    assert list(at(profile, 5.0)) == [0.0, 0.0, 0.0]
    if which > 1:
        assert plan_stop(profile, 0.25, 1.0, 1.0, *arguments[2:]) == 1
        assert list(at(profile, 0.0)) == [0.25, 0.0, 0.0]


@pytest.mark.parametrize("distance", [-1.0, math.inf, math.nan])
def test_a_distance_that_cannot_be_covered_is_refused(distance):
    profile = np.ones(1, PROFILE)
    assert plan_rest_to_rest(profile, distance, 1.0, 1.0, 1.0) == 1
    assert profile[0]["duration"] == 0.0


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_stop_from_no_finite_state_is_refused(which, bad):
    state = [0.0, 1.0, 1.0]
    state[which] = bad
    profile = np.ones(1, PROFILE)
    assert plan_stop(profile, *state, 1.0, 1.0) == 1
    assert profile[0]["duration"] == 0.0


def test_an_infinite_jerk_beside_a_finite_limit_is_refused():
    profile = np.ones(1, PROFILE)
    assert plan_rest_to_rest(profile, 1.0, 1.0, 1.0, math.inf) == 1
    assert plan_stop(profile, 0.0, 1.0, 0.0, 1.0, math.inf) == 1


states = (signed(powers(-3, 3)), signed(powers(-3, 3)), signed(powers(-3, 3)))


@given(*states, powers(-2, 3), powers(-2, 3))
def test_stop_begins_in_the_state_given_and_ends_at_rest(p0, v0, a0, a_max, j_max):
    profile = stop(p0, v0, a0, a_max, j_max)
    assert_continuous(profile)
    if v0 != 0.0 or a0 != 0.0:
        assert list(at(profile, 0.0)) == [p0, v0, a0]
    duration = profile[0]["duration"]
    end = at(profile, duration)
    assert list(end[1:]) == [0.0, 0.0]
    before = at(profile, math.nextafter(duration, 0.0))
    assert (np.abs(before - end) <= tolerances(profile)).all()


@given(*states, powers(-2, 3), powers(-2, 3))
def test_stop_keeps_the_acceleration_limit_or_returns_to_it_at_full_jerk(p0, v0, a0, a_max, j_max):
    profile = stop(p0, v0, a0, a_max, j_max)
    assert extremes(profile)[2] <= j_max
    for t in np.linspace(0.0, profile[0]["duration"], 50):
        most = max(a_max, abs(a0) - j_max * t)
        assert abs(at(profile, t)[2]) <= most + CLOSE * max(a_max, abs(a0))


@given(*states, powers(-2, 3), powers(-2, 3))
def test_stop_slows_down_without_a_rise_once_the_acceleration_is_gone(p0, v0, a0, a_max, j_max):
    assume(v0 != 0.0)
    left = v0 + a0 * abs(a0) / (2 * j_max)
    assume(left * v0 > 0.0)  # else v has to pass through zero
    profile = stop(p0, v0, a0, a_max, j_max)
    t_gone = abs(a0) / j_max if a0 * v0 > 0.0 else 0.0
    duration = profile[0]["duration"]
    v = [at(profile, t)[1] * math.copysign(1.0, v0) for t in np.linspace(t_gone, duration, 80)]
    tolerance = 1e-12 * extremes(profile)[0]
    assert all(b <= a + tolerance for a, b in pairwise(v))
    assert min(v) >= -tolerance


@given(*states, powers(-2, 3), powers(-2, 3))
def test_stop_of_the_mirrored_motion_is_the_mirrored_stop(p0, v0, a0, a_max, j_max):
    one, other = stop(p0, v0, a0, a_max, j_max), stop(-p0, -v0, -a0, a_max, j_max)
    assert one[0]["duration"] == other[0]["duration"]
    t = 0.37 * one[0]["duration"]
    assert list(at(one, t)) == list(-at(other, t))


@given(signed(powers(-2, 2)), powers(-1, 1), powers(-2, 2), powers(-2, 2), st.floats(1.1, 10.0))
def test_stop_from_beyond_the_limit_is_a_ramp_to_the_limit_and_the_stop_from_there(v0, a_max, j_max, _, excess):
    a0 = excess * a_max
    t_ramp = (a0 - a_max) / j_max
    _, v1, a1 = after(t_ramp, 0.0, v0, a0, -j_max)
    assume(abs(v0) > 1e-6)
    whole, rest = stop(0.0, v0, a0, a_max, j_max), stop(0.0, v1, a1, a_max, j_max)
    assert whole[0]["duration"] == pytest.approx(t_ramp + rest[0]["duration"], rel=1e-6)


@given(powers(-3, 2), powers(-2, 2), powers(-2, 2), powers(-2, 2), st.floats(0.0, 1.0))
def test_stop_on_a_planned_motion_does_not_overshoot_its_goal(distance, v_max, a_max, j_max, part):
    profile = rest_to_rest(distance, v_max, a_max, j_max)
    t = part * profile[0]["duration"]
    stopped = stop(*at(profile, t), a_max, j_max)
    assert at(stopped, math.inf)[0] <= distance * (1 + 1e-9)
    assert t + stopped[0]["duration"] <= profile[0]["duration"] * (1 + 1e-6)


# An independent check of minimal time: no structure is assumed, only a jerk that is constant over each of COUNT steps.
# The largest distance (smallest velocity) that such a motion can reach in a time is a linear programme, solved here
# by Newton's method on the logarithmic barrier (S. Boyd, L. Vandenberghe, Convex Optimization, 2004, chapter 11).
COUNT = 40


def smallest(c, G, g, E, x):
    """The minimum of c x under G x < g, E x constant, from a strictly feasible x; to 1e-4 of scale 1."""
    free = np.linalg.svd(E)[2][len(E) :].T  # x moves in the null space of E alone
    at_start, z = c @ x, np.zeros(free.shape[1])
    c, G, slack = free.T @ c, G @ free, g - G @ x
    weight = 1.0
    while len(g) / weight > 1e-4:
        weight *= 20.0
        for _ in range(100):
            gradient = weight * c + G.T @ (1.0 / slack)
            step = np.linalg.solve(G.T @ (G / slack[:, None] ** 2), -gradient)
            decrement = -gradient @ step
            if decrement < 1e-6:
                break
            size = 1.0 / (1.0 + math.sqrt(decrement))  # a damped step never leaves the feasible set
            z += size * step
            slack = slack - size * (G @ step)
            assert slack.min() > 0.0
    return c @ z + at_start


def motion_maps(duration):
    """Matrices from the jerk of each step to a, v and p at the end of each step."""
    h = duration / COUNT
    A, V, P = (np.zeros((COUNT, COUNT)) for _ in range(3))
    for i in range(COUNT):
        p, v, a = 0.0, 0.0, 0.0
        for k in range(COUNT):
            p, v, a = after(h, p, v, a, 1.0 if k == i else 0.0)
            A[k, i], V[k, i], P[k, i] = a, v, p
    return A, V, P


def farthest(duration, v_max, a_max, j_max):
    """The largest distance from rest to rest in a time."""
    A, V, P = motion_maps(duration)
    eye = np.eye(COUNT)
    G = np.concatenate([eye, -eye, A, -A, V, -V])
    g = np.repeat([j_max, j_max, a_max, a_max, v_max, v_max], COUNT)
    return -smallest(-P[-1], G, g, np.stack([A[-1], V[-1]]), np.zeros(COUNT))


@pytest.mark.parametrize(
    "arguments",
    [(1.0, 0.5, 1.0, 5.0), (2.0, 10.0, 10.0, 1.0), (6.0, 10.0, 1.0, 1.0), (3.0, 1.0, 10.0, 1.0), (1.0, 0.9, 1.2, 3.0)],
)
def test_no_motion_at_all_is_faster_than_rest_to_rest(arguments):
    distance, *bounds = arguments
    duration = rest_to_rest(*arguments)[0]["duration"]
    assert farthest(0.97 * duration, *bounds) < distance
    assert farthest(1.01 * duration, *bounds) > distance  # so the programme does not merely underestimate


@pytest.mark.parametrize(
    ("v0", "a0", "a_max", "j_max"),
    [(1.0, 0.0, 1.0, 5.0), (1.0, 0.0, 10.0, 1.0), (1.0, 0.8, 1.0, 2.0), (1.0, -0.8, 1.0, 2.0), (-0.2, 0.9, 1.0, 1.0)],
)
def test_no_motion_at_all_is_faster_than_the_stop(v0, a0, a_max, j_max):
    profile = stop(0.0, v0, a0, a_max, j_max)
    sign = math.copysign(1.0, v0 + a0 * abs(a0) / (2 * j_max))

    def slowest(duration):
        A, V, _ = motion_maps(duration)
        eye = np.eye(COUNT)
        G = np.concatenate([eye, -eye, A, -A])
        g = np.concatenate([np.full(2 * COUNT, j_max), np.full(COUNT, a_max - a0), np.full(COUNT, a_max + a0)])
        start = np.full(COUNT, -a0 / duration)  # takes the acceleration to zero evenly
        return sign * (v0 + a0 * duration) + smallest(sign * V[-1], G, g, A[-1:], start)

    duration = profile[0]["duration"]
    assert slowest(0.97 * duration) > 0.0
    assert slowest(1.01 * duration) < 0.0


def test_plain_python_and_compiled_agree():
    one, other = np.zeros(1, PROFILE).view(np.recarray), np.zeros(1, PROFILE)
    assert plan_rest_to_rest.py_func(one, 1.0, 0.5, 1.0, 5.0) == plan_rest_to_rest(other, 1.0, 0.5, 1.0, 5.0)
    assert one.tobytes() == other.tobytes()
    assert plan_stop.py_func(one, 0.1, -1.0, 3.0, 2.0, 5.0) == plan_stop(other, 0.1, -1.0, 3.0, 2.0, 5.0)
    for name in ("t", "p", "v", "a", "j"):
        np.testing.assert_allclose(one[0][name], other[0][name], rtol=1e-14, atol=1e-15)
    out = np.empty(3)
    evaluate.py_func(one, 0.7, out)
    np.testing.assert_allclose(out, at(other, 0.7), rtol=1e-14)


@numba.njit(types.float64(array_of(PROFILE), types.float64[::1], types.int64), nogil=True)
def plan_and_evaluate(profile, out, count):
    total = 1.0
    for i in range(count):
        plan_rest_to_rest(profile, 1.0 + i, 0.5, 1.0, 5.0)
        evaluate(profile, 0.1 * i, out)
        total += out[0]
        plan_stop(profile, out[0], out[1], out[2], 1.0, 5.0)
        evaluate(profile, 0.01 * i, out)
        total += out[0]
    return total


def test_planning_and_evaluating_allocate_nothing():
    profile, out = np.zeros(1, PROFILE), np.zeros(3)

    def allocations(count):
        before = rtsys.get_allocation_stats().alloc
        assert plan_and_evaluate(profile, out, count) > 0.0
        return rtsys.get_allocation_stats().alloc - before

    _nrt_python.memsys_enable_stats()
    try:
        assert allocations(100) == allocations(0)  # what the call itself takes
    finally:
        _nrt_python.memsys_disable_stats()
