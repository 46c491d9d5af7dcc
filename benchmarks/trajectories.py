"""Online trajectories beside ruckig: whether ours are as short and keep to the limits, and what they cost.

Every trajectory is checked by `errors`, which shares no code with the planner: it reads the pieces and integrates them.
From Python, each call is timed. In the compiled loop each call is timed too, by the same clock that the C++ is timed
with; evaluations are timed in runs. ruckig's C++ has two rows: by its own clock around the calculation in `update`, as
the Python package ships it, and, where the environment's RUCKIG_SOURCE names the folder of its unpacked source
distribution (`pip download --no-binary ruckig --no-deps ruckig`), compiled here for seven axes.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from benchmarks.rows import OURS, RUN, Row, Settings, make_row, skip, time_calls
from controller.motion.trajectory import MAX_AXES, TRAJECTORY, evaluate, plan
from kinematics.compiled import array_of, kernel

__all__ = ["Errors", "States", "errors", "plan_all", "random_states", "rows", "ruckig_durations"]

Array = np.ndarray[Any, Any]

COMPARED = 100_000  # random states, in all
TIMED = 2_000  # of which this many are timed
REPEATS = 10
RUNS = 3_000  # of RUN evaluations
LONGER = 1e-9  # relative: what may be added to ruckig's duration
TOLERANCE = 1e-9  # of ends, continuity and limits
KINDS = ("rest", "moving start", "moving target", "moving", "outside")

f8 = types.float64
_F8_1D, _F8_2D = types.Array(f8, 1, "C"), types.Array(f8, 2, "C")
_I8, _I8_1D = types.int64, types.Array(types.int64, 1, "C")
_T = array_of(TRAJECTORY)
clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))
CLOCK_MONOTONIC = 1  # linux/time.h


class States(NamedTuple):
    """Random tasks, (count, MAX_AXES) each."""

    p0: Array
    v0: Array
    a0: Array
    p1: Array
    v1: Array
    v_max: Array
    a_max: Array
    j_max: Array


class Errors(NamedTuple):
    """What is wrong with trajectories, (count,) each: 0 where nothing is."""

    start: Array
    """Of the first piece's state."""
    joints: Array
    """Largest step in position, velocity or acceleration from where a piece leads to where the next begins."""
    end: Array
    """Of the state after the last piece."""
    duration: Array
    """Largest difference between an axis' duration and that of all."""
    velocity: Array
    """What is beyond the limit, once the axis has been inside the limits."""
    acceleration: Array
    jerk: Array


def random_states(rng: np.random.Generator, count: int, kind: str) -> States:
    """Return random tasks of a kind, with limits that differ by two to three decades from axis to axis."""
    shape = (count, MAX_AXES)
    v_max = 10.0 ** rng.uniform(-1.0, 1.0, shape)
    a_max = v_max * 10.0 ** rng.uniform(-0.5, 1.0, shape)
    j_max = a_max * 10.0 ** rng.uniform(-0.5, 1.5, shape)
    p0 = rng.uniform(-1.0, 1.0, shape)
    p1 = rng.uniform(-1.0, 1.0, shape) * 10.0 ** rng.uniform(-2.0, 1.0, (count, 1))
    v0, a0, v1 = (rng.uniform(-1.0, 1.0, shape) * limit for limit in (v_max, a_max, v_max))
    if kind in ("rest", "moving target"):
        v0, a0 = np.zeros(shape), np.zeros(shape)
    if kind in ("rest", "moving start"):
        v1 = np.zeros(shape)
    if kind == "outside":
        v0, a0 = 2.5 * v0, 2.5 * a0
    return States(p0, v0, a0, p1, v1, v_max, a_max, j_max)


@kernel(types.int64(_T, _I8_1D, *([_F8_2D] * 8)))
def plan_all(
    trajectories: Array,
    n_axes: Array,
    p0: Array,
    v0: Array,
    a0: Array,
    p1: Array,
    v1: Array,
    v_max: Array,
    a_max: Array,
    j_max: Array,
) -> int:
    """Plan each task into a trajectory of its own; return how many were refused."""
    refused = 0
    for i in range(len(n_axes)):
        one = trajectories[i : i + 1]
        if plan(one, n_axes[i], p0[i], v0[i], a0[i], p1[i], v1[i], v_max[i], a_max[i], j_max[i]) != 0:
            refused += 1
    return refused


