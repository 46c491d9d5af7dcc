"""Running scenarios: each at many random phases of its motion, in forked stands, over several processors.

The arm is enabled and homed once for each set-up. From there a process walks through the motion and forks at every
phase; the fork injects the fault, runs on until the reaction is over, and judges. Everything is drawn from the seed,
the scenario's name and the run's index, so any run can be had again by itself.
"""

import select
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from controller.commands import JointGoal, RemoteCenter
from controller.config import Config
from controller.errors import ConfigError
from controller.mailbox import IS_CARTESIAN, VERB, Verb
from drivers.driver import DriverError
from hil.fault_catalogue import CATALOGUE, inject
from hil.faults import HilError
from hil.forked import ChildError, Forked, in_child
from hil.scenario import Scenario, ScenarioError, make_config
from hil.scenario_judge import Evidence, RunResult, judge
from hil.scenario_motion import schedule
from hil.stand import CommandError, Stand
from kinematics.compiled import Array
from telemetry.sample import OperatingState

__all__ = ["ScenarioResult", "Trace", "run_once", "run_scenarios"]

CHUNK = 25  # runs that one walk through the motion serves
SUBSTEPS = 4  # places in a period, 250 us apart, where a fault may fall
BEFORE = 100  # cycles before the fault that are judged and shown, too
AFTERMATH = 40  # cycles after a stop
UNTIL_MOVED = 600  # cycles within which a joint must have moved, where that is the onset


class Trace(NamedTuple):
    """One run from shortly before the fault on, for a picture."""

    samples: Array
    truth: Array
    applied_us: float


class ScenarioResult(msgspec.Struct, kw_only=True):
    """A scenario and its runs."""

    scenario: Scenario
    bound_cycles: int | None
    runs: list[RunResult] = []

    def count(self, *verdicts: str) -> int:
        """Return how many runs have one of these verdicts."""
        return sum(run.verdict in verdicts for run in self.runs)

    @property
    def cycles(self) -> list[int]:
        """The reaction times, shortest first."""
        return sorted(run.reaction_cycles for run in self.runs if run.reaction_cycles is not None)

    @property
    def is_good(self) -> bool:
        """Every run is as it must be, and at least one has met the hazard."""
        return self.count("ok") > 0 and self.count("ok", "unexposed") == len(self.runs)

    @property
    def worst(self) -> RunResult | None:
        """The run to look at first: one that is not as it must be, else the slowest."""
        if not self.runs:
            return None
        return max(self.runs, key=lambda run: (run.verdict not in ("ok", "unexposed"), run.reaction_us or 0.0))


class _Plan(NamedTuple):
    """What is drawn for one run."""

    number: int
    """Of the run."""
    substeps: int
    """After the motion's begin."""
    parameters: dict[str, Any]
    seed: int


def _rng(seed: int, name: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), index])


def _draw(value: Any, rng: np.random.Generator, n_axes: int, kind: str, choices: Sequence[str]) -> Any:  # noqa: ANN401
    """Return one value of what a scenario file gives for a parameter."""
    if isinstance(value, dict) and set(value) == {"one_of"}:
        return _draw(value["one_of"][int(rng.integers(len(value["one_of"])))], rng, n_axes, kind, choices)
    if value == "any" and kind == "axis":
        return int(rng.integers(n_axes))
    if value == "any" and choices:
        return choices[int(rng.integers(len(choices)))]
    if isinstance(value, list) and len(value) == 2:
        low, high = value
        if kind in ("int", "axis"):
            return int(rng.integers(low, high + 1))
        if kind == "float":
            return float(rng.uniform(low, high))
        if kind == "vector":
            return [float(rng.uniform(a, b)) for a, b in zip(low, high, strict=True)]
    return value


