"""Random life of an arm, cycle by cycle: commands, faults and what the motor controllers say, in any order."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from controller.config import load_config
from controller.mailbox import MESSAGE, Operation
from drivers.driver import DeviceFault, Mode, Status
from tests.controller.one_cycle import OneCycle
from tests.controller.state_claims import CLAIMS, KNOWN, MOTIONS, Outcome

BRAKE_CYCLES = 2
HELD = [claim for claim in CLAIMS if claim.__name__ not in KNOWN]
numbers = st.floats(width=64)


class Device:
    """Motor controllers that follow exactly, power up when asked to and latch what is wrong."""

    def __init__(self):
        self.opening = 0
        self.powered = self.braked = self.referenced = False
        self.estop = self.pedal = False
        self.fault = DeviceFault.NONE

    def take(self, sent):
        """Carry out a command."""
        if sent["clear_fault"] and not self.estop:
            self.fault = DeviceFault.NONE
        if sent["mode"] == Mode.SET_REFERENCE:
            self.referenced = True
        wanted = sent["mode"] != Mode.OFF and not self.fault
        self.opening = self.opening + 1 if wanted else 0
        self.powered, self.braked = wanted, sent["mode"] == Mode.BRAKED

    @property
    def status(self):
        status = Status.POWERED * self.powered | Status.ESTOP * self.estop | Status.REFERENCED * self.referenced
        status |= Status.FAULT * bool(self.fault) | Status.PEDAL * self.pedal
        if self.powered and self.braked:
            return status | Status.BRAKED
        if self.powered:
            status |= Status.BRAKES_RELEASED if self.opening > BRAKE_CYCLES else Status.ENABLING
        return status


class Life(RuleBasedStateMachine):
    cycle = None
    beginning = None

    @initialize()
    def power_on(self):
        self.cycle.restore(self.beginning)
        self.device = Device()
        self.outcome = None

    def run(self, message=None, *, fresh=1, cycles=1, **feedback):
        cycle = self.cycle
        for _ in range(cycles):
            before = cycle.core.copy()
            f = cycle.records["feedback"]
            f["status"], f["fault"], f["fault_axis"] = int(self.device.status), int(self.device.fault), -1
            if cycle.sent["sequence"] and cycle.sent["mode"] == Mode.ON:
                f["position"], f["velocity"] = cycle.sent["position"], cycle.sent["velocity"]
            if cycle.sent["mode"] == Mode.SET_REFERENCE:
                f["position"] = cycle.sent["position"]
            word = f.copy()
            for name, (axis, value) in feedback.items():
                word[name][0, axis] = value
            message = np.zeros(1, MESSAGE) if message is None else message
            out = cycle.run(message, word, fresh=fresh)
            self.outcome = Outcome(before, message, word, out["core"], out["motion"], out["command"], out["sample"])
            self.device.take(cycle.sent)
            for claim in HELD:
                assert not claim(self.outcome).any(), claim.__name__
            message = None

    @rule(operation=st.sampled_from([Operation.ENABLE, Operation.HOME, Operation.RESUME]), cycles=st.integers(1, 12))
    def go_on(self, operation, cycles):
        self.run(self.cycle.plausible_message(operation), cycles=cycles)

    @rule(operation=st.sampled_from(list(Operation)), cycles=st.integers(1, 4))
    def command(self, operation, cycles):
        self.run(self.cycle.plausible_message(operation), cycles=cycles)

    @rule(operation=st.sampled_from(MOTIONS), cycles=st.integers(1, 12))
    def move(self, operation, cycles):
        self.run(self.cycle.plausible_message(operation), cycles=cycles)

    @rule(
        operation=st.integers(-2, 70),
        vector=st.lists(numbers, min_size=8, max_size=8),
        n_axes=st.integers(-1, 9),
        group=st.integers(-1, 2),
        frame=st.integers(-1, 2),
        speed=numbers,
        pose=st.lists(numbers, min_size=16, max_size=16),
    )
    def command_nonsense(self, operation, vector, n_axes, group, frame, speed, pose):
        message = self.cycle.make_message(
            operation, vector=np.array(vector), n_axes=n_axes, group=group, frame=frame, speed=speed
        )
        message["id"] = 100_000_000 + max(operation, 0)
        message["pose"][0] = np.reshape(pose, (4, 4))
        self.run(message)

    @rule(fault=st.sampled_from(list(DeviceFault)[1:]))
    def break_down(self, fault):
        self.device.fault = fault
        self.run()

    @rule(pressed=st.booleans())
    def estop(self, pressed):
        self.device.estop = pressed
        if pressed:
            self.device.fault = DeviceFault.ESTOP
        self.run()

    @rule(pressed=st.booleans())
    def pedal(self, pressed):
        self.device.pedal = pressed
        self.run()

    @rule(cycles=st.integers(1, 3))
    def lose_frames(self, cycles):
        self.run(fresh=0, cycles=cycles)

    @rule(field=st.sampled_from(["position", "velocity", "absolute"]), axis=st.integers(0, 6), value=numbers)
    def measure_nonsense(self, field, axis, value):
        with np.errstate(over="ignore"):
            self.run(**{field: (axis, value)})

    @rule(cycles=st.integers(1, 12))
    def let_time_pass(self, cycles):
        self.run(cycles=cycles)

    @invariant()
    def what_is_sent_is_finite(self):
        for name in ("position", "velocity", "effort", "kp", "kd"):
            if self.outcome is not None and self.cycle.sent["mode"] != Mode.OFF:
                assert np.isfinite(self.cycle.sent[name]).all(), name


@pytest.mark.parametrize("configuration", ["psm_emulated"])
def test_an_arm_keeps_its_claims_through_a_random_life(configuration, tmp_path):
    Life.cycle = OneCycle(load_config(configuration), tmp_path)
    Life.cycle.step(status=0)
    Life.beginning = Life.cycle.save()
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # a life of hundreds of cycles takes minutes to shrink
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
