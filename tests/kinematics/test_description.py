import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from kinematics.arm_file import ARMS_FOLDER
from kinematics.description import ARM, DescriptionError, Family, KinematicsError, load_arm, shipped_arms

PSM_FILE = ARMS_FOLDER / "psm_classic.toml"


@pytest.fixture
def edited(tmp_path):
    """Write the PSM's file with one text replaced, and return its path."""

    def edit(old, new):
        text = PSM_FILE.read_text()
        assert old in text
        path = tmp_path / "edited.toml"
        path.write_text(text.replace(old, new, 1))
        return path

    return edit


@pytest.mark.parametrize("name", shipped_arms())
def test_every_shipped_arm_loads_by_its_name(name):
    description = load_arm(name)
    assert description.name == name
    assert description.digest == hashlib.sha256(description.path.read_bytes()).hexdigest()[:16]


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
        ('convention = "modified"', 'convention = "standard"', ["convention = 'standard'", "modified", "none"]),
        ('convention = "modified"', 'convention = "craig"', ["convention = 'craig'"]),
        ("position_min = -1.588\n", "position_min = 1.588\n", ["axes[0].position_min = 1.588", "position_max"]),
        ("position_min = -1.588\n", 'position_min = "low"\n', ["axes[0].position_min = 'low'", "float"]),
        ("position_min = -1.588\n", "", ["axes[0]", "position_min"]),
        ("position_min = -1.588\n", "position_min = nan\n", ["axes[0].position_min = nan", "finite"]),
        ("velocity_max = 1.570796\n", "velocity_max = -1.0\n", ["axes[0].velocity_max = -1.0"]),
        ("effort_max = 3.316101\n", "effort_max = inf\n", ["axes[0].effort_max = inf", "finite"]),
        ("effort_max = 3.316101\n", "effort_max = 3.3\npower_max = 1.0\n", ["axes[0]", "power_max"]),
        ("alpha = 1.5707963267948966", "alpha = 1.5708", ["axes[0].alpha = 1.5708", "1.5707963267948966"]),
        ("a = 0.0091\ntheta = 0.0\n", "a = 0.0091\n", ["axes[5] (wrist_yaw)", "theta"]),
        ("a = 0.0\n", "a = 0.01\n", ["axes[0].a = 0.01", "none"]),
        ('type = "prismatic"', 'type = "revolute"', ["axes[*].type", "prismatic", "none"]),
        ('type = "prismatic"', 'type = "helical"', ["axes[2].type = 'helical'"]),
        ('name = "pitch"', 'name = "yaw"', ["axes[*].name", "once"]),
        ('name = "yaw"', 'name = "Yaw axis"', ["axes[0].name = 'Yaw axis'"]),
        ("[0.0, -1.0, 0.0, 0.0],", "[0.0, -1.0, 0.0],", ["tip.matrix", "4 rows of 4"]),
        ("[0.0, -1.0, 0.0, 0.0],", "[0.0, -1.001, 0.0, 0.0],", ["tip.matrix", "orthonormal"]),
        ("[0.0, -1.0, 0.0, 0.0],", "[0.0, 1.0, 0.0, 0.0],", ["tip.matrix", "right-handed"]),
        ("gear_ratio = [56.5, ", "gear_ratio = [", ["actuators.gear_ratio", "a list of 7", "6 entries"]),
        ("gear_ratio = [56.5, ", "gear_ratio = [0.0, ", ["actuators.gear_ratio[0] = 0.0"]),
        ("brake = [true, ", "brake = [1, ", ["actuators.brake[0] = 1", "bool"]),
        ("-1.2177, 1.2177]", "-1.2177, -1.2177]", ["actuators.joint_from_actuator", "inverted"]),
        ("0.6089, 0.6089],", "0.6089],", ["actuators.joint_from_actuator", "7 rows of 7"]),
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
        ("viscous = [0.0905326, ", "viscous = [", ["dynamics.friction.viscous", "a list of 7"]),
        ("coulomb = [0.050003, ", "coulomb = [-0.05, ", ["dynamics.friction.coulomb[0] = -0.05"]),
        ("smoothing = [0.02, ", "smoothing = [0.0, ", ["dynamics.friction.smoothing[0] = 0.0"]),
        ("[tip]", "[[tip]]", ["tip"]),
        ("[tip]", "[tip", ["TOML", "line"]),
    ],
)
def test_wrong_file_is_refused_with_file_key_value_and_what_is_allowed(edited, old, new, words):
    path = edited(old, new)
    with pytest.raises(DescriptionError) as caught:
        load_arm(path)
    message = str(caught.value)
    for word in [str(path), *words]:
        assert word in message


def test_dh_row_after_the_jaw_is_refused(edited):
    row = "alpha = 1.5707963267948966\na = 0.0\ntheta = 0.0\nd = 0.0\noffset = 1.5708\n"
    with pytest.raises(DescriptionError, match=r"axes\[1\].alpha.*put the jaw after the joints"):
        load_arm(edited(row, ""))


def test_links_must_be_the_joints_in_order(edited):
    with pytest.raises(DescriptionError, match=r"dynamics.links\[\*\].name.*give one link per joint"):
        load_arm(edited('name = "pitch"\nmass', 'name = "tilt"\nmass'))


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
