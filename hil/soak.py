"""Hours of varied fast motion in which nothing may stop the arm: how rare a false stop is.

Every process drives a stand of its own from one motion to the next, with the plant's sensor noise and a line that
corrupts a part of the frames. Whatever stops the arm is a finding, with the seed that gives it again.
"""

import select
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np

from controller.catalogue import Code
from controller.commands import JointGoal
from controller.config import load_config
from hil.fault_catalogue import inject
from hil.forked import Forked
from hil.scenario import Motion
from hil.scenario_motion import schedule
from hil.stand import CommandError, Stand, StandError
from telemetry.sample import OperatingState

__all__ = ["SoakResult", "Stop", "soak"]

SLICE = 120.0  # s simulated in one stand
CORRUPTED = 0.001  # part of the frames
FRAME_BITS = 150 * 8  # of a COMMAND or FEEDBACK of seven axes, about
SETTLE_TICKS = 8000
KINDS: tuple[Callable[[np.random.Generator], Motion], ...] = (
    lambda rng: Motion(kind="joint_moves", speed=float(rng.uniform(0.3, 1.0)), duration=5.0),
    lambda rng: Motion(kind="limit_moves", speed=float(rng.uniform(0.3, 1.0)), duration=6.0),
    lambda rng: Motion(kind="servo_at_limits", speed=float(rng.uniform(0.3, 1.0)), duration=4.0),
    lambda rng: Motion(kind="tip_circle", speed=float(rng.uniform(0.01, 0.1)), duration=4.0),
    lambda rng: Motion(kind="insertion", speed=float(rng.uniform(0.3, 1.0)), duration=3.0),
    lambda rng: Motion(kind="joint_line", axis=int(rng.integers(7)), speed=float(rng.uniform(0.3, 1.0)), duration=3.0),
    lambda rng: Motion(kind="hold", duration=1.0),
)


class Stop(msgspec.Struct, kw_only=True):
    """Something stopped the arm, or refused a motion that should have been possible."""

    seed: int
    """Of the slice; `soak(hours, seed=..)` draws them from its own."""
    t: float
    """s simulated in the slice."""
    motion: str
    code: str
    axis: int
    value: float
    bound: float


class SoakResult(msgspec.Struct, kw_only=True):
    """How it went."""

    hours: float = 0.0
    """Simulated."""
    motions: int = 0
    cycles: int = 0
    frames_lost: int = 0
    frames_bad: int = 0
    bits_flipped: int = 0
    seconds: float = 0.0
    """That it took."""
    stops: list[Stop] = []


def _slice(seed: int, config_name: str, seconds: float) -> SoakResult:
    """Move for so many simulated seconds, or until something stops the arm."""
    rng = np.random.default_rng(seed)
    result = SoakResult(stops=[])
    stand = Stand(load_config(config_name), seed=seed)
    name = "the start"
    try:
        stand.enable()
        stand.home()
        inject(stand.faults, "bit_errors", rate=CORRUPTED / FRAME_BITS)
        home = stand.config.homing.pose
        end = stand.tick + round(seconds / stand.config.cycle.period)
        while stand.tick < end:
            motion = KINDS[int(rng.integers(len(KINDS)))](rng)
            name = f"{motion.kind} speed {motion.speed:.3f} axis {motion.axis}"
            schedule(stand, motion, motion.duration, int(rng.integers(2**31)))
            ticks = round(motion.duration / stand.config.cycle.period)
            if stand.run(ticks, stop_states=~(1 << int(OperatingState.ENABLED)) & 0xF) < ticks:
                break
            result.motions += 1
            name += ", then hold"
            stand.wait(stand.send("hold"), SETTLE_TICKS, name)
            name = "move to the homing pose"
            stand.wait(stand.send("move_jp", JointGoal(position=home)), SETTLE_TICKS, name)
        if stand.state != OperatingState.ENABLED:
            result.stops.append(_stop(stand, seed, name))
    except (CommandError, StandError) as error:
        stop = _stop(stand, seed, name)
        stop.code = stop.code if stop.code != Code.OK.name else str(error)
        result.stops.append(stop)
    result.cycles = stand.tick
    result.hours = stand.tick * stand.config.cycle.period / 3600.0
    result.frames_lost, result.frames_bad = int(stand.sample["frames_lost"]), int(stand.sample["frames_bad"])
    result.bits_flipped = stand.faults.counts()["bits_flipped"]
    stand.close()
    return result


def _stop(stand: Stand, seed: int, name: str) -> Stop:
    sample = stand.sample
    code = int(sample["fault"]) or int(sample["event"])
    known = Code(code).name if code in Code.__members__.values() else f"CODE_{code}"
    return Stop(
        seed=seed,
        t=stand.tick * stand.config.cycle.period,
        motion=name,
        code=known,
        axis=int(sample["fault_axis"]),
        value=float(sample["fault_value"]),
        bound=float(sample["fault_bound"]),
    )


def soak(
    hours: float,
    *,
    seed: int = 1,
    jobs: int = 1,
    config: str = "psm_emulated_strict",
    progress: Callable[[SoakResult], Any] = lambda result: None,
) -> SoakResult:
    """Return what so many simulated hours of motion have shown.

    Args:
        hours: How many at least.
        seed: Of everything that is drawn.
        jobs: Processes at a time.
        config: A daemon's configuration with a [rig].
        progress: Called with the sum so far after each slice.
    """
    total = SoakResult(stops=[])
    began = time.monotonic()
    seeds = np.random.default_rng(seed)
    running: dict[int, Forked] = {}
    load_config(config)
    while total.hours < hours or running:
        while len(running) < jobs and total.hours + len(running) * SLICE / 3600.0 < hours:
            child = Forked(partial(_slice, int(seeds.integers(2**31)), config, min(SLICE, hours * 3600.0)))
            running[child.fd] = child
        ready, _, _ = select.select(list(running), [], [])
        for fd in ready:
            part: SoakResult = running.pop(fd).answer()
            for field in ("hours", "motions", "cycles", "frames_lost", "frames_bad", "bits_flipped"):
                setattr(total, field, getattr(total, field) + getattr(part, field))
            total.stops += part.stops
            total.seconds = time.monotonic() - began
            progress(total)
    return total
