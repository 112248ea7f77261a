"""A server that spends every token on thinking, in every wire format: what rescue makes of it, by both engines."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import dspy
import pytest

import tale_dspy
from tale_dspy import LM, BudgetedChainOfThought, VanillaCoT
from tale_dspy.testing import Reply, SolverReply, ThinkingReply, word_problems
from tests.provider_server.providers import ProviderServer, SentRequest

BANK = {row["question"]: row["answer"] for row in word_problems(20)}
EXAMPLES = [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in BANK.items()]
SOLVER = SolverReply(BANK, wrong=0.0)
STUBBORN = 0.05
"""One of these questions is thought about whatever is said."""


class Wire(NamedTuple):
    """A model that thinks natively as it is set up, by one wire format."""

    model: str
    provider: str
    dialect: str
    engine: str
    settings: dict[str, Any] = {}  # noqa: RUF012

    def __str__(self) -> str:
        return f"{self.dialect}-{self.model}-{self.engine}"


_CLAUDE = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 3000}
WIRES = [
    *[
        Wire(model, provider, dialect, engine, settings)
        for engine in ("litellm", "auto")
        for model, provider, dialect, settings in (
            ("openai/gpt-5", "openai", "chat", {}),
            ("openai/o3", "openai", "chat", {"max_completion_tokens": 20_000}),
            ("anthropic/claude-sonnet-4-5", "anthropic", "messages", _CLAUDE),
            ("anthropic/claude-sonnet-5", "anthropic", "messages", {"max_tokens": 3000}),
            ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock", "converse", _CLAUDE),
            ("gemini/gemini-2.5-flash", "gemini", "gemini", {}),
            ("gemini/gemini-2.5-pro", "gemini", "gemini", {"max_tokens": 2000}),
            ("gemini/gemini-3-pro-preview", "gemini", "gemini", {}),
            ("hosted_vllm/Qwen/Qwen3-8B", "vllm", "chat", {"max_tokens": 300}),
            ("deepseek/deepseek-reasoner", "deepseek", "chat", {}),
            ("openrouter/qwen/qwen3-32b", "openrouter", "chat", {}),
        )
    ],
    Wire("ollama_chat/qwen3", "ollama", "ollama", "litellm"),
    Wire("ollama_chat/gpt-oss:20b", "ollama", "ollama", "litellm"),
    Wire("ollama_chat/qwen3", "ollama", "chat", "auto"),
    Wire("openai/gpt-5", "openai", "responses", "auto", {"model_type": "responses"}),
]


class Thinker:
    """Spends every token on thinking, unless it is told to answer now."""

    def __init__(self, shown: bool = True) -> None:
        self.think = ThinkingReply(SOLVER, shown=shown, stubborn=STUBBORN)

    def __call__(self, sent: SentRequest) -> Reply:
        return self.think(sent.as_request())


@pytest.fixture(scope="module")
def thinker() -> Iterator[ProviderServer]:
    with ProviderServer(Thinker()) as server:
        yield server


@pytest.fixture(autouse=True)
def sent(thinker: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> list[SentRequest]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_REGION_NAME", "us-east-1")
    thinker.reset()
    return thinker.sent


def lm(server: ProviderServer, wire: Wire) -> LM:
    address = {"aws_bedrock_runtime_endpoint" if wire.provider == "bedrock" else "api_base": server.base(wire.provider)}
    lm_settings: dict[str, Any] = {"api_key": "any", "cache": False, "num_retries": 0, **address, **wire.settings}
    return LM(wire.model, engine=wire.engine, **lm_settings)


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_95_percent_are_turned_into_answers_by_requests_that_the_provider_takes(
    thinker: ProviderServer, sent: list[SentRequest], wire: Wire
) -> None:
    model = lm(thinker, wire)
    plain, rescued = (
        tale_dspy.evaluate(
            VanillaCoT("question -> answer", on_truncation=policy), EXAMPLES, lm=model, concurrency=4
        ).summary
        for policy in (None, "force_answer")
    )
    assert {request.dialect for request in sent} == {wire.dialect}
    assert [r for request in sent for r in request.refusals] == []
    assert plain["outcomes"] == {**dict.fromkeys(plain["outcomes"], 0), "empty": 20}
    assert rescued["outcomes"]["correct"] >= 19 and rescued["outcomes"]["wrong"] == 0
    assert rescued["recoveries"]["cut"] == rescued["recoveries"]["calls"] == 20
    assert len(sent) == 60


@pytest.mark.parametrize("policy", ["force_answer", "retry_larger"])
@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_no_recovery_of_a_budgeted_module_is_refused(
    thinker: ProviderServer, sent: list[SentRequest], wire: Wire, policy: Any
) -> None:
    program = BudgetedChainOfThought("question -> answer", on_truncation=policy)
    for budget in (20, 2000):
        sent.clear()
        call_receipt = tale_dspy.receipt(
            program(question=EXAMPLES[0].question, token_budget=budget, lm=lm(thinker, wire))
        )
        assert [r for request in sent for r in request.refusals] == []
        assert len(sent) == len(call_receipt.calls) == (2 if policy == "force_answer" else 3)
        if policy == "force_answer":
            limit = wire.settings.get("max_tokens") or 10**9
            assert sent[1].limit is not None and sent[1].limit <= min(limit, 512 + 2048)
            assert call_receipt.status == "answered"
