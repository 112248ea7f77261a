"""Check everything about a training before a weight is loaded."""

import importlib.util
import logging
import math
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tale_dspy.backends.local import files
from tale_dspy.backends.local.model_path import EMBEDDED, PREFIX, ModelPath, is_local, parse_model_path
from tale_dspy.errors import DataError, MissingExtraError, UsageError, first_line
from tale_dspy.training.folder import AdapterFolder
from tale_dspy.training.options import ALL_LINEAR, GrpoOptions, TrainOptions
from tale_dspy.training.order import order_of
from tale_dspy.training.rows import TrainRow, read_rows, rows_hash
from tale_dspy.training.tokenization import RowTokenizer, TokenRow, load_row_tokenizer

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate")
SPARE = 50_000_000
"""Bytes of disk that must be free beside what is written."""
_KEPT_OF_WIDTH, _KEPT_OF_FEED_FORWARD, _KEPT_OF_VOCABULARY = 16, 4, 4
"""Numbers kept for the backward pass of LoRA per token: in each layer so many times the hidden size (norms, rotation,
attention and its projections) and the width of the feed-forward layer (gate, its activation, up, their product), and at
the end so many times the vocabulary (logits, their copy, their softmax, its gradient)."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of memory a training is estimated to take on one device, at its peak."""

    weights: int
    """The base."""
    adapter: int
    """LoRA weights, their gradients and the two moments of AdamW, in 32 bit."""
    activations: int
    """What one forward pass keeps for the backward pass, for the longest rows."""

    @property
    def total(self) -> int:
        return self.weights + self.adapter + self.activations


