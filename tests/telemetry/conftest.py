"""Synthetic samples and rings for the telemetry's tests."""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from telemetry.ring import create_ring
from telemetry.sample import SAMPLE
from telemetry.wire import Axis, Meta

AXES = ("yaw", "pitch", "insertion", "roll", "wrist_pitch", "wrist_yaw", "jaw")
TRUTH = np.dtype([("tick", "u8"), ("t_ns", "i8"), ("power", "u1"), ("tip_pose", "f8", (4, 4))], align=True)
PERIOD_NS = 1_000_000


def make_samples(count, first=1, seed=1):
    """Return samples whose every vector and pose differs, numbered from `first`."""
    random = np.random.default_rng(seed + first)
    samples = np.zeros(count, SAMPLE)
    samples["sequence"] = np.arange(first, first + count)
    samples["t_ns"] = samples["sequence"].astype("i8") * PERIOD_NS
    samples["state"] = 1
    samples["is_homed"] = 1
    for name in SAMPLE.names:
        if SAMPLE[name].shape == (8,):
            samples[name] = random.normal(size=(count, 8))
        elif SAMPLE[name].shape == (4, 4):
            rotation, _ = np.linalg.qr(random.normal(size=(count, 3, 3)))
            rotation *= np.linalg.det(rotation)[:, None, None]  # +1 or -1: all of them proper rotations
            samples[name][:, :3, :3] = rotation
            samples[name][:, :3, 3] = random.normal(size=(count, 3))
            samples[name][:, 3, 3] = 1.0
    for name in ("wakeup_ns", "compute_ns", "io_ns"):
        samples[name] = random.integers(1000, 90_000, count)
    return samples


def make_truth(count, first=1):
    """Return truth records at the samples' times."""
    truth = np.zeros(count, TRUTH)
    truth["tick"] = np.arange(first, first + count)
    truth["t_ns"] = truth["tick"].astype("i8") * PERIOD_NS
    truth["tip_pose"] = np.random.default_rng(first).normal(size=(count, 4, 4))
    return truth


def push_records(ring, records):
    """Write records into a ring, as its writer does."""
    for record in records:
        head = ring.head
        ring.slots[head & (ring.capacity - 1)] = record
        ring.header["head"] = head + 1


def wait_until(condition, seconds=30.0):
    """Wait for another process; fails instead of hanging."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the other side did not get there"
        os.sched_yield()


@pytest.fixture
def samples_of():
    return make_samples


@pytest.fixture
def truth_of():
    return make_truth


@pytest.fixture
def push():
    return push_records


@pytest.fixture
def wait():
    return wait_until


@pytest.fixture
def axes():
    return AXES


@pytest.fixture
def meta():
    kinds = {"insertion": "prismatic"}
    return Meta(
        arm="PSM1",
        axes=tuple(Axis(name=name, kind=kinds.get(name, "revolute")) for name in AXES),
        period=PERIOD_NS * 1e-9,
        epoch=77,
        wall_offset_ns=1_700_000_000 * 10**9,
        arm_file_hash="abc",
    )


@pytest.fixture
def run_dir():
    """A short path: a Unix socket's may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="tel") as folder:
        yield Path(folder)


@pytest.fixture
def make_rings(tmp_path):
    def make(capacity=4096, wall_offset_ns=0, name="rings"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return {
            "sample": create_ring(folder / "samples", SAMPLE, capacity, epoch=5, wall_offset_ns=wall_offset_ns),
            "truth": create_ring(folder / "truth", TRUTH, capacity, epoch=5, wall_offset_ns=wall_offset_ns),
        }

    return make
