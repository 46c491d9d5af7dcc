"""A user's control laws from files outside the project, in lock-step: what they do, and that bad ones do no harm."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from controller.catalogue import CATALOGUE, Code
from controller.client import Arm
from controller.config import load_config
from controller.daemon import Daemon
from controller.errors import ArmFault, CommandRefused, DaemonError
from hil.faults import Faults
from kinematics.description import load_arm
from telemetry.ring_file import open_ring
from telemetry.sample import SAMPLE, OperatingState

PROJECT = Path(__file__).resolve().parent.parent.parent
HOME = [0.0, 0.0, 0.12, 0.0, 0.0, 0.0, 0.0]
AWAY = [0.3, -0.2, 0.15, 0.4, 0.2, -0.2, 0.1]
BOUND = 5  # cycles from a fault to zero torque

MISBEHAVING = '''
"""Each parameter switches one kind of misbehaviour on."""
from typing import NamedTuple

class Faults(NamedTuple):
    divisor: float = 1.0
    nan: float = 0.0
    loops: float = 0.0
    calls: float = 1e9
    index: float = 0.0
    raises: float = 0.0
    push: float = 0.0
    jump: float = 0.0
    race: float = 0.0
    vandal: float = 0.0

def divided(x, divisor):
    return x / divisor

def spin(loops):
    x, i = 0.0, 0.0
    while i < loops:
        x = 0.999 * x + 1.0
        i += 1.0
    return x

def misbehaving(arm, p: Faults, memory, sample, command):
    command.effort[1] += divided(0.0, p.divisor) + divided(1.0, p.divisor) - 1.0
    if p.nan > 0.0:
        command.position[2] = (p.nan - p.nan) / (p.nan - p.nan)
    if p.loops > 0.0 and memory[0] < p.calls:
        memory[0] += 1.0
        memory[1] = spin(p.loops)
    command.effort[int(p.index)] += 0.0
    if p.raises > 0.0:
        raise ValueError("on purpose")
    command.effort[0] += p.push
    command.position[0] += p.jump
    command.velocity[0] += p.race
    if p.vandal > 0.0:
        for i in range(8):
            arm[0].effort_max[i] = 1e9
            arm[0].velocity_max[i] = 0.0
            sample.measured_position[i] = 7.0
            sample.setpoint_position[i] = 7.0
        sample.state = 0
        sample.fault = 999
'''


def write_config(folder, law, *parameters, base="psm_emulated_strict", changes=()):
    """Write a configuration with a law into a folder outside the project, and load it."""
    text = (PROJECT / f"controller/configs/{base}.toml").read_text()
    table = "\n".join(("[law.parameters]", *parameters)) if parameters else ""
    text, count = re.subn(r"^\[law\].*$", f'[law]\nname = "{law}"', text, flags=re.MULTILINE)
    assert count == 1
    text = text.replace("\n[guard]", f"\n{table}\n\n[guard]")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "arm.toml"
    path.write_text(text)
    return load_config(path)


def samples_since(daemon, sequence):
    slots = open_ring(daemon.run_dir.samples, SAMPLE).slots
    return np.sort(slots[slots["sequence"] > sequence], order="sequence")


def cycles_to_zero_torque(daemon, sequence):
    """Cycles from a sample to the first moment without motor current and power."""
    t_ns = samples_since(daemon, sequence - 1)["t_ns"][0]
    slots = open_ring(daemon.run_dir.truth).slots
    truth = np.sort(slots[slots["t_ns"] >= t_ns], order="tick")
    off = (truth["motor_current"] == 0.0).all(axis=1) & (truth["power"] == 0)
    return int(np.flatnonzero(off)[0])


@pytest.fixture(scope="module")
def walled(tmp_path_factory):
    """The example's soft wall, copied to where no project is."""
    lab, run = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("run")
    for name in ("soft_wall.py", "soft_wall.toml"):
        shutil.copy(PROJECT / "examples" / name, lab)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROCAR_RUN_DIR", str(run))
        with Daemon(load_config(lab / "soft_wall.toml"), lockstep=True) as daemon:
            yield daemon


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory):
    lab, run = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("run")
    (lab / "misbehaving.py").write_text(MISBEHAVING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROCAR_RUN_DIR", str(run))
        with Daemon(write_config(lab, "misbehaving.py:misbehaving", "divisor = 1.0"), lockstep=True) as daemon:
            yield daemon


@pytest.fixture
def arm(misbehaving, monkeypatch):
    """An arm under the law while it still behaves: homed, at the same place, enabled."""
    monkeypatch.setenv("TROCAR_RUN_DIR", str(misbehaving.run_dir.path.parent))
    with Arm() as arm:
        yield from ready(arm)


def ready(arm):
    behave = dict.fromkeys(arm.law().parameters, 0.0) | {"divisor": 1.0, "calls": 1e9}
    arm.set_law_parameters(**behave)
    arm.enable()
    if not arm.operating_state().is_homed:
        arm.home().wait()
    arm.move_jp(HOME).wait()
    yield arm
    arm.set_law_parameters(**behave)


def test_a_wall_written_by_a_user_stops_the_tip_and_yields_by_its_stiffness(walled, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(walled.run_dir.path.parent))
    faults = Faults(walled.run_dir.path)
    force = 2.0  # with its own weight, less than the 80 % of its effort that count as stalled
    with Arm() as arm:
        arm.enable()
        arm.home().wait()
        height = arm.measured_cp().T[2, 3] - 0.002
        arm.set_law_parameters(height=height, stiffness=800.0)
        arm.free()
        begun = arm.measured_js().sequence
        faults.push_tip((0.0, 0.0, -force))
        arm.sleep(1.5)
        soft = height - arm.measured_cp().T[2, 3]
        arm.set_law_parameters(stiffness=3200.0)
        changed = samples_since(walled, begun)
        changed = changed[changed["command_id"] != 0]["sequence"][-1]
        arm.sleep(1.0)
        hard = height - arm.measured_cp().T[2, 3]
        samples = samples_since(walled, begun)
        faults.clear()

        # What the wall bears is the push and what the arm weighs more than its model, less what friction bears.
        assert 0.5 * force / 800.0 < soft < 2.0 * force / 800.0
        # Four times stiffer: it yields a quarter, up to the Coulomb friction (0.58 N in the plant) that bears the rest.
        assert hard < 0.45 * soft
        deepest = height - samples["measured_pose"][:, 2, 3].min()
        assert deepest < 1.5 * soft
        # The new stiffness is pushed with in the cycle that took it: before the tip has moved.
        i = int(np.searchsorted(samples["sequence"], changed))
        steps = np.diff(samples["setpoint_effort"][i - 3 : i + 2, 2])
        assert abs(steps[2]) > 10 * abs(steps[1])
        assert (samples["fault"] == 0).all()

        assert arm.law().parameters == {"height": height, "stiffness": 3200.0, "damping": 30.0}
        assert arm.law().changes == 2
        arm.hold().wait()
        assert arm.operating_state().state == OperatingState.ENABLED


def test_without_its_wall_the_tip_goes_on(walled, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(walled.run_dir.path.parent))
    faults = Faults(walled.run_dir.path)
    with Arm() as arm:
        arm.enable()
        arm.move_jp(HOME).wait()
        begun = arm.measured_cp().T[2, 3]
        arm.set_law_parameters(height=-1.0)
        arm.free()
        faults.push_tip((0.0, 0.0, -3.0))
        arm.sleep(0.5)
        assert arm.measured_cp().T[2, 3] < begun - 0.030
        # Free, but damped: it reaches a speed and keeps it.
        assert abs(arm.measured_js().velocity[2]) < 0.25
        faults.clear()
        arm.disable()


@pytest.mark.parametrize(("name", "value"), [("divisor", 0.0), ("nan", 1.0)])
def test_a_law_that_divides_by_zero_or_returns_nan_loses_its_torque_within_the_bound(misbehaving, arm, name, value):
    motion = arm.move_jp(AWAY)
    arm.sleep(0.2)
    before = arm.measured_js().sequence
    arm.set_law_parameters(**{name: value})
    with pytest.raises(ArmFault) as caught:
        motion.wait(1.0)
    assert caught.value.code == Code.COMMAND_NOT_FINITE
    assert caught.value.remedy == CATALOGUE[Code.COMMAND_NOT_FINITE].remedy
    assert arm.operating_state().state == OperatingState.FAULT
    arm.sleep(0.02)
    samples = samples_since(misbehaving, before)
    taken = samples[samples["command_id"] != 0]["sequence"][0]
    faulted = samples[samples["event"] == Code.COMMAND_NOT_FINITE]["sequence"]
    assert list(faulted) == [taken]  # in the very cycle whose law gave it
    assert cycles_to_zero_torque(misbehaving, int(taken)) <= BOUND
    for field in ("setpoint_position", "setpoint_effort", "actuator_effort", "setpoint_pose"):
        assert np.isfinite(samples[field]).all()


STOPPED = [
    # parameters, code, calls of the law until it is seen
    ({"loops": 2e6}, Code.LAW_TOO_SLOW, 1),  # several milliseconds, more than a period: at once
    ({"raises": 1.0}, Code.LAW_RAISED, 1),
    ({"index": 8.0}, Code.LAW_RAISED, 1),
    ({"jump": 0.05}, Code.SETPOINT_STEP, 1),
    ({"race": 5.0}, Code.VELOCITY_LIMIT, 1),
]


def test_a_law_that_asks_for_any_effort_gets_no_more_than_the_limit_and_not_for_long(misbehaving, arm):
    motion = arm.move_jp(AWAY)
    arm.sleep(0.3)
    before = arm.measured_js().sequence
    arm.set_law_parameters(push=100.0)
    with pytest.raises(ArmFault) as caught:
        motion.wait(2.0)
    # The joint leaves its set-point before the effort has been at its limit for 50 cycles.
    assert caught.value.code in (Code.EFFORT_LIMIT, Code.MOTION_RESIDUAL)
    arm.sleep(0.02)
    samples = samples_since(misbehaving, before)
    taken = samples[samples["command_id"] != 0]["sequence"][0]
    assert samples[samples["event"] == caught.value.code]["sequence"][0] < taken + 50
    limits = load_arm("psm_classic").record[0]["effort_max"]
    assert (np.abs(samples["setpoint_effort"]) <= limits + 1e-12).all()


@pytest.mark.parametrize(("parameters", "code", "calls"), STOPPED, ids=[str(code.name) for _, code, _ in STOPPED])
def test_joint_pd_brings_an_arm_to_rest_whose_law_misbehaves(misbehaving, arm, parameters, code, calls):
    motion = arm.move_jp(AWAY)
    arm.sleep(0.3)
    before = arm.measured_js().sequence
    arm.set_law_parameters(**parameters)
    with pytest.raises(ArmFault) as caught:
        motion.wait(2.0)
    assert caught.value.code == code
    assert caught.value.remedy == CATALOGUE[code].remedy
    arm.wait_state(OperatingState.FAULT, timeout=2.0)
    arm.sleep(0.02)

    samples = samples_since(misbehaving, before)
    taken = samples[samples["command_id"] != 0]["sequence"][0]
    faulted = samples[samples["event"] == code]["sequence"]
    assert list(faulted) == [taken + calls - 1]
    stop = samples[(samples["sequence"] >= faulted[0]) & (samples["state"] == OperatingState.ENABLED)]
    speed = np.abs(stop["setpoint_velocity"])
    velocity_max = np.array([axis.velocity_max for axis in arm.configuration_js()])
    assert (speed[:, :7] <= velocity_max * (1 + 1e-9)).all()
    assert speed[-1].max() < 1e-3  # at rest before the power goes
    # From the next cycle on the effort is joint PD's alone: what the model asks at the set-point.
    effort_max = np.array([axis.effort_max for axis in arm.configuration_js()])
    assert (np.abs(stop["setpoint_effort"][1:, :7]) < 0.6 * effort_max).all()
    assert len(stop) <= 1000
    assert cycles_to_zero_torque(misbehaving, int(stop["sequence"][-1]) + 1) <= BOUND


def test_a_few_slow_calls_are_forgiven(arm):
    arm.set_law_parameters(loops=2e5, calls=2.0)
    arm.move_jp(AWAY).wait(3.0)
    assert arm.operating_state().fault == Code.OK


def test_a_law_cannot_touch_what_is_recorded_nor_what_limits_it(misbehaving, arm):
    before = arm.measured_js().sequence
    arm.set_law_parameters(vandal=1.0)
    arm.move_jp(AWAY).wait(3.0)
    samples = samples_since(misbehaving, before)
    assert (np.abs(samples["measured_position"][:, :3]) < 1.0).all()
    assert (samples["state"] == OperatingState.ENABLED).all()
    assert (samples["fault"] == 0).all()
    np.testing.assert_allclose(arm.measured_js().position[:3], AWAY[:3], atol=2e-3)


def test_after_a_fault_of_the_law_the_arm_is_enabled_again_once_its_parameters_are_right(arm):
    arm.set_law_parameters(divisor=0.0)
    arm.wait_state(OperatingState.FAULT, timeout=1.0)
    arm.set_law_parameters(divisor=2.0)
    arm.enable()
    arm.move_jp(AWAY).wait(3.0)
    assert arm.operating_state() == (OperatingState.ENABLED, True, False, Code.OK)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"divsor": 2.0}, ["'divsor'", "divisor"]),
        ({"divisor": float("nan")}, ["divisor", "nan", "finite"]),
        ({"divisor": [1.0, 2.0]}, ["divisor", "one number"]),
        ({"nan": 1.0, "raises": float("inf")}, ["raises", "inf"]),
    ],
)
def test_wrong_parameters_are_refused_and_none_of_the_call_takes_effect(arm, values, words):
    before = arm.law()
    with pytest.raises(CommandRefused) as refused:
        arm.set_law_parameters(**values)
    assert refused.value.code == Code.BAD_LAW_PARAMETER
    for word in words:
        assert word in str(refused.value)
    assert arm.law().parameters == before.parameters
    assert arm.law().changes == before.changes


