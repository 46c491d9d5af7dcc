"""The examination: measures in turn, and judges."""

from collections.abc import Callable, Iterator

import msgspec

from controller.config import Config, CycleConfig, DriverConfig
from controller.doctor.host import read_host, read_steal
from controller.doctor.load import BUSY, Load
from controller.doctor.round_trip import measure_port, measure_pty
from controller.doctor.rules import (
    Check,
    Verdict,
    judge_host,
    judge_round_trip,
    judge_steal,
    judge_wakeups,
    kept_watchdog,
    worst,
)
from controller.doctor.wakeup import WakeupMeter, tail_of
from kinematics.compiled import Array

__all__ = ["Report", "examine"]

BELOW_CORE = 10  # SCHED_FIFO priority of an emulated arm below the core's
PTY_PART = 0.1  # of the time of one measurement of wake-ups that a round trip is measured for

Progress = Callable[[str, float], None]
"""progress(what, part): how far the present measurement is, 0 .. 1."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    verdict: Verdict
    """The worst of all lines."""
    watchdog: float
    """s. The shortest that this host keeps, by the worst wake-up that was measured."""
    wanted: float
    """s. The one that it was judged by."""
    checks: list[Check]


def examine(
    config: Config | None, *, seconds: float, port: str | None, progress: Progress = lambda _what, _part: None
) -> Iterator[Check | Report]:
    """Give each check as it is made, and the report at last.

    Args:
        config: Whose period, watchdog, CPU, priority and baud rate count; None: the defaults, those of a real arm.
        seconds: How long wake-ups are measured, idle and again under load.
        port: A real serial port to measure too.
        progress: Told how far a measurement is.

    Raises:
        DriverError: The port cannot be used, or nobody answers.
    """
    cycle = CycleConfig() if config is None else config.cycle
    driver = DriverConfig() if config is None else config.driver
    period, watchdog = cycle.period, driver.watchdog
    host = read_host()
    checks: list[Check] = []
    worst_late = 0.0
    with WakeupMeter(period=period, cpu=cycle.cpu, priority=cycle.priority) as meter:
        meter.measure(20 * period)  # learns what this user is granted
        for check in judge_host(
            host, watchdog=watchdog, scheduler=meter.rights.scheduler, needs_serial=port is not None
        ):
            checks.append(check)
            yield check

        stolen = read_steal()
        for name, kinds in (("wake-up, idle", ()), ("wake-up, loaded", BUSY)):
            with Load(kinds, cpus=meter.allowed):
                late = meter.measure(seconds, lambda part, name=name: progress(name, part))  # type: ignore[misc]
            tail = tail_of(late)
            worst_late = max(worst_late, tail.max)
            checks.append(judge_wakeups(name, tail, period=period, watchdog=watchdog, scheduler=meter.rights.scheduler))
            yield checks[-1]
        check_steal = judge_steal(read_steal() - stolen, 2 * seconds, len(host.cpus))
        if check_steal is not None:
            checks.append(check_steal)
            yield check_steal

        trips: list[tuple[str, Array]] = []

        def over_pty() -> None:
            trips.append(("pseudo-terminal", measure_pty(PTY_PART * seconds, priority=cycle.priority - BELOW_CORE)))

        def over_port() -> None:
            assert port is not None
            times, who = measure_port(port, driver.baud, PTY_PART * seconds)
            trips.append((f"{port}, {who}", times))

        for over, where in ((over_pty, "pseudo-terminal"), (over_port, port)):
            if where is None:
                continue
            meter.run(over, PTY_PART * seconds, lambda part, where=where: progress(where, part))  # type: ignore[misc]
            name, times = trips[-1]
            checks.append(
                judge_round_trip(name, tail_of(times), period=period, feedback_timeout=cycle.feedback_timeout)
            )
            yield checks[-1]

    yield Report(verdict=worst(checks), watchdog=kept_watchdog(period, worst_late), wanted=watchdog, checks=checks)
