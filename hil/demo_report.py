"""What a demo run has shown, computed from its recording: the samples of the controller and the truth of the plant."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from telemetry.recording import Recording, load, samples_digest

__all__ = ["Report", "make_report", "path_errors"]

Array = np.ndarray[Any, Any]


class Report(NamedTuple):
    """The figures of one run; lengths in mm, times in us."""

    cycles: int
    samples_recorded: int
    samples_sha256: str
    path_error_rms_mm: float
    path_error_max_mm: float
    path_errors: dict[str, tuple[float, float]]
    """rms and max of each named path."""
    tracking_error_rms_mm: float
    """The tip by the controller's own sensors and model, against the same set-point."""
    rcm_deviation_max_mm: float
    wakeup_us: dict[str, float]
    compute_us: dict[str, float]
    overruns: int
    first_cycle_ns: int


def path_errors(samples: Array, truth: Array, *, lockstep: bool, period_ns: int) -> Array:
    """Return the distance of the true tip from the timed set-point, for each sample, in m; shape (n,).

    A set-point is due at the start of the next cycle. In lock-step that is the end of the rig's tick of the same
    number; in real time the truth is interpolated at that moment.
    """
    goal = samples["setpoint_pose"][:, :3, 3]
    if lockstep:
        order = np.searchsorted(truth["tick"], samples["sequence"])
        matched = (order < len(truth)) & (truth["tick"][np.minimum(order, len(truth) - 1)] == samples["sequence"])
        tip = truth["tip_pose"][np.minimum(order, len(truth) - 1), :3, 3]
        return np.where(matched, np.linalg.norm(tip - goal, axis=1), np.nan)
    due = samples["t_ns"] + period_ns
    tip = np.stack([np.interp(due, truth["t_ns"], truth["tip_pose"][:, i, 3]) for i in range(3)], axis=1)
    return np.asarray(np.linalg.norm(tip - goal, axis=1))


def make_report(
    recording: Path | Recording, paths: dict[str, list[tuple[int, int]]], *, lockstep: bool, period_ns: int
) -> Report:
    """Return the figures of a recorded run.

    Args:
        recording: A recording, or its file.
        paths: Which cycles belong to which path: first and last sequence numbers.
        lockstep: Whether time was virtual.
        period_ns: The cycle's period.
    """
    data = recording if isinstance(recording, Recording) else load(recording)
    samples, truth = data.samples, data.truth
    if truth is None:
        raise ValueError("the recording holds no truth: record it from an emulated arm")
    errors = path_errors(samples, truth, lockstep=lockstep, period_ns=period_ns)
    tracking = np.linalg.norm(
        samples["measured_pose"][1:, :3, 3] - samples["setpoint_pose"][:-1, :3, 3], axis=1, keepdims=False
    )
    named: dict[str, tuple[float, float]] = {}
    chosen = np.zeros(len(samples), bool)
    for name, spans in paths.items():
        part = np.zeros(len(samples), bool)
        for first, last in spans:
            part |= (samples["sequence"] >= first) & (samples["sequence"] <= last)
        named[name] = (_rms(errors[part]), float(np.nanmax(errors[part])) * 1e3)
        chosen |= part
    homed_from = int(np.argmax(samples["is_homed"] > 0))
    homed = truth["t_ns"] >= samples["t_ns"][homed_from]
    return Report(
        cycles=int(samples["sequence"][-1]),
        samples_recorded=len(samples),
        samples_sha256=samples_digest(samples),
        path_error_rms_mm=_rms(errors[chosen]),
        path_error_max_mm=float(np.nanmax(errors[chosen])) * 1e3,
        path_errors=named,
        tracking_error_rms_mm=_rms(tracking[chosen[:-1]]),
        rcm_deviation_max_mm=float(truth["rcm_deviation"][homed].max()) * 1e3,
        wakeup_us=_percentiles(samples["wakeup_ns"]),
        compute_us=_percentiles(samples["compute_ns"]),
        overruns=int(samples["overruns"][-1]),
        first_cycle_ns=int(samples["t_ns"][0]),
    )


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.nanmean(errors**2))) * 1e3


def _percentiles(nanoseconds: Array) -> dict[str, float]:
    names = {"p50": 50.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
    return {name: round(float(np.percentile(nanoseconds, q)) / 1e3, 2) for name, q in names.items()}
