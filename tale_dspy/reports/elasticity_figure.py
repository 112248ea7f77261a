"""The elasticity curve: tokens above, accuracy below, over the budget."""

import math
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from tale_dspy.comparison.formatting import number
from tale_dspy.protocols import JsonObject
from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, DARK_BLUE, DARK_ORANGE, GREY, ORANGE, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.elasticity import Elasticity, ElasticityRow, curve_table, evidence_sentences, rise_sentence
from tale_dspy.reports.report_table import Interval, percent_interval
from tale_dspy.reports.text import shorten_text, wrap_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Figures = Callable[[ElasticityRow], tuple[float | None, Interval | None]]
"""What a panel draws of a row: a value and its interval."""

MARKERS = "^sDv"
"""For programs that choose budgets, in turn."""
DIGIT_WIDTH, LABEL_GAP = 0.0225, 0.016
"""Shares of the axis, narrow as on a page, that a letter of a label takes, and that two labels are apart at least."""


def elasticity_curve(curve: Elasticity) -> Drawing:
    """Draw mean tokens and accuracy against the fixed budget.

    Both have 95 % intervals; the axis of budgets is logarithmic. Vanilla chain of thought is a horizontal line; a
    program that chooses its own budgets is a point at their mean, with a hollow one above for the tokens with the
    estimator's.

    Args:
        curve: What `elasticities` gave.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    canvas.load_matplotlib()
    title = f"Tokens and accuracy by budget on {shorten_text(curve.data or 'unnamed data', 40)}, n = {curve.n:,}"
    with canvas.house_style():
        figure, above, below = _make_panels(curve)
        above.set_title(escape_math(title))
        above.set_ylabel("output tokens")
        below.set_ylabel("accuracy (%)")
        below.set_xlabel("budget asked for (tokens)")
        _draw_panel(above, curve, lambda r: (r.output_tokens, r.output_tokens_interval))
        _draw_panel(below, curve, lambda r: (100 * r.accuracy, percent_interval(r.accuracy_interval)))
        _tokens_panel(above, curve)
        _accuracy_panel(below, curve)
        above.legend(loc="upper left", bbox_to_anchor=(1.01, 1.03), frameon=False, fontsize=8.5, handlelength=1.6)
        canvas.draw_footer(below, [rise_sentence(curve), *evidence_sentences(curve)])
    return Drawing(
        stem="elasticity",
        title=title,
        description=(
            "Mean output tokens (above) and accuracy (below) against the fixed budget that was asked for, with 95 % "
            f"intervals. {rise_sentence(curve)}"
        ),
        figure=figure,
        rows=curve_table(curve).values(),
    )


def _make_panels(curve: Elasticity) -> "tuple[Figure, Axes, Axes]":
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    figure = Figure(figsize=(6.4, 4.8))
    above = figure.add_axes((0.1, 0.43, 0.72, 0.5))
    below = figure.add_axes((0.1, 0.12, 0.72, 0.26), sharex=above)
    budgets = [row.budget for row in (*curve.points, *curve.estimated) if row.budget]
    low, high = min(budgets), max(budgets)
    room = (high / low) ** 0.04
    above.set_xscale("log")
    above.set_xlim(low / room, high * room)
    ticks = _spaced_ticks([row.budget for row in curve.points if row.budget], math.log(high / low))
    above.xaxis.set_major_locator(FixedLocator(ticks))
    above.xaxis.set_minor_locator(NullLocator())
    above.xaxis.set_major_formatter(lambda value, _: _budget_label(value))
    above.tick_params(labelbottom=False)
    for axes in (above, below):
        axes.yaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], min_n_ticks=3))
    return figure, above, below


def _spaced_ticks(budgets: Sequence[float], width: float) -> list[float]:
    """Choose the budgets that are written at the axis.

    Of budgets whose labels would touch only the first is written.

    Args:
        budgets: All of them, ascending.
        width: Of the axis, in logarithms of budgets.
    """
    ticks: list[float] = []
    for budget in budgets:
        letters = len(_budget_label(budget)) + len(_budget_label(ticks[-1])) if ticks else 0
        if not ticks or math.log(budget / ticks[-1]) >= (letters / 2 * DIGIT_WIDTH + LABEL_GAP) * width:
            ticks.append(budget)
    return ticks


def _budget_label(budget: float) -> str:
    return f"{budget:,.0f}" if budget < 1e5 else f"{budget:.3g}"


def _draw_panel(axes: "Axes", curve: Elasticity, figures: Figures) -> None:
    """Draw one panel: the curve, the line without a budget, and the points.

    The points are programs that choose a budget for each question.
    """
    xs, ys = [row.budget or 0.0 for row in curve.points], [figures(row)[0] or 0.0 for row in curve.points]
    axes.plot(xs, ys, "-o", color=BLUE, markersize=5, linewidth=1.4, zorder=4, label="fixed budgets")
    for row in curve.points:
        _error_bar(axes, row, figures, DARK_BLUE)
    if curve.vanilla is not None:
        value, interval = figures(curve.vanilla)
        if value is not None:
            label = _legend_label(curve.vanilla, "no budget")
            axes.axhline(value, color=GREY, linewidth=1.2, linestyle="--", zorder=2, label=label)
            axes.axhspan(*(interval or (value, value)), color=GREY, alpha=0.15, linewidth=0, zorder=1)
    for row, marker in zip(curve.estimated, cycle(MARKERS)):
        value, _ = figures(row)
        if value is not None and row.budget:
            label = _legend_label(row, f"mean budget {number(row.budget)}")
            axes.plot(row.budget, value, marker, color=ORANGE, markersize=7.5, zorder=6, linestyle="", label=label)
            _error_bar(axes, row, figures, DARK_ORANGE)


def _legend_label(row: ElasticityRow, description: str) -> str:
    """Name a row in the legend.

    Matplotlib leaves a name that starts with an underscore out of the legend, so such a name is changed.
    """
    name = wrap_name(row.program, 20)
    return escape_math(f"{' ' if name.startswith('_') else ''}{name}\n({description})")


def _error_bar(axes: "Axes", row: ElasticityRow, figures: Figures, colour: str) -> None:
    interval = figures(row)[1]
    if interval is not None and row.budget:
        axes.vlines(row.budget, *interval, color=colour, linewidth=1.2, zorder=5)


def _tokens_panel(axes: "Axes", curve: Elasticity) -> None:
    """Add the estimator's tokens, and the line where tokens equal the budget."""
    ends = [row.output_tokens_interval[1] if row.output_tokens_interval else row.output_tokens for row in curve.rows]
    top = 1.08 * max([*(end or 0.0 for end in ends), *(row.net_tokens or 0.0 for row in curve.estimated)]) or 1.0
    label = "with the estimator's"
    for row, marker in zip(curve.estimated, cycle(MARKERS)):
        if row.budget and row.output_tokens is not None and row.net_tokens is not None:
            axes.vlines(row.budget, row.output_tokens, row.net_tokens, color=ORANGE, linestyle=":", zorder=3)
            hollow: JsonObject = {"markerfacecolor": "white", "markersize": 6, "linestyle": "", "zorder": 5}
            axes.plot(row.budget, row.net_tokens, marker, color=ORANGE, label=label, **hollow)
            label = "_said once"
    low, high = axes.get_xlim()
    xs = [low * (high / low) ** (i / 100) for i in range(101)]
    axes.plot(xs, xs, color="#9A9A9A", linewidth=0.9, linestyle=":", zorder=1, label="as many as asked for")
    axes.set_ylim(0, top)


def _accuracy_panel(axes: "Axes", curve: Elasticity) -> None:
    """Show at least 20 points of accuracy, not to make much of little."""
    ends = [100 * end for row in curve.rows for end in (row.accuracy_interval or (row.accuracy,))]
    span = max(ends) - min(ends)
    room = max(0.08 * span, (20.0 - span) / 2)
    axes.set_ylim(max(-3.0, min(ends) - room), min(103.0, max(ends) + room))
