"""Identification against motions whose truth is known, made by the arm's own equations."""

import numpy as np
import pytest

from kinematics.consistent import pseudo_inertia
from kinematics.description import load_arm
from kinematics.fitted_file import fitted_arm_toml
from kinematics.identify import IdentifyError, Segment, as_json, identify
from kinematics.regressor import base_parameters, inertial_parameters, regressor, set_inertial_parameters
from kinematics.signals import condition, split

PERIOD = 0.002
NOISE = 0.002  # of effort_max


def other_body(description, seed=3):
    """The arm with other masses, centres and friction, by up to 30 %; its links can exist."""
    rng = np.random.default_rng(seed)
    arm, n, n_axes = description.record, description.n_joints, description.n_axes
    factor = rng.uniform(0.8, 1.3, n)
    arm[0]["mass"][:n] *= factor
    arm[0]["inertia"][:n] *= factor[:, None, None]
    arm[0]["com"][:n] *= rng.uniform(0.8, 1.2, (n, 3))
    for name in ("coulomb", "viscous"):
        arm[0][name][:n_axes] *= rng.uniform(0.7, 1.4, n_axes)
    return arm


def motion(arm, seconds=30.0, *, still=(), slow=1.0, seed=4):
    """Sums of three sines per axis within the limits: positions, velocities, accelerations, (k, 8)."""
    rng = np.random.default_rng(seed)
    a, t = arm[0], np.arange(0.0, seconds, PERIOD)
    q, qd, qdd = (np.zeros((len(t), 8)) for _ in range(3))
    middle, half = (a["position_max"] + a["position_min"]) / 2, (a["position_max"] - a["position_min"]) / 2
    for i in range(int(a["n_axes"])):
        q[:, i] = middle[i]
        if i in still:
            continue
        for frequency in rng.uniform(0.1, 0.6, 3) * slow:
            w, phase = 2 * np.pi * frequency, rng.uniform(0, 2 * np.pi)
            size = 0.25 * half[i]
            q[:, i] += size * np.sin(w * t + phase)
            qd[:, i] += size * w * np.cos(w * t + phase)
            qdd[:, i] -= size * w * w * np.sin(w * t + phase)
    return q, qd, qdd


def record(arm, q, qd, qdd, *, noise=NOISE, seed=5):
    """What a driver would measure: the arm's equations, friction that turns at once, white noise."""
    n = int(arm[0]["n_axes"])
    effort = np.zeros_like(q)
    effort[:, :n] = regressor(arm, q, qd, qdd) @ inertial_parameters(arm)
    if arm[0]["friction_at_actuators"]:
        A = arm[0]["actuator_from_joint"]
        v = qd @ A.T
        effort += (arm[0]["coulomb"] * np.sign(v) + arm[0]["viscous"] * v) @ A
    else:
        effort += arm[0]["coulomb"] * np.sign(qd) + arm[0]["viscous"] * qd
    effort += noise * arm[0]["effort_max"] * np.random.default_rng(seed).normal(size=q.shape)
    return Segment(q, effort)


def test_truth_is_found_and_the_held_out_error_is_the_noise(standard_description):
    true = other_body(standard_description)
    fit = identify(standard_description, [record(true, *motion(true))], PERIOD)
    base = base_parameters(true, standard_description.axis_names, standard_description.actuator_names)
    a, n = true[0], 3
    expected = np.concatenate(
        [base.matrix @ inertial_parameters(true), a["coulomb"][:n], a["viscous"][:n], np.zeros(n)]
    )
    assert not fit.static
    assert fit.warnings == []
    for estimate, value in zip(fit.estimates, expected, strict=True):
        assert abs(estimate.fitted - value) < max(4.0 * estimate.half_width, 1e-3 * abs(value)), estimate
    for error in fit.errors:
        # White noise at 500 Hz seen through 10 Hz: a fifth of it is left.
        assert error.after < 0.25 * NOISE * 100.0
    assert fit.errors[0].after < 0.1 * fit.errors[0].before


def test_confidence_interval_covers_the_truth_as_often_as_it_says(standard_description):
    """19 of 20 in theory; over 12 runs of 30 parameters the fraction found has a spread of about 0.02."""
    true = other_body(standard_description)
    base = base_parameters(true, standard_description.axis_names, standard_description.actuator_names)
    n = 3
    expected = base.matrix @ inertial_parameters(true)
    expected = np.concatenate([expected, true[0]["coulomb"][:n], true[0]["viscous"][:n], np.zeros(n)])
    states = motion(true, 20.0)
    inside = []
    for seed in range(12):
        fit = identify(standard_description, [record(true, *states, noise=0.005, seed=seed)], PERIOD)
        inside += [abs(e.unconstrained - x) <= e.half_width for e, x in zip(fit.estimates, expected, strict=True)]
    assert 0.85 < np.mean(inside) <= 1.0


