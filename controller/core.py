"""The core: the process that the cycle runs in. `python -m controller.core RUN_DIR [--lockstep]`.

It opens the port, checks and configures the motor controllers, and runs the cycle in a thread of its own, on its own
CPU where there is more than one. Shared memory is all that joins it to the other processes. On SIGTERM it brings the
arm to rest, takes the power away and ends.
"""

import argparse
import contextlib
import gc
import math
import signal
import sys
import threading
from pathlib import Path
from time import sleep
from types import FrameType
from typing import Any

import msgspec
import numpy as np

from controller import clock
from controller.activity import CORE
from controller.clock import CLOCK, LOCKSTEP
from controller.config import Config
from controller.cycle import run
from controller.device_check import check_device
from controller.doctor.host import read_host
from controller.doctor.rules import watchdog_warnings
from controller.doctor.wakeup import measure_wakeups, wait_many
from controller.errors import LawError
from controller.guard.records import GUARD, JOINT_COMMAND
from controller.guard.settings import fill_guard
from controller.laws.compile import Law, compile_law, try_law
from controller.laws.joint_pd import make_gains
from controller.laws.law import LAW_STATE
from controller.laws.parameters import SHARED
from controller.mailbox import MAILBOX, MESSAGE
from controller.motion.advance import advance
from controller.motion.path import PATH
from controller.motion.setpoint import MOTION, SCRATCH
from controller.motion.start import start
from controller.motion.trajectory import TRAJECTORY, evaluate, plan, plan_unsynchronised
from controller.motion.walk import walk
from controller.realtime import (
    AWAKE_REMEDY,
    PageFaults,
    Rights,
    choose_cpu,
    hold_cpus_awake,
    keep_heap,
    leave_cpu,
    lock_memory,
    page_faults,
    prefault,
    prefault_stack,
    take_cpu_and_priority,
)
from controller.run_dir import RunDir, write_atomically
from drivers.bridge import AxisSettings, BridgeDriver
from drivers.driver import COMMAND, FEEDBACK, DeviceInfo, Driver, DriverError
from kinematics.compiled import Array, Part, prepare
from kinematics.description import ArmDescription, load_arm
from kinematics.kernels import bound_record, kernels_of
from telemetry.ring import open_ring
from telemetry.sample import SAMPLE
from telemetry.shared import create_records, map_records

__all__ = ["CoreInfo", "make_driver", "make_state"]

LOOK = 0.002  # s between looks for the rig
ENABLE_TIMEOUT = 1.0  # s from asking for power to brakes released
BRAKE_SETTLE = 0.05  # s
BRAKE_PUSH = 0.025  # s each way
BRAKE_SLIP = 0.0003  # of an axis's range: what a closed brake may give way
RELEASE_SETTLE = 0.04  # s
ENCODER_PUSH = 0.02  # s each way
SILENCE_MARGIN = 4  # cycles beyond the watchdog: the last command is under way when the silence begins
STOP_TIMEOUT = 1.0  # s that a ramp to rest may take
MOTION_PARTS = (walk, start, plan, plan_unsynchronised, evaluate, advance)
TRIAL = 0.2  # s of waiting before the first cycle, to see how late this host wakes it
WATCH = 1.0  # s between looks at the cycle's page faults
OVERSPEED = 2.0  # the motor controllers' own limit, beside the joints' velocity limits: theirs is the last resort


class CoreInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the core says of itself, in RUN_DIR/core.json."""

    pid: int
    scheduler: str
    cpu: int
    warnings: list[str]
    device: dict[str, str]
    wakeup_max: float = 0.0
    """s. How late the cycle's thread was woken at the most in a trial of 0.2 s before the first cycle."""
    other_threads: int = 0
    """Threads of this process that were moved off the cycle's CPU."""
    page_faults_at_start: int | None = None
    """Of the cycle's thread in its first second; None before."""
    page_faults: int | None = None
    """Of the cycle's thread since then: anything but 0 is memory that somebody allocates or takes away."""


def make_driver(config: Config, arm: ArmDescription, port: str) -> Driver:
    """Return the driver of the configuration, not yet opened."""
    a = arm.record[0]
    n = arm.n_axes
    velocity = np.abs(a["actuator_from_joint"][:n, :n]) @ a["velocity_max"][:n]
    axes = AxisSettings(
        n_axes=n,
        counts_per_unit=a["counts_per_unit"][:n],
        effort_per_amp=a["effort_per_amp"][:n],
        current_max=a["current_max"][:n],
        position_min=a["actuator_position_min"][:n],
        position_max=a["actuator_position_max"][:n],
        velocity_max=OVERSPEED * velocity,
        brake=a["brake"][:n].astype(bool),
    )
    return BridgeDriver(
        port,
        baud=config.driver.baud,
        axes=axes,
        period=config.cycle.period,
        watchdog=config.driver.watchdog,
        key=config.key,
    )


