"""The ledger of everything spent in a block or a run, and the caps that hold.

A call reserves its worst case before it is sent (prompt bytes, an upper bound of its tokens, and the allowance of its
reply) and is settled to what it really used. `track` books any DSPy program; the run engine owns a `Ledger` itself.
"""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tale_dspy.backends.prices import price_of
from tale_dspy.errors import SpendCapReached, UnpricedModelError, UsageError
from tale_dspy.receipts import Call, Price, Sink, collect, total

logger = logging.getLogger(__name__)

RESERVED_TOKENS = 4096
"""Output tokens reserved for (and in a run, allowed to) a call that sets no max_tokens, while a cap is set."""
_WARN_AT = (0.8, 0.5)


@dataclass(frozen=True)
class Reservation:
    """The worst case of one call that is in flight."""

    usd: float
    tokens: int


@dataclass
class RoleSum:
    """Calls and tokens of one role (`reason`, `estimate`, `metric`). A sum with an unknown part is None."""

    calls: int = 0
    paid_calls: int = 0
    """Calls sent from here: neither from the cache nor replayed from a run folder."""
    cached_calls: int = 0
    prompt_tokens: int | None = 0
    output_tokens: int | None = 0

    def add(self, call: Call) -> None:
        """Count one call in."""
        self.calls += 1
        self.cached_calls += call.cached
        self.paid_calls += not (call.cached or call.replayed)
        self.prompt_tokens = total([self.prompt_tokens, call.prompt_tokens])
        self.output_tokens = total([self.output_tokens, call.output_tokens])


