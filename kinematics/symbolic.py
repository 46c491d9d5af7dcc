"""An arm's chain written out as straight-line code, in which everything that is known beforehand is folded away.

The chain is first brought into the form that costs least. Every fixed transform between two joints is
Rz(psi) Trans(t) R Rz(phi), R a turn about x (Euler's z-x-z angles); the turns about the joints' own axes go into the
joints' angles, and what t has along the axes into their depths. What is left is Craig's modified Denavit-Hartenberg
row. Then the products are written out: what is 0, 1 or -1 costs nothing, and no sum is computed twice.

An entry of a fixed transform that is within `SNAP` of 0, 1 or -1 is taken for it: a right angle has no exact double,
and its cosine comes out as 6e-17. That turns the tip by less than 1e-15 rad per joint and shifts it by less than
1e-15 m, less than the rounding of the products does.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from kinematics.compiled import Array

__all__ = ["Code", "Link", "Scalar", "Vector", "jacobian_columns", "make_links", "write_chain"]

SNAP = 1e-15
SKEW = 0.05  # sine: below it the common normal of two axes may be far away, so it is not used

Scalar = float | str
"""A number that is known, or the name of a variable, perhaps with a minus sign."""

Vector = list[Scalar]

VARIABLE = re.compile(r"\b[a-z]\d+\b")

Term = tuple[float, tuple[str, ...]]
"""A coefficient times variables."""


class Link(NamedTuple):
    """A joint with the fixed transform before it: Trans(t) R, then Rz and Tz by angle and depth, plus q in one."""

    R: Array
    t: Array
    angle: float
    depth: float
    prismatic: bool


def _snapped(values: Array) -> Array:
    whole = np.round(values)
    keep = (np.abs(values - whole) <= SNAP) & (np.abs(whole) <= 1.0)
    return np.where(keep, whole + 0.0, values)


def _about_z(angle: float) -> Array:
    s, c = math.sin(angle), math.cos(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _zxz(R: Array) -> tuple[float, Array, float]:
    """Return psi, the rest and phi of R = Rz(psi) rest Rz(phi), psi in [-pi/2, pi/2], rest a turn about x."""
    if np.isin(np.abs(R), (0.0, 1.0)).all():
        return 0.0, R, 0.0
    psi = 0.0
    if math.hypot(R[0, 2], R[1, 2]) > SNAP:
        psi = math.atan2(R[0, 2], -R[1, 2])
        if abs(psi) > 0.5 * math.pi + SNAP:
            psi -= math.copysign(math.pi, psi)
    rest = _about_z(-psi) @ R
    phi = math.atan2(-rest[0, 1], rest[0, 0])
    return psi, _snapped(rest @ _about_z(-phi)), phi


def make_links(arm: np.void) -> tuple[list[Link], Array, Array]:
    """Return the joints, and rotation (3, 3) and shift (3,) of the tip after the last of them."""
    n_joints = int(arm["n_joints"])
    links: list[Link] = []
    for i in range(n_joints):
        P = _snapped(arm["placement"][i].reshape(3, 4))
        psi, R, phi = _zxz(P[:, :3])
        t, along = _joined(links, psi, P[:, 3], R[:, 2])
        if not links:
            R = _snapped(_about_z(psi) @ R)
        links.append(Link(R, t, phi, float(along), bool(arm["prismatic"][i])))
    P = _snapped(arm["tip"][:3])
    psi, R, phi = _zxz(P[:, :3])
    t, _ = _joined(links, psi, P[:, 3], np.array([0.0, 0.0, 1.0]))
    return links, _snapped(R @ _about_z(phi)), t


def _joined(links: list[Link], psi: float, t: Array, z: Array) -> tuple[Array, float]:
    """Give the joint before its part of a fixed transform, and return the rest of t and its part along the next axis.

    Args:
        links: The joints so far; the last one's angle and depth are increased.
        psi: The transform's turn about the last joint's axis.
        t: Its translation, in the last joint's frame.
        z: The next joint's axis there, psi taken off.
    """
    if not links:
        return t, 0.0
    t = _about_z(-psi) @ t
    sine2 = z[0] * z[0] + z[1] * z[1]
    along = (t[0] * z[0] + t[1] * z[1]) / sine2 if sine2 > SKEW * SKEW else 0.0
    depth = float(t[2] - along * z[2])
    last = links[-1]
    links[-1] = last._replace(depth=last.depth + depth, angle=last.angle + psi)
    return _snapped(t - along * z - depth * np.array([0.0, 0.0, 1.0])), along


class Code:
    """Straight-line code that grows: sums of products whose known parts are folded away, each computed once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[str, str] = {}

    def needed(self, results: Iterable[Scalar]) -> tuple[list[str], set[str]]:
        """Return the lines that the results need, in order, and the variables that neither they nor the code set."""
        wanted = {result.lstrip("-") for result in results if isinstance(result, str)}
        lines = []
        for line in reversed(self.lines):
            name, _, expression = line.partition(" = ")
            if name in wanted:
                wanted.remove(name)
                wanted |= set(VARIABLE.findall(expression))
                lines.append(line)
        return lines[::-1], wanted

    def bind(self, expression: str) -> str:
        """Return a variable that has the value of an expression."""
        if expression not in self._known:
            name = f"v{len(self._known)}"
            self._known[expression] = name
            self.lines.append(f"{name} = {expression}")
        return self._known[expression]

    def total(self, terms: Iterable[Term]) -> Scalar:
        """Return the sum of products: a number or a name where nothing has to be computed."""
        parts: dict[tuple[str, ...], float] = {}
        for coefficient, names in terms:
            key = tuple(sorted(names))
            parts[key] = parts.get(key, 0.0) + coefficient
        parts = {names: coefficient for names, coefficient in parts.items() if coefficient != 0.0}
        if not parts:
            return 0.0
        if len(parts) == 1:
            ((names, coefficient),) = parts.items()
            if not names:
                return coefficient
            if len(names) == 1 and abs(coefficient) == 1.0:
                return names[0] if coefficient > 0.0 else f"-{names[0]}"
        # Minus the sum is the same sum: one of the two is computed.
        ordered = sorted(parts.items(), key=lambda part: part[1] < 0.0)
        flip = ordered[0][1] < 0.0
        text = ""
        for names, coefficient in ordered:
            sign = "-" if (coefficient < 0.0) != flip else "+"
            size = float(abs(coefficient))
            factors = ([repr(size)] if size != 1.0 or not names else []) + list(names)
            text += (f" {sign} " if text else "") + " * ".join(factors)
        name = self.bind(text)
        return f"-{name}" if flip else name


