"""The tensors SFT really gets, and an adapter that works."""

from pathlib import Path
from typing import Any

from models import said

from tale_dspy.training.options import SftOptions
from tale_dspy.training.plan import plan_training
from tale_dspy.training.sft import build, train_sft
from tale_dspy.training.tokenization import IGNORED
from tale_dspy.training.trainer import setup_of


def test_the_loss_lies_on_completions_that_end_and_nothing_is_cut(base: Path, rows: Any, tmp_path: Path) -> None:
    plan = plan_training(str(base), rows, tmp_path / "a", SftOptions(batch_size=5))
    trainer = build(setup_of(plan, []))
    batches = []
    for batch in trainer.get_train_dataloader():
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            length = int(mask.sum())
            taught = labels[labels != IGNORED].tolist()
            assert (
                taught[-1] == trainer.processing_class.eos_token_id and taught == ids[:length][-len(taught) :].tolist()
            )
            assert (labels[length:] == IGNORED).all()
            batches.append((ids[: length - len(taught)].tolist(), taught))
    assert batches == [(plan.rows[n].prompt, plan.rows[n].replies[0]) for n in plan.order]


def test_the_adapter_says_what_it_was_taught(base: Path, rows: Any, tmp_path: Path) -> None:
    options = SftOptions(batch_size=4, epochs=60, learning_rate=2e-2, warmup=0.0, checkpoint_every=0)
    trained = train_sft(str(base), rows[:4], tmp_path / "a", options)
    for row in rows[:4]:
        assert said(trained.model, row["prompt"]) == row["completion"][0]["content"]
