"""The table of a report on a terminal, as wide as the terminal is."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from tale_dspy.comparison.formatting import number, p_text
from tale_dspy.reports.rows import COLUMNS, ReportRow, evidence, row_notes
from tale_dspy.reports.text import visible

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 150
"""Columns of a terminal from which every figure has a column of its own."""


def rich_table(rows: Sequence[ReportRow], width: int = 100) -> "Table":
    """Make the table for a terminal of `width` columns; under 150, figures that belong together share a cell."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    below = [*evidence(rows), *row_notes(rows)]
    caption = Text("\n").join(Text(visible(line, " "), style="dim") for line in below)
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
    table.width = width
    columns = _WIDE if width >= WIDE else _STACKED
    if all(row.tokens_per_right is None for row in rows):
        columns = {name: cell for name, cell in columns.items() if name != _PER_RIGHT}
    for name in columns:
        first = name == "Program"
        justify: Literal["left", "right"] = "left" if first else "right"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=not first, min_width=12 if first else None)
    for row in rows:
        table.add_row(*(Text(visible(cell(row))) for cell in columns.values()), end_section=True)
    return table


def _program(row: ReportRow) -> str:
    return f"{row.program}\n{row.model or '–'}\n{row.data or '–'}, n = {number(row.n, 0)}"


def _outcomes(row: ReportRow) -> list[str]:
    return [f"{count} {name}" for name, count in row.outcomes.items()]


def _against_first(row: ReportRow) -> str:
    lines = {
        f"{COLUMNS['Δ accuracy, points'](row)} points": row.accuracy_points,
        f"McNemar p {p_text(row.mcnemar_p or 0.0)}": row.mcnemar_p,
        f"tokens {COLUMNS['Net tokens saved %'](row)}": row.net_saving,
        f"money {COLUMNS['Money saved %'](row)}": row.money_saving,
    }
    return "\n".join(line for line, value in lines.items() if value is not None) or "–"


def _two_lines(name: str) -> Callable[[ReportRow], str]:
    return lambda row: COLUMNS[name](row).replace(" [", "\n[").replace(" / ", "\n")


_PER_RIGHT = "Tokens per\nright answer"

_STACKED: dict[str, Callable[[ReportRow], str]] = {
    "Program": _program,
    "Right %": lambda r: "\n".join([_two_lines("Accuracy %")(r), *_outcomes(r)]),
    "Spent a question": lambda r: "\n".join(
        [
            f"output {number(r.output_tokens)}",
            f"estimate {number(r.estimate_tokens)}",
            f"net {number(r.net_tokens)}",
            f"USD/1000 {number(r.usd_per_1000, 4)}",
            f"s {COLUMNS['p50 / p95 s'](r)}",
        ]
    ),
    _PER_RIGHT: COLUMNS["Tokens / right answer"],
    "Paired difference:\npoints, p, saved %": _against_first,
}
_WIDE: dict[str, Callable[[ReportRow], str]] = {
    "Program": _program,
    "Right %": _two_lines("Accuracy %"),
    "Other\noutcomes": lambda r: "\n".join(_outcomes(r)) or "–",
    "Output\ntokens": COLUMNS["Output tokens"],
    "Estimate\ntokens": COLUMNS["Estimate tokens"],
    "Net\ntokens": COLUMNS["Net tokens"],
    _PER_RIGHT: COLUMNS["Tokens / right answer"],
    "USD per\n1000": COLUMNS["USD per 1000"],
    "p50, p95\ns": _two_lines("p50 / p95 s"),
    "Δ accuracy\npoints": _two_lines("Δ accuracy, points"),
    "McNemar\np": COLUMNS["McNemar p"],
    "Net tokens\nsaved %": _two_lines("Net tokens saved %"),
    "Money\nsaved %": _two_lines("Money saved %"),
}
