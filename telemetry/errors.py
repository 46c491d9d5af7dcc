"""The errors of this package, under one root."""

__all__ = ["MissingExtraError", "RecordingError", "RingError", "TelemetryError"]


class TelemetryError(Exception):
    """A ring, a stream or a recording that cannot be used; the message says which, why and what to do."""


class RingError(TelemetryError):
    """A ring that is absent, of another layout or of another version."""


class RecordingError(TelemetryError):
    """A file that is absent, empty or no recording of Trocar's."""


class MissingExtraError(TelemetryError, ImportError):
    """An optional library that this function needs is not installed."""
