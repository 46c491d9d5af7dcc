"""Motors that are warm, hot, stalled or at the end of their effort."""

import numpy as np
import pytest

from controller.catalogue import Code
from telemetry.sample import MAX_AXES
from tests.controller.guard.cases import N, new_feedback, new_guard, told

# What the guard promises, in numbers of its own.
HEAT_MAX = 0.8
HEAT_TIME = 6.213  # s

MS = 1_000_000
FULL = 4.0  # of the actuators' effort
FAST = 0.021  # more than 1 % of the velocity limit


class Motor:
    """Asks `check_motors` every millisecond."""

    def __init__(self, checks, **fields):
        self.checks, self.guard, self.feedback = checks, new_guard(**fields), new_feedback()
        self.feedback[0].temperature[:] = 25.0
        self.feedback[0].t_device_ns = 5000 * MS

    def run(self, cycles, *, powered=1, axis=2, every_ms=1, **fields):
        """Return the cycles in which a code begins or ends, with the code."""
        for name, value in fields.items():
            self.feedback[0][name][axis] = value
        changes, last = [], 0
        for k in range(1, cycles + 1):
            self.feedback[0].t_device_ns += every_ms * MS
            code = self.checks.check_motors(self.guard, self.feedback, powered)
            if code != last:
                changes.append((k, code))
            last = code
        return changes


@pytest.fixture
def motor(checks):
    return Motor(checks)


def test_a_motor_that_works_is_no_fault(motor):
    assert motor.run(200, effort=0.79 * FULL) == []
    assert motor.run(200, effort=0.97 * FULL, velocity=FAST) == []


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_stalled_motor_is_told_after_100_ms_and_again_after_500(motor, sign):
    changes = motor.run(600, effort=sign * 0.81 * FULL, velocity=-0.019)
    assert changes == [(100, Code.STALLED), (500, Code.STALL_PERSISTS)]
    assert told(motor.guard) == (2, pytest.approx(0.6), 0.5)


def test_a_stall_ends_where_the_joint_moves_or_the_effort_goes(motor):
    assert motor.run(99, effort=0.81 * FULL) == []
    assert motor.run(1, velocity=FAST) == []
    assert motor.run(99, velocity=0.0) == []
    assert motor.run(1, effort=0.8 * FULL) == []
    assert motor.run(100, effort=0.81 * FULL) == [(100, Code.STALLED)]
    assert told(motor.guard) == (2, pytest.approx(0.81), 0.8)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_full_effort_in_motion_is_a_fault_after_50_cycles(motor, sign):
    assert motor.run(60, effort=sign * 0.98 * FULL, velocity=sign * FAST) == [(50, Code.EFFORT_LIMIT)]
    assert told(motor.guard) == (2, pytest.approx(0.98), 0.98)
    assert motor.run(60, effort=0.979 * FULL) == []
    assert motor.run(49, effort=0.98 * FULL) == []


def test_a_joint_whose_motor_has_given_all_for_20_cycles_counts_as_soft(motor):
    motor.guard[0].coupled[:] = [0, 1, 2, 3, 2, 5, 6, 7]
    motor.run(19, effort=FULL, velocity=FAST)
    assert (motor.guard[0].soft == 0).all()
    motor.run(1)
    assert motor.guard[0].soft.tolist() == [0, 0, 300, 0, 300, 0, 0, 0]


def test_full_effort_at_a_standstill_is_a_stall_after_50_cycles(motor):
    assert motor.run(60, effort=FULL) == [(50, Code.STALLED)]
    assert motor.run(1, effort=0.0) == []
    # Where it moved only once meanwhile, it is the effort; the stall comes 100 cycles after the joint stopped.
    assert motor.run(1, effort=FULL, velocity=FAST) == []
    assert motor.run(120, velocity=0.0) == [(49, Code.EFFORT_LIMIT), (100, Code.STALLED)]


def test_a_stall_outranks_the_effort_of_another_axis(motor):
    motor.feedback[0].velocity[1] = motor.feedback[0].velocity[4] = FAST
    motor.feedback[0].effort[1] = motor.feedback[0].effort[4] = FULL
    changes = motor.run(120, effort=0.9 * FULL)
    assert changes == [(50, Code.EFFORT_LIMIT), (100, Code.STALLED)]
    assert motor.guard[0].axis == 2


def test_without_power_nothing_stalls_and_the_counters_begin_anew(motor):
    assert motor.run(99, effort=FULL * 0.9) == []
    assert motor.run(1, powered=0) == []
    assert motor.run(49, effort=FULL) == []
    assert motor.run(600, powered=0) == []
    assert (motor.guard[0].full == 0).all()
    assert (motor.guard[0].full_still == 0).all()


