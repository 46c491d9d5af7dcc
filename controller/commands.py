"""What clients and the gateway say to each other: msgpack maps, one Struct each.

A client sends a `Request` and gets one `Reply` with the same number. The gateway checks form and types; what a command
means, and whether it may be carried out, is decided in one place, the cycle. docs/commands.md describes each.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from controller.catalogue import CATALOGUE, Code
from controller.mailbox import MAX_VIA, VERB, Operation
from telemetry.sample import MAX_AXES

__all__ = [
    "ALWAYS_ALLOWED",
    "COMMANDS",
    "NOTICE",
    "QUERIES",
    "Accepted",
    "Advance",
    "Arguments",
    "Client",
    "Empty",
    "Explanation",
    "FrameName",
    "Heartbeat",
    "Holder",
    "JointEffort",
    "JointGoal",
    "JointVelocity",
    "LawParameters",
    "LawStatus",
    "Outcome",
    "PoseGoal",
    "Refusal",
    "RemoteCenter",
    "Reply",
    "Request",
    "SpeedRatio",
    "Status",
    "Twist",
    "Wait",
    "Wrench",
    "explain",
]

NOTICE = 0  # the request number of a reply that nobody asked for: a servo command was refused


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. `id` tells clients apart, the rest is for people."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    name: Annotated[str, Meta(max_length=64)] = ""
    pid: int = 0
    user: Annotated[str, Meta(max_length=64)] = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    op: str
    request: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    client: Client
    sent_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """CLOCK_MONOTONIC when it was sent; the sample that takes the command echoes it."""
    take: bool = False
    """Take the lease from whoever holds it."""
    reply: bool = True
    """Whether an answer is wanted; a refusal is told anyway."""
    args: msgspec.Raw = msgspec.Raw(b"\x80")


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


FrameName = Literal["base", "tip"]
JointVector = Annotated[list[float], Meta(max_length=MAX_AXES)]
TipVector = Annotated[list[float], Meta(min_length=6, max_length=6)]
Matrix = Annotated[list[Annotated[list[float], Meta(min_length=4, max_length=4)]], Meta(min_length=4, max_length=4)]
"""Rows of a 4 x 4 homogeneous matrix, m."""


class JointGoal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """servo, interpolate, move; jp and jr: one entry per axis, the jaw last or left out."""

    position: JointVector
    """rad or m; jr: to be added."""
    speed: float = 1.0
    """move: part of the joints' limits, in ]0, 1]."""
    timeout: float = 0.0
    """s. Streams: stale after so long; 0: as the daemon's configuration says."""
    jaw: bool = False
    """It is for the jaw alone: one entry."""


class JointVelocity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """servo_jv, interpolate_jv."""

    velocity: JointVector
    """rad/s or m/s."""
    timeout: float = 0.0
    jaw: bool = False


