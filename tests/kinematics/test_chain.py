import numpy as np
import pinocchio as pin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kinematics import pinocchio_model
from kinematics import chain
from kinematics.kernels import kernels_of


def assert_equals_pinocchio(description, Q):
    arm = description.record
    model = pinocchio_model(pin, description)
    data = model.createData()
    tip, n = model.nframes - 1, description.n_joints
    T, J, T_both, J_both = (np.full(shape, np.nan) for shape in ((4, 4), (6, 8), (4, 4), (6, 8)))
    expected = np.zeros((6, 8))
    for q in Q:
        joints = np.ascontiguousarray(q[:n])
        expected[:, :n] = pin.computeFrameJacobian(model, data, joints, tip, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED)
        pin.framesForwardKinematics(model, data, joints)
        chain.forward(arm, q, T)
        chain.jacobian(arm, q, J)
        chain.forward_jacobian(arm, q, T_both, J_both)
        assert np.abs(T - data.oMf[tip].homogeneous).max() < 1e-12
        assert np.abs(J - expected).max() < 1e-12
        assert np.array_equal(T, T_both)
        assert np.array_equal(J, J_both)


def test_forward_and_jacobian_equal_pinocchios(description, random_positions):
    assert_equals_pinocchio(description, random_positions(description.record, 200))


def test_forward_and_jacobian_of_every_shipped_arm_equal_pinocchios(shipped_description, random_positions):
    assert_equals_pinocchio(shipped_description, random_positions(shipped_description.record, 200))


def test_kernels_of_every_shipped_arm_equal_the_general_ones(shipped_description, random_positions):
    arm, kernels = shipped_description.record, kernels_of(shipped_description)
    T, J, T_own, J_own = (np.full(shape, np.nan) for shape in ((4, 4), (6, 8), (4, 4), (6, 8)))
    for q in random_positions(arm, 50):
        chain.forward_jacobian(arm, q, T, J)
        kernels.forward(arm, q, T_own)
        kernels.jacobian(arm, q, J_own)
        assert max(np.abs(T - T_own).max(), np.abs(J - J_own).max()) < 4e-15
        kernels.forward_jacobian(arm, q, T_own, J_own)
        assert max(np.abs(T - T_own).max(), np.abs(J - J_own).max()) < 4e-15


def test_jacobian_equals_central_differences(description, random_positions):
    arm, h = description.record, 1e-6
    J, T, ahead, behind = np.zeros((6, 8)), np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    for q in random_positions(arm, 100):
        chain.jacobian(arm, q, J)
        chain.forward(arm, q, T)
        for i in range(8):
            step = h * np.eye(8)[i]
            chain.forward(arm, q + step, ahead)
            chain.forward(arm, q - step, behind)
            rate = (ahead - behind) / (2.0 * h)
            spin = rate[:3, :3] @ T[:3, :3].T  # [omega]x
            twist = np.array([*rate[:3, 3], spin[2, 1], spin[0, 2], spin[1, 0]])
            assert np.abs(J[:, i] - twist).max() < 1e-9


def test_jaw_moves_no_frame_and_has_a_zero_column(psm_description, random_positions):
    arm = psm_description.record
    q = random_positions(arm, 1)[0]
    T, T_open, J = np.zeros((4, 4)), np.zeros((4, 4)), np.full((6, 8), np.nan)
    chain.forward(arm, q, T)
    q[6] = 1.0
    chain.forward(arm, q, T_open)
    chain.jacobian(arm, q, J)
    assert np.array_equal(T, T_open)
    assert np.array_equal(J[:, 6:], np.zeros((6, 2)))


def test_instrument_hangs_down_at_zero_and_is_inserted_downwards(psm_description):
    arm = psm_description.record
    T = np.zeros((4, 4))
    chain.forward(arm, np.zeros(8), T)
    top = T[2, 3]
    chain.forward(arm, np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]), T)
    assert abs(T[2, 3] - (top - 0.1)) < 1e-10
    assert np.abs(T[:2, 3]).max() < 1e-5


def test_yaw_swings_the_tip_along_x_and_pitch_against_y(psm_description):
    arm = psm_description.record
    J = np.zeros((6, 8))
    chain.jacobian(arm, np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]), J)
    depth = 0.1 - 0.0156 + 0.0091
    assert np.abs(J[:3, 0] - [depth, 0.0, 0.0]).max() < 1e-5
    assert np.abs(J[:3, 1] - [0.0, -depth, 0.0]).max() < 1e-5


def test_shaft_passes_through_the_remote_centre_wherever_the_arm_is(psm_description, random_positions):
    """Roll turns about the shaft's line, so the line's distance from the base's origin is to be read off its column."""
    arm = psm_description.record
    J, T = np.zeros((6, 8)), np.zeros((4, 4))
    for q in random_positions(arm, 200):
        chain.jacobian(arm, q, J)
        chain.forward(arm, q, T)
        axis, moment = J[3:, 3], J[:3, 3] - np.cross(J[3:, 3], T[:3, 3])
        assert abs(np.linalg.norm(axis) - 1.0) < 1e-12
        assert np.linalg.norm(moment) < 1e-12


@pytest.mark.parametrize("name", ["forward", "jacobian"])
@given(q=st.lists(st.floats(-5.0, 5.0), min_size=8, max_size=8))
def test_plain_python_agrees_with_the_compiled_chain(psm_description, name, q):
    arm, q = psm_description.record, np.array(q)
    shape = (4, 4) if name == "forward" else (6, 8)
    compiled, plain = np.zeros(shape), np.zeros(shape)
    getattr(chain, name)(arm, q, compiled)
    getattr(chain, name).py_func(arm.view(np.recarray), q, plain)
    assert np.abs(compiled - plain).max() < 1e-14


def test_kernels_refuse_another_type_instead_of_compiling(psm_description):
    with pytest.raises(TypeError):
        chain.forward(psm_description.record, np.zeros(8, np.float32), np.zeros((4, 4)))
