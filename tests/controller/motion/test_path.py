"""Paths: where they go, which limits they carry, and what a walk along them notices."""

import math

import numba
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numba.core import types
from numba.core.runtime import _nrt_python, rtsys

from controller.motion.path import (
    BAD_ARGUMENT,
    CARTESIAN_LINE,
    JOINT_LINE,
    JUMP,
    NO_PATH,
    PATH,
    add_jaw,
    cartesian_path,
    check_cartesian_path,
    hold_path,
    joint_path,
    joint_stop_path,
    limit_by_joint_rates,
    path_joints,
    path_pose,
)
from controller.motion.profile import PROFILE, evaluate, plan_rest_to_rest, plan_stop
from kinematics import chain, psm
from kinematics.chain import INVERSE
from kinematics.compiled import array_of, kernel
from kinematics.description import ARM, load_arm

PSM = load_arm("psm_classic").record
N = int(PSM[0]["n_axes"])
JAW = int(PSM[0]["n_joints"])
FREE = (math.inf,) * 6  # no limit of the tip
SLOW = (0.05, 0.5, 5.0, 0.5, 5.0, 50.0)
HOME = np.array([0.1, -0.2, 0.12, 0.3, 0.4, -0.3, 0.5, 0.0])


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


def new_path():
    return np.zeros(1, PATH)


def pose_at(path, s):
    T = np.empty((4, 4))
    path_pose(path, s, T)
    return T


def joints_at(path, s):
    q = np.full(8, np.nan)
    path_joints(path, s, q)
    return q


def line(T_start, T_goal, q_start=HOME, bounds=FREE):
    path = new_path()
    assert cartesian_path(path, T_start, T_goal, q_start, *bounds) == 0
    return path


def check(path, inverse, arm=PSM, count=64):
    """The status of a walk, the joints at its end and the rates that it found."""
    q, rates = np.full(8, np.nan), np.full(8, np.nan)
    status = check_cartesian_path(path, arm, inverse, count, np.empty((4, 4)), q, np.empty(8), rates)
    return status, q, rates


def limits_of(path):
    return tuple(float(path[0][name]) for name in ("v_max", "a_max", "j_max"))


def planned(path):
    profile = np.zeros(1, PROFILE)
    assert plan_rest_to_rest(profile, 1.0, *limits_of(path)) == 0
    return profile


def sampled(profile, count):
    """p, v, a at even times over the whole profile, (count, 3)."""
    out = np.empty((count, 3))
    for row, t in zip(out, np.linspace(0.0, profile[0]["duration"], count), strict=True):
        evaluate(profile, t, row)
    return out


joints = st.lists(st.floats(-2.0, 2.0), min_size=8, max_size=8).map(np.array)
speeds = st.floats(0.01, 1.0)
points = st.tuples(*[st.floats(-0.3, 0.3)] * 3).map(np.array)
vectors = (
    st.tuples(*[st.floats(-1.0, 1.0)] * 3)
    .map(np.array)
    .filter(lambda v: np.linalg.norm(v) > 1e-3)
    .flatmap(
        lambda v: st.sampled_from([0.0, 1e-12, 1e-7, 0.3, 1.7, math.pi - 1e-7, math.pi]).map(
            lambda angle: angle * v / np.linalg.norm(v)
        )
    )
)
poses = st.builds(pose, vectors, points)


# Joint lines


@given(joints, joints, speeds, st.floats(0.0, 1.0))
def test_joint_path_is_the_straight_line_between_its_ends(q_start, q_goal, speed, s):
    path = new_path()
    assert joint_path(path, PSM, q_start, q_goal, speed) == 0
    assert path[0]["kind"] == JOINT_LINE
    assert list(joints_at(path, 0.0)) == list(q_start)
    np.testing.assert_allclose(joints_at(path, 1.0)[:N], q_goal[:N], rtol=0, atol=1e-15)
    np.testing.assert_allclose(joints_at(path, s)[:N], ((1 - s) * q_start + s * q_goal)[:N], rtol=0, atol=1e-15)
    assert list(joints_at(path, s)[N:]) == list(q_start[N:])


