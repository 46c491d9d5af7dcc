"""Pinocchio, from Python and from C++: https://github.com/stack-of-tasks/pinocchio (BSD-2-Clause)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cpp
from benchmarks.robots import Problem
from benchmarks.rows import EFFORT_TOLERANCE, JACOBIAN_TOLERANCE, Row, Settings, agree, make_row, skip, time_calls
from kinematics import dynamics
from kinematics.compiled import Array
from kinematics.description import MAX_AXES, ArmDescription, Convention

__all__ = ["forward_by_pinocchio", "gravity_by_pinocchio", "pinocchio_model", "rows"]

CALLS = 20_000
# As its own CMake files define them: its list of joint types is longer than Boost's lists are without.
DEFINITIONS = (
    "-DBOOST_MPL_LIMIT_LIST_SIZE=30",
    "-DBOOST_MPL_LIMIT_VECTOR_SIZE=30",
    "-DBOOST_MPL_CFG_NO_PREPROCESSED_HEADERS",
)


def pinocchio_model(pin: Any, description: ArmDescription) -> Any:  # noqa: ANN401
    """Return Pinocchio's model of an arm, built joint by joint from its file's rows, and the frame of its tip last.

    A modified row is a fixed transform followed by the joint; a standard one has a fixed part after the joint too,
    which goes into the next joint's placement and into the link's inertia. Frames, where the file gives them, are
    taken.
    """
    arm, file = description.record[0], description.file
    model = pin.Model()
    model.gravity.linear = arm["gravity"].copy()
    tail = pin.SE3.Identity()
    parent = 0
    for i, name in enumerate(description.axis_names[: description.n_joints]):
        prismatic = bool(arm["prismatic"][i])
        theta = arm["theta"][i] + (0.0 if prismatic else arm["offset"][i])
        d = arm["d"][i] + (arm["offset"][i] if prismatic else 0.0)
        turn = pin.SE3(pin.utils.rotate("x", arm["alpha"][i]), np.array([arm["a"][i], 0.0, 0.0]))
        along = pin.SE3(pin.utils.rotate("z", theta), np.array([0.0, 0.0, d]))
        if arm["convention"] == Convention.FRAMES:
            placement = pin.SE3(np.array(file.axes[i].placement))
        elif arm["convention"] == Convention.MODIFIED:
            placement = turn * along
        else:
            placement = tail * along
            tail = turn  # TransX(a) RotX(alpha); the two commute, so the modified row's transform serves
        parent = model.addJoint(parent, pin.JointModelPZ() if prismatic else pin.JointModelRZ(), placement, name)
        if file.dynamics is not None:
            link = file.dynamics.links[i]
            inertia = pin.Inertia(link.mass, np.array(link.com), np.array(link.inertia))
            model.appendBodyToJoint(parent, inertia, tail)
    T_last_tip = np.array(file.tip.matrix)
    tip = pin.SE3(T_last_tip[:3, :3].copy(), T_last_tip[:3, 3].copy())
    model.addFrame(pin.Frame("tip", parent, tail * tip, pin.FrameType.OP_FRAME))
    return model


def forward_by_pinocchio(description: ArmDescription) -> Callable[[Array], Array] | None:
    """Return a function from configurations (N, n) to poses (N, 4, 4), or None where Pinocchio is not installed."""
    try:
        import pinocchio as pin
    except ImportError:
        return None
    model = pinocchio_model(pin, description)
    data = model.createData()

    def forward(Q: Array) -> Array:
        T = np.empty((len(Q), 4, 4))
        for i, q in enumerate(Q):
            pin.framesForwardKinematics(model, data, q)
            T[i] = data.oMf[model.nframes - 1].homogeneous
        return T

    return forward


def gravity_by_pinocchio(problem: Problem) -> Array | None:
    """Return the efforts of gravity, (N, n), or None where Pinocchio is not installed."""
    try:
        import pinocchio as pin
    except ImportError:
        return None
    model = pinocchio_model(pin, problem.description)
    data = model.createData()
    Q = np.ascontiguousarray(problem.Q[:, : problem.n])
    return np.array([pin.computeGeneralizedGravity(model, data, q).copy() for q in Q])


def _efforts(problem: Problem) -> Array:
    efforts = np.zeros((len(problem.Q), MAX_AXES))
    for i, q in enumerate(problem.Q):
        dynamics.gravity_effort(problem.arm, q, efforts[i])
    return efforts[:, : problem.n]


def rows(problem: Problem, settings: Settings) -> list[Row]:
    """Return its measurements; what is missing is told and left out."""
    try:
        import pinocchio as pin
    except ImportError:
        skip("Pinocchio", "the package `pin` is not installed: pip install 'trocar[bench]'")
        return []
    result = _without_gravity(problem, _python_rows(pin, problem, settings))
    try:
        include = Path(pin.__file__).parents[4] / "include"
        if not (include / "pinocchio" / "algorithm" / "frames.hpp").is_file():
            raise cpp.BuildError(f"its C++ headers are not in {include}: the wheels of `pin` have them")
        flags = ["-march=native", *DEFINITIONS, f"-I{include}", f"-I{cpp.eigen_folder()}"]
        tables = cpp.run(cpp.build("pinocchio_loop.cpp", flags), problem, [], settings)
    except cpp.BuildError as error:
        skip("Pinocchio from C++", str(error))
        return result
    return result + _without_gravity(problem, _cpp_rows(f"pinocchio {pin.__version__}", problem, tables))


def _without_gravity(problem: Problem, rows: list[Row]) -> list[Row]:
    """Return the rows, those of gravity only where the arm has masses."""
    return [row for row in rows if problem.has_masses or row.task != "gravity"]


def _python_rows(pin: Any, problem: Problem, settings: Settings) -> list[Row]:  # noqa: ANN401
    model = pinocchio_model(pin, problem.description)
    data = model.createData()
    tip, axes = model.nframes - 1, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
    Q = np.ascontiguousarray(problem.Q[:, : problem.n])

    def forward(i: int) -> None:
        pin.forwardKinematics(model, data, Q[i])
        pin.updateFramePlacement(model, data, tip)

    def forward_jacobian(i: int) -> Any:  # noqa: ANN401
        # The fastest of Pinocchio's ways to both: this one call leaves the tip's pose in data.oMf, as is checked below.
        return pin.computeFrameJacobian(model, data, Q[i], tip, axes)

    def gravity(i: int) -> Any:  # noqa: ANN401
        return pin.computeGeneralizedGravity(model, data, Q[i])

    T, T_both = np.empty_like(problem.T), np.empty_like(problem.T)
    efforts, agree_J, agree_g = _efforts(problem), [], []
    for i in range(len(Q)):
        forward(i)
        T[i] = data.oMf[tip].homogeneous
        agree_J.append(np.abs(forward_jacobian(i) - problem.J[i]).max() < JACOBIAN_TOLERANCE)
        T_both[i] = data.oMf[tip].homogeneous
        agree_g.append(np.abs(gravity(i) - efforts[i]).max() < EFFORT_TOLERANCE)
    name, count = f"pinocchio {pin.__version__}", settings.count(CALLS)
    both_us = time_calls(forward_jacobian, count, len(Q))
    both = agree(T_both, problem.T) & np.array(agree_J)
    forward_us, gravity_us = time_calls(forward, count, len(Q)), time_calls(gravity, count, len(Q))
    return [
        make_row("FK", problem.robot, name, "python", agree(T, problem.T), forward_us),
        make_row("J", problem.robot, name, "python", np.array(agree_J), both_us),
        make_row("FK+J", problem.robot, name, "python", both, both_us),
        make_row("gravity", problem.robot, name, "python", np.array(agree_g), gravity_us),
    ]


def _cpp_rows(name: str, problem: Problem, tables: dict[str, Array]) -> list[Row]:
    count = len(problem.Q)
    T, T_jacobian = tables["T"].reshape(count, 4, 4), tables["T_jacobian"].reshape(count, 4, 4)
    # The faster of the two ways to the Jacobian is quoted.
    way = min(("frame", "joints"), key=lambda way: float(np.median(tables[f"{way}_us"])))
    J = tables[f"J_{way}"].reshape(problem.J.shape)
    agree_J = np.abs(J - problem.J).max(axis=(1, 2)) < JACOBIAN_TOLERANCE
    both = agree(T_jacobian, problem.T) & agree_J
    efforts = tables["efforts"].reshape(count, problem.n)
    agree_g = np.abs(efforts - _efforts(problem)).max(axis=1) < EFFORT_TOLERANCE
    both_us = tables[f"{way}_us"]
    return [
        make_row("FK", problem.robot, name, "c++", agree(T, problem.T), tables["forward_us"]),
        make_row("J", problem.robot, name, "c++", agree_J, both_us),
        make_row("FK+J", problem.robot, name, "c++", both, both_us),
        make_row("gravity", problem.robot, name, "c++", agree_g, tables["gravity_us"]),
    ]
