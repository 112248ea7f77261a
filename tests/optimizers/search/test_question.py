"""The search of one question against a reasoner made by hand: what it asks, what it believes, and what it admits."""

import logging
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import optuna
import pytest
from searched import elastic

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers import BudgetSampler, HalvingSampler, QuestionHistory
from tale_dspy.optimizers.search.question import (
    NO_GAIN,
    NO_TOKENS,
    NOT_CONFIRMED,
    WRONG,
    BudgetQuery,
    QueryResult,
    QuestionResult,
    SearchPlan,
    finish_question,
    new_study,
    per_question,
    search_question,
)
from tale_dspy.optimizers.search.records import ConfirmationDraws, Trial, VanillaAnswer

LONG = VanillaAnswer(160, "a long way. Answer: [[1]]", correct=True)

Answer = Callable[[BudgetQuery], QueryResult]


def reasoner(need: float = 40.0, longest: int = 160) -> Answer:
    """Right from two thirds of the need on, with the fewest tokens at the need."""

    def answer(draw: BudgetQuery) -> QueryResult:
        budget = draw.budget or longest
        return QueryResult(elastic(budget, need, longest), budget >= need / 1.5, f"{budget}#{draw.number}", "stop")

    return answer


class Listed(BudgetSampler):
    """Asks these budgets in turn, and remembers what it learns."""

    def __init__(self, *budgets: int) -> None:
        self.budgets = budgets
        self.learned: list[QuestionHistory] = []

    def propose(self, history: QuestionHistory) -> int:
        return self.budgets[len(history.trials) % len(self.budgets)]

    def should_stop(self, history: QuestionHistory) -> bool:
        return len(history.trials) >= len(self.budgets)

    def finish_question(self, history: QuestionHistory) -> None:
        self.learned.append(history)


def drive(
    answer: Answer,
    sampler: optuna.samplers.BaseSampler,
    vanilla: VanillaAnswer = LONG,
    known: tuple[Trial, ...] = (),
    **plan: int,
) -> tuple[QuestionResult, list[BudgetQuery]]:
    """Search a question to its end; return what was found and what was asked."""
    search, queries = search_question(vanilla, sampler, SearchPlan(**plan), known), []
    try:
        draw = next(search)
        while True:
            queries.append(draw)
            draw = search.send(answer(draw))
    except StopIteration as e:
        result: QuestionResult = e.value
        return result, queries


def test_halving_goes_on_while_the_answer_is_right_and_shorter() -> None:
    result, queries = drive(reasoner(), HalvingSampler(), repeats=0)
    assert [d.budget for d in queries] == [80, 40, 20]
    assert [(t.budget, t.correct) for t in result.trials] == [(80, True), (40, True), (20, False)]
    best = result.best
    assert best is not None and result.reason is None
    assert (best.budget, best.tokens, best.selected_tokens, best.text) == (40, 36, 36, "40#0")
    assert best.confirmed == ConfirmationDraws(0, 0)


def test_the_winner_is_drawn_again_and_the_mean_of_the_draws_is_reported() -> None:
    lengths = iter([30, 40, 50])

    def answer(draw: BudgetQuery) -> QueryResult:
        return QueryResult(next(lengths), True, str(draw.number), "stop")

    result, queries = drive(answer, Listed(50), repeats=2)
    assert queries == [BudgetQuery(50), BudgetQuery(50, 1), BudgetQuery(50, 2)]
    best = result.best
    assert best is not None
    assert (best.tokens, best.selected_tokens, best.confirmed, best.text) == (45, 30, ConfirmationDraws(2, 2), "0")


def test_a_lucky_short_answer_is_no_finding() -> None:
    def answer(draw: BudgetQuery) -> QueryResult:
        if draw.budget == 20:
            return QueryResult(10, draw.number == 0)  # right once, never again
        return QueryResult(45, True)

    result, queries = drive(answer, Listed(50, 20), repeats=2)
    assert result.best is not None and result.best.budget == 50
    assert [d for d in queries if d.budget == 20] == [BudgetQuery(20), BudgetQuery(20, 1), BudgetQuery(20, 2)]
    assert [(t.budget, t.correct) for t in result.trials] == [(50, True), (20, True), (20, False), (20, False)]


@pytest.mark.parametrize("wrong", [1, 2])
def test_one_wrong_draw_among_right_ones_is_outvoted(wrong: int) -> None:
    result, queries = drive(lambda d: QueryResult(45, d.number != wrong), Listed(50), repeats=2)
    assert result.best is not None and result.best.confirmed == ConfirmationDraws(4, 3)
    assert [d.number for d in queries] == [0, 1, 2, 3, 4]


def test_a_budget_that_fails_takes_smaller_ones_along_and_a_larger_one_is_tried() -> None:
    def answer(draw: BudgetQuery) -> QueryResult:
        budget = draw.budget or 0
        return QueryResult(budget, budget > 40 or draw.number == 0)

    result, queries = drive(answer, Listed(30, 40), repeats=1)
    assert queries == [
        BudgetQuery(30),
        BudgetQuery(40),
        BudgetQuery(30, 1),
        BudgetQuery(40, 1),
        BudgetQuery(80),
        BudgetQuery(80, 1),
    ]
    assert result.best is not None and result.best.budget == 80


def test_after_all_candidates_have_failed_there_is_none() -> None:
    result, _ = drive(lambda d: QueryResult(d.budget, d.number == 0), Listed(30, 40), repeats=1)
    assert (result.best, result.reason) == (None, NOT_CONFIRMED)


def test_a_budget_whose_fresh_draws_are_as_long_as_the_answer_without_one_is_no_gain() -> None:
    result, _ = drive(
        lambda d: QueryResult(40 if d.number == 0 and d.budget == 50 else 160, True), Listed(50), repeats=1
    )
    assert result.best is None and result.reason == NOT_CONFIRMED


