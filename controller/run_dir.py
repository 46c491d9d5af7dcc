"""The run directory: where the processes of one daemon, and its clients, find one another.

One folder per arm, on tmpfs, readable by its owner alone. The descriptor `daemon.json` is there exactly while the
daemon is ready; the lock `daemon.lock` is held exactly while a daemon lives, however it ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from controller.errors import DaemonAbsent, DaemonError

__all__ = [
    "GATEWAY_SLOT",
    "RECORDER_SLOT",
    "AxisInfo",
    "Descriptor",
    "RunDir",
    "base_dir",
    "find_daemon",
    "running_daemons",
    "write_atomically",
]

GATEWAY_SLOT, RECORDER_SLOT = 0, 1  # their cursors in the rings
MAX_SOCKET_PATH = 107  # bytes that fit a Unix socket's address: unix(7)


class AxisInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One axis, as clients see it: rad and N·m for a revolute one, m and N for a prismatic one."""

    name: str
    type: str
    position_min: float
    position_max: float
    velocity_max: float
    acceleration_max: float
    jerk_max: float
    effort_max: float


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What a ready daemon says of itself."""

    arm: str
    pid: int
    epoch: int
    """Which start of the daemon this is: CLOCK_REALTIME in ns then."""
    commands: str
    """ZeroMQ endpoint of the commands."""
    telemetry: str
    """ZeroMQ endpoint of the telemetry."""
    lockstep: bool
    period: float
    """s."""
    description: str
    axes: list[AxisInfo]
    n_joints: int
    """Axes that move the tip; they come first. One more is the jaw."""
    children: dict[str, int]
    """Process ids by name."""
    recording: str | None
    versions: dict[str, str]


class RunDir:
    """The paths in one arm's run directory. Making one touches no disk.

    Args:
        path: The folder; its name is the arm's.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.arm = self.path.name
        self.config = self.path / "config.json"
        self.samples = self.path / "samples"
        self.mailbox = self.path / "mailbox"
        self.inputs = self.path / "inputs"
        self.black_box = self.path / "black_box.json"
        self.lockstep = self.path / "lockstep"
        self.port = self.path / "port"
        self.rig = self.path / "rig.json"
        self.truth = self.path / "truth"
        self.faults = self.path / "faults"
        self.core = self.path / "core.json"
        self.law = self.path / "law.json"
        self.law_state = self.path / "law"
        self.recorder = self.path / "recorder.json"
        self.descriptor = self.path / "daemon.json"
        self.lock = self.path / "daemon.lock"
        self.commands_socket = self.path / "commands.sock"
        self.telemetry_socket = self.path / "telemetry.sock"

    def log(self, process: str) -> Path:
        """Return where a process's output goes."""
        return self.path / f"{process}.log"

    def create(self) -> None:
        """Make the folder, for its owner alone.

        Raises:
            DaemonError: Its path is too long for a Unix socket, or the folder belongs to somebody else.
        """
        longest = len(os.fsencode(self.telemetry_socket))
        if longest > MAX_SOCKET_PATH:
            raise DaemonError(
                f"the run directory {self.path} is too long: a socket in it would have {longest} bytes, "
                f"{MAX_SOCKET_PATH} are allowed. Set TROCAR_RUN_DIR to a shorter folder."
            )
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
            owner = self.path.stat().st_uid
        except OSError as error:
            raise DaemonError(
                f"the run directory {self.path} cannot be made ({error.strerror}). Set TROCAR_RUN_DIR to a folder "
                "that you may write."
            ) from error
        if owner != os.getuid():
            raise DaemonError(
                f"the run directory {self.path} belongs to user {owner}, not to you ({os.getuid()}): whoever owns it "
                "could command the arm. Set TROCAR_RUN_DIR to a folder of your own."
            )
        self.path.chmod(0o700)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the arm's only daemon for the length of the block; the kernel unlocks even when this process is killed.

        Raises:
            DaemonError: Another daemon serves this arm; the message has its process id.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                pid = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
                raise DaemonError(
                    f"a daemon already serves {self.arm} (process {pid}, {self.path}). "
                    f"Use it, or stop it first: trocar down --arm {self.arm}."
                ) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Return whether a daemon lives, ready or not."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def read_descriptor(self) -> Descriptor | None:
        """Return what the daemon left here, also one that was killed; None where there is nothing readable."""
        try:
            return msgspec.json.decode(self.descriptor.read_bytes(), type=Descriptor)
        except (OSError, msgspec.DecodeError):
            return None


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.replace(path)


def base_dir() -> Path:
    """Return the folder that holds the run directories.

    $TROCAR_RUN_DIR, or $XDG_RUNTIME_DIR/trocar, or /dev/shm/trocar-UID.
    """
    if given := os.environ.get("TROCAR_RUN_DIR"):
        return Path(given)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "trocar"
    return Path("/dev/shm") / f"trocar-{os.getuid()}"


def running_daemons() -> list[Descriptor]:
    """Return every daemon of this user that is ready, by the arm's name."""
    base = base_dir()
    folders = sorted(p for p in base.iterdir() if p.is_dir()) if base.is_dir() else []
    found = ((RunDir(folder), RunDir(folder).read_descriptor()) for folder in folders)
    return [descriptor for run_dir, descriptor in found if descriptor is not None and run_dir.is_locked()]


def find_daemon(arm: str | None = None) -> tuple[RunDir, Descriptor]:
    """Return the daemon that serves an arm.

    Args:
        arm: Its name; None: the only one that runs.

    Raises:
        DaemonAbsent: None serves it, or several run and no name was given; the message says which run.
    """
    running = running_daemons()
    names = [descriptor.arm for descriptor in running]
    if arm is None and len(running) == 1:
        arm = names[0]
    for descriptor in running:
        if descriptor.arm == arm:
            return RunDir(base_dir() / descriptor.arm), descriptor
    if arm is None and running:
        raise DaemonAbsent(f"several arms run ({', '.join(names)}): say which one, e.g. --arm {names[0]}.")
    which = f"arm {arm!r}" if arm else "any arm"
    others = f"Running: {', '.join(names)}." if names else "No arm runs."
    starting = arm is not None and RunDir(base_dir() / arm).is_locked()
    remedy = "It is starting: try again in a moment." if starting else "Start one: trocar up psm_emulated."
    raise DaemonAbsent(f"no daemon serves {which} in {base_dir()}. {others} {remedy}")
