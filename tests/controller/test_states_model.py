"""The cycle's operating states, model-checked: every reachable situation, every command, every word of the device.

Situations are found by search from power-on with the compiled cycle itself, one period at a time: a situation is what
the core remembers but for ids, times and set-points. In each of them every command and every status of the motor
controllers is tried, and every code of the catalogue, and the claims below are looked at in what comes out.
"""

import itertools

import numpy as np
import pytest
from numba.core import types

from controller.activity import CORE, Activity
from controller.catalogue import Code
from controller.guard.records import REACTIONS
from controller.mailbox import MESSAGE, Operation
from controller.motion.setpoint import MOTION
from controller.reactions import fail, react
from drivers.driver import FEEDBACK, DeviceFault, Status
from kinematics.compiled import array_of, kernel
from kinematics.description import ARM
from telemetry.sample import SAMPLE, OperatingState
from tests.controller.one_cycle import UP, OneCycle
from tests.controller.state_claims import CLAIMS, CODES, KNOWN, NONE, REACTION_CLAIMS, STREAMING, F, Outcome

REST = int(Status.REFERENCED | Status.PEDAL)  # healthy, without power
UNKNOWN_OPERATIONS = (-1, 63, 64, 2**40)
OPERATIONS = (0, *Operation, *UNKNOWN_OPERATIONS)
COMMAND_STATUSES = (REST, int(UP), int(UP & ~Status.REFERENCED), int(UP | Status.ESTOP), REST & ~int(Status.REFERENCED))
MOST = 20_000
"""Situations; the search must end by itself before it."""

COUNTED = 12
"""Cycles of an activity that make situations of their own; all end before, motions too, since they are so short."""
SETTINGS = ("tool_expected", "pedal_required")
NO_SITUATION = ("sequence", "ended", "fault", "fault_axis", "axis", "age", "tool", "test_count")
"""Of the core's whole numbers: what makes no situation of its own. `fault` does by what it asks for."""
SCALARS = tuple(
    name
    for name in CORE.names
    if CORE[name] == np.int64
    and not name.endswith(("_id", "_ns", "_sequence", "_cycles", "_at_end"))
    and name not in (*SETTINGS, *NO_SITUATION)
)
STATE, ACTIVITY = SCALARS.index("state"), SCALARS.index("activity")


def situations(core, motion):
    """Return the keys of what the core remembers, (n, k), for records of shape (n,)."""
    columns = [core[name] for name in SCALARS]
    timed = ~np.isin(core["activity"], (NONE, STREAMING))
    columns.append(np.where(timed, np.minimum(core["activity_cycles"], COUNTED), 0))
    columns += [REACTIONS[core["fault"]], core["fault"] == Code.STREAM_STALE]
    columns += [motion[name][:, group] for name in ("mode", "stopping") for group in range(2)]
    return np.stack(columns, axis=1).astype(np.int64)


@kernel(
    types.void(
        *map(array_of, (CORE, MOTION, ARM, SAMPLE, CORE, MOTION)),
        types.int64[::1],
        types.int64,
        *map(array_of, (CORE,)),
    )
)
def react_to_each(core, motion, arm, sample, core_before, motion_before, codes, failed, core_after):
    """React to codes, each from the same beginning."""
    for k in range(len(codes)):
        core[0] = core_before[0]
        motion[0] = motion_before[0]
        if failed:
            fail(core, motion, arm, sample, codes[k])
        else:
            react(core, motion, arm, sample, codes[k])
        core_after[k] = core[0]


def same(left, right):
    """Where records of two arrays are the same to the bit."""
    raw = [np.ascontiguousarray(a).view(np.uint8).reshape(len(a), -1) for a in (left, right)]
    return (raw[0] == raw[1]).all(axis=1)


