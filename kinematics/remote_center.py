"""A straight instrument through a trocar, held by any arm: motions that leave the remote centre where it is.

The shaft is a straight line in the tip's frame: a point on it and its direction, which leads out of the arm. The
trocar is a point in the base's frame, which may move slowly. Where the tip is then fixes where the shaft points, and
only the roll about it is left of the wanted rotation. With c the trocar, p the tip, L = |c - p|, a the shaft's point
nearest to the tip's origin and d its direction, the trocar in the tip's frame must be

    v = a - h d,     h = sqrt(L² - a²)     how deep the shaft's point nearest to the tip is beyond the trocar

and the rotation R must bring it there, R v = c - p. Of all those R, the nearest to the wanted R_w is the smallest turn
from R_w v to c - p, times R_w. So a pose that keeps the remote centre needs nothing but an inverse kinematics.

Kernels for the cycle allocate nothing. `RemoteCenter` is for Python.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba.core import types

from kinematics.chain import ARMS, IkStatus
from kinematics.cold_inverse import IkResult, InverseKinematics, PoseError, checked_array
from kinematics.compiled import Array, Part, kernel
from kinematics.damped_least_squares import factor, gram, pose_error, substitute
from kinematics.description import ArmDescription
from kinematics.frames import is_pose, rotation_from_vector
from kinematics.generated import generated_kernels
from kinematics.inverse import (
    BOUNDED_STEPS,
    FORWARD_JACOBIAN_PART,
    FORWARD_PART,
    LEAST_DAMPING,
    POSE_TOLERANCE,
    TOLERANCE,
    IkTask,
    along,
    converge,
    minimise,
    open_window,
    share_among_free,
)
from kinematics.shaft import Z_SHAFT, project, shaft_distance, shaft_offset
from kinematics.stack import stack_matrix

__all__ = [
    "RemoteCenter",
    "StepResult",
    "track_through",
]

f8, i8 = types.float64, types.int64
VECTOR, MATRIX = f8[::1], f8[:, ::1]


FRACTION = 0.8  # of the part of a step that a first order estimate says the joints can do
FRACTIONS = 3  # parts of a step that are tried, each a fourth of the one before, the last one none
RIDGE_DAMPING = 1e-5  # λ²: motions of the joints that move the tip by less than its root are taken for free


@kernel(f8(MATRIX, MATRIX))
def _apart(T_a: Array, T_b: Array) -> float:
    """Return the squared distance of two poses' origins."""
    x, y, z = T_a[0, 3] - T_b[0, 3], T_a[1, 3] - T_b[1, 3], T_a[2, 3] - T_b[2, 3]
    total: float = x * x + y * y + z * z
    return total


@kernel(types.void(MATRIX, MATRIX, f8, MATRIX))
def _part_way(T_from: Array, T_to: Array, part: float, T: Array) -> None:
    """Write the pose a part of the way: the position along the straight line, the rotation about one axis."""
    e = pose_error(T_to, T_from)
    turn, R = stack_matrix(1, 3)[0], stack_matrix(3, 3)
    turn[0], turn[1], turn[2] = part * e[3], part * e[4], part * e[5]
    rotation_from_vector(turn, R)
    for i in range(3):
        for j in range(3):
            T[i, j] = R[i, 0] * T_from[0, j] + R[i, 1] * T_from[1, j] + R[i, 2] * T_from[2, j]
        T[3, i] = 0.0
    T[0, 3], T[1, 3], T[2, 3] = T_from[0, 3] + part * e[0], T_from[1, 3] + part * e[1], T_from[2, 3] + part * e[2]
    T[3, 3] = 1.0


@kernel(types.boolean(MATRIX, VECTOR, VECTOR, f8, MATRIX))
def _hold_depth(T_near: Array, shaft: Array, trocar: Array, depth_min: float, T: Array) -> bool:
    """Replace T's tip position, if the way to it from T_near comes nearer to the trocar than depth_min allows.

    The new one is on the present line from the trocar, as shallow as allowed, or where the tip is if that is shallower:
    the shaft must not swing round because the tip passes by the trocar. Returns whether it was replaced.
    """
    x, y, z = shaft_offset(shaft)
    least = math.sqrt(depth_min * depth_min + x * x + y * y + z * z)
    ax, ay, az = T_near[0, 3] - trocar[0], T_near[1, 3] - trocar[1], T_near[2, 3] - trocar[2]
    bx, by, bz = T[0, 3] - trocar[0], T[1, 3] - trocar[1], T[2, 3] - trocar[2]
    dx, dy, dz = bx - ax, by - ay, bz - az
    way = dx * dx + dy * dy + dz * dz
    s = 1.0
    if way > 0.0:
        s = min(max(-(ax * dx + ay * dy + az * dz) / way, 0.0), 1.0)
    cx, cy, cz = ax + s * dx, ay + s * dy, az + s * dz
    at, nearest, goal = ax * ax + ay * ay + az * az, cx * cx + cy * cy + cz * cz, bx * bx + by * by + bz * bz
    # From where it is too shallow already, the way may only lead out.
    if nearest >= least * least or (nearest >= at and goal >= at):
        return False
    scale = min(least / math.sqrt(at), 1.0) if at > 0.0 else 0.0
    T[0, 3], T[1, 3], T[2, 3] = trocar[0] + scale * ax, trocar[1] + scale * ay, trocar[2] + scale * az
    return True


