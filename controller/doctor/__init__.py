"""`trocar doctor`: what a host can do in real time, measured, and how to mend what it cannot."""
