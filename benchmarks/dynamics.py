"""Inverse dynamics, bias and mass matrix, beside Pinocchio.

Our answers are checked by Pinocchio's before anything is timed, to 1e-10 of N·m, N and kg m²; without it there are no
rows, since nothing would confirm ours. How calls are timed: see benchmarks/kinematics.py.
"""

from typing import Any

import numpy as np
from numba.core import types

from benchmarks.kinematics import CONFIGURATIONS, RUN, Row, _row, _time_loop, _time_python, pinocchio_model
from kinematics import dynamics
from kinematics.chain import ARMS
from kinematics.compiled import kernel
from kinematics.description import load_arm

__all__ = ["rows"]

Array = np.ndarray[Any, Any]
f8 = types.float64

TOLERANCE = 1e-10  # of efforts and of entries of the mass matrix: what counts as solved


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


def rows() -> list[Row]:
    """Return the measurements; none without Pinocchio."""
    try:
        import pinocchio as pin
    except ImportError:
        return []
    description = load_arm("psm_classic_lnd")
    arm, n = description.record, description.n_joints
    model = pinocchio_model(pin, description)
    data = model.createData()
    rng = np.random.default_rng(1)
    q = rng.uniform(arm[0]["position_min"], arm[0]["position_max"], (CONFIGURATIONS, 8))
    qd = rng.uniform(-1.0, 1.0, q.shape) * arm[0]["velocity_max"]
    qdd = rng.uniform(-1.0, 1.0, q.shape) * arm[0]["acceleration_max"]
    effort, bias, solution, M = np.zeros_like(q), np.zeros_like(q), np.zeros_like(q), np.zeros((CONFIGURATIONS, 8, 8))
    _loop_inverse_dynamics(arm, q, qd, qdd, effort, 0, CONFIGURATIONS)
    _loop_bias(arm, q, qd, bias, 0, CONFIGURATIONS)
    _loop_mass_matrix(arm, q, M, 0, CONFIGURATIONS)
    q_n, qd_n, qdd_n = (np.ascontiguousarray(x[:, :n]) for x in (q, qd, qdd))
    effort_n = np.ascontiguousarray(effort[:, :n])

    def close(found: Array, expected: Array) -> bool:
        return bool(np.abs(found - expected).max() < TOLERANCE)

    indices = range(CONFIGURATIONS)
    solved = [
        np.mean([close(effort[i, :n], pin.rnea(model, data, q_n[i], qd_n[i], qdd_n[i])) for i in indices]),
        np.mean([close(bias[i, :n], pin.nle(model, data, q_n[i], qd_n[i])) for i in indices]),
        # Pinocchio fills in the upper triangle only.
        np.mean([close(np.triu(M[i, :n, :n]), np.triu(pin.crba(model, data, q_n[i]))) for i in indices]),
    ]
    # The wrist's inertia is 1e-7 kg m²: accelerations are compared by the efforts that they take.
    _loop_forward_dynamics(arm, q, qd, effort, solution, 0, CONFIGURATIONS)
    solved.append(
        np.mean(
            [
                close(pin.rnea(model, data, q_n[i], qd_n[i], np.ascontiguousarray(solution[i, :n])), effort_n[i])
                for i in indices
            ]
        )
    )
    tasks = ("inverse dynamics", "bias", "mass matrix", "forward dynamics")
    loops = (
        lambda i: _loop_inverse_dynamics(arm, q, qd, qdd, effort, i, RUN),
        lambda i: _loop_bias(arm, q, qd, bias, i, RUN),
        lambda i: _loop_mass_matrix(arm, q, M, i, RUN),
        lambda i: _loop_forward_dynamics(arm, q, qd, effort, solution, i, RUN),
    )
    ours = (
        lambda i: dynamics.inverse_dynamics(arm, q[i], qd[i], qdd[i], effort[i]),
        lambda i: dynamics.bias_effort(arm, q[i], qd[i], bias[i]),
        lambda i: dynamics.mass_matrix(arm, q[i], M[i]),
        lambda i: dynamics.forward_dynamics(arm, q[i], qd[i], effort[i], solution[i]),
    )
    peers = (
        lambda i: pin.rnea(model, data, q_n[i], qd_n[i], qdd_n[i]),
        lambda i: pin.nle(model, data, q_n[i], qd_n[i]),
        lambda i: pin.crba(model, data, q_n[i]),
        lambda i: pin.aba(model, data, q_n[i], qd_n[i], effort_n[i]),
    )
    result = []
    for k, task in enumerate(tasks):
        share = float(solved[k])
        result += [
            _row(task, "trocar", "loop", share, _time_loop(loops[k])),
            _row(task, "trocar", "python", share, _time_python(ours[k])),
            _row(task, f"pinocchio {pin.__version__}", "python", 1.0, _time_python(peers[k])),
        ]
    return result
