"""The 1 kHz cycle, the guard, the operating states, motion, and the processes around them.

Programs begin with `controller.client.Arm`; `controller.daemon.Daemon` runs an arm.
"""
