"""What every closed form must hold, on every arm and tool that ships with one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types

from kinematics import chain, ecm, frames, mtm, psm, raven
from kinematics.chain import ARMS, INVERSE, IkStatus
from kinematics.closed_form import BRANCHES, LIMIT_TOLERANCE, MAX_BRANCHES, NEAR_PARALLEL, NEAR_POINT
from kinematics.compiled import kernel
from kinematics.description import Family, load_arm, shipped_arms, shipped_tools
from kinematics.kernels import kernels_of
from kinematics.steps import step_ratio

f8, i8 = types.float64, types.int64
COUNT = 100_000
CLOSED = [
    f"{arm}:{tool}" if tool else arm
    for arm in shipped_arms()
    if load_arm(arm).file.family != "none"
    for tool in (shipped_tools(arm) or [None])
]
FAMILIES = ["psm_classic", "ecm_classic", "mtml", "mtmr", "raven_gold", "raven_green"]
DISTANCES = [0.0, 1e-16, 1e-12, 1e-9, 1e-7, 0.9e-5, 1.1e-5, 1e-4, 1e-3]


@kernel(i8(ARMS, f8[:, ::1], f8[:, :, ::1]))
def forward_all(arm, Q, T):
    for i in range(Q.shape[0]):
        chain.forward(arm, Q[i], T[i])
    return 0


@kernel(i8(types.FunctionType(INVERSE), ARMS, f8[:, :, ::1], f8[:, ::1], f8[:, ::1], i8[::1]))
def inverse_all(inverse, arm, T, Q_near, Q, status):
    for i in range(Q.shape[0]):
        status[i] = inverse(arm, T[i], Q_near[i], Q[i])
    return 0


@kernel(i8(types.FunctionType(BRANCHES), ARMS, f8[:, ::1], f8[:, :, ::1], f8[:, ::1], i8[::1]))
def check_branches(branches, arm, Q, T, errors, counts):
    """Note per configuration the worst pose error over all branches, and how far the nearest branch is from it."""
    all_branches = np.empty((MAX_BRANCHES, 8))
    pose = np.empty((4, 4))
    for n in range(Q.shape[0]):
        all_branches[0, 3] = Q[n, 3]  # the platform of an MTM
        counts[n] = branches(arm, T[n], all_branches)
        errors[n, 0], errors[n, 1] = 0.0, np.inf
        for k in range(counts[n]):
            chain.forward(arm, all_branches[k], pose)
            for i in range(4):
                for j in range(4):
                    errors[n, 0] = max(errors[n, 0], abs(pose[i, j] - T[n, i, j]))
            distance = 0.0
            for i in range(arm[0].n_joints):
                distance = max(distance, abs(all_branches[k, i] - Q[n, i]))
            errors[n, 1] = min(errors[n, 1], distance)
    return 0


def poses(arm, Q):
    T = np.zeros((len(Q), 4, 4))
    forward_all(arm, Q, T)
    return T


def solve(description, T, Q_near, arm=None):
    """Return joints, statuses, and the pose error of each answer by the general chain's forward kinematics."""
    arm = description.record if arm is None else arm
    Q, status = np.zeros_like(Q_near), np.zeros(len(Q_near), np.int64)
    inverse_all(kernels_of(description).inverse, arm, T, Q_near, Q, status)
    return Q, status, np.abs(poses(arm, Q) - T).max(axis=(1, 2))


def least_singular_values(description, Q):
    J = np.zeros((6, 8))
    values = []
    for q in Q:
        chain.jacobian(description.record, q, J)
        values.append(np.linalg.svd(J[:, : description.n_joints], compute_uv=False)[min(6, description.n_joints) - 1])
    return np.array(values)


def within_limits(arm, Q, n):
    return np.all((Q[:, :n] >= arm[0]["position_min"][:n]) & (Q[:, :n] <= arm[0]["position_max"][:n]), axis=1)


def widened(arm, axes):
    """Let some joints turn all round: singular places outside a shipped arm's limits come inside."""
    arm[0]["position_min"][axes], arm[0]["position_max"][axes] = -3.2, 3.2
    return arm


