import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest

from firmware_bridge import native
from firmware_bridge.messages import c_header

CORE = native.FIRMWARE_DIR / "core"


def test_the_firmware_compiles_without_a_warning(tmp_path):
    (tmp_path / "messages.h").write_text(c_header())
    compiler = next(native._compilers())
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Wstrict-prototypes", "-pedantic"]
    for source in native._sources():
        port = [native.FAULT_INJECTION] if source.parent != CORE else []
        command = [
            *compiler,
            "-std=c11",
            "-O2",
            *port,
            *strict,
            "-Werror",
            f"-I{tmp_path}",
            f"-I{CORE}",
            "-c",
            str(source),
        ]
        subprocess.run([*command, "-o", str(tmp_path / "out.o")], check=True)


def test_what_a_board_is_built_from_cannot_be_broken_on_purpose(tmp_path):
    (tmp_path / "messages.h").write_text(c_header())
    compiler = next(native._compilers())
    for source in sorted(CORE.glob("*.c")):
        for flags, expected in (((), False), ((native.FAULT_INJECTION,), True)):
            command = [*compiler, "-std=c11", *flags, "-E", f"-I{tmp_path}", f"-I{CORE}", str(source)]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert ("->broken" in text) == (expected and source.name == "operating.c")


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_the_core_needs_no_library_beyond_memory_copies(tmp_path):
    """A microcontroller has no heap, no clock and perhaps no libm."""
    needed = subprocess.run(["nm", "-u", str(native.build())], capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[-1].split("@")[0] for line in needed.splitlines()}
    allowed = {"memcpy", "memset", "memmove", "memcmp", "__stack_chk_fail"}
    weak = {"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__cxa_finalize", "__gmon_start__"}
    assert symbols <= allowed | weak


def test_no_function_calls_itself_by_way_of_others(tmp_path):
    """Without recursion the stack has a bound; GCC prints every call in its call-graph files."""
    (tmp_path / "messages.h").write_text(c_header())
    compiler = next(native._compilers())
    if (
        b"Free Software Foundation"
        not in subprocess.run([*compiler, "--version"], capture_output=True, check=True).stdout
    ):
        pytest.skip("the call graph is printed by GCC only")
    calls: dict[str, set[str]] = {}
    for source in sorted(CORE.glob("*.c")):
        out = tmp_path / f"{source.stem}.o"
        command = [*compiler, "-std=c11", "-O0", "-fcallgraph-info", f"-I{tmp_path}", f"-I{CORE}", "-c", str(source)]
        subprocess.run([*command, "-o", str(out)], check=True, cwd=tmp_path)
        for line in out.with_suffix(".ci").read_text().splitlines():
            if line.startswith("edge:"):
                words = line.split('"')
                calls.setdefault(words[1].rsplit(":")[-1], set()).add(words[3].rsplit(":")[-1])
    assert "fw_frame_parse" in calls["fw_receive"]

    for name in calls:
        reached: set[str] = set()
        frontier = {name}
        while frontier:
            frontier = {callee for caller in frontier for callee in calls.get(caller, set())} - reached
            reached |= frontier
        assert name not in reached, f"{name} calls itself"


def test_a_second_build_is_the_first_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = native.build()
    stamp = first.stat().st_mtime_ns
    assert native.build() == first
    assert first.stat().st_mtime_ns == stamp
    assert [path.name for path in first.parent.iterdir()] == [first.name]  # nothing left behind


def test_several_may_build_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(3) as pool:
        paths = [pool.submit(native.build) for _ in range(3)]
    assert len({path.result() for path in paths}) == 1


def test_a_compiler_that_fails_is_named_with_its_output_and_the_next_one_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'out of ink' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    assert native.build().is_file()
    monkeypatch.setattr(native, "_compilers", lambda: iter([[str(broken)]]))
    with pytest.raises(native.FirmwareBuildError, match=r"broken-cc -std=c11[^\n]*\nout of ink\n\n.*CC"):
        native.build()


def test_without_any_compiler_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(native, "find_spec", lambda _: None)
    with pytest.raises(native.FirmwareBuildError, match="apt-get install gcc"):
        native.build()


@pytest.mark.skipif(find_spec("ziglang") is None, reason="ziglang is not installed")
def test_ziglang_is_the_last_resort(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert list(native._compilers()) == [[sys.executable, "-m", "ziglang", "cc"]]


def test_a_device_reports_the_sources_that_it_was_built_from(bench):
    assert bench.hello()["source_hash"] == native.source_hash() != 0


def test_compiled_code_runs_the_firmware(bench):
    """Kernels reach the library by symbol, so that the rig's loop needs no interpreter."""
    native.load()
    from numba import njit

    from firmware_bridge.native import fw_receive, fw_tick, fw_transmit

    @njit
    def run(firmware, inputs, outputs, wire, out):
        fw_tick(firmware.ctypes.data, inputs.ctypes.data, outputs.ctypes.data)
        fw_receive(firmware.ctypes.data, wire.ctypes.data, wire.size)
        return fw_transmit(firmware.ctypes.data, out.ctypes.data, out.size)

    bench.ready()
    wire = np.frombuffer(bench.command_frame(0, sequence=99), dtype=np.uint8)
    out = np.zeros(256, np.uint8)
    assert run(bench.firmware, bench.inputs, bench.outputs, wire, out) == 147
