"""Try a law without a daemon: compile it, call it on synthetic samples, time it, see what it gives and allocates."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numba.core import types
from numba.core.runtime import _nrt_python
from numba.core.runtime.nrt import rtsys

from controller.clock import CLOCK_MONOTONIC, SECOND_NS, clock_gettime
from controller.guard.records import JOINT_COMMAND
from controller.laws.compile import compile_law, first_sample, try_law
from controller.laws.joint_pd import joint_pd, make_gains
from controller.laws.law import LAW, LAW_STATE, call_law
from controller.laws.parameters import SHARED, LawInfo
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM, ArmDescription
from telemetry.sample import SAMPLE

__all__ = ["LawCheck", "check_law"]

CALLS = 20_000
TICKS = 2_000  # of a motion through the arm's workspace, for what it gives
GAIN = 100.0  # of joint PD, where none is configured


class LawCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a law did on synthetic samples."""

    law: LawInfo
    median_ns: float
    """Of a call, as the cycle makes it."""
    p99_ns: float
    allocations: float
    """Of memory, in each call; the cycle should do without."""
    calls: int
    not_finite: int
    """Calls after which an entry of the command was nan or infinite."""
    raised: int
    saturated: int
    """Calls after which an effort was beyond its limit."""
    effort_max: list[float]
    """The largest effort asked of each axis, N·m or N."""


@kernel(
    types.void(
        types.FunctionType(LAW),
        array_of(ARM),
        array_of(LAW_STATE),
        array_of(SHARED),
        array_of(SAMPLE),
        array_of(JOINT_COMMAND),
        array_of(JOINT_COMMAND),
        array_of(SAMPLE),
        array_of(JOINT_COMMAND),
        types.int64[::1],
        types.int64[::1],
    )
)
def _time_calls(
    law: Part,
    arm: Array,
    state: Array,
    shared: Array,
    sample: Array,
    base: Array,
    command: Array,
    own_sample: Array,
    own_command: Array,
    timespec: Array,
    times: Array,
) -> None:
    """Write what each call takes, ns."""
    for i in range(len(times)):
        command[0] = base[0]
        clock_gettime(CLOCK_MONOTONIC, timespec.ctypes.data)
        begin = timespec[0] * SECOND_NS + timespec[1]
        call_law(law, arm, state, shared, sample, command, own_sample, own_command)
        clock_gettime(CLOCK_MONOTONIC, timespec.ctypes.data)
        times[i] = timespec[0] * SECOND_NS + timespec[1] - begin


def _allocations(arguments: tuple[Any, ...], times: Array) -> int:
    """Return how often memory is allocated by so many calls, and by handing over the arguments."""
    _nrt_python.memsys_enable_stats()
    before = rtsys.get_allocation_stats().alloc
    _time_calls(*[*arguments, times])
    count = int(rtsys.get_allocation_stats().alloc - before)
    _nrt_python.memsys_disable_stats()
    return count


def check_law(
    name: str,
    values: Mapping[str, Any],
    arm: ArmDescription,
    *,
    kp: Sequence[float] | None = None,
    kd: Sequence[float] | None = None,
    position: Sequence[float] | None = None,
    seed: int = 1,
) -> LawCheck:
    """Return what a law does: at rest, and along a random smooth motion with a tracking error.

    Args:
        name: The law, as in a configuration.
        values: Its parameters.
        arm: The arm.
        kp: Joint PD's gains, actuator space; None: 100 each.
        kd: As kp; None: 1 each.
        position: Where the arm rests first; None: the middle of its range.
        seed: Of the motion.

    Raises:
        LawError: It cannot be used; as at the start of a daemon.
    """
    law = compile_law(name, values)
    record, n = arm.record, arm.n_axes
    low, high = record[0]["position_min"][:n], record[0]["position_max"][:n]
    rest = [float(q) for q in (low + high) / 2] if position is None else [float(q) for q in position]
    gains = make_gains(list(kp or [GAIN] * n), list(kd or [GAIN * 0.01] * n), gravity=True, friction=True)
    try_law(law, record, gains, rest)

    state, shared, command = np.zeros(1, LAW_STATE), np.zeros(1, SHARED), np.zeros(1, JOINT_COMMAND)
    own = np.zeros(1, SAMPLE), np.zeros(1, JOINT_COMMAND)
    shared["parameters"] = law.vector
    sample = first_sample(record, rest)
    command["position"] = sample["setpoint_position"]
    joint_pd(record, gains, sample, command)
    base, timespec = command.copy(), np.zeros(2, np.int64)
    once, warm, times = np.zeros(1, np.int64), np.zeros(1001, np.int64), np.zeros(CALLS, np.int64)
    arguments: tuple[Any, ...] = (law.call, record.copy(), state, shared, sample, base, command, *own, timespec)
    _time_calls(*[*arguments, warm])
    allocations = (_allocations(arguments, warm) - _allocations(arguments, once)) / (len(warm) - len(once))
    _time_calls(*[*arguments, times])

    random = np.random.default_rng(seed)
    middle, reach = (low + high) / 2, 0.4 * (high - low)
    phase, pace = random.uniform(0.0, 2 * np.pi, n), random.uniform(0.3, 1.0, n)
    state[0]["active"] = 0
    bad = raised = saturated = 0
    most, limit = np.zeros(n), record[0]["effort_max"][:n]
    for tick in range(TICKS):
        t = tick * 1e-3
        rate = np.minimum(pace, 0.5 * record[0]["velocity_max"][:n] / reach)
        q, qd = middle + reach * np.sin(rate * t + phase), reach * rate * np.cos(rate * t + phase)
        sample = first_sample(record, q.tolist())
        sample["deadline_ns"] = sample["t_ns"] = (tick + 1) * 1_000_000
        sample["setpoint_velocity"][0, :n] = sample["measured_velocity"][0, :n] = qd
        sample["measured_position"][0, :n] += random.normal(0.0, 1e-3, n) * reach
        command["position"], command["velocity"] = sample["setpoint_position"], sample["setpoint_velocity"]
        joint_pd(record, gains, sample, command)
        code = call_law(law.call, record, state, shared, sample, command, *own)
        raised += code != 0
        finite = all(np.isfinite(command[key]).all() for key in JOINT_COMMAND.names or ())
        bad += not finite
        effort = np.abs(command["effort"][0, :n])
        saturated += bool((effort > limit).any())
        most = np.fmax(most, np.where(np.isfinite(effort), effort, 0.0))
    return LawCheck(
        law=law.info,
        median_ns=float(np.median(times)),
        p99_ns=float(np.quantile(times, 0.99)),
        allocations=allocations,
        calls=TICKS,
        not_finite=bad,
        raised=raised,
        saturated=saturated,
        effort_max=[float(x) for x in most],
    )
