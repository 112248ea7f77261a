"""What each provider refuses, on bodies written by hand."""

from typing import Any

import pytest

from tests.provider_server.rules import RULES

CLAUDE = {"messages": [], "max_tokens": 5000}


def enabled(budget: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


@pytest.mark.parametrize(
    ("provider", "model", "body", "refusal"),
    [
        ("anthropic", "claude-sonnet-4-5", CLAUDE | enabled(512), "between 1024"),
        ("anthropic", "claude-sonnet-4-5", CLAUDE | enabled(5000), "greater than thinking.budget_tokens"),
        ("anthropic", "claude-opus-4-7", CLAUDE | enabled(2000), "not supported for this model"),
        ("anthropic", "claude-sonnet-4-5", CLAUDE | enabled(2000) | {"temperature": 0.1}, "temperature may not be set"),
        ("anthropic", "claude-opus-4-1", enabled(2000) | {"max_tokens": 40_000}, "between 1 and 32000"),
        ("anthropic", "claude-sonnet-4-5", enabled(2000), "max_tokens is required"),
        ("anthropic", "claude-sonnet-4-5", CLAUDE | {"reasoning_effort": "low"}, "unknown field"),
        ("bedrock", "anthropic.claude-opus-4-7", {"additionalModelRequestFields": enabled(2000)}, "not supported"),
        ("gemini", "gemini-2.5-pro", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 64}}}, "between 128"),
        ("gemini", "gemini-2.5-flash", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}, "not supp"),
        ("gemini", "gemini-3-pro", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 500}}}, "thinkingLevel"),
        ("openai", "gpt-5", {"reasoning_effort": "none"}, "must be one of"),
        ("openai", "gpt-4o", {"reasoning_effort": "low"}, "for models that reason"),
        ("openai", "o3", {"max_tokens": 9}, "max_completion_tokens"),
        ("openai", "o3", {"temperature": 0.1}, "temperature must be 1"),
        ("openai-responses", "gpt-5", {"max_output_tokens": 5}, "between 16"),
        ("ollama", "qwen3", {"think": 500}, "must be one of"),
        ("ollama", "qwen3", {"think": "low"}, "passes over"),
        ("vllm", "qwen3", enabled(500), "passed over"),
        ("vllm", "qwen3", {"chat_template_kwargs": {"thinking_token_budget": 5}}, "passed over in chat_template"),
        ("sglang", "qwen3", {"thinking_budget": 5}, "passed over"),
        ("llama.cpp", "qwen3", {"reasoning_budget_tokens": -2}, "between -1"),
        ("dashscope", "qwen3-8b", {"enable_thinking": True}, "non-streaming"),
        ("deepseek", "deepseek-chat", {"thinking": {"type": "enabled"}}, "the budget is lost"),
        ("openrouter", "x", {"reasoning": {"max_tokens": 5, "effort": "low"}}, "only one of"),
        ("xai", "grok-4", {"reasoning_effort": "low"}, "not supported"),
        ("groq", "qwen/qwen3-32b", {"reasoning_effort": "low"}, "none, default"),
    ],
)
def test_what_a_provider_would_refuse_is_refused(provider: str, model: str, body: dict[str, Any], refusal: str) -> None:
    assert any(refusal in message for message in RULES[provider](model, body)), list(RULES[provider](model, body))


@pytest.mark.parametrize(
    ("provider", "model", "body"),
    [
        ("anthropic", "claude-sonnet-4-5", CLAUDE | enabled(1024)),
        (
            "anthropic",
            "claude-opus-4-7",
            CLAUDE | {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        ),
        ("gemini", "gemini-2.5-flash", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        ("gemini", "gemini-3-flash-preview", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "minimal"}}}),
        ("openai", "gpt-5.1", {"reasoning_effort": "none", "temperature": 0.2, "max_completion_tokens": 9}),
        ("ollama", "gpt-oss:20b", {"think": "low"}),
        ("vllm", "qwen3", {"thinking_token_budget": 0}),
    ],
)
def test_what_a_provider_takes_is_taken(provider: str, model: str, body: dict[str, Any]) -> None:
    assert list(RULES[provider](model, body)) == []
