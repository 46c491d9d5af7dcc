"""The motor controllers' board: the real firmware, what people touch, and the faults of the controllers themselves.

A substep of 250 us begins with the firmware's tick, then the body moves. Here is also where a new set of faults comes
into force, and where those that strike once begin and end.
"""

from typing import Any

import numpy as np
from numba.core import types

from firmware_bridge import native
from firmware_bridge.native import BOARD_INPUTS, BOARD_OUTPUTS, FW_TICK_US
from hil.fault_record import BOTH, FAULTS, MAX_AXES, Fault
from hil.intruder import babble, replay_frame
from hil.plant import PLANT, plant_substep, restart_encoders
from hil.wire import LANE, NOTHING, put_byte, take_byte
from kinematics.compiled import Array, array_of, kernel
from telemetry.ring import fence_acquire

__all__ = ["BUFFER", "RIG", "SUBSTEP_NS", "WORLD_TYPES", "end_events", "serve", "substep", "take_faults"]

SUBSTEP_NS = FW_TICK_US * 1000
BUFFER = 4096  # bytes, as much as a pseudo-terminal holds

RIG = np.dtype(
    [
        ("firmware", "i8"),  # address of its memory
        ("host_fd", "i8"),  # the pseudo-terminal's controlling side; -1: none
        ("port_fd", "i8"),  # its other side, kept open
        ("baud", "i8"),  # the device's
        ("is_garbled", "i8"),  # the host's is another one
        ("substeps_per_tick", "i8"),
        ("period_ns", "i8"),
        ("stop", "i8"),  # set by the process
        ("time_ns", "i8"),  # how far the arm has been simulated: the rig's own time
        ("tick", "i8"),  # host periods simulated
        ("substep", "i8"),  # substeps of the present one done
        ("power_off_ns", "i8"),  # when the firmware last switched the power off: in which substep
        ("origin_ns", "i8"),  # CLOCK_MONOTONIC at the rig's time 0
        ("lost_ns", "i8"),  # time dropped because the rig was woken too late
        ("lost_count", "i8"),
        ("bytes_in", "i8"),  # read from the host
        ("bytes_out", "i8"),  # written to the host
        ("host_is_gone", "i8"),  # bytes that the pseudo-terminal did not take
        ("timespec", "i8", (2,)),
        ("pollfd", "i8", (1,)),  # struct pollfd: int, short, short
        ("termios2", "i4", (12,)),
        # what strikes once: the number of what was begun last, and how much of it is left
        ("restart", "i8"),
        ("restart_is_due", "i8"),
        ("restart_substeps", "i8"),
        ("servo_stall", "i8"),
        ("servo_stall_substeps", "i8"),
        ("host_stall", "i8"),
        ("host_stall_periods", "i8"),  # that are to be simulated before the host goes on: whoever runs the rig does so
        ("reply_late", "i8"),
        ("reply_late_count", "i8"),
        ("reply_late_ns", "i8"),  # when the late one arrives
        ("replay", "i8"),
        ("replay_count", "i8"),
        ("replay_ns", "i8"),  # when the next one is due
        ("pedal_substeps", "i8"),  # since the pedal began to bounce
        ("tool_substeps", "i8"),
        ("tool", "i8"),  # identity of the instrument that is plugged in
        ("input", "u1", (BUFFER,)),
        ("input_count", "i8"),
        ("output", "u1", (BUFFER,)),
        ("output_count", "i8"),
        ("byte", "u1", (8,)),
        ("reply", "u1", (1024,)),
    ],
    align=True,
)


_RIG, _PLANT, _FAULTS, _LANE = array_of(RIG), array_of(PLANT), array_of(FAULTS), array_of(LANE)
_INPUTS, _OUTPUTS = array_of(BOARD_INPUTS), array_of(BOARD_OUTPUTS)
WORLD_TYPES = (_RIG, _PLANT, _FAULTS, _FAULTS, _LANE, _LANE, _INPUTS, _OUTPUTS)

