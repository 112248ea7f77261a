"""One generator, two drivers: what a call gives or raises comes back to where it was yielded, either way."""

import asyncio
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm

import tale_dspy
from tale_dspy.programs.steps import PendingCall, Steps, arun_steps, call_of, gathered, run_steps


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


class Rule(dspy.Module):  # type: ignore[misc]
    """A module without `aforward`."""

    def forward(self, question: str) -> Any:
        return dspy.Prediction(token_budget=len(question), tag=dspy.settings.get("tale_test"))


def test_a_module_without_aforward_is_awaited_in_a_thread() -> None:
    def steps() -> Steps[Any]:
        return (yield call_of(Rule(), {"question": "four"}))

    with dspy.context(tale_test="set"):
        assert [(pred.token_budget, pred.tag) for pred in either_way(steps)] == [(4, "set")] * 2
    with dspy.context(lm=fake_lm("So it is.\nAnswer: [[7]]")):
        program = tale_dspy.TaleEP("question -> answer", Rule())
        assert asyncio.run(program.acall(question="3+4?")).token_budget == 4


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
