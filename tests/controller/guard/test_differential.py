"""Compiled and plain Python agree; a million inputs by `python -m tests.controller.guard.differential 1000000`."""

import pytest

from tests.controller.guard import differential
from tests.controller.guard.cases import PLAIN


def test_compiled_and_plain_python_agree_on_random_inputs():
    assert differential.compare(10_000, seed=1) >= 10_000


def test_a_difference_would_be_seen(monkeypatch):
    original = PLAIN.check_cycle

    def wrong(guard, skipped):
        code = original(guard, skipped)
        guard[0].discarded += 1
        return code

    monkeypatch.setattr(PLAIN, "check_cycle", wrong)
    with pytest.raises(differential.DifferenceError, match="discarded"):
        differential.compare(1)
