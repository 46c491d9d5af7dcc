import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinematics import batch, chain, dynamics, psm
from kinematics.batch import BatchError
from kinematics.description import MAX_AXES, load_arm
from kinematics.workspace import sample_workspace, spread_positions

COUNTS = (0, 1, 63, 64, 65, 1000)


def eight(Q):
    padded = np.zeros((len(Q), MAX_AXES))
    padded[:, : Q.shape[1]] = Q
    return padded


def test_batch_equals_single_calls(description, random_positions):
    arm, n = description.record, description.n_joints
    T, J, effort = np.zeros((4, 4)), np.zeros((6, MAX_AXES)), np.zeros(MAX_AXES)
    for count in COUNTS:
        Q = random_positions(arm, count)
        for columns in {n, description.n_axes}:
            some = Q[:, :columns]  # a view that is not contiguous
            all_T, all_J = batch.forward(description, some), batch.jacobian(description, some)
            all_g = batch.gravity(description, some)
            assert (all_T.shape, all_J.shape, all_g.shape) == ((count, 4, 4), (count, 6, n), (count, n))
            for i in range(count):
                chain.forward_jacobian(arm, Q[i], T, J)
                dynamics.gravity_effort(arm, Q[i], effort)
                assert np.abs(all_T[i] - T).max() < 4e-15
                assert np.abs(all_J[i] - J[:, :n]).max() < 4e-15
                assert np.array_equal(all_g[i], effort[:n])


def test_threads_give_the_same_numbers(psm_description, random_positions):
    Q = random_positions(psm_description.record, 120_000)[:, :6]
    T = batch.forward(psm_description, Q, threads=1)
    for threads in (2, 3, None):
        assert np.array_equal(batch.forward(psm_description, Q, threads=threads), T)
    assert np.array_equal(batch.jacobian(psm_description, Q, threads=3), batch.jacobian(psm_description, Q, threads=1))
    several, one = (batch.inverse(psm_description, T, Q, threads=threads) for threads in (3, 1))
    assert np.array_equal(several.Q, one.Q)
    assert np.array_equal(several.status, one.status)


def test_out_is_written_and_returned(psm_description, random_positions):
    Q = random_positions(psm_description.record, 100)
    Q = Q[:, :7]
    T, J = np.zeros((100, 4, 4)), np.zeros((100, 6, 6))
    assert batch.forward(psm_description, Q, out=T) is T
    assert batch.jacobian(psm_description, Q, out=J) is J
    assert np.array_equal(T, batch.forward(psm_description, Q))
    assert np.array_equal(J, batch.jacobian(psm_description, Q))


def test_inverse_equals_single_calls_and_tells_why_not(psm_description, random_positions):
    arm = psm_description.record
    Q = random_positions(arm, 500)
    Q[:, 6:] = 0.0
    near = Q + 0.01
    T = batch.forward(psm_description, Q[:, :7])
    T[7, 0, 3] = 5.0  # out of reach
    T[8, 0, 0] = np.nan
    found = batch.inverse(psm_description, T, near[:, :7])
    q = np.zeros(MAX_AXES)
    for i in range(len(Q)):
        assert found.status[i] == psm.inverse(arm, T[i], near[i], q)
        assert np.array_equal(found.Q[i], q[:7])
    assert found.status[7] == chain.IkStatus.OUT_OF_REACH
    assert found.status[8] == chain.IkStatus.NOT_A_POSE
    assert np.array_equal(found.Q[7], near[7, :7])
    assert np.mean(found.status == 0) > 0.9
    one_for_all = batch.inverse(psm_description, T, near[0, :7])
    assert np.array_equal(one_for_all.status[:1], found.status[:1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.3, 7.0]))
def test_manipulability_equals_numpys_singular_values(psm_description, seed, length):
    arm = psm_description.record
    Q = np.random.default_rng(seed).uniform(arm[0]["position_min"], arm[0]["position_max"], (20, 8))[:, :6]
    Q[0] = 0.0
    found = batch.manipulability(psm_description, Q, length=length)
    J = batch.jacobian(psm_description, Q)
    singular = np.linalg.svd(J, compute_uv=False)
    assert np.allclose(found.yoshikawa, singular.prod(axis=1), rtol=1e-12, atol=1e-17)
    J[:, :3] /= length
    singular = np.linalg.svd(J, compute_uv=False)
    assert np.abs(found.inverse_condition - singular[:, -1] / singular[:, 0]).max() < 1e-14


def test_manipulability_of_an_arm_with_fewer_joints_is_that_of_its_columns(standard_description, random_positions):
    Q = random_positions(standard_description.record, 50)[:, :3]
    found = batch.manipulability(standard_description, Q, length=0.5)
    J = batch.jacobian(standard_description, Q)
    assert np.allclose(found.yoshikawa, np.sqrt(np.linalg.det(J.transpose(0, 2, 1) @ J)), rtol=1e-10)
    J[:, :3] /= 0.5
    singular = np.linalg.svd(J, compute_uv=False)
    assert np.allclose(found.inverse_condition, singular[:, -1] / singular[:, 0], rtol=1e-12)


