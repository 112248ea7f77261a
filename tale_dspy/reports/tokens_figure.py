"""Output tokens of every question under two programs, as the figures of the paper's README show them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tale_dspy.comparison.formatting import number
from tale_dspy.comparison.run_stats import data_name
from tale_dspy.errors import UsageError
from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, DARK_BLUE, DARK_ORANGE, ORANGE, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.rows import distinct_names, provenance_sentences, run_row
from tale_dspy.reports.text import shorten_text, wrap_name
from tale_dspy.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def tokens_per_question(baseline: Run, run: Run) -> Drawing:
    """Draw the output tokens of every question under two programs.

    Questions are ordered by the baseline's tokens, so that the baseline is a rising line and the run is read against
    it; up to 150 questions each pair is joined.

    Args:
        baseline: The run drawn in blue, such as plain chain of thought.
        run: The run drawn in orange.

    Raises:
        UsageError: If no question has known tokens on both sides.
        MissingExtraError: If matplotlib is not installed.
    """
    canvas.load_matplotlib()
    points = sorted(paired_tokens(baseline, run), key=lambda p: (p.baseline, p.run, p.id))
    if not points:
        raise UsageError(f"{baseline.name} and {run.name} have no question with known tokens in common")
    rows = [run_row(baseline), run_row(run)]
    first, second = distinct_names(rows)
    title = f"Output tokens per question on {data_name(run) or 'unnamed data'}, n = {len(points):,}"
    with canvas.house_style():
        figure, axes = canvas.blank_figure()
        draw_pairs(axes, points, (first, second))
        axes.set_title(escape_math(title))
        axes.set_xlabel(escape_math(f"questions, in the order of the output tokens of {shorten_text(first, 40)}"))
        axes.set_ylabel("output tokens")
        short, net = shorten_text(second, 40), number(rows[1].net_tokens)
        notes = [f"Estimates not included; with them {short} writes {net} tokens per question."]
        canvas.draw_footer(axes, [*notes[: rows[1].estimate_tokens is not None], *provenance_sentences(rows)])
    return Drawing(
        stem="tokens_per_question",
        title=title,
        description=(
            f"Output tokens of each question under {shorten_text(first, 40)} (blue circles) and {short} (orange "
            f"triangles), in the order of the first; the lines are the means."
        ),
        figure=figure,
        rows=[{"rank": i, **p._asdict()} for i, p in enumerate(points, 1)],
    )


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
        drawn = axes.scatter(ranks, values, s=area, marker=marker, color=colour, linewidths=0, zorder=2)
        drawn.set_rasterized(n > canvas.RASTER)
        axes.axhline(mean, color=dark, linewidth=1.2, linestyle=line, zorder=3)
        labels.append((mean / top, f"{wrap_name(name, 20)}\nmean {number(mean)}", dark))
    axes.set_xlim(0.5 - 0.01 * n, n + 0.5 + 0.01 * n)
    axes.set_ylim(0, top)
    height, above = 0.062, float("inf")  # of the height of the axes
    for at, label, colour in sorted(labels, reverse=True):  # the upper label first, the lower one kept clear of it
        half = height * (label.count("\n") + 1) / 2
        at = min(at, above - half)
        above = at - half - 0.02
        axes.text(1.015, at, escape_math(label), color=colour, va="center", transform=axes.transAxes, fontweight="bold")
