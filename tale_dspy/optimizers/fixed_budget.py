"""The best fixed budget: one number for all questions, chosen on training questions."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dspy.teleprompt import Teleprompter

from tale_dspy.budget import check_budget
from tale_dspy.datasets import Dataset, example_ids
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.ledger import Ledger
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.runs.engine import evaluate, gold_field
from tale_dspy.runs.scoring import Metric

logger = logging.getLogger(__name__)

BUDGETS = (10, 15, 25, 40, 60, 100, 150, 250, 400)
"""Budgets that are tried, in tokens: about a factor 1.6 apart."""


@dataclass(frozen=True)
class Trial:
    """One budget on the training questions."""

    budget: int
    """Tokens asked for."""
    accuracy: float
    """Share of the training questions answered right."""
    output_tokens: float
    """Mean completion tokens really used."""
    n: int
    """Training questions asked."""


class BestFixedBudget(Teleprompter):  # type: ignore[misc]  # dspy ships no types
    """Try one budget after the other on training questions and keep the best.

    The best is the one with the fewest output tokens among those at most `max_loss` below the best accuracy seen. It is
    the control for every method that gives each question a budget of its own.

    Args:
        metric: As in `evaluate`; None compares answers.
        budgets: What to try, in tokens.
        max_loss: Accuracy that may be given up, as a fraction.
        max_usd: Cap on US dollars of the whole search; what was finished until then decides.
        out: A folder that keeps a run folder for each budget, so that a killed search continues; None for none.
        **options: Passed on to `evaluate`: `lm`, `adapter`, `concurrency`, `price`, `config` ...

    Raises:
        UsageError: If there is no budget to try, or one is not a whole number of at least 1.

    Example:
        >>> best = BestFixedBudget(max_usd=1).compile(  # doctest: +SKIP
        ...     BudgetedChainOfThought("question -> answer"), trainset=train)
        >>> best.token_budget  # doctest: +SKIP
        60
    """

    def __init__(
        self,
        metric: Metric | None = None,
        *,
        budgets: Sequence[int] = BUDGETS,
        max_loss: float = 0.01,
        max_usd: float | None = None,
        out: str | Path | None = None,
        **options: Any,
    ) -> None:
        if not budgets:
            raise UsageError("budgets must name at least one budget to try")
        self.budgets = [check_budget(b, "budgets") for b in budgets]
        self.metric, self.max_loss, self.max_usd = metric, max_loss, max_usd
        self.out = None if out is None else Path(out)
        self.options = options

    def compile(
        self,
        student: BudgetedChainOfThought,
        *,
        trainset: Dataset | Sequence[Any],
        teacher: Any = None,
        valset: Any = None,
        **kwargs: Any,
    ) -> BudgetedChainOfThought:
        """Return a copy of the student with the best budget set, and the trials as `trial_logs`.

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
        trials, spent = [], 0.0
        for budget in self.budgets:
            trial = student.deepcopy()
            trial.token_budget = budget
            left = None if self.max_usd is None else self.max_usd - spent
            if left is not None and left <= 0:
                break
            folder = None if self.out is None else self.out / f"budget-{budget}"
            run = evaluate(trial, trainset, metric=self.metric, out=folder, max_usd=left, **self.options)
            spent += sum(r.cost_usd or 0.0 for r in run.records)
            if run.stopped:
                logger.warning("the search for a fixed budget ended at budget %d: %s", budget, run.message)
                if not trials:
                    ledger = Ledger(self.max_usd)
                    ledger.spent_usd = spent
                    raise SpendCapReached(run.message or "spend cap reached", ledger)
                break
            summary = run.summary
            trials.append(Trial(budget, summary["accuracy"], summary["output_tokens_mean"] or 0.0, summary["n"]))
        best = self.choose(trials)
        program: BudgetedChainOfThought = student.deepcopy()
        program.token_budget = best.budget
        program.trial_logs = [asdict(t) for t in trials]
        examples, gold = _rows(trainset)
        program.seen.add(example_ids(examples, gold), "train")
        return program

    def choose(self, trials: Sequence[Trial]) -> Trial:
        """Pick the cheapest of the trials that are accurate enough."""
        bar = max(t.accuracy for t in trials) - self.max_loss
        return min((t for t in trials if t.accuracy >= bar), key=lambda t: (t.output_tokens, t.budget))


def _rows(trainset: Dataset | Sequence[Any]) -> tuple[list[Any], str]:
    if isinstance(trainset, Dataset):
        return list(trainset.examples), trainset.gold
    return list(trainset), gold_field(trainset[0])
