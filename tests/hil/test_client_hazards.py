"""Readers and clients that are slow, stuck, hostile, dead or at odds, against the real daemon in lock-step."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest

import drivers.bridge
from controller import config as configuration
from controller.catalogue import Code
from controller.client import Arm
from controller.commands import Accepted, Empty, SpeedRatio
from controller.config import load_config
from controller.connection import Connection
from controller.core import make_driver
from controller.daemon import Daemon
from controller.errors import ConfigError, LeaseHeld
from drivers.driver import DriverError
from firmware_bridge.messages import PROTOCOL_HASH
from kinematics.description import load_arm
from telemetry.recording import samples_digest
from telemetry.ring import RingReader
from telemetry.ring_file import newest_record, open_ring
from telemetry.sample import SAMPLE, OperatingState
from telemetry.subscriber import Subscriber

AWAY = [0.1, -0.1, 0.13, 0.1, 0.1, -0.1, 0.1]
HOME = [0.0, 0.0, 0.12, 0.0, 0.0, 0.0, 0.0]
TOPIC = "PSM1/measured_js"
ROUNDS = 200

READER = """
import sys, time, zmq
sub = zmq.Context().socket(zmq.SUB)
sub.setsockopt(zmq.RCVHWM, 10)
sub.subscribe(b"")
sub.connect(sys.argv[1])
sub.recv()
print("ready", flush=True)
time.sleep(1000)
"""

STREAMER = """
import sys
from controller.client import Arm
with Arm(client_name="streamer") as arm:
    q = arm.setpoint_js().position
    for k in range(10**6):
        q[0] += 1e-5
        arm.servo_jp(q)
        arm.sleep(0.002)
        if k == 50:
            print("ready", flush=True)
            sys.stdin.readline()
"""


@pytest.fixture
def start():
    """Start Python programs that say when they are ready; all are ended."""
    running = []

    def start_(code, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start_
    for process in running:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROCAR_RUN_DIR", str(base))
        yield base


@pytest.fixture(scope="module")
def daemon(base):
    with Daemon(load_config("psm_emulated_strict"), lockstep=True) as daemon:
        yield daemon


@pytest.fixture
def arm(daemon):
    with Arm(take=True, client_name="test") as arm:
        arm.enable()
        if not arm.operating_state().is_homed:
            arm.home().wait()
        if arm.operating_state().state == OperatingState.PAUSED:
            arm.resume()
        arm.move_jp(HOME).wait()
        yield arm


def read_on(arm, reader):
    """Let 20 cycles pass, and read what they have brought: time in lock-step does not wait for a reader by itself."""
    arm.sleep(0.02)
    last = arm.measured_js().sequence
    while TOPIC not in reader.counters or reader.counters[TOPIC].sequence < last:
        assert reader.receive(20.0), "the telemetry has stopped"


def life(daemon, beside=lambda daemon: None):
    """Let an arm live for some seconds; returns a digest of all its samples and what a good reader has missed.

    Args:
        daemon: Just started.
        beside: Starts whatever may disturb.
    """
    with Arm() as arm, Subscriber(daemon.descriptor.telemetry, [TOPIC]) as reader:
        arm.sleep(0.001)
        assert reader.wait_ready(20.0)
        beside(daemon)
        ring = open_ring(daemon.run_dir.samples, SAMPLE)
        with RingReader(ring, slot=5, oldest=True) as everything:
            arm.enable()
            for begin in (arm.home, lambda: arm.move_jp(AWAY), lambda: arm.move_jp(HOME)):
                motion = begin()
                while not motion.done:
                    read_on(arm, reader)
            samples = everything.read()
        return samples_digest(samples), len(samples), reader.counters[TOPIC].lost, int(samples["overruns"][-1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROCAR_RUN_DIR", str(tmp_path_factory.mktemp("undisturbed")))
        with Daemon(load_config("psm_emulated_strict"), lockstep=True) as daemon:
            return life(daemon)


def test_a_reader_that_never_reads_costs_the_others_nothing(undisturbed, tmp_path, monkeypatch, start):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with Daemon(load_config("psm_emulated_strict"), lockstep=True) as daemon:
        beside = life(daemon, lambda daemon: start(READER, daemon.descriptor.telemetry))
    assert beside == undisturbed  # to the bit, sample by sample
    assert beside[2:] == (0, 0)


def test_a_stopped_reader_costs_the_cycle_and_the_others_nothing(undisturbed, tmp_path, monkeypatch, start):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))

    def beside(daemon):
        start(READER, daemon.descriptor.telemetry).send_signal(signal.SIGSTOP)

    with Daemon(load_config("psm_emulated_strict"), lockstep=True) as daemon:
        assert life(daemon, beside) == undisturbed


def raw_connections(daemon):
    """Return plain sockets to both of the gateway's, which speak no ZeroMQ."""
    opened = []
    for endpoint in (daemon.descriptor.commands, daemon.descriptor.telemetry):
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(endpoint.removeprefix("ipc://"))
        raw.setblocking(False)
        opened.append(raw)
    return opened


