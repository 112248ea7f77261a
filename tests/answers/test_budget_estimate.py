"""What an estimator's reply says, and why some replies say nothing."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tale_dspy.answers.budget_estimate import BudgetEstimate, read_estimate

CASES = Path(__file__).parents[1] / "data" / "budgets.jsonl"


def cases() -> dict[str, list[dict[str, Any]]]:
    """Return the cases by their kind: the reply, and the budget in it (a list where several readings will do)."""
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: row["kind"])
    return {kind: list(group) for kind, group in groupby(rows, key=lambda row: row["kind"])}


@pytest.mark.parametrize("kind", cases())
def test_every_reply_of_a_kind_is_read_as_it_is_meant(kind: str) -> None:
    wrong = []
    for row in cases()[kind]:
        expected = row["expect"] if isinstance(row["expect"], list) else [row["expect"]]
        if read_estimate(row["reply"]).tokens not in expected:
            wrong.append(row)
    assert wrong == []


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (None, "empty"),
        (" \n", "empty"),
        ("<think>a</think>", "empty"),
        ("<think>[[50]]", "truncated"),
        ("I'm sorry, as Llama 3 I can't.", "refusal"),
        ("[[N/A]]", "refusal"),
        ("There are 28 pink hard hats. The answer is: 28", "no budget"),
        ("[[budget]]", "no budget"),
        ("[[99999999999999999999]]", "too large"),
    ],
)
def test_a_reply_without_a_budget_says_why(reply: str | None, reason: str) -> None:
    assert read_estimate(reply) == BudgetEstimate(None, reason)  # type: ignore[arg-type]


def test_of_a_cut_reply_only_double_brackets_count() -> None:
    assert read_estimate("It needs 10 tokens for", truncated=True) == BudgetEstimate(None, "truncated")
    assert read_estimate("", truncated=True) == BudgetEstimate(None, "truncated")
    assert read_estimate("[[50]], since", truncated=True) == BudgetEstimate(50.0)