def errors(trajectories: Array, n_axes: Array, states: States) -> Errors:
    """Return what is wrong with trajectories, by the power series and nothing else.

    Args:
        trajectories: TRAJECTORY, (count,).
        n_axes: Of each, (count,).
        states: What was asked.
    """
    axes, pieces = trajectories["axes"], trajectories["axes"]["pieces"]
    n = axes["n"]
    used = np.arange(MAX_AXES) < n_axes[:, None]
    first = pieces[:, :, 0]
    start = np.maximum.reduce([abs(first["p"] - states.p0), abs(first["v"] - states.v0), abs(first["a"] - states.a0)])
    joints, v_beyond, a_beyond, j_beyond = (np.zeros(used.shape) for _ in range(4))
    was_inside = np.zeros(used.shape, bool)
    for k in range(pieces.shape[2] - 1):
        on = used & (k < n)
        here, after = pieces[:, :, k], pieces[:, :, k + 1]
        dt = np.where(on, after["t"] - here["t"], 0.0)
        p, v, a, j = here["p"], here["v"], here["a"], np.where(on, here["j"], 0.0)
        p_end, v_end, a_end = p + v * dt + a * dt**2 / 2 + j * dt**3 / 6, v + a * dt + j * dt**2 / 2, a + j * dt
        gap = np.maximum.reduce([abs(p_end - after["p"]), abs(v_end - after["v"]), abs(a_end - after["a"])])
        joints = np.maximum(joints, np.where(on, np.where(dt < 0.0, np.inf, gap), 0.0))
        # Inside, as far as rounding tells: within the limits, and able to stay there.
        slack = 1.0 + 1e-11
        was_inside |= (
            (abs(a) <= states.a_max * slack)
            & (abs(v) <= states.v_max * slack)
            & (abs(v + a * abs(a) / (2.0 * states.j_max)) <= states.v_max * slack)
        )
        # The velocity has an extremum where the acceleration passes through zero.
        with np.errstate(divide="ignore", invalid="ignore"):
            t_zero = -a / j
            v_zero = np.where((t_zero > 0.0) & (t_zero < dt), abs(v - a**2 / (2.0 * j)), 0.0)
        checked = on & was_inside
        v_most = np.maximum.reduce([abs(v), abs(v_end), v_zero])
        v_beyond = np.maximum(v_beyond, np.where(checked, v_most - states.v_max, 0.0))
        a_beyond = np.maximum(a_beyond, np.where(checked, np.maximum(abs(a), abs(a_end)) - states.a_max, 0.0))
        j_beyond = np.maximum(j_beyond, np.where(on, abs(j) - states.j_max, 0.0))
    last = np.take_along_axis(pieces, n[:, :, None], 2)[:, :, 0]
    end = np.maximum.reduce([abs(last["p"] - states.p1), abs(last["v"] - states.v1), abs(last["a"])])
    late = np.maximum(abs(axes["duration"] - trajectories["duration"][:, None]), abs(last["t"] - axes["duration"]))

    def worst(error: Array) -> Array:
        # An error that is not a number is one too.
        most: Array = np.where(used, np.nan_to_num(error, nan=np.inf), 0.0).max(axis=1)
        return most

    return Errors(*(worst(e) for e in (start, joints, end, late, v_beyond, a_beyond, j_beyond)))


def ruckig_durations(states: States, n_axes: Array) -> Array:
    """Return ruckig's durations, (count,); nan where it refuses or fails."""
    import ruckig  # type: ignore[import-not-found]

    tools: dict[int, tuple[Any, Any, Any]] = {}
    durations = np.full(len(n_axes), np.nan)
    for i, n in enumerate(n_axes.tolist()):
        if n not in tools:
            tools[n] = ruckig.Ruckig(n), ruckig.InputParameter(n), ruckig.Trajectory(n)
        planner, task, trajectory = tools[n]
        _fill(task, states, i, n)
        try:
            result = planner.calculate(task, trajectory)
        except ruckig.RuckigError:
            continue
        if result in (ruckig.Result.Working, ruckig.Result.Finished):
            durations[i] = trajectory.duration
    return durations


