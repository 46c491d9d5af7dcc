"""The catalogue explains every code that the source can raise, and holds none that nothing raises."""

import ast
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import controller
from controller.catalogue import CATALOGUE, Code, Reaction
from controller.cli.main import app
from controller.figures import UNITS, describe_figures

ROOT = Path(controller.__file__).parents[1]
PACKAGES = ("telemetry", "kinematics", "firmware_bridge", "drivers", "controller", "hil")
SAYS_ONLY = ("controller/catalogue.py", "controller/figures.py", "controller/cli/explain_command.py")
"""What speaks of codes and raises none."""
CARRIERS = {"fault", "event", "verdict", "code"}
"""What a sample, a message or an error has a catalogue's code in."""


def sources():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


SOURCES = dict(sources())


def named_codes(tree):
    """Yield the names of the codes in a module: `Code.X` and `Code["X"]`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code":
            if node.attr != "__members__":
                yield node.attr
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id == "Code"
            and isinstance(node.slice, ast.Constant)
        ):
            yield node.slice.value


def written_numbers(tree):
    """Yield the numbers that a module writes into what carries a code, or passes as one, without a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.keyword):
            targets, value = [ast.Name(node.arg or "")], node.value
        elif isinstance(node, ast.Compare):
            targets, value = [node.left], node.comparators[0]
        else:
            continue
        for target in targets:
            name = getattr(target, "attr", getattr(target, "id", ""))
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                name = target.slice.value
            if name in CARRIERS and isinstance(value, ast.Constant) and type(value.value) is int and value.value != 0:
                yield value.value


RAISED = sorted({(name, path) for path, tree in SOURCES.items() for name in named_codes(tree)})


def test_the_walk_finds_what_is_known_to_be_raised():
    found = {name for name, _ in RAISED}
    assert {"ESTOP", "LEASED", "LAW_RAISED", "JOINT_LIMIT", "CORE_STALLED"} <= found
    assert set(written_numbers(ast.parse("s.fault = 112\nerror(code=7)\nif x['verdict'] == 9: pass"))) == {112, 7, 9}


@pytest.mark.parametrize("name", sorted({name for name, _ in RAISED}))
def test_every_code_that_the_source_can_raise_is_explained(name):
    where = [path for raised, path in RAISED if raised == name]
    assert name in Code.__members__, f"{where} use Code.{name}, which does not exist"
    entry = CATALOGUE[Code[name]]
    for text in (entry.cause, entry.remedy):
        assert text.endswith(".")
        assert len(text) > 10
    assert isinstance(entry.reaction, Reaction)


def test_no_module_writes_a_code_as_a_bare_number():
    # Lower packages know no catalogue: their codes are others. A bare 1 is a flag.
    knowing = {path: tree for path, tree in SOURCES.items() if path.startswith(("controller/", "hil/"))}
    bare = {path: set(written_numbers(tree)) - {1} for path, tree in knowing.items()}
    assert {path: numbers for path, numbers in bare.items() if numbers} == {}


def test_every_code_has_an_entry_and_every_number_is_its_own():
    assert set(CATALOGUE) == set(Code)
    assert len(Code.__members__) == len({int(code) for code in Code})


def unused():
    used = {name for name, path in RAISED if path not in SAYS_ONLY}
    return sorted(code.name for code in Code if code.name not in used)


def test_no_code_is_in_the_catalogue_that_nothing_raises():
    assert unused() == []


# --- the figures


AXES, KINDS = ("yaw", "insertion"), ("revolute", "prismatic")


