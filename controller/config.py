"""The daemon's configuration: one TOML file, checked whole before anything starts.

An error names the file, the key, what was given, what is allowed and what to do.
"""

import math
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from controller.errors import ConfigError, LawError
from controller.laws.parameters import BUILT_IN, check_name, check_value
from controller.seal import Seal, check_seal, file_digest

if TYPE_CHECKING:
    from kinematics.description import ArmDescription

__all__ = [
    "ArmConfig",
    "Config",
    "CycleConfig",
    "DriverConfig",
    "GuardConfig",
    "HomingConfig",
    "LawConfig",
    "MotionConfig",
    "PedalConfig",
    "RemoteCenterConfig",
    "RigConfig",
    "StreamConfig",
    "VolumeConfig",
    "check_config",
    "load_config",
    "named_files",
    "read_config",
    "shipped_configs",
]

LAWS = ("joint_pd", *BUILT_IN)
"""Those that come with Trocar."""

Temperature = Annotated[float, Meta(ge=0.0, le=150.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Point = tuple[float, float, float]


class ArmConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which arm this daemon serves."""

    name: Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_]{0,31}$")]
    """What clients and topics call it, e.g. PSM1."""
    description: str
    """ARM or ARM:TOOL: names of shipped ones (see `trocar arms`) or paths of their files."""


class DriverConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the motor controllers are reached."""

    kind: Literal["bridge"] = "bridge"
    port: str = ""
    """A serial device; left out where a [rig] provides one."""
    baud: Annotated[int, Meta(ge=9600, le=12_000_000)] = 4_000_000
    watchdog: Annotated[float, Meta(ge=0.002, le=1.0)] = 0.004
    """s. How long the motor controllers wait for a command before they stop by themselves."""
    serial_number: str = ""
    """Which device it must be, as `trocar status` shows it; left out: any."""
    firmware: str = ""
    """Which firmware it must run, as `trocar status` shows it, or the beginning of that; left out: any."""
    tool: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """Identity of the instrument that must be plugged in; left out: any, 0: none."""
    key_file: str = ""
    """A file with 32 hexadecimal digits, the key that commands are authenticated with; left out: none."""


class CycleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The control cycle."""

    period: Annotated[float, Meta(ge=0.0005, le=0.02)] = 0.001
    feedback_timeout: Annotated[float, Meta(ge=0.001, le=1.0)] = 0.003
    """s. Fresh feedback must come at least so often."""
    cpu: Annotated[int, Meta(ge=-1)] = -1
    """Which CPU it runs on; -1: the last isolated one, else the last of those allowed."""
    priority: Annotated[int, Meta(ge=0, le=98)] = 80
    """SCHED_FIFO priority, where permitted; 0: ordinary scheduling."""


class LawConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which control law, and joint PD's gains, from which every law begins: one entry per axis, in actuator space."""

    name: str = "joint_pd"
    """joint_pd, computed_torque, cartesian_impedance, or one's own: module:function or file.py:function."""
    kp: list[Annotated[float, Meta(ge=0.0)]]
    """N·m/rad or N/m."""
    kd: list[Annotated[float, Meta(ge=0.0)]]
    """N·m·s/rad or N·s/m."""
    gravity: bool = True
    friction: bool = True
    budget: Annotated[float, Meta(gt=0.0, le=0.02)] | None = None
    """s that a call of one's own law may take; left out: half the period."""
    parameters: dict[str, float | list[float]] = {}
    """What the law's function finds in `p`."""


class VolumeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A volume that the tip must stay inside or outside of, in the base frame."""

    shape: Literal["half_space", "sphere", "box", "cylinder"]
    keep: Literal["inside", "outside"] = "inside"
    center: Point
    """m. half_space: a point on its wall."""
    direction: Point = (0.0, 0.0, 1.0)
    """half_space: from the wall into it; cylinder: along its axis."""
    radius: Positive = 1.0
    """m. Of a sphere or cylinder."""
    half_size: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    """m. Of a box, along the axes of the base frame."""

    def contains(self, point: Point) -> bool:
        """Return whether a point, m in the base frame, is in the shape or on its wall."""
        x = [a - b for a, b in zip(point, self.center, strict=True)]
        if self.shape == "sphere":
            return math.hypot(*x) <= self.radius
        if self.shape == "box":
            return all(abs(value) <= half for value, half in zip(x, self.half_size, strict=True))
        length = math.hypot(*self.direction)
        along = sum(a * b for a, b in zip(x, self.direction, strict=True)) / length
        if self.shape == "half_space":
            return along >= 0.0
        return math.hypot(*(a - along * b / length for a, b in zip(x, self.direction, strict=True))) <= self.radius


class GuardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the guard allows. One entry per axis, in joint space; the rest comes from the arm's file."""

    following_error: list[Positive]
    """rad or m between set-point and measurement."""
    residual: list[Positive] | None = None
    """rad or m by which commanded and observed motion may differ within 8 cycles; left out: not watched."""
    sensor_difference: list[Positive] | None = None
    """rad or m between an encoder and the second sensor of its actuator, smoothed; left out: not watched."""
    temperature_warn: Temperature = 60.0
    """Degrees Celsius."""
    temperature_max: Temperature = 65.0
    """Degrees Celsius; warmer is a fault."""
    late_cycles: Annotated[int, Meta(ge=1, le=1000)] = 3
    """So many late cycles within 100 are a fault."""
    remote_center_warn: Positive = 0.001
    """m from the shaft, by the measured joints, to the remote centre: the arm holds."""
    remote_center_max: Positive = 0.002
    """m: the motors go off."""
    deceleration: Positive = 0.5
    """m/s² with which the tip is let near a wall: its speed towards it is at most sqrt(2 deceleration distance)."""
    volume: list[VolumeConfig] = []
    """Where the tip may be: all of them hold."""


class MotionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tip may do on a straight line; the joints' own limits are in the arm's file."""

    linear_speed: Positive = 0.1
    """m/s."""
    linear_acceleration: Positive = 0.4
    """m/s²."""
    linear_jerk: Positive = 8.0
    """m/s³."""
    angular_speed: Positive = 1.5
    """rad/s."""
    angular_acceleration: Positive = 6.0
    """rad/s²."""
    angular_jerk: Positive = 120.0
    """rad/s³."""


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a motion whose stream falls silent."""

    timeout: Annotated[float, Meta(ge=0.002, le=5.0)] = 0.05
    """s. Then the arm holds and is paused; a stream may ask for less."""
    interpolate_timeout: Annotated[float, Meta(ge=0.002, le=5.0)] = 0.3
    """s. The same for streams that the controller interpolates, which are slower."""
    dead: Annotated[float, Meta(ge=0.01, le=60.0)] = 0.5
    """s. Then its motors go off."""


class RemoteCenterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The straight instrument of an arm whose mechanics keep no remote centre."""

    point: Point | None = None
    """m, in the base frame: where it is from the start; left out: none until one is set."""
    shaft_point: Point = (0.0, 0.0, 0.0)
    """m, in the tip's frame: on the shaft's line."""
    shaft_direction: Point = (0.0, 0.0, 1.0)
    """In the tip's frame, out of the arm."""
    depth_min: Positive = 0.02
    """m. The tip stays at least so far beyond the remote centre."""


class PedalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operator's pedal."""

    required: bool = False
    """The arm moves only while it is pressed."""


class HomingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the joints learn where they are."""

    average: Annotated[float, Meta(ge=0.01, le=10.0)] = 0.256
    """s. For so long the absolute sensors are averaged, at rest."""
    pose: list[float]
    """rad or m, one per axis. Where homing ends."""
    speed: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.4
    """Part of the joints' limits that the move there uses."""


class RigConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An emulated arm, started by the daemon as a process of its own."""

    module: str = "hil.rig"
    """Run as `python -m MODULE RUN_DIR`: its `main(arguments)` gives the exit code."""
    plant: str = "psm_classic"
    """A plant file: the name of a shipped one or a path."""
    seed: Annotated[int, Meta(ge=0)] = 1


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm's daemon."""

    arm: ArmConfig
    law: LawConfig
    guard: GuardConfig
    homing: HomingConfig
    driver: DriverConfig = DriverConfig()
    cycle: CycleConfig = CycleConfig()
    motion: MotionConfig = MotionConfig()
    stream: StreamConfig = StreamConfig()
    remote_center: RemoteCenterConfig = RemoteCenterConfig()
    pedal: PedalConfig = PedalConfig()
    rig: RigConfig | None = None
    seal: Seal | None = None
    """What was approved: written by `trocar config seal`; a configuration of a real arm must have one."""

    @property
    def key(self) -> bytes:
        """The key that commands are authenticated with, 16 bytes; zeros where there is none."""
        return bytes.fromhex(Path(self.driver.key_file).read_text().strip()) if self.driver.key_file else bytes(16)

    @property
    def law_budget(self) -> float:
        """S that a call of the law may take; 0: a law of Trocar's own, which is not measured."""
        if ":" not in self.law.name:
            return 0.0
        return self.cycle.period / 2 if self.law.budget is None else self.law.budget


_FOLDER = resources.files("controller") / "configs"


def shipped_configs() -> list[str]:
    """Return the names of the configurations that come with Trocar."""
    return sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))


