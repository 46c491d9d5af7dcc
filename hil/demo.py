"""`trocar demo`: an emulated PSM does a small piece of work, is stopped in the middle, and recovers.

Everything goes the way that a user's own program would: a daemon is started, a client commands it, a subscriber
listens, a recorder records. What it shows at the end is computed from the recording.
"""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import typer

if TYPE_CHECKING:
    from kinematics.compiled import Array

__all__ = ["DemoResult", "register", "run_demo"]

SQUARE_SIDE = 0.030  # m
CIRCLE_DIAMETER = 0.020  # m
PATH_SPEED = 0.020  # m/s
TISSUE_DEPTH = 0.125  # m below the remote centre
APPROACH = 0.010  # m above the tissue
STREAM_PERIOD = 0.01  # s between two servo commands
STREAM_RAMP = 0.5  # s in which the circle's speed comes and goes
ESTOP_AFTER = 0.4  # s into the last move
EMERGENCY_MOVE = [0.35, -0.25, 0.16, 0.6, 0.3, -0.3, 0.2]
PARKED = [0.0, 0.0, 0.08, 0.0, 0.0, 0.0, 0.0]


class DemoResult(NamedTuple):
    """What a run has given."""

    report: Any
    faults: list[dict[str, Any]]
    telemetry: dict[str, int]
    speedup: float
    wall_s: float
    first_cycle_s: float
    """From the start of this program; a first start compiles."""
    settings: dict[str, Any]
    path_cycles: list[tuple[int, int]]


class Listener:
    """A subscriber in a thread of its own: what a monitoring client would receive."""

    def __init__(self, endpoint: str, topic: str) -> None:
        self._endpoint, self._topic = endpoint, topic
        self._until: int | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener")
        self.received = 0
        self.first = 0
        self.newest = 0

    def start(self) -> None:
        """Return once the gateway knows of the subscription."""
        self._thread.start()
        self._ready.wait(10.0)

    def finish(self, sequence: int) -> None:
        """Return when the sample of this number has come, or nothing has for two seconds."""
        self._until = sequence
        self._thread.join()

    def _listen(self) -> None:
        from telemetry.subscriber import Subscriber

        arm = self._topic.split("/")[0]
        with Subscriber(self._endpoint, [self._topic, f"/meta/{arm}"]) as subscriber:
            silent_since = time.monotonic()
            while True:
                message = subscriber.receive(0.1)
                if message is None or message.topic != self._topic:
                    if message is not None:
                        self._ready.set()
                    if self._until is not None and time.monotonic() - silent_since > 2.0:
                        break
                    continue
                silent_since = time.monotonic()
                self.newest = int(message.data["seq"])
                self.first = self.first or self.newest
                self.received += 1
                if self._until is not None and self.newest >= self._until:
                    break


def tissue_pose(home: "Array", x: float, y: float, height: float = 0.0) -> "Array":
    """Return T_base_tip, (4, 4), at (x, y) m in the tissue plane or `height` m above it, oriented as `home`."""
    T = home.copy()
    T[:3, 3] = x, y, -TISSUE_DEPTH + height
    return T


def circle_phases(period: float) -> Iterator[float]:
    """Yield the angle of each set-point of one turn: the speed rises and falls along a raised cosine."""
    radius = CIRCLE_DIAMETER / 2
    speed = PATH_SPEED / radius  # rad/s
    cruise = 2 * math.pi / speed - STREAM_RAMP  # each ramp covers half of what cruising in it would
    total = cruise + 2 * STREAM_RAMP
    for k in range(1, math.ceil(total / period) + 1):
        yield _angle(min(k * period, total), speed, cruise)


def _angle(t: float, speed: float, cruise: float) -> float:
    """Return the angle after t s; in a ramp of length r the speed is (1 - cos(pi t / r)) / 2 of the cruising speed."""

    def ramp(s: float) -> float:
        return speed * (s / 2 - STREAM_RAMP / (2 * math.pi) * math.sin(math.pi * s / STREAM_RAMP))

    if t <= STREAM_RAMP:
        return ramp(t)
    if t <= STREAM_RAMP + cruise:
        return speed * (STREAM_RAMP / 2 + t - STREAM_RAMP)
    left = 2 * STREAM_RAMP + cruise - t
    return 2 * math.pi - ramp(left)


