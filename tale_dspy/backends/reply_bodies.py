"""Repair chat completion bodies, so that both engines read them alike.

LiteLLM refuses a reply whose content is a list of parts and takes one without counts; DSPy's engine does the opposite,
and reads a body without a choice as an empty answer. Here a body is repaired where what it means is plain, and refused
where it is no reply at all, before either engine sees it: so one fault has one outcome.
"""

import json
import math
import re
from collections.abc import Callable, Mapping

from tale_dspy.backends.finish_reasons import normalize_finish_reason
from tale_dspy.protocols import JsonObject

MAX_TOKENS = 2**31 - 1
"""A larger number is no count of the tokens of one reply."""

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")
_COUNTED = frozenset((*_COUNTS, *_DETAILS, "cost", "server_tool_use"))
_OTHER_NAMES = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
"""What servers that also speak another format call the counts."""

UNNAMED_MODEL = " "
"""The model of a reply that names none: a blank, which is booked as unknown."""

_THOUGHTS = ("reasoning_content", "reasoning")
_THOUGHT_PARTS = ("thinking", "reasoning", "reasoning_text", "thought")


class BrokenBodyError(ValueError):
    """A 200 whose body is no reply. The message says what is wrong with it."""


def repair_chat_body(body: bytes, choices: int = 1) -> bytes:
    """Return the body of a chat completion as OpenAI would have written it.

    Args:
        body: JSON as it came.
        choices: How many choices were asked for; further ones are dropped.

    Returns:
        The same bytes where nothing had to be changed. A finish reason is always one word of
        `tale_dspy.backends.finish_reasons`.

    Raises:
        BrokenBodyError: If it is no JSON object, reports an error, or holds no choice with a message.
    """
    try:
        not_finite: list[str] = []  # `NaN` and `Infinity`, which are no JSON, become null
        data = json.loads(body, parse_constant=not_finite.append)
    except (ValueError, RecursionError):
        raise BrokenBodyError(f"the reply is no JSON: {body_excerpt(body)}") from None
    if not isinstance(data, dict):
        raise BrokenBodyError(f"the reply is no JSON object: {body_excerpt(body)}")
    rows = data.get("choices")
    if data.get("error") or not isinstance(rows, list) or not rows:
        what = "reports an error" if data.get("error") else "holds no choice"
        raise BrokenBodyError(f"the reply {what}: {body_excerpt(body)}")
    repaired = {
        **{k: v for k, v in data.items() if not k.startswith("_")},  # LiteLLM would take `_hidden_params` for its own
        "choices": [_repair_choice(row, number) for number, row in enumerate(rows[: max(choices, 1)])],
        **repair_usage(data),
        "model": model_name(data.get("model")),
    }
    if is_number(data.get("id")):
        repaired["id"] = str(data["id"])
    if not isinstance(data.get("created", 0), int):
        repaired["created"] = 0
    return body if repaired == data and not not_finite else json.dumps(repaired).encode()


def choices_asked(request: bytes) -> int:
    """Return how many choices the body of a request asks for."""
    if b'"n"' not in request:
        return 1
    body = json.loads(request)
    n = body.get("n") if isinstance(body, dict) else None
    return n if isinstance(n, int) else 1


def model_name(name: object) -> str:
    """Return the model that a reply names.

    It is `UNNAMED_MODEL` for none. Without a name DSPy's engine would state the model that was asked for, as if the
    provider had said so; LiteLLM states none.
    """
    return name if isinstance(name, str) and name else str(name) if is_number(name) else UNNAMED_MODEL


def _repair_choice(row: object, number: int) -> JsonObject:
    message = row.get("message") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(message, dict):
        raise BrokenBodyError(f"a choice of the reply holds no message: {str(row)[:200]}")
    reason = normalize_finish_reason(row.get("finish_reason"), row.get("native_finish_reason"))
    if reason == "error":
        raise BrokenBodyError(f"the provider failed in the middle of the reply: finish_reason {row['finish_reason']}")
    text, reasoning = content_parts(message.get("content"))
    repaired = {**message, "role": "assistant", "content": text}
    for name in _THOUGHTS:
        if not isinstance(repaired.get(name, ""), str | None):
            repaired[name] = thought_text(repaired[name])
    if reasoning and not repaired.get("reasoning_content"):
        repaired["reasoning_content"] = reasoning
    for name, is_sound in _EXTRAS.items():
        if message.get(name) is not None and not is_sound(message[name]):
            del repaired[name]
    choice = {**row, "index": number, "message": repaired, "finish_reason": reason or "stop"}
    if not are_logprobs(row.get("logprobs")):
        del choice["logprobs"]
    return choice


def thought_text(thought: object) -> str | None:
    """Return the text of a thought that is written as parts.

    It is None where it has none, which loses no answer.
    """
    try:
        text, inner = content_parts(thought)
    except BrokenBodyError:
        return None
    return (inner or "") + (text or "") or None


