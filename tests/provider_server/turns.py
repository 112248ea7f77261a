"""The conversation in a request.

Who says what, and what a provider refuses about it, whatever is asked.

As `rules`, this is what providers publish or users ran into, written down a second time on purpose.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tale_dspy.testing.messages import text_of

Body = Mapping[str, Any]


@dataclass(frozen=True)
class ChatTurn:
    """What one side says."""

    role: str
    """`user`, `assistant` or `system`."""
    text: str
    kinds: tuple[str, ...] = ()
    """Types of its parts, where they have any."""


_ROLES = {"model": "assistant", "developer": "system"}
_ALTERNATE = ("vllm", "sglang", "llama.cpp")
"""Chat templates of open models raise where two turns of one side follow each other."""


def turns_of(dialect: str, body: Body) -> list[ChatTurn]:
    """Return the turns of a request, system messages included.

    Args:
        dialect: One of `DIALECTS`.
        body: The parsed body.
    """
    if dialect == "gemini":
        system = body.get("systemInstruction") or body.get("system_instruction")
        return [*_system_turn((system or {}).get("parts")), *_read_turns(body.get("contents", ()), "parts")]
    if dialect == "responses":
        body_input = body.get("input", "")
        items = [{"role": "user", "content": body_input}] if isinstance(body_input, str) else body_input
        return [*_system_turn(body.get("instructions")), *_read_turns([i for i in items if "role" in i], "content")]
    return [*_system_turn(body.get("system")), *_read_turns(body.get("messages", ()), "content")]


def _system_turn(content: object) -> list[ChatTurn]:
    return [ChatTurn("system", text_of(content))] if content else []


def _read_turns(items: Sequence[Any], field: str) -> list[ChatTurn]:
    return [_read_turn(item, item.get(field)) for item in items]


def _read_turn(item: Mapping[str, object], content: object) -> ChatTurn:
    role = str(item.get("role", "user"))
    parts = content if isinstance(content, list) else ()
    kinds = tuple(str(part["type"]) for part in parts if isinstance(part, Mapping) and "type" in part)
    return ChatTurn(_ROLES.get(role, role), text_of(content), kinds)


def turn_refusals(provider: str, dialect: str, body: Body) -> Iterator[str]:
    """Say what a provider would refuse about the conversation in a request.

    Args:
        provider: One of `RULES`.
        dialect: One of `DIALECTS`.
        body: The parsed body.
    """
    turns = [turn for turn in turns_of(dialect, body) if turn.role != "system"]
    if not turns:
        return
    for turn in turns:
        if turn.role not in ("user", "assistant", "tool", "function"):
            yield f"role {turn.role!r} is none of a conversation"
        if not turn.text.strip() and not turn.kinds:
            yield f"the {turn.role}'s turn is empty"
    if turns[0].role != "user":
        yield "the first turn must be the user's"
    if turns[-1].role == "assistant":
        yield "the last turn is the assistant's: prefilling is not supported while the model thinks"
    if provider in _ALTERNATE and any(a.role == b.role for a, b in pairwise(turns)):
        yield "turns must alternate between user and assistant"
    if dialect == "responses":
        wrong = [k for t in turns if t.role == "assistant" for k in t.kinds if k not in ("output_text", "refusal")]
        yield from (f"invalid value {kind!r}: an assistant's part is output_text or refusal" for kind in wrong)
        wrong = [k for t in turns if t.role == "user" for k in t.kinds if not k.startswith("input_")]
        yield from (f"invalid value {kind!r}: a user's part is input_text" for kind in wrong)
