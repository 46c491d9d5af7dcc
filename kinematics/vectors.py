"""The few operations on small vectors and matrices that kernels share.

They take any stride, so that a vector inside a record serves as well, and loops written out: NumPy's slice assignment
costs Numba seconds of compiling each, for the shapes that it might meet.
"""

from numba.core import types

from kinematics.compiled import Array, kernel

__all__ = ["copy_matrix", "copy_vector", "times", "transposed_times"]

_VECTOR, _MATRIX = types.float64[:], types.float64[:, :]


@kernel(types.void(_VECTOR, _VECTOR))
def copy_vector(source: Array, target: Array) -> None:
    """Target = source, of the same length."""
    for i in range(len(source)):
        target[i] = source[i]


@kernel(types.void(_MATRIX, _MATRIX))
def copy_matrix(source: Array, target: Array) -> None:
    """Target = source, of the same shape."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@kernel(types.void(_MATRIX, _VECTOR, _VECTOR, types.int64))
def times(M: Array, x: Array, y: Array, n: int) -> None:
    """Y = M x over the first n entries."""
    for i in range(n):
        total = 0.0
        for j in range(n):
            total += M[i, j] * x[j]
        y[i] = total


@kernel(types.void(_MATRIX, _VECTOR, _VECTOR, types.int64))
def transposed_times(M: Array, x: Array, y: Array, n: int) -> None:
    """Y = M^T x over the first n entries: how efforts go the other way than motions."""
    for i in range(n):
        total = 0.0
        for j in range(n):
            total += M[j, i] * x[j]
        y[i] = total
