"""Kernels of one arm, its geometry written into their source: several times faster than `chain`, which reads tables.

`kinematics.symbolic` writes the products out. The source goes into a file beside the compiled kernels, where it can be
read, and is compiled and cached from there as any other module (docs/decisions/0004-generated-kernels.md).
"""

import functools
import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from kinematics.compiled import CACHE, Part
from kinematics.description import MAX_AXES, ArmDescription
from kinematics.symbolic import Chain, Code, Link, Scalar, jacobian_columns, make_links, write_chain

__all__ = ["TILE", "Kernels", "TileKernels", "generated_kernels", "generated_tile_kernels"]

TILE = 64  # configurations that are computed side by side: their work space stays in the processor's nearest cache
DESCRIPTIONS = 32  # whose kernels are kept at hand
STAMP = 1_000_000_000  # s: every copy of a file carries the same time, as Numba's cache looks at it

KERNELS = '''"""Kernels of the arm {name}; written by kinematics.generated.

As those of kinematics.chain, for this arm's geometry and tip alone: the argument `arm` is not read.
"""

from kinematics.chain import FORWARD, FORWARD_JACOBIAN, JACOBIAN
from kinematics.compiled import kernel
from kinematics.trigonometry import sincos
'''

TILES = '''"""Kernels of the arm {name} for many configurations; written by kinematics.generated.

`tile` configurations at a time go through each step side by side, in rows of the work space, so that the compiler
makes one instruction out of several configurations'.
"""

from numba.core import types

from kinematics.compiled import kernel
from kinematics.trigonometry import LARGEST_FAST, sincos, small_sincos

f8 = types.float64
TILES = types.void(f8[:, ::1], f8[:, :, ::1], f8[::1], types.int64, types.int64)
'''


class Kernels(NamedTuple):
    """Kernels of one arm, with the signatures of `kinematics.chain`. The argument `arm` is not read."""

    forward: Part
    """(arm, q, T): write T_base_tip."""
    jacobian: Part
    """(arm, q, J): write the geometric Jacobian, (6, 8)."""
    forward_jacobian: Part
    """(arm, q, T, J): write both."""


class TileKernels(NamedTuple):
    """Kernels of one arm for many configurations, from row `begin` to before row `end` of the arrays."""

    forward: Part
    """(Q, T, work, begin, end): T is (N, 4, 4)."""
    jacobian: Part
    """(Q, J, work, begin, end): J is (N, 6, n_joints)."""
    work: int
    """How many entries the work space has, one per thread."""


@functools.lru_cache(maxsize=DESCRIPTIONS)
def generated_kernels(description: ArmDescription) -> Kernels:
    """Return an arm's own kernels; the first time on a machine they are compiled, which takes seconds.

    Args:
        description: The arm. Another geometry or tip gives other kernels.
    """
    chain, columns, code, links = _written(description)
    pose = [(f"T[{row}, {column}]", chain.tip[column][row]) for row in range(3) for column in range(4)]
    pose += [("T[3, 0]", 0.0), ("T[3, 1]", 0.0), ("T[3, 2]", 0.0), ("T[3, 3]", 1.0)]
    matrix = [(f"J[{row}, {i}]", column[row]) for i, column in enumerate(columns) for row in range(6)]
    matrix += [(f"J[{row}, {i}]", 0.0) for i in range(len(columns), MAX_AXES) for row in range(6)]
    source = KERNELS.format(name=_plain(description))
    for name, arguments, results in (
        ("forward", "T", pose),
        ("jacobian", "J", matrix),
        ("forward_jacobian", "T, J", pose + matrix),
    ):
        source += f"\n\n@kernel({name.upper()}, contract=True)\ndef {name}(arm, q, {arguments}):\n"
        lines, inputs = code.needed(value for _, value in results)
        source += _indented(4, [*_inputs(links, inputs), *lines, *(f"{to} = {value}" for to, value in results)])
    module = _imported(f"{_plain(description)}_kernels", source)
    return Kernels(module.forward, module.jacobian, module.forward_jacobian)


@functools.lru_cache(maxsize=DESCRIPTIONS)
def generated_tile_kernels(description: ArmDescription) -> TileKernels:
    """Return an arm's own kernels for many configurations; see `generated_kernels`. `kinematics.batch` calls them."""
    chain, columns, code, links = _written(description)
    pose = [(f"[{row}, {column}]", chain.tip[column][row]) for row in range(3) for column in range(4)]
    pose += [("[3, 0]", 0.0), ("[3, 1]", 0.0), ("[3, 2]", 0.0), ("[3, 3]", 1.0)]
    matrix = [(f"[{row}, {i}]", column[row]) for i, column in enumerate(columns) for row in range(6)]
    source = TILES.format(name=_plain(description))
    source += _tile_function("forward", "T", links, code, pose)
    source += _tile_function("jacobian", "J", links, code, matrix)
    module = _imported(f"{_plain(description)}_tiles", source)
    return TileKernels(module.forward, module.jacobian, (2 * len(links) + max(len(pose), len(matrix))) * TILE)


