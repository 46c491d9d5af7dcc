"""The guard's limits are those of the configuration and of the arm's file."""

import msgspec
import numpy as np
import pytest

from controller.config import VolumeConfig, load_config
from controller.guard.records import GUARD, MAX_VOLUMES
from controller.guard.settings import fill_guard
from controller.guard.tip import Shape
from kinematics.description import load_arm


def filled(arm_changes=None, **changes):
    config = load_config("psm_emulated_strict")
    config = msgspec.structs.replace(config, guard=msgspec.structs.replace(config.guard, **changes))
    arm = load_arm(config.arm.description)
    record = arm.record.copy()
    for name, value in (arm_changes or {}).items():
        record[0][name][:] = value
    guard = np.zeros(1, GUARD)
    fill_guard(guard[0], config, record[0], arm.n_axes)
    return guard[0], config, record[0]


def test_limits_come_from_the_configuration():
    g, config, _ = filled()
    assert (g["n_axes"], g["period"], g["gap"], g["axis"]) == (7, 0.001, 0.004, -1)
    assert (g["feedback_timeout"], g["late_cycles"], g["scale"]) == (0.004, 3, 1.0)
    assert g["following_error"][:7].tolist() == config.guard.following_error
    assert g["residual"][:7].tolist() == config.guard.residual
    assert g["sensor_difference"][:7].tolist() == config.guard.sensor_difference
    assert g["kp_max"][:7].tolist() == [4.0 * kp for kp in config.law.kp]
    assert g["kp_stiff"][:7].tolist() == [0.5 * kp for kp in config.law.kp]
    assert g["kd_max"][:7].tolist() == [4.0 * kd for kd in config.law.kd]
    assert (g["kp_max"][7], g["kd_max"][7]) == (0.0, 0.0)
    assert (g["temperature_warn"], g["temperature_max"]) == (60.0, 65.0)
    assert (g["remote_center_warn"], g["remote_center_max"], g["deceleration"]) == (0.001, 0.002, 0.5)


def test_what_is_left_out_is_not_watched():
    g, _, _ = filled(residual=None, sensor_difference=None)
    assert np.isinf(g["residual"]).all()
    assert np.isinf(g["sensor_difference"]).all()


def test_limits_of_joints_and_actuators_come_from_the_arm():
    g, _, a = filled()
    for name in ("position_min", "position_max", "velocity_max", "effort_max", "joint_from_actuator"):
        assert (g[name] == a[name]).all()
    assert g["lag_acceleration"][0] == 4.0 * a["acceleration_max"][0]
    assert g["coupled"].tolist() == [0, 1, 2, 3, 4, 4, 4, 7]
    # A joint that moves at its limit moves no actuator faster than its own.
    rng = np.random.default_rng(1)
    v = rng.uniform(-1, 1, (1000, 8)) * a["velocity_max"]
    assert (np.abs(v @ np.asarray(a["actuator_from_joint"]).T) <= g["actuator_velocity_max"] + 1e-12).all()
    assert g["actuator_effort_max"][0] == pytest.approx(1.34 * 0.0438 * 56.5)
    count = 1.0 / a["counts_per_unit"][0]
    assert 2.0 * count < g["resolution"][0] < 2.1 * count


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_position_may_be_wrong_by_two_counts_and_by_the_digits_of_the_farthest_position(sign):
    g, _, _ = filled(
        {
            "counts_per_unit": sign * 1e6,
            "actuator_position_min": [-9.0, -3.0, 2.0, -9.0, -9.0, -9.0, -9.0, -9.0],
            "actuator_position_max": [4.0, 5.0, 6.0, -2.0, 4.0, 4.0, 4.0, 4.0],
            "effort_per_amp": sign * 2.0,
            "current_max": 3.0,
        }
    )
    for axis, farthest in enumerate([9.0, 5.0, 6.0, 9.0]):
        assert g["resolution"][axis] == pytest.approx(2e-6 + farthest / 4194304, rel=1e-9)
    assert (g["actuator_effort_max"] == 6.0).all()


def test_volumes_are_taken_over():
    volumes = [
        VolumeConfig(shape="sphere", center=(0.1, 0.2, 0.3), radius=0.4),
        VolumeConfig(shape="box", keep="outside", center=(0, 0, 0), half_size=(0.1, 0.2, 0.3)),
        VolumeConfig(shape="cylinder", center=(0, 0, 0), direction=(0, 3, 4)),
    ]
    g, _, _ = filled(volume=volumes)
    assert g["n_volumes"] == 3
    assert g["volume_shape"][:3].tolist() == [Shape.SPHERE, Shape.BOX, Shape.CYLINDER]
    assert g["volume_keep"][:3].tolist() == [1.0, -1.0, 1.0]
    assert g["volume_center"][0].tolist() == [0.1, 0.2, 0.3]
    assert g["volume_radius"][0] == 0.4
    assert g["volume_half_size"][1].tolist() == [0.1, 0.2, 0.3]
    assert g["volume_direction"][2].tolist() == pytest.approx([0.0, 0.6, 0.8])


def test_more_volumes_than_fit_are_refused():
    volume = VolumeConfig(shape="sphere", center=(0, 0, 0))
    filled(volume=[volume] * MAX_VOLUMES)
    with pytest.raises(ValueError, match=r"guard\.volume has 17 entries; allowed: at most 16"):
        filled(volume=[volume] * (MAX_VOLUMES + 1))


@pytest.mark.parametrize("name", ["psm_emulated", "psm_emulated_strict"])
def test_the_emulated_psm_is_watched_by_residual_and_second_sensors(name):
    guard = load_config(name).guard
    assert guard.residual is not None
    assert guard.sensor_difference is not None
