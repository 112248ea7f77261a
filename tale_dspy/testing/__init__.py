"""Tools for testing programs without a provider: a scripted server, a scripted solver and questions to ask.

This module holds what a test says to the server (`Reply`, `Faults`) and hears from it (`Request`, `ServerStats`); the
server itself is in `server`, the questions and the script that answers them are in `problems`. Nothing here is a model:
every reply is the work of a function that the caller can read, so no accuracy or length that comes out of it says
anything about language models.

Example:
    >>> from tale_dspy.testing import Reply, ScriptedServer
    >>> with ScriptedServer(lambda request: Reply("Answer: [[4]]")) as server:
    ...     pass  # dspy.LM("openai/scripted", api_base=server.url, api_key="any")
    >>> server.stats.requests
    0
"""

import importlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from tale_dspy.errors import UsageError

if TYPE_CHECKING:
    from tale_dspy.testing.problems import SolverReply as SolverReply
    from tale_dspy.testing.problems import word_problems as word_problems
    from tale_dspy.testing.server import ScriptedServer as ScriptedServer

__all__ = [
    "Faults",
    "KindStats",
    "Reply",
    "Request",
    "ScriptedServer",
    "ServerStats",
    "SolverReply",
    "word_problems",
]

_HOMES = {"ScriptedServer": "server", "SolverReply": "problems", "word_problems": "problems"}

SHARES = ("rate_limited", "server_error", "dropped", "hung", "malformed", "null_content", "cut")
"""The faults that strike a share of the prompts, in the order in which the shares are laid out."""


