"""Holding calls back: in order, at a rate, and no more in flight than the server takes."""

import asyncio
import copy
import pickle
import random
import threading
import time
from itertools import pairwise

import pytest

from tale_dspy import UsageError
from tale_dspy.backends.limiter import FIRST_PATIENCE, Limiter


class Server:
    """Refuses at once what comes above `most` in flight."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.in_flight = self.answered = self.refused = 0
        self.load: list[int] = []
        """How many were allowed in flight at each answer; there is always one more that waits."""
        self.rng = random.Random(0)

    async def ask(self, limiter: Limiter) -> bool:
        await limiter.aacquire()
        if self.in_flight >= self.most:
            self.refused += 1
            limiter.refuse()
            return False
        self.in_flight += 1
        await asyncio.sleep(self.rng.uniform(0.001, 0.004))
        self.load.append(limiter.most or 0)
        self.in_flight -= 1
        self.answered += 1
        limiter.answered()
        return True


async def flood(server: Server, limiter: Limiter, calls: int, workers: int = 32) -> None:
    left = iter(range(calls))

    async def worker() -> None:
        for _ in left:
            while not await server.ask(limiter):
                await asyncio.sleep(0.004)

    await asyncio.gather(*(worker() for _ in range(workers)))


@pytest.mark.parametrize("most", [1, 4, 8, 16])
async def test_a_server_that_takes_so_many_at_once_is_kept_busy_and_hardly_refuses(most: int) -> None:
    server, limiter = Server(most), Limiter()
    await flood(server, limiter, 64)  # the first burst finds the limit out
    burst, answered = server.refused, server.answered
    server.load.clear()
    await flood(server, limiter, 100 * most if most < 8 else 800)
    refused = server.refused - burst
    assert refused / (refused + server.answered - answered) < 0.02
    assert sum(server.load) / len(server.load) >= 0.9 * most


async def test_nothing_is_held_back_before_the_first_refusal() -> None:
    server, limiter = Server(100), Limiter()
    await flood(server, limiter, 100)
    assert (server.refused, limiter.most, limiter.holds_back) == (0, None, False)


async def test_more_are_tried_once_the_server_takes_more() -> None:
    server, limiter = Server(2), Limiter()
    await flood(server, limiter, 40)
    server.most = 10
    await flood(server, limiter, 10 * FIRST_PATIENCE)
    assert limiter.most is not None and limiter.most >= 6


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
