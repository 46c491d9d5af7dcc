"""Damped least squares for a task of six rows, unrolled: the linear algebra of the numerical inverse kinematics.

    step = Jᵀ (J Jᵀ + λ² I)⁻¹ e      (Wampler, IEEE Trans. SMC 16(1), 1986; Nakamura and Hanafusa, ASME JDSMC 108, 1986)

The 6 x 6 matrix is factored into L D Lᵀ, without square roots. A factor serves again for another right-hand side, at
a fraction of the cost of a new one. Any number of joints will do: columns of zeros take no part, and with fewer than
six joints λ keeps the matrix invertible while Jᵀ drops what no joint can do.

Triangles and twists are tuples of numbers, which live in registers; triangles are lower ones, row by row.
"""

import math

from numba.core import types
from numba.core.types.containers import Tuple, UniTuple

from kinematics.compiled import Array, kernel
from kinematics.trigonometry import atan2

__all__ = ["Triangle21", "Twist6", "factor", "gram", "pose_error", "squared", "substitute"]

f8 = types.float64
TWIST = UniTuple(f8, 6)
TRIANGLE = UniTuple(f8, 21)
Twist6 = tuple[float, float, float, float, float, float]
Triangle21 = tuple[float, ...]

SERIES_COSINE = 0.95  # of an angle; smaller angles take the arc sine's series, good to 1e-6 of the angle there
HALF_TURN_COSINE = -0.999  # larger angles take the axis from the symmetric part


@kernel(UniTuple(f8, 3)(f8[:, ::1], f8[:, ::1], f8))
def _near_half_turn(T_goal: Array, T: Array, cosine: float) -> tuple[float, float, float]:
    """Return the rotation vector of M = R_goal Rᵀ when its angle is nearly pi, where the skew part fades.

    M + Mᵀ = 2 cos(angle) I + 2 (1 - cos(angle)) a aᵀ has the axis a in it, up to its sign, which is the skew part's.
    """
    xx = T_goal[0, 0] * T[0, 0] + T_goal[0, 1] * T[0, 1] + T_goal[0, 2] * T[0, 2]
    yy = T_goal[1, 0] * T[1, 0] + T_goal[1, 1] * T[1, 1] + T_goal[1, 2] * T[1, 2]
    zz = T_goal[2, 0] * T[2, 0] + T_goal[2, 1] * T[2, 1] + T_goal[2, 2] * T[2, 2]
    xy = T_goal[0, 0] * T[1, 0] + T_goal[0, 1] * T[1, 1] + T_goal[0, 2] * T[1, 2]
    yx = T_goal[1, 0] * T[0, 0] + T_goal[1, 1] * T[0, 1] + T_goal[1, 2] * T[0, 2]
    xz = T_goal[0, 0] * T[2, 0] + T_goal[0, 1] * T[2, 1] + T_goal[0, 2] * T[2, 2]
    zx = T_goal[2, 0] * T[0, 0] + T_goal[2, 1] * T[0, 1] + T_goal[2, 2] * T[0, 2]
    yz = T_goal[1, 0] * T[2, 0] + T_goal[1, 1] * T[2, 1] + T_goal[1, 2] * T[2, 2]
    zy = T_goal[2, 0] * T[1, 0] + T_goal[2, 1] * T[1, 1] + T_goal[2, 2] * T[1, 2]
    if xx >= yy and xx >= zz:
        x, y, z = 2.0 * (xx - cosine), xy + yx, xz + zx
    elif yy >= zz:
        x, y, z = xy + yx, 2.0 * (yy - cosine), yz + zy
    else:
        x, y, z = xz + zx, yz + zy, 2.0 * (zz - cosine)
    sx, sy, sz = 0.5 * (zy - yz), 0.5 * (xz - zx), 0.5 * (yx - xy)
    angle = atan2(math.sqrt(sx * sx + sy * sy + sz * sz), cosine)
    scale = angle / math.sqrt(x * x + y * y + z * z)
    if x * sx + y * sy + z * sz < 0.0:
        scale = -scale
    return scale * x, scale * y, scale * z