def run_demo(
    *,
    lockstep: bool,
    seed: int,
    recording: Path,
    tell: Callable[[str], None],
    show: Callable[[str, str], None],
) -> DemoResult:
    """Run the demo once; return its figures.

    Args:
        lockstep: Virtual time, as fast as it goes, repeatable to the bit; otherwise the real clock.
        seed: Of the plant's noise and of where it was parked.
        recording: File to write, in place of what was there.
        tell: Called with each step's title as it begins.
        show: Called with the title and the text of what an operator should read.
    """
    from controller.config import load_config
    from controller.daemon import Daemon

    config = load_config("psm_emulated_strict" if lockstep else "psm_emulated")
    if config.rig is None:
        raise ValueError("the demo's configuration has no [rig]")
    config = msgspec.structs.replace(config, rig=msgspec.structs.replace(config.rig, seed=seed))
    name = config.arm.name
    faults: list[dict[str, Any]] = []
    paths: dict[str, list[tuple[int, int]]] = {"square": [], "circle": []}

    tell("Starting the daemon (the first time, its kernels and firmware are compiled: about a minute)")
    recording.unlink(missing_ok=True)  # a recorder never writes over a file, and would take another name
    with Daemon(config, lockstep=lockstep, recording=recording) as daemon:
        ready_ns = time.monotonic_ns()  # in lock-step the first cycle may begin now; in real time it has begun
        # Only now: what these load is time that the arm's processes need to start.
        from controller.catalogue import Code
        from controller.client import Arm
        from controller.errors import ArmFault
        from hil.faults import Faults
        from telemetry.sample import OperatingState

        listener = Listener(daemon.descriptor.telemetry, f"{name}/measured_js")
        listener.start()
        began = time.perf_counter()
        with Arm(name, client_name="demo") as arm:
            injected = Faults(daemon.run_dir.path)

            @contextmanager
            def recorded_as(path: str) -> Iterator[None]:
                first = arm.setpoint_cp().sequence + 1
                yield
                paths[path].append((first, arm.setpoint_cp().sequence))

            tell("Enabling: power on, brakes released")
            arm.enable()
            tell("Homing: potentiometers averaged, encoders referenced")
            arm.home().wait()
            home = arm.setpoint_cp().T

            tell("Approaching the tissue on a straight line")
            half = SQUARE_SIDE / 2
            corners = [(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half)]
            arm.move_cp(tissue_pose(home, *corners[0], APPROACH)).wait()
            arm.move_cp(tissue_pose(home, *corners[0]), path_speed=PATH_SPEED).wait()

            tell("Tracing a 30 mm square at 20 mm/s")
            for corner in corners[1:]:
                with recorded_as("square"):
                    arm.move_cp(tissue_pose(home, *corner), path_speed=PATH_SPEED).wait()

            tell("Tracing a 20 mm circle at 20 mm/s, streamed by this client with servo_cp")
            radius = CIRCLE_DIAMETER / 2
            arm.move_cp(tissue_pose(home, radius, 0.0), path_speed=PATH_SPEED).wait()
            with recorded_as("circle"):
                for angle in circle_phases(STREAM_PERIOD):
                    arm.servo_cp(tissue_pose(home, radius * math.cos(angle), radius * math.sin(angle)))
                    arm.sleep(STREAM_PERIOD)
            arm.hold().wait()

            tell("Moving away, and pressing the emulated e-stop in the middle of it")
            motion = arm.move_jp(EMERGENCY_MOVE)
            arm.sleep(ESTOP_AFTER)
            injected.press_estop()
            try:
                motion.wait(timeout=5.0)
            except ArmFault as fault:
                code = Code(fault.code)
                faults.append({"code": int(code), "name": code.name, "cause": fault.cause, "remedy": fault.remedy})
                show(f"FAULT {int(code)} {code.name}", f"Cause:  {fault.cause}\nRemedy: {fault.remedy}")
            arm.wait_state(OperatingState.FAULT, timeout=5.0)

            tell("Releasing the e-stop, enabling again, parking")
            injected.release_estop()
            arm.sleep(0.05)
            arm.enable()
            arm.move_jp(PARKED).wait()
            arm.disable()
            status = arm.status()
            last = int(arm.sample()["sequence"])
            wall = time.perf_counter() - began
        listener.finish(last)
    from hil.demo_report import make_report

    tell("Reading the recording")
    period_ns = round(config.cycle.period * 1e9)
    report = make_report(recording, paths, lockstep=lockstep, period_ns=period_ns)
    # Up to the arm's own newest cycle, not the listener's: a sample that was lost at the end counts too.
    sent = max(last, listener.newest) - listener.first + 1 if listener.received else last
    return DemoResult(
        report=report,
        faults=faults,
        telemetry={"sent": sent, "received": listener.received, "lost": sent - listener.received},
        speedup=last * config.cycle.period / wall,
        wall_s=wall,
        first_cycle_s=((ready_ns if lockstep else report.first_cycle_ns) - _process_began_ns()) * 1e-9,
        settings={
            "watchdog_ms": config.driver.watchdog * 1e3,
            "feedback_timeout_ms": config.cycle.feedback_timeout * 1e3,
            "stream_timeout_ms": config.stream.timeout * 1e3,
            "scheduler": str((status.core or {}).get("scheduler", "unknown")),
        },
        path_cycles=[span for spans in paths.values() for span in spans],
    )


