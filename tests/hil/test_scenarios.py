"""Scenario files are checked, judged on the truth, and every one that is shipped ends as it must."""

import json
import xml.etree.ElementTree as ElementTree

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from controller.config import VolumeConfig, load_config
from drivers.driver import DriverError
from hil.cli import app
from hil.fault_catalogue import fault_names
from hil.fault_record import Fault
from hil.forked import ChildError, Forked, in_child
from hil.scenario import ScenarioError, parse_scenarios, shipped_scenarios
from hil.scenario_judge import Evidence, RunResult, judge, outside
from hil.scenario_report import make_junit, summary
from hil.scenario_run import ScenarioResult, prepare_stand, run_once, run_scenarios
from hil.soak import soak
from hil.truth import TRUTH
from telemetry.sample import SAMPLE, OperatingState

PHASES = 3
SHIPPED = shipped_scenarios()

WHOLE = """
title = "The serial line is cut"
hazards = ["H1"]
[fault]
name = "wire_cut"
[expect]
reaction = "torque_off"
codes = ["FEEDBACK_LOST"]
bound = 5
"""


def parse(text):
    return parse_scenarios(text, "one", "one.toml")


@pytest.fixture(scope="module")
def results():
    """Every shipped scenario, at a few phases."""
    return {result.scenario.name: result for result in run_scenarios(SHIPPED, phases=PHASES, seed=1, jobs=2)}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [scenario.name for scenario in SHIPPED])
def test_each_shipped_scenario_ends_as_it_must(results, name):
    result = results[name]
    assert result.is_good, [(run.index, run.verdict, run.detail) for run in result.runs if run.verdict != "ok"]


def test_a_run_by_itself_is_the_same_as_among_others(results):
    name = "serial_cut/both"
    alone, trace = run_once(results[name].scenario, 1, 2)
    assert alone == results[name].runs[2]
    assert (trace.truth["faults"][-1] & 2) != 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("[motion]\nkind = 'dance'\n", r"one.toml: motion.kind = 'dance'; allowed: .*"),
        ("[motion]\nsped = 1.0\n", r"one.toml: motion.sped is no key of a scenario; allowed here: kind, duration"),
        ("[when]\nafter = 3.0\n", r"one.toml: when = 3 .. 1 s; allowed: a span within the motion's 1 s"),
        ("[host]\nkind = 'dead'\n", r"one.toml: fault, client and host are given together"),
        ("[setup]\nconfig = 'nowhere'\n", r"one.toml: setup: no configuration 'nowhere'"),
        ("[setup.overrides.cycle]\nperiod = 7.0\n", r"one.toml: setup: .*cycle.period"),
        ("[[variant]]\nname = 'a'\n[[variant]]\nname = 'a'\n", r"variant.name = 'a' is given twice"),
        ("[[variant]]\nname = 'A b'\n", r"variant\[0\].name = 'A b'; allowed: small letters"),
    ],
)
def test_a_wrong_key_is_named_with_what_is_allowed(change, complaint):
    with pytest.raises(ScenarioError, match=complaint):
        parse(WHOLE + change)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("wire_cut", "wire_bitten", "fault.name = 'wire_bitten'; allowed: .*wire_cut"),
        ("FEEDBACK_LOST", "LOST_IT", "expect.codes has 'LOST_IT'"),
        ("bound = 5", "", "expect.bound is missing"),
        ("bound = 5", "bound = 0", "expect.bound = 0"),
        ('codes = ["FEEDBACK_LOST"]', "", "expect.codes is missing"),
        ('hazards = ["H1"]', 'hazards = ["one"]', r"hazards\[...\]|hazards"),
        ('title = "The serial line is cut"', "", "title is missing"),
        ("[expect]", "[expect", "is no valid TOML"),
    ],
)
def test_a_wrong_value_is_named(old, new, complaint):
    with pytest.raises(ScenarioError, match=complaint):
        parse(WHOLE.replace(old, new))


def test_a_parameter_that_a_fault_does_not_take_is_named():
    scenario = parse(WHOLE.replace('name = "wire_cut"', 'name = "wire_cut"\nstrength = 3'))
    with pytest.raises(ScenarioError, match=r"fault\.strength is no parameter of wire_cut; allowed: direction"):
        run_scenarios(scenario, phases=1)


def test_a_fault_that_the_rig_cannot_inject_is_an_error(monkeypatch):
    monkeypatch.setattr("hil.rig.ALL_FAULTS", sum(Fault) & ~Fault.WIRE_CUT)
    with pytest.raises(ScenarioError, match="'wire_cut' is none that this rig can inject"):
        run_scenarios(parse(WHOLE), phases=1)


def test_variants_lie_over_the_rest_of_the_file():
    one, two = parse(WHOLE + '[[variant]]\nname = "a"\n[[variant]]\nname = "b"\nexpect = { bound = 9 }\n')
    assert (one.name, one.expect.bound, one.expect.codes) == ("one/a", 5, ["FEEDBACK_LOST"])
    assert (two.name, two.expect.bound, two.expect.codes) == ("one/b", 9, ["FEEDBACK_LOST"])


