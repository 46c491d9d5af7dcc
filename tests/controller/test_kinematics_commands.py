import builtins
import json

import pytest
from typer.testing import CliRunner

from controller.cli.main import app

ARM, TOOL = "psm_classic", "large_needle_driver_400006"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def trocar():
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_workspace_writes_a_picture_and_json(trocar, tmp_path):
    picture = tmp_path / "arm.png"
    arguments = ["workspace", ARM, "--samples", "20000", "--seed", "3", "--output", str(picture)]
    result = trocar(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(PNG)
    assert picture.stat().st_size > 50_000
    figures = json.loads(result.stdout)
    assert (figures["arm"], figures["samples"], figures["seed"]) == (f"{ARM}:{TOOL}", 20_000, 3)
    assert figures["picture"] == str(picture)
    assert figures["max_reach_m"] == pytest.approx(0.2335, abs=1e-3)  # 240 mm of stroke, 15.6 behind, 9.1 of wrist
    assert figures["volume_m3"] == pytest.approx(0.0215, rel=0.1)
    assert figures["extent_m"]["z"][0] == pytest.approx(-0.2335, abs=2e-3)
    shares = [figures["inverse_condition"][key] for key in ("p5", "p25", "p50", "p75", "p95")]
    assert shares == sorted(shares)
    assert 0.0 < shares[0] < shares[-1] < 1.0
    again = json.loads(trocar(*arguments, "--json").stdout)
    assert again == figures


def test_workspace_prints_figures_for_people_and_names_the_picture(trocar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = trocar("workspace", ARM, "--samples", "5000")
    assert result.exit_code == 0, result.output
    assert "largest distance from the base       0.23" in result.stdout
    assert result.stdout.splitlines()[-1] == f"{ARM}_{TOOL}_workspace.png"
    assert (tmp_path / f"{ARM}_{TOOL}_workspace.png").is_file()


def test_workspace_of_an_unknown_arm_is_one_message(trocar):
    result = trocar("workspace", "nonsense")
    assert result.exit_code == 1
    assert result.stderr.startswith("trocar: no arm is named 'nonsense'")


def test_workspace_without_matplotlib_says_what_to_install(trocar, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    result = trocar("workspace", ARM, "--samples", "2000", "--output", str(tmp_path / "arm.png"))
    assert result.exit_code == 1
    assert "pip install 'trocar[plot]'" in result.stderr
    assert not (tmp_path / "arm.png").exists()


def test_workspace_refuses_a_folder_that_is_not_there(trocar, tmp_path):
    result = trocar("workspace", ARM, "--samples", "2000", "--output", str(tmp_path / "no" / "arm.png"))
    assert result.exit_code == 2
    assert "is not there: make it" in " ".join(result.output.replace("│", " ").split())
