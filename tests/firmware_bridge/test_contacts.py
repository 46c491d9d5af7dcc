"""E-stop and pedal with two contacts each, to the tick."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import DeviceFault, Status

OFF, ON, BRAKED = 0, 1, 3
CHANNEL_TICKS = 40  # 10 ms


def ticks(bench, count, mode=OFF, **rest):
    """Let ticks pass with a command in each; the newest feedback."""
    for _ in range(count):
        bench.tick()
        feedback = bench.command(mode, **rest)
    return feedback


def press(bench, first, second, switch="estop_open"):
    bench.inputs[switch][0] = first, second


@pytest.mark.parametrize(("first", "second"), [(1, 0), (0, 1), (1, 1), (0, 2**31)])
def test_each_contact_of_the_estop_alone_kills_in_the_same_tick(bench, first, second):
    bench.powered(effort=1.0)
    press(bench, first, second)
    bench.tick()
    assert bench.is_dead()
    feedback = bench.command(ON)
    assert Status(int(feedback["status"])) == Status.ESTOP | Status.FAULT
    assert feedback["fault"] == DeviceFault.ESTOP


@pytest.mark.parametrize("contacts", [(1, 0), (0, 1)])
@pytest.mark.parametrize("powered", [True, False])
def test_estop_contacts_that_disagree_for_ten_milliseconds_are_a_fault(bench, contacts, powered):
    bench.powered() if powered else bench.ready()
    press(bench, *contacts)
    early = ticks(bench, CHANNEL_TICKS - 1)
    assert early["fault"] == (DeviceFault.ESTOP if powered else DeviceFault.NONE)
    assert ticks(bench, 1)["fault"] == DeviceFault.ESTOP_CHANNELS
    assert bench.is_dead()


def test_estop_contacts_that_follow_one_another_within_ten_milliseconds_are_a_pressed_estop(bench):
    bench.powered()
    for contacts in ((1, 0), (1, 1), (0, 1), (0, 0)):
        press(bench, *contacts)
        assert ticks(bench, CHANNEL_TICKS - 1)["fault"] == DeviceFault.ESTOP
    assert ticks(bench, 1, clear=1)["fault"] == DeviceFault.NONE


def clears(bench) -> bool:
    ticks(bench, 1)
    return ticks(bench, 1, clear=1)["fault"] == DeviceFault.NONE


@pytest.mark.parametrize("stuck", [0, 1])
def test_a_channel_fault_is_cleared_only_by_a_press_and_a_release_of_both_contacts(bench, stuck):
    bench.ready()
    contacts = [1, 1]
    contacts[stuck] = 0
    press(bench, *contacts)
    ticks(bench, CHANNEL_TICKS)
    assert not clears(bench)
    press(bench, 0, 0)  # released, but nothing shows that the stuck one would open
    assert not clears(bench)
    press(bench, 1, 1)
    assert not clears(bench)
    press(bench, *contacts)  # releasing one after the other
    assert not clears(bench)
    press(bench, 0, 0)
    assert clears(bench)
    ticks(bench, 1)
    assert ticks(bench, 1, ON)["status"] & Status.POWERED


def test_a_contact_that_sticks_again_needs_another_proof(bench):
    bench.ready()
    press(bench, 1, 0)
    ticks(bench, CHANNEL_TICKS)
    press(bench, 1, 1)
    ticks(bench, 1)
    press(bench, 1, 0)
    ticks(bench, CHANNEL_TICKS)
    press(bench, 0, 0)
    assert not clears(bench)


def test_a_suspect_estop_lets_no_power_through_whatever_fault_came_first(bench):
    bench.powered()
    bench.tick(bench.WATCHDOG_US // 250)
    press(bench, 1, 0)
    assert ticks(bench, CHANNEL_TICKS)["fault"] == DeviceFault.WATCHDOG
    press(bench, 0, 0)
    bench.tick()
    assert bench.command(OFF, clear=1)["fault"] == DeviceFault.NONE
    feedback = bench.command(ON)  # before the next tick
    assert (feedback["fault"], feedback["status"] & Status.POWERED) == (DeviceFault.ESTOP_CHANNELS, 0)
    bench.tick()
    assert bench.is_dead()


def test_a_suspect_estop_of_before_the_session_is_told_in_it(bench):
    press(bench, 0, 1)
    bench.tick(CHANNEL_TICKS)
    press(bench, 0, 0)
    bench.ready()
    assert bench.command(OFF)["fault"] == DeviceFault.ESTOP_CHANNELS


def test_a_suspect_estop_does_not_make_a_device_ready_that_has_no_configuration(bench):
    press(bench, 0, 1)
    bench.tick(2 * CHANNEL_TICKS)
    bench.hello()
    assert bench.command(OFF)["fault"] == DeviceFault.NOT_CONFIGURED
    bench.configure()
    assert ticks(bench, 1)["fault"] == DeviceFault.ESTOP_CHANNELS


def test_the_pedal_is_pressed_when_both_contacts_say_so(bench):
    bench.ready()
    for contacts, pressed in (((0, 0), False), ((1, 0), False), ((0, 1), False), ((1, 1), True)):
        press(bench, *contacts, "pedal")
        assert bool(ticks(bench, 1)["status"] & Status.PEDAL) == pressed


@pytest.mark.parametrize("contacts", [(1, 0), (0, 1)])
@pytest.mark.parametrize("mode", [OFF, ON, BRAKED])
def test_pedal_contacts_that_disagree_for_ten_milliseconds_are_a_fault(bench, contacts, mode):
    bench.ready()
    bench.command(mode)
    press(bench, *contacts, "pedal")
    early = ticks(bench, CHANNEL_TICKS - 1, mode)
    assert (early["fault"], bool(early["status"] & Status.POWERED)) == (DeviceFault.NONE, mode != OFF)
    bench.tick()
    assert bench.is_dead()
    assert ticks(bench, 1, mode)["fault"] == DeviceFault.PEDAL_CHANNELS


@pytest.mark.parametrize("agreed", [0, 1])
def test_a_pedal_fault_can_be_cleared_when_its_contacts_agree(bench, agreed):
    bench.ready()
    press(bench, 1, 0, "pedal")
    ticks(bench, CHANNEL_TICKS)
    assert not clears(bench)
    press(bench, agreed, agreed, "pedal")
    assert clears(bench)


def test_a_pressed_estop_is_told_before_a_broken_pedal(bench):
    bench.powered()
    press(bench, 1, 0, "pedal")
    ticks(bench, CHANNEL_TICKS - 1, ON)
    press(bench, 1, 1)
    assert ticks(bench, 1, ON)["fault"] == DeviceFault.ESTOP


pairs = st.tuples(st.integers(0, 1), st.integers(0, 1))


@given(st.lists(st.tuples(pairs, pairs, st.integers(1, 60), st.sampled_from([OFF, ON, ON, BRAKED])), max_size=8))
@settings(max_examples=20, deadline=None)
def test_no_power_with_a_contact_open_or_after_ten_milliseconds_of_disagreement(bench_class, phases):
    bench = bench_class().ready()
    differ = {"estop_open": 0, "pedal": 0}
    for estop, pedal, count, mode in phases:
        for _ in range(count):
            for switch, contacts in (("estop_open", estop), ("pedal", pedal)):
                press(bench, *contacts, switch)
                differ[switch] = differ[switch] + 1 if contacts[0] != contacts[1] else 0
            bench.tick()
            bench.command(mode, clear=1)
            if any(estop) or max(differ.values()) >= CHANNEL_TICKS:
                assert bench.is_dead()
