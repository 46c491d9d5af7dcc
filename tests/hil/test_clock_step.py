"""The wall clock jumps by an hour in the core, the rig and the gateway: nothing notices."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from telemetry.ring_file import open_ring
from telemetry.sample import OperatingState

SOURCE = Path(__file__).with_name("clock_step.c")
STAMPS = ("command_sent_ns",)  # the client's clock
HOUR = 3600.0

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    library = tmp_path_factory.mktemp("shim") / "clock_step.so"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


class Stepped:
    """Sets the environment that processes to come get the shim by."""

    def __init__(self, monkeypatch, library, log):
        log.mkdir()
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("CLOCK_STEP_LOG", str(log))
        self.log = log

    def reached(self, pid):
        return (self.log / str(pid)).exists()


def run(tmp_path, monkeypatch, config, *, lockstep, stepped=None):
    """Home and move the emulated arm; return its samples and what it truly did."""
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with Daemon(load_config(config), lockstep=lockstep) as daemon, Arm() as arm:
        children = daemon.descriptor.children
        arm.enable()
        arm.home().wait(60.0)
        q = arm.setpoint_js().position.copy()
        arm.move_jp(q + np.array([0.2, -0.1, 0.02, 0.3, 0.0, 0.1, 0.2]), speed=0.5).wait(60.0)
        for _ in range(50):
            arm.servo_jr([0.0005, 0, 0, 0, 0, 0, 0])
            arm.sleep(0.01)
        arm.pause()
        arm.resume()
        assert arm.operating_state().state == OperatingState.ENABLED
        samples, truth = open_ring(daemon.run_dir.samples), open_ring(daemon.run_dir.truth)
        assert samples.head < samples.capacity
        result = samples.slots[: samples.head].copy(), truth.slots[: truth.head].copy()
        if stepped is not None:
            assert all(stepped.reached(children[name]) for name in ("core", "rig", "gateway"))
    return result


def test_the_shim_steps_the_wall_clock_of_python_and_nothing_else(shim, tmp_path, monkeypatch):
    stepped = Stepped(monkeypatch, shim, tmp_path / "log")
    program = "import os, time; print(*[time.time() for _ in range(9)], time.monotonic(), os.getpid())"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    wall, monotonic, pid = np.array(output[:9], float), float(output[9]), output[10]
    assert set(np.round(np.diff(wall) / HOUR).astype(int)) == {1, -2}
    assert abs(monotonic - float(Path("/proc/uptime").read_text().split()[0])) < 60.0
    assert stepped.reached(pid)
    assert not stepped.reached(os.getpid())


def test_steps_of_the_wall_clock_change_no_bit_of_a_run(shim, tmp_path, monkeypatch):
    samples, truth = run(tmp_path / "plain", monkeypatch, "psm_emulated_strict", lockstep=True)
    stepped = Stepped(monkeypatch, shim, tmp_path / "log")
    again, truth_again = run(tmp_path / "stepped", monkeypatch, "psm_emulated_strict", lockstep=True, stepped=stepped)
    assert len(samples) == len(again) > 2000
    for name in samples.dtype.names:
        if name not in STAMPS:
            assert samples[name].tobytes() == again[name].tobytes(), name
    for name in truth.dtype.names:
        assert truth[name].tobytes() == truth_again[name].tobytes(), name


def test_steps_of_the_wall_clock_are_no_fault_in_real_time(shim, tmp_path, monkeypatch):
    stepped = Stepped(monkeypatch, shim, tmp_path / "log")
    samples, _ = run(tmp_path / "stepped", monkeypatch, "psm_emulated", lockstep=False, stepped=stepped)
    assert not samples["fault"].any()
    assert (np.diff(samples["t_ns"]) > 0).all()
    assert (np.diff(samples["t_device_ns"]) >= 0).all()
