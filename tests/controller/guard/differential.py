"""Compiled and plain Python on the same random inputs: `python -m tests.controller.guard.differential 1000000`.

One input is one call of one kernel; memories go on from call to call, as in the cycle.
"""

import sys
import time
from types import SimpleNamespace

import numpy as np

from controller.guard.records import JOINT_COMMAND
from drivers.driver import FEEDBACK
from telemetry.sample import MAX_AXES
from tests.controller.guard.cases import COMPILED, PLAIN, N, add_volume, new_guard

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300, 1e-310, 1.0, -1.0, 0.0011])
EPISODE = 250  # calls of all kernels before the memories begin anew


class DifferenceError(AssertionError):
    """Compiled and plain Python do not agree; the message says where."""


def _numbers(rng, count, scale):
    """Random numbers of one size; now and then one that is special or of any size."""
    values = rng.normal(0.0, scale, count)
    if rng.random() < 0.15:
        values[rng.integers(count)] = rng.choice(SPECIAL)
    if rng.random() < 0.05:
        values[rng.integers(count)] = rng.normal() * 10.0 ** rng.uniform(-12, 300)
    return values


def _as_object(record):
    """Return a record as an object with the same fields: plain Python reads those ten times as fast."""
    row = record[0]
    return [SimpleNamespace(**{name: row[name].copy() for name in record.dtype.names})]


def _different(record, plain):
    """Return the fields in which a record and an object differ by a bit; any NaN is as good as another."""
    row = record[0]
    found = []
    for name in record.dtype.names:
        x, y = np.asarray(row[name]), np.asarray(getattr(plain[0], name), record.dtype[name].base)
        if x.tobytes() != y.tobytes():
            nans = np.isnan(x) & np.isnan(y)
            if (np.where(nans, 0, x).tobytes()) != (np.where(nans, 0, y).tobytes()):
                found.append(name)
    return found


def _coupled_guard(rng):
    guard = new_guard(following_error=0.5, sensor_difference=rng.choice([0.005, np.inf]), feedback_timeout=0.006)
    g = guard[0]
    g.joint_from_actuator[3:N, 3:N] = rng.normal(0, 1, (N - 3, N - 3))
    g.coupled[3:N] = 3
    for _ in range(rng.integers(5)):
        half_size = rng.uniform(0.01, 0.3, 3)
        center, direction = rng.normal(0, 0.1, 3), rng.normal(size=3)
        add_volume(guard, rng.integers(4), keep=rng.choice([-1.0, 1.0]), center=center, direction=direction,
                   radius=rng.uniform(0.01, 0.3), half_size=half_size)  # fmt: skip
    return guard