class Search:
    """The search, its situations, and where a claim did not hold."""

    def __init__(self, cycle):
        self.cycle = cycle
        self.situations = set()
        self.cycles = 0
        self.reactions = 0
        self.broken = {}

    def words(self, saved):
        """Return what the device may say: it has followed the last command exactly, or is what it is in one cycle."""
        following = saved["feedback"].copy()
        command = saved["command"]
        if command["sequence"][0]:
            following["position"], following["velocity"] = command["position"], command["velocity"]
            following["effort"] = command["effort"]
            core = saved["core"][0]
            if core["activity"] == Activity.TESTING_SIGNS:  # each encoder follows its push, two cycles later
                pushed = core["activity_cycles"] + 1 - core["release_settle_cycles"] - 2
                way = 0 if pushed < 0 else 1 if pushed <= core["pulse_cycles"] else -1
                n = self.cycle.n
                following["position"][:, :n] += 10 * way / np.abs(self.cycle.records["arm"][0]["counts_per_unit"][:n])
        following["fault"], following["fault_axis"] = 0, -1
        commanded = np.repeat(following, len(COMMAND_STATUSES))
        commanded["status"] = COMMAND_STATUSES
        every = np.repeat(following, 2 ** len(Status))
        every["status"] = np.arange(len(every))
        every["fault"] = np.where(every["status"] & int(Status.FAULT), int(DeviceFault.WATCHDOG), 0)
        faults = np.repeat(following, len(DeviceFault) + 1)
        faults["status"] = int(UP | Status.FAULT)
        faults["fault"] = [*DeviceFault, 2**31]
        wild = np.repeat(following, 3)
        wild["status"] = int(UP)
        wild["position"][0, 1], wild["velocity"][1, 0], wild["position"][2, 0] = np.nan, 1e3, 1e3
        return commanded, np.concatenate([every, faults, wild])

    def try_all(self, saved):
        """Run every input from one situation; returns the outcome."""
        cycle = self.cycle
        cycle.restore(saved)
        commanded, silent = self.words(saved)
        messages = np.concatenate([cycle.plausible_message(operation) for operation in OPERATIONS])
        none = np.zeros(len(silent), MESSAGE)
        messages = np.concatenate([np.repeat(messages, len(commanded)), none])
        feedback = np.concatenate([np.tile(commanded, len(OPERATIONS)), silent]).astype(FEEDBACK)
        out = cycle.run(messages, feedback, saved=saved)
        lost = cycle.run(messages[:1], feedback[1:2], fresh=0, saved=saved)
        messages, feedback = np.concatenate([messages, messages[:1]]), np.concatenate([feedback, feedback[1:2]])
        out = {name: np.concatenate([out[name], lost[name]]) for name in out}
        return Outcome(
            saved["core"][0],
            messages,
            feedback,
            out["core"],
            out["motion"],
            out["command"],
            out["sample"],
        )

    def note(self, claim, o, wrong):
        for k in np.flatnonzero(wrong)[:1]:
            self.broken.setdefault(claim, []).append(
                f"{OperatingState(o.before['state']).name}/{Activity(o.before['activity']).name}"
                f" homed={o.before['is_homed']} free={o.before['free']} operation={o.operation[k]}"
                f" status={Status(int(o.feedback['status'][k]))!r} fault={o.feedback['fault'][k]}"
                f" -> {OperatingState(o.core['state'][k]).name}/{Activity(o.core['activity'][k]).name}"
                f" mode={o.sent['mode'][k]} verdict={o.sample['verdict'][k]} event={o.sample['event'][k]}"
            )

    def look(self, o):
        for claim in CLAIMS:
            self.note(claim.__name__, o, claim(o))
        # Beside the same cycle without the command:
        count = len(COMMAND_STATUSES)
        commands = slice(0, count * len(OPERATIONS))
        twin = np.tile(np.arange(count), len(OPERATIONS))
        refused = o.commanded[commands] & (o.sample["verdict"][commands] != 0)
        unlike = ~same(o.core[commands], o.core[twin]) | ~same(o.sent[commands], o.sent[twin])
        unlike |= ~same(o.motion[commands], o.motion[twin])
        self.note("a_refused_command_changes_nothing", o, refused & unlike)
        into = (o.core["state"][commands] == F) & (o.core["state"][twin] != F) & (o.before["state"] != F)
        self.note("no_command_leads_into_fault", o, into)

    def react_to_all(self, saved):
        """Every code of the catalogue, whoever raises it, from one situation."""
        records = self.cycle.records
        before = saved["core"][0]
        shared = (records["core"], records["motion"], records["arm"], records["sample"], saved["core"], saved["motion"])
        for failed in (0, 1):
            after = np.zeros(len(CODES), CORE)
            react_to_each(*shared, CODES, failed, after)
            self.reactions += len(CODES)
            for claim in REACTION_CLAIMS:
                for k in np.flatnonzero(claim(before, after, failed))[:1]:
                    where = f"{OperatingState(before['state']).name}/{Activity(before['activity']).name}"
                    self.broken.setdefault(claim.__name__, []).append(f"{Code(CODES[k]).name} in {where}: {after[k]}")

    def run(self):
        first = self.cycle.save()
        frontier = [first]
        self.situations.add(tuple(situations(first["core"], first["motion"])[0]))
        while frontier:
            saved = frontier.pop()
            o = self.try_all(saved)
            self.cycles += len(o.messages)
            self.look(o)
            self.react_to_all(saved)
            keys, indices = np.unique(situations(o.core, o.motion), axis=0, return_index=True)
            for key, k in zip(map(tuple, keys), indices, strict=True):
                if key in self.situations:
                    continue
                self.situations.add(key)
                assert len(self.situations) < MOST, "the search does not end: what the core remembers is not bounded"
                self.cycle.restore(saved)
                fresh = 0 if k == len(o.messages) - 1 else 1
                self.cycle.run(o.messages[k : k + 1], o.feedback[k : k + 1], fresh=fresh)
                frontier.append(self.cycle.save())


