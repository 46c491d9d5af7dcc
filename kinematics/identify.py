"""Masses, rotor inertias and friction of an arm, from a recorded motion of it.

Efforts are linear in all of them, so the fit is a weighted linear least-squares problem in the base parameters, with
their confidence; a second, small one turns its answer into links that can exist, near to the ones of the arm's file
where the motion shows nothing. `docs/dynamics.md` has the formulas.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from kinematics.compiled import Array
from kinematics.consistent import consistent_parameters
from kinematics.description import ArmDescription
from kinematics.regressor import (
    PARAMETERS,
    Base,
    base_parameters,
    inertial_parameters,
    regressor,
    set_inertial_parameters,
)
from kinematics.signals import BLOCK, CUTOFF, IdentifyError, Segment, Signals, condition, split

__all__ = ["AxisErrors", "Estimate", "Fit", "IdentifyError", "Loss", "Segment", "as_json", "identify"]

Loss = Literal["linear", "soft_l1"]

ROUNDS = 5  # of estimating the noise and solving again
NORMAL_95 = 1.959964
RANK_TOLERANCE = 1e-7
EXCITED = 0.05  # of an axis's effort_max: what a parameter may leave unknown of it, anywhere within the limits
UNKNOWN = 0.1  # of effort_max: how large, at full velocity or acceleration, may be what the file gives as zero
MIN_MOMENTS = 50  # in which an axis must slide
FIRST_SMOOTHING = 0.01  # of velocity_max: the smoothing velocity of an axis whose file has no friction
MIN_GAIN = 0.1  # of some axis's misfit that the inertias must take away to be fitted


class Estimate(NamedTuple):
    """One parameter."""

    name: str
    """`pitch.hx`; a * where others are lumped together with it; `yaw.coulomb`, `disc_1.viscous`, `roll.offset`."""
    combination: str
    """What it stands for: `+1 insertion.m +1 roll.m`; empty if only itself."""
    old: float
    """By the arm's file."""
    fitted: float
    """By the new one."""
    unconstrained: float
    """By the linear fit alone, which knows of no file and allows links that cannot exist."""
    half_width: float
    """Of the linear fit's 95 % confidence interval; inf if the motion shows nothing of it."""
    excited: bool
    """What remains unknown of it moves no axis by more than 5 % of its effort_max anywhere within the limits."""


class AxisErrors(NamedTuple):
    """How well one axis's effort is predicted in the blocks that were held out; rms, N·m or N."""

    axis: str
    effort: float
    before: float
    after: float
    moments: int


class Fit(NamedTuple):
    """What came of it."""

    arm: Array
    """The record with the fitted parameters, (1,), dtype ARM."""
    estimates: list[Estimate]
    errors: list[AxisErrors]
    static: bool
    """The links' inertias were not fitted: the accelerations show nothing of them."""
    at_actuators: bool
    """Friction was fitted at the actuators."""
    condition: float
    """Condition number of the linear problem, its columns scaled to unit length."""
    held: list[str]
    """Axes or actuators that hardly moved: their friction is the file's."""
    seconds: float
    """How long the motion was that was fitted or predicted, in whole blocks."""
    warnings: list[str]


class _Model(NamedTuple):
    """The linear model of one motion: effort = X @ parameters."""

    X: Array
    """(N, n_axes, P): inertial | coulomb | viscous | offset."""
    parameters: Array
    """(P,): the file's."""


