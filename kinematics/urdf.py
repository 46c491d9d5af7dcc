"""Arms from URDF files, and arms as URDF text. Reading needs the package yourdfpy: `pip install 'trocar[urdf]'`.

A URDF joint turns about any axis of its own frame. Here the joint's frame is turned once more, by the shortest rotation
that brings z onto that axis (after half a turn about x, where the axis points down); what follows it is turned back.
Links behind fixed joints become part of the link before.

URDF has no limits of acceleration and jerk and no motors, so such an arm is kinematics and dynamics only.
"""

import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np

from kinematics.arm_file import (
    MAX_AXES,
    ArmFile,
    AxisTable,
    DescriptionError,
    DynamicsTable,
    LinkTable,
    TipTable,
)
from kinematics.description import ArmDescription, describe
from kinematics.mounting import Body, add_bodies

__all__ = ["MissingLimits", "UrdfWarning", "load_urdf", "to_urdf"]

Matrix = np.ndarray[Any, Any]

STANDARD_GRAVITY = 9.80665  # m/s², ISO 80000-3


class UrdfWarning(UserWarning):
    """A URDF file leaves out a limit; the message says which and what is taken for it."""


class MissingLimits(NamedTuple):
    """What is taken where a URDF file has no number, or 0."""

    turns: float = 1.0
    """Position of a continuous joint: so many turns either way."""
    velocity_revolute: float = 1.0
    """rad/s."""
    velocity_prismatic: float = 0.1
    """m/s."""
    effort_revolute: float = 10.0
    """N·m."""
    effort_prismatic: float = 50.0
    """N."""
    time_to_velocity: float = 0.25
    """s. Acceleration: full speed in this time."""
    time_to_acceleration: float = 0.1
    """s. Jerk: full acceleration in this time."""


def load_urdf(
    path: str | Path,
    *,
    base: str | None = None,
    tip: str | None = None,
    gravity: tuple[float, float, float] = (0.0, 0.0, -STANDARD_GRAVITY),
    missing: MissingLimits = MissingLimits(),  # noqa: B008
) -> ArmDescription:
    """Return the serial chain between two links of a URDF file.

    Links that hang on the chain by joints which are not on it (a gripper's fingers) count as rigid, at position 0.

    Args:
        path: The file; meshes in it are not loaded.
        base: The link whose frame is the base; left out: the tree's root.
        tip: The link whose frame is the tip; left out: the only leaf of the tree.
        gravity: In the base frame, m/s².
        missing: What to take for limits that the file has not.

    Returns:
        An arm without closed form and without actuators, `convention = "frames"`.

    Raises:
        DescriptionError: The file cannot be read, or there is no such chain of revolute, continuous, prismatic and
            fixed joints, or a joint has no position limits.

    Warns:
        UrdfWarning: A limit is missing, and what is taken for it.
    """
    path = Path(path)
    data, robot = _read(path)
    tree = _Tree(path, robot)
    base = base or tree.root()
    for link in (base, tip):
        if link is not None and link not in tree.links:
            raise DescriptionError(f"{path}: there is no link {link!r}; there are {', '.join(tree.links)}")
    chain = tree.chain(base, tip)

    axes: list[AxisTable] = []
    links: list[LinkTable] = []
    T = np.eye(4)  # of the present link, in the last joint's frame
    for i, joint in enumerate(chain):
        T = T @ _origin(joint.origin)
        if joint.type != "fixed":
            align = _onto(path, joint)
            axes.append(_axis(path, joint, T @ align, missing))
            links.append(LinkTable(name=axes[-1].name, mass=0.0, com=[0.0] * 3, inertia=[[0.0] * 3] * 3))
            T = align.T
        if links:
            following = chain[i + 1].name if i + 1 < len(chain) else None
            links[-1] = _with(links[-1], tree.bodies(joint.child, T, skip=following))
    names, last = [axis.name for axis in axes], chain[-1].child if chain else base
    if not 0 < len(axes) <= MAX_AXES or len(set(names)) != len(names):
        raise DescriptionError(
            f"{path}: from {base} to {last} there are the joints {names}: allowed are 1 to {MAX_AXES} that move, of "
            "different names; choose other links for base and tip"
        )
    source = f"{path.name}, from {base} to {last}"
    file = ArmFile(
        name=_name(robot.name),
        title=str(robot.name),
        family="none",
        convention="frames",
        axes=axes,
        tip=TipTable(matrix=T.tolist(), source=source),
        dynamics=DynamicsTable(gravity=list(gravity), source=source, links=links)
        if any(x.mass for x in links)
        else None,
    )
    return describe(file, path=path, data=data + f"{base} {tip} {gravity} {missing}".encode())


