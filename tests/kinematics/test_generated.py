import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pinocchio as pin
import pytest

from kinematics import chain, generated
from kinematics.compiled import CACHE
from kinematics.description import MAX_AXES, load_arm, shipped_arms
from kinematics.generated import generated_kernels, generated_tile_kernels
from kinematics.symbolic import Code, jacobian_columns, make_links, write_chain

RIGHT_ANGLES = [np.eye(3)[:, list(order)] for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
RIGHT_ANGLES += [R @ np.diag([1.0, -1.0, -1.0]) for R in RIGHT_ANGLES]


def pinocchio_of(record):
    """A model straight from the joint frames: shares nothing with the code under test."""
    arm, model, parent = record[0], pin.Model(), 0
    for i in range(arm["n_joints"]):
        P = arm["placement"][i].reshape(3, 4)
        joint = pin.JointModelPZ() if arm["prismatic"][i] else pin.JointModelRZ()
        parent = model.addJoint(parent, joint, pin.SE3(P[:, :3].copy(), P[:, 3].copy()), f"joint{i}")
    tip = arm["tip"]
    model.addFrame(pin.Frame("tip", parent, pin.SE3(tip[:3, :3].copy(), tip[:3, 3].copy()), pin.FrameType.OP_FRAME))
    return model


def pinocchio_answer(model, data, q):
    J = np.zeros((6, MAX_AXES))
    tip = model.nframes - 1
    axes = pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
    J[:, : model.nq] = pin.computeFrameJacobian(model, data, q[: model.nq], tip, axes).reshape(6, model.nq)
    return data.oMf[tip].homogeneous, J


def evaluate(record, q):
    """The straight-line code run as plain Python: what would be compiled, without compiling it."""
    links, R_tip, t_tip = make_links(record[0])
    code = Code()
    written = write_chain(code, links, R_tip, t_tip)
    columns = jacobian_columns(code, links, written)
    names = {}
    for i, link in enumerate(links):
        if link.prismatic:
            names[f"d{i}"] = q[i] + link.depth
        else:
            names[f"s{i}"], names[f"c{i}"] = np.sin(q[i] + link.angle), np.cos(q[i] + link.angle)
    exec("\n".join(code.lines), {}, names)

    def value(scalar):
        return eval(scalar, {}, names) if isinstance(scalar, str) else scalar

    T, J = np.eye(4), np.zeros((6, MAX_AXES))
    T[:3] = np.array([[value(entry) for entry in column] for column in written.tip]).T
    J[:, : len(links)] = np.array([[value(entry) for entry in column] for column in columns]).T
    return T, J, code


def random_rotation(rng):
    kind = rng.integers(5)
    if kind < 2:
        return RIGHT_ANGLES[rng.integers(6)]
    psi, alpha, phi = rng.uniform(-3.1, 3.1, 3)
    if kind == 2:  # nearly parallel axes
        alpha = rng.choice([1e-3, 1e-8, 1e-12, 3e-16])
    if kind == 3:  # as a Denavit-Hartenberg row
        psi, phi = 0.0, rng.choice([0.0, 1.5708, np.pi / 2, -np.pi])
    return np.array(pin.utils.rotate("z", psi) @ pin.utils.rotate("x", alpha) @ pin.utils.rotate("z", phi))


def random_record(rng):
    record = load_arm(shipped_arms()[0]).record
    arm = record[0]
    arm["n_joints"] = n = rng.integers(1, MAX_AXES + 1)
    for i in range(n + 1):
        t = rng.uniform(-2.0, 2.0, 3) * rng.integers(0, 2, 3)
        P = np.column_stack([random_rotation(rng), t])
        if i < n:
            arm["placement"][i] = P.reshape(12)
            arm["prismatic"][i] = rng.integers(2)
        else:
            arm["tip"][:3] = P
    return record


@pytest.mark.parametrize("seed", range(10))
def test_straight_line_code_of_any_geometry_equals_pinocchio(seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        record, q = random_record(rng), rng.uniform(-6.0, 6.0, MAX_AXES)
        model = pinocchio_of(record)
        T_pin, J_pin = pinocchio_answer(model, model.createData(), q)
        T, J, _ = evaluate(record, q)
        assert np.abs(T - T_pin).max() < 1e-12
        assert np.abs(J - J_pin).max() < 1e-12


def test_psm_costs_no_more_than_the_products_by_hand(psm_description):
    """Known parts are folded away: 40 sums for pose and Jacobian, of which the hand-written form needed as many."""
    _, _, code = evaluate(psm_description.record, np.zeros(MAX_AXES))
    assert len(code.lines) <= 40
    assert not any("0.0 *" in line or " 1.0 *" in line for line in code.lines)


@pytest.mark.parametrize("name", shipped_arms())
def test_straight_line_code_of_every_shipped_arm_equals_chains_and_pinocchios(name, random_positions):
    """Without compiling, which takes seconds for each arm."""
    record = load_arm(name).record
    model = pinocchio_of(record)
    data = model.createData()
    T_chain, J_chain = np.zeros((4, 4)), np.zeros((6, MAX_AXES))
    for q in random_positions(record, 20):
        T, J, _ = evaluate(record, q)
        chain.forward_jacobian(record, q, T_chain, J_chain)
        T_pin, J_pin = pinocchio_answer(model, data, q)
        for found, chains, other in ((T, T_chain, T_pin), (J, J_chain, J_pin)):
            assert np.abs(found - chains).max() < 4e-15
            assert np.abs(found - other).max() < 1e-12


def test_generated_kernels_equal_chains_and_pinocchios(description, random_positions):
    arm, kernels = description.record, generated_kernels(description)
    model = pinocchio_of(arm)
    data = model.createData()
    T, T_both, T_chain = (np.full((4, 4), np.nan) for _ in range(3))
    J, J_both, J_chain = (np.full((6, MAX_AXES), np.nan) for _ in range(3))
    for q in random_positions(arm, 500):
        kernels.forward(arm, q, T)
        kernels.jacobian(arm, q, J)
        kernels.forward_jacobian(arm, q, T_both, J_both)
        chain.forward_jacobian(arm, q, T_chain, J_chain)
        T_pin, J_pin = pinocchio_answer(model, data, q)
        for found, chains, other in ((T, T_chain, T_pin), (J, J_chain, J_pin)):
            assert np.abs(found - chains).max() < 4e-15
            assert np.abs(found - other).max() < 1e-12
        assert np.abs(T_both - T).max() < 4e-15
        assert np.abs(J_both - J).max() < 4e-15


def test_kernels_take_large_angles_and_pass_on_what_is_not_finite(psm_description):
    arm, kernels = psm_description.record, generated_kernels(psm_description)
    tiles = generated_tile_kernels(psm_description)
    Q = np.zeros((3, MAX_AXES))
    Q[0, 3], Q[1, 0], Q[2, 0] = 1e6, np.nan, 0.3
    T, T_chain, T_tile = np.zeros((3, 4, 4)), np.zeros((3, 4, 4)), np.zeros((3, 4, 4))
    for i in range(3):
        kernels.forward(arm, Q[i], T[i])
        chain.forward(arm, Q[i], T_chain[i])
    tiles.forward(Q, T_tile, np.empty(tiles.work), 0, 3)
    assert np.abs(T[[0, 2]] - T_chain[[0, 2]]).max() < 2e-15
    assert np.abs(T_tile[[0, 2]] - T_chain[[0, 2]]).max() < 2e-15
    assert np.isnan(T[1]).any()
    assert np.isnan(T_tile[1]).any()


def test_another_tip_gives_other_kernels(psm_description, off_tip_psm_description):
    q, T, T_chain = np.zeros(MAX_AXES), np.zeros((4, 4)), np.zeros((4, 4))
    for description in (psm_description, off_tip_psm_description):
        generated_kernels(description).forward(description.record, q, T)
        chain.forward(description.record, q, T_chain)
        assert np.abs(T - T_chain).max() < 2e-15
    assert generated_kernels(psm_description).forward is not generated_kernels(off_tip_psm_description).forward


START = """
import sys
import numba
from numba.core.compiler import compile_extra  # noqa: F401
from kinematics.compiled import CACHE, prepare
from kinematics.description import load_arm
from kinematics.generated import generated_kernels
import numpy as np
kernels = generated_kernels(load_arm(sys.argv[1]))
prepare(*kernels)
T = np.zeros((4, 4))
kernels.forward(load_arm(sys.argv[1]).record, np.zeros(8), T)
stats = [kernel.stats for kernel in kernels]
print(sum(sum(s.cache_misses.values()) for s in stats), sum(sum(s.cache_hits.values()) for s in stats), T[0, 3])
"""


def test_two_processes_generate_at_once_and_a_later_start_compiles_nothing(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", START, shipped_arms()[0]]
    for folder in [*CACHE.glob("chain-*"), *CACHE.glob("trigonometry-*")]:  # what is not in question, and takes seconds
        shutil.copytree(folder, tmp_path / "trocar" / "numba" / folder.name)

    def start():
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    both = [start(), start()]
    answers = [process.communicate(timeout=200)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0][2] == answers[1][2]
    sources = list((tmp_path / "trocar" / "numba").glob("generated-*/*"))
    assert [path.suffix for path in sources if path.is_file()] == [".py"]  # and nothing half written
    misses, hits, _ = start().communicate(timeout=200)[0].split()
    assert (misses, hits) == ("0", "3")


def test_a_damaged_source_file_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "CACHE", tmp_path)
    source = "ANSWER = 42\n"
    imported = generated._imported.__wrapped__  # past its memory of this process
    assert imported("one", source).ANSWER == 42
    (path,) = tmp_path.glob("generated-*/one.py")
    path.write_text("ANSWER = 4")
    assert imported("one", source).ANSWER == 42
    assert path.read_text() == source


def test_geometry_alone_decides(psm_description):
    """Another limit is the same source: nothing is compiled again."""
    record = psm_description.record
    record[0]["position_max"] *= 0.5
    other = dataclasses.replace(psm_description, _record=record.tobytes())
    assert generated_kernels(other).forward is generated_kernels(psm_description).forward
