"""A configuration that somebody approved: no key of it changes unseen; and none without a seal is wrong unseen."""

import copy
import json
import re
import tomllib
from typing import get_args, get_type_hints

import msgspec
import pytest
from typer.testing import CliRunner

from controller.cli.main import app
from controller.config import Config, load_config, read_config
from controller.errors import ConfigError
from controller.seal import leaves
from kinematics.description import load_arm

KEY = "00112233445566778899aabbccddeeff"
WHOLE = {
    "arm": {"name": "PSM1", "description": "own.toml"},
    "driver": {
        "kind": "bridge",
        "port": "/dev/ttyACM0",
        "baud": 4000000,
        "watchdog": 0.004,
        "serial_number": "0badcafe",
        "firmware": "1.2",
        "tool": 7,
        "key_file": "arm.key",
    },
    "cycle": {"period": 0.001, "feedback_timeout": 0.003, "cpu": 1, "priority": 80},
    "law": {
        "name": "law.py:soft",
        "kp": [2000.0, 2000.0, 40000.0, 10.0, 10.0, 10.0, 10.0],
        "kd": [20.0, 20.0, 400.0, 0.12, 0.12, 0.12, 0.12],
        "gravity": True,
        "friction": False,
        "budget": 0.0005,
        "parameters": {"stiffness": 100.0, "center": [0.0, 0.0, 0.1]},
    },
    "guard": {
        "following_error": [0.1, 0.1, 0.01, 0.5, 0.5, 0.5, 0.5],
        "residual": [0.01, 0.01, 0.001, 0.1, 0.1, 0.1, 0.1],
        "sensor_difference": [0.02, 0.02, 0.002, 0.2, 0.2, 0.2, 0.2],
        "temperature_warn": 60.0,
        "temperature_max": 65.0,
        "late_cycles": 3,
        "remote_center_warn": 0.001,
        "remote_center_max": 0.002,
        "deceleration": 0.5,
        "volume": [
            {"shape": "half_space", "keep": "inside", "center": [0.0, 0.0, 1.0], "direction": [0.0, 0.0, -1.0]},
            {"shape": "sphere", "keep": "inside", "center": [0.0, 0.0, 0.0], "radius": 1.0},
            {"shape": "box", "keep": "outside", "center": [0.5, 0.5, 0.0], "half_size": [0.1, 0.1, 0.1]},
            {
                "shape": "cylinder",
                "keep": "inside",
                "center": [0.0, 0.0, 0.0],
                "direction": [0.0, 0.0, 1.0],
                "radius": 0.3,
            },
        ],
    },
    "motion": {
        "linear_speed": 0.1,
        "linear_acceleration": 0.4,
        "linear_jerk": 8.0,
        "angular_speed": 1.5,
        "angular_acceleration": 6.0,
        "angular_jerk": 120.0,
    },
    "stream": {"timeout": 0.05, "interpolate_timeout": 0.3, "dead": 0.5},
    "remote_center": {"shaft_point": [0.0, 0.0, 0.0], "shaft_direction": [0.0, 0.0, 1.0], "depth_min": 0.02},
    "pedal": {"required": True},
    "homing": {"average": 0.256, "pose": [0.0, 0.0, 0.12, 0.0, 0.0, 0.0, 0.0], "speed": 0.4},
}
"""Every key that a real arm's configuration may have."""
ELSEWHERE = {"remote_center.point", "rig", "rig.module", "rig.plant", "rig.seed", "seal"}
"""Those that cannot stand beside the others: of arms without a mechanical remote centre, and of emulated ones."""


def toml_of(data):
    lines = []

    def add(table, name):
        inner = {key: value for key, value in table.items() if isinstance(value, dict) or is_tables(value)}
        if name:
            lines.append(f"[{name}]")
        lines.extend(f"{json.dumps(key)} = {text_of(value)}" for key, value in table.items() if key not in inner)
        for key, value in inner.items():
            full = f"{name}.{key}" if name else key
            if isinstance(value, dict):
                add(value, full)
                continue
            for entry in value:
                lines.append(f"[[{full}]]")
                lines.extend(f"{json.dumps(k)} = {text_of(v)}" for k, v in entry.items())

    add(data, "")
    return "\n".join(lines) + "\n"


