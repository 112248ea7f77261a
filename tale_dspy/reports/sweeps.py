"""Which of some runs are one program at several budgets.

The figures by question are drawn from these sweeps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tale_dspy.comparison.run_stats import config_of, data_name
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.elasticity import LEAST_BUDGETS
from tale_dspy.reports.experiments import NOT_THE_EXPERIMENT, OF_THE_PROGRAM, experiment, vanilla_run
from tale_dspy.reports.question_curves import QuestionCurve, curves_of_runs
from tale_dspy.reports.question_figures import question_drawings
from tale_dspy.reports.report_table import ReportTable, TableColumn
from tale_dspy.reports.rows import COLUMNS, ReportRow, provenance_sentences, report_rows, run_row
from tale_dspy.runs.records import Run


@dataclass(frozen=True)
class RunSweep:
    """One program at several budgets, and without one."""

    runs: tuple[Run, ...]
    """One each: the same budget for all questions (`budget:50`) or the same share of their tokens without one."""
    vanilla: Run
    """The same questions without a budget."""

    @property
    def curves(self) -> list[QuestionCurve]:
        """Tokens against budget, a curve a question."""
        return curves_of_runs(self.runs, self.vanilla)

    @property
    def notes(self) -> list[str]:
        """Say which model it is, and what it is evidence of."""
        model = config_of(self.vanilla).get("model") or "unknown"
        return [f"Model: {model}.", *provenance_sentences([run_row(run) for run in (self.vanilla, *self.runs)])]


def sweeps(runs: Sequence[Run]) -> list[RunSweep]:
    """Find all sweeps among some runs.

    A sweep has at least three budgets, a run without one, and no other difference.

    Args:
        runs: Any runs, in any order.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if len(run.columns) and all(r.budget_source == "given" for r in run.iter_records() if r.outcome != "error"):
            groups.setdefault(experiment(run, NOT_THE_EXPERIMENT | {"program"}), []).append(run)
    sweeps = []
    for group in groups.values():
        apart = NOT_THE_EXPERIMENT | OF_THE_PROGRAM
        alike = [run for run in runs if experiment(run, apart) == experiment(group[0], apart)]
        vanilla = vanilla_run(alike, runs[0])
        budgets = {run.columns.token_budget.tobytes() for run in group}  # one number with several words is no sweep
        if len(budgets) >= LEAST_BUDGETS and vanilla is not None:
            sweeps.append(RunSweep(tuple(group), vanilla))
    return sweeps


def sweep_table(vanilla: Run, points: Sequence[Run]) -> ReportTable[ReportRow]:
    """Make the table of a sweep, a row a budget.

    Each row has the paired difference of its tokens to those without a budget.
    """
    rows = report_rows([vanilla, *points])
    names = ("Program", "Accuracy %", "Output tokens", "Net tokens saved %", "Δ accuracy, points")
    notes = ["Intervals are 95 %; savings are paired with the same questions without a budget."]
    columns = [column for column in COLUMNS if column.name in names]
    return ReportTable(columns, rows, [*provenance_sentences(rows), *notes])


NARROW = 90
"""Columns of a terminal below which an interval stands under its figure: else the column of budgets has no room."""


def screen_sweep_table(vanilla: Run, points: Sequence[Run], width: int) -> ReportTable[ReportRow]:
    """Make the table of a sweep for a terminal of `width` columns."""
    table = sweep_table(vanilla, points)
    return table if width >= NARROW else replace(table, columns=[_narrow_column(column) for column in table.columns])


def _narrow_column(column: TableColumn[ReportRow]) -> TableColumn[ReportRow]:
    name = column.name.replace("accuracy, points", "accuracy,\npoints").replace("tokens saved", "tokens\nsaved")
    return replace(column, name=name, cell=lambda row: column.cell(row).replace(" [", "\n["))


def sweep_drawings(sweep: RunSweep) -> Iterator[Drawing]:
    """Draw tokens against budget for single questions and for all.

    A drawing without data is left out.

    Args:
        sweep: One of `sweeps`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    data = data_name(sweep.vanilla) or "unnamed data"
    return question_drawings(sweep.curves, data=data, notes=sweep.notes)
