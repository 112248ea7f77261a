"""One run as a row of a report: its figures, and its paired differences to the first run.

A row's own interval says how sure that row is. What speaks for a difference is only the paired columns, measured on the
questions both runs have. How a row is written is up to `table` (files) and `screen` (terminal).
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tale_dspy.comparison.compare import compare
from tale_dspy.comparison.formatting import number, p_text
from tale_dspy.comparison.run_stats import config_of, data_name
from tale_dspy.errors import UsageError
from tale_dspy.reports.text import by_programs
from tale_dspy.runs.records import Run
from tale_dspy.statistics import mean_known

Interval = tuple[float, float]

CAPTION = (
    "Intervals are 95 %. Two rows differ as far as the paired differences say, not by how their intervals overlap."
)


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One run as a row of the table. None is unknown."""

    program: str
    model: str | None
    data: str | None
    n: int | None
    """Questions."""
    accuracy: float | None
    """Share of right answers, 0 to 1."""
    accuracy_interval: Interval | None = None
    output_tokens: float | None
    """Mean a question, the estimator's not included."""
    estimate_tokens: float | None = None
    """Mean of the budget calls; None where there were none."""
    net_tokens: float | None = None
    """Mean of output tokens and the estimator's together."""
    tokens_per_right: float | None = None
    """All output tokens over the right answers: how the paper's TALE-PT counts; beside its tables only."""
    usd_per_1000: float | None
    """Mean full price of 1000 questions in US dollars, as if nothing had come from a cache; over the known prices."""
    latency_p50: float | None = None
    latency_p95: float | None = None
    outcomes: dict[str, int]
    """Draws of each outcome other than correct and wrong, where there are any."""
    provenance: str
    """What the figures are evidence of (design, section 5)."""
    versus: str | None = None
    """Program of the first run, where this row is compared with it."""
    accuracy_points: float | None = None
    """Paired difference in percentage points."""
    accuracy_points_interval: Interval | None = None
    net_saving: float | None = None
    """Saved fraction of net tokens, paired."""
    net_saving_interval: Interval | None = None
    money_saving: float | None = None
    """Saved fraction of the full price, paired."""
    money_saving_interval: Interval | None = None
    mcnemar_p: float | None = None
    is_budget_saving: bool | None = None
    """Whether the difference may be called a budget saving; None where nothing was compared."""
    notes: tuple[str, ...] = ()


def told_apart(rows: Sequence[ReportRow]) -> list[str]:
    """Return a name for each row of a figure: its program, with what tells it from the others.

    Where a program was run on several models, that is the last part of the model's name, such as an adapter's folder;
    where there are several data sets, the data.
    """
    several = len({row.data for row in rows}) > 1
    models: dict[str, set[str | None]] = {}
    for row in rows:
        models.setdefault(row.program, set()).add(row.model)
    names = []
    for row in rows:
        last = re.split(r"[/+]", (row.model or "unknown model").rstrip("/"))[-1]
        name = f"{row.program}, {last}" if len(models[row.program]) > 1 else row.program
        names.append(f"{name} ({row.data})" if several else name)
    return names


def report_rows(runs: Sequence[Run]) -> list[ReportRow]:
    """Make the rows of a report; each run after the first is compared with the first.

    A run on other data than the first, or without a question in common, gets no difference but a note that says so.

    Raises:
        UsageError: If there is no run.
    """
    if not runs:
        raise UsageError("a report needs at least one run")
    return [run_row(runs[0]), *(_against(runs[0], run) for run in runs[1:])]


def provenance_of(run: Run) -> str:
    """Say what a run's figures are evidence of: its own mark, else model, snapshot and date; and if contaminated."""
    provenance = run.info.get("provenance")
    if not (isinstance(provenance, str) and provenance.strip()):
        snapshots = sorted({r.response_model for r in run.records if r.response_model})
        model = str(config_of(run).get("model") or "model unknown")
        date = str(run.info.get("created") or "")[:10]  # of an ISO 8601 time
        provenance = ", ".join((model, " + ".join(snapshots) or "snapshot unknown", date or "date unknown"))
    return f"{provenance} (contaminated)" if run.info.get("contaminated") else provenance


