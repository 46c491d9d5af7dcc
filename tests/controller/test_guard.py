"""Whatever the law asks, what leaves the guard is finite, near the last set-point and within the limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.catalogue import CATALOGUE, Code
from controller.guard import (
    GUARD,
    JOINT_COMMAND,
    REACTIONS,
    SATURATED_CYCLES,
    STEP_MARGIN,
    arm_guard,
    check_command,
    check_feedback,
    check_stream,
)
from telemetry.sample import MAX_AXES

N = 7
PERIOD = 0.001


def new_guard(position=0.0):
    guard = np.zeros(1, GUARD)
    g = guard[0]
    g["n_axes"], g["period"], g["feedback_timeout"] = N, PERIOD, 0.003
    g["position_min"], g["position_max"] = -1.0, 1.0
    g["velocity_max"], g["effort_max"], g["following_error"] = 2.0, 3.0, 0.1
    arm_guard(guard, np.full(MAX_AXES, position))
    return guard


def new_command(**fields):
    command = np.zeros(1, JOINT_COMMAND)
    for name, value in fields.items():
        command[0][name][:N] = value
    return command


def vector(value, axis=0):
    result = np.zeros(MAX_AXES)
    result[axis] = value
    return result


def test_a_good_command_passes_unchanged():
    guard, command = new_guard(), new_command(position=0.001, velocity=1.0, effort=2.0, kp=100.0, kd=1.0)
    before = command.copy()
    assert check_command(guard, command, np.zeros(MAX_AXES), 1) == Code.OK
    assert (command == before).all()


@pytest.mark.parametrize("field", ["position", "velocity", "effort", "kp", "kd"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", range(N))
def test_a_value_that_is_not_finite_never_leaves(field, value, axis):
    guard, command = new_guard(0.25), new_command(position=0.25)
    command[0][field][axis] = value
    assert check_command(guard, command, np.full(MAX_AXES, 0.25), 1) == Code.COMMAND_NOT_FINITE
    assert guard[0]["axis"] == axis
    for name in JOINT_COMMAND.names:
        assert np.isfinite(command[0][name]).all()
    assert (command[0]["position"] == 0.25).all()
    assert (command[0]["velocity"] == 0.0).all()


@pytest.mark.parametrize("gain", ["kp", "kd"])
def test_a_negative_gain_never_leaves(gain):
    guard, command = new_guard(), new_command()
    command[0][gain][3] = -1e-9
    assert check_command(guard, command, np.zeros(MAX_AXES), 1) == Code.COMMAND_NOT_FINITE
    assert (command[0][gain] >= 0.0).all()


def test_a_jump_of_the_set_point_is_replaced_by_the_last_one():
    step = STEP_MARGIN * 2.0 * PERIOD
    guard = new_guard()
    assert check_command(guard, new_command(position=vector(step * 0.999)[:N]), np.zeros(MAX_AXES), 1) == Code.OK
    command = new_command(position=vector(step * 2.001)[:N])
    assert check_command(guard, command, np.zeros(MAX_AXES), 1) == Code.SETPOINT_STEP
    assert command[0]["position"][0] == step * 0.999


def test_a_velocity_beyond_the_margin_is_caught():
    command = new_command(velocity=vector(2.0 * STEP_MARGIN * 1.001, 4)[:N])
    guard = new_guard()
    assert check_command(guard, command, np.zeros(MAX_AXES), 1) == Code.VELOCITY_LIMIT
    assert guard[0]["axis"] == 4
    assert command[0]["velocity"][4] == 0.0


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_set_point_beyond_a_joint_limit_is_caught_once_the_joints_know_where_they_are(sign):
    guard = new_guard(sign * 0.9999)
    command = new_command(position=sign * 1.0001)
    measured = np.full(MAX_AXES, sign)
    assert check_command(guard, command.copy(), measured, 0) == Code.OK
    guard = new_guard(sign * 0.9999)
    assert check_command(guard, command, measured, 1) == Code.POSITION_LIMIT
    assert (command[0]["position"][:N] == sign * 0.9999).all()


def test_an_arm_found_outside_its_limits_may_come_back_but_not_go_further():
    guard = new_guard(1.01)
    measured = np.full(MAX_AXES, 1.01)
    assert check_command(guard, new_command(position=1.009), measured, 1) == Code.OK
    assert check_command(guard, new_command(position=1.0095), measured, 1) == Code.POSITION_LIMIT


def test_too_much_effort_is_clamped_and_becomes_a_fault_when_it_stays():
    guard = new_guard()
    for _ in range(SATURATED_CYCLES - 1):
        command = new_command(effort=vector(-99.0, 2)[:N])
        assert check_command(guard, command, np.zeros(MAX_AXES), 1) == Code.OK
        assert command[0]["effort"][2] == -3.0
    assert check_command(guard, new_command(effort=vector(-99.0, 2)[:N]), np.zeros(MAX_AXES), 1) == Code.EFFORT_LIMIT
    assert guard[0]["axis"] == 2
    assert guard[0]["clamped"] == SATURATED_CYCLES


def test_clamping_now_and_then_is_no_fault():
    guard = new_guard()
    for k in range(4 * SATURATED_CYCLES):
        effort = 99.0 if k % SATURATED_CYCLES else 0.0
        assert check_command(guard, new_command(effort=effort), np.zeros(MAX_AXES), 1) == Code.OK


@pytest.mark.parametrize("axis", range(N))
def test_a_joint_that_does_not_follow_is_caught(axis):
    guard = new_guard()
    assert check_command(guard, new_command(), vector(0.0999, axis), 1) == Code.OK
    assert check_command(guard, new_command(), vector(0.1001, axis), 1) == Code.FOLLOWING_ERROR
    assert guard[0]["axis"] == axis


def test_feedback_is_lost_after_exactly_its_timeout():
    guard, still = new_guard(), np.zeros(MAX_AXES)
    assert [check_feedback(guard, age, still, still) for age in range(5)] == [
        Code.OK,
        Code.OK,
        Code.OK,
        Code.FEEDBACK_LOST,
        Code.FEEDBACK_LOST,
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_feedback_that_is_no_number_is_caught(value):
    guard, still = new_guard(), np.zeros(MAX_AXES)
    assert check_feedback(guard, 0, vector(value, 6), still) == Code.FEEDBACK_NOT_FINITE
    assert check_feedback(guard, 0, still, vector(value, 6)) == Code.FEEDBACK_NOT_FINITE


def test_a_joint_that_runs_away_is_caught_by_its_speed():
    guard, still = new_guard(), np.zeros(MAX_AXES)
    assert check_feedback(guard, 0, still, vector(-2.99, 1)) == Code.OK
    assert check_feedback(guard, 0, still, vector(-3.01, 1)) == Code.VELOCITY_LIMIT


def test_a_stream_is_stale_and_then_dead():
    assert check_stream(50, 50, 500) == Code.OK
    assert check_stream(51, 50, 500) == Code.STREAM_STALE
    assert check_stream(501, 50, 500) == Code.STREAM_DEAD


def test_reactions_are_the_catalogues():
    assert all(REACTIONS[int(code)] == entry.reaction for code, entry in CATALOGUE.items())


numbers = st.floats(width=64)


@settings(max_examples=300)
@given(
    st.lists(numbers, min_size=5 * N, max_size=5 * N),
    st.lists(st.floats(-1, 1), min_size=N, max_size=N),
    st.booleans(),
)
def test_whatever_is_asked_what_leaves_is_safe(values, measured, limited):
    guard, command = new_guard(), np.zeros(1, JOINT_COMMAND)
    for k, name in enumerate(JOINT_COMMAND.names):
        command[0][name][:N] = values[k * N : (k + 1) * N]
    position = np.zeros(MAX_AXES)
    position[:N] = measured
    plain_guard, plain_command = guard.copy(), command.copy()

    code = check_command(guard, command, position, int(limited))

    c = command[0]
    for name in JOINT_COMMAND.names:
        assert np.isfinite(c[name]).all()
    assert (np.abs(c["position"]) <= STEP_MARGIN * 2.0 * PERIOD).all()
    assert (np.abs(c["velocity"]) <= STEP_MARGIN * 2.0).all()
    assert (np.abs(c["effort"]) <= 3.0).all()
    assert (c["kp"] >= 0.0).all()
    assert (c["kd"] >= 0.0).all()
    with np.errstate(all="ignore"):
        assert code == check_command.py_func(
            plain_guard.view(np.recarray), plain_command.view(np.recarray), position, int(limited)
        )
    assert command.tobytes() == plain_command.tobytes()
