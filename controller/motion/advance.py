"""Moving the set-point on by one period, as the mode of each group says.

Position, velocity and acceleration of the set-point go on without a step from one mode to the next: whatever begins
starts from the three as they are. Only a raw stream (`servo_jp`, `servo_cp`) may step in velocity, within its limit.
"""

import math

from numba.core import types

from controller.catalogue import Code
from controller.mailbox import Frame, Group
from controller.motion.braking import braking_speed, stop_displacement, velocity_step
from controller.motion.path import PATH, path_fade, path_jaw, path_pose
from controller.motion.setpoint import MOTION, Mode, begin_stop, first_axis, hold_here, past_axis
from controller.motion.tip import joint_efforts, joint_rates, turn_to_base
from controller.motion.trajectory import TRAJECTORY
from kinematics.chain import FORWARD_JACOBIAN, INVERSE
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM
from telemetry.sample import MAX_AXES, SAMPLE

__all__ = ["ADVANCE", "ARRIVED", "EVALUATE", "PLAN", "RUNNING", "WAITING", "advance"]

RUNNING, ARRIVED, WAITING = 0, 1, 2
"""What `advance` returns, but for codes: under way or at rest before; just come to rest; and `next_message` is due."""

MAX_SCALE = 1000.0  # of the acceleration with which an axis brakes before its position limit
MOST_TRIES = 20  # to find the step along a path that the joints can take
SERVO_BRAKING = 4.0  # a raw stream may near a limit so fast that stopping takes so much of the acceleration limit
COAST = 1.5  # of a stream's interval: when nothing came for so long, its newest target is where it ends
EFFORT_RISE = 0.1  # s in which an interpolated effort rises to the limit at the fastest
WALL = 0.02  # of a joint's range: effort does not push it nearer to its limit than that
WALL_SPEED = 0.1  # of the velocity limit: the set-point of a joint that was pushed beyond its wall returns
RETURN_SPEED = 0.25  # of the velocity limit, with which a stop may turn the shaft back to its remote centre
SPEED_BAND = 0.2  # of the velocity limit, in which an effort that would exceed the speed allowed fades

_PATH_FAILED = int(Code.PATH_FAILED)
_HOLD, _PATH_MODE, _SERVO, _MOVE = int(Mode.HOLD), int(Mode.PATH), int(Mode.SERVO), int(Mode.MOVE)
_INTERPOLATE, _VELOCITY, _EFFORT = int(Mode.INTERPOLATE), int(Mode.VELOCITY), int(Mode.EFFORT)
_ARM_GROUP, _TIP = int(Group.ARM), int(Frame.TIP)

_MOTION, _PATH, _TRAJECTORY, _ARM = array_of(MOTION), array_of(PATH), array_of(TRAJECTORY), array_of(ARM)
_SAMPLE, _F8_2D, _POSES = array_of(SAMPLE), types.float64[:, ::1], types.float64[:, :, ::1]
_f8, _i8 = types.float64, types.int64
_INVERSE, _FORWARD_JACOBIAN = types.FunctionType(INVERSE), types.FunctionType(FORWARD_JACOBIAN)

_V = types.float64[:]
PLAN = _i8(_TRAJECTORY, _i8, _V, _V, _V, _V, _V, _V, _V, _V)
"""plan(trajectory, n_axes, p0, v0, a0, p1, v1, v_max, a_max, j_max) of trajectory.py, as a part."""
EVALUATE = types.void(_TRAJECTORY, _f8, _V, _V, _V)
"""evaluate(trajectory, t, p, v, a), likewise."""
_PLAN, _EVALUATE = types.FunctionType(PLAN), types.FunctionType(EVALUATE)

ADVANCE = _i8(
    _MOTION,
    _PATH,
    _TRAJECTORY,
    _ARM,
    _PLAN,
    _PLAN,
    _EVALUATE,
    _FORWARD_JACOBIAN,
    _INVERSE,
    _SAMPLE,
    _i8,
    _F8_2D,
    _POSES,
)
"""advance(motion, path, trajectories, arm, plan, plan_unsynchronised, evaluate, forward_jacobian, inverse, sample,
group, scratch, poses), as a part of the cycle."""


