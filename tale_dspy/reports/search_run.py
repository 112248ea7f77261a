"""A finished search as a report sees it: its rows, source and provenance."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tale_dspy.comparison.formatting import number
from tale_dspy.errors import RunFolderError, UsageError
from tale_dspy.optimizers.search.ideal_range import IdealRangeMetrics, ideal_range_metrics
from tale_dspy.optimizers.search.records import SEARCH_FILE, SearchRow, load_search
from tale_dspy.reports.report_table import ReportTable, TableColumn
from tale_dspy.reports.rows import ReportRow, provenance_of
from tale_dspy.reports.text import shorten_text
from tale_dspy.runs.records import Run, read_json
from tale_dspy.statistics import mean_known

GRID = "GridSampler"
"""The sampler whose trials tell the ideal ranges."""


@dataclass(frozen=True)
class SearchRun:
    """The folder of a search."""

    info: Mapping[str, Any]
    """The content of its `run.json`; empty where there is none."""
    rows: Sequence[SearchRow]
    """Of one predictor."""
    folder: Path | None = None

    @property
    def data(self) -> str:
        """Name of the questions."""
        return str(self._search_config.get("data", {}).get("name") or "unnamed data")

    @property
    def model(self) -> str | None:
        """The model that was asked; None if it is not recorded."""
        model = self._search_config.get("model")
        return None if model is None else str(model)

    @property
    def sampler(self) -> str:
        """What chose the budgets that were tried."""
        return str(self._search_config.get("search", {}).get("sampler") or "unknown sampler")

    @property
    def predictor(self) -> str:
        """The predictor that was searched."""
        return self.rows[0].predictor

    @property
    def provenance(self) -> str:
        """What its figures are evidence of (design, section 5)."""
        return provenance_of(Run(info=dict(self.info), records=[]))

    def _repr_html_(self) -> str:
        """Show what was found in a notebook."""
        return search_summary(self)._repr_html_()

    @property
    def _search_config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.info.get("config", {})
        return config


def is_search(path: Path) -> bool:
    """Return whether a folder is one of a search."""
    return (path / SEARCH_FILE).is_file()


def load_search_runs(path: str | Path) -> list[SearchRun]:
    """Read a search's folder as one `SearchRun` for each predictor searched.

    Raises:
        RunFolderError: If it is no search, holds no finished question, or is broken.
    """
    folder = Path(path)
    rows = load_search(folder)
    if not rows:
        raise RunFolderError(f"{path} holds no finished question")
    info = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    names = dict.fromkeys(row.predictor for row in rows)
    return [SearchRun(info, [row for row in rows if row.predictor == name], folder) for name in names]


def search_notes(search: SearchRun) -> list[str]:
    """Say what a figure of a search rests on."""
    judged = "" if all(row.judged_by == "gold" for row in search.rows) else " Right means: as without a budget."
    missing = sum(row.unanswered > 0 for row in search.rows)
    unanswered = [f"{missing} questions miss answers that no batch brought in time."] if missing else []
    return [f"Budgets were chosen by {search.sampler}.{judged}", *unanswered, f"Evidence: {search.provenance}."]


def search_sentence(search: SearchRun) -> str:
    """Say in a sentence what a search found, and what that would save."""
    table = search_table(search)
    name = f"Search of {shorten_text(search.predictor, 40)} on {search.data}"
    sentence = f"{name}: {table['With a best budget']} of {len(search.rows):,} questions have a best budget"
    if table["Tokens saved %"] == "–":
        return f"{sentence}."
    vanilla, best = table["Tokens without a budget (of these)"], table["Tokens with the best budget (confirmed)"]
    saved = table["Tokens saved %"]
    return f"{sentence}, with which they take {best} output tokens in place of {vanilla}: {saved} % fewer."


def search_table(search: SearchRun) -> dict[str, str]:
    """Summarise a search in a few figures, as text.

    They say what was found, what it saves, and why questions have no best budget. The saving is that of the questions
    whose tokens without a budget are known.
    """
    rows, chosen = search.rows, [(row, row.best) for row in search.rows if row.best is not None]
    reasons = Counter(shorten_text(row.reason, 60) for row in rows if row.reason)
    known = [(row, b) for row, b in chosen if row.vanilla.tokens is not None]
    vanilla = mean_known([row.vanilla.tokens for row, _ in known])
    best = mean_known([b.tokens for _, b in known or chosen])
    saved = "–" if not vanilla or best is None else f"{100 * (1 - best / vanilla):.1f}"
    searched_rows = [row for row in rows if row.trials]
    trials = None if not searched_rows else sum(len(row.trials) for row in searched_rows) / len(searched_rows)
    return {
        "Questions": str(len(rows)),
        "Right without a budget": str(sum(row.vanilla.correct for row in rows)),
        "With a best budget": str(len(chosen)),
        "Budgets tried a question": number(trials),
        "Tokens without a budget (of these)": number(vanilla),
        "Tokens with the best budget (confirmed)": number(best),
        "Tokens saved %": saved,
        **{f"Without: {reason}": str(count) for reason, count in reasons.items()},
    }


def search_summary(search: SearchRun) -> ReportTable[tuple[str, str]]:
    """Make the table that sums a search up."""
    return ReportTable(
        [
            TableColumn("Search", lambda line: line[0], {"figure": lambda line: line[0]}, is_text=True),
            TableColumn(search.sampler, lambda line: line[1], {"value": lambda line: line[1]}),
        ],
        list(search_table(search).items()),
    )


def searched_row(search: SearchRun) -> ReportRow:
    """Make a row of a report from a search.

    Each question has the budget found for it, or none where none was confirmed. Accuracy and tokens are those of the
    confirming draws, which the search did not choose by.
    """
    right, tokens = list[float](), list[float | None]()
    for row in search.rows:
        best = row.best
        right.append(best.confirmed.right / best.confirmed.n if best and best.confirmed.n else row.vanilla.correct)
        tokens.append(best.tokens if best else row.vanilla.tokens)
    n, known = len(search.rows), [t for t in tokens if t is not None]
    vanilla = mean_known([float(row.vanilla.tokens) for row in search.rows if row.vanilla.tokens is not None])
    mean, plain = mean_known(known), sum(row.vanilla.correct for row in search.rows) / n
    return ReportRow(
        program="searched budgets, confirmed",
        model=search.model,
        data=search.data,
        n=n,
        accuracy=sum(right) / n,
        output_tokens=mean,
        net_tokens=mean,
        usd_per_1000=None,
        outcomes={},
        provenance=search.provenance,
        notes=(
            "on the searched questions, each under its own budget where one was confirmed on fresh draws, as an oracle "
            f"would know it; without budgets {number(100 * plain)} % of them are right, {number(vanilla)} tokens each",
        ),
    )


def run_range_quality(run: Run, search: SearchRun) -> IdealRangeMetrics | None:
    """Measure the budgets of a run against the ideal ranges of a search.

    It returns None where the run and the search share no question. The measure is the paper's (section 4 and appendix
    A.1). Of several draws of a question the first counts.
    """
    budgets: dict[str, float | None] = {}
    for r in run.iter_records():
        budgets.setdefault(r.id, r.token_budget)
    try:
        return ideal_range_metrics(budgets, search.rows)
    except UsageError:
        return None


def range_qualities(runs: Sequence[Run], search: SearchRun) -> list[tuple[Run, IdealRangeMetrics]]:
    """Measure the budgets of those runs that answered questions of the search."""
    measured = [(run, run_range_quality(run, search)) for run in runs]
    return [(run, quality) for run, quality in measured if quality is not None]


def range_sentence(name: str, quality: IdealRangeMetrics, search: SearchRun) -> str:
    """Say how well budgets hit the ideal ranges, and how far to trust them."""
    doubt = (
        "" if search.sampler == GRID else f" The ranges are rough: only a grid search shows them, not {search.sampler}."
    )
    return f"{shorten_text(name, 40)}: {quality}.{doubt}"
