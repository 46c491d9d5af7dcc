"""The stand's compiled half: the cycle's kind of time in which the emulated arm is simulated between two cycles.

The three parts here take the places of `controller.clock`'s: `wait_stand` begins a cycle as long as ticks are granted,
`finish_stand` gives what the cycle has written to the arm and simulates one period. So core and arm are one function
call in one process, and time stands still between calls.

The cycle hands its parts the LOCKSTEP record; here it is the head of a STAND record, which says where everything else
is: the arm's records, the truth's ring, the mailbox, and the script of the commands to come.
"""

from typing import Any

import numba
import numpy as np
from numba import carray
from numba.core import types
from numba.extending import intrinsic

from controller.clock import FINISH, LOCKSTEP, NOW, WAIT
from controller.mailbox import CAPACITY, MAILBOX, MESSAGE
from firmware_bridge.native import BOARD_INPUTS, BOARD_OUTPUTS
from hil.fault_record import FAULTS
from hil.loop import RIG, simulate_tick
from hil.plant import PLANT
from hil.truth import TRUTH
from hil.wire import LANE
from kinematics.compiled import Array, array_of, kernel

__all__ = ["STAND", "WORLD", "finish_stand", "now_stand", "simulate_alone", "wait_stand"]

WORLD = ("rig", "plant", "shared", "faults", "to_device", "to_host", "inputs", "outputs", "truth")
"""The arm's records, in the order of `hil.loop.simulate_tick`."""

STAND = np.dtype(
    [
        ("lockstep", LOCKSTEP),  # first: what the cycle passes on; of it, only the stop condition is used
        *((name, "i8") for name in WORLD),  # addresses
        ("rig_fd", "i8"),  # the arm's end of the line
        ("truths", "i8"),  # address of the truth's ring,
        ("truth_capacity", "i8"),  # its slots, a power of two,
        ("truth_count", "i8"),  # and how many records it has had
        ("mailbox", "i8"),
        ("script_ticks", "i8"),  # address: the cycles that commands are due in, ascending
        ("script_messages", "i8"),  # address: the commands
        ("script_count", "i8"),
        ("script_next", "i8"),
        ("stalls", "i8"),  # address: how many periods late the cycles begin, from `stall_tick` on
        ("stall_count", "i8"),
        ("stall_tick", "i8"),
        ("stood", "i8"),  # periods of Fault.HOST_STALLED that have passed since the last cycle
    ],
    align=True,
)

_read: Any = types.ExternalFunction("read", types.intp(types.int32, types.intp, types.uintp))
_write: Any = types.ExternalFunction("write", types.intp(types.int32, types.intp, types.uintp))


def _pointer_to(kind: Any) -> Any:  # noqa: ANN401
    """Return an intrinsic that makes a pointer of an integer address; for use with `carray`."""

    @intrinsic  # type: ignore[untyped-decorator]
    def pointer(typingctx: Any, address: Any) -> Any:  # noqa: ANN401
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), codegen  # type: ignore[attr-defined]

    return pointer


_stand = _pointer_to(numba.from_dtype(STAND))
_rig, _plant = _pointer_to(numba.from_dtype(RIG)), _pointer_to(numba.from_dtype(PLANT))
_faults, _lane = _pointer_to(numba.from_dtype(FAULTS)), _pointer_to(numba.from_dtype(LANE))
_inputs, _outputs = _pointer_to(numba.from_dtype(BOARD_INPUTS)), _pointer_to(numba.from_dtype(BOARD_OUTPUTS))
_truth, _mailbox = _pointer_to(numba.from_dtype(TRUTH)), _pointer_to(numba.from_dtype(MAILBOX))
_messages, _words = _pointer_to(numba.from_dtype(MESSAGE)), _pointer_to(types.int64)


