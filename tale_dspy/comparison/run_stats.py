"""One side of a comparison: what a run recorded of itself, and what it shows on the draws both sides have."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tale_dspy.comparison.paired import Draws
from tale_dspy.runs.records import Run
from tale_dspy.statistics import mean_complete, quantile


def config_of(run: Run) -> dict[str, Any]:
    """Give the configuration in `run.json`; empty where it is missing or not an object."""
    config = run.info.get("config")
    return config if isinstance(config, dict) else {}


def setting(run: Run, name: str) -> Any:
    """Give a setting of the run: its own entry in the configuration, or among the model's settings."""
    config = config_of(run)
    settings = config.get("settings")
    return config.get(name, settings.get(name) if isinstance(settings, dict) else None)


def data_name(run: Run) -> str | None:
    """Give the name of the run's data set, if recorded."""
    data = config_of(run).get("data")
    name = data.get("name") if isinstance(data, dict) else data
    return None if name is None else str(name)


def prompting(run: Run) -> list[Any] | None:
    """Give instructions and demos of the predictors that are no estimators, names dropped; None if not recorded."""
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


def run_stats(run: Run, shared: Mapping[str, Draws], side: Literal[0, 1]) -> RunStats:
    """Sum up the draws of the baseline (0) or the run (1) that the other side has too."""
    records = [draw[side] for draws in shared.values() for draw in draws]
    latencies = sorted(r.latency_s for r in records if r.latency_s is not None)
    model = config_of(run).get("model")
    return RunStats(
        name=run.name,
        model=None if model is None else str(model),
        unshared=len({r.id for r in run.records} - shared.keys()),
        estimate_tokens=mean_complete(r.estimate_tokens for r in records if r.estimate_tokens is not None),
        latency_p50=quantile(latencies, 0.50),
        latency_p95=quantile(latencies, 0.95),
        outcomes=dict(Counter(r.outcome for r in records)),
        cached=sum(r.cached_calls > 0 for r in records),
        recounted=sum(r.usage_source == "tokenizer" for r in records),
        snapshots=tuple(sorted({r.response_model for r in records if r.response_model})),
    )
