"""Mutation test of the guard and the operating states, as plain Python: `python -m tests.mutation [--sample N]`.

Every mutant is one small mistake in the source. The module's own tests are run against it in a forked process, which
has everything but the guard imported already; a mutant that they do not notice has survived. Those that cannot be
noticed, since they do the same as the original, are listed with the reason in equivalents.toml.
"""

import argparse
import importlib
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
import tomllib
import traceback
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.operators import mutants_of
from tests.mutation.plain import use_plain_kernels

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENTS = Path(__file__).with_name("equivalents.toml")
PYTEST = (
    "-x",
    "-q",
    "--noconftest",
    "--no-header",
    "--assert=plain",
    "-p",
    "no:cacheprovider",
    "-o",
    "addopts=",
    "-o",
    "timeout=0",
    "-m",
    "not compiled",
)
IMPORTED = (
    "hypothesis",
    "numba",
    "controller.catalogue",
    "drivers.driver",
    "telemetry.sample",
    "kinematics.description",
)
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "killed by time"
BROKEN = 99  # exit code: the test of the test is at fault


def suites():
    """Return for each source file the test file that must notice its mutants: its own, alone."""
    own = {
        str(path.relative_to(ROOT)): f"tests/controller/guard/test_{path.stem}.py"
        for path in sorted((ROOT / "controller/guard").glob("*.py"))
        if path.stem != "__init__"  # no code
    }
    return own | {"controller/states.py": "tests/controller/test_states.py"}


def all_mutants(files):
    """Return the mutants of some files."""
    return [mutant for file in files for mutant in mutants_of(file, (ROOT / file).read_text(encoding="utf-8"))]


def equivalents():
    """Return the mutants that are known to do the same as the original, by key, with the reason."""
    entries = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8")).get("equivalent", [])
    return {(e["file"], e["scope"], e["before"], e["after"]): e["reason"] for e in entries}


def stale(known, mutants):
    """Return the listed mutants that no longer exist, or that have no reason."""
    keys = {mutant.key for mutant in mutants}
    return [key for key, reason in known.items() if key not in keys or not reason.strip()]


def _module(file):
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a changed source."""

    def __init__(self, mutant):
        self.name = _module(mutant.file)
        self.path = str(ROOT / mutant.file)
        self.source = mutant.source
        self.is_package = mutant.file.endswith("__init__.py")

    def find_spec(self, name, _path, _target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(
            name,
            self.path,
            loader=self,
            submodule_search_locations=[str(Path(self.path).parent)] if self.is_package else None,
        )

    def create_module(self, _spec):
        return None

    def exec_module(self, module):
        exec(compile(self.source, self.path, "exec"), vars(module))


def prepare():
    """Import what takes time and is no part of the test; from then on kernels are plain."""
    os.chdir(ROOT)
    use_plain_kernels()
    for name in IMPORTED:
        importlib.import_module(name)
    import hypothesis

    profile = {"deadline": None, "derandomize": True, "database": None}
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a mutant need not be shrunk
    checks = list(hypothesis.HealthCheck)
    hypothesis.settings.register_profile("mutation", **profile, phases=phases, suppress_health_check=checks)
    hypothesis.settings.load_profile("mutation")


class Bench:
    """Pytest's plugin: it collects the tests once, then lets forks of itself run them against mutants.

    Args:
        work: Called with the bench in the place of pytest's own loop; returns the exit code.
    """

    def __init__(self, work):
        self.work = work
        self.code = BROKEN

    @pytest.fixture
    def checks(self):
        """The guard's tests ask for it; here there is no compiled guard beside the plain one."""
        return importlib.import_module("tests.controller.guard.cases").COMPILED

    def pytest_runtestloop(self, session):
        if session.testsfailed:
            return None  # pytest tells what it could not collect
        self.items = {}
        for item in session.items:
            self.items.setdefault(str(item.path.relative_to(ROOT)), []).append(item)
        self.code = self.work(self)
        return True

    def try_out(self):
        """Run everything against the original, so that from then on the quick tests come first; returns 0 or 1."""
        for file, items in self.items.items():
            taken = {}
            for item in items:
                since = time.process_time()
                if failure := self._fails([item]):
                    print(failure, file=sys.stderr)
                    return 1
                taken[item] = time.process_time() - since
            self.items[file] = sorted(items, key=taken.__getitem__)
        return 0

    def run(self, test):
        """Run the tests of a file until one fails; returns 0 or 1."""
        return 1 if self._fails(self.items[test]) else 0

    def _fails(self, items):
        """Run tests in order; returns the first failure as text, or nothing."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            for report in runtestprotocol(item, log=False, nextitem=following):
                if report.failed:
                    return report.longreprtext or "failed"
        return ""

    def fork(self, mutant, test):
        """Run a file's tests against a mutant in a fork; returns its process id."""
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        code = BROKEN
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            if _swap(mutant):
                code = self.run(test)
            else:
                sys.meta_path.insert(0, _Mutated(mutant))
                _forget()
                inner = Bench(lambda bench: bench.run(test))
                ended = pytest.main([*PYTEST, test], plugins=[inner])  # not 0: the mutant cannot even be imported
                code = 1 if ended else inner.code
        except BaseException:
            traceback.print_exc()
        os._exit(code)