@pytest.mark.parametrize("reply", [QueryResult(160, True), QueryResult(10, False), QueryResult(200, True)])
def test_no_gain_says_so_and_has_no_target(reply: QueryResult) -> None:
    result, _ = drive(lambda d: reply, Listed(50), repeats=0)
    assert (result.best, result.reason) == (None, NO_GAIN)


@pytest.mark.parametrize(
    ("vanilla", "reason"),
    [(VanillaAnswer(160, "", correct=False), WRONG), (VanillaAnswer(None, "", correct=True), NO_TOKENS)],
)
def test_some_questions_are_not_searched(vanilla: VanillaAnswer, reason: str) -> None:
    result, queries = drive(reasoner(), HalvingSampler(), vanilla)
    assert (result, queries) == (QuestionResult([], None, reason), [])


def test_errors_and_unknown_tokens_count_for_nothing() -> None:
    replies = iter([QueryResult(None, False, error="400"), QueryResult(None, True), QueryResult(20, True)])
    result, queries = drive(lambda d: next(replies), Listed(50), repeats=0, calls_per_question=3)
    assert len(queries) == 3 and [(t.budget, t.tokens) for t in result.trials] == [(50, 20)]


def test_an_error_in_the_test_ends_it() -> None:
    result, _ = drive(lambda d: QueryResult(20, True, error="400" if d.number else None), Listed(50), repeats=1)
    assert result.best is None and result.reason == NOT_CONFIRMED


def test_the_calls_are_limited() -> None:
    _, queries = drive(reasoner(), optuna.samplers.RandomSampler(seed=0), repeats=0, calls_per_question=5)
    assert len(queries) == 5 and len({d.budget for d in queries}) == 5


def test_a_budget_asked_for_again_costs_nothing_and_a_sampler_that_only_does_so_is_done() -> None:
    class Stuck(Listed):
        def should_stop(self, history: QuestionHistory) -> bool:
            return False

    result, queries = drive(reasoner(), Stuck(50), repeats=0)
    assert queries == [BudgetQuery(50)] and len(result.trials) == 1


def test_any_optuna_sampler_sees_tokens_and_constraint() -> None:
    tokens_and_constraints: list[tuple[float, float]] = []

    class Watching(optuna.samplers.RandomSampler):
        def sample_independent(self, study: optuna.Study, trial: Any, param_name: str, param_distribution: Any) -> int:
            tokens_and_constraints[:] = [(t.values[0], t.constraints["wrong"]) for t in study.get_trials() if t.values]
            return next(budgets)

    budgets: Iterator[int] = iter([80, 20, 40])
    drive(reasoner(), Watching(), repeats=0, calls_per_question=3)
    assert tokens_and_constraints == [(72.0, 0.0), (elastic(20, 40, 160), 1.0)]


def test_known_trials_are_not_asked_again() -> None:
    known = (Trial(80, 72, True, "80"), Trial(40, 36, True, "40"), Trial(500, 9, True))
    result, queries = drive(reasoner(), HalvingSampler(), known=known, repeats=0)
    assert [d.budget for d in queries] == [20]
    assert [t.budget for t in result.trials] == [80, 40, 20]


def test_a_sampler_learns_the_first_draw_of_each_budget() -> None:
    sampler = Listed(30, 40)
    drive(lambda d: QueryResult((d.budget or 0) + d.number, d.number == 0), sampler, repeats=1)
    (history,) = sampler.learned
    assert history.vanilla_tokens == 160
    assert [(o.budget, o.tokens, o.right) for o in history.trials] == [
        (30, 30, True),
        (40, 40, True),
        (80, 80, True),
    ]


def test_there_is_nothing_to_learn_without_a_trial_or_for_a_sampler_of_others() -> None:
    sampler = Listed(30)
    finish_question(sampler, 160, [Trial(30, None, True)])
    finish_question(optuna.samplers.RandomSampler(), 160, [Trial(30, 20, True)])
    assert sampler.learned == []


def test_samplers_of_others_are_copied_for_each_question() -> None:
    ours, other = Listed(1), optuna.samplers.TPESampler(seed=0)
    assert per_question(ours) is ours
    budgets = [drive(reasoner(), per_question(other), repeats=0, calls_per_question=4)[1] for _ in range(2)]
    assert budgets[0] == budgets[1]


def test_our_studies_are_quiet_and_those_of_the_user_are_not(caplog: pytest.LogCaptureFixture) -> None:
    level = optuna.logging.get_verbosity()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        with caplog.at_level(logging.INFO):
            drive(reasoner(), HalvingSampler(), repeats=0)
            assert caplog.messages == []
            optuna.create_study()
            assert "new study" in caplog.text
    finally:
        optuna.logging.disable_propagation()
        optuna.logging.set_verbosity(level)


@pytest.mark.parametrize(
    "plan", [{"calls_per_question": 0}, {"repeats": -1}, {"repeats": 1.5}, {"repeats": 10**20}, {"candidates": 0}]
)
def test_a_plan_out_of_range_is_refused(plan: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(plan))):
        SearchPlan(**plan)


def test_a_test_that_is_never_decided_ends() -> None:
    numbers = count()
    result, queries = drive(lambda d: QueryResult(20, next(numbers) % 2 == 0 or d.number == 0), Listed(50), repeats=2)
    assert result.best is None or result.best.confirmed.n <= 6
    assert max(d.number for d in queries) <= 6


def test_a_study_of_several_goals_optimises_each_in_its_direction() -> None:
    study = new_study(optuna.samplers.RandomSampler(seed=0), ["maximize", "minimize"])
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
