"""The arm's TOML file: its tables, and every check that refuses one that is wrong."""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import numpy as np
from msgspec import Meta

__all__ = [
    "ARMS_FOLDER",
    "DH_KEYS",
    "MAX_AXES",
    "ActuatorTable",
    "ArmFile",
    "AxisTable",
    "DescriptionError",
    "DynamicsTable",
    "FrictionTable",
    "KinematicsError",
    "LinkTable",
    "TipTable",
    "count_joints",
    "parse_arm_file",
]

MAX_AXES = 8
ARMS_FOLDER = Path(__file__).parent / "arms"


class KinematicsError(Exception):
    """The root of what `kinematics` raises."""


class DescriptionError(KinematicsError, ValueError):
    """An arm's file that is absent or wrong; the message names file, key, value, what is allowed and the remedy."""


Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]
DH_KEYS = ("alpha", "a", "theta", "d", "offset")


class AxisTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One axis in joint space; a joint of the chain when it has the five DH numbers."""

    name: Name
    type: Literal["revolute", "prismatic"]
    alpha: float | None = None
    a: float | None = None
    theta: float | None = None
    d: float | None = None
    offset: float | None = None
    position_min: float
    position_max: float
    velocity_max: Positive
    acceleration_max: Positive
    jerk_max: Positive
    effort_max: Positive
    source: str


class TipTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the tip frame is in the last joint's frame."""

    matrix: list[list[float]]
    source: str


class ActuatorTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The actuators: one entry per axis in each list."""

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
    source: str


class LinkTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that one joint moves."""

    name: Name
    mass: NotNegative
    com: list[float]
    inertia: list[list[float]]


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
    """Of the motors' rotors, seen at the actuators after their gears: kg m² or kg, one per axis."""
    source: str
    links: list[LinkTable]
    friction: FrictionTable


class ArmFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arm's file, as it is written."""

    name: Name
    title: str
    family: Literal["none", "psm"]
    convention: Literal["modified", "standard"]
    axes: Annotated[list[AxisTable], Meta(min_length=1, max_length=MAX_AXES)]
    tip: TipTable
    actuators: ActuatorTable
    dynamics: DynamicsTable


def count_joints(file: ArmFile) -> int:
    """Return how many of the axes have a DH row."""
    return sum(axis.alpha is not None for axis in file.axes)


def parse_arm_file(path: Path, raw: dict[str, Any]) -> ArmFile:
    """Return the checked tables of an arm's file.

    Args:
        path: Where it came from, for messages.
        raw: The TOML, parsed.

    Raises:
        DescriptionError: Something in it is wrong.
    """
    check = _Check(path, raw)
    check.finite("", raw)
    try:
        file = msgspec.convert(raw, ArmFile)
    except msgspec.ValidationError as error:
        check.refuse_schema(str(error))
    _check_axes(check, file)
    _check_tip(check, file.tip)
    _check_actuators(check, file)
    _check_dynamics(check, file)
    if file.family == "psm":
        _check_psm(check, file)
    return file


class _Check:
    """Refusals of one file, all of one form: file, key, value, what is allowed, remedy."""

    def __init__(self, path: Path, raw: dict[str, Any]) -> None:
        self.path = path
        self.raw = raw

    def refuse(self, key: str, value: object, allowed: str, remedy: str) -> NoReturn:
        raise DescriptionError(f"{self.path}: {key} = {value!r}: allowed is {allowed}; {remedy}")

    def refuse_schema(self, message: str) -> NoReturn:
        """Refuse what msgspec refused: find the value that it speaks of."""
        text, _, where = message.partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        value: Any = self.raw
        for part in re.findall(r"[^.\[\]]+", key):
            value = value[int(part)] if part.isdigit() else value[part]
        shown = "the file" if not key else f"{key} = {value!r}" if not isinstance(value, dict) else f"table {key}"
        raise DescriptionError(
            f"{self.path}: {shown}: {text}; see {ARMS_FOLDER / 'psm_classic_lnd.toml'} for every key"
        )

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

    def matrix(self, key: str, rows: list[list[float]], size: int) -> np.ndarray[Any, Any]:
        if len(rows) != size or any(len(row) != size for row in rows):
            self.refuse(key, rows, f"{size} rows of {size} numbers", "complete the matrix")
        return np.array(rows)

    def ordered(self, key: str, low: float, high: float) -> None:
        if not low < high:
            allowed = f"less than position_max = {high!r}"
            self.refuse(key, low, allowed, "exchange the two, or correct the one that is wrong")


