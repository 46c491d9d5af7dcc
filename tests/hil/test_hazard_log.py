"""The hazard log fails on what it must, and the one in the project holds."""

import json
import os

import msgspec
import pytest

from controller.catalogue import CATALOGUE, Reaction
from hil import hazard_log
from hil.faults import HilError
from hil.hazard_log import Bound, Hazard, HazardLog, Measured, Row, digest, load_log, load_measured, page, problems

STOPPING = [code.name for code, entry in CATALOGUE.items() if entry.reaction >= Reaction.S2]
TEXT = 'hazards = ["H1"]\n'
ENTRY = """[[hazard]]
id = "H1"
hazard = "The line is cut"
cause = "A cable breaks"
harm = "Motors go on"
detection = "Nothing comes"
reaction = "S0"
scenarios = []
codes = []
"""
SCENARIOS = {"cut": TEXT}


def hazard(**changes):
    fields = {
        "id": "H1",
        "hazard": "The line is cut",
        "cause": "A cable breaks",
        "harm": "Motors go on",
        "detection": "Nothing comes",
        "reaction": "S0",
        "bound": Bound(cycles=5),
        "scenarios": ["cut"],
        "codes": STOPPING,
    }
    return Hazard(**(fields | changes))


def row(**changes):
    fields = {
        "name": "cut/moving",
        "hazards": ["H1"],
        "bound_cycles": 5,
        "worst_cycles": 4,
        "median_cycles": 3.0,
        "runs": 100,
        "undetected": 0,
        "late": 0,
        "codes": {"FEEDBACK_LOST": 100},
        "digest": digest(TEXT),
    }
    return Row(**(fields | changes))


def results(*rows):
    return Measured(seed=1, date="2026-01-02", versions={"trocar": "1"}, scenarios=list(rows) or [row()])


def found(*hazards, scenarios=SCENARIOS, measured=None, not_hazard=None, root=hazard_log.ROOT):
    log = HazardLog(hazard=list(hazards) or [hazard()], not_hazard=not_hazard or {})
    return problems(log, scenarios, results() if measured is None else measured, root)


def only(messages, *words):
    assert len(messages) == 1, messages
    assert all(word in messages[0] for word in words), messages[0]


def test_a_log_that_agrees_with_its_scenarios_and_results_has_no_problem():
    assert found() == []


def test_a_hazard_without_a_scenario_is_a_problem():
    other = hazard(id="H2", scenarios=[], codes=["ESTOP"])
    only(found(hazard(), other), "H2", "no scenario")


def test_a_scenario_that_does_not_exist_is_a_problem():
    only(found(hazard(scenarios=["cut", "gone"])), "gone")


def test_a_scenario_without_a_hazard_is_a_problem():
    scenarios = SCENARIOS | {"alone": "hazards = []\n"}
    measured = results(row(), row(name="alone", digest=digest("hazards = []\n")))
    only(found(scenarios=scenarios, measured=measured), "alone", "no hazard")


def test_a_scenario_and_a_hazard_must_name_each_other():
    text = 'hazards = ["H1", "H9"]\n'
    messages = found(scenarios={"cut": text}, measured=results(row(digest=digest(text))))
    only(messages, "H9")
    other = hazard(id="H2", codes=["ESTOP"])
    assert any("H2" in each and "only one" in each for each in found(hazard(), other))


def test_a_scenario_without_results_is_a_problem():
    scenarios = SCENARIOS | {"new": TEXT}
    only(found(hazard(scenarios=["cut", "new"]), scenarios=scenarios), "new", "no results")


def test_results_older_than_their_scenario_are_a_problem():
    only(found(scenarios={"cut": TEXT + "# another bound\n"}), "cut", "changed")


def test_results_of_what_is_no_scenario_are_a_problem():
    only(found(measured=results(row(), row(name="gone/away"))), "gone")


def test_no_results_at_all_are_a_problem():
    log = HazardLog(hazard=[hazard()])
    only(problems(log, SCENARIOS, None), "no results")


@pytest.mark.parametrize(("worst", "holds"), [(5, True), (5.5, False), (6, False)])
def test_a_bound_that_is_exceeded_is_a_problem(worst, holds):
    assert (found(measured=results(row(worst_cycles=worst))) == []) == holds


def test_a_hazards_bound_holds_whatever_its_scenario_allows_itself():
    measured = results(row(bound_cycles=50, worst_cycles=6))
    only(found(measured=measured), "H1", "6 cycles", "5 cycles")
    assert found(hazard(looser={"cut/moving": "it is slower"}), measured=measured) == []
    measured = results(row(bound_cycles=50, worst_cycles=51))
    only(found(hazard(looser={"cut/moving": "it is slower"}), measured=measured), "51", "50")


def test_a_bound_in_milliseconds_is_one_in_cycles():
    assert found(hazard(bound=Bound(ms=4.0))) == []
    only(found(hazard(bound=Bound(ms=3.5))), "3.5 ms")


