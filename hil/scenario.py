"""Scenario files: what is set up, how the arm moves, what befalls it, and what must come of it. docs/scenarios.md.

A file holds one scenario, or several that share most of it: each `[[variant]]` is laid over the rest of the file and
becomes a scenario of its own, named FILE/VARIANT.
"""

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from controller.catalogue import Code
from controller.config import Config, check_config, load_config
from controller.errors import ConfigError
from hil.fault_catalogue import fault_names
from hil.faults import HilError

__all__ = [
    "ClientAction",
    "Expectation",
    "FaultAction",
    "HostAction",
    "Limits",
    "Motion",
    "Onset",
    "Scenario",
    "ScenarioError",
    "Setup",
    "When",
    "load_scenarios",
    "make_config",
    "parse_scenarios",
    "shipped_scenarios",
]

Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Cycles = Annotated[int, Meta(ge=1)]
Drawn = int | float | list[float] | dict[str, Any] | str
"""A value, "any", a range [low, high], or { one_of = [...] }: drawn anew for every run."""


class ScenarioError(HilError, ValueError):
    """A scenario that cannot be run; the message names file, key, what was given and what is allowed."""


class Setup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is there when the motion begins."""

    config: str = "psm_emulated_strict"
    """A daemon's configuration: the name of a shipped one, or a path."""
    overrides: dict[str, Any] = {}
    """Keys of the configuration that differ, section by section."""
    state: Literal["refused", "disabled", "enabled", "homed"] = "homed"
    """refused: the configuration itself is at fault, and nothing must start."""
    pose: list[float] | None = None
    """Where a homed arm begins, rad or m; left out: its homing pose."""
    depth: Positive | None = None
    """m. For an arm without a remote centre of its own: it is set so far from the tip up the shaft."""
    before: list[str] = []
    """Faults in force from the beginning, as `name key=value ...`."""


class Motion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the arm does meanwhile; hil.scenario_motion has the kinds."""

    kind: Literal[
        "hold",
        "joint_moves",
        "limit_moves",
        "tip_circle",
        "tip_line",
        "servo_at_limits",
        "insertion",
        "joint_line",
        "homing",
        "enabling",
    ] = "joint_moves"
    duration: Positive = 1.0
    """s. The fault falls within."""
    speed: Positive = 1.0
    """joint_*, insertion, servo_at_limits: part of the joints' limits; tip_*: m/s."""
    direction: tuple[float, float, float] = (0.0, 0.0, -1.0)
    """tip_line: of the tip, in the base frame."""
    axis: Annotated[int, Meta(ge=0, le=7)] = 0
    """joint_line: which joint."""
    period: Annotated[int, Meta(ge=1, le=50)] = 2
    """Streams: cycles from one command to the next."""


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When in the motion it happens: drawn for each run, in steps of 250 us."""

    after: NotNegative = 0.0
    """s after the motion has begun, at the earliest."""
    before: Positive | None = None
    """s, at the latest; left out: the motion's end."""


