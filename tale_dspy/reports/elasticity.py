"""Token elasticity: the tokens fixed budgets really cost (paper, section 4).

It is measured from runs of `budget:N` programs.

A smaller budget shortens replies down to some point; below it a model stops complying, and replies grow again. The
figures, the table and the sentence that says whether they do are made here, on the questions that all budgets were
tried on; `elasticity_figure` draws them.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tale_dspy.comparison.formatting import change_text, number
from tale_dspy.comparison.paired import PairedMeans, pair_runs, paired_means
from tale_dspy.comparison.run_stats import config_of, data_name
from tale_dspy.display import visible
from tale_dspy.reports.experiments import NOT_THE_EXPERIMENT, OF_THE_PROGRAM, experiment, vanilla_run
from tale_dspy.reports.report_table import Interval, ReportTable, TableColumn, interval_bounds, with_bounds
from tale_dspy.reports.rows import provenance_of
from tale_dspy.reports.text import by_programs, shorten_text
from tale_dspy.runs.records import Record, Run, question_scores
from tale_dspy.statistics import accuracy_interval, mean_complete, normal_interval

if TYPE_CHECKING:
    from rich.table import Table

LEAST_BUDGETS = 3
"""Fixed budgets from which on there is a curve."""
RESAMPLES = 10_000
NARROW = 100
"""Columns of a terminal below which bars leave no room for the replies below their budget."""


@dataclass(frozen=True, kw_only=True)
class ElasticityRow:
    """Mean tokens and accuracy of one program on the questions of the curve.

    A figure is None where it is unknown.
    """

    program: str
    budget: float | None
    """Tokens asked for; the mean over questions where each has its own; None for a program without a budget."""
    is_fixed: bool
    """Whether all questions were asked with the one budget."""
    n: int
    """Questions."""
    accuracy: float
    """Share of right answers, 0 to 1."""
    accuracy_interval: Interval | None
    output_tokens: float | None
    """Mean a question, the estimator's not included."""
    output_tokens_interval: Interval | None
    """Normal interval of the mean over questions; None for one question."""
    net_tokens: float | None
    """Mean with the estimator's."""
    below_budget: float | None
    """Share of replies of fewer tokens than their budget, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Elasticity:
    """The curve of one model on one data set."""

    model: str | None
    data: str | None
    n: int
    """Questions that all fixed budgets were tried on."""
    unshared: int
    """Questions of some budgets only, left out."""
    uncounted: int
    """Questions whose tokens are unknown under some budget, left out of the tokens."""
    runs: tuple[Run, ...]
    """The runs of the fixed budgets, the smallest budget first; each budget once, the first run of it."""
    points: tuple[ElasticityRow, ...]
    """What these runs show."""
    vanilla: ElasticityRow | None
    """Reasoning without a budget: what the curve is read against."""
    estimated: tuple[ElasticityRow, ...]
    """Programs that choose a budget for each question, such as TALE-EP."""
    rise: PairedMeans
    """Tokens at the smallest budget against those at the budget of least tokens, paired by question."""
    provenances: dict[str, str]
    """Provenance -> the programs it is of."""

    def _repr_html_(self) -> str:
        """Show a line a budget in a notebook."""
        return curve_table(self)._repr_html_()

    @property
    def cheapest(self) -> ElasticityRow:
        """The fixed budget of the least mean tokens; of equal ones the smallest."""
        return min(self.points, key=lambda row: row.output_tokens or 0.0)

    @property
    def rows(self) -> list[ElasticityRow]:
        """All rows of the table: the fixed budgets, then what they are read against."""
        return [*self.points, *([self.vanilla] if self.vanilla else []), *self.estimated]


def fixed_budget(run: Run) -> int | None:
    """Return the one budget that all questions of a run were asked with.

    It is None if there is no such budget. It is read from the records, so that a user's own program counts as
    `budget:N` does. A question that ended in an error before it had a budget does not speak against it.
    """
    common: int | None = None
    for record in run.iter_records():
        if record.outcome == "error" and record.token_budget is None:
            continue
        budget = record.token_budget if record.budget_source == "given" else None
        if budget is None or common not in (None, budget):
            return None
        common = budget
    return common if common is not None and common >= 1 else None


def elasticities(runs: Sequence[Run]) -> list[Elasticity]:
    """Make all elasticity curves that some runs hold.

    There is one for each model, prompting and data set with at least three fixed budgets.

    Runs of one curve differ in the budget alone. What they are read against shares model, settings and data: the first
    chain of thought without a budget (else the first of `runs`, if it has none), and programs that choose a budget for
    each question. A model without a question that all its budgets were tried on, with known tokens, has no curve.

    Args:
        runs: Any runs, in any order.
    """
    curves: dict[str, dict[int, Run]] = {}
    for run in runs:
        budget = fixed_budget(run)
        if budget is not None:
            curves.setdefault(experiment(run, NOT_THE_EXPERIMENT | {"program"}), {}).setdefault(budget, run)
    all_curves = []
    for fixed in curves.values():
        curve = _make_curve([fixed[budget] for budget in sorted(fixed)], runs) if len(fixed) >= LEAST_BUDGETS else None
        all_curves += [curve] if curve else []
    return all_curves


def _make_curve(fixed: Sequence[Run], runs: Sequence[Run]) -> Elasticity | None:
    """Make a curve of runs in the order of their budgets.

    It is None if they share no question with known tokens.
    """
    ids = [{r.id for r in run.records} for run in fixed]
    shared = set.intersection(*ids)
    counted = shared - {r.id for run in fixed for r in run.records if r.output_tokens is None}
    if not counted:
        return None
    apart = NOT_THE_EXPERIMENT | OF_THE_PROGRAM
    others = [run for run in runs if experiment(run, apart) == experiment(fixed[0], apart)]
    others = [run for run in others if shared & {r.id for r in run.records}]
    vanilla, estimated = vanilla_run(others, runs[0]), [run for run in others if _has_own_budgets(run)]
    points = tuple(_curve_row(run, shared, counted) for run in fixed)
    cheapest = min(range(len(points)), key=lambda i: points[i].output_tokens or 0.0)
    drawn = [*fixed, *([vanilla] if vanilla else []), *estimated]
    model = config_of(fixed[0]).get("model")
    return Elasticity(
        model=None if model is None else str(model),
        data=data_name(fixed[0]),
        n=len(shared),
        unshared=len(set.union(*ids) - shared),
        uncounted=len(shared - counted),
        runs=tuple(fixed),
        points=points,
        vanilla=_curve_row(vanilla, shared, counted) if vanilla else None,
        estimated=tuple(_curve_row(run, shared, counted) for run in estimated),
        rise=_token_rise(fixed[cheapest], fixed[0], counted),
        provenances=by_programs((shorten_text(run.name, 40), provenance_of(run)) for run in drawn),
    )


def _has_own_budgets(run: Run) -> bool:
    return any(r.budget_source in ("estimate", "clamped", "fallback") for r in run.records)


def _curve_row(run: Run, shared: Collection[str], counted: Collection[str]) -> ElasticityRow:
    records = [r for r in run.records if r.id in shared]
    scores = list(question_scores(records).values())
    tokens = _by_question(records, counted, "output_tokens")
    limited = [
        r.output_tokens < r.token_budget for r in records if r.token_budget is not None and r.output_tokens is not None
    ]
    return ElasticityRow(
        program=run.name,
        budget=mean_complete(r.token_budget for r in records if r.token_budget is not None),
        is_fixed=fixed_budget(run) is not None,
        n=len(scores),
        accuracy=math.fsum(scores) / len(scores),
        accuracy_interval=accuracy_interval(scores, len({r.repeat for r in records})),
        output_tokens=mean_complete(tokens),
        output_tokens_interval=_tokens_interval(tokens),
        net_tokens=mean_complete(_by_question(records, counted, "net_tokens")),
        below_budget=mean_complete(limited),
    )


def _by_question(records: Sequence[Record], counted: Collection[str], figure: str) -> list[float]:
    """Return a figure of each question, the mean over its draws.

    Questions with an unknown draw are left out.
    """
    draws: dict[str, list[float | None]] = {}
    for r in records:
        if r.id in counted:
            draws.setdefault(r.id, []).append(r.output_tokens if figure == "output_tokens" else r.net_tokens)
    return [value for value in map(mean_complete, draws.values()) if value is not None]


def _tokens_interval(values: Sequence[float]) -> Interval | None:
    interval = normal_interval(values)
    return interval and (max(0.0, interval[0]), interval[1])


def _token_rise(cheapest: Run, smallest: Run, counted: Collection[str]) -> PairedMeans:
    pairs = pair_runs(cheapest, smallest).of_questions(counted)
    return paired_means(pairs, [lambda c: c.output_tokens], seed=0, resamples=RESAMPLES)[0]


def elasticity_notes(curve: Elasticity) -> list[str]:
    """Say what the curve shows and what it rests on, a sentence each.

    The first sentence says whether tokens rise again at small budgets.
    """
    return [rise_sentence(curve), *_basis_notes(curve), *evidence_sentences(curve)]


def rise_sentence(curve: Elasticity) -> str:
    """Say where tokens rise again as the budget shrinks, or that no rise is seen."""
    smallest, cheapest, more = curve.points[0], curve.cheapest, curve.rise
    least = f"{number(cheapest.output_tokens)} at budget {number(cheapest.budget, 0)}"
    if cheapest is smallest:
        return f"No rise is seen: mean tokens are least at the smallest budget tried ({least})."
    description = f"the smallest budget, {number(smallest.budget, 0)},"
    if more.difference is None or more.interval is None or more.interval[0] <= 0:
        return (
            f"No rise is shown: mean tokens are least, {least}; {description} differs by {change_text(more)} (paired)."
        )
    return (
        f"Tokens rise again as the budget shrinks: they are least, {least}, and {description} takes "
        f"{with_bounds(more.difference, more.interval)} more (paired difference on {more.n} questions, the same that "
        "show which budget takes least)."
    )


def _basis_notes(curve: Elasticity) -> Iterator[str]:
    yield f"Intervals are 95 %, of each point alone, over {curve.n} questions."
    if curve.unshared:
        yield f"Left out: {curve.unshared} questions that not every budget was tried on."
    if curve.uncounted:
        yield f"Tokens are unknown on {curve.uncounted} questions under some budget: left out of all means of tokens."
    for row in curve.rows:
        if row.n < curve.n:
            yield f"{shorten_text(row.program, 40)} has {row.n} of the {curve.n} questions."


def evidence_sentences(curve: Elasticity) -> list[str]:
    """Say which model the curve is of, and the provenance of its figures."""
    model = f"Model: {curve.model or 'unknown'}."
    if len(curve.provenances) == 1:
        return [f"{model} Evidence: {provenance}." for provenance in curve.provenances]
    return [model, *(f"Evidence of {programs}: {provenance}." for provenance, programs in curve.provenances.items())]


def _budget_text(row: ElasticityRow) -> str:
    """Write the budget; a mean over questions is written as `mean N`."""
    if row.budget is None:
        return "none"
    return number(row.budget, 0) if row.is_fixed else f"mean {number(row.budget)}"


CURVE_COLUMNS: tuple[TableColumn[ElasticityRow], ...] = (
    TableColumn("Program", lambda r: r.program, {"program": lambda r: r.program}, is_text=True),
    TableColumn(
        "Budget", _budget_text, {"budget": lambda r: r.budget, "is_fixed": lambda r: r.is_fixed, "n": lambda r: r.n}
    ),
    TableColumn(
        "Accuracy %",
        lambda r: with_bounds(r.accuracy, r.accuracy_interval, 100),
        {"accuracy": lambda r: r.accuracy, **interval_bounds("accuracy", lambda r: r.accuracy_interval)},
    ),
    TableColumn(
        "Output tokens",
        lambda r: with_bounds(r.output_tokens, r.output_tokens_interval),
        {
            "output_tokens": lambda r: r.output_tokens,
            **interval_bounds("output_tokens", lambda r: r.output_tokens_interval),
        },
    ),
    TableColumn("Net tokens", lambda r: number(r.net_tokens), {"net_tokens": lambda r: r.net_tokens}),
    TableColumn(
        "Below budget %",
        lambda r: number(r.below_budget, scale=100),
        {"below_budget": lambda r: r.below_budget},
    ),
)
"""The columns of a curve's table, in order, for every format."""


