"""This project's own rows: kernels called from Python, in a compiled loop as the cycle does, and over arrays."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.inverse import WARM, cold_row, solved_warm, warm_row
from benchmarks.loops import time_both, time_efforts, time_forward, time_inverse
from benchmarks.pinocchio_peer import forward_by_pinocchio, gravity_by_pinocchio
from benchmarks.robots import Problem
from benchmarks.rows import (
    EFFORT_TOLERANCE,
    JACOBIAN_TOLERANCE,
    OURS,
    RUN,
    Row,
    Settings,
    agree,
    make_row,
    time_calls,
    time_many,
)
from kinematics import batch, chain, dynamics
from kinematics.cold_inverse import InverseKinematics
from kinematics.compiled import Array, Part
from kinematics.description import MAX_AXES, ArmDescription, Family
from kinematics.generated import generated_kernels
from kinematics.kernels import bound_record, kernels_of

__all__ = ["BATCH", "BATCH_RUNS", "batch_positions", "our_inverse", "rows"]

CALLS = 20_000  # of each function from Python
RUNS = 20_000  # in the compiled loop: long enough for a neighbour on the machine to come and go
LAPS = 20  # of the path in the loop
BATCH = 100_000  # configurations at once
BATCH_RUNS = 50
TABLES = f"{OURS}, any chain"


class OurInverse(NamedTuple):
    """The solvers of an arm."""

    warm: Part
    """A kernel of the signature INVERSE."""
    cold: Callable[[Array, Array], Array | None]
    """(T, q_near) -> (n,) or None."""


def our_inverse(description: ArmDescription) -> OurInverse:
    """Return how this project solves an arm's inverse kinematics: by its family's closed form, else by search."""
    warm = kernels_of(description).inverse
    if description.record[0]["family"] != Family.NONE:
        return OurInverse(warm, _from_python(description, warm))
    own = generated_kernels(description)
    search = InverseKinematics(description, forward=own.forward, forward_jacobian=own.forward_jacobian)
    n = description.n_joints

    def cold(T: Array, _q_near: Array) -> Array | None:
        found = search.solve(T)
        return found.q[:n] if found.status == 0 else None

    return OurInverse(warm, cold)


def _from_python(description: ArmDescription, kernel: Part) -> Callable[[Array, Array], Array | None]:
    arm, n = bound_record(description), description.n_joints
    near, q = np.zeros(MAX_AXES), np.zeros(MAX_AXES)

    def solve(T: Array, q_near: Array) -> Array | None:
        near[:n] = q_near
        return q[:n].copy() if kernel(arm, T, near, q) == 0 else None

    return solve


def rows(problem: Problem, settings: Settings) -> list[Row]:
    """Return our measurements."""
    return [
        *_forward_rows(problem, settings),
        *_batch_rows(problem, settings),
        *_inverse_rows(problem, settings),
    ]


def _forward_rows(problem: Problem, settings: Settings) -> list[Row]:
    own = generated_kernels(problem.description)
    result = _kernel_rows(problem, settings, OURS, own.forward, own.jacobian, own.forward_jacobian)
    result += _kernel_rows(problem, settings, TABLES, chain.forward, chain.jacobian, chain.forward_jacobian)
    return [*result, *_gravity_rows(problem, settings)]


def _kernel_rows(
    problem: Problem, settings: Settings, library: str, forward: Part, jacobian: Part, both: Part
) -> list[Row]:
    """Return the rows of one set of kernels, from Python and in a loop."""
    arm, Q, count = problem.arm, problem.Q, settings.count(CALLS)
    T, T_both = (np.full((len(Q), 4, 4), np.nan) for _ in range(2))
    J, J_both = (np.full((len(Q), 6, MAX_AXES), np.nan) for _ in range(2))
    for i, q in enumerate(Q):
        forward(arm, q, T[i])
        jacobian(arm, q, J[i])
        both(arm, q, T_both[i], J_both[i])
    T_check = _poses_by_another(problem)
    solved_T, solved_J = agree(T, T_check), _agree_J(problem, J)
    solved_both = agree(T_both, T_check) & _agree_J(problem, J_both)
    t, j = T[0], J[0]
    measured = [
        ("FK", solved_T, "python", time_calls(lambda i: forward(arm, Q[i], t), count, len(Q))),
        ("J", solved_J, "python", time_calls(lambda i: jacobian(arm, Q[i], j), count, len(Q))),
        ("FK+J", solved_both, "python", time_calls(lambda i: both(arm, Q[i], t, j), count, len(Q))),
        ("FK", solved_T, "loop", _timed(settings, time_forward, forward, arm, Q, t)),
        ("J", solved_J, "loop", _timed(settings, time_forward, jacobian, arm, Q, j)),
        ("FK+J", solved_both, "loop", _timed(settings, time_both, both, arm, Q, t, j)),
    ]
    return [make_row(task, problem.robot, library, place, solved, us) for task, solved, place, us in measured]


def _timed(settings: Settings, loop: Part, *arguments: object) -> Array:
    """Return µs per call of each run of a loop."""
    times, timespec = np.empty(settings.count(RUNS)), np.zeros(2, np.int64)
    loop(*arguments, times[:10], timespec)  # caches and clock rate as they are in a cycle that runs
    loop(*arguments, times, timespec)
    return times


def _gravity_rows(problem: Problem, settings: Settings) -> list[Row]:
    """Return the row of the gravity efforts; only Pinocchio can confirm them, so there is none without it."""
    efforts = gravity_by_pinocchio(problem)
    if efforts is None or not problem.has_masses:
        return []
    arm, Q, effort = problem.arm, problem.Q, np.zeros(MAX_AXES)
    solved = []
    for q, expected in zip(Q, efforts, strict=True):
        dynamics.gravity_effort(arm, q, effort)
        solved.append(np.abs(effort[: problem.n] - expected).max() < EFFORT_TOLERANCE)
    times = _timed(settings, time_efforts, dynamics.gravity_effort, arm, Q, effort)
    return [make_row("gravity", problem.robot, OURS, "loop", np.array(solved), times)]


def _agree_J(problem: Problem, J: Array) -> Array:
    # Against the kernels for any chain; Pinocchio's own rows check those.
    agreed: Array = np.abs(J[:, :, : problem.n] - problem.J).max(axis=(1, 2)) < JACOBIAN_TOLERANCE
    return agreed


def _poses_by_another(problem: Problem) -> Array:
    """Return the poses by Pinocchio where it is installed, else by our kernels for any chain."""
    check = forward_by_pinocchio(problem.description)
    return problem.T if check is None else check(np.ascontiguousarray(problem.Q[:, : problem.n]))


def batch_positions(problem: Problem, settings: Settings) -> Array:
    """Return many configurations, (N, n)."""
    count = BATCH // 10 if settings.quick else BATCH
    repeats = -(-count // len(problem.Q))
    return np.tile(problem.Q[:, : problem.n], (repeats, 1))[:count].copy()


def _batch_rows(problem: Problem, settings: Settings) -> list[Row]:
    Q = batch_positions(problem, settings)
    T_check = np.resize(_poses_by_another(problem), (len(Q), 4, 4))
    result = []
    for name, threads in ((OURS, None), (f"{OURS}, 1 thread", 1)):
        forward = functools.partial(batch.forward, problem.description, Q, threads=threads)
        solved = agree(forward(), T_check)
        times = time_many(forward, settings.count(BATCH_RUNS))
        result.append(make_row("FK", problem.robot, name, "batch", solved, times / len(Q)))
    return result


def _inverse_rows(problem: Problem, settings: Settings) -> list[Row]:
    solvers = our_inverse(problem.description)
    result = [
        cold_row(problem, OURS, solvers.cold),
        warm_row(problem, OURS, _from_python(problem.description, solvers.warm)),
    ]
    T = problem.T_path[1:].copy()
    Q, status = np.full((len(T), MAX_AXES), np.nan), np.full(len(T), -1)
    timespec = np.zeros(2, np.int64)
    times = []
    for _ in range(LAPS):
        q = np.zeros(MAX_AXES)
        q[: problem.n] = problem.Q_path[0]
        times.append(np.empty(len(T) // RUN))
        time_inverse(solvers.warm, problem.arm, T, q, Q, status, times[-1], timespec)
    Q[status != 0] = np.nan
    asked = len(T) // RUN * RUN
    solved = solved_warm(problem, Q[:, : problem.n])[:asked]
    result.append(make_row(WARM, problem.robot, OURS, "loop", solved, np.concatenate(times)))
    return result
