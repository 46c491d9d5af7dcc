"""Paths of the tip: where they go, and how their corners are rounded."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.motion.path import (
    ANGULAR,
    LINEAR,
    MAX_POINTS,
    PATH,
    add_jaw,
    add_point,
    begin_path,
    path_jaw,
    path_pose,
    round_corners,
)

HOME = np.array([0.1, -0.2, 0.12, 0.3, 0.4, -0.3, 0.5, 0.0])
LINEAR_SPEED, ANGULAR_SPEED = 0.1, 1.5


# The oracle: the same lines in plain NumPy, the rotation by quaternions (path.py has Rodrigues' formula).
def quaternion_product(a, b):
    w, v = a[0] * b[0] - a[1:] @ b[1:], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])
    return np.concatenate([[w], v])


def turned(vector, columns):
    """Rotate the columns of a matrix by a rotation vector."""
    angle = np.linalg.norm(vector)
    axis = vector / angle if angle > 0.0 else vector
    q = np.concatenate([[math.cos(angle / 2)], math.sin(angle / 2) * axis])
    conjugate = q * [1, -1, -1, -1]
    turn = [quaternion_product(quaternion_product(q, np.concatenate([[0.0], c])), conjugate)[1:] for c in columns.T]
    return np.array(turn).T


def pose(vector, position):
    T = np.eye(4)
    T[:3, :3] = turned(np.asarray(vector, float), np.eye(3))
    T[:3, 3] = position
    return T


def path_through(*poses, blend=0.005):
    path = np.zeros(1, PATH)
    begin_path(path, poses[0], HOME, LINEAR_SPEED, ANGULAR_SPEED)
    for T in poses[1:]:
        assert add_point(path, T) == 1
    round_corners(path, blend)
    return path


def pose_at(path, u):
    T = np.empty((4, 4))
    path_pose(path, u, T)
    return T


def sampled(path, count=4001):
    """u and the poses along the whole path."""
    u = np.linspace(0.0, path[0]["u_end"], count)
    return u, np.array([pose_at(path, x) for x in u])


def angular_rates(u, poses):
    """The rotation vectors between neighbours, per u."""
    turns = poses[1:, :3, :3] @ poses[:-1, :3, :3].transpose(0, 2, 1)
    vectors = 0.5 * np.stack(
        [turns[:, 2, 1] - turns[:, 1, 2], turns[:, 0, 2] - turns[:, 2, 0], turns[:, 1, 0] - turns[:, 0, 1]], axis=1
    )
    return vectors / np.diff(u)[:, None]


points = st.tuples(*[st.floats(-0.3, 0.3)] * 3).map(np.array)
vectors = (
    st.tuples(*[st.floats(-1.0, 1.0)] * 3)
    .map(np.array)
    .filter(lambda v: np.linalg.norm(v) > 1e-3)
    .flatmap(lambda v: st.floats(0.0, math.pi).map(lambda angle: angle * v / np.linalg.norm(v)))
)
poses = st.builds(pose, vectors, points)


@given(poses, poses, st.floats(0.0, 1.0))
def test_between_two_points_the_tip_runs_straight_and_turns_about_one_axis(T_start, T_goal, part):
    path = path_through(T_start, T_goal)
    u = part * path[0]["u_end"]
    T = pose_at(path, u)
    np.testing.assert_allclose(T[:3, :3], turned(u * path[0]["w"][1], T_start[:3, :3]), rtol=0, atol=1e-13)
    np.testing.assert_allclose(T[:3, 3], (1 - part) * T_start[:3, 3] + part * T_goal[:3, 3], rtol=0, atol=1e-14)
    assert list(T[3]) == [0.0, 0.0, 0.0, 1.0]
    np.testing.assert_allclose(pose_at(path, 0.0), T_start, rtol=0, atol=1e-14)
    np.testing.assert_allclose(pose_at(path, path[0]["u_end"]), T_goal, rtol=0, atol=1e-13)


@given(poses, poses)
def test_the_slower_of_translation_and_rotation_rules(T_start, T_goal):
    path = path_through(T_start, T_goal)
    rates = path[0]["rates"]
    assert rates[LINEAR] <= LINEAR_SPEED * (1 + 1e-12)
    assert rates[ANGULAR] <= ANGULAR_SPEED * (1 + 1e-12)
    if path[0]["n"] > 1:
        assert max(rates[LINEAR] / LINEAR_SPEED, rates[ANGULAR] / ANGULAR_SPEED) == pytest.approx(1.0)
        assert np.linalg.norm(path[0]["w"][1]) * path[0]["u_end"] <= math.pi * (1 + 1e-12)  # the shortest way


via_lists = st.lists(poses, min_size=3, max_size=6)


@given(via_lists, st.floats(1e-4, 0.02))
def test_corners_stay_within_the_blend_of_their_points(through, blend):
    path = path_through(*through, blend=blend)
    for k in range(1, path[0]["n"] - 1):
        near = pose_at(path, path[0]["at"][k])
        assert np.linalg.norm(near[:3, 3] - path[0]["points"][k][:3, 3]) <= blend * (1 + 1e-9)


@given(via_lists, st.floats(1e-3, 0.02))
def test_rates_and_bends_bound_the_path_and_it_has_no_kink(through, blend):
    path = path_through(*through, blend=blend)
    if path[0]["n"] < 2:
        return
    u, T = sampled(path, 2001)
    h = u[1]
    rate = np.diff(T[:, :3, 3], axis=0) / h
    bend = np.diff(rate, axis=0) / h
    assert np.linalg.norm(rate, axis=1).max() <= path[0]["rates"][LINEAR] * (1 + 1e-6) + 1e-9
    assert np.linalg.norm(bend, axis=1).max() <= path[0]["bends"][LINEAR] * (1 + 1e-3) + 1e-6
    omega = angular_rates(u, T)
    assert np.linalg.norm(np.diff(omega, axis=0), axis=1).max() / h <= path[0]["bends"][ANGULAR] * 1.01 + 1e-3


def test_acceleration_is_continuous_through_a_corner():
    path = path_through(pose([0, 0, 0], [0, 0, 0]), pose([0, 0, 0.2], [0.05, 0, 0]), pose([0.1, 0, 0], [0.05, 0.05, 0]))
    for count, most in ((2001, 0.1), (8001, 0.025)):  # it falls with the sampling: there is no step
        u, T = sampled(path, count)
        bend = np.diff(T[:, :3, 3], 2, axis=0) / u[1] ** 2
        assert np.linalg.norm(np.diff(bend, axis=0), axis=1).max() <= most
        turning = np.diff(angular_rates(u, T), axis=0) / u[1]
        assert np.linalg.norm(np.diff(turning, axis=0), axis=1).max() <= 20 * most


def test_a_corner_takes_at_most_half_of_what_is_beside_it():
    straight = pose([0, 0, 0], [0, 0, 0])
    path = path_through(straight, pose([0, 0, 0], [0.01, 0, 0]), pose([0, 0, 0], [0.01, 0.2, 0]), blend=1.0)
    assert path[0]["half"][1] == pytest.approx(0.5 * 0.01 / LINEAR_SPEED)


def test_a_corner_of_rotation_alone_leaves_no_position():
    there = [0.05, 0.0, -0.1]
    path = path_through(pose([0, 0, 0], there), pose([0, 0, 0.5], there), pose([0, 0.7, 0.5], there), blend=1e-4)
    _, T = sampled(path, 101)
    np.testing.assert_allclose(T[:, :3, 3], np.tile(there, (101, 1)), rtol=0, atol=1e-15)
    assert path[0]["half"][1] > 0.05


def test_a_point_twice_is_there_once_and_a_path_to_where_it_begins_is_empty():
    T = pose([0.1, 0.2, 0.3], [0.01, 0.02, -0.1])
    path = path_through(T, T)
    assert path[0]["n"] == 1
    assert path[0]["u_end"] == 0.0
    np.testing.assert_allclose(pose_at(path, 0.0), T, rtol=0, atol=1e-15)


def test_there_is_room_for_the_points_of_a_message_and_no_more():
    path = path_through(*[pose([0, 0, 0], [0.01 * k, 0.005 * (k % 2), 0]) for k in range(MAX_POINTS)])
    assert path[0]["n"] == MAX_POINTS
    assert add_point(path, pose([0, 0, 0], [1, 1, 1])) == 0
    assert path[0]["n"] == MAX_POINTS


def test_the_jaw_runs_along_in_proportion_or_alone():
    path = path_through(np.eye(4), pose([0, 0, 1.0], [0, 0, 0.1]))
    add_jaw(path, 6, 1.5, 10.0)
    assert path_jaw(path, 0.5 * path[0]["u_end"]) == pytest.approx((HOME[6] + 1.5) / 2)
    assert path_jaw(path, path[0]["u_end"]) == pytest.approx(1.5)
    alone = path_through(np.eye(4), np.eye(4))
    add_jaw(alone, 6, 1.5, 10.0)
    assert alone[0]["u_end"] == pytest.approx(0.1)
