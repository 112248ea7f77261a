"""What one finished question and one finished run hold, and the figures summed from them.

A `Record` is one line of `records.jsonl`; a `Run` is the whole folder, read or just made. Nothing here calls a model.
"""

import importlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from tale_dspy.errors import RunFolderError
from tale_dspy.statistics import accuracy_interval, mean_known, quantile, total_complete

AnswerOutcome = Literal["correct", "wrong", "unreadable", "empty", "truncated", "error"]
OUTCOMES: tuple[AnswerOutcome, ...] = ("correct", "wrong", "unreadable", "empty", "truncated", "error")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished question. Token counts and costs that nobody reported are None, never 0."""

    id: str
    """16 hex digits of the content hash, plus `-2`, `-3` ... for identical rows."""
    repeat: int = 0
    """Which fresh draw of the question this is, from 0."""
    question: str | None = None
    inputs: dict[str, Any] | None = None
    """All inputs, where there are others than `question`."""
    gold: Any = None
    group: str | None = None
    """What sort of question it is, where the data says: the label `group` of its example."""
    reply: str | None = None
    """Text of the last reply that was neither an estimate nor the metric's."""
    answer: Any = None
    outcome: AnswerOutcome
    score: float | None = None
    """What the metric gave; None where it was not asked."""
    token_budget: int | None = None
    effort: str | None = None
    """The effort word of the budget; None where it was a number alone, or there was none."""
    budget_source: str | None = None
    """`estimate`, `clamped`, `fallback`, `given`, `default` or `stated`."""
    mode: str | None = None
    """How the budget was sent: `prompt`, `native` or `cap`."""
    reasoning_params: dict[str, Any] | None = None
    """The part of the request body that carried it, beside the prompt."""
    reasoning_notes: list[str] | None = None
    """What of it was raised, lowered or left out, in words."""
    skipped: bool | None = None
    """Whether the answer came without the visible reasoning that was asked for; None where none was asked for."""
    votes: int | None = None
    """Replies that were asked for, of a `Vote`."""
    votes_for_answer: int | None = None
    output_tokens: int | None = None
    """Completion tokens of the reasoning calls, thinking and rescues included."""
    rescue_calls: int = 0
    """Calls made because the answer was cut or empty."""
    recovery_tokens: int | None = None
    """The part of `output_tokens` that they took; None where none was made."""
    estimate_tokens: int | None = None
    """Completion tokens of the budget calls; None where none was made."""
    prompt_tokens: int | None = None
    """Prompt tokens of all calls of the program, estimates included."""
    estimate_prompt_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    usage_source: str | None = None
    """`provider`, `tokenizer` or `unknown`: the weakest source of this question's counts."""
    cost_usd: float | None = None
    """US dollars paid for this question; None if the price of any call is unknown."""
    estimate_cost_usd: float | None = None
    """The part of the full price (paid or saved) that the budget calls have."""
    saved_cost_usd: float | None = None
    """US dollars not paid again because the answer came from the cache."""
    metric_tokens: int | None = None
    metric_cost_usd: float | None = None
    latency_s: float | None = None
    """Seconds of wall clock; None where any answer came from a cache or the journal."""
    finish_reason: str | None = None
    response_model: str | None = None
    """The snapshot the provider says it used."""
    calls: int = 0
    paid_calls: int = 0
    cached_calls: int = 0
    error: str | None = None
    output_tokens_cl100k: int | None = None
    """The paper's count of the reply (preset `paper` only)."""
    paper_correct: bool | None = None
    """The paper's own judge on the reply (preset `paper` only)."""

    @property
    def correct(self) -> bool:
        return self.outcome == "correct"

    @property
    def price_usd(self) -> float | None:
        """Full price of the question, whether paid or served from a cache; None if any part of it is unknown."""
        # With a metric that asks a model the cached call may be the metric's, unless the program's own cost nothing.
        own_cached = self.cached_calls > 0 and (self.metric_tokens is None or not self.cost_usd)
        if self.cost_usd is None or (own_cached and self.saved_cost_usd is None):
            return None
        return self.cost_usd + (self.saved_cost_usd or 0.0)

    @property
    def net_tokens(self) -> int | None:
        """Output tokens with the estimator's; None if either is unknown, an estimator that was not asked being 0."""
        asked = self.estimate_prompt_tokens is not None or self.usage_source == "unknown"
        if self.output_tokens is None or (self.estimate_tokens is None and asked):
            return None
        return self.output_tokens + (self.estimate_tokens or 0)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Record":
        """Build a record from a line of `records.jsonl`; keys of later versions are ignored."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in row.items() if k in known})


class RunComparison(Protocol):
    """What `Run.compare` returns: a `tale_dspy.comparison.compare.Comparison`, as far as a caller needs it."""

    @property
    def is_budget_saving(self) -> bool: ...

    def to_json(self, *, token_changes: bool = False) -> dict[str, Any]: ...


class RunComparer(Protocol):
    """Compares two runs."""

    def __call__(self, *, baseline: "Run", run: "Run") -> RunComparison: ...


@dataclass
class Run:
    """The finished questions of one program on one data set, with everything that decided the result.

    Attributes:
        info: The content of `run.json`.
        records: One per finished question and repeat, in file order.
        path: The run folder; None for a run that was not written.
        stopped: Why the run ended early (`cap`, `interrupted`), or None.
        message: The sentence that says so.
        wall_s: Seconds this process worked on it.
    """

    info: dict[str, Any]
    records: list[Record]
    path: Path | None = None
    stopped: str | None = None
    message: str | None = None
    wall_s: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.info.get("program", {}).get("name", "program"))

    @property
    def accuracy(self) -> float | None:
        """Share of questions answered right (mean over repeats first); None without records."""
        return mean_known(list(question_scores(self.records).values()))

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The figures of the run, as `tale eval --json` prints them."""
        return summarize(self)

    def compare(self, other: "Run") -> "RunComparison":
        """Compare two runs question by question; `self` is the new one, `other` the baseline.

        Returns:
            A `Comparison`: paired differences (`self` minus `other`) on the questions both have.

        Raises:
            UsageError: If the runs share no question.
        """
        # Comparison stands a floor above runs; this door is the one import that goes upwards, and it is by name.
        comparison: RunComparer = importlib.import_module("tale_dspy.comparison.compare").compare
        return comparison(baseline=other, run=self)