def assert_never_wrong(arm, n, Q, Q_near, status, error, expected):
    """Only these statuses; what is solved is the pose and within the limits; what is not leaves the joints alone."""
    assert set(status) <= set(expected)
    solved = status == IkStatus.SOLVED
    assert error[solved].max(initial=0.0) < 1e-12
    assert within_limits(arm, Q[solved], n).all()
    assert np.array_equal(Q[~solved], Q_near[~solved])


@pytest.fixture(scope="module", params=CLOSED)
def closed(request):
    return load_arm(request.param)


@pytest.fixture(scope="module", params=FAMILIES)
def one_of_each(request):
    return load_arm(request.param)


def test_every_branch_reaches_the_pose_and_the_original_is_among_them(closed, random_positions):
    arm = closed.record
    Q = random_positions(arm, COUNT)
    errors, counts = np.zeros((COUNT, 2)), np.zeros(COUNT, np.int64)
    check_branches(kernels_of(closed).branches, arm, Q, poses(arm, Q), errors, counts)
    assert errors[:, 0].max() <= 1e-12
    # Near a singularity the original may be left out, and the last digits of its joints are not in the pose.
    lost = errors[:, 1] > 1e-11
    assert lost.mean() < 2e-3
    assert least_singular_values(closed, Q[lost]).max(initial=0.0) < 1e-2
    absent = errors[:, 1] > 1e-6
    assert absent.mean() < 1e-3
    assert least_singular_values(closed, Q[absent]).max(initial=0.0) < 2 * NEAR_POINT


def test_inverse_recovers_joints_and_pose_from_nearby(closed, random_positions):
    arm, n = closed.record, closed.n_joints
    Q = random_positions(arm, COUNT)
    noise = np.random.default_rng(2).normal(0.0, 1e-3, Q.shape)
    if closed.file.family == "mtm":
        noise[:, 3] = 0.0  # its platform is kept where it is
    Q_near = Q + noise
    Q_back, status, error = solve(closed, poses(arm, Q), Q_near)
    solved = status == IkStatus.SOLVED
    assert_never_wrong(arm, n, Q_back, Q_near, status, error, [0, IkStatus.SINGULAR, IkStatus.TOO_SHALLOW])
    assert solved.mean() > 0.999
    assert np.array_equal(Q_back[:, n:], Q_near[:, n:])  # the jaw is passed through
    # From 1 mm away another branch can be the nearest one only where two branches meet.
    other = solved & (np.abs(Q_back - Q)[:, :n].max(axis=1) > 1e-10)
    assert other.mean() < 0.02
    assert least_singular_values(closed, Q[other]).max(initial=0.0) < 2e-2


def test_inverse_solves_every_pose_whatever_it_starts_from(closed, random_positions):
    arm = closed.record
    Q, Q_near = random_positions(arm, COUNT), random_positions(arm, COUNT, seed=3)
    Q_back, status, error = solve(closed, poses(arm, Q), Q_near)
    singular = [IkStatus.SINGULAR, IkStatus.TOO_SHALLOW]
    assert_never_wrong(arm, closed.n_joints, Q_back, Q_near, status, error, [0, *singular])
    unsolved = status != IkStatus.SOLVED
    assert unsolved.mean() < 1e-3
    assert least_singular_values(closed, Q[unsolved]).max(initial=0.0) < 2 * NEAR_POINT


def test_inverse_takes_the_branch_nearest_to_where_it_starts(one_of_each, random_positions):
    """Against brute force: of all branches with all turns within the limits, the nearest one."""
    arm, kernels, n = one_of_each.record, kernels_of(one_of_each), one_of_each.n_joints
    revolute = np.flatnonzero(arm[0]["prismatic"][:n] == 0)
    if one_of_each.file.family != "mtm":  # whose platform would have to turn
        arm = widened(arm, revolute)
    several = 0
    Q, Q_near = random_positions(one_of_each.record, 1000), random_positions(arm, 1000, seed=4)
    if one_of_each.file.family == "mtm":
        Q_near[:, 3] = Q[:, 3]
    Q_back, status, _ = solve(one_of_each, poses(arm, Q), Q_near, arm)
    all_branches = np.zeros((MAX_BRANCHES, 8))
    for q, q_near, q_back, T, s in zip(Q, Q_near, Q_back, poses(arm, Q), status, strict=True):
        if s != IkStatus.SOLVED:
            continue
        all_branches[0, 3] = q[3]
        count = kernels.branches(arm, T, all_branches)
        inside = all_branches[:count][within_limits(arm, all_branches[:count], n)]
        several += len(inside) > 1
        distances = ((inside - q_near)[:, revolute] ** 2).sum(axis=1)
        assert ((q_back - q_near)[revolute] ** 2).sum() <= distances.min() + 1e-9
    assert several > (300 if one_of_each.file.family != "mtm" else 100)