def _read(path: Path) -> tuple[bytes, Any]:
    """Return the file's content and what yourdfpy makes of it."""
    try:
        from yourdfpy import URDF  # here: it loads much, and is an extra
    except ImportError as error:
        raise DescriptionError(
            f"{path}: URDF files are read by the package yourdfpy, which is not installed: pip install 'trocar[urdf]'"
        ) from error
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DescriptionError(f"the file {path} cannot be read ({error.strerror}): check the path") from error
    try:
        return data, URDF.load(str(path), build_scene_graph=False, load_meshes=False).robot
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:  # lxml's errors are SyntaxErrors
        raise DescriptionError(f"{path} is no URDF that can be read ({type(error).__name__}: {error})") from error


class _Tree:
    """The links and joints of a robot."""

    def __init__(self, path: Path, robot: Any) -> None:  # noqa: ANN401
        self.path = path
        self.links = {link.name: link for link in robot.links}
        self.parent: dict[str, Any] = {}
        self.children: dict[str, list[Any]] = {name: [] for name in self.links}
        for joint in robot.joints:
            for link in (joint.parent, joint.child):
                if link not in self.links:
                    raise DescriptionError(f"{path}: joint {joint.name} names the link {link!r}, which is not there")
            if joint.child in self.parent:
                other = self.parent[joint.child].name
                raise DescriptionError(
                    f"{path}: link {joint.child} hangs on two joints, {other} and {joint.name}: "
                    "a loop is no serial chain"
                )
            self.parent[joint.child] = joint
            self.children[joint.parent].append(joint)
        for name in self.links:
            link, steps = name, 0
            while link in self.parent and steps <= len(self.links):
                link, steps = self.parent[link].parent, steps + 1
            if steps > len(self.links):
                raise DescriptionError(f"{path}: link {name} hangs on itself: a loop is no serial chain")

    def root(self) -> str:
        """Return the link that hangs on none."""
        roots = [name for name in self.links if name not in self.parent]
        if len(roots) != 1:
            raise DescriptionError(f"{self.path}: roots of the tree are {roots}: name one of them as base")
        return str(roots[0])

    def leaves(self, link: str) -> Iterator[str]:
        """Yield the last links below a link."""
        if not self.children[link]:
            yield link
        for joint in self.children[link]:
            yield from self.leaves(joint.child)

    def chain(self, base: str, tip: str | None) -> list[Any]:
        """Return the joints from base to tip, checked."""
        joints: list[Any] = []
        if tip is None:
            link = base
            while self.children[link]:
                if len(self.children[link]) > 1:
                    raise DescriptionError(
                        f"{self.path}: the tree branches at link {link}: name the tip, load_urdf(..., tip=LINK); "
                        f"its last links are {', '.join(self.leaves(base))}"
                    )
                joints.append(self.children[link][0])
                link = joints[-1].child
        else:
            link = tip
            while link != base:
                if link not in self.parent:
                    raise DescriptionError(
                        f"{self.path}: link {tip} is not below {base}: exchange them, or choose others"
                    )
                joints.insert(0, self.parent[link])
                link = joints[0].parent
        for joint in joints:
            if joint.mimic is not None:
                raise DescriptionError(
                    f"{self.path}: joint {joint.name} mimics {joint.mimic.joint}: a joint of the chain must move by "
                    "itself; choose a tip before it"
                )
            if joint.type not in ("revolute", "continuous", "prismatic", "fixed"):
                raise DescriptionError(
                    f"{self.path}: joint {joint.name} is of type {joint.type!r}: allowed between base and tip are "
                    "revolute, continuous, prismatic, fixed; choose other links for base and tip"
                )
        return joints

    def bodies(self, link: str, T: Matrix, *, skip: str | None) -> Iterator[Body]:
        """Yield what a link and all that hangs on it weigh, in the frame that it is at T of; not behind one joint."""
        inertial = self.links[link].inertial
        if inertial is not None and inertial.mass:
            if inertial.mass < 0.0:
                raise DescriptionError(f"{self.path}: link {link}: mass = {inertial.mass}: allowed is 0 or more")
            A = T @ _origin(inertial.origin)
            inertia = np.zeros((3, 3)) if inertial.inertia is None else np.array(inertial.inertia)
            yield float(inertial.mass), A[:3, 3], A[:3, :3] @ inertia @ A[:3, :3].T
        for joint in self.children[link]:
            if joint.name != skip:
                yield from self.bodies(joint.child, T @ _origin(joint.origin), skip=None)


