"""The file that describes an emulated arm's body: what it weighs, how it is built, and where each figure is from."""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hil.fault_record import HilError
from telemetry.sample import MAX_AXES

__all__ = ["PlantError", "PlantFile", "check_sizes", "load_plant"]


class PlantError(HilError, ValueError):
    """A plant file that is absent, malformed or not of this arm."""


Entry = Annotated[list[float], Meta(min_length=1, max_length=MAX_AXES)]
Positive = Annotated[list[Annotated[float, Meta(gt=0.0)]], Meta(min_length=1, max_length=MAX_AXES)]
NotNegative = Annotated[list[Annotated[float, Meta(ge=0.0)]], Meta(min_length=1, max_length=MAX_AXES)]
Vector = Annotated[list[float], Meta(min_length=3, max_length=3)]
Delay = Annotated[float, Meta(ge=0.0, le=1.0)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    source: str
    """Where the table's values come from."""


class Inertia(_Table, frozen=True, kw_only=True):
    """What the links weigh, against the controller's model; one entry per row of the DH table. A jaw, if any."""

    mass_factor: Positive
    com_shift: list[Vector]
    jaw_mass: Annotated[float, Meta(gt=0.0)] | None = None
    jaw_com: Vector | None = None
    jaw_inertia: Vector | None = None


class Geometry(_Table, frozen=True, kw_only=True):
    """How far the rows of the DH table are from nominal, rad and m."""

    alpha_error: Entry
    a_error: Entry
    theta_error: Entry
    d_error: Entry


class Transmission(_Table, frozen=True, kw_only=True):
    """Cables between actuators and joints, seen at the joint."""

    stiffness: Positive
    damping: NotNegative
    backlash: NotNegative
    joint_damping: NotNegative
    joint_armature: NotNegative
    stop_margin: Positive


class Actuators(_Table, frozen=True, kw_only=True):
    """Rotors and their friction in actuator units."""

    armature: Positive
    coulomb: Positive
    viscous: NotNegative


class Brakes(_Table, frozen=True, kw_only=True):
    """Brakes on actuators."""

    friction: NotNegative
    engage_delay: Delay
    release_delay: Delay


class Motors(_Table, frozen=True, kw_only=True):
    """Amplifiers and windings. A winding warms up by its losses against one thermal resistance, to the ambient."""

    current_noise: Annotated[float, Meta(ge=0.0)]
    """A, standard deviation."""
    current_rating: Positive | None = None
    """A. What the board knows of its amplifiers and takes no larger limits than; left out: it knows nothing."""
    resistance: Positive
    """Ohm, of the windings."""
    thermal_resistance: Positive
    """K/W, from winding to ambient."""
    thermal_time_constant: Annotated[float, Meta(gt=0.01, le=1e5)]
    """s."""
    ambient: Annotated[float, Meta(ge=-50.0, le=100.0)]
    """Degrees Celsius."""
    temperature_noise: Annotated[float, Meta(ge=0.0)]
    """K, standard deviation of the sensors in the windings."""
    temperature_step: Annotated[float, Meta(gt=0.0)]
    """K, their resolution."""


class Sensors(_Table, frozen=True, kw_only=True):
    """Absolute sensors, in actuator units."""

    absolute_noise: NotNegative
    absolute_step: Positive


class Start(_Table, frozen=True, kw_only=True):
    """Where the joints are when the rig starts."""

    position: Entry
    spread: NotNegative


class PlantFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plant file: how this one arm differs from its model, and what the model leaves out."""

    title: str
    arm: str
    tool: Annotated[int, Meta(ge=0, le=65535)] = 1
    """Identity that the instrument's contact gives; 0: there is none."""
    inertia: Inertia
    geometry: Geometry
    transmission: Transmission
    actuators: Actuators
    brakes: Brakes
    motors: Motors
    sensors: Sensors
    start: Start


def load_plant(name_or_path: str) -> tuple[PlantFile, str]:
    """Return a plant file and the SHA-256 of its text; a name without a slash is a shipped one.

    Raises:
        PlantError: The file is absent or malformed.
    """
    folder = Path(__file__).resolve().parent / "plants"
    path = Path(name_or_path)
    if path.suffix != ".toml" and path.name == name_or_path:
        path = folder / f"{name_or_path}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise PlantError(f"plant {name_or_path!r}: no file {path}; give a path, or one of the shipped ones: {shipped}")
    text = path.read_bytes()
    try:
        plant = msgspec.convert(tomllib.loads(text.decode()), PlantFile)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlantError(f"{path}: {error}; compare with {folder / 'psm_classic.toml'}") from error
    return plant, hashlib.sha256(text).hexdigest()


def check_sizes(plant: PlantFile, n_joints: int, n_axes: int) -> None:
    """Refuse a plant whose lists are not of its arm's size.

    Args:
        plant: The plant.
        n_joints: Rows of the arm's DH table.
        n_axes: Its axes, the jaw included.

    Raises:
        PlantError: A list is too short or too long, or the jaw's mass is missing, or there without a jaw.
    """
    for key in ("jaw_mass", "jaw_com", "jaw_inertia"):
        if (getattr(plant.inertia, key) is None) == (n_axes > n_joints):
            verb, remedy = ("lacks", "add it") if n_axes > n_joints else ("has", "its arm has no jaw: remove it")
            raise PlantError(f"the plant of {plant.arm} {verb} inertia.{key}: {remedy}")
    for table in ("inertia", "geometry", "transmission", "actuators", "brakes", "motors", "sensors", "start"):
        values = getattr(plant, table)
        for key in values.__struct_fields__:
            value = getattr(values, key)
            if not isinstance(value, list) or key in ("jaw_com", "jaw_inertia"):
                continue
            expected = n_joints if table in ("inertia", "geometry") else n_axes
            if len(value) != expected:
                raise PlantError(
                    f"the plant's {table}.{key} has {len(value)} entries, its arm {plant.arm} needs {expected}: "
                    "one per DH row for inertia and geometry, one per axis elsewhere"
                )
