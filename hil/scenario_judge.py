"""What a run has shown: when the reaction came, by the truth, and whether it is what the scenario expects.

Times are of the arm's own clock. A cycle has `t_ns`, in which the sample begins and the truth ends: a sample with the
truth's `t_ns` is of the same period, one period after the arm's time when it began. How many cycles something took is
its time in periods, rounded up, and at least one.
"""

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np

from controller.catalogue import Code
from controller.config import Config, VolumeConfig
from hil.scenario import Expectation, Scenario
from hil.truth import shaft_deviation
from kinematics.compiled import Array
from telemetry.sample import OperatingState

__all__ = ["Evidence", "RunResult", "judge", "outside"]

REST_SPEED = 0.01  # part of a joint's velocity limit below which it rests
REFUSED_TRAVEL = 0.5  # mm that the tip may move by settling on its brakes while something is refused


class RunResult(msgspec.Struct, kw_only=True):
    """One run."""

    index: int
    """Of the scenario's runs: with the seed, it gives the same run again."""
    phase: float
    """s after the motion's begin."""
    parameters: dict[str, Any]
    """As drawn."""
    verdict: str
    """ok, undetected, late, wrong_code, wrong_state, limit, false_stop, unexposed (the onset never came), error."""
    detail: str = ""
    code: str = ""
    """The first code that was given after the fault."""
    code_cycles: int | None = None
    """Cycles from the onset to it."""
    reaction_cycles: int | None = None
    reaction_us: float | None = None
    complete_cycles: int | None = None
    """hold: to rest; ramp_off: to zero torque."""
    travel_mm: float = 0.0
    overshoot_mm: float = 0.0
    deviation_mm: float | None = None
    remote_center_mm: float = 0.0
    joint_speed: float = 0.0
    frames_lost: int = 0
    counts: dict[str, int] = {}
    """What the wire's faults did."""


class Evidence(NamedTuple):
    """What a run has left."""

    samples: Array
    """From before the fault on."""
    truth: Array
    applied_us: float
    """The arm's time at which the fault, or what the client or the host did wrong, began."""
    power_off_us: float
    """When the power last went off; negative: never since the fault."""
    stream_end_us: float
    """When the stream's last command was due."""
    axis: int
    """Which the fault is of, or -1."""
    reference: Array | None
    """The truth of the same run without the fault."""
    center: Array | None = None
    """m, base frame: the remote centre that was set."""


def _cycles(us: float, period_us: float) -> int:
    return max(1, math.ceil(us / period_us - 1e-6))


def outside(volume: VolumeConfig, points: Array) -> Array:
    """Return how far each point, (n, 3), is beyond a volume's wall, m; negative where it is allowed."""
    relative = points - np.array(volume.center)
    direction = np.array(volume.direction) / np.linalg.norm(volume.direction)
    if volume.shape == "half_space":
        beyond = -(relative @ direction)
    elif volume.shape == "sphere":
        beyond = np.linalg.norm(relative, axis=1) - volume.radius
    elif volume.shape == "cylinder":
        across = relative - np.outer(relative @ direction, direction)
        beyond = np.linalg.norm(across, axis=1) - volume.radius
    else:
        q = np.abs(relative) - np.array(volume.half_size)
        beyond = np.linalg.norm(np.maximum(q, 0.0), axis=1) + np.minimum(q.max(axis=1), 0.0)
    beyond_it: Array = beyond if volume.keep == "inside" else -beyond
    return beyond_it


def _onset_us(expect: Expectation, evidence: Evidence, period_us: float) -> float | None:
    """Return from when on the reaction counts, in the arm's time; None where that never came."""
    onset = expect.onset
    if onset.kind == "applied":
        return evidence.applied_us
    if onset.kind == "last_command":
        return evidence.stream_end_us
    if onset.kind == "code":
        samples = evidence.samples
        told = np.flatnonzero((samples["event"] != 0) & (samples["t_ns"] * 1e-3 - period_us >= evidence.applied_us))
        return float(samples["t_ns"][told[0]] * 1e-3 - period_us) if len(told) else None
    if onset.kind == "off_center":
        samples = evidence.samples
        far = samples["remote_center_distance"] >= onset.by
        off = np.flatnonzero(far & (samples["t_ns"] * 1e-3 - period_us >= evidence.applied_us))
        return float(samples["t_ns"][off[0]] * 1e-3 - period_us) if len(off) else None
    axis = evidence.axis if onset.axis is None else onset.axis
    truth = evidence.truth
    t_us = truth["t_ns"] * 1e-3
    q = truth["joint_position"][:, axis]
    before = np.flatnonzero(t_us <= evidence.applied_us + period_us)
    if not len(before):
        return None
    by = onset.by[axis] if isinstance(onset.by, list) else onset.by
    moved = np.flatnonzero((t_us > evidence.applied_us) & (np.abs(q - q[before[-1]]) >= by))
    return float(t_us[moved[0]]) if len(moved) else None