@dataclass(frozen=True)
class TrainingPlan:
    """A training that may begin: base, rows and folder are checked."""

    base: str
    """As it was asked for."""
    place: ModelPath
    model: Path
    """The folder of the base."""
    options: TrainOptions
    folder: AdapterFolder
    source: list[TrainRow]
    """The rows that are trained on, as they were read."""
    rows: list[TokenRow]
    """The same in tokens."""
    left_out: int
    """Rows longer than `max_length`."""
    row_tokenizer: RowTokenizer
    shape: "ModelShape"

    @cached_property
    def budgets(self) -> list[int]:
        """Tokens that the prompts of rows distilled with budgets allow, ascending."""
        return sorted({row.budget for row in self.source if row.budget is not None})

    @property
    def batch(self) -> int:
        """Rows of a step."""
        return self.options.batch_size

    @property
    def batch_text(self) -> str:
        """What a step is made of, in words."""
        draws = self.options.draws
        return f"{self.batch} rows" if draws == 1 else f"{self.batch} replies, {draws} to each of {self.per_step} rows"

    @property
    def per_step(self) -> int:
        """Different rows of a step."""
        return self.batch // self.options.draws

    @cached_property
    def order(self) -> list[int]:
        """The rows in the order they are trained on.

        With several draws of a row, rows that do not fill a step are left out.
        """
        options, lengths = self.options, [row.longest for row in self.rows]
        order = order_of(lengths, self.per_step, options.epochs, options.seed, by_length=options.by_length)
        return order if options.draws == 1 else order[: len(order) - len(order) % self.per_step]

    @property
    def steps(self) -> int:
        return math.ceil(len(self.order) / self.per_step)

    @property
    def tokens(self) -> int:
        """Tokens of one epoch, prompts included."""
        return sum(row.tokens for row in self.rows)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        written = self.options.max_new_tokens if isinstance(self.options, GrpoOptions) else 0
        return max(row.longest for row in self.rows) + written

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        return self.options.rate_for(self.shape.width)

    @property
    def memory(self) -> MemoryEstimate:
        """The estimate for one device."""
        shape, options = self.shape, self.options
        on_gpu = _on_gpu()
        width = 2 if on_gpu else 4  # bytes of a number
        weights = shape.parameters // 2 if options.quantize else shape.parameters * width
        sequences = (options.micro_batch or self.batch) * max(1, len(self.rows[0].replies))
        layers = math.sqrt(shape.layers) if options.gradient_checkpointing else shape.layers
        a_layer = _KEPT_OF_WIDTH * shape.width + _KEPT_OF_FEED_FORWARD * shape.feed_forward
        a_token = layers * a_layer + _KEPT_OF_VOCABULARY * shape.vocabulary
        activations = sequences * self.longest * a_token * width
        return MemoryEstimate(weights, shape.trainable * 16, int(activations))


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model, read from its configuration."""

    layers: int
    width: int
    """Hidden size."""
    feed_forward: int
    """Width of the feed-forward layers."""
    vocabulary: int
    window: int | None
    """Tokens it can look at; None if it sets no limit."""
    parameters: int
    trainable: int
    """Numbers of the LoRA matrices."""


def plan_training(base: str, data: object, out: str | Path, options: TrainOptions) -> TrainingPlan:
    """Check a training, and return what is known of it.

    No weight is loaded and nothing is written.

    Args:
        base: `embedded`, the folder of a model, or its name on the Hugging Face hub; `local:` may stand before it.
        data: See `read_rows`.
        out: Folder of the adapter.
        options: `SftOptions`, `DpoOptions` ...

    Raises:
        UsageError: If there is no such base, the folder holds something else, the layers to adapt do not
            exist, or the disk has no room.
        DataError: If a file of the base is broken, or a row cannot be trained on.
        MissingExtraError: If a package is missing.
    """
    rows = read_rows(data, options.strategy)
    require()
    place = _local_folder(base)
    from tale_dspy.backends.local.weights import resolve_folder

    model = resolve_folder(place)
    files.check_model(model)
    shape = _model_shape(model, options)
    row_tokenizer = load_row_tokenizer(model)
    fitting = _tokenize_fitting(rows, row_tokenizer, shape, options)
    source, tokens = [row for row, _ in fitting], [row for _, row in fitting]
    config = {
        "strategy": options.strategy,
        "base": _base_title(base, place, model),
        "base_sha256": files.weights_hash(model),
        "data": {"hash": rows_hash(source), "rows": len(source)},
        **options.to_json(),
        "learning_rate": options.rate_for(shape.width),
    }
    folder = AdapterFolder(Path(out), config)
    folder.check()
    _check_disk(Path(out), shape)
    left_out = len(rows) - len(fitting)
    plan = TrainingPlan(base, place, model, options, folder, source, tokens, left_out, row_tokenizer, shape)
    if not plan.order:
        raise DataError(f"{len(plan.rows)} rows are too few: a step needs {plan.per_step}, see batch_size")
    return plan


def require() -> None:
    """Say which package of the extra `train` is missing.

    Raises:
        MissingExtraError: If one is.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "train")


def _base_title(base: str, place: ModelPath, model: Path) -> str:
    """Return the name of the base in cards; of a folder it is the last part."""
    if base.removeprefix(PREFIX) == EMBEDDED:
        return EMBEDDED
    return place.base if place.folder is None else model.name


def _local_folder(base: str) -> ModelPath:
    place = parse_model_path(base if is_local(base) else PREFIX + base)
    if place.adapter is not None:
        raise UsageError(f"{base} has an adapter already: merge it first, and train the folder that gives")
    return place


