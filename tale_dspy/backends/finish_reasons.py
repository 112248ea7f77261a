"""The words providers end a reply with, and their few meanings here.

One table serves every engine.

Providers and servers spell one meaning in many ways, and LiteLLM and DSPy each map a part of them and call the rest
`stop`, so that a cut reply passes for a whole one (camel-ai/camel#4266, UKGovernmentBEIS/inspect_ai#5143).
"""

from typing import Literal

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "error"]

FINISH_REASONS: dict[str, FinishReason] = {
    **dict.fromkeys(
        (
            "length",  # OpenAI, vLLM, Ollama
            "max_tokens",  # Anthropic, Gemini (MAX_TOKENS), Cohere
            "model_length",  # Mistral
            "max_output_tokens",  # OpenAI's Responses API
            "max_completion_tokens",
            "max_length",
            "token_limit",
            "model_context_window_exceeded",  # Anthropic
            "compaction",  # Anthropic
        ),
        "length",
    ),
    **dict.fromkeys(
        (
            "content_filter",  # OpenAI, Azure
            "content_filtered",  # Bedrock
            "content-filter",
            "refusal",  # Anthropic
            "guardrail_intervened",  # Bedrock
            "sensitive",  # Zhipu
            "error_toxic",  # Cohere
            # Gemini
            "safety",
            "recitation",
            "language",
            "blocklist",
            "prohibited_content",
            "spii",
            "image_safety",
        ),
        "content_filter",
    ),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call", "pause_turn"), "tool_calls"),
    **dict.fromkeys(
        (
            "error",  # OpenRouter
            "network_error",  # Zhipu
            "malformed_response",
            "malformed_function_call",  # Gemini
            "malformed_model_output",  # Bedrock
            "insufficient_system_resource",  # DeepSeek
            "abort",  # vLLM, SGLang
            *("aborted", "cancelled", "canceled", "timeout"),
        ),
        "error",
    ),
}
"""Lower-case word -> meaning; every other word is a reply that is whole."""


def normalize_finish_reason(*words: object) -> FinishReason | None:
    """Return what the words for the end of a reply mean; None if there is none.

    Args:
        *words: As the engine maps it, and as the provider wrote it; the first that says more than `stop` counts.
    """
    reported = [word.strip().lower() for word in words if isinstance(word, str) and word.strip()]
    meanings: list[FinishReason] = [FINISH_REASONS.get(word, "stop") for word in reported]
    for meaning in meanings:
        if meaning != "stop":
            return meaning
    return "stop" if reported else None
