"""The gate: test that a tuned model is shorter and not worse than before.

It tests a new prompt in the same way. It decides on two runs, with 95 % certainty.

The questions are paired. Both the saving and the accuracy are judged by their one-sided 95 % bounds, never by what was
merely measured: a tuned model must be shown to save `min_saving` and to lose no more than `max_drop`. Nothing here
calls a model.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tale_dspy.comparison.caveats import figure_notes
from tale_dspy.comparison.comparability import Changed, differing_factor
from tale_dspy.comparison.formatting import number, plain_json
from tale_dspy.comparison.noninferiority import MOST, difference_bounds, smallest_n
from tale_dspy.comparison.paired import Figure, PairedMeans, PairedRuns, pair_runs, paired_means
from tale_dspy.comparison.run_stats import RunStats, data_name, run_stats
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.records import Run

GateOutcome = Literal["pass", "fail", "cannot decide"]

BOTH_SIDES = 0.90
"""The middle share of resamples whose two ends are one-sided 95 % bounds."""


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What the gate decided, and every figure it rests on.

    `str()` gives the sentence, `to_json()` plain JSON.
    """

    outcome: GateOutcome
    reason: str
    """Why, in figures: the first thing that failed or could not be decided, or that nothing did."""
    base: RunStats
    tuned: RunStats
    data: str | None
    changed: Changed
    """What differs between the runs: the model, the prompt, or nothing that was recorded."""
    n: int
    """Questions."""
    draws: int
    """Pairs of answers; equals `n` without repeats."""
    max_drop: float
    """The margin: how much accuracy may fall, as a fraction (0.01 is one point)."""
    smallest_n: int
    """The smallest number of questions that could pass as things stand: with as many changed outcomes as here, for
    better and worse as here or, where that is fewer, as often for either."""
    accuracy: tuple[float, float]
    """Share of right answers of base and tuned."""
    accuracy_change: float
    accuracy_bounds: tuple[float, float]
    """Lower and upper one-sided 95 % bound of the change."""
    right_to_wrong: int
    """Questions whose share of right draws fell."""
    wrong_to_right: int
    min_saving: float
    """How much must be saved, as a fraction of the base's tokens."""
    tokens: tuple[float, float]
    """Mean output tokens a question of base and tuned, an estimator's included."""
    saving: float
    saving_bounds: tuple[float, float]
    """Lower and upper one-sided 95 % bound of the saving."""
    notes: list[str]
    """Sentences a reader needs beside the figures."""

    @property
    def passed(self) -> bool:
        return self.outcome == "pass"

    def to_json(self) -> JsonObject:
        """Return everything as plain JSON."""
        return {key: plain_json(value) for key, value in {"passed": self.passed, **asdict(self)}.items()}

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"


_FIGURES: tuple[Figure, ...] = (
    lambda c: c.is_correct.astype(float),
    lambda c: c.net_tokens,
    lambda c: c.price_usd,
)


def noninferiority_test(base: Run, tuned: Run, *, min_saving: float = 0.3, max_drop: float = 0.01) -> GateResult:
    """Decide whether a tuned run is shorter than its base and not worse.

    The runs are compared question by question.

    It passes if the lower 95 % bound of the saving is at least `min_saving` and the lower 95 % bound of the change in
    accuracy is at least `-max_drop`. It cannot be decided where too few questions were asked to show either. All else
    fails. An answer that ended in an error, truncated, empty or unreadable counts as wrong, on both sides alike.

    Args:
        base: The run before: the plain model, the old prompt.
        tuned: The run after, on the same questions with the same decoding.
        min_saving: Least saving of output tokens, a fraction from 0 to below 1.
        max_drop: Largest drop in accuracy allowed, a fraction above 0 and below 1; 0.01 is one point.

    Raises:
        UsageError: If a limit is out of range, if the runs differ in more than the model or the prompt (questions,
            decoding, metric), or if no tokens are known.

    Example:
        >>> base, tuned = evaluate(VanillaCoT("question -> answer"), train), evaluate(program, train)
        >>> noninferiority_test(base, tuned, max_drop=0.02).outcome
        'cannot decide'
    """
    check_limits(min_saving, max_drop)
    changed = differing_factor(base, tuned)
    pairs = pair_runs(base, tuned)
    sides = run_stats(base, pairs.before, pairs.n), run_stats(tuned, pairs.after, pairs.n)
    gains: list[float] = pairs.gains.tolist()
    accuracy, tokens, price = paired_means(pairs, _FIGURES, seed=0, resamples=10_000, middle=BOTH_SIDES)
    right, spent = _both_means(accuracy, "answers"), _both_means(tokens, "tokens")
    if tokens.saving is None or tokens.saving_interval is None:
        raise UsageError("the base run used no output tokens, so there is no saving to speak of")
    bounds = difference_bounds(gains)
    needed = _questions_needed(max_drop, gains)
    outcome, reason = _judge_both(
        (tokens.saving, tokens.saving_interval, min_saving),
        (right[1] - right[0], bounds, max_drop),
        (pairs.n, needed),
    )
    return GateResult(
        outcome=outcome,
        reason=reason,
        base=sides[0],
        tuned=sides[1],
        data=data_name(tuned),
        changed=changed,
        n=pairs.n,
        draws=pairs.draws,
        max_drop=max_drop,
        smallest_n=needed,
        accuracy=right,
        accuracy_change=right[1] - right[0],
        accuracy_bounds=bounds,
        right_to_wrong=sum(gain < 0 for gain in gains),
        wrong_to_right=sum(gain > 0 for gain in gains),
        min_saving=min_saving,
        tokens=spent,
        saving=tokens.saving,
        saving_bounds=tokens.saving_interval,
        notes=_result_notes(sides, changed, pairs, tokens, price),
    )