def test_branches_are_all_different(one_of_each, random_positions):
    arm, kernels = one_of_each.record, kernels_of(one_of_each)
    all_branches = np.zeros((MAX_BRANCHES, 8))
    for q, T in zip(*(lambda Q: (Q, poses(arm, Q)))(random_positions(arm, 300)), strict=True):
        all_branches[0, 3] = q[3]
        count = kernels.branches(arm, T, all_branches)
        assert not np.any(all_branches[count:])
        found = all_branches[:count]
        distances = np.abs(found[:, None] - found[None]).max(axis=2) + np.eye(count)
        assert distances.min() > 1e-7


@pytest.mark.parametrize("end", ["position_min", "position_max"])
def test_limits_are_inside_and_nothing_beyond_them_is_ever_answered(one_of_each, random_positions, end):
    arm, n = one_of_each.record, one_of_each.n_joints
    for axis in range(n):
        Q = random_positions(arm, 100)
        Q[:, axis] = arm[0][end][axis]
        Q_back, status, error = solve(one_of_each, poses(arm, Q), Q)
        unsolved = status != IkStatus.SOLVED
        assert unsolved.sum() <= 1  # where the PSM's tip happens to be on its wrist's axis
        assert least_singular_values(one_of_each, Q[unsolved]).max(initial=0.0) < 2 * NEAR_POINT
        assert error[~unsolved].max() < 10 * LIMIT_TOLERANCE
        assert within_limits(arm, Q_back[~unsolved], n).all()
        Q[:, axis] += 1e-6 if end == "position_max" else -1e-6
        Q_back, status, error = solve(one_of_each, poses(arm, Q), Q)
        assert error[status == IkStatus.SOLVED].max(initial=0.0) < 10 * LIMIT_TOLERANCE  # a copy, or another branch
        assert within_limits(arm, Q_back[status == IkStatus.SOLVED], n).all()
        allowed = {IkStatus.SOLVED, IkStatus.JOINT_LIMIT, IkStatus.OUT_OF_REACH, *status[unsolved]}
        assert set(status) <= allowed
        assert np.array_equal(Q_back[status != IkStatus.SOLVED], Q[status != IkStatus.SOLVED])


