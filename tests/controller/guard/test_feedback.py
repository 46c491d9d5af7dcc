"""Encoders that jump, joints that are too fast, sensors that disagree: none of it is used for the present."""

import itertools

import numpy as np
import pytest

from controller.catalogue import Code
from drivers.driver import Status
from telemetry.sample import MAX_AXES
from tests.controller.guard.cases import N, new_feedback, new_guard, told, vector

# What the guard promises, in numbers of its own.
LAG_MAX = 24
OVERSPEED_MARGIN = 1.5
SENSOR_SMOOTHING = 0.2
SUSPECT_CYCLES = 100

MS = 1_000_000  # ns
BOUND = 1.5 * 2.0 * 0.001 + 1e-5


class Device:
    """Feeds one reading a cycle to `check_encoders`."""

    def __init__(self, checks, **fields):
        self.checks, self.guard = checks, new_guard(**fields)
        self.t_ns, self.echo = 0, 0
        self.feed(0.0)

    def feed(self, position, *, cycles=1, age=0, echo=None, velocity=0.0, axis=0, **fields):
        self.t_ns += cycles * MS
        self.echo += cycles
        self.guard[0].cycle += 1
        self.guard[0].feedback_age = age
        echo = self.echo if echo is None else echo
        self.feedback = new_feedback(t_device_ns=self.t_ns, echo=echo, velocity=velocity, **fields)
        self.feedback[0].position[axis] = position
        return self.checks.check_encoders(self.guard, self.feedback)

    @property
    def position(self):
        return self.feedback[0].position[0]


@pytest.fixture
def device(checks):
    return Device(checks)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_step_within_the_actuators_speed_passes(device, sign):
    assert device.feed(sign * BOUND * 0.999) == Code.OK
    assert device.position == sign * BOUND * 0.999
    assert device.guard[0].discarded == 0


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_first_jump_is_discarded_and_predicted(device, sign):
    device.feed(0.001, velocity=0.5)
    assert device.feed(0.0015 + sign * (BOUND + 0.0006), velocity=99.0) == Code.OK
    assert device.position == pytest.approx(0.0015)
    assert (device.feedback[0].velocity[:N] == 0.5).all()
    assert device.guard[0].discarded == 1
    assert device.feed(0.002, velocity=0.5) == Code.OK
    assert device.position == 0.002


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_joint_that_really_is_too_fast_is_no_jump(device, sign):
    device.feed(sign * 0.003, velocity=sign * 3.2)
    assert device.feed(sign * 0.0062, velocity=sign * 3.2) == Code.OK
    assert device.position == sign * 0.0062
    assert device.guard[0].discarded == 0
    assert device.feed(sign * 0.003, velocity=sign * 3.2) == Code.OK  # back by as much is one
    assert device.guard[0].discarded == 1


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_second_jump_in_a_row_is_a_fault(device, sign):
    assert device.feed(sign) == Code.OK
    assert device.feed(sign, axis=0) == Code.ENCODER_JUMP
    assert told(device.guard) == (0, 1.0, pytest.approx(BOUND))
    assert device.feed(sign) == Code.OK  # the fault is latched elsewhere; from here on this is where the arm is
    assert device.position == sign


def test_a_second_jump_soon_after_is_a_fault(device):
    for wait, code in ((SUSPECT_CYCLES - 1, Code.ENCODER_JUMP), (SUSPECT_CYCLES, Code.OK)):
        device.guard[0].suspect = 0
        assert device.feed(1.0) == Code.OK
        for _ in range(wait - 1):
            assert device.feed(0.0) == Code.OK
        assert device.feed(1.0) == code
        device.guard[0].fed_position[:] = 0.0


def test_the_axis_told_is_the_first_that_jumped(device):
    device.feed(1.0)
    device.t_ns += MS
    feedback = new_feedback(t_device_ns=device.t_ns, position=[0, 0, 1, 0, 1, 0, 0])
    assert device.checks.check_encoders(device.guard, feedback) == Code.ENCODER_JUMP
    assert device.guard[0].axis == 2


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
def test_the_first_encoder_and_the_last_are_watched_and_predicted(checks, axis):
    device = Device(checks, n_axes=MAX_AXES)
    device.feed(0.0)
    device.guard[0].fed_velocity[:] = 0.5
    assert device.feed(1.0, axis=axis) == Code.OK
    assert device.feedback[0].position == pytest.approx(0.0005)
    assert (device.feedback[0].velocity == 0.5).all()
    assert device.feed(1.0, axis=axis) == Code.ENCODER_JUMP
    assert device.guard[0].axis == axis


