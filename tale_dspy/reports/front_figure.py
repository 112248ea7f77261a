"""The Pareto front of a search, with every program it tried."""

from collections.abc import Sequence
from typing import Protocol

from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, GREY, ORANGE, escape_math
from tale_dspy.reports.drawing import Drawing


class Figures(Protocol):
    """What a program came to."""

    @property
    def accuracy(self) -> float:
        """Share of right answers, from 0 to 1."""
        ...

    @property
    def tokens(self) -> float:
        """Mean completion tokens a question."""
        ...

    @property
    def n(self) -> int:
        """Questions."""
        ...


def pareto_front(
    tried: Sequence[Figures], front: Sequence[Figures], chosen: int | None, data: str, evidence: Sequence[str] = ()
) -> Drawing:
    """Draw the front of a search as a line.

    Programs that were tried are hollow points, and the chosen program is a filled one.

    Args:
        tried: Every variant, as it was selected.
        front: The programs that are kept, from the fewest tokens to the most, as they were measured again.
        chosen: Which of the front was chosen; None for none.
        data: Name of the questions.
        evidence: Sentences on what the figures are evidence of.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    canvas.load_matplotlib()
    n = front[0].n if front else 0
    with canvas.house_style():
        figure, axes = canvas.blank_figure()
        axes.plot(*_points(tried), "o", color=GREY, markersize=5, markerfacecolor="none", label="tried")
        axes.plot(*_points(front), "o-", color=BLUE, markersize=6, linewidth=1.5, label="front, measured again")
        if chosen is not None:
            axes.plot(*_points([front[chosen]]), "o", color=ORANGE, markersize=10, label="chosen")
        axes.set_title(escape_math(f"Programs tried on {data}"))
        axes.set_xlabel("mean output tokens per question, estimates included")
        axes.set_ylabel("accuracy (%)")
        axes.legend(frameon=False)
        flattered = f"{n} questions. The tried ones were chosen by these figures, which flatters them."
        canvas.draw_footer(axes, [flattered, *evidence])
    return Drawing(
        stem="front",
        title=f"Programs tried on {data}",
        description=(
            f"Accuracy against mean output tokens of {len(tried)} programs that were tried, and of the {len(front)} of "
            "which none is better than another in both."
        ),
        figure=figure,
        rows=[_row(p, "tried") for p in tried]
        + [_row(p, "chosen" if i == chosen else "front") for i, p in enumerate(front)],
    )


def _points(programs: Sequence[Figures]) -> tuple[list[float], list[float]]:
    return [p.tokens for p in programs], [100 * p.accuracy for p in programs]


def _row(program: Figures, kind: str) -> dict[str, object]:
    return {"kind": kind, "accuracy": program.accuracy, "tokens": program.tokens, "n": program.n}
