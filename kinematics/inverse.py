"""Inverse kinematics of any serial chain, by damped least squares inside the joints' limits.

`track` is for the cycle: from joints near by, within what the joints can do in one period, allocation-free. A cold
start, from anywhere, is `kinematics.cold_inverse`. The formulas are in docs/inverse_kinematics.md.

Parts: `forward` and `forward_jacobian` are `kinematics.chain`'s, which fit every arm, or an arm's own, which are
several times faster.
"""

import math
from enum import IntEnum

from numba.core import types
from numba.core.types.containers import Tuple

from kinematics.chain import ARMS, FORWARD, FORWARD_JACOBIAN, IkStatus
from kinematics.compiled import Array, Part, kernel
from kinematics.damped_least_squares import TWIST, Twist6, factor, gram, pose_error, squared, substitute
from kinematics.frames import is_pose
from kinematics.stack import stack_matrix

__all__ = [
    "FORWARD_JACOBIAN_PART",
    "FORWARD_PART",
    "TOLERANCE",
    "TRACK",
    "IkTask",
    "descend",
    "track",
]

f8, i8 = types.float64, types.int64

FORWARD_PART = types.FunctionType(FORWARD)
FORWARD_JACOBIAN_PART = types.FunctionType(FORWARD_JACOBIAN)

TRACK = i8(FORWARD_PART, FORWARD_JACOBIAN_PART, ARMS, i8, f8, f8, f8[:, ::1], f8[::1], f8[::1])
"""(forward, forward_jacobian, arm, task, period, centering, T, q_near, q): see `track`."""


class IkTask(IntEnum):
    """What of the tip's pose is wanted."""

    POSE = 0
    POSITION = 1
    """The rotation is free: for arms with fewer than six joints, or where it does not matter."""


TOLERANCE = 3e-7  # m and rad, of the error's norm: what counts as solved
POSE_TOLERANCE = 1e-6  # a rotation further from orthonormal is refused: its answer would be as far off
ERROR_DAMPING = 0.01  # λ² per squared error: large far away, none at the solution (Sugihara, IEEE T-RO 27(5), 2011)
LEAST_DAMPING = 1e-10  # λ²: keeps the matrix invertible at a singularity; changes a step by 1e-10 / σ²
CHORD_LIMIT = 1e-4  # squared error from which the last Jacobian's factor is used again
CHORD_GAIN = 1e-2  # a step with an old factor must reduce the squared error to this, or the factor is renewed
PULL_SHARE = 0.2  # of a joint's step limit that the pull towards the middle may take: the rest is the task's
LEAST_WALL = 0.05  # of 1 - u²: nearer to the limit, or past it, the pull grows no more
NEAR = 1e-5  # squared error: so near, a step is shared among the joints that are free to do it
BOUNDED_STEPS = 12  # of the search inside the window: it may go on in the next tick
RIDGE_STEPS = 6  # of each search beside a ridge
RIDGE_GAIN = 1.0 - 1e-7  # of the squared error: what one period gains beside a ridge is of second order
STATIONARY = 1e-8  # rad, m: a search whose step is smaller has ended
WORTHWHILE = 0.01  # of the squared error: where a step promises less, the goal is called out of reach
WORSE = 10.0  # factor of the damping after a step that made the error larger


@kernel(TWIST(i8, f8[:, ::1], f8[:, ::1]))
def task_error(task: int, T_goal: Array, T: Array) -> Twist6:
    """Return what is left to the goal, the rotation's part zero when it is free."""
    e = pose_error(T_goal, T)
    if task == IkTask.POSITION:
        e = (e[0], e[1], e[2], 0.0, 0.0, 0.0)
    return e


@kernel(types.void(i8, f8[:, ::1]))
def keep_task_rows(task: int, J: Array) -> None:
    """Empty the rows of what is free."""
    if task == IkTask.POSITION:
        for k in range(8):
            J[3, k], J[4, k], J[5, k] = 0.0, 0.0, 0.0


@kernel(f8(f8[:, ::1], i8, TWIST))
def along(J: Array, i: int, y: Twist6) -> float:
    """Return entry i of Jᵀ y."""
    total: float = J[0, i] * y[0] + J[1, i] * y[1] + J[2, i] * y[2] + J[3, i] * y[3] + J[4, i] * y[4] + J[5, i] * y[5]
    return total


