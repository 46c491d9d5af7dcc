"""From what a motion shows to parameters that a real arm can have, and that stay near to what was believed before.

A link with mass m, first moment h and inertia I about an origin can exist if and only if its pseudo-inertia

    J = [[tr(I)/2 1 - I, h], [h^T, m]]

is positive definite (Wensing, Kim and Slotine 2018): then m > 0, I is positive definite about the centre of mass, and
no principal moment is larger than the sum of the others. Distance from the old link is the divergence of Lee, Wensing
and Park (2020), D = tr(J_old^-1 J) - log det(J_old^-1 J) - 4: it has no units, needs no frame, and grows without bound
towards what cannot exist, so one convex problem gives both.
"""

import numpy as np

from kinematics.compiled import Array

__all__ = ["consistent_parameters", "pseudo_inertia", "started_links"]

LINK_SPREAD = 0.5  # relative, roughly: how far from the old link a new one is expected to be
FLOOR = 1e-3  # of a scalar's spread: where one begins that was zero, and about where it stays if nothing is known
GUESSED_MASS, GUESSED_RADIUS = 0.1, 0.05  # kg, m: of a link that the file gives no mass
GUESSED_WEIGHT = 1e-3  # of such a guess, beside 1 / LINK_SPREAD² of what somebody wrote into the file
ITERATIONS = 200  # Newton's: 6 for the emulated arm
DECREMENT = 1e-9  # half the square of Newton's decrement, in units of the weighted misfit


def pseudo_inertia(p: Array) -> Array:
    """Return the pseudo-inertia of a link, (4, 4), from its ten parameters in the order of `regressor.PARAMETERS`."""
    m, hx, hy, hz, xx, yy, zz, xy, xz, yz = p
    half = 0.5 * (xx + yy + zz)
    return np.array([[half - xx, -xy, -xz, hx], [-xy, half - yy, -yz, hy], [-xz, -yz, half - zz, hz], [hx, hy, hz, m]])


_BASIS = np.array([pseudo_inertia(unit) for unit in np.eye(10)])  # J is linear in the parameters


def started_links(p: Array) -> Array:
    """Return links, (10 n,), that can exist: those given, with a little extent where they have none; or a guess."""
    links = p.reshape(-1, 10).copy()
    for link in links:
        if link[0] <= 0.0:
            link[:] = 0.0
            link[0], link[4:7] = GUESSED_MASS, 2.0 * GUESSED_MASS * GUESSED_RADIUS**2
        J = pseudo_inertia(link)
        spread = J[:3, :3] - np.outer(J[:3, 3], J[:3, 3]) / J[3, 3]  # second moments about the centre of mass
        if np.linalg.eigvalsh(spread)[0] < 1e-12 * link[0]:
            link[4:7] += 2e-6 * link[0]  # a millimetre around the centre in each direction
    return links.ravel()


def consistent_parameters(R: Array, z: Array, old: Array, spread: Array, n_links: int) -> Array:
    """Return the parameters that minimise |R p - z|² / 2 and the distance from the old ones; links that can exist.

    By Newton's method with step control: the problem is convex and its barrier self-concordant.

    Args:
        R: Weighted misfit, (k, P): one unit is one standard deviation.
        z: Its right-hand side, (k,).
        old: What was believed, (P,): ten per link, then scalars.
        spread: Per scalar, (P - 10 n_links,): how large it may be where it was zero; infinite for one that may have
            either sign and about which nothing is believed.
        n_links: How many links there are.
    """
    links = 10 * n_links
    old_links = started_links(old[:links])
    inverses = [np.linalg.inv(pseudo_inertia(link)) for link in old_links.reshape(-1, 10)]
    signed = ~np.isfinite(spread)
    scale = np.where(signed, 1.0, spread)
    # x / m - b log x is least at x = b m. With b = 1 that is the old value; where it was zero, b = FLOOR.
    was = old[links:]
    known = was > FLOOR * scale
    m, b = np.where(known, was, scale), np.where(known, 1.0, FLOOR)
    weight = np.where(old[:links:10] > 0.0, 1.0 / LINK_SPREAD**2, GUESSED_WEIGHT)

    def cost(p: Array) -> float:
        total = 0.5 * float(np.sum((R @ p - z) ** 2))
        for k, link in enumerate(p[:links].reshape(-1, 10)):
            J = pseudo_inertia(link)
            try:
                L = np.linalg.cholesky(J)
            except np.linalg.LinAlgError:
                return np.inf
            total += weight[k] * float(np.sum(inverses[k] * J) - 2.0 * np.log(np.diag(L)).sum())
        x = p[links:][~signed]
        if (x <= 0.0).any():
            return np.inf
        return total + float(np.sum(x / m[~signed] - b[~signed] * np.log(x)))

    def slopes(p: Array) -> tuple[Array, Array]:
        gradient, hessian = R.T @ (R @ p - z), R.T @ R
        for k, link in enumerate(p[:links].reshape(-1, 10)):
            inverse = np.linalg.inv(pseudo_inertia(link))
            mine = slice(10 * k, 10 * k + 10)
            gradient[mine] += weight[k] * np.einsum("ab,kab->k", inverses[k] - inverse, _BASIS)
            turned = inverse @ _BASIS
            hessian[mine, mine] += weight[k] * np.einsum("kab,lba->kl", turned, turned)
        x = p[links:]
        safe = np.where(signed, 1.0, x)
        gradient[links:] += np.where(signed, 0.0, 1.0 / m - b / safe)
        curvature = np.where(signed, 1e-12, b / safe**2)
        hessian[range(links, len(p)), range(links, len(p))] += curvature
        return gradient, hessian

    p = np.concatenate([old_links, np.where(signed, was, np.maximum(was, FLOOR * scale))])
    value = cost(p)
    for _ in range(ITERATIONS):
        gradient, hessian = slopes(p)
        size = 1.0 / np.sqrt(np.maximum(np.diag(hessian), 1e-300))
        step = -size * np.linalg.lstsq(hessian * np.outer(size, size), size * gradient, rcond=1e-15)[0]
        decrement = -float(gradient @ step)
        if 0.5 * decrement < DECREMENT:
            break
        length = 1.0
        while length > 1e-10:
            tried = p + length * step
            new = cost(tried)
            if new <= value - 0.1 * length * decrement:
                break
            length *= 0.5
        else:
            break  # rounding is larger than what is left to gain
        p, value = tried, new
    return p