@given(joints, joints, speeds)
def test_joint_path_keeps_every_joint_in_its_limits_and_one_at_it(q_start, q_goal, speed):
    delta = np.abs(q_goal - q_start)[:N]
    assume(delta.max() > 1e-6)
    path = new_path()
    joint_path(path, PSM, q_start, q_goal, speed)
    for limit, name in zip(limits_of(path), ("velocity_max", "acceleration_max", "jerk_max"), strict=True):
        used = limit * delta / (speed * PSM[0][name][:N])
        assert used.max() == pytest.approx(1.0, rel=1e-12)
    most = np.abs(sampled(planned(path), 200)).max(axis=0)
    assert (most[1] * delta <= speed * PSM[0]["velocity_max"][:N] * (1 + 1e-9)).all()
    assert (most[2] * delta <= speed * PSM[0]["acceleration_max"][:N] * (1 + 1e-9)).all()


def test_a_path_without_motion_is_at_its_end_at_once():
    held, joint = new_path(), new_path()
    hold_path(held, HOME)
    assert joint_path(joint, PSM, HOME, HOME, 0.5) == 0
    still = line(pose([0.1, 0.2, 0.3], [0, 0, -0.1]), pose([0.1, 0.2, 0.3], [0, 0, -0.1]), bounds=SLOW)
    for path in (held, joint, still):
        assert limits_of(path) == (math.inf,) * 3
        assert planned(path)[0]["duration"] == 0.0
    assert list(joints_at(held, 0.7)) == list(joints_at(joint, 0.7)) == list(HOME)


@pytest.mark.parametrize("speed", [0.0, -0.5, 1.0001, math.nan])
def test_a_speed_outside_its_range_is_refused(speed):
    path = new_path()
    assert joint_path(path, PSM, HOME, HOME + 0.1, speed) == BAD_ARGUMENT
    assert path[0]["kind"] == NO_PATH
    assert np.isnan(joints_at(path, 0.5)).all()
    path = line(np.eye(4), pose([0, 0, 1], [0, 0, 1]))
    assert add_jaw(path, PSM, 0.3, speed) == BAD_ARGUMENT
    assert path[0]["q_delta"][JAW] == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("axis", range(N))
def test_joints_that_are_not_finite_are_refused(axis, bad):
    wrong = HOME.copy()
    wrong[axis] = bad
    path = new_path()
    for status in (
        joint_path(path, PSM, wrong, HOME, 1.0),
        joint_path(path, PSM, HOME, wrong, 1.0),
        joint_stop_path(path, PSM, wrong, HOME),
        joint_stop_path(path, PSM, HOME, wrong),
    ):
        assert status == BAD_ARGUMENT
        assert path[0]["kind"] == NO_PATH


@given(joints, joints)
def test_a_stopping_stream_keeps_its_velocity_its_line_and_the_limits(q, qd):
    assume(np.abs(qd[:N]).max() > 1e-3)
    path, profile = new_path(), np.zeros(1, PROFILE)
    assert joint_stop_path(path, PSM, q, qd) == 0
    _, a_max, j_max = limits_of(path)
    assert plan_stop(profile, 0.0, 1.0, 0.0, a_max, j_max) == 0
    samples = sampled(profile, 100)
    velocity = samples[:, 1:2] * path[0]["q_delta"][:N]
    np.testing.assert_allclose(velocity[0], qd[:N], rtol=1e-15)
    assert (velocity[-1] == 0.0).all()
    assert (np.abs(velocity) <= np.abs(qd[:N]) * (1 + 1e-12)).all()
    assert (np.abs(samples[:, 2:] * qd[:N]) <= PSM[0]["acceleration_max"][:N] * (1 + 1e-9)).all()
    moved = np.array([joints_at(path, s)[:N] - q[:N] for s in samples[:, 0]])
    np.testing.assert_allclose(moved, samples[:, :1] * qd[:N], rtol=0, atol=1e-14 * (1 + np.abs(moved).max()))


def test_a_stream_at_rest_stops_at_once():
    path, profile = new_path(), np.zeros(1, PROFILE)
    joint_stop_path(path, PSM, HOME, np.zeros(8))
    assert plan_stop(profile, 0.0, 1.0, 0.0, *limits_of(path)[1:]) == 0
    assert profile[0]["duration"] == 0.0
    assert list(joints_at(path, profile[0]["p"][0])) == list(HOME)


