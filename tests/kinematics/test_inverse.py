import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types

from kinematics import chain
from kinematics.bound_inverse import inverse
from kinematics.chain import ARMS, FORWARD, FORWARD_JACOBIAN, IkStatus
from kinematics.cold_inverse import InverseKinematics, PoseError, _random, solve
from kinematics.compiled import kernel
from kinematics.damped_least_squares import factor, gram, pose_error, substitute
from kinematics.frames import rotation_from_vector
from kinematics.inverse import FORWARD_JACOBIAN_PART, FORWARD_PART, TOLERANCE, IkTask, track
from kinematics.kernels import bound_record
from kinematics.parts import part_address
from tests.kinematics.serial_arms import EIGHT, FOUR, PANDA, PANDA_FLANGE, SEVEN, SIX, write_arm

f8, i8 = types.float64, types.int64
PERIOD = 1e-3


@kernel(types.void(ARMS, f8[:, ::1], f8[:, :, ::1]))
def forward_all(arm, Q, T):
    for i in range(Q.shape[0]):
        chain.forward(arm, Q[i], T[i])


@kernel(types.void(FORWARD_PART, FORWARD_JACOBIAN_PART, ARMS, i8, f8, f8, f8[:, :, ::1], f8[::1], f8[:, ::1], i8[::1]))
def track_all(forward, forward_jacobian, arm, task, period, centering, T, q, Q, status):
    for i in range(T.shape[0]):
        status[i] = track(forward, forward_jacobian, arm, task, period, centering, T[i], q, q)
        for k in range(8):
            Q[i, k] = q[k]


class Motion(NamedTuple):
    """What came of a path."""

    Q: np.ndarray
    status: np.ndarray
    error: np.ndarray
    """Of the position or the angle, whichever is larger, (N,)."""
    ratio: float
    """The largest joint step as a part of velocity_max * period."""
    inside: bool
    """Whether all stayed within their limits."""


def poses(description, Q):
    Q = np.ascontiguousarray(Q, dtype=float)
    T = np.zeros((len(Q), 4, 4))
    forward_all(description.record, Q, T)
    return T


def errors(A, B, task=IkTask.POSE):
    position = np.linalg.norm(A[:, :3, 3] - B[:, :3, 3], axis=1)
    angle = np.linalg.norm(A[:, :3, :3] - B[:, :3, :3], axis=(1, 2)) / math.sqrt(2.0)
    return position if task == IkTask.POSITION else np.maximum(position, angle)


def is_inside(description, Q):
    arm, n = description.record[0], description.n_joints
    return bool(np.all((Q[:, :n] >= arm["position_min"][:n]) & (Q[:, :n] <= arm["position_max"][:n])))


def random_joints(description, count, seed=1, margin=0.0):
    arm, n = description.record[0], description.n_joints
    low, high = arm["position_min"][:n], arm["position_max"][:n]
    Q = np.zeros((count, 8))
    u = np.random.default_rng(seed).uniform(margin, 1.0 - margin, (count, n))
    Q[:, :n] = low + u * (high - low)
    return Q


def follow(description, q_start, T, *, task=IkTask.POSE, centering=0.0, period=PERIOD):
    arm, n = description.record, description.n_joints
    T = np.ascontiguousarray(T)
    Q, status = np.zeros((len(T), 8)), np.zeros(len(T), np.int64)
    parts = chain.forward, chain.forward_jacobian
    track_all(*parts, arm, task, period, centering, T, np.array(q_start, float), Q, status)
    steps = np.abs(np.diff(np.vstack([q_start, Q]), axis=0))[:, :n]
    ratio = float((steps / (arm[0]["velocity_max"][:n] * period)).max())
    return Motion(Q, status, errors(poses(description, Q), T, task), ratio, is_inside(description, Q))


def eased(count):
    s = np.linspace(0.0, 1.0, count)
    return s * s * (3.0 - 2.0 * s)


def line(T_start, way, count):
    """Make poses along a straight line with the rotation kept."""
    T = np.tile(T_start, (count, 1, 1))
    T[:, :3, 3] += eased(count)[:, None] * np.asarray(way)
    return T


