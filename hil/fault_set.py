"""One record of faults and the sets that are written into it, whole and in time; `hil/faults.py` says what they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hil.fault_record import COUNTS, FAULTS, FIELDS, INJECTED, MAX_AXES, Fault, FaultError, set_fault_bits
from telemetry.shared import SharedMemoryError, map_records

__all__ = ["FaultSets"]


class FaultSets:
    """The sets of faults of the emulated arm of a run directory, or of a record given.

    Every method takes `at`: the rig's time in seconds from which the new set is in force (see `time`); without it,
    from its next substep on. One set waits at a time: a later call replaces what had not begun yet, together with it.
    `with faults.together(at=...)` makes one set of several.

    Args:
        where: The run directory of a daemon with an emulated arm, or a FAULTS array of one record.

    Raises:
        FaultError: No emulated arm runs there.
    """

    def __init__(self, where: Path | str | np.ndarray[Any, Any]) -> None:
        self._draft: np.ndarray[Any, Any] | None = None
        if isinstance(where, np.ndarray):
            self._record = where
            return
        path = Path(where) / "faults"
        try:
            self._record = map_records(path, FAULTS)
        except SharedMemoryError as error:
            raise FaultError(
                f"no faults can be injected: there is no {path}; start a daemon whose configuration has a [rig]"
            ) from error

    @property
    def time(self) -> float:
        """The rig's time, s: how long it has simulated."""
        return float(self._record["time_us"][0]) * 1e-6

    @property
    def applied(self) -> float | None:
        """The rig's time at which it took the newest set, s; None while it has not, or nothing was asked for."""
        record = self._record[0]
        if int(record["version"]) == 0 or int(record["applied_version"]) != int(record["version"]):
            return None
        return float(record["applied_us"]) * 1e-6

    @property
    def active(self) -> Fault:
        """The faults of the newest set; of those that strike once, also what has struck, until it is cleared."""
        return Fault(int(self._record["bits"][0]))

    @property
    def supported(self) -> Fault:
        """The faults that this rig can inject."""
        return Fault(int(self._record["supported"][0]))

    def counts(self) -> dict[str, int]:
        """Return how often each fault that strikes by chance, or frame by frame, has struck so far."""
        return {name: int(self._record[name][0]) for name in COUNTS}

    @contextmanager
    def together(self, at: float | None = None) -> Iterator[None]:
        """Let all that is injected or ended in the block be one set, in force from one substep on, or not at all.

        Raises:
            FaultError: One of them cannot be injected, and then none is; or it has an `at` of its own.
        """
        if self._draft is not None:
            raise FaultError("faults.together() was asked for within another: put both blocks into one")
        begin_us = self._begin_us(at)
        self._draft = self._record.copy()
        try:
            yield
            values = {name: self._draft[name][0] for name in INJECTED}
        finally:
            self._draft = None
        self._write(values, begin_us)

    def clear(self, at: float | None = None) -> None:
        """Take every fault away."""
        self._change(Fault(0), {name: np.zeros_like(self._record[name][0]) for name in INJECTED}, at)

    def end(self, fault: Fault, at: float | None = None) -> None:
        """Take these faults away, on every axis, and leave the others."""
        names = [name for each in fault for name in FIELDS[each]]
        self._change(fault, {name: np.zeros_like(self._record[name][0]) for name in names}, at)

    def _change(self, fault: Fault, values: dict[str, Any], at: float | None) -> None:
        missing = fault & ~self.supported
        if missing:
            hint = "; in real time stop the process itself: kill -STOP" if missing & Fault.HOST_STALLED else ""
            raise FaultError(f"this rig cannot inject {missing.name}{hint}: it can {self.supported!r}")
        if self._draft is None:
            self._write(values, self._begin_us(at))
            return
        if at is not None:
            raise FaultError(f"a fault was asked for at {at} s within together(): give `at` to together() itself")
        for name, value in values.items():
            self._draft[name][0] = value

    def _begin_us(self, at: float | None) -> int:
        if at is not None and not (np.isfinite(at) and at >= 0.0):
            raise FaultError(
                f"a fault was asked for at {at} s: give the rig's time, 0 or later (it is {self.time:.6f} s)"
            )
        return 0 if at is None else round(at * 1e6)

    def _write(self, values: dict[str, Any], begin_us: int) -> None:
        record = self._record[0]
        version = int(record["version"])
        record["version"] = version + 1  # odd: the rig leaves the values alone
        for name, value in values.items():
            record[name] = value
        record["begin_us"] = begin_us
        set_fault_bits(record)
        record["version"] = version + 2

    def _event(self) -> int:
        """Return the number of what strikes once: the version that the set will have."""
        return int(self._record["version"][0]) + 2

    def _newest(self, name: str) -> Any:  # noqa: ANN401
        return (self._record if self._draft is None else self._draft)[name][0]

    def _axis(self, axis: int) -> int:
        n_axes = int(self._record["n_axes"][0])
        if not 0 <= axis < n_axes:
            raise FaultError(f"a fault on axis {axis} was asked for: this arm has the axes 0 to {n_axes - 1}")
        return axis

    def _braked(self, axis: int) -> int:
        braked = [j for j in range(MAX_AXES) if int(self._record["braked"][0]) >> j & 1]
        if self._axis(axis) not in braked:
            raise FaultError(f"a fault of the brake on axis {axis} was asked for: this arm has brakes on {braked}")
        return axis

    def _set(self, fault: Fault, axis: int, on: bool, at: float | None) -> None:
        (name,) = FIELDS[fault]
        self._change(fault, {name: self._mask(name, axis, on)}, at)

    def _mask(self, name: str, axis: int, on: bool) -> int:
        bit = 1 << self._axis(axis)
        mask = int(self._newest(name))
        return mask | bit if on else mask & ~bit

    def _entry(self, name: str, axis: int, value: float) -> np.ndarray[Any, Any]:
        entries: np.ndarray[Any, Any] = self._newest(name).copy()
        entries[self._axis(axis)] = value
        return entries
