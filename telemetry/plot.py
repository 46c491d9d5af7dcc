"""A recording on one page: where the tip went, how well it followed, what it cost, and how the cycle kept time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from telemetry.errors import MissingExtraError
from telemetry.recording import Recording
from telemetry.sample import OperatingState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_recording"]

Array = np.ndarray[Any, Any]

# Colours after M. Okabe and K. Ito (Color Universal Design, 2008): apart for every kind of colour vision.
INK, MUTED, GRID = "#22303c", "#6b7885", "#e3e7eb"
SETPOINT, MEASURED, TRUE, WORK = "#a9b3bc", "#0072b2", "#d55e00", "#009e73"
STATE_COLOURS = {
    OperatingState.DISABLED: "#c9d0d6",
    OperatingState.ENABLED: "#009e73",
    OperatingState.PAUSED: "#f0b429",
    OperatingState.FAULT: "#c8321f",
}
POINTS = 4000  # of a line, about two for each pixel; longer recordings are drawn as their envelope
SMALLEST_VIEW_MM = 1.0  # of the tip's path, so that an arm at rest is not a picture of encoder steps
SCALES = (1, 2, 5, 10, 20, 50, 100)  # by which deviations from the path may be drawn larger ...
DEVIATION_SHARE = 0.04  # ... so that they take up to this part of its extent
AT_REST_MM = 1e-6  # a step of the set-point that is none
EFFORT_UNITS = {"revolute": "N·m", "prismatic": "N"}


def plot_recording(
    recording: Recording,
    out_png: Path | str,
    *,
    code_names: Mapping[int, str] | None = None,
    path_cycles: Sequence[tuple[int, int]] = (),
) -> Path:
    """Draw a recording and return the picture's path.

    Args:
        recording: What to draw.
        out_png: The picture, PNG.
        code_names: Names of the catalogue's codes, to label faults with; without it their numbers.
        path_cycles: First and last sequence numbers of the parts whose path is drawn; without it all is.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("pictures need matplotlib: pip install 'trocar[plot]'") from error

    style = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "legend.frameon": False,
        "legend.fontsize": 8,
    }
    path = Path(out_png)
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(13.0, 8.6), dpi=140, facecolor="white")
        FigureCanvasAgg(figure)
        _compose(figure, recording, code_names or {}, path_cycles)
        figure.savefig(path, metadata={"Title": f"{recording.arm} {recording.path.name}"})
    return path


def _compose(
    figure: Figure, recording: Recording, code_names: Mapping[int, str], path_cycles: Sequence[tuple[int, int]]
) -> None:
    samples = recording.samples
    t = (samples["t_ns"] - samples["t_ns"][0]) * 1e-9
    active = (samples["state"] == OperatingState.ENABLED) & (samples["is_homed"] != 0)
    true_tip = _true_tip(recording)
    error = _tip_error_mm(samples["setpoint_pose"][:, :3, 3], samples["measured_pose"][:, :3, 3], active)
    true_error = None if true_tip is None else _tip_error_mm(samples["setpoint_pose"][:, :3, 3], true_tip, active)

    outer = figure.add_gridspec(
        1, 2, width_ratios=(1.0, 1.45), left=0.06, right=0.93, top=0.86, bottom=0.065, wspace=0.2
    )
    left = outer[0].subgridspec(2, 1, height_ratios=(1.0, 0.1) if recording.lockstep else (1.75, 1.0), hspace=0.38)
    n_axes = len(recording.axes)
    right = outer[1].subgridspec(3, 1, height_ratios=(1.7, 0.42 * n_axes, 0.3), hspace=0.24)
    strips = right[1].subgridspec(n_axes, 1, hspace=0.22)

    _headline(figure, recording, t, error, true_error)
    drawn = active.copy()
    if path_cycles:
        sequence = samples["sequence"]
        drawn &= np.logical_or.reduce([(sequence >= first) & (sequence <= last) for first, last in path_cycles])
    _draw_path(figure.add_subplot(left[0]), samples, drawn, true_tip)
    _draw_timing(figure.add_subplot(left[1]), recording)
    top = figure.add_subplot(right[0])
    _draw_error(top, t, error, true_error)
    timed = [top]
    for axis in range(n_axes):
        strip = figure.add_subplot(strips[axis], sharex=top)
        _draw_effort(strip, t, samples["measured_effort"][:, axis], recording.axes[axis], recording.axis_kinds[axis])
        timed.append(strip)
    timed[1].set_title("Joint effort, measured")
    band = figure.add_subplot(right[2], sharex=top)
    _draw_states(band, t, samples["state"])
    for axes in timed:
        axes.tick_params(labelbottom=False)
    _mark_faults([*timed, band], t, samples["fault"], code_names)
    top.set_xlim(t[0], max(t[-1], t[0] + 1e-3))
    band.set_xlabel("time [s]" + (", virtual" if recording.lockstep else ""))