def test_fitted_links_can_exist(psm_description):
    true = other_body(psm_description)
    fit = identify(psm_description, [record(true, *motion(true), noise=0.05)], PERIOD)  # much noise, light wrist
    p = inertial_parameters(fit.arm)
    for link in p[:60].reshape(-1, 10):
        J = pseudo_inertia(link)
        size = np.sqrt(np.diag(J))
        assert np.linalg.eigvalsh(J / np.outer(size, size)).min() > -1e-9
    assert (p[60:] >= 0.0).all()
    assert (fit.arm[0]["coulomb"] >= 0.0).all()
    assert (fit.arm[0]["viscous"] >= 0.0).all()


@pytest.mark.parametrize("at_actuators", [False, True])
def test_place_of_the_friction_is_found(psm_description, at_actuators):
    true = other_body(psm_description)
    true[0]["friction_at_actuators"] = at_actuators
    true[0]["coulomb"][3:7], true[0]["viscous"][3:7] = 0.01, 0.01
    fit = identify(psm_description, [record(true, *motion(true))], PERIOD)
    assert fit.at_actuators == at_actuators
    np.testing.assert_allclose(fit.arm[0]["coulomb"][3:7], 0.01, rtol=0.05)


def test_slow_motion_fits_gravity_and_friction_only_and_says_so(standard_description):
    true = other_body(standard_description)
    segment = record(true, *motion(true, 60.0, slow=0.15))
    fit = identify(standard_description, [segment], PERIOD)
    assert fit.static
    assert any("accelerations are too small" in warning for warning in fit.warnings)
    assert not any(e.name.split(".")[1].startswith("I") for e in fit.estimates)
    for error in fit.errors:
        assert error.after < 0.25 * NOISE * 100.0


def test_an_axis_that_stands_still_keeps_the_files_friction_and_is_named(standard_description):
    true = other_body(standard_description)
    fit = identify(standard_description, [record(true, *motion(true, still=(2,)))], PERIOD)
    assert fit.held in (["wrist"], ["three"])  # the joint or its actuator
    old, C = standard_description.record[0], standard_description.record[0]["joint_from_actuator"]
    expected = old["coulomb"][2] * (abs(C[2, 2]) if fit.at_actuators else 1.0)
    assert fit.arm[0]["coulomb"][2] == pytest.approx(expected)
    assert any(fit.held[0] in warning and "hardly moved" in warning for warning in fit.warnings)
    assert [e.axis for e in fit.errors if not e.moments] == ["wrist"]
    assert as_json(fit)["held_out"][2]["after"] is None


def test_a_motion_about_one_pose_does_not_excite_everything(psm_description):
    true = other_body(psm_description)
    q, qd, qdd = motion(true)
    middle = q.mean(axis=0)
    fit = identify(psm_description, [record(true, middle + 0.05 * (q - middle), 0.05 * qd, 0.05 * qdd)], PERIOD)
    assert not all(e.excited for e in fit.estimates)
    assert any("does not excite" in warning for warning in fit.warnings)


def test_outliers_weigh_less_with_a_robust_loss(standard_description):
    true = other_body(standard_description)
    segment = record(true, *motion(true))
    effort = segment.effort.copy()
    for begin in range(1000, len(effort) - 500, 4000):
        effort[begin : begin + 400, 0] += 20.0  # somebody leans on the arm, 0.8 s in every 8
    touched = Segment(segment.position, effort)
    base = base_parameters(true, standard_description.axis_names, standard_description.actuator_names)
    expected = base.matrix @ inertial_parameters(true)

    def error(loss):
        fit = identify(standard_description, [touched], PERIOD, loss=loss)
        found = np.array([e.unconstrained for e in fit.estimates[: len(expected)]])
        return np.linalg.norm((found - expected) / np.maximum(np.abs(expected), 0.01))

    assert error("soft_l1") < 0.6 * error("linear")


