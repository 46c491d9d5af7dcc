"""The arms that are measured, as every library wants them described, and the questions put to all of them alike."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np

from benchmarks.rows import Settings
from kinematics import chain
from kinematics.compiled import Array
from kinematics.description import MAX_AXES, ArmDescription, load_arm, shipped_arms
from kinematics.kernels import bound_record

__all__ = [
    "PERIOD",
    "ROBOTS",
    "Problem",
    "make_problem",
    "measured_robots",
    "placements",
    "write_problem",
    "write_urdf",
]

ROBOTS = {"psm_classic": "PSM Classic", "panda": "Panda", "iiwa7": "iiwa 7"}
PERIOD = 0.001  # s
CONFIGURATIONS = 2_000
COLD = 2_000
WARM = 5_000
LEAST_INSERTION = 0.02  # m: the PSM's wrist outside its cannula, where the arm works
PATH_SPEED = 0.3  # of the joints' limits: a path that they can follow easily


class Problem(NamedTuple):
    """One arm and what is asked about it."""

    robot: str
    description: ArmDescription
    arm: Array
    """The record."""
    low: Array
    high: Array
    """Limits, (n,)."""
    Q: Array
    """Random configurations, (N, 8)."""
    T: Array
    J: Array
    """Poses (N, 4, 4) and Jacobians (N, 6, n) there, by the table-driven kernels."""
    T_cold: Array
    """Random reachable poses."""
    Q_path: Array
    T_path: Array
    """A smooth path at 1 kHz, from its start on; each pose is to be solved from the answer before."""

    @property
    def n(self) -> int:
        """How many joints."""
        return self.description.n_joints

    @property
    def has_masses(self) -> bool:
        """Whether the arm's file tells of masses; without them gravity is no question."""
        return bool(self.arm[0]["mass"].any())

    @property
    def middle(self) -> Array:
        """The middle of the joints' ranges, (n,): where cold solvers start."""
        return 0.5 * (self.low + self.high)


def measured_robots(settings: Settings) -> list[tuple[str, ArmDescription]]:
    """Return title and description of the arms to measure.

    Raises:
        DescriptionError: One that is asked for is not there.
    """
    names = settings.robots or tuple(name for name in ROBOTS if name in shipped_arms())
    return [(ROBOTS.get(name) or load_arm(name).title, load_arm(name)) for name in names]


def forward(arm: Array, Q: Array) -> Array:
    """Return T_base_tip, (N, 4, 4), by the table-driven kernel."""
    T = np.empty((len(Q), 4, 4))
    q = np.zeros(MAX_AXES)
    for i in range(len(Q)):
        q[: Q.shape[1]] = Q[i]
        chain.forward(arm, q, T[i])
    return T


def make_problem(robot: str, description: ArmDescription, settings: Settings) -> Problem:
    """Return the questions about an arm: the same in every run."""
    arm, n = bound_record(description), description.n_joints
    rng = np.random.default_rng(1)
    low, high = arm[0]["position_min"][:n].copy(), arm[0]["position_max"][:n].copy()
    if "insertion" in description.axis_names[:n]:
        low[description.axis_names.index("insertion")] = LEAST_INSERTION
    Q = np.zeros((CONFIGURATIONS, MAX_AXES))
    Q[:, :n] = rng.uniform(low, high, (CONFIGURATIONS, n))
    J = np.zeros((CONFIGURATIONS, 6, MAX_AXES))
    for i in range(CONFIGURATIONS):
        chain.jacobian(arm, Q[i], J[i])
    Q_path = _path(rng, low, high, arm[0]["velocity_max"][:n], settings.count(WARM))
    return Problem(
        robot=robot,
        description=description,
        arm=arm,
        low=arm[0]["position_min"][:n].copy(),
        high=arm[0]["position_max"][:n].copy(),
        Q=Q,
        T=forward(arm, Q),
        J=J[:, :, :n].copy(),
        T_cold=forward(arm, rng.uniform(low, high, (settings.count(COLD), n))),
        Q_path=Q_path,
        T_path=forward(arm, Q_path),
    )


