"""Where the calls of `tale_dspy.LM` go: server, limits and fallback models.

A mixin of its own, so that prices and reasoning controls can ask for it without importing the LM.
"""

from typing import Any

from tale_dspy.backends.limiter import Limiter


class EndpointOptions:
    """The part of an LM that says where its calls go."""

    server: str | None = None
    """Software at `api_base`, where the caller named it: `vllm`, `sglang` or `llama.cpp`."""
    fallbacks: tuple[Any, ...] = ()
    """LMs that are called in order when this one fails for good."""
    limiter: Limiter | None = None
    """Holds its requests back; shared by all copies."""


def server_name(lm: object) -> str | None:
    """Return the software at the address of an LM; None if nobody named it."""
    return lm.server if isinstance(lm, EndpointOptions) else None


def fallback_lms(lm: object) -> tuple[Any, ...]:
    """Return the LMs that may answer in place of one, in order.

    Their own fallbacks are included.
    """
    fallbacks = lm.fallbacks if isinstance(lm, EndpointOptions) else ()
    return tuple(each for other in fallbacks for each in (other, *fallback_lms(other)))
