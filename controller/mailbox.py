"""Commands on their way from the gateway to the cycle: a single-writer ring of records in shared memory.

The gateway writes a message, then advances `head`; the cycle takes one message a period and advances `tail`. The
message's number in the mailbox is the command's id, so ids are unique for the daemon's life, whoever restarts.
"""

from enum import IntEnum

import numpy as np

from controller.laws.parameters import MAX_PARAMETERS
from telemetry.sample import MAX_AXES

__all__ = ["CAPACITY", "MAILBOX", "MESSAGE", "Operation"]

CAPACITY = 64


class Operation(IntEnum):
    """What a message asks; CRTK's names."""

    ENABLE = 1
    DISABLE = 2
    PAUSE = 3
    RESUME = 4
    HOME = 5
    UNHOME = 6
    HOLD = 7
    FREE = 8
    MOVE_JP = 9
    MOVE_CP = 10
    SERVO_JP = 11
    SERVO_CP = 12
    SET_LAW_PARAMETERS = 40


MESSAGE = np.dtype(
    [
        ("id", "u8"),
        ("operation", "i8"),
        ("sent_ns", "i8"),  # CLOCK_MONOTONIC of the sender
        ("n_axes", "i8"),  # how many entries of `position` the sender gave
        ("position", "f8", (MAX_AXES,)),  # *_jp: goal, rad or m; the jaw last
        ("pose", "f8", (4, 4)),  # *_cp: T_base_tip
        ("speed", "f8"),  # move_*: part of the limits, ]0, 1]; servo_*: unused
        ("path_speed", "f8"),  # move_cp: m/s along the line at the most, 0: as the limits allow
        ("timeout_s", "f8"),  # servo_*: the stream is stale when nothing came for so long; 0: as configured
        ("parameters", "f8", (MAX_PARAMETERS,)),  # set_law_parameters; nan: stays as it is
    ],
    align=True,
)

MAILBOX = np.dtype(
    [
        ("head", "u8"),  # messages written so far (gateway)
        ("tail", "u8"),  # messages taken so far (cycle)
        ("messages", MESSAGE, (CAPACITY,)),
    ],
    align=True,
)
