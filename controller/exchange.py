"""The gateway's side of the memory that it shares with the core: commands into the mailbox, ticks for lock-step.

Everything that the core may read is written first; then one counter is stored with release order.
"""

import math
from typing import Any

import numpy as np
from numba.core import types

from controller.clock import GRANT, GRANT_DONE, LOCKSTEP, await_change, tell_change
from controller.commands import (
    Arguments,
    Client,
    JointEffort,
    JointGoal,
    JointVelocity,
    LawParameters,
    PoseGoal,
    RemoteCenter,
    SpeedRatio,
    Twist,
    Wrench,
)
from controller.inputs import InputLog
from controller.mailbox import CAPACITY, MAILBOX, MESSAGE, Frame, Group, Operation
from controller.outcomes import Outcomes
from controller.run_dir import GATEWAY_SLOT
from kinematics.compiled import array_of, kernel, prepare
from telemetry.ring import Ring, RingReader, load_acquire, store_release

__all__ = ["CoreLink", "await_grant", "grant", "post", "write_message"]


@kernel(types.void(array_of(MAILBOX)))
def _advance_head(mailbox: np.ndarray[Any, Any]) -> None:
    store_release(mailbox, "head", mailbox[0].head + np.uint64(1))


def post(mailbox: np.ndarray[Any, Any], message: np.ndarray[Any, Any]) -> int:
    """Put a message into the mailbox and return the command's id, or 0 if the mailbox is full.

    Args:
        mailbox: Shape (1,), dtype MAILBOX.
        message: Shape (1,), dtype MESSAGE; its `id` is set here.
    """
    head, tail = int(mailbox["head"][0]), int(mailbox["tail"][0])
    if head - tail >= CAPACITY:
        return 0
    message["id"] = head + 1
    mailbox["messages"][0, head % CAPACITY] = message[0]
    _advance_head(mailbox)
    return head + 1


@kernel(types.void(array_of(LOCKSTEP)))
def _advance_grant(lockstep: np.ndarray[Any, Any]) -> None:
    store_release(lockstep, "grant", lockstep[0].grant + 1)
    tell_change(lockstep.ctypes.data + GRANT)


def grant(lockstep: np.ndarray[Any, Any], ticks: int, stop_id: int = 0, stop_states: int = 0) -> None:
    """Let the core run some ticks; it stops earlier when the stop condition comes true."""
    lockstep["grant_ticks"] = ticks
    lockstep["stop_id"] = stop_id
    lockstep["stop_states"] = stop_states
    _advance_grant(lockstep)


@kernel(types.boolean(array_of(LOCKSTEP), types.int64[::1]))
def await_grant(lockstep: np.ndarray[Any, Any], timespec: np.ndarray[Any, Any]) -> bool:
    """Return whether the newest grant is used up; wait for that at most the timespec, seconds and nanoseconds."""
    done = load_acquire(lockstep, "grant_done")
    if done != lockstep[0].grant and timespec[0] + timespec[1] > 0:
        await_change(lockstep.ctypes.data + GRANT_DONE, done, timespec.ctypes.data)
    return bool(load_acquire(lockstep, "grant_done") == lockstep[0].grant)


def _write_arguments(message: np.ndarray[Any, Any], args: Arguments) -> None:
    """Put a command's arguments into its message."""
    vector: list[float] = []
    message["jaw"] = np.nan
    if isinstance(args, (JointGoal, PoseGoal)):
        message["speed"] = args.speed
    if isinstance(args, (JointGoal, JointVelocity, JointEffort)):
        message["group"] = Group.JAW if args.jaw else Group.ARM
    if isinstance(args, (PoseGoal, Twist, Wrench)):
        message["frame"] = Frame[args.frame.upper()]
    if isinstance(args, JointGoal):
        vector = args.position
    elif isinstance(args, JointVelocity):
        vector = args.velocity
    elif isinstance(args, JointEffort):
        vector = args.effort
    elif isinstance(args, Twist):
        vector = args.twist
    elif isinstance(args, Wrench):
        vector = args.wrench
    elif isinstance(args, RemoteCenter):
        vector = args.point or []
    elif isinstance(args, SpeedRatio):
        message["speed"] = args.ratio
    elif isinstance(args, PoseGoal):
        message["pose"][0] = args.pose
        message["path_speed"] = args.path_speed
        message["n_via"] = len(args.via)
        message["blend"] = args.blend
        if args.via:
            message["via"][0, : len(args.via)] = args.via
        if args.jaw is not None:
            message["jaw"] = args.jaw if np.isfinite(args.jaw) else np.inf  # nan means that there is none
    message["n_axes"] = len(vector)
    message["vector"][0, : len(vector)] = vector
    message["timeout_s"] = getattr(args, "timeout", 0.0)


def write_message(
    message: np.ndarray[Any, Any],
    operation: Operation,
    args: Arguments,
    *,
    sent_ns: int = 0,
    parameters: list[float] | None = None,
) -> None:
    """Make a message of a command.

    Args:
        message: Shape (1,), dtype MESSAGE; all of it is written.
        operation: What to do.
        args: With what.
        sent_ns: The client's stamp.
        parameters: Of LawParameters, the vector (`controller.laws.parameters.pack`).
    """
    message[:] = np.zeros(1, MESSAGE)
    message["operation"] = operation
    message["sent_ns"] = sent_ns
    _write_arguments(message, args)
    if isinstance(args, LawParameters):
        message["parameters"] = math.nan
        message["parameters"][0, : len(parameters or ())] = parameters or ()


