"""HTTP for batch APIs: headers of an LM call, retries, one-sentence errors."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx

from tale_dspy.backends.batch.client import NotFoundError, OverTokenLimitError, fails_in_passing
from tale_dspy.backends.redaction import redact
from tale_dspy.errors import BackendError

ATTEMPTS = 6
"""How often one request to a batch API is sent until the run is given up, some two minutes."""
_NOT_COPIED = {"host", "content-length", "content-type", "accept-encoding", "connection", "transfer-encoding", "accept"}
IDLE_TIMEOUT_S = 120.0
"""Seconds without a byte until a request is given up."""
_rng = random.Random()


class UnclearSendError(BackendError):
    """A request whose reply did not come: the provider may have acted on it."""


def result_row(line: str | bytes) -> dict[str, Any] | None:
    """Read one line of a file of results.

    Returns:
        The row; None for a blank line and one that is no JSON object, whose request then has no result, and is sent
        again.

    Example:
        >>> result_row('{"custom_id": "a"}'), result_row('{"custom_id": "a", "resp')
        ({'custom_id': 'a'}, None)
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


class BatchHTTP:
    """Requests to one provider's batch API.

    Args:
        headers: Those of an LM call; its key and version are sent along.
        retry_after: Mean seconds before the second attempt; doubled with each further one.
    """

    def __init__(self, headers: Mapping[str, str], retry_after: float = 1.0) -> None:
        copied_headers = {name: value for name, value in headers.items() if name.lower() not in _NOT_COPIED}
        self._client = httpx.AsyncClient(headers=copied_headers, timeout=IDLE_TIMEOUT_S, follow_redirects=False)
        self._retry_after = retry_after

    async def get(self, url: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read a JSON object."""
        return _json_of(await self._repeated("GET", url, params=params))

    async def send_safely(self, url: str, **content: Any) -> dict[str, Any]:
        """Send what may be sent twice without harm, such as a file."""
        return _json_of(await self._repeated("POST", url, **content))

    async def send_once(self, url: str, **content: Any) -> httpx.Response:
        """Send what must not be sent twice; a reply of 429 comes back as it is.

        Raises:
            UnclearSendError: If no reply came, or one that leaves open what was done.
            BackendError: If it was refused.
        """
        try:
            response = await self._client.post(url, **content)
        except httpx.HTTPError as e:
            raise UnclearSendError(_reason(e)) from e
        if response.status_code != 429 and fails_in_passing(response.status_code):
            raise UnclearSendError(f"status {response.status_code}")
        if response.status_code != 429:
            _check(response)
        return response

    async def create_batch(
        self, url: str, find: Callable[[], Awaitable[str]], over_limit: tuple[str, ...], **content: Any
    ) -> str:
        """Create a batch exactly once.

        After an unclear reply or a 429 the batch is searched for before it is sent again.

        Args:
            url: Where batches are created.
            find: Returns the id of the batch if an earlier attempt created it, else "".
            over_limit: Words of a 429 that says that too many tokens are enqueued.
            **content: As in `httpx.AsyncClient.post`.

        Returns:
            The provider's id of the batch.

        Raises:
            OverTokenLimitError: If a 429 holds one of those words.
            UnclearSendError: If no attempt brought a clear reply.
            BackendError: If the provider refuses it, or takes no batch now.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = await self.send_once(url, **content)
            except UnclearSendError:
                if attempt == ATTEMPTS:
                    raise
            else:
                if response.status_code != 429:
                    return str(response.json()["id"])
                if any(words in response.text for words in over_limit):
                    raise OverTokenLimitError(redact(response.text)[:300])
            await self.pause(attempt)
            if batch_id := await find():
                return batch_id
        raise BackendError(f"{url} takes no batch now (status 429): continue later")

    async def lines(self, url: str) -> AsyncIterator[bytes]:
        """Yield the lines of a file, without the newline.

        An attempt that breaks off is resumed after the last line it gave.
        """
        yielded = 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._client.stream("GET", url) as response:
                    if response.status_code != 200:
                        await response.aread()
                        if not fails_in_passing(response.status_code):
                            _check(response)
                        raise httpx.HTTPError(f"status {response.status_code}")
                    number = 0
                    async for line in _split(response.aiter_bytes()):
                        number += 1
                        if number > yielded:
                            yielded = number
                            yield line
                return
            except httpx.HTTPError as e:
                if attempt == ATTEMPTS:
                    raise BackendError(f"{url} cannot be read: {_reason(e)}") from e
                await self.pause(attempt)

    async def pause(self, attempt: int) -> None:
        """Wait before the next attempt."""
        await asyncio.sleep(_rng.uniform(0.5, 1.5) * self._retry_after * 2.0 ** (attempt - 1))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _repeated(self, method: str, url: str, **content: Any) -> httpx.Response:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = await self._client.request(method, url, **content)
            except httpx.HTTPError as e:
                if attempt == ATTEMPTS:
                    raise BackendError(f"{url} cannot be reached: {_reason(e)}") from e
            else:
                if attempt == ATTEMPTS or not fails_in_passing(response.status_code):
                    _check(response)
                    return response
            await self.pause(attempt)
        raise AssertionError  # the last attempt returns or raises


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut bytes at newlines alone.

    JSON may hold other characters that `str.splitlines` cuts at.
    """
    rest: list[bytes] = []
    async for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for part in whole:
            yield b"".join([*rest, part])
            rest = []
        rest.append(last)
    if any(rest):
        yield b"".join(rest)


def _json_of(response: httpx.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError as e:
        raise BackendError(f"{response.request.url} answers with no JSON: {response.text[:100]!r}") from e
    if not isinstance(value, dict):
        raise BackendError(f"{response.request.url} must answer with a JSON object, got {value!r:.100}")
    return value


def _check(response: httpx.Response) -> None:
    """Raise the sentence of a reply that refuses a request for good."""
    url = response.request.url
    if response.status_code < 300:
        return
    if response.status_code < 400:
        raise BackendError(f"{url} redirects, which is not followed: give the address itself")
    if response.status_code in (404, 405, 501):
        kind = NotFoundError if response.status_code == 404 else BackendError
        raise kind(f"{url} does not exist (status {response.status_code}): this address has no batch API")
    raise BackendError(f"{url} refuses the batch (status {response.status_code}): {redact(response.text)[:300]}")


def _reason(error: httpx.HTTPError) -> str:
    return redact(str(error)) or type(error).__name__