@kernel(types.void(f8[:, ::1], f8[::1], f8[::1], f8[::1], i8, TWIST))
def lock(J: Array, q: Array, low: Array, high: Array, n_joints: int, e: Twist6) -> None:
    """Empty the columns of joints at a bound that the error pushes outwards: they take no part in this step."""
    for i in range(n_joints):
        if q[i] <= low[i] or q[i] >= high[i]:
            push = along(J, i, e)
            if (push < 0.0 and q[i] <= low[i]) or (push > 0.0 and q[i] >= high[i]):
                J[0, i], J[1, i], J[2, i], J[3, i], J[4, i], J[5, i] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


SHARE = types.void(f8[:, ::1], f8[::1], f8[::1], f8[::1], i8, f8, TWIST, f8[::1])


@kernel(SHARE)
def share_among_free(
    K: Array, q: Array, low: Array, high: Array, n_joints: int, damping: float, e: Twist6, trial: Array
) -> None:
    """Write where a damped step from q leads, (8,), when the joints that it would take past a bound stop there.

    What those do up to their bounds is taken off the error and the others share the rest; they would otherwise move as
    if the first had gone all the way. K is the Jacobian, (6, 8); the stopped joints' columns of it are emptied.
    """
    still = stack_matrix(1, 8)[0]
    for i in range(8):
        still[i] = 0.0
    rest = e
    free = (1 << n_joints) - 1
    for _ in range(n_joints):
        A, _unused = gram(K, damping, still, rest)
        y = substitute(factor(A), rest)
        stopped = 0
        for i in range(n_joints):
            if free >> i & 1:
                position = q[i] + along(K, i, y)
                trial[i] = min(max(position, low[i]), high[i])
                if position < low[i] or position > high[i]:
                    stopped |= 1 << i
        if stopped == 0:
            break
        free &= ~stopped
        for i in range(n_joints):
            if stopped >> i & 1:
                still[i] = trial[i] - q[i]
        _, rest = gram(K, damping, still, rest)
        for i in range(n_joints):
            if stopped >> i & 1:
                still[i] = 0.0
                for k in range(6):
                    K[k, i] = 0.0


DESCEND = Tuple((f8, i8))(
    FORWARD_PART, FORWARD_JACOBIAN_PART, ARMS, i8, f8[:, ::1], f8[::1], f8[::1], f8[::1], i8, i8, f8
)


@kernel(DESCEND)
def descend(
    forward: Part,
    forward_jacobian: Part,
    arm: Array,
    task: int,
    T: Array,
    low: Array,
    high: Array,
    q: Array,
    most: int,
    every: int,
    gain: float,
) -> tuple[float, int]:
    """Take q, (8,), to a solution within the bounds, or give up early where none is near; for cold starts.

    Levenberg-Marquardt with the damping proportional to the squared error; joints are kept on a bound that they
    reach, and leave it when the error pulls them back. Near the solution the factor is kept and only the pose is
    computed again.

    Args:
        forward: Part, FORWARD.
        forward_jacobian: Part, FORWARD_JACOBIAN.
        arm: The record, (1,).
        task: IkTask.
        T: T_base_tip wanted, (4, 4).
        low: Least positions, (8,); past the joints at most what q holds there.
        high: Greatest positions, (8,).
        q: In: where to start. Out: where it ended.
        most: Jacobians that it may take.
        every: After so many, the squared error must have been reduced to `gain` of itself, or it gives up.
        gain: See `every`.

    Returns:
        The squared error at q (solved when <= TOLERANCE²), and the number of Jacobians.
    """
    n_joints = arm[0].n_joints
    now, J, still = stack_matrix(4, 4), stack_matrix(6, 8), stack_matrix(1, 8)[0]
    for i in range(8):
        still[i] = 0.0
    reference, error = math.inf, math.inf
    count = 0
    while count < most:
        forward_jacobian(arm, q, now, J)
        count += 1
        e = task_error(task, T, now)
        error = squared(e)
        if error <= TOLERANCE * TOLERANCE:
            break
        if count % every == 0:
            if error > gain * reference:
                break
            reference = error
        keep_task_rows(task, J)
        lock(J, q, low, high, n_joints, e)
        A, _ = gram(J, ERROR_DAMPING * error + LEAST_DAMPING, still, e)
        F = factor(A)
        chord = error < CHORD_LIMIT
        for _ in range(3):
            y = substitute(F, e)
            for i in range(8):
                q[i] = min(max(q[i] + along(J, i, y), low[i]), high[i])
            if not chord:
                break
            forward(arm, q, now)
            e = task_error(task, T, now)
            before, error = error, squared(e)
            if error <= TOLERANCE * TOLERANCE or error > CHORD_GAIN * before:
                break
        if chord and error <= TOLERANCE * TOLERANCE:
            break
    return error, count


