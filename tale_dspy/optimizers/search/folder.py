"""The folder of a search: `search.jsonl` beside the journal of calls.

A search that was killed reads there what it had asked already.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tale_dspy.optimizers.search.question import BudgetQuery
from tale_dspy.optimizers.search.records import SEARCH_FILE, SearchRow
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.files import iter_jsonl, read_jsonl
from tale_dspy.runs.folder import JournalFolder

FAILED = "error: "
"""How the reason of a question begins that could not be asked; it is asked again when the search is continued."""
UNANSWERED = FAILED + "no batch answered {n} of its draws within {rounds} rounds"
"""The reason of a question without a budget that misses answers."""

PredictorQuestion = tuple[str, str]
"""(predictor, question id)."""


class SearchFolder(JournalFolder):
    """The folder of a search, open for writing by one process at a time.

    Args:
        path: The folder; made if it is missing.
        info: What `run.json` must hold. An existing folder must have the same `config`.

    Attributes:
        rows: The questions that are finished, in the order in which they were.
        asked_again: Those that an earlier process left without answers.
    """

    results = SEARCH_FILE

    def __init__(self, path: str | Path, info: JsonObject) -> None:
        self.rows: dict[PredictorQuestion, SearchRow] = {}
        self.asked_again: set[PredictorQuestion] = set()
        super().__init__(path, info)
        self._known: dict[PredictorQuestion, list[BudgetQuery]] = defaultdict(list)
        for sample, repeat in dict.fromkeys((key[0], key[1]) for key in self.journal):
            searched, budget = _parse_sample(sample)
            self._known[searched].append(BudgetQuery(budget, repeat))

    def read_results(self) -> None:
        rows = [row for _, row in iter_jsonl(self.path / self.results, SearchRow.from_json)]
        self.asked_again = {(row.predictor, row.id) for row in rows if error_of(row) is not None or row.unanswered}
        if self.asked_again:
            rows = [row for row in rows if (row.predictor, row.id) not in self.asked_again]
            self.drop_results([row.to_json() for row in rows])
        self.rows = {(row.predictor, row.id): row for row in rows}

    def is_done(self, sample: str, repeat: int) -> bool:
        return _parse_sample(sample)[0] in self.rows

    def known(self, predictor: str, question: str) -> list[BudgetQuery]:
        """Return the budgets an earlier process tried on an unfinished question.

        They come in the order in which they were tried.
        """
        draws = self._known.get((predictor, question), [])
        return [draw for draw in draws if draw.budget is not None and not draw.number]

    def cost(self) -> tuple[int, float | None]:
        """Return calls answered and US dollars paid, by all processes.

        The dollars are None if the price of a call is unknown.
        """
        rows = [row for row in read_jsonl(self.path / "calls.jsonl") if row.get("error") is None]
        return len(rows), total_cost(row["cost"] for row in rows)


def total_cost(costs: Iterable[float | None]) -> float | None:
    """Sum up US dollars; None if a part is unknown."""
    known = list(costs)
    return None if None in known else sum((c for c in known if c is not None), 0.0)


def sample_id(question: str, predictor: str, budget: int | str | None) -> str:
    """Return the id of a draw in the journal of calls.

    Fresh draws of a budget differ in their number alone.
    """
    return f"{question} {budget or 0} {predictor}"


def _parse_sample(sample: str) -> tuple[PredictorQuestion, int | str | None]:
    question, budget, predictor = sample.split(" ", 2)
    return (predictor, question), (int(budget) or None) if budget.isdecimal() else budget


def error_of(row: SearchRow) -> str | None:
    """Return the error that kept a question from being searched; None if it was."""
    failed = row.reason is not None and row.reason.startswith(FAILED)
    return (row.reason or "").removeprefix(FAILED) if failed else None
