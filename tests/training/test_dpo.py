"""The tensors DPO really gets, and a preference that is learned."""

from pathlib import Path
from typing import Any

import pytest

from tale_dspy.training.dpo import build, train_dpo
from tale_dspy.training.options import DpoOptions
from tale_dspy.training.plan import plan_training
from tale_dspy.training.trainer import setup_of


def test_both_replies_end_and_nothing_is_cut(base: Path, rows: Any, tmp_path: Path) -> None:
    plan = plan_training(str(base), rows, tmp_path / "a", DpoOptions(batch_size=5))
    trainer = build(setup_of(plan, []))
    assert {"ref_chosen_logps", "ref_rejected_logps"} <= set(trainer.train_dataset.column_names)
    batches: list[Any] = []
    for batch in trainer.get_train_dataloader():
        replies = []
        columns = (batch[name] for name in ("input_ids", "attention_mask", "completion_mask"))
        for ids, real, taught in zip(*columns, strict=True):
            length, reply = int(real.sum()), int(taught.sum())
            assert taught[length - reply : length].all()
            assert ids[length - 1] == trainer.processing_class.eos_token_id
            replies.append((ids[: length - reply].tolist(), ids[length - reply : length].tolist()))
        half = len(replies) // 2
        batches += [(prompt, chosen, replies[half + n][1]) for n, (prompt, chosen) in enumerate(replies[:half])]
    assert batches == [(plan.rows[n].prompt, *plan.rows[n].replies) for n in plan.order]


@pytest.mark.parametrize(
    "own", [{}, {"loss": ("sigmoid_norm",)}, {"loss": ("sigmoid", "sft"), "ld_alpha": 0.5, "loss_weights": (1.0, 0.5)}]
)
def test_every_kind_of_loss_falls(own: dict[str, Any], base: Path, rows: Any, tmp_path: Path) -> None:
    options = DpoOptions(batch_size=6, epochs=4, learning_rate=1e-2, reference_first=not own, **own)
    losses = train_dpo(str(base), rows, tmp_path / "a", options).card["results"]["losses"]
    assert losses[-1] < losses[0]