_RESTART, _SERVO_STALL = np.uint64(Fault.CONTROLLER_RESTART), np.uint64(Fault.SERVO_STALLED)
_HOST_STALL, _REPLAY = np.uint64(Fault.HOST_STALLED), np.uint64(Fault.COMMAND_REPLAYED)
_LATE = np.uint64(Fault.REPLY_LATE_ONCE)

_fw_receive: Any = native.fw_receive
_fw_tick: Any = native.fw_tick
_fw_transmit: Any = native.fw_transmit
_fw_break: Any = native.fw_break
_fw_reset: Any = native.fw_reset


@kernel(types.void(_RIG, _FAULTS))
def _begin_events(rig: Array, faults: Array) -> None:
    """Let what strikes once begin, unless it has; one that was taken away ends."""
    r, f = rig[0], faults[0]
    if f.restart != r.restart:
        r.restart = f.restart
        if f.restart:  # a controller that is starting comes up, whatever is taken away
            r.restart_is_due = 1
            r.restart_substeps = f.restart_substeps
    if f.servo_stall != r.servo_stall:
        r.servo_stall = f.servo_stall
        r.servo_stall_substeps = f.servo_stall_substeps
    if f.host_stall != r.host_stall:
        r.host_stall = f.host_stall
        r.host_stall_periods = f.host_stall_periods
    if f.reply_late != r.reply_late:
        r.reply_late = f.reply_late
        r.reply_late_count = 1 if f.reply_late else 0
    if f.replay != r.replay:
        r.replay = f.replay
        r.replay_count = f.replay_count
        r.replay_ns = r.time_ns


@kernel(types.void(_RIG, _FAULTS))
def end_events(rig: Array, faults: Array) -> None:
    """Take the bits away of what has struck and is over; called when the truth of the period is written."""
    r, f = rig[0], faults[0]
    over = np.uint64(0)
    if not r.restart_is_due:
        over |= _RESTART
    if r.servo_stall_substeps == 0:
        over |= _SERVO_STALL
    if r.host_stall_periods == 0:
        over |= _HOST_STALL
    if r.reply_late_count == 0 and r.reply_late_ns <= r.time_ns:
        over |= _LATE
    if r.replay_count == 0:
        over |= _REPLAY
    f.bits &= ~over


@kernel(types.void(_RIG, _FAULTS, _FAULTS))
def _take_faults(rig: Array, shared: Array, faults: Array) -> None:
    """Take the set of faults that is due, if it is whole."""
    version = shared[0].version
    fence_acquire()
    faults[0] = shared[0]
    fence_acquire()
    if shared[0].version != version:
        faults[0].version = 0  # it was changed meanwhile: take it again in the next substep
        return
    _begin_events(rig, faults)
    end_events(rig, faults)  # those that were over before still stand in the set
    parts = faults[0].watchdog_dead | faults[0].limits_dead << 1
    _fw_break(rig[0].firmware, np.uint32(parts))
    shared[0].applied_us = rig[0].time_ns // 1000
    shared[0].applied_version = version


@kernel(types.void(_RIG, _FAULTS, _FAULTS))
def take_faults(rig: Array, shared: Array, faults: Array) -> None:
    """Take a new set of faults when it is whole and due."""
    now_us = rig[0].time_ns // 1000
    shared[0].time_us = now_us
    version = shared[0].version
    if version != faults[0].version and not version & 1 and shared[0].begin_us <= now_us:
        _take_faults(rig, shared, faults)