def load_run(path: str | Path) -> Run:
    """Read a run folder.

    A last line that was cut off by a kill is left out. `wall_s` and `stopped` come from `summary.json` if it is there.

    Args:
        path: The folder that `evaluate(out=...)` or `tale eval --out` wrote.

    Raises:
        RunFolderError: If it is not a run folder or a line in the middle is broken.
    """
    folder = Path(path)
    info = read_json(folder / "run.json")
    try:
        records = [Record.from_json(row) for row in read_jsonl(folder / "records.jsonl")]
    except (TypeError, AttributeError) as e:
        raise RunFolderError(f"{folder / 'records.jsonl'} holds a line that is no record: {e}") from e
    summary = read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
    return Run(info=info, records=records, path=folder, stopped=summary.get("stopped"), wall_s=summary.get("wall_s"))


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object from a file of a run folder."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunFolderError(f"{path.parent} is not a run folder: it has no {path.name}") from None
    except (OSError, ValueError) as e:
        raise RunFolderError(f"{path} cannot be read: {e}") from e
    if not isinstance(value, dict):
        raise RunFolderError(f"{path} must hold one JSON object")
    return value


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of an appended file; a missing file is empty, a last line without newline is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as e:
        raise RunFolderError(f"{path} cannot be read: {e}") from e
    rows = []
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as e:
                raise RunFolderError(f"{path}, line {number} is not JSON: {e}") from e
    return rows


def question_scores(records: Iterable[Record]) -> dict[str, float]:
    """Share of right draws of each question: 0 or 1 without repeats."""
    draws: dict[str, list[bool]] = defaultdict(list)
    for r in records:
        draws[r.id].append(r.correct)
    return {k: sum(v) / len(v) for k, v in draws.items()}


