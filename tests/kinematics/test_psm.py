import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types

from kinematics import chain, psm
from kinematics.chain import ARMS, FORWARD, INVERSE, IkStatus
from kinematics.closed_form import LIMIT_TOLERANCE, NEAR_PARALLEL, NEAR_POINT
from kinematics.compiled import kernel

f8, i8 = types.float64, types.int64
COUNT = 100_000
DEPTH_0 = 0.4318 - 0.4162  # m: insertion at which the wrist's centre is on the RCM
LENGTH = 0.0091


@kernel(i8(ARMS, f8[:, ::1], f8[:, :, ::1]))
def forward_all(arm, Q, T):
    for i in range(Q.shape[0]):
        chain.forward(arm, Q[i], T[i])
    return 0


@kernel(i8(ARMS, f8[:, :, ::1], f8[:, ::1], f8[:, ::1], i8[::1]))
def inverse_all(arm, T, Q_near, Q, status):
    for i in range(Q.shape[0]):
        status[i] = psm.inverse(arm, T[i], Q_near[i], Q[i])
    return 0


@kernel(i8(ARMS, f8[:, ::1], f8[:, :, ::1], f8[:, ::1], f8[:, ::1], i8[::1]))
def check_branches(arm, Q, T, errors, branch, counts):
    """Note per configuration the worst pose error over all branches, and how far the nearest branch is from it."""
    all_branches = np.empty((16, 8))
    pose = np.empty((4, 4))
    for n in range(Q.shape[0]):
        counts[n] = psm.branches(arm, T[n], all_branches)
        errors[n, 0], errors[n, 1] = 0.0, np.inf
        for k in range(counts[n]):
            chain.forward(arm, all_branches[k], pose)
            for i in range(4):
                for j in range(4):
                    errors[n, 0] = max(errors[n, 0], abs(pose[i, j] - T[n, i, j]))
            distance = 0.0
            for i in range(6):
                distance = max(distance, abs(all_branches[k, i] - Q[n, i]))
            errors[n, 1] = min(errors[n, 1], distance)
    return 0


FORWARD_PART, INVERSE_PART = types.FunctionType(FORWARD), types.FunctionType(INVERSE)


@kernel(i8(FORWARD_PART, INVERSE_PART, ARMS, f8[::1], f8[:, ::1], f8[::1]))
def there_and_back(forward, inverse, arm, q, T, q_back):
    forward(arm, q, T)
    return inverse(arm, T, q, q_back)


def solve(arm, Q, Q_near):
    T, T_back = np.zeros((len(Q), 4, 4)), np.zeros((len(Q), 4, 4))
    Q_back, status = np.zeros_like(Q), np.zeros(len(Q), np.int64)
    forward_all(arm, Q, T)
    inverse_all(arm, T, Q_near, Q_back, status)
    forward_all(arm, Q_back, T_back)
    return Q_back, status, np.abs(T_back - T).max(axis=(1, 2))


def near_axis(arm, Q):
    """Return how far the configurations are from both singular places inside the limits, in m."""
    depth = Q[:, 2] - DEPTH_0
    return np.minimum(np.abs(depth), np.abs(depth * np.cos(Q[:, 4] + arm[0]["offset"][4] + math.pi / 2) + LENGTH))


def within_limits(arm, Q):
    return np.all((Q[:, :6] >= arm[0]["position_min"][:6]) & (Q[:, :6] <= arm[0]["position_max"][:6]), axis=1)


def test_inverse_recovers_joints_and_pose_from_nearby(psm_like, random_positions):
    arm = psm_like.record
    Q = random_positions(arm, COUNT)
    Q_near = Q + np.random.default_rng(2).normal(0.0, 1e-3, Q.shape)
    Q_back, status, error = solve(arm, Q, Q_near)
    solved = status == IkStatus.SOLVED
    assert error[solved].max() < 1e-12
    assert np.array_equal(Q_back[:, 6:], Q_near[:, 6:])  # the jaw is passed through
    # From 1 mm away another branch can be the nearest one only where two branches meet.
    clear = solved & (near_axis(arm, Q) > 2e-3)
    assert np.abs(Q_back - Q)[clear, :6].max() < 1e-11
    assert clear.mean() > 0.95
    assert set(np.unique(status[~solved])) <= {IkStatus.SINGULAR, IkStatus.TOO_SHALLOW}
    assert np.array_equal(solved, near_axis(arm, Q) > NEAR_POINT)


