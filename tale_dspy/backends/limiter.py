"""How many requests are on their way to a model at once, and how many go out a minute.

A `Limiter` is shared by all copies of an LM. It holds calls back, of threads and of asyncio tasks alike, in the order
in which they came; it never refuses one. Requests and tokens a minute are kept by spacing. The number in flight is
found out: nothing is held back until the server answers 429, then as many are sent as it had taken, and now and then
one more.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tale_dspy.errors import UsageError

FIRST_PATIENCE, LEAST_PATIENCE, MOST_PATIENCE = 16, 64, 512
"""Answers between two tries of one more in flight: at first, after one was refused, and after many were: each doubles
them, so that few requests are."""


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
        self._next_request = self._next_token = 0.0
        self._calm = 0
        self._patience = FIRST_PATIENCE
        self._trying = False

    def __deepcopy__(self, memo: object) -> "Limiter":
        return self  # one for all copies of an LM

    def __reduce__(self) -> tuple[type["Limiter"], tuple[float | None, float | None]]:
        return Limiter, (self.rpm, self.tpm)  # in another process what was found out here may not hold

    @property
    def holds_back(self) -> bool:
        """Whether a call may have to wait."""
        return self.most is not None or self.rpm is not None or self.tpm is not None

    # ---- asking for leave

    def acquire(self, tokens: int = 0) -> Slot:
        """Wait for leave to send a request of so many tokens, in a thread."""
        let = threading.Event()
        if not self._enter(let.set):
            let.wait()
        slot = self._space(tokens)
        if (wait := slot.due - time.monotonic()) > 0:
            time.sleep(wait)
        return slot

    async def aacquire(self, tokens: int = 0) -> Slot:
        """Wait for leave in an event loop; a task that is cancelled meanwhile gives its place up."""
        loop = asyncio.get_running_loop()
        let: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(_resolve, let)
            except RuntimeError:  # the loop has ended with its tasks: the place goes to the next
                self._leave()

        if not self._enter(tell):
            try:
                await let
            except asyncio.CancelledError:
                self._forget(tell)
                raise
        slot = self._space(tokens)
        try:
            if (wait := slot.due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self._leave()
            raise
        return slot

    def _enter(self, let: Callable[[], None]) -> bool:
        with self._lock:
            if not self._waiting and self._free:
                self.in_flight += 1
                return True
            self._waiting.append(let)
            return False

    @property
    def _free(self) -> bool:
        return self.most is None or self.in_flight < self.most

    def _forget(self, let: Callable[[], None]) -> None:
        with self._lock:
            if let in self._waiting:
                self._waiting.remove(let)
                return
        self._leave()

    def _space(self, tokens: int) -> Slot:
        """Book the next moment at which both rates allow a request."""
        with self._lock:
            now = time.monotonic()
            due = max(now, self._next_request, self._next_token)
            if self.rpm is not None:
                self._next_request = due + 60.0 / self.rpm
            if self.tpm is not None:
                self._next_token = due + tokens * 60.0 / self.tpm
            self.sent += 1
            return Slot(due)

    # ---- and giving it back

    def answered(self) -> None:
        """Give leave back after an answer."""
        with self._lock:
            self._learn()
        self._leave()

    def failed(self) -> None:
        """Give leave back after a failure that says nothing about how many may be in flight."""
        self._leave()

    def refuse(self) -> None:
        """Give leave back after a 429: no more may be in flight than are left without this one."""
        with self._lock:
            self.refused += 1
            left = max(1, self.in_flight - 1)
            if self._trying:
                self._patience = min(max(2 * self._patience, LEAST_PATIENCE), MOST_PATIENCE)
                self._trying = False
            if self.most is None or left < self.most:
                self.most = left
            self._calm = 0
        self._leave()

    def _learn(self) -> None:
        """Try one more after a stretch without refusals, if all that are allowed were in flight."""
        if self.most is None:
            return
        self._calm += 1
        full = self.in_flight >= self.most
        if self._trying and self._calm >= 2 * self.most:
            self._trying, self._patience = False, self.most  # one more is taken: the next is tried sooner
        if not self._trying and full and self._calm >= max(self._patience, self.most):
            self.most += 1
            self._calm, self._trying = 0, True

    def _leave(self) -> None:
        let: list[Callable[[], None]] = []
        with self._lock:
            self.in_flight -= 1
            while self._waiting and self._free:
                self.in_flight += 1
                let.append(self._waiting.popleft())
        for tell in let:
            tell()


def _resolve(let: "asyncio.Future[None]") -> None:
    if not let.done():
        let.set_result(None)