MINIMISE = Tuple((f8, types.boolean))(FORWARD_JACOBIAN_PART, ARMS, i8, f8[:, ::1], f8[::1], f8[::1], f8[::1], i8)


@kernel(MINIMISE)
def minimise(
    forward_jacobian: Part, arm: Array, task: int, T: Array, low: Array, high: Array, q: Array, most: int
) -> tuple[float, bool]:
    """Take q, (8,), to the least error within the bounds that a descent of `most` steps finds; for the cycle.

    Unlike `descend` it never accepts a step that makes the error larger: the damping grows until one helps.

    Returns:
        The squared error at q, and whether the descent had ended there (False: it ran out of steps).
    """
    n_joints = arm[0].n_joints
    now, trial = stack_matrix(4, 4), stack_matrix(1, 8)[0]
    J, K = stack_matrix(6, 8), stack_matrix(6, 8)
    still = stack_matrix(1, 8)[0]
    for i in range(8):
        still[i], trial[i] = 0.0, q[i]
    forward_jacobian(arm, q, now, J)
    e = task_error(task, T, now)
    least = squared(e)
    keep_task_rows(task, J)
    damping = ERROR_DAMPING
    for _ in range(most):
        if least <= TOLERANCE * TOLERANCE:
            return least, True
        for k in range(6):
            for i in range(8):
                K[k, i] = J[k, i]
        lock(K, q, low, high, n_joints, e)
        if least < NEAR:
            share_among_free(K, q, low, high, n_joints, damping * least + LEAST_DAMPING, e, trial)
        else:
            A, _ = gram(K, damping * least + LEAST_DAMPING, still, e)
            y = substitute(factor(A), e)
            for i in range(n_joints):
                trial[i] = min(max(q[i] + along(K, i, y), low[i]), high[i])
        largest = 0.0
        for i in range(n_joints):
            largest = max(largest, abs(trial[i] - q[i]))
        if not largest >= STATIONARY:
            return least, True
        forward_jacobian(arm, trial, now, K)
        e_new = task_error(task, T, now)
        error = squared(e_new)
        if error < least:
            least, e = error, e_new
            for i in range(n_joints):
                q[i] = trial[i]
            for k in range(6):
                for i in range(8):
                    J[k, i] = K[k, i]
            keep_task_rows(task, J)
            damping = max(damping / WORSE, ERROR_DAMPING)
        else:
            damping *= WORSE
    return least, least <= TOLERANCE * TOLERANCE


@kernel(types.void(ARMS, f8, f8, f8[::1], f8[::1]))
def pull_to_middle(arm: Array, centering: float, period: float, q: Array, step: Array) -> None:
    """Write one period's step, (8,), of the null space's goal: down the slope of walls at the ends of the ranges.

    H = Σ 1 / (2 (1 - u²)), u = (q - middle) / half the range, is least in the middle and grows without bound towards
    the limits (Chan and Dubey, IEEE Trans. Robotics and Automation 11(2), 1995); the step is -centering period dH/dq.
    All joints are slowed alike so that none takes more than PULL_SHARE of its limit: to slow each by itself would turn
    the step away from the slope.
    """
    n_joints = arm[0].n_joints
    position_min, position_max, velocity_max = arm[0].position_min, arm[0].position_max, arm[0].velocity_max
    largest = 1.0
    for i in range(8):
        middle, half = 0.5 * (position_max[i] + position_min[i]), max(0.5 * (position_max[i] - position_min[i]), 1e-9)
        u = (q[i] - middle) / half
        wall = max(1.0 - u * u, LEAST_WALL)
        step[i] = -centering * u / (half * wall * wall)
        largest = max(largest, abs(step[i]) / max(PULL_SHARE * velocity_max[i], 1e-9))
    scale = period / largest
    for i in range(8):
        step[i] *= scale
    for i in range(n_joints, 8):
        step[i] = 0.0


REASON = i8(FORWARD_JACOBIAN_PART, ARMS, i8, f8, f8[:, ::1], f8[::1], f8[::1], f8[::1], f8[::1])


