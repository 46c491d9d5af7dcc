"""From a law's source to what the cycle calls, compiled once and cached on disk; refused with line and reason.

For each law a small module is written beside Numba's cache: it builds the named parameters from the vector that the
cycle keeps, calls the user's function and turns an exception into a return value. Its text holds the digest of the
user's source, so an edited law is another module, compiled anew.
"""

import importlib.util
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import types

from controller.errors import LawError
from controller.guard.records import JOINT_COMMAND
from controller.laws.joint_pd import joint_pd
from controller.laws.law import LAW, LAW_STATE, call_law
from controller.laws.parameters import MAX_PARAMETERS, SHARED, LawInfo, Parameter, check_name, check_value, pack, unpack
from controller.laws.reasons import explain
from controller.laws.source import LawSource, load_source, quote
from kinematics.chain import forward
from kinematics.compiled import CACHE, STALE_DAYS, Array, Part, array_of, kernel, prepare
from kinematics.description import ARM
from telemetry.sample import MAX_AXES, SAMPLE

__all__ = ["Law", "compile_law", "first_sample", "no_law", "try_law"]

FOLDER = CACHE.parent / "laws"
TRIAL_TIMEOUT = 3.0  # s; a law has well under a millisecond in the cycle
JOINT_PD = "joint_pd"


class Law(NamedTuple):
    """A law, ready for the cycle."""

    call: Part
    """Of the signature LAW."""
    info: LawInfo
    vector: Array
    """The parameters, (MAX_PARAMETERS,)."""
    source: LawSource | None


@kernel(LAW)
def no_law(arm: Array, parameters: Array, memory: Array, sample: Array, command: Array) -> int:
    """Leave joint PD's command as it is."""
    return 0


def compile_law(name: str, values: Mapping[str, Any], *, budget: float = 0.0) -> Law:
    """Return a law, compiled or from the cache.

    Args:
        name: `joint_pd`, a law of `controller.laws.parameters.BUILT_IN`, `module:function` or `FILE.py:function`.
        values: Its parameters.
        budget: s that a call may take; 0: not measured.

    Raises:
        LawError: It cannot be found, imported or compiled, or a parameter is wrong.
    """
    begun = time.perf_counter()
    if name == JOINT_PD:
        if values:
            raise LawError(f"law 'joint_pd' takes no law.parameters, but {', '.join(values)} was given: remove it.")
        return Law(no_law, LawInfo(name=name), np.full(MAX_PARAMETERS, np.nan), None)
    source = load_source(name)
    parameters, vector = _parameters(source, values)
    wrapper, from_cache = _compile(source, parameters)
    info = LawInfo(
        name=name,
        file=str(source.file),
        parameters=parameters,
        compiled_s=time.perf_counter() - begun,
        from_cache=from_cache,
        budget_us=budget * 1e6,
    )
    return Law(wrapper, info, vector, source)


def _parameters(source: LawSource, values: Mapping[str, Any]) -> tuple[list[Parameter], Array]:
    """Return a law's parameters and their vector: what is configured, over what the law declares."""
    for name in values:
        check_name(name)
    given = {name: check_value(name, value) for name, value in values.items()}
    if source.declared:
        unknown = [name for name in given if name not in source.defaults]
        if unknown:
            listing = ", ".join(source.defaults) or "none"
            raise LawError(f"law {source.name!r} has no parameter {unknown[0]!r}; {source.where}: it has {listing}.")
        given = {name: given.get(name, default) for name, default in source.defaults.items()}  # type: ignore[misc]
        missing = [name for name, value in given.items() if value is None]
        if missing:
            raise LawError(f"law {source.name!r} needs law.parameters.{missing[0]}: {source.where} gives no default.")
    parameters = []
    for name, value in given.items():
        parameter = Parameter(name, len(value) if isinstance(value, list) else 0)
        declared = source.defaults.get(name)
        size = len(declared) if isinstance(declared, list) else 0
        if source.declared and declared is not None and size != parameter.size:
            wanted = f"{size} numbers" if size else "one number"
            raise LawError(f"law {source.name!r}: {name} = {value!r} was given; {source.where}: it takes {wanted}.")
        parameters.append(parameter)
    numbers = pack(parameters, given)
    if len(numbers) > MAX_PARAMETERS:
        raise LawError(f"law {source.name!r} has {len(numbers)} numbers as parameters; {MAX_PARAMETERS} are allowed.")
    vector = np.zeros(MAX_PARAMETERS)
    vector[: len(numbers)] = numbers
    return parameters, vector


def _wrapper_text(source: LawSource, parameters: Sequence[Parameter]) -> str:
    """Return the module between the cycle and a user's function."""
    arguments, at = [], 0
    for parameter in parameters:
        numbers = [f"parameters[{at + i}]" for i in range(parameter.count)]
        arguments.append(f"({', '.join(numbers)},)" if parameter.size else numbers[0])
        at += parameter.count
    return f'''"""{source.name!r} as the cycle calls it. Generated; digest {source.digest}."""

from collections import namedtuple

from controller.laws.law import LAW
from kinematics.compiled import kernel

Parameters = namedtuple("Parameters", {[parameter.name for parameter in parameters]!r})


@kernel(LAW)
def call(arm, parameters, memory, sample, command):
    try:
        user(arm, Parameters({", ".join(arguments)}), memory, sample[0], command[0])
    except Exception:
        return 1
    return 0
'''