@kernel(types.void(FORWARD_JACOBIAN_PART, ARMS, MATRIX, VECTOR, VECTOR, VECTOR, VECTOR))
def _towards(forward_jacobian: Part, arm: Array, T: Array, low: Array, high: Array, near: Array, q: Array) -> None:
    """Write the joints a part of the way to T, as far as the window lets the fastest of them go.

    Since all are slowed alike, the tip turns and moves straight towards T.
    """
    n_joints = arm[0].n_joints
    now, J = stack_matrix(4, 4), stack_matrix(6, 8)
    least, most = stack_matrix(1, 8)[0], stack_matrix(1, 8)[0]
    for i in range(8):
        least[i], most[i] = min(arm[0].position_min[i], near[i]), max(arm[0].position_max[i], near[i])
    forward_jacobian(arm, near, now, J)
    share_among_free(J, near, least, most, n_joints, LEAST_DAMPING, pose_error(T, now), q)
    part = 1.0
    for i in range(n_joints):
        step = q[i] - near[i]
        if step > 0.0:
            part = min(part, (high[i] - near[i]) / step)
        elif step < 0.0:
            part = min(part, (low[i] - near[i]) / step)
    for i in range(n_joints):
        q[i] = min(max(near[i] + part * (q[i] - near[i]), low[i]), high[i])


OFF_THE_RIDGE = types.void(
    FORWARD_PART,
    FORWARD_JACOBIAN_PART,
    ARMS,
    VECTOR,
    VECTOR,
    MATRIX,
    MATRIX,
    VECTOR,
    VECTOR,
    VECTOR,
    VECTOR,
)


