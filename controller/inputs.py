"""The inputs on record: a ring in shared memory with every command that the gateway has posted to the cycle.

The gateway alone writes it. The newest 8 s of even a stream at 1 kHz are there, whoever has been killed: `black_box`
saves them beside the samples.
"""

import time
from typing import Any

import numpy as np

from controller.mailbox import MESSAGE
from telemetry.ring_file import Ring

__all__ = ["INPUT", "INPUT_CAPACITY", "InputLog"]

INPUT_CAPACITY = 8192
NAME = 32  # bytes of a client's name that are kept


def _as_in_a_message(first: str, last: str) -> list[tuple[Any, ...]]:
    """Return the fields of MESSAGE from one to another."""
    names = list(MESSAGE.names or ())
    fields = [(name, MESSAGE[name]) for name in names[names.index(first) : names.index(last) + 1]]
    return [(name, kind.base, kind.shape) if kind.shape else (name, kind) for name, kind in fields]


INPUT = np.dtype(
    [
        ("t_ns", "i8"),  # CLOCK_MONOTONIC when it was posted; in lock-step the newest sample's time
        ("sequence", "u8"),  # the newest sample that the gateway had seen then
        ("client_pid", "i8"),
        ("client", f"S{NAME}"),  # its name, UTF-8
        # All of the message but the poses on the way; `id` is the command_id of the sample that takes it.
        *_as_in_a_message("id", "n_via"),
        *_as_in_a_message("timeout_s", "parameters"),
    ],
    align=True,
)


def _span(dtype: np.dtype[Any], first: str, last: str) -> slice:
    """Return the bytes of a record from one field to another."""
    fields: Any = dtype.fields
    return slice(fields[first][1], fields[last][1] + fields[last][0].itemsize)


_SPANS = [
    (_span(INPUT, first, last), _span(MESSAGE, first, last))
    for first, last in (("id", "n_via"), ("timeout_s", "parameters"))
]
"""The same bytes in both: copied as they are, since a stream brings a thousand a second."""


class InputLog:
    """Writes the ring of inputs.

    Args:
        ring: dtype INPUT.
        lockstep: Time is virtual: an input has the newest sample's time.
    """

    def __init__(self, ring: Ring, *, lockstep: bool) -> None:
        from telemetry.ring import publish  # here: the daemon, too, makes this ring, and loads no compiler for it

        self._publish = publish
        self._ring = ring
        self._lockstep = lockstep
        self._bytes = ring.slots.view("u1").reshape(ring.capacity, INPUT.itemsize)

    def note(self, message: np.ndarray[Any, Any], newest: np.ndarray[Any, Any] | None, name: str, pid: int) -> None:
        """Write a message down.

        Args:
            message: Shape (1,), dtype MESSAGE, with its id.
            newest: The newest sample, shape (1,), or None while there is none.
            name: The client's name.
            pid: And its process.
        """
        slot = self._ring.head & (self._ring.capacity - 1)
        record = self._ring.slots[slot]
        sample_ns, sequence = (0, 0) if newest is None else (newest["t_ns"][0], newest["sequence"][0])
        record["t_ns"] = sample_ns if self._lockstep else time.monotonic_ns()
        record["sequence"] = sequence
        record["client_pid"] = pid
        record["client"] = name.encode()[:NAME]
        target, source = self._bytes[slot], message.view("u1")
        for into, out_of in _SPANS:
            target[into] = source[out_of]
        self._publish(self._ring.header)
