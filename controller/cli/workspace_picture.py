"""An arm's workspace on one page: three sections with the tip's manipulability, its distribution, the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinematics.compiled import Array
from kinematics.workspace import Workspace
from telemetry.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["draw_workspace"]

INK, MUTED, GRID, REACHED = "#22303c", "#6b7885", "#e3e7eb", "#dfe3e7"
BAR, EDGE = "#7d8aa5", "#4a5670"
COLOURS = "cividis"  # reads the same for every kind of colour vision, and in grey (Nunez et al., PLoS ONE 13(7), 2018)
CELLS = 60  # across a section
SLAB = 0.04  # thickness of a section, of the longest extent
AXES = "xyz"
SECTIONS = ((0, 2, 1), (1, 2, 0), (0, 1, 2))  # across, up, normal
MARGIN = 1.04


def draw_workspace(title: str, workspace: Workspace, figures: Sequence[tuple[str, str]], out_png: Path) -> None:
    """Draw a workspace.

    Args:
        title: The arm's.
        workspace: What to draw.
        figures: Names and values for the table.
        out_png: The picture, PNG.

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
        "axes.axisbelow": True,
        "grid.color": GRID,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "legend.frameon": False,
        "legend.fontsize": 8,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(13.0, 8.8), dpi=130, facecolor="white")
        FigureCanvasAgg(figure)
        _compose(figure, title, workspace, figures)
        figure.savefig(out_png, metadata={"Title": f"{title}: workspace"})


def _compose(figure: Figure, title: str, workspace: Workspace, figures: Sequence[tuple[str, str]]) -> None:
    figure.text(0.05, 0.955, title, fontsize=15, fontweight="bold")
    subtitle = (
        f"Reachable positions of the tip in the base frame; {len(workspace.positions):,} configurations within the "
        "joint limits"
    )
    figure.text(0.05, 0.925, subtitle.replace(",", " "), color=MUTED, fontsize=10)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(1.55, 1.0), left=0.06, right=0.955, top=0.885, bottom=0.06, hspace=0.32
    )
    top = grid[0].subgridspec(1, 4, width_ratios=(1.0, 1.0, 1.0, 0.035), wspace=0.24)
    bottom = grid[1].subgridspec(1, 3, width_ratios=(1.0, 1.0, 0.95), wspace=0.24)
    highest = float(np.percentile(workspace.manipulability.inverse_condition, 99.5)) or 1.0
    middle = np.median(workspace.positions, axis=0)
    low, high = workspace.positions.min(axis=0), workspace.positions.max(axis=0)
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)  # the base is always in the picture
    side = float((high - low).max()) * MARGIN
    images = [
        _draw_section(figure.add_subplot(top[column]), workspace, section, middle, 0.5 * (low + high), side, highest)
        for column, section in enumerate(SECTIONS)
    ]
    bar = figure.colorbar(images[0], cax=figure.add_subplot(top[3]))
    bar.set_label("inverse condition number, mean of the section's cell")
    bar.outline.set_visible(False)
    _draw_distribution(
        figure.add_subplot(bottom[0]),
        "Inverse condition number (1: alike in all directions)",
        workspace.manipulability.inverse_condition,
    )
    _draw_distribution(
        figure.add_subplot(bottom[1]), "Yoshikawa's manipulability (SI units)", workspace.manipulability.yoshikawa
    )
    _draw_figures(figure.add_subplot(bottom[2]), figures)


def _draw_section(
    axes: Axes,
    workspace: Workspace,
    section: tuple[int, int, int],
    middle: Array,
    centre: Array,
    side: float,
    highest: float,
) -> AxesImage:
    u, v, normal = section
    positions, values = workspace.positions, workspace.manipulability.inverse_condition
    thickness = SLAB * side
    ranges = [[centre[k] - 0.5 * side, centre[k] + 0.5 * side] for k in (u, v)]
    inside = np.abs(positions[:, normal] - middle[normal]) <= 0.5 * thickness
    shadow, _, _ = np.histogram2d(positions[:, u], positions[:, v], bins=CELLS, range=ranges)
    count, _, _ = np.histogram2d(positions[inside, u], positions[inside, v], bins=CELLS, range=ranges)
    total, _, _ = np.histogram2d(
        positions[inside, u], positions[inside, v], bins=CELLS, range=ranges, weights=values[inside]
    )
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    extent = (*ranges[0], *ranges[1])
    reached = np.where(shadow > 0, 1.0, np.nan)
    axes.imshow(reached.T, origin="lower", extent=extent, cmap=_one_colour(REACHED), interpolation="nearest")
    image = axes.imshow(
        mean.T, origin="lower", extent=extent, cmap=COLOURS, vmin=0.0, vmax=highest, interpolation="nearest"
    )
    offset = round(float(middle[normal]), 3) + 0.0  # no -0.000
    radius = np.sqrt(max(workspace.max_reach**2 - offset**2, 0.0))
    angle = np.linspace(0.0, 2.0 * np.pi, 361)
    axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=INK, lw=0.9, ls=(0, (5, 3)), label="max. reach")
    axes.plot(0.0, 0.0, marker="P", ms=8, mfc="white", mec=INK, mew=1.2, ls="none", label="base")
    axes.set_xlim(*ranges[0])
    axes.set_ylim(*ranges[1])
    axes.set_title(f"{AXES[u]}{AXES[v]} section at {AXES[normal]} = {offset:.3f} m")
    axes.set_xlabel(f"{AXES[u]} [m]")
    axes.set_ylabel(f"{AXES[v]} [m]")
    if section == SECTIONS[0]:
        axes.plot([], [], marker="s", ms=7, color=REACHED, ls="none", label="reached beside the section")
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16), ncols=3, handlelength=1.8, columnspacing=1.2)
    return image


def _one_colour(colour: str) -> Colormap:
    from matplotlib.colors import ListedColormap

    return ListedColormap([colour])


def _draw_distribution(axes: Axes, title: str, values: Array) -> None:
    axes.set_title(title)
    high = float(np.percentile(values, 99.9)) or 1.0
    axes.hist(
        np.minimum(values, high),
        bins=60,
        range=(0.0, high),
        color=BAR,
        weights=np.full(len(values), 100.0 / len(values)),
    )
    for percent in (5, 50, 95):
        value = float(np.percentile(values, percent))
        axes.axvline(value, color=EDGE, lw=1.1, ls=(0, (3, 2)))
        axes.annotate(
            f"{percent} %",
            (value, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color=EDGE,
        )
    axes.set_xlim(0.0, high)
    axes.set_ylabel("% of configurations")
    axes.grid(visible=True, axis="y")


def _draw_figures(axes: Axes, figures: Sequence[tuple[str, str]]) -> None:
    axes.set_axis_off()
    step = 1.0 / max(len(figures), 1)
    for row, (name, value) in enumerate(figures):
        y = 1.0 - (row + 0.5) * step
        axes.text(0.0, y, name, transform=axes.transAxes, va="center", color=MUTED)
        axes.text(1.0, y, value, transform=axes.transAxes, va="center", ha="right", fontweight="bold")
        if row:
            axes.plot([0.0, 1.0], [1.0 - row * step] * 2, transform=axes.transAxes, color=GRID, lw=0.8)