def test_an_arm_without_any_dynamics_but_gravity_is_found_too(standard_description, tmp_path):
    """No masses, no friction in its file: what the motion shows is all that there is."""
    true = other_body(standard_description)
    empty = standard_description.record
    for name in ("mass", "com", "inertia", "coulomb", "viscous"):
        empty[0][name] = 0.0
    path = tmp_path / "empty.toml"
    path.write_text(fitted_arm_toml(standard_description, empty, "nothing is known"))
    fit = identify(load_arm(path), [record(true, *motion(true))], PERIOD)
    np.testing.assert_allclose(fit.arm[0]["coulomb"][:3], true[0]["coulomb"][:3], rtol=0.05)
    for error in fit.errors:
        assert error.after < 0.3 * NOISE * 100.0


def test_an_arm_without_gravity_is_refused(standard_description, tmp_path):
    arm = standard_description.record
    text = fitted_arm_toml(standard_description, arm, "weightless").replace("[1.0, -2.0, -9.0]", "[0.0, 0.0, 0.0]")
    path = tmp_path / "weightless.toml"
    path.write_text(text)
    with pytest.raises(IdentifyError, match=r"has no gravity.*give dynamics\.gravity"):
        identify(load_arm(path), [record(arm, *motion(arm))], PERIOD)


def test_held_out_blocks_are_whole_and_apart_from_what_is_fitted(standard_description):
    arm = standard_description.record
    signals = condition(arm, [record(arm, *motion(arm, 20.0)), record(arm, *motion(arm, 11.0))], PERIOD)
    fitted, held = split(signals)
    assert not (fitted & held).any()
    assert 0.15 < held.mean() < 0.35
    for block in np.unique(signals.block):
        assert held[signals.block == block].all() or not held[signals.block == block].any()
    assert np.flatnonzero(held).size
    distance = np.abs(np.flatnonzero(fitted)[:, None] - np.flatnonzero(held)[None, :]).min()
    assert distance > 9  # 0.2 s: twice the filter's memory


def test_filtered_velocities_and_accelerations_are_the_motions_own(standard_description):
    arm = standard_description.record
    q, qd, qdd = motion(arm, 20.0)
    signals = condition(arm, [Segment(q, np.ones_like(q))], PERIOD)
    step = round(1.0 / (5.0 * 10.0 * PERIOD))
    edge = round(0.2 / PERIOD)
    kept = slice(edge, len(q) - edge, step)
    for found, true in ((signals.q, q), (signals.qd, qd), (signals.qdd, qdd)):
        error = np.abs(found - true[kept]) / np.abs(true).max()
        assert error.max() < 0.02
        assert error[50:-50].max() < 0.002  # a second from the ends


def test_recordings_that_do_not_serve_are_refused_with_the_reason(standard_description):
    arm = standard_description.record
    q, qd, qdd = motion(arm, 20.0)
    good = record(arm, q, qd, qdd)
    still = np.broadcast_to(q[0], q.shape)
    broken = good.effort.copy()
    broken[500] = np.nan
    cases = {
        "at least 8 s are needed": [Segment(q[:2000], good.effort[:2000])],
        "0.0 s of an arm": [],
        "no axis of the recording ever moves": [Segment(still, good.effort)],
        "every measured effort of the recording is zero": [Segment(q, np.zeros_like(q))],
        "not finite": [Segment(q, broken)],
    }
    for message, segments in cases.items():
        with pytest.raises(IdentifyError, match=message):
            identify(standard_description, segments, PERIOD)
    with pytest.raises(IdentifyError, match=r"the cutoff is 200 Hz: allowed is above 0 and below 100 Hz"):
        identify(standard_description, [good], PERIOD, cutoff=200.0)


def test_written_file_reads_back_as_the_record(description, tmp_path):
    """Also where the file's link frames are not the joints': standard rows."""
    arm = other_body(description)
    n = description.n_joints
    p = inertial_parameters(arm)
    p[10 * n :] = np.linspace(0.01, 0.02, description.n_axes)
    set_inertial_parameters(arm, p)
    arm[0]["friction_at_actuators"] = 1
    path = tmp_path / "fitted.toml"
    path.write_text(fitted_arm_toml(description, arm, 'from "a" test \\ µ'))
    read = load_arm(path)
    for name in arm.dtype.names:
        assert np.abs(read.record[0][name] - arm[0][name]).max() < 1e-10, name
    assert read.file.dynamics.source == 'from "a" test \\ µ'
    for name in ("axes", "tip", "actuators", "family", "convention"):
        assert getattr(read.file, name) == getattr(description.file, name)
    assert read.title == description.title