# Cartesian lines


@given(poses, poses, st.floats(0.0, 1.0))
def test_cartesian_path_is_that_of_the_oracle(T_start, T_goal, s):
    path = line(T_start, T_goal)
    assert path[0]["kind"] == CARTESIAN_LINE
    np.testing.assert_allclose(pose_at(path, 0.0), T_start, rtol=0, atol=1e-15)
    np.testing.assert_allclose(pose_at(path, 1.0), T_goal, rtol=0, atol=1e-14)
    T = pose_at(path, s)
    np.testing.assert_allclose(T[:3, :3], turned(s * path[0]["rotation"], T_start[:3, :3]), rtol=0, atol=1e-14)
    np.testing.assert_allclose(T[:3, 3], (1 - s) * T_start[:3, 3] + s * T_goal[:3, 3], rtol=0, atol=1e-15)
    assert list(T[3]) == [0.0, 0.0, 0.0, 1.0]


@given(poses, poses)
def test_the_tip_runs_straight_and_turns_about_one_axis_the_shortest_way(T_start, T_goal):
    path = line(T_start, T_goal)
    start, translation = T_start[:3, 3], T_goal[:3, 3] - T_start[:3, 3]
    distance, angle = np.linalg.norm(translation), np.linalg.norm(path[0]["rotation"])
    assert angle <= math.pi * (1 + 1e-15)
    for s in np.linspace(0.0, 1.0, 11):
        T = pose_at(path, s)
        np.testing.assert_allclose(T[:3, :3].T @ T[:3, :3], np.eye(3), rtol=0, atol=1e-14)
        moved = T[:3, 3] - start
        if distance > 1e-9:
            assert np.linalg.norm(np.cross(moved, translation)) / distance < 1e-12
        if angle > 1e-9:
            axis = path[0]["rotation"] / angle
            # What lies on the axis stays: R(s) carries the axis as the start has it to where it was.
            np.testing.assert_allclose(T[:3, :3] @ (T_start[:3, :3].T @ axis), axis, rtol=0, atol=1e-12)
            # What lies across it has turned by s times the angle.
            across = np.linalg.svd(axis[None])[2][1]
            turned_across = T[:3, :3] @ (T_start[:3, :3].T @ across)
            turn = math.atan2(np.cross(across, turned_across) @ axis, across @ turned_across)
            assert abs(math.remainder(turn - s * angle, 2 * math.pi)) < 1e-12


@given(vectors, vectors, points)
def test_a_rotation_vector_comes_back_whole_from_zero_to_half_a_turn(base, vector, position):
    T_start = pose(base, position)
    T_goal = T_start.copy()
    T_goal[:3, :3] = turned(vector, T_start[:3, :3])
    found = line(T_start, T_goal)[0]["rotation"]
    if np.linalg.norm(vector) > math.pi - 1e-9 and found @ vector < 0.0:
        found = -found  # both are half a turn
    np.testing.assert_allclose(found, vector, rtol=0, atol=1e-14)


def test_the_tightest_of_tip_turn_and_jaw_limits_the_path():
    T_start, T_goal = np.eye(4), pose([0.0, 0.4, 0.0], [0.03, 0.0, 0.04])  # 0.05 m and 0.4 rad
    assert limits_of(line(T_start, T_goal, bounds=(0.1, 0.2, 0.3, 9.0, 9.0, 9.0))) == pytest.approx((2.0, 4.0, 6.0))
    assert limits_of(line(T_start, T_goal, bounds=(9.0, 9.0, 9.0, 0.2, 0.4, 0.8))) == pytest.approx((0.5, 1.0, 2.0))
    path = line(T_start, T_goal)
    assert add_jaw(path, PSM, HOME[JAW] - 2.0, 0.5) == 0
    expected = [0.25 * PSM[0][name][JAW] for name in ("velocity_max", "acceleration_max", "jerk_max")]
    assert limits_of(path) == pytest.approx(expected)


