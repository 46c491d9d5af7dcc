import numba
import numpy as np
import pinocchio as pin
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core.runtime import _nrt_python

from benchmarks.kinematics import pinocchio_model
from kinematics import chain, dynamics
from kinematics.description import load_arm, shipped_arms

TOLERANCE = 1e-10


def random_rates(arm, count, seed=2):
    """Velocities and accelerations up to twice the arm's limits, (2, count, 8)."""
    rates = np.random.default_rng(seed).uniform(-2.0, 2.0, (2, count, 8))
    return rates[0] * arm[0]["velocity_max"], rates[1] * arm[0]["acceleration_max"]


def random_body(rng):
    """A mass, a centre and an inertia about it that a body can have."""
    points = rng.normal(0.0, 0.1, (5, 3))
    masses = rng.uniform(0.05, 0.5, 5)
    com = masses @ points / masses.sum()
    inertia = sum(m * ((p @ p) * np.eye(3) - np.outer(p, p)) for m, p in zip(masses, points - com, strict=True))
    return masses.sum(), com, inertia


def with_random_links(description, seed):
    """The arm with other links, and Pinocchio's model with the same."""
    rng = np.random.default_rng(seed)
    arm, model = description.record, pinocchio_model(pin, description)
    for i in range(description.n_joints):
        arm[0]["mass"][i], arm[0]["com"][i], arm[0]["inertia"][i] = body = random_body(rng)
        model.inertias[i + 1] = pin.Inertia(*body)
    return arm, model


def with_rotors(description):
    arm, n = description.record, description.n_axes
    at_actuators = np.zeros(8)
    at_actuators[:n] = np.linspace(0.01, 0.1, n)
    A = arm[0]["actuator_from_joint"]
    arm[0]["rotor_inertia"] = A.T @ np.diag(at_actuators) @ A
    return arm, at_actuators[:n]


def check_against_pinocchio(arm, model, n, positions):
    data = model.createData()
    qd, qdd = random_rates(arm, len(positions))
    effort, bias, acceleration, M = np.full(8, np.nan), np.full(8, np.nan), np.full(8, np.nan), np.full((8, 8), np.nan)
    worst = np.zeros(4)
    for k, q in enumerate(positions):
        q_n, qd_n, qdd_n = (np.ascontiguousarray(x[:n]) for x in (q, qd[k], qdd[k]))
        dynamics.inverse_dynamics(arm, q, qd[k], qdd[k], effort)
        dynamics.bias_effort(arm, q, qd[k], bias)
        dynamics.mass_matrix(arm, q, M)
        # Compared by the efforts that the accelerations take: a wrist's inertia of 1e-7 kg m² amplifies rounding.
        assert dynamics.forward_dynamics(arm, q, qd[k], effort, acceleration) == 0
        found = pin.rnea(model, data, q_n, qd_n, np.ascontiguousarray(acceleration[:n]))
        expected = pin.rnea(model, data, q_n, qd_n, qdd_n)
        upper = np.triu(pin.crba(model, data, q_n))
        errors = (
            effort[:n] - expected,
            bias[:n] - pin.nle(model, data, q_n, qd_n),
            M[:n, :n] - upper - np.triu(upper, 1).T,
            found - expected,
        )
        worst = np.maximum(worst, [np.abs(error).max() for error in errors])
        for vector in (effort, bias, acceleration):
            assert np.array_equal(vector[n:], np.zeros(8 - n))
        assert not M[n:].any()
        assert not M[:, n:].any()
    assert worst.max() < TOLERANCE, worst


@pytest.mark.parametrize("name", shipped_arms())
def test_dynamics_of_every_shipped_arm_equal_pinocchios(name, random_positions):
    description = load_arm(name)
    arm, model = description.record, pinocchio_model(pin, description)
    if description.file.dynamics is None:  # its file says nothing of masses
        arm, model = with_random_links(description, 1)
        model.gravity.linear = np.array([0.5, -1.0, -9.0])
        arm[0]["gravity"] = model.gravity.linear
    model.armature = np.diag(arm[0]["rotor_inertia"])[: model.nv].copy()  # where an actuator turns one joint
    check_against_pinocchio(arm, model, description.n_joints, random_positions(arm, 300))


def test_dynamics_with_random_links_equal_pinocchios(description, random_positions):
    for seed in range(10):
        arm, model = with_random_links(description, seed)
        check_against_pinocchio(arm, model, description.n_joints, random_positions(arm, 30, seed))


@numba.njit
def call_all(arm, x, y, M, count):
    for _ in range(count):
        dynamics.inverse_dynamics(arm, x, x, x, y)
        dynamics.bias_effort(arm, x, x, y)
        dynamics.gravity_effort(arm, x, y)
        dynamics.friction_effort(arm, x, y)
        dynamics.mass_matrix(arm, x, M)
        dynamics.forward_dynamics(arm, x, x, x, y)


@numba.njit
def allocate(count):
    total = 0.0
    for k in range(count):
        total += np.full(8 + k % 2, 1.0).sum()
    return total


