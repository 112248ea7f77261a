"""What a run will ask, write and cost, from a few answers or a past run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev

from tale_dspy.backends.prices import BATCH_PRICE_SHARE, Price
from tale_dspy.comparison.formatting import number
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.files import iter_jsonl
from tale_dspy.runs.records import Record, Run
from tale_dspy.statistics import students_t_quantile

MOST_ANSWERS = 100_000
"""Answers of a past run that are looked at, the first ones."""
SAMPLE = 10
"""Questions that are asked for a forecast."""


@dataclass(frozen=True)
class ExpectedFigure:
    """A figure of a planned run, with its 95 % interval.

    There is no interval if only one answer is known.
    """

    total: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return self.to_text(0)

    def times(self, factor: float) -> "ExpectedFigure":
        """Return the figure and its interval, multiplied."""
        low, high = (None if bound is None else factor * bound for bound in (self.low, self.high))
        return ExpectedFigure(factor * self.total, low, high)

    def to_text(self, digits: int) -> str:
        """Write the figure with `digits` decimals, followed by its interval."""
        if self.low is None or self.high is None:
            return number(self.total, digits)
        return f"{number(self.total, digits)} [{number(self.low, digits)}, {number(self.high, digits)}]"


@dataclass(frozen=True, kw_only=True)
class RunForecast:
    """What is to be expected of a run. None is unknown."""

    answers: int
    """Questions times repeats that are still to be answered."""
    sample: int
    """Answers that the figures rest on."""
    calls: ExpectedFigure
    prompt_tokens: ExpectedFigure | None
    output_tokens: ExpectedFigure | None
    """Completion tokens, estimates and rescues included."""
    cost_usd: ExpectedFigure | None
    """US dollars at full price, as if nothing came from a cache."""
    accuracy: float | None
    """Share of the sample that was right: a rough guess."""
    notes: tuple[str, ...] = ()
    batch_rounds: int | None = None
    """Rounds through a batch API, where nothing fails; None for a run that does not go through one."""

    def through_batch(self, rounds: int, *, half: bool) -> "RunForecast":
        """Return the forecast of a run through a batch API.

        Args:
            rounds: Rounds it takes.
            half: Whether the figures are at the usual price, so that half of it is to be expected.
        """
        share = BATCH_PRICE_SHARE if half else 1.0
        cost = None if self.cost_usd is None else self.cost_usd.times(share)
        return replace(self, cost_usd=cost, batch_rounds=rounds)

    def to_json(self) -> JsonObject:
        """Return plain JSON; intervals stand beside the figures."""
        document: JsonObject = {"answers": self.answers, "sample": self.sample, "sample_accuracy": self.accuracy}
        for name in ("calls", "prompt_tokens", "output_tokens", "cost_usd"):
            figure: ExpectedFigure | None = vars(self)[name]
            document[name] = None if figure is None else figure.total
            document[f"{name}_ci95"] = None if figure is None or figure.low is None else [figure.low, figure.high]
        rounds = {} if self.batch_rounds is None else {"batch_rounds": self.batch_rounds}
        return {**document, **rounds, "notes": list(self.notes)}


@dataclass(frozen=True)
class QuestionCost:
    """What one question, or one answer to it, has taken. None is unknown."""

    calls: float
    prompt_tokens: float | None
    output_tokens: float | None
    usd: float | None
    """At full price, as if nothing came from a cache."""

    def plus(self, other: "QuestionCost", weight: float = 1.0) -> "QuestionCost":
        """Return the sum of both, the other one weighted."""
        return QuestionCost(
            self.calls + weight * other.calls,
            _sum_known(self.prompt_tokens, other.prompt_tokens, weight),
            _sum_known(self.output_tokens, other.output_tokens, weight),
            _sum_known(self.usd, other.usd, weight),
        )


def _sum_known(one: float | None, other: float | None, weight: float) -> float | None:
    return None if one is None or other is None else one + weight * other


def forecast(run: Run, answers: int, price: Price | None = None) -> RunForecast:
    """Forecast from a run's answers the cost of `answers` others.

    Args:
        run: The sample, or a past run. Its errors are left out.
        answers: Questions times repeats of the run to come.
        price: US dollars per token; None takes what the answers cost, whether paid or from a cache.

    Raises:
        UsageError: If no answer of the run can be used, or answers is negative.
    """
    records = list(islice(run.iter_records(), MOST_ANSWERS))
    known = [r for r in records if r.outcome != "error" and r.calls]
    if not known:
        raise UsageError(f"nothing can be estimated from {run.path or run.name}: it has no answers")
    lost = len(records) - len(known)
    notes = [f"{lost} of {len(records)} answers were errors and are left out"] if lost else []
    costs = [QuestionCost(r.calls, r.prompt_tokens, r.net_tokens, _record_cost(r, price)) for r in known]
    return forecast_costs(costs, answers, notes=notes, accuracy=fmean(r.correct for r in known))


def forecast_costs(
    costs: Sequence[QuestionCost], answers: int, *, notes: Sequence[str] = (), accuracy: float | None = None
) -> RunForecast:
    """Forecast from the costs of some questions those of `answers` others.

    The intervals hold the spread of the answers to come and the chance in those that are known (Student's t), and
    suppose that the questions are of the same kind.

    Args:
        costs: Of the sample, one or more.
        answers: Questions, or questions times repeats, to come.
        notes: What is to be said beside.
        accuracy: Share of the sample that was right.

    Raises:
        UsageError: If answers is negative.
    """
    if answers < 0:
        raise UsageError(f"answers must be at least 0, got {answers}")
    dollars = [cost.usd for cost in costs]
    unpriced = ["the price is unknown: give --price-in and --price-out (price=)"] if None in dollars else []
    calls = expected([cost.calls for cost in costs], answers)
    if calls is None:
        raise UsageError("calls are always known")
    return RunForecast(
        answers=answers,
        sample=len(costs),
        calls=calls,
        prompt_tokens=expected([cost.prompt_tokens for cost in costs], answers),
        output_tokens=expected([cost.output_tokens for cost in costs], answers),
        cost_usd=expected(dollars, answers),
        accuracy=accuracy,
        notes=(*notes, *unpriced),
    )


def journal_costs(journals: Iterable[Path], price: Price | None = None) -> dict[str, QuestionCost]:
    """Sum up journals of calls by question; attempts that failed are left out.

    Args:
        journals: `calls.jsonl` files of runs and searches; one that is missing has no calls.
        price: US dollars per token; None takes what the calls cost, whether paid or from a cache.

    Returns:
        By the id of the question.

    Raises:
        RunFolderError: If a file is broken.
    """
    costs: dict[str, QuestionCost] = {}

    def add(row: JsonObject) -> None:
        if row.get("error") is None:
            question = str(row["id"]).partition(" ")[0]  # a search adds budget and predictor
            costs[question] = costs.get(question, QuestionCost(0, 0, 0, 0)).plus(_call_cost(row, price))

    for journal in journals:
        for _ in iter_jsonl(journal, add):
            pass
    return costs


def _call_cost(row: JsonObject, price: Price | None) -> QuestionCost:
    usage = row["usage"]
    prompt, output = usage["prompt_tokens"], usage["output_tokens"]
    if price is not None:
        usd = None if prompt is None or output is None else prompt * price.input + output * price.output
    else:
        usd = row["saved_cost_usd"] if row["cached"] else row["cost"]
    return QuestionCost(1, prompt, output, usd)


def expected(values: Sequence[float | None], answers: int) -> ExpectedFigure | None:
    """Return the expected sum over `answers` draws of which a few are known.

    It is None if one of the known draws has no value.
    """
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return None
    total = fmean(known) * answers
    if len(known) < 2:
        return ExpectedFigure(total)
    # Prediction interval of the sum of m new draws from k known ones: its variance is m s^2 for the new draws plus m^2
    # s^2 / k for the error of the known mean, together s^2 m (m / k + 1); t has k - 1 degrees of freedom.
    half = students_t_quantile(0.975, len(known) - 1) * stdev(known) * math.sqrt(answers * (answers / len(known) + 1))
    return ExpectedFigure(total, max(0.0, total - half), total + half)


def _record_cost(record: Record, price: Price | None) -> float | None:
    if price is None:
        return record.price_usd
    if record.prompt_tokens is None or record.net_tokens is None:
        return None
    return record.prompt_tokens * price.input + record.net_tokens * price.output
