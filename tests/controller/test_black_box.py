"""The black box: what the last seconds were, whoever has died."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from controller import black_box
from controller.black_box import AFTERMATH, SPAN, BlackBox, Trigger, list_boxes, take_black_box, write_black_box
from controller.black_box_keeper import PATIENCE, BlackBoxKeeper
from controller.catalogue import CATALOGUE, Code
from controller.cli.main import app
from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from controller.errors import BlackBoxError, DaemonError
from controller.inputs import INPUT, InputLog
from controller.mailbox import MESSAGE, Operation
from controller.run_dir import AxisInfo, Descriptor, RunDir, write_atomically
from telemetry.recording import load
from telemetry.ring import create_ring, publish
from telemetry.ring_file import FREE, open_ring
from telemetry.sample import SAMPLE, OperatingState

AXES = ("yaw", "pitch", "insertion", "roll", "wrist_pitch", "wrist_yaw", "jaw")
MS = 1_000_000
COMMAND_LINE = "from controller.cli.main import main; main()"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "boxes"
    monkeypatch.setenv("TROCAR_BLACK_BOX_DIR", str(folder))
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path / "run"))
    return folder


@pytest.fixture
def config():
    return load_config("psm_emulated_strict")


class Remains:
    """A run directory as a daemon's processes leave it, written by hand."""

    def __init__(self, base, config, capacity=8192):
        self.run_dir = RunDir(base / "run" / "PSM1")
        self.run_dir.create()
        self.samples = create_ring(self.run_dir.samples, SAMPLE, capacity, epoch=5, wall_offset_ns=0)
        inputs = create_ring(self.run_dir.inputs, INPUT, 256, epoch=5, wall_offset_ns=0)
        self.log = InputLog(inputs, lockstep=True)
        self.run_dir.lockstep.touch()
        write_atomically(self.run_dir.config, msgspec.json.encode(config))
        self.sample = np.zeros(1, SAMPLE)
        self.sample["fault_axis"] = -1
        self.sample["state"] = OperatingState.ENABLED
        self.command = 0

    def tick(self, count=1, **fields):
        for name, value in fields.items():
            self.sample[name] = value
        for _ in range(count):
            self.sample["sequence"] += 1
            self.sample["t_ns"] = self.sample["sequence"] * MS
            self.samples.slots[self.samples.head & (self.samples.capacity - 1)] = self.sample[0]
            publish(self.samples.header)
            self.sample["event"] = self.sample["command_id"] = self.sample["verdict"] = 0

    def post(self, operation, *, client="surgeon", vector=()):
        message = np.zeros(1, MESSAGE)
        self.command += 1
        message["id"], message["operation"], message["sent_ns"] = self.command, operation, 77
        message["vector"][0, : len(vector)] = vector
        message["n_axes"] = len(vector)
        self.log.note(message, self.sample, client, 4242)
        self.sample["command_id"] = self.command

    def fault(self, code, **fields):
        self.tick(event=code, fault=code, state=OperatingState.FAULT, **fields)


@pytest.fixture
def remains(tmp_path, config, folder):
    return Remains(tmp_path, config)


class WrittenHere:
    """The writer's process, without the second that a process takes to start."""

    def __init__(self, command, **_):
        said, told = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(told), pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "nice", lambda by: by)
            assert command[1:3] == ["-m", "controller.black_box"]
            self.returncode = black_box.main(command[3:])
        self._said = said.getvalue(), told.getvalue()

    def poll(self):
        return self.returncode

    def communicate(self):
        return self._said


@pytest.fixture
def written_here(monkeypatch):
    monkeypatch.setattr("controller.black_box_keeper.subprocess.Popen", WrittenHere)


def keeper_of(remains):
    said = []
    keeper = BlackBoxKeeper(remains.run_dir, said.append)
    keeper.open(None)
    return keeper, said


def finish(keeper):
    """Let the file be written; in another process, so it takes a second."""
    give_up = time.monotonic() + 60.0
    while (keeper._writer is not None or keeper._snapshots) and time.monotonic() < give_up:
        keeper.look()
        time.sleep(0.01)


def boxes():
    return [(saved.name, load(saved.path)) for saved in list_boxes()]


# --- what is in it