@kernel(TWIST(f8[:, ::1], f8[:, ::1]))
def pose_error(T_goal: Array, T: Array) -> Twist6:
    """Return the twist that leads from T to T_goal in unit time: [p_goal - p, log(R_goal Rᵀ)], in the base's axes.

    The rotation comes from the cross products of the axes, Σ x_i × x_goal,i / 2 = axis sin(angle), which has all digits
    where it matters, near zero; the arc sine's series takes the angle from it there, an arc tangent elsewhere.
    """
    ax, ay, az, px = T[0, 0], T[1, 0], T[2, 0], T[0, 3]
    bx, by, bz, py = T[0, 1], T[1, 1], T[2, 1], T[1, 3]
    cx, cy, cz, pz = T[0, 2], T[1, 2], T[2, 2], T[2, 3]
    fx, fy, fz = T_goal[0, 0], T_goal[1, 0], T_goal[2, 0]
    gx, gy, gz = T_goal[0, 1], T_goal[1, 1], T_goal[2, 1]
    hx, hy, hz = T_goal[0, 2], T_goal[1, 2], T_goal[2, 2]
    px, py, pz = T_goal[0, 3] - px, T_goal[1, 3] - py, T_goal[2, 3] - pz
    x = 0.5 * ((ay * fz - az * fy) + (by * gz - bz * gy) + (cy * hz - cz * hy))
    y = 0.5 * ((az * fx - ax * fz) + (bz * gx - bx * gz) + (cz * hx - cx * hz))
    z = 0.5 * ((ax * fy - ay * fx) + (bx * gy - by * gx) + (cx * hy - cy * hx))
    trace = (ax * fx + ay * fy + az * fz) + (bx * gx + by * gy + bz * gz) + (cx * hx + cy * hy + cz * hz)
    cosine = 0.5 * (trace - 1.0)
    s2 = x * x + y * y + z * z
    if cosine > SERIES_COSINE:
        scale = 1.0 + s2 * (1.0 / 6.0 + s2 * (3.0 / 40.0 + s2 * (5.0 / 112.0 + s2 * (35.0 / 1152.0))))
    elif cosine > HALF_TURN_COSINE:
        sine = math.sqrt(s2)
        scale = atan2(sine, cosine) / sine
    else:
        x, y, z = _near_half_turn(T_goal, T, cosine)
        scale = 1.0
    return px, py, pz, scale * x, scale * y, scale * z


@kernel(f8(TWIST))
def squared(e: Twist6) -> float:
    """Return eᵀe."""
    return e[0] * e[0] + e[1] * e[1] + e[2] * e[2] + e[3] * e[3] + e[4] * e[4] + e[5] * e[5]


@kernel(Tuple((TRIANGLE, TWIST))(f8[:, ::1], f8, f8[::1], TWIST))
def gram(J: Array, damping: float, step: Array, e: Twist6) -> tuple[Triangle21, Twist6]:
    """Return J Jᵀ + damping I and e - J step, for J (6, 8): both in one pass over its columns."""
    e0, e1, e2, e3, e4, e5 = e
    a00 = a11 = a22 = a33 = a44 = a55 = damping
    a10 = a20 = a21 = a30 = a31 = a32 = a40 = a41 = a42 = a43 = a50 = a51 = a52 = a53 = a54 = 0.0
    for k in range(8):
        j0, j1, j2, j3, j4, j5 = J[0, k], J[1, k], J[2, k], J[3, k], J[4, k], J[5, k]
        s = step[k]
        e0 -= j0 * s
        a00 += j0 * j0
        e1 -= j1 * s
        a10 += j1 * j0
        a11 += j1 * j1
        e2 -= j2 * s
        a20 += j2 * j0
        a21 += j2 * j1
        a22 += j2 * j2
        e3 -= j3 * s
        a30 += j3 * j0
        a31 += j3 * j1
        a32 += j3 * j2
        a33 += j3 * j3
        e4 -= j4 * s
        a40 += j4 * j0
        a41 += j4 * j1
        a42 += j4 * j2
        a43 += j4 * j3
        a44 += j4 * j4
        e5 -= j5 * s
        a50 += j5 * j0
        a51 += j5 * j1
        a52 += j5 * j2
        a53 += j5 * j3
        a54 += j5 * j4
        a55 += j5 * j5
    A = (a00, a10, a11, a20, a21, a22, a30, a31, a32, a33, a40, a41, a42, a43, a44, a50, a51, a52, a53, a54, a55)
    return A, (e0, e1, e2, e3, e4, e5)


