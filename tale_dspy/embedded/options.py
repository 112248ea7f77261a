"""What decides the embedded model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BuildOptions:
    """The course and the model. The defaults are those of the model that ships."""

    steps: int = 22_000
    """Batches of the course."""
    finish: int = 10_000
    """Batches after it: half of them long stories in few tokens, which are learned last of all."""
    batch_tokens: int = 1_800
    """Tokens of a batch, padding included: many small batches learn faster than few large ones."""
    learning_rate: float = 2e-3
    """At its peak, after `warmup` batches; from there it falls as a cosine to a twentieth."""
    finish_rate: float = 8e-4
    """At the first batch of the finish; from there it falls to nothing in a straight line."""
    warmup: int = 300
    """Batches."""
    weight_decay: float = 0.05
    seed: int = 0
    """Decides the first weights and all lessons."""
    layers: int = 4
    width: int = 128
    heads: int = 4
    kv_heads: int = 2
    """Keys and values are read anew for each token that is written: half of them make many rows faster by a third."""
    inner: int = 464
    """Width between the two halves of a layer's MLP."""
    pool: int = 512
    """Lessons drawn at a time and batched by length."""
