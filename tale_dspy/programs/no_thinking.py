"""Thinking switched off, the control for budgets of natively thinking models."""

from dataclasses import replace

from tale_dspy.backends.reasoning_params import budget_request
from tale_dspy.programs.base import TalePrediction
from tale_dspy.programs.reasoning_module import ReasoningModule, language_model, without_reasoning
from tale_dspy.programs.steps import Steps, call_of
from tale_dspy.protocols import CallArguments


class NoThinking(ReasoningModule):
    """Answer step by step with native thinking switched off.

    It is NoThinking (arXiv 2504.09858).

    The paper prefills an empty thought; so do the chat templates of Qwen3 and its like where thinking is off, and
    hosted models have a switch or an effort `none`. A model that cannot be kept from thinking gets its least effort,
    and the receipt says so. A model that does not think natively is asked as by `VanillaCoT`.

    Args: see `ReasoningModule`.

    Example:
        >>> NoThinking("question -> answer")
        NoThinking('question -> reasoning, answer')
    """

    cli_name = "no-thinking"

    def steps(self, kwargs: CallArguments) -> Steps[TalePrediction]:
        call = {k: v for k, v in kwargs.items() if k != "mode" or "mode" in self.predict.signature.input_fields}
        config = dict(kwargs.get("config") or {})
        request = budget_request(language_model(self.predict, call), "none", "auto", {**self.predict.config, **config})
        if request.settings:
            call["config"] = {**config, **request.settings}
        if request.thinks:
            call = without_reasoning(self.predict, call)
        with self.call_scope() as calls:
            raw = yield call_of(self.predict, call)
        pred = self.to_prediction(raw, calls)
        if pred._receipt is not None:
            notes = list(request.notes) if request.settings or request.thinks else []
            pred._receipt = replace(
                pred._receipt, effort="none", reasoning_params=dict(request.wire), reasoning_notes=notes
            )
        return pred
