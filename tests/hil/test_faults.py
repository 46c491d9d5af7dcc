"""Injecting faults: each reaches the rig at its time, and what cannot be injected is an error."""

import numpy as np
import pytest

from hil.faults import COUNTS, FAULTS, Fault, FaultError, Faults


@pytest.fixture
def record():
    record = np.zeros(1, FAULTS)
    record["supported"], record["n_axes"] = sum(Fault), 7
    return record


def test_a_rig_that_is_not_there_takes_no_faults(tmp_path):
    with pytest.raises(FaultError, match=r"\[rig\]"):
        Faults(tmp_path)


def test_a_fault_that_the_rig_cannot_inject_is_refused(record):
    record["supported"] = int(Fault.ESTOP)
    faults = Faults(record)
    faults.press_estop()
    with pytest.raises(FaultError, match="WIRE_CUT"):
        faults.cut_wire()
    assert faults.active == Fault.ESTOP


@pytest.mark.parametrize(
    "ask",
    [
        lambda f: f.freeze_encoder(7),
        lambda f: f.freeze_encoder(-1),
        lambda f: f.flip_bits(1.5),
        lambda f: f.flip_bits(float("nan")),
        lambda f: f.drop_frames(-0.1),
        lambda f: f.delay_replies(2.0),
        lambda f: f.force_motor(0, float("inf")),
        lambda f: f.offset_absolute(0, float("nan")),
        lambda f: f.jump_encoder(0, 2**40),
        lambda f: f.push_tip((1.0, 2.0)),
        lambda f: f.push_tip((100.0, 0.0, 0.0)),
        lambda f: f.press_estop(at=-1.0),
    ],
)
def test_a_fault_out_of_its_range_is_refused_and_changes_nothing(ask, record):
    faults = Faults(record)
    before = record.tobytes()
    with pytest.raises(FaultError):
        ask(faults)
    assert record.tobytes() == before


def test_every_fault_shows_its_bit_and_clear_takes_them_all(record):
    faults = Faults(record)
    faults.press_estop()
    faults.cut_wire()
    faults.flip_bits(1e-3)
    faults.drop_bytes(1e-3)
    faults.drop_frames(1e-3)
    faults.duplicate_frames(1e-3)
    faults.delay_replies(0.002)
    faults.freeze_encoder(1)
    faults.reverse_encoder(2)
    faults.jump_encoder(3, 100)
    faults.offset_absolute(0, 0.1)
    faults.force_motor(0, 1.0)
    faults.open_motor(4)
    faults.jam_axis(5)
    faults.fail_brake(2)
    faults.push_tip((0.0, 0.0, 1.0))
    assert faults.active == sum(Fault)
    faults.clear()
    assert faults.active == 0
    assert record["supported"][0] == sum(Fault)


def test_masks_hold_several_axes_and_let_go_of_one(record):
    faults = Faults(record)
    faults.freeze_encoder(1)
    faults.freeze_encoder(4)
    assert record["encoder_frozen"][0] == 0b10010
    faults.freeze_encoder(1, on=False)
    assert record["encoder_frozen"][0] == 0b10000
    faults.force_motor(3, 0.5)
    faults.release_motor(3)
    assert not faults.active & Fault.MOTOR_FORCED


def test_a_fault_begins_in_the_substep_it_was_asked_for(make_host):
    host = make_host()
    base = host.truth["firmware_time_us"]
    for substep in range(4):
        at = base + (substep * 5 + 3) * 1000 + substep * 250
        host.faults.push_tip((0.0, 0.0, 0.1 * (substep + 1)), at=at * 1e-6)
        while host.faults.applied is None:
            host.silent()
        assert round(host.faults.applied * 1e6) == at


def test_faults_are_live_from_another_mapping_of_the_run_directory(make_host):
    host = make_host()
    other = Faults(host.rig.ring.path.parent)
    other.press_estop()
    (truth,) = host.silent()
    assert truth["estop_open"] == 1
    assert Fault(int(truth["faults"])) == Fault.ESTOP
    other.release_estop()
    (truth,) = host.silent()
    assert truth["estop_open"] == 0
    assert set(other.counts()) == set(COUNTS)
