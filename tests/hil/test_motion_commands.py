"""Every motion command of CRTK's on the emulated arm, in lock-step: it does what it says, and nothing trips."""

import math

import numpy as np
import pytest

from controller.catalogue import Code
from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from controller.errors import ArmFault, CommandRefused, Preempted
from controller.mailbox import IS_CARTESIAN, QUANTITY, VERB, Operation, Quantity, Verb
from telemetry.ring_file import open_ring
from telemetry.sample import SAMPLE, OperatingState

READY = np.array([0.1, -0.2, 0.12, 0.3, 0.4, -0.3, 0.5])
GAP = 0.01  # s between two commands of a stream

STREAMS = [o for o in Operation if VERB[o] in (Verb.SERVO, Verb.INTERPOLATE)]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    base = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROCAR_RUN_DIR", str(base))
        with Daemon(load_config("psm_emulated_strict"), lockstep=True) as daemon:
            yield daemon


@pytest.fixture
def arm(daemon, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(daemon.run_dir.path.parent))
    with Arm() as arm:
        if arm.operating_state().state == OperatingState.PAUSED:
            arm.resume()
        arm.enable()
        if not arm.operating_state().is_homed:
            arm.home().wait()
        arm.set_speed_ratio(1.0)
        arm.move_jp(READY).wait()
        yield arm


def samples_since(daemon, sequence):
    ring = open_ring(daemon.run_dir.samples, SAMPLE)
    records = np.sort(ring.slots[: min(ring.head, ring.capacity)], order="sequence")
    return records[records["sequence"] > sequence]


def argument(operation, k):
    """What the k-th command of a stream gives: small, and the same each time but for positions."""
    quantity = Quantity(int(QUANTITY[operation]))
    if IS_CARTESIAN[operation]:
        if quantity == Quantity.VELOCITY:
            return np.array([0.01, 0.0, -0.005, 0.05, 0.0, 0.1])
        if quantity == Quantity.EFFORT:
            return np.array([0.5, 0.0, 0.5, 0.0, 0.0, 0.001])
        T = np.eye(4)
        T[0, 3] = 1e-4 * (k if quantity == Quantity.POSITION else 1)
        return T
    return {
        Quantity.POSITION: READY + 0.001 * k * np.array([1, 1, 0.2, 1, 1, 1, 1]),
        Quantity.RELATIVE: 0.001 * np.array([1, 1, 0.2, 1, 1, 1, 1]),
        Quantity.VELOCITY: np.array([0.1, 0.1, 0.01, 0.2, 0.2, 0.2, 0.2]),
        Quantity.EFFORT: np.array([0.4, 0.4, 2.0, 0.01, 0.06, 0.03, 0.02]),
    }[quantity]


@pytest.mark.parametrize("operation", STREAMS, ids=lambda operation: operation.name.lower())
def test_each_stream_moves_the_arm_as_it_says_and_stops_where_it_is_silent(daemon, arm, operation):
    stream = getattr(arm, operation.name.lower())
    start, first = arm.setpoint_cp().T, arm.measured_js()
    for k in range(1, 41):
        given = argument(operation, k)
        if operation in (Operation.SERVO_CP, Operation.INTERPOLATE_CP):
            given = start @ np.eye(4) + (given - np.eye(4))
        stream(given)
        arm.sleep(GAP)
    moved = arm.measured_js().position - first.position
    tip = arm.measured_cp().T[:3, 3] - start[:3, 3]
    quantity = Quantity(int(QUANTITY[operation]))
    if not IS_CARTESIAN[operation]:
        assert (moved[:6] > 0).all()  # each axis went the way that it was told
        if quantity <= Quantity.RELATIVE:
            np.testing.assert_allclose(moved, 0.04 * np.array([1, 1, 0.2, 1, 1, 1, 1]), atol=0.01)
        elif quantity == Quantity.VELOCITY:
            np.testing.assert_allclose(moved, 0.4 * argument(operation, 0), rtol=0.3)
    elif quantity <= Quantity.RELATIVE:
        np.testing.assert_allclose(tip, [0.004, 0, 0], atol=0.001)
    elif quantity == Quantity.VELOCITY:
        np.testing.assert_allclose(tip, 0.4 * argument(operation, 0)[:3], atol=0.0015)
    else:
        assert tip @ argument(operation, 0)[:3] > 0.0
    assert arm.operating_state()[:3] == (OperatingState.ENABLED, True, False)  # streaming is not busy
    arm.wait_state(OperatingState.PAUSED, timeout=1.0)  # silence: it holds
    assert arm.operating_state().fault == Code.STREAM_STALE
    arm.resume()
    arm.sleep(0.8)
    assert np.abs(arm.setpoint_js().velocity).max() == 0.0
    assert np.abs(arm.measured_js().velocity[:3]).max() < 0.01
    seen = samples_since(daemon, first.sequence)
    limits = np.array([axis.velocity_max for axis in arm.configuration_js()])
    steps = np.abs(np.diff(seen["setpoint_position"][:, :7], axis=0))
    assert (steps <= limits * 1e-3 + 1e-9).all()


