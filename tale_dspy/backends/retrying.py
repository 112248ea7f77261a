"""One call of an LM that keeps its rates, tries again after a refusal, and goes to another model when this one fails.

DSPy's own loop of retries would sleep with a place among those in flight; here the place is given back first.

Not by LiteLLM's Router, which has fallbacks and rates, too: DSPy asks `litellm.completion` and no Router, engine `auto`
does not go through LiteLLM at all, and a Router raises a RateLimitError above a rate where a call should wait its turn.
So it is the same here for every engine.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from dspy import LMBillingError, LMError, LMRateLimitError, is_retryable_lm_error

from tale_dspy.accounting.reservation import allowance
from tale_dspy.backends.limiter import Limiter, Slot
from tale_dspy.backends.reasoning_params import family_of
from tale_dspy.backends.reasoning_settings import REASONING_PARAMS, with_reasoning_params
from tale_dspy.dspy_bridge import adapter_fallback_scope, adapter_message_call

LONGEST_WAIT = 60.0
"""Seconds between two attempts at most, whatever Retry-After says."""
OUTPUT_TOKENS = 512
"""Completion tokens a call without max_tokens is booked with on a limit of tokens a minute."""

_one_attempt: ContextVar[bool] = ContextVar("tale_dspy_one_attempt", default=False)
_asked_by: ContextVar[Any] = ContextVar("tale_dspy_asked_by", default=None)
_rng = random.Random()

Request = tuple[Any, Any, dict[str, Any]]
"""Prompt, messages and settings of a call."""


class RetryableLM(Protocol):
    """What an LM needs for it."""

    kwargs: dict[str, Any]
    limiter: Limiter
    fallbacks: tuple[Any, ...]

    @property
    def attempts(self) -> int:
        """How often it is asked before the call fails."""
        ...

    def holds(self, request: Request, *, asynchronous: bool) -> bool:
        """Say whether the cache holds the answer, so that nothing is sent."""
        ...


def one_attempt() -> bool:
    """Say whether DSPy shall make one attempt alone, since its retries are made here."""
    return _one_attempt.get()


def asked_by() -> Any:
    """Return the LM in whose place another one answers, or None."""
    return _asked_by.get()


def call(lm: RetryableLM, send: Callable[..., Any], request: Request) -> Any:
    """Make a call, from a thread.

    Args:
        lm: The LM that is asked.
        send: Sends the request once.
        request: Prompt, messages and settings.
    """
    prompt, messages, kwargs = request
    attempt, several = 0, _several(lm, kwargs)
    while True:
        attempt += 1
        slot = None if _free(lm, request, asynchronous=False) else lm.limiter.acquire(_tokens(lm, request))
        progress: Any = None
        try:
            with _set(_one_attempt, several is None), adapter_fallback_scope() as progress:
                outputs = send(prompt, messages=messages, **kwargs)
        except Exception as e:
            begun = progress is not None and progress.emitted
            wait = _failed(lm, slot, e, attempt if several is None and not begun else lm.attempts)
            if begun:  # a reader has seen a part of it: neither again nor from another model
                raise
            if wait is None:
                return _elsewhere(lm, request, e)
            time.sleep(wait)
        except BaseException:
            _give_back(lm, slot)
            raise
        else:
            if slot is not None:
                lm.limiter.answered(slot)
            return outputs


async def acall(lm: RetryableLM, send: Callable[..., Awaitable[Any]], request: Request) -> Any:
    """Make a call, from an event loop."""
    prompt, messages, kwargs = request
    attempt, several = 0, _several(lm, kwargs)
    while True:
        attempt += 1
        slot = None if _free(lm, request, asynchronous=True) else await lm.limiter.aacquire(_tokens(lm, request))
        progress: Any = None
        try:
            with _set(_one_attempt, several is None), adapter_fallback_scope() as progress:
                outputs = await send(prompt, messages=messages, **kwargs)
        except Exception as e:
            begun = progress is not None and progress.emitted
            wait = _failed(lm, slot, e, attempt if several is None and not begun else lm.attempts)
            if begun:  # a reader has seen a part of it: neither again nor from another model
                raise
            if wait is None:
                return await _aelsewhere(lm, request, e)
            await asyncio.sleep(wait)
        except BaseException:
            _give_back(lm, slot)
            raise
        else:
            if slot is not None:
                lm.limiter.answered(slot)
            return outputs


def _several(lm: RetryableLM, kwargs: Mapping[str, Any]) -> int | None:
    """Return how many choices are asked for, if DSPy must try again itself: those it has are paid for."""
    n = {**lm.kwargs, **kwargs}.get("n")
    return n if isinstance(n, int) and n > 1 else None


def _free(lm: RetryableLM, request: Request, *, asynchronous: bool) -> bool:
    """Whether a call need not wait: nothing is sent for it. Asked only where it would have to."""
    return lm.limiter.holds_back and lm.holds(request, asynchronous=asynchronous)


def _tokens(lm: RetryableLM, request: Request) -> int:
    if lm.limiter.tpm is None:
        return 0
    prompt, messages, kwargs = request
    return len(str(messages or prompt)) // 4 + (allowance({**lm.kwargs, **kwargs}) or OUTPUT_TOKENS)


def _failed(lm: RetryableLM, slot: Slot | None, error: Exception, attempt: int) -> float | None:
    """Give the place back; return the seconds until the next attempt, or None if there is none."""
    if slot is not None and _refused(error):
        lm.limiter.refuse()
    else:
        _give_back(lm, slot)
    if attempt >= lm.attempts or not is_retryable_lm_error(error):
        return None
    told = error.retry_after if isinstance(error, LMError) else None
    jitter = _rng.uniform(0.0, min(2.0 ** min(attempt - 1, 10), LONGEST_WAIT))
    return min(max(jitter, told if told is not None and math.isfinite(told) else 0.0), LONGEST_WAIT)


def _refused(error: Exception) -> bool:
    return isinstance(error, LMRateLimitError) or (isinstance(error, LMError) and error.status == 429)


def _give_back(lm: RetryableLM, slot: Slot | None) -> None:
    if slot is not None:
        lm.limiter.failed()


# ---- another model in its place


def _elsewhere(lm: RetryableLM, request: Request, error: Exception) -> Any:
    prompt, messages, _ = request
    for other in lm.fallbacks if _gone(error) else ():
        try:
            with _set(_asked_by, asked_by() or lm), adapter_message_call(other, messages):
                return other(prompt, messages=messages, **_settings_for(other, lm, request))
        except LMError as e:
            e.__context__ = error
            error = e
    raise error


async def _aelsewhere(lm: RetryableLM, request: Request, error: Exception) -> Any:
    prompt, messages, _ = request
    for other in lm.fallbacks if _gone(error) else ():
        try:
            with _set(_asked_by, asked_by() or lm), adapter_message_call(other, messages):
                return await other.acall(prompt, messages=messages, **_settings_for(other, lm, request))
        except LMError as e:
            e.__context__ = error
            error = e
    raise error


def _gone(error: Exception) -> bool:
    """Whether another model may fare better: not with a request that is wrong, or a key that is."""
    return is_retryable_lm_error(error) or isinstance(error, LMBillingError) or _refused(error)


def _settings_for(other: Any, lm: Any, request: Request) -> dict[str, Any]:
    """Return the settings of the call, without a reasoning control that only the first model has; the prompt tells the
    budget.
    """
    kwargs: Mapping[str, Any] = request[2]
    if family_of(other) is family_of(lm):
        return dict(kwargs)
    settings = {**kwargs, **with_reasoning_params(kwargs, {})}
    return {k: v for k, v in settings.items() if not (k in REASONING_PARAMS and v is None)}


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
