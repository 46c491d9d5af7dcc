"""The client: command an arm and look at it, from a script or a notebook.

    from controller.client import Arm

    with Arm("PSM1") as arm:
        arm.enable()
        arm.home().wait()
        q = arm.measured_js().position
        q[2] += 0.02
        arm.move_jp(q).wait()

Commands go to the gateway; what is measured is read from the sample ring in shared memory, so a query costs
microseconds and never waits. Positions are rad or m with one entry per axis, the jaw last; poses are T_base_tip, and
relative poses, twists and wrenches are in the axes of the base unless the tip's are asked for.
"""

import math
import sys
import time
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from controller.arguments import checked_matrices, checked_matrix, checked_six, checked_vector
from controller.arm_view import ArmView, JointState, OperatingStatus, PeriodStatistics, Pose, Twist, Wrench
from controller.commands import (
    Accepted,
    Advance,
    Empty,
    FrameName,
    JointEffort,
    JointGoal,
    JointVelocity,
    LawParameters,
    Outcome,
    PoseGoal,
    RemoteCenter,
    SpeedRatio,
    Status,
    Wait,
)
from controller.commands import Twist as TwistArguments
from controller.commands import Wrench as WrenchArguments
from controller.connection import Connection
from controller.errors import ArmFault, CommandTimeout, NoJaw, Preempted
from controller.figures import describe_figures
from controller.jaw import Jaw
from controller.mailbox import MAX_VIA
from controller.run_dir import find_daemon
from telemetry.ring_file import open_ring
from telemetry.sample import SAMPLE, MotionStatus, OperatingState

__all__ = [
    "Arm",
    "Jaw",
    "JointState",
    "Motion",
    "OperatingStatus",
    "PeriodStatistics",
    "Pose",
    "Twist",
    "Wrench",
]

STATE_TIMEOUT = 15.0  # s of the arm's time for enable and the like
BLEND = 0.005  # m
EMPTY = Empty()


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
            raise ArmFault(outcome.code, f"{self._figures(outcome)}It ended {self._name} (command {self.id}).")

    def _figures(self, outcome: Outcome) -> str:
        axes = self._arm.configuration_js()
        names, kinds = [axis.name for axis in axes], [axis.type for axis in axes]
        figures = describe_figures(outcome.code, outcome.axis, outcome.value, outcome.bound, names, kinds)
        return f"{figures[0].upper()}{figures[1:]}. " if figures else ""

    def _ask(self, timeout: float | None) -> Outcome | None:
        if self._outcome is None:
            outcome = self._arm._wait(Wait(id=self.id, timeout=timeout))
            self._outcome = None if outcome.timed_out else outcome
        return self._outcome