def test_a_warm_motor_is_told_once_and_again_after_it_has_cooled(motor):
    motor.guard[0].temperature_slow[:] = 60.0
    assert motor.run(5, temperature=60.0) == []
    assert motor.run(5, temperature=60.1) == [(1, Code.MOTOR_WARM), (2, 0)]
    assert told(motor.guard) == (2, 60.1, 60.0)
    assert motor.run(5, temperature=58.0) == []
    assert motor.run(5, temperature=60.1) == []
    assert motor.run(1, temperature=57.9) == []
    assert motor.run(5, temperature=60.1, powered=0) == [(1, Code.MOTOR_WARM), (2, 0)]


def test_a_hot_motor_is_a_fault_at_once_and_as_long_as_it_is_hot(motor):
    motor.run(1, temperature=64.9)
    assert motor.run(5, temperature=65.0) == []
    assert motor.run(5, temperature=65.1) == [(1, Code.MOTOR_HOT)]
    assert told(motor.guard) == (2, 65.1, 65.0)
    assert motor.run(5, temperature=65.1, powered=0) == [(1, Code.MOTOR_HOT)]
    assert motor.run(1, temperature=65.0) == []


def test_the_hot_axis_told_is_the_first(motor):
    motor.feedback[0].temperature[4] = 70.0
    motor.run(1, temperature=80.0)
    assert told(motor.guard) == (2, 80.0, 65.0)


def test_a_temperature_that_rises_too_fast_is_a_fault(motor):
    motor.run(10)
    rise = 6.0  # K/s; smoothed over 1 s it shows as 5 after log(6) = 1.79 s
    for k in range(1, 300):
        if motor.run(1, temperature=25.0 + rise * k * 0.01, every_ms=10):
            break
    assert k == pytest.approx(100 * np.log(rise), abs=2)
    axis, value, bound = told(motor.guard)
    assert (axis, bound) == (2, 5.0)
    assert value > bound


def test_a_rise_of_four_kelvin_a_second_and_a_digit_of_the_sensor_are_no_fault(motor):
    motor.run(1)
    for k in range(1, 800):
        assert motor.run(1, temperature=25.0 + 4.0 * k * 0.01, every_ms=10) == []
    assert motor.run(10, temperature=58.0) == []


def test_a_sensor_that_is_not_there_is_not_asked(motor):
    motor.feedback[0].temperature[:] = np.nan
    assert motor.run(100) == []
    assert motor.run(1, temperature=50.0) == []  # the first reading is no rise


def test_after_a_time_without_checks_a_temperature_is_no_rise(motor):
    motor.run(5)
    assert motor.run(1, temperature=50.0, every_ms=1001) == []
    assert motor.guard[0].temperature_slow[2] == 50.0


def test_full_effort_heats_the_winding_to_its_bound_in_ten_seconds(motor):
    motor.run(1)
    changes = motor.run(1010, effort=FULL, velocity=FAST, every_ms=10)
    assert changes[-1][1] == Code.MOTOR_HOT
    assert changes[-1][0] == pytest.approx(1000, abs=2)
    axis, value, bound = told(motor.guard)
    assert (axis, bound) == (2, HEAT_MAX)
    assert value > bound


def test_the_winding_bears_89_percent_for_ever_and_cools_while_nobody_asks(motor):
    motor.run(1)
    assert motor.run(1000, effort=0.89 * FULL, velocity=FAST, every_ms=100) == []
    assert motor.guard[0].heat[2] == pytest.approx(0.89**2)
    motor.run(1, effort=0.0, every_ms=round(HEAT_TIME * 500))
    assert motor.guard[0].heat[2] == pytest.approx(0.89**2 / 2, rel=1e-3)
    motor.run(1, every_ms=10**6)
    assert motor.guard[0].heat[2] == 0.0


def test_a_device_whose_time_began_anew_neither_heats_nor_cools(motor):
    motor.run(1)
    motor.run(1, effort=FULL, every_ms=1000)
    heat = motor.guard[0].heat[2]
    motor.run(1, every_ms=-4000)
    assert motor.guard[0].heat[2] == heat


