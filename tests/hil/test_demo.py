"""The demo keeps its promises, and keeps them the same every time."""

import pytest

from hil.demo import DemoResult, as_json, run_demo


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[DemoResult]:
    results = []
    with pytest.MonkeyPatch.context() as patch:
        for number in range(2):
            base = tmp_path_factory.mktemp(f"demo{number}")
            patch.setenv("TROCAR_RUN_DIR", str(base))
            results.append(
                run_demo(lockstep=True, seed=7, recording=base / "demo.mcap", tell=lambda _: None, show=lambda *_: None)
            )
    return results


def test_the_true_tip_keeps_to_its_path(runs):
    report = runs[0].report
    assert report.path_error_rms_mm <= 0.15
    assert report.path_error_max_mm <= 0.5
    assert set(report.path_errors) == {"square", "circle"}


def test_the_shaft_stays_at_the_remote_centre_of_an_imperfect_arm(runs):
    assert 0.001 < runs[0].report.rcm_deviation_max_mm <= 0.3


def test_every_cycle_is_recorded_and_every_sample_received(runs):
    for run in runs:
        assert run.report.samples_recorded == run.report.cycles
        assert run.telemetry["received"] == run.telemetry["sent"] > 0
        assert run.telemetry["lost"] == 0


def test_the_estop_is_shown_with_cause_and_remedy(runs):
    (fault,) = runs[0].faults
    assert fault["name"] == "ESTOP"
    assert fault["cause"]
    assert fault["remedy"]


def test_two_runs_of_one_seed_are_the_same_to_the_bit(runs):
    first, second = (as_json(run, lockstep=True) for run in runs)
    for measured in ("speedup", "first_cycle_s"):
        first.pop(measured), second.pop(measured)
    assert first == second
