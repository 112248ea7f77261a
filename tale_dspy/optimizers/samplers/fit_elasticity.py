"""Fit an `ElasticityModel` to questions already searched.

The fit takes a few rounds of expectation maximisation (EM).

The changepoints of those questions are latent: only trials around them were seen. The E step computes each question's
posterior under the present model, the M step fits the model to all posteriors. The prior model counts as a few trials,
so that two questions cannot make the fit certain.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tale_dspy.optimizers.samplers.base import QuestionHistory
from tale_dspy.optimizers.samplers.elasticity_model import (
    CHANGEPOINTS,
    LOG_RANGE,
    REQUIRED_BUDGETS,
    TOLERANCE,
    Array,
    ElasticityModel,
    Trials,
    changepoint_posterior,
    rebound_terms,
    required_budgets_met,
    smoothing_width,
)

ROUNDS = 2
PRIOR_MODEL = ElasticityModel()
PRIOR_TRIALS = 2.0
"""Pseudo-count of the prior model, in trials."""
UNIFORM_SHARE = 0.05
"""Share of the changepoint prior that always stays uniform."""
MIN_SPREAD = 0.02
"""Smallest standard deviation: a few equal replies prove nothing."""
MIN_WEIGHT = 0.002
"""Changepoints with less posterior weight are left out of the regression."""


class Rows(NamedTuple):
    """Columns of a weighted regression.

    Each trial has a row for every likely changepoint of its question.
    """

    budget: Array
    length: Array
    changepoint: Array
    weight: Array


class Line(NamedTuple):
    """A fitted regression: weights of its terms and residual standard deviation."""

    weights: Array
    spread: float


def fit_elasticity(questions: Sequence[QuestionHistory], start: ElasticityModel = PRIOR_MODEL) -> ElasticityModel:
    """Return the model fitted to the trials of these questions.

    The fit starts from the model `start`.
    """
    trials, model = Trials.of(questions), start
    for _ in range(ROUNDS if len(trials.budget) else 0):
        posterior_weights = changepoint_posterior(model, trials, len(questions))
        model = _updated_model(model, trials, posterior_weights)
    return model


def _updated_model(model: ElasticityModel, trials: Trials, posterior_weights: Array) -> ElasticityModel:
    # E step is `changepoint_posterior`; this is the M step. Every trial counts for both branches, by the posterior
    # weight of the changepoints that put it above or below: nothing is assigned for good.
    by_changepoint = posterior_weights.sum(axis=2)  # (q, c): P(changepoint | trials of the question)
    weight = by_changepoint[trials.question]  # (t, c)
    above = trials.budget[:, None] >= model.changepoints - TOLERANCE
    over = _weighted_rows(model, trials, weight * above)
    under = _weighted_rows(model, trials, weight * ~above)
    # Above: ln(length) = slope[0] + slope[1] ln(budget). The prior holds the slope five times as firmly as the
    # intercept.
    followed = _fit_ridge(
        np.stack([np.ones_like(over.budget), over.budget], axis=-1),
        over.length,
        over.weight,
        Line(np.array(PRIOR_MODEL.slope), PRIOR_MODEL.slope_spread),
        np.array([1.0, 5.0]),
    )
    # Below: ln(length / changepoint) = sum of weights x `rebound_terms`. Only the constant, the length at the
    # changepoint itself, is held firmly; how a reply grows back is left to the data.
    grown = _fit_ridge(
        rebound_terms(1 - np.exp(under.budget - under.changepoint), under.changepoint),
        under.length - under.changepoint,
        under.weight,
        Line(np.array(PRIOR_MODEL.rebound), PRIOR_MODEL.rebound_spread),
        np.array([1.0, 0.1, 0.1, 0.1, 0.1, 0.1]),
    )
    # (r,): expected questions with each required budget, plus a Dirichlet prior of `PRIOR_TRIALS` in all.
    required_budgets = posterior_weights.sum(axis=(0, 1)) + PRIOR_TRIALS / len(REQUIRED_BUDGETS)
    changepoints, likelihood_ratios = _changepoint_prior(model, by_changepoint)
    return ElasticityModel(
        slope=(float(followed.weights[0]), float(followed.weights[1])),
        slope_spread=followed.spread,
        rebound=tuple(grown.weights.tolist()),
        rebound_spread=grown.spread,
        changepoints=changepoints,
        sizes=trials.sizes,
        likelihood_ratios=likelihood_ratios,
        required_budgets=required_budgets / required_budgets.sum(),
        flip_rates=_flip_rates(model, trials, posterior_weights),
    )


def _weighted_rows(model: ElasticityModel, trials: Trials, weight: Array) -> Rows:
    """Return the pairs of a trial and a changepoint that carry weight."""
    trial, changepoint = np.nonzero((weight > MIN_WEIGHT) & ~np.isnan(trials.length)[:, None])
    return Rows(trials.budget[trial], trials.length[trial], model.changepoints[changepoint], weight[trial, changepoint])


def _fit_ridge(terms: Array, y: Array, weight: Array, guess: Line, ridge: Array) -> Line:
    """Fit ridge regression towards a prior, twice.

    The second fit gives less weight to outliers of the first (Cauchy weights).
    """
    w, line = weight, guess
    for _ in range(2):
        # Minimise sum w (y - X b)^2 + (b - b0)' R (b - b0): b = b0 + (X'WX + R)^-1 X'W (y - X b0).
        weighted = (terms * w[:, None]).T  # X'W, (terms, rows)
        gram = weighted @ terms + np.diag(ridge)
        fitted = guess.weights + np.linalg.solve(gram, weighted @ (y - terms @ guess.weights))
        off = y - terms @ fitted
        line = Line(fitted, _robust_spread(off, w, guess.spread))
        # Cauchy weights with tuning constant 2.5 (2.385 is usual: 95 % efficient where errors are normal).
        w = weight / (1 + (off / (2.5 * line.spread)) ** 2)
    return Line(line.weights, _robust_spread(y - terms @ line.weights, w, guess.spread))


def _robust_spread(off: Array, weight: Array, guess: float) -> float:
    # The prior spread counts as `PRIOR_TRIALS` residuals of that size.
    variance = (weight @ off**2 + PRIOR_TRIALS * guess**2) / (weight.sum() + PRIOR_TRIALS)
    return max(MIN_SPREAD, math.sqrt(variance))


def _changepoint_prior(model: ElasticityModel, by_changepoint: Array) -> tuple[Array, Array]:
    """Return equally likely changepoints and each question's likelihood ratios.

    The changepoints are quantiles of the pooled posterior. Both come from kernel-smoothed posteriors, mixed with a
    uniform share.
    """
    questions = len(by_changepoint)
    weights = by_changepoint.mean(axis=0)  # (c,): the pooled posterior
    mean = weights @ model.changepoints
    width = max(0.02, smoothing_width(math.sqrt(weights @ (model.changepoints - mean) ** 2), questions))
    fine = np.linspace(-LOG_RANGE, 0.0, 800)
    density = _smoothing_kernel(fine, model.changepoints, width) @ weights
    # With no question searched all is uniform; each question takes from that, until `UNIFORM_SHARE` is left, so that no
    # changepoint ever becomes impossible.
    wide = max(UNIFORM_SHARE, PRIOR_TRIALS / (PRIOR_TRIALS + questions))
    share = (1 - wide) * density / density.sum() + wide / len(fine)
    # Quantiles of the smoothed density: each new changepoint stands for 1 / CHANGEPOINTS of the prior.
    places: Array = np.interp((np.arange(CHANGEPOINTS) + 0.5) / CHANGEPOINTS, np.cumsum(share), fine)
    # (q, c): density of each question's posterior at the new places, times the width of their cells, over the pooled
    # prior 1 / c: what a question says beyond what all say together.
    likelihood = by_changepoint @ _smoothing_kernel(model.changepoints, places, width) * np.gradient(places)
    likelihood *= len(places) / likelihood.sum(axis=1, keepdims=True)
    return places, likelihood


def _smoothing_kernel(at: Array, around: Array, width: float) -> Array:
    """Return Gaussian weights of `around` (columns) at the places `at` (rows)."""
    weights: Array = np.exp(-0.5 * ((at[:, None] - around) / width) ** 2)
    return weights


def _flip_rates(model: ElasticityModel, trials: Trials, posterior_weights: Array) -> tuple[float, float]:
    """Return how often an answer contradicts the required budget.

    The first rate is that of wrong answers at or above it, the second that of right answers below it.
    """
    met = required_budgets_met(trials.budget[:, None] - model.changepoints)
    # (t, c): P(changepoint and required budget <= this budget), by the cumulative posterior at the last one it meets.
    upto = posterior_weights.cumsum(axis=2)[trials.question[:, None], np.arange(len(model.changepoints)), met - 1]
    chance = np.where(met, upto, 0.0).sum(axis=1)
    # Beta(1, 20) prior on either side: 21 pseudo-trials, one of them flipped.
    wrong = (1 + chance @ ~trials.right) / (21 + chance.sum())
    right = (1 + (1 - chance) @ trials.right) / (21 + (1 - chance).sum())
    return float(wrong), float(right)
