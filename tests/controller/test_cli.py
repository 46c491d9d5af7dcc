import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from controller.catalogue import Code
from controller.cli.main import app
from controller.mailbox import Group, Operation
from telemetry.sample import OperatingState


@pytest.fixture
def trocar():
    def run(*arguments):
        return CliRunner().invoke(app, list(arguments))

    return run


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))


COMMANDS = ["enable", "disable", "home", "pause", "resume", "hold", "stop", "status", "down", "watch"]


@pytest.mark.parametrize("command", COMMANDS)
def test_absent_daemon_is_one_message_and_exit_code_1(nobody, trocar, command):
    result = trocar(command)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("trocar: no daemon serves any arm")
    assert "trocar up psm_emulated" in result.stderr
    assert "Traceback" not in result.output


def test_wrong_configuration_is_one_message_and_exit_code_1(nobody, trocar, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[arm]\nname = 5\n")
    result = trocar("up", str(path))
    assert result.exit_code == 1
    assert "bad.toml" in result.stderr
    assert "Traceback" not in result.output


def test_wrong_usage_is_exit_code_2(nobody, trocar):
    assert trocar("enable", "--nonsense").exit_code == 2
    assert trocar("nonsense").exit_code == 2
    assert trocar("move").exit_code == 2


def test_enable_home_move_and_status(served, trocar):
    assert "ENABLED" in trocar("enable").stdout
    assert "homed" in trocar("home").stdout
    result = trocar("move", "-j", "insertion=120mm", "-j", "yaw=-90deg", "--speed", "0.5")
    assert result.exit_code == 0, result.output
    message = served.core.messages[-1]
    assert message["vector"][2] == pytest.approx(0.12)
    assert message["vector"][0] == pytest.approx(-1.5707963)
    assert message["speed"] == 0.5
    status = json.loads(trocar("status", "--json").stdout)
    assert (status["arm"], status["state"], status["lease"]) == ("PSM1", OperatingState.ENABLED, None)
    assert "ENABLED" in trocar("status").stdout


def test_relative_moves_start_at_the_goal(served, trocar):
    trocar("move", "-j", "roll=0.25")
    trocar("move", "-j", "roll=0.5", "--relative")
    assert served.core.messages[-1]["vector"][3] == pytest.approx(0.75)
    trocar("move", "--to", "1,-2,3", "--relative", "--path-speed", "5")
    message = served.core.messages[-1]
    assert message["operation"] == Operation.MOVE_CP
    assert message["pose"][:3, 3] == pytest.approx([1e-3, -2e-3, 3e-3])
    assert message["path_speed"] == pytest.approx(5e-3)


def test_a_path_has_its_points_and_the_jaw_beside_it(served, trocar):
    result = trocar(
        "move", "--to", "10,0,0", "--via", "0,5,0", "--via", "5,5,0", "-r", "--blend", "2", "--jaw", "30deg"
    )
    assert result.exit_code == 0, result.output
    message = served.core.messages[-1]
    assert (message["operation"], message["n_via"], message["blend"]) == (Operation.MOVE_CP, 2, pytest.approx(2e-3))
    assert message["via"][:2, :3, 3] == pytest.approx(np.array([[0, 5e-3, 0], [5e-3, 5e-3, 0]]))
    assert message["pose"][:3, 3] == pytest.approx([0.01, 0, 0])
    assert message["jaw"] == pytest.approx(0.5235988)


def test_a_pose_is_a_point_and_a_rotation_vector_in_degrees(served, trocar):
    assert trocar("move", "--pose", "1,2,3,0,0,90").exit_code == 0
    pose = served.core.messages[-1]["pose"]
    assert pose == pytest.approx(np.array([[0, -1, 0, 1e-3], [1, 0, 0, 2e-3], [0, 0, 1, 3e-3], [0, 0, 0, 1]]))
    assert np.isnan(served.core.messages[-1]["jaw"])


def test_the_jaw_alone_moves_by_itself(served, trocar):
    assert trocar("move", "--jaw", "0.4").exit_code == 0
    message = served.core.messages[-1]
    assert (message["operation"], message["group"], message["n_axes"]) == (Operation.MOVE_JP, Group.JAW, 1)
    assert message["vector"][0] == 0.4


def test_the_speed_ratio_is_set_and_told(served, trocar):
    assert "0.25" in trocar("speed", "0.25").stdout
    assert "0.25" in trocar("speed").stdout
    assert trocar("speed", "1.5").exit_code == 2


@pytest.mark.parametrize(
    "setting", ["insertion=10deg", "yaw=10mm", "elbow=1", "yaw", "yaw=fast", "yaw=1e", "yaw=1 deg"]
)
def test_joint_goal_that_means_nothing_is_wrong_usage(served, trocar, setting):
    result = trocar("move", "-j", setting)
    assert result.exit_code == 2
    assert not served.core.messages


@pytest.mark.parametrize("point", ["1,2", "1,2,3,4", "a,b,c", "1;2;3"])
def test_point_that_means_nothing_is_wrong_usage(served, trocar, point):
    assert trocar("move", "--to", point).exit_code == 2
    assert not served.core.messages


def test_refusal_is_told_with_its_remedy(served, trocar):
    served.core.verdicts[Operation.HOME] = Code.NOT_ENABLED
    result = trocar("home")
    assert result.exit_code == 1
    assert "NOT_ENABLED" in result.stderr
    assert "trocar enable" in result.stderr


def test_commands_give_the_lease_back(served, trocar):
    for command in ("enable", "pause", "resume", "disable", "stop"):
        result = trocar(command)
        assert result.exit_code == 0, result.output


def test_arms_lists_what_runs_and_what_is_shipped(served, trocar):
    listing = json.loads(trocar("arms", "--json").stdout)
    assert [arm["arm"] for arm in listing["running"]] == ["PSM1"]
    assert "psm_emulated" in listing["configurations"]
    psm = listing["descriptions"]["psm_classic"]
    assert psm["axes"][2]["name"] == "insertion"
    assert psm["axes"][2]["position_max"] == 0.24
    assert psm["tools"]["prograsp_forceps_400093"] == "ProGrasp Forceps 400093"
    assert not listing["descriptions"]["iiwa7"]["has_actuators"]
    shown = trocar("arms").stdout
    assert "insertion" in shown
    assert "psm_classic:TOOL" in shown


def test_plot_of_an_absent_recording_is_one_message(trocar, tmp_path):
    result = trocar("plot", str(tmp_path / "none.mcap"))
    assert result.exit_code == 1
    assert "none.mcap" in result.stderr
    assert "Traceback" not in result.output


def test_record_writes_every_cycle_of_its_time(served, trocar, tmp_path):
    from telemetry.recording import load

    path = tmp_path / "run.mcap"
    result = trocar("record", str(path), "--seconds", "0.3")
    assert result.exit_code == 0, result.output
    recording = load(path)
    samples = recording.samples
    assert recording.metadata["axis_kinds"].split(",").count("prismatic") == 1  # the insertion
    assert len(samples) > 10
    assert (samples["sequence"][1:] - samples["sequence"][:-1] == 1).all()


def test_bug_is_not_dressed_up_as_a_message(served, trocar, monkeypatch):
    monkeypatch.setattr("controller.client.Arm.enable", lambda _: 1 / 0)
    assert isinstance(trocar("enable").exception, ZeroDivisionError)


def test_help_loads_neither_numpy_nor_zeromq():
    code = (
        "import sys; from controller.cli.main import app\n"
        "loaded = {'numpy', 'numba', 'zmq', 'msgspec'} & set(sys.modules)\n"
        "sys.exit(', '.join(loaded) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr == ""


def test_law_check_tells_what_a_law_does_without_a_daemon(nobody, trocar, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def pushes(arm, p, memory, sample, command):\n    command.effort[1] += p.force\n\n"
        "def allocates(arm, p, memory, sample, command):\n"
        "    command.effort[:] = 0.0 * (sample.measured_position[:] - sample.setpoint_position[:])\n\n"
        "def divides(arm, p, memory, sample, command):\n"
        "    if sample.measured_velocity[0] != 0.0:\n        command.effort[0] = 1.0 / memory[0]\n\n"
        "def broken(arm, p, memory, sample, command):\n    command.effort[0] = force\n"
    )
    result = trocar("law", "check", f"{path}:pushes", "force=50")
    assert result.exit_code == 0, result.output
    assert "median" in result.stdout
    assert "an effort beyond its limit in 2000 of 2000 calls" in result.stdout
    assert "allocates" not in result.stdout.partition(":")[2]

    found = json.loads(trocar("law", "check", f"{path}:pushes", "force=1", "--json").stdout)
    assert found["allocations"] == 0.0
    assert found["saturated"] == 0
    assert 0.5 < found["effort_max"][1] < 2.0

    assert "it allocates memory 1 times a call" in trocar("law", "check", f"{path}:allocates").stdout
    result = trocar("law", "check", f"{path}:divides")
    assert result.exit_code == 1
    assert "nan or inf in" in result.stdout
    result = trocar("law", "check", f"{path}:broken")
    assert result.exit_code == 1
    assert f"{path}, line 12: the name 'force' is not defined" in result.stderr
    assert trocar("law", "check", f"{path}:pushes", "force").exit_code == 2


def test_law_show_and_set_say_so_where_no_daemon_runs(nobody, trocar):
    for arguments in (("show",), ("set", "stiffness=1")):
        result = trocar("law", *arguments)
        assert result.exit_code == 1
        assert "no daemon serves any arm" in result.stderr
