"""The figures of a fault in words: which axis, what was measured, what was allowed, each in its unit."""

import math
from collections.abc import Sequence
from typing import Any

from controller.catalogue import Code

__all__ = ["describe_figures", "figures_of"]

# Of an axis: by its kind. {revolute, prismatic}
_POSITION = {"revolute": "rad", "prismatic": "m"}
_VELOCITY = {"revolute": "rad/s", "prismatic": "m/s"}
_ACCELERATION = {"revolute": "rad/s²", "prismatic": "m/s²"}
_EFFORT = {"revolute": "N·m", "prismatic": "N"}
_Unit = str | dict[str, str]

UNITS: dict[Code, _Unit] = {
    Code.POSITION_LIMIT: _POSITION,
    Code.SETPOINT_STEP: _POSITION,
    Code.FOLLOWING_ERROR: _POSITION,
    Code.ENCODER_JUMP: _POSITION,
    Code.MOTION_RESIDUAL: _POSITION,
    Code.SENSOR_MISMATCH: _POSITION,
    Code.HOMING_FAILED: _POSITION,
    Code.BRAKE_SLIPS: _POSITION,
    Code.ENCODER_SIGN: _POSITION,
    Code.JOINT_LIMIT: _POSITION,
    Code.STREAM_JUMP: _POSITION,
    Code.DEVICE_POSITION_LIMIT: _POSITION,
    Code.VELOCITY_LIMIT: _VELOCITY,
    Code.DEVICE_OVERSPEED: _VELOCITY,
    Code.ACCELERATION_LIMIT: _ACCELERATION,
    Code.STALLED: "of its effort",
    Code.STALL_PERSISTS: "s",
    Code.MOTOR_TEST: _EFFORT,
    Code.DEVICE_OVERCURRENT: _EFFORT,
    Code.MOTOR_WARM: "°C",
    Code.DEVICE_OVERTEMPERATURE: "°C",
    Code.REMOTE_CENTER_OFF: "m",
    Code.REMOTE_CENTER_LOST: "m",
    Code.FEEDBACK_LOST: "s",
    Code.CYCLE_GAP: "s",
    Code.STREAM_STALE: "s",
    Code.STREAM_DEAD: "s",
    Code.WATCHDOG_UNPROVED: "s",
    Code.ENABLE_TIMEOUT: "s",
}
"""In which unit a code's figures are; those that are not here are counts, or of several quantities."""
TOOLS = (Code.TOOL_CHANGED, Code.TOOL_WRONG)
HOT_FROM = 20.0  # a bound of MOTOR_HOT from here on is °C; below, a rise in K/s or a share of what the winding bears


def describe_figures(
    code: int, axis: int, value: float, bound: float, axes: Sequence[str] = (), kinds: Sequence[str] = ()
) -> str:
    """Return a fault's figures, as "axis yaw: measured 0.012 rad, allowed 0.005 rad"; empty where it has none.

    Args:
        code: Catalogue code.
        axis: Which axis it speaks of, or -1.
        value: What was measured, in the unit of the code's quantity.
        bound: What was allowed. Where both are 0 the code has no figures.
        axes: The axes' names.
        kinds: `revolute` or `prismatic` for each axis.
    """
    known = Code(code) if code in Code.__members__.values() else None
    unit = UNITS.get(known, "") if known is not None else ""
    if known == Code.MOTOR_HOT and bound >= HOT_FROM:
        unit = "°C"
    if isinstance(unit, dict):
        unit = unit[kinds[axis]] if 0 <= axis < len(kinds) else "rad or m"
    where = ""
    if axis >= 0:
        where = f"axis {axes[axis] if axis < len(axes) else axis}"
    if (value == 0.0 and bound == 0.0) or math.isnan(value):
        return where
    if known in TOOLS:
        return f"instrument {value:.0f} is there, expected is {bound:.0f} (0: none)"
    space = f" {unit}" if unit else ""
    what = f"measured {value:.4g}{space}, allowed {bound:.4g}{space}"
    return f"{where}: {what}" if where else what


def figures_of(sample: Any, code: int, axes: Sequence[str], kinds: Sequence[str]) -> str:  # noqa: ANN401
    """Return the figures in a sample, a record of dtype SAMPLE, of the fault or event that has this code."""
    if not code:
        return ""
    axis, value, bound = int(sample["fault_axis"]), float(sample["fault_value"]), float(sample["fault_bound"])
    return describe_figures(code, axis, value, bound, axes, kinds)
