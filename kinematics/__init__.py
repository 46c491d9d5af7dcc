"""Pure maths of serial arms, compiled. Knows no I/O, no time, no processes."""
