"""HTTP clients for LiteLLM with bounded attempts and repaired replies.

They bound an attempt's wall clock, follow no redirect, and repair what servers reply.

LiteLLM makes its clients itself unless a call brings one. Those follow redirects with the prompt, and with keys in
`x-api-key` or `x-goog-api-key`, to any host; they bound each read and not the whole, so that a server that drips one
byte each half second holds a call for minutes; and OpenAI's SDK beneath them spends more time on the types of a
request than on sending it. A client is passed with each call, and nothing of LiteLLM's is changed.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tale_dspy.backends.batch.interception import HTTPCall, request_sender
from tale_dspy.backends.call_turns import end_turn
from tale_dspy.backends.reply_bodies import BrokenBodyError, choices_asked, repair_chat_body
from tale_dspy.backends.stream_bodies import StreamRepair
from tale_dspy.backends.stream_formats import stream_repair

CHAT_PATH = "/chat/completions"
"""How the address of a chat completion ends."""


class _BoundedStream(httpx.SyncByteStream):
    """A reply's bytes, given up when the whole takes longer than one read may."""

    def __init__(self, stream: httpx.SyncByteStream, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request
        self._seconds = _read_timeout(request)
        self._deadline = None if self._seconds is None else time.monotonic() + self._seconds

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise httpx.ReadTimeout(f"no whole reply within {self._seconds:g} s", request=self._request)
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _read_timeout(request: httpx.Request) -> float | None:
    seconds: float | None = request.extensions.get("timeout", {}).get("read")
    return seconds


def _repair_response(request: httpx.Request, response: httpx.Response) -> httpx.Response:
    """Return a whole reply with its body repaired.

    A body that is no reply counts as a broken connection.
    """
    if response.status_code != 200 or not request.url.path.endswith(CHAT_PATH):
        return response
    try:
        body = repair_chat_body(response.content, choices_asked(request.content))
    except BrokenBodyError as e:
        raise httpx.RemoteProtocolError(str(e), request=request) from None
    if body is response.content:
        return response
    headers = [(k, v) for k, v in response.headers.multi_items() if k not in ("content-encoding", "content-length")]
    return httpx.Response(200, headers=headers, content=body, request=request, extensions=response.extensions)


class _RepairedStream(httpx.AsyncByteStream):
    """A streamed reply, repaired event by event."""

    def __init__(self, request: httpx.Request, response: httpx.Response, repair: StreamRepair) -> None:
        self._request = request
        self._response = response
        self._repair = repair

    async def __aiter__(self) -> AsyncIterator[bytes]:
        repair = self._repair
        try:
            try:
                async for piece in self._response.aiter_bytes():
                    yield repair.feed(piece)
            except httpx.TransportError:
                if not repair.is_whole:
                    raise
            yield repair.finish()
        except BrokenBodyError as e:
            raise httpx.RemoteProtocolError(str(e), request=self._request) from None

    async def aclose(self) -> None:
        await self._response.aclose()


def _repair_stream(request: httpx.Request, response: httpx.Response) -> httpx.Response:
    """Return a streamed reply that is repaired as it is read."""
    repair = stream_repair(request.url.path, request.content) if response.status_code == 200 else None
    if repair is None:
        return response
    headers = [(k, v) for k, v in response.headers.multi_items() if k not in ("content-encoding", "content-length")]
    stream = _RepairedStream(request, response, repair)
    return httpx.Response(200, headers=headers, stream=stream, request=request, extensions=response.extensions)


class GuardedClient(httpx.Client):
    """A client for threads whose `timeout` bounds a whole reply.

    A whole reply comes straight from the transport: what `httpx.Client` does around it (authentication flows but that
    of the address, redirects, cookies) is not wanted here, and takes as long as the transport itself.
    """

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        if stream or "auth" in options:
            options["follow_redirects"] = False
            return super().send(request, stream=stream, **options)
        _use_userinfo(request)
        with _errors_of(request):
            response = self._transport_for_url(request.url).handle_request(request)
            response.request = request
            try:
                if isinstance(response.stream, httpx.SyncByteStream):
                    response.stream = _BoundedStream(response.stream, request)
                response.read()
            finally:
                response.close()
        return _repair_response(request, response)


class GuardedAsyncClient(httpx.AsyncClient):
    """A client for one event loop, as `GuardedClient` is for threads.

    `tale_dspy.backends.attempts` bounds the time of an attempt there.
    """

    closing: AsyncGenerator[None, None] | None = None
    """Held here, since a loop knows its generators weakly."""

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        end_turn()
        if (sender := request_sender()) is not None:
            reply = await sender(HTTPCall(str(request.url), dict(request.headers), request.content))
            headers = {"content-type": "application/json"}
            return _repair_response(
                request, httpx.Response(reply.status, headers=headers, content=reply.body, request=request)
            )
        if stream or "auth" in options:
            options["follow_redirects"] = False
            response = await super().send(request, stream=stream, **options)
            return _repair_stream(request, response) if stream else response
        _use_userinfo(request)
        with _errors_of(request):
            response = await self._transport_for_url(request.url).handle_async_request(request)
            response.request = request
            try:
                await response.aread()
            finally:
                await response.aclose()
        return _repair_response(request, response)


def _use_userinfo(request: httpx.Request) -> None:
    """Authorize a request by the user and password in its address, as httpx does.

    They leave the address: aiohttp refuses one that has them beside an `Authorization` header.
    """
    if request.url.userinfo:
        next(httpx.BasicAuth(request.url.username, request.url.password).sync_auth_flow(request))
        request.url = request.url.copy_with(username=None, password=None)


@contextmanager
def _errors_of(request: httpx.Request) -> Iterator[None]:
    """Name the request in what a transport raises, as httpx does."""
    try:
        yield
    except httpx.RequestError as e:
        e.request = request
        raise
