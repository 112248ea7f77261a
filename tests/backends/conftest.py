"""The two ways to call an LM."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(params=["thread", "loop"])
def call(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Call an LM from a thread, then from an event loop."""
    if request.param == "thread":
        return lambda lm: lm("2+2?")
    return lambda lm: asyncio.run(lm.acall("2+2?"))
