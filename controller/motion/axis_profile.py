"""The fastest and the slowest ways of one axis: what a triple integrator can reach under |v| <= V, |a| <= A, |j| <= 1.

Everything here is in units of the jerk limit, so time is the only dimension left: accelerations are a / j_max (s),
velocities v / j_max (s²) and distances d / j_max (s³). Scalars only; nothing is stored or allocated.

The axis goes from (0, v0, a0) to (d, v1, 0). Its start is *admissible* when |a0| <= A and the velocity that is left
once the acceleration is taken away, v0 + a0 |a0| / 2, lies within V; `brake` leads any other start there.

For each duration T the displacements that can be reached are an interval [d_min(T), d_max(T)], because motions may be
mixed: the system is linear and the limits are convex. Its upper end is reached by the jerk 1, 0, -1, 0, -1, 0, 1 (up
to a peak velocity, perhaps a stay there, and down to v1; Pontryagin), its lower end by the mirror image. So an axis
can take T exactly if d_min(T) <= d <= d_max(T), and its shortest T is the first to satisfy that. As T grows, d_max may
fall before it rises, and d_min rise before it falls, which is why a moving axis may be able to take some time, or much
more, but nothing between. Both are found here as the *far motion* and its mirror.

A far motion has one free parameter, first `dip`, then `rise`, then `cruise`:

- `dip` in [0, -a0], only where a0 < 0 and the axis must slow down anyhow: the deceleration is eased to -dip and then
  increased again. Other motions say dip = -1.
- `rise`: what the velocity from which the axis goes down to v1, the peak, exceeds the lowest one, which is
  max(v1, v0 + a0 |a0| / 2). It ends where the peak is V. A small rise takes sqrt(rise), so it must not be had as the
  difference of two velocities.
- `cruise`: the time at the peak V.
"""

import math

from numba.core import types
from numba.core.types import UniTuple  # type: ignore[attr-defined]

from kinematics.compiled import kernel

__all__ = ["NO_DIP", "brake", "cruise_motion", "direct", "far_motion", "far_motion_lasting", "far_times", "pulse"]

NO_DIP = -1.0

_SIXTH = 1.0 / 6.0
_ITERATIONS = 60
_ROUGHLY = 1e-9  # a Newton step from here on leaves nothing but rounding

_f8 = types.float64
_3 = UniTuple(_f8, 3)
_4 = UniTuple(_f8, 4)
_7 = UniTuple(_f8, 7)
_8 = UniTuple(_f8, 8)


@kernel(_3(_f8, _f8, _f8, _f8))
def brake(v: float, a: float, v_max: float, a_max: float) -> tuple[float, float, float]:
    """Return (jerk, its duration, duration of the stay after it) that make a start admissible, as fast as jerk allows.

    The acceleration comes first. Then, where the velocity is beyond its limit or cannot help becoming so, the axis
    decelerates as hard as it may until the velocity is back, or until more would carry it beyond the opposite limit.
    """
    jerk, t_jerk, t_hold = 0.0, 0.0, 0.0
    v_out = v_max * (1.0 + 1e-12)  # what a plan that rides on a limit may be beyond it by rounding
    if abs(a) > a_max * (1.0 + 1e-12):
        jerk = -math.copysign(1.0, a)
        t_jerk = abs(a) - a_max
        v += t_jerk * (a + 0.5 * jerk * t_jerk)
        a = math.copysign(a_max, a)
    v_left = v + 0.5 * a * abs(a)
    side = 0.0
    if v_left > v_out or (v > v_out and v_left >= -v_out):
        side = 1.0
    elif v_left < -v_out or (v < -v_out and v_left <= v_out):
        side = -1.0
    if side != 0.0:
        v *= side
        a *= side
        top = v + 0.5 * a * abs(a) if a > 0.0 else v + 0.5 * a * a  # where full jerk would have or had a = 0
        a_low = max(0.0, min(a_max, math.sqrt(max(0.0, 2.0 * (top - v_max))), math.sqrt(max(0.0, top + v_max))))
        t = a + a_low
        if t > 0.0:
            v += t * (a - 0.5 * t)
            a = -a_low
            jerk = -side
            t_jerk += t
        v_end = max(v_max, 0.5 * a * a - v_max)
        if a < 0.0 and v > v_end:
            t_hold = (v - v_end) / -a
    return jerk, t_jerk, t_hold


