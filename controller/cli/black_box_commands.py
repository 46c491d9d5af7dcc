"""`trocar black-box`: the last seconds before a fault, listed, saved by hand, and shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.options import STATE_STYLES, JsonOption

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from telemetry.recording import Recording

__all__ = ["register"]

AROUND = 0.05  # s before and after the fault in which the largest error is looked for
AT_REST = 1e-3  # rad/s or m/s
GAP = 20  # times the usual time from one cycle to the next
COUNTERS = {"frames_lost": "feedback missing", "frames_bad": "bad frames", "overruns": "late cycles"}
LINES = 40  # of events, and of commands, the newest ones


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, help="The last seconds before a fault: list, save now, show.")
    group.callback()(list_)
    group.command("save")(save)
    group.command("show")(show)
    app.add_typer(group, name="black-box", rich_help_panel="Look and record")


def list_(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the black boxes that were saved, the newest first."""
    if context.invoked_subcommand is not None:
        return
    from controller.black_box import box_folder, list_boxes

    boxes = list_boxes()
    if as_json:
        import json

        typer.echo(json.dumps([saved._asdict() | {"path": str(saved.path)} for saved in boxes]))
        return
    if not boxes:
        typer.echo(f"No black box is in {box_folder()}: no fault was latched. `trocar black-box save` saves one now.")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, padding=(0, 1))
    for title in ("arm", "saved", "because of", "file"):
        table.add_column(title, no_wrap=True)
    table.add_column("MB", justify="right")
    for saved in boxes:
        table.add_row(saved.arm, _local(saved.time), saved.name, saved.path.name, f"{saved.size / 1e6:.1f}")
    console.print(f"In {box_folder()}:", soft_wrap=True)
    console.print(table)
    console.print("Look at one: trocar black-box show FILE; draw it: trocar plot PATH")


def save(
    arm: Annotated[
        str | None, typer.Argument(help="Which arm, running or not; left out: the only one.", metavar="ARM")
    ] = None,
) -> None:
    """Save the last seconds now, also of a daemon that was killed."""
    from controller.black_box import Trigger, take_black_box, write_black_box

    run_dir = _run_dir_of(arm)
    alive = run_dir.is_locked()
    trigger = Trigger("SAVED", text="Somebody asked for it." if alive else "Saved from what a dead daemon left.")
    typer.echo(write_black_box(take_black_box(run_dir, trigger)))


def _run_dir_of(arm: str | None) -> Any:  # noqa: ANN401
    """Return the run directory of an arm that has samples in memory, whoever lives."""
    from controller.errors import BlackBoxError
    from controller.run_dir import RunDir, base_dir

    base = base_dir()
    folders = sorted(path for path in base.iterdir() if (path / "samples").is_file()) if base.is_dir() else []
    names = [path.name for path in folders]
    if arm is None and len(names) == 1:
        arm = names[0]
    if arm in names:
        return RunDir(base / arm)
    if arm is None and names:
        raise BlackBoxError(f"several arms have samples in memory ({', '.join(names)}): say which one.")
    whose = "" if arm is None else f" of arm {arm!r}"
    others = f"There are samples of {', '.join(names)}." if names else "An orderly end leaves nothing behind."
    raise BlackBoxError(f"there is nothing to save{whose} in {base}. {others}")


