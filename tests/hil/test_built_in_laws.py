"""Computed torque and Cartesian impedance on the emulated arm, in lock-step, with their default gains."""

from pathlib import Path

import numpy as np
import pytest

from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from controller.errors import DaemonError
from hil.faults import Faults
from telemetry.ring_file import open_ring
from telemetry.sample import SAMPLE, OperatingState

CONFIG = Path(__file__).resolve().parent.parent.parent / "controller/configs/psm_emulated_strict.toml"
AWAY = [0.3, -0.2, 0.15, 0.4, 0.2, -0.2, 0.1]
HOME = [0.0, 0.0, 0.12, 0.0, 0.0, 0.0, 0.0]


def daemon_with(folder, run, patch, law):
    text = CONFIG.read_text().replace("[law]", f'[law]\nname = "{law}"')
    (folder / "arm.toml").write_text(text)
    patch.setenv("TROCAR_RUN_DIR", str(run))
    return Daemon(load_config(folder / "arm.toml"), lockstep=True)


def samples_since(daemon, sequence):
    slots = open_ring(daemon.run_dir.samples, SAMPLE).slots
    return np.sort(slots[slots["sequence"] > sequence], order="sequence")


def is_at_rest(samples):
    """The last tenth of a second: no axis moves by more than what its encoder and its noise show."""
    moved = np.ptp(samples[-100:]["measured_position"], axis=0)
    return (moved < 1e-3).all()


def test_an_impedance_yields_to_a_push_by_its_stiffness_and_comes_back(tmp_path, monkeypatch):
    with daemon_with(tmp_path, tmp_path / "run", monkeypatch, "cartesian_impedance") as daemon, Arm() as arm:
        faults = Faults(daemon.run_dir.path)
        arm.enable()
        arm.home().wait()
        begun = arm.measured_js().sequence
        arm.move_jp(AWAY).wait()
        arm.move_jp(HOME).wait()
        arm.sleep(0.5)
        samples = samples_since(daemon, begun)
        assert (samples["fault"] == 0).all()
        assert is_at_rest(samples)

        yields = []
        for stiffness in (500.0, 1500.0):
            arm.set_law_parameters(stiffness=[stiffness] * 3)
            places = []
            for force in (2.0, -2.0):  # the difference is free of friction's share and of the model's error
                faults.push_tip((force, 0.0, 0.0))
                arm.sleep(1.5)
                assert is_at_rest(samples_since(daemon, begun))
                places.append(arm.measured_cp().T[0, 3])
            yields.append(places[0] - places[1])
            faults.clear()
            # 4 N between the two; the yaw's Coulomb friction (0.065 N·m at 0.114 m) bears up to 0.57 N of it each way.
            assert (4.0 - 2 * 0.65) / stiffness < yields[-1] < 4.0 / stiffness
        assert yields[1] < 0.5 * yields[0]
        arm.disable()
        assert arm.operating_state().state == OperatingState.DISABLED


def test_computed_torque_follows_better_than_joint_pd(tmp_path, monkeypatch):
    def worst(law):
        with daemon_with(tmp_path, tmp_path / law, monkeypatch, law) as daemon, Arm() as arm:
            arm.enable()
            arm.home().wait()
            if law == "computed_torque":
                arm.set_law_parameters(bandwidth=40.0)
            begun = arm.measured_js().sequence
            arm.move_jp(AWAY).wait()
            arm.move_jp(HOME).wait()
            arm.sleep(0.2)
            samples = samples_since(daemon, begun)
            assert (samples["fault"] == 0).all()
            assert is_at_rest(samples)
            error = samples["measured_position"] - samples["setpoint_position"]
            return np.sqrt(np.mean(error[:, :3] ** 2, axis=0))

    assert (worst("computed_torque") < worst("joint_pd") * [0.97, 0.97, 1.01]).all()


def test_a_wrong_parameter_of_a_built_in_law_is_refused_at_start(tmp_path, monkeypatch):
    text = CONFIG.read_text().replace("[law]", '[law]\nname = "computed_torque"\nparameters = {bandwith = 10.0}')
    (tmp_path / "arm.toml").write_text(text)
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with (
        pytest.raises(DaemonError, match=r"no parameter 'bandwith'.*bandwidth, at_measured, device_share"),
        Daemon(load_config(tmp_path / "arm.toml"), lockstep=True),
    ):
        pass
