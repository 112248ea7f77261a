"""Paired differences of each run to the first, with their intervals.

They are drawn for accuracy, tokens and dollars.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, GREY, ORANGE, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.report_table import Interval
from tale_dspy.reports.rows import ReportRow, distinct_names, provenance_sentences
from tale_dspy.reports.text import shorten_names, shorten_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Estimate = tuple[float, Interval] | None
"""A paired difference with its 95 % interval."""


class _SavingPanel(NamedTuple):
    title: str
    colour: str
    estimate: Callable[[ReportRow], Estimate]


def _scale_interval(value: float | None, interval: Interval | None, scale: float) -> Estimate:
    if value is None or interval is None:
        return None
    return scale * value, (scale * interval[0], scale * interval[1])


_NARROWEST = 0.2
"""Points or percent that an axis shows at least: what differs by less is no difference to look at."""

_PANELS = (
    _SavingPanel("accuracy, points", BLUE, lambda r: _scale_interval(r.accuracy_points, r.accuracy_points_interval, 1)),
    _SavingPanel("tokens saved, %", ORANGE, lambda r: _scale_interval(r.net_saving, r.net_saving_interval, 100)),
    _SavingPanel("dollars saved, %", ORANGE, lambda r: _scale_interval(r.money_saving, r.money_saving_interval, 100)),
)


def paired_differences(rows: Sequence[ReportRow]) -> Drawing | None:
    """Draw the paired differences of the rows compared with the first.

    It returns None if there are none.

    Args:
        rows: What `report_rows` gave.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    compared = [row for row in rows if row.versus is not None]
    panels = [panel for panel in _PANELS if any(panel.estimate(row) for row in compared)]
    if not panels:
        return None
    canvas.load_matplotlib()
    versus = shorten_text(str(compared[0].versus), 40)
    with canvas.house_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 1.0 + 0.28 * len(compared)))
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(left=0.2, right=0.98, bottom=0.1, top=0.9, wspace=0.2)
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw_panel(axes, panel, compared)
        names = [escape_math(name) for name in shorten_names(distinct_names(compared), 28)]
        all_axes[0].set_yticks(range(len(compared)), names)
        all_axes[0].invert_yaxis()
        canvas.draw_footer(all_axes[0], provenance_sentences(rows))
    return Drawing(
        stem="paired_differences",
        title=f"Against {versus}",
        description=(
            f"Each run against {versus} on the questions both have, with paired 95 % intervals: change of accuracy, "
            "output tokens saved with the estimator's included, and dollars saved. An interval across the grey line "
            "shows no difference."
        ),
        figure=figure,
        rows=[_row_numbers(row) for row in compared],
    )


def _draw_panel(axes: "Axes", panel: _SavingPanel, rows: Sequence[ReportRow]) -> None:
    for height, row in enumerate(rows):
        estimate = panel.estimate(row)
        if estimate is not None:
            value, (low, high) = estimate
            axes.hlines(height, low, high, color=panel.colour, linewidth=2)
            axes.plot(value, height, "o", color=panel.colour, markersize=5)
    axes.axvline(0, color=GREY, linewidth=1)
    left, right = axes.get_xlim()
    if right - left < _NARROWEST:  # nothing differs but the rounding of floats
        axes.set_xlim(-1, 1)
    axes.set_title(panel.title)
    axes.locator_params(axis="x", nbins=4)  # figures at the ends of neighbouring plots stay apart
    axes.margins(y=0.5 / max(1, len(rows)) + 0.05)


def _row_numbers(row: ReportRow) -> dict[str, object]:
    numbers: dict[str, object] = {"program": row.program, "versus": row.versus}
    for name, panel in zip(("accuracy_points", "tokens_saved_percent", "usd_saved_percent"), _PANELS, strict=True):
        estimate = panel.estimate(row)
        value, (low, high) = estimate if estimate is not None else (None, (None, None))
        numbers |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return numbers