def assert_serves(daemon, arm, disturb):
    """The arm moves, and a reader gets every sample of it, while something disturbs."""
    with Subscriber(daemon.descriptor.telemetry, [TOPIC]) as reader:
        arm.sleep(0.001)
        assert reader.wait_ready(20.0)
        for goal in (AWAY, HOME):
            motion = arm.move_jp(goal)
            while not motion.done:
                disturb()
                read_on(arm, reader)
        assert reader.counters[TOPIC].lost == 0
    assert arm.operating_state().state == OperatingState.ENABLED
    assert int(arm.sample()["overruns"]) == 0


def test_garbage_on_the_sockets_stops_neither_telemetry_nor_commands(daemon, arm):
    rng = random.Random(17)
    opened = []

    def disturb():
        opened.extend(raw_connections(daemon))
        for raw in opened[-20:]:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):  # it has hung up
                raw.send(rng.randbytes(rng.randrange(1, 4000)))
        if len(opened) > 200:
            opened.pop(0).close()

    try:
        assert_serves(daemon, arm, disturb)
    finally:
        for raw in opened:
            raw.close()
    assert len(opened) > 50


def test_a_flood_of_subscriptions_stops_neither_telemetry_nor_commands(daemon, arm):
    import zmq

    rng = random.Random(18)
    context = zmq.Context()
    opened, count = [], 0

    def disturb():
        nonlocal count
        flooding = context.socket(zmq.SUB)
        flooding.linger = 0
        opened.append(flooding)
        flooding.connect(daemon.descriptor.telemetry)
        for _ in range(500):
            flooding.subscribe(rng.randbytes(rng.randrange(1, 40)))
            count += 1

    try:
        assert_serves(daemon, arm, disturb)
    finally:
        for flooding in opened:
            flooding.close()
        context.term()
    assert count > 10_000


def streaming(start, arm):
    """Start a client that takes the lease and streams; return its process."""
    arm.close()
    return start(STREAMER)


def assert_holds_then_loses_power(daemon, looker):
    """Time goes on without the streaming client: a hold after 50 ms, no power after 500 ms."""
    looker.sleep(0.06)
    assert looker.operating_state()[0::3] == (OperatingState.PAUSED, Code.STREAM_STALE)
    looker.sleep(0.2)
    at_rest = looker.sample()["measured_position"].copy()
    looker.sleep(0.2)
    np.testing.assert_allclose(looker.sample()["measured_position"], at_rest, atol=1e-4)
    looker.sleep(0.3)
    assert looker.operating_state()[0::3] == (OperatingState.FAULT, Code.STREAM_DEAD)
    looker.sleep(0.05)
    truth = newest_record(open_ring(daemon.run_dir.truth))[0]
    assert not truth["power"]
    assert not truth["brakes_released"]


def test_a_killed_client_leaves_an_arm_that_holds_and_then_loses_its_power(daemon, arm, start):
    client = streaming(start, arm)
    client.kill()
    client.wait()
    with Arm(client_name="looker") as looker:
        assert_holds_then_loses_power(daemon, looker)


def test_a_partitioned_holder_loses_its_stream_and_the_arm_holds(daemon, arm, start):
    client = streaming(start, arm)
    client.send_signal(signal.SIGSTOP)
    with Arm(client_name="looker") as looker:
        with pytest.raises(LeaseHeld, match="streamer"):
            looker.set_speed_ratio(1.0)  # it is stopped, and has not given the arm away
        assert_holds_then_loses_power(daemon, looker)
        # What it says when it comes back changes nothing.
        client.stdin.write("\n")
        client.send_signal(signal.SIGCONT)
        assert client.stdin.flush() is None
        assert client.wait(60.0) != 0  # its next command was refused
        looker.sleep(0.05)
        assert looker.operating_state().state == OperatingState.FAULT


