"""Online trajectories: jerk-limited, time-optimal, time-synchronised motions of several axes, from any state.

A trajectory is a list of pieces of constant jerk for each axis. It may be planned again at any tick, from whatever
`evaluate` gave last: position, velocity and acceleration go on without a step. Nothing is allocated.

How one axis moves is in axis_profile.py. Here the axes are brought together: each axis tells its shortest duration, and
the longest of these is tried for all. An axis that cannot take just that long (it moves, and would have to turn back)
tells the next duration that it can take, until all agree. The duration found is the shortest that all have in common.

With the duration given, an axis cruises at the velocity that makes it so, between the fastest pulses to and from it.
Where there is no such motion, it mixes the two motions of that duration that go furthest forward and furthest back:
the mixture of two motions within limits is within limits.
"""

from enum import IntEnum

import numpy as np
from numba.core import types
from numba.core.types import UniTuple  # type: ignore[attr-defined]

from controller.motion.axis_profile import (
    NO_DIP,
    brake,
    cruise_motion,
    direct,
    far_motion,
    far_motion_lasting,
    far_times,
)
from controller.motion.pieces import (
    MAX_AXES,
    MAX_PIECES,
    TRAJECTORY,
    begin_axis,
    end_axis,
    evaluate,
    put_piece,
)
from kinematics.compiled import Array, array_of, kernel

__all__ = [
    "MAX_AXES",
    "MAX_PIECES",
    "TRAJECTORY",
    "Status",
    "evaluate",
    "plan",
    "plan_unsynchronised",
    "plan_velocity",
    "plan_velocity_synchronised",
]


class Status(IntEnum):
    """Why there is no plan."""

    OK = 0
    NOT_FINITE = 1  # a start, target or limit is nan or infinite, or so large that the plan would be
    BAD_LIMITS = 2  # a limit is not above zero
    TARGET_TOO_FAST = 3  # the target's velocity is beyond the limit
    BAD_AXES = 4  # n_axes is not in 1 .. MAX_AXES
    UNSOLVED = 5  # no duration was found that suits all axes; the trajectory is empty


_T, _V, _f8, _i8 = array_of(TRAJECTORY), types.float64[:], types.float64, types.int64
_OK, _NOT_FINITE, _BAD_LIMITS = int(Status.OK), int(Status.NOT_FINITE), int(Status.BAD_LIMITS)
_TOO_FAST, _BAD_AXES, _UNSOLVED = int(Status.TARGET_TOO_FAST), int(Status.BAD_AXES), int(Status.UNSOLVED)
_SIXTH = 1.0 / 6.0
_SAME = 1e-12  # relative: distances and velocities that differ by less are taken as equal
_AT_ONCE = 1e-10  # relative: durations that differ by less are taken as equal
_SET_HIGH = 1e5  # limits further beyond what a motion reaches say nothing about its size
_ROUNDING = 2e-15  # relative: what a few roundings may come to


@kernel(types.void(_T, _i8, UniTuple(_f8, 7), _f8, _f8, _f8, _f8))
def _write(
    trajectory: Array,
    i: int,
    times: tuple[float, float, float, float, float, float, float],
    jerk_1: float,
    jerk_2: float,
    v_cruise: float,
    duration: float,
) -> None:
    """Write an axis: the jerks jerk_1, 0, -jerk_1, 0 and -jerk_2, 0, jerk_2, with a cruise between."""
    t1, t2, t3, t4, t5, t6, t7 = times
    n, t, p, v, a = begin_axis(trajectory, i)
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, t1, jerk_1)
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, t2, 0.0)
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, t3, -jerk_1)
    if t4 > 0.0:
        # It is there but for rounding, and a long cruise would multiply what is off.
        n, t, p, v, a = put_piece(trajectory, i, n, t, p, v_cruise, 0.0, t4, 0.0)
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, t5, -jerk_2)
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, t6, 0.0)
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, t7, jerk_2)
    work = trajectory[0].work[i]
    end_axis(trajectory, i, n, duration, work.p_end, work.v_end)


@kernel(types.void(_T, _i8))
def _write_fixed(trajectory: Array, i: int) -> None:
    """Let an axis move in its `fixed` duration."""
    work = trajectory[0].work[i]
    turn = work.turn
    times = far_times(turn * work.v0, turn * work.a0, turn * work.v1, work.rise, work.cruise, work.dip, work.a_max)
    jerk = turn * work.side * work.j_max
    peak = max(turn * (work.v0 + 0.5 * work.a0 * abs(work.a0)), turn * work.v1) + work.rise
    _write(trajectory, i, times, jerk, jerk, jerk * peak, work.fixed)


