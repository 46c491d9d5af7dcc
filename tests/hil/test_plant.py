"""The emulated arm's body: that it is a body, and another one than the controller believes."""

from pathlib import Path

import msgspec
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hil
from hil.faults import FAULTS
from hil.noise import GOLDEN, gaussian, mix, uniform
from hil.plant import Plant, make_mjcf, plant_pose, plant_substep
from hil.plant_file import PlantError, load_plant
from kinematics.chain import forward
from kinematics.description import load_arm
from kinematics.dynamics import gravity_effort

ARM = "psm_classic"
N = 7
SUBSTEPS_PER_SECOND = 4000


@pytest.fixture
def plant():
    return Plant(ARM)


@pytest.fixture(scope="module")
def arm():
    return load_arm(ARM).record


def run(plant, seconds, *, power=1, brakes_released=0, current=None, faults=None):
    plant.outputs["power"], plant.outputs["brakes_released"] = power, brakes_released
    plant.outputs["current"] = 0.0
    if current is not None:
        plant.outputs["current"][0, : len(current)] = current
    faults = np.zeros(1, FAULTS) if faults is None else faults
    for _ in range(round(seconds * SUBSTEPS_PER_SECOND)):
        plant_substep(plant.record, faults, plant.outputs, plant.inputs)


def tip(plant):
    plant_pose(plant.record)
    return plant.record["tip_pose"][0].copy()


def place(plant, arm, q):
    plant.data.qpos[:N] = q
    plant.data.qpos[N:] = arm[0]["actuator_from_joint"][:N, :N] @ q
    plant.data.qvel[:] = 0.0


def random_joints(arm, count, seed=3):
    rng = np.random.default_rng(seed)
    return rng.uniform(arm[0]["position_min"][:N], arm[0]["position_max"][:N], (count, N))


def gravity_of(plant, arm, q):
    """Efforts that hold the true body still, by MuJoCo's own recursion."""
    place(plant, arm, q)
    mujoco.mj_forward(plant.model, plant.data)
    return plant.data.qfrc_bias[:N].copy()


def test_every_link_weighs_a_fifth_more_than_the_controller_believes(plant, arm):
    true = plant.model.body_mass[1 : 1 + 6]
    assert (true >= 1.2 * arm[0]["mass"][:6]).all()
    assert true.sum() < 8.0


def test_every_body_can_exist(plant):
    for principal in plant.model.body_inertia[1:]:
        assert (principal > 0.0).all()
        assert 2.0 * principal.max() <= principal.sum() * (1.0 + 1e-9)


def test_gravity_model_is_wrong_by_a_fifth_and_the_motors_still_carry_the_arm(plant, arm):
    true, believed = [], []
    for q in random_joints(arm, 300):
        true.append(gravity_of(plant, arm, q)[:3])
        effort = np.zeros(8)
        gravity_effort(arm, np.append(q, 0.0), effort)
        believed.append(effort[:3])
    true, believed = np.array(true), np.array(believed)
    error = np.sqrt(np.mean((true - believed) ** 2, axis=0)) / np.sqrt(np.mean(believed**2, axis=0))
    assert (error >= 0.2).all()
    assert (error <= 0.6).all()
    assert (np.abs(true).max(axis=0) < 0.6 * arm[0]["effort_max"][:3]).all()


def test_friction_differs_by_a_fifth_or_more_at_every_joint(plant, arm):
    a = arm[0]
    actuator_from_joint = a["actuator_from_joint"][:N, :N]
    for i in range(N):
        moved = actuator_from_joint[:, i]  # actuator velocities when this joint alone moves at 1
        coulomb = np.abs(moved) @ plant.model.dof_frictionloss[N:]
        viscous = moved**2 @ plant.model.dof_damping[N:] + plant.model.dof_damping[i]
        # the brakes are on after settling: what is left without them is the friction
        coulomb -= np.abs(moved) @ plant.record["brake_friction"][0, :N]
        assert coulomb >= 1.2 * a["coulomb"][i]
        assert not 0.8 < viscous / a["viscous"][i] < 1.2


def test_without_tolerances_the_body_is_the_kinematic_chain(arm):
    file, _ = load_plant("psm_classic")
    zero = [0.0] * 6
    exact = msgspec.structs.replace(
        file,
        geometry=msgspec.structs.replace(file.geometry, alpha_error=zero, a_error=zero, theta_error=zero, d_error=zero),
    )
    model = mujoco.MjModel.from_xml_string(make_mjcf(arm[0], exact))
    data = mujoco.MjData(model)
    for q in random_joints(arm, 50):
        data.qpos[:N] = q
        mujoco.mj_kinematics(model, data)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = data.xmat[6].reshape(3, 3), data.xpos[6]
        expected = np.zeros((4, 4))
        forward(arm, np.append(q, 0.0), expected)
        np.testing.assert_allclose(T @ arm[0]["tip"], expected, atol=1e-12)