@kernel(_4(_f8, _f8, _f8))
def pulse(x: float, a: float, a_max: float) -> tuple[float, float, float, float]:
    """Return (peak, stay at it, duration, lag) of the fastest change of velocity that ends without acceleration.

    The acceleration rises from a to the peak, stays, and falls to 0. The lag is the integral of the final velocity
    minus the present one: the displacement is v_end * duration - lag.

    Args:
        x: What the velocity changes by beyond what taking a away gives, at least 0.
        a: Acceleration at the start, in the direction of the change, in [0, a_max].
        a_max: Largest acceleration.
    """
    # Without branches, which on arbitrary states cost more than they save.
    square = max(0.0, x) + a * a
    hold = max(square / a_max - a_max, 0.0)
    peak = min(math.sqrt(square), a_max)
    lag = peak * (peak * (peak - a) + hold * (1.5 * peak - a + 0.5 * hold)) + a * a * a * _SIXTH
    return peak, hold, 2.0 * peak - a + hold, lag


@kernel(_4(_f8, _f8, _f8, _f8))
def direct(v0: float, a0: float, v1: float, a_max: float) -> tuple[float, float, float, float]:
    """Return (direction, duration, displacement, peak) of the fastest way from (v0, a0) to (v1, 0), wherever it is."""
    v_left = v0 + 0.5 * a0 * abs(a0)
    side = 1.0 if v1 >= v_left else -1.0
    a = side * a0
    if a < 0.0:
        peak, _, duration, lag = pulse(abs(v1 - v_left), 0.0, a_max)
        return side, duration - a, v1 * duration - side * lag - v0 * a + side * a * a * a / 3.0, peak
    peak, _, duration, lag = pulse(abs(v1 - v_left), a, a_max)
    return side, duration, v1 * duration - side * lag, peak


@kernel(_f8(_f8, _f8, _f8, _f8, _f8, _f8, _f8, _f8))
def _rise_of_distance(
    v_left: float, a: float, v1: float, d: float, low: float, high: float, share: float, a_max: float
) -> float:
    """Return the rise, within (low, high), of the up and down without cruise that covers d.

    With q1, q2 the peak accelerations of the two pulses, dd/d(peak) = (q1 + q2) (1/2 + peak / (q1 q2)). The search goes
    to the root of the parabola with the same slope and curvature: where both pulses stay at A, that is the solution.
    It begins where the distance, from `low` to `high`, would have its share.
    """
    start = max(v_left, v1)
    rest_1 = start - v_left + a * a
    rest_2 = start - v1
    low = max(low, 0.0)
    rise = low + (high - low) * max(math.sqrt(max(share, 0.0)), 1e-18)
    cube = a * a * a * _SIXTH
    for _ in range(_ITERATIONS):
        square_1 = rest_1 + rise
        square_2 = rest_2 + rise
        # What the peak accelerations gain with the velocity, times them: 0 once they stay at A.
        gain_1, gain_2 = 0.5, 0.5
        hold_1, hold_2 = 0.0, 0.0
        if square_1 > a_max * a_max:
            q1 = a_max
            hold_1 = square_1 / a_max - a_max
            gain_1 = 0.0
        else:
            q1 = math.sqrt(square_1)
        if square_2 > a_max * a_max:
            q2 = a_max
            hold_2 = square_2 / a_max - a_max
            gain_2 = 0.0
        else:
            q2 = math.sqrt(square_2)
        peak = start + rise
        duration = 2.0 * (q1 + q2) - a + hold_1 + hold_2
        lag_1 = q1 * (q1 * (q1 - a) + hold_1 * (1.5 * q1 - a + 0.5 * hold_1)) + cube
        lag_2 = q2 * (q2 * q2 + hold_2 * (1.5 * q2 + 0.5 * hold_2))
        f = peak * duration - lag_1 - lag_2 - d
        if f > 0.0:
            high = rise
        else:
            low = rise
        inverse = 1.0 / (q1 * q2)
        ratio = peak * inverse
        slope = (q1 + q2) * (0.5 + ratio)
        bend = (gain_1 * q2 + gain_2 * q1) * (0.5 + ratio)
        bend += (q1 + q2) * (1.0 - ratio * inverse * (gain_1 * q2 * q2 + gain_2 * q1 * q1))
        step = -2.0 * f / (slope + math.sqrt(max(0.0, slope * slope - 2.0 * f * bend * inverse)))
        fresh = rise + step
        if slope <= 0.0 or not (low < fresh < high):
            fresh = 0.25 * (low + high) + 0.5 * math.sqrt(low * high)  # the mean of what the pulses take
            if f == 0.0 or not (low < fresh < high):
                break
            rise = fresh
            continue
        rise = fresh
        if abs(step) <= 1e-6 * rise:  # the step is of third order: what is left is rounding
            break
    return rise


