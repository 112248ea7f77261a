"""What a budget becomes, model by model, before anything is sent. What goes out is in test_dials_wire.py."""

import copy
from typing import Any

import pytest

from tale_dspy import LM, UsageError
from tale_dspy.backends.budget_planner import BudgetRequest, Mode
from tale_dspy.backends.reasoning_params import (
    budget_request,
    check_mode,
    distinct_settings,
    effort_words,
    minimal_thinking,
)
from tests.fake_lm import fake_lm

CLAUDE = "anthropic/claude-sonnet-4-5"
THINKING = {"type": "enabled", "budget_tokens": 8000}


def reasoning_params(model: str, budget: int, mode: Mode = "native", **settings: Any) -> BudgetRequest:
    return budget_request(LM(model, api_key="k", **settings), budget, mode)


# ---- modes


def test_prompt_sends_nothing_but_the_phrase() -> None:
    assert reasoning_params("openai/gpt-5", 50, "prompt") == BudgetRequest()


def test_the_error_of_an_unknown_mode_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="auto, prompt, native, cap, got 'fast'"):
        check_mode("fast")


def test_auto_leaves_a_model_that_does_not_think_to_the_prompt() -> None:
    assert reasoning_params("openai/gpt-4o-mini", 50, "auto") == BudgetRequest()
    assert reasoning_params(CLAUDE, 5000, "auto") == BudgetRequest()


def test_auto_sends_the_control_of_a_model_that_thinks() -> None:
    params = reasoning_params(CLAUDE, 5000, "auto", thinking=THINKING)
    assert params.mode == "native"
    assert params.settings["thinking"] == {"type": "enabled", "budget_tokens": 5000}
    assert params.thinks


def test_auto_switches_thinking_off_for_a_budget_below_the_least() -> None:
    params = reasoning_params(CLAUDE, 500, "auto", thinking=THINKING)
    assert (params.mode, params.thinks) == ("prompt", False)
    assert params.settings == {"thinking": {"type": "disabled"}}
    assert "500 tokens are less than the 1024" in params.notes[0]


def test_auto_takes_the_least_effort_where_thinking_cannot_be_switched_off() -> None:
    params = reasoning_params("openai/o3-mini", 20, "auto")
    assert (params.mode, params.settings) == ("native", {"reasoning_effort": "low"})
    assert "not 20" in params.notes[0]


