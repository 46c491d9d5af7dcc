"""Our kernels timed inside compiled code, as the cycle calls them: runs of 200 calls, the clock read between runs.

The loops write each result over the one before, as the cycle and the peers' C++ do.
"""

from typing import Any

from numba.core import types

from benchmarks.rows import RUN
from kinematics.chain import ARMS, FORWARD, FORWARD_JACOBIAN, INVERSE
from kinematics.compiled import Array, Part, kernel
from kinematics.dynamics import EFFORT

__all__ = ["time_both", "time_efforts", "time_forward", "time_inverse"]

CLOCK_MONOTONIC = 1

f8 = types.float64
_VECTOR, _MATRIX, _TIMESPEC = f8[::1], f8[:, ::1], types.int64[::1]
_clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))


@kernel(f8(_TIMESPEC))
def _now(timespec: Array) -> float:
    """Return CLOCK_MONOTONIC in µs."""
    _clock_gettime(CLOCK_MONOTONIC, timespec.ctypes.data)
    return float(timespec[0]) * 1e6 + float(timespec[1]) * 1e-3


@kernel(types.void(types.FunctionType(FORWARD), ARMS, _MATRIX, _MATRIX, _VECTOR, _TIMESPEC))
def time_forward(function: Part, arm: Array, Q: Array, out: Array, times: Array, timespec: Array) -> None:
    """Write µs per call of each run; a kernel of the signature FORWARD or JACOBIAN, called for the rows of Q in turn.

    Args:
        function: The kernel.
        arm: The record.
        Q: Positions, (N, 8), N a multiple of RUN.
        out: Where the kernel writes.
        times: Out: one entry per run.
        timespec: Work space, (2,).
    """
    first = 0
    for run in range(len(times)):
        begin = _now(timespec)
        for i in range(first, first + RUN):
            function(arm, Q[i], out)
        times[run] = (_now(timespec) - begin) / RUN
        first = (first + RUN) % len(Q)


@kernel(types.void(types.FunctionType(FORWARD_JACOBIAN), ARMS, _MATRIX, _MATRIX, _MATRIX, _VECTOR, _TIMESPEC))
def time_both(function: Part, arm: Array, Q: Array, T: Array, J: Array, times: Array, timespec: Array) -> None:
    """As `time_forward`, for a kernel of the signature FORWARD_JACOBIAN."""
    first = 0
    for run in range(len(times)):
        begin = _now(timespec)
        for i in range(first, first + RUN):
            function(arm, Q[i], T, J)
        times[run] = (_now(timespec) - begin) / RUN
        first = (first + RUN) % len(Q)


@kernel(types.void(types.FunctionType(EFFORT), ARMS, _MATRIX, _VECTOR, _VECTOR, _TIMESPEC))
def time_efforts(function: Part, arm: Array, Q: Array, effort: Array, times: Array, timespec: Array) -> None:
    """As `time_forward`, for a kernel of the signature EFFORT."""
    first = 0
    for run in range(len(times)):
        begin = _now(timespec)
        for i in range(first, first + RUN):
            function(arm, Q[i], effort)
        times[run] = (_now(timespec) - begin) / RUN
        first = (first + RUN) % len(Q)


@kernel(
    types.void(
        types.FunctionType(INVERSE),
        ARMS,
        f8[:, :, ::1],
        _VECTOR,
        _MATRIX,
        types.int64[::1],
        _VECTOR,
        _TIMESPEC,
    )
)
def time_inverse(
    function: Part, arm: Array, T: Array, q: Array, Q: Array, status: Array, times: Array, timespec: Array
) -> None:
    """As `time_forward`, for a kernel of the signature INVERSE that follows a path, each pose from the last answer.

    Args:
        function: The kernel.
        arm: The record.
        T: The poses, (N, 4, 4); N // RUN runs are timed.
        q: Work space: where the path begins, (8,).
        Q: Out: the answers, (N, 8).
        status: Out: what the kernel returned, (N,).
        times: Out: one entry per run.
        timespec: Work space, (2,).
    """
    for run in range(len(times)):
        begin = _now(timespec)
        for i in range(run * RUN, (run + 1) * RUN):
            status[i] = function(arm, T[i], q, q)
            for k in range(8):
                Q[i, k] = q[k]
        times[run] = (_now(timespec) - begin) / RUN
