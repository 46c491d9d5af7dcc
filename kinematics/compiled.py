"""How Trocar compiles: explicit signatures, one cache, no compile after start.

Numba's file cache looks only at the file that a function is in, so an edited callee in another file would leave a
stale kernel running. Each kernel is therefore cached in a folder named after a digest of its module's source and of
every module of the project that this one imports, directly or not.
"""

import functools
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

__all__ = ["CACHE", "Array", "Part", "array_of", "kernel", "prepare", "source_digest"]

Array = np.ndarray[Any, Any]
"""What a kernel takes: a vector, a matrix, or an array of one record."""

Part = Callable[..., Any]
"""What is plugged into a kernel: another one, as a `types.FunctionType` of its signature."""

F = TypeVar("F", bound=Callable[..., Any])

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trocar" / "numba"
STALE_DAYS = 7  # folders of other digests that nobody used for so long are removed
IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+([\w.]+))", re.MULTILINE)


@functools.cache
def _file_of(module: str) -> Path | None:
    """Return the source file of a module of this project, None for any other."""
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _imported(path: Path) -> frozenset[Path]:
    """Return the project's files that a source file names in its imports."""
    found = set()
    for package, names, module in IMPORT.findall(path.read_text(encoding="utf-8")):
        candidates = [module or package]
        candidates += [f"{package}.{name}" for name in re.findall(r"\w+", names)]
        found |= {file for file in map(_file_of, candidates) if file is not None}
    return frozenset(found)


@functools.cache
def source_digest(path: Path) -> str:
    """Return a short digest of a source file, of all that it imports from this project, and of Numba's version."""
    closure, open_ = {path}, [path]
    while open_:
        fresh = _imported(open_.pop()) - closure
        closure |= fresh
        open_ += fresh
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for file in sorted(closure):
        digest.update(str(file).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _cache_folder(path: Path) -> Path:
    """Return the folder of a module's kernels; new ones make room by removing those that nobody uses."""
    folder = CACHE / f"{path.stem}-{source_digest(path)}"
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for other in CACHE.iterdir():
            if time.time() - other.stat().st_mtime > STALE_DAYS * 86_400:
                shutil.rmtree(other, ignore_errors=True)
    os.utime(folder)
    return folder


@functools.cache
def array_of(dtype: Any, ndim: int = 1) -> types.Array:  # noqa: ANN401
    """Return Numba's type of a C-contiguous array of a NumPy dtype, records included.

    A record is handed to kernels as an array of one element: `state[0].position[2]`.
    """
    return types.Array(numba.from_dtype(dtype), ndim, "C")


class _Kernel(CPUDispatcher):  # type: ignore[misc]
    """A compiled function that is loaded from the cache, or compiled, when it is first needed.

    A kernel in the cache holds the code of all kernels that it calls. A process that calls the outermost one thus never
    loads those within, and a start that would take a second takes a part of it.
    """

    _signature: Any = None

    def load(self) -> None:
        """Make the compiled code ready; from then on there is no compiling."""
        if self._signature is None:
            return
        with global_compiler_lock:  # Numba's own, since it is held where one kernel's compiling needs another
            if self._signature is not None:
                self.compile(self._signature)
                self.disable_compile()
                self._signature = None

    def get_call_template(self, args: Any, kws: Any) -> Any:  # noqa: ANN401
        """Another kernel that calls this one is being compiled."""
        self.load()
        return super().get_call_template(args, kws)

    def get_compile_result(self, sig: Any) -> Any:  # noqa: ANN401
        """It is handed over as a part."""
        self.load()
        return super().get_compile_result(sig)

    def _compile_for_args(self, *args: Any, **kws: Any) -> Any:  # noqa: ANN401
        """It is called from Python for the first time: return what is to be called instead, which is itself."""
        self.load()
        return self


def prepare(*kernels: Part) -> None:
    """Load kernels now, so that their first call takes no longer than the others."""
    for each in kernels:
        if isinstance(each, _Kernel):
            each.load()


def kernel(signature: Any, *, contract: bool = False) -> Callable[[F], F]:  # noqa: ANN401
    """Compile a function once, for one signature, without the GIL, cached on disk; when it is first needed.

    Division by zero gives inf or nan as in C (the guard sees it); another argument type is a TypeError at the call,
    never a compile in the cycle. `function.py_func` is the plain Python.

    Args:
        signature: A Numba signature, e.g. `types.int64(types.float64[::1])`.
        contract: Let a product and a sum be one instruction with one rounding, where the processor has it: a fifth
            faster in long products, and the last digit may differ between processors.
    """

    def declare(function: F) -> F:
        # Numba asks for the folder once, when the function is decorated.
        numba.config.CACHE_DIR = str(_cache_folder(Path(function.__code__.co_filename).resolve()))
        fastmath = {"contract"} if contract else False
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)(function)
        if isinstance(compiled, CPUDispatcher):  # a plain function when NUMBA_DISABLE_JIT is set
            compiled.__class__ = _Kernel
            compiled._signature = signature
        return compiled  # type: ignore[no-any-return]

    return declare
