"""The rows of the reasoning controls: which model falls into which, and that each of them is whole."""

import re

import pytest

from tale_dspy.backends.control_registry import find_control
from tale_dspy.backends.reasoning_control import LEVELS, VALUE, ReasoningControl
from tale_dspy.backends.reasoning_controls import REASONING_CONTROLS


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("anthropic/claude-3-7-sonnet-20250219", "Claude up to 4.6"),
        ("anthropic/claude-sonnet-4-20250514", "Claude up to 4.6"),
        ("anthropic/claude-sonnet-4-5-20250929", "Claude up to 4.6"),
        ("claude-haiku-4-5", "Claude up to 4.6"),
        ("anthropic/claude-opus-4-6-20260205", "Claude up to 4.6"),
        ("anthropic/claude-opus-4-20250514", "Claude Opus 4"),
        ("anthropic/claude-opus-4-1", "Claude Opus 4"),
        ("anthropic/claude-opus-4-5", "Claude up to 4.6"),
        ("anthropic/claude-opus-4-7-20260416", "Claude 4.7 and 4.8"),
        ("anthropic/claude-opus-4-8", "Claude 4.7 and 4.8"),
        ("anthropic/claude-haiku-5-5", "Claude 5"),
        ("anthropic/claude-fable-5", "Claude 5"),
        ("anthropic/claude-3-5-sonnet-20241022", None),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "Claude up to 4.6 on Bedrock"),
        ("bedrock/us.anthropic.claude-opus-4-7", "Claude 4.7 and 4.8 on Bedrock"),
        ("bedrock/amazon.nova-2-lite-v1:0", "Nova 2"),
        ("vertex_ai/claude-sonnet-4-5@20250929", "Claude up to 4.6"),
        ("gemini/gemini-2.5-flash-lite", "Gemini 2.5 Flash-Lite"),
        ("vertex_ai/gemini-2.5-pro", "Gemini 2.5 Pro"),
        ("gemini/gemini-2.0-flash", None),
        ("gemini/gemini-3-pro-preview", "Gemini 3 Pro"),
        ("gemini/gemini-3.1-pro-preview", "Gemini 3.1 Pro and later"),
        ("gemini/gemini-3.5-flash", "Gemini 3 Flash"),
        ("gemini/gemini-3.8-flash", "Gemini 3.7 Flash and later"),
        ("openai/o3-mini", "OpenAI o"),
        ("o1", "OpenAI o"),
        ("openai/gpt-5", "GPT-5"),
        ("azure/gpt-5-mini", "GPT-5"),
        ("openai/gpt-5-chat-latest", None),
        ("openai/gpt-5.1-chat-latest", None),
        ("openai/gpt-5-pro", "GPT-5 Pro"),
        ("openai/gpt-5.1", "GPT-5.1"),
        ("openai/gpt-5.4-mini", "GPT-5.2"),
        ("openai/gpt-5.2-pro", "GPT-5.x Pro"),
        ("openai/gpt-5.6-luna", "GPT-5.5"),
        ("openai/gpt-6-sol", "GPT-6"),
        ("openai/gpt-4o-mini", None),
        ("deepseek/deepseek-reasoner", "DeepSeek reasoner"),
        ("deepseek/deepseek-v4-pro", "DeepSeek V4"),
        ("xai/grok-3-mini", "Grok 3 Mini"),
        ("xai/grok-4.20-reasoning", "Grok 4"),
        ("xai/grok-4.3", "Grok 4.3"),
        ("xai/grok-4.5-latest", "Grok 4.5"),
        ("xai/grok-4.6", "Grok 4.6 and later"),
        ("xai/grok-4.20-0309-non-reasoning", None),
        ("openrouter/x-ai/grok-4.6", "Grok by OpenRouter"),
        ("moonshot/kimi-k2.6", "Kimi K2.5 to K2.7"),
        ("moonshot/kimi-k2-thinking", "Kimi K2 Thinking"),
        ("moonshot/kimi-k2-0711-preview", None),
        ("moonshot/kimi-k3", "Kimi K3"),
        ("zai/glm-5.2", "GLM"),
        ("hosted_vllm/openai/gpt-oss-20b", "gpt-oss on vLLM"),
        ("openai/gpt-6.1-sol", "GPT-6.1 and later"),
        ("openai/gpt-5.3-codex", "GPT-5.x Codex"),
        ("openrouter/google/gemini-3-pro", "Gemini 3 by OpenRouter"),
        ("openrouter/deepseek/deepseek-v4-flash", "DeepSeek, Kimi and GLM by OpenRouter"),
        ("xai/grok-3", None),
        ("dashscope/qwen-plus", "Qwen by DashScope"),
        ("dashscope/qwen3.7-plus", "Qwen by DashScope"),
        ("dashscope/qwen3-30b-a3b", "Qwen by DashScope, streamed"),
        ("hosted_vllm/Qwen/Qwen3-8B", "vLLM"),
        ("openrouter/anthropic/claude-sonnet-4.5", "Claude up to 4.6 by OpenRouter"),
        ("openrouter/anthropic/claude-opus-4.7", "Claude by OpenRouter"),
        ("openrouter/google/gemini-2.5-pro", "Gemini 2.5 Pro by OpenRouter"),
        ("openrouter/openai/gpt-5", "GPT by OpenRouter"),
        ("ollama_chat/gpt-oss:20b", "gpt-oss on Ollama"),
        ("ollama_chat/qwen3", "Ollama"),
        ("openai/scripted", None),
    ],
)
def test_a_model_falls_into_its_family(model: str, name: str | None) -> None:
    control = find_control(model)
    assert (control.name if control else None) == name


@pytest.mark.parametrize(("server", "name"), [("vllm", "vLLM"), ("sglang", "SGLang"), ("llama.cpp", "llama.cpp")])
def test_a_server_of_ones_own_is_known_by_its_software(server: str, name: str) -> None:
    control = find_control("openai/qwen/qwen3-8b", server)
    assert control is not None
    assert control.name == name


@pytest.mark.parametrize("family", REASONING_CONTROLS, ids=lambda f: f.name)
def test_a_row_is_whole(family: ReasoningControl) -> None:
    re.compile(family.models)
    if family.kind == "none":
        assert family.why
        assert not family.on
        return
    assert VALUE in str(family.on)
    assert VALUE in str(family.wire)
    assert set(family.words) <= set(LEVELS)
    assert bool(family.words) == (family.kind == "word")
    assert list(family.words) == sorted(family.words, key=lambda word: LEVELS[word])
    assert family.rule == "shared" or family.output  # without a max_tokens of the caller's we set one


def test_no_two_rows_have_one_name() -> None:
    assert len({family.name for family in REASONING_CONTROLS}) == len(REASONING_CONTROLS)
