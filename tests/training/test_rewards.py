"""What each reward pays for a reply."""

import math
from typing import Any

import pytest

from tale_dspy.training.options import REWARDS as NAMES
from tale_dspy.training.rewards import REWARDS, alp_reward, cosine_reward, linear_reward, make_reward, scaled_reward

RIGHT, WRONG = "Answer: [[7]]", "Answer: [[8]]"


def pay(
    reward: Any, *replies: tuple[str, int], budget: int | None = None, prompts: list[str] | None = None
) -> list[float]:
    """Ask for the rewards of replies (text, tokens), all to one question unless told otherwise."""
    return reward(
        prompts=prompts or ["?"] * len(replies),
        completions=[[{"role": "assistant", "content": text}] for text, _ in replies],
        completion_ids=[[0] * n for _, n in replies],
        gold=["7"] * len(replies),
        budget=[budget] * len(replies),
    )


@pytest.mark.parametrize(
    ("text", "tokens", "budget", "worth"),
    [
        (RIGHT, 10, 10, 1.0),
        (RIGHT, 30, 10, 0.8),
        ("[[ ## answer ## ]]\n7\n\n[[ ## completed ## ]]", 30, None, 0.8),
        (RIGHT, 500, 10, 0.1),
        (WRONG, 5, 10, 0.0),
        ("no answer", 500, 10, -0.9),
    ],
)
def test_linear_is_one_minus_a_price_per_token_over_the_budget(
    text: str, tokens: int, budget: int | None, worth: float
) -> None:
    assert pay(linear_reward(0.01, budget=10), (text, tokens), budget=budget) == pytest.approx([worth])


def test_without_any_budget_linear_charges_nothing() -> None:
    assert pay(linear_reward(0.01), (RIGHT, 900)) == [1.0]


def test_scaled_charges_right_replies_by_the_pass_rate() -> None:
    half = pay(scaled_reward(0.01, budget=0), (RIGHT, 20), (WRONG, 20))
    whole = pay(scaled_reward(0.01, budget=0), (RIGHT, 20), (RIGHT, 40))
    assert half == pytest.approx([1 - 0.5 * 0.2, 0.0]) and whole == pytest.approx([0.8, 0.6])


def test_the_pass_rate_is_that_of_the_same_prompt() -> None:
    replies = [(RIGHT, 20), (RIGHT, 20), (RIGHT, 20), (WRONG, 20)]
    assert pay(scaled_reward(0.01, 0), *replies, prompts=["a", "a", "b", "b"]) == pytest.approx([0.8, 0.8, 0.9, 0.0])


def test_cosine_prefers_short_right_and_long_wrong_replies() -> None:
    paid = pay(cosine_reward(100), (RIGHT, 0), (RIGHT, 50), (RIGHT, 100), (RIGHT, 900), (WRONG, 0), (WRONG, 100))
    assert paid == pytest.approx([1.0, 0.75, 0.5, 0.5, -1.0, -0.5])


def test_alp_charges_every_token_by_how_often_the_question_is_solved() -> None:
    assert pay(alp_reward(0.01), (RIGHT, 20), (RIGHT, 20)) == pytest.approx([0.8, 0.8])
    assert pay(alp_reward(0.01), (WRONG, 20), (WRONG, 20)) == pytest.approx([-0.1, -0.1])  # never below 1 of k
    assert pay(alp_reward(0.01), (RIGHT, 20), (WRONG, 20)) == pytest.approx([0.9, -0.1])


@pytest.mark.parametrize("name", NAMES)
def test_every_named_reward_prefers_a_right_reply_and_is_finite(name: str) -> None:
    assert tuple(REWARDS) == NAMES
    right, wrong = pay(make_reward(name, 0.005, 50, 256), (RIGHT, 60), (WRONG, 60))
    assert right > wrong and math.isfinite(right) and math.isfinite(wrong)
