"""The operating states are CRTK's, and nothing but a command leads out of FAULT."""

import itertools

import pytest

from controller.catalogue import Code
from controller.states import REFUSED, TABLE, Event, transition, verdict
from telemetry.sample import OperatingState

D, E, P, F = OperatingState
COMMANDS = [Event.ENABLE, Event.DISABLE, Event.PAUSE, Event.RESUME, Event.HOME, Event.UNHOME]

# CRTK's own table: what each state command may lead to. "ok" keeps the state.
CRTK = {
    (D, Event.ENABLE): E,
    (D, Event.DISABLE): D,
    (D, Event.UNHOME): D,
    (E, Event.ENABLE): E,
    (E, Event.DISABLE): D,
    (E, Event.PAUSE): P,
    (E, Event.HOME): E,
    (E, Event.UNHOME): E,
    (P, Event.DISABLE): D,
    (P, Event.PAUSE): P,
    (P, Event.RESUME): E,
    (P, Event.UNHOME): P,
    (F, Event.ENABLE): E,
    (F, Event.DISABLE): D,
    (F, Event.UNHOME): F,
}
COMPLETION = {Event.ENABLE: Event.POWERED, Event.DISABLE: Event.UNPOWERED}


def after(state, command):
    """The state once a command has run its course: ENABLE and DISABLE wait for the motors to say so."""
    accepted = transition(int(state), int(command))
    if accepted == REFUSED:
        return REFUSED
    return transition(accepted, int(COMPLETION[command])) if command in COMPLETION else accepted


@pytest.mark.parametrize(("state", "command"), list(itertools.product(OperatingState, COMMANDS)))
def test_every_state_takes_exactly_crtks_commands(state, command):
    assert after(state, command) == CRTK.get((state, command), REFUSED)


@pytest.mark.parametrize("state", OperatingState)
def test_a_command_is_refused_with_a_reason_exactly_where_the_table_has_none(state):
    for command in COMMANDS:
        refused = transition(int(state), int(command)) == REFUSED
        assert (verdict(int(state), int(command)) != Code.OK) == refused


def test_no_command_leads_into_fault():
    for state, command in itertools.product([D, E, P], COMMANDS):
        assert transition(int(state), int(command)) != F


def test_fault_is_entered_from_everywhere_and_left_only_after_a_command():
    for state in OperatingState:
        assert transition(int(state), int(Event.FAULTED)) == F
    for event in (Event.HELD, Event.FAULTED):
        assert transition(int(F), int(event)) == F


def test_a_powered_hold_never_powers_an_arm_that_was_off():
    assert transition(int(D), int(Event.HELD)) == D
    assert transition(int(F), int(Event.HELD)) == F


def test_every_system_event_has_an_outcome_in_every_state():
    system = [Event.POWERED, Event.UNPOWERED, Event.HELD, Event.FAULTED]
    assert (TABLE[:, [int(e) for e in system]] != REFUSED).all()


def test_every_event_has_a_column_and_every_state_a_row():
    assert [int(event) for event in Event] == list(range(TABLE.shape[1]))
    assert [int(state) for state in OperatingState] == list(range(TABLE.shape[0]))
    assert REFUSED not in list(OperatingState)


@pytest.mark.parametrize("command", [Event.ENABLE, Event.DISABLE, Event.HOME, Event.UNHOME])
def test_a_command_that_takes_time_or_changes_no_power_leaves_the_state_as_it_is(command):
    for state in OperatingState:
        assert transition(int(state), int(command)) in (state, REFUSED)


def test_a_powered_hold_pauses_an_arm_that_has_power():
    assert transition(int(E), int(Event.HELD)) == P
    assert transition(int(P), int(Event.HELD)) == P


def test_power_enables_an_arm_that_had_none_and_ends_no_pause():
    assert [transition(int(state), int(Event.POWERED)) for state in OperatingState] == [E, E, P, E]


def test_the_end_of_a_disable_is_disabled_wherever_it_comes():
    assert {transition(int(state), int(Event.UNPOWERED)) for state in OperatingState} == {D}


@pytest.mark.parametrize(
    ("state", "command"), [(D, Event.PAUSE), (D, Event.RESUME), (E, Event.RESUME), (P, Event.ENABLE)]
)
def test_what_has_no_meaning_in_a_state_is_refused_as_that(state, command):
    assert verdict(int(state), int(command)) == Code.INVALID_IN_STATE


@pytest.mark.parametrize("command", [Event.PAUSE, Event.RESUME, Event.HOME])
def test_what_a_fault_forbids_is_refused_as_that(command):
    assert verdict(int(F), int(command)) == Code.IN_FAULT


def test_the_reason_helps_homing_before_enabling_names_enabling():
    assert verdict(int(D), int(Event.HOME)) == Code.NOT_ENABLED
    assert verdict(int(P), int(Event.HOME)) == Code.PAUSED
    assert verdict(int(F), int(Event.HOME)) == Code.IN_FAULT


def test_compiled_and_plain_python_agree():
    for state, event in itertools.product(OperatingState, Event):
        assert transition(int(state), int(event)) == transition.py_func(int(state), int(event))