@kernel(_f8(_f8, _f8, _f8, _f8, _f8, _f8, _f8))
def _dip_of_distance(v0: float, a0: float, v1: float, d: float, low: float, high: float, a_max: float) -> float:
    """Return the dip, within (low, high), that covers d; a far motion's first family, where a0 < 0.

    Its duration changes with the dip by -2 + 2 dip / q, q the peak deceleration; the displacement with the duration by
    v1 + q (2 q + 2 hold - dip) / 2, which is the Hamiltonian.
    """
    x = max(0.0, v0 - 0.5 * a0 * a0 - v1)
    dip = 0.5 * (low + high)
    for _ in range(_ITERATIONS):
        q, hold, duration, lag = pulse(x, dip, a_max)
        t = -a0 - dip
        f = v1 * (t + duration) + lag + t * (v0 - v1 + t * (0.5 * a0 + t * _SIXTH)) - d
        slope = (v1 + 0.5 * q * (2.0 * (q + hold) - dip)) * (2.0 * dip / q - 2.0)
        if f > 0.0:
            low = dip
        else:
            high = dip
        fresh = dip - f / slope
        if not (low < fresh < high):
            if f == 0.0 or not (low < 0.5 * (low + high) < high):
                break
            dip = 0.5 * (low + high)
            continue
        done = abs(fresh - dip) <= _ROUGHLY * dip
        dip = fresh
        if done:
            break
    return dip


@kernel(_f8(_f8, _f8, _f8, _f8))
def _dip_of_crest(v_left: float, x: float, high: float, a_max: float) -> float:
    """Return the largest dip, at most `high`, where d_max turns from rising to falling; NO_DIP where it does not.

    The slope over the duration is v_left + dip² - dip q / 2, convex in the dip: Newton comes down on its largest root.
    """
    if v_left >= a_max * a_max / 16.0:
        return NO_DIP
    dip = high
    for _ in range(_ITERATIONS):
        q = math.sqrt(x + dip * dip)
        bend = dip * dip / q
        if q > a_max:
            q = a_max
            bend = 0.0
        slope = v_left + dip * dip - 0.5 * dip * q
        if slope <= 0.0:
            break
        bend = 2.0 * dip - 0.5 * (q + bend)
        fresh = dip - slope / bend
        if bend <= 0.0 or fresh <= 0.0:
            return NO_DIP
        if fresh >= dip * (1.0 - 1e-14):
            break
        dip = fresh
    return dip if dip < high else NO_DIP


