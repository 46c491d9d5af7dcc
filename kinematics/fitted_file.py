"""The arm's file with other dynamics: text in, text out, everything else as it was."""

import re

import numpy as np

from kinematics.compiled import Array
from kinematics.description import ArmDescription, Convention

__all__ = ["dynamics_toml", "replace_dynamics"]

DIGITS = 12  # enough for what the reader checks of an inertia to 1e-9
HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_]+)")


def dynamics_toml(description: ArmDescription, arm: Array, source: str) -> str:
    """Return the `[dynamics]` tables that give an arm the inertias and the friction of a record.

    Args:
        description: The arm: names, and the frames that its file's links are in.
        arm: The record, (1,), dtype ARM.
        source: Where the values come from, for the file.
    """
    n, n_axes = description.n_joints, description.n_axes
    a = arm[0]
    C = a["joint_from_actuator"]
    rotors = np.diag(C.T @ a["rotor_inertia"] @ C)[:n_axes]
    lines = [
        "# A motion shows combinations of the links' parameters, not each: single ones are those that a link can have,",
        "# nearest to what was believed before.",
    ]
    lines += ["[dynamics]", f"gravity = {_numbers(a['gravity'])}"]
    if rotors.any():
        lines.append(f"rotor_inertia = {_numbers(rotors)} # at the actuators, after their gears")
    lines.append(f"source = {_string(source)}")
    for i, name in enumerate(description.axis_names[:n]):
        R, p = _link_in_joint(arm, i)
        inertia = R.T @ a["inertia"][i] @ R
        inertia = 0.5 * (inertia + inertia.T)
        rows = ", ".join(_numbers(row) for row in inertia)
        lines += ["", "[[dynamics.links]]", f"name = {_string(name)}", f"mass = {_number(a['mass'][i])}"]
        lines += [f"com = {_numbers(R.T @ (a['com'][i] - p))}", f"inertia = [{rows}]"]
    lines += ["", "[dynamics.friction]"]
    lines.append(f'space = "{"actuator" if a["friction_at_actuators"] else "joint"}"')
    for key in ("coulomb", "viscous"):
        lines.append(f"{key} = {_numbers(a[key][:n_axes])}")
    lines += [f"smoothing = {_numbers(a['friction_smoothing'][:n_axes])}", f"source = {_string(source)}"]
    return "\n".join(lines) + "\n"


def _link_in_joint(arm: Array, i: int) -> tuple[Array, Array]:
    """Return rotation and origin of the frame that the file's link i is in, seen in the joint's frame."""
    if arm[0]["convention"] == Convention.MODIFIED:
        return np.eye(3), np.zeros(3)
    alpha, a = float(arm[0]["alpha"][i]), float(arm[0]["a"][i])
    s, c = np.sin(alpha), np.cos(alpha)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]), np.array([a, 0.0, 0.0])


def replace_dynamics(text: str, block: str) -> str:
    """Return an arm's file with its `[dynamics]` tables replaced, comments above them too; appended if it has none."""
    pieces: list[tuple[str, list[str]]] = [("", [])]  # table, lines
    above: list[str] = []  # comments that belong to the header after them
    for line in text.splitlines():
        header = HEADER.match(line)
        if header:
            pieces.append((header.group(1), [*above, line]))
            above = []
        elif line.lstrip().startswith("#"):
            above.append(line)
        else:
            pieces[-1][1].extend([*above, line])
            above = []
    pieces[-1][1].extend(above)
    kept: list[str] = []
    done = False
    for table, lines in pieces:
        if table != "dynamics":
            kept += lines
        elif not done:
            kept += [*block.rstrip("\n").splitlines(), ""]
            done = True
    if not done:
        kept += ["", *block.rstrip("\n").splitlines()]
    return "\n".join(kept).rstrip("\n") + "\n"


def _number(value: float) -> str:
    return repr(float(f"{value + 0.0:.{DIGITS}g}"))


def _numbers(values: Array) -> str:
    return f"[{', '.join(_number(value) for value in values)}]"


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
