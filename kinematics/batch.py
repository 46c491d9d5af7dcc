"""Kinematics of many configurations at once, on all cores: for workspaces, calibration and statistics.

The kernels release the GIL, so threads of one process share the arrays. Joint positions are (N, n) with one column per
joint of the chain, or one per axis (the jaw's is then not read); rad and m. Poses are (N, 4, 4). Positions that are not
finite give results that are not finite, and the status NOT_A_POSE.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.core.types.containers import UniTuple
from numpy.typing import ArrayLike

from kinematics import dynamics
from kinematics.chain import ARMS, INVERSE
from kinematics.compiled import Array, Part, kernel
from kinematics.description import MAX_AXES, ArmDescription, KinematicsError
from kinematics.generated import TILE, generated_kernels, generated_tile_kernels
from kinematics.kernels import bound_record, kernels_of

__all__ = [
    "BatchError",
    "Manipulability",
    "Solutions",
    "characteristic_length",
    "forward",
    "gravity",
    "inverse",
    "jacobian",
    "manipulability",
]

CHUNKS = 4  # per thread, so that one that is held up leaves work to the others
WORTH_A_THREAD = 500_000  # ns of work: to start a thread and hand over costs up to a tenth of it
FORWARD_NS, JACOBIAN_NS, GRAVITY_NS, INVERSE_NS, MANIPULABILITY_NS = 20, 40, 300, 250, 2500  # per row, roughly
SWEEPS = 30  # of Jacobi rotations; six or seven do it
CONVERGED = 1e-15  # cosine between two rows that counts as a right angle

f8 = types.float64
_GRAVITY = types.void(ARMS, f8[:, ::1], f8[:, ::1], f8[::1], f8[::1], types.int64, types.int64)
_MANIPULABILITY = types.void(f8[:, :, ::1], f8, f8[::1], f8[::1], f8[:, ::1])
_INVERSE_ROWS = types.void(
    types.FunctionType(INVERSE),
    ARMS,
    f8[:, :, ::1],
    f8[:, ::1],
    f8[:, ::1],
    types.int64[::1],
    f8[::1],
    types.int64,
    types.int64,
)


class BatchError(KinematicsError, ValueError):
    """Arrays of a wrong shape or kind, or an arm that cannot do what is asked."""


class Solutions(NamedTuple):
    """Answers of the inverse kinematics."""

    Q: Array
    """(N, n) as Q_near; where the status is not 0, Q_near."""
    status: Array
    """(N,), int64: an IkStatus each, 0 where solved."""


class Manipulability(NamedTuple):
    """How well an arm can move its tip, per configuration: (N,) each, both 0 in a singular one."""

    yoshikawa: Array
    """sqrt(det(J J^T)), SI units (m³ for six joints); with fewer than six joints sqrt(det(J^T J)).

    Yoshikawa, Int. J. Robotics Research 4(2), 1985.
    """
    inverse_condition: Array
    """Smallest by largest singular value, 0 to 1, of the Jacobian whose linear rows are divided by a length."""


def forward(
    description: ArmDescription, Q: ArrayLike, *, out: Array | None = None, threads: int | None = None
) -> Array:
    """Return T_base_tip, (N, 4, 4), at the joint positions Q, (N, n).

    Args:
        description: The arm.
        Q: Positions, rad and m.
        out: Where to write, (N, 4, 4), C-contiguous float64; None: into a new array. Fresh memory costs as much as the
            computation does, so a loop over blocks gains by keeping one array.
        threads: How many share the work; None: one per processor that this process may use.

    Raises:
        BatchError: Q has a wrong shape or is not numbers, or `out` does not fit.
    """
    Q = _positions(description, Q)
    kernels = generated_tile_kernels(description)
    T = _out(out, (len(Q), 4, 4))
    _share(len(Q), FORWARD_NS, lambda begin, end: kernels.forward(Q, T, np.empty(kernels.work), begin, end), threads)
    return T


def jacobian(
    description: ArmDescription, Q: ArrayLike, *, out: Array | None = None, threads: int | None = None
) -> Array:
    """Return the geometric Jacobians, (N, 6, n_joints), linear rows first, as `chain.jacobian` does; see `forward`."""
    Q = _positions(description, Q)
    kernels = generated_tile_kernels(description)
    J = _out(out, (len(Q), 6, description.n_joints))
    _share(len(Q), JACOBIAN_NS, lambda begin, end: kernels.jacobian(Q, J, np.empty(kernels.work), begin, end), threads)
    return J


def gravity(description: ArmDescription, Q: ArrayLike, *, threads: int | None = None) -> Array:
    """Return the efforts that hold the arm against gravity, (N, n_joints), N·m and N; see `forward`."""
    Q = _positions(description, Q)
    arm = description.record
    efforts = np.empty((len(Q), description.n_joints))
    _share(
        len(Q),
        GRAVITY_NS,
        lambda begin, end: _gravity_rows(arm, Q, efforts, np.zeros(MAX_AXES), np.zeros(MAX_AXES), begin, end),
        threads,
    )
    return efforts


def inverse(description: ArmDescription, T: ArrayLike, Q_near: ArrayLike, *, threads: int | None = None) -> Solutions:
    """Return the joint positions that bring the tip to each of the poses.

    Args:
        description: The arm. Where its family has no closed form, each pose is searched for from its Q_near, which
            may end in NOT_CONVERGED; `cold_inverse.InverseKinematics.solve_all` begins again until it is found.
        T: T_base_tip, (N, 4, 4).
        Q_near: Positions, (N, n), or one for all, (n,): of the branches, the nearest one is taken.
        threads: As for `forward`.

    Raises:
        BatchError: Arrays have a wrong shape or are not numbers.
    """
    solve = kernels_of(description).inverse
    T = _numbers("T", T)
    if T.ndim != 3 or T.shape[1:] != (4, 4):
        raise BatchError(f"T has the shape {T.shape}: allowed is (N, 4, 4); one pose T is written T[None]")
    near = _numbers("Q_near", Q_near)
    near = _positions(description, np.broadcast_to(near, (len(T), *near.shape)) if near.ndim == 1 else near, "Q_near")
    if len(near) != len(T):
        raise BatchError(f"T has {len(T)} rows and Q_near {len(near)}: give one Q_near for each pose, or one for all")
    arm, Q, status = bound_record(description), np.empty_like(near), np.empty(len(T), np.int64)
    _share(
        len(T),
        INVERSE_NS,
        lambda begin, end: _inverse_rows(solve, arm, T, near, Q, status, np.zeros(MAX_AXES), begin, end),
        threads,
    )
    return Solutions(Q, status)


def manipulability(
    description: ArmDescription, Q: ArrayLike, *, length: float | None = None, threads: int | None = None
) -> Manipulability:
    """Return how well the arm can move its tip at the joint positions Q, (N, n).

    Args:
        description: The arm.
        Q: Positions, rad and m.
        length: m that count as much as one rad in the condition number; None: `characteristic_length(description)`.
        threads: As for `forward`.

    Raises:
        BatchError: Q has a wrong shape or is not numbers, or the length is not positive.
    """
    Q = _positions(description, Q)
    if length is None:
        length = characteristic_length(description)
    if not 0.0 < length < math.inf:
        raise BatchError(f"length = {length!r}: allowed is a positive number of metres; leave it out for the arm's own")
    kernels = generated_tile_kernels(description)
    n_joints = description.n_joints
    result = Manipulability(np.empty(len(Q)), np.empty(len(Q)))

    def rows(begin: int, end: int) -> None:
        J = np.empty((end - begin, 6, n_joints))
        kernels.jacobian(Q[begin:end], J, np.empty(kernels.work), 0, end - begin)
        scratch = np.empty((6, MAX_AXES))
        _manipulability_rows(J, length, result.yoshikawa[begin:end], result.inverse_condition[begin:end], scratch)

    _share(len(Q), MANIPULABILITY_NS, rows, threads)
    return result


def characteristic_length(description: ArmDescription) -> float:
    """Return the length, m, that makes the arm's linear and angular motions comparable.

    It is the root mean square distance of the tip from the axes of the revolute joints, with all joints in the middle
    of their range: a rad/s there moves the tip at that length per second. 1 for an arm without revolute joints, or
    with its tip on all their axes.
    """
    arm = description.record
    q, J = 0.5 * (arm[0]["position_min"] + arm[0]["position_max"]), np.zeros((6, MAX_AXES))
    generated_kernels(description).jacobian(arm, q, J)
    turning = arm[0]["prismatic"][: description.n_joints] == 0
    linear = J[:3, : description.n_joints][:, turning]
    length = float(np.sqrt(np.mean(np.sum(linear**2, axis=0)))) if turning.any() else 0.0
    return length if length > 0.0 else 1.0


def _numbers(name: str, values: ArrayLike) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise BatchError(f"{name} holds {array.dtype}: allowed are real numbers; convert it to float64")
    return np.ascontiguousarray(array, dtype=np.float64)


def _positions(description: ArmDescription, Q: ArrayLike, name: str = "Q") -> Array:
    array = _numbers(name, Q)
    n_joints, n_axes = description.n_joints, description.n_axes
    if array.ndim != 2 or array.shape[1] not in (n_joints, n_axes):
        columns = f"(N, {n_joints})" + ("" if n_joints == n_axes else f" or, with all axes, (N, {n_axes})")
        raise BatchError(
            f"{name} has the shape {array.shape}: allowed for {description.name} is {columns}, a column each for "
            f"{', '.join(description.axis_names)}; one configuration q is written q[None]"
        )
    return array


def _out(out: Array | None, shape: tuple[int, ...]) -> Array:
    if out is None:
        return np.empty(shape)
    if out.shape != shape or out.dtype != np.float64 or not out.flags.c_contiguous or not out.flags.writeable:
        allowed = f"a writeable, C-contiguous float64 array of shape {shape}"
        raise BatchError(f"out is {out.dtype} of shape {out.shape}: allowed is {allowed}; or leave it out")
    return out


def _share(count: int, row_ns: int, work: Callable[[int, int], Any], threads: int | None) -> None:
    """Call work(begin, end) for chunks that cover `count` rows, in several threads where that is worth it."""
    if threads is not None and threads < 1:
        raise BatchError(f"threads = {threads}: allowed is 1 or more; leave it out for one per processor")
    workers = threads or len(os.sched_getaffinity(0))
    smallest = -(-WORTH_A_THREAD // row_ns)
    size = -(-max(smallest, -(-count // (workers * CHUNKS))) // TILE) * TILE
    chunks = [(begin, min(begin + size, count)) for begin in range(0, count, size)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        for begin, end in chunks:
            work(begin, end)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(lambda chunk: work(*chunk), chunks):
            pass


@kernel(_GRAVITY)
def _gravity_rows(arm: Array, Q: Array, efforts: Array, q: Array, effort: Array, begin: int, end: int) -> None:
    n_joints = arm[0].n_joints
    for row in range(begin, end):
        for i in range(n_joints):
            q[i] = Q[row, i]
        dynamics.gravity_effort(arm, q, effort)
        for i in range(n_joints):
            efforts[row, i] = effort[i]


@kernel(_INVERSE_ROWS)
def _inverse_rows(
    solve: Part, arm: Array, T: Array, Q_near: Array, Q: Array, status: Array, q: Array, begin: int, end: int
) -> None:
    columns = Q.shape[1]
    for row in range(begin, end):
        for i in range(columns):
            q[i] = Q_near[row, i]
        status[row] = solve(arm, T[row], q, q)
        for i in range(columns):
            Q[row, i] = q[i]


@kernel(UniTuple(f8, 3)(f8[:, ::1], f8, f8[:, ::1]))
def _singular_values(J: Array, length: float, U: Array) -> tuple[float, float, float]:
    """Return the smallest and largest singular value and their product, of J with its linear rows over a length.

    One-sided Jacobi rotations: the rows of J (its columns, where those are fewer) are turned in pairs until all are at
    right angles; their lengths are then the singular values, small ones to their last digits too (Demmel and Veselic,
    SIAM J. Matrix Anal. Appl. 13(4), 1992), which the eigenvalues of J J^T would not give.
    """
    n = J.shape[1]
    count, width = min(n, 6), max(n, 6)
    for i in range(6):
        scale = 1.0 / length if i < 3 else 1.0
        for j in range(n):
            if n < 6:
                U[j, i] = scale * J[i, j]
            else:
                U[i, j] = scale * J[i, j]
    for _ in range(SWEEPS):
        turned = False
        for i in range(count - 1):
            for j in range(i + 1, count):
                a, b, c = 0.0, 0.0, 0.0
                for k in range(width):
                    a += U[i, k] * U[i, k]
                    b += U[j, k] * U[j, k]
                    c += U[i, k] * U[j, k]
                if abs(c) > CONVERGED * math.sqrt(a * b):
                    turned = True
                    cotangent = (b - a) / (2.0 * c)
                    tangent = math.copysign(1.0, cotangent) / (abs(cotangent) + math.sqrt(1.0 + cotangent * cotangent))
                    cosine = 1.0 / math.sqrt(1.0 + tangent * tangent)
                    sine = cosine * tangent
                    for k in range(width):
                        u, v = U[i, k], U[j, k]
                        U[i, k], U[j, k] = cosine * u - sine * v, sine * u + cosine * v
        if not turned:
            break
    low, high, product = math.inf, 0.0, 1.0
    for i in range(count):
        total = 0.0
        for k in range(width):
            total += U[i, k] * U[i, k]
        value = math.sqrt(total)
        low, high, product = min(low, value), max(high, value), product * value
    return low, high, product


@kernel(_MANIPULABILITY)
def _manipulability_rows(J: Array, length: float, yoshikawa: Array, inverse_condition: Array, U: Array) -> None:
    """Write both measures of the Jacobians J, (N, 6, n); U is work space, (6, 8)."""
    n = J.shape[2]
    for row in range(J.shape[0]):
        low, high, product = _singular_values(J[row], length, U)
        inverse_condition[row] = low / high
        if n < 6:
            low, high, product = _singular_values(J[row], 1.0, U)
            yoshikawa[row] = product
        else:
            yoshikawa[row] = product * length * length * length
