"""The tip stays where it may be: distances are exact, it slows before walls, stops at them, and may always go back."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.catalogue import Code
from controller.config import VolumeConfig
from controller.guard.tip import Shape
from tests.controller.guard.cases import PERIOD, add_volume, new_guard, told

# What the guard promises, in numbers of its own.
TOLERANCE = 0.0005
OFF_CENTER_MARGIN = 0.25

DECELERATION = 0.5
SHAPES = list(Shape)


def surface(shape, center, direction, radius, half_size, rng, count=40_000):
    """Random points on a volume's wall, near its centre."""
    if shape == Shape.SPHERE:
        x = rng.normal(size=(count, 3))
        return center + radius * x / np.linalg.norm(x, axis=1, keepdims=True)
    if shape == Shape.BOX:
        x = rng.uniform(-1, 1, (count, 3))
        face = rng.integers(3, size=count)
        x[np.arange(count), face] = np.where(rng.random(count) < 0.5, -1.0, 1.0)
        return center + x * half_size
    d = np.asarray(direction) / np.linalg.norm(direction)
    u = np.linalg.svd(d[None])[2][1:]
    if shape == Shape.HALF_SPACE:
        return center + rng.uniform(-1, 1, (count, 2)) @ u
    angle = rng.uniform(0, 2 * np.pi, count)
    ring = radius * (np.cos(angle)[:, None] * u[0] + np.sin(angle)[:, None] * u[1])
    return center + ring + rng.uniform(-1, 1, (count, 1)) * d


def is_inside(shape, point, center, direction, radius, half_size):
    p = point - center
    d = np.asarray(direction) / np.linalg.norm(direction)
    if shape == Shape.SPHERE:
        return np.linalg.norm(p) < radius
    if shape == Shape.BOX:
        return (np.abs(p) < half_size).all()
    if shape == Shape.HALF_SPACE:
        return p @ d > 0.0
    return np.linalg.norm(np.cross(p, d)) < radius


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("keep", [-1.0, 1.0])
def test_distances_are_those_to_the_nearest_of_many_points_of_the_wall(checks, shape, keep):
    rng = np.random.default_rng(int(shape))
    for _ in range(8):
        center, direction = rng.uniform(-0.2, 0.2, 3), rng.normal(size=3)
        radius, half_size = rng.uniform(0.05, 0.3), rng.uniform(0.05, 0.3, 3)
        wall = surface(shape, center, direction, radius, half_size, rng)
        guard = add_volume(
            new_guard(), shape, keep=keep, center=center, direction=direction, radius=radius, half_size=half_size
        )
        for _ in range(12):
            point = center + rng.uniform(-0.5, 0.5, 3)
            nearest = np.linalg.norm(wall - point, axis=1).min()
            sign = keep if is_inside(shape, point, center, direction, radius, half_size) else -keep
            distance = checks.wall_distance(guard, point)
            assert np.sign(distance) == sign
            # The nearest of the points lies some millimetres beside the foot of the perpendicular.
            assert abs(distance) <= nearest + 1e-12
            assert abs(distance) >= nearest - 0.02


@pytest.mark.parametrize(
    ("point", "distance"),
    [
        ((0.0, 0.0, 0.0), 0.1),
        ((0.05, 0.0, 0.0), 0.05),
        ((-0.1, 0.0, 0.0), 0.0),
        ((0.0, 0.0, -0.35), -0.05),
        ((0.13, -0.24, 0.3), -0.05),
        ((0.13, 0.24, 0.42), -0.13),
    ],
)
def test_the_distance_to_a_box_is_exact_at_faces_edges_and_corners(checks, point, distance):
    for keep in (-1.0, 1.0):
        guard = add_volume(new_guard(), Shape.BOX, keep=keep, half_size=(0.1, 0.2, 0.3))
        assert checks.wall_distance(guard, np.array(point)) == pytest.approx(keep * distance, abs=1e-15)


