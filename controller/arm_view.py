"""What a client sees of an arm: CRTK's queries, answered from the newest sample in shared memory.

A query costs microseconds and never waits. What needs kinematics loads their kernels when it is first asked.
"""

import functools
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.arguments import checked_matrix, checked_vector
from controller.catalogue import Code
from controller.commands import Empty, LawStatus, Status
from controller.connection import Connection
from controller.errors import ControllerError, StaleData
from controller.run_dir import AxisInfo, Descriptor
from telemetry.ring_file import Ring, newest_record
from telemetry.sample import OperatingState

__all__ = ["ArmView", "JointState", "OperatingStatus", "PeriodStatistics", "Pose", "Twist", "Wrench"]

Vector = NDArray[np.float64]

CRTK_VERSION = "1.0.0"
"""Of CRTK's command set, whose names and meanings these are."""
STALE = 1.0  # s
DAMPING = 1e-6  # of J' in measured_cf: nothing but near singularities
STATISTICS_SAMPLES = 1000


class JointState(NamedTuple):
    """Joints at one moment: one entry per axis, the jaw last."""

    position: Vector
    """rad or m."""
    velocity: Vector
    """rad/s or m/s."""
    effort: Vector
    """N·m or N."""
    t: float
    """s, CLOCK_MONOTONIC; in lock-step the arm's own time."""
    sequence: int


class Pose(NamedTuple):
    """The tip at one moment."""

    T: Vector
    """T_base_tip, 4 x 4, m."""
    t: float
    sequence: int


class Twist(NamedTuple):
    """How the tip moves at one moment."""

    twist: Vector
    """[linear, angular], (6,), m/s and rad/s, in the base's axes."""
    t: float
    sequence: int


class Wrench(NamedTuple):
    """What the tip exerts at one moment."""

    wrench: Vector
    """[force, moment], (6,), N and N·m, in the base's axes."""
    t: float
    sequence: int


class OperatingStatus(NamedTuple):
    """CRTK's operating state, and the fault."""

    state: OperatingState
    is_homed: bool
    is_busy: bool
    fault: Code | int
    """Code.OK where there is none."""


class PeriodStatistics(NamedTuple):
    """How evenly the cycle runs, over its newest samples; s. All but `period` are zero in lock-step."""

    period: float
    """As configured."""
    mean: float
    """From one wake-up to the next."""
    std: float
    min: float
    max: float
    compute_mean: float
    """The cycle's own work, I/O apart."""
    compute_max: float
    samples: int
    overruns: int
    """Cycles that began more than a period late, since the daemon began."""


