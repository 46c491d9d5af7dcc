"""What the operating system can give a real-time process: priority, its own CPU, locked memory, awake CPUs.

Each is asked for, used where it is granted, and its absence told once with what would grant it.
"""

import ctypes
import ctypes.util
import os
import struct
from pathlib import Path
from typing import NamedTuple

__all__ = ["Rights", "hold_cpus_awake", "lock_memory", "take_cpu_and_priority"]

MCL_CURRENT, MCL_FUTURE = 1, 2  # sys/mman.h
REMEDY = (
    "add '@realtime - rtprio 95' and '@realtime - memlock unlimited' to /etc/security/limits.d/realtime.conf, "
    "put your user in the group 'realtime' and log in again"
)


class Rights(NamedTuple):
    """What was granted, and a warning for each thing that was not."""

    scheduler: str
    cpu: int
    warnings: list[str]


def lock_memory() -> str | None:
    """Keep every page of this process in memory; return a warning where that is not allowed."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE) == 0:
        return None
    reason = os.strerror(ctypes.get_errno())
    return f"memory is not locked ({reason}): a page that was swapped out can delay a cycle; {REMEDY}"


def take_cpu_and_priority(cpu: int, priority: int) -> Rights:
    """Give the calling thread its CPU and SCHED_FIFO; threads started later would inherit both, so start them before.

    Args:
        cpu: Which one; -1: the last of those allowed, unless there is only one.
        priority: 1..98, or 0: ordinary scheduling.
    """
    warnings = []
    allowed = sorted(os.sched_getaffinity(0))
    if cpu >= 0 and cpu not in allowed:
        warnings.append(f"cycle.cpu = {cpu} is not among the CPUs that this process may use ({allowed}): not pinned")
        cpu = -2
    elif cpu == -1:
        cpu = allowed[-1] if len(allowed) > 1 else -2
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})
    scheduler = "SCHED_OTHER"
    if priority > 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
            scheduler = f"SCHED_FIFO {priority}"
        except PermissionError:
            warnings.append(f"no real-time priority: cycles may start late while the machine is busy; {REMEDY}")
    return Rights(scheduler, cpu, warnings)


def hold_cpus_awake() -> int:
    """Ask the CPUs not to sleep deeply while the returned descriptor is open; -1 where that is not allowed."""
    try:
        descriptor = os.open(Path("/dev/cpu_dma_latency"), os.O_WRONLY)
    except OSError:
        return -1
    os.write(descriptor, struct.pack("i", 0))  # 0 us of wake-up latency
    return descriptor
