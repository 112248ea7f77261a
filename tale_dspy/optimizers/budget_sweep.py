"""Ask a program at several budgets or effort words.

Token elasticity (paper, section 4) is measured this way.
"""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

from tale_dspy.budget import BudgetLike, BudgetValue, check_budget
from tale_dspy.datasets import Dataset, data_hash, example_ids
from tale_dspy.display import html_table, number
from tale_dspy.errors import SpendCapReached, UsageError
from tale_dspy.optimizers.search.budget_override import (
    budgeted_predictors,
    replace_module,
    searchable_predictors,
    task_of,
)
from tale_dspy.optimizers.search.budget_space import check_efforts
from tale_dspy.optimizers.search.effort_settings import effort_settings
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.convert import unbudgeted
from tale_dspy.programs.copying import copy_program
from tale_dspy.protocols import JsonObject, Program
from tale_dspy.runs.records import Run
from tale_dspy.runs.scaled import with_scaled_budgets
from tale_dspy.runs.scoring import Metric
from tale_dspy.runs.shared_caps import SharedCaps
from tale_dspy.task_signature import BUDGET

SweepPoint = int | float | str
"""Tokens, a share of the tokens without a budget, or an effort word."""

logger = logging.getLogger(__name__)

SHARES = ("1x", "0.7x", "0.5x", "0.35x", "0.25x", "0.18x", "0.12x", "0.06x", "0.03x")
"""A ladder that fits any question: shares of its tokens without a budget, as in the paper's table 8."""
_SHARE = re.compile(r"(\d+(?:\.\d+)?)x")


@dataclass(frozen=True)
class BudgetSweep:
    """The runs of a sweep."""

    vanilla: Run
    """All questions without a budget."""
    points: tuple[Run, ...]
    """The same questions at each budget, in the order they were asked."""
    stopped: str | None = None
    """The sentence of the cap that ended it early, or None."""

    @property
    def runs(self) -> list[Run]:
        """All of them, the one without a budget first."""
        return [self.vanilla, *self.points]

    def _repr_html_(self) -> str:
        """Show a line a budget in a notebook."""
        summaries = [run.summary for run in self.runs]
        rows = [
            [
                str(s["program"]),
                number(s["n"], 0),
                number(s["accuracy"], scale=100),
                number(s["output_tokens_mean"]),
            ]
            for s in summaries
        ]
        caption = (
            f"{self.vanilla.summary['model'] or 'unknown model'} on {self.vanilla.summary['data'] or 'unnamed data'}"
        )
        return html_table(["Program", "n", "Right %", "Output tokens"], rows, caption=caption, note=self.stopped or "")


def parse_point(text: str) -> SweepPoint:
    """Read a budget.

    It is a number of tokens (`50`), a share of the question's tokens without a budget (`0.25x`), or an effort word.

    Returns:
        Tokens as an int, a share as a float, a word as a str.

    Raises:
        UsageError: If it is none of these.
    """
    word = text.strip()
    match = _SHARE.fullmatch(word)
    if match and 0 < float(match[1]) < math.inf:
        return float(match[1])
    if word.isascii() and word.isdigit() and len(word) <= 9 and int(word):
        return int(word)
    try:
        value = BudgetValue.parse(word)
    except UsageError:
        value = None
    if value is not None and value.effort is not None:
        return str(value)
    raise UsageError(
        f"a budget is a number of tokens such as 50, a share such as 0.25x or an effort word such as low, got {text!r}"
    )


