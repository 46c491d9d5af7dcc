"""The client: command an arm and look at it, from a script or a notebook.

    from controller.client import Arm

    with Arm("PSM1") as arm:
        arm.enable()
        arm.home().wait()
        q = arm.measured_js().position
        q[2] += 0.02
        arm.move_jp(q).wait()

Commands go to the gateway; what is measured is read from the sample ring in shared memory, so a query costs
microseconds and never waits. Positions are rad or m with one entry per axis, the jaw last; poses are T_base_tip.
"""

import math
import sys
import time
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.catalogue import Code
from controller.commands import (
    Accepted,
    Advance,
    Empty,
    JointGoal,
    LawParameters,
    LawStatus,
    Outcome,
    PoseGoal,
    Status,
    Wait,
)
from controller.connection import Connection
from controller.errors import ArmFault, CommandTimeout, Preempted, StaleData
from controller.run_dir import AxisInfo, find_daemon
from telemetry.ring_file import newest_record, open_ring
from telemetry.sample import SAMPLE, MotionStatus, OperatingState

__all__ = ["Arm", "JointState", "Motion", "OperatingStatus", "Pose"]

Vector = NDArray[np.float64]

STATE_TIMEOUT = 15.0  # s of the arm's time for enable and the like
STALE = 1.0  # s
EMPTY = Empty()


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


class OperatingStatus(NamedTuple):
    """CRTK's operating state, and the fault."""

    state: OperatingState
    is_homed: bool
    is_busy: bool
    fault: Code | int
    """Code.OK where there is none."""


class Motion:
    """A motion that was accepted. It goes on whether anybody waits or not.

    Attributes:
        id: The command's id, which its samples carry as `motion_id`.
    """

    def __init__(self, arm: "Arm", accepted: Accepted, name: str) -> None:
        self.id = accepted.id
        self._arm = arm
        self._name = name
        self._outcome: Outcome | None = None

    def __repr__(self) -> str:
        return f"<Motion {self.id} ({self._name}){' ended' if self._outcome else ''}>"

    @property
    def done(self) -> bool:
        """Whether it has ended, however."""
        return self._ask(0.0) is not None

    def wait(self, timeout: float | None = None) -> None:
        """Return when the motion has come to rest at its goal.

        Args:
            timeout: s of the arm's time; None: for ever.

        Raises:
            Preempted: Another command took its place.
            ArmFault: A fault or the guard ended it; the code, cause and remedy are the error's.
            CommandTimeout: (a TimeoutError) It still moves.
            DaemonLost: The daemon has gone.
        """
        outcome = self._ask(timeout)
        if outcome is None:
            raise CommandTimeout(
                f"{self._name} (command {self.id}) has not ended within {timeout:g} s: it goes on. Wait longer, or "
                "end it with arm.hold()."
            )
        if outcome.status == MotionStatus.PREEMPTED:
            raise Preempted(f"{self._name} (command {self.id}) was pre-empted by another command before it had ended.")
        if outcome.status == MotionStatus.ABORTED:
            raise ArmFault(outcome.code, f"It ended {self._name} (command {self.id}).")

    def _ask(self, timeout: float | None) -> Outcome | None:
        if self._outcome is None:
            outcome = self._arm._wait(Wait(id=self.id, timeout=timeout))
            self._outcome = None if outcome.timed_out else outcome
        return self._outcome


