"""The lease: one client at a time commands the arm."""

from dataclasses import dataclass

from controller.commands import Client

__all__ = ["LEASE_TIMEOUT", "Lease"]

LEASE_TIMEOUT = 2.0  # s without a sign of life; clients send one every half second


@dataclass
class Lease:
    """Who may command. Times are any monotonic clock's, in s, given by the caller.

    Attributes:
        holder: The client that holds it, or None.
        heard: When it was last heard of.
        ever_held: Whether anybody has had it: false in a gateway that was just started, or started again.
    """

    timeout: float = LEASE_TIMEOUT
    holder: Client | None = None
    heard: float = 0.0
    ever_held: bool = False

    def current(self, now: float, *, busy: bool = False) -> Client | None:
        """Return the holder, once its silence has been looked at.

        Args:
            now: The time.
            busy: The arm still carries out what the holder began: then even a silent one keeps the lease, since
                nobody else should find a moving arm.
        """
        if self.holder is not None and now - self.heard > self.timeout and not busy:
            self.holder = None
        return self.holder

    def acquire(self, client: Client, now: float, *, take: bool = False, busy: bool = False) -> bool:
        """Give the lease to a client if it is free, its own, or taken; return whether the client has it now."""
        current = self.current(now, busy=busy)
        if current is not None and current.id != client.id and not take:
            return False
        self.holder, self.heard, self.ever_held = client, now, True
        return True

    def touch(self, client: Client, now: float) -> bool:
        """Note a sign of life; return whether this client holds the lease."""
        if self.holder is None or self.holder.id != client.id:
            return False
        self.heard = now
        return True

    def release(self, client: Client) -> None:
        """Free the lease if this client holds it."""
        if self.holder is not None and self.holder.id == client.id:
            self.holder = None
