"""One side of a comparison.

It is what a run recorded of itself, and its figures on the draws both sides have.
"""

from dataclasses import dataclass
from itertools import islice
from typing import Any

from tale_dspy.protocols import JsonObject
from tale_dspy.runs.columns import RunColumns
from tale_dspy.runs.record import OUTCOMES
from tale_dspy.runs.records import Run
from tale_dspy.statistics import quantile


def config_of(run: Run) -> JsonObject:
    """Return the configuration in `run.json`.

    It is empty where it is missing or no object.
    """
    config = run.info.get("config")
    return config if isinstance(config, dict) else {}


FIRST_ANSWERS = 1000
"""Answers among which one with an effort word is looked for; columns hold budgets in tokens alone."""


def has_budget(run: Run) -> bool:
    """Return whether a run's answers were given a number or word as budget."""
    budgets = run.columns.token_budget
    if bool((budgets == budgets).any()):  # NaN is none
        return True
    return any(record.effort is not None for record in islice(run.iter_records(), FIRST_ANSWERS))


def setting(run: Run, name: str) -> Any:
    """Return a setting of a run.

    It is the entry in the configuration, or else the one among the model's settings.
    """
    config = config_of(run)
    settings = config.get("settings")
    return config.get(name, settings.get(name) if isinstance(settings, dict) else None)


def data_name(run: Run) -> str | None:
    """Return the name of the run's data set, if recorded."""
    data = config_of(run).get("data")
    name = data.get("name") if isinstance(data, dict) else data
    return None if name is None else str(name)


def prompting(run: Run) -> list[Any] | None:
    """Return instructions and demos of the predictors, without their names.

    Estimators are left out; the result is None if it was not recorded.
    """
    value = config_of(run).get("prompting")
    if not isinstance(value, list) or not value or not all(isinstance(v, (list, tuple)) and len(v) > 1 for v in value):
        return None
    return [list(v[1:]) for v in value]


@dataclass(frozen=True)
class RunStats:
    """What one run alone shows on the shared draws."""

    name: str
    model: str | None
    unshared: int
    """Questions that only this side has."""
    estimate_tokens: float | None
    """Mean completion tokens of the budget calls, over the draws that had one."""
    latency_p50: float | None
    latency_p95: float | None
    outcomes: dict[str, int]
    """Draws by outcome; absent means 0."""
    cached: int
    """Draws answered from a cache, at least in part."""
    recounted: int
    """Draws whose tokens a tokenizer counted because the provider reported none."""
    snapshots: tuple[str, ...]
    """The model snapshots the provider named, sorted."""
    reasoning_asked: int = 0
    """Replies of the whole run that were asked to show their reasoning."""
    skipped: int = 0
    """Those of them that have none."""
    paid: int = 0
    """Calls of the whole run that were paid."""
    batched: int = 0
    """Those of them that a batch API answered, at half the price."""


def run_stats(run: Run, shared: RunColumns, questions: int) -> RunStats:
    """Sum up the draws of a run that the other side has too.

    Args:
        run: The run.
        shared: The columns of its shared draws.
        questions: How many questions they are of.
    """
    import numpy as np

    model = config_of(run).get("model")
    estimates, latencies = (values[~np.isnan(values)] for values in (shared.estimate_tokens, shared.latency_s))
    outcomes = np.bincount(shared.outcome, minlength=len(OUTCOMES)).tolist()
    return RunStats(
        name=run.name,
        model=None if model is None else str(model),
        unshared=len(run.columns.question_ids()) - questions,
        estimate_tokens=float(estimates.mean()) if len(estimates) else None,
        latency_p50=quantile(latencies, 0.50),
        latency_p95=quantile(latencies, 0.95),
        outcomes={name: count for name, count in zip(OUTCOMES, outcomes, strict=True) if count},
        cached=int((shared.cached_calls > 0).sum()),
        recounted=shared.usage_source.counts().get("tokenizer", 0),
        snapshots=tuple(sorted(text for text in shared.response_model.counts() if text)),
        reasoning_asked=run.total.counts["reasoning_asked"],
        skipped=run.total.counts["reasoning_skipped"],
        paid=run.total.counts["paid_calls"],
        batched=run.total.counts["batch_calls"],
    )
