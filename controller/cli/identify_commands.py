"""Commands that find an arm's parameters from recordings: identify."""

import datetime
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.options import JsonOption

if TYPE_CHECKING:
    from kinematics.description import ArmDescription
    from kinematics.identify import Fit, Segment
    from telemetry.recording import Recording

__all__ = ["register", "segments_of"]

FRESH = 3  # cycles that a feedback may be old: single lost frames are no gap


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel="Look and record")(identify)


def identify(
    recording: Annotated[Path, typer.Argument(help="A recording of the arm in motion (.mcap).")],
    arm: Annotated[
        str | None,
        typer.Option(
            "--arm", "-a", help="The arm: a shipped name or a file; default: the recorded one.", metavar="ARM"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write an arm's file with the fitted values.", metavar="FILE"),
    ] = None,
    cutoff: Annotated[float, typer.Option(help="Of the low-pass filter, Hz: above the motion.")] = 10.0,
    robust: Annotated[bool, typer.Option("--robust", help="Give outliers less weight: touches, a hand.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fit masses, rotor inertias and friction of an arm to a recorded motion.

    Every axis should go through most of its range, both ways and at several speeds, free of contact:
    examples/identify_arm.py makes such a motion. A quarter of the recording is not fitted but predicted.
    """
    from kinematics.fitted_file import fitted_arm_toml
    from kinematics.identify import as_json as figures
    from kinematics.identify import identify as fit_dynamics
    from telemetry.recording import load

    if output is not None and output.exists():
        raise typer.BadParameter(f"{output} exists: remove it or give another name", param_hint="--output")
    if output is not None and output.suffix != ".toml":
        raise typer.BadParameter(f"{output} was given: an arm's file ends in .toml", param_hint="--output")
    recorded = load(recording)
    description = _description(recorded, arm)
    segments, period = segments_of(recorded)
    fit = fit_dynamics(description, segments, period, cutoff=cutoff, loss="soft_l1" if robust else "linear")
    if output is not None:
        today = datetime.date.today().isoformat()
        source = f"identified from {recording.name}, {today}; held: {_held(fit)}"
        output.write_text(fitted_arm_toml(description, fit.arm, source), encoding="utf-8")
        _check_written(output)
    if as_json:
        import msgspec

        found = {"recording": str(recording), "arm": description.name, "output": str(output) if output else None}
        typer.echo(msgspec.json.encode(found | figures(fit)).decode())
        return
    _show(fit, description)
    typer.echo(f"Held: {_held(fit)}.")
    for warning in fit.warnings:
        typer.echo(f"trocar: warning: {warning}.", err=True)
    if output is not None:
        typer.echo(f"Written: {output}. A configuration uses it with [arm] description = {str(output.resolve())!r}")


def segments_of(recording: "Recording") -> "tuple[list[Segment], float]":
    """Return the parts of a recording in which the arm's own motors moved it, and the period, s.

    That is: homed, powered, brakes open, feedback fresh, no sample missing.
    """
    import numpy as np

    from drivers.driver import Status
    from kinematics.identify import IdentifyError, Segment
    from telemetry.sample import OperatingState

    s = recording.samples
    needed = int(Status.POWERED | Status.BRAKES_RELEASED | Status.REFERENCED)
    usable = (s["is_homed"] == 1) & ((s["device_status"] & needed) == needed) & (s["feedback_age"] <= FRESH)
    usable &= (s["state"] == OperatingState.ENABLED) | (s["state"] == OperatingState.PAUSED)
    if len(s) < 2 or not usable.any():
        raise IdentifyError(
            f"{recording.path} has no sample of an arm that is homed and powered: start the recording, then "
            "enable, home and move the arm"
        )
    period = float(np.median(np.diff(s["t_ns"]))) * 1e-9
    breaks = np.flatnonzero(np.diff(s["sequence"].astype(np.int64)) != 1) + 1
    edges = np.flatnonzero(np.diff(usable.astype(np.int8))) + 1
    bounds = np.unique(np.concatenate([[0], breaks, edges, [len(s)]]))
    segments = [
        Segment(s["measured_position"][begin:end], s["measured_effort"][begin:end])
        for begin, end in itertools.pairwise(bounds)
        if usable[begin]
    ]
    return segments, period


def _description(recording: "Recording", arm: str | None) -> "ArmDescription":
    """Return the arm asked for; or the one that the recording names; or else the shipped one that has its axes."""
    from kinematics.description import load_arm, shipped_arms

    def refuse(found: str) -> typer.BadParameter:
        return typer.BadParameter(
            f"{found}: say which arm it was, by name or by the path of its file", param_hint="--arm"
        )

    axes = f"the recording of {recording.arm} has the axes {', '.join(recording.axes)}"
    named = arm or recording.metadata.get("description")
    if named:
        try:
            description = load_arm(named)
        except ValueError as error:
            if arm:
                raise
            raise refuse(
                f"the recording names the arm's description {named!r}, which cannot be used ({error})"
            ) from error
        if description.axis_names != recording.axes:
            raise refuse(f"{axes}, but {description.name} has {', '.join(description.axis_names)}")
        return description
    fitting = [found for found in map(load_arm, shipped_arms()) if found.axis_names == recording.axes]
    if len(fitting) != 1:
        raise refuse(f"{axes}, as {', '.join(found.name for found in fitting) or 'none of the shipped arms'}")
    return fitting[0]


def _held(fit: "Fit") -> str:
    fixed = ["gravity", "geometry", "smoothing velocities"]
    if fit.static:
        fixed += ["rotor inertias", "inertias but for what comes with mass"]
    return ", ".join([*fixed, *(f"friction of {place}" for place in fit.held)])


def _check_written(output: Path) -> None:
    """Read the new file as everybody will; take it away again if it cannot be read."""
    from kinematics.description import load_arm

    try:
        load_arm(output.resolve())
    except ValueError:
        output.unlink()
        raise


def _show(fit: "Fit", description: "ArmDescription") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    place = "the actuators" if fit.at_actuators else "the joints"
    title = f"{description.name}: {fit.seconds:g} s, friction at {place}, condition {fit.condition:.0f}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    table.add_column("parameter", no_wrap=True)
    for name in ("old", "fitted", "± 95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("excited?")
    for e in fit.estimates:
        style = None if e.excited else "yellow"
        numbers = (f"{value:.4g}" for value in (e.old, e.fitted, e.half_width))
        table.add_row(e.name, *numbers, "yes" if e.excited else "no", style=style)
    console.print(table)
    console.print("[dim]*: lumped with others that no motion tells apart; --json says which[/]")
    errors = Table(title="Effort in the held-out blocks, rms", title_justify="left", box=None, padding=(0, 1))
    errors.add_column("axis", no_wrap=True)
    for name in ("effort", "error before", "error after", "moments"):
        errors.add_column(name, justify="right", no_wrap=True)
    for axis, kind in zip(fit.errors, description.axis_types, strict=True):
        unit = "N·m" if kind == "revolute" else "N"
        numbers = (f"{value:.3g} {unit}" for value in (axis.effort, axis.before, axis.after))
        errors.add_row(axis.axis, *(numbers if axis.moments else ("-", "-", "-")), str(axis.moments))
    console.print(errors)
