"""A law's source: found, imported, its plain helper functions made ready for the compiler, and its digest.

A law is plain Python. Functions of its own files that it calls are compiled with it, however deep; what other packages
give must be known to the compiler by itself (NumPy's and math's functions, kernels, functions under numba.njit).
"""

import hashlib
import importlib
import importlib.util
import inspect
import linecache
import sys
import sysconfig
import traceback
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba.core.registry import CPUDispatcher

from controller.errors import LawError
from controller.laws.parameters import BUILT_IN, Value, check_name, check_value
from kinematics.compiled import ROOT, source_digest

__all__ = ["LawSource", "load_source", "quote"]

ARGUMENTS = "arm, p, memory, sample, command"
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": True}
_INSTALLED = tuple(
    {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


@dataclass(kw_only=True)
class LawSource:
    """A law before it is compiled.

    Attributes:
        name: As in the configuration.
        file: Where it is written.
        function: Under the compiler, not compiled yet.
        defaults: Its parameters by name, with what its own declaration gives; None: no default.
        declared: The function says itself which parameters it takes.
        digest: Of all that its machine code depends on.
        files: The user's files that it reaches.
    """

    name: str
    file: Path
    function: Any
    defaults: dict[str, Value | None]
    declared: bool
    digest: str = ""
    files: list[Path] = field(default_factory=list)

    @property
    def python(self) -> Callable[..., Any]:
        """The plain Python function."""
        return self.function.py_func  # type: ignore[no-any-return]

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}, line {self.python.__code__.co_firstlineno}"


def quote(file: Path | str, line: int) -> str:
    """Return a line of source for a message, or nothing where it cannot be read."""
    text = linecache.getline(str(file), line).strip()
    return f"\n    {text}" if text else ""


def load_source(name: str) -> LawSource:
    """Return a law's source.

    Args:
        name: A built-in law, `module:function` or `/path/to/file.py:function`.

    Raises:
        LawError: The message names file, line and reason.
    """
    if name in BUILT_IN:
        name_, attribute = f"controller.laws.{name}", name
    else:
        name_, _, attribute = name.rpartition(":")
        if not name_ or not attribute:
            known = ", ".join(("joint_pd", *BUILT_IN))
            raise LawError(f"there is no law {name!r}: name one of {known}, or your own as FILE.py:FUNCTION.")
    module = _import(name, name_)
    file = Path(getattr(module, "__file__", None) or name_).resolve()
    found = getattr(module, attribute, None)
    if found is None:
        functions = [
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        ]
        listing = f"it has {', '.join(functions[:12])}" if functions else "it has no functions"
        raise LawError(f"law {name!r}: {file} has no function {attribute!r}; {listing}. Correct the name.")
    python = getattr(found, "py_func", found)
    if not isinstance(python, FunctionType):
        raise LawError(
            f"law {name!r}: {attribute} in {file} is a {type(found).__name__}, no function. "
            f"Write `def {attribute}({ARGUMENTS}):`."
        )
    _check_arguments(name, python)
    reached = _reach(python, file)
    function = _compilable(found)
    defaults, declared = _declared_parameters(name, python)
    source = LawSource(name=name, file=file, function=function, defaults=defaults, declared=declared)
    source.digest, source.files = _digest(reached)
    return source


def _import(name: str, module: str) -> ModuleType:
    """Import a law's module or file; what goes wrong in it is told with its line."""
    path = Path(module)
    is_file = module.endswith(".py")
    if is_file and not path.is_file():
        raise LawError(f"law {name!r}: there is no file {path}. Correct the path; law.name is FILE.py:FUNCTION.")
    try:
        if not is_file:
            return importlib.import_module(module)
        path = path.resolve()
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # so that it finds the modules beside it
        unique = f"trocar_law_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(unique, path)
        if spec is None or spec.loader is None:
            raise LawError(f"law {name!r}: {path} cannot be loaded as Python.")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[unique] = loaded
        spec.loader.exec_module(loaded)
        return loaded
    except SyntaxError as error:
        file, line = error.filename or module, error.lineno or 0
        raise LawError(f"law {name!r}: {file}, line {line}: {error.msg}.{quote(file, line)}") from error
    except (Exception, SystemExit) as error:
        if isinstance(error, LawError):
            raise
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError) and error.name and module.startswith(error.name):
            raise LawError(
                f"law {name!r}: there is no module {error.name!r}. Put its folder into PYTHONPATH, or give the file: "
                'law.name = "/path/to/file.py:function".'
            ) from error
        frames = [f for f in traceback.extract_tb(error.__traceback__) if is_own(f.filename, path.parent)]
        place = f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else f"{module}: "
        shown = quote(frames[-1].filename, frames[-1].lineno or 0) if frames else ""
        raise LawError(f"law {name!r} raises when it is imported. {place}{what}{shown}") from error


def _is_project(path: Path) -> bool:
    """Return whether a file is Trocar's; where it is installed its packages lie among all others."""
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ("controller", "kinematics", "telemetry")


def is_own(file: str, folder: Path) -> bool:
    """Return whether a source file is the user's: beside the law, or outside this project and what is installed."""
    path = Path(file).resolve()
    if path.parent == folder.resolve():
        return True
    if _is_project(path):
        return False
    return path.is_file() and not any(path.is_relative_to(installed) for installed in _INSTALLED)


