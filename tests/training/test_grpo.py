"""Rewards, and a training by them."""

from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import DataError
from tale_dspy.training.grpo import price_of_tokens, train_grpo
from tale_dspy.training.options import GrpoOptions
from tale_dspy.training.trainer import Step


@pytest.mark.parametrize(
    ("text", "tokens", "budget", "worth"),
    [
        ("Answer: [[7]]", 10, 10, 1.0),
        ("Answer: [[7]]", 30, 10, 0.8),
        ("[[ ## answer ## ]]\n7\n\n[[ ## completed ## ]]", 10, None, 0.8),
        ("Answer: [[7]]", 500, 10, 0.1),
        ("Answer: [[8]]", 5, 10, 0.0),
        ("no answer", 500, 10, -0.9),
    ],
)
def test_a_right_answer_is_worth_one_minus_a_price_per_token(
    text: str, tokens: int, budget: int | None, worth: float
) -> None:
    reward = price_of_tokens(0.01, default=-10)
    said: Any = [[{"role": "assistant", "content": text}], text]
    given = {"completion_ids": [[0] * tokens] * 2, "gold": ["7"] * 2, "budget": [budget] * 2, "prompts": ["?"] * 2}
    assert reward(completions=said, **given) == pytest.approx([worth] * 2)


def test_an_adapter_is_trained_by_rewards(base: Path, rows: Any, tmp_path: Path) -> None:
    options = GrpoOptions(batch_size=4, generations=2, max_new_tokens=6, budget=3, price=0.1, epochs=0.5)
    seen: list[Step] = []
    questions = [{"prompt": row["prompt"], "gold": "1"} for row in rows]
    trained = train_grpo(str(base), questions, tmp_path / "a", options, progress=seen.append)
    assert trained.card["strategy"] == "grpo" and trained.card["results"]["steps"] == 3 == seen[-1].steps
    assert (tmp_path / "a" / "adapter_model.safetensors").is_file()


def test_questions_need_their_right_answer_and_enough_of_them(base: Path, rows: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1 has no gold"):
        train_grpo(str(base), rows, tmp_path / "a", GrpoOptions())
    with pytest.raises(DataError, match="1 rows are too few: a step needs 8"):
        train_grpo(str(base), [{"prompt": "1", "gold": "1"}], tmp_path / "a", GrpoOptions())
