"""Enabling proves brakes, motors, watchdog and encoders each time, and is refused by name where one of them fails."""

import msgspec
import numpy as np
import pytest

from controller.catalogue import Code
from controller.config import load_config
from controller.enable import Step
from hil.fault_catalogue import inject
from hil.stand import CommandError, Stand
from telemetry.sample import OperatingState

BRAKED_AXES = range(3)
ALL_AXES = range(7)
WRIST = (4, 5, 6)


def make_stand(seed=1, **driver):
    config = load_config("psm_emulated_strict")
    config = msgspec.structs.replace(config, driver=msgspec.structs.replace(config.driver, **driver))
    return Stand(config, seed=seed)


@pytest.fixture
def stand():
    stand = make_stand()
    yield stand
    stand.close()


def refused(stand):
    """Enable, in vain; returns the sample in which it ended."""
    with pytest.raises(CommandError):
        stand.enable()
    stand.run(30)
    sample = stand.samples[-1]
    assert sample["state"] == OperatingState.FAULT
    assert not stand.truth[-1]["power"]
    assert not stand.truth[-1]["motor_current"].any()
    return sample


def test_every_step_is_taken_in_order_every_time(stand):
    for _ in range(2):
        before = len(stand.samples)
        stand.enable()
        steps = stand.samples["enable_step"][before:]
        seen = [int(s) for s in steps[np.flatnonzero(np.diff(steps, prepend=-1))]]
        assert seen == [
            Step.CLEARING,
            Step.BRAKED_POWER,
            Step.BRAKES,
            Step.WATCHDOG,
            Step.CLEARING,
            Step.POWER,
            Step.ENCODERS,
            Step.NONE,
        ]
        assert stand.state == OperatingState.ENABLED
        stand.wait(stand.send("disable"), 3000)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_healthy_arm_passes_wherever_it_was_left(seed):
    stand = make_stand(seed)
    stand.enable()
    # All of that moves the tip by less than the arm sinks into its cables and brakes anyway.
    tips = stand.truth["tip_pose"][:, :3, 3]
    assert np.linalg.norm(tips - tips[0], axis=1).max() < 2e-3
    stand.home()
    assert stand.sample["is_homed"]
    stand.close()


def test_a_watchdog_that_is_dead_is_found_before_the_brakes_open(stand):
    inject(stand.faults, "watchdog_dead")
    sample = refused(stand)
    assert (sample["fault"], sample["enable_step"]) == (Code.WATCHDOG_UNPROVED, Step.WATCHDOG)
    assert sample["fault_value"] > sample["fault_bound"] == stand.config.driver.watchdog
    assert not stand.truth["brakes_open"].any()


@pytest.mark.parametrize("axis", BRAKED_AXES)
def test_a_brake_that_slips_is_found_and_named(stand, axis):
    inject(stand.faults, "brake_failed", axis=axis)
    sample = refused(stand)
    assert (sample["fault"], sample["fault_axis"]) == (Code.BRAKE_SLIPS, axis)
    assert sample["enable_step"] in (Step.BRAKED_POWER, Step.BRAKES)  # it may not even bear the arm's own weight
    assert sample["fault_value"] > sample["fault_bound"]


@pytest.mark.parametrize("axis", BRAKED_AXES)
def test_a_motor_without_current_is_found_and_named(stand, axis):
    inject(stand.faults, "motor_open", axis=axis)
    sample = refused(stand)
    # The motor controllers may see it first.
    assert sample["fault"] in (Code.MOTOR_TEST, Code.DEVICE_OVERCURRENT)
    assert (sample["enable_step"], sample["fault_axis"]) == (Step.BRAKES, axis)


@pytest.mark.parametrize("axis", ALL_AXES)
def test_an_encoder_that_counts_backwards_never_gets_to_enabled(stand, axis):
    inject(stand.faults, "encoder_reversed", axis=axis)
    before = stand.truth["tip_pose"][-1, :3, 3] if len(stand.truth) else None
    sample = refused(stand)
    assert sample["fault"] == Code.ENCODER_SIGN
    # The last three discs move the wrist's joints and the jaw together.
    assert sample["fault_axis"] == axis or (axis in WRIST and sample["fault_axis"] in WRIST)
    if before is not None:
        tips = stand.truth["tip_pose"][:, :3, 3]
        assert np.linalg.norm(tips - before, axis=1).max() < 5e-3


@pytest.mark.parametrize("axis", ALL_AXES)
def test_an_encoder_that_stands_still_never_gets_to_enabled(stand, axis):
    inject(stand.faults, "encoder_frozen", axis=axis)
    sample = refused(stand)
    assert sample["fault"] == Code.ENCODER_SIGN
    assert sample["fault_axis"] == axis


def test_another_instrument_than_the_configured_one_is_refused():
    stand = make_stand(tool=4711)
    sample = refused(stand)
    assert (sample["fault"], sample["enable_step"]) == (Code.TOOL_WRONG, Step.TOOL)
    assert sample["fault_bound"] == 4711
    assert not stand.truth["power"].any()
    stand.close()


def test_after_a_refusal_a_mended_arm_is_enabled(stand):
    inject(stand.faults, "brake_failed", axis=1)
    refused(stand)
    stand.faults.clear()
    stand.enable()
    assert stand.state == OperatingState.ENABLED


def test_a_key_in_a_file_is_the_drivers_and_the_boards(tmp_path):
    file = tmp_path / "key"
    file.write_text("00112233445566778899aabbccddeeff\n")
    file.chmod(0o600)
    stand = make_stand(key_file=str(file))
    stand.enable()
    assert stand.state == OperatingState.ENABLED
    stand.close()


def test_a_reading_from_before_the_silence_of_the_watchdogs_proof_counts_once():
    stand = make_stand()
    stand.enable()
    stand.home()
    stand.send("disable")
    stand.run(200)
    stand.send("enable")
    silent, smoothed = 0, None
    while stand.state != OperatingState.ENABLED:
        stand.run(1)
        now = stand._state["guard"]["sensor_smoothed"].copy()
        if stand.sample["feedback_age"] > 0 and smoothed is not None:
            silent += 1
            np.testing.assert_array_equal(now, smoothed)
        smoothed = now
    assert silent > 2
    stand.close()
