"""The telemetry's receiving end: exact topics, and a count of what was missed.

    with Subscriber("ipc:///run/user/1000/trocar/PSM1/telemetry.sock", ["PSM1/measured_js"]) as subscriber:
        for message in subscriber:
            print(message.data["seq"], message.data["position"])

No sleep is needed anywhere: the connection is made, and made again, in the background.
"""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import zmq

from telemetry.wire import TelemetryError, decode, meta_topic

__all__ = ["Message", "Subscriber", "TopicCounters"]

META_PREFIX = meta_topic("")
RECEIVE_BUFFER = 1000  # messages
RECONNECT_MS = 20  # a restarted gateway is found again within this time ...
RECONNECT_MAX_MS = 500  # ... and an absent one is asked for no more often than this


class Message(NamedTuple):
    """One message."""

    topic: str
    data: dict[str, Any]


@dataclass
class TopicCounters:
    """What became of one topic's messages."""

    received: int = 0
    lost: int = 0
    """Missing in the sequence."""
    resets: int = 0
    """Restarts of the daemon or of the publisher: the sequence began anew."""
    skipped: int = 0
    """Received, but replaced by a newer one before anybody asked (`newest_only`)."""
    sequence: int = 0
    epoch: int = 0
    received_at: float = float("nan")
    """time.monotonic() of the newest."""

    @property
    def age(self) -> float:
        """Seconds since the newest message came; inf while none has."""
        return time.monotonic() - self.received_at if self.received else float("inf")


class Subscriber:
    """Receives messages of some topics.

    Attributes:
        counters: What became of each topic's messages, by topic; a topic appears with its first message.
        meta: The newest description of each arm, by arm.
        malformed: Messages that were dropped because they are none of Trocar's.

    Args:
        endpoint: Where a Publisher listens; it need not exist yet.
        topics: The topics, exactly: "PSM1/measured_js" does not bring "PSM1/measured_js/decimated". One that ends in
            "/" stands for everything below it.
        newest_only: Return only the newest message of each topic; older ones are counted as `skipped`. For displays,
            and for whatever else is slower than the stream.
        receive_buffer: Messages held until they are asked for; beyond it the newest are lost, and counted.
        context: A ZeroMQ context to share; None: the process's own.

    Raises:
        TelemetryError: The endpoint is not valid, or no topic was given.
    """

    def __init__(
        self,
        endpoint: str,
        topics: Sequence[str],
        *,
        newest_only: bool = False,
        receive_buffer: int = RECEIVE_BUFFER,
        context: "zmq.Context[Any] | None" = None,
    ) -> None:
        if isinstance(topics, str) or not topics:
            raise TelemetryError(
                f"topics were given as {topics!r}: give a list of at least one, e.g. ['PSM1/measured_js']"
            )
        self.counters: dict[str, TopicCounters] = {}
        self.meta: dict[str, dict[str, Any]] = {}
        self.malformed = 0
        self._exact = frozenset(topic for topic in topics if not topic.endswith("/"))
        self._below = tuple(topic for topic in topics if topic.endswith("/"))
        self._newest_only = newest_only
        self._receive_buffer = receive_buffer
        self._queue: deque[Message] = deque()  # received while waiting for something else
        self._newest: dict[str, Message] = {}
        self._socket: zmq.Socket[bytes] = (context or zmq.Context.instance()).socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, receive_buffer)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        # The descriptions last: subscriptions arrive in order, so when one comes the others are in force.
        for prefix in (*topics, META_PREFIX):
            self._socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            raise TelemetryError(
                f"telemetry endpoint {endpoint!r} is not valid ({error}): give ipc://PATH or tcp://HOST:PORT"
            ) from error

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the messages as they come, without end."""
        while True:
            message = self.receive()
            if message is not None:
                yield message

    def receive(self, timeout: float | None = None) -> Message | None:
        """Return the next message, or None if none came in time.

        Args:
            timeout: s; 0: only what is there; None: wait for ever.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._newest_only:
                self._drain()
                if self._newest:
                    return self._newest.pop(next(iter(self._newest)))
            elif self._queue:
                return self._queue.popleft()
            else:
                message = self._take()
                if message is not None:
                    return message
            if not self._wait(deadline):
                return None

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Return True once an arm has described itself: from then on every message reaches this subscriber.

        Args:
            timeout: s; None: wait for ever.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.meta:
            message = self._take()
            if message is not None:
                self._keep(message)
            elif not self._wait(deadline):
                return False
        return True

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self._socket.close()

    def _wait(self, deadline: float | None) -> bool:
        """Wait until the socket is readable; False when the deadline passes first."""
        if deadline is None:
            self._socket.poll()
            return True
        # Rounded up, so that the last fraction of a millisecond is not spent in a busy loop.
        left_ms = max(0, math.ceil((deadline - time.monotonic()) * 1000.0))
        return bool(self._socket.poll(left_ms))

    def _drain(self) -> None:
        # Bounded, so that a stream faster than this loop still lets the caller have something.
        for _ in range(max(self._receive_buffer, 1)):
            message = self._take()
            if message is None:
                return
            self._keep(message)

    def _keep(self, message: Message) -> None:
        if not self._newest_only:
            self._queue.append(message)
            return
        if message.topic in self._newest:
            self.counters[message.topic].skipped += 1
        self._newest[message.topic] = message

    def _take(self) -> Message | None:
        """Return the next message that was asked for, or None when none is there."""
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            message = self._accept(frames)
            if message is not None:
                return message

    def _accept(self, frames: list[bytes]) -> Message | None:
        topic = frames[0].decode("utf-8", "replace")
        about_arm = topic.startswith(META_PREFIX)
        asked = topic in self._exact or topic.startswith(self._below)
        if not (about_arm or asked):
            return None  # a longer topic with the same beginning: subscriptions are prefixes
        try:
            if len(frames) != 2:
                raise TelemetryError(f"a message has 2 frames, not {len(frames)}")
            data = decode(frames[1])
            self._note(topic, int(data["epoch"]), int(data["seq"]))
        except (TelemetryError, KeyError, TypeError, ValueError):
            self.malformed += 1
            return None
        if about_arm:
            self.meta[topic.removeprefix(META_PREFIX)] = data
        return Message(topic, data) if asked else None

    def _note(self, topic: str, epoch: int, sequence: int) -> None:
        counters = self.counters.setdefault(topic, TopicCounters())
        if counters.received:
            if epoch != counters.epoch or sequence <= counters.sequence:
                counters.resets += 1
            else:
                counters.lost += sequence - counters.sequence - 1
        counters.received += 1
        counters.epoch, counters.sequence = epoch, sequence
        counters.received_at = time.monotonic()
