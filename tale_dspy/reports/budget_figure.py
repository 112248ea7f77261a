"""Requested against spent: the tokens of each answer beside its budget."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, DARK_ORANGE, GREY, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.rows import distinct_names, run_provenance_sentences, run_row
from tale_dspy.reports.text import shorten_names
from tale_dspy.runs.records import Run

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

PANELS = 4
MOST_POINTS = 4000
"""Answers that a panel draws at most, evenly spaced in the order of their budgets; bins count all."""
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


def budget_bins(run: Run) -> list[BudgetBin]:
    """Group the answers of a run by budget, about as many in each bin.

    Where there are only a few different budgets, each has a bin.
    """
    import numpy as np

    pairs = _budget_token_pairs(run)
    different = np.unique(pairs[0])
    if len(different) <= BINS:
        ends = [*np.searchsorted(pairs[0], different).tolist(), pairs.shape[1]]
    else:
        ends = [round(i * pairs.shape[1] / BINS) for i in range(BINS + 1)]
    return [
        BudgetBin(
            program=run.name,
            least_budget=int(budgets[0]),
            largest_budget=int(budgets[-1]),
            n=len(budgets),
            mean_budget=math.fsum(budgets) / len(budgets),
            mean_tokens=math.fsum(tokens) / len(budgets),
            within_budget=float(np.mean(tokens <= budgets)),
        )
        for budgets, tokens in (pairs[:, start:end] for start, end in pairwise(ends))
        if len(budgets)
    ]


def _budget_token_pairs(run: Run) -> "NDArray[np.float64]":
    """Return budgets and tokens of the answers for which both are known.

    The array has shape (2, n) and is sorted by budget.
    """
    import numpy as np

    pairs = np.stack([run.columns.token_budget, run.columns.output_tokens])
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    return pairs[:, np.lexsort((pairs[1], pairs[0]))]


def asked_spent(runs: Sequence[Run]) -> Drawing | None:
    """Draw output tokens against budgets.

    The runs that choose a budget for each question are drawn; only where there are none, the fixed ones.

    Args:
        runs: Any runs; the first four that qualify are drawn, all are in the numbers, and the footer says how many are
            not drawn. None without a budget gives None.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    budgeted = [run for run in runs if _budget_token_pairs(run).size]
    if not budgeted:
        return None
    canvas.load_matplotlib()
    several = [run for run in budgeted if len(set(_budget_token_pairs(run)[0])) > 1]
    drawn = (several or budgeted)[:PANELS]
    with canvas.house_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(1.2 + 2.6 * len(drawn), 3.2))
        all_axes = figure.subplots(1, len(drawn), squeeze=False)[0]
        figure.subplots_adjust(left=0.1, right=0.98, bottom=0.17, top=0.88, wspace=0.3)
        names = shorten_names(distinct_names([run_row(run) for run in drawn]), 24)
        for axes, run, name in zip(all_axes, drawn, names, strict=True):
            _draw_panel(axes, run, name)
        all_axes[0].set_ylabel("output tokens")
        left_out = len(budgeted) - len(drawn)
        notes = (
            [f"{len(drawn)} of {len(budgeted)} runs with budgets are drawn; the numbers hold all."] if left_out else []
        )
        canvas.draw_footer(all_axes[0], [*notes, *run_provenance_sentences(drawn)])
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


def _draw_panel(axes: "Axes", run: Run, name: str) -> None:
    pairs, bins = _budget_token_pairs(run), budget_bins(run)
    step = -(-pairs.shape[1] // MOST_POINTS)
    budgets, tokens = pairs[:, ::step]
    axes.scatter(
        budgets.clip(min=1),
        tokens.clip(min=1),
        s=max(2.0, 12.0 * min(1.0, 300 / len(budgets))),
        color=BLUE,
        linewidths=0,
        rasterized=len(budgets) > canvas.RASTER,
    )
    means = [max(1.0, b.mean_budget) for b in bins], [max(1.0, b.mean_tokens) for b in bins]
    axes.plot(*means, "s--", color=DARK_ORANGE, markersize=4)
    low, high = 0.8 * max(1.0, float(pairs.min())), 1.25 * max(1.0, float(pairs.max()))
    for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        set_scale("log")
        canvas.log_ticks(axis, low, high, 5)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.plot([low, high], [low, high], color=GREY, linewidth=1)
    within = float((pairs[1] <= pairs[0]).mean())
    axes.set_title(escape_math(f"{name}: {100 * within:.0f} % within"))
    axes.set_xlabel("budget (tokens)")