def test_kernels_allocate_nothing(psm_description):
    arm, x, y, M = psm_description.record, np.full(8, 0.1), np.zeros(8), np.zeros((8, 8))

    def allocations(call, count):
        before = _nrt_python.memsys_get_stats_alloc()
        call(count)
        return _nrt_python.memsys_get_stats_alloc() - before

    was_enabled = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    try:
        for call, each in ((allocate, 1), (lambda count: call_all(arm, x, y, M, count), 0)):
            call(1)
            assert allocations(call, 101) - allocations(call, 1) == 100 * each  # the entry from Python is not counted
    finally:
        if not was_enabled:
            _nrt_python.memsys_disable_stats()


def test_results_may_replace_the_last_argument(description, random_positions):
    arm, _ = with_rotors(description)
    qd, qdd = random_rates(arm, 20)
    effort = np.zeros(8)
    for k, q in enumerate(random_positions(arm, 20)):
        dynamics.inverse_dynamics(arm, q, qd[k], qdd[k], effort)
        in_place = qdd[k].copy()
        dynamics.inverse_dynamics(arm, q, qd[k], in_place, in_place)
        assert np.array_equal(in_place, effort)
        dynamics.bias_effort(arm, q, qd[k], effort)
        in_place = qd[k].copy()
        dynamics.bias_effort(arm, q, in_place, in_place)
        assert np.array_equal(in_place, effort)


def test_effort_is_mass_times_acceleration_plus_bias(description, random_positions):
    arm, _ = with_rotors(description)
    qd, qdd = random_rates(arm, 200)
    effort, bias, M = np.zeros(8), np.zeros(8), np.zeros((8, 8))
    for k, q in enumerate(random_positions(arm, 200)):
        dynamics.inverse_dynamics(arm, q, qd[k], qdd[k], effort)
        dynamics.bias_effort(arm, q, qd[k], bias)
        dynamics.mass_matrix(arm, q, M)
        assert np.abs(effort - (M @ qdd[k] + bias)).max() < 1e-11 * max(1.0, np.abs(effort).max())


def test_bias_at_rest_is_gravity(description, random_positions):
    arm = description.record
    bias, gravity = np.zeros(8), np.zeros(8)
    for q in random_positions(arm, 200):
        dynamics.bias_effort(arm, q, np.zeros(8), bias)
        dynamics.gravity_effort(arm, q, gravity)
        assert np.abs(bias - gravity).max() < 1e-12


@given(st.lists(st.floats(-10.0, 10.0), min_size=8, max_size=8))
def test_mass_matrix_is_symmetric_and_positive_definite(psm_description, standard_description, q):
    for description in (psm_description, standard_description):
        n, M = description.n_joints, np.zeros((8, 8))
        dynamics.mass_matrix(description.record, np.array(q), M)
        assert np.array_equal(M, M.T)
        # Scaled to a unit diagonal: a wrist's inertia is a millionth of the first joint's.
        size = np.sqrt(np.diag(M)[:n])
        assert np.linalg.eigvalsh(M[:n, :n] / np.outer(size, size)).min() > 0.0


def test_kinetic_energy_of_the_mass_matrix_is_that_of_the_links(description, random_positions):
    """Without another library: each link's own velocity from its Jacobian, each link in turn as the last one."""
    arm = description.record
    qd, _ = random_rates(arm, 50)
    M, T, J = np.zeros((8, 8)), np.zeros((4, 4)), np.zeros((6, 8))
    for k, q in enumerate(random_positions(arm, 50)):
        energy = 0.0
        for i in range(description.n_joints):
            link = arm.copy()
            link[0]["n_joints"], link[0]["tip"] = i + 1, np.eye(4)
            link[0]["tip"][:3, 3] = arm[0]["com"][i]
            chain.forward_jacobian(link, q, T, J)
            twist = J @ qd[k]
            spin = T[:3, :3].T @ twist[3:]
            energy += 0.5 * (arm[0]["mass"][i] * twist[:3] @ twist[:3] + spin @ arm[0]["inertia"][i] @ spin)
        dynamics.mass_matrix(arm, q, M)
        assert abs(0.5 * qd[k] @ M @ qd[k] - energy) < 1e-12 * max(1.0, energy)


