"""Where a cold search of the inverse kinematics begins: stored joints whose tip is near the wanted pose.

A first joint that turns (nearly) all the way round carries the whole arm about its axis, and such a last joint turns
the tip about its own, whatever the joints between do. So the table holds what those two cannot change: with M the
pose of the last joint's frame in the first one's, the radius and height of its origin, and its axis z in the frame
that the origin's azimuth gives. Four numbers instead of six: a thousand entries are dense in them. The two joints
themselves follow from the wanted pose. A joint that cannot turn far enough is tabled like those between.
"""

import functools
import math

import numpy as np
from numba.core import types

from kinematics import chain
from kinematics.chain import ARMS
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import ArmDescription
from kinematics.stack import stack_matrix
from kinematics.trigonometry import atan2, sincos

__all__ = ["COUNT", "SEEDS", "SEED_TABLES", "align", "nearest", "rank", "seed_table"]

f8, i8, i4 = types.float64, types.int64, types.int32

COUNT = 1024  # entries; a power of two
FAR_ROUND = 0.75 * 2.0 * math.pi  # rad: a joint with such a range is taken out of the table
INNER = 0.9  # of the joints' ranges that the entries cover: a descent from the very limit often ends on it
NEAR_LIMIT = 0.05  # what an entry's distance is raised by for a joint that is at its limit
POSITION_WEIGHT = 8.0  # of (distance / reach)² beside the axes' squared chords
LARGEST = 15.0  # distances are cut there, so that they fit their bits
USED = 0x7FFFFFFF

SEED_TABLES = np.dtype(
    [
        ("turns_first", "i8"),  # 1: the first joint is taken out
        ("turns_last", "i8"),
        ("position_weight", "f8"),  # of squared metres
        ("axis_weight", "f8"),  # 0 when the rotation is free
        ("base", "f8", (12,)),  # T_first_base and T_tip_last, upper three rows
        ("tip", "f8", (12,)),
        ("feature", "f4", (10, COUNT)),  # origin, z, x, and what the entry is penalised by
        ("azimuth", "f8", (COUNT,)),  # of the origin, the first joint at zero
        ("x_axis", "f8", (COUNT, 3)),  # of M, both outer joints at zero
        ("y_axis", "f8", (COUNT, 3)),
        ("q", "f8", (COUNT, 8)),
    ],
    align=True,
)
"""An arm's table, an array of one."""

SEEDS = array_of(SEED_TABLES)


@kernel(types.void(SEEDS, f8[:, ::1], f8[:, ::1]))
def _between(seeds: Array, T: Array, M: Array) -> None:
    """Write M, the last joint's frame in the first one's, for T_base_tip."""
    a, b = seeds[0].base, seeds[0].tip
    half = stack_matrix(3, 4)
    for i in range(3):
        for j in range(4):
            half[i, j] = a[4 * i] * T[0, j] + a[4 * i + 1] * T[1, j] + a[4 * i + 2] * T[2, j]
        half[i, 3] += a[4 * i + 3]
    for i in range(3):
        for j in range(4):
            M[i, j] = half[i, 0] * b[j] + half[i, 1] * b[4 + j] + half[i, 2] * b[8 + j]
        M[i, 3] += half[i, 3]


@kernel(types.void(SEEDS, f8[:, ::1], f8[::1]))
def _features(seeds: Array, M: Array, feature: Array) -> None:
    """Write origin, z and x of M, (9,), turned back by the origin's azimuth when the first joint is taken out."""
    c, s = 1.0, 0.0
    if seeds[0].turns_first:
        radius = math.sqrt(M[0, 3] * M[0, 3] + M[1, 3] * M[1, 3])
        if radius > 0.0:
            c, s = M[0, 3] / radius, M[1, 3] / radius
    for group in range(3):
        column = 3 if group == 0 else 2 if group == 1 else 0
        x, y = M[0, column], M[1, column]
        feature[3 * group] = c * x + s * y
        feature[3 * group + 1] = c * y - s * x
        feature[3 * group + 2] = M[2, column]


@kernel(types.void(ARMS, SEEDS))
def _fill(arm: Array, seeds: Array) -> None:
    """Compute the entries' features from their joints."""
    T, M = np.zeros((4, 4)), np.zeros((4, 4))
    feature, q = np.zeros(9), np.zeros(8)
    last = arm[0].n_joints - 1
    for k in range(COUNT):
        penalty = 0.0
        for i in range(8):
            q[i] = seeds[0].q[k, i]
            if i <= last and not (i == 0 and seeds[0].turns_first) and not (i == last and seeds[0].turns_last):
                half = 0.5 * (arm[0].position_max[i] - arm[0].position_min[i])
                u = (q[i] - arm[0].position_min[i]) / half - 1.0
                penalty += u * u * u * u
        chain.forward(arm, q, T)
        _between(seeds, T, M)
        _features(seeds, M, feature)
        for i in range(9):
            seeds[0].feature[i, k] = feature[i]
        seeds[0].feature[9, k] = NEAR_LIMIT * penalty
        seeds[0].azimuth[k] = math.atan2(M[1, 3], M[0, 3])
        for i in range(3):
            seeds[0].x_axis[k, i], seeds[0].y_axis[k, i] = M[i, 0], M[i, 1]