def there_and_back(T, rest=3000):
    return np.concatenate([T, T[::-1], np.repeat(T[:1], rest, axis=0)])


def wave(description, count, seed=0, amplitude=0.3):
    """Make a smooth motion of all joints about their middles, slower than their limits."""
    arm, n = description.record[0], description.n_joints
    rng = np.random.default_rng(seed)
    low, high = arm["position_min"][:n], arm["position_max"][:n]
    size = amplitude * 0.5 * (high - low)
    rate = np.minimum(0.4 * arm["velocity_max"][:n] / size, 2.0) * rng.uniform(0.5, 1.0, n)
    t = PERIOD * np.arange(count)[:, None]
    Q = np.zeros((count, 8))
    Q[:, :n] = 0.5 * (low + high) + size * np.sin(rate * t + rng.uniform(0.0, 6.0, n))
    return Q


@pytest.fixture(scope="module")
def arms(tmp_path_factory, psm_description):
    folder = tmp_path_factory.mktemp("arms")
    return {
        "panda": write_arm(folder / "panda.toml", PANDA, PANDA_FLANGE),
        "seven": write_arm(folder / "seven.toml", SEVEN, 0.126),
        "six": write_arm(folder / "six.toml", SIX, 0.1),
        "four": write_arm(folder / "four.toml", FOUR),
        "eight": write_arm(folder / "eight.toml", EIGHT, PANDA_FLANGE),
        "psm": psm_description,
    }


# The linear algebra


def test_pose_error_is_the_twist_that_leads_to_the_goal_at_every_angle():
    rng = np.random.default_rng(3)
    for angle in (0.0, 1e-9, 1e-6, 1e-3, 0.1, 0.31, 0.32, 1.0, 2.0, 3.0, 3.1, 3.13, math.pi - 1e-6, math.pi):
        for _ in range(20):
            v, w = rng.normal(size=3), rng.normal(size=3)
            v *= angle / np.linalg.norm(v)
            A, turn, B = np.eye(4), np.eye(4), np.eye(4)
            rotation_from_vector(w, A)
            rotation_from_vector(v, turn)
            A[:3, 3], B[:3, 3] = rng.normal(size=3), rng.normal(size=3)
            B[:3, :3] = turn[:3, :3] @ A[:3, :3]
            e = np.array(pose_error(B, A))
            assert np.abs(e[:3] - (B[:3, 3] - A[:3, 3])).max() < 1e-15
            wrong = np.abs(e[3:] - v).max()
            if angle > 3.14159:  # the axis and its opposite are equally right
                wrong = min(wrong, np.abs(e[3:] + v).max())
            assert wrong < 1e-6 * max(angle, 1e-9)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(4, 8))
def test_factor_solves_the_damped_normal_equations(seed, n_joints):
    rng = np.random.default_rng(seed)
    J = np.zeros((6, 8))
    J[:, :n_joints] = rng.normal(size=(6, n_joints))
    step, e = rng.normal(size=8), rng.normal(size=6)
    A, rest = gram(J, 1e-2, step, tuple(e))
    y = substitute(factor(A), rest)
    expected = np.linalg.solve(J @ J.T + 1e-2 * np.eye(6), e - J @ step)
    assert np.abs(np.array(y) - expected).max() < 1e-9 * max(1.0, np.abs(expected).max())


# Cold


@pytest.mark.parametrize("name", ["panda", "seven", "six", "eight", "psm"])
def test_cold_search_solves_every_reachable_pose_inside_the_limits(arms, name):
    description = arms[name]
    T = poses(description, random_joints(description, 5000 if name == "panda" else 1000))
    found = InverseKinematics(description).solve_all(T)
    assert (found.status == IkStatus.SOLVED).all()
    assert errors(poses(description, found.q), T).max() < 1e-6
    assert is_inside(description, found.q)
    assert (found.q[:, description.n_joints :] == 0.0).all()


