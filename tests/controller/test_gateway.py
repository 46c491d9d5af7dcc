import msgspec
import numpy as np
import pytest

from controller.catalogue import Code
from controller.commands import Accepted, JointGoal, Outcome, Status
from controller.mailbox import CAPACITY, Operation
from telemetry.sample import MotionStatus, OperatingState

ENABLED = 1 << OperatingState.ENABLED
HOME = [0.0] * 7


def test_accepted_command_is_answered_with_its_id_and_cycle(bench):
    peer = bench.peer()
    bench.settle(ticks=5)
    peer.send("enable")
    assert peer.silent()  # not before the cycle has taken it
    bench.settle(ticks=1)
    assert peer.receive(Accepted) == Accepted(id=1, sequence=6, t_ns=int(bench.core.sample["t_ns"][0]))
    assert bench.core.messages[0]["operation"] == Operation.ENABLE
    assert bench.core.messages[0]["sent_ns"] == 11


def test_refused_command_is_answered_with_cause_and_remedy(bench):
    bench.core.verdicts[Operation.MOVE_JP] = Code.NOT_HOMED
    peer = bench.peer()
    peer.send("move_jp", position=HOME)
    bench.settle(ticks=1)
    refused = peer.receive()
    assert (refused.code, refused.name, refused.id) == (Code.NOT_HOMED, "NOT_HOMED", 1)
    assert "Home it first" in refused.remedy


def test_joint_goal_reaches_the_core_whole(bench):
    peer = bench.peer()
    peer.send("move_jp", position=[0.1, -0.2, 0.3, float("nan"), 0, 0, 7], speed=0.25)
    bench.settle(ticks=1)
    message = bench.core.messages[0]
    assert message["n_axes"] == 7
    np.testing.assert_array_equal(message["vector"], [0.1, -0.2, 0.3, np.nan, 0, 0, 7, 0])
    assert message["speed"] == 0.25


def test_pose_goal_reaches_the_core_whole(bench):
    pose = np.arange(16.0).reshape(4, 4)
    peer = bench.peer()
    peer.send("move_cp", pose=pose.tolist(), path_speed=0.02)
    bench.settle(ticks=1)
    np.testing.assert_array_equal(bench.core.messages[0]["pose"], pose)
    assert bench.core.messages[0]["path_speed"] == 0.02
    assert bench.core.messages[0]["n_axes"] == 0


def test_message_carries_nothing_of_the_one_before(bench):
    peer = bench.peer()
    peer.send("move_jp", position=[1.0] * 8, speed=0.5)
    peer.send("hold")
    bench.settle(ticks=2)
    assert not bench.core.messages[1]["vector"].any()
    assert bench.core.messages[1]["speed"] == 0.0


def test_wait_is_answered_when_the_activity_ends(bench):
    peer = bench.peer()
    peer.send("move_jp", position=HOME)
    bench.settle(ticks=1)
    accepted = peer.receive(Accepted)
    peer.send("wait", id=accepted.id)
    bench.settle(ticks=19)
    assert peer.silent()
    bench.settle(ticks=1)
    outcome = peer.receive(Outcome)
    assert (outcome.status, outcome.sequence, outcome.timed_out) == (MotionStatus.DONE, 21, False)


def test_wait_that_comes_late_is_answered_at_once(bench):
    peer = bench.peer()
    peer.send("move_jp", position=HOME)
    bench.settle(ticks=100)
    accepted = peer.receive(Accepted)
    peer.send("wait", id=accepted.id)
    assert peer.receive(Outcome).status == MotionStatus.DONE


def test_wait_tells_preemption_and_fault(bench):
    peer = bench.peer()
    bench.core.ends[Operation.HOME] = (MotionStatus.ABORTED, Code.FOLLOWING_ERROR)
    peer.send("move_jp", position=HOME)
    peer.send("home")
    bench.settle(ticks=60)
    first, second = peer.receive(Accepted), peer.receive(Accepted)
    peer.send("wait", id=first.id)
    assert peer.receive(Outcome).status == MotionStatus.PREEMPTED
    peer.send("wait", id=second.id)
    outcome = peer.receive(Outcome)
    assert (outcome.status, outcome.code, outcome.state) == (
        MotionStatus.ABORTED,
        Code.FOLLOWING_ERROR,
        OperatingState.FAULT,
    )


