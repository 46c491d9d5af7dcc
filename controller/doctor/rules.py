"""What the doctor makes of its measurements: a verdict for each, what it means for the watchdog, and what mends it.

Pure: facts and times in, checks out.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from controller.config import Config, DriverConfig
from controller.doctor.host import Host
from controller.doctor.wakeup import Tail
from controller.realtime import AWAKE_REMEDY, REMEDY

__all__ = [
    "Check",
    "Verdict",
    "judge_host",
    "judge_round_trip",
    "judge_steal",
    "judge_wakeups",
    "kept_watchdog",
    "watchdog_warnings",
    "worst",
]

MARGIN = 2.0  # of the worst lateness that was measured: a longer look finds a worse one
LOST_COMMANDS = 1  # that a watchdog must bear beside the late one
ORDINARY_PAUSE = 0.05  # s that an ordinary thread may have to wait for the CPU where several are busy
VIRTUAL_PAUSE = 0.02  # s for which a hypervisor takes a CPU away now and then
SHARED_MEMORY = 256 << 20  # bytes: samples, an emulated arm's truth, the black box, with room
PRECISE_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "riscv_clocksource", "hyperv_clocksource_tsc_page")
REFERENCE = DriverConfig()


class Verdict(StrEnum):
    """How well one thing serves."""

    FIT = "fit"
    TOLERABLE = "tolerable"
    UNFIT = "unfit"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor's report."""

    name: str
    verdict: Verdict
    found: str
    """The number behind it, for people."""
    meaning: str
    """For the watchdog, or for what else."""
    remedy: str = ""
    """What mends it; "" where nothing needs to be."""
    values: dict[str, float] = {}
    """The same for scripts, SI units."""


def kept_watchdog(period: float, late: float) -> float:
    """Return the shortest watchdog that a host keeps, s, in whole ms.

    While one command is late and the one after it is lost, nothing comes for two periods and the lateness:

        watchdog = period (1 + LOST_COMMANDS) + MARGIN late

    Args:
        period: s.
        late: s. The worst lateness of a wake-up that was measured.
    """
    return math.ceil((period * (1 + LOST_COMMANDS) + MARGIN * late) * 1e3 - 1e-9) * 1e-3


def watchdog_warnings(config: Config, scheduler: str, late: float, host: Host) -> list[str]:
    """Return why this host may not keep the configured watchdog, and what to do; nothing where it does.

    Args:
        config: The daemon's.
        scheduler: What the cycle's thread runs under.
        late: s. How late it was woken at the most in a short trial.
        host: The host.
    """
    watchdog, period = config.driver.watchdog, config.cycle.period
    found = []
    kept = kept_watchdog(period, late)
    if kept > watchdog:
        found.append((f"the cycle was woken {late * 1e3:.2f} ms late in a trial before the start", kept))
    if not scheduler.startswith("SCHED_FIFO"):
        found.append(("the cycle runs without real-time priority", kept_watchdog(period, ORDINARY_PAUSE / MARGIN)))
    if host.hypervisor and not host.is_preempt_rt:
        found.append(("this is a virtual machine", kept_watchdog(period, VIRTUAL_PAUSE / MARGIN)))
    warnings = [
        f"{why}, for which a watchdog of {needed * 1e3:.0f} ms is needed; driver.watchdog is {watchdog * 1e3:g} ms, so "
        "the arm may stop with DEVICE_WATCHDOG: mend what `trocar doctor` names, or set driver.watchdog"
        for why, needed in found
        if needed > watchdog
    ]
    if config.rig is None and watchdog > REFERENCE.watchdog:
        warnings.append(
            f"driver.watchdog is set to {watchdog * 1e3:g} ms, longer than the {REFERENCE.watchdog * 1e3:g} ms of a "
            f"real-time host: if this host dies, the arm goes on for up to {watchdog * 1e3:g} ms"
        )
    return warnings


