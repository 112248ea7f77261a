"""What the callbacks make of a request; `test_litellm_proxy_served` has them in a real proxy."""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tale_dspy
from tale_dspy.budget import Budget, BudgetValue
from tale_dspy.integrations import litellm_proxy
from tale_dspy.integrations.litellm_proxy import EffortTier, TokenBudget
from tale_dspy.integrations.policy import EstimatorPolicy
from tale_dspy.integrations.proxy_decision import DECISION_KEY
from tests.integrations.programs import regression_program

QUESTION = "Ann has 4 bags of 6 sweets and eats 3. How many are left?"


class BrokenPolicy:
    default_tokens = 1

    def budget_for(self, text: str) -> BudgetValue | None:
        raise RuntimeError("out of order")


def chat(text: str = QUESTION, **settings: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "metadata": {}, **settings}


async def before(hook: TokenBudget, data: dict[str, Any], call_type: str = "acompletion") -> dict[str, Any]:
    return await hook.async_pre_call_hook(None, None, data, call_type)


async def headers(hook: TokenBudget, data: dict[str, Any]) -> dict[str, str] | None:
    return await hook.async_post_call_response_headers_hook(data, None, None)


def prompt(data: dict[str, Any]) -> str:
    return str(data["messages"][-1]["content"])


async def test_the_budget_of_the_program_is_in_the_prompt_and_in_the_header() -> None:
    program = regression_program()
    tokens = program.budget_for(question=QUESTION).tokens
    hook = TokenBudget(program)
    data = await before(hook, chat())
    assert f"less than {tokens} tokens" in prompt(data)
    assert await headers(hook, data) == {"x-tale-budget": str(tokens)}


async def test_the_control_is_set_for_the_model_that_answers() -> None:
    hook = TokenBudget(50)
    data = await before(hook, chat(temperature=0.3))
    request = await hook.async_pre_call_deployment_hook({**data, "model": "openai/gpt-5-mini"}, "acompletion")
    assert request is not None
    assert request["reasoning_effort"] == "minimal"
    assert "temperature" not in request
    assert await headers(hook, data) == {"x-tale-budget": "50", "x-tale-effort": "minimal"}


async def test_an_effort_word_leaves_the_prompt_alone() -> None:
    hook = TokenBudget("low")
    data = await before(hook, chat())
    assert prompt(data) == QUESTION
    request = await hook.async_pre_call_deployment_hook({**data, "model": "openai/gpt-5-mini"}, "acompletion")
    assert request is not None
    assert request["reasoning_effort"] == "low"
    assert await headers(hook, data) == {"x-tale-effort": "low"}


async def test_requests_of_other_kinds_and_those_of_others_are_not_touched() -> None:
    hook = TokenBudget(50)
    data = {"model": "m", "input": "some text", "metadata": {}}
    assert await before(hook, data, "aembedding") is data
    assert await headers(hook, data) is None
    assert await hook.async_pre_call_deployment_hook(chat(), "acompletion") is None


async def test_a_caller_cannot_write_the_decision_that_ends_in_the_headers() -> None:
    forged = {DECISION_KEY: {"skipped": "a\r\nx-other: 1"}, "team": "a"}
    hook = TokenBudget(50)
    data = await before(hook, {"model": "m", "input": "some text", "metadata": dict(forged)}, "aembedding")
    assert (await headers(hook, data), data["metadata"]) == (None, {"team": "a"})
    for name in ("metadata", "litellm_metadata"):
        data = await before(hook, {**chat(), name: dict(forged)})
        assert await headers(hook, data) == {"x-tale-budget": "50"}


async def test_a_budget_is_never_above_the_callers_limit() -> None:
    data = await before(TokenBudget(500), chat(max_tokens=120))
    assert "less than 120 tokens" in prompt(data)


async def test_a_question_with_an_image_gets_at_least_the_default() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    content = [{"type": "text", "text": "What is the sum?"}, image]
    policy = EstimatorPolicy(lambda text: Budget(20, "estimate"), default_tokens=256)
    data = await before(TokenBudget(policy), {**chat(), "messages": [{"role": "user", "content": content}]})
    assert data["metadata"][DECISION_KEY]["tokens"] == 256


async def test_a_share_is_held_out_by_its_text() -> None:
    hook = TokenBudget(50, holdout=0.25)
    decided = [(await before(hook, chat(f"What is {i} + {i}?")))["metadata"][DECISION_KEY] for i in range(400)]
    held_out = [state for state in decided if state.get("skipped") == "holdout"]
    assert 70 <= len(held_out) <= 130
    again = [(await before(hook, chat(f"What is {i} + {i}?")))["metadata"][DECISION_KEY] for i in range(400)]
    assert again == decided


