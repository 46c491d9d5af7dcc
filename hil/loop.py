"""The emulated arm's compiled loop: wire, firmware and plant, in real time or in lock-step with the core.

The rig's own time starts at 0 and only its substeps move it. A substep of 250 us begins with the firmware's tick, then
the body moves; bytes that arrive meanwhile reach the firmware after that tick and before the next one, and what it
answers goes on the line at that very moment.
"""

from typing import Any

import numpy as np
from numba.core import types

from controller import clock
from controller.clock import CORE_TICK, LOCKSTEP, READERS_NS, RIG_TICK, await_change, tell_change
from hil.board import BUFFER, RIG, SUBSTEP_NS, WORLD_TYPES, end_events, serve, substep, take_faults
from hil.fault_record import FAULTS
from hil.intruder import pass_bytes
from hil.truth import TRUTH, record_truth
from hil.wire import LANE, NOTHING, lane_arrival, lane_is_empty, take_byte
from kinematics.compiled import Array, array_of, kernel
from telemetry.ring import RING_HEADER, fence_acquire, fence_release, lag, publish

__all__ = ["BUFFER", "RIG", "SUBSTEP_NS", "run_lockstep", "run_real", "simulate_tick"]

FOREVER_NS = 2**62
LATE_NS = 20_000_000  # woken later than this, the rig drops the time that it lost instead of catching up in a burst
WAKE_UP_NS = 40_000  # about what a machine takes to wake a process: allowed for, as it is no property of the line
LONGEST_WAIT_NS = 750_000  # beyond the substep simulated last
CLOCK_MONOTONIC = 1  # linux/time.h
POLLIN = 1  # asm-generic/poll.h
TCGETS2 = 0x802C542A  # asm-generic/ioctls.h: _IOR('T', 0x2A, struct termios2), 44 bytes
TERMIOS2_OSPEED = 10  # struct termios2 in words of 4 bytes: four of flags, c_line and 19 characters, the two speeds
BYTES_NS = 1_000_000  # lock-step: wait so long for the host's bytes before looking at the barrier again

_RIG, _FAULTS, _LANE, _TRUTH = array_of(RIG), array_of(FAULTS), array_of(LANE), array_of(TRUTH)
_HEADER, _LOCKSTEP = array_of(RING_HEADER), array_of(LOCKSTEP)

_clock_gettime: Any = clock.clock_gettime
_clock_nanosleep: Any = clock.clock_nanosleep
_read: Any = types.ExternalFunction("read", types.intp(types.int32, types.intp, types.uintp))
_write: Any = types.ExternalFunction("write", types.intp(types.int32, types.intp, types.uintp))
_ppoll: Any = types.ExternalFunction("ppoll", types.int32(types.intp, types.uintp, types.intp, types.intp))
_ioctl: Any = types.ExternalFunction("ioctl", types.int32(types.int32, types.uintp, types.intp))


@kernel(types.void(_RIG, _FAULTS, _FAULTS, _LANE, types.int64))
def _put_input(rig: Array, shared: Array, faults: Array, to_device: Array, now_ns: int) -> None:
    """Put what was read from the host on the line."""
    r = rig[0]
    pass_bytes(to_device, faults, shared, r.input[:], r.input_count, now_ns, r.is_garbled)
    r.bytes_in += r.input_count
    r.input_count = 0


@kernel(types.void(_RIG, _FAULTS, _FAULTS, _LANE, types.int64))
def _take_output(rig: Array, shared: Array, faults: Array, to_host: Array, until_ns: int) -> None:
    """Collect the bytes that the host can read by then."""
    r = rig[0]
    r.output_count = 0
    while r.output_count < r.output.size:
        byte = take_byte(to_host, faults, shared, until_ns)
        if byte == NOTHING:
            return
        r.output[r.output_count] = byte
        r.output_count += 1


