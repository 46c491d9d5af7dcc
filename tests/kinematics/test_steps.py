import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinematics import chain
from kinematics.chain import IkStatus
from kinematics.description import load_arm
from kinematics.kernels import kernels_of
from kinematics.steps import step_ratio

PERIOD = 1e-3


@given(st.lists(st.floats(-2.0, 2.0), min_size=8, max_size=8), st.floats(1e-4, 1.0))
def test_ratio_is_the_largest_part_of_a_velocity_limit(psm_description, parts, period):
    arm = psm_description.record
    q = np.zeros(8)
    step = np.array(parts) * arm[0]["velocity_max"] * period
    expected = np.abs(parts[:7]).max()
    assert abs(step_ratio(arm, q, q + step, period) - expected) < 1e-12
    assert step_ratio.py_func(arm.view(np.recarray), q, q + step, period) == step_ratio(arm, q, q + step, period)


def test_entries_past_the_axes_do_not_count(psm_description):
    q = np.zeros(8)
    assert step_ratio(psm_description.record, q, np.array([0.0] * 7 + [math.nan]), PERIOD) == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("axis", range(7))
def test_number_that_is_not_finite_is_a_jump(psm_description, axis, value):
    arm, q, q_to = psm_description.record, np.zeros(8), np.zeros(8)
    q_to[axis] = value
    assert step_ratio(arm, q, q_to, PERIOD) == math.inf
    assert step_ratio(arm, q_to, q, PERIOD) == math.inf


@pytest.mark.parametrize("period", [0.0, -1e-3, math.nan])
def test_period_that_is_none_makes_every_step_a_jump(psm_description, period):
    q = np.zeros(8)
    assert step_ratio(psm_description.record, q, q, period) == math.inf
    assert step_ratio(psm_description.record, q, q + 1e-3, period) == math.inf


def follow(description, path, q):
    """Follow poses tick by tick; return the largest step that was taken and the largest that was refused."""
    arm, inverse = description.record, kernels_of(description).inverse
    taken, refused, q_next = 0.0, 0.0, np.zeros(8)
    for T in path:
        if inverse(arm, T, q, q_next) != IkStatus.SOLVED:
            continue
        ratio = step_ratio(arm, q, q_next, PERIOD)
        if ratio > 1.0:
            refused = max(refused, ratio)
        else:
            taken = max(taken, ratio)
            q = q_next.copy()
    return taken, refused


def joint_path(description, q, axis, speed, count):
    poses, arm = [], description.record
    q = q.copy()
    for _ in range(count):
        q[axis] += speed * PERIOD
        T = np.zeros((4, 4))
        chain.forward(arm, q, T)
        poses.append(T)
    return poses


@pytest.mark.parametrize("name", ["psm_classic", "raven_gold"])
def test_turn_back_at_the_rolls_limit_is_told_as_a_jump(name):
    description = load_arm(name)
    arm = description.record
    q = 0.5 * (arm[0]["position_min"] + arm[0]["position_max"])
    q[3] = arm[0]["position_max"][3] - 0.05
    speed = 0.5 * arm[0]["velocity_max"][3]
    taken, refused = follow(description, joint_path(description, q, 3, speed, round(0.1 / (speed * PERIOD))), q)
    assert taken <= 1.0
    turn = 2.0 * math.pi / (arm[0]["velocity_max"][3] * PERIOD)
    assert turn - 1.0 < refused < turn + 1.0


@pytest.mark.parametrize("aside", [0.0, 1e-6, 1e-5, 1e-4, 1e-3])
def test_tip_straight_past_the_remote_centre_takes_no_step_beyond_a_velocity_limit(psm_description, aside):
    """The wrist's centre passes the RCM: yaw and pitch would turn half round in no time. That is refused, not taken."""
    arm = psm_description.record
    q, T = np.array([0.4, 0.3, 0.04, 0.2, 0.5, 0.3, 0.0, 0.0]), np.zeros((4, 4))
    chain.forward(arm, q, T)
    T_wrist_tip = np.linalg.inv(wrist_centre(arm, q)) @ T
    start = wrist_centre(arm, q)
    end = start.copy()
    end[:3, 3] = -start[:3, 3] + aside * np.array([1.0, 0.0, 0.0])
    count = round(np.linalg.norm(end[:3, 3] - start[:3, 3]) / (0.02 * PERIOD))
    path = []
    for s in np.linspace(0.0, 1.0, count):
        pose = start.copy()
        pose[:3, 3] = (1.0 - s) * start[:3, 3] + s * end[:3, 3]
        path.append(pose @ T_wrist_tip)
    taken, refused = follow(psm_description, path, q)
    assert 0.0 < taken <= 1.0
    assert refused > 1.0 or aside == 0.0


def wrist_centre(arm, q):
    """Return the pose of the tip's axes at the wrist's centre."""
    T = np.zeros((4, 4))
    shorter = arm.copy()
    shorter[0]["placement"][5][[3, 7, 11]] = 0.0
    chain.forward(shorter, q, T)
    return T
