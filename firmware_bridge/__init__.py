"""The link to our own joint-controller firmware, and that firmware."""
