"""Inverse kinematics from anywhere: seeded restarts around `kinematics.inverse.descend`. Not for the cycle."""

import functools
import math
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.chain import ARMS, FORWARD, FORWARD_JACOBIAN, IkStatus
from kinematics.compiled import Array, Part, kernel
from kinematics.description import ArmDescription, KinematicsError
from kinematics.frames import is_pose
from kinematics.generated import generated_kernels
from kinematics.inverse import (
    FORWARD_JACOBIAN_PART,
    FORWARD_PART,
    POSE_TOLERANCE,
    TOLERANCE,
    IkTask,
    descend,
)
from kinematics.parts import part_address, part_at
from kinematics.seed_table import COUNT, SEEDS, align, nearest, rank, seed_table
from kinematics.stack import stack_matrix

__all__ = ["IkBatch", "IkResult", "InverseKinematics", "PoseError", "checked_array", "solve"]

f8, i8, i4, u8 = types.float64, types.int64, types.int32, types.uint64

MISSHAPEN = -1  # no status: the array is not (4, 4)
TRIES = 300
RANKED = 200  # tries that begin at the table's nearest entries; the later ones begin anywhere
QUICK = 12  # tries that give up early: most of those that succeed do so in few steps
QUICK_STEPS, QUICK_EVERY, QUICK_GAIN = 16, 3, 0.3
LONG_STEPS, LONG_EVERY, LONG_GAIN = 60, 10, 0.5


class PoseError(KinematicsError, ValueError):
    """An argument of the inverse kinematics that cannot be used; the message says which and why."""


class IkResult(msgspec.Struct, frozen=True):
    """What a search found."""

    q: Array
    """Joints, (8,); the best found when it is not SOLVED. Entries past the joints are q_near's, or zero."""
    status: int
    """IkStatus: SOLVED, NOT_CONVERGED or NOT_A_POSE."""
    iterations: int
    """Jacobians that it took."""
    restarts: int
    """Starts after the first."""


class IkBatch(NamedTuple):
    """What the searches for N poses found: as IkResult, (N, 8) and (N,)."""

    q: Array
    status: Array
    iterations: Array
    restarts: Array