@kernel(types.boolean(_T, _i8, _f8))
def _write_cruise(trajectory: Array, i: int, duration: float) -> bool:
    """Let an axis move by pulse, cruise and pulse in a duration; return False where there is no such motion."""
    work = trajectory[0].work[i]
    free = duration - work.brake_time - work.brake_hold
    first, q1, hold_1, velocity, cruise, second, q2, hold_2 = cruise_motion(
        work.v0, work.a0, work.v1, work.d, free, work.v_max, work.a_max
    )
    if cruise < 0.0:
        return False
    jerk = work.side * work.j_max
    times = (q1 - first * work.a0, hold_1, q1, cruise, q2, hold_2, q2)
    _write(trajectory, i, times, first * jerk, second * jerk, velocity * jerk, duration)
    return True


@kernel(types.void(_T, _i8, _i8, _f8, _f8, _f8, _f8, _f8))
def _list_jerks(
    trajectory: Array, i: int, k: int, turn: float, rise: float, cruise: float, dip: float, free: float
) -> None:
    """Write when the jerks of a far motion, or of one in the mirror, end: one of the two that are mixed."""
    work = trajectory[0].work[i]
    times = far_times(turn * work.v0, turn * work.a0, turn * work.v1, rise, cruise, dip, work.a_max)
    t = 0.0
    for n in range(7):
        t += times[n]
        trajectory[0].mix_time[k, n] = min(t, free)
        trajectory[0].mix_jerk[k, n] = 0.0
    trajectory[0].mix_time[k, 6] = free
    trajectory[0].mix_jerk[k, 0] = turn
    trajectory[0].mix_jerk[k, 2] = -turn
    trajectory[0].mix_jerk[k, 4] = -turn
    trajectory[0].mix_jerk[k, 6] = turn


@kernel(_f8(_T, _i8, _f8))
def _write_mixture(trajectory: Array, i: int, duration: float) -> float:
    """Let an axis move in a duration by a mixture of the two motions that go furthest; return the duration.

    Where the distance is not between the two, return the next duration in which it can be covered instead.
    """
    work = trajectory[0].work[i]
    v0, a0, v1, d, v_max, a_max = work.v0, work.a0, work.v1, work.d, work.v_max, work.a_max
    t_brake = work.brake_time + work.brake_hold
    free = duration - t_brake
    rise_1, cruise_1, dip_1, d_far = far_motion_lasting(v0, a0, v1, free, v_max, a_max)
    rise_2, cruise_2, dip_2, d_near = far_motion_lasting(-v0, -a0, -v1, free, v_max, a_max)
    d_near = -d_near
    close = work.close + _ROUNDING * (abs(d_near) + abs(d_far))
    turn = 0.0
    if d < d_near - close:
        turn = -1.0
        work.rise, work.cruise, work.dip, free = far_motion(-v0, -a0, -v1, -d, v_max, a_max, rise_2, dip_2, -d_near)
    elif d > d_far + close:
        turn = 1.0
        work.rise, work.cruise, work.dip, free = far_motion(v0, a0, v1, d, v_max, a_max, rise_1, dip_1, d_far)
    if turn != 0.0:
        work.turn = turn
        work.fixed = t_brake + free
        if work.fixed > duration:
            return float(work.fixed)
        _write_fixed(trajectory, i)
        return duration
    share = 1.0
    if d_far > d_near:
        share = min(max((d - d_near) / (d_far - d_near), 0.0), 1.0)
    _list_jerks(trajectory, i, 0, 1.0, rise_1, cruise_1, dip_1, free)
    _list_jerks(trajectory, i, 1, -1.0, rise_2, cruise_2, dip_2, free)
    n, t, p, v, a = begin_axis(trajectory, i)
    done = 0.0
    k_1, k_2 = 0, 0
    while k_1 < 7 and k_2 < 7:
        t_1, t_2 = trajectory[0].mix_time[0, k_1], trajectory[0].mix_time[1, k_2]
        jerk = share * trajectory[0].mix_jerk[0, k_1] + (1.0 - share) * trajectory[0].mix_jerk[1, k_2]
        end = min(t_1, t_2)
        n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, end - done, work.side * work.j_max * jerk)
        done = end
        if t_1 <= end:
            k_1 += 1
        if t_2 <= end:
            k_2 += 1
    end_axis(trajectory, i, n, duration, work.p_end, work.v_end)
    return duration


