"""Whatever the law asks, what leaves the guard is finite, near the last set-point and within the limits."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.catalogue import Code
from controller.guard.records import JOINT_COMMAND
from telemetry.sample import MAX_AXES
from tests.controller.guard.cases import PERIOD, N, new_command, new_guard, told, vector

# What the guard promises, in numbers of its own.
STEP_MARGIN = 1.5
VELOCITY_STEP = 2.000002
VELOCITY_STEPS = 4.0
VELOCITY_LEAK = 0.9
SATURATED_CYCLES = 50
SOFT_CYCLES = 100

STILL = np.zeros(MAX_AXES)
V_MAX = 2.0
STEP = STEP_MARGIN * V_MAX * PERIOD


@pytest.fixture
def armed(checks):
    def make(position=0.0, **fields):
        guard = new_guard(**fields)
        checks.arm_guard(guard, np.full(MAX_AXES, position))
        return guard

    return make


def test_a_good_command_passes_unchanged(checks, armed):
    guard, command = armed(), new_command(position=0.001, velocity=1.0, effort=2.0, kp=100.0, kd=1.0)
    before = command.copy()
    assert checks.check_command(guard, command, STILL, 1) == Code.OK
    assert (command == before).all()
    assert guard[0].axis == -1


@pytest.mark.parametrize("field", ["position", "velocity", "effort", "kp", "kd"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, 3, N - 1])
def test_a_value_that_is_not_finite_never_leaves(checks, armed, field, value, axis):
    guard, command = armed(0.25), new_command(position=0.25)
    command[0][field][axis] = value
    assert checks.check_command(guard, command, np.full(MAX_AXES, 0.25), 1) == Code.COMMAND_NOT_FINITE
    assert told(guard) == (axis, pytest.approx(np.nan, nan_ok=True), 0.0)
    for name in JOINT_COMMAND.names:
        assert np.isfinite(command[0][name]).all()
    assert (command[0].position == 0.25).all()
    assert (command[0].velocity == 0.0).all()
    if field in ("kp", "kd"):
        assert (command[0].kp[axis], command[0].kd[axis]) == (0.0, 0.0)  # not the most that is allowed


def test_the_axis_told_is_the_first_one(checks, armed):
    command = new_command(position=np.nan)
    guard = armed()
    checks.check_command(guard, command, STILL, 1)
    assert guard[0].axis == 0


BAD = {
    Code.COMMAND_NOT_FINITE: ("effort", np.nan),
    Code.SETPOINT_STEP: ("position", -1.01 * STEP),
    Code.VELOCITY_LIMIT: ("velocity", 1.01 * STEP_MARGIN * V_MAX),
    Code.POSITION_LIMIT: ("position", 0.9 * STEP),
}


@pytest.mark.parametrize("code", BAD)
@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
def test_the_first_axis_and_the_last_are_checked_and_of_two_the_first_is_told(checks, armed, code, axis):
    field, value = BAD[code]
    for others in ([], [k for k in (3, MAX_AXES - 1) if k > axis]):
        guard = armed(n_axes=MAX_AXES, position_max=0.0)
        command = new_command()
        command[0][field][[axis, *others]] = value
        assert checks.check_command(guard, command, STILL, 1) == code
        assert guard[0].axis == axis
        assert (command[0][field] == 0.0).all()


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
def test_of_every_axis_it_is_remembered_what_passed(checks, armed, axis):
    guard = armed(n_axes=MAX_AXES)
    command = new_command()
    values = {"position": 0.001, "velocity": 1.5, "effort": -2.0}
    for name, value in values.items():
        command[0][name][axis] = value
    for passed in (1, 2):
        assert checks.check_command(guard, command, STILL, 1) == Code.OK
        for name, value in values.items():
            assert (guard[0][f"last_{name}"] == vector(value, axis)).all()
        # The second has the same velocity: its step is none, and the sum leaks.
        assert guard[0].velocity_steps[axis] == pytest.approx(1.5 * VELOCITY_LEAK ** (passed - 1))
    bad = new_command(effort=np.nan)
    assert checks.check_command(guard, bad, STILL, 1) == Code.COMMAND_NOT_FINITE
    assert (bad[0].position == vector(0.001, axis)).all()
    assert (bad[0].effort == vector(-2.0, axis)).all()
    assert (guard[0].last_velocity == 0.0).all()
    assert (guard[0].velocity_steps == 0.0).all()


def test_what_is_exactly_at_its_bound_passes_and_what_is_more_does_not(checks, armed):
    def code(value, field="position", measured=0.0, **memory):
        guard = armed(period=2.0**-10, position_max=0.0 if "limited" in memory else 1.0)
        for name, before in memory.items():
            if name != "limited":
                guard[0][name][2] = before
        command = new_command()
        command[0][field][2] = value
        return checks.check_command(guard, command, vector(measured, 2), 1)

    def edge(at, fault, **where):
        assert code(at, **where) == Code.OK
        assert code(at * (1.0 + 1e-12), **where) == fault

    edge(STEP_MARGIN * V_MAX * 2.0**-10, Code.SETPOINT_STEP)
    edge(STEP_MARGIN * V_MAX, Code.VELOCITY_LIMIT, field="velocity")
    whole_step = 2.0 * (1.0 + 1e-6) * V_MAX
    edge(whole_step - 2.0, Code.ACCELERATION_LIMIT, field="velocity", last_velocity=-2.0)
    edge(2.0, Code.ACCELERATION_LIMIT, field="velocity", last_velocity=-1.5, velocity_steps=5.0)  # 0.9 * 5 + 3.5
    edge(1e-6, Code.POSITION_LIMIT, limited=1)
    assert code(0.0, measured=0.1) == Code.OK
    assert code(0.0, measured=0.1 + 1e-12) == Code.FOLLOWING_ERROR


@pytest.mark.parametrize("gain", ["kp", "kd"])
def test_a_negative_gain_never_leaves(checks, armed, gain):
    command = new_command(kp=1.0, kd=1.0)
    command[0][gain][3] = -1e-9
    assert checks.check_command(armed(), command, STILL, 1) == Code.COMMAND_NOT_FINITE
    assert (command[0].kp[3], command[0].kd[3]) == (0.0, 0.0)
    assert (command[0].kp[2], command[0].kd[2]) == (1.0, 1.0)


@pytest.mark.parametrize(("gain", "most"), [("kp", 400.0), ("kd", 4.0)])
def test_gains_are_clamped_each_to_its_own_bound(checks, armed, gain, most):
    command = new_command(kp=1.0, kd=1.0)
    command[0][gain][:N] = [most * (1 - 1e-12), most, most * (1 + 1e-12), 1e9, 0.0, 1.0, 2 * most]
    before = command.copy()
    assert checks.check_command(armed(), command, STILL, 1) == Code.OK
    assert (command[0][gain][:N] == np.minimum(before[0][gain][:N], most)).all()
    other = "kd" if gain == "kp" else "kp"
    assert (command[0][other] == before[0][other]).all()


def test_gains_past_the_arms_axes_never_leave(checks, armed):
    command = new_command()
    command[0].kp[N], command[0].kd[N] = 5.0, 5.0
    checks.check_command(armed(), command, STILL, 1)
    assert (command[0].kp[N], command[0].kd[N]) == (0.0, 0.0)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_jump_of_the_set_point_is_replaced_by_the_last_one(checks, armed, sign):
    guard = armed()
    first = sign * STEP * 0.999
    assert checks.check_command(guard, new_command(position=vector(first)[:N], effort=1.0), STILL, 1) == Code.OK
    command = new_command(position=vector(2.001 * sign * STEP)[:N], velocity=0.5, effort=2.0)
    assert checks.check_command(guard, command, STILL, 1) == Code.SETPOINT_STEP
    assert command[0].position[0] == first
    assert (command[0].velocity == 0.0).all()
    assert (command[0].effort[:N] == 1.0).all()
    assert told(guard) == (0, abs(2.001 * sign * STEP - first), pytest.approx(STEP))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_velocity_beyond_the_margin_is_caught(checks, armed, sign):
    fast = V_MAX * STEP_MARGIN
    assert checks.check_command(armed(), new_command(velocity=sign * fast), STILL, 1) == Code.OK
    command = new_command(velocity=vector(sign * fast * 1.001, 4)[:N])
    guard = armed()
    assert checks.check_command(guard, command, STILL, 1) == Code.VELOCITY_LIMIT
    assert told(guard) == (4, fast * 1.001, fast)
    assert command[0].velocity[4] == 0.0


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_stream_may_turn_round_at_full_speed_and_no_harder(checks, armed, sign):
    for end, code in ((-V_MAX, Code.OK), (-1.01 * V_MAX, Code.ACCELERATION_LIMIT)):
        guard = armed()
        assert checks.check_command(guard, new_command(velocity=vector(sign * V_MAX, 5)[:N]), STILL, 1) == Code.OK
        guard[0].velocity_steps[:] = 0.0
        command = new_command(velocity=vector(sign * end, 5)[:N])
        assert checks.check_command(guard, command, STILL, 1) == code
        if code != Code.OK:
            assert told(guard) == (
                5,
                pytest.approx(2.01 * V_MAX / PERIOD),
                pytest.approx(VELOCITY_STEP * V_MAX / PERIOD, rel=1e-9),
            )
            assert command[0].velocity[5] == 0.0


def test_a_velocity_that_chatters_is_caught(checks, armed):
    # Steps of one velocity limit a cycle, up and down: 1, 1.9, 2.71, 3.44, 4.10 > 4.
    guard = armed()
    codes = []
    for k in range(5):
        command = new_command(velocity=vector(V_MAX * ((k + 1) % 2), 1)[:N])
        codes.append(checks.check_command(guard, command, STILL, 1))
    assert codes == [Code.OK] * 4 + [Code.ACCELERATION_LIMIT]
    total = sum(VELOCITY_LEAK**k for k in range(5))
    assert total > VELOCITY_STEPS
    assert told(guard) == (1, pytest.approx(total * V_MAX / PERIOD), pytest.approx(VELOCITY_STEPS * V_MAX / PERIOD))


def test_steps_of_a_third_of_the_velocity_limit_may_go_on_for_ever(checks, armed):
    guard = armed()
    for k in range(200):
        command = new_command(velocity=V_MAX * 0.39 * (k % 2))
        assert checks.check_command(guard, command, STILL, 1) == Code.OK


def test_after_a_replaced_command_velocities_count_from_rest(checks, armed):
    guard = armed()
    checks.check_command(guard, new_command(velocity=V_MAX), STILL, 1)
    checks.check_command(guard, new_command(velocity=np.nan), STILL, 1)
    assert (guard[0].last_velocity == 0.0).all()
    assert (guard[0].velocity_steps == 0.0).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_set_point_beyond_a_joint_limit_is_caught_once_the_joints_know_where_they_are(checks, armed, sign):
    measured = np.full(MAX_AXES, sign)
    command = new_command(position=sign * 1.0001)
    assert checks.check_command(armed(sign * 0.9999), command.copy().view(np.recarray), measured, 0) == Code.OK
    guard = armed(sign * 0.9999)
    assert checks.check_command(guard, command, measured, 1) == Code.POSITION_LIMIT
    assert (command[0].position[:N] == sign * 0.9999).all()
    assert told(guard) == (0, sign * 1.0001, sign)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_set_point_on_its_limit_may_be_rounded(checks, armed, sign):
    measured = np.full(MAX_AXES, sign)
    assert checks.check_command(armed(sign), new_command(position=sign * (1 + 0.9e-6)), measured, 1) == Code.OK
    beyond = new_command(position=sign * (1 + 1.1e-6))
    assert checks.check_command(armed(sign), beyond, measured, 1) == Code.POSITION_LIMIT


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_an_arm_found_outside_its_limits_may_come_back_but_not_go_further(checks, armed, sign):
    guard = armed(sign * 1.01)
    measured = np.full(MAX_AXES, sign * 1.01)
    assert checks.check_command(guard, new_command(position=sign * 1.009), measured, 1) == Code.OK
    assert checks.check_command(guard, new_command(position=sign * 1.009), measured, 1) == Code.OK
    assert checks.check_command(guard, new_command(position=sign * 1.0095), measured, 1) == Code.POSITION_LIMIT


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_too_much_effort_is_clamped_and_becomes_a_fault_when_it_stays(checks, armed, sign):
    guard = armed()
    for _ in range(SATURATED_CYCLES - 1):
        command = new_command(effort=vector(sign * 99.0, 2)[:N])
        assert checks.check_command(guard, command, STILL, 1) == Code.OK
        assert command[0].effort[2] == sign * 3.0
    command = new_command(effort=vector(sign * 99.0, 2)[:N])
    assert checks.check_command(guard, command, STILL, 1) == Code.EFFORT_LIMIT
    assert told(guard) == (2, 3.0, 3.0)
    assert guard[0].clamped == SATURATED_CYCLES


def test_clamping_now_and_then_is_no_fault_and_the_count_begins_anew(checks, armed):
    guard = armed()
    for k in range(2 * SATURATED_CYCLES):
        effort = 99.0 if k % SATURATED_CYCLES else 0.0
        assert checks.check_command(guard, new_command(effort=effort), STILL, 1) == Code.OK
    assert checks.check_command(guard, new_command(effort=99.0), STILL, 1) == Code.EFFORT_LIMIT


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_effort_of_the_first_axis_and_of_the_last_is_clamped_and_counted(checks, armed, axis, sign):
    guard, command = armed(n_axes=MAX_AXES), new_command()
    command[0].effort[axis] = sign * 3.1
    checks.check_command(guard, command, STILL, 1)
    assert (command[0].effort == vector(sign * 3.0, axis)).all()
    assert (guard[0].clamped, guard[0].saturated) == (1, 1)


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_actuator_of_the_first_axis_and_of_the_last_gets_no_more_than_it_can_give(checks, armed, axis, sign):
    guard = armed(n_axes=MAX_AXES)
    guard[0].saturated = SATURATED_CYCLES - 1
    guard[0].actuator_effort_max[axis] = 2.5
    command = new_command()
    command[0].effort[:] = 1.0
    command[0].effort[axis] = sign * 3.1
    assert checks.check_command(guard, command, STILL, 1) == Code.EFFORT_LIMIT
    assert command[0].effort[axis] == pytest.approx(sign * 2.5)
    assert (np.delete(command[0].effort, axis) == 1.0).all()
    assert told(guard) == (axis, pytest.approx(2.5), 3.0)


def test_of_several_actuators_that_ask_too_much_the_worst_decides(checks, armed):
    J = np.eye(MAX_AXES)
    J[:2, :2] = [[1.0, 2.0], [0.0, 1.5]]
    J[6:, 6:] = [[1.5, 0.0], [2.0, -1.0]]
    guard = armed(n_axes=MAX_AXES, joint_from_actuator=J, coupled=[0, 0, 2, 3, 4, 5, 6, 6], actuator_effort_max=1.0)
    command = new_command()
    asked = np.array([1.2, 0.9, 1.0, 0.98, -1.0, 0.5, 0.9, -1.2])
    command[0].effort[:] = asked
    checks.check_command(guard, command, STILL, 1)
    worst = [np.abs(J.T @ asked)[:2].max(), np.abs(J.T @ asked)[6:].max()]
    assert command[0].effort[:2] == pytest.approx(asked[:2] / worst[0])
    assert command[0].effort[6:] == pytest.approx(asked[6:] / worst[1])
    assert (command[0].effort[2:6] == asked[2:6]).all()


def test_an_effort_at_its_limit_is_not_clamped(checks, armed):
    guard = armed()
    checks.check_command(guard, new_command(effort=3.0), STILL, 1)
    assert guard[0].clamped == 0


def test_what_coupled_actuators_cannot_give_is_scaled_together(checks, armed):
    J = np.eye(MAX_AXES)
    J[4:6, 4:6] = [[1.0, 0.5], [-0.5, 2.0]]
    guard = armed(joint_from_actuator=J, coupled=[0, 1, 2, 3, 4, 4, 6, 7])
    command = new_command(effort=[1.0, 2.0, 3.0, -3.0, 2.0, 2.5, 3.0])
    asked = command[0].effort.copy()
    assert checks.check_command(guard, command, STILL, 1) == Code.OK
    effort = command[0].effort
    # Actuator 5 is asked for 0.5 * 2 + 2 * 2.5 = 6 and can give 4.
    assert effort[4:6] == pytest.approx(asked[4:6] * 4.0 / 6.0)
    assert (np.delete(effort, [4, 5]) == np.delete(asked, [4, 5])).all()
    assert (np.abs(J.T @ effort) <= 4.0 + 1e-12).all()
    assert guard[0].clamped == 0  # of a joint's own limit
    assert guard[0].last_effort[5] == effort[5]


def test_joints_held_softly_are_noted_with_those_that_they_are_coupled_with(checks, armed):
    guard = armed(coupled=[0, 1, 2, 3, 4, 4, 4, 7])
    checks.check_command(guard, new_command(kp=50.0), STILL, 1)
    assert (guard[0].soft == 0).all()
    checks.check_command(guard, new_command(kp=[50.0, 49.9, 50.0, 50.0, 50.0, 0.0, 50.0]), STILL, 1)
    assert guard[0].soft.tolist() == [0, SOFT_CYCLES, 0, 0, SOFT_CYCLES, SOFT_CYCLES, SOFT_CYCLES, 0]


@pytest.mark.parametrize("axis", [0, MAX_AXES - 1])
def test_the_first_joint_and_the_last_held_softly_are_noted_and_no_longer_time_is_cut(checks, armed, axis):
    for before in (0, 300):
        guard = armed(n_axes=MAX_AXES, kp_stiff=50.0, kp_max=400.0, soft=before)
        command = new_command(kp=60.0)
        command[0].kp[:] = 60.0
        command[0].kp[axis] = 40.0
        checks.check_command(guard, command, STILL, 1)
        assert guard[0].soft.tolist() == [max(SOFT_CYCLES, before) if k == axis else before for k in range(MAX_AXES)]


@pytest.mark.parametrize("axis", range(N))
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_joint_that_does_not_follow_is_caught(checks, armed, axis, sign):
    guard = armed()
    assert checks.check_command(guard, new_command(), vector(sign * 0.0999, axis), 1) == Code.OK
    assert checks.check_command(guard, new_command(), vector(sign * 0.1001, axis), 1) == Code.FOLLOWING_ERROR
    assert told(guard) == (axis, 0.1001, 0.1)


numbers = st.floats(width=64)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(numbers, min_size=5 * N, max_size=5 * N),
    st.lists(st.floats(-1, 1), min_size=N, max_size=N),
    st.booleans(),
)
def test_whatever_is_asked_what_leaves_is_safe(checks, values, measured, limited):
    guard, command = new_guard(), new_command()
    checks.arm_guard(guard, STILL)
    for k, name in enumerate(JOINT_COMMAND.names):
        command[0][name][:N] = values[k * N : (k + 1) * N]
    position = np.zeros(MAX_AXES)
    position[:N] = measured
    with np.errstate(all="ignore"):
        checks.check_command(guard, command, position, int(limited))
    c = command[0]
    for name in JOINT_COMMAND.names:
        assert np.isfinite(c[name]).all()
    assert (np.abs(c.position) <= STEP).all()
    assert (np.abs(c.velocity) <= STEP_MARGIN * V_MAX).all()
    assert (np.abs(c.effort) <= 3.0).all()
    assert (c.kp >= 0.0).all()
    assert (c.kp <= 400.0).all()
    assert (c.kd >= 0.0).all()
    assert (c.kd <= 4.0).all()
