"""Make a `FewShotEstimator` of a search.

Its demos are a few questions, from the smallest best budget to the largest.
"""

import random
from collections.abc import Sequence
from typing import Any

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.search.offline_eval import check_rows, inputs_of
from tale_dspy.optimizers.search.records import SearchRow
from tale_dspy.programs.base import SignatureLike, check_signature
from tale_dspy.programs.estimators.few_shot_estimator import FewShotEstimator
from tale_dspy.protocols import JsonObject


def few_shot(
    rows: Sequence[SearchRow], signature: SignatureLike, k: int = 8, *, seed: int = 0, **options: Any
) -> FewShotEstimator:
    """Return the paper's estimator with `k` searched questions as demos.

    The questions are sorted by their best budget and cut into `k` equal parts, of each of which one is taken, so that
    the demos span the budgets that were found. The same rows give the same demos in any order and any process.
    Questions without a best budget are left out, repeated ones count once; where there are fewer than `k`, all are
    taken.

    Args:
        rows: What `BudgetSearch` found.
        signature: The inputs the model sees.
        k: How many demos.
        seed: Decides which question of each part is taken, and the order of the demos.
        **options: Passed on to `FewShotEstimator`: limits, adapter, `temperature` ...

    Raises:
        UsageError: If `k` is not at least 1, the rows are of several predictors, or none has both a best budget and one
            of the inputs.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise UsageError(f"k must be a whole number of at least 1, got {k!r}")
    check_rows(rows)
    names = list(check_signature(signature).input_fields)
    demos = _budget_demos(rows, names)
    if not demos:
        raise UsageError(f"no demos: none of the {len(rows)} questions has a best budget and {' or '.join(names)}")
    rng = random.Random(seed)
    n = min(k, len(demos))
    chosen = [demos[rng.randrange(i * len(demos) // n, (i + 1) * len(demos) // n)] for i in range(n)]
    rng.shuffle(chosen)  # rising budgets would be a pattern to go on with
    estimator = FewShotEstimator(signature, chosen, **options)
    estimator.seen.add((row.id for row in rows), "search")
    return estimator


def _budget_demos(rows: Sequence[SearchRow], names: Sequence[str]) -> list[JsonObject]:
    """Return inputs and best budget of each question, sorted by the budget."""
    demos: dict[str, JsonObject] = {}
    for row in rows:
        inputs = {k: v for k, v in inputs_of(row).items() if k in names and v is not None}
        if row.best is not None and inputs:
            demos.setdefault(row.id.partition("-")[0], {**inputs, "token_budget": row.best.budget})
    return [demos[k] for k in sorted(demos, key=lambda k: (demos[k]["token_budget"], k))]
