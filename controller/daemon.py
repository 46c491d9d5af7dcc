"""The daemon: starts the processes of one arm, watches them, and ends them in order.

The core, and the rig of an emulated arm, are the arm: when one of them dies the daemon ends, and the motor
controllers' watchdogs have stopped the arm. Gateway and recorder are not: they are started again while the arm holds.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np

from controller.black_box import Trigger
from controller.black_box_keeper import BlackBoxKeeper
from controller.catalogue import CATALOGUE, Code
from controller.config import Config
from controller.errors import DaemonError
from controller.inputs import INPUT, INPUT_CAPACITY
from controller.laws.parameters import SHARED
from controller.mailbox import MAILBOX
from controller.run_dir import GATEWAY_SLOT, RECORDER_SLOT, AxisInfo, Descriptor, RunDir, base_dir, write_atomically
from kinematics.description import ArmDescription, load_arm
from telemetry.ring_file import FREE, Ring, create_ring, open_ring
from telemetry.sample import SAMPLE, layout_hash
from telemetry.shared import create_records, map_records

__all__ = ["Daemon"]

RING_CAPACITY = 16_384  # samples: 16 s at 1 kHz
START_TIMEOUT = 300.0  # s: the first start compiles the cycle and the firmware, on a busy machine in minutes
START_IS_SLOW = 5.0  # s: then the operator is told why
LOOK = 0.01  # s between looks at the processes
RESTARTS = 5  # of one process ...
RESTART_WINDOW = 60.0  # ... within so many s; then it is left alone and said so
GRACE = 3  # s that rig, gateway and recorder outlive a daemon that was killed: the core's ramp takes 2
ORPHANS_END = GRACE + 2.0  # s: then a killed daemon's processes have ended, or are
LOG_TAIL = 15  # lines of a process's last words
STOP_SECONDS = {"core": 4.0, "recorder": 8.0, "gateway": 2.0, "rig": 2.0}  # in this order; then SIGKILL
VITAL = ("rig", "core")
AFTERMATH = 0.5  # s that the recorder, and an emulated arm, outlive a dead core's watchdog: brakes take 20 ms
STALLED = 3.0  # s without a cycle, or in lock-step inside one call of the law: the core hangs


@dataclass
class _Child:
    """One process, and how to start it again."""

    name: str
    arguments: list[str]  # module first
    grace: int
    after: Path | None = None  # it begins when this file is there
    process: subprocess.Popen[bytes] | None = None
    log_offset: int = 0  # where this start's output begins
    restarts: deque[float] = field(default_factory=deque)


class Daemon:
    """One arm's processes, for the length of a `with` block.

    Args:
        config: A checked configuration (`controller.config.load_config`).
        lockstep: Virtual time that only clients move; needs a [rig].
        recording: Record into this file.
        base: Where the run directory is made; None: `controller.run_dir.base_dir()`.

    Raises:
        DaemonError: On entering: another daemon serves this arm, or a process did not start; its last words are in
            the message.
    """

    def __init__(
        self, config: Config, *, lockstep: bool = False, recording: Path | None = None, base: Path | None = None
    ) -> None:
        if lockstep and config.rig is None:
            raise DaemonError(
                f"lock-step was asked for, but {config.arm.name} is a real arm: its time is the clock's. "
                "Add a [rig] section, or leave out --lockstep."
            )
        self.config = config
        self.lockstep = lockstep
        self.recording = recording
        self.run_dir = RunDir((base or base_dir()) / config.arm.name)
        self.failure: str | None = None
        self._black_box = BlackBoxKeeper(self.run_dir, _say)
        self._children: dict[str, _Child] = {}
        self._started = threading.Event()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._ring: Ring | None = None
        self._law = np.zeros(1, SHARED)
        self._progress = (0, 0.0)  # the newest sample's number, and when it was new
        self._shutdown: np.ndarray[tuple[int, ...], np.dtype[np.uint64]] | None = None
        # One thread makes every process: the kernel ties a child to the thread that made it.
        self._thread = threading.Thread(target=self._run, name="trocar supervisor")

    def __enter__(self) -> "Daemon":
        self._thread.start()
        try:
            self._started.wait()
        except BaseException:
            self.close()
            raise
        if self.failure is not None:
            self._thread.join()
            raise DaemonError(self.failure)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def descriptor(self) -> Descriptor:
        """What clients read; while the daemon is ready."""
        descriptor = self.run_dir.read_descriptor()
        if descriptor is None:
            raise DaemonError(self.failure or f"the daemon of {self.config.arm.name} is not running.")
        return descriptor

    def wait(self, timeout: float | None = None) -> bool:
        """Return True once the daemon has ended, by itself or by `close`; False when the time (s) is over."""
        return self._ended.wait(timeout)

    def request_stop(self) -> None:
        """Ask the daemon to end, also while it starts; does not wait, so a signal handler may call it."""
        self._stop.set()

    def close(self) -> None:
        """Stop the arm, then its processes, in order; returns when all are gone. May be called twice."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    # --- the supervisor's thread

    def _run(self) -> None:
        try:
            self.run_dir.create()
            with self.run_dir.locked():
                try:
                    self._clean_up_after_predecessor()
                    self._start()
                    self._started.set()
                    while not self._stop.wait(LOOK) and self.failure is None:
                        self._look_after()
                finally:
                    self._end_all()
                    self._black_box.close()
                    self._clean(logs=False)
        except DaemonError as error:
            self.failure = self.failure or str(error)
        except Exception as error:  # the thread's end must not be silent
            self.failure = self.failure or f"the daemon failed: {error!r}"
            raise
        finally:
            self._ended.set()
            self._started.set()

    def _clean_up_after_predecessor(self) -> None:
        """Remove what a killed daemon left; its processes end by themselves, wait for that."""
        left = self.run_dir.read_descriptor()
        pids = [pid for pid in (left.children.values() if left else ()) if self._is_ours(pid)]
        deadline = time.monotonic() + ORPHANS_END
        while any(self._is_ours(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(LOOK)
        for pid in pids:
            if self._is_ours(pid):
                os.kill(pid, signal.SIGKILL)
        box = self._black_box.rescue()
        self._clean(logs=True)
        if box is not None:
            self._black_box.save(box)

    def _clean(self, *, logs: bool) -> None:
        """Empty the run directory: its shared memory is RAM. Processes that still map a file keep it."""
        for path in self.run_dir.path.iterdir():
            if path == self.run_dir.lock or (path.suffix == ".log" and not logs):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        """Return whether a process works in this run directory: process ids are given out again."""
        try:
            command_line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return any(argument.startswith(os.fsencode(self.run_dir.path)) for argument in command_line)

    def _start(self) -> None:
        arm = load_arm(self.config.arm.description)
        epoch = time.time_ns()
        wall_offset_ns = 0 if self.lockstep else epoch - time.monotonic_ns()
        create_ring(self.run_dir.samples, SAMPLE, RING_CAPACITY, epoch=epoch, wall_offset_ns=wall_offset_ns)
        create_ring(self.run_dir.inputs, INPUT, INPUT_CAPACITY, epoch=epoch, wall_offset_ns=wall_offset_ns)
        create_records(self.run_dir.mailbox, MAILBOX)
        if self.lockstep:
            from controller.clock import (
                LOCKSTEP,
            )  # here: it loads the compiler, which nothing else in this process does

            self._shutdown = create_records(self.run_dir.lockstep, LOCKSTEP)["shutdown"]
        write_atomically(self.run_dir.config, msgspec.json.encode(self.config))
        self._declare_children(arm)
        # The arm first: where CPUs are few, all at once would make it wait for the others.
        for names in (VITAL, [name for name in self._children if name not in VITAL]):
            here = [name for name in names if name in self._children]
            for name in here:
                self._spawn(self._children[name])
            for name in here:
                self._await_ready(name)
        self._describe(arm, epoch)
        self._law = map_records(self.run_dir.law_state, SHARED)
        self._ring = open_ring(self.run_dir.samples, SAMPLE)
        self._progress = (-1, time.monotonic())
        self._black_box.open(self.run_dir.read_descriptor())

    def _declare_children(self, arm: ArmDescription) -> None:
        path, lockstep = str(self.run_dir.path), ["--lockstep"] if self.lockstep else []
        rig_is_there = None
        if self.config.rig is not None:
            rig_is_there = self.run_dir.rig
            self._children["rig"] = _Child("rig", [self.config.rig.module, path, *lockstep], GRACE)
        self._children["gateway"] = _Child("gateway", ["controller.gateway", path], GRACE)
        if self.recording is not None:
            rings = ["--ring", f"sample={self.run_dir.samples}"]
            if self.config.rig is not None:
                rings += ["--ring", f"truth={self.run_dir.truth}"]
            arguments = ["telemetry.recorder", "--output", str(self.recording.absolute()), *rings, *lockstep]
            arguments += ["--arm", self.config.arm.name, "--axes", ",".join(arm.axis_names)]
            arguments += ["--axis-kinds", ",".join(arm.axis_types)]
            arguments += ["--metadata", f"description={self.config.arm.description}"]
            arguments += ["--slot", str(RECORDER_SLOT), "--from-start", "--status", str(self.run_dir.recorder)]
            self._children["recorder"] = _Child("recorder", arguments, GRACE, rig_is_there)
        self._children["core"] = _Child("core", ["controller.core", path, *lockstep], 0)  # waits for the rig by itself

    def _spawn(self, child: _Child) -> None:
        log = self.run_dir.log(child.name)
        log.touch(mode=0o600)
        child.log_offset = log.stat().st_size
        after = "-" if child.after is None else str(child.after)
        blas = "blas" if child.name == "core" and ":" in self.config.law.name else "-"
        command = [sys.executable, "-m", "controller.child", str(os.getpid()), str(child.grace), after, blas]
        command += child.arguments
        with log.open("ab") as output:
            child.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # a terminal's Ctrl-C is for the daemon, which stops the arm before the rest
            )

    def _await_ready(self, name: str) -> None:
        child = self._children[name]
        begun = time.monotonic()
        told = False
        while not self._is_ready(child):
            for other in self._children.values():
                if other.process is not None and other.process.poll() is not None:
                    raise DaemonError(self._obituary(other, "did not start"))
            if self._stop.is_set():
                raise DaemonError(f"the daemon of {self.config.arm.name} was told to stop while it started.")
            if time.monotonic() - begun > START_IS_SLOW and not told:
                told = True
                print(
                    "trocar: compiling, as at every first start of a version or of a law ...",
                    file=sys.stderr,
                    flush=True,
                )
            if time.monotonic() - begun > START_TIMEOUT:
                raise DaemonError(
                    f"{name} was not ready within {START_TIMEOUT:g} s. Its last words:\n{self._tail(child)}\n"
                    f"The whole log is {self.run_dir.log(name)}."
                )
            time.sleep(LOOK / 2)

    def _is_ready(self, child: _Child) -> bool:
        return "ready" in self._output(child).splitlines()

    def _output(self, child: _Child) -> str:
        with self.run_dir.log(child.name).open("rb") as file:
            file.seek(child.log_offset)
            return file.read().decode(errors="replace")

    def _tail(self, child: _Child) -> str:
        lines = [line for line in self._output(child).splitlines() if line != "ready"]
        return "\n".join(f"  {line}" for line in lines[-LOG_TAIL:]) or "  (nothing)"

    def _obituary(self, child: _Child, what: str) -> str:
        code = child.process.poll() if child.process else None
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        return f"{child.name} {what} ({how}). Its last words:\n{self._tail(child)}"

    def _describe(self, arm: ArmDescription, epoch: int) -> None:
        record = arm.record[0]
        limits = ("position_min", "position_max", "velocity_max", "acceleration_max", "jerk_max", "effort_max")
        axes = [
            AxisInfo(name=name, type=kind, **{limit: float(record[limit][i]) for limit in limits})
            for i, (name, kind) in enumerate(zip(arm.axis_names, arm.axis_types, strict=True))
        ]
        descriptor = Descriptor(
            arm=self.config.arm.name,
            pid=os.getpid(),
            epoch=epoch,
            commands=f"ipc://{self.run_dir.commands_socket}",
            telemetry=f"ipc://{self.run_dir.telemetry_socket}",
            lockstep=self.lockstep,
            period=self.config.cycle.period,
            description=self.config.arm.description,
            axes=axes,
            n_joints=arm.n_joints,
            children={name: child.process.pid for name, child in self._children.items() if child.process},
            recording=None if self.recording is None else str(self.recording.absolute()),
            versions={
                "trocar": _version(),
                "python": sys.version.split()[0],
                "numpy": np.__version__,
                "sample": layout_hash(SAMPLE),
                "arm": arm.digest,
            },
        )
        write_atomically(self.run_dir.descriptor, msgspec.json.encode(descriptor))

    def _look_after(self) -> None:
        self._black_box.look()
        for child in self._children.values():
            if child.process is None or child.process.poll() is None:
                continue
            if child.name in VITAL:
                failure = self._obituary(child, "ended by itself")
                self._note_death(child)
                if child.name == "core" and not self.lockstep:
                    # That the watchdog stops the arm, and when, is worth having on record: the others go on until then.
                    self._stop.wait(self.config.driver.watchdog + AFTERMATH)
                self.failure = failure + (
                    "\nThe motor controllers' watchdog has stopped the arm. Start the daemon again: `trocar up`."
                )
                return
            self._note_death(child)
            self._restart(child)

        if self._is_stalled():
            self.failure = self._explain_stall()

    def _note_death(self, child: _Child) -> None:
        remedy = "Nothing to do: it was started again, and the arm was not touched. See its log if it happens again."
        if child.name in VITAL:
            remedy = "Find out what ended it: its log, or `dmesg` where memory was short; then `trocar up` again."
        died = Trigger(f"{child.name.upper()}_DIED", text=self._obituary(child, "ended by itself"), remedy=remedy)
        self._black_box.note(died)

    def _is_stalled(self) -> bool:
        """Return whether the core should run and has brought no sample for too long."""
        core = self._children["core"].process
        if core is None or self._ring is None:
            return False
        now, head = time.monotonic(), self._ring.head
        # In lock-step it may wait for others as long as they like: there only the law can hang.
        waits = self.lockstep and not self._law["inside"][0]
        if head != self._progress[0] or waits:
            self._progress = (head, now)
        return now - self._progress[1] > STALLED

    def _explain_stall(self) -> str:
        """Return why the daemon ends, and kill the core: it can no longer end by itself."""
        core = self._children["core"].process
        assert core is not None
        core.kill()
        self._black_box.note(Trigger(Code.CORE_STALLED.name, int(Code.CORE_STALLED)))
        entry = CATALOGUE[Code.CORE_STALLED]
        where = f" It is inside the control law {self.config.law.name!r}." if self._law["inside"][0] else ""
        return (
            f"{Code.CORE_STALLED.name} ({int(Code.CORE_STALLED)}): {entry.cause} No cycle has ended for {STALLED:g} s."
            f"{where} The core was killed. {entry.remedy}"
        )

    def _restart(self, child: _Child) -> None:
        now = time.monotonic()
        print(f"trocar: {self._obituary(child, 'ended by itself')}", file=sys.stderr, flush=True)
        self._free_cursors(child)
        while child.restarts and now - child.restarts[0] > RESTART_WINDOW:
            child.restarts.popleft()
        if len(child.restarts) >= RESTARTS:
            child.process = None
            print(
                f"trocar: {child.name} ended {RESTARTS + 1} times within {RESTART_WINDOW:g} s: it is not started "
                f"again. The arm holds; see {self.run_dir.log(child.name)}.",
                file=sys.stderr,
                flush=True,
            )
            return
        child.restarts.append(now)
        self._spawn(child)
        self._write_children()

    def _write_children(self) -> None:
        """Bring the processes' ids in the descriptor up to date."""
        descriptor = self.run_dir.read_descriptor()
        if descriptor is not None:
            children = {name: child.process.pid for name, child in self._children.items() if child.process}
            renewed = msgspec.structs.replace(descriptor, children=children)
            write_atomically(self.run_dir.descriptor, msgspec.json.encode(renewed))

    def _free_cursors(self, child: _Child) -> None:
        """Let writers in lock-step no longer wait for a reader that has died."""
        slot = {"gateway": GATEWAY_SLOT, "recorder": RECORDER_SLOT}[child.name]
        rings = [self.run_dir.samples, self.run_dir.truth] if child.name == "recorder" else [self.run_dir.samples]
        for path in rings:
            if path.exists():
                open_ring(path).header["cursors"][0, slot] = FREE

    def _end_all(self) -> None:
        """End the processes, the core first: it brings the arm to rest while all others still serve it."""
        self.run_dir.descriptor.unlink(missing_ok=True)
        for name, seconds in STOP_SECONDS.items():
            child = self._children.get(name)
            if name == "rig" and self._shutdown is not None:
                self._shutdown[0] = 1
            if child is None or child.process is None:
                continue
            process = child.process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                print(f"trocar: {name} did not end within {seconds:g} s and was killed.", file=sys.stderr, flush=True)
                process.kill()
                process.wait()
            child.process = None


def _say(line: str) -> None:
    print(f"trocar: {line}", file=sys.stderr, flush=True)


def _version() -> str:
    try:
        return metadata.version("trocar")
    except metadata.PackageNotFoundError:  # run from a bare source tree
        return "0"
