import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import select
import termios
import threading
import tty

import numpy as np
import pytest

from drivers import serial_port
from drivers.driver import LINK, DriverError
from drivers.serial_port import SerialPortError, _arrived, close_port, open_port, read_bytes, write_bytes


@pytest.fixture
def pty():
    """(master, path, slave); the slave is raw and stays open."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave), slave
    for fd in (master, slave):
        with contextlib.suppress(OSError):
            os.close(fd)


def arrive(pty, data: bytes) -> None:
    """Write to the master, and return when the slave has all: the kernel carries it over at its leisure."""
    before = int.from_bytes(fcntl.ioctl(pty[2], termios.FIONREAD, bytes(4)), "little")
    os.write(pty[0], data)
    for _ in range(10_000_000):
        if int.from_bytes(fcntl.ioctl(pty[2], termios.FIONREAD, bytes(4)), "little") == before + len(data):
            return
        os.sched_yield()
    raise AssertionError(f"{len(data)} bytes never arrived")


@pytest.fixture
def link(pty):
    port = open_port(pty[1], 1_000_000)
    link = np.zeros(1, LINK)
    link["fd"], link["await_bytes"] = port.fd, -1
    yield link
    close_port(port)


def test_the_port_is_raw_non_blocking_and_at_its_baud_rate(pty):
    port = open_port(pty[1], 115_200)
    assert not os.get_blocking(port.fd)
    attributes = termios.tcgetattr(pty[2])
    assert attributes[4] == attributes[5] == termios.B115200
    assert not attributes[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert not attributes[1] & termios.OPOST
    close_port(port)
    close_port(port)


def test_a_pseudo_terminal_without_low_latency_is_logged_once(pty, caplog):
    with caplog.at_level(logging.INFO):
        close_port(open_port(pty[1], 115_200))
    assert [r.message for r in caplog.records if "low-latency" in r.message] != []
    assert len(caplog.records) == 1


def test_an_absent_port_is_named_with_the_remedy(tmp_path):
    with pytest.raises(SerialPortError, match=r"no port .*ttyUSB9.*plugged in"):
        open_port(str(tmp_path / "ttyUSB9"), 115_200)


def test_a_busy_port_is_named_with_the_remedy(pty):
    port = open_port(pty[1], 115_200)
    with pytest.raises(SerialPortError, match=r"in use by another program.*fuser"):
        open_port(pty[1], 115_200)
    close_port(port)
    close_port(open_port(pty[1], 115_200))  # and free again


def test_what_is_no_serial_port_is_named(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(SerialPortError, match="is no serial port"):
        open_port(str(path), 115_200)


def test_a_port_that_is_not_permitted_names_the_group(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(serial_port.serial, "Serial", refuse)
    with pytest.raises(SerialPortError, match=r"usermod -aG root \$USER"):
        open_port("/dev/null", 115_200)
    with pytest.raises(SerialPortError, match="usermod -aG dialout"):
        open_port("/dev/ttyUSB9", 115_200)


def test_a_port_error_is_a_driver_error_and_an_os_error():
    assert issubclass(SerialPortError, DriverError)
    assert issubclass(SerialPortError, OSError)


def test_without_waiting_an_empty_port_gives_nothing(link):
    assert read_bytes(link) == 0
    assert link["error"][0] == 0


@pytest.mark.parametrize("chunks", [[b"abc"], [b"a", b"bc", b"defg"], [bytes(range(256)) * 8]])
def test_awaited_bytes_are_read_however_they_come(pty, link, chunks):
    def write():
        for chunk in chunks:
            os.write(pty[0], chunk)

    data = b"".join(chunks)
    writer = threading.Thread(target=write)
    link["await_bytes"] = len(data)
    writer.start()
    assert read_bytes(link) == len(data)
    writer.join()
    assert link["rx"][0, : len(data)].tobytes() == data
    assert (link["bytes_received"][0], link["rx_count"][0], link["error"][0]) == (len(data), len(data), 0)


def test_no_more_than_awaited_is_read(pty, link):
    os.write(pty[0], b"abcdef")
    link["await_bytes"] = 4
    assert read_bytes(link) == 4
    assert read_bytes(link) == 0
    link["await_bytes"] = 6
    assert read_bytes(link) == 2
    assert link["rx"][0, :6].tobytes() == b"abcdef"


def test_a_flood_stops_at_the_room_there_is(pty, link):
    os.set_blocking(pty[0], False)
    written = 0
    while written < 3 * 8192:
        with contextlib.suppress(BlockingIOError):
            written += os.write(pty[0], b"\xff" * 4096)
        read_bytes(link)
        if link["rx_count"][0] == 8192:
            break
    assert link["rx_count"][0] == 8192
    assert read_bytes(link) == 0
    assert link["error"][0] == 0


def test_a_call_takes_no_more_than_its_quota_and_throws_the_rest_away(pty, link):
    link["bytes_max"] = 10
    arrive(pty, b"0123456789and too much")
    assert read_bytes(link) == 10
    assert link["rx"][0, :10].tobytes() == b"0123456789"
    assert (link["rx_count"][0], link["bytes_received"][0], link["floods"][0]) == (10, 22, 1)
    assert read_bytes(link) == 0
    assert (link["rx_count"][0], link["floods"][0]) == (10, 0)


def test_a_quota_that_is_just_used_up_is_no_flood(pty, link):
    link["bytes_max"] = 10
    for k in range(1, 4):
        arrive(pty, b"0123456789")
        assert read_bytes(link) == 10
        assert (link["rx_count"][0], link["floods"][0]) == (10 * k, 0)


def test_floods_are_counted_while_they_follow_one_another(pty, link):
    link["bytes_max"] = 10
    for count, floods in ((11, 1), (4000, 2), (11, 3), (10, 0), (0, 0), (50, 1)):
        arrive(pty, b"x" * count)
        read_bytes(link)
        link["rx_count"] = 0
        assert link["floods"][0] == floods


def test_in_lock_step_all_of_a_flood_is_read(pty, link):
    """What the other side has sent is known there: none of it may be left for the next cycle."""
    link["bytes_max"], link["await_bytes"] = 10, 3000
    os.write(pty[0], b"x" * 3005)
    assert read_bytes(link) == 10
    assert (link["rx_count"][0], link["bytes_received"][0], link["floods"][0]) == (10, 3000, 1)
    link["await_bytes"] = 3005
    assert read_bytes(link) == 5
    assert (link["rx_count"][0], link["floods"][0]) == (15, 0)


def test_a_flood_without_end_costs_a_bounded_number_of_reads(monkeypatch, link):
    """The same code, interpreted, on a port that has always more."""
    rooms = []

    def read(_fd, _address, count):
        rooms.append(int(count))
        return int(count)

    monkeypatch.setattr(serial_port, "_read", read)
    monkeypatch.setattr(serial_port, "_arrived", lambda _fd, _scratch: 1 << 20)
    link["bytes_max"] = 292
    for _ in range(3):
        rooms.clear()
        assert read_bytes.py_func(link.view(np.recarray)) == 292
        assert rooms[0] == 292
        assert len(rooms) == 1 + serial_port.DISCARD_READS
        assert max(rooms) <= link["rx"].shape[1]
        link["rx_count"] = 100
    assert link["floods"][0] == 3


def test_bytes_that_never_come_end_in_a_timeout(monkeypatch, link):
    """The same code, interpreted, so that its patience can be cut short."""
    libc = ctypes.CDLL(None, use_errno=True)
    polled = []

    def read(fd, address, count):
        return libc.read(int(fd), ctypes.c_void_p(int(address)), ctypes.c_size_t(int(count)))

    def wait_for(_fd, events, timeout_ms, _pollfd):
        polled.append((events, timeout_ms))
        return 0

    monkeypatch.setattr(serial_port, "_read", read)
    monkeypatch.setattr(serial_port, "_errno", ctypes.get_errno)
    monkeypatch.setattr(serial_port, "_wait_for", wait_for)
    link["await_bytes"] = 1
    assert read_bytes.py_func(link.view(np.recarray)) == 0
    assert link["error"][0] == errno.ETIMEDOUT
    assert 1000 <= sum(timeout for _, timeout in polled) <= 10_000
    assert {events for events, _ in polled} == {1}


def test_unplugging_is_an_error_that_is_returned(pty, link):
    os.close(pty[0])
    assert read_bytes(link) == 0
    assert link["error"][0] == errno.EIO
    link["await_bytes"] = 10
    assert read_bytes(link) == 0
    assert link["error"][0] == errno.EIO
    assert write_bytes(link, 10) == -errno.EIO
    assert link["error"][0] == errno.EIO


def test_a_closed_descriptor_is_an_error_that_is_returned(link):
    link["fd"] = -1
    assert write_bytes(link, 1) == -errno.EBADF
    read_bytes(link)
    assert link["error"][0] == errno.EBADF


def test_a_port_that_takes_nothing_more_is_given_up(pty, link):
    """Nobody reads the other end: the kernel's buffer fills."""
    for _ in range(1000):
        result = write_bytes(link, 1024)
        if result:
            break
    assert result == -errno.EAGAIN
    sent = int(link["bytes_sent"][0])
    os.set_blocking(pty[0], False)
    read = 0
    while read < sent:
        try:
            read += len(os.read(pty[0], 65536))
        except BlockingIOError:
            break
    assert write_bytes(link, 10) == 0


def test_what_is_written_arrives(pty, link):
    link["tx"][0, :5] = np.frombuffer(b"hello", np.uint8)
    assert write_bytes(link, 5) == 0
    assert os.read(pty[0], 100) == b"hello"
    assert link["bytes_sent"][0] == 5


def test_what_has_arrived_is_counted_without_a_read():
    far, near = os.openpty()
    scratch = np.zeros(1, np.int64)
    try:
        tty.setraw(near)
        assert _arrived(near, scratch) == 0
        os.write(far, b"abc")
        select.select([near], [], [], 10.0)
        assert _arrived(near, scratch) == 3
        assert os.read(near, 2) == b"ab"
        assert _arrived(near, scratch) == 1
    finally:
        os.close(far)
        os.close(near)
    assert _arrived(near, scratch) < 0
