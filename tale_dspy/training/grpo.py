"""A third way: reward right answers and charge for each token over the budget (the idea of L1/LCPO, arXiv 2503.04697).

Unlike SFT and DPO it needs no replies, only questions with their right answers and, where known, the tokens that the
best budget took.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from tale_dspy.adapter import TaleAdapter
from tale_dspy.answers import answers_equal
from tale_dspy.training.options import GrpoOptions
from tale_dspy.training.plan import Plan, plan_training
from tale_dspy.training.trainer import Progress, Setup, Trained, run

MOST = 0.9
"""Largest price of a reply, so that a right one is worth more than a wrong one of no tokens."""


def train_grpo(
    base: str, data: Any, out: str | Path, options: GrpoOptions | None = None, *, progress: Progress | None = None
) -> Trained:
    """Train a LoRA adapter on rewards with TRL's GRPOTrainer.

    Killed, the same call goes on at the last checkpoint, with other draws than it would have made.

    Args:
        base: `embedded`, the folder of a model, or its name on the Hugging Face hub.
        data: Rows with `prompt` and `gold`, and `tokens`, the budget of the question; what `tale distill` writes.
        out: Folder of the adapter.
        options: What decides the training.
        progress: Told after each step.

    Raises:
        UsageError: If base, folder or options cannot be used.
        DataError: If a row cannot be trained on, or there are fewer than one step needs.
        BackendError: If disk or memory are full.
        MissingExtraError: If a package is missing.
    """
    return run(plan_training(base, data, out, options or GrpoOptions()), build, progress)


def build(setup: Setup) -> Any:
    """Return TRL's trainer on the rows of the plan."""
    plan, options = setup.plan, setup.plan.options
    assert isinstance(options, GrpoOptions)
    arguments = {k: v for k, v in setup.arguments.items() if k not in ("max_length", "train_sampling_strategy")}
    own = {
        "remove_unused_columns": False,
        "shuffle_dataset": False,  # the plan has shuffled
        "num_generations": options.generations,
        "max_completion_length": options.max_new_tokens,
        "temperature": options.temperature,
        "beta": options.beta,
    }
    trainer = GRPOTrainer(
        model=setup.model,
        reward_funcs=price_of_tokens(options.price, options.budget),
        args=GRPOConfig(**{**arguments, **own}),
        train_dataset=questions_of(plan),
        processing_class=plan.wording.tokenizer,
        peft_config=setup.lora,
        callbacks=setup.callbacks,
    )
    dataset: Any = trainer.train_dataset
    trainer.train_dataset = dataset.select(plan.order)
    return trainer


def questions_of(plan: Plan) -> Any:
    """Return the prompts as TRL takes them, with what the reward looks at."""
    import datasets

    chats = plan.wording.tokenizer.chat_template is not None
    rows = [
        {"prompt": row.prompt if chats else plan.wording.prompt(row), "gold": row.gold, "budget": row.tokens}
        for row in plan.source
    ]
    return datasets.Dataset.from_list(rows)


def price_of_tokens(price: float, default: int | None) -> Any:
    """Return the reward: 1 for a right answer, minus a price for each token over the budget of the question.

    Args:
        price: Of one token; a reply pays `MOST` at most.
        default: Budget of questions that bring none; None charges nothing for them.
    """

    def reward(
        completions: Sequence[Any], completion_ids: Sequence[Any], gold: Any, budget: Any, **kwargs: Any
    ) -> list[float]:
        rewards = []
        for completion, ids, answer, own in zip(completions, completion_ids, gold, budget, strict=True):
            text = completion if isinstance(completion, str) else completion[-1]["content"]
            limit = default if own is None else own
            over = 0 if limit is None else max(0, len(ids) - limit)
            rewards.append(float(_is_right(text, answer)) - min(MOST, price * over))
        return rewards

    return reward


def _is_right(text: str, gold: Any) -> bool:
    """Read an answer as TaleAdapter does, which knows the forms of ChatAdapter, too."""
    value = TaleAdapter().parse(_ANSWER, text).get("answer")
    return value is not None and answers_equal(value, gold)


_make: Any = dspy.Signature
_ANSWER = _make("question -> reasoning, answer")
