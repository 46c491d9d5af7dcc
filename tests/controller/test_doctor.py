"""The doctor: what it measures, what it makes of that, and that it leaves nothing behind."""

import gzip
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

import numpy as np
import pytest

from controller.doctor import rules
from controller.doctor.examine import Report, examine
from controller.doctor.host import Swap, read_host, read_steal
from controller.doctor.load import BUSY, Load
from controller.doctor.round_trip import measure_port, measure_pty
from controller.doctor.rules import Verdict, judge_host, judge_round_trip, judge_steal, judge_wakeups, kept_watchdog
from controller.doctor.wakeup import Tail, WakeupMeter, tail_of, wait_many
from drivers.driver import DriverError
from firmware_bridge.frame import make_frame, parse_frame
from firmware_bridge.messages import MessageType, message_dtype

FINE = Tail(20e-6, 40e-6, 60e-6, 90e-6, 10_000)


def fit_host():
    return read_host()._replace(
        is_preempt_rt=True,
        isolated="1",
        nohz_full="1",
        hypervisor="",
        clock_source="tsc",
        clock_resolution=1e-9,
        governors=["performance"],
        sleep_latency=1e-6,
        rtprio_limit=95,
        memlock_limit=-1,
        can_hold_awake=True,
        swap=Swap(0, 0),
        shared_memory=1 << 30,
        latency_timers={},
    )


def judge(host, *, watchdog=0.004, scheduler="SCHED_FIFO 80"):
    checks = judge_host(host, watchdog=watchdog, scheduler=scheduler, needs_serial=False)
    return {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("late", "watchdog"), [(0.0, 0.002), (100e-6, 0.003), (0.5e-3, 0.003), (1e-3, 0.004), (0.01, 0.022)]
)
def test_watchdog_kept_is_two_periods_and_twice_the_worst_lateness_in_whole_ms(late, watchdog):
    assert kept_watchdog(0.001, late) == pytest.approx(watchdog)


def test_wakeups_are_fit_tolerable_or_unfit_by_the_watchdog_that_they_keep():
    def verdict(late, watchdog):
        tail = FINE._replace(max=late)
        return judge_wakeups("w", tail, period=0.001, watchdog=watchdog, scheduler="SCHED_FIFO 80").verdict

    assert verdict(0.0001, 0.004) is Verdict.FIT
    assert verdict(0.0009, 0.004) is Verdict.TOLERABLE
    assert verdict(0.0011, 0.004) is Verdict.UNFIT
    assert verdict(0.0011, 0.25) is Verdict.TOLERABLE


def test_an_unfit_wakeup_names_the_watchdog_that_would_be_kept():
    check = judge_wakeups("w", FINE._replace(max=0.01), period=0.001, watchdog=0.004, scheduler="SCHED_FIFO 80")
    assert "driver.watchdog = 0.022" in check.remedy
    assert check.values["watchdog"] == pytest.approx(0.022)


def test_a_host_with_all_that_is_needed_is_fit():
    for check in judge(fit_host()).values():
        assert check.verdict is Verdict.FIT, check
        assert check.remedy == ""


@pytest.mark.parametrize(
    ("name", "change", "verdict", "remedy"),
    [
        ("kernel", {"is_preempt_rt": False}, Verdict.TOLERABLE, "PREEMPT_RT"),
        ("CPUs", {"isolated": "", "cpus": [0, 1]}, Verdict.TOLERABLE, "isolcpus=1"),
        ("CPUs", {"isolated": "", "cpus": [0]}, Verdict.TOLERABLE, "two CPUs"),
        ("locked memory", {"memlock_limit": 8 << 20}, Verdict.TOLERABLE, "limits.d"),
        ("locked memory", {"memlock_limit": 8 << 20, "swap": Swap(1 << 30, 0)}, Verdict.UNFIT, "limits.d"),
        ("CPU sleep", {"can_hold_awake": False, "sleep_latency": 1e-4}, Verdict.TOLERABLE, "udev"),
        ("CPU frequency", {"governors": ["powersave"]}, Verdict.TOLERABLE, "cpupower"),
        ("clock", {"clock_source": "hpet"}, Verdict.TOLERABLE, "clocksource=tsc"),
        ("clock", {"clock_resolution": 4e-3}, Verdict.UNFIT, "highres=on"),
        ("/dev/shm", {"shared_memory": 64 << 20}, Verdict.UNFIT, "shm-size"),
        ("hardware", {"hypervisor": "KVM"}, Verdict.UNFIT, "real hardware"),
        ("adapter ttyUSB0", {"latency_timers": {"ttyUSB0": 16}}, Verdict.UNFIT, "latency_timer"),
        ("serial ports", {"latency_timers": {"ttyUSB0": 1}, "groups": ["users"]}, Verdict.TOLERABLE, "dialout"),
    ],
)
def test_each_lack_has_its_line_and_its_remedy(name, change, verdict, remedy):
    check = judge(fit_host()._replace(**change))[name]
    assert check.verdict is verdict
    assert remedy in check.remedy


