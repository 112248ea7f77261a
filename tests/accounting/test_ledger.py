"""The ledger equals the server's counts, and no cap is passed by a single call, whoever makes it."""

import asyncio
import contextvars
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy import SpendCapReached, UnpricedModelError, track
from tale_dspy.backends.prices import Price
from tale_dspy.testing import Faults, Reply, ScriptedServer, SolverReply, word_problems

KINDS = ["tale litellm", "tale auto", "dspy litellm", "dspy auto"]
KNOWN = "openai/gpt-4o-mini"  # a model with a price
PRICE = Price(0.15e-6, 0.6e-6)
EXAMPLES = [dspy.Example(**row).with_inputs("question") for row in word_problems(40)]
LIMIT_S = 30.0  # of a test that would hang if it deadlocked


def lm_of(kind: str, server: ScriptedServer, model: str = "openai/scripted", **kwargs: Any) -> Any:
    owner, engine = kind.split()
    make = tale_dspy.LM if owner == "tale" else dspy.LM
    return make(model, engine=engine, api_base=server.url, api_key="sk-secret-1", **kwargs)


def solver(**kwargs: Any) -> ScriptedServer:
    return ScriptedServer(SolverReply({e.question: e.answer for e in EXAMPLES}), **kwargs)


def right(example: Any, pred: Any, *_: Any) -> bool:
    return bool(pred.answer == example.answer)


def feedback(example: Any, pred: Any, *_: Any) -> Any:
    return dspy.Prediction(score=float(right(example, pred)), feedback="compare with the gold")


def evaluate(program: Any) -> None:
    dspy.Evaluate(devset=EXAMPLES, metric=right, num_threads=8, display_progress=False)(program)


def parallel(program: Any) -> None:
    dspy.Parallel(num_threads=32, disable_progress_bar=True)([(program, e) for e in EXAMPLES])


def one_by_one(program: Any) -> None:
    for example in EXAMPLES:
        program(**example.inputs())


def pool(program: Any) -> None:
    with ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(contextvars.copy_context().run, program, **e.inputs()) for e in EXAMPLES]
        for job in jobs:
            job.result(LIMIT_S)


def in_a_loop(coroutine: Any) -> None:
    # Not in this thread: LiteLLM leaves a loop of its own behind in it, which asyncio.run would drop unclosed.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(contextvars.copy_context().run, asyncio.run, coroutine).result(LIMIT_S)


def gathered(program: Any) -> None:
    async def all_of_them() -> None:
        for start in range(0, len(EXAMPLES), 4):  # an event loop does not wait for room
            await asyncio.gather(*(program.acall(**e.inputs()) for e in EXAMPLES[start : start + 4]))

    in_a_loop(all_of_them())


def grouped(program: Any) -> None:
    async def all_of_them() -> None:
        for start in range(0, len(EXAMPLES), 4):
            async with asyncio.TaskGroup() as group:
                for example in EXAMPLES[start : start + 4]:
                    group.create_task(program.acall(**example.inputs()))

    in_a_loop(all_of_them())


def best_of_n(program: Any) -> None:
    best = dspy.BestOfN(program, N=3, reward_fn=lambda args, pred: 0.0, threshold=1.0)
    for example in EXAMPLES[:10]:
        best(**example.inputs())


def miprov2(program: Any) -> None:
    lm = dspy.settings.lm
    optimizer = dspy.MIPROv2(metric=right, auto=None, num_candidates=2, prompt_model=lm, task_model=lm, num_threads=8)
    optimizer.compile(program, trainset=EXAMPLES[:20], valset=EXAMPLES[20:], num_trials=2, minibatch=False)


def gepa(program: Any) -> None:
    optimizer = dspy.GEPA(metric=feedback, max_metric_calls=80, reflection_lm=dspy.settings.lm, num_threads=8)
    optimizer.compile(program, trainset=EXAMPLES[:20], valset=EXAMPLES[20:])


