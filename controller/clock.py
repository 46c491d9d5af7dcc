"""The two kinds of time that the cycle runs in: the real clock, or lock-step with the emulated arm.

In lock-step nothing looks at a wall clock. One barrier a tick: the core has run tick k and sent its bytes
(`core_tick`, `core_bytes`); the rig reads exactly those, simulates one period and answers (`rig_tick`, `rig_bytes`).
A client grants the ticks, so it too takes part in the determinism: time stands still while it thinks.
"""

import numpy as np

__all__ = ["LOCKSTEP"]

LOCKSTEP = np.dtype(
    [
        # written by the core
        ("core_tick", "u8"),  # ticks whose command has been written to the port
        ("core_bytes", "u8"),  # bytes written to the port since it was opened
        ("grant_done", "u8"),  # the newest grant that has been used up, or ended by its stop condition
        ("active", "u8"),  # 1 from the first tick on; before it the rig answers, but its time stands still
        # written by the rig
        ("rig_tick", "u8"),
        ("rig_bytes", "u8"),
        # written by the gateway
        ("grant", "u8"),  # number of the newest grant
        ("grant_ticks", "u8"),  # how many ticks it allows
        ("stop_id", "u8"),  # it ends in the tick in which this command is refused or its activity ends; 0: none
        ("stop_states", "u8"),  # it ends in the tick in which the state is in this set, bit 1 << OperatingState
        # written by the supervisor
        ("shutdown", "u8"),
    ],
    align=True,
)
