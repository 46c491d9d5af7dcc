"""What every measurement has in common: its row, how calls are timed, and when an answer counts."""

import math
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kinematics.compiled import Array

__all__ = ["OURS", "RUN", "Row", "Settings", "agree", "make_row", "skip", "time_calls", "time_many", "time_runs"]

OURS = "trocar"
RUN = 200  # calls per run in compiled code
POSITION_TOLERANCE = 1e-6  # m: what counts as solved
ANGLE_TOLERANCE = 1e-6  # rad
JACOBIAN_TOLERANCE = 1e-9  # m, rad
EFFORT_TOLERANCE = 1e-9  # N·m, N


class Row(NamedTuple):
    """One measurement."""

    task: str
    robot: str
    library: str
    called_from: str
    """python; batch: one call from Python for many, µs per configuration; loop: our compiled code; c++: theirs;
    cycle: not a call, but how late each wake-up is."""
    solved: float
    """Part of the answers that another code confirmed."""
    median_us: float
    p99_us: float
    p999_us: float


class Settings(NamedTuple):
    """How much is measured."""

    robots: tuple[str, ...] = ()
    """Names of shipped arms; empty: all of the suite's."""
    quick: bool = False
    """A tenth of the calls or fewer: to see that it runs, not to quote."""

    def count(self, full: int) -> int:
        """Return how many of something to do."""
        return max(full // 20, 50) if self.quick else full


def make_row(task: str, robot: str, library: str, called_from: str, solved: Array | float, times_us: Array) -> Row:
    """Return the row of some timed calls.

    Args:
        task: What was done.
        robot: To which arm.
        library: By whom.
        called_from: How; see Row.
        solved: Which answers were confirmed, or what part of them.
        times_us: Time of each call, or per call in each run.
    """
    median, p99, p999 = np.percentile(times_us, (50.0, 99.0, 99.9))
    return Row(task, robot, library, called_from, float(np.mean(solved)), float(median), float(p99), float(p999))


def skip(what: str, why: str) -> None:
    """Say on stderr what is not measured and why."""
    print(f"benchmarks: without {what}: {why}", file=sys.stderr)


def agree(A: Array, B: Array) -> Array:
    """Return which of the poses (n, 4, 4) agree to 1e-6 m and 1e-6 rad; those that are not finite do not."""
    position = np.linalg.norm(A[:, :3, 3] - B[:, :3, 3], axis=1)
    # The chord between rotations is 2 sqrt(2) sin(angle / 2): good to the last digit near 0, as the trace is not.
    angle = np.linalg.norm(A[:, :3, :3] - B[:, :3, :3], axis=(1, 2)) / math.sqrt(2.0)
    result: Array = (position < POSITION_TOLERANCE) & (angle < ANGLE_TOLERANCE)
    return result


def time_calls(call: Callable[[int], object], count: int, inputs: int) -> Array:
    """Return the time of each call from Python, µs; call(i) works on input i."""
    times = np.empty(count)
    clock = time.perf_counter_ns
    for k in range(count):
        i = k % inputs
        begin = clock()
        call(i)
        times[k] = clock() - begin
    return times / 1e3


def time_many(call: Callable[[], object], count: int) -> Array:
    """Return the time of each call that works on a whole array, µs."""
    return time_calls(lambda _: call(), count, 1)


def time_runs(call: Callable[[int], object], count: int, inputs: int) -> Array:
    """Return the time per call in each run of compiled code, µs; call(first) works on RUN inputs from there on.

    The entry from Python into each run is not taken off; `benchmarks.loops` has loops that do without.
    """
    return time_calls(lambda k: call(k * RUN), count, inputs // RUN) / RUN
