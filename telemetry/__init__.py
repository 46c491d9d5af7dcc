"""One layout of a sample from the cycle to the plot: ring, bus, recorder, readers."""
