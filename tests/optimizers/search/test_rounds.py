"""A question searched in rounds: a ladder at once, then fresh draws side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from batched import REPLY, examples, language_model

import tale_dspy
from tale_dspy.errors import UsageError
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
from tale_dspy.optimizers.search.rounds import ladder_levels, search_in_rounds
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
    rounds, found = searched(needs(100))
    assert [q.budget for q in rounds[0]] == [200, 100, 50, 25, 12]
    assert rounds[1] == [BudgetQuery(100, 1), BudgetQuery(100, 2)], "the others only where it does not stand"
    assert found.best is not None and (found.best.budget, found.best.confirmed.n, len(rounds)) == (100, 2, 2)


def test_an_undecided_budget_is_drawn_once_more_beside_the_others_and_a_failed_one_is_left() -> None:
    rounds, found = searched(needs(100, [BudgetQuery(100, 1)]))
    assert rounds[2] == [BudgetQuery(100, 3), BudgetQuery(100, 4), BudgetQuery(200, 1), BudgetQuery(200, 2)]
    assert found.best is not None and (found.best.budget, found.best.confirmed.n, found.best.confirmed.right) == (
        100,
        4,
        3,
    )
    rounds, found = searched(needs(100, [BudgetQuery(100, 1), BudgetQuery(100, 2)]))
    assert found.best is not None and found.best.budget == 200 and len(rounds) == 3
    assert rounds[2] == [BudgetQuery(200, 1), BudgetQuery(200, 2)]
    assert sum(t.budget == 100 for t in found.trials) == 3


def test_nothing_right_is_no_gain_and_nothing_that_stands_is_not_confirmed() -> None:
    assert searched(needs(1000))[1].reason == NO_GAIN
    unlucky = [BudgetQuery(b, n) for b in (100, 200) for n in (1, 3)]
    rounds, found = searched(needs(100, unlucky))
    assert found.reason == NOT_CONFIRMED and found.best is None and len(rounds) == 3


def test_without_a_test_the_first_draw_is_believed() -> None:
    rounds, found = searched(needs(100), SearchPlan(calls_per_question=5, repeats=0))
    assert found.best is not None and found.best.budget == 100 and len(rounds) == 1


def test_ladders_of_words_and_of_short_answers() -> None:
    assert ladder_levels(EffortLadder(("low", "high"), 400), 5) == [2, 1]
    assert ladder_levels(TokenRange(5), 5) == [2, 1] and ladder_levels(TokenRange(1), 5) == [1]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_search_takes_four_rounds_and_pays_each_call_once(tmp_path: Path, provider: str) -> None:
    with BatchServer(REPLY) as server:
        search = tale_dspy.BudgetSearch(out=tmp_path / "s", lm=language_model(server, provider), batch=True)
        search.compile(tale_dspy.TaleEP("question -> answer"), trainset=examples(15))
        assert server.batch_stats.batches <= 4 and search.summary["n"] == 15 and search.summary["found"] > 0
        assert server.stats.requests == 0
        paid = server.batch_stats.paid_calls
    with BatchServer(REPLY, batch_faults=BatchFaults(expired=0.1, failed=0.05, doubled=0.1, shuffled=True)) as server:
        again = tale_dspy.BudgetSearch(out=tmp_path / "t", lm=language_model(server, provider), batch=True)
        again.compile(tale_dspy.TaleEP("question -> answer"), trainset=examples(15))
        assert server.batch_stats.paid_calls == paid and max(server.batch_stats.custom_ids.values()) == 1
    assert sorted(r.id for r in again.rows) == sorted(r.id for r in search.rows)
    assert {r.id: r.best for r in again.rows} == {r.id: r.best for r in search.rows}


def test_a_sampler_is_refused() -> None:
    with pytest.raises(UsageError, match="it takes no sampler"):
        tale_dspy.BudgetSearch(sampler="tpe", batch=True)