def test_cold_search_of_positions_serves_arms_with_four_joints(arms):
    description = arms["four"]
    T = poses(description, random_joints(description, 1000))
    found = InverseKinematics(description, task=IkTask.POSITION).solve_all(T)
    assert (found.status == IkStatus.SOLVED).all()
    assert errors(poses(description, found.q), T, IkTask.POSITION).max() < 1e-6
    assert is_inside(description, found.q)
    # Poses that the arm can reach are solved as poses too, though most poses are not such.
    found = InverseKinematics(description).solve_all(T)
    assert (found.status == IkStatus.SOLVED).all()
    assert errors(poses(description, found.q), T).max() < 1e-6


@pytest.mark.parametrize("rows", [PANDA[:1], PANDA[:2], SIX[:3], SIX[:5], EIGHT[:1]], ids=["1", "2", "3", "5", "rail"])
@pytest.mark.parametrize("task", list(IkTask))
def test_short_chains_are_solved_too(tmp_path, rows, task):
    description = write_arm(tmp_path / "arm.toml", rows, 0.3)
    T = poses(description, random_joints(description, 100))
    found = InverseKinematics(description, task=task).solve_all(T)
    assert (found.status == IkStatus.SOLVED).all()
    assert errors(poses(description, found.q), T, task).max() < 1e-6


def test_cold_search_gives_the_same_bits_for_the_same_seed(arms):
    description = arms["panda"]
    T = poses(description, random_joints(description, 300, seed=5))
    first, second = InverseKinematics(description), InverseKinematics(description)
    A, B = first.solve_all(T, seed=7), second.solve_all(T, seed=7)
    assert np.array_equal(A.q, B.q)
    assert np.array_equal(A.iterations, B.iterations)
    for i in range(20):
        one = first.solve(T[i], seed=7)
        assert np.array_equal(one.q, A.q[i])
        assert (one.status, one.iterations, one.restarts) == (A.status[i], A.iterations[i], A.restarts[i])


def test_a_goal_out_of_reach_takes_every_try_and_ends_inside_the_limits(arms):
    description = arms["panda"]
    T = np.eye(4)
    T[0, 3] = 3.0
    for tries in (1, 220):  # within the table, and past it
        result = solve(description, T, seed=1, tries=tries)
        assert result.status == IkStatus.NOT_CONVERGED
        assert result.restarts == tries - 1
        assert is_inside(description, result.q[None])


def test_random_starts_are_those_of_splitmix64():
    # The first numbers of the algorithm's authors' code for the seed 1234567, and for 0.
    state, numbers = np.uint64(1234567), []
    for _ in range(3):
        state, bits = _random(state)
        numbers.append(int(bits))
    assert numbers == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert int(_random(np.uint64(0))[1]) == 0xE220A8397B1DCDAF


def test_cold_search_beginning_near_the_answer_stays_near_it(arms):
    description = arms["panda"]
    Q = random_joints(description, 200, seed=6, margin=0.1)
    T = poses(description, Q)
    for q, pose in zip(Q, T, strict=True):
        result = solve(description, pose, q_near=q[:7] + 1e-3)
        assert result.status == IkStatus.SOLVED
        assert result.restarts == 0
        assert np.abs(result.q - q).max() < 0.05


def test_cold_search_refuses_what_is_no_pose_and_says_why(arms):
    description = arms["panda"]
    for T in (np.full((4, 4), np.nan), np.diag([1.0, 1.0, -1.0, 1.0]), np.zeros((4, 4))):
        assert solve(description, T).status == IkStatus.NOT_A_POSE
    with pytest.raises(PoseError, match=r"T has the shape \(3, 3\): give a pose"):
        solve(description, np.eye(3))
    with pytest.raises(PoseError, match="T is not an array of numbers"):
        solve(description, "home")
    with pytest.raises(PoseError, match=r"q_near has the shape \(6,\)"):
        solve(description, np.eye(4), q_near=np.zeros(6))
    with pytest.raises(PoseError, match=r"q_near = .* is not finite"):
        solve(description, np.eye(4), q_near=np.full(7, np.nan))
    with pytest.raises(PoseError, match="tries = 0: allowed is 1 or more"):
        solve(description, np.eye(4), tries=0)
    with pytest.raises(PoseError, match="seed = -1: allowed"):
        solve(description, np.eye(4), seed=-1)


