"""What became of the commands, read from the samples: the memory that makes a late `wait` possible."""

from collections import OrderedDict
from collections.abc import Container
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Finish", "Outcomes", "Verdict"]


class Verdict(NamedTuple):
    """The cycle took a command."""

    code: int  # 0: accepted, else the catalogue code of the refusal
    sequence: int
    t_ns: int


class Finish(NamedTuple):
    """An activity ended."""

    status: int  # MotionStatus
    code: int  # catalogue code of the fault, or else the event, of that cycle
    sequence: int
    state: int
    axis: int = -1  # which one the code speaks of
    value: float = 0.0  # what was measured
    bound: float = 0.0  # what was allowed


class Outcomes:
    """The verdicts and ends of the newest commands.

    Streams bring commands by the thousand and nobody waits for them: the caller names them, and they leave no trace.

    Args:
        keep: How many commands are remembered.

    Attributes:
        forgotten: The highest id whose outcome may be gone.
    """

    def __init__(self, keep: int = 4096) -> None:
        self.forgotten = 0
        self._keep = keep
        self._verdicts: OrderedDict[int, Verdict] = OrderedDict()
        self._finishes: OrderedDict[int, Finish] = OrderedDict()

    def absorb(self, samples: np.ndarray[Any, Any], unattended: Container[int] = ()) -> None:
        """Learn from new samples, shape (n,), dtype SAMPLE, in order."""
        for i in np.flatnonzero(samples["command_id"] | samples["finished_id"]):
            sample = samples[i]
            command, finished = int(sample["command_id"]), int(sample["finished_id"])
            if command and command not in unattended:
                self._verdicts[command] = Verdict(int(sample["verdict"]), int(sample["sequence"]), int(sample["t_ns"]))
            if finished:
                code = int(sample["fault"]) or int(sample["event"])
                self._finishes[finished] = Finish(
                    int(sample["finished_status"]),
                    code,
                    int(sample["sequence"]),
                    int(sample["state"]),
                    int(sample["fault_axis"]),
                    float(sample["fault_value"]),
                    float(sample["fault_bound"]),
                )
        while len(self._verdicts) > self._keep:
            self.forgotten = max(self.forgotten, self._verdicts.popitem(last=False)[0])
        while len(self._finishes) > self._keep:
            self.forgotten = max(self.forgotten, self._finishes.popitem(last=False)[0])

    def verdict(self, command: int) -> Verdict | None:
        """Return the cycle's verdict on a command, or None while it has none."""
        return self._verdicts.get(command)

    def finish(self, command: int) -> Finish | None:
        """Return how a command's activity ended, or None while it has not."""
        return self._finishes.get(command)