def test_motion_of_every_joint_over_its_range_is_followed_without_a_jump(one_of_each):
    """One joint after the other at its velocity limit, the answer of each tick the start of the next."""
    arm, kernels, n = one_of_each.record, kernels_of(one_of_each), one_of_each.n_joints
    low, high = arm[0]["position_min"], arm[0]["position_max"]
    middle = 0.5 * (low + high) + 0.1 * (high - low)
    T, q_back = np.zeros((4, 4)), np.zeros(8)
    for axis in range(n):
        q = middle.copy()
        steps = int((high[axis] - low[axis]) / (0.9e-2 * arm[0]["velocity_max"][axis]))
        first = True
        for value in np.linspace(low[axis], high[axis], steps):
            q[axis] = value
            chain.forward(arm, q, T)
            before = q if first else q_back.copy()
            assert kernels.inverse(arm, T, before, q_back) == IkStatus.SOLVED
            # Past the turn of a platform the branch is the same, the platform may be elsewhere.
            assert first or step_ratio(arm, before, q_back, 1e-2) <= 1.0
            first = False


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("entry", range(16))
def test_one_wrong_entry_of_the_pose_is_refused(one_of_each, entry, value):
    arm, kernels = one_of_each.record, kernels_of(one_of_each)
    q = 0.4 * arm[0]["position_min"] + 0.6 * arm[0]["position_max"]
    T, q_back = np.zeros((4, 4)), np.zeros(8)
    chain.forward(arm, q, T)
    T.flat[entry] = value
    far = entry in (3, 7, 11) and value == 1e300
    assert kernels.inverse(arm, T, q, q_back) == (IkStatus.OUT_OF_REACH if far else IkStatus.NOT_A_POSE)
    assert np.array_equal(q_back, q)
    all_branches = np.zeros((MAX_BRANCHES, 8))
    count = kernels.branches(arm, T, all_branches)
    assert count == 0 or far
    assert np.isfinite(all_branches[:count]).all() or far


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("entry", range(8))
def test_start_that_is_not_finite_is_refused(one_of_each, entry, value):
    arm, kernels = one_of_each.record, kernels_of(one_of_each)
    q = 0.4 * arm[0]["position_min"] + 0.6 * arm[0]["position_max"]
    T, q_back = np.zeros((4, 4)), np.zeros(8)
    chain.forward(arm, q, T)
    q[entry] = value
    assert kernels.inverse(arm, T, q, q_back) == IkStatus.NOT_A_POSE


def test_reflection_is_refused(one_of_each):
    arm, kernels = one_of_each.record, kernels_of(one_of_each)
    T, q_back, all_branches = np.zeros((4, 4)), np.zeros(8), np.zeros((MAX_BRANCHES, 8))
    q = 0.4 * arm[0]["position_min"] + 0.6 * arm[0]["position_max"]
    chain.forward(arm, q, T)
    T[:3, 2] *= -1.0
    assert kernels.inverse(arm, T, q, q_back) == IkStatus.NOT_A_POSE
    assert kernels.branches(arm, T, all_branches) == 0


FINITE = st.floats(-1.0, 1.0)


@settings(max_examples=200)
@given(name=st.sampled_from(FAMILIES), numbers=st.lists(FINITE, min_size=14, max_size=14))
def test_any_pose_gets_a_status_and_no_answer_is_wrong(name, numbers):
    """Poses from anywhere in and around the workspace, most of them not reachable."""
    description = load_arm(name)
    arm, kernels, n = description.record, kernels_of(description), description.n_joints
    T, T_back, q = np.eye(4), np.zeros((4, 4)), np.zeros(8)
    frames.rotation_from_vector(math.pi * np.array(numbers[:3]), T)
    T[:3, 3] = 0.5 * np.array(numbers[3:6])
    half = 0.5 * (arm[0]["position_max"] - arm[0]["position_min"])
    q_near = arm[0]["position_min"] + half + half * np.array([*numbers[6:13], 0.0])
    status = IkStatus(kernels.inverse(arm, T, q_near, q))
    if status != IkStatus.SOLVED:
        assert np.array_equal(q, q_near)
        return
    chain.forward(arm, q, T_back)
    assert np.abs(T_back - T).max() < 2e-9
    assert within_limits(arm, q[None], n)[0]


@pytest.mark.parametrize("module", [psm, ecm, mtm, raven])
def test_plain_python_agrees_with_the_compiled_form(module, random_positions):
    name = {psm: "psm_si", ecm: "ecm_si", mtm: "mtmr", raven: "raven_green"}[module]
    arm = load_arm(name).record
    plain_arm = arm.view(np.recarray)
    q, q_plain = np.zeros(8), np.zeros(8)
    compiled, plain = np.zeros((MAX_BRANCHES, 8)), np.zeros((MAX_BRANCHES, 8))
    Q, Q_near = random_positions(arm, 20), random_positions(arm, 20, seed=5)
    for T, q_near in zip(poses(arm, Q), Q_near, strict=True):
        compiled[0], plain[0] = q_near, q_near
        assert module.branches(arm, T, compiled) == module.branches.py_func(plain_arm, T, plain)
        assert np.abs(compiled - plain).max() < 1e-9
        assert module.inverse(arm, T, q_near, q) == module.inverse.py_func(plain_arm, T, q_near, q_plain)
        assert np.abs(q - q_plain).max() < 1e-9


