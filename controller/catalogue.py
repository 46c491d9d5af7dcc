"""Every code that an operator can meet: what it is, why it happens, what to do.

Codes below 100 are refusals (nothing moved because of them), from 100 on events and faults of the running arm.
A sample carries the code; everything that people read comes from this table.
"""

from enum import IntEnum
from typing import NamedTuple

__all__ = ["CATALOGUE", "Code", "Entry", "Reaction"]


class Reaction(IntEnum):
    """Stop categories, and what is less than a stop."""

    NONE = 0  # refused or noted
    S2 = 1  # powered hold
    S1 = 2  # ramp to rest, then power off
    S0 = 3  # power off, brakes on


class Code(IntEnum):
    """Codes of refusals, events and faults."""

    OK = 0
    NOT_ENABLED = 1
    NOT_HOMED = 2
    PAUSED = 3
    IN_FAULT = 4
    INVALID_IN_STATE = 5
    BUSY = 6
    NOT_FINITE = 7
    WRONG_SIZE = 8
    JOINT_LIMIT = 9
    OUT_OF_REACH = 10
    SINGULAR = 11
    TOO_SHALLOW = 12
    NOT_A_POSE = 13
    STEP_TOO_LARGE = 14
    PATH_BLOCKED = 15
    BAD_PARAMETER = 16
    LEASED = 17
    MAILBOX_FULL = 18
    ESTOP_PRESSED = 19
    DEVICE_FAULT_REMAINS = 20
    UNKNOWN_OPERATION = 21
    NO_JAW = 22
    REMOTE_CENTER = 23
    NO_REMOTE_CENTER = 24
    BAD_LAW_PARAMETER = 40

    ESTOP = 100
    DEVICE_WATCHDOG = 101
    DEVICE_POSITION_LIMIT = 102
    DEVICE_OVERSPEED = 103
    DEVICE_OVERCURRENT = 104
    DEVICE_BAD_COMMAND = 105
    DEVICE_NOT_CONFIGURED = 106
    FEEDBACK_LOST = 107
    LINK_ERROR = 108
    COMMAND_NOT_FINITE = 109
    POSITION_LIMIT = 110
    VELOCITY_LIMIT = 111
    EFFORT_LIMIT = 112
    SETPOINT_STEP = 113
    FOLLOWING_ERROR = 114
    ENABLE_TIMEOUT = 115
    HOMING_FAILED = 116
    POWER_LOST = 117
    STREAM_STALE = 118
    STREAM_DEAD = 119
    PATH_FAILED = 120
    FEEDBACK_NOT_FINITE = 121
    LAW_TOO_SLOW = 140
    LAW_RAISED = 141
    CORE_STALLED = 142


class Entry(NamedTuple):
    """One code, explained."""

    cause: str
    remedy: str
    reaction: Reaction


