"""The benchmark of wake-ups: what counts as late, and what it does without its peer."""

import json
import shutil
import stat

import numpy as np
import pytest

from benchmarks import latency
from benchmarks.rows import OURS, Settings
from telemetry.sample import SAMPLE

PERIOD = 1_000_000  # ns


def samples(deadlines, late):
    s = np.zeros(len(deadlines), SAMPLE)
    s["sequence"] = np.arange(1, len(s) + 1)
    s["deadline_ns"] = deadlines
    s["t_ns"] = np.array(deadlines) + np.array(late)
    return s


def test_lateness_is_counted_from_the_deadline_that_was_due_also_when_it_was_skipped():
    # The third cycle woke 2.3 ms late: two deadlines were skipped, and its own is given as the one just before it.
    s = samples(PERIOD * np.array([1, 2, 5, 6]), [10_000, 20_000, 300_000, 30_000])
    assert latency.lateness(s, PERIOD).tolist() == [20_000, 2_300_000, 30_000]


def test_samples_with_a_gap_in_their_numbers_are_not_taken_for_neighbours():
    s = samples(PERIOD * np.array([1, 2, 9]), [0, 0, 0])
    s["sequence"] = [1, 2, 9]
    assert len(latency.lateness(s, PERIOD)) == 1


def test_the_peers_histogram_is_taken_whole(tmp_path, monkeypatch):
    found = {"thread": {"0": {"histogram": {"9000": 2, "12000": 1}, "cycles": 5, "max": 2_500_000}}}
    (tmp_path / "found.json").write_text(json.dumps(found))
    program = tmp_path / "cyclictest"
    copy = f'cp {tmp_path}/found.json "${{a#--json=}}"'
    program.write_text(f'#!/bin/sh\nfor a; do case "$a" in --json=*) {copy};; esac; done\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert sorted(latency._cyclictest(0, 80, 0.001, 1.0)) == [9000, 9000, 12000, 2_500_000, 2_500_000]


def test_without_the_peer_ours_is_measured_and_said_so(monkeypatch, capsys):
    monkeypatch.setattr(latency, "_core", lambda seconds, cpu: np.array([10_000, 30_000]))
    monkeypatch.setattr(latency, "choose_cpu", lambda cpu: 1)
    monkeypatch.setattr(latency.os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (row,) = latency.rows(Settings(quick=True))
    assert (row.library, row.called_from, row.median_us) == (OURS, "cycle", pytest.approx(20.0))
    assert "without cyclictest: it is not installed" in capsys.readouterr().err