def test_the_nearest_wall_counts(checks):
    guard = add_volume(new_guard(), Shape.SPHERE, radius=0.3)
    add_volume(guard, Shape.SPHERE, radius=0.05, keep=-1.0, center=(0.1, 0.0, 0.0))
    assert checks.wall_distance(guard, np.array([0.0, 0.0, 0.0])) == pytest.approx(0.05)
    assert checks.wall_distance(guard, np.array([-0.2, 0.0, 0.0])) == pytest.approx(0.1)
    assert checks.wall_distance(guard, np.array([0.1, 0.0, 0.0])) == pytest.approx(-0.05)


def test_without_volumes_every_place_is_allowed(checks):
    guard = new_guard()
    assert checks.wall_distance(guard, np.array([9.0, 0.0, 0.0])) == np.inf
    assert checks.check_tip(guard, np.array([9.0, 0.0, 0.0]), np.array([9.0, 0.0, 0.0])) == Code.OK
    assert guard[0].scale == 1.0


def test_a_point_that_is_no_number_is_nowhere_allowed(checks):
    guard = add_volume(new_guard(), Shape.SPHERE)
    add_volume(guard, Shape.HALF_SPACE)
    assert checks.wall_distance(guard, np.array([0.0, np.nan, 0.0])) == -np.inf
    inside = np.array([0.0, 0.0, 0.5])
    assert checks.check_tip(guard, inside, inside) == Code.OK
    assert checks.check_tip(guard, np.array([np.nan, 0.0, 0.5]), inside) == Code.WORKSPACE
    assert guard[0].scale == 0.0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("keep", [-1.0, 1.0])
def test_no_shape_takes_what_is_no_point(checks, shape, value, keep):
    guard = add_volume(new_guard(), shape, keep=keep)
    for i in range(3):
        point = np.zeros(3)
        point[i] = value
        assert checks.wall_distance(guard, point) == -np.inf


def test_the_shapes_are_those_of_the_configuration():
    names = VolumeConfig.__annotations__["shape"].__args__
    assert {shape.name.lower() for shape in Shape} == set(names)
    assert [int(shape) for shape in Shape] == [0, 1, 2, 3]


@pytest.mark.parametrize("point", [(1e308, 1e308, 0.0), (1e308, 0.0, 1e308), (0.0, 1e308, 1e308)])
def test_a_point_too_far_away_for_a_number_is_nowhere_allowed(checks, point):
    guard = add_volume(new_guard(), Shape.SPHERE, keep=-1.0)
    with np.errstate(over="ignore"):
        assert checks.wall_distance(guard, np.array(point)) == -np.inf


def wall(**fields):
    """A guard that keeps the tip above z = 0."""
    return add_volume(new_guard(), Shape.HALF_SPACE, **fields)


def at(z):
    return np.array([0.0, 0.0, z])


def test_far_from_the_wall_the_tip_goes_as_it_likes(checks):
    guard = wall()
    for z in (0.3, 0.2996, 0.3):
        assert checks.check_tip(guard, at(z), at(z)) == Code.OK
        assert guard[0].scale == 1.0


def test_towards_the_wall_the_tip_is_as_fast_as_it_can_stop(checks):
    guard = wall()
    checks.check_tip(guard, at(0.0102), at(0.0102))
    assert checks.check_tip(guard, at(0.01), at(0.01)) == Code.WORKSPACE
    allowed = np.sqrt(2 * DECELERATION * 0.01)
    assert guard[0].scale == pytest.approx(allowed / 0.2)
    assert told(guard) == (-1, pytest.approx(0.2), pytest.approx(allowed))
    assert checks.check_tip(guard, at(0.00991), at(0.00991)) == Code.OK


def test_at_the_wall_and_beyond_it_the_tip_does_not_go_on_and_may_go_back(checks):
    for z in (1e-12, 0.0, -0.0001):
        guard = wall()
        checks.check_tip(guard, at(z + 2e-5), at(0.1))
        assert checks.check_tip(guard, at(z), at(0.1)) == Code.WORKSPACE
        assert guard[0].scale < 1e-4
        assert told(guard) == (-1, pytest.approx(0.02), pytest.approx(np.sqrt(max(z, 0.0)), rel=1e-6))
    guard = wall()
    checks.check_tip(guard, at(-0.3), at(0.1))
    for z in (-0.2, -0.1, -0.1, 0.1):
        assert checks.check_tip(guard, at(z), at(0.1)) == Code.OK
        assert guard[0].scale == 1.0