class FaultAction(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of the arm: a name of `trocar hil faults`, and its parameters beside it."""

    name: str
    parameters: dict[str, Any] = {}
    clear_after: Cycles | None = None
    """Cycles after which it is taken away again."""


class ClientAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the client does wrong."""

    kind: Literal["silent", "not_finite", "jump", "clutch", "command"]
    count: Cycles = 1
    """not_finite: so many commands in a row."""
    by: Drawn = 0.0
    """jump, clutch: rad or m, of one joint; in a tip stream, m along x."""
    axis: Drawn = "any"
    pause: Cycles = 600
    """clutch: cycles that the arm is paused."""
    command: str = "move_jp"
    """command: which."""
    position: list[float] | None = None
    """command: of a joint goal."""


class HostAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of the host's process."""

    kind: Literal["stall", "late", "dead", "port_closed"]
    cycles: Drawn = 1
    """stall: so many periods pass without it."""
    count: Cycles = 3
    """late: so many cycles begin a period late,"""
    every: Cycles = 5
    """each so many after the one before."""


class Onset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when on the time to the reaction counts."""

    kind: Literal["applied", "moved", "last_command", "off_center", "code"] = "applied"
    """applied: the fault is in force; moved: the joint has moved by `by` since then; last_command: the stream's last
    command had been taken; off_center: the measured joints put the shaft `by` from the remote centre; code: the sample
    that names it (limits alone count)."""
    by: Positive | list[float] = 0.001
    """moved, off_center: rad or m; a list has one entry per axis."""
    axis: int | None = None
    """moved: which joint; left out: the fault's."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may happen meanwhile."""

    travel_mm: Positive | None = None
    """Of the true tip, from the onset until the torque is gone or the arm rests."""
    overshoot_mm: Positive | None = None
    """Of the true tip beyond the walls of the configuration."""
    deviation_mm: Positive | None = None
    """Of the true tip from where it would be without the fault, until the torque is gone."""
    remote_center_mm: Positive | None = None
    """Of the instrument's true axis from the remote centre, until the torque is gone."""
    joint_speed: Positive | None = None
    """Of the true joints, in parts of their velocity limits."""


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must come of it."""

    reaction: Literal["torque_off", "hold", "ramp_off", "stop", "limited", "refused", "none"]
    """torque_off: S0; ramp_off: S1; hold: S2; stop: any of them; limited: the command is cut down to what is allowed,
    and told so, while the arm stays enabled; refused: what was asked for does not happen; none: no effect."""
    codes: list[str] = []
    """Names of the catalogue, one of which must be given."""
    bound: Cycles | None = None
    """Cycles from the onset: torque_off: to zero torque; hold, ramp_off: to the cycle in which the reaction begins."""
    watchdog: bool = False
    """The bound is the motor controllers' watchdog of the configuration, in their own time."""
    complete_within: Cycles = 1500
    """hold: cycles from the onset to rest; ramp_off: to zero torque."""
    onset: Onset = Onset()
    limits: Limits = Limits()
    message: str = ""
    """refused configurations: what the message must name."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scenario."""

    title: str
    hazards: Annotated[list[Annotated[str, Meta(pattern="^H[0-9]+$")]], Meta(min_length=1)]
    """Ids of the hazard log."""
    expect: Expectation
    setup: Setup = Setup()
    motion: Motion = Motion()
    when: When = When()
    fault: FaultAction | None = None
    client: ClientAction | None = None
    host: HostAction | None = None
    seed: int | None = None
    """Of the arm's noise; left out: the run's."""
    name: str = ""
    source: str = ""
    """Set by `load_scenarios`: the file that it is from."""


_FOLDER = resources.files("hil") / "scenarios"


def shipped_scenarios() -> list[Scenario]:
    """Return the scenarios that come with Trocar, by name."""
    found: list[Scenario] = []
    for entry in sorted(_FOLDER.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            found += parse_scenarios(entry.read_text(encoding="utf-8"), entry.name.removesuffix(".toml"), str(entry))
    return found


def load_scenarios(path: str | Path) -> list[Scenario]:
    """Return the scenarios of a file.

    Raises:
        ScenarioError: It is absent or no scenario; the message names file, key, value and what is allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ScenarioError(f"no scenario {path} ({reason}): give a TOML file") from error
    return parse_scenarios(text, path.stem, str(path))


def parse_scenarios(text: str, name: str, source: str) -> list[Scenario]:
    """Return the scenarios in the text of a file.

    Args:
        text: TOML.
        name: The first part of their names.
        source: What messages call the file.

    Raises:
        ScenarioError: As `load_scenarios`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source} is no valid TOML: {error}. Correct that line.") from error
    variants = data.pop("variant", None)
    if variants is None:
        return [_make(data, name, source, "")]
    if not isinstance(variants, list) or not variants or not all(isinstance(each, dict) for each in variants):
        raise ScenarioError(f"{source}: variant; allowed: sections [[variant]], each with a name")
    found = []
    for i, variant in enumerate(variants):
        label = variant.pop("name", None)
        if not isinstance(label, str) or not re.fullmatch(r"[a-z0-9_]+", label):
            raise ScenarioError(f"{source}: variant[{i}].name = {label!r}; allowed: small letters, digits and _")
        found.append(_make(_laid_over(data, variant), f"{name}/{label}", source, f"variant {label}: "))
    names = [scenario.name for scenario in found]
    for each in names:
        if names.count(each) > 1:
            raise ScenarioError(f"{source}: variant.name = {each.partition('/')[2]!r} is given twice")
    return found


def _make(data: dict[str, Any], name: str, source: str, where: str) -> Scenario:
    fault = data.get("fault")
    if isinstance(fault, dict) and "parameters" not in fault:
        own = ("name", "clear_after")
        parameters = {key: value for key, value in fault.items() if key not in own}
        fault = {key: value for key, value in fault.items() if key in own} | {"parameters": parameters}
        data = data | {"fault": fault}
    try:
        scenario = msgspec.convert(data, Scenario)
    except msgspec.ValidationError as error:
        raise _explain(source, where, data, error) from error
    scenario = msgspec.structs.replace(scenario, name=name, source=source)
    _check(scenario, f"{source}: {where}")
    return scenario


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return a table laid over another; inner ones likewise, but a fault is taken whole where it names another."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        merges = isinstance(value, dict) and isinstance(old, dict)
        if merges and key == "fault" and value.get("name", old.get("name")) != old.get("name"):  # type: ignore[union-attr]
            merges = False
        result[key] = _laid_over(old, value) if merges else value  # type: ignore[arg-type]
    return result


def _check(scenario: Scenario, where: str) -> None:
    """Check what no single key can."""
    actions = [each for each in (scenario.fault, scenario.client, scenario.host) if each is not None]
    if len(actions) > 1:
        raise ScenarioError(f"{where}fault, client and host are given together; allowed: one of them")
    if scenario.fault is not None and scenario.fault.name not in fault_names():
        raise ScenarioError(
            f"{where}fault.name = {scenario.fault.name!r}; allowed: {', '.join(fault_names())} (`trocar hil faults`)"
        )
    expect = scenario.expect
    for code in expect.codes:
        if code not in Code.__members__:
            raise ScenarioError(
                f"{where}expect.codes has {code!r}; allowed: names of the catalogue, as {Code.FEEDBACK_LOST.name} "
                "(controller/catalogue.py, `trocar explain`)"
            )
    stops = expect.reaction in ("torque_off", "hold", "ramp_off", "stop")
    needs_bound = stops and expect.onset.kind != "code"
    if needs_bound and expect.bound is None and not expect.watchdog:
        raise ScenarioError(f"{where}expect.bound is missing: a reaction {expect.reaction!r} needs one, in cycles")
    if (stops or expect.reaction == "limited") and not expect.codes and not expect.watchdog:
        raise ScenarioError(f"{where}expect.codes is missing: name what must be said of it")
    before = scenario.when.before if scenario.when.before is not None else scenario.motion.duration
    if not scenario.when.after <= before <= scenario.motion.duration:
        raise ScenarioError(
            f"{where}when = {scenario.when.after:g} .. {before:g} s; allowed: a span within the motion's "
            f"{scenario.motion.duration:g} s"
        )
    if scenario.setup.state != "refused":
        make_config(scenario)


def make_config(scenario: Scenario) -> Config:
    """Return the configuration of a scenario, with its overrides.

    Raises:
        ScenarioError: It does not exist, or an override is wrong.
    """
    try:
        config = load_config(scenario.setup.config)
        data = _laid_over(msgspec.to_builtins(config), scenario.setup.overrides)
        config = msgspec.convert(data, Config)
        check_config(config, scenario.setup.config)
    except (ConfigError, msgspec.ValidationError) as error:
        raise ScenarioError(f"{scenario.source}: setup: {error}") from error
    if config.rig is None:
        raise ScenarioError(f"{scenario.source}: setup.config = {scenario.setup.config!r}; allowed: one with a [rig]")
    return config


def _explain(source: str, where: str, data: dict[str, Any], error: msgspec.ValidationError) -> ScenarioError:
    """Return msgspec's complaint in words that name key and value."""
    what, _, path = str(error).partition(" - at `")
    key = path.rstrip("`").removeprefix("$").lstrip(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.+)`", what)
    missing = re.fullmatch(r"Object missing required field `(.+)`", what)
    prefix = f"{source}: {where}"
    if unknown:
        struct = _struct_at(key)
        full = f"{key}.{unknown.group(1)}" if key else unknown.group(1)
        allowed = ", ".join(name for name in struct.__struct_fields__ if name not in ("name", "source"))
        return ScenarioError(f"{prefix}{full} is no key of a scenario; allowed here: {allowed}")
    if missing:
        full = f"{key}.{missing.group(1)}" if key else missing.group(1)
        return ScenarioError(f"{prefix}{full} is missing; docs/scenarios.md shows a whole file")
    value: Any = data
    for part in re.findall(r"[^.\[\]]+", key):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            break
    return ScenarioError(f"{prefix}{key or '(file)'} = {value!r}; allowed: {what.removeprefix('Expected ')}")


def _struct_at(key: str) -> type[msgspec.Struct]:
    """Return the Struct of a section."""
    struct: type[msgspec.Struct] = Scenario
    for part in key.split("."):
        hint = get_type_hints(struct).get(re.sub(r"\[.*", "", part))
        candidates = [each for each in (hint, *get_args(hint)) if isinstance(each, type)]
        structs = [each for each in candidates if issubclass(each, msgspec.Struct)]
        if structs:
            struct = structs[0]
    return struct