@kernel(_4(_f8, _f8, _f8, _f8, _f8, _f8, _f8, _f8, _f8))
def far_motion(
    v0: float,
    a0: float,
    v1: float,
    d: float,
    v_max: float,
    a_max: float,
    rise_low: float,
    dip_high: float,
    d_low: float,
) -> tuple[float, float, float, float]:
    """Return (rise, cruise, dip, duration) of the far motion that covers d, where d_max rises with the duration.

    Args:
        v0: Velocity at the start, which is admissible.
        a0: Acceleration at the start.
        v1: Velocity at the end.
        d: Distance, at least d_low.
        v_max: Largest velocity.
        a_max: Largest acceleration.
        rise_low: Rise from which to search, 0 for all.
        dip_high: Dip from which to search, inf for all, NO_DIP for none.
        d_low: What the motion covers from which the search begins: `direct` for all.
    """
    v_left = v0 + 0.5 * a0 * abs(a0)
    a, t_zero, d_zero = a0, 0.0, 0.0
    if a0 < 0.0:
        a = 0.0
        t_zero = -a0
        d_zero = t_zero * (v0 - t_zero * t_zero / 3.0)
    rest = d - d_zero
    start = max(v_left, v1)
    rise = v_max - start
    _, hold_1, t_1, lag_1 = pulse(start - v_left + rise, a, a_max)
    _, hold_2, t_2, lag_2 = pulse(start - v1 + rise, 0.0, a_max)
    most = v_max * (t_1 + t_2) - lag_1 - lag_2
    if rest >= most:
        cruise = (rest - most) / v_max
        return rise, cruise, NO_DIP, t_zero + t_1 + t_2 + cruise
    least = d_low - d_zero
    if v_left > v1 and a0 < 0.0 and dip_high >= 0.0:
        low, high = 0.0, min(dip_high, -a0)
        covers = False
        if dip_high > -a0:
            crest = _dip_of_crest(v_left, v_left - v1, high, a_max)
            if crest >= 0.0:
                _, _, t_2, lag_2 = pulse(v_left - v1, crest, a_max)
                t = -a0 - crest
                covers = v1 * (t + t_2) + lag_2 + t * (v0 - v1 + t * (0.5 * a0 + t * _SIXTH)) >= d
                if covers:
                    low = crest
                else:
                    high = crest
        _, _, t_2, lag_2 = pulse(v_left - v1, 0.0, a_max)
        least = v_left * t_2 - lag_2
        if covers or least >= rest:
            dip = _dip_of_distance(v0, a0, v1, d, low, high, a_max)
            _, _, t_2, _ = pulse(v_left - v1, dip, a_max)
            return 0.0, 0.0, dip, -a0 - dip + t_2
    solved = False
    if hold_1 > 0.0 and hold_2 > 0.0:
        # With both pulses at A the distance is quadratic in the peak; down from V.
        slope = a_max + 2.0 * v_max / a_max
        square = slope * slope - 4.0 * (most - rest) / a_max
        less = rise - 2.0 * (most - rest) / (slope + math.sqrt(max(0.0, square)))
        lowest = a_max * a_max - min(start - v_left + a * a, start - v1)
        solved = square > 0.0 and less >= max(lowest, rise_low)
        if solved:
            rise = less
    if not solved:
        share = (rest - least) / (most - least)
        rise = _rise_of_distance(v_left, a, v1, rest, rise_low, rise, share, a_max)
    _, _, t_1, _ = pulse(start - v_left + rise, a, a_max)
    _, _, t_2, _ = pulse(start - v1 + rise, 0.0, a_max)
    return rise, 0.0, NO_DIP, t_zero + t_1 + t_2


