"""An arm without a mechanical remote centre, in lock-step: a Panda that keeps its straight instrument in a trocar."""

from pathlib import Path

import msgspec
import mujoco
import numpy as np
import pytest

import hil
from controller.catalogue import Code
from controller.client import Arm
from controller.config import RemoteCenterConfig, load_config
from controller.daemon import Daemon
from controller.errors import ArmFault, CommandRefused, NoJaw
from hil.faults import FAULTS, Fault, Faults
from hil.plant import Plant, make_mjcf, plant_pose, plant_substep
from hil.plant_file import PlantError, load_plant
from hil.rig import Rig
from hil.truth import shaft_deviation
from kinematics.chain import forward
from kinematics.description import load_arm
from telemetry.ring_file import open_ring
from telemetry.sample import SAMPLE, OperatingState

ARM = "panda:straight_instrument_300"
N = 7
HOME = np.array([0.0, -0.6, 0.0, -2.3, 0.0, 1.7, 0.7854])
AWAY = HOME + np.array([0.5, 0.35, -0.5, 0.4, 0.5, -0.4, 0.7])
DEPTH = 0.12  # m from the trocar to the tip
BOUND = 5  # cycles from the fault to zero torque
STANDING = 50  # cycles from the fault to motors that stand: brakes take 20 ms to engage, then they must stop the arm


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    base = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROCAR_RUN_DIR", str(base))
        with Daemon(load_config("panda_emulated_strict"), lockstep=True) as daemon:
            yield daemon


@pytest.fixture
def faults(daemon):
    faults = Faults(daemon.run_dir.path)
    yield faults
    faults.clear()


@pytest.fixture
def arm(daemon, faults, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(daemon.run_dir.path.parent))
    with Arm("PANDA1") as arm:
        arm.set_remote_center(None)
        arm.enable()
        if not arm.operating_state().is_homed:
            arm.home().wait()
        arm.move_jp(HOME).wait()
        yield arm
        faults.clear()
        arm.sleep(0.02)
        arm.set_remote_center(None)  # without power the arm sinks by up to 1 mm before its brakes hold
        arm.stop() if arm.operating_state().state in (OperatingState.ENABLED, OperatingState.PAUSED) else arm.disable()


@pytest.fixture
def through(arm):
    """The arm with its instrument in a trocar, and the trocar."""
    T = arm.setpoint_cp().T
    point = T[:3, 3] - DEPTH * T[:3, 2]
    arm.set_remote_center(point)
    arm.sleep(0.3)
    return arm, point


def since(daemon, sequence):
    """Samples and truth after a cycle, of the same ticks."""
    samples, truth = open_ring(daemon.run_dir.samples, SAMPLE), open_ring(daemon.run_dir.truth)
    s = samples.slots[: min(samples.head, samples.capacity)]
    t = truth.slots[: min(truth.head, truth.capacity)]
    common, i, k = np.intersect1d(s["sequence"], t["tick"], return_indices=True)
    return s[i][common > sequence], t[k][common > sequence]


def cone(T, half_angle, turns_in):
    """Poses of a spiral out, round and back in, every 4 ms, the tip at one depth."""
    count = round(turns_in / 0.004)
    point = T[:3, 3] - DEPTH * T[:3, 2]
    for k in range(count + 1):
        angle = half_angle * np.sin(np.pi * min(4 * k / count, 4 * (count - k) / count, 1.0) / 2) ** 2
        turn = 2 * np.pi * k / count
        pose = T.copy()
        across = np.cos(turn) * T[:3, 0] + np.sin(turn) * T[:3, 1]
        pose[:3, 3] = point + DEPTH * (np.cos(angle) * T[:3, 2] + np.sin(angle) * across)
        yield pose


def test_a_cone_of_the_instrument_turns_about_the_trocar(daemon, through):
    """30 degrees wide, in 4 s: true shaft, measured shaft and tip."""
    arm, point = through
    T = arm.setpoint_cp().T
    begun = arm.measured_js().sequence
    for pose in cone(T, np.radians(15.0), 4.0):
        arm.servo_cp(pose)
        arm.sleep(0.004)
    arm.sleep(0.02)
    arm.hold().wait()
    samples, truth = since(daemon, begun)
    assert len(samples) > 4000
    assert (samples["fault"] == 0).all()
    turned = np.degrees(np.arccos(np.clip(truth["shaft_direction"] @ T[:3, 2], -1.0, 1.0)))
    assert turned.max() > 14.5
    assert shaft_deviation(truth, point).max() < 0.5e-3
    assert samples["remote_center_distance"].max() < 0.25e-3
    error = np.linalg.norm(truth["tip_pose"][:, :3, 3] - samples["setpoint_pose"][:, :3, 3], axis=1)
    assert error.max() < 0.6e-3
    assert (np.abs(truth["motor_effort"][:, :N]) < 0.6 * load_arm(ARM).record[0]["effort_max"][:N]).all()