def _times(a: Scalar, b: Scalar) -> Term:
    coefficient, names = 1.0, []
    for factor in (a, b):
        if isinstance(factor, float):
            coefficient *= factor
        elif factor.startswith("-"):
            coefficient = -coefficient
            names.append(factor[1:])
        else:
            names.append(factor)
    return coefficient, tuple(names)


def _combination(code: Code, factors: Iterable[Scalar], vectors: Iterable[Vector]) -> Vector:
    """Return the sum of factors times vectors."""
    pairs = list(zip(factors, vectors, strict=True))
    return [code.total(_times(factor, vector[k]) for factor, vector in pairs) for k in range(3)]


def _cross(code: Code, a: Vector, b: Vector) -> Vector:
    def entry(i: int, j: int) -> Scalar:
        coefficient, names = _times(a[j], b[i])
        return code.total([_times(a[i], b[j]), (-coefficient, names)])

    return [entry(1, 2), entry(2, 0), entry(0, 1)]


class Chain(NamedTuple):
    """What the straight-line code has computed."""

    axes: list[Vector]
    """z of each joint."""
    origins: list[Vector]
    """A point on each joint's axis, chosen so that neighbours share it where they can."""
    tip: list[Vector]
    """x, y, z and origin of the tip."""


def write_chain(code: Code, links: list[Link], R_tip: Array, t_tip: Array) -> Chain:
    """Write the products, given the variables s0, c0 (revolute) and d0 (prismatic: the whole depth) of each joint."""
    x: Vector = [1.0, 0.0, 0.0]
    y: Vector = [0.0, 1.0, 0.0]
    z: Vector = [0.0, 0.0, 1.0]
    p: Vector = [0.0, 0.0, 0.0]
    axes, origins = [], []
    for i, link in enumerate(links):
        p = _combination(code, [1.0, *link.t.tolist()], [p, x, y, z])
        x, y, z = (_combination(code, column, [x, y, z]) for column in link.R.T.tolist())
        before = p
        if link.prismatic:
            c, s = _snapped(np.array([math.cos(link.angle), math.sin(link.angle)])).tolist()
            minus_s: Scalar = -s
            depth: Scalar = f"d{i}"
        else:
            c, s, minus_s, depth = f"c{i}", f"s{i}", f"-s{i}", link.depth
        x, y = _combination(code, [c, s], [x, y]), _combination(code, [minus_s, c], [x, y])
        p = _combination(code, [1.0, depth], [p, z])
        t_next = links[i + 1].t if i + 1 < len(links) else t_tip
        shares_next = not t_next.any() and (link.t.any() or i + 1 == len(links))
        axes.append(z)
        origins.append(p if shares_next else before)
    p = _combination(code, [1.0, *t_tip.tolist()], [p, x, y, z])
    columns = [_combination(code, column, [x, y, z]) for column in R_tip.T.tolist()]
    return Chain(axes, origins, [*columns, p])


def jacobian_columns(code: Code, links: list[Link], chain: Chain) -> list[Vector]:
    """Return the columns of the Jacobian, six entries each."""
    columns = []
    for link, z, origin in zip(links, chain.axes, chain.origins, strict=True):
        if link.prismatic:
            columns.append([*z, 0.0, 0.0, 0.0])
        else:
            r = _combination(code, [1.0, -1.0], [chain.tip[3], origin])
            columns.append([*_cross(code, z, r), *z])
    return columns
