import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from controller.catalogue import Code
from controller.client import Arm
from controller.errors import (
    ArmFault,
    CommandRefused,
    CommandTimeout,
    ControllerError,
    DaemonAbsent,
    DaemonLost,
    LeaseHeld,
    Preempted,
    StaleData,
)
from controller.mailbox import Operation
from telemetry.sample import MotionStatus, OperatingState

GOAL = [0.1, -0.2, 0.12, 0.3, 0.4, -0.5, 0.6]


def test_absent_daemon_is_told_with_the_way_to_start_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with pytest.raises(DaemonAbsent, match=r"PSM1.*trocar up") as caught:
        Arm("PSM1")
    assert isinstance(caught.value, ConnectionError)


def test_wrong_name_is_told_with_the_arms_that_run(served):
    with pytest.raises(DaemonAbsent, match=r"'PSM9'.*Running: PSM1"):
        Arm("PSM9")


def test_descriptor_of_a_killed_daemon_does_not_count(served):
    served._lock.__exit__(None, None, None)
    served._lock = None
    try:
        with pytest.raises(DaemonAbsent):
            Arm("PSM1")
    finally:
        served._stop.set()
        served._thread.join()
        served.gateway.close()


def test_only_arm_is_found_without_its_name(served):
    with Arm(None) as arm:
        assert arm.name == "PSM1"


def test_enable_home_move_and_read_back(served):
    with Arm() as arm:
        arm.enable()
        assert arm.operating_state().state == OperatingState.ENABLED
        arm.home().wait(5.0)
        assert arm.operating_state().is_homed
        arm.move_jp(GOAL).wait(5.0)
        state = arm.measured_js()
        np.testing.assert_array_equal(state.position, GOAL)
        assert state.velocity.shape == state.effort.shape == (7,)
        np.testing.assert_array_equal(arm.goal_js().position, GOAL)
        assert arm.measured_cp().T.shape == (4, 4)
        assert [axis.name for axis in arm.configuration_js()][-1] == "jaw"


def test_measured_arrays_are_the_callers_own(served):
    with Arm() as arm:
        arm.measured_js().position[:] = 9.0
        assert not (arm.measured_js().position == 9.0).any()


def test_refusal_carries_code_cause_and_remedy(served):
    served.core.verdicts[Operation.MOVE_JP] = Code.JOINT_LIMIT
    with Arm() as arm, pytest.raises(CommandRefused, match=r"JOINT_LIMIT.*limits") as caught:
        arm.move_jp(GOAL)
    assert caught.value.code == Code.JOINT_LIMIT
    assert "trocar arms" in caught.value.remedy


def test_motion_that_a_fault_ends_raises_the_fault(served):
    served.core.ends[Operation.MOVE_JP] = (MotionStatus.ABORTED, Code.FOLLOWING_ERROR)
    with Arm() as arm:
        motion = arm.move_jp(GOAL)
        with pytest.raises(ArmFault, match="FOLLOWING_ERROR") as caught:
            motion.wait(5.0)
    assert caught.value.code == Code.FOLLOWING_ERROR


def test_fault_names_its_axis_and_figures_to_the_program_and_in_the_status(served_lockstep):
    sample = served_lockstep.core.sample
    sample["fault_axis"], sample["fault_value"], sample["fault_bound"] = 2, 0.012, 0.005
    served_lockstep.core.ends[Operation.MOVE_JP] = (MotionStatus.ABORTED, Code.FOLLOWING_ERROR)
    with Arm() as arm:
        with pytest.raises(ArmFault, match=r"Axis insertion: measured 0\.012 m, allowed 0\.005 m\. It ended move_jp"):
            arm.move_jp(GOAL).wait()
        assert arm.status().fault.figures == "axis insertion: measured 0.012 m, allowed 0.005 m"


def test_motion_that_another_replaces_raises_preempted(served_lockstep):
    with Arm() as arm:
        first = arm.move_jp(GOAL)
        second = arm.move_jp(GOAL)
        with pytest.raises(Preempted):
            first.wait()
        second.wait()
        assert first.done
        assert second.done


def test_wait_that_takes_too_long_raises_a_timeout_and_can_be_repeated(served_lockstep):
    with Arm() as arm:
        motion = arm.home()
        with pytest.raises(CommandTimeout, match=r"home.*0\.01 s") as caught:
            motion.wait(0.01)
        assert isinstance(caught.value, TimeoutError)
        assert not motion.done
        motion.wait()
        assert motion.done


def test_second_client_is_refused_until_it_takes_the_lease(served):
    with Arm(client_name="left") as left:
        left.enable()
        with Arm(client_name="right") as right:
            assert right.operating_state().state == OperatingState.ENABLED  # anyone may read
            with pytest.raises(LeaseHeld, match="left"):
                right.move_jp(GOAL)
        with Arm(take=True) as right:
            right.move_jp(GOAL).wait(5.0)
            with pytest.raises(LeaseHeld):
                left.disable()


def test_closed_client_gives_the_lease_back(served):
    with Arm() as arm:
        arm.enable()
    with Arm() as arm:
        arm.disable()


