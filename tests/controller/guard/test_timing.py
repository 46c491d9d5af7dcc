"""Late cycles, lost replies, corrupted frames, floods, silent and refused streams."""

import pytest

from controller.catalogue import Code
from controller.guard.records import LATE_WINDOW, LINK_WINDOW
from tests.controller.guard.cases import new_guard, told


def test_cycles_in_time_are_no_fault(checks):
    guard = new_guard()
    assert {checks.check_cycle(guard, 0) for _ in range(3 * LATE_WINDOW)} == {Code.OK}


def test_three_late_cycles_within_a_hundred_are_a_fault(checks):
    for between, code in ((48, Code.CYCLES_LATE), (49, Code.OK)):
        guard = new_guard()
        codes = []
        for _ in range(3):
            codes.append(checks.check_cycle(guard, 1))
            for _ in range(between):
                assert checks.check_cycle(guard, 0) == Code.OK
        # The third comes in cycle 98 or 100 after the first: the window is of 100 cycles, itself included.
        assert codes == [Code.OK, Code.OK, code]
    assert guard[0].late_count == 2


def test_late_cycles_are_told_with_their_number(checks):
    guard = new_guard()
    for _ in range(3):
        checks.check_cycle(guard, 2)
    assert told(guard) == (-1, 3.0, 3.0)
    assert guard[0].skipped == 2


def test_a_host_that_stood_still_as_long_as_the_watchdog_is_told_at_once(checks):
    guard = new_guard(gap=0.004)
    assert checks.check_cycle(guard, 3) == Code.OK
    assert checks.check_cycle(guard, 4) == Code.CYCLE_GAP
    assert told(guard) == (-1, 0.004, 0.004)
    assert checks.check_cycle(guard, 5000) == Code.CYCLE_GAP


def test_one_skipped_cycle_is_a_gap_where_the_watchdog_is_that_short(checks):
    assert checks.check_cycle(new_guard(gap=0.001), 1) == Code.CYCLE_GAP


def test_what_was_measured_and_what_was_allowed_are_told_in_this_order(checks):
    guard = new_guard(gap=0.004, late=1, late_count=LATE_WINDOW)
    assert checks.check_cycle(guard, 6) == Code.CYCLE_GAP
    assert told(guard) == (-1, 0.006, 0.004)
    assert checks.check_cycle(guard, 1) == Code.CYCLES_LATE
    assert told(guard) == (-1, 100.0, 3.0)
    guard = new_guard()
    for total in range(1, 6):
        checks.check_link(guard, 0, total, 0)
    assert told(guard) == (-1, 5.0, 3.0)


def test_a_time_that_is_short_of_its_bound_by_rounding_has_reached_it(checks):
    for short, codes in ((0.99e-9, (Code.CYCLE_GAP, Code.FEEDBACK_LOST)), (1.01e-9, (Code.OK, Code.OK))):
        guard = new_guard(gap=0.004 + short, feedback_timeout=0.004 + short, late_cycles=10)
        assert (checks.check_cycle(guard, 4), checks.check_link(guard, 4, 0, 0)) == codes


def test_without_a_skipped_cycle_there_is_no_gap(checks):
    assert checks.check_cycle(new_guard(gap=0.0), 0) == Code.OK


def test_feedback_is_lost_after_exactly_its_timeout(checks):
    guard = new_guard()
    codes = [checks.check_link(guard, age, 0, 0) for age in range(5)]
    assert codes == [Code.OK] * 3 + [Code.FEEDBACK_LOST] * 2
    assert told(guard) == (-1, 0.004, 0.003)
    assert (guard[0].feedback_age, guard[0].cycle) == (4, 5)


def test_three_cycles_in_a_row_with_bad_frames_are_a_fault(checks):
    guard = new_guard()
    totals = [5, 6, 6, 7, 9, 10, 10]
    codes = [checks.check_link(guard, 0, total, 0) for total in totals]
    assert codes == [Code.OK] * 5 + [Code.LINK_NOISY, Code.OK]
    assert told(guard) == (-1, 3.0, 3.0)


def test_more_than_one_cycle_in_a_hundred_with_bad_frames_is_a_fault(checks):
    guard = new_guard()
    # One bad cycle in 99: the eleventh is cycle 990, and the first, cycle 0, leaves the window of 1000 at cycle 1000.
    codes = [checks.check_link(guard, 0, min(cycle // 99 + 1, 11), 0) for cycle in range(1010)]
    assert [cycle for cycle, code in enumerate(codes) if code] == list(range(990, LINK_WINDOW))
    assert set(codes) == {Code.OK, Code.LINK_NOISY}
    assert told(guard) == (-1, 11.0, 10.0)
    assert guard[0].bad_count == 10


def test_the_windows_forget(checks):
    guard = new_guard()
    checks.check_link(guard, 0, 1, 0)
    checks.check_cycle(guard, 1)
    for _ in range(LINK_WINDOW):
        assert checks.check_link(guard, 0, 1, 0) == Code.OK
        checks.check_cycle(guard, 0)
    assert (guard[0].bad_count, guard[0].late_count) == (0, 0)


def test_a_port_that_brings_too_much_for_three_cycles_is_flooded(checks):
    guard = new_guard()
    assert [checks.check_link(guard, 0, 0, floods) for floods in range(5)] == [Code.OK] * 3 + [Code.PORT_FLOODED] * 2
    assert told(guard) == (-1, 4.0, 3.0)


def test_a_stream_is_stale_and_then_dead(checks):
    assert checks.check_stream(50, 50, 500) == Code.OK
    assert checks.check_stream(51, 50, 500) == Code.STREAM_STALE
    assert checks.check_stream(500, 50, 500) == Code.STREAM_STALE
    assert checks.check_stream(501, 50, 500) == Code.STREAM_DEAD


@pytest.mark.parametrize(
    ("commands", "codes"),
    [
        ([(1, 7)] * 7, [0, 0, 1, 0, 0, 1, 0]),
        ([(1, 7), (1, 7), (1, 0), (1, 7), (1, 7), (1, 7)], [0, 0, 0, 0, 0, 1]),
        ([(1, 7), (0, 7), (0, 0), (1, 7), (0, 7), (1, 7)], [0, 0, 0, 0, 0, 1]),
        ([(1, 7), (1, 7), (0, 7), (1, 7)], [0, 0, 0, 1]),
    ],
    ids=["three in a row", "an accepted one between", "others do not count", "nor the third"],
)
def test_three_refused_commands_of_a_stream_are_a_fault(checks, commands, codes):
    guard = new_guard()
    found = [checks.check_refusal(guard, is_stream, verdict) for is_stream, verdict in commands]
    assert found == [Code.STREAM_REFUSED if code else Code.OK for code in codes]
    assert told(guard) == (-1, 3.0, 3.0)
