"""What the motor controllers report, before anybody uses it: encoders, speed, second sensors."""

import numpy as np
from numba.core import types

from controller.catalogue import Code
from controller.guard.records import GUARD, tell
from drivers.driver import FEEDBACK, Status
from kinematics.compiled import Array, array_of, kernel

__all__ = ["check_encoders", "check_sensors", "check_speed"]

JUMP_MARGIN = 1.5  # an encoder may move so many times further than at its velocity limit
OVERSPEED_MARGIN = 1.5  # measured velocity: noise, and the overshoot of a tracking loop
SUSPECT_CYCLES = 100  # after a reading that was discarded: another one within them is a fault
SENSOR_SMOOTHING = 0.2  # of the difference of two sensors: a time constant of 5 cycles
LAG_MAX = 24  # cycles; below the set-points that are remembered

_OK = int(Code.OK)
_NOT_FINITE, _JUMP = int(Code.FEEDBACK_NOT_FINITE), int(Code.ENCODER_JUMP)
_VELOCITY, _MISMATCH = int(Code.VELOCITY_LIMIT), int(Code.SENSOR_MISMATCH)
_REFERENCED = int(Status.REFERENCED)

_GUARD, _FEEDBACK, _VECTOR, _i8 = array_of(GUARD), array_of(FEEDBACK), types.float64[:], types.int64


@kernel(_i8(_GUARD, _FEEDBACK))
def _first_not_finite(guard: Array, feedback: Array) -> int:
    """Return the first axis whose position, velocity or effort is no number, or -1; that is replaced by the last."""
    g = guard[0]
    f = feedback[0]
    found = -1
    for i in range(g.n_axes - 1, -1, -1):
        if not np.isfinite(f.position[i]):
            f.position[i] = g.fed_position[i]
            found = i
        if not np.isfinite(f.velocity[i]):
            f.velocity[i] = g.fed_velocity[i]
            found = i
        if not np.isfinite(f.effort[i]):
            f.effort[i] = g.fed_effort[i]
            found = i
    return found


@kernel(_i8(_GUARD, _FEEDBACK))
def check_encoders(guard: Array, feedback: Array) -> int:
    """Return 0, or that a reading is no number, or that an encoder jumped twice; correct what must not be used.

    A step further than an actuator can move in the device's own time since the last reading is discarded, unless its
    velocity had announced it (too fast is `check_speed`'s business): position and velocity become what the last ones
    predict, and nobody sees the reading. Another one within 100 cycles is a fault.
    Readings may jump while a new reference is taken, when the device says that it has one or has lost it, and where it
    has started anew. What is no number becomes the last good value.

    Call it in each cycle after `check_link`, before anybody uses the feedback.

    Args:
        guard: GUARD, (1,).
        feedback: FEEDBACK, (1,), actuator space; corrected in place.
    """
    g = guard[0]
    f = feedback[0]
    if g.suspect > 0:
        g.suspect -= 1
    if g.feedback_age > 0:
        return _OK  # the record still holds the reading that was checked before

    lag = g.cycle - np.int64(f.echo)
    if not g.echo_known:
        g.echo_known = 1
        g.echo_offset = lag
    g.echo_offset = min(g.echo_offset, lag)
    g.reply_lag = min(lag - g.echo_offset, LAG_MAX)

    axis = _first_not_finite(guard, feedback)
    status = np.int64(f.status)
    elapsed = (f.t_device_ns - g.fed_ns) * 1e-9
    moved = g.referencing != 0 or (status ^ g.fed_status) & _REFERENCED != 0
    code = _OK
    if axis >= 0:
        code = tell(guard, _NOT_FINITE, axis, np.nan, 0.0)
    elif g.was_fed and elapsed >= 0.0 and not moved:
        jumped = False
        for i in range(g.n_axes - 1, -1, -1):
            far = abs(f.position[i] - g.fed_position[i])
            most = JUMP_MARGIN * g.actuator_velocity_max[i] * elapsed + g.resolution[i]
            surprise = abs(f.position[i] - g.fed_position[i] - g.fed_velocity[i] * elapsed)
            if far > most and surprise > most:
                jumped = True
                if g.suspect > 0:
                    code = tell(guard, _JUMP, i, far, most)
        if jumped and code == _OK:
            g.discarded += 1
            g.suspect = SUSPECT_CYCLES
            for i in range(g.n_axes):
                f.position[i] = g.fed_position[i] + g.fed_velocity[i] * elapsed
                f.velocity[i] = g.fed_velocity[i]
    g.was_fed = 1
    g.fed_ns = f.t_device_ns
    g.fed_status = status
    for i in range(g.n_axes):
        g.fed_position[i] = f.position[i]
        g.fed_velocity[i] = f.velocity[i]
        g.fed_effort[i] = f.effort[i]
    return code


@kernel(_i8(_GUARD, _VECTOR, _VECTOR))
def check_speed(guard: Array, position: Array, velocity: Array) -> int:
    """Return 0, or that a joint is no number or too fast.

    Args:
        guard: GUARD, (1,).
        position: Measured joints, (8,), rad or m.
        velocity: Measured joint velocities, (8,).
    """
    g = guard[0]
    for i in range(g.n_axes):
        if not (np.isfinite(position[i]) and np.isfinite(velocity[i])):
            return tell(guard, _NOT_FINITE, i, np.nan, 0.0)
    for i in range(g.n_axes):
        bound = OVERSPEED_MARGIN * g.velocity_max[i]
        if abs(velocity[i]) > bound:
            return tell(guard, _VELOCITY, i, abs(velocity[i]), bound)
    return _OK


@kernel(_i8(_GUARD, _FEEDBACK, _i8))
def check_sensors(guard: Array, feedback: Array, referenced: int) -> int:
    """Return 0, or that an actuator's second sensor disagrees with its encoder, or has gone.

    Args:
        guard: GUARD, (1,).
        feedback: FEEDBACK, (1,); `absolute` is NaN where there is no second sensor.
        referenced: 1 while the encoders have their reference; before it nothing is compared.
    """
    g = guard[0]
    f = feedback[0]
    if not referenced:
        for i in range(g.n_axes):
            g.sensor_smoothed[i] = 0.0
            g.sensor_seen[i] = 0
        return _OK
    if g.feedback_age > 0:
        return _OK
    for i in range(g.n_axes):
        if not np.isfinite(g.sensor_difference[i]):
            continue
        difference = f.absolute[i] - f.position[i]
        if not np.isfinite(difference):
            if g.sensor_seen[i]:
                return tell(guard, _MISMATCH, i, difference, g.sensor_difference[i])
            continue
        g.sensor_seen[i] = 1
        smoothed = g.sensor_smoothed[i] + SENSOR_SMOOTHING * (difference - g.sensor_smoothed[i])
        g.sensor_smoothed[i] = smoothed
        if abs(smoothed) > g.sensor_difference[i]:
            return tell(guard, _MISMATCH, i, abs(smoothed), g.sensor_difference[i])
    return _OK
