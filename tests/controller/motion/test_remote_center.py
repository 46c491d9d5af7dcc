"""A Panda with a straight instrument through a trocar, moved by the cycle's own motion commands."""

import numpy as np
import pytest

from controller.activity import CORE
from controller.catalogue import Code
from controller.guard.records import GUARD
from controller.mailbox import MESSAGE, Operation
from controller.motion.start import start
from controller.motion.walk import walk
from controller.orders import take_command
from drivers.driver import FEEDBACK
from kinematics.description import load_arm
from kinematics.kernels import bound_record, kernels_of
from kinematics.shaft import Z_SHAFT, shaft_distance
from telemetry.sample import OperatingState

PANDA = load_arm("panda:straight_instrument_300")
READY = np.array([0.1, -0.6, 0.1, -2.3, 0.1, 1.75, 0.8, 0.0])
DEPTH = 0.12


@pytest.fixture
def panda(motion_tools):
    arm = bound_record(PANDA)
    kernels = kernels_of(PANDA)
    arm[0]["shaft"], arm[0]["depth_min"], arm[0]["through"] = Z_SHAFT, 0.02, 1
    T = np.zeros((4, 4))
    kernels.forward(arm, READY, T)
    arm[0]["remote_center"] = T[:3, 3] - DEPTH * T[:3, 2]
    return motion_tools.SetPoint(READY, arm, kernels)


def distances(panda):
    T, shaft = np.zeros((4, 4)), np.array(Z_SHAFT)
    found = []
    for q in panda.q:
        panda.kernels.forward(panda.arm, np.append(q, 0.0), T)
        found.append(shaft_distance(T, shaft, panda.arm[0]["remote_center"].copy()))
    return np.array(found)


def assert_steps_within_velocity(panda):
    steps = np.abs(np.diff(np.vstack([READY[:7], *panda.q]), axis=0))
    assert (steps <= panda.arm[0]["velocity_max"][:7] * 1e-3 + 1e-9).all()


def test_a_line_of_the_tip_keeps_the_shaft_in_the_trocar(panda):
    T = panda.pose()
    T[:3, 3] += (0.03, -0.02, -0.03)
    assert panda.command("move_cp", pose=T) == Code.OK
    panda.settle()
    assert np.abs(panda.pose()[:3, 3] - T[:3, 3]).max() < 1e-6
    assert distances(panda).max() < 1e-5
    assert_steps_within_velocity(panda)


def test_a_stream_over_a_cone_keeps_the_shaft_in_the_trocar(panda):
    """A cone of 30 degrees, 15 to each side, in 20 s."""
    T_0 = panda.pose()
    center, axis = panda.arm[0]["remote_center"].copy(), T_0[:3, 2].copy()
    across, along = T_0[:3, 0].copy(), T_0[:3, 1].copy()
    T = T_0.copy()
    reached = []
    for k in range(2000):
        angle = np.radians(15.0) * np.sin(np.pi * min(k / 400.0, 1.0) / 2.0) ** 2
        turn = 2.0 * np.pi * max(0, k - 400) / 1600.0
        direction = np.cos(angle) * axis + np.sin(angle) * (np.cos(turn) * across + np.sin(turn) * along)
        T[:3, 3] = center + DEPTH * direction
        assert panda.command("servo_cp", pose=T) == Code.OK
        panda.tick(10)
        reached.append(np.degrees(np.arccos(np.clip(panda.pose()[:3, 2] @ axis, -1.0, 1.0))))
    assert max(reached) > 14.9
    assert distances(panda).max() < 1e-4
    assert_steps_within_velocity(panda)


def assert_accelerations_within_limits(panda):
    q = np.vstack([READY[:7], *panda.q])
    assert (np.abs(np.diff(q, 2, axis=0)) <= 1.01 * panda.arm[0]["acceleration_max"][:7] * 1e-6 + 1e-9).all()


def test_a_stop_in_mid_stream_keeps_the_shaft_in_the_trocar(panda):
    """From 0.2 m/s, each axis as fast as it can: by that alone the shaft would come 2 mm off."""
    T = panda.pose()
    for _ in range(40):
        T[0, 3] += 0.002
        assert panda.command("servo_cp", pose=T) == Code.OK
        panda.tick(10)
    stopped = len(panda.q)
    panda.stop()
    assert 10 < panda.settle() < 100
    assert distances(panda)[stopped + 20 :].max() < 1e-6
    goal = panda.pose()
    goal[:3, 3] += (-0.03, 0.02, 0.02)
    assert panda.command("move_cp", pose=goal) == Code.OK
    panda.settle()
    assert distances(panda).max() < 1e-4
    assert np.abs(panda.pose()[:3, 3] - goal[:3, 3]).max() < 1e-6
    assert_steps_within_velocity(panda)