def show(
    file: Annotated[
        Path | None, typer.Argument(help="A file, or its name in the folder; left out: the newest.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what happened: why it was saved, the events, the commands, what each axis did, what to do."""
    from rich.console import Console

    from controller.black_box import open_box

    recording = open_box(file)
    if as_json:
        import json

        story: dict[str, Any] = {"file": str(recording.path), "metadata": _readable(recording.metadata)}
        story |= {"events": _events(recording), "commands": _commands(recording), "axes": _axes(recording)}
        typer.echo(json.dumps(story, ensure_ascii=False))
        return
    console = Console()
    _show_head(console, recording)
    _show_events(console, _events(recording))
    _show_commands(console, _commands(recording))
    _show_axes(console, recording)


def _readable(metadata: dict[str, str]) -> dict[str, Any]:
    import json

    whole: dict[str, Any] = dict(metadata)
    for key in ("config", "descriptor", "versions", "core"):
        if metadata.get(key):
            whole[key] = json.loads(metadata[key])
    return whole


def _local(time: str) -> str:
    from datetime import datetime

    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _zero(recording: "Recording") -> int:
    """Return the arm's time of the fault, or of what else the box was saved for."""
    return int(recording.metadata["t_ns"])


def _events(recording: "Recording") -> list[dict[str, Any]]:
    """Return what happened, by the samples: t is s from the fault."""
    import numpy as np

    from controller.commands import explain
    from controller.figures import figures_of
    from telemetry.sample import OperatingState

    samples, zero = recording.samples, _zero(recording)
    names, kinds = recording.axes, recording.axis_kinds
    found: list[dict[str, Any]] = []

    def tell(i: int, what: str, code: int = 0) -> None:
        t = (int(samples["t_ns"][i]) - zero) * 1e-9
        figures = figures_of(samples[i], code, names, kinds) if code else ""
        found.append({"t": t, "cycle": int(samples["sequence"][i]), "what": what, "code": code, "figures": figures})

    if len(samples) < 2:
        return found
    state, fault = samples["state"].astype(int), samples["fault"].astype(int)
    status, event = samples["device_status"], samples["event"].astype(int)
    steps = np.diff(samples["t_ns"])
    stood = np.append(False, steps > GAP * np.median(steps))
    runs = {words: _runs(np.append(0, np.diff(samples[field].astype(np.int64)))) for field, words in COUNTERS.items()}
    starts = {i for run in runs.values() for i in run}
    changed = [np.append(False, np.diff(values) != 0) for values in (state, fault, status, event)]
    for i in sorted({*np.flatnonzero(np.logical_or.reduce([*changed, stood])).tolist(), *starts}):
        if stood[i]:
            tell(i, f"no cycle for {steps[i - 1] * 1e-6:.0f} ms before this one")
        if event[i] and event[i] != event[i - 1]:
            tell(i, explain(int(event[i])).name, int(event[i]))
        if fault[i] != fault[i - 1] and fault[i] != event[i]:
            tell(i, f"fault {explain(int(fault[i])).name}" if fault[i] else "fault cleared", int(fault[i]))
        if state[i] != state[i - 1]:
            tell(i, f"{OperatingState(state[i - 1]).name} -> {OperatingState(state[i]).name}")
        if status[i] != status[i - 1]:
            tell(i, f"device: {_bits(int(status[i]), int(status[i - 1]))}")
        for words, run in runs.items():
            if i in run:
                count, cycles = run[i]
                tell(i, f"{words}: {count}" + (f" in {cycles} cycles" if cycles > 1 else ""))
    return found


def _runs(rises: "np.ndarray[Any, Any]") -> dict[int, tuple[int, int]]:
    """Return where a counter began to rise, by how much it then rose in a row, and in how many cycles."""
    import numpy as np

    edges = np.diff(np.concatenate(([0], rises > 0, [0])).astype(int))
    begins, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    return {int(a): (int(rises[a:b].sum()), int(b - a)) for a, b in zip(begins, ends, strict=True)}


def _bits(now: int, before: int) -> str:
    from drivers.driver import Status

    changes = [f"+{bit.name}" for bit in Status if now & bit and not before & bit]
    changes += [f"-{bit.name}" for bit in Status if before & bit and not now & bit]
    return " ".join(changes)


def _commands(recording: "Recording") -> list[dict[str, Any]]:
    """Return the commands that were posted; those of a stream that follow one another in one entry."""
    import numpy as np

    from controller.catalogue import Code
    from controller.mailbox import VERB, Operation, Verb

    inputs = recording.records.get("input")
    if inputs is None:
        return []
    samples, zero = recording.samples, _zero(recording)
    taken = {int(samples["command_id"][i]): i for i in np.flatnonzero(samples["command_id"])}
    told: list[dict[str, Any]] = []
    for record in inputs:
        operation = int(record["operation"])
        name = Operation(operation).name.lower() if operation in Operation.__members__.values() else str(operation)
        at = taken.get(int(record["id"]))
        verdict = "not taken" if at is None else "accepted"
        if at is not None and samples["verdict"][at]:
            code = int(samples["verdict"][at])
            verdict = Code(code).name if code in Code.__members__.values() else str(code)
        entry = {
            "t": (int(record["t_ns"]) - zero) * 1e-9,
            "id": int(record["id"]),
            "operation": name,
            "count": 1,
            "client": record["client"].decode(errors="replace"),
            "pid": int(record["client_pid"]),
            "arguments": _arguments(record, operation, recording.axes),
            "verdict": verdict,
        }
        last = told[-1] if told else None
        streams = VERB[operation] in (Verb.SERVO, Verb.INTERPOLATE)
        if streams and last and all(last[key] == entry[key] for key in ("operation", "client", "verdict")):
            last |= {"count": last["count"] + 1, "until": entry["t"], "arguments": entry["arguments"]}
        else:
            told.append(entry)
    return told


def _arguments(record: "np.void", operation: int, axes: tuple[str, ...]) -> str:
    import math

    from controller.mailbox import IS_CARTESIAN, VERB, Group, Operation, Verb

    if operation == Operation.SPEED_RATIO:
        return f"{record['speed']:g}"
    if operation == Operation.SET_LAW_PARAMETERS:
        return "[" + " ".join("·" if math.isnan(value) else f"{value:g}" for value in record["parameters"]) + "]"
    parts = []
    count = int(record["n_axes"])
    vector = ", ".join(f"{value:.4g}" for value in record["vector"][:count])
    if count:
        parts.append(f"jaw {vector}" if record["group"] == Group.JAW else f"({vector})")
    elif VERB[operation] and IS_CARTESIAN[operation]:
        x, y, z = (1e3 * value for value in record["pose"][:3, 3])
        parts.append(f"tip ({x:.2f}, {y:.2f}, {z:.2f}) mm")
    if record["n_via"]:
        parts.append(f"{record['n_via']} via points")
    if VERB[operation] == Verb.MOVE and record["speed"] != 1.0:
        parts.append(f"speed {record['speed']:g}")
    if IS_CARTESIAN[operation] and not math.isnan(record["jaw"]):
        parts.append(f"jaw {record['jaw']:.4g} rad")
    if operation == Operation.SET_REMOTE_CENTER and not count:
        parts.append("released")
    return ", ".join(parts)


def _axes(recording: "Recording") -> list[dict[str, Any]]:
    """Return what each axis did: at the fault, the most around it, and until it rested."""
    import numpy as np

    samples, zero = recording.samples, _zero(recording)
    t = (samples["t_ns"] - zero) * 1e-9
    at = min(int(np.searchsorted(t, 0.0)), len(t) - 1)
    near = np.flatnonzero(np.abs(t) <= AROUND)
    near = near if len(near) else np.array([at])
    told = []
    for i, (name, kind) in enumerate(zip(recording.axes, recording.axis_kinds, strict=True)):
        position, velocity = samples["measured_position"][:, i], samples["measured_velocity"][:, i]
        error = position - samples["setpoint_position"][:, i]
        moving = np.flatnonzero((np.abs(velocity) > AT_REST) & (t >= 0.0))
        rests = 0.0 if not len(moving) else float(t[moving[-1]])
        told.append(
            {
                "axis": name,
                "kind": kind,
                "position": float(position[at]),
                "error": float(error[at]),
                "error_max": float(np.abs(error[near]).max()),
                "velocity": float(velocity[at]),
                "effort": float(samples["measured_effort"][at, i]),
                "effort_max": float(np.abs(samples["measured_effort"][near, i]).max()),
                "moved_after": float(position[-1] - position[at]),
                "rest_after": None if len(moving) and moving[-1] == len(t) - 1 else rests,
            }
        )
    return told


def _show_head(console: "Console", recording: "Recording") -> None:
    from rich.markup import escape

    from controller.figures import figures_of

    metadata, samples = recording.metadata, recording.samples
    table = _grid()
    pace = " in lock-step" if recording.lockstep else ""
    table.add_row("arm", f"[bold]{escape(recording.arm)}[/]{pace}, {escape(metadata.get('description', ''))}")
    table.add_row("saved", _local(metadata["saved"]))
    code = f" ({metadata['code']})" if metadata.get("code", "0") != "0" else ""
    table.add_row("because of", f"[bold red]{escape(metadata['black_box'])}[/]{code}")
    if metadata.get("cause"):
        table.add_row("", escape(metadata["cause"]))
    with_fault = [sample for sample in samples[-1:] if sample["fault"]]
    if with_fault and str(int(with_fault[0]["fault"])) == metadata.get("code"):
        figures = figures_of(with_fault[0], int(with_fault[0]["fault"]), recording.axes, recording.axis_kinds)
        if figures:
            table.add_row("", escape(figures))
    if metadata.get("remedy"):
        table.add_row("remedy", escape(metadata["remedy"]))
    zero = _zero(recording)
    first, last = (int(samples["t_ns"][0]) - zero) * 1e-9, (int(samples["t_ns"][-1]) - zero) * 1e-9
    whole = "" if recording.complete else ", [red]not whole[/]"
    gaps = sum(gap.missing for gap in recording.gaps)
    missing = f", {gaps} missing" if gaps else ""
    table.add_row("samples", f"{len(samples)}, {first:+.3f} .. {last:+.3f} s{missing}{whole}; t = 0 is the fault")
    console.print(table)


def _grid() -> "Table":
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right", no_wrap=True)
    table.add_column()
    return table


def _show_events(console: "Console", events: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from telemetry.sample import OperatingState

    console.print(f"\n[bold]Events[/]{_left_out(events)}")
    if not events:
        console.print("  none")
        return
    table = Table(box=None, padding=(0, 1))
    for title in ("t / ms", "cycle"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("what")
    for event in events[-LINES:]:
        after = event["what"].rpartition(" -> ")[2]
        style = STATE_STYLES.get(after, "") if after in OperatingState.__members__ else ""
        what = event["what"] + (f": {event['figures']}" if event["figures"] else "")
        table.add_row(f"{event['t'] * 1e3:+.1f}", str(event["cycle"]), Text(what, style=style))
    console.print(table)


def _show_commands(console: "Console", commands: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(f"\n[bold]Commands[/]{_left_out(commands)}")
    if not commands:
        console.print("  none in this time")
        return
    table = Table(box=None, padding=(0, 1))
    for title in ("t / ms", "id"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("command", "client", "arguments", "verdict"):
        table.add_column(title)
    for command in commands[-LINES:]:
        many = f" ×{command['count']} until {command['until'] * 1e3:+.1f}" if command["count"] > 1 else ""
        who = f"{command['client'] or '?'} ({command['pid']})"
        style = "" if command["verdict"] == "accepted" else "yellow"
        row = (command["operation"] + many, who, command["arguments"])
        cells = [Text(text) for text in row]
        table.add_row(f"{command['t'] * 1e3:+.1f}", str(command["id"]), *cells, Text(command["verdict"], style=style))
    console.print(table)


def _left_out(entries: list[dict[str, Any]]) -> str:
    return f" (the newest {LINES} of {len(entries)}; --json has all)" if len(entries) > LINES else ""


def _show_axes(console: "Console", recording: "Recording") -> None:
    from rich.table import Table

    near = f"the most within {AROUND * 1e3:g} ms of it"
    console.print(f"\n[bold]Axes[/]: position and velocity at t = 0; off the set-point and effort, {near}; afterwards")
    table = Table(box=None, padding=(0, 1))
    table.add_column("axis", no_wrap=True)
    titles = ("position", "off by", "velocity", "effort", "moved on", "rests")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for axis in _axes(recording):
        linear = axis["kind"] == "prismatic"
        scale, digits, unit, effort = (1e3, 2, "mm", "N") if linear else (1.0, 4, "rad", "N·m")
        rest = "moves on" if axis["rest_after"] is None else f"{axis['rest_after'] * 1e3:.0f} ms"
        table.add_row(
            axis["axis"],
            f"{axis['position'] * scale:.{digits}f} {unit}",
            f"{axis['error_max'] * scale:.{digits}f}",
            f"{axis['velocity'] * scale:+.{digits - 1}f} {unit}/s",
            f"{axis['effort_max']:.3f} {effort}",
            f"{axis['moved_after'] * scale:+.{digits}f}",
            rest,
        )
    console.print(table)