def test_true_tip_is_off_the_model_by_tenths_of_a_millimetre_at_most(plant, arm):
    errors = []
    for q in random_joints(arm, 100):
        place(plant, arm, q)
        expected = np.zeros((4, 4))
        forward(arm, np.append(q, 0.0), expected)
        errors.append(np.linalg.norm(tip(plant)[:3, 3] - expected[:3, 3]))
    assert 2e-5 < np.median(errors) < 1.5e-4
    assert max(errors) < 3e-4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_instrument_misses_the_remote_centre_by_less_than_a_tenth_of_a_millimetre(seed, arm, make_host):
    host = make_host(connect=False, seed=seed)
    (truth,) = host.silent(1)
    assert 5e-6 < truth["rcm_deviation"] < 1e-4
    # computed again from the record's point and direction
    distance = np.linalg.norm(np.cross(truth["shaft_point"], truth["shaft_direction"]))
    assert distance == pytest.approx(truth["rcm_deviation"], rel=1e-6)


def test_brakes_hold_the_arm_without_power(plant):
    before = tip(plant)[:3, 3]
    run(plant, 2.0, power=0)
    assert np.linalg.norm(tip(plant)[:3, 3] - before) < 2e-5


def test_without_brakes_and_power_the_arm_sinks(plant):
    before = tip(plant)[:3, 3]
    run(plant, 0.5, power=0, brakes_released=1)
    after = tip(plant)[:3, 3]
    assert np.linalg.norm(after - before) > 5e-3
    assert after[2] < before[2]  # downwards


def test_brakes_take_their_time_to_hold(plant):
    record = plant.record[0]
    run(plant, 0.1, power=0, brakes_released=1)
    assert record["brakes_open"]
    plant.outputs["brakes_released"] = 0
    faults = np.zeros(1, FAULTS)
    for _ in range(round(0.020 * SUBSTEPS_PER_SECOND)):
        plant_substep(plant.record, faults, plant.outputs, plant.inputs)
        assert record["brakes_open"]
    plant_substep(plant.record, faults, plant.outputs, plant.inputs)
    assert not record["brakes_open"]


def test_failed_brake_does_not_hold(plant):
    faults = np.zeros(1, FAULTS)
    faults["brake_failed"] = 1 << 2
    before = plant.data.qpos[2]
    run(plant, 0.5, power=0, faults=faults)
    assert abs(plant.data.qpos[2] - before) > 5e-3


@pytest.mark.parametrize("disc", [3, 4, 5, 6])
def test_a_disc_turns_the_joints_that_its_cables_pull(disc, plant, arm):
    before = plant.data.qpos[:N].copy()
    current = np.zeros(N)
    current[disc] = 0.1
    run(plant, 0.02, current=current)
    moved = plant.data.qpos[:N] - before
    turned = plant.data.qpos[N + disc]
    assert turned > 0.0 or moved.any()
    column = arm[0]["joint_from_actuator"][:N, disc]
    for i in np.flatnonzero(column):
        assert np.sign(moved[i]) == np.sign(column[i])
        assert abs(moved[i]) > 0.01
    assert (np.abs(moved[:3]) < 1e-4).all()


def test_pushing_a_wrist_joint_turns_back_all_discs_on_its_cables(plant, arm):
    """The reaction goes by the transpose: what the reader of one direction only would get wrong."""
    run(plant, 0.05)
    before = plant.data.qpos[N:].copy()
    plant.data.qfrc_applied[5] = 0.15
    run(plant, 0.02)
    turned = plant.data.qpos[N:] - before
    plant.data.qfrc_applied[5] = 0.0
    row = arm[0]["joint_from_actuator"][5, :N]
    for j in np.flatnonzero(row):
        assert np.sign(turned[j]) == np.sign(row[j])
        assert abs(turned[j]) > 1e-3


def test_motor_current_saturates_at_what_the_amplifier_gives(plant, arm):
    run(plant, 1 / SUBSTEPS_PER_SECOND, current=np.full(N, 100.0))
    np.testing.assert_array_equal(plant.record["current"][0, :N], arm[0]["current_max"][:N])
    np.testing.assert_allclose(
        plant.record["effort"][0, :N], arm[0]["current_max"][:N] * arm[0]["effort_per_amp"][:N], rtol=1e-12
    )
    run(plant, 1 / SUBSTEPS_PER_SECOND, power=0, current=np.full(N, 100.0))
    assert not plant.record["current"].any()


def test_hard_stops_end_every_joint_a_little_past_its_limit(plant, arm):
    file = plant.file
    run(plant, 1.5, brakes_released=1, current=[0, 0, 0.67, 0.1, 0, 0, 0])
    for i in (2, 3):
        q = plant.data.qpos[i]
        low, high = arm[0]["position_min"][i], arm[0]["position_max"][i]
        margin = file.transmission.stop_margin[i]
        assert low - 2 * margin < q < high + 2 * margin
        assert not low + 1e-3 < q < high - 1e-3  # it did come to the stop


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.floats(-0.3, 0.3), min_size=N, max_size=N))
def test_encoders_count_whole_steps_from_power_up(seed, current):
    plant = Plant(ARM, seed=seed)
    assert not plant.inputs["counts"].any()
    record = plant.record[0]
    per_unit = record["counts_per_unit"][:N]
    first = np.floor(plant.data.qpos[N:] * per_unit)
    run(plant, 0.02, brakes_released=1, current=current)
    expected = np.floor(plant.data.qpos[N:] * per_unit) - first
    np.testing.assert_array_equal(plant.inputs["counts"][0, :N], expected)