def test_heat_without_power_is_told_too(motor):
    motor.guard[0].heat[1] = 0.9
    assert motor.run(2, powered=0) == [(1, Code.MOTOR_HOT)]
    assert motor.guard[0].axis == 1
    assert (motor.guard[0].heat[:N] >= 0.0).all()


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
@pytest.mark.parametrize(
    ("cycle", "code", "fields", "value", "bound"),
    [
        (2, Code.MOTOR_HOT, {"temperature": 65.5}, 65.5, 65.0),
        (2, Code.MOTOR_HOT, {"temperature": 31.0}, 6.0, 5.0),
        (2, Code.MOTOR_WARM, {"temperature": 60.5}, 60.5, 60.0),
        (50, Code.STALLED, {"effort": FULL}, 1.0, 0.8),
        (50, Code.EFFORT_LIMIT, {"effort": FULL, "velocity": FAST}, 1.0, 0.98),
        (100, Code.STALLED, {"effort": 0.9 * FULL}, 0.9, 0.8),
    ],
)
def test_the_first_motor_and_the_last_are_watched_and_told(checks, axis, cycle, code, fields, value, bound):
    motor = Motor(checks, n_axes=MAX_AXES)
    if fields.get("temperature", 0.0) > 60.0:  # so that it is no rise
        motor.guard[0].temperature_seen[:], motor.guard[0].temperature_slow[:] = 1, 60.0
    codes = motor.run(1)
    codes = motor.run(cycle - 1 + (cycle > 2), axis=axis, **fields)
    assert codes == [(max(cycle - 1, 1) + (cycle > 2), code)]
    assert told(motor.guard) == (axis, pytest.approx(value), bound)


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
def test_without_power_the_counters_of_the_first_motor_and_of_the_last_begin_anew(checks, axis):
    motor = Motor(checks, n_axes=MAX_AXES)
    motor.run(10, axis=axis, effort=FULL)
    g = motor.guard[0]
    assert (g.stalled[axis], g.full[axis], g.full_still[axis]) == (10, 10, 10)
    motor.run(1, powered=0)
    for counter in (g.stalled, g.full, g.full_still):
        assert (counter == 0).all()


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
def test_with_a_strained_motor_all_that_it_is_coupled_with_count_as_soft(checks, axis):
    motor = Motor(checks, n_axes=MAX_AXES, coupled=[0, 1, 2, 0, 0, 5, 0, 0])
    motor.run(20, axis=axis, effort=FULL, velocity=FAST)
    assert motor.guard[0].soft.tolist() == [300, 0, 0, 300, 300, 0, 300, 300]


def test_a_motor_that_is_not_there_may_show_anything(motor):
    f = motor.feedback[0]
    f.temperature[N], f.effort[N], motor.guard[0].heat[N] = 99.0, FULL, 0.9
    assert motor.run(200) == []


def test_the_counters_of_full_effort_begin_anew_after_a_cycle_with_less(motor):
    motor.run(30, effort=FULL)
    motor.run(1, effort=0.97 * FULL)
    assert (motor.guard[0].full == 0).all()
    assert (motor.guard[0].full_still == 0).all()
    assert motor.run(20, effort=FULL) == []
    assert motor.guard[0].full_still[2] == 20


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_one_percent_of_the_speed_is_a_standstill(motor, sign):
    assert motor.run(50, effort=FULL, velocity=sign * 0.01 * 2.0) == [(50, Code.STALLED)]
    assert told(motor.guard) == (2, 1.0, 0.8)


def test_the_first_feedback_neither_heats_nor_cools(motor):
    motor.guard[0].heat[3] = 0.5
    motor.run(1, effort=FULL)
    assert motor.guard[0].heat.tolist() == [0, 0, 0, 0.5, 0, 0, 0, 0]


def test_heat_of_exactly_the_bound_is_not_too_hot(motor):
    motor.guard[0].heat[2] = HEAT_MAX
    assert motor.run(1) == []
    motor.guard[0].heat[2] = HEAT_MAX + 1e-9
    motor.guard[0].heated_ns = 0
    assert motor.run(1) == [(1, Code.MOTOR_HOT)]


def test_a_rise_of_exactly_five_kelvin_in_a_second_is_none_too_fast_and_is_no_longer_a_rise_later(motor):
    motor.run(1)
    assert motor.run(1, temperature=30.0) == []
    motor.guard[0].temperature_slow[2] = 25.0
    assert motor.run(1, temperature=31.0, every_ms=1000) == [(1, Code.MOTOR_HOT)]
    assert told(motor.guard) == (2, 6.0, 5.0)
    assert motor.guard[0].temperature_slow[2] == 31.0


def test_a_motor_whose_sensor_comes_later_is_watched_from_then_on(motor):
    motor.run(1, temperature=np.nan)
    assert (motor.guard[0].temperature_seen[:N] == [1, 1, 0, 1, 1, 1, 1]).all()
    assert motor.run(1, temperature=25.0) == []
    assert motor.run(1, temperature=31.0) == [(1, Code.MOTOR_HOT)]


def test_beside_a_motor_without_a_sensor_the_others_are_watched(motor):
    motor.run(1, axis=4, temperature=np.nan)
    assert motor.run(1, axis=2, temperature=66.0) == [(1, Code.MOTOR_HOT)]
    motor.feedback[0].temperature[2] = np.nan
    assert motor.run(1, axis=6, temperature=66.0) == [(1, Code.MOTOR_HOT)]


def test_a_warm_motor_is_noted_as_warm(motor):
    motor.run(1, temperature=60.5)
    assert motor.guard[0].is_warm.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
