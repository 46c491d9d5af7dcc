import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import types

from kinematics import chain
from kinematics.chain import ARMS, IkStatus
from kinematics.cold_inverse import PoseError
from kinematics.compiled import kernel
from kinematics.frames import rotation_from_vector
from kinematics.inverse import FORWARD_JACOBIAN_PART, FORWARD_PART
from kinematics.remote_center import RemoteCenter, track_through
from kinematics.remote_center_velocity import velocity_through
from kinematics.shaft import project, shaft_distance
from tests.kinematics.serial_arms import PANDA, PANDA_FLANGE, SEVEN, write_arm

f8, i8 = types.float64, types.int64
PERIOD = 1e-3
INSTRUMENT = 0.35  # m
ALLOWED = 1e-4  # m: what the shaft may be off the trocar
DEPTH_MIN = 0.02
Z = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])


@kernel(
    types.void(
        FORWARD_PART,
        FORWARD_JACOBIAN_PART,
        ARMS,
        f8,
        f8,
        f8[::1],
        f8[:, ::1],
        f8,
        f8[:, :, ::1],
        f8[::1],
        f8[:, ::1],
        i8[::1],
    )
)
def track_all(forward, forward_jacobian, arm, period, centering, shaft, trocar, depth_min, T, q, Q, status):
    for i in range(T.shape[0]):
        status[i] = track_through(
            forward, forward_jacobian, arm, period, centering, shaft, trocar[i], depth_min, T[i], q, q
        )
        for k in range(8):
            Q[i, k] = q[k]


@kernel(
    types.void(
        FORWARD_JACOBIAN_PART,
        ARMS,
        f8,
        f8,
        f8[::1],
        f8[:, ::1],
        f8[:, ::1],
        f8,
        f8[:, ::1],
        f8[::1],
        f8[:, ::1],
        i8[::1],
    )
)
def integrate(forward_jacobian, arm, period, centering, shaft, trocar, trocar_velocity, depth_min, tip, q, Q, status):
    qd = np.zeros(8)
    for i in range(tip.shape[0]):
        status[i] = velocity_through(
            forward_jacobian,
            arm,
            period,
            centering,
            50.0,
            shaft,
            trocar[i],
            trocar_velocity[i],
            depth_min,
            tip[i],
            q,
            qd,
        )
        for k in range(8):
            q[k] += period * qd[k]
            Q[i, k] = q[k]


class Motion(NamedTuple):
    Q: np.ndarray
    T: np.ndarray
    status: np.ndarray
    distance: np.ndarray
    """Of the shaft from the trocar, (N,), m."""
    lag: np.ndarray
    """Of the tip from its goal, (N,), m."""
    depth: np.ndarray
    ratio: float
    inside: bool


def poses(description, Q):
    T = np.zeros((len(Q), 4, 4))
    for q, pose in zip(Q, T, strict=True):
        chain.forward(description.record, q, pose)
    return T


def motion_of(description, start, Q, status, trocar, goals, shaft):
    arm, n = description.record[0], description.n_joints
    T = poses(description, Q)
    steps = np.abs(np.diff(np.vstack([start, Q]), axis=0))[:, :n]
    return Motion(
        Q=Q,
        T=T,
        status=status,
        distance=np.array([shaft_distance(pose, shaft, point) for pose, point in zip(T, trocar, strict=True)]),
        lag=np.linalg.norm(T[:, :3, 3] - goals[:, :3, 3], axis=1),
        depth=np.linalg.norm(T[:, :3, 3] - trocar, axis=1),
        ratio=float((steps / (arm["velocity_max"][:n] * PERIOD)).max()),
        inside=bool(np.all((Q[:, :n] >= arm["position_min"][:n]) & (Q[:, :n] <= arm["position_max"][:n]))),
    )