def _compile(source: LawSource, parameters: Sequence[Parameter]) -> tuple[Part, bool]:
    """Return a law's kernel, and whether it came from the cache."""
    text = _wrapper_text(source, parameters)
    stem = re.sub(r"\W", "_", source.python.__name__)
    path = FOLDER / f"{stem}-{source.digest}-{len(text):x}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        for other in FOLDER.glob("*.py"):
            if time.time() - other.stat().st_mtime > STALE_DAYS * 86_400:
                other.unlink(missing_ok=True)
    os.utime(path)
    spec = importlib.util.spec_from_file_location(f"trocar_{path.stem.replace('-', '_')}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Numba looks functions up by their module's name
    module.__dict__["user"] = source.function
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Numba's advice on speed would stand between the user and the error
            spec.loader.exec_module(module)
            prepare(module.call)
    except Exception as error:  # Numba has its own errors, and lets others through
        raise LawError(explain(source, _types(parameters), error)) from error
    return module.call, bool(sum(module.call.stats.cache_hits.values()))


def _types(parameters: Sequence[Parameter]) -> tuple[Any, ...]:
    """Return the Numba types of a user's function's arguments."""
    kind = namedtuple("Parameters", [parameter.name for parameter in parameters])  # type: ignore[misc]
    example = kind(*((0.0,) * parameter.size if parameter.size else 0.0 for parameter in parameters))
    record, command = numba.from_dtype(SAMPLE), numba.from_dtype(JOINT_COMMAND)
    return array_of(ARM), numba.typeof(example), types.float64[::1], record, command


def first_sample(arm: Array, position: Sequence[float]) -> Array:
    """Return the sample of an arm at rest, SAMPLE, (1,), at a joint position."""
    sample = np.zeros(1, SAMPLE)
    q = np.zeros(MAX_AXES)
    q[: len(position)] = position
    for name in ("measured_position", "setpoint_position", "goal_position", "absolute_position"):
        sample[name][0] = q
    T = np.zeros((4, 4))
    forward(arm, q, T)
    for name in ("measured_pose", "setpoint_pose", "goal_pose"):
        sample[name][0] = T
    return sample


def try_law(law: Law, arm: Array, gains: Array, position: Sequence[float]) -> Array:
    """Call a law once on the sample of an arm at rest and return its command, JOINT_COMMAND, (1,).

    Raises:
        LawError: It does not return, raises, or its command is not finite.
    """
    sample, command = first_sample(arm, position), np.zeros(1, JOINT_COMMAND)
    command["position"] = sample["setpoint_position"]
    joint_pd(arm, gains, sample, command)
    base = command.copy()
    state, shared = np.zeros(1, LAW_STATE), np.zeros(1, SHARED)
    shared["parameters"] = law.vector
    codes: list[int] = []

    def call() -> None:
        own = np.zeros(1, SAMPLE), np.zeros(1, JOINT_COMMAND)
        codes.append(call_law(law.call, arm.copy(), state, shared, sample, command, *own))

    prepare(call_law, law.call)  # not within the law's time
    thread = threading.Thread(target=call, name="trial of the law", daemon=True)
    thread.start()
    thread.join(TRIAL_TIMEOUT)
    name = law.info.name
    if not codes:
        raise LawError(
            f"law {name!r} does not return: a trial call on an arm at rest was given up after {TRIAL_TIMEOUT:g} s. "
            f"Look for a loop without an end in {_where(law)}."
        )
    if codes[0]:
        raise LawError(f"law {name!r} raises when it is called on an arm at rest. {_raised(law, arm, sample, base)}")
    for field_name in command.dtype.names or ():
        values = command[field_name][0]
        if not np.isfinite(values).all():
            i = int(np.flatnonzero(~np.isfinite(values))[0])
            raise LawError(
                f"law {name!r} gives command.{field_name}[{i}] = {values[i]} on an arm at rest, with "
                f"{_described(law)}. Look for a division by zero in {_where(law)}."
            )
    return command


def _where(law: Law) -> str:
    return law.source.where if law.source is not None else law.info.name


def _described(law: Law) -> str:
    values = unpack(law.info.parameters, law.vector.tolist())
    return ", ".join(f"{name} = {value}" for name, value in values.items()) or "no parameters"


def _raised(law: Law, arm: Array, sample: Array, command: Array) -> str:
    """Return where a law raises, and what: the same call in plain Python knows it."""
    if law.source is None:
        return ""
    values = unpack(law.info.parameters, law.vector.tolist())
    kind = namedtuple("Parameters", list(values))  # type: ignore[misc]
    p = kind(*(tuple(value) if isinstance(value, list) else value for value in values.values()))
    records = sample.view(np.recarray)[0], command.view(np.recarray)[0]
    try:
        with np.errstate(all="ignore"):
            law.source.python(arm.copy(), p, np.zeros(64), *records)
    except Exception as error:
        file = law.source.python.__code__.co_filename
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        line = (frames[-1].lineno if frames else None) or law.source.python.__code__.co_firstlineno
        return f"{law.source.file}, line {line}: {type(error).__name__}: {error}.{quote(law.source.file, line)}"
    return f"It raises in {law.source.where}."
