"""What each fault takes, declared once, at the method that injects it: units, ranges, and one line of meaning.

`injects` marks a method of `Faults`. From its annotations come the checks of every call, the catalogue that scenario
files and the command line use, and the table in the documentation.
"""

import functools
import inspect
import math
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, get_args, get_origin, get_type_hints

import numpy as np

from hil.fault_record import MAX_AXES, Fault, FaultError

__all__ = ["CATALOGUE", "Axis", "CatalogueEntry", "Channel", "Parameter", "Range", "Vector", "injects"]

P = ParamSpec("P")
REQUIRED: Any = inspect.Parameter.empty


class Range(NamedTuple):
    """What a number may be, ends included; of a vector, each of its three entries."""

    low: float
    high: float
    unit: str = ""
    meaning: str = ""


Axis = Annotated[int, Range(0, MAX_AXES - 1, "", "which axis, from 0")]
Channel = Literal["both", "0", "1"]
Vector = tuple[float, float, float]


class Parameter(NamedTuple):
    """One parameter of a fault."""

    name: str
    kind: str
    """int, float, bool, vector or choice."""
    unit: str
    low: float
    high: float
    choices: tuple[str, ...]
    default: Any
    """REQUIRED (inspect.Parameter.empty): it must be given."""
    meaning: str

    @property
    def is_required(self) -> bool:
        """It has no default."""
        return self.default is REQUIRED

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        unit = f" {self.unit}" if self.unit else ""
        if self.kind == "choice":
            return ", ".join(self.choices)
        if self.kind == "bool":
            return "true or false"
        if self.kind == "vector":
            return f"three numbers, each {self.low:g} to {self.high:g}{unit}"
        if self.kind == "int":
            return f"a whole number, {self.low} to {self.high}{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"

    def check(self, fault: str, value: Any) -> Any:  # noqa: ANN401
        """Return a value as the fault takes it.

        Raises:
            FaultError: It is of another type, not finite, or out of its range.
        """
        error = FaultError(f"{fault}: {self.name} = {value!r} was asked for: allowed is {self.allowed}")
        if self.kind == "choice":
            if str(value) not in self.choices or isinstance(value, bool):
                raise error
            return str(value)
        if self.kind == "bool":
            if not isinstance(value, (bool, np.bool_)):
                raise error
            return bool(value)
        try:
            if self.kind == "int":
                if isinstance(value, bool):
                    raise error
                number: Any = operator.index(value)
            elif self.kind == "float":
                number = float(value)
            else:
                number = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise error from None
        if self.kind == "vector":
            is_right = number.shape == (3,) and bool(np.all((number >= self.low) & (number <= self.high)))
        else:
            is_right = math.isfinite(number) and self.low <= number <= self.high
        if not is_right:
            raise error
        return number

    def parse(self, fault: str, text: str) -> Any:  # noqa: ANN401
        """Return the value that a text means, e.g. the right side of `key=value` on a command line.

        Raises:
            FaultError: It means none.
        """
        error = FaultError(f"{fault}: {self.name} = {text!r} was asked for: allowed is {self.allowed}")
        words = {"true": True, "false": False}
        try:
            if self.kind == "bool":
                return words[text.strip().lower()]
            if self.kind == "int":
                return int(text)
            if self.kind == "float":
                return float(text)
            if self.kind == "vector":
                return [float(word) for word in text.strip("[]() ").replace(",", " ").split()]
        except (ValueError, KeyError):
            raise error from None
        return text.strip()


class CatalogueEntry(NamedTuple):
    """One fault: what it is called, how it is injected, and what it takes."""

    name: str
    """As its bit in `Fault`, in small letters."""
    fault: Fault
    group: str
    method: str
    """Of `Faults`."""
    meaning: str
    parameters: dict[str, Parameter]


CATALOGUE: dict[str, CatalogueEntry] = {}
"""Every fault by its name."""


def _parameter(declared: inspect.Parameter, hint: Any) -> Parameter:  # noqa: ANN401
    """Return what the annotation of one parameter says of it."""
    extent = Range(-math.inf, math.inf)
    if get_origin(hint) is Annotated:
        hint, extent = get_args(hint)
    choices: tuple[str, ...] = ()
    if get_origin(hint) is Literal:
        kind, choices = "choice", get_args(hint)
    elif hint == Vector:
        kind = "vector"
    else:
        kind = {int: "int", float: "float", bool: "bool"}[hint]
    return Parameter(
        declared.name, kind, extent.unit, extent.low, extent.high, choices, declared.default, extent.meaning
    )


def injects(fault: Fault, group: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Enter a method in the catalogue, and let it check its arguments by what its annotations allow.

    Args:
        fault: Its bit.
        group: What part of the arm it is of.
    """

    def declare(method: Callable[P, None]) -> Callable[P, None]:
        name = str(fault.name).lower()
        signature = inspect.signature(method)
        hints = get_type_hints(method, include_extras=True)
        parameters = {
            each.name: _parameter(each, hints[each.name])
            for each in signature.parameters.values()
            if each.name not in ("self", "at")
        }
        meaning = (method.__doc__ or "").strip().splitlines()[0]
        CATALOGUE[name] = CatalogueEntry(name, fault, group, method.__name__, meaning, parameters)

        @functools.wraps(method)
        def checked(*arguments: P.args, **keywords: P.kwargs) -> None:
            bound = signature.bind(*arguments, **keywords)
            for key, value in bound.arguments.items():
                if key in parameters:
                    bound.arguments[key] = parameters[key].check(name, value)
            method(*bound.args, **bound.kwargs)

        return checked

    return declare