@kernel(REASON)
def _reason(
    forward_jacobian: Part,
    arm: Array,
    task: int,
    period: float,
    T: Array,
    low: Array,
    high: Array,
    near: Array,
    q: Array,
) -> int:
    """Return why a search came to q without an answer: what the error pushes against."""
    n_joints = arm[0].n_joints
    now, J, still = stack_matrix(4, 4), stack_matrix(6, 8), stack_matrix(1, 8)[0]
    forward_jacobian(arm, q, now, J)
    e = task_error(task, T, now)
    keep_task_rows(task, J)
    at_limit = False
    for i in range(n_joints):
        push = along(J, i, e)
        if (q[i] <= low[i] and push < 0.0) or (q[i] >= high[i] and push > 0.0):
            if abs(q[i] - near[i]) >= 0.999 * arm[0].velocity_max[i] * period:
                return IkStatus.STEP_LIMITED
            at_limit = True
    for i in range(8):
        still[i] = 0.0
    lock(J, q, low, high, n_joints, e)
    error = squared(e)
    A, _ = gram(J, ERROR_DAMPING * error + LEAST_DAMPING, still, e)
    y = substitute(factor(A), e)
    promised = 0.0
    for i in range(n_joints):
        promised += along(J, i, y) * along(J, i, e)
    if promised > WORTHWHILE * error:
        return IkStatus.NOT_CONVERGED
    return IkStatus.JOINT_LIMIT if at_limit else IkStatus.OUT_OF_REACH


BOUNDED = i8(FORWARD_JACOBIAN_PART, ARMS, i8, f8, f8[:, ::1], f8[::1], f8[::1], f8[::1], f8[::1])


@kernel(BOUNDED)
def track_bounded(
    forward_jacobian: Part,
    arm: Array,
    task: int,
    period: float,
    T: Array,
    low: Array,
    high: Array,
    near: Array,
    q: Array,
) -> int:
    """Write the joints in the window that bring the tip nearest to T, and say why it is not there, if it is not."""
    n_joints = arm[0].n_joints
    for i in range(8):
        q[i] = near[i]
    least, ended = minimise(forward_jacobian, arm, task, T, low, high, q, BOUNDED_STEPS)
    if least <= TOLERANCE * TOLERANCE:
        return IkStatus.SOLVED
    status = _reason(forward_jacobian, arm, task, period, T, low, high, near, q)
    if not ended or status == IkStatus.STEP_LIMITED:
        return status
    # At a singularity the descent may stand on a ridge, a straight elbow for one, with no slope to either side. So
    # it is started again a little to the one and to the other.
    other = stack_matrix(1, 8)[0]
    for side in (1.0, -1.0):
        for i in range(8):
            shift = 0.5 * side * (high[i] - low[i]) / (2 + i)
            other[i] = min(max(near[i] + shift, low[i]), high[i])
        error, _ = minimise(forward_jacobian, arm, task, T, low, high, other, RIDGE_STEPS)
        if error < RIDGE_GAIN * least:
            least = error
            for i in range(n_joints):
                q[i] = other[i]
            if least <= TOLERANCE * TOLERANCE:
                return IkStatus.SOLVED
            status = _reason(forward_jacobian, arm, task, period, T, low, high, near, q)
    return status


WINDOW = types.boolean(ARMS, f8, f8[::1], f8[::1], f8[::1], f8[::1])


@kernel(WINDOW)
def open_window(arm: Array, period: float, q_near: Array, near: Array, low: Array, high: Array) -> bool:
    """Copy q_near into `near`, write what one period allows around it, and return whether it is finite. All (8,).

    The window is the joints' limits and velocity_max * period to either side. A joint outside its limits may come
    back and go no further out. Past the joints it holds what q_near has there.
    """
    position_min, position_max, velocity_max = arm[0].position_min, arm[0].position_max, arm[0].velocity_max
    total = 0.0
    for i in range(8):
        near[i] = q_near[i]
        total += near[i]
    for i in range(8):
        reach = velocity_max[i] * period if velocity_max[i] > 0.0 else 0.0
        low[i] = max(min(position_min[i], near[i]), near[i] - reach)
        high[i] = min(max(position_max[i], near[i]), near[i] + reach)
    return math.isfinite(total)


CONVERGE = Tuple((types.boolean, f8))(
    FORWARD_PART, FORWARD_JACOBIAN_PART, ARMS, i8, f8, f8, f8[:, ::1], f8[::1], f8[::1], f8[::1], f8[::1]
)


