"""How late a thread is woken: as cyclictest measures it, by the same compiled wait as the cycle's."""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numba.core import types

from controller.clock import CLOCK, LOCKSTEP, wait_real
from controller.realtime import (
    Rights,
    choose_cpu,
    hold_cpus_awake,
    leave_cpu,
    lock_memory,
    prefault,
    prefault_stack,
    take_cpu_and_priority,
    unlock_memory,
)
from drivers.driver import LINK
from kinematics.compiled import Array, array_of, kernel, prepare
from telemetry.ring import RING_HEADER

__all__ = ["Tail", "WakeupMeter", "measure_wakeups", "tail_of", "wait_many"]

LOOK = 0.05  # s between looks at the thread that measures


Progress = Callable[[float], None]


class Tail(NamedTuple):
    """A distribution's upper end, s."""

    median: float
    p99: float
    p999: float
    max: float
    n: int
    """How many were measured."""


@kernel(types.int64(array_of(CLOCK), array_of(LOCKSTEP), array_of(LINK), array_of(RING_HEADER), types.int64[::1]))
def wait_many(clock: Array, lockstep: Array, link: Array, ring: Array, late_ns: Array) -> int:
    """Wait for one deadline after another as the cycle does, and write how late each wake-up was.

    A deadline that was skipped because the wake-up before came too late is not in it: its lateness is.

    Args:
        clock: `period_ns` is given; `stop` ends it early, `tick` says how far it is.
        lockstep: Not used: an argument of every wait.
        link: As `lockstep`.
        ring: As `lockstep`.
        late_ns: Out: one entry per wake-up, (n,), ns.

    Returns:
        How many entries were written.
    """
    wait_real(clock, lockstep, link, ring)
    for i in range(len(late_ns)):
        due = clock[0].deadline_ns + clock[0].period_ns
        late_ns[i] = wait_real(clock, lockstep, link, ring) - due
        if clock[0].stop:
            return i + 1
    return len(late_ns)


def _wait(clock: Array, late_ns: Array) -> int:
    unused = (np.zeros(1, LOCKSTEP), np.zeros(1, LINK), np.zeros(1, RING_HEADER))
    prefault(clock, late_ns, *unused)
    return int(wait_many(clock, *unused, late_ns))


def measure_wakeups(period: float, seconds: float) -> Array:
    """Return how late the calling thread was woken, once per period, (n,), s; it keeps its CPU and priority."""
    clock = np.zeros(1, CLOCK)
    clock["period_ns"] = round(period * 1e9)
    late_ns = np.zeros(max(1, round(seconds / period)), np.int64)
    _wait(clock, late_ns)
    return late_ns * 1e-9


class WakeupMeter:
    """Measures in a thread with what the core gives its cycle: CPU, priority, locked memory, CPUs kept awake.

    For the length of a `with` block: this process's memory is locked, and its other threads keep off the CPU.

    Args:
        period: s.
        cpu: As cycle.cpu.
        priority: As cycle.priority.
    """

    def __init__(self, *, period: float, cpu: int, priority: int) -> None:
        self.period = period
        self.priority = priority
        self.cpu = choose_cpu(cpu)
        self.rights = Rights("SCHED_OTHER", -1, [])
        self.allowed = os.sched_getaffinity(0)

    def __enter__(self) -> Self:
        prepare(wait_many)
        lock_memory()
        leave_cpu(self.cpu)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        unlock_memory()
        os.sched_setaffinity(0, self.allowed)  # the threads of libraries stay where they are: they have nothing to do

    def measure(self, seconds: float, progress: Progress = lambda _part: None) -> Array:
        """Return how late each wake-up was, (n,), s.

        Args:
            seconds: For how long.
            progress: Called now and then with the part that is done, 0 .. 1.
        """
        clock = np.zeros(1, CLOCK)
        clock["period_ns"] = round(self.period * 1e9)
        late_ns = np.zeros(max(1, round(seconds / self.period)), np.int64)
        done = 0

        def wait() -> None:
            nonlocal done
            done = _wait(clock, late_ns)

        def stop() -> None:
            clock["stop"] = 1

        self.run(wait, seconds, progress, stop)
        return late_ns[:done] * 1e-9

    def run(
        self,
        function: Callable[[], None],
        seconds: float,
        progress: Progress = lambda _part: None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Call a function in a thread as the cycle's, and wait for it.

        Args:
            function: What to call.
            seconds: How long it takes, for `progress`.
            progress: As in `measure`.
            stop: Makes it end early, when this thread is interrupted.

        Raises:
            Exception: What the function raised.
        """
        raised: list[Exception] = []

        def body() -> None:
            prefault_stack()
            self.rights = take_cpu_and_priority(self.cpu, self.priority)
            try:
                function()
            except Exception as error:
                raised.append(error)

        thread = threading.Thread(target=body, name="cycle")
        awake = hold_cpus_awake()
        begun = time.monotonic()
        thread.start()
        try:
            while thread.is_alive():
                thread.join(LOOK)
                progress(min(1.0, (time.monotonic() - begun) / seconds))
        finally:
            stop()
            thread.join()
            if awake >= 0:
                os.close(awake)
        if raised:
            raise raised[0]


def tail_of(times: Array) -> Tail:
    """Return the upper end of some times, (n,), s."""
    p50, p99, p999 = np.percentile(times, (50.0, 99.0, 99.9))
    return Tail(float(p50), float(p99), float(p999), float(np.max(times)), len(times))