def judge(scenario: Scenario, config: Config, velocity_max: Array, evidence: Evidence, result: RunResult) -> RunResult:
    """Fill in a run's result.

    Args:
        scenario: What is expected.
        config: The configuration that it ran with.
        velocity_max: Of the axes, (n,), rad/s or m/s.
        evidence: What happened.
        result: With index, phase and parameters.
    """
    expect, n = scenario.expect, len(velocity_max)
    period_us = config.cycle.period * 1e6
    samples, truth = evidence.samples, evidence.truth
    begun_us = samples["t_ns"] * 1e-3 - period_us  # the arm's time when each cycle began
    after = begun_us >= evidence.applied_us - 1e-6
    result.frames_lost = int(samples["frames_lost"][-1] - samples["frames_lost"][0])

    onset_us = _onset_us(expect, evidence, period_us)
    told = np.flatnonzero(after & (samples["event"] != 0))
    refused = np.flatnonzero(after & (samples["verdict"] != 0))
    first = told[0] if len(told) else None
    if expect.reaction == "refused" and len(refused) and (first is None or refused[0] <= first):
        first = refused[0]
        result.code = _code_name(int(samples["verdict"][first]))
    elif first is not None:
        result.code = _code_name(int(samples["event"][first]))
    state = int(samples["state"][-1])
    if expect.reaction == "torque_off" and state == OperatingState.FAULT:
        result.code = _code_name(int(samples["fault"][-1]))  # a hold may have come before
    _measure(result, config, velocity_max, evidence, onset_us if onset_us is not None else evidence.applied_us)

    is_off = bool(truth["power"][-1] == 0 and (truth["motor_current"][-1] == 0.0).all())
    off_since_us = evidence.power_off_us if is_off and evidence.power_off_us >= 0.0 else None
    if onset_us is None:
        stopped = first is not None or state not in (OperatingState.ENABLED,)
        return _end(result, "ok" if stopped and _is_named(expect, result.code) else "unexposed")
    if first is not None:
        result.code_cycles = _cycles(float(begun_us[first]) - onset_us, period_us)

    if expect.reaction in ("none", "limited"):
        return _judge_calm(scenario, result, state, truth)
    if expect.reaction == "refused":
        return _judge_refused(scenario, result, state, truth, first is not None)
    if expect.reaction == "torque_off":
        if off_since_us is None:
            return _end(result, "undetected", f"torque at the end; state {OperatingState(state).name}")
        result.reaction_us = off_since_us - onset_us
        result.reaction_cycles = _cycles(result.reaction_us, period_us)
        if not expect.watchdog or scenario.host is None or scenario.host.kind != "dead":
            if not _is_named(expect, result.code):
                return _end(result, "wrong_code", f"{result.code or 'no code'}; allowed: {', '.join(expect.codes)}")
            if state != OperatingState.FAULT:
                return _end(result, "wrong_state", f"{OperatingState(state).name} at the end, not FAULT: not latched")
    else:
        if first is None:
            return _end(result, "undetected", "no code was given")
        result.reaction_us = float(begun_us[first]) - onset_us
        result.reaction_cycles = result.code_cycles
        if not _is_named(expect, result.code):
            return _end(result, "wrong_code", f"{result.code}; allowed: {', '.join(expect.codes)}")
        problem = _judge_stop(expect, result, evidence, velocity_max, onset_us, period_us, off_since_us, state, n)
        if problem is not None:
            return _end(result, *problem)
    bound_us = config.driver.watchdog * 1e6 if expect.watchdog else (expect.bound or math.inf) * period_us
    if result.reaction_us > bound_us + 1e-6:
        return _end(result, "late", f"{result.reaction_us * 1e-3:.2f} ms; allowed: {bound_us * 1e-3:g} ms")
    return _judge_limits(scenario, result)


def _judge_stop(
    expect: Expectation,
    result: RunResult,
    evidence: Evidence,
    velocity_max: Array,
    onset_us: float,
    period_us: float,
    off_since_us: float | None,
    state: int,
    n: int,
) -> tuple[str, str] | None:
    """Judge how a hold or a ramp ended; return what is wrong, or None."""
    truth = evidence.truth
    if expect.reaction == "ramp_off" or (expect.reaction == "stop" and off_since_us is not None):
        if off_since_us is None:
            return "undetected", "torque at the end of the ramp"
        result.complete_cycles = _cycles(off_since_us - onset_us, period_us)
        if state != OperatingState.FAULT:
            return "wrong_state", f"{OperatingState(state).name} at the end, not FAULT"
    else:
        moving = (np.abs(truth["joint_velocity"][:, :n]) > REST_SPEED * velocity_max).any(axis=1)
        last = np.flatnonzero(moving)
        t_us = truth["t_ns"] * 1e-3
        if len(last) and last[-1] == len(truth) - 1:
            return "undetected", "the arm moves at the end"
        rest_us = float(t_us[last[-1] + 1]) if len(last) else onset_us
        result.complete_cycles = _cycles(max(rest_us - onset_us, 1.0), period_us)
        if not truth["power"][-1]:
            return "wrong_state", "the arm lost its power instead of holding"
        if state != OperatingState.PAUSED:
            return "wrong_state", f"{OperatingState(state).name} at the end, not PAUSED"
    if result.complete_cycles > expect.complete_within:
        return "late", f"complete after {result.complete_cycles} cycles; allowed: {expect.complete_within}"
    return None


