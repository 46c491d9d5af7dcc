"""SipHash-2-4, compiled: the tag that shows that a message came from who holds the key, unchanged.

Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, LNCS 7668. The firmware has
the same in C (`firmware/core/siphash.c`).
"""

from typing import Any

import numpy as np
from numba.core import types

from kinematics.compiled import kernel

__all__ = ["KEY_SIZE", "key_words", "siphash"]

KEY_SIZE = 16
"""Bytes of a key."""

_U64 = types.uint64
_STATE: Any = types.UniTuple(_U64, 4)  # type: ignore[attr-defined]


def key_words(key: bytes) -> tuple[np.uint64, np.uint64]:
    """Return a key as `siphash` takes it.

    Raises:
        ValueError: It is not of KEY_SIZE bytes.
    """
    if len(key) != KEY_SIZE:
        raise ValueError(f"the key has {len(key)} bytes, the firmware takes {KEY_SIZE}: give {2 * KEY_SIZE} hex digits")
    return np.uint64(int.from_bytes(key[:8], "little")), np.uint64(int.from_bytes(key[8:], "little"))


@kernel(_STATE(_U64, _U64, _U64, _U64))
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:  # noqa: ANN401
    v0 += v1
    v2 += v3
    v1 = (v1 << np.uint64(13) | v1 >> np.uint64(51)) ^ v0
    v3 = (v3 << np.uint64(16) | v3 >> np.uint64(48)) ^ v2
    v0 = v0 << np.uint64(32) | v0 >> np.uint64(32)
    v2 += v1
    v0 += v3
    v1 = (v1 << np.uint64(17) | v1 >> np.uint64(47)) ^ v2
    v3 = (v3 << np.uint64(21) | v3 >> np.uint64(43)) ^ v0
    v2 = v2 << np.uint64(32) | v2 >> np.uint64(32)
    return v0, v1, v2, v3


@kernel(_U64(types.uint8[::1], types.int64, _U64, _U64))
def siphash(data: np.ndarray[Any, Any], count: int, key0: Any, key1: Any) -> Any:  # noqa: ANN401
    """Return the 64-bit tag of the first `count` bytes under a key, given as two words: see `key_words`."""
    v0 = key0 ^ np.uint64(0x736F6D6570736575)
    v1 = key1 ^ np.uint64(0x646F72616E646F6D)
    v2 = key0 ^ np.uint64(0x6C7967656E657261)
    v3 = key1 ^ np.uint64(0x7465646279746573)
    for start in range(0, count + 1, 8):  # the last word is of what is left, perhaps nothing, and of the count
        word = np.uint64(0)
        if start + 8 <= count:
            for k in range(8):
                word |= np.uint64(data[start + k]) << np.uint64(8 * k)
        else:
            for k in range(count - start):
                word |= np.uint64(data[start + k]) << np.uint64(8 * k)
            word |= np.uint64(count & 0xFF) << np.uint64(56)
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3
