"""Joint efforts as a linear function of the arm's inertial parameters: what identification solves for.

A link has ten: mass m, first moment h = m c, and inertia about its joint frame's origin, all in that frame; each
actuator has one more, its rotor's inertia. Efforts are linear in them, effort = Y(q, qd, qdd) p, but few of them act
alone: what a motion can show at all are fewer combinations, the *base parameters* (Gautier and Khalil 1990). Everything
here works on arrays of N states at once and allocates; nothing is for the cycle.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kinematics.compiled import Array

__all__ = ["PARAMETERS", "Base", "base_parameters", "inertial_parameters", "regressor", "set_inertial_parameters"]

PARAMETERS = ("m", "hx", "hy", "hz", "Ixx", "Iyy", "Izz", "Ixy", "Ixz", "Iyz")
"""A link's ten, in order: kg, kg m, kg m²; moments of inertia about the joint frame's origin."""

STATES = 200  # random ones that show the structure
RANK_TOLERANCE = 1e-8  # of the largest diagonal entry of R


def regressor(arm: Array, q: Array, qd: Array, qdd: Array) -> Array:
    """Return Y, (N, n_axes, P): Y @ inertial_parameters(arm) are the efforts of `inverse_dynamics`.

    Each link's force and moment are linear in its ten parameters (Khalil and Dombre 2002, section 12.4):
    F = m a + wd x h + w x (w x h) and N = I wd + w x I w + h x a about its frame's origin. They are carried inward to
    each joint before it.

    Args:
        arm: The record, (1,), dtype ARM.
        q: Positions, (N, 8), rad and m.
        qd: Velocities, (N, 8).
        qdd: Accelerations, (N, 8).
    """
    n, n_axes, count = int(arm[0]["n_joints"]), int(arm[0]["n_axes"]), len(q)
    Y = np.zeros((count, n_axes, 10 * n + n_axes))
    w, wd = np.zeros((count, 3)), np.zeros((count, 3))
    a = np.broadcast_to(-arm[0]["gravity"], (count, 3))
    frames: list[tuple[Array, Array]] = []
    for k in range(n):
        R, p = _joint_pose(arm, k, q[:, k])
        frames.append((R, p))
        a = _turned(R, a + np.cross(wd, p) + np.cross(w, np.cross(w, p)))
        w, wd = _turned(R, w), _turned(R, wd)
        if arm[0]["prismatic"][k]:
            a = a + np.stack([2.0 * qd[:, k] * w[:, 1], -2.0 * qd[:, k] * w[:, 0], qdd[:, k]], axis=1)
        else:
            wd = wd + np.stack([qd[:, k] * w[:, 1], -qd[:, k] * w[:, 0], qdd[:, k]], axis=1)
            w = w + qd[:, k, None] * (0.0, 0.0, 1.0)
        F, N = _wrench_columns(w, wd, a)
        for i in range(k, -1, -1):
            Y[:, i, 10 * k : 10 * k + 10] = (F if arm[0]["prismatic"][i] else N)[:, 2]
            R, p = frames[i]
            F, N = R @ F, R @ N
            N = N + _cross_matrix(p) @ F
    A = arm[0]["actuator_from_joint"][:n_axes, :n_axes]
    Y[:, :, 10 * n :] = (qdd[:, :n_axes] @ A.T)[:, None, :] * A.T
    return Y


def _joint_pose(arm: Array, i: int, q: Array) -> tuple[Array, Array]:
    """Return R (N, 3, 3) and p (N, 3) of T_{i-1,i}, as `chain.joint_transform` does for one state."""
    placement = arm[0]["placement"][i].reshape(3, 4)
    if arm[0]["prismatic"][i]:
        R = np.broadcast_to(placement[:, :3], (len(q), 3, 3))
        return R, placement[:, 3] + q[:, None] * placement[:, 2]
    turn = np.zeros((len(q), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(q)
    turn[:, 1, 0] = np.sin(q)
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1.0
    return placement[:, :3] @ turn, np.broadcast_to(placement[:, 3], (len(q), 3))


def _turned(R: Array, x: Array) -> Array:
    """Return R^T x for each state: parent's coordinates to the link's own."""
    turned: Array = np.einsum("nji,nj->ni", R, x)
    return turned


def _cross_matrix(x: Array) -> Array:
    """Return [x], (N, 3, 3), with [x] y = x cross y."""
    X = np.zeros((len(x), 3, 3))
    X[:, 2, 1], X[:, 0, 2], X[:, 1, 0] = x[:, 0], x[:, 1], x[:, 2]
    return X - X.transpose(0, 2, 1)


def _inertia_columns(w: Array) -> Array:
    """Return K, (N, 3, 6), with K (Ixx, Iyy, Izz, Ixy, Ixz, Iyz) = I w."""
    K = np.zeros((len(w), 3, 6))
    for row, (column, entry) in enumerate([(0, 0), (1, 1), (2, 2)]):
        K[:, row, column] = w[:, entry]
    for column, (row, other) in ((3, (0, 1)), (4, (0, 2)), (5, (1, 2))):
        K[:, row, column], K[:, other, column] = w[:, other], w[:, row]
    return K


def _wrench_columns(w: Array, wd: Array, a: Array) -> tuple[Array, Array]:
    """Return force and moment about the frame's origin per unit of each of the link's ten parameters, (N, 3, 10)."""
    F, N = np.zeros((len(w), 3, 10)), np.zeros((len(w), 3, 10))
    W = _cross_matrix(w)
    F[:, :, 0] = a
    F[:, :, 1:4] = _cross_matrix(wd) + W @ W
    N[:, :, 1:4] = -_cross_matrix(a)
    N[:, :, 4:] = _inertia_columns(wd) + W @ _inertia_columns(w)
    return F, N


def inertial_parameters(arm: Array) -> Array:
    """Return the parameters, (P,), P = 10 n_joints + n_axes: link by link as in PARAMETERS, then the rotors.

    A rotor's is its inertia at the actuator, after the gear, kg m² or kg.
    """
    links = []
    for i in range(int(arm[0]["n_joints"])):
        m, c = float(arm[0]["mass"][i]), arm[0]["com"][i]
        I = arm[0]["inertia"][i] + m * (c @ c * np.eye(3) - np.outer(c, c))  # noqa: E741
        links.append([m, *(m * c), I[0, 0], I[1, 1], I[2, 2], I[0, 1], I[0, 2], I[1, 2]])
    C = arm[0]["joint_from_actuator"]
    rotors = np.diag(C.T @ arm[0]["rotor_inertia"] @ C)[: int(arm[0]["n_axes"])]
    return np.concatenate([np.ravel(links), rotors])


def set_inertial_parameters(arm: Array, parameters: Array) -> None:
    """Give the record these parameters, (P,); a link without mass keeps its centre of mass."""
    n, n_axes = int(arm[0]["n_joints"]), int(arm[0]["n_axes"])
    for i, (m, hx, hy, hz, xx, yy, zz, xy, xz, yz) in enumerate(parameters[: 10 * n].reshape(-1, 10)):
        c = np.array([hx, hy, hz]) / m if m > 0.0 else arm[0]["com"][i].copy()
        I = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])  # noqa: E741
        arm[0]["mass"][i], arm[0]["com"][i] = m, c
        arm[0]["inertia"][i] = I - m * (c @ c * np.eye(3) - np.outer(c, c))
    A = arm[0]["actuator_from_joint"][:n_axes]
    arm[0]["rotor_inertia"] = A.T @ np.diag(parameters[10 * n :]) @ A


class Base(NamedTuple):
    """Which combinations of the inertial parameters move the joints."""

    independent: Array
    """Indices of the parameters that stand for the combinations, (b,)."""
    matrix: Array
    """(b, P): base parameters = matrix @ inertial_parameters; the identity in the columns `independent`."""
    names: tuple[str, ...]
    """`pitch.hx`, or `pitch.Ixx*` where others are lumped together with it."""


def base_parameters(
    arm: Array, joints: Sequence[str], actuators: Sequence[str], *, static: bool = False, seed: int = 1
) -> Base:
    """Return the arm's base parameters, found numerically from random states (Gautier 1991).

    A parameter is kept when its column of the regressor is independent of those before it, from the base to the tip and
    in each link in the order of PARAMETERS: what cannot be told apart is lumped into the link nearer to the base.

    Args:
        arm: The record, (1,), dtype ARM.
        joints: The joints' names.
        actuators: The actuators' names.
        static: Only what gravity shows: without velocities and accelerations.
        seed: Of the states.
    """
    n = int(arm[0]["n_joints"])
    rng = np.random.default_rng(seed)
    q = rng.uniform(arm[0]["position_min"], arm[0]["position_max"], (STATES, 8))
    rates = np.zeros((2, STATES, 8)) if static else rng.uniform(-3.0, 3.0, (2, STATES, 8))
    Y = regressor(arm, q, *rates)
    Y = Y.reshape(-1, Y.shape[2])
    size = np.abs(np.diag(np.linalg.qr(Y, mode="r")))
    independent = np.flatnonzero(size > RANK_TOLERANCE * size.max())
    # Y = Y_kept matrix, in the least-squares sense exact: every column is a combination of those kept.
    matrix: Any = np.linalg.lstsq(Y[:, independent], Y, rcond=None)[0]
    matrix[np.abs(matrix) < 1e-9] = 0.0
    matrix[:, independent] = np.eye(len(independent))
    names = [f"{joint}.{name}" for joint in joints[:n] for name in PARAMETERS]
    names += [f"{actuator}.rotor" for actuator in actuators]
    lumped = np.count_nonzero(matrix, axis=1) > 1
    starred = (names[k] + ("*" if more else "") for k, more in zip(independent, lumped, strict=True))
    return Base(independent, matrix, tuple(starred))
