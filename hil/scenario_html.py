"""The report of a run of scenarios as one HTML file that needs nothing else: table, histograms, traces of the worst."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hil.scenario_report import FAILURES, summary
from hil.scenario_run import ScenarioResult, Trace
from kinematics.compiled import Array

__all__ = ["make_html"]

WIDTH, HEIGHT, MARGIN = 640, 90, 44
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;width:100%}th,td{padding:.25em .6em;text-align:left;border-bottom:1px solid #ddd;
font-size:13px;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bad{color:#b00020;font-weight:600}.ok{color:#1a7f37}details{margin:.6em 0;border:1px solid #ddd;border-radius:6px;
padding:.4em .8em}summary{cursor:pointer}svg{display:block;max-width:100%}svg text{font:11px system-ui,sans-serif;
fill:#555}pre{white-space:pre-wrap;font-size:12px}dl{display:grid;grid-template-columns:max-content auto;gap:0 1em}
dt{color:#666}dd{margin:0}
"""


def make_html(
    results: Sequence[ScenarioResult],
    traces: dict[str, Trace],
    *,
    phases: int,
    seed: int,
    seconds: float,
    axis_names: Mapping[str, Sequence[str]],
) -> str:
    """Return the report.

    Args:
        results: Of `run_scenarios`.
        traces: Of each scenario's worst run, by the scenario's name; some may be missing.
        phases: How many were asked for.
        seed: What everything was drawn from.
        seconds: How long it took.
        axis_names: Of the arm of each scenario, by the scenario's name.
    """
    data = summary(results, phases=phases, seed=seed, seconds=seconds)
    good = sum(row["ok"] for row in data["scenarios"])
    facts = {
        "scenarios": f"{good} of {len(results)} as they must be",
        "runs": f"{data['runs']}: {data['undetected']} undetected, {data['late']} late, {data['failed']} failed, "
        f"{data['unexposed']} without exposure",
        "seed": str(seed),
        "frames lost": str(data["frames_lost"]),
        "time": f"{seconds:.0f} s",
        **data["versions"],
    }
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Trocar: scenarios</title>",
        f"<style>{STYLE}</style><h1>Faults injected, reactions measured</h1><dl>",
        *(f"<dt>{html.escape(name)}<dd>{html.escape(value)}" for name, value in facts.items()),
        "</dl><table><tr><th>scenario<th>hazards<th>reaction<th>codes<th class=n>runs<th class=n>median"
        "<th class=n>worst<th class=n>bound<th class=n>tip, mm<th>",
    ]
    parts += [_row(row) for row in data["scenarios"]]
    parts.append("</table><p>Cycles from the fault to zero torque, or, for a hold or a ramp, to its beginning.</p>")
    for result, row in zip(results, data["scenarios"], strict=True):
        name = result.scenario.name
        parts.append(_section(result, row, traces.get(name), axis_names.get(name, ())))
    return "\n".join(parts)


def _row(row: dict[str, Any]) -> str:
    cells = [f"<td><a href='#{html.escape(row['name'])}'>{html.escape(row['name'])}</a><td>{' '.join(row['hazards'])}"]
    cells.append(f"<td>{row['reaction']}<td>{html.escape(', '.join(row['codes']))}<td class=n>{row['runs']}")
    for key in ("median_cycles", "worst_cycles", "bound_cycles"):
        cells.append(f"<td class=n>{'-' if row[key] is None else format(row[key], 'g')}")
    failures = ", ".join(f"{row['verdicts'][name]} {name}" for name in FAILURES if name in row["verdicts"])
    end = "<td class=ok>ok" if row["ok"] else f"<td class=bad>{failures or 'no run counts'}"
    return f"<tr>{''.join(cells)}<td class=n>{row['travel_mm']:.2f}{end}"


def _section(result: ScenarioResult, row: dict[str, Any], trace: Trace | None, axis_names: Sequence[str]) -> str:
    name = html.escape(row["name"])
    mark = "<span class=ok>ok</span>" if row["ok"] else "<span class=bad>failed</span>"
    parts = [f"<details id='{name}'{'' if row['ok'] else ' open'}><summary>{mark} <b>{name}</b>: "]
    parts.append(f"{html.escape(row['title'])}</summary>")
    asked = result.scenario.fault or result.scenario.client or result.scenario.host
    if asked is not None:
        applied = sum(run.verdict != "error" for run in result.runs)
        parts.append(f"<p>Asked: {html.escape(str(asked))}. Applied in {applied} of {len(result.runs)} runs.</p>")
    if result.cycles:
        parts.append(_histogram(result.cycles, result.bound_cycles))
    worst = result.worst
    if worst is not None:
        told = {key: value for key, value in vars_of(worst).items() if value not in (None, "", {}, 0.0)}
        parts.append(f"<p>Run {worst.index}:</p><pre>{html.escape(json.dumps(told, default=str))}</pre>")
    if trace is not None:
        axis = worst.parameters.get("axis") if worst is not None else None
        parts.append(_traces(trace, axis if isinstance(axis, int) else None, axis_names))
    parts.append("</details>")
    return "".join(parts)


