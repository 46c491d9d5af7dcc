"""A host for the emulated arm, one period at a time: no pseudo-terminal, no clock, no sleep."""

import numpy as np
import pytest

from controller.config import (
    ArmConfig,
    Config,
    CycleConfig,
    DriverConfig,
    GuardConfig,
    HomingConfig,
    LawConfig,
    RigConfig,
)
from drivers.driver import Mode, Status
from firmware_bridge.frame import HEADER, make_frame, parse_frame
from firmware_bridge.messages import PROTOCOL_HASH, MessageType, message_dtype, session_of
from firmware_bridge.siphash import KEY_SIZE
from hil.rig import Rig
from kinematics.description import load_arm

ARM = "psm_classic"
KP = np.array([2000.0, 2000.0, 40000.0, 10.0, 10.0, 10.0, 10.0])
KD = np.array([20.0, 20.0, 400.0, 0.12, 0.12, 0.12, 0.12])


def make_config(*, seed=1, baud=4_000_000, watchdog=0.004, period=0.001, plant="psm_classic"):
    return Config(
        arm=ArmConfig(name="PSM1", description=ARM),
        law=LawConfig(kp=KP.tolist(), kd=KD.tolist()),
        guard=GuardConfig(following_error=[0.1] * 7),
        homing=HomingConfig(pose=[0.0] * 7),
        driver=DriverConfig(baud=baud, watchdog=watchdog),
        cycle=CycleConfig(period=period),
        rig=RigConfig(plant=plant, seed=seed),
    )


class Host:
    """The other end of the line: speaks the bridge's protocol to a rig that it steps."""

    def __init__(self, run_dir, **settings):
        self.config = make_config(**settings)
        self.arm = load_arm(ARM).record
        self.rig = Rig(self.config, run_dir)
        self.faults = self.rig.faults
        self.sequence = 0
        self.session = 0
        self.rx = b""
        self.feedback = None

    @property
    def truth(self):
        return self.rig.truth.copy()

    def frames(self, wire):
        self.rx += wire
        *whole, self.rx = self.rx.split(b"\0")
        for piece in whole:
            frame = np.zeros(1024, np.uint8)
            length = parse_frame(np.frombuffer(piece + b"\0", np.uint8).copy(), 0, len(piece), frame)
            if length >= 0:
                yield int(frame[0]), frame[HEADER : HEADER + length].tobytes()

    def ask(self, type_, payload, reply, key=None):
        wire = make_frame(type_, payload, key, self.session)
        for _ in range(20):
            for kind, data in self.frames(self.rig.step(wire)):
                if kind == MessageType[reply]:
                    return np.frombuffer(data, message_dtype(reply))[0]
            wire = b""
        raise AssertionError(f"no {reply}")

    def connect(self, **changes):
        hello = self.ask(MessageType.HELLO, np.uint32(PROTOCOL_HASH).tobytes(), "HELLO_REPLY")
        assert hello["protocol_hash"] == PROTOCOL_HASH
        self.session = session_of(hello)
        a, n = self.arm[0], 7
        c = np.zeros(1, message_dtype("CONFIGURE", n))
        c["n_axes"], c["host_period_us"] = n, round(self.config.cycle.period * 1e6)
        c["watchdog_us"], c["brake_delay_us"] = round(self.config.driver.watchdog * 1e6), 50_000
        axes = c["axes"]
        for name in ("counts_per_unit", "effort_per_amp", "current_max", "brake"):
            axes[name] = a[name][:n]
        axes["position_min"], axes["position_max"] = a["actuator_position_min"][:n], a["actuator_position_max"][:n]
        axes["velocity_max"] = 2 * np.abs(a["actuator_from_joint"][:n, :n]) @ a["velocity_max"][:n]
        for name, value in changes.items():
            (c if name in c.dtype.names else axes)[name] = value
        reply = self.ask(MessageType.CONFIGURE, c.tobytes(), "CONFIGURE_REPLY", bytes(KEY_SIZE))
        assert reply["refused_field"] == 0

    def command_frame(self, mode=Mode.ON, *, clear=0, **axes):
        self.sequence += 1
        c = np.zeros(1, message_dtype("COMMAND", 7))
        c["sequence"], c["mode"], c["clear_fault"], c["n_axes"] = self.sequence, mode, clear, 7
        for name, value in axes.items():
            c["axes"][name] = value
        return make_frame(MessageType.COMMAND, c.tobytes(), bytes(KEY_SIZE), self.session)

    def listen(self, wire):
        """Take the newest feedback out of what the rig sent; returns how many there were."""
        count = 0
        for kind, data in self.frames(wire):
            assert kind == MessageType.FEEDBACK
            self.feedback = np.frombuffer(data, message_dtype("FEEDBACK", 7))[0]
            count += 1
        return count

    def tick(self, mode=Mode.ON, *, clear=0, **axes):
        """Send one command, let one period pass; returns the newest feedback."""
        self.listen(self.rig.step(self.command_frame(mode, clear=clear, **axes)))
        return self.feedback

    def silent(self, count=1):
        """Let periods pass without a word; returns the truth after each."""
        records = []
        for _ in range(count):
            self.listen(self.rig.step())
            records.append(self.truth)
        return records

    def home(self, count=64):
        """Give the encoders their reference from the absolute sensors, without power."""
        mean = np.zeros(7)
        for _ in range(count):
            mean += self.tick(Mode.OFF)["axes"]["absolute"] / count
        # The reference is where the axes are *now*; at rest that is what was averaged.
        self.tick(Mode.SET_REFERENCE, position=mean)
        assert self.tick(Mode.OFF)["status"] & Status.REFERENCED
        return mean

    def enable(self, effort=0.0, count=120):
        """Power up where the arm is and wait for the brakes; returns the actuator positions held."""
        hold = self.tick(Mode.OFF)["axes"]["position"].copy()
        for _ in range(count):
            self.tick(Mode.ON, position=hold, kp=KP, kd=KD, effort=effort)
        assert self.feedback["status"] & Status.BRAKES_RELEASED, (self.feedback["status"], self.feedback["fault"])
        return hold

    def hold(self, position, count, effort=0.0):
        for _ in range(count):
            self.tick(Mode.ON, position=position, kp=KP, kd=KD, effort=effort)


@pytest.fixture
def make_host(tmp_path):
    """Make connected hosts, each with a rig of its own."""
    made = []

    def make(*, connect=True, configure=None, **settings):
        folder = tmp_path / f"rig{len(made)}"
        folder.mkdir()
        host = Host(folder, **settings)
        made.append(host)
        if connect:
            host.connect(**(configure or {}))
        return host

    return make


@pytest.fixture
def host(make_host):
    return make_host()