def test_inverse_solves_every_pose_whatever_it_starts_from(psm_like, random_positions):
    arm = psm_like.record
    Q = random_positions(arm, COUNT)
    Q_back, status, error = solve(arm, Q, random_positions(arm, COUNT, seed=3))
    solved = status == IkStatus.SOLVED
    assert np.array_equal(solved, near_axis(arm, Q) > NEAR_POINT)
    assert error[solved].max() < 1e-12
    assert within_limits(arm, Q_back[solved]).all()


def test_every_branch_reaches_the_pose_and_the_original_is_among_them(psm_like, random_positions):
    arm = psm_like.record
    Q = random_positions(arm, COUNT)
    T, errors, counts = np.zeros((COUNT, 4, 4)), np.zeros((COUNT, 2)), np.zeros(COUNT, np.int64)
    forward_all(arm, Q, T)
    check_branches(arm, Q, T, errors, Q, counts)
    assert errors[:, 0].max() < 1e-12
    found = near_axis(arm, Q) > NEAR_POINT
    assert errors[found, 1].max() < 1e-11
    assert (counts == 16).mean() > 0.999
    assert set(np.unique(counts)) <= {0, 8, 16}


def test_branches_are_all_different(psm_description, random_positions):
    arm = psm_description.record
    T, branches = np.zeros((4, 4)), np.zeros((16, 8))
    for q in random_positions(arm, 300):
        chain.forward(arm, q, T)
        assert psm.branches(arm, T, branches) == 16
        distances = np.abs(branches[:, None] - branches[None]).max(axis=2) + np.eye(16)
        assert distances.min() > 1e-6


@pytest.mark.parametrize("wide", [False, True])
def test_inverse_takes_the_branch_nearest_to_where_it_starts(psm_description, random_positions, wide):
    """Against brute force: of all branches with all turns within the limits, the nearest one.

    An arm with wide limits has up to eight branches inside them, and its wrist can turn over.
    """
    arm = psm_description.record
    if wide:
        arm[0]["position_min"][[0, 1, 4, 5]], arm[0]["position_max"][[0, 1, 4, 5]] = -3.0, 3.0
        arm[0]["position_min"][2] = -0.3
    low, high = arm[0]["position_min"][:6], arm[0]["position_max"][:6]
    angles = [0, 1, 3, 4, 5]
    T, branches, q_back = np.zeros((4, 4)), np.zeros((16, 8)), np.zeros(8)
    several = 0
    Q = random_positions(arm, 3000)
    Q[1500:, 2] = np.random.default_rng(5).uniform(0.0, DEPTH_0, 1500)  # where more than one branch is within limits
    for q, q_near in zip(Q, random_positions(arm, 3000, seed=4), strict=True):
        chain.forward(arm, q, T)
        if psm.branches(arm, T, branches) < 16 or psm.inverse(arm, T, q_near, q_back) != IkStatus.SOLVED:
            continue
        inside = branches[np.all((branches[:, :6] >= low) & (branches[:, :6] <= high), axis=1)]
        several += len(inside) > 1
        distances = ((inside - q_near)[:, angles] ** 2).sum(axis=1)
        assert ((q_back - q_near)[angles] ** 2).sum() <= distances.min() + 1e-9
        assert np.abs(inside - np.r_[q_back[:6], 0.0, 0.0]).max(axis=1).min() < 1e-9
    assert several > 1000


def test_branch_that_is_tried_first_is_what_the_search_of_all_finds(psm_like, random_positions):
    """Limits that leave room for other branches make the search run; from where the arm is, it must find the same."""
    arm, wide = psm_like.record, psm_like.record
    wide[0]["position_max"][1] = 2.0
    Q = random_positions(arm, COUNT)
    Q_back, status, _ = solve(arm, Q, Q)
    Q_searched, status_searched, _ = solve(wide, Q, Q)
    assert np.array_equal(status, status_searched)
    assert np.abs(Q_back - Q_searched).max() < 1e-14


def test_roll_follows_its_turns_without_a_jump(psm_description):
    arm = psm_description.record
    q, T = np.array([0.3, -0.2, 0.12, -4.5, 0.4, -0.5, 0.2, 0.0]), np.zeros((4, 4))
    q_back = q.copy()
    for roll in np.arange(-4.5, 4.5, 0.01):
        q[3] = roll
        chain.forward(arm, q, T)
        assert psm.inverse(arm, T, q_back, q_back) == IkStatus.SOLVED  # the output may be the start
        assert np.abs(q_back - q).max() < 1e-11