def _path(rng: np.random.Generator, low: Array, high: Array, velocity_max: Array, count: int) -> Array:
    """Return a smooth motion of all joints about the middle of their ranges, (count, n), slower than their limits."""
    t = PERIOD * np.arange(count)[:, None]
    rate = rng.uniform(1.0, 3.0, len(low))  # rad/s
    amplitude = np.minimum(0.3 * (high - low), PATH_SPEED * velocity_max / rate)
    phase = rng.uniform(0.0, 2.0 * np.pi, len(low))
    path: Array = 0.5 * (low + high) + amplitude * np.sin(rate * t + phase)
    return path


def placements(description: ArmDescription) -> tuple[list[Array], Array]:
    """Return each joint frame's transform from the one before, and the tip's from the last, (4, 4) each."""
    arm = description.record[0]
    result = []
    for i in range(description.n_joints):
        T = np.eye(4)
        T[:3] = arm["placement"][i].reshape(3, 4)
        result.append(T)
    return result, arm["tip"].copy()


def write_problem(path: Path, problem: Problem, poses: Sequence[Array]) -> None:
    """Write an arm and its questions for a C++ program: numbers as text, in the order that `problem.hpp` reads."""
    fixed, tip = placements(problem.description)
    arm = problem.arm[0]
    numbers: list[Array] = [np.array([problem.n, len(problem.Q), *(len(T) for T in poses)], np.float64)]
    for i, T in enumerate(fixed):
        link = np.concatenate(([arm["mass"][i]], arm["com"][i], arm["inertia"][i].ravel()))
        limits = [arm["position_min"][i], arm["position_max"][i]]
        numbers += [np.array([arm["prismatic"][i], *limits]), T[:3].ravel(), link]
    numbers += [tip[:3].ravel(), arm["gravity"], problem.Q[:, : problem.n].ravel(), problem.Q_path[0]]
    numbers += [T[:, :3].ravel() for T in poses]
    path.write_text("\n".join(repr(float(number)) for part in numbers for number in np.ravel(part)))


def write_urdf(problem: Problem) -> str:
    """Return a URDF of the arm with the links base, link1 ... linkN and tip."""
    fixed, tip = placements(problem.description)
    arm = problem.arm[0]
    n = problem.n
    links = ["base", *(f"link{i + 1}" for i in range(n)), "tip"]
    text = [f"<robot name={quoteattr(problem.description.name)}>", *(f'<link name="{link}"/>' for link in links)]
    for i, T in enumerate([*fixed, tip]):
        kind = "fixed" if i == n else "prismatic" if arm["prismatic"][i] else "revolute"
        roll, pitch, yaw = _roll_pitch_yaw(T[:3, :3])
        x, y, z = (float(value) for value in T[:3, 3])
        text.append(
            f'<joint name="joint{i + 1}" type="{kind}"><parent link="{links[i]}"/><child link="{links[i + 1]}"/>'
        )
        text.append(f'<origin xyz="{x!r} {y!r} {z!r}" rpy="{roll!r} {pitch!r} {yaw!r}"/>')
        if i < n:
            low, high, speed = (float(arm[key][i]) for key in ("position_min", "position_max", "velocity_max"))
            text.append(f'<axis xyz="0 0 1"/><limit lower="{low!r}" upper="{high!r}" velocity="{speed!r}" effort="1"/>')
        text.append("</joint>")
    return "\n".join([*text, "</robot>"])


def _roll_pitch_yaw(R: Array) -> tuple[float, float, float]:
    """Return the angles of R = Rz(yaw) Ry(pitch) Rx(roll), as URDF has them."""
    cosine = math.hypot(R[0, 0], R[1, 0])
    pitch = math.atan2(-R[2, 0], cosine)
    if cosine < 1e-9:  # only the sum or the difference of the others is known
        return math.atan2(-R[1, 2], R[1, 1]), pitch, 0.0
    return math.atan2(R[2, 1], R[2, 2]), pitch, math.atan2(R[1, 0], R[0, 0])
