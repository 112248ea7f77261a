"""How a ledger is hung into DSPy for a `tale_dspy.track` block: it is asked before each LM call and told after it."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from dspy import BaseLM, DSPyError, LMConfigurationError, LMTimeoutError, LMUnsupportedFeatureError, settings

from tale_dspy.accounting.history import HistoryRecorder
from tale_dspy.accounting.receipts import Call, CallListener, ShadowResult, collect
from tale_dspy.backends.lm import is_cached
from tale_dspy.dspy_bridge import ACTIVE_CALL_ID, BaseCallback, Request
from tale_dspy.errors import SpendCapReached

if TYPE_CHECKING:
    from tale_dspy.accounting.ledger import Ledger

_NEVER_SENT = (LMConfigurationError, LMUnsupportedFeatureError)

_unrecorded: ContextVar[str | None] = ContextVar("tale_dspy_unrecorded", default=None)
"""The last call of this context that ended well and stood in no history: a run of ours books it a moment later."""


@contextmanager
def metering(ledger: "Ledger") -> Iterator[None]:
    """Book every LM call inside the block on a ledger, and on those of the blocks around, as their caps allow."""
    callbacks = settings.callbacks
    outer = next((c for c in callbacks if isinstance(c, BudgetCallback)), None)
    meter = BudgetCallback(ledger, outer)
    # The recorder comes last: it must not start a call that the meter refuses.
    kept = [c for c in callbacks if not isinstance(c, BudgetCallback | HistoryRecorder)]
    with collect(_MeterSink(meter), callbacks=[*kept, meter, HistoryRecorder()]):
        yield


def under_cap() -> bool:
    """Say whether a block around this place has a cap, so that a call may have to wait for others."""
    return any(isinstance(c, BudgetCallback) and c.capped for c in settings.callbacks)


class BudgetCallback(BaseCallback):  # type: ignore[misc]  # dspy ships no types
    """Reserve at the start of each LM call, settle where DSPy records it, and release what was never recorded.

    Args:
        ledger: Where to book.
        outer: The meter of the block around. One callback asks for all of them, so that what one refuses is given back
            to the others.
    """

    def __init__(self, ledger: "Ledger", outer: "BudgetCallback | None" = None) -> None:
        super().__init__()
        self.ledger = ledger
        self._outer = outer
        self._open: dict[str, int] = {}

    @property
    def capped(self) -> bool:
        """Whether this block or one around it has a cap."""
        return self.ledger.capped or (self._outer is not None and self._outer.capped)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if self._outer is not None:
            self._outer.on_lm_start(call_id, instance, inputs)
        try:
            self._reserve(call_id, instance, inputs)
        except BaseException:
            if self._outer is not None:
                self._outer.cancel(call_id)
            raise

    def _reserve(self, call_id: str, lm: Any, inputs: dict[str, Any]) -> None:
        if not self.ledger.capped:
            return
        prompt, messages, kwargs = inputs.get("prompt"), inputs.get("messages"), inputs.get("kwargs", {})
        request = kwargs.get("request") or messages or prompt or inputs
        waits = not _in_event_loop()  # only there can a call be asynchronous

        def cached() -> bool:
            return isinstance(lm, BaseLM) and is_cached(lm, prompt, messages, kwargs, asynchronous=not waits)

        try:
            config = _config(lm, request, kwargs)
            self._open[call_id] = self.ledger.reserve(lm, request, config, wait=waits, cached=cached)
        except Exception as e:  # the boundary to DSPy, which would log it and send the call all the same
            raise SpendCapReached(str(e), self.ledger) from e

    def cancel(self, call_id: str) -> None:
        """Give back what is held for a call that is not sent after all."""
        if self._outer is not None:
            self._outer.cancel(call_id)
        number = self._open.pop(call_id, None)
        if number is not None:
            self.ledger.release(number, possibly_billed=False)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
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


class _MeterSink(CallListener):
    """Hands what DSPy records to a meter."""

    def __init__(self, meter: BudgetCallback) -> None:
        super().__init__(meter.ledger.price)
        self._meter = meter

    def add(self, call: Call) -> None:
        self._meter.book(call)

    def shadowed(self, found: ShadowResult) -> None:
        self._meter.ledger.shadow_rate(found)


def _config(lm: Any, request: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the settings a call is sent with; an explicit Request brings its own and ignores the LM's."""
    if isinstance(request, Request):
        return {"max_tokens": request.config.max_tokens}
    return {**lm.kwargs, **kwargs} if isinstance(lm, BaseLM) else kwargs


def possibly_billed(error: BaseException) -> bool:
    """Whether a call that failed this way may have been charged.

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
    """Whether an error goes back to a refused connection or an unknown host, on either engine."""
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
