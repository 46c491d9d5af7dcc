"""The daemon with its real processes and the emulated arm."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from controller.errors import DaemonLost
from controller.run_dir import RunDir
from telemetry.recording import load
from telemetry.sample import OperatingState


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.01)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_gateway_is_started_again_and_the_client_goes_on(lockstep_daemon):
    with Arm() as arm:
        arm.enable()
        motion = arm.home()
        arm.sleep(0.1)
        before = arm.measured_js().sequence
        killed = lockstep_daemon.descriptor.children["gateway"]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: lockstep_daemon.descriptor.children["gateway"] != killed)
        motion.wait()  # asked again by itself, and answered by the new gateway
        state = arm.operating_state()
        assert (state.state, state.is_homed) == (OperatingState.ENABLED, True)
        assert arm.measured_js().sequence > before
        assert lockstep_daemon.failure is None


def test_death_of_the_core_ends_the_daemon_with_a_reason(lockstep_daemon):
    with Arm() as arm:
        children = lockstep_daemon.descriptor.children
        os.kill(children["core"], signal.SIGKILL)
        assert lockstep_daemon.wait(20.0)
        assert "core ended by itself (signal SIGKILL)" in lockstep_daemon.failure
        assert "trocar up" in lockstep_daemon.failure
        assert not any(is_running(pid) for pid in children.values())
        with pytest.raises(DaemonLost):
            arm.enable()


def test_orderly_end_leaves_logs_and_nothing_else_and_a_complete_recording(tmp_path, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    path = tmp_path / "run.mcap"
    with Daemon(load_config("psm_emulated_strict"), lockstep=True, recording=path) as daemon:
        children = daemon.descriptor.children
        with Arm() as arm:
            arm.enable()
            arm.sleep(0.2)
            cycles = arm.measured_js().sequence
    assert not any(is_running(pid) for pid in children.values())
    left = {entry.name for entry in daemon.run_dir.path.iterdir()}
    assert left == {"daemon.lock", "core.log", "rig.log", "gateway.log", "recorder.log"}
    samples = load(path).samples
    assert samples["sequence"][0] == 1
    assert len(samples) == samples["sequence"][-1] >= cycles


def test_killed_daemon_leaves_no_process_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    run_dir = RunDir(tmp_path / "PSM1")
    command = [sys.executable, "-c", "from controller.cli.main import main; main()"]
    daemon = subprocess.Popen([*command, "up", "psm_emulated_strict", "--lockstep"], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: run_dir.read_descriptor() is not None or daemon.poll() is not None, 280.0)
        children = run_dir.read_descriptor().children
        assert set(children) == {"rig", "gateway", "core"}
    finally:
        daemon.kill()
        daemon.wait()
    wait_for(lambda: not any(is_running(pid) for pid in children.values()))
    assert not run_dir.is_locked()
