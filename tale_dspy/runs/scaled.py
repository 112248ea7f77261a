"""Budgets as a share of the tokens of vanilla chain of thought (table 8).

The tokens are those of the same question.
"""

from collections import defaultdict
from dataclasses import replace

from tale_dspy.datasets import Dataset, example_ids
from tale_dspy.errors import DataError
from tale_dspy.runs.records import Run
from tale_dspy.task_signature import BUDGET


def with_scaled_budgets(data: Dataset, vanilla: Run, factor: float) -> Dataset:
    """Give each question a budget: a factor times its vanilla tokens.

    It becomes the input `token_budget`. The ids of the questions stay the same, since a budget is no part of them.

    Args:
        data: The questions.
        vanilla: A run of the same questions without a budget; the mean over its repeats counts.
        factor: Share of the vanilla tokens, above 0.

    Raises:
        DataError: If a question has no known tokens in the vanilla run.
    """
    used: dict[str, list[int]] = defaultdict(list)
    for record in vanilla.records:
        if record.output_tokens is not None:
            used[record.id].append(record.output_tokens)
    ids = example_ids(data.examples, data.gold)
    unknown = [key for key in ids if key not in used]
    if unknown:
        raise DataError(
            f"the vanilla run {vanilla.path or vanilla.name} has no token count for {len(unknown)} of {len(ids)} "
            f"questions (the first is {unknown[0]}): it must be a run of the same questions"
        )
    examples = []
    for key, example in zip(ids, data.examples, strict=True):
        budget = max(1, round(factor * sum(used[key]) / len(used[key])))
        inputs = list(example.inputs().keys())
        examples.append(example.copy(token_budget=budget).with_inputs(*inputs, BUDGET))
    return replace(data, examples=examples)
