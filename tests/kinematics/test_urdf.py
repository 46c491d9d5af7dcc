import math
import sys

import numpy as np
import pinocchio as pin
import pytest

from kinematics import chain, dynamics
from kinematics.description import DescriptionError, load_arm
from kinematics.urdf import MissingLimits, UrdfWarning, load_urdf, to_urdf


def joint(name, kind, parent, child, *, xyz="0 0 0", rpy="0 0 0", axis="0 0 1", limit='lower="-2" upper="2"', more=""):
    bounds = f'<limit {limit} velocity="1.5" effort="20"/>' if limit else ""
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{xyz}" rpy="{rpy}"/><axis xyz="{axis}"/>{bounds}{more}</joint>'
    )


def link(name, mass=0.0, xyz="0 0 0", rpy="0 0 0", inertia=(0.0,) * 6):
    if not mass:
        return f'<link name="{name}"/>'
    keys = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
    entries = " ".join(f'{key}="{value}"' for key, value in zip(keys, inertia, strict=True))
    return (
        f'<link name="{name}"><inertial><origin xyz="{xyz}" rpy="{rpy}"/><mass value="{mass}"/>'
        f"<inertia {entries}/></inertial></link>"
    )


TWO_JOINTS = (
    link("world"),
    link("upper", 1.0, xyz="0 0 0.1", inertia=(0.01, 0, 0, 0.01, 0, 0.001)),
    link("lower"),
    joint("shoulder", "revolute", "world", "upper"),
    joint("elbow", "prismatic", "upper", "lower", xyz="0 0 0.3", axis="1 0 0"),
)


@pytest.fixture
def written(tmp_path):
    def write(*parts, name="Two-Joint robot"):
        path = tmp_path / "robot.urdf"
        path.write_text(f'<?xml version="1.0"?><robot name="{name}">{"".join(parts)}</robot>')
        return path

    return write


def assert_equals_pinocchio(description, text, tip, names, count=100):
    """Against Pinocchio's own reader: pose and Jacobian of the tip to 1e-12, gravity to 1e-11.

    Names are those of our joints in the file; Pinocchio may have others beside the chain, which stay at 0.
    """
    arm, n = description.record, description.n_joints
    model = pin.buildModelFromXML(text)
    model.gravity.linear = arm[0]["gravity"].copy()
    data, frame = model.createData(), model.getFrameId(tip)
    where = [model.joints[model.getJointId(name)].idx_q for name in names]
    rng = np.random.default_rng(3)
    T, J, effort = np.zeros((4, 4)), np.zeros((6, 8)), np.zeros(8)
    for _ in range(count):
        q = rng.uniform(arm[0]["position_min"], arm[0]["position_max"])
        all_q = pin.neutral(model)
        all_q[where] = q[:n]
        chain.forward(arm, q, T)
        chain.jacobian(arm, q, J)
        J_pin = pin.computeFrameJacobian(model, data, all_q, frame, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED)
        pin.framesForwardKinematics(model, data, all_q)
        assert np.abs(T - data.oMf[frame].homogeneous).max() < 1e-12
        assert np.abs(J[:, :n] - J_pin[:, where]).max() < 1e-12
        dynamics.gravity_effort(arm, q, effort)
        expected = pin.computeGeneralizedGravity(model, data, all_q)
        assert np.abs(effort[:n] - expected[where]).max() < 1e-11


def random_robot(seed):
    """A chain of up to 8 joints with any axes and origins, fixed joints between, and fingers and cameras hung on it."""
    rng = np.random.default_rng(seed)

    def numbers(count, scale=1.0):
        return " ".join(repr(float(x)) for x in scale * rng.normal(size=count))

    def body(name):
        A = rng.normal(size=(3, 3))
        inertia = A @ A.T * 1e-2 + np.eye(3) * 1e-3
        upper = inertia[np.triu_indices(3)]
        return link(name, float(rng.uniform(0.1, 3.0)), numbers(3, 0.2), numbers(3), [float(x) for x in upper])

    parts, last, count = [link("root")], "root", int(rng.integers(1, 9))
    for i in range(count):
        for k in range(int(rng.integers(0, 3))):
            parts += [body(f"f{i}{k}"), joint(f"fix{i}{k}", "fixed", last, f"f{i}{k}", xyz=numbers(3), rpy=numbers(3))]
            last = f"f{i}{k}"
        kind = "revolute" if rng.random() < 0.7 else "prismatic"
        axis = [numbers(3), "0 0 1", "0 0 -1", "0 -2 0", "1e-9 0 -1", "3 0 0"][int(rng.integers(0, 6))]
        parts += [body(f"l{i}"), joint(f"q{i}", kind, last, f"l{i}", xyz=numbers(3), rpy=numbers(3), axis=axis)]
        last = f"l{i}"
        if rng.random() < 0.5:
            parts += [body(f"cam{i}"), joint(f"hold{i}", "fixed", last, f"cam{i}", xyz=numbers(3), rpy=numbers(3))]
        if rng.random() < 0.3:
            parts += [
                body(f"hand{i}"),
                joint(f"grip{i}", "revolute", last, f"hand{i}", xyz=numbers(3), axis=numbers(3)),
            ]
            parts += [body(f"nail{i}"), joint(f"stick{i}", "fixed", f"hand{i}", f"nail{i}", xyz=numbers(3))]
    parts += [link("tool"), joint("flange", "fixed", last, "tool", xyz=numbers(3), rpy=numbers(3))]
    return parts


