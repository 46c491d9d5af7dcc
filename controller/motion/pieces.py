"""What a trajectory is: for each axis pieces of constant jerk, how they are written, and where they lead.

A trajectory is an array of one TRAJECTORY, made once with `np.zeros(1, TRAJECTORY)`. trajectory.py plans it.
"""

import numpy as np
from numba.core import types
from numba.core.types import Tuple  # type: ignore[attr-defined]

from kinematics.compiled import Array, array_of, kernel
from telemetry.sample import MAX_AXES

__all__ = ["MAX_AXES", "MAX_PIECES", "POINT", "TRAJECTORY", "begin_axis", "end_axis", "evaluate", "put_piece"]

MAX_PIECES = 16  # two to come back inside the limits, 13 of a mixture, and the one after the end


PIECE = np.dtype(
    [
        ("t", "f8"),  # s since the start of the trajectory; from here to the next piece's t the jerk is j
        ("p", "f8"),
        ("v", "f8"),
        ("a", "f8"),
        ("j", "f8"),
    ],
    align=True,
)

AXIS = np.dtype(
    [
        ("n", "i8"),  # pieces before the end; pieces[n] is what follows it: on at the target velocity
        ("now", "i8"),  # the piece that `evaluate` was in last
        ("duration", "f8"),  # s
        ("pieces", PIECE, (MAX_PIECES,)),
    ],
    align=True,
)

# What the planner knows of an axis, in units of its jerk limit, mirrored by `side` such that its fastest motion is a
# far one. First what it was asked, as it was given.
WORK = np.dtype(
    [
        ("p_start", "f8"),
        ("v_start", "f8"),
        ("a_start", "f8"),
        ("p_end", "f8"),
        ("v_end", "f8"),
        ("j_max", "f8"),
        ("brake_jerk", "f8"),  # sign, not mirrored
        ("brake_time", "f8"),
        ("brake_hold", "f8"),
        ("side", "f8"),
        ("v0", "f8"),  # after the brake
        ("a0", "f8"),
        ("v1", "f8"),
        ("d", "f8"),
        ("v_max", "f8"),
        ("a_max", "f8"),
        ("d_direct", "f8"),  # what the fastest change of velocity alone covers
        ("close", "f8"),  # distances that differ by less are taken as equal
        ("late", "f8"),  # s: and durations
        ("fixed", "f8"),  # s, brake included: a duration that the axis can take, by the motion that follows
        ("turn", "f8"),  # 1: it is a far motion; -1: it is one in the mirror
        ("rise", "f8"),
        ("cruise", "f8"),
        ("dip", "f8"),
    ],
    align=True,
)

TRAJECTORY = np.dtype(
    [
        ("n_axes", "i8"),
        ("duration", "f8"),  # s, of the slowest axis
        ("axes", AXIS, (MAX_AXES,)),
        ("work", WORK, (MAX_AXES,)),
        ("mix_time", "f8", (2, 8)),  # the two motions that are mixed: when each jerk ends,
        ("mix_jerk", "f8", (2, 8)),  # and the jerk
    ],
    align=True,
)

_T, _V, _f8, _i8 = array_of(TRAJECTORY), types.float64[:], types.float64, types.int64
POINT = Tuple((_i8, _f8, _f8, _f8, _f8))
"""Numba's type of where a piece begins: its number, and t, p, v, a."""

_SIXTH = 1.0 / 6.0


@kernel(POINT(_T, _i8, _i8, _f8, _f8, _f8, _f8, _f8, _f8))
def put_piece(
    trajectory: Array, i: int, n: int, t: float, p: float, v: float, a: float, duration: float, jerk: float
) -> tuple[int, float, float, float, float]:
    """Write piece n of an axis, which begins in (t, p, v, a); return the same of the next one.

    A piece too short to make a difference to the time is overwritten by the next.
    """
    piece = trajectory[0].axes[i].pieces[n]
    piece.t = t
    piece.p = p
    piece.v = v
    piece.a = a
    piece.j = jerk
    duration = max(duration, 0.0)
    end = t + duration
    p += duration * (v + duration * (0.5 * a + duration * jerk * _SIXTH))
    v += duration * (a + 0.5 * duration * jerk)
    return n + int(end > t), end, p, v, a + duration * jerk


@kernel(POINT(_T, _i8))
def begin_axis(trajectory: Array, i: int) -> tuple[int, float, float, float, float]:
    """Return where an axis begins to plan, after the pieces that lead a start outside the limits back."""
    work = trajectory[0].work[i]
    n, t, p, v, a = 0, 0.0, work.p_start, work.v_start, work.a_start
    if work.brake_time + work.brake_hold > 0.0:
        n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, work.brake_time, work.brake_jerk * work.j_max)
        n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, work.brake_hold, 0.0)
    return n, t, p, v, a


@kernel(types.void(_T, _i8, _i8, _f8, _f8, _f8))
def end_axis(trajectory: Array, i: int, n: int, duration: float, p: float, v: float) -> None:
    """End an axis exactly in (p, v, 0): what rounding left over is not carried on."""
    axis = trajectory[0].axes[i]
    axis.n = n
    axis.now = 0
    axis.duration = duration
    end = axis.pieces[n]
    end.t = duration
    end.p = p
    end.v = v
    end.a = 0.0
    end.j = 0.0


@kernel(types.void(_T, _f8, _V, _V, _V))
def evaluate(trajectory: Array, t: float, p: Array, v: Array, a: Array) -> None:
    """Write where all axes are at a time: before 0 at the start, after the end going on at the target velocity.

    Each axis remembers its piece: the search is short where time goes on in small steps, in either direction.

    Args:
        trajectory: TRAJECTORY.
        t: s since the start.
        p: Positions, of which the first n_axes are overwritten.
        v: Velocities, likewise.
        a: Accelerations, likewise.
    """
    record = trajectory[0]
    t = max(t, 0.0)
    for i in range(record.n_axes):
        axis = record.axes[i]
        n = axis.now
        while n < axis.n and t >= axis.pieces[n + 1].t:
            n += 1
        while n > 0 and t < axis.pieces[n].t:
            n -= 1
        axis.now = n
        piece = axis.pieces[n]
        dt = t - piece.t
        p[i] = piece.p + dt * (piece.v + dt * (0.5 * piece.a + dt * piece.j * _SIXTH))
        v[i] = piece.v + dt * (piece.a + 0.5 * dt * piece.j)
        a[i] = piece.a + dt * piece.j