def follow(description, start, T, trocar, *, centering=0.0, shaft=Z):
    T, trocar = np.ascontiguousarray(T), np.array(np.broadcast_to(trocar, (len(T), 3)), order="C")
    Q, status = np.zeros((len(T), 8)), np.zeros(len(T), np.int64)
    parts = chain.forward, chain.forward_jacobian
    arm = description.record
    track_all(*parts, arm, PERIOD, centering, shaft, trocar, DEPTH_MIN, T, np.array(start), Q, status)
    return motion_of(description, start, Q, status, trocar, T, shaft)


def eased(count):
    s = np.linspace(0.0, 1.0, count)
    return s * s * (3.0 - 2.0 * s)


def there_and_back(T, rest=1000):
    return np.concatenate([T, T[::-1], np.repeat(T[:1], rest, axis=0)])


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arms")
    return {
        "panda": write_arm(folder / "panda.toml", PANDA, PANDA_FLANGE + INSTRUMENT),
        "seven": write_arm(folder / "seven.toml", SEVEN, 0.126 + INSTRUMENT),
    }


STARTS = {
    "panda": np.array([0.0, -0.3, 0.0, -2.2, 0.0, 2.0, 0.8, 0.0]),
    "seven": np.array([0.1, 0.4, 0.1, -1.4, 0.1, 0.9, 0.3, 0.0]),
}


def at_start(arms, name):
    """Return the arm, its joints, the tip's pose and a trocar 0.15 m up the shaft."""
    description, q = arms[name], STARTS[name]
    T = poses(description, [q])[0]
    return description, q, T, T[:3, 3] - 0.15 * T[:3, 2]


def cone(T_start, trocar, t, half_angle):
    """Make a minute's motion: spirals over a cone about the start's shaft, going in and out."""
    angle = half_angle * (0.5 - 0.5 * np.cos(2.0 * np.pi * t / 30.0))
    turn = 2.0 * np.pi * t / 6.0
    across = np.cos(turn)[:, None] * T_start[:3, 0] + np.sin(turn)[:, None] * T_start[:3, 1]
    way = np.cos(angle)[:, None] * T_start[:3, 2] + np.sin(angle)[:, None] * across
    depth = 0.15 + 0.05 * np.sin(2.0 * np.pi * t / 10.0) * (t / 60.0)
    T = np.tile(T_start, (len(t), 1, 1))
    T[:, :3, 3] = trocar + depth[:, None] * way
    return T


# Geometry


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=100)
def test_projected_pose_keeps_the_tip_passes_the_trocar_and_turns_least(seed):
    rng = np.random.default_rng(seed)
    T, T_through, turn = np.eye(4), np.zeros((4, 4)), np.zeros((4, 4))
    rotation_from_vector(rng.normal(size=3), T)
    shaft = np.concatenate([0.01 * rng.normal(size=3), rng.normal(size=3)])
    shaft[3:] /= np.linalg.norm(shaft[3:])
    T[:3, 3] = rng.normal(size=3)
    trocar = T[:3, 3] - T[:3, :3] @ shaft[3:] * 0.2 + 0.1 * rng.normal(size=3)
    status = project(shaft, trocar, 0.01, T, T_through)
    if status != IkStatus.SOLVED:
        assert np.array_equal(T_through, T)
        return
    assert np.array_equal(T_through[:3, 3], T[:3, 3])
    assert np.abs(T_through[:3, :3].T @ T_through[:3, :3] - np.eye(3)).max() < 1e-14
    assert shaft_distance(T_through, shaft, trocar) < 1e-14
    # The trocar is behind the tip along the shaft.
    assert (T_through[:3, :3] @ shaft[3:]) @ (trocar - T[:3, 3]) < 0.01
    trace = np.trace(T_through[:3, :3].T @ T[:3, :3])
    axis = (trocar - T[:3, 3]) / np.linalg.norm(trocar - T[:3, 3])
    for angle in (-0.1, -1e-3, 1e-3, 0.1):  # any other roll is further from the wanted rotation
        rotation_from_vector(axis * angle, turn)
        assert np.trace((turn[:3, :3] @ T_through[:3, :3]).T @ T[:3, :3]) < trace