def _check_axes(check: _Check, file: ArmFile) -> None:
    names = [axis.name for axis in file.axes]
    if len(set(names)) != len(names):
        check.refuse("axes[*].name", names, "every name once", "rename one of those that are equal")
    ended = False
    for i, axis in enumerate(file.axes):
        given = [key for key in DH_KEYS if getattr(axis, key) is not None]
        if given and len(given) != len(DH_KEYS):
            check.refuse(
                f"axes[{i}] ({axis.name})", given, f"all of {', '.join(DH_KEYS)}, or none", "add those that are missing"
            )
        if given and ended:
            check.refuse(
                f"axes[{i}].alpha", axis.alpha, "no DH row after an axis without one", "put the jaw after the joints"
            )
        ended = ended or not given
        check.ordered(f"axes[{i}].position_min", axis.position_min, axis.position_max)
    if count_joints(file) == 0:
        check.refuse("axes", names, "at least one axis with a DH row", f"give the first one {', '.join(DH_KEYS)}")


def _check_tip(check: _Check, tip: TipTable) -> None:
    T = check.matrix("tip.matrix", tip.matrix, 4)
    R = T[:3, :3]
    is_rotation = np.abs(R.T @ R - np.eye(3)).max() < 1e-9 and np.linalg.det(R) > 0.0
    if not is_rotation or not np.array_equal(T[3], (0.0, 0.0, 0.0, 1.0)):
        check.refuse(
            "tip.matrix", tip.matrix, "a pose: orthonormal, right-handed, last row 0 0 0 1", "write more digits"
        )


def _check_actuators(check: _Check, file: ArmFile) -> None:
    actuators, count = file.actuators, len(file.axes)
    for key in msgspec.structs.fields(ActuatorTable):
        value = getattr(actuators, key.name)
        if isinstance(value, list) and key.name != "joint_from_actuator":
            check.length(f"actuators.{key.name}", value, count, "one per axis")
    for i in range(count):
        check.ordered(f"actuators.position_min[{i}]", actuators.position_min[i], actuators.position_max[i])
    coupling = check.matrix("actuators.joint_from_actuator", actuators.joint_from_actuator, count)
    singular_values = np.linalg.svd(coupling, compute_uv=False)
    if singular_values[-1] < 1e-9 * singular_values[0]:
        check.refuse(
            "actuators.joint_from_actuator",
            actuators.joint_from_actuator,
            "a matrix that can be inverted",
            "no two rows or columns may say the same, none may be zero",
        )


def _check_dynamics(check: _Check, file: ArmFile) -> None:
    dynamics, n_joints = file.dynamics, count_joints(file)
    check.length("dynamics.gravity", dynamics.gravity, 3, "x y z in the base frame")
    joints = [axis.name for axis in file.axes[:n_joints]]
    links = [link.name for link in dynamics.links]
    if links != joints:
        check.refuse("dynamics.links[*].name", links, f"the joints in order, {joints}", "give one link per joint")
    for i, link in enumerate(dynamics.links):
        check.length(f"dynamics.links[{i}].com", link.com, 3, "x y z in the link's DH frame")
        key = f"dynamics.links[{i}].inertia"
        inertia = check.matrix(key, link.inertia, 3)
        principal = np.linalg.eigvalsh(inertia)
        is_body = np.array_equal(inertia, inertia.T) and principal[0] >= 0.0
        if not is_body or principal[2] > (principal[0] + principal[1]) * (1.0 + 1e-9):
            check.refuse(
                key,
                link.inertia,
                "symmetric, principal moments positive and none larger than the sum of the others",
                "no body has such an inertia: correct it",
            )
    if dynamics.rotor_inertia is not None:
        check.length("dynamics.rotor_inertia", dynamics.rotor_inertia, len(file.axes), "one per axis")
    for name in ("coulomb", "viscous", "smoothing"):
        values = getattr(dynamics.friction, name)
        check.length(f"dynamics.friction.{name}", values, len(file.axes), "one per axis")


def _check_psm(check: _Check, file: ArmFile) -> None:
    """Refuse an arm that the closed form of `kinematics.psm` would answer wrongly."""
    remedy = 'or write family = "none"'
    if file.convention != "modified":
        check.refuse("convention", file.convention, '"modified" for the family "psm"', remedy)
    types = [axis.type for axis in file.axes[: count_joints(file)]]
    expected_types = ["revolute", "revolute", "prismatic", "revolute", "revolute", "revolute"]
    if types != expected_types:
        check.refuse("axes[*].type", types, f'{expected_types} with DH rows for the family "psm"', remedy)
    half_pi = math.pi / 2
    fixed: dict[str, tuple[float | None, ...]] = {
        "alpha": (half_pi, -half_pi, half_pi, 0.0, -half_pi, -half_pi),
        "a": (0.0, 0.0, 0.0, 0.0, 0.0, None),  # None: any
        "theta": (0.0,) * 6,
        "d": (0.0, 0.0, None, None, 0.0, 0.0),
    }
    for key, values in fixed.items():
        for i, expected in enumerate(values):
            value = getattr(file.axes[i], key)
            if expected is not None and abs(value - expected) > 1e-12:
                allowed = f'{expected!r} (all digits) for the family "psm"'
                check.refuse(f"axes[{i}].{key}", value, allowed, remedy)
