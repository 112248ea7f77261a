"""One run as a row: its figures and paired differences to the first run.

A row's own interval says how sure that row is. What speaks for a difference is only the paired columns, measured on the
questions both runs have. How a row is written is up to `table` (files) and `screen` (terminal).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tale_dspy.comparison.caveats import batch_sentence, skip_sentence
from tale_dspy.comparison.compare import Comparison, compare
from tale_dspy.comparison.formatting import number, p_text
from tale_dspy.comparison.paired import share_questions
from tale_dspy.comparison.run_stats import config_of, data_name
from tale_dspy.errors import UsageError
from tale_dspy.prompts import EXAMPLE_ANSWER
from tale_dspy.reports.report_table import (
    UNKNOWN,
    Interval,
    ReportTable,
    TableColumn,
    interval_bounds,
    percent_interval,
    with_bounds,
)
from tale_dspy.reports.text import by_programs, one_line, shorten_text
from tale_dspy.runs.record import OUTCOMES
from tale_dspy.runs.records import Run
from tale_dspy.statistics import mean_known

INTERVALS = "Intervals are 95 %."
CAPTION = f"{INTERVALS} Two rows differ as far as the paired differences say, not by how their intervals overlap."


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


def distinct_names(rows: Sequence[ReportRow], *, with_data: bool = True) -> list[str]:
    """Return a name for each row of a figure.

    A name is the program with whatever distinguishes it from the others. Where a program was run on several models,
    that is the last part of the model's name, such as an adapter's folder, or all of it where others end alike; where
    there are several data sets, the data, unless `with_data` is off.
    """
    several = with_data and len({row.data for row in rows}) > 1
    models: dict[str, set[str | None]] = {}
    for row in rows:
        models.setdefault(row.program, set()).add(row.model)
    names = []
    for row in rows:
        last = _last_part(row.model)
        is_ambiguous = sum(_last_part(model) == last for model in models[row.program]) > 1
        parts = [row.model if is_ambiguous and row.model else last] if len(models[row.program]) > 1 else []
        parts += [str(row.data)] if several else []
        names.append(f"{row.program} ({', '.join(parts)})" if parts else row.program)
    return names


def _last_part(model: str | None) -> str:
    return re.split(r"[/+]", (model or "unknown model").rstrip("/"))[-1]


def report_rows(runs: Sequence[Run]) -> list[ReportRow]:
    """Make the rows of a report, each compared with the first run.

    A run on other data than the first, or without a question in common, gets no difference but a note that says so.

    Raises:
        UsageError: If there is no run.
    """
    if not runs:
        raise UsageError("a report needs at least one run")
    first = runs[0]
    return [run_row(first), *(compared_row(first, run, comparison_of(first, run)) for run in runs[1:])]


def comparison_of(first: Run, run: Run) -> Comparison | None:
    """Compare a run with the first of a report.

    It returns None where their data differ or they share no question.
    """
    if data_name(first) != data_name(run) or not share_questions(first, run):
        return None
    return compare(first, run)


def provenance_of(run: Run) -> str:
    """Say what a run's figures are evidence of, and if contaminated.

    Without a provenance in the run folder, it is the model, its snapshot and the date.
    """
    provenance = run.info.get("provenance")
    if not (isinstance(provenance, str) and provenance.strip()):
        snapshots = sorted(text for text in run.columns.response_model.counts() if text)
        model = str(config_of(run).get("model") or "model unknown")
        date = str(run.info.get("created") or "")[:10]  # of an ISO 8601 time
        provenance = ", ".join((model, " + ".join(snapshots) or "snapshot unknown", date or "date unknown"))
    return f"{provenance} (contaminated)" if run.info.get("contaminated") else provenance


def run_row(run: Run) -> ReportRow:
    """Make the row of one run alone."""
    summary = run.summary
    tokens, prices = run.columns.net_tokens, run.columns.price_usd
    answers = len(run.columns)
    notes = [f"not finished: {run.stopped}"] if run.stopped else []
    for what, values in (("tokens", tokens), ("price", prices)):
        unknown = sum(values != values)
        if 0 < unknown < answers:
            notes.append(f"{what} unknown on {unknown} of {answers} answers, left out of the mean")
    if summary["outcomes"]["error"]:
        notes.append(_error_sentence(run))
    tuned = [model for model in run.info.get("tuned_with", ()) if model != summary["model"]]
    if tuned:
        notes.append(f"tuned with {' and '.join(tuned)}, run with {summary['model'] or 'an unknown model'}")
    if summary["copied_example"]:
        notes.append(
            f"{summary['copied_example']} of {answers} answers are a wrong {EXAMPLE_ANSWER}: the example of the prompt"
        )
    if reasons := summary["fallback_reasons"]:
        counted = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        notes.append(f"no estimate could be used for {sum(reasons.values())} of {answers} answers: {counted}")
    if summary["batch_calls"]:
        notes.append(batch_sentence(summary["batch_calls"], summary["paid_calls"]))
    if summary["skipped"]["skipped"]:
        notes.append(skip_sentence(summary["skipped"]["skipped"], summary["skipped"]["asked"]))
    recoveries = summary["recoveries"]
    if recoveries["cut"]:
        spent = recoveries["output_tokens"]
        more = "" if spent is None else f" ({number(spent, 0)} of the output tokens)"
        notes.append(
            f"recovered: {recoveries['answered']} of {recoveries['cut']} answers that were cut or empty, in "
            f"{recoveries['calls']} further calls{more}"
        )
    price = mean_known(prices[prices == prices].tolist())
    return ReportRow(
        program=run.name,
        model=summary["model"],
        data=data_name(run),
        n=summary["n"],
        accuracy=summary["accuracy"],
        accuracy_interval=summary["accuracy_ci95"],
        output_tokens=summary["output_tokens_mean"],
        estimate_tokens=summary["estimate_tokens_mean"],
        net_tokens=mean_known(tokens[tokens == tokens].tolist()),
        usd_per_1000=None if price is None else 1000 * price,
        latency_p50=summary["latency_p50"],
        latency_p95=summary["latency_p95"],
        outcomes={k: v for k, v in summary["outcomes"].items() if v and k not in ("correct", "wrong")},
        provenance=provenance_of(run),
        notes=tuple(notes),
    )


SAMPLED_ERRORS = 100
"""Errors of a run that are read to say which is the most frequent."""


def _error_sentence(run: Run) -> str:
    """Say what the answers that ended in an error failed with most often."""
    columns = run.columns
    places = (columns.outcome == OUTCOMES.index("error")).nonzero()[0]
    sampled = [run.record_at(int(columns.part[p]), int(columns.offset[p])).error for p in places[:SAMPLED_ERRORS]]
    (text, count), *_ = Counter(one_line(error or "unknown", 160) for error in sampled).most_common(1)
    most = "all with" if count == len(places) else "most often" if len(sampled) > 1 else "with"
    return f"{len(places)} of {len(columns)} answers ended in an error, {most}: {text}"


def compared_row(first: Run, run: Run, comparison: Comparison | None) -> ReportRow:
    """Make the row of a run with its differences to the first.

    Where they cannot be compared, a note says why.
    """
    row, c = run_row(run), comparison
    if c is None and data_name(first) != data_name(run):
        return _add_notes(row, f"on other data than the first row ({data_name(first)}): no difference is given")
    if c is None:
        return _add_notes(row, "no question in common with the first row: no difference is given")
    points = c.accuracy.difference
    row = replace(
        row,
        versus=first.name,
        accuracy_points=None if points is None else 100 * points,
        accuracy_points_interval=percent_interval(c.accuracy.interval),
        net_saving=c.net_tokens.saving,
        net_saving_interval=c.net_tokens.saving_interval,
        money_saving=c.price_usd.saving,
        money_saving_interval=c.price_usd.saving_interval,
        mcnemar_p=c.mcnemar_p,
        is_budget_saving=c.is_budget_saving,
    )
    claim = [] if c.blocking_reason is None else [f"the difference is not called a budget saving: {c.blocking_reason}"]
    already = {f"run: {note}" for note in row.notes}  # notes that the run has on its own
    return _add_notes(row, *(note for note in c.notes if note not in already), *claim)


def _add_notes(row: ReportRow, *notes: str) -> ReportRow:
    return replace(row, notes=tuple(dict.fromkeys([*row.notes, *notes])))


_text = partial(TableColumn[ReportRow], is_text=True)


def _outcome_counts(row: ReportRow) -> str:
    return ", ".join(f"{count} {name}" for name, count in row.outcomes.items()) or UNKNOWN


def _latency_text(row: ReportRow) -> str:
    if row.latency_p50 is None:
        return UNKNOWN
    return f"{number(row.latency_p50, 2)} / {number(row.latency_p95, 2)}"


COLUMNS: tuple[TableColumn[ReportRow], ...] = (
    _text("Program", lambda r: r.program, {"program": lambda r: r.program}),
    _text("Model", lambda r: r.model or UNKNOWN, {"model": lambda r: r.model}),
    _text("Data", lambda r: r.data or UNKNOWN, {"data": lambda r: r.data}),
    TableColumn("n", lambda r: number(r.n, 0), {"n": lambda r: r.n}),
    TableColumn(
        "Accuracy %",
        lambda r: with_bounds(r.accuracy, r.accuracy_interval, 100),
        {"accuracy": lambda r: r.accuracy, **interval_bounds("accuracy", lambda r: r.accuracy_interval)},
    ),
    TableColumn("Output tokens", lambda r: number(r.output_tokens), {"output_tokens": lambda r: r.output_tokens}),
    TableColumn(
        "Estimate tokens", lambda r: number(r.estimate_tokens), {"estimate_tokens": lambda r: r.estimate_tokens}
    ),
    TableColumn("Net tokens", lambda r: number(r.net_tokens), {"net_tokens": lambda r: r.net_tokens}),
    TableColumn(
        "Tokens / right answer",
        lambda r: number(r.tokens_per_right),
        {"tokens_per_right": lambda r: r.tokens_per_right},
    ),
    TableColumn("USD per 1000", lambda r: number(r.usd_per_1000, 4), {"usd_per_1000": lambda r: r.usd_per_1000}),
    TableColumn(
        "p50 / p95 s", _latency_text, {"latency_p50": lambda r: r.latency_p50, "latency_p95": lambda r: r.latency_p95}
    ),
    TableColumn(
        "Other outcomes",
        _outcome_counts,
        {"outcomes": lambda r: "; ".join(f"{name}={count}" for name, count in r.outcomes.items())},
    ),
    TableColumn(
        "Δ accuracy, points",
        lambda r: with_bounds(r.accuracy_points, r.accuracy_points_interval, 1, sign=True),
        {
            "versus": lambda r: r.versus,
            "accuracy_points": lambda r: r.accuracy_points,
            **interval_bounds("accuracy_points", lambda r: r.accuracy_points_interval),
        },
    ),
    TableColumn(
        "McNemar p",
        lambda r: UNKNOWN if r.mcnemar_p is None else p_text(r.mcnemar_p).removeprefix("= "),
        {"mcnemar_p": lambda r: r.mcnemar_p},
    ),
    TableColumn(
        "Net tokens saved %",
        lambda r: with_bounds(r.net_saving, r.net_saving_interval, 100),
        {"net_saving": lambda r: r.net_saving, **interval_bounds("net_saving", lambda r: r.net_saving_interval)},
    ),
    TableColumn(
        "Money saved %",
        lambda r: with_bounds(r.money_saving, r.money_saving_interval, 100),
        {
            "money_saving": lambda r: r.money_saving,
            **interval_bounds("money_saving", lambda r: r.money_saving_interval),
        },
    ),
    _text(
        "Evidence",
        lambda r: r.provenance,
        {
            "provenance": lambda r: r.provenance,
            "is_budget_saving": lambda r: r.is_budget_saving,
            "notes": lambda r: "; ".join(r.notes),
        },
    ),
)
"""The report's columns, in order, for every format."""


