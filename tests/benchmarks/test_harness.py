import builtins
import json
import math
import shutil

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import cpp, inverse, kinematics, ours
from benchmarks.cli import register
from benchmarks.robots import make_problem, write_urdf
from benchmarks.rows import Row, Settings, agree
from kinematics.description import DescriptionError, load_arm, shipped_arms

ARM = next(name for name in shipped_arms() if name.startswith("psm_classic"))
PEERS = ("roboticstoolbox", "pytracik")


@pytest.fixture(scope="module")
def problem():
    return make_problem("PSM", load_arm(ARM), Settings(quick=True))


@pytest.fixture
def small(monkeypatch):
    """A run of seconds: no compiler, no peers that take long to import."""
    monkeypatch.setattr(cpp.shutil, "which", lambda _: None)
    monkeypatch.setattr(ours, "LAPS", 1)
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.partition(".")[0] in PEERS:
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.fixture
def bench():
    app = typer.Typer()
    register(app)
    app.command()(lambda: None)  # Typer makes a single command the program itself
    return lambda *arguments: CliRunner().invoke(app, ["bench", *arguments])


def test_quick_run_yields_rows_of_the_stated_shape_and_tells_of_missing_peers(small, bench):
    result = bench("kinematics", "--quick", "--json", "--robots", ARM)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    keys = ["task", "robot", "library", "called_from", "solved", "median_us", "p99_us", "p999_us"]
    assert all(list(row) == keys for row in rows)
    for row in rows:
        assert row["called_from"] in ("python", "batch", "loop", "c++")
        assert row["solved"] == 1.0, row
        assert 0.0 < row["median_us"] <= row["p99_us"] <= row["p999_us"]
    found = {(row["task"], row["library"].split()[0], row["called_from"]) for row in rows}
    for task in ("FK", "J", "FK+J"):
        assert {(task, "trocar", "python"), (task, "trocar", "loop"), (task, "pinocchio", "python")} <= found
    assert {("FK", "trocar", "batch"), ("gravity", "trocar", "loop")} <= found
    assert {("IK cold", "trocar", "python"), ("IK warm", "trocar", "python"), ("IK warm", "trocar", "loop")} <= found
    for missing in ("Pinocchio from C++", "Robotics Toolbox", "TRAC-IK"):
        assert f"benchmarks: without {missing}: " in result.stderr


def test_table_compares_each_row_with_ours_of_its_kind(bench, monkeypatch):
    rows = [
        Row("FK", "Arm", "trocar", "loop", 1.0, 0.05, 0.1, 0.2),
        Row("FK", "Arm", "trocar", "python", 1.0, 1.0, 2.0, 4.0),
        Row("FK", "Arm", "peer", "c++", 0.5, 0.4, 0.5, 0.6),
        Row("FK", "Arm", "peer", "python", 1.0, 7.0, 18.0, 20.0),
        Row("IK cold", "Arm", "peer", "python", 1.0, 7.0, 18.0, 20.0),
    ]
    monkeypatch.setattr(kinematics, "rows", lambda _settings: rows)
    lines = bench("kinematics").stdout.splitlines()
    (from_cpp,) = [line.split() for line in lines if "c++ " in line and "peer" in line]
    assert from_cpp[-6:] == ["%", "0.400", "0.500", "0.600", "8.0", "5.0"]
    (from_python,) = [line.split() for line in lines if "peer" in line and " 7.000" in line and "FK" in line]
    assert from_python[-2:] == ["7.0", "9.0"]
    (alone,) = [line.split() for line in lines if "IK cold" in line]
    assert alone[-1] == "20.000"


def test_unknown_suite_and_unknown_robot_are_refused(bench):
    result = bench("nonsense")
    assert result.exit_code == 2
    assert "choose of kinematics" in result.output.replace("\n", " ")
    assert isinstance(bench("kinematics", "--robots", "nonsense").exception, DescriptionError)


