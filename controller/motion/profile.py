"""Jerk-limited profiles: one coordinate that starts, moves and comes to rest within three limits.

A profile is at most seven segments of constant jerk. It knows no units: the coordinate is the parameter of a path
(path.py), and the limits are those of that parameter. Planning and evaluating allocate nothing, so both may be called
in the cycle.

The two problems solved are time-optimal under |v| <= v_max, |a| <= a_max, |j| <= j_max:

- *Rest to rest* is the symmetric double S. The times are found in the order jerk, acceleration, cruise, each the
  longest that the limits below it and the distance allow, as in P. Lambrechts, M. Boerlage, M. Steinbuch, "Trajectory
  planning and feedforward design for electromechanical motion systems", Control Engineering Practice 13 (2005)
  145-157, section 3. It covers every degenerate case (no cruise, no constant acceleration) without naming it.
- *Stop* drives (v0, a0) to (0, 0), wherever that ends. Seen in the (v, a) plane this is the double integrator with
  the jerk as its input and |a| bounded, whose time-optimal input is bang-bang with one switch, and a stay at the
  bound between (A. E. Bryson, Y.-C. Ho, "Applied Optimal Control", 1975, section 3.9).
"""

import math

import numpy as np
from numba.core import types

from kinematics.compiled import Array, array_of, kernel

__all__ = ["MAX_SEGMENTS", "PROFILE", "evaluate", "plan_rest_to_rest", "plan_stop"]

MAX_SEGMENTS = 7

PROFILE = np.dtype(
    [
        ("n", "i8"),  # segments; entry i of the arrays begins segment i, entry n is the end, at rest
        ("duration", "f8"),  # s, equal to t[n]
        ("t", "f8", (MAX_SEGMENTS + 1,)),  # s since the start of the profile
        ("p", "f8", (MAX_SEGMENTS + 1,)),
        ("v", "f8", (MAX_SEGMENTS + 1,)),
        ("a", "f8", (MAX_SEGMENTS + 1,)),
        ("j", "f8", (MAX_SEGMENTS + 1,)),
    ],
    align=True,
)

_profile = array_of(PROFILE)
_f8 = types.float64


@kernel(types.void(_profile, _f8, _f8, _f8, _f8, _f8))
def _append(profile: Array, p: float, v: float, a: float, j: float, duration: float) -> None:
    """Add a segment that begins in (p, v, a); one too short to make a difference to the time is left out."""
    n = profile[0].n
    if profile[0].t[n] + duration > profile[0].t[n]:
        profile[0].p[n] = p
        profile[0].v[n] = v
        profile[0].a[n] = a
        profile[0].j[n] = j
        profile[0].t[n + 1] = profile[0].t[n] + duration
        profile[0].n = n + 1


@kernel(types.void(_profile, _f8))
def _finish(profile: Array, p: float) -> None:
    """End the profile at rest in p, exactly: what rounding left over is not carried into the end."""
    n = profile[0].n
    profile[0].p[n] = p
    profile[0].v[n] = 0.0
    profile[0].a[n] = 0.0
    profile[0].j[n] = 0.0
    profile[0].duration = profile[0].t[n]


@kernel(types.int64(_profile, _f8, _f8, _f8, _f8))
def plan_rest_to_rest(profile: Array, distance: float, v_max: float, a_max: float, j_max: float) -> int:
    """Plan the fastest motion from rest at 0 to rest at `distance`; return 0, or 1 for a bad argument.

    The end is exact: p = distance, v = a = 0. v_max and a_max may be infinite (no such limit). All three infinite say
    that nothing has to move: the profile is then at its end at once.

    Args:
        profile: PROFILE, overwritten. After a bad argument it rests at 0, with no duration.
        distance: At least 0, finite.
        v_max: Above 0.
        a_max: Above 0.
        j_max: Above 0; finite unless all three are infinite.
    """
    profile[0].n = 0
    profile[0].t[0] = 0.0
    if not (0.0 <= distance < math.inf and v_max > 0.0 and a_max > 0.0 and j_max > 0.0):
        _finish(profile, 0.0)
        return 1
    if j_max == math.inf:
        is_free = v_max == math.inf and a_max == math.inf
        _finish(profile, distance if is_free else 0.0)
        return 0 if is_free else 1
    if distance == 0.0:
        _finish(profile, 0.0)
        return 0

    # Four jerk phases alone cover 2 j t^3 and peak at v = j t^2, a = j t.
    t_jerk = min(np.cbrt(0.5 * distance / j_max), math.sqrt(v_max / j_max), a_max / j_max)
    a_peak = j_max * t_jerk
    # With x = t_jerk + t_acceleration: peak v = a_peak x, and without cruise distance = a_peak x (x + t_jerk).
    x_velocity = v_max / a_peak
    x_distance = math.sqrt(0.25 * t_jerk * t_jerk + distance / a_peak) - 0.5 * t_jerk
    t_acceleration = max(0.0, min(x_velocity, x_distance) - t_jerk)
    v_peak = a_peak * (t_jerk + t_acceleration)
    t_cruise = max(0.0, distance / v_peak - (2.0 * t_jerk + t_acceleration))

    v_1 = 0.5 * a_peak * t_jerk
    p_1 = a_peak * t_jerk * t_jerk / 6.0
    v_2 = v_1 + a_peak * t_acceleration
    p_2 = p_1 + t_acceleration * (v_1 + 0.5 * a_peak * t_acceleration)
    p_3 = v_peak * (t_jerk + 0.5 * t_acceleration)

    # The second half mirrors the first, counted from the end: so rounding cannot add up along the way.
    _append(profile, 0.0, 0.0, 0.0, j_max, t_jerk)
    _append(profile, p_1, v_1, a_peak, 0.0, t_acceleration)
    _append(profile, p_2, v_2, a_peak, -j_max, t_jerk)
    _append(profile, p_3, v_peak, 0.0, 0.0, t_cruise)
    _append(profile, distance - p_3, v_peak, 0.0, -j_max, t_jerk)
    _append(profile, distance - p_2, v_2, -a_peak, 0.0, t_acceleration)
    _append(profile, distance - p_1, v_1, -a_peak, j_max, t_jerk)
    _finish(profile, distance)
    return 0


