"""The emulated arm's body: its MuJoCo model, made from the arm's file and a plant file, and one compiled substep.

Each axis has two degrees of freedom: the joint of its link, and its actuator (rotor inertia, friction and brake, in
actuator units). Fixed tendons join them: tendon i has the length q_i - sum_j C_ij a_j, C the arm's joint_from_actuator,
a spring with the cables' stiffness and a slack band as wide as the play. The reaction of a spring on joint i upon
actuator j is -C_ij times its force: the transpose of the coupling, as it must be.
"""

import ctypes
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numba import carray
from numba.core import types
from numba.extending import intrinsic

from controller.config import RemoteCenterConfig
from firmware_bridge.native import BOARD_INPUTS, BOARD_OUTPUTS, FW_TICK_US
from hil.fault_record import FAULTS, LIES, Fault, HilError
from hil.noise import GOLDEN, gaussian, mix, uniform
from hil.plant_file import PlantError, PlantFile, check_sizes, load_plant
from kinematics.compiled import Array, array_of, kernel
from kinematics.description import Convention, DescriptionError, Family, load_arm
from telemetry.sample import MAX_AXES

__all__ = [
    "PLANT",
    "Plant",
    "make_mjcf",
    "plant_pose",
    "plant_substep",
    "plant_view",
    "restart_encoders",
]

SUBSTEP = FW_TICK_US * 1e-6  # s
SETTLE = 0.5  # s, with brakes on, before the power comes
JAM_FRICTION = 1e3  # N·m or N; more than any motor
SUBSTEPS_PER_READING = 40  # of a motor's temperature: 10 ms
TEMPERATURE_SALT = np.uint64(0xA0761D6478BD642F)
COMMANDED, FROZEN = LIES.index("commanded") + 1, LIES.index("frozen") + 1
ENCODER_FAULTS = np.uint64(
    Fault.ENCODER_DRIFT | Fault.ENCODER_NOISE | Fault.ENCODER_BIT_STUCK | Fault.ENCODER_COUNTS_LOST
)
TEMPERATURE_FAULTS = np.uint64(
    Fault.TEMPERATURE_SET | Fault.TEMPERATURE_RAMP | Fault.TEMPERATURE_FROZEN | Fault.TEMPERATURE_MISSING
)
SHAFT_LINK = 4  # where the mechanics keep a remote centre: the shaft turns with the fourth joint, about its z axis
NO_INSTRUMENT = RemoteCenterConfig()


def _numbers(values: Any) -> str:  # noqa: ANN401
    return " ".join(repr(float(value)) for value in np.ravel(values))


def _quaternion(R: Array) -> Array:
    q = np.empty(4)
    mujoco.mju_mat2Quat(q, np.ascontiguousarray(R).ravel())
    return q


def _row(alpha: float, a: float, theta: float, d: float) -> Array:
    """Return RotX(alpha) TransX(a) RotZ(theta) TransZ(d): a row of a DH table in the modified convention."""
    ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(theta), np.sin(theta)
    return np.array([[ct, -st, 0, a], [st * ca, ct * ca, -sa, -d * sa], [st * sa, ct * sa, ca, d * ca], [0, 0, 0, 1.0]])


