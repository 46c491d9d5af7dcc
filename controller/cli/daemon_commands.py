"""Commands around the daemon: up, down, status, arms."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.options import STATE_STYLES, ArmOption, JsonOption, connected

if TYPE_CHECKING:
    from rich.table import Table

    from controller.commands import Status

__all__ = ["register"]

REAL_WATCHDOG = 0.01  # s; a longer one is for an ordinary host and an emulated arm
DOWN_TIMEOUT = 20.0  # s: the sum of what the processes may take to end, and a little


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status, arms):
        app.command(rich_help_panel="Run the daemon")(command)


def up(
    config: Annotated[str, typer.Argument(help="A shipped configuration (psm_emulated, ...) or a TOML file.")],
    lockstep: Annotated[bool, typer.Option("--lockstep", help="Virtual time, moved by clients: repeatable.")] = False,
    record: Annotated[Path | None, typer.Option("--record", help="Record into this file.", metavar="FILE")] = None,
) -> None:
    """Start the daemon of an arm and stay until Ctrl-C: then the arm is brought to rest and switched off."""
    from controller.config import load_config
    from controller.daemon import Daemon
    from controller.errors import DaemonError

    begun = time.monotonic()
    daemon = Daemon(load_config(config), lockstep=lockstep, recording=record)
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        daemon.request_stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    with daemon:
        name = daemon.config.arm.name
        pace = "in lock-step" if lockstep else f"at {1.0 / daemon.config.cycle.period:g} Hz"
        typer.echo(f"{name} is up {pace} after {time.monotonic() - begun:.1f} s ({daemon.run_dir.path}).")
        for warning in _warnings(daemon.run_dir.core):
            typer.echo(f"trocar: warning: {warning}", err=True)
        typer.echo("Next, in another terminal: trocar enable; trocar home. Ctrl-C here ends it.")
        while not daemon.wait(0.2):
            pass
    if asked:
        typer.echo(f"{name} is down.")
    else:
        raise DaemonError(daemon.failure or "the daemon ended without a reason: see the logs.")


def _warnings(core: Path) -> list[str]:
    import json

    try:
        return [str(warning) for warning in json.loads(core.read_text(encoding="utf-8")).get("warnings", [])]
    except (OSError, ValueError):
        return []


def down(arm: ArmOption = None) -> None:
    """Stop a running daemon: arm to rest, motors off, processes ended."""
    from controller.errors import DaemonError
    from controller.run_dir import find_daemon

    run_dir, descriptor = find_daemon(arm)
    os.kill(descriptor.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_TIMEOUT
    while run_dir.is_locked():
        if time.monotonic() > deadline:
            raise DaemonError(
                f"the daemon of {descriptor.arm} (process {descriptor.pid}) has not ended within {DOWN_TIMEOUT:g} s: "
                f"kill -9 {descriptor.pid} ends it, and the motor controllers' watchdog stops the arm."
            )
        time.sleep(0.02)
    typer.echo(f"{descriptor.arm} is down.")


def status(arm: ArmOption = None, as_json: JsonOption = False) -> None:
    """Show state, fault with remedy, lease, timing and recorder of a running arm."""
    with connected(arm, "status") as connection:
        found = connection.status()
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(found).decode())
    else:
        _show_status(found)


def _show_status(s: "Status") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from telemetry.sample import OperatingState

    state = OperatingState(s.state).name
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    table.add_row("arm", f"[bold]{s.arm}[/]{' in lock-step' if s.lockstep else ''}")
    busy = ", busy" if s.is_busy else ""
    table.add_row("state", f"[{STATE_STYLES[state]}]{state}[/], {'homed' if s.is_homed else 'not homed'}{busy}")
    if s.fault is not None:
        table.add_row("fault", f"[red]{s.fault.name}[/]: {escape(s.fault.cause)}")
        if s.fault.figures:
            table.add_row("", escape(s.fault.figures))
        table.add_row("remedy", s.fault.remedy)
    age = "[red]" if s.age > 1.0 else ""
    table.add_row("newest sample", f"cycle {s.sequence}, {age}{s.age * 1e3:.0f} ms old{'[/]' if age else ''}")
    lost = f"{s.overruns} overruns, {s.frames_lost} frames lost, {s.frames_bad} bad, "
    table.add_row("so far", f"{lost}{s.counters.get('samples_lost', 0)} samples lost by the gateway")
    holder = s.lease
    who = "free" if holder is None else f"{holder.name} (process {holder.pid}, {holder.user})"
    table.add_row("lease", who)
    watchdog = s.settings.get("watchdog", 0.0)
    remark = ", chosen for an ordinary host: should it die, the motors go on for so long"
    long = watchdog > REAL_WATCHDOG
    table.add_row("watchdog", f"[yellow]{watchdog * 1e3:g} ms[/]{remark}" if long else f"{watchdog * 1e3:g} ms")
    table.add_row(
        "limits",
        ", ".join(f"{key.replace('_', ' ')} {value:g} s" for key, value in s.settings.items() if key != "watchdog"),
    )
    if s.law is not None:
        values = ", ".join(f"{name} {value}" for name, value in s.law.parameters.items())
        table.add_row("law", f"{s.law.name}{': ' if values else ''}{escape(values)}")
    if s.core is not None:
        table.add_row("core", f"process {s.core.get('pid')}, {s.core.get('scheduler')}, CPU {s.core.get('cpu')}")
        if not s.lockstep:
            late, faults = float(s.core.get("wakeup_max") or 0.0) * 1e6, s.core.get("page_faults")
            table.add_row("", f"woken {late:.0f} µs late in the trial, {0 if faults is None else faults} page faults")
        device = s.core.get("device") or {}
        table.add_row("device", ", ".join(f"{key} {value}" for key, value in device.items()))
        for warning in s.core.get("warnings") or []:
            table.add_row("[yellow]warning[/]", str(warning))
    if s.black_box is not None:
        _add_black_box(table, s.black_box)
    if s.recorder is not None:
        lost_records = sum((s.recorder.get("lost") or {}).values())
        error = f", [red]{s.recorder.get('error')}[/]" if s.recorder.get("error") else ""
        size = int(s.recorder.get("bytes") or 0) / 1e6
        table.add_row("recorder", f"{s.recorder.get('file')}, {size:.1f} MB, {lost_records} records lost{error}")
    Console().print(table)


def _add_black_box(table: "Table", box: dict[str, Any]) -> None:
    from rich.markup import escape

    newest = f"{box.get('name')}: {box.get('newest')}" if box.get("newest") else "no fault was latched yet"
    if box.get("folder") == "off":
        newest = "off, as TROCAR_BLACK_BOX_DIR says"
    missed = f", {box.get('missed')} faults without one: they came too fast" if box.get("missed") else ""
    table.add_row("black box", f"{escape(newest)}{missed}")
    if box.get("error"):
        table.add_row("", f"[red]{escape(str(box['error']))}[/]")


def arms(as_json: JsonOption = False) -> None:
    """List the arms that run, and those that are shipped with their tools, axes and limits."""
    from controller.config import shipped_configs
    from controller.run_dir import running_daemons
    from kinematics.description import load_arm, load_tool, shipped_arms, shipped_tools

    running = running_daemons()
    shipped = {name: load_arm(name) for name in shipped_arms()}
    tools = {name: shipped_tools(name) for name in shipped}
    if as_json:
        import msgspec

        descriptions = {
            name: {
                "title": arm.title,
                "name": arm.name,
                "tools": {tool: load_tool(tool).title for tool in tools[name]},
                "has_actuators": arm.has_actuators,
                "axes": arm.file.axes,
            }
            for name, arm in shipped.items()
        }
        listing = {"running": running, "configurations": shipped_configs(), "descriptions": descriptions}
        typer.echo(msgspec.json.encode(listing).decode())
        return

    from rich.console import Console
    from rich.table import Table

    console = Console()
    for daemon in running:
        pace = "lock-step" if daemon.lockstep else f"{1.0 / daemon.period:g} Hz"
        console.print(f"[bold green]{daemon.arm}[/] runs: {daemon.description}, {pace}, process {daemon.pid}")
    if not running:
        console.print("No arm runs. Start one: trocar up psm_emulated")
    console.print(f"Configurations: {', '.join(shipped_configs())}")
    for name, arm in shipped.items():
        console.print(f"[bold]{arm.name}[/]: {arm.title}", soft_wrap=True)
        table = Table(box=None, padding=(0, 1))
        table.add_column("axis", no_wrap=True)
        for title in ("from", "to", "velocity", "effort"):
            table.add_column(title, justify="right", no_wrap=True)
        for axis in arm.file.axes:
            unit, effort = ("rad", "N·m") if axis.type == "revolute" else ("m", "N")
            table.add_row(
                axis.name,
                f"{axis.position_min:.4g} {unit}",
                f"{axis.position_max:.4g} {unit}",
                f"{axis.velocity_max:.4g} {unit}/s",
                f"{axis.effort_max:.4g} {effort}",
            )
        console.print(table)
        if not arm.has_actuators:
            console.print("Kinematics only: no daemon can drive it.")
        if tools[name]:
            console.print(f"Tools, as {name}:TOOL: {', '.join(tools[name])}")