def test_the_four_moves_end_where_they_should(arm):
    arm.move_jr([0.05, 0.05, 0.01, 0.1, 0.1, 0.1, 0.1], speed=0.8).wait()
    np.testing.assert_allclose(arm.setpoint_js().position - READY, [0.05, 0.05, 0.01, 0.1, 0.1, 0.1, 0.1], atol=1e-12)
    T = arm.setpoint_cp().T
    T[:3, 3] += (0.01, -0.01, 0.005)
    arm.move_cp(T, path_speed=0.05).wait()
    np.testing.assert_allclose(arm.setpoint_cp().T, T, atol=1e-9)
    change = np.eye(4)
    change[:3, 3] = (0.0, 0.0, -0.01)
    arm.move_cr(change, frame="tip", jaw=0.2).wait()
    np.testing.assert_allclose(arm.setpoint_cp().T, T @ change, atol=1e-9)
    assert arm.jaw.setpoint_js().position == pytest.approx(0.2)
    q = arm.inverse_kinematics(arm.setpoint_cp().T)
    np.testing.assert_allclose(arm.forward_kinematics(q), arm.setpoint_cp().T, atol=1e-9)
    arm.move_jp(READY).wait()
    np.testing.assert_array_equal(arm.setpoint_js().position, READY)


def test_a_path_with_via_points_is_run_without_a_stop_and_the_true_arm_follows(daemon, arm):
    T = [arm.setpoint_cp().T for _ in range(4)]
    for pose, (x, y) in zip(T, ((0.02, 0), (0.02, 0.02), (0, 0.02), (0, 0)), strict=True):
        pose[:2, 3] += (x, y)
    first = arm.setpoint_cp().sequence
    arm.move_cp(T[3], via=T[:3], blend=0.003, path_speed=0.02, jaw=0.9).wait()
    seen = samples_since(daemon, first)
    tips = seen["setpoint_pose"][:, :3, 3]
    for pose in T[:3]:
        assert 0.001 < np.linalg.norm(tips - pose[:3, 3], axis=1).min() <= 0.003 + 1e-6
    speed = np.linalg.norm(np.diff(tips, axis=0), axis=1) / 1e-3
    assert speed.max() <= 0.02 * (1 + 1e-6)
    assert speed[500:-500].min() > 0.005
    assert np.linalg.norm(seen["measured_pose"][:, :3, 3] - tips, axis=1).max() < 5e-4
    assert arm.jaw.setpoint_js().position == pytest.approx(0.9)


def test_servoing_jaw_and_arm_together_trips_nothing(daemon, arm):
    first = arm.measured_js().sequence
    for k in range(500):
        arm.servo_jp(READY[:6] + 0.05 * math.sin(0.01 * k) ** 2 * np.array([1, 1, 0.2, 1, 1, 1]))
        arm.jaw.servo_jp(READY[6] + 0.4 * math.sin(0.03 * k) ** 2)
        arm.sleep(0.002)
    arm.hold().wait()
    assert arm.operating_state() == (OperatingState.ENABLED, True, False, Code.OK)
    seen = samples_since(daemon, first)
    assert not seen["event"].any()
    error = np.abs(seen["setpoint_position"] - seen["measured_position"])[:, :7].max(axis=0)
    assert (error < [0.01, 0.01, 0.001, 0.05, 0.05, 0.05, 0.1]).all()
    assert np.ptp(seen["measured_position"][:, 6]) > 0.35


def test_the_jaw_moves_grips_and_rests_while_the_arm_goes_on(arm):
    motion = arm.move_jp([0.5, 0.1, 0.16, 0.8, 0.2, 0.2])
    jaw = arm.jaw.move_jp(0.0)
    jaw.wait()
    assert arm.operating_state().is_busy
    assert not motion.done
    arm.jaw.move_jr(0.3).wait()
    motion.wait()
    np.testing.assert_allclose(arm.setpoint_js().position, [0.5, 0.1, 0.16, 0.8, 0.2, 0.2, 0.3], atol=1e-12)
    for command, value in (("servo_jv", 1.0), ("interpolate_jv", 1.0), ("servo_jr", 0.002), ("interpolate_jr", 0.01)):
        before = arm.jaw.measured_js().position[0]
        for _ in range(20):
            getattr(arm.jaw, command)(value)
            arm.sleep(0.005)
        assert arm.jaw.measured_js().position[0] > before + 0.01
        arm.hold().wait()
        arm.sleep(0.05)
    for command in ("servo_jf", "interpolate_jf"):
        before = arm.jaw.measured_js().position[0]
        for _ in range(40):
            getattr(arm.jaw, command)(-0.05)  # it closes, against nothing
            arm.sleep(0.005)
        assert arm.jaw.measured_js().position[0] < before - 0.02
        arm.hold().wait()
    assert arm.operating_state().fault == Code.OK