@kernel(OFF_THE_RIDGE)
def _off_the_ridge(
    forward: Part,
    forward_jacobian: Part,
    arm: Array,
    shaft: Array,
    trocar: Array,
    T_near: Array,
    T_goal: Array,
    low: Array,
    high: Array,
    near: Array,
    q: Array,
) -> None:
    """Replace q by joints beside `near` that have the shaft in the trocar and the tip nearer to its goal, if any are.

    A straight elbow can only bend, which moves the tip in second order: no part of the way is short enough for one
    period. So the joints are moved where the tip moves least, to either side, and the tip goes where that takes it.
    """
    n_joints = arm[0].n_joints
    now, J = stack_matrix(4, 4), stack_matrix(6, 8)
    shift, other = stack_matrix(1, 8)[0], stack_matrix(1, 8)[0]
    forward_jacobian(arm, near, now, J)
    for i in range(8):
        shift[i] = 0.0
    for i in range(n_joints):
        shift[i] = (high[i] - low[i]) / (2 + i)  # no two alike: no symmetry of the arm may cancel it
    A, rest = gram(J, RIDGE_DAMPING, shift, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    y = substitute(factor(A), rest)
    for i in range(n_joints):
        shift[i] += along(J, i, y)
    nearest = _apart(T_near, T_goal)
    for side in (1.0, -1.0):
        part = 1.0
        for i in range(n_joints):
            room = high[i] - near[i] if side * shift[i] > 0.0 else near[i] - low[i]
            if abs(shift[i]) > room:
                part = min(part, room / abs(shift[i]))
        for i in range(8):
            other[i] = near[i] + 0.9 * part * side * shift[i]
        forward(arm, other, now)
        if project(shaft, trocar, 0.0, now, now) != IkStatus.SOLVED or _apart(now, T_goal) >= nearest:
            continue
        error, _ = minimise(forward_jacobian, arm, IkTask.POSE, now, low, high, other, BOUNDED_STEPS)
        if error <= TOLERANCE * TOLERANCE:
            nearest = _apart(now, T_goal)
            for i in range(n_joints):
                q[i] = other[i]


TRACK_THROUGH = i8(FORWARD_PART, FORWARD_JACOBIAN_PART, ARMS, f8, f8, VECTOR, VECTOR, f8, MATRIX, VECTOR, VECTOR)


@kernel(TRACK_THROUGH)
def track_through(
    forward: Part,
    forward_jacobian: Part,
    arm: Array,
    period: float,
    centering: float,
    shaft: Array,
    trocar: Array,
    depth_min: float,
    T: Array,
    q_near: Array,
    q: Array,
) -> int:
    """Write the joints that bring the tip to T's position and nearest to its rotation with the shaft in the trocar.

    As `inverse.track`, no joint steps further than one period allows, and none leaves its limits. Where that keeps
    the tip from its goal, it goes as far on its way there as the joints can with the shaft still in the trocar: the tip
    lags, the remote centre holds. Only when the joints cannot even follow the trocar itself does the shaft leave it.

    Args:
        forward: Part, FORWARD.
        forward_jacobian: Part, FORWARD_JACOBIAN.
        arm: The record, (1,).
        period: Of the cycle, s.
        centering: Gain of the null space's pull towards the middle of the joints' ranges, as in `inverse.track`.
        shaft: Point and unit direction in the tip's frame, (6,).
        trocar: In the base's frame, at this tick, (3,).
        depth_min: Least depth of the tip beyond the trocar, m, above zero.
        T: T_base_tip wanted, (4, 4); its rotation need not pass the trocar.
        q_near: Joints of the tick before, (8,).
        q: Out: joints, (8,); may be q_near itself.

    Returns:
        IkStatus: SOLVED; STEP_LIMITED or JOINT_LIMIT, the tip is on its way, the shaft in the trocar; TOO_SHALLOW, the
        way comes too near to the trocar, so the tip is kept at depth_min in the direction in which it is; SINGULAR,
        the wanted rotation is upside down, so it is not followed; NOT_A_POSE (q is q_near). Whether the shaft is in
        the trocar is for `shaft_distance` to say.
    """
    near, low, high = stack_matrix(1, 8)[0], stack_matrix(1, 8)[0], stack_matrix(1, 8)[0]
    T_near, T_goal, T_way = (
        stack_matrix(4, 4),
        stack_matrix(4, 4),
        stack_matrix(4, 4),
    )
    finite = open_window(arm, period, q_near, near, low, high)
    finite = finite and math.isfinite(trocar[0] + trocar[1] + trocar[2])
    if not finite or not is_pose(T, POSE_TOLERANCE):
        for i in range(8):
            q[i] = near[i]
        return IkStatus.NOT_A_POSE
    forward(arm, near, T_near)
    for i in range(4):
        for j in range(4):
            T_goal[i, j] = T[i, j]
    status = IkStatus.SOLVED
    if _hold_depth(T_near, shaft, trocar, depth_min, T_goal):
        status = IkStatus.TOO_SHALLOW
    # The depth is seen to; here only what has no answer at all is refused.
    if project(shaft, trocar, 0.0, T_goal, T_goal) != IkStatus.SOLVED:
        status = IkStatus.SINGULAR
        for i in range(4):
            for j in range(4):
                T_goal[i, j] = T_near[i, j]
        project(shaft, trocar, 0.0, T_goal, T_goal)
    solved, ratio = converge(forward, forward_jacobian, arm, IkTask.POSE, period, centering, T_goal, near, low, high, q)
    if solved:
        return status
    for i in range(8):
        q[i] = near[i]
    error, _ = minimise(forward_jacobian, arm, IkTask.POSE, T_goal, low, high, q, BOUNDED_STEPS)
    if error <= TOLERANCE * TOLERANCE:
        return status
    if status == IkStatus.SOLVED:
        status = IkStatus.STEP_LIMITED if ratio > 1.0 else IkStatus.JOINT_LIMIT
    part = min(FRACTION / ratio if ratio > 0.0 else 0.5, 0.5)
    for attempt in range(FRACTIONS):
        if attempt == FRACTIONS - 1:
            part = 0.0
        _part_way(T_near, T_goal, part, T_way)
        if project(shaft, trocar, 0.0, T_way, T_way) != IkStatus.SOLVED:
            continue
        for i in range(8):
            q[i] = near[i]
        error, _ = minimise(forward_jacobian, arm, IkTask.POSE, T_way, low, high, q, BOUNDED_STEPS)
        if error <= TOLERANCE * TOLERANCE:
            if part == 0.0:
                _off_the_ridge(forward, forward_jacobian, arm, shaft, trocar, T_near, T_goal, low, high, near, q)
            return status
        part *= 0.25
    # Not even that: straight towards it, all joints slowed alike, unless to stand still leaves the shaft nearer.
    _towards(forward_jacobian, arm, T_way, low, high, near, q)
    forward(arm, q, T_way)
    if shaft_distance(T_way, shaft, trocar) >= shaft_distance(T_near, shaft, trocar):
        for i in range(8):
            q[i] = near[i]
    return status


class StepResult(NamedTuple):
    """One tick's joints."""

    q: Array
    """(8,)."""
    status: IkStatus
    distance: float
    """Of the shaft from the trocar, m."""


class RemoteCenter:
    """A straight instrument of one arm in a trocar, from Python."""

    def __init__(
        self,
        description: ArmDescription,
        *,
        shaft: npt.ArrayLike = Z_SHAFT,
        depth_min: float = 0.01,
        forward: Part | None = None,
        forward_jacobian: Part | None = None,
    ) -> None:
        """Check the shaft.

        Args:
            description: The arm; its tip is the instrument's.
            shaft: A point on the shaft and its direction out of the arm, in the tip's frame, (6,).
            depth_min: Least depth of the tip beyond the trocar, m.
            forward: Kernel, `chain.FORWARD`; None: the arm's own, generated.
            forward_jacobian: Kernel, `chain.FORWARD_JACOBIAN`; None: the arm's own.

        Raises:
            PoseError: The shaft has no direction, or depth_min is not above zero.
        """
        line = checked_array("shaft", shaft, (6,), "a point and a direction in the tip's frame").copy()
        length = float(np.linalg.norm(line[3:]))
        if not (math.isfinite(line.sum()) and length > 0.0):
            raise PoseError(f"shaft = {shaft!r}: the direction, the last three, must not be zero, and all finite")
        if not 0.0 < depth_min < math.inf:
            raise PoseError(f"depth_min = {depth_min!r} m: allowed is above zero; 0.01 is usual")
        line[3:] /= length
        own = generated_kernels(description)
        forward, forward_jacobian = forward or own.forward, forward_jacobian or own.forward_jacobian
        self.description = description
        self.shaft = line
        self.depth_min = depth_min
        self._arm = description.record
        self._forward, self._forward_jacobian = forward, forward_jacobian
        self._inverse = InverseKinematics(description, forward=forward, forward_jacobian=forward_jacobian)

    def project(self, T: npt.ArrayLike, trocar: npt.ArrayLike) -> Array:
        """Return the pose, (4, 4), with T's tip position and the nearest rotation with the shaft in the trocar.

        Raises:
            PoseError: T is no pose, the tip would be too shallow, or the rotation is upside down.
        """
        pose = checked_array("T", T, (4, 4), "a pose, T_base_tip")
        if not is_pose(pose, POSE_TOLERANCE):
            raise PoseError(f"T = {pose!r} is no rigid pose: orthonormalise its rotation")
        T_through = np.zeros((4, 4))
        point = checked_array("trocar", trocar, (3,), "a point in the base's frame")
        status = project(self.shaft, point, self.depth_min, pose, T_through)
        if status == IkStatus.TOO_SHALLOW:
            depth = float(np.linalg.norm(pose[:3, 3] - point))
            raise PoseError(
                f"the tip is {depth:.4f} m from the trocar, which leaves it less deep than depth_min = "
                f"{self.depth_min} m: move it further in"
            )
        if status != IkStatus.SOLVED:
            raise PoseError("the wanted rotation points the shaft out of the trocar: turn it by half a turn")
        return T_through

    def solve(
        self, T: npt.ArrayLike, trocar: npt.ArrayLike, *, q_near: npt.ArrayLike | None = None, seed: int = 0
    ) -> IkResult:
        """Return joints that hold T's tip position with the shaft in the trocar, from anywhere.

        Raises:
            PoseError: As `project`.
        """
        return self._inverse.solve(self.project(T, trocar), q_near=q_near, seed=seed)

    def step(
        self,
        T: npt.ArrayLike,
        trocar: npt.ArrayLike,
        q_near: npt.ArrayLike,
        *,
        period: float = 1e-3,
        centering: float = 0.0,
    ) -> StepResult:
        """Return one tick's joints, as `track_through`.

        Raises:
            PoseError: An argument has another shape, or period is not above zero.
        """
        if not period > 0.0:
            raise PoseError(f"period = {period!r} s: allowed is above zero")
        pose = checked_array("T", T, (4, 4), "a pose, T_base_tip")
        point = checked_array("trocar", trocar, (3,), "a point in the base's frame")
        near = checked_array("q_near", q_near, (8,), "joint positions")
        q, reached = np.zeros(8), np.zeros((4, 4))
        status = track_through(
            self._forward,
            self._forward_jacobian,
            self._arm,
            period,
            centering,
            self.shaft,
            point,
            self.depth_min,
            pose,
            near,
            q,
        )
        self._forward(self._arm, q, reached)
        return StepResult(q, IkStatus(status), shaft_distance(reached, self.shaft, point))