@pytest.mark.parametrize("seed", range(12))
def test_any_chain_equals_pinocchios_own_reader(written, seed):
    path = written(*random_robot(seed))
    description = load_urdf(path, tip="tool")
    names = [f"q{i}" for i in range(description.n_joints)]
    assert list(description.axis_names) == names
    assert_equals_pinocchio(description, path.read_text(), "tool", names, count=30)


def test_every_shipped_arm_survives_the_way_to_urdf_and_back(shipped_description, tmp_path, random_positions):
    arm, n = shipped_description.record, shipped_description.n_joints
    text = to_urdf(shipped_description)
    path = tmp_path / "arm.urdf"
    path.write_text(text)
    gravity = tuple(arm[0]["gravity"]) if shipped_description.file.dynamics else (0.0, 0.0, -9.80665)
    back = load_urdf(path, gravity=gravity)
    T, T_back, effort, effort_back = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros(8), np.zeros(8)
    for q in random_positions(arm, 50):
        chain.forward(arm, q, T)
        chain.forward(back.record, q, T_back)
        assert np.abs(T - T_back).max() < 1e-12
        dynamics.gravity_effort(arm, q, effort)
        dynamics.gravity_effort(back.record, q, effort_back)
        assert np.abs(effort - effort_back).max() < 1e-12
    for key in ("position_min", "position_max", "velocity_max", "effort_max"):
        assert np.array_equal(arm[0][key][:n], back.record[0][key][:n])
    assert_equals_pinocchio(back, text, "tip", back.axis_names, count=20)


def test_load_arm_reads_a_urdf_file_by_its_ending(written):
    path = written(*TWO_JOINTS)
    description = load_arm(path)
    assert (description.name, description.title) == ("two_joint_robot", "Two-Joint robot")
    assert description.axis_names == ("shoulder", "elbow")
    assert description.axis_types == ("revolute", "prismatic")
    assert not description.has_actuators
    arm = description.record[0]
    assert np.array_equal(arm["velocity_max"][:2], [1.5, 1.5])
    assert np.array_equal(arm["effort_max"][:2], [20.0, 20.0])
    assert abs(arm["acceleration_max"][0] - 6.0) < 1e-12
    assert abs(arm["jerk_max"][0] - 60.0) < 1e-12
    assert load_arm(path).digest == description.digest
    assert load_urdf(path, tip="upper").digest != description.digest


def test_base_and_tip_cut_the_chain(written):
    path = written(*TWO_JOINTS)
    short = load_urdf(path, base="upper", tip="lower")
    assert short.axis_names == ("elbow",)
    T = np.zeros((4, 4))
    chain.forward(short.record, np.array([0.5, 0, 0, 0, 0, 0, 0, 0.0]), T)
    assert np.abs(T[:3, 3] - [0.5, 0.0, 0.3]).max() < 1e-15
    assert np.abs(T[:3, :3] - np.eye(3)).max() < 1e-15  # the joint's frame is turned, the link's is not


def test_robot_without_masses_has_no_dynamics(written):
    path = written(link("a"), link("b"), joint("j", "revolute", "a", "b"))
    assert load_urdf(path).file.dynamics is None


def test_missing_limits_are_warned_of_with_what_is_taken(written):
    path = written(link("a"), link("b"), joint("spin", "continuous", "a", "b", limit=""))
    with pytest.warns(UrdfWarning, match=r"spin has no limit.*position ±6.28319 rad, velocity 1 rad/s, effort 10 N·m"):
        description = load_urdf(path)
    assert description.record[0]["position_max"][0] == 2.0 * math.pi
    with pytest.warns(UrdfWarning, match="position ±12.5664 rad, velocity 3 rad/s"):
        description = load_urdf(path, missing=MissingLimits(turns=2.0, velocity_revolute=3.0))
    assert description.record[0]["velocity_max"][0] == 3.0


