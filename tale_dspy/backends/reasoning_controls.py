"""How each family of models takes a reasoning budget, as data.

One row a family.

What a row says was sent to a recording server with both engines (tests/backends/test_reasoning_params_wire.py); what a
provider then does with it only the provider knows, and `tale doctor` asks it. Rows are tried from the top, those of the
user first (`tale_dspy.backends.control_registry`); a model without a row takes its budget in the prompt.

To add a family: put a row into `REASONING_CONTROLS`, above every row whose pattern fits its models too, with the page
it is published on; and a model string with its provider into `NATIVE` of the wire test, which then sends it all budgets
and words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tale_dspy.budget import EFFORT_WORDS
from tale_dspy.errors import UsageError

VALUE = "<value>"
"""Stands in a template for the number or word that is sent."""

LEVELS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
"""Thinking tokens an effort word stands for where a number is wanted: DSPy's table, which is its own choice as are
LiteLLM's (1024 to 16384) and inspect_ai's (2048 to 32000). A budget is given the highest word that fits in it."""

THINKERS = re.compile(
    r"qwen-?3(?!.*(?:instruct|coder))|qwq|deepseek-(?:r1|reasoner)|gpt-oss|magistral|-thinking|glm-(?:4\.[5-9]|[5-9])|kimi-k2\.\d|kimi-k[3-9]|minimax-m[1-9]"
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
    also: tuple[str, ...] = ()
    """Further settings of a call by which callers turn it, beside those of `on` and `off`; dotted paths."""
    why: str = ""
    """Why there is no control."""
    source: str = ""
    """Where this is published or was seen."""
    checked: str = ""
    """When it was last read there, as an ISO date."""

    def __post_init__(self) -> None:
        """Refuse a row that could not be sent; rows of users come from files."""
        try:
            re.compile(self.models)
        except (re.error, TypeError) as e:
            raise UsageError(f"reasoning control {self.name!r}: models is no regular expression: {e}") from e
        if self.kind not in ("tokens", "word", "none"):
            raise UsageError(f"reasoning control {self.name!r}: kind must be tokens, word or none, got {self.kind!r}")
        if self.kind != "none" and VALUE not in repr(self.on):
            raise UsageError(f"reasoning control {self.name!r}: on must hold {VALUE}, the place of the budget")
        if (self.kind == "word") != bool(self.words):
            raise UsageError(f"reasoning control {self.name!r}: a control of kind word, and only one, has words")
        if list(self.words) != sorted(set(self.words) & set(LEVELS), key=EFFORT_WORDS.index):
            raise UsageError(
                f"reasoning control {self.name!r}: words must be some of {', '.join(LEVELS)}, from the least to the "
                f"most, got {', '.join(map(str, self.words))}; none is what off sends"
            )


_CHECKED = "2026-11-29"
_THINKING = {"thinking": {"type": "enabled", "budget_tokens": VALUE}}
_THINKING_OFF = {"thinking": {"type": "disabled"}}
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


def _extra_body(**fields: Any) -> dict[str, Any]:
    """Return settings that LiteLLM puts into the body as they are."""
    return {"extra_body": fields}


def _claude_numbers(name: str, models: str, output: int, *, bedrock: bool = False) -> ReasoningControl:
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
        checked=_CHECKED,
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
        wire_off={},  # without an effort it does not think: nothing is sent
        drops=_SAMPLING,
        also=("output_config",),
        source="platform.claude.com/docs/en/build-with-claude/effort",
        checked=_CHECKED,
    )


def _openai_words(
    name: str, models: str, words: tuple[str, ...], thinks: Any, *, off: bool = False
) -> ReasoningControl:
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
        also=("reasoning",),  # of the Responses API
        source="platform.openai.com/docs/guides/reasoning",
        checked=_CHECKED,
    )


def _gemini_numbers(
    name: str, models: str, minimum: int, maximum: int, thinks: Any, *, off: bool = True
) -> ReasoningControl:
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
        wire_off={"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
        litellm=True,
        source="ai.google.dev/gemini-api/docs/thinking",
        checked=_CHECKED,
    )


def _gemini_levels(name: str, models: str, *words: str, litellm: bool = False) -> ReasoningControl:
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on={**_EFFORT, "allowed_openai_params": ["reasoning_effort"]} if litellm else _EFFORT,
        wire={"generationConfig": {"thinkingConfig": {"thinkingLevel": VALUE}}},
        words=words,
        thinks="always",
        litellm=litellm,
        source="ai.google.dev/gemini-api/docs/thinking",
        checked=_CHECKED,
    )


def _deepseek_words(name: str, models: str, thinks: Any, *, off: bool = True) -> ReasoningControl:
    wire = {"thinking": {"type": "enabled"}, "reasoning_effort": VALUE}
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on=_extra_body(**wire),  # of `reasoning_effort` LiteLLM keeps that there is one, and loses the word
        on_auto=_EFFORT,
        wire=wire,
        words=("low", "high", "max"),
        thinks=thinks,
        off=_NO_EFFORT if off else None,
        wire_off={"thinking": {"type": "disabled"}},
        source="api-docs.deepseek.com/guides/thinking_mode",
        checked=_CHECKED,
    )


def _server_numbers(
    name: str, models: str, wire: Mapping[str, Any], off: Mapping[str, Any], source: str, *also: str
) -> ReasoningControl:
    return ReasoningControl(
        name=name,
        models=models,
        kind="tokens",
        on=_extra_body(**wire),
        wire=wire,
        maximum=10**9,
        thinks="by name",
        off=off,
        litellm=True,
        also=also,
        source=source,
        checked=_CHECKED,
    )


def _router_numbers(
    name: str, models: str, minimum: int, thinks: Any, rule: Any = "shared", output: int | None = None
) -> ReasoningControl:
    wire = {"reasoning": {"max_tokens": VALUE}}
    return ReasoningControl(
        name=name,
        models=rf"^openrouter/{models}",
        kind="tokens",
        on=_extra_body(**wire),  # as `thinking` it would go out raw, which OpenRouter does not read
        wire=wire,
        minimum=minimum,
        rule=rule,
        output=output,
        thinks=thinks,
        off=_extra_body(reasoning={"enabled": False}),
        litellm=True,
        source="openrouter.ai/docs/use-cases/reasoning-tokens",
        checked=_CHECKED,
    )


def _router_words(
    name: str, models: str, thinks: Any, words: tuple[str, ...] = ("low", "medium", "high")
) -> ReasoningControl:
    wire = {"reasoning": {"effort": VALUE}}
    return ReasoningControl(
        name=name,
        models=rf"^openrouter/{models}",
        kind="word",
        on=_extra_body(**wire),
        wire=wire,
        words=words,
        thinks=thinks,
        off=None if thinks == "always" else _extra_body(reasoning={"enabled": False}),
        litellm=True,
        source="openrouter.ai/docs/use-cases/reasoning-tokens",
        checked=_CHECKED,
    )


def _grok_words(
    name: str, models: str, words: tuple[str, ...], thinks: Any = "always", off: Mapping[str, Any] | None = None
) -> ReasoningControl:
    return ReasoningControl(
        name=name,
        models=rf"^xai/grok-{models}",
        kind="word",
        on=_extra_body(**_EFFORT),  # as a setting LiteLLM refuses it
        wire=_EFFORT,
        words=words,
        thinks=thinks,
        off=off,
        litellm=True,
        source="docs.x.ai/docs/guides/reasoning",
        checked=_CHECKED,
    )


def _gpt_oss(name: str, models: str, source: str) -> ReasoningControl:
    return ReasoningControl(
        name=name,
        models=models,
        kind="word",
        on=_extra_body(**_EFFORT),
        wire=_EFFORT,
        words=("low", "medium", "high"),
        thinks="always",
        litellm=True,
        source=source,
        checked=_CHECKED,
    )


def _no_control(
    name: str, models: str, why: str, thinks: Any, off: Mapping[str, Any] | None = None, source: str = "", **more: Any
) -> ReasoningControl:
    return ReasoningControl(
        name=name, models=models, kind="none", why=why, thinks=thinks, off=off, source=source, checked=_CHECKED, **more
    )


_NO_THINKING = _extra_body(chat_template_kwargs={"enable_thinking": False})
_GEMINI = r"^(?:gemini|vertex_ai)/gemini-"

REASONING_CONTROLS: tuple[ReasoningControl, ...] = (
    _gpt_oss("gpt-oss on vLLM", r"^(?:hosted_vllm/|vllm:).*gpt-oss", "docs.vllm.ai/projects/recipes (GPT-OSS)"),
    _server_numbers(
        "vLLM",
        r"^(?:hosted_vllm/|vllm:)",
        {"thinking_token_budget": VALUE},
        _NO_THINKING,
        "docs.vllm.ai/en/latest/features/reasoning_outputs.html",
        "extra_body.chat_template_kwargs.thinking",  # of templates such as DeepSeek's
    ),
    _gpt_oss("gpt-oss on SGLang", r"^sglang:.*gpt-oss", "docs.sglang.io/basic_usage/gpt_oss.html"),
    _server_numbers(
        "SGLang",
        r"^sglang:",
        {"custom_params": {"thinking_budget": VALUE}},
        _NO_THINKING,
        "docs.sglang.io/docs/advanced_features/thinking_budget",
    ),
    _server_numbers(
        "llama.cpp",
        r"^llama\.cpp:",
        {"reasoning_budget_tokens": VALUE},
        _extra_body(reasoning_budget_tokens=0),
        "github.com/ggml-org/llama.cpp tools/server/README.md",
    ),
    _router_numbers("Claude Opus 4 by OpenRouter", rf"anthropic/{_SMALL_OPUS}", 1024, "on request", "below", 32_000),
    _router_numbers("Claude up to 4.6 by OpenRouter", rf"anthropic/{_NUMBERED}", 1024, "on request", "below", 64_000),
    _router_words("Claude by OpenRouter", rf"anthropic/{_CLAUDE}", "on request"),
    _router_words("GPT by OpenRouter", r"openai/(?:o\d|gpt-[5-9](?!.*-chat)|gpt-oss)", "always"),
    _router_words("Grok by OpenRouter", r"x-ai/grok-(?:3-mini|4\.[3-9](?!\d)|[5-9])", "always"),
    _router_numbers("Gemini 2.5 Pro by OpenRouter", r"google/gemini-2\.5-pro", 128, "by default"),
    _router_words("Gemini 3 by OpenRouter", r"google/gemini-[3-9]", "always"),
    _router_words(
        "DeepSeek, Kimi and GLM by OpenRouter",
        r"(?:deepseek/deepseek-(?:v[4-9]|v3\.[1-9]|r1)|moonshotai/kimi-k(?:2\.|2-thinking|[3-9])|z-ai/glm-(?:4\.[5-9]|[5-9]))",
        "by default",
    ),
    _router_numbers("thinking models by OpenRouter", r"(?:google/gemini-2\.5|qwen/|alibaba/)", 1, "by name"),
    _claude_numbers("Claude Opus 4 on Bedrock", rf"^bedrock/.*{_SMALL_OPUS}", 32_000, bedrock=True),
    _claude_numbers("Claude up to 4.6 on Bedrock", rf"^bedrock/.*{_NUMBERED}", 64_000, bedrock=True),
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
        source="docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html",
        checked=_CHECKED,
    ),
    _claude_numbers("Claude Opus 4", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_SMALL_OPUS}", 32_000),
    _claude_numbers("Claude up to 4.6", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_NUMBERED}", 64_000),
    _claude_words("Claude 4.7 and 4.8", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_WORDED}"),
    _claude_words("Claude 5", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_ALWAYS}", always=True),
    _gemini_numbers("Gemini 2.5 Pro", _GEMINI + r"2\.5-pro", 128, 32_768, "always", off=False),
    _gemini_numbers("Gemini 2.5 Flash-Lite", _GEMINI + r"2\.5-flash-lite", 512, 24_576, "on request"),
    _gemini_numbers("Gemini 2.5 Flash", _GEMINI + r"2\.5-flash", 1, 24_576, "by default"),
    _gemini_levels("Gemini 3 Pro", _GEMINI + r"3-pro", "low", "high"),
    _gemini_levels("Gemini 3.1 Pro and later", _GEMINI + r"(?:3\.\d|[4-9][\d.]*)-pro", "low", "medium", "high"),
    _gemini_levels("Gemini 3.7 Flash and later", _GEMINI + r"(?:3\.[7-9]|[4-9][\d.]*)-flash", "low", "medium", "high"),
    _gemini_levels("Gemini 3 Flash", _GEMINI + r"3(?:\.\d)?-flash", "minimal", "low", "medium", "high"),
    # Of names that are neither Pro nor Flash, DSPy's engine makes a thinking budget, which Gemini 3 and later refuse.
    _gemini_levels("Gemini 4 and later", _GEMINI + r"[4-9]", "low", "medium", "high", litellm=True),
    _openai_words("OpenAI o", r"o\d(?:-|$)(?!.*deep-research)", ("low", "medium", "high"), "always"),
    _openai_words("GPT-5 Pro", r"gpt-5-pro", ("high",), "always"),
    _openai_words("GPT-5.x Codex", r"gpt-5\.(?:1-codex-max|[2-9]-codex)", ("low", "medium", "high", "xhigh"), "always"),
    _openai_words("GPT-5 Codex", r"gpt-5(?:\.\d)?-codex", ("low", "medium", "high"), "always"),
    _openai_words("GPT-5.x Pro", r"gpt-5\.\d-pro", ("medium", "high", "xhigh"), "always"),
    _openai_words("GPT-5", r"gpt-5(?!\.|.*-chat)", ("minimal", "low", "medium", "high"), "always"),
    _openai_words("GPT-5.1", r"gpt-5\.1(?!.*-chat)", ("low", "medium", "high"), "on request", off=True),
    _openai_words("GPT-5.2", r"gpt-5\.[2-4](?!.*-chat)", ("low", "medium", "high", "xhigh"), "on request", off=True),
    _openai_words("GPT-5.5", r"gpt-5\.[5-9](?!.*-chat)", ("low", "medium", "high", "xhigh"), "by default", off=True),
    _openai_words("GPT-6", r"gpt-6-(?:sol|luna)", ("low", "medium", "high", "xhigh", "max"), "by default", off=True),
    _openai_words("GPT-6.1 and later", r"gpt-[6-9](?!.*-chat)", ("low", "medium", "high", "xhigh", "max"), "always"),
    _deepseek_words("DeepSeek reasoner", r"^deepseek/deepseek-(?:reasoner|r1)", "always", off=False),
    _deepseek_words("DeepSeek chat", r"^deepseek/deepseek-(?:chat|v3)", "on request"),
    _deepseek_words("DeepSeek V4", r"^deepseek/deepseek-(?:v[4-9]|flash)", "by default"),
    _grok_words("Grok 3 Mini", r"3-mini", ("low", "high")),
    _grok_words("Grok 4.3", r"4\.3(?!\d)", ("low", "medium", "high"), "by default", _extra_body(**_NO_EFFORT)),
    _grok_words("Grok 4.5", r"4\.[45](?!\d)", ("low", "medium", "high")),
    _grok_words(
        "Grok 4.6 and later", r"(?:4\.[6-9](?!\d)|[5-9])(?!.*non-reasoning)", ("low", "medium", "high", "xhigh")
    ),
    _no_control(
        "Grok 4",
        r"^xai/grok-(?:4|code|build)(?!.*non-reasoning)",
        "xAI takes no effort for it",
        "always",
        source="docs.x.ai/docs/guides/reasoning",
    ),
    ReasoningControl(
        name="Kimi K3",
        models=r"^moonshot/kimi-k[3-9]",
        kind="word",
        on=_extra_body(**_EFFORT),
        wire=_EFFORT,
        words=("low", "high", "max"),
        thinks="always",
        litellm=True,
        source="LiteLLM's model map, reasoning_effort_levels",
        checked=_CHECKED,
    ),
    _no_control(
        "Kimi K2 Thinking",
        r"^moonshot/kimi-k2-thinking",
        "Moonshot takes no effort and no number for it",
        "always",
        source="platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model",
    ),
    _no_control(
        "Kimi K2.5 to K2.7",
        r"^moonshot/kimi-k2\.",
        "Moonshot can only switch its thinking off",
        "by default",
        _extra_body(thinking={"type": "disabled"}),
        "platform.moonshot.ai/docs/api/chat",
    ),
    _no_control(
        "GLM",
        r"^zai/glm-(?:4\.[5-9]|[5-9])",
        "Z.ai can only switch its thinking off",
        "by default",
        _extra_body(thinking={"type": "disabled"}),
        "docs.z.ai/guides/capabilities/thinking-mode",
    ),
    _no_control(
        "Qwen by DashScope, streamed",
        r"^dashscope/(?:qwq|qwen3-\d|.*-thinking)",
        "DashScope lets it think in streamed calls only, and DSPy does not stream",
        "on request",
        _extra_body(enable_thinking=False),
        "alibabacloud.com/help/en/model-studio/deep-thinking",
    ),
    ReasoningControl(
        name="Qwen by DashScope",
        models=r"^dashscope/qwen",
        kind="tokens",
        on=_extra_body(enable_thinking=True, thinking_budget=VALUE),
        wire={"enable_thinking": True, "thinking_budget": VALUE},
        maximum=38_912,
        off=_extra_body(enable_thinking=False),
        litellm=True,
        source="alibabacloud.com/help/en/model-studio/deep-thinking",
        checked=_CHECKED,
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
        source="console.groq.com/docs/reasoning",
        checked=_CHECKED,
    ),
    _gpt_oss("gpt-oss on Cerebras", r"^cerebras/gpt-oss", "inference-docs.cerebras.ai/capabilities/reasoning"),
    _no_control(
        "Qwen on Groq",
        r"^groq/qwen",
        "Groq can only switch its thinking off",
        "by name",
        _extra_body(**_NO_EFFORT),
        "console.groq.com/docs/reasoning",
    ),
    ReasoningControl(
        name="gpt-oss on Ollama",
        models=r"^ollama(?:_chat)?/gpt-oss",
        kind="word",
        on=_EFFORT,
        wire={"think": VALUE},
        wire_auto=_EFFORT,
        words=("low", "medium", "high"),
        thinks="always",
        source="docs.ollama.com/capabilities/thinking",
        checked=_CHECKED,
    ),
    _no_control(
        "Ollama",
        r"^ollama(?:_chat)?/",
        "Ollama switches thinking on and off, but takes no number and no effort for it",
        "by name",
        _NO_EFFORT,
        "docs.ollama.com/capabilities/thinking",
        also=("think", "extra_body.think"),
    ),
    _no_control(
        "Magistral",
        r"^mistral/magistral",
        "Mistral takes no effort for it, and LiteLLM turns any word into a prompt",
        "always",
        source="docs.mistral.ai/capabilities/reasoning",
    ),
    _no_control(
        "Together", r"^together_ai/", "LiteLLM sends no effort to Together", "by name", source="LiteLLM 1.106.2"
    ),
    _no_control(
        "LM Studio", r"^lm_studio/", "LiteLLM sends no effort to LM Studio", "by name", source="LiteLLM 1.106.2"
    ),
)
"""Every family with a reasoning control, and those of which we know why they have none."""
