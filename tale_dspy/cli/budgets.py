"""Budgets that other runs decide.

They are shares of a vanilla run's tokens, or the budget that did best in training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tale_dspy.cli.plan import Plan
from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject, LanguageModel, Program

if TYPE_CHECKING:
    from tale_dspy.datasets import Dataset
    from tale_dspy.runs.shared_caps import SharedCaps


def scaled(plan: Plan, data: "Dataset", factor: float, options: JsonObject) -> "Dataset":
    """Budget each question by its share of the vanilla run's tokens.

    The configuration of the run then names the vanilla run.
    """
    from tale_dspy.datasets import data_hash
    from tale_dspy.runs.records import load_run
    from tale_dspy.runs.scaled import with_scaled_budgets
    from tale_dspy.task_signature import BUDGET

    if plan.vanilla is None:
        raise UsageError(f"{plan.program} needs --vanilla RUN, the folder of a cot run of the same questions")
    shares = with_scaled_budgets(data, load_run(plan.vanilla), factor)
    options["config"] |= {"budgets": data_hash(str(example[BUDGET]) for example in shares.examples)}
    return shares


def best_budget(
    plan: Plan,
    student: Program,
    data: "Dataset",
    metric: Any,
    caps: "SharedCaps",
    options: JsonObject,
) -> Any:
    """Choose the one fixed budget on training questions.

    Its cost is subtracted from the caps.

    Args:
        plan: What is evaluated.
        student: Gets the budget.
        data: The questions of the evaluation.
        metric: As in `evaluate`.
        caps: Of search and evaluation together.
        options: Of `evaluate`; its `config` learns which questions were searched.
    """
    from tale_dspy.budget import BudgetLike
    from tale_dspy.datasets import data_hash, example_ids
    from tale_dspy.errors import SpendCapReached
    from tale_dspy.optimizers.fixed_budget import BUDGETS, BestFixedBudget

    if plan.shard is not None:
        raise UsageError(
            f"{plan.program} is chosen on training questions first: run it without --shard, then its budget with it"
        )
    if plan.train_data is None and Path(plan.data).suffix:
        raise UsageError(f"{plan.program} tries budgets on other questions than it is evaluated on: give --train-data")
    train = plan.load(plan.train_data or _training_questions(plan.data)).take(0, plan.train_limit)
    ids = example_ids(train.examples, train.gold)
    both = len({*ids} & {*example_ids(data.examples, data.gold)})
    if both and not plan.allow_leak:  # said before the search is paid
        raise UsageError(f"{both} of {len(data)} questions are training questions, too: allow it with --allow-leak")
    options["config"] |= {"train": {"name": train.name, "n": len(train), "hash": data_hash(ids)}}
    folder = plan.folder()
    out = folder.parent / f"{folder.name}-search"
    budgets: Sequence[BudgetLike] = BUDGETS
    if plan.program == "effort:best":
        budgets = effort_settings(options["lm"])
        if not budgets:
            raise UsageError(f"effort:best needs a model that takes effort words; none are known of {plan.model}")
    search = BestFixedBudget(metric, budgets=budgets, out=out, **options, **caps.left())
    try:
        program = search.compile(student, trainset=train)
    finally:
        caps.ledger.absorb(search.caps.ledger)
    if search.stopped:
        message = f"{search.stopped}; the search is kept in {out}, the same command continues"
        raise SpendCapReached(message, search.caps.ledger)
    return program


def effort_settings(lm: LanguageModel) -> list[str]:
    """Return the effort words of a model that send different requests."""
    from tale_dspy.backends.reasoning_params import distinct_settings, effort_words

    return [str(setting.value) for setting in distinct_settings(lm, effort_words(lm))]


def _training_questions(data: str) -> str:
    """Name the training questions that belong to a named set."""
    return "embedded:train" if data.split(":")[0] == "embedded" else f"{data}-train"
