"""The scale of effort words, and the names of models that think unless told otherwise."""

import pytest

from tale_dspy.backends.reasoning_control import LEVELS, THINKERS


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
