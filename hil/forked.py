"""Work in a forked process, whose answer comes back through a pipe."""

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["ChildError", "Forked", "in_child"]


class ChildError(RuntimeError):
    """A forked process ended without an answer, or with an exception; the message says how."""


class Forked:
    """A forked process that works on something; this one goes on meanwhile.

    Args:
        work: What it does; its answer must be picklable.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.fd, write_fd = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.fd)
                try:
                    answer = (True, work())
                except BaseException:
                    answer = (False, traceback.format_exc())
                with os.fdopen(write_fd, "wb") as pipe:
                    pickle.dump(answer, pipe)
                status = 0
            finally:
                os._exit(status)  # what the parent has registered to do at its end is the parent's
        os.close(write_fd)

    def answer(self) -> Any:  # noqa: ANN401
        """Return what the work gave; waits for it.

        Raises:
            ChildError: It raised something, or the process was killed.
        """
        with os.fdopen(self.fd, "rb") as pipe:
            raw = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        if not raw:
            code = os.waitstatus_to_exitcode(status)
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ChildError(f"a forked process ended without an answer ({how})")
        is_good, answer = pickle.loads(raw)
        if not is_good:
            raise ChildError(answer)
        return answer


def in_child(work: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return what some work gives that is done in a forked process, so that nothing here changes."""
    return Forked(work).answer()
