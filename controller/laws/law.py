"""What the cycle knows of a control law: its signature, its memory, and how it is called so that it can do no harm."""

import numpy as np
from numba.core import types

from controller.catalogue import Code
from controller.clock import CLOCK_MONOTONIC, SECOND_NS, clock_gettime
from controller.guard.records import JOINT_COMMAND
from controller.laws.parameters import MAX_PARAMETERS, SHARED
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import SAMPLE

__all__ = ["LAW", "LAW_STATE", "MEMORY", "call_law", "set_parameters"]

MEMORY = 64
"""float64 that a law keeps from tick to tick."""

LAW = types.int64(array_of(ARM), types.float64[::1], types.float64[::1], array_of(SAMPLE), array_of(JOINT_COMMAND))
"""law(arm, parameters, memory, sample, command): 0, or 1: the function raised. Made by `controller.laws.compile`."""

LAW_STATE = np.dtype(
    [
        # set once
        ("enabled", "i8"),  # 0: joint PD alone
        ("budget_ns", "i8"),  # 0: its time is not measured
        ("period_ns", "i8"),
        # state
        ("active", "i8"),  # it was called in the cycle before
        ("slow", "i8"),  # calls in a row beyond the budget
        ("memory", "f8", (MEMORY,)),
        ("timespec", "i8", (2,)),  # for libc
    ],
    align=True,
)

SLOW_CALLS = 3  # so many calls in a row beyond the budget are a fault; one beyond a whole period is one at once
CLOCK_THREAD_CPUTIME_ID = 3  # linux/time.h: stands still while another thread has the CPU

_OK, _RAISED, _TOO_SLOW = int(Code.OK), int(Code.LAW_RAISED), int(Code.LAW_TOO_SLOW)
_BAD_PARAMETER = int(Code.BAD_LAW_PARAMETER)
_STATE, _SHARED = array_of(LAW_STATE), array_of(SHARED)


@kernel(types.int64(types.int32, _STATE))
def _time(clock: int, state: Array) -> int:
    """Return a clock's time in ns."""
    timespec = state[0].timespec
    clock_gettime(clock, timespec.ctypes.data)
    return int(timespec[0] * SECOND_NS + timespec[1])


@kernel(
    types.int64(
        types.FunctionType(LAW),
        array_of(ARM),
        _STATE,
        _SHARED,
        array_of(SAMPLE),
        array_of(JOINT_COMMAND),
        array_of(SAMPLE),
        array_of(JOINT_COMMAND),
    )
)
def call_law(
    law: Part,
    arm: Array,
    state: Array,
    shared: Array,
    sample: Array,
    command: Array,
    own_sample: Array,
    own_command: Array,
) -> int:
    """Let a law work on its own copies; take its command over and return 0, or leave `command` alone and return a code.

    What is recorded and what stops the arm is out of its reach. Its time is counted by the thread's CPU clock, so that
    a busy machine is not blamed on it; that clock costs a system call, so it is read again only where the wall clock
    says that it is worth it.

    Args:
        law: The law.
        arm: Its own copy of ARM, (1,).
        state: LAW_STATE, (1,).
        shared: SHARED, (1,).
        sample: The cycle's sample, SAMPLE, (1,).
        command: JOINT_COMMAND, (1,): joint PD's; the law's own where it returns 0.
        own_sample: Working memory, SAMPLE, (1,).
        own_command: Working memory, JOINT_COMMAND, (1,).
    """
    st = state[0]
    sh = shared[0]
    if not st.active:
        st.active = 1
        st.slow = 0
        for i in range(MEMORY):
            st.memory[i] = 0.0
    own_sample[0] = sample[0]
    own_command[0] = command[0]
    cpu_begin = 0
    if st.budget_ns > 0:
        cpu_begin = _time(CLOCK_THREAD_CPUTIME_ID, state)
    begin = _time(CLOCK_MONOTONIC, state)
    sh.inside = 1
    raised = law(arm, sh.parameters[:], st.memory[:], own_sample, own_command)
    sh.inside = 0
    took = _time(CLOCK_MONOTONIC, state) - begin
    sh.last_ns = took
    sh.longest_ns = max(sh.longest_ns, took)
    if raised != 0:
        return _RAISED
    if st.budget_ns > 0 and took > st.budget_ns:
        took = _time(CLOCK_THREAD_CPUTIME_ID, state) - cpu_begin
        if took > st.budget_ns:
            st.slow += 1
            if st.slow >= SLOW_CALLS or took > st.period_ns:
                return _TOO_SLOW
        else:
            st.slow = 0
    else:
        st.slow = 0
    command[0] = own_command[0]
    return _OK


@kernel(types.int64(_SHARED, types.float64[::1]))
def set_parameters(shared: Array, parameters: Array) -> int:
    """Take new parameters, all or none; return 0 or a code. A nan leaves a parameter as it is."""
    sh = shared[0]
    for i in range(MAX_PARAMETERS):
        if np.isinf(parameters[i]):
            return _BAD_PARAMETER
    for i in range(MAX_PARAMETERS):
        if not np.isnan(parameters[i]):
            sh.parameters[i] = parameters[i]
    sh.changes += 1
    return _OK
