"""How a budget is sent to each kind of model, in each format."""

from typing import Any

import pytest

from tale_dspy.budget import BudgetValue
from tale_dspy.errors import UsageError
from tale_dspy.integrations.proxy_control import control_settings, effort_sent
from tale_dspy.integrations.proxy_requests import ApiFormat

SMALL, LARGE, WORD = BudgetValue(50), BudgetValue(3000), BudgetValue(effort="low")
VLLM = {"extra_body": {"thinking_token_budget": 50}}


@pytest.mark.parametrize(
    ("model", "budget", "chat", "messages", "responses"),
    [
        ("openai/gpt-4o-mini", SMALL, {}, {}, {}),
        ("acme/unknown", WORD, {}, {}, {}),
        (
            "openai/gpt-5-mini",
            SMALL,
            {"reasoning_effort": "minimal"},
            {"output_config": {"effort": "minimal"}},
            {"reasoning": {"effort": "minimal"}},
        ),
        (
            "openai/gpt-5-mini",
            WORD,
            {"reasoning_effort": "low"},
            {"output_config": {"effort": "low"}},
            {"reasoning": {"effort": "low"}},
        ),
        (
            "anthropic/claude-opus-5",
            LARGE,
            {"reasoning_effort": "low"},
            {"output_config": {"effort": "low"}},
            {"reasoning": {"effort": "low"}},
        ),
        (
            "deepseek/deepseek-v4-flash",
            SMALL,
            {"reasoning_effort": "none"},
            {"thinking": {"type": "disabled"}},
            {"reasoning": {"effort": "none"}},
        ),
        ("hosted_vllm/qwen3-8b", SMALL, VLLM, {}, {}),
        (
            "openai/gpt-5-mini",  # which has no `max`
            BudgetValue(effort="max"),
            {"reasoning_effort": "high"},
            {"output_config": {"effort": "high"}},
            {"reasoning": {"effort": "high"}},
        ),
    ],
)
def test_the_control_of_the_model_in_the_words_of_the_format(
    model: str, budget: BudgetValue, chat: dict[str, Any], messages: dict[str, Any], responses: dict[str, Any]
) -> None:
    wanted: dict[ApiFormat, dict[str, Any]] = {"chat": chat, "messages": messages, "responses": responses}
    assert {api: control_settings(api, model, budget, "auto", {}) for api in wanted} == wanted


def test_mode_prompt_sets_nothing() -> None:
    for budget in (SMALL, WORD):
        assert control_settings("chat", "openai/gpt-5-mini", budget, "prompt", {}) == {}


def test_mode_cap_limits_the_output_under_the_name_of_the_format() -> None:
    settings = {
        api: {k: v for k, v in control_settings(api, "openai/gpt-5-mini", SMALL, "cap", {}).items() if v is not None}
        for api in ("chat", "messages", "responses")
    }
    assert settings == {
        "chat": {"max_completion_tokens": 50},
        "messages": {"max_tokens": 50},
        "responses": {"max_output_tokens": 50},
    }


def test_a_limit_of_the_caller_is_kept_where_it_is_less() -> None:
    settings = control_settings("responses", "openai/gpt-4o-mini", SMALL, "cap", {"max_output_tokens": 30})
    assert settings == {"max_output_tokens": 30}


def test_what_a_thinking_model_refuses_is_taken_away() -> None:
    settings = control_settings("chat", "openai/gpt-5-mini", SMALL, "auto", {"temperature": 0.2})
    assert settings == {"reasoning_effort": "minimal", "temperature": None}


def test_mode_native_needs_a_control() -> None:
    with pytest.raises(UsageError, match=r"no dial|no reasoning control"):
        control_settings("chat", "openai/gpt-4o-mini", SMALL, "native", {})


def test_the_word_for_the_header() -> None:
    assert effort_sent({"reasoning_effort": "low"}) == "low"
    assert effort_sent({"output_config": {"effort": "max"}}) == "max"
    assert effort_sent({"reasoning": {"effort": "none"}}) == "none"
    assert effort_sent({"extra_body": {"reasoning_effort": "high"}}) == "high"
    assert effort_sent({"max_tokens": 5}) is None
