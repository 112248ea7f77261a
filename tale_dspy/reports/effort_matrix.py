"""Model x effort: accuracy, tokens and dollars of several models in a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tale_dspy.budget import BudgetValue
from tale_dspy.comparison.run_stats import data_name, has_budget
from tale_dspy.display import number
from tale_dspy.optimizers.search.budget_space import check_efforts
from tale_dspy.reports.experiments import VANILLA
from tale_dspy.reports.report_table import UNKNOWN, ReportTable, TableColumn
from tale_dspy.reports.rows import ReportRow, run_row
from tale_dspy.runs.records import Run

LEAST_MODELS = 2
"""Models from which on there is a matrix to show."""
NO_WORD = "no word"
"""Name of the column of runs without any budget."""


@dataclass(frozen=True)
class ModelEfforts:
    """The runs of one model on one data set, by what they asked for."""

    model: str
    data: str | None
    runs: dict[str, ReportRow]
    """Effort word, with the number of the phrase where there is one, or `NO_WORD` -> its run."""


def effort_setting(run: Run) -> str | None:
    """Return the one effort word of a run, such as `low` or `low+50`.

    It is None if the run has none or several. A chain of thought without a budget is `NO_WORD`.
    """
    if run.info.get("program", {}).get("class") in VANILLA and not has_budget(run):
        return NO_WORD
    columns: set[tuple[str | None, int | None]] = set()
    for r in run.iter_records():
        if r.outcome != "error" or r.effort is not None:
            columns.add((r.effort, r.token_budget))
        if len(columns) > 1 or (columns and next(iter(columns))[0] is None):
            return None
    effort, tokens = columns.pop() if columns else (None, None)
    return None if effort is None else str(BudgetValue(tokens, effort))


def effort_matrices(runs: Sequence[Run]) -> Iterator[ReportTable[ModelEfforts]]:
    """Yield a table for each data set with several models at effort words."""
    models: dict[tuple[str | None, str], dict[str, ReportRow]] = {}
    for run in runs:
        setting, row = effort_setting(run), run_row(run)
        if setting is not None and row.model is not None:
            models.setdefault((data_name(run), row.model), {}).setdefault(setting, row)
    for data in dict.fromkeys(data for data, _ in models):
        rows = [ModelEfforts(model, name, cells) for (name, model), cells in models.items() if name == data]
        worded = [row for row in rows if row.runs.keys() - {NO_WORD}]
        if len(worded) >= LEAST_MODELS:
            yield _matrix(worded)


def _matrix(rows: Sequence[ModelEfforts]) -> ReportTable[ModelEfforts]:
    words = check_efforts([setting for row in rows for setting in row.runs if setting != NO_WORD])
    settings = [*([NO_WORD] if any(NO_WORD in row.runs for row in rows) else []), *words]
    columns = [
        TableColumn[ModelEfforts]("model", lambda row: row.model, {"model": lambda row: row.model}, is_text=True),
        *(_setting_column(setting) for setting in settings),
    ]
    counts = {run.n for row in rows for run in row.runs.values()}
    notes = ["Each cell: right %, output tokens a question, US dollars per 1000 questions."]
    if len(counts) > 1:
        numbers = ", ".join(number(n, 0) for n in sorted(n for n in counts if n is not None))
        notes.append(f"The runs are of different numbers of questions ({numbers}): cells are no fair comparison.")
    return ReportTable(columns, rows, notes)


def _setting_column(setting: str) -> TableColumn[ModelEfforts]:
    def cell(row: ModelEfforts) -> str:
        run = row.runs.get(setting)
        if run is None:
            return UNKNOWN
        right = UNKNOWN if run.accuracy is None else f"{number(100 * run.accuracy)} %"
        usd = UNKNOWN if run.usd_per_1000 is None else f"${number(run.usd_per_1000, 3)}"
        return " · ".join([right, number(run.output_tokens), usd])

    def value(name: str, row: ModelEfforts) -> object:
        run = row.runs.get(setting)
        return None if run is None else vars(run)[name]

    key = setting.replace(" ", "_")
    names = ("n", "accuracy", "output_tokens", "usd_per_1000")
    return TableColumn(setting, cell, {f"{key}_{name}": partial(value, name) for name in names})