def _plan(scenario: Scenario, config: Config, n_axes: int, seed: int, index: int) -> _Plan:
    rng = _rng(seed, scenario.name, index)
    period = config.cycle.period
    last = scenario.when.before if scenario.when.before is not None else scenario.motion.duration
    low, high = round(scenario.when.after / period * SUBSTEPS), round(last / period * SUBSTEPS)
    substeps = int(rng.integers(low, max(high, low + 1)))
    parameters: dict[str, Any] = {}
    if scenario.fault is not None:
        known = CATALOGUE[scenario.fault.name].parameters
        for key, value in scenario.fault.parameters.items():
            if key not in known:
                raise ScenarioError(
                    f"{scenario.source}: {scenario.name}: fault.{key} is no parameter of {scenario.fault.name}; "
                    f"allowed: {', '.join(known) or 'none'}"
                )
            kind = "axis" if key == "axis" else known[key].kind
            parameters[key] = _draw(value, rng, n_axes, kind, known[key].choices)
    elif scenario.client is not None:
        parameters["axis"] = _draw(scenario.client.axis, rng, n_axes, "axis", ())
        parameters["by"] = _draw(scenario.client.by, rng, n_axes, "float", ())
    elif scenario.host is not None:
        parameters["cycles"] = _draw(scenario.host.cycles, rng, n_axes, "int", ())
    return _Plan(index, substeps, parameters, int(rng.integers(2**31)))


def _observe(scenario: Scenario) -> int:
    """Return for how many cycles after the fault a run goes on at the most."""
    expect = scenario.expect
    cycles = 300
    if expect.reaction in ("hold", "ramp_off", "stop"):
        cycles = (expect.bound or 0) + expect.complete_within + AFTERMATH
    elif expect.reaction in ("torque_off", "refused"):
        cycles = (expect.bound or 100) + 200
    elif expect.onset.kind == "code":
        cycles = 2000
    if expect.onset.kind != "applied":
        cycles += UNTIL_MOVED
    if scenario.motion.kind in ("enabling", "homing"):
        cycles += 4000
    if scenario.client is not None and scenario.client.kind == "clutch":
        cycles += scenario.client.pause
    return cycles


def prepare_stand(scenario: Scenario, seed: int) -> Stand:
    """Return a stand in the state in which the scenario's motion begins.

    Raises:
        HilError: The arm does not come up; the message says why.
    """
    config = make_config(scenario)
    stand = Stand(config, seed=seed if scenario.seed is None else scenario.seed)
    try:
        if scenario.fault is not None and CATALOGUE[scenario.fault.name].fault & ~stand.faults.supported:
            supported = [name for name, entry in CATALOGUE.items() if entry.fault & stand.faults.supported]
            raise ScenarioError(
                f"{scenario.source}: {scenario.name}: fault.name = {scenario.fault.name!r} is none that this rig can "
                f"inject; allowed: {', '.join(supported)}"
            )
        for line in scenario.setup.before:
            name, *pairs = line.split()
            inject(stand.faults, name, None, **dict(pair.split("=", 1) for pair in pairs))
        stand.run(20)
        if scenario.setup.state != "disabled":
            stand.enable()
        if scenario.setup.state == "homed":
            stand.home()
            if scenario.setup.pose is not None:
                stand.wait(stand.send("move_jp", JointGoal(position=scenario.setup.pose)), 10_000, "setup.pose")
            if scenario.setup.depth is not None:
                stand.wait(stand.send("set_remote_center", RemoteCenter(point=_center(stand, scenario))), 100)
    except CommandError as error:
        stand.close()
        raise ScenarioError(f"{scenario.source}: {scenario.name}: the set-up failed: {error}") from error
    except HilError:
        stand.close()
        raise
    return stand


def _center(stand: Stand, scenario: Scenario) -> list[float]:
    """Return a point of the shaft, in the base frame."""
    T, depth = stand.sample["setpoint_pose"], scenario.setup.depth or 0.0
    direction = np.array(stand.config.remote_center.shaft_direction)
    point: list[float] = (T[:3, 3] - depth * T[:3, :3] @ direction / np.linalg.norm(direction)).tolist()
    return point


