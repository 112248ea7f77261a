"""A tuning as it lies in its folder.

That is its trials, the front, and the chosen program on fresh questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tale_dspy.comparison.compare import Comparison, compare
from tale_dspy.comparison.formatting import number
from tale_dspy.optimizers.pareto_front import FrontPoint, load_front
from tale_dspy.reports.report_table import ReportTable, TableColumn
from tale_dspy.runs.records import load_run
from tale_dspy.runs.tuning_folder import FRESH_RUNS, FRESH_SUFFIX, FRONT_FOLDER, PROGRAM_FILE, trial_folders


@dataclass(frozen=True, kw_only=True)
class TuningRun:
    """The folder of a tuning."""

    folder: Path
    trials: int
    """Variants that were measured."""
    front: Sequence[FrontPoint]
    """From the fewest tokens to the most; the program of each is its file. Empty before the search has ended."""
    data: str
    """Name of the questions that the front was measured on."""
    chosen: FrontPoint | None
    """The program that was chosen of the front; None before one was."""
    comparison: Comparison | None
    """The chosen program against the same one without budgets, on fresh questions; None before they were asked."""

    @property
    def sentence(self) -> str:
        """Say how many variants were tried, and which of the front was chosen."""
        tried = f"Tuning {self.folder}: {self.trials} trial{'' if self.trials == 1 else 's'}"
        if not self.front:
            return f"{tried}, and it is not finished: the same `tale tune` command continues."
        chosen = "none is chosen yet" if self.chosen is None else f"chosen (*): {self.chosen}"
        return f"{tried}, {len(self.front)} of the programs on the front; {chosen}."


def load_tuning(folder: Path) -> TuningRun:
    """Read the folder of a tuning, finished or not.

    Raises:
        RunFolderError: If a file in it is broken.
    """
    front, data = load_front(folder / FRONT_FOLDER)
    fresh = [folder / name for name in FRESH_RUNS]
    is_measured = all((run / "summary.json").is_file() for run in fresh)
    return TuningRun(
        folder=folder,
        trials=sum(not run.name.endswith(FRESH_SUFFIX) for run in trial_folders(folder)),
        front=front,
        data=data,
        chosen=next((point for point in front if _same_file(point.program, folder / PROGRAM_FILE)), None),
        comparison=compare(*map(load_run, fresh)) if is_measured else None,
    )


def _same_file(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def front_table(front: Sequence[FrontPoint], chosen: FrontPoint | None) -> ReportTable[FrontPoint]:
    """Make the table of a front, the chosen program marked with a star."""
    return ReportTable(
        [
            TableColumn("", lambda p: "*" if p is chosen else "", {"chosen": lambda p: p is chosen}, is_text=True),
            TableColumn(
                "Right %", lambda p: number(100 * p.measured.accuracy), {"accuracy": lambda p: p.measured.accuracy}
            ),
            TableColumn("Tokens", lambda p: number(p.measured.tokens), {"tokens": lambda p: p.measured.tokens}),
            TableColumn("USD/1000", _cost_text, {"cost_usd": lambda p: p.measured.cost_usd}),
            TableColumn(
                "What was chosen",
                lambda p: p.changes + ("" if p.is_fresh else " (not measured again)"),
                {"choices": lambda p: dict(p.choices), "fresh": lambda p: p.is_fresh, "n": lambda p: p.measured.n},
                is_text=True,
            ),
        ],
        front,
    ).known()


def _cost_text(point: FrontPoint) -> str:
    cost = point.measured.cost_usd
    return number(None if cost is None else 1000 * cost, 4)
