"""Inverse dynamics, bias, mass matrix and forward dynamics, beside Pinocchio.

Our answers are checked by Pinocchio's before anything is timed, to 1e-10 of N·m, N and kg m²; without it there are no
rows, since nothing would confirm ours. An arm whose file says nothing of masses is left out.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types

from benchmarks.pinocchio_peer import pinocchio_model
from benchmarks.robots import Problem, make_problem, measured_robots
from benchmarks.rows import OURS, RUN, Row, Settings, make_row, skip, time_calls
from kinematics import dynamics
from kinematics.chain import ARMS
from kinematics.compiled import Array, kernel

__all__ = ["rows"]

CALLS = 20_000  # of each function from Python
RUNS = 3_000  # in the compiled loop
TOLERANCE = 1e-10  # of efforts and of entries of the mass matrix: what counts as solved

f8 = types.float64


@kernel(types.int64(ARMS, f8[:, ::1], f8[:, ::1], f8[:, ::1], f8[:, ::1], types.int64, types.int64))
def _loop_inverse_dynamics(arm: Array, q: Array, qd: Array, qdd: Array, effort: Array, first: int, count: int) -> int:
    for i in range(first, first + count):
        dynamics.inverse_dynamics(arm, q[i], qd[i], qdd[i], effort[i])
    return 0


@kernel(types.int64(ARMS, f8[:, ::1], f8[:, ::1], f8[:, ::1], types.int64, types.int64))
def _loop_bias(arm: Array, q: Array, qd: Array, effort: Array, first: int, count: int) -> int:
    for i in range(first, first + count):
        dynamics.bias_effort(arm, q[i], qd[i], effort[i])
    return 0


@kernel(types.int64(ARMS, f8[:, ::1], f8[:, :, ::1], types.int64, types.int64))
def _loop_mass_matrix(arm: Array, q: Array, M: Array, first: int, count: int) -> int:
    for i in range(first, first + count):
        dynamics.mass_matrix(arm, q[i], M[i])
    return 0


@kernel(types.int64(ARMS, f8[:, ::1], f8[:, ::1], f8[:, ::1], f8[:, ::1], types.int64, types.int64))
def _loop_forward_dynamics(arm: Array, q: Array, qd: Array, effort: Array, qdd: Array, first: int, count: int) -> int:
    for i in range(first, first + count):
        dynamics.forward_dynamics(arm, q[i], qd[i], effort[i], qdd[i])
    return 0


def rows(settings: Settings | None = None) -> list[Row]:
    """Return the measurements; none without Pinocchio."""
    try:
        import pinocchio as pin
    except ImportError:
        skip("dynamics", "nothing confirms ours without the package `pin`: pip install 'trocar[bench]'")
        return []
    settings = settings or Settings()
    result = []
    for title, description in measured_robots(settings):
        if description.file.dynamics is not None:
            result += _rows_of(pin, make_problem(title, description, settings), settings)
    return result


def _close(found: Array, expected: Array) -> bool:
    return bool(np.abs(found - expected).max() < TOLERANCE)


def _time_loop(settings: Settings, loop: Callable[[int], object], inputs: int) -> Array:
    """Return µs per call of runs in compiled code; loop(first) makes one run."""
    times = np.empty(settings.count(RUNS))
    clock = time.perf_counter_ns
    for k in range(len(times)):
        begin = clock()
        loop((k * RUN) % inputs)
        times[k] = clock() - begin
    return times / 1e3 / RUN


def _rows_of(pin: Any, problem: Problem, settings: Settings) -> list[Row]:  # noqa: ANN401
    arm, n, q = problem.arm, problem.n, problem.Q
    model = pinocchio_model(pin, problem.description)
    data = model.createData()
    count = len(q)
    rng = np.random.default_rng(1)
    qd = rng.uniform(-1.0, 1.0, q.shape) * arm[0]["velocity_max"]
    qdd = rng.uniform(-1.0, 1.0, q.shape) * arm[0]["acceleration_max"]
    effort, bias, solution, M = np.zeros_like(q), np.zeros_like(q), np.zeros_like(q), np.zeros((count, 8, 8))
    _loop_inverse_dynamics(arm, q, qd, qdd, effort, 0, count)
    _loop_bias(arm, q, qd, bias, 0, count)
    _loop_mass_matrix(arm, q, M, 0, count)
    # The wrist's inertia is 1e-7 kg m²: accelerations are compared by the efforts that they take.
    _loop_forward_dynamics(arm, q, qd, effort, solution, 0, count)
    q_n, qd_n, qdd_n = (np.ascontiguousarray(x[:, :n]) for x in (q, qd, qdd))
    effort_n = np.ascontiguousarray(effort[:, :n])
    found_n = np.ascontiguousarray(solution[:, :n])
    confirmed: tuple[Callable[[int], bool], ...] = (
        lambda i: _close(effort[i, :n], pin.rnea(model, data, q_n[i], qd_n[i], qdd_n[i])),
        lambda i: _close(bias[i, :n], pin.nle(model, data, q_n[i], qd_n[i])),
        # Pinocchio fills in the upper triangle only.
        lambda i: _close(np.triu(M[i, :n, :n]), np.triu(pin.crba(model, data, q_n[i]))),
        lambda i: _close(pin.rnea(model, data, q_n[i], qd_n[i], found_n[i]), effort_n[i]),
    )
    tasks = ("inverse dynamics", "bias", "mass matrix", "forward dynamics")
    loops: tuple[Callable[[int], object], ...] = (
        lambda i: _loop_inverse_dynamics(arm, q, qd, qdd, effort, i, RUN),
        lambda i: _loop_bias(arm, q, qd, bias, i, RUN),
        lambda i: _loop_mass_matrix(arm, q, M, i, RUN),
        lambda i: _loop_forward_dynamics(arm, q, qd, effort, solution, i, RUN),
    )
    ours: tuple[Callable[[int], object], ...] = (
        lambda i: dynamics.inverse_dynamics(arm, q[i], qd[i], qdd[i], effort[i]),
        lambda i: dynamics.bias_effort(arm, q[i], qd[i], bias[i]),
        lambda i: dynamics.mass_matrix(arm, q[i], M[i]),
        lambda i: dynamics.forward_dynamics(arm, q[i], qd[i], effort[i], solution[i]),
    )
    peers: tuple[Callable[[int], object], ...] = (
        lambda i: pin.rnea(model, data, q_n[i], qd_n[i], qdd_n[i]),
        lambda i: pin.nle(model, data, q_n[i], qd_n[i]),
        lambda i: pin.crba(model, data, q_n[i]),
        lambda i: pin.aba(model, data, q_n[i], qd_n[i], effort_n[i]),
    )
    result = []
    calls = settings.count(CALLS)
    for task, confirm, loop, our, peer in zip(tasks, confirmed, loops, ours, peers, strict=True):
        solved = np.array([confirm(i) for i in range(count)])
        result += [
            make_row(task, problem.robot, OURS, "loop", solved, _time_loop(settings, loop, count)),
            make_row(task, problem.robot, OURS, "python", solved, time_calls(our, calls, count)),
            make_row(
                task, problem.robot, f"pinocchio {pin.__version__}", "python", 1.0, time_calls(peer, calls, count)
            ),
        ]
    return result
