"""A client's connection to the gateway: requests, their answers, the heartbeat."""

import getpass
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import zmq

from controller.catalogue import Code
from controller.commands import ALWAYS_ALLOWED, COMMANDS, NOTICE, Client, Empty, Heartbeat, Refusal, Reply, Request
from controller.errors import CommandRefused, ControllerError, DaemonLost, LeaseHeld
from controller.run_dir import Descriptor, RunDir

__all__ = ["Connection"]

T = TypeVar("T")

HEARTBEAT = 0.5  # s; the lease lasts 2 s
PATIENCE = 10.0  # s for the answer to a command, which takes a cycle
ASK_AGAIN = 1.0  # s: what may be asked twice is, in case the gateway was restarted meanwhile
POLL_MS = 100
FAREWELL_MS = 200  # for giving the lease back


class Connection:
    """The connection to the gateway: a socket for each request that is under way, all of one client.

    It knows nothing of the Arm, so that a forgotten Arm can be collected while the heartbeat's thread still runs.
    """

    def __init__(self, run_dir: RunDir, daemon: Descriptor, client_name: str) -> None:
        self._run_dir = run_dir
        self._daemon = daemon
        self._client = Client(id=uuid.uuid4().hex, name=client_name[:64], pid=os.getpid(), user=_user()[:64])
        self._context = zmq.Context()
        self._idle: list[zmq.Socket[bytes]] = []
        self._lock = threading.Lock()
        self._number = 0
        self._closed = False
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None
        self._notice: Refusal | None = None

    def ask(
        self,
        op: str,
        args: msgspec.Struct,
        result: type[T],
        *,
        take: bool = False,
        again: bool = False,
        patience: float = PATIENCE,
    ) -> T:
        """Send a request and return its answer.

        Args:
            op: The request.
            args: Its arguments.
            result: The type of the answer.
            take: Take the lease.
            again: It may be asked again while there is no answer: it changes nothing, or only once.
            patience: s after which a running daemon's silence is an error.

        Raises:
            CommandRefused: It was, or an earlier servo command was.
            DaemonLost: Nobody answers.
        """
        if op in COMMANDS and op not in ALWAYS_ALLOWED:  # a stream's refusal must not keep an arm from being stopped
            self.check_notice()
            self._start_heart()
        number, payload = self._encode(op, args, take=take, reply=True)
        with self._borrowed() as socket:
            socket.send(payload)
            reply = self._await_reply(socket, number, op, payload if again else None, patience)
        if reply.refused is not None:
            raise _error(reply.refused)
        if op == "advance":  # in lock-step a stream's refusal comes with the tick that takes it
            self._raise_notice()
        return msgspec.msgpack.decode(reply.result, type=result)

    def send(self, op: str, args: msgspec.Struct, *, take: bool = False) -> None:
        """Send a request that is answered only if it is refused."""
        self.check_notice()
        self._start_heart()
        with self._borrowed() as socket:
            try:
                socket.send(self._encode(op, args, take=take, reply=False)[1], zmq.NOBLOCK)
            except zmq.Again as error:
                self.check_daemon()
                raise DaemonLost(f"{self._daemon.arm} takes no commands: its gateway does not read.") from error

    def check_notice(self) -> None:
        """Raise the refusal of an earlier servo command, if one has come."""
        with self._borrowed() as socket:
            while socket.poll(0):
                self._receive(socket)
        self._raise_notice()

    def check_daemon(self) -> None:
        """Raise DaemonLost unless the daemon still runs."""
        descriptor = self._run_dir.read_descriptor()
        if descriptor is None or not self._run_dir.is_locked():
            raise DaemonLost(
                f"the daemon of {self._daemon.arm} has ended. Its last words are in the logs in {self._run_dir.path}; "
                "start it again with `trocar up`."
            )
        if descriptor.epoch != self._daemon.epoch:
            raise DaemonLost(f"the daemon of {self._daemon.arm} was restarted: make a new Arm.")

    def close(self) -> None:
        """Release the lease, end the thread, close the sockets."""
        if self._closed:
            return
        self._closed = True
        self._ended.set()
        if self._heart is not None:
            if self._heart is not threading.current_thread():
                self._heart.join()
            farewell = self._connect()
            farewell.send(self._encode("release", Empty(), reply=False)[1])
        self._context.destroy(linger=FAREWELL_MS)

    def _encode(self, op: str, args: msgspec.Struct, *, take: bool = False, reply: bool) -> tuple[int, bytes]:
        with self._lock:
            self._number += 1
            number = self._number
        request = Request(
            op=op,
            request=number,
            client=self._client,
            sent_ns=time.monotonic_ns(),
            take=take,
            reply=reply,
            args=msgspec.Raw(msgspec.msgpack.encode(args)),
        )
        return number, msgspec.msgpack.encode(request)

    @contextmanager
    def _borrowed(self) -> "Iterator[zmq.Socket[bytes]]":
        """Give a socket that nobody else uses meanwhile: the same one each time, as long as one thread asks."""
        if self._closed:
            raise ControllerError("this Arm is closed: make a new one.")
        with self._lock:
            socket = self._idle.pop() if self._idle else self._connect()
        try:
            yield socket
        finally:
            with self._lock:
                self._idle.append(socket)

    def _connect(self) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self._daemon.commands)
        return socket

    def _await_reply(
        self, socket: "zmq.Socket[bytes]", number: int, op: str, again: bytes | None, patience: float
    ) -> Reply:
        asked = begun = time.monotonic()
        while True:
            if socket.poll(POLL_MS):
                reply = self._receive(socket)
                if reply is not None and reply.request == number:  # else it answers a request that was interrupted
                    return reply
                continue
            now = time.monotonic()
            if now - asked < ASK_AGAIN:
                continue
            self.check_daemon()
            asked = now
            if again is not None:
                socket.send(again)
            if now - begun > patience:
                raise DaemonLost(
                    f"{self._daemon.arm} did not answer {op!r} within {patience:g} s; it may have been carried out. "
                    "See `trocar status`."
                )

    def _receive(self, socket: "zmq.Socket[bytes]") -> Reply | None:
        """Return the next answer; a notice is kept for later, and None is returned."""
        reply = msgspec.msgpack.decode(socket.recv(), type=Reply)
        if reply.request == NOTICE:
            self._notice = reply.refused
            return None
        return reply

    def _raise_notice(self) -> None:
        notice, self._notice = self._notice, None
        if notice is not None:
            raise _error(notice)

    def _start_heart(self) -> None:
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="trocar heartbeat", daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        socket = self._connect()
        while not self._ended.wait(HEARTBEAT):
            try:
                socket.send(self._encode("heartbeat", Heartbeat(holds=True), reply=False)[1], zmq.NOBLOCK)
            except zmq.Again:
                continue  # nobody reads: whoever asks next is told
        socket.close()


def _error(refused: Refusal) -> CommandRefused:
    kind = LeaseHeld if refused.code == Code.LEASED else CommandRefused
    return kind(refused.code, refused.detail)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
