"""Which runs belong together in one curve, and what they must have in common."""

import json
from collections.abc import Collection, Sequence

from tale_dspy.comparison.run_stats import config_of, data_name, has_budget
from tale_dspy.runs.records import Run

VANILLA = ("VanillaCoT", "ChainOfThought")
"""Classes of programs that reason without any budget."""
OF_THE_PROGRAM = {"program", "adapter", "prompting"}
"""Settings that differ from one program to the next."""
NOT_THE_EXPERIMENT = {"data", "price", "repeats", "train", "budgets", "engine", "paper_counts"}
"""Settings that decide nothing that a curve shows; the data set counts by its name."""


def experiment(run: Run, apart: Collection[str]) -> str:
    """Write down what two runs must have in common, some settings apart."""
    settings = {key: value for key, value in config_of(run).items() if key not in apart}
    return json.dumps([data_name(run), settings], sort_keys=True, default=str)


def vanilla_run(others: Sequence[Run], first: Run) -> Run | None:
    """Return the first chain of thought without a budget.

    Without any, it is `first` if that is one of `others` and has no budget; else None.
    """
    plain = [run for run in others if not has_budget(run)]
    reasoning = [run for run in plain if run.info.get("program", {}).get("class") in VANILLA]
    return next(iter([*reasoning, *(run for run in plain if run is first)]), None)