def identify(
    description: ArmDescription,
    segments: Sequence[Segment],
    period: float,
    *,
    cutoff: float = CUTOFF,
    loss: Loss = "linear",
) -> Fit:
    """Fit an arm's dynamics to a recorded motion.

    Args:
        description: The arm, as its file has it.
        segments: Parts of the recording without gaps, motors on.
        period: s between two samples.
        cutoff: Of the low-pass filter, Hz.
        loss: `soft_l1` gives outliers (a touch, a hand) less weight.

    Raises:
        IdentifyError: The recording does not serve; the message says why.
    """
    arm = _believed(description)
    n, n_axes = description.n_joints, description.n_axes
    signals = condition(arm, segments, period, cutoff)
    fitted, held_out = split(signals)
    rows = signals.slides[:, :n_axes]
    if not rows[fitted].any() or not rows[held_out].any():
        raise IdentifyError(
            "the arm moves in too little of the recording to fit a part and predict the rest: move more"
        )

    # Friction at the joints or at the actuators: whichever explains the same rows better, with as many parameters.
    at_actuators = bool(arm[0]["friction_at_actuators"])
    A = arm[0]["actuator_from_joint"][:n_axes, :n_axes]
    if np.count_nonzero(A - np.diag(np.diag(A))):
        at_joints, there = (_misfit(_model(arm, signals, place).X, signals, fitted) for place in (False, True))
        at_actuators = bool(np.log(there).sum() < np.log(at_joints).sum())

    model = _model(arm, signals, at_actuators)
    static = _is_static(model, signals, fitted)
    base = base_parameters(arm, description.axis_names[:n], _actuators(description), static=static)
    known = _inertial_known(arm, signals, model) if static else np.zeros(signals.effort[:, :n_axes].shape)
    X = _model(arm, _at_rest(signals), at_actuators, signs=signals).X if static else model.X
    y = signals.effort[:, :n_axes] - known

    linear = _solve(X, y, base, model.parameters, rows & fitted[:, None], loss)
    new = _consistent(arm, linear, model.parameters, at_actuators)
    record = arm.copy()
    count = len(new) - 3 * n_axes
    set_inertial_parameters(record, new[:count])
    record[0]["coulomb"][:n_axes] = new[count : count + n_axes]
    record[0]["viscous"][:n_axes] = new[count + n_axes : count + 2 * n_axes]
    record[0]["friction_at_actuators"] = at_actuators

    places = _actuators(description) if at_actuators else description.axis_names
    held = [place for k, place in enumerate(places) if not linear.shown[base.matrix.shape[0] + k]]
    estimates = _estimates(description, arm, base, linear, model.parameters, new, at_actuators, static)
    errors = _errors(description, arm, signals, model, new, rows & held_out[:, None])
    return Fit(
        arm=record,
        estimates=estimates,
        errors=errors,
        static=static,
        at_actuators=at_actuators,
        condition=linear.condition,
        held=held,
        seconds=BLOCK * len(np.unique(signals.block)),
        warnings=_warnings(estimates, errors, held, linear, static),
    )


def _actuators(description: ArmDescription) -> tuple[str, ...]:
    """Return the actuators' names; the axes' where the file knows of none, each its own."""
    return description.actuator_names or description.axis_names


def _believed(description: ArmDescription) -> Array:
    """Return the record of what the file says; where it has no friction, with a smoothing velocity that will do."""
    arm = description.record
    if not arm[0]["gravity"].any():
        raise IdentifyError(
            f"{description.path}: the arm {description.name} has no gravity, so that no motion shows what it weighs: "
            "give dynamics.gravity, the acceleration in the base frame, in the arm's file"
        )
    none = (arm[0]["coulomb"] == 0.0) & (arm[0]["viscous"] == 0.0)
    arm[0]["friction_smoothing"] = np.where(
        none & (arm[0]["velocity_max"] > 0.0), FIRST_SMOOTHING * arm[0]["velocity_max"], arm[0]["friction_smoothing"]
    )
    return arm


# --- the linear model


def _model(arm: Array, motion: Signals, at_actuators: bool, signs: Signals | None = None) -> _Model:
    """Return the linear model; the file's friction, if it is elsewhere, as it is seen at the place asked for."""
    n_axes = int(arm[0]["n_axes"])
    A, C = arm[0]["actuator_from_joint"][:n_axes, :n_axes], arm[0]["joint_from_actuator"][:n_axes, :n_axes]
    place = A if at_actuators else np.eye(n_axes)
    s = signs or motion
    sign = (s.actuator_sign if at_actuators else s.joint_sign)[:, :n_axes]
    velocity = s.qd[:, :n_axes] @ place.T
    X = np.concatenate(
        [
            regressor(arm, motion.q, motion.qd, motion.qdd),
            sign[:, None, :] * place.T,
            velocity[:, None, :] * place.T,
            np.broadcast_to(np.eye(n_axes), (len(motion.q), n_axes, n_axes)),
        ],
        axis=2,
    )
    coulomb, viscous = arm[0]["coulomb"][:n_axes].copy(), arm[0]["viscous"][:n_axes].copy()
    if at_actuators != bool(arm[0]["friction_at_actuators"]):
        to = C if at_actuators else A  # velocities there to velocities here; efforts go back by its transpose
        coulomb, viscous = np.abs(to.T) @ coulomb, np.diag(to.T @ np.diag(viscous) @ to)
    return _Model(X, np.concatenate([inertial_parameters(arm), coulomb, viscous, np.zeros(n_axes)]))


def _at_rest(signals: Signals) -> Signals:
    return signals._replace(qd=np.zeros_like(signals.qd), qdd=np.zeros_like(signals.qdd))