def test_two_clients_that_race_are_never_both_accepted(daemon, arm):
    arm.close()
    clients = [Connection(daemon.run_dir, daemon.descriptor, name) for name in ("left", "right")]
    rng = random.Random(21)
    outcomes = {}
    gate = threading.Barrier(3)
    stop = threading.Event()
    delays = [0, 0]

    def race(k):
        while True:
            gate.wait()
            if stop.is_set():
                return
            for _ in range(delays[k]):
                pass
            try:
                outcomes[k] = clients[k].ask("set_speed_ratio", SpeedRatio(ratio=1.0), Accepted)
            except LeaseHeld as refused:
                outcomes[k] = refused
            gate.wait()

    threads = [threading.Thread(target=race, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    winners, cycles = [], []
    try:
        for _ in range(ROUNDS):
            outcomes.clear()
            delays[:] = [rng.randrange(20_000), rng.randrange(20_000)]
            gate.wait()
            gate.wait()
            accepted = [k for k in range(2) if isinstance(outcomes[k], Accepted)]
            assert len(accepted) == 1, outcomes
            winner = accepted[0]
            refused = outcomes[1 - winner]
            assert refused.code == Code.LEASED
            assert ("left", "right")[winner] in str(refused)
            winners.append(winner)
            cycles.append(outcomes[winner].sequence)
            assert clients[winner].ask("release", Empty(), bool) is True
    finally:
        stop.set()
        gate.wait()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
    assert len(set(cycles)) == ROUNDS  # one command a cycle
    assert set(winners) == {0, 1}, "the race has never been open"


# --- what must be found before a motor has power


def leaves(struct, prefix=""):
    """Every key of a configuration, with its sections."""
    for field in msgspec.structs.fields(struct):
        kind = field.type
        inner = next((t for t in (kind, *getattr(kind, "__args__", ())) if hasattr(t, "__struct_fields__")), None)
        key = f"{prefix}{field.encode_name}"
        if inner is not None and getattr(kind, "__origin__", None) is not list:
            yield from leaves(inner, f"{key}.")
        else:
            yield key


WRONG = (object, "nonsense", -1e9, [], [1.0] * 99, {"x": 1}, True)
"""Values of which every key refuses at least one; `object` stands for a key with a typing error."""


def written(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {written(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(written(v) for v in value) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def with_key(data, key, value):
    """The text of a configuration with one key changed; `object`: misspelt."""
    *sections, name = key.split(".")
    data = {k: dict(v) if isinstance(v, dict) else v for k, v in data.items()}
    table = data
    for section in sections:
        table = table.setdefault(section, {})
    if value is object:
        table.pop(name, None)
        name, value = name + "_", 1
    table[name] = value
    lines = []
    for section, content in data.items():
        lines.append(f"[{section}]")
        lines += [f"{k} = {written(v)}" for k, v in content.items()]
    return "\n".join(lines)


# The seal itself has tests of its own.
@pytest.mark.parametrize("key", sorted(k for k in leaves(configuration.Config) if not k.startswith("seal.")))
def test_a_configuration_with_any_field_wrong_never_reaches_a_motor(key, tmp_path):
    text = (Path(configuration.__file__).parent / "configs" / "psm_emulated_strict.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    path = tmp_path / "arm.toml"
    path.write_text(with_key(data, "arm.name", "PSM1"))
    load_config(path)  # as written here it is right
    refused = 0
    for value in WRONG:
        path.write_text(with_key(data, key, value))
        try:
            load_config(path)
        except ConfigError as error:
            refused += 1
            assert key.rpartition(".")[2] in str(error), error
            assert str(path) in str(error)
    assert refused >= 2, "neither a typing error nor a wrong value is refused"


def test_a_device_with_another_protocol_never_gets_power(tmp_path, monkeypatch):
    config = load_config("psm_emulated")
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(config))
    rig = subprocess.Popen([sys.executable, "-m", "hil.rig", str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert rig.stdout.readline() == "ready\n"
        driver = make_driver(config, load_arm(config.arm.description), str(tmp_path / "port"))
        driver._timeout = 30.0  # a busy machine is no fault of the device
        monkeypatch.setattr(drivers.bridge, "PROTOCOL_HASH", PROTOCOL_HASH ^ 1)
        with pytest.raises(DriverError, match="protocol"):
            driver.open()
        ring = open_ring(tmp_path / "truth")
        assert not ring.slots["power"].any()
    finally:
        rig.send_signal(signal.SIGTERM)
        rig.communicate(timeout=30)
    assert rig.returncode == 0
    assert not os.path.lexists(tmp_path / "port")
