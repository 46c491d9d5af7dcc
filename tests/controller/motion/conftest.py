"""A set-point without a cycle around it: commands in, one period at a time, everything looked at."""

import numpy as np
import pytest

from controller.mailbox import MESSAGE, Frame, Group, Operation
from controller.motion.advance import ARRIVED, WAITING, advance
from controller.motion.path import PATH
from controller.motion.setpoint import MOTION, SCRATCH, Mode, begin_stop, follow, hold_here, is_moving, set_speed_ratio
from controller.motion.start import start
from controller.motion.trajectory import TRAJECTORY
from kinematics import psm
from kinematics.description import load_arm
from telemetry.sample import SAMPLE

PSM = load_arm("psm_classic_lnd").record
N, JOINTS = int(PSM[0]["n_axes"]), int(PSM[0]["n_joints"])
HOME = np.array([0.1, -0.2, 0.12, 0.3, 0.4, -0.3, 0.5, 0.0])
PERIOD = 0.001
LOW, HIGH = PSM[0]["position_min"][:N], PSM[0]["position_max"][:N]
V, A, J = (PSM[0][name][:N] for name in ("velocity_max", "acceleration_max", "jerk_max"))


class SetPoint:
    """The set-point of a PSM, at rest at HOME."""

    def __init__(self, q=HOME, arm=PSM):
        self.arm = arm
        self.motion = np.zeros(1, MOTION)
        self.m = self.motion[0]
        self.path = np.zeros(1, PATH)
        self.trajectories = np.zeros(2, TRAJECTORY)
        self.sample = np.zeros(1, SAMPLE)
        self.scratch = np.zeros(SCRATCH)
        self.poses = np.zeros((3, 4, 4))
        self.message, self.next_message = np.zeros(1, MESSAGE), np.zeros(1, MESSAGE)
        self.m["period"] = PERIOD
        self.m["speed_ratio"] = 1.0
        self.m["stream_timeout_max_ns"] = self.m["interpolate_timeout_max_ns"] = 10**9
        self.m["tip_limits"] = (0.1, 0.4, 8.0, 1.5, 6.0, 120.0)
        self.now = 10**9
        self.ends = []
        self.q, self.qd, self.qdd = [], [], []
        q = np.array(q, float)
        follow(self.motion, q)
        for group in Group:
            hold_here(self.motion, self.arm, group)

    def command(self, name, vector=(), *, pose=None, jaw_only=False, frame=Frame.BASE, **fields):
        """Give a command; return its code."""
        message = self.message
        message[:] = np.zeros(1, MESSAGE)
        message["operation"] = Operation[name.upper()]
        message["speed"], message["jaw"] = 1.0, np.nan
        message["group"] = Group.JAW if jaw_only else Group.ARM
        message["n_axes"] = len(vector)
        message["vector"][0, : len(vector)] = vector
        message["frame"] = frame
        if pose is not None:
            message["pose"][0] = pose
        via = fields.pop("via", [])
        message["n_via"] = len(via)
        for k, T in enumerate(via):
            message["via"][0, k] = T
        for key, value in fields.items():
            message[key] = value
        return self._start(message, self.next_message)

    def _start(self, message, spare):
        return start(
            self.motion, self.path, self.arm, psm.forward, psm.inverse, message, spare, self.now, self.scratch,
            self.poses,
        )  # fmt: skip

    def stop(self, *groups):
        for group in groups or Group:
            begin_stop(self.motion, self.arm, group)

    def set_speed_ratio(self, ratio):
        set_speed_ratio(self.motion, ratio)

    def tick(self, count=1):
        """Let some periods pass; `ends` gets (group, code) of what ended."""
        for _ in range(count):
            self.now += 1_000_000
            self.sample["t_ns"] = self.now
            for group in Group:
                code = advance(
                    self.motion, self.path, self.trajectories, self.arm, psm.forward_jacobian, psm.inverse, self.sample,
                    group, self.scratch, self.poses,
                )  # fmt: skip
                if code == WAITING:
                    code = self._start(self.next_message, self.message)
                if code:
                    self.ends.append((group, code))
            self.q.append(self.m["q"][:N].copy())
            self.qd.append(self.m["qd"][:N].copy())
            self.qdd.append(self.m["qdd"][:N].copy())

    def settle(self, most=20_000):
        """Let time pass until nothing moves; return how many periods that took."""
        for count in range(most):
            if not is_moving(self.motion):
                return count
            self.tick()
        raise AssertionError("it does not come to rest")

    @property
    def position(self):
        return self.m["q"][:N].copy()

    @property
    def modes(self):
        return tuple(Mode(mode) for mode in self.m["mode"])

    def pose(self, q=None):
        T = np.zeros((4, 4))
        q = self.m["q"].copy() if q is None else np.concatenate([q, np.zeros(8 - len(q))])
        psm.forward(self.arm, q, T)
        return T

    def history(self):
        """q, qd, qdd since it was made, (n, 7) each."""
        return np.array(self.q), np.array(self.qd), np.array(self.qdd)


def assert_steps_within_velocity(setpoint, start_=HOME):
    """No axis moved further in any period than at its velocity limit, nor beyond its position limits."""
    q = np.vstack([np.asarray(start_)[:N], *setpoint.q])
    assert (np.abs(np.diff(q, axis=0)) <= V * PERIOD + 1e-9).all()
    assert (q[1:] >= np.minimum(LOW, q[0]) - 1e-9).all()
    assert (q[1:] <= np.maximum(HIGH, q[0]) + 1e-9).all()


def assert_smooth(setpoint, *, scale=1.0, jerk=1.0):
    """Velocity, acceleration and jerk of the set-point kept to the arm's limits, and say what it did."""
    q, qd, qdd = setpoint.history()
    assert (np.abs(qd) <= scale * V * (1 + 1e-9) + 1e-9).all()
    assert (np.abs(qdd) <= scale * A * (1 + 1e-9) + 1e-9).all()
    zero = np.zeros((1, N))
    assert (np.abs(np.diff(np.vstack([zero, qdd]), axis=0)) <= jerk * scale * J * PERIOD * (1 + 1e-6) + 1e-9).all()
    # Trapezia of the acceleration give the velocity to within the jerk's part, those of the velocity the position.
    assert np.abs(np.diff(qd, axis=0) - (qdd[1:] + qdd[:-1]) * PERIOD / 2).max() <= (J * PERIOD**2).max()
    assert np.abs(np.diff(q, axis=0) - (qd[1:] + qd[:-1]) * PERIOD / 2).max() <= (J * PERIOD**3).max() + 1e-12


@pytest.fixture
def setpoint():
    return SetPoint()


__all__ = ["ARRIVED"]