@kernel(types.void(array_of(STAND)))
def _simulate(stand: Array) -> None:
    """Let the arm live through one period, and keep its truth."""
    w = stand[0]
    truth = carray(_truth(w.truth), (1,))
    simulate_tick(
        carray(_rig(w.rig), (1,)),
        carray(_plant(w.plant), (1,)),
        carray(_faults(w.shared), (1,)),
        carray(_faults(w.faults), (1,)),
        carray(_lane(w.to_device), (1,)),
        carray(_lane(w.to_host), (1,)),
        carray(_inputs(w.inputs), (1,)),
        carray(_outputs(w.outputs), (1,)),
        truth,
    )
    truths = carray(_truth(w.truths), (w.truth_capacity,))
    truths[w.truth_count & (w.truth_capacity - 1)] = truth[0]
    w.truth_count += 1


@kernel(types.void(array_of(STAND)))
def _put_output(stand: Array) -> None:
    """Let the host read what the arm has sent."""
    w = stand[0]
    rig = carray(_rig(w.rig), (1,))
    r = rig[0]
    if r.output_count > 0:
        count = np.int64(_write(np.int32(w.rig_fd), r.output.ctypes.data, np.uintp(r.output_count)))
        r.bytes_out += max(count, 0)
        r.host_is_gone += r.output_count - max(count, 0)
        r.output_count = 0


@kernel(types.void(array_of(STAND)))
def simulate_alone(stand: Array) -> None:
    """Let the arm live through one period in which no host says anything: it has died, or stands still."""
    _put_output(stand)
    _simulate(stand)


@kernel(WAIT)
def wait_stand(clock: Array, lockstep: Array, link: Array, ring: Array) -> int:
    """Begin the next cycle: late where a stall is due, else in time; -1 when the granted ticks are used up."""
    c = clock[0]
    stand = carray(_stand(lockstep.ctypes.data), (1,))
    w = stand[0]
    rig = carray(_rig(w.rig), (1,))
    while c.granted > 0 and rig[0].host_stall_periods > 0:
        simulate_alone(stand)
        c.granted -= 1
        w.stood += 1
    if c.granted <= 0:
        return -1
    c.granted -= 1
    c.tick += 1
    late = 0
    if 0 <= c.tick - w.stall_tick < w.stall_count:
        stalls = carray(_words(w.stalls), (w.stall_count,))
        late = stalls[c.tick - w.stall_tick]
    for _ in range(late):
        simulate_alone(stand)
    late += w.stood
    w.stood = 0
    # As `clock.wait_real` does it: deadlines that have passed are skipped.
    c.skipped = late
    c.deadline_ns += (1 + late) * c.period_ns
    if late > 0:
        c.overruns += 1
    link[0].await_bytes = -1
    _put_output(stand)

    mailbox = carray(_mailbox(w.mailbox), (1,))
    ticks = carray(_words(w.script_ticks), (w.script_count,))
    messages = carray(_messages(w.script_messages), (w.script_count,))
    while w.script_next < w.script_count and ticks[w.script_next] <= c.tick:
        head = np.int64(mailbox[0].head)
        if head - np.int64(mailbox[0].tail) >= CAPACITY:
            break
        mailbox[0].messages[head % CAPACITY] = messages[w.script_next]
        mailbox[0].messages[head % CAPACITY].id = head + 1
        mailbox[0].head = head + 1
        w.script_next += 1
    return int(c.deadline_ns)


@kernel(NOW)
def now_stand(clock: Array) -> int:
    """Return the virtual time of the present cycle in ns."""
    return int(clock[0].deadline_ns)


@kernel(FINISH)
def finish_stand(clock: Array, lockstep: Array, link: Array, sample: Array) -> None:
    """Give the arm what the cycle has written, simulate one period; end the grant where its condition has come true."""
    c = clock[0]
    s = sample[0]
    stand = carray(_stand(lockstep.ctypes.data), (1,))
    w = stand[0]
    rig = carray(_rig(w.rig), (1,))
    r = rig[0]
    room = r.input.size - r.input_count
    count = np.int64(_read(np.int32(w.rig_fd), r.input.ctypes.data + r.input_count, np.uintp(room)))
    if count > 0:
        r.input_count += count
    _simulate(stand)
    t = lockstep[0]
    refused = s.command_id == t.stop_id and s.verdict != 0
    if t.stop_id != 0 and (refused or s.finished_id == t.stop_id):
        c.granted = 0
    if (t.stop_states >> np.int64(s.state)) & 1:
        c.granted = 0