def test_box_is_a_recording_with_samples_inputs_and_all_that_explains_them(remains, folder, config):
    remains.tick(100)
    remains.post(Operation.MOVE_JP, vector=[0.1, 0.2])
    remains.tick(400)
    remains.fault(Code.FOLLOWING_ERROR, fault_axis=2, fault_value=0.02, fault_bound=0.01)
    remains.tick(200)
    trigger = Trigger("FOLLOWING_ERROR", int(Code.FOLLOWING_ERROR), t_ns=501 * MS)
    path = write_black_box(take_black_box(remains.run_dir, trigger))
    assert path.parent == folder
    assert path.name.startswith("PSM1-2")
    assert path.name.endswith("Z-FOLLOWING_ERROR.mcap")
    assert path.stat().st_mode & 0o077 == 0
    recording = load(path)
    assert recording.complete
    assert (recording.arm, recording.axes, recording.lockstep) == ("PSM1", AXES, True)
    assert recording.samples["sequence"].tolist() == list(range(1, 702))
    np.testing.assert_array_equal(recording.samples, remains.samples.slots[:701])
    posted = recording.records["input"]
    assert (posted["id"][0], posted["operation"][0], posted["client"][0]) == (1, Operation.MOVE_JP, b"surgeon")
    assert posted["vector"][0, :2].tolist() == [0.1, 0.2]
    assert (posted["sent_ns"][0], posted["t_ns"][0], posted["client_pid"][0]) == (77, 100 * MS, 4242)
    told = recording.metadata
    entry = CATALOGUE[Code.FOLLOWING_ERROR]
    assert (told["black_box"], told["code"], told["t_ns"]) == ("FOLLOWING_ERROR", "114", str(501 * MS))
    assert (told["cause"], told["remedy"], told["reaction"]) == (entry.cause, entry.remedy, "S1")
    assert msgspec.json.decode(told["config"].encode(), type=type(config)) == config
    assert told["description"] == "psm_classic"


def test_box_has_the_last_five_seconds_and_no_more(remains):
    remains.tick(7000)
    box = take_black_box(remains.run_dir, Trigger("SAVED"))
    times = box.records["sample"]["t_ns"]
    assert times[-1] == 7000 * MS
    assert times[0] == 7000 * MS - round(SPAN * 1e9)
    assert (np.diff(times) == MS).all()


def test_box_out_of_a_ring_that_has_gone_round_is_in_order(tmp_path, config, folder):
    remains = Remains(tmp_path, config, capacity=1024)
    remains.tick(3000)
    box = take_black_box(remains.run_dir, Trigger("SAVED"))
    assert box.records["sample"]["sequence"].tolist() == list(range(3000 - 1022, 3001))


def test_two_boxes_of_one_second_are_two_files(remains, folder):
    remains.tick(5)
    box = take_black_box(remains.run_dir, Trigger("SAVED"))
    assert len({write_black_box(box), write_black_box(box), write_black_box(box)}) == 3
    assert all(saved.arm == "PSM1" and saved.name.startswith("SAVED") for saved in list_boxes())


def test_newest_boxes_are_kept_and_other_files_left_alone(remains, folder, monkeypatch):
    monkeypatch.setattr(black_box, "KEPT", 3)
    folder.mkdir()
    (folder / "notes.mcap").write_text("mine")
    remains.tick(5)
    box = take_black_box(remains.run_dir, Trigger("SAVED"))
    paths = [write_black_box(box) for _ in range(5)]
    assert {saved.path for saved in list_boxes()} == set(paths[-3:])
    assert (folder / "notes.mcap").read_text() == "mine"


def test_run_directory_without_samples_is_told(tmp_path, config, folder):
    run_dir = RunDir(tmp_path / "run" / "PSM1")
    run_dir.create()
    with pytest.raises(BlackBoxError, match="holds no samples"):
        take_black_box(run_dir, Trigger("SAVED"))
    remains = Remains(tmp_path, config)
    with pytest.raises(BlackBoxError, match="cycle of PSM1 has not run"):
        take_black_box(remains.run_dir, Trigger("SAVED"))


# --- when it is written


def test_fault_is_saved_once_its_aftermath_is_in(remains, folder):
    remains.tick(50)
    keeper, said = keeper_of(remains)
    remains.fault(Code.ESTOP)
    remains.tick(round(AFTERMATH * 1e3) - 1)
    keeper.look()
    finish(keeper)
    assert boxes() == []
    remains.tick(1)
    keeper.look()
    finish(keeper)
    ((name, recording),) = boxes()
    assert name == "ESTOP"
    after = recording.samples["t_ns"][-1] - int(recording.metadata["t_ns"])
    assert after == round(AFTERMATH * 1e9)
    assert said == [f"black box of ESTOP: {recording.path}"]
    assert json.loads(remains.run_dir.black_box.read_text())["newest"] == str(recording.path)
    assert not list(remains.run_dir.path.glob("*.npz"))


