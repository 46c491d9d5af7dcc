"""A serial port: opened and set up by pyserial, read and written by compiled code without the GIL."""

import contextlib
import errno
import grp
import logging
import os
import termios
from typing import Any

import numpy as np
import serial
from numba import carray
from numba.core import types

from drivers.driver import LINK, DriverError
from kinematics.compiled import array_of, kernel

__all__ = ["POLLFD", "SerialPortError", "close_port", "open_port", "read_bytes", "write_bytes"]

log = logging.getLogger(__name__)

POLLIN, POLLOUT = 0x001, 0x004  # poll(2), the same on every Linux
EINTR, EIO, EAGAIN, ETIMEDOUT = errno.EINTR, errno.EIO, errno.EAGAIN, errno.ETIMEDOUT
SPIN_READS = 500  # about 0.2 ms: what is on its way comes sooner than poll would wake us up
POLL_MS = 100
AWAIT_POLLS = 100  # of POLL_MS each: 10 s
WRITE_POLLS = 2  # of 1 ms each, since poll counts in ms: a partial write costs about one period, not more
POLLFD = 63  # where in the link's device_i8 the kernels keep their struct pollfd
DISCARD_READS = 8  # of up to 8 KiB each: many times what a line carries in a cycle
FIONREAD = termios.FIONREAD
POLL_CALLS = 100_000  # a poll that returns at once for nothing (signals, hang-up) must not spin for ever

_read: Any = types.ExternalFunction("read", types.intp(types.int32, types.intp, types.uintp))
_write: Any = types.ExternalFunction("write", types.intp(types.int32, types.intp, types.uintp))
_ioctl: Any = types.ExternalFunction("ioctl", types.int32(types.int32, types.uintp, types.intp))
_poll: Any = types.ExternalFunction("poll", types.int32(types.intp, types.uintp, types.int32))
_errno_location: Any = types.ExternalFunction("__errno_location", types.CPointer(types.int32)())  # type: ignore[attr-defined]


class SerialPortError(DriverError, OSError):
    """A serial port that cannot be opened or set up; the message names it, why, and what to do."""


def open_port(path: str, baud: int) -> serial.Serial:
    """Open a port for this process alone: raw, non-blocking, 8 data bits, no parity, one stop bit.

    Args:
        path: A serial device or pseudo-terminal.
        baud: Bits per second.

    Raises:
        SerialPortError: It is absent, not permitted, in use, no serial port, or cannot take this baud rate.
    """
    try:
        port = serial.Serial(path, baud, timeout=0, exclusive=True)
    except (OSError, ValueError) as error:  # serial.SerialException is an OSError
        raise SerialPortError(_explain(path, baud, error)) from error
    try:
        os.set_blocking(port.fd, False)
        # pyserial leaves VMIN at 0, where read gives 0 both for "nothing yet" and for "unplugged".
        attributes = termios.tcgetattr(port.fd)
        attributes[6][termios.VMIN] = 1
        attributes[6][termios.VTIME] = 0
        termios.tcsetattr(port.fd, termios.TCSANOW, attributes)
    except (OSError, termios.error) as error:
        port.close()
        raise SerialPortError(_explain(path, baud, error)) from error
    try:
        port.set_low_latency_mode(True)
    except (OSError, ValueError, NotImplementedError) as error:
        log.info(
            "%s has no low-latency mode (%s): a pseudo-terminal needs none, an adapter's timer may add up to 16 ms",
            path,
            error,
        )
    return port


def _errno_of(error: BaseException | None) -> int | None:
    """Return the errno behind an exception: pyserial wraps some without passing it on, termios has its own class."""
    while error is not None:
        if isinstance(error, termios.error) and error.args:
            return int(error.args[0])
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def _explain(path: str, baud: int, error: Exception) -> str:
    number = _errno_of(error)
    if number == errno.ENOENT:
        return f"there is no port {path}: check that the device is plugged in and powered (ls /dev/serial/by-id)"
    if number in (errno.EACCES, errno.EPERM):
        group = "dialout"
        with contextlib.suppress(OSError, KeyError):
            group = grp.getgrgid(os.stat(path).st_gid).gr_name  # noqa: PTH116
        return (
            f"this user may not open {path}: join the group that owns it with `sudo usermod -aG {group} $USER`, "
            "then log in again"
        )
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return f"{path} is in use by another program: stop it (`fuser -v {path}` names it), or choose another port"
    if number == errno.ENOTTY:
        return f"{path} is no serial port: give a serial device, such as one of /dev/serial/by-id"
    if number in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return f"{path} does not answer ({os.strerror(number)}): plug the device in again, and check its power"
    if isinstance(error, ValueError):
        return f"{path} cannot run at {baud} baud ({error}): choose a rate that the adapter offers"
    return f"{path} cannot be opened at {baud} baud: {error}"


def close_port(port: serial.Serial) -> None:
    """Release a port; may be called twice, also when the device is gone."""
    with contextlib.suppress(OSError, termios.error):
        port.close()


