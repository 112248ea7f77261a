"""One generator, two drivers: what a call gives or raises comes back to where it was yielded, either way."""

import asyncio
from typing import Any

import pytest

from tale_dspy.programs.steps import PendingCall, Steps, arun_steps, gathered, run_steps


def pending(value: Any) -> PendingCall:
    def call() -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    async def acall() -> Any:
        await asyncio.sleep(0)
        return call()

    return PendingCall(call, acall)


def twice(first: Any, second: Any) -> Steps[list[Any]]:
    results = []
    for value in (first, second):
        try:
            results.append((yield pending(value)))
        except ValueError as e:
            results.append(str(e))
    return results


def either_way(make: Any) -> list[Any]:
    return [run_steps(make()), asyncio.run(arun_steps(make()))]


def test_results_and_failures_come_back_to_the_step_that_asked() -> None:
    assert either_way(lambda: twice(1, ValueError("no"))) == [[1, "no"], [1, "no"]]


def test_a_failure_nobody_catches_is_raised_to_the_caller() -> None:
    for run in (run_steps, lambda steps: asyncio.run(arun_steps(steps))):
        with pytest.raises(KeyError, match="gone"):
            run(twice(KeyError("gone"), 2))


def test_several_calls_give_a_list_in_their_order() -> None:
    def steps() -> Steps[Any]:
        return (yield gathered([pending(i) for i in range(5)]))

    assert either_way(steps) == [list(range(5))] * 2