def _inertial_known(arm: Array, signals: Signals, model: _Model) -> Array:
    """Return what the file says of the effort beyond gravity and friction, (N, n_axes)."""
    n_axes = int(arm[0]["n_axes"])
    p = inertial_parameters(arm)
    rest = _at_rest(signals)
    known: Array = (model.X[:, :n_axes, : len(p)] - regressor(arm, rest.q, rest.qd, rest.qdd)) @ p
    return known


def _is_static(model: _Model, signals: Signals, fitted: Array) -> bool:
    """Whether the accelerations show nothing: no axis is explained better with the links' inertias than without."""
    n_axes = model.X.shape[1]
    count = model.X.shape[2] - 3 * n_axes
    links = count - n_axes  # before the rotors
    moments = [k for k in range(count) if k >= links or k % 10 >= 4]  # second moments and rotors
    without = _misfit(np.delete(model.X, moments, axis=2), signals, fitted)
    return bool((_misfit(model.X, signals, fitted) > (1.0 - MIN_GAIN) * without).all())


def _misfit(X: Array, signals: Signals, fitted: Array) -> Array:
    """Return the median size of each axis's residual, (n_axes,), after a fit that outliers hardly pull at."""
    n_axes = X.shape[1]
    rows = signals.slides[:, :n_axes] & fitted[:, None]
    axis = np.nonzero(rows)[1]
    W, y = X[rows], signals.effort[:, :n_axes][rows]
    weight = np.ones(len(y))
    scale = np.array(
        [max(float(np.sqrt(np.mean(y[axis == i] ** 2))), 1e-12) if (axis == i).any() else 1.0 for i in range(n_axes)]
    )
    left = y
    for _ in range(3):
        A = W * (weight / scale[axis])[:, None]
        R, z = _triangle(A, y * weight / scale[axis])
        size = np.linalg.norm(R, axis=0)
        shown = size > 0.0
        solution = np.linalg.lstsq(R[:, shown] / size[shown], z, rcond=RANK_TOLERANCE)[0]
        left = y - W[:, shown] @ (solution / size[shown])
        scale = np.array([_median_size(left[axis == i]) for i in range(n_axes)])
        weight = (1.0 + (left / scale[axis]) ** 2) ** -0.25
    return scale


def _median_size(x: Array) -> float:
    return max(float(np.median(np.abs(x))), 1e-12) if len(x) else 1.0


# --- the linear fit


class _Linear(NamedTuple):
    """The weighted linear fit: base inertial parameters | coulomb | viscous | offset."""

    values: Array
    half_width: Array
    shown: Array
    """(b + 3 n_axes,) bool: the motion has anything to say of it."""
    condition: float
    information: Array
    """Upper triangle and right-hand side in the full parameters: |R p - z|² is the weighted misfit, and a constant."""
    target: Array
    noise: Array
    """(n_axes,): standard deviation of the residual."""
    correlation: Array
    """(n_axes,): how many moments share one independent error."""


def _solve(X: Array, y: Array, base: Base, old: Array, rows: Array, loss: Loss) -> _Linear:
    n_axes = X.shape[1]
    count = X.shape[2] - 3 * n_axes
    XB = np.concatenate([X[:, :, base.independent], X[:, :, count:]], axis=2)
    start = np.concatenate([base.matrix @ old[:count], old[count:]])
    enough = rows.sum(axis=0) >= MIN_MOMENTS
    rows = rows & enough
    if not rows.any():
        raise IdentifyError(
            f"no axis moves in {MIN_MOMENTS} moments of the part that is fitted: record a motion in which every axis "
            "goes through most of its range, as examples/identify_arm.py does"
        )
    axis = np.nonzero(rows)[1]
    W, residual = XB[rows], (y - XB @ start)[rows]
    noise, correlation = np.sqrt(np.maximum((y**2 * rows).sum(axis=0) / np.maximum(rows.sum(axis=0), 1), 1e-24)), None
    outlier = np.ones(len(W))
    change = np.zeros(W.shape[1])
    for _ in range(ROUNDS):
        shared = np.ones(n_axes) if correlation is None else correlation
        weight = outlier / (noise * np.sqrt(shared))[axis]
        R, z = _triangle(W * weight[:, None], residual * weight)
        size = np.linalg.norm(R, axis=0)
        shown = size > RANK_TOLERANCE * size.max()
        U, S, Vt = np.linalg.svd(R[:, shown] / size[shown], full_matrices=False)
        good = S / S[0] > RANK_TOLERANCE
        change = np.zeros(W.shape[1])
        change[shown] = Vt[good].T @ ((U[:, good].T @ z) / S[good]) / size[shown]
        left = residual - W @ change
        freedom = max(1.0 - int(good.sum()) / len(W), 0.1)
        for i in np.flatnonzero(enough):
            mine = left[axis == i]
            noise[i] = max(float(np.sqrt(np.mean(mine**2) / freedom)), 1e-12)
        correlation = np.array([_shared(left[axis == i]) for i in range(n_axes)])
        if loss == "soft_l1":
            outlier = (1.0 + (left / noise[axis]) ** 2) ** -0.25  # the square root of the loss's weight
    half = np.full(len(change), np.inf)
    spread = np.sqrt(((Vt[good].T / S[good]) ** 2).sum(axis=1)) / size[shown]
    spread[(Vt[~good] ** 2).sum(axis=0) > RANK_TOLERANCE] = np.inf
    half[shown] = NORMAL_95 * spread
    information, target = _triangle(X[rows] * weight[:, None], y[rows] * weight)
    return _Linear(
        values=start + change,
        half_width=half,
        shown=shown,
        condition=float(S[0] / S[good][-1]) if good.all() else float("inf"),
        information=information,
        target=target,
        noise=noise,
        correlation=correlation if correlation is not None else np.ones(n_axes),
    )