def test_roll_turns_back_at_its_limit_to_the_copy_inside(psm_description):
    arm = psm_description.record
    q, T, q_back = np.array([0.3, -0.2, 0.12, 4.6, 0.4, -0.5, 0.2, 0.0]), np.zeros((4, 4)), np.zeros(8)
    chain.forward(arm, q, T)
    assert psm.inverse(arm, T, q, q_back) == IkStatus.SOLVED
    assert abs(q_back[3] - (4.6 - 2.0 * math.pi)) < 1e-12


@pytest.mark.parametrize("axis", range(6))
@pytest.mark.parametrize("end", ["position_min", "position_max"])
def test_limits_are_inside_and_what_is_beyond_is_refused(psm_description, axis, end):
    arm = psm_description.record
    q, T, q_back = np.array([0.3, -0.2, 0.12, 0.7, 0.4, -0.5, 0.2, 0.0]), np.zeros((4, 4)), np.zeros(8)
    limit = arm[0][end][axis]
    q[axis] = limit
    chain.forward(arm, q, T)
    assert psm.inverse(arm, T, q, q_back) == IkStatus.SOLVED
    assert within_limits(arm, q_back[None])[0]
    assert np.abs(q_back - q).max() <= LIMIT_TOLERANCE
    if axis == 3:
        return  # beyond the roll's limits lies its copy one turn back
    q[axis] = limit + math.copysign(1e-6, limit if limit else -1.0)
    chain.forward(arm, q, T)
    # Short of the least insertion there is a branch with the wrist below the RCM, turned over: its angles are refused.
    expected = IkStatus.OUT_OF_REACH if (axis, end) == (2, "position_max") else IkStatus.JOINT_LIMIT
    assert psm.inverse(arm, T, q, q_back) == expected
    assert np.array_equal(q_back, q)


