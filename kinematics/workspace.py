"""Where an arm's tip can be and how well it moves there, from evenly spread samples of its joint space."""

from typing import NamedTuple

import numpy as np

from kinematics import batch
from kinematics.batch import Manipulability
from kinematics.compiled import Array
from kinematics.description import ArmDescription

__all__ = ["Workspace", "sample_workspace", "spread_positions"]

VOXELS = 48  # along the longest extent, or fewer ...
SAMPLES_PER_VOXEL = 10  # ... so that the box around the workspace has this many for each


class Workspace(NamedTuple):
    """What the samples tell."""

    positions: Array
    """Of the tip in the base frame, (N, 3), m."""
    manipulability: Manipulability
    characteristic_length: float
    """m; of the condition numbers."""
    max_reach: float
    """m; the largest distance of the tip from the base's origin among the samples."""
    volume: float
    """m³; of the voxels that hold a sample, those on the border counted half."""
    voxel: float
    """m; their edge."""


def spread_positions(description: ArmDescription, count: int, seed: int) -> Array:
    """Return joint positions that cover the space between the limits evenly, (count, n_joints), rad and m.

    The additive sequence of generalised golden ratios (M. Roberts, "The unreasonable effectiveness of quasirandom
    sequences", 2018), from a random start: no clusters and no gaps, as independent random numbers have.
    """
    n = description.n_joints
    arm = description.record[0]
    ratio = 2.0
    for _ in range(60):  # the root of x^(n + 1) = x + 1; a contraction
        ratio = (1.0 + ratio) ** (1.0 / (n + 1))
    steps = ratio ** -np.arange(1.0, n + 1.0)
    start = np.random.default_rng(seed).uniform(size=n)
    parts = (start + np.arange(count)[:, None] * steps) % 1.0
    low, high = arm["position_min"][:n], arm["position_max"][:n]
    positions: Array = low + parts * (high - low)
    return positions


def sample_workspace(description: ArmDescription, *, samples: int, seed: int = 1) -> Workspace:
    """Return where the tip can be.

    Args:
        description: The arm.
        samples: How many configurations to look at; the volume wants some tens for each voxel.
        seed: Where the sequence starts.
    """
    Q = spread_positions(description, samples, seed)
    positions = batch.forward(description, Q)[:, :3, 3].copy()
    length = batch.characteristic_length(description)
    voxel, volume = _volume(positions)
    return Workspace(
        positions=positions,
        manipulability=batch.manipulability(description, Q, length=length),
        characteristic_length=length,
        max_reach=float(np.linalg.norm(positions, axis=1).max()),
        volume=volume,
        voxel=voxel,
    )


def _volume(positions: Array) -> tuple[float, float]:
    """Return the voxels' edge and the volume that they fill.

    A voxel on the border, with an empty neighbour, is half outside on average: counted whole, those of an arm's
    workspace would add a fifth to it.
    """
    count = max(8, min(VOXELS, round((len(positions) / SAMPLES_PER_VOXEL) ** (1.0 / 3.0))))
    edge = float(np.ptp(positions, axis=0).max()) / count
    if edge == 0.0:
        return 0.0, 0.0
    cells = np.floor((positions - positions.min(axis=0)) / edge).astype(np.int64) + 1
    filled = np.zeros((count + 3,) * 3, dtype=bool)
    filled[tuple(cells.T)] = True
    inside = filled.copy()
    for axis in range(3):
        for step in (-1, 1):
            inside &= np.roll(filled, step, axis)
    return edge, 0.5 * float(filled.sum() + inside.sum()) * edge**3