def test_encoders_that_the_arm_does_not_have_may_say_anything(device):
    for value in (np.nan, 1.0, -1.0):
        device.t_ns += MS
        feedback = new_feedback(t_device_ns=device.t_ns)
        feedback[0].position[N] = value
        before = feedback[0].position.copy()
        assert device.checks.check_encoders(device.guard, feedback) == Code.OK
        assert device.guard[0].discarded == 0
        np.testing.assert_array_equal(feedback[0].position, before)


def test_every_discarded_reading_is_counted_and_the_suspicion_ends_at_zero(device):
    assert device.guard[0].suspect == 0
    for count in (1, 2):
        device.feed(1.0)
        assert device.guard[0].discarded == count
        device.guard[0].suspect = 1
        device.feed(0.0)
        assert device.guard[0].suspect == 0
        device.feed(0.0)
        assert device.guard[0].suspect == 0


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_step_of_exactly_the_bound_or_exactly_that_far_from_its_prediction_is_no_jump(device, sign):
    g = device.guard[0]
    g.actuator_velocity_max[:], g.resolution[:] = 0.0, 0.5
    g.fed_velocity[:] = -sign
    assert device.feed(sign * 0.5, cycles=1000) == Code.OK
    assert (device.position, g.discarded) == (sign * 0.5, 0)
    g.fed_position[:], g.fed_velocity[:] = 0.0, sign
    assert device.feed(sign * 1.5, cycles=1000) == Code.OK
    assert (device.position, g.discarded) == (sign * 1.5, 0)
    g.fed_position[:], g.fed_velocity[:] = 0.0, sign
    assert device.feed(sign * 1.5001, cycles=1000) == Code.OK
    assert (device.position, g.discarded) == (sign, 1)


def test_a_device_whose_clock_stands_still_cannot_have_moved(device):
    assert device.feed(0.001, cycles=0) == Code.OK
    assert (device.position, device.guard[0].discarded) == (0.0, 1)


def test_a_late_reply_may_show_the_motion_of_all_its_periods(device):
    for _ in range(4):
        assert device.feed(0.0, cycles=0, age=1) == Code.OK
    assert device.feed(4 * 0.003, cycles=4) == Code.OK
    assert device.position == 4 * 0.003


def test_a_missed_reply_is_not_looked_at_again(device):
    device.feed(0.001)
    assert device.feed(9.0, cycles=0, age=1) == Code.OK
    assert device.position == 9.0  # the cycle gives it what was checked before
    assert device.guard[0].fed_position[0] == 0.001


def test_a_new_reference_may_move_every_position(device):
    device.guard[0].referencing = 1
    assert device.feed(1.0) == Code.OK
    assert device.position == 1.0
    device.guard[0].referencing = 0
    assert device.feed(1.0) == Code.OK
    assert device.feed(0.3, status=Status.POWERED) == Code.OK  # the reference has gone
    assert device.feed(-0.7, status=Status.POWERED | Status.REFERENCED) == Code.OK
    assert device.guard[0].discarded == 0
    assert device.feed(0.0, status=Status.REFERENCED) == Code.OK  # other bits do not matter
    assert device.guard[0].discarded == 1


def test_a_device_that_has_started_anew_may_be_anywhere(device):
    device.t_ns = -100 * MS
    assert device.feed(1.0) == Code.OK
    assert device.position == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["position", "velocity", "effort"])
