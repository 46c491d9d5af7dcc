"""The jaw of an arm as CRTK has it: one axis that moves on commands of its own, beside the arm's motion."""

from typing import TYPE_CHECKING

from controller.arm_view import JointState
from controller.commands import JointEffort, JointGoal, JointVelocity
from controller.run_dir import AxisInfo

if TYPE_CHECKING:
    from controller.client import Arm, Motion

__all__ = ["Jaw"]


class Jaw:
    """The jaw; `arm.jaw` gives it. Positions are rad, larger is more open; `arm.hold()` stops it too.

    What the commands promise is said at the arm's commands of the same names.
    """

    def __init__(self, arm: "Arm", axis: int) -> None:
        self._arm = arm
        self._axis = axis

    # --- queries

    def measured_js(self) -> JointState:
        """Return where the jaw is: vectors of one entry."""
        return self._own(self._arm.measured_js())

    def setpoint_js(self) -> JointState:
        """Return where the jaw shall be at the next cycle."""
        return self._own(self._arm.setpoint_js())

    def goal_js(self) -> JointState:
        """Return where the jaw's present motion ends."""
        return self._own(self._arm.goal_js())

    def configuration_js(self) -> AxisInfo:
        """Return name, type and limits."""
        return self._arm.configuration_js()[self._axis]

    # --- planned to rest

    def move_jp(self, position: float, speed: float = 1.0) -> "Motion":
        """Open or close the jaw to a position, and stop there."""
        return self._arm._motion("move_jp", JointGoal(position=[float(position)], speed=speed, jaw=True))

    def move_jr(self, change: float, speed: float = 1.0) -> "Motion":
        """Open (above 0) or close the jaw by an angle from its set-point."""
        return self._arm._motion("move_jr", JointGoal(position=[float(change)], speed=speed, jaw=True))

    # --- streams

    def servo_jp(self, position: float, *, timeout: float = 0.0) -> None:
        """Stream a position, taken in the next cycle."""
        self._arm._stream("servo_jp", JointGoal(position=[float(position)], timeout=timeout, jaw=True))

    def servo_jr(self, change: float, *, timeout: float = 0.0) -> None:
        """Stream a change of position."""
        self._arm._stream("servo_jr", JointGoal(position=[float(change)], timeout=timeout, jaw=True))

    def servo_jv(self, velocity: float, *, timeout: float = 0.0) -> None:
        """Stream a velocity, rad/s."""
        self._arm._stream("servo_jv", JointVelocity(velocity=[float(velocity)], timeout=timeout, jaw=True))

    def servo_jf(self, effort: float, *, timeout: float = 0.0) -> None:
        """Stream an effort, N·m: below 0 it grips."""
        self._arm._stream("servo_jf", JointEffort(effort=[float(effort)], timeout=timeout, jaw=True))

    def interpolate_jp(self, position: float, *, timeout: float = 0.0) -> None:
        """Stream a position, slowly; the jaw follows smoothly."""
        self._arm._stream("interpolate_jp", JointGoal(position=[float(position)], timeout=timeout, jaw=True))

    def interpolate_jr(self, change: float, *, timeout: float = 0.0) -> None:
        """Stream a change of position, slowly."""
        self._arm._stream("interpolate_jr", JointGoal(position=[float(change)], timeout=timeout, jaw=True))

    def interpolate_jv(self, velocity: float, *, timeout: float = 0.0) -> None:
        """Stream a velocity, slowly."""
        self._arm._stream("interpolate_jv", JointVelocity(velocity=[float(velocity)], timeout=timeout, jaw=True))

    def interpolate_jf(self, effort: float, *, timeout: float = 0.0) -> None:
        """Stream an effort, slowly."""
        self._arm._stream("interpolate_jf", JointEffort(effort=[float(effort)], timeout=timeout, jaw=True))

    def _own(self, state: JointState) -> JointState:
        one = slice(self._axis, self._axis + 1)
        return JointState(state.position[one], state.velocity[one], state.effort[one], state.t, state.sequence)
