"""Bayesian search of the least sufficient effort word of a question.

The prior is learned from the questions before it.

A model's words are levels 1 to K, in their order; level K + 1 stands for the answer without a budget, which was right.
Each question has a *least sufficient* level k: answers at or above k are right, below it wrong, up to a noise e.
The sampler keeps a posterior over k and asks the level that a dynamic programme over the levels still open says is
worth most: expected saving of tokens less a price per call, `LOOKAHEAD` calls ahead.

A word may also be sent with the phrase that names a number of tokens (`low+50`). That is the second axis, searched by
coordinate: once the word is found, its variants with a phrase are asked, the largest number first, where what they
saved on earlier questions is worth the call. A phrase that changes nothing is given up after `MIN_PHRASE_QUESTIONS`.
"""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from tale_dspy.budget import BudgetValue
from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers.base import BudgetSampler, Observation, QuestionHistory
from tale_dspy.optimizers.samplers.effort_model import Array, LevelModel, MeanShares, PhraseModel, tokens_by_level

LOOKAHEAD = 4
"""Calls that are planned ahead; bisection of 15 levels takes as many."""
MIN_EFFECT_QUESTIONS = 16
"""Questions before the control may be said to have no effect."""
NO_EFFECT_WIDTH = 0.15
"""Largest half-width of the interval of ln(tokens at a word / tokens without) at which covering 0 means no effect."""
MIN_PHRASE_QUESTIONS = 8
"""Questions on which the phrase is tried beside a word before it is judged; no more are asked until they are in."""
Z95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


