"""The operating states, as one pure function over an explicit table.

CRTK's four states and six commands, and the three things that only the system may say: the motors are on, the arm
must hold, the arm has a fault. Nothing here knows of motion, devices or time.
"""

from enum import IntEnum
from typing import Final

import numpy as np
from numba.core import types

from controller.catalogue import Code
from kinematics.compiled import kernel
from telemetry.sample import OperatingState

__all__ = ["REFUSED", "TABLE", "Event", "transition", "verdict"]

REFUSED: Final = -1


class Event(IntEnum):
    """What can happen to the operating state. The first six are commands; no command leads into FAULT."""

    ENABLE = 0
    DISABLE = 1
    PAUSE = 2
    RESUME = 3
    HOME = 4
    UNHOME = 5
    POWERED = 6  # the motor controllers confirm power on and brakes released, as an ENABLE had asked
    UNPOWERED = 7  # a disable has come to its end: at rest, power off
    HELD = 8  # the guard asks for a powered hold (S2)
    FAULTED = 9  # a fault is latched (S0, or S1 at its end)


_D, _E, _P, _F, _X = (*(int(s) for s in OperatingState), REFUSED)

TABLE: Final = np.array(
    [  # ENABLE DISABLE PAUSE RESUME HOME UNHOME  POWERED UNPOWERED HELD FAULTED
        [_D, _D, _X, _X, _X, _D, _E, _D, _D, _F],  # DISABLED: an accepted ENABLE becomes ENABLED with POWERED
        [_E, _E, _P, _X, _E, _E, _E, _D, _P, _F],  # ENABLED: an accepted DISABLE becomes DISABLED with UNPOWERED
        [_X, _P, _P, _E, _X, _P, _P, _D, _P, _F],  # PAUSED
        [_F, _F, _X, _X, _X, _F, _E, _D, _F, _F],  # FAULT: ENABLE retries, DISABLE acknowledges
    ],
    dtype=np.int64,
)
"""TABLE[state, event] is the next state, or REFUSED."""


@kernel(types.int64(types.int64, types.int64))
def transition(state: int, event: int) -> int:
    """Return the state that follows, or REFUSED where the event has no meaning."""
    return int(TABLE[state, event])


_ENABLED, _PAUSED, _FAULT = int(OperatingState.ENABLED), int(OperatingState.PAUSED), int(OperatingState.FAULT)
_OK, _INVALID, _IN_FAULT = int(Code.OK), int(Code.INVALID_IN_STATE), int(Code.IN_FAULT)
_NOT_ENABLED, _IS_PAUSED = int(Code.NOT_ENABLED), int(Code.PAUSED)
_HOME = int(Event.HOME)


@kernel(types.int64(types.int64, types.int64))
def verdict(state: int, event: int) -> int:
    """Return 0 where a state command is allowed, else the code of the refusal that helps the operator most."""
    if TABLE[state, event] != REFUSED:
        return _OK
    if state == _FAULT:
        return _IN_FAULT
    if event == _HOME:
        if state == _PAUSED:
            return _IS_PAUSED
        return _NOT_ENABLED
    return _INVALID
