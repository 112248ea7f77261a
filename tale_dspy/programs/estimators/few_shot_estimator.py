"""Ask for a budget with searched questions and their best budgets as demos."""

from collections.abc import Iterable, Mapping
from typing import Any

import dspy

from tale_dspy.budget import DEFAULT_BUDGET, DEFAULT_CEILING, DEFAULT_FLOOR, check_budget
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import SignatureLike
from tale_dspy.programs.estimators.estimator import BudgetEstimator
from tale_dspy.protocols import JsonObject
from tale_dspy.task_signature import BUDGET


class FewShotEstimator(BudgetEstimator):
    """The paper's estimator with searched budgets as demos (section 5.1).

    The demos stand before the question. `tale_dspy.optimizers.few_shot` makes it from a search. The demos are paid for
    as prompt tokens with every question, though most providers cache them; the rest is as in `BudgetEstimator`.

    Args:
        signature: The inputs the model sees. Outputs are ignored, so that a task's own signature can be given.
        demos: Questions with their `token_budget` beside the inputs.
        floor: Smallest budget, in tokens.
        ceiling: Largest budget, in tokens.
        default: Budget where the estimate cannot be used, in tokens.
        adapter: Overrides the adapter for this module alone.
        **config: Settings of each call, such as `temperature`.

    Raises:
        UsageError: If a demo has none of the inputs, or no whole number of at least 1 as its `token_budget`.

    Example:
        >>> FewShotEstimator("question -> answer", [{"question": "1+1?", "token_budget": 5}])
        FewShotEstimator('question -> token_budget')
    """

    def __init__(
        self,
        signature: SignatureLike = "question -> answer",
        demos: Iterable[Mapping[str, Any] | dspy.Example] = (),
        *,
        floor: int = DEFAULT_FLOOR,
        ceiling: int = DEFAULT_CEILING,
        default: int = DEFAULT_BUDGET,
        adapter: Any = None,
        **config: Any,
    ) -> None:
        super().__init__(signature, floor=floor, ceiling=ceiling, default=default, adapter=adapter, **config)
        names = list(self.predict.signature.input_fields)
        self.predict.demos = [_estimator_demo(dict(demo.items()), names) for demo in demos]


def _estimator_demo(row: JsonObject, names: list[str]) -> dspy.Example:
    """Return a demo of the inputs and the budget alone."""
    inputs = {k: row[k] for k in names if row.get(k) is not None}
    if not inputs:
        raise UsageError(f"a demo must have one of the inputs {', '.join(names)}, got {', '.join(map(str, row))}")
    # A text, as the estimator's reply is one.
    return dspy.Example(**inputs, **{BUDGET: str(check_budget(row.get(BUDGET)))}).with_inputs(*inputs)
