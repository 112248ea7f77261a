"""Acquisition function of `ElasticSampler`: expected savings two calls ahead.

It is pure arithmetic on an `ElasticityModel` and a `QuestionHistory`. The posterior is represented by `CASES` equally
likely pairs of a changepoint and a required budget (quasi-random quantiles), replies by `GRADES` of a normal
distribution.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tale_dspy.optimizers.samplers.base import QuestionHistory
from tale_dspy.optimizers.samplers.elasticity_model import (
    REQUIRED_BUDGETS,
    TOLERANCE,
    Array,
    ElasticityModel,
    Flags,
    Trials,
    changepoint_posterior,
)

CASES = 16
"""Equally likely pairs of changepoint and required budget that stand for the posterior."""
CANDIDATES = 18
"""Budgets compared."""
GRADES = (-1.09, 0.0, 1.09)
"""Three equally likely values of a standard normal variable: the means of its thirds."""


@dataclass(frozen=True)
class Acquisition:
    """The next budget and its expected saving.

    The saving is a share of the tokens of the best right answer so far.
    """

    budget: int
    """The budget, in tokens."""
    saving: float
    """Largest expected saving of any one call."""
    saving_of_two: float
    """Expected saving of this call and the best one after it, together."""

    @property
    def expected_saving(self) -> float:
        """Expected saving per call: of one call, or half that of two."""
        return max(self.saving, self.saving_of_two / 2)


def two_step_lookahead(model: ElasticityModel, history: QuestionHistory) -> Acquisition | None:
    """Return the best next budget.

    It is None where no candidate is left or nothing can be saved.
    """
    if history.best_tokens <= 0:
        return None
    changepoints, required_budgets = _posterior_cases(model, history)
    # Untried budgets only: CANDIDATES of them at most, ascending.
    budgets = _candidate_budgets(history, changepoints, required_budgets)
    if not len(budgets):
        return None
    best = history.best_tokens / history.vanilla_tokens  # all tokens from here on as shares of the vanilla answer
    # Axes from here on: c = candidate budget, j = case. log_budgets: (c, 1), ln(budget / vanilla tokens); the model's
    # lengths, changepoints and required budgets are logarithms of the same kind: (c, j) each.
    log_budgets = np.log(budgets / history.vanilla_tokens)[:, None]
    mean, spread = model.lengths(log_budgets, changepoints)
    enough = log_budgets - changepoints >= required_budgets - TOLERANCE
    right = model.right(enough)
    replies = [np.exp(mean + grade * spread) for grade in GRADES]
    # A right answer below the required budget is luck, and saves nothing.
    # E[max(best - reply, 0); right and enough], the expected improvement, averaged over the cases: (c,).
    one = (_expected_gain(best, replies) * right * enough).mean(axis=1)
    # Two calls are worth the first one's saving plus what the best second one is expected to add.
    two = one + _second_step(best, _ExpectedReplies(mean, spread, enough, right), replies)
    chosen = int(two.argmax())
    return Acquisition(int(budgets[chosen]), float(one.max() / best), float(two[chosen] / best))


@dataclass(frozen=True)
class _ExpectedReplies:
    """The replies to each budget (rows) in each case (columns)."""

    mean: Array
    spread: Array
    enough: Flags
    right: Array


def _second_step(best: float, first: _ExpectedReplies, replies: list[Array]) -> Array:
    """Return the expected saving of the best second call, after each first one.

    Axes: c = the first budget, i = the case that its reply came from, j = a case of the posterior given that reply, d
    = the second budget.
    """
    mean, spread, right = first.mean, first.spread[:, None, :], first.right[:, None, :]
    # Bayes' rule over the cases j, given the mean reply of case i to budget c: N(reply; mean_j, spread_j), plus a floor
    # for outliers; then times the chance of as right an answer as case i gives. Shape (c, i, j).
    off = (mean[:, :, None] - mean[:, None, :]) / spread
    posterior_weights = np.exp(-0.5 * off * off) / spread + 0.01
    posterior_weights *= np.where(first.enough[:, :, None], right, 1 - right)
    posterior_weights /= posterior_weights.sum(axis=2, keepdims=True)
    after = np.where(first.enough, np.minimum(best, np.exp(mean)), best)  # (c, i)
    worth = first.right * first.enough  # (d, j)
    # (c, i, d): expected improvement of the second budget d under the posterior, as one matrix product over j.
    value = (
        posterior_weights.reshape(-1, posterior_weights.shape[2]) @ (_expected_gain(best, replies) * worth).T
    ).reshape(*posterior_weights.shape[:2], -1)
    # Where the first call has saved something, the second one has less to save.
    c, i = np.nonzero(after < best)
    # Above the changepoint a reply does not depend on it: many first calls leave the same best answer.
    lefts, which = np.unique(after[c, i], return_inverse=True)
    # Single precision halves the time; sixteen cases do not warrant more.
    single = [reply.astype(np.float32) for reply in replies]
    saved = _expected_gain(lefts[:, None, None].astype(np.float32), single)  # (left, d, j)
    saved *= worth.astype(np.float32)
    value[c, i] = (saved[which] @ posterior_weights[c, i, :, None].astype(np.float32))[..., 0]
    same = np.arange(len(mean))
    value[same, :, same] = 0.0  # the same budget again brings no information
    # The best second call for each reply, averaged over the replies: E_i[max_d value].
    expected: Array = value.max(axis=2).sum(axis=1) / value.shape[1]
    return expected


def _expected_gain(best: Any, replies: list[Any]) -> Any:
    """Return the expected improvement max(best - reply, 0), over equal grades."""
    saved = np.maximum(best - replies[0], 0)
    for reply in replies[1:]:
        more = best - reply
        saved += np.maximum(more, 0, out=more)
    saved /= len(replies)
    return saved


def _posterior_cases(model: ElasticityModel, history: QuestionHistory) -> tuple[Array, Array]:
    """Return changepoints and required budgets of equally likely cases.

    Both arrays have shape (CASES,).
    """
    # Stratified inverse-CDF sampling: the midpoints of CASES equal slices of the cumulative posterior.
    risen = np.cumsum(changepoint_posterior(model, Trials.of([history]), 1))
    steps = (np.arange(CASES) + 0.5) / CASES * risen[-1]
    changepoints, required_budgets = np.divmod(
        np.minimum(np.searchsorted(risen, steps), len(risen) - 1), len(REQUIRED_BUDGETS)
    )
    return model.changepoints[changepoints], REQUIRED_BUDGETS[required_budgets]


def _candidate_budgets(history: QuestionHistory, changepoints: Array, required_budgets: Array) -> Array:
    """Return untried budgets in the likely range.

    It goes from the lowest likely changepoint to the largest likely required budget.
    """
    vanilla = history.vanilla_tokens
    # 5 % below the lowest likely changepoint, 15 % above the largest likely required budget: the cases are few, and
    # the posterior reaches a little further than they do.
    low = min(max(history.lowest, math.floor(0.95 * vanilla * math.exp(changepoints.min()))), vanilla)
    high = min(
        vanilla, math.ceil(1.15 * vanilla * math.exp((changepoints + np.maximum(required_budgets, 0.0)).max())) + 1
    )
    steps = [history.on_grid(b) for b in np.geomspace(low, max(low, high), CANDIDATES).round().tolist()]
    # Between two budgets with the same reply every budget gives that reply, unless the smaller one was exceeded and the
    # larger one met: then the reply has grown back to that length, and shorter ones lie between.
    alike: dict[tuple[float, bool, bool], list[int]] = {}
    for trial in history.trials:
        was_met = trial.tokens <= trial.budget
        alike.setdefault((trial.tokens, trial.right, was_met), []).append(trial.budget)
    closed, tried = [(min(same), max(same)) for same in alike.values() if len(same) > 1], history.tried
    return np.array([b for b in dict.fromkeys(steps) if b not in tried and not any(i < b < j for i, j in closed)])
