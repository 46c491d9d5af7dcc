"""`trocar watch`: a running arm, live on the terminal."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.options import STATE_STYLES, ArmOption

if TYPE_CHECKING:
    from rich.console import Group

    from controller.run_dir import Descriptor
    from telemetry.subscriber import Subscriber

__all__ = ["register"]

STALE = 0.5  # s: then values are grey
PER_SECOND = 10  # pictures


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Look and record")(watch)


def watch(
    arm: ArmOption = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End after so long; default: Ctrl-C.")] = None,
) -> None:
    """Show state, joints, tip and timing of a running arm as they change; old values turn grey."""
    from rich.live import Live

    from controller.run_dir import find_daemon
    from telemetry.subscriber import Subscriber

    run_dir, daemon = find_daemon(arm)
    name = daemon.arm
    topics = [f"{name}/{topic}" for topic in ("operating_state", "measured_js", "setpoint_js", "measured_cp")]
    topics += [f"{name}/jaw/measured_js", f"{name}/jaw/setpoint_js", f"{name}/period_statistics"]
    newest: dict[str, dict[str, Any]] = {}
    end = None if seconds is None else time.monotonic() + seconds
    with (
        Subscriber(daemon.telemetry, topics, newest_only=True) as subscriber,
        Live(auto_refresh=False, transient=False) as live,
    ):
        while (end is None or time.monotonic() < end) and run_dir.is_locked():
            due = time.monotonic() + 1.0 / PER_SECOND
            while (left := due - time.monotonic()) > 0.0:
                message = subscriber.receive(left)
                if message is not None:
                    newest[message.topic.removeprefix(f"{name}/")] = message.data
            live.update(_picture(daemon, newest, subscriber), refresh=True)
    if not run_dir.is_locked():
        typer.echo(f"the daemon of {name} has ended.")


def _picture(daemon: "Descriptor", newest: dict[str, dict[str, Any]], subscriber: "Subscriber") -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from telemetry.sample import OperatingState

    ages = {topic: counters.age for topic, counters in subscriber.counters.items()}

    def shade(topic: str, style: str = "") -> str:
        return style if ages.get(f"{daemon.arm}/{topic}", float("inf")) < STALE else "bright_black"

    state = newest.get("operating_state", {})
    head = Text(f"{daemon.arm}  ", style="bold")
    word = OperatingState(state["state"]).name if state else "no telemetry yet"
    head.append(word, shade("operating_state", STATE_STYLES.get(word, "")))
    if state:
        head.append("  homed" if state.get("is_homed") else "  not homed", shade("operating_state"))
        head.append("  busy" if state.get("is_busy") else "", shade("operating_state"))
        if state.get("fault"):
            head.append(f"\n{_explanation(state['fault'])}", shade("operating_state", "red"))

    table = Table("axis", box=None, padding=(0, 1))
    for title in ("position", "error", "velocity", "effort"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("within limits", no_wrap=True)
    row = 0
    for measured_topic, setpoint_topic in (("measured_js", "setpoint_js"), ("jaw/measured_js", "jaw/setpoint_js")):
        measured, setpoint = newest.get(measured_topic), newest.get(setpoint_topic)
        if measured is None or setpoint is None:
            continue
        for i, position in enumerate(measured["position"]):
            axis = daemon.axes[row]
            scale, unit, effort = (57.29577951308232, "°", "N·m") if axis.type == "revolute" else (1e3, "mm", "N")
            part = (position - axis.position_min) / (axis.position_max - axis.position_min)
            table.add_row(
                axis.name,
                f"{position * scale:.3f} {unit}",
                f"{(position - setpoint['position'][i]) * scale:+.3f} {unit}",
                f"{measured['velocity'][i] * scale:.2f} {unit}/s",
                f"{measured['effort'][i]:.3f} {effort}",
                _bar(part),
                style=shade(measured_topic),
            )
            row += 1

    foot = Text()
    if (pose := newest.get("measured_cp")) is not None:
        x, y, z = (1e3 * value for value in pose["position"])
        foot.append(f"tip {x:8.2f} {y:8.2f} {z:8.2f} mm in the base frame\n", shade("measured_cp"))
    if (timing := newest.get("period_statistics")) is not None:
        foot.append(_timing(timing, daemon.lockstep), shade("period_statistics"))
    lost = sum(counters.lost for counters in subscriber.counters.values())
    foot.append(f"\n{lost} messages lost" if lost else "", "yellow")
    return Group(head, table, foot)


def _explanation(code: int) -> str:
    from controller.commands import explain

    entry = explain(code)
    return f"{entry.name}: {entry.cause} {entry.remedy}"


def _bar(part: float, width: int = 16) -> str:
    index = min(width - 1, max(0, int(part * width)))
    return "·" * index + "█" + "·" * (width - 1 - index)


def _timing(timing: dict[str, Any], lockstep: bool) -> str:
    """Return the cycle's statistics in a line or two; times are in us."""
    lost = "{overruns} overruns  {frames_lost} frames lost  {frames_bad} frames bad".format(**timing)
    if lockstep:
        return f"lock-step: virtual time  {lost}"
    times = "  ".join(
        f"{name} {timing[name]['median'] * 1e6:.0f} ({timing[name]['p99'] * 1e6:.0f}) us"
        for name in ("wakeup", "compute", "io")
    )
    return f"{times}  median (p99)\n{lost}"