@kernel(TRIANGLE(TRIANGLE))
def factor(A: Triangle21) -> Triangle21:
    """Return L D Lᵀ = A: below the diagonal L, on it 1/D. A must be positive definite."""
    (
        a00,
        a10,
        a11,
        a20,
        a21,
        a22,
        a30,
        a31,
        a32,
        a33,
        a40,
        a41,
        a42,
        a43,
        a44,
        a50,
        a51,
        a52,
        a53,
        a54,
        a55,
    ) = A
    r0 = 1.0 / a00
    l10, l20, l30, l40, l50 = a10 * r0, a20 * r0, a30 * r0, a40 * r0, a50 * r0
    a11 -= l10 * a10
    a21 -= l20 * a10
    a22 -= l20 * a20
    a31 -= l30 * a10
    a32 -= l30 * a20
    a33 -= l30 * a30
    a41 -= l40 * a10
    a42 -= l40 * a20
    a43 -= l40 * a30
    a44 -= l40 * a40
    a51 -= l50 * a10
    a52 -= l50 * a20
    a53 -= l50 * a30
    a54 -= l50 * a40
    a55 -= l50 * a50
    r1 = 1.0 / a11
    l21, l31, l41, l51 = a21 * r1, a31 * r1, a41 * r1, a51 * r1
    a22 -= l21 * a21
    a32 -= l31 * a21
    a33 -= l31 * a31
    a42 -= l41 * a21
    a43 -= l41 * a31
    a44 -= l41 * a41
    a52 -= l51 * a21
    a53 -= l51 * a31
    a54 -= l51 * a41
    a55 -= l51 * a51
    r2 = 1.0 / a22
    l32, l42, l52 = a32 * r2, a42 * r2, a52 * r2
    a33 -= l32 * a32
    a43 -= l42 * a32
    a44 -= l42 * a42
    a53 -= l52 * a32
    a54 -= l52 * a42
    a55 -= l52 * a52
    r3 = 1.0 / a33
    l43, l53 = a43 * r3, a53 * r3
    a44 -= l43 * a43
    a54 -= l53 * a43
    a55 -= l53 * a53
    r4 = 1.0 / a44
    l54 = a54 * r4
    a55 -= l54 * a54
    r5 = 1.0 / a55
    return (
        r0,
        l10,
        r1,
        l20,
        l21,
        r2,
        l30,
        l31,
        l32,
        r3,
        l40,
        l41,
        l42,
        l43,
        r4,
        l50,
        l51,
        l52,
        l53,
        l54,
        r5,
    )


@kernel(TWIST(TRIANGLE, TWIST))
def substitute(F: Triangle21, b: Twist6) -> Twist6:
    """Return A⁻¹ b, given the factor of A."""
    (
        r0,
        l10,
        r1,
        l20,
        l21,
        r2,
        l30,
        l31,
        l32,
        r3,
        l40,
        l41,
        l42,
        l43,
        r4,
        l50,
        l51,
        l52,
        l53,
        l54,
        r5,
    ) = F
    b0, b1, b2, b3, b4, b5 = b
    b1 -= l10 * b0
    b2 -= l20 * b0 + l21 * b1
    b3 -= l30 * b0 + l31 * b1 + l32 * b2
    b4 -= l40 * b0 + l41 * b1 + l42 * b2 + l43 * b3
    b5 -= l50 * b0 + l51 * b1 + l52 * b2 + l53 * b3 + l54 * b4
    b0, b1, b2, b3, b4, b5 = b0 * r0, b1 * r1, b2 * r2, b3 * r3, b4 * r4, b5 * r5
    b4 -= l54 * b5
    b3 -= l53 * b5 + l43 * b4
    b2 -= l52 * b5 + l42 * b4 + l32 * b3
    b1 -= l51 * b5 + l41 * b4 + l31 * b3 + l21 * b2
    b0 -= l50 * b5 + l40 * b4 + l30 * b3 + l20 * b2 + l10 * b1
    return b0, b1, b2, b3, b4, b5
