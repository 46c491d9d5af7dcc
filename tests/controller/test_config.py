import re
from pathlib import Path

import pytest

from controller.config import load_config, shipped_configs
from controller.errors import ConfigError, ControllerError


@pytest.fixture
def text():
    from controller import config

    return (config._FOLDER / "psm_emulated.toml").read_text()


def written(tmp_path, text, pattern, replacement):
    changed, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
    assert count == 1, f"nothing matches {pattern}"
    path = tmp_path / "arm.toml"
    path.write_text(changed)
    return path


def refused(path):
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_configuration_is_valid(name):
    config = load_config(name)
    assert config.arm.name == ("PANDA1" if name.startswith("panda") else "PSM1")
    assert config.rig is not None


@pytest.mark.parametrize("arm", ["psm", "panda"])
def test_strict_configuration_keeps_a_real_arms_times(arm):
    config = load_config(f"{arm}_emulated_strict")
    assert config.driver.watchdog == 0.004
    assert config.cycle.feedback_timeout == 0.004
    assert load_config(f"{arm}_emulated").law == config.law


MUTATIONS = [
    # pattern, replacement, what the message must name
    (r'^name = "PSM1"', 'name = "1 arm"', ["arm.name", "'1 arm'"]),
    (r'^name = "PSM1"', "name = 5", ["arm.name", "5", "str"]),
    (r"^description = .*", 'description = "nonsuch"', ["arm.description", "nonsuch", "psm_classic"]),
    (r"^description = .*", 'description = "psm_classic:hook"', ["arm.description", "no tool is named 'hook'"]),
    (r"^description = .*", 'description = "iiwa7"', ["arm.description = 'iiwa7'", "[actuators]", "kinematics only"]),
    (r"^description = .*", "", ["arm.description", "missing"]),
    (r"^period = .*", "period = 0.1", ["cycle.period", "0.1", "0.02"]),
    (r"^period = .*", "perod = 0.001", ["cycle.perod", "0.001", "period", "spelling"]),
    (r"^period = .*", "period = nan", ["cycle.period", "nan", "finite"]),
    (r"^watchdog = .*", "watchdog = inf", ["driver.watchdog", "inf"]),
    (r"^watchdog = .*", "watchdog = 0.0", ["driver.watchdog", "0.0", "0.002"]),
    (r"^feedback_timeout = .*", "feedback_timeout = 0.0015", ["cycle.feedback_timeout", "0.0015", "0.002"]),
    (r"^watchdog = .*", "watchdog = 0.002\nbaud = 100", ["driver.baud", "100", "9600"]),
    (r"^kp = \[2000.0", "kp = [-400.0", ["law.kp", "-400.0"]),
    (r"^kp = \[2000.0, ", "kp = [", ["law.kp", "7 entries", "yaw", "jaw"]),
    (r"^kd = \[20.0, ", "kd = [8.0, nan, ", ["law.kd", "nan"]),
    (r"^following_error = \[0.1, ", "following_error = [0.0, ", ["guard.following_error", "0.0"]),
    (r"^following_error = \[", "following_error = [1.0, ", ["guard.following_error", "7 entries"]),
    (r"^pose = \[0.0, 0.0, 0.12", "pose = [0.0, 0.0, 0.5", ["homing.pose[2]", "0.5", "insertion", "0.24"]),
    (r"^timeout = .*", "timeout = 2.0", ["stream.dead", "1.0", "stream.timeout"]),
    (r"^\[rig\]\n.*\n.*", "", ["driver.port", "[rig]", "/dev/tty"]),
    (r"^watchdog = ", 'port = "/dev/ttyACM0"\nwatchdog = ', ["driver.port", "/dev/ttyACM0", "[rig]"]),
    (r"^seed = .*", "seed = -1", ["rig.seed", "-1"]),
    (r"^\[rig\]", "[rigg]", ["rigg", "rig", "spelling"]),
]


@pytest.mark.parametrize(("pattern", "replacement", "names"), MUTATIONS)
def test_mutated_key_is_named_with_value_range_and_remedy(tmp_path, text, pattern, replacement, names):
    path = written(tmp_path, text, pattern, replacement)
    message = refused(path)
    assert str(path) in message
    for name in names:
        assert name in message, message


def test_absent_file_is_told_with_the_shipped_ones(tmp_path):
    message = refused(tmp_path / "none.toml")
    assert "none.toml" in message
    assert "psm_emulated" in message


@pytest.mark.parametrize("content", [b"period = = 1", b"\xff\xfe\x00", b"[arm"])
def test_file_that_is_no_toml_is_told(tmp_path, content):
    path = tmp_path / "arm.toml"
    path.write_bytes(content)
    assert "arm.toml" in refused(path)


def test_paths_are_taken_from_the_files_own_folder(tmp_path, text, monkeypatch):
    from kinematics.description import load_arm

    (tmp_path / "own.toml").write_bytes(load_arm("psm_classic").path.read_bytes())
    path = written(tmp_path, text, r"^description = .*", 'description = "own.toml"')
    monkeypatch.chdir("/")
    config = load_config(path)
    assert config.arm.description == str(tmp_path / "own.toml")


def test_paths_of_arm_and_tool_are_both_taken_from_the_files_own_folder(tmp_path, text, monkeypatch):
    from kinematics.arm_file import TOOLS_FOLDER

    tool = (TOOLS_FOLDER / "prograsp_forceps_400093.toml").read_bytes()
    (tmp_path / "own_tool.toml").write_bytes(tool)
    path = written(tmp_path, text, r"^description = .*", 'description = "psm_classic:own_tool.toml"')
    monkeypatch.chdir("/")
    assert load_config(path).arm.description == f"psm_classic:{tmp_path / 'own_tool.toml'}"


def test_configuration_errors_have_the_packages_root():
    with pytest.raises(ControllerError):
        load_config("nonsuch")
    with pytest.raises(ValueError, match="nonsuch"):
        load_config("nonsuch")


def test_file_in_the_documentation_is_valid(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    block = re.search(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    assert block is not None
    path = tmp_path / "arm.toml"
    path.write_text(block.group(1))
    assert load_config(path).motion.linear_speed == 0.1


@pytest.mark.parametrize(
    ("key", "mode", "said"),
    [
        ("00" * 15, 0o600, "32 hexadecimal digits; .* has 30 characters"),
        ("zz" * 16, 0o600, "32 hexadecimal digits"),
        ("00" * 16, 0o640, "mode 0600, not 0640"),
        (None, 0, "can be read .*No such file"),
    ],
)
def test_a_key_file_that_is_none_is_refused_and_what_it_holds_is_not_told(tmp_path, text, key, mode, said):
    if key is not None:
        (tmp_path / "key").write_text(key)
        (tmp_path / "key").chmod(mode)
    message = refused(written(tmp_path, text, r"^\[driver\]$", '[driver]\nkey_file = "key"'))
    assert "driver.key_file" in message
    assert re.search(said, message)
    assert key is None or key not in message
