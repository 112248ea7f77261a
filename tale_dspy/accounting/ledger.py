"""The ledger of everything spent in a block or a run, and the caps that hold.

A call reserves its worst case before it is sent (prompt bytes, an upper bound of its tokens, and the allowance of its
reply) and is settled to what it really used. `track` books any DSPy program; the run engine owns a `Ledger` itself.
"""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from numbers import Real

from tale_dspy.accounting.calls import Call, ShadowResult
from tale_dspy.accounting.ledger_sums import RoleSum, ShadowSummary
from tale_dspy.accounting.reservation import Reservation, worst_case
from tale_dspy.backends.endpoint import fallback_lms
from tale_dspy.backends.prices import Price, highest_price, price_of
from tale_dspy.display import html_table, number
from tale_dspy.errors import SpendCapReached, UnpricedModelError, UsageError
from tale_dspy.protocols import JsonObject, LanguageModel

logger = logging.getLogger(__name__)

_WARN_AT = (0.5, 0.8)


class Ledger:
    """What has been spent, by role, and what may still be spent.

    It is safe to use from many threads.

    Args:
        max_usd: Cap on US dollars; None for none.
        max_total_output_tokens: Cap on completion tokens of all calls, estimates included; None for none.
        price: Overrides the price of every model.

    Raises:
        UsageError: If a cap is not a positive number.

    Attributes:
        spent_usd: US dollars settled so far.
        saved_usd: What cache hits had cost before.
        output_tokens: Completion tokens paid so far.
        shadow: The sums of the shadow checks of `TaleEP(shadow_rate=...)`.
    """

    wait_s: float | None = None
    """Seconds until a reservation that does not fit is tried again, even if nothing was settled; None for never."""

    def __init__(
        self,
        max_usd: float | None = None,
        max_total_output_tokens: int | None = None,
        price: Price | None = None,
    ) -> None:
        caps: JsonObject = {"max_usd": max_usd, "max_total_output_tokens": max_total_output_tokens}
        for name, cap in caps.items():
            if cap is not None and (isinstance(cap, bool) or not isinstance(cap, Real) or not float(cap) > 0):
                raise UsageError(f"{name} must be a number above 0, got {cap!r}")
        self.max_usd = max_usd
        self.max_total_output_tokens = max_total_output_tokens
        self.price = price
        self.roles: dict[str, RoleSum] = {}
        self.shadow = ShadowSummary()
        self.spent_usd = 0.0
        self.saved_usd = 0.0
        self.output_tokens = 0
        self.unpriced_calls = 0
        self.uncounted_calls = 0
        self._reserved: dict[int, Reservation] = {}
        self._possibly_billed: dict[int, Reservation] = {}
        """Worst cases of calls that were sent and whose use is unknown."""
        self._carried = Reservation()
        """What earlier ledgers have used of the same caps."""
        self._next = 0
        self._closed = False
        self._may_grow = False
        """Whether the caps may grow while a reservation waits."""
        self._warned = 0.0
        self._changed = threading.Condition()

    @property
    def capped(self) -> bool:
        """Whether any cap is set."""
        return self.max_usd is not None or self.max_total_output_tokens is not None

    @property
    def possibly_usd(self) -> float:
        """US dollars of calls that may be billed without a known price.

        They were sent, but failed or reported no usage; they count at their worst case.
        """
        return sum((r.usd for r in self._possibly_billed.values()), 0.0)

    def price_for(self, lm: LanguageModel) -> Price | None:
        """Return the price that is used for an LM.

        It is the highest one of the LM and its fallbacks, any of which may answer.
        """
        return highest_price(lm) if self.price is None else self.price

    def priced(self, call: Call) -> Call:
        """Return a call at the price of this ledger, where it has one."""
        return call if self.price is None else call.priced(self.price)

    def require_price(self, lm: LanguageModel) -> Price:
        """Return the price of an LM under a money cap.

        Raises:
            UnpricedModelError: If it is unknown; the message says how to give it.
        """
        price = self.price_for(lm)
        if price is None:
            unknown = next(one.model for one in (lm, *fallback_lms(lm)) if price_of(one) is None)
            raise UnpricedModelError(
                f"max_usd needs a price, and none is known for {unknown}: give US dollars per million tokens with "
                "--price-in and --price-out (in Python: price=tale_dspy.Price(input=..., output=...) per token)"
            )
        return price

    def reserve(
        self,
        lm: LanguageModel,
        request: object,
        config: JsonObject,
        *,
        wait: bool = True,
        cached: Callable[[], bool] = lambda: False,
        price_share: float = 1.0,
    ) -> int:
        """Hold the worst case of a call that is about to be sent.

        While other threads have calls in flight, a reservation that does not fit waits for them to be settled; when
        none has, the cap is reached: calls in event loops are not waited for. With `wait=False`, as in an event loop,
        it is reached at once. A call that DSPy's cache will answer holds nothing.

        Args:
            lm: The LM that will be called.
            request: Its messages or prompt.
            config: The merged settings of the call (`max_tokens`, `n`).
            wait: Whether the thread may wait for others.
            cached: Says whether the cache holds the reply; looked up only where the reservation does not fit.
            price_share: The part of the usual price that is paid, as through a batch API.

        Returns:
            A number for `settle` or `release`.

        Raises:
            SpendCapReached: If the call would pass a cap. It was not sent.
            UnpricedModelError: If there is a money cap and no price.
        """
        need = self._worst_case(lm, request, config)
        need = replace(need, usd=price_share * need.usd, thread=threading.get_ident() if wait else None)
        with self._changed:
            looked = False
            while not self._fits_caps(need) and not self._lease_more(need):
                last = self._closed or not wait or not (self._others_in_flight() or self._may_grow)
                if (last or not looked) and cached():
                    need = Reservation()
                    break
                if last:
                    raise SpendCapReached(self._cap_message(need), self)
                looked = True
                self._changed.wait(self.wait_s)
            self._next += 1
            self._reserved[self._next] = need
            return self._next

    def reserved_usd(self, number: int) -> float:
        """Return the US dollars that a reservation holds."""
        with self._changed:
            return self._reserved.get(number, Reservation()).usd

    def settle(self, number: int, call: Call) -> None:
        """Replace a reservation by what the call used.

        This also works for one that was released as possibly billed.
        """
        call = self.priced(call)
        with self._changed:
            held = self._reserved.pop(number, None) or self._possibly_billed.pop(number, None) or Reservation()
            self._book_call(call)
            if not (call.cached or call.replayed):
                # Unknown use counts as the worst case towards the caps, and as unknown in every figure.
                usd = held.usd if call.cost_usd is None else 0.0
                tokens = held.tokens if call.output_tokens is None else 0
                if usd or tokens:
                    self._possibly_billed[number] = Reservation(usd, tokens)
            self._warn_near_cap()
            self._changed.notify_all()

    def release(self, number: int, *, possibly_billed: bool) -> None:
        """Give a reservation back.

        That of a call that may be billed although it failed stays spent.
        """
        with self._changed:
            held = self._reserved.pop(number, None)
            # Of several choices some may have been answered before one was refused.
            if held and (possibly_billed or held.choices > 1):
                self._possibly_billed[number] = held
            self._warn_near_cap()
            self._changed.notify_all()

    def cancel(self, number: int) -> None:
        """Give back the reservation of a call that was not sent after all."""
        with self._changed:
            self._reserved.pop(number, None)
            self._changed.notify_all()

    def book(self, call: Call) -> None:
        """Book a call that had no reservation."""
        call = self.priced(call)
        with self._changed:
            self._book_call(call)
            self._warn_near_cap()
            self._changed.notify_all()

    @property
    def used(self) -> Reservation:
        """What counts towards the caps: paid, possibly billed, or held for calls."""
        with self._changed:
            usd, tokens = self._used_amounts()
            held = list(self._reserved.values())
            return Reservation(usd + sum(r.usd for r in held), tokens + sum(r.tokens for r in held))

    def successor(self, price: Price | None = None) -> "Ledger":
        """Return an empty ledger under the same caps.

        It counts what this one has used towards them.

        Args:
            price: Overrides the price of every model; None keeps this ledger's.
        """
        new = Ledger(self.max_usd, self.max_total_output_tokens, self.price if price is None else price)
        new._carried, new._warned = self.used, self._warned
        return new

    def absorb(self, other: "Ledger") -> None:
        """Add what a successor has booked.

        What it holds for calls in flight counts as possibly billed.
        """
        with other._changed:
            unsettled = [*other._possibly_billed.values(), *other._reserved.values()]
            roles = {name: replace(role) for name, role in other.roles.items()}
            shadow = replace(other.shadow)
            sums = (other.spent_usd, other.saved_usd, other.output_tokens, other.unpriced_calls, other.uncounted_calls)
        with self._changed:
            for held in unsettled:
                self._next += 1
                self._possibly_billed[self._next] = held
            for name, role in roles.items():
                self.roles.setdefault(name, RoleSum()).merge(role)
            self.shadow.merge(shadow)
            self.spent_usd += sums[0]
            self.saved_usd += sums[1]
            self.output_tokens += sums[2]
            self.unpriced_calls += sums[3]
            self.uncounted_calls += sums[4]
            self._warned = max(self._warned, other._warned)
            self._changed.notify_all()

    def add_shadow_result(self, result: ShadowResult) -> None:
        """Book the result of a shadow check.

        Its calls are booked under the role `shadow`.
        """
        with self._changed:
            self.shadow.add(result)

    def close(self) -> None:
        """Refuse every further call that is not in the cache.

        Waiting calls are refused, whatever room the caps have left.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _book_call(self, call: Call) -> None:
        self.roles.setdefault(call.role, RoleSum()).add(call)
        if call.replayed:
            return
        if call.cached:
            self.saved_usd += call.saved_cost_usd or 0.0
            return
        self.spent_usd += call.cost_usd or 0.0
        self.output_tokens += call.output_tokens or 0
        self.unpriced_calls += call.cost_usd is None
        self.uncounted_calls += call.output_tokens is None

    def _worst_case(self, lm: LanguageModel, request: object, config: JsonObject) -> Reservation:
        if not self.capped:
            return Reservation()
        return worst_case(request, config, None if self.max_usd is None else self.require_price(lm))

    def _used_amounts(self) -> tuple[float, int]:
        """Return US dollars and output tokens that count towards the caps.

        Those of calls in flight are left out.
        """
        tokens = self.output_tokens + sum(r.tokens for r in self._possibly_billed.values())
        return self.spent_usd + self.possibly_usd + self._carried.usd, tokens + self._carried.tokens

    def _fits_caps(self, need: Reservation) -> bool:
        if self._closed:
            return False
        usd, tokens = self._used_amounts()
        usd += need.usd + sum(r.usd for r in self._reserved.values())
        tokens += need.tokens + sum(r.tokens for r in self._reserved.values())
        return (self.max_usd is None or usd <= self.max_usd) and (
            self.max_total_output_tokens is None or tokens <= self.max_total_output_tokens
        )

    def _lease_more(self, need: Reservation) -> bool:
        """Make leased caps (`cap_leases`) larger and say whether the call fits."""
        return False

    def _others_in_flight(self) -> bool:
        """Return whether another thread has a call that will be settled.

        Calls of this thread do not count: it may be inside one that makes another call.
        """
        mine = threading.get_ident()
        return any(held.thread not in (None, mine) for held in self._reserved.values())

    def _cap_message(self, need: Reservation) -> str:
        usd, tokens = self._used_amounts()
        parts = []
        if self.max_usd is not None:
            parts.append(f"${usd:.6f} of max_usd={self.max_usd:g} spent")
        if self.max_total_output_tokens is not None:
            parts.append(f"{tokens} of max_total_output_tokens={self.max_total_output_tokens} spent")
        room = f"the next call may need {need.tokens} output tokens" + (f" or ${need.usd:.6f}" if need.usd else "")
        return f"spend cap reached: {' and '.join(parts)}, and {room}"

    def _warn_near_cap(self) -> None:
        if not self.capped:
            return
        usd, tokens = self._used_amounts()
        share = max(usd / (self.max_usd or math.inf), tokens / (self.max_total_output_tokens or math.inf))
        for threshold in _WARN_AT:
            if self._warned < threshold <= share:
                self._warned = threshold
                logger.warning("%.0f %% of the spend cap is used: %s", threshold * 100, self.spent())

    def spent(self) -> str:
        """Say in a few words what was spent."""
        money = f"${self.spent_usd:.6f}" + (f" + {self.unpriced_calls} unpriced calls" if self.unpriced_calls else "")
        return f"{money}, {self.output_tokens} output tokens"

    @property
    def calls(self) -> int:
        """Calls booked, from the cache or not."""
        with self._changed:
            return sum(r.calls for r in self.roles.values())

    @property
    def cached_calls(self) -> int:
        """Calls answered by DSPy's cache."""
        with self._changed:
            return sum(r.cached_calls for r in self.roles.values())

    def to_json(self) -> JsonObject:
        """Return the sums as plain JSON; what is not wholly known is None."""
        with self._changed:
            return {
                "calls": self.calls,
                "cached_calls": self.cached_calls,
                "spent_usd": None if self.unpriced_calls else self.spent_usd,
                "possibly_usd": self.possibly_usd,
                "saved_usd": self.saved_usd,
                "output_tokens": None if self.uncounted_calls else self.output_tokens,
                "roles": {name: asdict(r) for name, r in sorted(self.roles.items())},
                "shadow": {**asdict(self.shadow), "saving": self.shadow.saving} if self.shadow.calls else None,
            }

    def _repr_html_(self) -> str:
        """Show what was spent by role in a notebook."""
        with self._changed:
            rows = [
                [name, f"{r.calls:,}", f"{r.cached_calls:,}", number(r.prompt_tokens, 0), number(r.output_tokens, 0)]
                for name, r in sorted(self.roles.items())
            ]
            note = f"Spent {self.spent()}, saved by the cache ${self.saved_usd:.6f}."
        return html_table(["Role", "Calls", "From the cache", "Prompt tokens", "Output tokens"], rows, note=note)

    def __str__(self) -> str:
        with self._changed:
            rows = [
                f"  {name}: {r.calls} calls ({r.cached_calls} from the cache), "
                f"{'unknown' if r.prompt_tokens is None else r.prompt_tokens} prompt + "
                f"{'unknown' if r.output_tokens is None else r.output_tokens} output tokens"
                for name, r in sorted(self.roles.items())
            ]
            rows += [str(self.shadow)] if self.shadow.calls else []
            return "\n".join([f"spent {self.spent()}, saved by the cache ${self.saved_usd:.6f}", *rows])
