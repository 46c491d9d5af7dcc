"""Numerical inverse kinematics and the remote centre of motion on a Panda, beside Robotics Toolbox for Python.

Cold: random reachable poses, solved from nothing, each call from Python timed. Warm: a smooth path at 1 kHz, each pose
from the answer before, with every step within one period. RCM: the same with an instrument through a trocar. An answer
counts when another code's forward kinematics confirms it to 1e-6 m and 1e-6 rad, inside the joint limits and, on a
path, within the step that the velocity limits allow. In compiled loops runs of 200 calls are timed.
"""

import math
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
from numba.core import types

from benchmarks.pinocchio_peer import pinocchio_model
from benchmarks.rows import Row, Settings
from kinematics import chain
from kinematics.chain import ARMS, FORWARD, FORWARD_JACOBIAN
from kinematics.cold_inverse import InverseKinematics
from kinematics.compiled import Array, Part, kernel
from kinematics.description import ArmDescription, load_arm
from kinematics.generated import generated_kernels
from kinematics.inverse import FORWARD_JACOBIAN_PART, FORWARD_PART, track
from kinematics.parts import PART_ADDRESS, part_address, part_at
from kinematics.remote_center import track_through
from kinematics.shaft import shaft_distance

__all__ = ["rows"]

COLD = 100_000
COLD_PEER = 10_000  # of the same poses, since the peer is slower
TURNS = 100
WARM = 20_000
RUN = 200  # calls per run in compiled code
LAPS = 10
PERIOD = 1e-3  # s
CENTERING = 0.5
OURS = "trocar"
TABLES = "trocar, any chain"
RESIDUAL = 4e-13  # the peer stops at half the squared norm of the error
PEERS: dict[str, dict[str, Any]] = {
    "ik_LM": {},  # as it comes: Chan's damping, k = 1
    "ik_LM k=0.1": {"k": 0.1},  # the quickest that was found for this arm
}
Solver = Callable[[Array], Array]
"""Joints, (n,) or (8,), of a pose."""

f8, i8 = types.float64, types.int64

TRACK_LOOP = types.void(PART_ADDRESS, PART_ADDRESS, ARMS, f8, f8[:, :, ::1], f8[::1], f8[:, ::1], i8[::1], i8, i8)


@kernel(TRACK_LOOP)
def _loop_track(
    forward_at: Array,
    forward_jacobian_at: Array,
    arm: Array,
    centering: float,
    T: Array,
    q: Array,
    Q: Array,
    status: Array,
    first: int,
    count: int,
) -> None:
    forward, forward_jacobian = part_at(forward_at, FORWARD_PART), part_at(forward_jacobian_at, FORWARD_JACOBIAN_PART)
    for i in range(first, first + count):
        status[i] = track(forward, forward_jacobian, arm, 0, PERIOD, centering, T[i], q, q)
        for k in range(8):
            Q[i, k] = q[k]


@kernel(
    types.void(
        PART_ADDRESS,
        PART_ADDRESS,
        ARMS,
        f8,
        f8[::1],
        f8[:, ::1],
        f8[:, :, ::1],
        f8[::1],
        f8[:, ::1],
        i8[::1],
        i8,
        i8,
    )
)
def _loop_through(
    forward_at: Array,
    forward_jacobian_at: Array,
    arm: Array,
    centering: float,
    shaft: Array,
    trocar: Array,
    T: Array,
    q: Array,
    Q: Array,
    status: Array,
    first: int,
    count: int,
) -> None:
    forward, forward_jacobian = part_at(forward_at, FORWARD_PART), part_at(forward_jacobian_at, FORWARD_JACOBIAN_PART)
    for i in range(first, first + count):
        status[i] = track_through(forward, forward_jacobian, arm, PERIOD, centering, shaft, trocar[i], 0.02, T[i], q, q)
        for k in range(8):
            Q[i, k] = q[k]


def _parts(description: ArmDescription) -> dict[str, tuple[Part, Part]]:
    """Return the kernels to plug in by name: the arm's own, and those for any chain."""
    own = generated_kernels(description)
    return {OURS: (own.forward, own.forward_jacobian), TABLES: (chain.forward, chain.forward_jacobian)}


def _confirmed(description: ArmDescription, Q: Array, T: Array) -> Array:
    """Return which of the joints (N, 8) are inside their limits and reach the poses, by Pinocchio where it is there."""
    n = description.n_joints
    found = np.zeros_like(T)
    try:
        import pinocchio as pin

        model = pinocchio_model(pin, description)
        data = model.createData()
        for i, q in enumerate(np.ascontiguousarray(Q[:, :n])):
            pin.framesForwardKinematics(model, data, q)
            found[i] = data.oMf[model.nframes - 1].homogeneous
    except ImportError:
        for q, pose in zip(Q, found, strict=True):
            chain.forward(description.record, q, pose)
    arm = description.record[0]
    position = np.linalg.norm(found[:, :3, 3] - T[:, :3, 3], axis=1)
    angle = np.linalg.norm(found[:, :3, :3] - T[:, :3, :3], axis=(1, 2)) / math.sqrt(2.0)
    inside = np.all((Q[:, :n] >= arm["position_min"][:n]) & (Q[:, :n] <= arm["position_max"][:n]), axis=1)
    solved: Array = (position < 1e-6) & (angle < 1e-6) & inside
    return solved


