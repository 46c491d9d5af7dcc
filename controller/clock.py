"""The two kinds of time that the cycle runs in: the real clock, or lock-step with the emulated arm.

In lock-step nothing looks at a wall clock. One barrier a tick: the core has run tick k and sent its bytes
(`core_tick`, `core_bytes`); the rig reads exactly those, simulates one period and answers (`rig_tick`, `rig_bytes`).
A client grants the ticks, so it too takes part in the determinism: time stands still while it thinks. Where the rig
makes the host stand still (a fault), it answers several ticks later, and the core's count of ticks follows.
"""

import platform
from typing import Any

import numpy as np
from numba.core import types

from drivers.driver import LINK
from kinematics.compiled import Array, array_of, kernel
from telemetry.ring import RING_HEADER, fence_acquire, fence_release, lag
from telemetry.sample import SAMPLE

__all__ = [
    "CLOCK",
    "CORE_TICK",
    "FINISH",
    "GRANT",
    "GRANT_DONE",
    "LOCKSTEP",
    "NOW",
    "RIG_TICK",
    "WAIT",
    "await_change",
    "finish_lockstep",
    "finish_real",
    "now_lockstep",
    "now_real",
    "tell_change",
    "wait_lockstep",
    "wait_real",
]

LOCKSTEP = np.dtype(
    [  # signed on purpose: mixed with unsigned integers, Numba computes in floating point
        # written by the core
        ("core_tick", "i8"),  # ticks whose command has been written to the port
        ("core_bytes", "i8"),  # bytes written to the port since it was opened
        ("grant_done", "i8"),  # the newest grant that has been used up, or ended by its stop condition
        ("active", "i8"),  # 1 from the first tick on; before it the rig answers, but its time stands still
        # written by the rig
        ("rig_tick", "i8"),
        ("rig_bytes", "i8"),
        # written by the gateway
        ("grant", "i8"),  # number of the newest grant
        ("grant_ticks", "i8"),  # how many ticks it allows
        ("stop_id", "i8"),  # it ends in the tick in which this command is refused or its activity ends; 0: none
        ("stop_states", "i8"),  # it ends in the tick in which the state is in this set, bit 1 << OperatingState
        # written by the supervisor
        ("shutdown", "i8"),
    ],
    align=True,
)

CLOCK = np.dtype(
    [
        ("period_ns", "i8"),
        ("tick", "i8"),  # cycles begun
        ("deadline_ns", "i8"),  # when the present cycle was due
        ("overruns", "i8"),  # cycles that began more than a period late
        ("skipped", "i8"),  # whole periods that passed without a cycle before the present one
        ("stop", "i8"),  # set by the process: end the loop after a controlled stop
        ("granted", "i8"),  # lock-step: ticks left of the present grant
        ("grant", "i8"),  # lock-step: the grant they belong to
        ("timespec", "i8", (2,)),  # for libc
    ],
    align=True,
)


def _offset(record: np.dtype[Any], field: str) -> int:
    """Return where in a record a field is, in bytes."""
    fields: Any = record.fields
    return int(fields[field][1])


_CLOCK, _LOCKSTEP, _LINK = array_of(CLOCK), array_of(LOCKSTEP), array_of(LINK)

WAIT = types.int64(_CLOCK, _LOCKSTEP, _LINK, array_of(RING_HEADER))
"""wait(clock, lockstep, link, ring): begin the next cycle; returns its time in ns, or -1: end the loop."""

NOW = types.int64(_CLOCK)
"""now(clock): the time in ns for measuring work; stands still in lock-step."""

FINISH = types.void(_CLOCK, _LOCKSTEP, _LINK, array_of(SAMPLE))
"""finish(clock, lockstep, link, sample): the cycle's command is on the wire and its sample in the ring."""

clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))
clock_nanosleep: Any = types.ExternalFunction(
    "clock_nanosleep", types.int32(types.int32, types.int32, types.intp, types.intp)
)


_syscall: Any = types.ExternalFunction(
    "syscall", types.int64(types.int64, types.intp, types.int64, types.int64, types.intp, types.intp, types.int64)
)

TIMESPEC = _offset(CLOCK, "timespec")
GRANT, GRANT_DONE = _offset(LOCKSTEP, "grant"), _offset(LOCKSTEP, "grant_done")
CORE_TICK, RIG_TICK = _offset(LOCKSTEP, "core_tick"), _offset(LOCKSTEP, "rig_tick")
CLOCK_MONOTONIC = 1  # linux/time.h
TIMER_ABSTIME = 1
SECOND_NS = 1_000_000_000
# Who waits at the barrier sleeps until the other has moved on. One that looks all the time keeps the kernel's worker
# that carries the bytes through the pseudo-terminal from its CPU, and the other, too, where CPUs are few; one that
# offers its CPU with sched_yield forfeits a slice of milliseconds.
READERS_NS = 200_000  # between looks at readers that are far behind
REST_NS = 10_000_000  # look at the shutdown flag so often; a grant, or the rig, wakes at once
LOOKS_AFTER_STOP = 100  # once asked to stop, before the rig is given up: about a second
FUTEX_WAIT, FUTEX_WAKE = 0, 1  # linux/futex.h
SYS_FUTEX = 98 if platform.machine() in ("aarch64", "riscv64") else 202  # asm-generic/unistd.h, and x86-64's own