def is_tables(value):
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def text_of(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own.toml").write_bytes(load_arm("psm_classic").path.read_bytes())
    (tmp_path / "law.py").write_text("def soft(s, p, out):\n    pass\n")
    key = tmp_path / "arm.key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    return tmp_path


def written(folder, data):
    path = folder / "arm.toml"
    path.write_text(toml_of(data))
    return path


def seal(path, *options):
    return CliRunner().invoke(app, ["config", "seal", str(path), *options])


SEALED = {}  # by what was sealed: it is the same every time


def sealed(folder, data):
    path, text = written(folder, data), toml_of(data)
    if text not in SEALED:
        result = seal(path, "--by", "Dr. A")
        assert result.exit_code == 0, result.output
        SEALED[text] = path.read_text()
    path.write_text(SEALED[text])
    return tomllib.loads(SEALED[text])


def refused(path):
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def strict():
    return tomllib.loads(read_config("psm_emulated_strict")[0])


BASES = {"psm_emulated_strict": strict(), "whole": WHOLE}
LEAVES = [(base, key) for base, data in BASES.items() for key, _ in leaves(data)]


def parent_of(data, key):
    """Return what holds a key's value, and under which name or number."""
    *places, last = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", key)]
    for place in places:
        data = data[place]
    return data, last


def another(value):
    """Return another value of the same type, as near as it gets."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * (1.0 + 1e-12) if value else 1e-12
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    return [*value[:-1], another(value[-1])]


def fields_of(struct, prefix=""):
    for name, hint in get_type_hints(struct).items():
        full = f"{prefix}{name}"
        inner = [t for t in (hint, *get_args(hint)) if isinstance(t, type) and issubclass(t, msgspec.Struct)]
        yield full
        if inner and full not in ("seal",):
            yield from fields_of(inner[0], f"{full}.")


def test_whole_configuration_has_every_key_that_there_is():
    given = {re.sub(r"\[\d+\]", "", key) for key, _ in leaves(WHOLE)}
    given |= {".".join(key.split(".")[:i]) for key in given for i in range(1, key.count(".") + 1)}
    known = set(fields_of(Config))
    assert known - given == ELSEWHERE


@pytest.mark.parametrize("base", BASES)
def test_sealed_configuration_is_loaded_and_says_who_sealed_it(folder, base):
    data = sealed(folder, BASES[base])
    config = load_config(folder / "arm.toml")
    assert config.seal.by == "Dr. A"
    assert dict(leaves(data)) == dict(leaves(BASES[base]))
    assert config.seal.keys.keys() == {key for key, _ in leaves(BASES[base])}


@pytest.mark.parametrize(("base", "key"), LEAVES)
def test_a_changed_key_of_a_sealed_configuration_is_refused_by_its_name(folder, base, key):
    data = sealed(folder, BASES[base])
    holder, last = parent_of(data, key)
    holder[last] = another(holder[last])
    message = refused(written(folder, data))
    assert f"{key} = {holder[last]!r} was changed since it was sealed" in message
    assert "trocar config seal" in message


@pytest.mark.parametrize(("base", "key"), LEAVES)
def test_a_removed_key_of_a_sealed_configuration_is_refused_by_its_name(folder, base, key):
    data = sealed(folder, BASES[base])
    holder, last = parent_of(data, key)
    del holder[last]
    assert re.search(rf"{re.escape(key)} (was|= .* was) (removed|changed)", refused(written(folder, data)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("driver.baud", 9600),
        ("guard.volume", [{"shape": "sphere", "center": [0.0, 0.0, 0.0]}]),
        ("motion", {}),
        ("pedal.required", False),
        ("law.parameters.stiffness", 1.0),
        ("typo", 1),
        ("cycle.typo", 1),
    ],
)
def test_a_key_added_to_a_sealed_configuration_is_refused_by_its_name(folder, key, value):
    data = sealed(folder, strict())
    holder = data
    *places, last = key.split(".")
    for place in places:
        holder = holder.setdefault(place, {})
    holder[last] = value
    message = refused(written(folder, data))
    assert key in message
    assert "was added since it was sealed" in message


@pytest.mark.parametrize(
    "key", ["seal.date", "seal.by", "seal.whole", "seal.keys.arm.name", "seal.files.arm.description"]
)
def test_a_changed_seal_is_refused_by_its_name(folder, key):
    data = sealed(folder, strict())
    holder, last = data["seal"], key.removeprefix("seal.")
    for table in ("keys", "files"):
        if last.startswith(f"{table}."):
            holder, last = holder[table], last.removeprefix(f"{table}.")
    holder[last] = another(holder[last])
    message = refused(written(folder, data))
    assert "seal" in message
    assert last in message


@pytest.mark.parametrize("key", ["date", "by", "whole", "keys", "files"])
def test_a_seal_that_lacks_a_part_is_refused(folder, key):
    data = sealed(folder, strict())
    del data["seal"][key]
    assert "[seal] is damaged" in refused(written(folder, data))


def test_a_number_written_otherwise_is_the_same(folder):
    data = sealed(folder, WHOLE)
    data["guard"]["volume"][1]["radius"] = 1
    data["driver"]["tool"] = 7
    load_config(written(folder, data))


@pytest.mark.parametrize(("name", "key"), [("own.toml", "arm.description"), ("law.py", "law.name")])
def test_a_changed_file_behind_a_sealed_key_is_refused_by_the_keys_name(folder, name, key):
    sealed(folder, WHOLE)
    with (folder / name).open("a") as file:
        file.write("\n# one more line\n")
    message = refused(folder / "arm.toml")
    assert key in message
    assert name in message
    assert "was changed since it was sealed" in message


def test_real_arm_without_a_seal_is_refused_with_what_to_do(folder):
    path = written(folder, WHOLE)
    message = refused(path)
    assert "[seal] is missing" in message
    assert f"trocar config seal {path}" in message
    assert CliRunner().invoke(app, ["config", "check", str(path)]).exit_code == 1
    assert CliRunner().invoke(app, ["up", str(path)]).exit_code == 1


def test_sealing_keeps_the_rest_of_the_file_and_replaces_the_old_seal(folder):
    path = written(folder, strict())
    path.write_text("# what the hospital approved\n" + path.read_text())
    path.chmod(0o640)
    assert seal(path).exit_code == 0
    once = path.read_text()
    path.write_text(once.replace("[guard]", "# a remark\n[guard]") + "\n[pedal]\nrequired = true\n")
    assert seal(path).exit_code == 0
    text = path.read_text()
    assert text.startswith("# what the hospital approved")
    assert "# a remark\n[guard]" in text
    assert text.count("[seal]") == 1
    assert load_config(path).pedal.required
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_wrong_configuration_is_not_sealed(folder):
    path = written(folder, WHOLE | {"pedal": {"required": 3}})
    before = path.read_text()
    result = seal(path)
    assert result.exit_code == 1
    assert "pedal.required" in result.stderr
    assert path.read_text() == before
    assert "no file" in seal("psm_emulated").stderr


def test_check_says_what_is_in_order(folder):
    sealed(folder, WHOLE)
    result = CliRunner().invoke(app, ["config", "check", str(folder / "arm.toml")])
    assert result.exit_code == 0, result.output
    assert "/dev/ttyACM0" in result.stdout
    assert "by Dr. A" in result.stdout
    assert "not sealed" in CliRunner().invoke(app, ["config", "check", "psm_emulated"]).stdout


# --- without a seal: every key out of its type or range


def out_of_type(value):
    return [True] if isinstance(value, str) else "wrong"


@pytest.mark.parametrize("key", [key for key, _ in leaves(WHOLE)])
def test_a_key_of_another_type_is_refused_by_its_name(folder, key):
    data = copy.deepcopy(WHOLE)
    holder, last = parent_of(data, key)
    holder[last] = out_of_type(holder[last])
    assert key in refused(written(folder, data))


@pytest.mark.parametrize("key", [key for key, value in leaves(WHOLE) if isinstance(value, list)])
def test_a_wrong_entry_of_a_list_is_refused_by_its_number(folder, key):
    data = copy.deepcopy(WHOLE)
    holder, last = parent_of(data, key)
    holder[last][1] = "wrong"
    assert f"{key}[1] = 'wrong'" in refused(written(folder, data))


OUT_OF_RANGE = [
    ("arm.name", "1 arm"),
    ("arm.description", "nonsuch.toml"),
    ("driver.kind", "ethercat"),
    ("driver.port", ""),
    ("driver.baud", 100),
    ("driver.watchdog", 1.5),
    ("driver.watchdog", 0.001),
    ("driver.tool", 65536),
    ("driver.tool", -1),
    ("driver.key_file", "nonsuch.key"),
    ("cycle.period", 0.5),
    ("cycle.feedback_timeout", 0.0015),
    ("cycle.cpu", -2),
    ("cycle.priority", 99),
    ("law.name", "nonsuch"),
    ("law.name", "nonsuch.py:soft"),
    ("law.name", "law.py:"),
    ("law.budget", 0.002),
    ("guard.temperature_warn", -300.0),
    ("guard.temperature_warn", 65.0),
    ("guard.temperature_max", 1000.0),
    ("guard.late_cycles", 0),
    ("guard.remote_center_warn", 0.002),
    ("guard.remote_center_warn", 0.0),
    ("guard.remote_center_max", -1.0),
    ("guard.deceleration", 0.0),
    ("guard.volume[0].shape", "cone"),
    ("guard.volume[1].keep", "near"),
    ("guard.volume[0].direction", [0.0, 0.0, 0.0]),
    ("guard.volume[3].direction", [0.0, 0.0, 0.0]),
    ("guard.volume[1].radius", 0.0),
    ("guard.volume[2].half_size", [0.1, 0.1]),
    ("stream.timeout", 0.6),
    ("stream.timeout", 0.0),
    ("stream.interpolate_timeout", 6.0),
    ("stream.dead", 100.0),
    ("remote_center.shaft_direction", [0.0, 0.0, 0.0]),
    ("remote_center.shaft_point", [0.0, 0.0]),
    ("remote_center.depth_min", 0.0),
    ("homing.average", 0.0),
    ("homing.speed", 2.0),
    ("homing.pose", [0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]),
    *((f"motion.{field}", 0.0) for field in WHOLE["motion"]),
    *((key, [0.1]) for key in ("law.kp", "law.kd", "guard.following_error", "guard.residual", "homing.pose")),
    ("guard.sensor_difference", [0.1] * 8),
    ("guard.residual", [0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1]),
    *((key, float("nan")) for key, value in leaves(WHOLE) if isinstance(value, float)),
]


@pytest.mark.parametrize(("key", "value"), OUT_OF_RANGE)
def test_a_key_out_of_its_range_is_refused_by_its_name(folder, key, value):
    data = copy.deepcopy(WHOLE)
    holder, last = parent_of(data, key)
    holder[last] = value
    path = folder / "arm.toml"
    path.write_text(toml_of(data).replace("NaN", "nan"))
    message = refused(path)
    named = "stream.dead" if key == "stream.timeout" and value == 0.6 else key
    assert named in message
    assert "seal" not in message


@pytest.mark.parametrize("i", range(4))
def test_a_volume_that_forbids_the_homing_pose_is_refused_by_its_number(folder, i):
    data = copy.deepcopy(WHOLE)
    volume = data["guard"]["volume"][i]
    volume["keep"] = {"inside": "outside", "outside": "inside"}[volume.get("keep", "inside")]
    message = refused(written(folder, data))
    assert f"guard.volume[{i}]" in message
    assert "homing.pose" in message


def test_a_key_that_others_may_read_is_refused(folder):
    (folder / "arm.key").chmod(0o640)
    message = refused(written(folder, WHOLE))
    assert "driver.key_file" in message
    assert "0640" in message
    assert "chmod 600" in message


@pytest.mark.parametrize("content", ["", KEY[:-1], KEY + "00", "g" * 32, "é"])
def test_a_key_that_is_none_is_refused_and_never_told(folder, content):
    (folder / "arm.key").write_text(content)
    message = refused(written(folder, WHOLE))
    assert "driver.key_file" in message
    assert "32 hexadecimal digits" in message or "no text" in message
    assert KEY[:8] not in message


def test_the_keys_path_is_taken_from_the_files_own_folder(folder, monkeypatch):
    sealed(folder, WHOLE)
    monkeypatch.chdir("/")
    assert load_config(folder / "arm.toml").driver.key_file == str(folder / "arm.key")


def test_an_unknown_or_missing_key_of_a_volume_is_refused_by_its_number(folder):
    for change, said in (
        ({"centre": [0.0] * 3}, "guard.volume[1].centre"),
        ({"shape": "box"}, "guard.volume[1].center"),
    ):
        data = copy.deepcopy(WHOLE)
        volumes = data["guard"]["volume"]
        volumes[1] = {"shape": "sphere", **change} if "shape" in change else volumes[1] | change
        message = refused(written(folder, data))
        assert said in message
        assert "law" not in message.partition("Allowed here")[2]
