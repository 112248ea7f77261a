"""The DSPy callback that asks a ledger before each LM call of a `tale_dspy.track` block."""

import asyncio
from typing import TYPE_CHECKING, Any

from dspy.lm15 import Request
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import DSPyError

from tale_dspy.errors import SpendCapReached, UnpricedModelError

if TYPE_CHECKING:
    from tale_dspy.ledger import Ledger


class Meter(BaseCallback):  # type: ignore[misc]  # dspy ships no types
    """Reserve at the start of each LM call; what DSPy records is settled by the ledger's sink in between.

    DSPy logs and drops an `Exception` that leaves a callback, and sends the call all the same. What must stop the call
    is therefore raised as `SpendCapReached`, which is none; `track` unpacks its cause.
    """

    def __init__(self, ledger: "Ledger", open_calls: dict[str, int]) -> None:
        super().__init__()
        self._ledger = ledger
        self._open = open_calls

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if not self._ledger.capped:
            return
        config = {**instance.kwargs, **inputs["kwargs"]}
        request = config.pop("request", None) or inputs["messages"] or inputs["prompt"]
        if isinstance(request, Request):
            config["max_tokens"] = request.config.max_tokens
        try:
            self._open[call_id] = self._ledger.reserve(instance, request, config, wait=not _in_event_loop())
        except UnpricedModelError as e:
            raise SpendCapReached(str(e), self._ledger) from e

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        number = self._open.pop(call_id, None)
        if number is not None:
            self._ledger.release(number, possibly_billed=exception is None or possibly_billed(exception))


def possibly_billed(error: BaseException) -> bool:
    """Whether a call that failed this way may have been charged: the provider did not refuse it with a 4xx status.

    LiteLLM gives a time-out of the client the status 408.
    """
    status = error.status if isinstance(error, DSPyError) else None
    return status is None or status == 408 or not 400 <= status < 500


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
