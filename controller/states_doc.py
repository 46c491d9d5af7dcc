"""The page on the operating states, from the table that the cycle uses. `python -m controller.states_doc [PAGE]`."""

import sys
from pathlib import Path

from controller.catalogue import Code
from controller.states import REFUSED, TABLE, Event, verdict
from telemetry.sample import OperatingState

__all__ = ["PAGE", "diagram", "main", "page", "table"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "states.md"

STATES = {
    OperatingState.DISABLED: "Motors off, brakes on. An accepted ENABLE leads on once there is power.",
    OperatingState.ENABLED: "Motors on. Homed, the arm takes motions; DISABLE brings it to rest before power goes off.",
    OperatingState.PAUSED: "Motors on, the arm holds and takes no motion.",
    OperatingState.FAULT: "Motors off, brakes on, the cause latched. Only a command leads out.",
}
EVENTS = {
    Event.ENABLE: "a command: power on; in FAULT, try again",
    Event.DISABLE: "a command: to rest, power off; in FAULT, acknowledge",
    Event.PAUSE: "a command: to rest, and hold",
    Event.RESUME: "a command: take motions again",
    Event.HOME: "a command: find out where the joints are",
    Event.UNHOME: "a command: forget where the joints are",
    Event.POWERED: "the motor controllers confirm what ENABLE asked",
    Event.UNPOWERED: "what DISABLE asked has come to its end",
    Event.HELD: "a powered hold is asked for (S2)",
    Event.FAULTED: "a fault is latched: at once (S0), or at the end of a ramp to rest (S1)",
}


def diagram() -> str:
    """Return the transitions that change the state, in Mermaid's language; events with the same ends share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state in OperatingState:
        for event in Event:
            follows = int(TABLE[state, event])
            if follows not in (REFUSED, int(state)):
                arrows.setdefault((state.name, OperatingState(follows).name), []).append(event.name)
    lines = ["stateDiagram-v2", f"    [*] --> {OperatingState.DISABLED.name}"]
    lines += [f"    {start} --> {end}: {', '.join(events)}" for (start, end), events in arrows.items()]
    return "\n".join(lines)


def table() -> str:
    """Return what follows each event in each state, as a table; a dash is a refusal, with its code."""
    lines = ["| Event | " + " | ".join(state.name for state in OperatingState) + " | What it is |"]
    lines.append("|---" * (len(OperatingState) + 2) + "|")
    for event in Event:
        cells = []
        for state in OperatingState:
            follows = int(TABLE[state, event])
            refused = follows == REFUSED
            cells.append(f"– {Code(verdict(int(state), int(event))).name}" if refused else OperatingState(follows).name)
        lines.append(f"| {event.name} | {' | '.join(cells)} | {EVENTS[event]} |")
    return "\n".join(lines)


def page() -> str:
    """Return the whole page."""
    states = "\n".join(f"- **{state.name}**: {text}" for state, text in STATES.items())
    return f"""# Operating states

CRTK's four states. This page is made from `controller.states.TABLE`, the table that the cycle itself looks into:
`python -m controller.states_doc` writes it, and a test fails when it is not up to date.

```mermaid
{diagram()}
```

{states}

{table()}

An event leads to the state in its cell; – is a refusal, with its code. An accepted ENABLE or DISABLE takes time, so the
state changes with the event that ends it, POWERED or UNPOWERED.
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the page; return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    path = Path(given[0]) if given else PAGE
    path.write_text(page(), encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
