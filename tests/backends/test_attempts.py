"""Calls of an LM that keeps its rates, tries again, and goes to another model."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError, LMServerError

import tale_dspy
from tale_dspy import LM, UsageError, VanillaCoT
from tale_dspy.backends import attempts
from tale_dspy.testing import Faults, Reply, Request, ScriptedServer

Servers = Any


@pytest.fixture
def serve() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield lambda reply="Answer: [[4]]", **options: stack.enter_context(ScriptedServer(reply, **options))


def lm(server: ScriptedServer, model: str = "openai/x", **settings: Any) -> LM:
    lm_settings = {"engine": "auto", "api_key": "k", "num_retries": 0, **settings}
    return LM(model, api_base=server.url, **lm_settings)


def test_a_fallback_answers_after_the_retries_and_is_named(serve: Servers) -> None:
    broken, other = serve(Reply("down", status=503)), serve()
    first = lm(broken, fallbacks=[lm(other, "openai/y")])
    with tale_dspy.track() as ledger:
        pred = VanillaCoT("question -> answer")(question="2+2?", lm=first)
    assert pred.answer == "4"
    assert [call.model for call in tale_dspy.receipt(pred).calls] == ["openai/y"]
    assert ledger.calls == 1
    assert (broken.stats.requests, other.stats.requests) == (1, 1)


async def test_an_asynchronous_call_falls_back_too(serve: Servers) -> None:
    first = lm(serve(Reply("down", status=503)), fallbacks=[lm(serve())])
    assert await first.acall("2+2?") == ["Answer: [[4]]"]


def test_a_run_books_the_fallback_once(serve: Servers) -> None:
    first = lm(serve(Reply("down", status=503)), fallbacks=[lm(serve(), "openai/y")])
    examples = [dspy.Example(question=f"{n}+0?", answer="4").with_inputs("question") for n in range(3)]
    run = tale_dspy.evaluate(VanillaCoT("question -> answer"), examples, lm=first)
    assert run.summary["outcomes"]["correct"] == 3
    assert (run.summary["calls"], run.summary["output_tokens_mean"]) == (3, 2)


def test_no_other_model_is_asked_where_it_would_fare_no_better(serve: Servers) -> None:
    other = serve()
    first = lm(serve(faults=Faults(unauthorized=True)), fallbacks=[lm(other)])
    with pytest.raises(LMAuthError):
        first("2+2?")
    assert other.stats.requests == 0


def test_the_last_error_is_raised_where_all_fail(serve: Servers) -> None:
    first = lm(serve(Reply("down", status=500)), fallbacks=[lm(serve(Reply("so am I", status=502)))])
    with pytest.raises(LMServerError, match="so am I"):
        first("2+2?")


def test_a_reasoning_control_of_the_first_model_is_not_sent_to_another(serve: Servers) -> None:
    other = serve()
    first = lm(serve(Reply("down", status=503)), "openai/gpt-5", fallbacks=[lm(other, "openai/gpt-4o")])
    first("2+2?", reasoning_effort="low", seed=5)
    assert other.requests[0].body["seed"] == 5
    assert "reasoning_effort" not in other.requests[0].body


def test_a_fallback_is_a_model_string_or_one_of_ours() -> None:
    assert LM("openai/x", api_key="k", fallbacks=["openai/y"]).fallbacks[0].engine == "litellm"
    with pytest.raises(UsageError, match="a fallback must be a model string"):
        LM("openai/x", fallbacks=[dspy.LM("openai/y")])


def test_a_refusal_is_tried_again_and_remembered(serve: Servers) -> None:
    refusals = [429]

    def reply(request: Request) -> Reply:
        return Reply("slow down", status=refusals.pop()) if refusals else Reply("4")

    model = lm(serve(reply), num_retries=1)
    assert model("2+2?") == ["4"]
    assert (model.limiter.refused, model.limiter.most, model.limiter.in_flight) == (1, 1, 0)
    assert model.copy(temperature=0.5).limiter is model.limiter
    assert model.copy(model="openai/z").limiter is not model.limiter


@pytest.mark.parametrize("engine", ["litellm", "auto"])
def test_a_run_against_a_server_that_takes_four_at_once_is_hardly_refused(serve: Servers, engine: str) -> None:
    refused = list[bool]()

    def reply(request: Request) -> Reply:
        # All places of the client count, less those whose refusal it has not read yet, wherever their requests are: a
        # client on a busy machine, whose requests come one by one, fares as a fast one does.
        unread = sum(refused) - model.limiter.refused
        refused.append(model.limiter.in_flight - unread > 4)
        return Reply("slow down", status=429) if refused[-1] else Reply("Answer: [[4]]", delay=0.01)

    model = lm(serve(reply), engine=engine, cache=False)
    examples = [dspy.Example(question=f"{n}+0?", answer="4").with_inputs("question") for n in range(100)]
    run = tale_dspy.evaluate(VanillaCoT("question -> answer"), examples, lm=model, concurrency=12)
    assert run.summary["outcomes"]["correct"] == 100
    # Eight of twelve at first, at most; after 40 answers one more is tried, and after 80 more the next.
    assert sum(refused) <= 12 and sum(refused[50:]) <= 3
    assert model.limiter.in_flight == 0


def test_a_cached_answer_waits_for_nobody(serve: Servers) -> None:
    model = lm(serve())
    model("2+2?")
    model.limiter.acquire()
    model.limiter.acquire()
    model.limiter.refuse()  # one is in flight, and no more may be
    assert model("2+2?") == ["Answer: [[4]]"]
    assert asyncio.run(asyncio.wait_for(_asked_twice(model), 5)) == ["Answer: [[4]]"]


async def _asked_twice(model: LM) -> Any:
    model.limiter.answered()
    await model.acall("2+2?")  # the cache keeps asynchronous calls apart
    await model.limiter.aacquire()
    return await model.acall("2+2?")


def test_choices_that_are_paid_for_are_not_asked_for_again(serve: Servers) -> None:
    def reply(request: Request) -> Reply:
        return Reply("down", status=503) if request.n == 2 else Reply(f"choice {request.n}")

    server = serve(reply)
    assert lm(server, num_retries=1)("2+2?", n=2, temperature=1.0) == ["choice 1", "choice 3"]
    assert server.stats.requests == 3


def test_a_stream_that_was_seen_in_part_is_not_begun_again(serve: Servers) -> None:
    from dspy.clients.call_context import stream_emitted

    def seen_in_part(*_: Any, **__: Any) -> Any:
        stream_emitted()
        raise LMServerError("cut")

    other = serve()
    model = lm(other, num_retries=3, fallbacks=[lm(other)])
    with pytest.raises(LMServerError, match="cut"):
        attempts.call(model, seen_in_part, attempts.LMRequest("2+2?", None, {}))
    assert (other.stats.requests, model.limiter.in_flight) == (0, 0)


@pytest.mark.parametrize("engine", ["litellm", "auto"])
def test_a_run_sends_to_each_model_as_often_as_its_retries_say(serve: Servers, engine: str) -> None:
    # Once 9 and 12 requests: the LM's retries within those of the run.
    first, second = serve(Reply("down", status=503)), serve(Reply("so am I", status=503))
    model = lm(first, engine=engine, fallbacks=[lm(second, engine=engine, num_retries=3)], num_retries=2)
    examples = [dspy.Example(question="2+2?", answer="4").with_inputs("question")]
    with pytest.raises(tale_dspy.BackendError, match="so am I"):
        tale_dspy.evaluate(VanillaCoT("question -> answer"), examples, lm=model, retries=2)
    assert (first.stats.requests, second.stats.requests) == (3, 3)


def test_fallbacks_of_a_fallback_are_called_in_order(serve: Servers) -> None:
    servers = [serve(Reply("down", status=503)), serve(Reply("down", status=502)), serve(Reply("4"))]
    last = lm(servers[2], "openai/z")
    model = lm(servers[0], fallbacks=[lm(servers[1], "openai/y", num_retries=1, fallbacks=[last])])
    assert model("2+2?") == ["4"]
    assert [server.stats.requests for server in servers] == [1, 2, 1]


@pytest.mark.parametrize("engine", ["litellm", "auto"])
def test_a_503_that_calls_itself_a_bad_request_is_sent_again_and_falls_back(serve: Servers, engine: str) -> None:
    body = b'{"error": {"message": "no healthy upstream", "type": "invalid_request_error"}}'
    broken, other = serve(Reply("", status=503, raw_body=body)), serve()
    model = lm(broken, engine=engine, num_retries=1, fallbacks=[lm(other)])
    assert model("2+2?") == ["Answer: [[4]]"]
    assert (broken.stats.requests, other.stats.requests) == (2, 1)