def _fill(task: Any, states: States, i: int, n: int) -> None:  # noqa: ANN401
    task.current_position = states.p0[i, :n]
    task.current_velocity = states.v0[i, :n]
    task.current_acceleration = states.a0[i, :n]
    task.target_position = states.p1[i, :n]
    task.target_velocity = states.v1[i, :n]
    task.max_velocity = states.v_max[i, :n]
    task.max_acceleration = states.a_max[i, :n]
    task.max_jerk = states.j_max[i, :n]


def _solved(seed: int, kind: str, count: int) -> tuple[float, float]:
    """Return the parts of random tasks on 1 to 7 axes that are solved: by us, as fast as ruckig at least; by ruckig."""
    ours, theirs, total = 0, 0, count
    rng = np.random.default_rng(seed)
    while count > 0:
        batch = min(count, 10_000)
        count -= batch
        states = random_states(rng, batch, kind)
        n_axes = rng.integers(1, 8, batch)
        trajectories = np.zeros(batch, TRAJECTORY)
        plan_all(trajectories, n_axes, *states)
        valid = np.max(errors(trajectories, n_axes, states), axis=0) <= TOLERANCE
        durations = ruckig_durations(states, n_axes)
        longer = trajectories["duration"] > durations * (1.0 + LONGER)  # not where ruckig has none
        ours += int(np.sum(valid & (trajectories["n_axes"] == n_axes) & ~longer))
        theirs += int(np.sum(np.isfinite(durations)))
    return ours / total, theirs / total


@kernel(types.void(_T, _I8, _F8_1D, _I8_1D, types.intp, *([_F8_2D] * 8)))
def _time_plans(
    trajectory: Array,
    repeats: int,
    times: Array,
    timespec: Array,
    address: int,
    p0: Array,
    v0: Array,
    a0: Array,
    p1: Array,
    v1: Array,
    v_max: Array,
    a_max: Array,
    j_max: Array,
) -> None:
    """Time each re-plan on seven axes, µs; `address` is that of `timespec`."""
    k = 0
    for _ in range(repeats):
        for i in range(len(p0)):
            clock_gettime(CLOCK_MONOTONIC, address)
            begin = timespec[0] * 1_000_000_000 + timespec[1]
            plan(trajectory, 7, p0[i], v0[i], a0[i], p1[i], v1[i], v_max[i], a_max[i], j_max[i])
            clock_gettime(CLOCK_MONOTONIC, address)
            times[k] = (timespec[0] * 1_000_000_000 + timespec[1] - begin) * 1e-3
            k += 1


@kernel(f8(_T, _I8, _I8, f8, _F8_1D, _F8_1D, _F8_1D))
def _evaluate_run(trajectory: Array, first: int, count: int, dt: float, p: Array, v: Array, a: Array) -> float:
    total = 0.0
    for k in range(first, first + count):
        evaluate(trajectory, k * dt, p, v, a)
        total += p[0]
    return total


def _build_peer() -> Path | None:
    """Return the program of ruckig's C++; None where it cannot be built, which is said on stderr."""
    from benchmarks import cpp

    source = os.environ.get("RUCKIG_SOURCE", "")
    files = sorted(f for f in Path(source, "src", "ruckig").glob("*.cpp") if "cloud" not in f.name)
    try:
        if not files:
            raise cpp.BuildError("RUCKIG_SOURCE is not the folder of its unpacked source distribution")
        flags = ["-std=c++20", "-march=native", f"-I{Path(source, 'include')}", *map(str, files)]
        return cpp.build("ruckig_loop.cpp", flags)
    except cpp.BuildError as error:
        skip("ruckig's C++ compiled here", str(error))
        return None


