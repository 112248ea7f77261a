"""Holding calls back: in order, at a rate, and no more in flight than the server takes."""

import asyncio
import copy
import pickle
import random
import selectors
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import pytest

from tale_dspy import UsageError
from tale_dspy.backends import limiter as limiter_module
from tale_dspy.backends.limiter import Limiter


class Clock(asyncio.SelectorEventLoop):
    """A loop that does not wait: its time is that of what comes next."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(Jump(self))

    def time(self) -> float:
        return self.now


class Jump(selectors.SelectSelector):
    """Waits for nothing."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.clock.now += max(0.0, timeout or 0.0)
        return super().select(0)


class Server:
    """Refuses at once what comes above `most` in flight, and answers after some 0.2 s.

    Args:
        most: Requests in flight that it takes.
        cpu: Seconds of computing before and after each request, one after the other, as in one Python process.
        retry_after: Seconds that a refused one waits at least.
    """

    def __init__(self, most: int, *, cpu: float = 0.0025, retry_after: float = 0.0) -> None:
        self.most, self.cpu, self.retry_after = most, cpu, retry_after
        self.in_flight = self.answered = self.refused = 0
        self.worked = 0.0
        """Seconds of all places together."""
        self._computed = 0.0
        self.rng = random.Random(0)

    def takes(self) -> bool:
        return self.in_flight < self.most

    async def ask(self, limiter: Limiter) -> bool:
        loop = asyncio.get_running_loop()
        slot = await limiter.aacquire()
        await self._compute(loop)
        if not self.takes():
            self.refused += 1
            await self._compute(loop)
            limiter.refuse()
            return False
        self.in_flight += 1
        seconds = self.rng.uniform(0.15, 0.25)
        await asyncio.sleep(seconds)
        self.worked += seconds
        self.in_flight -= 1
        await self._compute(loop)
        self.answered += 1
        limiter.answered(slot)
        return True

    async def _compute(self, loop: asyncio.AbstractEventLoop) -> None:
        self._computed = max(self._computed, loop.time()) + self.cpu
        await asyncio.sleep(self._computed - loop.time())


