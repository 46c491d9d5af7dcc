"""`trocar hil`: faults injected into an emulated arm, by hand and by the hundred."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.options import ArmOption, JsonOption

if TYPE_CHECKING:
    from hil.scenario import Scenario
    from hil.scenario_run import ScenarioResult, Trace

__all__ = ["register"]

BAD_REQUEST = 2  # exit code: what was asked for is not there

app = typer.Typer(no_args_is_help=True, help="Inject faults into an emulated arm, and prove the reactions to them.")


def register(main: typer.Typer) -> None:
    """Add the commands to `trocar`."""
    main.add_typer(app, name="hil")


def _refuse(message: object) -> typer.Exit:
    typer.echo(f"trocar: {message}", err=True)
    return typer.Exit(BAD_REQUEST)


def _choose(pattern: str) -> "list[Scenario]":
    """Return the scenarios that a pattern means: a file, or shipped ones by name."""
    from fnmatch import fnmatch

    from hil.scenario import ScenarioError, load_scenarios, shipped_scenarios

    try:
        if pattern.endswith(".toml"):
            return load_scenarios(pattern)
        shipped = shipped_scenarios()
    except ScenarioError as error:
        raise _refuse(error) from error
    chosen = [
        scenario
        for scenario in shipped
        if fnmatch(scenario.name, pattern) or scenario.name.partition("/")[0] == pattern or pattern in scenario.hazards
    ]
    if not chosen:
        names = ", ".join(sorted({scenario.name.partition("/")[0] for scenario in shipped}))
        raise _refuse(f"no scenario is called {pattern!r}: there are {names}; or give a file that ends in .toml")
    return chosen


@app.command("run")
def run(
    pattern: Annotated[
        str, typer.Argument(help="Which: a name, a pattern as 'encoder*', a hazard as H4, or a file.")
    ] = "*",
    phases: Annotated[int, typer.Option(min=1, help="Runs of each scenario, each at a phase of its own.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="What phases, parameters and noise are drawn from.")] = 1,
    jobs: Annotated[int, typer.Option(min=0, help="Processes at a time; 0: as many as there are CPUs.")] = 0,
    as_json: JsonOption = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit's XML there.", metavar="FILE")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report there.", metavar="FILE")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Only list the scenarios.")] = False,
) -> None:
    """Inject faults at random phases of a motion, in lock-step, and measure the reactions."""
    import json
    import os
    import time

    from rich.console import Console

    from hil.faults import HilError
    from hil.scenario_report import make_junit, make_table, summary

    scenarios = _choose(pattern)
    if list_them:
        for scenario in scenarios:
            print(f"{scenario.name:40} {' '.join(scenario.hazards):8} {scenario.title}")
        return
    jobs = jobs or len(os.sched_getaffinity(0))
    began = time.monotonic()
    try:
        results = _run_shown(scenarios, phases=phases, seed=seed, jobs=jobs)
    except HilError as error:
        raise _refuse(error) from error
    seconds = time.monotonic() - began
    if junit is not None:
        junit.write_bytes(make_junit(results, seed=seed, seconds=seconds))
    if html is not None:
        _write_html(html, results, phases=phases, seed=seed, seconds=seconds)
    if as_json:
        print(json.dumps(summary(results, phases=phases, seed=seed, seconds=seconds), indent=1))
    else:
        console = Console(width=None if sys.stdout.isatty() else 160)
        console.print(make_table(results))
        runs = sum(len(result.runs) for result in results)
        undetected, late = (sum(result.count(name) for result in results) for name in ("undetected", "late"))
        good = sum(result.is_good for result in results)
        console.print(
            f"{good} of {len(results)} scenarios as they must be; {runs} runs in {seconds:.0f} s, "
            f"{undetected} undetected, {late} late (seed {seed})",
            highlight=False,
        )
    if not all(result.is_good for result in results):
        raise typer.Exit(1)


def _run_shown(scenarios: "list[Scenario]", *, phases: int, seed: int, jobs: int) -> "list[ScenarioResult]":
    """Run with a progress bar on the error stream."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from hil.scenario_run import run_scenarios

    columns = (TextColumn("{task.description:32.32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, auto_refresh=False
    ) as bar:
        total = sum(1 if scenario.setup.state == "refused" else phases for scenario in scenarios)
        task = bar.add_task("starting", total=total)

        def progress(scenario: "Scenario", runs: list[Any]) -> None:
            bar.update(task, description=scenario.name, advance=len(runs))
            bar.refresh()

        return run_scenarios(scenarios, phases=phases, seed=seed, jobs=jobs, progress=progress)


def _write_html(path: Path, results: "list[ScenarioResult]", *, phases: int, seed: int, seconds: float) -> None:
    from hil.scenario import make_config
    from hil.scenario_html import make_html
    from hil.scenario_run import run_once
    from kinematics.description import load_arm

    traces: dict[str, Trace] = {}
    names = {}
    for result in results:
        worst = result.worst
        if worst is not None:
            _, trace = run_once(result.scenario, seed, worst.index)
            if trace is not None:
                traces[result.scenario.name] = trace
                arm = load_arm(make_config(result.scenario).arm.description)
                names[result.scenario.name] = arm.axis_names
    path.write_text(
        make_html(results, traces, phases=phases, seed=seed, seconds=seconds, axis_names=names), encoding="utf-8"
    )


@app.command("faults")
def faults(as_json: JsonOption = False) -> None:
    """List the faults that can be injected, with their parameters."""
    import json

    from rich.console import Console
    from rich.table import Table

    from hil.fault_catalogue import CATALOGUE

    if as_json:
        listed = {
            entry.name: {
                "group": entry.group,
                "meaning": entry.meaning,
                "parameters": {
                    each.name: {
                        "allowed": each.allowed,
                        "required": each.is_required,
                        "default": None if each.is_required else each.default,
                        "meaning": each.meaning,
                    }
                    for each in entry.parameters.values()
                },
            }
            for entry in CATALOGUE.values()
        }
        print(json.dumps(listed, indent=1))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("fault", "what it does", "parameters"):
        table.add_column(heading, overflow="fold")
    for entry in CATALOGUE.values():
        parameters = []
        for each in entry.parameters.values():
            default = "" if each.is_required else f" ({str(each.default).lower()})"
            parameters.append(f"{each.name}{default}: {each.allowed}")
        table.add_row(entry.name, entry.meaning, "; ".join(parameters))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@app.command("inject")
def inject(
    name: Annotated[str | None, typer.Argument(help="Which fault: `trocar hil faults` lists them.")] = None,
    parameters: Annotated[list[str] | None, typer.Argument(help="Its parameters.", metavar="KEY=VALUE...")] = None,
    at: Annotated[float | None, typer.Option(help="s of the arm's time from which it is in force.")] = None,
    after: Annotated[float | None, typer.Option(help="s from now.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take the fault away; without a name, all faults.")] = False,
    arm: ArmOption = None,
) -> None:
    """Inject a fault into the running emulated arm, now or at a time."""
    from controller.run_dir import find_daemon
    from hil import fault_catalogue
    from hil.faults import FaultError, Faults

    if name is None and not clear:
        raise _refuse("name a fault (`trocar hil faults` lists them), or give --clear")
    if at is not None and after is not None:
        raise _refuse("--at and --after were given: give one of them")
    run_dir, _ = find_daemon(arm)
    given: dict[str, str] = {}
    for pair in parameters or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise _refuse(f"{pair!r} was given: write each parameter as key=value, as axis=0")
        given[key] = value
    try:
        injected = Faults(run_dir.path)
        if after is not None:
            at = injected.time + after
        if clear:
            if given:
                raise _refuse("--clear takes no parameters")
            fault_catalogue.clear(injected, name, at)
        else:
            assert name is not None
            fault_catalogue.inject(injected, name, at=at, **given)
        active = injected.active
    except FaultError as error:
        raise _refuse(error) from error
    names = ", ".join(str(fault.name).lower() for fault in active) or "none"
    when = "" if at is None else f" from {at:.6f} s on"
    typer.echo(f"faults of {run_dir.arm}{when}: {names} (the arm's time is {injected.time:.3f} s)")


@app.command("soak")
def soak(
    hours: Annotated[float, typer.Option(min=0.001, help="Simulated hours.")] = 1.0,
    jobs: Annotated[int, typer.Option(min=0, help="Processes at a time; 0: as many as there are CPUs.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="What motions and noise are drawn from.")] = 1,
    config: Annotated[str, typer.Option(help="A daemon's configuration with a [rig].")] = "psm_emulated_strict",
    as_json: JsonOption = False,
) -> None:
    """Move fast for hours, with noise and a bad line, and count what stops the arm without cause: nothing may."""
    import os

    import msgspec

    from hil.soak import SoakResult
    from hil.soak import soak as work

    shows = sys.stderr.isatty()

    def progress(so_far: SoakResult) -> None:
        if shows:
            typer.echo(f"\r{so_far.hours:.2f} of {hours:g} h, {len(so_far.stops)} stops", nl=False, err=True)

    result = work(hours, seed=seed, jobs=jobs or len(os.sched_getaffinity(0)), config=config, progress=progress)
    if shows:
        typer.echo("", err=True)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
    else:
        for stop in result.stops:
            print(
                f"stopped by {stop.code} (axis {stop.axis}: {stop.value:.6g}, allowed {stop.bound:.6g}) "
                f"after {stop.t:.3f} s of seed {stop.seed}: {stop.motion}"
            )
        print(
            f"{result.hours:.2f} simulated hours, {result.motions} motions, {result.frames_lost} frames lost, "
            f"{result.bits_flipped} bits flipped, {len(result.stops)} stops; {result.seconds:.0f} s, "
            f"{result.hours * 3600.0 / max(result.seconds, 1e-9):.1f} times real time"
        )
    if result.stops:
        raise typer.Exit(1)
