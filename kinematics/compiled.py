"""How Trocar compiles: explicit signatures, one cache, no compile after start.

Numba's file cache looks only at the file that a function is in, so an edited callee in another file would leave a
stale kernel running. The cache therefore lives in a folder named after a digest of every source file of the project.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import types

__all__ = ["CACHE_DIR", "Array", "array_of", "kernel", "sources_digest"]

Array = np.ndarray[Any, Any]
"""What a kernel takes: a vector, a matrix, or an array of one record."""

F = TypeVar("F", bound=Callable[..., Any])

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kinematics", "firmware_bridge", "drivers", "telemetry", "controller", "hil")
STALE_DAYS = 7  # caches of other digests that nobody used for so long are removed


def sources_digest() -> str:
    """Return a short hexadecimal digest of the project's Python sources and of Numba's version."""
    digest = hashlib.sha256(numba.__version__.encode())
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_dir() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trocar" / "numba"
    folder = base / sources_digest()
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for other in base.iterdir():
            if time.time() - other.stat().st_mtime > STALE_DAYS * 86_400:
                shutil.rmtree(other, ignore_errors=True)
    os.utime(folder)
    return folder


CACHE_DIR = _cache_dir()
numba.config.CACHE_DIR = str(CACHE_DIR)


def array_of(dtype: Any, ndim: int = 1) -> types.Array:  # noqa: ANN401
    """Return Numba's type of a C-contiguous array of a NumPy dtype, records included.

    A record is handed to kernels as an array of one element: `state[0].position[2]`.
    """
    return types.Array(numba.from_dtype(dtype), ndim, "C")


def kernel(signature: Any) -> Callable[[F], F]:  # noqa: ANN401
    """Compile a function once, for one signature, without the GIL, cached on disk.

    Division by zero gives inf or nan as in C (the guard sees it); another argument type is a TypeError at the call,
    never a compile in the cycle. `function.py_func` is the plain Python.

    Args:
        signature: A Numba signature, e.g. `types.int64(types.float64[::1])`.
    """

    def compile_(function: F) -> F:
        compiled = numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function)
        if hasattr(compiled, "disable_compile"):  # absent when NUMBA_DISABLE_JIT is set
            compiled.disable_compile()
        return compiled  # type: ignore[no-any-return]

    return compile_