@kernel(types.void(_RIG, _FAULTS, _FAULTS, _LANE, _LANE, types.int64))
def serve(rig: Array, shared: Array, faults: Array, to_device: Array, to_host: Array, until_ns: int) -> None:
    """Give the firmware the bytes that have arrived by then, one by one, and put its answers on the line."""
    r = rig[0]
    while True:
        byte = take_byte(to_device, faults, shared, until_ns)
        if byte == NOTHING:
            return
        if faults[0].controller_frozen or r.restart_is_due:
            shared[0].bytes_unheard += 1
            continue
        r.byte[0] = byte
        _fw_receive(r.firmware, r.byte.ctypes.data, np.uintp(1))
        arrived_ns = to_device[0].taken_ns
        count = np.int64(_fw_transmit(r.firmware, r.reply.ctypes.data, np.uintp(r.reply.size)))
        if count == 0:
            continue
        delay_ns = faults[0].reply_delay_ns
        if r.reply_late_count > 0:
            r.reply_late_count = 0
            delay_ns += faults[0].reply_late_periods * r.period_ns
            r.reply_late_ns = arrived_ns + delay_ns
            shared[0].replies_late += 1
        for i in range(count):
            put_byte(to_host, faults, shared, int(np.int64(r.reply[i])), arrived_ns, delay_ns, r.is_garbled)


@kernel(types.void(_RIG, _FAULTS, _INPUTS))
def _touch(rig: Array, faults: Array, inputs: Array) -> None:
    """Show the board what people touch: e-stop, pedal, instrument."""
    r, f = rig[0], faults[0]
    pressed = BOTH if f.estop_open else 0
    open_ = (pressed | f.estop_channel_open) & ~f.estop_channel_stuck
    released = f.pedal_released
    if f.pedal_bounce_substeps > 0:
        if r.pedal_substeps // f.pedal_bounce_substeps % 2 == 0:
            released = BOTH
        r.pedal_substeps += 1
    else:
        r.pedal_substeps = 0
    pedal = BOTH & ~released | f.pedal_channel_stuck
    for i in range(2):
        inputs[0].estop_open[i] = open_ >> i & 1
        inputs[0].pedal[i] = pedal >> i & 1
    tool = f.tool if f.tool_changed else r.tool
    if f.tool_bounce_substeps > 0:
        if r.tool_substeps // f.tool_bounce_substeps % 2 == 0:
            tool = 0
        r.tool_substeps += 1
    else:
        r.tool_substeps = 0
    inputs[0].tool = tool


@kernel(types.int64(_RIG, _PLANT, _FAULTS, _OUTPUTS))
def _is_running(rig: Array, plant: Array, faults: Array, outputs: Array) -> int:
    """Return 1 when a faulty firmware ticks in this substep after all.

    A controller that starts has its outputs off until it is up.
    """
    r = rig[0]
    if r.restart_is_due:
        if r.restart_substeps == 0:
            r.restart_is_due = 0
            _fw_reset(r.firmware)
            restart_encoders(plant)
            return 1
        r.restart_substeps -= 1
        outputs[0].power = 0
        outputs[0].brakes_released = 0
        for j in range(MAX_AXES):
            outputs[0].current[j] = 0.0
    elif not faults[0].controller_frozen:
        r.servo_stall_substeps -= 1
    return 0


@kernel(types.void(*WORLD_TYPES))
def substep(
    rig: Array,
    plant: Array,
    shared: Array,
    faults: Array,
    to_device: Array,
    to_host: Array,
    inputs: Array,
    outputs: Array,
) -> None:
    """Simulate 250 us."""
    r = rig[0]
    take_faults(rig, shared, faults)
    is_due = r.replay_count > 0 and r.time_ns >= r.replay_ns
    if is_due and replay_frame(to_device, faults, shared, faults[0].replay_age, r.time_ns):
        r.replay_count -= 1
        r.replay_ns = r.time_ns + r.period_ns
    _touch(rig, faults, inputs)
    was_powered = outputs[0].power
    is_faulty = r.restart_is_due | faults[0].controller_frozen | r.servo_stall_substeps
    if not is_faulty or _is_running(rig, plant, faults, outputs):
        _fw_tick(r.firmware, inputs.ctypes.data, outputs.ctypes.data)
    if was_powered and not outputs[0].power:
        r.power_off_ns = r.time_ns
    plant_substep(plant, faults, outputs, inputs)
    r.time_ns += SUBSTEP_NS
    r.substep += 1
    if faults[0].babble:
        babble(to_host, faults, shared, r.time_ns, SUBSTEP_NS)