def test_absolute_sensors_are_noisy_quantised_and_without_bias(plant):
    sensors = plant.file.sensors
    samples = []
    for _ in range(4000):
        run(plant, 1 / SUBSTEPS_PER_SECOND)
        samples.append(plant.inputs["absolute"][0, :N].astype(float))
    samples = np.array(samples)
    noise = np.array(sensors.absolute_noise)
    # of the first three the joint is sensed, of the others the actuator
    position = np.concatenate((plant.data.qpos[:3], plant.data.qpos[N + 3 :]))
    assert (np.abs(samples.mean(axis=0) - position) < 5 * noise / np.sqrt(4000)).all()
    np.testing.assert_allclose(samples.std(axis=0), noise, rtol=0.05)
    steps = samples / np.array(sensors.absolute_step)
    assert np.abs(steps - np.rint(steps)).max() < 1e-2  # float32 on the board


def test_noise_has_the_distribution_it_claims():
    counters = [np.uint64(k * int(GOLDEN) % 2**64) for k in range(20_000)]
    draws = np.array([gaussian(mix(counter)) for counter in counters])
    assert abs(draws.mean()) < 0.03
    assert draws.std() == pytest.approx(1.0, abs=0.02)
    assert np.abs(draws).max() < 3.47
    flat = np.array([uniform(mix(counter)) for counter in counters])
    assert flat.min() >= 0.0
    assert flat.max() < 1.0
    assert np.histogram(flat, 10, (0, 1))[0].min() > 1800


def test_mix_is_splitmix64():
    """First outputs for seed 1234567, as listed by the reference implementation's users (Rosetta Code, Splitmix64)."""
    counter, drawn = 1234567, []
    for _ in range(3):
        counter = (counter + int(GOLDEN)) % 2**64
        drawn.append(int(mix(np.uint64(counter))))
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_start_pose_is_drawn_by_the_seed_within_its_spread():
    poses = {seed: Plant(ARM, seed=seed).data.qpos[:N].copy() for seed in (1, 2)}
    assert np.array_equal(Plant(ARM, seed=1).data.qpos[:N], poses[1])
    assert np.abs(poses[1] - poses[2]).max() > 0.01
    start = load_plant("psm_classic")[0].start
    for q in poses.values():
        assert (np.abs(q - start.position) <= np.array(start.spread) + 0.01).all()


def test_arm_is_at_rest_when_the_rig_starts(plant):
    assert np.abs(plant.data.qvel).max() < 1e-3
    before = plant.data.qpos.copy()
    run(plant, 0.1)
    assert np.abs(plant.data.qpos - before).max() < 1e-4


def test_tip_force_pushes_the_tip_its_way(plant):
    before = tip(plant)[:3, 3]
    faults = np.zeros(1, FAULTS)
    faults["tip_force"] = (5.0, 0.0, 0.0)
    run(plant, 0.3, faults=faults)
    moved = tip(plant)[:3, 3] - before
    assert moved[0] > 1e-5
    faults["tip_force"] = 0.0
    run(plant, 0.01, faults=faults)
    assert not plant.data.xfrc_applied.any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("mass_factor = [1.25, 1.25, 1.25, 1.25, 1.25, 1.25]", "mass_factor = [1.25]"), "inertia.mass_factor"),
        (("engage_delay = 0.020", "engage_delay = -1.0"), "brakes.engage_delay"),
        (("jaw_mass = 0.002", "jaw_mass = 0.0"), "inertia.jaw_mass"),
        (("[motors]", "[motors]\nvoltage = 24.0"), "voltage"),
        (('arm = "psm_classic:large_needle_driver_400006"', 'arm = "another"'), "another"),
        (('arm = "psm_classic:large_needle_driver_400006"', 'arm = "ecm_classic"'), "choose a plant of"),
        (("jaw_inertia = [1.0e-8, 3.0e-8, 3.0e-8]", "jaw_inertia = [1.0e-8, 3.0e-8, 9.0e-8]"), "no physical model"),
        (("resistance = [2.3, ", "resistance = ["), "motors.resistance"),
        (("thermal_time_constant = 60.0", "thermal_time_constant = 0.0"), "motors.thermal_time_constant"),
        (("tool = 1", "tool = -1"), "tool"),
        (("current_rating", "# current_rating"), None),
        (("title =", "title ="), None),
    ],
)
def test_errors_of_a_plant_file_name_what_is_wrong(change, said, tmp_path):
    text = load_plant_text()
    assert change[0] in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(*change))
    if said is None:
        Plant(ARM, str(path))
        return
    with pytest.raises(PlantError, match=said):
        Plant(ARM, str(path))


def load_plant_text():
    return (Path(hil.__file__).parent / "plants" / "psm_classic.toml").read_text()


def test_absent_plant_is_told_with_the_shipped_ones():
    with pytest.raises(PlantError, match="psm_classic"):
        load_plant("no_such_plant")
