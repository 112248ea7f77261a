"""Say which of several runs pays, and what to try next."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tale_dspy.comparison.compare import Comparison, compare
from tale_dspy.comparison.formatting import number, plain_json
from tale_dspy.comparison.noninferiority import MOST, difference_bounds, smallest_n
from tale_dspy.comparison.paired import no_question_shared, pair_runs, share_questions
from tale_dspy.comparison.run_stats import has_budget
from tale_dspy.errors import UsageError
from tale_dspy.runs.records import Run

Outcome = Literal["pays", "cannot decide", "costs accuracy", "saves nothing"]

SKIPPING = 0.5
"""Share of replies without reasoning from which on a budget is said to make a model skip it."""
FALLING_BACK = 0.3
"""Share of estimates that could not be used from which on another estimator is advised."""
CUT = 0.05
"""Share of truncated replies from which on more room is advised."""


@dataclass(frozen=True, kw_only=True)
class RunAdvice:
    """What one budgeted run is worth against the best run without a budget."""

    name: str
    outcome: Outcome
    comparison: Comparison
    drop_bounds: tuple[float, float]
    """Lower and upper one-sided 95 % score bound of the change in accuracy."""
    hints: list[str]
    """What to try next, the most likely cause first."""

    def __str__(self) -> str:
        c = self.comparison
        saving = f"{number(100 * (c.net_tokens.saving or 0.0))} % of the output tokens"
        points = f"{number(100 * (c.accuracy.difference or 0.0), 1, sign=True)} points"
        low, high = (number(100 * bound, 1, sign=True) for bound in self.drop_bounds)
        bounds = f"one-sided 95 % score bounds {low} and {high}"
        return f"{self.name}: {self.outcome}; saves {saving} at {points} of accuracy ({bounds})"


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Which of several runs to take.

    `str()` gives the sentences, `to_json()` plain JSON.
    """

    baseline: str
    """The most accurate run without a budget."""
    best: RunAdvice | None
    """The run that pays most; None if none is shown to."""
    runs: Sequence[RunAdvice]
    """All budgeted runs, the largest saving first."""
    max_drop: float
    n: int
    """Questions on which every run is compared, at least."""

    @property
    def sentence(self) -> str:
        """What to do, in one sentence."""
        if self.best is not None:
            c = self.best.comparison
            tokens = f"{number(c.net_tokens.run)} in place of {number(c.net_tokens.baseline)} output tokens a question"
            low = number(100 * self.best.drop_bounds[0], 1, sign=True)
            return (
                f"take {self.best.name}: {tokens}, and accuracy changes by "
                f"{number(100 * (c.accuracy.difference or 0.0), 1, sign=True)} points, at worst {low} with 95 % "
                f"certainty, on {c.n:,} questions against {self.baseline}"
            )
        undecided = [run for run in self.runs if run.outcome == "cannot decide"]
        if undecided:
            first = undecided[0]
            return (
                f"cannot decide: of those not shown to cost accuracy {first.name} saves most, but on "
                f"{first.comparison.n:,} questions it is not shown to lose at most "
                f"{number(100 * self.max_drop, 1)} points against {self.baseline}"
            )
        return f"keep {self.baseline}: on these {self.n:,} questions no budget pays"

    def __str__(self) -> str:
        lines = [self.sentence]
        for run in self.runs:
            lines.append(str(run))
            lines += [f"  next: {hint}" for hint in run.hints]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the changed questions as plain JSON."""
        return {
            "sentence": self.sentence,
            "baseline": self.baseline,
            "best": None if self.best is None else self.best.name,
            "max_drop": self.max_drop,
            "n": self.n,
            "runs": [
                {
                    "name": run.name,
                    "outcome": run.outcome,
                    "accuracy": plain_json(asdict(run.comparison.accuracy)),
                    "net_tokens": plain_json(asdict(run.comparison.net_tokens)),
                    "drop_bounds": list(run.drop_bounds),
                    "hints": run.hints,
                }
                for run in self.runs
            ],
        }


def advise(runs: Sequence[Run], *, max_drop: float = 0.02) -> Advice:
    """Say which of several runs of one data set pays, and what to try next.

    A run pays if its tokens are shown to fall and its accuracy is shown not to fall by more than `max_drop`, both with
    95 % certainty and question by question, against the most accurate run without a budget.

    Args:
        runs: Finished runs on the same questions; one at least without a budget, one at least with one.
        max_drop: Drop in accuracy that is acceptable, a fraction above 0 and below 1; 0.02 is two points.

    Raises:
        UsageError: If no run is without a budget or none has one, two share no question, or the tokens are unknown.
    """
    if not 0 < max_drop < 1:
        raise UsageError(f"max_drop must be a fraction above 0 and below 1 (0.02 is two points), got {max_drop!r}")
    plain = [run for run in runs if not has_budget(run)]
    budgeted = [run for run in runs if has_budget(run)]
    if not plain:
        raise UsageError("no run is without a budget: run `tale eval cot` on the same questions, and give its folder")
    if not budgeted:
        raise UsageError("no run has a budget: run `tale eval tale-ep` or `budget:100`, and give its folder")
    baseline = max(plain, key=lambda run: (run.accuracy or 0.0, -(run.summary["output_tokens_mean"] or math.inf)))
    for run in plain:
        if not share_questions(baseline, run):
            raise UsageError(no_question_shared(baseline, run))
    advised = sorted(
        (_advise_run(baseline, run, max_drop) for run in budgeted),
        key=lambda advice: -(advice.comparison.net_tokens.saving or 0.0),
    )
    best = next((advice for advice in advised if advice.outcome == "pays"), None)
    n = min(advice.comparison.n for advice in advised)
    return Advice(baseline=baseline.name, best=best, runs=advised, max_drop=max_drop, n=n)


def _advise_run(baseline: Run, run: Run, max_drop: float) -> RunAdvice:
    comparison = compare(baseline, run)
    if comparison.net_tokens.saving_interval is None:
        raise UsageError(f"the tokens of {baseline.name} or {run.name} are unknown: nothing can be said of a saving")
    gains: list[float] = pair_runs(baseline, run).gains.tolist()
    bounds = difference_bounds(gains)
    outcome = _outcome(comparison, bounds, max_drop)
    hints = _hints(run, outcome, comparison, gains, max_drop)
    return RunAdvice(name=run.name, outcome=outcome, comparison=comparison, drop_bounds=bounds, hints=hints)


def _outcome(comparison: Comparison, bounds: tuple[float, float], max_drop: float) -> Outcome:
    saving = comparison.net_tokens.saving_interval
    if saving is None or saving[0] <= 0:
        return "saves nothing"
    # One-sided 95 % bounds of the change in accuracy: surely worse, surely not worse, or between.
    if bounds[1] < -max_drop:
        return "costs accuracy"
    return "pays" if bounds[0] >= -max_drop else "cannot decide"


def _hints(run: Run, outcome: Outcome, comparison: Comparison, gains: Sequence[float], max_drop: float) -> list[str]:
    """Return what to try next, the cause that explains most first."""
    summary, n = run.summary, run.summary["n"] or 1
    hints: list[str] = []
    replies, skipped = summary["skipped"]["asked"], summary["skipped"]["skipped"]
    if replies and skipped / replies > SKIPPING:
        hints.append(
            f"the budget makes this model skip its reasoning ({skipped} of {replies} replies have none): word it "
            "otherwise (`--form short-steps`, `tale tune`), or set TaleEP(on_skip='unbudgeted')"
        )
    fallbacks = summary["estimate_fallbacks"]
    if fallbacks / n > FALLING_BACK:
        hints.append(f"{fallbacks} of {n} estimates could not be used: `tale search` learns budgets without a call")
    cut = summary["outcomes"]["truncated"]
    if cut / n > CUT:
        hints.append(f"{cut} of {n} replies were cut: raise --max-tokens, or set --on-truncation")
    needed = _questions_needed(gains, max_drop)
    if outcome == "cannot decide" and needed < MOST:
        hints.append(f"ask at least {needed:,} questions to decide it")
    elif outcome in ("cannot decide", "costs accuracy") and not hints:
        hints.append("try a larger budget (`tale elasticity`), or other words and demos (`tale tune`)")
    if outcome == "saves nothing":
        estimate = comparison.estimator
        spent = " beside the estimates" if estimate is not None else ""
        hints.append(f"the replies are not shorter{spent}: try a smaller budget, another form, or effort words")
    if comparison.blocking_reason is not None:
        hints.append(
            f"hold it against its own prompt, too: the difference is not the budget's alone "
            f"({comparison.blocking_reason})"
        )
    return hints


def _questions_needed(gains: Sequence[float], max_drop: float) -> int:
    """Return how many questions would show that runs do not lose more.

    It assumes runs that change as these do.
    """
    # As in `gate`: mean squared gain and mean gain a question. A run that loses more than `max_drop` here would not
    # pass with any number of questions, if it went on so; a gain of this sample is trusted, a loss is taken for chance
    # (0).
    changed, net = sum(gain * gain for gain in gains) / len(gains), math.fsum(gains) / len(gains)
    return smallest_n(max_drop, changed, max(net, 0.0)) if net > -max_drop else MOST
