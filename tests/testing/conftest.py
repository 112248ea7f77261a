"""A server that repeats what it is told."""

from collections.abc import Iterator

import pytest

from tale_dspy.testing import ScriptedServer


@pytest.fixture
def echo() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda request: f"you said {request.prompt}") as running:
        yield running
