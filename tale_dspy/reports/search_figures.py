"""Figures of a search: tokens over budget, best budgets, and their savings."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tale_dspy.comparison.formatting import number
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, DARK_ORANGE, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.question_curves import curves_of_search
from tale_dspy.reports.question_figures import log_axis, question_drawings
from tale_dspy.reports.search_run import SearchRun, search_notes
from tale_dspy.reports.text import shorten_text
from tale_dspy.reports.tokens_figure import QuestionTokens, draw_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 20


def search_figures(search: SearchRun) -> Iterator[Drawing]:
    """Draw all figures of a search that there is something to draw for.

    They are `elasticity_questions` and `elasticity_pooled` (tokens against budget), `best_budgets`, and
    `vanilla_searched` (tokens a question).

    Args:
        search: One of `load_search_runs`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    curves, data, notes = curves_of_search(search.rows), search.data, search_notes(search)
    yield from question_drawings(curves, data=data, notes=notes)
    if _best_budgets(search):
        yield best_budgets(search)
        yield vanilla_searched(search)


def _best_budgets(search: SearchRun) -> list[JsonObject]:
    """Return the figures of the questions that have a best budget."""
    return [
        {
            "id": row.id,
            "budget": row.best.budget,
            "share_of_vanilla": row.best.budget / row.vanilla.tokens,
            "vanilla_tokens": row.vanilla.tokens,
            "tokens": row.best.tokens,
            "selected_tokens": row.best.selected_tokens,
            "confirmed_n": row.best.confirmed.n,
            "confirmed_right": row.best.confirmed.right,
        }
        for row in search.rows
        if row.best is not None and isinstance(row.best.budget, int) and row.vanilla.tokens
    ]


def _to_draw(search: SearchRun) -> list[JsonObject]:
    """Return what was found, or say that nothing was."""
    rows = _best_budgets(search)
    if not rows:
        raise UsageError(f"none of {len(search.rows)} questions has a best budget: there is nothing to draw")
    return rows


def best_budgets(search: SearchRun) -> Drawing:
    """Draw how the best budgets are distributed.

    They are shown in tokens, and as shares of the tokens without a budget.

    Args:
        search: One of `load_search_runs`.

    Raises:
        UsageError: If no question has a best budget.
        MissingExtraError: If matplotlib is not installed.
    """
    canvas.load_matplotlib()
    rows = _to_draw(search)
    title = f"Best budgets on {shorten_text(search.data, 40)}, n = {len(rows):,}"
    with canvas.house_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 3.1))
        left, right = figure.add_axes((0.08, 0.18, 0.42, 0.68)), figure.add_axes((0.57, 0.18, 0.42, 0.68))
        _draw_histogram(left, [float(row["budget"]) for row in rows], "best budget (tokens)")
        _draw_histogram(
            right, [100 * row["share_of_vanilla"] for row in rows], "best budget (% of the answer without one)"
        )
        left.set_ylabel("questions")
        none = len(search.rows) - len(rows)
        left.set_title(escape_math(title))
        without = f"{none:,} of {len(search.rows):,} questions have none and are not drawn: {_reason_counts(search)}."
        canvas.draw_footer(left, [*([without] if none else []), *search_notes(search)])
    return Drawing(
        stem="best_budgets",
        title=title,
        description="How many questions have a best budget of which size, in tokens and as a share of the answer "
        "without one; the dashed lines are the medians.",
        figure=figure,
        rows=rows,
    )


def _reason_counts(search: SearchRun) -> str:
    counts: dict[str, int] = {}
    for row in search.rows:
        if row.best is None:
            reason = shorten_text(row.reason or "unknown tokens", 60)
            counts[reason] = counts.get(reason, 0) + 1
    return "; ".join(f"{count} {reason}" for reason, count in counts.items())


def _draw_histogram(axes: "Axes", values: Sequence[float], label: str) -> None:
    """Draw bars and the median over a logarithmic axis.

    The axis is logarithmic because budgets differ by factors.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = min(values) / 1.05, max(values) * 1.05
    edges = [low * (high / low) ** (i / BINS) for i in range(BINS + 1)]
    axes.hist(values, bins=edges, color=BLUE, edgecolor="white", linewidth=0.6)
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    axes.axvline(middle, color=DARK_ORANGE, linewidth=1.4, linestyle="--")
    at_left = math.log(middle / low) > 0.55 * math.log(high / low)
    axes.annotate(
        f"median {number(middle)}",
        (middle, 1.0),
        (-5 if at_left else 5, -3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if at_left else "left",
        va="top",
        color=DARK_ORANGE,
        fontsize=8.5,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
    )
    log_axis(axes, low, high, most=6)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
    axes.yaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel(label)


def vanilla_searched(search: SearchRun) -> Drawing:
    """Draw every question's tokens without and under its best budget.

    It has the form of figure 3 of the paper.

    Args:
        search: One of `load_search_runs`.

    Raises:
        UsageError: If no question has a best budget.
        MissingExtraError: If matplotlib is not installed.
    """
    canvas.load_matplotlib()
    rows = sorted(_to_draw(search), key=lambda row: (row["vanilla_tokens"], row["tokens"], row["id"]))
    title = f"Output tokens per question on {shorten_text(search.data, 40)}, n = {len(rows):,}"
    with canvas.house_style():
        figure, axes = canvas.blank_figure()
        points = [QuestionTokens(row["id"], row["vanilla_tokens"], row["tokens"]) for row in rows]
        draw_pairs(axes, points, ("without a budget", "best budget"))
        axes.set_title(escape_math(title))
        axes.set_xlabel("questions with a best budget, in the order of their tokens without one")
        axes.set_ylabel("output tokens")
        canvas.draw_footer(axes, [_confirmation_note(rows), *search_notes(search)])
    return Drawing(
        stem="vanilla_searched",
        title=title,
        description="Output tokens of each question without a budget (blue circles) and under its best budget (orange "
        "triangles); the lines are the means.",
        figure=figure,
        rows=[{"rank": i, **row} for i, row in enumerate(rows, 1)],
    )


def _confirmation_note(rows: Sequence[JsonObject]) -> str:
    drawn, right = sum(row["confirmed_n"] for row in rows), sum(row["confirmed_right"] for row in rows)
    if not drawn:
        return "Tokens of the draw a budget was chosen for: the least of several noisy draws, and therefore too low."
    return f"Tokens are means of fresh draws, made after a budget was chosen; {right:,} of {drawn:,} of them are right."