def judge_wakeups(name: str, tail: Tail, *, period: float, watchdog: float, scheduler: str) -> Check:
    """Return what the lateness of wake-ups means for the watchdog."""
    kept = kept_watchdog(period, tail.max)
    verdict = Verdict.UNFIT
    if kept <= watchdog:
        verdict = Verdict.FIT if tail.max < period / 2 else Verdict.TOLERABLE
    remedy = ""
    if verdict is not Verdict.FIT:
        remedy = (
            "a PREEMPT_RT kernel on real hardware, a CPU of the cycle's own (isolcpus=N on the kernel's command line "
            "and cycle.cpu = N), and what the other lines name"
        )
    if verdict is Verdict.UNFIT:
        remedy += f"; until then set driver.watchdog = {kept:g} and know that the arm moves on for so long"
    return Check(
        name=name,
        verdict=verdict,
        found=f"median {_us(tail.median)}, p99 {_us(tail.p99)}, p99.9 {_us(tail.p999)}, max {_us(tail.max)}",
        meaning=f"keeps a watchdog of {kept * 1e3:.0f} ms ({scheduler}, {tail.n} wake-ups)",
        remedy=remedy,
        values={**tail._asdict(), "watchdog": kept},
    )


def judge_round_trip(name: str, tail: Tail, *, period: float, feedback_timeout: float) -> Check:
    """Return what a serial line's round trip means for the cycle: the answer should be there at the next one."""
    verdict = Verdict.UNFIT
    if tail.p999 < feedback_timeout:
        verdict = Verdict.FIT if tail.p99 < period else Verdict.TOLERABLE
    meaning = {
        Verdict.FIT: "the answer to a command is there at the next cycle",
        Verdict.TOLERABLE: f"the answer to a command comes a cycle late or more; in {feedback_timeout * 1e3:g} ms",
        Verdict.UNFIT: f"cycle.feedback_timeout = {feedback_timeout:g} is not kept: FEEDBACK_LOST stops the arm",
    }[verdict]
    return Check(
        name=name,
        verdict=verdict,
        found=f"median {_us(tail.median)}, p99 {_us(tail.p99)}, p99.9 {_us(tail.p999)}, max {_us(tail.max)}",
        meaning=meaning,
        remedy=""
        if verdict is Verdict.FIT
        else "a faster line (driver.baud), an adapter without a latency timer, or a longer cycle.feedback_timeout",
        values=tail._asdict(),
    )


def judge_steal(stolen: float, seconds: float, cpus: int) -> Check | None:
    """Return what the CPU time means that a hypervisor took away while measuring, s of s on each CPU; None: none."""
    if stolen <= 0.0:
        return None
    part = stolen / (seconds * cpus)
    return Check(
        name="stolen time",
        verdict=Verdict.TOLERABLE if part < 0.01 else Verdict.UNFIT,
        found=f"{100 * part:.2f} % of {seconds:.0f} s",
        meaning="the hypervisor ran something else on these CPUs: no priority in this machine helps",
        remedy="real hardware, or a virtual machine whose CPUs are pinned and not shared",
        values={"part": part},
    )


def judge_host(host: Host, *, watchdog: float, scheduler: str, needs_serial: bool) -> list[Check]:
    """Return what the facts mean.

    Args:
        host: The facts.
        watchdog: s. The one that is to be kept.
        scheduler: What a thread was granted that asked for the cycle's priority.
        needs_serial: There is a real port, so its group matters.
    """
    found = [_kernel(host), _own_cpu(host), _priority(host, scheduler, watchdog), _memory(host), _sleep(host)]
    found += [_governor(host), _clock(host), _shared_memory(host)]
    if host.hypervisor:
        found.append(
            Check(
                name="hardware",
                verdict=Verdict.TOLERABLE if watchdog >= VIRTUAL_PAUSE else Verdict.UNFIT,
                found=f"a virtual machine, {host.hypervisor}",
                meaning=f"its hypervisor may take the CPU away for {VIRTUAL_PAUSE * 1e3:.0f} ms, whatever was measured",
                remedy="real hardware for a real arm; for an emulated one a longer driver.watchdog or lock-step",
            )
        )
    found += [_latency_timer(device, timer) for device, timer in host.latency_timers.items()]
    if needs_serial or host.latency_timers:
        found.append(_serial_group(host))
    return found


