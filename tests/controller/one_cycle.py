"""The real, compiled cycle, one period at a time: the device's feedback and one command go in, what is sent comes out.

There is no port and no clock. Everything that the cycle remembers is in its records, so that a test can copy them, put
them back and ask what any input would have done from there.
"""

import inspect

import numpy as np
from numba.core import types

from controller.clock import CLOCK, FINISH, LOCKSTEP, NOW, WAIT
from controller.core import MOTION_PARTS, make_state
from controller.cycle import run
from controller.laws.compile import compile_law
from controller.laws.parameters import SHARED
from controller.mailbox import MAILBOX, MESSAGE, VERB, Operation, Verb
from drivers.driver import LINK, RECEIVE, TRANSMIT, Status
from kinematics.compiled import array_of, kernel
from kinematics.description import load_arm
from kinematics.kernels import kernels_of
from telemetry.ring import create_ring
from telemetry.sample import SAMPLE

__all__ = ["MOTIONS", "UP", "OneCycle"]

PERIOD_NS = 1_000_000
UP = Status.POWERED | Status.BRAKES_RELEASED | Status.REFERENCED | Status.PEDAL
MOTIONS = tuple(operation for operation in Operation if VERB[operation] != Verb.NONE)
SHORT = {
    "enable_cycles": 4,
    "stop_cycles": 4,
    "average_cycles": 2,
    "brake_settle_cycles": 1,
    "brake_cycles": 2,
    "silent_cycles": 2,
    "release_settle_cycles": 1,
    "pulse_cycles": 1,
}
"""Patience of the core's activities, cut short so that every one of them ends within a few cycles."""
OUTSIDE = ("law_arm", "gains", "link", "lockstep", "ring", "slots", "mailbox", "messages")
"""Records that are not the cycle's memory."""
RESULTS = ("core", "motion", "guard", "command", "sample")


memcpy = types.ExternalFunction("memcpy", types.intp(types.intp, types.intp, types.intp))
COUNT, FRESH, INDEX, TABLE, BEFORE, AFTER, ROW = 0, 1, 2, 3, 4, 5, 6  # of link.device_i8
WIDTH = 5  # of a row: to, its stride, from, its stride, bytes


@kernel(types.void(array_of(LINK), types.int64, types.int64))
def _copy(link, first, past):
    """Carry out rows of the table of copies, for the present index."""
    d = link[0].device_i8
    for row in range(first, past):
        memcpy(d.ctypes.data + 8 * ROW, d[TABLE] + 8 * WIDTH * row, 8 * WIDTH)
        memcpy(d[ROW] + d[ROW + 1] * d[INDEX], d[ROW + 2] + d[ROW + 3] * d[INDEX], d[ROW + 4])


@kernel(WAIT)
def wait(clock, lockstep, link, ring):
    """Begin the next cycle that is asked for: its records are put where the cycle has them."""
    d = link[0].device_i8
    d[INDEX] += 1
    if d[INDEX] >= d[COUNT]:
        return -1
    _copy(link, 0, d[BEFORE])
    clock[0].tick += 1
    clock[0].deadline_ns = clock[0].tick * clock[0].period_ns
    return clock[0].deadline_ns


@kernel(RECEIVE)
def receive(link, feedback):
    """The feedback is there already; here is said how many frames that were."""
    return link[0].device_i8[FRESH]


@kernel(TRANSMIT)
def transmit(link, command):
    """The test looks at the command itself."""
    link[0].frames_sent += 1
    return 0


@kernel(NOW)
def now(clock):
    return clock[0].deadline_ns


@kernel(FINISH)
def finish(clock, lockstep, link, sample):
    """The cycle is over: its records are kept."""
    _copy(link, link[0].device_i8[BEFORE], link[0].device_i8[AFTER])


