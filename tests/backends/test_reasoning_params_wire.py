"""What really goes out: one saved program, every family, both engines, against servers that speak and refuse as theirs.

One server and one process for all, since LiteLLM takes seconds to import.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import tale_dspy
from tale_dspy import LM, BudgetedChainOfThought, TaleEP, receipt
from tale_dspy.backends.budget_planner import Mode
from tale_dspy.backends.model_control import family_of
from tale_dspy.backends.reasoning_controls import REASONING_CONTROLS
from tale_dspy.backends.reasoning_params import distinct_settings, effort_words
from tale_dspy.budget import EFFORT_WORDS
from tale_dspy.testing import Reply
from tests.provider_server.providers import ProviderServer, SentRequest, limits_in

BUDGETS = (20, 400, 2000, 20_000, 50_000)
LETTER_BUDGETS = (20, 500, 2000, 50_000)
"""Budgets whose bodies are written out below."""
KEY = "sk-not-to-be-written-anywhere"


class Target(NamedTuple):
    """A model, and what answers for it."""

    model: str
    provider: str
    settings: dict[str, Any] = {}  # noqa: RUF012

    def __str__(self) -> str:
        return self.model


BY_RESPONSES = [
    Target("openai/gpt-5-pro", "openai"),
    Target("openai/gpt-5.2-codex", "openai"),
    Target("openai/gpt-5-codex", "openai"),
    Target("openai/gpt-5.2-pro", "openai"),
]
"""Models for which LiteLLM goes to the Responses API, which takes the package mcp; `auto` needs neither."""

NATIVE = [
    Target("openai/gpt-5", "openai"),
    Target("openai/gpt-5.2", "openai"),
    Target("openai/gpt-5.6", "openai"),
    Target("openai/o3-mini", "openai"),
    Target("anthropic/claude-sonnet-4-5", "anthropic"),
    Target("anthropic/claude-opus-4-1", "anthropic"),
    Target("anthropic/claude-opus-4-6", "anthropic"),
    Target("anthropic/claude-opus-4-7", "anthropic"),
    Target("anthropic/claude-sonnet-5", "anthropic"),
    Target("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
    Target("bedrock/us.anthropic.claude-opus-4-7", "bedrock"),
    Target("bedrock/amazon.nova-2-lite-v1:0", "bedrock"),
    Target("gemini/gemini-2.5-pro", "gemini"),
    Target("gemini/gemini-2.5-flash", "gemini"),
    Target("gemini/gemini-2.5-flash-lite", "gemini"),
    Target("gemini/gemini-2.5-flash-preview-09-2099", "gemini"),  # not in LiteLLM's list
    Target("gemini/gemini-3-pro-preview", "gemini"),
    Target("gemini/gemini-3-flash-preview", "gemini"),
    Target("gemini/gemini-3.1-pro-preview", "gemini"),
    Target("deepseek/deepseek-reasoner", "deepseek"),
    Target("deepseek/deepseek-v4-pro", "deepseek"),
    Target("deepseek/deepseek-v4-pro", "deepseek", {"extra_body": {"user_id": "mine"}}),
    Target("dashscope/qwen-plus", "dashscope"),
    Target("hosted_vllm/Qwen/Qwen3-8B", "vllm"),
    Target("openai/Qwen/Qwen3-8B", "sglang", {"server": "sglang"}),
    Target("openai/Qwen/Qwen3-8B-GGUF", "llama.cpp", {"server": "llama.cpp"}),
    Target("openrouter/anthropic/claude-sonnet-4.5", "openrouter"),
    Target("openrouter/google/gemini-2.5-flash", "openrouter"),
    Target("openrouter/openai/gpt-5", "openrouter"),
    Target("xai/grok-3-mini", "xai"),
    Target("groq/openai/gpt-oss-120b", "groq"),
    Target("groq/openai/gpt-oss-999b", "groq"),  # nor is this one
    Target("ollama_chat/gpt-oss:20b", "ollama"),
    Target("openai/gpt-6-sol", "openai"),
    Target("openai/gpt-6.1-sol", "openai"),
    Target("xai/grok-4.3", "xai"),
    Target("xai/grok-4.5", "xai"),
    Target("xai/grok-4.6", "xai"),
    Target("moonshot/kimi-k3", "moonshot"),
    Target("hosted_vllm/openai/gpt-oss-20b", "vllm"),
    Target("cerebras/gpt-oss-120b", "cerebras"),
    Target("openai/openai/gpt-oss-20b", "sglang", {"server": "sglang"}),
    Target("openrouter/anthropic/claude-opus-4.1", "openrouter"),
    Target("openrouter/anthropic/claude-opus-5", "openrouter"),
    Target("openrouter/x-ai/grok-4.5", "openrouter"),
    Target("openrouter/google/gemini-2.5-pro", "openrouter"),
    Target("openrouter/google/gemini-3-pro-preview", "openrouter"),
    Target("openrouter/deepseek/deepseek-v4", "openrouter"),
    Target("bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0", "bedrock"),
    Target("bedrock/us.anthropic.claude-sonnet-5", "bedrock"),
    Target("gemini/gemini-3.7-flash", "gemini"),
    Target("gemini/gemini-4-nano", "gemini"),
    *BY_RESPONSES,
    Target("openai/gpt-5.1", "openai"),
    Target("deepseek/deepseek-chat", "deepseek"),
]
"""One or more for each row with a reasoning control."""

RESPONSES = Target("openai/gpt-5", "openai", {"model_type": "responses"})

SENT_BY = [
    (target, engine)
    for target in NATIVE
    for engine in ("litellm", "auto")
    if engine == "auto" or target not in BY_RESPONSES
]
"""The same with each engine that can send it here."""

WITHOUT = [
    Target("ollama_chat/qwen3", "ollama"),
    Target("dashscope/qwen3-30b-a3b", "dashscope"),
    Target("xai/grok-4", "xai"),
    Target("moonshot/kimi-k2.6", "moonshot"),
    Target("zai/glm-5.2", "zai"),
    Target("groq/qwen/qwen3-32b", "groq"),
]
"""Rows without a reasoning control, by servers we can speak for."""


def reply(sent: SentRequest) -> Reply:
    if "estimate the minimum number of tokens" in json.dumps(sent.body):
        return Reply("Budget: [[40]]", completion_tokens=5)
    return Reply("Answer: [[4]]", reasoning="two and two make four", completion_tokens=12)


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(reply) as server:
        yield server


@pytest.fixture(autouse=True)
def sent(provider: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> list[SentRequest]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("AWS_REGION_NAME", "us-east-1")
    provider.reset()
    return provider.sent


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "program.json"
    BudgetedChainOfThought("question -> answer").save(path)
    return path


@cache
def _loaded(path: Path) -> Any:
    return tale_dspy.load(path)


def lm(server: ProviderServer, target: Target, engine: str, **settings: Any) -> LM:
    address = {
        "aws_bedrock_runtime_endpoint" if target.provider == "bedrock" else "api_base": server.base(target.provider)
    }
    lm_settings = {"api_key": KEY, "cache": False, "num_retries": 0, **address, **target.settings, **settings}
    return LM(target.model, engine=engine, **lm_settings)


def ask(program: Any, model: LM, budget: int | None, mode: Mode, effort: str | None = None, **config: Any) -> Any:
    return program(question="2+2?", token_budget=budget, effort=effort, lm=model, mode=mode, config=config)


def contains(body: Any, part: Any) -> bool:
    """Whether a body holds a part of it, down to the last value."""
    if isinstance(part, dict):
        return isinstance(body, dict) and all(k in body and contains(body[k], v) for k, v in part.items())
    return bool(body == part) and type(body) is type(part)


def limits(body: Any) -> list[int]:
    """Every limit on output tokens in a body."""
    return list(limits_in(body))


def test_every_row_with_a_control_is_sent(provider: ProviderServer) -> None:
    families = [family_of(lm(provider, target, "litellm")) for target in NATIVE]
    missing = {control.name for control in REASONING_CONTROLS if control.kind != "none"}
    assert missing - {family.name for family in families if family is not None} == set()


@pytest.mark.parametrize("limit", [None, 1500, 16_000])
@pytest.mark.parametrize(("target", "engine"), SENT_BY, ids=str)
def test_native_sends_what_the_receipt_says_and_no_provider_refuses_it(
    provider: ProviderServer, sent: list[SentRequest], saved: Path, target: Target, engine: str, limit: int | None
) -> None:
    # DSPy refuses a small limit of OpenAI's reasoning models at construction, but not of a call.
    settings = {} if limit is None else {"max_tokens": limit}
    config = settings if limit == 1500 else {}
    model = lm(provider, target, engine, **({} if config else settings))
    for budget in BUDGETS:
        sent.clear()
        call_receipt = receipt(ask(_loaded(saved), model, budget, "native", **config))
        (request,) = sent
        assert request.refusals == ()
        assert contains(dict(request.body), call_receipt.reasoning_params), (
            call_receipt.reasoning_params,
            request.body,
        )
        assert f"{budget} tokens" in request.prompt  # no row loses the number
        assert call_receipt.mode == "native" or any("no room" in note for note in call_receipt.reasoning_notes)
        assert bool(call_receipt.reasoning_params) == (call_receipt.mode == "native")
        if limit is not None:
            assert max(limits(request.body)) <= limit
        number = next((n for n in _numbers(call_receipt.reasoning_params) if n == budget), None)
        assert number == budget or call_receipt.reasoning_notes or _word(call_receipt.reasoning_params)
        uncounted = (target.provider, engine) == ("ollama", "litellm")  # one count for thinking and text
        assert (call_receipt.output_tokens, call_receipt.reasoning_tokens) == (
            12,
            None if uncounted or not _thought(call_receipt) else 5,
        )


def _thought(told: tale_dspy.Receipt) -> bool:
    return any(call.thought for call in told.calls)


def _numbers(reasoning_params: Any) -> Iterator[int]:
    for value in reasoning_params.values():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield value


def _word(reasoning_params: Any) -> bool:
    return any(
        _word(v) if isinstance(v, dict) else isinstance(v, str) and v != "enabled" for v in reasoning_params.values()
    )


# ---- effort words


@pytest.mark.parametrize(("target", "engine"), SENT_BY, ids=str)
def test_no_word_is_refused_and_equal_requests_are_one_setting(
    provider: ProviderServer, sent: list[SentRequest], saved: Path, target: Target, engine: str
) -> None:
    model = lm(provider, target, engine)
    bodies: dict[str, str] = {}
    for word in EFFORT_WORDS:
        sent.clear()
        call_receipt = receipt(ask(_loaded(saved), model, None, "auto", effort=word))
        (request,) = sent
        assert request.refusals == ()
        assert contains(dict(request.body), call_receipt.reasoning_params), (
            call_receipt.reasoning_params,
            request.body,
        )
        assert "must stay under" not in request.prompt and call_receipt.effort == word
        assert word in ("none", *effort_words(model)) or call_receipt.reasoning_notes  # what was changed is said
        bodies[word] = json.dumps(request.body, sort_keys=True)
    settings = distinct_settings(model, EFFORT_WORDS)
    groups = [{str(setting.value), *map(str, setting.same)} for setting in settings]
    by_body = [{w for w in EFFORT_WORDS if bodies[w] == body} for body in dict.fromkeys(bodies.values())]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, by_body))


@pytest.mark.parametrize("engine", ["litellm", "auto"])
@pytest.mark.parametrize(
    ("target", "params"),
    [
        (Target("openai/gpt-5", "openai"), [{"reasoning_effort": w} for w in ("minimal", "low", "high", "high")]),
        (Target("openai/gpt-5.6", "openai"), [{"reasoning_effort": w} for w in ("none", "low", "high", "xhigh")]),
        (Target("openai/gpt-6.1-sol", "openai"), [{"reasoning_effort": w} for w in ("low", "low", "high", "max")]),
        (Target("anthropic/claude-sonnet-4-5", "anthropic"), [
            {"thinking": {"type": "enabled", "budget_tokens": n}} for n in (None, 2048, 16_384, 32_768)
        ]),
        (Target("gemini/gemini-3-flash-preview", "gemini"), [
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": w}}} for w in ("minimal", "low", "high", "high")
        ]),
        (Target("deepseek/deepseek-v4-pro", "deepseek"), [
            {"thinking": {"type": "disabled"}}, *({"reasoning_effort": w} for w in ("low", "high", "max"))
        ]),
        (Target("xai/grok-4.6", "xai"), [{"reasoning_effort": w} for w in ("low", "low", "high", "xhigh")]),
        (Target("moonshot/kimi-k3", "moonshot"), [{"reasoning_effort": w} for w in ("low", "low", "high", "max")]),
        (Target("openrouter/openai/gpt-5", "openrouter"), [
            {"reasoning": {"effort": w}} for w in ("low", "low", "high", "high")
        ]),
    ],
    ids=str,
)  # fmt: skip
def test_a_word_becomes_this(
    provider: ProviderServer,
    sent: list[SentRequest],
    saved: Path,
    target: Target,
    engine: str,
    params: list[dict[str, Any]],
) -> None:
    model = lm(provider, target, engine)
    for word in ("none", "low", "high", "max"):
        ask(_loaded(saved), model, None, "native", effort=word)
    for request, part in zip(sent, params, strict=True):
        if part.get("thinking", {}).get("budget_tokens", 0) is None:  # off
            assert request.body["thinking"] == {"type": "disabled"}
        else:
            assert contains(dict(request.body), part), request.body


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "openai/scripted"])
def test_a_model_without_a_row_is_sent_nothing_and_that_is_said(
    provider: ProviderServer, sent: list[SentRequest], saved: Path, model: str
) -> None:
    target = lm(provider, Target(model, "openai"), "litellm")
    call_receipt = receipt(ask(_loaded(saved), target, 50, "auto", effort="low"))
    assert "reasoning_effort" not in sent[0].body and "must stay under 50 tokens" in sent[0].prompt
    assert call_receipt.reasoning_notes == [f"no reasoning control of {model} is known: effort low was not sent"]
    assert len(distinct_settings(target, EFFORT_WORDS)) == 1


THINKING = {"type": "enabled"}
NO_THOUGHT = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}


@pytest.mark.parametrize(
    ("target", "engine", "path", "params"),
    [
        *[
            (Target("openai/gpt-5", "openai"), engine, "/openai/chat/completions", [
                {"reasoning_effort": word} for word in ("minimal", "minimal", "minimal", "high")
            ])
            for engine in ("litellm", "auto")
        ],
        (RESPONSES, "auto", "/openai/responses", [
            {"reasoning": {"effort": word}} for word in ("minimal", "minimal", "minimal", "high")
        ]),
        *[
            (Target("anthropic/claude-sonnet-4-5", "anthropic"), engine, "/anthropic/v1/messages", [
                {"thinking": {**THINKING, "budget_tokens": n}, "max_tokens": n + 4096}
                for n in (1024, 1024, 2000, 50_000)
            ])
            for engine in ("litellm", "auto")
        ],
        *[
            (Target("gemini/gemini-2.5-pro", "gemini"), engine, "/gemini/models/gemini-2.5-pro:generateContent", [
                {"generationConfig": {"thinkingConfig": {"thinkingBudget": n, "includeThoughts": True}}}
                for n in (128, 500, 2000, 32_768)
            ])
            for engine in ("litellm", "auto")
        ],
        (Target("ollama_chat/gpt-oss:20b", "ollama"), "litellm", "/ollama/api/chat", [
            {"think": word} for word in ("low", "low", "low", "high")
        ]),
        (Target("ollama_chat/gpt-oss:20b", "ollama"), "auto", "/ollama/chat/completions", [
            {"reasoning_effort": word} for word in ("low", "low", "low", "high")
        ]),
        *[
            (Target("hosted_vllm/Qwen/Qwen3-8B", "vllm"), engine, "/vllm/chat/completions", [
                {"thinking_token_budget": n} for n in LETTER_BUDGETS
            ])
            for engine in ("litellm", "auto")
        ],
    ],
    ids=str,
)  # fmt: skip
def test_the_body_is_this_to_the_letter(
    provider: ProviderServer,
    sent: list[SentRequest],
    saved: Path,
    target: Target,
    engine: str,
    path: str,
    params: list[dict[str, Any]],
) -> None:
    model = lm(provider, target, engine)
    for budget in LETTER_BUDGETS:
        ask(_loaded(saved), model, budget, "native")
    frame = {
        "model",
        "messages",
        "input",
        "contents",
        "system",
        "system_instruction",
        "instructions",
        "stream",
        "options",
    }
    expected = [
        {k: v for k, v in r.body.items() if k not in frame and not (k == "generationConfig" and not v)} for r in sent
    ]
    assert json.dumps(expected, sort_keys=True) == json.dumps(params, sort_keys=True)
    assert {r.path for r in sent} == {path}


@pytest.mark.parametrize("mode", ["auto", "cap", "prompt"])
@pytest.mark.parametrize(
    ("target", "engine"), [*SENT_BY, *((t, e) for t in WITHOUT for e in ("litellm", "auto"))], ids=str
)
def test_no_mode_sends_what_a_provider_refuses(
    provider: ProviderServer, sent: list[SentRequest], saved: Path, target: Target, engine: str, mode: Mode
) -> None:
    model = lm(provider, target, engine)
    for budget in (20, 2000):
        sent.clear()
        call_receipt = receipt(ask(_loaded(saved), model, budget, mode))
        (request,) = sent
        assert request.refusals == ()
        assert contains(dict(request.body), call_receipt.reasoning_params), (
            call_receipt.reasoning_params,
            request.body,
        )
        assert f"{budget} tokens" in request.prompt
        assert mode != "cap" or limits(request.body) == [budget]


def test_the_responses_api_keeps_the_cap(provider: ProviderServer, sent: list[SentRequest], saved: Path) -> None:
    call_receipt = receipt(ask(_loaded(saved), lm(provider, RESPONSES, "auto"), 500, "cap"))
    assert sent[0].body["max_output_tokens"] == 500
    assert call_receipt.reasoning_params == {"max_output_tokens": 500}


@pytest.mark.parametrize(
    ("target", "engine", "quiet"),
    [
        (Target("openai/gpt-5", "openai"), "litellm", {"reasoning_effort": "minimal"}),
        (Target("openai/o3-mini", "openai"), "auto", {"reasoning_effort": "low"}),
        (RESPONSES, "auto", {"reasoning": {"effort": "minimal"}}),
        (Target("gemini/gemini-2.5-flash", "gemini"), "litellm", NO_THOUGHT),
        (Target("gemini/gemini-2.5-flash", "gemini"), "auto", NO_THOUGHT),
        (Target("deepseek/deepseek-v4-pro", "deepseek"), "litellm", {"thinking": {"type": "disabled"}}),
        (Target("deepseek/deepseek-v4-pro", "deepseek"), "auto", {"thinking": {"type": "disabled"}}),
        (Target("hosted_vllm/Qwen/Qwen3-8B", "vllm"), "litellm", {"chat_template_kwargs": {"enable_thinking": False}}),
        (Target("ollama_chat/qwen3", "ollama"), "litellm", {"think": False}),
        (Target("ollama_chat/qwen3", "ollama"), "auto", {"reasoning_effort": "none"}),
    ],
    ids=str,
)  # fmt: skip
def test_an_estimate_is_asked_for_with_the_least_thinking(
    provider: ProviderServer, sent: list[SentRequest], target: Target, engine: str, quiet: dict[str, Any]
) -> None:
    mode: Mode = "cap"  # every model takes it, and it has an estimate made
    pred = ask(TaleEP("question -> answer"), lm(provider, target, engine), None, mode)
    assert len(sent) == 2
    assert sent[0].refusals == ()
    assert contains(dict(sent[0].body), quiet), sent[0].body
    assert pred.token_budget == 40


@pytest.mark.parametrize(("target", "engine"), SENT_BY, ids=str)
def test_auto_asks_a_model_that_thinks_natively_once_and_others_for_an_estimate(
    provider: ProviderServer, sent: list[SentRequest], target: Target, engine: str
) -> None:
    model = lm(provider, target, engine)
    pred = ask(TaleEP("question -> answer"), model, None, "auto")
    call_receipt = receipt(pred)
    native = call_receipt.mode == "native"
    assert len(sent) == (1 if native else 2)
    assert ("step by step" in sent[-1].prompt) is not native
    assert list(pred.keys()) == ["reasoning", "answer"]
    assert all(r.refusals == () for r in sent)