def test_the_jaw_runs_along_and_the_other_joints_are_left_alone():
    path = line(np.eye(4), pose([0.0, 0.0, 1.0], [0.0, 0.0, 0.1]))
    assert np.isnan(joints_at(path, 0.5)).all()
    assert add_jaw(path, PSM, 1.5, 1.0) == 0
    q = joints_at(path, 0.5)
    assert q[JAW] == pytest.approx((HOME[JAW] + 1.5) / 2)
    assert np.isnan(np.delete(q, JAW)).all()


def test_a_jaw_that_is_not_there_or_no_number_is_refused():
    path = line(np.eye(4), pose([0.0, 0.0, 1.0], [0.0, 0.0, 0.1]))
    assert add_jaw(path, PSM, math.nan, 1.0) == BAD_ARGUMENT
    jawless = PSM.copy()
    jawless[0]["n_axes"] = jawless[0]["n_joints"]
    assert add_jaw(path, jawless, 0.1, 1.0) == BAD_ARGUMENT
    joint = new_path()
    joint_path(joint, PSM, HOME, HOME + 0.1, 1.0)
    assert add_jaw(joint, PSM, 0.1, 1.0) == BAD_ARGUMENT


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_a_limit_of_the_tip_that_is_not_positive_is_refused(which, bad):
    bounds = list(SLOW)
    bounds[which] = bad
    path = new_path()
    assert cartesian_path(path, np.eye(4), np.eye(4), HOME, *bounds) == BAD_ARGUMENT
    assert path[0]["kind"] == NO_PATH
    assert check(path, psm.inverse)[0] == BAD_ARGUMENT


@pytest.mark.parametrize("entry", [(0, 0), (2, 1), (1, 3)])
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_pose_that_is_not_finite_is_refused(entry, bad):
    wrong = np.eye(4)
    wrong[entry] = bad
    path = new_path()
    assert cartesian_path(path, np.eye(4), wrong, HOME, *SLOW) == BAD_ARGUMENT
    assert cartesian_path(path, wrong, np.eye(4), HOME, *SLOW) == BAD_ARGUMENT
    assert path[0]["kind"] == NO_PATH


# The walk, first with made-up arms whose joints are known functions of the pose: x, y, z and then one more


def made_up_arm():
    arm = np.zeros(1, ARM)
    arm[0]["n_joints"] = arm[0]["n_axes"] = 4
    arm[0]["prismatic"][:3] = 1
    for name in ("velocity_max", "acceleration_max", "jerk_max"):
        arm[0][name][:4] = 1.0
    return arm


GANTRY = made_up_arm()
STATUS_BEYOND = 3
WIDTH = 0.01  # of the fast but continuous turn


@kernel(INVERSE)
def smooth(arm, T, q_near, q):
    q[:] = 0.0
    q[0], q[1], q[2] = T[0, 3], T[1, 3], T[2, 3]
    q[3] = math.sin(2.0 * T[0, 3])
    return STATUS_BEYOND if T[0, 3] > 1.5 else 0


@kernel(INVERSE)
def jumping(arm, T, q_near, q):
    q[:] = 0.0
    q[0], q[1], q[2] = T[0, 3], T[1, 3], T[2, 3]
    q[3] = 1.0 if T[0, 3] > 0.4321 else 0.0
    return 0


@kernel(INVERSE)
def nearest(arm, T, q_near, q):
    """Two branches, each of which exists only up to the middle of the other: a switch of branches is forced."""
    q[:] = 0.0
    q[0], q[1], q[2] = T[0, 3], T[1, 3], T[2, 3]
    x = T[0, 3]
    low_exists, high_exists = x < 0.6, x > 0.4
    if low_exists and (not high_exists or abs(q_near[3] - x) < abs(q_near[3] - x - 2.0)):
        q[3] = x
    else:
        q[3] = x + 2.0
    return 0


@kernel(INVERSE)
def fast(arm, T, q_near, q):
    q[:] = 0.0
    q[0], q[1], q[2] = T[0, 3], T[1, 3], T[2, 3]
    q[3] = math.atan((T[0, 3] - 0.4321) / WIDTH)
    return 0


@kernel(INVERSE)
def not_a_number(arm, T, q_near, q):
    q[:] = 0.0
    q[0], q[1], q[2] = T[0, 3], T[1, 3], T[2, 3]
    q[3] = math.nan if T[0, 3] > 0.5 else 0.0
    return 0