def test_fault_whose_aftermath_nobody_grants_is_saved_all_the_same(written_here, remains, folder, monkeypatch):
    assert PATIENCE > AFTERMATH
    monkeypatch.setattr("controller.black_box_keeper.PATIENCE", 0.0)
    remains.tick(50)
    keeper, _ = keeper_of(remains)
    remains.fault(Code.ESTOP)
    keeper.look()
    keeper.look()
    finish(keeper)
    assert [name for name, _ in boxes()] == ["ESTOP"]


def test_fault_that_is_gone_before_anybody_looks_is_seen(written_here, remains, folder):
    remains.tick(50)
    keeper, _ = keeper_of(remains)
    remains.fault(Code.ENCODER_JUMP)
    remains.tick(500, fault=0, state=OperatingState.DISABLED)
    keeper.look()
    finish(keeper)
    assert [name for name, _ in boxes()] == ["ENCODER_JUMP"]


@pytest.mark.parametrize("code", [Code.STREAM_STALE, Code.PEDAL_RELEASED])
def test_what_only_pauses_the_arm_leaves_no_box(written_here, remains, folder, code):
    keeper, _ = keeper_of(remains)
    remains.tick(event=code, fault=code, state=OperatingState.PAUSED)
    remains.tick(500)
    keeper.look()
    keeper.close()
    assert boxes() == []


def test_second_fault_in_the_aftermath_belongs_to_the_first(written_here, remains, folder):
    keeper, _ = keeper_of(remains)
    remains.tick(50)
    remains.fault(Code.FOLLOWING_ERROR)
    remains.tick(10)
    remains.fault(Code.ESTOP)
    keeper.look()
    remains.tick(300)
    keeper.look()
    finish(keeper)
    ((name, recording),) = boxes()
    assert name == "FOLLOWING_ERROR"
    assert Code.ESTOP in recording.samples["event"]


def test_daemons_end_saves_what_waits_for_its_aftermath(written_here, remains, folder):
    keeper, _ = keeper_of(remains)
    remains.tick(50)
    remains.fault(Code.ESTOP)
    keeper.close()
    assert [name for name, _ in boxes()] == ["ESTOP"]


def test_keeper_registers_no_cursor_that_the_cycle_would_wait_for(written_here, remains, folder):
    keeper, _ = keeper_of(remains)
    remains.tick(5000)
    remains.fault(Code.ESTOP)
    remains.tick(300)
    keeper.look()
    assert (open_ring(remains.run_dir.samples).header["cursors"] == FREE).all()
    finish(keeper)


def test_switched_off_there_is_none_and_the_status_says_so(remains, folder, monkeypatch):
    monkeypatch.setenv("TROCAR_BLACK_BOX_DIR", "off")
    keeper, said = keeper_of(remains)
    remains.fault(Code.ESTOP)
    remains.tick(300)
    keeper.look()
    keeper.close()
    assert said == []
    assert json.loads(remains.run_dir.black_box.read_text())["folder"] == "off"
    assert not Path("off").exists()
    with pytest.raises(BlackBoxError, match="switched off"):
        write_black_box(take_black_box(remains.run_dir, Trigger("SAVED")))


# --- the disk


def test_folder_that_cannot_be_written_is_told_once_at_the_start(written_here, remains, folder):
    folder.write_text("a file, where a folder should be")
    keeper, said = keeper_of(remains)
    assert len(said) == 1
    for _ in range(2):
        remains.fault(Code.ESTOP)
        remains.tick(300)
        keeper.look()
        finish(keeper)
        remains.tick(5, fault=0)
        keeper.look()
    assert len(said) == 1
    assert "cannot be written" in said[0]
    assert "TROCAR_BLACK_BOX_DIR" in said[0]
    assert "cannot be written" in json.loads(remains.run_dir.black_box.read_text())["error"]
    assert not list(remains.run_dir.path.glob("*.npz"))


