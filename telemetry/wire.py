"""The bus format: what is sent of each sample, under which topic.

A message is exactly two frames, `[topic][msgpack map]`. Every map has `t` (wall clock, s), `t_mono_ns`, `seq` and
`epoch`; keys are added over the versions but never removed, and never change type or unit. Values are SI; enumerations
are integers that the `/meta` message names. Topics are CRTK's.

On topics with every sample `seq` is the sample's sequence number, so that a lost one shows as a gap. On the others it
counts the messages of the topic, and `sample` is the sequence number of the sample that they were made from.
"""

import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from telemetry.errors import TelemetryError
from telemetry.meta import SCHEMA_VERSION, Axis, EventKind, Meta, describe, has_jaw, meta_topic, topics
from telemetry.sample import MAX_AXES, SAMPLE

__all__ = [
    "SCHEMA_VERSION",
    "Axis",
    "Encoder",
    "EventKind",
    "Meta",
    "TelemetryError",
    "decode",
    "meta_topic",
    "topics",
]

DECIMATED_RATE = 50.0  # Hz; viewers that poll slowly plot this one
STATUS_RATE = 10.0  # Hz; operating state (which is also sent when it changes) and period statistics


class _JointMessage(msgspec.Struct, gc=False):
    t: float
    t_mono_ns: int
    seq: int
    epoch: int
    position: Sequence[float]
    velocity: Sequence[float]
    effort: Sequence[float]


class _SparseJointMessage(_JointMessage, gc=False):
    sample: int = 0


class _PoseMessage(msgspec.Struct, gc=False):
    t: float
    t_mono_ns: int
    seq: int
    epoch: int
    position: Sequence[float]
    orientation: Sequence[float]


class _StateMessage(msgspec.Struct, gc=False):
    t: float
    t_mono_ns: int
    seq: int
    epoch: int
    sample: int
    state: int
    is_homed: bool
    is_busy: bool
    fault: int
    mode: int
    motion_id: int
    device_status: int
    feedback_age: int
    stream_age: float


class _EventMessage(msgspec.Struct, gc=False):
    t: float
    t_mono_ns: int
    seq: int
    epoch: int
    sample: int
    kind: int
    code: int
    id: int
    status: int
    delay: float


def decode(payload: bytes) -> dict[str, Any]:
    """Return a message's map.

    Raises:
        TelemetryError: The bytes are no msgpack map.
    """
    try:
        return _DECODER.decode(payload)
    except msgspec.MsgspecError as error:
        raise TelemetryError(
            f"a message of {len(payload)} bytes is no msgpack map ({error}); is the endpoint a telemetry one?"
        ) from error


