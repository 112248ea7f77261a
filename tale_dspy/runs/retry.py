"""What is tried again, when, and what ends the whole run."""

import random
from typing import Literal

from dspy.utils.exceptions import (
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

Verdict = Literal["retry", "question", "run"]

LONGEST_WAIT = 60.0
"""Seconds: the most that is waited between two attempts, whatever Retry-After says."""
_FATAL = (LMAuthError, LMBillingError, LMConfigurationError, LMUnsupportedFeatureError, LMUnsupportedModelError)


def verdict(error: Exception) -> Verdict:
    """Say what a failed call means.

    `retry`: 429, 5xx, time-outs, dropped connections and broken replies. `run`: a key, quota, model or setting that no
    other question would fare better with (401, 403, 404). `question`: everything else, such as a 400 or a prompt longer
    than the context window.
    """
    if isinstance(error, ContextWindowExceededError):
        return "question"
    if isinstance(error, _FATAL) or (isinstance(error, LMError) and error.status in (401, 403, 404)):
        return "run"
    if _without_key(error) or _without_provider(error):
        return "run"
    if is_retryable_lm_error(error) or _broken_reply(error):
        return "retry"
    return "question"


def _without_key(error: Exception) -> bool:
    """A key that is missing: LiteLLM makes a 500 of what the provider's client says when it cannot be built."""
    root: BaseException = error
    while root.__cause__ or root.__context__:
        root = root.__cause__ or root.__context__ or root
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
    jitter = rng.uniform(0.0, min(2.0 ** (attempt - 1), LONGEST_WAIT))
    asked = error.retry_after if isinstance(error, LMError) else None
    return min(max(jitter, float(asked or 0.0)), LONGEST_WAIT)
