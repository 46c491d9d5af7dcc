"""How the daemon's processes begin: `python -m controller.child PARENT GRACE MODULE [ARGUMENT ...]`.

The kernel is asked to end this process when the daemon dies, so that even SIGKILL leaves nothing behind; then MODULE
runs as `python -m MODULE` would. The core has no grace: it stops the arm at once. The others go on for a few seconds,
so that the core still finds its arm, and the last samples their recorder.
"""

import ctypes
import os
import runpy
import signal
import sys

__all__ = ["main"]

PR_SET_PDEATHSIG = 1  # sys/prctl.h


def main() -> None:
    """Tie this process to its parent and become the module."""
    parent, grace, module, *arguments = sys.argv[1:]
    on_death = signal.SIGTERM
    if int(grace) > 0:
        on_death = signal.SIGHUP
        signal.signal(signal.SIGHUP, lambda _number, _frame: signal.setitimer(signal.ITIMER_REAL, float(grace)))
        signal.signal(signal.SIGALRM, lambda _number, _frame: os.kill(os.getpid(), signal.SIGTERM))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(on_death), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(0)  # it died before the kernel knew
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
