"""The TOML files of arms and tools: their tables, and every check that refuses one that is wrong.

An arm's file has the axes that are built into it; a tool's file has what is mounted on it. `kinematics.mounting` makes
one whole of the two.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

__all__ = [
    "ARMS_FOLDER",
    "DH_KEYS",
    "IDENTITY",
    "MAX_AXES",
    "TOOLS_FOLDER",
    "ActuatorTable",
    "ArmFile",
    "AxisTable",
    "BodyTable",
    "CouplingTable",
    "DescriptionError",
    "DynamicsTable",
    "FrictionTable",
    "KinematicsError",
    "LinkTable",
    "MountTable",
    "TipTable",
    "ToolDynamicsTable",
    "ToolFile",
    "count_joints",
    "parse_arm_file",
    "parse_tool_file",
]

MAX_AXES = 8
ARMS_FOLDER = Path(__file__).parent / "arms"
TOOLS_FOLDER = Path(__file__).parent / "tools"


class KinematicsError(Exception):
    """The root of what `kinematics` raises."""


class DescriptionError(KinematicsError, ValueError):
    """A file that is absent or wrong; the message names file, key, value, what is allowed and the remedy."""


Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,47}$")]
Convention = Literal["modified", "standard", "frames"]
DH_KEYS = ("alpha", "a", "theta", "d", "offset")
IDENTITY = [[float(i == j) for j in range(4)] for i in range(4)]


class AxisTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One axis in joint space; a joint of the chain when it has its geometry.

    That is the five DH numbers, or in the convention "frames" a `placement`: the pose, (4, 4), of the joint's frame in
    the frame of the joint before it, at position 0. The joint turns about or slides along its own z.
    """

    name: Name
    type: Literal["revolute", "prismatic"]
    alpha: float | None = None
    a: float | None = None
    theta: float | None = None
    d: float | None = None
    offset: float | None = None
    placement: list[list[float]] | None = None
    position_min: float
    position_max: float
    velocity_max: Positive
    acceleration_max: Positive
    jerk_max: Positive
    effort_max: Positive
    source: str

    @property
    def is_joint(self) -> bool:
        """Whether it is a joint of the chain, not the jaw."""
        return self.alpha is not None or self.placement is not None


class TipTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the tip frame is: in the last joint's frame; of a tool without joints, in the frame it is mounted on."""

    matrix: list[list[float]]
    source: str


class MountTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to mount tools on an arm."""

    interface: Name
    """Tools that name it fit."""
    input_from_actuator: list[list[float]] | None = None
    """A row per input of the tool (disc, spindle), a column per actuator of the arm. Left out: the actuators that are
    not of the arm's own axes turn one input each."""
    source: str


class ActuatorTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The actuators, those that turn the tool's inputs last: one entry per actuator in each list."""

    names: list[Name]
    encoder_counts_per_turn: list[Positive]
    """Of the motor's shaft."""
    gear_ratio: list[Positive]
    """Motor rad per actuator rad, or per m."""
    torque_constant: list[Positive]
    """N·m/A at the motor's shaft."""
    current_max: list[Positive]
    position_min: list[float]
    position_max: list[float]
    brake: list[bool]
    joint_from_actuator: list[list[float]]
    """Of the arm's own axes; in an arm with its tool, of all axes."""
    source: str


class BodyTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rigid body: inertia about the centre of mass."""

    mass: NotNegative
    com: list[float]
    inertia: list[list[float]]


class LinkTable(BodyTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that one joint moves, in its DH frame (or, in the convention "frames", in the joint's frame)."""

    name: Name


class FrictionTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Friction, one entry per axis."""

    space: Literal["joint", "actuator"] = "joint"
    """Where the entries' velocities and efforts are: most friction is in motors, gears and cables, at the actuators."""
    coulomb: list[NotNegative]
    viscous: list[NotNegative]
    smoothing: list[Positive]
    source: str


class DynamicsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the controller believes of masses and friction."""

    gravity: list[float]
    rotor_inertia: list[NotNegative] | None = None
    """Of the motors' rotors, seen at the actuators after their gears: kg m² or kg, one per actuator."""
    source: str
    links: list[LinkTable]
    friction: FrictionTable | None = None


class ToolDynamicsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tool weighs."""

    source: str
    carried: BodyTable | None = None
    """What moves with the arm's last joint, in the frame that the tool is mounted on."""
    links: list[LinkTable] = []
    friction: FrictionTable | None = None


class CouplingTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a tool's inputs move its axes: axis positions = matrix @ input positions."""

    matrix: list[list[float]]
    source: str


class ArmFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An arm's file as it is written; or, past `mount`, the arm with its tool."""

    name: Name
    title: str
    family: Literal["none", "psm", "ecm", "mtm", "raven"]
    convention: Convention
    default_tool: Name | None = None
    axes: Annotated[list[AxisTable], Meta(min_length=1, max_length=MAX_AXES)]
    tip: TipTable = TipTable(matrix=IDENTITY, source="none given: the last joint's frame")
    mounts: list[MountTable] = []
    actuators: ActuatorTable | None = None
    dynamics: DynamicsTable | None = None


class ToolFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool's file as it is written."""

    name: Name
    title: str
    interfaces: Annotated[list[Name], Meta(min_length=1)]
    """It fits the mounts of these names."""
    convention: Convention | None = None
    axes: Annotated[list[AxisTable], Meta(max_length=MAX_AXES)] = []
    tip: TipTable
    coupling: CouplingTable | None = None
    dynamics: ToolDynamicsTable | None = None


def count_joints(file: ArmFile | ToolFile) -> int:
    """Return how many of the axes are joints of the chain."""
    return sum(axis.is_joint for axis in file.axes)


def parse_arm_file(path: Path, raw: dict[str, Any]) -> ArmFile:
    """Return the checked tables of an arm's file.

    Args:
        path: Where it came from, for messages.
        raw: The TOML, parsed.

    Raises:
        DescriptionError: Something in it is wrong.
    """
    check = _Check(path, raw, ARMS_FOLDER / "psm_classic.toml")
    file = check.convert(ArmFile)
    _check_axes(check, file.axes, file.convention)
    if count_joints(file) == 0:
        names = [axis.name for axis in file.axes]
        check.refuse("axes", names, "at least one joint", f"give the first axis {', '.join(DH_KEYS)}")
    _check_tip(check, file.tip)
    if file.actuators is not None:
        _check_actuators(check, file, file.actuators)
    _check_mounts(check, file)
    if file.dynamics is not None:
        check.length("dynamics.gravity", file.dynamics.gravity, 3, "x y z in the base frame")
        _check_links(check, file.dynamics.links, file.axes)
        if file.dynamics.rotor_inertia is not None:
            count = len(file.axes) if file.actuators is None else len(file.actuators.names)
            check.length("dynamics.rotor_inertia", file.dynamics.rotor_inertia, count, "one per actuator")
        _check_friction(check, file.dynamics.friction, len(file.axes))
    return file


def parse_tool_file(path: Path, raw: dict[str, Any]) -> ToolFile:
    """Return the checked tables of a tool's file.

    Args:
        path: Where it came from, for messages.
        raw: The TOML, parsed.

    Raises:
        DescriptionError: Something in it is wrong.
    """
    check = _Check(path, raw, TOOLS_FOLDER / "large_needle_driver_400006.toml")
    file = check.convert(ToolFile)
    if count_joints(file) and file.convention is None:
        check.refuse("convention", None, "that of the arm, where the tool has joints", 'add convention = "modified"')
    _check_axes(check, file.axes, file.convention or "modified")
    _check_tip(check, file.tip)
    count = len(file.axes)
    if file.coupling is not None:
        check.invertible("coupling.matrix", file.coupling.matrix, count)
    if file.dynamics is not None:
        if file.dynamics.carried is not None:
            _check_body(check, "dynamics.carried", file.dynamics.carried)
        _check_links(check, file.dynamics.links, file.axes)
        _check_friction(check, file.dynamics.friction, count)
    return file


