"""`trocar bench` and `python -m benchmarks`: a table, or with --json one JSON row per measurement."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.rows import Row, Settings

__all__ = ["bench", "register"]

ARMS_HELP = "Only these arms: a shipped arm's name, or a file that ends in .toml; may be repeated."
WIDTH = 130
COMPILED = {"c++": ("loop", "python")}  # what of ours a peer's calls from its own compiled code are compared with


def register(app: typer.Typer) -> None:
    """Add `bench` to the command line."""
    app.command(rich_help_panel="Compute")(bench)


def bench(
    suites: Annotated[list[str] | None, typer.Argument(metavar="[SUITE]...", help="All when none is named.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    robots: Annotated[list[str] | None, typer.Option("--robots", "-r", metavar="ARM", help=ARMS_HELP)] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few calls: to see that it runs, not to quote.")] = False,
) -> None:
    """Measure this project beside its peers, in one run on the same tasks.

    Suites: kinematics, inverse, dynamics, trajectories, latency.
    """
    from benchmarks.rows import Settings

    known = _suites()
    unknown = sorted(set(suites or ()) - set(known))
    if unknown:
        raise typer.BadParameter(f"no suite is named {', '.join(unknown)}: choose of {', '.join(known)}")
    settings = Settings(robots=tuple(robots or ()), quick=quick)
    rows: list[Row] = []
    for name in suites or known:
        for row in known[name](settings):
            rows.append(row)
            if as_json:
                print(json.dumps(row._asdict()), flush=True)
    if not as_json:
        _print_table(rows)


def _suites() -> dict[str, Callable[["Settings"], Sequence["Row"]]]:
    from benchmarks import dynamics, general_inverse, kinematics, latency, trajectories

    return {
        "kinematics": kinematics.rows,
        "inverse": general_inverse.rows,
        "dynamics": dynamics.rows,
        "trajectories": trajectories.rows,
        "latency": latency.rows,
    }


def _print_table(rows: Sequence["Row"]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from benchmarks.rows import OURS

    ours = {(row.task, row.robot, row.called_from): row for row in rows if row.library == OURS}
    caption = (
        "µs per call; loop and c++: percentiles over runs of 200 calls in compiled code; batch: per configuration\n"
        "cycle: how late a cycle is woken, medians over runs in turns with cyclictest\n"
        "ratio: median and p99 over ours of the same kind (c++: over our loop)"
    )
    table = Table(box=box.SIMPLE_HEAD, caption=caption)
    for title in ("task", "robot", "library", "from"):
        table.add_column(title)
    for title in ("solved", "median", "p99", "p99.9", "ratio", "at p99"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: (row.robot, row.task)):
        kinds = COMPILED.get(row.called_from, (row.called_from,))
        base = next((ours[key] for kind in kinds if (key := (row.task, row.robot, kind)) in ours), None)
        ratios = ["", ""]
        if base is not None and base is not row:
            ratios = [f"{row.median_us / base.median_us:.1f}", f"{row.p99_us / base.p99_us:.1f}"]
        times = [f"{t:.3f}" for t in (row.median_us, row.p99_us, row.p999_us)]
        style = "bold" if row.library == OURS else None
        cells = (row.task, row.robot, row.library, row.called_from, f"{100.0 * row.solved:.2f} %", *times, *ratios)
        table.add_row(*cells, style=style)
    console = Console()
    console.width = max(console.width, WIDTH)  # a pipe has 80 columns
    console.print(table)