def make_mjcf(record: np.void, plant: PlantFile) -> str:
    """Return the MuJoCo model of a plant as MJCF.

    Bodies 1 to n_axes are the links, their frames those of the DH table; a jaw turns about the last one's z axis.
    Bodies after them carry the actuators. Joints likewise: first the links', then the actuators'.

    Args:
        record: The arm's record (`load_arm(...).record[0]`), modified DH.
        plant: The plant.

    Raises:
        PlantError: The lists of the plant are not of the arm's size, or the arm is not in the modified convention.
    """
    n_joints, n_axes = int(record["n_joints"]), int(record["n_axes"])
    if int(record["convention"]) != Convention.MODIFIED:
        raise PlantError(f"the plant {plant.title!r} needs an arm in the modified DH convention; rewrite its rows so")
    check_sizes(plant, n_joints, n_axes)
    geometry, transmission, actuators = plant.geometry, plant.transmission, plant.actuators
    # Constraints are soft in MuJoCo: with their usual impedance (0.9) a braked arm would creep down and the light links
    # of the wrist would be pressed far into their stops.
    stop = 'solreflimit="0.002 1" solimplimit="0.999 0.999 0.001 0.5 2"'
    friction = 'solreffriction="0.001 1" solimpfriction="0.9999 0.9999 0.001 0.5 2"'
    xml = [
        f'<mujoco><option timestep="{SUBSTEP}" integrator="implicitfast" gravity="{_numbers(record["gravity"])}">'
        '<flag contact="disable" actuation="disable" sensor="disable" clampctrl="disable"'
        ' filterparent="disable" island="disable"/></option><compiler angle="radian" autolimits="true"/><worldbody>'
    ]
    for i in range(n_axes):
        low = float(record["position_min"][i]) - transmission.stop_margin[i]
        high = float(record["position_max"][i]) + transmission.stop_margin[i]
        slides = i < n_joints and bool(record["prismatic"][i])
        if i < n_joints:
            T = _row(
                float(record["alpha"][i]) + geometry.alpha_error[i],
                float(record["a"][i]) + geometry.a_error[i],
                float(record["theta"][i]) + geometry.theta_error[i] + (0.0 if slides else float(record["offset"][i])),
                float(record["d"][i]) + geometry.d_error[i] + (float(record["offset"][i]) if slides else 0.0),
            )
            factor = plant.inertia.mass_factor[i]
            mass = factor * float(record["mass"][i])
            com = np.asarray(record["com"][i]) + plant.inertia.com_shift[i]
            inertia = factor * np.asarray(record["inertia"][i])
        else:
            jaw = plant.inertia
            assert jaw.jaw_mass is not None  # by check_sizes
            T, mass, com = np.eye(4), jaw.jaw_mass, np.asarray(jaw.jaw_com)
            inertia = np.diag(np.asarray(jaw.jaw_inertia))
        full = inertia[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]
        xml.append(
            f'<body name="link_{i}" pos="{_numbers(T[:3, 3])}" quat="{_numbers(_quaternion(T[:3, :3]))}">'
            f'<joint name="q_{i}" type="{"slide" if slides else "hinge"}" axis="0 0 1" range="{low!r} {high!r}" {stop} '
            f'damping="{transmission.joint_damping[i]}" armature="{transmission.joint_armature[i]}"/>'
            f'<inertial pos="{_numbers(com)}" mass="{mass!r}" fullinertia="{_numbers(full)}"/>'
        )
    xml.append("</body>" * n_axes)
    for j in range(n_axes):
        # Whatever the actuator's unit, its coordinate is the angle of a body that gravity does not turn.
        xml.append(
            f'<body name="actuator_{j}"><joint name="a_{j}" type="hinge" axis="0 0 1" '
            f'armature="{actuators.armature[j]}" damping="{actuators.viscous[j]}" '
            f'frictionloss="{actuators.coulomb[j]}" {friction}/>'
            '<inertial pos="0 0 0" mass="1e-3" diaginertia="1e-12 1e-12 1e-12"/></body>'
        )
    xml.append("</worldbody><tendon>")
    for i in range(n_axes):
        play = transmission.backlash[i]
        xml.append(
            f'<fixed name="cable_{i}" stiffness="{transmission.stiffness[i]}" damping="{transmission.damping[i]}" '
            f'springlength="{-play!r} {play!r}"><joint joint="q_{i}" coef="1"/>'
        )
        for j in range(n_axes):
            coefficient = float(record["joint_from_actuator"][i, j])
            if coefficient != 0.0:
                xml.append(f'<joint joint="a_{j}" coef="{-coefficient!r}"/>')
        xml.append("</fixed>")
    xml.append("</tendon></mujoco>")
    return "".join(xml)


