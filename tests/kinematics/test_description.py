import hashlib
import itertools
import math
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinematics import chain
from kinematics.arm_file import ARMS_FOLDER, TOOLS_FOLDER, parse_arm_file, parse_tool_file
from kinematics.description import (
    ARM,
    DescriptionError,
    Family,
    KinematicsError,
    describe,
    load_arm,
    load_tool,
    shipped_arms,
    shipped_tools,
)
from kinematics.dynamics import gravity_effort
from kinematics.mounting import mount

PSM_FILE = ARMS_FOLDER / "psm_classic.toml"
TOOL_FILE = TOOLS_FOLDER / "large_needle_driver_400006.toml"


@pytest.fixture
def edited(tmp_path):
    """Write the PSM's file, or its tool's, with one text replaced; return its path and what loads the arm with it."""

    def edit(old, new):
        arm = old in PSM_FILE.read_text()
        text = (PSM_FILE if arm else TOOL_FILE).read_text()
        assert old in text
        path = tmp_path / "edited.toml"
        path.write_text(text.replace(old, new, 1))
        return path, str(path) if arm else f"psm_classic:{path}"

    return edit


@pytest.mark.parametrize("name", shipped_arms())
def test_every_shipped_arm_loads_by_its_name(name):
    description = load_arm(name)
    assert description.file.name == name
    data = description.path.read_bytes()
    if description.tool is not None:
        assert description.name == f"{name}:{description.tool.name}"
        data += (TOOLS_FOLDER / f"{description.tool.name}.toml").read_bytes()
    assert description.digest == hashlib.sha256(data).hexdigest()[:16]
    assert load_arm(description.name).digest == description.digest


@pytest.mark.parametrize("name", shipped_tools())
def test_every_shipped_tool_has_its_files_name_and_an_arm_that_it_fits(name):
    assert load_tool(name).name == name
    assert any(name in shipped_tools(arm) for arm in shipped_arms())


def test_every_shipped_arm_holds_itself_and_its_tool_up(shipped_description, random_positions):
    """The assumed masses are plausible: gravity never asks more than 80 % of an effort limit."""
    arm, effort = shipped_description.record, np.zeros(8)
    worst = np.zeros(8)
    for q in random_positions(arm, 2000):
        gravity_effort(arm, q, effort)
        worst = np.maximum(worst, np.abs(effort))
    n = shipped_description.n_joints
    assert np.all(worst[:n] <= 0.8 * arm[0]["effort_max"][:n])
    has_masses = shipped_description.file.dynamics is not None
    assert has_masses == bool(worst.any())


@pytest.mark.parametrize("name", ["ecm_classic", "ecm_si", "raven_gold", "raven_green"])
def test_actuators_reach_every_corner_of_the_joints_limits(name):
    """To a degree or a millimetre. Those of PSM and MTM do not: their own limits cut corners off."""
    description = load_arm(name)
    arm, n = description.record[0], description.n_axes
    corners = np.array(list(itertools.product(*zip(arm["position_min"][:n], arm["position_max"][:n], strict=True))))
    actuators = corners @ arm["actuator_from_joint"][:n, :n].T
    assert np.all(actuators.min(axis=0) >= arm["actuator_position_min"][:n] - 0.02)
    assert np.all(actuators.max(axis=0) <= arm["actuator_position_max"][:n] + 0.02)


def test_axes_of_the_psm(psm_description):
    assert psm_description.axis_names == (
        "yaw",
        "pitch",
        "insertion",
        "roll",
        "wrist_pitch",
        "wrist_yaw",
        "jaw",
    )
    assert psm_description.axis_types == ("revolute", "revolute", "prismatic", *["revolute"] * 4)
    assert (psm_description.n_axes, psm_description.n_joints) == (7, 6)
    assert psm_description.actuator_names[3:] == ("disc_1", "disc_2", "disc_3", "disc_4")


