"""What the package takes from inside DSPy."""

import dspy
import pytest

from tale_dspy import dspy_bridge


@pytest.mark.parametrize("name", dspy_bridge.__all__)
def test_a_name_in_the_bridge_is_one_that_dspy_does_not_export(name: str) -> None:
    taken = getattr(dspy_bridge, name)
    assert getattr(dspy, name, None) is not taken, f"`dspy.{name}` is exported: import it from there"
