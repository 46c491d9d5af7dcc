"""What the emulated arm really does: one record per host tick, which no controller ever sees.

Written at the end of the tick: the state at `t_ns`. Positions are the body's own, without a sensor between; the pose
is that of the plant's geometry, not of the controller's model.
"""

import numpy as np
from numba.core import types

from firmware_bridge.native import BOARD_INPUTS, BOARD_OUTPUTS
from hil.fault_record import FAULTS
from hil.plant import PLANT, plant_pose, plant_view
from kinematics.compiled import Array, array_of, kernel
from telemetry.sample import MAX_AXES

__all__ = ["CAPACITY", "TRUTH", "record_truth", "shaft_deviation"]

CAPACITY = 16384  # records in the ring: 16 s at 1 kHz

TRUTH = np.dtype(
    [
        (
            "tick",
            "u8",
        ),  # host periods simulated so far; in lock-step, the core's ticks
        ("t_ns", "i8"),  # when this state was reached: CLOCK_MONOTONIC, or tick x period in lock-step
        ("firmware_time_us", "u8"),  # the firmware's clock: it ticks every 250 us of the rig's time
        ("faults", "u8"),  # hil.faults.Fault bits in force
        ("power", "u4"),  # what the board drives: amplifiers on
        ("brakes_released", "u4"),  # the brakes are told to open
        ("brakes_open", "u4"),  # they are
        ("estop_open", "u4"),  # at least one of its contacts
        ("joint_position", "f8", (MAX_AXES,)),  # rad, m
        ("joint_velocity", "f8", (MAX_AXES,)),
        ("actuator_position", "f8", (MAX_AXES,)),
        ("actuator_velocity", "f8", (MAX_AXES,)),
        ("motor_current", "f8", (MAX_AXES,)),  # A
        ("motor_effort", "f8", (MAX_AXES,)),  # N·m, N
        ("tip_pose", "f8", (4, 4)),  # T_base_tip
        ("shaft_point", "f8", (3,)),  # base frame: a point on the instrument's axis
        ("shaft_direction", "f8", (3,)),  # and its direction, distally
        # m, from the instrument's axis to the nominal remote centre: the origin of the base frame or, of an arm whose
        # mechanics keep none, remote_center.point of the configuration (nan without)
        ("rcm_deviation", "f8"),
        ("motor_temperature", "f8", (MAX_AXES,)),  # degrees Celsius, of the windings
        ("pedal", "u4"),  # its contacts that say pressed: bit 0, bit 1
        ("tool", "u4"),  # identity of the instrument that the board sees; 0: none
    ],
    align=True,
)


@kernel(types.void(*(array_of(dtype) for dtype in (PLANT, FAULTS, BOARD_INPUTS, BOARD_OUTPUTS, TRUTH))))
def record_truth(plant: Array, faults: Array, inputs: Array, outputs: Array, truth: Array) -> None:
    """Fill in everything but `tick` and `t_ns`."""
    p, t = plant[0], truth[0]
    n = p.n_axes
    plant_pose(plant)
    qpos, qvel = plant_view(p.qpos, 2 * n), plant_view(p.qvel, 2 * n)
    t.firmware_time_us = p.substeps * 250
    t.faults = faults[0].bits
    t.power = outputs[0].power
    t.brakes_released = outputs[0].brakes_released
    t.brakes_open = p.brakes_open
    t.estop_open = inputs[0].estop_open[0] | inputs[0].estop_open[1]
    t.pedal = inputs[0].pedal[0] | inputs[0].pedal[1] << np.uint32(1)
    t.tool = inputs[0].tool
    for j in range(n):
        t.joint_position[j] = qpos[j]
        t.joint_velocity[j] = qvel[j]
        t.actuator_position[j] = qpos[n + j]
        t.actuator_velocity[j] = qvel[n + j]
        t.motor_current[j] = p.current[j]
        t.motor_effort[j] = p.effort[j]
        t.motor_temperature[j] = p.temperature[j]
    for i in range(4):
        for k in range(4):
            t.tip_pose[i, k] = p.tip_pose[i, k]
    link = p.shaft_link
    if link == 0:
        return
    point = plant_view(p.xpos + 24 * link, 3)
    R = plant_view(p.xmat + 72 * link, 9)
    along = 0.0
    for i in range(3):
        at, direction = point[i], 0.0
        for k in range(3):
            at += R[3 * i + k] * p.shaft_point[k]
            direction += R[3 * i + k] * p.shaft_direction[k]
        t.shaft_point[i] = at
        t.shaft_direction[i] = direction
        along += (at - p.remote_center[i]) * direction
    square = 0.0
    for i in range(3):
        square += (t.shaft_point[i] - p.remote_center[i] - along * t.shaft_direction[i]) ** 2
    t.rcm_deviation = np.sqrt(square)


def shaft_deviation(truth: Array, point: Array) -> Array:
    """Return how far the instrument's true axis was from a point, m, one entry per record.

    Args:
        truth: Records, TRUTH, (n,).
        point: Base frame, (3,): m. A remote centre that was set while the arm ran, say.
    """
    distance: Array = np.linalg.norm(np.cross(truth["shaft_point"] - point, truth["shaft_direction"]), axis=-1)
    return distance
