"""Options that decide a training.

They are frozen, checked when made, and written into the card of the adapter.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import ClassVar, Literal, Self

from tale_dspy.errors import UsageError
from tale_dspy.protocols import JsonObject

Strategy = Literal["sft", "dpo", "grpo"]

PAPER_TARGETS = ("q_proj", "v_proj")
ALL_LINEAR = ("all-linear",)
"""peft's name for every linear layer but the output embedding."""

LOSSES = (
    *("sigmoid", "sigmoid_norm", "sft", "hinge", "ipo", "apo_zero", "apo_down", "robust", "nca_pair", "bco_pair"),
    *("sppo_hard", "aot", "aot_unpaired", "discopop"),
)
"""The losses of TRL's DPOTrainer; `sigmoid_norm` is DPO over the mean of the tokens, `sft` a likelihood term."""

REWARDS = ("linear", "scaled", "cosine", "alp")
"""Rewards of GRPO, by name."""

_ABOVE_ZERO = ("epochs", "batch_size", "micro_batch", "rank", "alpha", "max_grad_norm")
_MOST = {
    "epochs": 1_000,
    "batch_size": 1_000_000,
    "micro_batch": 1_000_000,
    "rank": 65_536,
    "alpha": 1_000_000,
    "seed": 2**32 - 1,
}
"""Beyond it there is no seed of NumPy's, and no adapter that anybody trains."""
_WHOLE = ("batch_size", "micro_batch", "rank", "checkpoint_every", "seed", "max_length")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What all strategies share. LoRA, AdamW, a cosine after a linear warm-up.

    Raises:
        UsageError: If a value is out of its range.
    """

    strategy: ClassVar[Strategy]

    @property
    def draws(self) -> int:
        """Sequences that one row is trained on in a step."""
        return 1

    epochs: float = 3.0
    """Passes over the rows."""
    batch_size: int = 16
    """Rows of one step, over all devices."""
    micro_batch: int | None = None
    """Rows of one forward pass on one device; None takes the whole batch, its share with several devices."""
    learning_rate: float | None = None
    """At its peak. None goes by the width of the model (`rate_for`)."""
    weight_decay: float = 0.01
    warmup: float = 0.05
    """Share of the steps in which the rate rises."""
    max_grad_norm: float = 1.0
    rank: int = 16
    """Of the LoRA matrices."""
    alpha: int = 32
    """LoRA's scale is alpha over rank."""
    dropout: float = 0.0
    """Of the LoRA layers."""
    targets: tuple[str, ...] = ALL_LINEAR
    """Names of the layers that are adapted; `all-linear` for all but the output embedding."""
    max_length: int | None = None
    """Rows with more tokens are left out, and counted. None takes the context window, beyond which a row is refused."""
    by_length: bool = True
    """Whether rows of like length share a batch, so that little is padded."""
    quantize: Literal["4bit"] | None = None
    """`4bit` keeps the base in NF4 (QLoRA); needs a GPU and bitsandbytes."""
    gradient_checkpointing: bool = False
    """Whether activations are computed twice to save memory."""
    checkpoint_every: int = 50
    """Steps between checkpoints that a killed training goes on from; 0 for none."""
    seed: int = 0
    """Decides the first weights of the adapter and the order of the rows."""

    def __post_init__(self) -> None:
        for name in _ABOVE_ZERO:
            value = getattr(self, name, None)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} must be a number above 0, got {value!r}")
        for name in _WHOLE:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise UsageError(f"{name} must be a whole number of at least 0, got {value!r}")
        for name, most in _MOST.items():
            value = getattr(self, name)
            if value is not None and value > most:
                raise UsageError(f"{name} must be at most {most:,}, got {value!r}")
        for name in ("warmup", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 0 and below 1, got {getattr(self, name)!r}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise UsageError(f"learning_rate must be a number above 0, got {self.learning_rate!r}")
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise UsageError(f"batch_size {self.batch_size} must be a multiple of micro_batch {self.micro_batch}")
        if not isinstance(self.targets, tuple) or not self.targets:
            raise UsageError(f"targets must be a tuple of names of layers, got {self.targets!r}")
        if self.quantize not in (None, "4bit"):
            raise UsageError(f"quantize must be 4bit or None, got {self.quantize!r}")

    def rate_for(self, width: int) -> float:
        """Return the peak learning rate for a model of that width (hidden size).

        Unless one is set: 2e-4 at a width of 4096, as is usual for LoRA, and higher for smaller models: 1e-3 at 128,
        which was measured on the embedded model. In between it is interpolated, and nothing was measured.
        """
        return self.learning_rate or 2e-4 * min(5.0, max(1.0, 4096 / width) ** 0.465)

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def paper(cls) -> Self:
        """Return the paper's settings.

        They are those of appendix A.3, and of the authors' code where the paper is silent.
        """
        return cls(**_PAPER[cls.strategy])


@dataclass(frozen=True, kw_only=True)
class SftOptions(TrainOptions):
    """Fine-tuning on the short replies."""

    strategy: ClassVar[Strategy] = "sft"

    epochs: float = 4.0


@dataclass(frozen=True, kw_only=True)
class DpoOptions(TrainOptions):
    """Preference of the short reply over the vanilla one.

    DPO alone does not shorten, or collapses: it only widens the gap between two likelihoods, and both may fall. The
    default adds the likelihood of the short reply, which measurably shortens, and compares means over the tokens: with
    sums the long reply outweighs the short one. (On an earlier build of the embedded model one epoch cost 2.1 points
    with sums at a rate of 5e-4, and 0.8 with means at 1e-3, of other questions; on the one that ships 1.6 with means.)
    """

    strategy: ClassVar[Strategy] = "dpo"

    epochs: float = 2.0
    loss: tuple[str, ...] = ("sigmoid_norm", "sft")
    """Losses that are added up, of `LOSSES`."""
    loss_weights: tuple[float, ...] | None = None
    """One for each loss; None for 1."""
    beta: float | None = None
    """How much it costs to leave the base; the higher the less is left. None takes 1 with `sigmoid_norm`, else 0.1."""
    ld_alpha: float | None = None
    """Weight of the tokens of the longer reply beyond the length of the shorter (LD-DPO, arXiv 2409.06411), from 0 to
    1; None weighs all alike."""
    reference_first: bool = True
    """Whether the likelihoods under the base are computed once, before the first step, and not in each epoch anew."""

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [loss for loss in self.loss if loss not in LOSSES]
        if unknown or not self.loss:
            raise UsageError(f"loss must be of {', '.join(LOSSES)}, got {unknown[0] if unknown else 'none'}")
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss):
            raise UsageError(f"loss_weights must be one for each of {', '.join(self.loss)}, got {self.loss_weights}")
        if self.beta is not None and not 0 < self.beta < math.inf:
            raise UsageError(f"beta must be a number above 0, got {self.beta!r}")
        if self.ld_alpha is not None and not 0 <= self.ld_alpha <= 1:
            raise UsageError(f"ld_alpha must be from 0 to 1, got {self.ld_alpha!r}")

    @property
    def beta_taken(self) -> float:
        """The `beta` that is trained with."""
        return self.beta or (1.0 if "sigmoid_norm" in self.loss else 0.1)


