"""How the tokens of a reply answer to its budget: the picture `ElasticSampler` has of a model, and what it believes.

The picture is deliberately coarse. Every question has an *edge*: from that budget on replies follow the budget down,
below it they grow again (token elasticity, paper section 4), and a *threshold* below which the answer is wrong. All
lengths are taken relative to the answer without a budget, as logarithms, so that questions of all sizes can be pooled.
How closely replies follow, how fast they rebound, where edges and thresholds lie and how far chance moves all of this
are numbers of a `Law`, fitted to the questions already searched (`fitting.py`); none is known beforehand. `believe`
turns one question's trials into weights over edges and thresholds.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tale_dspy.optimizers.samplers.base import History, Observation

Array = NDArray[np.float64]

ATOMS = 192
"""Edges among which belief is spread."""
THRESHOLDS = np.log([0.02, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.06, 1.13, 1.2, 1.3, 1.4, 1.6, 2.0, 3.0])
"""Thresholds that are told apart, as logarithms of their share of the edge."""
REACH = math.log(200)
"""No edge is thought to lie further below the answer without a budget than this, as a logarithm."""
BOTTOM = 1
"""The budget that leaves no room for reasoning: what comes of it says nothing about the edge."""
STRAY = 0.03
"""Share of replies that fit no picture."""


def rebound_terms(below: Array, edge: Array) -> Array:
    """Return the terms of which a rebound is made up, along a new last axis.

    Args:
        below: How far the budget lies below the edge, from 0 at the edge to 1 at no budget.
        edge: Logarithm of the edge over the vanilla length.
    """
    b, e = np.broadcast_arrays(below, edge)
    return np.stack([np.ones_like(b), b, b * b, b**3, b * e, b * b * e], axis=-1)


@dataclass(frozen=True)
class Law:
    """What was learned about a model; without any question behind it, a wide guess.

    All numbers are natural logarithms relative to the answer without a budget, if nothing else is said.
    """

    follow: tuple[float, float] = (-0.1, 1.0)
    """Above the edge: length = first + second * budget."""
    follow_spread: float = 0.3
    """Standard deviation of lengths above the edge."""
    rebound: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, -0.9, 0.0)
    """Below the edge: weights of `rebound_terms`, whose sum is length - edge."""
    rebound_spread: float = 0.4
    """Standard deviation of lengths below the edge."""
    edges: Array = field(default_factory=lambda: -REACH * (np.arange(ATOMS) + 0.5)[::-1] / ATOMS)
    """Edges held possible, each as likely as the next, rising."""
    thresholds: Array = field(default_factory=lambda: np.full(len(THRESHOLDS), 1 / len(THRESHOLDS)))
    """Share of questions with each of `THRESHOLDS`."""
    slips: tuple[float, float] = (0.05, 0.05)
    """Chance of a wrong answer above the threshold and of a right one below it."""

    def lengths(self, budget: Array, edge: Array) -> tuple[Array, Array]:
        """Return mean and spread of the length a budget leads to under an edge; both broadcast."""
        gap = budget - edge
        terms = rebound_terms(1 - np.exp(np.minimum(gap, 0)), edge)
        risen = edge + np.clip(terms @ np.array(self.rebound), 0.0, 0.05 - edge)
        followed = self.follow[0] + self.follow[1] * budget
        above = gap >= -1e-9
        return np.where(above, followed, risen), np.where(above, self.follow_spread, self.rebound_spread)

    def right(self, budget: Array, edge: Array) -> Array:
        """Return the chance of a right answer for each threshold, along a new last axis."""
        over = (budget - edge)[..., None] >= THRESHOLDS - 1e-9
        return np.where(over, 1 - self.slips[0], self.slips[1])


def telling(history: History) -> list[Observation]:
    """Return the trials that say something about the edge: all but those of a single token, where models just answer."""
    return [trial for trial in history.seen if trial.budget > BOTTOM]


def likelihood(law: Law, history: History, edges: Array) -> Array:
    """Return the logarithm of the chance of a question's trials under each edge (rows) and threshold (columns)."""
    total = np.zeros((len(edges), len(THRESHOLDS)))
    for trial in telling(history):
        budget = np.array(math.log(trial.budget / history.vanilla_tokens))
        right = law.right(budget, edges)
        total += np.log(right if trial.right else 1 - right)
        if not 0 < trial.tokens < math.inf:
            continue
        mean, spread = law.lengths(budget, edges)
        # A token more or less is nothing: lengths are whole numbers.
        spread = np.hypot(spread, 0.5 / trial.tokens)
        off = (math.log(trial.tokens / history.vanilla_tokens) - mean) / spread
        density = np.exp(-0.5 * off * off) / (spread * math.sqrt(2 * math.pi))
        total += np.log((1 - STRAY) * density + STRAY / 3)[:, None]
    return total


def believe(law: Law, history: History) -> Array:
    """Return the weight of each of the law's edges (rows) and `THRESHOLDS` (columns), one in all."""
    chance = likelihood(law, history, law.edges) + np.log(law.thresholds)
    weights = np.exp(chance - chance.max())
    return weights / weights.sum()
