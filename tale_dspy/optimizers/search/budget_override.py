"""The predictor that is searched.

It takes its budget from a probe, and records the calls it made.

The module also finds the budgeted predictors of a program, and gives one another estimator.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dspy

from tale_dspy.accounting.calls import Call
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import TalePrediction
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.convert import replace_modules, unbudgeted
from tale_dspy.programs.copying import copy_program, modules_of
from tale_dspy.programs.tale_ep import TaleEP
from tale_dspy.protocols import CallArguments, Program
from tale_dspy.task_signature import BUDGET, REASONING

BudgetedPredictor = TaleEP | BudgetedChainOfThought


@dataclass
class ProbeContext:
    """One answer of a program as its searched predictor sees it.

    It holds the budget the predictor is given, and the calls it makes.
    """

    budget: int | str | None = None
    """In tokens, or an effort word; None asks without one."""
    inputs: CallArguments | None = None
    """What the predictor was called with, the first time."""
    calls: list[Call] = field(default_factory=list)
    """Its LM calls."""


class BudgetOverride(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Stand in for a budgeted predictor and ask as a probe says.

    The probe gives a budget, or asks without one.

    Args:
        module: The predictor.
        probe_of: Gives the probe that is being made at the moment.
    """

    def __init__(self, module: BudgetedPredictor, probe_of: Callable[[], ProbeContext]) -> None:
        super().__init__()
        self.budgeted = module
        self.plain = unbudgeted(module)
        self._probe_of = probe_of

    def forward(self, **kwargs: object) -> TalePrediction:
        probe, inputs = self._inputs_under_probe(kwargs)
        if probe.budget is None:
            return self._record_prediction(probe, self.plain(**self._without_mode(inputs)))
        return self._record_prediction(probe, self.budgeted(**inputs, **{BUDGET: probe.budget}))

    async def aforward(self, **kwargs: object) -> TalePrediction:
        probe, inputs = self._inputs_under_probe(kwargs)
        if probe.budget is None:
            return self._record_prediction(probe, await self.plain.acall(**self._without_mode(inputs)))
        return self._record_prediction(probe, await self.budgeted.acall(**inputs, **{BUDGET: probe.budget}))

    def _inputs_under_probe(self, kwargs: CallArguments) -> tuple[ProbeContext, CallArguments]:
        probe, inputs = self._probe_of(), {k: v for k, v in kwargs.items() if k != BUDGET}
        if probe.inputs is None:
            names = self.plain.predict.signature.input_fields
            probe.inputs = {k: v for k, v in inputs.items() if k in names}
        return probe, inputs

    def _without_mode(self, inputs: CallArguments) -> CallArguments:
        """Return the inputs without `mode`.

        A call may say how its budget is sent, which a call without a budget does not take.
        """
        return {k: v for k, v in inputs.items() if k != "mode" or k in self.plain.predict.signature.input_fields}

    def _record_prediction(self, probe: ProbeContext, pred: Any) -> TalePrediction:
        prediction: TalePrediction = pred
        if prediction._receipt is not None:
            probe.calls += prediction._receipt.calls
        return prediction


def current_probe() -> ProbeContext:
    """Return the probe of the answer that is being made in this context.

    It is set by `dspy.context(tale_probe=...)`.
    """
    probe: ProbeContext = dspy.settings.tale_probe
    return probe


def with_budget_override(program: Program, name: str, probe_of: Callable[[], ProbeContext] = current_probe) -> Any:
    """Return a copy of a program with one predictor overridden.

    That budgeted predictor is replaced by a `BudgetOverride`.

    Args:
        program: The program; not changed.
        name: The predictor's name, as in `budgeted_predictors`.
        probe_of: Gives the answer that is being made at the moment.
    """
    copied = copy_program(program)
    module = budgeted_predictors(copied)[name]
    return replace_module(copied, module, BudgetOverride(module, probe_of))


def replace_module(program: Program, old: object, new: object) -> Any:
    """Replace a module of a program in place, and return the program.

    The program may itself be the module that is replaced.
    """
    if program is old:
        return new
    replace_modules(program, {id(old): new})
    return program


def budgeted_predictors(program: dspy.Module | Program) -> dict[str, BudgetedPredictor]:
    """Return the modules of a program that are given a budget, by name.

    The program itself is called `self`. What an estimator is made of does not count.
    """
    modules = list(program.named_sub_modules(dspy.Module))
    estimators = [m.estimator for _, m in modules if isinstance(m, TaleEP)]
    inside = {id(inner) for estimator in estimators for inner in modules_of(estimator)}
    return {
        name.removeprefix("self."): module
        for name, module in modules
        if isinstance(module, BudgetedPredictor) and id(module) not in inside
    }


def task_of(module: BudgetedPredictor) -> type[dspy.Signature]:
    """Return a budgeted module's signature without budget and reasoning."""
    signature = module.predict.signature.delete(BUDGET)
    without_reasoning: type[dspy.Signature] = (
        signature.delete(REASONING) if REASONING in signature.output_fields else signature
    )
    return without_reasoning


def with_estimator(module: BudgetedPredictor, estimator: dspy.Module) -> TaleEP:
    """Return a `TaleEP` of the same prompt, whose budgets an estimator gives.

    A `TaleEP` is changed in place: its limits and its choice of inputs stay. Of any other module a new one is made.
    """
    if isinstance(module, TaleEP):
        module.estimator = estimator
        return module
    callbacks = list(module.callbacks)
    new = TaleEP(task_of(module), estimator, mode=module.mode, adapter=module.adapter, callbacks=callbacks)
    new.predict, new.seen, new.skip_state = module.predict, module.seen, module.skip_state
    return new


def searchable_predictors(program: Program) -> list[str]:
    """Return the names of the budgeted predictors of a program.

    Raises:
        UsageError: If there is none.
    """
    if not isinstance(program, dspy.Module):
        raise UsageError(f"the student must be a dspy.Module, got {type(program).__name__}")
    names = list(budgeted_predictors(program))
    if not names:
        raise UsageError(
            f"{type(program).__name__} has no budgeted predictor: take tale-ep or budget:N, or make it "
            "one with tale_dspy.budgeted(...)"
        )
    return names
