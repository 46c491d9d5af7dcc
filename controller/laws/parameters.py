"""A law's parameters: names, sizes and values, and how they travel as one vector. Needs no compiler."""

import keyword
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np

from controller.errors import LawError

__all__ = [
    "BUILT_IN",
    "MAX_PARAMETERS",
    "SHARED",
    "LawInfo",
    "Parameter",
    "Value",
    "check_name",
    "check_value",
    "pack",
    "unpack",
]

BUILT_IN = ("computed_torque", "cartesian_impedance")
"""Laws that come with Trocar beside joint_pd, written as a user's."""

MAX_PARAMETERS = 64
"""Numbers that the parameters of one law may have together."""

SHARED = np.dtype(
    [  # in the run directory, written by the core alone
        ("parameters", "f8", (MAX_PARAMETERS,)),  # as the next call will see them
        ("changes", "i8"),  # how often they were set
        ("inside", "i8"),  # 1 while the law runs: when the core stands still, the supervisor knows why
        ("last_ns", "i8"),  # what the newest call took, and the longest; by the wall clock: not for lock-step's samples
        ("longest_ns", "i8"),
    ],
    align=True,
)

Value: TypeAlias = float | list[float]


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: a number, or several.

    Attributes:
        name: As the law reads it, `p.name`.
        size: 0: a float; n: a tuple of n floats.
    """

    name: str
    size: int = 0

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return max(self.size, 1)


class LawInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The law that a core runs, for people; in RUN_DIR/law.json."""

    name: str
    file: str = ""
    parameters: list[Parameter] = []
    compiled_s: float = 0.0
    """s that it took to make it ready."""
    from_cache: bool = True
    budget_us: float = 0.0
    """What a call may take; 0: not measured."""


def check_name(name: str) -> None:
    """Raise LawError where a name cannot be one of a parameter."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise LawError(f"{name!r} cannot be a parameter's name: use letters, digits and _, and begin with a letter.")


def check_value(name: str, value: Any) -> Value:  # noqa: ANN401
    """Return a parameter's value as a float or a list of floats.

    Raises:
        LawError: It is neither, or not finite.
    """
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if not numbers or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
        raise LawError(f"{name} = {value!r}: a parameter is a number or a list of numbers.")
    if not all(math.isfinite(x) for x in numbers):
        raise LawError(f"{name} = {value!r}: a parameter must be finite.")
    return [float(x) for x in numbers] if isinstance(value, list | tuple) else float(value)


def pack(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> list[float]:
    """Return the vector of the given values; what is not given is nan, which leaves a parameter as it is.

    Raises:
        LawError: A name is none of the law's, a value is not finite or has another size; the message says what the law
            has.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in values:
        if name not in known:
            listing = ", ".join(known) or "none"
            raise LawError(f"{name!r} is no parameter of this law; it has: {listing}.")
    vector: list[float] = []
    for parameter in parameters:
        if parameter.name not in values:
            vector += [math.nan] * parameter.count
            continue
        value = check_value(parameter.name, values[parameter.name])
        numbers = value if isinstance(value, list) else [value]
        if isinstance(value, list) != bool(parameter.size) or len(numbers) != parameter.count:
            wanted = f"{parameter.size} numbers" if parameter.size else "one number"
            raise LawError(f"{parameter.name} = {value!r} was given: it takes {wanted}.")
        vector += numbers
    return vector


def unpack(parameters: Sequence[Parameter], vector: Sequence[float]) -> dict[str, Value]:
    """Return the values by name that a vector, of at least as many numbers, holds."""
    values: dict[str, Value] = {}
    at = 0
    for parameter in parameters:
        numbers = [float(x) for x in vector[at : at + parameter.count]]
        values[parameter.name] = numbers if parameter.size else numbers[0]
        at += parameter.count
    return values