def test_auto_says_that_a_thinking_model_has_no_control() -> None:
    params = reasoning_params("xai/grok-4", 500, "auto")
    assert (params.mode, params.settings, params.thinks) == ("prompt", {}, True)
    assert "in the prompt alone" in params.notes[0]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("openai/gpt-4o-mini", "no reasoning control of openai/gpt-4o-mini is known"),
        ("ollama_chat/qwen3", "takes no number"),
        ("dashscope/qwq-plus", "streamed calls only"),
        ("mistral/magistral-medium-latest", "turns any word into a prompt"),
    ],
)
def test_native_without_a_control_is_refused_with_the_reason(model: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        reasoning_params(model, 500)


def test_an_engine_that_cannot_send_the_control_is_refused() -> None:
    with pytest.raises(UsageError, match="litellm and auto can"):
        reasoning_params(CLAUDE, 2000, engine="lm15")


def test_an_engine_object_has_no_control() -> None:
    with pytest.raises(UsageError, match="no reasoning control of fake/model is known"):
        budget_request(fake_lm("4"), 500, "native")


# ---- numbers


@pytest.mark.parametrize(
    ("budget", "limit", "number"),
    [
        (20, None, 1024),
        (2000, None, 2000),
        (50_000, None, 50_000),
        (70_000, None, 64_000 - 4096),
        (2000, 9000, 2000),
        (50_000, 9000, 9000 - 1024),
        (50_000, 2000, 1500),
    ],
)
def test_a_number_is_kept_within_what_the_model_takes(budget: int, limit: int | None, number: int) -> None:
    params = reasoning_params(CLAUDE, budget, max_tokens=limit)
    assert params.settings["thinking"]["budget_tokens"] == number
    assert bool(params.notes) == (number != budget)


def test_max_tokens_is_set_beside_a_number_only_where_the_caller_set_none() -> None:
    assert reasoning_params(CLAUDE, 2000).settings["max_tokens"] == 2000 + 4096
    assert reasoning_params("anthropic/claude-opus-4-1", 50_000).settings["max_tokens"] == 32_000
    assert "max_tokens" not in reasoning_params(CLAUDE, 2000, max_tokens=9000).settings
    assert "max_tokens" not in reasoning_params("gemini/gemini-2.5-flash", 2000).settings


def test_without_room_for_the_least_thinking_the_prompt_tells_the_budget() -> None:
    params = reasoning_params(CLAUDE, 2000, max_tokens=1200)
    assert (params.mode, params.settings, params.thinks) == ("prompt", {}, False)
    assert "max_tokens 1200 leaves no room" in params.notes[0]


def test_sampling_that_the_provider_refuses_while_thinking_is_left_out_and_reported() -> None:
    params = reasoning_params(CLAUDE, 2000, temperature=0.3)
    assert params.settings["temperature"] is None
    assert params.notes == ("temperature 0.3 was left out: Claude up to 4.6 refuses it while thinking",)
    assert "temperature" not in reasoning_params(CLAUDE, 2000, temperature=1.0).settings


def test_the_settings_of_the_lm_are_never_changed_or_handed_out() -> None:
    lm = LM(CLAUDE, api_key="k", thinking=dict(THINKING), reasoning_effort="high")
    before = copy.deepcopy(lm.kwargs)
    request = budget_request(lm, 2000, "native")
    request.settings["thinking"]["budget_tokens"] = 7
    assert lm.kwargs == before
    assert budget_request(lm, 2000, "native").settings["thinking"]["budget_tokens"] == 2000
    assert request.settings["reasoning_effort"] is None


# ---- words


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("openai/gpt-5", ["minimal", "minimal", "minimal", "high"]),
        ("openai/o3", ["low", "low", "low", "high"]),
        ("openai/gpt-5.2", ["low", "low", "low", "xhigh"]),
        ("anthropic/claude-opus-4-7", ["low", "low", "low", "max"]),
        ("gemini/gemini-3-flash-preview", ["minimal", "minimal", "minimal", "high"]),
        ("gemini/gemini-3-pro-preview", ["low", "low", "low", "high"]),
    ],
)
def test_a_budget_becomes_the_highest_effort_that_fits_in_it(model: str, words: list[str]) -> None:
    assert [reasoning_params(model, n).settings["reasoning_effort"] for n in (20, 500, 2000, 50_000)] == words


def test_deepseek_gets_the_word_past_litellm() -> None:
    body = {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}
    assert reasoning_params("deepseek/deepseek-reasoner", 2048).settings == {"extra_body": body}
    assert reasoning_params("deepseek/deepseek-reasoner", 2048, engine="auto").settings == {"reasoning_effort": "low"}


# ---- caps


def test_a_cap_never_enlarges_the_callers_limit() -> None:
    assert reasoning_params("openai/gpt-4o", 500, "cap").settings == {"max_tokens": 500}
    assert reasoning_params("openai/gpt-4o", 500, "cap", max_tokens=100).settings == {"max_tokens": 100}
    assert reasoning_params("openai/gpt-4o", 500, "cap", max_tokens=9000).settings == {"max_tokens": 500}


def test_a_cap_goes_where_dspy_keeps_the_limit_of_a_reasoning_model() -> None:
    assert reasoning_params("openai/gpt-5", 500, "cap", max_tokens=16_000).settings == {"max_completion_tokens": 500}


def test_the_responses_api_takes_no_cap_below_sixteen() -> None:
    params = reasoning_params("openai/gpt-4o", 5, "cap", model_type="responses", engine="auto")
    assert params.wire == {"max_output_tokens": 16}
    assert "raised from 5" in params.notes[0]