async def flood(server: Server, limiter: Limiter, calls: int, workers: int = 32) -> tuple[float, float]:
    """Return the seconds, and those that the server worked, until a worker had nothing to ask any more."""
    left, loop, ends = iter(range(calls)), asyncio.get_running_loop(), list[tuple[float, float]]()
    start, worked = loop.time(), server.worked

    async def worker() -> None:
        for _ in left:
            while not await server.ask(limiter):
                await asyncio.sleep(max(server.retry_after, server.rng.uniform(0, 1)))
        ends.append((loop.time() - start, server.worked - worked))

    await asyncio.gather(*(worker() for _ in range(workers)))
    return ends[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    loop = Clock()
    monkeypatch.setattr(limiter_module, "time", SimpleNamespace(monotonic=loop.time))
    yield loop
    loop.close()


def flooded(clock: Clock, server: Server, limiter: Limiter, calls: int, workers: int = 32) -> tuple[float, float]:
    """Return which share was refused, and how busy the server was while all workers had something to ask."""
    refused, answered = server.refused, server.answered
    seconds, worked = clock.run_until_complete(flood(server, limiter, calls, workers))
    refused, answered = server.refused - refused, server.answered - answered
    return refused / (refused + answered), worked / (seconds * server.most)


@pytest.mark.parametrize("retry_after", [0.0, 2.0])
@pytest.mark.parametrize("most", [1, 4, 8, 16, 40])
def test_a_server_that_takes_so_many_at_once_is_kept_busy_and_hardly_refuses(
    clock: Clock, most: int, retry_after: float
) -> None:
    server, limiter = Server(most, cpu=0.0005 if most == 40 else 0.0025, retry_after=retry_after), Limiter()
    workers = 2 * most + 16
    flooded(clock, server, limiter, 6 * most + 50, workers)  # the first burst finds the limit out
    refused, busy = flooded(clock, server, limiter, 100 * max(most, 8), workers)
    assert refused < 0.015 and busy >= 0.94
    assert limiter.most is not None and most <= limiter.most <= most + 1


def test_a_server_that_takes_less_than_before_is_believed(clock: Clock) -> None:
    server, limiter = Server(16), Limiter()
    flooded(clock, server, limiter, 300, 48)
    server.most = 8
    refused, busy = flooded(clock, server, limiter, 600, 48)
    assert refused < 0.035 and busy >= 0.94  # eight too many at first, and one a hundred
    assert limiter.most in (8, 9)


def test_a_server_that_takes_more_than_before_is_found_out(clock: Clock) -> None:
    server, limiter = Server(4, cpu=0.0005), Limiter()
    flooded(clock, server, limiter, 200, 96)
    server.most = 40
    refused, _ = flooded(clock, server, limiter, 600, 96)
    assert refused < 0.02 and limiter.most is not None and limiter.most >= 40
    assert flooded(clock, server, limiter, 2000, 96)[1] >= 0.94


def test_a_rate_that_the_server_keeps_is_found_out_too(clock: Clock) -> None:
    class Rated(Server):
        """Takes 20 requests a second."""

        tokens, filled = 20.0, 0.0

        def takes(self) -> bool:
            self.tokens, self.filled = min(20.0, self.tokens + 20 * (clock.now - self.filled)), clock.now
            taken = self.tokens >= 1
            self.tokens -= taken
            return taken

    server, limiter = Rated(1), Limiter()
    flooded(clock, server, limiter, 400)
    start = clock.now
    refused, _ = flooded(clock, server, limiter, 600)
    assert refused < 0.05 and 600 / (clock.now - start) >= 18


def test_requests_are_spread_where_their_number_is_limited(clock: Clock) -> None:
    limiter = Limiter()
    limiter.most, limiter._seconds = 8, 0.2

    async def due() -> list[float]:
        return [(await limiter.aacquire()).due for _ in range(4)]

    assert clock.run_until_complete(due()) == pytest.approx([0.0, 0.01, 0.02, 0.03])
    limiter._seconds = 60.0  # never by more than a pace: a short call may follow many long ones
    assert clock.run_until_complete(due())[1:] == pytest.approx([0.06, 0.08, 0.1])


def test_each_refusal_says_that_one_was_too_many() -> None:
    limiter = Limiter()
    limiter.most = 6
    for _ in range(6):
        limiter.acquire()
    limiter.refuse()
    limiter.refuse()
    assert (limiter.most, limiter.refused) == (4, 2)
    for _ in range(3):
        limiter.failed()
    limiter.refuse()  # of the four of which one is left
    assert limiter.most == 3
    limiter.acquire()
    limiter.refuse()  # with one in flight
    assert limiter.most == 1


def test_nothing_is_held_back_before_the_first_refusal(clock: Clock) -> None:
    server, limiter = Server(100), Limiter()
    flooded(clock, server, limiter, 100)
    assert (server.refused, limiter.most, limiter.holds_back) == (0, None, False)


def test_threads_wait_in_the_order_they_came() -> None:
    limiter, order, ready = Limiter(), list[int](), threading.Semaphore(0)
    limiter.acquire()
    limiter.acquire()
    limiter.refuse()  # one may be in flight, and one is

    def wait(number: int) -> None:
        ready.release()
        limiter.acquire()
        order.append(number)
        limiter.answered()

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        ready.acquire()
        deadline = time.monotonic() + 5
        while len(limiter._waiting) <= number and time.monotonic() < deadline:
            pass
    limiter.answered()
    for thread in threads:
        thread.join(5)
    assert order == [0, 1, 2, 3, 4]
    assert limiter.in_flight == 0


async def test_a_cancelled_task_gives_its_place_up() -> None:
    limiter = Limiter()
    await limiter.aacquire()
    await limiter.aacquire()
    limiter.refuse()
    waiting = asyncio.create_task(limiter.aacquire())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    limiter.answered()
    assert limiter.in_flight == 0
    await asyncio.wait_for(limiter.aacquire(), 5)


def test_requests_a_minute_are_kept_by_spacing() -> None:
    limiter = Limiter(rpm=3000)
    slots = [limiter.acquire() for _ in range(5)]
    gaps = [b.due - a.due for a, b in pairwise(slots)]
    assert all(gap >= 0.0199 for gap in gaps)


def test_tokens_a_minute_are_kept_by_spacing() -> None:
    limiter = Limiter(tpm=60_000)
    first, second, third = (limiter.acquire(tokens) for tokens in (20, 50, 1))
    assert second.due - first.due >= 0.0199
    assert third.due - second.due >= 0.0499


@pytest.mark.parametrize("options", [{"rpm": 0}, {"tpm": -1}, {"rpm": True}, {"tpm": "many"}])
def test_a_limit_is_a_number_above_zero(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must be a number above 0"):
        Limiter(**options)


def test_copies_share_it_and_another_process_begins_anew() -> None:
    limiter = Limiter(rpm=5)
    assert copy.deepcopy([limiter])[0] is limiter
    assert pickle.loads(pickle.dumps(limiter)).rpm == 5
