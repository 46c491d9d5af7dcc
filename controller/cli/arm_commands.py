"""Commands to a running arm: enable, disable, home, pause, resume, hold, stop, move, speed, remote-center."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.options import ArmOption, TakeOption, connected

if TYPE_CHECKING:
    from controller.arm_view import Vector
    from controller.client import Arm, Motion

__all__ = ["register"]

UNITS = {"": 1.0, "rad": 1.0, "deg": 3.141592653589793 / 180.0, "m": 1.0, "mm": 1e-3}
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"

SpeedOption = Annotated[float, typer.Option(min=0.001, max=1.0, help="Part of the joints' limits.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (enable, disable, home, pause, resume, hold, stop, move, speed, remote_center):
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
        str | None, typer.Option("--to", help="Goal of the tip, in mm; it keeps its orientation.", metavar="X,Y,Z")
    ] = None,
    pose: Annotated[
        str | None,
        typer.Option("--pose", help="Goal of the tip: mm, and a rotation vector in degrees.", metavar="X,Y,Z,RX,RY,RZ"),
    ] = None,
    via: Annotated[
        list[str] | None,
        typer.Option("--via", help="Point on the way of the tip, in mm; may be repeated.", metavar="X,Y,Z"),
    ] = None,
    blend: Annotated[
        float, typer.Option("--blend", min=0.001, help="mm from such a point that the tip may stay.")
    ] = 5.0,
    jaw: Annotated[
        str | None,
        typer.Option("--jaw", help="Goal of the jaw, alone or along with the tip.", metavar="VALUE[deg]"),
    ] = None,
    relative: Annotated[bool, typer.Option("--relative", "-r", help="From the present goal, not absolute.")] = False,
    frame: Annotated[str, typer.Option("--frame", help="With -r: in whose axes, base or tip.")] = "base",
    speed: SpeedOption = 1.0,
    path_speed: Annotated[
        float | None, typer.Option("--path-speed", min=0.01, help="mm/s of the tip at the most.")
    ] = None,
    arm: ArmOption = None,
    take: TakeOption = False,
) -> None:
    """Move some joints, the tip on straight lines, or the jaw. Ctrl-C makes the arm hold.

    Joint values are rad or m, or carry a unit. Example: trocar move -j insertion=120mm -j yaw=10deg
    """
    of_the_tip = bool(to) + bool(pose)
    if bool(joint) + of_the_tip > 1 or not (joint or of_the_tip or jaw) or (joint and jaw):
        raise typer.BadParameter("give one of --joint NAME=VALUE, --to X,Y,Z and --pose; --jaw alone or with the tip's")
    if via and not of_the_tip:
        raise typer.BadParameter("it needs a goal, by --to or --pose", param_hint="--via")
    if frame not in ("base", "tip"):
        raise typer.BadParameter(f"{frame!r} was given: base or tip", param_hint="--frame")
    with connected(arm, "move", take=take) as connection:
        if joint:
            motion = connection.move_jp(_joint_goal(connection, joint, relative=relative), speed)
        elif of_the_tip:
            start = connection.goal_cp().T
            goal = _tip_goal(start, to, pose, relative=relative, frame=frame)
            points = [_tip_goal(start, text, None, relative=relative, frame=frame) for text in via or ()]
            angle = None if jaw is None else _jaw_goal(connection, jaw, relative=relative)
            along = None if path_speed is None else path_speed * 1e-3
            motion = connection.move_cp(goal, speed, along, via=points, blend=blend * 1e-3, jaw=angle)
        else:
            motion = connection.jaw.move_jp(_jaw_goal(connection, jaw or "", relative=relative), speed)
        _finish(connection, motion)


def speed(
    ratio: Annotated[
        float | None, typer.Argument(min=0.001, max=1.0, help="Part of the limits; left out: say what it is.")
    ] = None,
    arm: ArmOption = None,
    take: TakeOption = False,
) -> None:
    """Let moves and interpolated streams use a part of the limits, from now on; what moves is slowed or sped up."""
    with connected(arm, "speed", take=take) as connection:
        if ratio is not None:
            connection.set_speed_ratio(ratio)
        typer.echo(f"{connection.name}: speed ratio {connection.speed_ratio():g}")


def remote_center(
    point: Annotated[str | None, typer.Argument(metavar="X,Y,Z", help="In the base frame, mm.")] = None,
    release: Annotated[bool, typer.Option("--release", help="Let the shaft go where it likes again.")] = False,
    arm: ArmOption = None,
    take: TakeOption = False,
) -> None:
    """Hold the straight shaft of an arm that has no mechanical remote centre in a point, while its tip moves."""
    if (point is None) != release:
        raise typer.BadParameter("give either a point X,Y,Z in mm or --release", param_hint="X,Y,Z")
    place = None
    if point is not None:
        if re.fullmatch(rf"{NUMBER},{NUMBER},{NUMBER}", point) is None:
            raise typer.BadParameter(
                f"{point!r} was given: write three numbers in mm, as 500,0,120", param_hint="X,Y,Z"
            )
        place = [float(number) * 1e-3 for number in point.split(",")]
    with connected(arm, "remote-center", take=take) as connection:
        connection.set_remote_center(place)
        typer.echo(f"{connection.name}: remote centre {'released' if place is None else f'at {point} mm'}")


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


def _tip_goal(start: "Vector", to: str | None, pose: str | None, *, relative: bool, frame: str) -> "Vector":
    """Return T_base_tip for a point or a pose, from where the tip is going now."""
    import numpy as np

    from kinematics.frames import rotation_from_vector

    option, count = ("--pose", 6) if pose else ("--to", 3)
    text = pose or to or ""
    if re.fullmatch(",".join([NUMBER] * count), text) is None:
        example = "10,0,-110,0,0,90" if pose else "10,0,-110"
        raise typer.BadParameter(f"{text!r} was given: write {count} numbers, e.g. {example}", param_hint=option)
    numbers = [float(number) for number in text.split(",")]
    T = np.eye(4)
    T[:3, 3] = [1e-3 * number for number in numbers[:3]]
    if pose:
        R = np.eye(3)
        rotation_from_vector(np.radians(numbers[3:]), R)
        T[:3, :3] = R
    if relative and frame == "tip":
        return start @ T
    if relative:
        T[:3, 3] += start[:3, 3]
    if relative or not pose:
        T[:3, :3] = T[:3, :3] @ start[:3, :3]
    return T


def _jaw_goal(arm: "Arm", text: str, *, relative: bool) -> float:
    match = re.fullmatch(rf"({NUMBER})(rad|deg|)", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} was given: write an angle, e.g. 0.5 or 30deg", param_hint="--jaw")
    goal = float(match.group(1)) * UNITS[match.group(2)]
    return goal + float(arm.jaw.goal_js().position[0]) if relative else goal


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
