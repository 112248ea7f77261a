"""One question of a run in the terminal, and the questions a run failed."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from tale_dspy.comparison.formatting import number
from tale_dspy.display import visible
from tale_dspy.errors import UsageError
from tale_dspy.reports.question_explorer import reply_text, reply_title
from tale_dspy.reports.report_table import ReportTable, TableColumn
from tale_dspy.reports.text import one_line, question_text, value_text
from tale_dspy.runs.records import Record, Run

if TYPE_CHECKING:
    from rich.console import Group

MAX_FAILED = 20
"""Questions of a run's list; the report page holds all."""
_TEXTS = {"question", "inputs", "gold", "reply", "answer"}
"""Fields that are shown as texts, not among the figures."""


def find_records(run: Run, wanted: str) -> list[Record]:
    """Return the draws of the question whose id is `wanted`, or begins with it.

    Raises:
        UsageError: If there is no such question, or there are several.
    """
    if not wanted.strip():
        raise UsageError("the id of a question is empty: give it, or how it begins")
    ids = [key.decode() for key in run.columns.question_ids().tolist()]
    matches = [wanted] if wanted in ids else [key for key in ids if key.startswith(wanted)]
    if len(matches) != 1:
        several = f"{len(matches)} questions whose id begins with {wanted!r}" if matches else f"no question {wanted!r}"
        raise UsageError(f"{run.path or run.name} has {several}")
    columns = run.columns
    places = (columns.ids == matches[0].encode()).nonzero()[0]
    return [run.record_at(int(columns.part[place]), int(columns.offset[place])) for place in places]


def failed_table(run: Run) -> ReportTable[Record]:
    """Make the table of the first questions that a run did not answer right."""
    failed = [record for record in run.iter_records() if not record.correct]
    more = len(failed) - MAX_FAILED
    right = "Every question was answered right." if len(run.columns.ids) else "No question is answered yet."
    notes = ["These questions were not answered right."] if failed else [right]
    notes += [f"{more:,} more are not shown; `tale view` shows all."] if more > 0 else []
    columns = [
        TableColumn[Record]("Id", lambda r: r.id, is_text=True),
        TableColumn[Record]("Outcome", lambda r: r.outcome, is_text=True),
        TableColumn[Record]("Question", lambda r: one_line(question_text(r.question, r.inputs), 60), is_text=True),
        TableColumn[Record]("Answer", lambda r: one_line(value_text(r.answer), 20), is_text=True),
        TableColumn[Record]("Gold", lambda r: one_line(value_text(r.gold), 20), is_text=True),
        TableColumn[Record]("Budget", lambda r: number(r.token_budget, 0)),
        TableColumn[Record]("Tokens", lambda r: number(r.output_tokens, 0)),
    ]
    return ReportTable(columns, failed[:MAX_FAILED], notes)


def rich_record(name: str, record: Record) -> "Group":
    """Show one answer: the question, the whole reply, every known figure."""
    from rich.console import Group
    from rich.text import Text

    parts: list[tuple[str, str]] = [
        (f"Question {record.id}", question_text(record.question, record.inputs)),
        ("Gold answer", value_text(record.gold)),
        (reply_title(name, record), reply_text(record)),
    ]
    texts = [
        Text(visible(title, " "), style="bold").append(f"\n{visible(text)}\n", style="not bold")
        for title, text in parts
    ]
    return Group(*texts, _record_figures(record).rich())


def _record_figures(record: Record) -> ReportTable[Sequence[str]]:
    known = [
        [f.name, value_text(vars(record)[f.name])]
        for f in fields(record)
        if f.name not in _TEXTS and vars(record)[f.name] is not None
    ]
    columns = [
        TableColumn[Sequence[str]]("Figure", lambda line: line[0], is_text=True),
        TableColumn[Sequence[str]]("Value", lambda line: line[1], is_text=True),
    ]
    return ReportTable(columns, known)