CATALOGUE: dict[Code, Entry] = {
    Code.OK: Entry("Nothing is wrong.", "Nothing to do.", Reaction.NONE),
    Code.NOT_ENABLED: Entry(
        "The arm is disabled: its motors are off.", "Enable it first: `trocar enable`, `arm.enable()`.", Reaction.NONE
    ),
    Code.NOT_HOMED: Entry(
        "The arm does not know where its joints are yet.", "Home it first: `trocar home`, `arm.home()`.", Reaction.NONE
    ),
    Code.PAUSED: Entry(
        "The arm is paused: it holds and takes no motion.",
        "See why with `trocar status`, then resume: `trocar resume`, `arm.resume()`.",
        Reaction.NONE,
    ),
    Code.IN_FAULT: Entry(
        "A fault is latched.", "Remove its cause (`trocar status` names it), then enable again.", Reaction.NONE
    ),
    Code.INVALID_IN_STATE: Entry(
        "This state command has no meaning in the present state.",
        "`trocar status` shows the state; docs/commands.md which commands it takes.",
        Reaction.NONE,
    ),
    Code.BUSY: Entry("Another state command is still being carried out.", "Wait until it has ended.", Reaction.NONE),
    Code.NOT_FINITE: Entry(
        "The command holds a NaN or an infinity.",
        "Check the computation that made it; nothing was moved.",
        Reaction.NONE,
    ),
    Code.WRONG_SIZE: Entry(
        "The command has another number of entries than the arm has axes.",
        "Give one entry per axis, the jaw last; `trocar arms` lists them.",
        Reaction.NONE,
    ),
    Code.JOINT_LIMIT: Entry(
        "The goal lies outside the limits of a joint.",
        "Choose a goal within the limits that `trocar arms` lists.",
        Reaction.NONE,
    ),
    Code.OUT_OF_REACH: Entry("No joint position brings the tip to this pose.", "Choose a nearer pose.", Reaction.NONE),
    Code.SINGULAR: Entry(
        "The pose is singular: the joints that reach it are not unique.", "Choose a pose away from it.", Reaction.NONE
    ),
    Code.TOO_SHALLOW: Entry(
        "The wrist would be at the remote centre of motion.", "Insert the instrument further.", Reaction.NONE
    ),
    Code.NOT_A_POSE: Entry(
        "The matrix is no rigid pose: its rotation is not orthonormal, or its last row is not 0 0 0 1.",
        "Send a 4 x 4 homogeneous matrix; re-orthonormalise a rotation that was integrated.",
        Reaction.NONE,
    ),
    Code.STEP_TOO_LARGE: Entry(
        "The servo command is further from the set-point than the arm can move in one step.",
        "Start the stream at the present set-point, and send small steps; use move_* for distances.",
        Reaction.NONE,
    ),
    Code.PATH_BLOCKED: Entry(
        "The path to the goal leaves the workspace or needs a jump of the joints.",
        "Go round by way of intermediate poses, or use move_jp.",
        Reaction.NONE,
    ),
    Code.BAD_PARAMETER: Entry(
        "A parameter is outside its range.",
        "speed and speed ratio are in ]0, 1]; path_speed and timeout are positive; via points need a blend above 0.",
        Reaction.NONE,
    ),
    Code.LEASED: Entry(
        "Another client commands the arm.", "Wait until it has closed, or take over with take=True.", Reaction.NONE
    ),
    Code.MAILBOX_FULL: Entry(
        "Commands come faster than the cycle takes them.", "Send no more than one command per cycle.", Reaction.NONE
    ),
    Code.ESTOP_PRESSED: Entry("The emergency stop is pressed.", "Release it, then enable.", Reaction.NONE),
    Code.DEVICE_FAULT_REMAINS: Entry(
        "The motor controllers kept their fault: its cause is still there.",
        "Remove the cause that `trocar status` names, then enable again.",
        Reaction.NONE,
    ),
    Code.UNKNOWN_OPERATION: Entry(
        "The daemon does not know this command.", "Use a client of the daemon's own version.", Reaction.NONE
    ),
    Code.REMOTE_CENTER: Entry(
        "A remote centre is set, and this command would not keep the shaft in it.",
        "Use move_cp, move_cr, servo_cp or servo_cr; or release it: `trocar remote-center --release`.",
        Reaction.NONE,
    ),
    Code.NO_REMOTE_CENTER: Entry(
        "This arm keeps its remote centre by its mechanics; there is none to set.",
        'Set one only for arms whose file says family = "none", as panda or iiwa7.',
        Reaction.NONE,
    ),
    Code.NO_JAW: Entry("This arm has no jaw.", "Command its joints; `trocar arms` lists them.", Reaction.NONE),
    Code.BAD_LAW_PARAMETER: Entry(
        "A parameter of the control law is unknown, not finite or of another size; none was changed.",
        "`trocar law show` lists them.",
        Reaction.NONE,
    ),
    Code.ESTOP: Entry(
        "The emergency stop was pressed.", "Make sure that it is safe, release the button, then enable.", Reaction.S0
    ),
    Code.DEVICE_WATCHDOG: Entry(
        "The motor controllers had no command for longer than their watchdog allows.",
        "Look for a stopped or overloaded host (`trocar status`: overruns) or a loose cable, then enable.",
        Reaction.S0,
    ),
    Code.DEVICE_POSITION_LIMIT: Entry(
        "An axis went beyond the limit that its motor controller guards.",
        "Bring the axis back by hand, check the homing, then enable.",
        Reaction.S0,
    ),
    Code.DEVICE_OVERSPEED: Entry(
        "An axis went faster than its motor controller allows.", "Check gains and encoder, then enable.", Reaction.S0
    ),
    Code.DEVICE_OVERCURRENT: Entry(
        "The current that a motor draws is not the one that it was commanded.",
        "Check motor and amplifier, then enable.",
        Reaction.S0,
    ),
    Code.DEVICE_BAD_COMMAND: Entry(
        "The motor controllers refused a command as not finite or out of range.",
        "This should never pass the guard: save the recording and report it.",
        Reaction.S0,
    ),
    Code.DEVICE_NOT_CONFIGURED: Entry(
        "The motor controllers lost their configuration, as after a power cut.", "Restart the daemon.", Reaction.S0
    ),
    Code.FEEDBACK_LOST: Entry(
        "The motor controllers stopped answering.",
        "Check the cable, the port and their power, then enable.",
        Reaction.S0,
    ),
    Code.LINK_ERROR: Entry(
        "The serial port reported an error.", "Check that the device is still plugged in, then enable.", Reaction.S0
    ),
    Code.COMMAND_NOT_FINITE: Entry(
        "The control law gave a NaN or an infinity.",
        "Look for a division by zero in the law, then enable.",
        Reaction.S0,
    ),
    Code.POSITION_LIMIT: Entry(
        "The set-point went beyond a joint's limit.",
        "Move away from the limit: `trocar disable`, free the arm by hand, then enable.",
        Reaction.S1,
    ),
    Code.VELOCITY_LIMIT: Entry(
        "A joint moved faster than its limit.", "Lower the speed of the motion, then enable.", Reaction.S1
    ),
    Code.EFFORT_LIMIT: Entry(
        "The control law asked for more effort than the joint may give.",
        "Check for a collision, the payload and the gains, then enable.",
        Reaction.S1,
    ),
    Code.SETPOINT_STEP: Entry(
        "The set-point jumped further in one cycle than the joint can move.",
        "Look at the stream or the law that made it, then enable.",
        Reaction.S1,
    ),
    Code.FOLLOWING_ERROR: Entry(
        "A joint is too far from its set-point.",
        "Check for a collision, the payload and the brakes, then enable.",
        Reaction.S1,
    ),
    Code.ENABLE_TIMEOUT: Entry(
        "The motor controllers did not power up in time.",
        "Check motor power and the e-stop chain, then enable.",
        Reaction.S0,
    ),
    Code.HOMING_FAILED: Entry(
        "The absolute sensors disagree with each other, with the encoders or with the joint limits.",
        "Check the sensor that the message names, then home again.",
        Reaction.S1,
    ),
    Code.POWER_LOST: Entry(
        "The motor controllers switched off without being told to.", "Check motor power, then enable.", Reaction.S0
    ),
    Code.STREAM_STALE: Entry(
        "The client that streams set-points fell silent; the arm holds.",
        "Check the client, then resume.",
        Reaction.S2,
    ),
    Code.STREAM_DEAD: Entry(
        "The client that streamed set-points did not come back.", "Restart the client, then enable.", Reaction.S1
    ),
    Code.PATH_FAILED: Entry(
        "The motion could not be followed to its end; the arm holds.",
        "Go round by way of intermediate poses, or use move_jp.",
        Reaction.S2,
    ),
    Code.FEEDBACK_NOT_FINITE: Entry(
        "The motor controllers sent a position that is not a number.",
        "Check sensors and firmware, then enable.",
        Reaction.S0,
    ),
    Code.LAW_TOO_SLOW: Entry(
        "The control law took longer than its budget; joint PD brings the arm to rest.",
        "Find what is slow with `trocar law check`, or raise law.budget; then restart the daemon or enable.",
        Reaction.S1,
    ),
    Code.LAW_RAISED: Entry(
        "The control law raised an exception or used an index out of range; joint PD brings the arm to rest.",
        "Look for raise, assert and indices in the law (`trocar law check` runs it), then enable.",
        Reaction.S1,
    ),
    Code.CORE_STALLED: Entry(
        "The cycle stands still; the motor controllers' watchdog has stopped the arm.",
        "Look for a loop without an end in the control law, then start the daemon again.",
        Reaction.S0,
    ),
}
