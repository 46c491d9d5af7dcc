"""The emulated arm: physics, real firmware, a paced wire and injected faults."""
