"""Limit how many requests are in flight at once and go out a minute.

A `Limiter` is shared by all copies of an LM. It holds calls back, of threads and of asyncio tasks alike, in the order
in which they came; it never refuses one. Requests and tokens a minute are kept by spacing. The number in flight is
learned: nothing is held back until the server answers 429, then as many are sent as it had taken, and now and then
one more. What is in flight here is never less than what the server sees, so that a number it has taken is safe.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tale_dspy.errors import UsageError

LEAST_PATIENCE, MOST_PATIENCE = 80, 120
"""Answers between two tries of one more in flight, after one was refused and after several were: of 100 requests about
one is refused, and a server that takes more is noticed all the same."""
STEPS = (0, 16, 8, 4)
"""A try raises the limit by at least one and, after n successful tries in a row (3 at most), by limit / STEPS[n]."""
PACE, SHARE_OF_PACE = 0.02, 0.4
"""Seconds at most between two requests where the number in flight is limited, and the share of their mean distance:
replies that come all at once would be worked off one after the other, and the server be idle meanwhile."""


@dataclass(frozen=True)
class Slot:
    """Leave to send one request."""

    due: float
    """`time.monotonic()` before which it must not be sent."""


class Limiter:
    """Holds calls back so that a provider need not refuse them.

    Args:
        rpm: Requests a minute; None for no limit.
        tpm: Tokens a minute, prompt and completion; None for no limit.

    Raises:
        UsageError: If one is no number above 0.
    """

    def __init__(self, rpm: float | None = None, tpm: float | None = None) -> None:
        for name, value in (("rpm", rpm), ("tpm", tpm)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise UsageError(f"{name} must be a number above 0, got {value!r}")
        self.rpm, self.tpm = rpm, tpm
        self.most: int | None = None
        """Requests in flight that the server was seen to take; None until it refused one."""
        self.in_flight = 0
        self.sent = 0
        self.refused = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._next_request = self._next_token = self._next_paced = 0.0
        self._seconds = 0.0
        """Mean time of an answer."""
        self._calm = 0
        """Answers since the last change, while as many were in flight as may be."""
        self._since = 0
        """Answers since the last refusal."""
        self._patience = LEAST_PATIENCE // 2
        self._taken = 1
        """Tries in a row that were taken; what the first refusals left may be too few, and is tried at once."""
        self._trying = False
        self._peak = 0
        """Most in flight since the last refusal."""
        self._ceiling = 0.0
        """What was refused lately: up to there a try that was taken may have been luck, or a quota saved up."""

    def __deepcopy__(self, memo: object) -> "Limiter":
        return self  # one for all copies of an LM

    def __reduce__(self) -> tuple[type["Limiter"], tuple[float | None, float | None]]:
        return Limiter, (self.rpm, self.tpm)  # in another process what was learned here may not hold

    @property
    def holds_back(self) -> bool:
        """Whether a call may have to wait."""
        return self.most is not None or self.rpm is not None or self.tpm is not None

    # ---- asking for leave

    def acquire(self, tokens: int = 0) -> Slot:
        """Wait for leave to send a request of `tokens` tokens, in a thread."""
        admit = threading.Event()
        if not self._try_enter(admit.set):
            admit.wait()
        slot = self._next_due(tokens)
        if (wait := slot.due - time.monotonic()) > 0:
            time.sleep(wait)
        return slot

    async def aacquire(self, tokens: int = 0) -> Slot:
        """Wait in an event loop until a request may be sent.

        A task that is cancelled meanwhile gives up its place.
        """
        loop = asyncio.get_running_loop()
        admit: asyncio.Future[None] = loop.create_future()

        def notify() -> None:
            try:
                loop.call_soon_threadsafe(_resolve_future, admit)
            except RuntimeError:  # the loop has ended with its tasks: the place goes to the next
                self._free_slot()

        if not self._try_enter(notify):
            try:
                await admit
            except asyncio.CancelledError:
                self._forget_waiter(notify)
                raise
        slot = self._next_due(tokens)
        try:
            if (wait := slot.due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self._free_slot()
            raise
        return slot

    def _try_enter(self, admit: Callable[[], None]) -> bool:
        with self._lock:
            if not self._waiting and self._has_free_slot:
                self._take_slot()
                return True
            self._waiting.append(admit)
            return False

    def _take_slot(self) -> None:
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)

    @property
    def _has_free_slot(self) -> bool:
        return self.most is None or self.in_flight < self.most

    def _forget_waiter(self, admit: Callable[[], None]) -> None:
        with self._lock:
            if admit in self._waiting:
                self._waiting.remove(admit)
                return
        self._free_slot()

    def _next_due(self, tokens: int) -> Slot:
        """Book the next moment at which both rates allow a request."""
        with self._lock:
            now = time.monotonic()
            due = max(now, self._next_paced, self._next_rated(now, tokens))
            if self.most is not None:
                self._next_paced = due + min(PACE, SHARE_OF_PACE * self._seconds / self.most)
            self.sent += 1
            return Slot(due)

    def _next_rated(self, now: float, tokens: int) -> float:
        """Book the next moment at which requests and tokens a minute allow a request."""
        # Requests are spaced evenly, 60 / rpm seconds apart, and a request of t tokens holds the next one back for
        # t * 60 / tpm seconds: no burst at the start of a minute.
        due = max(now, self._next_request, self._next_token, self._next_paced)
        if self.rpm is not None:
            self._next_request = due + 60.0 / self.rpm
        if self.tpm is not None:
            self._next_token = due + tokens * 60.0 / self.tpm
        return due

    # ---- and giving it back

    def answered(self, slot: Slot | None = None) -> None:
        """Give leave back after an answer."""
        with self._lock:
            if slot is not None:
                seconds = max(0.0, time.monotonic() - slot.due)
                # Exponential moving average of the time of an answer, with weight 1 / 16 for the last.
                self._seconds += (seconds - self._seconds) / 16 if self._seconds else seconds
            self._raise_limit()
        self._free_slot()

    def failed(self) -> None:
        """Give a place back after a failure that says nothing about the limit."""
        self._free_slot()

    def refuse(self) -> None:
        """Give a place back after a 429 and lower the limit.

        The limit falls to one below the requests in flight since the last change, in whatever order they are refused.
        """
        with self._lock:
            self.refused += 1
            # Additive decrease: a burst of refusals belongs to one limit, which is lowered below the requests that were
            # in flight. A refused try doubles the wait for the next one, up to `MOST_PATIENCE` answers.
            if self._since:  # else it is one more of those that came together
                self._patience = min(2 * self._patience, MOST_PATIENCE) if self._trying else LEAST_PATIENCE
                self._taken, self._trying = 0, False
            self.most = max(1, self._peak - 1 if self.most is None else min(self.most, self._peak) - 1)
            self._ceiling = max(self.most + 1, 0.9 * self._ceiling)
            self._calm, self._since, self._peak = 0, 0, self.in_flight - 1
        self._free_slot()

    def _raise_limit(self) -> None:
        """Raise the limit after enough requests without a refusal.

        Only requests that end while all places are taken count.
        """
        if self.most is None:
            return
        self._since += 1
        # An answer while places are free says nothing about a higher limit.
        if self.in_flight < self.most:
            return
        self._calm += 1
        # A try has succeeded after as many answers as are in flight: each place has been used once. Above everything
        # that was refused lately the next try is larger (exponential growth), below it may have been luck.
        if self._trying and self._calm >= self.most:
            self._trying, self._calm = False, 0
            if self.most > self._ceiling:
                self._taken = min(self._taken + 1, len(STEPS) - 1)
            else:
                self._taken, self._patience = 0, LEAST_PATIENCE // 2
        if not self._trying and self._calm >= (0 if self._taken > 1 else self._patience):
            self.most += max(1, self.most // STEPS[self._taken]) if self._taken else 1
            self._trying, self._calm = True, 0

    def _free_slot(self) -> None:
        admitted: list[Callable[[], None]] = []
        with self._lock:
            self.in_flight -= 1
            while self._waiting and self._has_free_slot:
                self._take_slot()
                admitted.append(self._waiting.popleft())
        for notify in admitted:
            notify()


def _resolve_future(admit: "asyncio.Future[None]") -> None:
    if not admit.done():
        admit.set_result(None)
