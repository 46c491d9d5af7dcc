"""Commands to a running arm: enable, disable, home, pause, resume, hold, stop, move."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.options import ArmOption, TakeOption, connected

if TYPE_CHECKING:
    from controller.client import Arm, Motion

__all__ = ["register"]

UNITS = {"": 1.0, "rad": 1.0, "deg": 3.141592653589793 / 180.0, "m": 1.0, "mm": 1e-3}
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"

SpeedOption = Annotated[float, typer.Option(min=0.001, max=1.0, help="Part of the joints' limits.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (enable, disable, home, pause, resume, hold, stop, move):
        app.command(rich_help_panel="Command the arm")(command)


def enable(arm: ArmOption = None, take: TakeOption = False) -> None:
    """Power the motors and release the brakes. From FAULT: try again."""
    with connected(arm, "enable", take=take) as connection:
        connection.enable()
        _say_state(connection)


def disable(arm: ArmOption = None, take: TakeOption = False) -> None:
    """Bring the arm to rest, power off, brakes on."""
    with connected(arm, "disable", take=take) as connection:
        connection.disable()
        _say_state(connection)


def home(arm: ArmOption = None, take: TakeOption = False) -> None:
    """Find out where the joints are, and move to the homing pose."""
    with connected(arm, "home", take=take) as connection:
        _finish(connection, connection.home())


def pause(arm: ArmOption = None, take: TakeOption = False) -> None:
    """Bring the arm to rest and refuse motions until resumed."""
    with connected(arm, "pause", take=take) as connection:
        connection.pause()
        _say_state(connection)


def resume(arm: ArmOption = None, take: TakeOption = False) -> None:
    """End a pause."""
    with connected(arm, "resume", take=take) as connection:
        connection.resume()
        _say_state(connection)


def hold(arm: ArmOption = None) -> None:
    """Come to rest and hold. Works whoever commands the arm."""
    with connected(arm, "hold") as connection:
        connection.hold().wait()
        _say_state(connection)


def stop(arm: ArmOption = None) -> None:
    """Hold, then motors off. Works whoever commands the arm. Not an emergency stop: that is the button."""
    with connected(arm, "stop") as connection:
        connection.stop()
        _say_state(connection)


def move(
    joint: Annotated[
        list[str] | None,
        typer.Option("--joint", "-j", help="Goal of one joint; may be repeated.", metavar="NAME=VALUE[deg|mm]"),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Goal of the tip on a straight line, in mm.", metavar="X,Y,Z")
    ] = None,
    relative: Annotated[bool, typer.Option("--relative", "-r", help="From the present goal, not absolute.")] = False,
    speed: SpeedOption = 1.0,
    path_speed: Annotated[
        float | None, typer.Option("--path-speed", min=0.01, help="mm/s of the tip at the most, with --to.")
    ] = None,
    arm: ArmOption = None,
    take: TakeOption = False,
) -> None:
    """Move some joints, or the tip. The others stay; so does the tip's orientation. Ctrl-C makes the arm hold.

    Joint values are rad or m, or carry a unit. Example: trocar move -j insertion=120mm -j yaw=10deg
    """
    if bool(joint) == bool(to):
        raise typer.BadParameter("give either --joint NAME=VALUE or --to X,Y,Z")
    with connected(arm, "move", take=take) as connection:
        if joint:
            q = _joint_goal(connection, joint, relative=relative)
            motion = connection.move_jp(q, speed)
        else:
            T = connection.goal_cp().T
            tip = _tip_goal(to or "")
            T[:3, 3] = [old + new if relative else new for old, new in zip(T[:3, 3], tip, strict=True)]
            motion = connection.move_cp(T, speed, None if path_speed is None else path_speed * 1e-3)
        _finish(connection, motion)


def _joint_goal(arm: "Arm", settings: list[str], *, relative: bool) -> list[float]:
    names = [axis.name for axis in arm.configuration_js()]
    q = [float(value) for value in arm.goal_js().position]
    for setting in settings:
        match = re.fullmatch(rf"(\w+)=({NUMBER})(rad|deg|m|mm|)", setting)
        if match is None or match.group(1) not in names:
            raise typer.BadParameter(
                f"{setting!r} was given: write NAME=VALUE with a name of {', '.join(names)} and a value in rad or m, "
                "or with the unit deg or mm",
                param_hint="--joint",
            )
        index, value = names.index(match.group(1)), float(match.group(2)) * UNITS[match.group(3)]
        angular = arm.configuration_js()[index].type == "revolute"
        if match.group(3) and angular != (match.group(3) in ("rad", "deg")):
            kind = "an angle, in rad or deg" if angular else "a length, in m or mm"
            raise typer.BadParameter(f"{setting!r} was given: {names[index]} is {kind}", param_hint="--joint")
        q[index] = q[index] + value if relative else value
    return q


def _tip_goal(text: str) -> list[float]:
    if re.fullmatch(rf"{NUMBER},{NUMBER},{NUMBER}", text) is None:
        raise typer.BadParameter(f"{text!r} was given: write three numbers, e.g. 10,0,-110", param_hint="--to")
    return [float(number) * 1e-3 for number in text.split(",")]


def _finish(arm: "Arm", motion: "Motion") -> None:
    try:
        motion.wait()
    except KeyboardInterrupt:
        arm.hold().wait()
        typer.echo("held")
        raise
    _say_state(arm)


def _say_state(arm: "Arm") -> None:
    state = arm.operating_state()
    typer.echo(f"{arm.name}: {state.state.name}, {'homed' if state.is_homed else 'not homed'}")
