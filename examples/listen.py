"""Print the joints ten times a second, from any process that may read the run directory; commands nothing."""

from controller.run_dir import find_daemon
from telemetry.subscriber import Subscriber

_, daemon = find_daemon()
names = [axis.name for axis in daemon.axes]
with Subscriber(daemon.telemetry, [f"{daemon.arm}/measured_js/decimated"]) as subscriber:
    for count, message in enumerate(subscriber):
        if count % 5 == 0:
            joints = zip(names, message.data["position"], strict=False)
            print("  ".join(f"{name} {value:+.4f}" for name, value in joints))