def _forget():
    """Let the guard, the states and all tests be imported anew."""
    tests = str(ROOT / "tests")
    for name, module in list(sys.modules.items()):
        of_tests = (getattr(module, "__file__", None) or "").startswith(tests) and name != __name__
        if of_tests or name.startswith(("controller.guard", "controller.states")):
            del sys.modules[name]


def _swap(mutant):
    """Give a function of the imported module a mutant's code; return whether that was possible.

    A change outside functions needs a new import, of the tests too.
    """
    if not mutant.scope or mutant.scope[0].isupper():
        return False
    module = sys.modules[_module(mutant.file)]
    changed = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(mutant.source, module.__file__, "exec"), changed)
    name = mutant.scope.split(".")[0]
    function, other = vars(module)[name], changed[name]
    getattr(function, "py_func", function).__code__ = getattr(other, "py_func", other).__code__
    return True


def judge(mutants, tests_of, fork, *, jobs, limit, tell=lambda done: None):
    """Return for each mutant what became of it.

    Args:
        mutants: Which.
        tests_of: By source file, the test file.
        fork: Starts the tests against a mutant; returns a process id.
        jobs: Processes at once.
        limit: s; a mutant that takes longer counts as noticed.
        tell: Called with how many are judged.
    """
    waiting, running, result = list(enumerate(mutants)), {}, {}
    while waiting or running:
        while waiting and len(running) < jobs:
            k, mutant = waiting.pop(0)
            running[fork(mutant, tests_of[mutant.file])] = (k, time.monotonic())
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            for late, (k, since) in running.items():
                if time.monotonic() - since > limit:
                    os.kill(late, signal.SIGKILL)
                    result[k] = TIMED_OUT
            time.sleep(0.002)
            continue
        k, _ = running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code == BROKEN:
            raise SystemExit(f"no verdict on {mutants[k]}")
        result.setdefault(k, SURVIVED if code == 0 else KILLED)
        if result[k] == SURVIVED:
            print(f"survived: {mutants[k]}", flush=True)
        tell(len(result))
    return [result[k] for k in range(len(mutants))]


def main(arguments=None):
    """Run the mutation test; return 0 if no mutant survived that is not listed."""
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", help="source files; all when none is given")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    tests_of = suites()
    every = all_mutants(tests_of)
    known = equivalents()
    old = stale(known, every)
    mutants = [m for m in every if m.key not in known and (not options.files or m.file in options.files)]
    if options.sample is not None:
        mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))

    prepare()
    fates, begun = [], time.monotonic()

    def tell(done):
        if done % 100 == 0:
            print(f"{done}/{len(mutants)}", file=sys.stderr, flush=True)

    def work(bench):
        if bench.try_out():
            print("the tests fail without any mutant", file=sys.stderr)
            return 2
        limit = 10.0 + 5.0 * (time.monotonic() - begun)
        fates.extend(judge(mutants, tests_of, bench.fork, jobs=options.jobs, limit=limit, tell=tell))
        return 0

    bench = Bench(work)
    pytest.main([*PYTEST, *sorted({tests_of[m.file] for m in mutants})], plugins=[bench])
    if bench.code:
        return 2
    survivors = fates.count(SURVIVED)
    for key in old:
        print(f"listed as equivalent, but there is no such mutant, or no reason is given: {key}")
    print(
        f"{len(mutants)} mutants in {time.monotonic() - begun:.0f} s: {fates.count(KILLED)} killed, "
        f"{fates.count(TIMED_OUT)} killed by time, {survivors} survived; "
        f"{len(known)} of {len(every)} are listed as equivalent"
    )
    return 1 if survivors or old else 0


if __name__ == "__main__":
    sys.exit(main())
