"""What of a request is the question, which requests are left alone, and where the phrase goes."""

import copy
import json
from typing import Any

import pytest

from tale_dspy.budget import BudgetValue
from tale_dspy.integrations.proxy_requests import (
    ApiFormat,
    SkippedRequest,
    UserQuestion,
    output_limit,
    read_question,
    requested_budget,
    with_phrase,
    without_requested_budget,
)
from tale_dspy.prompts import TASK_PROMPTS

PHRASE = "Let's think step by step and use less than 50 tokens:\n"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def chat(content: Any, **settings: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": content}], **settings}


@pytest.mark.parametrize(
    ("api", "request_body"),
    [
        ("chat", chat("2+2?")),
        ("chat", chat([{"type": "text", "text": "2+2?"}])),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}]}),
        ("responses", {"input": "2+2?"}),
        ("responses", {"input": [{"role": "user", "content": "2+2?"}]}),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "2+2?"}]}]}),
    ],
)
def test_the_phrase_goes_to_the_end_of_the_question(api: ApiFormat, request_body: dict[str, Any]) -> None:
    before = copy.deepcopy(request_body)
    assert read_question(api, request_body) == UserQuestion("2+2?")
    changed = with_phrase(api, request_body, 50)
    assert request_body == before
    assert read_question(api, changed) == SkippedRequest("caller-budget")
    assert json.dumps(changed).count(json.dumps(f"2+2?\n{PHRASE}")) == 1


@pytest.mark.parametrize("form", TASK_PROMPTS.values(), ids=TASK_PROMPTS.keys())
def test_a_prompt_of_ours_that_asks_for_reasoning_becomes_the_budgeted_one(form: Any) -> None:
    plain = form.render("2+2?", thinks=True, budget=None)
    budgeted = form.render("2+2?", thinks=True, budget=50)
    changed = with_phrase("chat", chat(plain), 50)
    assert changed["messages"][1]["content"].strip() == budgeted.strip()  # type: ignore[index]


def test_where_the_reply_must_be_json_no_steps_are_asked_for() -> None:
    for settings in (
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"output_config": {"format": {"type": "json_schema"}}},
    ):
        changed = with_phrase("chat", chat("2+2?", **settings), 50)
        assert changed["messages"][1]["content"] == "2+2?\nUse less than 50 tokens:\n"  # type: ignore[index]
    text = with_phrase("responses", {"input": "2+2?", "text": {"format": {"type": "text"}}}, 50)
    assert text["input"] == f"2+2?\n{PHRASE}"


def test_images_stay_and_are_said() -> None:
    request = chat([{"type": "text", "text": "What is this?"}, IMAGE])
    assert read_question("chat", request) == UserQuestion("What is this?", has_other_parts=True)
    changed = with_phrase("chat", request, 50)
    assert changed["messages"][1]["content"] == [  # type: ignore[index]
        {"type": "text", "text": f"What is this?\n{PHRASE}"},
        IMAGE,
    ]


@pytest.mark.parametrize(
    ("api", "request_body", "reason"),
    [
        ("chat", chat("2+2?", tools=[{"type": "function"}]), "tools"),
        ("chat", chat("2+2?", functions=[{"name": "f"}]), "tools"),
        ("chat", {"messages": [{"role": "tool", "tool_call_id": "1", "content": "4"}]}, "tool-results"),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool-results"),
        ("responses", {"input": [{"type": "function_call_output", "output": "4"}]}, "tool-results"),
        ("chat", {"messages": [{"role": "assistant", "content": "A:"}]}, "no-question"),
        ("chat", {"messages": []}, "no-question"),
        ("chat", {}, "no-question"),
        ("chat", chat([IMAGE]), "no-text"),
        ("chat", chat("  "), "no-text"),
        ("chat", chat("2+2?", reasoning_effort="low"), "caller-effort"),
        ("messages", {**chat("2+2?"), "thinking": {"type": "enabled", "budget_tokens": 2000}}, "caller-effort"),
        ("messages", {**chat("2+2?"), "output_config": {"effort": "low"}}, "caller-effort"),
        ("responses", {"input": "2+2?", "reasoning": {"effort": "low"}}, "caller-effort"),
        ("chat", chat("2+2? Use less than 20 tokens."), "caller-budget"),
        ("chat", chat("Explain in at most 1,000 words."), "caller-budget"),
        ("chat", chat("请使用少于 50 tokens 回答"), "caller-budget"),
    ],
)
def test_requests_that_pass_through(api: ApiFormat, request_body: dict[str, Any], reason: str) -> None:
    assert read_question(api, request_body) == SkippedRequest(reason)


def test_the_callers_word_in_the_metadata() -> None:
    def said(value: object) -> object:
        return requested_budget({"metadata": {"tale": value}})

    assert said("off") == said(False) == SkippedRequest("off")
    assert said(40) == said("40") == BudgetValue(40)
    assert said("high") == BudgetValue(effort="high")
    for value in ("a lot", 0, -3, [1], {"a": 1}, 1.5):
        assert said(value) == SkippedRequest("unknown-metadata")
    assert requested_budget({"metadata": {}}) is requested_budget({}) is None


def test_the_callers_word_goes_no_further() -> None:
    assert without_requested_budget({"metadata": {"tale": "off", "a": 1}, "b": 2}) == {"metadata": {"a": 1}, "b": 2}
    assert without_requested_budget({"metadata": {"tale": "off"}, "b": 2}) == {"b": 2}
    assert without_requested_budget({"metadata": {"a": 1}}) == {"metadata": {"a": 1}}


def test_the_limit_of_the_caller() -> None:
    assert output_limit("chat", {"max_tokens": 90, "max_completion_tokens": 80}) == 80
    assert output_limit("responses", {"max_output_tokens": 70, "max_tokens": 5}) == 70
    assert output_limit("messages", {}) is None
