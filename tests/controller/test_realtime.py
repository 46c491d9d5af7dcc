"""What the core asks of the operating system, and that the doctor says when it is not enough."""

import mmap
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from controller import realtime
from controller.config import load_config
from controller.core import CoreInfo
from controller.daemon import Daemon
from controller.doctor.host import read_host
from controller.doctor.rules import watchdog_warnings
from controller.realtime import choose_cpu, page_faults, prefault, prefault_stack, take_cpu_and_priority
from telemetry.ring_file import open_ring

PAGES = 256


def in_thread(function):
    """Run a function in a thread of its own, as nothing that it asks for must stay with the others."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


def own_faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


def test_memory_is_mapped_once_prefaulted_and_its_content_is_left_alone(tmp_path):
    size = PAGES * mmap.PAGESIZE
    with (tmp_path / "shared").open("w+b") as file:
        file.truncate(size)
        shared = np.frombuffer(mmap.mmap(file.fileno(), size), np.uint8)
        private = np.frombuffer(mmap.mmap(-1, size), np.uint8)
        shared[7] = private[7] = 42

        def write():
            prefault(shared, private)
            assert shared[7] == private[7] == 42
            before = own_faults()
            shared[:: mmap.PAGESIZE] = 1
            private[:: mmap.PAGESIZE] = 1
            return own_faults() - before

        assert in_thread(write) < PAGES // 10


def test_memory_is_not_mapped_before(tmp_path):
    private = np.frombuffer(mmap.mmap(-1, PAGES * mmap.PAGESIZE), np.uint8)
    before = own_faults()
    private[:: mmap.PAGESIZE] = 1
    assert own_faults() - before > 0  # or the test above could not fail; a huge page is one fault


def test_an_older_kernel_is_asked_for_each_page(monkeypatch):
    monkeypatch.setattr(realtime, "MADV_POPULATE_WRITE", 250)  # no such advice
    private = np.frombuffer(mmap.mmap(-1, PAGES * mmap.PAGESIZE), np.uint8)
    prefault(private)
    assert not private.any()


def test_the_stack_of_a_thread_is_mapped():
    def faults():
        prefault_stack()
        before = own_faults()
        use_stack(64)  # frames of some KiB each, well within what is mapped
        return own_faults() - before

    in_thread(lambda: use_stack(1))  # compiled, and its own pages mapped
    assert in_thread(faults) <= 2


def use_stack(depth):
    os.environ.get("TERM")
    if depth > 1:
        use_stack(depth - 1)


def test_page_faults_of_a_thread_are_the_kernels_count():
    def both():
        counted = page_faults(threading.get_native_id())
        return counted.minor, own_faults()

    counted, own = in_thread(both)
    assert abs(own - counted) < 30  # reading the file takes some itself


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU: there is no other")
def test_the_cycle_takes_a_cpu_that_all_other_threads_leave():
    script = (
        "import os, threading\n"
        "from controller.realtime import choose_cpu, leave_cpu, take_cpu_and_priority\n"
        "end = threading.Event()\n"
        "old = threading.Thread(target=end.wait, daemon=True); old.start()\n"
        "cpu = choose_cpu(-1)\n"
        "count = leave_cpu(cpu)\n"
        "got = []\n"
        "new = threading.Thread(target=lambda: got.append((take_cpu_and_priority(cpu, 0), os.sched_getaffinity(0))))\n"
        "new.start(); new.join()\n"
        "assert count >= 2\n"
        "assert cpu not in os.sched_getaffinity(0)\n"
        "assert cpu not in os.sched_getaffinity(old.native_id)\n"
        "assert got[0][0].cpu == cpu and got[0][1] == {cpu}, got\n"
        "end.set()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_last_isolated_cpu_is_chosen_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(realtime, "ISOLATED", tmp_path / "isolated")
    assert choose_cpu(-1) in {-1, max(os.sched_getaffinity(0))}
    for text, cpu in (("2-3\n", 3), ("1,5\n", 5), ("4\n", 4)):
        (tmp_path / "isolated").write_text(text)
        assert choose_cpu(-1) == cpu
    assert choose_cpu(1) == 1


def test_a_cpu_that_is_not_there_is_told_with_those_that_are():
    rights = in_thread(lambda: take_cpu_and_priority(4095, 0))
    assert rights.cpu == -1
    assert "cycle.cpu = 4095" in rights.warnings[0]
    assert f"0 .. {os.cpu_count() - 1}" in rights.warnings[0]


def test_a_host_unfit_for_the_watchdog_is_told_with_the_number_and_the_remedy():
    strict, forgiving = load_config("psm_emulated_strict"), load_config("psm_emulated")
    host = read_host()._replace(hypervisor="", is_preempt_rt=True)
    assert watchdog_warnings(strict, "SCHED_FIFO 80", 0.0001, host) == []
    (late,) = watchdog_warnings(strict, "SCHED_FIFO 80", 0.0021, host)
    assert "2.10 ms late" in late
    assert "7 ms is needed" in late
    assert "driver.watchdog is 4 ms" in late
    assert "trocar doctor" in late
    assert "without real-time priority" in watchdog_warnings(strict, "SCHED_OTHER", 0.0, host)[0]
    assert (
        "virtual machine"
        in watchdog_warnings(strict, "SCHED_FIFO 80", 0.0, host._replace(hypervisor="KVM", is_preempt_rt=False))[0]
    )
    # The longer watchdog is what was asked for.
    assert watchdog_warnings(forgiving, "SCHED_OTHER", 0.01, host._replace(hypervisor="KVM")) == []


def test_a_real_arm_with_a_longer_watchdog_is_told_what_that_means():
    config = load_config("psm_emulated")
    driver = msgspec.structs.replace(config.driver, port="/dev/ttyACM0")
    config = msgspec.structs.replace(config, rig=None, driver=driver)
    (warning,) = watchdog_warnings(config, "SCHED_FIFO 80", 0.0, read_host()._replace(hypervisor=""))
    assert "driver.watchdog is set to 250 ms" in warning
    assert "the arm goes on for up to 250 ms" in warning


def test_the_running_cycle_meets_no_page_fault_and_has_its_cpu_to_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("TROCAR_RUN_DIR", str(tmp_path))
    with Daemon(load_config("psm_emulated")) as daemon:
        ring = open_ring(daemon.run_dir.samples)
        while ring.head < 1500:
            daemon.wait(0.05)
        info = msgspec.json.decode(daemon.run_dir.core.read_bytes(), type=CoreInfo)
        threads = [int(entry.name) for entry in Path(f"/proc/{daemon.descriptor.children['core']}/task").iterdir()]
        others = [os.sched_getaffinity(thread) for thread in threads if thread != info.pid]
        cycle = os.sched_getaffinity(info.pid)
    assert info.wakeup_max > 0.0
    assert info.other_threads >= 1
    if not info.warnings:  # this user may lock memory
        assert (info.page_faults_at_start, info.page_faults) == (0, 0)
    if info.cpu >= 0:
        assert cycle == {info.cpu}
        assert all(info.cpu not in other for other in others)