def _show_mujoco() -> None:
    """Make MuJoCo's symbols visible to compiled code; the library itself is already loaded."""
    folder = Path(mujoco.__file__).parent
    libraries = sorted(folder.glob("libmujoco.so*")) or sorted(folder.parent.glob("mujoco*/libmujoco*.so*"))
    if not libraries:
        raise HilError(f"MuJoCo's library is not in {folder}: reinstall it with pip install 'trocar[hil]'")
    ctypes.CDLL(str(libraries[0]), mode=ctypes.RTLD_GLOBAL)


_show_mujoco()
mj_step: Any = types.ExternalFunction("mj_step", types.void(types.intp, types.intp))
mj_kinematics: Any = types.ExternalFunction("mj_kinematics", types.void(types.intp, types.intp))

PLANT = np.dtype(
    [
        # where MuJoCo keeps what the kernels read and write
        ("model", "i8"),
        ("data", "i8"),
        ("qpos", "i8"),
        ("qvel", "i8"),
        ("applied", "i8"),  # qfrc_applied
        ("xpos", "i8"),
        ("xmat", "i8"),
        ("xipos", "i8"),
        ("wrench", "i8"),  # xfrc_applied
        ("frictionloss", "i8"),
        # the arm and the plant
        ("n_axes", "i8"),
        ("n_joints", "i8"),
        ("tip", "f8", (4, 4)),
        ("shaft_link", "i8"),  # the body that the instrument's shaft is fixed to; 0: no shaft
        ("shaft_point", "f8", (3,)),  # in its frame
        ("shaft_direction", "f8", (3,)),
        ("remote_center", "f8", (3,)),  # base frame, nominal; nan: none
        ("counts_per_unit", "f8", (MAX_AXES,)),
        ("effort_per_amp", "f8", (MAX_AXES,)),
        ("current_max", "f8", (MAX_AXES,)),
        ("coulomb", "f8", (MAX_AXES,)),
        ("brake_friction", "f8", (MAX_AXES,)),
        ("engage_substeps", "i8"),
        ("release_substeps", "i8"),
        ("current_noise", "f8"),
        ("absolute_noise", "f8", (MAX_AXES,)),
        ("absolute_step", "f8", (MAX_AXES,)),
        ("ambient", "f8"),  # degrees Celsius
        ("heating", "f8", (MAX_AXES,)),  # K/A², in the end
        ("warming", "f8"),  # part of the way to the end that a substep makes
        ("temperature_noise", "f8"),
        ("temperature_step", "f8"),
        # state
        ("random", "u8"),
        ("substeps", "i8"),
        ("brake_wait", "i8"),  # substeps until the brakes have done what they were told
        ("brakes_told", "i8"),  # 1: to open
        ("brakes_open", "i8"),
        ("encoder_last", "i8", (MAX_AXES,)),
        ("encoder_count", "i8", (MAX_AXES,)),
        ("encoder_error", "f8", (MAX_AXES,)),  # counts, the part of a drift or loss that is not a whole one yet
        ("temperature", "f8", (MAX_AXES,)),  # degrees Celsius, of the windings
        ("temperature_read", "f8", (MAX_AXES,)),  # what their sensors gave last
        ("temperature_shift", "f8", (MAX_AXES,)),  # that a ramp has come to
        ("current", "f8", (MAX_AXES,)),  # A
        ("effort", "f8", (MAX_AXES,)),  # N·m or N on the actuators
        ("tip_pose", "f8", (4, 4)),  # T_base_tip, true
    ],
    align=True,
)
_PLANT, _FAULTS, _INPUTS, _OUTPUTS = (array_of(dtype) for dtype in (PLANT, FAULTS, BOARD_INPUTS, BOARD_OUTPUTS))


@intrinsic  # type: ignore[untyped-decorator]
def _floats_at(typingctx: Any, address: Any) -> Any:  # noqa: ANN401
    """Return a pointer to float64 from an integer address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float64)(types.int64), codegen  # type: ignore[attr-defined]


@kernel(types.float64[::1](types.int64, types.int64))
def plant_view(address: int, count: int) -> Array:
    """Return `count` of MuJoCo's numbers at an address as an array; valid as long as the plant is."""
    return carray(_floats_at(address), count)  # type: ignore[no-any-return]


