"""What a row of the reasoning controls rests on: effort words in tokens, and models that think unless told not to."""

import pytest

from tale_dspy.backends.reasoning_control import LEVELS, THINKERS, VALUE, ReasoningControl
from tale_dspy.errors import UsageError


def test_efforts_stand_for_more_and_more_tokens() -> None:
    assert list(LEVELS) == ["minimal", "low", "medium", "high", "xhigh", "max"]
    assert list(LEVELS.values()) == sorted(set(LEVELS.values()))


@pytest.mark.parametrize(
    ("name", "thinks"),
    [
        ("qwen/qwen3-8b", True),
        ("qwen/qwq-32b", True),
        ("deepseek-ai/deepseek-r1-distill-qwen-7b", True),
        ("openai/gpt-oss-20b", True),
        ("qwen/qwen3-4b-thinking-2507", True),
        ("qwen/qwen3-4b-instruct-2507", False),
        ("qwen/qwen3-coder-30b", False),
        ("qwen/qwen2.5-7b-instruct", False),
        ("meta-llama/llama-3.1-8b-instruct", False),
    ],
)
def test_a_thinker_is_known_by_its_name(name: str, thinks: bool) -> None:
    assert bool(THINKERS.search(name)) is thinks


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"models": "("}, "models is no regular expression"),
        ({"kind": "tokens", "on": {}}, f"on must hold {VALUE}"),
        ({"kind": "none", "words": ("low",)}, "a control of kind word, and only one, has words"),
    ],
)
def test_a_row_that_could_not_be_sent_is_refused(fields: dict[str, object], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        ReasoningControl(**{"name": "X", "models": "x", "kind": "none", **fields})  # type: ignore[arg-type]
