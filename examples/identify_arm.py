"""Move the arm so that a recording of it tells its masses and its friction; see docs/dynamics.md.

In another terminal, `trocar up psm_emulated --record motion.mcap`; then this script, `trocar down` and
`trocar identify motion.mcap`. Keep the space around the arm clear: it moves through the middle 70 % of every joint's
range. A good motion turns every link in gravity, moves every axis both ways, and does so at several speeds, so that
Coulomb and viscous friction can be told apart.
"""

from collections.abc import Iterator

from controller.client import Arm

PART_OF_RANGE = 0.7
SPEEDS = (1.0, 0.4, 0.7, 0.25)  # parts of the joints' limits, in turn
POSES = 16


def poses(low: list[float], high: list[float], count: int) -> Iterator[list[float]]:
    """Yield joint positions, one per axis, that fill the middle of the ranges evenly: a Kronecker sequence."""
    n = len(low)
    ratio = 2.0
    for _ in range(50):  # the root above 1 of x^(n + 1) = x + 1: M. Roberts' generalised golden ratio
        ratio = (1.0 + ratio) ** (1.0 / (n + 1))
    for k in range(1, count + 1):
        parts = [PART_OF_RANGE * ((0.5 + k * ratio ** -(i + 1)) % 1.0 - 0.5) + 0.5 for i in range(n)]
        yield [a + part * (b - a) for a, b, part in zip(low, high, parts, strict=True)]


def excite(arm: Arm, count: int = POSES) -> None:
    """Move an arm that is homed through poses, and back to where it was."""
    start = arm.setpoint_js().position
    axes = arm.configuration_js()
    low, high = [axis.position_min for axis in axes], [axis.position_max for axis in axes]
    for k, q in enumerate(poses(low, high, count)):
        arm.move_jp(q, SPEEDS[k % len(SPEEDS)]).wait(60.0)
    arm.move_jp(start).wait(60.0)


if __name__ == "__main__":
    with Arm("PSM1") as arm:
        arm.enable()
        arm.home().wait()
        excite(arm)
        arm.disable()