def test_a_cap_below_the_thinking_of_the_lm_switches_it_off() -> None:
    params = reasoning_params(CLAUDE, 500, "cap", thinking=THINKING)
    assert params.settings == {"max_tokens": 500, "thinking": {"type": "disabled"}}
    assert reasoning_params(CLAUDE, 9000, "cap", thinking=THINKING).settings == {"max_tokens": 9000}


# ---- the least thinking


@pytest.mark.parametrize(
    ("model", "settings", "quiet"),
    [
        ("openai/gpt-4o", {}, {}),
        (CLAUDE, {}, {}),
        (CLAUDE, {"thinking": THINKING}, {"thinking": {"type": "disabled"}}),
        ("openai/gpt-5", {}, {"reasoning_effort": "minimal"}),
        ("openai/o3-mini", {}, {"reasoning_effort": "low"}),
        ("openai/gpt-5.1", {"reasoning_effort": "high"}, {"reasoning_effort": "none"}),
        ("gemini/gemini-2.5-flash", {}, {"reasoning_effort": "none"}),
        (
            "gemini/gemini-2.5-pro",
            {},
            {"thinking": {"type": "enabled", "budget_tokens": 128}, "allowed_openai_params": ["thinking"]},
        ),
        ("ollama_chat/qwen3", {}, {"reasoning_effort": "none"}),
        ("xai/grok-4", {}, {}),
    ],
)
def test_the_least_thinking_is_the_switch_or_the_lowest_word(
    model: str, settings: dict[str, Any], quiet: dict[str, Any]
) -> None:
    assert minimal_thinking(LM(model, api_key="k", **settings)).settings == quiet


def test_a_control_of_the_call_itself_is_left_to_the_caller() -> None:
    lm = LM("openai/gpt-5", api_key="k")
    assert minimal_thinking(lm, {"reasoning_effort": "high"}) == BudgetRequest()
    request = budget_request(lm, 20, "native", {"reasoning_effort": "high"})
    assert (request.settings, request.notes) == ({}, ("the call's own reasoning_effort was kept",))


# ---- who thinks


def test_a_cap_is_no_more_than_the_model_writes() -> None:
    for model, most in (("anthropic/claude-sonnet-4-5", 64_000), ("openai/gpt-4o-mini", 16_384)):
        reasoning_params = budget_request(LM(model, api_key="k"), 10**9, "cap")
        assert most in reasoning_params.settings.values()
        assert reasoning_params.notes == (f"lowered from {10**9} to {most}, the most the model writes",)
    assert budget_request(LM("openai/unheard-of", api_key="k"), 10**6, "cap").settings["max_tokens"] == 10**6


def test_a_number_beyond_every_control_is_lowered() -> None:
    reasoning_params = budget_request(LM("hosted_vllm/Qwen/Qwen3-8B", api_key="k"), 10**30, "native")
    assert reasoning_params.wire == {"thinking_token_budget": 10**9} and "lowered from" in reasoning_params.notes[0]


@pytest.mark.parametrize("engine", ["litellm", "auto"])
def test_a_model_of_openais_that_nobody_knows_yet_is_capped_under_the_name_it_takes(engine: str) -> None:
    assert budget_request(LM("openai/o9-mega", api_key="k", engine=engine), 500, "cap").wire == {
        "max_completion_tokens": 500
    }


@pytest.mark.parametrize(("own", "mode"), [({"type": "disabled"}, "prompt"), ({"type": "enabled"}, "native")])
def test_a_control_that_the_call_has_turned_off_is_no_native_mode(own: dict[str, str], mode: str) -> None:
    reasoning_params = budget_request(LM("anthropic/claude-sonnet-4-5", api_key="k"), 500, "auto", {"thinking": own})
    assert (reasoning_params.mode, reasoning_params.notes) == (mode, ("the call's own thinking was kept",))


