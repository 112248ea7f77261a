"""A question searched in rounds: a ladder at once, then fresh draws side by side."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from batched import REPLY, examples, language_model

import tale_dspy
from tale_dspy.errors import BackendError, UsageError
from tale_dspy.optimizers.search.budget_space import EffortLadder, TokenRange
from tale_dspy.optimizers.search.question import (
    NO_GAIN,
    NOT_CONFIRMED,
    BudgetQuery,
    QueryResult,
    QuestionResult,
    SearchPlan,
)
from tale_dspy.optimizers.search.records import VanillaAnswer
from tale_dspy.optimizers.search.rounds import ROUNDS, ladder_levels, search_in_rounds
from tale_dspy.runs.folder import JournalFolder
from tale_dspy.testing.batches import BatchFaults, BatchServer

PLAN = SearchPlan(calls_per_question=5, repeats=2)


def searched(
    reply: Callable[[BudgetQuery], QueryResult], plan: SearchPlan = PLAN, efforts: Sequence[str] = ()
) -> tuple[list[list[BudgetQuery]], QuestionResult]:
    search, rounds = search_in_rounds(VanillaAnswer(400, "text", True), plan, efforts), []
    try:
        queries = next(search)
        while True:
            rounds.append(queries)
            queries = search.send([reply(query) for query in queries])
    except StopIteration as e:
        return rounds, e.value


def needs(tokens: int, wrong_draws: Sequence[BudgetQuery] = ()) -> Callable[[BudgetQuery], QueryResult]:
    """A question that is right from a budget on, but for some draws."""
    return lambda q: QueryResult(int(q.budget or 0) + 5, int(q.budget or 0) >= tokens and q not in wrong_draws)


def test_a_clear_question_takes_two_rounds_after_that_without_a_budget() -> None:
    rounds, result = searched(needs(100))
    assert [q.budget for q in rounds[0]] == [200, 100, 50, 25, 12]
    assert rounds[1] == [BudgetQuery(100, 1), BudgetQuery(100, 2)], "the others only where it does not stand"
    assert result.best is not None and (result.best.budget, result.best.confirmed.n, len(rounds)) == (100, 2, 2)


def test_an_undecided_budget_is_drawn_once_more_beside_the_others_and_a_failed_one_is_left() -> None:
    rounds, result = searched(needs(100, [BudgetQuery(100, 1)]))
    assert rounds[2] == [BudgetQuery(100, 3), BudgetQuery(100, 4), BudgetQuery(200, 1), BudgetQuery(200, 2)]
    assert result.best is not None and (result.best.budget, result.best.confirmed.n, result.best.confirmed.right) == (
        100,
        4,
        3,
    )
    rounds, result = searched(needs(100, [BudgetQuery(100, 1), BudgetQuery(100, 2)]))
    assert result.best is not None and result.best.budget == 200 and len(rounds) == 3
    assert rounds[2] == [BudgetQuery(200, 1), BudgetQuery(200, 2)]
    assert sum(t.budget == 100 for t in result.trials) == 3


def test_nothing_right_is_no_gain_and_nothing_that_stands_is_not_confirmed() -> None:
    assert searched(needs(1000))[1].reason == NO_GAIN
    unlucky = [BudgetQuery(b, n) for b in (100, 200) for n in (1, 3)]
    rounds, result = searched(needs(100, unlucky))
    assert result.reason == NOT_CONFIRMED and result.best is None and len(rounds) == 3


def test_without_a_test_the_first_draw_is_believed() -> None:
    rounds, result = searched(needs(100), SearchPlan(calls_per_question=5, repeats=0))
    assert result.best is not None and result.best.budget == 100 and len(rounds) == 1


def test_ladders_of_words_and_of_short_answers() -> None:
    assert ladder_levels(EffortLadder(("low", "high"), 400), 5) == [2, 1]
    assert ladder_levels(TokenRange(5), 5) == [2, 1] and ladder_levels(TokenRange(1), 5) == [1]


def searched_with_faults(
    reply: Callable[[BudgetQuery], QueryResult],
    struck: Sequence[BudgetQuery],
    *,
    delays: int = 0,
    rounds: int | None = ROUNDS,
) -> tuple[list[list[BudgetQuery]], QuestionResult]:
    """Search where some draws are answered a round later than they are asked."""
    search = search_in_rounds(VanillaAnswer(400, "text", True), PLAN, delays=delays, rounds=rounds)
    queries_of_rounds: list[list[BudgetQuery]] = []
    delays_left = Counter(struck)
    delays_so_far = Counter[BudgetQuery]()
    try:
        queries = next(search)
        while True:
            queries_of_rounds.append(queries)
            results = []
            for query in queries:
                waits = delays_left[query] > delays_so_far[query]
                delays_so_far[query] += waits
                result = QueryResult(None, False, waiting=True) if waits else reply(query)
                results.append(replace(result, delays=delays_so_far[query]))
            queries = search.send(results)
    except StopIteration as e:
        return queries_of_rounds, e.value


LADDER = [200, 100, 50, 25, 12]
STRUCK = [[BudgetQuery(b) for b in budgets] for n in (1, 2, 5) for budgets in combinations(LADDER, n)]


@pytest.mark.parametrize("least", [10, 30, 100, 150, 1000])
def test_a_question_that_is_a_round_behind_ends_with_the_others_and_finds_the_same(least: int) -> None:

    def reply(query: BudgetQuery) -> QueryResult:
        return QueryResult(int(query.budget or 0) - 2, int(query.budget or 0) >= least)

    undisturbed = searched(reply)[1]
    for struck in STRUCK:
        late, result = searched_with_faults(reply, struck)
        assert result == undisturbed and len(late) <= 2, struck
        late_queries = [query for queries in late for query in queries]
        assert {query for query in late_queries if late_queries.count(query) > 1} == set(struck), (
            "nothing else is asked twice"
        )


def test_replies_that_pass_their_budget_make_the_next_larger_one_likely() -> None:
    def reply(query: BudgetQuery) -> QueryResult:
        budget = int(query.budget or 0)
        return QueryResult({200: 180, 100: 90, 50: 110}.get(budget, 300), budget >= 50)

    rounds, result = searched_with_faults(reply, [BudgetQuery(100)])
    assert rounds[1] == [BudgetQuery(100), *(BudgetQuery(b, n) for b in (100, 50) for n in (1, 2))]
    assert result == searched(reply)[1] and result.best is not None and result.best.budget == 100
    rounds, _ = searched_with_faults(reply, [BudgetQuery(200)])
    assert rounds[1] == [BudgetQuery(200), BudgetQuery(100, 1), BudgetQuery(100, 2)], "100 is kept: more is longer"


def test_behind_from_the_start_the_largest_budgets_are_drawn_again_with_the_ladder() -> None:
    rounds, result = searched_with_faults(needs(100), [], delays=1)
    assert len(rounds) == 1 and result == searched(needs(100))[1]
    assert rounds[0][5:] == [BudgetQuery(b, n) for b in (200, 100, 50) for n in (1, 2)]


def test_a_round_late_question_whose_second_test_is_struck_ends_without_that_draw() -> None:
    unlucky = needs(100, [BudgetQuery(100, 1)])
    rounds, result = searched_with_faults(unlucky, [BudgetQuery(100, 4)])
    assert len(rounds) == 3 and rounds[2][:2] == [BudgetQuery(100, 3), BudgetQuery(100, 4)]
    assert result.best is not None and (result.best.budget, result.unanswered) == (200, 1), "what stood by then"
    assert sum(t.budget == 100 for t in result.trials) == 4
    rounds, result = searched_with_faults(unlucky, [BudgetQuery(200, 2)])
    assert len(rounds) == 3 and result.unanswered == 0, "a dearer one than that which stands"
    assert result.best is not None and result.best.budget == 100


def test_a_budget_of_the_ladder_without_an_answer_in_four_rounds_is_left_out() -> None:
    for times in (1, 2):
        rounds, result = searched_with_faults(needs(100), [BudgetQuery(50)] * times)
        assert (result, len(rounds)) == (searched(needs(100))[1], 1 + times), "the round of the fresh draws is left"
    rounds, result = searched_with_faults(needs(100), [BudgetQuery(50)] * 3)
    assert len(rounds) == 3 and result.unanswered == 1 and result.best is not None and result.best.budget == 100
    assert [t.budget for t in result.trials] == [200, 100, 25, 12]
    none = searched_with_faults(needs(1000), [BudgetQuery(b) for b in LADDER] * 3)[1]
    assert (none.best, none.reason, none.unanswered) == (None, NO_GAIN, 5)


def test_what_would_be_asked_after_the_fourth_round_counts_as_unanswered() -> None:
    for delays, unanswered in ((0, 0), (1, 0), (2, 0), (3, 5), (4, 5)):
        rounds, result = searched_with_faults(needs(100), [], delays=delays)
        assert result.unanswered == unanswered and len(rounds) == (0 if unanswered else 2 if delays == 0 else 1)
    unlucky = needs(100, [BudgetQuery(100, 1), BudgetQuery(100, 2)])
    result = searched_with_faults(needs(100, [BudgetQuery(100, 1)]), [], delays=2)[1]
    assert result.unanswered == 2 and result.best is not None and result.best.budget == 200, "its second test"
    result = searched_with_faults(unlucky, [], delays=2)[1]
    assert result.unanswered == 0 and result.best == searched(unlucky)[1].best


def test_asked_again_a_question_waits_for_every_answer() -> None:
    struck = [BudgetQuery(50)] * 3 + [BudgetQuery(100, 2)] * 4
    rounds, result = searched_with_faults(needs(100), struck, rounds=None)
    assert result == searched(needs(100))[1] and len(rounds) > 4


def test_a_continued_search_asks_what_the_killed_one_did() -> None:
    """The draw that was late is in the journal by now, and said to have been late."""
    struck = [BudgetQuery(50)]
    late, result = searched_with_faults(needs(30), struck)
    search, queries_before = search_in_rounds(VanillaAnswer(400, "text", True), PLAN), set()
    with pytest.raises(StopIteration) as end:
        queries = next(search)
        while True:
            queries_before |= set(queries)
            queries = search.send([replace(needs(30)(q), delays=int(q in struck)) for q in queries])
    assert queries_before == {query for queries in late for query in queries} and end.value.value == result


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_search_takes_four_rounds_and_pays_each_call_once(tmp_path: Path, provider: str) -> None:
    with BatchServer(REPLY) as server:
        search = tale_dspy.BudgetSearch(out=tmp_path / "s", lm=language_model(server, provider), batch=True)
        search.compile(tale_dspy.TaleEP("question -> answer"), trainset=examples(15))
        assert server.batch_stats.batches <= 4 and search.summary["n"] == 15 and search.summary["found"] > 0
        assert server.stats.requests == 0
    with BatchServer(REPLY, batch_faults=BatchFaults(expired=0.1, failed=0.05, doubled=0.1, shuffled=True)) as server:
        again = tale_dspy.BudgetSearch(out=tmp_path / "t", lm=language_model(server, provider), batch=True)
        again.compile(tale_dspy.TaleEP("question -> answer"), trainset=examples(15))
        assert server.batch_stats.paid_calls == calls_in(tmp_path / "t") == again.summary["calls"]
        assert max(server.batch_stats.custom_ids.values()) == 1 and server.batch_stats.batches <= 4
    assert sorted(r.id for r in again.rows) == sorted(r.id for r in search.rows)
    assert {r.id: r.best for r in again.rows} == {r.id: r.best for r in search.rows}


def calls_in(folder: Path) -> int:
    rows = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    return sum(row["error"] is None for row in rows)


def test_killed_among_late_answers_a_search_pays_for_what_an_undisturbed_one_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = BatchFaults(expired=0.2, failed=0.1, shuffled=True)
    with BatchServer(REPLY, batch_faults=faults) as server:
        whole = searched_batch(server, tmp_path / "whole")
        paid = server.batch_stats.paid_calls
    append = JournalFolder.append
    with BatchServer(REPLY, batch_faults=faults) as server:
        for lines in (15, 15, 25, 25):
            left = iter(range(lines))

            def dying(folder: JournalFolder, *args: Any, left: Iterator[int] = left, **options: Any) -> None:
                if next(left, None) is None:
                    raise BackendError("nothing is written any more")
                append(folder, *args, **options)

            with monkeypatch.context() as patch, pytest.raises(BackendError, match="nothing is written"):
                patch.setattr(JournalFolder, "append", dying)
                searched_batch(server, tmp_path / "killed")
        killed = searched_batch(server, tmp_path / "killed")
        assert server.batch_stats.paid_calls == paid == calls_in(tmp_path / "killed")
        assert max(server.batch_stats.custom_ids.values()) == 1 and server.batch_stats.batches <= 4
    assert {r.id: r.best for r in killed.rows} == {r.id: r.best for r in whole.rows}


def searched_batch(server: BatchServer, out: Path) -> tale_dspy.BudgetSearch:
    search = tale_dspy.BudgetSearch(out=out, lm=language_model(server), batch=True)
    search.compile(tale_dspy.TaleEP("question -> answer"), trainset=examples(10))
    return search


def test_struck_at_every_attempt_a_search_ends_after_four_rounds_and_is_completed_by_the_same_command(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BatchServer(REPLY) as server:
        whole = searched_batch(server, tmp_path / "whole")
    with BatchServer(REPLY, batch_faults=BatchFaults(expired=0.4, each_attempt=True, seed=3)) as server:
        first = searched_batch(server, tmp_path / "struck")
        assert server.batch_stats.batches == 4
        missing = {row.id for row in first.rows if row.unanswered}
        assert 0 < len(missing) == first.summary["unanswered"] < 10
        right = {r.id: r.best for r in whole.rows}
        assert all(row.best == right[row.id] for row in first.rows if row.id not in missing)
        reasons = [row.reason for row in first.rows if row.id in missing and row.best is None]
        assert reasons and all("of its draws within 4 rounds" in str(reason) for reason in reasons)
        again = searched_batch(server, tmp_path / "struck")
        assert again.summary["unanswered"] == 0 and server.batch_stats.batches > 4
        assert server.batch_stats.paid_calls == calls_in(tmp_path / "struck") == again.summary["calls"]
        assert max(server.batch_stats.custom_ids.values()) == 1
    assert {r.id: r.best for r in again.rows} == right


def test_a_sampler_is_refused() -> None:
    with pytest.raises(UsageError, match="it takes no sampler"):
        tale_dspy.BudgetSearch(sampler="tpe", batch=True)
