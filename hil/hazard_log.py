"""The hazard log: hazards, the scenarios that prove them, and the reactions that were measured.

python -m hil.hazard_log                  write docs/hazards.md; fail where log, scenarios and results disagree
python -m hil.hazard_log record RESULTS   keep the output of `trocar hil run --json` as the measured results
"""

import argparse
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from controller.catalogue import CATALOGUE, Code, Reaction
from hil.faults import HilError

__all__ = ["Hazard", "HazardLog", "Measured", "Row", "load_log", "load_measured", "main", "page", "problems", "record"]

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "hil" / "hazards.toml"
SCENARIOS = ROOT / "hil" / "scenarios"
MEASURED = ROOT / "hil" / "measured.json"
PAGE = ROOT / "docs" / "hazards.md"
CYCLE_MS = 1.0


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How soon: one of the two."""

    cycles: int | None = None
    ms: float | None = None

    @property
    def in_cycles(self) -> float:
        """The bound in cycles of 1 ms."""
        return float(self.cycles) if self.cycles is not None else (self.ms or 0.0) / CYCLE_MS

    def __str__(self) -> str:
        return f"{self.cycles} cycles" if self.cycles is not None else f"{self.ms:g} ms"


class Hazard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hazard."""

    id: str
    hazard: str
    cause: str
    harm: str
    detection: str
    reaction: Literal["S0", "S1", "S2", "refuse", "none"]
    bound: Bound | None = None
    looser: dict[str, str] = {}
    scenarios: list[str]
    codes: list[str]

    @property
    def files(self) -> list[str]:
        """Its scenario files, without the ending."""
        return [name for name in self.scenarios if "/" not in name]

    @property
    def tests(self) -> list[str]:
        """Its tests: FILE or FILE::NAME."""
        return [name for name in self.scenarios if "/" in name]


class HazardLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole log."""

    hazard: list[Hazard]
    not_hazard: dict[str, str] = {}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured with one scenario, `FILE` or `FILE/VARIANT`."""

    name: str
    hazards: list[str]
    bound_cycles: float | None = None
    worst_cycles: float | None = None
    median_cycles: float | None = None
    runs: int
    undetected: int
    late: int
    failed: int = 0
    codes: dict[str, int] | list[str] = msgspec.field(default_factory=dict)
    digest: str = ""

    @property
    def file(self) -> str:
        """The scenario file, without the ending."""
        return self.name.partition("/")[0]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The results of `trocar hil run --json` that are kept with the source."""

    seed: int
    date: str = ""
    versions: dict[str, str] = {}
    scenarios: list[Row]


def load_log(text: str, source: str = str(LOG)) -> HazardLog:
    """Return the log in a TOML text.

    Raises:
        HilError: It is no log; the message names the place and what is allowed.
    """
    try:
        log = msgspec.convert(tomllib.loads(text), HazardLog)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise HilError(f"{source}: {error}. Correct that entry of the hazard log.") from error
    for hazard in log.hazard:
        if hazard.bound is not None and (hazard.bound.cycles is None) == (hazard.bound.ms is None):
            raise HilError(f"{source}: {hazard.id}.bound has to have one of cycles and ms.")
    return log


def load_measured(text: str, source: str = str(MEASURED)) -> Measured:
    """Return the results in a JSON text.

    Raises:
        HilError: They are no results; the message says why.
    """
    try:
        return msgspec.json.decode(text.encode(), type=Measured)
    except msgspec.DecodeError as error:
        raise HilError(f"{source}: {error}. Measure again: trocar hil run --json.") from error


def digest(text: str) -> str:
    """Return what tells one state of a scenario file from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_scenarios(folder: Path = SCENARIOS) -> dict[str, str]:
    """Return the texts of all scenario files, by name without the ending."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))}


def _is_test(name: str, root: Path) -> bool:
    file, _, function = name.partition("::")
    path = root / file
    if not path.is_file():
        return False
    return (
        not function or re.search(rf"^def {re.escape(function)}\(", path.read_text("utf-8"), re.MULTILINE) is not None
    )


def problems(log: HazardLog, scenarios: Mapping[str, str], measured: Measured | None, root: Path = ROOT) -> list[str]:
    """Return all that is wrong with a log, its scenarios and their results; nothing where they agree.

    Args:
        log: The log.
        scenarios: Texts of the scenario files, by name.
        measured: The results; None: there are none.
        root: Where the tests that the log names are.
    """
    found = _wrong_in_log(log, root) + _wrong_between(log, scenarios)
    if measured is None:
        return [*found, "there are no results: trocar hil run --json > results.json, then record them"]
    rows: dict[str, list[Row]] = {}
    for row in measured.scenarios:
        rows.setdefault(row.file, []).append(row)
    for name, text in scenarios.items():
        if name not in rows:
            found.append(f"scenario {name} has no results: measure again")
        elif any(row.digest != digest(text) for row in rows[name]):
            found.append(f"scenario {name} has changed since its results were measured: measure again")
    found += [f"results of {name}, which is no scenario" for name in rows if name not in scenarios]
    for hazard in log.hazard:
        for name in hazard.files:
            for row in rows.get(name, []):
                found += _wrong_in_row(hazard, row)
    return found


def _wrong_in_log(log: HazardLog, root: Path) -> list[str]:
    found = []
    ids = [hazard.id for hazard in log.hazard]
    found += [f"{each} is there twice" for each in sorted({i for i in ids if ids.count(i) > 1})]
    claimed = set(log.not_hazard)
    for hazard in log.hazard:
        claimed |= set(hazard.codes)
        if not hazard.scenarios:
            found.append(f"{hazard.id} ({hazard.hazard}) has no scenario")
        if hazard.reaction in ("S0", "S1", "S2") and not hazard.codes:
            found.append(f"{hazard.id} stops the arm and names no code")
        found += [f"{hazard.id}: there is no test {test}" for test in hazard.tests if not _is_test(test, root)]
    found += [f"unknown code {code}" for code in sorted(claimed - set(Code.__members__))]
    for code, entry in CATALOGUE.items():
        if entry.reaction >= Reaction.S2 and code.name not in claimed:
            found.append(f"code {code.name} stops the arm ({entry.reaction.name}), and no hazard claims it")
    both = {code for hazard in log.hazard for code in hazard.codes} & set(log.not_hazard)
    found += [f"code {code} belongs to a hazard and to none" for code in sorted(both)]
    return found


def _wrong_between(log: HazardLog, scenarios: Mapping[str, str]) -> list[str]:
    found = []
    named = {name: hazard.id for hazard in log.hazard for name in hazard.files}
    for hazard in log.hazard:
        found += [f"{hazard.id}: there is no scenario {name}" for name in hazard.files if name not in scenarios]
    for name, text in scenarios.items():
        try:
            own = tomllib.loads(text).get("hazards", [])
        except tomllib.TOMLDecodeError as error:
            found.append(f"scenario {name} is no valid TOML: {error}")
            continue
        if name not in named:
            found.append(f"scenario {name} belongs to no hazard")
        for hazard in log.hazard:
            if (hazard.id in own) != (name in hazard.files):
                found.append(f"scenario {name} and hazard {hazard.id}: only one of them names the other")
        found += [
            f"scenario {name}: there is no hazard {each}" for each in own if each not in {h.id for h in log.hazard}
        ]
    return found


def _wrong_in_row(hazard: Hazard, row: Row) -> list[str]:
    found = []
    if row.runs < 1:
        found.append(f"scenario {row.name} was not run")
    for count, what in ((row.undetected, "undetected"), (row.late, "late"), (row.failed, "failed")):
        if count:
            found.append(f"scenario {row.name}: {count} of {row.runs} runs {what}")
    if row.bound_cycles is not None and row.worst_cycles is not None and row.worst_cycles > row.bound_cycles:
        found.append(
            f"scenario {row.name}: {row.worst_cycles:g} cycles at the worst, its bound is {row.bound_cycles:g}"
        )
    if hazard.bound is not None and row.worst_cycles is not None and row.name not in hazard.looser:
        bound = hazard.bound.in_cycles
        if row.worst_cycles > bound:
            found.append(f"{hazard.id}: {row.name} took {row.worst_cycles:g} cycles, the bound is {hazard.bound}")
    known = set(hazard.codes)
    found += [
        f"{hazard.id}: {row.name} ended with {code}, which it does not name" for code in row.codes if code not in known
    ]
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _measured_cell(hazard: Hazard, measured: Measured | None) -> str:
    if not hazard.files:
        return "by test"
    rows = [row for row in (measured.scenarios if measured else []) if row.file in hazard.files]
    if not rows:
        return "not measured"
    lines = []
    for row in rows:
        if row.worst_cycles is None:
            lines.append(f"{row.name}: {row.runs} runs")
        else:
            own = f" (bound {row.bound_cycles:g})" if row.name in hazard.looser and row.bound_cycles is not None else ""
            median = f"{row.median_cycles:g}" if row.median_cycles is not None else "?"
            lines.append(f"{row.name}: **{row.worst_cycles:g}** / {median} of {row.runs}{own}")
    return "<br>".join(lines)


def page(log: HazardLog, measured: Measured | None) -> str:
    """Return docs/hazards.md."""
    lines = [
        "| # | Hazard | Detection | Reaction | Bound | Measured: worst / median cycles of runs | Codes |",
        "|---" * 7 + "|",
    ]
    for hazard in log.hazard:
        bound = "" if hazard.bound is None else str(hazard.bound)
        codes = ", ".join(hazard.codes)
        what = f"**{hazard.hazard}.** {hazard.cause}. *{hazard.harm}.*"
        cells = [hazard.id, what, hazard.detection, hazard.reaction, bound, _measured_cell(hazard, measured), codes]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    table = "\n".join(lines)
    proofs = "\n".join(f"- {hazard.id}: {', '.join(f'`{name}`' for name in hazard.scenarios)}" for hazard in log.hazard)
    looser = "\n".join(f"- `{name}`: {why}." for hazard in log.hazard for name, why in hazard.looser.items())
    outside = "\n".join(f"- `{code}`: {why}." for code, why in log.not_hazard.items())
    if measured is None:
        when = "No results are kept yet."
    else:
        versions = ", ".join(f"{name} {version}" for name, version in measured.versions.items())
        when = f"Measured {measured.date or 'at an unknown date'}, seed {measured.seed}; {versions}."
    return f"""# Hazards

