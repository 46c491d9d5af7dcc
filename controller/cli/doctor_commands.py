"""`trocar doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from controller.doctor.examine import Report
    from controller.doctor.rules import Check

__all__ = ["register"]

STYLES = {"fit": "bold green", "tolerable": "bold yellow", "unfit": "bold red"}
SIGNS = {"fit": "✓", "tolerable": "~", "unfit": "✗"}
INDENT = 22


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Run the daemon")(doctor)


def doctor(
    config: Annotated[
        str | None, typer.Argument(help="Judge by this configuration's times; left out: those of a real arm.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", min=0.2, max=86400.0, help="For each measurement of wake-ups.")
    ] = 10.0,
    port: Annotated[
        str | None,
        typer.Option(
            "--port", "-p", metavar="DEVICE", help="Measure this serial port too; a device is only asked who it is."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure whether this host can drive an arm in real time, and say how to mend what it cannot.

    Exit code 0: it keeps the watchdog that is wanted, and nothing is unfit; 1: something is.
    """
    import msgspec
    from rich.console import Console

    from controller.config import load_config
    from controller.doctor.examine import Report, examine
    from controller.doctor.rules import Check, Verdict

    loaded = None if config is None else load_config(config)
    console = Console(stderr=as_json)
    report: Report | None = None
    with console.status("", spinner="dots") as status:

        def progress(what: str, part: float) -> None:
            status.update(f"{what}: {100 * part:3.0f} %")

        for found in examine(loaded, seconds=seconds, port=port, progress=progress):
            if isinstance(found, Check):
                if not as_json:
                    _show(console, found)
            else:
                report = found
    assert report is not None
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        _conclude(console, report)
    if report.verdict is Verdict.UNFIT:
        raise typer.Exit(1)


def _show(console: "Console", check: "Check") -> None:
    from rich.markup import escape
    from rich.table import Table

    style = STYLES[check.verdict]
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(width=INDENT - 3, overflow="fold")
    table.add_column(ratio=1)
    table.add_row(f"[{style}]{SIGNS[check.verdict]}[/]", escape(check.name), escape(check.found))
    table.add_row("", f"[{style}]{check.verdict}[/]", f"[dim]{escape(check.meaning)}[/]")
    if check.remedy:
        table.add_row("", "", f"→ {escape(check.remedy)}")
    console.print(table)


def _conclude(console: "Console", report: "Report") -> None:
    kept, wanted = report.watchdog * 1e3, report.wanted * 1e3
    style = STYLES["fit" if kept <= wanted else "unfit"]
    console.print(f"\n[bold]This host keeps a watchdog of [{style}]{kept:.0f} ms[/]; wanted are {wanted:g} ms.[/]")
    if kept > wanted:
        console.print(
            f"An arm whose watchdog is shorter stops now and then. Mend the lines above, or set driver.watchdog = "
            f"{report.watchdog:g}: when this host dies, the arm then moves on for up to {kept:.0f} ms."
        )
    unfit = [check.name for check in report.checks if check.verdict == "unfit"]
    if unfit:
        console.print(f"[bold red]Unfit[/]: {', '.join(unfit)}.")
