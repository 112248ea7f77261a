"""The ledger equals the server's counts, and no cap is passed by a single call, whoever makes it."""

import asyncio
import contextvars
import json
import logging
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy import SpendCapReached, UnpricedModelError, UsageError, track
from tale_dspy.ledger import Ledger
from tale_dspy.receipts import Call, Price
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


@pytest.fixture
def in_time() -> Iterator[Callable[..., Any]]:
    """Run something in a thread of its own that must end in time."""

    def run(job: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()

        def work() -> None:
            try:
                done.set_result(job())
            except BaseException as e:
                done.set_exception(e)

        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True).start()
        return done.result(LIMIT_S)

    yield run


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
        found = SpendCapReached("enough", ledger)
        raise BaseExceptionGroup("a", [ValueError(), BaseExceptionGroup("b", [found])])
    assert stop.value is found


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


def test_a_call_whose_usage_is_not_told_counts_as_its_worst_case() -> None:
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


# The ledger itself


def call(**kwargs: Any) -> Call:
    return Call(**{"role": "reason", "model": "m", "output_tokens": 5, "prompt_tokens": 7, "cost_usd": 0.5} | kwargs)


def held(ledger: Ledger, tokens: int, wait: bool = True, **kwargs: Any) -> int:
    return ledger.reserve(None, "q", {"max_tokens": tokens}, wait=wait, **kwargs)


@pytest.mark.parametrize("name", ["max_usd", "max_total_output_tokens"])
@pytest.mark.parametrize("bad", [0, -1, True, False, math.nan, "1", -0.5])
def test_a_cap_is_a_number_above_zero(name: str, bad: Any) -> None:
    with pytest.raises(UsageError, match=f"{name} must be above 0, got"):
        Ledger(**{name: bad})


def test_a_reservation_that_fits_exactly_is_granted() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    held(ledger, 60)
    held(ledger, 40)
    with pytest.raises(SpendCapReached):
        held(ledger, 1)


def test_settling_frees_what_was_not_used() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    ledger.settle(held(ledger, 100), call(output_tokens=30))
    held(ledger, 70)


@pytest.mark.parametrize(("possibly_billed", "choices", "spent"), [(False, 1, 0), (True, 1, 60), (False, 2, 120)])
def test_a_failed_call_frees_only_what_cannot_be_billed(possibly_billed: bool, choices: int, spent: int) -> None:
    ledger = Ledger(max_total_output_tokens=200)
    number = ledger.reserve(None, "q", {"max_tokens": 60, "n": choices})
    ledger.release(number, possibly_billed=possibly_billed)
    held(ledger, 200 - spent)
    with pytest.raises(SpendCapReached, match=f"{spent} of max_total_output_tokens=200 spent"):
        held(ledger, 1)


def test_possible_costs_are_told_apart_from_spent_ones() -> None:
    ledger = Ledger(max_usd=1000.0, price=Price(0.0, 1.0))
    ledger.release(held(ledger, 60), possibly_billed=True)
    assert (ledger.possibly_usd, ledger.spent_usd, ledger.to_json()["possibly_usd"]) == (60.0, 0.0, 60.0)


def test_a_call_settled_after_its_release_counts_once() -> None:
    ledger = Ledger(max_usd=1000.0, price=Price(0.0, 1.0))
    number = held(ledger, 60)
    ledger.release(number, possibly_billed=True)
    ledger.settle(number, call(cost_usd=5.0))
    assert (ledger.possibly_usd, ledger.spent_usd) == (0.0, 5.0)


def test_a_waiting_thread_goes_on_when_another_is_settled(in_time: Any) -> None:
    ledger = Ledger(max_total_output_tokens=100)
    first = held(ledger, 80)
    threading.Timer(0.05, ledger.settle, (first, call(output_tokens=10))).start()
    assert in_time(lambda: held(ledger, 90)) == first + 1


def test_a_waiting_thread_is_refused_when_the_cap_is_used_up(in_time: Any) -> None:
    ledger = Ledger(max_total_output_tokens=100)
    first = held(ledger, 80)
    threading.Timer(0.05, ledger.settle, (first, call(output_tokens=80))).start()
    with pytest.raises(SpendCapReached):
        in_time(lambda: held(ledger, 90))