@pytest.mark.parametrize("axes", [[2, 4], [0, MAX_AXES - 1], [MAX_AXES - 1]])
def test_a_reading_that_is_no_number_is_told_and_replaced_by_the_last(checks, field, value, axes):
    guard = new_guard(n_axes=MAX_AXES)
    last = {"position": 0.001, "velocity": 0.25, "effort": 0.125}
    now = {"position": 0.002, "velocity": 0.5, "effort": 0.75}
    readings = []
    for t_ns, values in ((MS, last), (2 * MS, now)):
        feedback = new_feedback(t_device_ns=t_ns)
        for name, number in values.items():
            feedback[0][name][:] = number
        readings.append(feedback)
    assert checks.check_encoders(guard, readings[0]) == Code.OK
    readings[1][0][field][axes] = value
    assert checks.check_encoders(guard, readings[1]) == Code.FEEDBACK_NOT_FINITE
    assert told(guard) == (axes[0], pytest.approx(np.nan, nan_ok=True), 0.0)
    for name in last:
        expected = np.full(MAX_AXES, now[name])
        if name == field:
            expected[axes] = last[name]
        assert (readings[1][0][name] == expected).all()
        assert (guard[0][f"fed_{name}"] == expected).all()


def test_the_very_first_reading_may_be_anywhere_but_must_be_numbers(checks):
    for t_ns, status in itertools.product((0, MS, 10**15), (0, Status.REFERENCED)):
        guard = new_guard()
        feedback = new_feedback(position=5.0, t_device_ns=t_ns, status=status)
        assert checks.check_encoders(guard, feedback) == Code.OK
        assert (feedback[0].position[:N] == 5.0).all()
        assert (guard[0].discarded, guard[0].was_fed, guard[0].echo_known) == (0, 1, 1)
    feedback = new_feedback(position=np.nan)
    guard = new_guard()
    assert checks.check_encoders(guard, feedback) == Code.FEEDBACK_NOT_FINITE
    assert (feedback[0].position == 0.0).all()


def test_how_late_a_reply_is_follows_from_its_echo(device):
    assert device.guard[0].reply_lag == 0
    for echo, lag in ((2, 0), (3, 0), (3, 1), (3, 2), (6, 0), (5, 2)):
        device.feed(0.0, echo=echo)
        assert device.guard[0].reply_lag == lag
    device.guard[0].echo_known = 0  # cycles without commands
    device.feed(0.0, echo=5)
    assert device.guard[0].reply_lag == 0
    device.feed(0.0, echo=8)  # the first was itself late
    device.feed(0.0, echo=8)
    assert device.guard[0].reply_lag == 1
    device.guard[0].cycle += 1000
    device.feed(0.0, echo=8)
    assert device.guard[0].reply_lag == LAG_MAX


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
def test_a_joint_that_is_no_number_is_caught(checks, value, axis):
    still = np.zeros(MAX_AXES)
    for position, velocity in ((vector(value, axis), still), (still, vector(value, axis))):
        guard = new_guard(n_axes=MAX_AXES)
        assert checks.check_speed(guard, position, velocity) == Code.FEEDBACK_NOT_FINITE
        assert told(guard) == (axis, pytest.approx(np.nan, nan_ok=True), 0.0)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("axis", [0, 1, MAX_AXES - 1])
def test_a_joint_that_runs_away_is_caught_by_its_speed(checks, sign, axis):
    guard, still = new_guard(n_axes=MAX_AXES), np.zeros(MAX_AXES)
    fast = OVERSPEED_MARGIN * 2.0
    assert checks.check_speed(guard, still, vector(sign * fast, axis)) == Code.OK
    assert checks.check_speed(guard, still, vector(sign * (fast + 0.01), axis)) == Code.VELOCITY_LIMIT
    assert told(guard) == (axis, fast + 0.01, fast)


def run_sensors(checks, guard, difference, cycles, referenced=1, axis=0):
    """Return the code and the cycle of the first fault, or 0 and the cycles."""
    feedback = new_feedback(position=0.5, absolute=0.5)
    feedback[0].absolute[axis] += difference
    for k in range(cycles):
        code = checks.check_sensors(guard, feedback, referenced)
        if code:
            return code, k
    return 0, cycles


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_second_sensor_that_disagrees_is_caught(checks, sign):
    guard = new_guard()
    assert run_sensors(checks, guard, sign * 0.0049, 1000) == (0, 1000)
    guard = new_guard()
    code, cycle = run_sensors(checks, guard, sign * 0.01, 1000)
    assert code == Code.SENSOR_MISMATCH
    # Half of the difference is smoothed in after log(1/2) / log(1 - smoothing) cycles.
    assert cycle == int(np.log(0.5) / np.log(1.0 - SENSOR_SMOOTHING))
    axis, value, bound = told(guard)
    assert (axis, bound) == (0, 0.005)
    assert value > bound


