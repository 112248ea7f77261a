"""What each provider refuses, and what it passes over in silence, as far as budgets of reasoning go.

The rules are those the providers publish, or that users ran into; a provider may change them at any time, and then this
file is wrong together with `tale_dspy.backends.reasoning_controls`. They are written down a second time on purpose: a
table that is tested against itself shows nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Body = Mapping[str, Any]
Rule = Callable[[str, Body], Iterator[str]]
"""Model and body of a request -> what is wrong with it."""

_CHAT = {"model", "messages", "stream", "temperature", "top_p", "seed", "stop", "n", "max_tokens", "response_format"}
_SAMPLED = ("temperature", "top_p", "top_k")


def _unknown_names(body: Body, known: set[str]) -> Iterator[str]:
    for name in body.keys() - known:
        yield f"unknown field {name!r}"


def _one_of(name: str, value: object, words: tuple[str, ...]) -> Iterator[str]:
    if value is not None and value not in words:
        yield f"{name} must be one of {', '.join(words)}, not {value!r}"


def _check_range(name: str, value: object, least: int, most: int) -> Iterator[str]:
    if value is not None and not (type(value) is int and least <= value <= most):
        yield f"{name} must be between {least} and {most}, not {value!r}"


def _openai_words(model: str) -> tuple[str, ...]:
    """The efforts of a model; none for one that does not reason."""
    if "-chat" in model or not re.match(r"o\d|gpt-[5-9]", model):
        return ()
    if re.match(r"o\d", model):
        return ("low", "medium", "high")
    if re.match(r"gpt-6", model):
        return (*(("none",) if re.match(r"gpt-6-(?:sol|luna)", model) else ()), "low", "medium", "high", "xhigh", "max")
    if re.match(r"gpt-5\.(?:1-codex-max|[2-9]-codex)", model):
        return ("low", "medium", "high", "xhigh")
    if "-codex" in model:
        return ("low", "medium", "high")
    if re.match(r"gpt-5\.\d+-pro", model):
        return ("medium", "high", "xhigh")
    if re.match(r"gpt-5-pro", model):
        return ("high",)
    if re.match(r"gpt-5(?!\.)", model):
        return ("minimal", "low", "medium", "high")
    return ("none", "low", "medium", "high", *(() if model.startswith("gpt-5.1") else ("xhigh",)))


def _openai_sampling(model: str, body: Body, effort: object) -> Iterator[str]:
    if _openai_words(model) and effort != "none" and body.get("temperature") not in (None, 1, 1.0):
        yield "temperature must be 1 while the model reasons"


def openai_chat(model: str, body: Body) -> Iterator[str]:
    """OpenAI's chat completions, which refuse a field they do not know."""
    yield from _unknown_names(body, _CHAT | {"max_completion_tokens", "reasoning_effort", "stream_options"})
    effort = body.get("reasoning_effort")
    if effort is not None and not _openai_words(model):
        yield "reasoning_effort is for models that reason"
    elif effort is not None:
        yield from _one_of("reasoning_effort", effort, _openai_words(model))
    if _openai_words(model) and "max_tokens" in body:
        yield "max_tokens is not supported with this model, use max_completion_tokens"
    yield from _openai_sampling(model, body, effort)


def openai_responses(model: str, body: Body) -> Iterator[str]:
    """OpenAI's Responses API."""
    yield from _unknown_names(
        body, {"model", "input", "instructions", "stream", "max_output_tokens", "reasoning", "temperature", "store"}
    )
    yield from _check_range("max_output_tokens", body.get("max_output_tokens"), 16, 10**6)
    reasoning = body.get("reasoning") or {}
    if reasoning and not _openai_words(model):
        yield "reasoning is for models that reason"
    yield from _unknown_names(reasoning, {"effort", "summary"})
    if _openai_words(model):
        yield from _one_of("reasoning.effort", reasoning.get("effort"), _openai_words(model))
    yield from _openai_sampling(model, body, reasoning.get("effort"))


def _takes_token_number(model: str) -> bool:
    """Whether a Claude takes a number of thinking tokens: those up to 4.6."""
    return bool(re.search(r"claude-(?:3-7|(?:sonnet|opus|haiku)-4(?:-[0-6])?(?:-\d{8}|$|-v|@))", model))


def _claude_thinking(model: str, thinking: object, effort: object, body: Body, limit: object) -> Iterator[str]:
    thinks = isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")
    if isinstance(thinking, Mapping) and thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        if not _takes_token_number(model):
            yield "thinking.type enabled is not supported for this model, use adaptive and output_config.effort"
        yield from _check_range("thinking.budget_tokens", budget, 1024, 10**6)
        if type(budget) is int and type(limit) is int and budget >= limit:
            yield "max_tokens must be greater than thinking.budget_tokens"
    if effort is not None:
        yield from _one_of("output_config.effort", effort, ("low", "medium", "high", "xhigh", "max"))
        if _takes_token_number(model) and "-4-6" not in model:
            yield "output_config.effort is not supported for this model"
    for name in _SAMPLED if thinks else ():
        if body.get(name) not in (None, 1, 1.0):
            yield f"{name} may not be set when thinking is enabled"
    most = 32_000 if re.search(r"claude-opus-4(?:-[01])?(?:-\d{8}|$|-v)", model) else 128_000
    yield from _check_range("max_tokens", limit, 1, most)


