"""Options and words that several commands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from controller.client import Arm

__all__ = ["STATE_STYLES", "ArmOption", "JsonOption", "TakeOption", "connected"]

ArmOption = Annotated[
    str | None,
    typer.Option("--arm", "-a", envvar="TROCAR_ARM", help="Which arm; not needed while only one runs.", metavar="NAME"),
]
TakeOption = Annotated[bool, typer.Option("--take", help="Take the lease from another client.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

STATE_STYLES = {"DISABLED": "dim", "ENABLED": "bold green", "PAUSED": "bold yellow", "FAULT": "bold red"}


@contextmanager
def connected(name: str | None, command: str, *, take: bool = False) -> Iterator["Arm"]:
    """Give a client for the length of one command."""
    from controller.client import Arm

    with Arm(name, take=take, client_name=f"trocar {command}") as arm:
        yield arm
