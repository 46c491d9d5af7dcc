"""What callers may give for positions, poses and the like, brought into the form of a command's arguments."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["checked_matrices", "checked_matrix", "checked_six", "checked_vector"]


def checked_vector(values: ArrayLike, what: str = "a joint position") -> list[float]:
    """Return one number per axis.

    Raises:
        ValueError: It is no vector.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"{what} of shape {vector.shape} was given: give one number per axis")
    return [float(value) for value in vector]


def checked_six(values: ArrayLike, what: str) -> list[float]:
    """Return a twist or a wrench.

    Raises:
        ValueError: It has not six entries.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (6,):
        raise ValueError(f"{what} of shape {vector.shape} was given: give six numbers, three linear and three angular")
    return [float(value) for value in vector]


def checked_matrix(T: ArrayLike) -> list[list[float]]:
    """Return a pose's rows.

    Raises:
        ValueError: It is no 4 x 4 matrix.
    """
    matrix = np.asarray(T, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"a pose of shape {matrix.shape} was given: give a 4 x 4 homogeneous matrix T_base_tip")
    return [[float(value) for value in row] for row in matrix]


def checked_matrices(poses: Sequence[ArrayLike], most: int) -> list[list[list[float]]]:
    """Return the rows of some poses.

    Raises:
        ValueError: They are more than `most`, or one of them is no 4 x 4 matrix.
    """
    if len(poses) > most:
        raise ValueError(f"{len(poses)} via points were given: at most {most} fit one command. Split the path")
    return [checked_matrix(T) for T in poses]
