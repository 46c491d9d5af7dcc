"""The host is killed in real time: the motor controllers stop the arm by themselves."""

import os
import signal
import time

import numpy as np

from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from telemetry.ring_file import newest_record, open_ring


def is_live(truth):
    return truth["power"] or truth["brakes_released"] or truth["motor_current"].any()


def test_a_killed_core_leaves_an_arm_without_torque_and_with_its_brakes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with Daemon(load_config("psm_emulated")) as daemon, Arm() as arm:
        arm.enable()
        motion = arm.home()
        assert not motion.done
        ring = open_ring(daemon.run_dir.truth)
        assert newest_record(ring)[0]["power"]
        os.kill(daemon.descriptor.children["core"], signal.SIGKILL)
        give_up = time.monotonic() + 60.0
        # The daemon gives the arm up too, and takes the emulated one down half a second after its watchdog.
        while is_live(newest_record(ring)[0]) and time.monotonic() < give_up:
            time.sleep(0.001)
        records = ring.slots[: ring.head] if ring.head < ring.capacity else np.sort(ring.slots, order="tick")
        off = records[records["power"] == 0]
        assert len(off)
        assert (records[-1]["motor_current"] == 0.0).all()
        assert not records[-1]["power"]
        assert not records[-1]["brakes_released"]
        assert daemon.wait(30.0)
        assert "watchdog has stopped the arm" in daemon.failure