@kernel(_i8(_MOTION, _TRAJECTORY, _ARM, _PLAN, _i8, _F8_2D))
def _plan_move(motion: Array, trajectory: Array, arm: Array, plan: Part, group: int, scratch: Array) -> int:
    """Plan the joint trajectory of a move from its present state; return 0 or a trajectory.Status.

    Slow limits must not take an axis past its position limit, as they would where it is faster than they allow and
    near: then it brakes with all that it has, and with more where even that is not enough.
    """
    m = motion[0]
    a = arm[0]
    first = first_axis(arm, group)
    n = past_axis(motion, arm, group) - first
    p0, v0, a0, p1, v1 = scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]
    v_max, a_max, j_max = scratch[6], scratch[7], scratch[8]
    k = m.speed[group] * m.speed_ratio
    for x in range(n):
        i = first + x
        p0[x], v0[x], a0[x] = m.q[i], m.qd[i], m.qdd[i]
        p1[x], v1[x] = m.target[i], 0.0
        v_max[x] = k * a.velocity_max[i]
        scale = k
        while scale < MAX_SCALE:
            a_max[x] = scale * a.acceleration_max[i]
            j_max[x] = scale * max(scale, 1.0) * a.jerk_max[i]
            end = m.q[i] + stop_displacement(m.qd[i], m.qdd[i], a_max[x], j_max[x])
            if end >= min(m.q[i], a.position_min[i]) - 1e-9 and end <= max(m.q[i], a.position_max[i]) + 1e-9:
                break
            scale = 1.0 if scale < 1.0 else 2.0 * scale
    return int(plan(trajectory, n, p0, v0, a0, p1, v1, v_max, a_max, j_max))


@kernel(_i8(_MOTION, _TRAJECTORY, _ARM, _PLAN, _EVALUATE, _i8, _F8_2D))
def _advance_move(
    motion: Array, trajectory: Array, arm: Array, plan: Part, evaluate: Part, group: int, scratch: Array
) -> int:
    """Go on along the joint trajectory of a move; return RUNNING, ARRIVED or a code."""
    m = motion[0]
    first, past = first_axis(arm, group), past_axis(motion, arm, group)
    if m.plan_due[group]:
        m.plan_due[group] = 0
        m.time[group] = 0.0
        if _plan_move(motion, trajectory, arm, plan, group, scratch) != 0:
            begin_stop(motion, arm, group)
            return _PATH_FAILED
    m.time[group] += m.period
    p, v, a = scratch[1], scratch[2], scratch[3]
    evaluate(trajectory, m.time[group], p, v, a)
    for i in range(first, past):
        m.q[i], m.qd[i], m.qdd[i] = p[i - first], v[i - first], a[i - first]
    if m.time[group] < trajectory[0].duration:
        return RUNNING
    for i in range(first, past):
        m.q[i] = m.target[i]
    hold_here(motion, arm, group)
    return ARRIVED


@kernel(_i8(_MOTION, _TRAJECTORY, _ARM, _PLAN, _i8, _F8_2D))
def _plan_stream(motion: Array, trajectory: Array, arm: Array, plan: Part, group: int, scratch: Array) -> int:
    """Plan how the set-point meets the moving target of an interpolated stream; return 0 or a trajectory.Status.

    The target goes on at the stream's own velocity and acceleration. Seen from it the set-point has to come to rest at
    0: that is planned, each axis as fast as it can, with what the target leaves of the limits.
    """
    m = motion[0]
    a = arm[0]
    first = first_axis(arm, group)
    n = past_axis(motion, arm, group) - first
    p0, v0, a0, p1, v1 = scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]
    v_max, a_max, j_max = scratch[6], scratch[7], scratch[8]
    k, t = m.speed_ratio, m.since[group]
    for x in range(n):
        i = first + x
        v, acceleration = m.goal_velocity[i], m.goal_acceleration[i]
        p0[x] = m.q[i] - (m.target[i] + t * (v + 0.5 * t * acceleration))
        v0[x] = m.qd[i] - (v + t * acceleration)
        a0[x] = m.qdd[i] - acceleration
        p1[x], v1[x] = 0.0, 0.0
        v_max[x] = k * a.velocity_max[i] - abs(v) - (COAST * m.interval[group] + m.period) * abs(acceleration)
        a_max[x] = k * a.acceleration_max[i] - abs(acceleration)
        j_max[x] = k * a.jerk_max[i]
    return int(plan(trajectory, n, p0, v0, a0, p1, v1, v_max, a_max, j_max))


