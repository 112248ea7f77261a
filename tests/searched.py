"""Searches made by hand: rows of questions that need some budget, with the trials that show it."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tale_dspy.optimizers.search.records import BestBudget, ConfirmationDraws, SearchRow, Trial, VanillaAnswer

SHARES = (0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.55, 0.75)
"""Budgets that are tried, as shares of the answer without one."""


def elastic(budget: float, need: float, longest: float) -> int:
    """Tokens of a reply: they follow the budget down to the need, below which they grow again."""
    if budget >= need:
        return math.ceil(0.9 * min(budget, longest))
    return math.ceil(need + (longest - need) * (1 - budget / need))


def row(
    key: Any, trials: Iterable[tuple[int, int | None, bool]], *, longest: int | None = 200, **more: Any
) -> SearchRow:
    """A row with these trials (budget, tokens, right), the best of which is the cheapest right one."""
    searched_trials = [Trial(budget, tokens, right) for budget, tokens, right in trials]
    right = [(t.tokens, t.budget) for t in searched_trials if t.correct and t.tokens is not None]
    tokens, budget = min(right, default=(0, 0))
    best = BestBudget(budget, tokens, tokens, None, ConfirmationDraws(0, 0)) if budget else None
    known = {"question": f"What is {key}?", "gold": None, "predictor": "self", "best": best}
    vanilla = VanillaAnswer(longest, None, correct=True)
    return SearchRow(**{"id": str(key), "vanilla": vanilla, "trials": searched_trials, **known, **more})


def search(questions: Sequence[str], need: Callable[[int], float], shares: Sequence[float] = SHARES) -> list[SearchRow]:
    """Search questions, given what the n-th needs; a budget below two thirds of it gives a wrong answer."""
    rows = []
    for n, question in enumerate(questions):
        longest = round(4 * need(n))
        budgets = sorted({round(longest * share) for share in shares})
        trials = [(b, elastic(b, need(n), longest), b >= need(n) / 1.5) for b in budgets]
        rows.append(row(f"{n:04x}", trials, longest=longest, question=question))
    return rows