def _origin(T: Matrix | None) -> Matrix:
    return np.eye(4) if T is None else np.array(T, float)


def _with(link: LinkTable, bodies: Iterator[Body]) -> LinkTable:
    body: Body = (link.mass, np.array(link.com), np.array(link.inertia))
    for other in bodies:
        body = add_bodies(body, other)
    mass, com, inertia = body
    return LinkTable(name=link.name, mass=mass, com=com.tolist(), inertia=(0.5 * (inertia + inertia.T)).tolist())


def _name(text: str) -> str:
    """Return a name of ours: lower case, digits and underscores, beginning with a letter."""
    name = re.sub(r"[^a-z0-9_]", "_", text.lower())
    return (name if re.match("[a-z]", name) else f"j{name}")[:48]


def _onto(path: Path, joint: Any) -> Matrix:  # noqa: ANN401
    """Return a rotation that brings z onto a joint's axis, (4, 4)."""
    axis = np.array(joint.axis, float)
    length = np.linalg.norm(axis)
    if axis.shape != (3,) or not 0.0 < length < math.inf:
        raise DescriptionError(f"{path}: joint {joint.name}: axis = {joint.axis}: allowed are three numbers, not all 0")
    x, y, z = axis / length
    T = np.eye(4)
    if z < 0.0:  # near -z the shortest rotation is badly conditioned
        T[1, 1], T[2, 2] = -1.0, -1.0
        T[:3, :3] = T[:3, :3] @ _shortest(x, -y, -z)
    else:
        T[:3, :3] = _shortest(x, y, z)
    return T


def _shortest(x: float, y: float, z: float) -> Matrix:
    """Return the shortest rotation of the z axis onto (x, y, z)."""
    k = 1.0 / (1.0 + z)
    return np.array([[1.0 - k * x * x, -k * x * y, x], [-k * x * y, 1.0 - k * y * y, y], [-x, -y, z]])


def _axis(path: Path, joint: Any, placement: Matrix, missing: MissingLimits) -> AxisTable:  # noqa: ANN401
    """Return a joint's axis with its limits; warn of those that are missing."""
    limit = joint.limit
    revolute = joint.type != "prismatic"
    taken: list[str] = []
    low: float | None
    high: float | None

    def given(key: str, otherwise: float, unit: str) -> float:
        value = None if limit is None else getattr(limit, key)
        if value and math.isfinite(value) and value > 0.0:
            return float(value)
        taken.append(f"{key} {otherwise:g} {unit}")
        return otherwise

    if joint.type == "continuous":
        low, high = -missing.turns * 2.0 * math.pi, missing.turns * 2.0 * math.pi
        taken.append(f"position ±{high:.6g} rad")
    else:
        low, high = (None, None) if limit is None else (limit.lower, limit.upper)
        if low is None or high is None or not -math.inf < low < high < math.inf:
            raise DescriptionError(
                f"{path}: joint {joint.name} has the position limits lower = {low}, upper = {high}: allowed are two "
                'numbers, the first less than the second; add <limit lower="..." upper="..."/>, which is not guessed'
            )
    if revolute:
        velocity = given("velocity", missing.velocity_revolute, "rad/s")
        effort = given("effort", missing.effort_revolute, "N·m")
    else:
        velocity = given("velocity", missing.velocity_prismatic, "m/s")
        effort = given("effort", missing.effort_prismatic, "N")
    if taken:
        warnings.warn(
            f"{path}: joint {joint.name} has no limit of its own for: {', '.join(taken)}; these are taken. Write them "
            "into the file, or pass load_urdf(..., missing=MissingLimits(...))",
            UrdfWarning,
            stacklevel=3,
        )
    acceleration = velocity / missing.time_to_velocity
    return AxisTable(
        name=_name(joint.name),
        type="revolute" if revolute else "prismatic",
        placement=placement.tolist(),
        position_min=float(low),
        position_max=float(high),
        velocity_max=velocity,
        acceleration_max=acceleration,
        jerk_max=acceleration / missing.time_to_acceleration,
        effort_max=effort,
        source=f"{path.name}, joint {joint.name}; acceleration and jerk: assumption",
    )


