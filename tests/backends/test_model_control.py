"""The control of an LM: its row, and whether the model thinks as it is set up."""

import dspy
import pytest

from tale_dspy import LM
from tale_dspy.backends.model_control import family_of, is_reasoning_model


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("hosted_vllm/Qwen/Qwen3-8B", True),
        ("hosted_vllm/Qwen/Qwen3-8B-Instruct-2507", False),
        ("hosted_vllm/meta-llama/Llama-3.1-8B-Instruct", False),
        ("ollama_chat/deepseek-r1:8b", True),
        ("openai/gpt-5.1", False),
        ("openai/gpt-5", True),
    ],
)
def test_who_thinks_unless_told_otherwise(model: str, thinks: bool) -> None:
    assert is_reasoning_model(LM(model, api_key="k")) is thinks


def test_who_thinks_because_it_was_told_to() -> None:
    lm = dspy.LM("openai/gpt-5.1", api_key="k")
    assert is_reasoning_model(lm, {"reasoning_effort": "low"})
    assert not is_reasoning_model(dspy.LM("hosted_vllm/Qwen/Qwen3-8B"), {"extra_body": {"enable_thinking": False}})
    assert is_reasoning_model(dspy.LM("openai/gpt-5", api_key="k"), {"reasoning_effort": "none"})  # it cannot be told


def test_an_lm_without_an_engine_of_a_known_kind_has_no_row() -> None:
    row = family_of(dspy.LM("openai/gpt-5", api_key="k"))
    assert row is not None and row.name == "GPT-5"
    assert family_of(object()) is None
