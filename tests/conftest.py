"""What holds for every test: hypothesis draws the same examples in every run, and no example has a deadline.

The first call of a kernel may compile it, and a busy machine is no fault of the code.
"""

from hypothesis import settings

settings.register_profile("trocar", deadline=None, derandomize=True)
settings.load_profile("trocar")
