"""The emulated arm as a process behind a pseudo-terminal, as the daemon starts it; nothing asserts on wall time."""

import hashlib
import json
import signal
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from controller.clock import CLOCK, LOCKSTEP, wait_lockstep
from controller.config import ArmConfig, Config, DriverConfig, GuardConfig, HomingConfig, LawConfig, RigConfig
from controller.core import make_driver
from drivers.driver import COMMAND, FEEDBACK, DriverError, Mode
from firmware_bridge import native
from hil.faults import Fault, FaultError, Faults
from hil.truth import TRUTH
from kinematics.description import load_arm
from telemetry.ring import RING_HEADER, RingReader, open_ring
from telemetry.shared import create_records

ARM = "psm_classic"


def config(seed=1):
    return Config(
        arm=ArmConfig(name="PSM1", description=ARM),
        law=LawConfig(kp=[0.0] * 7, kd=[0.0] * 7),
        guard=GuardConfig(following_error=[0.1] * 7),
        homing=HomingConfig(pose=[0.0] * 7),
        driver=DriverConfig(watchdog=0.25),
        rig=RigConfig(seed=seed),
    )


def driver_of(run_dir, **settings):
    changed = config()
    changed = msgspec.structs.replace(changed, driver=msgspec.structs.replace(changed.driver, **settings))
    return make_driver(changed, load_arm(ARM), str(run_dir / "port"))


@pytest.fixture
def start(tmp_path):
    """Start rigs as processes; whatever a test leaves is ended."""
    processes = []

    def start_(name="PSM1", *, lockstep=False, seed=1):
        run_dir = tmp_path / name
        run_dir.mkdir()
        (run_dir / "config.json").write_bytes(msgspec.json.encode(config(seed)))
        barrier = create_records(run_dir / "lockstep", LOCKSTEP) if lockstep else None
        command = [sys.executable, "-m", "hil.rig", str(run_dir), *(["--lockstep"] if lockstep else [])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        line = process.stdout.readline()
        assert line == "ready\n", process.stderr.read()
        return run_dir, process, barrier

    yield start_
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process):
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def test_rig_tells_who_it_is_serves_the_driver_and_cleans_up(start):
    run_dir, process, _ = start()
    info = json.loads((run_dir / "rig.json").read_text())
    assert info["pid"] == process.pid
    assert info["port"] == str((run_dir / "port").readlink())
    assert info["firmware_digest"] == native.source_digest()
    assert info["seed"] == 1
    driver = driver_of(run_dir)
    device = driver.open()
    assert device.n_axes == 7
    assert device.servo_rate == 4000.0
    driver.close()
    driver.open()  # the host may go and come back
    driver.close()

    ring = open_ring(run_dir / "truth", TRUTH)
    with RingReader(ring, oldest=True) as reader:
        records = reader.read()
    assert len(records) > 0
    assert (np.diff(records["tick"]) == 1).all()
    assert (np.diff(records["firmware_time_us"]) == 1000).all()
    assert (np.diff(records["t_ns"]) >= 1_000_000).all()

    code, _ = end(process)
    assert code == 0
    assert not (run_dir / "port").is_symlink()


def test_host_at_another_baud_rate_is_not_understood(start):
    run_dir, process, _ = start()
    driver = driver_of(run_dir, baud=3_000_000)
    with pytest.raises(DriverError, match="3000000 baud"):
        driver.open()
    assert Faults(run_dir).counts()["bytes_garbled"] > 0
    driver = driver_of(run_dir)
    driver.open()  # and is again at the right one
    driver.close()
    assert end(process)[0] == 0


