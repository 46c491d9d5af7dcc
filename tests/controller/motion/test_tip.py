"""Twists and wrenches of the tip, in joints."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.motion.tip import joint_efforts, joint_rates, turn_to_base
from kinematics.description import load_arm
from kinematics.kernels import kernels_of

DESCRIPTION = load_arm("psm_classic")
PSM, KERNELS = DESCRIPTION.record, kernels_of(DESCRIPTION)
JOINTS = int(PSM[0]["n_joints"])
V = PSM[0]["velocity_max"][:JOINTS]

regular = st.tuples(
    st.floats(-1.2, 1.2), st.floats(-0.8, 0.8), st.floats(0.06, 0.2), st.floats(-3, 3), st.floats(-0.7, 0.7),
    st.floats(-1.2, 1.2), st.just(0.0), st.just(0.0),
).map(np.array)  # fmt: skip
twists = st.tuples(*[st.floats(-0.01, 0.01)] * 3, *[st.floats(-0.1, 0.1)] * 3).map(np.array)


def jacobian(q):
    J = np.zeros((6, 8))
    KERNELS.jacobian(PSM, q, J)
    return J


def rates(q, twist):
    qd = np.zeros(8)
    joint_rates(PSM, jacobian(q), twist, 0.1, 1.5, np.zeros((8, 8)), qd)
    return qd[:JOINTS]


@given(regular, twists)
def test_away_from_singularities_the_tip_moves_as_asked(q, twist):
    J = jacobian(q)[:, :JOINTS]
    exact = np.linalg.solve(J, twist)
    if (np.abs(exact) < V).all():
        np.testing.assert_allclose(J @ rates(q, twist), twist, rtol=0, atol=1e-9)


@given(regular, st.floats(1.0, 1e3), twists)
def test_no_joint_is_asked_for_more_than_its_limit_and_the_tip_keeps_its_direction(q, factor, twist):
    qd = rates(q, factor * twist)
    assert (np.abs(qd) <= V * (1 + 1e-12)).all()
    moved = jacobian(q)[:, :JOINTS] @ qd
    norms = np.linalg.norm(moved) * np.linalg.norm(twist)
    if norms > 1e-9:
        assert moved @ twist >= (1 - 1e-9) * norms


def test_through_a_singularity_the_rates_stay_finite_and_bounded():
    for angle in np.linspace(np.pi / 2 - 0.1, np.pi / 2 + 0.1, 201):  # wrist yaw axis along the shaft
        q = np.array([0.1, 0.2, 0.12, 0.3, angle, 0.2, 0.0, 0.0])
        for axis in range(6):
            twist = np.zeros(6)
            twist[axis] = 0.05
            qd = rates(q, twist)
            assert np.isfinite(qd).all()
            assert (np.abs(qd) <= V * (1 + 1e-12)).all()


@given(regular, twists, twists)
def test_efforts_do_the_work_that_the_wrench_does_at_the_tip(q, wrench, qd_like):
    J, effort = jacobian(q), np.zeros(8)
    joint_efforts(PSM, J, wrench, effort)
    assert np.isclose(effort[:JOINTS] @ qd_like, wrench @ (J[:, :JOINTS] @ qd_like), rtol=1e-9, atol=1e-15)


@given(regular, twists)
def test_axes_of_the_tip_are_turned_to_those_of_the_base(q, twist):
    T = np.zeros((4, 4))
    KERNELS.forward(PSM, q, T)
    turned = twist.copy()
    turn_to_base(turned, T)
    np.testing.assert_allclose(turned, np.concatenate([T[:3, :3] @ twist[:3], T[:3, :3] @ twist[3:]]), atol=1e-15)