def test_record_holds_what_the_kernels_need(psm_description):
    record = psm_description.record
    assert (record.shape, record.dtype) == ((1,), ARM)
    arm = record[0]
    assert (arm["n_axes"], arm["n_joints"], arm["family"]) == (7, 6, Family.PSM)
    assert arm["alpha"][0] == math.pi / 2  # exact, where the offsets are the dVRK's four digits
    assert arm["offset"][0] == 1.5708
    assert np.abs(arm["joint_from_actuator"] @ arm["actuator_from_joint"] - np.eye(8)).max() < 1e-15
    assert np.array_equal(arm["joint_from_actuator"][7], np.eye(8)[7])
    # Peak joint efforts and encoder resolution as the dVRK derives them from gears and motors.
    peak = arm["effort_per_amp"] * arm["current_max"]
    assert np.abs(peak[:7] - [3.316101, 3.316101, 9.877926, *[0.343642] * 4]).max() < 1e-4
    assert np.abs(arm["counts_per_unit"][:4] - [129488.5, 129488.5, 771430.4, 7454.8]).max() < 0.05
    assert np.array_equal(arm["brake"], [1, 1, 1, 0, 0, 0, 0, 0])


def test_soft_limits_of_the_arms_first_joints_agree_between_joint_and_actuator_space(psm_description):
    arm = psm_description.record[0]
    for end in ("min", "max"):
        assert np.abs(arm[f"position_{end}"][:3] - arm[f"actuator_position_{end}"][:3]).max() < 3e-4


def test_record_is_the_callers_own(psm_description):
    psm_description.record[0]["mass"][0] = 1e9
    assert psm_description.record[0]["mass"][0] == 1.5


