"""The predictor that is searched: it takes its budget from whoever asks, and tells what it was asked and spent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.dsp.utils.settings import settings

from tale_dspy.adapter import BUDGET
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import TalePrediction
from tale_dspy.programs.convert import replace_modules
from tale_dspy.programs.copying import copy_program
from tale_dspy.programs.unbudgeted import BudgetedModule, budgeted_predictors, unbudgeted
from tale_dspy.receipts import Call


@dataclass
class Asked:
    """One answer of a program as its searched predictor sees it: the budget it is given, and what came of it."""

    budget: int | None = None
    """In tokens; None asks without one."""
    inputs: dict[str, Any] | None = None
    """What the predictor was called with, the first time."""
    calls: list[Call] = field(default_factory=list)
    """Its LM calls."""


class Switch(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Stands in for a budgeted predictor, and asks with the budget that is told, or without one.

    Args:
        module: The predictor.
        asked: Gives the answer that is being made at the moment.
    """

    def __init__(self, module: BudgetedModule, asked: Callable[[], Asked]) -> None:
        super().__init__()
        self.budgeted = module
        self.plain = unbudgeted(module)
        self._asked = asked

    def forward(self, **kwargs: Any) -> TalePrediction:
        asked, inputs = self._start(kwargs)
        if asked.budget is None:
            return self._told(asked, self.plain(**inputs))
        return self._told(asked, self.budgeted(**inputs, **{BUDGET: asked.budget}))

    async def aforward(self, **kwargs: Any) -> TalePrediction:
        asked, inputs = self._start(kwargs)
        if asked.budget is None:
            return self._told(asked, await self.plain.acall(**inputs))
        return self._told(asked, await self.budgeted.acall(**inputs, **{BUDGET: asked.budget}))

    def _start(self, kwargs: dict[str, Any]) -> tuple[Asked, dict[str, Any]]:
        asked, inputs = self._asked(), {k: v for k, v in kwargs.items() if k != BUDGET}
        if asked.inputs is None:
            names = self.plain.predict.signature.input_fields
            asked.inputs = {k: v for k, v in inputs.items() if k in names}
        return asked, inputs

    def _told(self, asked: Asked, pred: TalePrediction) -> TalePrediction:
        if pred._receipt is not None:
            asked.calls += pred._receipt.calls
        return pred


def asked_now() -> Asked:
    """Return the answer that is being made in this context, as `dspy.context(tale_asked=...)` has it."""
    found: Asked = settings.tale_asked
    return found


def switched(program: Any, name: str, asked: Callable[[], Asked] = asked_now) -> Any:
    """Return a copy of a program in which one budgeted predictor is a `Switch`.

    Args:
        program: The program; not changed.
        name: The predictor's name, as in `budgeted_predictors`.
        asked: Gives the answer that is being made at the moment.
    """
    copied = copy_program(program)
    module = budgeted_predictors(copied)[name]
    return put(copied, module, Switch(module, asked))


def put(program: Any, old: Any, new: Any) -> Any:
    """Put a module in the place of another, in place, and return the program, which may itself be the one replaced."""
    if program is old:
        return new
    replace_modules(program, {id(old): new})
    return program


def searchable(program: Any) -> list[str]:
    """Return the names of the budgeted predictors of a program.

    Raises:
        UsageError: If there is none.
    """
    if not isinstance(program, dspy.Module):
        raise UsageError(f"the student must be a dspy.Module, got {type(program).__name__}")
    names = list(budgeted_predictors(program))
    if not names:
        raise UsageError(
            f"{type(program).__name__} has no budgeted predictor to search: make it one with tale_dspy.budgeted(...)"
        )
    return names
