"""The face of the package: every name there, none of it loaded before it is used."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import tale_dspy

NAMES = [
    "BackendError",
    "BatchWaiting",
    "BestFixedBudget",
    "Budget",
    "BudgetEstimator",
    "BudgetLimits",
    "BudgetSearch",
    "BudgetSweep",
    "BudgetValue",
    "BudgetedChainOfThought",
    "Calibration",
    "Call",
    "ChainOfDraft",
    "Comparison",
    "Concise",
    "DataError",
    "Dataset",
    "DirectAnswer",
    "DistillationResult",
    "DpoOptions",
    "EffortEstimator",
    "FewShotEstimator",
    "GateResult",
    "GrpoOptions",
    "IdealRange",
    "IdealRangeMetrics",
    "InternalizeBudget",
    "LM",
    "Ledger",
    "MissingExtraError",
    "NoThinking",
    "ParetoFront",
    "ParetoSearch",
    "Price",
    "Receipt",
    "Record",
    "RegressionEstimator",
    "Run",
    "RunFolderError",
    "SearchSpace",
    "SelfBudgeted",
    "SftOptions",
    "SignatureError",
    "SketchOfThought",
    "SpendCapReached",
    "StateError",
    "TaleAdapter",
    "TaleEP",
    "TaleError",
    "TrainedAdapter",
    "TrlProvider",
    "UnpricedModelError",
    "UsageError",
    "VanillaCoT",
    "Vote",
    "budgeted",
    "calibrate",
    "distill",
    "distinct_settings",
    "effort_words",
    "estimated_budgets",
    "evaluate",
    "ideal_range",
    "ideal_range_metrics",
    "load",
    "load_dataset",
    "load_run",
    "load_search",
    "merge_adapter",
    "noninferiority_test",
    "read_budget",
    "receipt",
    "register_control",
    "sweep_budgets",
    "token_aware_metric",
    "track",
    "train_dpo",
    "train_grpo",
    "train_sft",
    "unbudgeted",
]


def in_a_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_public_names_are_these() -> None:
    assert sorted(tale_dspy.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_is_what_it_says(name: str) -> None:
    value = getattr(tale_dspy, name)
    assert value.__name__ == name
    assert value.__module__.startswith("tale_dspy.")
    assert vars(tale_dspy)[name] is value  # found at once from now on


def test_type_checkers_see_the_same_names() -> None:
    stub = ast.parse(Path(tale_dspy.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    assert sorted(alias.asname or alias.name for node in imports for alias in node.names) == NAMES


def test_dir_tells_every_name() -> None:
    assert set(NAMES) <= set(dir(tale_dspy))
    assert dir(tale_dspy) == sorted(dir(tale_dspy))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="tale_dspy attribute nothing"):
        tale_dspy.nothing  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    assert tale_dspy.__version__ == importlib.metadata.version("tale-dspy")


def test_a_star_import_brings_the_public_names_alone() -> None:
    code = "from tale_dspy import *; print(*sorted(k for k in globals() if not k.startswith('_')))"
    assert in_a_process(code).split() == sorted(NAMES)


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys; old = {*sys.modules}; import tale_dspy; print(*{*sys.modules} - old)"
    rooms = {name.partition(".")[0] for name in in_a_process(code).split()} - {*sys.stdlib_module_names}
    assert rooms == {"tale_dspy", "lazy_loader"}
    assert "tale_dspy." not in in_a_process(code)


@pytest.mark.parametrize(
    "name", ["Budget", "read_budget", "UsageError", "load_run", "Record", "Run", "noninferiority_test"]
)
def test_names_that_call_no_model_load_without_dspy(name: str) -> None:
    code = f"import sys; from tale_dspy import {name}; print('dspy' in sys.modules, 'litellm' in sys.modules)"
    assert in_a_process(code) == "False False"
