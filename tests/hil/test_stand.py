"""The stand is the daemon's cycle and the emulated arm: the same samples, to the bit; and it may be forked."""

import os
import pickle

import numpy as np
import pytest

from controller.catalogue import Code
from controller.client import Arm
from controller.commands import JointGoal
from controller.config import load_config
from controller.daemon import Daemon
from hil.faults import Faults
from hil.stand import CommandError, Stand, StandError
from telemetry.ring_file import open_ring
from telemetry.sample import SAMPLE, OperatingState

AWAY = [0.3, -0.2, 0.15, 0.4, 0.2, -0.2, 0.1]
PARKED = [0.0, 0.0, 0.10, 0.0, 0.0, 0.0, 0.0]
NOT_THE_ARMS = {"command_sent_ns"}  # the client's own stamp, of its own clock


@pytest.fixture(scope="module")
def homed():
    stand = Stand(load_config("psm_emulated_strict"), seed=7)
    stand.enable()
    stand.home()
    yield stand
    stand.close()


def in_a_child(stand, work, seed=None):
    """Return what `work(stand)` gives in a forked process."""
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_fd)
        try:
            stand.detach(seed)
            answer = pickle.dumps(work(stand))
        except BaseException as error:
            answer = pickle.dumps(repr(error))
        with os.fdopen(write_fd, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        answer = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    return answer


def run_daemon(tmp_path, monkeypatch, fault_tick):
    """Return all samples of a daemon in lock-step and the cycles in which it took its commands."""
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with Daemon(load_config("psm_emulated_strict"), lockstep=True) as daemon:
        with Arm() as arm:
            arm.enable()
            arm.home().wait()
            arm.move_jp(AWAY)
            arm.sleep(fault_tick * 1e-3)
            Faults(daemon.run_dir.path).freeze_encoder(0)
            arm.sleep(0.1)
            Faults(daemon.run_dir.path).press_estop()
            arm.sleep(0.05)
            last = arm.sample()["sequence"]
        ring = open_ring(daemon.run_dir.samples, SAMPLE)
        assert ring.head <= ring.capacity
        return ring.slots[: int(last)].copy()


def test_one_seed_gives_the_daemons_samples(tmp_path, monkeypatch):
    theirs = run_daemon(tmp_path, monkeypatch, fault_tick=150)
    commands = [(int(s["sequence"]), int(s["command_id"])) for s in theirs[theirs["command_id"] > 0]]
    stand = Stand(load_config("psm_emulated_strict"))
    for (tick, number), (name, args) in zip(
        commands, [("enable", None), ("home", None), ("move_jp", JointGoal(position=AWAY))], strict=True
    ):
        assert stand.send(name, args, at=tick) == number
    moved = commands[-1][0]
    stand.run(moved + 150)
    stand.faults.freeze_encoder(0)
    stand.run(100)
    stand.faults.press_estop()
    stand.run(50)
    ours = stand.samples
    stand.close()
    assert len(ours) == len(theirs)
    differing = {
        name: int(
            np.flatnonzero([a.tobytes() != b.tobytes() for a, b in zip(ours[name], theirs[name], strict=True)])[0]
        )
        for name in SAMPLE.names
        if name not in NOT_THE_ARMS and ours[name].tobytes() != theirs[name].tobytes()
    }
    assert differing == {}
    assert ours["state"][-1] == OperatingState.FAULT


def test_a_forked_stand_goes_on_as_its_parent_does(homed):
    homed.wait(homed.send("move_jp", JointGoal(position=PARKED)), 5000)
    homed.send("move_jp", JointGoal(position=AWAY))
    homed.run(123)

    def go_on(stand):
        stand.run(200)
        return stand.samples[-200:].tobytes(), stand.truth[-200:].tobytes()

    first, second = in_a_child(homed, go_on), in_a_child(homed, go_on)
    assert first == second
    assert go_on(homed) == first


def test_a_fork_with_another_seed_has_another_noise(homed):
    def go_on(stand):
        stand.run(50)
        return stand.samples[-1]["absolute_position"].tolist()

    same, other, again = (in_a_child(homed, go_on, seed) for seed in (3, 4, 3))
    assert same == again
    assert same != other


def test_a_host_that_stands_still_is_stopped_by_the_watchdog_and_stays_stopped(homed):
    def go_on(stand):
        stand.run(10)
        stand.stall([0, 30])
        stand.run(100)
        return stand.truth, stand.samples

    truth, samples = in_a_child(homed, go_on)
    stopped = truth[-120:]
    assert (stopped["power"][-100:] == 0).all()
    late = samples[-99]
    assert late["overruns"] == samples[-101]["overruns"] + 1
    assert late["t_ns"] - samples[-100]["t_ns"] == 31_000_000
    assert samples[-1]["state"] == OperatingState.FAULT


def test_a_dead_host_leaves_the_arm_to_its_watchdog(homed):
    def go_on(stand):
        last = stand.record["time_ns"]
        stand.run_alone(20)
        return int(stand.record["power_off_ns"] - last), stand.truth[-1]

    off_ns, truth = in_a_child(homed, go_on)
    watchdog_ns = homed.config.driver.watchdog * 1e9
    # The last command was taken within the period before; the firmware looks every 250 us.
    assert watchdog_ns - 1_000_000 <= off_ns <= watchdog_ns
    assert truth["power"] == 0
    assert (truth["motor_current"] == 0.0).all()


def test_a_refused_command_says_why(homed):
    with pytest.raises(CommandError) as caught:
        homed.wait(homed.send("move_jp", JointGoal(position=[9.0] * 7)), 100, "move_jp")
    assert caught.value.code == Code.JOINT_LIMIT


def test_commands_are_given_in_the_order_of_their_cycles(homed):
    now = homed.tick
    homed.send("hold", at=now + 50)
    with pytest.raises(StandError, match="in the order of their cycles"):
        homed.send("hold")
    assert len(homed.scheduled()[0]) == 1
    homed.forget_scheduled(0)
    assert len(homed.scheduled()[0]) == 0


def test_a_stalled_host_wakes_up_as_many_periods_later_and_the_time_granted_has_passed(homed):
    def work(stand):
        tick, count = stand.tick, int(stand._stand["truth_count"][0])
        stand.faults.stall_host(3)
        stand.run(10)
        return stand.tick - tick, int(stand._stand["truth_count"][0]) - count, int(stand._clock["overruns"][0])

    assert in_a_child(homed, work) == (7, 10, 1)
