"""Forward kinematics, Jacobian, gravity and inverse kinematics, beside Pinocchio, Robotics Toolbox, KDL and TRAC-IK.

Every answer is checked by another code before anything is timed or quoted. From Python, each call is timed. In compiled
code, ours and theirs, runs of 200 calls are timed, and a percentile is of those runs.
"""

from benchmarks import kdl_peer, ours, pinocchio_peer, toolbox_peer, tracik_peer
from benchmarks.pinocchio_peer import pinocchio_model
from benchmarks.robots import make_problem, measured_robots
from benchmarks.rows import Row, Settings

__all__ = ["Row", "pinocchio_model", "rows"]


def rows(settings: Settings | None = None) -> list[Row]:
    """Return the measurements of every robot."""
    settings = settings or Settings()
    result = []
    for title, description in measured_robots(settings):
        problem = make_problem(title, description, settings)
        result += ours.rows(problem, settings)
        result += pinocchio_peer.rows(problem, settings)
        result += toolbox_peer.rows(problem, settings)
        result += kdl_peer.rows(problem, settings)
        result += tracik_peer.rows(problem)
    return result
