"""A joint controller behind a pseudo-terminal: real firmware, stepped by the test, on a wire that it can spoil."""

import os
import select
import threading
import tty

import numpy as np
import pytest

from drivers.bridge import AxisSettings, BridgeDriver
from firmware_bridge import native

N_AXES = 7
PATIENCE = 10.0  # s; a test that waits so long has failed


def axis_settings(n_axes: int = N_AXES, **changes) -> AxisSettings:
    values = {
        "counts_per_unit": 100_000.0,
        "effort_per_amp": 2.0,
        "current_max": 2.0,
        "position_min": -1.5,
        "position_max": 1.5,
        "velocity_max": 3.0,
        "brake": 1.0,
    }
    return AxisSettings(n_axes=n_axes, **{name: np.full(n_axes, value) for name, value in (values | changes).items()})


class Device:
    """The firmware, its board and the master end of its pseudo-terminal."""

    def __init__(self, **board):
        self.library = native.load()
        self.firmware = native.new_firmware(0xC0FFEE, **board)
        self.inputs = np.zeros(1, native.BOARD_INPUTS)
        self.inputs["temperature"] = np.nan
        self.outputs = np.zeros(1, native.BOARD_OUTPUTS)
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)  # and it stays open: else the master reads EIO between two hosts
        self.path = os.ttyname(self.slave)
        self.bytes_read = 0
        self.bytes_written = 0

    def close(self) -> None:
        for fd in (self.master, self.slave):
            if fd >= 0:
                os.close(fd)
        self.master = self.slave = -1

    def unplug(self) -> None:
        """The master goes away, as when an adapter is pulled out."""
        os.close(self.master)
        self.master = -1

    def reply_to(self, data: bytes) -> bytes:
        wire = np.frombuffer(data + b"\0", dtype=np.uint8)
        self.library.fw_receive(self.firmware.ctypes.data, wire.ctypes.data, len(data))
        out = np.zeros(2048, dtype=np.uint8)
        return out[: self.library.fw_transmit(self.firmware.ctypes.data, out.ctypes.data, out.size)].tobytes()

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            assert select.select([self.master], [], [], PATIENCE)[0], f"{len(data)} of {count} bytes came"
            data += os.read(self.master, count - len(data))
        self.bytes_read += count
        return data

    def write(self, data: bytes) -> None:
        assert os.write(self.master, data) == len(data)
        self.bytes_written += len(data)

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.library.fw_tick(self.firmware.ctypes.data, self.inputs.ctypes.data, self.outputs.ctypes.data)
            self.inputs["current"] = self.outputs["current"]

    def is_dead(self) -> bool:
        return not self.outputs["current"].any() and not self.outputs["power"].any()

    def serve_while(self, action, *, answer=None):
        """Answer the port from a thread while `action` runs; its result. The firmware's time stands still."""
        woken, waker = os.pipe()
        answer = answer or self.reply_to

        def serve():
            while woken not in (ready := select.select([self.master, woken], [], [])[0]):
                assert ready
                data = os.read(self.master, 4096)
                self.bytes_read += len(data)
                if reply := answer(data):
                    self.write(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return action()
        finally:
            os.write(waker, b"!")
            thread.join()
            os.close(woken)
            os.close(waker)


class Host:
    """A driver and what the cycle would hold; each exchange is complete when it returns."""

    def __init__(self, device: Device, **settings):
        self.device = device
        self.driver = BridgeDriver(device.path, axis_settings(), **settings)
        self.info = device.serve_while(self.driver.open)
        from drivers.driver import COMMAND, FEEDBACK

        self.command = np.zeros(1, COMMAND)
        self.feedback = np.zeros(1, FEEDBACK)

    @property
    def link(self):
        return self.driver.link

    def send(self, **fields) -> None:
        self.command["sequence"] += 1
        for name, value in fields.items():
            self.command[name] = value
        assert self.driver.transmit(self.link, self.command) == 0

    def reply(self) -> bytes:
        """What the device answers to all that the host has sent; it is not on the wire yet."""
        return self.device.reply_to(self.device.read(int(self.link["bytes_sent"][0]) - self.device.bytes_read))

    def take(self) -> int:
        """Receive when all that the device wrote has arrived."""
        self.link["await_bytes"] = self.device.bytes_written
        return self.driver.receive(self.link, self.feedback)

    def exchange(self, **fields) -> int:
        self.device.tick()
        self.send(**fields)
        self.device.write(self.reply())
        return self.take()

    def count(self, name: str) -> int:
        return int(self.link[name][0])


@pytest.fixture(scope="session")
def make_axis_settings():
    return axis_settings


@pytest.fixture
def make_device():
    made = []

    def make(**board):
        made.append(Device(**board))
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def device(make_device):
    return make_device()


@pytest.fixture
def make_host():
    made = []

    def make(device, **settings):
        made.append(Host(device, **settings))
        return made[-1]

    yield make
    for host in made:
        host.driver.close()


@pytest.fixture
def host(make_host, device):
    return make_host(device)
