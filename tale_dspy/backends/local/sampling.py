"""Choose the next token of each row, the likeliest or a random one.

Each token takes one random number of the row's generator, so that a reply depends on its row alone, whoever else is in
the batch. It is inverse transform sampling: with u uniform in [0, 1), the first token whose cumulated probability
exceeds u.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


_COLDEST = 1e-4
"""Below, logits divided by it could overflow, and nothing but the likeliest token is ever drawn."""


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are drawn.

    The defaults take the likeliest, whatever the model's own generation_config says.
    """

    temperature: float = 0.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Only the likeliest tokens that make up this probability."""
    top_k: int = 0
    """Only this many of the likeliest tokens; 0 for all."""

    @property
    def greedy(self) -> bool:
        """Whether there is nothing to draw."""
        return self.temperature < _COLDEST or self.top_k == 1


def choose_tokens(logits: "torch.Tensor", rows: Sequence[tuple[SamplingParams, random.Random]]) -> list[int | None]:
    """Choose the next token of each row.

    Args:
        logits: (rows, vocabulary).
        rows: Settings and generator of each row.

    Returns:
        None for a row whose logits are not finite, so that nothing can be chosen from them.
    """
    best = logits.max(-1)  # NaN, where there is one
    tokens: list[int | None] = best.indices.tolist()
    sampled = [i for i, (sampling, _) in enumerate(rows) if not sampling.greedy]
    if sampled:
        some = logits if len(sampled) == len(rows) else logits[sampled]
        for i, token in zip(sampled, _draw_tokens(some, [rows[i] for i in sampled]), strict=True):
            tokens[i] = token
    return [t if math.isfinite(value) else None for t, value in zip(tokens, best.values.tolist(), strict=True)]


def _draw_tokens(logits: "torch.Tensor", rows: Sequence[tuple[SamplingParams, random.Random]]) -> list[int]:
    import torch

    settings = [sampling for sampling, _ in rows]
    heat = torch.tensor([[s.temperature] for s in settings], device=logits.device)
    # P(token) = softmax(logits / temperature), (rows, vocabulary).
    scaled = logits.float() / heat
    if any(s.top_k for s in settings):
        scaled = _top_k(scaled, [s.top_k for s in settings])
    odds = torch.softmax(scaled, -1)
    if any(s.top_p < 1 for s in settings):
        odds = _top_p(odds, [s.top_p for s in settings])
    # In double precision: the sum of a large vocabulary must not drown its tail.
    summed = odds.double().cumsum(-1)
    whole = summed[:, -1:]
    # u * sum instead of u: what top_k and top_p left out makes the sum less than 1, and need not be divided by.
    picks = torch.tensor([[rng.random()] for _, rng in rows], dtype=torch.float64, device=logits.device)
    tokens = torch.searchsorted(summed, picks * whole, right=True)
    return [int(i) for i in tokens.squeeze(1).clamp_(max=logits.shape[1] - 1)]


def _top_k(scaled: "torch.Tensor", counts: list[int]) -> "torch.Tensor":
    import torch

    size = scaled.shape[1]
    ordered = scaled.sort(-1, descending=True).values
    # The k-th largest of each row is the least that stays; ties with it stay, too.
    last = torch.tensor([[min(k or size, size) - 1] for k in counts], device=scaled.device)
    return scaled.masked_fill(scaled < ordered.gather(1, last), float("-inf"))


def _top_p(odds: "torch.Tensor", shares: list[float]) -> "torch.Tensor":
    import torch

    ordered, order = odds.sort(stable=True, dim=-1, descending=True)
    # Probability of all likelier tokens: one is left out if these alone make up top_p (nucleus, arXiv 1904.09751).
    before = ordered.cumsum(-1) - ordered
    # A rounded sum reaches 1 before the last token: who asks for all of them gets all, whatever the others ask for.
    share = torch.tensor([[p if p < 1 else math.inf] for p in shares], device=odds.device)
    left_out = before >= share
    left_out[:, 0] = False  # a top_p of 0 leaves the likeliest
    return odds.masked_fill(torch.zeros_like(left_out).scatter(1, order, left_out), 0.0)
