"""Which of some runs are one program at a ladder of budgets: what figures by question are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tale_dspy.reports.elasticity import LEAST_BUDGETS
from tale_dspy.reports.experiments import NOT_THE_EXPERIMENT, OF_THE_PROGRAM, experiment, vanilla_run
from tale_dspy.reports.question_curves import QuestionCurve, curves_of_runs, pooled
from tale_dspy.reports.question_figures import elasticity_pooled, elasticity_questions
from tale_dspy.reports.rows import evidence_mark
from tale_dspy.reports.text import by_programs, shortened
from tale_dspy.runs.records import Run
from tale_dspy.runs.sides import config_of, data_name


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
        marks = by_programs((shortened(run.name, 40), evidence_mark(run)) for run in (self.vanilla, *self.runs))
        if len(marks) == 1:
            return [f"Model: {model}. Evidence: {mark}." for mark in marks]
        return [f"Model: {model}.", *(f"Evidence of {programs}: {mark}." for mark, programs in marks.items())]


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