@kernel(_i8(_MOTION, _TRAJECTORY, _ARM, _PLAN, _EVALUATE, _i8, _F8_2D))
def _advance_stream(
    motion: Array, trajectory: Array, arm: Array, plan: Part, evaluate: Part, group: int, scratch: Array
) -> int:
    """Go on towards, or with, the moving target of an interpolated stream; return RUNNING or a code.

    A step after which an axis could no longer stop within its position limits is not taken: it belongs to that stop.
    """
    m = motion[0]
    a = arm[0]
    first, past = first_axis(arm, group), past_axis(motion, arm, group)
    if m.since[group] > COAST * m.interval[group]:
        for i in range(first, past):  # nothing more has come: the newest target is where it ends
            if m.goal_velocity[i] != 0.0 or m.goal_acceleration[i] != 0.0:
                m.goal_velocity[i], m.goal_acceleration[i] = 0.0, 0.0
                m.plan_due[group] = 1
    if m.plan_due[group]:
        m.plan_due[group] = 0
        m.time[group] = 0.0
        if _plan_stream(motion, trajectory, arm, plan, group, scratch) != 0:
            begin_stop(motion, arm, group)
            return _PATH_FAILED
    m.time[group] += m.period
    m.since[group] += m.period
    t, k = m.since[group], m.speed_ratio
    error, error_rate, error_acceleration = scratch[1], scratch[2], scratch[3]
    evaluate(trajectory, m.time[group], error, error_rate, error_acceleration)
    for i in range(first, past):
        acceleration = m.goal_acceleration[i]
        q = m.target[i] + t * (m.goal_velocity[i] + 0.5 * t * acceleration) + error[i - first]
        qd = m.goal_velocity[i] + t * acceleration + error_rate[i - first]
        qdd = acceleration + error_acceleration[i - first]
        a_max, j_max = k * a.acceleration_max[i], k * a.jerk_max[i]
        end = q + stop_displacement(qd, qdd, a_max, j_max)
        if (end > a.position_max[i] and end > m.q[i]) or (end < a.position_min[i] and end < m.q[i]):
            dq, qd, qdd = velocity_step(m.qd[i], m.qdd[i], 0.0, a_max, j_max, m.period)
            q = m.q[i] + dq
            m.plan_due[group] = 1
        m.q[i], m.qd[i], m.qdd[i] = q, qd, qdd
    return RUNNING


@kernel(_f8(_MOTION, _ARM, _i8, _f8, _f8))
def _speed_allowed(motion: Array, arm: Array, i: int, v: float, scale: float) -> float:
    """Return how fast an axis may go in the direction of v, so that it can stop before its limit.

    It may brake with `scale` times its acceleration and scale^2 times its jerk, as `begin_stop` lets it. What an axis
    can lose within a period is always allowed: else it would never quite arrive on a limit.
    """
    a = arm[0]
    q, T = motion[0].q[i], motion[0].period
    room = a.position_max[i] - q if v > 0.0 else q - a.position_min[i]
    a_max, j_max = scale * a.acceleration_max[i], scale * scale * a.jerk_max[i]
    speed = braking_speed(room, a_max, j_max)
    speed = braking_speed(room - speed * T, a_max, j_max)
    return min(max(speed, a.acceleration_max[i] * T), a.velocity_max[i])  # type: ignore[no-any-return]