def test_cold_search_takes_any_array_like_pose(arms):
    description = arms["panda"]
    q = random_joints(description, 1)
    T = poses(description, q)[0]
    plain = solve(description, T)
    assert np.array_equal(solve(description, T.tolist()).q, plain.q)
    assert np.array_equal(solve(description, np.asfortranarray(T)).q, plain.q)


def test_half_a_turn_away_is_not_taken_for_solved(arms):
    description = arms["panda"]
    Q = random_joints(description, 200, seed=8, margin=0.1)
    T = poses(description, Q)
    T[:, :3, :2] *= -1.0  # half a turn about the tip's z: the skew part of the error is zero
    solver = InverseKinematics(description)
    for q, pose in zip(Q, T, strict=True):
        result = solver.solve(pose, q_near=q)
        if result.status == IkStatus.SOLVED:
            assert errors(poses(description, [result.q]), pose[None])[0] < 1e-6


def test_parts_by_address_are_refused_when_their_signature_is_another():
    assert part_address(chain.forward, FORWARD).shape == (3,)
    with pytest.raises(TypeError, match="forward is compiled for other arguments"):
        part_address(chain.forward, FORWARD_JACOBIAN)


# Warm


@pytest.mark.parametrize("name", ["panda", "seven", "six", "eight", "psm"])
@pytest.mark.parametrize("centering", [0.0, 0.5])
def test_track_follows_a_smooth_motion(arms, name, centering):
    description = arms[name]
    Q = wave(description, 4000)
    if name == "seven":  # whose middle is singular
        Q[:, 3] -= 1.0
        Q[:, 5] += 0.9
    if name == "psm":
        Q[:, 2] += 0.05
    motion = follow(description, Q[0], poses(description, Q), centering=centering)
    assert (motion.status == IkStatus.SOLVED).all()
    assert motion.error.max() < 1e-6
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside


def test_track_follows_positions_with_four_joints(arms):
    description = arms["four"]
    Q = wave(description, 4000)
    motion = follow(description, Q[0], poses(description, Q), task=IkTask.POSITION, centering=0.5)
    assert (motion.status == IkStatus.SOLVED).all()
    assert motion.error.max() < 1e-6
    assert motion.ratio <= 1.0 + 1e-9


def test_track_is_deterministic(arms):
    description = arms["panda"]
    Q = wave(description, 500)
    T = poses(description, Q)
    assert np.array_equal(follow(description, Q[0], T).Q, follow(description, Q[0], T).Q)


STARTS = {
    "seven": [0.1, 0.7, 0.2, -1.2, 0.1, 0.9, 0.3, 0.0],
    "six": [0.1, -0.5, 1.2, 0.2, 0.8, 0.1, 0.0, 0.0],
    "panda": [0.1, -0.3, 0.2, -2.0, 0.1, 1.8, 0.3, 0.0],
}


@pytest.mark.parametrize("centering", [0.0, 0.5])
@pytest.mark.parametrize("name", ["seven", "six", "panda"])
def test_no_joint_steps_further_than_its_limit_through_a_straight_elbow(arms, name, centering):
    description, q = arms[name], np.array(STARTS[name])
    T_start = poses(description, [q])[0]
    shoulder = np.array([0.0, 0.0, description.record[0]["d"][0]])
    out = T_start[:3, 3] - shoulder
    # Out of reach by 0.8 m along the line from the shoulder, and back.
    motion = follow(description, q, there_and_back(line(T_start, out / np.linalg.norm(out), 4000)), centering=centering)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    solved = motion.status == IkStatus.SOLVED
    assert motion.error[solved].max() < 1e-6
    assert 0.05 < solved.mean() < 0.9  # it did get to where there is no answer
    assert (motion.status == IkStatus.OUT_OF_REACH).any()
    if name != "panda":  # whose elbow, once beyond straight, is at its limit on the way back
        assert solved[-1]