def test_wait_for_a_refused_command_is_refused_with_its_code(bench):
    bench.core.verdicts[Operation.HOME] = Code.NOT_ENABLED
    peer = bench.peer()
    peer.send("home")
    bench.settle(ticks=1)
    peer.receive()
    peer.send("wait", id=1)
    assert peer.receive().code == Code.NOT_ENABLED


def test_wait_for_an_id_that_was_never_given_is_refused(bench):
    peer = bench.peer()
    peer.send("wait", id=99)
    refused = peer.receive()
    assert refused.code == Code.BAD_PARAMETER
    assert "99" in refused.detail


def test_wait_ends_with_its_time(bench):
    peer = bench.peer()
    peer.send("move_jp", position=HOME)
    bench.settle(ticks=1)
    peer.receive(Accepted)
    peer.send("wait", id=1, timeout=0.5)
    bench.clock.time += 0.49
    assert peer.silent()
    bench.clock.time += 0.02
    bench.settle()
    outcome = peer.receive(Outcome)
    assert outcome.timed_out
    assert outcome.status == MotionStatus.NONE


def test_wait_for_a_state_sees_one_that_lasted_a_single_cycle(bench):
    peer = bench.peer()
    bench.settle(ticks=1)
    peer.send("wait", states=ENABLED)
    bench.core.sample["state"] = OperatingState.ENABLED
    bench.core.tick()
    bench.core.sample["state"] = OperatingState.DISABLED
    bench.settle(ticks=3)  # all four samples in one look
    assert not peer.receive(Outcome).timed_out


def test_wait_asked_twice_is_answered_once(bench):
    peer = bench.peer()
    peer.send("move_jp", position=HOME)
    bench.settle(ticks=1)
    peer.receive(Accepted)
    number = peer.send("wait", id=1)
    peer.send("wait", id=1, number=number)
    bench.settle(ticks=30)
    assert peer.receive(Outcome).status == MotionStatus.DONE
    assert peer.silent()


def test_second_client_is_refused_with_the_name_of_the_first(bench):
    left, right = bench.peer("left"), bench.peer("right")
    left.send("enable")
    right.send("enable")
    refused = right.receive()
    assert refused.code == Code.LEASED
    assert "left" in refused.detail
    assert "1234" in refused.detail
    bench.settle(ticks=2)
    assert len(bench.core.messages) == 1


def test_lease_can_be_taken_and_the_former_holder_is_refused(bench):
    left, right = bench.peer("left"), bench.peer("right")
    left.send("enable")
    right.send("enable", take=True)
    bench.settle(ticks=2)
    assert right.receive(Accepted).id == 2
    left.receive(Accepted)
    left.send("disable")
    assert left.receive().code == Code.LEASED


def test_lease_ends_after_two_seconds_of_silence_and_lives_on_heartbeats(bench):
    left, right = bench.peer("left"), bench.peer("right")
    left.send("enable")
    bench.settle(ticks=1)
    left.receive(Accepted)
    for _ in range(5):
        bench.clock.time += 1.5
        left.send("heartbeat", reply=False, holds=True)
    right.send("enable")
    assert right.receive().code == Code.LEASED
    bench.clock.time += 2.1
    right.send("enable")
    bench.settle(ticks=1)
    right.receive(Accepted)


def test_silent_client_keeps_the_lease_while_its_motion_runs(bench):
    left, right = bench.peer("left"), bench.peer("right")
    left.send("move_jp", position=HOME)
    bench.settle(ticks=1)
    bench.clock.time += 10.0
    right.send("enable")
    assert right.receive().code == Code.LEASED
    bench.settle(ticks=30)
    right.send("enable")
    bench.settle(ticks=1)
    right.receive(Accepted)


def test_released_lease_is_free_at_once_and_heartbeats_do_not_take_it_back(bench):
    left, right = bench.peer("left"), bench.peer("right")
    left.send("enable")
    bench.settle(ticks=1)
    left.send("release")
    left.send("heartbeat", reply=False, holds=True)
    right.send("enable")
    bench.settle(ticks=1)
    right.receive(Accepted)