@kernel(_f8(_ARM, _i8, _f8, _f8))
def _acceleration_left(arm: Array, i: int, v: float, acceleration: float) -> float:
    """Return the acceleration that whatever comes after a raw stream goes on from.

    It keeps the limit, and can be taken away, at the jerk limit, before the velocity exceeds its own or turns round.
    """
    a = arm[0]
    change = a.velocity_max[i] - abs(v) if acceleration * v > 0.0 else abs(v)
    most = min(a.acceleration_max[i], math.sqrt(2.0 * a.jerk_max[i] * max(change, 0.0)))
    left: float = min(max(acceleration, -most), most)
    return left


@kernel(types.void(_MOTION, _ARM, _i8))
def _advance_servo(motion: Array, arm: Array, group: int) -> None:
    """Go on towards a stream's newest position, within the velocity limits and able to stop before the joint limits.

    Where that needs slowing down, a stream of poses slows all joints alike: the set-point stays on its line.
    """
    m = motion[0]
    T = m.period
    first, past = first_axis(arm, group), past_axis(motion, arm, group)
    left = max(m.target_cycles[group], 1)
    together = group == _ARM_GROUP and m.at_tip
    excess = 1.0
    if together:
        for i in range(first, past):
            v = (m.target[i] - m.q[i]) / (left * T)
            excess = max(excess, abs(v) / _speed_allowed(motion, arm, i, v, SERVO_BRAKING))
    for i in range(first, past):
        v = (m.target[i] - m.q[i]) / (left * T)
        if not together:
            excess = max(1.0, abs(v) / _speed_allowed(motion, arm, i, v, SERVO_BRAKING))
        step = (m.target[i] - m.q[i]) / (left * excess)
        v = step / T
        m.qdd[i] = _acceleration_left(arm, i, v, (v - m.qd[i]) / T)
        m.qd[i] = v
        m.q[i] += step
    m.target_cycles[group] = max(left - 1, 1)


@kernel(types.void(_MOTION, _ARM, _FORWARD_JACOBIAN, _INVERSE, _F8_2D, _POSES))
def _keep_remote_center(
    motion: Array, arm: Array, forward_jacobian: Part, inverse: Part, scratch: Array, poses: Array
) -> None:
    """Turn the shaft back to the remote centre, the tip being where it is: axes that stop each by itself take it off.

    Where it is further off than the joints can turn in a period, it comes back as far as they can.
    """
    m, a = motion[0], arm[0]
    near, q, T, J = scratch[8], scratch[9], poses[0], scratch[11:17]
    for i in range(MAX_AXES):
        near[i] = m.q[i]
    forward_jacobian(arm, near, T, J)
    if inverse(arm, T, near, q) != 0:
        return
    part = 1.0
    for i in range(a.n_joints):
        change = abs(q[i] - m.q[i])
        most = RETURN_SPEED * a.velocity_max[i] * m.period
        if change > most:
            part = min(part, most / change)
    for i in range(a.n_joints):
        m.q[i] += part * (q[i] - m.q[i])