# The ECM


def test_endoscope_on_the_remote_centre_is_no_singular_place(random_positions):
    description = load_arm("ecm_classic")
    arm = description.record
    arm[0]["position_min"][2] = -0.1
    for distance in [*DISTANCES, *(-d for d in DISTANCES)]:
        Q = random_positions(arm, 200)
        Q[:, 2] = 0.3822 - 0.3829 + distance
        Q_back, status, error = solve(description, poses(arm, Q), Q, arm)
        assert_never_wrong(arm, 4, Q_back, Q, status, error, [IkStatus.SOLVED])
        assert np.abs(Q_back - Q).max() < 1e-12


@pytest.mark.parametrize("distance", DISTANCES)
def test_shaft_of_an_endoscope_along_the_yaws_axis_is_singular_never_wrong(random_positions, distance):
    description = load_arm("ecm_classic")
    arm = widened(description.record, [1])
    Q = random_positions(arm, 500)
    Q[:, 1] = 1.5708 + distance  # s2 = sin(distance)
    Q_back, status, error = solve(description, poses(arm, Q), Q, arm)
    expected = IkStatus.SOLVED if distance > NEAR_PARALLEL else IkStatus.SINGULAR
    assert_never_wrong(arm, 4, Q_back, Q, status, error, [expected])


@pytest.mark.parametrize("tilt", [1e-12, 1e-10, 1e-7, 1e-3, 1.0])
@pytest.mark.parametrize("name", ["ecm_classic", "ecm_si:endoscope_si_hd_up"])
def test_orientation_that_an_endoscope_cannot_have_is_told_not_approached(random_positions, name, tilt):
    description = load_arm(name)
    arm, rng = description.record, np.random.default_rng(1)
    Q = random_positions(arm, 300)
    Q[:, 2] = rng.uniform(0.05, 0.2, 300)
    T, R = poses(arm, Q), np.zeros((3, 3))
    for i in range(len(T)):
        shaft = T[i, :3, 3] / np.linalg.norm(T[i, :3, 3])
        axis = np.cross(shaft, rng.normal(size=3))
        frames.rotation_from_vector(tilt * axis / np.linalg.norm(axis), R)
        T[i, :3, :3] = R @ T[i, :3, :3]
    Q_back, status, error = solve(description, T, Q)
    missed = np.linalg.norm(T[:, :3, 3], axis=1) * np.sin(tilt)
    clear = np.abs(missed - ecm.MEET_TOLERANCE) > 1e-3 * ecm.MEET_TOLERANCE
    expected = np.where(missed > ecm.MEET_TOLERANCE, IkStatus.ORIENTATION, IkStatus.SOLVED)
    assert np.array_equal(status[clear], expected[clear])
    assert error[status == IkStatus.SOLVED].max(initial=0.0) < 1.1 * ecm.MEET_TOLERANCE
    assert np.array_equal(Q_back[status != IkStatus.SOLVED], Q[status != IkStatus.SOLVED])
    met = np.zeros((4, 4))
    for i in range(len(T)):
        assert ecm.nearest_pose(arm, T[i], met) == 0
        assert np.array_equal(met[:3, 3], T[i, :3, 3])
        # The shortest rotation: what the tilt turned is turned back, and the roll stays.
        if tilt < 1.0:
            assert np.abs(met - poses(arm, Q[i : i + 1])[0]).max() < 1e-12
        q_met = np.zeros(8)
        assert kernels_of(description).inverse(arm, met, Q[i], q_met) == IkStatus.SOLVED
        assert np.abs(poses(arm, q_met[None])[0] - met).max() < 1e-12


