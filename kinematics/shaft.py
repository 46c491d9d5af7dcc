"""A straight shaft through a point: how far it passes from it, and the pose that brings it there.

The shaft is a straight line in the tip's frame: a point on it and its direction, which leads out of the arm. The
trocar is a point in the base's frame. How the arm then moves is `kinematics.remote_center`, with the formulas.
"""

import math

from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.chain import IkStatus
from kinematics.compiled import Array, kernel

__all__ = ["Z_SHAFT", "project", "shaft_distance", "shaft_offset"]

f8, i8 = types.float64, types.int64
VECTOR, MATRIX = f8[::1], f8[:, ::1]

Z_SHAFT = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""The tip's z axis as a shaft: point and direction, in the tip's frame."""

OPPOSITE = 1e-6  # 1 + cosine of the turn to the shaft's direction: nearly half a turn, about no axis in particular


@kernel(f8(MATRIX, VECTOR, VECTOR))
def shaft_distance(T_base_tip: Array, shaft: Array, point: Array) -> float:
    """Return how far a point is from the shaft's line, m: with the trocar, the error of the remote centre.

    Args:
        T_base_tip: (4, 4).
        shaft: A point on the line and its unit direction, in the tip's frame, (6,).
        point: In the base's frame, (3,).
    """
    T = T_base_tip
    x, y, z = point[0] - T[0, 3], point[1] - T[1, 3], point[2] - T[2, 3]
    # In the tip's frame, from the line's point.
    u = T[0, 0] * x + T[1, 0] * y + T[2, 0] * z - shaft[0]
    v = T[0, 1] * x + T[1, 1] * y + T[2, 1] * z - shaft[1]
    w = T[0, 2] * x + T[1, 2] * y + T[2, 2] * z - shaft[2]
    a, b, c = v * shaft[5] - w * shaft[4], w * shaft[3] - u * shaft[5], u * shaft[4] - v * shaft[3]
    return math.sqrt(a * a + b * b + c * c)


@kernel(UniTuple(f8, 3)(VECTOR))
def shaft_offset(shaft: Array) -> tuple[float, float, float]:
    """Return the shaft's point nearest to the tip's origin."""
    foot = shaft[0] * shaft[3] + shaft[1] * shaft[4] + shaft[2] * shaft[5]
    return shaft[0] - foot * shaft[3], shaft[1] - foot * shaft[4], shaft[2] - foot * shaft[5]


@kernel(i8(VECTOR, VECTOR, f8, MATRIX, MATRIX))
def project(shaft: Array, trocar: Array, depth_min: float, T: Array, T_through: Array) -> int:
    """Write the pose with T's tip position whose shaft passes the trocar, its rotation the nearest to T's.

    Args:
        shaft: Point and unit direction in the tip's frame, (6,).
        trocar: In the base's frame, (3,), m.
        depth_min: Least depth beyond the trocar, m.
        T: T_base_tip wanted, (4, 4).
        T_through: Out: (4, 4); may be T.

    Returns:
        IkStatus: SOLVED; or, and then T is copied: TOO_SHALLOW, the tip would be less than depth_min beyond the
        trocar; SINGULAR, the shaft points the opposite way, so that no roll is nearest.
    """
    n0, n1, n2 = shaft[3], shaft[4], shaft[5]
    a0, a1, a2 = shaft_offset(shaft)
    gx, gy, gz = trocar[0] - T[0, 3], trocar[1] - T[1, 3], trocar[2] - T[2, 3]
    for i in range(4):
        for j in range(4):
            T_through[i, j] = T[i, j]
    L2 = gx * gx + gy * gy + gz * gz
    h2 = L2 - (a0 * a0 + a1 * a1 + a2 * a2)
    if not (h2 > 0.0 and h2 >= depth_min * depth_min):
        return IkStatus.TOO_SHALLOW
    h, per_L = math.sqrt(h2), 1.0 / math.sqrt(L2)
    v0, v1, v2 = (a0 - h * n0) * per_L, (a1 - h * n1) * per_L, (a2 - h * n2) * per_L
    gx, gy, gz = gx * per_L, gy * per_L, gz * per_L
    ux, uy, uz = (
        T[0, 0] * v0 + T[0, 1] * v1 + T[0, 2] * v2,
        T[1, 0] * v0 + T[1, 1] * v1 + T[1, 2] * v2,
        T[2, 0] * v0 + T[2, 1] * v1 + T[2, 2] * v2,
    )
    # The smallest turn from u to g: I + [w] + [w]² / (1 + u·g), w = u × g.
    wx, wy, wz = uy * gz - uz * gy, uz * gx - ux * gz, ux * gy - uy * gx
    one_plus = 1.0 + ux * gx + uy * gy + uz * gz
    if one_plus < OPPOSITE:
        return IkStatus.SINGULAR
    k = 1.0 / one_plus
    for j in range(3):
        x, y, z = T_through[0, j], T_through[1, j], T_through[2, j]
        dx, dy, dz = wy * z - wz * y, wz * x - wx * z, wx * y - wy * x
        T_through[0, j] = x + dx + k * (wy * dz - wz * dy)
        T_through[1, j] = y + dy + k * (wz * dx - wx * dz)
        T_through[2, j] = z + dz + k * (wx * dy - wy * dx)
    return IkStatus.SOLVED