@kernel(types.void(*WORLD_TYPES, _TRUTH))
def simulate_tick(
    rig: Array,
    plant: Array,
    shared: Array,
    faults: Array,
    to_device: Array,
    to_host: Array,
    inputs: Array,
    outputs: Array,
    truth: Array,
) -> None:
    """Simulate one host period: take `input` as written at its start, leave in `output` what is readable at its end."""
    r = rig[0]
    if r.host_stall_periods > 0:
        r.host_stall_periods -= 1
    take_faults(rig, shared, faults)
    _put_input(rig, shared, faults, to_device, r.time_ns)
    for _ in range(r.substeps_per_tick):
        substep(rig, plant, shared, faults, to_device, to_host, inputs, outputs)
        serve(rig, shared, faults, to_device, to_host, r.time_ns)
    _take_output(rig, shared, faults, to_host, r.time_ns)
    r.substep = 0
    r.tick += 1
    record_truth(plant, faults, inputs, outputs, truth)
    truth[0].tick = r.tick
    truth[0].t_ns = r.tick * r.period_ns
    end_events(rig, faults)


@kernel(types.void(_HEADER, _TRUTH, _TRUTH))
def _push(header: Array, slots: Array, truth: Array) -> None:
    slots[np.int64(header[0].head) & (slots.size - 1)] = truth[0]
    publish(header)


@kernel(types.void(_RIG, types.int64))
def _read_host(rig: Array, most: int) -> None:
    """Append to `input` what the host has written, at most so much; also look at the baud rate it was written at."""
    r = rig[0]
    room = min(r.input.size - r.input_count, most)
    count = np.int64(_read(np.int32(r.host_fd), r.input.ctypes.data + r.input_count, np.uintp(room)))
    if count <= 0:
        return  # EAGAIN; there is no other error while the rig itself keeps the port open
    r.input_count += count
    if _ioctl(np.int32(r.port_fd), np.uintp(TCGETS2), r.termios2.ctypes.data) == 0:
        r.is_garbled = 1 if np.int64(r.termios2[TERMIOS2_OSPEED]) != r.baud else 0


@kernel(types.void(_RIG))
def _write_host(rig: Array) -> None:
    """Write `output`; like a UART, wait for nobody: what the host leaves no room for is lost."""
    r = rig[0]
    if r.output_count == 0:
        return
    count = np.int64(_write(np.int32(r.host_fd), r.output.ctypes.data, np.uintp(r.output_count)))
    r.bytes_out += max(count, 0)
    r.host_is_gone += r.output_count - max(count, 0)
    r.output_count = 0


@kernel(types.int64(_RIG))
def _now(rig: Array) -> int:
    """Return CLOCK_MONOTONIC in ns."""
    timespec = rig[0].timespec
    _clock_gettime(np.int32(CLOCK_MONOTONIC), timespec.ctypes.data)
    return int(timespec[0] * 1_000_000_000 + timespec[1])


@kernel(types.void(*WORLD_TYPES, _TRUTH, _HEADER, _TRUTH))
def run_real(
    rig: Array,
    plant: Array,
    shared: Array,
    faults: Array,
    to_device: Array,
    to_host: Array,
    inputs: Array,
    outputs: Array,
    truth: Array,
    header: Array,
    slots: Array,
) -> None:
    """Run on the real clock until `stop`.

    The loop wakes when the host has written, when its last byte is through, when the reply's last bit is, and once a
    millisecond; then it simulates the substeps that have begun meanwhile, each after the bytes that came before it. So
    a command is answered after the time that its bytes and the reply's take, whatever its phase to the substeps.
    """
    r = rig[0]
    r.origin_ns = _now(rig)
    wake_ns = 0
    read_ns = 0
    while not r.stop:
        now_ns = _now(rig) - r.origin_ns
        if now_ns - r.time_ns > LATE_NS:
            lost_ns = now_ns - r.time_ns
            r.lost_ns += lost_ns
            r.lost_count += 1
            r.origin_ns += lost_ns
            now_ns -= lost_ns
            wake_ns = now_ns
            read_ns = now_ns
        _read_host(rig, BUFFER)
        # When exactly the host wrote is not known: after the last look, and before the rig was to wake.
        _put_input(rig, shared, faults, to_device, max(read_ns, min(now_ns - WAKE_UP_NS, wake_ns)))
        read_ns = now_ns
        _take_output(rig, shared, faults, to_host, now_ns + WAKE_UP_NS)
        _write_host(rig)

        while r.time_ns <= now_ns:
            serve(rig, shared, faults, to_device, to_host, r.time_ns)
            substep(rig, plant, shared, faults, to_device, to_host, inputs, outputs)
            if r.substep == r.substeps_per_tick:
                r.substep = 0
                r.tick += 1
                record_truth(plant, faults, inputs, outputs, truth)
                end_events(rig, faults)
                truth[0].tick = r.tick
                truth[0].t_ns = r.origin_ns + r.time_ns
                _push(header, slots, truth)
        serve(rig, shared, faults, to_device, to_host, now_ns)

        wake_ns = r.time_ns + LONGEST_WAIT_NS
        if not lane_is_empty(to_device):
            wake_ns = min(wake_ns, lane_arrival(to_device))
        if not lane_is_empty(to_host):
            wake_ns = min(wake_ns, lane_arrival(to_host) - WAKE_UP_NS)
        wait_ns = r.origin_ns + wake_ns - _now(rig)
        if wait_ns > 0:
            r.timespec[0] = wait_ns // 1_000_000_000
            r.timespec[1] = wait_ns % 1_000_000_000
            r.pollfd[0] = r.host_fd | POLLIN << 32
            _ppoll(r.pollfd.ctypes.data, np.uintp(1), r.timespec.ctypes.data, 0)


