"""How late the cycle is woken, beside cyclictest: in turns, on the same CPU, at the same priority, on a busy machine.

While either is measured, a process keeps another CPU busy and a Python thread spins: in the core's own process where it
is measured, in one of its own beside cyclictest. As a daemon's child, this module is a core with that thread.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.rows import OURS, Row, Settings, skip
from controller.config import load_config
from controller.daemon import Daemon
from controller.doctor.load import Load
from controller.realtime import choose_cpu
from controller.run_dir import RunDir
from kinematics.compiled import Array
from telemetry.ring_file import open_ring
from telemetry.sample import SAMPLE

__all__ = ["Comparison", "compare", "main", "rows"]

TASK, ROBOT = "wake-up", "busy host"
PEER = "cyclictest"
RUNS = 7
SECONDS = 6.0  # of each run; 16 s of samples are in the ring
WARM_UP = 0.5  # s of the core that are not counted; cyclictest has nothing to warm up
TRACKED = 1_000_000  # ns: cyclictest counts each ns up to here, and above only how many
PERCENTILES = (50.0, 99.0, 99.9)


class Comparison(NamedTuple):
    """One pair of runs: percentiles 50, 99, 99.9 and the maximum of how late wake-ups were, µs, (4,)."""

    ours: Array
    peer: Array | None


def rows(settings: Settings) -> list[Row]:
    """Return the medians over the runs, and tell their ratios on stderr."""
    pairs = compare(runs=2 if settings.quick else RUNS, seconds=1.0 if settings.quick else SECONDS)
    result = [_row(OURS, "cycle", [pair.ours for pair in pairs])]
    with_peer = [(pair.ours, pair.peer) for pair in pairs if pair.peer is not None]
    if with_peer:
        result.append(_row(PEER, "cycle", [peer for _, peer in with_peer]))
        ratios = np.array([ours / peer for ours, peer in with_peer])
        names = ("p50", "p99", "p99.9", "max")
        text = ", ".join(
            f"{name} {statistics.median(ratios[:, k]):.2f} ({ratios[:, k].min():.2f} .. {ratios[:, k].max():.2f})"
            for k, name in enumerate(names)
        )
        print(f"benchmarks: wake-up, {OURS} over {PEER}, median of {len(with_peer)} pairs: {text}", file=sys.stderr)
    return result


def _row(library: str, called_from: str, runs: Sequence[Array]) -> Row:
    median, p99, p999, _ = np.median(np.array(runs), axis=0)
    return Row(TASK, ROBOT, library, called_from, 1.0, float(median), float(p99), float(p999))


def compare(*, runs: int, seconds: float) -> list[Comparison]:
    """Return pairs of runs, ours and cyclictest's in turns; without it where it is not installed or not permitted.

    Args:
        runs: How many pairs.
        seconds: How long each run takes.
    """
    cycle = load_config("psm_emulated").cycle
    cpu = choose_cpu(cycle.cpu)
    others = sorted(os.sched_getaffinity(0) - {cpu})
    if cpu < 0 or not others:
        skip("wake-ups", "one CPU must carry the load and another the cycle: this machine has only one")
        return []
    peer: Callable[[], Array] | None = lambda: _cyclictest(cpu, cycle.priority, cycle.period, seconds)  # noqa: E731
    if shutil.which(PEER) is None:
        skip(PEER, "it is not installed (Debian: apt-get install rt-tests)")
        peer = None
    pairs = []
    for k in range(runs):
        theirs = None
        for who in ("ours", "peer") if k % 2 == 0 else ("peer", "ours"):  # a drift of the machine's falls on both
            if who == "ours":
                ours = summary(_core(seconds, others[0]))
            elif peer is not None:
                with Load(("cpu", "cpu"), cpus={others[0]}):  # the second stands for the core's Python thread
                    theirs = summary(peer())
        pairs.append(Comparison(ours, theirs))
    return pairs


def summary(late: Array) -> Array:
    """Return percentiles and maximum of some latenesses, (n,), ns, as µs, (4,)."""
    return np.array([*np.percentile(late, PERCENTILES), late.max()]) * 1e-3


class _BusyDaemon(Daemon):
    """The daemon, but its core is this module's, with a Python thread that spins."""

    def _declare_children(self, arm: object) -> None:
        super()._declare_children(arm)  # type: ignore[arg-type]
        self._children["core"].arguments[0] = __name__  # "benchmarks.latency"


def _core(seconds: float, load_cpu: int) -> Array:
    """Return how late each cycle of the real core with the emulated arm was, (n,), ns."""
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm", prefix="trocar-") as base,
        _BusyDaemon(load_config("psm_emulated"), base=Path(base)) as daemon,
        Load(("cpu",), cpus={load_cpu}),
    ):
        time.sleep(WARM_UP + seconds)
        ring = open_ring(daemon.run_dir.samples, SAMPLE)
        head, count = ring.head, round(seconds / daemon.config.cycle.period)
        samples = ring.slots[np.arange(max(0, head - 1 - count), head - 1) % ring.capacity]
        return lateness(samples, round(daemon.config.cycle.period * 1e9))


def lateness(samples: Array, period_ns: int) -> Array:
    """Return how late each cycle but the first was, (n - 1,), ns; deadlines that were skipped count as lateness."""
    due = samples["deadline_ns"][:-1] + period_ns
    late: Array = (samples["t_ns"][1:] - due)[np.diff(samples["sequence"].astype(np.int64)) == 1]
    return late


def _cyclictest(cpu: int, priority: int, period: float, seconds: float) -> Array:
    """Return how late cyclictest was, (n,), ns; what was later than TRACKED counts as its maximum."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [PEER, "--mlockall", "--quiet", "--nsecs", "-t", "1", "-a", str(cpu), "-p", str(priority)]
        command += ["-i", str(round(period * 1e6)), "-l", str(round(seconds / period)), "-h", str(TRACKED)]
        subprocess.run([*command, f"--json={file.name}"], check=True, stdout=subprocess.DEVNULL)
        found = json.load(file)["thread"]["0"]
    values = np.array([int(value) for value in found["histogram"]], np.int64)
    counts = np.array(list(found["histogram"].values()), np.int64)
    above = int(found["cycles"]) - int(counts.sum())
    return np.concatenate([np.repeat(values, counts), np.full(max(above, 0), int(found["max"]))])


def main(arguments: list[str]) -> int:
    """Be a core in whose process a Python thread spins from the first cycle on."""
    from controller import core

    said = RunDir(Path(arguments[0])).core

    def spin() -> None:
        while not said.exists():
            time.sleep(0.01)
        while True:
            pass

    threading.Thread(target=spin, name="spin", daemon=True).start()
    return core.main(arguments)
