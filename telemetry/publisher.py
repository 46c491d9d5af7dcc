"""The telemetry's sending end: one XPUB socket that encodes what is wanted, and never waits for anybody.

A reader that does not keep up loses messages (it sees the gaps in `seq`); neither the publisher nor the other readers
notice it. Whoever subscribes is told the arm's description at once, so nobody has to sleep after connecting.
"""

import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from telemetry.wire import Encoder, Meta, TelemetryError, topics

__all__ = ["Publisher"]

HIGH_WATER_MARK = 1000  # messages held for a reader; all topics of one arm fill it in about 0.1 s
META_PERIOD = 1.0  # s
LOCAL = re.compile(r"(ipc|inproc)://.+|tcp://(127\.[0-9.]+|localhost|\[::1\]):(\d+|\*)")


class Publisher:
    """Publishes an arm's samples.

    Call `poll_subscriptions` whenever `socket` is readable, and `publish` with every new sample, once and in order.
    Neither blocks.

    Attributes:
        sent: Messages handed to the socket, by topic.

    Args:
        endpoints: Where to listen: `ipc://PATH` (the socket file gets mode 0600), `tcp://127.0.0.1:PORT`, ...
        meta: The arm.
        context: A ZeroMQ context to share; None: the process's own.
        high_water_mark: Messages held for each reader before its newest are dropped.

    Raises:
        TelemetryError: An endpoint is in use, is not valid, or could be reached from another machine.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        meta: Meta,
        *,
        context: "zmq.Context[Any] | None" = None,
        high_water_mark: int = HIGH_WATER_MARK,
    ) -> None:
        for endpoint in endpoints:
            if not LOCAL.fullmatch(endpoint):
                raise TelemetryError(
                    f"telemetry endpoint {endpoint} was given: the stream is neither encrypted nor authenticated, so "
                    "only ipc://PATH and tcp://127.0.0.1:PORT are allowed; use an SSH tunnel from other machines"
                )
        self.sent: Counter[str] = Counter()
        self._encoder = Encoder(meta)
        self._all_topics = topics(meta)
        self._meta_topic = self._all_topics[-1]
        self._subscriptions: set[bytes] = set()  # prefixes
        self._wanted: frozenset[str] = frozenset()
        self._meta_due = 0.0
        self._socket: zmq.Socket[bytes] = (context or zmq.Context.instance()).socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # every subscription is reported, so every late joiner is seen
        self._socket.setsockopt(zmq.SNDHWM, high_water_mark)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            for endpoint in endpoints:
                self._bind(endpoint)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The XPUB socket, for a poller: readable when somebody subscribes or unsubscribes."""
        return self._socket

    @property
    def wanted(self) -> frozenset[str]:
        """The topics that anybody has subscribed to, as of the last `poll_subscriptions`."""
        return self._wanted

    def poll_subscriptions(self) -> None:
        """Take note of new and ended subscriptions, and describe the arm to newcomers."""
        changed = described = False
        while (frame := self._receive()) is not None:
            if frame[:1] == b"\x01":
                self._subscriptions.add(frame[1:])
                described |= self._meta_topic.encode().startswith(frame[1:])
            elif frame[:1] == b"\x00":
                self._subscriptions.discard(frame[1:])
            changed = True
        if changed:
            prefixes = tuple(prefix.decode("utf-8", "replace") for prefix in self._subscriptions)
            self._wanted = frozenset(topic for topic in self._all_topics if topic.startswith(prefixes))
        self._describe(now=described)

    def publish(self, samples: np.ndarray[Any, Any]) -> None:
        """Send the messages of some samples to whoever wants them, and the arm's description once a second.

        Args:
            samples: The next records in order, shape (n,), dtype SAMPLE.
        """
        for topic, payload in self._encoder.messages(samples, self._wanted):
            self._send(topic, payload)
        self._describe()

    def close(self) -> None:
        """Close the socket and remove its files; may be called twice."""
        self._socket.close()

    def _bind(self, endpoint: str) -> None:
        path = Path(endpoint.removeprefix("ipc://")) if endpoint.startswith("ipc://") else None
        if path is not None and not path.parent.is_dir():
            raise TelemetryError(f"telemetry endpoint {endpoint}: there is no folder {path.parent}; make it first")
        # libzmq makes the socket file in this call, so the mask makes it private from its first moment.
        mask = os.umask(0o177)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise TelemetryError(
                f"telemetry cannot be offered at {endpoint} ({error}): is another daemon using it? `trocar arms` tells"
            ) from error
        finally:
            os.umask(mask)

    def _describe(self, *, now: bool = False) -> None:
        if now or time.monotonic() >= self._meta_due:
            self._meta_due = time.monotonic() + META_PERIOD
            if self._meta_topic in self._wanted:
                self._send(*self._encoder.meta_message(time.monotonic_ns()))

    def _receive(self) -> bytes | None:
        try:
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _send(self, topic: str, payload: bytes) -> None:
        # XPUB drops for a reader whose queue is full; it never waits. Copies are cheaper than tracking for 300 bytes.
        self._socket.send(topic.encode(), zmq.SNDMORE | zmq.NOBLOCK)
        self._socket.send(payload, zmq.NOBLOCK)
        self.sent[topic] += 1
