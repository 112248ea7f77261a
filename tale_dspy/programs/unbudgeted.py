"""The way back: find the budgeted predictors of a program, and take the budget off one."""

from typing import Any

import dspy

from tale_dspy.adapter import BUDGET, REASONING
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.copying import modules_of
from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.programs.predictor import TalePredict
from tale_dspy.programs.tale_ep import TaleEP

BudgetedModule = TaleEP | BudgetedChainOfThought


def budgeted_predictors(program: dspy.Module) -> dict[str, BudgetedModule]:
    """Return the modules of a program that are given a budget, by name; the program itself is called `self`.

    What an estimator is made of does not count.
    """
    modules = [(name, m) for name, m in program.named_sub_modules(dspy.Module)]
    estimators = [m.estimator for _, m in modules if isinstance(m, TaleEP)]
    inside = {id(inner) for estimator in estimators for inner in modules_of(estimator)}
    return {
        name.removeprefix("self.") or name: module
        for name, module in modules
        if isinstance(module, BudgetedModule) and id(module) not in inside
    }


def unbudgeted(module: BudgetedModule) -> VanillaCoT:
    """Return the chain of thought that a budgeted module is without its budget.

    It shares demos, LM, adapter and settings with the module; instructions and fields are the same, but for the budget.
    """
    old = module.predict
    signature = old.signature.delete(BUDGET)
    inner = signature.delete(REASONING) if REASONING in signature.output_fields else signature
    plain = VanillaCoT(inner, adapter=module.adapter, callbacks=list(module.callbacks))
    predict: Any = TalePredict(signature)
    predict.__dict__.update({k: v for k, v in vars(old).items() if k != "signature"})
    plain.predict = predict
    plain.seen = module.seen
    return plain


def with_estimator(module: BudgetedModule, estimator: dspy.Module) -> TaleEP:
    """Return a `TaleEP` of the same prompt, whose budgets an estimator gives.

    A `TaleEP` is changed in place: its limits and its choice of inputs stay. Of any other module a new one is made.
    """
    if isinstance(module, TaleEP):
        module.estimator = estimator
        return module
    plain = unbudgeted(module)
    signature = plain.predict.signature
    inner = signature.delete(REASONING) if REASONING in signature.output_fields else signature
    new = TaleEP(inner, estimator, adapter=module.adapter, callbacks=list(module.callbacks))
    new.predict, new.seen = module.predict, module.seen
    return new
