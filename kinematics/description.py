"""Descriptions of arms: one TOML file each, checked whole, and the record that the kernels read.

An arm has *axes* (what is commanded, the jaw last). The leading ones are the *joints* of the kinematic chain, with a
Denavit-Hartenberg row each; the jaw has none. Units are SI, angles rad.
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
    ArmFile,
    DescriptionError,
    KinematicsError,
    count_joints,
    parse_arm_file,
)

__all__ = [
    "ARM",
    "MAX_AXES",
    "ArmDescription",
    "Convention",
    "DescriptionError",
    "Family",
    "KinematicsError",
    "load_arm",
    "shipped_arms",
]


class Convention(IntEnum):
    """What a Denavit-Hartenberg row means."""

    MODIFIED = 0
    """Craig: T_i = RotX(alpha) TransX(a) RotZ(theta) TransZ(d); the joint turns about z_i."""
    STANDARD = 1
    """T_i = RotZ(theta) TransZ(d) TransX(a) RotX(alpha); the joint turns about z_{i-1}."""


class Family(IntEnum):
    """Which closed form of the inverse kinematics fits."""

    NONE = 0
    PSM = 1


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
    """An arm, checked.

    Attributes:
        path: The file that it came from.
        digest: The first 16 hexadecimal digits of the SHA-256 of the file's text.
        file: What the file says.
    """

    path: Path
    digest: str
    file: ArmFile
    _record: bytes

    @property
    def record(self) -> np.ndarray[Any, Any]:
        """The record for the kernels, shape (1,), dtype ARM: the caller's own copy."""
        return np.frombuffer(bytearray(self._record), dtype=ARM)

    @property
    def name(self) -> str:
        """The arm's name, as in `load_arm(name)`."""
        return self.file.name

    @property
    def title(self) -> str:
        """The arm's name for people."""
        return self.file.title

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
    def actuator_names(self) -> tuple[str, ...]:
        """The actuators' names in order."""
        return tuple(self.file.actuators.names)


def shipped_arms() -> list[str]:
    """Return the names of the arms that come with Trocar, sorted."""
    return sorted(path.stem for path in ARMS_FOLDER.glob("*.toml"))


def load_arm(name_or_path: str | Path) -> ArmDescription:
    """Return a checked arm.

    Args:
        name_or_path: The name of a shipped arm, or the path of a TOML file (ending in .toml).

    Raises:
        DescriptionError: The file is absent or wrong.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = ARMS_FOLDER / f"{name_or_path}.toml"
        if str(name_or_path) not in shipped_arms():
            raise DescriptionError(
                f"no arm is named {str(name_or_path)!r}; shipped are {', '.join(shipped_arms())}: "
                "use one of them, or the path of a file that ends in .toml"
            )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DescriptionError(f"the arm's file {path} cannot be read ({error.strerror}): check the path") from error
    try:
        raw = tomllib.loads(data.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise DescriptionError(f"{path} is no TOML in UTF-8 ({error}): correct it at the place named") from error
    file = parse_arm_file(path, raw)
    return ArmDescription(
        path=path, digest=hashlib.sha256(data).hexdigest()[:16], file=file, _record=_make_record(file).tobytes()
    )


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
    actuators = file.actuators
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
    arm["gravity"] = file.dynamics.gravity
    arm["coulomb"][:n_axes] = file.dynamics.friction.coulomb
    arm["viscous"][:n_axes] = file.dynamics.friction.viscous
    arm["friction_at_actuators"] = file.dynamics.friction.space == "actuator"
    rotors = np.zeros(MAX_AXES)
    rotors[:n_axes] = file.dynamics.rotor_inertia or 0.0
    arm["rotor_inertia"] = arm["actuator_from_joint"].T @ np.diag(rotors) @ arm["actuator_from_joint"]
    arm["friction_smoothing"] = 1.0  # never divided by zero, past the axes either
    arm["friction_smoothing"][:n_axes] = file.dynamics.friction.smoothing
    return record


def _about_x(alpha: float, a: float) -> np.ndarray[Any, Any]:
    """Return RotX(alpha) TransX(a), 4 x 4; the two commute."""
    s, c = math.sin(alpha), math.cos(alpha)
    return np.array([[1.0, 0.0, 0.0, a], [0.0, c, -s, 0.0], [0.0, s, c, 0.0], [0.0, 0.0, 0.0, 1.0]])


def _about_z(theta: float, d: float) -> np.ndarray[Any, Any]:
    """Return RotZ(theta) TransZ(d), 4 x 4; the two commute."""
    s, c = math.sin(theta), math.cos(theta)
    return np.array([[c, -s, 0.0, 0.0], [s, c, 0.0, 0.0], [0.0, 0.0, 1.0, d], [0.0, 0.0, 0.0, 1.0]])


def _place_joints(file: ArmFile, arm: np.void) -> None:
    """Fill in joint frames, tip and bodies from the DH rows, whichever their convention."""
    tail = np.eye(4)  # from the joint's frame before to its DH frame
    links = file.dynamics.links
    for i in range(count_joints(file)):
        prismatic = bool(arm["prismatic"][i])
        theta = arm["theta"][i] + (0.0 if prismatic else arm["offset"][i])
        d = arm["d"][i] + (arm["offset"][i] if prismatic else 0.0)
        x, z = _about_x(arm["alpha"][i], arm["a"][i]), _about_z(theta, d)
        modified = arm["convention"] == Convention.MODIFIED
        arm["placement"][i] = (x @ z if modified else tail @ z)[:3].reshape(12)
        tail = np.eye(4) if modified else x
        R = tail[:3, :3]
        arm["mass"][i] = links[i].mass
        arm["com"][i] = R @ links[i].com + tail[:3, 3]
        arm["inertia"][i] = R @ np.array(links[i].inertia) @ R.T
    arm["tip"] = tail @ np.array(file.tip.matrix)