def test_free_swing_keeps_its_energy(standard_description):
    """Four seconds without any effort, fourth-order Runge-Kutta: kinetic and potential energy only change places."""
    arm, n, h = standard_description.record, standard_description.n_joints, 5e-4
    M, T, qdd, rest = np.zeros((8, 8)), np.zeros((4, 4)), np.zeros(8), np.zeros(8)

    def energy(q, qd):
        dynamics.mass_matrix(arm, q, M)
        total = 0.5 * qd @ M @ qd
        for i in range(n):
            link = arm.copy()
            link[0]["n_joints"], link[0]["tip"] = i + 1, np.eye(4)
            link[0]["tip"][:3, 3] = arm[0]["com"][i]
            chain.forward(link, q, T)
            total -= arm[0]["mass"][i] * arm[0]["gravity"] @ T[:3, 3]
        return total

    def rate(x):
        assert dynamics.forward_dynamics(arm, x[0], x[1], rest, qdd) == 0
        return np.array([x[1], qdd])

    x = np.array([[0.3, 0.1, -0.5, 0, 0, 0, 0, 0], [0.5, 0.2, -1.0, 0, 0, 0, 0, 0]], dtype=float)
    begin, kinetic = energy(*x), []
    for step in range(8000):
        k1 = rate(x)
        k2 = rate(x + h / 2 * k1)
        k3 = rate(x + h / 2 * k2)
        k4 = rate(x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if step % 400 == 0:
            dynamics.mass_matrix(arm, x[0], M)
            kinetic.append(0.5 * x[1] @ M @ x[1])
            assert abs(energy(*x) - begin) < 1e-8 * max(kinetic)
    assert max(kinetic) - min(kinetic) > 1.0  # and it did swing


def test_rotors_add_their_inertia_at_the_actuators(description, random_positions):
    plain, (arm, rotors) = description.record, with_rotors(description)
    n = description.n_axes
    A = arm[0]["actuator_from_joint"][:n, :n]
    qd, qdd = random_rates(arm, 50)
    effort, without, M, M_without = np.zeros(8), np.zeros(8), np.zeros((8, 8)), np.zeros((8, 8))
    for k, q in enumerate(random_positions(arm, 50)):
        dynamics.inverse_dynamics(arm, q, qd[k], qdd[k], effort)
        dynamics.inverse_dynamics(plain, q, qd[k], qdd[k], without)
        at_actuators = np.linalg.inv(A).T @ (effort - without)[:n]
        assert np.abs(at_actuators - rotors * (A @ qdd[k][:n])).max() < 1e-11 * max(1.0, np.abs(effort).max())
        dynamics.mass_matrix(arm, q, M)
        dynamics.mass_matrix(plain, q, M_without)
        assert np.abs(M[:n, :n] - M_without[:n, :n] - A.T @ np.diag(rotors) @ A).max() < 1e-14
        found = np.zeros(8)
        assert dynamics.forward_dynamics(arm, q, qd[k], effort, found) == 0
        assert np.abs((found - qdd[k])[:n]).max() < 1e-8  # the jaw too: it has a rotor now


def test_rotors_of_a_file_reach_the_record(tmp_path, psm_description):
    text = psm_description.path.read_text()
    old = "gravity = [0.0, 0.0, -9.80665]"
    assert text.count(old) == 1
    path = tmp_path / "rotors.toml"
    path.write_text(text.replace(old, f"rotor_inertia = [0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 0.4]\n{old}"))
    rotors = load_arm(path).record[0]["rotor_inertia"]
    C = psm_description.record[0]["joint_from_actuator"]
    at_actuators = C.T @ rotors @ C
    expected = np.diag([0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 0.4, 0.0])
    assert np.abs(at_actuators - expected).max() < 1e-12


def test_a_joint_that_moves_nothing_is_named(psm_description):
    arm = psm_description.record
    arm[0]["mass"][5], arm[0]["inertia"][5] = 0.0, 0.0
    assert dynamics.forward_dynamics(arm, np.zeros(8), np.zeros(8), np.zeros(8), np.zeros(8)) == 6


def test_cholesky_solve_equals_numpys():
    rng = np.random.default_rng(0)
    for n in range(1, 9):
        root = rng.normal(size=(n, n))
        M, x = np.zeros((8, 8)), rng.normal(size=8)
        M[:n, :n] = root @ root.T + 0.1 * np.eye(n)
        expected = np.linalg.solve(M[:n, :n], x[:n])
        assert dynamics.cholesky_solve(M, x, n) == 0
        assert np.abs(x[:n] - expected).max() < 1e-9
    M[2, 2] = np.nan
    assert dynamics.cholesky_solve(M, x, 8) == 3


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


@given(st.lists(st.floats(-20.0, 20.0), min_size=8, max_size=8))
def test_friction_at_the_actuators_comes_back_through_the_coupling(psm_description, qd):
    arm, qd, effort = psm_description.record, np.array(qd), np.full(8, np.nan)
    arm[0]["friction_at_actuators"] = 1
    dynamics.friction_effort(arm, qd, effort)
    A = arm[0]["actuator_from_joint"][:7, :7]
    a = arm[0]
    at_actuators = a["coulomb"][:7] * np.tanh(A @ qd[:7] / a["friction_smoothing"][:7]) + a["viscous"][:7] * (
        A @ qd[:7]
    )
    assert np.abs(effort[:7] - A.T @ at_actuators).max() < 1e-12
    assert effort[7] == 0.0
    assert effort @ qd >= 0.0


def test_plain_python_agrees_with_the_compiled_gravity(description, random_positions):
    arm = description.record
    compiled, plain = np.zeros(8), np.zeros(8)
    for q in random_positions(arm, 50):
        dynamics.gravity_effort(arm, q, compiled)
        dynamics.gravity_effort.py_func(arm.view(np.recarray), q, plain)
        assert np.abs(compiled - plain).max() < 1e-12
