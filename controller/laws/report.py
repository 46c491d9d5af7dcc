"""What the core says of its law, read by the other processes; needs no compiler."""

import msgspec

from controller.commands import LawStatus
from controller.laws.parameters import SHARED, LawInfo, Parameter, unpack
from controller.run_dir import RunDir
from telemetry.shared import map_records

__all__ = ["law_parameters", "read_law"]


def _read(run_dir: RunDir) -> LawInfo | None:
    try:
        return msgspec.json.decode(run_dir.law.read_bytes(), type=LawInfo)
    except (OSError, msgspec.DecodeError):
        return None


def law_parameters(run_dir: RunDir) -> list[Parameter]:
    """Return the parameters that the running law has; none while there is no core."""
    info = _read(run_dir)
    return [] if info is None else info.parameters


def read_law(run_dir: RunDir) -> LawStatus | None:
    """Return what the core says of its law; None while there is no core."""
    info = _read(run_dir)
    if info is None or not run_dir.law_state.exists():
        return None
    shared = map_records(run_dir.law_state, SHARED)[0]
    return LawStatus(
        name=info.name,
        file=info.file,
        parameters=unpack(info.parameters, shared["parameters"].tolist()),
        changes=int(shared["changes"]),
        inside=bool(shared["inside"]),
        budget_us=info.budget_us,
        last_us=int(shared["last_ns"]) * 1e-3,
        longest_us=int(shared["longest_ns"]) * 1e-3,
        from_cache=info.from_cache,
        compiled_s=info.compiled_s,
    )
