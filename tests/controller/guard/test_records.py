"""Arming forgets what was before, and a code is told with what it speaks of."""

import numpy as np

from controller.catalogue import CATALOGUE, Code
from controller.guard.feedback import LAG_MAX
from controller.guard.records import ERRORS, LATE_WINDOW, LINK_WINDOW, MAX_VOLUMES, REACTIONS, SENT
from controller.guard.residual import LONG_WINDOW
from telemetry.sample import MAX_AXES
from tests.controller.guard.cases import new_guard, told


def test_reactions_are_the_catalogues():
    assert len(REACTIONS) == max(CATALOGUE) + 1
    assert all(REACTIONS[int(code)] == entry.reaction for code, entry in CATALOGUE.items())


def test_a_code_is_kept_with_the_axis_the_value_and_the_bound(checks):
    guard = new_guard()
    assert checks.tell(guard, int(Code.STALLED), 3, 0.5, 0.25) == Code.STALLED
    assert told(guard) == (3, 0.5, 0.25)


def test_arming_starts_at_rest_at_the_position_on_every_axis(checks):
    guard = new_guard(last_position=9.0, last_velocity=9.0, last_effort=9.0, velocity_steps=9.0)
    position = np.arange(1.0, MAX_AXES + 1)
    checks.arm_guard(guard, position)
    g = guard[0]
    assert (g.last_position == position).all()
    assert (g.last_velocity == 0.0).all()
    assert (g.last_effort == 0.0).all()
    assert (g.velocity_steps == 0.0).all()


def test_arming_forgets_clamped_efforts_the_residual_and_the_tip_and_lets_the_tip_go(checks):
    guard = new_guard(saturated=9, residual_known=1, tip_known=1, scale=0.5)
    checks.arm_guard(guard, np.zeros(MAX_AXES))
    g = guard[0]
    assert (g.saturated, g.residual_known, g.tip_known, g.scale) == (0, 0, 0, 1.0)


def test_rings_hold_what_is_looked_up_in_them():
    assert SENT == 32
    assert SENT > LAG_MAX + 2
    assert ERRORS == 64
    assert ERRORS > LONG_WINDOW
    assert (LATE_WINDOW, LINK_WINDOW, MAX_VOLUMES) == (100, 1000, 16)
