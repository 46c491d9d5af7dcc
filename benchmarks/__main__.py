"""`python -m benchmarks`: this project beside its peers. A table, or with --json one JSON row per measurement."""

import argparse
import json

from benchmarks import dynamics, kinematics

SUITES = {"kinematics": kinematics.rows, "dynamics": dynamics.rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="This project beside its peers.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all when none is named")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.suites) - set(SUITES))
    if unknown:
        parser.error(f"no suite is named {', '.join(unknown)}: choose of {', '.join(SUITES)}")
    rows = [row for name in arguments.suites or SUITES for row in SUITES[name]()]
    if arguments.json:
        for row in rows:
            print(json.dumps(row._asdict()))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    caption = "µs per call; loop: percentiles over runs of 200 calls in compiled code"
    table = Table(box=box.SIMPLE_HEAD, caption=caption)
    for title in ("task", "robot", "library", "from"):
        table.add_column(title)
    for title in ("solved", "median", "p99", "p99.9"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        times = (f"{t:.3f}" for t in (row.median_us, row.p99_us, row.p999_us))
        table.add_row(row.task, row.robot, row.library, row.called_from, f"{100.0 * row.solved:.2f} %", *times)
    Console().print(table)


if __name__ == "__main__":
    main()
