"""What modules with a budget share.

They share the mode, and the one call that is sent with the reasoning control set.

How a budget becomes settings of a call is in `tale_dspy.backends.reasoning_params`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dspy
from dspy import AdapterParseError

from tale_dspy.accounting.calls import Call, role
from tale_dspy.adapter import TaleAdapter
from tale_dspy.backends.budget_planner import BudgetRequest, Mode
from tale_dspy.backends.lm import LM
from tale_dspy.backends.reasoning_params import budget_request, check_mode
from tale_dspy.budget import (
    DEFAULT_BUDGET,
    DEFAULT_THINKING,
    Budget,
    BudgetLike,
    BudgetValue,
    check_budget,
    check_effort,
)
from tale_dspy.programs.base import SignatureLike, TaleModule, TalePrediction, with_budget, with_reasoning
from tale_dspy.programs.budget_in_words import with_budget_in_words
from tale_dspy.programs.copying import modules_of
from tale_dspy.programs.reasoning_module import ReasoningModule, language_model, with_thought, without_reasoning
from tale_dspy.programs.recovery import REFUSED
from tale_dspy.programs.skipping import LEAST_BUDGET, SkipPolicy, check_on_skip, skips_reasoning
from tale_dspy.programs.state import BudgetModeState, SkipState
from tale_dspy.programs.steps import Steps, call_of
from tale_dspy.prompt_forms import PAPER
from tale_dspy.protocols import CallArguments, JsonObject, LanguageModel, Program
from tale_dspy.task_signature import BUDGET


class BudgetedModule(TaleModule, abstract=True):
    """A module whose calls carry a budget, in the way `mode` says.

    A call may give `mode=` itself, unless the signature has an input of that name.

    Args:
        signature: Inputs and outputs of the task.
        mode: `prompt` sends the phrase alone, `native` the model's own reasoning control as well, `cap` max_tokens;
            `auto` takes the reasoning control of a model that thinks natively, and the phrase for every other.
        on_skip: What is done where the budget makes the model skip the reasoning it was asked for: `unbudgeted` asks
            again without a budget, `floor` with twice the budget, `DEFAULT_BUDGET` at least; None leaves the answer.
            The receipt says `skipped` in any case.
        least_budget: Estimates of fewer tokens cannot be meant and fall back (`TaleEP`). It is the least budget at
            which a search saw a right answer, or `LEAST_BUDGET`.
        adapter: Overrides the adapter for this module alone.
        callbacks: As in `dspy.Module`.
        **config: Settings of each call, such as `temperature`.

    Raises:
        UsageError: If there is no such mode or policy; at a call, if `native` is asked of a model without a reasoning
            control.
    """

    def __init__(
        self,
        signature: SignatureLike,
        *,
        mode: Mode = "auto",
        on_skip: SkipPolicy | None = None,
        least_budget: int = LEAST_BUDGET,
        adapter: Any = None,
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(signature, adapter=adapter, callbacks=callbacks, **config)
        self.mode_state = BudgetModeState(check_mode(mode))
        self.skip_state = SkipState(check_on_skip(on_skip), check_budget(least_budget, "least_budget"))

    @property
    def mode(self) -> Mode:
        """How calls that say nothing else send their budget."""
        return self.mode_state.mode

    @mode.setter
    def mode(self, value: Mode) -> None:
        self.mode_state.mode = check_mode(value)

    @property
    def on_skip(self) -> SkipPolicy | None:
        """What is done about an answer without the reasoning that was asked for."""
        return self.skip_state.on_skip

    @on_skip.setter
    def on_skip(self, value: SkipPolicy | None) -> None:
        self.skip_state.on_skip = check_on_skip(value)

    @classmethod
    def extend_signature(cls, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        return with_budget(with_reasoning(signature))

    def adapter_in_force(self, configured: object = None) -> Any:
        adapter = super().adapter_in_force(configured)
        lm = self.predict.lm or dspy.settings.lm
        trained = isinstance(lm, LM) and lm.prompt_form is not None  # on the field with the number, as the embedded one
        return adapter if trained else with_budget_in_words(adapter)

    def asks_in_paper_form(self) -> bool:
        """Return whether the budget is worded as in the paper.

        Otherwise it is worded as the model was trained to obey.
        """
        lm = self.predict.lm or dspy.settings.lm
        if isinstance(lm, LM) and lm.prompt_form is not None:
            return True
        adapter = super().adapter_in_force()
        return isinstance(adapter, TaleAdapter) and adapter.form == PAPER

    def steps(self, kwargs: CallArguments) -> Steps[TalePrediction]:
        kwargs, mode = self.split_mode(kwargs)
        with self.call_scope() as calls:
            budget = self.known_budget(kwargs, mode)
            if budget is None:
                budget = yield from self.estimate_steps(kwargs, mode)
            request = self.budget_request(kwargs, budget.value, mode)
            raw = yield call_of(self.predict, self.call_arguments(kwargs, budget, request))
            skipped = skips_reasoning(raw, calls)
            if skipped and self.on_skip is not None:
                raw = yield from self._again_with_reasoning(raw, kwargs, budget, mode)
        pred = self.to_prediction(raw, calls, budget, mode, request)
        if pred._receipt is not None:
            pred._receipt = replace(pred._receipt, skipped=skipped)
        return pred

    def _again_with_reasoning(
        self, first: dspy.Prediction, kwargs: CallArguments, budget: Budget, mode: Mode
    ) -> Steps[dspy.Prediction]:
        """Ask again as `on_skip` says.

        The answer without reasoning is removed from the trace, of which demos are made. It stands where the second
        call is refused or cannot be read.
        """
        larger = None
        if self.on_skip == "floor":
            larger = max(2 * (budget.tokens or 0), DEFAULT_BUDGET, self.skip_state.least_budget)
        again = replace(budget, tokens=larger, source="fallback", fallback_reason="reasoning skipped")
        request = self.budget_request(kwargs, larger, mode) if larger is not None else BudgetRequest()
        with role("recovery"):
            try:
                second = yield call_of(self.predict, self.call_arguments(kwargs, again, request))
            except (*REFUSED, AdapterParseError):
                return first
        trace = dspy.settings.trace
        if trace is not None:
            trace[:] = [step for step in trace if step[2] is not first]
        return second

    @abstractmethod
    def known_budget(self, kwargs: CallArguments, mode: Mode) -> Budget | None:
        """Return the budget of a call if no estimate is needed for it."""

    def estimate_steps(self, kwargs: CallArguments, mode: Mode) -> Steps[Budget]:
        """Yield the calls that estimate a budget and return it."""
        raise NotImplementedError(f"{type(self).__name__} estimates no budget")

    def split_mode(self, kwargs: CallArguments) -> tuple[CallArguments, Mode]:
        """Return the arguments of a call without `mode`, and the mode."""
        if not self.takes("mode", kwargs):
            return kwargs, self.mode
        rest = {k: v for k, v in kwargs.items() if k != "mode"}
        return rest, self.mode if kwargs["mode"] is None else check_mode(kwargs["mode"])

    def takes(self, name: str, kwargs: Mapping[str, object]) -> bool:
        """Return whether an argument of a call is the module's.

        It is not if the signature has an input of that name.
        """
        return name in kwargs and name not in self.predict.signature.input_fields

    def given_budget(self, kwargs: Mapping[str, Any]) -> Budget | None:
        """Return the budget the caller gives by `token_budget=` or `effort=`.

        It is None if the call gives neither.
        """
        tokens, effort = kwargs.get(BUDGET), kwargs["effort"] if self.takes("effort", kwargs) else None
        value = budget_value(tokens, effort)
        return None if value is None else Budget(value.tokens, "given", effort=value.effort)

    def budget_request(self, kwargs: Mapping[str, object], value: BudgetLike, mode: Mode) -> BudgetRequest:
        """Return what a call sends for a budget."""
        return budget_request(language_model(self.predict, kwargs), value, mode, self.call_settings(kwargs))

    def call_settings(self, kwargs: Mapping[str, Any]) -> JsonObject:
        """Return the settings the caller gives a call, beside the LM's own."""
        return {**self.predict.config, **(kwargs.get("config") or {})}

    def call_arguments(self, kwargs: Mapping[str, Any], budget: Budget, request: BudgetRequest) -> CallArguments:
        """Return the arguments the predictor is called with.

        There is no number where a word stands alone, and no reasoning field where the model thinks natively.
        """
        call = {k: v for k, v in kwargs.items() if k != BUDGET and not (k == "effort" and self.takes(k, kwargs))}
        if budget.tokens is not None:
            call[BUDGET] = budget.tokens
        else:
            signature = kwargs.get("signature", self.predict.signature)
            call["signature"] = signature.delete(BUDGET) if BUDGET in signature.input_fields else signature
        if request.settings:
            call["config"] = {**(kwargs.get("config") or {}), **request.settings}
        return without_reasoning(self.predict, call) if request.thinks else call

    def to_prediction(
        self, raw: dspy.Prediction, calls: list[Call], budget: Budget, mode: Mode, request: BudgetRequest
    ) -> TalePrediction:
        """Return the prediction with its receipt.

        Native thinking is put into a reasoning field that was not asked for.
        """
        pred = self.with_receipt_of(raw, calls, budget)
        with_thought(pred, self.predict, calls)
        if pred._receipt is not None:
            pred._receipt = replace(
                pred._receipt,
                mode=request.mode,
                mode_asked=mode,
                reasoning_params=dict(request.wire),
                reasoning_notes=list(request.notes),
            )
        return pred