def _change_stream(scenario: Scenario, stand: Stand, plan: _Plan) -> tuple[float, float]:
    """Let the client do wrong; return the arm's times of that and of the stream's last command, us."""
    action, period_us = scenario.client, stand.config.cycle.period * 1e6
    assert action is not None
    now, time_us = stand.tick, float(stand.record["time_ns"]) * 1e-3
    ticks, messages = stand.scheduled()
    streams = VERB[messages["operation"]] == int(Verb.SERVO)
    if not streams.any():
        raise ScenarioError(f"{scenario.source}: {scenario.name}: motion {scenario.motion.kind!r} is no stream")
    rng = np.random.default_rng(plan.seed)
    amount, axis = float(plan.parameters["by"]), int(plan.parameters["axis"])

    def move(message: Array) -> None:
        if IS_CARTESIAN[int(message["operation"])]:
            message["pose"][0, 3] += amount
        else:
            message["vector"][axis] += amount

    first_us = time_us + (int(ticks[0]) - now - 1) * period_us
    if action.kind == "silent":
        stand.forget_scheduled(now + 1)
        before = stand.last_samples(scenario.motion.period + 1)
        last = before[before["command_id"] != 0]
        begun_us = float(last["t_ns"][-1]) * 1e-3 - period_us if len(last) else time_us - period_us
        return begun_us, begun_us
    if action.kind == "not_finite":
        for message in messages[: action.count]:
            bad = [np.nan, np.inf, -np.inf][int(rng.integers(3))]
            if IS_CARTESIAN[int(message["operation"])]:
                message["pose"][int(rng.integers(3)), int(rng.integers(4))] = bad
            else:
                message["vector"][axis] = bad
    elif action.kind == "jump":
        for message in messages:
            move(message)
    else:
        kept_ticks, kept = ticks.copy(), messages.copy()
        stand.forget_scheduled(now + 1)
        stand.send("pause", at=now + 1)
        stand.send("resume", at=now + action.pause)
        resumed = kept_ticks > now + action.pause + 1
        for tick, message in zip(kept_ticks[resumed], kept[resumed], strict=True):
            move(message)
            stand.send_message(message.reshape(1), int(tick))
        first_us = time_us + (int(kept_ticks[resumed][0]) - now - 1) * period_us
    return first_us, first_us


def _change_host(scenario: Scenario, stand: Stand, plan: _Plan, most: int) -> tuple[float, float]:
    """Let something become of the host, and run; return when that was and when the last command was heard, us."""
    action, period_us = scenario.host, stand.config.cycle.period * 1e6
    assert action is not None
    now_us, heard_us = float(stand.record["time_ns"]) * 1e-3, stand.heard_us
    if action.kind == "dead":
        stand.run_alone(most)
        return now_us - period_us, heard_us
    if action.kind == "port_closed":
        stand.unplug()
        stand.run(most)
        return now_us, heard_us
    if action.kind == "stall":
        stand.stall([int(plan.parameters["cycles"])])
        stand.run(most)
        return now_us - period_us, heard_us
    late = ([1] + [0] * (action.every - 1)) * action.count
    stand.stall(late)
    stand.run(most)
    last = action.every * (action.count - 1) + action.count
    return now_us + last * period_us, heard_us


def _run_fault(scenario: Scenario, stand: Stand, plan: _Plan, most: int) -> float:
    """Inject and run; return when the fault was in force, us."""
    fault, period_us = scenario.fault, stand.config.cycle.period * 1e6
    at_us = float(stand.record["time_ns"]) * 1e-3
    if fault is not None:
        at_us += plan.substeps % SUBSTEPS * period_us / SUBSTEPS
        inject(stand.faults, fault.name, at=at_us * 1e-6, **plan.parameters)
        if fault.clear_after is not None:
            most -= stand.run(min(fault.clear_after, most))
            stand.faults.clear(at=at_us * 1e-6 + fault.clear_after * period_us * 1e-6)
    stop = 1 << int(OperatingState.FAULT)
    if stand.run(most, stop_states=stop) < most:
        stand.run(AFTERMATH)
    return at_us