def test_forgotten_client_gives_the_lease_back(served):
    Arm().enable()
    with Arm() as arm:
        arm.disable()


def test_heartbeat_keeps_the_lease_of_a_client_that_thinks(served):
    served.gateway.lease.timeout = 1.2
    with Arm(client_name="thinker") as arm:
        arm.enable()
        heard = served.gateway.lease.heard
        deadline = time.monotonic() + 10.0
        while served.gateway.lease.heard < heard + 1.5 and time.monotonic() < deadline:
            time.sleep(0.01)
        with Arm() as other, pytest.raises(LeaseHeld, match="thinker"):
            other.disable()


def test_stop_needs_no_lease_and_leaves_the_arm_disabled(served):
    with Arm() as holder, Arm() as witness:
        holder.enable()
        holder.home()
        witness.stop()
        assert witness.operating_state().state == OperatingState.DISABLED
    assert [int(m["operation"]) for m in served.core.messages][-2:] == [Operation.HOLD, Operation.DISABLE]


def test_servo_refusal_is_raised_by_the_next_call(served_lockstep):
    with Arm() as arm:
        for _ in range(5):
            arm.servo_jp(GOAL)
            arm.sleep(0.001)
        served_lockstep.core.verdicts[Operation.SERVO_JP] = Code.STEP_TOO_LARGE
        arm.servo_jp(GOAL)
        with pytest.raises(CommandRefused, match="STEP_TOO_LARGE"):
            arm.sleep(0.001)
        arm.sleep(0.001)  # told once


def test_refused_stream_does_not_keep_the_arm_from_being_stopped(served_lockstep):
    served_lockstep.core.verdicts[Operation.SERVO_JP] = Code.STEP_TOO_LARGE
    with Arm() as arm, Arm() as other:
        arm.servo_jp(GOAL)
        other.sleep(0.002)  # the refusal is on its way
        arm.hold()
        arm.stop()
        with pytest.raises(CommandRefused, match="STEP_TOO_LARGE"):
            arm.enable()


def test_wrong_shapes_are_refused_before_anything_is_sent(served):
    with Arm() as arm:
        with pytest.raises(ValueError, match="4 x 4"):
            arm.move_cp(np.eye(3))
        with pytest.raises(ValueError, match="one number per axis"):
            arm.move_jp(np.zeros((2, 7)))
    assert not served.core.messages


def test_stale_sample_is_not_given_as_the_present(served, monkeypatch):
    with Arm() as arm:
        served.paused = True
        monkeypatch.setattr("controller.arm_view.STALE", -1.0)
        with pytest.raises(StaleData, match="stands still"):
            arm.measured_js()


def test_daemon_that_has_ended_is_told_and_not_waited_for(served):
    with Arm() as arm:
        served.end()
        with pytest.raises(DaemonLost, match="trocar up"):
            arm.enable()


def test_wait_ends_when_the_daemon_does(served):
    with Arm() as arm:
        threading.Timer(0.3, served.end).start()
        with pytest.raises(DaemonLost):
            arm.wait_state(OperatingState.FAULT)


def test_closed_arm_says_so(served):
    arm = Arm()
    arm.close()
    arm.close()
    with pytest.raises(ControllerError, match="closed"):
        arm.enable()


def test_sleep_in_lockstep_takes_the_arms_time(served_lockstep):
    with Arm() as arm:
        before = arm.measured_js()
        arm.sleep(0.25)
        after = arm.measured_js()
    assert after.sequence - before.sequence == 250
    assert after.t - before.t == pytest.approx(0.25)


def test_lockstep_time_stands_still_while_the_client_thinks(served_lockstep):
    with Arm() as arm:
        arm.enable()
        first = arm.measured_js().sequence
        time.sleep(0.05)
        assert arm.measured_js().sequence == first


def test_same_script_takes_the_same_cycles_whatever_the_time_of_day(served_lockstep):
    def script(arm):
        start = arm.measured_js().sequence
        arm.enable()
        motion = arm.home()
        arm.sleep(0.013)
        arm.move_jp(GOAL).wait()
        for _ in range(10):
            arm.servo_jp(GOAL)
            arm.sleep(0.001)
        arm.hold().wait()
        return [arm.measured_js().sequence - start, motion.done]

    with Arm() as arm:
        first = script(arm)
        time.sleep(0.03)
        assert script(arm) == first


def test_wait_state_in_lockstep_runs_until_its_time_is_over(served_lockstep):
    with Arm() as arm:
        before = arm.measured_js().sequence
        with pytest.raises(CommandTimeout, match="FAULT"):
            arm.wait_state(OperatingState.FAULT, timeout=0.123)
        assert arm.measured_js().sequence == before + 123


def test_threads_wait_each_for_its_own(served):
    ended = []
    with Arm() as arm:
        arm.enable()
        watcher = threading.Thread(target=lambda: ended.append(arm.wait_state(OperatingState.PAUSED, timeout=20.0)))
        watcher.start()
        arm.home().wait(5.0)
        arm.pause()
        watcher.join()
    assert ended == [OperatingState.PAUSED]


def test_client_loads_no_compiler():
    code = "import sys, controller.client; sys.exit('numba' in sys.modules or 'kinematics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