def anthropic(model: str, body: Body) -> Iterator[str]:
    """Anthropic's Messages API, which refuses a field it does not know."""
    known = {"model", "messages", "system", "max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences"}
    yield from _unknown_names(body, known | {"thinking", "output_config"})
    if "max_tokens" not in body:
        yield "max_tokens is required"
    effort = (body.get("output_config") or {}).get("effort")
    yield from _claude_thinking(model, body.get("thinking"), effort, body, body.get("max_tokens"))


def bedrock(model: str, body: Body) -> Iterator[str]:
    """Bedrock's Converse, with Claude and Nova."""
    extra = body.get("additionalModelRequestFields") or {}
    inference = body.get("inferenceConfig") or {}
    if "nova" in model:
        yield from _unknown_names(extra, {"reasoningConfig"})
        config = extra.get("reasoningConfig") or {}
        yield from _one_of("maxReasoningEffort", config.get("maxReasoningEffort"), ("low", "medium", "high"))
        return
    yield from _unknown_names(extra, {"thinking", "output_config"})
    effort = (extra.get("output_config") or {}).get("effort")
    yield from _claude_thinking(model, extra.get("thinking"), effort, inference, inference.get("maxTokens"))


_GEMINI_LIMITS = {"pro": (128, 32_768), "flash-lite": (512, 24_576), "flash": (0, 24_576)}


def gemini(model: str, body: Body) -> Iterator[str]:
    """Gemini: numbers up to 2.5, levels from 3 on."""
    config = body.get("generationConfig") or {}
    thinking = config.get("thinkingConfig") or {}
    yield from _unknown_names(thinking, {"thinkingBudget", "thinkingLevel", "includeThoughts"})
    budget, level = thinking.get("thinkingBudget"), thinking.get("thinkingLevel")
    if not re.match(r"gemini-2\.5", model):
        if budget is not None:
            yield "thinkingBudget is not for this model, use thinkingLevel"
        pro = ("low", "high") if model.startswith("gemini-3-pro") else ("low", "medium", "high")
        old_flash = re.match(r"gemini-3(?:\.[0-6])?-flash", model)
        yield from _one_of("thinkingLevel", level, ("minimal", *pro) if old_flash else pro)
        return
    if level is not None:
        yield "thinkingLevel is not supported for this model"
    kind = next(name for name in _GEMINI_LIMITS if f"-{name}" in model)
    least, most = _GEMINI_LIMITS[kind]
    if not (budget == 0 and kind != "pro"):
        yield from _check_range("thinkingBudget", budget, least, most)


def ollama(model: str, body: Body) -> Iterator[str]:
    """Ollama, by its own API and by its OpenAI-compatible one: thinking on, off or a level, never a number."""
    think, effort = body.get("think"), body.get("reasoning_effort")
    if think is not None and not isinstance(think, bool):
        yield from _one_of("think", think, ("low", "medium", "high"))
        if "gpt-oss" not in model:
            yield f"{model} passes over the level {think!r}"
    if effort is not None and "gpt-oss" not in model:
        yield from _one_of("reasoning_effort", effort, ("none",))
    for name in ("thinking", "thinking_budget", "max_thinking_tokens"):
        if name in body:
            yield f"{name} is passed over"


def vllm(model: str, body: Body) -> Iterator[str]:
    """vLLM, which passes over what it does not know.

    gpt-oss takes a word there, and no number.
    """
    if "gpt-oss" in model:
        yield from _one_of("reasoning_effort", body.get("reasoning_effort"), ("low", "medium", "high"))
        if "thinking_token_budget" in body:
            yield "thinking_token_budget is passed over by gpt-oss"
    yield from _check_range("thinking_token_budget", body.get("thinking_token_budget"), 0, 10**9)
    for name in ("thinking", "thinking_budget", "enable_thinking", "reasoning"):
        if name in body:
            yield f"{name} is passed over"
    if "thinking_token_budget" in (body.get("chat_template_kwargs") or {}):
        yield "thinking_token_budget is passed over in chat_template_kwargs"


def sglang(model: str, body: Body) -> Iterator[str]:
    """SGLang, which passes over what it does not know."""
    yield from _check_range(
        "custom_params.thinking_budget", (body.get("custom_params") or {}).get("thinking_budget"), 0, 10**9
    )
    for name in ("thinking", "thinking_budget", "thinking_token_budget"):
        if name in body:
            yield f"{name} is passed over"


