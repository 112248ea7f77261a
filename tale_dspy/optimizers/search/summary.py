"""The figures of a search, summed from its rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tale_dspy.optimizers.search.folder import FAILED
from tale_dspy.optimizers.search.question import NO_GAIN, NO_TOKENS, NOT_CONFIRMED, WRONG
from tale_dspy.optimizers.search.records import BestBudget, SearchRow
from tale_dspy.protocols import JsonObject
from tale_dspy.statistics import mean_known


def search_summary(
    info: JsonObject, rows: Sequence[SearchRow], calls: int, cost_usd: float | None, seconds: float, folder: Path | None
) -> JsonObject:
    """Return what `summary.json` says of a search that has ended by itself.

    Args:
        info: Its `run.json`.
        rows: What it found, of all predictors.
        calls: How many were answered.
        cost_usd: What they cost; None where a price is unknown.
        seconds: How long it took, in all processes.
        folder: Where it is kept.
    """
    by_name = {row.predictor: [r for r in rows if r.predictor == row.predictor] for row in rows}
    figures = {name: search_figures(found) for name, found in by_name.items()}
    return {
        "program": info["program"]["name"],
        "model": info["config"]["model"],
        "data": info["config"]["data"]["name"],
        **info["config"]["search"],
        **(search_figures(rows) if len(figures) < 2 else {"predictors": figures}),
        "calls": calls,
        "cost_usd": cost_usd,
        "wall_s": round(seconds, 3),
        "notices": [],
        "stopped": None,
        "message": None,
        "run_dir": None if folder is None else str(folder),
    }


def search_figures(rows: Sequence[SearchRow]) -> JsonObject:
    """Sum up the rows of one predictor.

    Every question is in exactly one of `found`, `no_gain`, `not_confirmed`, `wrong`, `unknown_tokens` and `errors`;
    `unanswered` are those, found or not, that miss answers of batches.
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
        "unanswered": sum(row.unanswered > 0 for row in rows),
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
