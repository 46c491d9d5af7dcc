"""What is wrong in this cycle with time, line, device, sensors and motion: the guard's checks, in order."""

import numpy as np
from numba.core import types

from controller.activity import CORE, Activity, is_powered, note
from controller.catalogue import Code
from controller.guard.feedback import check_encoders, check_sensors, check_speed
from controller.guard.motors import check_motors
from controller.guard.records import GUARD, REACTIONS
from controller.guard.residual import check_residual
from controller.guard.timing import check_cycle, check_link
from controller.guard.tip import check_remote_center
from controller.motion.setpoint import MOTION
from controller.reactions import device_code
from drivers.driver import FEEDBACK, LINK, Mode, Status
from kinematics.compiled import Array, array_of, kernel
from telemetry.sample import SAMPLE, OperatingState

__all__ = ["inspect", "inspect_line", "while_enabling"]

_OK, _LINK_ERROR, _POWER_LOST = int(Code.OK), int(Code.LINK_ERROR), int(Code.POWER_LOST)
_LOST = int(Code.FEEDBACK_LOST)
_RESIDUAL, _VELOCITY = int(Code.MOTION_RESIDUAL), int(Code.VELOCITY_LIMIT)
_JUMP, _SIGN, _MISMATCH = int(Code.ENCODER_JUMP), int(Code.ENCODER_SIGN), int(Code.SENSOR_MISMATCH)
_FOLLOWING, _SLIPS = int(Code.FOLLOWING_ERROR), int(Code.BRAKE_SLIPS)
_POWERING_BRAKED, _TESTING_BRAKES = int(Activity.POWERING_BRAKED), int(Activity.TESTING_BRAKES)
_REFERENCE_LOST, _S_REFERENCED = int(Code.REFERENCE_LOST), int(Status.REFERENCED)
_PEDAL_RELEASED, _TOOL_CHANGED = int(Code.PEDAL_RELEASED), int(Code.TOOL_CHANGED)
_CLEARING, _PROVING = int(Activity.CLEARING), int(Activity.PROVING_WATCHDOG)
_POWERING, _SIGNS = int(Activity.POWERING), int(Activity.TESTING_SIGNS)
_S_FAULT, _S_POWERED, _S_PEDAL = int(Status.FAULT), int(Status.POWERED), int(Status.PEDAL)
_ENABLED, _ON, _SET_REFERENCE = int(OperatingState.ENABLED), int(Mode.ON), int(Mode.SET_REFERENCE)

_CORE, _GUARD, _MOTION, _LINK = array_of(CORE), array_of(GUARD), array_of(MOTION), array_of(LINK)
_SAMPLE, _FEEDBACK, _i8 = array_of(SAMPLE), array_of(FEEDBACK), types.int64


@kernel(_i8(_i8, _i8, _CORE, _GUARD))
def _worse(found: int, code: int, core: Array, guard: Array) -> int:
    """Return the code with the stronger reaction, the first of equals; remember what it speaks of."""
    if code == _OK or (found != _OK and REACTIONS[code] <= REACTIONS[found]):
        return found
    g = guard[0]
    note(core, g.axis, g.value, g.bound)
    return code


@kernel(_i8(_CORE, _i8))
def while_enabling(core: Array, code: int) -> int:
    """Return what a joint that moves means while the arm is being enabled: what the step in hand is to find."""
    activity = core[0].activity
    if code != _RESIDUAL and code != _VELOCITY and code != _JUMP and code != _FOLLOWING:
        return code
    if activity == _POWERING or activity == _SIGNS:
        return _SIGN  # the joint servo drives a joint away from where it holds it
    if activity == _POWERING_BRAKED or activity == _TESTING_BRAKES:
        return _SLIPS
    return code


