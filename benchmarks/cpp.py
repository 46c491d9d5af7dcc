"""C++ programs of the peers: built once with the optimiser for this processor, run, and their tables read."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.robots import Problem, write_problem
from benchmarks.rows import RUN, Settings
from kinematics.compiled import CACHE, Array

__all__ = ["RUNS", "BuildError", "build", "eigen_folder", "run"]

RUNS = 20_000
FOLDER = Path(__file__).parent
BUILD_TIMEOUT = 900.0  # s; Pinocchio's templates take a minute and a half
RUN_TIMEOUT = 1800.0  # s


class BuildError(Exception):
    """A program cannot be built here; the message says why."""


def eigen_folder() -> Path:
    """Return where Eigen's headers are: those of a wheel, or the system's.

    Raises:
        BuildError: They are in neither place.
    """
    folders = [Path("/usr/include/eigen3")]
    cmeel = importlib.util.find_spec("cmeel")  # comes with the wheels `pin` and `cmeel-eigen`
    if cmeel is not None and cmeel.origin is not None:
        folders.insert(0, Path(cmeel.origin).parent.parent / "cmeel.prefix" / "include" / "eigen3")
    for folder in folders:
        if (folder / "Eigen" / "Core").is_file():
            return folder
    raise BuildError("Eigen's headers are not here: pip install cmeel-eigen, or apt-get install libeigen3-dev")


def build(source: str, flags: Sequence[str]) -> Path:
    """Return the program of a source file of this folder, built if it is not there yet.

    Args:
        source: The file's name.
        flags: Of the compiler, in front of the source; libraries as "-l...".

    Raises:
        BuildError: There is no compiler, or it failed.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise BuildError("no C++ compiler g++ on the PATH: apt-get install g++")
    text = (FOLDER / source).read_bytes() + (FOLDER / "problem.hpp").read_bytes()
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(b"\0".join([text, version, *(flag.encode() for flag in flags)])).hexdigest()[:16]
    folder = CACHE.parent / "benchmarks"
    program = folder / f"{Path(source).stem}-{digest}"
    if program.is_file():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=folder)
    os.close(handle)
    libraries = [flag for flag in flags if flag.startswith("-l")]
    others = [flag for flag in flags if not flag.startswith("-l")]
    command = [compiler, "-std=c++17", "-O3", "-DNDEBUG", "-w", *others, str(FOLDER / source), "-o", unfinished]
    try:
        result = subprocess.run([*command, *libraries], capture_output=True, text=True, timeout=BUILD_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{source} was not built in {BUILD_TIMEOUT:.0f} s") from error
    if result.returncode != 0:
        errors = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()[-1:]
        raise BuildError(f"{source} cannot be built: {errors[0][:300] if errors else 'no message'}")
    Path(unfinished).replace(program)
    return program


def run(program: Path, problem: Problem, poses: Sequence[Array], settings: Settings) -> dict[str, Array]:
    """Return the tables that a program writes about an arm."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem"
        write_problem(path, problem, poses)
        command = [str(program), str(path), str(settings.count(RUNS)), str(RUN)]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=RUN_TIMEOUT).stdout
    tables: dict[str, Array] = {}
    while output:
        line, _, output = output.partition(b"\n")
        name, count = line.split()
        tables[name.decode()] = np.frombuffer(output, np.float64, int(count))
        output = output[8 * int(count) :]
    return tables