def _small_steps(description: ArmDescription, start: Array, Q: Array) -> Array:
    n = description.n_joints
    steps = np.abs(np.diff(np.vstack([start, Q]), axis=0))[:, :n]
    small: Array = np.all(steps <= description.record[0]["velocity_max"][:n] * PERIOD * (1.0 + 1e-9), axis=1)
    return small


def _row(task: str, library: str, called_from: str, solved: Array, times_us: Array) -> Row:
    median, p99, p999 = np.percentile(times_us, (50.0, 99.0, 99.9))
    return Row(task, "Panda", library, called_from, float(np.mean(solved)), float(median), float(p99), float(p999))


def _poses(description: ArmDescription, Q: Array) -> Array:
    T = np.zeros((len(Q), 4, 4))
    for q, pose in zip(Q, T, strict=True):
        chain.forward(description.record, q, pose)
    return T


def _timed(solve: Solver, T: Array) -> tuple[Array, Array]:
    """Return the answers, (N, 8), and the time of each call, µs."""
    Q, times, clock = np.zeros((len(T), 8)), np.empty(len(T)), time.perf_counter_ns
    for i, pose in enumerate(T):
        begin = clock()
        q = solve(pose)
        times[i] = clock() - begin
        Q[i, : len(q)] = q
    return Q, times / 1e3


def _peer(description: ArmDescription) -> Any:  # noqa: ANN401
    """Return the arm as Robotics Toolbox has it, None without it."""
    try:
        import roboticstoolbox as rtb
    except ImportError:
        return None
    arm, steps = description.record[0], []
    for i in range(description.n_joints):
        for make, value in ((rtb.ET.Rx, arm["alpha"][i]), (rtb.ET.tx, arm["a"][i]), (rtb.ET.tz, arm["d"][i])):
            if value != 0.0:
                steps.append(make(float(value)))
        steps.append(rtb.ET.Rz(qlim=[float(arm["position_min"][i]), float(arm["position_max"][i])]))
    steps.append(rtb.ET.tz(float(arm["tip"][2, 3])))
    return rtb.ETS(steps).compile()


def _our_solver(description: ArmDescription, parts: tuple[Part, Part]) -> Solver:
    solver = InverseKinematics(description, forward=parts[0], forward_jacobian=parts[1])
    return lambda pose: solver.solve(pose).q


def _peer_solver(peer: Any, options: dict[str, Any]) -> Solver:  # noqa: ANN401
    def solve(pose: Array) -> Array:
        answer: Array = peer.ik_LM(pose, tol=RESIDUAL, joint_limits=True, **options)[0]
        return answer

    return solve


