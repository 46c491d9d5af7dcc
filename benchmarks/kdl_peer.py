"""Orocos KDL from C++: https://github.com/orocos/orocos_kinematics_dynamics (LGPL-2.1).

There is no wheel of it; a distribution's package has it (Debian: liborocos-kdl-dev), or it is left out.
"""

from pathlib import Path

import numpy as np

from benchmarks import cpp
from benchmarks.inverse import COLD, WARM, solved_cold, solved_warm
from benchmarks.robots import Problem
from benchmarks.rows import JACOBIAN_TOLERANCE, Row, Settings, agree, make_row, skip
from kinematics.compiled import Array

__all__ = ["rows"]

NAME = "KDL"
HEADERS = (Path("/usr/include"), Path("/usr/local/include"))


def rows(problem: Problem, settings: Settings) -> list[Row]:
    """Return its measurements; none, and the reason told, where it is not installed."""
    try:
        if not any((folder / "kdl" / "chain.hpp").is_file() for folder in HEADERS):
            raise cpp.BuildError("its headers are not here: apt-get install liborocos-kdl-dev")
        # Not for this processor alone: the library is not, and Eigen's memory layout depends on it.
        program = cpp.build("kdl_loop.cpp", [f"-I{cpp.eigen_folder()}", "-lorocos-kdl"])
    except cpp.BuildError as error:
        skip(NAME, str(error))
        return []
    tables = cpp.run(program, problem, [problem.T_cold, problem.T_path[1:]], settings)
    count = len(problem.Q)
    agree_T = agree(tables["T"].reshape(count, 4, 4), problem.T)
    agree_J = np.abs(tables["J"].reshape(problem.J.shape) - problem.J).max(axis=(1, 2)) < JACOBIAN_TOLERANCE
    cold = solved_cold(problem, tables["Q_cold"].reshape(-1, problem.n))
    warm = solved_warm(problem, tables["Q_warm"].reshape(-1, problem.n))
    measured: list[tuple[str, Array, Array]] = [
        ("FK", agree_T, tables["forward_us"]),
        ("J", agree_J, tables["jacobian_us"]),
        ("FK+J", agree_T & agree_J, tables["both_us"]),
        (COLD, cold, tables["cold_us"]),
        (WARM, warm, tables["warm_us"]),
    ]
    return [make_row(task, problem.robot, NAME, "c++", solved, us) for task, solved, us in measured]