def _run_forked(scenario: Scenario, stand: Stand, plan: _Plan) -> tuple[RunResult, Trace]:
    """Do one run on a stand that is this process's own and stands at the phase; judge it."""
    stand.detach(plan.seed)
    most = _observe(scenario)
    reference = None
    if scenario.expect.limits.deviation_mm is not None:

        def without() -> Array:
            stand.detach()
            stand.run(most)
            return stand.last_truth(most + BEFORE)

        reference = in_child(without)
    begun, had_truth = stand.tick, int(stand.record["tick"])
    off_before = int(stand.record["power_off_ns"])
    stream_end_us = 0.0
    if scenario.host is not None:
        applied_us, stream_end_us = _change_host(scenario, stand, plan, most)
        if scenario.expect.watchdog:
            applied_us = stream_end_us  # in the controllers' own time: from the last word that they have had
    elif scenario.client is not None:
        applied_us, stream_end_us = _change_stream(scenario, stand, plan)
        _run_fault(scenario, stand, plan, most)
    else:
        applied_us = _run_fault(scenario, stand, plan, most)
    samples = stand.last_samples(stand.tick - begun + BEFORE)
    truth = stand.last_truth(int(stand.record["tick"]) - had_truth + BEFORE)
    off_ns = int(stand.record["power_off_ns"])
    evidence = Evidence(
        samples=samples,
        truth=truth,
        applied_us=applied_us,
        power_off_us=off_ns * 1e-3 if off_ns != off_before else -1.0,
        stream_end_us=stream_end_us,
        axis=int(plan.parameters.get("axis", -1)),
        reference=reference,
        center=stand.remote_center,
    )
    n = stand.arm.n_axes
    phase = plan.substeps / SUBSTEPS * stand.config.cycle.period
    counts = {name: count for name, count in stand.faults.counts().items() if count}
    result = RunResult(index=plan.number, phase=phase, parameters=plan.parameters, verdict="error", counts=counts)
    judge(scenario, stand.config, stand.arm.record[0]["velocity_max"][:n], evidence, result)
    return result, Trace(samples, truth, applied_us)