@pytest.mark.parametrize("name", ["seven", "six"])
@pytest.mark.parametrize("past", [0.0, 1e-3, 1e-2])
def test_no_joint_steps_further_than_its_limit_through_a_straight_wrist(arms, name, past):
    description, q = arms[name], np.array(STARTS[name])
    wrist = description.n_joints - 2
    Q = np.tile(q, (3000, 1))
    Q[:, wrist] = q[wrist] * (1.0 - 2.0 * eased(3000))
    T = poses(description, Q)
    T[:, 1, 3] += past * eased(3000)  # so that it passes beside the singularity
    motion = follow(description, q, np.concatenate([T, T[::-1], np.repeat(T[:1], 1000, axis=0)]))
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert motion.error[motion.status == IkStatus.SOLVED].max() < 1e-6
    assert motion.status[-1] == IkStatus.SOLVED
    if name == "six" and past > 0.0:  # the joints before and after the wrist would have to turn round at once
        assert (motion.status == IkStatus.STEP_LIMITED).any()
        assert motion.ratio > 0.99
        assert motion.error.max() < 0.02


@pytest.mark.parametrize("name", ["seven", "six", "panda"])
def test_no_joint_steps_further_than_its_limit_across_the_base_axis(arms, name):
    description, q = arms[name], np.array(STARTS[name])
    T_start = poses(description, [q])[0]
    way = np.array([-2.0 * T_start[0, 3], -2.0 * T_start[1, 3], 0.0])
    motion = follow(description, q, there_and_back(line(T_start, way, 4000)))
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert motion.error[motion.status == IkStatus.SOLVED].max() < 1e-6
    assert motion.status[-1] == IkStatus.SOLVED


def test_track_leaves_a_straight_elbow_that_it_starts_from(arms):
    description, q = arms["six"], np.array([0.1, -0.5, 0.0, 0.2, 0.8, 0.1, 0.0, 0.0])
    T_start = poses(description, [q])[0]
    way = 0.5 * (np.array([0.0, 0.0, 0.3]) - T_start[:3, 3])
    motion = follow(description, q, np.concatenate([line(T_start, way, 3000), line(T_start, way, 3000)[-1:]]))
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.status[-1] == IkStatus.SOLVED
    assert motion.error[-1] < 1e-6


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["panda", "seven", "six", "psm"]))
def test_no_joint_steps_further_than_its_limit_whatever_is_asked(arms, seed, name):
    description = arms[name]
    goals = poses(description, random_joints(description, 6, seed=seed))
    start = random_joints(description, 1, seed=seed + 1)[0]
    motion = follow(description, start, np.repeat(goals, 50, axis=0), centering=0.5)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert (motion.error[motion.status == IkStatus.SOLVED] < 1e-6).all()


def test_track_goes_to_a_far_goal_at_the_joints_speed_and_arrives(arms):
    description = arms["seven"]
    Q = random_joints(description, 2, seed=11, margin=0.3)
    motion = follow(description, Q[0], np.repeat(poses(description, Q[1:]), 4000, axis=0))
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.status[0] == IkStatus.STEP_LIMITED
    assert motion.ratio > 0.999
    assert motion.status[-1] == IkStatus.SOLVED


def test_joints_outside_their_limits_come_back_and_go_no_further_out(arms):
    description = arms["panda"]
    high = description.record[0]["position_max"]
    q = np.array(STARTS["panda"])
    inner = poses(description, [q])[0]
    q[5] = high[5] + 0.05
    motion = follow(description, q, np.repeat(inner[None], 2000, axis=0))
    assert (motion.Q[:, 5] <= high[5] + 0.05).all()
    assert motion.status[-1] == IkStatus.SOLVED
    assert motion.Q[-1, 5] <= high[5]
    assert motion.ratio <= 1.0 + 1e-9


def test_track_without_a_period_has_only_the_joints_limits(arms):
    description = arms["panda"]
    Q = random_joints(description, 50, seed=12, margin=0.2)
    motion = follow(description, Q[0], poses(description, Q[:1]), period=math.inf)
    assert (motion.status == IkStatus.SOLVED).all()
    nearby = Q.copy()
    nearby[:, :7] += 0.02
    T = poses(description, nearby)
    for q, pose in zip(Q, T, strict=True):
        motion = follow(description, q, pose[None], period=math.inf)
        assert motion.status[0] == IkStatus.SOLVED


