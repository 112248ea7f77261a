"""Fit a `ElasticityModel` to questions already searched, by a few rounds of expectation and maximisation.

The edges of those questions were never seen, only trials around them: each round believes under the present law where
each edge lies, and then fits the law to all of these beliefs. The wide guess that a `ElasticityModel` starts as is
kept as a few trials' worth of evidence, so that two questions cannot make it sure of anything.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tale_dspy.optimizers.samplers.base import History
from tale_dspy.optimizers.samplers.elasticity_model import (
    EDGES,
    NEAR,
    NEEDS,
    REACH,
    Array,
    ElasticityModel,
    Trials,
    believe,
    needs_met,
    rebound_terms,
    smoothing,
)

ROUNDS = 2
GUESS = ElasticityModel()
GUESS_WORTH = 2.0
"""Trials that the wide guess counts for."""
WIDE_SHARE = 0.05
"""Share of belief that always remains spread over all edges."""
LEAST_SPREAD = 0.02
"""No spread is ever held smaller: a few alike replies are no law of nature."""
LEAST_WEIGHT = 0.002
"""Edges less likely than this teach nothing worth the arithmetic."""


class Rows(NamedTuple):
    """Trials, each once for every edge that its question may well have; the columns of a regression."""

    budget: Array
    length: Array
    edge: Array
    weight: Array


class Line(NamedTuple):
    """A regression: weights of its terms, and the spread around it."""

    weights: Array
    spread: float


def fit(questions: Sequence[History], start: ElasticityModel = GUESS) -> ElasticityModel:
    """Return the law that explains the questions' trials, found from a law fitted to some of them."""
    trials, law = Trials.of(questions), start
    for _ in range(ROUNDS if len(trials.budget) else 0):
        belief = believe(law, trials, len(questions))
        law = _law(law, trials, belief)
    return law


def _law(law: ElasticityModel, trials: Trials, belief: Array) -> ElasticityModel:
    by_edge = belief.sum(axis=2)
    weight = by_edge[trials.question]
    above = trials.budget[:, None] >= law.edges - NEAR
    over = _rows(law, trials, weight * above)
    under = _rows(law, trials, weight * ~above)
    followed = _regress(
        np.stack([np.ones_like(over.budget), over.budget], axis=-1),
        over.length,
        over.weight,
        Line(np.array(GUESS.follow), GUESS.follow_spread),
        np.array([1.0, 5.0]),
    )
    grown = _regress(
        rebound_terms(1 - np.exp(under.budget - under.edge), under.edge),
        under.length - under.edge,
        under.weight,
        Line(np.array(GUESS.rebound), GUESS.rebound_spread),
        np.array([1.0, 0.1, 0.1, 0.1, 0.1, 0.1]),
    )
    needs = belief.sum(axis=(0, 1)) + GUESS_WORTH / len(NEEDS)
    edges, own_edges = _edges(law, by_edge)
    return ElasticityModel(
        follow=(float(followed.weights[0]), float(followed.weights[1])),
        follow_spread=followed.spread,
        rebound=tuple(grown.weights.tolist()),
        rebound_spread=grown.spread,
        edges=edges,
        sizes=trials.sizes,
        own_edges=own_edges,
        needs=needs / needs.sum(),
        slips=_slips(law, trials, belief),
    )


def _rows(law: ElasticityModel, trials: Trials, weight: Array) -> Rows:
    """Return the pairs of a trial and an edge that carry weight."""
    trial, edge = np.nonzero((weight > LEAST_WEIGHT) & ~np.isnan(trials.length)[:, None])
    return Rows(trials.budget[trial], trials.length[trial], law.edges[edge], weight[trial, edge])


def _regress(terms: Array, y: Array, weight: Array, guess: Line, ridge: Array) -> Line:
    """Fit least squares drawn towards a guess, twice: the second time, what lies far off counts for less."""
    w, line = weight, guess
    for _ in range(2):
        weighted = (terms * w[:, None]).T
        gram = weighted @ terms + np.diag(ridge)
        fitted = guess.weights + np.linalg.solve(gram, weighted @ (y - terms @ guess.weights))
        off = y - terms @ fitted
        line = Line(fitted, _spread(off, w, guess.spread))
        w = weight / (1 + (off / (2.5 * line.spread)) ** 2)
    return Line(line.weights, _spread(y - terms @ line.weights, w, guess.spread))


def _spread(off: Array, weight: Array, guess: float) -> float:
    variance = (weight @ off**2 + GUESS_WORTH * guess**2) / (weight.sum() + GUESS_WORTH)
    return max(LEAST_SPREAD, math.sqrt(variance))


def _edges(law: ElasticityModel, by_edge: Array) -> tuple[Array, Array]:
    """Return equally likely edges, and how many times as likely each is for each question.

    Both are smoothed beliefs; a few of the edges come from everywhere.
    """
    questions = len(by_edge)
    weights = by_edge.mean(axis=0)
    mean = weights @ law.edges
    width = max(0.02, smoothing(math.sqrt(weights @ (law.edges - mean) ** 2), questions))
    fine = np.linspace(-REACH, 0.0, 800)
    density = _kernel(fine, law.edges, width) @ weights
    wide = max(WIDE_SHARE, GUESS_WORTH / (GUESS_WORTH + questions))
    share = (1 - wide) * density / density.sum() + wide / len(fine)
    places: Array = np.interp((np.arange(EDGES) + 0.5) / EDGES, np.cumsum(share), fine)
    own = by_edge @ _kernel(law.edges, places, width) * np.gradient(places)
    own *= len(places) / own.sum(axis=1, keepdims=True)
    return places, own


def _kernel(at: Array, around: Array, width: float) -> Array:
    """Return the weight that each place (rows) has in smoothing around each other one (columns)."""
    weights: Array = np.exp(-0.5 * ((at[:, None] - around) / width) ** 2)
    return weights


def _slips(law: ElasticityModel, trials: Trials, belief: Array) -> tuple[float, float]:
    """Return how often an answer is wrong at or above the need, and right below it."""
    met = needs_met(trials.budget[:, None] - law.edges)
    upto = belief.cumsum(axis=2)[trials.question[:, None], np.arange(len(law.edges)), met - 1]
    chance = np.where(met, upto, 0.0).sum(axis=1)
    # As if 21 trials had been seen on either side, one of them turned by chance.
    wrong = (1 + chance @ ~trials.right) / (21 + chance.sum())
    right = (1 + (1 - chance) @ trials.right) / (21 + (1 - chance).sum())
    return float(wrong), float(right)
