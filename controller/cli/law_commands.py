"""Commands around the control law: check one without a daemon, show and set the parameters of a running one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.options import ArmOption, JsonOption, TakeOption, connected

if TYPE_CHECKING:
    from controller.commands import LawStatus
    from controller.laws.check import LawCheck

__all__ = ["register"]

BUDGET_NS = 500_000  # half a period of 1 kHz

law = typer.Typer(no_args_is_help=True, help="Control laws: check one, see and set its parameters while it runs.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(law, name="law", rich_help_panel="Command the arm")


@law.command()
def check(
    name: Annotated[str, typer.Argument(help="FILE.py:FUNCTION, module:function or a law of Trocar's.")],
    parameters: Annotated[list[str] | None, typer.Argument(help="Parameters.", metavar="NAME=VALUE ...")] = None,
    description: Annotated[str, typer.Option("--description", help="An arm: shipped, or a file.")] = "psm_classic",
    config: Annotated[str | None, typer.Option("--config", help="Take arm, gains and parameters from it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a law and try it on synthetic samples: time, nan, efforts, allocation. Needs no daemon and no arm."""
    from controller.config import load_config
    from controller.laws.check import check_law
    from kinematics.description import load_arm

    values: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    if config is not None:
        loaded = load_config(config)
        description = loaded.arm.description
        settings = {"kp": loaded.law.kp, "kd": loaded.law.kd, "position": loaded.homing.pose}
        values = dict(loaded.law.parameters) if loaded.law.name.rpartition(":")[2] == name.rpartition(":")[2] else {}
    values |= parse_settings(parameters or [])
    arm = load_arm(description)
    found = check_law(_absolute(name), values, arm, **settings)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(found).decode())
    else:
        _show_check(found, arm.axis_names)
    if found.not_finite or found.raised:
        raise typer.Exit(1)


def _absolute(name: str) -> str:
    place, colon, function = name.rpartition(":")
    return str(Path(place).resolve()) + colon + function if place.endswith(".py") else name


def parse_settings(settings: list[str]) -> dict[str, float | list[float]]:
    """Return parameters written as NAME=VALUE or NAME=VALUE,VALUE,..."""
    values: dict[str, float | list[float]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if not equals or not name.isidentifier() or not numbers:
            raise typer.BadParameter(f"{setting!r} was given: write NAME=NUMBER, or NAME=NUMBER,NUMBER,NUMBER")
        values[name] = numbers if "," in text else numbers[0]
    return values


def _values(parameters: dict[str, float | list[float]]) -> str:
    def shown(value: float | list[float]) -> str:
        return ",".join(f"{x:g}" for x in value) if isinstance(value, list) else f"{value:g}"

    return "  ".join(f"{name}={shown(value)}" for name, value in parameters.items()) or "none"


def _show_check(found: "LawCheck", axes: tuple[str, ...]) -> None:
    made = "from the cache" if found.law.from_cache else "compiled"
    names = ", ".join(parameter.name for parameter in found.law.parameters) or "none"
    typer.echo(f"{found.law.name}: {made} in {found.law.compiled_s:.2f} s; parameters: {names}")
    typer.echo(f"a call takes {found.median_ns:.0f} ns (median), {found.p99_ns:.0f} ns (p99)")
    efforts = ", ".join(f"{axis} {effort:.3g}" for axis, effort in zip(axes, found.effort_max, strict=True))
    typer.echo(f"largest efforts in {found.calls} calls along a motion: {efforts}")
    if found.raised:
        typer.echo(f"ERROR: it raised in {found.raised} of {found.calls} calls: the arm would stop (LAW_RAISED)")
    if found.not_finite:
        typer.echo(f"ERROR: nan or inf in {found.not_finite} of {found.calls} calls: the arm would stop at once")
    if found.saturated:
        typer.echo(f"warning: an effort beyond its limit in {found.saturated} of {found.calls} calls: it is clamped")
    if found.allocations:
        typer.echo(
            f"warning: it allocates memory {found.allocations:g} times a call: write loops instead of whole-array "
            "arithmetic, and take room from kinematics.stack.stack_matrix"
        )
    if found.p99_ns > BUDGET_NS:
        typer.echo("warning: it is slower than half a period of 1 kHz: the arm would stop (LAW_TOO_SLOW)")


@law.command("set")
def set_(
    parameters: Annotated[list[str], typer.Argument(help="New values.", metavar="NAME=VALUE ...")],
    arm: ArmOption = None,
    take: TakeOption = False,
) -> None:
    """Change parameters of the running law; all of them take effect in one cycle."""
    with connected(arm, "law set", take=take) as connection:
        connection.set_law_parameters(**parse_settings(parameters))
        typer.echo(_values(connection.law().parameters))


@law.command()
def show(arm: ArmOption = None, as_json: JsonOption = False) -> None:
    """Show the running law, its parameters as the cycle has them now, and what a call takes."""
    with connected(arm, "law show") as connection:
        found = connection.law()
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(found).decode())
    else:
        _show_law(found)


def _show_law(found: "LawStatus") -> None:
    typer.echo(f"law         {found.name}")
    typer.echo(f"parameters  {_values(found.parameters)}")
    if found.last_us:
        budget = f" of {found.budget_us:g}" if found.budget_us else ""
        typer.echo(f"a call      {found.last_us:.1f} us, at most {found.longest_us:.1f}{budget} us so far")