@pytest.mark.parametrize(
    ("code", "axis", "value", "bound", "said"),
    [
        (Code.FOLLOWING_ERROR, 0, 0.012, 0.005, "axis yaw: measured 0.012 rad, allowed 0.005 rad"),
        (Code.FOLLOWING_ERROR, 1, 0.012, 0.005, "axis insertion: measured 0.012 m, allowed 0.005 m"),
        (Code.VELOCITY_LIMIT, 1, 0.5, 0.4, "axis insertion: measured 0.5 m/s, allowed 0.4 m/s"),
        (Code.MOTOR_TEST, 0, 3.0, 2.0, "axis yaw: measured 3 N·m, allowed 2 N·m"),
        (Code.MOTOR_HOT, 0, 66.5, 65.0, "axis yaw: measured 66.5 °C, allowed 65 °C"),
        (Code.MOTOR_HOT, 0, 0.81, 0.8, "axis yaw: measured 0.81, allowed 0.8"),
        (Code.STALLED, 0, 0.9, 0.8, "axis yaw: measured 0.9 of its effort, allowed 0.8 of its effort"),
        (Code.TOOL_WRONG, -1, 8.0, 7.0, "instrument 8 is there, expected is 7 (0: none)"),
        (Code.FEEDBACK_NOT_FINITE, 0, float("nan"), 0.0, "axis yaw"),
        (Code.REMOTE_CENTER_OFF, -1, 0.0015, 0.001, "measured 0.0015 m, allowed 0.001 m"),
        (Code.CYCLES_LATE, -1, 3.0, 2.0, "measured 3, allowed 2"),
        (Code.DEVICE_OVERSPEED, 1, 0.0, 0.0, "axis insertion"),
        (Code.ESTOP, -1, 0.0, 0.0, ""),
        (Code.FOLLOWING_ERROR, 5, 1.0, 0.5, "axis 5: measured 1 rad or m, allowed 0.5 rad or m"),
        (9999, 0, 1.0, 0.5, "axis yaw: measured 1, allowed 0.5"),
    ],
)
def test_figures_name_the_axis_and_have_its_unit(code, axis, value, bound, said):
    assert describe_figures(code, axis, value, bound, AXES, KINDS) == said


def test_figures_have_units_of_codes_that_exist():
    assert set(UNITS) <= set(Code)


# --- trocar explain


def explain(*arguments):
    return CliRunner().invoke(app, ["explain", *arguments])


@pytest.mark.parametrize("code", list(Code))
def test_explain_tells_all_of_a_code_by_its_number_and_its_name_in_any_case(code):
    by_number = json.loads(explain(str(int(code)), "--json").stdout)
    assert by_number == json.loads(explain(code.name.lower(), "--json").stdout)
    assert by_number == json.loads(explain(code.name.title().replace("_", "-"), "--json").stdout)
    entry = CATALOGUE[code]
    assert (by_number["code"], by_number["name"]) == (int(code), code.name)
    assert (by_number["cause"], by_number["remedy"]) == (entry.cause, entry.remedy)
    assert by_number["reaction"] == entry.reaction.name
    assert by_number["latches"] == (entry.reaction in (Reaction.S0, Reaction.S1))
    assert by_number["leave"]


def test_explain_says_how_each_reaction_is_left():
    def left(code):
        return " ".join(explain(str(int(code))).stdout.split())

    assert "power goes off and its brakes close at once" in left(Code.ESTOP)
    assert "FAULT, by `trocar enable`" in left(Code.ESTOP)
    assert "brought to rest" in left(Code.FOLLOWING_ERROR)
    assert "PAUSED, by `trocar resume`" in left(Code.STREAM_STALE)
    assert "nothing moves because of it" in left(Code.LEASED)
    assert "trocar up" in left(Code.CORE_STALLED)


def test_explain_alone_lists_all():
    listed = explain().stdout
    assert all(code.name in listed for code in Code)
    assert len(json.loads(explain("--json").stdout)) == len(Code)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("folowing_error", "FOLLOWING_ERROR"), ("estp", "ESTOP"), ("watchdog", "DEVICE_WATCHDOG"), ("99", "100 ESTOP")],
)
def test_explain_tells_the_nearest_codes_of_an_unknown_one(given, nearest):
    result = explain(given)
    assert result.exit_code == 2
    assert nearest in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("given", ["", "zzzzzzzz", "-5", "1e3", "9" * 40])
def test_explain_of_nonsense_is_wrong_usage(given):
    result = explain("--", given)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