@kernel(types.void(_RIG))
def _await_host(rig: Array) -> None:
    """Sleep until the host has written something, or for BYTES_NS.

    A loop that looks all the time would keep the kernel's worker that carries the bytes from its CPU.
    """
    r = rig[0]
    r.timespec[0] = 0
    r.timespec[1] = BYTES_NS
    r.pollfd[0] = r.host_fd | POLLIN << 32
    _ppoll(r.pollfd.ctypes.data, np.uintp(1), r.timespec.ctypes.data, 0)


@kernel(types.void(*WORLD_TYPES, _TRUTH, _HEADER, _TRUTH, _LOCKSTEP))
def run_lockstep(
    rig: Array,
    plant: Array,
    shared: Array,
    faults: Array,
    to_device: Array,
    to_host: Array,
    inputs: Array,
    outputs: Array,
    truth: Array,
    header: Array,
    slots: Array,
    lockstep: Array,
) -> None:
    """Run one tick for each of the core's until `stop`; before its first, answer it while time stands still."""
    r = rig[0]
    w = lockstep[0]
    while not r.stop and not w.shutdown:
        fence_acquire()
        is_active = w.active
        if not is_active:
            _read_host(rig, BUFFER)
            if r.input_count > 0:
                take_faults(rig, shared, faults)
                _put_input(rig, shared, faults, to_device, r.time_ns)
                serve(rig, shared, faults, to_device, to_host, FOREVER_NS)
                _take_output(rig, shared, faults, to_host, FOREVER_NS)
                to_device[0].free_ps = 0
                to_host[0].free_ps = 0
                w.rig_bytes = r.bytes_out + r.output_count  # before the host can have read them and look
                fence_release()
                _write_host(rig)
                continue
        elif (w.core_tick > r.tick or r.host_stall_periods > 0) and np.int64(lag(header)) * 2 < slots.size:
            fence_acquire()
            if r.host_stall_periods == 0 and r.bytes_in + r.input_count < w.core_bytes:
                _read_host(rig, w.core_bytes - r.bytes_in - r.input_count)
                if r.bytes_in + r.input_count < w.core_bytes:
                    _await_host(rig)
                    continue
            simulate_tick(rig, plant, shared, faults, to_device, to_host, inputs, outputs, truth)
            _push(header, slots, truth)
            _write_host(rig)
            if r.host_stall_periods > 0:
                continue  # the core is not told: its clock will jump when the stall is over
            w.rig_bytes = r.bytes_out
            fence_release()
            w.rig_tick = r.tick
            tell_change(lockstep.ctypes.data + RIG_TICK)
            continue
        if not is_active:
            _await_host(rig)
        elif w.core_tick > r.tick or r.host_stall_periods > 0:  # the truth's readers are far behind
            r.timespec[0] = 0
            r.timespec[1] = READERS_NS
            _clock_nanosleep(np.int32(CLOCK_MONOTONIC), np.int32(0), r.timespec.ctypes.data, 0)
        else:
            r.timespec[0] = 0
            r.timespec[1] = BYTES_NS
            await_change(lockstep.ctypes.data + CORE_TICK, r.tick, r.timespec.ctypes.data)
