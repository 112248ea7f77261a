"""How each family of models takes a reasoning budget, as data: one row a family.

What a row says was sent to a recording server with both engines (tests/backends/test_dials_wire.py); what a provider
then does with it only the provider knows, and `tale doctor` asks it. Rows are tried from the top; a model without a row
takes its budget in the prompt.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

VALUE = "<value>"
"""Stands in a template for the number or word that is sent."""

LEVELS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
"""Thinking tokens an effort word stands for where a number is wanted: DSPy's table, which is its own choice as are
LiteLLM's (1024 to 16384) and inspect_ai's (2048 to 32000). A budget is given the highest word that fits in it."""

THINKERS = re.compile(
    r"qwen-?3(?!.*(?:instruct|coder))|qwq|deepseek-(?:r1|reasoner)|gpt-oss|magistral|-thinking|glm-4\.[5-9]|minimax-m[12]"
)
"""Open models that think unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class ReasoningControl:
    """Models that take a budget in the same way."""

    name: str
    """What messages call it."""
    models: str
    """Regular expression searched in the model string, in lower case; `vllm:` and the like go in front of it where
    `tale_dspy.LM(server=...)` says what answers."""
    kind: Literal["tokens", "word", "none"]
    """A number of thinking tokens, an effort word, or no reasoning control at all."""
    on: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the call that turn the reasoning control; `VALUE` stands for the budget."""
    wire: Mapping[str, Any] = field(default_factory=dict)
    """The part of the request body that comes of it."""
    minimum: int = 1
    """Least number of thinking tokens the provider takes."""
    maximum: int | None = None
    """Most thinking tokens it takes; None where none is known."""
    words: tuple[str, ...] = ()
    """Effort words it takes, from the least to the most."""
    rule: Literal["below", "shared"] = "shared"
    """Against max_tokens: `below` where the provider refuses a budget that does not leave room for an answer, and
    wants max_tokens set; `shared` where thinking and answer share max_tokens, so that without room the answer is
    empty."""
    output: int | None = None
    """Most output tokens of the model, thinking included, where max_tokens is ours to set."""
    thinks: Literal["always", "by default", "on request", "by name"] = "on request"
    """When it thinks natively: always, unless switched off, only when asked to, or if `THINKERS` knows its name."""
    off: Mapping[str, Any] | None = None
    """Settings of the call that switch thinking off; None where the model has no such switch."""
    wire_off: Mapping[str, Any] | None = None
    """The part of the request body that comes of `off`; None where it is `off` itself, with `extra_body` unpacked."""
    drops: tuple[str, ...] = ()
    """Sampling settings the provider refuses while the model thinks."""
    litellm: bool = False
    """Whether only LiteLLM can send it: engine `auto` hands such a call to LiteLLM, `lm15` cannot."""
    on_auto: Mapping[str, Any] | None = None
    """What takes the place of `on` where DSPy's own engine can send the same."""
    wire_auto: Mapping[str, Any] | None = None
    """What takes the place of `wire` there."""
    wire_responses: Mapping[str, Any] | None = None
    """What takes the place of `wire` under `model_type="responses"`."""
    why: str = ""
    """Why there is no control."""


_THINKING = {"thinking": {"type": "enabled", "budget_tokens": VALUE}}
_SAMPLING = ("temperature", "top_p", "top_k")
_CLAUDE = r"claude-"
_NUMBERED = r"claude-(?:3[-.]7|(?:sonnet|opus|haiku)-4(?:[-.][0-6](?!\d))?(?![-.][7-9](?!\d)))"
"""Claude 3.7 to 4.6; a date may follow."""
_SMALL_OPUS = r"claude-opus-4(?:[-.][01](?!\d))?(?![-.]\d(?!\d))"
"""Claude Opus 4 and 4.1, which write at most 32,000 tokens."""
_WORDED = r"claude-(?:sonnet|opus|haiku)-4[-.][7-9](?!\d)"
_ALWAYS = r"claude-(?:(?:sonnet|opus|haiku)-[5-9]|fable|mythos)"
_OPENAI = r"^(?:(?:openai|azure)/)?"
_EFFORT = {"reasoning_effort": VALUE}
_RESPONSES = {"reasoning": {"effort": VALUE}}
_NO_EFFORT = {"reasoning_effort": "none"}


