"""The kernels that serve an arm: forward kinematics written out for its geometry, and its family's inverse."""

from typing import NamedTuple

from kinematics.compiled import Array, Part
from kinematics.description import ArmDescription, Family
from kinematics.generated import generated_kernels

__all__ = ["ArmKernels", "bound_record", "kernels_of"]


class ArmKernels(NamedTuple):
    """What computes an arm, to be plugged into compiled code; signatures in `kinematics.chain` and `.closed_form`."""

    forward: Part
    """FORWARD: (arm, q, T)."""
    jacobian: Part
    """JACOBIAN: (arm, q, J)."""
    forward_jacobian: Part
    """FORWARD_JACOBIAN: (arm, q, T, J)."""
    inverse: Part
    """INVERSE: (arm, T, q_near, q) -> IkStatus: the closed form or a search; takes the record of `bound_record`."""
    motion_inverse: Part
    """INVERSE, as motions of the tip use it: of an arm with fewer than six joints, for the nearest pose it can meet."""
    branches: Part | None
    """BRANCHES: (arm, T, Q) -> how many. None where the arm's family has no closed form."""


def kernels_of(description: ArmDescription) -> ArmKernels:
    """Return the kernels of an arm."""
    own = generated_kernels(description)
    family = Family(int(description.record[0]["family"]))
    # Imported here: a family's kernels take time to load, or on the first use to compile, and an arm is of one family.
    if family == Family.PSM:
        from kinematics import psm

        return ArmKernels(*own, psm.inverse, psm.inverse, psm.branches)
    if family == Family.ECM:
        from kinematics import ecm

        return ArmKernels(*own, ecm.inverse, ecm.inverse_nearest, ecm.branches)
    if family == Family.MTM:
        from kinematics import mtm

        return ArmKernels(*own, mtm.inverse, mtm.inverse, mtm.branches)
    if family == Family.RAVEN:
        from kinematics import raven

        return ArmKernels(*own, raven.inverse, raven.inverse, raven.branches)
    from kinematics import bound_inverse

    return ArmKernels(*own, bound_inverse.inverse, bound_inverse.inverse, None)


def bound_record(description: ArmDescription) -> Array:
    """Return an arm's record, (1,), dtype ARM, that every kernel of `kernels_of` can use in this process."""
    arm = description.record
    if arm[0]["family"] == Family.NONE:
        from kinematics.bound_inverse import bind_parts

        own = generated_kernels(description)
        bind_parts(arm, own.forward, own.forward_jacobian)
    return arm
