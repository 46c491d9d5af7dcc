"""The families of arms that have an inverse kinematics in closed form, and the geometry that each of them takes.

An arm that says it is of a family and differs from its geometry would be answered wrongly: it is refused.
"""

import math
from enum import IntEnum
from typing import NamedTuple

__all__ = ["FAMILIES", "Family", "Geometry"]


class Family(IntEnum):
    """Which closed form of the inverse kinematics fits."""

    NONE = 0
    PSM = 1
    ECM = 2
    MTM = 3
    RAVEN = 4


Row = tuple[float | None, ...]  # None: any value


class Geometry(NamedTuple):
    """What the DH rows of a family's arms have in common; one entry per joint, None where any value serves."""

    convention: str
    prismatic: tuple[bool, ...]
    alpha: Row
    a: Row
    theta: Row
    d: Row
    tip_on_last_axis: bool = False
    """Whether the tip's origin must be on the last joint's axis."""


_H = math.pi / 2
_RCM_TYPES = (False, False, True, False, False, False)

FAMILIES = {
    Family.PSM: Geometry(
        convention="modified",
        prismatic=_RCM_TYPES,
        alpha=(_H, -_H, _H, 0.0, -_H, -_H),
        a=(0.0, 0.0, 0.0, 0.0, 0.0, None),
        theta=(0.0,) * 6,
        d=(0.0, 0.0, None, None, 0.0, 0.0),
    ),
    Family.ECM: Geometry(
        convention="modified",
        prismatic=_RCM_TYPES[:4],
        alpha=(_H, -_H, _H, 0.0),
        a=(0.0,) * 4,
        theta=(0.0,) * 4,
        d=(0.0, 0.0, None, None),
        tip_on_last_axis=True,
    ),
    Family.MTM: Geometry(
        convention="standard",
        prismatic=(False,) * 7,
        alpha=(_H, 0.0, -_H, _H, -_H, _H, 0.0),
        a=(0.0, None, None, 0.0, 0.0, 0.0, 0.0),
        theta=(0.0,) * 7,
        d=(0.0, 0.0, 0.0, None, 0.0, 0.0, 0.0),
    ),
    Family.RAVEN: Geometry(
        convention="modified",
        prismatic=_RCM_TYPES,
        alpha=(None, None, None, 0.0, _H, _H),
        a=(0.0, 0.0, 0.0, 0.0, 0.0, None),
        theta=(0.0, 0.0, None, 0.0, 0.0, 0.0),
        d=(0.0, 0.0, None, None, 0.0, 0.0),
    ),
}
