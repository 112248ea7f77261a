"""How each family of models takes a reasoning budget, as one row a family.

What a row says was sent to a recording server with both engines (tests/backends/test_reasoning_params_wire.py); what a
provider then does with it only the provider knows, and `tale doctor` asks it. Rows are tried from the top, those of the
user first (`tale_dspy.backends.control_registry`); a model without a row takes its budget in the prompt.

To add a family: put a row into `REASONING_CONTROLS`, above every row whose pattern fits its models too, with the page
it is published on; and a model string with its provider into `NATIVE` of the wire test, which then sends it all budgets
and words.
"""

from tale_dspy.backends.control_templates import (
    CHECKED,
    EFFORT,
    NO_EFFORT,
    claude_numbers,
    claude_words,
    deepseek_words,
    effort_words,
    extra_body,
    gemini_levels,
    gemini_numbers,
    gpt_oss,
    grok_words,
    no_control,
    openai_words,
    router_numbers,
    router_words,
    server_numbers,
)
from tale_dspy.backends.reasoning_control import VALUE, ReasoningControl

_CLAUDE = r"claude-"
_NUMBERED = r"claude-(?:3[-.]7|(?:sonnet|opus|haiku)-4(?:[-.][0-6](?!\d))?(?![-.][7-9](?!\d)))"
"""Claude 3.7 to 4.6; a date may follow."""
_SMALL_OPUS = r"claude-opus-4(?:[-.][01](?!\d))?(?![-.]\d(?!\d))"
"""Claude Opus 4 and 4.1, which write at most 32,000 tokens."""
_WORDED = r"claude-(?:sonnet|opus|haiku)-4[-.][7-9](?!\d)"
_ALWAYS = r"claude-(?:(?:sonnet|opus|haiku)-[5-9]|fable|mythos)"


_NO_THINKING = extra_body(chat_template_kwargs={"enable_thinking": False})
_GEMINI = r"^(?:gemini|vertex_ai)/gemini-"

