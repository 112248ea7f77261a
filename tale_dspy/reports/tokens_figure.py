"""Output tokens of every question under two programs.

The figure has the form of those in the README of the paper's code.
"""

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
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MOST_POINTS = 4000
"""Questions of which each is drawn."""
JOINED = 150
"""Questions up to which the two points of a question are joined by a line."""


class QuestionTokens(NamedTuple):
    """Mean output tokens of one question on both sides."""

    id: str
    baseline: float
    run: float


class PairedTokens(NamedTuple):
    """The output tokens of the questions that two runs share.

    The three arrays have one entry for each question.
    """

    ids: "NDArray[np.bytes_]"
    baseline: "NDArray[np.float64]"
    run: "NDArray[np.float64]"

    def take(self, places: "NDArray[np.int64]") -> "PairedTokens":
        """Return the questions at these places, in their order."""
        return PairedTokens(self.ids[places], self.baseline[places], self.run[places])

    def points(self) -> list[QuestionTokens]:
        """Return one value a question."""
        ids, baseline, run = (column.tolist() for column in self)
        return [QuestionTokens(key.decode(), a, b) for key, a, b in zip(ids, baseline, run, strict=True)]


def paired_tokens(baseline: Run, run: Run) -> PairedTokens:
    """Return the output tokens of the questions that both runs have.

    They stand in the baseline's order. Several draws are averaged; a question with a draw of unknown tokens on either
    side is left out.
    """
    import numpy as np

    theirs, order, their_tokens = _mean_tokens(baseline)
    ours, _, our_tokens = _mean_tokens(run)
    ids, left, right = np.intersect1d(theirs, ours, assume_unique=True, return_indices=True)
    pairs = PairedTokens(ids, their_tokens[left], our_tokens[right])
    return pairs.take(np.argsort(order[left], kind="stable"))


def _mean_tokens(run: Run) -> "tuple[NDArray[np.bytes_], NDArray[np.int64], NDArray[np.float64]]":
    """Return ids, places of the first draw, and mean tokens of the questions.

    Questions without known tokens are left out.
    """
    import numpy as np

    ids, first, question = np.unique(run.columns.ids, return_index=True, return_inverse=True)
    means = np.bincount(question, run.columns.output_tokens, len(ids)) / np.bincount(question, minlength=len(ids))
    known = ~np.isnan(means)
    return ids[known], first[known], means[known]


def tokens_per_question(baseline: Run, run: Run) -> Drawing:
    """Draw the output tokens of every question under two programs.

    Questions are ordered by the baseline's tokens, so that the baseline is a rising line and the run is read against
    it; up to 150 questions each pair is joined. Of more than `MOST_POINTS` questions as many are drawn, evenly spaced
    in that order; the means are those of all.

    Args:
        baseline: The run drawn in blue, such as plain chain of thought.
        run: The run drawn in orange.

    Raises:
        UsageError: If no question has known tokens on both sides.
        MissingExtraError: If matplotlib is not installed.
    """
    canvas.load_matplotlib()
    import numpy as np

    pairs = paired_tokens(baseline, run)
    pairs = pairs.take(np.lexsort((pairs.ids, pairs.run, pairs.baseline)))
    n = len(pairs.ids)
    if not n:
        raise UsageError(f"{baseline.name} and {run.name} have no question with known tokens in common")
    rows = [run_row(baseline), run_row(run)]
    first, second = distinct_names(rows)
    title = f"Output tokens per question on {data_name(run) or 'unnamed data'}, n = {n:,}"
    means = (float(pairs.baseline.mean()), float(pairs.run.mean()))
    shown = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).astype(np.int64))
    points = pairs.take(shown).points()
    with canvas.house_style():
        figure, axes = canvas.blank_figure()
        draw_pairs(axes, points, (first, second), means)
        axes.set_title(escape_math(title))
        axes.set_xlabel(escape_math(f"questions, in the order of the output tokens of {shorten_text(first, 40)}"))
        axes.set_ylabel("output tokens")
        short, net = shorten_text(second, 40), number(rows[1].net_tokens)
        notes = [f"Estimates not included; with them {short} writes {net} tokens per question."]
        notes = notes[: rows[1].estimate_tokens is not None]
        if n > len(points):
            notes.append(f"{len(points):,} of {n:,} questions are drawn, evenly spaced; the means are those of all.")
        canvas.draw_footer(axes, [*notes, *provenance_sentences(rows)])
    return Drawing(
        stem="tokens_per_question",
        title=title,
        description=(
            f"Output tokens of each question under {shorten_text(first, 40)} (blue circles) and {short} (orange "
            f"triangles), in the order of the first; the lines are the means."
        ),
        figure=figure,
        rows=[{"rank": int(place) + 1, **p._asdict()} for place, p in zip(shown, points, strict=True)],
    )


def draw_pairs(
    axes: "Axes", points: Sequence[QuestionTokens], names: tuple[str, str], means: tuple[float, float] | None = None
) -> None:
    """Draw both sides of each question in the order given, and their means.

    With `means` None, the means are those of the points.
    """
    from matplotlib.ticker import MaxNLocator

    n, ranks = len(points), range(1, len(points) + 1)
    sides = [p.baseline for p in points], [p.run for p in points]
    top = 1.05 * max(map(max, sides)) or 1.0
    if n <= JOINED:
        axes.vlines(ranks, *sides, color="#BDBDBD", linewidth=0.8, zorder=1)
    means = (sum(sides[0]) / n, sum(sides[1]) / n) if means is None else means
    labels = []
    looks = ("o", BLUE, DARK_BLUE, "-"), ("^", ORANGE, DARK_ORANGE, "--")
    for values, mean, name, (marker, colour, dark, line) in zip(sides, means, names, looks, strict=True):
        area = 16.0 if n <= JOINED else max(2.0, 16.0 * JOINED / n)
        drawn = axes.scatter(ranks, values, s=area, marker=marker, color=colour, linewidths=0, zorder=2)
        drawn.set_rasterized(n > canvas.RASTER)
        axes.axhline(mean, color=dark, linewidth=1.2, linestyle=line, zorder=3)
        labels.append((mean / top, f"{wrap_name(name, 20)}\nmean {number(mean)}", dark))
    axes.set_xlim(0.5 - 0.01 * n, n + 0.5 + 0.01 * n)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.set_ylim(0, top)
    height, above = 0.062, float("inf")  # of the height of the axes
    for at, label, colour in sorted(labels, reverse=True):  # the upper label first, the lower one kept clear of it
        half = height * (label.count("\n") + 1) / 2
        at = min(at, above - half)
        above = at - half - 0.02
        axes.text(1.015, at, escape_math(label), color=colour, va="center", transform=axes.transAxes, fontweight="bold")
