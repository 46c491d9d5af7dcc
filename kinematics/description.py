"""Descriptions of arms: a TOML file each, one more for the tool, checked whole; and the record that the kernels read.

An arm has *axes* (what is commanded, the jaw last). The leading ones are the *joints* of the kinematic chain, with a
Denavit-Hartenberg row or a frame each; the jaw has none. Units are SI, angles rad.
"""

import hashlib
import math
import tomllib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from kinematics.arm_file import (
    ARMS_FOLDER,
    DH_KEYS,
    MAX_AXES,
    TOOLS_FOLDER,
    ActuatorTable,
    ArmFile,
    DescriptionError,
    KinematicsError,
    ToolFile,
    count_joints,
    parse_arm_file,
    parse_tool_file,
)
from kinematics.families import Family
from kinematics.mounting import check_family, mount

__all__ = [
    "ARM",
    "MAX_AXES",
    "ArmDescription",
    "Convention",
    "DescriptionError",
    "Family",
    "KinematicsError",
    "describe",
    "load_arm",
    "load_tool",
    "shipped_arms",
    "shipped_tools",
]


class Convention(IntEnum):
    """How an arm's file gives its geometry."""

    MODIFIED = 0
    """Craig: T_i = RotX(alpha) TransX(a) RotZ(theta) TransZ(d); the joint turns about z_i."""
    STANDARD = 1
    """T_i = RotZ(theta) TransZ(d) TransX(a) RotX(alpha); the joint turns about z_{i-1}."""
    FRAMES = 2
    """The joint's frame itself, at position 0; the joint turns about its z. The DH fields are zero."""


