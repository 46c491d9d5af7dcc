"""An ECM, whose four joints reach a position and a roll: what the motions of the tip make of whole poses."""

import numpy as np
import pytest

from controller.catalogue import Code
from kinematics.description import load_arm
from kinematics.kernels import kernels_of

ECM = load_arm("ecm_classic")
START = np.array([0.1, -0.2, 0.12, 0.3, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture
def ecm(motion_tools):
    kernels = kernels_of(ECM)
    return motion_tools.SetPoint(START, ECM.record, kernels._replace(inverse=kernels.motion_inverse))


def test_a_line_of_the_tip_is_straight_although_the_rotation_cannot_be_kept(ecm):
    T = ecm.pose()
    begin, end = T[:3, 3].copy(), T[:3, 3] + (0.03, -0.02, -0.02)
    T[:3, 3] = end
    assert ecm.command("move_cp", pose=T) == Code.OK
    ecm.settle()
    along = (end - begin) / np.linalg.norm(end - begin)
    path = np.array([ecm.pose(q)[:3, 3] for q in ecm.q]) - begin
    assert np.abs(path - np.outer(path @ along, along)).max() < 1e-9
    assert np.abs(ecm.pose()[:3, 3] - end).max() < 1e-9
    steps = np.abs(np.diff(np.vstack([START[:4], *ecm.q]), axis=0))
    assert (steps <= ECM.record[0]["velocity_max"][:4] * 1e-3 + 1e-9).all()


def test_a_stream_of_poses_is_followed_at_the_tip(ecm):
    T = ecm.pose()
    begin = T[:3, 3].copy()
    for k in range(200):
        T[:3, 3] = begin + 0.01 * np.sin(2.0 * np.pi * k / 400.0) * np.array([1.0, 1.0, 0.0])
        assert ecm.command("servo_cp", pose=T) == Code.OK
        ecm.tick(10)
    assert np.abs(ecm.pose()[:3, 3] - T[:3, 3]).max() < 1e-4


def test_a_position_out_of_reach_is_refused(ecm):
    T = ecm.pose()
    T[:3, 3] *= 3.0
    assert ecm.command("move_cp", pose=T) == Code.OUT_OF_REACH
