"""Reading a budget out of an estimator's reply, and the limits it is kept within."""

import json
import math
import random
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from tale_dspy.budget import Budget, BudgetLimits, BudgetValue, check_budget, check_count, read_budget, split_stated
from tale_dspy.errors import UsageError


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("Budget: [[12]]", 12),
        ("[[12]]", 12),
        ("for example: Budget: [[12]]. So: Budget: [[40]]", 40),
        ("[[40]] because [[budget]] was asked for", 40),
        ("[[12.5]]", 12.5),
        ("[[ 50 ]]", 50),
        ("[[~50]]", 50),
        ("[[50 tokens]]", 50),
        ("[[50 tokens, 3 steps]]", 50),
        ("[[50-80]]", 80),
        ("[[50 – 80]]", 80),
        ("[[50 to 80]]", 80),
        ("[[80-50]]", 80),
        ("between 50 and 80 tokens", 80),
        ("[[1,200]]", 1200),
        ("[[1 200]]", 1200),
        ("[[2k]]", 2000),
        ("[[1.5 K]]", 1500),
        ("[[1e3]]", 1000),
        ("[[１２８]]", 128),
        ("[[0]]", 0),
        ("[[-5]]", -5),
        ("[[−5]]", -5),
        ("Budget: 60", 60),
        ("**Budget:** 60 for 3 steps", 60),
        ("Budget: [60]", 60),
        ("the budget is 60, and 4 are left", 60),
        ("预算：80", 80),
        ("预算为80个", 80),
        ("I would say 2 sentences, so 45 tokens, in 3 lines", 45),
        ("about **64** tokens", 64),
        ("two steps of 20, so 40", 40),
        (r"\boxed{30}", 30),
        ("[[30", 30),
        ("<think>[[500]]</think>Budget: [[20]]", 20),
    ],
)
def test_a_number_is_read(reply: str, number: float) -> None:
    assert read_budget(reply) == number


@pytest.mark.parametrize(
    "reply", [None, "", "   ", "10 km", "1,5000", "[[budget]]", "[[]]", "v1x2", "Budget: [[?]]", "\x00"]
)
def test_a_reply_without_a_number_holds_no_budget(reply: str | None) -> None:
    assert read_budget(reply) is None


@pytest.mark.parametrize("reply", ["[[1e400]]", "9" * 400, "[[" + "9" * 150 + "e999]]"])
def test_a_number_beyond_all_measure_is_no_budget(reply: str) -> None:
    assert read_budget(reply) is None
    assert BudgetLimits().apply(math.inf) == Budget(4096, "clamped")


def test_no_reply_takes_long_or_raises() -> None:
    chance = random.Random(0)
    tokens = [
        "[[",
        "]]",
        "-",
        "–",
        " to ",
        "9",
        "1,000",
        "k",
        ".",
        "e",
        "budget",
        "tokens",
        " ",
        "\n",
        "½",
        "預算",
        "\ud800",
    ]
    started = time.thread_time()
    for _ in range(3000):
        read_budget("".join(chance.choices(tokens, k=60)))
    for piece in tokens:
        read_budget(piece * 1_000_000)
    assert read_budget("x" * 10_000_000 + " Budget: [[7]]") == 7
    assert time.thread_time() - started < 10


@pytest.mark.parametrize(
    ("limits", "estimate", "sent"),
    [
        ({}, 50, (50, "estimate")),
        ({}, 49.2, (50, "estimate")),
        ({"scale": 2}, 50, (100, "estimate")),
        ({"scale": 0.5}, 51, (26, "estimate")),
        ({"floor": 10}, 5, (10, "clamped")),
        ({"floor": 10}, 9.1, (10, "estimate")),
        ({"ceiling": 40}, 50, (40, "clamped")),
        ({}, 10**300, (4096, "clamped")),
        ({}, 1e-300, (1, "estimate")),
        ({}, None, (256, "fallback")),
        ({}, 0, (256, "fallback")),
        ({}, -1, (256, "fallback")),
        ({}, math.nan, (256, "fallback")),
        ({}, -math.inf, (256, "fallback")),
        ({"scale": 3}, None, (256, "fallback")),
        ({"default": 99}, None, (99, "fallback")),
        ({"ceiling": 40}, None, (40, "fallback")),
        ({"floor": 500}, None, (500, "fallback")),
    ],
)
def test_limits_decide_what_is_sent(limits: dict[str, Any], estimate: float | None, sent: tuple[int, str]) -> None:
    budget = BudgetLimits(**limits).apply(estimate, "the reply")
    assert (budget.tokens, budget.source, budget.raw) == (*sent, "the reply")


