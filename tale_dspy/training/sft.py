"""TALE-PT-SFT: fine-tune on the model's own short replies (section 5.3)."""

from pathlib import Path
from typing import Any

from tale_dspy.training.options import SftOptions
from tale_dspy.training.plan import TrainingPlan, plan_training
from tale_dspy.training.tokenization import IGNORED
from tale_dspy.training.trainer import Progress, TrainedAdapter, TrainerSetup, run_training


def train_sft(
    base: str, data: object, out: str | Path, options: SftOptions | None = None, *, progress: Progress | None = None
) -> TrainedAdapter:
    """Train a LoRA adapter on prompts and completions with TRL's SFTTrainer.

    After a kill, the same call continues from the last checkpoint. The loss lies on the tokens of the completions
    alone.

    Args:
        base: `embedded`, the folder of a model, or its name on the Hugging Face hub.
        data: A file that `DistillationResult.save` wrote, a dataset or rows: see `read_rows`.
        out: Folder of the adapter.
        options: What decides the training.
        progress: Called after each step.

    Raises:
        UsageError: If base, folder or options cannot be used.
        DataError: If a row cannot be trained on.
        BackendError: If disk or memory are full.
        MissingExtraError: If a package is missing.
    """
    return run_training(plan_training(base, data, out, options or SftOptions()), build, progress)


def build(setup: TrainerSetup) -> Any:
    """Return TRL's trainer on the rows of the plan."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    trainer = SFTTrainer(
        model=setup.model,
        args=SFTConfig(**setup.arguments, packing=False),
        train_dataset=tokens_of(setup.plan),
        processing_class=setup.plan.row_tokenizer.tokenizer,
        peft_config=setup.lora,
        callbacks=setup.callbacks,
    )
    dataset: Any = trainer.train_dataset
    trainer.train_dataset = dataset.select(setup.plan.order)
    return trainer


def tokens_of(plan: TrainingPlan) -> Any:
    """Return the rows as TRL takes tokenised ones.

    Labels are set on the completion alone.
    """
    import datasets

    rows = [(row.prompt, *row.replies) for row in plan.rows]
    return datasets.Dataset.from_list(
        [
            {"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion}
            for prompt, completion in rows
        ]
    )