class Ledger:
    """What has been spent, by role, and what may still be spent. Safe to use from many threads.

    Args:
        max_usd: Cap on US dollars; None for none.
        max_total_output_tokens: Cap on completion tokens of all calls, estimates included; None for none.
        price: Overrides the price of every model.

    Raises:
        UsageError: If a cap is not positive.

    Attributes:
        spent_usd: US dollars settled so far.
        possibly_usd: US dollars of calls that failed after they were sent and may be billed.
        saved_usd: What cache hits had cost before.
        output_tokens: Completion tokens paid so far.
    """

    def __init__(
        self,
        max_usd: float | None = None,
        max_total_output_tokens: int | None = None,
        price: Price | None = None,
    ) -> None:
        for name, cap in (("max_usd", max_usd), ("max_total_output_tokens", max_total_output_tokens)):
            if cap is not None and (isinstance(cap, bool) or not cap > 0):
                raise UsageError(f"{name} must be above 0, got {cap!r}")
        self.max_usd = max_usd
        self.max_total_output_tokens = max_total_output_tokens
        self.price = price
        self.roles: dict[str, RoleSum] = {}
        self.spent_usd = 0.0
        self.possibly_usd = 0.0
        self.saved_usd = 0.0
        self.output_tokens = 0
        self.unpriced_calls = 0
        self.uncounted_calls = 0
        self._possibly_tokens = 0
        self._held: dict[int, Reservation] = {}
        self._next = 0
        self._warned = 0.0
        self._prices: dict[str, Price | None] = {}
        self._changed = threading.Condition()

    @property
    def capped(self) -> bool:
        """Whether any cap is set."""
        return self.max_usd is not None or self.max_total_output_tokens is not None

    def price_for(self, lm: Any) -> Price | None:
        """Return the price that is used for an LM, looked up once per model."""
        if self.price is not None:
            return self.price
        if lm.model not in self._prices:
            self._prices[lm.model] = price_of(lm)
        return self._prices[lm.model]

    def require_price(self, lm: Any) -> Price:
        """Return the price of an LM under a money cap.

        Raises:
            UnpricedModelError: If it is unknown; the message says how to give it.
        """
        price = self.price_for(lm)
        if price is None:
            raise UnpricedModelError(
                f"max_usd needs a price, and none is known for {lm.model}: give US dollars per million tokens with "
                "--price-in and --price-out (in Python: price=tale_dspy.Price(input=..., output=...) per token)"
            )
        return price

    def reserve(self, lm: Any, request: Any, config: dict[str, Any], *, wait: bool = True) -> int:
        """Hold the worst case of a call that is about to be sent.

        While other calls are in flight, a reservation that does not fit waits for them to be settled; when none is,
        the cap is reached. With `wait=False`, as in an event loop, it is reached at once.

        Args:
            lm: The LM that will be asked.
            request: Its messages or prompt.
            config: The merged settings of the call (`max_tokens`, `n`).
            wait: Whether the thread may wait for others.

        Returns:
            A number for `settle` or `release`.

        Raises:
            SpendCapReached: If the call would pass a cap. It was not sent.
            UnpricedModelError: If there is a money cap and no price.
        """
        need = self._worst_case(lm, request, config)
        with self._changed:
            while not self._fits(need):
                if not wait or not self._held:
                    raise SpendCapReached(self._reached(need), self)
                self._changed.wait()
            self._next += 1
            self._held[self._next] = need
            return self._next

    def settle(self, number: int, call: Call) -> None:
        """Replace a reservation by what the call used."""
        with self._changed:
            held = self._held.pop(number, Reservation(0.0, 0))
            self._book(call, held)
            self._changed.notify_all()

    def release(self, number: int, *, possibly_billed: bool) -> None:
        """Give a reservation back; one of a call that may be billed although it failed stays spent."""
        with self._changed:
            held = self._held.pop(number, None)
            if held and possibly_billed:
                self.possibly_usd += held.usd
                self._possibly_tokens += held.tokens
            self._changed.notify_all()

    def book(self, call: Call) -> None:
        """Book a call that had no reservation."""
        with self._changed:
            self._book(call, Reservation(0.0, 0))
            self._changed.notify_all()

    def _book(self, call: Call, held: Reservation) -> None:
        self.roles.setdefault(call.role, RoleSum()).add(call)
        if call.replayed:
            return
        if call.cached:
            self.saved_usd += call.saved_cost_usd or 0.0
            return
        # Unknown use counts as the worst case towards the caps, and as unknown in every figure.
        self.spent_usd += call.cost_usd or 0.0
        self.output_tokens += call.output_tokens or 0
        if call.cost_usd is None:
            self.unpriced_calls += 1
            self.possibly_usd += held.usd
        if call.output_tokens is None:
            self.uncounted_calls += 1
            self._possibly_tokens += held.tokens
        self._warn()

    def _worst_case(self, lm: Any, request: Any, config: dict[str, Any]) -> Reservation:
        if not self.capped:
            return Reservation(0.0, 0)
        tokens = int(config.get("n") or 1) * (allowance(config) or RESERVED_TOKENS)
        if self.max_usd is None:
            return Reservation(0.0, tokens)
        price = self.require_price(lm)
        size = len(json.dumps(request, ensure_ascii=False, default=str).encode("utf-8", "replace"))
        return Reservation(size * price.input + tokens * price.output, tokens)

    def _fits(self, need: Reservation) -> bool:
        usd = self.spent_usd + self.possibly_usd + sum(h.usd for h in self._held.values()) + need.usd
        tokens = self.output_tokens + self._possibly_tokens + sum(h.tokens for h in self._held.values()) + need.tokens
        return (self.max_usd is None or usd <= self.max_usd) and (
            self.max_total_output_tokens is None or tokens <= self.max_total_output_tokens
        )

    def _reached(self, need: Reservation) -> str:
        parts = []
        if self.max_usd is not None:
            parts.append(f"${self.spent_usd + self.possibly_usd:.6f} of max_usd={self.max_usd:g} spent")
        if self.max_total_output_tokens is not None:
            spent = self.output_tokens + self._possibly_tokens
            parts.append(f"{spent} of max_total_output_tokens={self.max_total_output_tokens} spent")
        room = f"the next call may need {need.tokens} output tokens" + (f" or ${need.usd:.6f}" if need.usd else "")
        return f"spend cap reached: {' and '.join(parts)}, and {room}"

    def _warn(self) -> None:
        share = max(
            (self.spent_usd + self.possibly_usd) / self.max_usd if self.max_usd else 0.0,
            self.output_tokens / self.max_total_output_tokens if self.max_total_output_tokens else 0.0,
        )
        mark = next((m for m in _WARN_AT if share >= m), 0.0)
        if mark > self._warned:
            self._warned = mark
            logger.warning("%.0f %% of the spend cap is used: %s", mark * 100, self.spent())

    def spent(self) -> str:
        """Say in a few words what was spent."""
        money = f"${self.spent_usd:.6f}" + (f" + {self.unpriced_calls} unpriced calls" if self.unpriced_calls else "")
        return f"{money}, {self.output_tokens} output tokens"

    @property
    def calls(self) -> int:
        """Calls booked, from the cache or not."""
        return sum(r.calls for r in self.roles.values())

    @property
    def cached_calls(self) -> int:
        """Calls answered by DSPy's cache."""
        return sum(r.cached_calls for r in self.roles.values())

    def to_json(self) -> dict[str, Any]:
        """Return the sums as plain JSON; what is not wholly known is None."""
        return {
            "calls": self.calls,
            "cached_calls": self.cached_calls,
            "spent_usd": None if self.unpriced_calls else self.spent_usd,
            "possibly_usd": self.possibly_usd,
            "saved_usd": self.saved_usd,
            "output_tokens": None if self.uncounted_calls else self.output_tokens,
            "roles": {name: asdict(r) for name, r in sorted(self.roles.items())},
        }

    def __str__(self) -> str:
        rows = [
            f"  {name}: {r.calls} calls ({r.cached_calls} from the cache), "
            f"{'unknown' if r.prompt_tokens is None else r.prompt_tokens} prompt + "
            f"{'unknown' if r.output_tokens is None else r.output_tokens} output tokens"
            for name, r in sorted(self.roles.items())
        ]
        return "\n".join([f"spent {self.spent()}, saved by the cache ${self.saved_usd:.6f}", *rows])