def test_a_variant_with_another_fault_takes_none_of_the_first_ones_parameters():
    text = WHOLE.replace('name = "wire_cut"', 'name = "wire_cut"\ndirection = "both"')
    (one,) = parse(text + '[[variant]]\nname = "a"\nfault = { name = "estop" }\n')
    assert one.fault.parameters == {}


# --- judging

PERIOD_US = 1000.0


def evidence(*, off_at=None, code=0, code_at=None, state=OperatingState.ENABLED, applied_us=50_250.0, n=200):
    """Samples and truth of a run in which a fault begins in the period 50 and the power goes off at a time."""
    samples, truth = np.zeros(n, SAMPLE), np.zeros(n, TRUTH)
    samples["t_ns"] = truth["t_ns"] = np.arange(1, n + 1) * 1_000_000
    samples["state"], truth["power"], truth["motor_current"] = OperatingState.ENABLED, 1, 0.3
    if off_at is not None:
        off = truth["t_ns"] * 1e-3 > off_at
        truth["power"][off] = 0
        truth["motor_current"][off] = 0.0
    if code_at is not None:
        samples["event"][code_at], samples["fault"][code_at:] = code, code
        samples["state"][code_at:] = state
    return Evidence(samples, truth, applied_us, -1.0 if off_at is None else off_at, 0.0, -1, None)


def verdict(text=WHOLE, **given):
    (scenario,) = parse(text)
    result = RunResult(index=0, phase=0.0, parameters={}, verdict="error")
    return judge(scenario, load_config("psm_emulated_strict"), np.ones(7), evidence(**given), result)


FAULTED = {"code": 107, "code_at": 54, "state": OperatingState.FAULT}


def test_time_to_zero_torque_counts_in_periods_rounded_up():
    assert verdict(off_at=54_250.0, **FAULTED).reaction_cycles == 4
    assert verdict(off_at=54_500.0, **FAULTED).reaction_cycles == 5
    assert verdict(off_at=50_250.0, **FAULTED).reaction_cycles == 1


def test_torque_that_goes_after_the_bound_is_late():
    assert verdict(off_at=55_250.0, **FAULTED).verdict == "ok"
    assert verdict(off_at=55_500.0, **FAULTED).verdict == "late"


def test_what_the_controller_says_is_no_evidence_of_torque():
    assert verdict(off_at=None, **FAULTED).verdict == "undetected"


def test_torque_that_comes_back_is_undetected():
    given = evidence(off_at=54_000.0, **FAULTED)
    given.truth["power"][-1] = 1
    (scenario,) = parse(WHOLE)
    result = RunResult(index=0, phase=0.0, parameters={}, verdict="error")
    assert judge(scenario, load_config("psm_emulated_strict"), np.ones(7), given, result).verdict == "undetected"


def test_another_code_than_expected_is_a_wrong_code():
    assert verdict(off_at=54_000.0, code=100, code_at=54, state=OperatingState.FAULT).verdict == "wrong_code"


def test_a_stop_that_is_not_latched_is_a_wrong_state():
    assert verdict(off_at=54_000.0, code=107, code_at=54, state=OperatingState.DISABLED).verdict == "wrong_state"


CALM = WHOLE.replace('"torque_off"', '"none"').replace("bound = 5", "").replace('codes = ["FEEDBACK_LOST"]', "")


def test_an_event_where_nothing_may_happen_is_a_false_stop():
    assert verdict(CALM).verdict == "ok"
    assert verdict(CALM, code=107, code_at=60).verdict == "false_stop"
    assert verdict(CALM, off_at=54_000.0, **FAULTED).verdict == "false_stop"


HOLD = WHOLE.replace('"torque_off"', '"hold"\ncomplete_within = 50').replace("FEEDBACK_LOST", "STREAM_STALE")


def test_a_hold_must_come_to_rest_in_time_and_keep_its_power():
    held = {"code": 118, "code_at": 54, "state": OperatingState.PAUSED}
    (scenario,) = parse(HOLD)

    def judged(moving_until, power=1):
        given = evidence(**held)
        given.truth["joint_velocity"][:moving_until, 0] = 0.5
        given.truth["power"][-1] = power
        result = RunResult(index=0, phase=0.0, parameters={}, verdict="error")
        return judge(scenario, load_config("psm_emulated_strict"), np.ones(7), given, result).verdict

    assert judged(90) == "ok"
    assert judged(130) == "late"
    assert judged(200) == "undetected"
    assert judged(90, power=0) != "ok"


def test_tip_travel_is_limited():
    text = WHOLE + "limits = { travel_mm = 1.0 }\n"
    (scenario,) = parse(text)
    given = evidence(off_at=54_000.0, **FAULTED)
    given.truth["tip_pose"][:, 0, 3] = np.arange(200) * 0.5e-3
    result = RunResult(index=0, phase=0.0, parameters={}, verdict="error")
    judge(scenario, load_config("psm_emulated_strict"), np.ones(7), given, result)
    assert (result.verdict, round(result.travel_mm, 3)) == ("limit", 2.0)


