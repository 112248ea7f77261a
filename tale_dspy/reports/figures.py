"""The figures of a report, as PNG, SVG and the numbers behind them as CSV.

Drawn with matplotlib's objects, not pyplot: no window, no global figure. The same runs give the same files, byte for
byte. Blue circles and orange triangles differ for colour-blind eyes, and by lightness and shape in print.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tale_dspy.comparison.formatting import number
from tale_dspy.comparison.run_stats import data_name
from tale_dspy.errors import UsageError
from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, DARK_BLUE, DARK_ORANGE, ORANGE, plain
from tale_dspy.reports.rows import ReportRow, provenance_of, run_row, told_apart
from tale_dspy.reports.text import by_programs, shortened, wrapped
from tale_dspy.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

JOINED = 150
"""Questions up to which the two points of a question are joined by a line."""


class QuestionTokens(NamedTuple):
    """Mean output tokens of one question on both sides."""

    id: str
    baseline: float
    run: float


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
    canvas.load_matplotlib()
    points = sorted(paired_tokens(baseline, run), key=lambda p: (p.baseline, p.run, p.id))
    if not points:
        raise UsageError(f"{baseline.name} and {run.name} have no question with known tokens in common")
    with canvas.styled():
        figure, axes = canvas.blank()
        row = run_row(run)
        first, second = told_apart([run_row(baseline), row])
        draw_pairs(axes, points, (first, second))
        axes.set_title(plain(f"Output tokens per question on {data_name(run) or 'unnamed data'}, n = {len(points):,}"))
        axes.set_xlabel(plain(f"questions, in the order of the output tokens of {shortened(first, 40)}"))
        axes.set_ylabel("output tokens")
        short, net = shortened(second, 40), number(row.net_tokens)
        notes = [f"Estimates not included; with them {short} writes {net} tokens per question."]
        canvas.footer(axes, [*notes[: row.estimate_tokens is not None], *_marks([baseline, run])])
        table = [{"rank": i, **p._asdict()} for i, p in enumerate(points, 1)]
        return canvas.save(figure, canvas.file_stem(out, "tokens_per_question"), table)


def draw_pairs(axes: "Axes", points: Sequence[QuestionTokens], names: tuple[str, str]) -> None:
    """Draw both sides of each question in the order given, and their means."""
    n, ranks = len(points), range(1, len(points) + 1)
    sides = [p.baseline for p in points], [p.run for p in points]
    top = 1.05 * max(map(max, sides)) or 1.0
    if n <= JOINED:
        axes.vlines(ranks, *sides, color="#BDBDBD", linewidth=0.8, zorder=1)
    means, labels = [sum(values) / n for values in sides], []
    looks = ("o", BLUE, DARK_BLUE, "-"), ("^", ORANGE, DARK_ORANGE, "--")
    for values, mean, name, (marker, colour, dark, line) in zip(sides, means, names, looks, strict=True):
        area = 16.0 if n <= JOINED else max(2.0, 16.0 * JOINED / n)
        axes.scatter(ranks, values, s=area, marker=marker, color=colour, linewidths=0, zorder=2)
        axes.axhline(mean, color=dark, linewidth=1.2, linestyle=line, zorder=3)
        labels.append((mean / top, f"{wrapped(name, 20)}\nmean {number(mean)}", dark))
    axes.set_xlim(0.5 - 0.01 * n, n + 0.5 + 0.01 * n)
    axes.set_ylim(0, top)
    height, above = 0.062, float("inf")  # of the height of the axes
    for at, label, colour in sorted(labels, reverse=True):  # the upper label first, the lower one kept clear of it
        half = height * (label.count("\n") + 1) / 2
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
    canvas.load_matplotlib()
    rows = [run_row(run) for run in runs]
    known = [row for row in rows if row.accuracy is not None and row.output_tokens is not None]
    if not known:
        raise UsageError(f"none of {len(runs)} runs has questions with known tokens: there is nothing to draw")
    with canvas.styled():
        figure, axes = canvas.blank()
        _draw_runs(axes, known)
        data = {row.data for row in known}
        axes.set_title(plain(f"Accuracy and tokens on {', '.join(sorted(str(d) for d in data))}"))
        hollow = " (hollow: with the estimator's)" if any(row.estimate_tokens is not None for row in known) else ""
        axes.set_xlabel(f"mean output tokens per question{hollow}")
        axes.set_ylabel("accuracy (%)")
        _label_points(figure, axes, told_apart(known), known)
        notes = ["Bars are the 95 % interval of each run alone; whether two runs differ is a paired question (table)."]
        unknown = [shortened(row.program, 40) for row in rows if row not in known]
        notes += [f"Tokens unknown, not drawn: {', '.join(unknown)}."] if unknown else []
        canvas.footer(axes, [*notes, *_marks(runs)])
        return canvas.save(figure, canvas.file_stem(out, "accuracy_tokens"), [_csv_row(row) for row in known])


def _accuracy_bars(row: ReportRow) -> tuple[float, float, float]:
    """Give accuracy and the ends of its interval, in percent."""
    accuracy = 100 * (row.accuracy or 0.0)
    low, high = row.accuracy_interval or (accuracy / 100, accuracy / 100)
    return accuracy, min(100 * low, accuracy), max(100 * high, accuracy)


def _draw_runs(axes: "Axes", rows: Sequence[ReportRow]) -> None:
    ends = [end for row in rows for end in _accuracy_bars(row)[1:]]
    most = max(max(row.output_tokens or 0.0, row.net_tokens or 0.0) for row in rows)
    span = max(ends) - min(ends)
    room = max(0.1 * span, (20.0 - span) / 2)  # at least 20 points, not to make much of little
    axes.set_ylim(max(-3.0, min(ends) - room), min(103.0, max(ends) + room))
    axes.set_xlim(0, 1.12 * most or 1.0)
    for row in rows:
        (y, low, high), x = _accuracy_bars(row), row.output_tokens or 0.0
        axes.vlines(x, low, high, color=BLUE, linewidth=1.2, zorder=2, clip_on=False)
        if row.estimate_tokens is not None and row.net_tokens is not None:
            axes.hlines(y, x, row.net_tokens, color=ORANGE, linewidth=1.2, linestyle=":", zorder=2)
            axes.plot(row.net_tokens, y, "o", markerfacecolor="white", color=ORANGE, markersize=6, zorder=3)
        axes.plot(x, y, "o", color=BLUE, markersize=6, zorder=4, clip_on=False)


def _label_points(figure: "Figure", axes: "Axes", names: Sequence[str], rows: Sequence[ReportRow]) -> None:
    """Put each name at the nearest place where it covers no point, bar or other name; in the right margin at last.

    More than ten names would fill the figure: then the points are numbered, and the margin holds the key.
    """
    from matplotlib.transforms import Bbox

    labels = [wrapped(name, 24) for name in names]
    if len(names) > 10:
        labels = [str(i) for i in range(1, len(names) + 1)]
    figure.draw_without_rendering()
    inside, point = axes.get_window_extent(), figure.dpi / 72
    taken: list[Bbox] = []
    for row in rows:
        (y, low, high), x = _accuracy_bars(row), row.output_tokens or 0.0
        right = row.net_tokens if row.net_tokens is not None else x
        bar, dots = axes.transData.transform([(x, low), (x, high)]), axes.transData.transform([(x, y), (right, y)])
        taken += [Bbox(ends).padded(pad * point) for ends, pad in ((bar, 1.5), (dots, 4.5))]
    margin, rightmost = inside.y1, inside.x1
    for row, text in sorted(zip(rows, labels, strict=True), key=lambda pair: -(pair[0].accuracy or 0.0)):
        y, x = _accuracy_bars(row)[0], row.output_tokens or 0.0
        label = axes.text(x, y, plain(text), fontsize=8.5, color="#222222", va="bottom", linespacing=1.1)
        at, size = _pixels(axes, x, y), label.get_window_extent()
        places = _places(at, (size.width, size.height), point)
        box = next((b for b in places if _is_free(b, inside, taken)), None)
        if box is None:
            box = Bbox.from_bounds(inside.x1 + 8 * point, margin - size.height, size.width, size.height)
            margin, rightmost = box.y0 - 3 * point, max(rightmost, box.x1)
        taken.append(box.padded(1.5 * point))
        label.set_position(_values(axes, box.x0, box.y0))
        near = min(max(at[0], box.x0), box.x1), min(max(at[1], box.y0), box.y1)
        if math.dist(near, at) > 14 * point:
            xs, ys = zip((x, y), _values(axes, *near), strict=True)
            axes.plot(xs, ys, color="#9A9A9A", linewidth=0.6, zorder=1, clip_on=False)
    if len(names) > 10:
        key = "\n".join(f"{i}  {shortened(name, 40)}" for i, name in enumerate(names, 1))
        axes.text(*_values(axes, rightmost + 10 * point, inside.y1), plain(key), fontsize=7.5, va="top")


def _pixels(axes: "Axes", x: float, y: float) -> tuple[float, float]:
    across, up = axes.transData.transform((x, y)).tolist()
    return across, up


def _values(axes: "Axes", across: float, up: float) -> tuple[float, float]:
    x, y = axes.transData.inverted().transform((across, up)).tolist()
    return x, y


def _places(at: tuple[float, float], size: tuple[float, float], point: float) -> "Iterator[Bbox]":
    """Give boxes around a point, the nearest first and of these the one to the right first."""
    from matplotlib.transforms import Bbox

    for distance in (7, 12, 18, 26, 36, 50, 70, 100, 140):
        for degrees in (0, 40, -40, 90, -90, 140, -140, 180):
            x = at[0] + math.cos(math.radians(degrees)) * (distance * point + size[0] / 2)
            y = at[1] + math.sin(math.radians(degrees)) * (distance * point + size[1] / 2)
            yield Bbox.from_bounds(x - size[0] / 2, y - size[1] / 2, *size)


def _is_free(box: "Bbox", inside: "Bbox", taken: "Sequence[Bbox]") -> bool:
    within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
    return within and not box.count_overlaps(taken)


def _csv_row(row: ReportRow) -> dict[str, Any]:
    low, high = row.accuracy_interval or (None, None)
    names = (
        "program",
        "model",
        "data",
        "n",
        "accuracy",
        "output_tokens",
        "estimate_tokens",
        "net_tokens",
        "provenance",
    )
    values = {name: value for name, value in asdict(row).items() if name in names}
    return {**values, "accuracy_low": low, "accuracy_high": high}


def _marks(runs: Sequence[Run]) -> list[str]:
    provenances = by_programs((shortened(run.name, 40), provenance_of(run)) for run in runs)
    if len(provenances) == 1:
        return [f"Evidence: {provenance}." for provenance in provenances]
    return [f"Evidence of {programs}: {provenance}." for provenance, programs in provenances.items()]
