"""The table of a report: one row a run, with paired differences to the first run, in five formats.

A row's own interval says how sure that row is. What speaks for a difference is only the paired columns, measured on the
questions both runs have. An unknown figure is a dash (empty in CSV, null in JSON), never 0.
"""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tale_dspy.errors import UsageError
from tale_dspy.runs.compare import compare, data_name, net_tokens, number, p_text, plain_json, price_usd
from tale_dspy.runs.records import Record, Run

if TYPE_CHECKING:
    from rich.table import Table

Interval = tuple[float, float]

CAPTION = (
    "Intervals are 95 %. Two rows differ as far as the paired differences say, not by how their intervals overlap."
)
WIDE = 150
"""Columns of a terminal from which every figure has a column of its own."""


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One run as a row of the table. None is unknown."""

    program: str
    model: str | None
    data: str | None
    n: int | None
    """Questions."""
    accuracy: float | None
    """Share of right answers, 0 to 1."""
    accuracy_interval: Interval | None = None
    output_tokens: float | None
    """Mean a question, the estimator's not included."""
    estimate_tokens: float | None = None
    """Mean of the budget calls; None where there were none."""
    net_tokens: float | None = None
    """Mean of output tokens and the estimator's together."""
    usd_per_1000: float | None
    """Mean full price of 1000 questions in US dollars, as if nothing had come from a cache; over the known prices."""
    latency_p50: float | None = None
    latency_p95: float | None = None
    outcomes: dict[str, int]
    """Draws of each outcome other than correct and wrong, where there are any."""
    mark: str
    """What the figures are evidence of (design, section 5)."""
    versus: str | None = None
    """Program of the first run, where this row is compared with it."""
    accuracy_points: float | None = None
    """Paired difference in percentage points."""
    accuracy_points_interval: Interval | None = None
    net_saving: float | None = None
    """Saved fraction of net tokens, paired."""
    net_saving_interval: Interval | None = None
    money_saving: float | None = None
    """Saved fraction of the full price, paired."""
    money_saving_interval: Interval | None = None
    mcnemar_p: float | None = None
    is_budget_saving: bool | None = None
    """Whether the difference may be called a budget saving; None where nothing was compared."""
    notes: tuple[str, ...] = ()


def report_rows(runs: Sequence[Run]) -> list[ReportRow]:
    """Make the rows of a report; each run after the first is compared with the first.

    A run on other data than the first, or without a question in common, gets no difference but a note that says so.

    Raises:
        UsageError: If there is no run.
    """
    if not runs:
        raise UsageError("a report needs at least one run")
    return [run_row(runs[0]), *(_against(runs[0], run) for run in runs[1:])]


def evidence_mark(run: Run) -> str:
    """Say what a run's figures are evidence of: its own mark, else model, snapshot and date; and if contaminated."""
    mark = run.info.get("mark")
    if not (isinstance(mark, str) and mark.strip()):
        snapshots = sorted({r.response_model for r in run.records if r.response_model})
        model = str(run.info.get("config", {}).get("model") or "model unknown")
        date = str(run.info.get("created") or "")[:10]  # of an ISO 8601 time
        mark = ", ".join((model, " + ".join(snapshots) or "snapshot unknown", date or "date unknown"))
    return f"{mark} (contaminated)" if run.info.get("contaminated") else mark


def run_row(run: Run) -> ReportRow:
    """Make the row of one run alone."""
    summary, price = run.summary, mean_figure(run.records, price_usd)
    notes = [f"not finished: {run.stopped}"] if run.stopped else []
    for what, figure in (("tokens", net_tokens), ("price", price_usd)):
        unknown = sum(figure(r) is None for r in run.records)
        if 0 < unknown < len(run.records):
            notes.append(f"{what} unknown on {unknown} of {len(run.records)} answers, left out of the mean")
    return ReportRow(
        program=run.name,
        model=summary["model"],
        data=data_name(run),
        n=summary["n"],
        accuracy=summary["accuracy"],
        accuracy_interval=summary["accuracy_ci95"],
        output_tokens=summary["output_tokens_mean"],
        estimate_tokens=summary["estimate_tokens_mean"],
        net_tokens=mean_figure(run.records, net_tokens),
        usd_per_1000=None if price is None else 1000 * price,
        latency_p50=summary["latency_p50"],
        latency_p95=summary["latency_p95"],
        outcomes={k: v for k, v in summary["outcomes"].items() if v and k not in ("correct", "wrong")},
        mark=evidence_mark(run),
        notes=tuple(notes),
    )


def mean_figure(records: Iterable[Record], figure: Callable[[Record], float | None]) -> float | None:
    """Give the mean of a figure over the records where it is known; None if it is nowhere."""
    known = [value for value in map(figure, records) if value is not None]
    return math.fsum(known) / len(known) if known else None


