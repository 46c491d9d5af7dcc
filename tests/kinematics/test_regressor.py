import numpy as np
import pinocchio as pin

from benchmarks.kinematics import pinocchio_model
from kinematics import dynamics
from kinematics.regressor import base_parameters, inertial_parameters, regressor, set_inertial_parameters


def random_states(arm, count, seed=1):
    rng = np.random.default_rng(seed)
    q = rng.uniform(arm[0]["position_min"], arm[0]["position_max"], (count, 8))
    return q, *rng.uniform(-3.0, 3.0, (2, count, 8))


def with_rotors(description):
    arm, n = description.record, description.n_axes
    A = arm[0]["actuator_from_joint"]
    arm[0]["rotor_inertia"] = A.T @ np.diag([*np.linspace(0.01, 0.1, n), *np.zeros(8 - n)]) @ A
    return arm


def test_regressor_times_parameters_is_the_inverse_dynamics(description):
    arm, n = with_rotors(description), description.n_axes
    q, qd, qdd = random_states(arm, 200)
    found = regressor(arm, q, qd, qdd) @ inertial_parameters(arm)
    effort = np.zeros(8)
    for k in range(len(q)):
        dynamics.inverse_dynamics(arm, q[k], qd[k], qdd[k], effort)
        assert np.abs(found[k] - effort[:n]).max() < 1e-11 * max(1.0, np.abs(effort).max())


def test_links_columns_equal_pinocchios_regressor(description):
    arm, n = description.record, description.n_joints
    model = pinocchio_model(pin, description)
    data = model.createData()
    q, qd, qdd = random_states(arm, 50)
    Y = regressor(arm, q, qd, qdd)[:, :n, : 10 * n].reshape(-1, n, n, 10)
    order = [0, 1, 2, 3, 4, 7, 5, 8, 9, 6]  # Pinocchio's: m, h, Ixx, Ixy, Iyy, Ixz, Iyz, Izz
    for k in range(len(q)):
        states = (np.ascontiguousarray(x[k, :n]) for x in (q, qd, qdd))
        expected = pin.computeJointTorqueRegressor(model, data, *states)
        assert np.abs(Y[k][:, :, order].reshape(n, 10 * n) - expected).max() < 1e-11


def test_record_keeps_the_parameters_that_it_is_given(description):
    arm = with_rotors(description)
    other = arm.copy()
    for name in ("mass", "com", "inertia", "rotor_inertia"):
        other[0][name] = 0.0
    set_inertial_parameters(other, inertial_parameters(arm))
    n = description.n_joints
    for name in ("mass", "com", "inertia"):
        assert np.abs(other[0][name][:n] - arm[0][name][:n]).max() < 1e-14
    assert np.abs(other[0]["rotor_inertia"] - arm[0]["rotor_inertia"]).max() < 1e-14


def test_base_parameters_give_the_same_efforts_and_none_can_be_spared(description):
    arm = with_rotors(description)
    for static in (False, True):
        base = base_parameters(arm, description.axis_names, description.actuator_names, static=static)
        q, qd, qdd = random_states(arm, 100, seed=5)
        if static:
            qd, qdd = np.zeros_like(qd), np.zeros_like(qdd)
        Y = regressor(arm, q, qd, qdd)
        Y = Y.reshape(-1, Y.shape[2])
        kept = Y[:, base.independent]
        assert np.abs(kept @ base.matrix - Y).max() < 1e-9 * np.abs(Y).max()
        assert np.linalg.matrix_rank(kept / np.linalg.norm(kept, axis=0)) == len(base.independent)
        assert np.array_equal(base.matrix[:, base.independent], np.eye(len(base.independent)))
        assert len(base.names) == len(base.independent) == len(set(base.names))


def test_masses_that_hang_on_the_insertion_are_one_base_parameter(psm_description):
    base = base_parameters(psm_description.record, psm_description.axis_names, psm_description.actuator_names)
    row = base.matrix[base.names.index("insertion.m*")]
    assert np.array_equal(np.flatnonzero(row), [20, 30, 40, 50])
    assert np.abs(row[[20, 30, 40, 50]] - 1.0).max() < 1e-9
