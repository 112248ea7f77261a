"""Token elasticity of single questions, and of all questions pooled."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, DARK_BLUE, DARK_ORANGE, GREY, ORANGE, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.question_curves import PooledBin, QuestionCurve, pooled, shares, spread
from tale_dspy.reports.text import shorten_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, ROWS = 3, 3
"""Questions shown one by one."""
MOST_POINTS = 4000
"""Points of the pooled figure that are drawn; the curve is made of all."""


def question_drawings(curves: Sequence[QuestionCurve], *, data: str, notes: Sequence[str]) -> Iterator[Drawing]:
    """Draw tokens against budget for single questions and for all.

    A drawing without data is left out.
    """
    if any(c.vanilla_tokens and c.vanilla_right and c.points for c in curves):
        yield elasticity_questions(curves, data=data, notes=notes)
    if pooled(curves):
        yield elasticity_pooled(curves, data=data, notes=notes)


def elasticity_questions(curves: Sequence[QuestionCurve], *, data: str, notes: Sequence[str]) -> Drawing:
    """Draw tokens against budget for nine questions, from short to long.

    Full circles are right answers, crosses wrong ones, the dashed line is the answer without a budget.

    Args:
        curves: Of `curves_of_search` or `curves_of_runs`.
        data: Name of the questions.
        notes: Sentences for below the figure: what it is evidence of.

    Raises:
        UsageError: If no question that is right without a budget has known tokens.
        MissingExtraError: If matplotlib is not installed.
    """
    canvas.load_matplotlib()
    chosen = spread(curves, COLUMNS * ROWS)
    if not chosen:
        raise UsageError("no question that is right without a budget has budgets tried on it, with known tokens")
    with canvas.house_style():
        from matplotlib.figure import Figure

        rows = math.ceil(len(chosen) / COLUMNS)
        figure = Figure(figsize=(7.2, 0.7 + 1.75 * rows))
        grid = figure.subplots(rows, COLUMNS, squeeze=False)
        figure.subplots_adjust(left=0.08, right=0.99, top=1 - 0.62 / (0.7 + 1.75 * rows), bottom=0.1, hspace=0.62)
        for axes, curve in zip(grid.flat, chosen, strict=False):
            _draw_question(axes, curve)
        for axes in list(grid.flat)[len(chosen) :]:
            axes.set_axis_off()
        for i, axes in enumerate(grid.flat[: len(chosen)]):
            axes.set_ylabel("tokens" if i % COLUMNS == 0 else "")
            axes.set_xlabel("budget" if i + COLUMNS >= len(chosen) else "")
        title = f"Output tokens by budget on {len(chosen)} of {len(curves):,} questions of {shorten_text(data, 40)}"
        figure.suptitle(escape_math(title), x=0.08, y=0.995, ha="left", fontsize=10)
        legend = ["Blue circles: right. Orange crosses: wrong. Dashed: without a budget. Dotted: as many as asked for."]
        legend += ["The larger ring is the budget that was chosen."] if any(c.best for c in chosen) else []
        canvas.draw_footer(grid[rows - 1][0], [*legend, *notes])
    return Drawing(
        stem="elasticity_questions",
        title=title,
        description=f"Output tokens against budget for single questions, from a short one to a long one. {legend[0]}",
        figure=figure,
        rows=_point_rows(curves),
    )


def _draw_question(axes: "Axes", curve: QuestionCurve) -> None:
    vanilla = curve.vanilla_tokens or 1.0
    budgets = [p.budget for p in curve.points]
    axes.plot(budgets, [p.tokens for p in curve.points], color="#A9BFD6", linewidth=1.0, zorder=2)
    size = 16.0 if len(budgets) <= 15 else 6.0
    right, wrong = [p for p in curve.points if p.right > 0.5], [p for p in curve.points if p.right <= 0.5]
    axes.scatter([p.budget for p in right], [p.tokens for p in right], s=size, color=BLUE, linewidths=0, zorder=4)
    axes.scatter([p.budget for p in wrong], [p.tokens for p in wrong], s=size, marker="x", color=ORANGE, zorder=3)
    if curve.best is not None:
        ring: JsonObject = {"s": 70, "facecolors": "none", "edgecolors": DARK_BLUE, "linewidths": 1.3, "zorder": 5}
        axes.scatter([curve.best.budget], [curve.best.tokens], **ring)
    axes.axhline(vanilla, color=GREY, linewidth=1.0, linestyle="--", zorder=1)
    low, high = min(budgets) / 1.15, max(*budgets, vanilla) * 1.15
    xs = [low * (high / low) ** (i / 60) for i in range(61)]
    axes.plot(xs, xs, color="#9A9A9A", linewidth=0.9, linestyle=":", zorder=1)
    log_axis(axes, low, high, most=5)
    axes.set_ylim(0, 1.12 * max(vanilla, *(p.tokens for p in curve.points)))
    axes.set_title(escape_math(shorten_text(" ".join((curve.question or curve.id).split()), 32)), fontsize=8)
    axes.tick_params(labelsize=7.5)


def log_axis(axes: "Axes", low: float, high: float, most: int) -> None:
    """Make the horizontal axis logarithmic, with at most `most` round numbers."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    canvas.log_ticks(axes.xaxis, low, high, most)


