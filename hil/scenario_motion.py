"""What the arm does in a scenario: commands for a stand, given ahead with the cycles that they are due in."""

import math
from collections.abc import Callable

import numpy as np

from controller.commands import Arguments, JointGoal, PoseGoal, Twist
from hil.scenario import Motion
from hil.stand import Stand
from kinematics.compiled import Array

__all__ = ["MOTIONS", "schedule"]

RAMP = 0.25  # s in which a stream's amplitude or speed comes up
MOVE_EVERY = 0.35  # s from one goal to the next: before the arm is at rest there
LIMIT_EVERY = 1.5  # s; long enough to arrive
MARGIN = 0.05  # part of a joint's range that drawn goals keep off its ends
STREAM_SPEED = 0.9  # of the limits, at `speed` 1
CIRCLE_RADIUS = 0.012  # m
INSERTION = 2  # the axis that goes along the shaft


def schedule(stand: Stand, motion: Motion, seconds: float, seed: int) -> None:
    """Give a stand the commands of a motion, from its next cycle on.

    Args:
        stand: At rest, in the state that the motion needs.
        motion: Which.
        seconds: For how long.
        seed: Of goals that are drawn.
    """
    period = stand.config.cycle.period
    MOTIONS[motion.kind](stand, motion, stand.tick + 1, round(seconds / period), np.random.default_rng(seed))


def _limits(stand: Stand) -> tuple[Array, Array, Array, Array]:
    """Return lowest and highest position, velocity and acceleration of the axes."""
    a, n = stand.arm.record[0], stand.arm.n_axes
    return a["position_min"][:n], a["position_max"][:n], a["velocity_max"][:n], a["acceleration_max"][:n]


def _setpoint(stand: Stand) -> Array:
    q: Array = stand.sample["setpoint_position"][: stand.arm.n_axes].copy()
    return q


def _hold(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    """Nothing is asked: the arm holds."""


def _homing(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    stand.send("home", at=first)


def _enabling(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    stand.send("enable", at=first)


def _joint_moves(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    """One move after another, each joint to somewhere else; the next begins before the one before has ended."""
    low, high, _, _ = _limits(stand)
    every = round(MOVE_EVERY / stand.config.cycle.period)
    q = _setpoint(stand)
    span = (high - low) * (1.0 - 2.0 * MARGIN)
    for tick in range(first, first + ticks, every):
        # At least a quarter of the range further on, round and round: every joint moves all the time.
        place = (q - low - MARGIN * (high - low)) / span
        place = (place + rng.uniform(0.25, 0.75, len(q))) % 1.0
        q = low + MARGIN * (high - low) + place * span
        q[INSERTION] = max(q[INSERTION], low[INSERTION] + 0.35 * (high[INSERTION] - low[INSERTION]))
        stand.send("move_jp", JointGoal(position=q.tolist(), speed=motion.speed), at=tick)


def _limit_moves(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    """Moves that end at the joints' very limits, some joints at the lower, some at the upper one."""
    low, high, _, _ = _limits(stand)
    every = round(LIMIT_EVERY / stand.config.cycle.period)
    for tick in range(first, first + ticks, every):
        q = np.where(rng.random(len(low)) < 0.5, low, high)
        stand.send("move_jp", JointGoal(position=q.tolist(), speed=motion.speed), at=tick)


def _stream(
    stand: Stand, motion: Motion, first: int, ticks: int, command: str, target: Callable[[float], Arguments]
) -> None:
    period = stand.config.cycle.period
    for tick in range(first, first + ticks, motion.period):
        stand.send(command, target((tick - first + motion.period) * period), at=tick)


def _progress(t: float) -> float:
    """Return the s that have passed for a motion whose speed comes up along a raised cosine."""
    if t >= RAMP:
        return t - RAMP / 2
    return t / 2 - RAMP / (2 * math.pi) * math.sin(math.pi * t / RAMP)


def _servo_at_limits(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    """Every joint swings to and fro, streamed, as fast as its limits allow."""
    low, high, velocity, acceleration = _limits(stand)
    start = _setpoint(stand)
    v = STREAM_SPEED * motion.speed * velocity
    room = np.minimum(start - low, high - start) * (1.0 - MARGIN)
    rate = np.maximum(v / np.maximum(room, 1e-3), 1.0)
    rate = np.minimum(rate, 0.6 * acceleration / v)
    size = np.minimum(v / rate, room)
    rate *= rng.uniform(0.85, 1.0, len(rate))

    def target(t: float) -> JointGoal:
        return JointGoal(position=(start + size * np.sin(rate * _progress(t))).tolist())

    _stream(stand, motion, first, ticks, "servo_jp", target)


def _one_joint(stand: Stand, motion: Motion, first: int, ticks: int, axis: int) -> None:
    """One joint swings to and fro, streamed; the others hold."""
    low, high, velocity, acceleration = _limits(stand)
    start = _setpoint(stand)
    v = motion.speed * STREAM_SPEED * float(velocity[axis])
    room = float(min(start[axis] - low[axis], high[axis] - start[axis])) * (1.0 - MARGIN)
    rate = min(max(v / room, 0.5), 0.6 * float(acceleration[axis]) / v)
    size = min(v / rate, room)

    def target(t: float) -> JointGoal:
        q = start.copy()
        q[axis] += size * math.sin(rate * _progress(t))
        return JointGoal(position=q.tolist())

    _stream(stand, motion, first, ticks, "servo_jp", target)


def _insertion(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    _one_joint(stand, motion, first, ticks, INSERTION)


def _joint_line(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    _one_joint(stand, motion, first, ticks, motion.axis)


def _tip_circle(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    """The tip runs round a circle in a horizontal plane, its orientation kept; `speed` in m/s."""
    start = stand.sample["setpoint_pose"].copy()
    rate = motion.speed / CIRCLE_RADIUS

    def target(t: float) -> PoseGoal:
        angle = rate * _progress(t)
        T = start.copy()
        T[0, 3] += CIRCLE_RADIUS * (math.cos(angle) - 1.0)
        T[1, 3] += CIRCLE_RADIUS * math.sin(angle)
        return PoseGoal(pose=T.tolist())

    _stream(stand, motion, first, ticks, "servo_cp", target)


def _tip_line(stand: Stand, motion: Motion, first: int, ticks: int, rng: np.random.Generator) -> None:
    """The tip is driven straight on, whatever is in its way; `speed` in m/s."""
    direction = np.array(motion.direction) / math.hypot(*motion.direction)
    twist = [*(motion.speed * direction).tolist(), 0.0, 0.0, 0.0]
    _stream(stand, motion, first, ticks, "servo_cv", lambda t: Twist(twist=twist))


MOTIONS: dict[str, Callable[[Stand, Motion, int, int, np.random.Generator], None]] = {
    "hold": _hold,
    "joint_moves": _joint_moves,
    "limit_moves": _limit_moves,
    "joint_line": _joint_line,
    "servo_at_limits": _servo_at_limits,
    "insertion": _insertion,
    "tip_circle": _tip_circle,
    "tip_line": _tip_line,
    "homing": _homing,
    "enabling": _enabling,
}
"""By the name in a scenario file."""
