"""How large a step between two joint positions is, beside what the joints may do in a period.

The branch nearest to the present joints is not always near: where a branch ends, the next can be radians away, and an
iteration can land on another side of a singularity. Whatever follows a path checks its step and refuses a jump.
"""

import math

from numba.core import types

from kinematics.chain import ARMS
from kinematics.compiled import Array, kernel

__all__ = ["STEP_RATIO", "step_ratio"]

STEP_RATIO = types.float64(ARMS, types.float64[::1], types.float64[::1], types.float64)
"""(arm, q_from, q_to, period): return the largest part of its velocity limit that a joint uses."""


@kernel(STEP_RATIO)
def step_ratio(arm: Array, q_from: Array, q_to: Array, period: float) -> float:
    """Return the largest |q_to - q_from| / (velocity_max * period) of all axes: a step of more than 1 is a jump.

    Args:
        arm: The record, (1,), dtype ARM.
        q_from: Positions, (8,), rad and m.
        q_to: Positions a period later, (8,).
        period: s.

    Returns:
        The ratio; infinity where a number is not finite or the period is not positive, so that `ratio > 1` refuses it.
    """
    largest = 0.0
    for i in range(arm[0].n_axes):
        ratio = abs(q_to[i] - q_from[i]) / (arm[0].velocity_max[i] * period)
        if not ratio < math.inf:
            return math.inf
        largest = max(largest, ratio)
    if not period > 0.0:
        return math.inf
    return largest
