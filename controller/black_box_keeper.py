"""The daemon's side of the black box: it sees the fault, waits for its aftermath, and has the file written.

What is saved is copied out of the rings at once, some milliseconds' work; a process of its own then writes the file, so
that neither a slow disk nor a full one holds up whoever looks after the arm.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from controller.black_box import AFTERMATH, BlackBox, Trigger, box_folder, is_switched_off, take_black_box
from controller.catalogue import CATALOGUE, Code, Reaction
from controller.errors import BlackBoxError
from controller.run_dir import Descriptor, RunDir, write_atomically
from telemetry.errors import TelemetryError
from telemetry.ring_file import Ring, newest_record, open_ring

__all__ = ["BlackBoxKeeper"]

PATIENCE = 1.0  # s without a cycle: then the aftermath is not coming, as in lock-step nobody may grant it
WAITING = 4  # black boxes that wait to be written; faults that come faster have none of their own
WRITE_TIMEOUT = 10.0  # s that the daemon's end waits for the file; its process goes on by itself


class BlackBoxKeeper:
    """Saves the black box of one daemon, one step at a time.

    Args:
        run_dir: The daemon's.
        say: Takes a line for the operator.
    """

    def __init__(self, run_dir: RunDir, say: Callable[[str], None]) -> None:
        self._run_dir = run_dir
        self._say = say
        self._off = is_switched_off()
        self._ring: Ring | None = None
        self._descriptor: Descriptor | None = None
        self._position = 0  # samples looked at
        self._fault = 0
        self._trigger: Trigger | None = None  # its aftermath is awaited
        self._progress = (0, 0.0)  # the newest sample's number, and when it was new
        self._snapshots: deque[tuple[Trigger, Path]] = deque()
        self._number = 0
        self._writer: tuple[Trigger, Path, subprocess.Popen[str]] | None = None
        self._told = ""  # the error that the operator knows
        folder = "off" if self._off else str(box_folder())
        self._status: dict[str, str | int] = {"folder": folder, "newest": "", "name": "", "error": "", "missed": 0}

    def open(self, descriptor: Descriptor | None) -> None:
        """Watch the samples from here on."""
        if self._off:
            self._write_status()
            return
        self._descriptor = descriptor
        self._ring = open_ring(self._run_dir.samples)
        self._progress = (self._ring.head, time.monotonic())
        try:
            folder = box_folder()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            self._tell(f"black boxes cannot be written into {box_folder()} ({error.strerror}).")
        self._write_status()

    def look(self) -> None:
        """Take the next step: is there a new fault, is its aftermath in, is a file written?"""
        if self._ring is not None:
            self._look_at_samples(self._ring)
            if self._trigger is not None and self._aftermath_is_in(self._ring, self._trigger):
                self._take()
        self._look_at_writer()

    def note(self, trigger: Trigger) -> None:
        """Say that something happened which is worth a black box; the first cause stays."""
        if self._ring is None or self._trigger is not None:
            return
        newest = newest_record(self._ring)
        if newest is not None:
            self._trigger = trigger if trigger.t_ns >= 0 else trigger._replace(t_ns=int(newest["t_ns"][0]))
            self._progress = (self._ring.head, time.monotonic())

    def rescue(self) -> BlackBox | None:
        """Return the black box of a daemon that was killed, from the run directory that it left; None: there is none.

        Give it to `save` once the run directory is clean.
        """
        if self._off or not self._run_dir.samples.exists():
            return None
        text = "The daemon itself was killed; the next one has found this."
        try:
            newest = newest_record(open_ring(self._run_dir.samples))
            fault = 0 if newest is None else int(newest["fault"][0])
            remedy = "" if fault else "Find out what killed it: `dmesg` where memory was short."
            return take_black_box(self._run_dir, Trigger("DAEMON_KILLED", fault, text, remedy))
        except (BlackBoxError, TelemetryError, OSError, ValueError, KeyError):
            return None  # it had not come far, or was of another version

    def save(self, box: BlackBox) -> None:
        """Have a black box written."""
        if len(self._snapshots) >= WAITING:
            self._status["missed"] = int(self._status["missed"]) + 1
            return
        self._number += 1
        path = self._run_dir.path / f"black_box-{self._number}.npz"
        try:
            box.keep(path)
        except OSError as error:
            path.unlink(missing_ok=True)
            self._tell(f"the black box of {box.arm} cannot be copied into {path.parent} ({error.strerror}).")
            return
        self._snapshots.append((box.trigger, path))
        self._look_at_writer()

    def close(self) -> None:
        """Save what is still waiting for its aftermath, and wait for the files."""
        if self._ring is not None:
            self._look_at_samples(self._ring)
        if self._trigger is not None:
            self._take()
        give_up = time.monotonic() + WRITE_TIMEOUT
        while (self._writer is not None or self._snapshots) and time.monotonic() < give_up:
            self._look_at_writer()
            time.sleep(0.01)
        self._ring = None

    def _look_at_samples(self, ring: Ring) -> None:
        head = ring.head
        if head != self._progress[0]:
            self._progress = (head, time.monotonic())
        if head == self._position:
            return
        mask = ring.capacity - 1
        slots = np.arange(max(self._position, head - mask), head) & mask
        self._position = head
        faults = ring.slots["fault"][slots]
        before = np.concatenate(([self._fault], faults[:-1]))
        self._fault = int(faults[-1])
        for i in np.flatnonzero(faults != before):
            code = int(faults[i])
            if _latches(code):
                self.note(Trigger(_name(code), code, t_ns=int(ring.slots["t_ns"][slots[i]])))

    def _aftermath_is_in(self, ring: Ring, trigger: Trigger) -> bool:
        newest = newest_record(ring)
        assert newest is not None
        if int(newest["t_ns"][0]) >= trigger.t_ns + round(AFTERMATH * 1e9):
            return True
        return time.monotonic() - self._progress[1] > PATIENCE

    def _take(self) -> None:
        trigger, self._trigger = self._trigger, None
        assert trigger is not None
        try:
            self.save(take_black_box(self._run_dir, trigger, self._descriptor))
        except (BlackBoxError, OSError) as error:
            self._tell(str(error))

    def _look_at_writer(self) -> None:
        if self._writer is not None:
            trigger, path, process = self._writer
            if process.poll() is None:
                return
            written, error = process.communicate()
            path.unlink(missing_ok=True)
            self._writer = None
            if process.returncode == 0:
                self._told = ""
                self._status |= {"newest": written.strip(), "name": trigger.name, "error": ""}
                self._say(f"black box of {trigger.name}: {written.strip()}")
                self._write_status()
            else:
                lines = error.strip().splitlines()
                self._tell(lines[-1] if lines else f"the black box's writer ended with code {process.returncode}.")
        if self._snapshots:
            trigger, path = self._snapshots.popleft()
            command = [sys.executable, "-m", "controller.black_box", str(path)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # should the daemon be killed now, the file is written all the same
            )
            self._writer = (trigger, path, process)

    def _tell(self, error: str) -> None:
        """Tell the operator what is wrong: once, not at every fault."""
        self._status["error"] = error
        self._write_status()
        if not self._told:
            self._say(
                f"warning: {error} The arm is not touched by it. Make room, or set TROCAR_BLACK_BOX_DIR to a folder "
                "that you may write."
            )
        self._told = error

    def _write_status(self) -> None:
        try:
            write_atomically(self._run_dir.black_box, json.dumps(self._status).encode())
        except OSError:
            return  # the run directory is full: what matters was said


def _latches(code: int) -> bool:
    """Return whether a code ends in FAULT; one that only pauses is an ordinary day's work, as a released pedal."""
    return code != 0 and (code not in CATALOGUE or CATALOGUE[Code(code)].reaction >= Reaction.S1)


def _name(code: int) -> str:
    return Code(code).name if code in CATALOGUE else f"CODE_{code}"
