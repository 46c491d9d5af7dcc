"""Forward kinematics, Jacobian and inverse kinematics of the PSM, beside Pinocchio.

Every answer is checked by another code's forward kinematics before anything is timed. From Python, each call is timed.
In a compiled loop, which is how the cycle calls them, runs of 200 calls are timed, and a percentile is of those runs;
the one entry from Python into each run is not taken off.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from kinematics import chain, dynamics, psm
from kinematics.chain import ARMS
from kinematics.compiled import kernel
from kinematics.description import ArmDescription, Convention, load_arm

__all__ = ["Row", "pinocchio_model", "rows"]

Array = np.ndarray[Any, Any]

CALLS = 20_000  # of each function from Python
CONFIGURATIONS = 2_000
RUNS = 3_000  # in the compiled loop
RUN = 200  # calls per run
POSITION_TOLERANCE = 1e-6  # m: what counts as solved
ANGLE_TOLERANCE = 1e-6  # rad

f8 = types.float64
LOOP = types.int64(ARMS, f8[:, ::1], f8[:, :, ::1], types.int64, types.int64)


class Row(NamedTuple):
    """One measurement."""

    task: str
    robot: str
    library: str
    called_from: str
    """python, or loop: compiled code."""
    solved: float
    """Part of the answers that another code confirmed."""
    median_us: float
    p99_us: float
    p999_us: float


@kernel(LOOP)
def _loop_forward(arm: Array, Q: Array, T: Array, first: int, count: int) -> int:
    for i in range(first, first + count):
        psm.forward(arm, Q[i], T[i])
    return 0


@kernel(LOOP)
def _loop_jacobian(arm: Array, Q: Array, J: Array, first: int, count: int) -> int:
    for i in range(first, first + count):
        psm.jacobian(arm, Q[i], J[i])
    return 0


@kernel(types.int64(ARMS, f8[:, ::1], f8[:, :, ::1], f8[:, :, ::1], types.int64, types.int64))
def _loop_forward_jacobian(arm: Array, Q: Array, T: Array, J: Array, first: int, count: int) -> int:
    for i in range(first, first + count):
        psm.forward_jacobian(arm, Q[i], T[i], J[i])
    return 0


@kernel(types.int64(ARMS, f8[:, :, ::1], f8[:, ::1], f8[:, ::1], types.int64, types.int64))
def _loop_inverse(arm: Array, T: Array, Q_near: Array, Q: Array, first: int, count: int) -> int:
    failures = 0
    for i in range(first, first + count):
        if psm.inverse(arm, T[i], Q_near[i], Q[i]) != 0:
            failures += 1
    return failures


@kernel(types.int64(ARMS, f8[:, ::1], f8[:, ::1], types.int64, types.int64))
def _loop_gravity(arm: Array, Q: Array, effort: Array, first: int, count: int) -> int:
    for i in range(first, first + count):
        dynamics.gravity_effort(arm, Q[i], effort[i])
    return 0


def pinocchio_model(pin: Any, description: ArmDescription) -> Any:  # noqa: ANN401
    """Return Pinocchio's model of an arm, built joint by joint from its file's rows, and the frame of its tip last.

    A modified row is a fixed transform followed by the joint; a standard one has a fixed part after the joint too,
    which goes into the next joint's placement and into the link's inertia. Frames, where the file gives them, are
    taken.
    """
    arm, file = description.record[0], description.file
    model = pin.Model()
    model.gravity.linear = arm["gravity"].copy()
    tail = pin.SE3.Identity()
    parent = 0
    for i, name in enumerate(description.axis_names[: description.n_joints]):
        prismatic = bool(arm["prismatic"][i])
        theta = arm["theta"][i] + (0.0 if prismatic else arm["offset"][i])
        d = arm["d"][i] + (arm["offset"][i] if prismatic else 0.0)
        turn = pin.SE3(pin.utils.rotate("x", arm["alpha"][i]), np.array([arm["a"][i], 0.0, 0.0]))
        along = pin.SE3(pin.utils.rotate("z", theta), np.array([0.0, 0.0, d]))
        if arm["convention"] == Convention.FRAMES:
            placement = pin.SE3(np.array(file.axes[i].placement))
        elif arm["convention"] == Convention.MODIFIED:
            placement = turn * along
        else:
            placement = tail * along
            tail = turn  # TransX(a) RotX(alpha); the two commute, so the modified row's transform serves
        parent = model.addJoint(parent, pin.JointModelPZ() if prismatic else pin.JointModelRZ(), placement, name)
        if file.dynamics is not None:
            link = file.dynamics.links[i]
            inertia = pin.Inertia(link.mass, np.array(link.com), np.array(link.inertia))
            model.appendBodyToJoint(parent, inertia, tail)
    T_last_tip = np.array(file.tip.matrix)
    tip = pin.SE3(T_last_tip[:3, :3].copy(), T_last_tip[:3, 3].copy())
    model.addFrame(pin.Frame("tip", parent, tail * tip, pin.FrameType.OP_FRAME))
    return model


def _confirmed(A: Array, B: Array) -> Array:
    """Return which of the poses (n, 4, 4) agree."""
    position = np.linalg.norm(A[:, :3, 3] - B[:, :3, 3], axis=1)
    # The chord between rotations is 2 sqrt(2) sin(angle / 2): good to the last digit near 0, as the trace is not.
    angle = np.linalg.norm(A[:, :3, :3] - B[:, :3, :3], axis=(1, 2)) / math.sqrt(2.0)
    agree: Array = (position < POSITION_TOLERANCE) & (angle < ANGLE_TOLERANCE)
    return agree


def _row(task: str, library: str, called_from: str, solved: float, times_us: Array) -> Row:
    median, p99, p999 = np.percentile(times_us, (50.0, 99.0, 99.9))
    return Row(task, "PSM Classic", library, called_from, solved, float(median), float(p99), float(p999))


def _time_python(call: Callable[[int], object]) -> Array:
    times = np.empty(CALLS)
    clock = time.perf_counter_ns
    for k in range(CALLS):
        i = k % CONFIGURATIONS
        begin = clock()
        call(i)
        times[k] = clock() - begin
    return times / 1e3


def _time_loop(call: Callable[[int], object]) -> Array:
    times = np.empty(RUNS)
    clock = time.perf_counter_ns
    for k in range(RUNS):
        first = (k * RUN) % CONFIGURATIONS
        begin = clock()
        call(first)
        times[k] = clock() - begin
    return times / 1e3 / RUN


def rows() -> list[Row]:
    """Return the measurements."""
    description = load_arm("psm_classic")
    arm = description.record
    rng = np.random.default_rng(1)
    low, high = arm[0]["position_min"].copy(), arm[0]["position_max"].copy()
    low[2] = 0.02  # the wrist outside the cannula, where the arm works
    Q = rng.uniform(low, high, (CONFIGURATIONS, 8))
    Q_near = np.clip(Q + rng.normal(0.0, 1e-3, Q.shape), low, high)
    T, T_check = np.zeros((CONFIGURATIONS, 4, 4)), np.zeros((CONFIGURATIONS, 4, 4))
    J, J_check = np.zeros((CONFIGURATIONS, 6, 8)), np.zeros((CONFIGURATIONS, 6, 8))
    Q_solved, effort = np.zeros_like(Q), np.zeros_like(Q)
    pairs = range(CONFIGURATIONS)

    for i in pairs:
        chain.forward(arm, Q[i], T_check[i])
        chain.jacobian(arm, Q[i], J_check[i])
    _loop_forward_jacobian(arm, Q, T, J, 0, CONFIGURATIONS)
    forward_solved = float(np.mean(_confirmed(T, T_check)))
    jacobian_solved = float(np.mean(np.abs(J - J_check).max(axis=(1, 2)) < POSITION_TOLERANCE))
    _loop_inverse(arm, T_check, Q_near, Q_solved, 0, CONFIGURATIONS)
    for i in pairs:
        chain.forward(arm, Q_solved[i], T[i])
    inside = np.all((Q_solved >= arm[0]["position_min"]) & (Q_solved <= arm[0]["position_max"]), axis=1)
    inverse_solved = float(np.mean(_confirmed(T, T_check) & inside))

    ours = "trocar"
    both_solved = min(forward_solved, jacobian_solved)
    result = [
        _row("FK", ours, "python", forward_solved, _time_python(lambda i: psm.forward(arm, Q[i], T[i]))),
        _row("FK", ours, "loop", forward_solved, _time_loop(lambda i: _loop_forward(arm, Q, T, i, RUN))),
        _row("J", ours, "python", jacobian_solved, _time_python(lambda i: psm.jacobian(arm, Q[i], J[i]))),
        _row("J", ours, "loop", jacobian_solved, _time_loop(lambda i: _loop_jacobian(arm, Q, J, i, RUN))),
        _row("FK+J", ours, "python", both_solved, _time_python(lambda i: psm.forward_jacobian(arm, Q[i], T[i], J[i]))),
        _row("FK+J", ours, "loop", both_solved, _time_loop(lambda i: _loop_forward_jacobian(arm, Q, T, J, i, RUN))),
        _row(
            "IK",
            ours,
            "python",
            inverse_solved,
            _time_python(lambda i: psm.inverse(arm, T_check[i], Q_near[i], Q_solved[i])),
        ),
        _row(
            "IK",
            ours,
            "loop",
            inverse_solved,
            _time_loop(lambda i: _loop_inverse(arm, T_check, Q_near, Q_solved, i, RUN)),
        ),
    ]
    gravity_times = _time_loop(lambda i: _loop_gravity(arm, Q, effort, i, RUN))
    result += _pinocchio_rows(description, Q, T_check, J_check, effort, gravity_times)
    return result


def _pinocchio_rows(
    description: ArmDescription, Q: Array, T: Array, J: Array, effort: Array, gravity_times: Array
) -> list[Row]:
    """Return the peer's rows, and ours of the gravity that only the peer can confirm; none without the peer."""
    try:
        import pinocchio as pin
    except ImportError:
        return []
    model = pinocchio_model(pin, description)
    data = model.createData()
    n_joints, tip = description.n_joints, model.nframes - 1
    joints = np.ascontiguousarray(Q[:, :n_joints])
    axes = pin.ReferenceFrame.LOCAL_WORLD_ALIGNED

    def forward_jacobian(i: int) -> Any:  # noqa: ANN401
        # The fastest of Pinocchio's ways to both: this one call leaves the tip's pose in data.oMf, as is checked below.
        return pin.computeFrameJacobian(model, data, joints[i], tip, axes)

    def forward(i: int) -> None:
        pin.framesForwardKinematics(model, data, joints[i])

    T_peer, T_both = np.zeros_like(T), np.zeros_like(T)
    agree_J, agree_g = [], []
    for i in range(len(Q)):
        agree_J.append(np.abs(forward_jacobian(i) - J[i, :, :n_joints]).max() < POSITION_TOLERANCE)
        T_both[i] = data.oMf[tip].homogeneous
        forward(i)
        T_peer[i] = data.oMf[tip].homogeneous
        gravity = pin.computeGeneralizedGravity(model, data, joints[i])
        agree_g.append(np.abs(gravity - effort[i, :n_joints]).max() < 1e-9)
    solved = float(np.mean(_confirmed(T_peer, T)))

    both_solved = float(np.mean(_confirmed(T_both, T) & np.array(agree_J)))
    return [
        _row("gravity", "trocar", "loop", float(np.mean(agree_g)), gravity_times),
        _row("FK", f"pinocchio {pin.__version__}", "python", solved, _time_python(forward)),
        _row("FK+J", f"pinocchio {pin.__version__}", "python", both_solved, _time_python(forward_jacobian)),
    ]
