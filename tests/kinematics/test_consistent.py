import numpy as np
import pytest

from kinematics.consistent import consistent_parameters, pseudo_inertia, started_links
from kinematics.regressor import inertial_parameters


def exists(link):
    J = pseudo_inertia(link)
    size = np.sqrt(np.diag(J))
    return np.linalg.eigvalsh(J / np.outer(size, size)).min() > 0.0


@pytest.fixture
def old(description):
    return inertial_parameters(description.record)[: 10 * description.n_joints]


def test_without_evidence_the_links_stay_what_they_were(old):
    n = len(old) // 10
    found = consistent_parameters(np.zeros((1, len(old))), np.zeros(1), old, np.zeros(0), n)
    size = np.abs(old.reshape(n, 10)).max(axis=0)
    assert (np.abs(found - old).reshape(n, 10).max(axis=0) <= 1e-5 * size).all()


def test_strong_evidence_of_a_link_that_can_exist_is_followed(old):
    n = len(old) // 10
    true = old * 1.3
    R = np.diag(1e6 / np.maximum(np.abs(true), 1e-9))
    found = consistent_parameters(R, R @ true, old, np.zeros(0), n)
    assert np.abs(found - true).max() < 1e-5 * np.abs(true).max()


def test_evidence_of_a_link_that_cannot_exist_gives_the_nearest_that_can(old):
    n = len(old) // 10
    R, z = np.zeros((1, len(old))), np.array([-100.0])
    R[0, 0] = 100.0  # the first mass is said to be -1 kg
    found = consistent_parameters(R, z, old, np.zeros(0), n)
    assert 0.0 < found[0] < 0.2 * old[0]
    assert all(exists(link) for link in found.reshape(n, 10))


def test_scalars_stay_positive_known_ones_stay_and_signed_ones_follow(old):
    n = len(old) // 10
    start = np.concatenate([old, [0.5, 0.0, 0.5, 0.0]])
    R = np.zeros((2, len(start)))
    R[0, -2], R[1, -1] = 1e4, 1e4
    spread = np.array([0.1, 0.1, 0.1, np.inf])
    found = consistent_parameters(R, np.array([-1e4 * 0.3, -1e4 * 0.2]), start, spread, n)[-4:]
    assert found[0] == pytest.approx(0.5)  # nothing is known of it
    assert 0.0 < found[1] < 1e-3  # nor of this one, which was zero
    assert 0.0 < found[2] < 1e-3  # said to be negative, which it cannot be
    assert found[3] == pytest.approx(-0.2)


def test_a_link_without_mass_begins_as_a_guess_and_follows_weak_evidence():
    parameters = np.zeros(20)
    parameters[:10] = [2.0, 0.0, 0.2, 0.0, 0.03, 0.01, 0.03, 0.0, 0.0, 0.0]
    start = started_links(parameters).reshape(2, 10)
    assert np.array_equal(start[0], parameters[:10])
    assert all(exists(link) for link in start)
    R = np.zeros((2, 20))
    R[0, 0], R[1, 10] = 1.0, 1.0  # both masses are said to be 1 kg, with a standard deviation of 1 kg
    found = consistent_parameters(R, np.ones(2), parameters, np.zeros(0), 2)
    assert 1.3 < found[0] < 1.9  # the file says 2 kg, and is as good a witness
    assert abs(found[10] - 1.0) < 0.2  # and here it knows nothing
