"""Every fault that an emulated arm can be given, by name: for scenario files, the command line and the documentation.

`python -m hil.fault_catalogue` prints the table of the documentation.
"""

from typing import Any

from hil.fault_parameters import CATALOGUE, CatalogueEntry
from hil.fault_record import FaultError
from hil.faults import Faults

__all__ = ["CATALOGUE", "CatalogueEntry", "clear", "fault_names", "inject", "table"]


def fault_names() -> tuple[str, ...]:
    """Return the names of all faults, those of one group together."""
    return tuple(CATALOGUE)


def _entry(name: str) -> CatalogueEntry:
    if name not in CATALOGUE:
        raise FaultError(f"no fault is called {name!r}: there are {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def inject(faults: Faults, name: str, at: float | None = None, **parameters: Any) -> None:  # noqa: ANN401
    """Inject a fault by its name.

    Args:
        faults: The rig's.
        name: One of `fault_names()`.
        at: The rig's time in s from which it is in force; None: from its next substep on.
        parameters: What the fault takes (`CATALOGUE[name].parameters`); texts are read as a command line's.

    Raises:
        FaultError: There is no such fault or parameter, one is absent or out of its range, or the rig cannot inject it.
    """
    entry = _entry(name)
    for key in parameters:
        if key not in entry.parameters:
            known = ", ".join(entry.parameters) or "none"
            raise FaultError(f"{name} takes no parameter {key!r}: it takes {known}")
    absent = [key for key, each in entry.parameters.items() if each.is_required and key not in parameters]
    if absent:
        allowed = "; ".join(f"{key}: {entry.parameters[key].allowed}" for key in absent)
        raise FaultError(f"{name} needs {', '.join(absent)} ({allowed})")
    given = {
        key: entry.parameters[key].parse(name, value) if isinstance(value, str) else value
        for key, value in parameters.items()
    }
    getattr(faults, entry.method)(**given, at=at)


def clear(faults: Faults, name: str | None = None, at: float | None = None) -> None:
    """Take a fault away on every axis, or, without a name, all of them.

    Raises:
        FaultError: There is no such fault.
    """
    if name is None:
        faults.clear(at)
    else:
        faults.end(_entry(name).fault, at)


def table() -> str:
    """Return the catalogue as Markdown."""
    lines = ["| Group | Fault | What it does | Parameters | Method |", "|---|---|---|---|---|"]
    for entry in CATALOGUE.values():
        parameters = []
        for each in entry.parameters.values():
            default = "" if each.is_required else f" ({str(each.default).lower()})"
            parameters.append(f"`{each.name}`{default}: {'; '.join(filter(None, (each.allowed, each.meaning)))}")
        cells = [entry.group, f"`{entry.name}`", entry.meaning, "<br>".join(parameters), f"`{entry.method}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