def test_along_the_wall_the_tip_goes_as_it_likes(checks):
    guard = wall()
    checks.check_tip(guard, at(0.0), at(0.0))
    assert checks.check_tip(guard, np.array([0.01, -0.02, 0.0]), at(0.0)) == Code.OK


def test_the_nearest_stop_of_several_walls_counts(checks):
    guard = wall()
    add_volume(guard, Shape.HALF_SPACE, center=(0.0, 0.0, -0.01))
    add_volume(guard, Shape.HALF_SPACE, center=(0.0, 0.0, 0.004))
    checks.check_tip(guard, at(0.0102), at(0.0102))
    checks.check_tip(guard, at(0.01), at(0.01))
    assert guard[0].scale == pytest.approx(np.sqrt(2 * DECELERATION * 0.006) / 0.2)


def test_a_later_wall_does_not_let_the_tip_go_again_and_of_two_the_first_is_told(checks):
    guard = wall(center=(0.0, 0.0, 0.004))
    add_volume(guard, Shape.HALF_SPACE)
    checks.check_tip(guard, at(0.0102), at(0.0102))
    checks.check_tip(guard, at(0.01), at(0.01))
    assert guard[0].scale == pytest.approx(np.sqrt(2 * DECELERATION * 0.006) / 0.2)
    guard = wall()
    add_volume(guard, Shape.HALF_SPACE, direction=(0.0, 3.0, 4.0))
    checks.check_tip(guard, at(-0.0001), at(0.0))
    checks.check_tip(guard, at(-0.0003), at(0.0))
    assert guard[0].scale == 0.0
    assert told(guard) == (-1, pytest.approx(0.2), 0.0)  # of the second, 0.16 m/s


def test_a_tip_that_was_held_may_go_on_in_the_next_cycle(checks):
    for guard in (wall(), new_guard()):
        guard[0].scale = 0.25
        assert checks.check_tip(guard, at(0.3), at(0.3)) == Code.OK
        assert (guard[0].scale, guard[0].tip_known) == (1.0, 1)
        assert (guard[0].tip == [0.0, 0.0, 0.3]).all()


def test_a_tip_that_rests_at_the_wall_is_no_fault(checks):
    guard = wall()
    for _ in range(3):
        assert checks.check_tip(guard, at(0.0), at(0.0)) == Code.OK
        assert guard[0].scale == 1.0


def test_after_arming_the_first_tip_has_no_speed(checks):
    guard = wall()
    checks.check_tip(guard, at(0.3), at(0.3))
    checks.arm_guard(guard, np.zeros(8))
    assert checks.check_tip(guard, at(0.001), at(0.3)) == Code.OK


def test_the_tip_that_was_sent_instead_is_remembered(checks):
    guard = wall()
    checks.check_tip(guard, at(0.0102), at(0.1))
    checks.keep_tip(guard, at(0.01))
    assert checks.check_tip(guard, at(0.01), at(0.1)) == Code.OK


def test_a_measured_tip_beyond_the_wall_is_told_once_and_for_each_further_half_millimetre(checks):
    guard = wall()
    told_at = []
    for z in np.arange(0.0, -0.0021, -0.0001):
        if checks.check_tip(guard, at(0.1), at(z)) == Code.WORKSPACE:
            told_at.append(round(-z, 4))
            assert told(guard) == (-1, pytest.approx(-z), TOLERANCE)
    assert told_at == [pytest.approx(0.0006), pytest.approx(0.0012), pytest.approx(0.0018)]
    for z in np.arange(-0.002, 0.001, 0.0001):  # the way back is free
        assert checks.check_tip(guard, at(0.1), at(z)) == Code.OK
    assert guard[0].excess == 0.0
    assert checks.check_tip(guard, at(0.1), at(-0.0006)) == Code.WORKSPACE


