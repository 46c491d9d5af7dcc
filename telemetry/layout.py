"""A record's layout as plain data, and back: how a file or another process learns a dtype without importing it."""

from typing import Any

import numpy as np

__all__ = ["build_dtype", "describe_dtype"]


def describe_dtype(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return a record's layout as JSON-able data.

    `{"itemsize": bytes, "aligned": bool, "fields": [{"name", "offset", "shape", "type"}, ...]}`, where `type` is a
    NumPy type string such as "<f8", or such a description again for a record within the record.
    """
    fields: Any = dtype.fields or {}
    described = []
    for name in dtype.names or ():
        field, offset = fields[name][0], fields[name][1]
        base = field.base
        described.append(
            {
                "name": name,
                "offset": offset,
                "shape": list(field.shape),
                "type": describe_dtype(base) if base.fields else base.str,
            }
        )
    return {"itemsize": dtype.itemsize, "aligned": dtype.isalignedstruct, "fields": described}


def build_dtype(description: dict[str, Any]) -> np.dtype[Any]:
    """Return the dtype that `describe_dtype` described.

    Raises:
        KeyError: A key of the description is missing.
        ValueError: The offsets or sizes contradict one another.
    """
    fields = description["fields"]
    formats = []
    for field in fields:
        base = build_dtype(field["type"]) if isinstance(field["type"], dict) else np.dtype(field["type"])
        formats.append((base, tuple(field["shape"])) if field["shape"] else base)
    layout = {
        "names": [field["name"] for field in fields],
        "formats": formats,
        "offsets": [field["offset"] for field in fields],
        "itemsize": description["itemsize"],
        "aligned": description["aligned"],
    }
    return np.dtype(layout)  # type: ignore[call-overload, no-any-return]