@pytest.mark.parametrize("op", ["hold", "stop"])
def test_whoever_sees_danger_may_hold_and_stop_without_the_lease(bench, op):
    left, right = bench.peer("left"), bench.peer("right")
    left.send("move_jp", position=HOME)
    right.send(op)
    for _ in range(20):
        bench.settle(ticks=1)
    right.receive(Accepted)
    left.send("enable")  # and it has not cost the holder the lease
    bench.settle(ticks=1)
    left.receive(Accepted)
    left.receive(Accepted)


def test_stop_holds_first_and_disables_when_the_arm_rests(bench):
    peer = bench.peer()
    peer.send("stop")
    for _ in range(10):
        bench.settle(ticks=1)
    operations = [int(message["operation"]) for message in bench.core.messages]
    assert operations == [Operation.HOLD, Operation.DISABLE]
    disable = peer.receive(Accepted)
    assert disable.id == 2
    assert disable.sequence > 1 + 3  # the hold takes three cycles


def test_stop_disables_even_where_a_hold_is_refused_or_never_ends(bench):
    peer = bench.peer()
    bench.core.verdicts[Operation.HOLD] = Code.IN_FAULT
    peer.send("stop")
    for _ in range(3):
        bench.settle(ticks=1)
    assert peer.receive(Accepted).id == 2

    bench.core.verdicts.clear()
    peer.send("stop")
    bench.settle(ticks=1)  # the hold is taken; now its end does not come
    bench.clock.time += 2.1
    bench.settle()
    bench.settle(ticks=1)
    assert peer.receive(Accepted).id == 4


def test_stop_goes_on_when_its_client_has_gone(bench):
    peer = bench.peer()
    peer.send("stop")
    peer.socket.close()
    bench.clock.time += 1.0
    for _ in range(10):
        bench.settle(ticks=1)
    assert int(bench.core.messages[-1]["operation"]) == Operation.DISABLE


def test_full_mailbox_is_refused_and_the_messages_in_it_stay_whole(bench):
    peer = bench.peer()
    for i in range(CAPACITY):
        peer.send("servo_jp", reply=False, position=[float(i)])
    peer.send("hold")
    assert peer.receive().code == Code.MAILBOX_FULL
    bench.settle(ticks=CAPACITY)
    assert [m["vector"][0] for m in bench.core.messages] == list(range(CAPACITY))
    assert [m["id"] for m in bench.core.messages] == list(range(1, CAPACITY + 1))


def test_servo_commands_are_silent_until_refused_and_then_told_once(bench):
    peer = bench.peer()
    peer.send("servo_jp", reply=False, position=HOME)
    bench.settle(ticks=1)
    assert peer.silent()
    bench.core.verdicts[Operation.SERVO_JP] = Code.STEP_TOO_LARGE
    for _ in range(10):
        peer.send("servo_jp", reply=False, position=HOME)
        bench.settle(ticks=1)
    refused = peer.receive()
    assert (refused.code, peer.last_number) == (Code.STEP_TOO_LARGE, 0)
    assert peer.silent()
    peer.send("status")
    assert peer.receive(Status).counters["refused"] == 10
    peer.send("servo_jp", reply=False, position=HOME)
    bench.settle(ticks=1)
    assert peer.receive().code == Code.STEP_TOO_LARGE


def test_stream_has_the_configured_timeout_unless_it_asks_for_less(bench):
    peer = bench.peer()
    longest = bench.config.stream.timeout
    peer.send("servo_jp", reply=False, position=HOME)
    peer.send("servo_cp", reply=False, pose=np.eye(4).tolist(), timeout=longest / 2)
    bench.settle(ticks=2)
    assert [message["timeout_s"] for message in bench.core.messages] == [longest, longest / 2]
    peer.send("servo_jp", position=HOME, timeout=longest * 2)
    refused = peer.receive()
    assert refused.code == Code.BAD_PARAMETER
    assert f"at most {longest:g} s" in refused.detail


def test_stream_of_thousands_does_not_push_out_the_end_of_a_move(bench):
    peer = bench.peer()
    peer.send("move_jp", position=HOME)
    bench.settle(ticks=30)
    peer.receive(Accepted)
    for _ in range(300):
        for _ in range(20):
            bench.gateway.link.post(Operation.SERVO_JP, JointGoal(position=HOME), sender=b"stream")
        bench.settle(ticks=20)
    peer.send("wait", id=1)
    assert peer.receive(Outcome).status == MotionStatus.DONE