@kernel(CONVERGE)
def converge(
    forward: Part,
    forward_jacobian: Part,
    arm: Array,
    task: int,
    period: float,
    centering: float,
    T: Array,
    near: Array,
    low: Array,
    high: Array,
    q: Array,
) -> tuple[bool, float]:
    """Try the quick way of `track`: one Jacobian at `near`, whose factor serves for up to three steps into q.

    Returns:
        Whether q is the solution, within the window; if not, how many times what a period allows q is away.
    """
    n_joints = arm[0].n_joints
    step, now, J = stack_matrix(1, 8)[0], stack_matrix(4, 4), stack_matrix(6, 8)
    forward_jacobian(arm, near, now, J)
    e = task_error(task, T, now)
    error = squared(e)
    keep_task_rows(task, J)
    velocity_max = arm[0].velocity_max
    for i in range(8):
        q[i] = near[i]
        step[i] = 0.0
    if centering > 0.0:
        pull_to_middle(arm, centering, period, near, step)
    elif error <= TOLERANCE * TOLERANCE:
        return True, 0.0
    A, rest = gram(J, ERROR_DAMPING * error + LEAST_DAMPING, step, e)
    F = factor(A)
    y = substitute(F, rest)
    for i in range(8):
        step[i] += along(J, i, y)
    for _ in range(3):
        outside = 0
        for i in range(8):
            position = q[i] + step[i]
            q[i] = position
            outside += (position < low[i]) | (position > high[i])
        if outside > 0:
            break
        forward(arm, q, now)
        e = task_error(task, T, now)
        before, error = error, squared(e)
        if error <= TOLERANCE * TOLERANCE:
            return True, 0.0
        if error > CHORD_GAIN * before:
            break
        y = substitute(F, e)
        for i in range(8):
            step[i] = along(J, i, y)
    ratio = 0.0
    for i in range(n_joints):
        ratio = max(ratio, abs(q[i] - near[i]) / (velocity_max[i] * period))
    return False, ratio


@kernel(TRACK)
def track(
    forward: Part,
    forward_jacobian: Part,
    arm: Array,
    task: int,
    period: float,
    centering: float,
    T: Array,
    q_near: Array,
    q: Array,
) -> int:
    """Write the joints that bring the tip to T, from joints near by; never further than one period allows.

    Whatever the status, no joint is changed by more than velocity_max * period, and none leaves its limits (one
    that is outside already goes no further out). So a path through a singularity, on which the joints would have to
    jump, is followed as near as the joints can, and says STEP_LIMITED until it is caught up with.

    One damped Gauss-Newton step and a check of the pose suffice on most ticks; else the step's factor serves for
    another one. Where a bound is in the way, a slower search finds the best within the bounds.

    With more joints than the task has rows, a pull towards the middle of the joints' ranges, stronger towards their
    ends, is projected into the null space by the same factor: the joints then drift also while T stands still.

    Args:
        forward: Part, FORWARD.
        forward_jacobian: Part, FORWARD_JACOBIAN.
        arm: The record, (1,).
        task: IkTask.
        period: Of the cycle, s; inf: no bound but the joints' limits.
        centering: Gain of the pull, 1/s times squared units of the joints; 0: none; 0.5 is usual.
        T: T_base_tip wanted, (4, 4).
        q_near: Joints of the tick before, (8,).
        q: Out: joints, (8,); may be q_near itself. Entries past the joints are q_near's.

    Returns:
        IkStatus: SOLVED (the error's norm is at most TOLERANCE), STEP_LIMITED, JOINT_LIMIT, OUT_OF_REACH or
        NOT_CONVERGED (q is the best found), NOT_A_POSE (q is q_near).
    """
    near, low, high = stack_matrix(1, 8)[0], stack_matrix(1, 8)[0], stack_matrix(1, 8)[0]
    finite = open_window(arm, period, q_near, near, low, high)
    if not finite or not is_pose(T, POSE_TOLERANCE):
        for i in range(8):
            q[i] = near[i]
        return IkStatus.NOT_A_POSE
    solved, _ = converge(forward, forward_jacobian, arm, task, period, centering, T, near, low, high, q)
    if solved:
        return IkStatus.SOLVED
    return track_bounded(forward_jacobian, arm, task, period, T, low, high, near, q)
