"""The emulated arm as a process: `python -m hil.rig RUN_DIR [--lockstep]`.

It makes a pseudo-terminal that the unchanged drivers open as their port, and behind it simulates the line, the motor
controllers with their real firmware, and the arm. What it finds and leaves in the run directory:

    config.json   the daemon's configuration (read)
    lockstep      the barrier with the core (read, with --lockstep)
    port          a link to the pseudo-terminal
    truth         a ring of hil.truth.TRUTH, one record per host period
    faults        hil.faults.FAULTS: what to inject, live
    rig.json      RigInfo: who runs here, from which plant, firmware and seed
"""

import argparse
import os
import signal
import sys
import threading
import time
import tty
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import msgspec
import numpy as np

from controller.clock import LOCKSTEP
from controller.config import Config
from controller.realtime import take_cpu_and_priority
from controller.run_dir import RunDir, write_atomically
from firmware_bridge import native
from firmware_bridge.messages import arm_hash

native.load()  # before the kernels that call it are compiled or read from the cache

from hil.fault_record import FAULTS, Fault, HilError  # noqa: E402
from hil.faults import Faults  # noqa: E402
from hil.intruder import give_foreign_frame  # noqa: E402
from hil.loop import BUFFER, RIG, SUBSTEP_NS, run_lockstep, run_real, simulate_tick  # noqa: E402
from hil.plant import Plant  # noqa: E402
from hil.truth import CAPACITY, TRUTH  # noqa: E402
from hil.wire import TO_DEVICE, TO_HOST, make_lane  # noqa: E402
from kinematics.compiled import prepare  # noqa: E402
from kinematics.description import load_arm  # noqa: E402
from telemetry.ring import create_ring  # noqa: E402
from telemetry.shared import create_records, map_records  # noqa: E402

__all__ = ["Rig", "RigInfo", "main"]

ALL_FAULTS = sum(Fault)
PRIORITY_BELOW_CORE = 10
TIMER_SLACK_NS = 1000  # ordinary threads are woken up to 50 us late by default: prctl(2)
PR_SET_TIMERSLACK = 29


class RigInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an emulated arm says of itself, in RUN_DIR/rig.json."""

    pid: int
    port: str
    arm: str
    plant: str
    plant_digest: str
    firmware_digest: str
    seed: int
    baud: int
    lockstep: bool
    scheduler: str


class Rig:
    """One emulated arm: plant, firmware, line, faults and truth. Steps by itself, or runs behind a pseudo-terminal.

    Attributes:
        plant: The arm's body.
        faults: Injects faults.
        ring: Its truth, record by record; only with a run directory.
        record: The RIG record, shape (1,).

    Args:
        config: The daemon's configuration; it must have a [rig].
        run_dir: Where `truth` and `faults` are made; None: in memory of this process alone, for `step` and `hil.stand`.
        real_time: Its truth is stamped by the real clock.

    Raises:
        HilError: The configuration has no rig, its period is no multiple of the firmware's tick, or the plant is
            not one of its arm.
    """

    def __init__(self, config: Config, run_dir: Path | None, *, real_time: bool = False) -> None:
        if config.rig is None:
            raise HilError("the configuration has no [rig]: add one with the plant and the seed of the emulated arm")
        period_ns = round(config.cycle.period * 1e9)
        if period_ns % SUBSTEP_NS:
            raise HilError(
                f"cycle.period = {config.cycle.period} s: an emulated arm needs a multiple of its firmware's tick, "
                f"{SUBSTEP_NS * 1e-9} s; choose e.g. 0.001"
            )
        seed = config.rig.seed
        self.config = config
        self.plant = Plant(config.arm.description, config.rig.plant, seed, config.remote_center)
        self._firmware = native.new_firmware(
            seed % 2**32,
            arm=arm_hash(load_arm(self.plant.file.arm).file.name),
            key=config.key,
            current_rating=self.plant.file.motors.current_rating,
        )
        wall_offset_ns = time.time_ns() - time.monotonic_ns() if real_time else 0
        if run_dir is None:
            self._shared = np.zeros(1, FAULTS)
        else:
            paths = RunDir(run_dir)
            self.ring = create_ring(paths.truth, TRUTH, CAPACITY, epoch=time.time_ns(), wall_offset_ns=wall_offset_ns)
            self._shared = create_records(paths.faults, FAULTS)
        self._shared["supported"] = ALL_FAULTS & ~Fault.HOST_STALLED if real_time else ALL_FAULTS
        self._shared["n_axes"] = self.plant.record["n_axes"]
        braked = self.plant.record["brake_friction"][0] > 0.0
        self._shared["braked"] = sum(1 << int(j) for j in np.flatnonzero(braked))
        self.faults = Faults(self._shared)

        self.record = np.zeros(1, RIG)
        record = self.record[0]
        record["firmware"] = self._firmware.ctypes.data
        record["host_fd"] = record["port_fd"] = -1
        record["baud"] = config.driver.baud
        record["substeps_per_tick"] = period_ns // SUBSTEP_NS
        record["period_ns"] = period_ns
        record["tool"] = self.plant.file.tool
        self._truth = np.zeros(1, TRUTH)
        baud = config.driver.baud
        # Two faults of one run must not fall together only because the lanes draw alike.
        to_device, to_host = make_lane(baud, 2 * seed + 1, TO_DEVICE), make_lane(baud, 2 * seed + 2, TO_HOST)
        give_foreign_frame(to_host, ~seed % 2**32)
        faults = np.zeros(1, FAULTS)
        board = (self.plant.inputs, self.plant.outputs)
        self._world: list[Any] = [self.record, self.plant.record, self._shared, faults, to_device, to_host, *board]
        self._world.append(self._truth)

    @property
    def truth(self) -> np.void:
        """The state after the newest tick: one TRUTH record."""
        record: np.void = self._truth[0]
        return record

    def step(self, host_bytes: bytes = b"") -> bytes:
        """Simulate one host period, and those that the host stands still, and return what it can read at their end.

        Args:
            host_bytes: What the host writes at its start.

        Raises:
            HilError: More bytes than the line's buffer holds.
        """
        if len(host_bytes) > BUFFER:
            raise HilError(f"{len(host_bytes)} bytes were written in one period: the line takes {BUFFER}")
        record = self.record[0]
        record["input"][: len(host_bytes)] = np.frombuffer(host_bytes, np.uint8)
        record["input_count"] = len(host_bytes)
        output = b""
        while True:
            simulate_tick(*self._world)
            count = int(record["output_count"])
            record["output_count"] = 0
            record["bytes_out"] += count
            output += bytes(record["output"][:count])
            if record["host_stall_periods"] == 0:
                return output

    @property
    def world(self) -> list[Any]:
        """All its records, in the order in which `hil.loop.simulate_tick` takes them."""
        return self._world

    def run(self, host_fd: int, port_fd: int, lockstep: np.ndarray[Any, Any] | None = None) -> None:
        """Serve a pseudo-terminal until `stop`: on the real clock, or in lock-step with a core.

        Args:
            host_fd: Its controlling side, not blocking.
            port_fd: Its other side, which the host opens too; kept open here, so that the host may come and go.
            lockstep: The barrier, shape (1,), dtype LOCKSTEP.
        """
        self.record["host_fd"], self.record["port_fd"] = host_fd, port_fd
        world = [*self._world, self.ring.header, self.ring.slots]
        if lockstep is None:
            run_real(*world)
        else:
            run_lockstep(*[*world, lockstep])

    def stop(self) -> None:
        """Let `run` return."""
        self.record["stop"] = 1


class _Port:
    """A raw pseudo-terminal, linked to from the run directory."""

    def __init__(self, link: Path) -> None:
        self.host_fd, self.port_fd = os.openpty()
        tty.setraw(self.port_fd)
        os.set_blocking(self.host_fd, False)
        self.name = os.ttyname(self.port_fd)
        self._link = link
        link.unlink(missing_ok=True)
        link.symlink_to(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._link.unlink(missing_ok=True)
        os.close(self.host_fd)
        os.close(self.port_fd)


def _prepare_thread(config: Config) -> str:
    """Give the calling thread what the operating system allows; return its scheduler."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0)
    allowed = sorted(os.sched_getaffinity(0))
    cpu = allowed[0] if len(allowed) > 1 else -1  # the core takes the last one
    return take_cpu_and_priority(cpu, max(config.cycle.priority - PRIORITY_BELOW_CORE, 0)).scheduler


