"""The whole way: the emulated arm moves under the daemon, a recording is made, and `trocar identify` finds the arm.

The arm differs from the controller's model on purpose (mass, balance, friction, rotors), and what it is, is known.
"""

import importlib.util
import json
from pathlib import Path

import mujoco
import numpy as np
import pytest
from typer.testing import CliRunner

from controller.cli.main import app
from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from hil.plant import Plant
from kinematics.description import load_arm
from kinematics.dynamics import gravity_effort

ARM = "psm_classic"
POSES = 10
EXAMPLE = Path(__file__).parents[2] / "examples" / "identify_arm.py"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording of the example's motion, shortened, in lock-step."""
    spec = importlib.util.spec_from_file_location("identify_arm", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    base = tmp_path_factory.mktemp("run")
    file = base / "motion.mcap"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROCAR_RUN_DIR", str(base))
        with Daemon(load_config("psm_emulated_strict"), lockstep=True, recording=file), Arm() as arm:
            arm.enable()
            arm.home().wait()
            example.excite(arm, POSES)
            arm.disable()
    return file


@pytest.fixture(scope="module")
def fitted(recording):
    """The command's figures, and the arm's file that it wrote."""
    output = recording.with_name("fitted.toml")
    result = CliRunner().invoke(app, ["identify", str(recording), "--output", str(output), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), load_arm(output)


@pytest.fixture(scope="module")
def plant():
    return Plant(ARM)


def gravity_errors(plant, description, count=200):
    """Rms error of the gravity over the workspace, per axis; and the rms of the truth.

    The truth is the physics engine's, of the body as it is: geometry errors and the jaw included.
    """
    arm, n = description.record, description.n_axes
    data = mujoco.MjData(plant.model)
    rng = np.random.default_rng(7)
    effort, errors, truth = np.zeros(8), [], []
    for _ in range(count):
        q = np.zeros(8)
        q[:n] = rng.uniform(arm[0]["position_min"][:n], arm[0]["position_max"][:n])
        data.qpos[:n] = q[:n]
        data.qpos[n:] = (arm[0]["actuator_from_joint"] @ q)[:n]
        mujoco.mj_forward(plant.model, data)
        truth.append(data.qfrc_bias[:n].copy())
        gravity_effort(arm, q, effort)
        errors.append(effort[:n] - truth[-1])
    return np.sqrt(np.mean(np.square(errors), axis=0)), np.sqrt(np.mean(np.square(truth), axis=0))


@pytest.mark.parametrize(
    ("axes", "part"),
    [(("yaw", "pitch", "insertion"), 0.05), (("roll", "wrist_pitch", "wrist_yaw"), 0.15), (("jaw",), 0.5)],
)
def test_held_out_effort_is_predicted_many_times_better_than_before(fitted, axes, part):
    """The wrist is near the currents' noise; the jaw's links are not modelled, and its bearing only in part."""
    figures, _ = fitted
    held_out = {e["axis"]: e for e in figures["held_out"]}
    for axis in axes:
        error = held_out[axis]
        assert error["moments"] > 30
        assert error["after"] < part * error["before"], (axis, error)


def test_friction_is_found_to_be_at_the_actuators_and_nothing_is_held(fitted):
    figures, description = fitted
    assert figures["friction_space"] == "actuator"
    assert description.file.dynamics.friction.space == "actuator"
    assert not figures["static"]
    assert figures["held"] == []


def test_fitted_gravity_is_the_bodys_over_the_whole_workspace(fitted, plant):
    """Also where the motion did not go: 30 % wrong before, 2 % after."""
    before, truth = gravity_errors(plant, load_arm(ARM))
    after, _ = gravity_errors(plant, fitted[1])
    assert (before[:3] > 0.2 * truth[:3]).all()
    assert (after[:3] < 0.02 * truth[:3]).all(), after[:3] / truth[:3]


def test_fitted_friction_is_that_of_motors_and_bearings(fitted, plant):
    """The model has friction at the actuators only; bearings at a joint with coupled cables lie between its terms."""
    a, file = fitted[1].record[0], plant.file
    n = 7
    np.testing.assert_allclose(a["coulomb"][:5], file.actuators.coulomb[:5], rtol=0.05)
    np.testing.assert_allclose(a["coulomb"][5:n], file.actuators.coulomb[5:], rtol=0.10)
    motors = np.array(file.actuators.viscous)
    C = a["joint_from_actuator"][:n, :n]
    bearings = np.diag(C.T @ np.diag(file.transmission.joint_damping) @ C)
    np.testing.assert_allclose(a["viscous"][:4], (motors + bearings)[:4], rtol=0.05)
    assert (a["viscous"][4:n] > 0.9 * motors[4:]).all()
    assert (a["viscous"][4:n] < 1.1 * (motors + bearings)[4:]).all()


def test_what_the_old_file_says_is_outside_the_confidence_interval_and_the_truth_is_near(fitted, plant):
    figures, _ = fitted
    estimates = {e["name"]: e for e in figures["estimates"]}
    mass = estimates["insertion.m*"]  # of all that hangs on the insertion, the jaw included
    old = load_arm(ARM).record[0]["mass"][2:6]
    true = sum(plant.file.inertia.mass_factor[2 + k] * old[k] for k in range(4)) + plant.file.inertia.jaw_mass
    assert abs(mass["old"] - old.sum()) < 1e-9
    assert abs(mass["old"] - mass["fitted"]) > 10.0 * mass["half_width"]
    assert abs(true - mass["fitted"]) < 0.005 * true
    assert mass["excited"]


def test_the_new_file_is_the_arms_own_but_for_its_dynamics(fitted):
    old, new = load_arm(ARM), fitted[1]
    for name in ("name", "axes", "tip", "actuators", "family", "convention"):
        assert getattr(new.file, name) == getattr(old.file, name)
    assert new.title == old.title
    assert new.file.dynamics.gravity == old.file.dynamics.gravity
    assert new.file.dynamics.source.startswith("identified from motion.mcap, ")
    assert (new.record[0]["mass"][:6] > 0.0).all()


def test_an_arm_that_only_came_home_is_refused_with_the_reason(recording, tmp_path, monkeypatch):
    """The same recording, cut before the motion: too short, told in one line."""
    from telemetry import recording as module

    whole = module.load(recording)
    homed = np.flatnonzero(whole.samples["is_homed"])[0]
    cut = {"sample": whole.samples[: homed + 2000]}
    monkeypatch.setattr(module, "load", lambda path: module.Recording(**{**vars(whole), "records": cut}))
    result = CliRunner().invoke(app, ["identify", str(recording)])
    assert result.exit_code == 1
    assert "at least 8 s are needed" in result.stderr
