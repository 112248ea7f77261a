"""Reading and replacing what makes a model think, whatever way it is spelled."""

import copy
from typing import Any

import dspy
import pytest

from tale_dspy.backends.reasoning_control import VALUE
from tale_dspy.backends.reasoning_settings import (
    asks_to_think,
    caller_reasoning_param,
    filled,
    limit_path,
    nested,
    with_reasoning_params,
)


@pytest.mark.parametrize(
    ("settings", "asks"),
    [
        ({}, None),
        ({"temperature": 0.1, "extra_body": {"top_k": 3}}, None),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"think": False}, False),
        ({"extra_body": {"enable_thinking": False}}, False),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": True}}}, True),
        ({"extra_body": {"reasoning": {"enabled": False}}}, False),
        ({"extra_body": {"reasoning": {"max_tokens": 2000}}}, True),
        ({"extra_body": {"reasoning_budget_tokens": 0}}, False),
        ({"extra_body": {"thinking_token_budget": 9}}, True),
    ],
)
def test_settings_ask_for_thinking_or_against_it(settings: dict[str, Any], asks: bool | None) -> None:
    assert asks_to_think(settings) is asks


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"temperature": 1.0, "extra_body": {"top_k": 3, "custom_params": {"x": 1}}}, None),
        ({"reasoning_effort": None}, None),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"extra_body": {"thinking_token_budget": 9}}, "extra_body thinking_token_budget"),
        ({"extra_body": {"custom_params": {"thinking_budget": 9}}}, "extra_body custom_params"),
    ],
)
def test_a_control_of_the_callers_own_is_found(config: dict[str, Any], name: str | None) -> None:
    assert caller_reasoning_param(config) == name


def test_a_control_takes_the_place_of_every_other_one() -> None:
    settings = {"reasoning_effort": "high", "thinking": {"type": "enabled", "budget_tokens": 9000}, "temperature": 0.2}
    changed = with_reasoning_params(settings, {"thinking": {"type": "enabled", "budget_tokens": 1024}})
    assert changed == {"reasoning_effort": None, "thinking": {"type": "enabled", "budget_tokens": 1024}}


def test_the_rest_of_extra_body_is_kept() -> None:
    body = {
        "top_k": 3,
        "thinking_token_budget": 9,
        "custom_params": {"thinking_budget": 8, "x": 1},
        "chat_template_kwargs": {"enable_thinking": False},
    }
    changed = with_reasoning_params({"extra_body": body}, {"extra_body": {"custom_params": {"thinking_budget": 70}}})
    assert changed == {"extra_body": {"top_k": 3, "custom_params": {"thinking_budget": 70, "x": 1}}}


def test_extra_body_without_a_control_is_left_alone() -> None:
    assert with_reasoning_params({"extra_body": {"top_k": 3}}, {"reasoning_effort": "low"}) == {
        "reasoning_effort": "low"
    }


def test_nothing_of_the_callers_is_changed_or_shared() -> None:
    settings = {"extra_body": {"nested": {"list": [{"x": 1}]}, "thinking_budget": 9}, "thinking": {"type": "disabled"}}
    before = copy.deepcopy(settings)
    changed = with_reasoning_params(settings, {"extra_body": {"enable_thinking": True}})
    changed["extra_body"]["nested"]["list"][0]["x"] = 2
    assert settings == before


def test_a_template_is_filled_anew_each_time() -> None:
    template = {"thinking": {"budget_tokens": VALUE, "type": "enabled"}}
    first, second = filled(template, 5), filled(template, 6)
    assert first == {"thinking": {"budget_tokens": 5, "type": "enabled"}}
    assert second["thinking"]["budget_tokens"] == 6


@pytest.mark.parametrize(
    ("model", "name", "by_litellm", "by_dspy"),
    [
        ("openai/gpt-4o", "max_tokens", "max_tokens", "max_completion_tokens"),
        ("openai/gpt-5", "max_completion_tokens", "max_completion_tokens", "max_completion_tokens"),
        ("openrouter/openai/gpt-5", "max_completion_tokens", "max_completion_tokens", "max_tokens"),
        ("ollama_chat/qwen3", "max_tokens", "options.num_predict", "max_tokens"),
        ("anthropic/claude-sonnet-4-5", "max_tokens", "max_tokens", "max_tokens"),
    ],
)
def test_the_limit_stands_where_the_sender_puts_it(model: str, name: str, by_litellm: str, by_dspy: str) -> None:
    lm = dspy.LM(model, api_key="k")
    assert (limit_path(lm, name, litellm=True), limit_path(lm, name, litellm=False)) == (by_litellm, by_dspy)


def test_a_dotted_path_is_laid_out() -> None:
    assert nested("a.b.c", 5) == {"a": {"b": {"c": 5}}}