def _headline(figure: Figure, recording: Recording, t: Array, error: Array, true_error: Array | None) -> None:
    samples = recording.samples
    figure.text(0.06, 0.955, recording.arm, fontsize=19, fontweight="bold")
    figure.text(0.06, 0.923, recording.path.name, fontsize=9.5, color=MUTED)
    missing = sum(gap.missing for gap in recording.gaps)
    faults = np.count_nonzero((np.diff(samples["fault"].astype(np.int64), prepend=0) != 0) & (samples["fault"] != 0))
    facts = [
        ("duration", f"{t[-1]:.2f} s" + (" virtual" if recording.lockstep else "")),
        ("samples", f"{len(samples):,}"),
        ("missing", f"{missing:,}"),
        ("overruns", f"{int(samples['overruns'][-1]) - int(samples['overruns'][0]):,}"),
        ("faults", f"{faults}"),
        ("tip error, rms", _rms_text(error)),
    ]
    if true_error is not None:
        facts.append(("true tip error, rms", _rms_text(true_error)))
    if not recording.complete:
        facts.append(("file", "unfinished"))
    for i, (name, value) in enumerate(reversed(facts)):
        x = 0.965 - 0.108 * i
        figure.text(x, 0.95, value, fontsize=13, fontweight="bold", ha="right")
        figure.text(x, 0.923, name, fontsize=8.5, color=MUTED, ha="right")


def _draw_path(axes: Axes, samples: Array, active: Array, true_tip: Array | None) -> None:
    from matplotlib.transforms import ScaledTranslation

    setpoint, measured = (samples[f"{which}_pose"][active, :3, 3] * 1e3 for which in ("setpoint", "measured"))
    if not len(setpoint):
        axes.set_title("Tip path")
        _note(axes, "the arm was never enabled and homed")
        return
    # The two axes of the base along which the tip moved most: for work on tissue, the tissue's plane.
    u, v = sorted(np.argsort(np.ptp(setpoint, axis=0), kind="stable")[-2:])
    names = "xyz"
    tips = [("measured", measured, MEASURED)]
    if true_tip is not None:
        tips.append(("true", true_tip[active] * 1e3, TRUE))
    across = [_across(setpoint, tip) for _, tip, _ in tips]
    # A tenth of a millimetre is not seen beside centimetres: draw the deviations larger, and say so.
    largest = max(float(np.percentile(np.linalg.norm(deviation, axis=1), 99.0)) for deviation in across)
    room = DEVIATION_SHARE * float(np.ptp(setpoint, axis=0).max())
    scale = max((step for step in SCALES if step * largest <= room), default=1)
    enlarged = f", deviations × {scale}" if scale > 1 else ""
    axes.set_title(f"Tip path in the base's {names[u]}{names[v]} plane{enlarged}")
    curves = [("set-point", setpoint, SETPOINT, 3.0)]
    for (label, _, colour), deviation in zip(tips, across, strict=True):
        curves.append((label, setpoint + scale * deviation, colour, 1.1))
    for label, tip, colour, width in curves:
        line = tip[:: max(1, len(tip) // (4 * POINTS))]
        axes.plot(line[:, u], line[:, v], color=colour, lw=width, label=label, solid_joinstyle="round")
    axes.plot(*setpoint[0, [u, v]], marker="o", ms=6, mfc="white", mec=INK, mew=1.2, ls="none", label="start")
    axes.plot(*setpoint[-1, [u, v]], marker="s", ms=5.5, mfc=INK, mec=INK, ls="none", label="end")
    axes.set_aspect("equal", adjustable="datalim")
    for centre, span, limit in (
        (float(np.mean(axes.get_xlim())), float(np.ptp(axes.get_xlim())), axes.set_xlim),
        (float(np.mean(axes.get_ylim())), float(np.ptp(axes.get_ylim())), axes.set_ylim),
    ):
        if span < SMALLEST_VIEW_MM:
            limit(centre - SMALLEST_VIEW_MM / 2, centre + SMALLEST_VIEW_MM / 2)
    axes.set_xlabel(f"{names[u]} [mm]")
    axes.set_ylabel(f"{names[v]} [mm]")
    below = axes.transAxes + ScaledTranslation(0.0, -0.42, axes.figure.dpi_scale_trans)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=below, ncols=len(curves) + 2, handlelength=1.6
    )


def _draw_error(axes: Axes, t: Array, error: Array, true_error: Array | None) -> None:
    axes.set_title("Tip error: distance to the set-point")
    if true_error is not None:
        axes.plot(*_thinned(t, true_error), color=TRUE, lw=0.9, label="true tip")
    axes.plot(*_thinned(t, error), color=MEASURED, lw=0.9, label="measured tip")
    axes.set_ylabel("mm")
    axes.set_ylim(bottom=0.0)
    if true_error is not None:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=2, handlelength=1.6, borderaxespad=0.2)


