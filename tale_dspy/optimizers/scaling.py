"""Scale the budgets of a program, or change its estimators' confidence.

A factor changes the limits of each `TaleEP` in it, and each fixed budget; a confidence changes estimators of words.
"""

import math
from dataclasses import replace
from typing import Any

import dspy

from tale_dspy.errors import UsageError
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.copying import copy_program, modules_of
from tale_dspy.programs.estimators.effort_estimator import EffortEstimator
from tale_dspy.programs.state import BudgetState
from tale_dspy.programs.tale_ep import TaleEP
from tale_dspy.protocols import Program


def budget_states(program: dspy.Module | Program) -> list[tuple[Any, BudgetState]]:
    """Return the modules of a program that choose budgets.

    Each comes with the state its budgets come from.

    Raises:
        UsageError: If there is none, or one waits for its caller to give a budget.
    """
    modules: list[tuple[Any, BudgetState]] = []
    for module in modules_of(program):
        if isinstance(module, TaleEP):
            modules.append((module, module.limits))
        elif isinstance(module, BudgetedChainOfThought):
            if module.token_budget is None and module.effort is None:
                raise UsageError("a BudgetedChainOfThought without a budget of its own has none to scale: set one")
            modules.append((module, module.fixed))
    if not modules:
        raise UsageError(
            f"{type(program).__name__} holds no TaleEP and no BudgetedChainOfThought: there is no budget to scale"
        )
    return modules


def has_scalable_budgets(program: Any) -> bool:
    """Return whether `scaled` can multiply every budget of a program."""
    modules = list(modules_of(program))
    fixed = [m for m in modules if isinstance(m, BudgetedChainOfThought)]
    return all(m.token_budget is not None for m in fixed) and not any(map(_estimates_words, modules))


def _estimates_words(module: object) -> bool:
    return isinstance(module, TaleEP) and isinstance(module.estimator, EffortEstimator)


def scaled(program: Any, factor: float) -> Any:
    """Return a copy of a program with all budgets multiplied by a factor.

    A calibration of the old budgets is removed.

    Args:
        program: Holds one or more budgeted modules; not changed.
        factor: Above 0. Fixed budgets are rounded up to whole tokens.

    Raises:
        UsageError: If the factor is no positive number, or there is nothing to scale.
    """
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise UsageError(f"a scale must be a positive number, got {factor!r}")
    copied = copy_program(program)
    for module, state in budget_states(copied):
        if _estimates_words(module):
            raise UsageError("an EffortEstimator gives words, which cannot be multiplied: calibrate over confidences=")
        if isinstance(module, TaleEP):
            module.limits.value = replace(module.limits.value, scale=module.limits.value.scale * factor)
        elif module.token_budget is None:
            raise UsageError(f"effort {module.effort} cannot be multiplied: calibrate over efforts=")
        else:
            module.token_budget = math.ceil(module.token_budget * factor - 1e-9)  # 10 * 0.7 is a little more than 7
        state.guarantee = None
    return copied


def with_confidence(program: Any, confidence: float) -> Any:
    """Return a copy of a program with another estimator confidence.

    Its estimators of effort words then choose a word of at least this confidence.

    Args:
        program: Holds one or more `TaleEP` with a fitted `EffortEstimator`; not changed.
        confidence: Probability, from 0 to 1, that a predicted word must suffice with.

    Raises:
        UsageError: If it is no probability, or there is no such estimator.
    """
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise UsageError(f"a confidence must be between 0 and 1, got {confidence!r}")
    copied = copy_program(program)
    modules = [module for module in modules_of(copied) if isinstance(module, TaleEP)]
    estimating = [m for m in modules if isinstance(m.estimator, EffortEstimator) and m.estimator.fitted is not None]
    if not estimating:
        raise UsageError(f"{type(program).__name__} has no fitted EffortEstimator whose confidence could be set")
    for module in estimating:
        estimator: Any = module.estimator
        estimator.regression.value = replace(estimator.fitted, confidence=float(confidence))
        module.limits.guarantee = None
    return copied
