"""Rotations and poses: small kernels that allocate nothing.

A rotation argument `R` may be a (3, 3) matrix or a whole (4, 4) pose: only the upper left 3 x 3 block is read or
written. Quaternions are (w, x, y, z) with w >= 0; rotation vectors are axis times angle, rad, angle in [0, pi].
"""

import math
from typing import Any

import numpy as np
from numba.core import types
from numba.core.types.containers import UniTuple

from kinematics.compiled import kernel

__all__ = [
    "compose",
    "invert_pose",
    "is_pose",
    "is_rotation",
    "orthonormalise",
    "quaternion_from_rotation",
    "rotation_from_vector",
    "vector_from_rotation",
]

Array = np.ndarray[Any, Any]
f8 = types.float64
VECTOR = f8[::1]
MATRIX = f8[:, ::1]

ORTHONORMAL_STEPS = 30  # Newton doubles the digits each step near the end; far away it halves the singular values


@kernel(types.void(VECTOR, MATRIX))
def rotation_from_vector(v: Array, R: Array) -> None:
    """Write R = exp([v]x), Rodrigues' formula in the form that loses no digits at small angles.

    Args:
        v: Rotation vector, (3,), rad.
        R: Out: the rotation.
    """
    x, y, z = v[0], v[1], v[2]
    angle = math.sqrt(x * x + y * y + z * z)
    a, b = 1.0, 0.5  # sin(angle) / angle and (1 - cos(angle)) / angle²
    if angle > 0.0:
        half = math.sin(0.5 * angle) / (0.5 * angle)
        a = math.sin(angle) / angle
        b = 0.5 * half * half
    R[0, 0] = 1.0 - b * (y * y + z * z)
    R[0, 1] = b * x * y - a * z
    R[0, 2] = b * x * z + a * y
    R[1, 0] = b * x * y + a * z
    R[1, 1] = 1.0 - b * (x * x + z * z)
    R[1, 2] = b * y * z - a * x
    R[2, 0] = b * x * z - a * y
    R[2, 1] = b * y * z + a * x
    R[2, 2] = 1.0 - b * (x * x + y * y)


@kernel(UniTuple(f8, 4)(MATRIX))
def _quaternion(R: Array) -> tuple[float, float, float, float]:
    # Shepperd, J. Guidance and Control 1(3), 1978: divide by the largest component, so every angle is exact.
    trace = R[0, 0] + R[1, 1] + R[2, 2]
    if trace >= R[0, 0] and trace >= R[1, 1] and trace >= R[2, 2]:
        w = 1.0 + trace
        x = R[2, 1] - R[1, 2]
        y = R[0, 2] - R[2, 0]
        z = R[1, 0] - R[0, 1]
    elif R[0, 0] >= R[1, 1] and R[0, 0] >= R[2, 2]:
        w = R[2, 1] - R[1, 2]
        x = 1.0 + R[0, 0] - R[1, 1] - R[2, 2]
        y = R[1, 0] + R[0, 1]
        z = R[0, 2] + R[2, 0]
    elif R[1, 1] >= R[2, 2]:
        w = R[0, 2] - R[2, 0]
        x = R[1, 0] + R[0, 1]
        y = 1.0 - R[0, 0] + R[1, 1] - R[2, 2]
        z = R[2, 1] + R[1, 2]
    else:
        w = R[1, 0] - R[0, 1]
        x = R[0, 2] + R[2, 0]
        y = R[2, 1] + R[1, 2]
        z = 1.0 - R[0, 0] - R[1, 1] + R[2, 2]
    scale = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    if w < 0.0:
        scale = -scale
    return w * scale, x * scale, y * scale, z * scale


@kernel(types.void(MATRIX, VECTOR))
def quaternion_from_rotation(R: Array, quaternion: Array) -> None:
    """Write the unit quaternion (w, x, y, z), w >= 0, of a rotation into `quaternion`, (4,)."""
    quaternion[0], quaternion[1], quaternion[2], quaternion[3] = _quaternion(R)


@kernel(types.void(MATRIX, VECTOR))
def vector_from_rotation(R: Array, v: Array) -> None:
    """Write the rotation vector of a rotation into `v`, (3,): axis times angle, angle in [0, pi].

    It goes by way of the quaternion, which has all digits near 0 and near pi alike (the trace has neither). At pi
    exactly, the axis and its opposite are equally right; one of them is written.
    """
    w, x, y, z = _quaternion(R)
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0
    if sine > 0.0:
        scale = 2.0 * math.atan2(sine, w) / sine
    v[0], v[1], v[2] = scale * x, scale * y, scale * z