def _process_began_ns() -> int:
    """Return when this process began, CLOCK_MONOTONIC in ns (to 10 ms): proc(5), field 22 of /proc/self/stat."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    since_boot_ns = ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return since_boot_ns + time.monotonic_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def as_json(result: DemoResult, *, lockstep: bool) -> dict[str, Any]:
    """Return the figures as one JSON object."""
    r = result.report
    data: dict[str, Any] = {
        "cycles": r.cycles,
        "path_error_rms_mm": round(r.path_error_rms_mm, 4),
        "path_error_max_mm": round(r.path_error_max_mm, 4),
        "path_errors_mm": {name: {"rms": round(a, 4), "max": round(b, 4)} for name, (a, b) in r.path_errors.items()},
        "rcm_deviation_max_mm": round(r.rcm_deviation_max_mm, 4),
        "faults": result.faults,
        "telemetry": result.telemetry,
        "samples_recorded": r.samples_recorded,
        "samples_sha256": r.samples_sha256,
        "speedup": round(result.speedup, 2),
        "first_cycle_s": round(result.first_cycle_s, 2),
        "settings": result.settings,
    }
    if not lockstep:
        data |= {"wakeup_us": r.wakeup_us, "compute_us": r.compute_us, "overruns": r.overruns}
    return data


def _print_table(result: DemoResult, *, lockstep: bool, recording: Path, picture: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    r = result.report
    table = Table(title="What the recording shows", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("Cycles run, samples recorded", f"{r.cycles}, {r.samples_recorded}")
    lost = result.telemetry
    table.add_row("Telemetry sent, received, lost", f"{lost['sent']}, {lost['received']}, {lost['lost']}")
    for name, (rms, worst) in r.path_errors.items():
        table.add_row(f"True tip against set-point, {name}", f"rms {rms:.3f} mm, max {worst:.3f} mm")
    table.add_row("Shaft from the remote centre, at most", f"{r.rcm_deviation_max_mm:.3f} mm")
    if lockstep:
        table.add_row("Time", f"virtual, {result.speedup:.1f} x real time")
    else:
        for title, values in (("Wake-up late by", r.wakeup_us), ("Compute in a cycle", r.compute_us)):
            text = ", ".join(f"{key} {value:.1f}" for key, value in values.items())
            table.add_row(f"{title} (us)", text)
        table.add_row("Overruns", str(r.overruns))
    s = result.settings
    table.add_row(
        "Set for this machine",
        f"watchdog {s['watchdog_ms']:g} ms, feedback within {s['feedback_timeout_ms']:g} ms, "
        f"stream within {s['stream_timeout_ms']:g} ms, {s['scheduler']}",
    )
    console = Console()
    console.print(table)
    console.print(f"Recording: {recording}" + (f"   Picture: {picture}" if picture else ""))


def register(app: typer.Typer) -> None:
    """Add `demo` to the command line."""

    @app.command()
    def demo(
        lockstep: Annotated[
            bool, typer.Option("--lockstep", help="Virtual time: fast, and the same every time.")
        ] = False,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the emulated arm.")] = 1,
        as_json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
        recording: Annotated[Path, typer.Option(help="Recording to write; replaced if it is there.")] = Path(
            "demo.mcap"
        ),
        picture: Annotated[Path, typer.Option(help="Picture to write.")] = Path("demo.png"),
    ) -> None:
        """An emulated PSM moves under the daemon: enable, home, trace, e-stop, recover, park."""
        quiet = as_json_
        if quiet:
            result = run_demo(
                lockstep=lockstep, seed=seed, recording=recording, tell=lambda _: None, show=lambda *_: None
            )
        else:
            result = _with_progress(lockstep=lockstep, seed=seed, recording=recording)
        from controller.catalogue import Code
        from telemetry.errors import MissingExtraError
        from telemetry.plot import plot_recording
        from telemetry.recording import load

        drawn: Path | None = picture
        try:
            plot_recording(
                load(recording),
                picture,
                code_names={int(code): code.name for code in Code},
                path_cycles=result.path_cycles,
            )
        except MissingExtraError as error:
            drawn = None
            print(f"trocar: {error}", file=sys.stderr)
        if quiet:
            print(json.dumps(as_json(result, lockstep=lockstep)))
        else:
            _print_table(result, lockstep=lockstep, recording=recording, picture=drawn)


def _with_progress(*, lockstep: bool, seed: int, recording: Path) -> DemoResult:
    from rich.console import Console
    from rich.panel import Panel

    console = Console()
    console.print("[bold]Trocar[/] demo: an emulated dVRK PSM. Research software, not a medical device.")
    with console.status("") as status:

        def tell(text: str) -> None:
            console.print(f"[green]•[/] {text}")
            status.update(text)

        def show(title: str, text: str) -> None:
            console.print(Panel(text, title=f"[bold red]{title}[/]", title_align="left", expand=False))

        return run_demo(lockstep=lockstep, seed=seed, recording=recording, tell=tell, show=show)