REFUSED = {
    "does_not_compile": (
        "def law(arm, p, memory, sample, command):\n    total = 0.0\n    command.effort[0] = gain * total\n",
        ["line 3", "'gain' is not defined", "command.effort[0] = gain * total"],
    ),
    "never_returns": (
        "def law(arm, p, memory, sample, command):\n    while memory[1] < 1.0:\n        memory[0] += 1.0\n",
        ["does not return", "loop without an end"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_law_that_cannot_be_used_is_refused_before_any_motor_has_power(case, tmp_path, monkeypatch):
    source, words = REFUSED[case]
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "mine.py").write_text(source)
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path / "run"))
    daemon = Daemon(write_config(lab, "mine.py:law"), lockstep=True)
    with pytest.raises(DaemonError) as caught, daemon:
        pass
    message = str(caught.value)
    for word in [str(lab / "mine.py"), *words]:
        assert word in message
    assert len(message) < 900
    assert not daemon.run_dir.samples.exists()


def test_a_law_that_stops_returning_while_it_runs_is_named_and_its_core_ended(tmp_path, monkeypatch):
    (tmp_path / "hang.py").write_text(
        "def hang(arm, p, memory, sample, command):\n"
        "    while sample.setpoint_position[0] > 0.05:\n"
        "        memory[0] += 1.0\n"
    )
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr("controller.daemon.STALLED", 0.5)
    with Daemon(write_config(tmp_path, "hang.py:hang"), lockstep=True) as daemon:
        with Arm() as arm:
            arm.enable()
            arm.home().wait()
            with pytest.raises(ConnectionError):
                arm.move_jp(AWAY).wait()
        assert daemon.wait(20.0)
        assert "CORE_STALLED" in daemon.failure
        assert f"inside the control law '{tmp_path}/hang.py:hang'" in daemon.failure
