"""The figures of a run, accumulated record by record.

They are exact in any order, and mergeable over shards.

Sums are exact (`ExactSum`), so that a run in shards has the figures of the unsharded run to the last digit. Memory does
not grow with the records but for eight bytes each (their latencies, whose quantiles need them all) and, where a
question is drawn several times, its draws.
"""

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from tale_dspy.protocols import JsonObject
from tale_dspy.runs.record import OUTCOMES, Record
from tale_dspy.statistics import ExactSum, accuracy_interval, quantile, wilson_interval

SummedState: TypeAlias = list[Any]
"""Counts and exact sums, nested, as a JSON list: what `to_state` gives and `restore` takes."""


class MeanOfKnown:
    """A mean over the known values, and how many there were."""

    def __init__(self) -> None:
        self.total, self.count = ExactSum(), 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total.add(value)
            self.count += 1

    def merge(self, other: "MeanOfKnown") -> None:
        self.total.merge(other.total)
        self.count += other.count

    @property
    def mean(self) -> float | None:
        """None without known values."""
        return self.total.value / self.count if self.count else None

    def to_state(self) -> SummedState:
        return [self.count, self.total.state]

    def restore(self, state: SummedState) -> None:
        self.count, self.total = int(state[0]), ExactSum.from_state(state[1])


