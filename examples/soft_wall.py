"""A control law of one's own: a horizontal wall that the tip of the instrument does not pass, however it is pushed.

Try it without an arm:  trocar law check examples/soft_wall.py:soft_wall
Run it:                 trocar up examples/soft_wall.toml, then in another terminal trocar enable, trocar home
Harder, while it runs:  trocar law set stiffness=2000
"""

from typing import NamedTuple

from kinematics.chain import jacobian
from kinematics.stack import stack_matrix


class SoftWall(NamedTuple):
    """Parameters, with what they are where the configuration says nothing."""

    height: float = -0.130  # m, of the wall in the base frame; the tip stays above
    stiffness: float = 800.0  # N/m
    damping: float = 30.0  # N·s/m


def soft_wall(arm, p: SoftWall, memory, sample, command):
    depth = p.height - sample.measured_pose[2, 3]
    if depth <= 0.0:
        return  # the command is joint PD's, as it came
    J = stack_matrix(6, 8)  # on the stack: nothing is allocated
    jacobian(arm, sample.measured_position[:], J)
    n = arm[0].n_joints
    speed = 0.0
    for i in range(n):
        speed += J[2, i] * sample.measured_velocity[i]
    force = push(p.stiffness * depth - p.damping * speed)
    for i in range(n):
        command.effort[i] += J[2, i] * force


def push(force):
    """Return the force of a wall, which pushes and never pulls."""
    return max(force, 0.0)
