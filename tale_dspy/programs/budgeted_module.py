"""What modules with a budget share: a mode, and the one call that is sent with the reasoning control turned.

How a budget becomes settings of a call is in `tale_dspy.backends.reasoning_params`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dspy

from tale_dspy.accounting.receipts import Call
from tale_dspy.adapter import BUDGET
from tale_dspy.backends.reasoning_params import BudgetRequest, Mode, budget_request, check_mode
from tale_dspy.budget import DEFAULT_THINKING, Budget
from tale_dspy.programs.base import SignatureLike, TaleModule, TalePrediction, with_budget, with_reasoning
from tale_dspy.programs.copying import modules_of
from tale_dspy.programs.reasoning_module import ReasoningModule, language_model, with_thought, without_reasoning
from tale_dspy.programs.state import BudgetModeState


class BudgetedModule(TaleModule):
    """A module whose calls carry a budget, in the way `mode` says.

    A call may give `mode=` itself, unless the signature has an input of that name.

    Args:
        signature: Inputs and outputs of the task.
        mode: `prompt` sends the phrase alone, `native` the model's own reasoning control as well, `cap` max_tokens;
        `auto` takes
            the reasoning control of a model that thinks natively, and the phrase for every other.
        adapter: Overrides the adapter for this module alone.
        callbacks: As in `dspy.Module`.
        **config: Settings of each call, such as `temperature`.

    Raises:
        UsageError: If there is no such mode; at a call, if `native` is asked of a model without a reasoning control.
    """

    def __init__(
        self,
        signature: SignatureLike,
        *,
        mode: Mode = "auto",
        adapter: Any = None,
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(signature, adapter=adapter, callbacks=callbacks, **config)
        self.mode_state = BudgetModeState(check_mode(mode))

    @property
    def mode(self) -> Mode:
        """How calls that say nothing else send their budget."""
        return self.mode_state.mode

    @mode.setter
    def mode(self, value: Mode) -> None:
        self.mode_state.mode = check_mode(value)

    @classmethod
    def extend(cls, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        return with_budget(with_reasoning(signature))

    def parted(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], Mode]:
        """Return the arguments of a call without `mode`, and the mode."""
        if "mode" not in kwargs or "mode" in self.predict.signature.input_fields:
            return kwargs, self.mode
        rest = {k: v for k, v in kwargs.items() if k != "mode"}
        return rest, self.mode if kwargs["mode"] is None else check_mode(kwargs["mode"])

    def budget_request(self, kwargs: Mapping[str, Any], tokens: int, mode: Mode) -> BudgetRequest:
        """Return the reasoning control of a call for a budget of so many tokens."""
        return budget_request(language_model(self.predict, kwargs), tokens, mode, self.settings(kwargs))

    def settings(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings the caller gives a call, beside the LM's own."""
        return {**self.predict.config, **(kwargs.get("config") or {})}

    def arguments(self, kwargs: Mapping[str, Any], tokens: int, reasoning_params: BudgetRequest) -> dict[str, Any]:
        """Return what the predictor is called with, without a reasoning field where the model thinks natively."""
        call = {**kwargs, BUDGET: tokens}
        if reasoning_params.settings:
            call["config"] = {**(kwargs.get("config") or {}), **reasoning_params.settings}
        return without_reasoning(self.predict, call) if reasoning_params.thinks else call

    def answered(
        self, raw: Any, calls: list[Call], budget: Budget, mode: Mode, reasoning_params: BudgetRequest
    ) -> TalePrediction:
        """Return the prediction with its receipt; native thinking stands for a reasoning field not asked for."""
        pred = self.prediction(raw, calls, budget)
        with_thought(pred, self.predict, calls)
        if pred._receipt is not None:
            notes = list(reasoning_params.notes)
            pred._receipt = replace(
                pred._receipt,
                mode=reasoning_params.mode,
                mode_asked=mode,
                reasoning_params=dict(reasoning_params.wire),
                reasoning_notes=notes,
            )
        return pred


def reasoning_modules(program: Any) -> list[Any]:
    """Return the modules of a program that reason without a number to send, each once."""
    return [module for module in modules_of(program) if isinstance(module, ReasoningModule)]


def budgeted_modules(program: Any) -> list[Any]:
    """Return the modules of a program that send a budget, each once."""
    return [module for module in modules_of(program) if isinstance(module, BudgetedModule)]


def check_reasoning_controls(program: Any, lm: Any) -> None:
    """Say before anything is asked that a model cannot take its budgets as the program sends them.

    Args:
        program: Any `dspy.Module`.
        lm: The LM of predictors that have none of their own.

    Raises:
        UsageError: If mode `native` meets a model without a reasoning control.
    """
    for module in budgeted_modules(program):
        module.budget_request({"lm": module.predict.lm or lm}, DEFAULT_THINKING, module.mode)