@kernel(UniTuple(u8, 2)(u8))
def _random(state: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the next state and 64 random bits: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    state += np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


REQUEST = i8[::1]
"""(9,): the addresses of forward and of forward_jacobian, whether to begin at q, seed, tries."""

FIND = UniTuple(i8, 3)(REQUEST, ARMS, SEEDS, f8[:, ::1], f8[::1])


@kernel(FIND)
def find(request: Array, arm: Array, seeds: Array, T: Array, q: Array) -> tuple[int, int, int]:
    """Search q, (8,): from q itself when the request says so, then from the table, then from random joints.

    Returns:
        IkStatus or MISSHAPEN, Jacobians, restarts.
    """
    if T.shape[0] != 4 or T.shape[1] != 4:
        return MISSHAPEN, 0, 0
    if not is_pose(T, POSE_TOLERANCE):
        return IkStatus.NOT_A_POSE, 0, 0
    forward, forward_jacobian = part_at(request[0:3], FORWARD_PART), part_at(request[3:6], FORWARD_JACOBIAN_PART)
    near, seed, tries = request[6], request[7], request[8]
    task = IkTask.POSE if seeds[0].axis_weight > 0.0 else IkTask.POSITION
    n_joints = arm[0].n_joints
    low, high, best = stack_matrix(1, 8)[0], stack_matrix(1, 8)[0], stack_matrix(1, 8)[0]
    M = stack_matrix(4, 4)
    for i in range(8):
        low[i], high[i] = -math.inf, math.inf
    for i in range(n_joints):
        low[i], high[i] = arm[0].position_min[i], arm[0].position_max[i]
    keys = np.empty(COUNT, np.int32)
    ranked = False
    state = np.uint64(seed)
    total, least = 0, math.inf
    for attempt in range(tries):
        if attempt == 0 and near != 0:
            for i in range(n_joints):
                q[i] = min(max(q[i], low[i]), high[i])
        elif attempt < RANKED:
            if not ranked:
                rank(seeds, T, M, keys)
                ranked = True
            align(arm, seeds, M, nearest(keys), q)
        else:
            for i in range(n_joints):
                state, bits = _random(state)
                q[i] = low[i] + (high[i] - low[i]) * (np.float64(bits >> np.uint64(11)) * 2.0**-53)
        if attempt < QUICK:
            error, count = descend(
                forward, forward_jacobian, arm, task, T, low, high, q, QUICK_STEPS, QUICK_EVERY, QUICK_GAIN
            )
        else:
            error, count = descend(
                forward, forward_jacobian, arm, task, T, low, high, q, LONG_STEPS, LONG_EVERY, LONG_GAIN
            )
        total += count
        if error <= TOLERANCE * TOLERANCE:
            return IkStatus.SOLVED, total, attempt
        if error < least:
            least = error
            for i in range(n_joints):
                best[i] = q[i]
    for i in range(n_joints):
        q[i] = best[i]
    return IkStatus.NOT_CONVERGED, total, tries - 1


FIND_ALL = types.void(REQUEST, ARMS, SEEDS, f8[:, :, ::1], f8[:, ::1], i8[:, ::1])


@kernel(FIND_ALL)
def _find_all(request: Array, arm: Array, seeds: Array, T: Array, Q: Array, outcome: Array) -> None:
    """Search for all poses, each as if alone; outcome (N, 3): status, Jacobians, restarts."""
    for i in range(T.shape[0]):
        outcome[i, 0], outcome[i, 1], outcome[i, 2] = find(request, arm, seeds, T[i], Q[i])


class InverseKinematics:
    """The inverse kinematics of one arm, ready to be asked from Python.

    Searches are deterministic: the same pose and seed give the same bits. They may run in several threads at once.
    """

    def __init__(
        self,
        description: ArmDescription,
        *,
        task: IkTask = IkTask.POSE,
        forward: Part | None = None,
        forward_jacobian: Part | None = None,
    ) -> None:
        """Prepare; the first time for an arm takes some milliseconds.

        Args:
            description: The arm.
            task: What of a pose is wanted.
            forward: Kernel, `chain.FORWARD`; None: the arm's own, generated.
            forward_jacobian: Kernel, chain.FORWARD_JACOBIAN; None: the arm's own.
        """
        own = generated_kernels(description)
        forward, forward_jacobian = forward or own.forward, forward_jacobian or own.forward_jacobian
        self.description = description
        self.task = task
        self._parts = forward, forward_jacobian  # the addresses are good while these live
        addresses = part_address(forward, FORWARD), part_address(forward_jacobian, FORWARD_JACOBIAN)
        self._request = np.concatenate([*addresses, np.array((0, 0, TRIES))])
        self._arm = description.record
        self._seeds = seed_table(description, task == IkTask.POSE)

    def solve(
        self,
        T: npt.ArrayLike,
        *,
        q_near: npt.ArrayLike | None = None,
        seed: int = 0,
        tries: int = TRIES,
    ) -> IkResult:
        """Return joints within their limits that bring the tip to T.

        Args:
            T: T_base_tip, (4, 4).
            q_near: Joints to begin at, (n_joints,) or (8,); without, the search begins at the best of a stored table.
            seed: Of the random starts, which come after the table's.
            tries: Starts before it gives up.

        Raises:
            PoseError: T or q_near has another shape, or is not of numbers.
        """
        if q_near is None:
            q, near = np.zeros(8), False
        else:
            q, near = self._joints(q_near), True
        request = self._request
        if near or seed != 0 or tries != TRIES:
            request = self._asked(near, seed, tries)
        try:  # to look at the argument first would cost as much as the search
            outcome = find(request, self._arm, self._seeds, T, q)  # type: ignore[arg-type]
        except TypeError:
            outcome = MISSHAPEN, 0, 0
        if outcome[0] == MISSHAPEN:
            outcome = find(request, self._arm, self._seeds, checked_array("T", T, (4, 4), "a pose, T_base_tip"), q)
        return IkResult(q, *outcome)

    def solve_all(
        self,
        T: npt.ArrayLike,
        *,
        Q_near: npt.ArrayLike | None = None,
        seed: int = 0,
        tries: int = TRIES,
    ) -> IkBatch:
        """Return joints for N poses, (N, 4, 4): each what `solve` returns, in one compiled loop without the GIL.

        Raises:
            PoseError: T or Q_near, (N, 8), has another shape, or is not of numbers.
        """
        poses = checked_array("T", T, (-1, 4, 4), "poses, T_base_tip")
        Q = (
            np.zeros((len(poses), 8))
            if Q_near is None
            else checked_array("Q_near", Q_near, (len(poses), 8), "joints").copy()
        )
        outcome = np.zeros((len(poses), 3), np.int64)
        _find_all(self._asked(Q_near is not None, seed, tries), self._arm, self._seeds, poses, Q, outcome)
        return IkBatch(Q, outcome[:, 0], outcome[:, 1], outcome[:, 2])

    def _asked(self, near: bool, seed: int, tries: int) -> Array:
        if not 0 <= seed < 2**63:
            raise PoseError(f"seed = {seed!r}: allowed is 0 to 2^63 - 1")
        if tries < 1:
            raise PoseError(f"tries = {tries!r}: allowed is 1 or more")
        request = self._request.copy()
        request[6:9] = near, seed, tries
        return request

    def _joints(self, q_near: npt.ArrayLike) -> Array:
        q = np.zeros(8)
        given = np.shape(q_near)
        count = 8 if given == (8,) else self.description.n_joints
        q[:count] = checked_array(
            "q_near", q_near, (count,), f"joint positions ({self.description.n_joints}, or 8 entries)"
        )
        if not np.isfinite(q).all():
            raise PoseError(f"q_near = {q_near!r} is not finite: leave it out to begin at the stored table")
        return q


def checked_array(name: str, values: npt.ArrayLike, shape: tuple[int, ...], what: str) -> Array:
    """Return an argument as a contiguous float64 array; -1 in the shape stands for any length.

    Raises:
        PoseError: It is not of numbers, or has another shape.
    """
    try:
        array = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PoseError(f"{name} is not an array of numbers ({error}): give {what}, shape {shape}") from error
    if array.ndim != len(shape) or any(want not in (-1, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = str(shape).replace("-1", "N")
        raise PoseError(f"{name} has the shape {array.shape}: give {what}, shape {wanted}")
    return array


@functools.lru_cache(maxsize=32)
def _prepared(description: ArmDescription, task: IkTask) -> InverseKinematics:
    return InverseKinematics(description, task=task)


def solve(
    description: ArmDescription,
    T: npt.ArrayLike,
    *,
    q_near: npt.ArrayLike | None = None,
    task: IkTask = IkTask.POSE,
    seed: int = 0,
    tries: int = TRIES,
) -> IkResult:
    """Return joints of an arm, within their limits, that bring its tip to T; see `InverseKinematics.solve`."""
    return _prepared(description, task).solve(T, q_near=q_near, seed=seed, tries=tries)
