"""HTTP clients for LiteLLM.

They bound an attempt's wall clock, follow no redirect, and repair what servers reply.

LiteLLM makes its clients itself unless a call brings one. Those follow redirects with the prompt, and with keys in
`x-api-key` or `x-goog-api-key`, to any host; they bound each read and not the whole, so that a server that drips one
byte each half second holds a call for minutes; and OpenAI's SDK beneath them spends more time on the types of a
request than on sending it. A client is passed with each call, and nothing of LiteLLM's is changed.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import openai
from openai.resources import chat

from tale_dspy.backends.batch.interception import HTTPCall, request_sender
from tale_dspy.backends.reply_bodies import BrokenBodyError, repair_chat_body
from tale_dspy.protocols import RequestSettings, SettingsView

HANDLER_PROVIDERS = frozenset(
    {
        "anthropic",
        "cohere",
        "cohere_chat",
        "deepseek",
        "fireworks_ai",
        "gemini",
        "groq",
        "hosted_vllm",
        "huggingface",
        "mistral",
        "ollama",
        "ollama_chat",
        "openrouter",
        "together_ai",
        "xai",
    }
)
"""Providers that LiteLLM reaches by its HTTP handler; `openai` goes through OpenAI's SDK."""
_CHAT_PATH = "/chat/completions"


class _BoundedStream(httpx.SyncByteStream):
    """A reply's bytes, given up when the whole takes longer than one read may."""

    def __init__(self, stream: httpx.SyncByteStream, request: httpx.Request) -> None:
        self._stream = stream
        self._build_request = request
        self._seconds = _read_timeout(request)
        self._deadline = None if self._seconds is None else time.monotonic() + self._seconds

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise httpx.ReadTimeout(f"no whole reply within {self._seconds:g} s", request=self._build_request)
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
    if response.status_code != 200 or not request.url.path.endswith(_CHAT_PATH):
        return response
    try:
        body = repair_chat_body(response.content, _choices_asked(request))
    except BrokenBodyError as e:
        raise httpx.RemoteProtocolError(str(e), request=request) from None
    if body is response.content:
        return response
    headers = [(k, v) for k, v in response.headers.multi_items() if k not in ("content-encoding", "content-length")]
    return httpx.Response(200, headers=headers, content=body, request=request, extensions=response.extensions)


def _choices_asked(request: httpx.Request) -> int:
    if b'"n"' not in request.content:
        return 1
    body = json.loads(request.content)
    n = body.get("n") if isinstance(body, dict) else None
    return n if isinstance(n, int) else 1


class GuardedClient(httpx.Client):
    """A client for threads whose `timeout` bounds a whole reply."""

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        options["follow_redirects"] = False
        if stream:
            return super().send(request, stream=True, **options)
        response = super().send(request, stream=True, **options)
        try:
            if isinstance(response.stream, httpx.SyncByteStream):
                response.stream = _BoundedStream(response.stream, request)
            response.read()
        finally:
            response.close()
        return _repair_response(request, response)


class GuardedAsyncClient(httpx.AsyncClient):
    """A client for one event loop.

    `tale_dspy.backends.attempts` bounds the time of an attempt there.
    """

    closing: AsyncGenerator[None, None] | None = None
    """Held here, since a loop knows its generators weakly."""

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        if (sender := request_sender()) is not None:
            reply = await sender(HTTPCall(str(request.url), dict(request.headers), request.content))
            headers = {"content-type": "application/json"}
            return _repair_response(
                request, httpx.Response(reply.status, headers=headers, content=reply.body, request=request)
            )
        options["follow_redirects"] = False
        response = await super().send(request, stream=stream, **options)
        return response if stream else _repair_response(request, response)


class _RawReply:
    """A reply as LiteLLM takes it from OpenAI's SDK: headers and a body."""

    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self._response = response

    def parse(self) -> "_ParsedReply":
        return _ParsedReply(self._response.json())