def test_noise_of_a_milliradian_is_no_mismatch(checks):
    rng = np.random.default_rng(5)
    guard = new_guard()
    for _ in range(2000):
        feedback = new_feedback(absolute=rng.normal(0.0, 0.001, N))
        assert checks.check_sensors(guard, feedback, 1) == Code.OK
    assert np.abs(guard[0].sensor_smoothed).max() < 0.001


def test_before_the_encoders_have_a_reference_nothing_is_compared(checks):
    guard = new_guard()
    run_sensors(checks, guard, 0.004, 100)
    assert run_sensors(checks, guard, 9.0, 3, referenced=0) == (0, 3)
    assert (guard[0].sensor_smoothed == 0.0).all()
    assert checks.check_sensors(guard, new_feedback(absolute=np.nan), 1) == Code.OK


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sensor_that_was_there_and_goes_is_a_mismatch(checks, value):
    guard = new_guard()
    feedback = new_feedback(absolute=0.0)
    assert checks.check_sensors(guard, feedback, 1) == Code.OK
    feedback[0].absolute[3] = value
    assert checks.check_sensors(guard, feedback, 1) == Code.SENSOR_MISMATCH
    axis, shown, bound = told(guard)
    assert (axis, bound) == (3, 0.005)
    assert not np.isfinite(shown)


def test_a_sensor_that_never_was_there_is_not_missed(checks):
    guard = new_guard()
    feedback = new_feedback(absolute=np.nan)
    feedback[0].absolute[6] = 1.0
    assert checks.check_sensors(guard, feedback, 1) == Code.SENSOR_MISMATCH
    assert guard[0].axis == 6


def test_sensors_that_are_not_watched_may_say_anything(checks):
    guard = new_guard(sensor_difference=np.inf)
    guard[0].sensor_difference[6] = 0.005
    feedback = new_feedback(absolute=9.0)
    feedback[0].absolute[6] = 0.0
    assert checks.check_sensors(guard, feedback, 1) == Code.OK
    feedback[0].absolute[:] = np.nan
    assert checks.check_sensors(guard, feedback, 1) == Code.SENSOR_MISMATCH
    assert guard[0].axis == 6


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
def test_the_first_second_sensor_and_the_last_are_compared_and_begin_anew(checks, axis):
    guard, feedback = new_guard(n_axes=MAX_AXES), new_feedback()
    feedback[0].absolute[axis] = 1.0
    assert checks.check_sensors(guard, feedback, 1) == Code.SENSOR_MISMATCH
    assert told(guard) == (axis, pytest.approx(SENSOR_SMOOTHING), 0.005)
    guard[0].sensor_seen[:], guard[0].sensor_smoothed[:] = 1, 1.0
    assert checks.check_sensors(guard, feedback, 0) == Code.OK
    assert (guard[0].sensor_seen == 0).all()
    assert (guard[0].sensor_smoothed == 0.0).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_smoothed_difference_of_exactly_the_bound_is_no_mismatch(checks, sign):
    guard, feedback = new_guard(sensor_difference=SENSOR_SMOOTHING), new_feedback(absolute=sign)
    assert checks.check_sensors(guard, feedback, 1) == Code.OK
    assert (guard[0].sensor_smoothed[:N] == sign * SENSOR_SMOOTHING).all()
    assert (guard[0].sensor_seen[:N] == 1).all()
    assert checks.check_sensors(guard, feedback, 1) == Code.SENSOR_MISMATCH
    assert told(guard) == (0, pytest.approx(0.36), SENSOR_SMOOTHING)


def test_a_sensor_that_comes_later_is_compared_from_then_on(checks):
    guard, feedback = new_guard(), new_feedback(absolute=np.nan)
    for _ in range(3):
        assert checks.check_sensors(guard, feedback, 1) == Code.OK
    assert (guard[0].sensor_seen == 0).all()
    feedback[0].absolute[:] = 0.0
    feedback[0].absolute[3] = 1.0
    assert checks.check_sensors(guard, feedback, 1) == Code.SENSOR_MISMATCH
    assert guard[0].axis == 3


def test_a_missed_reply_is_not_smoothed_in_again(checks):
    guard = new_guard(feedback_age=1)
    assert run_sensors(checks, guard, 9.0, 5) == (0, 5)