@kernel(types.void(_PLANT))
def restart_encoders(plant: Array) -> None:
    """Let the encoders' counters begin at 0, as at power-up."""
    for j in range(plant[0].n_axes):
        plant[0].encoder_count[j] = 0
        plant[0].encoder_error[j] = 0.0


@kernel(types.int64(_PLANT, _FAULTS, types.int64, types.int64))
def _faulty_count(plant: Array, faults: Array, j: int, moved: int) -> int:
    """Return what an encoder shows that drifts, loses counts, is noisy or has a bit stuck, after it moved so much."""
    p, f = plant[0], faults[0]
    bit = np.uint64(1) << np.uint64(j)
    if not f.encoder_frozen & bit:
        p.encoder_error[j] += f.encoder_drift[j] * SUBSTEP - f.encoder_loss[j] * moved
        whole = np.int64(np.floor(p.encoder_error[j]))
        p.encoder_error[j] -= whole
        p.encoder_count[j] += whole
    shown = np.int64(p.encoder_count[j] + f.encoder_offset[j])
    if f.encoder_noise[j] > 0.0:
        p.random += GOLDEN
        shown += np.int64(np.rint(f.encoder_noise[j] * gaussian(mix(p.random))))
    if f.encoder_bit_stuck & bit:
        one = np.int64(1) << f.encoder_bit[j]
        shown = shown | one if f.encoder_bit_value[j] else shown & ~one
    return int(shown)


@kernel(types.void(_PLANT, _FAULTS, _INPUTS))
def _sense_temperature(plant: Array, faults: Array, inputs: Array) -> None:
    """Fill in what the motors' temperature sensors show; one of them is read in each substep, so each at 100 Hz."""
    p, f = plant[0], faults[0]
    turn = p.substeps % SUBSTEPS_PER_READING
    if turn < p.n_axes:
        # not a draw of its own from the counter, which would shift all other noise
        noise = gaussian(mix(p.random ^ TEMPERATURE_SALT))
        read = p.temperature[turn] + p.temperature_noise * noise
        p.temperature_read[turn] = np.rint(read / p.temperature_step) * p.temperature_step
    if not f.bits & TEMPERATURE_FAULTS:
        for j in range(p.n_axes):
            inputs[0].temperature[j] = p.temperature_read[j]
            p.temperature_shift[j] = 0.0
        return
    for j in range(p.n_axes):
        bit = np.uint64(1) << np.uint64(j)
        ramp = f.temperature_ramp[j] * SUBSTEP
        p.temperature_shift[j] = p.temperature_shift[j] + ramp if ramp != 0.0 else 0.0
        shown = f.temperature[j] if f.temperature_set & bit else p.temperature_read[j]
        if f.temperature_missing & bit:
            inputs[0].temperature[j] = np.nan
        elif not f.temperature_frozen & bit:
            inputs[0].temperature[j] = shown + p.temperature_shift[j]