S = TypeVar("S", bound=msgspec.Struct)


class _Check:
    """Refusals of one file, all of one form: file, key, value, what is allowed, remedy."""

    def __init__(self, path: Path, raw: dict[str, Any], example: Path) -> None:
        self.path = path
        self.raw = raw
        self.example = example

    def refuse(self, key: str, value: object, allowed: str, remedy: str) -> NoReturn:
        raise DescriptionError(f"{self.path}: {key} = {value!r}: allowed is {allowed}; {remedy}")

    def convert(self, kind: type[S]) -> S:
        self.finite("", self.raw)
        try:
            return msgspec.convert(self.raw, kind)
        except msgspec.ValidationError as error:
            self.refuse_schema(str(error))

    def refuse_schema(self, message: str) -> NoReturn:
        """Refuse what msgspec refused: find the value that it speaks of."""
        text, _, where = message.partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        value: Any = self.raw
        for part in re.findall(r"[^.\[\]]+", key):
            value = value[int(part)] if part.isdigit() else value[part]
        shown = "the file" if not key else f"{key} = {value!r}" if not isinstance(value, dict) else f"table {key}"
        raise DescriptionError(f"{self.path}: {shown}: {text}; see {self.example} for every key")

    def finite(self, key: str, value: object) -> None:
        """Refuse nan and inf, which TOML can write, wherever they are."""
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(key, value, "a finite number", "write the number meant")
        if isinstance(value, dict):
            for name, entry in value.items():
                self.finite(f"{key}.{name}" if key else name, entry)
        if isinstance(value, list):
            for index, entry in enumerate(value):
                self.finite(f"{key}[{index}]", entry)

    def length(self, key: str, values: list[Any], count: int, what: str) -> None:
        if len(values) != count:
            self.refuse(key, values, f"a list of {count}, {what}", f"it has {len(values)} entries: add or remove some")

    def matrix(self, key: str, rows: list[list[float]], height: int, width: int) -> np.ndarray[Any, Any]:
        if len(rows) != height or any(len(row) != width for row in rows):
            self.refuse(key, rows, f"{height} rows of {width} numbers", "complete the matrix")
        return np.array(rows).reshape(height, width)

    def invertible(self, key: str, rows: list[list[float]], size: int) -> None:
        singular_values = np.linalg.svd(self.matrix(key, rows, size, size), compute_uv=False)
        if size and singular_values[-1] < 1e-9 * singular_values[0]:
            remedy = "no two rows or columns may say the same, none may be zero"
            self.refuse(key, rows, "a matrix that can be inverted", remedy)

    def pose(self, key: str, rows: list[list[float]]) -> None:
        T = self.matrix(key, rows, 4, 4)
        R = T[:3, :3]
        is_rotation = np.abs(R.T @ R - np.eye(3)).max() < 1e-9 and np.linalg.det(R) > 0.0
        if not is_rotation or not np.array_equal(T[3], (0.0, 0.0, 0.0, 1.0)):
            self.refuse(key, rows, "a pose: orthonormal, right-handed, last row 0 0 0 1", "write more digits")

    def ordered(self, key: str, low: float, high: float) -> None:
        if not low < high:
            allowed = f"less than position_max = {high!r}"
            self.refuse(key, low, allowed, "exchange the two, or correct the one that is wrong")


def _check_axes(check: _Check, axes: list[AxisTable], convention: str) -> None:
    names = [axis.name for axis in axes]
    if len(set(names)) != len(names):
        check.refuse("axes[*].name", names, "every name once", "rename one of those that are equal")
    ended = False
    for i, axis in enumerate(axes):
        key = f"axes[{i}] ({axis.name})"
        given = [name for name in DH_KEYS if getattr(axis, name) is not None]
        if convention == "frames":
            if given:
                check.refuse(key, given, 'a placement, in the convention "frames"', f"remove {', '.join(given)}")
            if axis.placement is not None:
                check.pose(f"axes[{i}].placement", axis.placement)
        elif axis.placement is not None:
            check.refuse(f"axes[{i}].placement", "...", f"DH numbers, in the convention {convention!r}", "remove it")
        elif given and len(given) != len(DH_KEYS):
            check.refuse(key, given, f"all of {', '.join(DH_KEYS)}, or none", "add those that are missing")
        if axis.is_joint and ended:
            what = "alpha" if given else "placement"
            value = axis.alpha if given else axis.placement
            check.refuse(
                f"axes[{i}].{what}", value, "no joint after an axis without one", "put the jaw after the joints"
            )
        ended = ended or not axis.is_joint
        check.ordered(f"axes[{i}].position_min", axis.position_min, axis.position_max)


