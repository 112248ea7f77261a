"""The table of a report in files: Markdown, LaTeX, CSV, JSON, and a folder of all with the figures.

An unknown figure is a dash (empty in CSV, null in JSON), never 0.
"""

import json
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tale_dspy.comparison.formatting import plain_json
from tale_dspy.errors import UsageError
from tale_dspy.reports.canvas import load_matplotlib
from tale_dspy.reports.elasticity import CURVE_COLUMNS, Elasticity, elasticities, elasticity_notes
from tale_dspy.reports.elasticity_figure import elasticity_curve
from tale_dspy.reports.figures import accuracy_tokens, paired_tokens, tokens_per_question
from tale_dspy.reports.rows import COLUMNS, ReportRow, evidence, report_rows, row_notes
from tale_dspy.reports.screen import rich_table
from tale_dspy.reports.sweeps import ladder_figures, ladders
from tale_dspy.reports.text import csv_text, visible
from tale_dspy.runs.records import Run

__all__ = [
    "ReportRow",
    "elasticity_markdown",
    "latex",
    "latex_text",
    "markdown",
    "report_rows",
    "rich_table",
    "to_csv",
    "to_json",
    "write_report",
]


def markdown(rows: Sequence[ReportRow]) -> str:
    """Write the table as GitHub Markdown, notes below; no text of a run is read as markup."""
    return _markdown_table(*_grid(rows), row_notes(rows))


def elasticity_markdown(curve: Elasticity) -> str:
    """Write the table of an elasticity curve as GitHub Markdown: a line a budget, notes below."""
    cells = [[cell(row) for cell in CURVE_COLUMNS.values()] for row in curve.rows]
    return _markdown_table(list(CURVE_COLUMNS), cells, elasticity_notes(curve))


def _markdown_table(names: list[str], cells: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    lines = [names, ["---" if name in ("Program", "Model", "Data", "Evidence") else "---:" for name in names]]
    lines += [[_markdown(cell) for cell in line] for line in cells]
    told = [f"- {_markdown(note)}" for note in notes]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", *told]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~$&#])", r"\\\1", visible(text, "\N{SYMBOL FOR NEWLINE}"))


def _grid(rows: Sequence[ReportRow], leave_out: Collection[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Give headers and cells, without the columns that are unknown in every row."""
    known = [name for name, cell in COLUMNS.items() if any(cell(row) != "–" for row in rows)]
    names = [name for name in known if name not in leave_out]
    return names, [[COLUMNS[name](row) for name in names] for row in rows]


def latex(rows: Sequence[ReportRow]) -> str:
    """Write the table as LaTeX for the packages booktabs and graphicx; any text compiles, with pdfLaTeX too."""
    same = {key for key in ("Model", "Data") if len({COLUMNS[key](row) for row in rows}) == 1}
    names, cells = _grid(rows, leave_out={"Evidence"} | same)
    align = "".join("l" if name in ("Program", "Model", "Data", "Evidence") else "r" for name in names)
    body = [" & ".join(map(latex_text, line)) + r" \\" for line in [names, *cells]]
    common = [f"All rows: {', '.join(COLUMNS[key](rows[0]) for key in sorted(same, reverse=True))}."] if same else []
    notes = [latex_text(note) + r"\par" for note in [*common, *evidence(rows), *row_notes(rows)]]
    return "\n".join(
        [
            r"% \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"\centering",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            r"\par\smallskip\raggedright\footnotesize",
            *notes,
            r"\end{table}",
            "",
        ]
    )


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
    """Escape text for LaTeX; a character outside ASCII and the accented Latin letters becomes its code, as `U+4E2D`."""
    escaped = re.sub("-(?=-)", "-{}", "".join(map(_latex_character, visible(text, " "))))
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped  # else an argument of \\ or of a rule


def _latex_character(c: str) -> str:
    accented = ord(c) < 0x100 and unicodedata.normalize("NFD", c)[0].isascii() and c.isalpha()
    return _LATEX.get(c, c if c.isascii() or accented else f"U+{ord(c):04X}")


def to_json(rows: Sequence[ReportRow]) -> list[dict[str, Any]]:
    """Give the rows as plain JSON; intervals are lists, unknown is null."""
    return [{key: plain_json(value) for key, value in asdict(row).items()} for row in rows]


def to_csv(rows: Sequence[ReportRow]) -> str:
    """Write the rows as CSV: one column a field, intervals as `..._low` and `..._high`, unknown empty."""
    lines = []
    for row in rows:
        line: dict[str, Any] = {}
        for key, value in asdict(row).items():
            if key.endswith("_interval"):
                stem = key.removesuffix("_interval")
                line[f"{stem}_low"], line[f"{stem}_high"] = value or (None, None)
            elif key == "outcomes":
                line[key] = "; ".join(f"{name}={count}" for name, count in value.items())
            else:
                line[key] = "; ".join(value) if key == "notes" else value
        lines.append(line)
    return csv_text(list(lines[0]) if lines else [], lines)


def write_report(runs: Sequence[Run], out: Path, more: Sequence[ReportRow] = ()) -> list[Path]:
    """Write the table in four formats and the figures into a folder.

    The figures are accuracy against tokens; where there are three fixed budgets, their elasticity curve, with a table
    of its own, and, with a vanilla run, tokens against budget question by question; and, for each run with questions in
    common with the first that is no rung of such a ladder, the tokens of both a question. A figure for which no tokens
    are known is left out.

    Args:
        runs: The runs; the first is the baseline.
        out: The folder; it is made if it is missing.
        more: Rows that come below those of the runs, such as those of searches.

    Returns:
        The files written.

    Raises:
        UsageError: If there is no run, or the folder cannot be written.
        MissingExtraError: If matplotlib is not installed; then nothing is written.
    """
    load_matplotlib()
    rows, curves = report_rows(runs), _named_curves(runs)
    shown = [*rows, *more]
    texts = {
        "table.md": markdown(shown),
        "table.tex": latex(shown),
        "table.csv": to_csv(shown),
        "table.json": json.dumps(to_json(shown), indent=2, ensure_ascii=False) + "\n",
        **{f"{name}.md": elasticity_markdown(curve) for name, curve in curves.items()},
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as e:
        raise UsageError(f"the report cannot be written to {out}: {e}") from e
    paths = [out / name for name in texts]
    if any(row.accuracy is not None and row.output_tokens is not None for row in rows):
        paths += accuracy_tokens(runs, out / "accuracy_tokens")
    for name, curve in curves.items():
        paths += elasticity_curve(curve, out / name)
    found = ladders(runs)
    for i, ladder in enumerate(found, 1):
        paths += ladder_figures(ladder, out, f"elasticity_{i:02d}" if i > 1 else "elasticity")
    drawn = [run for curve in curves.values() for run in curve.runs] + [run for ladder in found for run in ladder.runs]
    for i, (run, row) in enumerate(zip(runs, rows, strict=True)):
        if row.versus is not None and not any(run is d for d in drawn) and paired_tokens(runs[0], run):
            name = re.sub(r"[^a-z0-9]+", "-", run.name.lower())[:40].strip("-")
            paths += tokens_per_question(runs[0], run, out / f"tokens_{i:02d}_{name}")
    return paths


def _named_curves(runs: Sequence[Run]) -> dict[str, Elasticity]:
    """Name the files of each curve: `elasticity`, and `elasticity_02` ... where there are more models or data sets."""
    return {f"elasticity_{i:02d}" if i > 1 else "elasticity": c for i, c in enumerate(elasticities(runs), 1)}