@kernel(types.void(_T, _i8, _f8, _f8, _f8, _f8, _f8, _f8, _f8, _f8))
def _prepare(
    trajectory: Array,
    i: int,
    p0: float,
    v0: float,
    a0: float,
    p1: float,
    v1: float,
    v_max: float,
    a_max: float,
    j_max: float,
) -> None:
    """Write to `work` what is asked of an axis, and the fastest change of its velocity.

    Almost without branches, and apart from the search: so the processor works on several axes at once.
    """
    work = trajectory[0].work[i]
    work.p_start, work.v_start, work.a_start = p0, v0, a0
    work.p_end, work.v_end, work.j_max = p1, v1, j_max
    scale = 1.0 / j_max
    v0 *= scale
    a0 *= scale
    v1 *= scale
    v_max *= scale
    a_max *= scale
    d = (p1 - p0) * scale
    t_brake = 0.0
    work.brake_time, work.brake_hold = 0.0, 0.0
    v_left = v0 + 0.5 * a0 * abs(a0)
    if max(abs(v0), abs(v_left)) > v_max or abs(a0) > a_max:
        jerk, t_jerk, t_hold = brake(v0, a0, v_max, a_max)
        work.brake_jerk, work.brake_time, work.brake_hold = jerk, t_jerk, t_hold
        d -= t_jerk * (v0 + t_jerk * (0.5 * a0 + t_jerk * jerk * _SIXTH))
        v0 += t_jerk * (a0 + 0.5 * t_jerk * jerk)
        a0 += t_jerk * jerk
        d -= t_hold * (v0 + 0.5 * t_hold * a0)
        v0 += t_hold * a0
        t_brake = t_jerk + t_hold
        # What is left beyond the limits is rounding.
        v_left = v0 + 0.5 * a0 * abs(a0)
        v_max = max(v_max, abs(v_left))
        a_max = max(a_max, abs(a0))
    # A plan made on the way of another must not turn back because rounding has put the end a hair's breadth too near.
    # What rounding did to the velocities changes the duration by that over the peak acceleration.
    off = _ROUNDING * (abs(v0) + 0.5 * a0 * a0 + abs(v1))
    if abs(v1 - v_left) <= _SAME * abs(v1) + off + min(_ROUNDING * v_max, _SET_HIGH * off):
        v1 = v_left
    _, shortest, d_direct, peak = direct(v0, a0, v1, a_max)
    turn = -1.0 if d < d_direct else 1.0
    work.side = turn
    work.v0, work.a0, work.v1, work.d, work.v_max, work.a_max = turn * v0, turn * a0, turn * v1, turn * d, v_max, a_max
    # By the target, not by the way that is left: what was near enough once must still be so a little later.
    speed = abs(v1)
    time_to_stop = min(2.0 * np.sqrt(speed), speed / a_max + a_max)
    size = scale * (abs(p0) + abs(p1)) + speed * time_to_stop
    close = _SAME * size + _ROUNDING * min(v_max * (a_max + v_max / a_max), _SET_HIGH * size) + off * shortest
    work.close = close + speed * off / max(peak, np.sqrt(off), 1e-150)
    work.late = _AT_ONCE * time_to_stop
    work.d_direct = turn * d_direct
    work.fixed = t_brake + shortest


@kernel(types.void(_T, _i8))
def _solve(trajectory: Array, i: int) -> None:
    """Write the fastest motion of an axis to `work`."""
    work = trajectory[0].work[i]
    v0, a0, v1, d, d_direct = work.v0, work.a0, work.v1, work.d, work.d_direct
    work.turn = 1.0
    if d - d_direct <= work.close:
        work.rise = 0.0
        work.cruise = 0.0
        work.dip = -a0 if a0 < 0.0 and v1 < v0 - 0.5 * a0 * a0 else NO_DIP
    else:
        rise, cruise, dip, shortest = far_motion(v0, a0, v1, d, work.v_max, work.a_max, 0.0, np.inf, d_direct)
        work.rise, work.cruise, work.dip = rise, cruise, dip
        work.fixed = work.brake_time + work.brake_hold + shortest


@kernel(_i8(_T, _i8, _V, _V, _V, _V, _V, _V, _V, _V))
def _solve_all(
    trajectory: Array,
    n_axes: int,
    p0: Array,
    v0: Array,
    a0: Array,
    p1: Array,
    v1: Array,
    v_max: Array,
    a_max: Array,
    j_max: Array,
) -> int:
    """Check what is asked and find the fastest motion of each axis; return a Status."""
    if not 1 <= n_axes <= MAX_AXES:
        return _BAD_AXES
    for i in range(n_axes):
        total = p0[i] + v0[i] + a0[i] + p1[i] + v1[i] + v_max[i] + a_max[i] + j_max[i]
        if not np.isfinite(total):
            return _NOT_FINITE
        if not (v_max[i] > 0.0 and a_max[i] > 0.0 and j_max[i] > 0.0):
            return _BAD_LIMITS
        if abs(v1[i]) > v_max[i]:
            return _TOO_FAST
    for i in range(n_axes):
        _prepare(trajectory, i, p0[i], v0[i], a0[i], p1[i], v1[i], v_max[i], a_max[i], j_max[i])
    for i in range(n_axes):
        _solve(trajectory, i)
        work = trajectory[0].work[i]
        if not np.isfinite(work.d + work.close + work.fixed):
            return _NOT_FINITE
    return _OK


