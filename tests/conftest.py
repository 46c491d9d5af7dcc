"""What holds for every test: hypothesis draws the same examples in every run, and no example has a deadline.

The first call of a kernel may compile it, and a busy machine is no fault of the code. No daemon leaves black boxes of
the faults that tests inject, but where a test asks for them.
"""

import os

from hypothesis import settings

os.environ["TROCAR_BLACK_BOX_DIR"] = "off"

settings.register_profile("trocar", deadline=None, derandomize=True)
settings.load_profile("trocar")
