"""The black box: the last seconds of samples, inputs and truth, out of shared memory into a file.

Everything that it needs lies in the run directory and outlives the processes that wrote it, so it can be saved by the
daemon (`black_box_keeper`), by whoever comes after a daemon that was killed, and by hand. The file is a recording:
`telemetry.recording.load`, `trocar plot` and `trocar black-box show` read it.

`python -m controller.black_box SNAPSHOT` writes one that the daemon has copied out of the rings.
"""

import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from controller.catalogue import CATALOGUE, Code
from controller.config import Config
from controller.errors import BlackBoxError
from controller.run_dir import Descriptor, RunDir
from telemetry.errors import TelemetryError
from telemetry.ring_file import FREE, RING_HEADER, Ring, newest_record, open_ring, records_since

if TYPE_CHECKING:
    from telemetry.recording import Recording

__all__ = [
    "AFTERMATH",
    "KEPT",
    "SPAN",
    "BlackBox",
    "Saved",
    "Trigger",
    "box_folder",
    "is_switched_off",
    "list_boxes",
    "open_box",
    "take_black_box",
    "write_black_box",
]

SPAN = 5.0  # s before the fault
AFTERMATH = 0.2  # s after it
KEPT = 50  # files
FOLDER_VARIABLE = "TROCAR_BLACK_BOX_DIR"
OFF = "off"
RINGS = ("sample", "truth", "input")


class Trigger(NamedTuple):
    """Why a black box is saved."""

    name: str
    """A code of the catalogue, or what else happened: CORE_DIED, DAEMON_KILLED, SAVED."""
    code: int = 0
    """Of the catalogue; 0: none."""
    text: str = ""
    """The cause, where the catalogue has nothing to say."""
    remedy: str = ""
    """The same of what to do."""
    t_ns: int = -1
    """The arm's time then; -1: that of the newest sample."""


@dataclass(frozen=True, kw_only=True)
class BlackBox:
    """What is saved, on its way from the rings into the file."""

    arm: str
    axes: tuple[str, ...]
    axis_kinds: tuple[str, ...]
    lockstep: bool
    epoch: int
    wall_offset_ns: int
    trigger: Trigger
    metadata: dict[str, str]
    records: dict[str, np.ndarray[Any, Any]]
    """By ring: sample, truth, input."""

    def keep(self, path: Path) -> None:
        """Lay it into a file, to be written properly by another process (`take_up`)."""
        described = {
            name: getattr(self, name) for name in ("arm", "axes", "axis_kinds", "lockstep", "epoch", "wall_offset_ns")
        }
        described |= {"trigger": self.trigger._asdict(), "metadata": self.metadata}
        path.touch(mode=0o600)
        with path.open("wb") as file:
            np.savez(file, description=np.array(json.dumps(described)), **self.records)  # type: ignore[arg-type]

    @staticmethod
    def take_up(path: Path) -> "BlackBox":
        """Return what `keep` has laid down."""
        with np.load(path) as kept:
            described = json.loads(str(kept["description"]))
            records = {name: kept[name] for name in kept.files if name != "description"}
        described["axes"], described["axis_kinds"] = tuple(described["axes"]), tuple(described["axis_kinds"])
        return BlackBox(**described | {"trigger": Trigger(**described["trigger"]), "records": records})


class Saved(NamedTuple):
    """A black box in its folder, as its name tells."""

    path: Path
    arm: str
    time: str
    """When it was written: UTC, ISO 8601."""
    name: str
    """The trigger's."""
    size: int
    """Bytes."""


def box_folder() -> Path:
    """Return the folder of the black boxes.

    $TROCAR_BLACK_BOX_DIR, or $XDG_STATE_HOME/trocar/black_box, or ~/.local/state/trocar/black_box.
    """
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "trocar" / "black_box"


