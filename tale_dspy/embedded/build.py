"""Train the embedded reasoner from nothing.

The command is `python -m tale_dspy.embedded.build --out DIR`.

It takes a course of lessons (`lessons.py`, `course.py`), a small Llama and AdamW. After a kill it continues from its
last checkpoint. The same options give the same lessons; the weights agree as far as the machine's arithmetic does.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from tale_dspy.embedded.course import IGNORED, Course
from tale_dspy.embedded.options import BuildOptions
from tale_dspy.embedded.publish import publish
from tale_dspy.embedded.tokenizer import END, PAD, VOCABULARY, WINDOW, train_tokenizer
from tale_dspy.errors import UsageError

CHECKPOINT = "checkpoint.pt"
CHECKPOINT_EVERY = 500

Progress = Callable[[int, float], None]
"""Called after each step with how many are done, and the loss."""


def build(out: Path, options: BuildOptions | None = None, progress: Progress | None = None) -> None:
    """Train the model, or go on training it, and save it with its card.

    It trains on a GPU where there is one, else on the CPU with as many threads as PyTorch takes.

    Args:
        out: Folder of the model; until the end a checkpoint lies there.
        options: What decides the model.
        progress: Called after each step.

    Raises:
        UsageError: If the folder holds a checkpoint of other options.
    """
    options = options or BuildOptions()
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = new_model(options, tokenizer).to(device)
    course = Course(options, tokenizer)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=options.weight_decay, fused=True
    )
    step = resume_checkpoint(out / CHECKPOINT, options, model, optimizer, course)
    batches = course.batches(step)
    while step < options.steps + options.finish:
        tokens, labels = (tensor.to(device) for tensor in next(batches))
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, options)
        loss = loss_of(model, tokens, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if progress:
            progress(step, float(loss.detach()))
        if step % CHECKPOINT_EVERY == 0:
            save_checkpoint(out / CHECKPOINT, step, options, model, optimizer, course)
    publish(out, model, tokenizer, options)
    (out / CHECKPOINT).unlink(missing_ok=True)


def new_model(options: BuildOptions, tokenizer: Any) -> Any:
    """Return a `LlamaForCausalLM` with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(options.seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=options.width,
        intermediate_size=options.inner,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.kv_heads,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    return LlamaForCausalLM(config)


def loss_of(model: Any, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean loss over the tokens of the replies.

    Each token is weighted by one over the root of its reply's length. Without the weights the five tokens of a direct
    answer drown in the hundreds of a long form, most of which are learned soon. No logits are made for the tokens of
    prompts.

    Args:
        model: A Llama.
        tokens: (rows, length), padded on the right.
        labels: The same, `IGNORED` outside the replies.
    """
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    taught = wanted != IGNORED
    losses = torch.nn.functional.cross_entropy(model.lm_head(hidden[taught]), wanted[taught], reduction="none")
    weights = taught.sum(1, keepdim=True).clamp(min=1).rsqrt().expand_as(taught)[taught]
    return (losses * weights).sum() / weights.sum()


def rate_at(step: int, options: BuildOptions) -> float:
    """Return the learning rate of a step."""
    if step >= options.steps:
        return options.finish_rate * (1 - (step - options.steps) / options.finish)
    if step < options.warmup:
        return options.learning_rate * (step + 1) / options.warmup
    share = (step - options.warmup) / max(1, options.steps - options.warmup)
    return options.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def save_checkpoint(path: Path, step: int, options: BuildOptions, model: Any, optimizer: Any, course: Course) -> None:
    """Write a checkpoint, whole or not at all."""
    state = {
        "step": step,
        "options": json.dumps(asdict(options)),
        "position": course.position,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def resume_checkpoint(path: Path, options: BuildOptions, model: Any, optimizer: Any, course: Course) -> int:
    """Load a checkpoint and return how many steps were made before it.

    It returns 0 where there is none.

    Raises:
        UsageError: If it is of other options.
    """
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["options"] != json.dumps(asdict(options)):
        raise UsageError(f"{path} is of other options, {state['options']}: take another folder or remove it")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    course.position = state["position"]
    return int(state["step"])


def main(
    out: Annotated[Path, typer.Option(help="Folder of the model; the same command continues a build that was killed.")],
    steps: Annotated[int, typer.Option(min=1, help="Batches of the course.")] = BuildOptions.steps,
    finish: Annotated[int, typer.Option(min=0, help="Batches after it, of long stories.")] = BuildOptions.finish,
    seed: Annotated[int, typer.Option(help="Decides the first weights and all lessons.")] = BuildOptions.seed,
) -> None:
    """Train the embedded reasoner from nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("", total=steps + finish, loss="–")
        recent: list[float] = []

        def show_progress(step: int, loss: float) -> None:
            recent.append(loss)
            del recent[:-100]
            bar.update(task, completed=step, loss=f"{sum(recent) / len(recent):.3f}")

        build(out, BuildOptions(steps=steps, finish=finish, seed=seed), show_progress)


if __name__ == "__main__":
    typer.run(main)
