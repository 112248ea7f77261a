"""Which budget to ask next, and what that call is worth: expected savings, two calls deep.

Pure arithmetic on a `ElasticityModel` and a `History`. Whether a saving is worth its price is for `ElasticSampler` to
say.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tale_dspy.optimizers.samplers.base import History
from tale_dspy.optimizers.samplers.elasticity_model import NEAR, NEEDS, Array, ElasticityModel, Flags, Trials, believe

CASES = 16
"""Equally likely cases, of an edge and a need each, that stand for all that is believed."""
CANDIDATES = 18
"""Budgets compared."""
GRADES = (-1.09, 0.0, 1.09)
"""Three equally likely values of a standard normal variable: the means of its thirds."""


@dataclass(frozen=True)
class Acquisition:
    """The most promising next budget. Savings are shares of the tokens of the best right answer so far."""

    budget: int
    """What to ask, in tokens."""
    saving: float
    """Largest expected saving of any one call."""
    saving_of_two: float
    """Expected saving of this call and the best one after it, together."""

    @property
    def promise(self) -> float:
        """The saving that a call is good for, alone or as one of two."""
        return max(self.saving, self.saving_of_two / 2)


def outlook(law: ElasticityModel, history: History) -> Acquisition | None:
    """Return the best next budget; None if all that come into question were tried, or there is nothing left to save."""
    if history.best_tokens <= 0:
        return None
    edges, needs = _cases(law, history)
    budgets = _candidates(history, edges, needs)
    if not len(budgets):
        return None
    best = history.best_tokens / history.vanilla_tokens
    # Axes from here on: c = the next budget, j = the case.
    asked = np.log(budgets / history.vanilla_tokens)[:, None]
    mean, spread = law.lengths(asked, edges)
    enough = asked - edges >= needs - NEAR
    right = law.right(enough)
    replies = [np.exp(mean + grade * spread) for grade in GRADES]
    # A right answer below the need is luck, and saves nothing.
    one = (_saved(best, replies) * right * enough).mean(axis=1)
    two = one + _second(best, _Replies(mean, spread, enough, right), replies)
    chosen = int(two.argmax())
    return Acquisition(int(budgets[chosen]), float(one.max() / best), float(two[chosen] / best))


@dataclass(frozen=True)
class _Replies:
    """What each budget (rows) leads to in each case (columns)."""

    mean: Array
    spread: Array
    enough: Flags
    right: Array


def _second(best: float, first: _Replies, replies: list[Array]) -> Array:
    """Return the expected saving of the best second call, after each first one.

    Axes: c = the first budget, i = the case that its reply came from, j = a case as believed after that reply, d = the
    second budget.
    """
    mean, spread, right = first.mean, first.spread[:, None, :], first.right[:, None, :]
    off = (mean[:, :, None] - mean[:, None, :]) / spread
    belief = np.exp(-0.5 * off * off) / spread + 0.01
    belief *= np.where(first.enough[:, :, None], right, 1 - right)
    belief /= belief.sum(axis=2, keepdims=True)
    after = np.where(first.enough, np.minimum(best, np.exp(mean)), best)  # (c, i)
    worth = first.right * first.enough  # (d, j)
    value = (belief.reshape(-1, belief.shape[2]) @ (_saved(best, replies) * worth).T).reshape(*belief.shape[:2], -1)
    # Where the first call has saved something, the second one has less to save.
    c, i = np.nonzero(after < best)
    # Above the edge a reply does not depend on it: many first calls leave the same.
    lefts, which = np.unique(after[c, i], return_inverse=True)
    # In single precision, which halves the time: it is a guess among sixteen cases.
    single = [reply.astype(np.float32) for reply in replies]
    saved = _saved(lefts[:, None, None].astype(np.float32), single)  # (left, d, j)
    saved *= worth.astype(np.float32)
    value[c, i] = (saved[which] @ belief[c, i, :, None].astype(np.float32))[..., 0]
    same = np.arange(len(mean))
    value[same, :, same] = 0.0  # the same budget again would teach nothing
    expected: Array = value.max(axis=2).sum(axis=1) / value.shape[1]
    return expected


def _saved(best: Any, replies: list[Any]) -> Any:
    """Return by how much the replies of all grades would on average undercut the best."""
    saved = np.maximum(best - replies[0], 0)
    for reply in replies[1:]:
        more = best - reply
        saved += np.maximum(more, 0, out=more)
    saved /= len(replies)
    return saved


def _cases(law: ElasticityModel, history: History) -> tuple[Array, Array]:
    """Return the edges and needs of equally likely cases."""
    risen = np.cumsum(believe(law, Trials.of([history]), 1))
    steps = (np.arange(CASES) + 0.5) / CASES * risen[-1]
    edges, needs = np.divmod(np.minimum(np.searchsorted(risen, steps), len(risen) - 1), len(NEEDS))
    return law.edges[edges], NEEDS[needs]


def _candidates(history: History, edges: Array, needs: Array) -> Array:
    """Return untried budgets from just below the lowest likely edge to just above what may be needed at most."""
    vanilla = history.vanilla_tokens
    low = min(max(history.lowest, math.floor(0.95 * vanilla * math.exp(edges.min()))), vanilla)
    high = min(vanilla, math.ceil(1.15 * vanilla * math.exp((edges + np.maximum(needs, 0.0)).max())) + 1)
    steps = np.geomspace(low, max(low, high), CANDIDATES).round().tolist()
    # Between two budgets with one and the same reply, there will be no other; unless the smaller one was missed and the
    # larger one kept: then the reply has grown back to that length, and shorter ones lie between.
    alike: dict[tuple[float, bool, bool], list[int]] = {}
    for trial in history.seen:
        kept = trial.tokens <= trial.budget
        alike.setdefault((trial.tokens, trial.right, kept), []).append(trial.budget)
    closed, tried = [(min(same), max(same)) for same in alike.values() if len(same) > 1], history.tried
    return np.array([b for b in dict.fromkeys(steps) if b not in tried and not any(i < b < j for i, j in closed)])