What can go wrong with the core, the motor controllers, the host or the command path; how it is noticed, what is done
about it and how soon. This page is made from `hil/hazards.toml` and `hil/measured.json` by `python -m hil.hazard_log`,
which fails where a hazard has no scenario, a scenario no hazard or no up-to-date results, or a bound is exceeded.

S0: power off, brakes on. S1: ramp to rest, then power off. S2: powered hold. Cycles are of 1 ms, in lock-step, from the
fault to the reaction, each run at another random phase of a motion. {when}

{table}

## What proves it

{proofs}

Names are files of `hil/scenarios` (`trocar hil run NAME`), or tests.

## Scenarios with a bound of their own

{looser}

## Codes that stop the arm and belong to no hazard

{outside}
"""


def record(results: Path, scenarios: Path = SCENARIOS, measured: Path = MEASURED) -> Path:
    """Keep the output of `trocar hil run --json` with the source; returns where.

    A row without a digest gets its scenario file's, if the file is older than the results.

    Raises:
        HilError: There are no results, or a scenario has been changed since.
    """
    try:
        data = json.loads(results.read_text(encoding="utf-8"))
        rows = load_measured(json.dumps(data), str(results)).scenarios
    except (OSError, ValueError) as error:
        raise HilError(f"{results}: {error}. Give the output of trocar hil run --json.") from error
    when = results.stat().st_mtime
    for row, raw in zip(rows, data["scenarios"], strict=True):
        path = scenarios / f"{row.file}.toml"
        if not path.is_file():
            raise HilError(
                f"{results}: {row.name} is none of the scenarios in {scenarios}; record results of those only."
            )
        if not row.digest:
            if path.stat().st_mtime > when:
                raise HilError(f"{path} was changed after {results} was measured: measure again.")
            raw["digest"] = digest(path.read_text(encoding="utf-8"))
    data.setdefault("date", datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d"))
    measured.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return measured


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or keep results; return the exit code: 1 where log, scenarios and results disagree."""
    parser = argparse.ArgumentParser(
        prog="hil.hazard_log", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("action", nargs="?", choices=("page", "record"), default="page")
    parser.add_argument("results", nargs="?", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.action == "record":
            if options.results is None:
                parser.error("record needs the file that trocar hil run --json has written")
            print(record(options.results))
        log = load_log(LOG.read_text(encoding="utf-8"))
        measured = load_measured(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else None
        PAGE.write_text(page(log, measured), encoding="utf-8")
        print(PAGE)
        wrong = problems(log, read_scenarios(), measured)
    except (HilError, OSError) as error:
        print(f"trocar: {error}", file=sys.stderr)
        return 1
    for each in wrong:
        print(f"trocar: hazard log: {each}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
