"""The tests of guard and states notice small mistakes; and the mutation test notices tests that do not."""

import subprocess
import sys

import pytest

from tests.mutation.__main__ import ROOT, all_mutants, equivalents, stale, suites
from tests.mutation.operators import mutants_of


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280
    )


def test_a_sample_of_mutants_is_killed():
    done = run("tests.mutation", "--sample", "60", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_branch_of_guard_and_states_is_taken():
    done = run("tests.mutation.coverage")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_listed_equivalent_still_exists_and_has_a_reason():
    assert stale(equivalents(), all_mutants(suites())) == []


def test_an_entry_without_a_mutant_or_a_reason_is_stale():
    mutants = mutants_of("m.py", "def f(a):\n    return a < 1\n")
    key = mutants[0].key
    assert stale({key: "the same"}, mutants) == []
    assert stale({key: " "}, mutants) == [key]
    gone = ("m.py", "f", "return a > 1", "return a < 1")
    assert stale({gone: "the same"}, mutants) == [gone]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("return a < b", {"return a <= b", "return a >= b", "pass"}),
        ("return a + b", {"return a - b", "pass"}),
        ("return (a) + (b)", {"return (a) - (b)", "pass"}),
        ("return a and b", {"return (a or b)", "return (b)", "return (a)", "pass"}),
        ("return not a", {"return (a)", "pass"}),
        ("return abs(a)", {"return (a)", "pass"}),
        ("return min(a, b)", {"return max(a, b)", "pass"}),
        ("return 7", {"return 8", "return 6"}),
        ("return 2.0", {"return 2.2", "return 0.0"}),
        ("return _BAD", {"return 0", "pass"}),
        ("return _OK", {"return 1", "pass"}),
        ("a += b", {"a -= b", "a = b", "pass"}),
        ("a = b", {"pass"}),
        ("return f(a, b)", {"return f(b, a)", "pass"}),
        ("return a[0]", {"return a[1]", "pass"}),
    ],
)
def test_every_kind_of_mistake_is_made(line, expected):
    made = {mutant.after for mutant in mutants_of("m.py", f"def f(a, b):\n    {line}\n")}
    assert made == expected


def test_loops_conditions_and_jumps_are_changed():
    source = "def f(n):\n    for i in range(n):\n        if i > 2:\n            break\n"
    made = {mutant.after for mutant in mutants_of("m.py", source)}
    assert made >= {"for i in range(0 + 1, n):", "for i in range(0, n - 1):", "if not (i > 2):", "if True:", "continue"}


def test_a_mutant_is_named_by_its_place_in_the_function_and_not_by_its_line():
    first = mutants_of("m.py", "def f(a):\n    return a < 1\n")
    second = mutants_of("m.py", "# moved\n\n\ndef f(a):\n    return a < 1\n")
    assert [mutant.key for mutant in first] == [mutant.key for mutant in second]
    assert [mutant.line for mutant in first] != [mutant.line for mutant in second]


def test_layouts_signatures_and_docstrings_are_left_alone():
    source = '"""Doc 1."""\n__all__ = ["x"]\nD = np.dtype([("x", "f8", (8,))])\n_i8 = types.int64\n'
    assert mutants_of("m.py", source) == []