class _Episode:
    """One guard, held twice."""

    def __init__(self, rng):
        self.rng = rng
        self.guard = _coupled_guard(rng).view(np.ndarray)
        self.twin = _as_object(self.guard)
        self.q, self.tip = np.zeros(MAX_AXES), rng.normal(0, 0.1, 3)
        self.t_ns, self.echo, self.bad = 0, 0, 0
        self.calls = 0

    def ask(self, name, *arguments, record=None):
        """Call a kernel of each; a record is changed in place and compared as well."""
        own, other = ([], []) if record is None else ([record], [_as_object(record)])
        compiled = getattr(COMPILED, name)(self.guard, *own, *arguments)
        plain = getattr(PLAIN, name)(self.twin, *other, *arguments)
        self.calls += 1
        if compiled != plain:
            raise DifferenceError(f"{name}{arguments} on {own}: compiled {compiled}, plain {plain}")
        if record is not None and (fields := _different(record, other[0])):
            raise DifferenceError(f"{name}{arguments} on {own}: different {fields}")

    def compare(self):
        """Compare the memories."""
        if fields := _different(self.guard, self.twin):
            raise DifferenceError(f"GUARD differs in {fields}: {self.guard}, {self.twin}")

    def cycle(self):
        """One cycle of random calls."""
        rng = self.rng
        age = int(rng.choice([0, 1, 2, 3, 7], p=[0.9, 0.05, 0.02, 0.02, 0.01]))
        self.bad += int(rng.random() < 0.02)
        self.ask("check_cycle", int(rng.choice([0, 1, 5], p=[0.97, 0.02, 0.01])))
        self.ask("check_link", age, self.bad, int(rng.choice([0, 3], p=[0.97, 0.03])))
        self.ask("check_refusal", int(rng.integers(2)), int(rng.choice([0, 7])))

        self.t_ns += int(rng.choice([1_000_000, 2_000_000, 0, -5_000_000], p=[0.9, 0.08, 0.01, 0.01]))
        self.echo += int(rng.choice([1, 2, 0], p=[0.9, 0.05, 0.05]))
        feedback = np.zeros(1, FEEDBACK)
        f = feedback[0]
        f["position"][:N], f["velocity"][:N] = self.q[:N] + _numbers(rng, N, 0.0005), _numbers(rng, N, 0.5)
        f["status"] = rng.choice([11, 3], p=[0.99, 0.01])
        f["effort"][:N] = _numbers(rng, N, 3.0) if rng.random() < 0.3 else 3.95
        f["absolute"][:N] = f["position"][:N] + _numbers(rng, N, 0.003)
        f["temperature"][:N] = 40.0 + 20.0 * _numbers(rng, N, 1.0)
        f["t_device_ns"], f["echo"] = self.t_ns, max(self.echo, 0)
        self.guard[0]["referencing"] = self.twin[0].referencing = int(rng.random() < 0.02)
        self.ask("check_encoders", record=feedback)
        position, velocity = np.asarray(f["position"]).copy(), np.asarray(f["velocity"]).copy()
        self.ask("check_speed", position, velocity)
        self.ask("check_sensors", int(rng.random() < 0.95), record=feedback)
        self.ask("check_motors", int(rng.random() < 0.95), record=feedback)
        self.ask("check_residual", self.q + _numbers(rng, MAX_AXES, 1e-4), position, int(rng.random() < 0.98))

        tip = self.tip + _numbers(rng, 3, 0.0005)
        if np.abs(tip).max() < 1.0:
            self.tip = tip
        self.ask("wall_distance", tip)
        self.ask("check_tip", tip, tip + _numbers(rng, 3, 0.0003))
        self.ask("check_remote_center", float(_numbers(rng, 1, 0.001)[0]))
        command = np.zeros(1, JOINT_COMMAND)
        c = command[0]
        c["effort"][:N], c["kp"][:N] = _numbers(rng, N, 2.0), np.abs(_numbers(rng, N, 300.0))
        c["position"][:N] = self.q[:N] + _numbers(rng, N, 0.0005)
        c["velocity"][:N] = _numbers(rng, N, 0.7)
        c["kd"][:N] = np.abs(_numbers(rng, N, 3.0))
        self.ask("check_command", self.q + _numbers(rng, MAX_AXES, 0.05), int(rng.integers(2)), record=command)
        self.q = np.array(c["position"])
        if rng.random() < 0.01:
            self.ask("arm_guard", self.q)
            self.ask("keep_tip", self.tip)


def compare(inputs, seed=0):
    """Ask both for so many inputs.

    Returns:
        How many were asked.

    Raises:
        DifferenceError: They do not agree.
    """
    rng = np.random.default_rng(seed)
    asked = 0
    with np.errstate(all="ignore"):
        while asked < inputs:
            episode = _Episode(rng)
            for _ in range(EPISODE):
                episode.cycle()
                episode.compare()
            asked += episode.calls
    return asked


if __name__ == "__main__":
    begun = time.perf_counter()
    total = compare(int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000)
    print(f"{total} inputs: compiled and plain Python agree ({time.perf_counter() - begun:.0f} s)")
