"""Kernels as plain Python, so that their lines can be measured and changed.

Records are NumPy arrays of one element, in which `g.field` works, as it does in compiled code.
"""

import functools

import numpy as np

import kinematics.compiled

__all__ = ["use_plain_kernels"]

REMEMBERED = 64  # records in use at once; a test has a few


class _Record:
    """A record array whose fields are read and written in place; several times as fast as `numpy.recarray`."""

    def __init__(self, array):
        self.array = array  # kept alive, so that its id stays its own
        self.row = _row_class(array.dtype)({name: array[name] for name in array.dtype.names})

    def __getitem__(self, k):
        if k not in (0, -1):
            raise IndexError(f"index {k} of a record of one element")
        return self.row


class _Row:
    """The element of a record, with its fields as attributes."""

    def __init__(self, fields):
        self.fields = fields
        self.__dict__.update({name: field[0] for name, field in fields.items() if field.ndim > 1})


@functools.cache
def _row_class(dtype):
    """Return a row's class for a dtype: its fields that are numbers are read and written where they are."""

    def number(name):
        def put(row, value):
            row.fields[name][0] = value

        return property(lambda row: row.fields[name][0], put)

    return type("Row", (_Row,), {name: number(name) for name in dtype.names if not dtype[name].shape})


_records = {}


def _viewed(argument):
    if not isinstance(argument, np.ndarray) or not argument.dtype.names:
        return argument
    record = _records.get(id(argument))
    if record is None:
        if len(_records) == REMEMBERED:
            _records.clear()
        record = _records[id(argument)] = _Record(argument)
    return record


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