MALFORMED = {
    "not msgpack": [b"\xc1"],
    "not a map": [msgspec.msgpack.encode([1, 2, 3])],
    "empty": [b""],
    "no client": [msgspec.msgpack.encode({"op": "enable", "request": 1})],
    "a number as operation": [msgspec.msgpack.encode({"op": 5, "request": 1, "client": {"id": "x"}})],
    "an endless id": [msgspec.msgpack.encode({"op": "enable", "request": 1, "client": {"id": "x" * 1000}})],
    "a negative number": [msgspec.msgpack.encode({"op": "enable", "request": -1, "client": {"id": "x"}})],
    "two frames": [b"", msgspec.msgpack.encode({"op": "enable", "request": 1, "client": {"id": "x"}})],
}


@pytest.mark.parametrize("frames", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request_is_answered_counted_and_moves_nothing(bench, frames):
    peer = bench.peer()
    peer.send_raw(*frames)
    assert peer.receive().code == Code.BAD_PARAMETER
    assert bench.gateway.counters["malformed"] == 1
    assert bench.core.mailbox["head"][0] == 0


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("move_jp", {}),
        ("move_jp", {"position": "home"}),
        ("move_jp", {"position": [0.0], "sped": 1.0}),
        ("move_cp", {"pose": [[1.0] * 4] * 3}),
        ("move_cp", {"pose": [[1.0] * 4] * 3 + [[1.0] * 3]}),
        ("enable", {"now": True}),
        ("wait", {"id": "first"}),
        ("wait", {"timeout": -1.0}),
        ("wait", {"states": 16}),
    ],
)
def test_malformed_arguments_are_refused_by_name(bench, op, args):
    peer = bench.peer()
    number = peer.send(op, **args)
    refused = peer.receive()
    assert (refused.code, peer.last_number) == (Code.BAD_PARAMETER, number)
    assert op in refused.detail
    assert bench.core.mailbox["head"][0] == 0


def test_more_entries_than_any_arm_has_are_of_the_wrong_size(bench):
    peer = bench.peer()
    peer.send("move_jp", position=[0.0] * 9)
    assert peer.receive().code == Code.WRONG_SIZE


def test_unknown_operation_is_refused_with_those_known(bench):
    peer = bench.peer()
    peer.send("dance")
    refused = peer.receive()
    assert refused.code == Code.UNKNOWN_OPERATION
    assert "move_jp" in refused.detail


def test_malformed_flood_does_not_cost_the_holder_its_lease_or_the_arm_its_motion(bench):
    peer, vandal = bench.peer(), bench.peer("vandal")
    peer.send("move_jp", position=HOME)
    bench.settle(ticks=1)
    for _ in range(200):
        vandal.send_raw(b"\xc1")
    bench.settle(ticks=25)
    peer.receive(Accepted)
    peer.send("wait", id=1)
    assert peer.receive(Outcome).status == MotionStatus.DONE


def test_status_explains_fault_and_lease(bench):
    bench.core.ends[Operation.HOME] = (MotionStatus.ABORTED, Code.HOMING_FAILED)
    peer = bench.peer("console")
    peer.send("home")
    bench.settle(ticks=60)
    peer.receive(Accepted)
    bench.run_dir.core.write_text('{"pid": 5, "scheduler": "SCHED_FIFO 80"}')
    peer.send("status")
    status = peer.receive(Status)
    assert status.fault.name == "HOMING_FAILED"
    assert "sensor" in status.fault.remedy
    assert status.lease.name == "console"
    assert status.settings["watchdog"] == bench.config.driver.watchdog
    assert status.core["scheduler"] == "SCHED_FIFO 80"
    assert status.recorder is None
    assert (status.sequence, status.state, status.epoch) == (60, OperatingState.FAULT, 7)


def test_restarted_gateway_knows_outcomes_and_goes_on_counting(bench):
    peer = bench.peer()
    peer.send("move_jp", position=HOME)
    bench.settle(ticks=30)
    assert peer.receive(Accepted).id == 1
    bench.restart_gateway()
    peer.send("wait", id=1)
    assert peer.receive(Outcome).status == MotionStatus.DONE
    peer.send("hold")
    bench.settle(ticks=1)
    assert peer.receive(Accepted).id == 2


def test_holder_keeps_its_lease_over_a_restart_of_the_gateway(bench):
    left, right = bench.peer("left"), bench.peer("right")
    left.send("enable")
    bench.settle(ticks=1)
    bench.restart_gateway()
    left.send("heartbeat", reply=False, holds=True)
    right.send("enable")
    assert right.receive().code == Code.LEASED