def test_projection_says_when_there_is_no_answer():
    T, T_through = np.eye(4), np.zeros((4, 4))
    assert project(Z, np.array([0.0, 0.0, -0.005]), 0.01, T, T_through) == IkStatus.TOO_SHALLOW
    assert project(Z, np.zeros(3), 0.0, T, T_through) == IkStatus.TOO_SHALLOW
    assert project(Z, np.array([0.0, 0.0, 0.1]), 0.01, T, T_through) == IkStatus.SINGULAR  # points out of the body
    assert project(Z, np.array([0.0, 0.0, -0.1]), 0.01, T, T_through) == IkStatus.SOLVED


def test_shaft_distance_is_that_of_a_point_from_a_line():
    T = np.eye(4)
    T[:3, 3] = 1.0, 2.0, 3.0
    assert shaft_distance(T, Z, np.array([1.0, 2.0, -7.0])) == 0.0
    assert shaft_distance(T, Z, np.array([1.003, 2.004, 0.0])) == pytest.approx(0.005, abs=1e-15)
    line = np.array([0.01, 0.0, 0.0, 0.0, 1.0, 0.0])
    assert shaft_distance(T, line, np.array([1.01, 9.0, 3.02])) == pytest.approx(0.02, abs=1e-15)


# Positions


@pytest.mark.parametrize("half_angle", [15.0, 30.0])
@pytest.mark.parametrize("centering", [0.0, 0.5])
@pytest.mark.parametrize("moving", [False, True])
def test_shaft_stays_in_the_trocar_over_a_minute_in_a_cone(arms, moving, centering, half_angle):
    description, q, T_start, point = at_start(arms, "panda")
    t = np.arange(60_000) * PERIOD
    T = cone(T_start, point, t, math.radians(half_angle))
    trocar = np.tile(point, (len(t), 1))
    if moving:  # as a breathing patient's: 10 mm every four seconds
        trocar[:, 0] += 0.005 * np.sin(0.5 * np.pi * t)
        trocar[:, 1] += 0.003 * np.sin(0.4 * np.pi * t)
        trocar[:, 2] += 0.004 * (1.0 - np.cos(0.5 * np.pi * t))
    motion = follow(description, q, T, trocar, centering=centering)
    assert (motion.status == IkStatus.SOLVED).all()
    assert motion.distance.max() < ALLOWED / 100.0
    assert motion.lag.max() < 1e-6
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    axes = (motion.T[:, :3, 3] - trocar) / motion.depth[:, None]
    covered = np.degrees(np.arccos(np.clip(axes @ T_start[:3, 2], -1.0, 1.0))).max()
    assert covered > half_angle - 2.5  # the tip does cover the cone


def test_shaft_that_misses_the_tips_origin_stays_in_the_trocar(arms):
    description, q, T_start, _ = at_start(arms, "panda")
    shaft = np.array([0.01, -0.005, 0.0, 0.1, 0.05, 1.0])
    shaft[3:] /= np.linalg.norm(shaft[3:])
    trocar = T_start[:3, :3] @ (shaft[:3] - 0.15 * shaft[3:]) + T_start[:3, 3]
    t = np.arange(6_000) * PERIOD
    motion = follow(description, q, cone(T_start, T_start[:3, 3] - 0.15 * T_start[:3, 2], t, 0.2), trocar, shaft=shaft)
    assert (motion.status == IkStatus.SOLVED).all()
    assert motion.distance.max() < 1e-6
    assert motion.lag.max() < 1e-6