def sweep_budgets(
    program: Any,
    data: Dataset,
    budgets: Sequence[SweepPoint] | None = None,
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
        budgets: Whole tokens, shares as floats, or effort words, one kind of them; None takes all effort words of the
            model, with and without the phrase, where it is a reasoning model of words, and `SHARES` elsewhere. Of words
            that would send equal requests one is asked.
        metric: As in `evaluate`.
        out: A folder that keeps a run folder for each rung, so that a killed ladder continues; None for none.
        **options: Passed on to `evaluate`: `lm`, `adapter`, `concurrency`, `max_usd` ... A cap ends the ladder with the
            rungs finished until then.

    Raises:
        UsageError: If a budget cannot be used, or the program has no budgeted predictor.
        SpendCapReached: If the cap ended it before all questions were asked without a budget.
    """
    names = searchable_predictors(program)
    points = _points_of(program, budgets, options.get("lm") or dspy.settings.lm)
    if isinstance(points[0], float) and names != ["self"]:
        raise UsageError(f"shares need a program that is one budgeted predictor, this one has {', '.join(names)}")
    caps = SharedCaps(options.pop("max_usd", None), options.pop("max_total_output_tokens", None))
    asking = _SweepRuns(metric, None if out is None else Path(out), caps, options)
    vanilla = asking.run(unbudgeted(program), data, "cot")
    finished: list[Run] = []
    stopped = None
    for point in points:
        try:
            finished.append(asking.point(program, data, vanilla, point))
        except SpendCapReached as e:
            stopped = str(e)
            logger.warning("the ladder ended after %d of %d budgets: %s", len(finished), len(points), e)
            break
    return BudgetSweep(vanilla, tuple(finished), stopped)


def _points_of(program: Any, budgets: Sequence[SweepPoint] | None, lm: Any) -> list[SweepPoint]:
    """Return what is asked: the budgets as given, else what the model takes."""
    if budgets is None:
        return _descending_budgets(effort_settings(program, lm, "auto") or [parse_point(s) for s in SHARES])
    points = _descending_budgets(budgets)
    words = [point for point in points if isinstance(point, str)]
    return [*reversed(effort_settings(program, lm, words[::-1]))] if words else points


def _descending_budgets(budgets: Sequence[SweepPoint]) -> list[SweepPoint]:
    """Return the budgets, the largest first, each once."""
    if not budgets:
        raise UsageError("budgets must name at least one budget to ask at")
    if len({type(b) for b in budgets}) > 1:
        raise UsageError("budgets must be tokens, shares or effort words, one kind: they are drawn over one axis")
    words = [b for b in budgets if isinstance(b, str)]
    if words:
        return [*reversed(check_efforts(words))]
    for budget in budgets:
        if not isinstance(budget, float):
            check_budget(budget, "budgets")
        elif not 0 < budget < math.inf:
            raise UsageError(f"a share must be a positive number, got {budget!r}")
    return sorted({b for b in budgets if not isinstance(b, str)}, reverse=True)


@dataclass(frozen=True)
class _SweepRuns:
    """How the runs of a ladder are made."""

    metric: Metric | None
    out: Path | None
    caps: SharedCaps
    options: JsonObject

    def point(self, program: Any, data: Dataset, vanilla: Run, budget: SweepPoint) -> Run:
        """Ask all questions at one budget."""
        if not isinstance(budget, float):
            kind = "effort" if isinstance(budget, str) else "budget"
            return self.run(with_given_budget(program, budget), data, f"{kind}:{budget}")
        counted = {r.id for r in vanilla.records if r.output_tokens is not None}
        ids = example_ids(data.examples, data.gold)
        examples: list[Any] = []
        lost: set[str] = set()
        for key, example in zip(ids, data.examples, strict=True):
            # Equal rows are numbered: each keeps its number only as long as those before it are there.
            content = key.partition("-")[0]
            if key in counted and content not in lost:
                examples.append(example)
            else:
                lost.add(content)
        scaled = with_scaled_budgets(replace(data, examples=examples), vanilla, budget)
        config = {"budgets": data_hash(str(e[BUDGET]) for e in scaled.examples)}
        return self.run(with_given_budget(program, None), scaled, f"budget:{budget:g}x", config)

    def run(self, program: Any, data: Dataset, name: str, config: JsonObject | None = None) -> Run:
        """Evaluate a program under what is left of the caps."""
        overrides: JsonObject = {
            "metric": self.metric,
            "name": name,
            "out": None if self.out is None else self.out / name.replace(":", "-"),
            "config": {**(self.options.get("config") or {}), **(config or {})},
        }
        return self.caps.evaluate(program, data, **{**self.options, **overrides})


def with_given_budget(program: Program, budget: BudgetLike | None) -> Any:
    """Return a copy of a program with one given budget.

    All its budgeted predictors get it, and their estimators are not called.

    Args:
        program: Holds one or more `TaleEP` or `BudgetedChainOfThought`; not changed.
        budget: Tokens or an effort word; None leaves it to the questions, as an input `token_budget`.
    """
    copied = copy_program(program)
    for module in budgeted_predictors(copied).values():
        new = BudgetedChainOfThought(
            task_of(module), budget, mode=module.mode, adapter=module.adapter, callbacks=list(module.callbacks)
        )
        new.predict, new.seen, new.skip_state = module.predict, module.seen, module.skip_state
        copied = replace_module(copied, module, new)
    return copied
