"""Accuracy against its cost, in tokens or dollars, one numbered point a run."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tale_dspy.errors import UsageError
from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, ORANGE, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.report_table import ReportTable
from tale_dspy.reports.rows import COLUMNS, ReportRow, distinct_names, provenance_sentences
from tale_dspy.reports.text import shorten_names, shorten_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

APART = 4.0
"""Points (1/72 inch) between the centres of two runs below which they share a label."""
LETTER_WIDTH, LETTER_HEIGHT, DOT = 6.0, 8.5, 7.0
"""Points that a digit of a label and a run take."""


class _CostAxis(NamedTuple):
    stem: str
    title: str
    axis: str
    value: Callable[[ReportRow], float | None]


_TOKENS = _CostAxis(
    "accuracy_tokens", "Accuracy and tokens", "mean output tokens per question", lambda r: r.output_tokens
)
_DOLLARS = _CostAxis(
    "accuracy_dollars", "Accuracy and dollars", "US dollars per 1,000 questions", lambda r: r.usd_per_1000
)
_NUMBERS = ("Program", "Model", "Data", "n", "Accuracy %", "Output tokens", "Estimate tokens", "Net tokens")


def accuracy_tokens(rows: Sequence[ReportRow]) -> Drawing:
    """Draw accuracy with its 95 % interval against mean output tokens.

    Each run is one numbered point. A hollow point to the right shows the tokens with the estimator's. A run without
    known tokens is named below.

    Args:
        rows: What `report_rows` gave, of runs on the same data or not (the key says which if not).

    Raises:
        UsageError: If no run has known tokens.
        MissingExtraError: If matplotlib is not installed.
    """
    return _accuracy_against(_TOKENS, rows)


def accuracy_dollars(rows: Sequence[ReportRow]) -> Drawing:
    """Draw accuracy against the full price of 1,000 questions.

    Accuracy has its 95 % interval; the price includes the estimates.

    Args:
        rows: What `report_rows` gave.

    Raises:
        UsageError: If no run has a known price.
        MissingExtraError: If matplotlib is not installed.
    """
    return _accuracy_against(_DOLLARS, rows)


def _accuracy_against(cost: _CostAxis, rows: Sequence[ReportRow]) -> Drawing:
    canvas.load_matplotlib()
    known = [row for row in rows if row.accuracy is not None and cost.value(row) is not None]
    if not known:
        raise UsageError(f"none of {len(rows)} runs has questions with known {cost.axis}: there is nothing to draw")
    unknown = [shorten_text(row.program, 40) for row in rows if row not in known]
    with canvas.house_style():
        figure, axes = canvas.blank_figure()
        _draw_runs(axes, cost, known)
        data = ", ".join(sorted({str(row.data) for row in known}))
        axes.set_title(escape_math(f"{cost.title} on {data}"))
        estimated = cost is _TOKENS and any(row.estimate_tokens is not None for row in known)
        axes.set_xlabel(f"{cost.axis}{' (hollow: with the estimator’s)' if estimated else ''}")
        axes.set_ylabel("accuracy (%)")
        _label_points(figure, axes, cost, known)
        notes = ["Bars are the 95 % interval of each run alone; whether two runs differ is a paired question (table)."]
        notes += [f"Unknown, not drawn: {', '.join(unknown)}."] if unknown else []
        canvas.draw_footer(axes, [*notes, *provenance_sentences(known)])
    columns = [column for column in COLUMNS if column.name in (*_NUMBERS, "USD per 1000")]
    return Drawing(
        stem=cost.stem,
        title=f"{cost.title} on {data}",
        description=(
            f"Accuracy of {len(known)} run{'' if len(known) == 1 else 's'} in percent, with the 95 % interval of each "
            f"run alone, against {cost.axis}. Higher and further left is better."
        ),
        figure=figure,
        rows=ReportTable(columns, known).values(),
    )


def _accuracy_bars(row: ReportRow) -> tuple[float, float, float]:
    """Return accuracy and the ends of its interval, in percent."""
    accuracy = 100 * (row.accuracy or 0.0)
    low, high = row.accuracy_interval or (accuracy / 100, accuracy / 100)
    return accuracy, min(100 * low, accuracy), max(100 * high, accuracy)


def _draw_runs(axes: "Axes", cost: _CostAxis, rows: Sequence[ReportRow]) -> None:
    ends = [end for row in rows for end in _accuracy_bars(row)[1:]]
    most = max(cost.value(row) or 0.0 for row in rows)
    span = max(ends) - min(ends)
    room = max(0.1 * span, (20.0 - span) / 2)  # at least 20 points, not to make much of little
    axes.set_ylim(max(-3.0, min(ends) - room), min(103.0, max(ends) + room))
    for row in rows:
        (y, low, high), x = _accuracy_bars(row), cost.value(row) or 0.0
        axes.vlines(x, low, high, color=BLUE, linewidth=1.2, zorder=2, clip_on=False)
        if cost is _TOKENS and row.estimate_tokens is not None and row.net_tokens is not None:
            axes.hlines(y, x, row.net_tokens, color=ORANGE, linewidth=1.2, linestyle=":", zorder=2)
            axes.plot(row.net_tokens, y, "o", markerfacecolor="white", color=ORANGE, markersize=6, zorder=3)
            most = max(most, row.net_tokens)
        axes.plot(x, y, "o", color=BLUE, markersize=6, zorder=4, clip_on=False)
    axes.set_xlim(0, 1.12 * most or 1.0)


def _label_points(figure: "Figure", axes: "Axes", cost: _CostAxis, rows: Sequence[ReportRow]) -> None:
    """Number the points where there is room, and write the key at the right.

    Points too close together share one label.
    """
    figure.draw_without_rendering()
    # A page shows the figure narrower: what has room there has room in the file, too.
    scale = 72 / figure.dpi
    squeeze = canvas.PAGE_WIDTH / figure.get_figwidth()
    labels: dict[_Place, list[int]] = {}
    covered: list[_Box] = []
    for number, row in enumerate(rows, 1):
        spent, accuracy = cost.value(row) or 0.0, _accuracy_bars(row)[0]
        dots = [spent, *([row.net_tokens] if cost is _TOKENS and row.net_tokens is not None else [])]
        places = [
            _Place(x * scale * squeeze, y * scale)
            for x, y in axes.transData.transform([(dot, accuracy) for dot in dots]).tolist()
        ]
        covered += [_Box(place.x - DOT / 2, place.y - DOT / 2, DOT, DOT) for place in places]
        near = (place for place in labels if math.dist(place, places[0]) < APART)
        labels.setdefault(next(near, places[0]), []).append(number)
    for place, numbers in labels.items():
        text = ", ".join(map(str, numbers))
        dx, dy, box = _free_place(place, LETTER_WIDTH * len(text), covered)
        covered.append(box)
        row = rows[numbers[0] - 1]
        axes.annotate(
            text,
            (cost.value(row) or 0.0, _accuracy_bars(row)[0]),
            (dx, dy),
            textcoords="offset points",
            fontsize=8.5,
            fontweight="bold",
            annotation_clip=False,
        )
    names = shorten_names(distinct_names(rows), 30)
    axes.annotate(
        escape_math("\n".join(f"{number}  {name}" for number, name in enumerate(names, 1))),
        (1, 1),
        (8, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=8.5 if len(rows) <= 16 else 6.5,
        annotation_clip=False,
    )


class _Place(NamedTuple):
    """Points from the lower left corner of the figure."""

    x: float
    y: float


class _Box(NamedTuple):
    """The rectangle a text covers, in points from the figure's lower left corner."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: "_Box") -> float:
        """Return the area that both cover."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        up = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, across) * max(0.0, up)


def _free_place(place: _Place, width: float, taken: Sequence[_Box]) -> tuple[float, float, _Box]:
    """Return offset in points and box of a label, where it covers least."""
    above, below = 4.0, -4.0 - LETTER_HEIGHT
    offsets = [
        *((5.0, above), (5.0, below), (-5.0 - width, above), (-5.0 - width, below)),
        *((5.0, above + 9), (5.0, below - 9), (-5.0 - width, above + 9), (-5.0 - width, below - 9)),
        *((14.0, above), (14.0, below), (-14.0 - width, above), (-14.0 - width, below)),
    ]
    boxes = [(dx, dy, _Box(place.x + dx, place.y + dy, width, LETTER_HEIGHT)) for dx, dy in offsets]
    return min(boxes, key=lambda choice: sum(map(choice[2].overlap, taken)))  # the first of equals
