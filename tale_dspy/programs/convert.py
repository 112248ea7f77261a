"""Budget a program that already exists, in one line."""

import logging
from collections.abc import Iterable
from typing import Any

import dspy

from tale_dspy.adapter import REASONING
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import with_budget
from tale_dspy.programs.copying import copy_program
from tale_dspy.programs.estimator import BudgetEstimator
from tale_dspy.programs.predictor import TalePredict
from tale_dspy.programs.tale_ep import TaleEP

logger = logging.getLogger(__name__)


def budgeted(
    program: Any,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    estimator: dspy.Module | None = None,
) -> Any:
    """Return a copy of a program in which every chain of thought is given a budget first (TALE-EP).

    Each `dspy.ChainOfThought` becomes a `TaleEP` that keeps its signature, instructions, demos, settings, LM and field
    descriptions; a module used in two places stays one. The program itself is not changed. A subclass of
    ChainOfThought with a `forward` of its own is left as it is, with a warning.

    Args:
        program: Any `dspy.Module`; a ChainOfThought itself gives a `TaleEP`.
        include: Names of plain `dspy.Predict`s (as in `program.named_predictors()`) to budget as well.
        exclude: Names of modules to leave alone: a ChainOfThought's (`router`) or its predictor's (`router.predict`).
        estimator: Gives the budgets of all of them; None asks the model with the paper's prompt.

    Raises:
        UsageError: If a name is unknown, or nothing is left to budget.

    Example:
        >>> budgeted(dspy.ChainOfThought("question -> answer"))
        TaleEP('question, token_budget -> reasoning, answer')
    """
    if not isinstance(program, dspy.Module):
        raise UsageError(f"budgeted takes a dspy.Module, got {type(program).__name__}")
    copied = copy_program(program)
    targets = _targets(copied, set(include or ()), set(exclude or ()))
    if not targets:
        raise UsageError(
            f"nothing to budget in {type(program).__name__}: no ChainOfThought is left, name Predicts in include="
        )
    swapped = {id(module): _tale_ep(module, estimator) for module in targets}
    if id(copied) in swapped:
        return swapped[id(copied)]
    _replace(copied, swapped, set())
    return copied


def _targets(program: Any, include: set[str], exclude: set[str]) -> list[Any]:
    modules = {name.removeprefix("self").lstrip("."): m for name, m in program.named_sub_modules(dspy.Module)}
    known = set(modules) | {name.replace("'", "") for name in modules}
    for name in (include | exclude) - known:
        predictors = ", ".join(n for n, _ in program.named_predictors())
        raise UsageError(f"{type(program).__name__} has no module {name!r}; its predictors are {predictors}")
    left_out = {id(modules[n]) for n in exclude if n in modules}
    found = []
    for name, module in modules.items():
        inner = module.predict if _is_cot(module) else None
        if id(module) in left_out or id(inner) in left_out or f"{name}.predict" in exclude:
            continue
        if _is_cot(module) or (name in include and _check_predict(name, module)):
            found.append(module)
    return found


def _is_cot(module: Any) -> bool:
    if not isinstance(module, dspy.ChainOfThought):
        return False
    kind = type(module)
    if kind.forward is not dspy.ChainOfThought.forward or kind.aforward is not dspy.ChainOfThought.aforward:
        logger.warning("%s has a forward of its own and is not budgeted", kind.__name__)
        return False
    return True


def _check_predict(name: str, module: Any) -> bool:
    if not isinstance(module, dspy.Predict):
        raise UsageError(f"include names {name!r}, which is a {type(module).__name__} and not a dspy.Predict")
    return True


def _tale_ep(module: Any, estimator: dspy.Module | None) -> TaleEP:
    """Build the budgeted twin of a ChainOfThought or a Predict around its own signature."""
    old = module.predict if isinstance(module, dspy.ChainOfThought) else module
    new = TaleEP(old.signature.delete(REASONING), estimator=estimator, callbacks=list(module.callbacks))
    predict = TalePredict(with_budget(old.signature), **old.config)
    predict.demos, predict.traces, predict.train = list(old.demos), list(old.traces), list(old.train)
    predict.lm = old.lm
    new.predict = predict
    if isinstance(new.estimator, BudgetEstimator):
        new.estimator.predict.lm = old.lm
    return new


def _replace(holder: Any, swapped: dict[int, Any], seen: set[int]) -> None:
    """Put the twins where the originals stand: in attributes, lists, tuples and dicts, at any depth."""
    if id(holder) in seen:
        return
    seen.add(id(holder))
    items = vars(holder).items() if isinstance(holder, dspy.Module) else holder.items()
    for name, value in list(items):
        new = _swapped(value, swapped, seen)
        if new is not value:
            if isinstance(holder, dspy.Module):
                setattr(holder, name, new)
            else:
                holder[name] = new


def _swapped(value: Any, swapped: dict[int, Any], seen: set[int]) -> Any:
    if id(value) in swapped:
        return swapped[id(value)]
    if isinstance(value, dspy.Module) or isinstance(value, dict):
        _replace(value, swapped, seen)
    elif isinstance(value, list | tuple):
        new = [_swapped(v, swapped, seen) for v in value]
        if any(a is not b for a, b in zip(new, value, strict=True)):
            if isinstance(value, list):
                value[:] = new
            else:
                return tuple(new)
    return value