ARM = np.dtype(
    [
        ("n_joints", "i8"),  # axes with a DH row; they come first
        ("n_axes", "i8"),
        ("convention", "i8"),  # Convention
        ("family", "i8"),  # Family
        ("prismatic", "i8", (MAX_AXES,)),  # 1 or 0
        ("placement", "f8", (MAX_AXES, 12)),  # T_{i-1,i} of joint frame i at q = 0: upper three rows, row by row
        ("alpha", "f8", (MAX_AXES,)),
        ("a", "f8", (MAX_AXES,)),
        ("theta", "f8", (MAX_AXES,)),
        ("d", "f8", (MAX_AXES,)),
        ("offset", "f8", (MAX_AXES,)),  # added to the position of the joint
        ("position_min", "f8", (MAX_AXES,)),  # this and the next five: joint space
        ("position_max", "f8", (MAX_AXES,)),
        ("velocity_max", "f8", (MAX_AXES,)),
        ("acceleration_max", "f8", (MAX_AXES,)),
        ("jerk_max", "f8", (MAX_AXES,)),
        ("effort_max", "f8", (MAX_AXES,)),
        ("tip", "f8", (4, 4)),  # T_last_tip, from the last joint's frame
        ("joint_from_actuator", "f8", (MAX_AXES, MAX_AXES)),  # identity past n_axes, as its inverse
        ("actuator_from_joint", "f8", (MAX_AXES, MAX_AXES)),
        ("actuator_position_min", "f8", (MAX_AXES,)),
        ("actuator_position_max", "f8", (MAX_AXES,)),
        ("counts_per_unit", "f8", (MAX_AXES,)),  # encoder counts per rad or m of the actuator
        ("effort_per_amp", "f8", (MAX_AXES,)),  # N·m/A or N/A at the actuator
        ("current_max", "f8", (MAX_AXES,)),
        ("brake", "i8", (MAX_AXES,)),  # 1 or 0
        ("mass", "f8", (MAX_AXES,)),  # of the link that the joint moves
        ("com", "f8", (MAX_AXES, 3)),  # in the joint's frame
        ("inertia", "f8", (MAX_AXES, 3, 3)),  # about the centre of mass, axes of the joint's frame
        ("gravity", "f8", (3,)),  # m/s², in the base frame
        ("coulomb", "f8", (MAX_AXES,)),
        ("viscous", "f8", (MAX_AXES,)),
        ("friction_smoothing", "f8", (MAX_AXES,)),  # velocity at which Coulomb friction is fully there
        ("through", "i8"),  # 1: the inverse keeps the shaft in the remote centre; for arms without a closed form
        ("remote_center", "f8", (3,)),  # m, in the base frame
        ("shaft", "f8", (6,)),  # point and unit direction in the tip's frame: kinematics.shaft
        ("depth_min", "f8"),  # m: the tip is at least so far beyond the remote centre
        ("parts", "i8", (6,)),  # where the arm's kernels are in this process: kinematics.bound_inverse
        ("friction_at_actuators", "i8"),  # 1: the three above are the actuators'; 0: the joints'
        ("rotor_inertia", "f8", (MAX_AXES, MAX_AXES)),  # of the motors' rotors, seen at the joints
    ],
    align=True,
)
"""What the kernels know of an arm. Entries past its axes are zero, save where the field says otherwise.

Whatever a file gives its geometry by, the kernels see joint frames: frame i sits on joint i, turns about or slides
along its own z by q_i, and stands at `placement[i]` of frame i-1 while q_i is 0. With modified rows it is the DH frame
i; with standard rows the DH frame i is a fixed turn and shift further on.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmDescription:
    """An arm with its tool, checked.

    Attributes:
        path: The file that the arm came from.
        digest: The first 16 hexadecimal digits of the SHA-256 of the arm's file, followed by the tool's.
        file: What the two files say, as one.
        tool: What the tool's file says; None for an arm without a tool.
    """

    path: Path
    digest: str
    file: ArmFile
    tool: ToolFile | None
    _record: bytes

    @property
    def record(self) -> np.ndarray[Any, Any]:
        """The record for the kernels, shape (1,), dtype ARM: the caller's own copy."""
        return np.frombuffer(bytearray(self._record), dtype=ARM)

    @property
    def name(self) -> str:
        """The names of arm and tool, as in `load_arm("psm_classic:prograsp_forceps_400093")`."""
        return self.file.name if self.tool is None else f"{self.file.name}:{self.tool.name}"

    @property
    def title(self) -> str:
        """The arm's name for people, and its tool's."""
        return self.file.title if self.tool is None else f"{self.file.title}, {self.tool.title}"

    @property
    def n_axes(self) -> int:
        """How many axes the arm has, the jaw included."""
        return len(self.file.axes)

    @property
    def n_joints(self) -> int:
        """How many of the axes are joints of the chain; they come first."""
        return count_joints(self.file)

    @property
    def axis_names(self) -> tuple[str, ...]:
        """The axes' names in order."""
        return tuple(axis.name for axis in self.file.axes)

    @property
    def axis_types(self) -> tuple[str, ...]:
        """`"revolute"` or `"prismatic"` per axis."""
        return tuple(axis.type for axis in self.file.axes)

    @property
    def has_actuators(self) -> bool:
        """Whether motors and encoders are known: without, it is kinematics only and no daemon can drive it."""
        return self.file.actuators is not None

    @property
    def actuator_names(self) -> tuple[str, ...]:
        """The actuators' names in order; none where they are not known."""
        return () if self.file.actuators is None else tuple(self.file.actuators.names)


def shipped_arms() -> list[str]:
    """Return the names of the arms that come with Trocar, sorted."""
    return sorted(path.stem for path in ARMS_FOLDER.glob("*.toml"))


def shipped_tools(arm: str | None = None) -> list[str]:
    """Return the names of the tools that come with Trocar, sorted; with an arm's name or path, those that fit it.

    Raises:
        DescriptionError: The arm's file is absent or wrong.
    """
    names = sorted(path.stem for path in TOOLS_FOLDER.glob("*.toml"))
    if arm is None:
        return names
    interfaces = {point.interface for point in _read_arm(arm)[1].mounts}
    return [name for name in names if interfaces & set(load_tool(name).interfaces)]


def load_tool(name_or_path: str | Path) -> ToolFile:
    """Return a checked tool.

    Args:
        name_or_path: The name of a shipped tool, or the path of a TOML file (ending in .toml).

    Raises:
        DescriptionError: The file is absent or wrong.
    """
    path, data = _read(name_or_path, TOOLS_FOLDER, "tool", shipped_tools())
    return parse_tool_file(path, _parse(path, data))