@pytest.fixture(scope="module")
def search(config, tmp_path_factory):
    cycle = OneCycle(config, tmp_path_factory.mktemp("cycle"))
    stand_at_home(cycle)
    search = Search(cycle)
    search.run()
    return search


def stand_at_home(cycle):
    """Put the arm, without power, so near to where homing will bring it that the way takes a few cycles."""
    home = cycle.core["home"].copy()
    home[: cycle.n] += 1e-8
    position = cycle.records["arm"][0]["actuator_from_joint"] @ home
    cycle.records["feedback"]["position"] = cycle.records["feedback"]["absolute"] = position
    cycle.step(status=REST & ~int(Status.REFERENCED))


NAMES = (
    *(claim.__name__ for claim in CLAIMS),
    "a_refused_command_changes_nothing",
    "no_command_leads_into_fault",
    *(claim.__name__ for claim in REACTION_CLAIMS),
)


@pytest.mark.parametrize(
    "claim", [pytest.param(n, marks=pytest.mark.xfail(reason=KNOWN[n]) if n in KNOWN else ()) for n in NAMES]
)
def test_in_every_reachable_situation(search, claim):
    broken = search.broken.get(claim, [])
    assert not broken, f"{len(broken)} of {len(search.situations)} situations, first: {broken[0]}"


def test_the_search_reached_every_state_and_activity(search):
    keys = np.array(sorted(search.situations))
    assert set(keys[:, STATE]) == {int(state) for state in OperatingState}
    assert set(keys[:, ACTIVITY]) == {int(activity) for activity in Activity}
    for flag in ("is_homed", "referenced", "free"):
        assert set(keys[:, SCALARS.index(flag)]) == {0, 1}
    assert not set(search.broken) - set(NAMES)
    print(f"{len(keys)} situations, {search.cycles} cycles, {search.reactions} reactions")


def test_inputs_cover_every_operation_status_and_device_fault():
    assert set(OPERATIONS) >= set(Operation)
    assert 2 ** len(Status) - 1 == int(np.bitwise_or.reduce([int(bit) for bit in Status]))
    assert list(itertools.chain(DeviceFault)) == list(range(len(DeviceFault)))