def test_inverse_with_the_closed_forms_signature_answers_near_the_joints_given(arms):
    for name in ("panda", "six"):  # those without a closed form
        description = arms[name]
        Q, q = random_joints(description, 100, seed=14, margin=0.2), np.zeros(8)
        for wanted, pose in zip(Q, poses(description, Q), strict=True):
            near = wanted.copy()
            near[: description.n_joints] += 1e-3
            assert inverse(bound_record(description), pose, near, q) == IkStatus.SOLVED
            assert errors(poses(description, [q]), pose[None])[0] < 1e-6
            assert np.abs(q - wanted).max() < 0.05


def test_null_space_goal_keeps_joints_further_from_their_limits(arms):
    description = arms["panda"]
    arm = description.record[0]
    low, high = arm["position_min"][:7], arm["position_max"][:7]
    t = np.arange(12_566) * PERIOD  # two turns of a circle
    worst, walls = [], []
    for q in random_joints(description, 10, seed=3, margin=0.15):
        path = np.repeat(poses(description, [q]), len(t), axis=0)
        path[:, 0, 3] += 0.03 * (np.cos(t) - 1.0)
        path[:, 1, 3] += 0.03 * np.sin(t)
        without, with_goal = follow(description, q, path), follow(description, q, path, centering=0.5)
        if not (without.status == IkStatus.SOLVED).all():
            continue  # the circle leaves what the arm can reach
        assert (with_goal.status == IkStatus.SOLVED).all()
        assert with_goal.error.max() < 1e-6
        assert with_goal.ratio <= 1.0 + 1e-9
        last_turn = [motion.Q[-6283:, :7] for motion in (without, with_goal)]
        u = [(Q - 0.5 * (low + high)) / (0.5 * (high - low)) for Q in last_turn]
        worst.append([np.abs(each).max() for each in u])
        walls.append([(0.5 / (1.0 - each**2)).sum(axis=1).mean() for each in u])
    worst, walls = np.array(worst), np.array(walls)
    assert len(worst) >= 6
    assert (walls[:, 1] < walls[:, 0]).all()  # what the goal is made of
    assert worst[:, 1].mean() < worst[:, 0].mean() - 0.03


def test_null_space_goal_moves_joints_and_not_the_tip_while_the_goal_stands_still(arms):
    description = arms["panda"]
    q = np.array([0.3, 0.5, 1.2, -2.2, 1.0, 2.0, 0.5, 0.0])
    T = np.repeat(poses(description, [q]), 30_000, axis=0)
    motion = follow(description, q, T, centering=1.0)
    assert motion.error.max() < 1e-6
    assert np.abs(motion.Q[-1] - q).max() > 0.1
    speed = np.abs(np.diff(motion.Q, axis=0)).max(axis=1)
    assert speed[-1] < 0.01 * speed[0]  # it comes to rest


def test_axes_past_the_joints_are_passed_through(arms):
    description = arms["psm"]
    Q = wave(description, 50)
    Q[:, 2] += 0.05
    Q[:, 6] = 0.4
    motion = follow(description, Q[0], poses(description, Q), centering=0.5)
    assert (motion.Q[:, 6] == 0.4).all()


@pytest.mark.parametrize("bad", ["pose", "joints"])
def test_track_refuses_what_is_no_pose_or_not_finite(arms, bad):
    description, q = arms["panda"], np.array(STARTS["panda"])
    T = poses(description, [q])
    if bad == "pose":
        T[0, 0, 0] = np.nan
    else:
        q[3] = np.inf
    Q, status = np.zeros((1, 8)), np.zeros(1, np.int64)
    parts = chain.forward, chain.forward_jacobian
    track_all(*parts, description.record, 0, PERIOD, 0.0, T, q.copy(), Q, status)
    assert status[0] == IkStatus.NOT_A_POSE
    assert np.array_equal(Q[0], q)


def test_tolerance_is_below_what_is_promised():
    assert TOLERANCE < 1e-6
