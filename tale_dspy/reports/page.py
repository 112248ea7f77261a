"""A report as one HTML file: no address outside it, opens from disk, prints.

Figures are the SVG that matplotlib drew for the other files, and tables are HTML: both are there without scripts. One
script (`templates/report.js`) makes the tables of questions searchable; a policy in the page lets no other script run.
Vega-Lite (0.9 MB) and DataTables (0.7 MB) would bring 1.6 MB of script into each file, need the right to compile code,
and describe each figure a second time.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from tale_dspy.display import visible
from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.output_paths import check_file
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.explorer import ExplorerView, RowExplorer, packed

REPORT = "report of tale"
PAGE_MARKER = b'<meta name="generator" content="tale-dspy">'
"""What tells a page from other HTML files, which are not replaced."""


class ColumnHead(Protocol):
    """What a page needs of a column."""

    @property
    def name(self) -> str: ...
    @property
    def is_text(self) -> bool: ...


class TableView(Protocol):
    """What a page needs of a `ReportTable`, whatever its rows are."""

    @property
    def columns(self) -> Sequence[ColumnHead]: ...
    @property
    def cells(self) -> list[list[str]]: ...
    @property
    def notes(self) -> Sequence[str]: ...


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """A heading of a page with what stands below it, in this order."""

    key: str
    """Its address inside the page."""
    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[TableView] = ()
    drawings: Sequence[Drawing] = ()
    explorers: Sequence[ExplorerView] = ()


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """Everything a report shows: the verdict, its provenance and the sections."""

    title: str
    verdicts: Sequence[str]
    evidence: Sequence[str]
    sections: Sequence[PageSection]
    footer: str
    explorers: Sequence[RowExplorer] = field(default=())
    """The data of the searchable tables, each shown in one place or more."""


def render(page: ReportPage) -> str:
    """Write a page as HTML.

    Raises:
        MissingExtraError: If Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as e:
        raise MissingExtraError("jinja2", "report") from e
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_template), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["visible"] = visible
    script = _read_template("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("report.html.j2").render(
        page=page,
        style=_read_template("report.css"),
        script=script,
        script_hash=f"sha256-{digest}",
        blocks=[block for explorer in page.explorers for block in packed(explorer).items()],
    )


def write_page(page: ReportPage, path: Path) -> Path:
    """Write a page into a file, which replaces an earlier page and nothing else.

    Raises:
        UsageError: If it cannot be written, or another file is there.
        MissingExtraError: If Jinja2 is not installed.
    """
    check_file(path, REPORT, PAGE_MARKER)
    text = render(page)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as e:
        raise UsageError(f"the report cannot be written to {path}: {e.strerror or e}") from e
    return path


def _read_template(name: str) -> str:
    return (files("tale_dspy.reports") / "templates" / name).read_text(encoding="utf-8")
