"""Repeatable noise for the emulated arm: the same seed gives the same run, to the bit.

A source of noise is one 64-bit counter in its owner's record, advanced by GOLDEN a draw and scrambled by `mix`:
SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, figure 16).
"""

from typing import Any

import numpy as np
from numba.core import types

from kinematics.compiled import kernel

__all__ = ["GOLDEN", "gaussian", "mix", "uniform"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
LOW_16 = np.uint64(0xFFFF)


@kernel(types.uint64(types.uint64))
def mix(counter: Any) -> Any:  # noqa: ANN401 - an unsigned integer; NumPy's differs from Python's
    """Return 64 well-scattered bits of a counter."""
    z = np.uint64(counter)
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


@kernel(types.float64(types.uint64))
def uniform(bits: Any) -> float:  # noqa: ANN401
    """Return a number in [0, 1[ from 64 bits: the upper 53 of them."""
    return float(np.uint64(bits) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel(types.float64(types.uint64))
def gaussian(bits: Any) -> float:  # noqa: ANN401
    """Return a number of mean 0 and standard deviation 1 from 64 bits: the sum of four uniform ones.

    It is never beyond 3.47, as an amplifier's noise is not either, and costs no logarithm.
    """
    z = np.uint64(bits)
    total = z & LOW_16
    total += (z >> np.uint64(16)) & LOW_16
    total += (z >> np.uint64(32)) & LOW_16
    total += z >> np.uint64(48)
    return (float(total) - 131070.0) * (1.7320508075688772 / 65536.0)
