"""Token elasticity over effort words: tokens above, accuracy below.

The runs ask all questions with one word each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tale_dspy.budget import EFFORT_WORDS
from tale_dspy.comparison.formatting import change_text, side_texts
from tale_dspy.comparison.paired import pair_runs, paired_means, share_questions
from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, GREY, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.experiments import NOT_THE_EXPERIMENT, OF_THE_PROGRAM, experiment, vanilla_run
from tale_dspy.reports.report_table import Interval, percent_interval
from tale_dspy.reports.rows import ReportRow, provenance_sentences, run_row
from tale_dspy.reports.text import shorten_text
from tale_dspy.runs.records import Run
from tale_dspy.statistics import normal_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESAMPLES = 10_000
LEAST_WORDS = 2
"""Effort words from which on there is something to compare."""


@dataclass(frozen=True)
class EffortCurve:
    """One model on one data set at several effort words, and without one."""

    runs: tuple[Run, ...]
    """A run for each word, the least effort first."""
    vanilla: Run | None

    @property
    def words(self) -> list[str]:
        return [str(fixed_effort(run)) for run in self.runs]


def fixed_effort(run: Run) -> str | None:
    """Return the one effort word that all questions of a run were asked with.

    It is None if there is no such word, or if a number of tokens was given with it.
    """
    least_word: str | None = None
    for record in run.iter_records():
        if record.outcome == "error" and record.effort is None:
            continue
        word = record.effort if record.token_budget is None else None
        if word is None or least_word not in (None, word):
            return None
        least_word = word
    return least_word


def effort_curves(runs: Sequence[Run]) -> list[EffortCurve]:
    """Find the effort words among runs that differ in nothing else.

    A curve has at least two words.

    Args:
        runs: Any runs, in any order; of several with one word the first counts.
    """
    groups: dict[str, dict[str, Run]] = {}
    for run in runs:
        word = fixed_effort(run)
        if word in EFFORT_WORDS:
            groups.setdefault(experiment(run, NOT_THE_EXPERIMENT | {"program"}), {}).setdefault(word, run)
    curves = []
    for words in groups.values():
        ordered = tuple(words[word] for word in EFFORT_WORDS if word in words)
        if len(words) >= LEAST_WORDS and share_questions(ordered[0], ordered[-1]):
            apart = NOT_THE_EXPERIMENT | OF_THE_PROGRAM
            alike = [run for run in runs if experiment(run, apart) == experiment(ordered[0], apart)]
            curves.append(EffortCurve(ordered, vanilla_run(alike, runs[0])))
    return curves


def effort_drawings(runs: Sequence[Run]) -> Iterator[Drawing]:
    """Draw mean tokens and accuracy against the effort word.

    Points have 95 % intervals, and the run without a budget is a line.

    Args:
        runs: Any runs; nothing is drawn where there are no two words.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    for i, curve in enumerate(effort_curves(runs), 1):
        yield _draw_curve(curve, "effort" if i == 1 else f"effort_{i:02d}")


def _draw_curve(curve: EffortCurve, stem: str) -> Drawing:
    canvas.load_matplotlib()
    rows = [run_row(run) for run in curve.runs]
    vanilla = None if curve.vanilla is None else run_row(curve.vanilla)
    title = (
        f"Tokens and accuracy by effort on {shorten_text(rows[0].data or 'unnamed data', 40)}, n = {rows[0].n or 0:,}"
    )
    tokens = [(row.output_tokens, _tokens_interval(run)) for row, run in zip(rows, curve.runs, strict=True)]
    right = [(row.accuracy and 100 * row.accuracy, percent_interval(row.accuracy_interval)) for row in rows]
    with canvas.house_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.4))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        figure.subplots_adjust(left=0.1, right=0.82, bottom=0.16, top=0.92, hspace=0.12)
        _draw_panel(above, tokens, None if vanilla is None else vanilla.output_tokens)
        _draw_panel(below, right, None if vanilla is None or vanilla.accuracy is None else 100 * vanilla.accuracy)
        above.set_title(escape_math(title))
        above.set_ylabel("output tokens")
        above.set_ylim(bottom=0)
        below.set_ylabel("accuracy (%)")
        below.set_xlabel("effort asked for")
        below.set_xticks(range(len(rows)), curve.words)
        shown = [*rows, *([] if vanilla is None else [vanilla])]
        line = [] if vanilla is None else [f"Dashed: {shorten_text(vanilla.program, 40)}, without a budget."]
        canvas.draw_footer(below, [*line, effort_sentence(curve), *provenance_sentences(shown)])
    return Drawing(
        stem=stem,
        title=title,
        description=(
            "Mean output tokens (above) and accuracy (below) by the effort word that was asked for, with 95 % "
            f"intervals; the dashed line is without a budget. {effort_sentence(curve)}"
        ),
        figure=figure,
        rows=[
            _figure_numbers(word, row, interval)
            for word, row, (_, interval) in zip(curve.words, rows, tokens, strict=True)
        ],
    )


def effort_sentence(curve: EffortCurve) -> str:
    """Say how tokens change from the first to the last word.

    It also says if the paired interval holds zero, so that no effect of the words is shown.
    """
    pairs = pair_runs(curve.runs[0], curve.runs[-1])
    change = paired_means(pairs, [lambda columns: columns.output_tokens], seed=0, resamples=RESAMPLES)[0]
    before, after = side_texts(change)
    sentence = (
        f"Mean output tokens go from {before} at {curve.words[0]} to {after} at {curve.words[-1]}: "
        f"{change_text(change)} (paired 95 % interval on {change.n:,} questions)"
    )
    if change.interval is not None and change.interval[0] <= 0 <= change.interval[1]:
        return f"{sentence}, so an effect of the words is not shown."
    return f"{sentence}."


def _tokens_interval(run: Run) -> Interval | None:
    draws: dict[str, list[int]] = {}
    for r in run.iter_records():
        if r.output_tokens is not None:
            draws.setdefault(r.id, []).append(r.output_tokens)
    return normal_interval([sum(tokens) / len(tokens) for tokens in draws.values()])


def _draw_panel(axes: "Axes", points: Sequence[tuple[float | None, Interval | None]], line: float | None) -> None:
    places = [x for x, (value, _) in enumerate(points) if value is not None]
    axes.plot(places, [points[x][0] or 0.0 for x in places], "-o", color=BLUE, markersize=5, linewidth=1.4, zorder=3)
    for x in places:
        interval = points[x][1]
        if interval is not None:
            axes.vlines(x, *interval, color=BLUE, linewidth=1.2, zorder=2)
    if line is not None:
        axes.axhline(line, color=GREY, linewidth=1.2, linestyle="--", zorder=1)
    axes.margins(x=0.1)


def _figure_numbers(word: str, row: ReportRow, interval: Interval | None) -> dict[str, object]:
    low, high = interval or (None, None)
    accuracy = row.accuracy_interval or (None, None)
    return {
        "effort": word,
        "program": row.program,
        "n": row.n,
        "output_tokens": row.output_tokens,
        "output_tokens_low": low,
        "output_tokens_high": high,
        "accuracy": row.accuracy,
        "accuracy_low": accuracy[0],
        "accuracy_high": accuracy[1],
        "usd_per_1000": row.usd_per_1000,
    }
