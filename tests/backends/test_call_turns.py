"""tale_dspy.backends.call_turns: few calls of a loop are made ready at once, and none keeps its turn while it waits."""

import asyncio

import pytest

import tale_dspy
from tale_dspy.backends.call_turns import AT_ONCE, call_turn, end_turn
from tale_dspy.testing import Faults, ScriptedServer

CALLS = 4 * AT_ONCE
SENDERS = {
    "OpenAI's SDK": ("openai/x", "litellm"),
    "LiteLLM's handler": ("mistral/x", "litellm"),
    "a client of LiteLLM's": ("perplexity/x", "litellm"),
    "DSPy's stack": ("openai/x", "auto"),
}
"""Models and engines by what sends their calls."""


async def most_in_their_turn(count: int) -> int:
    """Return how many of `count` calls were made ready at the same time, before all of them wait for replies."""
    ready, most, all_wait = 0, 0, asyncio.Barrier(count)

    async def one_call() -> None:
        nonlocal ready, most
        async with call_turn():
            ready += 1
            most = max(most, ready)
            await asyncio.sleep(0)
            ready -= 1
            end_turn()
            end_turn()  # gives nothing back twice
            await all_wait.wait()

    async with asyncio.timeout(30):
        await asyncio.gather(*(one_call() for _ in range(count)))
    return most


async def test_few_are_made_ready_at_once_and_all_wait_for_replies_together() -> None:
    assert await most_in_their_turn(CALLS) == AT_ONCE


async def test_a_call_within_the_making_of_another_takes_no_turn_of_its_own() -> None:
    async def call_with_another_inside() -> None:
        async with call_turn():
            await asyncio.sleep(0)
            async with call_turn():
                await asyncio.sleep(0)

    async with asyncio.timeout(30):
        await asyncio.gather(*(call_with_another_inside() for _ in range(CALLS)))


async def test_a_call_that_does_not_say_when_it_is_on_its_way_lets_others_go_before_it_ends() -> None:
    all_wait = asyncio.Barrier(CALLS)

    async def one_call() -> None:
        async with call_turn():
            await all_wait.wait()

    async with asyncio.timeout(30):
        await asyncio.gather(*(one_call() for _ in range(CALLS)))


@pytest.mark.parametrize("ending", ["an error", "cancelled in its turn", "cancelled before its turn"])
async def test_a_turn_ends_with_its_call(ending: str) -> None:
    go_on = asyncio.Event()

    async def one_call() -> None:
        async with call_turn():
            await go_on.wait()
            raise ValueError("no call")

    tasks = [asyncio.create_task(one_call()) for _ in range(CALLS)]
    await asyncio.sleep(0)  # the first have their turns
    cancelled = {"an error": [], "cancelled in its turn": tasks[:AT_ONCE], "cancelled before its turn": tasks[AT_ONCE:]}
    for task in cancelled[ending]:
        task.cancel()
    go_on.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ends] == [task in cancelled[ending] for task in tasks]
    assert await most_in_their_turn(CALLS) == AT_ONCE


def test_each_loop_has_turns_of_its_own() -> None:
    async def while_all_turns_are_held() -> int:
        go_on = asyncio.Event()

        async def hold_a_turn() -> None:
            async with call_turn():
                await go_on.wait()

        holders = [asyncio.create_task(hold_a_turn()) for _ in range(AT_ONCE)]
        most = await asyncio.to_thread(lambda: asyncio.run(most_in_their_turn(CALLS)))
        go_on.set()
        await asyncio.gather(*holders)
        return most

    assert asyncio.run(while_all_turns_are_held()) == AT_ONCE


@pytest.mark.parametrize(("model", "engine"), SENDERS.values(), ids=SENDERS)
async def test_calls_wait_for_their_replies_together_whatever_sends_them(model: str, engine: str) -> None:
    with ScriptedServer("4", faults=Faults(hung=1.0, tries=None)) as server:
        lm = tale_dspy.LM(model, engine=engine, api_base=server.url, api_key="k", cache=False, num_retries=0)
        calls = [asyncio.create_task(lm.acall(f"{i}?")) for i in range(CALLS)]
        async with asyncio.timeout(60):
            while server.stats.max_in_flight < CALLS:
                await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