WAYS: list[Callable[[Any], None]] = [one_by_one, evaluate, parallel, pool, gathered, grouped, best_of_n, miprov2, gepa]


def under(*ways: Callable[[Any], None]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("way", ways, ids=lambda way: way.__name__)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Counting


@under(one_by_one, evaluate, parallel, pool, gathered, grouped)
def test_the_ledger_equals_the_servers_counts(way: Callable[[Any], None], kind: str) -> None:
    with solver() as server, dspy.context(lm=lm_of(kind, server)), track() as ledger:
        way(dspy.ChainOfThought("question -> answer"))
    sums = ledger.roles["reason"]
    assert (sums.prompt_tokens, sums.output_tokens) == (server.stats.prompt_tokens, server.stats.completion_tokens)
    assert (ledger.calls, ledger.output_tokens) == (server.stats.answered, server.stats.completion_tokens)


@under(best_of_n, miprov2, gepa)
def test_the_ledger_equals_the_servers_counts_in_optimizers(way: Callable[[Any], None]) -> None:
    with solver() as server, dspy.context(lm=lm_of("tale auto", server, cache=False)), track() as ledger:
        way(dspy.ChainOfThought("question -> answer"))
    assert ledger.output_tokens == server.stats.completion_tokens
    assert ledger.roles["reason"].prompt_tokens == server.stats.prompt_tokens


def test_the_ledger_is_exact_under_faults_that_dspy_retries(kind: str) -> None:
    with solver(faults=Faults(rate_limited=0.2)) as server, dspy.context(lm=lm_of(kind, server)), track() as ledger:
        parallel(dspy.ChainOfThought("question -> answer"))
    assert server.stats.retries > 0
    assert ledger.output_tokens == server.stats.completion_tokens


def test_every_module_of_ours_is_booked_by_role() -> None:
    with solver() as server, dspy.context(lm=lm_of("tale auto", server)), track() as ledger:
        parallel(tale_dspy.TaleEP("question -> answer"))
    kinds = server.stats.by_kind
    assert ledger.roles["estimate"].output_tokens == kinds["estimate"].completion_tokens
    assert ledger.roles["reason"].output_tokens == kinds["budget"].completion_tokens


def test_a_hit_is_counted_as_saved_and_not_as_spent(kind: str) -> None:
    with solver() as server, track() as ledger:
        lm = lm_of(kind, server, KNOWN)
        lm("q")
        lm("q")
    assert (ledger.calls, ledger.cached_calls, ledger.output_tokens) == (2, 1, server.stats.completion_tokens)
    assert ledger.saved_usd == ledger.spent_usd > 0


def test_nested_blocks_both_book() -> None:
    with solver() as server, track() as outer:
        lm = lm_of("tale auto", server)
        lm("a")
        with track() as inner:
            lm("b")
        lm("c")
    assert (outer.calls, inner.calls, server.stats.requests) == (3, 1, 3)


def test_language_models_of_predictors_are_booked() -> None:
    program = dspy.ChainOfThought("question -> answer")
    with solver() as server, track() as ledger:
        program.set_lm(lm_of("dspy auto", server))
        one_by_one(program)
    assert ledger.output_tokens == server.stats.completion_tokens


def test_a_user_who_turns_history_off_inside_is_booked_all_the_same(kind: str) -> None:
    with solver() as server, track(max_total_output_tokens=100_000) as ledger:
        lm = lm_of(kind, server)
        with dspy.context(disable_history=True):
            lm("q")
    assert (ledger.calls, ledger.output_tokens, lm.history) == (1, server.stats.completion_tokens, [])


def test_raw_threads_without_the_context_are_not_seen() -> None:
    with solver() as server, track() as ledger, ThreadPoolExecutor(1) as threads:
        threads.submit(lm_of("tale auto", server), "q").result(LIMIT_S)
    assert (ledger.calls, server.stats.requests) == (0, 1)


def test_the_settings_are_the_users_again_after_the_block() -> None:
    before = dict(dspy.settings.copy())
    with solver() as server, pytest.raises(SpendCapReached), track(max_total_output_tokens=1):
        lm_of("tale auto", server)("q")
    assert dict(dspy.settings.copy()) == before


# Caps


@under(*WAYS)
def test_a_token_cap_ends_the_block_as_itself(way: Callable[[Any], None]) -> None:
    lm = lm_of("tale auto", server := solver().start(), max_tokens=300)
    refused = pytest.raises(SpendCapReached, match="of max_total_output_tokens=1200 spent")
    with refused as stop, dspy.context(lm=lm), track(max_total_output_tokens=1200) as ledger:
        way(dspy.ChainOfThought("question -> answer"))
    server.stop()
    assert stop.value.ledger is ledger
    assert 0 < ledger.output_tokens <= server.stats.completion_tokens <= 1200


@under(*WAYS)
def test_a_money_cap_ends_the_block_as_itself(way: Callable[[Any], None]) -> None:
    lm = lm_of("dspy auto", server := solver().start(), KNOWN, max_tokens=300)
    refused = pytest.raises(SpendCapReached, match=r"of max_usd=0\.002 spent")
    with refused, dspy.context(lm=lm), track(max_usd=0.002) as ledger:
        way(dspy.ChainOfThought("question -> answer"))
    server.stop()
    assert 0 < ledger.spent_usd <= 0.002
    assert server.stats.prompt_tokens * PRICE.input + server.stats.completion_tokens * PRICE.output <= 0.002


@pytest.mark.parametrize("cap", [50, 99, 100, 777, 1024])
def test_32_callers_never_pass_the_cap_by_one_call(cap: int, kind: str, in_time: Any) -> None:
    with ScriptedServer(Reply("w " * 50), latency=0.002) as server:
        lm = lm_of(kind, server, max_tokens=50, cache=False)
        jobs = [(lambda **_: lm("q"), {}) for _ in range(64)]
        with pytest.raises(SpendCapReached), track(max_total_output_tokens=cap) as ledger:
            in_time(lambda: dspy.Parallel(num_threads=32, disable_progress_bar=True)(jobs))
    assert server.stats.completion_tokens == cap // 50 * 50
    assert ledger.output_tokens <= cap


def test_threads_use_up_the_cap_by_waiting_for_what_is_left_over(in_time: Any) -> None:
    # Each call reserves 100 tokens and uses 10: only those that wait find room.
    with ScriptedServer(Reply("w " * 10)) as server:
        lm = lm_of("tale auto", server, max_tokens=100, cache=False)
        with track(max_total_output_tokens=300) as ledger:
            in_time(lambda: dspy.Parallel(num_threads=16, disable_progress_bar=True)([(lm, ("q",))] * 20))
    assert (ledger.output_tokens, server.stats.requests) == (200, 20)


def test_an_event_loop_never_waits(in_time: Any) -> None:
    with ScriptedServer(Reply("w " * 10), latency=0.05) as server:
        lm = lm_of("tale auto", server, max_tokens=100, cache=False)

        async def gather() -> None:
            await asyncio.gather(*(lm.acall("q") for _ in range(8)))

        with pytest.raises(SpendCapReached), track(max_total_output_tokens=300):
            in_time(lambda: asyncio.run(gather()))


def test_threads_and_tasks_together_end(in_time: Any) -> None:
    with ScriptedServer(Reply("w " * 10), latency=0.001) as server:
        lm = lm_of("tale auto", server, max_tokens=100, cache=False)

        async def gather() -> None:
            sync = [asyncio.to_thread(lm, "q") for _ in range(30)]
            await asyncio.gather(*sync, *(lm.acall("q") for _ in range(30)), return_exceptions=True)

        with pytest.raises(SpendCapReached), track(max_total_output_tokens=800) as ledger:
            in_time(lambda: asyncio.run(gather()))
            lm("one more", max_tokens=801)
    assert ledger.output_tokens == server.stats.completion_tokens <= 800


def test_nothing_is_sent_after_the_block_has_ended() -> None:
    with ScriptedServer(Reply("w " * 10)) as server:
        lm = lm_of("tale auto", server, max_tokens=10, cache=False)
        with pytest.raises(SpendCapReached), track(max_total_output_tokens=100):
            left_behind = contextvars.copy_context()
            lm("q", max_tokens=101)
        with pytest.raises(SpendCapReached):
            left_behind.run(lm, "q")  # there is room for it, but nobody waits for it any more
    assert server.stats.requests == 0


def test_a_smaller_call_may_follow_a_refused_one_inside_the_block() -> None:
    with ScriptedServer("w") as server, track(max_total_output_tokens=100) as ledger:
        lm = lm_of("tale auto", server)
        with pytest.raises(SpendCapReached):
            lm("q", max_tokens=101)
        lm("q", max_tokens=100)
    assert ledger.calls == 1


def test_an_inner_cap_gives_back_what_the_outer_block_held() -> None:
    with ScriptedServer("w") as server, track(max_total_output_tokens=100) as outer:
        lm = lm_of("tale auto", server, max_tokens=60)
        with pytest.raises(SpendCapReached) as stop, track(max_total_output_tokens=10) as inner:
            lm("a")
        lm("b")
    assert stop.value.ledger is inner
    assert (outer.calls, inner.calls) == (1, 0)


def test_an_outer_cap_holds_inside_an_inner_block() -> None:
    caps = track(max_total_output_tokens=10), track(max_total_output_tokens=1000)
    with ScriptedServer("w") as server, pytest.raises(SpendCapReached) as stop, caps[0] as outer, caps[1]:
        lm_of("tale auto", server, max_tokens=60)("a")
    assert stop.value.ledger is outer


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the user's own"),
        BaseExceptionGroup("no stop in it", [KeyboardInterrupt()]),
        ExceptionGroup("no stop in it", [ValueError("the user's own")]),
    ],
    ids=repr,
)
def test_any_other_error_leaves_the_block_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, track(max_total_output_tokens=1):
        raise error
    assert raised.value is error