class _ParsedReply:
    def __init__(self, body: RequestSettings) -> None:
        self._body = body

    def model_dump(self) -> RequestSettings:
        return self._body


class _ChatRequests:
    """OpenAI's `client.chat.completions.with_raw_response` for plain JSON.

    It saves the SDK's work on its types.
    """

    def __init__(self, sdk: openai.OpenAI | openai.AsyncOpenAI) -> None:
        self._sdk = sdk
        defaults = {name: value for name, value in sdk.default_headers.items() if isinstance(value, str)}
        self._headers = {**defaults, **sdk.auth_headers}
        self._url = f"{str(sdk.base_url).rstrip('/')}{_CHAT_PATH}"

    @property
    def completions(self) -> "_ChatRequests":
        return self

    @property
    def with_raw_response(self) -> "_ChatRequests":
        return self

    def _build_request(self, http: httpx.Client | httpx.AsyncClient, data: SettingsView) -> httpx.Request:
        body = {name: value for name, value in data.items() if name not in _SDK_ARGUMENTS}
        return http.build_request(
            "POST",
            self._url,
            json=body | (data.get("extra_body") or {}),
            headers={**self._headers, **(data.get("extra_headers") or {})},
            params=data.get("extra_query"),
            timeout=data.get("timeout"),
        )

    def _check_reply(self, response: httpx.Response) -> _RawReply:
        if response.status_code < 300:
            return _RawReply(response)
        raise self._sdk._make_status_error_from_response(response)


_SDK_ARGUMENTS = ("extra_headers", "extra_query", "extra_body", "timeout")


class _ChatInThread(_ChatRequests):
    def __init__(self, sdk: openai.OpenAI, http: httpx.Client) -> None:
        super().__init__(sdk)
        self._thread_client = http
        self._typed = chat.Chat(sdk)

    def create(self, **data: Any) -> Any:
        if data.get("stream"):
            return self._typed.completions.with_raw_response.create(**data)
        request = self._build_request(self._thread_client, data)
        with _sdk_errors(request):
            response = self._thread_client.send(request)
        return self._check_reply(response)


class _ChatInLoop(_ChatRequests):
    def __init__(self, sdk: openai.AsyncOpenAI, http: httpx.AsyncClient) -> None:
        super().__init__(sdk)
        self._thread_client = http
        self._typed = chat.AsyncChat(sdk)

    async def create(self, **data: Any) -> Any:
        if data.get("stream"):
            return await self._typed.completions.with_raw_response.create(**data)
        request = self._build_request(self._thread_client, data)
        with _sdk_errors(request):
            response = await self._thread_client.send(request)
        return self._check_reply(response)


@contextmanager
def _sdk_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as e:
        raise openai.APITimeoutError(request=request) from e
    except httpx.HTTPError as e:
        raise openai.APIConnectionError(message=str(e) or "Connection error.", request=request) from e


class _GuardedOpenAI(openai.OpenAI):
    def __init__(self, http: httpx.Client, **options: Any) -> None:
        super().__init__(http_client=http, max_retries=0, **options)
        self._chat = _ChatInThread(self, http)

    @property
    def chat(self) -> Any:
        return self._chat

    def __deepcopy__(self, memo: object) -> "_GuardedOpenAI":
        return self  # DSPy copies the settings of a call


class _GuardedAsyncOpenAI(openai.AsyncOpenAI):
    def __init__(self, http: httpx.AsyncClient, **options: Any) -> None:
        super().__init__(http_client=http, max_retries=0, **options)
        self._chat = _ChatInLoop(self, http)

    @property
    def chat(self) -> Any:
        return self._chat

    def __deepcopy__(self, memo: object) -> "_GuardedAsyncOpenAI":
        return self


