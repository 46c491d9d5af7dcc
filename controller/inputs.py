"""The inputs on record: a ring in shared memory with every command that the gateway has posted to the cycle.

The gateway alone writes it. The newest 8 s of even a stream at 1 kHz are there, whoever has been killed: `black_box`
saves them beside the samples.
"""

import time
from typing import Any

import numpy as np

from controller.laws.parameters import MAX_PARAMETERS
from telemetry.ring_file import Ring
from telemetry.sample import MAX_AXES

__all__ = ["INPUT", "INPUT_CAPACITY", "InputLog"]

INPUT_CAPACITY = 8192
NAME = 32  # bytes of a client's name that are kept

INPUT = np.dtype(
    [
        ("t_ns", "i8"),  # CLOCK_MONOTONIC when it was posted; in lock-step the newest sample's time
        ("sequence", "u8"),  # the newest sample that the gateway had seen then
        ("id", "u8"),  # the command's; the sample that takes it carries it as command_id
        ("operation", "i8"),  # mailbox.Operation
        ("sent_ns", "i8"),  # the sender's stamp
        ("client_pid", "i8"),
        ("client", f"S{NAME}"),  # its name, UTF-8
        # as in mailbox.MESSAGE, which says what each is
        ("group", "i8"),
        ("n_axes", "i8"),
        ("vector", "f8", (MAX_AXES,)),
        ("pose", "f8", (4, 4)),
        ("frame", "i8"),
        ("speed", "f8"),
        ("path_speed", "f8"),
        ("blend", "f8"),
        ("jaw", "f8"),
        ("n_via", "i8"),
        ("timeout_s", "f8"),
        ("parameters", "f8", (MAX_PARAMETERS,)),
    ],
    align=True,
)

_OF_THE_MESSAGE = (
    "id",
    "operation",
    "sent_ns",
    *("group", "n_axes", "vector", "pose", "frame", "speed", "path_speed", "blend", "jaw", "n_via", "timeout_s"),
    "parameters",
)


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

    def note(self, message: np.ndarray[Any, Any], newest: np.ndarray[Any, Any] | None, name: str, pid: int) -> None:
        """Write a message down.

        Args:
            message: Shape (1,), dtype MESSAGE, with its id.
            newest: The newest sample, shape (1,), or None while there is none.
            name: The client's name.
            pid: And its process.
        """
        record = self._ring.slots[self._ring.head & (self._ring.capacity - 1)]
        sample_ns = 0 if newest is None else int(newest["t_ns"][0])
        record["t_ns"] = sample_ns if self._lockstep else time.monotonic_ns()
        record["sequence"] = 0 if newest is None else newest["sequence"][0]
        record["client_pid"] = pid
        record["client"] = name.encode()[:NAME]
        for field in _OF_THE_MESSAGE:
            record[field] = message[field][0]
        self._publish(self._ring.header)
