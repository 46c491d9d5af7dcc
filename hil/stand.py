"""The stand: a daemon's cycle and an emulated arm in one process, tick by tick, many times faster than real time.

What runs is what the daemon runs: `controller.cycle.run` with its records and parts, the driver with its own handshake
and its compiled receive and transmit, the firmware, the line and the plant. Only what lies between processes is left
out: the pseudo-terminal is a pair of sockets, the gateway is this class.

    stand = Stand(load_config("psm_emulated_strict"), seed=7)
    stand.enable()
    stand.home()
    stand.send("move_jp", JointGoal(position=[0.3, 0, 0.15, 0, 0, 0, 0]))
    stand.run(200)
    stand.faults.press_estop()
    stand.run(50)
    stand.truth["power"]

A stand is memory of this process and two sockets: after `os.fork()` the child calls `detach` and has one of its own.
"""

import inspect
import os
import socket
import tempfile
import threading
import tty
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from controller.catalogue import CATALOGUE, Code
from controller.clock import CLOCK
from controller.commands import COMMANDS, Arguments, Empty
from controller.config import Config, check_config
from controller.core import MOTION_PARTS, make_driver, make_state
from controller.cycle import run
from controller.device_check import check_device
from controller.exchange import write_message
from controller.laws.compile import compile_law
from controller.laws.parameters import SHARED
from controller.mailbox import MAILBOX, MESSAGE
from drivers.bridge import receive, transmit
from drivers.driver import DeviceInfo, DriverError
from firmware_bridge import native

native.load()  # before the kernels that call it are compiled or read from the cache

from hil.faults import Faults, HilError  # noqa: E402
from hil.loop import run_lockstep  # noqa: E402
from hil.noise import mix  # noqa: E402
from hil.rig import Rig  # noqa: E402
from hil.stand_loop import (  # noqa: E402
    STAND,
    WORLD,
    finish_stand,
    now_stand,
    simulate_alone,
    wait_stand,
)
from hil.truth import TRUTH  # noqa: E402
from kinematics.compiled import Array, prepare  # noqa: E402
from kinematics.description import load_arm  # noqa: E402
from kinematics.kernels import kernels_of  # noqa: E402
from telemetry.ring_file import FREE, RING_HEADER  # noqa: E402
from telemetry.sample import SAMPLE, MotionStatus, OperatingState  # noqa: E402

__all__ = ["CommandError", "Stand", "StandError"]

CAPACITY = 1 << 15  # samples and truths kept: 33 s at 1 kHz; memory that is not written to costs nothing
ENABLE_TICKS = 5000
HOME_TICKS = 20_000


class StandError(HilError):
    """The stand was asked for what it cannot do."""


class CommandError(StandError):
    """A command was refused, or its activity ended by a fault.

    Attributes:
        code: The catalogue's code.
    """

    def __init__(self, command: str, code: int, how: str) -> None:
        try:
            name, cause = Code(code).name, CATALOGUE[Code(code)].cause
        except (ValueError, KeyError):
            name, cause = f"code {code}", "It is not in the catalogue."
        super().__init__(f"{command} {how}: {name} ({code}). {cause}")
        self.code = code