@kernel(types.void(SEEDS, f8[:, ::1], f8[:, ::1], i4[::1]))
def rank(seeds: Array, T: Array, M: Array, keys: Array) -> None:
    """Write every entry's distance from T with its number in the low bits, (COUNT,), and M, for `align`.

    Whole numbers, because only their minimum is taken several at a time by the compiler.
    """
    goal = stack_matrix(1, 9)[0]
    _between(seeds, T, M)
    _features(seeds, M, goal)
    f = seeds[0].feature
    p0, p1, p2 = np.float32(goal[0]), np.float32(goal[1]), np.float32(goal[2])
    z0, z1, z2 = np.float32(goal[3]), np.float32(goal[4]), np.float32(goal[5])
    x0, x1, x2 = np.float32(goal[6]), np.float32(goal[7]), np.float32(goal[8])
    wp, wz = np.float32(seeds[0].position_weight), np.float32(seeds[0].axis_weight)
    scale, largest = np.float32(1 << 16), np.float32(LARGEST)
    if seeds[0].turns_first and seeds[0].turns_last:  # most arms: the origin has no y, and x is the last joint's
        for k in range(COUNT):
            a, c = f[0, k] - p0, f[2, k] - p2
            d, e, g = f[3, k] - z0, f[4, k] - z1, f[5, k] - z2
            distance = wp * (a * a + c * c) + wz * (d * d + e * e + g * g) + f[9, k]
            keys[k] = (np.int32(min(distance, largest) * scale) << np.int32(11)) | np.int32(k)
        return
    wx = np.float32(0.0) if seeds[0].turns_last else wz
    for k in range(COUNT):
        a, b, c = f[0, k] - p0, f[1, k] - p1, f[2, k] - p2
        d, e, g = f[3, k] - z0, f[4, k] - z1, f[5, k] - z2
        distance = wp * (a * a + b * b + c * c) + wz * (d * d + e * e + g * g) + f[9, k]
        d, e, g = f[6, k] - x0, f[7, k] - x1, f[8, k] - x2
        distance += wx * (d * d + e * e + g * g)
        keys[k] = (np.int32(min(distance, largest) * scale) << np.int32(11)) | np.int32(k)


@kernel(i8(i4[::1]))
def nearest(keys: Array) -> int:
    """Return the nearest entry's number and take it out."""
    least = keys[0]
    for k in range(COUNT):
        least = min(least, keys[k])
    found: int = i8(least) & (COUNT - 1)
    keys[found] = USED
    return found


@kernel(types.void(ARMS, SEEDS, f8[:, ::1], i8, f8[::1]))
def align(arm: Array, seeds: Array, M: Array, k: int, q: Array) -> None:
    """Write the joints of an entry into q, (8,), the outer ones as the wanted pose, M, asks for."""
    n_joints = arm[0].n_joints
    last = n_joints - 1
    for i in range(n_joints):
        q[i] = seeds[0].q[k, i]
    s, c = 0.0, 1.0
    if seeds[0].turns_first:
        turn = atan2(M[1, 3], M[0, 3]) - seeds[0].azimuth[k]
        turn -= 2.0 * math.pi * np.floor(turn / (2.0 * math.pi) + 0.5)
        q[0] = min(max(turn, arm[0].position_min[0]), arm[0].position_max[0])
        s, c = sincos(turn)
    if seeds[0].turns_last:
        # The angle about z that brings the entry's x and y, turned by the first joint, nearest to the wanted ones.
        x, y = seeds[0].x_axis[k], seeds[0].y_axis[k]
        x0, x1, x2 = c * x[0] - s * x[1], s * x[0] + c * x[1], x[2]
        y0, y1, y2 = c * y[0] - s * y[1], s * y[0] + c * y[1], y[2]
        cosine = M[0, 0] * x0 + M[1, 0] * x1 + M[2, 0] * x2 + M[0, 1] * y0 + M[1, 1] * y1 + M[2, 1] * y2
        sine = M[0, 0] * y0 + M[1, 0] * y1 + M[2, 0] * y2 - M[0, 1] * x0 - M[1, 1] * x1 - M[2, 1] * x2
        q[last] = min(max(atan2(sine, cosine), arm[0].position_min[last]), arm[0].position_max[last])


@functools.lru_cache(maxsize=32)
def seed_table(description: ArmDescription, rotation_matters: bool) -> Array:
    """Return an arm's table, an array of one SEED_TABLES; the same one every time.

    Args:
        description: The arm.
        rotation_matters: False: only positions are asked for.
    """
    arm = description.record
    seeds = np.zeros(1, SEED_TABLES)
    table, n_joints = seeds[0], description.n_joints
    low, high = arm[0]["position_min"], arm[0]["position_max"]
    turns = (high - low >= FAR_ROUND) & (arm[0]["prismatic"] == 0)
    table["turns_first"] = turns[0]
    table["turns_last"] = n_joints > 1 and turns[n_joints - 1]
    table["axis_weight"] = float(rotation_matters)
    first = np.vstack([arm[0]["placement"][0].reshape(3, 4), (0.0, 0.0, 0.0, 1.0)])
    table["base"] = np.linalg.inv(first)[:3].ravel()
    table["tip"] = np.linalg.inv(arm[0]["tip"])[:3].ravel()
    u = np.random.default_rng(0).uniform(-INNER, INNER, (COUNT, 8))
    q = 0.5 * (low + high) + 0.5 * u * (high - low)
    q[:, n_joints:] = 0.0
    q[:, 0] *= not turns[0]
    q[:, n_joints - 1] *= not table["turns_last"]
    table["q"] = q
    _fill(arm, seeds)
    reach = np.sqrt((table["feature"][:3] ** 2).sum(axis=0)).max()
    table["position_weight"] = POSITION_WEIGHT / max(float(reach), 1e-6) ** 2
    return seeds