def elasticity_pooled(curves: Sequence[QuestionCurve], *, data: str, notes: Sequence[str]) -> Drawing:
    """Draw tokens against budget for all questions, with accuracy below.

    Budget and tokens are shares of the tokens without a budget. The line is the median over questions, the band their
    middle half, of budgets about a factor 1.4 apart. Questions that are wrong without a budget are left out.

    Args:
        curves: Of `curves_of_search` or `curves_of_runs`.
        data: Name of the questions.
        notes: Sentences for below the figure: what it is evidence of.

    Raises:
        UsageError: If there are too few questions to pool.
        MissingExtraError: If matplotlib is not installed.
    """
    canvas.load_matplotlib()
    bins = pooled(curves)
    if not bins:
        raise UsageError("no budget was tried on three questions that are right without one, with known tokens")
    used = [c for c in curves if c.vanilla_right and c.vanilla_tokens and c.points]
    title = f"Token elasticity on {shorten_text(data, 40)}, n = {len(used):,} questions"
    with canvas.house_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.8))
        above = figure.add_axes((0.1, 0.43, 0.72, 0.5))
        below = figure.add_axes((0.1, 0.12, 0.72, 0.26), sharex=above)
        _draw_pooled(above, used, bins)
        _draw_right(below, bins)
        above.tick_params(labelbottom=False)
        above.set_title(escape_math(title))
        above.set_ylabel("output tokens (%)")
        below.set_ylabel("right (%)")
        below.set_xlabel("budget asked for (% of the tokens without one)")
        sentences = ["Tokens in percent of those of the same question without a budget, whose answer was right."]
        sentences += [elasticity_sentence(bins)]
        canvas.draw_footer(below, [*sentences, *notes])
    return Drawing(
        stem="elasticity_pooled",
        title=title,
        description=(
            "Output tokens (above) and share of right answers (below) against the budget, all in percent of the answer "
            f"without a budget. {elasticity_sentence(bins)}"
        ),
        figure=figure,
        rows=[b._asdict() for b in bins],
    )


def elasticity_sentence(bins: Sequence[PooledBin]) -> str:
    """Say where tokens are least, and whether they rise again below."""
    least = min(bins, key=lambda b: b.median)
    sentence = (
        f"Tokens are least at budgets of {percent(least.share)}: {percent(least.median)} (median), "
        f"{percent(least.right)} right"
    )
    if least is bins[0]:
        return f"{sentence}; no smaller budget was tried, so no rise is seen."
    return f"{sentence}; the smallest, {percent(bins[0].share)}, take {percent(bins[0].median)}."


def percent(share: float) -> str:
    """Write a share in percent, with a space that does not break."""
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f}\N{NO-BREAK SPACE}%"


def _draw_pooled(axes: "Axes", curves: Sequence[QuestionCurve], bins: Sequence[PooledBin]) -> None:
    share_points = shares(curves)
    step = math.ceil(len(share_points) / MOST_POINTS)
    looks: list[JsonObject] = [
        {"marker": "o", "color": BLUE, "label": "right", "linewidths": 0.0},
        {"marker": "x", "color": ORANGE, "label": "wrong", "linewidths": 0.8},
    ]
    for wanted, look in zip((True, False), looks, strict=True):
        points = [(x, y) for _, p, x, y in share_points[::step] if (p.right > 0.5) == wanted]
        alpha = 0.55 if len(share_points) < 300 else 0.25
        axes.scatter([100 * x for x, _ in points], [100 * y for _, y in points], s=9, alpha=alpha, zorder=2, **look)
    xs = [100 * b.share for b in bins]
    axes.fill_between(
        xs, [100 * b.low for b in bins], [100 * b.high for b in bins], color=GREY, alpha=0.25, linewidth=0, zorder=3
    )
    axes.plot(
        xs,
        [100 * b.median for b in bins],
        "-o",
        color="#222222",
        markersize=4,
        zorder=5,
        label="median of questions,\nmiddle half",
    )
    axes.axhline(100, color=GREY, linewidth=1.2, linestyle="--", zorder=1, label="without a budget")
    low, high = min(100 * x for _, _, x, _ in share_points) / 1.05, max(100 * x for _, _, x, _ in share_points) * 1.05
    line = [low * (high / low) ** (i / 100) for i in range(101)]
    axes.plot(line, line, color="#9A9A9A", linewidth=0.9, linestyle=":", zorder=1, label="as many as\nasked for")
    log_axis(axes, low, high, most=8)
    tall = sorted(100 * y for _, _, _, y in share_points)[int(0.99 * (len(share_points) - 1))]
    axes.set_ylim(0, 1.08 * max(105.0, tall))
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.03), frameon=False, fontsize=8.5, handlelength=1.6)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)


def _draw_right(axes: "Axes", bins: Sequence[PooledBin]) -> None:
    xs, ys = [100 * b.share for b in bins], [100 * b.right for b in bins]
    axes.plot(xs, ys, "-o", color=DARK_ORANGE, markersize=4, linewidth=1.2)
    axes.set_ylim(-3, 103)


def _point_rows(curves: Sequence[QuestionCurve]) -> list[JsonObject]:
    return [
        {
            "id": c.id,
            "vanilla_tokens": c.vanilla_tokens,
            "vanilla_right": c.vanilla_right,
            **p._asdict(),
            "is_best": c.best is not None and c.best.budget == p.budget,
        }
        for c in curves
        for p in c.points
    ]