def _plain(description: ArmDescription) -> str:
    """Return the arm's name as a file and a source text can have it."""
    return re.sub(r"\W+", "_", description.name, flags=re.ASCII)


def _written(description: ArmDescription) -> tuple[Chain, list[list[Scalar]], Code, list[Link]]:
    links, R_tip, t_tip = make_links(description.record[0])
    code = Code()
    chain = write_chain(code, links, R_tip, t_tip)
    return chain, jacobian_columns(code, links, chain), code, links


def _inputs(links: Sequence[Link], wanted: set[str]) -> list[str]:
    """Return the lines that compute sine and cosine, or the depth, of the joints that are wanted."""
    lines = []
    for i, link in enumerate(links):
        if link.prismatic and f"d{i}" in wanted:
            lines.append(f"d{i} = {_plus(f'q[{i}]', link.depth)}")
        elif {f"s{i}", f"c{i}"} & wanted:
            lines.append(f"s{i}, c{i} = sincos({_plus(f'q[{i}]', link.angle)})")
    return lines


def _tile_function(
    name: str, out: str, links: Sequence[Link], code: Code, results: Sequence[tuple[str, Scalar]]
) -> str:
    """Return the source of a function over tiles.

    The work space has a row per joint (position, then sine), one per joint for the cosine, and one per result that
    varies. Positions past the last configuration repeat it.
    """
    lines, inputs = code.needed(value for _, value in results)
    n = len(links)
    turning = [i for i, link in enumerate(links) if not link.prismatic and {f"s{i}", f"c{i}"} & inputs]
    varying = [value for _, value in results if isinstance(value, str)]

    def at(row: int) -> str:
        return f"work[{row * TILE} + b]"

    angles = [_plus(at(i), links[i].angle) for i in turning]
    small = " + ".join(f"abs({angle})" for angle in angles) or "0.0"
    source = f"\n\n@kernel(TILES, contract=True)\ndef {name}(Q, {out}, work, begin, end):\n"
    source += f"    for first in range(begin, end, {TILE}):\n"
    source += f"        count = min({TILE}, end - first)\n        is_small = True\n"
    loop = f"for b in range({TILE}):"
    loads = ["i = first + min(b, count - 1)", *(f"{at(i)} = Q[i, {i}]" for i in range(n))]
    source += _indented(8, [loop]) + _indented(12, [*loads, f"is_small &= {small} < LARGEST_FAST"])
    for function, condition in (("small_sincos", "if is_small:"), ("sincos", "else:")):
        if not turning:
            break
        source += _indented(8, [condition])
        for i, angle in zip(turning, angles, strict=True):
            source += _indented(12, [loop]) + _indented(16, [f"{at(i)}, {at(n + i)} = {function}({angle})"])
    reads = [f"s{i}, c{i} = {at(i)}, {at(n + i)}" for i in turning]
    reads += [f"d{i} = {_plus(at(i), link.depth)}" for i, link in enumerate(links) if f"d{i}" in inputs]
    writes = [f"{at(2 * n + k)} = {value}" for k, value in enumerate(varying)]
    if writes:
        source += _indented(8, [loop]) + _indented(12, [*reads, *lines, *writes])
    row = 2 * n
    copies = []
    for to, value in results:
        copies.append(f"{out}[first + b, {to[1:-1]}] = {at(row) if isinstance(value, str) else value}")
        row += isinstance(value, str)
    return source + _indented(8, ["for b in range(count):"]) + _indented(12, copies)


def _plus(name: str, number: float) -> str:
    if number == 0.0:
        return name
    return f"{name} {'-' if number < 0.0 else '+'} {abs(float(number))!r}"


def _indented(width: int, lines: Iterable[str]) -> str:
    return "".join(f"{' ' * width}{line}\n" for line in lines)


@functools.lru_cache(maxsize=2 * DESCRIPTIONS)
def _imported(stem: str, source: str) -> ModuleType:
    """Return the module of a source text, from a file in a folder that is named after the text.

    Several processes may do so at once: each writes a whole file and renames it, and all of them are the same.
    """
    text = source.encode()
    folder = CACHE / f"generated-{hashlib.sha256(text).hexdigest()[:16]}"
    path = folder / f"{stem}.py"
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)  # in use: `kinematics.compiled` removes folders that nobody used for long
    if not path.is_file() or path.read_bytes() != text:
        _write(path, text)
    spec = importlib.util.spec_from_file_location(f"trocar_{folder.name.replace('-', '_')}_{stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _write(path: Path, text: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    os.utime(name, (STAMP, STAMP))
    Path(name).replace(path)
