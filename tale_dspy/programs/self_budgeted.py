"""One call that first states its budget, then keeps to it."""

from typing import Any

import dspy

from tale_dspy.accounting.calls import Call
from tale_dspy.budget import Budget, read_budget
from tale_dspy.programs.base import TalePrediction, with_reasoning
from tale_dspy.programs.reasoning_module import ReasoningModule, with_thought
from tale_dspy.task_signature import BUDGET


class SelfBudgeted(ReasoningModule):
    """State a token budget and reason within it, in one call.

    It is SelfBudgeter (arXiv 2505.11274), as a prompt.

    TALE-EP pays a second call, with the question sent twice; here the model writes the number at the head of its reply.
    SelfBudgeter trains a model to do so. A model that was not trained may state no budget, or not keep to the one it
    states: the receipt tells the budget (`budget_source` is `stated`) beside the tokens it took, and where none can be
    read the budget is None and the answer still counts.

    A model that thinks natively can write nothing before it has thought: under mode `auto` it is asked to settle on a
    budget first and to state it in front of its answer, and not for a second, visible chain of thought. No number is
    known before the call, so that none can be sent by its reasoning control: `TaleEP` and `BudgetedChainOfThought` do
    that.

    Args: see `ReasoningModule`.

    Example:
        >>> program = SelfBudgeted("question -> answer")
        >>> program
        SelfBudgeted('question -> token_budget, reasoning, answer')
        >>> program = SelfBudgeted("question -> answer", adapter=TaleAdapter("paper"))
        >>> print(receipt(program(question=question)))
        SelfBudgeted: budget ... (stated), ... output tokens, $0.0000... paid
    """

    cli_name = "self-budgeted"

    @classmethod
    def extend_signature(cls, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        # str, not int: "about 50" must reach read_budget instead of failing in an adapter.
        field = dspy.OutputField(desc="the minimum number of tokens that you need; keep your reasoning below it")
        extended: type[dspy.Signature] = with_reasoning(signature).prepend(BUDGET, field, type_=str)
        return extended

    def to_prediction(self, raw: dspy.Prediction, calls: list[Call]) -> TalePrediction:
        pred = self.with_receipt_of(_without_budget(raw), calls, _stated_budget(raw))
        with_thought(pred, self.predict, calls)
        return pred


_MOST = 10**9
"""A number beyond every budget is cut: infinity is no whole number."""


def _stated_budget(raw: dspy.Prediction) -> Budget | None:
    """Return the budget the model stated, or None if that is no number above 0."""
    text = raw.get(BUDGET)
    number = None if text is None else read_budget(str(text))
    if number is None or number < 1:
        return None
    return Budget(int(min(number, _MOST)), "stated", str(text), number)


def _without_budget(raw: dspy.Prediction) -> dspy.Prediction:
    """Copy a prediction without the budget.

    The old one stays in DSPy's trace; the new one has the keys of a chain of thought.
    """
    completions: Any = raw.completions
    fields = {k: v for k, v in completions.items() if k != BUDGET}
    plain: dspy.Prediction = dspy.Prediction.from_completions(fields, signature=completions.signature)
    return plain
