"""What was asked for against what was spent.

The tokens of each answer beside its budget.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, DARK_ORANGE, GREY, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.text import shorten_text
from tale_dspy.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 4
BINS = 5


@dataclass(frozen=True)
class BudgetBin:
    """Answers of similar budgets."""

    program: str
    least_budget: int
    largest_budget: int
    n: int
    mean_budget: float
    mean_tokens: float
    within_budget: float
    """Share of answers of at most as many tokens as their budget, 0 to 1."""


def budget_bins(run: Run, bins: int = BINS) -> list[BudgetBin]:
    """Group the answers of a run by budget, equally many in a bin.

    Few different budgets have a bin each.
    """
    pairs = _budget_token_pairs(run)
    budgets = sorted({budget for budget, _ in pairs})
    if len(budgets) <= bins:
        groups = [[pair for pair in pairs if pair[0] == budget] for budget in budgets]
    else:
        ends = [round(i * len(pairs) / bins) for i in range(bins + 1)]
        groups = [pairs[start:end] for start, end in pairwise(ends)]
    return [
        BudgetBin(
            program=run.name,
            least_budget=group[0][0],
            largest_budget=group[-1][0],
            n=len(group),
            mean_budget=math.fsum(budget for budget, _ in group) / len(group),
            mean_tokens=math.fsum(tokens for _, tokens in group) / len(group),
            within_budget=sum(tokens <= budget for budget, tokens in group) / len(group),
        )
        for group in groups
        if group
    ]


def _budget_token_pairs(run: Run) -> list[tuple[int, int]]:
    """Return budget and tokens of each answer for which both are known, in the order of the budgets."""
    return sorted(
        (r.token_budget, r.output_tokens) for r in run.records if r.token_budget and r.output_tokens is not None
    )


def asked_spent(runs: Sequence[Run]) -> Drawing | None:
    """Draw output tokens against budgets for the runs that choose a budget for each question, else the fixed ones.

    Args:
        runs: Any runs; the first four that qualify are drawn, all are in the numbers. None without a budget gives None.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    budgeted = [run for run in runs if _budget_token_pairs(run)]
    if not budgeted:
        return None
    canvas.load_matplotlib()
    several = [run for run in budgeted if len({budget for budget, _ in _budget_token_pairs(run)}) > 1]
    drawn = (several or budgeted)[:PANELS]
    with canvas.house_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(1.2 + 2.6 * len(drawn), 3.2))
        all_axes = figure.subplots(1, len(drawn), squeeze=False)[0]
        figure.subplots_adjust(left=0.1, right=0.98, bottom=0.17, top=0.88, wspace=0.3)
        for axes, run in zip(all_axes, drawn, strict=True):
            _draw_panel(axes, run)
        all_axes[0].set_ylabel("output tokens")
    return Drawing(
        stem="asked_spent",
        title="Budget asked for and tokens spent",
        description=(
            "Output tokens of each answer against the budget that it was given, on logarithmic axes. Below the grey "
            "line an answer stayed within its budget; the dashed line is the mean of answers with similar budgets."
        ),
        figure=figure,
        rows=[vars(budget_bin) for run in budgeted for budget_bin in budget_bins(run)],
    )


def _draw_panel(axes: "Axes", run: Run) -> None:
    pairs, bins = _budget_token_pairs(run), budget_bins(run)
    budgets, tokens = zip(*pairs, strict=True)
    axes.scatter(
        budgets,
        [max(1, t) for t in tokens],
        s=max(2.0, 12.0 * min(1.0, 300 / len(pairs))),
        color=BLUE,
        linewidths=0,
        rasterized=len(pairs) > canvas.RASTER,
    )
    axes.plot([b.mean_budget for b in bins], [b.mean_tokens for b in bins], "s--", color=DARK_ORANGE, markersize=4)
    low, high = 0.8 * max(1, min(budgets + tokens)), 1.25 * max(budgets + tokens)
    for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        set_scale("log")
        canvas.log_ticks(axis, low, high, 5)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.plot([low, high], [low, high], color=GREY, linewidth=1)
    within = sum(t <= b for b, t in pairs) / len(pairs)
    axes.set_title(escape_math(f"{shorten_text(run.name, 24)}: {100 * within:.0f} % within"))
    axes.set_xlabel("budget (tokens)")
