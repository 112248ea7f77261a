"""Rewards, and a training by them."""

from pathlib import Path
from typing import Any

import pytest

from tale_dspy.errors import DataError, UsageError
from tale_dspy.training.grpo import train_grpo
from tale_dspy.training.options import GrpoOptions
from tale_dspy.training.trainer import TrainingStep


def test_an_adapter_is_trained_by_rewards(base: Path, rows: Any, tmp_path: Path) -> None:
    options = GrpoOptions(batch_size=4, generations=2, max_new_tokens=6, budget=3, price=0.1, epochs=0.5, reward="alp")
    steps: list[TrainingStep] = []
    questions = [{"prompt": row["prompt"], "gold": "1"} for row in rows]
    trained = train_grpo(str(base), questions, tmp_path / "a", options, progress=steps.append)
    assert trained.card["strategy"] == "grpo" and trained.card["results"]["steps"] == 3 == steps[-1].steps
    results, card = trained.card["results"], (tmp_path / "a" / "README.md").read_text()
    assert len(results["rewards"]) == len(results["reply_tokens"]) == 3 and results["tokens_per_s"] is None
    assert results["reward"] == pytest.approx(results["rewards"][-1], abs=1e-4) and 0 <= results["same_reward"] <= 1
    assert f"| mean reward | {results['rewards'][0]:.3f} in the first step, " in card and "loss at the end" not in card
    assert "tokens/s" not in card and "steps | 3 of 4 replies, 2 to each of 2 rows" in card
    assert (tmp_path / "a" / "adapter_model.safetensors").is_file()


def test_questions_need_their_right_answer_and_enough_of_them(base: Path, rows: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1 has no gold"):
        train_grpo(str(base), rows, tmp_path / "a", GrpoOptions())
    with pytest.raises(DataError, match="1 rows are too few: a step needs 8"):
        train_grpo(str(base), [{"prompt": "1", "gold": "1"}], tmp_path / "a", GrpoOptions())


def test_an_unknown_reward_is_refused() -> None:
    with pytest.raises(UsageError, match="reward must be one of linear, scaled, cosine, alp, got 'square'"):
        GrpoOptions(reward="square")
