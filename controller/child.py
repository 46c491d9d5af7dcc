"""How the daemon's processes begin: `python -m controller.child PARENT GRACE AFTER BLAS MODULE [ARGUMENT ...]`.

The kernel is asked to end this process when the daemon dies, so that even SIGKILL leaves nothing behind; then MODULE is
imported, and once the file AFTER is there ("-": at once) its `main(arguments)` runs and gives the exit code. So a
process that needs what another one makes loads its code meanwhile.

BLAS is "blas" for a process in which a user's kernel may multiply matrices by NumPy; else "-".

The core has no GRACE: it stops the arm at once. The others go on for so many seconds when the daemon is killed, so that
the core still finds its arm, and the last samples their recorder.
"""

import ctypes
import importlib
import os
import signal
import sys
import time
from pathlib import Path

__all__ = ["main"]

PR_SET_PDEATHSIG = 1  # sys/prctl.h
PR_SET_TIMERSLACK = 29
LOOK = 0.002  # s


def main() -> int:
    """Tie this process to its parent, become the module and return its exit code."""
    parent, grace, after, blas, module, *arguments = sys.argv[1:]
    on_death = signal.SIGTERM
    if int(grace) > 0:
        on_death = signal.SIGHUP
        signal.signal(signal.SIGHUP, lambda _number, _frame: signal.setitimer(signal.ITIMER_REAL, float(grace)))
        signal.signal(signal.SIGALRM, lambda _number, _frame: os.kill(os.getpid(), signal.SIGTERM))
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, int(on_death), 0, 0, 0)
    libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # ns; by default a sleep may be 50 us longer, in all threads to come
    if os.getppid() != int(parent):
        return 0  # it died before the kernel knew
    sys.argv = [module, *arguments]
    if blas == "-":
        _leave_blas_out()
    run = importlib.import_module(module).main
    while after != "-" and not Path(after).exists():
        time.sleep(LOOK)  # the daemon ends this process if whoever makes the file dies
    return int(run(arguments))


def _leave_blas_out() -> None:
    """Keep Numba from importing SciPy, where it is installed, for the matrix products that no kernel of ours makes.

    It is looked for once, when this module of Numba's is imported, and takes a fifth of a start.
    """
    name = "scipy.linalg"
    if name in sys.modules:
        return
    sys.modules[name] = None  # type: ignore[assignment]  # an import of it then fails
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main())
