"""Enable, home, move the tip by a centimetre, read where it is. First, in another terminal: trocar up psm_emulated."""

from controller.client import Arm

with Arm("PSM1") as arm:
    arm.enable()
    arm.home().wait()
    T = arm.setpoint_cp().T  # T_base_tip, 4 x 4, m
    T[0, 3] += 0.010
    arm.move_cp(T, path_speed=0.02).wait()
    print("tip at", (arm.measured_cp().T[:3, 3] * 1e3).round(2), "mm")
    print("joints", arm.measured_js().position.round(4), "rad or m")
