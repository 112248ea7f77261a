"""Requests and tokens a minute that several processes share.

One `RateBook` books their moments, in blocks.

A moment that a process has booked and not used is gone, as it is within one process: nothing is saved up.
"""

import time
from collections import deque
from collections.abc import Callable

from tale_dspy.backends.limiter import Limiter

BLOCK_S = 0.5
"""Seconds of requests that a process books at once."""


class RateBook:
    """The next moment at which anybody may send a request. Not thread-safe.

    Args:
        rpm: Requests a minute of all processes; None for no limit.
        tpm: Tokens a minute of all processes; None for no limit.
        now: The clock, in seconds.

    Example:
        >>> book = RateBook(rpm=60, now=lambda: 100.0)
        >>> book.reserve(2), book.reserve(1)
        (0.0, 2.0)
    """

    def __init__(
        self, rpm: float | None = None, tpm: float | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.rpm, self.tpm, self._now = rpm, tpm, now
        self._next_request = self._next_token = 0.0

    def reserve(self, requests: int, tokens: int = 0) -> float:
        """Book evenly spaced requests; return the seconds until the first.

        Together they take `tokens` tokens.
        """
        now = self._now()
        due = max(now, self._next_request, self._next_token)
        if self.rpm is not None:
            self._next_request = due + requests * 60.0 / self.rpm
        if self.tpm is not None:
            self._next_token = due + tokens * 60.0 / self.tpm
        return due - now


class LeasedLimiter(Limiter):
    """A limiter whose requests and tokens a minute are booked elsewhere.

    The number in flight it limits itself, as `Limiter` does.

    Args:
        reserve: Books requests and tokens, as `RateBook.reserve`.
        rpm: Requests a minute of all processes; None for no limit.
        tpm: Tokens a minute of all processes; None for no limit.
    """

    def __init__(self, reserve: Callable[[int, int], float], rpm: float | None, tpm: float | None) -> None:
        super().__init__(rpm, tpm)
        self._reserve = reserve
        self._moments: deque[float] = deque()

    def _next_rated(self, now: float, tokens: int) -> float:
        if self.tpm is not None or self.rpm is None:
            return now + self._reserve(1, tokens)
        interval = 60.0 / self.rpm
        while self._moments and self._moments[0] < now - interval:
            self._moments.popleft()
        if not self._moments:
            count = max(1, int(BLOCK_S / interval))
            first = now + self._reserve(count, 0)
            self._moments.extend(first + number * interval for number in range(count))
        return self._moments.popleft()