def test_axes_without_entries_are_zero(psm_description):
    arm = psm_description.record[0]
    for name in ARM.names:
        if ARM[name].shape[:1] == (8,) and name not in (
            "joint_from_actuator",
            "actuator_from_joint",
            "friction_smoothing",
        ):
            assert not np.any(arm[name][7]), name


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('family = "psm"', 'family = "scara"', ["family = 'scara'", "psm"]),
        ('convention = "modified"', 'convention = "craig"', ["convention = 'craig'"]),
        ("position_min = -1.588\n", "position_min = 1.588\n", ["axes[0].position_min = 1.588", "position_max"]),
        ("position_min = -1.588\n", 'position_min = "low"\n', ["axes[0].position_min = 'low'", "float"]),
        ("position_min = -1.588\n", "", ["axes[0]", "position_min"]),
        ("position_min = -1.588\n", "position_min = nan\n", ["axes[0].position_min = nan", "finite"]),
        ("velocity_max = 1.570796\n", "velocity_max = -1.0\n", ["axes[0].velocity_max = -1.0"]),
        ("effort_max = 3.316101\n", "effort_max = inf\n", ["axes[0].effort_max = inf", "finite"]),
        ("effort_max = 3.316101\n", "effort_max = 3.3\npower_max = 1.0\n", ["axes[0]", "power_max"]),
        ("alpha = 1.5707963267948966", "alpha = 1.5708", ["axes[0].alpha = 1.5708", "1.5707963267948966"]),
        ("a = 0.0091\ntheta = 0.0\n", "a = 0.0091\n", ["axes[2] (wrist_yaw)", "theta"]),
        ("a = 0.0\n", "a = 0.01\n", ["axes[0].a = 0.01", "none"]),
        ('type = "prismatic"', 'type = "revolute"', ["axes[*].type", "prismatic", "none"]),
        ('type = "prismatic"', 'type = "helical"', ["axes[2].type = 'helical'"]),
        ('name = "pitch"', 'name = "yaw"', ["axes[*].name", "once"]),
        ('name = "yaw"', 'name = "Yaw axis"', ["axes[0].name = 'Yaw axis'"]),
        ("[0.0, -1.0, 0.0, 0.0],", "[0.0, -1.0, 0.0],", ["tip.matrix", "4 rows of 4"]),
        ("[0.0, -1.0, 0.0, 0.0],", "[0.0, -1.001, 0.0, 0.0],", ["tip.matrix", "orthonormal"]),
        ("[0.0, -1.0, 0.0, 0.0],", "[0.0, 1.0, 0.0, 0.0],", ["tip.matrix", "right-handed"]),
        ("a = 0.0091\n", "a = 0.0091\nplacement = []\n", ["axes[2].placement", "DH numbers"]),
        ('convention = "modified" # Craig', 'convention = "frames" # Craig', ["axes[0] (yaw)", "a placement"]),
        ("gear_ratio = [56.5, ", "gear_ratio = [", ["actuators.gear_ratio", "a list of 7", "6 entries"]),
        ('"disc_3", "disc_4"]', '"disc_3"]', ["actuators.encoder_counts_per_turn", "a list of 6"]),
        ("gear_ratio = [56.5, ", "gear_ratio = [0.0, ", ["actuators.gear_ratio[0] = 0.0"]),
        ("brake = [true, ", "brake = [1, ", ["actuators.brake[0] = 1", "bool"]),
        ("-1.2177, 1.2177]", "-1.2177, -1.2177]", ["coupling.matrix", "inverted"]),
        ("0.6089, 0.6089],", "0.6089],", ["coupling.matrix", "4 rows of 4"]),
        ("[0.0, 1.0, 0.0],", "[0.0, 0.0, 0.0],", ["actuators.joint_from_actuator", "inverted"]),
        ("[0.0, 1.0, 0.0],", "[0.0, 1.0],", ["actuators.joint_from_actuator", "3 rows of 3"]),
        ("gravity = [0.0, 0.0, -9.80665]", "gravity = [-9.80665]", ["dynamics.gravity", "a list of 3"]),
        ("mass = 1.5", "mass = -1.5", ["dynamics.links[0].mass = -1.5"]),
        ("com = [0.008, 0.01, -0.12]", "com = [0.008, 0.01]", ["dynamics.links[0].com", "a list of 3"]),
        (
            "inertia = [[0.008, 0.0, 0.0]",
            "inertia = [[0.08, 0.0, 0.0]",
            ["links[0].inertia", "sum of the others"],
        ),
        ("inertia = [[0.008, 0.0, 0.0]", "inertia = [[0.008, 0.001, 0.0]", ["dynamics.links[0].inertia", "symmetric"]),
        ("inertia = [[0.008, 0.0, 0.0]", "inertia = [[-0.008, 0.0, 0.0]", ["dynamics.links[0].inertia", "positive"]),
        ("viscous = [0.0905326, ", "viscous = [", ["dynamics.friction.viscous", "a list of 3"]),
        ("coulomb = [0.050003, ", "coulomb = [-0.05, ", ["dynamics.friction.coulomb[0] = -0.05"]),
        ("smoothing = [0.02, ", "smoothing = [0.0, ", ["dynamics.friction.smoothing[0] = 0.0"]),
        ("default_tool = ", "default_tol = ", ["default_tol"]),
        ('default_tool = "large_needle_driver_400006"', 'default_tool = "hook"', ["no tool is named 'hook'"]),
        ("[tip]", "[[tip]]", ["tip"]),
        ("[tip]", "[tip", ["TOML", "line"]),
    ],
)
def test_wrong_file_is_refused_with_file_key_value_and_what_is_allowed(edited, old, new, words):
    path, arm = edited(old, new)
    with pytest.raises(DescriptionError) as caught:
        load_arm(arm)
    message = str(caught.value)
    for word in [*([] if "hook" in new else [str(path)]), *words]:
        assert word in message, message


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("mtml", 'convention = "standard"', 'convention = "modified"', ["convention = 'modified'", '"standard"']),
        ("mtml", "a = 0.2794\n", "a = 0.2794\ntheta_0 = 0.0\n", ["theta_0"]),
        ("mtml", "d = 0.1506\n", "d = 0.1506\n", []),
        ("mtml", "alpha = -1.5707963267948966", "alpha = -1.57", ["axes[2].alpha = -1.57", "mtm"]),
        ("mtml", 'type = "revolute"', 'type = "prismatic"', ["axes[*].type", "mtm"]),
        ("ecm_si", "alpha = 0.0\n", "alpha = 0.1\n", ["axes[3].alpha = 0.1", "ecm"]),
        ("raven_gold", "alpha = 2.234021442552742", "alpha = 3.141592653589793", ["axes[2].alpha", "multiple of pi"]),
        ("raven_gold", "d = 0.0\n", "d = 0.01\n", ["axes[0].d = 0.01", "raven"]),
        ("panda", "a = 0.0825\n", "a = 0.08\n", []),
    ],
)
def test_arm_that_its_familys_closed_form_would_answer_wrongly_is_refused(tmp_path, name, old, new, words):
    text = (ARMS_FOLDER / f"{name}.toml").read_text()
    assert old in text
    path = tmp_path / "edited.toml"
    path.write_text(text.replace(old, new, 1))
    if not words:
        load_arm(path)
        return
    with pytest.raises(DescriptionError) as caught:
        load_arm(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_endoscope_beside_the_rolls_axis_is_refused(tmp_path):
    text = (TOOLS_FOLDER / "endoscope_si_hd_up.toml").read_text()
    path = tmp_path / "bent.toml"
    path.write_text(
        text.replace(
            "    [0.0, 0.8660254037844387, 0.49999999999999994, 0.0],",
            "    [0.0, 0.8660254037844387, 0.49999999999999994, 0.02],",
        )
    )
    with pytest.raises(DescriptionError, match=r"tip.matrix\[0..1\]\[3\].*on the axis of the last joint"):
        load_arm(f"ecm_si:{path}")


def test_dh_row_after_the_jaw_is_refused(edited):
    row = "alpha = 0.0\na = 0.0\ntheta = 0.0\nd = 0.4162\noffset = 0.0\n"
    with pytest.raises(DescriptionError, match=r"axes\[1\].alpha.*put the jaw after the joints"):
        load_arm(edited(row, "")[1])


def test_links_must_be_the_joints_in_order(edited):
    with pytest.raises(DescriptionError, match=r"dynamics.links\[\*\].name.*give one link per joint"):
        load_arm(edited('name = "pitch"\nmass', 'name = "tilt"\nmass')[1])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("psm_classic:large_needle_driver_420006", ["does not fit", "da_vinci_si", "da_vinci_classic"]),
        ("mtml:large_needle_driver_400006", ["does not fit", "takes no tools"]),
        ("psm_classic:hook", ["no tool is named 'hook'", "prograsp_forceps_400093"]),
        ("psm_classic:nowhere.toml", ["the tool's file nowhere.toml cannot be read"]),
    ],
)
def test_tool_that_does_not_fit_is_refused(name, words):
    with pytest.raises(DescriptionError) as caught:
        load_arm(name)
    for word in words:
        assert word in str(caught.value)


