"""A table described once, for people and for programs.

Its columns say how a row is written for people and which values it has for programs.

`ReportTable` writes the same columns as Markdown, LaTeX, CSV, for a terminal and for a page. No text of a run is ever
read as markup. An unknown figure is a dash for people and empty in CSV, never 0.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from tale_dspy.display import html_table, number, visible
from tale_dspy.reports.text import csv_text

if TYPE_CHECKING:
    from rich.table import Table

Row = TypeVar("Row")

Interval = tuple[float, float]

UNKNOWN = "–"
"""How an unknown figure is written."""


def with_bounds(value: float | None, interval: Interval | None, scale: float = 1.0, *, sign: bool = False) -> str:
    """Write a figure with its interval, such as `87.5 [73.9, 94.5]`.

    Figure and bounds are multiplied by `scale`.
    """
    if value is None or interval is None:
        return UNKNOWN if value is None else number(scale * value, sign=sign)
    low, high = (number(scale * bound, sign=sign) for bound in interval)
    return f"{number(scale * value, sign=sign)} [{low}, {high}]"


def percent_interval(interval: Interval | None) -> Interval | None:
    """Return an interval of shares in percent."""
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def interval_bounds(name: str, interval: Callable[[Row], Interval | None]) -> dict[str, Callable[[Row], float | None]]:
    """Return the two CSV columns of an interval, `NAME_low` and `NAME_high`."""

    def bound(side: int, row: Row) -> float | None:
        ends = interval(row)
        return None if ends is None else ends[side]

    return {f"{name}_low": partial(bound, 0), f"{name}_high": partial(bound, 1)}


@dataclass(frozen=True)
class TableColumn(Generic[Row]):
    """One column of a table."""

    name: str
    cell: Callable[[Row], str]
    """What people read."""
    values: Mapping[str, Callable[[Row], object]] = field(default_factory=dict)
    """What programs read: the columns of the CSV file that it becomes."""
    is_text: bool = False
    """Whether it is aligned left, as names are; figures are aligned right."""


@dataclass(frozen=True)
class ReportTable(Generic[Row]):
    """The rows of a table under its columns, with sentences below."""

    columns: Sequence[TableColumn[Row]]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def without(self, names: Collection[str]) -> "ReportTable[Row]":
        """Return the table without the columns of these names."""
        return replace(self, columns=[column for column in self.columns if column.name not in names])

    def known(self) -> "ReportTable[Row]":
        """Return the table without the columns that are unknown in every row."""
        return replace(self, columns=[c for c in self.columns if any(c.cell(row) != UNKNOWN for row in self.rows)])

    @property
    def header(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def cells(self) -> list[list[str]]:
        """What people read, a list for each row."""
        return [[column.cell(row) for column in self.columns] for row in self.rows]

    def markdown(self) -> str:
        """Write it as GitHub Markdown."""
        rules = ["---" if column.is_text else "---:" for column in self.columns]
        lines = [self.header, rules, *([markdown_text(cell) for cell in cells] for cells in self.cells)]
        notes = [f"- {markdown_text(note)}" for note in self.notes]
        return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", *notes]) + "\n"

    def latex(self) -> str:
        """Write the table as LaTeX for the packages booktabs and graphicx.

        Any text compiles, with pdfLaTeX too.
        """
        align = "".join("l" if column.is_text else "r" for column in self.columns)
        head, *body = (" & ".join(map(latex_text, line)) + r" \\" for line in [self.header, *self.cells])
        return "\n".join(
            [
                r"% \usepackage{booktabs,graphicx}",
                r"\begin{table}",
                r"\centering",
                r"\resizebox{\linewidth}{!}{%",
                rf"\begin{{tabular}}{{{align}}}",
                r"\toprule",
                head,
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}}",
                r"\par\smallskip\raggedright\footnotesize",
                *(latex_text(note) + r"\par" for note in self.notes),
                r"\end{table}",
                "",
            ]
        )

    def _repr_html_(self) -> str:
        return html_table(self.header, self.cells, note=" ".join(self.notes))

    def csv(self) -> str:
        """Write the values as CSV."""
        return csv_text([name for column in self.columns for name in column.values], self.values())

    def values(self) -> list[dict[str, object]]:
        """Return what programs read, a mapping for each row."""
        return [
            {name: value(row) for column in self.columns for name, value in column.values.items()} for row in self.rows
        ]

    def rich(self, width: int | None = None) -> "Table":
        """Make a table for a terminal.

        Args:
            width: Columns of the terminal; None lets the table be as wide as its cells.
        """
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        caption = Text("\n").join(Text(visible(note, " "), style="dim") for note in self.notes)
        table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False, width=width)
        for column in self.columns:
            add = partial(table.add_column, Text(visible(column.name)))
            if column.is_text:
                add(justify="left", overflow="fold", min_width=min(12, len(column.name)))
            else:
                add(justify="right", overflow="fold", no_wrap=True)
        for cells in self.cells:
            table.add_row(*(Text(visible(cell)) for cell in cells), end_section=any("\n" in cell for cell in cells))
        return table


def markdown_text(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return re.sub(r"([\\`*_\[\]<>|~$&#])", r"\\\1", visible(text, "\N{SYMBOL FOR NEWLINE}"))


_LATEX = {c: f"\\{c}" for c in "{}$&#_%"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': "''",
    "`": "{`}",
    "–": r"\textendash{}",
    "Δ": r"$\Delta$",
    "·": r"\textperiodcentered{}",
    "…": r"\ldots{}",
}


def latex_text(text: str) -> str:
    """Escape text for LaTeX.

    A character outside ASCII and the accented Latin letters becomes its code, as `U+4E2D`.
    """
    escaped = re.sub("-(?=-)", "-{}", "".join(map(_latex_character, visible(text, " "))))
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped  # else an argument of \\ or of a rule


def _latex_character(c: str) -> str:
    accented = ord(c) < 0x100 and unicodedata.normalize("NFD", c)[0].isascii() and c.isalpha()
    return _LATEX.get(c, c if c.isascii() or accented else f"U+{ord(c):04X}")
