"""How the tokens of a reply answer to its budget: the picture `ElasticSampler` has of a model, and what it believes.

The picture is coarse on purpose. Every question has an *edge*: from that budget on, replies follow the budget; below it
they grow again (token elasticity, paper section 4). And it has a *need*, the budget below which its answer is wrong.
Lengths are taken as logarithms of their ratio to the answer without a budget, so that questions of all sizes can be
pooled. How closely replies follow, how fast they grow again, where edges and needs lie and how far chance moves all of
this are numbers of a `ElasticityModel`. None is known beforehand: they are fitted to the questions already searched
(`law_fit.py`). Of these, the ones whose answers without a budget were about as long say most about where an edge lies.
`believe` turns the trials of a question into weights over edges and needs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tale_dspy.optimizers.samplers.base import History

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

EDGES = 128
"""Edges among which belief is spread."""
REACH = math.log(200)
"""No edge is thought to lie further below the answer without a budget than this."""
NEEDS = np.log([0.02, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.06, 1.13, 1.2, 1.3, 1.4, 1.6, 2.0, 3.0])
"""Needs that are told apart, each as the logarithm of its ratio to the edge."""
STRAY = 0.03
"""Share of replies that fit no picture."""
ALIKE = 0.1
"""Answers whose lengths differ by less than about this, as logarithms, count as equally long."""
PLAIN_WORTH = 2.0
"""Questions that the edges of all questions count for, next to the edges of those of like length."""
REMEMBERED = 256
"""Sizes whose prior is remembered; each takes 18 kB."""
NEAR = 1e-9  # a budget that is exactly the edge lies above it, however the logarithms are rounded


class Trials(NamedTuple):
    """The trials of some questions, one after the other."""

    budget: Array
    """Logarithms of the ratios to the answer without a budget."""
    length: Array
    """Likewise, of the tokens used; NaN where they are unknown."""
    grain: Array
    """What half a token makes of the length: nothing finer can be told."""
    right: Flags
    """Whether the answers were right."""
    question: NDArray[np.int64]
    """Number of the question each belongs to, from 0."""
    sizes: Array
    """Logarithms of the tokens of the answers without a budget, one for each question."""

    @classmethod
    def of(cls, questions: Sequence[History]) -> "Trials":
        """Lay the trials of some questions out."""
        rows = [(o.budget, o.tokens, q.vanilla_tokens, o.right, i) for i, q in enumerate(questions) for o in q.seen]
        budget, tokens, vanilla, right, question = np.array(rows, dtype=float).reshape(-1, 5).T
        known = np.where((tokens > 0) & (tokens < math.inf), tokens, math.nan)
        length = np.log(known / vanilla)
        sizes = np.log([q.vanilla_tokens for q in questions])
        return cls(np.log(budget / vanilla), length, 0.5 / known, right > 0, question.astype(np.int64), sizes)


def rebound_terms(below: Array, edge: Array) -> Array:
    """Return the terms that make up the growth of replies below the edge, along a new last axis (see `rebound`).

    Args:
        below: How far the budget lies below the edge, from 0 at the edge to 1 at no budget at all.
        edge: The edge.
    """
    b, e = np.broadcast_arrays(below, edge)
    return np.stack([np.ones_like(b), b, b * b, b**3, b * e, b * b * e], axis=-1)


def rebound(weights: Sequence[float], below: Array, edge: Array) -> Array:
    """Return the sum of `rebound_terms` under these weights, without laying the terms out."""
    one, b, bb, bbb, be, bbe = weights
    grown: Array = one + below * (b + be * edge + below * (bb + bbe * edge + below * bbb))
    return grown


def smoothing(spread: float, count: int) -> float:
    """Return the width of a kernel over so many values of such a standard deviation (Silverman's rule)."""
    return 1.06 * spread * math.exp(-0.2 * math.log(count))


@dataclass(frozen=True)
class ElasticityModel:
    """What was learned about a model; without any question behind it, a wide guess."""

    follow: tuple[float, float] = (-0.1, 1.0)
    """Above the edge: length = first + second * budget."""
    follow_spread: float = 0.3
    """Standard deviation of lengths above the edge."""
    rebound: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, -0.9, 0.0)
    """Below the edge: weights of `rebound_terms`, whose sum is length - edge."""
    rebound_spread: float = 0.4
    """Standard deviation of lengths below the edge."""
    edges: Array = field(default_factory=lambda: -REACH * (np.arange(EDGES) + 0.5)[::-1] / EDGES)
    """Edges held possible, rising; over questions of all lengths, each is as likely as the next."""
    sizes: Array = field(default_factory=lambda: np.zeros(0))
    """Of each question learned from, the logarithm of the tokens of its answer without a budget."""
    own_edges: Array = field(default_factory=lambda: np.zeros((0, EDGES)))
    """How many times as likely each edge is for each of these questions as for all of them."""
    needs: Array = field(default_factory=lambda: np.full(len(NEEDS), 1 / len(NEEDS)))
    """Share of questions with each of `NEEDS`."""
    slips: tuple[float, float] = (0.05, 0.05)
    """Chance of a wrong answer at or above the need, and of a right one below it."""

    def lengths(self, budget: Array, edge: Array) -> tuple[Array, Array]:
        """Return mean and spread of the length that a budget leads to under an edge; both broadcast."""
        gap = budget - edge
        grown = rebound(self.rebound, 1 - np.exp(np.minimum(gap, 0)), edge)
        grown = edge + np.minimum(np.maximum(grown, 0.0), 0.05 - edge)
        above = gap >= -NEAR
        mean = np.where(above, self.follow[0] + self.follow[1] * budget, grown)
        return mean, np.where(above, self.follow_spread, self.rebound_spread)

    def edge_weights(self, sizes: Array) -> Array:
        """Return how likely each edge is for questions of these sizes before their first trial, one in all for each."""
        if not len(self.sizes):
            return np.full((len(sizes), len(self.edges)), 1 / len(self.edges))
        near = np.exp(-0.5 * ((sizes[:, None] - self.sizes) / self._alike) ** 2)
        weights = near @ self.own_edges + PLAIN_WORTH
        normed: Array = weights / weights.sum(axis=1, keepdims=True)
        return normed

    def prior(self, sizes: Array) -> Array:
        """Return the logarithm of what is believed of edges and needs before the first trial, as `believe` has it."""
        # One question is thought of again after each of its trials.
        known = self._priors.get(float(sizes[0])) if len(sizes) == 1 else None
        if known is not None:
            return known
        prior: Array = np.log(self.edge_weights(sizes))[..., None] + np.log(self.needs)
        if len(sizes) == 1:
            if len(self._priors) >= REMEMBERED:
                self._priors.clear()
            self._priors[float(sizes[0])] = prior
        return prior

    @cached_property
    def _priors(self) -> dict[float, Array]:
        return {}

    @cached_property
    def _alike(self) -> float:
        """Standard deviation of the kernel over sizes."""
        return max(ALIKE, smoothing(float(np.std(self.sizes)), len(self.sizes)))

    def right(self, enough: Flags) -> Array:
        """Return the chance of a right answer, given whether the budget was as large as needed."""
        return np.where(enough, 1 - self.slips[0], self.slips[1])