def load_config(name_or_path: str | Path, *, unsealed: bool = False) -> Config:
    """Return a configuration, checked by itself and against its arm.

    Args:
        name_or_path: The name of a shipped configuration (`shipped_configs`) or the path of a TOML file. Paths inside
            the file are taken from the file's own folder.
        unsealed: Take a file whose seal is broken or missing, to look at it or to seal it.

    Raises:
        ConfigError: The file is absent or no TOML, or a key in it is wrong; the message names file, key, value, what
            is allowed and what to do. Also, with the key, where it was changed since it was sealed, or where a
            configuration of a real arm has no seal.
    """
    text, source = read_config(name_or_path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is no valid TOML: {error}. Correct that line.") from error
    if unsealed:
        data.pop("seal", None)
    else:
        check_seal(source, data, named_files(source, data))
    for key, value in _floats("", data):
        if not math.isfinite(value):
            raise _error(source, key, value, "a finite number", "Correct the value")
    if isinstance(data.get("law"), str):
        remedy = (
            f'Every law begins from joint PD and is stopped by it: write [law], name = "{data["law"]}" and its gains'
        )
        raise _error(source, "law", data["law"], "a section with name, kp and kd", remedy)
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise _explain(source, data, error) from error
    check_config(config, source)
    if config.rig is None and config.seal is None and not unsealed:
        raise ConfigError(
            f"{source}: [seal] is missing: the configuration of a real arm is sealed by whoever approved it. "
            f"Have it approved, then: trocar config seal {source}."
        )
    return _resolve_paths(config, Path(source).parent)


def check_config(config: Config, source: str = "the configuration") -> None:
    """Check what no single key can: the keys against one another and against the arm's description.

    Raises:
        ConfigError: As `load_config`.
    """
    from kinematics.description import (  # here, so that a client that only names arms loads no descriptions
        Family,
        load_arm,
    )

    folder = Path(source).parent
    try:
        arm = load_arm(_arm_beside(folder, config.arm.description))
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "kinematics":
            raise
        raise ConfigError(f"{source}: arm.description = {config.arm.description!r} cannot be used: {error}") from error
    if not arm.has_actuators:
        allowed = "an arm whose file has [actuators]: its motors, encoders and gears"
        remedy = f"{arm.title} is kinematics only: add [actuators] to a copy of {arm.path}, or choose another arm"
        raise _error(source, "arm.description", config.arm.description, allowed, remedy)

    n = arm.n_axes
    guard = config.guard
    vectors: dict[str, Sequence[float]] = {
        "law.kp": config.law.kp,
        "law.kd": config.law.kd,
        "guard.following_error": config.guard.following_error,
        "homing.pose": config.homing.pose,
    }
    vectors |= {"guard.residual": guard.residual} if guard.residual is not None else {}
    vectors |= {"guard.sensor_difference": guard.sensor_difference} if guard.sensor_difference is not None else {}
    for key, vector in vectors.items():
        if len(vector) != n:
            names = ", ".join(arm.axis_names)
            raise _error(source, key, list(vector), f"{n} entries, one per axis ({names})", f"Give {n} entries")

    _check_law(config, source)
    record = arm.record[0]
    for i, name in enumerate(arm.axis_names):
        low, high = float(record["position_min"][i]), float(record["position_max"][i])
        if not low <= config.homing.pose[i] <= high:
            allowed = f"{low:g} .. {high:g} for axis {name}"
            raise _error(source, f"homing.pose[{i}]", config.homing.pose[i], allowed, "Choose a pose within the limits")

    _check_guard(guard, source)
    _check_volumes(config, arm, source)
    if config.driver.key_file:
        _check_key_file(source, config.driver.key_file)

    center = config.remote_center
    if math.hypot(*center.shaft_direction) < 1e-9:
        remedy = "Give the direction that the shaft points in, out of the arm"
        raise _error(source, "remote_center.shaft_direction", center.shaft_direction, "a direction, not zero", remedy)
    if center.point is not None and record["family"] != Family.NONE:
        allowed = "nothing where the arm's mechanics keep a remote centre"
        raise _error(source, "remote_center.point", center.point, allowed, "Leave it out")

    cycle, driver, stream = config.cycle, config.driver, config.stream
    if cycle.feedback_timeout < 2 * cycle.period:
        allowed = f"at least two periods, {2 * cycle.period:g} s"
        remedy = "One late reply must not be a fault: raise it, or shorten cycle.period"
        raise _error(source, "cycle.feedback_timeout", cycle.feedback_timeout, allowed, remedy)
    if driver.watchdog < 2 * cycle.period:
        allowed = f"at least two periods, {2 * cycle.period:g} s"
        remedy = "One late command must not stop the arm: raise it, or shorten cycle.period"
        raise _error(source, "driver.watchdog", driver.watchdog, allowed, remedy)
    longest = max(stream.timeout, stream.interpolate_timeout)
    if stream.dead <= longest:
        allowed = f"more than stream.timeout and stream.interpolate_timeout, {longest:g} s"
        raise _error(
            source, "stream.dead", stream.dead, allowed, "The arm holds first, its motors go off later: raise it"
        )
    if config.rig is None and not driver.port:
        raise _error(
            source,
            "driver.port",
            driver.port,
            "a serial device such as /dev/ttyACM0",
            "Name it, or add a [rig] section",
        )
    if config.rig is not None and driver.port:
        raise _error(
            source, "driver.port", driver.port, "nothing where a [rig] provides the port", "Remove one of the two"
        )


def _check_guard(guard: GuardConfig, source: str) -> None:
    """Check the guard's keys against one another."""
    for warn, most, value, limit, unit in (
        ("temperature_warn", "temperature_max", guard.temperature_warn, guard.temperature_max, "degrees Celsius"),
        ("remote_center_warn", "remote_center_max", guard.remote_center_warn, guard.remote_center_max, "m"),
    ):
        if value >= limit:
            allowed = f"less than guard.{most}, {limit:g} {unit}"
            remedy = f"The arm is to be told before it is stopped: lower it, or raise guard.{most}"
            raise _error(source, f"guard.{warn}", value, allowed, remedy)
    for i, volume in enumerate(guard.volume):
        if volume.shape in ("half_space", "cylinder") and math.hypot(*volume.direction) < 1e-9:
            meaning = "from the wall into it" if volume.shape == "half_space" else "along its axis"
            key = f"guard.volume[{i}].direction"
            raise _error(source, key, volume.direction, "a direction, not zero", f"Give the direction {meaning}")


def _check_volumes(config: Config, arm: "ArmDescription", source: str) -> None:
    """Check that the tip may be where homing ends."""
    if not config.guard.volume:
        return
    import numpy as np

    from kinematics.kernels import bound_record, kernels_of

    q, T = np.zeros(8), np.zeros((4, 4))
    q[: arm.n_axes] = config.homing.pose
    kernels_of(arm).forward(bound_record(arm), q, T)
    tip = (float(T[0, 3]), float(T[1, 3]), float(T[2, 3]))
    for i, volume in enumerate(config.guard.volume):
        if volume.contains(tip) != (volume.keep == "inside"):
            place = ", ".join(f"{value:.4g}" for value in tip)
            remedy = "Correct the volume, or homing.pose: the arm could not be homed"
            given = f"{volume.shape}, keep {volume.keep}"
            raise _error(source, f"guard.volume[{i}]", given, f"one that allows the tip at ({place}) m", remedy)


def _check_key_file(source: str, name: str) -> None:
    """Check that the key is one, and its owner's alone."""
    path = Path(name) if Path(name).is_absolute() else Path(source).parent / name
    make = f"Make one: (umask 077; openssl rand -hex 16 > {path})"
    try:
        mode, owner = path.stat().st_mode, path.stat().st_uid
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise _error(source, "driver.key_file", name, f"a file that can be read ({path}: {reason})", make) from error
    if mode & 0o077:
        allowed = f"a file that its owner alone may read, mode 0600, not {mode & 0o777:04o}"
        remedy = f"Whoever has read the key can forge commands: chmod 600 {path}, and better a new key"
        raise _error(source, "driver.key_file", name, allowed, remedy)
    if owner != os.getuid():
        allowed = f"a file of your own (user {os.getuid()}), not of user {owner}"
        raise _error(source, "driver.key_file", name, allowed, "Give it to the user that runs the daemon")
    if re.fullmatch(r"[0-9a-fA-F]{32}", text) is None:
        allowed = f"a file with 32 hexadecimal digits; {path} has {len(text)} characters"  # which is all that we tell
        raise _error(source, "driver.key_file", name, allowed, make)


def _check_law(config: Config, source: str) -> None:
    """Check what can be said of the law without a compiler; the core says the rest before it starts."""
    law = config.law
    place, _, function = law.name.rpartition(":")
    if place and not function.isidentifier():
        raise _error(source, "law.name", law.name, "module:function or file.py:function", "Correct the function's name")
    if not place and law.name not in LAWS:
        allowed = f"{', '.join(LAWS)}, or your own as module:function or file.py:function"
        raise _error(source, "law.name", law.name, allowed, "Correct the name")
    if place.endswith(".py") and not Path(_beside(Path(source).parent, place)).is_file():
        allowed = "an existing file"
        remedy = f"{_beside(Path(source).parent, place)} is not there: correct the path"
        raise _error(source, "law.name", law.name, allowed, remedy)
    if law.budget is not None and law.budget > config.cycle.period:
        raise _error(source, "law.budget", law.budget, f"at most a period, {config.cycle.period:g} s", "Lower it")
    if law.budget is not None and not place:
        raise _error(source, "law.budget", law.budget, "only with a law of your own", "Remove it")
    try:
        for name, value in law.parameters.items():
            check_name(name)
            check_value(f"law.parameters.{name}", value)
    except LawError as error:
        raise ConfigError(f"{source}: law.parameters: {error}") from error


def named_files(source: str, data: dict[str, Any]) -> dict[str, str]:
    """Return the digests of the files that a configuration names, by key: the arm's description, a law of one's own."""
    from kinematics.description import load_arm

    folder, found = Path(source).parent, {}
    description = _value_at(data, "arm.description")
    if isinstance(description, str):
        try:
            found["arm.description"] = load_arm(_arm_beside(folder, description)).digest
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "kinematics":
                raise
            found["arm.description"] = "unusable"  # `check_config` says why
    law = _value_at(data, "law.name")
    if isinstance(law, str) and law.rpartition(":")[0].endswith(".py"):
        found["law.name"] = file_digest(Path(_beside(folder, law.rpartition(":")[0])))
    return found


def read_config(name_or_path: str | Path) -> tuple[str, str]:
    """Return a configuration's text and the path that it comes from.

    Raises:
        ConfigError: There is none.
    """
    name = str(name_or_path)
    shipped = _FOLDER / f"{name}.toml"
    if re.fullmatch(r"\w+", name) and shipped.is_file():
        return shipped.read_text(encoding="utf-8"), str(shipped)
    try:
        return Path(name).read_text(encoding="utf-8"), name
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(
            f"no configuration {name!r} ({reason}): give the path of a TOML file or the name of a shipped "
            f"configuration ({', '.join(shipped_configs())})."
        ) from error


def _explain(source: str, data: dict[str, Any], error: msgspec.ValidationError) -> ConfigError:
    """Return msgspec's complaint in words that name key and value."""
    what, _, path = str(error).partition(" - at `")
    key = _with_index(data, path.rstrip("`").removeprefix("$").lstrip("."))
    unknown = re.fullmatch(r"Object contains unknown field `(.+)`", what)
    missing = re.fullmatch(r"Object missing required field `(.+)`", what)
    if unknown or missing:
        field = (unknown or missing).group(1)  # type: ignore[union-attr]
        struct = _struct_at(key)
        full = f"{key}.{field}" if key else field
        if missing:
            return ConfigError(f"{source}: {full} is missing. Add it; docs/cli.md shows a whole file.")
        allowed = ", ".join(struct.__struct_fields__)
        given = _value_at(data, full)
        return ConfigError(
            f"{source}: {full} = {given!r} is no key that Trocar knows. Allowed here: {allowed}. "
            "Correct the spelling or remove it."
        )
    allowed = what.removeprefix("Expected ").removeprefix("`").replace("`", "")
    return _error(source, key or "(file)", _value_at(data, key), allowed, "Correct the value")


def _struct_at(key: str) -> type[msgspec.Struct]:
    """Return the Struct of a section, or Config for the file itself."""
    section = _type_at(key)
    return next(part for part in (section, *get_args(section)) if isinstance(part, type))


def _type_at(key: str) -> Any:  # noqa: ANN401
    """Return the type that a key such as `guard.volume[0]` must have."""
    kind: Any = Config
    for part in re.findall(r"[^.\[\]]+", key):
        several = [arg for arg in (kind, *get_args(kind)) if get_origin(arg) in (list, tuple, dict)]
        if several:  # an entry of a list or table, also of one that may be left out
            kind = get_args(several[0])[-1]
        else:
            struct = next(arg for arg in (kind, *get_args(kind)) if hasattr(arg, "__struct_fields__"))
            kind = get_type_hints(struct, include_extras=True)[part]
    return kind


def _with_index(data: dict[str, Any], key: str) -> str:
    """Return a key with the entry of the list or table that is wrong: msgspec writes `law.kp[...]`."""
    place, dots, rest = key.partition("[...]")
    entries = _value_at(data, place)
    if not dots or not isinstance(entries, (list, dict)):
        return key
    named = {f"{place}[{i}]": entry for i, entry in enumerate(entries)}
    if isinstance(entries, dict):
        named = {f"{place}.{name}": entry for name, entry in entries.items()}
    for full, entry in named.items():
        try:
            msgspec.convert(entry, _type_at(full))
        except msgspec.ValidationError:
            return full + rest
    return key


def _value_at(data: Any, key: str) -> Any:  # noqa: ANN401
    """Return what the file has at a key such as `law.kp[2]`."""
    for part in re.findall(r"[^.\[\]]+", key):
        if isinstance(data, list) and part == "...":  # msgspec names the list, not the entry
            return data
        try:
            data = data[int(part) if isinstance(data, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return data


def _floats(key: str, value: Any) -> Iterator[tuple[str, float]]:  # noqa: ANN401
    """Yield every float of a file with its key: TOML knows nan and inf, which a range may let pass."""
    if isinstance(value, float):
        yield key, value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _floats(f"{key}.{name}" if key else name, entry)
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from _floats(f"{key}[{i}]", entry)


def _error(source: str, key: str, given: Any, allowed: str, remedy: str) -> ConfigError:  # noqa: ANN401
    return ConfigError(f"{source}: {key} = {given!r}; allowed: {allowed}. {remedy}.")


def _beside(folder: Path, name: str) -> str:
    """Return a path inside a configuration, taken from its folder; the names of shipped files stay as they are."""
    if name.endswith((".toml", ".urdf", ".py")) and not Path(name).is_absolute():
        return str(folder / name)
    return name


def _arm_beside(folder: Path, description: str) -> str:
    """Return ARM or ARM:TOOL, each as `_beside` returns it."""
    return ":".join(_beside(folder, part) for part in description.split(":"))


def _resolve_paths(config: Config, folder: Path) -> Config:
    arm = msgspec.structs.replace(config.arm, description=_arm_beside(folder.resolve(), config.arm.description))
    rig = config.rig and msgspec.structs.replace(config.rig, plant=_beside(folder.resolve(), config.rig.plant))
    place, colon, function = config.law.name.rpartition(":")
    law = msgspec.structs.replace(config.law, name=_beside(folder.resolve(), place) + colon + function)
    driver = config.driver
    if driver.key_file:
        driver = msgspec.structs.replace(driver, key_file=str(folder.resolve() / driver.key_file))
    return msgspec.structs.replace(config, arm=arm, rig=rig, law=law, driver=driver)
