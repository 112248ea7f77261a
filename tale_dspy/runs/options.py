"""How a run is done: options of `evaluate` that do not change what is asked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypedDict

from tale_dspy.backends.prices import Price
from tale_dspy.errors import UsageError
from tale_dspy.protocols import LanguageModel
from tale_dspy.runs.record import Record
from tale_dspy.runs.shards import Shard
from tale_dspy.runs.summary import RunSummary


@dataclass
class Tally:
    """Running figures of a run, for a progress bar.

    Questions of an earlier process are included.
    """

    total: int
    """Questions times repeats."""
    done: int = 0
    correct: int = 0
    output_tokens: int = 0
    counted: int = 0
    """Records with known output tokens."""
    spent_usd: float = 0.0
    unpriced: int = 0
    """Records whose cost is not known, and therefore not in `spent_usd`."""
    resumed: int = 0
    """Records that were there before."""

    def start_from(self, summary: RunSummary) -> None:
        """Count in what was finished before."""
        self.done = summary.records
        self.correct = summary.outcomes["correct"]
        self.output_tokens = int(summary.means["output_tokens"].total.value)
        self.counted = summary.means["output_tokens"].count
        self.spent_usd, self.unpriced = summary.cost.total.value, summary.cost.unknown

    def add(self, record: Record) -> None:
        """Count one record in."""
        self.done += 1
        self.correct += record.correct
        self.spent_usd += record.cost_usd or 0.0
        self.unpriced += record.cost_usd is None and record.calls > 0
        if record.output_tokens is not None:
            self.output_tokens += record.output_tokens
            self.counted += 1


class Options(TypedDict, total=False):
    """Keyword arguments of `evaluate`.

    Program, examples, metric and folder are its positional ones.
    """

    lm: LanguageModel
    adapter: Any
    name: str
    concurrency: int
    repeats: int
    threshold: float
    max_usd: float | None
    max_total_output_tokens: int | None
    price: Price | None
    timeout: float | None
    retries: int
    retry_errors: bool
    paper_counts: bool
    seen: Mapping[str, str]
    allow_leak: bool
    provenance: str | None
    shard: str | None
    batch: bool
    batch_wait: float
    config: Mapping[str, Any]
    progress: Callable[[Tally], None] | None


MOST = 1_000_000
"""More questions at once, draws of one, or attempts of a call are a slip of the keyboard."""


@dataclass(frozen=True)
class RunOptions:
    """The options of a run, checked.

    Raises:
        UsageError: If one is out of its range.
    """

    lm: LanguageModel | None = None
    """Language model of predictors that have none of their own; None takes the configured one."""
    adapter: Any = None
    """Adapter in force during the run; None leaves the configured one, or the module's default."""
    name: str | None = None
    """Name of the program in tables; None takes its class."""
    concurrency: int = 32
    """Questions worked on at the same time."""
    repeats: int = 1
    """Fresh draws of each question; beyond the first none comes from a cached reply of another."""
    threshold: float = 1.0
    """Score from which on an answer counts as correct."""
    max_usd: float | None = None
    """Cap on US dollars for this process; nothing that could pass it is sent."""
    max_total_output_tokens: int | None = None
    """Cap on completion tokens for this process."""
    price: Price | None = None
    """Price per token that overrides the known one."""
    timeout: float | None = 120.0
    """Seconds without an answer after which a request is given up; None leaves the LM's own."""
    retries: int = 5
    """Further attempts of a call after 429, 5xx, time-outs, drops and broken replies."""
    retry_errors: bool = False
    """Whether questions that ended in `error` before are asked again."""
    paper_counts: bool = False
    """Whether the paper's token count (cl100k) and judge are kept beside ours."""
    seen: Mapping[str, str] | None = None
    """Ids of questions the program was tuned on, with the role: `train`, `val`, `search`."""
    allow_leak: bool = False
    """Whether evaluating on such questions is allowed; the run is then marked contaminated."""
    provenance: str | None = None
    """What every figure is evidence of, such as `simulated`."""
    shard: str | None = None
    """`I/N`: ask only the questions of this part, in a folder of its own under `out`; the caps are divided by N."""
    batch: bool = False
    """Whether calls go through the provider's batch API, in rounds and at half the price; needs a folder."""
    batch_wait: float = 24.0
    """Hours to wait for batches before `BatchWaiting` is raised; the same call continues later."""
    config: Mapping[str, Any] | None = None
    """Further settings that decide the result; a folder of other settings is refused."""
    progress: Callable[[Tally], None] | None = None
    """Called with the running figures after each question, from any thread."""

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("repeats", 1), ("retries", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")
            if value > MOST:
                raise UsageError(f"{name} must be at most {MOST:,}, got {value!r}")
        if not (_is_number(self.threshold) and math.isfinite(self.threshold)):
            raise UsageError(f"threshold must be a number, got {self.threshold!r}")
        if not (_is_number(self.batch_wait) and 0 <= self.batch_wait < math.inf):
            raise UsageError(f"batch_wait must be a number of hours of at least 0, got {self.batch_wait!r}")
        if self.shard is not None:
            Shard.parse(self.shard)
        for name in ("max_usd", "max_total_output_tokens", "timeout"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < math.inf):
                raise UsageError(f"{name} must be a number above 0, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
