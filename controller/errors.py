"""The errors of this package, under one root. Nothing heavy is imported here: clients start with it."""

from controller.catalogue import CATALOGUE, Code

__all__ = [
    "ArmFault",
    "BlackBoxError",
    "CommandRefused",
    "CommandTimeout",
    "ConfigError",
    "ControllerError",
    "DaemonAbsent",
    "DaemonError",
    "DaemonLost",
    "LawError",
    "LeaseHeld",
    "NoJaw",
    "Preempted",
    "StaleData",
]


class ControllerError(Exception):
    """Something that this package cannot do; the message says what was given, why not and what to do."""


class ConfigError(ControllerError, ValueError):
    """A configuration that the daemon must not start with."""


class LawError(ControllerError, ValueError):
    """A control law, or a parameter of one, that cannot be used."""


class BlackBoxError(ControllerError):
    """A black box that cannot be saved or shown."""


class DaemonError(ControllerError):
    """A daemon that could not start, or that ended by itself."""


class DaemonAbsent(ControllerError, ConnectionError):  # noqa: N818 - the name says what happened, as for those below
    """No daemon serves this arm."""


class DaemonLost(ControllerError, ConnectionError):  # noqa: N818
    """The daemon was there and no longer answers; a command that was under way may have been carried out."""


class StaleData(ControllerError):  # noqa: N818
    """The newest sample is too old to be acted on."""


class NoJaw(ControllerError, AttributeError):  # noqa: N818
    """This arm has no jaw, so it has no commands for one either."""


class CommandTimeout(ControllerError, TimeoutError):  # noqa: N818
    """What was waited for did not happen in time; the motion, if any, goes on."""


class Preempted(ControllerError):  # noqa: N818
    """Another command took the place of this motion before it had ended."""


class _ExplainedError(ControllerError):
    """An error with an entry in the catalogue.

    Attributes:
        code: Its code; the integer itself when a newer daemon knows a code that this program does not.
        cause: Why it happened.
        remedy: What to do.
    """

    def __init__(self, code: int, detail: str = "") -> None:
        try:
            self.code: Code | int = Code(code)
            entry = CATALOGUE[Code(code)]
            name, self.cause, self.remedy = Code(code).name, entry.cause, entry.remedy
        except (ValueError, KeyError):
            self.code, name = code, f"code {code}"
            self.cause, self.remedy = "The daemon is newer than this program.", "Use the daemon's own version."
        self.detail = detail
        super().__init__(f"{name}: {self.cause}{' ' + detail if detail else ''} {self.remedy}")


class CommandRefused(_ExplainedError):  # noqa: N818
    """The daemon refused a command; nothing moved because of it."""


class LeaseHeld(CommandRefused):
    """Another client commands the arm."""


class ArmFault(_ExplainedError):  # noqa: N818
    """The arm has a fault, or one ended the motion."""
