"""Budget a program that already exists, in one line, or take its budgets off."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import dspy

from tale_dspy.adapter import TaleAdapter
from tale_dspy.backends.budget_planner import Mode
from tale_dspy.errors import UsageError
from tale_dspy.programs.base import with_budget
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.budgeted_react import budget_react
from tale_dspy.programs.copying import copy_program, modules_of
from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.programs.estimators.estimator import BudgetEstimator
from tale_dspy.programs.predictor import TalePredict, load_parameters
from tale_dspy.programs.recovery import Policy
from tale_dspy.programs.shadow import ShadowCheck
from tale_dspy.programs.tale_ep import TaleEP
from tale_dspy.protocols import Program
from tale_dspy.task_signature import BUDGET, REASONING

logger = logging.getLogger(__name__)


def budgeted(
    program: Program,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    estimator: dspy.Module | None = None,
    mode: Mode = "auto",
    on_truncation: Policy | None = None,
    shadow_rate: float | ShadowCheck | None = None,
    adapter: dspy.Adapter | None = None,
    total_budget: int | None = None,
    effort: str | None = None,
) -> Any:
    """Return a copy of a program whose chains of thought get budgets.

    Each chain of thought first asks for its budget (TALE-EP).

    Each `dspy.ChainOfThought` becomes a `TaleEP` that keeps its signature, instructions, demos, settings, LM,
    callbacks, field descriptions and what was set on the instance; a module used in two places stays one. The program
    itself is not changed. A ChainOfThought with a `forward` of its own, by its class or set on it (`dspy.KNNFewShot`),
    is left as it is, with a warning. The adapter stays what it was, also where none is configured: a saving is the
    budget's, and not that of another prompt. A state that was saved from the program, before or after, loads into the
    copy by field name.

    Args:
        program: Any `dspy.Module`; a ChainOfThought itself gives a `TaleEP`.
        include: Names of plain `dspy.Predict`s (as in `program.named_predictors()`) to budget as well.
        exclude: Names of modules to leave alone, with all they hold: a ChainOfThought's (`router`) or its predictor's
            (`router.predict`).
        estimator: Gives the budgets of all of them; None asks the model with the paper's prompt.
        mode: How budgets are sent: `auto`, `prompt`, `native` or `cap` (see `BudgetedModule`).
        on_truncation: What is done about an answer that was cut (`TaleModule`); None leaves a module the policy it has.
        shadow_rate: Share of the calls of each that are also asked without a budget (`TaleEP`).
        adapter: Adapter of the budgeted modules alone; None leaves each the one it has.
        total_budget: Completion tokens for a whole trajectory of each `dspy.ReAct`: each of its steps is told what is
            left, and its effort is lowered as that runs out (`BudgetedReAct`).
        effort: With `total_budget`, the highest effort word of a step.

    Raises:
        SignatureError: If a signature has a field of a name `TaleEP` adds or reserves.
        UsageError: If a name is unknown, nothing is left to budget, or an option cannot be used.

    Example:
        >>> budgeted(dspy.ChainOfThought("question -> answer"))
        TaleEP('question, token_budget -> reasoning, answer')
    """
    if not isinstance(program, dspy.Module):
        raise UsageError(f"budgeted takes a dspy.Module, got {type(program).__name__}")
    copied = copy_program(program)
    agents = _find_agents(copied, _plain_names(exclude)) if total_budget is not None else []
    if total_budget is not None and not agents:
        raise UsageError(f"total_budget is for a dspy.ReAct, and {type(program).__name__} holds none that is left")
    targets = _find_targets(copied, _plain_names(include), _plain_names(exclude), agents)
    if not targets and not agents:
        raise UsageError(
            f"nothing to budget in {type(program).__name__}: no ChainOfThought is left, name Predicts in include="
        )
    options = {"mode": mode, "shadow_rate": shadow_rate, "adapter": adapter}
    swapped: dict[int, Any] = {id(module): _tale_ep(module, estimator, **options) for module in targets}
    for new in swapped.values() if on_truncation is not None else ():
        new.on_truncation = on_truncation
    for agent in agents:
        swapped[id(agent)] = budget_react(agent, total_budget or 0, effort)
    root = swapped.get(id(copied), copied)
    if root is copied:
        replace_modules(copied, swapped)
    if type(root).load_state is dspy.Module.load_state:
        root.load_state = _LoadByName(root)
    return root


def unbudgeted(program: Any) -> Any:
    """Return a copy of a program in which nothing is given a budget.

    It undoes `budgeted`. Each `TaleEP` and `BudgetedChainOfThought` becomes a `VanillaCoT` that keeps its signature,
    instructions, demos, settings, LM, callbacks, adapter and memory of questions: what budgets are compared with. A
    `BudgetedReAct` stays as it is.

    Raises:
        UsageError: If it is no program, or holds none of the two.
    """
    if not isinstance(program, dspy.Module):
        raise UsageError(f"unbudgeted takes a dspy.Module, got {type(program).__name__}")
    copied = copy_program(program)
    swapped = {id(m): _vanilla_twin(m) for m in modules_of(copied) if isinstance(m, TaleEP | BudgetedChainOfThought)}
    if not swapped:
        raise UsageError(
            f"{type(program).__name__} holds no TaleEP and no BudgetedChainOfThought: no budget can be taken off"
        )
    if id(copied) not in swapped:
        replace_modules(copied, swapped)
    return swapped.get(id(copied), copied)


def _vanilla_twin(module: Any) -> VanillaCoT:
    """Build the twin of a budgeted module that reasons without a budget."""
    old = module.predict
    signature = old.signature.delete(BUDGET)
    inner = signature.delete(REASONING) if REASONING in signature.output_fields else signature
    mode: Mode = "prompt" if module.mode == "prompt" else "auto"
    new = VanillaCoT(inner, mode=mode, adapter=module.adapter, callbacks=list(module.callbacks))
    predict: Any = TalePredict(signature)
    predict.__dict__.update({k: v for k, v in vars(old).items() if k != "signature"})
    predict.demos = [demo.without(BUDGET) if isinstance(demo, dspy.Example) else demo for demo in old.demos]
    new.predict, new.seen, new._compiled = predict, module.seen, module._compiled
    return new


class _LoadByName:
    """Stand in for DSPy's `load_state`.

    DSPy's own raises KeyError at a state saved before the program was budgeted.
    """

    def __init__(self, program: dspy.Module) -> None:
        self.program = program

    def __call__(self, state: Mapping[str, object], *, allow_unsafe_lm_state: bool = False) -> None:
        load_parameters(self.program, state, allow_unsafe_lm_state=allow_unsafe_lm_state)


# ---- which modules


def _plain_names(names: Iterable[str] | None) -> set[str]:
    """Bring names into one form.

    Quotes around keys are removed, and the program itself is the empty name.
    """
    chosen_names = [names] if isinstance(names, str) else names or ()
    plain = (name.replace("'", "").replace('"', "") for name in chosen_names)
    return {"" if name == "self" else name.removeprefix("self.") for name in plain}


def _find_agents(program: Program, exclude: set[str]) -> list[Any]:
    """Return the agents of a program that are not excluded.

    An agent with a `forward` of its own is left alone.
    """
    modules = {name.removeprefix("self").lstrip("."): m for name, m in program.named_sub_modules(dspy.Module)}
    left_alone = {id(inner) for name in exclude & modules.keys() for inner in modules_of(modules[name])}
    return [m for m in modules.values() if type(m) is dspy.ReAct and id(m) not in left_alone]


def _find_targets(
    program: Program, include: set[str], exclude: set[str], agents: Iterable[dspy.Module] = ()
) -> list[Any]:
    modules = {name.removeprefix("self").lstrip("."): m for name, m in program.named_sub_modules(dspy.Module)}
    for name in sorted((include | exclude) - modules.keys()):
        predictors = ", ".join(n for n, _ in program.named_predictors())
        raise UsageError(f"{type(program).__name__} has no module {name!r}; its predictors are {predictors}")
    left_alone = {id(inner) for name in exclude for inner in modules_of(modules[name])}
    left_alone |= {id(inner) for m in modules.values() if isinstance(m, TaleEP) for inner in modules_of(m)}
    left_alone |= {id(inner) for agent in agents for inner in modules_of(agent)}
    targets = []
    for name, module in modules.items():
        if id(module) in left_alone or id(_inner_predictor(module)) in left_alone:
            continue
        if _is_cot(module) or (name in include and _check_predict(name, module)):
            targets.append(module)
    return targets


def _inner_predictor(module: Any) -> Any:
    return module.predict if isinstance(module, dspy.ChainOfThought | VanillaCoT) else module


def _is_cot(module: Any) -> bool:
    if type(module) is VanillaCoT:
        return True
    if not isinstance(module, dspy.ChainOfThought):
        return False
    kind = type(module)
    own_forward = kind.forward is not dspy.ChainOfThought.forward or kind.aforward is not dspy.ChainOfThought.aforward
    if own_forward or type(module.predict) is not dspy.Predict:
        logger.warning("%s has a forward or predictor of its own and is not budgeted", kind.__name__)
        return False
    if {"forward", "aforward"} & vars(module).keys():
        logger.warning("a forward is set on a %s, as one compiled by KNNFewShot has: not budgeted", kind.__name__)
        return False
    return True


def _check_predict(name: str, module: Program) -> bool:
    if type(module) is not dspy.Predict:
        raise UsageError(f"include names {name!r}, which is a {type(module).__name__} and not a dspy.Predict")
    return True


# ---- putting the twins in their places


def _tale_ep(module: Any, estimator: dspy.Module | None, **options: Any) -> TaleEP:
    """Build the budgeted twin of a chain of thought or Predict, same signature."""
    old = _inner_predictor(module)
    inner = old.signature.delete(REASONING) if REASONING in old.signature.output_fields else old.signature
    vanilla = module if isinstance(module, VanillaCoT) else None
    callbacks = list(module.callbacks) if module is not old else []
    adapter = options.pop("adapter", None) or (vanilla.adapter if vanilla else None)
    new = TaleEP(inner, estimator, adapter=adapter, callbacks=callbacks, **options)
    predict: Any = TalePredict(with_budget(old.signature))
    # All but the signature: demos, settings, LM, callbacks. The old one belongs to the copy and is not used any more.
    predict.__dict__.update({k: v for k, v in vars(old).items() if k != "signature"})
    if not vanilla:
        predict.default_adapter = dspy.ChatAdapter()  # as DSPy has it: the budget is all that changes
        if estimator is None and isinstance(new.estimator, BudgetEstimator):
            new.estimator.adapter = TaleAdapter()
    new.predict = predict
    new._compiled = module._compiled
    if module is not old:  # what a user set on the instance
        state: Any = new.__dict__
        state.update({k: v for k, v in vars(module).items() if k not in vars(new) and k != "mode_state"})
    if vanilla:
        new.seen = vanilla.seen
    if estimator is None and isinstance(new.estimator, BudgetEstimator):
        new.estimator.predict.lm = old.lm
    return new


def replace_modules(holder: object, swapped: dict[int, Any], visited: set[int] | None = None) -> None:
    """Replace modules in place.

    It looks into attributes, lists, tuples and dicts, at any depth.

    Args:
        holder: A module, list or dict; changed in place.
        swapped: What comes in the place of a module, by the `id` of that.
        visited: Ids of what was searched already.
    """
    visited = set() if visited is None else visited
    items: Any = vars(holder) if isinstance(holder, dspy.Module) else holder
    for key, value in list(items.items() if isinstance(items, dict) else enumerate(items)):
        new = _replaced_value(value, swapped, visited)
        if new is not value:
            items[key] = new


def _replaced_value(value: object, swapped: dict[int, object], visited: set[int]) -> Any:
    if id(value) in swapped:
        return swapped[id(value)]
    if isinstance(value, tuple):
        new = [_replaced_value(v, swapped, visited) for v in value]
        if all(a is b for a, b in zip(new, value, strict=True)):
            return value
        return tuple(new) if type(value) is tuple else type(value)(*new)  # a named tuple takes them one by one
    if isinstance(value, dspy.Module | dict | list) and id(value) not in visited:
        visited.add(id(value))
        replace_modules(value, swapped, visited)
    return value
