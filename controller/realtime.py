"""What the operating system can give a real-time process: priority, its own CPU, locked memory, awake CPUs.

Each is asked for, used where it is granted, and its absence told once with what would grant it.
"""

import ctypes
import ctypes.util
import mmap
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "REMEDY",
    "PageFaults",
    "Rights",
    "choose_cpu",
    "hold_cpus_awake",
    "keep_heap",
    "leave_cpu",
    "lock_memory",
    "page_faults",
    "prefault",
    "prefault_stack",
    "take_cpu_and_priority",
    "unlock_memory",
]

MCL_CURRENT, MCL_FUTURE = 1, 2  # sys/mman.h
MADV_POPULATE_WRITE = 23  # linux/mman.h, since Linux 5.14
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
PR_SET_TIMERSLACK = 29  # sys/prctl.h
HEAP = 8 << 20  # bytes kept for what Python still allocates beside the cycle
STACK = 1 << 20  # bytes of the cycle's stack that are touched; its frames take some KiB
ISOLATED = Path("/sys/devices/system/cpu/isolated")
TASKS = Path("/proc/self/task")
MINFLT, MAJFLT = 7, 9  # after the name in /proc/PID/stat: proc(5), fields 10 and 12
REMEDY = (
    "add '@realtime - rtprio 95' and '@realtime - memlock unlimited' to /etc/security/limits.d/realtime.conf, "
    "put your user in the group 'realtime' and log in again"
)
AWAKE_REMEDY = (
    "let the group have it with a rule in /etc/udev/rules.d/99-realtime.rules: "
    'KERNEL=="cpu_dma_latency", GROUP="realtime", MODE="0660"'
)


class Rights(NamedTuple):
    """What was granted, and a warning for each thing that was not."""

    scheduler: str
    cpu: int
    warnings: list[str]


class PageFaults(NamedTuple):
    """How often a thread met a page that was not mapped; each costs a cycle some us, a major one a disk's time."""

    minor: int
    major: int


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def lock_memory() -> str | None:
    """Keep every page of this process in memory; return a warning where that is not allowed."""
    if _libc().mlockall(MCL_CURRENT | MCL_FUTURE) == 0:
        return None
    reason = os.strerror(ctypes.get_errno())
    return f"memory is not locked ({reason}): a page that was swapped out can delay a cycle; {REMEDY}"


def unlock_memory() -> None:
    """Let the pages of this process go again."""
    _libc().munlockall()


def keep_heap() -> None:
    """Take memory for what will still be allocated, and never give freed memory back to the kernel."""
    libc = _libc()
    if not hasattr(libc, "mallopt"):  # another C library than glibc
        return
    libc.mallopt(M_MMAP_MAX, 0)  # a mapping of its own would be returned when it is freed
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    libc.malloc.restype = ctypes.c_void_p
    block = libc.malloc(ctypes.c_size_t(HEAP))
    if block:
        ctypes.memset(block, 1, HEAP)
        libc.free(ctypes.c_void_p(block))


def prefault(*arrays: np.ndarray[Any, Any]) -> None:
    """Map every page of some arrays, for writing too, without changing what is in them: shared ones are in use.

    mlockall does so as well, where it is allowed.
    """
    for array in arrays:
        _populate(array.ctypes.data, array.nbytes)


def prefault_stack() -> None:
    """Map the stack of the calling thread, which must not be the main one."""
    libc = _libc()
    libc.pthread_self.restype = ctypes.c_ulong
    attributes = ctypes.create_string_buffer(128)  # an opaque pthread_attr_t of 56 or 64 bytes
    address, size = ctypes.c_void_p(), ctypes.c_size_t()
    if libc.pthread_getattr_np(ctypes.c_ulong(libc.pthread_self()), attributes) != 0:
        return
    libc.pthread_attr_getstack(attributes, ctypes.byref(address), ctypes.byref(size))
    libc.pthread_attr_destroy(attributes)
    count = min(size.value, STACK)
    _populate((address.value or 0) + size.value - count, count)


def _populate(address: int, count: int) -> None:
    """Map the pages of a piece of memory; an older kernel only reads them."""
    if count == 0:
        return
    begin = address - address % mmap.PAGESIZE
    length = address + count - begin
    if _libc().madvise(ctypes.c_void_p(begin), ctypes.c_size_t(length), MADV_POPULATE_WRITE) != 0:
        for page in range(address, address + count, mmap.PAGESIZE):
            ctypes.string_at(page, 1)


def choose_cpu(cpu: int) -> int:
    """Return the CPU for the cycle, -1: none of its own.

    Args:
        cpu: Which one; -1: the last of those that the kernel was told to keep free (isolcpus), else the last of those
            allowed, unless there is only one.
    """
    if cpu >= 0:
        return cpu
    allowed = sorted(os.sched_getaffinity(0))
    try:
        last = ISOLATED.read_text(encoding="ascii").strip().replace("-", ",").rpartition(",")[2]
    except OSError:
        last = ""
    if last:
        return int(last)
    return allowed[-1] if len(allowed) > 1 else -1


def leave_cpu(cpu: int) -> int:
    """Move all threads of this process, and so those that they will start, off a CPU; return how many there are."""
    threads = [int(entry.name) for entry in TASKS.iterdir()]
    for thread in threads:
        try:
            elsewhere = os.sched_getaffinity(thread) - {cpu}
            if elsewhere:
                os.sched_setaffinity(thread, elsewhere)
        except ProcessLookupError:
            continue  # it has ended meanwhile
    return len(threads)


def take_cpu_and_priority(cpu: int, priority: int) -> Rights:
    """Give the calling thread its CPU and SCHED_FIFO; threads started later would inherit both, so start them before.

    Args:
        cpu: Which one (`choose_cpu`), also one that this thread has left, or an isolated one; -1: any.
        priority: 1..98, or 0: ordinary scheduling.
    """
    warnings = []
    if cpu >= 0:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError as error:
            there = os.cpu_count() or 1
            warnings.append(
                f"cycle.cpu = {cpu} cannot be used ({error.strerror}): not pinned. This machine has the CPUs "
                f"0 .. {there - 1}; choose one that this process may use, or -1"
            )
            cpu = -1
    scheduler = "SCHED_OTHER"
    if priority > 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
            scheduler = f"SCHED_FIFO {priority}"
        except PermissionError:
            warnings.append(f"no real-time priority: cycles may start late while the machine is busy; {REMEDY}")
    _libc().prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # ns; an ordinary thread's sleep is otherwise 50 us longer
    return Rights(scheduler, cpu, warnings)


def hold_cpus_awake() -> int:
    """Ask the CPUs not to sleep deeply while the returned descriptor is open; -1 where that is not allowed."""
    try:
        descriptor = os.open(Path("/dev/cpu_dma_latency"), os.O_WRONLY)
    except OSError:
        return -1
    os.write(descriptor, struct.pack("i", 0))  # 0 us of wake-up latency
    return descriptor


def page_faults(thread: int) -> PageFaults:
    """Return how many page faults a thread of this process has had, by its native id.

    Raises:
        OSError: It has ended.
    """
    text = (TASKS / str(thread) / "stat").read_text(encoding="ascii", errors="replace")
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return PageFaults(int(fields[MINFLT]), int(fields[MAJFLT]))
