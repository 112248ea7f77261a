"""The paper's measures of a budget estimator.

They are the ideal range of a question, and how often and how far it is missed.

Their source is the paper, section 4 and appendix A.1. The truth they need is a search with `GridSampler`, which tries
budgets all over a question's range; the trials of a search that saves calls lie near the best budget and say little
about the rest.
"""

import contextvars
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from tale_dspy.budget import check_count
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.offline_eval import ExpectedOutcome, by_budget, check_rows, inputs_of
from tale_dspy.optimizers.search.records import SearchRow, Trial
from tale_dspy.programs.estimators.regression_estimator import RegressionEstimator

PARTS = 3
"""The window is as many budgets long as the N right ones over this (the paper's k = N / 3)."""
_RIGHT = 0.5  # a budget is right whose share of right answers is above it


@dataclass(frozen=True)
class IdealRange:
    """The budgets around which a question costs the fewest tokens.

    It is the paper's window W*.
    """

    budgets: tuple[int, ...]
    """The right budgets of the window, rising."""
    wrong: tuple[int, ...] = ()
    """Budgets tried between them that gave a wrong answer; these are not in the range."""

    def __contains__(self, budget: float) -> bool:
        """Return whether a budget lies in the window, its ends included.

        Wrong budgets inside the window are not in the range.
        """
        return self.budgets[0] <= budget <= self.budgets[-1] and budget not in self.wrong

    def distance(self, budget: float) -> float:
        """Return the tokens to the nearest budget of the window; 0 inside the range."""
        return 0.0 if budget in self else min(abs(budget - b) for b in self.budgets)


def ideal_range(trials: Iterable[Trial]) -> IdealRange | None:
    """Return the ideal range among the budgets that were tried on a question.

    Of the N budgets that gave a right answer it is the window of k = N / 3 neighbours (rounded down, at least one)
    whose tokens add up to the least; the one of smaller budgets, where two are equal. A budget that was tried several
    times counts with its mean tokens, and as right if more than half of its answers were. Trials of unknown tokens
    are left out.

    The window is a number of budgets and not of tokens, so that its width depends on which were tried: `range_of` does
    not have this flaw.

    Args:
        trials: The budgets tried on one question, in any order.

    Returns:
        The range, or None where no budget gave a right answer.
    """
    return _rising_window(by_budget(trials))


def range_of(row: SearchRow) -> IdealRange | None:
    """Return the ideal range of a question.

    It is taken among all budgets up to the length of its answer without one.

    The definition speaks of all budgets; where only some were tried, those between two neighbours that were both right
    count as right, too, with tokens on the line between. Measured on a simulated reasoner, in-range accuracies from 24
    budgets of a geometric grid so differ from those of all budgets by 5 points at most; without, by 30 to 40.

    Args:
        row: A search with `GridSampler`.

    Returns:
        The range, or None where no budget gave a right answer.
    """
    outcomes = by_budget(row.trials)
    longest = row.vanilla.tokens
    if row.vanilla.correct and longest and all(b < longest for b in outcomes):
        # A budget of that length asks for what was answered without one.
        outcomes[longest] = ExpectedOutcome(longest, 1.0)
    return _rising_window(_fill_between(outcomes)) if any(t.correct for t in row.trials) else None


def _fill_between(tried: Mapping[int, ExpectedOutcome]) -> dict[int, ExpectedOutcome]:
    """Add the budgets between two right neighbours."""
    filled = dict(tried)
    for (low, a), (high, b) in pairwise(tried.items()):
        if min(a.right, b.right) > _RIGHT:
            # Linear in the budget: tokens(n) = a + step (n - low).
            step = (b.tokens - a.tokens) / (high - low)
            filled |= {n: ExpectedOutcome(a.tokens + step * (n - low), 1.0) for n in range(low + 1, high)}
    return dict(sorted(filled.items()))