class OneCycle:
    """A cycle and all its records.

    Args:
        config: Of the daemon.
        folder: For the ring of samples.
        short: Cut the patience of enabling, homing and stopping to a few cycles.
    """

    def __init__(self, config, folder, *, short=True):
        arm = load_arm(config.arm.description)
        kernels = kernels_of(arm)
        self.n = arm.n_axes
        self._number = 0
        self.records = make_state(config, arm)
        ring = create_ring(folder / "samples", SAMPLE, 64, epoch=1, wall_offset_ns=0)
        law = compile_law(config.law.name, config.law.parameters, budget=config.law_budget)
        box = np.zeros(1, MAILBOX)
        self.records |= {
            "law_arm": arm.record,
            "law_shared": np.zeros(1, SHARED),
            "clock": np.zeros(1, CLOCK),
            "lockstep": np.zeros(1, LOCKSTEP),
            "link": np.zeros(1, LINK),
            "ring": ring.header,
            "slots": ring.slots,
            "mailbox": box,
            "messages": box[0]["messages"],
        }
        self.records["clock"]["period_ns"] = PERIOD_NS
        self.records["guard"]["feedback_timeout"] = config.cycle.period  # a cycle without feedback is a lost one
        if short:
            for name, cycles in SHORT.items():
                self.core[name] = cycles
        parts = {
            "forward": kernels.forward,
            "forward_jacobian": kernels.forward_jacobian,
            "inverse": kernels.motion_inverse,
            "law": law.call,
            "receive": receive,
            "transmit": transmit,
            "wait": wait,
            "now": now,
            "finish": finish,
        }
        parts |= {part.py_func.__name__: part for part in MOTION_PARTS}
        self._arguments = []
        for name in inspect.signature(run.py_func).parameters:
            self._arguments.append(parts[name] if name in parts else self.records[name])
        self._kept = [name for name in self.records if name not in OUTSIDE]

    @property
    def core(self):
        return self.records["core"][0]

    @property
    def sample(self):
        return self.records["sample"][0]

    @property
    def sent(self):
        return self.records["command"][0]

    @property
    def motion(self):
        return self.records["motion"][0]

    @property
    def feedback(self):
        return self.records["feedback"][0]

    def save(self):
        """Return a copy of all that the cycle remembers."""
        return {name: self.records[name].copy() for name in self._kept}

    def restore(self, saved):
        """Put a copy back."""
        for name, record in saved.items():
            self.records[name][...] = record

    def make_message(self, operation, **fields):
        """Return a command, shape (1,); its id tells the operation: id % 100. 0: no command."""
        message = np.zeros(1, MESSAGE)
        if operation:
            self._number += 1
            message["id"], message["operation"] = self._number * 100 + int(operation), operation
        message["pose"], message["jaw"], message["parameters"] = np.eye(4), np.nan, np.nan
        for name, value in fields.items():
            if np.ndim(value) == 1:
                message[name][0, : len(value)] = value
            else:
                message[name] = value
        return message

    def plausible_message(self, operation):
        """Return a command whose arguments an arm at rest would take."""
        q = self.motion["q"][: self.n].copy()
        pose = self.sample["setpoint_pose"].copy()
        if not np.isfinite(pose).all() or pose[3, 3] != 1.0:
            pose = np.eye(4)
        name = operation.name if isinstance(operation, Operation) else ""
        verb = int(VERB[operation]) if name else 0
        fields = {"speed": 0.5, "timeout_s": 0.05 if verb in (Verb.SERVO, Verb.INTERPOLATE) else 0.0}
        if name.endswith("_JP"):
            fields |= {"n_axes": self.n, "vector": q + (1e-5)}
        elif name in ("MOVE_JR", "SERVO_JR", "INTERPOLATE_JR") or name.endswith(("_JV", "_JF")):
            fields |= {"n_axes": self.n, "vector": np.full(self.n, 1e-8)}
        elif name.endswith("_CP"):
            fields["pose"] = pose
        elif name.endswith(("_CV", "_CF")):
            fields |= {"n_axes": 6, "vector": np.full(6, 1e-4)}
        return self.make_message(operation, **fields)

    def run(self, messages, feedback, *, fresh=1, saved=None):
        """Run cycles, each from the same beginning where one is given; return what is left after each.

        Args:
            messages: Commands, MESSAGE, (n,); without an id there is none.
            feedback: FEEDBACK, (n,). `echo` is overwritten: the device has taken the newest command.
            fresh: Frames that have come, 0: none. Without any, n must be 1.
            saved: Of `save`.

        Returns:
            By name: core, motion, command, sample and guard, each (n,).
        """
        count = len(messages)
        assert fresh or count == 1, "the cycle counts what is missing from call to call"
        feedback = feedback.copy()
        feedback["echo"] = (self.core if saved is None else saved["core"][0])["sequence"]
        box = self.records["mailbox"]
        tails = np.zeros((count, 2), np.uint64)
        tails[:, 0] = messages["id"] != 0
        out = {name: np.zeros(count, self.records[name].dtype) for name in RESULTS}
        before, after = [], []
        for name, record in (saved or {}).items():
            before.append((self.records[name], 0, record, 0, record.nbytes))
        before.append((self.records["feedback"], 0, feedback, feedback.itemsize, feedback.itemsize))
        before.append((box, 0, tails, 16, 16))
        before.append((self.records["messages"], 0, messages, messages.itemsize, messages.itemsize))
        for name, record in out.items():
            after.append((record, record.itemsize, self.records[name], 0, record.itemsize))
        table = np.array(
            [(to.ctypes.data, a, source.ctypes.data, b, size) for to, a, source, b, size in before + after], np.int64
        )
        d = self.records["link"]["device_i8"][0]
        d[[COUNT, FRESH, INDEX, TABLE]] = count, fresh, -1, table.ctypes.data
        d[[BEFORE, AFTER]] = len(before), len(table)
        run(*self._arguments)
        return out

    def step(self, operation=None, *, message=None, fresh=1, **feedback):
        """Run one cycle; what is given of the feedback is as it is from then on. Returns the record that was sent."""
        for name, value in feedback.items():
            self.records["feedback"][name] = value
        if message is None:
            message = self.make_message(0) if operation is None else self.plausible_message(operation)
        self.run(message, self.records["feedback"], fresh=fresh)
        return self.sent