@pytest.mark.parametrize("name", ["panda", "seven"])
@pytest.mark.parametrize("beside", [0.0, 1e-4, 5e-3, 3e-2])
def test_tip_is_not_drawn_through_the_trocar_and_no_joint_steps_too_far(arms, name, beside):
    description, q, T_start, trocar = at_start(arms, name)
    s = eased(4000)[:, None]
    T = np.tile(T_start, (4000, 1, 1))
    end = trocar - 0.1 * T_start[:3, 2]  # 0.1 m outside
    T[:, :3, 3] += s * (end - T_start[:3, 3]) + beside * np.sin(np.pi * s) * T_start[:3, 0]
    motion = follow(description, q, there_and_back(T), trocar)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert motion.distance.max() < 1e-6
    assert motion.depth.min() > DEPTH_MIN - 1e-6
    refused = (IkStatus.TOO_SHALLOW, IkStatus.STEP_LIMITED)
    assert np.isin(motion.status, refused).any()
    assert motion.lag[motion.status == IkStatus.SOLVED].max() < 1e-6
    assert motion.status[-1] == IkStatus.SOLVED
    assert motion.lag[-1] < 1e-6


@pytest.mark.parametrize("name", ["panda", "seven"])
def test_swinging_fast_at_a_small_depth_lags_and_keeps_the_trocar(arms, name):
    description, q, T_start, trocar = at_start(arms, name)
    swing = np.sin(10.0 * np.pi * eased(3000))[:, None]
    T = np.tile(T_start, (3000, 1, 1))
    T[:, :3, 3] = trocar + 0.025 * (np.cos(swing) * T_start[:3, 2] + np.sin(swing) * T_start[:3, 0])
    motion = follow(description, q, T, trocar)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert motion.distance.max() < 1e-6
    assert (motion.status == IkStatus.STEP_LIMITED).any()


@pytest.mark.parametrize("name", ["panda", "seven"])
@pytest.mark.parametrize("way", [(0.0, 0.0, 0.9), (0.5, 0.0, -0.05), (0.0, 0.5, -0.05)])
def test_no_joint_steps_too_far_where_the_arm_is_stretched_or_at_its_limits(arms, name, way):
    description, q, T_start, trocar = at_start(arms, name)
    T = np.tile(T_start, (4000, 1, 1))
    T[:, :3, 3] += eased(4000)[:, None] * (T_start[:3, :3] @ way)
    motion = follow(description, q, there_and_back(T, rest=4000), trocar)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert motion.distance.max() < 1e-6
    assert motion.lag[motion.status == IkStatus.SOLVED].max() < 1e-6
    assert motion.status[-1] == IkStatus.SOLVED  # it comes back


@pytest.mark.parametrize("name", ["panda", "seven"])
def test_rolling_past_the_last_joints_limit_stops_and_keeps_the_trocar(arms, name):
    description, q, T_start, trocar = at_start(arms, name)
    T, turn = np.tile(T_start, (6000, 1, 1)), np.zeros((4, 4))
    for pose, s in zip(T, eased(6000), strict=True):
        rotation_from_vector(np.array([0.0, 0.0, 4.0 * np.pi * s]), turn)
        pose[:3, :3] = T_start[:3, :3] @ turn[:3, :3]
    motion = follow(description, q, T, trocar)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert motion.distance.max() < 1e-6
    assert motion.lag.max() < 1e-3
    assert (motion.status != IkStatus.SOLVED).any()


def test_trocar_that_is_carried_off_too_fast_is_said_to_be_lost_and_found_again(arms):
    description, q, T_start, point = at_start(arms, "panda")
    way = np.concatenate([eased(40), np.ones(10), eased(40)[::-1], np.zeros(2000)])
    trocar = point + way[:, None] * 0.1 * T_start[:3, 0]  # 0.1 m in 40 ms
    motion = follow(description, q, np.tile(T_start, (len(trocar), 1, 1)), trocar)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    lost = motion.distance > ALLOWED
    assert lost.any()
    assert (motion.status[lost] != IkStatus.SOLVED).all()
    assert motion.status[-1] == IkStatus.SOLVED
    assert motion.distance[-1] < 1e-6


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["panda", "seven"]))
def test_whatever_is_asked_no_joint_steps_too_far_and_the_trocar_is_kept(arms, seed, name):
    description, q, T_start, trocar = at_start(arms, name)
    rng = np.random.default_rng(seed)
    goals = np.tile(T_start, (8, 1, 1))
    for goal in goals:
        turn = np.zeros((4, 4))
        rotation_from_vector(rng.normal(size=3), turn)
        goal[:3, :3] = turn[:3, :3] @ goal[:3, :3]
        goal[:3, 3] += 0.2 * rng.normal(size=3)
    motion = follow(description, q, np.repeat(goals, 60, axis=0), trocar, centering=0.5)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert motion.distance.max() < 1e-6
    assert motion.depth.min() > DEPTH_MIN - 1e-6