class ArmView:
    """The queries of an arm; `client.Arm` adds the commands.

    Args:
        daemon: The descriptor of the daemon that serves it.
        ring: Its samples.
        connection: For what only the daemon knows.
    """

    def __init__(self, daemon: Descriptor, ring: Ring, connection: Connection) -> None:
        self.name = daemon.arm
        self._daemon = daemon
        self._ring = ring
        self._connection = connection
        self._n = len(daemon.axes)

    # --- joints

    def measured_js(self) -> JointState:
        """Return where the joints are."""
        return self._joint_state("measured_position", "measured_velocity", "measured_effort")

    def setpoint_js(self) -> JointState:
        """Return where the joints shall be at the next cycle; the effort is the feed-forward."""
        return self._joint_state("setpoint_position", "setpoint_velocity", "setpoint_effort")

    def goal_js(self) -> JointState:
        """Return where the present motion ends, and how fast a stream passes its newest target; the effort is zero."""
        return self._joint_state("goal_position", "goal_velocity", None)

    def configuration_js(self) -> list[AxisInfo]:
        """Return the axes: name, type and limits."""
        return list(self._daemon.axes)

    # --- the tip

    def measured_cp(self) -> Pose:
        """Return where the tip is."""
        return self._pose("measured_pose")

    def setpoint_cp(self) -> Pose:
        """Return where the tip shall be at the next cycle."""
        return self._pose("setpoint_pose")

    def goal_cp(self) -> Pose:
        """Return where the tip will be when the present motion has ended."""
        return self._pose("goal_pose")

    def measured_cv(self) -> Twist:
        """Return how the tip moves: J qd at the measured joints."""
        return self._twist("measured_position", "measured_velocity")

    def setpoint_cv(self) -> Twist:
        """Return how the tip shall move."""
        return self._twist("setpoint_position", "setpoint_velocity")

    def goal_cv(self) -> Twist:
        """Return how the tip moves where the present motion ends: at rest, unless a stream goes on."""
        return self._twist("goal_position", "goal_velocity")

    def measured_cf(self) -> Wrench:
        """Return an estimate of the wrench that the tip exerts: J'^-1 (measured effort - gravity).

        It is quasi-static: friction and inertia are in it, which on a driven arm easily exceed small contact forces.
        Near a singularity what the arm cannot feel is taken as zero.
        """
        from kinematics.dynamics import gravity_effort

        sample, n = self.sample(), self._daemon.n_joints
        arm = self._description.record
        q = sample["measured_position"].copy()
        gravity = np.zeros(len(q))
        gravity_effort(arm, q, gravity)
        J = self._jacobian(q)[:, :n]
        effort = (sample["measured_effort"] - gravity)[:n]
        wrench = np.linalg.solve(J @ J.T + DAMPING * np.eye(6), J @ effort)
        return Wrench(wrench, int(sample["t_ns"]) * 1e-9, int(sample["sequence"]))

    def forward_kinematics(self, q: ArrayLike) -> Vector:
        """Return T_base_tip, (4, 4), at joint positions, one per axis or per joint, rad or m.

        Raises:
            ValueError: Another number of entries was given.
        """
        from kinematics import chain

        T = np.zeros((4, 4))
        chain.forward(self._description.record, self._padded(q), T)
        return T

    def inverse_kinematics(self, T: ArrayLike, near: ArrayLike | None = None) -> Vector:
        """Return the joint positions, one per axis, that bring the tip to a pose: the solution nearest to others.

        Args:
            T: T_base_tip, 4 x 4, m.
            near: One entry per axis or joint; None: the set-point. The jaw stays as it is there.

        Raises:
            ControllerError: No joint position within the limits does; the message says why.
        """
        from kinematics.chain import IkStatus
        from kinematics.kernels import bound_record, kernels_of

        q_near = self._padded(self.setpoint_js().position if near is None else near)
        q = np.zeros(len(q_near))
        inverse = kernels_of(self._description).inverse
        status = inverse(bound_record(self._description), np.array(checked_matrix(T)), q_near, q)
        if status != IkStatus.SOLVED:
            raise ControllerError(
                f"no joint position of {self.name} brings the tip to this pose: {IkStatus(status).name}. "
                "Choose another one; `configuration_js` has the limits."
            )
        return q[: self._n]

    # --- the control law

    def law(self) -> LawStatus:
        """Return the control law: name, file, parameters as the cycle has them now, time that a call takes."""
        law = self._connection.ask("status", Empty(), Status, again=True).law
        if law is None:
            self._connection.check_daemon()
            raise StaleData(
                f"{self.name} has said nothing of its law yet: its core has not begun. See `trocar status`."
            )
        return law

    # --- the daemon

    def operating_state(self) -> OperatingStatus:
        """Return state, homed, busy and the fault."""
        sample = self.sample()
        fault = int(sample["fault"])
        known: Code | int = Code(fault) if fault in Code.__members__.values() else fault
        return OperatingStatus(
            OperatingState(int(sample["state"])), bool(sample["is_homed"]), bool(sample["is_busy"]), known
        )

    def speed_ratio(self) -> float:
        """Return the part of the limits that moves and interpolated streams may use, in ]0, 1]."""
        return float(self.sample()["speed_ratio"])

    def period_statistics(self) -> PeriodStatistics:
        """Return how evenly the cycle has run over its last 1000 samples, fewer where the ring holds fewer.

        Raises:
            StaleData: There are not two samples yet.
        """
        self.sample()
        head, capacity = self._ring.head, self._ring.capacity
        count = min(head, capacity // 2, STATISTICS_SAMPLES)
        if count < 2:
            raise StaleData(f"{self.name} has given {count} samples: a period needs two. Wait a little.")
        slots = self._ring.slots[np.arange(head - count, head) & (capacity - 1)]
        period = np.diff(slots["t_ns"]) * 1e-9
        compute = slots["compute_ns"] * 1e-9
        return PeriodStatistics(
            self._daemon.period,
            float(period.mean()),
            float(period.std()),
            float(period.min()),
            float(period.max()),
            float(compute.mean()),
            float(compute.max()),
            count,
            int(slots["overruns"][-1]),
        )

    def crtk_version(self) -> str:
        """Return the version of CRTK whose names and meanings these are."""
        return CRTK_VERSION

    def sample(self) -> Any:  # noqa: ANN401
        """Return a copy of the whole newest sample, a record of dtype telemetry.sample.SAMPLE.

        Raises:
            StaleData: It is more than a second old.
            DaemonLost: The daemon has gone or was restarted.
        """
        record = newest_record(self._ring)
        if record is None:
            self._connection.check_daemon()
            raise StaleData(f"{self.name} has given no sample yet: its cycle has not begun. See `trocar status`.")
        if not self._daemon.lockstep:
            age = (time.monotonic_ns() - int(record["t_ns"][0])) * 1e-9
            if age > STALE:
                self._connection.check_daemon()
                raise StaleData(f"the newest sample of {self.name} is {age:.1f} s old: its cycle stands still.")
        return record[0]

    # --- inside

    @functools.cached_property
    def _description(self) -> Any:  # noqa: ANN401
        from kinematics.description import load_arm

        return load_arm(self._daemon.description)

    def _padded(self, q: ArrayLike) -> Vector:
        values = checked_vector(q)
        if len(values) not in (self._n, self._daemon.n_joints):
            raise ValueError(f"{len(values)} joint positions were given: {self.name} has {self._n} axes")
        return np.array(values + [0.0] * (8 - len(values)))

    def _jacobian(self, q: Vector) -> Vector:
        from kinematics import chain

        J = np.zeros((6, 8))
        chain.jacobian(self._description.record, q, J)
        return J

    def _joint_state(self, position: str, velocity: str | None, effort: str | None) -> JointState:
        sample, n = self.sample(), self._n
        q, qd, tau = (sample[name][:n].copy() if name else np.zeros(n) for name in (position, velocity, effort))
        return JointState(q, qd, tau, int(sample["t_ns"]) * 1e-9, int(sample["sequence"]))

    def _pose(self, name: str) -> Pose:
        sample = self.sample()
        return Pose(sample[name].copy(), int(sample["t_ns"]) * 1e-9, int(sample["sequence"]))

    def _twist(self, position: str, velocity: str) -> Twist:
        sample, n = self.sample(), self._daemon.n_joints
        twist = self._jacobian(sample[position].copy())[:, :n] @ sample[velocity][:n]
        return Twist(twist, int(sample["t_ns"]) * 1e-9, int(sample["sequence"]))
