import numpy as np
import pytest

from kinematics.arm_file import TOOLS_FOLDER
from kinematics.description import load_arm, shipped_arms, shipped_tools

STANDARD_ARM = """
name = "standard_arm"
title = "Three joints in the standard convention"
family = "none"
convention = "standard"

[[axes]]
name = "shoulder"
type = "revolute"
alpha = 1.1
a = 0.3
theta = 0.2
d = 0.4
offset = 0.1
position_min = -3.0
position_max = 3.0
velocity_max = 1.0
acceleration_max = 1.0
jerk_max = 10.0
effort_max = 100.0
source = "made for the tests"

[[axes]]
name = "slide"
type = "prismatic"
alpha = -0.7
a = 0.15
theta = 0.5
d = 0.1
offset = -0.2
position_min = -0.3
position_max = 0.3
velocity_max = 1.0
acceleration_max = 1.0
jerk_max = 10.0
effort_max = 100.0
source = "made for the tests"

[[axes]]
name = "wrist"
type = "revolute"
alpha = 0.4
a = -0.2
theta = -0.3
d = 0.05
offset = 0.7
position_min = -3.0
position_max = 3.0
velocity_max = 1.0
acceleration_max = 1.0
jerk_max = 10.0
effort_max = 100.0
source = "made for the tests"

[tip]
matrix = [[0.0, -1.0, 0.0, 0.05], [1.0, 0.0, 0.0, -0.02], [0.0, 0.0, 1.0, 0.1], [0.0, 0.0, 0.0, 1.0]]
source = "made for the tests"

[actuators]
names = ["one", "two", "three"]
encoder_counts_per_turn = [1000.0, 1000.0, 1000.0]
gear_ratio = [10.0, 10.0, 10.0]
torque_constant = [0.1, 0.1, 0.1]
current_max = [1.0, 1.0, 1.0]
position_min = [-3.0, -3.0, -3.0]
position_max = [3.0, 3.0, 3.0]
brake = [false, false, false]
joint_from_actuator = [[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [0.0, 0.0, -2.0]]
source = "made for the tests"

[dynamics]
gravity = [1.0, -2.0, -9.0]
source = "made for the tests"

[[dynamics.links]]
name = "shoulder"
mass = 2.0
com = [0.1, -0.05, 0.2]
inertia = [[0.02, 0.001, 0.0], [0.001, 0.03, 0.0], [0.0, 0.0, 0.025]]

[[dynamics.links]]
name = "slide"
mass = 1.0
com = [-0.02, 0.03, 0.04]
inertia = [[0.02, 0.0, 0.0], [0.0, 0.02, 0.0], [0.0, 0.0, 0.02]]

[[dynamics.links]]
name = "wrist"
mass = 0.5
com = [0.0, 0.1, -0.06]
inertia = [[0.002, 0.0, 0.0], [0.0, 0.002, 0.0], [0.0, 0.0, 0.002]]

[dynamics.friction]
coulomb = [0.1, 0.2, 0.3]
viscous = [0.4, 0.5, 0.6]
smoothing = [0.01, 0.02, 0.03]
source = "made for the tests"
"""

TOOL_FILE = TOOLS_FOLDER / "large_needle_driver_400006.toml"

EVERY_ARM = [f"{arm}:{tool}" if tool else arm for arm in shipped_arms() for tool in (shipped_tools(arm) or [None])]
EVERY_ARM += ["panda", "iiwa7"]  # these do without a tool as well


@pytest.fixture(scope="session")
def psm_description():
    return load_arm("psm_classic")


@pytest.fixture(scope="session")
def off_tip_psm_description(tmp_path_factory):
    """The PSM with its tip 10 mm beyond the wrist and askew: what the shipped one's tip of zeros would hide."""
    text = TOOL_FILE.read_text()
    rows = {
        "    [0.0, -1.0, 0.0, 0.0],\n": "    [0.0, -1.0, 0.0, 0.003],\n",
        "    [0.0, 0.0, 1.0, 0.0],\n    [-1.0": "    [0.0, 0.0, 1.0, -0.002],\n    [-1.0",
        "    [-1.0, 0.0, 0.0, 0.0],\n": "    [-1.0, 0.0, 0.0, 0.01],\n",
    }
    for old, new in rows.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("tools") / "off_tip.toml"
    path.write_text(text)
    return load_arm(f"psm_classic:{path}")


@pytest.fixture(scope="session", params=EVERY_ARM)
def shipped_description(request):
    """Every arm that comes with Trocar, with every tool that fits it."""
    return load_arm(request.param)


@pytest.fixture(scope="session")
def standard_description(tmp_path_factory):
    path = tmp_path_factory.mktemp("arms") / "standard.toml"
    path.write_text(STANDARD_ARM)
    return load_arm(path)


@pytest.fixture(params=["psm", "off_tip_psm", "standard"])
def description(request):
    return request.getfixturevalue(f"{request.param}_description")


@pytest.fixture(params=["psm", "off_tip_psm"])
def psm_like(request):
    return request.getfixturevalue(f"{request.param}_description")


@pytest.fixture
def random_positions():
    """Make n positions within an arm's limits, (n, 8); entries past the axes are zero."""

    def make(arm, count, seed=1):
        return np.random.default_rng(seed).uniform(arm[0]["position_min"], arm[0]["position_max"], (count, 8))

    return make
