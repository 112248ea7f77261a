"""What all strategies share: model, trainer, checkpoints and adapter."""

import contextlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from tale_dspy.backends.local.weights import load_model, quiet_transformers
from tale_dspy.errors import BackendError, MissingExtraError, UsageError, first_line
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.training.card import write_cards
from tale_dspy.training.folder import AdapterFolder
from tale_dspy.training.plan import TrainingPlan, lora_of


@dataclass(frozen=True)
class TrainingStep:
    """How far a training is."""

    step: int
    steps: int
    loss: float | None
    """Of the last step; None before the first."""
    tokens_per_s: float | None
    """Tokens of the batches, prompts included and padding not, per second of this process."""


Progress = Callable[[TrainingStep], None]


@dataclass(frozen=True)
class TrainedAdapter:
    """An adapter that is there."""

    path: Path
    """Its folder."""
    base: str
    """The model it belongs on, as it was asked for."""
    card: JsonObject
    """The content of `tale_adapter.json`."""

    @property
    def model(self) -> str:
        """What `tale_dspy.LM` takes."""
        return f"local:{self.base.removeprefix('local:')}+{self.path}"


@dataclass(frozen=True)
class TrainerSetup:
    """What a strategy builds its trainer from."""

    plan: TrainingPlan
    model: Any
    """The base, in the precision it is trained in."""
    lora: Any
    """peft's configuration."""
    arguments: CallArguments
    """What every TRL configuration takes."""
    callbacks: list[Any]


def run_training(
    plan: TrainingPlan, build: Callable[[TrainerSetup], Any], progress: Progress | None = None
) -> TrainedAdapter:
    """Train, or go on training, and save the adapter with its cards.

    A training that is finished is not repeated. Under `accelerate launch` every process calls this; the first one
    writes.

    Args:
        plan: The training.
        build: Gives TRL's trainer, its rows in the order of the plan's source.
        progress: Called before the first step and after each.

    Raises:
        UsageError: If the folder is in use, or QLoRA is asked for without a GPU.
        BackendError: If the disk is full or the GPU's memory is.
        MissingExtraError: If QLoRA is asked for without bitsandbytes.
    """
    folder = plan.folder
    with folder.opened() if is_first() else contextlib.nullcontext(), _silence_libraries():
        if folder.finished:
            return TrainedAdapter(folder.path, plan.base, folder.card)
        checkpoint = folder.last_checkpoint()
        watch = _ProgressCallback(plan, folder, progress, folder.seconds_up_to(checkpoint))
        try:
            trainer = build(setup_of(plan, [watch]))
            trainer.remove_callback(PrinterCallback)
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            seconds = watch.seconds
        except torch.OutOfMemoryError as e:
            raise BackendError(f"the GPU's memory is full: give a smaller --micro-batch ({first_line(e)})") from e
        except OSError as e:
            raise BackendError(f"{folder.path} cannot be written: {e.strerror or e}; checkpoints are kept") from e
        card = _save_adapter(plan, trainer, watch, seconds) if trainer.is_world_process_zero() else {}
        trainer.accelerator.wait_for_everyone()
        return TrainedAdapter(folder.path, plan.base, card)


def setup_of(plan: TrainingPlan, callbacks: list[object]) -> TrainerSetup:
    """Load the base and say what TRL needs to know.

    Raises:
        UsageError: If the batch does not divide among the processes, or QLoRA is asked for without a GPU.
        DataError: If the weights cannot be loaded.
        MissingExtraError: If QLoRA is asked for without bitsandbytes.
    """
    options, on_gpu = plan.options, torch.cuda.is_available()
    bf16 = on_gpu and torch.cuda.is_bf16_supported()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if plan.batch % world:
        raise UsageError(f"batch_size {plan.batch} must be a multiple of the {world} processes")
    micro = min(options.micro_batch or plan.batch, plan.batch // world)
    every = options.checkpoint_every
    arguments = {
        "output_dir": str(plan.folder.checkpoints),
        "num_train_epochs": 1,  # the order holds all of them
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": plan.batch // world // micro,
        "train_sampling_strategy": "sequential",
        "learning_rate": plan.rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, round(options.warmup * plan.steps)) if options.warmup else 0,
        "weight_decay": options.weight_decay,
        "max_grad_norm": options.max_grad_norm,
        "seed": options.seed,
        "bf16": bf16,
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "activation_checkpointing": options.gradient_checkpointing,
        "max_length": None,  # nothing is cut: the plan has refused or left out what is too long
        "logging_steps": 1 if plan.steps <= 2000 else 10,
        "save_strategy": "steps" if every else "no",
        "save_steps": every or 1,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": True,
    }
    model = (
        _load_quantized(plan) if options.quantize else load_model(plan.model, "cpu", "bfloat16" if bf16 else "float32")
    )
    return TrainerSetup(plan, model, lora_of(options), arguments, callbacks)


