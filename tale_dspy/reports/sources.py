"""Everything a report is made of, with shared results worked out once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tale_dspy.comparison.compare import Comparison
from tale_dspy.comparison.load_runs import load_runs, refuse_repeated
from tale_dspy.reports.elasticity import Elasticity, elasticities
from tale_dspy.reports.rows import ReportRow, compared_row, comparison_of, run_row
from tale_dspy.reports.search_run import SearchRun, is_search, load_search_runs
from tale_dspy.reports.sweeps import RunSweep, sweeps
from tale_dspy.reports.training_run import TrainingRun, is_training, load_training
from tale_dspy.runs.records import Run


@dataclass(frozen=True)
class ReportSources:
    """Runs, searches and trainings that are reported together.

    The first run is the baseline.
    """

    runs: Sequence[Run] = ()
    searches: Sequence[SearchRun] = ()
    trainings: Sequence[TrainingRun] = ()

    @cached_property
    def comparisons(self) -> list[Comparison | None]:
        """Each run against the first.

        An entry is None for the first run, and where no question is shared.
        """
        return [None, *(comparison_of(self.runs[0], run) for run in self.runs[1:])] if self.runs else []

    @cached_property
    def rows(self) -> list[ReportRow]:
        """The runs as rows of the table."""
        if not self.runs:
            return []
        others = zip(self.runs[1:], self.comparisons[1:], strict=True)
        return [run_row(self.runs[0]), *(compared_row(self.runs[0], run, c) for run, c in others)]

    @cached_property
    def curves(self) -> list[Elasticity]:
        """The elasticity curves there are."""
        return elasticities(self.runs)

    @cached_property
    def sweeps(self) -> list[RunSweep]:
        """The programs there are at several budgets, with a run without one."""
        return sweeps(self.runs)

    @property
    def named_searches(self) -> list[tuple[str, str, SearchRun]]:
        """The searches, each with its key and the folder of its figures.

        The folder is empty where there is only one search.
        """
        if len(self.searches) == 1:
            return [("search-1", "", self.searches[0])]
        return [(f"search-{i}", f"{i:02d}_{_file_stem(s.folder)}/", s) for i, s in enumerate(self.searches, 1)]


def load_sources(paths: Sequence[Path]) -> ReportSources:
    """Read folders of runs, searches and trained adapters, in any order.

    Raises:
        UsageError: If a folder is given twice.
        RunFolderError: If one of them is none of these, or broken.
    """
    refuse_repeated(paths)
    searches = [search for path in paths if is_search(path) for search in load_search_runs(path)]
    trainings = [load_training(path) for path in paths if is_training(path)]
    runs = load_runs([path for path in paths if not is_search(path) and not is_training(path)])
    return ReportSources(runs, searches, trainings)


def _file_stem(folder: Path | None) -> str:
    name = "" if folder is None else folder.name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:40].strip("-.") or "search"