def summarize(run: Run) -> dict[str, Any]:
    """Sum a run up under the keys that `tale eval --json` promises, with a few more."""
    records = run.records
    scores = question_scores(records)
    repeats = len({r.repeat for r in records}) or 1
    latencies = sorted(r.latency_s for r in records if r.latency_s is not None)
    outcomes = Counter(r.outcome for r in records)
    config = run.info.get("config", {})
    return {
        "program": run.name,
        "model": config.get("model"),
        "data": config.get("data", {}).get("name"),
        "n": len(scores),
        "accuracy": mean_known(list(scores.values())),
        "accuracy_ci95": accuracy_interval(list(scores.values()), repeats),
        "output_tokens_mean": mean_known([r.output_tokens for r in records]),
        "estimate_tokens_mean": mean_known([r.estimate_tokens for r in records]),
        "prompt_tokens_mean": mean_known([r.prompt_tokens for r in records]),
        "reasoning_tokens_mean": mean_known([r.reasoning_tokens for r in records]),
        "cost_usd": total_complete([r.cost_usd for r in records if r.calls]),
        "saved_cost_usd": total_complete([r.saved_cost_usd if r.cached_calls else 0.0 for r in records]),
        "metric_tokens": total_complete([r.metric_tokens for r in records if r.metric_tokens is not None]),
        "calls": sum(r.calls for r in records),
        "paid_calls": sum(r.paid_calls for r in records),
        "cached_calls": sum(r.cached_calls for r in records),
        "outcomes": {name: outcomes.get(name, 0) for name in OUTCOMES},
        **_by_groups(records),
        **_by_mode(records),
        "unknown_tokens": sum(r.output_tokens is None for r in records),
        "recoveries": _rescues(records),
        "estimate_fallbacks": sum(r.budget_source in ("fallback", "clamped") for r in records),
        "latency_p50": quantile(latencies, 0.50),
        "latency_p95": quantile(latencies, 0.95),
        "wall_s": run.wall_s,
        "repeats": repeats,
        "stopped": run.stopped,
        "run_dir": str(run.path) if run.path else None,
        **run.extra,
    }


def _rescues(records: Sequence[Record]) -> dict[str, Any]:
    """Count the answers that were cut or empty and asked for again, the calls that took, and those that then came."""
    cut = [r for r in records if r.rescue_calls]
    return {
        "cut": len(cut),
        "answered": sum(r.outcome in ("correct", "wrong") for r in cut),
        "calls": sum(r.rescue_calls for r in cut),
        "output_tokens": total_complete([r.recovery_tokens for r in cut]),
    }


def _by_mode(records: Sequence[Record]) -> dict[str, Any]:
    """Tell how budgets were sent and kept, where any were: tokens for each token asked for."""
    asked = [r for r in records if r.token_budget]
    if not asked:
        return {}
    modes = Counter(r.mode for r in asked if r.mode is not None)
    notes = Counter(note for r in asked for note in r.reasoning_notes or ())
    kept = [r.output_tokens / r.token_budget for r in asked if r.output_tokens is not None and r.token_budget]
    return {
        "modes": dict(modes.most_common()),
        "reasoning_notes": dict(notes.most_common(5)),
        "adherence_mean": mean_known(kept),
        "within_budget": None if not kept else sum(share <= 1 for share in kept) / len(kept),
    }


def _by_groups(records: Sequence[Record]) -> dict[str, Any]:
    """Return accuracy and tokens of each group apart, where the data has groups."""
    groups = {r.group: [q for q in records if q.group == r.group] for r in {r.group: r for r in records}.values()}
    if set(groups) <= {None}:
        return {}
    return {"groups": {name or "other": _group(rows) for name, rows in groups.items()}}


def _group(records: Sequence[Record]) -> dict[str, Any]:
    scores = list(question_scores(records).values())
    return {
        "n": len(scores),
        "accuracy": mean_known(scores),
        "accuracy_ci95": accuracy_interval(scores, len({r.repeat for r in records})),
        "output_tokens_mean": mean_known([r.output_tokens for r in records]),
        "estimate_tokens_mean": mean_known([r.estimate_tokens for r in records]),
    }
