"""Commands around recordings: record, plot."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from controller.cli.options import ArmOption

__all__ = ["register"]

SLOT = 2  # cursor in the rings; 0 and 1 are the daemon's own readers'
LOOK = 0.02  # s
START_TIMEOUT = 30.0  # s


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (record, plot):
        app.command(rich_help_panel="Look and record")(command)


def record(
    file: Annotated[Path, typer.Argument(help="The recording (.mcap); a number is added if it exists.")],
    seconds: Annotated[float | None, typer.Option(min=0.001, help="Of the arm's time; default: until Ctrl-C.")] = None,
    arm: ArmOption = None,
) -> None:
    """Record every sample of a running arm into a file."""
    from controller.run_dir import find_daemon

    run_dir, daemon = find_daemon(arm)
    command = [sys.executable, "-m", "telemetry.recorder", "--output", str(file), "--arm", daemon.arm]
    command += ["--axes", ",".join(axis.name for axis in daemon.axes), "--ring", f"sample={run_dir.samples}"]
    command += ["--axis-kinds", ",".join(axis.type for axis in daemon.axes)]
    command += ["--metadata", f"description={daemon.description}"]
    if run_dir.truth.exists():
        command += ["--ring", f"truth={run_dir.truth}"]
    if daemon.lockstep:
        command += ["--lockstep", "--slot", str(SLOT)]  # virtual time can outrun a recorder that it does not wait for
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: stop.append(received))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise typer.Exit(process.wait() or 1)  # it has told why
        typer.echo(f"recording {daemon.arm} into {file}" + ("" if seconds else "; Ctrl-C ends it"))
        _wait(process, run_dir.samples, seconds, stop, lockstep=daemon.lockstep)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if code:
        raise typer.Exit(code)
    typer.echo(f"{file.stat().st_size / 1e6:.1f} MB")


def _wait(
    process: "subprocess.Popen[str]", samples: Path, seconds: float | None, stop: list[int], *, lockstep: bool
) -> None:
    """Return when the arm's time has moved on by so many seconds, or somebody ended it."""
    from telemetry.ring_file import newest_record, open_ring
    from telemetry.sample import SAMPLE

    ring = open_ring(samples, SAMPLE)

    def now() -> float:
        if not lockstep:
            return time.monotonic()
        newest = newest_record(ring)
        return 0.0 if newest is None else int(newest["t_ns"][0]) * 1e-9

    end = None if seconds is None else now() + seconds
    while not stop and process.poll() is None and (end is None or now() < end):
        time.sleep(LOOK)


def plot(
    file: Annotated[Path, typer.Argument(help="A recording (.mcap).")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The picture; default: FILE.png.")] = None,
) -> None:
    """Draw a recording on one page: paths, errors, efforts, timing, states and faults."""
    from controller.catalogue import Code
    from telemetry.plot import plot_recording
    from telemetry.recording import load

    picture = output or file.with_suffix(".png")
    plot_recording(load(file), picture, code_names={int(code): code.name for code in Code})
    typer.echo(str(picture))
