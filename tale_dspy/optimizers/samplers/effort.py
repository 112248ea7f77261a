"""Bayesian search of the least sufficient effort word of a question, with a prior from the questions before.

A model's words are levels 1 to K, in their order; level K + 1 stands for the answer without a budget, which was right.
Each question has a *least sufficient* level k: answers at or above k are right, below it wrong, up to a noise e.
The sampler keeps a posterior over k and asks the level that a dynamic programme over the levels still open says is
worth most: expected saving of tokens less a price per call, `LOOKAHEAD` calls ahead.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers.base import BudgetSampler, QuestionHistory

Array = NDArray[np.float64]

PRIOR_QUESTIONS = 1.0
"""Pseudo-count of the uniform prior over levels, in questions."""
NOISE = 0.04
"""Prior chance e that an answer contradicts its level."""
PRIOR_TRIALS = 25.0
"""Pseudo-count of that chance, in trials."""
LOOKAHEAD = 4
"""Calls that are planned ahead; bisection of 15 levels takes as many."""
MIN_EFFECT_QUESTIONS = 16
"""Questions before the control may be said to have no effect."""
NO_EFFECT_WIDTH = 0.15
"""Largest half-width of the interval of ln(tokens at a word / tokens without) at which covering 0 means no effect."""
Z95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


class EffortSampler(BudgetSampler):
    """Search the least sufficient effort word of each question.

    The study searches an integer from 1 to the number of words and minimises tokens as a share of those of the answer
    without a budget. Learned from finished questions: how often each level is the least sufficient one, and what share
    of the tokens it takes. Where the words turn out to make no difference to the tokens (`has_no_effect`), the search
    of every further question is over at once.

    Deterministic: the same calls in the same order give the same levels.

    Args:
        price: Saving that a call must be expected to bring, as a share of the tokens without a budget.
        max_calls: Maximum number of trials of a question.

    Raises:
        UsageError: If price is not a share above 0 and below 1, or max_calls not at least 1.
    """

    def __init__(self, price: float = 0.01, max_calls: int = 6) -> None:
        if not 0 < price < 1:
            raise UsageError(f"price must be a share above 0 and below 1, got {price}")
        if max_calls < 1:
            raise UsageError(f"max_calls must be at least 1, got {max_calls}")
        self.price, self.max_calls = price, max_calls
        self._finished: list[QuestionHistory] = []

    def propose(self, history: QuestionHistory) -> int:
        """Return the level whose call is worth most; the best known one where none is left."""
        with self._lock:
            level, _ = self._choose_level(history)
        if level is not None:
            return level
        return history.best.budget if history.best else history.vanilla_tokens

    def should_stop(self, history: QuestionHistory) -> bool:
        """Return whether no call is expected to be worth its price, or the words have no effect."""
        with self._lock:
            if self.has_no_effect:
                return True
            if not history.seen:
                return False
            level, value = self._choose_level(history)
        return level is None or value <= 0 or len(history.seen) >= self.max_calls

    def finish_question(self, history: QuestionHistory) -> None:
        """Learn from a question whose search is over."""
        if history.seen:
            with self._lock:
                self._finished.append(QuestionHistory(history.vanilla_tokens, history.seen))
                for cached in ("_fitted_model", "has_no_effect"):
                    vars(self).pop(cached, None)

    @cached_property
    def has_no_effect(self) -> bool:
        """Whether tokens at the words differ so little from those without that the 95 % interval covers 0.

        The mean of ln(tokens at the lowest word tried / tokens without), over questions, paired.
        """
        logs = [math.log(min(q.seen, key=lambda o: o.budget).tokens) for q in self._finished if _has_token_ratio(q)]
        if len(logs) < MIN_EFFECT_QUESTIONS:
            return False
        half_width = Z95 * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
        return abs(float(np.mean(logs))) <= half_width + 1e-9 and half_width <= NO_EFFECT_WIDTH

    # ---- the model of all questions

    @cached_property
    def _fitted_model(self) -> "_LevelModel":
        return _LevelModel.fit(self._finished)

    def _choose_level(self, history: QuestionHistory) -> tuple[int | None, float]:
        """Return the level to ask and its value over stopping.

        Return None where every level was tried.
        """
        levels = history.vanilla_tokens
        model = self._fitted_model
        posterior = model.posterior(levels, [(o.budget, o.right) for o in history.seen])
        shares = model.shares(levels, {o.budget: o.tokens for o in history.seen if 0 < o.tokens < math.inf})
        best = min([o.tokens for o in history.seen if o.right], default=1.0)
        open_levels = [level for level in range(1, levels + 1) if level not in history.tried]
        if not open_levels:
            return None, 0.0
        low = max((o.budget for o in history.seen if not o.right), default=0)
        high = min((o.budget for o in history.seen if o.right), default=levels + 1)
        within = [level for level in open_levels if low < level < high] or open_levels
        values = {level: self._level_value(level, low, high, best, posterior, shares) for level in within}
        chosen = max(values, key=lambda level: (values[level], -level))
        return chosen, values[chosen]

    def _level_value(
        self, level: int, low: int, high: int, best: float, posterior: Array, shares: Array, depth: int = LOOKAHEAD
    ) -> float:
        """Return the expected saving of asking a level and going on optimally, less the price of the calls.

        V(low, high, best) = max(0, max over l of -price + P(k <= l | low < k <= high) (saving + V(low, l, .))
        + P(k > l | ...) V(l, high, best)), the recursion over the levels between the largest wrong and the smallest
        right one.
        """
        open_mass = float(posterior[low:high].sum())
        right = float(posterior[low:level].sum()) / open_mass if open_mass else 0.0
        reached = min(best, float(shares[level - 1]))
        after_right = best - reached + self._best_value(low, level, reached, posterior, shares, depth - 1)
        after_wrong = self._best_value(level, high, best, posterior, shares, depth - 1)
        return right * after_right + (1 - right) * after_wrong - self.price

    def _best_value(self, low: int, high: int, best: float, posterior: Array, shares: Array, depth: int) -> float:
        """Return the value of the best next level, at least 0: the search may stop."""
        if not depth:
            return 0.0
        levels = range(low + 1, high)
        return max(0.0, *(self._level_value(level, low, high, best, posterior, shares, depth) for level in levels), 0.0)


class _LevelModel:
    """What finished questions say of levels: shares of questions by least sufficient level, tokens by level, noise."""

    def __init__(self, counts: dict[int, Array], tokens: dict[tuple[int, int], float], noise: float) -> None:
        self._counts, self._tokens, self.noise = counts, tokens, noise

    @classmethod
    def fit(cls, questions: Sequence[QuestionHistory]) -> "_LevelModel":
        """Fit by two rounds of EM: posteriors of the least sufficient levels, then their counts and the noise."""
        model = cls({}, {}, NOISE)
        for _ in range(2 if questions else 0):
            counts: dict[int, Array] = {}
            contradictions, trials = NOISE * PRIOR_TRIALS, PRIOR_TRIALS
            for question in questions:
                levels = question.vanilla_tokens
                seen = [(o.budget, o.right) for o in question.seen]
                posterior = model.posterior(levels, seen)
                counts[levels] = counts.get(levels, np.zeros(levels + 1)) + posterior
                for level, right in seen:
                    sufficient = float(posterior[:level].sum())
                    contradictions += 1 - sufficient if right else sufficient
                    trials += 1
            model = cls(counts, _mean_shares(questions), min(0.2, contradictions / trials))
        return model

    def posterior(self, levels: int, seen: Sequence[tuple[int, bool]]) -> Array:
        """Return P(k = 1), ..., P(k = levels + 1) by Bayes' rule.

        `levels + 1` means that no word suffices.
        """
        prior = PRIOR_QUESTIONS / (levels + 1) + self._counts.get(levels, np.zeros(levels + 1))
        k = np.arange(1, levels + 2)
        for level, right in seen:
            prior = prior * np.where((level >= k) == right, 1 - self.noise, self.noise)
        total: Array = prior / prior.sum()
        return total

    def shares(self, levels: int, observed: Mapping[int, float]) -> Array:
        """Return the expected tokens of each level as a share of those without a budget.

        Known levels are those of the question itself, else the mean of finished questions. Others lie between their
        known neighbours on a logarithmic scale; below all of them each level takes half of the next.

        Args:
            levels: Number of words.
            observed: Shares that the question has shown, by level.
        """
        known = {level: share for (k, level), share in self._tokens.items() if k == levels and share > 0}
        known = {**known, levels + 1: 1.0, **observed}
        anchors = sorted(known)
        logs = np.interp(np.arange(1, levels + 1), anchors, [math.log(known[level]) for level in anchors])
        below = np.maximum(anchors[0] - np.arange(1, levels + 1), 0)
        shares: Array = np.exp(logs - below * math.log(2))
        return shares


def _mean_shares(questions: Sequence[QuestionHistory]) -> dict[tuple[int, int], float]:
    """Return the mean share of tokens by (number of levels, level)."""
    by_level: dict[tuple[int, int], list[float]] = {}
    for question in questions:
        for trial in question.seen:
            if math.isfinite(trial.tokens):
                by_level.setdefault((question.vanilla_tokens, trial.budget), []).append(trial.tokens)
    return {key: float(np.mean(values)) for key, values in by_level.items()}


def _has_token_ratio(question: QuestionHistory) -> bool:
    """Whether the lowest word of a question has tokens that can be set against those without a budget."""
    lowest = min(question.seen, key=lambda o: o.budget)
    return 0 < lowest.tokens < math.inf