def load_arm(name_or_path: str | Path) -> ArmDescription:
    """Return a checked arm with its tool.

    Args:
        name_or_path: `ARM` or `ARM:TOOL`, each the name of a shipped one or the path of a TOML file (ending in .toml).
            Without a tool, the arm has the one that its file names as `default_tool`, or none. Or the path of a URDF
            file (ending in .urdf), which `kinematics.urdf.load_urdf` reads and has options for.

    Raises:
        DescriptionError: A file is absent or wrong, or the tool does not fit the arm.
    """
    text = str(name_or_path)
    arm_name, _, tool_name = text.partition(":")
    if arm_name.endswith(".urdf"):
        from kinematics.urdf import load_urdf  # here: it needs a package that is not always there

        if tool_name:
            raise DescriptionError(f"{text!r}: an arm from a URDF file takes no tool: add the tool's links to the file")
        return load_urdf(Path(arm_name))
    path, arm, data = _read_arm(arm_name)
    tool_name = tool_name or arm.default_tool or ""
    if not tool_name:
        own = len(arm.axes)
        if arm.actuators is not None and len(arm.actuators.names) > own:
            fitting = ", ".join(shipped_tools(arm_name)) or "none"
            raise DescriptionError(
                f"{path}: the arm {arm.name} needs a tool, and its file names no default_tool: write {arm_name}:TOOL; "
                f"of the shipped ones fit {fitting}"
            )
        return describe(arm, path=path, data=data)
    tool_path, tool_data = _read(tool_name, TOOLS_FOLDER, "tool", shipped_tools())
    tool = parse_tool_file(tool_path, _parse(tool_path, tool_data))
    return describe(mount(arm, tool, tool_path), path=path, data=data + tool_data, tool=tool)


def describe(file: ArmFile, *, path: Path, data: bytes, tool: ToolFile | None = None) -> ArmDescription:
    """Return the description of an arm whose tables are checked and complete.

    Args:
        file: The arm with its tool.
        path: Where the arm came from.
        data: What the digest is of.
        tool: The tool that is already in `file`.

    Raises:
        DescriptionError: Its geometry is not that of its family.
    """
    check_family(file, path)
    digest = hashlib.sha256(data).hexdigest()[:16]
    return ArmDescription(path=path, digest=digest, file=file, tool=tool, _record=_make_record(file).tobytes())


def _read_arm(name_or_path: str) -> tuple[Path, ArmFile, bytes]:
    path, data = _read(name_or_path, ARMS_FOLDER, "arm", shipped_arms())
    return path, parse_arm_file(path, _parse(path, data)), data


