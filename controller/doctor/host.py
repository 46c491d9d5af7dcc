"""What a host says of itself: kernel, CPUs, clock, permissions, memory, adapters. Read from /proc and /sys only."""

import grp
import gzip
import os
import re
import resource
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["Host", "Swap", "read_host", "read_steal"]

FLAG = re.compile(r"^flags\s*:.*\bhypervisor\b", re.MULTILINE)
HZ = re.compile(r"^CONFIG_HZ=(\d+)", re.MULTILINE)


LATENCY_TIMERS = "sys/bus/usb-serial/devices/*/latency_timer"


class Swap(NamedTuple):
    """Bytes of swap space."""

    total: int
    used: int


class Host(NamedTuple):
    """The facts; None where the kernel does not tell."""

    kernel: str
    is_preempt_rt: bool
    hz: int | None
    """Ticks per second that the kernel was built with."""
    isolated: str
    """CPUs that get no ordinary process, as the kernel writes it, e.g. 2-3."""
    nohz_full: str
    """CPUs whose tick stops while one thread runs."""
    cpus: list[int]
    """That this process may use."""
    hypervisor: str
    """Whose virtual machine this is; "" on real hardware."""
    clock_source: str
    clock_resolution: float
    """s, of CLOCK_MONOTONIC."""
    governors: list[str]
    """Which CPU frequency governors are in use; none where the kernel does not control the frequency."""
    sleep_latency: float | None
    """s that the deepest sleep of CPU 0 takes to leave."""
    rtprio_limit: int
    """Highest real-time priority that this user may set; 99 for root."""
    memlock_limit: int
    """Bytes that this user may lock; -1: all."""
    can_hold_awake: bool
    """/dev/cpu_dma_latency may be written."""
    groups: list[str]
    swap: Swap
    shared_memory: int
    """Bytes free in /dev/shm."""
    latency_timers: dict[str, int]
    """ms that USB serial adapters collect bytes for before they pass them on, by device."""


def read_host(root: Path = Path("/")) -> Host:
    """Return the facts of this host.

    Args:
        root: Where proc and sys are, so that a test can make others.
    """
    cpu = root / "sys/devices/system/cpu"
    version = _text(root / "proc/version")
    return Host(
        kernel=os.uname().release,
        is_preempt_rt=_text(root / "sys/kernel/realtime") == "1" or "PREEMPT_RT" in version,
        hz=_hz(root),
        isolated=_text(cpu / "isolated"),
        nohz_full=_text(cpu / "nohz_full").replace("(null)", ""),
        cpus=sorted(os.sched_getaffinity(0)),
        hypervisor=_hypervisor(root),
        clock_source=_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        clock_resolution=time.clock_getres(time.CLOCK_MONOTONIC),
        governors=sorted({_text(path) for path in cpu.glob("cpu[0-9]*/cpufreq/scaling_governor")}),
        sleep_latency=_sleep_latency(cpu),
        rtprio_limit=99 if os.geteuid() == 0 else resource.getrlimit(resource.RLIMIT_RTPRIO)[0],
        memlock_limit=-1 if os.geteuid() == 0 else resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        can_hold_awake=os.access(root / "dev/cpu_dma_latency", os.W_OK),
        groups=_groups(),
        swap=_swap(root),
        shared_memory=_free(root / "dev/shm"),
        latency_timers={path.parent.name: int(_text(path)) for path in sorted(root.glob(LATENCY_TIMERS))},
    )


def read_steal(root: Path = Path("/")) -> float:
    """Return s that the hypervisor has taken from this machine's CPUs since it was started: proc(5), /proc/stat."""
    fields = _text(root / "proc/stat").partition("\n")[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _hz(root: Path) -> int | None:
    try:
        text = gzip.decompress((root / "proc/config.gz").read_bytes()).decode()
    except OSError:
        text = _text(root / f"boot/config-{os.uname().release}")
    found = HZ.search(text)
    return int(found[1]) if found else None


def _hypervisor(root: Path) -> str:
    name = _text(root / "sys/class/dmi/id/sys_vendor") or _text(root / "sys/hypervisor/type")
    if FLAG.search(_text(root / "proc/cpuinfo")):
        return name or "of an unnamed hypervisor"
    return _text(root / "sys/hypervisor/type")


def _sleep_latency(cpu: Path) -> float | None:
    latencies = [int(_text(path)) for path in cpu.glob("cpu0/cpuidle/state[0-9]*/latency")]
    return max(latencies) * 1e-6 if latencies else None


def _groups() -> list[str]:
    names = []
    for number in sorted({os.getegid(), *os.getgroups()}):
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            names.append(str(number))
    return names


def _swap(root: Path) -> Swap:
    sizes = dict(re.findall(r"^(Swap\w+):\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE))
    total = int(sizes.get("SwapTotal", 0)) * 1024
    return Swap(total, total - int(sizes.get("SwapFree", 0)) * 1024)


def _free(path: Path) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
