"""An adapter's name in a file builds the same adapter again."""

import dspy
import pytest

from tale_dspy.adapter import TaleAdapter
from tale_dspy.adapter_names import adapter_named, describe_adapter
from tale_dspy.errors import StateError


@pytest.mark.parametrize(
    ("adapter", "name"),
    [
        (None, None),
        (dspy.ChatAdapter(), "ChatAdapter"),
        (dspy.JSONAdapter(), "JSONAdapter"),
        (TaleAdapter(), "TaleAdapter"),
        (TaleAdapter("paper"), "TaleAdapter:paper"),
        (TaleAdapter("paper", task="gpqa"), "TaleAdapter:paper:gpqa"),
        (TaleAdapter(task="gpqa"), "TaleAdapter::gpqa"),
    ],
)
def test_a_name_builds_the_same_adapter(adapter: object, name: str | None) -> None:
    assert describe_adapter(adapter) == name
    built = adapter_named(name)
    assert type(built) is type(adapter) and describe_adapter(built) == name


def test_an_adapter_of_somebody_elses_is_named_but_not_built() -> None:
    class TheirAdapter(dspy.ChatAdapter):
        pass

    name = describe_adapter(TheirAdapter())
    assert name == "TheirAdapter"
    with pytest.raises(StateError, match="adapter 'TheirAdapter' cannot be built from a file"):
        adapter_named(name)
