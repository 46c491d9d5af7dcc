"""Inverse kinematics of any chain with the signature INVERSE, for wherever a closed form would be plugged in.

`kinematics.inverse.track` takes the arm's forward kernels as parts. Here they come by way of the arm's record, into
which `bind_parts` writes where they are in this process.
"""

import math

from kinematics.chain import FORWARD, FORWARD_JACOBIAN, INVERSE, IkStatus
from kinematics.compiled import Array, Part, kernel
from kinematics.frames import is_pose
from kinematics.inverse import FORWARD_JACOBIAN_PART, FORWARD_PART, POSE_TOLERANCE, IkTask, track
from kinematics.parts import part_address, part_at
from kinematics.shaft import project
from kinematics.stack import stack_matrix

__all__ = ["bind_parts", "inverse"]

POSE = int(IkTask.POSE)


def bind_parts(arm: Array, forward: Part, forward_jacobian: Part) -> None:
    """Write into an arm's record where its kernels are; valid in this process, as long as they live.

    Args:
        arm: The record, (1,), dtype ARM.
        forward: Part, FORWARD.
        forward_jacobian: Part, FORWARD_JACOBIAN.
    """
    arm[0]["parts"][:3] = part_address(forward, FORWARD)
    arm[0]["parts"][3:] = part_address(forward_jacobian, FORWARD_JACOBIAN)


@kernel(INVERSE)
def inverse(arm: Array, T: Array, q_near: Array, q: Array) -> int:
    """Write the joints near q_near that bring the tip to T, inside their limits; return an IkStatus.

    With `through` set in the record, the shaft is to pass the remote centre: T's position is reached, its rotation only
    as near as that allows (`kinematics.shaft.project`).

    A search by descent: from far away it may end in NOT_CONVERGED where there is a solution, and whoever follows a path
    checks the step. q may be q_near.

    Args:
        arm: The record, (1,), dtype ARM, after `bind_parts`; without, NOT_CONVERGED.
        T: T_base_tip, (4, 4).
        q_near: Positions, (8,), rad and m.
        q: Out: (8,); q_near's where it is not SOLVED.
    """
    if arm[0].parts[0] == 0 or arm[0].parts[3] == 0:
        return IkStatus.NOT_CONVERGED
    n0, n1, n2, n3 = q_near[0], q_near[1], q_near[2], q_near[3]
    n4, n5, n6, n7 = q_near[4], q_near[5], q_near[6], q_near[7]
    T_goal = stack_matrix(4, 4)
    for i in range(4):
        for j in range(4):
            T_goal[i, j] = T[i, j]
    if arm[0].through:
        if not is_pose(T, POSE_TOLERANCE):
            return IkStatus.NOT_A_POSE
        status = project(arm[0].shaft[:], arm[0].remote_center[:], arm[0].depth_min, T_goal, T_goal)
        if status != IkStatus.SOLVED:
            q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7] = n0, n1, n2, n3, n4, n5, n6, n7
            return int(status)
    forward = part_at(arm[0].parts[0:3], FORWARD_PART)
    forward_jacobian = part_at(arm[0].parts[3:6], FORWARD_JACOBIAN_PART)
    status = track(forward, forward_jacobian, arm, POSE, math.inf, 0.0, T_goal, q_near, q)
    if status != IkStatus.SOLVED:
        q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7] = n0, n1, n2, n3, n4, n5, n6, n7
    return int(status)