def _judge_calm(scenario: Scenario, result: RunResult, state: int, truth: Array) -> RunResult:
    """Judge a run in which nothing may happen."""
    expect = scenario.expect
    expected_state = {"disabled": OperatingState.DISABLED}.get(scenario.setup.state, OperatingState.ENABLED)
    if state != expected_state:
        return _end(result, "false_stop", f"{OperatingState(state).name} with {result.code or 'no code'}")
    if expect.reaction == "limited" and not result.code:
        return _end(result, "undetected", "no code was given")
    if result.code and result.code not in expect.codes:
        return _end(result, "false_stop" if expect.reaction == "none" else "wrong_code", result.code)
    if expect.reaction == "limited":
        result.reaction_cycles = result.code_cycles
    return _judge_limits(scenario, result)


def _judge_refused(scenario: Scenario, result: RunResult, state: int, truth: Array, was_told: bool) -> RunResult:
    """Judge a run in which something asked for must not happen."""
    expect = scenario.expect
    if not was_told:
        return _end(result, "undetected", f"not refused; state {OperatingState(state).name}")
    if not _is_named(expect, result.code):
        return _end(result, "wrong_code", f"{result.code or 'no code'}; allowed: {', '.join(expect.codes)}")
    result.reaction_cycles = result.code_cycles
    if scenario.setup.state == "disabled":
        if state == OperatingState.ENABLED:
            return _end(result, "wrong_state", "ENABLED at the end")
        if truth["power"][-1]:
            return _end(result, "wrong_state", "power at the end")
    bound = expect.bound
    if bound is not None and (result.reaction_cycles or 0) > bound:
        return _end(result, "late", f"{result.reaction_cycles} cycles; allowed: {bound}")
    return _judge_limits(scenario, result)


def _judge_limits(scenario: Scenario, result: RunResult) -> RunResult:
    limits = scenario.expect.limits
    for name in ("travel_mm", "overshoot_mm", "deviation_mm", "remote_center_mm", "joint_speed"):
        allowed, was = getattr(limits, name), getattr(result, name)
        if allowed is not None and (was is None or was > allowed):
            return _end(result, "limit", f"{name} = {was if was is None else round(was, 4)}; allowed: {allowed:g}")
    return _end(result, "ok")


def _measure(result: RunResult, config: Config, velocity_max: Array, evidence: Evidence, onset_us: float) -> None:
    """Fill in how far the tip went, and how fast the joints."""
    truth, n = evidence.truth, len(velocity_max)
    t_us = truth["t_ns"] * 1e-3
    tip = truth["tip_pose"][:, :3, 3]
    since = np.flatnonzero(t_us >= onset_us)
    if not len(since):
        return
    start = max(int(since[0]) - 1, 0)
    end = len(truth)
    if evidence.power_off_us >= 0.0:
        off = np.flatnonzero(t_us >= evidence.power_off_us)
        end = int(off[0]) + 1 if len(off) else end
    if end > start:
        result.joint_speed = float((np.abs(truth["joint_velocity"][start:end, :n]) / velocity_max).max())
        result.travel_mm = float(np.linalg.norm(tip[start:end] - tip[start], axis=1).max() * 1e3)
    off = truth["rcm_deviation"] if evidence.center is None else shaft_deviation(truth, evidence.center)
    result.remote_center_mm = float(off[start : max(end, start + 1)].max() * 1e3)
    for volume in config.guard.volume:
        result.overshoot_mm = max(result.overshoot_mm, float(outside(volume, tip).max() * 1e3))
    if evidence.reference is not None:
        count = min(end, len(evidence.reference))
        other = evidence.reference["tip_pose"][:count, :3, 3]
        result.deviation_mm = float(np.linalg.norm(tip[:count] - other, axis=1).max() * 1e3)


def _is_named(expect: Expectation, code: str) -> bool:
    return not expect.codes or code in expect.codes


def _code_name(code: int) -> str:
    return Code(code).name if code in Code.__members__.values() else f"CODE_{code}"


def _end(result: RunResult, verdict: str, detail: str = "") -> RunResult:
    result.verdict, result.detail = verdict, detail
    return result