@pytest.mark.parametrize(
    ("parts", "options", "words"),
    [
        (
            [link("a"), link("b"), joint("j", "revolute", "a", "b", limit="")],
            {},
            ["joint j", "lower = None", "guessed"],
        ),
        (
            [link("a"), link("b"), joint("j", "revolute", "a", "b", limit='lower="1" upper="1"')],
            {},
            ["lower = 1.0, upper = 1.0", "less than"],
        ),
        ([link("a"), link("b"), joint("j", "floating", "a", "b")], {}, ["'floating'", "revolute, continuous"]),
        ([link("a"), link("b"), joint("j", "planar", "a", "b")], {}, ["'planar'"]),
        ([link("a"), link("b"), joint("j", "revolute", "a", "b", axis="0 0 0")], {}, ["joint j: axis", "not all 0"]),
        ([link("a"), link("b"), joint("j", "fixed", "a", "b")], {}, ["1 to 8 that move"]),
        ([link("a")], {}, ["1 to 8 that move"]),
        (
            [link("l0"), *(link(f"l{i + 1}") + joint(f"j{i}", "revolute", f"l{i}", f"l{i + 1}") for i in range(9))],
            {},
            ["'j8'", "1 to 8 that move"],
        ),
        (
            [*TWO_JOINTS, link("hand"), joint("grip", "revolute", "upper", "hand")],
            {},
            ["branches at link upper", "tip=LINK", "lower, hand"],
        ),
        ([*TWO_JOINTS], {"tip": "nothing"}, ["no link 'nothing'", "world, upper, lower"]),
        ([*TWO_JOINTS], {"base": "nothing"}, ["no link 'nothing'"]),
        ([*TWO_JOINTS], {"base": "lower", "tip": "upper"}, ["upper is not below lower", "exchange"]),
        ([*TWO_JOINTS, link("alone")], {}, ["roots of the tree are ['world', 'alone']"]),
        (
            [*TWO_JOINTS, joint("back", "fixed", "lower", "world"), joint("more", "fixed", "upper", "lower")],
            {},
            ["two joints", "loop"],
        ),
        (
            [link("a"), link("b"), joint("j", "revolute", "a", "b"), joint("k", "revolute", "b", "a")],
            {"base": "a"},
            ["link a hangs on itself", "loop"],
        ),
        ([link("a"), joint("j", "revolute", "a", "b")], {}, ["joint j names the link 'b'"]),
        (
            [
                *TWO_JOINTS,
                link("finger"),
                joint("f", "revolute", "lower", "finger", more='<mimic joint="elbow" multiplier="2"/>'),
            ],
            {},
            ["joint f mimics elbow", "tip before it"],
        ),
        (
            [link("a"), link("b"), link("c"), joint("J-1", "revolute", "a", "b"), joint("j_1", "revolute", "b", "c")],
            {},
            ["['j_1', 'j_1']", "of different names"],
        ),
        ([link("a"), link("b", mass=-1.0), joint("j", "revolute", "a", "b")], {}, ["link b: mass = -1.0"]),
        (["<link/>"], {}, ["no URDF that can be read"]),
        (["<joint>"], {}, ["no URDF that can be read"]),
    ],
)
def test_wrong_file_is_refused_with_what_is_allowed(written, parts, options, words):
    path = written(*parts)
    with pytest.raises(DescriptionError) as caught:
        load_urdf(path, **options)
    for word in [str(path), *words]:
        assert word in str(caught.value), str(caught.value)


def test_mimicking_finger_beside_the_chain_is_no_hindrance(written):
    finger = joint("f", "revolute", "lower", "finger", more='<mimic joint="elbow" multiplier="2"/>')
    path = written(*TWO_JOINTS, link("finger"), finger)
    assert load_urdf(path, tip="lower").axis_names == ("shoulder", "elbow")


def test_absent_file_and_tool_on_a_urdf_are_refused(tmp_path, written):
    with pytest.raises(DescriptionError, match=r"nowhere\.urdf cannot be read"):
        load_arm(tmp_path / "nowhere.urdf")
    path = written(*TWO_JOINTS)
    with pytest.raises(DescriptionError, match="takes no tool"):
        load_arm(f"{path}:large_needle_driver_400006")


def test_absent_reader_is_told_with_how_to_install_it(written, monkeypatch):
    path = written(*TWO_JOINTS)
    monkeypatch.setitem(sys.modules, "yourdfpy", None)
    with pytest.raises(DescriptionError, match=r"pip install 'trocar\[urdf\]'"):
        load_arm(path)