def _kernel(host: Host) -> Check:
    ticks = f", {host.hz} Hz" if host.hz else ""
    kind = "PREEMPT_RT" if host.is_preempt_rt else "not PREEMPT_RT"
    return Check(
        name="kernel",
        verdict=Verdict.FIT if host.is_preempt_rt else Verdict.TOLERABLE,
        found=f"{host.kernel}, {kind}{ticks}",
        meaning="bounded wake-ups" if host.is_preempt_rt else "drivers and the kernel itself may delay a wake-up by ms",
        remedy="" if host.is_preempt_rt else "install a PREEMPT_RT kernel (Debian: linux-image-rt-amd64)",
        values={"hz": float(host.hz)} if host.hz else {},
    )


def _own_cpu(host: Host) -> Check:
    count = len(host.cpus)
    isolated = f", isolated: {host.isolated}" if host.isolated else ", none isolated"
    full = f", nohz_full: {host.nohz_full}" if host.nohz_full else ""
    verdict, meaning = Verdict.FIT, "the cycle has a CPU of its own"
    remedy = ""
    if count == 1 and not host.isolated:
        verdict, meaning = Verdict.TOLERABLE, "the cycle shares its CPU with the gateway, the recorder and all others"
        remedy = "a machine with two CPUs or more"
    elif not host.isolated:
        verdict, meaning = Verdict.TOLERABLE, "ordinary processes and interrupts may run on the cycle's CPU"
        own = host.cpus[-1]
        remedy = f"isolcpus={own} nohz_full={own} rcu_nocbs={own} on the kernel's command line"
    return Check(
        name="CPUs",
        verdict=verdict,
        found=f"{count} usable{isolated}{full}",
        meaning=meaning,
        remedy=remedy,
        values={"count": float(count)},
    )


def _priority(host: Host, scheduler: str, watchdog: float) -> Check:
    granted = scheduler.startswith("SCHED_FIFO")
    verdict = Verdict.FIT
    if not granted:
        verdict = Verdict.TOLERABLE if watchdog >= ORDINARY_PAUSE else Verdict.UNFIT
    return Check(
        name="priority",
        verdict=verdict,
        found=f"{scheduler}, limit {host.rtprio_limit}",
        meaning="no ordinary thread delays the cycle"
        if granted
        else f"other threads may delay the cycle by {ORDINARY_PAUSE * 1e3:.0f} ms",
        remedy="" if granted else REMEDY,
        values={"rtprio_limit": float(host.rtprio_limit)},
    )


def _memory(host: Host) -> Check:
    allowed = host.memlock_limit == -1 or host.memlock_limit >= 4 * SHARED_MEMORY
    verdict = Verdict.FIT
    if not allowed:
        verdict = Verdict.UNFIT if host.swap.total else Verdict.TOLERABLE
    limit = "all" if host.memlock_limit == -1 else f"{host.memlock_limit / 2**20:.0f} MiB"
    swap = f", swap {host.swap.used / 2**20:.0f} MiB used" if host.swap.total else ", no swap"
    return Check(
        name="locked memory",
        verdict=verdict,
        found=f"{limit} may be locked{swap}",
        meaning="no page of the core is ever swapped out" if allowed else "a page that was taken away delays a cycle",
        remedy="" if allowed else REMEDY,
        values={"limit": float(host.memlock_limit), "swap_used": float(host.swap.used)},
    )


