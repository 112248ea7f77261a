"""Bytes in, bytes out.

It speaks as much HTTP/1.1 as provider clients do, and the JSON of OpenAI's chat completions.

Nothing here listens, waits or counts. What a request is answered with is decided in `server`.
"""

import asyncio
import http.client
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.testing.messages import Reply, Request, count_words, text_of

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024

_COMPACT = json.JSONEncoder(separators=(",", ":"))
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?")

ERRORS = {
    "unauthorized": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "not_found": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "bad_request": (400, "invalid_request_error", "invalid_value", "Invalid request."),
    "rate_limited": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    "server_error": (500, "server_error", "internal_error", "The server had an error processing your request."),
}
"""Status, type, code and message of the errors `Faults` sends, as OpenAI words them."""


class HTTPError(Exception):
    """Bytes that this server cannot read as a request, with the reply's status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class HttpMessage:
    """One HTTP request."""

    method: str
    path: str
    """Without the query."""
    headers: dict[str, str]
    keep_alive: bool
    body: bytes


async def read_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpMessage:
    """Read one request.

    It raises HTTPError if the bytes cannot be one, and IncompleteReadError if they end.
    """
    head = await _read_to(reader, b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise HTTPError(400, "the request line must be METHOD PATH HTTP/1.x")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "transfer-encoding" in headers:
        body = await _read_chunks(reader)
    else:
        length = headers.get("content-length", "0")
        if not _LENGTH.fullmatch(length):
            raise HTTPError(400, "content-length must be a number")
        body = await reader.readexactly(_check_size(int(length)))
    closing = headers.get("connection", "close" if words[2] == "HTTP/1.0" else "keep-alive").lower()
    return HttpMessage(words[0], words[1].partition("?")[0], headers, "close" not in closing, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body; trailers are passed over."""
    chunks: list[bytes] = []
    total = 0
    while True:
        match = _CHUNK.fullmatch(await _read_to(reader, b"\r\n"))
        if match is None:
            raise HTTPError(400, "a chunk must begin with its size in hexadecimal digits")
        size = int(match[1], 16)
        if size == 0:
            while await _read_to(reader, b"\r\n"):
                pass
            return b"".join(chunks)
        total = _check_size(total + size)
        chunks.append((await reader.readexactly(size + 2))[:-2])


async def _read_to(reader: asyncio.StreamReader, end: bytes) -> bytes:
    try:
        return (await reader.readuntil(end))[: -len(end)]
    except asyncio.LimitOverrunError:
        raise HTTPError(431, f"the head of a request must not pass {MAX_HEAD} bytes") from None


def _check_size(size: int) -> int:
    if size > MAX_BODY:
        raise HTTPError(413, f"a body must not pass {MAX_BODY} bytes")
    return size


def parse_body(raw: bytes) -> tuple[JsonObject, str]:
    """Read the body of a completion, and hash its messages.

    It raises UsageError if the body is no request for a completion.
    """
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


@dataclass(frozen=True)
class WireAnswer:
    """How a request ends.

    It is decided when the request comes, and counted and sent after the latency.
    """

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


def encode(value: object) -> bytes:
    """Return a value as compact JSON."""
    return _COMPACT.encode(value).encode()


def error_answer(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> WireAnswer:
    """Return an error in the shape of OpenAI."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return WireAnswer("errors", status, encode(body))


def refusal(fault: str, retry_after: float = 0.0) -> WireAnswer:
    """Return the error that a fault of `ERRORS` is.

    Only `rate_limited` is sent `retry_after`.
    """
    status, kind, code, text = ERRORS[fault]
    seconds = f"{retry_after:.3f}".rstrip("0").rstrip(".")
    headers = {"retry-after": seconds} if fault == "rate_limited" else {}
    return replace(error_answer(status, text, kind, code), headers=headers)


def compose(request: Request, replies: Sequence[Reply]) -> WireAnswer:
    """Turn the replies to one request, one a choice, into bytes and counts.

    Status, headers and prompt tokens are those of the first reply.
    """
    first, body = replies[0], request.body
    delay = max(reply.delay for reply in replies)
    if first.status != 200:
        answer = error_answer(first.status, first.text or http.client.responses.get(first.status, "error"))
        raw = answer.body if first.raw_body is None else first.raw_body
        return replace(answer, body=raw, headers=first.headers, delay=delay)
    prompt_tokens = first.prompt_tokens
    if prompt_tokens is None:
        prompt_tokens = sum(count_words(text_of(message.get("content"))) for message in request.messages)
    completion_tokens = sum(reply.tokens for reply in replies)
    usage = _usage_json(replies, prompt_tokens, completion_tokens) if first.usage else None
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
    lay_out = _event_stream if stream else _completion_json
    return WireAnswer(
        outcome="answered" if first.raw_body is None else "malformed",
        body=lay_out(head, replies, usage) if first.raw_body is None else first.raw_body,
        headers={"content-type": "text/event-stream", **first.headers} if stream else first.headers,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        reported=usage is not None,
        delay=delay,
    )


def _usage_json(replies: Sequence[Reply], prompt_tokens: int, completion_tokens: int) -> JsonObject:
    usage: JsonObject = {
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


def _completion_json(head: JsonObject, replies: Sequence[Reply], usage: JsonObject | None) -> bytes:
    choices = []
    for index, reply in enumerate(replies):
        message: JsonObject = {"role": "assistant", "content": reply.text}
        if reply.reasoning is not None:
            message["reasoning_content"] = reply.reasoning
        if reply.tool_calls:
            message["tool_calls"] = list(reply.tool_calls)
        choices.append({"index": index, "message": message, "finish_reason": reply.finish_reason})
    return encode({**head, "choices": choices} if usage is None else {**head, "choices": choices, "usage": usage})


def _event_stream(head: JsonObject, replies: Sequence[Reply], usage: JsonObject | None) -> bytes:
    """Lay the replies out as server-sent events, a word each."""
    chunks: list[JsonObject] = []
    for index, reply in enumerate(replies):
        deltas: list[JsonObject] = [{"role": "assistant", "content": "" if reply.text is not None else None}]
        deltas += [{"reasoning_content": reply.reasoning}] if reply.reasoning is not None else []
        deltas += [{"content": word} for word in re.findall(r"\S+\s*|\s+", reply.text or "")]
        deltas += [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(reply.tool_calls)]
        chunks += [{"choices": [{"index": index, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [{"index": index, "delta": {}, "finish_reason": reply.finish_reason}]})
    if usage is not None:
        chunks.append({"choices": [], "usage": usage})
    return b"".join(b"data: %b\n\n" % encode({**head, **chunk}) for chunk in chunks) + b"data: [DONE]\n\n"


def response_bytes(answer: WireAnswer, keep_alive: bool, with_body: bool = True) -> bytes:
    """Write an answer as an HTTP response.

    Headers of the answer replace the server's, except for the length.
    """
    own_headers = {name.lower(): value for name, value in answer.headers.items()}
    headers = {"content-type": "application/json", **own_headers, "content-length": str(len(answer.body))}
    if not keep_alive:
        headers["connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Status')}\r\n{lines}\r\n"
    return head.encode("latin-1", "replace") + (answer.body if with_body else b"")
