"""A core made of a few lines, so that gateway and client can be tested without motors; and the real daemon."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from controller.clock import LOCKSTEP
from controller.commands import Client, Reply, Request
from controller.config import Config, load_config
from controller.daemon import Daemon
from controller.gateway import Gateway
from controller.inputs import INPUT
from controller.mailbox import CAPACITY, MAILBOX, VERB, Group, Operation, Verb
from controller.run_dir import AxisInfo, Descriptor, RunDir, write_atomically
from telemetry.ring import create_ring, publish
from telemetry.sample import SAMPLE, MotionStatus, OperatingState
from telemetry.shared import create_records

EPOCH = 7
AXES = ("yaw", "pitch", "insertion", "roll", "wrist_pitch", "wrist_yaw", "jaw")
TAKES = {Operation.HOME: 40, Operation.HOLD: 3, Operation.DISABLE: 5} | {
    operation: 20 for operation in Operation if VERB[operation] == Verb.MOVE
}


class FakeCore:
    """Takes one message a tick, moves the set-point to its goal in a fixed number of ticks, writes samples.

    `verdicts` and `ends` say how operations are answered and how activities end when it is not as asked.
    """

    def __init__(self, run_dir: RunDir, *, lockstep: bool) -> None:
        self.ring = create_ring(run_dir.samples, SAMPLE, 1024, epoch=EPOCH, wall_offset_ns=0)
        self.mailbox = create_records(run_dir.mailbox, MAILBOX)
        create_ring(run_dir.inputs, INPUT, 256, epoch=EPOCH, wall_offset_ns=0)
        self.lockstep = create_records(run_dir.lockstep, LOCKSTEP) if lockstep else None
        self.verdicts: dict[int, int] = {}
        self.ends: dict[int, tuple[MotionStatus, int]] = {}
        self.messages: list[np.ndarray[Any, Any]] = []
        self.sample = np.zeros(1, SAMPLE)
        self.sample["fault_axis"] = -1
        self.sample["setpoint_pose"] = self.sample["measured_pose"] = np.eye(4)
        self._left = 0
        self._operation = 0

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self._tick()

    def _tick(self) -> None:
        s = self.sample
        s["sequence"] += 1
        s["t_ns"] = time.monotonic_ns() if self.lockstep is None else s["sequence"] * 1_000_000
        for name in ("command_id", "verdict", "finished_id", "finished_status", "event"):
            s[name] = 0
        tail = int(self.mailbox["tail"][0])
        if int(self.mailbox["head"][0]) > tail:
            message = self.mailbox["messages"][0, tail % CAPACITY].copy()
            self.mailbox["tail"] = tail + 1
            self.messages.append(message)
            self._take(message)
        elif self._left:
            self._left -= 1
            if not self._left:
                status, code = self.ends.get(self._operation, (MotionStatus.DONE, 0))
                self._finish(status)
                s["fault"] = code
                if code:
                    s["state"] = OperatingState.FAULT
                elif self._operation == Operation.DISABLE:
                    s["state"] = OperatingState.DISABLED
                elif self._operation == Operation.HOME:
                    s["is_homed"] = 1
        s["measured_position"] = s["setpoint_position"]
        self.ring.slots[self.ring.head & (self.ring.capacity - 1)] = s[0]
        publish(self.ring.header)

    def _take(self, message: np.ndarray[Any, Any]) -> None:
        s, operation = self.sample, int(message["operation"])
        s["command_id"], s["command_sent_ns"] = message["id"], message["sent_ns"]
        s["verdict"] = self.verdicts.get(operation, 0)
        if s["verdict"][0]:
            return
        if self._left:
            self._finish(MotionStatus.PREEMPTED)
        s["motion_id"] = message["id"]
        if operation == Operation.ENABLE:
            s["state"], s["fault"] = OperatingState.ENABLED, 0
        elif operation == Operation.PAUSE:
            s["state"] = OperatingState.PAUSED
        elif operation == Operation.RESUME:
            s["state"] = OperatingState.ENABLED
        if operation in (Operation.MOVE_JP, Operation.SERVO_JP) and message["group"] == Group.ARM:
            s["goal_position"] = s["setpoint_position"] = message["vector"]
        if operation == Operation.SPEED_RATIO:
            s["speed_ratio"] = message["speed"]
        if operation in TAKES:
            self._left, self._operation = TAKES[operation], operation
            s["is_busy"] = 1
        elif VERB[operation] not in (Verb.SERVO, Verb.INTERPOLATE):
            self._finish(MotionStatus.DONE)

    def _finish(self, status: MotionStatus) -> None:
        self.sample["finished_id"] = self.sample["motion_id"]
        self.sample["finished_status"] = status
        self.sample["is_busy"] = 0
        self._left = 0

    def run_grant(self) -> bool:
        """Run what the gateway has granted; False: nothing was."""
        w = self.lockstep
        assert w is not None
        if w["grant"][0] == w["grant_done"][0]:
            return False
        for _ in range(int(w["grant_ticks"][0])):
            self._tick()
            s = self.sample
            stop_id = int(w["stop_id"][0])
            ended = s["finished_id"][0] == stop_id or (s["command_id"][0] == stop_id and s["verdict"][0])
            if (stop_id and ended) or (int(w["stop_states"][0]) >> int(s["state"][0])) & 1:
                break
        w["grant_done"] = w["grant"]
        return True


class Peer:
    """A client that speaks the protocol by hand."""

    def __init__(self, gateway: Gateway, run_dir: RunDir, name: str, settle: Callable[[], None]) -> None:
        self.gateway = gateway
        self.client = Client(id=name, name=name, pid=1234, user="surgeon")
        self._endpoint = f"ipc://{run_dir.commands_socket}"
        self._settle = settle
        self._number = 0
        self.connect()

    def connect(self) -> None:
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(self._endpoint)

    def send(self, op: str, *, take: bool = False, reply: bool = True, number: int | None = None, **args: Any) -> int:
        self._number += 1
        request = Request(
            op=op,
            request=number or self._number,
            client=self.client,
            sent_ns=11,
            take=take,
            reply=reply,
            args=msgspec.Raw(msgspec.msgpack.encode(args)),
        )
        self.send_raw(msgspec.msgpack.encode(request))
        return request.request

    def send_raw(self, *frames: bytes) -> None:
        handled = self.gateway.counters["requests"]
        self.socket.send_multipart(frames)
        for _ in range(1000):
            self.gateway.step(10)
            if self.gateway.counters["requests"] > handled:
                return
        raise AssertionError("the gateway has not seen the request")

    def receive(self, result: Any = None) -> Any:
        """Return the next reply's result, of the type given, or without one its refusal; fail when it is neither."""
        assert self.socket.poll(1000), "no reply"
        reply = msgspec.msgpack.decode(self.socket.recv(), type=Reply)
        self.last_number = reply.request
        if result is None:
            assert reply.refused is not None, msgspec.msgpack.decode(reply.result)
            return reply.refused
        assert reply.refused is None, reply.refused
        return msgspec.msgpack.decode(reply.result, type=result)

    def silent(self) -> bool:
        """Whether nothing has come; the settling gives a wrong reply the time to."""
        self._settle()
        return not self.socket.poll(20)


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config("psm_emulated")