def test_answers_that_miss_the_pose_or_the_limits_do_not_count(problem):
    solver = ours.our_inverse(problem.description).cold
    Q = np.array([solver(T, problem.middle) for T in problem.T_cold])
    assert inverse.solved_cold(problem, Q).all()
    for change in (2e-6, np.nan, np.inf):
        wrong = Q.copy()
        wrong[3, 2] += change
        assert np.flatnonzero(~inverse.solved_cold(problem, wrong)).tolist() == [3]
    turned = Q.copy()
    turned[5, 3] += 2.0 * math.pi * (1.0 if Q[5, 3] < 0.0 else -1.0) * 2.0  # the same pose, outside the limits
    assert np.flatnonzero(~inverse.solved_cold(problem, turned)).tolist() == [5]


def test_a_jump_on_the_path_does_not_count(problem):
    Q = problem.Q_path[1:].copy()
    assert inverse.solved_warm(problem, Q).all()
    roll = problem.Q_path[:, 3]
    other = Q.copy()  # from step 20 on the other turn of the roll: the same poses
    other[20:, 3] -= math.copysign(2.0 * math.pi, roll[21])
    solved = inverse.solved_warm(problem, other)
    assert not solved[20]
    still_inside = np.abs(other[:, 3]) <= problem.high[3]
    assert (solved[21:] == still_inside[21:]).all()


def test_path_keeps_to_the_limits(problem):
    arm = problem.arm[0]
    assert ((problem.Q_path >= problem.low) & (problem.Q_path <= problem.high)).all()
    assert (np.abs(np.diff(problem.Q_path, axis=0)) <= 0.31e-3 * arm["velocity_max"][: problem.n]).all()


def test_poses_that_differ_or_are_not_finite_do_not_agree():
    A = np.tile(np.eye(4), (4, 1, 1))
    B = A.copy()
    B[1, 0, 3] = 1.1e-6
    c, s = math.cos(1.1e-6), math.sin(1.1e-6)
    B[2, :2, :2] = [[c, -s], [s, c]]
    B[3, 0, 0] = np.nan
    assert agree(A, B).tolist() == [True, False, False, False]


def test_urdf_describes_the_same_arm(problem):
    pin = pytest.importorskip("pinocchio")
    model = pin.buildModelFromXML(write_urdf(problem))
    data = model.createData()
    T = np.empty_like(problem.T[:100])
    for i in range(len(T)):
        pin.framesForwardKinematics(model, data, problem.Q[i, : problem.n])
        T[i] = data.oMf[model.getFrameId("tip")].homogeneous
    assert np.abs(T - problem.T[:100]).max() < 1e-12


PROGRAM = '#include "problem.hpp"\nint main(int, char **a) { Problem p(a[1], 1); write_table("Q", p.Q); \
write_table("T", p.poses[0]); write_table("us", time_runs(5, 200, p.count, [](int) {})); }\n'


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler on this machine")
def test_cpp_program_gets_every_number_and_is_built_once(problem, tmp_path, monkeypatch):
    monkeypatch.setattr(cpp, "CACHE", tmp_path / "cache" / "numba")
    for name in ("problem.hpp",):
        shutil.copy(cpp.FOLDER / name, tmp_path)
    (tmp_path / "echo.cpp").write_text(PROGRAM)
    monkeypatch.setattr(cpp, "FOLDER", tmp_path)
    program = cpp.build("echo.cpp", [])
    tables = cpp.run(program, problem, [problem.T_cold], Settings(quick=True))
    assert np.array_equal(tables["Q"].reshape(-1, problem.n), problem.Q[:, : problem.n])
    assert np.array_equal(tables["T"].reshape(-1, 3, 4), problem.T_cold[:, :3])
    assert tables["us"].shape == (5,)
    built = program.stat().st_mtime_ns
    assert cpp.build("echo.cpp", []) == program
    assert program.stat().st_mtime_ns == built
    (tmp_path / "echo.cpp").write_text("int main() { nonsense; }")
    with pytest.raises(cpp.BuildError, match=r"echo.cpp cannot be built: .*nonsense"):
        cpp.build("echo.cpp", [])
