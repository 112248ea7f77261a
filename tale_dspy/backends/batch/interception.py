"""Catch the HTTP request of an LM call where its engine would send it.

The engines of DSPy and LiteLLM send through transports of this package (`native_transport`, `guarded_http`). These hand
a request to the sender that is in force, and read its reply as one from the wire: bodies, usage, prices and errors are
made by the code that makes them without a batch.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class HTTPCall:
    """The request of one LM call, as its engine would send it."""

    url: str
    headers: Mapping[str, str]
    """Names in lower case; the key of the provider is among them."""
    body: bytes


@dataclass(frozen=True)
class HTTPReply:
    """The reply to one `HTTPCall`."""

    status: int
    body: bytes


RequestSender = Callable[[HTTPCall], Awaitable[HTTPReply]]

_sender: ContextVar[RequestSender | None] = ContextVar("tale_dspy_request_sender", default=None)


@contextmanager
def use_request_sender(sender: RequestSender) -> Iterator[None]:
    """Send the requests of LM calls inside the block through a function.

    The function takes the place of the network.
    """
    token = _sender.set(sender)
    try:
        yield
    finally:
        _sender.reset(token)


def request_sender() -> RequestSender | None:
    """Return the function that sends the requests of LM calls here.

    It is None where they go over the network.
    """
    return _sender.get()
