"""The HTTP client that a call through LiteLLM is sent with, by its provider."""

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Hashable
from contextlib import suppress
from typing import Any

import httpx

from tale_dspy.backends.guarded_http import GuardedAsyncClient, GuardedClient
from tale_dspy.backends.guarded_openai import GuardedAsyncOpenAI, GuardedOpenAI
from tale_dspy.protocols import SettingsView

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


class LiteLLMClients:
    """The clients of one LM, one for all threads and one for each event loop.

    They are made at first use, and copies of the LM share them. A key or address that changes, in the settings, in the
    environment or in `litellm`, is sent with a new client.
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
        import litellm
        from litellm.llms.openai.common_utils import get_openai_credentials

        loop = asyncio.get_running_loop() if asynchronous else None
        names = ("api_key", "api_base", "base_url", "organization", "custom_llm_provider")
        session = litellm.aclient_session if asynchronous else litellm.client_session
        key = (loop, model, *(str(settings.get(name)) for name in names), get_openai_credentials(), session)
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                for old in [k for k in self._clients if isinstance(k, tuple) and k[0] is not None and k[0].is_closed()]:
                    del self._clients[old]
                client = _client_for(model, settings, asynchronous=asynchronous)
                if client is not None:
                    self._clients[key] = client
            return client


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
    if (litellm.aclient_session if asynchronous else litellm.client_session) is not None:
        return None  # LiteLLM gives the user's HTTP client to OpenAI's SDK
    credentials = get_openai_credentials(base, key, settings.get("organization"))
    if not isinstance(credentials.api_key, str):
        return None
    options = {
        "api_key": credentials.api_key,
        "base_url": credentials.api_base,
        "organization": credentials.organization,
    }
    return GuardedAsyncOpenAI(_loop_client(), **options) if asynchronous else GuardedOpenAI(_thread_client(), **options)


def _thread_client() -> GuardedClient:
    return GuardedClient(verify=_tls_settings())


def _loop_client() -> GuardedAsyncClient:
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    # LiteLLM's transport over aiohttp: httpx's takes twice the CPU at 32 requests in flight.
    verify = _tls_settings()
    transport = AsyncHTTPHandler.create_async_transport(
        ssl_context=verify if isinstance(verify, ssl.SSLContext) else None,
        ssl_verify=verify if isinstance(verify, bool) else None,
    )
    mounts = AsyncHTTPHandler.create_httpx_proxy_mounts(transport, verify=verify, cert=None)
    client = GuardedAsyncClient(verify=verify, transport=transport, mounts=mounts)
    client.closing = _closed_with_loop(client)
    _start_generator(client.closing)
    return client


def _tls_settings() -> Any:
    """Return how LiteLLM checks servers, with the certificate that it shows them."""
    import litellm
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    verify = get_ssl_configuration()
    certificate = os.getenv("SSL_CERTIFICATE", litellm.ssl_certificate)
    if certificate is None:
        return verify
    context = verify if isinstance(verify, ssl.SSLContext) else httpx.create_ssl_context(verify)
    context.load_cert_chain(certificate)
    return context


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

    The event loop then knows it and will close it.
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