def _questions_needed(max_drop: float, gains: Sequence[float]) -> int:
    """Return with how many questions runs that change as these do could pass."""
    # changed: mean squared gain, which is the share of changed questions if each has one draw; net: mean gain. A gain
    # is expected to go on, a loss may be chance and counts as 0. No run passes with fewer questions than one that
    # changes nothing.
    changed, net = sum(gain * gain for gain in gains) / len(gains), math.fsum(gains) / len(gains)
    as_here = smallest_n(max_drop, changed, net) if net > 0 else MOST
    return max(smallest_n(max_drop), min(as_here, smallest_n(max_drop, changed)))


def check_limits(min_saving: float, max_drop: float) -> None:
    """Refuse limits that the test cannot be done with.

    Raises:
        UsageError: If `min_saving` is not from 0 to below 1, or `max_drop` not above 0 and below 1.
    """
    if not 0 <= min_saving < 1:
        raise UsageError(f"min_saving must be a fraction from 0 to below 1 (0.4 is 40 %), got {min_saving}")
    if not 0 < max_drop < 1:
        raise UsageError(f"max_drop must be a fraction above 0 and below 1 (0.01 is one point), got {max_drop}")


def _both_means(means: PairedMeans, what: str) -> tuple[float, float]:
    if means.baseline is None or means.run is None:
        raise UsageError(f"no {what} are known on both sides: neither run says what its replies used")
    return means.baseline, means.run


Judged = tuple[float, tuple[float, float], float]
"""What was measured, its lower and upper bound, and the limit."""


def _judge_both(saving: Judged, drop: Judged, n_needed: tuple[int, int]) -> tuple[GateOutcome, str]:
    """Judge saving and accuracy, the worse of the two deciding."""
    verdicts = [_judge_accuracy(drop, n_needed), _judge_saving(saving)]
    # From the worst outcome on: only the reasons of the outcome that decides are given.
    outcomes: tuple[GateOutcome, ...] = ("fail", "cannot decide")
    for outcome in outcomes:
        reasons = [reason for verdict, reason in verdicts if verdict == outcome]
        if reasons:
            return outcome, "; ".join(reasons)
    return "pass", "; ".join(reason for _, reason in verdicts)


def _judge_saving(saving: Judged) -> tuple[GateOutcome, str]:
    measured, (low, _), least = saving
    if measured < 0:
        shown = (
            f"takes {_percent_text(-measured)} more output tokens, at most {_percent_text(-low)} with 95 % certainty"
        )
    else:
        shown = (
            f"saves {_percent_text(measured)} of the output tokens, at least {_percent_text(low)} with 95 % certainty"
        )
    reason = f"{shown} ({_percent_text(least)} asked for)"
    # A saving that is large enough in this sample but not with certainty may show with more questions.
    if low >= least:
        return "pass", reason
    return ("cannot decide" if measured >= least else "fail"), reason


def _judge_accuracy(drop: Judged, n_needed: tuple[int, int]) -> tuple[GateOutcome, str]:
    (measured, (low, high), most), (n, needed) = drop, n_needed
    surely_worse = high < -most
    bound = f"at best {_points_text(high)}" if surely_worse else f"at worst {_points_text(low)}"
    reason = (
        f"accuracy changes by {_points_text(measured)}, {bound} with 95 % certainty (-{number(100 * most, 2)} allowed)"
    )
    # Fewer than `smallest_n` questions could not show noninferiority even if no answer changed.
    if surely_worse:
        return "fail", reason
    if n < smallest_n(most) or (low < -most and n < needed):
        return "cannot decide", f"{reason}: {n:,} questions were asked, at least {needed:,} are needed"
    return ("pass" if low >= -most else "fail"), reason


def _result_notes(
    sides: tuple[RunStats, RunStats],
    changed: Changed,
    pairs: PairedRuns,
    tokens: PairedMeans,
    price: PairedMeans,
) -> list[str]:
    import numpy as np

    notes = [note for note in figure_notes(sides, tokens, price) if not note.startswith("price")]
    if changed == "nothing":
        notes.insert(0, "nothing that was recorded differs between the runs: is the tuned run of the tuned model?")
    is_budgeted = any(bool(np.isfinite(side.token_budget).any()) for side in (pairs.before, pairs.after))
    if changed == "model" and is_budgeted:
        notes.insert(0, "the prompt states a budget on both sides: this is not how the model is without one")
    return notes


def _percent_text(value: float) -> str:
    return f"{number(100 * value)} %"


def _points_text(value: float) -> str:
    return f"{number(100 * value, 2, sign=True)} points"
