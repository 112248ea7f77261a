"""The table of a report on a terminal, as wide as the terminal is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tale_dspy.comparison.formatting import number, p_text
from tale_dspy.reports.report_table import UNKNOWN, ReportTable, TableColumn
from tale_dspy.reports.rows import CAPTION, COLUMNS, INTERVALS, ReportRow, provenance_notes, row_notes

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 150
"""Columns of a terminal from which every figure has a column of its own."""

_SINGLE_RUN_WIDTH = 110
"""Columns that the table of one run takes at most: it has no columns of differences."""

_CELLS = {column.name: column.cell for column in COLUMNS}


def rich_table(rows: Sequence[ReportRow], width: int = 100) -> "Table":
    """Make the table for a terminal of `width` columns.

    Below 150 columns, figures that belong together share a cell. A single run has no columns of differences.
    """
    table = ReportTable(_WIDE if width >= WIDE else _STACKED, rows, [*provenance_notes(rows), *row_notes(rows)])
    if all(row.tokens_per_right is None for row in rows):
        table = table.without({_PER_RIGHT})
    if len(rows) == 1:
        notes = [INTERVALS if note == CAPTION else note for note in table.notes]
        table, width = replace(table.without(_PAIRED), notes=notes), min(width, _SINGLE_RUN_WIDTH)
    return table.rich(width)


def _program_cell(row: ReportRow) -> str:
    return f"{row.program}\n{row.model or UNKNOWN}\n{row.data or UNKNOWN}, n = {number(row.n, 0)}"


def _outcome_lines(row: ReportRow) -> list[str]:
    return [f"{count} {name}" for name, count in row.outcomes.items()]


def _against_first(row: ReportRow) -> str:
    lines = {
        f"{_CELLS['Δ accuracy, points'](row)} points": row.accuracy_points,
        f"McNemar p {p_text(row.mcnemar_p or 0.0)}": row.mcnemar_p,
        f"tokens {_CELLS['Net tokens saved %'](row)}": row.net_saving,
        f"money {_CELLS['Money saved %'](row)}": row.money_saving,
    }
    return "\n".join(line for line, value in lines.items() if value is not None) or UNKNOWN


def _token_lines(row: ReportRow) -> str:
    return "\n".join(
        [
            f"output {number(row.output_tokens)}",
            f"estimate {number(row.estimate_tokens)}",
            f"net {number(row.net_tokens)}",
            f"USD/1000 {number(row.usd_per_1000, 4)}",
            f"s {_CELLS['p50 / p95 s'](row)}",
        ]
    )


def _two_lines(name: str) -> Callable[[ReportRow], str]:
    return lambda row: _CELLS[name](row).replace(" [", "\n[").replace(" / ", "\n")


_PER_RIGHT = "Tokens per\nright answer"

_PROGRAM = TableColumn("Program", _program_cell, is_text=True)
_STACKED: tuple[TableColumn[ReportRow], ...] = (
    _PROGRAM,
    TableColumn("Right %", lambda r: "\n".join([_two_lines("Accuracy %")(r), *_outcome_lines(r)])),
    TableColumn("Spent a question", _token_lines),
    TableColumn(_PER_RIGHT, _CELLS["Tokens / right answer"]),
    TableColumn("Paired difference:\npoints, p, saved %", _against_first),
)
_WIDE: tuple[TableColumn[ReportRow], ...] = (
    _PROGRAM,
    TableColumn("Right %", _two_lines("Accuracy %")),
    TableColumn("Other\noutcomes", lambda r: "\n".join(_outcome_lines(r)) or UNKNOWN),
    TableColumn("Output\ntokens", _CELLS["Output tokens"]),
    TableColumn("Estimate\ntokens", _CELLS["Estimate tokens"]),
    TableColumn("Net\ntokens", _CELLS["Net tokens"]),
    TableColumn(_PER_RIGHT, _CELLS["Tokens / right answer"]),
    TableColumn("USD per\n1000", _CELLS["USD per 1000"]),
    TableColumn("p50, p95\ns", _two_lines("p50 / p95 s")),
    TableColumn("Δ accuracy\npoints", _two_lines("Δ accuracy, points")),
    TableColumn("McNemar\np", _CELLS["McNemar p"]),
    TableColumn("Net tokens\nsaved %", _two_lines("Net tokens saved %")),
    TableColumn("Money\nsaved %", _two_lines("Money saved %")),
)

_PAIRED = {"Paired difference:\npoints, p, saved %", *(column.name for column in _WIDE[-4:])}
"""Columns of what is paired with the first run."""
