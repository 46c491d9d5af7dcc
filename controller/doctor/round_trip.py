"""How long a serial line takes there and back: over a pseudo-terminal, or a port with a device or a plug behind it.

A real port is only ever sent HELLO, which asks a device who it is: nothing is configured and nothing gets power.
"""

import os
import select
import time
import tty
from collections.abc import Callable

import numpy as np

from controller.doctor.load import Load
from drivers.driver import DriverError
from drivers.serial_port import close_port, open_port
from firmware_bridge.frame import make_frame, parse_frame
from firmware_bridge.messages import PROTOCOL_HASH, MessageType
from kinematics.compiled import Array

__all__ = ["measure_port", "measure_pty"]

FRAME = 64  # bytes each way over the pseudo-terminal, about a command's
TRIPS_PER_SECOND = 500
ANSWER_TIMEOUT = 0.5  # s
START_TIMEOUT = 20.0  # s
MAX_FRAME = 1024


def measure_pty(seconds: float, *, priority: int = 0) -> Array:
    """Return the round trips of 64 bytes to another process over a pseudo-terminal, (n,), s.

    Args:
        seconds: For how long.
        priority: The other process's SCHED_FIFO priority, where permitted; 0: ordinary.
    """
    far, near = os.openpty()
    try:
        tty.setraw(far)
        tty.setraw(near)
        data = bytes(range(1, FRAME + 1))
        with Load(("echo",), stdin=far, priority=priority):
            os.write(near, data[:1])
            select.select([near], [], [], START_TIMEOUT)  # it has started
            os.read(near, 1)
            return _trips(near, data, lambda received: len(received) >= FRAME, seconds)
    finally:
        os.close(far)
        os.close(near)


def measure_port(path: str, baud: int, seconds: float) -> tuple[Array, str]:
    """Return the round trips of HELLO over a real port, (n,), s, and who answered.

    Raises:
        DriverError: The port cannot be used, or nobody answers.
    """
    hello = make_frame(MessageType.HELLO, np.uint32(PROTOCOL_HASH).tobytes())
    port = open_port(path, baud)
    try:
        answer = _first_answer(port.fd, hello)
        if answer is None:
            raise DriverError(
                f"nothing came back from {path} at {baud} baud within {ANSWER_TIMEOUT:g} s: check the device's power "
                "and driver.baud, or join TX and RX with a plug to measure the port alone"
            )
        who = "a plug that joins TX and RX" if answer == MessageType.HELLO else "the device"
        wanted = int(answer)
        return _trips(port.fd, hello, lambda received: wanted in _messages(received), seconds), who
    finally:
        close_port(port)


def _first_answer(fd: int, hello: bytes) -> int | None:
    """Return the type of the first whole message that comes back."""
    os.write(fd, b"\0" + hello)  # ends whatever a program before us has left unended
    received = b""
    deadline = time.monotonic() + ANSWER_TIMEOUT
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            received += os.read(fd, MAX_FRAME)
            for kind in _messages(received):
                if kind in (MessageType.HELLO, MessageType.HELLO_REPLY):
                    return kind
    return None


def _messages(received: bytes) -> list[int]:
    """Return the types of the whole messages in some bytes."""
    kinds = []
    frame = np.zeros(MAX_FRAME, np.uint8)
    for piece in received.split(b"\0")[:-1]:
        if piece and parse_frame(np.frombuffer(piece + b"\0", np.uint8).copy(), 0, len(piece), frame) >= 0:
            kinds.append(int(frame[0]))
    return kinds


def _trips(fd: int, data: bytes, is_whole: Callable[[bytes], bool], seconds: float) -> Array:
    count = max(10, round(seconds * TRIPS_PER_SECOND))
    times = np.zeros(count)
    begun = time.monotonic()
    for k in range(count):
        received = b""
        begin = time.perf_counter_ns()
        os.write(fd, data)
        while not is_whole(received):
            if not select.select([fd], [], [], ANSWER_TIMEOUT)[0]:
                raise DriverError(f"the answer {k + 1} of {count} did not come within {ANSWER_TIMEOUT:g} s")
            received += os.read(fd, MAX_FRAME)
        times[k] = (time.perf_counter_ns() - begin) * 1e-9
        next_ = begun + (k + 1) / TRIPS_PER_SECOND
        time.sleep(max(0.0, next_ - time.monotonic()))
    return times