class Bench:
    """A gateway between a fake core and peers."""

    def __init__(self, base: Path, config: Config, *, lockstep: bool) -> None:
        self.run_dir = RunDir(base / "PSM1")
        self.run_dir.create()
        self.core = FakeCore(self.run_dir, lockstep=lockstep)
        self.clock = Clock()
        self.config = config
        self.gateway = Gateway(self.run_dir, config, epoch=EPOCH, now=self.clock)
        self.peers: list[Peer] = []

    def peer(self, name: str = "hand") -> Peer:
        peer = Peer(self.gateway, self.run_dir, name, self.settle)
        self.peers.append(peer)
        return peer

    def settle(self, ticks: int = 0) -> None:
        """Let the core run, and the gateway see it."""
        self.core.tick(ticks)
        self.gateway.step(0)
        if self.core.lockstep is not None:
            while self.core.run_grant():
                self.gateway.step(0)

    def restart_gateway(self) -> None:
        self.gateway.close()
        self.gateway = Gateway(self.run_dir, self.config, epoch=EPOCH, now=self.clock)
        for peer in self.peers:
            peer.gateway = self.gateway
            peer.socket.close()  # what is sent before ZeroMQ notices the old gateway's end is lost; not tested here
            peer.connect()

    def close(self) -> None:
        for peer in self.peers:
            peer.socket.close()
        self.gateway.close()


@pytest.fixture
def bench(tmp_path: Path, config: Config) -> Iterator[Bench]:
    bench = Bench(tmp_path, config, lockstep=False)
    yield bench
    bench.close()


@pytest.fixture
def lockstep_bench(tmp_path: Path, config: Config) -> Iterator[Bench]:
    bench = Bench(tmp_path, config, lockstep=True)
    yield bench
    bench.close()


class Served:
    """Gateway and fake core in a thread, with the descriptor that clients look for."""

    def __init__(self, base: Path, config: Config, *, lockstep: bool) -> None:
        self.run_dir = RunDir(base / "PSM1")
        self.run_dir.create()
        self.core = FakeCore(self.run_dir, lockstep=lockstep)
        self.gateway = Gateway(self.run_dir, config, epoch=EPOCH)
        self.paused = False
        self._lock = self.run_dir.locked()
        self._lock.__enter__()
        self._stop = threading.Event()
        axes = [
            AxisInfo(
                name=name,
                type="prismatic" if name == "insertion" else "revolute",
                position_min=-1,
                position_max=1,
                velocity_max=1,
                acceleration_max=1,
                jerk_max=1,
                effort_max=1,
            )
            for name in AXES
        ]
        descriptor = Descriptor(
            arm="PSM1",
            pid=1,
            epoch=EPOCH,
            commands=f"ipc://{self.run_dir.commands_socket}",
            telemetry=f"ipc://{self.run_dir.telemetry_socket}",
            lockstep=lockstep,
            period=config.cycle.period,
            description=config.arm.description,
            axes=axes,
            n_joints=6,
            children={},
            recording=None,
            versions={},
        )
        write_atomically(self.run_dir.descriptor, msgspec.json.encode(descriptor))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self.core.lockstep is not None:
                self.core.run_grant()
            elif not self.paused:
                self.core.tick()
            self.gateway.step(1)

    def end(self) -> None:
        """As when the daemon ends."""
        self._stop.set()
        self._thread.join()
        if self._lock is not None:
            self.run_dir.descriptor.unlink()
            self._lock.__exit__(None, None, None)
            self.gateway.close()
            self._lock = None


@pytest.fixture
def served(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    served = Served(tmp_path, config, lockstep=False)
    yield served
    served.end()


@pytest.fixture
def served_lockstep(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    served = Served(tmp_path, config, lockstep=True)
    yield served
    served.end()


@pytest.fixture
def lockstep_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """The real daemon with the emulated arm, in lock-step: bit for bit repeatable."""
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with Daemon(load_config("psm_emulated_strict"), lockstep=True) as daemon:
        yield daemon