def test_lines_and_insertions_at_full_speed_keep_the_shaft_in_the_trocar(daemon, through):
    arm, point = through
    T = arm.setpoint_cp().T
    begun = arm.measured_js().sequence
    for offset in ((0.0, 0.0, 0.06), (0.04, 0.02, 0.0), (-0.04, 0.03, -0.03), (0.0, 0.0, -0.04), (0.0, 0.0, 0.0)):
        pose = T.copy()
        pose[:3, 3] += offset
        arm.move_cp(pose).wait()
        reached = arm.setpoint_cp().T
        assert np.abs(reached[:3, 3] - pose[:3, 3]).max() < 1e-6
    samples, truth = since(daemon, begun)
    steps = np.linalg.norm(np.diff(samples["setpoint_pose"][:, :3, 3], axis=0), axis=1)
    assert steps.max() > 0.099e-3  # m in a cycle: linear_speed
    assert shaft_deviation(truth, point).max() < 0.5e-3
    assert samples["remote_center_distance"].max() < 0.25e-3


def test_a_pause_in_mid_stream_keeps_the_shaft_in_the_trocar_and_the_arm_goes_on(daemon, through):
    arm, point = through
    T = arm.setpoint_cp().T
    begun = arm.measured_js().sequence
    pose = T.copy()
    for k in range(125):
        pose[1, 3] += 0.0004 * min(k / 50, 1.0)  # up to 0.1 m/s
        arm.servo_cp(pose)
        arm.sleep(0.004)
    arm.pause()
    arm.sleep(0.3)
    assert arm.operating_state().state == OperatingState.PAUSED
    arm.resume()
    arm.move_cp(T).wait()
    samples, truth = since(daemon, begun)
    # The set-point's shaft stays in the trocar; what swings is the arm, which stops as hard as its joints may.
    assert samples["remote_center_distance"].max() < 0.7e-3
    assert shaft_deviation(truth, point).max() < 1.6e-3
    assert np.abs(arm.setpoint_cp().T - T).max() < 1e-5


@pytest.mark.parametrize("phase_cycles", [50, 137, 251])
@pytest.mark.parametrize("kind", ["e-stop", "cut line"])
def test_torque_goes_within_its_bound_in_mid_motion_and_the_brakes_hold(daemon, arm, faults, kind, phase_cycles):
    motion = arm.move_jp(AWAY)
    arm.sleep(phase_cycles * 1e-3)
    begun = arm.measured_js().sequence
    if kind == "e-stop":
        faults.press_estop()
    else:
        faults.cut_wire()
    with pytest.raises(ArmFault) as caught:
        motion.wait(1.0)
    assert caught.value.code == (Code.ESTOP if kind == "e-stop" else Code.FEEDBACK_LOST)
    arm.sleep(0.3)
    ring = open_ring(daemon.run_dir.truth)
    truth = np.sort(ring.slots[: min(ring.head, ring.capacity)], order="tick")
    truth = truth[truth["tick"] > begun]
    truth = truth[np.argmax(truth["faults"] != 0) :]
    assert truth[0]["faults"] == (Fault.ESTOP if kind == "e-stop" else Fault.WIRE_CUT)
    dead = (truth["motor_current"] == 0.0).all(axis=1) & (truth["power"] == 0)
    assert int(np.argmax(dead)) + 1 <= BOUND
    assert dead[BOUND:].all()
    assert not truth["brakes_open"][-1]
    moving = (np.abs(truth["actuator_velocity"][:, :N]) > 1e-3).any(axis=1)
    assert np.flatnonzero(moving)[-1] <= STANDING
    faults.clear()
    arm.sleep(0.02)
    arm.enable()
    assert arm.operating_state().state == OperatingState.ENABLED


