"""Motors that are too hot, push against something that does not give way, or give all they have for too long."""

import numpy as np
from numba.core import types

from controller.catalogue import Code
from controller.guard.records import GUARD, tell
from drivers.driver import FEEDBACK
from kinematics.compiled import Array, array_of, kernel

__all__ = ["check_motors"]

TEMPERATURE_TIME = 1.0  # s over which a rise is taken; a step of 1 K in the sensor's digits then shows as 1 K/s
TEMPERATURE_RATE = 5.0  # K/s; a motor of 60 g with all of its 12 V * 1.3 A turned to heat rises by about 0.6 K/s
COOLED = 2.0  # K below the warning: the next one is told again
# The winding's model: heat follows the square of the effort with a first-order lag. At full effort it meets its bound
# after 10 s: 1 - exp(-10 / 6.213) = 0.8; an effort of sqrt(0.8) = 89 % may last for ever.
HEAT_TIME = 6.213  # s
HEAT_MAX = 0.8
STALL_EFFORT = 0.8  # of the actuator's limit
FULL_EFFORT = 0.98
STILL = 0.01  # of the actuator's velocity limit
STALL_TIME = 0.1  # s
PERSISTS_TIME = 0.5  # s
FULL_TIME = 0.05  # s

_OK = int(Code.OK)
_WARM, _HOT, _EFFORT = int(Code.MOTOR_WARM), int(Code.MOTOR_HOT), int(Code.EFFORT_LIMIT)
_STALLED, _PERSISTS = int(Code.STALLED), int(Code.STALL_PERSISTS)

_GUARD, _FEEDBACK, _i8 = array_of(GUARD), array_of(FEEDBACK), types.int64


@kernel(_i8(_GUARD, _FEEDBACK))
def _check_heat(guard: Array, feedback: Array) -> int:
    """Return 0, MOTOR_WARM once, or MOTOR_HOT: by its sensor, by how fast that rises, or by the winding's model."""
    g = guard[0]
    f = feedback[0]
    code = _OK
    elapsed = 0.0
    if g.heated_ns != 0:
        elapsed = max((f.t_device_ns - g.heated_ns) * 1e-9, 0.0)  # more than a period after a time without checks
    g.heated_ns = f.t_device_ns
    for i in range(g.n_axes - 1, -1, -1):
        part = f.effort[i] / g.actuator_effort_max[i]
        heat = g.heat[i] + (part * part - g.heat[i]) * min(elapsed / HEAT_TIME, 1.0)
        g.heat[i] = heat
        if heat > HEAT_MAX:
            code = tell(guard, _HOT, i, heat, HEAT_MAX)
        temperature = f.temperature[i]
        if np.isnan(temperature):
            continue
        if not g.temperature_seen[i] or elapsed > TEMPERATURE_TIME:
            g.temperature_seen[i] = 1
            g.temperature_slow[i] = temperature
        slow = g.temperature_slow[i]
        rate = (temperature - slow) / TEMPERATURE_TIME
        g.temperature_slow[i] = slow + rate * min(elapsed, TEMPERATURE_TIME)
        if temperature > g.temperature_max:
            code = tell(guard, _HOT, i, temperature, g.temperature_max)
        elif rate > TEMPERATURE_RATE:
            code = tell(guard, _HOT, i, rate, TEMPERATURE_RATE)
    if code != _OK:
        return code
    for i in range(g.n_axes):
        if f.temperature[i] < g.temperature_warn - COOLED:
            g.is_warm[i] = 0
        elif f.temperature[i] > g.temperature_warn and not g.is_warm[i]:
            g.is_warm[i] = 1
            return tell(guard, _WARM, i, f.temperature[i], g.temperature_warn)
    return _OK


@kernel(_i8(_GUARD, _FEEDBACK, _i8))
def check_motors(guard: Array, feedback: Array, powered: int) -> int:
    """Return 0, or what is wrong with a motor; the worst first.

    MOTOR_HOT, then STALL_PERSISTS, then STALLED (more than 80 % of its effort at a standstill for 100 ms, or all of it
    for 50 ms), EFFORT_LIMIT (98 % for 50 ms, in motion), last MOTOR_WARM, which is told once. Heat goes by the device's
    time, so a motor also cools while nobody asks.

    Args:
        guard: GUARD, (1,).
        feedback: FEEDBACK, (1,), actuator space.
        powered: 1 while the motors have power.
    """
    g = guard[0]
    f = feedback[0]
    heat = _check_heat(guard, feedback)
    if not powered:
        for i in range(g.n_axes):
            g.stalled[i] = 0
            g.full[i] = 0
            g.full_still[i] = 0
        return heat
    if heat == _HOT:
        return heat
    code = heat
    for i in range(g.n_axes):
        part = abs(f.effort[i]) / g.actuator_effort_max[i]
        still = 0
        if abs(f.velocity[i]) <= STILL * g.actuator_velocity_max[i]:
            still = 1
        if part > STALL_EFFORT and still:
            g.stalled[i] += 1
        else:
            g.stalled[i] = 0
        if part >= FULL_EFFORT:
            g.full[i] += 1
            g.full_still[i] += still
        else:
            g.full[i] = 0
            g.full_still[i] = 0
        stalled = g.stalled[i] * g.period
        full = g.full[i] * g.period
        if stalled >= PERSISTS_TIME:
            return tell(guard, _PERSISTS, i, stalled, PERSISTS_TIME)
        if stalled >= STALL_TIME:
            code = tell(guard, _STALLED, i, part, STALL_EFFORT)
        elif full >= FULL_TIME and code != _STALLED:
            if g.full_still[i] == g.full[i]:
                code = tell(guard, _STALLED, i, part, STALL_EFFORT)
            else:
                code = tell(guard, _EFFORT, i, part, FULL_EFFORT)
    return code
