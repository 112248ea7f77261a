"""A generator of steps gives the same result, driven by a thread or by an event loop."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from tale_dspy.step_drivers import adrive, drive


def guarded_steps(closed: list[str]) -> Generator[int, Any, list[Any]]:
    """Yield 1, then 0, whose failure is caught, then 2."""
    try:
        results = [(yield 1)]
        try:
            results.append((yield 0))
        except ZeroDivisionError:
            results.append("caught")
        return [*results, (yield 2)]
    finally:
        closed.append("closed")


async def inverse(step: int) -> float:
    return 1 / step


def test_each_step_gets_its_result_or_its_failure() -> None:
    closed: list[str] = []
    assert drive(guarded_steps(closed), lambda step: 1 / step) == [1.0, "caught", 0.5]
    assert asyncio.run(adrive(guarded_steps(closed), inverse)) == [1.0, "caught", 0.5]
    assert closed == ["closed", "closed"]


def test_a_failure_that_the_generator_does_not_catch_is_raised() -> None:
    def interrupted(step: int) -> float:
        raise KeyboardInterrupt

    closed: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        drive(guarded_steps(closed), interrupted)
    assert closed == ["closed"]


def test_a_cancelled_task_closes_the_generator() -> None:
    closed: list[str] = []

    async def cancelled() -> None:
        task = asyncio.create_task(adrive(guarded_steps(closed), lambda step: asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert closed == ["closed"]
