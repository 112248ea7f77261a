"""few_shot: demos that span the searched budgets, the same every time."""

import random
from typing import Any

import pytest
from searched import row, search

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.few_shot import few_shot

ROWS = search([f"Question {n}?" for n in range(40)], lambda n: 20 + n)


def budgets(**options: Any) -> list[int]:
    rows = options.pop("rows", ROWS)
    return [int(demo.token_budget) for demo in few_shot(rows, "question -> answer", **options).predict.demos]


def test_demos_span_the_budgets_from_the_smallest_to_the_largest() -> None:
    best_budgets = sorted(r.best.budget for r in ROWS if r.best)
    demo_budgets = sorted(budgets(k=4))
    assert all(best_budgets[10 * n] <= budget <= best_budgets[10 * n + 9] for n, budget in enumerate(demo_budgets))


def test_the_same_demos_whatever_the_order_of_the_rows() -> None:
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert budgets(rows=shuffled) == budgets()
    assert budgets(seed=1) != budgets()
    assert len(budgets()) == 8


def test_rows_without_a_best_budget_or_the_inputs_are_left_out_and_repeated_ones_count_once() -> None:
    rows = [
        *ROWS[:2],
        row("none", []),
        row("other", [(9, 9, True)], question=None),
        row(f"{ROWS[0].id}-2", [(9, 9, True)]),
    ]
    assert sorted(budgets(rows=rows)) == sorted(r.best.budget for r in ROWS[:2] if r.best)


def test_it_remembers_what_it_was_made_of_and_takes_options() -> None:
    estimator = few_shot(ROWS, "question -> answer", k=2, floor=9, temperature=0.3)
    assert estimator.seen.roles == {r.id: "search" for r in ROWS}
    assert (estimator.limits.value.floor, estimator.predict.config) == (9, {"temperature": 0.3})


@pytest.mark.parametrize(
    ("rows", "k", "told"),
    [
        (ROWS, 0, "k must be a whole number of at least 1, got 0"),
        (ROWS, True, "got True"),
        ([], 8, "none of the 0 questions"),
        ([row("a", [])], 8, "none of the 1 questions has a best budget and question"),
        ([row("a", []), row("b", [], predictor="other")], 8, "one predictor"),
    ],
)
def test_what_gives_no_demos_is_refused(rows: Any, k: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        few_shot(rows, "question -> answer", k)
