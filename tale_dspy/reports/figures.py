"""The figures of a report, as PNG, SVG and the numbers behind them as CSV.

Drawn with matplotlib's objects, not pyplot: no window, no global figure. The same runs give the same files, byte for
byte. Blue circles and orange triangles differ for colour-blind eyes, and by lightness and shape in print.
"""

import csv
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tale_dspy.errors import MissingExtraError, UsageError
from tale_dspy.reports.table import ReportRow, evidence_mark, run_row
from tale_dspy.runs.compare import data_name, net_tokens, number
from tale_dspy.runs.records import Record, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

BLUE, ORANGE, GREY = "#0B4F8A", "#E8890C", "#6B6B6B"
"""Dark and light: they stay apart in greyscale, and for every common kind of colour blindness."""
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "savefig.dpi": 200,
    "svg.hashsalt": "tale-dspy",
}


class QuestionTokens(NamedTuple):
    """Mean output tokens of one question on both sides."""

    id: str
    baseline: float
    run: float


def load_matplotlib() -> None:
    """Make sure that matplotlib is there.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise MissingExtraError("matplotlib", "report") from e


def paired_tokens(baseline: Run, run: Run) -> list[QuestionTokens]:
    """Give the output tokens of the questions both runs have, in the baseline's order.

    Several draws are averaged; a question with a draw of unknown tokens on either side is left out.
    """
    ours, theirs = _by_question(run), _by_question(baseline)
    return [QuestionTokens(key, theirs[key], ours[key]) for key in theirs if key in ours]


def _by_question(run: Run) -> dict[str, float]:
    draws: dict[str, list[int | None]] = {}
    for r in run.records:
        draws.setdefault(r.id, []).append(r.output_tokens)
    known = {key: [t for t in tokens if t is not None] for key, tokens in draws.items()}
    return {key: sum(tokens) / len(tokens) for key, tokens in known.items() if len(tokens) == len(draws[key])}


def tokens_per_question(baseline: Run, run: Run, out: str | Path) -> list[Path]:
    """Draw the output tokens of every question under two programs, as the figures of the paper's README do.

    Questions are ordered by the baseline's tokens, so that the baseline is a rising line and the run is read against
    it; up to 150 questions each pair is joined.

    Args:
        baseline: The run drawn in blue, such as plain chain of thought.
        run: The run drawn in orange.
        out: The files without ending, or a folder.

    Returns:
        The PNG, SVG and CSV files.

    Raises:
        UsageError: If no question has known tokens on both sides, or the files cannot be written.
        MissingExtraError: If matplotlib is not installed.
    """
    load_matplotlib()
    points = sorted(paired_tokens(baseline, run), key=lambda p: (p.baseline, p.run, p.id))
    if not points:
        raise UsageError(f"{baseline.name} and {run.name} have no question with known tokens in common")
    with _style():
        figure, axes = _figure()
        _draw_pairs(axes, points, (baseline.name, run.name))
        axes.set_title(plain(f"Output tokens a question on {data_name(run) or 'unnamed data'}, n = {len(points):,}"))
        axes.set_xlabel(plain(f"questions, in the order of the output tokens of {shortened(baseline.name, 40)}"))
        axes.set_ylabel("output tokens")
        row = run_row(run)
        with_estimates = f"Estimates not included; with them {run.name} writes {number(row.net_tokens)} tokens a question."
        _footer(axes, [*([with_estimates] if row.estimate_tokens is not None else []), *_marks([baseline, run])])
        table = [{"rank": i, **p._asdict()} for i, p in enumerate(points, 1)]
        return _save(figure, _stem(out, "tokens_per_question"), table)


def _draw_pairs(axes: "Axes", points: Sequence[QuestionTokens], names: tuple[str, str]) -> None:
    n, ranks = len(points), range(1, len(points) + 1)
    sides = [p.baseline for p in points], [p.run for p in points]
    top = 1.05 * max(map(max, sides)) or 1.0
    if n <= JOINED:
        axes.vlines(ranks, *sides, color="#BDBDBD", linewidth=0.8, zorder=1)
    means, labels = [sum(values) / n for values in sides], []
    for values, mean, name, colour, marker in zip(sides, means, names, (BLUE, ORANGE), "o^", strict=True):
        area = 16.0 if n <= JOINED else max(2.0, 16.0 * JOINED / n)
        axes.scatter(ranks, values, s=area, marker=marker, color=colour, linewidths=0, zorder=2)
        axes.axhline(mean, color="white", linewidth=2.6, zorder=3)  # a rim, to be seen on a crowd of points
        axes.axhline(mean, color=colour, linewidth=1.3, linestyle="-" if marker == "o" else "--", zorder=4)
        labels.append((mean / top, f"{wrapped(name, 20)}\nmean {number(mean)}", colour))
    axes.set_xlim(0.5 - 0.01 * n, n + 0.5 + 0.01 * n)
    axes.set_ylim(0, top)
    line, above = 0.062, float("inf")  # of the height of the axes
    for at, label, colour in sorted(labels, reverse=True):  # the upper label first, the lower one kept clear of it
        half = line * (label.count("\n") + 1) / 2
        at = min(at, above - half)
        above = at - half - 0.02
        axes.text(1.015, at, plain(label), color=colour, va="center", transform=axes.transAxes, fontweight="bold")


def accuracy_tokens(runs: Sequence[Run], out: str | Path) -> list[Path]:
    """Draw accuracy, with its 95 % interval, against mean output tokens: one labelled point a run.

    A hollow point to the right shows the tokens with the estimator's. A run without known tokens is named below.

    Args:
        runs: The runs, on the same data or not (the label says which if not).
        out: The files without ending, or a folder.

    Returns:
        The PNG, SVG and CSV files.

    Raises:
        UsageError: If no run has known tokens, or the files cannot be written.
        MissingExtraError: If matplotlib is not installed.
    """
    load_matplotlib()
    rows = [run_row(run) for run in runs]
    known = [row for row in rows if row.accuracy is not None and row.output_tokens is not None]
    if not known:
        raise UsageError(f"none of {len(runs)} runs has questions with known tokens: there is nothing to draw")
    with _style():
        figure, axes = _figure()
        _draw_runs(axes, known)
        data = {row.data for row in known}
        axes.set_title(plain(f"Accuracy and tokens on {', '.join(sorted(str(d) for d in data))}"))
        axes.set_xlabel("mean output tokens a question (hollow: with the estimator's)")
        axes.set_ylabel("accuracy (%)")
        _label_points(figure, axes, known, with_data=len(data) > 1)
        notes = ["Bars are the 95 % interval of each run alone; whether two runs differ is a paired question (table)."]
        unknown = [row.program for row in rows if row not in known]
        notes += [f"Tokens unknown, not drawn: {', '.join(unknown)}."] if unknown else []
        _footer(axes, [*notes, *_marks(runs)])
        columns = ("program", "model", "data", "n", "accuracy", "output_tokens", "estimate_tokens", "net_tokens", "mark")
        return _save(figure, _stem(out, "accuracy_tokens"), [_csv_row(row, columns) for row in known])
