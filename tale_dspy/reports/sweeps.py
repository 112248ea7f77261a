"""Which of some runs are one program at a ladder of budgets: what figures by question are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tale_dspy.comparison.run_stats import config_of, data_name
from tale_dspy.reports.elasticity import LEAST_BUDGETS
from tale_dspy.reports.experiments import NOT_THE_EXPERIMENT, OF_THE_PROGRAM, experiment, vanilla_run
from tale_dspy.reports.question_curves import QuestionCurve, curves_of_runs, pooled
from tale_dspy.reports.question_figures import elasticity_pooled, elasticity_questions
from tale_dspy.reports.rows import COLUMNS, provenance_of, report_rows
from tale_dspy.reports.text import by_programs, shortened, visible
from tale_dspy.runs.records import Run

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Ladder:
    """One program at several budgets, and without one."""

    runs: tuple[Run, ...]
    """A rung each: the same budget for all questions (`budget:50`) or the same share of their tokens without one."""
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
        provenances = by_programs((shortened(run.name, 40), provenance_of(run)) for run in (self.vanilla, *self.runs))
        if len(provenances) == 1:
            return [f"Model: {model}. Evidence: {provenance}." for provenance in provenances]
        return [
            f"Model: {model}.",
            *(f"Evidence of {programs}: {provenance}." for provenance, programs in provenances.items()),
        ]


def ladders(runs: Sequence[Run]) -> list[Ladder]:
    """Find all ladders among some runs: three rungs at least, that differ in their budgets alone, and a vanilla run.

    Args:
        runs: Any runs, in any order.
    """
    rungs: dict[str, list[Run]] = {}
    for run in runs:
        if run.records and all(r.budget_source == "given" for r in run.records if r.outcome != "error"):
            rungs.setdefault(experiment(run, NOT_THE_EXPERIMENT | {"program"}), []).append(run)
    found = []
    for group in rungs.values():
        apart = NOT_THE_EXPERIMENT | OF_THE_PROGRAM
        alike = [run for run in runs if experiment(run, apart) == experiment(group[0], apart)]
        vanilla = vanilla_run(alike, runs[0])
        if len(group) >= LEAST_BUDGETS and vanilla is not None:
            found.append(Ladder(tuple(group), vanilla))
    return found


def rich_rungs(vanilla: Run, rungs: Sequence[Run]) -> "Table":
    """Show a ladder on a terminal: a line a budget, with the paired difference of its tokens to those without one."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rows = report_rows([vanilla, *rungs])
    provenances = by_programs((row.program, row.provenance) for row in rows)
    told = [f"Evidence: {provenance}." for provenance in provenances]
    told += ["Intervals are 95 %; savings are paired with the same questions without a budget."]
    caption = Text(visible("\n".join(told)))
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
    table.add_column("Budget", overflow="fold", max_width=24)
    for name in ("Right %", "Output tokens", "Tokens saved %", "Δ accuracy, points"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = [COLUMNS[name](row) for name in ("Accuracy %", "Output tokens", "Net tokens saved %")]
        table.add_row(Text(visible(row.program, " ")), *cells, COLUMNS["Δ accuracy, points"](row))
    return table


def ladder_figures(ladder: Ladder, out: Path, prefix: str = "elasticity") -> list[Path]:
    """Draw tokens against budget for single questions and for all of them, as far as there is something to draw.

    Args:
        ladder: One of `ladders`.
        out: A folder.
        prefix: What the names of the files begin with.

    Returns:
        The PNG, SVG and CSV files.

    Raises:
        UsageError: If they cannot be written.
        MissingExtraError: If matplotlib is not installed.
    """
    curves, data = ladder.curves, data_name(ladder.vanilla) or "unnamed data"
    paths: list[Path] = []
    if any(c.vanilla_tokens and c.vanilla_right and c.points for c in curves):
        paths += elasticity_questions(curves, out / f"{prefix}_questions", data=data, notes=ladder.notes)
    if pooled(curves):
        paths += elasticity_pooled(curves, out / f"{prefix}_pooled", data=data, notes=ladder.notes)
    return paths
