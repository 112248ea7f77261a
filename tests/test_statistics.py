"""Means, quantiles, intervals and exact tests; numpy, scipy and statsmodels have the last word."""

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from tale_dspy.statistics import (
    ExactSum,
    accuracy_interval,
    mcnemar_p,
    mean_complete,
    mean_known,
    normal_interval,
    quantile,
    students_t_quantile,
)


@pytest.mark.parametrize("seed", range(5))
def test_an_exact_sum_depends_neither_on_order_nor_on_grouping(seed: int) -> None:
    rng = random.Random(seed)
    values = [rng.gauss(0, 1) * 10 ** rng.randint(-12, 12) for _ in range(500)]
    whole, parts = ExactSum(), [ExactSum() for _ in range(7)]
    for value in values:
        whole.add(value)
        rng.choice(parts).add(value)
    merged = ExactSum()
    for part in parts:
        merged.merge(part)
    exact = float(sum(map(Fraction, values)))
    assert whole.value == merged.value == math.fsum(values) == exact


def test_means_and_totals_say_what_an_unknown_value_does() -> None:
    assert (mean_known([1, None, 4]), mean_complete([1, None, 4])) == (2.5, None)
    assert (mean_known([None]), mean_complete([])) == (None, None)
    assert mean_complete([1, 4]) == 2.5


def test_the_normal_interval_is_that_of_scipy() -> None:
    values = [3.0, 5.0, 1.0, 9.0]
    expected = stats.norm.interval(0.95, loc=np.mean(values), scale=stats.sem(values))
    assert normal_interval(values) == pytest.approx(expected) and normal_interval([1.0]) is None


@pytest.mark.parametrize("degrees", [1, 4, 9, 1000])
def test_students_t_is_what_scipy_says(degrees: int) -> None:
    assert students_t_quantile(0.975, degrees) == pytest.approx(stats.t.ppf(0.975, degrees))


@pytest.mark.parametrize(
    ("fell", "rose"), [(0, 0), (0, 1), (1, 1), (3, 12), (12, 3), (5, 6), (0, 40), (31, 72), (1000, 1100), (4000, 4003)]
)
def test_p_equals_statsmodels_and_scipy(fell: int, rose: int) -> None:
    expected = mcnemar([[7, fell], [rose, 9]], exact=True).pvalue
    assert mcnemar_p(fell, rose) == pytest.approx(expected, rel=1e-10)
    if fell + rose:
        assert mcnemar_p(fell, rose) == pytest.approx(stats.binomtest(fell, fell + rose).pvalue, rel=1e-10)


@pytest.mark.parametrize(("fell", "rose"), [(10**6, 10**6 + 3000), (0, 10**7), (5000, 7000)])
def test_p_of_huge_counts_is_finite_and_right(fell: int, rose: int) -> None:
    assert mcnemar_p(fell, rose) == pytest.approx(2 * stats.binom.cdf(fell, fell + rose, 0.5), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_quantiles_equal_numpys(n: int, q: float) -> None:
    values = sorted(random.Random(n).lognormvariate(0, 1) for _ in range(n))
    assert quantile(values, q) == pytest.approx(np.quantile(values, q), rel=1e-12)


def test_no_values_have_no_quantile() -> None:
    assert quantile([], 0.5) is None


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (1, 7), (13, 40), (1100, 1319)])
def test_the_interval_of_single_draws_is_wilsons(right: int, n: int) -> None:
    interval = accuracy_interval([1.0] * right + [0.0] * (n - right))
    assert interval == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)


def test_the_interval_of_repeats_is_clustered_by_question() -> None:
    rng = random.Random(0)
    scores = [rng.choice((0, 1 / 3, 2 / 3, 1)) for _ in range(200)]
    half = 1.959963984540054 * np.std(scores, ddof=1) / math.sqrt(len(scores))
    assert accuracy_interval(scores, repeats=3) == pytest.approx((np.mean(scores) - half, np.mean(scores) + half))
    # A question asked ten times is no ten questions: the same share of single draws has a narrower interval.
    low, high = accuracy_interval([1.0, 0.0] * 5, repeats=10) or (0, 0)
    narrow = accuracy_interval([1.0, 0.0] * 50) or (0, 0)
    assert high - low > narrow[1] - narrow[0]


@pytest.mark.parametrize(("scores", "repeats", "interval"), [([], 1, None), ([], 3, None), ([0.5], 3, (0, 1))])
def test_intervals_at_the_edges(scores: list[float], repeats: int, interval: Any) -> None:
    assert accuracy_interval(scores, repeats) == interval


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_questions_of_one_score_claim_no_certainty(score: float) -> None:
    interval = accuracy_interval([score] * 6, repeats=2)
    assert interval == pytest.approx(proportion_confint(6 * score, 6, method="wilson"), abs=1e-12)