def is_switched_off() -> bool:
    """Return whether none is to be saved by itself: for runs that inject faults by the thousand."""
    return os.environ.get(FOLDER_VARIABLE, "").lower() == OFF


def take_black_box(run_dir: RunDir, trigger: Trigger, descriptor: Descriptor | None = None) -> BlackBox:
    """Return the last seconds of a daemon's shared memory, also of one that was killed.

    Args:
        run_dir: Its run directory.
        trigger: Why.
        descriptor: What the daemon said of itself; None: as the run directory has it, if it has.

    Raises:
        BlackBoxError: There is nothing to be saved.
    """
    try:
        samples = open_ring(run_dir.samples)
        newest = newest_record(samples)
    except TelemetryError as error:
        raise BlackBoxError(f"{run_dir.path} holds no samples to save: {error}.") from error
    if newest is None:
        raise BlackBoxError(f"{run_dir.path} holds no sample: the cycle of {run_dir.arm} has not run.")
    descriptor = descriptor or run_dir.read_descriptor()
    names, kinds = _axes(run_dir, descriptor)
    t_ns = trigger.t_ns if trigger.t_ns >= 0 else int(newest["t_ns"][0])
    since = t_ns - round(SPAN * 1e9)
    records = {"sample": records_since(samples, since)}
    for name, path in (("truth", run_dir.truth), ("input", run_dir.inputs)):
        try:
            records[name] = records_since(open_ring(path), since)
        except TelemetryError:
            continue  # an arm that is not emulated has no truth; a process that was killed early has made nothing
    header = samples.header[0]
    wall_offset_ns = int(header["wall_offset_ns"])
    config = _read_text(run_dir.config)
    entry = CATALOGUE.get(Code(trigger.code)) if trigger.code in Code.__members__.values() else None
    metadata = {
        "black_box": trigger.name,
        "code": str(trigger.code),
        "cause": trigger.text or (entry.cause if entry else ""),
        "remedy": trigger.remedy or (entry.remedy if entry else ""),
        "reaction": entry.reaction.name if entry else "",
        "t_ns": str(t_ns),
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config,
        "description": _description(config, descriptor),
        "descriptor": msgspec.json.encode(descriptor).decode() if descriptor else "",
        "versions": json.dumps(descriptor.versions) if descriptor else "",
        "core": _read_text(run_dir.core),
    }
    return BlackBox(
        arm=run_dir.arm,
        axes=names,
        axis_kinds=kinds,
        # The daemon makes the barrier of lock-step before anything else.
        lockstep=run_dir.lockstep.exists(),
        epoch=int(header["epoch"]),
        wall_offset_ns=wall_offset_ns,
        trigger=trigger._replace(t_ns=t_ns),
        metadata=metadata,
        records=records,
    )


