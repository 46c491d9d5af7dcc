import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinematics.trigonometry import LARGEST_FAST, atan2, sincos

ANGLES = st.floats(-LARGEST_FAST, LARGEST_FAST)
NUMBERS = st.floats(-1e6, 1e6)


@given(ANGLES)
def test_sine_and_cosine_equal_the_librarys_to_two_units_in_the_last_place(x):
    s, c = sincos(x)
    assert abs(s - math.sin(x)) <= 2.3e-16
    assert abs(c - math.cos(x)) <= 2.3e-16


@given(NUMBERS, NUMBERS)
def test_arc_tangent_equals_the_librarys_to_its_last_digit(y, x):
    assert abs(atan2(y, x) - math.atan2(y + 0.0, x + 0.0)) <= 9e-16


def test_trigonometry_meets_an_extended_precision_reference():
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("long double is no wider than double on this machine")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-7.0, 7.0, 20_000), np.arange(-40, 41) * (math.pi / 4.0)])
    found = np.array([sincos(v) for v in x])
    assert np.abs(found[:, 0] - np.sin(np.longdouble(x))).max() < 2.3e-16
    assert np.abs(found[:, 1] - np.cos(np.longdouble(x))).max() < 2.3e-16
    y, x = rng.normal(size=(2, 20_000)) * 10.0 ** rng.integers(-8, 4, (2, 20_000))
    angles = np.array([atan2(a, b) for a, b in zip(y, x, strict=True)])
    assert np.abs(angles - np.arctan2(np.longdouble(y), np.longdouble(x))).max() < 5e-16


@pytest.mark.parametrize("x", [1e6, -3.7e9, 1e300])
def test_large_angles_are_left_to_the_library(x):
    assert sincos(x) == (math.sin(x), math.cos(x))


@pytest.mark.parametrize("x", [math.nan, math.inf, -math.inf])
def test_sine_of_what_is_not_finite_is_nan(x):
    assert all(math.isnan(v) for v in sincos(x))
    assert math.isnan(atan2(math.nan, 1.0))


def test_arc_tangent_on_the_axes():
    half = math.pi / 2
    points = {(0.0, 0.0): 0.0, (0.0, 1.0): 0.0, (0.0, -1.0): math.pi, (1.0, 0.0): half, (-1.0, 0.0): -half}
    for (y, x), angle in points.items():
        assert atan2(y, x) == angle


@given(ANGLES, NUMBERS, NUMBERS)
def test_plain_python_agrees_with_the_compiled_trigonometry(angle, y, x):
    assert np.allclose(sincos.py_func(angle), sincos(angle), rtol=0.0, atol=1e-15)
    assert abs(atan2.py_func(y, x) - atan2(y, x)) <= 1e-15