def test_nearest_pose_says_why_there_is_none():
    arm = load_arm("ecm_classic").record
    T, met = np.eye(4), np.zeros((4, 4))
    assert ecm.nearest_pose(arm, T, met) == IkStatus.TOO_SHALLOW
    T[2, 3] = -1.0
    assert ecm.nearest_pose(arm, T, met) == IkStatus.OUT_OF_REACH
    T[:3, 3] = 0.0, 0.0, 0.1  # z points to the tip as it is: nothing to turn
    assert ecm.nearest_pose(arm, T, met) == 0
    assert np.array_equal(met, T)
    T[2, 3] = -0.1  # and now away from it
    assert ecm.nearest_pose(arm, T, met) == IkStatus.SINGULAR
    assert np.array_equal(met, T)
    T[0, 0] = 2.0
    assert ecm.nearest_pose(arm, T, met) == IkStatus.NOT_A_POSE
    assert ecm.nearest_pose.py_func(arm.view(np.recarray), T, met) == IkStatus.NOT_A_POSE


# The MTM


def test_platform_stays_where_it_is_while_the_wrist_can_do_without(random_positions):
    description = load_arm("mtml")
    arm = description.record
    Q, Q_near = random_positions(arm, 20_000), random_positions(arm, 20_000, seed=6)
    Q_back, status, _ = solve(description, poses(arm, Q), Q_near)
    assert (status == IkStatus.SOLVED).all()
    moved = Q_back[:, 3] != Q_near[:, 3]
    assert 0.1 < moved.mean() < 0.9
    stayed_put, _ = with_platform(arm, Q, Q_near[:, 3])
    assert not np.any(stayed_put & moved)


def with_platform(arm, Q, platforms):
    """Return where a platform's position lets the wrist be within its limits, and the branches at the last one."""
    T, all_branches = poses(arm, Q), np.zeros((MAX_BRANCHES, 8))
    possible = np.zeros(len(Q), bool)
    for i, platform in enumerate(platforms):
        all_branches[0, 3] = platform
        count = mtm.branches(arm, T[i], all_branches)
        possible[i] = within_limits(arm, all_branches[:count], 7).any()
    return possible, all_branches


def test_platform_turns_by_as_little_as_it_must(random_positions):
    """Against a search: no platform position nearer to the start, on a grid of a milliradian, would have done."""
    description = load_arm("mtmr")
    arm = description.record
    Q, Q_near = random_positions(arm, 400), random_positions(arm, 400, seed=7)
    Q_back, _, _ = solve(description, poses(arm, Q), Q_near)
    searched = 0
    for q, q_near, q_back in zip(Q, Q_near, Q_back, strict=True):
        turn = q_back[3] - q_near[3]
        if turn == 0.0 or searched == 40:
            continue
        searched += 1
        grid = q_near[3] + np.arange(0.0, abs(turn) - 2e-3, 1e-3)
        grid = np.r_[grid, 2.0 * q_near[3] - grid]
        grid = grid[(grid >= arm[0]["position_min"][3]) & (grid <= arm[0]["position_max"][3])]
        assert not with_platform(arm, np.tile(q, (len(grid), 1)), grid)[0].any()
    assert searched == 40


@pytest.mark.parametrize("distance", DISTANCES)
def test_wrist_of_a_master_over_its_yaws_axis_is_singular_never_wrong(random_positions, distance):
    description = load_arm("mtml")
    arm = widened(description.record, [0, 1, 2])
    Q = random_positions(arm, 500)
    theta_3 = Q[:, 2] + arm[0]["offset"][2]
    along = 0.2794 + 0.3645 * np.cos(theta_3) - 0.1506 * np.sin(theta_3)
    across = 0.3645 * np.sin(theta_3) + 0.1506 * np.cos(theta_3)
    reach = np.hypot(along, across)
    theta_2 = np.arccos(np.clip(distance / reach, -1.0, 1.0)) - np.arctan2(across, along)
    Q[:, 1] = (theta_2 - arm[0]["offset"][1] + np.pi) % (2 * np.pi) - np.pi
    Q_back, status, error = solve(description, poses(arm, Q), Q, arm)
    expected = IkStatus.SOLVED if distance > NEAR_POINT else IkStatus.SINGULAR
    assert_never_wrong(arm, 7, Q_back, Q, status, error, [expected])


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("distance", DISTANCES)
def test_stretched_or_folded_elbow_of_a_master_is_singular_never_wrong(random_positions, folded, distance):
    description = load_arm("mtml")
    arm = widened(description.record, [0, 1, 2])
    Q = random_positions(arm, 500)
    Q[:, 2] = -math.atan2(0.1506, 0.3645) - arm[0]["offset"][2] + distance + (math.pi if folded else 0.0)
    Q_back, status, error = solve(description, poses(arm, Q), Q, arm)
    # At the limit of its reach the last digit decides whether a point is inside.
    expected = [IkStatus.SINGULAR, IkStatus.OUT_OF_REACH] if distance < NEAR_PARALLEL else [IkStatus.SOLVED]
    assert_never_wrong(arm, 7, Q_back, Q, status, error, expected)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("distance", DISTANCES)