@kernel(types.void(_PLANT, _FAULTS, _INPUTS, _OUTPUTS))
def _sense(plant: Array, faults: Array, inputs: Array, outputs: Array) -> None:
    """Fill in what the board's sensors show of the present state."""
    n = plant[0].n_axes
    qpos = plant_view(plant[0].qpos, 2 * n)
    has_faulty_counts = faults[0].bits & ENCODER_FAULTS
    for j in range(n):
        bit = np.uint64(1) << np.uint64(j)
        a = qpos[n + j]
        count = np.int64(np.floor(a * plant[0].counts_per_unit[j]))
        moved = count - plant[0].encoder_last[j]
        plant[0].encoder_last[j] = count
        if faults[0].encoder_reversed & bit:
            moved = -moved
        if not faults[0].encoder_frozen & bit:
            plant[0].encoder_count[j] += moved
        shown = plant[0].encoder_count[j] + faults[0].encoder_offset[j]
        if has_faulty_counts:
            shown = _faulty_count(plant, faults, j, moved)
        inputs[0].counts[j] = shown

        plant[0].random += GOLDEN
        noise = gaussian(mix(plant[0].random))
        lie = faults[0].current_lie[j]
        if lie == 0:
            inputs[0].current[j] = plant[0].current[j] + plant[0].current_noise * noise
        elif lie != FROZEN:
            told = float(outputs[0].current[j]) if lie == COMMANDED else 0.0
            inputs[0].current[j] = told + plant[0].current_noise * noise

        plant[0].random += GOLDEN
        noise = gaussian(mix(plant[0].random))
        # The potentiometers of the first axes sit at the joint, beyond the cable; those of the discs at the actuator.
        sensed = qpos[j] if plant[0].brake_friction[j] > 0.0 else a
        sensed += faults[0].absolute_offset[j] + plant[0].absolute_noise[j] * noise
        if faults[0].absolute_missing & bit:
            inputs[0].absolute[j] = np.nan
        elif not faults[0].absolute_frozen & bit:
            inputs[0].absolute[j] = np.rint(sensed / plant[0].absolute_step[j]) * plant[0].absolute_step[j]
    _sense_temperature(plant, faults, inputs)


@kernel(types.void(_PLANT))
def plant_pose(plant: Array) -> None:
    """Bring `tip_pose` up to the joints' present positions."""
    mj_kinematics(plant[0].model, plant[0].data)
    link = plant[0].n_joints
    xpos = carray(_floats_at(plant[0].xpos), (link + 1, 3))
    xmat = carray(_floats_at(plant[0].xmat), (link + 1, 9))
    for i in range(3):
        for k in range(4):
            value = xpos[link, i] if k == 3 else 0.0
            for m in range(3):
                value += xmat[link, 3 * i + m] * plant[0].tip[m, k]
            plant[0].tip_pose[i, k] = value
    plant[0].tip_pose[3, 3] = 1.0


@kernel(types.void(_PLANT, _FAULTS))
def _push_tip(plant: Array, faults: Array) -> None:
    """Apply what pushes the true tip: at the last link's COM, with the moment that moves the force to the tip."""
    p, f = plant[0], faults[0]
    link = p.n_joints
    wrench = carray(_floats_at(p.wrench), (link + 1, 6))
    fx, fy, fz = f.tip_force[0], f.tip_force[1], f.tip_force[2]
    if fx == 0.0 and fy == 0.0 and fz == 0.0 and f.wall_stiffness == 0.0:
        for i in range(6):
            wrench[link, i] = 0.0
        return
    plant_pose(plant)
    if f.wall_stiffness > 0.0:
        depth = 0.0
        for i in range(3):
            depth += (f.wall_point[i] - p.tip_pose[i, 3]) * f.wall_normal[i]
        push = f.wall_stiffness * max(depth, 0.0)
        fx += push * f.wall_normal[0]
        fy += push * f.wall_normal[1]
        fz += push * f.wall_normal[2]
    com = carray(_floats_at(p.xipos), (link + 1, 3))
    x = p.tip_pose[0, 3] - com[link, 0]
    y = p.tip_pose[1, 3] - com[link, 1]
    z = p.tip_pose[2, 3] - com[link, 2]
    wrench[link, 0] = fx
    wrench[link, 1] = fy
    wrench[link, 2] = fz
    wrench[link, 3] = y * fz - z * fy
    wrench[link, 4] = z * fx - x * fz
    wrench[link, 5] = x * fy - y * fx