class Encoder:
    """Turns samples into messages, and only into those that somebody wants.

    It remembers what on-change topics last told, so feed it each sample once and in order.

    Args:
        meta: The arm whose samples these are.

    Raises:
        TelemetryError: The description does not fit the samples.
    """

    def __init__(self, meta: Meta) -> None:
        if not 1 <= len(meta.axes) <= MAX_AXES:
            raise TelemetryError(f"arm {meta.arm} was given {len(meta.axes)} axes: a sample has 1 .. {MAX_AXES}")
        if not meta.period > 0.0:
            raise TelemetryError(f"arm {meta.arm} was given a period of {meta.period} s: it must be positive")
        self._meta = meta
        self._epoch = meta.epoch
        self._wall_offset_ns = meta.wall_offset_ns
        self._counts: dict[str, int] = {}
        self._decimation = max(1, round(1.0 / (DECIMATED_RATE * meta.period)))
        self._status_every = max(1, round(1.0 / (STATUS_RATE * meta.period)))
        self._state: tuple[int, ...] | None = None  # what operating_state last told
        self._fault: int | None = None  # as the newest sample had it; None before the first
        self._window: list[tuple[int, int, int]] = []  # wakeup, compute, io since the last statistics

        arm, n = meta.arm, len(meta.axes)
        joints = n - 1 if has_jaw(meta) else n
        everything = range(joints)
        every: dict[str, Callable[[memoryview, int], bytes]] = {
            f"{arm}/measured_js": self._joint_state("measured", everything),
            f"{arm}/setpoint_js": self._joint_state("setpoint", everything),
            f"{arm}/goal_js": self._joint_state("goal", everything),
            f"{arm}/measured_cp": self._pose("measured"),
            f"{arm}/setpoint_cp": self._pose("setpoint"),
            f"{arm}/goal_cp": self._pose("goal"),
        }
        if has_jaw(meta):
            jaw = range(n - 1, n)
            every[f"{arm}/jaw/measured_js"] = self._joint_state("measured", jaw)
            every[f"{arm}/jaw/setpoint_js"] = self._joint_state("setpoint", jaw)
        self._every_sample = every
        self._decimated = self._decimated_joint_state(everything)

    def meta_message(self, now_ns: int) -> tuple[str, bytes]:
        """Return the topic and the payload of the arm's description; `now_ns` is CLOCK_MONOTONIC."""
        topic = meta_topic(self._meta.arm)
        stamp = {
            "t": (now_ns + self._wall_offset_ns) * 1e-9,
            "t_mono_ns": now_ns,
            "seq": self._count(topic),
            "epoch": self._epoch,
        }
        return topic, _ENCODE(stamp | describe(self._meta))

    def messages(self, samples: np.ndarray[Any, Any], wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the messages of some samples, in order, as (topic, payload).

        Args:
            samples: The next records in order, shape (n,), dtype SAMPLE.
            wanted: The topics that anybody has subscribed to.
        """
        if samples.dtype != SAMPLE:
            raise TelemetryError("messages are made from records of telemetry.sample.SAMPLE; these have another dtype")
        if not wanted:
            self._state = None
            self._window.clear()
            if len(samples):
                self._fault = int(samples["fault"][-1])
            return
        arm = self._meta.arm
        every_sample = [(topic, encode) for topic, encode in self._every_sample.items() if topic in wanted]
        decimated, operating_state, events, statistics = (
            topic if topic in wanted else ""
            for topic in (
                f"{arm}/measured_js/decimated",
                f"{arm}/operating_state",
                f"{arm}/events",
                f"{arm}/period_statistics",
            )
        )
        if not operating_state:
            self._state = None  # the next subscriber is told at once
        buffer = memoryview(np.ascontiguousarray(samples).view("u1").data)
        for base in range(0, len(buffer), SAMPLE.itemsize):
            for topic, encode in every_sample:
                yield topic, encode(buffer, base)
            sequence = _SEQUENCE(buffer, base)[0]
            if decimated and sequence % self._decimation == 0:
                yield decimated, self._decimated(buffer, base)
            if operating_state:
                state = _STATE(buffer, base + _STATE_AT) + _FAULT(buffer, base + _FAULT_AT)
                if state != self._state or sequence % self._status_every == 0:
                    self._state = state
                    yield operating_state, self._state_message(operating_state, buffer, base)
            if events:
                yield from self._event_messages(events, buffer, base)
            self._fault = _FAULT(buffer, base + _FAULT_AT)[0]
            if statistics:
                self._window.append(_TIMING(buffer, base + _TIMING_AT))
                if sequence % self._status_every == 0:
                    yield statistics, self._statistics_message(statistics, buffer, base)
        if not statistics:
            self._window.clear()

    def _count(self, topic: str) -> int:
        count = self._counts.get(topic, 0) + 1
        self._counts[topic] = count
        return count

    def _joint_state(self, which: str, axes: range) -> Callable[[memoryview, int], bytes]:
        unpack, position, velocity, effort = _joint_fields(which, axes)
        epoch, wall = self._epoch, self._wall_offset_ns

        def encode(buffer: memoryview, base: int) -> bytes:
            sequence, t_ns = _HEAD(buffer, base)
            return _ENCODE(
                _JointMessage(
                    (t_ns + wall) * 1e-9,
                    t_ns,
                    sequence,
                    epoch,
                    unpack(buffer, base + position),
                    unpack(buffer, base + velocity),
                    unpack(buffer, base + effort),
                )
            )

        # A goal is a place to rest at: it has neither speed nor effort.
        rest = (0.0,) * len(axes)

        def encode_goal(buffer: memoryview, base: int) -> bytes:
            sequence, t_ns = _HEAD(buffer, base)
            goal = unpack(buffer, base + position)
            return _ENCODE(_JointMessage((t_ns + wall) * 1e-9, t_ns, sequence, epoch, goal, rest, rest))

        return encode_goal if which == "goal" else encode

    def _decimated_joint_state(self, axes: range) -> Callable[[memoryview, int], bytes]:
        unpack, position, velocity, effort = _joint_fields("measured", axes)

        def encode(buffer: memoryview, base: int) -> bytes:
            sequence, t_ns = _HEAD(buffer, base)
            return _ENCODE(
                _SparseJointMessage(
                    (t_ns + self._wall_offset_ns) * 1e-9,
                    t_ns,
                    sequence // self._decimation,  # counts the messages, and survives a restart of the publisher
                    self._epoch,
                    unpack(buffer, base + position),
                    unpack(buffer, base + velocity),
                    unpack(buffer, base + effort),
                    sequence,
                )
            )

        return encode

    def _pose(self, which: str) -> Callable[[memoryview, int], bytes]:
        offset = _offset(f"{which}_pose")
        epoch, wall = self._epoch, self._wall_offset_ns
        last = (1.0, 0.0, 0.0, 0.0)

        def encode(buffer: memoryview, base: int) -> bytes:
            nonlocal last
            sequence, t_ns = _HEAD(buffer, base)
            xx, xy, xz, x, yx, yy, yz, y, zx, zy, zz, z = _POSE(buffer, base + offset)
            last = _quaternion((xx, xy, xz, yx, yy, yz, zx, zy, zz), last)
            return _ENCODE(_PoseMessage((t_ns + wall) * 1e-9, t_ns, sequence, epoch, (x, y, z), last))

        return encode

    def _state_message(self, topic: str, buffer: memoryview, base: int) -> bytes:
        sequence, t_ns = _HEAD(buffer, base)
        state, is_homed, is_busy, mode = _STATE(buffer, base + _STATE_AT)
        message = _StateMessage(
            t=(t_ns + self._wall_offset_ns) * 1e-9,
            t_mono_ns=t_ns,
            seq=self._count(topic),
            epoch=self._epoch,
            sample=sequence,
            state=state,
            is_homed=bool(is_homed),
            is_busy=bool(is_busy),
            fault=_FAULT(buffer, base + _FAULT_AT)[0],
            mode=mode,
            motion_id=_U8(buffer, base + _offset("motion_id"))[0],
            device_status=_U4(buffer, base + _offset("device_status"))[0],
            feedback_age=_I8(buffer, base + _offset("feedback_age"))[0],
            stream_age=_I8(buffer, base + _offset("stream_age_ns"))[0] * 1e-9,
        )
        return _ENCODE(message)

    def _event_messages(self, topic: str, buffer: memoryview, base: int) -> Iterator[tuple[str, bytes]]:
        fault, event = _FAULT_EVENT(buffer, base + _FAULT_AT)
        command_id, sent_ns, verdict, finished_status, finished_id = _COMMAND(buffer, base + _COMMAND_AT)
        fault_changed = self._fault is not None and fault != self._fault
        if not (command_id or finished_id or event or fault_changed):
            return
        sequence, t_ns = _HEAD(buffer, base)

        def message(kind: EventKind, code: int, id_: int = 0, status: int = 0, delay: float = 0.0) -> tuple[str, bytes]:
            t = (t_ns + self._wall_offset_ns) * 1e-9
            seq = self._count(topic)
            return topic, _ENCODE(
                _EventMessage(t, t_ns, seq, self._epoch, sequence, int(kind), code, id_, status, delay)
            )

        if command_id:
            yield message(EventKind.COMMAND, verdict, command_id, delay=(t_ns - sent_ns) * 1e-9 if sent_ns else 0.0)
        if event:
            yield message(EventKind.EVENT, event)
        if fault_changed:
            yield message(EventKind.FAULT, fault)
        if finished_id:
            yield message(EventKind.FINISHED, fault, finished_id, finished_status)

    def _statistics_message(self, topic: str, buffer: memoryview, base: int) -> bytes:
        sequence, t_ns = _HEAD(buffer, base)
        times = np.sort(np.array(self._window, dtype=float) * 1e-9, axis=0)
        self._window.clear()
        ranks = {"median": 0.5, "p99": 0.99, "max": 1.0}
        at = {name: round(part * (len(times) - 1)) for name, part in ranks.items()}
        overruns, frames_lost, frames_bad = _COUNTERS(buffer, base + _COUNTERS_AT)
        message = {
            "t": (t_ns + self._wall_offset_ns) * 1e-9,
            "t_mono_ns": t_ns,
            "seq": self._count(topic),
            "epoch": self._epoch,
            "sample": sequence,
            "samples": len(times),
            "period": self._meta.period,
        }
        for column, name in enumerate(("wakeup", "compute", "io")):
            message[name] = {rank: float(times[row, column]) for rank, row in at.items()}
        message |= {"overruns": overruns, "frames_lost": frames_lost, "frames_bad": frames_bad}
        return _ENCODE(message)


def _offset(field: str) -> int:
    fields: Any = SAMPLE.fields
    return int(fields[field][1])


def _joint_fields(which: str, axes: range) -> tuple[Callable[[memoryview, int], tuple[float, ...]], int, int, int]:
    """Return what unpacks one double per axis, and where position, velocity and effort of these axes begin."""
    unpack = struct.Struct(f"<{len(axes)}d").unpack_from
    first = 8 * axes.start
    position = _offset(f"{which}_position") + first
    if which == "goal":
        return unpack, position, position, position
    return unpack, position, _offset(f"{which}_velocity") + first, _offset(f"{which}_effort") + first


def _quaternion(R: tuple[float, ...], last: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return the unit quaternion (w, x, y, z) of a rotation matrix (row by row), of the sign nearer to `last`.

    Of q and -q, which are the same rotation, the one that continues the curve is sent. An instrument that points down
    has w near 0, where a fixed sign would make plots jump. The largest component is computed first, so that nothing
    is divided by a small one (S. W. Shepperd, J. Guidance and Control 1(3), 1978, 223-224).
    """
    xx, xy, xz, yx, yy, yz, zx, zy, zz = R
    trace = xx + yy + zz
    if trace >= xx and trace >= yy and trace >= zz:
        w, x, y, z = 1.0 + trace, zy - yz, xz - zx, yx - xy
    elif xx >= yy and xx >= zz:
        w, x, y, z = zy - yz, 1.0 + xx - yy - zz, xy + yx, xz + zx
    elif yy >= zz:
        w, x, y, z = xz - zx, xy + yx, 1.0 - xx + yy - zz, yz + zy
    else:
        w, x, y, z = yx - xy, xz + zx, yz + zy, 1.0 - xx - yy + zz
    norm = (w * w + x * x + y * y + z * z) ** 0.5 or float("nan")  # 0 for what is no rotation at all
    if w * last[0] + x * last[1] + y * last[2] + z * last[3] < 0.0:
        norm = -norm
    return w / norm, x / norm, y / norm, z / norm


def _unpacker(layout: str, *fields: str) -> Callable[[memoryview, int], tuple[Any, ...]]:
    """Return what unpacks these neighbouring fields of a sample; make sure that they are neighbours."""
    packed = struct.Struct("<" + layout)
    described = np.dtype([(name, SAMPLE[name]) for name in fields])
    span = _offset(fields[-1]) + SAMPLE[fields[-1]].itemsize - _offset(fields[0])
    if not packed.size == described.itemsize == span:
        raise TelemetryError(f"the fields {fields} of a sample have moved: bring telemetry/wire.py up to date")
    return packed.unpack_from


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODER: msgspec.msgpack.Decoder[dict[str, Any]] = msgspec.msgpack.Decoder(dict[str, Any])

_U4, _U8, _I8 = (struct.Struct(f"<{code}").unpack_from for code in "IQq")
_POSE = struct.Struct("<12d").unpack_from  # without the last row
_HEAD = _unpacker("Qq", "sequence", "t_ns")
_SEQUENCE = _unpacker("Q", "sequence")
_STATE = _unpacker("4B", "state", "is_homed", "is_busy", "mode")
_FAULT = _unpacker("I", "fault")
_FAULT_EVENT = _unpacker("2I", "fault", "event")
_COMMAND = _unpacker("QqIIQ", "command_id", "command_sent_ns", "verdict", "finished_status", "finished_id")
_TIMING = _unpacker("3q", "wakeup_ns", "compute_ns", "io_ns")
_COUNTERS = _unpacker("3Q", "overruns", "frames_lost", "frames_bad")
_STATE_AT = _offset("state")
_FAULT_AT = _offset("fault")
_COMMAND_AT = _offset("command_id")
_TIMING_AT = _offset("wakeup_ns")
_COUNTERS_AT = _offset("overruns")