def test_tracking_through_a_trocar_gives_the_same_bits_again(arms):
    description, q, T_start, trocar = at_start(arms, "panda")
    T = cone(T_start, trocar, np.arange(500) * 10 * PERIOD, 0.3)
    first, second = follow(description, q, T, trocar), follow(description, q, T, trocar)
    assert np.array_equal(first.Q, second.Q)


def test_what_is_not_finite_leaves_the_joints_as_they_are(arms):
    description, q, T_start, trocar = at_start(arms, "panda")
    for bad in ("pose", "trocar"):
        T, point = T_start[None].copy(), trocar.copy()
        (T[0, 0] if bad == "pose" else point)[0] = np.nan
        motion = follow(description, q, T, point)
        assert motion.status[0] == IkStatus.NOT_A_POSE
        assert np.array_equal(motion.Q[0], q)


# Velocities


def drive(description, start, tip, trocar, trocar_velocity=None, *, centering=0.0, shaft=Z):
    trocar = np.array(np.broadcast_to(trocar, (len(tip), 3)), order="C")
    own = np.zeros_like(trocar) if trocar_velocity is None else trocar_velocity
    Q, status = np.zeros((len(tip), 8)), np.zeros(len(tip), np.int64)
    arm = description.record
    integrate(
        chain.forward_jacobian, arm, PERIOD, centering, shaft, trocar, own, DEPTH_MIN, tip, start.copy(), Q, status
    )
    goals = np.zeros((len(tip), 4, 4))
    goals[:, :3, 3] = poses(description, [start])[0, :3, 3] + PERIOD * np.cumsum(tip[:, :3], axis=0)
    return motion_of(description, start, Q, status, trocar, goals, shaft)


@pytest.mark.parametrize("centering", [0.0, 0.5])
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("offset", [False, True])
def test_driving_by_velocities_keeps_the_shaft_in_the_trocar(arms, moving, centering, offset):
    description, q, T_start, point = at_start(arms, "panda")
    shaft = Z
    if offset:
        shaft = np.array([0.01, -0.005, 0.0, 0.0, 0.0, 1.0])
        point = T_start[:3, :3] @ np.array([0.01, -0.005, -0.15]) + T_start[:3, 3]
    t = np.arange(20_000) * PERIOD
    tip = np.zeros((len(t), 4))
    tip[:, :3] = 0.03 * (
        np.sin(t)[:, None] * T_start[:3, 0]
        + np.cos(t)[:, None] * T_start[:3, 1]
        + 0.5 * np.cos(2 * t)[:, None] * T_start[:3, 2]
    )
    tip[:, 3] = 0.2 * np.cos(t)
    trocar, own = np.tile(point, (len(t), 1)), np.zeros((len(t), 3))
    if moving:
        trocar[:, 0] += 0.005 * np.sin(1.5 * t)
        own[:, 0] = 0.0075 * np.cos(1.5 * t)
    motion = drive(description, q, tip, trocar, own, centering=centering, shaft=shaft)
    assert (motion.status == IkStatus.SOLVED).all()
    assert motion.distance.max() < ALLOWED / 4.0
    assert motion.lag.max() < 1e-3  # an open integration over 20 s
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside


