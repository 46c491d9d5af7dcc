import builtins
import struct

import numpy as np
import pytest

from telemetry.errors import MissingExtraError, TelemetryError
from telemetry.plot import _across, _thinned, _tip_error_mm, plot_recording
from telemetry.recording import Recording


@pytest.fixture
def recording(tmp_path, axes, samples_of, truth_of):
    def make(count=600, lockstep=False, truth=True):
        samples = samples_of(count)
        samples["state"][: count // 5] = 0
        samples["state"][4 * count // 5 :] = 3
        samples["fault"][4 * count // 5 :] = 104
        records = {"sample": samples} | ({"truth": truth_of(count)} if truth else {})
        metadata = {"arm": "PSM1", "axes": ",".join(axes), "lockstep": str(lockstep).lower()}
        return Recording(path=tmp_path / "run.mcap", records=records, metadata=metadata, complete=True)

    return make


def size_of(png):
    data = png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


@pytest.mark.parametrize(("lockstep", "truth"), [(False, False), (True, True)])
def test_picture_is_drawn(recording, tmp_path, lockstep, truth):
    made = plot_recording(
        recording(lockstep=lockstep, truth=truth), tmp_path / "run.png", code_names={104: "DEVICE_OVERSPEED"}
    )
    assert made == tmp_path / "run.png"
    assert size_of(made) == (1820, 1204)


def test_shortest_recording_is_drawn(recording, tmp_path):
    assert size_of(plot_recording(recording(1), tmp_path / "run.png")) == (1820, 1204)


def test_arm_that_was_never_enabled_is_drawn(recording, tmp_path):
    idle = recording(2)
    idle.samples["state"] = 0
    assert size_of(plot_recording(idle, tmp_path / "run.png")) == (1820, 1204)


def test_missing_matplotlib_says_what_to_install(recording, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_matplotlib(name, *arguments):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(MissingExtraError, match=r"pip install 'trocar\[plot\]'") as caught:
        plot_recording(recording(), tmp_path / "run.png")
    assert isinstance(caught.value, TelemetryError)


def test_tip_error_compares_with_the_setpoint_that_was_due():
    setpoint = np.arange(12.0).reshape(4, 3) * 1e-3
    tip = np.roll(setpoint, 1, axis=0)
    tip[3] += [0.0, 3e-3, 4e-3]
    active = np.array([True, True, True, True])
    np.testing.assert_allclose(_tip_error_mm(setpoint, tip, active), [np.nan, 0.0, 0.0, 5.0], atol=1e-12)
    active[1] = False
    np.testing.assert_allclose(_tip_error_mm(setpoint, tip, active), [np.nan, np.nan, np.nan, 5.0], atol=1e-12)


def test_deviation_across_the_path_leaves_out_lateness():
    setpoint = np.zeros((100, 3))
    setpoint[:, 0] = np.arange(100.0)
    late = np.roll(setpoint, 4, axis=0)
    late[:4] = setpoint[0]
    late[:, 1] += 0.25
    across = _across(setpoint, late)[:-1]
    np.testing.assert_allclose(across, np.tile([0.0, 0.25, 0.0], (99, 1)), atol=1e-12)


def test_thinning_keeps_every_peak():
    t = np.arange(100_000) * 1e-3
    y = np.zeros(100_000)
    y[[12_345, 77_777]] = 5.0, -3.0
    thin_t, thin_y = _thinned(t, y)
    assert len(thin_t) <= 4000
    assert np.all(np.diff(thin_t) >= 0.0)
    assert thin_y.max() == 5.0
    assert thin_y.min() == -3.0
    assert thin_t[thin_y.argmax()] == t[12_345]