def main(arguments: list[str] | None = None) -> int:
    """Run an emulated arm until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="hil.rig", description="The emulated arm of one daemon.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--lockstep", action="store_true", help="run tick by tick with the core")
    options = parser.parse_args(arguments)
    paths = RunDir(options.run_dir)
    try:
        return _serve(paths, lockstep=options.lockstep)
    except (HilError, OSError, msgspec.DecodeError, native.FirmwareBuildError) as error:
        print(f"trocar: {error}", file=sys.stderr, flush=True)
        return 1


def _serve(paths: RunDir, *, lockstep: bool) -> int:
    config = msgspec.json.decode(paths.config.read_bytes(), type=Config)
    rig = Rig(config, paths.path, real_time=not lockstep)
    barrier = map_records(paths.lockstep, LOCKSTEP) if lockstep else None

    def stop(_signal: int, _frame: FrameType | None) -> None:
        rig.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides: it gets the terminal's Ctrl-C too
    with _Port(paths.port) as port:
        ready = threading.Event()
        scheduler = "lock-step"

        def loop() -> None:
            nonlocal scheduler
            if barrier is None:
                scheduler = _prepare_thread(config)
            ready.set()
            rig.run(port.host_fd, port.port_fd, barrier)

        prepare(run_real if barrier is None else run_lockstep)  # now, not under real-time priority
        thread = threading.Thread(target=loop, name="rig")
        thread.start()
        ready.wait()
        assert config.rig is not None
        info = RigInfo(
            pid=os.getpid(),
            port=port.name,
            arm=config.arm.description,
            plant=config.rig.plant,
            plant_digest=rig.plant.digest,
            firmware_digest=native.source_digest(),
            seed=config.rig.seed,
            baud=config.driver.baud,
            lockstep=lockstep,
            scheduler=scheduler,
        )
        write_atomically(paths.rig, msgspec.json.encode(info))
        print("ready", flush=True)
        thread.join()
    lost_ms = int(rig.record["lost_ns"][0]) * 1e-6
    if lost_ms:
        print(
            f"trocar: the rig was woken late {int(rig.record['lost_count'][0])} times and left {lost_ms:.0f} ms out: "
            "the machine is overloaded",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
