"""Drivers of a generator that yields what must be done.

There is one for threads and one for event loops.

Whatever has a synchronous and an asynchronous side (an LM's attempts, a module's calls) is written once, as a
generator. It yields a step, and is sent the step's result or what the step raised.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

Step = TypeVar("Step")
Result = TypeVar("Result")


def drive(steps: Generator[Step, Any, Result], perform: Callable[[Step], object]) -> Result:
    """Perform the steps of a generator one after another and return its result.

    Args:
        steps: Decides what a failure of a step means, an interrupt included.
        perform: Does one step and returns its result.

    Raises:
        BaseException: What the generator raises, or lets pass.

    Example:
        >>> def squares():
        ...     a = yield 2
        ...     b = yield 3
        ...     return a + b
        >>> drive(squares(), lambda n: n * n)
        13
    """
    try:
        step = next(steps)
        while True:
            try:
                outcome = perform(step)
            except BaseException as e:
                step = steps.throw(e)
            else:
                step = steps.send(outcome)
    except StopIteration as e:
        result: Result = e.value
        return result


async def adrive(steps: Generator[Step, Any, Result], perform: Callable[[Step], Awaitable[object]]) -> Result:
    """Await the steps of a generator one after another.

    Errors are thrown into the generator as in `drive`, a cancellation included.
    """
    try:
        step = next(steps)
        while True:
            try:
                outcome = await perform(step)
            except BaseException as e:
                step = steps.throw(e)
            else:
                step = steps.send(outcome)
    except StopIteration as e:
        result: Result = e.value
        return result