def content_parts(content: object) -> tuple[str | None, str]:
    """Return text and thinking of a message's content.

    The content is a text or a list of parts.
    """
    if content is None or isinstance(content, str):
        return content, ""
    if is_number(content):
        return str(content), ""
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise BrokenBodyError(f"the content of the reply is neither a text nor a list of parts: {content!r}")
    texts, thoughts = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            inner = part.get("thinking")
            if part.get("type") in _THOUGHT_PARTS or inner is not None:
                thoughts.append(content_parts(inner if inner is not None else part.get("text"))[0] or "")
            elif isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif isinstance(part.get("text"), Mapping) and isinstance(part["text"].get("value"), str):
                texts.append(part["text"]["value"])
    return "".join(texts), "".join(thoughts)


def repair_usage(data: JsonObject) -> JsonObject:
    """Return `usage` with whole counts alone.

    A value that is no count is left out, which means unknown.
    """
    usage = data.get("usage")
    if usage is None:
        return {}
    if not isinstance(usage, Mapping):
        return {"usage": None}
    repaired = {k: v for k, v in usage.items() if k not in _COUNTED}
    stated = {k: usage.get(k, usage.get(_OTHER_NAMES.get(k, k))) for k in _COUNTS}
    repaired |= {k: count for k, number in stated.items() if (count := _whole_count(number)) is not None}
    if is_number(usage.get("cost")):
        repaired["cost"] = usage["cost"]
    tools = usage.get("server_tool_use")
    if isinstance(tools, Mapping) and all(_whole_count(n) == n for n in tools.values()):
        repaired["server_tool_use"] = tools
    for name in _DETAILS:
        if isinstance(usage.get(name), Mapping):
            repaired[name] = {
                k: v if isinstance(v, Mapping | list) and not k.endswith("_tokens") else _whole_count(v)
                for k, v in usage[name].items()
            }
    thought = _whole_count(usage.get("reasoning_tokens"))
    if thought is not None and "completion_tokens_details" not in repaired:  # beside the counts, as Perplexity has it
        repaired["completion_tokens_details"] = {"reasoning_tokens": thought}
    if "completion_tokens" not in repaired and "prompt_tokens" not in repaired:
        return {"usage": None}
    _repair_details(repaired)
    return {"usage": repaired}


def _repair_details(usage: JsonObject) -> None:
    """Make the parts of a count parts of it.

    xAI counts reasoning beside the completion, as its total says; it is a part of the completion everywhere else. A
    part that is larger than the whole is no count.
    """
    prompt, completion, total = (usage.get(name) for name in _COUNTS)
    details = usage.get("completion_tokens_details") or {}
    reasoning = details.get("reasoning_tokens") or 0
    if reasoning and prompt is not None and completion is not None and total == prompt + completion + reasoning:
        usage["completion_tokens"] = completion = completion + reasoning
    if completion is not None and reasoning > completion:
        usage["completion_tokens_details"] = details | {"reasoning_tokens": None}
    details = usage.get("prompt_tokens_details") or {}
    if prompt is not None and (details.get("cached_tokens") or 0) > prompt:
        usage["prompt_tokens_details"] = details | {"cached_tokens": None}


def _whole_count(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,12}\s*", value):
        value = int(value)
    if not is_number(value) or not isinstance(value, int | float):
        return None
    return int(value) if math.isfinite(value) and 0 <= value <= MAX_TOKENS and value == int(value) else None


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_annotations(value: object) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(a, dict) and isinstance(a.get(a.get("type")), dict) for a in value)
    )


def _are_tool_calls(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(call, dict)
        and isinstance(call.get("function"), dict)
        and isinstance(call["function"].get("name"), str)
        for call in value
    )


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_audio(value: object) -> bool:
    return isinstance(value, dict) and {"id", "data", "expires_at", "transcript"} <= value.keys()


def are_logprobs(value: object) -> bool:
    """Return whether a choice may have these log probabilities.

    LiteLLM loses the text beside others.
    """
    if value is None:
        return True
    tokens = value.get("content") if isinstance(value, dict) else None
    return isinstance(tokens, list) and all(
        isinstance(item, dict) and isinstance(item.get("token"), str) and is_number(item.get("logprob"))
        for item in tokens
    )


_EXTRAS: dict[str, Callable[[object], bool]] = {
    "annotations": _are_annotations,
    "audio": _is_audio,
    "function_call": _is_object,
    "images": _are_objects,
    "provider_specific_fields": _is_object,
    "thinking_blocks": _are_objects,
    "tool_calls": _are_tool_calls,
}
"""What may stand beside the text of a message, and what it must be; LiteLLM refuses the whole reply over another."""


def body_excerpt(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace").strip() or "nothing"
