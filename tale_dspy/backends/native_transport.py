"""Transports for DSPy's engine with bounded attempts and repaired replies.

DSPy builds an engine at its first use and keeps it in the LM's engine store. The store here is DSPy's dict, except that
an engine put into it sends through a transport of this module. DSPy's transports follow no redirect.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol

from tale_dspy.backends.batch.interception import HTTPCall, RequestSender, request_sender
from tale_dspy.backends.call_turns import end_turn
from tale_dspy.backends.reply_bodies import BrokenBodyError, choices_asked, repair_chat_body
from tale_dspy.backends.stream_bodies import StreamRepair
from tale_dspy.backends.stream_formats import stream_repair
from tale_dspy.dspy_bridge import (
    AsyncTransportResponse,
    TransportError,
    TransportReadError,
    TransportReadTimeout,
    TransportResponse,
    engine_read_timeout,
    replace_transport,
)
from tale_dspy.protocols import JsonObject

_CHAT_PATH = "/chat/completions"


class _HttpRequest(Protocol):
    """What is read of a request of DSPy's engine."""

    url: str
    body: bytes


class GuardedEngineStore(dict[Any, Any]):
    """DSPy's engines by their settings; each sends through a guarded transport."""

    def __setitem__(self, key: Any, engine: Any) -> None:
        asynchronous = key[0] is not None
        seconds = engine_read_timeout(engine)
        guard = GuardedAsyncTransport if asynchronous else GuardedTransport
        replace_transport(engine, lambda inner: guard(inner, seconds))
        engine.plan = TextPlans(engine.plan)
        engine.resolve = lru_cache(maxsize=64)(engine.resolve)  # asked at each request; nothing changes the answer
        super().__setitem__(key, engine)


class TextPlans:
    """The plans of an engine, made once for requests that differ in text alone.

    DSPy builds a request only to learn, before it is sent, whether the engine can carry it. What decides is the
    configuration and the kinds of content, so that a further request of text alone with the configuration of the last
    one is not built once more.

    Args:
        plan: Plans one request, and raises what sending it would raise.
    """

    def __init__(self, plan: Callable[[Any], Any]) -> None:
        self._plan = plan
        self._last: tuple[Any, Any, Any] | None = None

    def __call__(self, request: Any) -> Any:
        """Return the plan of a request."""
        if request.tools or not _is_text_alone(request):
            return self._plan(request)
        last = self._last
        if last is None or (request.model, request.config) != last[:2]:
            last = self._last = (request.model, request.config, self._plan(request))
        return last[2]


def _is_text_alone(request: Any) -> bool:
    if any(message.continuation or message.role not in ("user", "assistant") for message in request.messages):
        return False
    parts = [part for message in request.messages for part in message.parts]
    if request.system is not None and not isinstance(request.system, str):
        parts += request.system
    return all(part.type == "text" for part in parts)