@kernel(_4(_f8, _f8, _f8, _f8, _f8, _f8))
def far_motion_lasting(
    v0: float, a0: float, v1: float, duration: float, v_max: float, a_max: float
) -> tuple[float, float, float, float]:
    """Return (rise, cruise, dip, d_max) of the far motion that takes a duration, at least that of `direct`."""
    v_left = v0 + 0.5 * a0 * abs(a0)
    a, t_zero, d_zero = a0, 0.0, 0.0
    if a0 < 0.0:
        a = 0.0
        t_zero = -a0
        d_zero = t_zero * (v0 - t_zero * t_zero / 3.0)
    if v_left > v1 and a0 < 0.0:
        x = v_left - v1
        _, _, t_2, _ = pulse(x, 0.0, a_max)
        if duration <= t_zero + t_2:
            # Without a stay -a0 + 2 q - 2 dip, q² = x + dip², is the duration; with one, q = A, it is quadratic in dip.
            k = 0.5 * (duration + a0)
            dip = (x - k * k) / (2.0 * k)
            if x + dip * dip > a_max * a_max:
                dip = a_max - math.sqrt(max(0.0, a_max * (duration + a0) - x))
            dip = min(max(dip, 0.0), -a0)
            _, _, t_2, lag = pulse(x, dip, a_max)
            t = -a0 - dip
            return 0.0, 0.0, dip, v1 * (t + t_2) + lag + t * (v0 - v1 + t * (0.5 * a0 + t * _SIXTH))
    start = max(v_left, v1)
    rise = v_max - start
    _, _, t_1, lag_1 = pulse(start - v_left + rise, a, a_max)
    _, _, t_2, lag_2 = pulse(start - v1 + rise, 0.0, a_max)
    cruise = duration - t_zero - t_1 - t_2
    if cruise >= 0.0:
        return rise, cruise, NO_DIP, d_zero + v_max * (t_1 + t_2 + cruise) - lag_1 - lag_2
    # The peaks q1, q2 that the two pulses would have without a limit: q1² - q2² = surplus. First as if neither stays
    # at A, where they add up to the duration; then as if the higher one does, then both.
    span = duration - t_zero + a
    surplus = v1 - v_left + a * a
    q2 = 0.25 * span - surplus / span if span > 0.0 else 0.0
    q1 = 0.5 * span - q2
    if max(q1, q2) > a_max:
        if surplus >= 0.0:
            q2 = math.sqrt(max(0.0, a_max * span - surplus)) - a_max
            q1 = math.sqrt(max(0.0, q2 * q2 + surplus))
        else:
            q1 = math.sqrt(max(0.0, a_max * span + surplus)) - a_max
            q2 = math.sqrt(max(0.0, q1 * q1 - surplus))
        if min(q1, q2) > a_max:
            q2 = math.sqrt(max(0.0, 0.5 * (a_max * (span - 2.0 * a_max) - surplus)))
            q1 = math.sqrt(max(0.0, q2 * q2 + surplus))
    rise_most = rise
    rise = q2 * q2
    if v_left > v1:
        rise = q1 * q1 - a * a
    rise = min(max(rise, 0.0), rise_most)
    _, _, t_1, lag_1 = pulse(start - v_left + rise, a, a_max)
    _, _, t_2, lag_2 = pulse(start - v1 + rise, 0.0, a_max)
    return rise, 0.0, NO_DIP, d_zero + (start + rise) * (t_1 + t_2) - lag_1 - lag_2


@kernel(_7(_f8, _f8, _f8, _f8, _f8, _f8, _f8))
def far_times(
    v0: float, a0: float, v1: float, rise: float, cruise: float, dip: float, a_max: float
) -> tuple[float, float, float, float, float, float, float]:
    """Return the durations of the jerks 1, 0, -1, 0, -1, 0, 1 of a far motion."""
    v_left = v0 + 0.5 * a0 * abs(a0)
    if dip >= 0.0:
        q, hold, _, _ = pulse(v_left - v1, dip, a_max)
        return -a0 - dip, 0.0, q - dip, 0.0, 0.0, hold, q
    start = max(v_left, v1)
    q1, hold_1, _, _ = pulse(start - v_left + rise, max(a0, 0.0), a_max)
    q2, hold_2, _, _ = pulse(start - v1 + rise, 0.0, a_max)
    return q1 - a0, hold_1, q1, cruise, q2, hold_2, q2


