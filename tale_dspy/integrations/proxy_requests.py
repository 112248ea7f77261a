"""The three request formats of an LLM proxy.

It finds the question in a request, and adds a budget to it.

The formats are OpenAI chat completions, Anthropic Messages and OpenAI Responses. Nothing of the caller's is changed in
place: the request body may already be in somebody's log.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from tale_dspy.backends.reasoning_settings import caller_reasoning_param
from tale_dspy.budget import BudgetValue
from tale_dspy.errors import UsageError
from tale_dspy.prompts import TASK_PROMPTS

JsonObject = dict[str, object]
ApiFormat = Literal["chat", "messages", "responses"]

API_FORMATS: Mapping[str, ApiFormat] = {
    "completion": "chat",
    "acompletion": "chat",
    "anthropic_messages": "messages",
    "aanthropic_messages": "messages",
    "responses": "responses",
    "aresponses": "responses",
}
"""LiteLLM's call type -> the format of the request; requests of other types pass through."""

LIMIT_NAMES: Mapping[ApiFormat, tuple[str, ...]] = {
    "chat": ("max_tokens", "max_completion_tokens"),
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
"""Settings that limit the output tokens, the one to set first."""

BUDGET_KEY = "tale"
"""Key of the request's `metadata` that sets the budget: `off`, a number of tokens, or an effort word."""

SMALLEST_LIMIT = 16
"""Fewest output tokens that leave room for reasoning; below it a caller wants a label, such as one letter."""

_TEXT_TYPES = ("text", "input_text")
_TOOL_TYPES = ("tool_result", "function_call_output", "custom_tool_call_output")
_STATED_BUDGET = re.compile(
    r"(?:(?:less|fewer|more) than|at most|within|under|up to|below|少于|不超过)\s*\d[\d,]*\s*(?:tokens?|words?)\b", re.I
)
_PHRASES = [(prompt.think.strip(), prompt.think_budget.strip()) for prompt in TASK_PROMPTS.values()]
"""How a prompt of this package asks for reasoning, without and with a budget."""


@dataclass(frozen=True)
class UserQuestion:
    """The last message, which is the user's."""

    text: str
    """Its text parts, one a line."""
    has_other_parts: bool = False
    """Whether there are images, sound or files beside the text."""


@dataclass(frozen=True)
class SkippedRequest:
    """A request that gets no budget."""

    reason: str
    """A word for the response header and the metrics, such as `tools`."""


def read_question(api: ApiFormat, request: Mapping[str, object]) -> UserQuestion | SkippedRequest:
    """Find the question that a budget is for.

    Only a question of the user's gets one. These pass through: a request that offers tools or brings their results (an
    agent decides itself what it needs; no budget was measured for it), one in which the caller sets a reasoning
    control, states a budget or allows fewer than `SMALLEST_LIMIT` output tokens, and one without a text from the user
    at its end, whatever shape it has.

    Args:
        api: The format.
        request: The request's settings, with `messages` or `input`; their values may be of any JSON type.
    """
    message = _last_message(api, request)
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    parts = parts if isinstance(parts, list) else []
    if message.get("role") == "tool" or any(_part_type(part) in _TOOL_TYPES for part in (message, *parts)):
        return SkippedRequest("tool-results")
    if message.get("role") != "user":
        return SkippedRequest("no-question")
    if request.get("tools") or request.get("functions"):
        return SkippedRequest("tools")
    if _has_caller_effort(request):
        return SkippedRequest("caller-effort")
    limit = output_limit(api, request)
    if limit is not None and limit < SMALLEST_LIMIT:
        return SkippedRequest("small-limit")
    texts = [str(part["text"]) for part in parts if _is_text(part)]
    text = "\n".join(texts)
    if not text.strip():
        return SkippedRequest("no-text")
    if _STATED_BUDGET.search(text):
        return SkippedRequest("caller-budget")
    return UserQuestion(text, has_other_parts=len(texts) < len(parts))


def requested_budget(request: Mapping[str, object]) -> BudgetValue | SkippedRequest | None:
    """Return the budget that the caller sets in the request's metadata.

    It is None where there is none. A value that is neither `off`, a number of tokens nor an effort word gives no budget
    at all.
    """
    metadata = request.get("metadata")
    value = metadata.get(BUDGET_KEY) if isinstance(metadata, Mapping) else None
    if value is None:
        return None
    if value == "off" or value is False:
        return SkippedRequest("off")
    try:
        return BudgetValue.parse(value)
    except UsageError:
        return SkippedRequest("unknown-metadata")


def without_requested_budget(request: Mapping[str, object]) -> JsonObject:
    """Return a copy of the request without `BUDGET_KEY` in its metadata.

    Some APIs hand the metadata on to the provider.
    """
    metadata = request.get("metadata")
    if not isinstance(metadata, Mapping) or BUDGET_KEY not in metadata:
        return dict(request)
    rest = {name: value for name, value in metadata.items() if name != BUDGET_KEY}
    return {**request, "metadata": rest} if rest else {k: v for k, v in request.items() if k != "metadata"}


def output_limit(api: ApiFormat, request: Mapping[str, object]) -> int | None:
    """Return the caller's limit on output tokens, a whole number from 1, or None."""
    limits = [request.get(name) for name in LIMIT_NAMES[api]]
    return min((limit for limit in limits if type(limit) is int and limit > 0), default=None)


def with_phrase(api: ApiFormat, request: Mapping[str, object], tokens: int) -> JsonObject:
    """Return the request with the paper's phrase after the question.

    The phrase is that of arXiv 2412.18547, table 1. A prompt that ends by asking for reasoning asks for it within the
    budget instead. Where the reply must be JSON, the phrase does not ask for steps.

    Args:
        api: The format.
        request: A request in which `read_question` finds a question.
        tokens: The budget.
    """
    name = "input" if api == "responses" else "messages"
    messages = request[name]
    if isinstance(messages, str):
        return {**request, name: _with_budget_phrase(messages, tokens, _wants_json(request))}
    *before, last = cast("list[JsonObject]", messages)
    content = last["content"]
    if isinstance(content, str):
        changed: object = _with_budget_phrase(content, tokens, _wants_json(request))
    else:
        parts = list(cast("list[JsonObject]", content))
        place = max(number for number, part in enumerate(parts) if _is_text(part))
        text = _with_budget_phrase(str(parts[place]["text"]), tokens, _wants_json(request))
        parts[place] = {**parts[place], "text": text}
        changed = parts
    return {**request, name: [*before, {**last, "content": changed}]}


def _with_budget_phrase(text: str, tokens: int, wants_json: bool) -> str:
    stripped = text.rstrip()
    for plain, budgeted in _PHRASES:
        if stripped.endswith(plain):
            return stripped.removesuffix(plain) + budgeted.format(budget=tokens) + "\n"
    return f"{stripped}\n{TASK_PROMPTS['answer'].phrase(not wants_json, tokens)}"


def _wants_json(request: Mapping[str, object]) -> bool:
    """Return whether the reply must be JSON.

    The APIs say so in `response_format`, `text.format` or `output_config.format`.
    """
    formats = [request.get("response_format")]
    for name in ("text", "output_config"):
        holder = request.get(name)
        formats.append(holder.get("format") if isinstance(holder, Mapping) else None)
    return any(isinstance(f, Mapping) and f.get("type") != "text" for f in formats) or any(
        isinstance(f, type) for f in formats
    )


def _has_caller_effort(request: Mapping[str, object]) -> bool:
    config = request.get("output_config")
    return caller_reasoning_param(request) is not None or (isinstance(config, Mapping) and "effort" in config)


def _last_message(api: ApiFormat, request: Mapping[str, object]) -> Mapping[str, object]:
    """Return the last message of the conversation, empty where there is none."""
    messages = request.get("input" if api == "responses" else "messages")
    if api == "responses" and isinstance(messages, str):
        return {"role": "user", "content": messages}
    last = messages[-1] if isinstance(messages, list) and messages else None
    return last if isinstance(last, Mapping) else {}


def _part_type(part: object) -> object:
    return part.get("type") if isinstance(part, Mapping) else None


def _is_text(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _TEXT_TYPES and isinstance(part.get("text"), str)