class JointEffort(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """servo_jf, interpolate_jf."""

    effort: JointVector
    """N·m or N."""
    timeout: float = 0.0
    jaw: bool = False


class PoseGoal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """servo, interpolate, move; cp and cr: where the tip should be."""

    pose: Matrix
    """cp: T_base_tip; cr: a relative pose."""
    frame: FrameName = "base"
    """cr: in which axes it is relative."""
    speed: float = 1.0
    path_speed: float = 0.0
    """m/s along the path at the most; 0: as the limits allow."""
    via: Annotated[list[Matrix], Meta(max_length=MAX_VIA)] = []
    """move_cp: T_base_tip on the way."""
    blend: float = 0.0
    """m. How far from a via point the path may stay."""
    jaw: float | None = None
    """move: rad, where the jaw runs to along the path."""
    timeout: float = 0.0


class LawParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """set_law_parameters: those that change, by name; all of them take effect in one cycle."""

    values: dict[str, float | list[float]]


class Twist(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """servo_cv, interpolate_cv."""

    twist: TipVector
    """[linear, angular] of the tip, m/s and rad/s."""
    frame: FrameName = "base"
    """In whose axes."""
    timeout: float = 0.0


class Wrench(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """servo_cf, interpolate_cf."""

    wrench: TipVector
    """[force, moment] that the tip exerts, N and N·m."""
    frame: FrameName = "base"
    timeout: float = 0.0


class SpeedRatio(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """set_speed_ratio."""

    ratio: float
    """Of moves and interpolated streams, in ]0, 1]."""


class RemoteCenter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """set_remote_center."""

    point: Annotated[list[float], Meta(min_length=3, max_length=3)] | None = None
    """m, in the base frame; none: release it."""


Arguments = (
    Empty
    | JointGoal
    | JointVelocity
    | JointEffort
    | PoseGoal
    | Twist
    | Wrench
    | SpeedRatio
    | RemoteCenter
    | LawParameters
)
"""What belongs to a command."""


class Wait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answer when a command's activity has ended, or when the state is in a set, or when the time is over."""

    id: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """The command; 0: none."""
    states: Annotated[int, Meta(ge=0, lt=16)] = 0
    """A set of operating states, bit 1 << OperatingState."""
    timeout: Annotated[float, Meta(ge=0.0)] | None = None
    """s of the arm's time; None: for ever."""


class Advance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lock-step: let time run up to and including a cycle. It is absolute, so that asking twice runs it once."""

    until: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    """A sample's sequence number."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The client lives."""

    holds: bool = False
    """It has had the lease and not given it back: a gateway that was restarted learns it so."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the catalogue."""

    code: int
    name: str
    cause: str
    remedy: str
    figures: str = ""
    """Which axis, what was measured, what was allowed; empty where there is nothing of the kind."""


class Refusal(Explanation, frozen=True, kw_only=True):
    """Why a request was not carried out."""

    detail: str = ""
    id: int = 0
    """The command's id, where it got one."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The cycle has taken a command."""

    id: int
    sequence: int
    """The cycle that took it."""
    t_ns: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a wait ended."""

    id: int
    status: int
    """MotionStatus; NONE when no activity ended, as when the state or the time ended the wait."""
    code: int
    """Catalogue code of the fault or event that ended the activity, or 0."""
    sequence: int
    state: int
    timed_out: bool = False
    axis: int = -1
    """Which one the code speaks of; -1: none."""
    value: float = 0.0
    """What was measured, in the unit of the code's quantity (`controller.figures`); 0 as the bound is: it has none."""
    bound: float = 0.0
    """What was allowed."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the lease."""

    name: str
    pid: int
    user: str
    silent: float
    """s since it was last heard of."""


class LawStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The control law."""

    name: str
    file: str
    parameters: dict[str, float | list[float]]
    """As the cycle has them now."""
    changes: int
    """How often they were set."""
    inside: bool
    """The cycle is inside it now."""
    budget_us: float
    """What a call may take; 0: not measured."""
    last_us: float
    """What the newest call took; 0: none yet."""
    longest_us: float
    from_cache: bool
    compiled_s: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon, for people."""

    arm: str
    epoch: int
    lockstep: bool
    period: float
    sequence: int
    """Of the newest sample; 0: there is none yet."""
    t_ns: int
    age: float
    """s since the newest sample; 0 in lock-step."""
    state: int
    is_homed: bool
    is_busy: bool
    mode: int
    motion_id: int
    device_status: int
    fault: Explanation | None
    lease: Holder | None
    settings: dict[str, float]
    """s: watchdog, feedback_timeout, stream_timeout, stream_dead."""
    core: dict[str, Any] | None
    """What the core said of itself: scheduling, warnings, device."""
    recorder: dict[str, Any] | None
    overruns: int
    frames_lost: int
    frames_bad: int
    counters: dict[str, int]
    """Of the gateway: requests, malformed, refused, samples_lost."""
    law: LawStatus | None = None
    black_box: dict[str, Any] | None = None
    """folder, newest, name, error, missed."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one request: a result or a refusal."""

    request: int
    refused: Refusal | None = None
    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    """The Struct that belongs to the request: Accepted, Outcome, Status; nil for the others."""


_FORMS: dict[str, type[Arguments]] = {
    "jp": JointGoal,
    "jr": JointGoal,
    "jv": JointVelocity,
    "jf": JointEffort,
    "cp": PoseGoal,
    "cr": PoseGoal,
    "cv": Twist,
    "cf": Wrench,
}

COMMANDS: dict[str, tuple[Operation, type[Arguments]]] = {
    operation.name.lower(): (operation, _FORMS[operation.name[-2:].lower()] if VERB[operation] else Empty)
    for operation in Operation
    if operation not in (Operation.SPEED_RATIO, Operation.SET_LAW_PARAMETERS, Operation.SET_REMOTE_CENTER)
}
"""Requests that go to the cycle, by name."""
COMMANDS["set_speed_ratio"] = (Operation.SPEED_RATIO, SpeedRatio)
COMMANDS["set_remote_center"] = (Operation.SET_REMOTE_CENTER, RemoteCenter)
COMMANDS["set_law_parameters"] = (Operation.SET_LAW_PARAMETERS, LawParameters)

QUERIES = ("wait", "advance", "status", "stop", "heartbeat", "release")
"""Requests that the gateway answers; `stop` makes it send a hold and then a disable."""

ALWAYS_ALLOWED = frozenset({"hold", "stop"})
"""What needs no lease: whoever sees that the arm must stand still may say so."""


def explain(code: int, figures: str = "") -> Explanation:
    """Return a code's entry of the catalogue, with the figures of this time."""
    try:
        known = Code(code)
        entry = CATALOGUE[known]
        return Explanation(code=code, name=known.name, cause=entry.cause, remedy=entry.remedy, figures=figures)
    except (ValueError, KeyError):
        return Explanation(code=code, name=f"CODE_{code}", cause="No entry in the catalogue.", remedy="Report it.")
