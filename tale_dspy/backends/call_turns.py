"""Turns in which the calls of an event loop are made ready to be sent.

Tasks share their loop step by step. 32 that make a call ready at once are all ready when the last one is: their
requests leave together, and their replies come together, so that the loop waits for the network and then the network
for the loop. Where a few at once are made ready, the first requests are on their way while the others follow. Over
LiteLLM, at 32 wide and 100 ms, that ends a third of the time in which nothing was done (benchmarks/throughput.py).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from weakref import WeakKeyDictionary

AT_ONCE = 2
"""Calls of a loop that are made ready at once: with one the loop waits where the call does, and from three on nothing
is gained."""
LONGEST_TURN_S = 0.05
"""Seconds after which a turn ends in any case, as where LiteLLM sends a call by a client that does not say so."""


class _Turn:
    """A call's place among those that are made ready, given back once."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self.held = True

    def end(self) -> None:
        if self.held:
            self.held = False
            self._places.release()


_turn: ContextVar[_Turn | None] = ContextVar("tale_dspy_call_turn", default=None)
_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@asynccontextmanager
async def call_turn() -> AsyncGenerator[None, None]:
    """Wait for a turn at making a call ready.

    It is held until `end_turn` or the end of the block, `LONGEST_TURN_S` at most. A call that another one makes while
    it is made ready itself takes no turn of its own: it would wait for the other.
    """
    outer = _turn.get()
    if outer is not None and outer.held:
        yield
        return
    loop = asyncio.get_running_loop()
    places = _places.get(loop)
    if places is None:
        places = _places[loop] = asyncio.Semaphore(AT_ONCE)
    await places.acquire()
    turn = _Turn(places)
    token = _turn.set(turn)
    limit = loop.call_later(LONGEST_TURN_S, turn.end)
    try:
        yield
    finally:
        limit.cancel()
        turn.end()
        _turn.reset(token)


def end_turn() -> None:
    """End the turn of the call that is on its way now, if it has one."""
    turn = _turn.get()
    if turn is not None:
        turn.end()
