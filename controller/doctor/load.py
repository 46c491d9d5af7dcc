"""What keeps a machine busy while its wake-ups are measured: `python -m controller.doctor.load KIND PARENT CPUS PRIO`.

Each kind is a process of its own, at ordinary priority, and ends with its parent however that ends. None leaves a file
behind: the one that the disk is kept busy with has no name.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Self

__all__ = ["BUSY", "KINDS", "Load", "main"]

PR_SET_PDEATHSIG = 1  # sys/prctl.h
BLOCK = 32 << 20  # bytes: more than a cache holds
WRITE = 1 << 20  # bytes between syncs
FILE = 64 << 20  # bytes at the most


class Load:
    """Processes that load this machine for the length of a `with` block.

    Args:
        kinds: Which, of KINDS; one process each.
        cpus: Only on these; None: as this process.
        stdin: A descriptor that they get as theirs.
        priority: SCHED_FIFO, where permitted; 0: ordinary scheduling.
    """

    def __init__(
        self,
        kinds: tuple[str, ...],
        *,
        cpus: set[int] | None = None,
        stdin: int = subprocess.DEVNULL,
        priority: int = 0,
    ) -> None:
        self.kinds = kinds
        self._stdin = stdin
        where = ",".join(map(str, sorted(cpus or os.sched_getaffinity(0))))
        self._settings = [str(os.getpid()), where, str(priority)]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            for kind in self.kinds:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "controller.doctor.load", kind, *self._settings],
                        stdin=self._stdin,
                        start_new_session=True,  # a terminal's Ctrl-C is for the doctor, which ends them
                    )
                )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self._processes]

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


def _spin() -> None:
    while True:
        pass


def _copy() -> None:
    a, b = bytearray(BLOCK), bytearray(BLOCK)
    while True:
        a[:] = b


def _write() -> None:
    with tempfile.TemporaryFile(dir="/var/tmp") as file:
        block = os.urandom(WRITE)
        while True:
            file.write(block)
            file.flush()
            os.fdatasync(file.fileno())
            if file.tell() >= FILE:
                file.seek(0)


def _fork() -> None:
    while True:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def _pipe() -> None:
    """Two processes that wake each other up, as hackbench's do."""
    a, b, parent = os.pipe(), os.pipe(), os.getpid()
    if os.fork() == 0:
        _die_with(parent)
        while True:
            os.write(b[1], os.read(a[0], 1))
    os.close(a[0])
    os.close(b[1])
    while True:
        os.write(a[1], b"x")
        os.read(b[0], 1)


def _echo() -> None:
    """Send back what comes, as a device does."""
    while True:
        os.write(0, os.read(0, WRITE))


KINDS = {"cpu": _spin, "memory": _copy, "disk": _write, "fork": _fork, "switch": _pipe, "echo": _echo}
BUSY = ("cpu", "memory", "disk", "fork", "switch")
"""What loads a machine."""


def _die_with(parent: int) -> None:
    """End this process when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # it ended before the kernel knew


def main(arguments: list[str] | None = None) -> int:
    """Load this machine until killed."""
    kind, parent, cpus, priority = sys.argv[1:] if arguments is None else arguments
    _die_with(int(parent))
    os.sched_setaffinity(0, map(int, cpus.split(",")))
    if int(priority) > 0:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(int(priority)))
    KINDS[kind]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