@kernel(_i8(_CORE, _GUARD, _LINK, _FEEDBACK, _i8))
def inspect_line(core: Array, guard: Array, link: Array, feedback: Array, skipped: int) -> int:
    """Return the code of what is wrong with time, line or encoders, or 0; first of all, before anybody uses a reading.

    Readings that must not be used are replaced. `core.lost` becomes the line's own code.

    Args:
        core: CORE, (1,); its `age` is this cycle's, its `axis`, `value` and `bound` are filled in.
        guard: GUARD, (1,).
        link: LINK, (1,).
        feedback: FEEDBACK, (1,); corrected in place.
        skipped: Cycles that were left out before this one.
    """
    c = core[0]
    note(core, -1, 0.0, 0.0)
    found = _worse(_OK, check_cycle(guard, skipped), core, guard)
    frames_bad: int = np.int64(link[0].frames_bad)  # type: ignore[assignment]  # Numba: unsigned would turn into floating point
    line = check_link(guard, c.age, frames_bad, link[0].floods)
    if line == _LOST and c.activity == _PROVING:
        line = _OK  # the silence is meant, while the watchdog is being proved; what was read before it stays old
    if link[0].error != 0:
        guard[0].axis, guard[0].value, guard[0].bound = -1, float(link[0].error), 0.0
        line = _LINK_ERROR
    c.lost = line
    found = _worse(found, line, core, guard)
    guard[0].referencing = int(c.mode == _SET_REFERENCE)
    return int(_worse(found, check_encoders(guard, feedback), core, guard))


@kernel(_i8(_CORE, _GUARD, _MOTION, _SAMPLE, _FEEDBACK, _i8))
def inspect(core: Array, guard: Array, motion: Array, sample: Array, feedback: Array, found: int) -> int:
    """Return the code of what is wrong, or 0; while there is no power and none is asked for, nothing is.

    Args:
        core: CORE, (1,); its `axis`, `value` and `bound` are filled in.
        guard: GUARD, (1,).
        motion: MOTION, (1,), before this cycle's set-point.
        sample: The cycle's sample, with everything measured, SAMPLE, (1,).
        feedback: FEEDBACK, (1,).
        found: What `inspect_line` returned.
    """
    c, f, s = core[0], feedback[0], sample[0]
    powered = is_powered(core)
    if not powered and c.activity == 0:
        return _OK
    if c.lost == _OK and c.activity != _CLEARING and c.activity != _PROVING:
        if f.status & _S_FAULT:
            code = device_code(f.fault)
            if found == _OK or REACTIONS[code] > REACTIONS[found]:
                note(core, f.fault_axis, 0.0, 0.0)
                found = code
        elif powered and not f.status & _S_POWERED and found == _OK:
            note(core, -1, 0.0, 0.0)
            found = _POWER_LOST
    if powered and f.tool != c.tool and (found == _OK or REACTIONS[_TOOL_CHANGED] > REACTIONS[found]):
        note(core, -1, float(f.tool), float(c.tool))
        found = _TOOL_CHANGED
    if powered and c.is_homed and not f.status & _S_REFERENCED and found == _OK:
        note(core, -1, 0.0, 0.0)
        found = _REFERENCE_LOST
    if c.state == _ENABLED and c.pedal_required and not f.status & _S_PEDAL and found == _OK:
        note(core, -1, 0.0, 0.0)
        found = _PEDAL_RELEASED
    if powered or c.activity == _SIGNS:
        found = _worse(found, check_speed(guard, s.measured_position, s.measured_velocity), core, guard)
    found = _worse(found, check_motors(guard, feedback, powered), core, guard)
    settled = c.mode == _ON and (powered or c.activity == _POWERING or c.activity == _SIGNS)
    found = _worse(found, check_sensors(guard, feedback, c.is_homed), core, guard)
    follows = int(settled and not c.free)
    found = _worse(found, check_residual(guard, guard[0].last_position[:], s.measured_position, follows), core, guard)
    if found == _JUMP or found == _MISMATCH or found == _RESIDUAL or found == _TOOL_CHANGED:
        c.is_homed = 0  # where the joints are, or the tip is, must be found out anew
    found = while_enabling(core, found)
    if powered and c.is_homed:
        found = _worse(found, check_remote_center(guard, s.remote_center_distance), core, guard)
    return int(found)