@kernel(types.boolean(f8, f8, f8, f8, f8, f8, f8, f8, f8, f8))
def is_rotation(
    xx: float,
    xy: float,
    xz: float,
    yx: float,
    yy: float,
    yz: float,
    zx: float,
    zy: float,
    zz: float,
    tolerance: float,
) -> bool:
    """Return whether three columns x, y, z are orthonormal within `tolerance` and right-handed; nan is not."""
    return (
        abs(xx * xx + xy * xy + xz * xz - 1.0) <= tolerance
        and abs(yx * yx + yy * yy + yz * yz - 1.0) <= tolerance
        and abs(zx * zx + zy * zy + zz * zz - 1.0) <= tolerance
        and abs(xx * yx + xy * yy + xz * yz) <= tolerance
        and abs(yx * zx + yy * zy + yz * zz) <= tolerance
        and abs(zx * xx + zy * xy + zz * xz) <= tolerance
        and (xy * yz - xz * yy) * zx + (xz * yx - xx * yz) * zy + (xx * yy - xy * yx) * zz > 0.0
    )


@kernel(types.boolean(MATRIX, f8))
def is_pose(T: Array, tolerance: float) -> bool:
    """Return whether T, (4, 4), is finite and a rigid pose.

    Each entry of R'R - I and of the last row's difference from 0 0 0 1 may be `tolerance` at most; a reflection is no
    pose. Comparisons are written so that nan fails them.
    """
    return (
        is_rotation(T[0, 0], T[1, 0], T[2, 0], T[0, 1], T[1, 1], T[2, 1], T[0, 2], T[1, 2], T[2, 2], tolerance)
        and abs(T[3, 0]) <= tolerance
        and abs(T[3, 1]) <= tolerance
        and abs(T[3, 2]) <= tolerance
        and abs(T[3, 3] - 1.0) <= tolerance
        and math.isfinite(T[0, 3] + T[1, 3] + T[2, 3])
    )


@kernel(types.boolean(MATRIX))
def orthonormalise(R: Array) -> bool:
    """Replace R by the nearest rotation (in the Frobenius norm) and return True.

    Newton's iteration for the polar factor, R <- (R + R^-T) / 2 (Higham, SIAM J. Sci. Stat. Comput. 7(4), 1986).
    A matrix that is not finite, singular or a reflection is left as it is: False.
    """
    a, b, c = R[0, 0], R[0, 1], R[0, 2]
    d, e, f = R[1, 0], R[1, 1], R[1, 2]
    g, h, k = R[2, 0], R[2, 1], R[2, 2]
    change = math.inf
    for _ in range(ORTHONORMAL_STEPS):
        A, B, C = e * k - f * h, f * g - d * k, d * h - e * g  # cofactors
        determinant = a * A + b * B + c * C
        if not determinant > 0.0 or not math.isfinite(determinant):
            return False
        s = 0.5 / determinant
        D, E, F = c * h - b * k, a * k - c * g, b * g - a * h
        G, H, K = b * f - c * e, c * d - a * f, a * e - b * d
        a2, b2, c2 = 0.5 * a + s * A, 0.5 * b + s * B, 0.5 * c + s * C
        d2, e2, f2 = 0.5 * d + s * D, 0.5 * e + s * E, 0.5 * f + s * F
        g2, h2, k2 = 0.5 * g + s * G, 0.5 * h + s * H, 0.5 * k + s * K
        change = abs(a2 - a) + abs(b2 - b) + abs(c2 - c) + abs(d2 - d) + abs(e2 - e) + abs(f2 - f)
        change += abs(g2 - g) + abs(h2 - h) + abs(k2 - k)
        a, b, c, d, e, f, g, h, k = a2, b2, c2, d2, e2, f2, g2, h2, k2
        if change < 1e-14:
            break
    if not change < 1e-9:
        return False
    R[0, 0], R[0, 1], R[0, 2] = a, b, c
    R[1, 0], R[1, 1], R[1, 2] = d, e, f
    R[2, 0], R[2, 1], R[2, 2] = g, h, k
    return True


@kernel(types.void(MATRIX, MATRIX))
def invert_pose(T_a_b: Array, T_b_a: Array) -> None:
    """Write the inverse of a rigid pose; the two must not be the same array. Both (4, 4)."""
    for i in range(3):
        for j in range(3):
            T_b_a[i, j] = T_a_b[j, i]
        T_b_a[i, 3] = -(T_a_b[0, i] * T_a_b[0, 3] + T_a_b[1, i] * T_a_b[1, 3] + T_a_b[2, i] * T_a_b[2, 3])
        T_b_a[3, i] = 0.0
    T_b_a[3, 3] = 1.0


@kernel(types.void(MATRIX, MATRIX, MATRIX))
def compose(T_a_b: Array, T_b_c: Array, T_a_c: Array) -> None:
    """Write T_a_c = T_a_b T_b_c, all (4, 4) poses; the result must be neither of the factors' arrays."""
    for i in range(3):
        for j in range(4):
            T_a_c[i, j] = T_a_b[i, 0] * T_b_c[0, j] + T_a_b[i, 1] * T_b_c[1, j] + T_a_b[i, 2] * T_b_c[2, j]
        T_a_c[i, 3] += T_a_b[i, 3]
        T_a_c[3, i] = 0.0
    T_a_c[3, 3] = 1.0
