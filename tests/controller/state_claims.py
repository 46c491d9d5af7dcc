"""What must hold of operating states, commands sent and set-point, whoever asks and whatever the device says.

Each claim looks at many cycles at once, and returns where it does not hold.
"""

from typing import NamedTuple

import numpy as np

from controller.activity import Activity
from controller.catalogue import CATALOGUE, Code, Reaction
from controller.guard.records import REACTIONS
from controller.mailbox import Operation
from controller.motion.setpoint import Mode as MotionMode
from controller.states import Event
from drivers.driver import Mode, Status
from telemetry.sample import OperatingState
from tests.controller.one_cycle import MOTIONS, SHORT

D, E, P, F = (int(state) for state in OperatingState)
OFF = int(Mode.OFF)
NONE, MOVING, STREAMING = int(Activity.NONE), int(Activity.MOVING), int(Activity.STREAMING)
STOPPING, HOLDING = int(Activity.STOPPING), int(Activity.HOLDING)
FAULTED = int(Event.FAULTED)
ENABLE, DISABLE, HOME = int(Operation.ENABLE), int(Operation.DISABLE), int(Operation.HOME)
HOLD_MODE = int(MotionMode.HOLD)  # what is above it moves


class Outcome(NamedTuple):
    """Many cycles that began in one situation."""

    before: np.ndarray  # the core's record, a scalar
    messages: np.ndarray
    feedback: np.ndarray
    core: np.ndarray
    motion: np.ndarray
    sent: np.ndarray
    sample: np.ndarray

    @property
    def operation(self):
        return np.where(self.messages["id"] != 0, self.messages["operation"], 0)

    @property
    def commanded(self):
        return self.messages["id"] != 0

    @property
    def torque(self):
        gains = np.abs(self.sent["kp"]).sum(1) + np.abs(self.sent["kd"]).sum(1) + np.abs(self.sent["effort"]).sum(1)
        return (self.sent["mode"] != OFF) | (gains != 0.0)

    @property
    def moves(self):
        """Whether the set-point of a group moves, and not to rest."""
        return ((self.motion["mode"] > HOLD_MODE) & (self.motion["stopping"] == 0)).any(axis=1)


def enabling(core):
    """Whether an accepted ENABLE is under way: the id of a command tells its operation."""
    return (core["activity"] != NONE) & (core["activity_id"] % 100 == ENABLE)


# --- the claims: each returns where it does not hold


def no_torque_in_disabled_or_fault(o):
    return np.isin(o.core["state"], (D, F)) & o.torque & ~enabling(o.core)


def power_is_asked_for_only_by_an_enable(o):
    return (o.before["mode"] == OFF) & (o.sent["mode"] != OFF) & ~enabling(o.core) & ~enabling(o.before)


def fault_is_left_only_by_a_command(o):
    left = (o.before["state"] == F) & (o.core["state"] != F)
    retried = (o.core["state"] == E) & enabling(o.before)
    acknowledged = (o.core["state"] == D) & (o.operation == DISABLE) & (o.sample["verdict"] == 0)
    return left & ~retried & ~acknowledged


def disabled_is_left_only_by_an_enable_or_a_fault(o):
    left = (o.before["state"] == D) & (o.core["state"] != D)
    return left & ~((o.core["state"] == E) & enabling(o.before)) & ~(o.core["state"] == F)


def no_motion_command_is_taken_before_homing(o):
    return (o.before["is_homed"] == 0) & np.isin(o.operation, MOTIONS) & (o.sample["verdict"] == 0)


def nothing_but_homing_moves_before_homing(o):
    homing = (o.core["activity"] != NONE) & (o.core["activity_id"] % 100 == HOME)
    return (o.core["is_homed"] == 0) & o.moves & ~homing


def motion_is_taken_only_when_enabled(o):
    return np.isin(o.operation, MOTIONS) & (o.sample["verdict"] == 0) & (o.before["state"] != E)


def paused_holds(o):
    return (o.core["state"] == P) & (o.moves | (o.core["free"] != 0) | (o.sent["mode"] == OFF))


def paused_takes_no_motion(o):
    return (o.core["state"] == P) & ~np.isin(o.core["activity"], (NONE, HOLDING, STOPPING))


def every_stop_ends_in_time(o):
    return (o.core["activity"] == STOPPING) & (o.core["activity_cycles"] > SHORT["stop_cycles"])


def every_stop_ends_without_torque(o):
    ended = (o.before["activity"] == STOPPING) & (o.core["activity"] != STOPPING)
    return ended & (o.torque | ~np.isin(o.core["state"], (D, F)))


def a_command_does_not_prolong_a_stop(o):
    stopping = (o.before["activity"] == STOPPING) & (o.core["activity"] == STOPPING)
    asked_to = (o.before["stop_event"] != o.core["stop_event"]) & (o.core["stop_event"] == FAULTED)
    return stopping & ~asked_to & (o.core["activity_cycles"] <= o.before["activity_cycles"])


