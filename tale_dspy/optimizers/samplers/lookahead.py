"""Which budget to ask next, and what a call is worth: expected savings, two calls deep.

Pure arithmetic on a `Law` and a `History`; whether a gain is worth its price is `ElasticSampler`'s to say.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tale_dspy.optimizers.samplers.base import History
from tale_dspy.optimizers.samplers.elasticity import THRESHOLDS, Array, Law, believe

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

CASES = 20
"""Equally likely edges that stand for the whole belief when two calls are thought through."""
CANDIDATES = 20
"""Budgets compared; about all that differ by more than chance once the edge is known roughly."""
GRADES = (-1.09, 0.0, 1.09)
"""Three equally likely values of a standard normal variable: the means of its thirds."""


@dataclass(frozen=True)
class Outlook:
    """The most promising next budget. Gains are shares of the tokens of the best right answer so far."""

    budget: int
    promised: float
    """Expected saving of this very call."""
    gain: float
    """Largest expected saving of any one call."""
    gain_of_two: float
    """Expected saving of this call and the best one after it."""


def outlook(law: Law, history: History) -> Outlook | None:
    """Return the best next budget; None if all that come into question were tried."""
    edges, thresholds = _cases(law, believe(law, history))
    budgets = _candidates(history, edges, thresholds)
    if not len(budgets):
        return None
    best = history.best_tokens / history.vanilla_tokens
    # From here on: c, d = first and second budget; i = the case that decides the first reply; j = the case believed.
    asked = np.log(budgets / history.vanilla_tokens)[:, None]
    mean, spread = law.lengths(asked, edges)  # (c, j)
    over = asked - edges >= thresholds - 1e-9
    right = np.where(over, 1 - law.slips[0], law.slips[1])
    lengths = [np.exp(mean + grade * spread) for grade in GRADES]
    one = (_saving(best, lengths) * right * over).mean(axis=1)
    two = one + _second(best, mean, spread, right, over, lengths)
    chosen = int(two.argmax())
    return Outlook(
        int(budgets[chosen]), float(one[chosen] / best), float(one.max() / best), float(two[chosen] / best)
    )


def _second(best: float, mean: Array, spread: Array, right: Array, over: Flags, lengths: list[Array]) -> Array:
    """Return the expected saving of the best second call after each first one."""
    off = (mean[:, :, None] - mean[:, None, :]) / spread[:, None, :]
    belief = np.exp(-0.5 * off * off) / spread[:, None, :] + 0.01  # (c, i, j): what reply i makes of case j
    belief *= np.where(over[:, :, None], right[:, None, :], 1 - right[:, None, :])
    belief /= belief.sum(axis=2, keepdims=True)
    after = np.where(over, np.minimum(best, np.exp(mean)), best)[:, :, None, None]
    saved = np.einsum("cij,cidj->cid", belief, _saving(after, lengths) * (right * over))
    same = np.arange(len(mean))
    saved[same, :, same] = 0.0  # a budget asked twice teaches nothing
    value: Array = saved.max(axis=2).mean(axis=1)
    return value


def _saving(best: float | Array, lengths: list[Array]) -> Array:
    """Return by how much replies of these lengths would on average undercut the best."""
    saved = np.maximum(0.0, best - lengths[0])
    for length in lengths[1:]:
        saved += np.maximum(0.0, best - length)
    saved /= len(lengths)
    return saved


def _cases(law: Law, belief: Array) -> tuple[Array, Array]:
    """Return edges and thresholds of `CASES` cases that are about equally likely."""
    risen = np.cumsum(belief)
    steps = (np.arange(CASES) + 0.5) / CASES * risen[-1]
    places = np.minimum(np.searchsorted(risen, steps), belief.size - 1)
    rows, columns = np.unravel_index(places, belief.shape)
    return law.edges[rows], THRESHOLDS[columns]


def _candidates(history: History, edges: Array, thresholds: Array) -> Places:
    """Return budgets from somewhat below the lowest likely edge to somewhat above what is needed at most."""
    vanilla = history.vanilla_tokens
    needed = edges + np.maximum(thresholds, 0.0)
    low = min(max(history.lowest, math.floor(0.95 * vanilla * math.exp(edges.min()))), vanilla)
    high = min(vanilla, math.ceil(1.15 * vanilla * math.exp(needed.max())) + 1)
    budgets = np.unique(np.geomspace(low, max(low, high), CANDIDATES).round().astype(np.int64))
    known = np.isin(budgets, list(history.tried))
    by_reply: dict[tuple[float, bool], list[int]] = {}
    for trial in history.seen:
        by_reply.setdefault((trial.tokens, trial.right), []).append(trial.budget)
    for alike in by_reply.values():
        known |= (budgets > min(alike)) & (budgets < max(alike))
    return budgets[~known]
