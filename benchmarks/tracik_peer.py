"""TRAC-IK by way of pytracik: https://pypi.org/project/pytracik (MIT; TRAC-IK: BSD-3-Clause)."""

from importlib import metadata

import numpy as np

from benchmarks.inverse import cold_row, warm_row
from benchmarks.robots import Problem, write_urdf
from benchmarks.rows import Row, skip
from kinematics.compiled import Array
from kinematics.frames import quaternion_from_rotation

__all__ = ["rows"]

TIMEOUT = 0.005  # s, TRAC-IK's own default
TOLERANCE = 1e-7  # of each entry of the error twist


def rows(problem: Problem) -> list[Row]:
    """Return its measurements; none, and the reason told, where it is not installed."""
    try:
        import pytracik
    except ImportError as error:
        skip("TRAC-IK", f"{error}: pip install 'trocar[bench]'")
        return []
    speed = pytracik.SolveType.Speed
    solver = pytracik.TRAC_IK("base", "tip", write_urdf(problem), TIMEOUT, TOLERANCE, speed)

    # A URDF's limits go through single precision in it; these do not.
    pytracik.set_joint_limits(solver, problem.low.tolist(), problem.high.tolist())
    quaternion = np.empty(4)

    def solve(T: Array, q_near: Array) -> Array | None:
        quaternion_from_rotation(T, quaternion)
        w, x, y, z = quaternion
        answer = pytracik.ik(solver, q_near, T[0, 3], T[1, 3], T[2, 3], x, y, z, w)
        return answer[1:] if answer[0] >= 0.0 else None

    name = f"TRAC-IK (pytracik {metadata.version('pytracik')})"
    return [cold_row(problem, name, solve), warm_row(problem, name, solve)]