def runs_table(rows: Sequence[ReportRow]) -> ReportTable[ReportRow]:
    """Make the table of a report, with its notes."""
    return ReportTable(COLUMNS, rows, row_notes(rows))


def compact_table(rows: Sequence[ReportRow], notes: Sequence[str] = ()) -> ReportTable[ReportRow]:
    """Make the table without unknown columns and without the evidence.

    What all rows share is said in its notes.

    Args:
        rows: The rows.
        notes: Sentences to put first, such as `provenance_notes`.
    """
    table = runs_table(rows).known()
    shareable = [column for column in table.columns if column.name in ("Model", "Data")]
    shared = {c.name: c.cell(rows[0]) for c in shareable if len(set(map(c.cell, rows))) == 1}
    common = [f"All rows: {', '.join(shared.values())}."] if shared else []
    return replace(table.without({"Evidence", *shared}), notes=[*common, *notes, *table.notes])


def row_notes(rows: Sequence[ReportRow]) -> list[str]:
    """Say what all rows need, then what single rows need.

    A sentence of several programs is written once, with their names.
    """
    names = distinct_names(rows)
    labels = {row.program: name for row, name in zip(reversed(rows), reversed(names), strict=True)}  # the first wins
    baselines = dict.fromkeys(labels.get(row.versus, row.versus) for row in rows if row.versus is not None)
    to = " and ".join(baselines)
    paired = [f"Differences are to the run of {to}, on the questions both have."] if baselines else []
    notes = by_programs((name, note) for row, name in zip(rows, names, strict=True) for note in row.notes)
    return [CAPTION, *paired, *(f"{programs}: {note}" for note, programs in notes.items())]


def provenance_notes(rows: Sequence[ReportRow]) -> list[str]:
    """Say each provenance once, with the programs it is of."""
    provenances = by_programs(zip(distinct_names(rows), (row.provenance for row in rows), strict=True))
    return [f"Evidence ({programs}): {provenance}" for provenance, programs in provenances.items()]


def provenance_sentences(rows: Sequence[ReportRow]) -> list[str]:
    """Say below a figure which evidence it shows.

    Programs are named where their evidence differs.
    """
    return sentences_of_evidence([(row.program, row.provenance) for row in rows])


def run_provenance_sentences(runs: Sequence[Run]) -> list[str]:
    """Say for below a figure of runs what it is evidence of."""
    return sentences_of_evidence([(run.name, provenance_of(run)) for run in runs])


def sentences_of_evidence(provenances: Sequence[tuple[str, str]]) -> list[str]:
    """Say what programs are evidence of, given pairs of program and provenance."""
    groups = by_programs((shorten_text(program, 40), provenance) for program, provenance in provenances)
    if len(groups) <= 1:
        return [f"Evidence: {provenance}." for provenance in groups]
    return [f"Evidence of {programs}: {provenance}." for provenance, programs in groups.items()]
