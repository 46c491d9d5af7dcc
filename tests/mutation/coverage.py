"""Branch coverage of the guard and the operating states as plain Python: `python -m tests.mutation.coverage`.

Ends with 1 where a line or a branch is not taken by their own tests.
"""

import sys

import coverage
import pytest

from tests.mutation.__main__ import PYTEST, ROOT, Bench, prepare, suites

__all__ = ["main"]


def main():
    """Run the tests and print what is missing; return the exit code."""
    tests_of = suites()
    measure = coverage.Coverage(
        branch=True, data_file=None, include=[str(ROOT / file) for file in tests_of], config_file=False
    )
    measure.set_option("report:exclude_also", [r"if TYPE_CHECKING:"])
    prepare()
    measure.start()
    bench = Bench(lambda bench: bench.try_out())
    ended = pytest.main([*PYTEST, *tests_of.values()], plugins=[bench])
    measure.stop()
    if ended or bench.code:
        print("the tests fail", file=sys.stderr)
        return 2
    percent = measure.report(show_missing=True, file=sys.stdout, precision=2)
    return 0 if percent == 100.0 else 1


if __name__ == "__main__":
    sys.exit(main())
