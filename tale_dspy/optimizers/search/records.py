"""What a search for budgets found.

Each question is one `SearchRow`, one line of `search.jsonl`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tale_dspy.errors import RunFolderError
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.runs.completeness import check_lines
from tale_dspy.runs.field_checks import FieldChecks
from tale_dspy.runs.files import iter_jsonl, read_json

SEARCH_FILE = "search.jsonl"


@dataclass(frozen=True)
class Trial:
    """One budget, asked once."""

    budget: int | str
    """Tokens asked for, or an effort word."""
    tokens: int | None
    """Completion tokens really used; None if the provider does not tell."""
    correct: bool
    text: str | None = None
    """The reply."""
    finish_reason: str | None = None


@dataclass(frozen=True)
class VanillaAnswer:
    """The answer without a budget."""

    tokens: int | None
    text: str | None
    correct: bool


@dataclass(frozen=True)
class ConfirmationDraws:
    """Fresh draws of the chosen budget."""

    n: int
    right: int


@dataclass(frozen=True)
class BestBudget:
    """The budget chosen for a question."""

    budget: int | str
    tokens: float
    """Mean completion tokens of the confirming draws; those of the chosen trial where nothing was confirmed."""
    selected_tokens: int
    """Tokens of the trial it was chosen for: a minimum over noisy draws, and therefore too low."""
    text: str | None
    """Its reply: the shortest right one of the chosen trial and the confirming draws."""
    confirmed: ConfirmationDraws


@dataclass(frozen=True, kw_only=True)
class SearchRow:
    """One question and what was found for it."""

    id: str
    """As in a run's records."""
    question: str | None
    inputs: CallArguments | None = None
    """All inputs, where there are others than `question`."""
    gold: Any
    predictor: str
    """The budgeted predictor that was searched."""
    vanilla: VanillaAnswer
    trials: list[Trial]
    """In the order they were asked; those that failed are left out."""
    best: BestBudget | None = None
    reason: str | None = None
    """Why there is no best budget; None where there is one."""
    judged_by: str = "gold"
    """`agreement` where right means: the same answer as without a budget."""
    unanswered: int = 0
    """Draws that no round of batches answered in time; the result is that of the others. The same search asks again."""

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "SearchRow":
        """Build a row from a line; keys of later versions are ignored.

        Raises:
            RunFolderError: If the line is none of a search.
        """
        try:
            fields = _ROW.checked_fields(row)
            fields["vanilla"] = VanillaAnswer(**_VANILLA.checked_fields(row["vanilla"]))
            fields["trials"] = [Trial(**_TRIAL.checked_fields(trial)) for trial in row["trials"]]
            fields["best"] = None if row["best"] is None else _best_budget(row["best"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            detail = f"it lacks {e}" if isinstance(e, KeyError) else e
            raise RunFolderError(f"the line is none of a search: {detail}") from e


_ROW, _VANILLA, _TRIAL = FieldChecks(SearchRow), FieldChecks(VanillaAnswer), FieldChecks(Trial)
_BEST, _DRAWS = FieldChecks(BestBudget), FieldChecks(ConfirmationDraws)


def _best_budget(row: Mapping[str, Any]) -> BestBudget:
    fields = _BEST.checked_fields(row)
    return BestBudget(**{**fields, "confirmed": ConfirmationDraws(**_DRAWS.checked_fields(fields["confirmed"]))})


def read_summary(folder: Path) -> JsonObject:
    """Read `summary.json`.

    It returns an empty one where there is none, as while a search goes on.
    """
    return read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}


def counted_questions(summary: JsonObject, folder: Path) -> int | None:
    """Return how many results a search had when its `summary.json` was written.

    None if there is no summary, or it does not say so.

    Raises:
        RunFolderError: If a count is no whole number.
    """
    parts = summary.get("predictors")
    figures = [*parts.values()] if isinstance(parts, dict) else [summary]
    counts = [one.get("n") if isinstance(one, dict) else one for one in figures]
    if counts == [None]:
        return None
    if not all(isinstance(count, int) and not isinstance(count, bool) for count in counts):
        raise RunFolderError(f"{folder / 'summary.json'}: n must be a whole number, got {counts!r:.60}")
    return sum(count for count in counts if isinstance(count, int))


def load_search(path: str | Path) -> list[SearchRow]:
    """Read the rows of a search.

    Args:
        path: The folder of a search, or its `search.jsonl`.

    Raises:
        RunFolderError: If there is none, a line of it is broken, or lines are missing.
    """
    file = Path(path)
    if file.is_dir():
        file = file / SEARCH_FILE
    if not file.is_file():
        raise RunFolderError(f"{path} is no search: it has no {SEARCH_FILE}")
    rows = {(row.predictor, row.id): row for _, row in iter_jsonl(file, SearchRow.from_json)}
    if Path(path).is_dir():
        check_lines(file, len(rows), counted_questions(read_summary(Path(path)), Path(path)))
    return list(rows.values())
