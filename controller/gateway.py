"""The gateway: telemetry out, commands in. `python -m controller.gateway RUN_DIR`.

It joins sockets and shared memory and holds nothing that the arm needs: it may die and be started again while the arm
holds or moves. Of a command it checks form, types and lease; its meaning is judged in the cycle.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import numpy as np
import zmq

from controller.catalogue import Code
from controller.clock import LOCKSTEP
from controller.commands import (
    ALWAYS_ALLOWED,
    COMMANDS,
    NOTICE,
    QUERIES,
    Advance,
    Arguments,
    Empty,
    Heartbeat,
    Holder,
    LawParameters,
    Refusal,
    Reply,
    Request,
    Status,
    Wait,
)
from controller.config import Config
from controller.errors import ControllerError, LawError
from controller.exchange import CoreLink, await_grant
from controller.inputs import INPUT, InputLog
from controller.laws.parameters import pack
from controller.laws.report import law_parameters
from controller.lease import Lease
from controller.mailbox import MAILBOX, VERB, Operation, Verb
from controller.run_dir import RunDir
from controller.status import make_status
from controller.waiting import Advancing, Commanding, FirstSample, Stopping, Waiter, Waiting, refusal
from kinematics.description import load_arm
from telemetry.errors import TelemetryError
from telemetry.meta import Axis, Meta
from telemetry.publisher import Publisher
from telemetry.ring import open_ring
from telemetry.sample import MAX_AXES, SAMPLE
from telemetry.shared import map_records

__all__ = ["Gateway", "make_publisher"]

MAX_REQUEST = 65_536  # bytes; the largest true request has under 3000
PATIENCE = 5.0  # s: a client that waits asks again every second, so one that does not has gone
STOP_TIME = 2.0  # s: a stop switches off after so long even if the hold has not come to its end
POLL_MS = 1  # real time
LOOK_NS = 5_000_000  # lock-step: while ticks are run, pass samples on so often; in between core and rig have the CPUs


@dataclass
class _Pending:
    """A request that waits, and whom to answer."""

    identity: bytes
    request: Request
    waiter: Waiter
    heard: float


class Gateway:
    """One step at a time, so that tests can drive it: `step` polls, drains, answers.

    Args:
        run_dir: Where files and sockets are.
        config: The daemon's.
        epoch: Which start of the daemon this is.
        telemetry: Takes the samples; None: nobody.
        now: A monotonic clock in s, for lease and time-outs.
        context: A ZeroMQ context to share; None: the process's own.
    """

    def __init__(
        self,
        run_dir: RunDir,
        config: Config,
        *,
        epoch: int = 0,
        telemetry: Publisher | None = None,
        now: Callable[[], float] = time.monotonic,
        context: "zmq.Context[Any] | None" = None,
    ) -> None:
        self.lease = Lease()
        self.counters = {"requests": 0, "malformed": 0, "refused": 0}
        self._run_dir = run_dir
        self._config = config
        self._arm = load_arm(config.arm.description)
        self._epoch = epoch
        self._telemetry = telemetry
        self._now = now
        self._pending: list[_Pending] = []
        self._patience = np.array([0, LOOK_NS])
        self._told: set[bytes] = set()  # senders of streams that have an unread notice of refusal
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Request)
        lockstep = map_records(run_dir.lockstep, LOCKSTEP) if run_dir.lockstep.exists() else None
        inputs = InputLog(open_ring(run_dir.inputs, INPUT), lockstep=lockstep is not None)
        samples, mailbox = open_ring(run_dir.samples, SAMPLE), map_records(run_dir.mailbox, MAILBOX)
        self.link = CoreLink(samples, mailbox, lockstep, inputs)
        self._router: zmq.Socket[bytes] = (context or zmq.Context.instance()).socket(zmq.ROUTER)
        self._router.linger = 0
        self._router.maxmsgsize = MAX_REQUEST
        self._router.set_hwm(1000)
        run_dir.commands_socket.unlink(missing_ok=True)
        self._router.bind(f"ipc://{run_dir.commands_socket}")
        run_dir.commands_socket.chmod(0o600)
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        if telemetry is not None:
            self._poller.register(telemetry.socket, zmq.POLLIN)

    def close(self) -> None:
        """Release sockets and the ring's cursor."""
        self._router.close()
        if self._telemetry is not None:
            self._telemetry.close()
        self.link.close()

    def step(self, timeout_ms: int = POLL_MS) -> None:
        """Wait for requests at most so long, then take samples and answer what can be answered."""
        events = dict(self._poller.poll(0 if self.link.granting else timeout_ms))
        if self._telemetry is not None:
            self._telemetry.poll_subscriptions()
        self._drain()
        if self._router in events:
            self._receive()
        if self.link.lockstep is not None:
            self._run_time()

    def _drain(self) -> None:
        """Take the new samples, pass them on, answer who waits for them."""
        while True:
            samples = self.link.drain()
            for sender, code, command in self.link.refused:
                self._notice(sender, refusal(code, command=command))
            self._settle(self.link.states_seen)
            if not len(samples):
                return
            if self._telemetry is not None:
                self._telemetry.publish(samples)

    def _settle(self, states: int) -> None:
        now = self._now()
        for pending in self._pending[:]:
            result = pending.waiter.answer(self.link, now, states)
            if result is not None:
                self._pending.remove(pending)
                self._answer(pending.identity, pending.request, result)
            elif now - pending.heard > PATIENCE and not isinstance(pending.waiter, Stopping):
                self._pending.remove(pending)  # its client has gone; in lock-step time must not run on for it

    def _run_time(self) -> None:
        """Lock-step: when the core has used up its ticks, give it those that the next waiting request needs."""
        lockstep = self.link.lockstep
        assert lockstep is not None
        if not await_grant(lockstep, self._patience):
            return
        self._drain()  # everything up to the grant's end, before anybody is given more time
        if self._pending:
            pending = self._pending.pop(0)
            self._pending.append(pending)  # in turns
            self.link.grant(*pending.waiter.ticks(self.link))

    def _receive(self) -> None:
        while True:
            try:
                identity, *frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.counters["requests"] += 1
            try:
                if len(frames) != 1:
                    raise msgspec.ValidationError(f"{len(frames)} frames where one is expected")
                request = self._decoder.decode(frames[0])
            except msgspec.DecodeError as error:
                self.counters["malformed"] += 1
                self._send(identity, Reply(request=NOTICE, refused=refusal(Code.BAD_PARAMETER, f"Malformed: {error}.")))
                continue
            try:
                self._handle(identity, request)
            except msgspec.DecodeError as error:
                self.counters["malformed"] += 1
                self._refuse(identity, request, refusal(Code.BAD_PARAMETER, f"{request.op} is malformed: {error}."))

    def _handle(self, identity: bytes, request: Request) -> None:
        if request.op in COMMANDS:
            self._command(identity, request)
        elif request.op == "status":
            if self.link.lockstep is not None and self.link.newest is None:
                self._wait(identity, request, FirstSample())
            else:
                self._answer(identity, request, self.status())
        elif request.op == "wait":
            wait = msgspec.msgpack.decode(request.args, type=Wait)
            self._wait(identity, request, self._waiting(wait))
        elif request.op == "advance":
            advance = msgspec.msgpack.decode(request.args, type=Advance)
            if self.link.lockstep is None:
                self._refuse(identity, request, refusal(Code.BAD_PARAMETER, "Only lock-step's time can be advanced."))
            else:
                self._wait(identity, request, Advancing(advance.until))
        elif request.op == "stop":
            self._stop(identity, request)
        elif request.op == "heartbeat":
            heartbeat = msgspec.msgpack.decode(request.args, type=Heartbeat)
            if heartbeat.holds and not self.lease.touch(request.client, self._now()) and not self.lease.ever_held:
                self.lease.acquire(request.client, self._now())
        elif request.op == "release":
            self.lease.release(request.client)
            self._answer(identity, request, True)
        else:
            known = ", ".join((*COMMANDS, *QUERIES))
            detail = f"{request.op!r} was asked for; known are {known}."
            self._refuse(identity, request, refusal(Code.UNKNOWN_OPERATION, detail))

    def _command(self, identity: bytes, request: Request) -> None:
        operation, form = COMMANDS[request.op]
        try:
            args: Arguments = msgspec.msgpack.decode(request.args, type=form)
        except msgspec.ValidationError as error:
            if f"length <= {MAX_AXES}" in str(error):
                detail = f"At most {MAX_AXES} entries fit any arm."
                self._refuse(identity, request, refusal(Code.WRONG_SIZE, detail))
                return
            raise
        if request.op not in ALWAYS_ALLOWED and not self._may_command(identity, request):
            return
        parameters: list[float] = []
        if isinstance(args, LawParameters):
            try:
                parameters = pack(law_parameters(self._run_dir), args.values)
            except LawError as error:
                self._refuse(identity, request, refusal(Code.BAD_LAW_PARAMETER, str(error)))
                return
        verb, timeout = VERB[operation], getattr(args, "timeout", 0.0)
        if verb in (Verb.SERVO, Verb.INTERPOLATE):
            stream = self._config.stream
            longest = stream.timeout if verb == Verb.SERVO else stream.interpolate_timeout
            if timeout > longest:
                detail = f"A stream's timeout of {timeout:g} s was asked for; at most {longest:g} s is configured."
                self._refuse(identity, request, refusal(Code.BAD_PARAMETER, detail))
                return
            args = msgspec.structs.replace(args, timeout=timeout or longest)
        sender = None if request.reply else identity
        command = self.link.post(
            operation, args, sent_ns=request.sent_ns, sender=sender, parameters=parameters, client=request.client
        )
        if not command:
            self._refuse(identity, request, refusal(Code.MAILBOX_FULL))
        elif request.reply:
            self._wait(identity, request, Commanding(command))

    def _may_command(self, identity: bytes, request: Request) -> bool:
        busy = self.link.acting_on != 0
        if self.lease.acquire(request.client, self._now(), take=request.take, busy=busy):
            return True
        holder = self.lease.holder
        assert holder is not None
        detail = f"{holder.name or 'A client'} (process {holder.pid}, user {holder.user}) has the lease."
        self._refuse(identity, request, refusal(Code.LEASED, detail))
        return False

    def _stop(self, identity: bytes, request: Request) -> None:
        hold = self.link.post(Operation.HOLD, Empty(), sent_ns=request.sent_ns, client=request.client)
        if not hold:
            self._refuse(identity, request, refusal(Code.MAILBOX_FULL))
            return
        self._wait(
            identity,
            request,
            Stopping(hold, until_time=self._now() + STOP_TIME, sent_ns=request.sent_ns, client=request.client),
        )

    def _waiting(self, wait: Wait) -> Waiting:
        if wait.timeout is None:
            return Waiting(wait.id, wait.states)
        if self.link.lockstep is None:
            return Waiting(wait.id, wait.states, until_time=self._now() + wait.timeout)
        ticks = round(wait.timeout / self._config.cycle.period)
        return Waiting(wait.id, wait.states, until_sequence=self.link.sequence + ticks)

    def _wait(self, identity: bytes, request: Request, waiter: Waiter) -> None:
        """Answer now if that is possible, else once it is. A request asked again goes on waiting as it did."""
        for pending in self._pending:
            if pending.request.client.id == request.client.id and pending.request.request == request.request:
                pending.identity, pending.heard = identity, self._now()
                return
        result = waiter.answer(self.link, self._now(), 1 << self.link.state)
        if result is not None:
            self._answer(identity, request, result)
        else:
            self._pending.append(_Pending(identity, request, waiter, self._now()))

    def _answer(self, identity: bytes, request: Request, result: Any) -> None:  # noqa: ANN401
        if isinstance(result, Refusal):
            self._refuse(identity, request, result)
            return
        if not request.reply:
            return
        if request.op == "status":
            result = self.status()
        self._told.discard(identity)  # it reads its socket: should it stream on, it may be told again
        encoded = msgspec.Raw(self._encoder.encode(result))
        self._send(identity, Reply(request=request.request, result=encoded))

    def _refuse(self, identity: bytes, request: Request, refused: Refusal) -> None:
        if not request.reply:
            self._notice(identity, refused)
            return
        self.counters["refused"] += 1
        self._told.discard(identity)
        self._send(identity, Reply(request=request.request, refused=refused))

    def _notice(self, identity: bytes, refused: Refusal) -> None:
        """Tell a streaming client that it was refused: once, until it shows that it reads."""
        self.counters["refused"] += 1
        if identity and identity not in self._told:
            self._told.add(identity)
            self._send(identity, Reply(request=NOTICE, refused=refused))

    def _send(self, identity: bytes, reply: Reply) -> None:
        # A client that does not read loses its replies (ROUTER drops); nobody waits for it.
        try:
            self._router.send_multipart([identity, self._encoder.encode(reply)], zmq.NOBLOCK)
        except zmq.Again:
            self._told.discard(identity)

    def status(self) -> Status:
        """Return the state of everything, for people."""
        now = self._now()
        holder = self.lease.current(now, busy=self.link.acting_on != 0)
        lease = None
        if holder is not None:
            lease = Holder(name=holder.name, pid=holder.pid, user=holder.user, silent=now - self.lease.heard)
        counters = self.counters | {"samples_lost": self.link.samples_lost}
        return make_status(
            self._run_dir, self._config, self._arm, self.link, epoch=self._epoch, lease=lease, counters=counters
        )


