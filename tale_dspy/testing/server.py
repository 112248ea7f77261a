"""A scripted OpenAI-compatible server on the loopback interface.

It answers chat completions with what a function says, breaks what `Faults` says, and counts exactly what it sent, so
that a test or a benchmark can hold a client's own figures against it. It is not a model, and not a web server for
anything else: it speaks as much HTTP/1.1 as provider clients do, and binds to 127.0.0.1 alone.

    POST /v1/chat/completions, POST /chat/completions    a completion, also with stream=true and n > 1
    GET  /v1/models, GET /models                         the one model
    GET  /stats                                          `ServerStats` as JSON
    POST /reset                                          all counts to zero

As a process of its own it prints its URL on one line: `python -m tale_dspy.testing.server --port 0 --latency 0.1`.
"""

import argparse
import asyncio
import json
import re
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from http.client import responses as PHRASES
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tale_dspy.errors import DataError, TaleError, UsageError
from tale_dspy.testing import SHARES, Faults, KindStats, Reply, Request, ServerStats
from tale_dspy.testing.problems import SolverReply, first_words, kind_of, word_problems

__all__ = ["Faults", "Reply", "Request", "ScriptedServer", "ServerStats", "SolverReply", "main"]

ReplyFunction = Callable[[Request], Reply | str]

HOST = "127.0.0.1"
MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
STOP_S = 2.0
"""Seconds a stopping server may take; only a reply function that blocks takes longer."""