class EffortSampler(BudgetSampler):
    """Search the least sufficient effort word of each question.

    After it, the sampler tests whether the budget phrase beside the word saves more.

    The study searches an integer from 1 to the number of settings and minimises tokens as a share of those of the
    answer without a budget. Learned from finished questions: how often each word is the least sufficient one, what
    share of the tokens it takes, and what the phrase does. Where the words turn out to make no difference to the tokens
    (`has_no_effect`), the search of every further question is over at once.

    Deterministic: the same calls in the same order give the same levels.

    Args:
        settings: What the levels of the study stand for, in their order, such as `("low+50", "low", "high")`; empty
            where each level is a word of its own.
        price: Saving that a call must be expected to bring, as a share of the tokens without a budget.
        max_calls: Maximum number of trials of a question.

    Raises:
        UsageError: If a setting is no budget, price is not a share above 0 and below 1, or max_calls not at least 1.
    """

    def __init__(self, settings: Sequence[str] = (), *, price: float = 0.01, max_calls: int = 6) -> None:
        if not 0 < price < 1:
            raise UsageError(f"price must be a share above 0 and below 1, got {price}")
        if max_calls < 1:
            raise UsageError(f"max_calls must be at least 1, got {max_calls}")
        self.settings, self.price, self.max_calls = tuple(settings), price, max_calls
        self._variants = _variants_by_word(self.settings)
        self._finished: list[QuestionHistory] = []
        self._fit_due = 0
        self._shares = MeanShares()
        self._lowest_logs: list[float] = []
        self._phrase = PhraseModel()
        self._phrases_asked = 0

    def propose(self, history: QuestionHistory) -> int:
        """Return the level whose call is worth most.

        Where no untried level is left, it is the best known one.
        """
        with self._lock:
            level, _ = self._choose_level(history)
            # A level that is no word of its own is a variant, a word with a phrase: while the phrase is still being
            # learned, few of these may be in flight.
            if level is not None and level not in self._words_of(history):
                self._phrases_asked += 1
        if level is not None:
            return level
        return history.best.budget if history.best else history.vanilla_tokens

    def should_stop(self, history: QuestionHistory) -> bool:
        """Return whether no call is expected to be worth its price.

        It is also true where the words have no effect.
        """
        with self._lock:
            if self.has_no_effect:
                return True
            if not history.trials:
                return False
            level, value = self._choose_level(history)
        return level is None or value <= 0 or len(history.trials) >= self.max_calls

    def observe(self, history: QuestionHistory) -> None:
        """Learn the tokens of a word from a question's last trial.

        Questions that are searched at the same time profit.
        """
        if history.trials:
            with self._lock:
                self._shares.add(self._words_seen(QuestionHistory(history.vanilla_tokens, history.trials[-1:])))

    def finish_question(self, history: QuestionHistory) -> None:
        """Learn from a question whose search is over."""
        if history.trials:
            with self._lock:
                self._learn(history)

    def _learn(self, history: QuestionHistory) -> None:
        """Add a finished question.

        The model of levels is fitted again each time the number of questions has grown by a twentieth.
        """
        words = self._words_seen(history)
        if words.trials:
            self._finished.append(words)
            self._shares.add(words)
            # The lowest word tried differs most from no budget at all: if even there the tokens are the same, words
            # do nothing.
            lowest = min(words.trials, key=lambda o: o.budget)
            if 0 < lowest.tokens < math.inf:
                self._lowest_logs.append(math.log(lowest.tokens))
        for word, variant in self._phrase_pairs(history):
            self._phrase.add(word, variant)
        # EM over n questions costs O(n): fitting again at n, 1.05 n, 1.05^2 n ... keeps the cost of a search of n in
        # O(n).
        if len(self._finished) >= self._fit_due:
            self._fit_due = math.ceil(len(self._finished) * 1.05)
            vars(self).pop("_levels", None)
        # Both are cached properties: dropped, they are computed anew when asked for.
        vars(self).pop("has_no_effect", None)

    @cached_property
    def has_no_effect(self) -> bool:
        """Whether tokens at the lowest word differ too little from those without one.

        The 95 % interval of their difference then covers 0 and is narrow. The difference is the paired mean, over
        questions, of ln(tokens at the lowest word tried / tokens without).
        """
        return len(self._lowest_logs) >= MIN_EFFECT_QUESTIONS and _covers_zero(self._lowest_logs)

    @property
    def phrase_has_no_effect(self) -> bool:
        """Whether the phrase is given up, since it saves too little.

        The 95 % interval of ln(tokens with it / tokens of the word alone) then covers 0 and is narrow.
        """
        return len(self._phrase.logs) >= MIN_PHRASE_QUESTIONS and _covers_zero(self._phrase.logs)

    @property
    def phrase_ratio(self) -> float | None:
        """Tokens with the phrase over tokens without it.

        It is the geometric mean over questions, and None if the phrase was never tried.
        """
        logs = self._phrase.logs
        return math.exp(float(np.mean(logs))) if logs else None

    # ---- the words, and the variants of each

    def _words_of(self, history: QuestionHistory) -> list[int]:
        """Return the levels that are a word of their own, in order."""
        return [*self._variants] or list(range(1, history.vanilla_tokens + 1))

    def _words_seen(self, history: QuestionHistory) -> QuestionHistory:
        """Return the history of the words alone, numbered from 1."""
        words = self._words_of(history)
        number = {level: n for n, level in enumerate(words, 1)}
        observations = [Observation(number[o.budget], o.tokens, o.right) for o in history.trials if o.budget in number]
        pending = [number[level] for level in history.pending if level in number]
        return QuestionHistory(len(words), tuple(observations), tuple(pending))

    # ---- the model of all questions

    @cached_property
    def _levels(self) -> LevelModel:
        return LevelModel.fit(self._finished)

    def _phrase_pairs(self, question: QuestionHistory) -> list[tuple[Observation, Observation]]:
        """Return (word alone, word with the phrase) where tokens of both are known."""
        by_level = {o.budget: o for o in question.trials if 0 < o.tokens < math.inf}
        pairs = [(word, variant) for word, variants in self._variants.items() for variant in variants]
        return [
            (by_level[word], by_level[variant]) for word, variant in pairs if word in by_level and variant in by_level
        ]

    def _choose_level(self, history: QuestionHistory) -> tuple[int | None, float]:
        """Return the level to ask and its value over stopping.

        The level is None where every level was tried.
        """
        words = self._words_of(history)
        number, value = self._choose_word(self._words_seen(history))
        if number is not None and (value > 0 or not history.trials):
            return words[number - 1], value
        return self._choose_phrase(history)

    def _choose_word(self, history: QuestionHistory) -> tuple[int | None, float]:
        levels = history.vanilla_tokens
        posterior = self._levels.posterior(levels, [(o.budget, o.right) for o in history.trials])
        shares = self._shares.expected(levels, tokens_by_level(history))
        best = min([o.tokens for o in history.trials if o.right], default=1.0)
        low = max((o.budget for o in history.trials if not o.right), default=0)
        high = min((o.budget for o in history.trials if o.right), default=levels + 1)
        # Where answers are monotonic, a level at or below the highest wrong one cannot be enough, and one at or above
        # the lowest right one saves nothing: only what lies between is worth a call.
        within = [level for level in range(low + 1, high) if level not in history.tried]
        if not within:
            return None, 0.0
        values = {level: self._level_value(level, low, high, best, posterior, shares) for level in within}
        # Of equal values the lower level: it is asked for fewer tokens.
        chosen = max(values, key=lambda level: (values[level], -level))
        return chosen, values[chosen]

    def _choose_phrase(self, history: QuestionHistory) -> tuple[int | None, float]:
        """Return the next variant of the least right word, and its value.

        The value is P(right) times its saving, less the price. Where no word was right, the highest stands in, which is
        like the answer without a budget; but not while the phrase is still being learned, which takes a pair of
        answers.
        """
        word_history, words = self._words_seen(history), self._words_of(history)
        number = min((o.budget for o in word_history.trials if o.right), default=None)
        learning = len(self._phrase.logs) < MIN_PHRASE_QUESTIONS
        if self.phrase_has_no_effect or (learning and (number is None or self._phrases_asked >= MIN_PHRASE_QUESTIONS)):
            return None, 0.0
        variants = self._variants.get(words[(number or len(words)) - 1], ())
        tried = {o.budget: o for o in history.trials}
        level = next((v for v in variants if v not in tried and v not in history.pending), None)
        # A variant with a larger number was wrong: a smaller number asks for less, and cannot be enough.
        if level is None or any(not tried[v].right for v in variants if v in tried):
            return None, 0.0
        levels = len(words)
        # Tokens are shares of those without a budget, in (0, 1]; the phrase multiplies them by its ratio.
        share = float(self._shares.expected(levels, tokens_by_level(word_history))[(number or levels) - 1])
        posterior = self._levels.posterior(levels, [(o.budget, o.right) for o in word_history.trials])
        # P(right with the phrase) = P(it stays right | the word is right) P(the word is right): the latter is known
        # where the word was right, else the posterior mass of all words, its last entry (no word suffices) left out.
        right = self._phrase.right * (1.0 if number else float(posterior[:levels].sum()))
        best = min([o.tokens for o in history.trials if o.right], default=1.0)
        return level, right * max(0.0, best - share * self._phrase.ratio) - self.price

    def _level_value(
        self, level: int, low: int, high: int, best: float, posterior: Array, shares: Array, depth: int = LOOKAHEAD
    ) -> float:
        """Return the expected saving of asking a level and going on optimally.

        The price of the calls is subtracted.

        V(low, high, best) = max(0, max over l of -price + P(k <= l | low < k <= high) (saving + V(low, l, .))
        + P(k > l | ...) V(l, high, best)), the recursion over the levels between the largest wrong and the smallest
        right one.
        """
        # posterior[i] = P(k = i + 1): entries low .. high - 1 are the levels low + 1 .. high that k can still be.
        open_mass = float(posterior[low:high].sum())
        right = float(posterior[low:level].sum()) / open_mass if open_mass else 0.0
        # After a right answer the best one known takes `reached`; the search goes on between `low` and this level.
        reached = min(best, float(shares[level - 1]))
        after_right = best - reached + self._best_value(low, level, reached, posterior, shares, depth - 1)
        after_wrong = self._best_value(level, high, best, posterior, shares, depth - 1)
        return right * after_right + (1 - right) * after_wrong - self.price

    def _best_value(self, low: int, high: int, best: float, posterior: Array, shares: Array, depth: int) -> float:
        """Return the value of the best next level, at least 0: the search may stop."""
        # The recursion ends after `LOOKAHEAD` calls: with w open levels it visits O(w^LOOKAHEAD) states.
        if not depth:
            return 0.0
        levels = range(low + 1, high)
        return max(0.0, *(self._level_value(level, low, high, best, posterior, shares, depth) for level in levels), 0.0)


def _variants_by_word(settings: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """Return the level of each word, and those of its variants.

    Variants have a smaller number; the largest number comes first. The word alone is the last of its levels in a
    ladder; a word that is only given with numbers stands for itself with the largest one.
    """
    by_word: dict[str | None, list[int]] = {}
    for level, setting in enumerate(settings, 1):
        by_word.setdefault(BudgetValue.parse(setting).effort, []).append(level)
    return {levels[-1]: tuple(reversed(levels[:-1])) for levels in by_word.values()}


def _covers_zero(logs: Sequence[float]) -> bool:
    """Return whether the 95 % interval of a mean covers 0 and is narrow.

    Narrow means that half of it is at most `NO_EFFECT_WIDTH`.
    """
    # Half the interval is z s / sqrt(n). An interval that covers 0 only because it is wide shows nothing, so that it
    # must be narrower than `NO_EFFECT_WIDTH`, too.
    half_width = Z95 * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    return abs(float(np.mean(logs))) <= half_width + 1e-9 and half_width <= NO_EFFECT_WIDTH
