"""The folder of a search: `search.jsonl` beside the journal of calls, and what a killed search had asked already."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tale_dspy.optimizers.search.question import Draw
from tale_dspy.optimizers.search.search_records import SEARCH_FILE, SearchRow
from tale_dspy.runs.folder import JournalFolder
from tale_dspy.runs.records import read_jsonl

FAILED = "error: "
"""How the reason of a question begins that could not be asked; it is asked again when the search is continued."""

Place = tuple[str, str]
"""(predictor, question id)."""


class SearchFolder(JournalFolder):
    """The folder of a search, open for writing by one process at a time.

    Args:
        path: The folder; made if it is missing.
        info: What `run.json` must hold. An existing folder must have the same `config`.

    Attributes:
        rows: The questions that are finished, in the order in which they were.
    """

    results = SEARCH_FILE

    def __init__(self, path: str | Path, info: dict[str, Any]) -> None:
        self.rows: dict[Place, SearchRow] = {}
        super().__init__(path, info)
        self._known: dict[Place, list[Draw]] = defaultdict(list)
        for unit, repeat in dict.fromkeys((key[0], key[1]) for key in self.journal):
            place, budget = _parts(unit)
            self._known[place].append(Draw(budget, repeat))

    def read_results(self) -> None:
        rows = [SearchRow.from_json(row) for row in read_jsonl(self.path / self.results)]
        if any(_is_failed(row) for row in rows):
            rows = [row for row in rows if not _is_failed(row)]
            self.rewrite(self.results, [row.to_json() for row in rows])
        self.rows = {(row.predictor, row.id): row for row in rows}

    def is_done(self, unit: str, repeat: int) -> bool:
        return _parts(unit)[0] in self.rows

    def known(self, predictor: str, question: str) -> list[Draw]:
        """Return the budgets tried on a question by a process that did not finish it, in their order."""
        draws = self._known.get((predictor, question), [])
        return [draw for draw in draws if draw.budget is not None and not draw.number]

    def cost(self) -> tuple[int, float | None]:
        """Return calls answered and US dollars paid, by all processes; None if the price of a call is unknown."""
        rows = [row for row in read_jsonl(self.path / "calls.jsonl") if row.get("error") is None]
        return len(rows), total_cost(row["cost"] for row in rows)


def total_cost(costs: Iterable[float | None]) -> float | None:
    """Sum up US dollars; None if a part is unknown."""
    known = list(costs)
    return None if None in known else sum((c for c in known if c is not None), 0.0)


def unit_name(question: str, predictor: str, budget: int | None) -> str:
    """Name a draw in the journal of calls; fresh draws of a budget are told apart by their number."""
    return f"{question} {budget or 0} {predictor}"


def _parts(unit: str) -> tuple[Place, int | None]:
    question, budget, predictor = unit.split(" ", 2)
    return (predictor, question), int(budget) or None


def _is_failed(row: SearchRow) -> bool:
    return row.reason is not None and row.reason.startswith(FAILED)
