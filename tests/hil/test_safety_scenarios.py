"""The whole stack in lock-step: each injected fault ends in the right state, explained, with torque gone in time."""

import math

import numpy as np
import pytest

from controller.catalogue import CATALOGUE, Code
from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from controller.errors import ArmFault, CommandRefused
from hil.faults import Fault, Faults
from telemetry.ring_file import open_ring
from telemetry.sample import SAMPLE, OperatingState

AWAY = [0.3, -0.2, 0.15, 0.4, 0.2, -0.2, 0.1]
BOUND = 5  # cycles from the fault to zero torque


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    base = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROCAR_RUN_DIR", str(base))
        with Daemon(load_config("psm_emulated_strict"), lockstep=True) as daemon:
            yield daemon


@pytest.fixture
def faults(daemon):
    faults = Faults(daemon.run_dir.path)
    yield faults
    faults.clear()


@pytest.fixture
def arm(daemon, faults, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(daemon.run_dir.path.parent))
    with Arm() as arm:
        arm.enable()
        if not arm.operating_state().is_homed:
            arm.home().wait()
        arm.move_jp([0.0, 0.0, 0.12, 0.0, 0.0, 0.0, 0.0]).wait()
        yield arm
        faults.clear()
        arm.sleep(0.02)
        arm.stop() if arm.operating_state().state in (OperatingState.ENABLED, OperatingState.PAUSED) else arm.disable()


def truth_since(daemon, tick):
    ring = open_ring(daemon.run_dir.truth)
    records = ring.slots[: ring.head] if ring.head < ring.capacity else ring.slots
    return np.sort(records[records["tick"] > tick], order="tick")


def cycles_to_zero_torque(daemon, tick, fault):
    """Cycles from the first one with the fault in force to the first one without any motor current."""
    truth = truth_since(daemon, tick)
    begun = truth["tick"][(truth["faults"] & int(fault)) != 0][0]
    off = truth["tick"][(truth["tick"] >= begun) & (truth["motor_current"] == 0.0).all(axis=1) & (truth["power"] == 0)]
    return int(off[0] - begun) + 1


def assert_explained(error, code):
    assert error.code == code
    assert error.cause == CATALOGUE[code].cause
    assert error.remedy == CATALOGUE[code].remedy


@pytest.mark.parametrize("phase_cycles", [50, 137, 311, 402])
def test_estop_in_mid_motion_takes_the_torque_within_its_bound(daemon, arm, faults, phase_cycles):
    motion = arm.move_jp(AWAY)
    arm.sleep(phase_cycles * 1e-3)
    tick = arm.measured_js().sequence
    faults.press_estop()
    with pytest.raises(ArmFault) as caught:
        motion.wait(1.0)
    assert_explained(caught.value, Code.ESTOP)
    assert arm.operating_state().state == OperatingState.FAULT
    assert cycles_to_zero_torque(daemon, tick, Fault.ESTOP) <= BOUND
    with pytest.raises(CommandRefused) as refused:
        arm.enable()
    assert refused.value.code == Code.ESTOP_PRESSED
    faults.release_estop()
    arm.sleep(0.01)
    arm.enable()
    assert arm.operating_state() == (OperatingState.ENABLED, True, False, Code.OK)


@pytest.mark.parametrize("phase_cycles", [50, 222, 395])
def test_cut_line_in_mid_motion_takes_the_torque_within_its_bound(daemon, arm, faults, phase_cycles):
    motion = arm.move_jp(AWAY)
    arm.sleep(phase_cycles * 1e-3)
    tick = arm.measured_js().sequence
    faults.cut_wire()
    with pytest.raises(ArmFault) as caught:
        motion.wait(1.0)
    assert_explained(caught.value, Code.FEEDBACK_LOST)
    assert arm.operating_state().state == OperatingState.FAULT
    arm.sleep(0.05)
    assert cycles_to_zero_torque(daemon, tick, Fault.WIRE_CUT) <= BOUND
    assert not truth_since(daemon, tick)["brakes_open"][-1]
    with pytest.raises(CommandRefused) as refused:
        arm.enable()
    assert refused.value.code == Code.FEEDBACK_LOST
    faults.mend_wire()
    arm.sleep(0.02)
    arm.enable()
    arm.move_jp(AWAY).wait()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_command_that_is_not_finite_moves_nothing(arm, value):
    before = arm.setpoint_js().position
    for command in (
        lambda: arm.move_jp([0.0, value, 0.12, 0.0, 0.0, 0.0, 0.0]),
        lambda: arm.move_cp(np.where(np.eye(4) > 0, value, 0.0)),
    ):
        with pytest.raises(CommandRefused) as refused:
            command()
        assert_explained(refused.value, Code.NOT_FINITE)
    assert (arm.setpoint_js().position == before).all()
    assert arm.operating_state().state == OperatingState.ENABLED


