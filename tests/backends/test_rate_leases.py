"""Requests and tokens a minute that several processes share are booked once for all."""

import time
from itertools import pairwise

from tale_dspy.backends.rate_leases import BLOCK_S, LeasedLimiter, RateBook


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_bookings_of_all_follow_each_other_and_nothing_is_saved_up() -> None:
    clock = Clock()
    book = RateBook(rpm=600, now=clock)
    assert [round(book.reserve(5), 6) for _ in range(3)] == [0.0, 0.5, 1.0]
    clock.now += 100
    assert [round(book.reserve(1), 6) for _ in range(2)] == [0.0, 0.1]


def test_tokens_take_their_time() -> None:
    book = RateBook(rpm=6000, tpm=60_000, now=Clock())
    assert [round(book.reserve(1, tokens), 6) for tokens in (500, 500, 0)] == [0.0, 0.5, 1.0]


def test_two_limiters_together_keep_the_rate() -> None:
    reservations: list[tuple[int, int]] = []
    book = RateBook(rpm=6000)

    def reserve(requests: int, tokens: int) -> float:
        reservations.append((requests, tokens))
        return book.reserve(requests, tokens)

    limiters = [LeasedLimiter(reserve, 6000, None) for _ in range(2)]
    started = time.monotonic()
    dues = sorted(limiters[number % 2]._next_due(0).due for number in range(200))
    gaps = [later - earlier for earlier, later in pairwise(dues)]
    assert dues[-1] - started > 1.9 and sum(gap < 0.009 for gap in gaps) <= len(reservations)
    assert reservations == [(int(BLOCK_S * 100), 0)] * 4


def test_with_tokens_a_minute_each_request_is_booked_by_itself() -> None:
    reservations: list[tuple[int, int]] = []

    def reserve(requests: int, tokens: int) -> float:
        reservations.append((requests, tokens))
        return 0.0

    limiter = LeasedLimiter(reserve, None, 1000)
    limiter.acquire(30)
    limiter.answered()
    assert reservations == [(1, 30)]


def test_moments_that_passed_unused_are_gone() -> None:
    limiter = LeasedLimiter(RateBook(rpm=6000).reserve, 6000, None)
    now = time.monotonic()
    first = limiter._next_rated(now, 0)
    assert limiter._next_rated(now + 10, 0) > first + 0.3, "49 moments were left, all long ago"