@kernel(types.void(_PLANT, _FAULTS, _OUTPUTS, _INPUTS))
def plant_substep(
    plant: Array,
    faults: Array,
    outputs: Array,
    inputs: Array,
) -> None:
    """Advance the arm by one firmware tick (250 us): amplifiers, motors, brakes, physics, then the sensors."""
    n = plant[0].n_axes
    applied = plant_view(plant[0].applied, 2 * n)
    frictionloss = plant_view(plant[0].frictionloss, 2 * n)

    told = 1 if outputs[0].brakes_released else 0
    if told != plant[0].brakes_told:
        plant[0].brakes_told = told
        plant[0].brake_wait = plant[0].release_substeps if told else plant[0].engage_substeps
        plant[0].brake_wait += faults[0].brake_delay_substeps
    if plant[0].brake_wait > 0:
        plant[0].brake_wait -= 1
    else:
        plant[0].brakes_open = plant[0].brakes_told

    for j in range(n):
        bit = np.uint64(1) << np.uint64(j)
        current = float(outputs[0].current[j])
        if faults[0].motor_forced & bit:
            current = faults[0].motor_current[j]
        if not outputs[0].power or faults[0].motor_open & bit:
            current = 0.0
        current = min(max(current, -plant[0].current_max[j]), plant[0].current_max[j])
        plant[0].current[j] = current
        rise = plant[0].ambient + plant[0].heating[j] * current * current - plant[0].temperature[j]
        plant[0].temperature[j] += plant[0].warming * rise
        effort = current * plant[0].effort_per_amp[j] * (1.0 - faults[0].motor_loss[j])
        plant[0].effort[j] = -effort if faults[0].motor_reversed & bit else effort
        applied[n + j] = plant[0].effort[j]

        friction = plant[0].coulomb[j]
        if (not plant[0].brakes_open or faults[0].brake_stuck & bit) and not faults[0].brake_failed & bit:
            friction += plant[0].brake_friction[j] * (1.0 - faults[0].brake_loss[j])
        if faults[0].axis_jammed & bit:
            friction += JAM_FRICTION
        frictionloss[n + j] = friction
    _push_tip(plant, faults)
    mj_step(plant[0].model, plant[0].data)
    plant[0].substeps += 1
    _sense(plant, faults, inputs, outputs)


