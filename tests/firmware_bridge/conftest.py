"""A test bench for the firmware's C core: bytes in, bytes out, sensors set by hand, one tick at a time."""

import ctypes
import zlib

import numpy as np
import pytest

from firmware_bridge import native
from firmware_bridge.messages import PROTOCOL_HASH, MessageType, message_dtype

N_AXES = 7
OFF, ON, SET_REFERENCE = 0, 1, 2
NO_KEY = bytes(16)


def cobs_encode(data: bytes) -> bytes:
    """Independent of the code under test: groups are found by splitting, not by scanning."""
    out = bytearray()
    groups = data.split(b"\0")
    for index, group in enumerate(groups):
        while len(group) >= 254:
            out += b"\xff" + group[:254]
            group = group[254:]
            if not group and index == len(groups) - 1:
                return bytes(out)
        out += bytes([len(group) + 1]) + group
    return bytes(out)


def cobs_decode(data: bytes) -> bytes | None:
    out = bytearray()
    while data:
        code = data[0]
        group = data[1:code]
        if code == 0 or len(group) != code - 1 or 0 in group:
            return None
        data = data[code:]
        out += group + (b"\0" if code < 255 and data else b"")
    return bytes(out)


def siphash(key: bytes, data: bytes) -> int:
    """SipHash-2-4 with Python's own integers, after the paper's section 2; apart from the code under test."""
    k0, k1 = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])

    def rounds(count: int) -> None:
        for _ in range(count):
            for a, b, c, d, left, right in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
                v[a] = (v[a] + v[b]) % 2**64
                v[c] = (v[c] + v[d]) % 2**64
                v[b] = (v[b] << left | v[b] >> 64 - left) % 2**64 ^ v[a]
                v[d] = (v[d] << right | v[d] >> 64 - right) % 2**64 ^ v[c]
                v[a] = (v[a] << 32 | v[a] >> 32) % 2**64

    for i in range(0, len(padded), 8):
        word = int.from_bytes(padded[i : i + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def frame(type_: int, payload: bytes, key: bytes | None = None, session: int = 0) -> bytes:
    """With a key: the payload is followed by its tag."""
    if key is not None:
        tagged = bytes([type_, 0]) + (len(payload) + 8).to_bytes(2, "little") + payload
        payload += siphash(key, tagged + session.to_bytes(8, "little")).to_bytes(8, "little")
    body = bytes([type_, 0]) + len(payload).to_bytes(2, "little") + payload
    return cobs_encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


def parse(wire: bytes) -> list[tuple[int, bytes]]:
    frames = []
    for piece in filter(None, wire.split(b"\0")[:-1]):  # each frame has a delimiter before it, too
        body = cobs_decode(piece)
        assert body is not None
        assert int.from_bytes(body[-4:], "little") == zlib.crc32(body[:-4])
        assert int.from_bytes(body[2:4], "little") == len(body) - 8
        frames.append((body[0], body[4:-4]))
    return frames


class Bench:
    """A firmware with everything that it is wired to."""

    COUNTS_PER_UNIT = 100_000.0
    PERIOD_US = 1000
    WATCHDOG_US = 4000
    BRAKE_DELAY_US = 5000
    POSITION_MAX = 1.5
    VELOCITY_MAX = 3.0
    CURRENT_MAX = 2.0

    def __init__(self, *, key: bytes = NO_KEY, **board):
        self.key = key
        self.session = 0
        self.library = native.load()
        self.firmware = native.new_firmware(0xC0FFEE, key=key, **board)
        self.inputs = np.zeros(1, native.BOARD_INPUTS)
        self.inputs["absolute"] = 0.25
        self.inputs["temperature"] = np.nan
        self.outputs = np.zeros(1, native.BOARD_OUTPUTS)
        self.sequence = 0
        self.ticks = 0

    # the wire
    def receive(self, wire: bytes) -> None:
        buffer = np.frombuffer(wire + b"\0", dtype=np.uint8)
        self.library.fw_receive(self.firmware.ctypes.data, buffer.ctypes.data, len(wire))

    def transmit(self, capacity: int = 4096) -> bytes:
        buffer = np.zeros(capacity + 1, dtype=np.uint8)
        count = self.library.fw_transmit(self.firmware.ctypes.data, buffer.ctypes.data, capacity)
        assert count <= capacity
        return buffer[:count].tobytes()

    def ask(self, type_: int, payload: bytes) -> list[tuple[int, bytes]]:
        self.receive(frame(type_, payload, None if type_ == MessageType.HELLO else self.key, self.session))
        return parse(self.transmit())

    # the messages
    def hello(self, protocol_hash: int = PROTOCOL_HASH) -> np.void:
        ((type_, payload),) = self.ask(MessageType.HELLO, np.uint32(protocol_hash).tobytes())
        assert type_ == MessageType.HELLO_REPLY
        reply = np.frombuffer(payload, message_dtype("HELLO_REPLY"))[0]
        self.session = int(reply["session_high"]) << 32 | int(reply["session_low"])
        return reply

    def configuration(self, n_axes: int = N_AXES, **changes) -> np.ndarray:
        c = np.zeros(1, message_dtype("CONFIGURE", n_axes))
        c["n_axes"], c["host_period_us"] = n_axes, self.PERIOD_US
        c["watchdog_us"], c["brake_delay_us"] = self.WATCHDOG_US, self.BRAKE_DELAY_US
        axes = c["axes"]
        axes["counts_per_unit"], axes["effort_per_amp"], axes["current_max"] = (
            self.COUNTS_PER_UNIT,
            2.0,
            self.CURRENT_MAX,
        )
        axes["position_min"], axes["position_max"] = -self.POSITION_MAX, self.POSITION_MAX
        axes["velocity_max"], axes["brake"] = self.VELOCITY_MAX, 1
        for name, value in changes.items():
            (c if name in c.dtype.names else axes)[name] = value
        return c

    def configure(self, **changes) -> np.void:
        ((type_, payload),) = self.ask(MessageType.CONFIGURE, self.configuration(**changes).tobytes())
        assert type_ == MessageType.CONFIGURE_REPLY
        return np.frombuffer(payload, message_dtype("CONFIGURE_REPLY"))[0]

    def command_frame(self, mode=ON, *, sequence=None, n_axes=N_AXES, clear=0, **axes) -> bytes:
        c = np.zeros(1, message_dtype("COMMAND", n_axes))
        c["sequence"], c["mode"], c["clear_fault"], c["n_axes"] = sequence, mode, clear, n_axes
        for name, value in axes.items():
            c["axes"][name] = value
        return frame(MessageType.COMMAND, c.tobytes(), self.key, self.session)

    def command(self, mode=ON, *, sequence=None, **rest) -> np.void | None:
        """Send a command; its feedback, or None if there was no answer."""
        if sequence is None:
            self.sequence = (self.sequence + 1) % 2**32
            sequence = self.sequence
        self.receive(self.command_frame(mode, sequence=sequence, **rest))
        return self.feedback()

    def feedback(self) -> np.void | None:
        frames = parse(self.transmit())
        if not frames:
            return None
        ((type_, payload),) = frames
        assert type_ == MessageType.FEEDBACK
        n_axes = payload[15]
        return np.frombuffer(payload, message_dtype("FEEDBACK", n_axes))[0]

    # the board
    def tick(self, count: int = 1) -> np.void:
        for _ in range(count):
            self.library.fw_tick(self.firmware.ctypes.data, self.inputs.ctypes.data, self.outputs.ctypes.data)
            self.ticks += 1
            self.inputs["current"] = self.outputs["current"]  # an amplifier that follows at once
        return self.outputs[0].copy()

    def place(self, position, axis=slice(N_AXES)) -> None:
        self.inputs["counts"][0, axis] = np.round(np.asarray(position) * self.COUNTS_PER_UNIT)

    # the usual beginnings
    def ready(self, **changes) -> "Bench":
        self.hello()
        assert self.configure(**changes)["refused_field"] == 0
        self.tick()
        self.command(OFF)
        return self

    def powered(self, **command) -> "Bench":
        """Powered, brakes open, the set-point where the axes are."""
        self.ready()
        for _ in range(self.BRAKE_DELAY_US // self.PERIOD_US + 1):
            self.command(ON, **command)
            self.tick(4)
        return self

    def is_dead(self) -> bool:
        """No current, no power, brakes on."""
        o = self.outputs[0]
        return not o["current"].any() and o["power"] == 0 and o["brakes_released"] == 0


@pytest.fixture(scope="session")
def bench_class():
    return Bench


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture(scope="session")
def reference_codec():
    """(cobs_encode, cobs_decode, frame), written apart from the code under test."""
    return cobs_encode, cobs_decode, frame


@pytest.fixture(scope="session")
def reference_siphash():
    return siphash


@pytest.fixture(scope="session")
def c_frames():
    """The C core's crc32, cobs_encode and cobs_decode, taking and giving bytes."""
    library = native.load()
    library.fw_crc32.restype = ctypes.c_uint32
    library.fw_cobs_encode.restype = library.fw_cobs_decode.restype = ctypes.c_size_t

    def crc32(data: bytes) -> int:
        return library.fw_crc32(data, ctypes.c_size_t(len(data)))

    def encode(data: bytes) -> bytes:
        out = ctypes.create_string_buffer(len(data) + len(data) // 254 + 1)
        count = library.fw_cobs_encode(data, ctypes.c_size_t(len(data)), out)
        return out.raw[:count]

    def decode(data: bytes) -> bytes | None:
        out = ctypes.create_string_buffer(len(data) + 1)
        count = library.fw_cobs_decode(data, ctypes.c_size_t(len(data)), out)
        return None if count == ctypes.c_size_t(-1).value else out.raw[:count]

    return crc32, encode, decode