def rows(settings: Settings) -> list[Row]:
    """Return the measurements; none without ruckig, since then nothing says how short a trajectory can be."""
    try:
        import ruckig
    except ImportError:
        skip("trajectories", "ruckig is not installed: pip install ruckig")
        return []
    peer = f"ruckig {ruckig.__version__}"
    program = _build_peer()
    result = []
    for seed, kind in enumerate(KINDS):
        solved = _solved(seed, kind, settings.count(COMPARED // len(KINDS)))
        states = random_states(np.random.default_rng(100 + seed), settings.count(TIMED), kind)
        result += _plan_rows(f"7 axes, {kind}", states, solved, peer, program)
        if kind == "moving":
            result += _evaluation_rows("7 axes", states, peer, program)
    return result


def _plan_rows(robot: str, states: States, solved: tuple[float, float], peer: str, program: Path | None) -> list[Row]:
    import ruckig

    task = "re-plan"
    count = len(states.p0)
    trajectory = np.zeros(1, TRAJECTORY)
    times, timespec = np.zeros(REPEATS * count), np.zeros(2, np.int64)
    _time_plans(trajectory, REPEATS, times, timespec, timespec.ctypes.data, *states)
    lists = [tuple(x[i] for x in states) for i in range(count)]

    planner, out = ruckig.Ruckig(7), ruckig.Trajectory(7)
    stepper, output = ruckig.Ruckig(7, 1e-3), ruckig.OutputParameter(7)
    tasks, inside = [], []
    for i in range(count):
        one = ruckig.InputParameter(7)
        _fill(one, states, i, 7)
        tasks.append(one)
        stepper.reset()
        stepper.update(one, output)
        inside.append(output.calculation_duration)
    python = time_calls(lambda i: plan(trajectory, 7, *lists[i]), REPEATS * count, count)
    theirs = time_calls(lambda i: planner.calculate(tasks[i], out), REPEATS * count, count)
    ours_solved, peer_solved = solved
    result = [
        make_row(task, robot, OURS, "loop", ours_solved, times),
        make_row(task, robot, OURS, "python", ours_solved, python),
        make_row(task, robot, peer, "python", peer_solved, theirs),
        make_row(task, robot, f"{peer}, by its clock", "c++", peer_solved, np.array(inside)),
    ]
    if program is not None:
        compiled = _run_peer(program, states)[: REPEATS * count]
        result.append(make_row(task, robot, peer, "c++", peer_solved, compiled))
    return result


def _run_peer(program: Path, states: States) -> Array:
    """Return the times that ruckig's C++ takes: of plans, then of runs of evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        tasks, times = Path(folder, "tasks"), Path(folder, "times")
        with tasks.open("wb") as file:
            np.array([len(states.p0)], np.int64).tofile(file)
            np.stack(states, axis=1).tofile(file)
        subprocess.run([program, tasks, times, str(REPEATS), str(RUNS), str(RUN)], check=True)
        return np.fromfile(times)


def _evaluation_rows(robot: str, states: States, peer: str, program: Path | None) -> list[Row]:
    """Return what it costs to evaluate the last of the trajectories along its duration."""
    import ruckig

    task = "evaluation"
    trajectory = np.zeros(1, TRAJECTORY)
    plan(trajectory, 7, *(x[-1] for x in states))
    p, v, a = np.zeros(8), np.zeros(8), np.zeros(8)
    duration = float(trajectory[0]["duration"])
    theirs, one = ruckig.Trajectory(7), ruckig.InputParameter(7)
    _fill(one, states, len(states.p0) - 1, 7)
    ruckig.Ruckig(7).calculate(one, theirs)
    # Synchronised axes may take different ways; the one that all wait for takes the same.
    slowest = int(np.argmax(theirs.independent_min_durations))
    agree = []
    for t in np.linspace(0.0, duration, 1_000):
        evaluate(trajectory, float(t), p, v, a)
        agree.append(abs(p[slowest] - theirs.at_time(float(t))[0][slowest]) < 1e-6)
    dt = duration / (RUN * RUNS)
    loop = time_calls(lambda i: _evaluate_run(trajectory, i * RUN, RUN, dt, p, v, a), RUNS, RUNS) / RUN
    python = time_calls(lambda i: evaluate(trajectory, i * RUN * dt, p, v, a), RUNS, RUNS)
    peer_python = time_calls(lambda i: theirs.at_time(i * RUN * dt), RUNS, RUNS)
    solved = np.array(agree)
    result = [
        make_row(task, robot, OURS, "loop", solved, loop),
        make_row(task, robot, OURS, "python", solved, python),
        make_row(task, robot, peer, "python", solved, peer_python),
    ]
    if program is not None:
        compiled = _run_peer(program, states)[-RUNS:]
        result.append(make_row(task, robot, peer, "c++", solved, compiled))
    return result