def llama_cpp(model: str, body: Body) -> Iterator[str]:
    """llama.cpp's server, which passes over what it does not know."""
    yield from _check_range("reasoning_budget_tokens", body.get("reasoning_budget_tokens"), -1, 2**31 - 1)
    for name in ("thinking", "thinking_budget", "thinking_token_budget", "custom_params"):
        if name in body:
            yield f"{name} is passed over"


def dashscope(model: str, body: Body) -> Iterator[str]:
    """DashScope: open Qwen3 models think in streamed calls only."""
    if body.get("enable_thinking") and not body.get("stream") and re.match(r"qwq|qwen3-\d|.*-thinking", model):
        yield "enable_thinking must be set to false for non-streaming calls"
    yield from _check_range("thinking_budget", body.get("thinking_budget"), 1, 38_912)
    for name in ("thinking", "reasoning_effort"):
        if name in body:
            yield f"{name} is passed over"


def deepseek(model: str, body: Body) -> Iterator[str]:
    """DeepSeek: thinking on or off, and an effort."""
    thinking, effort = body.get("thinking") or {}, body.get("reasoning_effort")
    yield from _one_of("thinking.type", thinking.get("type"), ("enabled", "disabled"))
    yield from _one_of("reasoning_effort", effort, ("low", "high", "max"))
    if thinking.get("type") == "enabled" and effort is None:
        yield "thinking is enabled without an effort: the budget is lost"


def openrouter(model: str, body: Body) -> Iterator[str]:
    """OpenRouter: a number or an effort, under `reasoning`."""
    reasoning = body.get("reasoning") or {}
    if "max_tokens" in reasoning and "effort" in reasoning:
        yield "only one of reasoning.effort and reasoning.max_tokens may be given"
    if "thinking" in body:
        yield "thinking is passed over"
    number, limit = reasoning.get("max_tokens"), body.get("max_tokens")
    if number is not None and "anthropic" in model:
        yield from _check_range("reasoning.max_tokens", number, 1024, 128_000)
        if type(limit) is int and number >= limit:
            yield "max_tokens must be greater than reasoning.max_tokens"
    yield from _one_of("reasoning.effort", reasoning.get("effort"), ("minimal", "low", "medium", "high"))


def xai(model: str, body: Body) -> Iterator[str]:
    """xAI: an effort for Grok 3 Mini, and for Grok from 4.3 on."""
    effort = body.get("reasoning_effort")
    words: tuple[str, ...] = ()
    if model.startswith("grok-3-mini"):
        words = ("low", "high")
    elif (version := re.match(r"grok-(\d)(?:\.(\d)(?!\d))?", model)) and (int(version[1]), int(version[2] or 0)) >= (
        4,
        3,
    ):
        words = ("low", "medium", "high")
        words = ("none", *words) if version[2] == "3" else (*words, "xhigh") if version[2] >= "6" else words
    if effort is not None and not words:
        yield "reasoning_effort is not supported for this model"
    elif words:
        yield from _one_of("reasoning_effort", effort, words)
    if "thinking" in body:
        yield "thinking is no field of xAI's"


def moonshot(model: str, body: Body) -> Iterator[str]:
    """Moonshot: thinking on or off for Kimi K2.5 to 2.7, an effort for Kimi K3."""
    thinking, effort = body.get("thinking") or {}, body.get("reasoning_effort")
    yield from _one_of("thinking.type", thinking.get("type"), ("enabled", "disabled"))
    if effort is not None and not model.startswith("kimi-k3"):
        yield "reasoning_effort is not supported for this model"
    yield from _one_of("reasoning_effort", effort, ("low", "high", "max"))


def zai(model: str, body: Body) -> Iterator[str]:
    """Z.ai: thinking on or off."""
    yield from _one_of("thinking.type", (body.get("thinking") or {}).get("type"), ("enabled", "disabled"))
    if "reasoning_effort" in body:
        yield "reasoning_effort is passed over"


def cerebras(model: str, body: Body) -> Iterator[str]:
    """Cerebras: an effort for gpt-oss."""
    yield from _one_of("reasoning_effort", body.get("reasoning_effort"), ("low", "medium", "high"))


def groq(model: str, body: Body) -> Iterator[str]:
    """Groq: an effort for gpt-oss, and a switch for Qwen."""
    words = ("none", "default") if "qwen" in model else ("low", "medium", "high")
    yield from _one_of("reasoning_effort", body.get("reasoning_effort"), words)


RULES: dict[str, Rule] = {
    "openai": openai_chat,
    "openai-responses": openai_responses,
    "anthropic": anthropic,
    "bedrock": bedrock,
    "gemini": gemini,
    "ollama": ollama,
    "vllm": vllm,
    "sglang": sglang,
    "llama.cpp": llama_cpp,
    "dashscope": dashscope,
    "deepseek": deepseek,
    "openrouter": openrouter,
    "xai": xai,
    "groq": groq,
    "moonshot": moonshot,
    "zai": zai,
    "cerebras": cerebras,
}
"""What each provider refuses or passes over, by name."""
