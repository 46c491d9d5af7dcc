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
    IN_KEEP_OUT = 25
    STREAM_JUMP = 26
    PEDAL_UP = 27
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
    LINK_NOISY = 122
    PORT_FLOODED = 123
    ENCODER_JUMP = 124
    MOTION_RESIDUAL = 125
    SENSOR_MISMATCH = 126
    MOTOR_WARM = 127
    MOTOR_HOT = 128
    STALLED = 129
    STALL_PERSISTS = 130
    CYCLES_LATE = 131
    CYCLE_GAP = 132
    WORKSPACE = 133
    REMOTE_CENTER_OFF = 134
    REMOTE_CENTER_LOST = 135
    TOOL_CHANGED = 136
    PEDAL_RELEASED = 137
    STREAM_REFUSED = 138
    ACCELERATION_LIMIT = 139
    LAW_TOO_SLOW = 140
    LAW_RAISED = 141
    CORE_STALLED = 142
    DEVICE_ESTOP_CHANNELS = 143
    DEVICE_PEDAL_CHANNELS = 144
    DEVICE_OVERTEMPERATURE = 145
    DEVICE_TAMPERED = 146
    WATCHDOG_UNPROVED = 150
    BRAKE_SLIPS = 151
    MOTOR_TEST = 152
    ENCODER_SIGN = 153
    TOOL_WRONG = 154


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
    Code.IN_KEEP_OUT: Entry(
        "The goal lies outside the workspace that the configuration allows, or inside a volume to keep out of.",
        "Choose a goal that [[guard.volume]] of the configuration allows.",
        Reaction.NONE,
    ),
    Code.STREAM_JUMP: Entry(
        "After a pause a stream must begin where the arm is, and this one does not.",
        "Re-reference the master: send the arm's own set-point first, or use servo_jr, servo_cr.",
        Reaction.NONE,
    ),
    Code.PEDAL_UP: Entry("The pedal is not pressed.", "Press it, then resume.", Reaction.NONE),
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
        "A joint has been asked for all the effort that it may give, for too long.",
        "Check for a collision, the payload and the gains, then resume.",
        Reaction.S2,
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
    Code.LINK_NOISY: Entry(
        "Too many frames from the motor controllers were corrupted.",
        "Check shield, connectors and cable length, then enable.",
        Reaction.S1,
    ),
    Code.PORT_FLOODED: Entry(
        "The port brings more bytes than the motor controllers send: one of them babbles, or a stranger is on the bus.",
        "Find the device that talks out of turn, then enable.",
        Reaction.S0,
    ),
    Code.ENCODER_JUMP: Entry(
        "An encoder jumped further than its joint can move in a cycle.",
        "Check the encoder, its cable and its coupling; home again after enabling.",
        Reaction.S0,
    ),
    Code.MOTION_RESIDUAL: Entry(
        "A joint does not move as it is commanded: its encoder stands still or counts backwards, its motor runs away, "
        "gives no torque, or is blocked.",
        "Move the joint by hand and watch `trocar watch`: check encoder, motor and mechanics, then enable.",
        Reaction.S0,
    ),
    Code.SENSOR_MISMATCH: Entry(
        "A joint's two position sensors disagree.",
        "Check both sensors and their couplings, then enable and home again.",
        Reaction.S0,
    ),
    Code.MOTOR_WARM: Entry("A motor is warm.", "Reduce load or pace; at the next limit the arm stops.", Reaction.NONE),
    Code.MOTOR_HOT: Entry(
        "A motor is too hot, or its temperature rises faster than a motor's can.",
        "Let it cool, look for friction or a payload too heavy, then enable.",
        Reaction.S1,
    ),
    Code.STALLED: Entry(
        "A motor pushes hard and its joint stands still; the arm holds.",
        "Look for what blocks the joint, move away from it, then resume.",
        Reaction.S2,
    ),
    Code.STALL_PERSISTS: Entry(
        "A joint stayed blocked while the arm held.", "Free the joint, then enable.", Reaction.S1
    ),
    Code.CYCLES_LATE: Entry(
        "Several cycles began late within a short time.",
        "Find out what else runs on the cycle's CPU: `trocar doctor`; then enable.",
        Reaction.S1,
    ),
    Code.CYCLE_GAP: Entry(
        "The host stood still for longer than the motor controllers' watchdog; they have stopped the arm.",
        "Find out what stopped the process (SIGSTOP, suspend, an overloaded machine): `trocar doctor`; then enable.",
        Reaction.S0,
    ),
    Code.WORKSPACE: Entry(
        "The tip came so near to the wall of an allowed volume that it must stop now to stay inside.",
        "Resume, and move away from the wall; [[guard.volume]] of the configuration says where it is.",
        Reaction.S2,
    ),
    Code.REMOTE_CENTER_OFF: Entry(
        "The instrument's shaft is off the remote centre; the arm holds.",
        "Look for a collision or a wrong model of the arm, then resume.",
        Reaction.S2,
    ),
    Code.REMOTE_CENTER_LOST: Entry(
        "The instrument's shaft left the remote centre.",
        "Retract the instrument by hand, check model and registration of the arm, then enable.",
        Reaction.S1,
    ),
    Code.TOOL_CHANGED: Entry(
        "The instrument was taken out or exchanged while the motors were on.",
        "Put the instrument of the configuration in, then enable and home again.",
        Reaction.S1,
    ),
    Code.PEDAL_RELEASED: Entry("The pedal was released; the arm holds.", "Press it, then resume.", Reaction.S2),
    Code.STREAM_REFUSED: Entry(
        "Three commands of a stream in a row were refused; the arm holds.",
        "Look at the refusals' own codes, mend the client, then resume.",
        Reaction.S2,
    ),
    Code.ACCELERATION_LIMIT: Entry(
        "The set-point's velocity changed faster in one cycle than the guard allows.",
        "Look at the stream or the law that made it, then enable.",
        Reaction.S1,
    ),
    Code.DEVICE_ESTOP_CHANNELS: Entry(
        "The two contacts of the emergency stop disagree: one is stuck, or a wire is broken.",
        "Have the emergency stop repaired; press and release it once to show that both contacts work, then enable.",
        Reaction.S0,
    ),
    Code.DEVICE_PEDAL_CHANNELS: Entry(
        "The two contacts of the pedal disagree: one is stuck, or a wire is broken.",
        "Have the pedal repaired, then enable.",
        Reaction.S0,
    ),
    Code.DEVICE_OVERTEMPERATURE: Entry(
        "A motor is hotter than its motor controller allows.", "Let it cool, find the cause, then enable.", Reaction.S0
    ),
    Code.DEVICE_TAMPERED: Entry(
        "A command reached the motor controllers changed, with a right check sum but a wrong authentication tag.",
        "Look for another program between Trocar and the port; check that both sides have the same key, then enable.",
        Reaction.S0,
    ),
    Code.WATCHDOG_UNPROVED: Entry(
        "The motor controllers kept their power although no command came for longer than their watchdog allows.",
        "Do not use this arm: without its watchdog nothing stops it when the host dies. Repair the motor controllers.",
        Reaction.S0,
    ),
    Code.BRAKE_SLIPS: Entry(
        "A brake did not hold its joint against the motor.", "Have the brake repaired, then enable.", Reaction.S0
    ),
    Code.MOTOR_TEST: Entry(
        "A motor's current did not follow what it was told while the brakes were on.",
        "Check motor, leads and amplifier, then enable.",
        Reaction.S0,
    ),
    Code.ENCODER_SIGN: Entry(
        "A joint moved against the torque of the test at enabling, or not at all: its encoder counts backwards, or its "
        "motor turns the wrong way.",
        "Check the wiring of encoder and motor, and the signs in the arm's file, then enable.",
        Reaction.S0,
    ),
    Code.TOOL_WRONG: Entry(
        "The instrument that is plugged in is not the one of the configuration.",
        "Put the right instrument in, or correct driver.tool, then enable.",
        Reaction.S0,
    ),
}