@pytest.mark.parametrize("what", ["undetected", "late", "failed"])
def test_a_run_that_went_wrong_is_a_problem(what):
    only(found(measured=results(row(**{what: 1}))), what)


def test_a_scenario_that_was_not_run_is_a_problem():
    only(found(measured=results(row(runs=0))), "not run")


def test_an_unknown_code_is_a_problem():
    only(found(hazard(codes=[*STOPPING, "NO_SUCH_CODE"])), "NO_SUCH_CODE")
    only(found(not_hazard={"NO_SUCH_CODE": "?"}), "NO_SUCH_CODE")


@pytest.mark.parametrize("code", STOPPING)
def test_a_code_that_stops_the_arm_and_that_nobody_claims_is_a_problem(code):
    rest = [each for each in STOPPING if each != code]
    measured = results(row(codes={}))
    only(found(hazard(codes=rest), measured=measured), code, "no hazard claims")
    assert found(hazard(codes=rest), measured=measured, not_hazard={code: "it is none"}) == []


def test_a_code_belongs_to_a_hazard_or_to_none_and_not_to_both():
    only(found(not_hazard={"ESTOP": "it is none"}), "ESTOP", "to none")


def test_a_scenario_that_ended_with_a_code_that_its_hazard_does_not_name_is_a_problem():
    only(found(measured=results(row(codes={"BUSY": 1}))), "BUSY")


def test_a_test_that_is_not_there_is_a_problem(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text("def test_this(arm):\n    pass\n")
    for name in ("tests/test_it.py", "tests/test_it.py::test_this"):
        assert found(hazard(scenarios=["cut", name]), root=tmp_path) == []
    for name in ("tests/test_other.py", "tests/test_it.py::test_that", "tests/test_it.py::test_thi"):
        only(found(hazard(scenarios=["cut", name]), root=tmp_path), name)


def test_an_id_that_is_there_twice_is_a_problem():
    assert "H1 is there twice" in found(hazard(), hazard())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[[hazard]]\nid = 5\n", "id"),
        ("nonsense", "="),
        ("", "hazard"),
        (ENTRY + "bound = {}\n", "one of"),
        (ENTRY + "bound = { cycles = 1, ms = 1.0 }\n", "one of"),
        (ENTRY + "bound = { days = 1 }\n", "days"),
        (ENTRY.replace("S0", "S9"), "S9"),
    ],
)
def test_a_file_that_is_no_log_is_a_clear_error(text, word):
    with pytest.raises(HilError, match=word):
        load_log(text)


def test_a_file_that_is_no_results_is_a_clear_error():
    with pytest.raises(HilError, match="seed"):
        load_measured("{}")


def test_results_are_kept_with_the_digest_of_their_scenarios(tmp_path):
    folder, kept, given = tmp_path / "scenarios", tmp_path / "measured.json", tmp_path / "results.json"
    folder.mkdir()
    (folder / "cut.toml").write_text(TEXT)
    data = msgspec.to_builtins(results(row(digest="")))
    given.write_text(json.dumps(data | {"more": 1}))
    hazard_log.record(given, folder, kept)
    measured = load_measured(kept.read_text())
    assert found(measured=measured) == []
    assert json.loads(kept.read_text())["more"] == 1


def test_results_of_a_scenario_that_was_changed_since_are_not_kept(tmp_path):
    folder, kept, given = tmp_path / "scenarios", tmp_path / "measured.json", tmp_path / "results.json"
    folder.mkdir()
    given.write_text(msgspec.json.encode(results(row(digest=""))).decode())
    (folder / "cut.toml").write_text(TEXT)
    os.utime(given, (1.0, 1.0))
    with pytest.raises(HilError, match="measure again"):
        hazard_log.record(given, folder, kept)
    (folder / "cut.toml").unlink()
    with pytest.raises(HilError, match="none of the scenarios"):
        hazard_log.record(given, folder, kept)
    assert not kept.exists()


def test_the_page_has_the_measured_reaction_beside_the_bound():
    text = page(HazardLog(hazard=[hazard()]), results())
    line = next(line for line in text.splitlines() if line.startswith("| H1 "))
    assert "| 5 cycles | cut/moving: **4** / 3 of 100 |" in line
    assert "seed 1" in text
    assert "not measured" in page(HazardLog(hazard=[hazard()]), None)


# --- the project's own


def own_log():
    return load_log(hazard_log.LOG.read_text(encoding="utf-8"))


def own_results():
    return load_measured(hazard_log.MEASURED.read_text(encoding="utf-8")) if hazard_log.MEASURED.exists() else None


def test_the_projects_log_has_every_hazard_it_is_there_for():
    rows = {*range(1, 20), *range(21, 30), *range(33, 36)}
    assert {hazard.id for hazard in own_log().hazard} == {f"H{number}" for number in rows}


def test_the_projects_page_is_the_generated_one():
    assert hazard_log.PAGE.read_text("utf-8") == page(own_log(), own_results()), "run python -m hil.hazard_log"


def test_the_projects_log_holds():
    assert problems(own_log(), hazard_log.read_scenarios(), own_results()) == []