@pytest.mark.parametrize(
    ("force", "low", "high", "within"),
    [
        ((20.0, 0.0, 0.0), 0.2e-3, 0.5e-3, 0),  # the servo's stiffness
        ((35.0, 0.0, 0.0), 1.0e-3, 2.0e-3, 40),  # joint 6 has no more than this to give
        ((40.0, 0.0, 0.0), 2.0e-3, 1.0, 40),  # ... and yields
        ((0.0, 40.0, 0.0), 2.0e-3, 1.0, 40),  # joint 5 likewise
    ],
)
def test_a_push_at_the_tip_takes_the_measured_shaft_out_of_the_trocar(
    daemon, through, faults, force, low, high, within
):
    """What a guard of the remote centre is to see, and how soon after the push it is there."""
    arm, point = through
    begun = arm.measured_js().sequence
    faults.push_tip(force)
    arm.sleep(0.4)
    samples, truth = since(daemon, begun)
    measured = samples["remote_center_distance"]
    assert low < measured.max() < high
    pushed = int(np.argmax(truth["faults"] != 0))
    if within:
        beyond = int(np.argmax(measured > low))
        assert 0 < beyond - pushed <= within
        assert Code.FOLLOWING_ERROR not in samples["fault"][:beyond]  # it has seen nothing so far
    # The gears give way too, which no encoder sees: the true shaft is further off, by up to 2 mm.
    true = shaft_deviation(truth[: pushed + 40], point)
    assert 0.0 < true.max() - measured[: pushed + 40].max() < 2e-3


def test_an_arm_without_a_jaw_says_so(arm):
    assert len(arm.measured_js().position) == N
    with pytest.raises(NoJaw):
        arm.jaw.move_jp(0.1)
    with pytest.raises(CommandRefused) as refused:
        arm.move_jp([*HOME, 0.0])
    assert refused.value.code == Code.WRONG_SIZE


# --- the body by itself


@pytest.fixture(scope="module")
def record():
    return load_arm(ARM).record


def test_without_tolerances_the_body_is_the_kinematic_chain(record):
    file, _ = load_plant("panda")
    zero = [0.0] * N
    exact = msgspec.structs.replace(
        file,
        geometry=msgspec.structs.replace(file.geometry, alpha_error=zero, a_error=zero, theta_error=zero, d_error=zero),
    )
    model = mujoco.MjModel.from_xml_string(make_mjcf(record[0], exact))
    data = mujoco.MjData(model)
    rng = np.random.default_rng(3)
    for q in rng.uniform(record[0]["position_min"][:N], record[0]["position_max"][:N], (50, N)):
        data.qpos[:N] = q
        mujoco.mj_kinematics(model, data)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = data.xmat[N].reshape(3, 3), data.xpos[N]
        expected = np.zeros((4, 4))
        forward(record, np.append(q, 0.0), expected)
        np.testing.assert_allclose(T @ record[0]["tip"], expected, atol=1e-12)


def test_brakes_hold_the_arm_and_without_them_it_sinks():
    for released in (0, 1):
        plant = Plant(ARM, "panda")
        before = plant.record["tip_pose"][0, :3, 3].copy()
        plant.outputs["brakes_released"] = released
        faults = np.zeros(1, FAULTS)
        for _ in range(4000 if not released else 1200):
            plant_substep(plant.record, faults, plant.outputs, plant.inputs)
        plant_pose(plant.record)
        moved = plant.record["tip_pose"][0, :3, 3] - before
        if released:
            assert moved[2] < -5e-3
        else:
            assert np.linalg.norm(moved) < 5e-5


@pytest.mark.parametrize("point", [None, (0.37, 0.0, 0.39)])
def test_truth_takes_the_remote_centre_of_the_configuration(point, tmp_path):
    config = load_config("panda_emulated_strict")
    center = RemoteCenterConfig(point=point, shaft_point=(0.01, 0.0, 0.0), shaft_direction=(0.0, 0.0, 2.0))
    rig = Rig(msgspec.structs.replace(config, remote_center=center), tmp_path)
    rig.step()
    T, truth = rig.truth["tip_pose"], rig.truth
    np.testing.assert_allclose(truth["shaft_point"], T[:3, 3] + 0.01 * T[:3, 0], atol=1e-12)
    np.testing.assert_allclose(truth["shaft_direction"], T[:3, 2], atol=1e-12)
    if point is None:
        assert np.isnan(truth["rcm_deviation"])
    else:
        assert truth["rcm_deviation"] == pytest.approx(float(shaft_deviation(truth, np.array(point))), rel=1e-9)
        assert truth["rcm_deviation"] > 1e-3


def test_a_jaw_in_the_plant_of_an_arm_without_one_is_refused(tmp_path):
    text = (Path(hil.__file__).parent / "plants" / "panda.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("\ncom_shift", "\njaw_mass = 0.1\ncom_shift"))
    with pytest.raises(PlantError, match=r"has inertia\.jaw_mass.*no jaw"):
        Plant(ARM, str(tmp_path / "mine.toml"))
