"""The figures of a search, summed from its rows."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tale_dspy.optimizers.search.folder import FAILED
from tale_dspy.optimizers.search.question import NO_GAIN, NO_TOKENS, NOT_CONFIRMED, WRONG
from tale_dspy.optimizers.search.records import BestBudget, SearchRow
from tale_dspy.protocols import JsonObject
from tale_dspy.statistics import mean_known


def search_figures(rows: Sequence[SearchRow]) -> JsonObject:
    """Sum up the rows of one predictor.

    Every question is in exactly one of `found`, `no_gain`, `not_confirmed`, `wrong`, `unknown_tokens` and `errors`.
    Means of tokens are over the questions with a best budget, so that they can be set against each other; None if there
    is none.
    """
    reasons = [row.reason or "" for row in rows]
    pairs = [(row, row.best) for row in rows if row.best is not None]
    trials = sum(len(row.trials) for row in rows)
    draws = sum(best.confirmed.n for _, best in pairs)
    efforts = Counter(best.budget for _, best in pairs if isinstance(best.budget, str))
    return {
        "n": len(rows),
        "judged_by": sorted({row.judged_by for row in rows}),
        "vanilla_right": sum(row.vanilla.correct for row in rows),
        "found": len(pairs),
        "no_gain": reasons.count(NO_GAIN),
        "not_confirmed": reasons.count(NOT_CONFIRMED),
        "wrong": reasons.count(WRONG),
        "unknown_tokens": reasons.count(NO_TOKENS),
        "errors": sum(reason.startswith(FAILED) for reason in reasons),
        "trials_mean": trials / max(1, sum(bool(row.trials) for row in rows)),
        "draws": len(rows) + trials + draws,
        "confirmed_right": _right_share(best for _, best in pairs),
        "vanilla_tokens_mean": mean_known(row.vanilla.tokens for row, _ in pairs),
        "best_tokens_mean": mean_known(best.tokens for _, best in pairs),
        "selected_tokens_mean": mean_known(best.selected_tokens for _, best in pairs),
        "best_budget_mean": mean_known(best.budget for _, best in pairs if isinstance(best.budget, int)),
        **({"best_efforts": dict(efforts.most_common())} if efforts else {}),
    }


def _right_share(budgets: Iterable[BestBudget]) -> float | None:
    """Return the share of right answers among all confirming draws, or None."""
    tests = [best.confirmed for best in budgets]
    drawn = sum(test.n for test in tests)
    return sum(test.right for test in tests) / drawn if drawn else None
