"""Tokens against budget, question by question.

The figures of token elasticity are drawn from these curves (paper, section 4).

A search tries other budgets on each question than on the next, a ladder the same on all. Both end here as one
`QuestionCurve` a question, and pooled as shares of the question's own answer without a budget.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tale_dspy.optimizers.search.offline_eval import by_budget
from tale_dspy.optimizers.search.records import SearchRow, Trial
from tale_dspy.runs.records import Record, Run
from tale_dspy.statistics import quantile

BINS_PER_DOUBLING = 2
"""Bins of the pooled curve for each factor 2 of the budget."""
LEAST_IN_BIN = 3
"""Questions below which a bin says nothing."""


class BudgetPoint(NamedTuple):
    """One budget on one question; the mean, where it was asked several times."""

    budget: int
    tokens: float
    right: float
    """Share of right answers, from 0 to 1."""


@dataclass(frozen=True)
class QuestionCurve:
    """What the budgets tried on one question came to."""

    id: str
    question: str | None
    vanilla_tokens: float | None
    """Mean tokens without a budget; None if unknown."""
    vanilla_right: bool
    """Whether most answers without a budget are right."""
    points: tuple[BudgetPoint, ...]
    """The smallest budget first; those of unknown tokens are left out."""
    best: BudgetPoint | None = None
    """The budget that a search chose."""


class PooledBin(NamedTuple):
    """Tokens at budgets of about the same share of vanilla tokens.

    All questions are pooled; vanilla tokens are those of the answer without a budget.
    """

    share: float
    """Geometric mean of budget over tokens without a budget."""
    low: float
    median: float
    high: float
    """Tokens over tokens without a budget: first quartile, median and third quartile of the questions."""
    right: float
    """Share of right answers."""
    n: int
    """Questions."""


def curves_of_search(rows: Sequence[SearchRow]) -> list[QuestionCurve]:
    """Return the curve of each question that was searched."""
    curves = []
    for row in rows:
        if any(isinstance(trial.budget, int) for trial in row.trials):
            best = (
                None
                if row.best is None or isinstance(row.best.budget, str)
                else BudgetPoint(row.best.budget, row.best.tokens, 1.0)
            )
            vanilla = row.vanilla
            curves.append(
                QuestionCurve(row.id, row.question, vanilla.tokens, vanilla.correct, _budget_points(row.trials), best)
            )
    return curves


def curves_of_runs(runs: Sequence[Run], vanilla: Run | None) -> list[QuestionCurve]:
    """Return the curve of each question over several runs.

    Each run gives each question one budget.

    Args:
        runs: One for each budget; records without a budget are left out.
        vanilla: The same questions without a budget; None where there is no such run.
    """
    plain: dict[str, list[Record]] = {}
    for r in vanilla.records if vanilla else ():
        plain.setdefault(r.id, []).append(r)
    tried: dict[str, list[Record]] = {}
    for run in runs:
        for r in run.records:
            if r.token_budget is not None:
                tried.setdefault(r.id, []).append(r)
    return [_question_curve(key, records, plain.get(key, [])) for key, records in tried.items()]


def _question_curve(key: str, records: Sequence[Record], plain: Sequence[Record]) -> QuestionCurve:
    tokens = [r.output_tokens for r in plain if r.output_tokens is not None]
    trials = [Trial(r.token_budget, r.output_tokens, r.correct) for r in records if r.token_budget is not None]
    return QuestionCurve(
        id=key,
        question=records[0].question,
        vanilla_tokens=sum(tokens) / len(tokens) if tokens else None,
        vanilla_right=2 * sum(r.correct for r in plain) > len(plain),
        points=_budget_points(trials),
    )


def _budget_points(trials: Sequence[Trial]) -> tuple[BudgetPoint, ...]:
    return tuple(BudgetPoint(budget, o.tokens, o.right) for budget, o in by_budget(trials).items())


def shares(curves: Sequence[QuestionCurve]) -> list[tuple[str, BudgetPoint, float, float]]:
    """Return every point as shares of the answer without a budget.

    An entry is the question, the point, its budget and its tokens, both over the tokens without a budget.
    """
    return [
        (c.id, p, p.budget / c.vanilla_tokens, p.tokens / c.vanilla_tokens)
        for c in curves
        if c.vanilla_tokens
        for p in c.points
    ]


def pooled(curves: Sequence[QuestionCurve]) -> list[PooledBin]:
    """Pool the questions into bins of about the same share of vanilla tokens.

    Budgets and tokens are shares of the tokens of each question's answer without a budget. A question counts once in
    each bin, with its mean; bins of fewer than `LEAST_IN_BIN` questions are left out. Questions without known tokens,
    or wrong without a budget, are left out, too.
    """
    bins: dict[int, dict[str, list[tuple[float, float, float]]]] = {}
    for key, point, share_asked, used in shares([c for c in curves if c.vanilla_right]):
        at = round(BINS_PER_DOUBLING * math.log2(share_asked))
        bins.setdefault(at, {}).setdefault(key, []).append((math.log(share_asked), used, point.right))
    pooled_bins = []
    for _, questions in sorted(bins.items()):
        if len(questions) >= LEAST_IN_BIN:
            means = [[sum(v) / len(values) for v in zip(*values, strict=True)] for values in questions.values()]
            logs, used_, right = (list(column) for column in zip(*means, strict=True))
            low, median, high = (quantile(used_, q) or 0.0 for q in (0.25, 0.5, 0.75))
            pooled_bins.append(
                PooledBin(math.exp(sum(logs) / len(logs)), low, median, high, sum(right) / len(right), len(questions))
            )
    return pooled_bins


def spread(curves: Sequence[QuestionCurve], count: int) -> list[QuestionCurve]:
    """Choose a few questions to show.

    They are right without a budget, and go from the shortest answer to the longest. Questions with at
    least three budgets are preferred.
    """
    known = [c for c in curves if c.vanilla_tokens and c.vanilla_right and c.points]
    enough = [c for c in known if len(c.points) >= 3]
    ordered = sorted(enough or known, key=lambda c: (c.vanilla_tokens or 0.0, c.id))
    if len(ordered) <= count:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (count - 1))] for i in range(count)]