def allowance(config: dict[str, Any]) -> int | None:
    """Return the output tokens the settings of a call allow, or None if they set no limit."""
    return config.get("max_tokens") or config.get("max_completion_tokens")


class _LedgerSink(Sink):
    """Books what DSPy records inside the block, against the reservation of the call it belongs to."""

    def __init__(self, ledger: Ledger, open_calls: dict[str, int]) -> None:
        super().__init__(ledger.price)
        self._ledger = ledger
        self._open = open_calls

    def add(self, call: Call) -> None:
        from dspy.utils.callback_context import ACTIVE_CALL_ID

        number = self._open.pop(ACTIVE_CALL_ID.get() or "", None)
        if number is None:
            self._ledger.book(call)
        else:
            self._ledger.settle(number, call)


@contextmanager
def track(max_usd: float | None = None, max_total_output_tokens: int | None = None) -> Iterator[Ledger]:
    """Book every LM call inside the block, and stop before a cap is passed.

    Right in threads that DSPy starts (`dspy.Parallel`, `dspy.Evaluate`, optimizers) and in asyncio. Threads of your own
    see the block only through `contextvars.copy_context().run`. A call that sets no `max_tokens` reserves 4096 output
    tokens; one that writes more than it reserved can pass the cap by the difference, once. A call DSPy answers from its
    cache costs nothing, but needs room for its reservation.

    Args:
        max_usd: Cap on US dollars. Every model used needs a known price.
        max_total_output_tokens: Cap on completion tokens of all calls.

    Yields:
        The ledger.

    Raises:
        SpendCapReached: From the call that would pass a cap, through everything around it.
        UnpricedModelError: With `max_usd`, from the first call of a model without a known price.

    Example:
        >>> with track(max_usd=1.0) as ledger:  # doctest: +SKIP
        ...     program(question="...")
        >>> print(ledger)  # doctest: +SKIP
    """
    import dspy

    from tale_dspy.backends.meter import Meter

    ledger = Ledger(max_usd, max_total_output_tokens)
    open_calls: dict[str, int] = {}
    meter = Meter(ledger, open_calls)
    callbacks = [*dspy.settings.get("callbacks", []), meter]
    try:
        with dspy.context(callbacks=callbacks), collect(_LedgerSink(ledger, open_calls)):
            yield ledger
    except SpendCapReached as stop:
        if isinstance(stop.__cause__, UnpricedModelError):  # see Meter: only a BaseException leaves a callback
            raise stop.__cause__ from None
        raise
