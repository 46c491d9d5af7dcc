"""The kernels that serve an arm: forward kinematics written out for its geometry, and its family's inverse."""

from typing import NamedTuple

from kinematics.compiled import Part
from kinematics.description import ArmDescription, Family
from kinematics.generated import generated_kernels

__all__ = ["ArmKernels", "kernels_of"]


class ArmKernels(NamedTuple):
    """What computes an arm, to be plugged into compiled code; signatures in `kinematics.chain` and `.closed_form`."""

    forward: Part
    """FORWARD: (arm, q, T)."""
    jacobian: Part
    """JACOBIAN: (arm, q, J)."""
    forward_jacobian: Part
    """FORWARD_JACOBIAN: (arm, q, T, J)."""
    inverse: Part | None
    """INVERSE: (arm, T, q_near, q) -> IkStatus. None where the arm's family has no closed form."""
    branches: Part | None
    """BRANCHES: (arm, T, Q) -> how many. None where the arm's family has no closed form."""


def kernels_of(description: ArmDescription) -> ArmKernels:
    """Return the kernels of an arm."""
    own = generated_kernels(description)
    family = Family(int(description.record[0]["family"]))
    # Imported here: a family's kernels take time to load, or on the first use to compile, and an arm is of one family.
    if family == Family.PSM:
        from kinematics import psm

        return ArmKernels(*own, psm.inverse, psm.branches)
    if family == Family.ECM:
        from kinematics import ecm

        return ArmKernels(*own, ecm.inverse, ecm.branches)
    if family == Family.MTM:
        from kinematics import mtm

        return ArmKernels(*own, mtm.inverse, mtm.branches)
    if family == Family.RAVEN:
        from kinematics import raven

        return ArmKernels(*own, raven.inverse, raven.branches)
    return ArmKernels(*own, None, None)