@kernel(_i8(_T, _i8, _V, _V, _V, _V, _V, _V, _V, _V))
def plan(
    trajectory: Array,
    n_axes: int,
    p0: Array,
    v0: Array,
    a0: Array,
    p1: Array,
    v1: Array,
    v_max: Array,
    a_max: Array,
    j_max: Array,
) -> int:
    """Plan the fastest motion on which all axes reach their targets at the same instant; return a Status.

    From any position, velocity and acceleration to (p1, v1, 0). A start outside the limits, or bound to leave them, is
    first brought back inside, as fast as jerk allows. When the plan is refused, the trajectory stays as it was.

    Args:
        trajectory: TRAJECTORY, overwritten.
        n_axes: 1 to MAX_AXES; the first so many elements of the vectors are read.
        p0: Positions at the start; rad or m, and so on for all that follow.
        v0: Velocities at the start.
        a0: Accelerations at the start.
        p1: Positions at the end.
        v1: Velocities at the end, within v_max.
        v_max: Limits of |v|, above 0.
        a_max: Limits of |a|, above 0.
        j_max: Limits of |j|, above 0.
    """
    status = _solve_all(trajectory, n_axes, p0, v0, a0, p1, v1, v_max, a_max, j_max)
    if status != _OK:
        return status
    duration = 0.0
    for i in range(n_axes):
        duration = max(duration, trajectory[0].work[i].fixed)
    trajectory[0].n_axes = n_axes
    i = 0
    tries = 0
    while i < n_axes:
        work = trajectory[0].work[i]
        if work.fixed + work.late >= duration * (1.0 - _ROUNDING):
            _write_fixed(trajectory, i)
        elif not _write_cruise(trajectory, i, duration):
            possible = _write_mixture(trajectory, i, duration)
            if possible > duration:
                # All over again with this duration, which is longer than before: so an end comes.
                duration = possible
                i = -1
                tries += 1
                if tries > 4 * MAX_AXES:
                    trajectory[0].n_axes = 0
                    trajectory[0].duration = 0.0
                    return _UNSOLVED
        i += 1
    trajectory[0].duration = duration
    return _OK


@kernel(_i8(_T, _i8, _V, _V, _V, _V, _V, _V, _V, _V))
def plan_unsynchronised(
    trajectory: Array,
    n_axes: int,
    p0: Array,
    v0: Array,
    a0: Array,
    p1: Array,
    v1: Array,
    v_max: Array,
    a_max: Array,
    j_max: Array,
) -> int:
    """Plan like `plan`, but let each axis reach its target as soon as it can, and go on at the target velocity."""
    status = _solve_all(trajectory, n_axes, p0, v0, a0, p1, v1, v_max, a_max, j_max)
    if status != _OK:
        return status
    duration = 0.0
    for i in range(n_axes):
        _write_fixed(trajectory, i)
        duration = max(duration, trajectory[0].work[i].fixed)
    trajectory[0].n_axes = n_axes
    trajectory[0].duration = duration
    return _OK


@kernel(_i8(_T, _i8, _V, _V, _V, _V, _V, _V))
def _solve_velocity(
    trajectory: Array, n_axes: int, p0: Array, v0: Array, a0: Array, v1: Array, a_max: Array, j_max: Array
) -> int:
    """Check what is asked and find the shortest duration of each axis; return a Status."""
    if not 1 <= n_axes <= MAX_AXES:
        return _BAD_AXES
    for i in range(n_axes):
        if not np.isfinite(p0[i] + v0[i] + a0[i] + v1[i] + a_max[i] + j_max[i]):
            return _NOT_FINITE
        if not (a_max[i] > 0.0 and j_max[i] > 0.0):
            return _BAD_LIMITS
    for i in range(n_axes):
        work = trajectory[0].work[i]
        work.p_start, work.v_start, work.a_start = p0[i], v0[i], a0[i]
        work.v_end, work.j_max = v1[i], j_max[i]
        scale = 1.0 / j_max[i]
        v, a = v0[i] * scale, a0[i] * scale
        jerk, t_jerk, _ = brake(v, a, np.inf, a_max[i] * scale)
        work.brake_jerk, work.brake_time, work.brake_hold = jerk, t_jerk, 0.0
        work.v0 = v + t_jerk * (a + 0.5 * t_jerk * jerk)
        work.a0 = a + t_jerk * jerk
        work.v1 = v1[i] * scale
        work.a_max = max(a_max[i] * scale, abs(work.a0))
        _, shortest, _, _ = direct(work.v0, work.a0, work.v1, work.a_max)
        work.fixed = t_jerk + shortest
        if not np.isfinite(work.fixed):
            return _NOT_FINITE
    return _OK