def budget_value(tokens: BudgetLike | None, effort: str | None) -> BudgetValue | None:
    """Return the one value of a number and a word given by a caller.

    Each of them may be missing.

    Raises:
        UsageError: If one of them is none; a number in a text is a mistake, as with an int field.
    """
    word = None if effort is None else check_effort(effort)
    if tokens is None:
        return None if word is None else BudgetValue(effort=word)
    if isinstance(tokens, str) and tokens.strip().isdigit():
        return BudgetValue(check_budget(tokens))
    value = BudgetValue.parse(tokens)
    return value if word is None else BudgetValue(value.tokens, word)


def reasoning_modules(program: Program) -> list[Any]:
    """Return, once each, the modules of a program without a number to send."""
    return [module for module in modules_of(program) if isinstance(module, ReasoningModule)]


def budgeted_modules(program: Program) -> list[Any]:
    """Return the modules of a program that send a budget, each once."""
    return [module for module in modules_of(program) if isinstance(module, BudgetedModule)]


def check_reasoning_controls(program: Program, lm: LanguageModel) -> None:
    """Refuse a model that cannot take the budgets of a program.

    They are checked as the program sends them, before anything is asked.

    Args:
        program: Any `dspy.Module`.
        lm: The LM of predictors that have none of their own.

    Raises:
        UsageError: If mode `native` meets a model without a reasoning control.
    """
    for module in budgeted_modules(program):
        module.budget_request({"lm": module.predict.lm or lm}, DEFAULT_THINKING, module.mode)