def test_both_measures_are_zero_where_the_arm_cannot_move_its_tip(standard_description):
    record = standard_description.record
    record[0]["placement"] = np.eye(4)[:3].reshape(12)
    record[0]["prismatic"] = 0
    record[0]["tip"] = np.eye(4)
    one_axis = dataclasses.replace(standard_description, _record=record.tobytes())
    found = batch.manipulability(one_axis, np.zeros((1, 3)))
    assert found.yoshikawa[0] < 1e-15
    assert found.inverse_condition[0] < 1e-15


WRONG = [
    (lambda d, Q: batch.forward(d, Q[0]), r"shape \(6,\).*\(N, 6\) or, with all axes, \(N, 7\).*q\[None\]"),
    (lambda d, Q: batch.forward(d, Q[:, :5]), r"shape \(4, 5\).*yaw, pitch, insertion"),
    (lambda d, Q: batch.jacobian(d, Q.astype(str)), "allowed are real numbers"),
    (lambda d, Q: batch.gravity(d, Q + 0j), "Q holds complex128"),
    (lambda d, Q: batch.forward(d, Q, threads=0), "threads = 0: allowed is 1 or more"),
    (lambda d, Q: batch.forward(d, Q, out=np.zeros((4, 4))), r"out is float64 of shape \(4, 4\).*\(4, 4, 4\)"),
    (lambda d, Q: batch.forward(d, Q, out=np.zeros((4, 4, 4), np.float32)), "out is float32"),
    (lambda d, Q: batch.inverse(d, np.eye(4), Q), r"T has the shape \(4, 4\).*T\[None\]"),
    (lambda d, Q: batch.inverse(d, np.zeros((3, 4, 4)), Q), "T has 3 rows and Q_near 4"),
    (lambda d, Q: batch.manipulability(d, Q, length=0.0), "length = 0.0: allowed is a positive number"),
    (lambda d, Q: batch.manipulability(d, Q, length=math.nan), "length = nan"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_arrays_are_refused_with_what_is_allowed(psm_description, call, message):
    with pytest.raises(BatchError, match=message):
        call(psm_description, np.zeros((4, 6)))


def test_poses_of_an_arm_without_a_closed_form_are_found_from_near_by():
    panda = load_arm("panda")
    arm, rng = panda.record[0], np.random.default_rng(4)
    low, high = (arm[name][:7] for name in ("position_min", "position_max"))
    Q = rng.uniform(low + 0.2, high - 0.2, (200, 7))
    T = batch.forward(panda, Q)
    found = batch.inverse(panda, T, Q + rng.normal(0.0, 0.01, Q.shape))
    assert (found.status == 0).all()
    assert np.abs(batch.forward(panda, found.Q) - T).max() < 1e-6


def test_characteristic_length_is_the_rms_distance_of_the_tip_from_the_axes(psm_description):
    arm = psm_description.record
    q, J = 0.5 * (arm[0]["position_min"] + arm[0]["position_max"]), np.zeros((6, MAX_AXES))
    chain.jacobian(arm, q, J)
    distances = np.linalg.norm(J[:3, [0, 1, 3, 4, 5]], axis=0)
    assert batch.characteristic_length(psm_description) == pytest.approx(np.sqrt(np.mean(distances**2)), rel=1e-12)


def test_spread_positions_fill_the_limits_evenly_and_the_same_each_time(psm_description):
    arm = psm_description.record[0]
    Q = spread_positions(psm_description, 4096, seed=3)
    parts = (Q - arm["position_min"][:6]) / (arm["position_max"] - arm["position_min"])[:6]
    assert ((parts >= 0.0) & (parts <= 1.0)).all()
    for column in parts.T:
        share = np.histogram(column, bins=16, range=(0.0, 1.0))[0] / 256.0
        assert np.abs(share - 1.0).max() < 0.1  # independent random numbers: 0.19
    assert np.array_equal(Q, spread_positions(psm_description, 4096, seed=3))
    assert not np.array_equal(Q, spread_positions(psm_description, 4096, seed=4))


def test_workspace_of_one_slide_is_its_stroke(psm_description):
    record = psm_description.record
    record[0]["n_joints"] = 6
    record[0]["position_min"][:6] = [0.0, 0.0, 0.02, 0.0, 0.0, 0.0]
    record[0]["position_max"][:6] = [1e-9, 1e-9, 0.22, 1e-9, 1e-9, 1e-9]
    slide = dataclasses.replace(psm_description, _record=record.tobytes())
    found = sample_workspace(slide, samples=2000)
    assert found.max_reach == pytest.approx(0.22 - 0.0156 + 0.0091, abs=2e-4)
    assert found.voxel == pytest.approx(0.2 / 8, rel=1e-2)
    assert found.volume <= 0.5 * 9 * found.voxel**3  # all of its voxels are on the border


def test_volume_of_the_psm_is_that_of_the_sector_that_yaw_pitch_and_stroke_sweep(psm_description):
    arm = psm_description.record[0]
    reach = arm["position_max"][2] - 0.0156 + 0.0091
    sector = reach**3 / 3.0 * 2.0 * math.sin(arm["position_max"][1]) * 2.0 * arm["position_max"][0]
    for samples, tolerance in ((20_000, 0.1), (200_000, 0.08)):
        assert sample_workspace(psm_description, samples=samples).volume == pytest.approx(sector, rel=tolerance)
