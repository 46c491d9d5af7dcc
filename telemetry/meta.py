"""What an arm says of itself on the bus: names, units, frames, enumerations and topics."""

from enum import IntEnum
from typing import Any

import msgspec

from telemetry.sample import SAMPLE, MotionStatus, OperatingState, layout_hash

__all__ = ["SCHEMA_VERSION", "Axis", "EventKind", "Meta", "describe", "has_jaw", "meta_topic", "topics"]

SCHEMA_VERSION = 1  # raised when keys or topics are added; a key never changes its meaning, type or unit
JAW = "jaw"  # the last axis is the gripper if it has this name


class EventKind(IntEnum):
    """What a message on `events` tells."""

    COMMAND = 1  # a command was taken: `id`, `code` is its verdict (0: accepted), `delay` since it was sent
    FINISHED = 2  # an activity ended: `id` began it, `status` says how, `code` is the fault if there is one
    EVENT = 3  # something happened in this cycle: `code`
    FAULT = 4  # the latched fault is another one: `code`, 0 when it was cleared


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One joint of the arm, as `/meta` describes it."""

    name: str
    kind: str
    """`revolute` (rad, N·m) or `prismatic` (m, N)."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader must know of an arm to understand its messages."""

    arm: str
    """Its name, the first part of every topic."""
    axes: tuple[Axis, ...]
    """All of them in the samples' order, the jaw last."""
    period: float
    """s between samples."""
    epoch: int
    """Which start of the daemon this is."""
    wall_offset_ns: int = 0
    """Wall clock minus CLOCK_MONOTONIC, ns."""
    arm_file_hash: str = ""
    """Digest of the arm's description."""
    lockstep: bool = False
    """True: time is virtual."""
    base_frame: str = ""
    """The frame of every pose; empty: `<arm>_base`."""
    tip_frame: str = ""
    """What the poses are of; empty: `<arm>_tip`."""
    enums: dict[str, dict[str, int]] = {}
    """More enumerations by name: the modes, the catalogue's codes."""


def topics(meta: Meta) -> tuple[str, ...]:
    """Return every topic of an arm, the one of `/meta` last."""
    names = [f"{which}_{what}" for what in ("js", "cp") for which in ("measured", "setpoint", "goal")]
    names += ["measured_js/decimated", "operating_state", "events", "period_statistics"]
    if has_jaw(meta):
        names += ["jaw/measured_js", "jaw/setpoint_js"]
    return (*(f"{meta.arm}/{name}" for name in names), meta_topic(meta.arm))


def meta_topic(arm: str) -> str:
    """Return the topic under which an arm describes itself."""
    return f"/meta/{arm}"


def has_jaw(meta: Meta) -> bool:
    """Return whether the last axis is a gripper's, which has topics of its own."""
    return len(meta.axes) > 1 and meta.axes[-1].name == JAW


def describe(meta: Meta) -> dict[str, Any]:
    """Return what the `/meta` message tells besides its stamps."""
    revolute = [axis.kind == "revolute" for axis in meta.axes]
    enums = {
        "operating_state": {state.name: int(state) for state in OperatingState},
        "motion_status": {status.name: int(status) for status in MotionStatus},
        "event_kind": {kind.name: int(kind) for kind in EventKind},
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "sample_layout": layout_hash(SAMPLE),
        "arm": meta.arm,
        "joint_names": [axis.name for axis in meta.axes],
        "joint_types": [axis.kind for axis in meta.axes],
        "has_jaw": has_jaw(meta),
        "units": {
            "position": ["rad" if r else "m" for r in revolute],
            "velocity": ["rad/s" if r else "m/s" for r in revolute],
            "effort": ["N·m" if r else "N" for r in revolute],
            "pose_position": "m",
            "pose_orientation": "unit quaternion [w, x, y, z]",
            "time": "s",
        },
        "base_frame": meta.base_frame or f"{meta.arm}_base",
        "tip_frame": meta.tip_frame or f"{meta.arm}_tip",
        "period": meta.period,
        "lockstep": meta.lockstep,
        "arm_file_hash": meta.arm_file_hash,
        "enums": enums | meta.enums,
        "topics": list(topics(meta)),
    }