@kernel(_i8(_MOTION, _ARM, _FORWARD_JACOBIAN, _INVERSE, _i8, _F8_2D, _POSES))
def _advance_velocity(
    motion: Array, arm: Array, forward_jacobian: Part, inverse: Part, group: int, scratch: Array, poses: Array
) -> int:
    """Go on towards a velocity, or a stop; return RUNNING or ARRIVED: at rest after a stop.

    A servo velocity is approached at the joints' acceleration, and slows down before a limit. A smooth one keeps the
    jerk limits too: a step is taken only if the arm can still stop within its position limits after it; else this step
    already belongs to that stop. Both end on a limit at rest.
    """
    m = motion[0]
    a = arm[0]
    T = m.period
    first, past = first_axis(arm, group), past_axis(motion, arm, group)
    if group == _ARM_GROUP and m.at_tip:
        near, twist, rates, J = scratch[8], scratch[9], scratch[10], scratch[11:17]
        for i in range(MAX_AXES):
            near[i] = m.q[i]
        for i in range(6):
            twist[i] = m.tip[i]
        forward_jacobian(arm, near, poses[0], J)
        if m.frame == _TIP:
            turn_to_base(twist, poses[0])
        joint_rates(arm, J, twist, m.tip_limits.linear_speed, m.tip_limits.angular_speed, scratch[0:8], rates)
        for i in range(a.n_joints):
            m.target[i] = rates[i]
    k = 1.0
    if m.smooth[group] and not m.stopping[group]:
        k = m.speed_ratio
    share = 1.0
    if group == _ARM_GROUP and m.at_tip and not m.smooth[group]:
        for i in range(first, past):
            change = abs(m.target[i] - m.qd[i])
            if change > a.acceleration_max[i] * T:
                share = min(share, a.acceleration_max[i] * T / change)
    moving = 0
    for i in range(first, past):
        scale = k * m.stop_scale[i]
        a_max = scale * a.acceleration_max[i]
        j_max = scale * max(1.0, m.stop_scale[i]) * a.jerk_max[i]
        target = k * m.target[i]
        if m.smooth[group]:
            dq, v, acceleration = velocity_step(m.qd[i], m.qdd[i], target, a_max, j_max, T)
        else:
            change = share * (target - m.qd[i])
            v = m.qd[i] + min(max(change, -a_max * T), a_max * T)
            most = max(_speed_allowed(motion, arm, i, v, 1.0), abs(m.qd[i]) - a_max * T)
            v = min(max(v, -most), most)
            change = v - m.qd[i]
            acceleration = _acceleration_left(arm, i, v, change / T)
            dq = 0.5 * (m.qd[i] + v) * T
            out = max(m.q[i] + dq - a.position_max[i], a.position_min[i] - m.q[i] - dq)
            if out > 0.0 and dq * (m.q[i] - 0.5 * (a.position_min[i] + a.position_max[i])) > 0.0:
                dq, v, acceleration = 0.0, 0.0, 0.0
        if m.smooth[group] and not m.stopping[group]:
            end = m.q[i] + dq + stop_displacement(v, acceleration, a_max, j_max)
            if (end > a.position_max[i] and end > m.q[i]) or (end < a.position_min[i] and end < m.q[i]):
                dq, v, acceleration = velocity_step(m.qd[i], m.qdd[i], 0.0, a_max, j_max, T)
        m.q[i] += dq
        m.qd[i] = v
        m.qdd[i] = acceleration
        m.goal_velocity[i] = target
        if not m.stopping[group]:
            m.goal[i] = m.q[i]
        if v != 0.0 or acceleration != 0.0:
            moving = 1
    if a.through and m.stopping[group] and group == _ARM_GROUP:
        _keep_remote_center(motion, arm, forward_jacobian, inverse, scratch, poses)
    if m.stopping[group] and not moving:
        return ARRIVED
    return RUNNING


