"""Links that can exist: the pseudo-inertia of a body, and a parametrisation in which no other can be written.

A body with mass m, first moment h and inertia I about an origin exists if and only if its pseudo-inertia

    J = [[tr(I)/2 1 - I, h], [h^T, m]]

is positive semidefinite (Wensing, Kim and Slotine 2018): then m >= 0, I is positive semidefinite about the centre of
mass and no principal moment is larger than the sum of the others.
"""

import numpy as np

from kinematics.compiled import Array

__all__ = ["link_parameters", "link_roots", "links_about", "pseudo_inertia"]

_LOWER = np.tril_indices(4)


def pseudo_inertia(p: Array) -> Array:
    """Return a link's 4 x 4 pseudo-inertia; the link can exist if and only if it is positive definite."""
    m, hx, hy, hz, xx, yy, zz, xy, xz, yz = p
    half = 0.5 * (xx + yy + zz)
    return np.array([[half - xx, -xy, -xz, hx], [-xy, half - yy, -yz, hy], [-xz, -yz, half - zz, hz], [hx, hy, hz, m]])


def link_parameters(J: Array) -> Array:
    """Return a link's ten from its pseudo-inertia."""
    trace = J[0, 0] + J[1, 1] + J[2, 2]
    moments = (trace - J[0, 0], trace - J[1, 1], trace - J[2, 2], -J[0, 1], -J[0, 2], -J[1, 2])
    return np.array([J[3, 3], J[0, 3], J[1, 3], J[2, 3], *moments])


def links_about(theta: Array, roots: Array) -> Array:
    """Return the links' parameters, (10 n,): J = U L L^T U^T, U the file's, L triangular with a positive diagonal.

    So every theta is a link that can exist, and theta = 0 is the file's (Rucker and Wensing 2022).
    """
    found = []
    for x, U in zip(theta.reshape(-1, 10), roots, strict=True):
        L = np.zeros((4, 4))
        L[_LOWER] = x
        L[np.diag_indices(4)] = np.exp(np.diag(L))
        root = U @ L
        found.append(link_parameters(root @ root.T))
    return np.ravel(found)


def link_roots(p: Array) -> Array:
    """Return Cholesky factors of the file's links; a link without mass or extent begins with a little of both."""
    links = p.reshape(-1, 10)
    little = max(1e-3 * links[:, 0].sum(), 1e-3)
    factors = []
    for link in links:
        J = pseudo_inertia(link)
        mass = max(J[3, 3], little)
        least = mass * np.diag([1e-6, 1e-6, 1e-6, 1.0])  # a millimetre around its centre
        if J[3, 3] <= 0.0:
            J = J + least
        elif np.linalg.eigvalsh(J[:3, :3] - np.outer(J[:3, 3], J[:3, 3]) / J[3, 3])[0] < 1e-12 * mass:
            J[:3, :3] += least[:3, :3]
        factors.append(np.linalg.cholesky(J))
    return np.array(factors)