def vars_of(run: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a record's fields as a dictionary."""
    return {name: getattr(run, name) for name in run.__struct_fields__}


def _histogram(cycles: list[int], bound: int | None) -> str:
    low, high = min(cycles), max(*cycles, bound or 0)
    bins = min(high - low + 1, 60)
    counts, edges = np.histogram(cycles, bins=bins, range=(low - 0.5, high + 0.5))
    width, base = (WIDTH - 2 * MARGIN) / bins, HEIGHT - 18
    bars = [f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width={WIDTH} role=img>"]
    for i, count in enumerate(counts):
        if not count:
            continue
        height = max(2.0, count / counts.max() * (base - 12))
        x = MARGIN + i * width
        bars.append(f"<rect x='{x:.1f}' y='{base - height:.1f}' width='{max(width - 1, 1):.1f}' height='{height:.1f}' ")
        bars.append(f"fill='{COLOURS[0]}'><title>{edges[i] + 0.5:.0f} cycles: {count}</title></rect>")
    if bound is not None:
        x = MARGIN + (bound + 0.5 - low + 0.5) / (high - low + 1) * (WIDTH - 2 * MARGIN)
        bars.append(f"<path d='M{x:.1f} 8V{base}' stroke='#b00020' stroke-dasharray='4 3'/>")
        bars.append(f"<text x='{min(x, WIDTH - 60):.0f}' y='9' style='fill:#b00020'>bound {bound}</text>")
    bars.append(f"<text x='{MARGIN}' y='{HEIGHT - 4}'>{low}</text>")
    bars.append(f"<text x='{WIDTH - MARGIN}' y='{HEIGHT - 4}' text-anchor=end>{high} cycles</text></svg>")
    return "".join(bars)


def _traces(trace: Trace, axis: int | None, axis_names: Sequence[str]) -> str:
    """Return the signals of a run, one beneath the other."""
    s, t = trace.samples, trace.truth
    n = len(axis_names)
    if axis is None:
        span = np.ptp(t["joint_position"][:, :n], axis=0) if len(t) else np.zeros(n)
        axis = int(np.argmax(span / np.maximum(np.abs(span).max(), 1e-12)))
    x_samples = (s["t_ns"] * 1e-3 - trace.applied_us) * 1e-3
    x_truth = (t["t_ns"] * 1e-3 - trace.applied_us) * 1e-3
    name = axis_names[axis]
    panels = [
        _panel(
            f"{name}: set-point, measured, true",
            [
                (x_samples, s["setpoint_position"][:, axis]),
                (x_samples, s["measured_position"][:, axis]),
                (x_truth, t["joint_position"][:, axis]),
            ],
        ),
        _panel(f"{name}: true velocity", [(x_truth, t["joint_velocity"][:, axis])]),
        _panel("motor currents, A", [(x_truth, t["motor_current"][:, j]) for j in range(n)]),
        _panel("power, brakes open", [(x_truth, t["power"]), (x_truth, t["brakes_open"])]),
        _panel("state; code / 100", [(x_samples, s["state"]), (x_samples, s["fault"] / 100.0)]),
    ]
    return "".join(panels)


def _panel(title: str, lines: list[tuple[Array, Array]]) -> str:
    xs, ys = np.concatenate([x for x, _ in lines]), np.concatenate([np.asarray(y, float) for _, y in lines])
    ys = ys[np.isfinite(ys)]
    if not len(xs) or not len(ys):
        return ""
    x0, x1, y0, y1 = float(xs.min()), float(xs.max()), float(ys.min()), float(ys.max())
    if y1 - y0 < 1e-9:
        y0, y1 = y0 - 0.5, y1 + 0.5
    top, base = 16, HEIGHT - 16
    scale_x, scale_y = (WIDTH - 2 * MARGIN) / max(x1 - x0, 1e-9), (base - top) / (y1 - y0)
    svg = [f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width={WIDTH} role=img>"]
    svg.append(f"<text x='{MARGIN}' y='11'>{html.escape(title)}")
    svg.append(f"</text><path d='M{MARGIN} {base}H{WIDTH - MARGIN}' stroke='#ccc'/>")
    zero = MARGIN - x0 * scale_x
    if MARGIN <= zero <= WIDTH - MARGIN:
        svg.append(f"<path d='M{zero:.1f} {top}V{base}' stroke='#b00020' stroke-dasharray='3 3'/>")
    for i, (x, y) in enumerate(lines):
        step = max(1, len(x) // 1200)
        points = " ".join(
            f"{MARGIN + (a - x0) * scale_x:.1f},{base - (b - y0) * scale_y:.1f}"
            for a, b in zip(x[::step], np.asarray(y, float)[::step], strict=True)
            if np.isfinite(b)
        )
        colour = COLOURS[i % len(COLOURS)]
        svg.append(f"<polyline fill=none stroke='{colour}' stroke-width='1.2' points='{points}'/>")
    svg.append(f"<text x='{MARGIN - 4}' y='{base}' text-anchor=end>{y0:.3g}</text>")
    svg.append(f"<text x='{MARGIN - 4}' y='{top + 8}' text-anchor=end>{y1:.3g}</text>")
    svg.append(f"<text x='{MARGIN}' y='{HEIGHT - 3}'>{x0:.0f} ms</text>")
    svg.append(f"<text x='{WIDTH - MARGIN}' y='{HEIGHT - 3}' text-anchor=end>{x1:.0f} ms after the fault</text></svg>")
    return "".join(svg)