def test_a_stream_that_turns_to_nan_is_refused_and_ends_in_a_hold(arm):
    q = arm.setpoint_js().position
    with pytest.raises(CommandRefused) as refused:
        for k in range(200):
            q[0] += 0.0002 if k != 50 else math.nan
            arm.servo_jp(q)
            arm.sleep(0.002)
    assert_explained(refused.value, Code.NOT_FINITE)
    assert arm.wait_state(OperatingState.PAUSED, timeout=1.0) == OperatingState.PAUSED
    assert np.isfinite(arm.sample()["setpoint_position"]).all()
    arm.resume()


@pytest.mark.parametrize(("axis", "goal"), [(0, 1.7), (2, -0.01), (2, 0.25), (6, 2.0)])
def test_a_goal_beyond_a_joint_limit_moves_nothing(arm, axis, goal):
    before = arm.setpoint_js().position
    q = before.copy()
    q[axis] = goal
    with pytest.raises(CommandRefused) as refused:
        arm.move_jp(q)
    assert_explained(refused.value, Code.JOINT_LIMIT)
    assert (arm.setpoint_js().position == before).all()


def test_a_servo_command_far_from_the_set_point_is_refused(arm):
    q = arm.setpoint_js().position
    q[1] += 0.3
    with pytest.raises(CommandRefused) as refused:
        arm.servo_jp(q)
        arm.sleep(0.01)
    assert_explained(refused.value, Code.STEP_TOO_LARGE)


def test_a_pose_out_of_reach_moves_nothing(arm):
    T = arm.setpoint_cp().T
    T[2, 3] = -0.6
    with pytest.raises(CommandRefused) as refused:
        arm.move_cp(T)
    assert refused.value.code in (Code.OUT_OF_REACH, Code.JOINT_LIMIT)
    assert arm.operating_state().state == OperatingState.ENABLED


def test_a_client_that_falls_silent_pauses_the_arm_and_then_loses_it(daemon, arm):
    q = arm.setpoint_js().position
    for _ in range(100):
        q[0] += 0.0003
        arm.servo_jp(q)
        arm.sleep(0.002)
    stream_end = arm.measured_js().sequence
    assert arm.wait_state(OperatingState.PAUSED, timeout=1.0) == OperatingState.PAUSED
    paused = arm.operating_state()
    assert paused.fault == Code.STREAM_STALE
    # S2 begins in the cycle after the stream's own time-out, 50 ms, is over.
    assert arm.measured_js().sequence - stream_end <= 52
    with pytest.raises(CommandRefused) as refused:
        arm.move_jp(AWAY)
    assert refused.value.code == Code.PAUSED
    arm.wait_state(OperatingState.FAULT, timeout=2.0)
    assert arm.operating_state().fault == Code.STREAM_DEAD
    arm.sleep(0.05)
    assert not open_ring(daemon.run_dir.truth).slots[(open_ring(daemon.run_dir.truth).head - 1) % 16384]["power"]


def test_position_commands_before_homing_are_refused(arm):
    arm.unhome()
    with pytest.raises(CommandRefused) as refused:
        arm.move_jp(AWAY)
    assert_explained(refused.value, Code.NOT_HOMED)


def test_every_sample_is_there_once(daemon, arm):
    samples = open_ring(daemon.run_dir.samples, SAMPLE)
    held = np.sort(samples.slots[: min(samples.head, samples.capacity)]["sequence"])
    assert (np.diff(held) == 1).all()