async def test_a_fault_of_the_policy_lets_the_request_pass_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    hook = TokenBudget(BrokenPolicy())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            data = await before(hook, chat())
    assert prompt(data) == QUESTION
    assert await headers(hook, data) == {"x-tale-skipped": "error"}
    assert [record.message for record in caplog.records] == [
        "no budget, the request passes through: RuntimeError: out of order"
    ]


async def test_a_fault_at_the_deployment_lets_the_request_pass(caplog: pytest.LogCaptureFixture) -> None:
    hook = TokenBudget(50)
    data = await before(hook, chat())
    del data["model"]
    assert await hook.async_pre_call_deployment_hook(data, "acompletion") is None
    assert await headers(hook, data) == {"x-tale-budget": "50"}
    assert "None: no reasoning control was set: KeyError: 'model'" in caplog.text


async def test_an_effort_word_that_no_model_was_sent_is_no_budget() -> None:
    hook = TokenBudget("low")
    data = await before(hook, chat())
    await hook.async_pre_call_deployment_hook({**data, "model": "openai/gpt-4o-mini"}, "acompletion")
    assert await headers(hook, data) == {"x-tale-skipped": "no-control"}


ODD_REQUESTS: dict[str, dict[str, Any]] = {
    "no-question": {
        "none": {},
        "null": {"messages": None},
        "text": {"messages": QUESTION},
        "number": {"messages": 7},
        "mapping": {"messages": {"role": "user", "content": QUESTION}},
        "empty": {"messages": []},
        "texts": {"messages": [QUESTION]},
        "nulls": {"messages": [None]},
        "role": {"messages": [{"role": ["user"], "content": QUESTION}]},
        "no-role": {"messages": [{"content": QUESTION}]},
    },
    "no-text": {
        "none": {"messages": [{"role": "user"}]},
        "null": {"messages": [{"role": "user", "content": None}]},
        "number": {"messages": [{"role": "user", "content": 12}]},
        "mapping": {"messages": [{"role": "user", "content": {"text": QUESTION}}]},
        "texts": {"messages": [{"role": "user", "content": [QUESTION, None, 3, []]}]},
        "odd text": {"messages": [{"role": "user", "content": [{"type": "text", "text": {"a": 1}}]}]},
        "odd type": {"messages": [{"role": "user", "content": [{"type": ["text"], "text": QUESTION}]}]},
    },
    "small-limit": {"one": chat(max_tokens=1), "few": chat(max_completion_tokens=15)},
    "caller-effort": {
        "word": chat(reasoning_effort=["high"]),
        "body": chat(extra_body={"reasoning_effort": 3}),
        "config": chat(output_config=[]),
    },
    "tools": {"text": chat(tools="all"), "mapping": chat(tools={"a": 1})},
    "unknown-metadata": {
        repr(value): {**chat(), "metadata": {"tale": value}}
        for value in (True, 0, -1, 1.5, float("nan"), "", "lots", "9" * 5000, "low+", [50], {"tokens": 50}, "\ud800")
    },
}


@pytest.mark.parametrize(
    ("reason", "body"),
    [(reason, body) for reason, bodies in ODD_REQUESTS.items() for body in bodies.values()],
    ids=[f"{reason}-{name[:20]}" for reason, bodies in ODD_REQUESTS.items() for name in bodies],
)
async def test_odd_requests_pass_through_by_the_stated_rules(
    reason: str, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hook = TokenBudget(50)
    original = copy.deepcopy(body)
    data = await before(hook, body)
    assert await headers(hook, data) == {"x-tale-skipped": reason}
    assert {name: value for name, value in data.items() if name != "metadata"} == {
        name: value for name, value in original.items() if name != "metadata"
    }
    assert body.keys() - {"metadata"} == original.keys() - {"metadata"}
    assert await hook.async_pre_call_deployment_hook({**data, "model": "openai/gpt-5-mini"}, "acompletion") is None
    assert caplog.records == []


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": True},
        {"max_tokens": 0},
        {"max_tokens": -5},
        {"max_tokens": "20"},
        {"max_tokens": [20]},
        {"temperature": []},
        {"top_p": "much"},
        {"extra_body": "text"},
        {"extra_body": [1]},
        {"response_format": 3},
        {"text": "json"},
        {"metadata": "none"},
        {"metadata": {"tale": None, "notes": ["x" * 1000] * 1000}},
        {"litellm_metadata": 5},
        {"user": {"a": [1] * 10_000}},
    ],
    ids=lambda settings: repr(settings)[:40],
)
async def test_odd_settings_beside_a_question_change_nothing_of_its_budget(settings: dict[str, Any]) -> None:
    hook = TokenBudget(50)
    data = await before(hook, {**chat(), **settings})
    assert "less than 50 tokens" in prompt(data)
    request = await hook.async_pre_call_deployment_hook({**data, "model": "openai/gpt-5-mini"}, "acompletion")
    assert request is not None
    assert (await headers(hook, data) or {})["x-tale-budget"] == "50"


