"""Commands on their way from the gateway to the cycle: a single-writer ring of records in shared memory.

The gateway writes a message, then advances `head`; the cycle takes one message a period and advances `tail`. The
message's number in the mailbox is the command's id, so ids are unique for the daemon's life, whoever restarts.
"""

from enum import IntEnum

import numpy as np

from controller.laws.parameters import MAX_PARAMETERS
from telemetry.sample import MAX_AXES

__all__ = [
    "CAPACITY",
    "IS_CARTESIAN",
    "MAILBOX",
    "MAX_VIA",
    "MESSAGE",
    "QUANTITY",
    "VERB",
    "Frame",
    "Group",
    "Operation",
    "Quantity",
    "Verb",
]

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
    MOVE_JR = 13
    MOVE_CR = 14
    SERVO_JR = 15
    SERVO_JV = 16
    SERVO_JF = 17
    SERVO_CR = 18
    SERVO_CV = 19
    SERVO_CF = 20
    INTERPOLATE_JP = 21
    INTERPOLATE_JR = 22
    INTERPOLATE_JV = 23
    INTERPOLATE_JF = 24
    INTERPOLATE_CP = 25
    INTERPOLATE_CR = 26
    INTERPOLATE_CV = 27
    INTERPOLATE_CF = 28
    SPEED_RATIO = 29
    SET_LAW_PARAMETERS = 40
    SET_REMOTE_CENTER = 41


class Verb(IntEnum):
    """How a motion command is carried out."""

    NONE = 0  # it is no motion command
    SERVO = 1  # in the next cycle, as it is
    INTERPOLATE = 2  # a slow stream that the set-point follows smoothly
    MOVE = 3  # planned, to rest


class Quantity(IntEnum):
    """What a motion command gives."""

    POSITION = 0
    RELATIVE = 1
    VELOCITY = 2
    EFFORT = 3


class Group(IntEnum):
    """Which axes: the two move independently of each other."""

    ARM = 0
    JAW = 1


class Frame(IntEnum):
    """In which axes a relative pose, a twist or a wrench at the tip is given."""

    BASE = 0
    TIP = 1


MAX_VIA = 15

MESSAGE = np.dtype(
    [
        ("id", "u8"),
        ("operation", "i8"),
        ("sent_ns", "i8"),  # CLOCK_MONOTONIC of the sender
        ("group", "i8"),  # Group, of joint commands
        ("n_axes", "i8"),  # how many entries of `vector` the sender gave
        # *_j?: rad, m, their rates, N·m, N; the jaw last. *_cv: twist, *_cf: wrench, (6,);
        # set_remote_center: where, (3,), or none to release it
        ("vector", "f8", (MAX_AXES,)),
        ("pose", "f8", (4, 4)),  # *_cp: T_base_tip; *_cr: a relative pose
        ("frame", "i8"),  # Frame, of *_cr, *_cv, *_cf
        ("speed", "f8"),  # move_*: part of the limits, ]0, 1]; speed ratio: the same
        ("path_speed", "f8"),  # move_c*: m/s along the path at the most, 0: as the limits allow
        ("blend", "f8"),  # move_cp with via points: m, how far from a corner the path may stay
        ("jaw", "f8"),  # move_c*: rad, where the jaw runs to along the path; nan: it does not
        ("n_via", "i8"),
        ("via", "f8", (MAX_VIA, 4, 4)),  # move_cp: T_base_tip on the way
        ("timeout_s", "f8"),  # streams: stale when nothing came for so long; 0: as configured
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


VERB = np.zeros(64, np.int64)
"""VERB[operation]: a Verb; the motion commands are told apart by these three tables and not by their numbers."""
QUANTITY = np.zeros(64, np.int64)
IS_CARTESIAN = np.zeros(64, np.int64)
for _operation in Operation:
    _verb, _, _what = _operation.name.partition("_")
    if _verb in Verb.__members__ and len(_what) == 2:
        VERB[_operation] = Verb[_verb]
        IS_CARTESIAN[_operation] = _what[0] == "C"
        QUANTITY[_operation] = "PRVF".index(_what[1])
