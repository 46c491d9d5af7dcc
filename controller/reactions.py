"""What the arm does about a fault: the stop category that the catalogue gives its code, carried out."""

import numpy as np
from numba.core import types

from controller.activity import CORE, Activity, finish, finish_jaw, is_powered, power_off
from controller.catalogue import Code, Reaction
from controller.guard.records import REACTIONS
from controller.motion.setpoint import MOTION, begin_hard_stop, begin_stop
from controller.states import Event, transition
from drivers.driver import DeviceFault, Mode
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import SAMPLE, MotionStatus, OperatingState

__all__ = ["device_code", "fail", "react", "stop_all"]

_ENABLED, _FAULT = int(OperatingState.ENABLED), int(OperatingState.FAULT)
_ABORTED, _STOPPING, _OFF = int(MotionStatus.ABORTED), int(Activity.STOPPING), int(Mode.OFF)
_S0, _S1, _S2 = int(Reaction.S0), int(Reaction.S1), int(Reaction.S2)
_EV_HELD, _EV_FAULTED = int(Event.HELD), int(Event.FAULTED)
_POWER_LOST = int(Code.POWER_LOST)

_DEVICE_CODES = np.full(len(DeviceFault), int(Code.POWER_LOST), np.int64)  # a fault without a number took the power
for _fault, _code in (
    (DeviceFault.ESTOP, Code.ESTOP),
    (DeviceFault.WATCHDOG, Code.DEVICE_WATCHDOG),
    (DeviceFault.POSITION_LIMIT, Code.DEVICE_POSITION_LIMIT),
    (DeviceFault.OVERSPEED, Code.DEVICE_OVERSPEED),
    (DeviceFault.OVERCURRENT, Code.DEVICE_OVERCURRENT),
    (DeviceFault.BAD_COMMAND, Code.DEVICE_BAD_COMMAND),
    (DeviceFault.NOT_CONFIGURED, Code.DEVICE_NOT_CONFIGURED),
    (DeviceFault.ESTOP_CHANNELS, Code.DEVICE_ESTOP_CHANNELS),
    (DeviceFault.PEDAL_CHANNELS, Code.DEVICE_PEDAL_CHANNELS),
    (DeviceFault.OVERTEMPERATURE, Code.DEVICE_OVERTEMPERATURE),
    (DeviceFault.TAMPERED, Code.DEVICE_TAMPERED),
):
    _DEVICE_CODES[int(_fault)] = int(_code)

_CORE, _MOTION, _ARM, _SAMPLE, _i8 = array_of(CORE), array_of(MOTION), array_of(ARM), array_of(SAMPLE), types.int64


@kernel(_i8(_i8))
def device_code(fault: int) -> int:
    """Return the catalogue's code of a device fault; a number that this version does not know counts as power lost."""
    if fault < 0 or fault >= len(_DEVICE_CODES):
        return _POWER_LOST
    return int(_DEVICE_CODES[fault])


@kernel(types.void(_MOTION, _ARM))
def stop_all(motion: Array, arm: Array) -> None:
    """Bring arm and jaw to rest, as an operator asks it."""
    begin_stop(motion, arm, 0)
    begin_stop(motion, arm, 1)


@kernel(types.void(_MOTION, _ARM))
def _brake_all(motion: Array, arm: Array) -> None:
    """Bring arm and jaw to rest, as a fault demands it."""
    begin_hard_stop(motion, arm, 0)
    begin_hard_stop(motion, arm, 1)


@kernel(types.void(_CORE, _MOTION, _ARM, _SAMPLE, _i8))
def react(core: Array, motion: Array, arm: Array, sample: Array, code: int) -> None:
    """Carry out the stop category that the catalogue gives a code: S0 now, S1 and S2 by way of a ramp to rest."""
    c = core[0]
    s = sample[0]
    category = REACTIONS[code]
    if category < _S2:
        return
    stopping_for_fault = c.activity == _STOPPING and c.stop_event == _EV_FAULTED
    if category == _S1 and not is_powered(core):
        category = _S0
    if category == _S2 and (c.state != _ENABLED or c.activity == _STOPPING):
        return
    if category != _S0 and stopping_for_fault:
        return  # the stop that it asks for is under way already
    if c.state == _FAULT and category == _S0 and c.mode == _OFF:
        return  # latched: the first cause stays on show
    s.event = code
    if not stopping_for_fault:
        c.fault = code
        c.fault_axis, c.fault_value, c.fault_bound = c.axis, c.value, c.bound
    finish(core, _ABORTED)
    finish_jaw(core, _ABORTED)
    if category == _S0:
        c.state = transition(c.state, _EV_FAULTED)
        power_off(core)
        return
    if category == _S1:
        c.activity = _STOPPING
        c.stop_event = _EV_FAULTED
    else:
        c.state = transition(c.state, _EV_HELD)
        c.rereference = 1
        c.free = 0
    _brake_all(motion, arm)


@kernel(types.void(_CORE, _MOTION, _ARM, _SAMPLE, _i8))
def fail(core: Array, motion: Array, arm: Array, sample: Array, code: int) -> None:
    """End the present activity because of a code, and react to it; without a reaction the state stays as it was."""
    sample[0].event = code
    if REACTIONS[code] >= _S2:
        react(core, motion, arm, sample, code)
        return
    finish(core, _ABORTED)
    if not is_powered(core):
        power_off(core)
