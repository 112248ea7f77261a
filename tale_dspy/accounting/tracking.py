"""`tale_dspy.track`: book every LM call of a block on a ledger.

DSPy's callbacks report the calls; the ledger holds the caps.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dspy import BaseLM, DSPyError, LMConfigurationError, LMTimeoutError, LMUnsupportedFeatureError, settings

from tale_dspy.accounting.calls import Call, CallListener, ShadowResult, record_calls
from tale_dspy.accounting.history import HistoryRecorder
from tale_dspy.accounting.ledger import Ledger
from tale_dspy.backends.caching import is_cached
from tale_dspy.backends.prices import Price
from tale_dspy.dspy_bridge import ACTIVE_CALL_ID, BaseCallback, Request
from tale_dspy.errors import SpendCapReached
from tale_dspy.protocols import CallArguments, JsonObject

_NEVER_SENT = (LMConfigurationError, LMUnsupportedFeatureError)

_unrecorded: ContextVar[str | None] = ContextVar("tale_dspy_unrecorded", default=None)
"""The last call of this context that ended well and stood in no history: a run of ours books it a moment later."""


@contextmanager
def track(
    max_usd: float | None = None, max_total_output_tokens: int | None = None, *, price: Price | None = None
) -> Iterator[Ledger]:
    """Book every LM call inside the block, and stop before a cap is passed.

    Right in threads that DSPy starts (`dspy.Parallel`, `dspy.Evaluate`, optimizers) and in asyncio. Threads of your own
    see the block only through `contextvars.copy_context().run`. Blocks may be nested; each call is booked in all.

    A call is sent if its worst case fits; threads wait for the calls in flight, an event loop cannot, so that there a
    cap is reached earlier. A call that sets no `max_tokens` reserves 4096 output tokens; calls that write more than
    they reserved can pass the cap by the difference. A call that failed stays reserved unless the provider refused it;
    of the attempts that DSPy repeats by itself within a call (`num_retries`) only the last is seen.

    Args:
        max_usd: Cap on US dollars. Every model used needs a known price.
        max_total_output_tokens: Cap on completion tokens of all calls.
        price: Price per token that overrides the known one of every model.

    Yields:
        The ledger.

    Raises:
        UsageError: If a cap is not a positive number.
        SpendCapReached: From the call that would pass a cap, through everything around it, a task group too. After it
            nothing more is sent for this block, not by a thread that outlives it either.
        UnpricedModelError: With `max_usd`, from the first call of a model without a known price.

    Example:
        >>> with track(max_usd=1.0) as ledger:
        ...     answer = program(question="1+1?").answer
        >>> print(ledger)
        spent $0.0000..., ... output tokens, saved by the cache $0.000000
          estimate: 1 calls (0 from the cache), ... prompt + ... output tokens
          reason: 1 calls (0 from the cache), ... prompt + ... output tokens
    """
    ledger = Ledger(max_usd, max_total_output_tokens, price)
    try:
        with _booked_on(ledger):
            yield ledger
    except (SpendCapReached, BaseExceptionGroup) as error:
        stop = _cap_error_in(error)
        if stop is None:
            raise
        if stop.ledger is ledger:
            ledger.close()
            if isinstance(stop.__cause__, Exception):  # see BudgetCallback: only a BaseException leaves a callback
                raise stop.__cause__ from None
        raise stop from None


def _cap_error_in(error: BaseException) -> SpendCapReached | None:
    """Find the stop in what a task group made of it."""
    if isinstance(error, BaseExceptionGroup):
        return next((stop for inner in error.exceptions if (stop := _cap_error_in(inner))), None)
    return error if isinstance(error, SpendCapReached) else None


@contextmanager
def _booked_on(ledger: Ledger) -> Iterator[None]:
    """Book every LM call inside the block on a ledger.

    The ledgers of the blocks around it book the call, too, and their caps hold.
    """
    callbacks = settings.callbacks
    outer = next((c for c in callbacks if isinstance(c, BudgetCallback)), None)
    callback = BudgetCallback(ledger, outer)
    # The recorder comes last: it must not start a call that the ledger refuses.
    others = [c for c in callbacks if not isinstance(c, BudgetCallback | HistoryRecorder)]
    with record_calls(_LedgerListener(callback), callbacks=[*others, callback, HistoryRecorder()]):
        yield


def under_cap() -> bool:
    """Return whether a block around this place has a cap.

    A call may then have to wait for others.
    """
    return any(isinstance(c, BudgetCallback) and c.capped for c in settings.callbacks)


class BudgetCallback(BaseCallback):  # type: ignore[misc]  # dspy ships no types
    """Reserve the worst case of each LM call, and settle what it really used.

    It reserves when a call starts, settles when DSPy records it, and releases calls that were never recorded.

    Args:
        ledger: Where to book.
        outer: The callback of the block around. One callback reserves on all of them, so that what one refuses is
            given back to the others.
    """

    def __init__(self, ledger: Ledger, outer: "BudgetCallback | None" = None) -> None:
        super().__init__()
        self.ledger = ledger
        self._outer = outer
        self._open: dict[str, int] = {}

    @property
    def capped(self) -> bool:
        """Whether this block or one around it has a cap."""
        return self.ledger.capped or (self._outer is not None and self._outer.capped)

    def on_lm_start(self, call_id: str, instance: Any, inputs: CallArguments) -> None:
        if self._outer is not None:
            self._outer.on_lm_start(call_id, instance, inputs)
        try:
            self._reserve_call(call_id, instance, inputs)
        except BaseException:
            if self._outer is not None:
                self._outer.cancel(call_id)
            raise

    def _reserve_call(self, call_id: str, lm: Any, inputs: CallArguments) -> None:
        if not self.ledger.capped:
            return
        prompt, messages, kwargs = inputs.get("prompt"), inputs.get("messages"), inputs.get("kwargs", {})
        request = kwargs.get("request") or messages or prompt or inputs
        waits = not _in_event_loop()  # only there can a call be asynchronous

        def cached() -> bool:
            return isinstance(lm, BaseLM) and is_cached(lm, prompt, messages, kwargs, asynchronous=not waits)

        try:
            config = _request_settings(lm, request, kwargs)
            self._open[call_id] = self.ledger.reserve(lm, request, config, wait=waits, cached=cached)
        except Exception as e:  # the boundary to DSPy, which would log it and send the call all the same
            raise SpendCapReached(str(e), self.ledger) from e

    def cancel(self, call_id: str) -> None:
        """Give back what is held for a call that is not sent after all."""
        if self._outer is not None:
            self._outer.cancel(call_id)
        number = self._open.pop(call_id, None)
        if number is not None:
            self.ledger.cancel(number)

    def on_lm_end(self, call_id: str, outputs: object, exception: BaseException | None = None) -> None:
        if self._outer is not None:
            self._outer.on_lm_end(call_id, outputs, exception)
        if call_id not in self._open:
            return
        if exception is None:
            self.ledger.release(self._open[call_id], possibly_billed=True)
            _unrecorded.set(call_id)
        else:
            self.ledger.release(self._open.pop(call_id), possibly_billed=possibly_billed(exception))

    def book(self, call: Call) -> None:
        """Book a call on its reservation, if it has one."""
        for call_id in () if call.replayed else (ACTIVE_CALL_ID.get(), _unrecorded.get()):
            number = self._open.pop(call_id, None) if call_id else None
            if number is not None:
                self.ledger.settle(number, call)
                return
        self.ledger.book(call)


class _LedgerListener(CallListener):
    """Book what DSPy records on a ledger."""

    def __init__(self, callback: BudgetCallback) -> None:
        super().__init__()
        self._callback = callback

    def add(self, call: Call) -> None:
        self._callback.book(call)

    def add_shadow_result(self, result: ShadowResult) -> None:
        self._callback.ledger.add_shadow_result(result)


def _request_settings(lm: Any, request: Any, kwargs: CallArguments) -> JsonObject:
    """Return the settings a call is sent with.

    An explicit Request brings its own and ignores the LM's.
    """
    if isinstance(request, Request):
        return {"max_tokens": request.config.max_tokens}
    return {**lm.kwargs, **kwargs} if isinstance(lm, BaseLM) else kwargs


def possibly_billed(error: BaseException) -> bool:
    """Return whether a call that failed this way may have been charged.

    It was not if the provider refused it with a 4xx status, if it was never connected to, or if DSPy itself refused the
    arguments. LiteLLM gives a time-out of the client the status 408.
    """
    if isinstance(error, LMTimeoutError):
        return True
    # DSPy refuses arguments with these very types; their subclasses come from replies that could not be read.
    if isinstance(error, _NEVER_SENT) or type(error) in (TypeError, ValueError) or _not_connected(error):
        return False
    status = error.status if isinstance(error, DSPyError) else None
    return status is None or not 400 <= status < 500


def _not_connected(error: BaseException) -> bool:
    """Return whether an engine's connection was refused or its host is unknown."""
    cause = error.__cause__ or error.__context__
    while cause is not None and not isinstance(cause, DSPyError):  # that one is the error of an earlier call
        if isinstance(cause, ConnectionRefusedError | socket.gaierror):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
