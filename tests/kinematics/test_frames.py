import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kinematics import frames

UNIT = st.floats(-1.0, 1.0)
EXACT = 5e-15


@st.composite
def rotation_vectors(draw):
    axis = np.array([draw(UNIT), draw(UNIT), draw(UNIT)])
    assume(np.linalg.norm(axis) > 1e-3)
    # Angles near 0 and near pi are where formulas lose their digits, so they are drawn on purpose.
    angle = draw(
        st.one_of(
            st.floats(0.0, math.pi - 1e-12),
            st.floats(-15.0, -1.0).map(lambda e: 10.0**e),
            st.floats(-12.0, -1.0).map(lambda e: math.pi - 10.0**e),
        )
    )
    return axis / np.linalg.norm(axis) * angle


def rotation(v):
    R = np.zeros((3, 3))
    frames.rotation_from_vector(np.asarray(v, dtype=float), R)
    return R


def pose(v, p):
    T = np.eye(4)
    T[:3, :3] = rotation(v)
    T[:3, 3] = p
    return T


@given(rotation_vectors())
def test_rotation_vector_survives_the_round_trip(v):
    back = np.zeros(3)
    frames.vector_from_rotation(rotation(v), back)
    assert np.abs(back - v).max() < 2e-15 + 4e-15 * np.linalg.norm(v)


@given(rotation_vectors())
def test_small_rotation_vectors_keep_their_relative_precision(v):
    v = v * 1e-9
    back = np.zeros(3)
    frames.vector_from_rotation(rotation(v), back)
    assert np.abs(back - v).max() <= 1e-14 * np.abs(v).max() + 1e-300


@pytest.mark.parametrize(
    "axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0), (0, -0.6, 0.8), (-2 / 3, 1 / 3, 2 / 3)]
)
def test_half_turn_gives_its_axis_up_to_sign(axis):
    axis = np.array(axis, dtype=float)
    R = 2.0 * np.outer(axis, axis) - np.eye(3)
    v = np.zeros(3)
    frames.vector_from_rotation(R, v)
    assert abs(np.linalg.norm(v) - math.pi) < 1e-15 * 4
    assert abs(abs(v @ axis) - math.pi) < 1e-14


def test_zero_rotation_vector_is_the_identity_and_back():
    v = np.ones(3)
    assert np.array_equal(rotation(np.zeros(3)), np.eye(3))
    frames.vector_from_rotation(np.eye(3), v)
    assert np.array_equal(v, np.zeros(3))


@given(rotation_vectors())
def test_exponential_is_that_of_the_matrix_series(v):
    K = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    small, R = K / 2**10, np.eye(3)
    term = np.eye(3)
    for n in range(1, 12):
        term = term @ small / n
        R = R + term
    for _ in range(10):
        R = R @ R
    assert np.abs(rotation(v) - R).max() < 1e-12


@given(rotation_vectors())
def test_quaternion_is_scalar_first_and_turns_vectors_as_the_rotation_does(v):
    quaternion = np.zeros(4)
    frames.quaternion_from_rotation(rotation(v), quaternion)
    w, u = quaternion[0], quaternion[1:]
    assert w >= 0.0
    assert abs(quaternion @ quaternion - 1.0) < EXACT
    x = np.array([0.3, -0.5, 0.8])
    turned = x + 2.0 * np.cross(u, np.cross(u, x) + w * x)
    assert np.abs(turned - rotation(v) @ x).max() < EXACT


@given(rotation_vectors(), st.lists(UNIT, min_size=3, max_size=3))
def test_inverse_pose_undoes_the_pose(v, p):
    T, T_inverse, product = pose(v, p), np.zeros((4, 4)), np.zeros((4, 4))
    frames.invert_pose(T, T_inverse)
    frames.compose(T, T_inverse, product)
    assert np.abs(product - np.eye(4)).max() < EXACT


@given(rotation_vectors(), rotation_vectors(), st.lists(UNIT, min_size=3, max_size=3))
def test_compose_is_the_matrix_product(v, w, p):
    A, B, C = pose(v, p), pose(w, p[::-1]), np.zeros((4, 4))
    frames.compose(A, B, C)
    assert np.abs(C - A @ B).max() < EXACT


@given(rotation_vectors(), st.integers(0, 2**32 - 1))
def test_orthonormalise_gives_the_nearest_rotation(v, seed):
    R = rotation(v) + np.random.default_rng(seed).uniform(-0.1, 0.1, (3, 3))
    U, _, Vt = np.linalg.svd(R)
    assume(np.linalg.det(U @ Vt) > 0.0)
    assert frames.orthonormalise(R)
    assert np.abs(R - U @ Vt).max() < 1e-12


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.diag([1.0, 1.0, -1.0]), np.full((3, 3), np.nan), np.ones((3, 3))])
def test_orthonormalise_leaves_what_has_no_nearest_rotation(bad):
    R = bad.copy()
    assert not frames.orthonormalise(R)
    assert np.array_equal(R, bad, equal_nan=True)


def test_kernels_touch_only_the_rotation_block_of_a_pose():
    T = pose([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])
    T[0, 0] += 1e-4
    assert frames.orthonormalise(T)
    assert np.array_equal(T[:3, 3], [1.0, 2.0, 3.0])
    assert np.array_equal(T[3], [0.0, 0.0, 0.0, 1.0])


@given(rotation_vectors(), st.lists(UNIT, min_size=3, max_size=3))
def test_a_pose_is_a_pose(v, p):
    assert frames.is_pose(pose(v, p), 1e-12)


@pytest.mark.parametrize("i", range(4))
@pytest.mark.parametrize("j", range(4))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.01])
def test_one_wrong_entry_is_no_pose(i, j, value):
    T = pose([0.4, -0.9, 1.3], [0.1, 0.2, 0.3])
    T[i, j] = T[i, j] + value
    assert frames.is_pose(T, 1e-6) == (j == 3 and i < 3 and math.isfinite(value))  # another place is a pose too


def test_reflection_is_no_pose():
    assert not frames.is_pose(np.diag([1.0, 1.0, -1.0, 1.0]), 1e-6)


@given(rotation_vectors())
def test_plain_python_agrees_with_the_compiled_frames(v):
    R, v_back, v_plain = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
    frames.rotation_from_vector.py_func(v, R)
    assert np.abs(R - rotation(v)).max() < 1e-15
    frames.vector_from_rotation(R, v_back)
    frames.vector_from_rotation.py_func(R, v_plain)
    assert np.abs(v_back - v_plain).max() < 1e-15
    stretched = R * 1.01
    twin = stretched.copy()
    assert frames.orthonormalise(stretched) == frames.orthonormalise.py_func(twin)
    assert np.abs(stretched - twin).max() < 1e-15
    T = pose(v, [1.0, 2.0, 3.0])
    assert frames.is_pose.py_func(T, 1e-9) and frames.is_pose(T, 1e-9)