def test_no_priority_is_unfit_for_a_short_watchdog_and_tolerable_for_a_long_one():
    assert judge(fit_host(), scheduler="SCHED_OTHER")["priority"].verdict is Verdict.UNFIT
    assert judge(fit_host(), scheduler="SCHED_OTHER", watchdog=0.25)["priority"].verdict is Verdict.TOLERABLE


def test_a_round_trip_is_judged_by_period_and_feedback_timeout():
    def verdict(p99, p999):
        tail = FINE._replace(p99=p99, p999=p999)
        return judge_round_trip("line", tail, period=0.001, feedback_timeout=0.003).verdict

    assert verdict(0.0003, 0.0008) is Verdict.FIT
    assert verdict(0.0013, 0.002) is Verdict.TOLERABLE
    assert verdict(0.0013, 0.016) is Verdict.UNFIT


def test_stolen_time_is_told_when_there_is_some():
    assert judge_steal(0.0, 10.0, 2) is None
    assert judge_steal(0.02, 10.0, 2).verdict is Verdict.TOLERABLE
    assert judge_steal(2.0, 10.0, 2).verdict is Verdict.UNFIT


def test_facts_are_read_from_proc_and_sys(tmp_path):
    files = {
        "proc/version": "Linux version 6.6 (x) #1 SMP PREEMPT_RT Debian",
        "proc/cpuinfo": "flags\t\t: fpu vme hypervisor\n",
        "proc/meminfo": "SwapTotal:  1024 kB\nSwapFree:   1000 kB\n",
        "proc/stat": "cpu  1 2 3 4 5 6 7 250 9 10\n",
        "sys/class/dmi/id/sys_vendor": "QEMU\n",
        "sys/devices/system/cpu/isolated": "2-3\n",
        "sys/devices/system/cpu/nohz_full": "(null)\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
        "sys/devices/system/cpu/cpu0/cpuidle/state0/latency": "0\n",
        "sys/devices/system/cpu/cpu0/cpuidle/state3/latency": "170\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
        "sys/bus/usb-serial/devices/ttyUSB0/latency_timer": "16\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(b"# c\nCONFIG_HZ_250=y\nCONFIG_HZ=250\n"))
    host = read_host(tmp_path)
    assert host.is_preempt_rt
    assert host.hz == 250
    assert (host.isolated, host.nohz_full) == ("2-3", "")
    assert host.hypervisor == "QEMU"
    assert host.governors == ["performance", "powersave"]
    assert host.sleep_latency == pytest.approx(170e-6)
    assert host.clock_source == "hpet"
    assert host.latency_timers == {"ttyUSB0": 16}
    assert host.swap == Swap(1024 * 1024, 24 * 1024)
    assert not host.can_hold_awake
    assert read_steal(tmp_path) == pytest.approx(250 / os.sysconf("SC_CLK_TCK"))
    bare = read_host(tmp_path / "nowhere")
    assert (bare.hypervisor, bare.hz, bare.governors, bare.sleep_latency) == ("", None, [], None)


def test_wakeups_are_measured_once_per_period_by_a_thread_that_is_gone_afterwards():
    affinity = os.sched_getaffinity(0)
    parts = []
    with WakeupMeter(period=0.0005, cpu=-1, priority=0) as meter:
        late = meter.measure(0.1, parts.append)
    assert len(late) == 200
    assert (late > 0.0).all()
    assert parts[-1] > 0.0
    assert threading.active_count() == 1
    assert os.sched_getaffinity(0) == affinity
    tail = tail_of(late)
    assert tail.median <= tail.p99 <= tail.p999 <= tail.max


def test_a_deadline_that_was_missed_counts_with_all_of_its_lateness():
    from controller.clock import CLOCK, LOCKSTEP
    from drivers.driver import LINK
    from telemetry.ring import RING_HEADER

    clock = np.zeros(1, CLOCK)
    clock["period_ns"] = 1000  # shorter than any wake-up takes: each one is late by several periods
    late_ns = np.zeros(50, np.int64)
    begun = time.monotonic_ns()
    count = wait_many(clock, np.zeros(1, LOCKSTEP), np.zeros(1, LINK), np.zeros(1, RING_HEADER), late_ns)
    passed = time.monotonic_ns() - begun
    assert count == 50
    assert clock["overruns"][0] > 0
    assert late_ns.max() > 1000
    assert late_ns.sum() < passed


def test_the_load_ends_with_its_block_and_with_its_parent():
    with Load(BUSY) as load:
        pids = load.pids
        assert len(pids) == len(BUSY)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    script = (
        "import os, time\n"
        "from controller.doctor.load import Load\n"
        "load = Load(('cpu', 'fork')).__enter__()\n"
        "print(*load.pids, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30.0
    while any(Path(f"/proc/{pid}/comm").exists() and not is_zombie(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_round_trips_over_a_pseudo_terminal_leave_no_process():
    before = set(children_of(os.getpid()))
    times = measure_pty(0.1)
    assert len(times) == 50
    assert (times > 0.0).all()
    assert set(children_of(os.getpid())) == before


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class Line:
    """The far end of a pseudo-terminal, which answers each frame by a function, and keeps what came."""

    def __init__(self, answer):
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        tty.setraw(self.far)
        self.path = os.ttyname(self.near)
        self.received = b""
        self._answer = answer
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self):
        rest = b""
        while not self._end.is_set():
            if not select.select([self.far], [], [], 0.05)[0]:
                continue
            data = os.read(self.far, 1024)
            self.received += data
            *frames, rest = (rest + data).split(b"\0")
            for frame in frames:
                if frame and (reply := self._answer(frame + b"\0")):
                    os.write(self.far, reply)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        os.close(self.far)
        os.close(self.near)


def kinds(data):
    frame = np.zeros(1024, np.uint8)
    for piece in data.split(b"\0"):
        if piece:
            assert parse_frame(np.frombuffer(piece + b"\0", np.uint8).copy(), 0, len(piece), frame) >= 0
            yield int(frame[0])


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        (lambda frame: frame, "a plug"),
        (lambda _: make_frame(MessageType.HELLO_REPLY, bytes(message_dtype("HELLO_REPLY").itemsize)), "the device"),
    ],
)
def test_a_port_is_only_ever_asked_who_is_there(answer, who):
    with Line(answer) as line:
        times, found = measure_port(line.path, 115_200, 0.1)
        assert found.startswith(who)
        assert len(times) == 50
        assert set(kinds(line.received)) == {MessageType.HELLO}


def test_a_port_without_an_answer_is_told_with_what_to_do():
    with Line(lambda _: b"") as line, pytest.raises(DriverError, match=r"nothing came back .*TX and RX"):
        measure_port(line.path, 115_200, 0.1)


def test_an_examination_ends_with_a_report_of_all_its_lines():
    *checks, report = examine(None, seconds=0.2, port=None)
    assert isinstance(report, Report)
    assert report.checks == checks
    assert report.verdict is rules.worst(checks)
    assert report.watchdog == max(c.values["watchdog"] for c in checks if "watchdog" in c.values)
    names = [check.name for check in checks]
    assert {"kernel", "wake-up, idle", "wake-up, loaded", "pseudo-terminal"} <= set(names)


def command(*arguments):
    return [sys.executable, "-c", "from controller.cli.main import main; main()", "doctor", *arguments]


def test_the_command_prints_json_and_its_exit_code_is_the_verdict():
    done = subprocess.run(command("--json", "--seconds", "0.2"), capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["verdict"] == "unfit" else 0)
    assert report["wanted"] == 0.004
    for check in report["checks"]:
        assert check["found"]
        assert check["meaning"]
        assert check["remedy"] or check["verdict"] == "fit"


def test_the_command_judges_by_a_configuration_and_says_what_is_kept():
    done = subprocess.run(command("psm_emulated", "--seconds", "0.2"), capture_output=True, text=True)
    assert "wanted are 250 ms" in done.stdout
    assert "keeps a watchdog of" in done.stdout


def test_an_interrupted_command_leaves_no_process_behind():
    with subprocess.Popen(command("--seconds", "1.5"), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "wake-up, idle" in line:  # the next one is under load
                break
        deadline = time.monotonic() + 30.0
        while len(loads := children_of(process.pid)) < len(BUSY):
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30.0) == 130
    assert "Traceback" not in rest
    assert all(is_zombie(int(pid)) for pid in loads)
