"""What is wrong in this cycle with time, line, device, sensors and motion: the guard's checks of what came in, in order."""

from numba.core import types

from controller.activity import CORE, Activity, is_powered, note
from controller.catalogue import Code
from controller.guard.feedback import check_sensors, check_speed
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

__all__ = ["inspect", "line_code"]

_OK, _LINK_ERROR, _POWER_LOST = int(Code.OK), int(Code.LINK_ERROR), int(Code.POWER_LOST)
_PEDAL_RELEASED, _TOOL_CHANGED = int(Code.PEDAL_RELEASED), int(Code.TOOL_CHANGED)
_CLEARING, _PROVING = int(Activity.CLEARING), int(Activity.PROVING_WATCHDOG)
_POWERING, _SIGNS = int(Activity.POWERING), int(Activity.TESTING_SIGNS)
_REFERENCING = int(Activity.REFERENCING)
_S_FAULT, _S_POWERED, _S_PEDAL = int(Status.FAULT), int(Status.POWERED), int(Status.PEDAL)
_ENABLED, _ON = int(OperatingState.ENABLED), int(Mode.ON)

_CORE, _GUARD, _MOTION, _LINK = array_of(CORE), array_of(GUARD), array_of(MOTION), array_of(LINK)
_SAMPLE, _FEEDBACK, _i8 = array_of(SAMPLE), array_of(FEEDBACK), types.int64


@kernel(_i8(_i8, _i8, _CORE, _GUARD))
def _worse(found: int, code: int, core: Array, guard: Array) -> int:
    """Return the code with the stronger reaction, the first of equals; remember what the other one speaks of, if taken."""
    if code == _OK or (found != _OK and REACTIONS[code] <= REACTIONS[found]):
        return found
    g = guard[0]
    note(core, g.axis, g.value, g.bound)
    return code


@kernel(_i8(_CORE, _GUARD, _LINK))
def line_code(core: Array, guard: Array, link: Array) -> int:
    """Return what is wrong with the line, or 0; while the watchdog is being proved, silence is no fault."""
    c = core[0]
    if link[0].error != 0:
        note(core, -1, 0.0, 0.0)
        return _LINK_ERROR
    age = 0 if c.activity == _PROVING else c.age
    code = check_link(guard, age, link[0].frames_bad, link[0].floods)
    return int(_worse(_OK, code, core, guard))


@kernel(_i8(_CORE, _GUARD, _MOTION, _SAMPLE, _FEEDBACK, _i8, _i8, _i8))
def inspect(
    core: Array,
    guard: Array,
    motion: Array,
    sample: Array,
    feedback: Array,
    line: int,
    encoders: int,
    skipped: int,
) -> int:
    """Return the code of what is wrong, or 0.

    Args:
        core: CORE, (1,); its `axis`, `value` and `bound` are filled in.
        guard: GUARD, (1,).
        motion: MOTION, (1,), before this cycle's set-point.
        sample: The cycle's sample, with everything measured, SAMPLE, (1,).
        feedback: FEEDBACK, (1,).
        line: What `line_code` returned.
        encoders: What `check_encoders` returned.
        skipped: Cycles that were left out before this one.
    """
    c, f, s = core[0], feedback[0], sample[0]
    powered = is_powered(core)
    late = check_cycle(guard, skipped)
    if not powered and c.activity == 0:
        return _OK
    found = line
    found = _worse(found, encoders, core, guard)
    if line == _OK and c.activity != _CLEARING and c.activity != _PROVING:
        if f.status & _S_FAULT:
            code = device_code(f.fault)
            if found == _OK or REACTIONS[code] > REACTIONS[found]:
                note(core, f.fault_axis, 0.0, 0.0)
                found = code
        elif powered and not f.status & _S_POWERED and found == _OK:
            note(core, -1, 0.0, 0.0)
            found = _POWER_LOST
    found = _worse(found, late, core, guard)
    if powered and f.tool != c.tool and (found == _OK or REACTIONS[_TOOL_CHANGED] > REACTIONS[found]):
        note(core, -1, float(f.tool), float(c.tool))
        found = _TOOL_CHANGED
    if c.state == _ENABLED and c.pedal_required and not f.status & _S_PEDAL and found == _OK:
        note(core, -1, 0.0, 0.0)
        found = _PEDAL_RELEASED
    if powered or c.activity == _SIGNS:
        found = _worse(found, check_speed(guard, s.measured_position, s.measured_velocity), core, guard)
    found = _worse(found, check_motors(guard, feedback, powered), core, guard)
    watched = c.referenced and c.activity != _REFERENCING
    found = _worse(found, check_sensors(guard, feedback, watched), core, guard)
    holds = c.mode == _ON and not c.free and (powered or c.activity == _POWERING or c.activity == _SIGNS)
    holds = holds and c.activity != _REFERENCING
    found = _worse(found, check_residual(guard, motion[0].q, s.measured_position, int(holds)), core, guard)
    if powered and c.is_homed:
        found = _worse(found, check_remote_center(guard, s.remote_center_distance), core, guard)
    return int(found)
