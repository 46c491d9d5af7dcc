"""The guard twice, compiled and as plain Python, and records to ask it about."""

import importlib
import sys
from types import SimpleNamespace

import numpy as np

import controller.guard
import kinematics.compiled
from controller.guard import command, feedback, motors, records, residual, timing, tip
from controller.guard.records import GUARD, JOINT_COMMAND
from drivers.driver import FEEDBACK, Status
from telemetry.sample import MAX_AXES

N = 7
PERIOD = 0.001
MODULES = ("records", "timing", "feedback", "motors", "residual", "tip", "command")


def _all_of(modules):
    return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


def plain_guard():
    """Return the guard's modules loaded anew with a decorator that compiles nothing, callees included."""
    names = [f"controller.guard.{name}" for name in MODULES]
    kept = {name: sys.modules.pop(name) for name in names}
    kernel = kinematics.compiled.kernel
    kinematics.compiled.kernel = lambda _signature, **_options: lambda function: function
    try:
        return _all_of([importlib.import_module(name) for name in names])
    finally:
        kinematics.compiled.kernel = kernel
        sys.modules.update(kept)
        for name, module in kept.items():
            setattr(controller.guard, name.rpartition(".")[2], module)


COMPILED = _all_of([records, timing, feedback, motors, residual, tip, command])
PLAIN = plain_guard()


def new_guard(**fields):
    """Return a guard of a seven-axis arm without coupling, armed at zero; fields are set for all of its axes."""
    guard = np.zeros(1, GUARD).view(np.recarray)
    g = guard[0]
    g.axis, g.n_axes, g.period = -1, N, PERIOD
    g.feedback_timeout, g.gap, g.late_cycles = 0.003, 0.004, 3
    g.position_min[:], g.position_max[:] = -1.0, 1.0
    g.velocity_max[:], g.effort_max[:], g.following_error[:] = 2.0, 3.0, 0.1
    g.residual[:], g.lag_acceleration[:] = 0.001, 20.0
    g.joint_from_actuator[:] = np.eye(MAX_AXES)
    g.coupled[:] = np.arange(MAX_AXES)
    g.actuator_velocity_max[:], g.actuator_effort_max[:], g.resolution[:] = 2.0, 4.0, 1e-5
    g.sensor_difference[:] = 0.005
    g.kp_stiff[:N], g.kp_max[:N], g.kd_max[:N] = 50.0, 400.0, 4.0
    g.temperature_warn, g.temperature_max = 60.0, 65.0
    g.deceleration, g.remote_center_warn, g.remote_center_max, g.scale = 0.5, 0.001, 0.002, 1.0
    for name, value in fields.items():
        if np.ndim(g[name]):
            g[name][...] = value
        else:
            g[name] = value
    return guard


def new_command(**fields):
    command = np.zeros(1, JOINT_COMMAND).view(np.recarray)
    for name, value in fields.items():
        command[0][name][:N] = value
    return command


def new_feedback(**fields):
    """Return feedback of an arm that stands still at zero, referenced, with second sensors and at 25 °C."""
    feedback = np.zeros(1, FEEDBACK).view(np.recarray)
    f = feedback[0]
    f.status = Status.POWERED | Status.BRAKES_RELEASED | Status.REFERENCED
    f.temperature[:] = 25.0
    for name, value in fields.items():
        if np.ndim(f[name]):
            f[name][:N] = value
        else:
            f[name] = value
    return feedback


def vector(value, axis=0):
    result = np.zeros(MAX_AXES)
    result[axis] = value
    return result


def told(guard):
    """Return what the newest code speaks of."""
    g = guard[0]
    return int(g.axis), float(g.value), float(g.bound)


def add_volume(guard, shape, *, keep=1.0, center=(0, 0, 0), direction=(0, 0, 1), radius=1.0, half_size=(1, 1, 1)):
    g = guard[0]
    k = int(g.n_volumes)
    g.volume_shape[k], g.volume_keep[k], g.volume_radius[k] = int(shape), keep, radius
    g.volume_center[k], g.volume_half_size[k] = center, half_size
    g.volume_direction[k] = np.asarray(direction, float) / np.linalg.norm(direction)
    g.n_volumes = k + 1
    return guard
