"""What identification makes of a recorded motion: filtered without delay, differentiated, thinned out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import signal

from kinematics.arm_file import KinematicsError
from kinematics.compiled import Array

__all__ = ["CUTOFF", "IdentifyError", "Segment", "Signals", "condition", "split"]

CUTOFF = 10.0  # Hz
RATE = 5.0  # samples kept per period of the cutoff frequency
EDGE = 2.0  # periods of the cutoff frequency that are left out where a segment begins or ends: the filter's own
MIN_SEGMENT = 1.0  # s
MIN_TIME = 8.0  # s of all segments together
BLOCK = 2.0  # s
HELD_OUT = 4  # every so many-th block is not fitted but predicted
SLIDING = 2.0  # smoothing velocities above which friction is there: tanh(2) = 0.964
SHARP = 0.1  # of the smoothing velocity, which is there to keep a compensation calm: real friction turns sooner


class IdentifyError(KinematicsError, ValueError):
    """A recording that parameters cannot be identified from; the message says why and what to do."""


class Segment(NamedTuple):
    """A part of a recording without gaps, motors on."""

    position: Array
    """(k, 8), rad and m."""
    effort: Array
    """(k, 8), N·m and N, at the joints."""


class Signals(NamedTuple):
    """A motion at N moments, `RATE` of them per period of the cutoff frequency."""

    q: Array
    """(N, 8), as the next three."""
    qd: Array
    qdd: Array
    effort: Array
    joint_sign: Array
    """(N, 8): the sign of each joint's velocity, as Coulomb friction has it, filtered as the effort is."""
    actuator_sign: Array
    """(N, 8): the same of each actuator's."""
    slides: Array
    """(N, 8), bool: nothing that rubs on this axis is near rest, where friction could be anything."""
    block: Array
    """(N,), int: the block of `BLOCK` s that the moment is in."""


def condition(arm: Array, segments: Sequence[Segment], period: float, cutoff: float = CUTOFF) -> Signals:
    """Return a motion ready for the fit.

    Positions and efforts go through the same fourth-order Butterworth low-pass, forward and back, so without a phase
    shift; velocities and accelerations are central differences of the filtered positions. The sign of friction is taken
    of those velocities at the full rate and filtered as the effort is, since that has the corners rounded too (the
    *parallel filtering* of Gautier 1997).

    Args:
        arm: The record, (1,), dtype ARM: coupling and smoothing velocities.
        segments: The recording's usable parts.
        period: s between two samples.
        cutoff: Hz; above the arm's motion, below its vibration.

    Raises:
        IdentifyError: There is too little, no axis moves, no effort was measured, or a number is not finite.
    """
    if not 0.0 < cutoff * RATE < 1.0 / period:
        raise IdentifyError(
            f"the cutoff is {cutoff:g} Hz: allowed is above 0 and below {1.0 / period / RATE:g} Hz, the rate of the "
            f"samples over {RATE:g}"
        )
    edge = round(EDGE / cutoff / period)
    shortest = max(round(MIN_SEGMENT / period), 4 * edge)
    usable = [segment for segment in segments if len(segment.position) >= shortest]
    seconds = period * sum(len(segment.position) - 2 * edge for segment in usable)
    if seconds < MIN_TIME:
        raise IdentifyError(
            f"the recording has {max(seconds, 0.0):.1f} s of an arm that is homed and powered, without gaps: at least "
            f"{MIN_TIME:g} s are needed, and a minute is better; record a longer motion"
        )
    filter_ = signal.butter(4, cutoff, fs=1.0 / period, output="sos")
    parts: list[Signals] = []
    blocks = 0
    for segment in usable:
        part = _conditioned(arm, segment, period, filter_, edge, max(1, round(1.0 / (RATE * cutoff * period))))
        parts.append(part._replace(block=part.block + blocks))
        blocks = int(parts[-1].block[-1]) + 1
    signals = Signals(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    n = int(arm[0]["n_axes"])
    if not all(np.isfinite(values).all() for values in (signals.qdd, signals.effort)):
        raise IdentifyError("the recording has positions or efforts that are not finite: its driver is at fault")
    if not np.any(signals.effort[:, :n]):
        raise IdentifyError(
            "every measured effort of the recording is zero: the driver reports no motor current, or there was none; "
            "record with an arm whose driver measures it"
        )
    if not signals.slides.any():
        fastest = np.abs(signals.qd[:, :n]).max()
        raise IdentifyError(
            f"no axis of the recording ever moves: the fastest reaches {fastest:.2g} rad/s or m/s; record a motion in "
            "which every axis goes through most of its range, as examples/identify_arm.py does"
        )
    return signals


def _conditioned(arm: Array, segment: Segment, period: float, filter_: Array, edge: int, step: int) -> Signals:
    smoothing = arm[0]["friction_smoothing"]
    A = arm[0]["actuator_from_joint"]
    n = int(arm[0]["n_axes"])

    def filtered(x: Array) -> Array:
        y: Array = signal.sosfiltfilt(filter_, x, axis=0)
        return y

    q = filtered(segment.position)
    qd = np.gradient(q, period, axis=0)
    qdd = np.gradient(qd, period, axis=0)
    at_actuators = qd @ A.T
    kept = slice(edge, len(q) - edge, step)
    joints_slide = np.abs(qd[kept]) > SLIDING * smoothing
    actuators_slide = np.abs(at_actuators[kept]) > SLIDING * smoothing
    slides = np.zeros(joints_slide.shape, dtype=bool)
    for i in range(n):
        rubbing = np.flatnonzero(A[:n, i])
        slides[:, i] = joints_slide[:, i] & actuators_slide[:, rubbing].all(axis=1)
    return Signals(
        q=q[kept],
        qd=qd[kept],
        qdd=qdd[kept],
        effort=filtered(segment.effort)[kept],
        joint_sign=filtered(np.tanh(qd / (SHARP * smoothing)))[kept],
        actuator_sign=filtered(np.tanh(at_actuators / (SHARP * smoothing)))[kept],
        slides=slides,
        block=np.arange(len(q))[kept] // round(BLOCK / period),
    )


def split(signals: Signals) -> tuple[Array, Array]:
    """Return which moments are fitted and which are held out, (N,) bool each: by whole blocks, apart from each other.

    Neighbouring samples share their noise and what the model does not know, so samples drawn at random would be
    predicted by their neighbours and the held-out error would flatter the fit. Moments that the filter mixes with
    held-out ones are in neither.
    """
    held = signals.block % HELD_OUT == HELD_OUT - 1
    near = np.convolve(held, np.ones(2 * round(EDGE * RATE) + 1), mode="same") > 0.5
    return ~near, held
