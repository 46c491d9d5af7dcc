"""Robotics Toolbox for Python: https://github.com/petercorke/robotics-toolbox-python (MIT).

Its functions for elementary transform sequences are C++ underneath; the arm is given to it as such a sequence, with
the constant parts multiplied out by its own `compile`.
"""

import functools
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks.inverse import Solver, cold_row, warm_row
from benchmarks.ours import BATCH_RUNS, batch_positions
from benchmarks.robots import Problem, placements
from benchmarks.rows import JACOBIAN_TOLERANCE, Row, Settings, agree, make_row, skip, time_calls, time_many
from kinematics.compiled import Array

__all__ = ["rows"]

CALLS = 5_000
RESIDUAL = 4e-13  # it stops at half the squared norm of the error: below 1e-6 m and rad
TRIAL = 100  # poses on which its solvers compete for being quoted
SOLVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ik_LM chan": ("ik_LM", {"method": "chan", "k": 1.0}),
    "ik_LM wampler": ("ik_LM", {"method": "wampler", "k": 1e-4}),
    "ik_LM sugihara": ("ik_LM", {"method": "sugihara", "k": 1e-3}),
    "ik_NR": ("ik_NR", {"pinv": True}),
    "ik_GN": ("ik_GN", {"pinv": True}),
}


def _sequence(rtb: Any, problem: Problem) -> Any:  # noqa: ANN401
    fixed, tip = placements(problem.description)
    sequence = rtb.ETS()
    for i, T in enumerate(fixed):
        limits = [float(problem.low[i]), float(problem.high[i])]
        joint = rtb.ET.tz(qlim=limits) if problem.arm[0]["prismatic"][i] else rtb.ET.Rz(qlim=limits)
        sequence = sequence * rtb.ET.SE3(T) * joint
    return (sequence * rtb.ET.SE3(tip)).compile()


def rows(problem: Problem, settings: Settings) -> list[Row]:
    """Return its measurements; none, and the reason told, where it is not installed."""
    try:
        import roboticstoolbox as rtb
    except ImportError as error:
        skip("Robotics Toolbox", f"{error}: pip install 'trocar[bench]'")
        return []
    sequence = _sequence(rtb, problem)
    name = f"roboticstoolbox {metadata.version('roboticstoolbox-python')}"
    return [*_forward_rows(sequence, name, problem, settings), *_inverse_rows(sequence, name, problem)]


def _forward_rows(sequence: Any, name: str, problem: Problem, settings: Settings) -> list[Row]:  # noqa: ANN401
    Q = np.ascontiguousarray(problem.Q[:, : problem.n])
    count = settings.count(CALLS)
    T = np.array([sequence.eval(q) for q in Q])
    agree_J = [np.abs(sequence.jacob0(q) - J).max() < JACOBIAN_TOLERANCE for q, J in zip(Q, problem.J, strict=True)]
    agree_T, both = agree(T, problem.T), agree(T, problem.T) & np.array(agree_J)
    result = [
        ("FK", agree_T, time_calls(lambda i: sequence.eval(Q[i]), count, len(Q))),
        ("J", np.array(agree_J), time_calls(lambda i: sequence.jacob0(Q[i]), count, len(Q))),
        ("FK+J", both, time_calls(lambda i: (sequence.eval(Q[i]), sequence.jacob0(Q[i])), count, len(Q))),
    ]
    made = [make_row(task, problem.robot, name, "python", solved, us) for task, solved, us in result]
    many = batch_positions(problem, settings)
    agree_many = agree(sequence.eval(many), np.resize(problem.T, (len(many), 4, 4)))
    for function in (sequence.eval, sequence.fkine):
        times = time_many(functools.partial(function, many), settings.count(BATCH_RUNS)) / len(many)
        made.append(make_row("FK", problem.robot, f"{name} {function.__name__}", "batch", agree_many, times))
    return made


def _solver(sequence: Any, key: str) -> Solver:  # noqa: ANN401
    method, options = SOLVERS[key]
    function: Callable[..., Any] = getattr(sequence, method)

    def solve(T: Array, q_near: Array) -> Array | None:
        answer = function(T, q0=q_near, tol=RESIDUAL, joint_limits=True, **options)
        return answer.q if answer.success else None

    return solve


def _inverse_rows(sequence: Any, name: str, problem: Problem) -> list[Row]:  # noqa: ANN401
    """Return the rows of the solver that solves most, and of those the quickest, by a trial on each question."""
    made = []
    few = problem._replace(T_cold=problem.T_cold[:TRIAL], T_path=problem.T_path[:TRIAL], Q_path=problem.Q_path[:TRIAL])
    for measure in (cold_row, warm_row):
        trials = {key: measure(few, key, _solver(sequence, key)) for key in SOLVERS}
        best = min(SOLVERS, key=lambda key: (-trials[key].solved, trials[key].median_us))
        made.append(measure(problem, f"{name} {best}", _solver(sequence, best)))
    return made