_CREDENTIALS = {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"}
_CHAT_PATHS = {"/v1/chat/completions", "/chat/completions"}
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?")

_ERRORS = {
    "unauthorized": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "not_found": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "bad_request": (400, "invalid_request_error", "invalid_value", "Invalid request."),
    "rate_limited": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    "server_error": (500, "server_error", "internal_error", "The server had an error processing your request."),
}
"""Status, type, code and message of the errors `Faults` sends, as OpenAI words them."""


class _BadHTTP(Exception):
    """Bytes that are no request this server can read, and the status they are answered with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class _Message:
    """One HTTP request."""

    method: str
    path: str
    """Without the query."""
    headers: dict[str, str]
    keep_alive: bool
    body: bytes = b""


class _Reader:
    """Cuts whole HTTP requests out of the bytes of one connection."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._head: _Message | None = None
        self._chunks = bytearray()
        self.wants_continue = False
        """Whether the client holds its body back until a `100 Continue`."""

    def feed(self, data: bytes) -> None:
        self._data += data

    def next(self) -> _Message | None:
        """Return the next whole request, or None until more bytes come; raise _BadHTTP if they cannot be one."""
        if self._head is None:
            self._head = self._read_head()
        head = self._head
        if head is None:
            return None
        body = self._read_chunks() if "transfer-encoding" in head.headers else self._read_sized(head)
        self.wants_continue = body is None and not self._data and "expect" in head.headers
        if body is None:
            return None
        self._head, self._chunks = None, bytearray()
        return replace(head, body=body) if body else head

    def _take(self, size: int, separator: int = 0) -> bytes:
        taken = bytes(self._data[:size])
        del self._data[: size + separator]
        return taken

    def _read_head(self) -> _Message | None:
        end = self._data.find(b"\r\n\r\n")
        if max(end, len(self._data) if end < 0 else 0) > MAX_HEAD:
            raise _BadHTTP(431, f"the head of a request must not pass {MAX_HEAD} bytes")
        if end < 0:
            return None
        first, *lines = self._take(end, 4).decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise _BadHTTP(400, "the request line must be METHOD PATH HTTP/1.x")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        closing = headers.get("connection", "keep-alive" if words[2] != "HTTP/1.0" else "close").lower()
        return _Message(words[0], words[1].partition("?")[0], headers, keep_alive="close" not in closing)

    def _read_sized(self, head: _Message) -> bytes | None:
        text = head.headers.get("content-length", "0")
        if not _LENGTH.fullmatch(text):
            raise _BadHTTP(400, "content-length must be a number")
        size = int(text)
        if size > MAX_BODY:
            raise _BadHTTP(413, f"a body must not pass {MAX_BODY} bytes")
        return self._take(size) if len(self._data) >= size else None

    def _read_chunks(self) -> bytes | None:
        """Move whole chunks over; the body is whole after a chunk of size 0 and the empty line behind the trailers."""
        while (end := self._data.find(b"\r\n")) >= 0:
            match = _CHUNK.fullmatch(self._data[:end])
            if match is None:
                raise _BadHTTP(400, "a chunk must begin with its size in hexadecimal digits")
            size = int(match[1], 16)
            if size + len(self._chunks) > MAX_BODY:
                raise _BadHTTP(413, f"a body must not pass {MAX_BODY} bytes")
            if size == 0:
                trailers = self._data.find(b"\r\n\r\n", end)
                if trailers < 0:
                    break
                self._take(trailers, 4)
                return bytes(self._chunks)
            if len(self._data) < end + 2 + size + 2:
                return None
            self._take(end, 2)
            self._chunks += self._take(size, 2)
        if len(self._data) > MAX_HEAD:
            raise _BadHTTP(431, f"the head of a chunk must not pass {MAX_HEAD} bytes")
        return None


@dataclass(frozen=True)
class _Answer:
    """How a request ends: decided when it comes, counted and sent after the latency."""

    outcome: str
    """The counter of `ServerStats` it goes to."""
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reported: bool = True
    """Whether the body carries the token counts."""
    delay: float = 0.0


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _error(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> _Answer:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return _Answer("errors", status, _json(body))


def _words(value: object) -> int:
    """The server's token count: words as `str.split` cuts them; those of a structure are those of its JSON."""
    if value is None:
        return 0
    return len((value if isinstance(value, str) else json.dumps(value)).split())


def _completion_tokens(reply: Reply) -> int:
    if reply.completion_tokens is not None:
        return reply.completion_tokens
    return _words(reply.text) + _words(reply.reasoning) + (_words(list(reply.tool_calls)) if reply.tool_calls else 0)


def _compose(request: Request, replies: Sequence[Reply]) -> _Answer:
    """Turn the replies to one request, one a choice, into bytes and counts; the first decides what holds for all."""
    first, body = replies[0], request.body
    delay = max(reply.delay for reply in replies)
    if first.status != 200:
        answer = _error(first.status, first.text or PHRASES.get(first.status, "error"))
        raw = answer.body if first.raw_body is None else first.raw_body
        return replace(answer, body=raw, headers=first.headers, delay=delay)
    prompt_tokens = first.prompt_tokens
    if prompt_tokens is None:
        prompt_tokens = sum(_words(_text(message.get("content"))) for message in request.messages)
    completion_tokens = sum(map(_completion_tokens, replies))
    usage = _usage(replies, prompt_tokens, completion_tokens) if first.usage else None
    options = body.get("stream_options")
    stream = body.get("stream") is True
    if stream and not (isinstance(options, dict) and options.get("include_usage") is True):
        usage = None
    head = {
        "id": f"chatcmpl-{request.n}",
        "object": "chat.completion.chunk" if stream else "chat.completion",
        "created": int(time.time()),
        "model": body.get("model", "scripted") if first.model is None else first.model,
    }
    raw = first.raw_body
    if raw is None:
        raw = _events(head, replies, usage) if stream else _document(head, replies, usage)
    return _Answer(
        outcome="answered" if first.raw_body is None else "malformed",
        body=raw,
        headers={"content-type": "text/event-stream", **first.headers} if stream else first.headers,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        reported=usage is not None,
        delay=delay,
    )


def _usage(replies: Sequence[Reply], prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if any(reply.reasoning is not None for reply in replies):
        thought = sum(_words(reply.reasoning) for reply in replies)
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    if replies[0].cached_prompt_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": replies[0].cached_prompt_tokens}
    return usage


def _document(head: dict[str, Any], replies: Sequence[Reply], usage: dict[str, Any] | None) -> bytes:
    choices = []
    for index, reply in enumerate(replies):
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.reasoning is not None:
            message["reasoning_content"] = reply.reasoning
        if reply.tool_calls:
            message["tool_calls"] = list(reply.tool_calls)
        choices.append({"index": index, "message": message, "finish_reason": reply.finish_reason})
    return _json({**head, "choices": choices} if usage is None else {**head, "choices": choices, "usage": usage})


def _events(head: dict[str, Any], replies: Sequence[Reply], usage: dict[str, Any] | None) -> bytes:
    """Lay the replies out as server-sent events, a word each."""
    chunks: list[dict[str, Any]] = []
    for index, reply in enumerate(replies):
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if reply.text is not None else None}]
        deltas += [{"reasoning_content": reply.reasoning}] if reply.reasoning is not None else []
        deltas += [{"content": word} for word in re.findall(r"\S+\s*|\s+", reply.text or "")]
        deltas += [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(reply.tool_calls)]
        chunks += [{"choices": [{"index": index, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [{"index": index, "delta": {}, "finish_reason": reply.finish_reason}]})
    if usage is not None:
        chunks.append({"choices": [], "usage": usage})
    return b"".join(b"data: %b\n\n" % _json({**head, **chunk}) for chunk in chunks) + b"data: [DONE]\n\n"


def _spoiled(fault: str | None, reply: Reply) -> Reply:
    """Apply the faults that leave a valid completion."""
    if fault == "null_content":
        return replace(reply, text=None, tool_calls=(), completion_tokens=_completion_tokens(reply))
    if fault == "cut":
        given = None if reply.completion_tokens is None else reply.completion_tokens // 2
        half = first_words(reply.text or "", _words(reply.text) // 2)
        return replace(reply, text=half, finish_reason="length", completion_tokens=given)
    return reply


def _text(content: object) -> str:
    """The text of a message's content, which is a string or a list of parts; empty for anything else."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _parse(raw: bytes) -> tuple[dict[str, Any], str]:
    """Read the body of a completion; return it with a hash of its messages, or raise UsageError."""
    try:
        body = json.loads(raw)
        messages = body["messages"] if isinstance(body, dict) else None
        key = blake2b(json.dumps(messages, sort_keys=True).encode(), digest_size=16).hexdigest()
    except KeyError:
        raise UsageError("the body must hold messages") from None
    except (ValueError, RecursionError) as e:
        raise UsageError(f"the body must be JSON: {e}") from None
    if not (isinstance(messages, list) and messages and all(isinstance(message, dict) for message in messages)):
        raise UsageError("messages must be a list of one or more objects")
    n = body.get("n")
    if n is not None and not (type(n) is int and 1 <= n <= 128):
        raise UsageError(f"n must be an integer from 1 to 128, not {n!r}")
    if not isinstance(body.get("model", ""), str):
        raise UsageError("model must be a string")
    return body, key


class _Exchange:
    """One completion asked for, from its arrival to the moment nobody waits for it any more."""

    def __init__(self, stats: ServerStats) -> None:
        self._stats = stats
        self._kind: KindStats | None = None
        self._history: list[int] | None = None
        self.answer: _Answer | None = None
        """What is due and not yet counted."""
        self.timer: asyncio.TimerHandle | None = None
        stats.requests += 1
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        if stats.first_time is None:
            stats.first_time = time.monotonic()

    def identify(self, kind: str, history: list[int]) -> None:
        """Book the request under its kind and prompt. The history holds how often it came, and how often in vain."""
        self._kind = self._stats.by_kind.setdefault(kind, KindStats())
        self._kind.requests += 1
        self._history = history
        if history[0]:
            self._stats.repeats += 1
        if history[1]:
            self._stats.retries += 1
            history[1] -= 1
        history[0] += 1

    def count(self, answer: _Answer) -> None:
        """Book the end of the request."""
        self.answer = None
        stats = self._stats
        vars(stats)[answer.outcome] += 1
        stats.last_time = time.monotonic()
        if answer.outcome != "answered":
            stats.lost_tokens += answer.completion_tokens
            stats.lost_prompt_tokens += answer.prompt_tokens
            if self._history is not None:
                self._history[1] += 1
        elif not answer.reported:
            stats.unreported_tokens += answer.completion_tokens
        else:
            for totals in (stats, self._kind):
                if totals is not None:
                    totals.prompt_tokens += answer.prompt_tokens
                    totals.completion_tokens += answer.completion_tokens
        if self._kind is not None:
            self._kind.answered += answer.outcome == "answered"

    def leave(self) -> None:
        """Book that nobody waits any more; what was still due is abandoned."""
        if self.timer is not None:
            self.timer.cancel()
        if self.answer is not None:
            self.count(replace(self.answer, outcome="abandoned"))
        self._stats.in_flight -= 1


class _Connection(asyncio.Protocol):
    """One client's connection: its requests are answered one after the other."""

    def __init__(self, server: "ScriptedServer") -> None:
        self._server = server
        self._reader = _Reader()
        self._message: _Message | None = None
        self.exchange: _Exchange | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server._opened(self)