@pytest.mark.parametrize(
    ("volume", "inside", "beyond"),
    [
        (VolumeConfig(shape="half_space", center=(0, 0, -0.1), direction=(0, 0, 2.0)), (0, 0, 0.0), (0, 0, -0.103)),
        (VolumeConfig(shape="sphere", center=(0, 0, 0), radius=0.1), (0.05, 0, 0), (0, 0.103, 0)),
        (VolumeConfig(shape="sphere", keep="outside", center=(0, 0, 0), radius=0.1), (0.2, 0, 0), (0, 0.097, 0)),
        (VolumeConfig(shape="box", center=(0, 0, 0), half_size=(0.1, 0.2, 0.3)), (0.09, 0, 0), (0.103, 0, 0)),
        (VolumeConfig(shape="cylinder", center=(0, 0, 0), radius=0.1), (0, 0.05, 7.0), (0.103, 0, 5.0)),
    ],
)
def test_how_far_the_tip_is_beyond_a_wall(volume, inside, beyond):
    assert outside(volume, np.array([inside], float))[0] < 0.0
    assert outside(volume, np.array([beyond], float))[0] == pytest.approx(0.003)


# --- forks


def test_work_in_a_child_changes_nothing_here():
    box = [1]
    assert in_child(lambda: (box.append(2), box)[1]) == [1, 2]
    assert box == [1]


def test_a_child_that_raises_or_dies_is_an_error():
    with pytest.raises(ChildError, match="ZeroDivisionError"):
        in_child(lambda: 1 // 0)
    import os
    import signal

    with pytest.raises(ChildError, match="SIGKILL"):
        Forked(lambda: os.kill(os.getpid(), signal.SIGKILL)).answer()


# --- reports and commands


def test_the_summary_and_junit_tell_of_every_run(results):
    chosen = [results["serial_cut/both"], results["host_killed/moving"]]
    data = summary(chosen, phases=PHASES, seed=1, seconds=1.0)
    assert (data["runs"], data["undetected"], data["late"]) == (2 * PHASES, 0, 0)
    row = data["scenarios"][0]
    assert (row["name"], row["hazards"], row["bound_cycles"]) == ("serial_cut/both", ["H1"], 5)
    assert row["median_cycles"] <= row["worst_cycles"] <= 5
    assert row["codes"] == {"FEEDBACK_LOST": PHASES}
    json.dumps(data)
    root = ElementTree.fromstring(make_junit(chosen, seed=1, seconds=1.0))
    assert root.attrib["tests"] == "2"
    assert root.attrib["failures"] == "0"
    assert len(root.findall(".//testcase")) == 2


def test_a_failed_run_is_a_failure_in_junit(results):
    good = results["serial_cut/both"]
    bad = msgspec.structs.replace(good.runs[1], verdict="late", detail="6 ms; allowed: 5 ms")
    result = ScenarioResult(scenario=good.scenario, bound_cycles=5, runs=[good.runs[0], bad])
    assert not result.is_good
    failure = ElementTree.fromstring(make_junit([result], seed=1, seconds=1.0)).find(".//failure")
    assert "1 late" in failure.attrib["message"]
    assert "run 1" in failure.text


def invoke(*words):
    return CliRunner().invoke(app, list(words))


def test_the_command_runs_scenarios_and_writes_its_reports(tmp_path):
    html, junit = tmp_path / "r.html", tmp_path / "r.xml"
    done = invoke(
        "run", "serial_cut/both", "--phases", "2", "--jobs", "1", "--json", "--html", str(html), "--junit", str(junit)
    )
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert (data["runs"], data["scenarios"][0]["worst_cycles"] <= 5) == (2, True)
    text = html.read_text()
    assert text.count("<svg") >= 5
    assert "http" not in text
    assert ElementTree.parse(junit).getroot().attrib["tests"] == "1"


def test_a_scenario_that_fails_is_told_and_gives_exit_code_1(tmp_path):
    path = tmp_path / "hasty.toml"
    path.write_text(WHOLE.replace("bound = 5", "bound = 1"))
    done = invoke("run", str(path), "--phases", "2", "--jobs", "1", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["late"] == 2


@pytest.mark.parametrize("words", [("run", "nonsense"), ("inject",), ("run", "nowhere.toml")])
def test_what_is_not_there_gives_exit_code_2(words):
    assert invoke(*words).exit_code == 2


def test_the_command_lists_faults_and_scenarios():
    listed = json.loads(invoke("faults", "--json").stdout)
    assert set(listed) == set(fault_names())
    names = invoke("run", "--list").stdout
    assert all(scenario.name in names for scenario in SHIPPED)


def test_a_soak_counts_hours_and_stops():
    result = soak(0.001, seed=3, jobs=1)
    assert result.hours >= 0.001
    assert result.motions > 0
    assert result.stops == []


def test_a_set_up_that_fails_says_so():
    (scenario,) = parse(WHOLE + '[setup]\nbefore = ["estop"]\n')
    with pytest.raises((ScenarioError, DriverError), match="ESTOP_PRESSED"):
        prepare_stand(scenario, 1)