def without(text, start, end):
    a = text.index(start)
    return text[:a] + text[text.index(end, a) :]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: without(text, "# The jaw opens", "[tip]"), ["coupling.matrix", "3 rows of 3"]),
        (lambda text: without(text, "[coupling]", "[dynamics]"), ["no [coupling]", "add [coupling]"]),
        (lambda text: text[: text.index("[dynamics]")], ["the arm has [dynamics], and the tool none"]),
        (lambda text: text.replace('convention = "modified"', 'convention = "standard"'), ["convention is 'standard'"]),
        (lambda text: text.replace('convention = "modified"', ""), ["convention = None", "that of the arm"]),
        (lambda text: text.replace('name = "jaw"', 'name = "pitch"'), ["an axis of one name"]),
        (lambda text: text.replace("alpha = 0.0\n", "alpha = 0.1\n"), ["axes[3].alpha = 0.1", 'family "psm"']),
        (
            lambda text: (
                without(
                    without(text, "# The jaw opens", "[tip]").replace(
                        "matrix = [\n    [-1.5", "matrix = [[1.0]]\nx = [[-1.5"
                    ),
                    "[coupling]",
                    "[dynamics]",
                )
                .replace("coulomb = [0.002465, ", "coulomb = [")
                .replace("viscous = [0.0011114, ", "viscous = [")
                .replace("smoothing = [0.05, ", "smoothing = [")
            ),
            ["it has 3 axes", "leave 4", "one axis per actuator"],
        ),
    ],
)
def test_wrong_tool_is_refused_with_what_does_not_fit(tmp_path, change, words):
    path = tmp_path / "wrong.toml"
    path.write_text(change(TOOL_FILE.read_text()))
    with pytest.raises(DescriptionError) as caught:
        load_arm(f"psm_classic:{path}")
    for word in [str(path) if "psm" not in words[-1] else "", *words]:
        assert word in str(caught.value), str(caught.value)