def _read(name_or_path: str | Path, folder: Path, kind: str, shipped: list[str]) -> tuple[Path, bytes]:
    """Return the path and the content of a file that is named or shipped."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if str(name_or_path) not in shipped:
            raise DescriptionError(
                f"no {kind} is named {str(name_or_path)!r}; shipped are {', '.join(shipped)}: "
                "use one of them, or the path of a file that ends in .toml"
            )
        path = folder / f"{name_or_path}.toml"
    try:
        return path, path.read_bytes()
    except OSError as error:
        message = f"the {kind}'s file {path} cannot be read ({error.strerror}): check the path"
        raise DescriptionError(message) from error


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise DescriptionError(f"{path} is no TOML in UTF-8 ({error}): correct it at the place named") from error


def _make_record(file: ArmFile) -> np.ndarray[Any, Any]:
    record = np.zeros(1, ARM)
    arm, n_axes, n_joints = record[0], len(file.axes), count_joints(file)
    arm["n_joints"], arm["n_axes"] = n_joints, n_axes
    arm["convention"] = Convention[file.convention.upper()]
    arm["family"] = Family[file.family.upper()]
    for i, axis in enumerate(file.axes):
        arm["prismatic"][i] = axis.type == "prismatic"
        for key in DH_KEYS:
            arm[key][i] = getattr(axis, key) or 0.0
        for key in (
            "position_min",
            "position_max",
            "velocity_max",
            "acceleration_max",
            "jerk_max",
            "effort_max",
        ):
            arm[key][i] = getattr(axis, key)
    _place_joints(file, arm)
    arm["joint_from_actuator"] = arm["actuator_from_joint"] = np.eye(MAX_AXES)
    if file.actuators is not None:
        _fill_actuators(file.actuators, arm, n_axes)
    arm["friction_smoothing"] = 1.0  # never divided by zero, past the axes either
    if file.dynamics is not None:
        arm["gravity"] = file.dynamics.gravity
        rotors = np.zeros(MAX_AXES)
        rotors[:n_axes] = file.dynamics.rotor_inertia or 0.0
        arm["rotor_inertia"] = arm["actuator_from_joint"].T @ np.diag(rotors) @ arm["actuator_from_joint"]
        if file.dynamics.friction is not None:
            arm["friction_at_actuators"] = file.dynamics.friction.space == "actuator"
            arm["coulomb"][:n_axes] = file.dynamics.friction.coulomb
            arm["viscous"][:n_axes] = file.dynamics.friction.viscous
            arm["friction_smoothing"][:n_axes] = file.dynamics.friction.smoothing
    return record


def _fill_actuators(actuators: ActuatorTable, arm: np.void, n_axes: int) -> None:
    coupling = np.eye(MAX_AXES)
    coupling[:n_axes, :n_axes] = actuators.joint_from_actuator
    arm["joint_from_actuator"] = coupling
    arm["actuator_from_joint"] = np.linalg.inv(coupling)
    arm["actuator_position_min"][:n_axes] = actuators.position_min
    arm["actuator_position_max"][:n_axes] = actuators.position_max
    gear = np.array(actuators.gear_ratio)
    arm["counts_per_unit"][:n_axes] = np.array(actuators.encoder_counts_per_turn) / (2.0 * math.pi) * gear
    arm["effort_per_amp"][:n_axes] = np.array(actuators.torque_constant) * gear
    arm["current_max"][:n_axes] = actuators.current_max
    arm["brake"][:n_axes] = actuators.brake


def _about_x(alpha: float, a: float) -> np.ndarray[Any, Any]:
    """Return RotX(alpha) TransX(a), 4 x 4; the two commute."""
    s, c = math.sin(alpha), math.cos(alpha)
    return np.array([[1.0, 0.0, 0.0, a], [0.0, c, -s, 0.0], [0.0, s, c, 0.0], [0.0, 0.0, 0.0, 1.0]])


def _about_z(theta: float, d: float) -> np.ndarray[Any, Any]:
    """Return RotZ(theta) TransZ(d), 4 x 4; the two commute."""
    s, c = math.sin(theta), math.cos(theta)
    return np.array([[c, -s, 0.0, 0.0], [s, c, 0.0, 0.0], [0.0, 0.0, 1.0, d], [0.0, 0.0, 0.0, 1.0]])


def _place_joints(file: ArmFile, arm: np.void) -> None:
    """Fill in joint frames, tip and bodies from the file's rows, whichever their convention."""
    tail = np.eye(4)  # from the joint's frame before to its DH frame
    links = [] if file.dynamics is None else file.dynamics.links
    for i in range(count_joints(file)):
        prismatic = bool(arm["prismatic"][i])
        theta = arm["theta"][i] + (0.0 if prismatic else arm["offset"][i])
        d = arm["d"][i] + (arm["offset"][i] if prismatic else 0.0)
        x, z = _about_x(arm["alpha"][i], arm["a"][i]), _about_z(theta, d)
        placement = file.axes[i].placement
        if placement is not None:
            T, tail = np.array(placement), np.eye(4)
        elif arm["convention"] == Convention.MODIFIED:
            T, tail = x @ z, np.eye(4)
        else:
            T, tail = tail @ z, x
        arm["placement"][i] = T[:3].reshape(12)
        if links:
            R = tail[:3, :3]
            arm["mass"][i] = links[i].mass
            arm["com"][i] = R @ links[i].com + tail[:3, 3]
            arm["inertia"][i] = R @ np.array(links[i].inertia) @ R.T
    arm["tip"] = tail @ np.array(file.tip.matrix)