def _tokenize_fitting(
    rows: list[TrainRow], row_tokenizer: RowTokenizer, shape: ModelShape, options: TrainOptions
) -> list[tuple[TrainRow, TokenRow]]:
    """Tokenise the rows.

    A row over the model's window is an error; those over `max_length` are left out.
    """
    from tale_dspy.backends.local.weights import quiet_transformers

    fitting, shortened = [], 0
    with quiet_transformers():  # a tokenizer warns of long rows; we refuse them
        for row in rows:
            tokens = row_tokenizer.row(row)
            if shape.window is not None and tokens.longest > shape.window:
                raise DataError(
                    f"{row.where} has {tokens.longest} tokens ({len(tokens.prompt)} of them the prompt), but the model "
                    f"can look at {shape.window}: leave such rows out with max_length (--max-length)"
                )
            if len(tokens.replies) == 2 and tokens.replies[0] == tokens.replies[1]:
                raise DataError(
                    f"{row.where}: chosen and rejected are the same tokens once the model's chat template has rendered "
                    "them (templates of thinking models remove <think> blocks): nothing can be preferred"
                )
            if options.max_length is None or tokens.longest <= options.max_length:
                fitting.append((row, tokens))
                shortened += not row_tokenizer.keeps_replies(row)
    if not fitting:
        raise DataError(f"all {len(rows)} rows have more than max_length ({options.max_length}) tokens")
    if shortened:
        logger.warning(
            "the model's chat template leaves out a part of the replies of %d of %d rows (such as their <think> "
            "blocks): that part is not trained on",
            shortened,
            len(fitting),
        )
    return fitting


def _model_shape(model: Path, options: TrainOptions) -> ModelShape:
    """Build the model without weights, and count."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from tale_dspy.backends.local.weights import quiet_transformers

    try:
        with quiet_transformers(), torch.device("meta"):
            config = AutoConfig.from_pretrained(str(model), local_files_only=True, trust_remote_code=False)
            empty: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as e:  # the boundary to transformers: a configuration can be wrong in many ways
        raise DataError(f"{model} cannot be built as a causal language model: {first_line(e)}") from e
    parameters = sum(p.numel() for p in empty.parameters())
    embedding, output = empty.get_input_embeddings(), empty.get_output_embeddings()
    if config.tie_word_embeddings and output is not None and output.weight is not embedding.weight:
        parameters -= output.weight.numel()  # without weights they are two, with weights one
    _check_targets(empty, options.targets, model.name)
    try:
        with quiet_transformers(), torch.device("meta"):
            adapted = get_peft_model(empty, lora_of(options))
    except ValueError as e:  # no layer of that name
        raise UsageError(
            f"targets {', '.join(options.targets)} cannot be adapted in {model.name}: {first_line(e)}"
        ) from e
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    text = config.get_text_config(decoder=True)
    window = getattr(text, "max_position_embeddings", None)
    feed_forward = getattr(text, "intermediate_size", None) or 4 * text.hidden_size  # GPT-2 names none
    return ModelShape(
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        feed_forward=feed_forward if isinstance(feed_forward, int) else max(feed_forward),
        vocabulary=text.vocab_size,
        window=window,
        parameters=parameters,
        trainable=trainable,
    )


def _check_targets(model: Any, targets: tuple[str, ...], name: str) -> None:
    """Refuse targets that are embeddings or name no layer.

    peft and TRL accept or ignore those silently.
    """
    if targets == ALL_LINEAR:
        return
    embeddings = {id(m) for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None}
    layers = {layer: id(module) for layer, module in model.named_modules()}
    for target in targets:
        matches = [module for layer, module in layers.items() if layer == target or layer.endswith(f".{target}")]
        if not matches:
            raise UsageError(f"targets: {name} has no layer named {target}")
        if embeddings & set(matches):
            raise UsageError(
                f"targets: {target} is an embedding of {name}; LoRA here adapts the linear layers between the "
                "embeddings: name some of them, or all-linear"
            )


def lora_of(options: TrainOptions) -> Any:
    """Return peft's configuration of the adapter."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules="all-linear" if options.targets == ALL_LINEAR else list(options.targets),
    )


def _check_disk(out: Path, shape: ModelShape) -> None:
    """Check that the disk holds the checkpoints and the adapter.

    There are at most three checkpoints, each with weights and two moments.
    """
    needed = shape.trainable * 4 * (3 * 3 + 1) + SPARE
    parent = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise UsageError(f"{parent} has {free / 1e6:.0f} MB free, but the training needs {needed / 1e6:.0f} MB there")


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
