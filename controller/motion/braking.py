"""Changing a velocity and stopping, within limits of acceleration and jerk: closed forms for one coordinate.

The time-optimal way from (v, a) to (v1, 0) under |a| <= a_max, |j| <= j_max is that of a double integrator with the
jerk as its input and |a| bounded: bang-bang with one switch, and a stay at the bound between (A. E. Bryson, Y.-C. Ho,
"Applied Optimal Control", 1975, section 3.9). Planned anew from each state on the way it gives the same way again, so
nothing is stored: each cycle takes one step of it.
"""

import math

from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.compiled import kernel

__all__ = ["braking_speed", "stop_displacement", "velocity_step"]

_f8 = types.float64
_3, _5 = UniTuple(_f8, 3), UniTuple(_f8, 5)


@kernel(_5(_f8, _f8, _f8, _f8))
def _phases(v: float, a: float, a_max: float, j_max: float) -> tuple[float, float, float, float, float]:
    """Return (jerk, time) of the first phase, the time of the stay, (jerk, time) of the last: to v = a = 0.

    An acceleration beyond a_max is brought back at full jerk.
    """
    # The velocity that is left when the acceleration alone is taken to zero decides which way to go. From here on the
    # motion is mirrored so that this is positive, and braking negative.
    v_left = v + 0.5 * a * abs(a) / j_max
    sign = -1.0 if v_left < 0.0 else 1.0
    v_left *= sign
    a *= sign
    hold = 0.0
    if v_left == 0.0:
        peak = max(0.0, -a)
    else:
        # The two ramps a -> -peak -> 0 take away peak^2 / j, less what the start has of it already.
        has = a * a if a < 0.0 else 0.0
        peak = min(math.sqrt(j_max * v_left + has), a_max)
        if a < -a_max:
            hold = v_left / a_max
        else:
            hold = max(0.0, v_left - (peak * peak - has) / j_max) / peak
    return sign * math.copysign(j_max, -peak - a), abs(a + peak) / j_max, hold, sign * j_max, peak / j_max


@kernel(_3(_f8, _f8, _f8, _f8, _f8, _f8))
def velocity_step(v: float, a: float, v1: float, a_max: float, j_max: float, t: float) -> tuple[float, float, float]:
    """Return (displacement, velocity, acceleration) after t s on the fastest way from (v, a) to (v1, 0).

    The end is exact: from then on the velocity is v1 and the acceleration 0.

    Args:
        v: Velocity now, of any sign, as a and v1; rad/s or m/s, and so on.
        a: Acceleration now.
        v1: Velocity to reach.
        a_max: Above 0.
        j_max: Above 0.
        t: s, at least 0.
    """
    j_1, t_1, t_2, j_3, t_3 = _phases(v - v1, a, a_max, j_max)
    is_there = t >= t_1 + t_2 + t_3
    dt = min(t, t_1)
    p = dt * (v + dt * (0.5 * a + dt * j_1 / 6.0))
    v += dt * (a + 0.5 * dt * j_1)
    a += dt * j_1
    t -= dt
    dt = min(t, t_2)
    p += dt * (v + 0.5 * dt * a)
    v += dt * a
    t -= dt
    dt = min(t, t_3)
    p += dt * (v + dt * (0.5 * a + dt * j_3 / 6.0))
    if is_there:
        return p + max(0.0, t - t_3) * v1, v1, 0.0
    return p, v + dt * (a + 0.5 * dt * j_3), a + dt * j_3


@kernel(_f8(_f8, _f8, _f8, _f8))
def stop_displacement(v: float, a: float, a_max: float, j_max: float) -> float:
    """Return how far the fastest stop from (v, a) goes, signed: where it ends, seen from where it begins."""
    j_1, t_1, t_2, j_3, t_3 = _phases(v, a, a_max, j_max)
    p = t_1 * (v + t_1 * (0.5 * a + t_1 * j_1 / 6.0))
    v += t_1 * (a + 0.5 * t_1 * j_1)
    a += t_1 * j_1
    p += t_2 * (v + 0.5 * t_2 * a)
    v += t_2 * a
    return p + t_3 * (v + t_3 * (0.5 * a + t_3 * j_3 / 6.0))


@kernel(_f8(_f8, _f8, _f8))
def braking_speed(distance: float, a_max: float, j_max: float) -> float:
    """Return the speed from which, at no acceleration, the fastest stop takes just this distance; 0 for none or less.

    With the peak a_max reached (speed >= a_max^2 / j_max) a stop takes v^2 / (2 a_max) + v a_max / (2 j_max); below
    that v sqrt(v / j_max).
    """
    if distance <= 0.0:
        return 0.0
    speed: float = (distance * distance * j_max) ** (1.0 / 3.0)
    if speed <= a_max * a_max / j_max:
        return speed
    ramp = 0.5 * a_max * a_max / j_max
    return math.sqrt(ramp * ramp + 2.0 * a_max * distance) - ramp