def run_row(run: Run) -> ReportRow:
    """Make the row of one run alone."""
    summary = run.summary
    tokens, prices = [r.net_tokens for r in run.records], [r.price_usd for r in run.records]
    notes = [f"not finished: {run.stopped}"] if run.stopped else []
    for what, unknown in (("tokens", tokens.count(None)), ("price", prices.count(None))):
        if 0 < unknown < len(run.records):
            notes.append(f"{what} unknown on {unknown} of {len(run.records)} answers, left out of the mean")
    tuned = [model for model in run.info.get("tuned_with", ()) if model != summary["model"]]
    if tuned:
        notes.append(f"tuned with {' and '.join(tuned)}, run with {summary['model'] or 'an unknown model'}")
    recoveries = summary["recoveries"]
    if recoveries["cut"]:
        tokens_told = recoveries["output_tokens"]
        more = "" if tokens_told is None else f" ({number(tokens_told, 0)} of the output tokens)"
        notes.append(
            f"recovered: {recoveries['answered']} of {recoveries['cut']} answers that were cut or empty, in "
            f"{recoveries['calls']} further calls{more}"
        )
    price = mean_known(prices)
    return ReportRow(
        program=run.name,
        model=summary["model"],
        data=data_name(run),
        n=summary["n"],
        accuracy=summary["accuracy"],
        accuracy_interval=summary["accuracy_ci95"],
        output_tokens=summary["output_tokens_mean"],
        estimate_tokens=summary["estimate_tokens_mean"],
        net_tokens=mean_known(tokens),
        usd_per_1000=None if price is None else 1000 * price,
        latency_p50=summary["latency_p50"],
        latency_p95=summary["latency_p95"],
        outcomes={k: v for k, v in summary["outcomes"].items() if v and k not in ("correct", "wrong")},
        provenance=provenance_of(run),
        notes=tuple(notes),
    )


def _against(first: Run, run: Run) -> ReportRow:
    row = run_row(run)
    if data_name(first) != data_name(run):
        return _noted(row, f"on other data than the first row ({data_name(first)}): no difference is given")
    if not {r.id for r in first.records} & {r.id for r in run.records}:
        return _noted(row, "no question in common with the first row: no difference is given")
    c = compare(first, run)
    points, (low, high) = c.accuracy.difference, c.accuracy.interval or (math.nan, math.nan)
    row = replace(
        row,
        versus=first.name,
        accuracy_points=None if points is None else 100 * points,
        accuracy_points_interval=(100 * low, 100 * high),
        net_saving=c.net_tokens.saving,
        net_saving_interval=c.net_tokens.saving_interval,
        money_saving=c.price_usd.saving,
        money_saving_interval=c.price_usd.saving_interval,
        mcnemar_p=c.mcnemar_p,
        is_budget_saving=c.is_budget_saving,
    )
    claim = [] if c.blocking_reason is None else [f"the difference is not called a budget saving: {c.blocking_reason}"]
    return _noted(row, *c.notes, *claim)


def _noted(row: ReportRow, *notes: str) -> ReportRow:
    return replace(row, notes=tuple(dict.fromkeys([*row.notes, *notes])))


def _with_bounds(value: float | None, interval: Interval | None, scale: float, *, sign: bool = False) -> str:
    if value is None or interval is None:
        return "–" if value is None else number(scale * value, sign=sign)
    low, high = (number(scale * v, sign=sign) for v in interval)
    return f"{number(scale * value, sign=sign)} [{low}, {high}]"


COLUMNS: dict[str, Callable[[ReportRow], str]] = {
    "Program": lambda r: r.program,
    "Model": lambda r: r.model or "–",
    "Data": lambda r: r.data or "–",
    "n": lambda r: number(r.n, 0),
    "Accuracy %": lambda r: _with_bounds(r.accuracy, r.accuracy_interval, 100),
    "Output tokens": lambda r: number(r.output_tokens),
    "Estimate tokens": lambda r: number(r.estimate_tokens),
    "Net tokens": lambda r: number(r.net_tokens),
    "Tokens / right answer": lambda r: number(r.tokens_per_right),
    "USD per 1000": lambda r: number(r.usd_per_1000, 4),
    "p50 / p95 s": lambda r: (
        "–" if r.latency_p50 is None else f"{number(r.latency_p50, 2)} / {number(r.latency_p95, 2)}"
    ),
    "Other outcomes": lambda r: ", ".join(f"{count} {name}" for name, count in r.outcomes.items()) or "–",
    "Δ accuracy, points": lambda r: _with_bounds(r.accuracy_points, r.accuracy_points_interval, 1, sign=True),
    "McNemar p": lambda r: "–" if r.mcnemar_p is None else p_text(r.mcnemar_p).removeprefix("= "),
    "Net tokens saved %": lambda r: _with_bounds(r.net_saving, r.net_saving_interval, 100),
    "Money saved %": lambda r: _with_bounds(r.money_saving, r.money_saving_interval, 100),
    "Evidence": lambda r: r.provenance,
}
"""The report's columns, in order, and how each writes a row's cell."""


def row_notes(rows: Sequence[ReportRow]) -> list[str]:
    """Say what all rows need, then what single rows do; a sentence several programs share is said once."""
    baselines = dict.fromkeys(row.versus for row in rows if row.versus is not None)
    to = " and ".join(baselines)
    paired = [f"Differences are to the run of {to}, on the questions both have."] if baselines else []
    said = by_programs((row.program, note) for row in rows for note in row.notes)
    return [CAPTION, *paired, *(f"{programs}: {note}" for note, programs in said.items())]


def evidence(rows: Sequence[ReportRow]) -> list[str]:
    """Say the marks once each, with the programs they are of."""
    provenances = by_programs((row.program, row.provenance) for row in rows)
    return [f"Evidence ({programs}): {provenance}" for provenance, programs in provenances.items()]