def _draw_effort(axes: Axes, t: Array, effort: Array, name: str, kind: str) -> None:
    axes.plot(*_thinned(t, effort), color=INK, lw=0.8)
    peak = float(np.nanmax(np.abs(effort), initial=0.0))
    bound = peak * 1.15 or 1.0
    axes.set_ylim(-bound, bound)
    axes.set_yticks([0.0])
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.text(-0.012, 0.5, name.replace("_", " "), transform=axes.transAxes, ha="right", va="center", fontsize=8)
    text = f"±{peak:.2g} {EFFORT_UNITS.get(kind, '')}".rstrip()
    axes.text(1.008, 0.5, text, transform=axes.transAxes, ha="left", va="center", fontsize=7.5, color=MUTED)


def _draw_timing(axes: Axes, recording: Recording) -> None:
    axes.set_title("Cycle timing")
    if recording.lockstep:
        _note(axes, "lock-step: time is virtual, every cycle is on time")
        return
    samples = recording.samples
    columns = [
        ("woke late", "wakeup_ns", MEASURED),
        ("own work", "compute_ns", WORK),
        ("serial I/O", "io_ns", TRUE),
    ]
    times = [(label, samples[field] * 1e-3, colour) for label, field, colour in columns]
    high = max(1.0, *(float(values.max()) for _, values, _ in times))
    bins = np.geomspace(0.5, high * 1.1, 70)
    for label, values, colour in times:
        median, p99, worst = np.percentile(values, (50.0, 99.0, 100.0))
        axes.hist(
            np.maximum(values, bins[0]),
            bins=bins.tolist(),
            histtype="stepfilled",
            fc=(*_rgb(colour), 0.18),
            ec=colour,
            lw=1.2,
            label=f"{label}: median {median:.0f}, 99 % {p99:.0f}, max {worst:.0f} µs",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.7, len(samples) * 30.0)  # room for the legend
    axes.set_xlabel("µs")
    axes.set_ylabel("cycles")
    axes.legend(loc="upper left", handlelength=1.2)