class Stand:
    """One arm and its controller.

    Attributes:
        config: The configuration.
        faults: Injects faults into the arm; they begin with the next tick, or at a time given.
        device: What the motor controllers said of themselves.
        rig: The emulated arm.
        arm: Its description, as the controller has it.

    Args:
        config: A daemon's configuration with a [rig].
        seed: Of the arm's noise and where it was left; None: as configured.

    Raises:
        HilError: The configuration has no rig that can run here.
        ConfigError: It does not fit its arm.
        DriverError: The handshake failed, or this is not the device of the configuration.
    """

    def __init__(self, config: Config, *, seed: int | None = None) -> None:
        if config.rig is not None and seed is not None:
            config = msgspec.structs.replace(config, rig=msgspec.structs.replace(config.rig, seed=seed))
        check_config(config)
        self.config = config
        self.arm = load_arm(config.arm.description)
        self.rig = Rig(config, None)
        self.faults: Faults = self.rig.faults
        self._stand = np.zeros(1, STAND)
        self._clock = np.zeros(1, CLOCK)
        self._clock["period_ns"] = round(config.cycle.period * 1e9)
        self._mailbox = np.zeros(1, MAILBOX)
        self._message = np.zeros(1, MESSAGE)
        self._ring, self._samples = _make_ring(SAMPLE)
        self._truth_ring, self._truths = _make_ring(TRUTH)
        self._ticks = np.zeros(1024, np.int64)
        self._messages = np.zeros(1024, MESSAGE)
        self._stalls = np.zeros(1, np.int64)
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._connect(config)

    def _connect(self, config: Config) -> None:
        kernels = kernels_of(self.arm)
        law = compile_law(config.law.name, config.law.parameters, budget=config.law_budget)
        state = make_state(config, self.arm)
        shared = np.zeros(1, SHARED)
        shared["parameters"] = law.vector
        motion_parts = {part.__name__: part for part in MOTION_PARTS}
        prepare(run, simulate_alone, transmit, receive)  # before a device waits for an answer
        with tempfile.TemporaryDirectory(prefix="trocar-stand-") as folder:
            self._driver = make_driver(config, self.arm, str(Path(folder, "port")))
            self.device = self._shake_hands(Path(folder, "port"))
        try:
            check_device(config, self.arm, self.device)
        except DriverError:
            self._driver.close()
            raise
        values = {
            **state,
            **motion_parts,
            "forward": kernels.forward,
            "forward_jacobian": kernels.forward_jacobian,
            "inverse": kernels.motion_inverse,
            "law": law.call,
            "receive": self._driver.receive,
            "transmit": self._driver.transmit,
            "wait": wait_stand,
            "now": now_stand,
            "finish": finish_stand,
            "law_arm": self.arm.record,
            "law_shared": shared,
            "clock": self._clock,
            "lockstep": self._stand["lockstep"],
            "link": self._driver.link,
            "ring": self._ring,
            "slots": self._samples,
            "mailbox": self._mailbox,
            "messages": self._mailbox[0]["messages"],
        }
        self._arguments = [values[name] for name in inspect.signature(run.py_func).parameters]  # type: ignore[attr-defined]
        self._state = state
        stand = self._stand[0]
        for name, record in zip(WORLD, self.rig.world, strict=True):
            stand[name] = record.ctypes.data
        stand["truths"], stand["truth_capacity"] = self._truths.ctypes.data, len(self._truths)
        stand["mailbox"] = self._mailbox.ctypes.data
        stand["stalls"] = self._stalls.ctypes.data
        self._point_to_script()
        self._make_line()

    def _shake_hands(self, port: Path) -> DeviceInfo:
        """Let the driver open a pseudo-terminal and speak to the firmware, in whose time nothing passes meanwhile."""
        host_fd, port_fd = os.openpty()
        try:
            tty.setraw(port_fd)
            os.set_blocking(host_fd, False)
            port.symlink_to(os.ttyname(port_fd))
            record, barrier = self.rig.record, self._stand["lockstep"]
            record["host_fd"], record["port_fd"] = host_fd, port_fd
            prepare(run_lockstep)
            world = [*self.rig.world, self._truth_ring, self._truths, barrier]
            thread = threading.Thread(target=run_lockstep, args=world, name="handshake")
            thread.start()
            try:
                device = self._driver.open()
            finally:
                barrier["shutdown"] = 1
                thread.join()
                record["host_fd"] = record["port_fd"] = -1
        finally:
            os.close(host_fd)
            os.close(port_fd)
        return device

    def _make_line(self) -> None:
        """Join driver and arm by a new pair of sockets; between two ticks nothing is on its way in the old one."""
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in ends:
            end.setblocking(False)
        if self._ends is not None:
            for end in self._ends:
                end.close()
        self._ends = ends
        self._driver.link["fd"] = ends[0].fileno()
        self._stand["rig_fd"] = ends[1].fileno()

    def detach(self, seed: int | None = None) -> None:
        """After `os.fork()`, in the child: have sockets of its own.

        Args:
            seed: Draw the noise from now on from this; None: as the parent will.
        """
        self._make_line()
        if seed is not None:
            record, to_device, to_host = self.rig.plant.record, self.rig.world[4], self.rig.world[5]
            for i, random in enumerate((record, to_device, to_host)):
                random["random"] = mix(np.uint64(3 * seed + i))

    # --- commands

    def send(self, command: str, args: Arguments | None = None, *, at: int | None = None) -> int:
        """Give a command and return its id.

        Args:
            command: Its name, one of `controller.commands.COMMANDS`.
            args: What belongs to it.
            at: The cycle that it is due in; None: the next one. Commands are given in the order of their cycles.
        """
        operation, form = COMMANDS[command]
        if not isinstance(args if args is not None else Empty(), form):
            raise StandError(f"{command} was given {args!r}: it takes {form.__name__}")
        write_message(self._message, operation, args if args is not None else Empty())
        return self._append(self._message, self.tick + 1 if at is None else at)

    def send_message(self, message: Array, at: int) -> None:
        """Give a command that is written already: MESSAGE, (1,), due in cycle `at`."""
        self._append(message, at)

    def _append(self, message: Array, due: int) -> int:
        stand = self._stand[0]
        if stand["script_next"] == stand["script_count"]:
            stand["script_next"] = stand["script_count"] = 0
        count = int(stand["script_count"])
        if count and due < int(self._ticks[count - 1]):
            raise StandError(
                f"a command was given for cycle {due}, after one for {int(self._ticks[count - 1])}: "
                "give commands in the order of their cycles"
            )
        if count == len(self._ticks):
            self._ticks = np.concatenate([self._ticks, np.zeros_like(self._ticks)])
            self._messages = np.concatenate([self._messages, np.zeros_like(self._messages)])
        self._ticks[count] = due
        self._messages[count] = message[0]
        stand["script_count"] = count + 1
        self._point_to_script()
        return int(self._mailbox["head"][0]) + count + 1 - int(stand["script_next"])

    def scheduled(self) -> tuple[Array, Array]:
        """Return the commands that have not been due yet: their cycles and messages, views that may be changed."""
        stand = self._stand[0]
        left = slice(int(stand["script_next"]), int(stand["script_count"]))
        return self._ticks[left], self._messages[left]

    def forget_scheduled(self, since: int) -> None:
        """Take back every command that is due in cycle `since` or later."""
        ticks, _ = self.scheduled()
        self._stand["script_count"] -= int((ticks >= since).sum())

    def _point_to_script(self) -> None:
        self._stand["script_ticks"] = self._ticks.ctypes.data
        self._stand["script_messages"] = self._messages.ctypes.data

    # --- time

    @property
    def tick(self) -> int:
        """Cycles run."""
        return int(self._clock["tick"][0])

    def run(self, ticks: int, *, stop_id: int = 0, stop_states: int = 0) -> int:
        """Run some cycles, each with the arm's period after it; return how many ran.

        Args:
            ticks: How many at the most.
            stop_id: Stop in the cycle in which this command is refused or its activity ends; 0: no such.
            stop_states: Stop in a cycle whose operating state is in this set, bit 1 << OperatingState.
        """
        before = self.tick
        barrier = self._stand["lockstep"]
        barrier["stop_id"], barrier["stop_states"] = stop_id, stop_states
        self._clock["granted"] = ticks
        run(*self._arguments)
        return self.tick - before

    def stall(self, late: list[int]) -> None:
        """Let the cycles to come begin late: the next one by `late[0]` periods, the one after by `late[1]`, and so on.

        Meanwhile the arm lives on and hears nothing, as when the host's process is stopped.
        """
        self._stalls = np.array(late, np.int64)
        stand = self._stand[0]
        stand["stalls"], stand["stall_count"] = self._stalls.ctypes.data, len(late)
        stand["stall_tick"] = self.tick + 1

    def unplug(self) -> None:
        """Pull the cable out of the host's port."""
        assert self._ends is not None
        self._ends[1].close()
        self._stand["rig_fd"] = -1

    def run_alone(self, ticks: int) -> None:
        """Let the arm live on without its host, which has died: the cycle must not run again."""
        for _ in range(ticks):
            simulate_alone(self._stand)

    def wait(self, command: int, ticks: int, name: str = "the command") -> None:
        """Run until a command's activity has ended well.

        Raises:
            CommandError: It was refused, or ended by a fault.
            StandError: It has not ended within so many ticks.
        """
        ran = self.run(ticks, stop_id=command)
        samples = self.last_samples(ran)
        for sample in samples[samples["command_id"] == command]:
            if sample["verdict"]:
                raise CommandError(name, int(sample["verdict"]), "was refused")
        for sample in samples[samples["finished_id"] == command]:
            if sample["finished_status"] != MotionStatus.DONE:
                raise CommandError(name, int(sample["fault"]) or int(sample["event"]), "ended")
            return
        raise StandError(f"{name} has not ended within {ticks} ticks")

    def enable(self) -> None:
        """Power the arm; return when it is ENABLED."""
        self.wait(self.send("enable"), ENABLE_TICKS, "enable")

    def home(self) -> None:
        """Home the arm; return when it is at its homing pose."""
        self.wait(self.send("home"), HOME_TICKS, "home")

    # --- what came of it

    @property
    def samples(self) -> Array:
        """All samples that are still kept, oldest first, dtype SAMPLE; a copy."""
        return self.last_samples(CAPACITY)

    @property
    def truth(self) -> Array:
        """All records of the truth that are still kept, oldest first, dtype TRUTH; a copy."""
        return self.last_truth(CAPACITY)

    def last_samples(self, most: int) -> Array:
        """Return so many of the newest samples, or fewer if there are not as many."""
        return _newest(self._samples, int(self._ring["head"][0]), most)

    def last_truth(self, most: int) -> Array:
        """Return so many of the newest records of the truth."""
        return _newest(self._truths, int(self._stand["truth_count"][0]), most)

    @property
    def heard_us(self) -> float:
        """The arm's time at which its controllers had the last byte from the host, us."""
        return float(self.rig.world[4]["taken_ns"][0]) * 1e-3

    @property
    def sample(self) -> Any:  # noqa: ANN401
        """The newest sample: one record."""
        return self._state["sample"][0]

    @property
    def state(self) -> OperatingState:
        """The operating state in the newest sample."""
        return OperatingState(int(self.sample["state"]))

    @property
    def remote_center(self) -> Array | None:
        """Where it was set, m, base frame; None where none is."""
        arm = self._state["arm"][0]
        return arm["remote_center"].copy() if arm["through"] else None

    @property
    def record(self) -> Any:  # noqa: ANN401
        """The RIG record: one record."""
        return self.rig.record[0]

    def close(self) -> None:
        """Let go of the sockets."""
        self._driver.link["fd"] = -1
        self._driver.close()
        for end in self._ends or ():
            end.close()


def _make_ring(dtype: np.dtype[Any]) -> tuple[Array, Array]:
    header = np.zeros(1, RING_HEADER)
    header["capacity"], header["record_size"], header["cursors"] = CAPACITY, dtype.itemsize, FREE
    return header, np.zeros(CAPACITY, dtype)


def _newest(slots: Array, count: int, most: int) -> Array:
    held = min(count, len(slots), most)
    newest: Array = slots[np.arange(count - held, count) & (len(slots) - 1)]
    return newest
