"""GRPO: reward right answers and charge for their length.

The reward is one of the functions of `rewards`.

Unlike SFT and DPO it needs no replies, only questions with their right answers and, where known, the tokens that the
best budget took.
"""

from pathlib import Path
from typing import Any

from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from tale_dspy.training.options import GrpoOptions
from tale_dspy.training.plan import TrainingPlan, plan_training
from tale_dspy.training.rewards import make_reward
from tale_dspy.training.trainer import Progress, TrainedAdapter, TrainerSetup, run_training


def train_grpo(
    base: str, data: object, out: str | Path, options: GrpoOptions | None = None, *, progress: Progress | None = None
) -> TrainedAdapter:
    """Train a LoRA adapter on rewards with TRL's GRPOTrainer.

    After a kill, the same call continues from the last checkpoint; its draws then differ from those of an uninterrupted
    run.

    Args:
        base: `embedded`, the folder of a model, or its name on the Hugging Face hub.
        data: Rows with `prompt` and `gold`, and `tokens`, the budget of the question; what `tale distill` writes.
        out: Folder of the adapter.
        options: What decides the training.
        progress: Called after each step.

    Raises:
        UsageError: If base, folder or options cannot be used.
        DataError: If a row cannot be trained on, or there are fewer than one step needs.
        BackendError: If disk or memory are full.
        MissingExtraError: If a package is missing.
    """
    return run_training(plan_training(base, data, out, options or GrpoOptions()), build, progress)


def build(setup: TrainerSetup) -> Any:
    """Return TRL's trainer on the rows of the plan."""
    plan, options = setup.plan, setup.plan.options
    assert isinstance(options, GrpoOptions)
    arguments = {k: v for k, v in setup.arguments.items() if k not in ("max_length", "train_sampling_strategy")}
    grpo_arguments = {
        "remove_unused_columns": False,
        "shuffle_dataset": False,  # the plan has shuffled
        "num_generations": options.generations,
        "max_completion_length": options.max_new_tokens,
        "temperature": options.temperature,
        "beta": options.beta,
    }
    reward: Any = make_reward(options.reward, options.price, options.budget, options.max_new_tokens)
    trainer = GRPOTrainer(
        model=setup.model,
        reward_funcs=reward,
        args=GRPOConfig(**{**arguments, **grpo_arguments}),
        train_dataset=questions_of(plan),
        processing_class=plan.row_tokenizer.tokenizer,
        peft_config=setup.lora,
        callbacks=setup.callbacks,
    )
    dataset: Any = trainer.train_dataset
    trainer.train_dataset = dataset.select(plan.order)
    return trainer


def questions_of(plan: TrainingPlan) -> Any:
    """Return the prompts as TRL takes them, with what the reward looks at."""
    import datasets

    chats = plan.row_tokenizer.tokenizer.chat_template is not None
    rows = [
        {"prompt": row.prompt if chats else plan.row_tokenizer.prompt(row), "gold": row.gold, "budget": row.tokens}
        for row in plan.source
    ]
    return datasets.Dataset.from_list(rows)