def test_advance_is_refused_in_real_time(bench):
    peer = bench.peer()
    peer.send("advance", until=10)
    assert peer.receive().code == Code.BAD_PARAMETER


# --- lock-step: time moves only by requests


def test_time_stands_still_without_requests(lockstep_bench):
    for _ in range(10):
        lockstep_bench.settle()
    assert lockstep_bench.gateway.link.sequence == 0


def test_status_brings_the_first_tick_and_no_second(lockstep_bench):
    peer = lockstep_bench.peer()
    for _ in range(2):
        peer.send("status")
        lockstep_bench.settle()
        assert peer.receive(Status).sequence == 1


def test_command_takes_exactly_one_tick(lockstep_bench):
    peer = lockstep_bench.peer()
    peer.send("enable")
    lockstep_bench.settle()
    assert peer.receive(Accepted).sequence == 1
    peer.send("hold")
    lockstep_bench.settle()
    assert peer.receive(Accepted).sequence == 2
    assert lockstep_bench.gateway.link.sequence == 2


def test_wait_takes_as_many_ticks_as_the_activity(lockstep_bench):
    peer = lockstep_bench.peer()
    peer.send("home")
    lockstep_bench.settle()
    accepted = peer.receive(Accepted)
    peer.send("wait", id=accepted.id)
    lockstep_bench.settle()
    assert peer.receive(Outcome).sequence == 1 + 40
    assert lockstep_bench.gateway.link.sequence == 41


def test_wait_without_end_takes_as_many_ticks_as_its_time(lockstep_bench):
    peer = lockstep_bench.peer()
    peer.send("wait", states=ENABLED, timeout=0.35)
    lockstep_bench.settle()
    outcome = peer.receive(Outcome)
    assert outcome.timed_out
    assert outcome.sequence == 350


def test_question_without_time_takes_none(lockstep_bench):
    peer = lockstep_bench.peer()
    peer.send("home")
    lockstep_bench.settle()
    peer.receive(Accepted)
    peer.send("wait", id=1, timeout=0.0)
    lockstep_bench.settle()
    assert peer.receive(Outcome).timed_out
    assert lockstep_bench.gateway.link.sequence == 1


def test_advance_runs_to_the_cycle_that_was_named_however_often_it_is_asked(lockstep_bench):
    peer = lockstep_bench.peer()
    for _ in range(2):
        peer.send("advance", until=257)
        lockstep_bench.settle()
        assert peer.receive(Outcome).sequence == 257


def test_servo_command_waits_for_time_and_is_taken_in_its_first_tick(lockstep_bench):
    peer = lockstep_bench.peer()
    peer.send("servo_jp", reply=False, position=HOME)
    lockstep_bench.settle()
    assert lockstep_bench.gateway.link.sequence == 0
    peer.send("advance", until=1)
    lockstep_bench.settle()
    assert peer.receive(Outcome).sequence == 1
    assert len(lockstep_bench.core.messages) == 1


def test_stop_in_lockstep_brings_its_own_time(lockstep_bench):
    peer = lockstep_bench.peer()
    peer.send("stop")
    lockstep_bench.settle()
    accepted = peer.receive(Accepted)
    assert accepted.id == 2
    assert accepted.sequence == 1 + 3 + 1


def test_commands_of_others_have_their_turn_during_a_long_wait(lockstep_bench):
    waiting, other = lockstep_bench.peer("waiting"), lockstep_bench.peer("other")
    waiting.send("wait", states=ENABLED, timeout=100.0)
    lockstep_bench.core.run_grant()
    other.send("enable")
    lockstep_bench.settle()
    assert other.receive(Accepted).sequence < 300
    assert waiting.receive(Outcome).state == OperatingState.ENABLED


def test_time_does_not_run_on_for_a_client_that_has_gone(lockstep_bench):
    peer = lockstep_bench.peer()
    peer.send("wait", states=ENABLED)
    lockstep_bench.core.run_grant()
    lockstep_bench.clock.time += 6.0
    lockstep_bench.settle()
    before = lockstep_bench.gateway.link.sequence
    for _ in range(5):
        lockstep_bench.settle()
    assert lockstep_bench.gateway.link.sequence == before