def _load_quantized(plan: TrainingPlan) -> Any:
    """Load the base in 4 bit (QLoRA, arXiv 2305.14314)."""
    from importlib.util import find_spec

    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "qlora")
    if not torch.cuda.is_available():
        raise UsageError("quantize=4bit needs a GPU, and there is none: train without it")
    kinds = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    load: Any = AutoModelForCausalLM.from_pretrained
    return load(
        str(plan.model),
        quantization_config=BitsAndBytesConfig(**kinds, bnb_4bit_compute_dtype=torch.bfloat16),
        device_map={"": int(os.environ.get("LOCAL_RANK", "0"))},
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )


class _ProgressCallback(TrainerCallback):
    """Tells how far a training is, and seals its checkpoints."""

    def __init__(
        self, plan: TrainingPlan, folder: AdapterFolder, progress: Progress | None, seconds_before: float
    ) -> None:
        self._plan, self._folder, self._progress = plan, folder, progress
        self._seconds_before = seconds_before
        self._started, self._begin = 0.0, 0
        self._loss: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started, self._begin = time.perf_counter(), state.global_step
        self._report_step(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self._loss = float(logs["loss"])
            self._report_step(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._folder.seal(state.global_step, self.seconds)

    @property
    def seconds(self) -> float:
        """Seconds of the steps so far.

        Those before the checkpoint that this process began with are included.
        """
        return self._seconds_before + time.perf_counter() - self._started

    def tokens(self, step: int, first: int = 0) -> int | None:
        """Return tokens of the batches from `first` up to a step.

        It is None if nobody counts what the model writes.
        """
        plan = self._plan
        if plan.options.draws > 1:
            return None
        return sum(plan.rows[row].tokens for row in plan.order[first * plan.batch : step * plan.batch])

    def _speed(self, step: int) -> float | None:
        """Return tokens per second of this process."""
        tokens, seconds = self.tokens(step, self._begin), time.perf_counter() - self._started
        return tokens / seconds if tokens and seconds else None

    def _report_step(self, step: int) -> None:
        if self._progress and is_first():
            self._progress(TrainingStep(step, self._plan.steps, self._loss, self._speed(step)))


def _save_adapter(plan: TrainingPlan, trainer: Any, watch: _ProgressCallback, seconds: float) -> JsonObject:
    folder = plan.folder
    tokens = watch.tokens(trainer.state.global_step)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder.path, save_embedding_layers=False)
    plan.row_tokenizer.tokenizer.save_pretrained(folder.path)  # `transformers serve` looks for it here
    (folder.path / "adapter_model.safetensors").chmod(0o644)  # safetensors makes it readable for its owner alone
    _name_base(plan, folder.path / "adapter_config.json")
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    last = losses[-max(1, len(losses) // 20) :]
    results = {
        "steps": trainer.state.global_step,
        "loss": sum(last) / len(last),
        "losses": [round(loss, 5) for loss in losses],
        "seconds": round(seconds, 2),
        "tokens_per_s": round(tokens / seconds, 1) if tokens and seconds else None,
        "trainable": plan.shape.trainable,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }
    card = write_cards(plan, results | reward_results(trainer.state.log_history))
    folder.tidy()
    return card


def reward_results(history: Sequence[Mapping[str, float]]) -> JsonObject:
    """Return the rewards of a training, and nothing without any.

    Its loss says little: the advantages of a group sum up to 0.

    Args:
        history: TRL's log, a mapping for each step that was logged.

    Returns:
        `rewards` and `reply_tokens` (means of each step), `reward` (mean of the last twentieth of the steps), and
        `same_reward`, the share of the questions whose replies all had the same reward: nothing is learned from them.
    """
    steps = [row for row in history if "reward" in row]
    if not steps:
        return {}
    last = steps[-max(1, len(steps) // 20) :]
    return {
        "reward": sum(row["reward"] for row in last) / len(last),
        "rewards": [round(row["reward"], 4) for row in steps],
        "reply_tokens": [round(row["completions/mean_length"], 1) for row in steps],
        "same_reward": round(sum(row["frac_reward_zero_std"] for row in steps) / len(steps), 4),
    }


def _name_base(plan: TrainingPlan, path: Path) -> None:
    """Name the base in peft's configuration so that others find it.

    It has its name on the hub, else its folder.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = plan.place.base if plan.place.folder is None else str(plan.model.resolve())
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def is_first() -> bool:
    """Return whether this is the process of `accelerate launch` that writes."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def _silence_libraries() -> Iterator[None]:
    """Hide bars, tables and warnings of the libraries.

    This package shows its own progress.
    """
    import datasets

    shown, before = datasets.are_progress_bars_disabled(), os.environ.get("TQDM_DISABLE")
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if not shown:
            datasets.enable_progress_bars()
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before