def to_urdf(description: ArmDescription) -> str:
    """Return an arm as URDF text: its joints, their limits, its bodies, and the tip as a link behind a fixed joint.

    Links are `base`, one per joint, and `tip`; frames are those of the record. The jaw, limits of acceleration and
    jerk, motors and friction have no place in it. All digits are kept: read again, it is the same arm to 1e-15.
    """
    arm = description.record[0]
    lines = ['<?xml version="1.0"?>', f"<robot name={quoteattr(description.name)}>", '  <link name="base"/>']
    parent = "base"
    for i, axis in enumerate(description.file.axes[: description.n_joints]):
        link = f"{axis.name}_link"
        placement = np.vstack([arm["placement"][i].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
        lines += [
            f'  <joint name="{axis.name}" type="{axis.type}">',
            f'    <parent link="{parent}"/>',
            f'    <child link="{link}"/>',
            f"    {_origin_tag(placement)}",
            '    <axis xyz="0 0 1"/>',
            f'    <limit lower="{axis.position_min!r}" upper="{axis.position_max!r}" velocity="{axis.velocity_max!r}"'
            f' effort="{axis.effort_max!r}"/>',
            "  </joint>",
            f'  <link name="{link}">',
        ]
        if description.file.dynamics is not None:
            com, inertia = np.eye(4), arm["inertia"][i]
            com[:3, 3] = arm["com"][i]
            entries = " ".join(
                f'i{a}{b}="{float(inertia["xyz".index(a), "xyz".index(b)])!r}"'
                for a, b in ("xx", "xy", "xz", "yy", "yz", "zz")
            )
            lines += [
                "    <inertial>",
                f"      {_origin_tag(com)}",
                f'      <mass value="{float(arm["mass"][i])!r}"/>',
                f"      <inertia {entries}/>",
                "    </inertial>",
            ]
        lines.append("  </link>")
        parent = link
    lines += [
        '  <joint name="tip_joint" type="fixed">',
        f'    <parent link="{parent}"/>',
        '    <child link="tip"/>',
        f"    {_origin_tag(arm['tip'])}",
        "  </joint>",
        '  <link name="tip"/>',
        "</robot>",
    ]
    return "\n".join(lines) + "\n"


def _origin_tag(T: Matrix) -> str:
    """Return a pose as URDF's origin: R = RotZ(yaw) RotY(pitch) RotX(roll)."""
    R = T[:3, :3]
    # Pitch and roll from what is left once the yaw is taken off: good to the last digit at a pitch of 90° too.
    yaw = math.atan2(R[1, 0], R[0, 0])
    s, c = math.sin(yaw), math.cos(yaw)
    pitch = math.atan2(-R[2, 0], c * R[0, 0] + s * R[1, 0])
    roll = math.atan2(s * R[0, 2] - c * R[1, 2], c * R[1, 1] - s * R[0, 1])
    xyz = " ".join(repr(float(value)) for value in T[:3, 3])
    return f'<origin xyz="{xyz}" rpy="{roll!r} {pitch!r} {yaw!r}"/>'