def _against(first: Run, run: Run) -> ReportRow:
    row = run_row(run)
    if data_name(first) != data_name(run):
        return _noted(row, f"on other data than the first row ({data_name(first)}): no difference is given")
    if not {r.id for r in first.records} & {r.id for r in run.records}:
        return _noted(row, "no question in common with the first row: no difference is given")
    c = compare(first, run)
    points, (low, high) = c.accuracy.difference, c.accuracy.interval or (math.nan, math.nan)
    row = replace(
        row,
        versus=first.name,
        accuracy_points=None if points is None else 100 * points,
        accuracy_points_interval=(100 * low, 100 * high),
        net_saving=c.net_tokens.saving,
        net_saving_interval=c.net_tokens.saving_interval,
        money_saving=c.price_usd.saving,
        money_saving_interval=c.price_usd.saving_interval,
        mcnemar_p=c.mcnemar_p,
        is_budget_saving=c.is_budget_saving,
    )
    claim = [] if c.why_not is None else [f"the difference is not called a budget saving: {c.why_not}"]
    return _noted(row, *c.notes, *claim)


def _noted(row: ReportRow, *notes: str) -> ReportRow:
    return replace(row, notes=tuple(dict.fromkeys([*row.notes, *notes])))


# Cells


def _bounds(interval: Interval | None, scale: float, *, sign: bool = False) -> str:
    return "" if interval is None else f"[{', '.join(number(scale * v, sign=sign) for v in interval)}]"


def _with_bounds(value: float | None, interval: Interval | None, scale: float, *, sign: bool = False) -> str:
    return "–" if value is None else f"{number(scale * value, sign=sign)} {_bounds(interval, scale, sign=sign)}".strip()


COLUMNS: dict[str, Callable[[ReportRow], str]] = {
    "Program": lambda r: r.program,
    "Model": lambda r: r.model or "–",
    "Data": lambda r: r.data or "–",
    "n": lambda r: number(r.n, 0),
    "Accuracy %": lambda r: _with_bounds(r.accuracy, r.accuracy_interval, 100),
    "Output tokens": lambda r: number(r.output_tokens),
    "Estimate tokens": lambda r: number(r.estimate_tokens),
    "Net tokens": lambda r: number(r.net_tokens),
    "USD per 1000": lambda r: number(r.usd_per_1000, 4),
    "p50 / p95 s": lambda r: (
        "–" if r.latency_p50 is None else f"{number(r.latency_p50, 2)} / {number(r.latency_p95, 2)}"
    ),
    "Other outcomes": lambda r: ", ".join(f"{count} {name}" for name, count in r.outcomes.items()) or "–",
    "Δ accuracy, points": lambda r: _with_bounds(r.accuracy_points, r.accuracy_points_interval, 1, sign=True),
    "McNemar p": lambda r: "–" if r.mcnemar_p is None else p_text(r.mcnemar_p).removeprefix("= "),
    "Net tokens saved %": lambda r: _with_bounds(r.net_saving, r.net_saving_interval, 100),
    "Money saved %": lambda r: _with_bounds(r.money_saving, r.money_saving_interval, 100),
    "Evidence": lambda r: r.mark,
}
"""The report's columns, in order, and how each writes a row's cell."""


