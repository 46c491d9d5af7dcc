"""The guard's limits, from the configuration and the arm's file."""

from typing import Any

import numpy as np

from controller.config import Config
from controller.guard.records import MAX_VOLUMES
from controller.guard.tip import Shape
from telemetry.sample import MAX_AXES

__all__ = ["fill_guard"]

GAIN_MARGIN = 4.0  # of the configured gains: what a law may use
LAG_ACCELERATION = 4.0  # of the joints' acceleration limits: what they surely reach when a raw stream steps
STIFF = 0.5  # of the configured stiffness: with less a joint is soft
COUNTS = 2.0  # by which a position may be wrong
DIGITS = 2.0**-22  # part of a position by which its 32-bit form may be wrong


def fill_guard(record: Any, config: Config, arm_record: Any, n_axes: int) -> None:  # noqa: ANN401
    """Set the limits of a GUARD record; its memory is left alone.

    Args:
        record: An element of a GUARD array.
        config: The configuration, checked.
        arm_record: An element of an ARM array.
        n_axes: How many axes the arm has.
    """
    a, g, n = arm_record, config.guard, n_axes
    record["axis"] = -1
    record["n_axes"] = n
    record["period"] = config.cycle.period
    record["feedback_timeout"] = config.cycle.feedback_timeout
    record["gap"] = config.driver.watchdog
    record["late_cycles"] = g.late_cycles

    for name in ("position_min", "position_max", "velocity_max", "effort_max", "joint_from_actuator"):
        record[name] = a[name]
    record["following_error"][:n] = g.following_error
    for name in ("residual", "sensor_difference"):
        record[name] = np.inf
        if (limit := getattr(g, name)) is not None:
            record[name][:n] = limit
    record["lag_acceleration"] = LAG_ACCELERATION * a["acceleration_max"]

    record["coupled"] = _coupled(np.asarray(a["joint_from_actuator"])[:n, :n])
    velocity = np.abs(a["actuator_from_joint"]) @ a["velocity_max"]
    record["actuator_velocity_max"] = velocity
    record["actuator_effort_max"] = np.abs(a["effort_per_amp"] * a["current_max"])
    reach = np.maximum(-a["actuator_position_min"], a["actuator_position_max"])
    record["resolution"][:n] = COUNTS / np.abs(a["counts_per_unit"][:n]) + DIGITS * reach[:n]
    record["kp_stiff"][:n] = STIFF * np.asarray(config.law.kp)
    record["kp_max"][:n] = GAIN_MARGIN * np.asarray(config.law.kp)
    record["kd_max"][:n] = GAIN_MARGIN * np.asarray(config.law.kd)
    record["temperature_warn"] = g.temperature_warn
    record["temperature_max"] = g.temperature_max

    record["deceleration"] = g.deceleration
    record["remote_center_warn"] = g.remote_center_warn
    record["remote_center_max"] = g.remote_center_max
    if len(g.volume) > MAX_VOLUMES:
        raise ValueError(f"guard.volume has {len(g.volume)} entries; allowed: at most {MAX_VOLUMES}. Leave some out.")
    record["n_volumes"] = len(g.volume)
    record["scale"] = 1.0
    for k, volume in enumerate(g.volume):
        record["volume_shape"][k] = Shape[volume.shape.upper()]
        record["volume_keep"][k] = 1.0 if volume.keep == "inside" else -1.0
        record["volume_center"][k] = volume.center
        record["volume_direction"][k] = np.asarray(volume.direction) / np.linalg.norm(volume.direction)
        record["volume_radius"][k] = volume.radius
        record["volume_half_size"][k] = volume.half_size


def _coupled(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return for each axis, which is also an actuator's number, the first of those that it is coupled with, (8,)."""
    together = np.arange(MAX_AXES)
    for i, j in np.argwhere(matrix != 0.0):
        first, second = sorted((together[i], together[j]))
        together[together == second] = first
    return together