def _check_arguments(name: str, function: FunctionType) -> None:
    place = f"law {name!r}: {function.__code__.co_filename}, line {function.__code__.co_firstlineno}"
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(parameters) != 5 or len(positional) != 5:
        given = ", ".join(str(p).partition(":")[0] for p in parameters)
        raise LawError(
            f"{place}: {function.__name__}({given}) takes {len(parameters)} arguments; a law takes five: "
            f"def {function.__name__}({ARGUMENTS})."
        )
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise LawError(f"{place}: {function.__name__} is a generator or coroutine; a law is a plain function.")


def _declared_parameters(name: str, function: FunctionType) -> tuple[dict[str, Value | None], bool]:
    """Return what the annotation of the second argument, a NamedTuple, says of the parameters."""
    second = list(inspect.signature(function).parameters)[1]
    if second not in function.__annotations__:
        return {}, False
    try:
        kind = typing.get_type_hints(function).get(second)
    except Exception:  # an annotation of another argument that cannot be resolved
        kind = function.__annotations__[second]
        kind = function.__globals__.get(kind, kind) if isinstance(kind, str) else kind
    if kind is Any:
        return {}, False
    place = f"law {name!r}: {function.__code__.co_filename}, line {function.__code__.co_firstlineno}"
    if not (isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")):
        raise LawError(f"{place}: the annotation of {second} must be a class that is a typing.NamedTuple.")
    declared: dict[str, Value | None] = {}
    for field_name in kind._fields:
        check_name(field_name)
        default = getattr(kind, "_field_defaults", {}).get(field_name)
        try:
            declared[field_name] = None if default is None else check_value(f"{kind.__name__}.{field_name}", default)
        except LawError as error:
            raise LawError(f"{place}: {error}") from error
    return declared, True


def _names(code: CodeType) -> Iterator[str]:
    """Yield every name that a function's code, or code inside it, looks up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _compilable(function: Any) -> Any:  # noqa: ANN401
    """Put a user's function under the compiler: with bounds checked, also where he has jitted it himself."""
    python = getattr(function, "py_func", function)
    fast = getattr(function, "targetoptions", {}).get("fastmath", False)
    return numba.njit(fastmath=fast, **OPTIONS)(python)


def _is_ready(function: Any) -> bool:  # noqa: ANN401
    options = getattr(function, "targetoptions", {})
    return all(options.get(name) == value for name, value in OPTIONS.items())


def _reach(law: FunctionType, file: Path) -> dict[FunctionType, dict[str, Any]]:
    """Return every user's function that the law can call, with the values of the names that it looks up.

    Plain ones are put under the compiler where they are looked up: in their module.
    """
    folder = file.parent
    reached: dict[FunctionType, dict[str, Any]] = {}
    open_ = [law]
    while open_:
        function = open_.pop()
        if function in reached:
            continue
        values: dict[str, Any] = {}
        reached[function] = values
        names = sorted(set(_names(function.__code__)))
        spaces: list[tuple[str, dict[str, Any]]] = [("", function.__globals__)]
        for name in names:
            value = function.__globals__.get(name)
            if isinstance(value, ModuleType) and is_own(getattr(value, "__file__", None) or "", folder):
                spaces.append((f"{name}.", vars(value)))
        for prefix, space in spaces:
            for name in names:
                if name not in space:
                    continue
                value = space[name]
                python = getattr(value, "py_func", value)
                own = isinstance(python, FunctionType) and is_own(python.__code__.co_filename, folder)
                if own and python is not law and not _is_ready(value):
                    space[name] = value = _compilable(value)
                if isinstance(value, CPUDispatcher):
                    open_.append(value.py_func)
                values[prefix + name] = value
        for i, cell in enumerate(function.__closure__ or ()):
            values[f"closure {i}"] = cell.cell_contents
    return reached


def _digest(reached: dict[FunctionType, dict[str, Any]]) -> tuple[str, list[Path]]:
    """Return a digest of all sources and constants that a law's machine code is made of, and the user's files."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    files = sorted({function.__code__.co_filename for function in reached})
    own: list[Path] = []
    for name in files:
        path = Path(name)
        if not path.is_file():
            continue
        if _is_project(path.resolve()):
            digest.update(source_digest(path.resolve()).encode())
        else:
            own.append(path)
            digest.update(name.encode() + path.read_bytes())
    for function in sorted(reached, key=lambda f: (f.__code__.co_filename, f.__code__.co_firstlineno, f.__qualname__)):
        for name, value in sorted(reached[function].items()):
            digest.update(f"{function.__qualname__} {name} ".encode() + _frozen(value))
    return digest.hexdigest()[:16], own


def _frozen(value: Any) -> bytes:  # noqa: ANN401
    """Return what the compiler takes of a global value."""
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype} {value.shape} ".encode() + value.tobytes()
    if isinstance(value, tuple):
        return b"(" + b",".join(_frozen(entry) for entry in value) + b")"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value).encode()
    if isinstance(value, type) and issubclass(value, Enum):
        return repr(list(value)).encode()
    return str(getattr(value, "__qualname__", type(value).__qualname__)).encode()