def test_arm_that_needs_a_tool_names_those_that_fit(edited):
    path, arm = edited('default_tool = "large_needle_driver_400006"\n', "")
    with pytest.raises(DescriptionError, match=r"needs a tool.*large_needle_driver_400006, prograsp"):
        load_arm(arm)
    assert load_arm(f"{path}:prograsp_forceps_400093").tool.name == "prograsp_forceps_400093"


def test_tool_on_a_flange_moves_the_tip_and_arm_without_masses_stays_without():
    bare, held = load_arm("iiwa7"), load_arm("iiwa7:straight_instrument_300")
    assert (bare.name, held.name) == ("iiwa7", "iiwa7:straight_instrument_300")
    assert abs(held.record[0]["tip"][2, 3] - bare.record[0]["tip"][2, 3] - 0.3) < 1e-15
    assert held.file.dynamics is None
    assert not held.has_actuators
    assert held.actuator_names == ()


def test_endoscope_adds_its_mass_to_the_link_that_carries_it():
    description = load_arm("ecm_classic")
    links = {link.name: link for link in description.file.dynamics.links}
    assert links["roll"].mass == 0.3 + 1.5
    bodies = [(0.3, -0.3, 0.0005), (1.5, -0.3, 0.02)]
    com = sum(m * z for m, z, _ in bodies) / 1.8
    assert abs(links["roll"].com[2] - com) < 1e-15
    assert abs(links["roll"].inertia[0][0] - sum(i + m * (z - com) ** 2 for m, z, i in bodies)) < 1e-15


def test_insertion_of_a_raven_turns_the_spindles_as_its_software_says():
    """raven2 fwd_cable_coupling.cpp, motor angles to joints, for both arms and both styles of tools."""
    TR = np.array([136.19624, 121.520, 2158.5903, 5.3952, 8.9920, 8.9920, 8.9920])
    gearbox = 49 / 4 / (26 / 7) * (5.005 / 5.675)
    motors = np.array([100.0, 200.0, 900.0, 310.0, 240.0, 250.0, 280.0])
    for arm, tool, sign, wrist_coupling in (
        ("raven_gold", "raven_grasper", 1, 0.0),
        ("raven_green", "raven_grasper", -1, 0.0),
        ("raven_gold", "raven_large_needle", -1, 0.5),
        ("raven_green", "raven_large_needle", 1, 0.5),
    ):
        record = load_arm(f"{arm}:{tool}").record[0]
        actuators = motors / (record["counts_per_unit"][:7] / (4000 / (2 * math.pi)))
        th1 = motors[0] / TR[0]
        th2 = motors[1] / TR[1] - 0.14545 * th1
        d4 = motors[2] / TR[2] - 0.0077973826 * th1 - 0.008077387 * th2
        th3, th5, m6, m7 = (motors[3:] - sign * motors[2] / gearbox) / TR[3:]
        th6, th7 = m6 - th5 * wrist_coupling, m7 + th5 * wrist_coupling
        expected = [th1, th2, d4, th3, th5, (th7 - th6) / 2, th6 + th7]
        assert np.abs(record["joint_from_actuator"][:7, :7] @ actuators - expected).max() < 2e-3


def test_master_at_rest_is_where_the_dvrk_says():
    """All joints at 0: forearm level, and the wrist's centre 0.1288 m below the base (0.2794 - 0.1506)."""
    T = np.zeros((4, 4))
    for name in ("mtml", "mtmr"):
        chain.forward(load_arm(name).record, np.zeros(8), T)
        assert np.abs(T[:3, 3] - [0.0, -0.3645, -0.1288]).max() < 1e-5


