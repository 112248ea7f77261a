"""Rows of `reasoning_controls` that several families share.

Each function makes the rows of one way to take a budget.
"""

from collections.abc import Mapping
from typing import Any

from tale_dspy.backends.reasoning_control import VALUE, ReasoningControl

CHECKED = "2026-11-29"
"""When the sources of the rows were last read."""
_THINKING = {"thinking": {"type": "enabled", "budget_tokens": VALUE}}
_THINKING_OFF = {"thinking": {"type": "disabled"}}
_SAMPLING = ("temperature", "top_p", "top_k")
_OPENAI = r"^(?:(?:openai|azure)/)?"
EFFORT = {"reasoning_effort": VALUE}
_RESPONSES = {"reasoning": {"effort": VALUE}}
NO_EFFORT = {"reasoning_effort": "none"}


def extra_body(**fields: Any) -> dict[str, Any]:
    """Return settings that LiteLLM puts into the body as they are."""
    return {"extra_body": fields}


def claude_numbers(name: str, models: str, output: int, *, bedrock: bool = False) -> ReasoningControl:
    """Return a row of Claude that takes `thinking.budget_tokens`.

    It serves Anthropic's own API, or Bedrock.
    """
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
        off=_THINKING_OFF,
        wire_off={"additionalModelRequestFields": _THINKING_OFF} if bedrock else _THINKING_OFF,
        drops=_SAMPLING,
        litellm=True,
        source="platform.claude.com/docs/en/build-with-claude/extended-thinking",
        checked=CHECKED,
    )


def claude_words(name: str, models: str, *, bedrock: bool = False, always: bool = False) -> ReasoningControl:
    """Return a row of Claude that takes an effort word."""
    effort = {"output_config": {"effort": VALUE}}
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on=EFFORT,
        wire={"additionalModelRequestFields": effort} if bedrock else effort,
        words=("low", "medium", "high", "xhigh", "max"),
        thinks="always" if always else "on request",
        off=None if always else NO_EFFORT,
        wire_off={},  # without an effort it does not think: nothing is sent
        drops=_SAMPLING,
        also=("output_config",),
        source="platform.claude.com/docs/en/build-with-claude/effort",
        checked=CHECKED,
    )


def openai_words(name: str, models: str, words: tuple[str, ...], thinks: Any, *, off: bool = False) -> ReasoningControl:
    """Return a row of OpenAI's reasoning models: `reasoning_effort`."""
    return ReasoningControl(
        name=name,
        models=_OPENAI + models,
        kind="word",
        on=EFFORT,
        wire=EFFORT,
        wire_responses=_RESPONSES,
        words=words,
        thinks=thinks,
        off=NO_EFFORT if off else None,
        drops=("temperature", "top_p", "presence_penalty", "frequency_penalty"),
        also=("reasoning",),  # of the Responses API
        source="platform.openai.com/docs/guides/reasoning",
        checked=CHECKED,
    )


def gemini_numbers(
    name: str, models: str, minimum: int, maximum: int, thinks: Any, *, off: bool = True
) -> ReasoningControl:
    """Return a row of Gemini that takes a thinking budget in tokens."""
    return ReasoningControl(
        name=name,
        models=models,
        kind="tokens",
        on={**_THINKING, "allowed_openai_params": ["thinking"]},  # else LiteLLM refuses it of one not in its list
        wire={"generationConfig": {"thinkingConfig": {"thinkingBudget": VALUE}}},
        minimum=minimum,
        maximum=maximum,
        thinks=thinks,
        off=NO_EFFORT if off else None,
        wire_off={"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
        litellm=True,
        source="ai.google.dev/gemini-api/docs/thinking",
        checked=CHECKED,
    )


def gemini_levels(name: str, models: str, *words: str, litellm: bool = False) -> ReasoningControl:
    """Return a row of Gemini that takes a thinking level."""
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on={**EFFORT, "allowed_openai_params": ["reasoning_effort"]} if litellm else EFFORT,
        wire={"generationConfig": {"thinkingConfig": {"thinkingLevel": VALUE}}},
        words=words,
        thinks="always",
        litellm=litellm,
        source="ai.google.dev/gemini-api/docs/thinking",
        checked=CHECKED,
    )


