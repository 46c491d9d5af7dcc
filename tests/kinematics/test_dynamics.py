import numpy as np
import pinocchio as pin
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kinematics import pinocchio_model
from kinematics import chain, dynamics


def test_gravity_effort_equals_pinocchios(description, random_positions):
    arm = description.record
    model = pinocchio_model(pin, description)
    data = model.createData()
    effort = np.full(8, np.nan)
    for q in random_positions(arm, 500):
        dynamics.gravity_effort(arm, q, effort)
        expected = pin.computeGeneralizedGravity(model, data, np.ascontiguousarray(q[: description.n_joints]))
        assert np.abs(effort[: description.n_joints] - expected).max() < 1e-12
        assert np.array_equal(effort[description.n_joints :], np.zeros(8 - description.n_joints))


def test_gravity_effort_is_the_gradient_of_the_potential_energy(description, random_positions):
    """Without another library: energy from the links' own forward kinematics, each link in turn as the last one."""
    arm = description.record
    h = 1e-6

    def energy(q):
        total, T = 0.0, np.zeros((4, 4))
        for i in range(description.n_joints):
            link = arm.copy()
            link[0]["n_joints"] = i + 1
            link[0]["tip"] = np.eye(4)
            chain.forward(link, q, T)
            total -= arm[0]["mass"][i] * arm[0]["gravity"] @ (T[:3, :3] @ arm[0]["com"][i] + T[:3, 3])
        return total

    effort = np.zeros(8)
    for q in random_positions(arm, 10):
        dynamics.gravity_effort(arm, q, effort)
        for i in range(description.n_joints):
            step = h * np.eye(8)[i]
            assert abs(effort[i] - (energy(q + step) - energy(q - step)) / (2.0 * h)) < 1e-7


def test_shipped_arm_is_balanced_over_the_whole_workspace(psm_description):
    """At most 35 % of the effort limit on yaw and pitch, 60 % on the insertion, 5 % on the wrist."""
    arm = psm_description.record
    low, high = arm[0]["position_min"], arm[0]["position_max"]
    effort, worst = np.zeros(8), np.zeros(8)
    grid = np.linspace(0.0, 1.0, 15)
    rng = np.random.default_rng(0)
    for yaw in grid:
        for pitch in grid:
            for insertion in grid:
                q = low + (high - low) * np.array([yaw, pitch, insertion, *rng.random(5)])
                dynamics.gravity_effort(arm, q, effort)
                worst = np.maximum(worst, np.abs(effort))
    part = worst[:6] / arm[0]["effort_max"][:6]
    assert np.all(part < [0.35, 0.35, 0.60, 0.05, 0.05, 0.05])
    assert np.all(part[:3] > [0.05, 0.05, 0.30])  # and it is not weightless


def test_holding_an_upright_instrument_takes_its_weight_against_the_insertion(psm_description):
    arm = psm_description.record
    effort = np.zeros(8)
    dynamics.gravity_effort(arm, np.zeros(8), effort)
    assert abs(effort[2] + arm[0]["mass"][2:6].sum() * 9.80665) < 1e-6  # insertion is down: holding pulls up


@given(st.lists(st.floats(-20.0, 20.0), min_size=8, max_size=8))
def test_friction_effort_never_brakes_and_is_odd(psm_description, qd):
    arm, qd = psm_description.record, np.array(qd)
    effort, opposite, plain = np.full(8, np.nan), np.zeros(8), np.zeros(8)
    dynamics.friction_effort(arm, qd, effort)
    dynamics.friction_effort(arm, -qd, opposite)
    dynamics.friction_effort.py_func(arm.view(np.recarray), qd, plain)
    assert np.all(effort * qd >= 0.0)
    assert np.array_equal(effort, -opposite)
    assert np.abs(effort - plain).max() < 1e-14
    assert np.all(np.abs(effort) <= arm[0]["coulomb"] + arm[0]["viscous"] * np.abs(qd) + 1e-15)


def test_friction_effort_is_coulomb_and_viscous_well_above_the_smoothing_velocity(psm_description):
    arm = psm_description.record
    qd, effort = 20.0 * arm[0]["friction_smoothing"], np.zeros(8)
    dynamics.friction_effort(arm, qd, effort)
    expected = arm[0]["coulomb"] + arm[0]["viscous"] * qd
    assert np.abs(effort[:7] - expected[:7]).max() < 1e-12
    assert effort[7] == 0.0


def test_plain_python_agrees_with_the_compiled_gravity(description, random_positions):
    arm = description.record
    compiled, plain = np.zeros(8), np.zeros(8)
    for q in random_positions(arm, 50):
        dynamics.gravity_effort(arm, q, compiled)
        dynamics.gravity_effort.py_func(arm.view(np.recarray), q, plain)
        assert np.abs(compiled - plain).max() < 1e-12
