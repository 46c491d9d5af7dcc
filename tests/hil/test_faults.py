"""Injecting faults: each reaches the rig at its time, and what cannot be injected is an error."""

from pathlib import Path

import numpy as np
import pytest

import hil
from hil.fault_catalogue import CATALOGUE, clear, fault_names, inject, table
from hil.fault_record import COUNTS, FIELDS, INJECTED
from hil.faults import FAULTS, Fault, FaultError, Faults


@pytest.fixture
def record():
    record = np.zeros(1, FAULTS)
    record["supported"], record["n_axes"] = sum(Fault), 7
    record["braked"] = 0b111
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


EXAMPLES = {  # a right value of every parameter that has no default
    "axis": 1, "channel": "0", "identity": 7, "rate": 0.001, "delay": 0.002, "periods": 3, "field": "effort",
    "value": 1, "offset": 4, "mask": 255, "counts": 100, "rms": 2.0, "part": 0.5, "bit": 3, "current": 1.0,
    "shows": "zero", "factor": 0.5, "force": (0.0, 0.0, 1.0), "point": (0.0, 0.0, -0.1), "normal": (0.0, 0.0, 1.0),
    "duration": 0.01,
}  # fmt: skip


def example(name):
    return {key: EXAMPLES[key] for key, each in CATALOGUE[name].parameters.items() if each.is_required}


def test_every_fault_is_in_the_catalogue_by_its_bits_name():
    assert sorted(fault_names()) == sorted(fault.name.lower() for fault in Fault)
    assert set(FIELDS) == set(Fault)
    assert all(CATALOGUE[name].fault == Fault[name.upper()] for name in fault_names())


@pytest.mark.parametrize("name", fault_names())
def test_every_fault_is_injected_by_name_shows_its_bit_and_is_cleared(name, record):
    faults = Faults(record)
    before = record.copy()
    inject(faults, name, **example(name))
    assert faults.active == CATALOGUE[name].fault
    for other in ("axis_jammed", "estop"):
        inject(faults, other, **example(other))
    clear(faults, name)
    assert faults.active == (Fault.AXIS_JAMMED | Fault.ESTOP) & ~CATALOGUE[name].fault
    clear(faults)
    for field in INJECTED:
        np.testing.assert_array_equal(record[field], before[field])


@pytest.mark.parametrize("name", fault_names())
def test_a_command_lines_words_inject_the_same_as_values(name, record):
    words = {key: str(value).strip("()") for key, value in example(name).items()}
    inject(Faults(record), name, **words)
    other = np.zeros_like(record)
    other["supported"], other["n_axes"], other["braked"] = sum(Fault), 7, 0b111
    inject(Faults(other), name, **example(name))
    assert record.tobytes() == other.tobytes()


OUTSIDE = [
    (name, key, value)
    for name in fault_names()
    for key, each in CATALOGUE[name].parameters.items()
    for value in {
        "int": [each.low - 1, each.high + 1, 1.5, "x", True],
        "float": [each.low * 1.01 - 1, each.high * 1.01 + 1, float("nan"), "x"],
        "bool": [2, "x"],
        "choice": ["x", 7, True],
        "vector": [(each.high * 1.01, 0.0, 0.0), (0.0, 0.0), (0.0, float("nan"), 0.0), "x"],
    }[each.kind]
]


@pytest.mark.parametrize(("name", "key", "value"), OUTSIDE)
def test_every_parameter_out_of_its_range_is_refused_by_name_and_changes_nothing(name, key, value, record):
    before = record.tobytes()
    with pytest.raises(FaultError, match=f"{name}: {key} = .*allowed is "):
        inject(Faults(record), name, **{**example(name), key: value})
    assert record.tobytes() == before


def test_what_the_catalogue_does_not_know_is_refused_with_what_it_knows(record):
    faults = Faults(record)
    with pytest.raises(FaultError, match=r"no fault is called 'warp'.*encoder_frozen"):
        inject(faults, "warp")
    with pytest.raises(FaultError, match="no fault is called 'warp'"):
        clear(faults, "warp")
    with pytest.raises(FaultError, match="takes no parameter 'speed': it takes axis, on"):
        inject(faults, "encoder_frozen", axis=1, speed=2)
    with pytest.raises(FaultError, match="takes no parameter 'axis': it takes none"):
        inject(faults, "estop", axis=1)
    with pytest.raises(FaultError, match=r"needs counts .*whole number"):
        inject(faults, "encoder_jumped", axis=1)
    assert faults.active == 0


def test_documentation_shows_the_catalogue():
    text = (Path(hil.__file__).parent.parent / "docs" / "emulated_arm.md").read_text()
    assert table() in text


def test_brakes_of_axes_that_have_none_cannot_fail(record):
    faults = Faults(record)
    for name in ("brake_failed", "brake_stuck", "brake_slips"):
        with pytest.raises(FaultError, match=r"axis 3.*brakes on \[0, 1, 2\]"):
            inject(faults, name, **{**example(name), "axis": 3})


def test_faults_injected_together_are_one_set(record):
    faults = Faults(record)
    faults.jam_axis(1)
    version = int(record["version"][0])
    with faults.together(at=0.5):
        faults.freeze_encoder(0)
        faults.freeze_encoder(2)
        faults.end(Fault.AXIS_JAMMED)
        faults.stall_servo(0.01)
        assert faults.active == Fault.AXIS_JAMMED  # nothing has changed yet
    assert record["version"][0] == version + 2
    assert record["begin_us"][0] == 500_000
    assert record["encoder_frozen"][0] == 0b101
    assert faults.active == Fault.ENCODER_FROZEN | Fault.SERVO_STALLED
    assert record["servo_stall"][0] == record["version"][0]


def test_a_refused_fault_in_a_set_leaves_the_whole_set_out(record):
    faults = Faults(record)
    before = record.tobytes()
    with pytest.raises(FaultError), faults.together():
        faults.freeze_encoder(0)
        faults.freeze_encoder(9)
    with pytest.raises(FaultError, match="together"), faults.together():
        faults.freeze_encoder(0, at=1.0)
    with pytest.raises(FaultError, match="another"), faults.together(), faults.together():
        pass
    assert record.tobytes() == before
    faults.freeze_encoder(1)
    assert faults.active == Fault.ENCODER_FROZEN


def test_events_have_a_number_of_their_own_each_time(record):
    faults = Faults(record)
    numbers = set()
    for _ in range(3):
        faults.restart_controller()
        numbers.add(int(record["restart"][0]))
        faults.clear()
        assert record["restart"][0] == 0
    assert len(numbers) == 3


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
