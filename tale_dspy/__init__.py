"""Token-budget-aware reasoning (TALE) for DSPy: ask for a token budget, reason within it, see what it saved.

Every public name is here and loads at first use, so that `import tale_dspy` costs nothing but this file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tale_dspy.adapter import TaleAdapter
    from tale_dspy.backends.lm import LM
    from tale_dspy.budget import Budget, BudgetLimits, read_budget
    from tale_dspy.datasets import Dataset, load_dataset
    from tale_dspy.errors import (
        BackendError,
        DataError,
        MissingExtraError,
        RunFolderError,
        SignatureError,
        SpendCapReached,
        StateError,
        TaleError,
        UnpricedModelError,
        UsageError,
    )
    from tale_dspy.ledger import Ledger, track
    from tale_dspy.optimizers.budget_search import BudgetSearch
    from tale_dspy.optimizers.calibrate import Calibration, calibrate
    from tale_dspy.optimizers.fixed_budget import BestFixedBudget
    from tale_dspy.optimizers.front import Front
    from tale_dspy.optimizers.ideal_range import IdealRange, RangeQuality, estimated_budgets, ideal_range, range_quality
    from tale_dspy.optimizers.internalize import InternalizeBudget
    from tale_dspy.optimizers.pareto import ParetoSearch
    from tale_dspy.optimizers.search_rows import load_search
    from tale_dspy.optimizers.token_metric import token_aware_metric
    from tale_dspy.optimizers.tuning_space import TuningSpace
    from tale_dspy.programs.base import receipt
    from tale_dspy.programs.budgeted import BudgetedChainOfThought
    from tale_dspy.programs.chain_of_draft import ChainOfDraft
    from tale_dspy.programs.concise import Concise
    from tale_dspy.programs.convert import budgeted, unbudgeted
    from tale_dspy.programs.cot import VanillaCoT
    from tale_dspy.programs.direct import DirectAnswer
    from tale_dspy.programs.estimator import BudgetEstimator
    from tale_dspy.programs.few_shot_estimator import FewShotEstimator
    from tale_dspy.programs.regression_estimator import RegressionEstimator
    from tale_dspy.programs.saving import load
    from tale_dspy.programs.self_budgeted import SelfBudgeted
    from tale_dspy.programs.tale_ep import TaleEP
    from tale_dspy.receipts import Call, Price, Receipt
    from tale_dspy.runs.compare import Comparison
    from tale_dspy.runs.engine import evaluate
    from tale_dspy.runs.gate import Verdict, gate
    from tale_dspy.runs.records import Record, Run, load_run
    from tale_dspy.training.distil import Distilled, distil
    from tale_dspy.training.dpo import train_dpo
    from tale_dspy.training.grpo import train_grpo
    from tale_dspy.training.merge import merge_adapter
    from tale_dspy.training.options import DpoOptions, GrpoOptions, SftOptions
    from tale_dspy.training.provider import TrlProvider
    from tale_dspy.training.sft import train_sft
    from tale_dspy.training.trainer import Trained

_HOMES = {
    "adapter": ("TaleAdapter",),
    "backends.lm": ("LM",),
    "budget": ("Budget", "BudgetLimits", "read_budget"),
    "datasets": ("Dataset", "load_dataset"),
    "errors": (
        "BackendError",
        "DataError",
        "MissingExtraError",
        "RunFolderError",
        "SignatureError",
        "SpendCapReached",
        "StateError",
        "TaleError",
        "UnpricedModelError",
        "UsageError",
    ),
    "ledger": ("Ledger", "track"),
    "optimizers.calibrate": ("Calibration", "calibrate"),
    "optimizers.budget_search": ("BudgetSearch",),
    "optimizers.fixed_budget": ("BestFixedBudget",),
    "optimizers.internalize": ("InternalizeBudget",),
    "optimizers.search_rows": ("load_search",),
    "optimizers.token_metric": ("token_aware_metric",),
    "optimizers.ideal_range": (
        "IdealRange",
        "RangeQuality",
        "estimated_budgets",
        "ideal_range",
        "range_quality",
    ),
    "optimizers.pareto": ("ParetoSearch",),
    "optimizers.tuning_space": ("TuningSpace",),
    "optimizers.front": ("Front",),
    "programs.base": ("receipt",),
    "programs.budgeted": ("BudgetedChainOfThought",),
    "programs.chain_of_draft": ("ChainOfDraft",),
    "programs.concise": ("Concise",),
    "programs.convert": ("budgeted", "unbudgeted"),
    "programs.cot": ("VanillaCoT",),
    "programs.direct": ("DirectAnswer",),
    "programs.estimator": ("BudgetEstimator",),
    "programs.few_shot_estimator": ("FewShotEstimator",),
    "programs.regression_estimator": ("RegressionEstimator",),
    "programs.saving": ("load",),
    "programs.self_budgeted": ("SelfBudgeted",),
    "programs.tale_ep": ("TaleEP",),
    "receipts": ("Call", "Price", "Receipt"),
    "runs.compare": ("Comparison",),
    "runs.engine": ("evaluate",),
    "runs.gate": ("Verdict", "gate"),
    "runs.records": ("Record", "Run", "load_run"),
    "training.distil": ("Distilled", "distil"),
    "training.dpo": ("train_dpo",),
    "training.grpo": ("train_grpo",),
    "training.merge": ("merge_adapter",),
    "training.options": ("DpoOptions", "GrpoOptions", "SftOptions"),
    "training.provider": ("TrlProvider",),
    "training.sft": ("train_sft",),
    "training.trainer": ("Trained",),
}
_HOME_OF = {name: f"tale_dspy.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "LM",
    "BackendError",
    "BestFixedBudget",
    "Budget",
    "BudgetEstimator",
    "BudgetLimits",
    "BudgetSearch",
    "BudgetedChainOfThought",
    "Calibration",
    "Call",
    "ChainOfDraft",
    "Comparison",
    "Concise",
    "DataError",
    "Dataset",
    "DirectAnswer",
    "Distilled",
    "DpoOptions",
    "FewShotEstimator",
    "Front",
    "GrpoOptions",
    "IdealRange",
    "InternalizeBudget",
    "Ledger",
    "MissingExtraError",
    "ParetoSearch",
    "Price",
    "RangeQuality",
    "Receipt",
    "Record",
    "RegressionEstimator",
    "Run",
    "RunFolderError",
    "SelfBudgeted",
    "SftOptions",
    "SignatureError",
    "SpendCapReached",
    "StateError",
    "TaleAdapter",
    "TaleEP",
    "TaleError",
    "Trained",
    "TrlProvider",
    "TuningSpace",
    "UnpricedModelError",
    "UsageError",
    "VanillaCoT",
    "Verdict",
    "budgeted",
    "calibrate",
    "distil",
    "estimated_budgets",
    "evaluate",
    "gate",
    "ideal_range",
    "load",
    "load_dataset",
    "load_run",
    "load_search",
    "merge_adapter",
    "range_quality",
    "read_budget",
    "receipt",
    "token_aware_metric",
    "track",
    "train_dpo",
    "train_grpo",
    "train_sft",
    "unbudgeted",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tale-dspy")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tale_dspy' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