def test_both_arms_of_a_raven_are_mirror_images(random_positions):
    """In the plane of their x and z axes, while the instrument is not turned."""
    gold, green = load_arm("raven_gold").record, load_arm("raven_green").record
    T_gold, T_green = np.zeros((4, 4)), np.zeros((4, 4))
    for q in random_positions(gold, 50):
        q[3:] = 0.0
        chain.forward(gold, q, T_gold)
        chain.forward(green, q, T_green)
        assert np.abs(T_gold[:3, 3] - [1.0, -1.0, 1.0] * T_green[:3, 3]).max() < 1e-15


def test_examples_reach_as_far_as_their_makers_say():
    """Stretched out, all joints at 0: Panda's flange at (0.088, 0, 0.926) m, iiwa's 1.266 m up."""
    T = np.zeros((4, 4))
    for name, position in (("panda", [0.088, 0.0, 0.926]), ("iiwa7", [0.0, 0.0, 1.266])):
        chain.forward(load_arm(name).record, np.zeros(8), T)
        assert np.abs(T[:3, 3] - position).max() < 1e-15


def test_unknown_arm_is_refused_with_those_that_exist():
    with pytest.raises(DescriptionError, match=r"no arm is named 'psm_xi'; shipped are .*psm_classic"):
        load_arm("psm_xi")


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(DescriptionError, match=r"nowhere\.toml cannot be read"):
        load_arm(tmp_path / "nowhere.toml")


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DescriptionError, match="no TOML in UTF-8"):
        load_arm(path)


def test_errors_have_one_root_and_are_value_errors():
    assert issubclass(DescriptionError, KinematicsError)
    assert issubclass(DescriptionError, ValueError)


def test_reading_a_description_does_not_load_the_compiler():
    """Clients show limits and names; they should not wait half a second for Numba."""
    program = "import sys, kinematics.description as d; d.load_arm('psm_classic'); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


ENTRIES = st.one_of(
    st.floats(),
    st.integers(-3, 3),
    st.booleans(),
    st.sampled_from(["", "yaw", "modified", "frames", "psm", "none", "revolute", "prismatic"]),
    st.lists(st.floats(-2.0, 2.0), max_size=4),
    st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=4), max_size=4),
    st.just({}),
    st.just([{}]),
)


def broken(draw, table):
    """Change, add or remove one entry somewhere in a table."""
    keys = list(table) if isinstance(table, dict) else list(range(len(table)))
    if not keys:
        return
    key = draw(st.sampled_from(keys))
    if isinstance(table[key], dict | list) and draw(st.booleans()):
        broken(draw, table[key])
    elif draw(st.integers(0, 3)) == 0:
        del table[key]
    else:
        table[key] = draw(ENTRIES)


TEXTS = {
    (arm, tool): [(ARMS_FOLDER / f"{arm}.toml").read_text()]
    + ([(TOOLS_FOLDER / f"{tool}.toml").read_text()] if tool else [])
    for arm, tool in (
        ("psm_classic", "large_needle_driver_400006"),
        ("ecm_si", "endoscope_si_hd_up"),
        ("mtml", None),
        ("raven_green", "raven_grasper"),
        ("panda", "straight_instrument_300"),
    )
}


@settings(max_examples=200)
@given(st.data())
def test_any_broken_file_is_loaded_or_refused_in_words(data):
    """No other error than ours comes out, and what is loaded is finite."""
    arm, tool = data.draw(st.sampled_from(list(TEXTS)))
    raw = [tomllib.loads(text) for text in TEXTS[arm, tool]]
    for _ in range(data.draw(st.integers(1, 2))):
        broken(data.draw, data.draw(st.sampled_from(raw)))
    path = Path("broken.toml")
    try:
        file = parse_arm_file(path, raw[0])
        if tool:
            file = mount(file, parse_tool_file(path, raw[1]), path)
        elif file.actuators is not None and len(file.actuators.names) > len(file.axes):
            return
        record = describe(file, path=path, data=b"").record[0]
    except DescriptionError as error:
        assert "broken.toml" in str(error)
        return
    for name in ARM.names:
        assert np.isfinite(record[name]).all()