def _draw_states(axes: Axes, t: Array, states: Array) -> None:
    edges = np.concatenate(([0], np.flatnonzero(np.diff(states)) + 1, [len(states)]))
    width = max(float(t[-1] - t[0]), 1e-3)
    for first, last in itertools.pairwise(edges.tolist()):
        state = OperatingState(int(states[first]))
        begin, end = t[first], t[min(last, len(t) - 1)]
        axes.axvspan(begin, end, color=STATE_COLOURS[state], lw=0)
        if (end - begin) / width > 0.09:
            dark = state in (OperatingState.ENABLED, OperatingState.FAULT)
            colour = "white" if dark else INK
            axes.text((begin + end) / 2, 0.47, state.name.lower(), ha="center", va="center", fontsize=8, color=colour)
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.text(-0.012, 0.5, "state", transform=axes.transAxes, ha="right", va="center", fontsize=8)


def _mark_faults(all_axes: list[Axes], t: Array, faults: Array, code_names: Mapping[int, str]) -> None:
    begins = np.flatnonzero((np.diff(faults.astype(np.int64), prepend=0) != 0) & (faults != 0))
    for i in begins:
        for axes in all_axes:
            axes.axvline(t[i], color=STATE_COLOURS[OperatingState.FAULT], lw=1.0, ls=(0, (3, 2)), zorder=5)
        code = int(faults[i])
        late = t[i] > 0.7 * t[-1]
        all_axes[0].annotate(
            f"fault {code}" + (f" {code_names[code]}" if code in code_names else ""),
            (t[i], 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            fontsize=8,
            color=STATE_COLOURS[OperatingState.FAULT],
            fontweight="bold",
        )


def _true_tip(recording: Recording) -> Array | None:
    """Return the true tip at each sample's time, (n, 3) in m, or None where the arm was not emulated."""
    truth = recording.truth
    if truth is None:
        return None
    poses = [name for name in truth.dtype.names or () if truth.dtype[name].shape == (4, 4)]
    if not poses:
        return None
    at = np.clip(np.searchsorted(truth["t_ns"], recording.samples["t_ns"]), 0, len(truth) - 1)
    tip: Array = truth[poses[0]][at, :3, 3]
    return tip


def _tip_error_mm(setpoint: Array, tip: Array, active: Array) -> Array:
    """Return each sample's distance of the tip to the set-point that was due then; nan while not in control.

    The set-point in a sample is due at the start of the next cycle, so it is compared with the next sample.
    """
    error = np.full(len(tip), np.nan)
    if len(tip) > 1:
        error[1:] = np.linalg.norm(tip[1:] - setpoint[:-1], axis=1) * 1e3
    error[~active] = np.nan
    error[1:][~active[:-1]] = np.nan
    return error


def _across(setpoint: Array, tip: Array) -> Array:
    """Return the part of the tip's deviation that leads off the path; being late on it is no fault of form.

    The set-point in a sample is due at the start of the next cycle: it is compared with the next sample.
    """
    deviation = np.zeros_like(setpoint)
    deviation[:-1] = tip[1:] - setpoint[:-1]
    step = np.gradient(setpoint, axis=0) if len(setpoint) > 1 else np.zeros_like(setpoint)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    along = np.divide(step, length, out=np.zeros_like(step), where=length > AT_REST_MM)
    across: Array = deviation - along * np.sum(deviation * along, axis=1, keepdims=True)
    return across


def _rms_text(error: Array) -> str:
    known = error[np.isfinite(error)]
    return f"{np.sqrt(np.mean(known**2)):.3f} mm" if len(known) else "-"


def _thinned(t: Array, y: Array) -> tuple[Array, Array]:
    """Return a curve of at most about POINTS points that keeps every peak: the extremes of each stretch."""
    stretch = 2 * len(y) // POINTS
    if stretch < 2:
        return t, y
    n = len(y) // stretch
    rows = np.nan_to_num(y[: n * stretch].reshape(n, stretch), nan=0.0)
    extremes = np.sort(np.column_stack((rows.argmin(axis=1), rows.argmax(axis=1))), axis=1)
    index = (extremes + stretch * np.arange(n)[:, None]).ravel()
    return t[index], y[index]


def _note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _rgb(colour: str) -> tuple[float, float, float]:
    return int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255
