"""The best fixed budget: one number or effort word for all questions.

It is chosen on training questions.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tale_dspy.budget import EFFORT_WORDS, BudgetLike, BudgetValue, check_budget, check_fraction
from tale_dspy.datasets import Dataset
from tale_dspy.dspy_bridge import Teleprompter
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.copying import copy_program
from tale_dspy.protocols import JsonObject
from tale_dspy.runs.questions import questions_of
from tale_dspy.runs.records import Run
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.shared_caps import SharedCaps

logger = logging.getLogger(__name__)

BUDGETS = (10, 15, 25, 40, 60, 100, 150, 250, 400)
"""Budgets that are tried, in tokens: about a factor 1.6 apart."""


@dataclass(frozen=True)
class FixedBudgetTrial:
    """One budget on the training questions."""

    budget: int | str
    """Tokens asked for, or an effort word."""
    accuracy: float
    """Share of the training questions answered right."""
    output_tokens: float | None
    """Mean completion tokens really used; None if the provider does not tell."""
    n: int
    """Training questions asked."""


class BestFixedBudget(Teleprompter):  # type: ignore[misc]  # dspy ships no types
    """Try one budget after the other on training questions and keep the best.

    The best is the one with the fewest output tokens among those at most `max_loss` below the best accuracy seen. It is
    the control for every method that gives each question a budget of its own.

    Args:
        metric: As in `evaluate`; None compares answers.
        budgets: What to try: tokens, or effort words.
        max_loss: Accuracy that may be given up, as a fraction.
        max_usd: Cap on US dollars of all budgets together; those finished until then decide.
        out: A folder that keeps a run folder for each budget, so that a killed search continues; None for none.
        **options: Passed on to `evaluate`: `lm`, `adapter`, `concurrency`, `price`, `max_total_output_tokens` ...

    Raises:
        UsageError: If there is no budget to try, one is no whole number of at least 1 and no effort word, or an option
            is out of range.

    Attributes:
        caps: What the last search has left of its caps, for an evaluation after it.
        stopped: The sentence of the cap that ended the last search early, or None.

    Example:
        >>> best = BestFixedBudget(max_usd=1).compile(
        ...     BudgetedChainOfThought("question -> answer"), trainset=train)
        >>> best.token_budget
        40
    """

    def __init__(
        self,
        metric: Metric | None = None,
        *,
        budgets: Sequence[BudgetLike] = BUDGETS,
        max_loss: float = 0.01,
        max_usd: float | None = None,
        out: str | Path | None = None,
        **options: Any,
    ) -> None:
        if not budgets:
            raise UsageError("budgets must name at least one budget to try")
        self.budgets = [
            BudgetValue.parse(b) if isinstance(b, str | BudgetValue) else BudgetValue(check_budget(b, "budgets"))
            for b in budgets
        ]
        self.metric, self.max_loss = metric, check_fraction(max_loss, "max_loss")
        self.out = None if out is None else Path(out)
        self.options = options
        self._limits = (max_usd, options.pop("max_total_output_tokens", None))
        self.caps = SharedCaps(*self._limits)
        self.stopped: str | None = None

    def compile(
        self,
        student: Any,
        *,
        trainset: Dataset | Sequence[object],
        teacher: Any = None,
        valset: object = None,
        **kwargs: object,
    ) -> Any:
        """Return a copy of the student with the best budget set.

        The trials are its `trial_logs`.

        Args:
            student: A `BudgetedChainOfThought`; not changed.
            trainset: Questions to try on; the program remembers them, and evaluating on them is refused.
            teacher: Not used.
            valset: Not used: nothing but one number is fitted.
            **kwargs: Not used.

        Raises:
            UsageError: If the student takes no budget.
            SpendCapReached: If the cap ended the search before a single budget was finished.
        """
        if not isinstance(student, BudgetedChainOfThought):
            raise UsageError(f"the student must be a BudgetedChainOfThought, got {type(student).__name__}")
        trials = self._try_budgets(student, trainset)
        best = self.choose(trials)
        program = copy_program(student)
        program.fixed.value = BudgetValue.parse(best.budget)
        program.trial_logs = [asdict(t) for t in trials]
        program.seen.add(questions_of(trainset).ids(), "train", self.options.get("lm"))
        return program

    def _try_budgets(
        self, student: BudgetedChainOfThought, trainset: Dataset | Sequence[Any]
    ) -> list[FixedBudgetTrial]:
        """Run every budget on the training questions, as far as the caps go."""
        trials: list[FixedBudgetTrial] = []
        self.caps, self.stopped = SharedCaps(*self._limits), None
        for budget in self.budgets:
            candidate = copy_program(student)
            candidate.fixed.value = budget
            try:
                summary = self._run_candidate(candidate, trainset).summary
            except SpendCapReached as e:
                self.stopped = str(e)
                if not trials:
                    raise
                logger.warning("the search for a fixed budget ended at budget %s: %s", budget, e)
                break
            trials.append(
                FixedBudgetTrial(budget.to_json(), summary["accuracy"], summary["output_tokens_mean"], summary["n"])
            )
        return trials

    def _run_candidate(self, candidate: BudgetedChainOfThought, trainset: Dataset | Sequence[object]) -> Run:
        value = candidate.fixed.value
        name = f"budget:{value}" if value is None or value.effort is None else f"effort:{value}"
        overrides: JsonObject = {
            "metric": self.metric,
            "name": name,
            "out": None if self.out is None else self.out / name.replace(":", "-"),
            "allow_leak": True,  # a student tuned before may have seen these questions, and may see them again
        }
        return self.caps.evaluate(candidate, trainset, **{**self.options, **overrides})

    def choose(self, trials: Sequence[FixedBudgetTrial]) -> FixedBudgetTrial:
        """Pick the cheapest of the trials that are accurate enough.

        One of unknown cost is taken only if there is no other.
        """
        bar = max(t.accuracy for t in trials) - self.max_loss - 1e-12  # 0.9 - 0.1 is a little more than 0.8
        enough = [t for t in trials if t.accuracy >= bar]
        order = {t.budget: place for place, t in enumerate(sorted(trials, key=_budget_rank))}
        return min(enough, key=lambda t: (math.inf if t.output_tokens is None else t.output_tokens, order[t.budget]))


def _budget_rank(trial: FixedBudgetTrial) -> tuple[int, int]:
    """Rank budgets by what they allow: numbers, then effort words in their order."""
    value = BudgetValue.parse(trial.budget)
    return (-1 if value.effort is None else EFFORT_WORDS.index(value.effort), value.tokens or 0)