class GuardedTransport:
    """A transport for threads whose read timeout bounds a whole reply.

    Args:
        inner: The transport that sends.
        seconds: The bound; None for the transport's reads alone.
    """

    def __init__(self, inner: Any, seconds: float | None) -> None:
        self._inner = inner
        self._seconds = seconds

    def stream(self, request: _HttpRequest) -> Any:
        """Send a request; its reply comes repaired, a stream as it is read."""
        started = time.monotonic()
        response: Any = self._inner.stream(request)
        pieces = self._until(started, response)
        if (repair := _repair_of(request, response)) is not None:
            repaired = _repaired_chunks(repair, pieces)
            return TransportResponse(**_response_head(response), chunks=repaired, release=lambda _: response.close())
        if not _is_chat(request):
            return response
        with response:
            body = _repair_body(request, response.status, b"".join(pieces))
        return TransportResponse(**_response_head(response), chunks=iter([body]), release=_do_nothing)

    def _until(self, started: float, response: Any) -> Iterator[bytes]:
        """Yield what comes of a reply until its time is over."""
        for piece in response:
            if self._seconds is not None and time.monotonic() - started > self._seconds:
                raise TransportReadTimeout(f"no whole reply within {self._seconds:g} s")
            yield piece

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class GuardedAsyncTransport:
    """A transport for an event loop.

    `tale_dspy.backends.attempts` bounds the time of an attempt there.
    """

    def __init__(self, inner: Any, seconds: float | None) -> None:
        self._inner = inner

    def stream(self, request: _HttpRequest) -> "_AsyncReply":
        """Send a request; its reply comes repaired, a stream as it is read."""
        end_turn()
        sender = request_sender()
        sending = self._inner.stream(request) if sender is None else _SentElsewhere(sender, request)
        return _AsyncReply(sending, request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _SentElsewhere:
    """The reply to a request that goes through a sender in the place of the wire."""

    def __init__(self, sender: RequestSender, request: Any) -> None:
        self._sender = sender
        self._request = request

    async def __aenter__(self) -> Any:
        request = self._request
        headers = {name.lower(): value for name, value in request.headers}
        reply = await self._sender(HTTPCall(request.url, headers, request.body))
        return AsyncTransportResponse(
            status=reply.status,
            reason="",
            headers=[("content-type", "application/json")],
            http_version="HTTP/1.1",
            chunks=_one_chunk(reply.body),
            release=_do_nothing_async,
        )

    async def __aexit__(self, *error: Any) -> None:
        """Do nothing: no connection is held."""


class _AsyncReply:
    def __init__(self, sending: Any, request: _HttpRequest) -> None:
        self._sending = sending
        self._request = request

    async def __aenter__(self) -> Any:
        response: Any = await self._sending.__aenter__()
        if (repair := _repair_of(self._request, response)) is not None:
            chunks = _arepaired_chunks(repair, response)
            return AsyncTransportResponse(**_response_head(response), chunks=chunks, release=_do_nothing_async)
        if not _is_chat(self._request):
            return response
        body = _repair_body(self._request, response.status, await response.read())
        return AsyncTransportResponse(**_response_head(response), chunks=_one_chunk(body), release=_do_nothing_async)

    async def __aexit__(self, *error: object) -> None:
        await self._sending.__aexit__(*error)


def _repair_body(request: _HttpRequest, status: int, body: bytes) -> bytes:
    if status != 200:
        return body
    try:
        return repair_chat_body(body, choices_asked(request.body))
    except BrokenBodyError as e:
        raise TransportReadError(str(e)) from None


def _repair_of(request: _HttpRequest, response: Any) -> StreamRepair | None:
    return stream_repair(request.url.partition("?")[0], request.body) if response.status == 200 else None


def _repaired_chunks(repair: StreamRepair, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a streamed reply, repaired event by event."""
    try:
        try:
            for piece in pieces:
                yield repair.feed(piece)
        except TransportError:
            if not repair.is_whole:
                raise
        yield repair.finish()
    except BrokenBodyError as e:
        raise TransportReadError(str(e)) from None


async def _arepaired_chunks(repair: StreamRepair, response: Any) -> AsyncIterator[bytes]:
    """Yield a streamed reply, as `_repaired_chunks` does, in an event loop."""
    try:
        try:
            async for piece in response:
                yield repair.feed(piece)
        except TransportError:
            if not repair.is_whole:
                raise
        yield repair.finish()
    except BrokenBodyError as e:
        raise TransportReadError(str(e)) from None


def _is_chat(request: _HttpRequest) -> bool:
    return bool(request.url.partition("?")[0].endswith(_CHAT_PATH))


def _response_head(response: Any) -> JsonObject:
    return {
        "status": response.status,
        "reason": response.reason,
        "headers": response.headers,
        "http_version": response.http_version,
    }


async def _one_chunk(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _do_nothing(body_consumed: bool) -> None:
    """Do nothing: the reply was read before."""


async def _do_nothing_async(body_consumed: bool) -> None:
    """Do nothing: the reply was read before."""