@kernel(types.void(_MOTION, _ARM, _FORWARD_JACOBIAN, _SAMPLE, _i8, _F8_2D, _POSES))
def _advance_effort(
    motion: Array, arm: Array, forward_jacobian: Part, sample: Array, group: int, scratch: Array, poses: Array
) -> None:
    """Follow the measured joints, and find the efforts that move them.

    An effort fades where it would drive a joint faster than its velocity limit, or than it can stop before its wall:
    2 % of its range before the position limit. Beyond the wall the set-point stays there, so that the law's stiffness,
    which `effort.add_effort` gives back to the joint, brings it back.
    """
    m = motion[0]
    a = arm[0]
    s = sample[0]
    first, past = first_axis(arm, group), past_axis(motion, arm, group)
    if group == _ARM_GROUP and m.at_tip:
        near, wrench, efforts, J = scratch[8], scratch[9], scratch[10], scratch[11:17]
        for i in range(MAX_AXES):
            near[i] = s.measured_position[i]
        for i in range(6):
            wrench[i] = m.tip[i]
        forward_jacobian(arm, near, poses[0], J)
        if m.frame == _TIP:
            turn_to_base(wrench, poses[0])
        joint_efforts(arm, J, wrench, efforts)
        for i in range(a.n_joints):
            m.target[i] = efforts[i]
    for i in range(first, past):
        effort = min(max(m.target[i], -a.effort_max[i]), a.effort_max[i])
        if m.smooth[group]:
            most = a.effort_max[i] * m.period / EFFORT_RISE
            effort = m.effort[i] + min(max(effort - m.effort[i], -most), most)
        q, qd = s.measured_position[i], s.measured_velocity[i]
        wall = WALL * (a.position_max[i] - a.position_min[i])
        low, high = a.position_min[i] + wall, a.position_max[i] - wall
        v = qd if effort > 0.0 else -qd
        allowed = min(
            a.velocity_max[i],
            braking_speed(high - q if effort > 0.0 else q - low, a.acceleration_max[i], a.jerk_max[i]),
        )
        m.effort[i] = effort * min(max((allowed - v) / (SPEED_BAND * a.velocity_max[i]), 0.0), 1.0)
        if low <= q <= high:
            m.at_wall[i] = 0
            m.q[i] = q
        else:
            if not m.at_wall[i]:
                m.q[i] = q
            m.at_wall[i] = 1
            step = WALL_SPEED * a.velocity_max[i] * m.period
            m.q[i] += min(max(min(max(q, low), high) - m.q[i], -step), step)
        m.qd[i] = min(max(qd, -a.velocity_max[i]), a.velocity_max[i])
        m.qdd[i] = 0.0
        m.goal[i] = m.q[i]
        m.goal_velocity[i] = 0.0


@kernel(_i8(_MOTION, _PATH, _TRAJECTORY, _ARM, _PLAN, _EVALUATE, _INVERSE, _F8_2D, _POSES))
def _advance_path(
    motion: Array,
    path: Array,
    trajectory: Array,
    arm: Array,
    plan: Part,
    evaluate: Part,
    inverse: Part,
    scratch: Array,
    poses: Array,
) -> int:
    """Go on along the path of the tip; return RUNNING, ARRIVED or a code."""
    m = motion[0]
    p = path[0]
    q, near, T = scratch[0], scratch[1], poses[0]
    k = m.speed[_ARM_GROUP] * m.speed_ratio
    u, tries = p.u, 0
    if m.stopping[_ARM_GROUP]:
        du, p.rate, p.acceleration = velocity_step(p.rate, p.acceleration, 0.0, p.a_max, p.j_max, m.period)
        p.u += du
    elif p.u_end > 0.0:
        if m.plan_due[_ARM_GROUP]:
            m.plan_due[_ARM_GROUP] = 0
            m.time[_ARM_GROUP] = 0.0
            x, limits = scratch[2], scratch[3]
            x[0], x[1], x[2], x[3], x[4] = p.u, p.rate, p.acceleration, p.u_end, 0.0
            limits[0], limits[1], limits[2] = min(k * p.v_max, p.v_path), k * p.a_max, k * p.j_max
            status = plan(trajectory, 1, x[0:1], x[1:2], x[2:3], x[3:4], x[4:5], limits[0:1], limits[1:2], limits[2:3])
            if status != 0:
                begin_stop(motion, arm, _ARM_GROUP)
                return _PATH_FAILED
        m.time[_ARM_GROUP] += m.period
        x = scratch[2]
        evaluate(trajectory, m.time[_ARM_GROUP], x[0:1], x[1:2], x[2:3])
        p.u, p.rate, p.acceleration = x[0], x[1], x[2]
        if m.time[_ARM_GROUP] >= trajectory[0].duration:
            p.u, p.rate, p.acceleration = p.u_end, 0.0, 0.0
    past = past_axis(motion, arm, _ARM_GROUP)
    was = path_fade(path, u)
    excess = 2.0
    while excess > 1.0:
        for i in range(MAX_AXES):
            near[i] = m.q[i] - was * p.slack[i]
        path_pose(path, p.u, T)
        if inverse(arm, T, near, q) != 0:
            hold_here(motion, arm, _ARM_GROUP)
            return _PATH_FAILED
        left = path_fade(path, p.u)
        for i in range(arm[0].n_joints):
            if p.slack[i] != 0.0:
                low, high = min(arm[0].position_min[i], m.q[i]), max(arm[0].position_max[i], m.q[i])
                q[i] = min(max(q[i] + left * p.slack[i], low), high)
        if past > arm[0].n_joints:
            q[p.jaw_axis] = path_jaw(path, p.u)
        excess = 0.0
        for i in range(past):
            excess = max(excess, abs(q[i] - m.q[i]) / (arm[0].velocity_max[i] * m.period))
        if excess > 1.0 + 1e-9:
            # The walk has missed how steep the joints get here: no further than they may go, and on from there.
            tries += 1
            if tries > MOST_TRIES:
                hold_here(motion, arm, _ARM_GROUP)
                return _PATH_FAILED
            p.u = u + 0.99 * (p.u - u) / excess
            p.rate, p.acceleration = (p.u - u) / m.period, 0.0
            m.plan_due[_ARM_GROUP] = 1
        else:
            excess = 0.0
    for i in range(past):
        # Velocity and acceleration at the end of the period, to second order in it, from the last three differences.
        slope = (q[i] - m.q[i]) / m.period
        m.qd[i] = slope + 0.5 * (slope - m.slope[0, i])
        m.qdd[i] = (2.0 * slope - 3.0 * m.slope[0, i] + m.slope[1, i]) / m.period
        m.slope[1, i] = m.slope[0, i]
        m.slope[0, i] = slope
        m.q[i] = q[i]
        if m.stopping[_ARM_GROUP]:
            m.goal[i] = q[i]
    if p.rate == 0.0 and p.acceleration == 0.0:
        return ARRIVED
    return RUNNING