def __getattr__(name: str) -> Any:
    # Late, so that `python -m tale_dspy.testing.server` does not find itself imported before it runs.
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def draw(key: str, salt: str) -> float:
    """Return the number in [0, 1) that belongs to `key` and `salt`: always the same one, in every process."""
    # JSON can carry lone surrogates, which plain UTF-8 refuses.
    digest = blake2b(f"{salt}\0{key}".encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def count_words(value: object) -> int:
    """Return the server's token count of a text: its words, as `str.split` cuts them; 0 of None.

    Those of a structure are the words of its JSON.
    """
    if value is None:
        return 0
    return len((value if isinstance(value, str) else json.dumps(value)).split())


def first_words(text: str, count: int) -> str:
    """Return the text up to the end of its `count`-th word, or all of it if it has no more."""
    if count <= 0:
        return ""
    for number, word in enumerate(re.finditer(r"\S+", text), 1):
        if number == count:
            return text[: word.end()]
    return text


def check_share(name: str, value: float) -> None:
    """Raise UsageError unless `value` is a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise UsageError(f"{name} must be between 0 and 1, not {value!r}")


@dataclass(frozen=True)
class Request:
    """One chat completion asked for, as the reply function gets it and as `server.requests` keeps it."""

    body: dict[str, Any]
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
    """What the prompt asks for: `estimate`, `budget`, `direct`, `draft`, `concise` or `cot`."""
    authorized: bool
    """Whether an Authorization header came; its content is not kept."""
    choice: int = 0
    """Which of the `n` choices of the body is asked for, from 0."""


@dataclass(frozen=True)
class Reply:
    """What the server shall answer. Text and counts go out as they are: nothing is cut at `max_tokens`.

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


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong, and how often.

    The shares are of prompts, not of requests: a hash of the messages decides, so the same prompts are struck in every
    run whatever their order, and no prompt is struck by two faults.

    Raises:
        UsageError: If a share is not between 0 and 1, the shares sum up to more than 1, or `tries` or `retry_after` is
            out of range.
    """

    rate_limited: float = 0.0
    """429 with a Retry-After header."""
    server_error: float = 0.0
    """500."""
    dropped: float = 0.0
    """The connection is closed where the reply should come."""
    hung: float = 0.0
    """Never answered; the connection stays open."""
    malformed: float = 0.0
    """200 with a body cut in the middle of the JSON."""
    null_content: float = 0.0
    """200 with `content: null` and the usage of the full text."""
    cut: float = 0.0
    """200 with the first half of the words and `finish_reason: length`."""
    tries: int | None = 1
    """How many attempts of a struck prompt fail; None: all."""
    retry_after: float = 0.0
    """Seconds in the Retry-After header."""
    only: str = ""
    """Strikes only prompts that hold this text."""
    seed: int = 0
    """Another seed strikes other prompts."""
    unauthorized: bool = False
    """401 to everything."""
    bad_request: bool = False
    """400 to everything."""
    not_found: bool = False
    """404, model not found, to everything."""
    quota: bool = False
    """429 insufficient_quota to everything."""

    def __post_init__(self) -> None:
        for name in SHARES:
            check_share(name, vars(self)[name])
        total = math.fsum(vars(self)[name] for name in SHARES)
        if total > 1 + 1e-9:
            raise UsageError(f"the shares of faults must sum up to at most 1, not {total:g}")
        if self.tries is not None and self.tries < 1:
            raise UsageError(f"tries must be at least 1 or None, not {self.tries}")
        if not 0 <= self.retry_after < math.inf:
            raise UsageError(f"retry_after must be 0 or more seconds, not {self.retry_after}")

    def always(self) -> str | None:
        """Return the name of the switch that refuses everything, or None."""
        return next((n for n in ("unauthorized", "quota", "not_found", "bad_request") if vars(self)[n]), None)

    def strike(self, request: Request, key: str) -> str | None:
        """Return the name of the fault that strikes this attempt, or None.

        Args:
            request: The attempt; `seen` and `prompt` count.
            key: What identifies the prompt: its share is drawn from a hash of it.
        """
        if (self.tries is not None and request.seen >= self.tries) or self.only not in request.prompt:
            return None
        at = draw(key, f"fault {self.seed}")
        for name in SHARES:
            at -= vars(self)[name]
            if at < 0:
                return name
        return None


def spoil(fault: str | None, reply: Reply) -> Reply:
    """Apply a fault that leaves a valid completion, `null_content` or `cut`; any other returns the reply as it is."""
    if fault == "null_content":
        return replace(reply, text=None, tool_calls=(), completion_tokens=reply.tokens)
    if fault == "cut":
        given = None if reply.completion_tokens is None else reply.completion_tokens // 2
        half = first_words(reply.text or "", count_words(reply.text) // 2)
        return replace(reply, text=half, finish_reason="length", completion_tokens=given)
    return reply


@dataclass
class KindStats:
    """The totals of one kind of prompt."""

    requests: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class ServerStats:
    """What the server counted since its start or its last reset.

    Every request ends in exactly one of `answered`, `errors`, `dropped`, `hung`, `malformed` and `abandoned`, so their
    sum is `requests` once no request is in flight. A reply is counted before its first byte is written: a client that
    has read it finds it here.
    """

    requests: int = 0
    """Chat completions asked for."""
    answered: int = 0
    """200 replies sent whole, those of the faults `null_content` and `cut` included."""
    prompt_tokens: int = 0
    """As reported in the `usage` of answered requests."""
    completion_tokens: int = 0
    """As reported in the `usage` of answered requests, thinking included."""
    unreported_tokens: int = 0
    """Completion tokens of answered requests whose body carried no usage."""
    errors: int = 0
    """Replies with another status than 200."""
    dropped: int = 0
    """Connections closed where the reply should have come."""
    hung: int = 0
    """Requests never answered."""
    malformed: int = 0
    """200 replies whose body is not a completion."""
    abandoned: int = 0
    """Requests whose client left before the reply was due."""
    lost_tokens: int = 0
    """Completion tokens of dropped, hung, malformed and abandoned requests: what a provider may bill nevertheless."""
    lost_prompt_tokens: int = 0
    """Prompt tokens of the same."""
    retries: int = 0
    """Requests that repeat a prompt for which an earlier attempt ended otherwise than `answered`."""
    repeats: int = 0
    """Requests that repeat a prompt, for whatever reason."""
    in_flight: int = 0
    """Requests whose client still waits; a hung one until its client leaves."""
    max_in_flight: int = 0
    connections: int = 0
    """Connections opened."""
    other: int = 0
    """Requests for anything but a chat completion, and those that were not HTTP."""
    first_time: float | None = None
    """`time.monotonic()` at the first request."""
    last_time: float | None = None
    """`time.monotonic()` at the last end of a request."""
    by_kind: dict[str, KindStats] = field(default_factory=dict)
    """The totals of each kind of prompt, under the names of `Request.kind`."""
    by_fault: dict[str, int] = field(default_factory=dict)
    """How often each of `Faults` struck."""

    @property
    def window_s(self) -> float:
        """Seconds from the first request to the last end of one; 0.0 before that."""
        if self.first_time is None or self.last_time is None:
            return 0.0
        return self.last_time - self.first_time

    def to_json(self) -> dict[str, Any]:
        """Return all counts, and the window, as `GET /stats` sends them."""
        return {**asdict(self), "window_s": self.window_s}
