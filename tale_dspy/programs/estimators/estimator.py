"""Ask the model how many tokens a question deserves."""

from typing import Any

import dspy
from dspy import AdapterParseError, make_signature

from tale_dspy.accounting.calls import Call, role
from tale_dspy.answers.budget_estimate import read_estimate
from tale_dspy.backends.finish_reasons import normalize_finish_reason
from tale_dspy.backends.reasoning_params import minimal_thinking
from tale_dspy.budget import DEFAULT_BUDGET, DEFAULT_CEILING, DEFAULT_FLOOR, Budget, BudgetLimits
from tale_dspy.programs.base import SignatureLike, TaleModule, TalePrediction, check_signature
from tale_dspy.programs.state import LimitsState
from tale_dspy.programs.steps import Steps, call_of
from tale_dspy.prompts import ESTIMATOR_INSTRUCTIONS
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.task_signature import BUDGET

UNLIMITED = 10**9
"""The ceiling of an estimator whose caller keeps the limits."""


class BudgetEstimator(TaleModule):
    """Estimate the minimum tokens a question needs.

    It is the zero-shot estimator (paper, section 5.1 and figure 5). `token_budget` of its prediction is always a number
    that can be sent: an unreadable, zero or negative estimate becomes `default`, one outside the limits is clamped, and
    the receipt tells which.

    Args:
        signature: The inputs the model sees. Outputs are ignored, so that a task's own signature can be given.
        floor: Smallest budget, in tokens.
        ceiling: Largest budget, in tokens.
        default: Budget where the estimate cannot be used, in tokens.
        adapter: Overrides the adapter for this module alone.
        callbacks: As in `dspy.Module`.
        **config: Settings of each call, such as `temperature`.

    Example:
        >>> BudgetEstimator("question -> answer")
        BudgetEstimator('question -> token_budget')
    """

    gives_budget = True

    def __init__(
        self,
        signature: SignatureLike = "question -> answer",
        *,
        floor: int = DEFAULT_FLOOR,
        ceiling: int = DEFAULT_CEILING,
        default: int = DEFAULT_BUDGET,
        adapter: Any = None,
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(signature, adapter=adapter, callbacks=callbacks, **config)
        self.limits = LimitsState(BudgetLimits(floor=floor, ceiling=ceiling, default=default))

    @classmethod
    def extend_signature(cls, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        fields: JsonObject = {k: (f.annotation, f) for k, f in signature.input_fields.items()}
        # str, not int: a reply such as "about 50" must reach read_budget instead of failing in an adapter.
        fields[BUDGET] = (str, dspy.OutputField(desc="the minimum number of tokens"))
        extended: type[dspy.Signature] = make_signature(fields, ESTIMATOR_INSTRUCTIONS)
        return extended

    def steps(self, kwargs: CallArguments) -> Steps[TalePrediction]:
        with self.call_scope() as calls, role("estimate"):
            try:
                raw = yield call_of(self.predict, self._with_minimal_thinking(kwargs))
            except AdapterParseError as e:  # dspy's own adapters raise where a reply has no marker
                raw = dspy.Prediction(token_budget=e.lm_response)
        return self._to_estimate(raw, calls)

    def _with_minimal_thinking(self, kwargs: CallArguments) -> JsonObject:
        """Ask a natively thinking model for as little thinking as it allows.

        An estimate must not cost as much as an answer.
        """
        call_config = kwargs.get("config") or {}
        lm = kwargs.get("lm") or self.predict.lm or dspy.settings.lm
        reasoning_params = minimal_thinking(lm, {**self.predict.config, **call_config})
        return (
            {**kwargs, "config": {**call_config, **reasoning_params.settings}} if reasoning_params.settings else kwargs
        )

    def _to_estimate(self, raw: dspy.Prediction, calls: list[Call]) -> TalePrediction:
        value = raw.get(BUDGET)
        reply = next((call.text for call in reversed(calls) if call.text), value)
        cut = bool(calls) and normalize_finish_reason(calls[-1].finish_reason) == "length"
        text = reply if cut else value  # of a cut reply only what stands in brackets counts
        estimate = read_estimate(None if text is None else str(text), truncated=cut)
        budget: Budget = self.limits.value.apply(estimate.tokens, reply, estimate.reason)
        pred = self.with_receipt_of(raw, calls, budget)
        pred._store[BUDGET] = budget.tokens
        return pred


def input_signature(signature: SignatureLike, names: list[str] | None) -> type[dspy.Signature]:
    """Return a signature with only these inputs of another.

    It is for an estimator that does not need to see more.
    """
    checked = check_signature(signature)
    for name in checked.input_fields:
        if names is not None and name not in names:
            checked = checked.delete(name)
    return checked