def _body(**fields: Any) -> dict[str, Any]:
    """Settings that LiteLLM puts into the request body as they are."""
    return {"extra_body": fields}


def _claude(name: str, models: str, output: int, *, bedrock: bool = False) -> ReasoningControl:
    wire = {"additionalModelRequestFields": _THINKING} if bedrock else _THINKING
    return ReasoningControl(
        name=name,
        models=models,
        kind="tokens",
        on=_THINKING,
        wire=wire,
        minimum=1024,
        rule="below",
        output=output,
        off={"thinking": {"type": "disabled"}},
        drops=_SAMPLING,
        litellm=True,
    )


def _claude_words(name: str, models: str, *, bedrock: bool = False, always: bool = False) -> ReasoningControl:
    effort = {"output_config": {"effort": VALUE}}
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on=_EFFORT,
        wire={"additionalModelRequestFields": effort} if bedrock else effort,
        words=("low", "medium", "high", "xhigh", "max"),
        thinks="always" if always else "on request",
        off=None if always else _NO_EFFORT,
        drops=_SAMPLING,
    )


def _openai(name: str, models: str, words: tuple[str, ...], thinks: Any, *, off: bool = False) -> ReasoningControl:
    return ReasoningControl(
        name=name,
        models=_OPENAI + models,
        kind="word",
        on=_EFFORT,
        wire=_EFFORT,
        wire_responses=_RESPONSES,
        words=words,
        thinks=thinks,
        off=_NO_EFFORT if off else None,
        drops=("temperature", "top_p", "presence_penalty", "frequency_penalty"),
    )


def _gemini(name: str, models: str, minimum: int, maximum: int, thinks: Any, *, off: bool = True) -> ReasoningControl:
    return ReasoningControl(
        name=name,
        models=models,
        kind="tokens",
        on={**_THINKING, "allowed_openai_params": ["thinking"]},  # else LiteLLM refuses it of one not in its list
        wire={"generationConfig": {"thinkingConfig": {"thinkingBudget": VALUE}}},
        minimum=minimum,
        maximum=maximum,
        thinks=thinks,
        off=_NO_EFFORT if off else None,
        litellm=True,
    )


def _levels(name: str, models: str, *words: str) -> ReasoningControl:
    wire = {"generationConfig": {"thinkingConfig": {"thinkingLevel": VALUE}}}
    return ReasoningControl(name=name, models=models, kind="word", on=_EFFORT, wire=wire, words=words, thinks="always")


def _deepseek(name: str, models: str, thinks: Any, *, off: bool = True) -> ReasoningControl:
    wire = {"thinking": {"type": "enabled"}, "reasoning_effort": VALUE}
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on=_body(**wire),  # of `reasoning_effort` LiteLLM keeps that there is one, and loses the word
        on_auto=_EFFORT,
        wire=wire,
        words=("low", "high", "max"),
        thinks=thinks,
        off=_NO_EFFORT if off else None,
    )


def _server(name: str, models: str, wire: Mapping[str, Any], off: Mapping[str, Any]) -> ReasoningControl:
    return ReasoningControl(
        name=name,
        models=models,
        kind="tokens",
        on=_body(**wire),
        wire=wire,
        maximum=10**9,
        thinks="by name",
        off=off,
        litellm=True,
    )


def _router(
    name: str, models: str, minimum: int, thinks: Any, rule: Any = "shared", output: int | None = None
) -> ReasoningControl:
    wire = {"reasoning": {"max_tokens": VALUE}}
    return ReasoningControl(
        name=name,
        models=rf"^openrouter/{models}",
        kind="tokens",
        on=_body(**wire),  # as `thinking` it would go out raw, which OpenRouter does not read
        wire=wire,
        minimum=minimum,
        rule=rule,
        output=output,
        thinks=thinks,
        off=_body(reasoning={"enabled": False}),
        litellm=True,
    )


