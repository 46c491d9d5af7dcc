"""The observer residual: does a joint move as it is commanded?

A joint that follows keeps a nearly constant distance to its set-point. Where that distance changes by too much within
eight cycles, or within 32, its encoder stands still or counts backwards, its motor runs away or gives nothing, or it is
blocked.

The measured position is compared with the set-point that the motor controllers were at when they sampled it: a command
is due one period after it arrives, and a reply is sampled when its command arrives, so the reply to one command shows
the goal of the command before. The echo in the reply says which, so that late replies are compared rightly.

A raw stream may step in velocity, and no joint can. So a model of the joint follows the set-point with an acceleration
that the arm surely has; as far as the model lags behind, the joint may too. Planned motions never make it lag.

The limits hold for the configured gains. A law that holds a joint with less than half of its stiffness lets it give
way, and one whose motor has given all it has for 20 cycles cannot follow: five times the limit is allowed then.
"""

import math

import numpy as np
from numba.core import types

from controller.catalogue import Code
from controller.guard.records import ERRORS, GUARD, SENT, tell
from kinematics.compiled import Array, array_of, kernel

__all__ = ["check_residual"]

WINDOW = 8  # cycles
LONG_WINDOW = 32  # cycles; finds a joint that should move slowly and does not
UNSEEN_MAX = 2  # replies in a row that may be missed
RECOVERY_TIME = 0.01  # s in which the model makes up for a small error
LAG_DECAY = 0.97  # per cycle: the joint's lag may outlast its model's
LAG_MARGIN = 2.0  # the residual may exceed its limit by so many times what the model lags within the window
SOFT_MARGIN = 5.0  # of the limit, for a joint that a law holds softly

_OK, _RESIDUAL = int(Code.OK), int(Code.MOTION_RESIDUAL)
_GUARD, _VECTOR, _i8, _f8 = array_of(GUARD), types.float64[:], types.int64, types.float64


@kernel(_f8(_f8, _f8))
def _clip(value: float, most: float) -> float:
    """Return the value within +-most."""
    return min(max(value, -most), most)


@kernel(types.void(_GUARD, _i8, _f8))
def _follow(guard: Array, i: int, velocity: float) -> None:
    """Let the model of one joint follow a set-point's velocity for a period."""
    g = guard[0]
    a = g.lag_acceleration[i]
    error = g.model_error[i]
    back = math.copysign(min(abs(error) / RECOVERY_TIME, np.sqrt(a * abs(error))), error)
    model = g.model_velocity[i]
    model += _clip(velocity + back - model, a * g.period)
    behind = velocity - model
    g.model_velocity[i] = model
    g.model_error[i] = error + behind * g.period
    g.model_lag[i] = max(LAG_DECAY * g.model_lag[i], LAG_MARGIN * abs(behind) * WINDOW * g.period)


@kernel(_i8(_GUARD, _VECTOR, _VECTOR, _i8))
def check_residual(guard: Array, setpoint: Array, measured: Array, active: int) -> int:
    """Return 0, or that a joint does not move as it is commanded.

    Call it once in each cycle, after `check_link` and `check_encoders`.

    Args:
        guard: GUARD, (1,).
        setpoint: What was sent in the cycle before, (8,), joint space, rad or m.
        measured: Measured joints, (8,).
        active: 1 while the joint servo is to follow the set-point: powered, brakes released, not taking a reference.
    """
    g = guard[0]
    if g.feedback_age > 0:
        g.unseen += 1
    else:
        g.unseen = 0
    if not active or not g.residual_known:
        g.residual_known = active
        g.residual_count = 0
        for k in range(SENT):
            for i in range(g.n_axes):
                g.sent[k, i] = setpoint[i]
        for i in range(g.n_axes):
            g.model_velocity[i] = 0.0
            g.model_error[i] = 0.0
            g.model_lag[i] = 0.0
    g.residual_at += 1
    at = g.residual_at
    for i in range(g.n_axes):
        g.sent[at & (SENT - 1), i] = setpoint[i]
    if not active:
        g.echo_known = 0  # cycles in which no command was sent change it
        return _OK
    unknown = g.skipped > 0 or g.unseen > UNSEEN_MAX
    if unknown:
        # The motor controllers may have stood still meanwhile.
        g.residual_count = 0
        for i in range(g.n_axes):
            g.model_velocity[i] = 0.0

    code = _OK
    shown = at - 1 - g.reply_lag
    for i in range(g.n_axes - 1, -1, -1):
        if g.soft[i] > 0:
            g.soft[i] -= 1
        velocity = (g.sent[shown & (SENT - 1), i] - g.sent[(shown - 1) & (SENT - 1), i]) / g.period
        _follow(guard, i, velocity)
        error = g.error[(at - 1) & (ERRORS - 1), i]
        if g.unseen == 0 or g.residual_count == 0:
            error = g.sent[shown & (SENT - 1), i] - measured[i]
        g.error[at & (ERRORS - 1), i] = error
        limit = g.residual[i]
        if g.soft[i] > 0:
            limit *= SOFT_MARGIN
        for window in (WINDOW, LONG_WINDOW):
            if g.residual_count >= window:
                change = abs(error - g.error[(at - window) & (ERRORS - 1), i])
                bound = limit + g.model_lag[i] * (window // WINDOW)
                if not change <= bound:
                    code = tell(guard, _RESIDUAL, i, change, bound)
    if not unknown:
        g.residual_count += 1
    return code
