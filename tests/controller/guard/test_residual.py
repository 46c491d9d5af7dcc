"""A joint that does not move as it is commanded is found within ten cycles; one that does never is."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.catalogue import Code
from telemetry.sample import MAX_AXES
from tests.controller.guard.cases import PERIOD, N, new_guard, told

# What the guard promises, in numbers of its own.
WINDOW, LONG_WINDOW = 8, 32
UNSEEN_MAX = 2

LIMIT = 0.001
SPEED = 0.5
DELAY = 2  # cycles from a command to the reply that shows it reached


class Joint:
    """One axis that does what it is told, `DELAY` cycles later, until it is made to do otherwise."""

    def __init__(self, checks, axis=0, **fields):
        self.checks, self.guard, self.axis = checks, new_guard(residual=LIMIT, **fields), axis
        self.sent = [0.0] * (DELAY + 30)
        self.cycles = 0

    def cycle(self, setpoint, measured=None, *, age=0, lag=0, active=1, skipped=0):
        """Send a set-point, after the reply to an earlier one was checked."""
        g = self.guard[0]
        g.feedback_age, g.reply_lag, g.skipped = age, lag, skipped
        before, shown = np.zeros(MAX_AXES), np.zeros(MAX_AXES)
        before[self.axis] = self.sent[-1]
        shown[self.axis] = self.sent[-DELAY - lag] if measured is None else measured
        self.sent.append(setpoint)
        self.cycles += 1
        return self.checks.check_residual(self.guard, before, shown, active)

    def ramp(self, cycles, speed=SPEED, **options):
        codes = [self.cycle(self.sent[-1] + speed * PERIOD, **options) for _ in range(cycles)]
        return {code for code in codes if code}


@pytest.fixture
def joint(checks):
    return Joint(checks)


def speed_up(joint, speed=SPEED):
    """Reach a speed at an acceleration that the model follows."""
    v = 0.0
    while v < speed:
        v = min(v + 15.0 * PERIOD, speed)
        assert joint.cycle(joint.sent[-1] + v * PERIOD) == Code.OK


def first_code(joint, measure, speed=SPEED, cycles=40):
    """Return after how many cycles the first code comes, if what is measured becomes `measure(k)`."""
    for k in range(1, cycles + 1):
        if joint.cycle(joint.sent[-1] + speed * PERIOD, measure(k)):
            return k
    return None


def test_a_joint_that_follows_is_no_fault(joint):
    speed_up(joint)
    assert joint.ramp(200) == set()
    assert joint.guard[0].model_lag[0] < 1e-9


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("axis", [0, N - 1])
def test_an_encoder_that_stands_still_is_found_when_the_limit_is_passed(checks, sign, axis):
    joint = Joint(checks, axis)
    speed_up(joint, SPEED)
    joint.ramp(30)
    if sign < 0:
        joint.sent = [-q for q in joint.sent]
        joint.guard[0].sent *= -1.0
        joint.guard[0].error *= -1.0
        joint.guard[0].model_velocity *= -1.0
    stuck = joint.sent[-DELAY]
    # It grows by 0.5 mm a cycle: 1.0 is not more than the limit, or is by rounding; 1.5 is.
    assert first_code(joint, lambda _: stuck, sign * SPEED) in (2, 3)
    told_axis, value, bound = told(joint.guard)
    assert told_axis == axis
    assert value > bound >= LIMIT


def test_an_encoder_that_counts_backwards_is_found_sooner(joint):
    speed_up(joint)
    joint.ramp(30)
    at = joint.sent[-DELAY]
    assert first_code(joint, lambda k: at - k * SPEED * PERIOD) <= 2


def test_a_joint_that_runs_away_from_rest_is_found_within_ten_cycles_and_its_delay(joint):
    joint.ramp(20, 0.0)
    found = first_code(joint, lambda k: 0.5 * 22.0 * (k * PERIOD) ** 2, 0.0)
    assert found == 10  # 22 rad/s² for 10 ms are 1.1 mrad


def test_a_slow_drift_is_the_following_errors_business(joint):
    speed_up(joint)
    joint.ramp(30)
    at = joint.sent[-DELAY]
    slow = SPEED - 0.95 * LIMIT / (LONG_WINDOW * PERIOD)
    assert first_code(joint, lambda k: at + k * slow * PERIOD, cycles=80) is None


def test_what_came_within_eight_cycles_counts_and_what_came_before_does_not(joint):
    joint.ramp(8, 0.0)
    assert joint.ramp(7, 0.0, measured=0.9 * LIMIT) == set()
    assert joint.cycle(0.0, 1.1 * LIMIT) == Code.MOTION_RESIDUAL  # in the eighth cycle after it was at rest
    joint.guard[0].residual_known = 0
    joint.ramp(9, 0.0, measured=0.0)
    assert joint.ramp(8, 0.0, measured=0.9 * LIMIT) == set()
    assert joint.cycle(0.0, 1.8 * LIMIT) == Code.OK


def test_a_joint_that_should_move_slowly_and_does_not_is_found_within_32_cycles(joint):
    joint.ramp(32, 0.0, measured=0.0)
    assert joint.ramp(31, 0.0, measured=0.9 * LIMIT) == set()
    joint.guard[0].residual_count = 31
    assert joint.cycle(0.0, 1.1 * LIMIT) == Code.OK  # the long window is not full yet
    assert joint.guard[0].residual_count == 32
    assert joint.cycle(0.0, 1.1 * LIMIT) == Code.OK  # and now it begins with 0.9


def test_the_long_window_begins_32_cycles_before(joint):
    for wait, code in ((31, Code.MOTION_RESIDUAL), (32, Code.OK)):
        joint.guard[0].residual_known = 0
        assert joint.ramp(33, 0.0, measured=0.0) == set()
        assert joint.ramp(wait, 0.0, measured=0.6 * LIMIT) == set()
        assert joint.cycle(0.0, 1.2 * LIMIT) == code
    joint.guard[0].residual_known = 0
    joint.ramp(33, 0.0, measured=0.0)
    joint.ramp(31, 0.0, measured=0.6 * LIMIT)
    joint.cycle(0.0, 1.2 * LIMIT)
    assert told(joint.guard) == (0, pytest.approx(1.2 * LIMIT), LIMIT)


def test_before_the_window_is_full_nothing_is_told(joint):
    for k in range(WINDOW):
        assert joint.cycle(0.0, 0.01 * k) == Code.OK
    assert joint.cycle(0.0, 0.01 * WINDOW) == Code.MOTION_RESIDUAL


def test_what_is_no_number_is_a_residual(joint):
    joint.ramp(20, 0.0)
    assert joint.cycle(0.0, np.nan) == Code.MOTION_RESIDUAL


def test_a_missed_reply_and_a_late_one_are_no_fault(joint):
    speed_up(joint)
    joint.ramp(30)
    for age, lag in ((1, 0), (2, 0), (0, 0), (0, 1), (0, 2), (0, 5), (0, 0), (1, 0), (0, 20)):
        assert joint.ramp(1, age=age, lag=lag) == set()
    assert joint.guard[0].residual_count > WINDOW
    assert joint.ramp(30) == set()


def test_faults_are_found_in_spite_of_missed_replies(joint):
    speed_up(joint)
    joint.ramp(30)
    stuck = joint.sent[-DELAY]
    codes = [joint.cycle(joint.sent[-1] + SPEED * PERIOD, stuck, age=k % 3) for k in range(1, 10)]
    assert Code.MOTION_RESIDUAL in codes[:6]


def test_after_more_than_two_missed_replies_the_window_begins_anew(joint):
    joint.ramp(20, 0.0)
    for age in range(1, UNSEEN_MAX + 1):
        assert joint.cycle(0.0, age=age) == Code.OK
    assert joint.guard[0].residual_count > WINDOW
    assert joint.cycle(0.0, age=UNSEEN_MAX + 1) == Code.OK
    assert joint.guard[0].residual_count == 0
    for _ in range(WINDOW):
        assert joint.cycle(0.0, 0.05) == Code.OK
    assert joint.cycle(0.0, 0.1) == Code.MOTION_RESIDUAL


def test_after_skipped_cycles_the_joint_may_have_stood_still(joint):
    speed_up(joint)
    joint.ramp(30)
    joint.ramp(1, skipped=20)
    assert joint.guard[0].residual_count == 0
    assert joint.guard[0].model_lag[0] > 2 * 0.9 * SPEED * WINDOW * PERIOD


def test_while_not_active_nothing_is_told_and_the_window_begins_anew(joint):
    joint.ramp(20, 0.0)
    for k in range(20):
        assert joint.cycle(0.0, 0.1 * k, active=0) == Code.OK
    assert joint.guard[0].echo_known == 0
    for _ in range(WINDOW):
        assert joint.cycle(0.0, 1.9) == Code.OK
    assert joint.cycle(0.0, 1.95) == Code.MOTION_RESIDUAL


def test_arming_moves_the_set_point_without_a_fault(checks, joint):
    joint.ramp(20, 0.0)
    checks.arm_guard(joint.guard, np.full(MAX_AXES, 0.3))
    joint.sent = [0.3] * len(joint.sent)
    assert joint.ramp(40, 0.0) == set()
    assert joint.guard[0].model_lag[0] == 0.0


def test_arming_elsewhere_in_a_cycle_without_a_reply_does_not_remember_the_old_distance(checks, joint):
    joint.ramp(20, 0.0, measured=0.005)
    checks.arm_guard(joint.guard, np.full(MAX_AXES, 0.3))
    joint.sent = [0.3] * len(joint.sent)
    assert joint.ramp(1, 0.0, age=1) == set()
    assert joint.ramp(LONG_WINDOW + 1, 0.0) == set()


def test_a_joint_that_is_held_softly_may_give_way_five_times_as_far(joint):
    joint.ramp(20, 0.0)
    joint.guard[0].soft[0] = 30
    assert joint.cycle(0.0, 4.9 * LIMIT) == Code.OK
    assert joint.guard[0].soft[0] == 29
    assert joint.cycle(0.0, 5.1 * LIMIT) == Code.MOTION_RESIDUAL
    assert told(joint.guard) == (0, pytest.approx(5.1 * LIMIT), 5.0 * LIMIT)
    for _ in range(28):
        joint.cycle(0.0, 0.0)
    assert joint.guard[0].soft[0] == 0
    assert joint.cycle(0.0, 1.1 * LIMIT) == Code.MOTION_RESIDUAL


def test_an_axis_that_is_not_watched_may_do_anything(checks):
    joint = Joint(checks)
    joint.guard[0].residual[0] = np.inf
    joint.ramp(20, 0.0)
    assert first_code(joint, lambda k: 0.1 * k) is None


def lagging(setpoints, acceleration):
    """What a joint shows that follows with a bounded acceleration, and overshoots a little."""
    q, v, shown = 0.0, 0.0, []
    speeds = np.diff(setpoints, prepend=setpoints[0]) / PERIOD
    for target, speed in zip(setpoints, speeds, strict=True):
        error = target - q
        wanted = speed + np.sign(error) * min(abs(error) / 0.005, np.sqrt(1.5 * acceleration * abs(error)))
        v += np.clip(wanted - v, -acceleration * PERIOD, acceleration * PERIOD)
        q += v * PERIOD
        shown.append(q)
    return shown


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=4), st.floats(4.0, 10.0))
def test_a_joint_four_times_stronger_than_the_model_may_lag_behind_a_stream_that_steps(checks, speeds, strength):
    steps = np.repeat(speeds, 60) * PERIOD
    setpoints = np.cumsum(np.concatenate([np.zeros(20), steps]))
    joint = Joint(checks)
    shown = lagging(setpoints, strength * joint.guard[0].lag_acceleration[0])
    for k, setpoint in enumerate(setpoints):
        assert joint.cycle(setpoint, shown[max(k - DELAY, 0)]) == Code.OK
    assert k == len(setpoints) - 1


def test_a_joint_that_stays_blocked_under_a_step_is_found_once_the_model_has_caught_up(joint):
    joint.ramp(20, 0.0)
    found = first_code(joint, lambda _: 0.0, 2.0, cycles=400)
    assert found is not None
    assert found < 250  # 2 rad/s at 20 rad/s² take 100 ms, the rest is recovery and decay


def test_a_change_of_exactly_the_limit_is_no_residual(joint):
    joint.guard[0].residual[:] = 0.5
    joint.ramp(20, 0.0, measured=0.0)
    assert joint.cycle(0.0, 0.5) == Code.OK
    assert joint.cycle(0.0, 0.5 + 1e-12) == Code.MOTION_RESIDUAL


class Specification:
    """What the residual is, with whole histories in place of rings and vectors in place of loops."""

    def __init__(self, guard):
        g = guard[0]
        self.n, self.residual = int(g.n_axes), g.residual.copy()[: g.n_axes]
        self.acceleration = g.lag_acceleration.copy()[: self.n]
        self.soft = np.zeros(self.n, int)
        self.errors = [np.zeros(self.n)] * 64
        self.unseen, self.known = 0, False

    def begin(self, setpoint):
        self.count = 0
        self.setpoints = [setpoint] * 32
        self.velocity, self.error, self.lag = np.zeros((3, self.n))

    def follow(self, wanted):
        e = self.error
        back = np.sign(e) * np.minimum(np.abs(e) / 0.01, np.sqrt(self.acceleration * np.abs(e)))
        most = self.acceleration * PERIOD
        self.velocity = self.velocity + np.clip(wanted + back - self.velocity, -most, most)
        behind = wanted - self.velocity
        self.error = e + behind * PERIOD
        self.lag = np.maximum(0.97 * self.lag, 2.0 * np.abs(behind) * 8 * PERIOD)

    def cycle(self, setpoint, measured, active, age, reply_lag, skipped):
        """Return (axis, value, bound) of the residual, or nothing."""
        self.unseen = self.unseen + 1 if age else 0
        if not active or not self.known:
            self.known = bool(active)
            self.begin(setpoint)
        self.setpoints.append(setpoint)
        if not active:
            return None
        unseen = bool(skipped) or self.unseen > 2
        if unseen:
            self.count, self.velocity = 0, np.zeros(self.n)
        shown, before = self.setpoints[-2 - reply_lag], self.setpoints[-3 - reply_lag]
        self.follow((shown - before) / PERIOD)
        self.soft = np.maximum(self.soft - 1, 0)
        self.errors.append(shown - measured if age == 0 or self.count == 0 else self.errors[-1])
        limit = np.where(self.soft > 0, 5.0, 1.0) * self.residual
        found = None
        for window, times in ((8, 1), (32, 4)):
            if self.count >= window:
                change, bound = np.abs(self.errors[-1] - self.errors[-1 - window]), limit + times * self.lag
                axes = np.flatnonzero(change > bound)
                if len(axes) and (found is None or axes[0] <= found[0]):
                    found = int(axes[0]), change[axes[0]], bound[axes[0]]
        self.count += not unseen
        return found


@pytest.mark.parametrize("n", [MAX_AXES, 5])
@pytest.mark.parametrize("seed", range(4))
def test_every_cycle_is_as_specified(checks, n, seed):
    rng = np.random.default_rng(seed)
    guard = new_guard(n_axes=n, residual=LIMIT, residual_at=int(rng.integers(64)), error=9.0)
    g = guard[0]
    g.lag_acceleration[:] = rng.uniform(10.0, 30.0, MAX_AXES)
    specified = Specification(guard)
    setpoint, measured, velocity = np.zeros((3, MAX_AXES))
    found, quiet = 0, 0
    for k in range(400):
        if rng.random() < 0.04:
            velocity = rng.uniform(-0.6, 0.6, MAX_AXES) * (rng.random(MAX_AXES) < 0.5)
        if rng.random() < 0.01:
            checks.arm_guard(guard, setpoint)
            specified.known = False
        if rng.random() < 0.02:
            soft = rng.integers(0, 60, MAX_AXES)
            g.soft[:] = soft
            specified.soft = soft[:n].copy()
        calm = (k // 100) % 2 == 0
        active = int(rng.random() > 0.01)
        age = int(rng.random() < 0.1) if calm else int(rng.choice([0, 1, 2, 3], p=[0.7, 0.1, 0.1, 0.1]))
        lag = 0 if rng.random() < 0.9 else int(rng.integers(25))
        skipped = int(rng.choice([0, 1, 20], p=[0.99, 0.005, 0.005]))
        setpoint = setpoint + velocity * PERIOD
        measured = setpoint - 2 * velocity * PERIOD + rng.normal(0.0, 0.3 * LIMIT, MAX_AXES)
        if rng.random() < 0.1:
            measured[rng.integers(MAX_AXES)] += rng.normal(0.0, 4.0 * LIMIT)
        measured[n:] = rng.normal(size=MAX_AXES - n)  # of an axis that is not there
        g.feedback_age, g.reply_lag, g.skipped, g.echo_known = age, lag, skipped, 1
        code = checks.check_residual(guard, setpoint, measured, active)
        residual = specified.cycle(setpoint[:n], measured[:n], active, age, lag, skipped)
        assert code == (Code.OK if residual is None else Code.MOTION_RESIDUAL)
        if residual is not None:
            assert told(guard) == pytest.approx(residual)
        found, quiet = found + (residual is not None), quiet + (residual is None)
        assert (g.echo_known, g.residual_known, g.residual_count) == (active, active, specified.count)
        assert (g.soft[:n] == specified.soft).all()
        for name in ("velocity", "error", "lag"):
            np.testing.assert_allclose(g[f"model_{name}"][:n], getattr(specified, name), rtol=1e-9, atol=1e-15)
    assert found > 5
    assert quiet > 200