@kernel(ADVANCE)
def advance(
    motion: Array,
    path: Array,
    trajectories: Array,
    arm: Array,
    plan: Part,
    plan_unsynchronised: Part,
    evaluate: Part,
    forward_jacobian: Part,
    inverse: Part,
    sample: Array,
    group: int,
    scratch: Array,
    poses: Array,
) -> int:
    """Move the set-point of a group on by one period; return RUNNING, ARRIVED, WAITING, or the code of what went wrong.

    After a code the group comes to rest or stands still.

    Args:
        motion: MOTION, (1,).
        path: PATH, (1,).
        trajectories: TRAJECTORY, (2,): the arm's, in joints or along the path, and the jaw's.
        arm: ARM, (1,).
        plan: `trajectory.plan`. That and the next two are parts, so that their code is compiled once.
        plan_unsynchronised: `trajectory.plan_unsynchronised`.
        evaluate: `trajectory.evaluate`.
        forward_jacobian: Forward kinematics with the Jacobian, signature FORWARD_JACOBIAN.
        inverse: Inverse kinematics, signature INVERSE.
        sample: The cycle's sample, SAMPLE, (1,).
        group: controller.mailbox.Group.
        scratch: SCRATCH.
        poses: Working memory, (3, 4, 4).
    """
    m = motion[0]
    mode = m.mode[group]
    trajectory = trajectories[group : group + 1]
    code = RUNNING
    if mode <= _HOLD:
        return RUNNING
    if mode == _MOVE:
        code = _advance_move(motion, trajectory, arm, plan, evaluate, group, scratch)
    elif mode == _INTERPOLATE:
        code = _advance_stream(motion, trajectory, arm, plan_unsynchronised, evaluate, group, scratch)
    elif mode == _SERVO:
        _advance_servo(motion, arm, group)
    elif mode == _VELOCITY:
        code = _advance_velocity(motion, arm, forward_jacobian, inverse, group, scratch, poses)
    elif mode == _EFFORT:
        _advance_effort(motion, arm, forward_jacobian, sample, group, scratch, poses)
    else:
        code = _advance_path(motion, path, trajectory, arm, plan, evaluate, inverse, scratch, poses)
    if code == ARRIVED:
        hold_here(motion, arm, group)
        if group == _ARM_GROUP and m.waiting:
            m.waiting = 0
            return WAITING
    return int(code)