@kernel(types.int64(_profile, _f8, _f8, _f8, _f8, _f8))
def plan_stop(profile: Array, p0: float, v0: float, a0: float, a_max: float, j_max: float) -> int:
    """Plan the fastest stop from (p0, v0, a0); return 0, or 1 for a bad argument.

    Where |a0| exceeds a_max (the limits have just become narrower), it is brought back at full jerk. |v| may grow
    only while the acceleration that is there already is taken away; then it falls without a rise, unless a0 brakes so
    hard that v must pass through zero. Both limits infinite say that nothing has to move: rest at p0, at once.

    Args:
        profile: PROFILE, overwritten. After a bad argument it rests at p0, with no duration.
        p0: Finite, as v0 and a0; of any sign.
        v0: Velocity at the start.
        a0: Acceleration at the start.
        a_max: Above 0; may be infinite (no such limit).
        j_max: Above 0; finite unless both are infinite.
    """
    profile[0].n = 0
    profile[0].t[0] = 0.0
    if not (math.isfinite(p0) and math.isfinite(v0) and math.isfinite(a0) and a_max > 0.0 and j_max > 0.0):
        _finish(profile, p0)
        return 1
    if j_max == math.inf:
        _finish(profile, p0)
        return 0 if a_max == math.inf else 1

    # The velocity that is left when the acceleration alone is taken to zero decides which way to brake. From here
    # on the motion is mirrored so that this is positive, and braking negative.
    v_left = v0 + 0.5 * a0 * abs(a0) / j_max
    sign = -1.0 if v_left < 0.0 else 1.0
    v_left *= sign
    a = sign * a0
    if v_left == 0.0:
        a_peak = max(0.0, -a)
        t_hold = 0.0
    else:
        # The two ramps a -> -a_peak -> 0 take away a_peak^2 / j, less what the start has of it already.
        a_peak = min(math.sqrt(j_max * v_left + (a * a if a < 0.0 else 0.0)), a_max)
        if a < -a_max:
            t_hold = v_left / a_max
        else:
            t_hold = max(0.0, v_left - (a_peak * a_peak - (a * a if a < 0.0 else 0.0)) / j_max) / a_peak
    j_first = math.copysign(j_max, -a_peak - a)
    t_first = abs(a + a_peak) / j_max
    t_last = a_peak / j_max

    p, v = p0, v0
    _append(profile, p, v, a0, sign * j_first, t_first)
    p += t_first * (v + t_first * (0.5 * a0 + t_first * sign * j_first / 6.0))
    v += t_first * (a0 + t_first * 0.5 * sign * j_first)
    a_brake = -sign * a_peak
    _append(profile, p, v, a_brake, 0.0, t_hold)
    p += t_hold * (v + t_hold * 0.5 * a_brake)
    # What is left is what the last ramp takes: the exact value instead of the sum keeps the end at rest.
    v = 0.5 * sign * a_peak * t_last
    _append(profile, p, v, a_brake, sign * j_max, t_last)
    _finish(profile, p + t_last * (v + t_last * (0.5 * a_brake + t_last * sign * j_max / 6.0)))
    return 0


@kernel(types.void(_profile, _f8, types.float64[::1]))
def evaluate(profile: Array, t: float, out: Array) -> None:
    """Write (p, v, a) at time t: before 0 the start, from `duration` on the end, at rest.

    Args:
        profile: PROFILE.
        t: s since the start.
        out: (3,), overwritten.
    """
    i = profile[0].n
    dt = 0.0
    if t < profile[0].duration:
        i = 0
        while t >= profile[0].t[i + 1]:
            i += 1
        dt = max(0.0, t - profile[0].t[i])
    v = profile[0].v[i]
    a = profile[0].a[i]
    j = profile[0].j[i]
    out[0] = profile[0].p[i] + dt * (v + dt * (0.5 * a + dt * j / 6.0))
    out[1] = v + dt * (a + 0.5 * dt * j)
    out[2] = a + dt * j
