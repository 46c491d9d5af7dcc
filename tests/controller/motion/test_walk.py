"""The walk along a path: what it refuses, and the limits that it finds."""

import math

import numba
import numpy as np
import pytest
from numba.core import types
from numba.core.runtime import _nrt_python, rtsys

from controller.motion.path import LINEAR, PATH, TIP_LIMITS, add_point, begin_path, path_pose, round_corners
from controller.motion.walk import JUMP, limit_path, walk
from kinematics import psm
from kinematics.chain import INVERSE
from kinematics.compiled import array_of, kernel
from kinematics.description import ARM, load_arm
from kinematics.kernels import kernels_of

DESCRIPTION = load_arm("psm_classic")
PSM, KERNELS = DESCRIPTION.record, kernels_of(DESCRIPTION)
N, JOINTS = int(PSM[0]["n_axes"]), int(PSM[0]["n_joints"])
FREE = np.array([(math.inf,) * 6], TIP_LIMITS)[0]
TIP = np.array([(0.1, 0.4, 8.0, 1.5, 6.0, 120.0)], TIP_LIMITS)[0]


def path_through(*poses, q=None, blend=0.005, linear_speed=1.0, angular_speed=10.0):
    path = np.zeros(1, PATH)
    begin_path(path, poses[0], np.zeros(8) if q is None else q, linear_speed, angular_speed)
    for T in poses[1:]:
        assert add_point(path, T) == 1
    round_corners(path, blend)
    return path


def walked(path, inverse, arm=PSM):
    """The status of a walk and the joints at its end."""
    q = np.full(8, np.nan)
    return walk(path, arm, inverse, np.empty((4, 4)), q, np.empty(8)), q


# Made-up arms whose joints are known functions of the pose: x, y, z and then one more


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


def at_x(x):
    T = np.eye(4)
    T[0, 3] = x
    return T


def along_x(inverse, x_goal=1.0):
    q = np.zeros(8)
    inverse(GANTRY, np.eye(4), q, q)
    return path_through(np.eye(4), at_x(x_goal), q=q)