def test_straight_wrist_of_a_master_is_singular_or_left_by_the_platform(random_positions, turned, distance):
    """Where roll and pitch axes are in line, only another platform position gives one answer, or there is none."""
    description = load_arm("mtml")
    arm = widened(description.record, [4, 5])
    Q = random_positions(arm, 500)
    Q[:, 5] = -arm[0]["offset"][5] + distance - (math.pi if turned else 0.0)
    Q_back, status, error = solve(description, poses(arm, Q), Q, arm)
    singular = distance < NEAR_PARALLEL
    assert_never_wrong(arm, 7, Q_back, Q, status, error, [IkStatus.SOLVED, *([IkStatus.SINGULAR] if singular else [])])
    sine = np.abs(np.sin(Q_back[:, 5] + arm[0]["offset"][5]))
    assert sine[status == IkStatus.SOLVED].min(initial=1.0) >= 0.99 * NEAR_PARALLEL


# The Raven II


@pytest.mark.parametrize("name", ["raven_gold", "raven_green:raven_large_needle"])
@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_wrist_of_a_raven_at_the_remote_centre_is_too_shallow_never_wrong(random_positions, name, distance, side):
    description = load_arm(name)
    arm = description.record
    Q = random_positions(arm, 500)
    Q[:, 2] = -arm[0]["d"][3] + side * distance
    Q_back, status, error = solve(description, poses(arm, Q), Q)
    expected = IkStatus.SOLVED if distance > NEAR_POINT else IkStatus.TOO_SHALLOW
    solved = [IkStatus.SOLVED] if expected != IkStatus.SOLVED else []  # the other side of the wrist may do
    assert_never_wrong(arm, 6, Q_back, Q, status, error, [expected, *solved])
    assert (status == expected).mean() > 0.9


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_tip_of_a_raven_on_the_grasps_axis_is_singular_never_wrong(random_positions, distance, side):
    description = load_arm("raven_gold")
    arm = description.record
    Q = random_positions(arm, 2000)
    sine = np.sin(Q[:, 4] + arm[0]["offset"][4])  # L s5 + a = 0
    Q[:, 2] = -arm[0]["d"][3] - (arm[0]["a"][5] + side * distance) / sine
    Q = Q[within_limits(arm, Q, 6)]
    assert len(Q) > 500
    Q_back, status, error = solve(description, poses(arm, Q), Q)
    expected = IkStatus.SOLVED if distance > NEAR_POINT else IkStatus.SINGULAR
    assert_never_wrong(arm, 6, Q_back, Q, status, error, [expected])


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("distance", DISTANCES)
def test_stretched_or_folded_elbow_of_a_raven_is_singular_never_wrong(random_positions, folded, distance):
    description = load_arm("raven_green")
    arm = widened(description.record, [0, 1])
    Q = random_positions(arm, 500)
    Q = Q[np.abs(Q[:, 2] + arm[0]["d"][3]) > 1e-3]
    Q[:, 1] = distance + (math.pi if folded else 0.0)
    Q_back, status, error = solve(description, poses(arm, Q), Q, arm)
    near = distance < 1.05 * NEAR_PARALLEL
    expected = [IkStatus.SINGULAR, IkStatus.SOLVED] if near else [IkStatus.SOLVED]
    assert_never_wrong(arm, 6, Q_back, Q, status, error, expected)
    assert not near or (status == IkStatus.SINGULAR).mean() > 0.5


def test_families_of_the_shipped_arms_are_all_tested():
    assert {Family[load_arm(name).file.family.upper()] for name in FAMILIES} == set(Family) - {Family.NONE}