def deepseek_words(name: str, models: str, thinks: Any, *, off: bool = True) -> ReasoningControl:
    """Return a row of DeepSeek's own API."""
    wire = {"thinking": {"type": "enabled"}, "reasoning_effort": VALUE}
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on=extra_body(**wire),  # of `reasoning_effort` LiteLLM keeps that there is one, and loses the word
        on_auto=EFFORT,
        wire=wire,
        words=("low", "high", "max"),
        thinks=thinks,
        off=NO_EFFORT if off else None,
        wire_off={"thinking": {"type": "disabled"}},
        source="api-docs.deepseek.com/guides/thinking_mode",
        checked=CHECKED,
    )


def server_numbers(
    name: str, models: str, wire: Mapping[str, Any], off: Mapping[str, Any], source: str, *also: str
) -> ReasoningControl:
    """Return a row of a server of one's own that takes a number of tokens."""
    return ReasoningControl(
        name=name,
        models=models,
        kind="tokens",
        on=extra_body(**wire),
        wire=wire,
        maximum=10**9,
        thinks="by name",
        off=off,
        litellm=True,
        also=also,
        source=source,
        checked=CHECKED,
    )


def router_numbers(
    name: str, models: str, minimum: int, thinks: Any, rule: Any = "shared", output: int | None = None
) -> ReasoningControl:
    """Return a row of a router that hands on a number of tokens."""
    wire = {"reasoning": {"max_tokens": VALUE}}
    return ReasoningControl(
        name=name,
        models=rf"^openrouter/{models}",
        kind="tokens",
        on=extra_body(**wire),  # as `thinking` it would go out raw, which OpenRouter does not read
        wire=wire,
        minimum=minimum,
        rule=rule,
        output=output,
        thinks=thinks,
        off=extra_body(reasoning={"enabled": False}),
        litellm=True,
        source="openrouter.ai/docs/use-cases/reasoning-tokens",
        checked=CHECKED,
    )


def router_words(
    name: str, models: str, thinks: Any, words: tuple[str, ...] = ("low", "medium", "high")
) -> ReasoningControl:
    """Return a row of a router that hands on an effort word."""
    wire = {"reasoning": {"effort": VALUE}}
    return ReasoningControl(
        name=name,
        models=rf"^openrouter/{models}",
        kind="word",
        on=extra_body(**wire),
        wire=wire,
        words=words,
        thinks=thinks,
        off=None if thinks == "always" else extra_body(reasoning={"enabled": False}),
        litellm=True,
        source="openrouter.ai/docs/use-cases/reasoning-tokens",
        checked=CHECKED,
    )


def effort_words(
    name: str,
    models: str,
    words: tuple[str, ...],
    source: str,
    thinks: Any = "always",
    off: Mapping[str, Any] | None = None,
) -> ReasoningControl:
    """Return a row of models that take `reasoning_effort` in the body alone."""
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on=extra_body(**EFFORT),  # as a setting LiteLLM refuses it
        wire=EFFORT,
        words=words,
        thinks=thinks,
        off=off,
        litellm=True,
        source=source,
        checked=CHECKED,
    )


def grok_words(name: str, models: str, words: tuple[str, ...], *more: Any) -> ReasoningControl:
    """Return a row of Grok: `reasoning_effort`."""
    return effort_words(name, rf"^xai/grok-{models}", words, "docs.x.ai/docs/guides/reasoning", *more)


def gpt_oss(name: str, models: str, source: str) -> ReasoningControl:
    """Return a row of gpt-oss, which has three effort words and always thinks."""
    return effort_words(name, models, ("low", "medium", "high"), source)


def no_control(
    name: str, models: str, why: str, thinks: Any, off: Mapping[str, Any] | None = None, source: str = "", **more: Any
) -> ReasoningControl:
    """Return a row of models without a reasoning control, and why."""
    return ReasoningControl(
        name=name, models=models, kind="none", why=why, thinks=thinks, off=off, source=source, checked=CHECKED, **more
    )
