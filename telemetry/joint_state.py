"""ROS 2's sensor_msgs/msg/JointState, as bytes: for the tools that read recordings and know nothing of Trocar.

The names and their number never change within a recording, so every message has the same layout. It is computed once;
a whole batch of samples is then a handful of array assignments.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["SCHEMA", "SCHEMA_NAME", "JointStateLayout"]

SCHEMA_NAME = "sensor_msgs/msg/JointState"
SCHEMA = ("\n" + "=" * 80 + "\n").join(
    [
        "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort",
        "MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id",
        "MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec",
    ]
)
"""The definition in the `ros2msg` encoding: the message, then what it is made of."""

SECOND_NS = 1_000_000_000


class JointStateLayout:
    """The bytes of JointState messages for given joint names.

    Encapsulation is plain CDR, little-endian: a header of four bytes, then each value aligned to its own size counted
    from the end of that header; a string is its length with the final zero, then its bytes; a sequence is its length,
    then its elements (OMG DDS-RTPS 2.5, section 10.2; OMG CORBA 3.3 part 2, section 9.3).

    Args:
        names: The joints.
        frame: The `frame_id` of every message.
    """

    def __init__(self, names: Sequence[str], frame: str = "") -> None:
        body = bytearray(8)  # the stamp
        body += _string(frame)
        _align(body, 4)
        body += struct.pack("<I", len(names))
        for name in names:
            _align(body, 4)
            body += _string(name)
        offsets = {"sec": 4, "nanosec": 8}
        for field in ("position", "velocity", "effort"):
            _align(body, 4)
            body += struct.pack("<I", len(names))
            _align(body, 8)
            offsets[field] = 4 + len(body)
            body += bytes(8 * len(names))
        template = b"\x00\x01\x00\x00" + bytes(body)
        vector = ("<f8", (len(names),))
        layout: Any = {
            "names": list(offsets),
            "formats": ["<i4", "<u4", vector, vector, vector],
            "offsets": list(offsets.values()),
            "itemsize": len(template),
        }
        self._dtype = np.dtype(layout)
        self._template = np.frombuffer(template, "u1")

    def encode(
        self,
        stamp_ns: np.ndarray[Any, Any],
        position: np.ndarray[Any, Any],
        velocity: np.ndarray[Any, Any],
        effort: np.ndarray[Any, Any],
    ) -> list[bytes]:
        """Return n messages.

        Args:
            stamp_ns: ns since the epoch of the clock that the reader is to see, (n,).
            position: rad or m, (n, joints).
            velocity: rad/s or m/s, (n, joints).
            effort: N·m or N, (n, joints).
        """
        rows = np.tile(self._template, (len(stamp_ns), 1))
        messages = rows.reshape(-1).view(self._dtype)
        messages["sec"] = stamp_ns // SECOND_NS
        messages["nanosec"] = stamp_ns % SECOND_NS
        messages["position"] = position
        messages["velocity"] = velocity
        messages["effort"] = effort
        return [row.tobytes() for row in rows]


def _align(body: bytearray, size: int) -> None:
    body += bytes(-len(body) % size)


def _string(text: str) -> bytes:
    encoded = text.encode() + b"\x00"
    return struct.pack("<I", len(encoded)) + encoded
