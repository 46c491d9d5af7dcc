"""What the closed forms of the inverse kinematics share: tolerances, the tip taken off, full turns of a joint."""

import math

import numpy as np
from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.chain import ARMS
from kinematics.compiled import Array, kernel

__all__ = [
    "BRANCHES",
    "LIMIT_TOLERANCE",
    "MAX_BRANCHES",
    "NEAR_PARALLEL",
    "NEAR_POINT",
    "POSE_TOLERANCE",
    "TURN",
    "Pose12",
    "copy_around",
    "copy_within",
    "last_frame",
]

f8 = types.float64
Pose12 = tuple[float, float, float, float, float, float, float, float, float, float, float, float]

BRANCHES = types.int64(ARMS, f8[:, ::1], f8[:, ::1])
"""(arm, T, Q): write all branches, limits or not, into Q, (MAX_BRANCHES, 8). Returns how many.

An arm with a redundant joint keeps it where the first row of Q has it on entry.
"""

MAX_BRANCHES = 24

POSE_TOLERANCE = 1e-6  # a rotation further from orthonormal is refused: its answer would be as far off
LIMIT_TOLERANCE = 1e-9  # rad, m: an answer so little outside a limit is put on the limit; far below an encoder's count
NEAR_POINT = 1e-5  # m: a point so near a singular place that the last digits would be lost
NEAR_PARALLEL = 1e-5  # sine: two axes so nearly parallel
TURN = 2.0 * math.pi
PER_TURN = 1.0 / TURN


@kernel(UniTuple(f8, 12)(ARMS, f8[:, ::1]))
def last_frame(arm: Array, T: Array) -> Pose12:
    """Return x, y, z and origin of the last joint's frame, in the base, of a tip's pose: the tip taken off."""
    t = arm[0].tip
    xx = T[0, 0] * t[0, 0] + T[0, 1] * t[0, 1] + T[0, 2] * t[0, 2]
    xy = T[1, 0] * t[0, 0] + T[1, 1] * t[0, 1] + T[1, 2] * t[0, 2]
    xz = T[2, 0] * t[0, 0] + T[2, 1] * t[0, 1] + T[2, 2] * t[0, 2]
    yx = T[0, 0] * t[1, 0] + T[0, 1] * t[1, 1] + T[0, 2] * t[1, 2]
    yy = T[1, 0] * t[1, 0] + T[1, 1] * t[1, 1] + T[1, 2] * t[1, 2]
    yz = T[2, 0] * t[1, 0] + T[2, 1] * t[1, 1] + T[2, 2] * t[1, 2]
    zx = T[0, 0] * t[2, 0] + T[0, 1] * t[2, 1] + T[0, 2] * t[2, 2]
    zy = T[1, 0] * t[2, 0] + T[1, 1] * t[2, 1] + T[1, 2] * t[2, 2]
    zz = T[2, 0] * t[2, 0] + T[2, 1] * t[2, 1] + T[2, 2] * t[2, 2]
    px = T[0, 3] - (xx * t[0, 3] + yx * t[1, 3] + zx * t[2, 3])
    py = T[1, 3] - (xy * t[0, 3] + yy * t[1, 3] + zy * t[2, 3])
    pz = T[2, 3] - (xz * t[0, 3] + yz * t[1, 3] + zz * t[2, 3])
    return xx, xy, xz, yx, yy, yz, zx, zy, zz, px, py, pz


@kernel(f8(f8, f8, f8, f8))
def copy_within(angle: float, near: float, low: float, high: float) -> float:
    """Return the copy angle + 2 pi k in [low, high] that is nearest to `near`, or nan when none is."""
    if abs(near - angle) < math.pi and angle >= low and angle <= high:  # nearly always, and the branch is foreseen
        return angle
    k = np.floor((near - angle) * PER_TURN + 0.5)
    k = max(k, np.ceil((low - LIMIT_TOLERANCE - angle) * PER_TURN))
    k = min(k, np.floor((high + LIMIT_TOLERANCE - angle) * PER_TURN))
    copy: float = angle + k * TURN
    if not copy >= low - LIMIT_TOLERANCE:
        return math.nan
    return min(max(copy, low), high)


@kernel(f8(f8, f8, f8))
def copy_around(angle: float, low: float, high: float) -> float:
    """Return the copy angle + 2 pi k that is nearest to the middle of the limits, within them or not."""
    copy: float = angle + np.floor((0.5 * (low + high) - angle) * PER_TURN + 0.5) * TURN
    return copy