def _triangle(A: Array, b: Array) -> tuple[Array, Array]:
    """Return a small R and z: |R x - z| is |A x - b| of the tall problem, but for a constant."""
    both: Any = np.linalg.qr(np.column_stack([A, b]), mode="r")
    columns = A.shape[1]
    return both[:columns, :columns], both[:columns, columns]


def _shared(residual: Array) -> float:
    """Return how many neighbouring residuals share one independent error: the integrated autocorrelation time.

    What a model does not know stays for many samples, and counting each as news would make the confidence interval
    far too narrow. Summed up to the first lag at which the correlation is gone.
    """
    if len(residual) < MIN_MOMENTS or not np.any(residual):
        return 1.0
    x = residual - residual.mean()
    size = 2 ** int(np.ceil(np.log2(2 * len(x))))
    spectrum = np.abs(np.fft.rfft(x, size)) ** 2
    correlation = np.fft.irfft(spectrum, size)[: len(x) // 4]
    correlation /= correlation[0]
    gone = np.flatnonzero(correlation < 0.05)
    end = int(gone[0]) if len(gone) else len(correlation)
    return float(1.0 + 2.0 * correlation[1:end].sum())


def _consistent(arm: Array, linear: _Linear, old: Array, at_actuators: bool) -> Array:
    """Return the parameters nearest to the measured efforts and to the file that an arm can have, (P,)."""
    n, n_axes = int(arm[0]["n_joints"]), int(arm[0]["n_axes"])
    A, C = arm[0]["actuator_from_joint"][:n_axes, :n_axes], arm[0]["joint_from_actuator"][:n_axes, :n_axes]
    effort, velocity, acceleration = (arm[0][f"{k}_max"][:n_axes] for k in ("effort", "velocity", "acceleration"))
    at_motors = np.abs(C.T) @ effort
    rotors = UNKNOWN * at_motors / (np.abs(A) @ acceleration)
    coulomb = UNKNOWN * (at_motors if at_actuators else effort)
    viscous = coulomb / (np.abs(A) @ velocity if at_actuators else velocity)
    spread = np.concatenate([rotors, coulomb, viscous, np.full(n_axes, np.inf)])
    return consistent_parameters(linear.information, linear.target, old, spread, n)


# --- what is told


def _estimates(
    description: ArmDescription,
    arm: Array,
    base: Base,
    linear: _Linear,
    old: Array,
    new: Array,
    at_actuators: bool,
    static: bool,
) -> list[Estimate]:
    n, n_axes = description.n_joints, description.n_axes
    count = len(old) - 3 * n_axes
    plain = [f"{joint}.{name}" for joint in description.axis_names[:n] for name in PARAMETERS]
    plain += [f"{actuator}.rotor" for actuator in _actuators(description)]
    combinations = []
    for row in base.matrix:
        terms = [f"{value:+.4g} {plain[k]}" for k, value in enumerate(row) if value != 0.0]
        combinations.append(" ".join(terms) if len(terms) > 1 else "")
    places = _actuators(description) if at_actuators else description.axis_names
    names = [*base.names, *(f"{place}.coulomb" for place in places), *(f"{place}.viscous" for place in places)]
    names += [f"{axis}.offset" for axis in description.axis_names]
    combinations += [""] * (3 * n_axes)
    worst = _worst_per_unit(arm, base, at_actuators, static)

    def in_base(p: Array) -> Array:
        return np.concatenate([base.matrix @ p[:count], p[count:]])

    return [
        Estimate(
            name=name,
            combination=combination,
            old=float(was),
            fitted=float(is_),
            unconstrained=float(value) if shown else float(was),
            half_width=float(half),
            excited=bool(worst_ == 0.0 or half * worst_ <= EXCITED),
        )
        for name, combination, was, is_, value, half, shown, worst_ in zip(
            names,
            combinations,
            in_base(old),
            in_base(new),
            linear.values,
            linear.half_width,
            linear.shown,
            worst,
            strict=True,
        )
    ]


def _worst_per_unit(arm: Array, base: Base, at_actuators: bool, static: bool, seed: int = 1) -> Array:
    """Return the largest part of an axis's effort_max that one unit of each parameter can make within the limits."""
    n_axes = int(arm[0]["n_axes"])
    rng = np.random.default_rng(seed)
    a = arm[0]
    q = rng.uniform(a["position_min"], a["position_max"], (500, 8))
    qd, qdd = (rng.choice([-1.0, 1.0], q.shape) * a[f"{name}_max"] for name in ("velocity", "acceleration"))
    motion = Signals(
        q=q,
        qd=qd,
        qdd=qdd,
        effort=np.zeros_like(q),
        joint_sign=np.sign(qd),
        actuator_sign=np.sign(qd @ a["actuator_from_joint"].T),
        slides=np.ones(q.shape, dtype=bool),
        block=np.zeros(len(q), dtype=int),
    )
    X = _model(arm, _at_rest(motion) if static else motion, at_actuators, signs=motion).X
    count = X.shape[2] - 3 * n_axes
    XB = np.concatenate([X[:, :, base.independent], X[:, :, count:]], axis=2)
    worst: Array = (np.abs(XB).max(axis=0) / a["effort_max"][:n_axes, None]).max(axis=0)
    return worst


def _errors(
    description: ArmDescription,
    arm: Array,
    signals: Signals,
    model: _Model,
    new: Array,
    rows: Array,
) -> list[AxisErrors]:
    """Return the errors of the file's model, with friction where the file has it, and of the new one; no offsets."""
    n_axes = description.n_axes
    before = _model(arm, signals, bool(arm[0]["friction_at_actuators"]))
    kept = slice(0, len(new) - n_axes)
    effort = signals.effort[:, :n_axes]
    left = (effort, effort - before.X[:, :, kept] @ before.parameters[kept], effort - model.X[:, :, kept] @ new[kept])
    errors = []
    for i, axis in enumerate(description.axis_names):
        moments = int(rows[:, i].sum())
        size, old, fitted = (float(np.sqrt(np.mean(x[rows[:, i], i] ** 2))) if moments else np.nan for x in left)
        errors.append(AxisErrors(axis, size, old, fitted, moments))
    return errors


def _warnings(
    estimates: list[Estimate], errors: list[AxisErrors], held: list[str], linear: _Linear, static: bool
) -> list[str]:
    warnings = []
    if held:
        warnings.append(f"{', '.join(held)} hardly moved: the file's friction stays there; move every axis, both ways")
    poor = [e.name for e in estimates if not e.excited]
    if poor:
        warnings.append(
            f"the motion does not excite {', '.join(poor)} enough: what is unknown of each could make more than "
            f"{100 * EXCITED:g} % of an axis's effort limit somewhere within the limits; where it shows nothing the "
            "file's values stay"
        )
    if static:
        warnings.append("accelerations are too small to show inertias: only gravity and friction were fitted")
    forced = [
        e.name
        for e in estimates
        if e.excited and np.isfinite(e.half_width) and abs(e.fitted - e.unconstrained) > 3.0 * e.half_width
    ]
    if forced:
        warnings.append(
            f"{', '.join(forced)}: the efforts ask for values that no link can have; the nearest possible were taken. "
            "Look for what the model lacks (springs, cables, a wrong geometry or coupling)"
        )
    worse = [e.axis for e in errors if e.moments and e.after > e.before]
    if worse:
        warnings.append(f"{', '.join(worse)}: the new values predict the held-out effort no better than the file's")
    return warnings


def as_json(fit: Fit) -> dict[str, Any]:
    """Return the fit's figures as one JSON object; an infinite interval is null."""
    finite = np.isfinite
    return {
        "estimates": [
            e._asdict() | {"half_width": e.half_width if finite(e.half_width) else None} for e in fit.estimates
        ],
        "held_out": [
            e._asdict() | ({} if e.moments else {"effort": None, "before": None, "after": None}) for e in fit.errors
        ],
        "static": fit.static,
        "friction_space": "actuator" if fit.at_actuators else "joint",
        "condition": fit.condition if finite(fit.condition) else None,
        "held": fit.held,
        "seconds": fit.seconds,
        "warnings": fit.warnings,
    }