def _rising_window(tried: Mapping[int, ExpectedOutcome]) -> IdealRange | None:
    """Find the window among budgets that rise."""
    right = [b for b, outcome in tried.items() if outcome.right > _RIGHT]
    if not right:
        return None
    # Paper, section 4: the window of the k cheapest neighbours, k a fixed part of the right budgets.
    k = max(1, len(right) // PARTS)
    # Prefix sums: the tokens of right[i : i + k] are sums[i + k] - sums[i], so that the search is O(n).
    sums = [0.0, *accumulate(tried[b].tokens for b in right)]
    first = min(range(len(right) - k + 1), key=lambda i: sums[i + k] - sums[i])
    window = right[first : first + k]
    wrong = [b for b, outcome in tried.items() if window[0] < b < window[-1] and outcome.right <= _RIGHT]
    return IdealRange(tuple(window), tuple(wrong))


@dataclass(frozen=True)
class IdealRangeMetrics:
    """How well budgets hit the ideal ranges."""

    n: int
    """Questions that have an ideal range and a budget."""
    in_range_accuracy: float
    """Share of the questions whose budget lies in the range (paper: 60.61 %)."""
    out_of_range_distance: float | None
    """Mean tokens to the range where it was missed; None where it never was (paper: 109.64)."""
    mean_distance: float
    """The same with 0 for each question in range."""
    too_small: int
    """Questions whose budget lies below the range: the misses that may cost the answer."""

    def __str__(self) -> str:
        far = "" if self.out_of_range_distance is None else f", {self.out_of_range_distance:.1f} tokens off where not"
        return f"{100 * self.in_range_accuracy:.1f} % of {self.n} budgets in the ideal range{far}"


def ideal_range_metrics(budgets: Mapping[str, float | None], rows: Sequence[SearchRow]) -> IdealRangeMetrics:
    """Measure budgets against the ideal ranges of their questions.

    The paper does not say whether its mean distance counts the questions in range: both means are given.

    Args:
        budgets: For each id the budget sent, as in the records of a run; questions without one are left out.
        rows: A search with `GridSampler`; questions without a right trial are left out.

    Raises:
        UsageError: If no question is left, or the rows are of several predictors.
    """
    check_rows(rows)
    budget_ranges = [(budgets.get(row.id), range_of(row)) for row in rows]
    pairs = [(b, r) for b, r in budget_ranges if b is not None and r is not None]
    if not pairs:
        raise UsageError(
            f"no question of {len(budget_ranges)} has both a budget and a right trial: there is nothing to measure"
        )
    off = [r.distance(b) for b, r in pairs]
    missed = [distance for (b, r), distance in zip(pairs, off, strict=True) if b not in r]
    return IdealRangeMetrics(
        n=len(pairs),
        in_range_accuracy=1 - len(missed) / len(pairs),
        out_of_range_distance=sum(missed) / len(missed) if missed else None,
        mean_distance=sum(off) / len(off),
        too_small=sum(b < r.budgets[0] for b, r in pairs),
    )


def learned_quality(estimator: object, rows: Sequence[SearchRow]) -> IdealRangeMetrics | None:
    """Measure an estimator that makes no call on the questions of a search.

    It is None for any other estimator, and without a range.

    Args:
        estimator: Such as a `RegressionEstimator`; one that asks a model would have to be paid for.
        rows: The questions. If it has learned from these, the figures are too good.
    """
    if not isinstance(estimator, RegressionEstimator) or estimator.embedder is not None:
        return None
    try:
        return ideal_range_metrics(estimated_budgets(estimator, rows, concurrency=1), rows)
    except UsageError:
        return None


def estimated_budgets(estimator: Any, rows: Sequence[SearchRow], concurrency: int = 32) -> dict[str, int]:
    """Ask an estimator for the budget of each question.

    Args:
        estimator: Any module that takes the inputs and gives `token_budget`, such as a `BudgetEstimator`.
        rows: The questions.
        concurrency: How many are asked at a time.

    Raises:
        UsageError: If the concurrency is not a whole number of at least 1.
        SpendCapReached: If a cap around the call ended it.
    """

    def budget(row: SearchRow) -> int:
        budget: int = estimator(**inputs_of(row)).token_budget
        return budget

    with ThreadPoolExecutor(check_count(concurrency, "concurrency")) as pool:
        # Each in a copy of this context: DSPy's settings and the ledger of `track` follow into the threads.
        futures = {row.id: pool.submit(contextvars.copy_context().run, budget, row) for row in rows}
        return {key: future.result() for key, future in futures.items()}