def _walk(stand: Stand, scenario: Scenario, plans: list[_Plan], *, trace: bool) -> list[tuple[RunResult, Trace | None]]:
    """Go through the motion once and fork at each phase."""
    seconds = scenario.motion.duration + (_observe(scenario) + AFTERMATH) * stand.config.cycle.period
    seed = zlib.crc32(scenario.name.encode())
    stand.detach()
    schedule(stand, scenario.motion, seconds, seed)
    begun = stand.tick
    done: list[tuple[RunResult, Trace | None]] = []
    for plan in sorted(plans, key=lambda plan: plan.substeps):
        stand.run(begun + plan.substeps // SUBSTEPS - stand.tick)

        def work(plan: _Plan = plan) -> tuple[RunResult, Trace | None]:
            result, picture = _run_forked(scenario, stand, plan)
            return result, picture if trace else None

        try:
            done.append(in_child(work))
        except ChildError as error:
            phase = plan.substeps / SUBSTEPS * stand.config.cycle.period
            done.append((_failed(plan, phase, str(error)), None))
    return done


def _failed(plan: _Plan, phase: float, detail: str) -> RunResult:
    return RunResult(index=plan.number, phase=phase, parameters=plan.parameters, verdict="error", detail=detail)


def _run_refused(scenario: Scenario) -> RunResult:
    """Try to start with a configuration that is wrong: it must be refused, and say what is."""
    result = RunResult(index=0, phase=0.0, parameters=scenario.setup.overrides, verdict="ok")
    try:
        stand = Stand(make_config(scenario))
    except (ConfigError, DriverError, HilError) as error:
        if scenario.expect.message not in str(error):
            result.verdict, result.detail = "wrong_code", f"it says nothing of {scenario.expect.message!r}: {error}"
    else:
        stand.close()
        result.verdict, result.detail = "undetected", "the motor controllers were configured and would take commands"
    return result


def _refused(scenario: Scenario) -> list[tuple[RunResult, Trace | None]]:
    return [(_run_refused(scenario), None)]


def _bound_cycles(scenario: Scenario, config: Config | None) -> int | None:
    if scenario.expect.watchdog and config is not None:
        return round(config.driver.watchdog / config.cycle.period)
    return scenario.expect.bound


def run_once(scenario: Scenario, seed: int, index: int) -> tuple[RunResult, Trace | None]:
    """Return one run of a scenario, with its trace: the same as among many."""
    if scenario.setup.state == "refused":
        return _run_refused(scenario), None

    def work() -> tuple[RunResult, Trace | None]:
        stand = prepare_stand(scenario, seed)
        plan = _plan(scenario, stand.config, stand.arm.n_axes, seed, index)
        return _walk(stand, scenario, [plan], trace=True)[0]

    answer: tuple[RunResult, Trace | None] = in_child(work)
    return answer


def _tasks(
    scenarios: Sequence[Scenario], phases: int, seed: int
) -> Iterator[tuple[int, Callable[[], list[tuple[RunResult, Trace | None]]]]]:
    """Yield what is to be done in processes of its own: the scenario's place, and the work."""
    stands: dict[bytes, Stand] = {}
    try:
        for place, scenario in sorted(enumerate(scenarios), key=lambda each: _key(each[1], seed)):
            if scenario.setup.state == "refused":
                yield place, partial(_refused, scenario)
                continue
            key = _key(scenario, seed)
            if key not in stands:
                for old in stands.values():
                    old.close()
                stands = {key: prepare_stand(scenario, seed)}
            stand = stands[key]
            plans = [_plan(scenario, stand.config, stand.arm.n_axes, seed, i) for i in range(phases)]
            chunks = max(1, round(phases / CHUNK))
            for k in range(chunks):
                yield place, partial(_walk, stand, scenario, plans[k::chunks], trace=False)
    finally:
        for stand in stands.values():
            stand.close()


def _key(scenario: Scenario, seed: int) -> bytes:
    """Return what scenarios have alike that can begin from one stand."""
    return msgspec.json.encode([scenario.setup, scenario.seed if scenario.seed is not None else seed])


def run_scenarios(
    scenarios: Sequence[Scenario],
    *,
    phases: int = 100,
    seed: int = 1,
    jobs: int = 1,
    progress: Callable[[Scenario, list[RunResult]], None] = lambda scenario, runs: None,
) -> list[ScenarioResult]:
    """Run scenarios and return their results, in their order.

    Args:
        scenarios: Which.
        phases: How often each, at random phases.
        seed: Of everything that is drawn.
        jobs: Processes at a time.
        progress: Called with each scenario's new runs.

    Raises:
        ScenarioError: One cannot be run.
    """
    results = []
    for scenario in scenarios:
        config = None if scenario.setup.state == "refused" else make_config(scenario)
        results.append(ScenarioResult(scenario=scenario, bound_cycles=_bound_cycles(scenario, config), runs=[]))
    running: dict[int, tuple[int, Forked]] = {}

    def collect(*, all_of_them: bool) -> None:
        while len(running) >= jobs or (all_of_them and running):
            ready, _, _ = select.select(list(running), [], [])
            for fd in ready:
                place, child = running.pop(fd)
                runs = [result for result, _ in child.answer()]
                results[place].runs += runs
                progress(scenarios[place], runs)

    for place, work in _tasks(scenarios, phases, seed):
        collect(all_of_them=False)
        child = Forked(work)
        running[child.fd] = (place, child)
    collect(all_of_them=True)
    for result in results:
        result.runs.sort(key=lambda run: run.index)
    return results