def test_an_effort_that_pushes_at_a_limit_is_kept_from_it(daemon, arm):
    q = READY.copy()
    q[0], q[2] = 1.35, 0.22
    arm.move_jp(q).wait()
    first = arm.measured_js().sequence
    for _ in range(300):
        arm.servo_jf([3.0, 0.0, 9.0, 0.0, 0.0, 0.0])
        arm.sleep(GAP)
    measured = arm.measured_js().position
    assert 1.588 - 1.5 * 0.02 * 3.176 < measured[0] < 1.588 - 0.2 * 0.02 * 3.176
    assert 0.24 - 1.5 * 0.02 * 0.24 < measured[2] < 0.24
    assert not samples_since(daemon, first)["event"].any()
    arm.hold().wait()
    assert arm.operating_state().state == OperatingState.ENABLED


def test_a_free_arm_carries_its_weight_drifts_slowly_and_is_caught_by_a_hold(daemon, arm):
    first = arm.measured_js()
    arm.free()
    arm.sleep(1.0)
    drift = np.abs(arm.measured_js().position - first.position)
    assert (drift < [0.15, 0.15, 0.03, 0.1, 0.1, 0.1, 0.1]).all()
    assert (drift[:2] > 1e-4).any()  # nothing holds it
    arm.hold().wait()
    arm.sleep(0.2)
    seen = samples_since(daemon, first.sequence)
    assert not seen["event"].any()
    np.testing.assert_allclose(arm.measured_js().position, arm.setpoint_js().position, atol=5e-3)


def test_a_new_move_takes_over_at_once_and_the_old_one_is_told(arm):
    old = arm.move_jp([0.8, -0.2, 0.12, 0.3, 0.4, -0.3])
    arm.sleep(0.4)
    speed = arm.setpoint_js().velocity[0]
    new = arm.move_jp([1.2, -0.2, 0.12, 0.3, 0.4, -0.3])
    arm.sleep(0.05)
    assert arm.setpoint_js().velocity[0] > speed > 0.1
    with pytest.raises(Preempted):
        old.wait()
    new.wait()


def test_the_speed_ratio_slows_a_motion_that_is_under_way(arm):
    motion = arm.move_jp([1.2, -0.2, 0.12, 0.3, 0.4, -0.3])
    arm.sleep(0.5)
    arm.set_speed_ratio(0.1)
    arm.sleep(1.5)
    assert arm.speed_ratio() == 0.1
    assert arm.setpoint_js().velocity[0] <= 0.1 * 1.5708 * (1 + 1e-9)
    arm.set_speed_ratio(1.0)
    motion.wait()
    assert arm.setpoint_js().position[0] == 1.2
    for bad in (0.0, 1.5, math.nan):
        with pytest.raises(CommandRefused) as refused:
            arm.set_speed_ratio(bad)
        assert refused.value.code == Code.BAD_PARAMETER


def test_the_queries_agree_with_one_another(arm):
    arm.move_cp(arm.setpoint_cp().T + np.outer([1, 0, 0, 0], [0, 0, 0, 0.03]), path_speed=0.02)
    arm.sleep(1.0)
    np.testing.assert_allclose(arm.setpoint_cv().twist, [0.02, 0, 0, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(arm.measured_cv().twist[:3], [0.02, 0, 0], atol=0.005)
    np.testing.assert_array_equal(arm.goal_cv().twist, np.zeros(6))
    arm.hold().wait()
    assert np.isfinite(arm.measured_cf().wrench).all()
    np.testing.assert_allclose(arm.forward_kinematics(arm.measured_js().position), arm.measured_cp().T, atol=1e-12)
    statistics = arm.period_statistics()
    assert (statistics.period, statistics.mean, statistics.std) == pytest.approx((0.001, 0.001, 0.0), abs=1e-12)
    assert arm.crtk_version()


def test_the_whole_is_repeatable_so_a_fault_of_the_device_still_ends_jaw_and_arm(daemon, arm):
    from hil.faults import Faults

    motion, jaw = arm.move_jp([0.8, -0.2, 0.12, 0.3, 0.4, -0.3]), arm.jaw.move_jp(0.0)
    faults = Faults(daemon.run_dir.path)
    faults.press_estop()
    for ended in (motion, jaw):
        with pytest.raises(ArmFault) as fault:
            ended.wait(1.0)
        assert fault.value.code == Code.ESTOP
    faults.release_estop()
    arm.sleep(0.05)


def test_a_remote_centre_that_the_mechanics_keep_cannot_be_set(arm):
    with pytest.raises(CommandRefused) as refused:
        arm.set_remote_center([0.0, 0.0, 0.0])
    assert refused.value.code == Code.NO_REMOTE_CENTER
    assert arm.sample()["remote_center_distance"] == 0.0