@kernel(_8(_f8, _f8, _f8, _f8, _f8, _f8, _f8))
def cruise_motion(
    v0: float, a0: float, v1: float, d: float, duration: float, v_max: float, a_max: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """Return (side, peak, stay, velocity, cruise, side, peak, stay) of a pulse, cruise and pulse that take a duration.

    The sides are the signs of the first jerk and of the jerk with which the last pulse ends. The cruise is -1 where
    there is no such motion, as near the shortest durations there may not be.

    With velocity c the axis covers d_zero + c (duration - t_zero) - lag_1 - lag_2, which grows with c by what is left
    of the duration after 3/2 peak + stay of either pulse. That decreases, so Newton never oversteps from below.
    """
    v_left = v0 + 0.5 * a0 * abs(a0)
    side = 1.0 if v1 >= v_left else -1.0
    gap = side * (v1 - v_left)
    _, _, _, lag = pulse(gap, 0.0, a_max)
    d_left = v_left * duration - a0 * a0 * a0 / 6.0 + side * lag  # where the cruise is at v_left
    a = side * a0
    if a < 0.0:
        d_end = v1 * (duration + a) - side * lag - a * (v0 - side * a * a / 3.0)  # where it is at v1
    else:
        _, _, _, lag = pulse(gap, a, a_max)
        d_end = v1 * duration - side * lag
    # Mirror such that the first pulse goes up; the second goes down, or on up where the velocity is between.
    if d > max(d_left, d_end):
        first, second = 1.0, 1.0
        f = max(d_left, d_end) - d
    elif d < min(d_left, d_end):
        first, second = -1.0, -1.0
        f = d - min(d_left, d_end)
    else:
        first, second = side, -side
        f = side * (d_left - d)
    v_left *= first
    v0 *= first
    v1 *= first
    d *= first
    a = first * a0
    t_zero, d_zero = 0.0, 0.0
    if a < 0.0:
        t_zero = -a
        d_zero = t_zero * (v0 - a * a / 3.0)
        a = 0.0
    between = first != second
    sign = -1.0 if between else 1.0
    scale = abs(d) + v_max * duration
    t_free = duration - t_zero
    # The velocity is base + rise, and the pulses are of base_1 + rise and base_2 +- rise: see `rise` above.
    if between:
        base = v_left
        base_1, base_2 = 0.0, v1 - v_left
        low, high = 0.0, base_2
        rise = -f * high / max(side * (d_end - d_left), 1e-300)
    else:
        # One of the pulses has no size yet; f is below 0, and Newton's step from there falls short.
        base = max(v_left, v1)
        base_1, base_2 = base - v_left, base - v1
        low, high = 0.0, v_max - base
        slope = t_free - 0.5 * a - 1.5 * min(math.sqrt(base_1 + base_2 + a * a), a_max)
        rise = -f / slope if slope > 0.0 else 0.0
        lowest = a_max * a_max - min(base_1 + a * a, base_2)
        if high > lowest:
            # If both pulses are at A, f is quadratic in the rise.
            hold_1, hold_2 = (base_1 + a * a) / a_max - a_max, base_2 / a_max - a_max
            lag_1 = a_max * (a_max * (a_max - a) + hold_1 * (1.5 * a_max - a + 0.5 * hold_1)) + a * a * a * _SIXTH
            lag_2 = a_max * (a_max * a_max + hold_2 * (1.5 * a_max + 0.5 * hold_2))
            f = d_zero + base * t_free - lag_1 - lag_2 - d
            slope = t_free - (3.0 * a_max - a + hold_1 + hold_2)
            square = slope * slope + 4.0 * f / a_max
            more = -2.0 * f / (slope + math.sqrt(max(0.0, square)))
            if square > 0.0 and more >= lowest:
                rise = more
    rise = min(max(rise, low), high)
    q1, hold_1, q2, hold_2, cruise = 0.0, 0.0, 0.0, 0.0, -1.0
    for _ in range(_ITERATIONS):
        q1, hold_1, t_1, lag_1 = pulse(base_1 + rise, a, a_max)
        q2, hold_2, t_2, lag_2 = pulse(base_2 + sign * rise, 0.0, a_max)
        f = d_zero + (base + rise) * t_free - lag_1 - sign * lag_2 - d
        cruise = t_free - t_1 - t_2
        if abs(f) <= 2e-15 * scale:
            break
        if f > 0.0:
            high = rise
        else:
            low = rise
        slope = t_free - (1.5 * q1 - a + hold_1) - (1.5 * q2 + hold_2)
        # Halley's step. The slope falls by 3/4 over the peak of either pulse, or, while it stays, by 1 over A.
        k1 = q1 if hold_1 == 0.0 else 0.75 * q1
        k2 = q2 if hold_2 == 0.0 else 0.75 * q2
        bend = -0.75 * (k2 + sign * k1) / (k1 * k2)
        fresh = rise - 2.0 * f * slope / (2.0 * slope * slope - f * bend)
        if not (low <= fresh <= high):
            fresh = rise - f / slope
        if not (low <= fresh <= high):
            fresh = 0.5 * (low + high)
        if abs(fresh - rise) <= 1e-16 * (abs(base) + rise):
            break
        rise = fresh
    if cruise < 0.0 and cruise > -1e-13 * duration:
        cruise = 0.0
    if not abs(f) <= 1e-14 * scale:
        cruise = -1.0
    return first, q1, hold_1, first * (base + rise), cruise, second, q2, hold_2
