"""The one retry policy.

It says which failed call is sent again, after how long, and which failure ends a whole run.
"""

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
    LMRateLimitError,
    LMUnexpectedError,
    LMUnsupportedFeatureError,
    is_retryable_lm_error,
)

from tale_dspy.dspy_bridge import retry_after_seconds

ErrorScope = Literal["retry", "question", "run"]

MAX_DELAY_S = 60.0
"""Seconds: the longest wait between two attempts, whatever Retry-After says."""

STATUS_SCOPES: dict[int, ErrorScope] = {
    401: "run",  # the key
    402: "run",  # the quota
    403: "question",  # a router forwards one prompt's moderation so (OpenRouterTeam/benchmark-harness#90)
    404: "question",  # no endpoint for this one request
    408: "retry",
    409: "retry",  # a lock that another request holds; OpenAI's SDK retries it
    425: "retry",
    429: "retry",
    498: "retry",  # Groq: flex capacity exceeded
    499: "retry",  # a proxy gave up on its upstream
}
"""What an HTTP status of 4xx means; every other one concerns its question alone, and every 5xx is sent again."""

RUN_CODES = {"model_not_found", "DeploymentNotFound", "invalid_api_key", "insufficient_quota"}
"""Codes of OpenAI's and Azure's error bodies that concern every request."""
_RUN_ERRORS = (LMBillingError, LMConfigurationError, LMUnsupportedFeatureError)


def classify_error(error: Exception) -> ErrorScope:
    """Say what a failed call means.

    The status decides where there is one: LiteLLM goes by the words of the error body, and calls many a 429 or 503 a
    bad request.

    Returns:
        `retry`: 429, 5xx, time-outs, dropped connections and broken replies. `run`: a key, quota or setting that
        every other question would meet, too. `question`: everything else, such as a 400, a 403, a 404 or a prompt
        longer than the context window.
    """
    if isinstance(error, ContextWindowExceededError):
        return "question"
    if isinstance(error, _RUN_ERRORS) or _lacks_key(error) or _lacks_provider(error):
        return "run"
    if _provider_code(error) in RUN_CODES:
        return "run"
    status = error.status if isinstance(error, LMError) and error.status is not None else 0
    if status in STATUS_SCOPES:
        return STATUS_SCOPES[status]
    if is_retryable_lm_error(error) or _is_broken_reply(error) or status >= 500:
        return "retry"
    return "run" if isinstance(error, LMAuthError) else "question"


def should_fall_back(error: Exception) -> bool:
    """Return whether another model may answer a call that failed.

    It may after a passing fault or an unpaid bill, but not with a wrong request or a wrong key.
    """
    return classify_error(error) == "retry" or isinstance(error, LMBillingError)


def is_rate_limit(error: Exception) -> bool:
    """Return whether the provider refused a call because too many came."""
    return isinstance(error, LMRateLimitError) or (isinstance(error, LMError) and error.status == 429)


def retry_delay(attempt: int, error: Exception, rng: random.Random) -> float:
    """Return the seconds to wait before the next attempt.

    They are drawn from 0 to 1, 2, 4 ... s (full jitter), are at least Retry-After, and at most `MAX_DELAY_S`.

    Args:
        attempt: Attempts made so far, from 1.
        error: What the last one ended with.
        rng: Source of the jitter.
    """
    jitter = rng.uniform(0.0, min(2.0 ** min(attempt - 1, 10), MAX_DELAY_S))
    return min(max(jitter, _retry_after(error)), MAX_DELAY_S)


def _provider_code(error: Exception) -> str | None:
    """Return the code of the error body.

    On the LiteLLM path only the HTTP client's error still has it.
    """
    if isinstance(error, LMError) and error.provider_code is not None:
        return str(error.provider_code)
    bodies = (vars(cause).get("body") for cause in _error_chain(error))
    return next((str(body["code"]) for body in bodies if isinstance(body, dict) and body.get("code")), None)


def _lacks_key(error: Exception) -> bool:
    """Return whether a key is missing.

    LiteLLM makes a 500 of the error of a provider's client that cannot be built.
    """
    *_, root = _error_chain(error)
    built = type(root).__module__.partition(".")[0] == "openai" and type(root).__name__ == "OpenAIError"
    return built or (type(root) is ValueError and "api key" in str(root).lower())


def _lacks_provider(error: Exception) -> bool:
    """Return whether LiteLLM cannot route the model string.

    It then raises a 400 of its own making.
    """
    return isinstance(error, LMInvalidRequestError) and "LLM Provider NOT provided" in str(error)


def _is_broken_reply(error: Exception) -> bool:
    """Return whether the error is a 200 whose body is no reply.

    The engines have no class for it.
    """
    return (
        isinstance(error, LMError)
        and type(error) in (LMProviderError, LMUnexpectedError)
        and (error.status is None or 200 <= error.status < 300)
    )


def _retry_after(error: Exception) -> float:
    """Return the seconds the provider asked to wait.

    On the LiteLLM path only the HTTP client's error still has them.
    """
    if isinstance(error, LMError) and error.retry_after is not None:
        return float(error.retry_after)
    from httpx import HTTPStatusError
    from openai import APIStatusError

    headers = [e.response.headers for e in _error_chain(error) if isinstance(e, HTTPStatusError | APIStatusError)]
    return next((retry_after_seconds(h["retry-after"]) or 0.0 for h in headers if "retry-after" in h), 0.0)


def _error_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, down to the root."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