def _check_tip(check: _Check, tip: TipTable) -> None:
    check.pose("tip.matrix", tip.matrix)


def _check_actuators(check: _Check, file: ArmFile, actuators: ActuatorTable) -> None:
    count, own = len(actuators.names), len(file.axes)
    if count < own or (count > own and not file.mounts) or count > MAX_AXES:
        allowed = f"a list of {own}, one per axis" if not file.mounts else f"{own} to {MAX_AXES}: axes and tool inputs"
        check.refuse("actuators.names", actuators.names, allowed, f"it has {count} entries: add or remove some")
    for key in msgspec.structs.fields(ActuatorTable):
        value = getattr(actuators, key.name)
        if isinstance(value, list) and key.name != "joint_from_actuator":
            check.length(f"actuators.{key.name}", value, count, "one per actuator")
    for i in range(count):
        check.ordered(f"actuators.position_min[{i}]", actuators.position_min[i], actuators.position_max[i])
    check.invertible("actuators.joint_from_actuator", actuators.joint_from_actuator, own)


def _check_mounts(check: _Check, file: ArmFile) -> None:
    interfaces = [mount.interface for mount in file.mounts]
    if len(set(interfaces)) != len(interfaces):
        check.refuse("mounts[*].interface", interfaces, "every interface once", "remove one of those that are equal")
    if file.default_tool is not None and not file.mounts:
        check.refuse("default_tool", file.default_tool, "none for an arm without mounts", "add [[mounts]] or remove it")
    for i, mount in enumerate(file.mounts):
        key = f"mounts[{i}].input_from_actuator"
        rows = mount.input_from_actuator
        if rows is None:
            continue
        if file.actuators is None:
            check.refuse(key, rows, "nothing where the arm has no [actuators]", "add [actuators] or remove it")
        count, own = len(file.actuators.names), len(file.axes)
        inputs = check.matrix(key, rows, count - own, count)
        check.invertible(f"{key}, columns from {own} on", inputs[:, own:].tolist(), count - own)


def _check_links(check: _Check, links: list[LinkTable], axes: list[AxisTable]) -> None:
    joints = [axis.name for axis in axes if axis.is_joint]
    names = [link.name for link in links]
    if names != joints:
        check.refuse("dynamics.links[*].name", names, f"the joints in order, {joints}", "give one link per joint")
    for i, link in enumerate(links):
        _check_body(check, f"dynamics.links[{i}]", link)


def _check_body(check: _Check, key: str, body: BodyTable) -> None:
    check.length(f"{key}.com", body.com, 3, "x y z in the body's frame")
    inertia = check.matrix(f"{key}.inertia", body.inertia, 3, 3)
    principal = np.linalg.eigvalsh(inertia)
    is_body = np.array_equal(inertia, inertia.T) and principal[0] >= 0.0
    if not is_body or principal[2] > (principal[0] + principal[1]) * (1.0 + 1e-9):
        check.refuse(
            f"{key}.inertia",
            body.inertia,
            "symmetric, principal moments positive and none larger than the sum of the others",
            "no body has such an inertia: correct it",
        )


def _check_friction(check: _Check, friction: FrictionTable | None, count: int) -> None:
    if friction is not None:
        for name in ("coulomb", "viscous", "smoothing"):
            check.length(f"dynamics.friction.{name}", getattr(friction, name), count, "one per axis")
