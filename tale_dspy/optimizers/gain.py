"""What budgets of their own gain the questions of a search, against `budget:best`: the best one for all of them.

A search picks the luckiest draw of several, and so does a choice among fixed budgets: what both are worth is measured
here on fresh draws, side by side.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy
from dspy.dsp.utils.settings import settings

from tale_dspy.datasets import Dataset, data_hash, example_ids
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers.fixed_budget import BestFixedBudget, Trial
from tale_dspy.optimizers.hindsight import Hindsight
from tale_dspy.optimizers.search_rows import SearchRow
from tale_dspy.optimizers.switch import Asked, switched
from tale_dspy.programs.copying import copy_program
from tale_dspy.runs.compare import Comparison, compare
from tale_dspy.runs.engine import evaluate, gold_field
from tale_dspy.runs.options import SharedCaps
from tale_dspy.runs.records import Run
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.wording import change_text, number, plain_json

QUESTIONS = 400
"""Questions of a search that are asked again at most."""
MAX_LOSS = 0.01
"""Accuracy by which a fixed budget may fall short of the better side and still count as equal."""
_LOSSES = (0.0, 0.01, 0.03)
_STEP = 1.15


@dataclass(frozen=True)
class Gain:
    """The questions of a search with budgets of their own, against one budget for all; `print` it."""

    budget: int
    """The fixed budget: the one with the fewest tokens among those about as accurate as the budgets of their own."""
    tried: tuple[Trial, ...]
    """The fixed budgets that were asked."""
    comparison: Comparison
    """Budgets of their own (`run`) against the fixed one (`baseline`)."""

    @property
    def is_gain(self) -> bool:
        """Whether fewer tokens are shown at no less accuracy: neither interval says otherwise."""
        tokens, accuracy = self.comparison.net_tokens.interval, self.comparison.accuracy.interval
        return tokens is not None and tokens[1] < 0 and (accuracy is None or accuracy[1] >= 0)

    def __str__(self) -> str:
        c = self.comparison
        tokens, right = c.net_tokens, c.accuracy
        told = (
            f"per-question budgets against budget:best ({self.budget} tokens), {c.n} questions asked again: "
            f"{number(tokens.run)} against {number(tokens.baseline)} tokens, {change_text(tokens)}; "
            f"right {number(_percent(right.run))} % against {number(_percent(right.baseline))} %, "
            f"{change_text(right, 100)} points"
        )
        return told if self.is_gain else f"no gain: {told}"

    def to_json(self) -> dict[str, Any]:
        c = self.comparison
        told = {"budget": self.budget, "n": c.n, "gain": self.is_gain, "tried": [vars(t) for t in self.tried]}
        return {**told, "tokens": plain_json(vars(c.net_tokens)), "accuracy": plain_json(vars(c.accuracy))}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def measure_gain(
    program: Any,
    rows: Sequence[SearchRow],
    trainset: Dataset | Sequence[Any],
    *,
    metric: Metric | None = None,
    out: str | Path | None = None,
    caps: SharedCaps | None = None,
    **options: Any,
) -> Gain:
    """Ask questions of a search again, with the budgets found for each and with fixed ones, on fresh draws.

    A question without a best budget is asked without one. The fixed budgets that come into question are chosen by what
    the trials of the search say of them (`Hindsight`); the best of those that are asked is the bar.

    Args:
        program: The program that was searched; not changed.
        rows: What was found, of one predictor.
        trainset: The questions of the search; at most `QUESTIONS` of those with a row are asked.
        metric: As in `evaluate`.
        out: A folder for the run folders; None keeps everything in memory.
        caps: Shared with what was spent before; None for none.
        **options: Passed on to `evaluate`.

    Raises:
        UsageError: If the rows are of several predictors, or there is no question to compare on.
        SpendCapReached: If a cap ended the comparison.
    """
    names = sorted({row.predictor for row in rows})
    if len(names) != 1:
        raise UsageError(f"the rows must be of one predictor, got those of {', '.join(names) or 'none'}")
    budgets = {row.id: row.best.budget if row.best else None for row in rows}
    data = _asked_again(trainset, budgets)
    candidates = likely_fixed_budgets(rows)
    if not candidates:
        raise UsageError(f"no fixed budget to compare with: none of {len(rows)} questions was searched")
    told = _Measuring(
        program, names[0], data, metric, None if out is None else Path(out), caps or SharedCaps(), options
    )
    own = told.run("searched", budgets)
    runs = {budget: told.run(f"budget:{budget}", dict.fromkeys(budgets, budget)) for budget in candidates}
    tried = [Trial(b, r.accuracy or 0.0, r.summary["output_tokens_mean"], len(data)) for b, r in runs.items()]
    best = _as_accurate(tried, own.accuracy or 0.0)
    return Gain(best.budget, tuple(tried), compare(baseline=runs[best.budget], run=own))


def likely_fixed_budgets(rows: Sequence[SearchRow]) -> list[int]:
    """Return the fixed budgets that are thought to take the fewest tokens, for several losses of accuracy."""
    hindsight = Hindsight(rows)
    searched = [row.id for row in rows if row.trials and row.id in hindsight]
    if not searched:
        return []
    longest = max(row.vanilla.tokens or 1 for row in rows)
    grid, budget = [], 4.0
    while budget < longest:
        grid.append(round(budget))
        budget *= _STEP
    outcomes = {}
    for b in [*grid, longest]:
        found = [hindsight.expected(key, b) for key in searched]
        tokens, right = sum(o.tokens for o in found), sum(o.right for o in found)
        outcomes[b] = (right / len(found), tokens / len(found))
    highest = max(right for right, _ in outcomes.values())
    enough = [[b for b, (right, _) in outcomes.items() if right >= highest - loss - 1e-9] for loss in _LOSSES]
    return sorted({min(budgets, key=lambda b: outcomes[b][1]) for budgets in enough})


def _as_accurate(tried: Sequence[Trial], accuracy: float) -> Trial:
    """Return the cheapest fixed budget that is about as accurate as budgets of their own, or else as the best."""
    bar = min(accuracy, max(t.accuracy for t in tried)) - MAX_LOSS - 1e-12
    return BestFixedBudget().choose([t for t in tried if t.accuracy >= bar])


def _asked_again(trainset: Dataset | Sequence[Any], budgets: Mapping[str, Any]) -> Dataset | list[Any]:
    """Return the questions that have a row, at most `QUESTIONS` of them, in their order."""
    examples = list(trainset.examples if isinstance(trainset, Dataset) else trainset)
    gold = trainset.gold if isinstance(trainset, Dataset) else gold_field(examples[0])
    # Identical rows share a hash: each keeps its number only as long as those before it are there.
    known = [(key, e) for key, e in zip(example_ids(examples, gold), examples, strict=True) if key in budgets]
    plain = [(key, e) for key, e in known if "-" not in key]
    if len(plain) > QUESTIONS:
        chosen = set(random.Random(0).sample(range(len(plain)), QUESTIONS))
        plain = [pair for n, pair in enumerate(plain) if n in chosen]
    kept = [e for _, e in plain]
    return replace(trainset, examples=kept) if isinstance(trainset, Dataset) else kept


@dataclass(frozen=True)
class _Measuring:
    """What all runs of a comparison share."""

    program: Any
    predictor: str
    data: Dataset | list[Any]
    metric: Metric | None
    out: Path | None
    caps: SharedCaps
    options: dict[str, Any]

    def run(self, name: str, budgets: Mapping[str, int | None]) -> Run:
        """Ask every question with its budget, on fresh draws."""

        def asked() -> Asked:
            return Asked(budgets[settings.tale_unit.id])

        lm = self.options.get("lm") or dspy.settings.lm
        told: dict[str, Any] = {
            "lm": lm if lm is None else lm.copy(cache=False),
            "name": name,
            "allow_leak": True,  # these are the very questions it was chosen on; the run is marked
            "config": {"budgets": data_hash(f"{key} {budget}" for key, budget in sorted(budgets.items()))},
            "progress": self.caps.watching(self.options.get("progress")),
            "out": None if self.out is None else self.out / name.replace(":", "-"),
        }
        program = copy_program(switched(self.program, self.predictor, asked), lambda held: held.copy(cache=False))
        run = evaluate(program, self.data, metric=self.metric, **{**self.options, **told, **self.caps.left()})
        if run.stopped:
            raise SpendCapReached(run.message or "spend cap reached", self.caps.ledger)
        return run
