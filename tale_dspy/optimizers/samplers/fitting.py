"""Fit a `Law` to questions already searched, by a few rounds of expectation and maximisation.

The edges of those questions were never seen, only trials around them: each round believes under the present law where
each edge lies and then fits the law to all of these beliefs. The wide guess a `Law` starts as is kept as a few
questions' worth of evidence, so that two questions cannot make it sure of anything.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tale_dspy.optimizers.samplers.base import History
from tale_dspy.optimizers.samplers.elasticity import (
    ATOMS, REACH, THRESHOLDS, Array, Law, believe, rebound_terms, telling,
)

GUESS = Law()
GUESS_WORTH = 2.0
"""Trials that the wide guess counts for."""
WIDE_SHARE = 0.05
"""Share of belief that always remains spread over all edges."""
LEAST_SPREAD = 0.02
FINE = np.linspace(-REACH, 0.0, 1200)


class Rows(NamedTuple):
    """All trials of all questions, each once for every edge that its question may have."""

    budget: Array
    length: Array
    edge: Array
    weight: Array


def fit(questions: Sequence[History], start: Law = GUESS, rounds: int = 2) -> Law:
    """Return the law that explains the questions' trials."""
    law = start
    for _ in range(rounds if questions else 0):
        beliefs = [believe(law, q) for q in questions]
        rows = _rows(law, questions, [b.sum(axis=1) for b in beliefs])
        follow, follow_spread = _follow(rows)
        rebound, rebound_spread = _rebound(rows)
        law = Law(
            follow=follow,
            follow_spread=follow_spread,
            rebound=rebound,
            rebound_spread=rebound_spread,
            edges=_edges(law, beliefs),
            thresholds=_thresholds(beliefs),
            slips=_slips(law, questions, beliefs),
        )
    return law


def _rows(law: Law, questions: Sequence[History], marginals: Sequence[Array]) -> Rows:
    parts = []
    for question, weights in zip(questions, marginals, strict=True):
        keep = weights > 0.002
        for trial in telling(question):
            if 0 < trial.tokens < math.inf:
                n = int(keep.sum())
                v = question.vanilla_tokens
                parts.append((np.full(n, math.log(trial.budget / v)), np.full(n, math.log(trial.tokens / v)),
                              law.edges[keep], weights[keep]))
    if not parts:
        return Rows(*(np.zeros(0) for _ in range(4)))
    return Rows(*(np.concatenate(p) for p in zip(*parts, strict=True)))


def _regress(terms: Array, y: Array, weight: Array, prior: Array, ridge: Array, spread: float) -> tuple[Array, float]:
    """Weighted least squares drawn towards a prior, twice: the second time without what lies far off."""
    w = weight
    for _ in range(2):
        gram = (terms * w[:, None]).T @ terms + np.diag(ridge)
        beta = prior + np.linalg.solve(gram, (terms * w[:, None]).T @ (y - terms @ prior))
        off = y - terms @ beta
        scale = math.sqrt((w @ off**2 + GUESS_WORTH * spread**2) / (w.sum() + GUESS_WORTH))
        w = weight / (1 + (off / (2.5 * scale)) ** 2)
    scale = math.sqrt((w @ off**2 + GUESS_WORTH * spread**2) / (w.sum() + GUESS_WORTH))
    return beta, max(LEAST_SPREAD, scale)


def _follow(rows: Rows) -> tuple[tuple[float, float], float]:
    above = rows.budget >= rows.edge - 1e-9
    x = rows.budget[above]
    beta, spread = _regress(np.stack([np.ones_like(x), x], axis=-1), rows.length[above], rows.weight[above],
                            np.array(GUESS.follow), np.array([1.0, 5.0]), GUESS.follow_spread)
    return (float(beta[0]), float(beta[1])), spread


def _rebound(rows: Rows) -> tuple[tuple[float, ...], float]:
    below = rows.budget < rows.edge - 1e-9
    edge = rows.edge[below]
    terms = rebound_terms(1 - np.exp(rows.budget[below] - edge), edge)
    ridge = np.array([1.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    beta, spread = _regress(terms, rows.length[below] - edge, rows.weight[below], np.array(GUESS.rebound), ridge,
                            GUESS.rebound_spread)
    return tuple(beta.tolist()), spread


def _edges(law: Law, beliefs: Sequence[Array]) -> Array:
    """Return equally likely edges: those believed in so far, smoothed, and a few from everywhere."""
    weights = sum(b.sum(axis=1) for b in beliefs) / len(beliefs)
    mean = weights @ law.edges
    width = max(0.02, 1.06 * math.sqrt(weights @ (law.edges - mean) ** 2) * len(beliefs) ** -0.2)
    density = np.exp(-0.5 * ((FINE[:, None] - law.edges) / width) ** 2) @ weights
    wide = max(WIDE_SHARE, GUESS_WORTH / (GUESS_WORTH + len(beliefs)))
    share = (1 - wide) * density / density.sum() + wide / len(FINE)
    return np.interp((np.arange(ATOMS) + 0.5) / ATOMS, np.cumsum(share), FINE)


def _thresholds(beliefs: Sequence[Array]) -> Array:
    counts = sum(b.sum(axis=0) for b in beliefs) + GUESS_WORTH / len(THRESHOLDS)
    return counts / counts.sum()


def _slips(law: Law, questions: Sequence[History], beliefs: Sequence[Array]) -> tuple[float, float]:
    wrong, right, over_n, under_n = 1.0, 1.0, 20.0, 20.0
    for question, belief in zip(questions, beliefs, strict=True):
        for trial in telling(question):
            gap = math.log(trial.budget / question.vanilla_tokens) - law.edges
            over = float(belief[gap[:, None] >= THRESHOLDS - 1e-9].sum())
            over_n, under_n = over_n + over, under_n + 1 - over
            wrong, right = wrong + over * (not trial.right), right + (1 - over) * trial.right
    return wrong / over_n, right / under_n
