"""The Bayesian changepoint model of token elasticity.

`ElasticSampler` searches with it.

How many tokens a reply takes is modelled as a function of its budget. Each question has a *changepoint*: from that
budget on, replies follow the budget; below it they grow again (token elasticity, paper section 4). It also has a
*required budget*, below which its answer is wrong. Lengths and budgets enter as ln(tokens / vanilla tokens), so that
questions of all sizes can be pooled. The parameters of the model are fitted to the questions already searched
(`fit_elasticity`); `changepoint_posterior` turns the trials of one question into weights over changepoints and
required budgets.

Shapes: q questions, t trials of all of them, c = `CHANGEPOINTS`, r = `len(REQUIRED_BUDGETS)`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tale_dspy.optimizers.samplers.base import QuestionHistory

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

CHANGEPOINTS = 128
"""Changepoints held possible: the size of the grid over which a posterior is spread."""
LOG_RANGE = math.log(200)
"""Lower end of the grid: no changepoint lies below vanilla tokens / 200."""
REQUIRED_BUDGETS = np.log(
    [0.02, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.06, 1.13, 1.2, 1.3, 1.4, 1.6, 2.0, 3.0]
)
"""Grid of required budgets, each as ln(required budget / changepoint)."""
OUTLIER_SHARE = 0.03
"""Share of replies that the model does not explain: the weight of a uniform outlier component."""
MIN_KERNEL_WIDTH = 0.1
"""Smallest bandwidth of the kernel over ln(vanilla tokens)."""
POOLED_QUESTIONS = 2.0
"""Pseudo-count of the pooled prior, beside the questions of about the same length."""
CACHE_SIZE = 256
"""Sizes whose prior is cached; each takes 18 kB."""
TOLERANCE = 1e-9  # a budget at the changepoint lies above it, however the logarithms are rounded


class Trials(NamedTuple):
    """The trials of some questions, one after the other."""

    budget: Array
    """Logarithms of the ratios to the answer without a budget."""
    length: Array
    """Likewise, of the tokens used; NaN where they are unknown."""
    resolution: Array
    """Half a token relative to the length: lengths are whole tokens, so nothing finer is known."""
    right: Flags
    """Whether the answers were right."""
    question: NDArray[np.int64]
    """Index of the question of each trial."""
    sizes: Array
    """Logarithms of the tokens of the answers without a budget, one for each question."""

    @classmethod
    def of(cls, questions: Sequence[QuestionHistory]) -> "Trials":
        """Return the trials of some questions as columns."""
        rows = [(o.budget, o.tokens, q.vanilla_tokens, o.right, i) for i, q in enumerate(questions) for o in q.trials]
        budget, tokens, vanilla, right, question = np.array(rows, dtype=float).reshape(-1, 5).T
        known = np.where((tokens > 0) & (tokens < math.inf), tokens, math.nan)
        length = np.log(known / vanilla)
        sizes = np.log([q.vanilla_tokens for q in questions])
        return cls(np.log(budget / vanilla), length, 0.5 / known, right > 0, question.astype(np.int64), sizes)


def rebound_terms(below: Array, changepoint: Array) -> Array:
    """Return the terms of the growth of replies below the changepoint.

    `rebound_factor` is their weighted sum. With b = `below` and e = `changepoint`: 1, b, b^2, b^3, b e, b^2 e, along a
    new last axis.

    Args:
        below: 1 - budget / changepoint: 0 at the changepoint, 1 at no budget at all.
        changepoint: ln(changepoint / vanilla tokens).
    """
    b, e = np.broadcast_arrays(below, changepoint)
    return np.stack([np.ones_like(b), b, b * b, b**3, b * e, b * b * e], axis=-1)


def rebound_factor(weights: Sequence[float], below: Array, changepoint: Array) -> Array:
    """Return the sum of `rebound_terms` under these weights.

    The terms are not stored, which saves memory.
    """
    one, b, bb, bbb, be, bbe = weights
    grown: Array = one + below * (b + be * changepoint + below * (bb + bbe * changepoint + below * bbb))
    return grown


def smoothing_width(spread: float, count: int) -> float:
    """Return the width of a smoothing kernel (Silverman's rule).

    It is 1.06 spread count^(-1/5) for `count` values of standard deviation `spread`.
    """
    return 1.06 * spread * math.exp(-0.2 * math.log(count))


@dataclass(frozen=True)
class ElasticityModel:
    """Parameters of the elasticity of one language model.

    The defaults are a weak prior.
    """

    slope: tuple[float, float] = (-0.1, 1.0)
    """Above the changepoint: length = slope[0] + slope[1] * budget (both as logarithms)."""
    slope_spread: float = 0.3
    """Standard deviation of lengths above the changepoint."""
    rebound: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, -0.9, 0.0)
    """Below the changepoint: weights of `rebound_terms`; their sum is length - changepoint."""
    rebound_spread: float = 0.4
    """Standard deviation of lengths below the changepoint."""
    changepoints: Array = field(
        default_factory=lambda: -LOG_RANGE * (np.arange(CHANGEPOINTS) + 0.5)[::-1] / CHANGEPOINTS
    )
    """Changepoints held possible, ascending, shape (c,); equally likely over questions of all lengths."""
    sizes: Array = field(default_factory=lambda: np.zeros(0))
    """ln(vanilla tokens) of each question the model was fitted to, shape (q,)."""
    likelihood_ratios: Array = field(default_factory=lambda: np.zeros((0, CHANGEPOINTS)))
    """Posterior over pooled prior of each changepoint, for each of these questions, shape (q, c)."""
    required_budgets: Array = field(default_factory=lambda: np.full(len(REQUIRED_BUDGETS), 1 / len(REQUIRED_BUDGETS)))
    """Share of questions with each of `REQUIRED_BUDGETS`, shape (r,)."""
    flip_rates: tuple[float, float] = (0.05, 0.05)
    """Chance of a wrong answer at or above the required budget, and of a right one below it."""

    def lengths(self, budget: Array, changepoint: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the log length at a budget.

        Budget and changepoint broadcast against each other.
        """
        gap = budget - changepoint  # ln(budget / changepoint)
        # 1 - exp(gap) = 1 - budget / changepoint: how far below, from 0 to 1.
        grown = rebound_factor(self.rebound, 1 - np.exp(np.minimum(gap, 0)), changepoint)
        # A reply below the changepoint is no shorter than at it, and hardly longer than without a budget (e^0.05).
        grown = changepoint + np.minimum(np.maximum(grown, 0.0), 0.05 - changepoint)
        above = gap >= -TOLERANCE
        mean = np.where(above, self.slope[0] + self.slope[1] * budget, grown)
        return mean, np.where(above, self.slope_spread, self.rebound_spread)

    def changepoint_weights(self, sizes: Array) -> Array:
        """Return the prior of the changepoints for questions of these sizes.

        The array has shape (q, c); each row sums to 1.
        """
        if not len(self.sizes):
            return np.full((len(sizes), len(self.changepoints)), 1 / len(self.changepoints))
        # Nadaraya-Watson over ln(vanilla tokens): like lengths count most, the pooled prior a little.
        near = np.exp(-0.5 * ((sizes[:, None] - self.sizes) / self._kernel_width) ** 2)
        weights = near @ self.likelihood_ratios + POOLED_QUESTIONS
        normed: Array = weights / weights.sum(axis=1, keepdims=True)
        return normed

    def prior(self, sizes: Array) -> Array:
        """Return the log prior of changepoints and required budgets, shape (q, c, r)."""
        # The sampler asks for the same question after each of its trials.
        known = self._prior_cache.get(float(sizes[0])) if len(sizes) == 1 else None
        if known is not None:
            return known
        prior: Array = np.log(self.changepoint_weights(sizes))[..., None] + np.log(self.required_budgets)
        if len(sizes) == 1:
            if len(self._prior_cache) >= CACHE_SIZE:
                self._prior_cache.clear()
            self._prior_cache[float(sizes[0])] = prior
        return prior

    @cached_property
    def _prior_cache(self) -> dict[float, Array]:
        return {}

    @cached_property
    def _kernel_width(self) -> float:
        """Standard deviation of the kernel over sizes."""
        return max(MIN_KERNEL_WIDTH, smoothing_width(float(np.std(self.sizes)), len(self.sizes)))

    def right(self, enough: Flags) -> Array:
        """Return the chance of a right answer, given if the required budget was met."""
        return np.where(enough, 1 - self.flip_rates[0], self.flip_rates[1])


def changepoint_posterior(model: ElasticityModel, trials: Trials, questions: int) -> Array:
    """Return each question's posterior over changepoints and required budgets.

    It is computed by Bayes' rule on the grid.

    Returns:
        Weights of shape (q, c, r); those of each question sum to 1.
    """
    # ln P(c, r | trials) = ln P(c) + ln P(r) + sum of ln P(trial | c, r) + constant.
    chance = model.prior(trials.sizes)
    if len(trials.budget):
        chance = chance + _log_likelihood(model, trials, questions)
    # The maximum is subtracted before the exponential, which would underflow otherwise.
    weights: Array = np.exp(chance - chance.max(axis=(1, 2), keepdims=True))
    weights /= weights.sum(axis=(1, 2), keepdims=True)
    return weights


def required_budgets_met(gap: Array) -> NDArray[np.int64]:
    """Return how many of `REQUIRED_BUDGETS`, the smallest first, a budget meets.

    `gap` is ln(budget / changepoint).
    """
    return np.searchsorted(REQUIRED_BUDGETS - TOLERANCE, gap, side="right")


def _log_likelihood(model: ElasticityModel, trials: Trials, questions: int) -> Array:
    """Return the log likelihood of each question's trials, up to a constant.

    The array has shape (q, c, r): question, changepoint, required budget.
    """
    budget, length = trials.budget[:, None], trials.length[:, None]
    mean, spread = model.lengths(budget, model.changepoints)
    # Lengths are whole tokens: their rounding adds to the variance, which matters for short replies.
    spread = np.hypot(spread, trials.resolution[:, None])
    density = np.exp(-0.5 * ((length - mean) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    # ln((1 - o) N(length; mean, spread) + o U(length)), U uniform over three units of the logarithm: (t, c).
    by_changepoint = np.log((1 - OUTLIER_SHARE) * density + OUTLIER_SHARE / 3)
    by_changepoint[np.isnan(trials.length)] = 0.0
    # Correctness is Bernoulli: below the required budget right by luck, above it wrong by chance. The first is added
    # everywhere, and `met` corrects it wherever the budget is enough.
    wrong, lucky = model.flip_rates
    by_changepoint += np.where(trials.right, math.log(lucky), math.log(1 - lucky))[:, None]
    met = np.where(trials.right, math.log((1 - wrong) / lucky), math.log(wrong / (1 - lucky)))
    # A trial has one likelihood for all required budgets it meets. It is added at the last of these, per (question,
    # changepoint), and a cumulative sum from the largest down spreads it: O(t c) instead of O(t c r).
    cell = trials.question[:, None] * len(model.changepoints) + np.arange(len(model.changepoints))
    ends = (len(REQUIRED_BUDGETS) + 1) * cell + required_budgets_met(budget - model.changepoints)
    entered = np.bincount(
        ends.ravel(),
        np.repeat(met, len(model.changepoints)),
        questions * len(model.changepoints) * (len(REQUIRED_BUDGETS) + 1),
    )
    entered = entered.reshape(questions, len(model.changepoints), len(REQUIRED_BUDGETS) + 1)
    entered[..., -1] += np.bincount(cell.ravel(), by_changepoint.ravel(), questions * len(model.changepoints)).reshape(
        questions, -1
    )
    log_likelihood: Array = entered[..., :0:-1].cumsum(axis=2)[..., ::-1]
    return log_likelihood