def test_what_only_litellm_sends_has_a_control_sent_as_litellm_does() -> None:
    lm = LM("deepseek/deepseek-v4-pro", api_key="k", engine="auto", extra_body={"mine": 1})
    body = budget_request(lm, 20_000, "native").settings["extra_body"]
    assert body == {"mine": 1, "thinking": {"type": "enabled"}, "reasoning_effort": "high"}
    caller_settings = {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}
    settings = budget_request(
        LM("deepseek/deepseek-v4-pro", engine="auto", extra_body=caller_settings), 20_000, "native"
    ).settings
    assert settings == {"extra_body": None, "reasoning_effort": "high"}


# ---- effort words


def test_the_word_set_on_the_lm_is_kept_for_a_number_and_that_is_said() -> None:
    params = reasoning_params("openai/gpt-5", 400, "auto", reasoning_effort="high")
    assert (params.settings, params.thinks) == ({}, True)
    assert "the LM's own reasoning_effort high was kept" in params.notes[0]


@pytest.mark.parametrize(("budget", "mode"), [(400, "native"), ("minimal", "auto"), ("minimal", "native")])
def test_a_word_set_on_the_lm_is_replaced_where_the_module_says_so_and_that_is_said(budget: Any, mode: Mode) -> None:
    params = reasoning_params("openai/gpt-5", budget, mode, reasoning_effort="high")
    assert params.settings["reasoning_effort"] == "minimal"
    assert "the LM's own reasoning_effort high was replaced by minimal" in params.notes


def test_the_word_of_a_call_is_kept_whatever_the_budget() -> None:
    request = budget_request(LM("openai/gpt-5", api_key="k"), "low", "auto", {"reasoning_effort": "high"})
    assert (request.settings, request.notes) == ({}, ("the call's own reasoning_effort was kept",))


@pytest.mark.parametrize(
    ("model", "word", "sent", "note"),
    [
        ("openai/gpt-5", "xhigh", "high", "GPT-5 has no effort xhigh: high was sent"),
        ("openai/o3", "minimal", "low", "OpenAI o has no effort minimal: low was sent"),
        ("deepseek/deepseek-v4-pro", "medium", "low", "DeepSeek V4 has no effort medium: low was sent"),
    ],
)
def test_a_word_the_model_lacks_becomes_the_next_lower_one(model: str, word: str, sent: str, note: str) -> None:
    request = budget_request(LM(model, api_key="k", engine="auto"), word)
    assert (request.settings, request.notes) == ({"reasoning_effort": sent}, (note,))


def test_a_model_of_numbers_gets_the_number_a_word_stands_for() -> None:
    params = reasoning_params(CLAUDE, "low", "auto")  # type: ignore[arg-type]
    assert params.settings["thinking"]["budget_tokens"] == 2048
    assert "effort low stands for 2048 tokens" in params.notes[0]


def test_a_word_has_no_cap() -> None:
    with pytest.raises(UsageError, match="mode cap needs a number of tokens, got effort low"):
        reasoning_params("openai/gpt-5", "low", "cap")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("openai/gpt-5", ("minimal", "low", "medium", "high")),
        ("openai/gpt-5.6", ("none", "low", "medium", "high", "xhigh")),
        ("deepseek/deepseek-v4-pro", ("none", "low", "high", "max")),
        (CLAUDE, ()),
        ("openai/gpt-4o-mini", ()),
        ("ollama_chat/qwen3", ()),
    ],
)
def test_the_words_of_a_model_are_these(model: str, words: tuple[str, ...]) -> None:
    assert effort_words(LM(model, api_key="k")) == words


def test_numbers_that_send_one_control_are_one_setting_but_for_the_phrase() -> None:
    lm = LM("openai/gpt-5", api_key="k")
    numbers = [20, 400, 1500, 2000, 2100]
    assert len(distinct_settings(lm, numbers)) == 5
    groups = distinct_settings(lm, numbers, phrase=False)
    assert [str(group) for group in groups] == ["20 (the same request as 400, 1500, 2000)", "2100"]


def test_words_of_a_model_without_any_are_one_setting() -> None:
    (only,) = distinct_settings(LM("openai/gpt-4o-mini", api_key="k"), ["low", "high"])
    assert (str(only.value), [str(value) for value in only.same], only.request.settings) == ("low", ["high"], {})