@kernel(types.void(types.intp, types.int64, types.intp))
def await_change(address: int, value: int, timespec: int) -> None:
    """Sleep while the shared word at an address has a value, for a timespec at the most: futex(2).

    The word is the lower half of a counter of 8 bytes.
    """
    _syscall(SYS_FUTEX, address, FUTEX_WAIT, value & 0xFFFFFFFF, timespec, 0, 0)


@kernel(types.void(types.intp))
def tell_change(address: int) -> None:
    """Wake up whoever sleeps because of the shared word at an address."""
    _syscall(SYS_FUTEX, address, FUTEX_WAKE, 1, 0, 0, 0)


@kernel(NOW)
def now_real(clock: Array) -> int:
    """Return CLOCK_MONOTONIC in ns."""
    timespec = clock[0].timespec
    clock_gettime(CLOCK_MONOTONIC, timespec.ctypes.data)
    return int(timespec[0] * SECOND_NS + timespec[1])


@kernel(NOW)
def now_lockstep(clock: Array) -> int:
    """Return the virtual time of the present tick in ns."""
    return int(clock[0].tick * clock[0].period_ns)


@kernel(WAIT)
def wait_real(clock: Array, lockstep: Array, link: Array, ring: Array) -> int:
    """Sleep to the next deadline. Deadlines that have passed are skipped, not made up for in a burst."""
    c = clock[0]
    c.tick += 1
    link[0].await_bytes = -1
    if c.deadline_ns == 0:
        c.deadline_ns = now_real(clock)
    c.deadline_ns += c.period_ns
    timespec = c.timespec
    timespec[0] = c.deadline_ns // SECOND_NS
    timespec[1] = c.deadline_ns % SECOND_NS
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, timespec.ctypes.data, 0) != 0:
        pass  # EINTR: the deadline is absolute, so wait on
    now = now_real(clock)
    late = (now - c.deadline_ns) // c.period_ns
    c.skipped = max(late, 0)
    if late > 0:
        c.overruns += 1
        c.deadline_ns += late * c.period_ns
    return int(now)


@kernel(WAIT)
def wait_lockstep(clock: Array, lockstep: Array, link: Array, ring: Array) -> int:
    """Wait for a granted tick, for the rig to have simulated the tick before, and for readers that are far behind."""
    c = clock[0]
    w = lockstep[0]
    looks = 0
    while True:
        fence_acquire()
        if w.shutdown:
            return -1
        rig_is_done = w.active == 0 or w.rig_tick >= w.core_tick
        if c.granted == 0 and rig_is_done:
            # Only now does time stand still for everybody: what a client does next cannot race with the rig.
            if w.grant_done != c.grant:
                fence_release()
                w.grant_done = c.grant
                tell_change(lockstep.ctypes.data + GRANT_DONE)
            if c.stop:
                return -1  # nobody will grant another tick
            if w.grant != c.grant:
                fence_acquire()
                c.grant = w.grant
                c.granted = w.grant_ticks
        if c.granted > 0 and rig_is_done and lag(ring) * 2 < ring[0].capacity:
            break
        looks += 1
        if c.stop and looks > LOOKS_AFTER_STOP:
            return -1
        c.timespec[0] = 0
        if rig_is_done and c.granted == 0:
            c.timespec[1] = REST_NS
            await_change(lockstep.ctypes.data + GRANT, c.grant, clock.ctypes.data + TIMESPEC)
        elif w.rig_tick < w.core_tick:
            c.timespec[1] = REST_NS
            await_change(lockstep.ctypes.data + RIG_TICK, w.core_tick - 1, clock.ctypes.data + TIMESPEC)
        else:
            c.timespec[1] = READERS_NS
            clock_nanosleep(CLOCK_MONOTONIC, 0, clock.ctypes.data + TIMESPEC, 0)
    fence_acquire()
    # The rig is ahead where it was told that the host stood still. That time, too, was granted.
    c.skipped = w.rig_tick - c.tick if w.active else 0
    if c.skipped > 0:
        c.overruns += 1
        c.tick = w.rig_tick
    w.active = 1
    c.granted = max(c.granted - 1 - c.skipped, 0)
    c.tick += 1
    c.deadline_ns = c.tick * c.period_ns
    link[0].await_bytes = w.rig_bytes
    return int(c.deadline_ns)


@kernel(FINISH)
def finish_real(clock: Array, lockstep: Array, link: Array, sample: Array) -> None:
    """Nothing is left to do in real time."""


@kernel(FINISH)
def finish_lockstep(clock: Array, lockstep: Array, link: Array, sample: Array) -> None:
    """Hand the tick to the rig, and end the grant where its condition has come true."""
    c = clock[0]
    w = lockstep[0]
    s = sample[0]
    w.core_bytes = link[0].bytes_sent
    fence_release()
    w.core_tick = c.tick
    tell_change(lockstep.ctypes.data + CORE_TICK)
    refused = s.command_id == w.stop_id and s.verdict != 0
    if w.stop_id != 0 and (refused or s.finished_id == w.stop_id):
        c.granted = 0
    if (w.stop_states >> np.int64(s.state)) & 1:
        c.granted = 0
