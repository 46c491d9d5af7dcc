"""An arm's file with other dynamics, written anew: with its tool as one arm, and complete in itself."""

from typing import Any

import msgspec
import numpy as np

from kinematics.compiled import Array
from kinematics.description import ArmDescription, Convention

__all__ = ["fitted_arm_toml"]

DIGITS = 12  # of what was fitted: enough for what the reader checks of an inertia to 1e-9
HEAD = """# {title}
#
# Written by `trocar identify`: everything but [dynamics] is as in {path}, its tool included.
# A motion shows combinations of the links' parameters, not each: single masses, centres and inertias are those that
# links can have, nearest to what was believed before.
"""


def fitted_arm_toml(description: ArmDescription, arm: Array, source: str) -> str:
    """Return the text of an arm's file: the description, with the inertias and the friction of a record.

    Args:
        description: The arm.
        arm: The record, (1,), dtype ARM.
        source: Where the fitted values come from, for the file.
    """
    tables: dict[str, Any] = msgspec.to_builtins(description.file)
    tables["title"] = description.title
    tables["dynamics"] = _dynamics(description, arm, source)
    for key in ("default_tool", "mounts"):  # the tool is in the axes now
        tables.pop(key, None)
    return HEAD.format(title=description.title, path=description.path.name) + "\n".join(_lines("", tables)) + "\n"


def _dynamics(description: ArmDescription, arm: Array, source: str) -> dict[str, Any]:
    n, n_axes = description.n_joints, description.n_axes
    a = arm[0]
    links = []
    for i, name in enumerate(description.axis_names[:n]):
        R, p = _link_in_joint(arm, i)
        inertia = R.T @ a["inertia"][i] @ R
        links.append(
            {
                "name": name,
                "mass": _rounded(a["mass"][i]),
                "com": _rounded(R.T @ (a["com"][i] - p)),
                "inertia": _rounded(0.5 * (inertia + inertia.T)),
            }
        )
    C = a["joint_from_actuator"]
    return {
        "gravity": a["gravity"].tolist(),
        "rotor_inertia": _rounded(np.diag(C.T @ a["rotor_inertia"] @ C)[:n_axes]),
        "source": source,
        "links": links,
        "friction": {
            "space": "actuator" if a["friction_at_actuators"] else "joint",
            "coulomb": _rounded(a["coulomb"][:n_axes]),
            "viscous": _rounded(a["viscous"][:n_axes]),
            "smoothing": _rounded(a["friction_smoothing"][:n_axes]),
            "source": source,
        },
    }


def _link_in_joint(arm: Array, i: int) -> tuple[Array, Array]:
    """Return rotation and origin of the frame that the file's link i is in, seen in the joint's frame."""
    if arm[0]["convention"] != Convention.STANDARD:
        return np.eye(3), np.zeros(3)
    alpha, a = float(arm[0]["alpha"][i]), float(arm[0]["a"][i])
    s, c = np.sin(alpha), np.cos(alpha)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]), np.array([a, 0.0, 0.0])


def _rounded(values: Array) -> Any:  # noqa: ANN401
    rounded: Any = np.vectorize(lambda x: float(f"{x + 0.0:.{DIGITS}g}"))(values).tolist()
    return rounded


def _lines(table: str, entries: dict[str, Any]) -> list[str]:
    """Return the lines of a TOML table: plain values first, then the tables in it; what is None or empty left out."""
    lines: list[str] = []
    inner: list[str] = []
    for key, value in entries.items():
        name = f"{table}.{key}" if table else key
        if value is None or value == []:
            continue
        if isinstance(value, dict):
            inner += ["", f"[{name}]", *_lines(name, value)]
        elif isinstance(value, list) and isinstance(value[0], dict):
            for element in value:
                inner += ["", f"[[{name}]]", *_lines(name, element)]
        elif isinstance(value, list) and isinstance(value[0], list):
            lines += [f"{key} = [", *(f"    {_text(row)}," for row in value), "]"]
        else:
            lines.append(f"{key} = {_text(value)}")
    return lines + inner


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_text(entry) for entry in value)}]"
    if isinstance(value, float):
        return repr(value)
    return msgspec.json.encode(value).decode()  # strings: TOML's basic ones are JSON's
