"""Which calls the tokens and dollars went to.

The roles are the answer, the estimate, a second try after a truncated answer, and the metric.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tale_dspy.reports import canvas
from tale_dspy.reports.canvas import BLUE, DARK_ORANGE, GREY, ORANGE, escape_math
from tale_dspy.reports.drawing import Drawing
from tale_dspy.reports.rows import distinct_names, provenance_sentences, run_row
from tale_dspy.reports.text import shorten_names
from tale_dspy.runs.records import Run
from tale_dspy.runs.summary import MeanOfKnown

ROLES = {"answer": BLUE, "estimate": ORANGE, "recovery": DARK_ORANGE, "metric": GREY}
"""Role -> its colour."""


@dataclass(frozen=True)
class RoleSpend:
    """What a run spent, per question; None is unknown or never happened."""

    program: str
    answer_tokens: float | None
    estimate_tokens: float | None
    recovery_tokens: float | None
    metric_tokens: float | None
    thinking_tokens: float | None
    """The hidden part of the answer's tokens."""
    prompt_tokens: float | None
    usd_paid: float | None
    """For the whole run."""
    usd_from_cache: float | None
    """Of the whole run: not paid again, because an answer came from the cache."""
    usd_estimates: float | None
    """Of the whole run: the part that the budget calls have in the full price."""
    usd_metric: float | None
    paid_calls: int
    cached_calls: int


def role_spend(run: Run) -> RoleSpend:
    """Sum up what a run spent by role.

    Tokens are means over the answers whose tokens are known, as in the table of a report; a role that an answer did not
    need counts as 0 there.
    """
    total = run.total
    answers = total.means["output_tokens"].count or total.records

    def mean(tokens: MeanOfKnown) -> float | None:
        return tokens.total.value / answers if tokens.count else None

    def usd(cost: MeanOfKnown) -> float | None:
        return cost.total.value if cost.count else None

    answer, recovered = mean(total.means["output_tokens"]), mean(total.recovery_tokens)
    return RoleSpend(
        program=run.name,
        answer_tokens=None if answer is None else answer - (recovered or 0.0),
        estimate_tokens=mean(total.means["estimate_tokens"]),
        recovery_tokens=recovered,
        metric_tokens=total.metric_tokens.total.value / total.records if total.metric_tokens.count else None,
        thinking_tokens=mean(total.means["reasoning_tokens"]),
        prompt_tokens=total.means["prompt_tokens"].mean,
        usd_paid=usd(total.cost),
        usd_from_cache=usd(total.saved_cost),
        usd_estimates=usd(total.estimate_cost),
        usd_metric=usd(total.metric_cost),
        paid_calls=total.counts["paid_calls"],
        cached_calls=total.counts["cached_calls"],
    )


def spend_by_role(runs: Sequence[Run]) -> Drawing | None:
    """Draw the completion tokens of each run by role.

    It returns None if no run has known tokens.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    spends = [role_spend(run) for run in runs]
    tokens = [
        [s.answer_tokens or 0, s.estimate_tokens or 0, s.recovery_tokens or 0, s.metric_tokens or 0] for s in spends
    ]
    if not any(map(any, tokens)):
        return None
    canvas.load_matplotlib()
    with canvas.house_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 1.0 + 0.28 * len(runs)))
        axes = figure.add_axes((0.2, 0.2, 0.76, 0.7))
        starts = [0.0] * len(runs)
        for column, (role, colour) in enumerate(ROLES.items()):
            widths = [line[column] for line in tokens]
            if any(widths):
                hatch = {"recovery": "///", "metric": "..."}.get(role)
                axes.barh(range(len(runs)), widths, left=starts, color=colour, label=role, hatch=hatch, height=0.7)
                starts = [start + width for start, width in zip(starts, widths, strict=True)]
        rows = [run_row(run) for run in runs]
        names = [escape_math(name) for name in shorten_names(distinct_names(rows), 28)]
        axes.set_yticks(range(len(runs)), names)
        axes.invert_yaxis()
        axes.set_xlabel("mean completion tokens per question")
        unknown = [
            name for name, spend in zip(distinct_names(rows), spends, strict=True) if spend.answer_tokens is None
        ]
        notes = [f"Tokens unknown: {', '.join(shorten_names(unknown, 40))}."] if unknown else []
        canvas.draw_footer(axes, [*notes, *provenance_sentences(rows)])
        axes.legend(loc="lower right", frameon=False, ncols=4, bbox_to_anchor=(1, 1))
    return Drawing(
        stem="spend_by_role",
        title="Tokens by role",
        description=(
            "Mean completion tokens per question by what they were written for: the answer, the estimate of a budget, "
            "a further call after a cut or empty answer, and the metric. The numbers hold the dollars paid, and those "
            "that the cache saved."
        ),
        figure=figure,
        rows=[vars(spend) for spend in spends],
    )