@pytest.mark.parametrize("length", [0.0005, 0.04])
def test_a_path_goes_smoothly_into_a_trocar_that_is_a_little_beside_the_shaft(panda, length):
    panda.arm[0]["remote_center"] += 0.0015 * panda.pose()[:3, 0]
    goal = panda.pose()
    goal[2, 3] -= length
    assert panda.command("move_cp", pose=goal) == Code.OK
    panda.settle()
    off = distances(panda)
    assert off[0] > 0.0014
    assert off[-1] < 1e-7
    assert_steps_within_velocity(panda)
    assert_accelerations_within_limits(panda)


def test_a_path_is_refused_where_the_trocar_is_far_from_the_shaft(panda):
    panda.arm[0]["remote_center"] += 0.02 * panda.pose()[:3, 0]
    goal = panda.pose()
    goal[2, 3] -= 0.02
    assert panda.command("move_cp", pose=goal) == Code.PATH_BLOCKED


def test_a_tip_at_the_trocar_is_refused(panda):
    T = panda.pose()
    T[:3, 3] = panda.arm[0]["remote_center"] + 0.01 * T[:3, 2]
    assert panda.command("move_cp", pose=T) == Code.TOO_SHALLOW
    assert panda.command("servo_cp", pose=T) == Code.TOO_SHALLOW


def test_without_a_remote_centre_the_wanted_rotation_is_reached(panda):
    panda.arm[0]["through"] = 0
    T = panda.pose()
    T[:3, :3] = T[:3, :3] @ np.array(
        [[1.0, 0.0, 0.0], [0.0, np.cos(0.1), -np.sin(0.1)], [0.0, np.sin(0.1), np.cos(0.1)]]
    )
    assert panda.command("move_cp", pose=T) == Code.OK
    panda.settle()
    assert np.abs(panda.pose() - T).max() < 1e-6


def order(panda, operation, vector):
    """Give the cycle an order, as it takes one from the mailbox; return its code."""
    core, message = np.zeros(1, CORE), np.zeros(1, MESSAGE)
    core["state"], core["is_homed"] = OperatingState.ENABLED, 1
    message["operation"], message["speed"], message["n_axes"] = operation, 1.0, len(vector)
    message["vector"][0, : len(vector)] = vector
    parts = panda.kernels.forward, panda.kernels.inverse, walk, start
    records = panda.sample, np.zeros(1, FEEDBACK), message, panda.next_message
    guard = np.zeros(1, GUARD)
    room = panda.scratch, panda.poses, guard
    return take_command(core, panda.motion, panda.path, panda.arm, *parts, *records, 0, *room)


def test_joint_motions_are_refused_until_the_remote_centre_is_released(panda):
    goal = READY[:7] + 0.05
    assert order(panda, Operation.MOVE_JP, goal) == Code.REMOTE_CENTER
    assert order(panda, Operation.SERVO_CV, np.zeros(6)) == Code.REMOTE_CENTER
    assert order(panda, Operation.SET_REMOTE_CENTER, []) == Code.OK
    assert not panda.arm[0]["through"]
    assert order(panda, Operation.MOVE_JP, goal) == Code.OK
    assert order(panda, Operation.SET_REMOTE_CENTER, [0.4, 0.0, 0.3]) == Code.BUSY  # it moves


def test_a_remote_centre_is_set_and_moved_by_orders(panda):
    assert order(panda, Operation.SET_REMOTE_CENTER, []) == Code.OK
    for point in ([0.4, 0.0, 0.3], [0.4, 0.001, 0.3]):
        assert order(panda, Operation.SET_REMOTE_CENTER, point) == Code.OK
        assert panda.arm[0]["through"]
        assert panda.arm[0]["remote_center"].tolist() == point
    assert order(panda, Operation.SET_REMOTE_CENTER, [np.nan, 0.0, 0.3]) == Code.NOT_FINITE
    assert panda.arm[0]["remote_center"].tolist() == [0.4, 0.001, 0.3]
