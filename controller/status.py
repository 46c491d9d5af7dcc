"""What `trocar status` tells: gathered from the newest sample and from what the other processes have left."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from controller.commands import Holder, Status, explain
from controller.config import Config
from controller.exchange import CoreLink
from controller.figures import figures_of
from controller.laws.report import read_law
from controller.run_dir import RunDir
from kinematics.description import ArmDescription
from telemetry.sample import SAMPLE

__all__ = ["make_status"]


def make_status(
    run_dir: RunDir,
    config: Config,
    arm: ArmDescription,
    link: CoreLink,
    *,
    epoch: int,
    lease: Holder | None,
    counters: dict[str, int],
) -> Status:
    """Return the daemon's state, for people; before the first sample its numbers are zero."""
    newest = link.newest
    sample = np.zeros(1, SAMPLE)[0] if newest is None else newest[0]
    lockstep = link.lockstep is not None
    t_ns, fault = int(sample["t_ns"]), int(sample["fault"])
    return Status(
        arm=config.arm.name,
        epoch=epoch,
        lockstep=lockstep,
        period=config.cycle.period,
        sequence=link.sequence,
        t_ns=t_ns,
        age=0.0 if lockstep or newest is None else (time.monotonic_ns() - t_ns) * 1e-9,
        state=int(sample["state"]),
        is_homed=bool(sample["is_homed"]),
        is_busy=bool(sample["is_busy"]),
        mode=int(sample["mode"]),
        motion_id=int(sample["motion_id"]),
        device_status=int(sample["device_status"]),
        fault=explain(fault, figures_of(sample, fault, arm.axis_names, arm.axis_types)) if fault else None,
        lease=lease,
        settings={
            "watchdog": config.driver.watchdog,
            "feedback_timeout": config.cycle.feedback_timeout,
            "stream_timeout": config.stream.timeout,
            "stream_dead": config.stream.dead,
        },
        core=_read_json(run_dir.core),
        recorder=_read_json(run_dir.recorder),
        overruns=int(sample["overruns"]),
        frames_lost=int(sample["frames_lost"]),
        frames_bad=int(sample["frames_bad"]),
        counters=counters,
        law=read_law(run_dir),
        black_box=_read_json(run_dir.black_box),
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return what another process says of itself, or None where it has said nothing whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