class Arm:
    """One arm, as a client sees it.

    One Arm may be used from several threads, each waiting for its own. The first command takes the lease; a thread in
    the background keeps it until `close` or until the Arm is forgotten.

    Args:
        name: The arm's name; None: the only one that runs.
        take: Take the lease with the first command even if another client has it.
        client_name: What others read when they are refused; None: the program's name.

    Raises:
        DaemonAbsent: No daemon serves this arm; the message says which run and how to start one.
    """

    def __init__(self, name: str | None = "PSM1", *, take: bool = False, client_name: str | None = None) -> None:
        self._run_dir, self._daemon = find_daemon(name)
        self.name = self._daemon.arm
        self._ring = open_ring(self._run_dir.samples, SAMPLE)
        self._n = len(self._daemon.axes)
        self._take = take
        self._connection = Connection(self._run_dir, self._daemon, client_name or _program_name())
        self._finalizer = weakref.finalize(self, Connection.close, self._connection)
        self.status()  # in lock-step: there is a sample from here on

    def __enter__(self) -> "Arm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Arm {self.name} at {self._run_dir.path}>"

    def close(self) -> None:
        """Give the lease back and disconnect; the arm holds or goes on as it is. May be called twice."""
        self._finalizer()

    # --- state commands: they return when the state is reached

    def enable(self) -> None:
        """Power the motors and release the brakes; return when the arm is ENABLED. From FAULT: try again.

        Raises:
            CommandRefused: As the e-stop is pressed, or the state does not allow it.
            ArmFault: It could not be done.
        """
        self._state_command("enable")

    def disable(self) -> None:
        """Bring the arm to rest, take the power away and set the brakes; return when it is DISABLED."""
        self._state_command("disable")

    def pause(self) -> None:
        """Bring the arm to rest and refuse motions until `resume`; return when it rests."""
        self._state_command("pause")

    def resume(self) -> None:
        """End a pause; return when the arm is ENABLED."""
        self._state_command("resume")

    def unhome(self) -> None:
        """Forget that the arm was homed."""
        self._state_command("unhome")

    def home(self) -> Motion:
        """Find out where the joints are and move to the homing pose."""
        return self._motion("home", EMPTY)

    def stop(self) -> None:
        """Hold, then switch the motors off; needs no lease. Return when the arm is DISABLED.

        This is no emergency stop: that is the button.
        """
        accepted = self._connection.ask("stop", EMPTY, Accepted)
        Motion(self, accepted, "stop").wait(STATE_TIMEOUT)

    # --- motion

    def hold(self) -> Motion:
        """Come to rest and hold; needs no lease."""
        return self._motion("hold", EMPTY)

    def free(self) -> None:
        """Let the arm be moved by hand, its weight compensated; a motion or `hold` ends it."""
        self._connection.ask("free", EMPTY, Accepted, take=self._take)

    def move_jp(self, q: ArrayLike, speed: float = 1.0) -> Motion:
        """Move to a joint position on a straight line in joint space, and stop there.

        Args:
            q: Goal, one entry per axis, rad or m.
            speed: Part of the joints' limits, in ]0, 1].

        Raises:
            CommandRefused: With code, cause and remedy, as outside a joint's limits.
            LeaseHeld: Another client commands the arm.
        """
        return self._motion("move_jp", JointGoal(position=_vector(q), speed=speed))

    def move_cp(self, T: ArrayLike, speed: float = 1.0, path_speed: float | None = None) -> Motion:
        """Move the tip to a pose on a straight line, and stop there; the jaw stays.

        Args:
            T: Goal T_base_tip, 4 x 4, m.
            speed: Part of the limits, in ]0, 1].
            path_speed: m/s of the tip at the most; None: as the limits allow.
        """
        return self._motion("move_cp", PoseGoal(pose=_matrix(T), speed=speed, path_speed=path_speed or 0.0))

    def servo_jp(self, q: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream a joint set-point, taken in the next cycle. Does not wait.

        A refusal is raised by the next `servo_*`, `sleep` or other command; `hold` and `stop` go through regardless.

        Args:
            q: One entry per axis, rad or m; near the set-point.
            timeout: s after which the stream counts as silent and the arm holds; 0: as configured.
        """
        self._connection.send("servo_jp", JointGoal(position=_vector(q), timeout=timeout), take=self._take)

    def servo_cp(self, T: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream a tip pose, as `servo_jp`."""
        self._connection.send("servo_cp", PoseGoal(pose=_matrix(T), timeout=timeout), take=self._take)

    # --- the control law

    def set_law_parameters(self, **values: float | ArrayLike) -> None:
        """Change parameters of the control law; return when the cycle has taken them, all in one cycle.

        Args:
            values: By name; those not given stay as they are. `law().parameters` lists them.

        Raises:
            CommandRefused: A name is none of the law's, or a value is not finite or has another size.
        """
        numbers = {name: np.asarray(value, dtype=np.float64).tolist() for name, value in values.items()}
        self._connection.ask("set_law_parameters", LawParameters(values=numbers), Accepted, take=self._take)

    def law(self) -> LawStatus:
        """Return the control law: name, file, parameters as the cycle has them now, time that a call takes."""
        law = self.status().law
        if law is None:
            self._connection.check_daemon()
            raise StaleData(
                f"{self.name} has said nothing of its law yet: its core has not begun. See `trocar status`."
            )
        return law

    # --- queries: the newest sample

    def measured_js(self) -> JointState:
        """Return where the joints are."""
        return self._joint_state("measured_position", "measured_velocity", "measured_effort")

    def setpoint_js(self) -> JointState:
        """Return where the joints shall be at the next cycle; the effort is the feed-forward."""
        return self._joint_state("setpoint_position", "setpoint_velocity", "setpoint_effort")

    def goal_js(self) -> JointState:
        """Return where the present motion ends; velocity and effort are zero."""
        return self._joint_state("goal_position", None, None)

    def measured_cp(self) -> Pose:
        """Return where the tip is."""
        return self._pose("measured_pose")

    def setpoint_cp(self) -> Pose:
        """Return where the tip shall be at the next cycle."""
        return self._pose("setpoint_pose")

    def goal_cp(self) -> Pose:
        """Return where the tip will be when the present motion has ended."""
        return self._pose("goal_pose")

    def operating_state(self) -> OperatingStatus:
        """Return state, homed, busy and the fault."""
        sample = self.sample()
        fault = int(sample["fault"])
        known: Code | int = Code(fault) if fault in Code.__members__.values() else fault
        return OperatingStatus(
            OperatingState(int(sample["state"])), bool(sample["is_homed"]), bool(sample["is_busy"]), known
        )

    def configuration_js(self) -> list[AxisInfo]:
        """Return the axes: name, type and limits."""
        return list(self._daemon.axes)

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

    def status(self) -> Status:
        """Return the daemon's state for people: lease, fault, settings, scheduling, recorder."""
        return self._connection.ask("status", EMPTY, Status, again=True)

    # --- time

    def sleep(self, seconds: float) -> None:
        """Let time pass: the wall clock's, or in lock-step the arm's own."""
        if not self._daemon.lockstep:
            time.sleep(seconds)
            self._connection.check_notice()
            return
        ticks = round(seconds / self._daemon.period)
        if ticks > 0:
            until = int(self.sample()["sequence"]) + ticks
            self._connection.ask("advance", Advance(until=until), Outcome, again=True, patience=math.inf)

    def wait_state(self, *states: OperatingState, timeout: float | None = None) -> OperatingState:
        """Return the state as soon as it is one of some.

        Args:
            states: Those.
            timeout: s of the arm's time; None: for ever.

        Raises:
            CommandTimeout: (a TimeoutError) It was none of them in time.
        """
        outcome = self._wait(Wait(states=_state_set(states), timeout=timeout))
        if outcome.timed_out:
            names = " or ".join(state.name for state in states)
            present = OperatingState(outcome.state).name
            raise CommandTimeout(f"{self.name} was not {names} within {timeout:g} s: it is {present}.")
        return OperatingState(outcome.state)

    # --- inside

    def _wait(self, wait: Wait) -> Outcome:
        return self._connection.ask("wait", wait, Outcome, again=True, patience=math.inf)

    def _motion(self, op: str, args: Empty | JointGoal | PoseGoal) -> Motion:
        return Motion(self, self._connection.ask(op, args, Accepted, take=self._take), op)

    def _state_command(self, op: str) -> None:
        self._motion(op, EMPTY).wait(STATE_TIMEOUT)

    def _joint_state(self, position: str, velocity: str | None, effort: str | None) -> JointState:
        sample, n = self.sample(), self._n
        q, qd, tau = (sample[name][:n].copy() if name else np.zeros(n) for name in (position, velocity, effort))
        return JointState(q, qd, tau, int(sample["t_ns"]) * 1e-9, int(sample["sequence"]))

    def _pose(self, name: str) -> Pose:
        sample = self.sample()
        return Pose(sample[name].copy(), int(sample["t_ns"]) * 1e-9, int(sample["sequence"]))


def _vector(q: ArrayLike) -> list[float]:
    vector = np.asarray(q, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"a joint position of shape {vector.shape} was given: give one number per axis")
    return [float(value) for value in vector]


def _matrix(T: ArrayLike) -> list[list[float]]:
    matrix = np.asarray(T, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"a pose of shape {matrix.shape} was given: give a 4 x 4 homogeneous matrix T_base_tip")
    return [[float(value) for value in row] for row in matrix]


def _state_set(states: Iterable[OperatingState]) -> int:
    return sum({1 << int(state) for state in states})


def _program_name() -> str:
    return Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