@kernel(types.void(_T, _i8, _f8))
def _write_velocity(trajectory: Array, i: int, duration: float) -> None:
    """Let an axis reach its velocity in a duration, at least the shortest, by a stay at the one acceleration that fits.

    With a stay at b, v1 - v0 = b free - |b - a0| (b - a0) / 2 - |b| b / 2, mirrored such that a0 >= 0.
    """
    work = trajectory[0].work[i]
    side = 1.0
    if work.a0 < 0.0:
        side = -1.0
    a0 = side * work.a0
    change = side * (work.v1 - work.v0)
    free = duration - work.brake_time
    if change >= a0 * free - 0.5 * a0 * a0:
        c = 0.5 * a0 * a0 + change
        b = 2.0 * c / (a0 + free + np.sqrt(max(0.0, (a0 + free) * (a0 + free) - 4.0 * c))) if c > 0.0 else 0.0
    elif change >= 0.5 * a0 * a0:
        b = (change - 0.5 * a0 * a0) / (free - a0)
    else:
        c = 0.5 * a0 * a0 - change
        root = free - a0 + np.sqrt(max(0.0, (free - a0) * (free - a0) - 4.0 * c))
        b = -2.0 * c / root if root > 0.0 else 0.0  # no time but to take a0 away, and c is rounding
    jerk = side * work.j_max
    n, t, p, v, a = begin_axis(trajectory, i)
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, abs(b - a0), np.copysign(jerk, jerk * (b - a0)))
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, free - abs(b - a0) - abs(b), 0.0)
    n, t, p, v, a = put_piece(trajectory, i, n, t, p, v, a, abs(b), np.copysign(jerk, -jerk * b))
    end_axis(trajectory, i, n, duration, p, work.v_end)


@kernel(_i8(_T, _i8, _V, _V, _V, _V, _V, _V))
def plan_velocity(
    trajectory: Array, n_axes: int, p0: Array, v0: Array, a0: Array, v1: Array, a_max: Array, j_max: Array
) -> int:
    """Plan the fastest change to a velocity for each axis on its own, wherever it ends; return a Status.

    To velocity 0 this is the shortest stop. Velocities know no limit here: what is there is kept or left, and a target
    is the caller's. When the plan is refused, the trajectory stays as it was.

    Args:
        trajectory: TRAJECTORY, overwritten.
        n_axes: 1 to MAX_AXES.
        p0: Positions at the start.
        v0: Velocities at the start.
        a0: Accelerations at the start; those beyond a_max are brought back first.
        v1: Velocities at the end.
        a_max: Limits of |a|, above 0.
        j_max: Limits of |j|, above 0.
    """
    status = _solve_velocity(trajectory, n_axes, p0, v0, a0, v1, a_max, j_max)
    if status != _OK:
        return status
    duration = 0.0
    for i in range(n_axes):
        fixed = trajectory[0].work[i].fixed
        _write_velocity(trajectory, i, fixed)
        duration = max(duration, fixed)
    trajectory[0].n_axes = n_axes
    trajectory[0].duration = duration
    return _OK


@kernel(_i8(_T, _i8, _V, _V, _V, _V, _V, _V))
def plan_velocity_synchronised(
    trajectory: Array, n_axes: int, p0: Array, v0: Array, a0: Array, v1: Array, a_max: Array, j_max: Array
) -> int:
    """Plan like `plan_velocity`, but let all axes reach their velocities at the same instant, that of the slowest."""
    status = _solve_velocity(trajectory, n_axes, p0, v0, a0, v1, a_max, j_max)
    if status != _OK:
        return status
    duration = 0.0
    for i in range(n_axes):
        duration = max(duration, trajectory[0].work[i].fixed)
    for i in range(n_axes):
        _write_velocity(trajectory, i, duration)
    trajectory[0].n_axes = n_axes
    trajectory[0].duration = duration
    return _OK