def write_black_box(box: BlackBox, folder: Path | None = None) -> Path:
    """Write a black box into its folder, remove the oldest ones there beyond those kept, and return its path.

    Raises:
        BlackBoxError: The folder cannot be written, or the disk is full; nothing is left of the file.
    """
    from telemetry.recorder import Recorder  # here: it loads the compiler

    folder = box_folder() if folder is None else folder
    if is_switched_off() and folder == Path(os.environ[FOLDER_VARIABLE]):
        raise BlackBoxError(f"black boxes are switched off: {FOLDER_VARIABLE} is {OFF!r}. Set it to a folder.")
    partial = folder / f".{box.arm}-{os.getpid()}-{time.monotonic_ns()}.mcap"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        recorder = Recorder(
            partial,
            box.arm,
            box.axes,
            {name: _ring_of(box, name) for name in RINGS if name in box.records},
            from_start=True,
            lockstep=box.lockstep,
            axis_kinds=box.axis_kinds,
            metadata=box.metadata,
        )
        if not recorder.finish():
            raise BlackBoxError(f"the black box of {box.arm} does not fit {folder} ({recorder.stream.error}).")
        path = _final(folder, box)
        partial.rename(path)
    except (OSError, TelemetryError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BlackBoxError(f"the black box of {box.arm} cannot be written into {folder} ({reason}).") from error
    finally:
        with suppress(OSError):  # it was never made, or is in its place already
            partial.unlink()
    _prune(folder)
    return path


def list_boxes(folder: Path | None = None) -> list[Saved]:
    """Return the black boxes in a folder, the newest first."""
    folder = box_folder() if folder is None else folder
    found = []
    for path in folder.glob("*.mcap") if folder.is_dir() else ():
        arm, _, rest = path.stem.partition("-")
        stamp, _, name = rest.partition("-")
        try:
            moment = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            found.append((path.stat().st_mtime_ns, Saved(path, arm, moment.isoformat(), name, path.stat().st_size)))
        except (ValueError, OSError):
            continue  # another file, or one that was just removed
    return [saved for _, saved in sorted(found, key=lambda pair: pair[0], reverse=True)]


def open_box(file: Path | None) -> "Recording":
    """Return a black box, read.

    Args:
        file: Its path, or its name in the folder; None: the newest.

    Raises:
        BlackBoxError: There is none, or the file is a recording of another kind.
        RecordingError: It cannot be read.
    """
    from telemetry.recording import load

    boxes = list_boxes()
    if file is None:
        if not boxes:
            raise BlackBoxError(f"there is no black box in {box_folder()}: no fault was latched since it was emptied.")
        file = boxes[0].path
    elif not file.exists() and (box_folder() / file.name).exists():
        file = box_folder() / file.name
    recording = load(file)
    if "black_box" not in recording.metadata:
        raise BlackBoxError(f"{file} is a recording, but no black box: look at it with `trocar plot {file}`.")
    return recording


def _axes(run_dir: RunDir, descriptor: Descriptor | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the axes' names and kinds."""
    if descriptor is not None and descriptor.axes:
        return tuple(axis.name for axis in descriptor.axes), tuple(axis.type for axis in descriptor.axes)
    from kinematics.description import load_arm

    try:
        config = msgspec.json.decode(run_dir.config.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as error:
        raise BlackBoxError(
            f"{run_dir.path} says nothing of its arm ({error}): its samples cannot be understood."
        ) from error
    arm = load_arm(config.arm.description)
    return arm.axis_names, arm.axis_types


def _description(config: str, descriptor: Descriptor | None) -> str:
    if descriptor is not None:
        return descriptor.description
    try:
        return str(json.loads(config)["arm"]["description"])
    except (ValueError, KeyError, TypeError):
        return ""


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _ring_of(box: BlackBox, name: str) -> Ring:
    """Return some records as a ring of this process's own, which the recorder can read."""
    records = box.records[name]
    capacity = 2
    while capacity < len(records) + 1:
        capacity *= 2
    slots = np.zeros(capacity, records.dtype)
    slots[: len(records)] = records
    header = np.zeros(1, RING_HEADER)
    header["epoch"], header["wall_offset_ns"] = box.epoch, box.wall_offset_ns
    header["head"], header["cursors"] = len(records), FREE
    return Ring(Path(name), header, slots)


def _final(folder: Path, box: BlackBox) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    number, path = 1, folder / f"{box.arm}-{stamp}-{box.trigger.name}.mcap"
    while path.exists():
        number += 1
        path = folder / f"{box.arm}-{stamp}-{box.trigger.name}-{number}.mcap"
    return path


def _prune(folder: Path) -> None:
    for saved in list_boxes(folder)[KEPT:]:
        saved.path.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Write a snapshot of the daemon's; print the file's path, or on stderr why there is none."""
    snapshot = Path((sys.argv[1:] if arguments is None else arguments)[0])
    os.nice(10)  # the arm comes first
    try:
        print(write_black_box(BlackBox.take_up(snapshot)), flush=True)
    except (BlackBoxError, OSError, ValueError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    finally:
        snapshot.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