def test_a_stop_deep_in_groups_is_found() -> None:
    with pytest.raises(SpendCapReached) as stop, track(max_total_output_tokens=1) as ledger:
        spend_cap_reached = SpendCapReached("enough", ledger)
        raise BaseExceptionGroup("a", [ValueError(), BaseExceptionGroup("b", [spend_cap_reached])])
    assert stop.value is spend_cap_reached


@under(one_by_one, evaluate, gathered, grouped)
def test_a_money_cap_needs_a_price(way: Callable[[Any], None]) -> None:
    lm = lm_of("tale auto", server := solver().start())
    refused = pytest.raises(UnpricedModelError, match="none is known for openai/scripted")
    with refused, dspy.context(lm=lm), track(max_usd=1.0):
        way(dspy.ChainOfThought("question -> answer"))
    server.stop()
    assert server.stats.requests == 0


def test_a_given_price_takes_the_place_of_the_unknown_one() -> None:
    with ScriptedServer(Reply("a b", prompt_tokens=3)) as server, track(max_usd=1e3, price=Price(1.0, 10.0)) as ledger:
        lm_of("tale auto", server, max_tokens=5)("q")
    assert ledger.spent_usd == 23.0


def test_a_call_without_usage_counts_as_its_worst_case() -> None:
    with ScriptedServer(Reply("a b", usage=False)) as server:
        lm = lm_of("tale auto", server, max_tokens=60)
        with pytest.raises(SpendCapReached, match="60 of"), track(max_total_output_tokens=100) as ledger:
            lm("a")
            lm("b")
    assert ledger.to_json()["output_tokens"] is None
    assert server.stats.requests == 1


def test_no_ledger_holds_the_key(kind: str) -> None:
    with solver() as server, track(max_total_output_tokens=100_000) as ledger:
        lm_of(kind, server)("q")
    assert "sk-secret-1" not in json.dumps(ledger.to_json()) + str(ledger) + repr(vars(ledger))
