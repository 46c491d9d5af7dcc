"""A file that grows by whole records, and that survives a full or failing disk."""

import errno
import os
import time
from pathlib import Path

__all__ = ["DurableStream", "name_of_error"]


RETRY_PERIOD = 0.5  # s


class DurableStream:
    """A file that is written whole records at a time, and that survives a full disk.

    `write` only collects; `commit` writes all that was collected or, on an error, nothing: it cuts the file back to
    the last whole record and keeps the rest for the next attempt. So `tell`, which the MCAP writer's indexes are made
    of, is right however often the disk has failed.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._pending: list[bytes] = []
        self.committed = 0  # bytes in the file
        self.backlog = 0  # bytes still here
        self.error = ""  # why the newest commit or sync failed
        self._retry_at = 0.0

    def write(self, data: bytes) -> int:
        """Collect some bytes."""
        self._pending.append(bytes(data))
        self.backlog += len(data)
        return len(data)

    def tell(self) -> int:
        """Return the position in the file as it will be."""
        return self.committed + self.backlog

    def flush(self) -> None:
        """Do nothing: `commit` decides when."""

    def commit(self, *, now: bool = False) -> bool:
        """Write what was collected; True when all of it is in the file.

        After a failure it tries again once in RETRY_PERIOD only, or when it must be `now`.
        """
        if not self._pending:
            return True
        if self.error and not now and time.monotonic() < self._retry_at:
            return False
        data = memoryview(b"".join(self._pending))
        try:
            done = 0
            while done < len(data):
                done += self._write(data[done:])
        except OSError as error:
            self.error = name_of_error(error)
            self._retry_at = time.monotonic() + RETRY_PERIOD
            self._cut()
            self._pending = [bytes(data)]
            return False
        self._pending.clear()
        self.committed += len(data)
        self.backlog = 0
        self.error = ""
        return True

    def sync(self) -> None:
        """Have the operating system bring the file to the disk."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            self.error = name_of_error(error)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _write(self, data: memoryview) -> int:
        return os.write(self._fd, data)

    def _cut(self) -> None:
        try:
            os.ftruncate(self._fd, self.committed)
            os.lseek(self._fd, self.committed, os.SEEK_SET)
        except OSError as error:
            self.error = name_of_error(error)


def name_of_error(error: OSError) -> str:
    """Return an operating system's error as its symbol and its text, e.g. `ENOSPC: No space left on device`."""
    return f"{errno.errorcode.get(error.errno or 0, '?')}: {error.strerror}"
