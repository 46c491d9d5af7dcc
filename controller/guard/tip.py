"""Where the tip may be: volumes to stay inside or outside of, and the remote centre."""

from enum import IntEnum

import numpy as np
from numba.core import types

from controller.catalogue import Code
from controller.guard.records import GUARD, tell
from kinematics.compiled import Array, array_of, kernel

__all__ = ["Shape", "check_remote_center", "check_tip", "keep_tip", "wall_distance"]


class Shape(IntEnum):
    """Of a volume; the names are the configuration's."""

    HALF_SPACE = 0
    SPHERE = 1
    BOX = 2
    CYLINDER = 3


TOLERANCE = 0.0005  # m beyond a wall that the measured tip may be: tracking and calibration
OFF_CENTER_MARGIN = 0.25  # of remote_center_warn: so much further off is told again

_OK, _WORKSPACE = int(Code.OK), int(Code.WORKSPACE)
_OFF, _LOST = int(Code.REMOTE_CENTER_OFF), int(Code.REMOTE_CENTER_LOST)
_SPHERE, _BOX, _CYLINDER = int(Shape.SPHERE), int(Shape.BOX), int(Shape.CYLINDER)
_GUARD, _VECTOR, _i8, _f8 = array_of(GUARD), types.float64[:], types.int64, types.float64


@kernel(_f8(_GUARD, _i8, _VECTOR))
def _distance(guard: Array, k: int, point: Array) -> float:
    """Return how far a point is from the wall of a volume, m: positive where it may be; NaN for what is no point."""
    if not np.isfinite(point[0] + point[1] + point[2]):
        return np.nan
    g = guard[0]
    x = point[0] - g.volume_center[k, 0]
    y = point[1] - g.volume_center[k, 1]
    z = point[2] - g.volume_center[k, 2]
    shape = g.volume_shape[k]
    if shape == _SPHERE:
        inside = g.volume_radius[k] - np.sqrt(x * x + y * y + z * z)
    elif shape == _BOX:
        x = abs(x) - g.volume_half_size[k, 0]
        y = abs(y) - g.volume_half_size[k, 1]
        z = abs(z) - g.volume_half_size[k, 2]
        inside = -max(x, max(y, z))
        if inside < 0.0:
            x = max(x, 0.0)
            y = max(y, 0.0)
            z = max(z, 0.0)
            inside = -np.sqrt(x * x + y * y + z * z)
    else:
        dx = g.volume_direction[k, 0]
        dy = g.volume_direction[k, 1]
        dz = g.volume_direction[k, 2]
        inside = x * dx + y * dy + z * dz
        if shape == _CYLINDER:
            x -= inside * dx
            y -= inside * dy
            z -= inside * dz
            inside = g.volume_radius[k] - np.sqrt(x * x + y * y + z * z)
    return float(g.volume_keep[k] * inside)


@kernel(_f8(_GUARD, _VECTOR))
def wall_distance(guard: Array, point: Array) -> float:
    """Return how far a point (3,) of the base frame is from the nearest wall, m; negative: where the tip must not be.

    Without volumes it is infinite. A point that is no number is infinitely far beyond them.
    """
    nearest = np.inf
    for k in range(guard[0].n_volumes):
        distance = _distance(guard, k, point)
        if np.isnan(distance):
            return -np.inf
        nearest = min(nearest, distance)
    return nearest


@kernel(types.void(_GUARD, _VECTOR))
def keep_tip(guard: Array, sent: Array) -> None:
    """Remember the tip, (3,), of what was sent, where that is another command than `check_tip` was asked about."""
    g = guard[0]
    g.tip_known = 1
    for j in range(3):
        g.tip[j] = sent[j]


@kernel(_i8(_GUARD, _VECTOR, _VECTOR))
def check_tip(guard: Array, commanded: Array, measured: Array) -> int:
    """Return 0, or that the tip is too fast so near to a wall, or beyond one; `guard.scale` is what its step may be.

    Towards a wall at a distance d the tip may have the speed from which it stops in time, sqrt(2 deceleration d), and
    none at the wall or beyond it. Away from it, and back from beyond it, it may always go. The speed is that of the
    commanded tip since the one sent last. Where the measured tip is more than 0.5 mm beyond, that is told once, and
    again when it goes another 0.5 mm further: it must be possible to bring it back.

    Args:
        guard: GUARD, (1,). `scale` becomes the part of the step from the last tip that is allowed, 0..1.
        commanded: Tip of the command to be sent, (3,), m, base frame.
        measured: Tip by the measured joints, (3,).
    """
    g = guard[0]
    g.scale = 1.0
    code = _OK
    if g.tip_known:
        for k in range(g.n_volumes):
            distance = _distance(guard, k, commanded)
            speed = (_distance(guard, k, g.tip[:]) - distance) / g.period
            allowed = np.sqrt(2.0 * g.deceleration * max(0.0, distance))
            if not speed <= allowed:  # so that what is no number does not pass
                scale = allowed / speed
                if np.isnan(scale):
                    scale = 0.0
                if scale < g.scale:
                    g.scale = scale
                    code = tell(guard, _WORKSPACE, -1, speed, allowed)
    keep_tip(guard, commanded)

    excess = -wall_distance(guard, measured)
    if excess > TOLERANCE + g.excess:
        g.excess = excess
        code = tell(guard, _WORKSPACE, -1, excess, TOLERANCE)
    else:
        g.excess = max(min(g.excess, excess), 0.0)
    return code


@kernel(_i8(_GUARD, _f8))
def check_remote_center(guard: Array, distance: float) -> int:
    """Return 0, or that the shaft is off the remote centre, or has left it.

    That it is off is told once, and again when it goes a quarter of that bound further: the arm must be able to return.

    Args:
        guard: GUARD, (1,).
        distance: m from the shaft, by the measured joints, to the remote centre; 0 where there is none.
    """
    g = guard[0]
    if not distance <= g.remote_center_max:
        return tell(guard, _LOST, -1, distance, g.remote_center_max)
    if distance <= g.remote_center_warn:
        g.off_center = 0.0
        return _OK
    if distance > g.off_center + OFF_CENTER_MARGIN * g.remote_center_warn:
        g.off_center = distance
        return tell(guard, _OFF, -1, distance, g.remote_center_warn)
    g.off_center = min(g.off_center, distance)
    return _OK
