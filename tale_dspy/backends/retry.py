"""What is tried again, when, and what ends the whole run."""

import random
from collections.abc import Iterator
from typing import Literal

from dspy import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMInvalidRequestError,
    LMProviderError,
    LMUnexpectedError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
    is_retryable_lm_error,
)

from tale_dspy.dspy_bridge import retry_after_seconds

Verdict = Literal["retry", "question", "run"]

LONGEST_WAIT = 60.0
"""Seconds: the most that is waited between two attempts, whatever Retry-After says."""
_REFUSED = (401, 402, 403, 404)
_PASSING = (408, 425, 429)
_FATAL = (LMAuthError, LMBillingError, LMConfigurationError, LMUnsupportedFeatureError, LMUnsupportedModelError)


def verdict(error: Exception) -> Verdict:
    """Say what a failed call means.

    `retry`: 429, 5xx, time-outs, dropped connections and broken replies. `run`: a key, quota, model or setting that no
    other question would fare better with (401, 402, 403, 404). `question`: everything else, such as a 400 or a prompt
    longer than the context window.
    """
    if isinstance(error, ContextWindowExceededError):
        return "question"
    if isinstance(error, _FATAL) or _without_key(error) or _without_provider(error):
        return "run"
    # By status, too: LiteLLM goes by the words of the error body, and calls many a 429 or 503 a bad request.
    status = error.status if isinstance(error, LMError) and error.status is not None else 0
    if status in _REFUSED:
        return "run"
    if is_retryable_lm_error(error) or _broken_reply(error) or status in _PASSING or status >= 500:
        return "retry"
    return "question"


def _without_key(error: Exception) -> bool:
    """A key that is missing: LiteLLM makes a 500 of what the provider's client says when it cannot be built."""
    *_, root = _causes(error)
    built = type(root).__module__.partition(".")[0] == "openai" and type(root).__name__ == "OpenAIError"
    return built or (type(root) is ValueError and "api key" in str(root).lower())


def _without_provider(error: Exception) -> bool:
    """A model string that LiteLLM cannot route: a 400 of its own making."""
    return isinstance(error, LMInvalidRequestError) and "LLM Provider NOT provided" in str(error)


def _broken_reply(error: Exception) -> bool:
    """A 200 whose body is no reply: the engines have no class of its own for it."""
    return (
        isinstance(error, LMError)
        and type(error) in (LMProviderError, LMUnexpectedError)
        and (error.status is None or error.status == 200)
    )


def wait_before(attempt: int, error: Exception, rng: random.Random) -> float:
    """Return the seconds to wait before the next attempt: full jitter on 1, 2, 4 ... s, at least Retry-After.

    Args:
        attempt: Attempts made so far, from 1.
        error: What the last one ended with.
        rng: Source of the jitter.
    """
    jitter = rng.uniform(0.0, min(2.0 ** min(attempt - 1, 10), LONGEST_WAIT))
    return min(max(jitter, _retry_after(error)), LONGEST_WAIT)


def _retry_after(error: Exception) -> float:
    """Seconds the provider asked to wait; on the LiteLLM path only the HTTP client's own error still knows them."""
    if isinstance(error, LMError) and error.retry_after is not None:
        return float(error.retry_after)
    from httpx import HTTPStatusError

    headers = [e.response.headers for e in _causes(error) if isinstance(e, HTTPStatusError)]
    return next((retry_after_seconds(h["retry-after"]) or 0.0 for h in headers if "retry-after" in h), 0.0)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, down to the root."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
