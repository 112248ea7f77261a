"""The searchable table of a page: its figures and the texts behind each row.

They are packed, so that 10,000 rows stay small.

A page holds all figures in one block of compressed JSON. Texts lie in blocks of `BLOCK_ROWS` rows, opened by the
browser when a reader asks for one of them (`templates/report.js`). Where there are more texts than a page should hold,
those of the most telling rows are kept.
"""

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from tale_dspy.display import middle_cut, visible

BLOCK_ROWS = 100
MAX_ROWS_WITH_TEXT = 10_000
"""Rows beyond which only the texts of telling rows are kept."""
MAX_BYTES = 5_000_000
"""Of the page, for one table with its texts; a table whose figures alone take more has texts of telling rows only."""
MAX_PANE_CHARACTERS = 20_000
"""Of one text; the middle of a longer one is left out."""


class TextPane(TypedDict):
    """One text below an opened row."""

    title: str
    text: str
    group: int | None
    """The run it is of; None where it is shown beside whatever run is chosen."""


@dataclass(frozen=True, kw_only=True)
class ExplorerColumn:
    """One column of a searchable table."""

    name: str
    values: Sequence[str | float | None]
    kind: Literal["text", "word", "number"] = "number"
    """`word` is one of few values."""
    digits: int = 0
    """Decimals of a number."""
    group: int | None = None
    """The run it is of; None where it is shown beside whatever run is chosen."""
    is_filter: bool = False
    """Whether rows can be chosen by its values."""


@dataclass(frozen=True, kw_only=True)
class RowExplorer:
    """A searchable table whose rows open to show whole texts."""

    source: str
    """Identifies its data in the page."""
    unit: str
    """What its rows are, such as `questions`."""
    groups: Sequence[str]
    """Names of the runs; the first stays in sight, a reader chooses which of the others stands beside it."""
    columns: Sequence[ExplorerColumn]
    """The first is a text: what opens a row."""
    panes: Callable[[int], Sequence[TextPane]]
    """The texts of a row."""
    is_telling: Callable[[int], bool]
    """Whether a row's texts are kept where not all of them fit."""
    elsewhere: str
    """Where the texts are that do not fit."""

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values)


@dataclass(frozen=True, kw_only=True)
class ExplorerView:
    """A place on a page where the rows of an explorer are shown."""

    source: str
    page: int = 50
    """Rows shown at once."""
    only: str | None = None
    """Name of a column that restricts the rows; these are then shown opened."""
    only_values: tuple[str, ...] = ()


def packed(explorer: RowExplorer) -> dict[str, str]:
    """Return the blocks of a searchable table, packed for the page.

    The keys are the ids of the elements; the values are their content, gzip in base64.
    """
    table = _browser_table(explorer)
    order = sorted(range(explorer.size), key=lambda row: not explorer.is_telling(row))
    if explorer.size > MAX_ROWS_WITH_TEXT:
        order = [row for row in order if explorer.is_telling(row)]
    places = [(-1, 0)] * explorer.size
    blocks: dict[str, str] = {}
    left = max(MAX_BYTES // 5, MAX_BYTES - len(compressed(table)))
    for number, start in enumerate(range(0, len(order), BLOCK_ROWS)):
        rows = order[start : start + BLOCK_ROWS]
        block = compressed([[_pane_for_browser(pane) for pane in explorer.panes(row)] for row in rows])
        left -= len(block)
        if left < 0:
            break
        blocks[f"{explorer.source}-{number}"] = block
        for position, row in enumerate(rows):
            places[row] = (number, position)
    return {explorer.source: compressed({**table, "places": places}), **blocks}


def _browser_table(explorer: RowExplorer) -> dict[str, object]:
    """Return the rows as the browser shows them, without their texts."""
    return {
        "n": explorer.size,
        "unit": explorer.unit,
        "groups": [visible(name, " ") for name in explorer.groups],
        "columns": [
            {
                "name": visible(column.name, " "),
                "kind": column.kind,
                "digits": column.digits,
                "group": column.group,
                "filter": column.is_filter,
                "values": [visible(v, " ") if isinstance(v, str) else v for v in column.values],
            }
            for column in explorer.columns
        ],
        "elsewhere": explorer.elsewhere,
    }


def compressed(value: object) -> str:
    """Write a value as JSON, gzip, base64.

    The letters mean nothing in HTML, and the same value gives the same bytes each time.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", "backslashreplace"), 9, mtime=0)).decode("ascii")


def _pane_for_browser(pane: TextPane) -> TextPane:
    text = visible(middle_cut(pane["text"], MAX_PANE_CHARACTERS))
    return {"title": visible(pane["title"], " "), "text": text, "group": pane["group"]}