@pytest.mark.parametrize("estimate", [math.nan, math.inf, -math.inf, None, 50.0])
def test_a_budget_is_plain_json(estimate: float | None) -> None:
    assert json.loads(json.dumps(asdict(BudgetLimits().apply(estimate)), allow_nan=False))["tokens"] > 0


@pytest.mark.parametrize(
    "limits",
    [
        {"scale": 0},
        {"scale": -1},
        {"scale": math.nan},
        {"scale": math.inf},
        {"scale": True},
        {"scale": "2"},
        {"floor": 0},
        {"ceiling": 1.5},
        {"default": None},
        {"floor": 10, "ceiling": 9},
    ],
)
def test_unusable_limits_are_refused_by_name(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(limits))):
        BudgetLimits(**limits)


def test_limits_can_be_replaced_and_hold_plain_numbers() -> None:
    limits = replace(BudgetLimits(), scale=np.float64(2), floor=np.int64(3))
    assert json.dumps(asdict(limits)) == '{"scale": 2.0, "floor": 3, "ceiling": 4096, "default": 256}'


@pytest.mark.parametrize("value", [1, 50, 10**30, np.int64(50)])
def test_whole_numbers_are_budgets(value: Any) -> None:
    assert check_budget(value) == value
    assert type(check_budget(value)) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, True, "50", None, math.nan, [50], np.array([1, 2])])
def test_other_values_are_refused_with_name_and_value(value: Any) -> None:
    with pytest.raises(UsageError, match=r"my_budget must be a whole number of tokens of at least 1, got"):
        check_budget(value, "my_budget")


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("Budget: [[12]]\nSo 7.\nAnswer: [[7]]", ("12", "So 7.\nAnswer: [[7]]")),
        ("**Budget:** [[12]]**\nSo 7.", ("12", "So 7.")),
        ("Token budget: 1,200 tokens.\nSo 7.", ("1,200", "So 7.")),
        ("My budget is [[about 12]]. Answer: [[7]]", ("about 12", "Answer: [[7]]")),
        ("Sure.\nBudget: [[12]]\nSo 7.", ("12", "Sure.\nSo 7.")),
        ("预算：[[12]]。\n是 7", ("12", "是 7")),
        ("Budget: [[12]]", ("12", "")),
    ],
)
def test_a_stated_budget_is_cut_off_the_reply(reply: str, told: tuple[str, str]) -> None:
    assert split_stated(reply) == told


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "So 7.\nAnswer: [[7]]",
        "His budget for apples is [[7]]",
        "Rent and food: 500 dollars, " * 12 + "\nThe budget is [[500]]",
        "Budget: [[]]\nAnswer: [[7]]",
        "Budget: none",
    ],
)
def test_a_reply_without_a_stated_budget_is_left_whole(reply: str) -> None:
    assert split_stated(reply) == (None, reply)


def test_a_long_reply_is_split_in_no_time() -> None:
    started = time.thread_time()
    split_stated(" " * 200_000 + "the my the my budget" * 20_000 + "\n" * 100_000)
    assert time.thread_time() - started < 2


@pytest.mark.parametrize(
    ("written", "tokens", "effort"),
    [(50, 50, None), ("50", 50, None), ("low", None, "low"), ("LOW ", None, "low"), ("low+50", 50, "low")],
)
def test_a_budget_is_a_number_a_word_or_both(written: int | str, tokens: int | None, effort: str | None) -> None:
    value = BudgetValue.parse(written)
    assert (value.tokens, value.effort) == (tokens, effort)
    assert BudgetValue.parse(value.to_json()) == BudgetValue.parse(value) == value


@pytest.mark.parametrize("written", [0, -1, 2.5, True, "", "fast", "low+", "+50", "low+high", "0", "low+0", "９", None])
def test_what_is_no_budget_is_refused(written: Any) -> None:
    with pytest.raises(UsageError):
        BudgetValue.parse(written)


def test_an_empty_budget_is_refused() -> None:
    with pytest.raises(UsageError, match="neither"):
        BudgetValue()


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None, float("nan")])
def test_a_count_is_a_whole_number_of_at_least_1(value: object) -> None:
    assert check_count(3, "trials") == 3
    with pytest.raises(UsageError, match=r"^trials must be a whole number of at least 1, got "):
        check_count(value, "trials")