def _grid(rows: Sequence[ReportRow], leave_out: Collection[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Give headers and cells, without the columns that are unknown in every row."""
    known = [name for name, cell in COLUMNS.items() if any(cell(row) != "–" for row in rows)]
    names = [name for name in known if name not in leave_out]
    return names, [[COLUMNS[name](row) for name in names] for row in rows]


def _notes(rows: Sequence[ReportRow]) -> list[str]:
    """Say what all rows need, then what single rows do; a sentence several programs share is said once."""
    baselines = dict.fromkeys(row.versus for row in rows if row.versus is not None)
    paired = (
        [f"Differences are to the run of {' and '.join(baselines)}, on the questions both have."] if baselines else []
    )
    programs: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            programs.setdefault(note, []).append(row.program)
    return [CAPTION, *paired, *(f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in programs.items())]


# Formats


def markdown(rows: Sequence[ReportRow]) -> str:
    """Write the table as GitHub Markdown, notes below; no text of a run is read as markup."""
    names, cells = _grid(rows)
    lines = [names, ["---" if name in ("Program", "Model", "Data", "Evidence") else "---:" for name in names]]
    lines += [[_markdown(cell) for cell in line] for line in cells]
    notes = [f"- {_markdown(note)}" for note in _notes(rows)]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", *notes]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~$&#])", r"\\\1", visible(text, "\N{SYMBOL FOR NEWLINE}"))


def latex(rows: Sequence[ReportRow]) -> str:
    """Write the table as LaTeX for the packages booktabs and graphicx; any text compiles, with pdfLaTeX too."""
    same = {key for key in ("Model", "Data") if len({COLUMNS[key](row) for row in rows}) == 1}
    names, cells = _grid(rows, leave_out={"Evidence"} | same)
    align = "".join("l" if name in ("Program", "Model", "Data", "Evidence") else "r" for name in names)
    body = [" & ".join(map(latex_text, line)) + r" \\" for line in [names, *cells]]
    common = [f"All rows: {', '.join(COLUMNS[key](rows[0]) for key in sorted(same, reverse=True))}."] if same else []
    notes = [latex_text(note) + r"\par" for note in [*common, *_evidence(rows), *_notes(rows)]]
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
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def rich_table(rows: Sequence[ReportRow], width: int = 100) -> "Table":
    """Make the table for a terminal of `width` columns; under 150, figures that belong together share a cell."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    below = [*_evidence(rows), *_notes(rows)]
    caption = Text("\n").join(Text(visible(line, " "), style="dim") for line in below)
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
    table.width = width
    columns = _WIDE if width >= WIDE else _STACKED
    for name in columns:
        first = name == "Program"
        justify: Literal["left", "right"] = "left" if first else "right"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=not first, min_width=12 if first else None)
    for row in rows:
        table.add_row(*(Text(visible(cell(row))) for cell in columns.values()), end_section=True)
    return table


def _evidence(rows: Sequence[ReportRow]) -> list[str]:
    """Say the marks once each, with the programs they are of."""
    programs: dict[str, list[str]] = {}
    for row in rows:
        programs.setdefault(row.mark, []).append(row.program)
    return [f"Evidence ({', '.join(dict.fromkeys(names))}): {mark}" for mark, names in programs.items()]


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
    "Paired difference:\npoints, p, saved %": _against_first,
}
_WIDE: dict[str, Callable[[ReportRow], str]] = {
    "Program": _program,
    "Right %": _two_lines("Accuracy %"),
    "Other\noutcomes": lambda r: "\n".join(_outcomes(r)) or "–",
    "Output\ntokens": COLUMNS["Output tokens"],
    "Estimate\ntokens": COLUMNS["Estimate tokens"],
    "Net\ntokens": COLUMNS["Net tokens"],
    "USD per\n1000": COLUMNS["USD per 1000"],
    "p50, p95\ns": _two_lines("p50 / p95 s"),
    "Δ accuracy\npoints": _two_lines("Δ accuracy, points"),
    "McNemar\np": COLUMNS["McNemar p"],
    "Net tokens\nsaved %": _two_lines("Net tokens saved %"),
    "Money\nsaved %": _two_lines("Money saved %"),
}


def visible(text: str, newline: str = "\n") -> str:
    r"""Show what could command a terminal, reorder text or break an encoding as its code, such as `\x1b`.

    Args:
        text: Any text, such as a model's reply.
        newline: What a line break becomes.
    """

    def character(c: str) -> str:
        if c == "\n":
            return newline
        hidden = unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") or unicodedata.bidirectional(c) in _BIDI
        return c.encode("unicode_escape", "backslashreplace").decode() if hidden and c != "\t" else c

    return "".join(map(character, text.replace("\r\n", "\n")))


_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def write_report(runs: Sequence[Run], out: Path) -> list[Path]:
    """Write the table in four formats and the figures into a folder.

    The figures are accuracy against tokens, and, for each run with questions in common with the first, the tokens of
    both a question. A figure for which no tokens are known is left out.

    Args:
        runs: The runs; the first is the baseline.
        out: The folder; it is made if it is missing.

    Returns:
        The files written.

    Raises:
        UsageError: If there is no run, or the folder cannot be written.
        MissingExtraError: If matplotlib is not installed; then nothing is written.
    """
    import json

    from tale_dspy.reports.figures import accuracy_tokens, load_matplotlib, paired_tokens, tokens_per_question

    load_matplotlib()
    rows = report_rows(runs)
    texts = {
        "table.md": markdown(rows),
        "table.tex": latex(rows),
        "table.csv": to_csv(rows),
        "table.json": json.dumps(to_json(rows), indent=2, ensure_ascii=False) + "\n",
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
    for i, (run, row) in enumerate(zip(runs, rows, strict=True)):
        if row.versus is not None and paired_tokens(runs[0], run):
            name = re.sub(r"[^a-z0-9]+", "-", run.name.lower())[:40].strip("-")
            paths += tokens_per_question(runs[0], run, out / f"tokens_{i:02d}_{name}")
    return paths
