"""One arm of an arm's file and a tool's: the axes one after the other, couplings, masses and friction joined."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from kinematics.arm_file import (
    IDENTITY,
    MAX_AXES,
    ActuatorTable,
    ArmFile,
    BodyTable,
    DescriptionError,
    DynamicsTable,
    FrictionTable,
    LinkTable,
    MountTable,
    TipTable,
    ToolDynamicsTable,
    ToolFile,
    count_joints,
)
from kinematics.families import FAMILIES, Family

__all__ = ["Body", "add_bodies", "check_family", "mount"]

Matrix = np.ndarray[Any, Any]
Body = tuple[float, Matrix, Matrix]
"""Mass, centre of mass (3,), inertia about it (3, 3)."""


def mount(arm: ArmFile, tool: ToolFile, path: Path) -> ArmFile:
    """Return the arm with its tool.

    Args:
        arm: The arm, checked.
        tool: The tool, checked.
        path: The tool's file, for messages.

    Raises:
        DescriptionError: The tool does not fit the arm.
    """

    def refuse(what: str, remedy: str) -> DescriptionError:
        return DescriptionError(f"{path}: the tool {tool.name} does not fit the arm {arm.name}: {what}; {remedy}")

    point = next((mount for mount in arm.mounts if mount.interface in tool.interfaces), None)
    if point is None:
        interfaces = [mount.interface for mount in arm.mounts]
        raise refuse(
            f"its interfaces are {tool.interfaces!r}, those of the arm {interfaces!r}",
            "choose a tool of one of the arm's" if interfaces else "this arm takes no tools",
        )
    axes = [*arm.axes, *tool.axes]
    names = [axis.name for axis in axes]
    if len(set(names)) != len(names):
        raise refuse(f"both have an axis of one name: {names!r}", "rename the tool's")
    if len(axes) > MAX_AXES:
        raise refuse(f"together they have {len(axes)} axes, allowed are {MAX_AXES}", "choose a tool with fewer axes")
    if count_joints(tool):
        if tool.convention != arm.convention:
            raise refuse(
                f"its convention is {tool.convention!r}, the arm's {arm.convention!r}", "rewrite the tool's rows"
            )
        if arm.tip.matrix != IDENTITY:
            raise refuse("it has joints, and the arm a tip of its own", "remove the arm's [tip]")
        if count_joints(arm) < len(arm.axes):
            raise refuse(
                f"it has joints, and the arm's last axis {arm.axes[-1].name} is none", "choose a tool without joints"
            )
    if arm.actuators is not None:
        inputs = len(arm.actuators.names) - len(arm.axes)
        if inputs != len(tool.axes):
            raise refuse(
                f"it has {len(tool.axes)} axes, and the arm's {len(arm.actuators.names)} actuators leave {inputs}",
                "a tool has one axis per actuator that the arm's own axes leave",
            )
        if inputs and tool.coupling is None:
            raise refuse("it has axes, and no [coupling] from the arm's actuators", "add [coupling]")
    if arm.dynamics is not None and tool.axes and tool.dynamics is None:
        raise refuse("the arm has [dynamics], and the tool none", "add [dynamics]")
    frictions = [table.friction for table in (arm.dynamics, tool.dynamics) if table is not None and table.friction]
    spaces = [friction.space for friction in frictions]
    if len(set(spaces)) > 1:
        raise refuse(f"the arm gives its friction in {spaces[0]} space, it in {spaces[1]} space", "give both in one")
    tip = np.array(tool.tip.matrix)
    return msgspec.structs.replace(
        arm,
        axes=axes,
        tip=TipTable(matrix=(np.array(arm.tip.matrix) @ tip).tolist(), source=tool.tip.source),
        actuators=_join_actuators(arm.actuators, tool, point, len(arm.axes)),
        dynamics=_join_dynamics(arm, tool),
        mounts=[],
    )


def _join_actuators(
    actuators: ActuatorTable | None, tool: ToolFile, point: MountTable, own: int
) -> ActuatorTable | None:
    if actuators is None or not tool.axes or tool.coupling is None:
        return actuators
    count = len(actuators.names)
    inputs = np.eye(count)[own:] if point.input_from_actuator is None else np.array(point.input_from_actuator)
    coupling = np.zeros((count, count))
    coupling[:own, :own] = actuators.joint_from_actuator
    coupling[own:] = np.array(tool.coupling.matrix) @ inputs
    return msgspec.structs.replace(
        actuators,
        joint_from_actuator=(coupling + 0.0).tolist(),  # no -0.0
        source=f"{actuators.source}; mount: {point.source}; coupling of the tool: {tool.coupling.source}",
    )


def _join_dynamics(arm: ArmFile, tool: ToolFile) -> DynamicsTable | None:
    if arm.dynamics is None or tool.dynamics is None:
        return arm.dynamics
    links = list(arm.dynamics.links)
    if tool.dynamics.carried is not None:
        links[-1] = _carry(links[-1], tool.dynamics.carried, np.array(arm.tip.matrix))
    return msgspec.structs.replace(
        arm.dynamics,
        links=[*links, *tool.dynamics.links],
        source=f"{arm.dynamics.source}; tool: {tool.dynamics.source}",
        friction=_join_friction(arm.dynamics, len(arm.axes), tool.dynamics, len(tool.axes)),
    )


def _join_friction(arm: DynamicsTable, own: int, tool: ToolDynamicsTable, count: int) -> FrictionTable | None:
    """Return the friction of all axes; where one of the two says none, its axes have none."""
    if arm.friction is None and tool.friction is None:
        return None
    parts = [
        FrictionTable(coulomb=[0.0] * n, viscous=[0.0] * n, smoothing=[1.0] * n, source="none")
        if part is None
        else part
        for part, n in ((arm.friction, own), (tool.friction, count))
    ]
    lists = {name: [*getattr(parts[0], name), *getattr(parts[1], name)] for name in ("coulomb", "viscous", "smoothing")}
    space = next(part.friction.space for part in (arm, tool) if part.friction is not None)
    return FrictionTable(**lists, space=space, source=f"{parts[0].source}; tool: {parts[1].source}")


def _carry(link: LinkTable, carried: BodyTable, T: Matrix) -> LinkTable:
    """Return a link with another body fixed to it, whose frame is at T of the link's."""
    R = T[:3, :3]
    mass, com, inertia = add_bodies(
        (link.mass, np.array(link.com), np.array(link.inertia)),
        (carried.mass, R @ carried.com + T[:3, 3], R @ np.array(carried.inertia) @ R.T),
    )
    return msgspec.structs.replace(link, mass=mass, com=com.tolist(), inertia=inertia.tolist())


