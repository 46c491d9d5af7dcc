"""Records in memory that several processes map: a file on tmpfs, viewed as a NumPy array.

An mmap of a named file is used because, before Python 3.13, `multiprocessing.shared_memory` removes a segment when
any process that attached to it exits.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["SharedMemoryError", "create_records", "map_records"]


class SharedMemoryError(OSError):
    """A shared record that is absent, or not of the size that this program expects."""


def create_records(path: Path, dtype: np.dtype[Any], count: int = 1) -> np.ndarray[Any, Any]:
    """Return `count` zeroed records in a new file at `path` (mode 0600), replacing what was there."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    with path.open("r+b") as file:
        file.truncate(dtype.itemsize * count)
        return np.frombuffer(mmap.mmap(file.fileno(), dtype.itemsize * count), dtype=dtype)


def map_records(path: Path, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return the records of an existing file, shared with whoever else maps it.

    Raises:
        SharedMemoryError: The file is absent, or its size is no multiple of the record's.
    """
    try:
        with path.open("r+b") as file:
            memory = mmap.mmap(file.fileno(), 0)
    except (FileNotFoundError, ValueError) as error:
        raise SharedMemoryError(f"no shared memory at {path}: the process that makes it is not running") from error
    if len(memory) % dtype.itemsize:
        raise SharedMemoryError(
            f"{path} has {len(memory)} bytes, no multiple of this program's record of {dtype.itemsize}: "
            "it was made by another version of Trocar; restart the daemon"
        )
    return np.frombuffer(memory, dtype=dtype)