def test_the_way_back_may_be_broken_off_but_not_turned_round(checks):
    guard = wall()
    assert checks.check_tip(guard, at(0.1), at(-0.005)) == Code.WORKSPACE
    assert checks.check_tip(guard, at(0.1), at(-0.002)) == Code.OK
    assert checks.check_tip(guard, at(0.1), at(-0.0024)) == Code.OK
    assert checks.check_tip(guard, at(0.1), at(-0.0026)) == Code.WORKSPACE


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.sampled_from([-1.0, 1.0]),
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.floats(0.02, 0.6),
)
def test_whoever_rams_a_wall_never_crosses_it_by_half_a_millimetre(checks, shape, keep, towards, axis, speed):
    axis = np.asarray(axis) + 1e-3
    guard = add_volume(new_guard(), shape, keep=keep, direction=axis, radius=0.05, half_size=(0.05, 0.04, 0.06))
    heading = np.asarray(towards) + np.array([1e-3, 0.0, 0.0])
    heading /= np.linalg.norm(heading)
    d = axis / np.linalg.norm(axis)
    if shape == Shape.HALF_SPACE:
        heading *= -keep * (np.sign(heading @ d) or 1.0)
        tip = 0.08 * keep * d
    else:
        tip = np.zeros(3) if keep > 0 else -0.15 * heading
    if checks.wall_distance(guard, tip) <= 0.0:
        tip = -1.0 * heading
    deepest = np.inf
    for _ in range(450):
        if checks.wall_distance(guard, tip) <= -TOLERANCE:
            break
        asked = tip + speed * PERIOD * heading
        checks.check_tip(guard, asked, tip)
        tip = tip + guard[0].scale * (asked - tip)
        checks.keep_tip(guard, tip)
        deepest = min(deepest, checks.wall_distance(guard, tip))
    assert deepest > -TOLERANCE


def test_off_the_remote_centre_is_told_once_and_a_quarter_further(checks):
    guard = new_guard()
    warn = 0.001
    assert checks.check_remote_center(guard, 0.0) == Code.OK
    assert checks.check_remote_center(guard, warn) == Code.OK
    assert checks.check_remote_center(guard, 1.1 * warn) == Code.REMOTE_CENTER_OFF
    assert told(guard) == (-1, 1.1 * warn, warn)
    assert checks.check_remote_center(guard, (1.1 + 0.99 * OFF_CENTER_MARGIN) * warn) == Code.OK
    assert checks.check_remote_center(guard, (1.1 + 1.01 * OFF_CENTER_MARGIN) * warn) == Code.REMOTE_CENTER_OFF
    assert checks.check_remote_center(guard, 1.05 * warn) == Code.OK  # on its way back
    assert checks.check_remote_center(guard, 1.29 * warn) == Code.OK
    assert checks.check_remote_center(guard, 1.31 * warn) == Code.REMOTE_CENTER_OFF
    assert checks.check_remote_center(guard, 0.9 * warn) == Code.OK
    assert checks.check_remote_center(guard, 1.01 * warn) == Code.REMOTE_CENTER_OFF


@pytest.mark.parametrize("distance", [0.00201, 1.0, np.inf, np.nan])
def test_the_remote_centre_is_lost_beyond_its_bound(checks, distance):
    guard = new_guard()
    assert checks.check_remote_center(guard, 0.002) == Code.REMOTE_CENTER_OFF
    assert checks.check_remote_center(guard, distance) == Code.REMOTE_CENTER_LOST
    assert guard[0].bound == 0.002
    assert guard[0].axis == -1


def test_exactly_a_quarter_further_off_the_remote_centre_is_not_told_again(checks):
    unit = 2.0**-10
    guard = new_guard(remote_center_warn=unit, remote_center_max=3 * unit)
    assert checks.check_remote_center(guard, 1.5 * unit) == Code.REMOTE_CENTER_OFF
    assert checks.check_remote_center(guard, 1.75 * unit) == Code.OK
    assert checks.check_remote_center(guard, 1.7501 * unit) == Code.REMOTE_CENTER_OFF
    assert checks.check_remote_center(guard, unit) == Code.OK
    assert guard[0].off_center == 0.0