def add_bodies(a: Body, b: Body) -> Body:
    """Return two bodies in one frame as one, by the parallel-axis theorem."""
    mass = a[0] + b[0]
    if mass == 0.0:
        return 0.0, np.zeros(3), a[2] + b[2]
    com = (a[0] * a[1] + b[0] * b[1]) / mass
    inertia = a[2] + b[2]
    for m, c in ((a[0], a[1] - com), (b[0], b[1] - com)):
        inertia = inertia + m * (c @ c * np.eye(3) - np.outer(c, c))
    return mass, com, inertia


def check_family(file: ArmFile, path: Path) -> None:
    """Refuse an arm, complete with its tool, that the closed form of its family would answer wrongly.

    Raises:
        DescriptionError: Its geometry is not that of the family.
    """
    family = Family[file.family.upper()]
    if family == Family.NONE:
        return
    geometry = FAMILIES[family]

    def refuse(key: str, value: object, allowed: str) -> DescriptionError:
        name = f'the family "{file.family}"'
        return DescriptionError(
            f'{path}: {key} = {value!r}: allowed is {allowed} for {name}; correct it, or write family = "none"'
        )

    if file.convention != geometry.convention:
        raise refuse("convention", file.convention, f'"{geometry.convention}"')
    types = [axis.type for axis in file.axes[: count_joints(file)]]
    expected = ["prismatic" if prismatic else "revolute" for prismatic in geometry.prismatic]
    if types != expected:
        raise refuse("axes[*].type", types, f"{expected} with DH rows")
    for key in ("alpha", "a", "theta", "d"):
        for i, required in enumerate(getattr(geometry, key)):
            value = getattr(file.axes[i], key)
            if required is not None and abs(value - required) > 1e-12:
                raise refuse(f"axes[{i}].{key}", value, f"{required!r} (all digits)")
    if family == Family.RAVEN:
        for i in (1, 2):
            alpha = file.axes[i].alpha or 0.0
            if abs(math.sin(alpha)) < 1e-3:
                raise refuse(f"axes[{i}].alpha", alpha, "one that is no multiple of pi")
    tip = file.tip.matrix
    if geometry.tip_on_last_axis and max(abs(tip[0][3]), abs(tip[1][3])) > 1e-12:
        raise refuse("tip.matrix[0..1][3]", [tip[0][3], tip[1][3]], "0.0: a tip on the axis of the last joint")
