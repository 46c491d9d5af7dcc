"""The machine code of the cycle: what it calls, and what it never may."""

from pathlib import Path

import numpy as np
import pytest
from numba.core import types

from controller import clock
from controller.core import MOTION_PARTS
from controller.cycle import run
from controller.laws.compile import compile_law
from drivers.bridge import receive, transmit
from kinematics.compiled import kernel, prepare
from kinematics.description import load_arm
from kinematics.kernels import kernels_of

FORBIDDEN = (b"NRT_MemInfo_alloc", b"NRT_Allocate", b"PyGILState_Ensure")
"""Symbols of Numba's allocator, and of whoever takes the interpreter's lock."""


@kernel(types.float64(types.int64))
def allocating(n):
    return np.empty(n).sum()


def calls(part):
    """The forbidden symbols in a kernel's compiled object, callees included, as it lies in the cache."""
    prepare(part)
    name = part.py_func.__qualname__
    files = list(Path(part.stats.cache_path).glob(f"*.{name}-*.nbc"))
    assert files, name
    return {symbol for file in files for symbol in FORBIDDEN if symbol in file.read_bytes()}


def test_this_test_sees_an_allocation():
    assert calls(allocating) == {b"NRT_MemInfo_alloc"}


@pytest.mark.parametrize("part", [run, *MOTION_PARTS, receive, transmit, clock.wait_real, clock.now_real])
def test_the_cycle_never_allocates_and_never_takes_the_interpreters_lock(part):
    assert not calls(part)


@pytest.mark.parametrize("arm", ["psm_classic", "ecm_classic", "mtml", "raven_gold", "panda"])
def test_kinematics_in_the_cycle_never_allocate(arm):
    kernels = kernels_of(load_arm(arm))
    for part in (kernels.forward, kernels.forward_jacobian, kernels.inverse, kernels.motion_inverse):
        assert not calls(part)


@pytest.mark.parametrize("law", ["computed_torque", "cartesian_impedance"])
def test_built_in_laws_never_allocate(law):
    assert not calls(compile_law(law, {}).call)
