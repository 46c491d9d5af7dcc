"""Arms that the tests of the numerical inverse kinematics need, as arm files."""

import math

from kinematics.description import load_arm

HALF_PI = math.pi / 2
Z_UP = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]

# Modified rows: alpha, a, theta, d, prismatic; then limits and velocity limit.
PANDA = [
    (0.0, 0.0, 0.0, 0.333, False, -2.8973, 2.8973, 2.175),
    (-HALF_PI, 0.0, 0.0, 0.0, False, -1.7628, 1.7628, 2.175),
    (HALF_PI, 0.0, 0.0, 0.316, False, -2.8973, 2.8973, 2.175),
    (HALF_PI, 0.0825, 0.0, 0.0, False, -3.0718, -0.0698, 2.175),
    (-HALF_PI, -0.0825, 0.0, 0.384, False, -2.8973, 2.8973, 2.61),
    (HALF_PI, 0.0, 0.0, 0.0, False, -0.0175, 3.7525, 2.61),
    (HALF_PI, 0.088, 0.0, 0.0, False, -2.8973, 2.8973, 2.61),
]
PANDA_FLANGE = 0.107

# Seven joints whose elbow and wrist pass through straight inside their limits.
SEVEN = [
    (0.0, 0.0, 0.0, 0.34, False, -2.967, 2.967, 1.71),
    (-HALF_PI, 0.0, 0.0, 0.0, False, -2.094, 2.094, 1.71),
    (HALF_PI, 0.0, 0.0, 0.4, False, -2.967, 2.967, 1.75),
    (HALF_PI, 0.0, 0.0, 0.0, False, -2.094, 2.094, 2.27),
    (-HALF_PI, 0.0, 0.0, 0.4, False, -2.967, 2.967, 2.44),
    (-HALF_PI, 0.0, 0.0, 0.0, False, -2.094, 2.094, 3.14),
    (HALF_PI, 0.0, 0.0, 0.0, False, -3.054, 3.054, 3.14),
]

# Six joints with a spherical wrist.
SIX = [
    (0.0, 0.0, 0.0, 0.3, False, -3.0, 3.0, 2.0),
    (-HALF_PI, 0.0, 0.0, 0.0, False, -3.0, 3.0, 2.0),
    (0.0, 0.4, -HALF_PI, 0.0, False, -3.0, 3.0, 2.0),
    (-HALF_PI, 0.0, 0.0, 0.4, False, -3.0, 3.0, 3.0),
    (HALF_PI, 0.0, 0.0, 0.0, False, -3.0, 3.0, 3.0),
    (-HALF_PI, 0.0, 0.0, 0.0, False, -3.0, 3.0, 3.0),
]

# Four joints, one of them sliding: an endoscope's arm.
FOUR = [
    (HALF_PI, 0.0, HALF_PI, 0.0, False, -1.57, 1.57, 1.0),
    (-HALF_PI, 0.0, -HALF_PI, 0.0, False, -0.78, 1.13, 1.0),
    (HALF_PI, 0.0, 0.0, -0.3822, True, 0.42, 0.64, 0.2),
    (0.0, 0.0, 0.0, 0.0, False, -1.57, 1.57, 2.0),
]

# Eight joints: seven on a rail.
EIGHT = [(0.0, 0.0, 0.0, 0.1, True, -0.5, 0.5, 0.5), (HALF_PI, *PANDA[0][1:]), *PANDA[1:]]


def write_arm(path, rows, tip_z=0.0):
    """Write an arm's file; the tip is tip_z along the last joint's z axis."""
    tip = [list(row) for row in Z_UP]
    tip[2][3] = tip_z
    n = len(rows)
    text = [f'name = "{path.stem}"', 'title = "An arm of the tests"', 'family = "none"', 'convention = "modified"']
    for i, (alpha, a, theta, d, prismatic, low, high, speed) in enumerate(rows):
        text += [
            "[[axes]]",
            f'name = "j{i}"',
            f'type = "{"prismatic" if prismatic else "revolute"}"',
            f"alpha = {alpha!r}\na = {a!r}\ntheta = {theta!r}\nd = {d!r}\noffset = 0.0",
            f"position_min = {low!r}\nposition_max = {high!r}\nvelocity_max = {speed!r}",
            'acceleration_max = 10.0\njerk_max = 1000.0\neffort_max = 50.0\nsource = "made for the tests"',
        ]
    text += ["[tip]", f"matrix = {tip!r}", 'source = "made for the tests"', "[actuators]"]
    text.append(f"names = {[f'm{i}' for i in range(n)]!r}")
    for key, value in (
        ("encoder_counts_per_turn", 1000.0),
        ("gear_ratio", 100.0),
        ("torque_constant", 0.1),
        ("current_max", 10.0),
        ("position_min", -10.0),
        ("position_max", 10.0),
    ):
        text.append(f"{key} = {[value] * n!r}")
    text.append(f"brake = [{', '.join(['false'] * n)}]")
    text.append(f"joint_from_actuator = {[[float(i == j) for j in range(n)] for i in range(n)]!r}")
    text += ['source = "made for the tests"', "[dynamics]", "gravity = [0.0, 0.0, -9.81]", 'source = "none"']
    for i in range(n):
        text += ["[[dynamics.links]]", f'name = "j{i}"', "mass = 1.0", "com = [0.0, 0.0, 0.0]"]
        text.append("inertia = [[0.01, 0.0, 0.0], [0.0, 0.01, 0.0], [0.0, 0.0, 0.01]]")
    text.append("[dynamics.friction]")
    text += [f"{key} = {[0.1] * n!r}" for key in ("coulomb", "viscous", "smoothing")]
    text.append('source = "none"')
    path.write_text("\n".join(text) + "\n")
    return load_arm(path)
