"""Which batch API a request goes to, by the address it would be sent to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tale_dspy.backends.batch.anthropic_format import AnthropicBatchClient
from tale_dspy.backends.batch.batch_http import BatchHTTP
from tale_dspy.backends.batch.client import BatchClient
from tale_dspy.backends.batch.interception import HTTPCall
from tale_dspy.backends.batch.openai_format import OpenAIBatchClient
from tale_dspy.errors import BackendError

_OPENAI_ENDPOINTS = ("/chat/completions", "/responses")
_KEYS = ("authorization", "x-api-key", "api-key", "openai-organization", "openai-project", "anthropic-beta")


@dataclass(frozen=True)
class BatchGroup:
    """What the requests of one batch have in common."""

    url: str
    model: str
    keys: tuple[tuple[str, str], ...]
    """Headers that say who pays, and which features are on."""

    def __repr__(self) -> str:
        return f"BatchGroup({self.url}, {self.model})"  # never the keys


def batch_group(call: HTTPCall) -> BatchGroup:
    """Return what a request shares with those that may go into one batch with it."""
    headers: Mapping[str, str] = {name.lower(): value for name, value in call.headers.items()}
    keys = tuple((name, headers[name]) for name in _KEYS if name in headers)
    return BatchGroup(call.url, str(json.loads(call.body).get("model")), keys)


def batch_client(call: HTTPCall) -> BatchClient:
    """Return a client of the batch API beside the address of a request.

    Raises:
        BackendError: If no batch API is known for such an address.
    """
    address = call.url.partition("?")[0]
    for endpoint in _OPENAI_ENDPOINTS:
        if address.endswith(endpoint):
            return OpenAIBatchClient(address.removesuffix(endpoint), endpoint, BatchHTTP(call.headers))
    if address.endswith("/messages"):
        return AnthropicBatchClient(address, BatchHTTP(call.headers))
    raise BackendError(f"{address} has no batch API that is known here: run without --batch")