def curve_table(curve: Elasticity) -> ReportTable[ElasticityRow]:
    """Make the table of a curve: a line a budget, its notes below."""
    return ReportTable(CURVE_COLUMNS, curve.rows, elasticity_notes(curve))


def rich_elasticity(curve: Elasticity, width: int = 100) -> "Table":
    """Show the curve on a terminal of `width` columns.

    Each budget is a line with a bar as long as its mean tokens.
    """
    from rich.box import SIMPLE_HEAD
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    notes = Text("\n").join(Text(visible(note, " "), style="dim") for note in elasticity_notes(curve)[1:])
    caption = Text("\n").join([Text(visible(rise_sentence(curve), " "), style="bold not italic"), notes])
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False, width=width)
    columns = {"Right %": "Accuracy %", "Output tokens": "Output tokens", "Below budget %": "Below budget %"}
    if width < NARROW:
        del columns["Below budget %"]
    table.add_column("Budget", overflow="fold", max_width=20)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", ratio=1)
    most = max(row.output_tokens or 0.0 for row in curve.rows) or 1.0
    for row in curve.rows:
        name = (
            row.program
            if row.budget is None
            else _budget_text(row)
            if row.is_fixed
            else f"{row.program} ({_budget_text(row)})"
        )
        figures = [column.cell(row) for column in CURVE_COLUMNS if column.name in columns.values()]
        style = "cyan" if row.is_fixed else "yellow"
        bar = ProgressBar(most, row.output_tokens or 0.0, complete_style=style, finished_style=style)
        table.add_row(Text(visible(name, " ")), *figures, bar, end_section=row is curve.points[-1])
    return table