class Plant:
    """One emulated arm: its MuJoCo model and the records that the kernels work on.

    Attributes:
        file: The plant file.
        digest: SHA-256 of its text.
        mjcf: The model's text.
        model: MuJoCo's model.
        data: MuJoCo's state: the joints' positions, then the actuators'.
        record: The PLANT record, shape (1,).
        inputs: What the board's sensors show, BOARD_INPUTS, shape (1,).
        outputs: What the board drives, BOARD_OUTPUTS, shape (1,).

    Args:
        arm: The name or path of the controller's description; it must have the axes of the plant's own arm.
        plant: The name or path of a plant file.
        seed: Draws the initial pose and the noise.
        instrument: How an arm without a mechanical remote centre holds its instrument, and where its trocar is.

    Raises:
        PlantError: The plant file is absent, malformed, not of this arm, or gives no physical model.
    """

    def __init__(
        self,
        arm: str,
        plant: str = "psm_classic",
        seed: int = 1,
        instrument: RemoteCenterConfig = NO_INSTRUMENT,
    ) -> None:
        self.file, self.digest = load_plant(plant)
        # The body is its own file's: a controller with another model of the arm, a fitted one say, changes none of it.
        try:
            description = load_arm(self.file.arm)
        except DescriptionError as error:
            raise PlantError(f"plant {plant!r}: arm = {self.file.arm!r} cannot be used: {error}") from error
        axes = load_arm(arm).axis_names
        if axes != description.axis_names:
            raise PlantError(
                f"plant {plant!r} is one of arm {self.file.arm!r} with the axes {', '.join(description.axis_names)}, "
                f"but {arm!r} has {', '.join(axes)}: choose a plant of {arm!r}"
            )
        nominal = description.record[0]
        self.mjcf = make_mjcf(nominal, self.file)
        try:
            self.model = mujoco.MjModel.from_xml_string(self.mjcf)
        except ValueError as error:
            raise PlantError(f"plant {plant!r} of arm {arm!r} is no physical model: {error}") from error
        self.data = mujoco.MjData(self.model)
        self.record = np.zeros(1, PLANT)
        self.inputs = np.zeros(1, BOARD_INPUTS)
        self.inputs["temperature"] = np.nan
        self.inputs["pedal"] = 1
        self.inputs["tool"] = self.file.tool
        self.outputs = np.zeros(1, BOARD_OUTPUTS)
        self._fill(nominal, seed)
        self._hold(nominal, instrument)
        self._settle(nominal)

    def _fill(self, nominal: np.void, seed: int) -> None:
        record, n = self.record[0], self.model.nv // 2
        for name in ("model", "data"):
            record[name] = getattr(self, name)._address
        arrays = {
            "qpos": "qpos",
            "qvel": "qvel",
            "applied": "qfrc_applied",
            "xpos": "xpos",
            "xmat": "xmat",
            "xipos": "xipos",
        }
        for name, attribute in {**arrays, "wrench": "xfrc_applied"}.items():
            record[name] = getattr(self.data, attribute).ctypes.data
        record["frictionloss"] = self.model.dof_frictionloss.ctypes.data
        for name in ("n_axes", "n_joints", "tip", "counts_per_unit", "effort_per_amp", "current_max"):
            record[name] = nominal[name]
        record["coulomb"][:n] = self.file.actuators.coulomb
        record["brake_friction"][:n] = self.file.brakes.friction
        record["engage_substeps"] = round(self.file.brakes.engage_delay / SUBSTEP)
        record["release_substeps"] = round(self.file.brakes.release_delay / SUBSTEP)
        record["current_noise"] = self.file.motors.current_noise
        record["absolute_noise"][:n] = self.file.sensors.absolute_noise
        record["absolute_step"][:n] = self.file.sensors.absolute_step
        motors = self.file.motors
        record["heating"][:n] = np.multiply(motors.resistance, motors.thermal_resistance)
        record["warming"] = -np.expm1(-SUBSTEP / motors.thermal_time_constant)
        record["ambient"] = motors.ambient
        record["temperature"] = record["temperature_read"] = motors.ambient
        record["temperature_noise"], record["temperature_step"] = motors.temperature_noise, motors.temperature_step
        record["random"] = mix(np.uint64(seed))

    def _hold(self, nominal: np.void, instrument: RemoteCenterConfig) -> None:
        """Say where the instrument's shaft is, for the truth."""
        record = self.record[0]
        if nominal["family"] == Family.NONE:
            tip = np.asarray(nominal["tip"])
            direction = tip[:3, :3] @ instrument.shaft_direction
            record["shaft_link"] = nominal["n_joints"]
            record["shaft_point"] = tip[:3, :3] @ instrument.shaft_point + tip[:3, 3]
            record["shaft_direction"] = direction / np.linalg.norm(direction)
            record["remote_center"] = np.nan if instrument.point is None else instrument.point
        elif nominal["n_joints"] >= SHAFT_LINK:
            record["shaft_link"], record["shaft_direction"] = SHAFT_LINK, (0.0, 0.0, 1.0)

    def _settle(self, nominal: np.void) -> None:
        """Put the arm where somebody left it, let it come to rest on its brakes, and power the sensors up."""
        record, n = self.record[0], int(nominal["n_axes"])
        q = np.empty(n)
        for i in range(n):
            bits = mix(np.uint64((int(record["random"]) + (i + 1) * int(GOLDEN)) % 2**64))
            spread = self.file.start.spread[i] * (2.0 * uniform(bits) - 1.0)
            q[i] = min(
                max(self.file.start.position[i] + spread, nominal["position_min"][i]), nominal["position_max"][i]
            )
        self.data.qpos[:n] = q
        self.data.qpos[n:] = np.asarray(nominal["actuator_from_joint"])[:n, :n] @ q
        faults = np.zeros(1, FAULTS)
        for _ in range(round(SETTLE / SUBSTEP)):
            plant_substep(self.record, faults, self.outputs, self.inputs)
        record["substeps"] = 0
        record["encoder_count"] = 0
        self.inputs["counts"] = 0
        plant_pose(self.record)