def test_a_smooth_walk_finds_end_rates_and_bends():
    path = along_x(smooth)
    status, q = walked(path, smooth, GANTRY)
    assert status == 0
    np.testing.assert_allclose(q[:4], [1.0, 0.0, 0.0, math.sin(2.0)], rtol=0, atol=1e-15)
    np.testing.assert_allclose(path[0]["rates"][:4], [1.0, 0.0, 0.0, 2.0], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(path[0]["bends"][:4], [0.0, 0.0, 0.0, 4.0], rtol=1e-3, atol=1e-9)


def test_the_first_status_that_is_not_zero_ends_the_walk():
    assert walked(along_x(smooth, 1.6), smooth, GANTRY)[0] == STATUS_BEYOND


@pytest.mark.parametrize("length", [1.0, 1.3, 0.85])
@pytest.mark.parametrize("inverse", [jumping, nearest, not_a_number])
def test_a_jump_of_a_joint_is_found(inverse, length):
    assert walked(along_x(inverse, length), inverse, GANTRY)[0] == JUMP


def test_a_fast_but_continuous_joint_is_no_jump_and_its_peak_rate_is_found():
    path = along_x(fast)
    assert walked(path, fast, GANTRY)[0] == 0
    assert 1.0 / WIDTH <= path[0]["rates"][3] <= 1.3 / WIDTH


def test_a_start_that_is_not_at_the_path_is_a_jump():
    path = path_through(np.eye(4), at_x(0.5), q=np.array([0.0, 1e-3, 0, 0, 0, 0, 0, 0]))
    assert walked(path, smooth, GANTRY)[0] == JUMP


@pytest.mark.parametrize("speed", [1.0, 0.3, 0.02])
def test_joint_limits_hold_along_a_bent_path_however_slow(speed):
    path = along_x(smooth)
    walked(path, smooth, GANTRY)
    limit_path(path, GANTRY, FREE)
    u = np.linspace(0.0, 1.0, 500)[:, None, None]
    v = np.linspace(-1, 1, 11)[:, None] * speed * path[0]["v_max"]
    a = np.linspace(-1, 1, 11) * speed * path[0]["a_max"]
    assert np.abs(2 * np.cos(2 * u) * v).max() <= speed * 1.001
    assert np.abs(2 * np.cos(2 * u) * a - 4 * np.sin(2 * u) * v**2).max() <= speed * 1.001


def test_a_tight_corner_slows_the_tip():
    corner = [at_x(0.0), at_x(0.05), at_x(0.05)]
    corner[2][1, 3] = 0.05
    limits = []
    for blend in (0.01, 0.001):
        path = path_through(*corner, blend=blend, linear_speed=0.1)
        limit_path(path, GANTRY, TIP)
        limits.append(path[0]["v_max"])
        v, a = path[0]["v_max"], path[0]["a_max"]
        assert path[0]["rates"][LINEAR] * a + path[0]["bends"][LINEAR] * v**2 <= 0.4 * (1 + 1e-9)
    assert limits[1] < 0.5 * limits[0] <= 0.5


# The PSM


def forward(q):
    T = np.empty((4, 4))
    KERNELS.forward(PSM, q, T)
    return T


def random_joints(random):
    low, high = PSM[0]["position_min"][:N], PSM[0]["position_max"][:N]
    q = np.zeros(8)
    q[:N] = 0.5 * (low + high) + 0.45 * (high - low) * random.uniform(-1, 1, N)
    q[2] = random.uniform(0.06, 0.22)
    return q


@pytest.fixture(scope="module")
def psm_paths():
    """Paths of up to 100 mm between random poses of the PSM, half of them by way of a third, walked and limited."""
    random = np.random.default_rng(7)
    paths = []
    while len(paths) < 300:
        q_start = random_joints(random)
        q_goal = random_joints(random) if len(paths) % 2 else q_start + np.append(0.1 * random.uniform(-1, 1, 7), 0.0)
        q_via = 0.5 * (q_start + q_goal) + np.append(0.05 * random.uniform(-1, 1, 7), 0.0)
        through = [forward(q) for q in ((q_start, q_goal) if len(paths) % 4 < 2 else (q_start, q_via, q_goal))]
        if np.linalg.norm(through[-1][:3, 3] - through[0][:3, 3]) < 0.1:
            path = path_through(*through, q=q_start, linear_speed=0.1, angular_speed=1.5)
            status, q_end = walked(path, psm.inverse)
            limit_path(path, PSM, TIP)
            paths.append((path, q_start, status, q_end))
    return paths


def test_psm_paths_end_in_each_way_that_a_walk_can(psm_paths):
    statuses = [status for _, _, status, _ in psm_paths]
    assert statuses.count(0) > 50
    assert JUMP in statuses
    assert any(0 < status < JUMP for status in statuses)


def test_psm_joints_keep_their_limits_along_every_path_that_was_accepted(psm_paths):
    q, q_near, T = np.zeros(8), np.zeros(8), np.empty((4, 4))
    rate_most, bend_most = 0.0, 0.0
    for path, q_start, status, q_end in psm_paths:
        if status != 0:
            continue
        u = np.linspace(0.0, path[0]["u_end"], 1000)
        track = np.empty((len(u), JOINTS))
        q_near[:] = q_start
        for row, x in zip(track, u, strict=True):
            path_pose(path, x, T)
            assert psm.inverse(PSM, T, q_near, q) == 0
            row[:] = q[:JOINTS]
            q_near[:] = q
        np.testing.assert_allclose(track[0], q_start[:JOINTS], rtol=0, atol=1e-9)
        np.testing.assert_allclose(track[-1], q_end[:JOINTS], rtol=0, atol=1e-9)
        rate = np.abs(np.diff(track, axis=0)).max(axis=0) / u[1]
        bend = np.abs(np.diff(track, 2, axis=0)).max(axis=0) / u[1] ** 2
        rate_most = max(rate_most, (rate * path[0]["v_max"] / PSM[0]["velocity_max"][:JOINTS]).max())
        v = path[0]["v_max"]
        used = (bend * v**2 + path[0]["rates"][:JOINTS] * path[0]["a_max"]) / PSM[0]["acceleration_max"][:JOINTS]
        bend_most = max(bend_most, used.max())
    assert rate_most <= 1.0
    assert 0.9 < bend_most <= 1.0


_path, _arm, _inverse = array_of(PATH), array_of(ARM), types.FunctionType(INVERSE)
_vector, _matrix, _poses = types.float64[::1], types.float64[:, ::1], types.float64[:, :, ::1]


@numba.njit(types.int64(_path, _arm, _inverse, _poses, _vector, _matrix, _vector, _vector, types.int64), nogil=True)
def make_paths(path, arm, inverse, through, q_start, T, q, q_near, count):
    bad = 0
    for k in range(count):
        begin_path(path, through[0], q_start, 0.1, 1.5)
        add_point(path, through[1])
        add_point(path, through[2])
        round_corners(path, 0.005)
        bad += walk(path, arm, inverse, T, q, q_near)
        path_pose(path, 0.01 * k, T)
    return bad


def test_paths_are_made_walked_and_evaluated_without_an_allocation():
    q = np.array([0.1, -0.2, 0.12, 0.3, 0.4, -0.3, 0.5, 0.0])
    through = np.array([forward(q + np.append(0.05 * k * np.ones(2), np.zeros(6))) for k in range(3)])
    path, scratch = np.zeros(1, PATH), (np.empty((4, 4)), np.empty(8), np.empty(8))

    def allocations(count):
        before = rtsys.get_allocation_stats().alloc
        assert make_paths(path, PSM, psm.inverse, through, q, *scratch, count) == 0
        return rtsys.get_allocation_stats().alloc - before

    _nrt_python.memsys_enable_stats()
    try:
        assert allocations(20) == allocations(0)  # what the call itself takes
    finally:
        _nrt_python.memsys_disable_stats()