def a_stop_for_a_fault_ends_in_fault(o):
    for_fault = (o.before["activity"] == STOPPING) & (o.before["stop_event"] == FAULTED)
    goes_on = (o.core["activity"] == STOPPING) & (o.core["stop_event"] == FAULTED)
    acknowledged = (o.operation == DISABLE) & (o.sample["event"] != 0)  # FAULT came first, in the same cycle
    return for_fault & ~goes_on & (o.core["state"] != F) & ~acknowledged


def the_first_cause_stays_on_show(o):
    latched = (o.before["state"] == F) & (o.core["state"] == F) & (o.before["activity"] == NONE) & ~enabling(o.core)
    return latched & (o.core["fault"] != o.before["fault"])


def fault_always_has_a_cause(o):
    return (o.core["state"] == F) & (o.core["fault"] == 0)


def enable_is_refused_at_a_pressed_estop(o):
    estop = (o.feedback["status"] & int(Status.ESTOP)) != 0
    return (o.operation == ENABLE) & estop & (o.before["state"] != E) & (o.sample["verdict"] == 0)


def only_referenced_joints_are_homed(o):
    return (o.core["is_homed"] != 0) & (o.core["referenced"] == 0)


def an_unknown_operation_is_refused(o):
    return o.commanded & ~np.isin(o.operation, list(Operation)) & (o.sample["verdict"] != Code.UNKNOWN_OPERATION)


def a_latched_device_fault_takes_the_torque_at_once(o):
    fault = (o.feedback["status"] & int(Status.FAULT)) != 0
    powered = np.isin(o.before["state"], (E, P))
    return fault & powered & (o.torque | (o.core["state"] != F))


CLAIMS = (
    no_torque_in_disabled_or_fault,
    power_is_asked_for_only_by_an_enable,
    fault_is_left_only_by_a_command,
    disabled_is_left_only_by_an_enable_or_a_fault,
    no_motion_command_is_taken_before_homing,
    nothing_but_homing_moves_before_homing,
    motion_is_taken_only_when_enabled,
    paused_holds,
    paused_takes_no_motion,
    every_stop_ends_in_time,
    every_stop_ends_without_torque,
    a_command_does_not_prolong_a_stop,
    a_stop_for_a_fault_ends_in_fault,
    the_first_cause_stays_on_show,
    fault_always_has_a_cause,
    enable_is_refused_at_a_pressed_estop,
    only_referenced_joints_are_homed,
    an_unknown_operation_is_refused,
    a_latched_device_fault_takes_the_torque_at_once,
)


# --- and of the reactions to codes: what the core remembers before, and after each of CODES


CODES = np.array([int(code) for code in CATALOGUE])
ASKS = REACTIONS[CODES]


def no_code_powers_an_arm(before, after, failed):
    return (before["mode"] == OFF) & (after["mode"] != OFF)


def no_code_leads_out_of_fault_or_to_enabled(before, after, failed):
    return (after["state"] != before["state"]) & ((before["state"] == F) | (after["state"] == E))


def what_asks_for_no_reaction_has_none(before, after, failed):
    if failed:  # then the activity ends, and no more
        return (ASKS == Reaction.NONE) & (after["state"] != before["state"])
    changed = np.array([record.tobytes() != before.tobytes() for record in after])  # a NaN is the same as itself
    return (ASKS == Reaction.NONE) & changed


def s0_takes_the_power_at_once(before, after, failed):
    return (ASKS == Reaction.S0) & ((after["mode"] != OFF) | (after["state"] != F))


def s1_ramps_down_to_fault(before, after, failed):
    if before["state"] in (E, P):
        ramps = (after["activity"] == STOPPING) & (after["stop_event"] == FAULTED) & (after["mode"] == before["mode"])
        return (ASKS == Reaction.S1) & ~ramps
    return (ASKS == Reaction.S1) & ((after["mode"] != OFF) | (after["state"] != F))


def s2_holds(before, after, failed):
    if before["state"] != E or before["activity"] == STOPPING:
        return np.zeros(len(CODES), bool)
    holds = (after["state"] == P) & (after["fault"] == CODES) & (after["mode"] == before["mode"])
    return (ASKS == Reaction.S2) & ~holds


def held_never_powers(before, after, failed):
    if before["state"] in (E, P):
        return np.zeros(len(CODES), bool)
    moved_on = (after["state"] != before["state"]) | ~np.isin(after["mode"], (before["mode"], OFF))
    return (ASKS == Reaction.S2) & moved_on


REACTION_CLAIMS = (
    no_code_powers_an_arm,
    no_code_leads_out_of_fault_or_to_enabled,
    what_asks_for_no_reaction_has_none,
    s0_takes_the_power_at_once,
    s1_ramps_down_to_fault,
    s2_holds,
    held_never_powers,
)

KNOWN: dict[str, str] = {}
"""Claims that the cycle does not fulfil yet, and how; a test fails when one is fulfilled and still listed."""