class LiteLLMClients:
    """The clients of one LM, one for all threads and one for each event loop.

    Made at first use, shared by copies.
    """

    def __init__(self) -> None:
        self._clients: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> "LiteLLMClients":
        return self

    def __reduce__(self) -> tuple[type["LiteLLMClients"], tuple[()]]:
        return LiteLLMClients, ()

    def client(self, model: str, settings: SettingsView, *, asynchronous: bool) -> Any:
        """Return the client to send a call with; None where LiteLLM makes its own.

        Args:
            model: A LiteLLM model string.
            settings: The merged settings of the call.
            asynchronous: Whether for the running event loop, or for threads.
        """
        loop = asyncio.get_running_loop() if asynchronous else None
        names = ("api_key", "api_base", "base_url", "organization", "custom_llm_provider")
        key = (loop, model, *(str(settings.get(name)) for name in names))
        with self._lock:
            if key not in self._clients:
                for old in [k for k in self._clients if isinstance(k, tuple) and k[0] is not None and k[0].is_closed()]:
                    del self._clients[old]
                self._clients[key] = _client_for(model, settings, asynchronous=asynchronous)
            return self._clients[key]


def _client_for(model: str, settings: SettingsView, *, asynchronous: bool) -> Any:
    import litellm
    from litellm.exceptions import BadRequestError
    from litellm.llms.openai.common_utils import get_openai_credentials

    key, base = settings.get("api_key"), settings.get("api_base") or settings.get("base_url")
    try:
        _, provider, *_ = litellm.get_llm_provider(model, settings.get("custom_llm_provider"), base, key)
    except BadRequestError:  # LiteLLM will say so when it is called
        return None
    if provider in HANDLER_PROVIDERS:
        return _async_handler() if asynchronous else _make_handler()
    if provider != "openai" or settings.get("model_type") == "text":
        return None
    credentials = get_openai_credentials(base, key, settings.get("organization"))
    if not isinstance(credentials.api_key, str):
        return None
    options = {
        "api_key": credentials.api_key,
        "base_url": credentials.api_base,
        "organization": credentials.organization,
    }
    return (
        _GuardedAsyncOpenAI(_loop_client(), **options) if asynchronous else _GuardedOpenAI(_thread_client(), **options)
    )


def _thread_client() -> GuardedClient:
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    return GuardedClient(verify=get_ssl_configuration())


def _loop_client() -> GuardedAsyncClient:
    import ssl

    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, get_ssl_configuration

    # LiteLLM's transport over aiohttp: httpx's takes twice the CPU at 32 requests in flight.
    verify = get_ssl_configuration()
    transport = AsyncHTTPHandler.create_async_transport(
        ssl_context=verify if isinstance(verify, ssl.SSLContext) else None,
        ssl_verify=verify if isinstance(verify, bool) else None,
    )
    mounts = AsyncHTTPHandler.create_httpx_proxy_mounts(transport, verify=verify, cert=None)
    client = GuardedAsyncClient(verify=verify, transport=transport, mounts=mounts)
    client.closing = _closed_with_loop(client)
    _start_generator(client.closing)
    return client


async def _closed_with_loop(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    """Close a client when its event loop shuts down its generators.

    `asyncio.run` does so at its end.
    """
    try:
        yield
    finally:
        await client.aclose()


def _start_generator(generator: AsyncGenerator[None, None]) -> None:
    """Run a generator to its first `yield`, without awaiting.

    The loop then knows it.
    """
    with suppress(StopIteration):
        generator.__anext__().__await__().__next__()


def _make_handler() -> Any:
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    class GuardedHandler(HTTPHandler):
        """LiteLLM's handler for threads, with a guarded client."""

        def __deepcopy__(self, memo: object) -> "GuardedHandler":
            return self

    return GuardedHandler(client=_thread_client())


def _async_handler() -> Any:
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    class GuardedAsyncHandler(AsyncHTTPHandler):
        """LiteLLM's handler for event loops, with a guarded client."""

        def __deepcopy__(self, memo: object) -> "GuardedAsyncHandler":
            return self

    handler = GuardedAsyncHandler()
    handler.client = _loop_client()
    return handler