def test_full_disk_is_told_and_leaves_no_part_of_a_file(remains, folder):
    """A limit on the size of files stands for the full disk: the write fails in the middle in the same way."""
    remains.tick(3000)
    box = take_black_box(remains.run_dir, Trigger("SAVED"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(BlackBoxError, match="does not fit"):
            write_black_box(box)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []
    assert write_black_box(box).exists()


def test_snapshot_keeps_all_of_a_box(remains, tmp_path):
    remains.tick(20)
    remains.post(Operation.HOLD)
    box = take_black_box(remains.run_dir, Trigger("ESTOP", 100, "why", "what to do", 7 * MS))
    box.keep(tmp_path / "snapshot.npz")
    back = BlackBox.take_up(tmp_path / "snapshot.npz")
    assert back.trigger == box.trigger
    assert back.metadata == box.metadata
    assert (back.axes, back.axis_kinds, back.arm, back.lockstep) == (box.axes, box.axis_kinds, "PSM1", True)
    for name, records in box.records.items():
        assert back.records[name].tobytes() == records.tobytes()


def test_writer_of_a_damaged_snapshot_says_so(tmp_path, folder, capsys):
    snapshot = tmp_path / "black_box-1.npz"
    snapshot.write_bytes(b"PK nonsense")
    assert black_box.main([str(snapshot)]) == 1
    assert capsys.readouterr().err
    assert not snapshot.exists()


# --- what a daemon that was killed leaves


def test_next_daemon_saves_the_box_of_one_that_was_killed(remains, folder, config, tmp_path, monkeypatch):
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "no_rig.py").write_text("def main(arguments):\n    return 3\n")
    monkeypatch.setenv("PYTHONPATH", f"{modules}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    remains.tick(200)
    descriptor = Descriptor(
        arm="PSM1",
        pid=1,
        epoch=5,
        commands="",
        telemetry="",
        lockstep=True,
        period=0.001,
        description="psm_classic",
        axes=[
            AxisInfo(
                name=name,
                type="revolute",
                position_min=-1,
                position_max=1,
                velocity_max=1,
                acceleration_max=1,
                jerk_max=1,
                effort_max=1,
            )
            for name in AXES
        ],
        n_joints=6,
        children={},
        recording=None,
        versions={"trocar": "0.0"},
    )
    write_atomically(remains.run_dir.descriptor, msgspec.json.encode(descriptor))
    broken = msgspec.structs.replace(config, rig=msgspec.structs.replace(config.rig, module="no_rig"))
    with pytest.raises(DaemonError, match="exit code 3"), Daemon(broken):
        pass
    ((name, recording),) = boxes()
    assert name == "DAEMON_KILLED"
    assert len(recording.samples) == 200
    assert json.loads(recording.metadata["versions"]) == {"trocar": "0.0"}
    assert not remains.run_dir.samples.exists()


# --- by hand


def trocar(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_box_is_saved_listed_and_shown_by_hand(remains, folder):
    remains.tick(100)
    remains.post(Operation.MOVE_JP, vector=[0.1, 0.2])
    remains.tick(2, measured_velocity=0.2)
    for _ in range(50):
        remains.post(Operation.SERVO_JP, client="haptic", vector=[0.1] * 7)
        remains.tick()
    remains.post(Operation.MOVE_CP)
    remains.tick(verdict=Code.OUT_OF_REACH)
    remains.fault(Code.FOLLOWING_ERROR, fault_axis=2, fault_value=0.02, fault_bound=0.01)
    remains.tick(20, measured_velocity=0.0)
    result = trocar("black-box", "save")
    assert result.exit_code == 0, result.output
    path = Path(result.stdout.strip())
    assert path.name in "".join(trocar("black-box").stdout.split())
    (listed,) = json.loads(trocar("black-box", "--json").stdout)
    assert (listed["arm"], listed["name"], listed["path"]) == ("PSM1", "SAVED", str(path))
    told = " ".join(trocar("black-box", "show", path.name).stdout.split())
    for part in ("FOLLOWING_ERROR", "axis insertion: measured 0.02 m, allowed 0.01 m", "ENABLED -> FAULT", "servo_jp"):
        assert part in told
    for part in ("×50", "OUT_OF_REACH", "surgeon", "haptic", "wrist_yaw"):
        assert part in told
    story = json.loads(trocar("black-box", "show", "--json").stdout)
    assert [command["operation"] for command in story["commands"]] == ["move_jp", "servo_jp", "move_cp"]
    assert [axis["axis"] for axis in story["axes"]] == list(AXES)
    assert story["metadata"]["config"]["arm"]["name"] == "PSM1"


def test_show_names_the_remedy_of_the_fault(remains, folder):
    remains.tick(10)
    remains.fault(Code.ESTOP)
    remains.tick(5)
    write_black_box(take_black_box(remains.run_dir, Trigger("ESTOP", 100, t_ns=11 * MS)))
    told = " ".join(trocar("black-box", "show").stdout.split())
    assert CATALOGUE[Code.ESTOP].remedy in told


def test_what_lasts_is_one_event_and_not_one_a_cycle(remains, folder):
    remains.tick(50)
    for _ in range(3):
        remains.tick(frames_lost=remains.sample["frames_lost"] + 1)
    remains.fault(Code.FEEDBACK_LOST, frames_lost=4)
    for _ in range(200):
        remains.tick(frames_lost=remains.sample["frames_lost"] + 1)
    for _ in range(30):
        remains.tick(event=Code.WORKSPACE)
    remains.sample["sequence"] += 100
    remains.tick(5)
    write_black_box(take_black_box(remains.run_dir, Trigger("FEEDBACK_LOST", 107, t_ns=54 * MS)))
    events = json.loads(trocar("black-box", "show", "--json").stdout)["events"]
    assert [(event["cycle"], event["what"]) for event in events] == [
        (51, "feedback missing: 204 in 204 cycles"),
        (54, "FEEDBACK_LOST"),
        (54, "ENABLED -> FAULT"),
        (255, "WORKSPACE"),
        (385, "no cycle for 101 ms before this one"),
    ]


def test_plot_draws_a_box(remains, folder, tmp_path):
    pytest.importorskip("matplotlib")
    remains.tick(50)
    remains.sample["setpoint_pose"] = remains.sample["measured_pose"] = np.eye(4)
    remains.tick(50)
    path = write_black_box(take_black_box(remains.run_dir, Trigger("SAVED")))
    result = trocar("plot", str(path), "-o", str(tmp_path / "box.png"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "box.png").stat().st_size > 10_000


def test_wrong_requests_are_one_message_and_exit_code_1(remains, folder, tmp_path):
    (tmp_path / "text.mcap").write_text("no recording")
    for arguments, said in [
        (("show",), "there is no black box"),
        (("show", "nonsuch.mcap"), "nonsuch.mcap"),
        (("show", str(tmp_path / "text.mcap")), "no MCAP file"),
        (("save",), "cycle of PSM1 has not run"),
        (("save", "PSM9"), "nothing to save of arm 'PSM9'"),
    ]:
        result = trocar("black-box", *arguments)
        assert result.exit_code == 1, arguments
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
    assert "No black box" in trocar("black-box").stdout


# --- the real processes, killed


def wait_for(condition, seconds=60.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.01)


def test_killed_gateway_and_killed_core_each_leave_a_box(folder, config):
    with Daemon(config, lockstep=True) as daemon:
        with Arm() as arm:
            arm.enable()
            arm.sleep(0.3)
            os.kill(daemon.descriptor.children["gateway"], signal.SIGKILL)
            wait_for(lambda: len(list_boxes()) == 1)
        ((name, recording),) = boxes()
        assert name == "GATEWAY_DIED"
        assert "SIGKILL" in recording.metadata["cause"]
        assert recording.records["input"]["operation"].tolist() == [Operation.ENABLE]
        assert recording.truth is not None
        assert recording.samples["state"][-1] == OperatingState.ENABLED
        os.kill(daemon.descriptor.children["core"], signal.SIGKILL)
        assert daemon.wait(60.0)
    assert {name for name, _ in boxes()} == {"GATEWAY_DIED", "CORE_DIED"}
    died = dict(boxes())["CORE_DIED"]
    assert "SIGKILL" in died.metadata["cause"]
    assert "trocar up" in died.metadata["remedy"]
    assert len(died.samples) >= 300
    assert json.loads(died.metadata["descriptor"])["arm"] == "PSM1"
    assert not daemon.run_dir.samples.exists()


def test_killed_supervisor_leaves_memory_out_of_which_a_box_is_saved(folder, tmp_path):
    daemon = subprocess.Popen(
        [sys.executable, "-c", COMMAND_LINE, "up", "psm_emulated_strict", "--lockstep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert daemon.stdout is not None
        lines = iter(daemon.stdout.readline, "")
        assert any("is up" in line for line in lines)
        with Arm() as arm:
            arm.enable()
            arm.sleep(0.3)
    finally:
        daemon.kill()
        daemon.communicate()
    result = trocar("black-box", "save", "PSM1")
    assert result.exit_code == 0, result.output
    recording = load(result.stdout.strip())
    assert len(recording.samples) >= 300
    assert recording.records["input"]["operation"].tolist() == [Operation.ENABLE]
    assert "dead daemon" in recording.metadata["cause"]
