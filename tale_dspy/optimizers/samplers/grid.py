"""Every budget on a grid: the truth that cheaper searches are held against."""

from collections.abc import Sequence

import numpy as np

from tale_dspy.budget import check_budget
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers.base import BudgetSampler, QuestionHistory


class GridSampler(BudgetSampler):
    """Ask for every budget on a grid, the largest first, and end.

    Budgets outside a question's range are left out, the others are moved onto its step. Where none is left, the upper
    end of the range is asked. Deterministic, and nothing is learned from one question for the next. Asked on after the
    end, it asks the best budget again.

    Args:
        budgets: The grid, in tokens; None for the whole range of each question.
        points: Of a question's whole range, ask for this many budgets, equally far apart on a logarithmic scale, both
            ends included; fewer where rounding to whole tokens makes some equal. None for all.

    Raises:
        UsageError: If a budget is not a whole number of at least 1, there is none, `points` is below 2, or both are
            given.
    """

    def __init__(self, budgets: Sequence[int] | None = None, *, points: int | None = None) -> None:
        if budgets is not None and points is not None:
            raise UsageError("give budgets or points, not both")
        if budgets is not None and not budgets:
            raise UsageError("budgets must name at least one budget to try")
        if points is not None and points < 2:
            raise UsageError(f"points must be at least 2, got {points}")
        self._budgets = None if budgets is None else sorted({check_budget(b, "budgets") for b in budgets})
        self._points = points

    def propose(self, history: QuestionHistory) -> int:
        """Return the largest budget of the grid that was not asked yet."""
        left = self._untried_budgets(history)
        if left:
            return left[-1]
        return history.best.budget if history.best else history.vanilla_tokens

    def should_stop(self, history: QuestionHistory) -> bool:
        """Return whether all budgets of the grid have been asked."""
        return not self._untried_budgets(history)

    def _untried_budgets(self, history: QuestionHistory) -> list[int]:
        tried = history.tried
        return [budget for budget in self.budgets_of(history) if budget not in tried]

    def budgets_of(self, history: QuestionHistory) -> list[int]:
        """Return the whole grid of a question, rising."""
        low, high = history.lowest, history.vanilla_tokens
        if self._budgets is not None:
            return sorted({history.on_grid(b) for b in self._budgets if low <= b <= high}) or [high]
        if self._points is None or (high - low) // history.step < self._points:
            return list(range(low, high + 1, history.step))
        # Budgets matter by their ratio, so that points are equally far apart in the logarithm: b_i = low (high /
        # low)^(i / (points - 1)), each moved to the nearest budget of the range; equal ones are tried once.
        return sorted({history.on_grid(b) for b in np.geomspace(low, high, self._points)})
