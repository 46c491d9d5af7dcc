"""Stream a circle of 10 mm radius, 500 set-points a second, as a teleoperation master would; then hold.

First, in another terminal: trocar up psm_emulated; then trocar enable and trocar home. With `--lockstep` the same
script runs in virtual time, and every run gives the same joints to the last bit.
"""

import math

from controller.client import Arm

PERIOD = 0.002  # s
RADIUS = 0.010  # m
SECONDS_PER_TURN = 4.0

with Arm("PSM1") as arm:
    centre = arm.setpoint_cp().T
    centre[0, 3] -= RADIUS  # so that the circle begins where the tip is
    for i in range(round(SECONDS_PER_TURN / PERIOD)):
        part = i * PERIOD / SECONDS_PER_TURN
        angle = 2.0 * math.pi * (part - math.sin(2.0 * math.pi * part) / (2.0 * math.pi))  # begins and ends at rest
        T = centre.copy()
        T[0, 3] += RADIUS * math.cos(angle)
        T[1, 3] += RADIUS * math.sin(angle)
        arm.servo_cp(T)
        arm.sleep(PERIOD)
    arm.hold().wait()
    print("joints", arm.measured_js().position)
