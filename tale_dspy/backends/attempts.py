"""One LM call as a series of attempts: rate limits, retries, fallback models.

The series is written once, as a generator of steps, and driven by a thread (`call`) or by an event loop (`acall`),
outside a run for the LM itself and inside one for the run's session; the LM beneath then sends once.

DSPy's own retries would sleep with a place among those in flight; here the place is given back first. LiteLLM's Router
has fallbacks and rates, too, but DSPy calls `litellm.completion` and no Router, engine `auto` does not go through
LiteLLM at all, and a Router raises a RateLimitError above a rate where a call should wait.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dspy import LM, BaseLM, LMTimeoutError

from tale_dspy.backends.caching import is_cached
from tale_dspy.backends.control_registry import parameter_names
from tale_dspy.backends.endpoint import EndpointOptions, fallback_lms
from tale_dspy.backends.limiter import Limiter, Slot
from tale_dspy.backends.model_control import family_of
from tale_dspy.backends.output_limit import max_output_tokens
from tale_dspy.backends.reasoning_settings import with_reasoning_params
from tale_dspy.backends.retry import classify_error, is_rate_limit, retry_delay, should_fall_back
from tale_dspy.dspy_bridge import adapter_fallback_scope, adapter_message_call
from tale_dspy.protocols import RequestSettings
from tale_dspy.step_drivers import adrive, drive

ASSUMED_OUTPUT_TOKENS = 512
"""Completion tokens that a call without max_tokens counts on a limit of tokens a minute."""

Sender = Callable[..., Any]
_rng = random.Random()


class LMRequest(NamedTuple):
    """What an LM is called with."""

    prompt: object
    messages: object
    kwargs: RequestSettings


class AttemptObserver:
    """Hears of each attempt of a call; this one does nothing with it."""

    def before_attempt(self) -> None:
        """Hear that a request is about to be sent.

        An exception raised here ends the call.
        """

    def after_failure(self, error: Exception) -> None:
        """Hear how an attempt failed.

        An exception raised here ends the call.
        """


@dataclass(frozen=True)
class _SendScope:
    """The LM that sends, the LM that was called, and who repeats a request."""

    lm: Any
    primary: Any
    dspy_retries: bool


_scope: ContextVar[_SendScope | None] = ContextVar("tale_dspy_send_scope", default=None)


def is_sending(lm: object) -> bool:
    """Return whether a call of this LM is one attempt of a series driven here."""
    scope = _scope.get()
    return scope is not None and scope.lm is lm


def dspy_retries(lm: object) -> bool:
    """Return whether DSPy may retry a call of this LM.

    It may not while this module runs the series of attempts.
    """
    scope = _scope.get()
    return scope is None or scope.lm is not lm or scope.dspy_retries


def primary_lm() -> Any:
    """Return the LM that was called, while it or a fallback answers, else None."""
    scope = _scope.get()
    return None if scope is None else scope.primary


@dataclass(frozen=True)
class _WaitStep:
    seconds: float

    def run(self, send: Sender, sleep: Callable[[float], object]) -> None:
        sleep(self.seconds)

    async def arun(self, send: Sender) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True)
class _AcquireStep:
    limiter: Limiter
    tokens: int

    def run(self, send: Sender, sleep: Callable[[float], object]) -> Slot:
        return self.limiter.acquire(self.tokens)

    async def arun(self, send: Sender) -> Slot:
        return await self.limiter.aacquire(self.tokens)


@dataclass
class _SendStep:
    scope: _SendScope
    request: LMRequest
    stream_started: bool = field(default=False, init=False)

    @contextmanager
    def _within(self) -> Iterator[None]:
        """Mark the attempt for the LM beneath.

        Note whether a reader has seen a part of a stream.
        """
        token = _scope.set(self.scope)
        progress: Any = None
        try:
            with adapter_fallback_scope() as progress:
                if self.scope.lm is self.scope.primary:
                    yield
                else:
                    with adapter_message_call(self.scope.lm, self.request.messages):
                        yield
        finally:
            self.stream_started = progress is not None and progress.emitted
            _scope.reset(token)

    def run(self, send: Sender, sleep: Callable[[float], object]) -> Any:
        target = send if self.scope.lm is self.scope.primary else self.scope.lm
        with self._within():
            return target(self.request.prompt, messages=self.request.messages, **self.request.kwargs)

    async def arun(self, send: Sender) -> Any:
        target = send if self.scope.lm is self.scope.primary else self.scope.lm.acall
        seconds = _attempt_timeout(self.scope.lm, self.request)
        _load_client(self.scope.lm)
        with self._within():
            try:
                # Its engines bound each read alone: a server that sends a byte now and then would hold the call.
                async with asyncio.timeout(seconds):
                    return await target(self.request.prompt, messages=self.request.messages, **self.request.kwargs)
            except TimeoutError as error:
                raise LMTimeoutError(f"no whole reply within {seconds} s", model=self.scope.lm.model) from error


def _load_client(lm: Any) -> None:
    """Import LiteLLM before an attempt that needs it.

    The import takes seconds, which must not count as the attempt's time.
    """
    if isinstance(lm, LM) and lm.engine == "litellm":
        import litellm  # noqa: F401  # pyright: ignore[reportUnusedImport]


def _attempt_timeout(lm: Any, request: LMRequest) -> float | None:
    """Return the seconds one attempt may take.

    It is None where no timeout is set, or an `httpx.Timeout` holds it.
    """
    seconds = {**lm.kwargs, **request.kwargs}.get("timeout") if isinstance(lm, BaseLM) else None
    return seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None


_Step = _WaitStep | _AcquireStep | _SendStep


def call(
    lm: Any,
    send: Sender,
    request: LMRequest,
    *,
    retries: int | None = None,
    observer: AttemptObserver | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Any:
    """Make a call, from a thread.

    Args:
        lm: The LM that is called.
        send: Sends the request once to that LM.
        request: Prompt, messages and settings.
        retries: Further attempts of each model that may answer; None for each one's `num_retries`.
        observer: Hears of each attempt.
        sleep: Waits between two attempts.

    Returns:
        What the LM returns, or a fallback in its place.
    """
    steps = _attempt_steps(lm, request, retries, observer or AttemptObserver(), asynchronous=False)
    return drive(steps, lambda step: step.run(send, sleep))


async def acall(
    lm: Any,
    send: Callable[..., Awaitable[Any]],
    request: LMRequest,
    *,
    retries: int | None = None,
    observer: AttemptObserver | None = None,
) -> Any:
    """Make a call, from an event loop; as `call`."""
    steps = _attempt_steps(lm, request, retries, observer or AttemptObserver(), asynchronous=True)
    return await adrive(steps, lambda step: step.arun(send))


@dataclass(frozen=True)
class _SeriesFailure:
    """Why one model gave no answer: its retries are spent, or would be useless."""

    error: Exception
    final: bool
    """Whether a reader has seen a part of the reply, so that no other model may write it anew."""


def _attempt_steps(
    lm: Any, request: LMRequest, retries: int | None, observer: AttemptObserver, *, asynchronous: bool
) -> Generator[_Step, Any, Any]:
    """Send to the model until it answers, then to its fallbacks in order.

    A fallback is asked when the retries of the one before are used up.
    """
    fallbacks = iter(fallback_lms(lm))
    model, sent, previous = lm, request, None
    while True:
        outputs, failure = yield from _attempts_of(model, lm, sent, retries, observer, asynchronous)
        if failure is None:
            return outputs
        error = failure.error
        error.__context__ = error.__context__ or previous
        fallback = None if failure.final or not should_fall_back(error) else next(fallbacks, None)
        if fallback is None:
            raise error
        model, sent, previous = fallback, request._replace(kwargs=_settings_for(fallback, lm, request)), error


def _attempts_of(
    model: Any, primary: Any, request: LMRequest, retries: int | None, observer: AttemptObserver, asynchronous: bool
) -> Generator[_Step, Any, tuple[Any, _SeriesFailure | None]]:
    scope = _SendScope(model, primary, dspy_retries=retries is None and _several_choices(model, request))
    most = 0 if scope.dspy_retries else model.num_retries if retries is None else retries
    limiter = model.limiter if isinstance(model, EndpointOptions) else None
    attempt = 0
    while True:
        attempt += 1
        observer.before_attempt()
        slot = None
        if limiter is not None and not _needs_no_slot(model, limiter, request, asynchronous):
            slot = yield _AcquireStep(limiter, _rated_tokens(model, limiter, request))
        step = _SendStep(scope, request)
        try:
            outputs = yield step
        except Exception as error:
            if limiter is not None and slot is not None:
                limiter.refuse() if is_rate_limit(error) else limiter.failed()
            observer.after_failure(error)
            if step.stream_started or attempt > most or classify_error(error) != "retry":
                return None, _SeriesFailure(error, final=step.stream_started)
            delay = retry_delay(attempt, error, _rng)
        except BaseException:
            if limiter is not None and slot is not None:
                limiter.failed()
            raise
        else:
            if limiter is not None and slot is not None:
                limiter.answered(slot)
            return outputs, None
        yield _WaitStep(delay)


def _several_choices(lm: object, request: LMRequest) -> bool:
    """Return whether several choices are asked for.

    DSPy must then retry itself, because the choices it already has are paid for.
    """
    n = {**lm.kwargs, **request.kwargs}.get("n") if isinstance(lm, BaseLM) else None
    return isinstance(n, int) and n > 1


def _needs_no_slot(lm: Any, limiter: Limiter, request: LMRequest, asynchronous: bool) -> bool:
    """Return whether nothing will be sent for a call, as with a cache hit.

    It is looked up only where the call would have to wait.
    """
    return limiter.holds_back and is_cached(lm, *request, asynchronous=asynchronous)


def _rated_tokens(lm: Any, limiter: Limiter, request: LMRequest) -> int:
    if limiter.tpm is None:
        return 0
    prompt_tokens = len(str(request.messages or request.prompt)) // 4
    return prompt_tokens + (max_output_tokens({**lm.kwargs, **request.kwargs}) or ASSUMED_OUTPUT_TOKENS)


def _settings_for(other: Any, lm: Any, request: LMRequest) -> RequestSettings:
    """Return the settings of the call for a fallback.

    A reasoning control that only the first model has is left out; the prompt still says the budget.
    """
    if family_of(other) is family_of(lm):
        return dict(request.kwargs)
    settings = {**request.kwargs, **with_reasoning_params(request.kwargs, {})}
    return {k: v for k, v in settings.items() if not (k in parameter_names().settings and v is None)}
