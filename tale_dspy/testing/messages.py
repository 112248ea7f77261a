"""Requests and replies between a test and the server, and their word counts.

Nothing here opens a connection: how these become bytes is `wire`, what goes wrong on purpose is `faults`.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject


def draw(key: str, salt: str) -> float:
    """Return the number in [0, 1) that belongs to `key` and `salt`.

    It is the same in every process.
    """
    # JSON can carry lone surrogates, which plain UTF-8 refuses.
    digest = blake2b(f"{salt}\0{key}".encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def count_words(value: object) -> int:
    """Return the server's token count of a text: its words by `str.split`.

    A structure has the words of its JSON, and None has 0.
    """
    if value is None:
        return 0
    return len((value if isinstance(value, str) else json.dumps(value)).split())


def first_words(text: str, count: int) -> str:
    """Return the text up to the end of its `count`-th word.

    It is the whole text if that has no more words.
    """
    if count <= 0:
        return ""
    for number, word in enumerate(re.finditer(r"\S+", text), 1):
        if number == count:
            return text[: word.end()]
    return text


def text_of(content: object) -> str:
    """Return the text of a message's content.

    The content is a string or a list of parts. Anything else has the text "".
    """
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def check_share(name: str, value: float) -> None:
    """Raise UsageError unless `value` is a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise UsageError(f"{name} must be between 0 and 1, not {value!r}")


@dataclass(frozen=True)
class Request:
    """A request for a chat completion.

    The reply function gets it, and `server.requests` stores it.
    """

    body: JsonObject
    """The parsed JSON body."""
    headers: Mapping[str, str]
    """Names in lower case; those that carry credentials are left out."""
    prompt: str
    """Text of the last user message; empty where there is none."""
    system: str
    """Text of the system and developer messages, joined by newlines."""
    messages: Sequence[Mapping[str, Any]]
    n: int
    """Number of this request since the start or the last reset, from 1."""
    seen: int
    """How often these very messages had come before."""
    kind: str
    """What the prompt asks for: `estimate`, `stated`, `budget`, `direct`, `draft`, `concise` or `cot`."""
    authorized: bool
    """Whether an Authorization header came; its content is not kept."""
    choice: int = 0
    """Which of the `n` choices of the body is asked for, from 0."""


@dataclass(frozen=True)
class Reply:
    """What the server answers.

    Text and counts are sent as they are: nothing is cut at `max_tokens`.

    Raises:
        UsageError: If a number is negative, the status is no HTTP status or a header holds a line break.
    """

    text: str | None = ""
    """`message.content`."""
    finish_reason: str = "stop"
    reasoning: str | None = None
    """`message.reasoning_content`; its words are `usage.completion_tokens_details.reasoning_tokens`."""
    completion_tokens: int | None = None
    """Thinking included, as at OpenAI. None: the words of text, reasoning and tool calls, cut at white space."""
    prompt_tokens: int | None = None
    """None: the words of all messages, cut at white space."""
    cached_prompt_tokens: int | None = None
    """`usage.prompt_tokens_details.cached_tokens`; None leaves it out."""
    usage: bool = True
    """False leaves `usage` out of the body, and the tokens out of the server's totals."""
    status: int = 200
    """Any other than 200 sends an error body with `text` as its message."""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw_body: bytes | None = None
    """Sent in place of the JSON; with status 200 such a reply is counted as `malformed`."""
    model: str | None = None
    """The snapshot named in the body; None echoes the model asked for."""
    delay: float = 0.0
    """Seconds on top of the server's latency."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    """`message.tool_calls`, in OpenAI's shape."""

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise UsageError(f"status must be between 200 and 599, not {self.status}")
        for name in ("completion_tokens", "prompt_tokens", "cached_prompt_tokens", "delay"):
            value = vars(self)[name]
            if value is not None and not (0 <= value < math.inf):
                raise UsageError(f"{name} must be 0 or more, not {value}")
        for name, text in self.headers.items():
            if set("\r\n") & set(name + text):
                raise UsageError(f"header {name!r} must not hold a line break: {text!r}")

    @property
    def tokens(self) -> int:
        """The completion tokens that go into `usage`, thinking included."""
        if self.completion_tokens is not None:
            return self.completion_tokens
        calls = list(self.tool_calls) or None
        return count_words(self.text) + count_words(self.reasoning) + count_words(calls)
