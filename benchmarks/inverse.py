"""The two questions of inverse kinematics, put to every library alike, and when an answer counts as solved.

Cold: a random reachable pose, from the middle of the joints' ranges or with whatever restarts the solver has of its
own. Warm: a smooth path at 1 kHz, each pose from the answer before. Solved is what another code's forward kinematics
confirms to 1e-6 m and 1e-6 rad, inside the joint limits, and on the path no further from the joints of the step before
than their velocity limits allow in a period.
"""

import time
from collections.abc import Callable

import numpy as np

from benchmarks.pinocchio_peer import forward_by_pinocchio
from benchmarks.robots import PERIOD, Problem, forward
from benchmarks.rows import Row, agree, make_row
from kinematics.compiled import Array

__all__ = ["COLD", "WARM", "Solver", "cold_row", "solved_cold", "solved_warm", "warm_row"]

COLD, WARM = "IK cold", "IK warm"
LIMIT_TOLERANCE = 1e-9  # rad, m
STEP_TOLERANCE = 1e-9

Solver = Callable[[Array, Array], Array | None]
"""(T, q_near) -> the joint positions, (n,), or None: not solved."""


def _reached(problem: Problem, Q: Array, T: Array) -> Array:
    Q = np.ascontiguousarray(np.nan_to_num(Q, nan=1e9, posinf=1e9, neginf=-1e9))
    check = forward_by_pinocchio(problem.description)
    found = check(Q) if check is not None else forward(problem.arm, Q)
    low, high = problem.low - LIMIT_TOLERANCE, problem.high + LIMIT_TOLERANCE
    inside: Array = np.all((low <= Q) & (high >= Q), axis=1)
    return inside & agree(found, T)


def solved_cold(problem: Problem, Q: Array) -> Array:
    """Return which of the answers to `problem.T_cold` count, (N,); what was not solved is nan in Q, (N, n)."""
    return _reached(problem, Q, problem.T_cold)


def solved_warm(problem: Problem, Q: Array) -> Array:
    """Return which of the answers to the path's poses after the first count; Q, (N - 1, n), begins with the second."""
    before = np.vstack([problem.Q_path[:1], Q[:-1]])
    allowed = problem.arm[0]["velocity_max"][: problem.n] * PERIOD * (1.0 + STEP_TOLERANCE)
    with np.errstate(invalid="ignore"):
        small_step: Array = np.all(np.abs(Q - before) <= allowed, axis=1)
    return small_step & _reached(problem, Q, problem.T_path[1:])


def cold_row(problem: Problem, library: str, solve: Solver) -> Row:
    """Time a solver on the random poses."""
    Q, times = np.full((len(problem.T_cold), problem.n), np.nan), np.empty(len(problem.T_cold))
    start, clock = problem.middle, time.perf_counter_ns
    solve(problem.T_cold[0], start)  # whatever a library makes ready at the first call
    for i, T in enumerate(problem.T_cold):
        begin = clock()
        q = solve(T, start)
        times[i] = clock() - begin
        if q is not None:
            Q[i] = q
    return make_row(COLD, problem.robot, library, "python", solved_cold(problem, Q), times / 1e3)


def warm_row(problem: Problem, library: str, solve: Solver) -> Row:
    """Time a solver on the path."""
    poses, q_near = problem.T_path[1:], problem.Q_path[0]
    Q, times = np.full((len(poses), problem.n), np.nan), np.empty(len(poses))
    clock = time.perf_counter_ns
    solve(poses[0], q_near)
    for i, T in enumerate(poses):
        begin = clock()
        q = solve(T, q_near)
        times[i] = clock() - begin
        if q is not None:
            Q[i] = q_near = q
    return make_row(WARM, problem.robot, library, "python", solved_warm(problem, Q), times / 1e3)
