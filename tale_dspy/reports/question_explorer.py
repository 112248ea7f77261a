"""All questions of some runs as a searchable table, replies side by side."""

from collections.abc import Callable, Collection, Iterator, Sequence

from tale_dspy.comparison.formatting import number
from tale_dspy.reports.explorer import MAX_ROWS_WITH_TEXT, ExplorerColumn, RowExplorer, TextPane
from tale_dspy.reports.text import one_line, question_text, value_text
from tale_dspy.runs.records import Record, Run

RIGHT_TO_WRONG, WRONG_TO_RIGHT = "right→wrong", "wrong→right"
FLIPS = (RIGHT_TO_WRONG, WRONG_TO_RIGHT)
CHANGE = "Change"
"""Name of the column that says how the outcome differs from the first run's."""

MOST_ANSWERS = 20_000
"""Answers of a run that the table shows; more would not fit on a page."""
ELSEWHERE = "This page is too small for the texts of all questions: `tale show RUN ID` shows any of them."
_Key = tuple[str, int]
_Drawn = Sequence[Record | None]


def question_explorer(runs: Sequence[Run], names: Sequence[str] | None = None) -> RowExplorer:
    """Make the table of all questions.

    Each draw of a question is a row with the runs' figures side by side.

    Args:
        runs: One run or more; the others' changes are against the first.
        names: What each run is called; None for its program.
    """
    names = [run.name for run in runs] if names is None else names
    drawn: dict[_Key, list[Record | None]] = {}
    for i, run in enumerate(runs):
        for record in _first_answers(run, drawn):
            drawn.setdefault((record.id, record.repeat), [None] * len(runs))[i] = record
    rows = list(drawn.values())
    left_out = max(0, max(len(run.columns) for run in runs) - len(rows))
    firsts = [next(record for record in row if record is not None) for row in rows]
    width = 300 if len(rows) <= MAX_ROWS_WITH_TEXT else 60
    columns = [
        ExplorerColumn(
            name="Question", values=[one_line(question_text(r.question, r.inputs), width) for r in firsts], kind="text"
        ),
        ExplorerColumn(name="Gold", values=[one_line(value_text(r.gold), 60) for r in firsts], kind="text"),
    ]
    if any(r.group for r in firsts):
        columns.append(
            ExplorerColumn(name="Group", values=[r.group for r in firsts], kind="word", is_filter=True),
        )
    if any(r.repeat for r in firsts):
        columns.append(ExplorerColumn(name="Draw", values=[r.repeat + 1 for r in firsts]))
    for group, name in enumerate(names):
        columns += _run_columns(group, name, [row[group] for row in rows], several=len(runs) > 1)
        if group:
            changes = [_outcome_change(row[0], row[group]) for row in rows]
            columns.append(ExplorerColumn(name=CHANGE, values=changes, kind="word", group=group, is_filter=True))
    return RowExplorer(
        source="questions",
        unit="questions" if len(rows) == len({record.id for record in firsts}) else "answers",
        groups=list(names),
        columns=columns,
        panes=lambda i: _reply_panes(names, rows[i], firsts[i]),
        is_telling=lambda i: any(_is_failure(r) for r in rows[i]) or len({r.correct for r in rows[i] if r}) > 1,
        elsewhere=f"{f'{left_out:,} further answers are not in this table. ' if left_out else ''}{ELSEWHERE}",
    )


def _first_answers(run: Run, wanted: Collection[_Key]) -> Iterator[Record]:
    """Yield at most about `MOST_ANSWERS` records of a run.

    Of a run with more, those whose keys are in `wanted` are taken, else the first.
    """
    columns = run.columns
    if len(columns) <= MOST_ANSWERS:
        yield from run.iter_records()
        return
    import numpy as np

    places, chosen = np.arange(MOST_ANSWERS), frozenset(wanted)
    if chosen:
        ids = np.array([key.encode() for key, _ in chosen])
        places = np.flatnonzero(np.isin(columns.ids, ids))
    for part, offset in zip(columns.part[places].tolist(), columns.offset[places].tolist(), strict=True):
        record = run.record_at(part, offset)
        if not chosen or (record.id, record.repeat) in chosen:
            yield record