def _sleep(host: Host) -> Check:
    deepest = host.sleep_latency
    fit = host.can_hold_awake or (deepest is not None and deepest < 20e-6)
    states = "no sleep states of its own" if deepest is None else f"deepest sleep takes {_us(deepest)} to leave"
    return Check(
        name="CPU sleep",
        verdict=Verdict.FIT if fit else Verdict.TOLERABLE,
        found=f"/dev/cpu_dma_latency {'can' if host.can_hold_awake else 'cannot'} be held, {states}",
        meaning="the CPUs stay awake while the cycle runs" if fit else "a CPU that sleeps wakes up later",
        remedy="" if fit else AWAKE_REMEDY,
        values={} if deepest is None else {"sleep_latency": deepest},
    )


def _governor(host: Host) -> Check:
    fit = not set(host.governors) - {"performance"}
    return Check(
        name="CPU frequency",
        verdict=Verdict.FIT if fit else Verdict.TOLERABLE,
        found=", ".join(host.governors) or "not governed by this kernel",
        meaning="no changes of the clock rate by this kernel" if fit else "a slow clock rate makes cycles longer",
        remedy="" if fit else "cpupower frequency-set -g performance",
    )


def _clock(host: Host) -> Check:
    fine = host.clock_resolution <= 1e-6
    fast = host.clock_source in PRECISE_CLOCKS
    verdict = Verdict.UNFIT if not fine else (Verdict.FIT if fast else Verdict.TOLERABLE)
    return Check(
        name="clock",
        verdict=verdict,
        found=f"{host.clock_source or 'unknown'}, resolution {host.clock_resolution * 1e9:.0f} ns",
        meaning={
            Verdict.FIT: "read in some 10 ns, and timers are exact",
            Verdict.TOLERABLE: "each of the cycle's readings of the clock takes a us or more",
            Verdict.UNFIT: "timers only expire with the kernel's tick",
        }[verdict],
        remedy="" if verdict is Verdict.FIT else "clocksource=tsc and highres=on on the kernel's command line",
        values={"resolution": host.clock_resolution},
    )


def _shared_memory(host: Host) -> Check:
    fit = host.shared_memory >= SHARED_MEMORY
    return Check(
        name="/dev/shm",
        verdict=Verdict.FIT if fit else Verdict.UNFIT,
        found=f"{host.shared_memory / 2**20:.0f} MiB free",
        meaning="room for samples and black box" if fit else f"{SHARED_MEMORY / 2**20:.0f} MiB are needed",
        remedy="" if fit else "mount -o remount,size=1G /dev/shm; in a container --shm-size=1g",
        values={"free": float(host.shared_memory)},
    )


def _latency_timer(device: str, timer: int) -> Check:
    return Check(
        name=f"adapter {device}",
        verdict=Verdict.FIT if timer <= 1 else Verdict.UNFIT,
        found=f"latency timer {timer} ms",
        meaning="bytes are passed on at once" if timer <= 1 else f"feedback may come {timer} ms late",
        remedy=""
        if timer <= 1
        else f"echo 1 | sudo tee /sys/bus/usb-serial/devices/{device}/latency_timer, for good with a udev rule: "
        'ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"',
        values={"latency_timer": timer * 1e-3},
    )


def _serial_group(host: Host) -> Check:
    fit = bool({"root", "dialout", "uucp"} & set(host.groups))
    return Check(
        name="serial ports",
        verdict=Verdict.FIT if fit else Verdict.TOLERABLE,
        found=f"groups: {', '.join(host.groups)}",
        meaning="this user may open them" if fit else "this user may perhaps not open them",
        remedy="" if fit else "sudo usermod -aG dialout $USER, then log in again",
    )


def _us(time: float) -> str:
    return f"{time * 1e6:.0f} µs" if time < 0.01 else f"{time * 1e3:.1f} ms"


def worst(checks: Sequence[Check]) -> Verdict:
    """Return the worst verdict of some checks."""
    order = list(Verdict)
    return max((check.verdict for check in checks), key=order.index, default=Verdict.FIT)