def make_state(config: Config, arm: ArmDescription) -> dict[str, Array]:
    """Return the cycle's own records, set up from the configuration and the arm, by the names of `run`'s arguments."""
    n, period = arm.n_axes, config.cycle.period
    a = arm.record[0]
    records: dict[str, Array] = {
        name: np.zeros(1, dtype)
        for name, dtype in (
            ("core", CORE),
            ("motion", MOTION),
            ("path", PATH),
            ("guard", GUARD),
            ("feedback", FEEDBACK),
            ("command", COMMAND),
            ("joint_command", JOINT_COMMAND),
            ("message", MESSAGE),
            ("next_message", MESSAGE),
            ("sample", SAMPLE),
            ("law_state", LAW_STATE),
            ("law_sample", SAMPLE),
            ("law_command", JOINT_COMMAND),
        )
    }
    records["scratch"] = np.zeros(SCRATCH)
    records["poses"] = np.zeros((3, 4, 4))
    records["trajectories"] = np.zeros(2, TRAJECTORY)

    core = records["core"][0]
    core["period"] = period
    core["enable_cycles"] = round(ENABLE_TIMEOUT / period)
    core["stop_cycles"] = round(STOP_TIMEOUT / period)
    core["average_cycles"] = max(1, round(config.homing.average / period))
    core["home_speed"] = config.homing.speed
    core["home"][:n] = config.homing.pose
    core["stream_dead_ns"] = round(config.stream.dead * 1e9)
    core["watchdog"] = config.driver.watchdog
    core["tool_expected"] = -1 if config.driver.tool is None else config.driver.tool
    core["pedal_required"] = config.pedal.required
    core["brake_settle_cycles"] = round(BRAKE_SETTLE / period)
    core["brake_cycles"] = max(round(BRAKE_PUSH / period), 4)
    core["release_settle_cycles"] = round(RELEASE_SETTLE / period)
    core["pulse_cycles"] = max(round(ENCODER_PUSH / period), 2)
    core["silent_cycles"] = math.ceil(config.driver.watchdog / period) + SILENCE_MARGIN
    core["brake_slip"] = BRAKE_SLIP * (a["actuator_position_max"] - a["actuator_position_min"])
    core["axis"] = core["fault_axis"] = -1

    motion = records["motion"][0]
    motion["period"] = period
    for limit in msgspec.structs.fields(type(config.motion)):
        motion["tip_limits"][limit.name] = getattr(config.motion, limit.name)
    motion["speed_ratio"] = 1.0
    motion["stream_timeout_max_ns"] = round(config.stream.timeout * 1e9)
    motion["interpolate_timeout_max_ns"] = round(config.stream.interpolate_timeout * 1e9)

    fill_guard(records["guard"][0], config, a, n)

    law = records["law_state"][0]
    law["enabled"] = config.law.name != "joint_pd"
    law["period_ns"] = round(period * 1e9)
    law["budget_ns"] = round(config.law_budget * 1e9)
    records["gains"] = make_gains(
        config.law.kp, config.law.kd, gravity=config.law.gravity, friction=config.law.friction
    )
    records["arm"] = bound_record(arm)
    center = config.remote_center
    own = records["arm"][0]
    own["shaft"][:3] = center.shaft_point
    own["shaft"][3:] = np.array(center.shaft_direction) / np.linalg.norm(center.shaft_direction)
    own["depth_min"] = center.depth_min
    if center.point is not None:
        own["through"], own["remote_center"] = 1, center.point
    return records


def make_law(config: Config, arm: ArmDescription) -> Law:
    """Return the configured law, compiled, and tried once on an arm at rest in its homing pose.

    Raises:
        LawError: It cannot be used; the message names the file, the line and the reason.
    """
    law = compile_law(config.law.name, config.law.parameters, budget=config.law_budget)
    gains = make_gains(config.law.kp, config.law.kd, gravity=config.law.gravity, friction=config.law.friction)
    try_law(law, arm.record, gains, config.homing.pose)
    return law


