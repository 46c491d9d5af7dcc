"""This project beside its peers, in one run on the same tasks."""
