"""What the runs of scenarios have shown: for people, for scripts, for CI."""

import sys
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from statistics import median
from typing import Any
from xml.etree import ElementTree

import numba
import numpy as np
from rich.table import Table

from firmware_bridge import native
from hil.scenario_run import ScenarioResult

__all__ = ["FAILURES", "make_junit", "make_table", "summary"]

FAILURES = ("undetected", "late", "wrong_code", "wrong_state", "limit", "false_stop", "error")
"""Verdicts that a run must not have, worst first."""


def summary(results: Sequence[ScenarioResult], *, phases: int, seed: int, seconds: float) -> dict[str, Any]:
    """Return the results as plain data, for JSON.

    Args:
        results: Of `run_scenarios`.
        phases: How many were asked for.
        seed: What everything was drawn from.
        seconds: How long it took.
    """
    runs = [run for result in results for run in result.runs]
    return {
        "seed": seed,
        "phases": phases,
        "seconds": round(seconds, 1),
        "versions": versions(),
        "runs": len(runs),
        "undetected": sum(run.verdict == "undetected" for run in runs),
        "late": sum(run.verdict == "late" for run in runs),
        "failed": sum(run.verdict in FAILURES for run in runs),
        "unexposed": sum(run.verdict == "unexposed" for run in runs),
        "frames_lost": sum(run.frames_lost for run in runs),
        "scenarios": [_summarise(result) for result in results],
    }


def versions() -> dict[str, str]:
    """Return what was tested with what."""
    try:
        own = metadata.version("trocar")
    except metadata.PackageNotFoundError:  # run from a bare source tree
        own = "0"
    return {
        "trocar": own,
        "firmware": native.source_digest()[:16],
        "python": sys.version.split()[0],
        "numba": numba.__version__,
        "numpy": np.__version__,
        "mujoco": metadata.version("mujoco"),
    }


def _summarise(result: ScenarioResult) -> dict[str, Any]:
    cycles = result.cycles
    complete = [run.complete_cycles for run in result.runs if run.complete_cycles is not None]
    scenario = result.scenario
    action = scenario.fault.name if scenario.fault else ""
    worst = result.worst
    return {
        "name": scenario.name,
        "title": scenario.title,
        "hazards": scenario.hazards,
        "reaction": scenario.expect.reaction,
        "fault": action,
        "bound_cycles": result.bound_cycles,
        "worst_cycles": cycles[-1] if cycles else None,
        "median_cycles": float(median(cycles)) if cycles else None,
        "complete_cycles": max(complete) if complete else None,
        "travel_mm": round(max((run.travel_mm for run in result.runs), default=0.0), 4),
        "overshoot_mm": round(max((run.overshoot_mm for run in result.runs), default=0.0), 4),
        "runs": len(result.runs),
        "undetected": result.count("undetected"),
        "late": result.count("late"),
        "failed": result.count(*FAILURES),
        "unexposed": result.count("unexposed"),
        "ok": result.is_good,
        "codes": dict(Counter(run.code for run in result.runs if run.code)),
        "verdicts": dict(Counter(run.verdict for run in result.runs)),
        "worst_run": None if worst is None else worst.index,
        "detail": "" if worst is None else worst.detail,
    }


def make_table(results: Sequence[ScenarioResult]) -> Table:
    """Return the results as a table for the terminal."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("scenario", "hazards", "reaction", "code"):
        table.add_column(heading, overflow="fold")
    for heading in ("runs", "median", "worst", "bound"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for result in results:
        row = _summarise(result)
        codes = ", ".join(row["codes"])
        verdict = "[green]ok[/]" if row["ok"] else "[bold red]" + _words(row) + "[/]"
        cells = [row["name"], " ".join(row["hazards"]), row["reaction"], codes, str(row["runs"])]
        cells += ["-" if row[key] is None else f"{row[key]:g}" for key in ("median_cycles", "worst_cycles")]
        cells += ["-" if row["bound_cycles"] is None else str(row["bound_cycles"]), verdict]
        table.add_row(*cells)
    return table


def _words(row: dict[str, Any]) -> str:
    """Return in words what went wrong, and with which run."""
    failures = [f"{row['verdicts'][name]} {name.replace('_', ' ')}" for name in FAILURES if name in row["verdicts"]]
    if not failures:
        return "the hazard was never met: no run counts"
    detail = row["detail"].strip().splitlines()[-1:]  # of a traceback, what it says
    return f"{', '.join(failures)}; run {row['worst_run']}: {''.join(detail)}"


def make_junit(results: Sequence[ScenarioResult], *, seed: int, seconds: float) -> bytes:
    """Return the results as JUnit's XML: one test case a scenario, its hazards as properties."""
    failed = [result for result in results if not result.is_good]
    count = {"tests": str(len(results)), "failures": str(len(failed)), "errors": "0", "time": f"{seconds:.1f}"}
    root = ElementTree.Element("testsuites", count)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "trocar hil run", **count})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in {"seed": str(seed), **versions()}.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": value})
    for result in results:
        row = _summarise(result)
        case = ElementTree.SubElement(suite, "testcase", {"classname": "hil", "name": row["name"]})
        own = ElementTree.SubElement(case, "properties")
        for key in ("hazards", "bound_cycles", "worst_cycles", "median_cycles", "runs"):
            value = " ".join(row[key]) if key == "hazards" else str(row[key])
            ElementTree.SubElement(own, "property", {"name": key, "value": value})
        if not row["ok"]:
            failure = ElementTree.SubElement(case, "failure", {"message": _words(row)})
            failure.text = "\n".join(
                f"run {run.index}: {run.verdict}: {run.detail} (phase {run.phase:.5f} s, {run.parameters})"
                for run in result.runs
                if run.verdict not in ("ok",)
            )
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