def test_rolling_by_velocity_turns_the_tip_about_the_shaft(arms):
    description, q, T_start, trocar = at_start(arms, "panda")
    tip = np.zeros((500, 4))
    tip[:, 3] = 1.0
    motion = drive(description, q, tip, trocar)
    turned = T_start[:3, :3].T @ motion.T[-1, :3, :3]
    assert math.atan2(turned[1, 0], turned[0, 0]) == pytest.approx(0.5, abs=1e-4)
    assert motion.distance.max() < 1e-6
    assert motion.lag.max() < 1e-5


@pytest.mark.parametrize("name", ["panda", "seven"])
def test_driving_out_of_the_trocar_stops_at_the_least_depth(arms, name):
    description, q, T_start, trocar = at_start(arms, name)
    tip = np.zeros((4000, 4))
    tip[:, :3] = -0.05 * T_start[:3, 2]
    tip[3000:] *= -1.0
    motion = drive(description, q, tip, trocar)
    assert motion.depth.min() > DEPTH_MIN - 1e-5
    assert motion.depth.min() < DEPTH_MIN + 1e-3
    assert motion.status[2999] == IkStatus.TOO_SHALLOW
    assert motion.status[-1] == IkStatus.SOLVED
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.distance.max() < ALLOWED / 4.0


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["panda", "seven"]))
def test_driving_too_fast_is_slowed_and_stays_inside_every_limit(arms, seed, name):
    description, q, _, trocar = at_start(arms, name)
    rng = np.random.default_rng(seed)
    tip = np.repeat(rng.normal(size=(6, 4)) * (0.5, 0.5, 0.5, 2.0), 100, axis=0)
    motion = drive(description, q, tip, trocar, centering=0.5)
    assert motion.ratio <= 1.0 + 1e-9
    assert motion.inside
    assert motion.depth.min() > 0.5 * DEPTH_MIN


def test_velocities_that_are_not_finite_stop_the_arm(arms):
    description, q, _, trocar = at_start(arms, "panda")
    motion = drive(description, q, np.full((1, 4), np.nan), trocar)
    assert motion.status[0] == IkStatus.NOT_A_POSE
    assert np.array_equal(motion.Q[0], q)


# From Python


def test_remote_center_from_python_projects_solves_and_steps(arms):
    description, q, T_start, trocar = at_start(arms, "panda")
    center = RemoteCenter(description)
    T = T_start.copy()
    T[:3, 3] += 0.02 * T_start[:3, 0]
    through = center.project(T, trocar)
    assert shaft_distance(through, center.shaft, trocar) < 1e-12
    found = center.solve(T, trocar, q_near=q)
    assert found.status == IkStatus.SOLVED
    assert np.abs(poses(description, [found.q])[0] - through).max() < 1e-6
    here = q
    for _ in range(200):
        step = center.step(T, trocar, here, centering=0.5)
        assert step.distance < 1e-6
        here = step.q
    assert step.status is IkStatus.SOLVED
    assert np.abs(poses(description, [here])[0, :3, 3] - T[:3, 3]).max() < 1e-6


def test_remote_center_from_python_says_what_is_wrong(arms):
    description, q, T, trocar = at_start(arms, "panda")
    with pytest.raises(PoseError, match="the direction, the last three, must not be zero"):
        RemoteCenter(description, shaft=np.zeros(6))
    with pytest.raises(PoseError, match=r"shaft has the shape \(3,\)"):
        RemoteCenter(description, shaft=np.zeros(3))
    with pytest.raises(PoseError, match=r"depth_min = 0.0 m: allowed is above zero"):
        RemoteCenter(description, depth_min=0.0)
    center = RemoteCenter(description)
    with pytest.raises(PoseError, match="move it further in"):
        center.project(T, T[:3, 3] - 0.001)
    with pytest.raises(PoseError, match="points the shaft out of the trocar"):
        center.project(T, T[:3, 3] + 0.1 * T[:3, 2])
    with pytest.raises(PoseError, match="is no rigid pose"):
        center.project(np.zeros((4, 4)), trocar)
    with pytest.raises(PoseError, match=r"period = 0.0 s"):
        center.step(T, trocar, q, period=0.0)