AT_ONCE = np.zeros(2, np.int64)


class CoreLink:
    """All that the gateway shares with the core: samples in, commands and lock-step's ticks out.

    Making one reads the samples that are still in the ring, so that a gateway that was restarted knows what became of
    the commands of the one before it. Ids go on where they were, since the mailbox counts them.

    Args:
        ring: The samples.
        mailbox: Shape (1,), dtype MAILBOX.
        lockstep: Shape (1,), dtype LOCKSTEP; None in real time.
        inputs: Takes down every command; None: nobody does.

    Attributes:
        outcomes: What became of the commands.
        newest: The newest sample, shape (1,); None while there is none.
        states_seen: The operating states in the samples of the last `drain`, a set with bit 1 << state.
        refused: Commands that nobody waits for, refused in the samples of the last `drain`: (sender, code, id).
    """

    def __init__(
        self,
        ring: Ring,
        mailbox: np.ndarray[Any, Any],
        lockstep: np.ndarray[Any, Any] | None = None,
        inputs: InputLog | None = None,
    ) -> None:
        prepare(_advance_head, _advance_grant, await_grant)
        self.outcomes = Outcomes()
        self.newest: np.ndarray[Any, Any] | None = None
        self.states_seen = 0
        self.refused: list[tuple[bytes, int, int]] = []
        self.lockstep = lockstep
        self._mailbox = mailbox
        self._inputs = inputs
        self._message = np.zeros(1, MESSAGE)
        self._unattended: dict[int, bytes] = {}
        self._reader = RingReader(ring, GATEWAY_SLOT, oldest=True)
        while len(self.drain()):
            pass

    def close(self) -> None:
        """Let the core no longer wait for this reader."""
        self._reader.close()

    @property
    def sequence(self) -> int:
        """The newest sample's number; 0 while there is none."""
        return 0 if self.newest is None else int(self.newest["sequence"][0])

    @property
    def state(self) -> int:
        """The newest sample's operating state; DISABLED while there is none."""
        return 0 if self.newest is None else int(self.newest["state"][0])

    @property
    def acting_on(self) -> int:
        """The command that the busy arm carries out, or 0."""
        if self.newest is None or not self.newest["is_busy"][0]:
            return 0
        return int(self.newest["motion_id"][0]) or int(self.newest["jaw_motion_id"][0])

    @property
    def samples_lost(self) -> int:
        """Samples that were overwritten before they could be read here."""
        return self._reader.lost

    @property
    def last_id(self) -> int:
        """The id of the newest command."""
        return int(self._mailbox["head"][0])

    def drain(self) -> np.ndarray[Any, Any]:
        """Return the samples that are new, in order, shape (n,), and learn from them."""
        samples = self._reader.read()
        self.refused.clear()
        if not len(samples):
            self.states_seen = 0
            return samples
        self.newest = samples[-1:]
        self.states_seen = int(np.bitwise_or.reduce(np.left_shift(1, samples["state"].astype(np.int64))))
        self.outcomes.absorb(samples, self._unattended.keys())
        if self._unattended:
            taken = samples[samples["command_id"] != 0]
            for command, verdict in zip(taken["command_id"].tolist(), taken["verdict"].tolist(), strict=True):
                sender = self._unattended.pop(command, None)
                if sender is not None and verdict:
                    self.refused.append((sender, verdict, command))
        return samples

    def post(
        self,
        operation: Operation,
        args: Arguments,
        *,
        sent_ns: int = 0,
        sender: bytes | None = None,
        parameters: list[float] | None = None,
        client: Client | None = None,
    ) -> int:
        """Send a command to the core and return its id, or 0 when the mailbox is full.

        Args:
            operation: What to do.
            args: With what.
            sent_ns: The client's stamp.
            parameters: Of LawParameters, the vector (`controller.laws.parameters.pack`).
            sender: Given where nobody waits for the outcome: it is not remembered, and `refused` names the sender.
            client: Whose command it is, for the record.
        """
        message = self._message
        write_message(message, operation, args, sent_ns=sent_ns, parameters=parameters)
        command = post(self._mailbox, message)
        if command and self._inputs is not None:
            name, pid = (client.name, client.pid) if client else ("", 0)
            self._inputs.note(message, self.newest, name, pid)
        if command and sender is not None:
            self._unattended[command] = sender
        return command

    @property
    def granting(self) -> bool:
        """Whether the core has ticks left of the newest grant."""
        return self.lockstep is not None and not await_grant(self.lockstep, AT_ONCE)

    def grant(self, ticks: int, stop_id: int = 0, stop_states: int = 0) -> None:
        """Lock-step: let the core run some ticks, fewer if the stop condition comes true."""
        assert self.lockstep is not None, "time in the real clock's pace is not granted"
        grant(self.lockstep, ticks, stop_id, stop_states)