def _cold_rows(description: ArmDescription, settings: Settings) -> list[Row]:
    """Return the rows of the random poses; solvers take turns, so that what else the machine does meets all alike."""
    arm, rng = description.record[0], np.random.default_rng(1)
    cold, cold_peer = settings.count(COLD), settings.count(COLD_PEER)
    T = _poses(description, rng.uniform(arm["position_min"], arm["position_max"], (cold, 8)))
    solvers = {name: (_our_solver(description, parts), cold // TURNS) for name, parts in _parts(description).items()}
    peer = _peer(description)
    if peer is not None:
        version = metadata.version("roboticstoolbox-python")
        for name, options in PEERS.items():
            solvers[f"roboticstoolbox {version} {name}"] = _peer_solver(peer, options), cold_peer // TURNS
    for solve, _ in solvers.values():
        _timed(solve, T[:100])
    results: dict[str, list[tuple[Array, Array, Array]]] = {name: [] for name in solvers}
    for first in range(0, cold, cold // TURNS):
        for name, (solve, count) in solvers.items():
            poses = T[first : first + count]
            results[name].append((*_timed(solve, poses), poses))
    made = []
    for name, turns in results.items():
        Q, times, poses = (np.concatenate(parts) for parts in zip(*turns, strict=True))
        made.append(_row("IK cold", name, "python", _confirmed(description, Q, poses), times))
    return made


def _path(description: ArmDescription) -> Array:
    """Return a smooth motion of all joints about the middle of their ranges at a third of their speeds, (WARM, 8)."""
    arm, n, rng = description.record[0], description.n_joints, np.random.default_rng(2)
    low, high = arm["position_min"][:n], arm["position_max"][:n]
    rate = rng.uniform(1.0, 3.0, n)
    size = np.minimum(0.15 * (high - low), 0.3 * arm["velocity_max"][:n] / rate)
    Q = np.zeros((WARM, 8))
    t = PERIOD * np.arange(WARM)[:, None]
    Q[:, :n] = 0.5 * (low + high) + size * np.sin(rate * t + rng.uniform(0.0, 6.0, n))
    return Q


def _loop(call: Callable[[Array, Array, Array, int, int], None], start: Array) -> tuple[Array, Array]:
    """Return the answers of the last lap and the time per call of every run, µs."""
    Q, status, times = np.zeros((WARM, 8)), np.zeros(WARM, np.int64), []
    for _ in range(LAPS):
        q = start.copy()
        for first in range(0, WARM, RUN):
            begin = time.perf_counter_ns()
            call(q, Q, status, first, RUN)
            times.append((time.perf_counter_ns() - begin) / 1e3 / RUN)
    Q[status != 0] = np.nan
    return Q, np.array(times)


def _warm_rows(description: ArmDescription) -> list[Row]:
    path = _path(description)
    T, arm, result = _poses(description, path), description.record, []
    for name, parts in _parts(description).items():
        at = part_address(parts[0], FORWARD), part_address(parts[1], FORWARD_JACOBIAN)
        for goal, centering in (("", 0.0), (", null-space goal", CENTERING)):

            def call(
                q: Array,
                Q: Array,
                status: Array,
                first: int,
                count: int,
                at: tuple[Array, Array] = at,
                c: float = centering,
            ) -> None:
                _loop_track(*at, arm, c, T, q, Q, status, first, count)

            Q, times = _loop(call, path[0])
            solved = _confirmed(description, np.nan_to_num(Q, nan=1e9), T) & _small_steps(description, path[0], Q)
            result.append(_row("IK warm", name + goal, "loop", solved, times))
    peer = _peer(description)
    if peer is not None:
        q = path[0, :7].copy()

        def ask(pose: Array) -> Array:
            nonlocal q
            answer: Array = peer.ik_LM(pose, q0=q, tol=RESIDUAL, joint_limits=True, k=0.1)[0]
            q = answer
            return answer

        few = T[: WARM // 4]
        Q, times = _timed(ask, few)
        solved = _confirmed(description, Q, few) & _small_steps(description, path[0], Q)
        version = metadata.version("roboticstoolbox-python")
        result.append(_row("IK warm", f"roboticstoolbox {version} ik_LM k=0.1", "python", solved, times))
    return result


def _through_rows(description: ArmDescription) -> list[Row]:
    """Return the rows of a motion in a cone of 30 degrees about a slowly moving trocar."""
    arm, shaft = description.record, np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    start = np.array([0.0, -0.3, 0.0, -2.2, 0.0, 2.0, 0.8, 0.0])
    T_start = _poses(description, start[None])[0]
    t = PERIOD * np.arange(WARM)
    trocar = np.tile(T_start[:3, 3] - 0.15 * T_start[:3, 2], (WARM, 1))
    angle, turn = math.radians(15.0) * (0.5 - 0.5 * np.cos(2.0 * np.pi * t / 10.0)), 2.0 * np.pi * t / 3.0
    across = np.cos(turn)[:, None] * T_start[:3, 0] + np.sin(turn)[:, None] * T_start[:3, 1]
    T = np.tile(T_start, (WARM, 1, 1))
    T[:, :3, 3] = trocar + 0.15 * (np.cos(angle)[:, None] * T_start[:3, 2] + np.sin(angle)[:, None] * across)
    trocar += np.sin(np.pi * t / 2.0)[:, None] * (0.005, 0.003, 0.002)
    result = []
    for name, parts in _parts(description).items():
        at = part_address(parts[0], FORWARD), part_address(parts[1], FORWARD_JACOBIAN)

        def call(q: Array, Q: Array, status: Array, first: int, count: int, at: tuple[Array, Array] = at) -> None:
            _loop_through(*at, arm, CENTERING, shaft, trocar, T, q, Q, status, first, count)

        Q, times = _loop(call, start)
        found = _poses(description, np.nan_to_num(Q, nan=1e9))
        distance = np.array([shaft_distance(pose, shaft, point) for pose, point in zip(found, trocar, strict=True)])
        tip = np.linalg.norm(found[:, :3, 3] - T[:, :3, 3], axis=1)
        solved = (distance < 1e-6) & (tip < 1e-6) & _small_steps(description, start, Q)
        result.append(_row("RCM", name, "loop", solved, times))
    return result


def rows(settings: Settings | None = None) -> list[Row]:
    """Return the measurements; `settings.quick` asks for few poses."""
    settings = settings or Settings()
    description, held = load_arm("panda"), load_arm("panda:straight_instrument_300")
    return [*_cold_rows(description, settings), *_warm_rows(description), *_through_rows(held)]