def _run(run_dir: RunDir, *, lockstep: bool) -> int:
    config = msgspec.json.decode(run_dir.config.read_bytes(), type=Config)
    arm = load_arm(config.arm.description)
    ring = open_ring(run_dir.samples, SAMPLE)
    box = map_records(run_dir.mailbox, MAILBOX)
    barrier = map_records(run_dir.lockstep, LOCKSTEP) if lockstep else np.zeros(1, LOCKSTEP)
    time = np.zeros(1, CLOCK)
    time[0]["period_ns"] = round(config.cycle.period * 1e9)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        time[0]["stop"] = 1

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides: it gets the terminal's Ctrl-C too

    kernels = kernels_of(arm)
    law = make_law(config, arm)  # before a motor can have power
    shared = create_records(run_dir.law_state, SHARED)
    shared["parameters"] = law.vector
    write_atomically(run_dir.law, msgspec.json.encode(law.info))
    state = make_state(config, arm)
    parts: tuple[Any, ...] = (
        (clock.wait_lockstep, clock.now_lockstep, clock.finish_lockstep)
        if lockstep
        else (clock.wait_real, clock.now_real, clock.finish_real)
    )
    driver = make_driver(config, arm, str(run_dir.port) if config.rig else config.driver.port)
    pluggable: list[Part] = [kernels.forward, kernels.forward_jacobian, kernels.motion_inverse, *MOTION_PARTS, law.call]
    pluggable += [driver.receive, driver.transmit, *parts]
    prepare(run, *pluggable)  # before a device waits for commands, and not under real-time priority
    while config.rig and not run_dir.rig.exists():  # should the rig die, the daemon ends this process
        if time[0]["stop"]:
            return 0
        sleep(LOOK)
    device = driver.open()
    try:
        check_device(config, arm, device)
        arguments = [*pluggable, state["arm"], state["gains"], arm.record, state["law_state"], shared]
        arguments += [state["law_sample"], state["law_command"]]
        arguments += [time, barrier, driver.link, ring.header, ring.slots]
        arguments += [box, box[0]["messages"], state["core"], state["motion"], state["path"], state["trajectories"]]
        arguments += [state["guard"], state["feedback"], state["command"], state["joint_command"]]
        arguments += [state["message"], state["next_message"], state["sample"], state["scratch"], state["poses"]]
        return _run_cycle(run_dir, config, device, arguments, lockstep=lockstep)
    finally:
        driver.close()


def _run_cycle(run_dir: RunDir, config: Config, device: DeviceInfo, arguments: list[Any], *, lockstep: bool) -> int:
    """Run the cycle in a thread, so that this one stays free for signals; return the process's exit code."""
    awake = hold_cpus_awake()  # in lock-step too: waking an idle CPU costs more than a tick of work
    warnings: list[str] = []
    cpu, others = -1, 0
    if not lockstep:
        keep_heap()
        warnings += [warning] if (warning := lock_memory()) else []
        if awake < 0:
            warnings.append(f"the CPUs may sleep deeply, and wake up late: {AWAKE_REMEDY}")
        prefault(*(argument for argument in arguments if isinstance(argument, np.ndarray)))
        cpu = choose_cpu(config.cycle.cpu)
        others = leave_cpu(cpu)
        prepare(wait_many)
    gc.collect()
    gc.freeze()
    gc.disable()  # what this process does in Python from here on makes no cycles of references
    begun = PageFaults(0, 0)
    info: CoreInfo | None = None

    def cycle() -> None:
        nonlocal info, begun
        rights, late = Rights("lock-step", -1, []), 0.0
        if not lockstep:
            prefault_stack()
            rights = take_cpu_and_priority(cpu, config.cycle.priority)
            late = float(measure_wakeups(config.cycle.period, TRIAL).max())
            rights.warnings.extend(watchdog_warnings(config, rights.scheduler, late, read_host()))
        made = CoreInfo(
            pid=threading.get_native_id(),
            scheduler=rights.scheduler,
            cpu=rights.cpu,
            warnings=warnings + rights.warnings,
            device={key: str(value) for key, value in device._asdict().items()},
            wakeup_max=late,
            other_threads=others,
        )
        write_atomically(run_dir.core, msgspec.json.encode(made))
        for text in made.warnings:
            print(f"trocar: warning: {text}", file=sys.stderr, flush=True)
        print("ready", flush=True)
        begun, info = page_faults(made.pid), made
        run(*arguments)
        if not lockstep:
            info = _watch_memory(run_dir, info, begun)

    thread = threading.Thread(target=cycle, name="cycle")
    thread.start()
    while thread.is_alive():
        thread.join(WATCH)
        if info is not None and not lockstep:
            info = _watch_memory(run_dir, info, begun)
    del awake  # the descriptor was held until here; the process's end closes it
    return 0


def _watch_memory(run_dir: RunDir, info: CoreInfo, begun: PageFaults) -> CoreInfo:
    """Put the cycle's page faults into core.json when they have changed; return what it says now."""
    with contextlib.suppress(OSError):  # the thread has ended
        now = page_faults(info.pid)
        count = now.minor + now.major - begun.minor - begun.major
        at_start = count if info.page_faults_at_start is None else info.page_faults_at_start
        if info.page_faults != count - at_start:
            if info.page_faults == 0:
                print(f"trocar: warning: {count - at_start} page faults in the cycle", file=sys.stderr, flush=True)
            info = msgspec.structs.replace(info, page_faults_at_start=at_start, page_faults=count - at_start)
            write_atomically(run_dir.core, msgspec.json.encode(info))
    return info


def main(arguments: list[str] | None = None) -> int:
    """Run the core until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="controller.core", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--lockstep", action="store_true")
    options = parser.parse_args(arguments)
    try:
        return _run(RunDir(options.run_dir), lockstep=options.lockstep)
    except (DriverError, LawError, OSError, ValueError) as error:
        print(f"trocar: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