class TotalOfAll(MeanOfKnown):
    """A total that is unknown as soon as a part of it is."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown = 0

    def add(self, value: float | None) -> None:
        super().add(value)
        self.unknown += value is None

    def merge(self, other: MeanOfKnown) -> None:
        super().merge(other)
        if isinstance(other, TotalOfAll):
            self.unknown += other.unknown

    @property
    def value(self) -> float | None:
        """None without values, or with an unknown one."""
        return self.total.value if self.count and not self.unknown else None

    def to_state(self) -> SummedState:
        return [*super().to_state(), self.unknown]

    def restore(self, state: SummedState) -> None:
        super().restore(state)
        self.unknown = int(state[2])


class QuestionScores:
    """The share of right draws of each question, and accuracy over all.

    Args:
        single: Whether each question has one draw; then nothing is kept of it.
    """

    def __init__(self, *, single: bool) -> None:
        self.single = single
        self.right = self.answers = 0
        self._draws: dict[str, tuple[int, int]] = {}

    def add(self, record: Record) -> None:
        if self.single:
            self.right += record.correct
            self.answers += 1
        else:
            right, draws = self._draws.get(record.id, (0, 0))
            self._draws[record.id] = (right + record.correct, draws + 1)

    def merge(self, other: "QuestionScores") -> None:
        self.right += other.right
        self.answers += other.answers
        for key, (right, draws) in other._draws.items():
            before = self._draws.get(key, (0, 0))
            self._draws[key] = (before[0] + right, before[1] + draws)

    @property
    def n(self) -> int:
        return self.answers if self.single else len(self._draws)

    def figures(self, repeats: int) -> JsonObject:
        """Return number, mean and 95 % interval of the scores."""
        if self.single:
            accuracy = self.right / self.answers if self.answers else None
            interval = wilson_interval(self.right, self.answers) if self.answers else None
        else:
            scores, total = [right / draws for right, draws in self._draws.values()], ExactSum()
            for score in scores:
                total.add(score)
            accuracy = total.value / len(scores) if scores else None
            interval = accuracy_interval(scores, repeats)
        return {"n": self.n, "accuracy": accuracy, "accuracy_ci95": interval}


class GroupSummary:
    """The figures of one group of questions."""

    def __init__(self, *, single: bool) -> None:
        self.scores, self.repeats = QuestionScores(single=single), set[int]()
        self.output_tokens, self.estimate_tokens = MeanOfKnown(), MeanOfKnown()

    def add(self, record: Record) -> None:
        self.scores.add(record)
        self.repeats.add(record.repeat)
        self.output_tokens.add(record.output_tokens)
        self.estimate_tokens.add(record.estimate_tokens)

    def merge(self, other: "GroupSummary") -> None:
        self.scores.merge(other.scores)
        self.repeats |= other.repeats
        self.output_tokens.merge(other.output_tokens)
        self.estimate_tokens.merge(other.estimate_tokens)

    def figures(self) -> JsonObject:
        """Return accuracy and tokens of the group."""
        return {
            **self.scores.figures(len(self.repeats)),
            "output_tokens_mean": self.output_tokens.mean,
            "estimate_tokens_mean": self.estimate_tokens.mean,
        }

    def to_state(self) -> SummedState:
        tokens = [self.output_tokens.to_state(), self.estimate_tokens.to_state()]
        return [self.scores.right, self.scores.answers, sorted(self.repeats), *tokens]

    def restore(self, state: SummedState) -> None:
        self.scores.right, self.scores.answers, self.repeats = int(state[0]), int(state[1]), set(state[2])
        self.output_tokens.restore(state[3])
        self.estimate_tokens.restore(state[4])


_MEANS = ("output_tokens", "estimate_tokens", "prompt_tokens", "reasoning_tokens")
_COUNTS = ("calls", "paid_calls", "batch_calls", "cached_calls")


class RunSummary:
    """The figures of a run or of a part of it.

    Args:
        single: Whether each question is drawn once, so that nothing needs to be kept by question.
    """

    def __init__(self, *, single: bool = False) -> None:
        self.records = 0
        self.means = {name: MeanOfKnown() for name in _MEANS}
        self.counts = Counter[str]()
        self.outcomes, self.modes, self.notes = Counter[str](), Counter[str](), Counter[str]()
        self.fallback_reasons = Counter[str]()
        self.cost, self.saved_cost = TotalOfAll(), TotalOfAll()
        self.metric_tokens, self.recovery_tokens = TotalOfAll(), TotalOfAll()
        self.estimate_cost, self.metric_cost = MeanOfKnown(), MeanOfKnown()
        self.adherence = MeanOfKnown()
        self.latencies = array("d")
        self.repeats = set[int]()
        self.groups: dict[str | None, GroupSummary] = {}
        self._single = single

    def add(self, record: Record) -> None:
        """Count one record in."""
        self.records += 1
        self.outcomes[record.outcome] += 1
        self.repeats.add(record.repeat)
        for name in _MEANS:
            self.means[name].add(getattr(record, name))
        for name in _COUNTS:
            self.counts[name] += getattr(record, name)
        if record.calls:
            self.cost.add(record.cost_usd)
        self.saved_cost.add(record.saved_cost_usd if record.cached_calls else 0.0)
        if record.metric_tokens is not None:
            self.metric_tokens.add(record.metric_tokens)
        self.estimate_cost.add(record.estimate_cost_usd)
        self.metric_cost.add(record.metric_cost_usd)
        if record.latency_s is not None:
            self.latencies.append(record.latency_s)
        self.counts["unknown_tokens"] += record.output_tokens is None
        self.counts["estimate_fallbacks"] += record.budget_source in ("fallback", "clamped")
        if record.budget_source == "fallback":
            self.fallback_reasons[record.fallback_reason or "no estimate"] += 1
        self.counts["copied_example"] += record.copied_example
        self.counts["reasoning_asked"] += record.skipped is not None
        self.counts["reasoning_skipped"] += record.skipped is True
        self._add_recovery(record)
        self._add_budget(record)
        group = self.groups.get(record.group)
        if group is None:
            group = self.groups[record.group] = GroupSummary(single=self._single)
        group.add(record)

    def _add_recovery(self, record: Record) -> None:
        if record.rescue_calls:
            self.counts["cut"] += 1
            self.counts["answered_after_cut"] += record.outcome in ("correct", "wrong")
            self.counts["recovery_calls"] += record.rescue_calls
        if record.rescue_calls or record.recovery_tokens is not None:
            self.recovery_tokens.add(record.recovery_tokens)

    def _add_budget(self, record: Record) -> None:
        if record.token_budget:
            self.counts["budgets"] += 1
            if record.mode is not None:
                self.modes[record.mode] += 1
            self.notes.update(record.reasoning_notes or ())
            if record.output_tokens is not None:
                share = record.output_tokens / record.token_budget
                self.adherence.add(share)
                self.counts["within_budget"] += share <= 1

    def add_all(self, records: Iterable[Record]) -> "RunSummary":
        """Count records in, and return this summary."""
        for record in records:
            self.add(record)
        return self

    def merge(self, other: "RunSummary") -> None:
        """Count in what another summary has counted, of other records."""
        self.records += other.records
        others = {**other.means, **other._all_totals()}
        for name, mean in {**self.means, **self._all_totals()}.items():
            mean.merge(others[name])
        for counter, counts in zip(self._all_counters(), other._all_counters(), strict=True):
            counter.update(counts)
        self.latencies.extend(other.latencies)
        self.repeats |= other.repeats
        for label, group in other.groups.items():
            self.groups.setdefault(label, GroupSummary(single=self._single)).merge(group)

    def figures(self) -> JsonObject:
        """Return the figures of `tale eval --json`, with a few more."""
        counts, overall = self.counts, QuestionScores(single=self._single)
        for group in list(self.groups.values()):
            overall.merge(group.scores)
        repeats = len(self.repeats) or 1
        return {
            **overall.figures(repeats),
            **{f"{name}_mean": self.means[name].mean for name in _MEANS},
            "cost_usd": self.cost.value,
            "saved_cost_usd": self.saved_cost.value,
            "metric_tokens": self.metric_tokens.value,
            **{name: counts[name] for name in _COUNTS},
            "outcomes": {name: self.outcomes[name] for name in OUTCOMES},
            **self._group_figures(),
            **self._budget_figures(),
            "unknown_tokens": counts["unknown_tokens"],
            "recoveries": {
                "cut": counts["cut"],
                "answered": counts["answered_after_cut"],
                "calls": counts["recovery_calls"],
                "output_tokens": self.recovery_tokens.value,
            },
            "estimate_fallbacks": counts["estimate_fallbacks"],
            "fallback_reasons": dict(_by_count(self.fallback_reasons)),
            "copied_example": counts["copied_example"],
            "skipped": {"asked": counts["reasoning_asked"], "skipped": counts["reasoning_skipped"]},
            "latency_p50": quantile(self.latencies, 0.50),
            "latency_p95": quantile(self.latencies, 0.95),
            "repeats": repeats,
        }

    def to_state(self) -> JsonObject | None:
        """Return everything but the latencies as JSON.

        It is None where questions have several draws.
        """
        if not self._single:
            return None
        return {
            "records": self.records,
            "means": {name: mean.to_state() for name, mean in {**self.means, **self._all_totals()}.items()},
            "counters": [dict(counter) for counter in self._all_counters()],
            "repeats": sorted(self.repeats),
            "groups": [[name, group.to_state()] for name, group in self.groups.items()],
        }

    @classmethod
    def from_state(cls, state: JsonObject, latencies: Iterable[float]) -> "RunSummary":
        """Restore a summary from its `to_state` and the latencies of its records."""
        summary = cls(single=True)
        summary.records, summary.repeats = int(state["records"]), set(state["repeats"])
        for name, mean in {**summary.means, **summary._all_totals()}.items():
            mean.restore(state["means"][name])
        for counter, counts in zip(summary._all_counters(), state["counters"], strict=True):
            counter.update(counts)
        for group, content in state["groups"]:
            summary.groups[group] = GroupSummary(single=True)
            summary.groups[group].restore(content)
        summary.latencies = array("d", latencies)
        return summary

    def _all_totals(self) -> dict[str, MeanOfKnown]:
        return {
            "cost": self.cost,
            "saved_cost": self.saved_cost,
            "metric": self.metric_tokens,
            "estimate_cost": self.estimate_cost,
            "metric_cost": self.metric_cost,
            "recovery": self.recovery_tokens,
            "adherence": self.adherence,
        }

    def _all_counters(self) -> tuple[Counter[str], ...]:
        return self.counts, self.outcomes, self.modes, self.notes, self.fallback_reasons

    def _group_figures(self) -> JsonObject:
        """Return accuracy and tokens of each group apart, where the data has groups."""
        if set(self.groups) <= {None}:
            return {}
        return {"groups": {name or "other": group.figures() for name, group in self.groups.items()}}

    def _budget_figures(self) -> JsonObject:
        """Return how budgets were sent and followed, if any were.

        Adherence is tokens over tokens of the budget.
        """
        if not self.counts["budgets"]:
            return {}
        counted = self.adherence.count
        return {
            "modes": dict(_by_count(self.modes)),
            "reasoning_notes": dict(_by_count(self.notes)[:5]),
            "adherence_mean": self.adherence.mean,
            "within_budget": self.counts["within_budget"] / counted if counted else None,
        }


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
