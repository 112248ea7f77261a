"""What the server counts.

It has totals for the test to read, counted request by request.

A request is a `RequestStats` from its arrival to the moment nobody waits for it any more; a `RequestLog` holds what is
counted and kept between two resets.
"""

import time
from collections import deque
from dataclasses import asdict, dataclass, field, replace

from tale_dspy.protocols import JsonObject
from tale_dspy.testing.messages import Request, text_of
from tale_dspy.testing.problems import kind_of
from tale_dspy.testing.wire import HttpMessage, WireAnswer

_CREDENTIALS = {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"}


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

    def to_json(self) -> JsonObject:
        """Return all counts, and the window, as `GET /stats` sends them."""
        return {**asdict(self), "window_s": self.window_s}


class RequestStats:
    """One requested completion, from its arrival until nobody waits for it."""

    def __init__(self, stats: ServerStats) -> None:
        self._stats = stats
        self._kind = KindStats()
        self._history = [0, 0]
        self._due: WireAnswer | None = None
        stats.requests += 1
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        if stats.first_time is None:
            stats.first_time = time.monotonic()

    def identify(self, kind: str, history: list[int]) -> None:
        """Book the request under its kind and prompt.

        The history holds how often the prompt came, and how often it failed.
        """
        self._kind = self._stats.by_kind.setdefault(kind, KindStats())
        self._kind.requests += 1
        self._stats.repeats += history[0] > 0
        self._stats.retries += history[1] > 0
        self._history = history
        history[0] += 1
        history[1] -= history[1] > 0

    def expect(self, answer: WireAnswer) -> None:
        """Note the answer that is due.

        The request is abandoned if its client leaves before the answer is counted.
        """
        self._due = answer

    def count(self, answer: WireAnswer) -> None:
        """Book the end of the request."""
        self._due = None
        vars(self._stats)[answer.outcome] += 1
        self._stats.last_time = time.monotonic()
        if answer.outcome != "answered":
            self._stats.lost_tokens += answer.completion_tokens
            self._stats.lost_prompt_tokens += answer.prompt_tokens
            self._history[1] += 1
            return
        self._kind.answered += 1
        if not answer.reported:
            self._stats.unreported_tokens += answer.completion_tokens
            return
        for totals in (self._stats, self._kind):
            totals.prompt_tokens += answer.prompt_tokens
            totals.completion_tokens += answer.completion_tokens

    def leave(self) -> None:
        """Book that nobody waits any more."""
        if self._due is not None:
            self.count(replace(self._due, outcome="abandoned"))
        self._stats.in_flight -= 1


class RequestLog:
    """What is counted and kept between two resets."""

    def __init__(self, record: int) -> None:
        self.stats = ServerStats()
        self.requests: deque[Request] = deque(maxlen=record)
        self._histories: dict[str, list[int]] = {}

    def admit(self, request_stats: RequestStats, message: HttpMessage, body: JsonObject, key: str) -> Request:
        """Book a readable request and return it as the reply function gets it."""
        system, prompt = "", ""
        for part in body["messages"]:
            if part.get("role") in ("system", "developer"):
                system = f"{system}\n{text_of(part.get('content'))}".lstrip("\n")
            elif part.get("role") == "user":
                prompt = text_of(part.get("content"))
        history = self._histories.setdefault(key, [0, 0])
        request = Request(
            body=body,
            headers={name: value for name, value in message.headers.items() if name not in _CREDENTIALS},
            prompt=prompt,
            system=system,
            messages=body["messages"],
            n=self.stats.requests,
            seen=history[0],
            kind=kind_of(system, prompt),
            authorized="authorization" in message.headers,
        )
        request_stats.identify(request.kind, history)
        self.requests.append(request)
        return request
