"""The folder of a report: tables, figures, and one page that holds it all.

Tables are written as Markdown, LaTeX, CSV and JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tale_dspy.comparison.formatting import plain_json
from tale_dspy.errors import UsageError
from tale_dspy.output_paths import check_file, check_folder
from tale_dspy.reports.drawing import FILE_ENDINGS
from tale_dspy.reports.effort_matrix import effort_matrices
from tale_dspy.reports.elasticity import curve_table
from tale_dspy.reports.figure_registry import drawings
from tale_dspy.reports.page import PAGE_MARKER, REPORT, write_page
from tale_dspy.reports.page_sections import report_page
from tale_dspy.reports.rows import ReportRow, compact_table, provenance_notes, runs_table
from tale_dspy.reports.search_run import searched_row
from tale_dspy.reports.sources import ReportSources

PAGE_FILE = "report.html"


def to_json(rows: Sequence[ReportRow]) -> list[dict[str, object]]:
    """Return the rows as plain JSON; intervals are lists, unknown is null."""
    return [{key: plain_json(value) for key, value in asdict(row).items()} for row in rows]


def write_report(sources: ReportSources, out: str | Path) -> list[Path]:
    """Write the files of a report into a folder.

    These are the table in four formats, the figures, and `report.html`. Runs have a table, to which each search adds a
    row, and an elasticity curve's has one of its own. The figures are those of `figure_registry` for which there is
    something to draw. Several models at effort words have a matrix.

    Args:
        sources: What is reported; the first run is the baseline.
        out: The folder; it is made if it is missing. An earlier report in it is replaced, other files are not.

    Returns:
        The files written.

    Raises:
        UsageError: If there is nothing to report, the folder cannot be written, or it holds a file of a name that
            is needed and no report.
        MissingExtraError: If matplotlib or Jinja2 is not installed; then nothing is written.
    """
    if not (sources.runs or sources.searches or sources.trainings):
        raise UsageError("a report needs at least one run, search or training")
    folder = Path(out)
    check_folder(folder, REPORT)
    check_file(folder / PAGE_FILE, REPORT, PAGE_MARKER)
    drawn = drawings(sources)
    page = report_page(sources, drawn)
    texts = _table_files(sources)
    if not (folder / PAGE_FILE).exists():
        stems = [drawing.stem for group in drawn.values() for drawing in group]
        for name in (*texts, *(f"{stem}{ending}" for stem in stems for ending in FILE_ENDINGS)):
            check_file(folder / name, REPORT)
    written = write_page(page, folder / PAGE_FILE)  # first: what a kill leaves behind can be told from other files
    try:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as e:
        raise UsageError(f"the report cannot be written to {folder}: {e.strerror or e}") from e
    paths = [folder / name for name in texts]
    for group in drawn.values():
        for drawing in group:
            paths += drawing.save(folder)
    return [*paths, written]


def _table_files(sources: ReportSources) -> dict[str, str]:
    """Return name -> content of the files of all tables."""
    if not sources.runs:
        return {}
    rows = [*sources.rows, *map(searched_row, sources.searches)]
    texts = {
        "table.md": runs_table(rows).known().markdown(),
        "table.tex": compact_table(rows, provenance_notes(rows)).latex(),
        "table.csv": runs_table(rows).csv(),
        "table.json": json.dumps(to_json(rows), indent=2, ensure_ascii=False) + "\n",
    }
    for i, curve in enumerate(sources.curves, 1):
        texts[f"elasticity_{i:02d}.md" if i > 1 else "elasticity.md"] = curve_table(curve).markdown()
    for i, matrix in enumerate(effort_matrices(sources.runs), 1):
        stem = f"effort_matrix_{i:02d}" if i > 1 else "effort_matrix"
        texts |= {f"{stem}.md": matrix.markdown(), f"{stem}.csv": matrix.csv()}
    return texts
