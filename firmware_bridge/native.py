"""The joint-controller firmware as a shared library of this machine: the emulated arm and the tests run it.

The library is built on first use from the same C files as the microcontroller's image. Call `load()` before the
first import of a module with kernels that call `fw_receive`, `fw_tick` or another function of it: their symbols must be
visible when such a kernel is compiled or read from the cache.
"""

import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numba.core import types

from firmware_bridge.messages import MAX_AXES, TICK_US, c_header, field_offset
from firmware_bridge.siphash import KEY_SIZE

__all__ = [
    "BOARD",
    "BOARD_INPUTS",
    "BOARD_OUTPUTS",
    "FW_TICK_US",
    "FirmwareBuildError",
    "build",
    "fw_break",
    "fw_receive",
    "fw_reset",
    "fw_tick",
    "fw_transmit",
    "load",
    "new_firmware",
    "source_digest",
    "source_hash",
]

FW_TICK_US = TICK_US
FIRMWARE_DIR = Path(__file__).resolve().parent / "firmware"
FLAGS = ("-std=c11", "-O2", "-fPIC", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Werror")
FAULT_INJECTION = "-DFW_FAULT_INJECTION"  # what no board's image is built with
BUILD_TIMEOUT = 300.0  # s; the first build with ziglang also builds its C library

BOARD = np.dtype(
    [
        ("serial_number", "u4"),
        ("boot", "u4"),  # another one at each power-up
        ("arm", "u4"),  # hash of the arm that it was set up for; 0: any
        ("key", "u1", (KEY_SIZE,)),  # all 0: no key
        ("current_rating", "f4", (MAX_AXES,)),  # A, of the amplifiers; 0: not limited
        ("temperature_max", "f4"),  # degrees Celsius; 0: 80
    ],
    align=True,
)

BOARD_INPUTS = np.dtype(
    [
        ("counts", "i4", (MAX_AXES,)),
        ("current", "f4", (MAX_AXES,)),  # A, measured
        ("absolute", "f4", (MAX_AXES,)),  # rad or m; nan: no such sensor
        ("temperature", "f4", (MAX_AXES,)),  # degrees Celsius, of the motors; nan: no such sensor
        ("estop_open", "u4", (2,)),  # the e-stop's two contacts, each not 0: open
        ("pedal", "u4", (2,)),  # the pedal's two contacts, each not 0: pressed
        ("tool", "u4"),  # identity of the instrument; 0: none
    ],
    align=True,
)

BOARD_OUTPUTS = np.dtype(
    [
        ("current", "f4", (MAX_AXES,)),  # A
        ("power", "u4"),  # 1: the amplifiers may drive
        ("brakes_released", "u4"),  # 1: the brakes are told to open
    ],
    align=True,
)

# From compiled code; pointers as integers: `array.ctypes.data`.
fw_receive = types.ExternalFunction("fw_receive", types.void(types.intp, types.intp, types.uintp))
"""fw_receive(firmware, bytes, count)"""
fw_tick = types.ExternalFunction("fw_tick", types.void(types.intp, types.intp, types.intp))
"""fw_tick(firmware, inputs, outputs): arrays of one BOARD_INPUTS and one BOARD_OUTPUTS"""
fw_transmit = types.ExternalFunction("fw_transmit", types.uintp(types.intp, types.intp, types.uintp))
"""fw_transmit(firmware, bytes, capacity): the count of bytes that it put there"""
fw_break = types.ExternalFunction("fw_native_break", types.void(types.intp, types.uint32))
"""fw_break(firmware, parts): takes out the watchdog (1) and the checks of limits (2); 0: all works again"""
fw_reset = types.ExternalFunction("fw_native_reset", types.void(types.intp))
"""fw_reset(firmware): the controller starts again; what it knows of its board stays"""


class FirmwareBuildError(RuntimeError):
    """The firmware could not be compiled on this machine; the message holds the command and what it printed."""


def _sources() -> list[Path]:
    return sorted((*FIRMWARE_DIR.glob("core/*.c"), *FIRMWARE_DIR.glob("port_native/*.c")))


@functools.cache
def source_digest() -> str:
    """Return the SHA-256 of the firmware's sources: the core's C files and headers, and the generated header."""
    digest = hashlib.sha256(c_header().encode())
    for path in sorted(FIRMWARE_DIR.glob("core/*.[ch]")):
        digest.update(f"{path.name}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def source_hash() -> int:
    """Return the 32 bits of the source digest that a device reports of the firmware it runs."""
    return int(source_digest()[:8], 16)


def _compilers() -> Iterator[list[str]]:
    named = os.environ.get("CC")
    for command in ([named] if named else []) + ["cc", "gcc", "clang"]:
        words = shlex.split(command)
        if words and shutil.which(words[0]):
            yield words
    if find_spec("ziglang"):
        yield [sys.executable, "-m", "ziglang", "cc"]


def _identity(compiler: list[str]) -> str | None:
    try:
        done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trocar" / "firmware"


def build() -> Path:
    """Return the path of the shared library, compiled now if this compiler has not yet compiled these sources.

    $CC, cc, gcc, clang and `python -m ziglang cc` are tried in this order. Several processes may build at once.

    Raises:
        FirmwareBuildError: No compiler was found, or none could compile the firmware.
    """
    failures = []
    for compiler in _compilers():
        identity = _identity(compiler)
        if identity is None:
            failures.append(f"{shlex.join(compiler)} --version failed")
            continue
        digest = hashlib.sha256("\n".join((source_digest(), *FLAGS, FAULT_INJECTION, *compiler, identity)).encode())
        for path in sorted(FIRMWARE_DIR.glob("port_native/*")):
            digest.update(path.read_bytes())
        library = _cache_dir() / f"libtrocar_firmware-{digest.hexdigest()[:16]}.so"
        if library.is_file():
            return library
        failure = _compile(compiler, library)
        if failure is None:
            return library
        failures.append(failure)
    if not failures:
        raise FirmwareBuildError(
            "no C compiler was found for the emulated arm's firmware: $CC, cc, gcc and clang are not on the PATH and "
            "ziglang is not installed; install one (Debian: apt-get install gcc libc6-dev; or pip install ziglang)"
        )
    raise FirmwareBuildError(
        "the firmware could not be compiled:\n"
        + "\n".join(failures)
        + "\ninstall a working C11 compiler with its C library's headers (Debian: apt-get install gcc libc6-dev), or "
        "name one with the environment variable CC"
    )


def _compile(compiler: list[str], library: Path) -> str | None:
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder:
        Path(folder, "messages.h").write_text(c_header())
        output = Path(folder, library.name)
        command = [*compiler, *FLAGS, FAULT_INJECTION, "-shared", f"-DFW_SOURCE_HASH=0x{source_hash():08x}u"]
        command += [f"-I{folder}", f"-I{FIRMWARE_DIR / 'core'}", *map(str, _sources()), "-o", str(output)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"$ {shlex.join(command)}\n{error}"
        if done.returncode:
            return f"$ {shlex.join(command)}\n{done.stdout}{done.stderr}"
        output.replace(library)  # atomic: who builds at the same time puts the same file there
    return None


@functools.cache
def load() -> ctypes.CDLL:
    """Return the firmware's library, built if need be, its symbols visible to compiled code.

    Raises:
        FirmwareBuildError: It could not be built, or its records are not those of this module.
    """
    library = ctypes.CDLL(str(build()), mode=ctypes.RTLD_GLOBAL)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.fw_size.argtypes, library.fw_size.restype = [], size
    library.fw_init.argtypes, library.fw_init.restype = [pointer, pointer], None
    library.fw_receive.argtypes, library.fw_receive.restype = [pointer, pointer, size], None
    library.fw_tick.argtypes, library.fw_tick.restype = [pointer, pointer, pointer], None
    library.fw_transmit.argtypes, library.fw_transmit.restype = [pointer, pointer, size], size
    library.fw_native_break.argtypes, library.fw_native_break.restype = [pointer, ctypes.c_uint32], None
    library.fw_native_tool.argtypes, library.fw_native_tool.restype = [pointer, ctypes.c_uint16], None
    library.fw_native_reset.argtypes, library.fw_native_reset.restype = [pointer], None
    for record, dtype in (("board", BOARD), ("inputs", BOARD_INPUTS), ("outputs", BOARD_OUTPUTS)):
        name = f"fw_native_{record}_layout"
        layout = (ctypes.c_size_t * 8)()
        getattr(library, name)(layout)
        offsets = [field_offset(dtype, field) for field in dtype.names or ()] + [dtype.itemsize]
        if list(layout)[: len(offsets)] != offsets:
            raise FirmwareBuildError(
                f"{name} gives {list(layout)[: len(offsets)]}, native.py {offsets}: the record in firmware.h and the "
                "one in native.py were not changed together; make them equal"
            )
    return library


def new_firmware(
    serial_number: int,
    *,
    arm: int = 0,
    key: bytes = bytes(KEY_SIZE),
    current_rating: Sequence[float] | None = None,
    temperature_max: float = 0.0,
    boot: int = 0,
    tool: int = 0,
) -> np.ndarray[Any, Any]:
    """Return the memory of a firmware that was just powered up; its address is `.ctypes.data`.

    Args:
        serial_number: Of the device, 32 bits.
        arm: `messages.arm_hash` of the arm that the device was set up for; 0: any.
        key: Authenticates the host's messages, KEY_SIZE bytes; all 0: no key.
        current_rating: A, of the first axes' amplifiers; 0 or not given: not limited.
        temperature_max: Degrees Celsius, of the motors; 0: the firmware's own 80.
        boot: Number of this power-up: sessions of different ones have nothing in common.
        tool: Identity of the instrument that it finds; the first tick's inputs say it again. Where time stands still
            until the host has opened its session, nothing else would have told the device.

    Raises:
        ValueError: The key or the ratings are not of the size that a board has.
    """
    rating = np.zeros(0) if current_rating is None else np.asarray(current_rating, dtype=np.float32)
    if len(key) != KEY_SIZE:
        raise ValueError(f"the key has {len(key)} bytes: a board holds one of {KEY_SIZE}")
    if rating.ndim != 1 or rating.size > MAX_AXES:
        raise ValueError(f"current_rating has the shape {rating.shape}: a board has one for each of {MAX_AXES} axes")
    board = np.zeros(1, dtype=BOARD)
    board["serial_number"], board["arm"], board["boot"] = serial_number, arm, boot
    board["temperature_max"] = temperature_max
    board["key"] = np.frombuffer(key, dtype=np.uint8)
    board["current_rating"][0, : rating.size] = rating
    library = load()
    memory = np.zeros((library.fw_size() + 7) // 8, dtype=np.uint64)  # aligned as uint64_t
    library.fw_init(memory.ctypes.data, board.ctypes.data)
    library.fw_native_tool(memory.ctypes.data, tool)
    return memory
