"""The questions of a batch run that are at work, and if all wait for a round."""

import asyncio
import contextvars
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Asker:
    """A question that is worked on, or one of its calls of the program."""

    question: "Asker | None" = None
    """Whose call it is; None for a question."""
    waiting: int = 0
    """Its LM calls that wait for a round."""
    in_flight: int = 0
    """Those of them that are in the round that is going on."""
    calls: "Sequence[asyncio.Task[Any]]" = ()
    """Calls of the program that a question waits for."""
    delay: "asyncio.Future[None] | None" = None
    """Set where a call takes another round; None where the question waits for all answers."""

    @property
    def blocked(self) -> bool:
        """Whether nothing is done for it before a round brings answers."""
        going_on = self.delay is not None and self.delay.done()
        return self.waiting > 0 or (not going_on and any(not call.done() for call in self.calls))

    def hear_delay(self) -> bool:
        """Note that a request takes another round.

        It returns whether the question may ask more in that round.
        """
        delay = None if self.question is None else self.question.delay
        if delay is not None and not delay.done():
            delay.set_result(None)
        return delay is not None


_asker: contextvars.ContextVar[Asker | None] = contextvars.ContextVar("tale_dspy_batch_asker", default=None)


class AskedQuestions:
    """The questions that are worked on in one event loop.

    Attributes:
        changed: Set whenever a question or one of its calls starts, begins to wait, goes on or ends.
    """

    def __init__(self) -> None:
        self._askers: set[Asker] = set()
        self._asker_of: dict[asyncio.Task[Any], Asker] = {}
        self.changed = False

    @property
    def all_blocked(self) -> bool:
        """Whether every question, and every call of theirs, waits for a round."""
        return all(asker.blocked for asker in self._askers)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count a question as worked on: no round begins before it waits, too."""
        asker = Asker()
        token = _asker.set(asker)
        self._askers.add(asker)
        self.changed = True
        try:
            yield
        finally:
            self._askers.remove(asker)
            self.changed = True
            _asker.reset(token)

    @contextmanager
    def waiting(self) -> Iterator[Asker]:
        """Count an LM call of the question at work as waiting for a round.

        It yields the asker of the call.
        """
        asker = _asker.get() or Asker()
        asker.waiting += 1
        self.changed = True
        try:
            yield asker
        finally:
            asker.waiting -= 1
            self.changed = True

    def start_call(self, answer: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a call of the program for the question at work.

        No round begins before this call waits, too.
        """
        asker = Asker(_asker.get())
        self._askers.add(asker)
        self.changed = True
        context = contextvars.copy_context()
        context.run(_asker.set, asker)
        task = asyncio.get_running_loop().create_task(answer, context=context)
        self._asker_of[task] = asker

        def end(task: "asyncio.Task[T]") -> None:
            self._askers.remove(asker)
            del self._asker_of[task]
            self.changed = True
            if not task.cancelled():
                task.exception()  # asyncio reports one that nobody has looked at

        task.add_done_callback(end)
        return task

    async def withdraw_calls(self, calls: "Sequence[asyncio.Task[T]]") -> None:
        """End calls whose answers are not needed any more.

        One that was sent is waited for, since it is billed; if it takes another round, it is not sent again.
        """
        while pending := [call for call in calls if not call.done()]:
            in_flight = [call for call in pending if self._asker_of[call].in_flight]
            withdrawn = [call for call in pending if call not in in_flight]
            for call in withdrawn:
                call.cancel()
            if withdrawn:
                await asyncio.wait(withdrawn)
            if in_flight:
                await self.wait_for_calls(in_flight, or_delay=True)

    async def wait_for_calls(self, calls: "Sequence[asyncio.Task[T]]", *, or_delay: bool) -> None:
        """Wait until all calls of the question at work are done, or one has failed.

        Args:
            calls: Started with `start_call`; at least one.
            or_delay: Return, too, where one of them takes another round, before that is sent: the question may ask more
                in it.
        """
        asker = _asker.get() or Asker()
        asker.calls = calls
        asker.delay = asyncio.get_running_loop().create_future() if or_delay else None
        done = asyncio.ensure_future(asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION))
        await asyncio.wait({done} | ({asker.delay} if asker.delay else set()), return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        asker.calls, asker.delay = (), None
