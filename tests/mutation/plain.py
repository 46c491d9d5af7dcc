"""Kernels as plain Python, so that their lines can be measured and changed.

Records are views of NumPy arrays in which `g.field` works, as it does in compiled code.
"""

import functools

import numpy as np

import kinematics.compiled

__all__ = ["use_plain_kernels"]


def _viewed(argument):
    if isinstance(argument, np.ndarray) and argument.dtype.names and not isinstance(argument, np.recarray):
        return argument.view(np.recarray)
    return argument


def plain_kernel(_signature, **_options):
    """Stand in for `kinematics.compiled.kernel`; errors of arithmetic give inf and nan, as in compiled code."""

    def declare(function):
        @functools.wraps(function)
        def call(*arguments):
            with np.errstate(all="ignore"):
                return function(*map(_viewed, arguments))

        call.py_func = function
        return call

    return declare


def use_plain_kernels():
    """Let every module that is imported from now on have plain kernels."""
    kinematics.compiled.kernel = plain_kernel