def make_publisher(run_dir: RunDir, config: Config, *, lockstep: bool) -> Publisher:
    """Return the telemetry's sending end for a daemon's run directory."""
    arm = load_arm(config.arm.description)
    header = open_ring(run_dir.samples, SAMPLE).header[0]
    meta = Meta(
        arm=config.arm.name,
        axes=tuple(Axis(name=name, kind=kind) for name, kind in zip(arm.axis_names, arm.axis_types, strict=True)),
        period=config.cycle.period,
        epoch=int(header["epoch"]),
        wall_offset_ns=int(header["wall_offset_ns"]),
        arm_file_hash=arm.digest,
        lockstep=lockstep,
        enums={"code": {code.name: int(code) for code in Code}},
    )
    run_dir.telemetry_socket.unlink(missing_ok=True)
    return Publisher([f"ipc://{run_dir.telemetry_socket}"], meta)


def main(arguments: list[str] | None = None) -> int:
    """Run the gateway until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="controller.gateway", description="Telemetry out, commands in.")
    parser.add_argument("run_dir", type=Path)
    options = parser.parse_args(arguments)
    run_dir = RunDir(options.run_dir)
    stop: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop.append(number)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides: it gets the terminal's Ctrl-C too
    try:
        config = msgspec.json.decode(run_dir.config.read_bytes(), type=Config)
        lockstep = run_dir.lockstep.exists()
        publisher = make_publisher(run_dir, config, lockstep=lockstep)
        epoch = int(open_ring(run_dir.samples, SAMPLE).header["epoch"][0])
        gateway = Gateway(run_dir, config, epoch=epoch, telemetry=publisher)
    except (ControllerError, TelemetryError, OSError, msgspec.DecodeError) as error:
        print(f"trocar: gateway: {error}", file=sys.stderr, flush=True)
        return 1
    print("ready", flush=True)
    try:
        while not stop:
            gateway.step()
    finally:
        gateway.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