REASONING_CONTROLS: tuple[ReasoningControl, ...] = (
    gpt_oss("gpt-oss on vLLM", r"^(?:hosted_vllm/|vllm:).*gpt-oss", "docs.vllm.ai/projects/recipes (GPT-OSS)"),
    server_numbers(
        "vLLM",
        r"^(?:hosted_vllm/|vllm:)",
        {"thinking_token_budget": VALUE},
        _NO_THINKING,
        "docs.vllm.ai/en/latest/features/reasoning_outputs.html",
        "extra_body.chat_template_kwargs.thinking",  # of templates such as DeepSeek's
    ),
    gpt_oss("gpt-oss on SGLang", r"^sglang:.*gpt-oss", "docs.sglang.io/basic_usage/gpt_oss.html"),
    server_numbers(
        "SGLang",
        r"^sglang:",
        {"custom_params": {"thinking_budget": VALUE}},
        _NO_THINKING,
        "docs.sglang.io/docs/advanced_features/thinking_budget",
    ),
    server_numbers(
        "llama.cpp",
        r"^llama\.cpp:",
        {"reasoning_budget_tokens": VALUE},
        extra_body(reasoning_budget_tokens=0),
        "github.com/ggml-org/llama.cpp tools/server/README.md",
    ),
    router_numbers("Claude Opus 4 by OpenRouter", rf"anthropic/{_SMALL_OPUS}", 1024, "on request", "below", 32_000),
    router_numbers("Claude up to 4.6 by OpenRouter", rf"anthropic/{_NUMBERED}", 1024, "on request", "below", 64_000),
    router_words("Claude by OpenRouter", rf"anthropic/{_CLAUDE}", "on request"),
    router_words("GPT by OpenRouter", r"openai/(?:o\d|gpt-[5-9](?!.*-chat)|gpt-oss)", "always"),
    router_words("Grok by OpenRouter", r"x-ai/grok-(?:3-mini|4\.[3-9](?!\d)|[5-9])", "always"),
    router_numbers("Gemini 2.5 Pro by OpenRouter", r"google/gemini-2\.5-pro", 128, "by default"),
    router_words("Gemini 3 by OpenRouter", r"google/gemini-[3-9]", "always"),
    router_words(
        "DeepSeek, Kimi and GLM by OpenRouter",
        r"(?:deepseek/deepseek-(?:v[4-9]|v3\.[1-9]|r1)|moonshotai/kimi-k(?:2\.|2-thinking|[3-9])|z-ai/glm-(?:4\.[5-9]|[5-9]))",
        "by default",
    ),
    router_numbers("thinking models by OpenRouter", r"(?:google/gemini-2\.5|qwen/|alibaba/)", 1, "by name"),
    claude_numbers("Claude Opus 4 on Bedrock", rf"^bedrock/.*{_SMALL_OPUS}", 32_000, bedrock=True),
    claude_numbers("Claude up to 4.6 on Bedrock", rf"^bedrock/.*{_NUMBERED}", 64_000, bedrock=True),
    claude_words("Claude 4.7 and 4.8 on Bedrock", rf"^bedrock/.*{_WORDED}", bedrock=True),
    claude_words("Claude 5 on Bedrock", rf"^bedrock/.*{_ALWAYS}", bedrock=True, always=True),
    ReasoningControl(
        name="Nova 2",
        models=r"^bedrock/.*nova-2",
        kind="word",
        on=EFFORT,
        wire={"additionalModelRequestFields": {"reasoningConfig": {"maxReasoningEffort": VALUE}}},
        words=("low", "medium", "high"),
        litellm=True,
        source="docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html",
        checked=CHECKED,
    ),
    claude_numbers("Claude Opus 4", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_SMALL_OPUS}", 32_000),
    claude_numbers("Claude up to 4.6", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_NUMBERED}", 64_000),
    claude_words("Claude 4.7 and 4.8", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_WORDED}"),
    claude_words("Claude 5", rf"^(?:(?:anthropic|vertex_ai|azure_ai)/)?{_ALWAYS}", always=True),
    gemini_numbers("Gemini 2.5 Pro", _GEMINI + r"2\.5-pro", 128, 32_768, "always", off=False),
    gemini_numbers("Gemini 2.5 Flash-Lite", _GEMINI + r"2\.5-flash-lite", 512, 24_576, "on request"),
    gemini_numbers("Gemini 2.5 Flash", _GEMINI + r"2\.5-flash", 1, 24_576, "by default"),
    gemini_levels("Gemini 3 Pro", _GEMINI + r"3-pro", "low", "high"),
    gemini_levels("Gemini 3.1 Pro and later", _GEMINI + r"(?:3\.\d|[4-9][\d.]*)-pro", "low", "medium", "high"),
    gemini_levels("Gemini 3.7 Flash and later", _GEMINI + r"(?:3\.[7-9]|[4-9][\d.]*)-flash", "low", "medium", "high"),
    gemini_levels("Gemini 3 Flash", _GEMINI + r"3(?:\.\d)?-flash", "minimal", "low", "medium", "high"),
    # Of names that are neither Pro nor Flash, DSPy's engine makes a thinking budget, which Gemini 3 and later refuse.
    gemini_levels("Gemini 4 and later", _GEMINI + r"[4-9]", "low", "medium", "high", litellm=True),
    openai_words("OpenAI o", r"o\d(?:-|$)(?!.*deep-research)", ("low", "medium", "high"), "always"),
    openai_words("GPT-5 Pro", r"gpt-5-pro", ("high",), "always"),
    openai_words("GPT-5.x Codex", r"gpt-5\.(?:1-codex-max|[2-9]-codex)", ("low", "medium", "high", "xhigh"), "always"),
    openai_words("GPT-5 Codex", r"gpt-5(?:\.\d)?-codex", ("low", "medium", "high"), "always"),
    openai_words("GPT-5.x Pro", r"gpt-5\.\d-pro", ("medium", "high", "xhigh"), "always"),
    openai_words("GPT-5", r"gpt-5(?!\.|.*-chat)", ("minimal", "low", "medium", "high"), "always"),
    openai_words("GPT-5.1", r"gpt-5\.1(?!.*-chat)", ("low", "medium", "high"), "on request", off=True),
    openai_words("GPT-5.2", r"gpt-5\.[2-4](?!.*-chat)", ("low", "medium", "high", "xhigh"), "on request", off=True),
    openai_words("GPT-5.5", r"gpt-5\.[5-9](?!.*-chat)", ("low", "medium", "high", "xhigh"), "by default", off=True),
    openai_words("GPT-6", r"gpt-6-(?:sol|luna)", ("low", "medium", "high", "xhigh", "max"), "by default", off=True),
    openai_words("GPT-6.1 and later", r"gpt-[6-9](?!.*-chat)", ("low", "medium", "high", "xhigh", "max"), "always"),
    deepseek_words("DeepSeek reasoner", r"^deepseek/deepseek-(?:reasoner|r1)", "always", off=False),
    deepseek_words("DeepSeek chat", r"^deepseek/deepseek-(?:chat|v3)", "on request"),
    deepseek_words("DeepSeek V4", r"^deepseek/deepseek-(?:v[4-9]|flash)", "by default"),
    grok_words("Grok 3 Mini", r"3-mini", ("low", "high")),
    grok_words("Grok 4.3", r"4\.3(?!\d)", ("low", "medium", "high"), "by default", extra_body(**NO_EFFORT)),
    grok_words("Grok 4.5", r"4\.[45](?!\d)", ("low", "medium", "high")),
    grok_words(
        "Grok 4.6 and later", r"(?:4\.[6-9](?!\d)|[5-9])(?!.*non-reasoning)", ("low", "medium", "high", "xhigh")
    ),
    no_control(
        "Grok 4",
        r"^xai/grok-(?:4|code|build)(?!.*non-reasoning)",
        "xAI takes no effort for it",
        "always",
        source="docs.x.ai/docs/guides/reasoning",
    ),
    effort_words(
        "Kimi K3",
        r"^moonshot/kimi-k[3-9]",
        ("low", "high", "max"),
        "LiteLLM's model map, reasoning_effort_levels",
    ),
    no_control(
        "Kimi K2 Thinking",
        r"^moonshot/kimi-k2-thinking",
        "Moonshot takes no effort and no number for it",
        "always",
        source="platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model",
    ),
    no_control(
        "Kimi K2.5 to K2.7",
        r"^moonshot/kimi-k2\.",
        "Moonshot can only switch its thinking off",
        "by default",
        extra_body(thinking={"type": "disabled"}),
        "platform.moonshot.ai/docs/api/chat",
    ),
    no_control(
        "GLM",
        r"^zai/glm-(?:4\.[5-9]|[5-9])",
        "Z.ai can only switch its thinking off",
        "by default",
        extra_body(thinking={"type": "disabled"}),
        "docs.z.ai/guides/capabilities/thinking-mode",
    ),
    no_control(
        "Qwen by DashScope, streamed",
        r"^dashscope/(?:qwq|qwen3-\d|.*-thinking)",
        "DashScope lets it think in streamed calls only, and DSPy does not stream",
        "on request",
        extra_body(enable_thinking=False),
        "alibabacloud.com/help/en/model-studio/deep-thinking",
    ),
    ReasoningControl(
        name="Qwen by DashScope",
        models=r"^dashscope/qwen",
        kind="tokens",
        on=extra_body(enable_thinking=True, thinking_budget=VALUE),
        wire={"enable_thinking": True, "thinking_budget": VALUE},
        maximum=38_912,
        off=extra_body(enable_thinking=False),
        litellm=True,
        source="alibabacloud.com/help/en/model-studio/deep-thinking",
        checked=CHECKED,
    ),
    ReasoningControl(
        name="gpt-oss on Groq",
        models=r"^groq/openai/gpt-oss",
        kind="word",
        on={**EFFORT, "allowed_openai_params": ["reasoning_effort"]},
        on_auto=EFFORT,
        wire=EFFORT,
        words=("low", "medium", "high"),
        thinks="always",
        source="console.groq.com/docs/reasoning",
        checked=CHECKED,
    ),
    gpt_oss("gpt-oss on Cerebras", r"^cerebras/gpt-oss", "inference-docs.cerebras.ai/capabilities/reasoning"),
    no_control(
        "Qwen on Groq",
        r"^groq/qwen",
        "Groq can only switch its thinking off",
        "by name",
        extra_body(**NO_EFFORT),
        "console.groq.com/docs/reasoning",
    ),
    ReasoningControl(
        name="gpt-oss on Ollama",
        models=r"^ollama(?:_chat)?/gpt-oss",
        kind="word",
        on=EFFORT,
        wire={"think": VALUE},
        wire_auto=EFFORT,
        words=("low", "medium", "high"),
        thinks="always",
        source="docs.ollama.com/capabilities/thinking",
        checked=CHECKED,
    ),
    no_control(
        "Ollama",
        r"^ollama(?:_chat)?/",
        "Ollama switches thinking on and off, but takes no number and no effort for it",
        "by name",
        NO_EFFORT,
        "docs.ollama.com/capabilities/thinking",
        also=("think", "extra_body.think"),
    ),
    no_control(
        "Magistral",
        r"^mistral/magistral",
        "Mistral takes no effort for it, and LiteLLM turns any word into a prompt",
        "always",
        source="docs.mistral.ai/capabilities/reasoning",
    ),
    no_control(
        "Together", r"^together_ai/", "LiteLLM sends no effort to Together", "by name", source="LiteLLM 1.106.2"
    ),
    no_control(
        "LM Studio", r"^lm_studio/", "LiteLLM sends no effort to LM Studio", "by name", source="LiteLLM 1.106.2"
    ),
)
"""Every family with a reasoning control, and those of which we know why they have none."""
