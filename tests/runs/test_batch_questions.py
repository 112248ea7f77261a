"""Which questions wait for a round: all of them, whatever their calls are at."""

import asyncio

from tale_dspy.runs.batch_questions import AskedQuestions, Asker


async def turns() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_call_that_does_not_wait_yet_holds_the_round_up() -> None:
    async def scene() -> None:
        questions, ready, answer = AskedQuestions(), asyncio.Event(), asyncio.Event()
        askers: list[Asker] = []

        async def call(slow: bool) -> str:
            if slow:
                await ready.wait()
            with questions.waiting() as asker:
                askers.append(asker)
                await answer.wait()
            return "right"

        async def question() -> list[str]:
            with questions.working():
                calls = [questions.start_call(call(slow)) for slow in (False, True)]
                await questions.wait_for_calls(calls, or_delay=False)
                return [call.result() for call in calls]

        task = asyncio.create_task(question())
        await turns()
        assert not questions.all_blocked, "one of its two calls is not sent yet"
        ready.set()
        await turns()
        assert questions.all_blocked and not askers[0].hear_delay(), "it wants to hear of no delay"
        answer.set()
        assert await task == ["right", "right"] and questions.all_blocked

    asyncio.run(scene())


def test_a_delay_wakes_the_question_and_holds_the_round_up_until_it_has_asked_more() -> None:
    async def scene() -> None:
        questions, answer = AskedQuestions(), asyncio.Event()
        askers: list[Asker] = []

        async def call() -> None:
            with questions.waiting() as asker:
                askers.append(asker)
                await answer.wait()

        async def question() -> None:
            with questions.working():
                calls = [questions.start_call(call())]
                await questions.wait_for_calls(calls, or_delay=True)
                assert not calls[0].done()
                calls.append(questions.start_call(call()))
                await questions.wait_for_calls(calls, or_delay=True)

        task = asyncio.create_task(question())
        await turns()
        assert questions.all_blocked and askers[0].hear_delay() and askers[0].hear_delay()
        assert not questions.all_blocked, "the question has heard of it, and not asked yet"
        await turns()
        assert questions.all_blocked and len(askers) == 2
        answer.set()
        await task

    asyncio.run(scene())


def test_a_call_that_fails_ends_the_wait() -> None:
    async def scene() -> None:
        questions = AskedQuestions()

        async def call(fails: bool) -> None:
            with questions.waiting():
                await asyncio.sleep(0 if fails else 3600)
            raise ValueError("no answer")

        with questions.working():
            calls = [questions.start_call(call(fails)) for fails in (True, False)]
            await questions.wait_for_calls(calls, or_delay=False)
        assert isinstance(calls[0].exception(), ValueError) and not calls[1].done()
        calls[1].cancel()

    asyncio.run(scene())


def test_withdrawn_calls_end_and_one_that_was_sent_is_waited_for() -> None:
    async def scene() -> None:
        questions, answer = AskedQuestions(), asyncio.Event()
        askers: list[Asker] = []

        async def call() -> str:
            with questions.waiting() as asker:
                askers.append(asker)
                await answer.wait()
            return "right"

        async def question() -> None:
            with questions.working():
                calls = [questions.start_call(call()) for _ in range(3)]
                await turns()
                askers[0].in_flight = askers[1].in_flight = 1
                ending = asyncio.create_task(questions.withdraw_calls(calls))
                await turns()
                assert calls[2].cancelled() and not ending.done()
                askers[1].in_flight = 0  # a batch brought no answer to it
                assert askers[1].hear_delay()
                await turns()
                assert calls[1].cancelled() and not ending.done()
                answer.set()
                await ending
                assert calls[0].result() == "right"

        await asyncio.create_task(question())

    asyncio.run(scene())