def _router_words(name: str, models: str, thinks: Any) -> ReasoningControl:
    wire = {"reasoning": {"effort": VALUE}}
    return ReasoningControl(
        name=name,
        models=rf"^openrouter/{models}",
        kind="word",
        on=_body(**wire),
        wire=wire,
        words=("low", "medium", "high"),
        thinks=thinks,
        off=None if thinks == "always" else _body(reasoning={"enabled": False}),
        litellm=True,
    )


def _none(name: str, models: str, why: str, thinks: Any, off: Mapping[str, Any] | None = None) -> ReasoningControl:
    return ReasoningControl(name=name, models=models, kind="none", why=why, thinks=thinks, off=off)


_NO_THINKING = _body(chat_template_kwargs={"enable_thinking": False})
_GEMINI = r"^(?:gemini|vertex_ai)/gemini-"

REASONING_CONTROLS: tuple[ReasoningControl, ...] = (
    _server("vLLM", r"^(?:hosted_vllm/|vllm:)", {"thinking_token_budget": VALUE}, _NO_THINKING),
    _server("SGLang", r"^sglang:", {"custom_params": {"thinking_budget": VALUE}}, _NO_THINKING),
    _server("llama.cpp", r"^llama\.cpp:", {"reasoning_budget_tokens": VALUE}, _body(reasoning_budget_tokens=0)),
    _router("Claude Opus 4 by OpenRouter", rf"anthropic/{_SMALL_OPUS}", 1024, "on request", "below", 32_000),
    _router("Claude up to 4.6 by OpenRouter", rf"anthropic/{_NUMBERED}", 1024, "on request", "below", 64_000),
    _router_words("Claude by OpenRouter", rf"anthropic/{_CLAUDE}", "on request"),
    _router_words("GPT by OpenRouter", r"openai/(?:o\d|gpt-[5-9](?!.*-chat)|gpt-oss)", "always"),
    _router_words("Grok by OpenRouter", r"x-ai/grok-3-mini", "always"),
    _router("Gemini 2.5 Pro by OpenRouter", r"google/gemini-2\.5-pro", 128, "by default"),
    _router("thinking models by OpenRouter", r"(?:google/gemini-2\.5|qwen/|alibaba/)", 1, "by name"),
    _claude("Claude Opus 4 on Bedrock", rf"^bedrock/.*{_SMALL_OPUS}", 32_000, bedrock=True),
    _claude("Claude up to 4.6 on Bedrock", rf"^bedrock/.*{_NUMBERED}", 64_000, bedrock=True),
    _claude_words("Claude 4.7 and 4.8 on Bedrock", rf"^bedrock/.*{_WORDED}", bedrock=True),
    _claude_words("Claude 5 on Bedrock", rf"^bedrock/.*{_ALWAYS}", bedrock=True, always=True),
    ReasoningControl(
        name="Nova 2",
        models=r"^bedrock/.*nova-2",
        kind="word",
        on=_EFFORT,
        wire={"additionalModelRequestFields": {"reasoningConfig": {"maxReasoningEffort": VALUE}}},
        words=("low", "medium", "high"),
        litellm=True,
    ),
    _claude("Claude Opus 4", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_SMALL_OPUS}", 32_000),
    _claude("Claude up to 4.6", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_NUMBERED}", 64_000),
    _claude_words("Claude 4.7 and 4.8", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_WORDED}"),
    _claude_words("Claude 5", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_ALWAYS}", always=True),
    _gemini("Gemini 2.5 Pro", _GEMINI + r"2\.5-pro", 128, 32_768, "always", off=False),
    _gemini("Gemini 2.5 Flash-Lite", _GEMINI + r"2\.5-flash-lite", 512, 24_576, "on request"),
    _gemini("Gemini 2.5 Flash", _GEMINI + r"2\.5-flash", 1, 24_576, "by default"),
    _levels("Gemini 3 Pro", _GEMINI + r"3-pro", "low", "high"),
    _levels("Gemini 3.1 Pro and later", _GEMINI + r"(?:3\.\d|[4-9][\d.]*)-pro", "low", "medium", "high"),
    _levels("Gemini 3.7 Flash and later", _GEMINI + r"(?:3\.[7-9]|[4-9][\d.]*)-flash", "low", "medium", "high"),
    _levels("Gemini 3 Flash", _GEMINI + r"3(?:\.\d)?-flash", "minimal", "low", "medium", "high"),
    _openai("OpenAI o", r"o\d(?:-|$)(?!.*deep-research)", ("low", "medium", "high"), "always"),
    _openai("GPT-5 Pro", r"gpt-5-pro", ("high",), "always"),
    _openai("GPT-5 Codex", r"gpt-5(?:\.\d)?-codex", ("low", "medium", "high"), "always"),
    _openai("GPT-5.x Pro", r"gpt-5\.\d-pro", ("medium", "high", "xhigh"), "always"),
    _openai("GPT-5", r"gpt-5(?!\.|.*-chat)", ("minimal", "low", "medium", "high"), "always"),
    _openai("GPT-5.1", r"gpt-5\.1(?!.*-chat)", ("low", "medium", "high"), "on request", off=True),
    _openai("GPT-5.2", r"gpt-5\.[2-4](?!.*-chat)", ("low", "medium", "high", "xhigh"), "on request", off=True),
    _openai("GPT-5.5", r"gpt-5\.[5-9](?!.*-chat)", ("low", "medium", "high", "xhigh"), "by default", off=True),
    _openai("GPT-6", r"gpt-[6-9](?!.*-chat)", ("low", "medium", "high", "xhigh"), "always"),
    _deepseek("DeepSeek reasoner", r"^deepseek/deepseek-(?:reasoner|r1)", "always", off=False),
    _deepseek("DeepSeek chat", r"^deepseek/deepseek-(?:chat|v3)", "on request"),
    _deepseek("DeepSeek V4", r"^deepseek/deepseek-(?:v[4-9]|flash)", "by default"),
    ReasoningControl(
        name="Grok 3 Mini",
        models=r"^xai/grok-3-mini",
        kind="word",
        on=_body(**_EFFORT),  # as a setting LiteLLM refuses it
        wire=_EFFORT,
        words=("low", "high"),
        thinks="always",
        litellm=True,
    ),
    _none("Grok", r"^xai/grok-(?:[4-9]|code|build)(?!.*non-reasoning)", "xAI takes no effort for it", "always"),
    _none(
        "Qwen by DashScope, streamed",
        r"^dashscope/(?:qwq|qwen3-\d|.*-thinking)",
        "DashScope lets it think in streamed calls only, and DSPy does not stream",
        "on request",
        _body(enable_thinking=False),
    ),
    ReasoningControl(
        name="Qwen by DashScope",
        models=r"^dashscope/qwen",
        kind="tokens",
        on=_body(enable_thinking=True, thinking_budget=VALUE),
        wire={"enable_thinking": True, "thinking_budget": VALUE},
        maximum=38_912,
        off=_body(enable_thinking=False),
        litellm=True,
    ),
    ReasoningControl(
        name="gpt-oss on Groq",
        models=r"^groq/openai/gpt-oss",
        kind="word",
        on={**_EFFORT, "allowed_openai_params": ["reasoning_effort"]},
        on_auto=_EFFORT,
        wire=_EFFORT,
        words=("low", "medium", "high"),
        thinks="always",
    ),
    _none("Qwen on Groq", r"^groq/qwen", "Groq can only switch its thinking off", "by name", _body(**_NO_EFFORT)),
    ReasoningControl(
        name="gpt-oss on Ollama",
        models=r"^ollama(?:_chat)?/gpt-oss",
        kind="word",
        on=_EFFORT,
        wire={"think": VALUE},
        wire_auto=_EFFORT,
        words=("low", "medium", "high"),
        thinks="always",
    ),
    _none(
        "Ollama",
        r"^ollama(?:_chat)?/",
        "Ollama switches thinking on and off, but takes no number and no effort for it",
        "by name",
        _NO_EFFORT,
    ),
    _none(
        "Magistral",
        r"^mistral/magistral",
        "Mistral takes no effort for it, and LiteLLM turns any word into a prompt",
        "always",
    ),
    _none("Together", r"^together_ai/", "LiteLLM sends no effort to Together", "by name"),
    _none("LM Studio", r"^lm_studio/", "LiteLLM sends no effort to LM Studio", "by name"),
)
"""Every family with a reasoning control, and those of which we know why they have none."""
