"""What `trocar identify` says when its input is wrong; that it finds the arm is tested on the emulated one."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from controller.cli.identify_commands import segments_of
from controller.cli.main import app
from drivers.driver import Status
from kinematics.description import load_arm, shipped_arms
from telemetry import recording as recordings
from telemetry.recording import Recording
from telemetry.sample import SAMPLE, OperatingState

MOVING = int(Status.POWERED | Status.BRAKES_RELEASED | Status.REFERENCED)
ARM = next(name for name in shipped_arms() if name.startswith("psm_classic"))
PERIOD_NS = 1_000_000


@pytest.fixture
def trocar():
    return lambda *arguments: CliRunner().invoke(app, ["identify", *map(str, arguments)])


@pytest.fixture
def record(monkeypatch, tmp_path):
    """Make what a recording would give of an arm that moves like sines, with changes; returns its path."""

    def make(seconds=12.0, axes=None, description_=None, **changes):
        description = load_arm(ARM)
        a, n = description.record[0], description.n_axes
        count = round(seconds * 1e9 / PERIOD_NS)
        s = np.zeros(count, SAMPLE)
        s["sequence"] = np.arange(1, count + 1)
        s["t_ns"] = s["sequence"].astype(np.int64) * PERIOD_NS
        s["state"], s["is_homed"], s["device_status"] = OperatingState.ENABLED, 1, MOVING
        t = s["t_ns"][:, None] * 1e-9 * np.linspace(1.0, 2.0, n)
        middle, half = (a["position_max"] + a["position_min"])[:n] / 2, (a["position_max"] - a["position_min"])[:n] / 2
        s["measured_position"][:, :n] = middle + 0.5 * half * np.sin(t)
        s["measured_effort"][:, :n] = 0.1 * a["effort_max"][:n] * np.sign(np.cos(t))
        for name, value in changes.items():
            s[name] = value
        names = ",".join(axes or description.axis_names)
        path = tmp_path / "run.mcap"
        metadata = {"arm": "PSM1", "axes": names} | ({"description": description_} if description_ else {})
        made = Recording(path=path, records={"sample": s}, metadata=metadata, complete=True)
        monkeypatch.setattr(recordings, "load", lambda path: made)
        return path

    return make


def unboxed(result):
    """The message of a wrong use, out of the frame that it is printed in."""
    return " ".join(result.output.replace("│", "").split())


def test_a_file_that_is_no_recording_is_one_message_and_exit_code_1(trocar, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no recording")
    result = trocar(path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"trocar: {path} is no MCAP file")
    assert "cannot be read" in trocar(tmp_path / "absent.mcap").stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 4.0}, "at least 8 s are needed"),
        ({"measured_effort": 0.0}, "every measured effort of the recording is zero"),
        ({"measured_position": 0.1}, "no axis of the recording ever moves"),
        ({"is_homed": 0}, "has no sample of an arm that is homed and powered"),
        ({"device_status": 0}, "has no sample of an arm that is homed and powered"),
        ({"feedback_age": 10}, "has no sample of an arm that is homed and powered"),
    ],
)
def test_a_recording_that_does_not_serve_is_refused_with_reason_and_remedy(trocar, record, changes, message):
    result = trocar(record(**changes), "--arm", ARM)
    assert result.exit_code == 1
    assert result.stderr.startswith("trocar: ")
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_recording_of_other_axes_asks_which_arm_it_was(trocar, record):
    path = record(axes=["one", "two"])
    unknown = trocar(path)
    assert unknown.exit_code == 2
    assert "one, two, as none of the shipped arms: say which arm it was" in unboxed(unknown)
    wrong = trocar(path, "--arm", ARM)
    assert wrong.exit_code == 2
    assert f"one, two, but {load_arm(ARM).name} has yaw," in unboxed(wrong)


def test_the_arm_is_the_one_that_the_recording_names(trocar, record):
    assert trocar(record(20.0, description_=ARM)).exit_code == 0
    gone = trocar(record(20.0, description_="/gone/mine.toml"))
    assert gone.exit_code == 2
    assert "names the arm's description '/gone/mine.toml', which cannot be used" in unboxed(gone)


def test_an_existing_file_is_not_written_over(trocar, record, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("mine")
    assert trocar(record(), "--arm", ARM, "--output", path).exit_code == 2
    assert path.read_text() == "mine"
    assert trocar(record(), "--arm", ARM, "--output", tmp_path / "mine.json").exit_code == 2


def test_table_and_json_tell_the_same(trocar, record):
    path = record(20.0)
    table = trocar(path, "--arm", ARM)
    assert table.exit_code == 0, table.output
    figures = json.loads(trocar(path, "--arm", ARM, "--json").stdout)
    for estimate in figures["estimates"]:
        assert estimate["name"] in table.stdout
    for error in figures["held_out"]:
        assert error["axis"] in table.stdout
    assert "Held: gravity, geometry, smoothing velocities" in table.stdout
    for warning in figures["warnings"]:
        assert f"trocar: warning: {warning}." in table.stderr


def test_gaps_faults_and_stale_feedback_end_a_segment(record):
    path = record(10.0)
    whole = recordings.load(path)
    s = whole.samples
    s["state"][2000:2500] = OperatingState.FAULT
    s["feedback_age"][5000:5010] = 7
    s["feedback_age"][6000] = 1  # a single lost frame is no gap
    s["sequence"][8000:] += 3
    segments, period = segments_of(whole)
    assert [len(segment.position) for segment in segments] == [2000, 2500, 2990, 2000]
    assert period == pytest.approx(1e-3)
