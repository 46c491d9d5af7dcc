"""A set-point without a cycle around it: commands in, one period at a time, everything looked at."""

import numba
import numpy as np
import pytest
from numba.core import types

from controller.mailbox import MESSAGE, Frame, Group, Operation
from controller.motion.advance import ADVANCE, EVALUATE, PLAN, WAITING, advance
from controller.motion.path import PATH
from controller.motion.setpoint import MOTION, SCRATCH, Mode, begin_stop, follow, hold_here, is_moving, set_speed_ratio
from controller.motion.start import START, start
from controller.motion.trajectory import TRAJECTORY, evaluate, plan, plan_unsynchronised
from controller.motion.walk import WALK, walk
from kinematics.chain import FORWARD, FORWARD_JACOBIAN, INVERSE
from kinematics.compiled import array_of
from kinematics.description import ARM, load_arm
from kinematics.kernels import kernels_of
from telemetry.sample import MAX_AXES, SAMPLE

DESCRIPTION = load_arm("psm_classic")
PSM, KERNELS = DESCRIPTION.record, kernels_of(DESCRIPTION)
N, JOINTS = int(PSM[0]["n_axes"]), int(PSM[0]["n_joints"])
HOME = np.array([0.1, -0.2, 0.12, 0.3, 0.4, -0.3, 0.5, 0.0])
PERIOD = 0.001
LOW, HIGH = PSM[0]["position_min"][:N], PSM[0]["position_max"][:N]
V, A, J = (PSM[0][name][:N] for name in ("velocity_max", "acceleration_max", "jerk_max"))


_M, _P, _T, _A = array_of(MOTION), array_of(PATH), array_of(TRAJECTORY), array_of(ARM)
_F2, _F3 = types.float64[:, ::1], types.float64[:, :, ::1]


@numba.njit(
    types.int64(
        types.FunctionType(WALK), types.FunctionType(START), types.FunctionType(PLAN), types.FunctionType(PLAN),
        types.FunctionType(EVALUATE), types.FunctionType(ADVANCE), types.FunctionType(FORWARD),
        types.FunctionType(FORWARD_JACOBIAN), types.FunctionType(INVERSE), _M, _P, _T, _A, array_of(SAMPLE),
        array_of(MESSAGE), array_of(MESSAGE), _F2, _F3, _F3, types.int64[:, ::1], types.int64, types.boolean,
    )
)  # fmt: skip
def _run(
    walk, start, plan, plan_unsynchronised, evaluate, advance, forward, forward_jacobian, inverse, motion, path,
    trajectories, arm, sample, message, next_message, scratch, poses, history, ends, now, until_rest,
):  # fmt: skip
    """What the cycle does with the set-point, period by period; return how many periods passed."""
    for k in range(history.shape[1]):
        if until_rest and motion[0].mode[0] <= 1 and motion[0].mode[1] <= 1:
            return k
        now += 1_000_000
        sample[0].t_ns = now
        for group in range(2):
            code = advance(
                motion, path, trajectories, arm, plan, plan_unsynchronised, evaluate, forward_jacobian, inverse, sample,
                group, scratch, poses,
            )  # fmt: skip
            if code == WAITING:
                code = start(motion, path, arm, forward, inverse, walk, next_message, message, now, scratch, poses)
            ends[k, group] = code
        for i in range(history.shape[2]):
            history[0, k, i], history[1, k, i] = motion[0].q[i], motion[0].qd[i]
            history[2, k, i] = motion[0].qdd[i]
    return history.shape[1]


class SetPoint:
    """The set-point of a PSM, at rest at HOME."""

    def __init__(self, q=HOME, arm=PSM, kernels=KERNELS):
        self.arm, self.kernels = arm, kernels
        self.motion = np.zeros(1, MOTION)
        self.m = self.motion[0]
        self.n = int(arm[0]["n_axes"])
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
        return start(
            self.motion, self.path, self.arm, self.kernels.forward, self.kernels.inverse, walk, message,
            self.next_message, self.now,
            self.scratch, self.poses,
        )  # fmt: skip

    def stop(self, *groups):
        for group in groups or Group:
            begin_stop(self.motion, self.arm, group)

    def set_speed_ratio(self, ratio):
        set_speed_ratio(self.motion, ratio)

    def tick(self, count=1, *, until_rest=False):
        """Let some periods pass; `ends` gets (group, code) of what ended. Return how many passed."""
        history, ends = np.empty((3, count, MAX_AXES)), np.zeros((count, 2), np.int64)
        passed = _run(
            walk, start, plan, plan_unsynchronised, evaluate, advance, self.kernels.forward,
            self.kernels.forward_jacobian, self.kernels.inverse,
            self.motion, self.path, self.trajectories, self.arm, self.sample, self.message, self.next_message,
            self.scratch, self.poses, history, ends, self.now, until_rest,
        )  # fmt: skip
        self.now += passed * 1_000_000
        for name, rows in zip(("q", "qd", "qdd"), history, strict=True):
            getattr(self, name).extend(rows[:passed, : self.n])
        self.ends += [(Group(g), int(row[g])) for row in ends[:passed] for g in Group if row[g]]
        return passed

    def settle(self, most=20_000):
        """Let time pass until nothing moves; return how many periods that took."""
        count = self.tick(most, until_rest=True)
        assert not is_moving(self.motion), "it does not come to rest"
        return count

    @property
    def position(self):
        return self.m["q"][: self.n].copy()

    @property
    def modes(self):
        return tuple(Mode(mode) for mode in self.m["mode"])

    def pose(self, q=None):
        T = np.zeros((4, 4))
        q = self.m["q"].copy() if q is None else np.concatenate([q, np.zeros(8 - len(q))])
        self.kernels.forward(self.arm, q, T)
        return T

    def history(self):
        """q, qd, qdd since it was made, (n, 7) each."""
        return np.array(self.q), np.array(self.qd), np.array(self.qdd)


def jacobian(q):
    J = np.zeros((6, 8))
    KERNELS.jacobian(PSM, np.array(q), J)
    return J


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


class _Tools:
    """A namespace that hypothesis can print in one word."""

    def __repr__(self):
        return "motion_tools"


@pytest.fixture(scope="session")
def motion_tools():
    """All of the above: a conftest is no module to import from."""
    tools = _Tools()
    vars(tools).update({name: value for name, value in globals().items() if not name.startswith(("_", "@"))})
    return tools