def test_absent_configuration_is_one_clear_line(tmp_path):
    done = subprocess.run([sys.executable, "-m", "hil.rig", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("trocar: ")
    assert "config.json" in done.stderr
    assert "Traceback" not in done.stderr


def lockstep_run(start, name, seed):
    """Drive a rig through 120 ticks as a core does; return the hash of its truth and of what the host saw."""
    run_dir, process, barrier = start(name, lockstep=True, seed=seed)
    driver = driver_of(run_dir)
    driver.open()
    assert barrier["rig_tick"][0] == 0  # the handshake takes no time
    link, feedback, command = driver.link, np.zeros(1, FEEDBACK), np.zeros(1, COMMAND)
    reader = RingReader(open_ring(run_dir / "truth", TRUTH), slot=1)
    barrier["active"] = 1
    seen = hashlib.sha256()
    for tick in range(1, 121):
        link["await_bytes"] = barrier["rig_bytes"][0]
        driver.receive(link, feedback)
        assert link["error"][0] == 0
        if tick > 1:
            assert feedback["echo"][0] == tick - 1  # answered within its own tick
            seen.update(feedback.tobytes())
        command["sequence"] = tick
        command["mode"] = Mode.OFF if tick < 10 else Mode.ON
        if tick <= 10:
            command["position"] = feedback["position"]
        command["kp"][0, :3] = (400.0, 400.0, 15000.0)
        command["kd"][0, :3] = (8.0, 8.0, 250.0)
        assert driver.transmit(link, command) == 0
        barrier["core_bytes"] = link["bytes_sent"]
        barrier["core_tick"] = tick
        while barrier["rig_tick"][0] < tick:
            assert process.poll() is None
    truth = reader.read()
    reader.close()
    assert (truth["tick"] == np.arange(1, 121)).all()
    assert (truth["t_ns"] == truth["tick"] * 1_000_000).all()
    assert truth["brakes_open"][-1] == 1
    barrier["shutdown"] = 1
    process.communicate(timeout=30)
    assert process.returncode == 0
    driver.close()
    return seen.hexdigest(), hashlib.sha256(truth.tobytes()).hexdigest()


def test_lockstep_host_that_stands_still_is_told_how_much_later_it_is(start):
    run_dir, process, barrier = start("PSM1", lockstep=True)
    driver = driver_of(run_dir)
    driver.open()
    link, feedback, command = driver.link, np.zeros(1, FEEDBACK), np.zeros(1, COMMAND)
    faults, clock, ring = Faults(run_dir), np.zeros(1, CLOCK), np.zeros(1, RING_HEADER)
    clock["period_ns"], ring["capacity"] = 1_000_000, 16
    reader = RingReader(open_ring(run_dir / "truth", TRUTH), slot=1)

    def cycle():
        assert wait_lockstep(clock, barrier, link, ring) == clock["tick"][0] * 1_000_000
        driver.receive(link, feedback)
        command["sequence"] = clock["tick"][0]
        assert driver.transmit(link, command) == 0
        barrier["core_bytes"] = link["bytes_sent"]
        barrier["core_tick"] = clock["tick"][0]
        return int(clock["tick"][0]), int(clock["skipped"][0])

    def await_rig(tick):
        while barrier["rig_tick"][0] < tick:
            assert process.poll() is None

    barrier["grant"], barrier["grant_ticks"] = 1, 20
    assert [cycle() for _ in range(3)] == [(1, 0), (2, 0), (3, 0)]
    await_rig(3)
    faults.stall_host(7)
    assert [cycle() for _ in range(3)] == [(4, 0), (12, 7), (13, 0)]
    assert feedback["echo"][0] == 12
    assert clock["overruns"][0] == 1
    assert clock["granted"][0] == 20 - 13  # the time that a client asked for has passed

    await_rig(13)
    faults.stall_host(10**9)  # dead
    assert cycle() == (14, 0)
    newest = 0
    while newest < 500:
        truth = reader.read()
        newest = int(truth["tick"][-1]) if len(truth) else newest
        assert process.poll() is None
    assert barrier["rig_tick"][0] == 13
    faults.clear()
    await_rig(14)
    clock["granted"] = 10
    tick, skipped = cycle()
    assert skipped == tick - 15 > 480
    barrier["shutdown"] = 1
    process.communicate(timeout=30)
    assert process.returncode == 0
    reader.close()
    driver.close()


def test_a_rig_in_real_time_refuses_to_stall_its_host(start):
    run_dir, process, _ = start()
    faults = Faults(run_dir)
    with pytest.raises(FaultError, match="kill -STOP"):
        faults.stall_host(3)
    assert faults.supported == ~Fault.HOST_STALLED
    assert end(process)[0] == 0


def test_lockstep_run_through_the_pseudo_terminal_repeats_to_the_bit(start):
    first = lockstep_run(start, "first", seed=3)
    assert lockstep_run(start, "again", seed=3) == first
    assert lockstep_run(start, "other", seed=4) != first
