"""The wire formats of providers.

Where the prompt stands in a request, and what a reply looks like.

Each is as its provider documents it, no more of it than clients read.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tale_dspy.protocols import JsonObject
from tale_dspy.testing.messages import Reply, count_words, text_of

Body = Mapping[str, Any]


@dataclass(frozen=True)
class WireDialect:
    """One wire format."""

    path: str
    """How the path of its requests ends."""
    prompt: Callable[[Body], str]
    """Text of the last thing the user said."""
    document: Callable[[Body, Reply], JsonObject]
    """The body of a reply."""


def _last_message(body: Body) -> str:
    users = [m for m in body.get("messages", ()) if m.get("role") == "user"]
    return text_of(users[-1].get("content")) if users else ""


def _last_input(body: Body) -> str:
    items = body.get("input", "")
    if isinstance(items, str):
        return items
    users = [item for item in items if item.get("role") == "user"]
    return text_of(users[-1].get("content")) if users else ""


def _last_content(body: Body) -> str:
    users = [c for c in body.get("contents", ()) if c.get("role", "user") == "user"]
    return text_of(users[-1].get("parts")) if users else ""


def _visible_tokens(reply: Reply) -> int:
    return reply.tokens - count_words(reply.reasoning)


def _prompt_tokens(prompt: str, reply: Reply) -> int:
    return count_words(prompt) if reply.prompt_tokens is None else reply.prompt_tokens


def _anthropic_document(body: Body, reply: Reply) -> JsonObject:
    """Anthropic: thinking is a block of its own, and its tokens are part of the output tokens."""
    thought = [] if reply.reasoning is None else [{"type": "thinking", "thinking": reply.reasoning, "signature": "sig"}]
    written = [] if reply.text is None else [{"type": "text", "text": reply.text}]
    usage = {"input_tokens": _prompt_tokens(_last_message(body), reply), "output_tokens": reply.tokens}
    if reply.reasoning is not None:
        usage |= {"output_tokens_details": {"thinking_tokens": count_words(reply.reasoning)}}  # type: ignore[dict-item]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "scripted"),
        "content": thought + written,
        "stop_reason": "max_tokens" if reply.finish_reason == "length" else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def _responses_document(body: Body, reply: Reply) -> JsonObject:
    """OpenAI's Responses API: the thinking is an item without its text."""
    cut = reply.finish_reason == "length"
    items: list[JsonObject] = [{"type": "reasoning", "id": "rs_1", "summary": []}]
    if reply.text is not None:
        content = [{"type": "output_text", "text": reply.text, "annotations": []}]
        items.append({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content})
    prompt_tokens = _prompt_tokens(_last_input(body), reply)
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "model": body.get("model", "scripted"),
        "output": items,
        "usage": {
            "input_tokens": prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": reply.tokens,
            "output_tokens_details": {"reasoning_tokens": count_words(reply.reasoning)},
            "total_tokens": prompt_tokens + reply.tokens,
        },
    }


def _gemini_document(body: Body, reply: Reply) -> JsonObject:
    """Gemini: thoughts are counted beside the candidates' tokens, not among them."""
    parts = [] if reply.reasoning is None else [{"text": reply.reasoning, "thought": True}]
    parts += [] if reply.text is None else [{"text": reply.text}]
    prompt_tokens, thought = _prompt_tokens(_last_content(body), reply), count_words(reply.reasoning)
    reason = "MAX_TOKENS" if reply.finish_reason == "length" else "STOP"
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0}],
        "usageMetadata": {
            "promptTokenCount": prompt_tokens,
            "candidatesTokenCount": _visible_tokens(reply),
            "thoughtsTokenCount": thought,
            "totalTokenCount": prompt_tokens + reply.tokens,
        },
        "modelVersion": "scripted",
    }


def _ollama_document(body: Body, reply: Reply) -> JsonObject:
    """Ollama: one count for thinking and text."""
    message = {"role": "assistant", "content": reply.text or ""}
    if reply.reasoning is not None:
        message["thinking"] = reply.reasoning
    return {
        "model": body.get("model", "scripted"),
        "created_at": "2025-01-01T00:00:00Z",
        "message": message,
        "done": True,
        "done_reason": reply.finish_reason,
        "prompt_eval_count": _prompt_tokens(_last_message(body), reply),
        "eval_count": reply.tokens,
    }


def _bedrock_document(body: Body, reply: Reply) -> JsonObject:
    """Bedrock's Converse."""
    thought = [] if reply.reasoning is None else [{"reasoningContent": {"reasoningText": {"text": reply.reasoning}}}]
    written = [] if reply.text is None else [{"text": reply.text}]
    prompt_tokens = _prompt_tokens(_last_message(body), reply)
    return {
        "output": {"message": {"role": "assistant", "content": thought + written}},
        "stopReason": "max_tokens" if reply.finish_reason == "length" else "end_turn",
        "usage": {
            "inputTokens": prompt_tokens,
            "outputTokens": reply.tokens,
            "totalTokens": prompt_tokens + reply.tokens,
        },
        "metrics": {"latencyMs": 1},
    }


def _chat_document(body: Body, reply: Reply) -> JsonObject:
    """OpenAI's chat completions, as everybody else speaks them too."""
    message: JsonObject = {"role": "assistant", "content": reply.text}
    if reply.reasoning is not None:
        message["reasoning_content"] = reply.reasoning
    prompt_tokens = _prompt_tokens(_last_message(body), reply)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model", "scripted"),
        "service_tier": "default",
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": reply.tokens,
            "total_tokens": prompt_tokens + reply.tokens,
            "completion_tokens_details": {"reasoning_tokens": count_words(reply.reasoning)},
        },
    }


DIALECTS = {
    "chat": WireDialect("/chat/completions", _last_message, _chat_document),
    "responses": WireDialect("/responses", _last_input, _responses_document),
    "messages": WireDialect("/messages", _last_message, _anthropic_document),
    "gemini": WireDialect(":generateContent", _last_content, _gemini_document),
    "ollama": WireDialect("/api/chat", _last_message, _ollama_document),
    "converse": WireDialect("/converse", _last_message, _bedrock_document),
}
"""Wire formats by name."""


def dialect_of(path: str) -> str | None:
    """Name the wire format of a path, or None for a path of none."""
    return next((name for name, dialect in DIALECTS.items() if path.endswith(dialect.path)), None)
