"""`trocar explain`: what a code means, what the arm does about it, and how to go on."""

import difflib
from typing import Annotated, Any

import typer

from controller.catalogue import CATALOGUE, Code, Entry, Reaction
from controller.cli.options import JsonOption

__all__ = ["describe", "find_code", "register"]

REACTIONS = {
    Reaction.NONE: "none: nothing stops",
    Reaction.S2: "S2: the arm comes to rest and holds, with power; it is paused",
    Reaction.S1: "S1: the arm is brought to rest, then its power goes off and its brakes close",
    Reaction.S0: "S0: its power goes off and its brakes close at once",
}
REFUSALS_END = 100  # codes below are refusals


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Look and record")(explain)


def explain(
    code: Annotated[
        str | None, typer.Argument(help="A number or a name, in any case; left out: all are listed.", metavar="CODE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a code means: cause, remedy, what the arm does, and how to go on. Needs no running arm."""
    codes = [find_code(code)] if code is not None else list(Code)
    if as_json:
        import json

        described = [describe(found) for found in codes]
        typer.echo(json.dumps(described if code is None else described[0], ensure_ascii=False))
    elif code is None:
        _list_all()
    else:
        _show(codes[0])


def find_code(text: str) -> Code:
    """Return the code that somebody means by a number or a name.

    Raises:
        typer.BadParameter: There is none; the message has the nearest names.
    """
    name = text.strip().upper().replace("-", "_").replace(" ", "_")
    if name in Code.__members__:
        return Code[name]
    if name.removeprefix("CODE_").isascii() and name.removeprefix("CODE_").isdecimal():
        number = int(name.removeprefix("CODE_"))
        if number in Code.__members__.values():
            return Code(number)
        near = sorted(Code, key=lambda code: abs(int(code) - number))[:3]
        nearest = ", ".join(f"{int(code)} {code.name}" for code in near)
    else:
        words = [code.name for code in Code if len(name) > 2 and name in code.name]
        near_names = dict.fromkeys(words[:3] + difflib.get_close_matches(name, Code.__members__, 3, 0.5))
        nearest = ", ".join(near_names)
    hint = f"; nearest: {nearest}" if nearest else ""
    raise typer.BadParameter(f"no code is {text!r}{hint}. `trocar explain` lists all", param_hint="CODE")


def describe(code: Code) -> dict[str, Any]:
    """Return all that is known of a code."""
    entry = CATALOGUE[code]
    return {
        "code": int(code),
        "name": code.name,
        "cause": entry.cause,
        "remedy": entry.remedy,
        "reaction": entry.reaction.name,
        "reaction_in_words": _reaction(code, entry),
        "latches": entry.reaction >= Reaction.S1,
        "leave": _leave(code, entry),
    }


def _reaction(code: Code, entry: Entry) -> str:
    if code == Code.OK:
        return "none"
    if int(code) < REFUSALS_END:
        return "none: the command is refused, and nothing moves because of it"
    if entry.reaction == Reaction.NONE:
        return "none: it is told, and nothing stops"
    return REACTIONS[entry.reaction]


def _leave(code: Code, entry: Entry) -> str:
    """Return how one gets out of what the code leads to."""
    if code == Code.OK:
        return "there is nothing to leave"
    if code == Code.CORE_STALLED:
        return "the daemon has ended: start it again with `trocar up`"
    if int(code) < REFUSALS_END:
        return "the state is as it was: send the command again, mended"
    if entry.reaction == Reaction.NONE:
        return "the state is as it was"
    if entry.reaction == Reaction.S2:
        return "PAUSED, by `trocar resume` (`trocar disable` ends it too)"
    return "FAULT, by `trocar enable` once the cause is gone; `trocar disable` takes it to DISABLED"


def _show(code: Code) -> None:
    from rich.console import Console
    from rich.table import Table

    known = describe(code)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right", no_wrap=True)
    table.add_column()
    table.add_row("code", f"[bold]{code.name}[/] ({int(code)})")
    table.add_row("cause", known["cause"])
    table.add_row("remedy", known["remedy"])
    table.add_row("reaction", known["reaction_in_words"])
    table.add_row("latched", "yes" if known["latches"] else "no")
    table.add_row("how to leave", known["leave"])
    Console().print(table)


def _list_all() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    table.add_column("", justify="right")
    table.add_column("code", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("cause")
    for code in Code:
        reaction = CATALOGUE[code].reaction
        table.add_row(
            str(int(code)), code.name, "" if reaction == Reaction.NONE else reaction.name, CATALOGUE[code].cause
        )
    Console().print(table)
    Console().print("S0 power off at once, S1 ramp then power off, S2 hold. One of them in full: trocar explain CODE")
