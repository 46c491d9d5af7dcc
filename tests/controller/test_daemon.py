import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from controller.config import load_config
from controller.daemon import Daemon
from controller.errors import DaemonError
from controller.run_dir import Descriptor, RunDir, find_daemon, running_daemons, write_atomically


@pytest.fixture
def strict():
    return load_config("psm_emulated_strict")


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    return tmp_path


def with_rig(config, module):
    return msgspec.structs.replace(config, rig=msgspec.structs.replace(config.rig, module=module))


@pytest.fixture
def rig_module(tmp_path, monkeypatch):
    """Make a module that can stand in for the rig, and return its name."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def make(*lines):
        body = "\n    ".join(lines)
        (folder / "stand_in.py").write_text(f"import os, signal, sys, time\ndef main(arguments):\n    {body}\n")
        return "stand_in"

    return make


def test_lockstep_without_a_rig_is_refused(strict):
    real = msgspec.structs.replace(strict, rig=None)
    with pytest.raises(DaemonError, match=r"real arm.*\[rig\]"):
        Daemon(real, lockstep=True)


def test_second_daemon_is_refused_with_the_process_of_the_first(base, strict):
    run_dir = RunDir(base / "PSM1")
    run_dir.create()
    with run_dir.locked(), pytest.raises(DaemonError, match=rf"process {os.getpid()}.*trocar down"), Daemon(strict):
        pass


def test_path_too_long_for_a_socket_is_told_before_anything_starts(strict, tmp_path):
    with pytest.raises(DaemonError, match="TROCAR_RUN_DIR"), Daemon(strict, base=tmp_path / ("x" * 100)):
        pass


def test_folder_that_cannot_be_made_is_told(strict, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DaemonError, match="TROCAR_RUN_DIR"), Daemon(strict, base=tmp_path / "file"):
        pass


def test_process_that_dies_at_start_is_told_with_its_last_words(base, strict, rig_module):
    config = with_rig(strict, rig_module("print('the motor is on fire')", "return 3"))
    with pytest.raises(DaemonError, match=r"rig did not start \(exit code 3\)") as caught, Daemon(config):
        pass
    assert "the motor is on fire" in str(caught.value)
    assert running_daemons() == []
    assert not RunDir(base / "PSM1").is_locked()
    assert "fire" in RunDir(base / "PSM1").log("rig").read_text()  # the log stays


def test_process_that_is_killed_at_start_is_told_by_the_signals_name(base, strict, rig_module):
    config = with_rig(strict, rig_module("os.kill(os.getpid(), 9)"))
    with pytest.raises(DaemonError, match="signal SIGKILL"), Daemon(config):
        pass


def test_stop_during_the_start_ends_it_and_leaves_no_process(base, strict, rig_module):
    module = rig_module("open(arguments[0] + '/pid', 'w').write(str(os.getpid()))", "time.sleep(60)")
    daemon = Daemon(with_rig(strict, module))
    pid_file = daemon.run_dir.path / "pid"
    seen = []

    def stop_when_started():
        while not (pid_file.exists() and pid_file.read_text()):
            time.sleep(0.01)
        seen.append(int(pid_file.read_text()))
        daemon.request_stop()

    stopper = threading.Thread(target=stop_when_started)
    stopper.start()
    with pytest.raises(DaemonError, match="told to stop"), daemon:
        pass
    stopper.join()
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_descriptor_of_a_killed_daemon_is_not_running(base):
    run_dir = RunDir(base / "PSM1")
    run_dir.create()
    write_atomically(run_dir.descriptor, msgspec.json.encode(_descriptor(children={})))
    assert running_daemons() == []
    with run_dir.locked():
        assert [d.arm for d in running_daemons()] == ["PSM1"]
        assert find_daemon(None)[1].pid == 4242


def test_processes_of_a_killed_daemon_are_ended_but_never_a_stranger(base, strict, rig_module, monkeypatch):
    monkeypatch.setattr("controller.daemon.ORPHANS_END", 0.2)
    run_dir = RunDir(base / "PSM1")
    run_dir.create()
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    ours = subprocess.Popen([*sleeper, str(run_dir.path)])
    stranger = subprocess.Popen(sleeper)
    try:
        children = {"core": ours.pid, "rig": stranger.pid}
        write_atomically(run_dir.descriptor, msgspec.json.encode(_descriptor(children=children)))
        config = with_rig(strict, rig_module("return 3"))
        with pytest.raises(DaemonError, match="exit code 3"), Daemon(config):
            pass
        assert ours.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        for process in (ours, stranger):
            process.kill()
            process.wait()


def _descriptor(children):
    return Descriptor(
        arm="PSM1",
        pid=4242,
        epoch=1,
        commands="ipc:///nowhere",
        telemetry="ipc:///nowhere",
        lockstep=False,
        period=0.001,
        description="psm_classic",
        axes=[],
        n_joints=0,
        children=children,
        recording=None,
        versions={},
    )


def test_child_ends_with_its_parent_even_when_that_is_killed(tmp_path, rig_module):
    pid_file = tmp_path / "pid"
    module = rig_module(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))",
        "open(arguments[0], 'w').write(str(os.getpid()))",
        "time.sleep(60)",
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys, time\n"
            "command = [sys.executable, '-m', 'controller.child', str(os.getpid()), '0', '-', '-', *sys.argv[1:]]\n"
            "subprocess.Popen(command)\n"
            "time.sleep(60)",
            module,
            str(pid_file),
        ]
    )
    deadline = time.monotonic() + 20.0
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    child = int(pid_file.read_text())
    parent.kill()
    parent.wait()
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_running(child)


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"  # nobody may bury it
    except FileNotFoundError:
        return False
