"""TALE-PT-DPO: prefer the short reply over the vanilla one.

Both answer the same question (paper, section 5.3).
"""

from pathlib import Path
from typing import Any

from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from tale_dspy.protocols import JsonObject
from tale_dspy.training.options import DpoOptions
from tale_dspy.training.plan import TrainingPlan, plan_training
from tale_dspy.training.trainer import Progress, TrainedAdapter, TrainerSetup, run_training


def train_dpo(
    base: str, data: object, out: str | Path, options: DpoOptions | None = None, *, progress: Progress | None = None
) -> TrainedAdapter:
    """Train a LoRA adapter on pairs of replies with TRL's DPOTrainer.

    The base without the adapter is the reference. After a kill, the same call continues from the last checkpoint.

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
    return run_training(plan_training(base, data, out, options or DpoOptions()), build, progress)


class _TokenizedDpoTrainer(DPOTrainer):
    """TRL's trainer on rows that are tokens already.

    TRL has no other way to take these.
    """

    def _prepare_dataset(self, dataset: object, *args: object, **kwargs: object) -> Any:
        return dataset


def build(setup: TrainerSetup) -> Any:
    """Return TRL's trainer on the rows of the plan."""
    options = setup.plan.options
    assert isinstance(options, DpoOptions)
    dpo_arguments: JsonObject = {
        "loss_type": list(options.loss),
        "loss_weights": None if options.loss_weights is None else list(options.loss_weights),
        "beta": options.beta_taken,
        "ld_alpha": options.ld_alpha,
        "precompute_ref_log_probs": options.reference_first,
    }
    trainer = _TokenizedDpoTrainer(
        model=setup.model,
        args=DPOConfig(**setup.arguments, **dpo_arguments),
        train_dataset=tokens_of(setup.plan),
        processing_class=setup.plan.row_tokenizer.tokenizer,
        peft_config=setup.lora,
        callbacks=setup.callbacks,
    )
    dataset: Any = trainer.train_dataset
    trainer.train_dataset = dataset.select(setup.plan.order)
    return trainer


def tokens_of(plan: TrainingPlan) -> Any:
    """Return the rows as TRL's collator takes them."""
    import datasets

    return datasets.Dataset.from_list(
        [{"prompt_ids": row.prompt, "chosen_ids": row.replies[0], "rejected_ids": row.replies[1]} for row in plan.rows]
    )