class Arm(ArmView):
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
        self._run_dir, daemon = find_daemon(name)
        ring = open_ring(self._run_dir.samples, SAMPLE)
        connection = Connection(self._run_dir, daemon, client_name or _program_name())
        super().__init__(daemon, ring, connection)
        self._take = take
        self._finalizer = weakref.finalize(self, Connection.close, connection)
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

    def set_speed_ratio(self, ratio: float) -> None:
        """Let moves and interpolated streams use a part of the limits, ]0, 1]; a motion under way is planned anew.

        It multiplies the `speed` of a move, and stays until it is set again, whoever commands the arm.
        """
        self._connection.ask("set_speed_ratio", SpeedRatio(ratio=ratio), Accepted, take=self._take)

    @property
    def jaw(self) -> Jaw:
        """The jaw, which moves on commands of its own beside the arm's.

        Raises:
            NoJaw: (an AttributeError) This arm has none.
        """
        if self._n == self._daemon.n_joints:
            names = ", ".join(axis.name for axis in self._daemon.axes)
            raise NoJaw(f"{self.name} has no jaw: all of its axes ({names}) move the tip.")
        return Jaw(self, self._daemon.n_joints)

    # --- moves: planned to rest; they return when the motion is accepted

    def move_jp(self, q: ArrayLike, speed: float = 1.0) -> Motion:
        """Move to a joint position and stop there: the fastest motion within the joints' limits, all ending together.

        It begins at once from whatever the arm does: position, velocity and acceleration go on without a step.

        Args:
            q: Goal, rad or m: one entry per axis, or without the jaw, which then goes on by itself.
            speed: Part of the joints' limits, in ]0, 1].

        Raises:
            CommandRefused: With code, cause and remedy, as outside a joint's limits.
            LeaseHeld: Another client commands the arm.
        """
        return self._motion("move_jp", JointGoal(position=checked_vector(q), speed=speed))

    def move_jr(self, dq: ArrayLike, speed: float = 1.0) -> Motion:
        """Move by some joint angles or lengths from the present set-point, and stop there."""
        return self._motion("move_jr", JointGoal(position=checked_vector(dq), speed=speed))

    def move_cp(
        self,
        T: ArrayLike,
        speed: float = 1.0,
        path_speed: float | None = None,
        *,
        via: Sequence[ArrayLike] = (),
        blend: float = BLEND,
        jaw: float | None = None,
    ) -> Motion:
        """Move the tip to a pose on a straight line, and stop there.

        Args:
            T: Goal T_base_tip, 4 x 4, m.
            speed: Part of the limits of the tip and of the joints, in ]0, 1].
            path_speed: m/s of the tip at the most; None: as the limits allow.
            via: At most 15 poses on the way. The tip goes straight from one to the next and rounds the corners.
            blend: m. How far from such a corner the tip may stay.
            jaw: rad. Where the jaw runs to along the path; None: it goes on by itself.
        """
        goal = PoseGoal(
            pose=checked_matrix(T),
            speed=speed,
            path_speed=path_speed or 0.0,
            via=checked_matrices(via, MAX_VIA),
            blend=blend,
            jaw=jaw,
        )
        return self._motion("move_cp", goal)

    def move_cr(
        self,
        T: ArrayLike,
        speed: float = 1.0,
        path_speed: float | None = None,
        *,
        frame: FrameName = "base",
        jaw: float | None = None,
    ) -> Motion:
        """Move the tip by a pose from the present set-point, on a straight line.

        Args:
            T: 4 x 4. In the frame "base" its translation is added and its rotation turns the tip about the base's axes;
                in the frame "tip" it is T_tip_goal.
            speed: As for `move_cp`.
            path_speed: Likewise.
            frame: Which of the two.
            jaw: As for `move_cp`.
        """
        pose, along = checked_matrix(T), path_speed or 0.0
        return self._motion("move_cr", PoseGoal(pose=pose, speed=speed, path_speed=along, frame=frame, jaw=jaw))

    # --- servo: streams, taken in the next cycle as they are

    def servo_jp(self, q: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream a joint set-point, taken in the next cycle. Does not wait.

        A refusal is raised by the next stream command, `sleep` or other command; `hold` and `stop` go through
        regardless.

        Args:
            q: rad or m, near the set-point: one entry per axis, or without the jaw, which then goes on by itself.
            timeout: s after which the stream counts as silent and the arm holds; 0: as configured.
        """
        self._stream("servo_jp", JointGoal(position=checked_vector(q), timeout=timeout))

    def servo_jr(self, dq: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream changes of the joints, from the set-point or from the same stream's newest target."""
        self._stream("servo_jr", JointGoal(position=checked_vector(dq), timeout=timeout))

    def servo_jv(self, qd: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream joint velocities, rad/s or m/s, approached at the joints' acceleration.

        Above the limits all are scaled down alike. A joint slows down before its limit and stops on it.
        """
        self._stream("servo_jv", JointVelocity(velocity=checked_vector(qd, "a joint velocity"), timeout=timeout))

    def servo_jf(self, effort: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream joint efforts, N·m or N, on top of the weight's compensation; clamped to the limits.

        The set-point follows the measured joints. An effort fades as a joint reaches its velocity limit or nears its
        position limit, from which it is kept 2 % of its range away.
        """
        self._stream("servo_jf", JointEffort(effort=checked_vector(effort, "a joint effort"), timeout=timeout))

    def servo_cp(self, T: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream a tip pose, as `servo_jp`."""
        self._stream("servo_cp", PoseGoal(pose=checked_matrix(T), timeout=timeout))

    def servo_cr(self, T: ArrayLike, *, frame: FrameName = "base", timeout: float = 0.0) -> None:
        """Stream changes of the tip's pose; frames as for `move_cr`."""
        self._stream("servo_cr", PoseGoal(pose=checked_matrix(T), frame=frame, timeout=timeout))

    def servo_cv(self, twist: ArrayLike, *, frame: FrameName = "base", timeout: float = 0.0) -> None:
        """Stream a twist of the tip, [linear, angular], m/s and rad/s, in the axes of the base or of the tip."""
        args = TwistArguments(twist=checked_six(twist, "a twist"), frame=frame, timeout=timeout)
        self._stream("servo_cv", args)

    def servo_cf(self, wrench: ArrayLike, *, frame: FrameName = "base", timeout: float = 0.0) -> None:
        """Stream a wrench for the tip to exert, [force, moment], N and N·m; as `servo_jf`."""
        args = WrenchArguments(wrench=checked_six(wrench, "a wrench"), frame=frame, timeout=timeout)
        self._stream("servo_cf", args)

    # --- interpolate: slow streams, which the arm follows smoothly

    def interpolate_jp(self, q: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream joint positions, 4 to 200 a second, that the arm follows within its limits of velocity to jerk.

        It passes each target at the stream's own velocity; when the stream stops, the arm returns to the last target.
        """
        self._stream("interpolate_jp", JointGoal(position=checked_vector(q), timeout=timeout))

    def interpolate_jr(self, dq: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream changes of the joints, slowly; from the newest target."""
        self._stream("interpolate_jr", JointGoal(position=checked_vector(dq), timeout=timeout))

    def interpolate_jv(self, qd: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream joint velocities, slowly: each is approached within the limits of acceleration and jerk."""
        self._stream("interpolate_jv", JointVelocity(velocity=checked_vector(qd, "a joint velocity"), timeout=timeout))

    def interpolate_jf(self, effort: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream joint efforts, slowly: each rises to its limit in 0.1 s at the fastest."""
        self._stream("interpolate_jf", JointEffort(effort=checked_vector(effort, "a joint effort"), timeout=timeout))

    def interpolate_cp(self, T: ArrayLike, *, timeout: float = 0.0) -> None:
        """Stream tip poses, slowly; between them the joints move smoothly, the tip nearly straight."""
        self._stream("interpolate_cp", PoseGoal(pose=checked_matrix(T), timeout=timeout))

    def interpolate_cr(self, T: ArrayLike, *, frame: FrameName = "base", timeout: float = 0.0) -> None:
        """Stream changes of the tip's pose, slowly; frames as for `move_cr`."""
        self._stream("interpolate_cr", PoseGoal(pose=checked_matrix(T), frame=frame, timeout=timeout))

    def interpolate_cv(self, twist: ArrayLike, *, frame: FrameName = "base", timeout: float = 0.0) -> None:
        """Stream twists of the tip, slowly: the joints approach each within their acceleration and jerk."""
        args = TwistArguments(twist=checked_six(twist, "a twist"), frame=frame, timeout=timeout)
        self._stream("interpolate_cv", args)

    def interpolate_cf(self, wrench: ArrayLike, *, frame: FrameName = "base", timeout: float = 0.0) -> None:
        """Stream wrenches for the tip to exert, slowly."""
        args = WrenchArguments(wrench=checked_six(wrench, "a wrench"), frame=frame, timeout=timeout)
        self._stream("interpolate_cf", args)

    # --- the remote centre

    def set_remote_center(self, point: ArrayLike | None) -> None:
        """Hold the shaft in a point from now on, while the tip goes where it is told.

        For arms whose mechanics keep none. The point may be moved slowly by further calls. The arm then takes
        `move_cp`, `move_cr`, `servo_cp` and `servo_cr`, of whose poses it keeps the position, and the rotation as
        nearly as the shaft allows.

        Args:
            point: In the base frame, (3,), m; None: release it.

        Raises:
            CommandRefused: The arm keeps a remote centre by its mechanics, or it moves.
        """
        given = None if point is None else checked_vector(point, "a point")
        self._motion("set_remote_center", RemoteCenter(point=given)).wait(STATE_TIMEOUT)

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

    # --- the daemon

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

    def _motion(self, op: str, args: msgspec.Struct) -> Motion:
        return Motion(self, self._connection.ask(op, args, Accepted, take=self._take), op)

    def _stream(self, op: str, args: msgspec.Struct) -> None:
        self._connection.send(op, args, take=self._take)

    def _state_command(self, op: str) -> None:
        self._motion(op, EMPTY).wait(STATE_TIMEOUT)


def _state_set(states: Iterable[OperatingState]) -> int:
    return sum({1 << int(state) for state in states})


def _program_name() -> str:
    return Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
