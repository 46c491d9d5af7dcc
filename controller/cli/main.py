"""The command `trocar`: its frame, its errors, and the commands that other packages add to it.

Every module that takes time to import is imported by the command that needs it, so that `trocar --help` is quick.
"""

import sys
from importlib import metadata
from typing import Any

import typer
from typer.core import TyperGroup

from controller.cli import (
    arm_commands,
    black_box_commands,
    config_commands,
    daemon_commands,
    doctor_commands,
    explain_command,
    identify_commands,
    kinematics_commands,
    law_commands,
    recording_commands,
    watch,
)

__all__ = ["app", "main"]

PACKAGES = ("kinematics", "firmware_bridge", "drivers", "telemetry", "controller", "hil", "console", "benchmarks")
ENTRY_POINTS = "trocar.commands"


class _Group(TyperGroup):
    """Shows the project's own errors as one message, since they are written for people; others are bugs: left whole."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        try:
            return super().invoke(ctx)
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in PACKAGES:
                raise
            typer.echo(f"trocar: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(130) from interrupt


app = typer.Typer(
    name="trocar",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Control and telemetry for surgical robots. Research software, not a medical device.",
    epilog="Any command tells more with --help. Start: trocar up psm_emulated",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"trocar {metadata.version('trocar')}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Take the options that belong to no command."""


for _module in (
    daemon_commands,
    config_commands,
    arm_commands,
    law_commands,
    explain_command,
    recording_commands,
    black_box_commands,
    identify_commands,
    watch,
    kinematics_commands,
    doctor_commands,
):
    _module.register(app)


def register_plugins(app: typer.Typer) -> None:
    """Let other packages add their commands: entry points of the group `trocar.commands`, each `f(app) -> None`."""
    for entry_point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry_point.load()(app)
        except Exception as error:  # a broken addition must not take the stop command away
            print(f"trocar: the command {entry_point.name!r} cannot be loaded: {error}", file=sys.stderr)


def main() -> None:
    """Run the command line."""
    register_plugins(app)
    app()