def _run_columns(group: int, name: str, records: _Drawn, *, several: bool) -> list[ExplorerColumn]:
    """Return the columns of one run, without those unknown for every question."""
    prefix = f"{name}: " if several else ""
    figures: dict[str, tuple[Callable[[Record], float | None], int]] = {
        "budget": (lambda r: r.token_budget, 0),
        "tokens": (lambda r: r.output_tokens, 0),
        "thinking": (lambda r: r.reasoning_tokens, 0),
        "estimate": (lambda r: r.estimate_tokens, 0),
        "USD": (lambda r: r.price_usd, 6),
    }

    def known(figure: Callable[[Record], float | None]) -> list[float | None]:
        return [None if record is None else figure(record) for record in records]

    outcomes = [None if record is None else record.outcome for record in records]
    columns = [
        ExplorerColumn(name=f"{prefix}outcome", values=outcomes, kind="word", group=group, is_filter=True),
        ExplorerColumn(
            name=f"{prefix}answer",
            values=[None if record is None else one_line(value_text(record.answer), 60) for record in records],
            kind="text",
            group=group,
        ),
    ]
    efforts = [None if record is None else record.effort for record in records]
    if any(efforts):
        columns.append(ExplorerColumn(name=f"{prefix}effort", values=efforts, kind="word", group=group, is_filter=True))
    for figure_name, (figure, digits) in figures.items():
        values = known(figure)
        if any(values):
            columns.append(
                ExplorerColumn(name=f"{prefix}{figure_name}", values=values, digits=digits, group=group),
            )
    within = [None if record is None else _adherence_text(record) for record in records]
    if any(within):
        columns.append(
            ExplorerColumn(name=f"{prefix}within budget", values=within, kind="word", group=group, is_filter=True)
        )
    return columns


def _adherence_text(record: Record) -> str | None:
    if not record.token_budget or record.output_tokens is None:
        return None
    return "yes" if record.output_tokens <= record.token_budget else "no"


def _outcome_change(before: Record | None, after: Record | None) -> str | None:
    if before is None or after is None:
        return None
    if before.correct != after.correct:
        return RIGHT_TO_WRONG if before.correct else WRONG_TO_RIGHT
    return "none" if before.outcome == after.outcome else f"{before.outcome}→{after.outcome}"


def _is_failure(record: Record | None) -> bool:
    return record is not None and record.outcome not in ("correct", "wrong")


def _reply_panes(names: Sequence[str], row: _Drawn, first: Record) -> list[TextPane]:
    panes = [
        TextPane(title=f"Question {first.id}", text=question_text(first.question, first.inputs), group=None),
        TextPane(title="Gold answer", text=value_text(first.gold), group=None),
    ]
    for group, (name, record) in enumerate(zip(names, row, strict=True)):
        if record is not None:
            panes.append(TextPane(title=reply_title(name, record), text=reply_text(record), group=group))
    return panes


def reply_title(name: str, record: Record) -> str:
    """Write a reply's title: the program, how it ended, budget and tokens."""
    parts = [f"{name}: {record.outcome}", f"answer {one_line(value_text(record.answer), 60)}"]
    if record.effort is not None:
        parts.append(f"effort {record.effort}")
    if record.token_budget is not None:
        parts.append(f"budget {number(record.token_budget, 0)}")
    parts.append(f"{number(record.output_tokens, 0)} tokens")
    if record.estimate_tokens is not None:
        parts.append(f"{number(record.estimate_tokens, 0)} for the estimate")
    return ", ".join(parts)


def reply_text(record: Record) -> str:
    """Return the reply of a record, or why there is none."""
    return record.reply or record.error or "no reply"
