"""The paper's measures, against their definitions worked out in full."""

import random
from collections.abc import Sequence
from typing import Any

import dspy
import pytest
from searched import elastic, row

from tale_dspy import track
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.ideal_range import (
    IdealRange,
    estimated_budgets,
    ideal_range,
    ideal_range_metrics,
    learned_quality,
    range_of,
)
from tale_dspy.optimizers.search.records import Trial
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator

Told = tuple[int, int | None, bool]


def trials(*told: Told) -> list[Trial]:
    return [Trial(*t) for t in told]


def window_in_full(told: Sequence[Told]) -> list[int] | None:
    """The definition of appendix A.1, word by word: every window, its sum, the first of the least."""
    beta = sorted(budget for budget, _, right in told if right)
    tokens = {budget: tokens or 0 for budget, tokens, _ in told}
    k = max(1, int(len(beta) / 3))
    windows = [[b for j, b in enumerate(beta, 1) if i <= j <= i + k - 1] for i in range(1, len(beta) - k + 2)]
    return min(windows, key=lambda w: sum(tokens[b] for b in w)) if beta else None


def test_the_window_is_that_of_the_definition() -> None:
    chance = random.Random(0)
    for _ in range(300):
        budgets = chance.sample(range(1, 200), chance.randint(0, 20))
        draws = [(b, chance.randint(1, 9), chance.random() < 0.7) for b in budgets]
        ideal = ideal_range(trials(*draws))
        assert (None if ideal is None else list(ideal.budgets)) == window_in_full(draws)


def test_distance_and_membership_are_those_of_the_definition() -> None:
    chance = random.Random(1)
    for _ in range(100):
        draws = [(b, chance.randint(1, 9), True) for b in range(1, chance.randint(2, 30))]
        window, computed = window_in_full(draws), ideal_range(trials(*draws))
        assert window is not None and computed is not None
        for budget in range(1, 40):
            assert (budget in computed) == (budget in window)
            assert computed.distance(budget) == min(abs(budget - b) for b in window)


FIGURE_1 = [(10, 157, False), (20, 120, True), (50, 86, True), (70, 88, True), (100, 101, True), (150, 140, True),
            (258, 258, True)]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "window"),
    [
        (FIGURE_1, (50, 70)),
        ([], None),
        ([(5, 9, False)], None),
        ([(5, None, True)], None),
        ([(5, 9, True)], (5,)),
        ([(5, 9, True), (6, 8, True)], (6,)),
        ([(5, 9, True), (6, 9, True), (7, 9, True)], (5,)),
        ([(5, 9, True), (5, 1, False), (6, 8, True)], (6,)),  # as often wrong as right is not right
        ([(5, 9, True), (5, 1, True), (6, 8, True)], (5,)),  # its mean is 5
    ],
)
def test_small_cases(told: list[Told], window: tuple[int, ...] | None) -> None:
    ideal = ideal_range(reversed(trials(*told)))
    assert (ideal.budgets if ideal else None) == window


@pytest.mark.parametrize(
    ("budget", "inside", "distance"),
    [(50, True, 0), (60, True, 0), (70, True, 0), (40, False, 10), (90.5, False, 20.5)],
)
def test_a_budget_between_two_that_were_tried_is_in_the_range(budget: float, inside: bool, distance: float) -> None:
    window = IdealRange((50, 70))
    assert (budget in window, window.distance(budget)) == (inside, distance)


def test_a_budget_that_was_tried_and_wrong_is_not() -> None:
    ideal = ideal_range(trials(*[(b, 1 if b < 40 else 9, b != 20) for b in range(10, 101, 10)]))
    assert ideal is not None and ideal == IdealRange((10, 30, 40), wrong=(20,))
    assert (20 in ideal, ideal.distance(20), 25 in ideal) == (False, 10, True)


def test_the_budgets_between_make_the_range_that_all_of_them_would_make() -> None:
    def of(budgets: Sequence[int]) -> IdealRange:
        budget_range = range_of(row("a", [(b, elastic(b, 40, 160), b >= 30) for b in budgets], longest=160))
        assert budget_range is not None
        return budget_range

    every = of(range(1, 161)).budgets
    for coarse in ([round(160 * 0.8**n) for n in range(16)], range(10, 161, 10), range(5, 140, 5)):
        assert of(coarse).budgets[0] == pytest.approx(every[0], abs=4)
        assert of(coarse).budgets[-1] == pytest.approx(every[-1], abs=8)


def test_nothing_is_filled_in_beside_a_wrong_budget() -> None:
    budget_range = range_of(row("a", [(10, 9, True), (20, 1, False), (26, 5, True), (30, 5, True)], longest=30))
    assert budget_range is not None
    assert budget_range.budgets == (26, 27)


@pytest.mark.parametrize("trials", [[], [(50, 60, False)], [(50, None, False)]])
def test_a_question_without_a_right_trial_has_no_range(trials: list[Told]) -> None:
    assert range_of(row("a", trials)) is None


ROWS = [row(key, [(b, 1 if 4 <= b <= 6 else 9, True) for b in range(1, 10)], longest=9) for key in "abcd"]
"""All of the ideal range 4 to 6."""


def test_quality_is_the_mean_over_the_questions() -> None:
    metrics = ideal_range_metrics({"a": 5, "b": 6, "c": 2, "d": 24, "z": 1}, ROWS)
    assert (metrics.n, metrics.in_range_accuracy, metrics.too_small) == (4, 0.5, 1)
    assert (metrics.out_of_range_distance, metrics.mean_distance) == (10.0, 5.0)
    assert str(metrics) == "50.0 % of 4 budgets in the ideal range, 10.0 tokens off where not"


def test_questions_without_a_budget_or_a_range_are_left_out() -> None:
    metrics = ideal_range_metrics({"a": 5, "b": None, "n": 5}, [*ROWS, row("n", [(5, 9, False)])])
    assert (metrics.n, metrics.in_range_accuracy, metrics.out_of_range_distance) == (1, 1.0, None)
    assert str(metrics) == "100.0 % of 1 budgets in the ideal range"


@pytest.mark.parametrize(
    ("rows", "said"),
    [([], "no question of 0"), (ROWS, "no question of 4"), ([*ROWS, row("e", [], predictor="b")], "one predictor")],
)
def test_nothing_to_measure_is_refused(rows: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ideal_range_metrics({}, rows)


class Counting(dspy.Module):
    """An estimator that gives the length of the question, in the caller's context."""

    def forward(self, question: str) -> dspy.Prediction:
        return dspy.Prediction(token_budget=len(question) + dspy.settings.get("more", 0))


def test_any_estimator_is_asked_for_every_question_in_the_callers_context() -> None:
    with dspy.context(more=1), track():
        assert estimated_budgets(Counting(), ROWS, concurrency=3) == dict.fromkeys("abcd", 11)
    assert estimated_budgets(RegressionEstimator("question -> answer", default=9), ROWS) == dict.fromkeys("abcd", 9)
    with pytest.raises(UsageError, match="concurrency"):
        estimated_budgets(Counting(), ROWS, concurrency=0)


def test_what_was_learned_is_measured_where_that_costs_nothing() -> None:
    exact = RegressionEstimator("question -> answer", default=5)
    metrics = learned_quality(exact, ROWS)
    assert metrics is not None and (metrics.n, metrics.in_range_accuracy) == (4, 1.0)
    assert learned_quality(Counting(), ROWS) is None, "it might ask a model"
    assert learned_quality(exact, [row("n", [(5, 9, False)])]) is None
