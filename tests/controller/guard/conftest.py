"""Every claim holds for the compiled guard and for its plain Python."""

import pytest

from tests.controller.guard.cases import COMPILED, PLAIN


@pytest.fixture(params=["compiled", "plain"])
def checks(request):
    return COMPILED if request.param == "compiled" else PLAIN
