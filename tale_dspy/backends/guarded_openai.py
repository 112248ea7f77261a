"""Chat completions of LiteLLM's OpenAI path by this package's HTTP clients.

The SDK builds each request; the client sends it and reads the reply as JSON, without the SDK's models.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpx
import openai
from openai.resources import chat

from tale_dspy.backends.guarded_http import CHAT_PATH
from tale_dspy.protocols import RequestSettings, SettingsView


class _RawReply:
    """A reply as LiteLLM takes it from OpenAI's SDK: headers and a body."""

    def __init__(self, response: httpx.Response) -> None:
        self.headers = dict(response.headers.items())
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

    It saves the work the SDK does on its types.
    """

    def __init__(self, sdk: openai.OpenAI | openai.AsyncOpenAI, http: httpx.Client | httpx.AsyncClient) -> None:
        self._sdk = sdk
        self._http = http
        defaults = {name: value for name, value in sdk.default_headers.items() if isinstance(value, str)}
        self._headers = {**defaults, **sdk.auth_headers}
        self._url = httpx.URL(f"{str(sdk.base_url).rstrip('/')}{CHAT_PATH}")
        self._merged_headers = lru_cache(maxsize=64)(self._merge_headers)

    @property
    def completions(self) -> "_ChatRequests":
        return self

    @property
    def with_raw_response(self) -> "_ChatRequests":
        return self

    def _build_request(self, data: SettingsView) -> httpx.Request:
        body = {name: value for name, value in data.items() if name not in _SDK_ARGUMENTS}
        body |= data.get("extra_body") or {}
        return httpx.Request(
            "POST",
            self._url,
            content=json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(),
            headers=self._merged_headers(tuple((data.get("extra_headers") or {}).items())),
            params=data.get("extra_query"),
            extensions={"timeout": httpx.Timeout(data.get("timeout")).as_dict()},
        )

    def _merge_headers(self, extra: tuple[tuple[str, str], ...]) -> httpx.Headers:
        """Return the headers of a request.

        Those of the call override those of the SDK, which override the client's.
        """
        headers = httpx.Headers(self._headers)
        headers.update(dict(extra))
        merged = self._http.build_request("POST", self._url, headers=headers).headers
        merged.setdefault("content-type", "application/json")
        del merged["content-length"]
        return merged

    def _check_reply(self, response: httpx.Response) -> _RawReply:
        if response.status_code < 300:
            return _RawReply(response)
        raise self._sdk._make_status_error_from_response(response)


_SDK_ARGUMENTS = ("extra_headers", "extra_query", "extra_body", "timeout")


class _ChatInThread(_ChatRequests):
    def __init__(self, sdk: openai.OpenAI, http: httpx.Client) -> None:
        super().__init__(sdk, http)
        self._thread_client = http
        self._typed = chat.Chat(sdk)

    def create(self, **data: Any) -> Any:
        if data.get("stream"):
            return self._typed.completions.with_raw_response.create(**data)
        request = self._build_request(data)
        with _sdk_errors(request):
            response = self._thread_client.send(request)
        return self._check_reply(response)


class _ChatInLoop(_ChatRequests):
    def __init__(self, sdk: openai.AsyncOpenAI, http: httpx.AsyncClient) -> None:
        super().__init__(sdk, http)
        self._loop_client = http
        self._typed = chat.AsyncChat(sdk)

    async def create(self, **data: Any) -> Any:
        if data.get("stream"):
            return await self._typed.completions.with_raw_response.create(**data)
        request = self._build_request(data)
        with _sdk_errors(request):
            response = await self._loop_client.send(request)
        return self._check_reply(response)


@contextmanager
def _sdk_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as e:
        raise openai.APITimeoutError(request=request) from e
    except httpx.HTTPError as e:
        raise openai.APIConnectionError(message=str(e) or "Connection error.", request=request) from e


class GuardedOpenAI(openai.OpenAI):
    """OpenAI's client for threads, with an HTTP client of this package."""

    def __init__(self, http: httpx.Client, **options: Any) -> None:
        super().__init__(http_client=http, max_retries=0, **options)
        self._chat = _ChatInThread(self, http)

    @property
    def chat(self) -> Any:
        return self._chat

    def __deepcopy__(self, memo: object) -> "GuardedOpenAI":
        return self  # DSPy copies the settings of a call


class GuardedAsyncOpenAI(openai.AsyncOpenAI):
    """OpenAI's client for event loops, with an HTTP client of this package."""

    def __init__(self, http: httpx.AsyncClient, **options: Any) -> None:
        super().__init__(http_client=http, max_retries=0, **options)
        self._chat = _ChatInLoop(self, http)

    @property
    def chat(self) -> Any:
        return self._chat

    def __deepcopy__(self, memo: object) -> "GuardedAsyncOpenAI":
        return self
