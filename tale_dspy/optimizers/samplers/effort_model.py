"""What an `EffortSampler` has learned.

It knows least sufficient words, tokens of each word, and the effect of the phrase.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tale_dspy.optimizers.samplers.base import Observation, QuestionHistory

Array = NDArray[np.float64]

PRIOR_QUESTIONS = 1.0
"""Pseudo-count of the uniform prior over levels, in questions."""
NOISE = 0.04
"""Prior chance e that an answer contradicts its level."""
PRIOR_TRIALS = 25.0
"""Pseudo-count of that chance, in trials."""
PHRASE_RATIO, PHRASE_RIGHT, PHRASE_PRIOR = 0.6, 0.9, 2.0
"""Prior mean of tokens with the phrase over tokens without it, prior chance that the answer stays right, and the
pseudo-count of both, in questions: hopeful, so that the phrase is tried at all."""


class LevelModel:
    """How often each level is the least sufficient one, and the answers' noise.

    Both are learned from finished questions.
    """

    def __init__(self, counts: dict[int, Array], noise: float) -> None:
        self._counts, self.noise = counts, noise

    @classmethod
    def fit(cls, questions: Sequence[QuestionHistory]) -> "LevelModel":
        """Fit counts of least sufficient levels, and the noise, by two rounds of EM."""
        # The latent variable is k, the least level that suffices. E step: P(k | answers of the question) under the
        # present counts and noise. M step: counts = sum of the posteriors, noise = expected share of contradicting
        # answers.
        model = cls({}, NOISE)
        for _ in range(2 if questions else 0):
            counts: dict[int, Array] = {}
            # Beta prior of the noise, as pseudo-trials.
            contradictions, trials = NOISE * PRIOR_TRIALS, PRIOR_TRIALS
            for question in questions:
                levels = question.vanilla_tokens
                observations = [(o.budget, o.right) for o in question.trials]
                posterior = model.posterior(levels, observations)
                counts[levels] = counts.get(levels, np.zeros(levels + 1)) + posterior
                for level, right in observations:
                    # P(k <= level): with this chance a wrong answer contradicts k, with the rest a right one.
                    sufficient = float(posterior[:level].sum())
                    contradictions += 1 - sufficient if right else sufficient
                    trials += 1
            # Noise above 0.2 would let an answer say next to nothing, and the search could not end.
            model = cls(counts, min(0.2, contradictions / trials))
        return model

    def posterior(self, levels: int, observations: Sequence[tuple[int, bool]]) -> Array:
        """Return P(k = 1), ..., P(k = levels + 1) by Bayes' rule.

        `levels + 1` means that no word suffices.
        """
        # Dirichlet prior: `PRIOR_QUESTIONS` spread evenly over the levels + 1 values of k.
        prior = PRIOR_QUESTIONS / (levels + 1) + self._counts.get(levels, np.zeros(levels + 1))
        k = np.arange(1, levels + 2)
        for level, right in observations:
            # Likelihood of an answer: it is right exactly if level >= k, but for noise.
            prior = prior * np.where((level >= k) == right, 1 - self.noise, self.noise)
        total: Array = prior / prior.sum()
        return total


class MeanShares:
    """Mean tokens by level, as a share of those without a budget.

    Trials are added as they come, and once more with their finished question; that does not change the means, and it
    counts questions in flight as well as those of an earlier process.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], tuple[float, int]] = {}

    def add(self, question: QuestionHistory) -> None:
        """Add the trials of a question."""
        for level, share in tokens_by_level(question).items():
            total, n = self._sums.get((question.vanilla_tokens, level), (0.0, 0))
            self._sums[question.vanilla_tokens, level] = total + share, n + 1

    def expected(self, levels: int, question_shares: Mapping[int, float]) -> Array:
        """Return the expected share of each level.

        Known levels are those of the question itself, else the mean of all. Others lie between their known neighbours
        on a logarithmic scale; below all of them each level takes half of the next.

        Args:
            levels: Number of words.
            question_shares: Shares that the question has shown, by level.
        """
        known = {level: total / n for (k, level), (total, n) in self._sums.items() if k == levels}
        # What the question itself has shown wins over the mean of others; level + 1 is no budget, the whole of the
        # tokens.
        known = {**known, levels + 1: 1.0, **question_shares}
        anchors = sorted(known)
        logs = np.interp(np.arange(1, levels + 1), anchors, [math.log(known[level]) for level in anchors])
        # Below the lowest known level there is nothing to interpolate: each step down halves, ln 2 of the logarithm.
        below = np.maximum(anchors[0] - np.arange(1, levels + 1), 0)
        shares: Array = np.exp(logs - below * math.log(2))
        return shares


class PhraseModel:
    """Effect of the phrase on finished questions.

    It holds ln(tokens with it / tokens without), and whether the answer stayed right.
    """

    def __init__(self) -> None:
        self.logs: list[float] = []
        self._stayed_right: list[bool] = []

    def add(self, word: Observation, variant: Observation) -> None:
        """Add a question on which a word was asked without and with the phrase."""
        self.logs.append(math.log(variant.tokens / word.tokens))
        if word.right:
            self._stayed_right.append(variant.right)

    @property
    def ratio(self) -> float:
        """Expected tokens with the phrase over tokens without it."""
        # Posterior geometric mean: exp of the mean of ln(ratio), with the prior as `PHRASE_PRIOR` pseudo-questions.
        weight = PHRASE_PRIOR + len(self.logs)
        return math.exp((PHRASE_PRIOR * math.log(PHRASE_RATIO) + sum(self.logs)) / weight)

    @property
    def right(self) -> float:
        """Chance that an answer that was right without the phrase is right with it."""
        return (PHRASE_PRIOR * PHRASE_RIGHT + sum(self._stayed_right)) / (PHRASE_PRIOR + len(self._stayed_right))


def tokens_by_level(history: QuestionHistory) -> dict[int, float]:
    return {o.budget: o.tokens for o in history.trials if 0 < o.tokens < math.inf}
