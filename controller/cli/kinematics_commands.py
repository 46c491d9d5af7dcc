"""Commands that compute with an arm's description alone: workspace."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.options import JsonOption

if TYPE_CHECKING:
    from kinematics.workspace import Workspace

__all__ = ["register"]

PERCENTILES = (5, 25, 50, 75, 95)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel="Compute")(workspace)


def workspace(
    arm: Annotated[
        str, typer.Argument(metavar="ARM", help="A shipped arm's name (trocar arms), or a file that ends in .toml.")
    ],
    samples: Annotated[
        int, typer.Option(min=1000, max=20_000_000, help="How many configurations to look at.")
    ] = 1_000_000,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The picture; default: ARM_workspace.png.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Where the sequence of configurations starts.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Draw where an arm's tip can be, and how well it can move there."""
    from controller.cli.workspace_picture import draw_workspace
    from kinematics.description import load_arm
    from kinematics.workspace import sample_workspace

    if output is not None and not output.parent.is_dir():
        raise typer.BadParameter(
            f"the folder {output.parent} is not there: make it, or name another", param_hint="--output"
        )
    description = load_arm(arm)
    picture = output or Path(re.sub(r"\W+", "_", description.name) + "_workspace.png")
    found = sample_workspace(description, samples=samples, seed=seed)
    figures = _figures(found)
    draw_workspace(description.title, found, _table(figures), picture)
    if as_json:
        settings = {"arm": description.name, "samples": samples, "seed": seed, "picture": str(picture)}
        typer.echo(json.dumps({**settings, **figures}))
        return
    for name, value in _table(figures):
        typer.echo(f"{name:<36} {value}")
    typer.echo(str(picture))


def _figures(found: "Workspace") -> dict[str, Any]:
    import numpy as np

    low, high = found.positions.min(axis=0), found.positions.max(axis=0)

    def percentiles(values: Any) -> dict[str, float]:  # noqa: ANN401
        return {f"p{percent}": float(np.percentile(values, percent)) for percent in PERCENTILES}

    return {
        "max_reach_m": found.max_reach,
        "extent_m": {axis: [float(low[k]), float(high[k])] for k, axis in enumerate("xyz")},
        "volume_m3": found.volume,
        "voxel_m": found.voxel,
        "characteristic_length_m": found.characteristic_length,
        "inverse_condition": percentiles(found.manipulability.inverse_condition),
        "yoshikawa": percentiles(found.manipulability.yoshikawa),
    }


def _table(figures: dict[str, Any]) -> list[tuple[str, str]]:
    volume = figures["volume_m3"]
    rows = [("largest distance from the base", f"{figures['max_reach_m']:.3f} m")]
    rows += [(f"extent in {axis}", f"{low:.3f} … {high:.3f} m") for axis, (low, high) in figures["extent_m"].items()]
    rows += [
        ("reachable volume", f"{volume:.3f} m³" if volume >= 0.1 else f"{volume * 1e3:.2f} litres"),
        ("counted in cubes of", f"{figures['voxel_m'] * 1e3:.1f} mm"),
        ("inverse condition number, median", f"{figures['inverse_condition']['p50']:.3g}"),
        ("with a characteristic length of", f"{figures['characteristic_length_m'] * 1e3:.0f} mm"),
        ("Yoshikawa's manipulability, median", f"{figures['yoshikawa']['p50']:.3g}"),
    ]
    return rows
