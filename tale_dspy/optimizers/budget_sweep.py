"""Ask a program at a ladder of budgets: what token elasticity (paper, section 4) is measured with."""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tale_dspy.adapter import BUDGET
from tale_dspy.budget import check_budget
from tale_dspy.datasets import Dataset, data_hash, example_ids
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers.search.budget_override import budgeted_predictors, replace_module, searchable, task_of
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.convert import unbudgeted
from tale_dspy.programs.copying import copy_program
from tale_dspy.runs.records import Run
from tale_dspy.runs.scaled import with_scaled_budgets
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.shared_caps import SharedCaps

logger = logging.getLogger(__name__)

SHARES = ("1x", "0.7x", "0.5x", "0.35x", "0.25x", "0.18x", "0.12x", "0.06x", "0.03x")
"""A ladder that fits any question: shares of its tokens without a budget, as in the paper's table 8."""
_SHARE = re.compile(r"(\d+(?:\.\d+)?)x")


@dataclass(frozen=True)
class BudgetSweep:
    """The runs of a ladder."""

    vanilla: Run
    """All questions without a budget."""
    rungs: tuple[Run, ...]
    """The same questions at each budget, in the order they were asked."""
    stopped: str | None = None
    """The sentence of the cap that ended it early, or None."""

    @property
    def runs(self) -> list[Run]:
        """All of them, the one without a budget first."""
        return [self.vanilla, *self.rungs]


def parse_rung(text: str) -> int | float:
    """Read a budget: whole tokens such as `50`, or a share of the question's tokens without a budget, such as `0.25x`.

    Returns:
        Tokens as an int, a share as a float.

    Raises:
        UsageError: If it is neither.
    """
    word = text.strip()
    found = _SHARE.fullmatch(word)
    if found and 0 < float(found[1]) < math.inf:
        return float(found[1])
    if word.isascii() and word.isdigit() and len(word) <= 9 and int(word):
        return int(word)
    raise UsageError(f"a budget is a number of tokens such as 50 or a share such as 0.25x, got {text!r}")


def climb(
    program: Any,
    data: Dataset,
    budgets: Sequence[int | float] | None = None,
    *,
    metric: Metric | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> BudgetSweep:
    """Ask all questions without a budget, then at each budget, the largest first.

    Every budgeted predictor of the program is given the budget; its estimator is not asked. Shares are of the tokens
    the same question took without a budget, and need a program that is one budgeted predictor.

    Args:
        program: Holds one or more `TaleEP` or `BudgetedChainOfThought`; not changed.
        data: The questions.
        budgets: Whole tokens, or shares as floats, not both; None takes `SHARES`.
        metric: As in `evaluate`.
        out: A folder that keeps a run folder for each rung, so that a killed ladder continues; None for none.
        **options: Passed on to `evaluate`: `lm`, `adapter`, `concurrency`, `max_usd` ... A cap ends the ladder with the
            rungs finished until then.

    Raises:
        UsageError: If a budget cannot be used, or the program has no budgeted predictor.
        SpendCapReached: If the cap ended it before all questions were asked without a budget.
    """
    rungs = _checked([parse_rung(s) for s in SHARES] if budgets is None else budgets)
    names = searchable(program)
    if isinstance(rungs[0], float) and names != ["self"]:
        raise UsageError(f"shares need a program that is one budgeted predictor, this one has {', '.join(names)}")
    caps = SharedCaps(options.pop("max_usd", None), options.pop("max_total_output_tokens", None))
    asking = _Asking(metric, None if out is None else Path(out), caps, options)
    vanilla = asking.run(unbudgeted(program), data, "cot")
    finished: list[Run] = []
    stopped = None
    for rung in rungs:
        try:
            finished.append(asking.rung(program, data, vanilla, rung))
        except SpendCapReached as e:
            stopped = str(e)
            logger.warning("the ladder ended after %d of %d budgets: %s", len(finished), len(rungs), e)
            break
    return BudgetSweep(vanilla, tuple(finished), stopped)


def _checked(budgets: Sequence[int | float]) -> list[int | float]:
    """Return the budgets, the largest first, each once."""
    if not budgets:
        raise UsageError("budgets must name at least one budget to ask at")
    if len({isinstance(b, float) for b in budgets}) > 1:
        raise UsageError("budgets must be tokens or shares, not both: they are drawn over one axis")
    for budget in budgets:
        if not isinstance(budget, float):
            check_budget(budget, "budgets")
        elif not 0 < budget < math.inf:
            raise UsageError(f"a share must be a positive number, got {budget!r}")
    return sorted(set(budgets), reverse=True)


@dataclass(frozen=True)
class _Asking:
    """How the runs of a ladder are made."""

    metric: Metric | None
    out: Path | None
    caps: SharedCaps
    options: dict[str, Any]

    def rung(self, program: Any, data: Dataset, vanilla: Run, budget: int | float) -> Run:
        """Ask all questions at one budget."""
        if isinstance(budget, int):
            return self.run(given(program, budget), data, f"budget:{budget}")
        counted = {r.id for r in vanilla.records if r.output_tokens is not None}
        ids = example_ids(data.examples, data.gold)
        kept = [e for key, e in zip(ids, data.examples, strict=True) if key in counted]
        scaled = with_scaled_budgets(replace(data, examples=kept), vanilla, budget)
        told = {"budgets": data_hash(str(e[BUDGET]) for e in scaled.examples)}
        return self.run(given(program, None), scaled, f"budget:{budget:g}x", told)

    def run(self, program: Any, data: Dataset, name: str, config: dict[str, Any] | None = None) -> Run:
        """Evaluate a program under what is left of the caps."""
        own: dict[str, Any] = {
            "metric": self.metric,
            "name": name,
            "out": None if self.out is None else self.out / name.replace(":", "-"),
            "config": {**(self.options.get("config") or {}), **(config or {})},
        }
        return self.caps.evaluate(program, data, **{**self.options, **own})


def given(program: Any, budget: int | None) -> Any:
    """Return a copy of a program whose budgeted predictors are all given one budget, and estimate none.

    Args:
        program: Holds one or more `TaleEP` or `BudgetedChainOfThought`; not changed.
        budget: In tokens; None leaves it to the questions, as an input `token_budget`.
    """
    copied = copy_program(program)
    for module in budgeted_predictors(copied).values():
        new = BudgetedChainOfThought(
            task_of(module), budget, mode=module.mode, adapter=module.adapter, callbacks=list(module.callbacks)
        )
        new.predict, new.seen = module.predict, module.seen
        copied = replace_module(copied, module, new)
    return copied