@kernel(types.int64(types.int64, types.int64, types.int64, types.int64[::1]))
def _wait_for(fd: int, events: int, timeout_ms: int, pollfd: np.ndarray[Any, Any]) -> int:
    """Return what poll(2) does: above 0 ready, 0 timed out, below 0 failed."""
    pollfd[0] = fd | events << 32  # struct pollfd {int fd; short events, revents;}, little-endian
    return int(_poll(pollfd.ctypes.data, np.uintp(1), np.int32(timeout_ms)))


@kernel(types.int64(types.int64, types.int64[::1]))
def _arrived(fd: int, scratch: np.ndarray[Any, Any]) -> int:
    """Return how many bytes a read would give at once, or below 0: it failed.

    A read of a terminal that has nothing waits for the kernel's worker that brings the bytes, even when it is told not
    to block; and that worker, an ordinary thread, waits for others. Only for what is there is a read free of that.
    """
    scratch[0] = 0
    if _ioctl(np.int32(fd), np.uintp(FIONREAD), scratch.ctypes.data) != 0:
        return -1
    return int(scratch[0] & 0x7FFFFFFF)


@kernel(types.int64())
def _errno() -> int:
    return int(carray(_errno_location(), (1,))[0])


@kernel(types.int64(array_of(LINK)))
def read_bytes(link: np.ndarray[Any, Any]) -> int:
    """Append what has arrived to `rx`; with `await_bytes` >= 0 wait until `bytes_received` is that many.

    With `bytes_max` above 0 one call takes no more than so many bytes. Those beyond them are thrown away, however fast
    they come in no more than DISCARD_READS reads, and `floods` counts the calls in a row that found any.

    The wait is bounded: after some seconds without a byte it gives up with ETIMEDOUT. A port that was unplugged gives
    EIO. Errors are put into `error`, which is 0 otherwise.

    Args:
        link: The driver's link, shape (1,).

    Returns:
        How many bytes were appended.
    """
    rx = link[0].rx[:]
    pollfd = link[0].device_i8[POLLFD : POLLFD + 1]
    appended = 0
    spins = 0
    polls = 0
    calls = 0
    discards = 0
    quota = link[0].bytes_max if link[0].bytes_max > 0 else np.int64(rx.size)
    link[0].error = 0
    while link[0].rx_count < rx.size:
        wanted = np.int64(link[0].bytes_received) < link[0].await_bytes
        if link[0].await_bytes >= 0 and not wanted:
            break
        room = rx.size - link[0].rx_count
        is_excess = appended >= quota  # read to behind what waits in rx, where the next call overwrites it
        if not is_excess:
            room = min(room, quota - appended)
        if wanted:  # nothing that comes after: the answer to the next command must be read in its own cycle
            room = min(room, link[0].await_bytes - np.int64(link[0].bytes_received))
        if not wanted:
            arrived = _arrived(link[0].fd, pollfd)
            if arrived == 0:
                break
        count = int(_read(np.int32(link[0].fd), rx.ctypes.data + link[0].rx_count, np.uintp(room)))
        if count > 0:
            link[0].bytes_received += np.uint64(count)
            if is_excess:
                discards += 1
            else:
                link[0].rx_count += count
                appended += count
            spins = 0
            polls = 0
            if not wanted and (count < room or discards >= DISCARD_READS):
                break
            continue
        number = EIO if count == 0 else _errno()  # with VMIN = 1 an end of file is a port that hung up
        if number in (EAGAIN, EINTR):
            if number == EAGAIN and not wanted:
                break
            calls += 1
            if spins < SPIN_READS:
                spins += 1
                continue
            if polls >= AWAIT_POLLS or calls >= POLL_CALLS:
                link[0].error = ETIMEDOUT
                break
            if _wait_for(link[0].fd, POLLIN, POLL_MS, pollfd) == 0:
                polls += 1
            continue
        link[0].error = number
        break
    link[0].floods = link[0].floods + 1 if discards > 0 else 0
    return appended


@kernel(types.int64(array_of(LINK), types.int64))
def write_bytes(link: np.ndarray[Any, Any], count: int) -> int:
    """Write the first `count` bytes of `tx`.

    When the port takes only part of them, the rest is tried again for about 1 ms.

    Args:
        link: The driver's link, shape (1,).
        count: How many bytes.

    Returns:
        0, or the negative errno: -EAGAIN when the port did not take all in time, so that a part of a frame is out.
    """
    pollfd = link[0].device_i8[POLLFD : POLLFD + 1]
    sent = 0
    polls = 0
    while sent < count:
        done = int(_write(np.int32(link[0].fd), link[0].tx.ctypes.data + sent, np.uintp(count - sent)))
        if done > 0:
            sent += done
            link[0].bytes_sent += np.uint64(done)
            continue
        number = EAGAIN if done == 0 else _errno()
        if number == EINTR:
            number = EAGAIN
        if number != EAGAIN or polls >= WRITE_POLLS:
            link[0].error = number
            return -number
        _wait_for(link[0].fd, POLLOUT, 1, pollfd)
        polls += 1
    return 0