@dataclass(frozen=True, kw_only=True)
class GrpoOptions(TrainOptions):
    """Rewards: right answers, less a charge for length.

    Training is slow, because every step writes replies.
    """

    strategy: ClassVar[Strategy] = "grpo"

    @property
    def draws(self) -> int:
        return self.generations

    epochs: float = 1.0
    batch_size: int = 64
    """Replies of one step, over all devices: `generations` of each of some questions."""
    generations: int = 8
    """Replies drawn for a question, whose rewards are compared with each other."""
    reward: str = "linear"
    """How length is charged for, one of `REWARDS` (see `tale_dspy.training.rewards`)."""
    price: float = 0.005
    """Subtracted from the reward for each token over the budget; 1 is what a right answer gives."""
    budget: int | None = None
    """Tokens that are free, for rows that bring no `tokens` of their own."""
    max_new_tokens: int = 256
    """Most tokens of a reply."""
    temperature: float = 1.0
    """Of the replies that are drawn."""
    beta: float = 0.0
    """How much it costs to leave the base."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reward not in REWARDS:
            raise UsageError(f"reward must be one of {', '.join(REWARDS)}, got {self.reward!r}")
        for name, least in (("generations", 2), ("max_new_tokens", 1), ("budget", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if self.batch_size % self.generations:
            raise UsageError(f"batch_size {self.batch_size} must be a multiple of generations {self.generations}")
        for name in ("price", "beta"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be at least 0, got {getattr(self, name)!r}")
        if not 0 < self.temperature < math.inf:  # at 0 all replies to a question are the same
            raise UsageError(f"temperature must be a number above 0, got {self.temperature!r}")


_LORA = {"rank": 8, "alpha": 32, "targets": PAPER_TARGETS, "batch_size": 16}
_PAPER: dict[Strategy, JsonObject] = {
    "sft": {**_LORA, "epochs": 3.0, "learning_rate": 1e-4, "weight_decay": 0.01},
    "dpo": {
        **_LORA,
        "epochs": 2.0,
        "learning_rate": 3e-5,
        "weight_decay": 0.001,
        "loss": ("sigmoid",),
        "beta": 0.5,
        "max_grad_norm": 5.0,
    },
    "grpo": {},
}

OPTIONS: dict[str, type[TrainOptions]] = {"sft": SftOptions, "dpo": DpoOptions, "grpo": GrpoOptions}


def options_from(strategy: str, preset: str | None, **values: object) -> TrainOptions:
    """Build the options of a strategy; what is None is left at its default.

    Args:
        strategy: A key of `OPTIONS`.
        preset: `paper` or None.
        **values: Fields of the options.

    Raises:
        UsageError: If there is no such strategy or preset, or the strategy has no such option.
    """
    if strategy not in OPTIONS:
        raise UsageError(f"the strategy must be one of {', '.join(OPTIONS)}, got {strategy!r}")
    if preset not in (None, "paper"):
        raise UsageError(f"preset must be paper, got {preset!r}")
    kind = OPTIONS[strategy]
    known = {f.name for f in fields(kind)}
    options = {name: value for name, value in values.items() if value is not None}
    strange = sorted(options.keys() - known)
    if strange:
        owners = [name for name, other in OPTIONS.items() if strange[0] in {f.name for f in fields(other)}]
        raise UsageError(
            f"{strategy} has no option {strange[0]}" + (f": it is of {', '.join(owners)}" if owners else "")
        )
    if preset is not None and not _PAPER[kind.strategy]:
        raise UsageError(f"the paper has no {strategy}")
    start = kind() if preset is None else kind.paper()
    return kind(**{**{f.name: getattr(start, f.name) for f in fields(kind)}, **options})
