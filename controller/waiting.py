"""Requests whose answer takes time: each knows when it is answered and, in lock-step, which ticks it needs until then.

In lock-step time moves only because somebody waits: a command for the cycle that takes it, a wait for what it waits
for, an advance for its end. So a script written for real time runs unchanged.
"""

from typing import Any, NamedTuple, Protocol

from controller.catalogue import Code
from controller.commands import Accepted, Client, Empty, Outcome, Refusal, explain
from controller.exchange import CoreLink
from controller.mailbox import Operation
from telemetry.sample import MotionStatus

__all__ = ["Advancing", "Commanding", "FirstSample", "Stopping", "Ticks", "Waiter", "Waiting", "refusal"]

SLICE = 250  # ticks in one grant at the most: then whoever else waits has a turn


class Ticks(NamedTuple):
    """A grant that a waiting request asks for."""

    number: int
    stop_id: int = 0
    stop_states: int = 0


class Waiter(Protocol):
    """A request that is not answered yet."""

    def answer(self, link: CoreLink, now: float, states: int) -> Any | Refusal | None:  # noqa: ANN401
        """Return the result or a refusal, or None: not yet.

        Args:
            link: What is known of the core.
            now: The gateway's clock, s.
            states: The operating states since the last look, a set with bit 1 << state.
        """

    def ticks(self, link: CoreLink) -> Ticks:
        """Return the ticks that lock-step needs next for this."""


def refusal(code: int, detail: str = "", command: int = 0) -> Refusal:
    """Return a refusal with its cause and remedy from the catalogue."""
    entry = explain(code)
    return Refusal(code=code, name=entry.name, cause=entry.cause, remedy=entry.remedy, detail=detail, id=command)


class Commanding:
    """A command on its way through the cycle: answered by the sample that took it."""

    def __init__(self, command: int) -> None:
        self.command = command

    def answer(self, link: CoreLink, now: float, states: int) -> Accepted | Refusal | None:
        """See `Waiter`."""
        verdict = link.outcomes.verdict(self.command)
        if verdict is None:
            return None
        if verdict.code:
            return refusal(verdict.code, command=self.command)
        return Accepted(id=self.command, sequence=verdict.sequence, t_ns=verdict.t_ns)

    def ticks(self, link: CoreLink) -> Ticks:
        """One: the cycle takes one message a tick."""
        return Ticks(1)


class Waiting:
    """For the end of an activity, a state, or the end of the time.

    Args:
        command: Whose end; 0: none.
        states: A set of states, bit 1 << state.
        until_time: The gateway's clock; None: for ever, or lock-step.
        until_sequence: Lock-step: the last cycle to wait for; None: for ever, or real time.
    """

    def __init__(
        self, command: int, states: int, *, until_time: float | None = None, until_sequence: int | None = None
    ) -> None:
        self.command = command
        self.states = states
        self._until_time = until_time
        self._until_sequence = until_sequence

    def answer(self, link: CoreLink, now: float, states: int) -> Outcome | Refusal | None:
        """See `Waiter`."""
        if self.command:
            finish = link.outcomes.finish(self.command)
            if finish is not None:
                return Outcome(
                    id=self.command,
                    status=finish.status,
                    code=finish.code,
                    sequence=finish.sequence,
                    state=finish.state,
                    axis=finish.axis,
                    value=finish.value,
                    bound=finish.bound,
                )
            verdict = link.outcomes.verdict(self.command)
            if verdict is not None and verdict.code:
                return refusal(verdict.code, command=self.command)
            if self.command > link.last_id:
                return refusal(Code.BAD_PARAMETER, f"No command has the id {self.command}.", self.command)
            if verdict is None and self.command <= link.outcomes.forgotten:
                return refusal(
                    Code.BAD_PARAMETER, f"Command {self.command} is too long ago: its end is forgotten.", self.command
                )
        if self.states & states:
            return self._nothing_ended(link, timed_out=False)
        late = self._until_time is not None and now >= self._until_time
        if late or (self._until_sequence is not None and link.sequence >= self._until_sequence):
            return self._nothing_ended(link, timed_out=True)
        return None

    def ticks(self, link: CoreLink) -> Ticks:
        """As many as the time allows; the core stops in the tick that is waited for."""
        left = SLICE if self._until_sequence is None else self._until_sequence - link.sequence
        return Ticks(min(SLICE, left), self.command, self.states)

    def _nothing_ended(self, link: CoreLink, *, timed_out: bool) -> Outcome:
        fault = 0 if link.newest is None else int(link.newest["fault"][0])
        return Outcome(
            id=self.command,
            status=MotionStatus.NONE,
            code=fault,
            sequence=link.sequence,
            state=link.state,
            timed_out=timed_out,
        )


class Advancing:
    """Lock-step: for a cycle to have run, whatever happens until then."""

    def __init__(self, until: int) -> None:
        self._until = until

    def answer(self, link: CoreLink, now: float, states: int) -> Outcome | None:
        """See `Waiter`."""
        if link.sequence < self._until:
            return None
        return Outcome(id=0, status=MotionStatus.NONE, code=0, sequence=link.sequence, state=link.state)

    def ticks(self, link: CoreLink) -> Ticks:
        """All that are left, in slices."""
        return Ticks(min(SLICE, self._until - link.sequence))


class FirstSample:
    """Lock-step: for there to be a sample at all, so that a client has something to read."""

    def answer(self, link: CoreLink, now: float, states: int) -> bool | None:
        """See `Waiter`."""
        return None if link.newest is None else True

    def ticks(self, link: CoreLink) -> Ticks:
        """The first."""
        return Ticks(1)


class Stopping:
    """A hold and, once the arm is at rest or if there was nothing to hold, a disable.

    It runs here and not in the client, so that a client that dies half-way has still stopped the arm.

    Args:
        hold: The id of the hold that has been sent.
        until_time: When the disable is sent at the latest; the gateway's clock.
        sent_ns: The client's stamp.
        client: Who asked for it.
    """

    def __init__(self, hold: int, *, until_time: float, sent_ns: int, client: Client | None = None) -> None:
        self._hold = hold
        self._until_time = until_time
        self._sent_ns = sent_ns
        self._client = client
        self._disable = 0

    def answer(self, link: CoreLink, now: float, states: int) -> Accepted | Refusal | None:
        """See `Waiter`."""
        if not self._disable:
            verdict = link.outcomes.verdict(self._hold)
            refused = verdict is not None and verdict.code != 0
            if not (refused or link.outcomes.finish(self._hold) is not None or now >= self._until_time):
                return None
            self._disable = link.post(  # 0: full, tried again
                Operation.DISABLE, Empty(), sent_ns=self._sent_ns, client=self._client
            )
            return None
        return Commanding(self._disable).answer(link, now, states)

    def ticks(self, link: CoreLink) -> Ticks:
        """One by one until the disable is taken."""
        return Ticks(SLICE, self._hold) if not self._disable else Ticks(1)