@pytest.mark.parametrize("distance", [0.0, 1e-16, 1e-12, 1e-9, 1e-7, 0.9e-5, 1.1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_wrist_at_the_remote_centre_is_too_shallow_never_wrong(psm_description, random_positions, distance, side):
    arm = psm_description.record
    Q = random_positions(arm, 500)
    Q[:, 2] = DEPTH_0 + side * distance
    Q_back, status, error = solve(arm, Q, Q)
    expected = IkStatus.SOLVED if distance > NEAR_POINT else IkStatus.TOO_SHALLOW
    assert set(status) == {expected}
    assert error[status == IkStatus.SOLVED].max(initial=0.0) < 1e-12
    assert np.array_equal(Q_back[status != IkStatus.SOLVED], Q[status != IkStatus.SOLVED])


@pytest.mark.parametrize("distance", [0.0, 1e-16, 1e-12, 1e-9, 1e-7, 0.9e-5, 1.1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_tip_on_the_wrist_yaw_axis_is_singular_never_wrong(psm_description, random_positions, distance, side):
    """The tip is on the line through the RCM along z6 where depth cos(wrist pitch) + 9.1 mm is 0."""
    arm = psm_description.record
    Q = random_positions(arm, 500)
    cosine = np.cos(Q[:, 4] + arm[0]["offset"][4] + math.pi / 2)
    Q[:, 2] = DEPTH_0 - (LENGTH + side * distance) / cosine
    Q = Q[Q[:, 2] > 0.0]
    assert len(Q) > 100
    Q_back, status, error = solve(arm, Q, Q)
    expected = IkStatus.SOLVED if distance > NEAR_POINT else IkStatus.SINGULAR
    assert set(status) == {expected}
    assert error[status == IkStatus.SOLVED].max(initial=0.0) < 1e-12
    assert np.array_equal(Q_back[status != IkStatus.SOLVED], Q[status != IkStatus.SOLVED])


@pytest.mark.parametrize("distance", [0.0, 1e-16, 1e-9, 1e-6, 0.9e-5, 1.1e-5, 1e-4])
def test_shaft_along_the_yaw_axis_is_singular_never_wrong(psm_description, random_positions, distance):
    """Outside the PSM's limits; an arm with wider ones meets it."""
    arm = psm_description.record
    arm[0]["position_min"][1], arm[0]["position_max"][1] = -3.0, 3.0
    Q = random_positions(arm, 500)
    Q[:, 1] = -arm[0]["offset"][1] + distance  # s2 = sin(distance)
    Q[:, 2] = np.maximum(Q[:, 2], 0.03)
    Q_back, status, error = solve(arm, Q, Q)
    expected = IkStatus.SOLVED if distance > NEAR_PARALLEL else IkStatus.SINGULAR
    assert set(status) == {expected}
    assert error[status == IkStatus.SOLVED].max(initial=0.0) < 1e-12
    assert np.array_equal(Q_back[status != IkStatus.SOLVED], Q[status != IkStatus.SOLVED])


@pytest.mark.parametrize("scale", [2.0, 10.0, 1e10, 1e200, 1e308])
def test_far_away_is_out_of_reach(psm_description, scale):
    arm = psm_description.record
    q, T, q_back = np.array([0.3, -0.2, 0.2, 0.7, 0.4, -0.5, 0.2, 0.0]), np.zeros((4, 4)), np.zeros(8)
    chain.forward(arm, q, T)
    T[:3, 3] *= scale
    assert psm.inverse(arm, T, q, q_back) == IkStatus.OUT_OF_REACH
    assert np.array_equal(q_back, q)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("entry", range(16))
def test_one_wrong_entry_of_the_pose_is_refused(psm_description, entry, value):
    arm = psm_description.record
    q, T, q_back = np.array([0.3, -0.2, 0.2, 0.7, 0.4, -0.5, 0.2, 0.0]), np.zeros((4, 4)), np.zeros(8)
    chain.forward(arm, q, T)
    T.flat[entry] = value
    expected = IkStatus.NOT_A_POSE
    if entry in (3, 7, 11) and value == 1e300:
        expected = IkStatus.OUT_OF_REACH
    assert psm.inverse(arm, T, q, q_back) == expected
    assert np.array_equal(q_back, q)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("entry", range(8))
def test_start_that_is_not_finite_is_refused(psm_description, entry, value):
    arm = psm_description.record
    q, T, q_back = np.array([0.3, -0.2, 0.2, 0.7, 0.4, -0.5, 0.2, 0.0]), np.zeros((4, 4)), np.zeros(8)
    chain.forward(arm, q, T)
    q[entry] = value
    assert psm.inverse(arm, T, q, q_back) == IkStatus.NOT_A_POSE


def test_reflection_is_refused(psm_description):
    arm, q_back, branches = psm_description.record, np.zeros(8), np.zeros((16, 8))
    T = np.diag([1.0, 1.0, -1.0, 1.0])
    T[:3, 3] = 0.0, 0.0, -0.1
    assert psm.inverse(arm, T, np.zeros(8), q_back) == IkStatus.NOT_A_POSE
    assert psm.branches(arm, T, branches) == 0


@settings(max_examples=300)
@given(st.data())
def test_round_trip_holds_wherever_hypothesis_looks(psm_description, data):
    arm = psm_description.record
    q = np.zeros(8)
    for i in range(7):
        q[i] = data.draw(st.floats(arm[0]["position_min"][i], arm[0]["position_max"][i]))
    T, T_back, q_back, q_plain = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros(8), np.zeros(8)
    chain.forward(arm, q, T)
    status = psm.inverse(arm, T, q, q_back)
    assert psm.inverse.py_func(arm.view(np.recarray), T, q, q_plain) == status
    assert np.abs(q_plain - q_back).max() < 1e-9
    if status != IkStatus.SOLVED:
        assert near_axis(arm, q[None])[0] < 2.0 * NEAR_POINT
        assert np.array_equal(q_back, q)
        return
    chain.forward(arm, q_back, T_back)
    on_limit = np.any((q_back == arm[0]["position_min"]) | (q_back == arm[0]["position_max"]))
    assert np.abs(T_back - T).max() < (2.0 * LIMIT_TOLERANCE if on_limit else 1e-12)


def test_plain_python_agrees_with_the_compiled_branches(psm_description, random_positions):
    arm = psm_description.record
    T, compiled, plain = np.zeros((4, 4)), np.zeros((16, 8)), np.zeros((16, 8))
    for q in random_positions(arm, 20):
        chain.forward(arm, q, T)
        assert psm.branches(arm, T, compiled) == psm.branches.py_func(arm.view(np.recarray), T, plain)
        assert np.abs(compiled - plain).max() < 1e-12


def test_kernels_plug_into_compiled_code_as_parts(psm_description):
    arm = psm_description.record
    q, T, q_back = np.array([0.3, -0.2, 0.2, 0.7, 0.4, -0.5, 0.2, 0.0]), np.zeros((4, 4)), np.zeros(8)
    assert there_and_back(chain.forward, psm.inverse, arm, q, T, q_back) == IkStatus.SOLVED
    assert np.abs(q_back - q).max() < 1e-12