def along_x(inverse, x_goal=1.0):
    q_start = np.zeros(8)
    inverse(GANTRY, np.eye(4), q_start, q_start)
    return line(np.eye(4), pose([0, 0, 0], [x_goal, 0, 0]), q_start)


def test_a_smooth_walk_finds_end_rates_and_curvature():
    path = along_x(smooth)
    status, q, rates = check(path, smooth, GANTRY)
    assert status == 0
    np.testing.assert_allclose(q[:4], [1.0, 0.0, 0.0, math.sin(2.0)], rtol=0, atol=1e-15)
    np.testing.assert_allclose(rates[:4], [1.0, 0.0, 0.0, 2.0], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(path[0]["curvature"][:4], [0.0, 0.0, 0.0, 4.0], rtol=1e-3, atol=1e-9)
    assert list(rates[4:]) == [0.0] * 4


def test_the_first_status_that_is_not_zero_ends_the_walk():
    assert check(along_x(smooth, 1.6), smooth, GANTRY)[0] == STATUS_BEYOND


@pytest.mark.parametrize("count", [2, 7, 64, 300])
@pytest.mark.parametrize("inverse", [jumping, nearest, not_a_number])
def test_a_jump_of_a_joint_is_found(inverse, count):
    assert check(along_x(inverse), inverse, GANTRY, count)[0] == JUMP


@pytest.mark.parametrize("count", [32, 64, 300])
def test_a_fast_but_continuous_joint_is_no_jump_and_its_peak_rate_is_found(count):
    status, _, rates = check(along_x(fast), fast, GANTRY, count)
    assert status == 0
    assert 1.0 / WIDTH <= rates[3] <= 1.3 / WIDTH


def test_a_start_that_is_not_at_the_path_is_a_jump():
    path = line(np.eye(4), pose([0, 0, 0], [0.5, 0, 0]), np.array([0.0, 1e-3, 0, 0, 0, 0, 0, 0]))
    assert check(path, smooth, GANTRY)[0] == JUMP


@pytest.mark.parametrize("count", [1, 0, -5])
def test_a_walk_of_less_than_two_steps_is_refused(count):
    assert check(along_x(smooth), smooth, GANTRY, count)[0] == BAD_ARGUMENT


@given(speeds)
def test_joint_limits_hold_along_a_bent_path(speed):
    path = along_x(smooth)
    _, _, rates = check(path, smooth, GANTRY)
    limit_by_joint_rates(path, GANTRY, rates, speed)
    s, v, a = sampled(planned(path), 2000).T
    velocity = 2 * np.cos(2 * s) * v
    acceleration = 2 * np.cos(2 * s) * a - 4 * np.sin(2 * s) * v**2
    assert np.abs(velocity).max() <= speed * 1.001
    assert np.abs(acceleration).max() <= speed * 1.001


def test_limits_are_only_ever_lowered():
    path = along_x(smooth)
    _, _, rates = check(path, smooth, GANTRY)
    path[0]["v_max"], path[0]["a_max"], path[0]["j_max"] = 1e-4, 1e-5, 1e-6
    limit_by_joint_rates(path, GANTRY, rates, 1.0)
    assert limits_of(path) == (1e-4, 1e-5, 1e-6)


# The PSM


def forward(q):
    T = np.empty((4, 4))
    chain.forward(PSM, q, T)
    return T


def random_joints(random):
    low, high = PSM[0]["position_min"][:N], PSM[0]["position_max"][:N]
    q = np.zeros(8)
    q[:N] = 0.5 * (low + high) + 0.45 * (high - low) * random.uniform(-1, 1, N)
    q[2] = random.uniform(0.06, 0.22)
    return q


@pytest.fixture(scope="module")
def psm_lines():
    """Lines of up to 100 mm between random poses of the PSM, walked, and those that could be: (path, q_start, walk)."""
    random = np.random.default_rng(7)
    lines = []
    while len(lines) < 300:
        q_start = random_joints(random)
        q_goal = random_joints(random) if len(lines) % 2 else q_start + np.append(0.1 * random.uniform(-1, 1, 7), 0.0)
        T_start, T_goal = forward(q_start), forward(q_goal)
        if np.linalg.norm(T_goal[:3, 3] - T_start[:3, 3]) < 0.1:
            path = line(T_start, T_goal, q_start, SLOW)
            lines.append((path, q_start, check(path, psm.inverse)))
    return lines


def test_psm_lines_end_in_each_way_that_a_walk_can(psm_lines):
    statuses = [status for _, _, (status, _, _) in psm_lines]
    assert statuses.count(0) > 50
    assert any(statuses)


def test_psm_joints_keep_their_limits_along_every_line_that_was_accepted(psm_lines):
    speed = 0.5
    q, q_near = np.zeros(8), np.zeros(8)
    velocity_most, acceleration_most = np.zeros(JAW), np.zeros(JAW)
    for path, q_start, (status, q_end, rates) in psm_lines:
        if status != 0:
            continue
        limit_by_joint_rates(path, PSM, rates, speed)
        profile = planned(path)
        count = 1000
        h = profile[0]["duration"] / (count - 1)
        track = np.empty((count, JAW))
        q_near[:] = q_start
        for row, s in zip(track, sampled(profile, count)[:, 0], strict=True):
            assert psm.inverse(PSM, pose_at(path, s), q_near, q) == 0
            row[:] = q[:JAW]
            q_near[:] = q
        np.testing.assert_allclose(track[0], q_start[:JAW], rtol=0, atol=1e-9)
        np.testing.assert_allclose(track[-1], q_end[:JAW], rtol=0, atol=1e-9)
        velocity = np.abs(np.diff(track, axis=0)) / h
        acceleration = np.abs(np.diff(track, 2, axis=0)) / h**2
        velocity_most = np.maximum(velocity_most, velocity.max(axis=0))
        acceleration_most = np.maximum(acceleration_most, acceleration.max(axis=0))
    assert (velocity_most <= speed * PSM[0]["velocity_max"][:JAW] * 1.001).all()
    assert (acceleration_most <= speed * PSM[0]["acceleration_max"][:JAW] * 1.02).all()


_path, _arm = array_of(PATH), array_of(ARM)
_inverse = types.FunctionType(INVERSE)
_vector, _matrix = types.float64[::1], types.float64[:, ::1]


@numba.njit(types.int64(_path, _arm, _inverse, _matrix, _matrix, _matrix, _matrix, types.int64), nogil=True)
def plan_lines(path, arm, inverse, T_start, T_goal, T, Q, count):
    """Make, walk and limit both kinds of line, over and over; Q holds start, goal, two of scratch and the rates."""
    bad = 0
    for i in range(count):
        bad += joint_path(path, arm, Q[0], Q[1], 0.5)
        path_joints(path, 0.5, Q[2])
        bad += joint_stop_path(path, arm, Q[0], Q[1])
        hold_path(path, Q[0])
        bad += cartesian_path(path, T_start, T_goal, Q[0], 0.05, 0.5, 5.0, 0.5, 5.0, 50.0)
        bad += add_jaw(path, arm, 0.1, 0.5)
        bad += check_cartesian_path(path, arm, inverse, 64, T, Q[2], Q[3], Q[4])
        limit_by_joint_rates(path, arm, Q[4], 0.5)
        path_pose(path, 0.1 * i, T)
    return bad


def test_paths_are_made_walked_and_evaluated_without_an_allocation():
    q_goal = HOME + np.array([0.05, 0.05, 0.01, 0.1, 0.1, 0.1, 0.1, 0.0])
    Q = np.zeros((5, 8))
    Q[0], Q[1] = HOME, q_goal
    path, T, T_start, T_goal = new_path(), np.empty((4, 4)), forward(HOME), forward(q_goal)

    def allocations(count):
        before = rtsys.get_allocation_stats().alloc
        assert plan_lines(path, PSM, psm.inverse, T_start, T_goal, T, Q, count) == 0
        return rtsys.get_allocation_stats().alloc - before

    _nrt_python.memsys_enable_stats()
    try:
        assert allocations(20) == allocations(0)  # what the call itself takes
    finally:
        _nrt_python.memsys_disable_stats()