async def test_a_missing_file_lets_requests_pass(tmp_path: Path) -> None:
    data = await before(TokenBudget(tmp_path / "none.json"), chat())
    assert data["metadata"][DECISION_KEY] == {"skipped": "no-policy"}


async def test_mode_native_without_a_control_leaves_the_phrase(caplog: pytest.LogCaptureFixture) -> None:
    hook = TokenBudget(50, mode="native")
    data = await before(hook, chat())
    assert await hook.async_pre_call_deployment_hook({**data, "model": "openai/gpt-4o-mini"}, "acompletion") is None
    assert "openai/gpt-4o-mini: no reasoning control was set" in caplog.text


async def test_the_model_is_asked_only_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    program = tale_dspy.TaleEP("question -> answer")
    data = await before(TokenBudget(program), chat())
    assert data["metadata"][DECISION_KEY] == {"skipped": "needs-estimate"}

    estimate_calls: list[dict[str, Any]] = []

    class Router:
        async def acompletion(self, **request: Any) -> SimpleNamespace:
            estimate_calls.append(request)
            return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="Budget: [[37]]"))])

    monkeypatch.setattr(litellm_proxy, "_running_router", lambda: Router())
    data = await before(TokenBudget(program, estimate="call"), chat())
    assert "less than 37 tokens" in prompt(data)
    assert (estimate_calls[0]["model"], estimate_calls[0]["messages"][1]["content"]) == ("m", QUESTION)


@pytest.mark.parametrize(
    "arguments", [{"mode": "loud"}, {"estimate": "always"}, {"holdout": 1.5}, {"policy": "few"}], ids=str
)
def test_arguments_that_are_none_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(tale_dspy.UsageError):
        TokenBudget(**{"policy": 50, **arguments})


def test_a_proxy_that_can_be_taken_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed, refused in {"1.83.9": True, "1.9.99": True, "1.83.10": False, "2.0.0rc1": False}.items():
        monkeypatch.setattr(litellm_proxy, "version", lambda _, installed=installed: installed)
        if refused:
            with pytest.raises(tale_dspy.UsageError, match="CVE-2026-42208"):
                TokenBudget(50)
        else:
            TokenBudget(50)


def context(text: str, messages: Sequence[dict[str, Any]] = (), metadata: dict[str, Any] | None = None) -> Any:
    return SimpleNamespace(structured_messages=[*messages, {"role": "user", "content": text}], metadata=metadata or {})


async def test_a_tier_by_the_budget() -> None:
    tiers = {100: "SIMPLE", 300: "MEDIUM", 1000: "COMPLEX"}
    for budget, tier in {50: "SIMPLE", 100: "SIMPLE", 101: "MEDIUM", 900: "COMPLEX", 4000: "COMPLEX"}.items():
        assert await EffortTier(budget, tiers).classify(context(QUESTION)) == tier
    assert await EffortTier("low", {"low": "SIMPLE", "high": "COMPLEX"}).classify(context(QUESTION)) == "SIMPLE"
    assert await EffortTier("max", {"low": "SIMPLE"}).classify(context(QUESTION)) is None
    assert await EffortTier(tale_dspy.TaleEP("question -> answer"), tiers).classify(context(QUESTION)) is None
    assert await EffortTier(BrokenPolicy(), tiers).classify(context(QUESTION)) is None
    assert await EffortTier(50, tiers).classify(context("")) is None


async def test_a_budget_set_before_the_router_decides_the_tier() -> None:
    metadata = {DECISION_KEY: {"tokens": 200, "effort": None, "api": "chat"}}
    budgeted_context = context(f"{QUESTION} Use less than 200 tokens.", metadata=metadata)
    assert await EffortTier(50, {100: "SIMPLE", 300: "MEDIUM"}).classify(budgeted_context) == "MEDIUM"


def test_tiers_are_words_or_numbers() -> None:
    for tiers in ({}, {"low": "A", 100: "B"}):
        with pytest.raises(tale_dspy.UsageError):
            EffortTier(50, tiers)
