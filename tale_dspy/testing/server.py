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
import http.client
import json
import math
import re
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tale_dspy.errors import TaleError, UsageError
from tale_dspy.testing import SHARES, Faults, KindStats, Reply, Request, ServerStats, count_words, spoil
from tale_dspy.testing.problems import SolverReply, kind_of, read_bank, word_problems

__all__ = ["Faults", "Reply", "Request", "ScriptedServer", "ServerStats", "SolverReply", "main"]

ReplyFunction = Callable[[Request], Reply | str]

HOST = "127.0.0.1"
MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
STOP_S = 2.0
"""Seconds that starting and stopping may take; only a reply function that blocks takes longer."""

_CREDENTIALS = {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"}
_CHAT_PATHS = {"/v1/chat/completions", "/chat/completions"}
_COMPACT = json.JSONEncoder(separators=(",", ":"))
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


class _HTTPError(Exception):
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
    body: bytes


async def _read_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Message:
    """Read one request; raise _HTTPError if the bytes cannot be one and IncompleteReadError if they end."""
    head = await _read_to(reader, b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _HTTPError(400, "the request line must be METHOD PATH HTTP/1.x")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "transfer-encoding" in headers:
        body = await _read_chunks(reader)
    else:
        length = headers.get("content-length", "0")
        if not _LENGTH.fullmatch(length):
            raise _HTTPError(400, "content-length must be a number")
        body = await reader.readexactly(_checked(int(length)))
    closing = headers.get("connection", "close" if words[2] == "HTTP/1.0" else "keep-alive").lower()
    return _Message(words[0], words[1].partition("?")[0], headers, "close" not in closing, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body; trailers are passed over."""
    chunks: list[bytes] = []
    total = 0
    while True:
        match = _CHUNK.fullmatch(await _read_to(reader, b"\r\n"))
        if match is None:
            raise _HTTPError(400, "a chunk must begin with its size in hexadecimal digits")
        size = int(match[1], 16)
        if size == 0:
            while await _read_to(reader, b"\r\n"):
                pass
            return b"".join(chunks)
        total = _checked(total + size)
        chunks.append((await reader.readexactly(size + 2))[:-2])


async def _read_to(reader: asyncio.StreamReader, end: bytes) -> bytes:
    try:
        return (await reader.readuntil(end))[: -len(end)]
    except asyncio.LimitOverrunError:
        raise _HTTPError(431, f"the head of a request must not pass {MAX_HEAD} bytes") from None


def _checked(size: int) -> int:
    if size > MAX_BODY:
        raise _HTTPError(413, f"a body must not pass {MAX_BODY} bytes")
    return size


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
    return _COMPACT.encode(value).encode()


def _error(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> _Answer:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return _Answer("errors", status, _json(body))


def _compose(request: Request, replies: Sequence[Reply]) -> _Answer:
    """Turn the replies to one request, one a choice, into bytes and counts; the first decides what holds for all."""
    first, body = replies[0], request.body
    delay = max(reply.delay for reply in replies)
    if first.status != 200:
        answer = _error(first.status, first.text or http.client.responses.get(first.status, "error"))
        raw = answer.body if first.raw_body is None else first.raw_body
        return replace(answer, body=raw, headers=first.headers, delay=delay)
    prompt_tokens = first.prompt_tokens
    if prompt_tokens is None:
        prompt_tokens = sum(count_words(_text(message.get("content"))) for message in request.messages)
    completion_tokens = sum(reply.tokens for reply in replies)
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
    lay_out = _events if stream else _document
    return _Answer(
        outcome="answered" if first.raw_body is None else "malformed",
        body=lay_out(head, replies, usage) if first.raw_body is None else first.raw_body,
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
        thought = sum(count_words(reply.reasoning) for reply in replies)
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
        self._kind = KindStats()
        self._history = [0, 0]
        self._due: _Answer | None = None
        stats.requests += 1
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        if stats.first_time is None:
            stats.first_time = time.monotonic()

    def identify(self, kind: str, history: list[int]) -> None:
        """Book the request under its kind and prompt. The history holds how often it came, and how often in vain."""
        self._kind = self._stats.by_kind.setdefault(kind, KindStats())
        self._kind.requests += 1
        self._stats.repeats += history[0] > 0
        self._stats.retries += history[1] > 0
        self._history = history
        history[0] += 1
        history[1] -= history[1] > 0

    def promise(self, answer: _Answer) -> None:
        """Note what is due; it is abandoned if the exchange is left before it is counted."""
        self._due = answer

    def count(self, answer: _Answer) -> None:
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


class _Book:
    """What is counted and kept between two resets."""

    def __init__(self, record: int) -> None:
        self.stats = ServerStats()
        self.requests: deque[Request] = deque(maxlen=record)
        self._histories: dict[str, list[int]] = {}

    def admit(self, exchange: _Exchange, message: _Message, body: dict[str, Any], key: str) -> Request:
        """Book a readable request and return it as the reply function gets it."""
        system, prompt = "", ""
        for part in body["messages"]:
            if part.get("role") in ("system", "developer"):
                system = f"{system}\n{_text(part.get('content'))}".lstrip("\n")
            elif part.get("role") == "user":
                prompt = _text(part.get("content"))
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
        exchange.identify(request.kind, history)
        self.requests.append(request)
        return request


class _Connection(asyncio.StreamReaderProtocol):
    """Streams whose conversation ends as soon as the client leaves, also while it waits for an answer."""

    def __init__(self, server: "ScriptedServer") -> None:
        super().__init__(asyncio.StreamReader(limit=MAX_HEAD), self._start)
        self._server = server
        self._conversation: asyncio.Task[None]
        self.writer: asyncio.StreamWriter

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._conversation = asyncio.create_task(self._server._converse(reader, writer))
        self._server._open.add(self)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # a client that closed its side has left: close ours, which ends in connection_lost

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._conversation.cancel()
        self._server._open.discard(self)


class ScriptedServer:
    """An OpenAI-compatible server on 127.0.0.1 whose replies are written by a function.

    It runs in a daemon thread from `start` to `stop`, or inside a `with` block. The function is called in that thread,
    once for each choice asked for, and must not block. If it raises, the client gets a 500 and leaving the block raises
    its exception. Tokens are words, cut at white space, unless a `Reply` says otherwise.

    Args:
        reply: What to answer: a function of the request, or one reply for everything.
        latency: Seconds before each reply, errors included.
        faults: What goes wrong.
        record: How many of the last requests `requests` keeps; 0 for benchmarks.
        port: The port; 0 takes a free one.

    Raises:
        UsageError: If `latency` or `record` is negative or `port` is none.

    Example:
        >>> with ScriptedServer("Answer: [[4]]", faults=Faults(rate_limited=1.0)) as server:
        ...     url = server.url
        >>> server.stats.requests
        0
    """

    def __init__(
        self,
        reply: ReplyFunction | Reply | str = "",
        *,
        latency: float = 0.0,
        faults: Faults = Faults(),  # noqa: B008  (frozen)
        record: int = 10_000,
        port: int = 0,
    ) -> None:
        if not 0 <= latency < math.inf or record < 0:
            raise UsageError(f"latency and record must be 0 or more, not {latency} and {record}")
        if not 0 <= port <= 65535:
            raise UsageError(f"port must be between 0 and 65535, not {port}")
        self.latency = latency
        self.faults = faults
        self.failure: Exception | None = None
        """The first exception that the reply function raised."""
        self._reply = reply
        self._record = record
        self._port = port
        self._book = _Book(record)
        self._open: set[_Connection] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event

    @property
    def url(self) -> str:
        """The base URL for clients; of a stopped server, where it was. UsageError before the first start."""
        if not self._port:
            raise UsageError("the server has no URL before it is started")
        return f"http://{HOST}:{self._port}/v1"

    @property
    def stats(self) -> ServerStats:
        """The live counts since the last reset."""
        return self._book.stats

    @property
    def requests(self) -> list[Request]:
        """The last requests, oldest first, without those whose body could not be read."""
        return list(self._book.requests)

    def reset(self) -> None:
        """Start all counts and memories anew. Requests in flight are booked on the counts they began with."""
        self._book = _Book(self._record)

    def start(self) -> Self:
        """Listen, and return at once: clients may connect from here on.

        Raises:
            UsageError: If the server runs already or the port cannot be had.
        """
        if self._thread is not None:
            raise UsageError("the server runs already")
        try:
            listener = socket.create_server((HOST, self._port), backlog=1024)
        except OSError as e:
            raise UsageError(f"port {self._port} cannot be had: {e}") from e
        self._port = listener.getsockname()[1]
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._main(listener, started),), daemon=True, name="scripted-server"
        )
        self._thread.start()
        started.result(STOP_S)
        return self

    def stop(self) -> None:
        """Close all connections, answered or not, and end the thread. A stopped server is left as it is.

        Raises:
            TaleError: If a reply function blocks the thread for longer than two seconds.
        """
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            raise TaleError(f"the server did not stop within {STOP_S} s: its reply function blocks")
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.failure is not None and error is None:
            raise self.failure

    async def _main(self, listener: socket.socket, started: "Future[None]") -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), sock=listener)
        started.set_result(None)
        await self._stopping.wait()
        server.close()
        while self._open:
            for connection in self._open:
                connection.writer.transport.abort()
            await asyncio.sleep(0)  # connection_lost comes in the next round of the loop

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection one after the other."""
        self._book.stats.connections += 1
        try:
            while True:
                message = await _read_message(reader, writer)
                if message.method == "POST" and message.path in _CHAT_PATHS:
                    answer = await self._complete(message)
                else:
                    answer = self._page(message)
                if answer.outcome == "dropped":
                    writer.transport.abort()
                    return
                writer.write(_response(answer, message.keep_alive, with_body=message.method != "HEAD"))
                if not message.keep_alive:
                    return
        except _HTTPError as e:
            self._book.stats.other += 1
            writer.write(_response(_error(e.status, str(e)), keep_alive=False))
        except asyncio.IncompleteReadError:
            pass  # the client has said all it had to say
        finally:
            writer.close()

    async def _complete(self, message: _Message) -> _Answer:
        """Return the answer to a completion when it is due, counted."""
        book = self._book
        exchange = _Exchange(book.stats)
        try:
            answer = self._decide(book, exchange, message)
            if answer.outcome == "hung":
                exchange.count(answer)
                await asyncio.Event().wait()  # until the client leaves or the server stops
            exchange.promise(answer)
            if self.latency + answer.delay > 0:
                await asyncio.sleep(self.latency + answer.delay)
            exchange.count(answer)
            return answer
        finally:
            exchange.leave()

    def _decide(self, book: _Book, exchange: _Exchange, message: _Message) -> _Answer:
        """Work out the answer to a completion."""
        try:
            body, key = _parse(message.body)
        except UsageError as e:
            return _error(400, str(e))
        request = book.admit(exchange, message, body, key)
        fault = self.faults.always() or self.faults.strike(request, key)
        if fault is not None:
            book.stats.by_fault[fault] = book.stats.by_fault.get(fault, 0) + 1
        if fault in _ERRORS:
            return self._refusal(fault)
        try:
            replies = [self._ask(replace(request, choice=i)) for i in range(body.get("n") or 1)]
            answer = _compose(request, [spoil(fault, reply) for reply in replies])
        except Exception as e:  # the boundary to the caller's script: it must not end the server, and is raised at exit
            self.failure = self.failure or e
            return _error(500, f"the reply function failed: {type(e).__name__}: {e}", "server_error")
        if fault in ("dropped", "hung"):
            return replace(answer, outcome=fault)
        if fault == "malformed" and answer.outcome == "answered":
            return replace(answer, outcome=fault, body=answer.body[: len(answer.body) // 2])
        return answer

    def _ask(self, request: Request) -> Reply:
        reply = self._reply(request) if callable(self._reply) else self._reply
        if isinstance(reply, str):
            return Reply(reply)
        if isinstance(reply, Reply):
            return reply
        raise TypeError(f"a reply function must return a Reply or a str, not {type(reply).__name__}")

    def _refusal(self, fault: str) -> _Answer:
        status, kind, code, text = _ERRORS[fault]
        headers = (
            {"retry-after": f"{self.faults.retry_after:.3f}".rstrip("0").rstrip(".")} if fault == "rate_limited" else {}
        )
        return replace(_error(status, text, kind, code), headers=headers)

    def _page(self, message: _Message) -> _Answer:
        """Answer everything that is not a completion."""
        stats = self._book.stats
        stats.other += 1
        page = (message.method, message.path.removeprefix("/v1"))
        if page == ("GET", "/models") and self.faults.unauthorized:
            return self._refusal("unauthorized")
        if page == ("GET", "/models"):
            model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "tale-dspy"}
            return _Answer("other", body=_json({"object": "list", "data": [model]}))
        if page == ("GET", "/stats"):
            return _Answer("other", body=_json(stats.to_json()))
        if page == ("POST", "/reset"):
            self.reset()
            return _Answer("other", body=_json({"reset": True}))
        return _error(404, f"there is nothing at {message.method} {message.path}", code="unknown_url")


def _response(answer: _Answer, keep_alive: bool, with_body: bool = True) -> bytes:
    given = {name.lower(): value for name, value in answer.headers.items()}
    headers = {"content-type": "application/json", **given, "content-length": str(len(answer.body))}
    if not keep_alive:
        headers["connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Status')}\r\n{lines}\r\n"
    return head.encode("latin-1", "replace") + (answer.body if with_body else b"")


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    if name not in SHARES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SHARES)}")
    return name, float(share)


def _until_signalled() -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def main(argv: Sequence[str] | None = None, until: Callable[[], object] = _until_signalled) -> int:
    """Serve the scripted solver as a process of its own, until it is interrupted or terminated.

    Args:
        argv: The command line; None takes the process's.
        until: Returns when the server shall end.

    Returns:
        0, or 2 for options that cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m tale_dspy.testing.server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--bank", type=Path, help="a .jsonl of question and answer; without it, word problems")
    parser.add_argument("--problems", type=int, default=40, help="how many word problems")
    parser.add_argument("--seed", type=int, default=0, help="of the word problems, the solver and the faults")
    parser.add_argument("--record", type=int, default=0, help="how many requests to keep in memory")
    parser.add_argument(
        "--fault", type=_share, action="append", default=[], metavar="NAME=SHARE", help=", ".join(SHARES)
    )
    parser.add_argument("--tries", type=int, default=1, help="how many attempts of a struck prompt fail")
    parser.add_argument("--retry-after", type=float, default=0.0, help="seconds named with a 429")
    args = parser.parse_args(argv)
    try:
        rows = word_problems(args.problems, args.seed)
        bank = read_bank(args.bank) if args.bank else {row["question"]: row["answer"] for row in rows}
        faults = Faults(**dict(args.fault), tries=args.tries, retry_after=args.retry_after, seed=args.seed)
        reply = SolverReply(bank, seed=args.seed)
        with ScriptedServer(reply, latency=args.latency, faults=faults, record=args.record, port=args.port) as server:
            sys.stdout.write(f"{server.url}\n")
            sys.stdout.flush()
            until()
    except UsageError as e:
        sys.stderr.write(f"{e}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