def believe(law: ElasticityModel, trials: Trials, questions: int) -> Array:
    """Return the weight of each question's edge and need, one in all for each question.

    Returns:
        Weights by question, edge (of `law.edges`) and need (of `NEEDS`).
    """
    chance = law.prior(trials.sizes)
    if len(trials.budget):
        chance = chance + _told(law, trials, questions)
    weights: Array = np.exp(chance - chance.max(axis=(1, 2), keepdims=True))
    weights /= weights.sum(axis=(1, 2), keepdims=True)
    return weights


def needs_met(gap: Array) -> NDArray[np.int64]:
    """Return how many of `NEEDS`, from the least on, a budget so far above an edge is enough for."""
    return np.searchsorted(NEEDS - NEAR, gap, side="right")


def _told(law: ElasticityModel, trials: Trials, questions: int) -> Array:
    """Return the logarithm of what the trials of each question say to each edge and need, up to a constant."""
    budget, length = trials.budget[:, None], trials.length[:, None]
    mean, spread = law.lengths(budget, law.edges)
    spread = np.hypot(spread, trials.grain[:, None])
    density = np.exp(-0.5 * ((length - mean) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    by_edge = np.log((1 - STRAY) * density + STRAY / 3)
    by_edge[np.isnan(trials.length)] = 0.0
    wrong, lucky = law.slips
    by_edge += np.where(trials.right, math.log(lucky), math.log(1 - lucky))[:, None]
    met = np.where(trials.right, math.log((1 - wrong) / lucky), math.log(wrong / (1 - lucky)))
    # A trial says the same to all needs it meets: it is entered where these end, and summed up from there downwards.
    cell = trials.question[:, None] * len(law.edges) + np.arange(len(law.edges))
    ends = (len(NEEDS) + 1) * cell + needs_met(budget - law.edges)
    entered = np.bincount(ends.ravel(), np.repeat(met, len(law.edges)), questions * len(law.edges) * (len(NEEDS) + 1))
    entered = entered.reshape(questions, len(law.edges), len(NEEDS) + 1)
    entered[..., -1] += np.bincount(cell.ravel(), by_edge.ravel(), questions * len(law.edges)).reshape(questions, -1)
    told: Array = entered[..., :0:-1].cumsum(axis=2)[..., ::-1]
    return told