def test_a_waiting_thread_is_refused_when_the_block_ends(in_time: Any) -> None:
    ledger = Ledger(max_total_output_tokens=100)
    held(ledger, 80)
    threading.Timer(0.05, ledger.close).start()
    with pytest.raises(SpendCapReached):
        in_time(lambda: held(ledger, 90))


def test_a_thread_does_not_wait_for_itself(in_time: Any) -> None:
    def nested() -> None:
        ledger = Ledger(max_total_output_tokens=100)
        held(ledger, 80)
        held(ledger, 90)

    with pytest.raises(SpendCapReached):
        in_time(nested)


def test_without_waiting_the_cap_is_reached_at_once() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    threading.Thread(target=held, args=(ledger, 80)).run()
    with pytest.raises(SpendCapReached):
        held(ledger, 90, wait=False)


def test_a_call_in_the_cache_holds_nothing() -> None:
    ledger = Ledger(max_total_output_tokens=100)
    ledger.settle(held(ledger, 100), call(output_tokens=100))
    number = held(ledger, 90, cached=lambda: True)
    ledger.settle(number, call(cached=True, cost_usd=0.0, saved_cost_usd=0.5))
    assert (ledger.output_tokens, ledger.saved_usd) == (100, 0.5)


def test_the_cache_is_not_asked_while_there_is_room() -> None:
    asked: list[bool] = []
    held(Ledger(max_total_output_tokens=100), 90, cached=lambda: bool(asked.append(True)))
    held(Ledger(), 90, cached=lambda: bool(asked.append(True)))
    assert asked == []


def test_what_came_into_the_cache_while_a_thread_waited_is_found(in_time: Any) -> None:
    ledger, answers = Ledger(max_total_output_tokens=100), iter([False, True])
    first = held(ledger, 80)
    threading.Timer(0.05, ledger.settle, (first, call(output_tokens=80))).start()
    assert in_time(lambda: held(ledger, 90, cached=lambda: next(answers))) == first + 1


def test_a_replayed_call_is_counted_and_not_paid() -> None:
    ledger = Ledger(max_total_output_tokens=10)
    ledger.book(call(replayed=True))
    assert (ledger.calls, ledger.spent_usd, ledger.output_tokens) == (1, 0.0, 0)
    assert ledger.roles["reason"].paid_calls == 0


def test_unknown_figures_are_none_in_json_and_said_in_words() -> None:
    ledger = Ledger()
    ledger.book(call(cost_usd=None, output_tokens=None, prompt_tokens=None))
    ledger.book(call(role="metric", cached=True, cost_usd=0.0, saved_cost_usd=0.25))
    row = json.loads(json.dumps(ledger.to_json(), allow_nan=False))
    assert (row["spent_usd"], row["output_tokens"], row["saved_usd"]) == (None, None, 0.25)
    assert str(ledger).splitlines() == [
        "spent $0.000000 + 1 unpriced calls, 0 output tokens, saved by the cache $0.250000",
        "  metric: 1 calls (1 from the cache), 7 prompt + 5 output tokens",
        "  reason: 1 calls (0 from the cache), unknown prompt + unknown output tokens",
    ]


@pytest.mark.parametrize(
    ("uses", "marks"),
    [
        ([10] * 10, ["50 %", "80 %"]),
        ([49], []),
        ([50], ["50 %"]),
        ([95], ["50 %", "80 %"]),
        ([50, 30, 1, 1], ["50 %", "80 %"]),
    ],
)
@pytest.mark.parametrize("cap", ["max_usd", "max_total_output_tokens"])
def test_half_and_four_fifths_are_warned_of_once_each(
    cap: str, uses: list[int], marks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(**{cap: 100})
    with caplog.at_level(logging.WARNING, "tale_dspy.ledger"):
        for use in uses:
            ledger.book(call(output_tokens=use, cost_usd=float(use)))
    assert [record.getMessage()[:4] for record in caplog.records] == marks


def test_what_failed_and_may_be_billed_is_warned_of_too(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(max_total_output_tokens=100)
    ledger.release(held(ledger, 60), possibly_billed=True)
    assert "50 % of the spend cap is used" in caplog.text


def test_many_threads_book_without_losing_one() -> None:
    ledger = Ledger(max_total_output_tokens=10**9)
    with ThreadPoolExecutor(16) as threads:
        for _ in threads.map(lambda _: ledger.settle(held(ledger, 10), call(output_tokens=3)), range(2000)):
            str(ledger)
    assert (ledger.calls, ledger.output_tokens) == (2000, 6000)
