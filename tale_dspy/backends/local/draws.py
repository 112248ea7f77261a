"""Which of several draws of one request a call asks for, told past DSPy.

DSPy keeps `rollout_id` for its cache and never sends it, and asks for `n` choices by `n` equal requests. So an LM of
ours puts both into the context of the call, and the engine finds them there.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Draw:
    """What one call of an LM asks for."""

    rollout: str = ""
    """The caller's own `rollout_id`, and the number of a run's repeat; equal ones are equal draws."""
    choices: int = 1
    """How many replies to equal requests will be asked for."""
    timeout: float | None = None
    """Seconds to wait for each."""
    pending: list[Future[Any]] = field(default_factory=list)
    """Further choices that are on their way already."""
    given: int = 0
    """Choices that were asked for so far."""

    def again(self) -> None:
        """Forget the last choice, which was not given: when DSPy tries again, it is to be the same draw."""
        self.give_up()
        self.given -= 1

    def give_up(self) -> None:
        """Cancel what is on its way."""
        for future in self.pending:
            future.cancel()
        self.pending = []


_current: ContextVar[Draw | None] = ContextVar("tale_dspy_draw", default=None)


@contextmanager
def drawing(draw: Draw) -> Iterator[None]:
    """Let the engine know about a call; what it started and nobody took is cancelled at the end."""
    token = _current.set(draw)
    try:
        yield
    finally:
        _current.reset(token)
        draw.give_up()


def current_draw() -> Draw:
    """Return what the call of this context asks for; one draw, where nothing is known."""
    return _current.get() or Draw()
